/* Loading what a fuzzer makes up. It must end with an error or a usable model, take no more memory than the allocator
   allows, give all of it back and leave a model that was there before as it was. From the repository root: make
   build/test_fuzz && mkdir -p build/corpus && build/test_fuzz --corpus build/corpus --dictionary build/files.dict clang
   -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all tests/fuzz_files.c -o build/fuzz_files -lm
   build/fuzz_files -max_total_time=60 -max_len=16384 -dict=build/files.dict build/corpus The first byte of an input
   says which network meets it and what the rest is: a file; a header and data, with the lengths put right, so that more
   get past them; or changes to a checkpoint, which lead into the metadata. tests/test_fuzz.c writes the first inputs,
   and tries some thousand others in `make test`. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

enum { MOST_MEMORY = 8 << 20, MOST_INPUT = 1 << 16, MOST_FILE = MOST_INPUT + 16384, NETWORKS = 4 };
enum { INPUT_FILE, INPUT_PARTS, INPUT_CHANGES, INPUT_KINDS };

int LLVMFuzzerTestOneInput(const unsigned char *input, size_t size);

#ifndef FUZZ_FAILED
#define FUZZ_FAILED(text) abort()
#endif
#define must(condition) do { if (!(condition)) FUZZ_FAILED(#condition); } while (0)

static size_t live;             /* bytes that the library holds */

static void *limited_allocate(void *user, size_t size) {
    void *block = size > MOST_MEMORY ? NULL : malloc(size);
    (void)user;
    if (block) live += size;
    return block;
}

static void limited_release(void *user, void *block, size_t size) {
    (void)user;
    live -= size;
    free(block);
}

/* ---- the networks: every kind of layer and likelihood, both layouts ---- */

static vae_config network_of(int which) {
    static const vae_layer layers[NETWORKS][2] = {
        { VAE_DENSE_INITIALIZER(2, VAE_RELU), VAE_DENSE_INITIALIZER(3, VAE_TANH) },
        { VAE_CONV_INITIALIZER(2, 3, 2, VAE_SILU), VAE_DENSE_INITIALIZER(3, VAE_RELU) },
        { VAE_CONV_SYMMETRIC_INITIALIZER(2, 3, 2, 1, VAE_LEAKY_RELU), VAE_CONV_SYMMETRIC_INITIALIZER(3, 2, 1, 0, VAE_GELU) },
        { VAE_CONV_1D_INITIALIZER(2, 3, 2, VAE_SOFTPLUS), VAE_DENSE_INITIALIZER(2, VAE_SIGMOID) }
    };
    static const vae_shape inputs[NETWORKS] = { { 1, 3, 1 }, { 5, 4, 2 }, { 6, 5, 1 }, { 1, 9, 1 } };
    vae_config             c;
    memset(&c, 0, sizeof c);
    c.input = inputs[which];
    c.latent = 1 + which % 2;
    memcpy(c.encoder, layers[which], sizeof layers[which]);
    c.likelihood = which % 2 ? VAE_GAUSSIAN : VAE_BERNOULLI;
    c.layout = which == 1 ? VAE_CHANNELS_FIRST : VAE_CHANNELS_LAST;
    c.batch = 4;
    c.threads = 1;
    return c;
}

/* Made once, with a step of training behind them, so that a checkpoint holds moments. */
static vae_model *model_of(int which) {
    static vae_model *models[NETWORKS];
    if (!models[which]) {
        static const unsigned char row[64] = { 255, 0, 128, 7 };
        const vae_config           config = network_of(which);
        vae_data                   data;
        memset(&data, 0, sizeof data);
        data.bytes = row;
        data.count = 1;
        must(vae_create(&config, &models[which], NULL) == VAE_OK);
        must(vae_train_step(models[which], &data, NULL, NULL) == VAE_OK);
    }
    return models[which];
}

/* ---- a file from an input ---- */

static void put_length(unsigned char *file, size_t length) {
    int i;
    for (i = 0; i < 8; i++) file[i] = (unsigned char)((uint64_t)length >> (8 * i) & 255);
}

/* The header ends at the first byte FF, which is in no valid one. */
static size_t with_lengths(const unsigned char *input, size_t size, unsigned char *file) {
    size_t length;
    for (length = 0; length < size && input[length] != 0xFF; length++) {}
    put_length(file, length);
    memcpy(file + 8, input, length);
    if (length == size) return 8 + length;
    memcpy(file + 8 + length, input + length + 1, size - length - 1);
    return 8 + size - 1;
}

