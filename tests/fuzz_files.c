/* Loading what a fuzzer makes up. It must end with an error or a usable model, take no more memory than the allocator
   allows and give all of it back. From the repository root:
   clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all tests/fuzz_files.c -o build/fuzz_files -lm
   build/fuzz_files -max_total_time=60
   The first byte of an input says what the rest is: a file; a header and data, with the lengths put right, so that more
   get past them; or changes to a checkpoint, which lead into the metadata. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

enum { MOST_MEMORY = 8 << 20, MOST_INPUT = 1 << 16, MOST_FILE = MOST_INPUT + 8192 };

int LLVMFuzzerTestOneInput(const unsigned char *input, size_t size);

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

static void must(int condition) {
    if (!condition) abort();
}

/* ---- a file from an input ---- */

/* The header ends at the first byte FF, which is in no valid one. */
static size_t with_lengths(const unsigned char *input, size_t size, unsigned char *file) {
    size_t length, i;
    for (length = 0; length < size && input[length] != 0xFF; length++) {}
    for (i = 0; i < 8; i++) file[i] = (unsigned char)((uint64_t)length >> (8 * i) & 255);
    memcpy(file + 8, input, length);
    if (length == size) return 8 + length;
    memcpy(file + 8 + length, input + length + 1, size - length - 1);
    return 8 + size - 1;
}

/* Changes of the form: place in the header (two bytes), bytes taken out there, bytes put in, the latter. */
static size_t with_changes(const vae_model *model, const unsigned char *input, size_t size, unsigned char *file) {
    size_t length, whole, at = 0, i;
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
    for (i = 0; i < 8; i++) file[i] = (unsigned char)((uint64_t)length >> (8 * i) & 255);
    return whole;
}

/* ---- loading it ---- */

static vae_config small_network(void) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.input.height = 1;
    c.input.width = 3;
    c.input.channels = 1;
    c.latent = 1;
    c.encoder[0] = VAE_DENSE(2, VAE_RELU);
    return c;
}

static void use(vae_model *model) {
    vae_real *pixels = (vae_real *)malloc(vae_example_size(model) * sizeof *pixels);
    size_t    size, i;
    must(pixels && vae_save_memory(model, 0, NULL, 0, &size, NULL) == VAE_OK);
    for (i = 0; i < vae_parameter_count(model); i++) must(vaei_finite(vae_parameters(model)[i]));
    vae_sample(model, 1, pixels, NULL);
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

int LLVMFuzzerTestOneInput(const unsigned char *input, size_t size) {
    static vae_model *small;
    vae_config        given = small_network(), none;
    unsigned char    *room, *file;
    size_t            length;
    if (!size || size > MOST_INPUT) return 0;
    if (!small) must(vae_create(&given, &small, NULL) == VAE_OK);
    room = (unsigned char *)malloc(MOST_FILE);
    must(room != NULL);
    if (input[0] % 3 == 0) memcpy(room, input + 1, length = size - 1);
    else if (input[0] % 3 == 1) length = with_lengths(input + 1, size - 1, room);
    else length = with_changes(small, input + 1, size - 1, room);
    file = (unsigned char *)malloc(length + !length);      /* of just its size: reading on is noticed */
    must(file != NULL);
    memcpy(file, room, length);
    free(room);
    memset(&none, 0, sizeof none);
    given.allocator.allocate = none.allocator.allocate = limited_allocate;
    given.allocator.release = none.allocator.release = limited_release;
    load(file, length, &none);
    load(file, length, &given);
    vae_load_weights_memory(small, file, length, NULL);
    free(file);
    return 0;
}