/* Changes of the form: place in the header (two bytes), bytes taken out there, bytes put in, the latter. */
static size_t with_changes(const vae_model *model, const unsigned char *input, size_t size, unsigned char *file) {
    size_t length, whole, at = 0;
    must(vae_save_memory(model, 1, file, MOST_FILE, &whole, NULL) == VAE_OK);
    length = (size_t)file[0] | (size_t)file[1] << 8;
    while (size - at >= 4) {
        const size_t place = 8 + ((size_t)input[at] | (size_t)input[at + 1] << 8) % (length + 1);
        const size_t rest = length + 8 - place, out = input[at + 2] < rest ? input[at + 2] : rest;
        size_t       in = input[at + 3];
        at += 4;
        if (in > size - at) in = size - at;
        if (whole + in > MOST_FILE) break;
        memmove(file + place + in, file + place + out, whole - place - out);
        memcpy(file + place, input + at, in);
        at += in;
        whole = whole + in - out;
        length = length + in - out;
    }
    put_length(file, length);
    return whole;
}

/* ---- loading it ---- */

static int all_finite(vae_model *model) {
    size_t i;
    for (i = 0; i < vae_parameter_count(model); i++)
        if (!vaei_finite(vae_parameters(model)[i])) return 0;
    return 1;
}

/* Whatever was loaded can be saved, drawn from and asked; what comes out of weights near the largest float may be
   refused. */
static void use(vae_model *model) {
    vae_real *pixels = (vae_real *)calloc(vae_example_size(model), sizeof *pixels);
    vae_terms terms;
    vae_data  data;
    size_t    size;
    must(pixels && vae_save_memory(model, 0, NULL, 0, &size, NULL) == VAE_OK);
    must(all_finite(model));
    vae_sample(model, 1, pixels, NULL);
    memset(pixels, 0, vae_example_size(model) * sizeof *pixels);
    memset(&data, 0, sizeof data);
    data.pixels = pixels;
    data.count = 1;
    vae_elbo(model, &data, &terms, NULL, NULL);
    free(pixels);
}

static void load(const unsigned char *file, size_t size, const vae_config *config) {
    vae_model *model = NULL;
    vae_error  error;
    if (vae_load_memory(file, size, config, &model, &error) == VAE_OK) {
        use(model);
        vae_destroy(model);
    } else must(!model && strlen(error.message) > 0 && strlen(error.message) < sizeof error.message);
    must(live == 0);
}

/* A refused file leaves the weights, and what the model says, to the bit. */
static void load_weights(vae_model *model, const unsigned char *file, size_t size) {
    const size_t               bytes = vae_parameter_count(model) * sizeof(vae_real);
    static const unsigned char row[64] = { 1, 99, 200 };
    vae_real                  *before = (vae_real *)malloc(bytes);
    vae_terms                  terms, after;
    vae_data                   data;
    vae_error                  error;
    memset(&data, 0, sizeof data);
    data.bytes = row;
    data.count = 1;
    must(before && vae_elbo(model, &data, &terms, NULL, NULL) == VAE_OK);
    memcpy(before, vae_parameters(model), bytes);
    if (vae_load_weights_memory(model, file, size, &error) == VAE_OK) must(all_finite(model));
    else must(!memcmp(before, vae_parameters(model), bytes) && strlen(error.message) < sizeof error.message);
    memcpy(vae_parameters(model), before, bytes);
    must(vae_elbo(model, &data, &after, NULL, NULL) == VAE_OK && !memcmp(&terms, &after, sizeof terms));
    free(before);
}

int LLVMFuzzerTestOneInput(const unsigned char *input, size_t size) {
    vae_model     *model;
    vae_config     given, none;
    unsigned char *room, *file;
    size_t         length;
    int            kind, which;
    if (!size || size > MOST_INPUT) return 0;
    kind = input[0] % INPUT_KINDS;
    which = input[0] / INPUT_KINDS % NETWORKS;
    model = model_of(which);
    room = (unsigned char *)malloc(MOST_FILE);
    must(room != NULL);
    if (kind == INPUT_FILE) memcpy(room, input + 1, length = size - 1);
    else if (kind == INPUT_PARTS) length = with_lengths(input + 1, size - 1, room);
    else length = with_changes(model, input + 1, size - 1, room);
    file = (unsigned char *)malloc(length + !length);      /* of just its size: reading on is noticed */
    must(file != NULL);
    memcpy(file, room, length);
    free(room);
    given = network_of(which);
    memset(&none, 0, sizeof none);
    given.allocator.allocate = none.allocator.allocate = limited_allocate;
    given.allocator.release = none.allocator.release = limited_release;
    load(file, length, &none);
    load(file, length, &given);
    load_weights(model, file, length);
    free(file);
    return 0;
}
