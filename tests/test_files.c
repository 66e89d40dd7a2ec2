/* Files: what is written, byte for byte; what is read; that every wrong, cut or damaged file is refused and changes
   nothing; that a failing disk or allocator leaves the old file whole and no memory behind. */
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__       /* asked before vae.h, which puts such options right */
#define RECKLESS 1                              /* -Ofast */
#endif
#include <stddef.h>

/* Every operation of the library on files passes through these, see "a disk that fails". */
#if defined(__unix__) || defined(__APPLE__)
#define POSIX_FILES
static int  disk_open(const char *path);
static int  disk_create(const char *path, unsigned mode);
static int  disk_size_fails(void);
static long disk_read(int file, void *to, size_t size);
static long disk_write(int file, const void *from, size_t size);
static int  disk_sync(int file);
static int  disk_close(int file);
static int  disk_rename(const char *from, const char *to);
#define VAEI_IO_OPEN(path) disk_open(path)
#define VAEI_IO_CREATE(path, mode) disk_create(path, mode)
#define VAEI_IO_EXISTS() (errno == EEXIST)
#define VAEI_IO_IS_SPECIAL(path) vaei_is_special(path)
#define VAEI_IO_SIZE(file) (disk_size_fails() ? -1 : vaei_file_size(file))
#define VAEI_IO_READ(file, bytes, size) disk_read(file, bytes, size)
#define VAEI_IO_WRITE(file, bytes, size) disk_write(file, bytes, size)
#define VAEI_IO_SYNC(file) disk_sync(file)
#define VAEI_IO_CLOSE(file) disk_close(file)
#define VAEI_IO_RENAME(from, to) disk_rename(from, to)
#define VAEI_IO_REMOVE(path) unlink(path)
#endif
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "config_of.h"
#include "files/recipe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "folder.h"
#include "ledger.h"
#include "test.h"

/* The tests run in a folder of their own below build/, which each leaves empty. */
#define MODEL_FILE "model.safetensors"
#define TEMPORARY_FILE "vae-unfinished-0.tmp"           /* what a save writes first */
#define KEPT_FILE "../test_written.safetensors"         /* stays, for tests/safetensors_reader.py */

/* ---- statuses with their sentences ---- */

static vae_error problem;       /* of the latest call */

static int expect(vae_status got, vae_status wanted, int line, const char *call) {
    const int good = got == wanted && (got == VAE_OK || (problem.status == got && strlen(problem.message) > 10));
    if (!test_check(good, __FILE__, line, call))
        printf("    %s, not %s: %s\n", vae_status_name(got), vae_status_name(wanted), problem.message);
    return good;
}
#define EXPECT(call, wanted) expect(call, wanted, __LINE__, #call)

/* An allocator that gives no block of more than 64 MB, whatever a file asks for. */
static vae_allocator allocator_of(ledger *l) {
    const vae_allocator allocator = ledger_allocator(l);
    l->largest = (size_t)64 << 20;
    return allocator;
}

/* ---- networks ---- */

enum { DENSE, CONVOLUTIONAL, TRANSPOSED, SERIES, NETS, FIXED_SIGMA };
enum { LARGEST = 96 };          /* numbers in an example */

/* DENSE is the network of the golden bytes and of the headers written by hand below. */
static vae_config net(int which) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.seed = 77;
    c.batch = 4;
    switch (which) {
    case DENSE:
        c.input.height = 1; c.input.width = 3; c.input.channels = 1;
        c.latent = 1;
        c.encoder[0] = VAE_DENSE(2, VAE_RELU);
        break;
    case CONVOLUTIONAL:         /* no setting at its default */
        c.input.height = 7; c.input.width = 6; c.input.channels = 2;
        c.latent = 3;
        c.encoder[0] = VAE_CONV(3, 3, 2, VAE_GELU);
        c.encoder[1] = VAE_CONV_SYMMETRIC(4, 3, 2, 1, VAE_LEAKY_RELU);
        c.encoder[2] = VAE_DENSE(5, VAE_SILU);
        c.likelihood = VAE_GAUSSIAN;
        c.sigma = (vae_real)0.3;
        c.beta = VAE_ZERO;
        c.initialization = VAE_INIT_HE;
        c.layout = VAE_CHANNELS_FIRST;
        c.optimizer.learning_rate = (vae_real)3e-4;
        c.optimizer.beta1 = VAE_ZERO;
        c.optimizer.beta2 = (vae_real)0.95;
        c.optimizer.epsilon = (vae_real)1e-6;
        c.seed = UINT64_C(0xFFFFFFFFFFFFFFFF);
        c.batch = 5;
        break;
    case TRANSPOSED:
        c.input.height = 8; c.input.width = 6; c.input.channels = 2;
        c.latent = 2;
        c.encoder[0] = VAE_CONV_SYMMETRIC(4, 3, 2, 1, VAE_TANH);
        c.decoder[0] = VAE_DENSE_SHAPED(4, 3, 4, VAE_SIGMOID);
        c.decoder[1] = VAE_CONV_TRANSPOSED_SYMMETRIC(3, 3, 2, 1, 1, VAE_SOFTPLUS);
        c.decoder[2] = VAE_CONV(2, 3, 1, VAE_LINEAR);
        break;
    case FIXED_SIGMA:
        c = net(DENSE);
        c.likelihood = VAE_GAUSSIAN;
        c.sigma = (vae_real)0.5;
        break;
    default:
        c.input.height = 1; c.input.width = 16; c.input.channels = 2;
        c.latent = 2;
        c.encoder[0] = VAE_CONV_1D(3, 5, 2, VAE_RELU);
        c.likelihood = VAE_GAUSSIAN;
        c.initialization = VAE_INIT_GLOROT;
    }
    return c;
}

static vae_model *make_of(const vae_config *config) {
    vae_model *model = NULL;
    if (vae_create(config, &model, &problem) != VAE_OK) {
        printf("vae_create: %s\n", problem.message);
        exit(1);
    }
    return model;
}

static vae_model *make(int which) {
    const vae_config config = net(which);
    return make_of(&config);
}

static void train(vae_model *model, int steps) {
    vae_real pixels[LARGEST];
    vae_data data = { .count = 1 };
    int      i;
    for (i = 0; i < LARGEST; i++) pixels[i] = (vae_real)(i % 10) / 10;
    data.pixels = pixels;
    for (i = 0; i < steps; i++) EXPECT(vae_train_step(model, &data, NULL, &problem), VAE_OK);
}

/* A model that has learned a little, at a place in training that 32 bits cannot hold. */
static vae_model *make_trained(int which) {
    vae_model *model = make(which);
    train(model, 5);
    model->epoch = 3;
    model->position = UINT64_C(12345678901234567890);
    model->samples_drawn = 9;
    model->epoch_rows = UINT64_C(12345678901234567891);
    model->epoch_batch = 7;
    model->epoch_keeps_order = 1;
    return model;
}

static int same_numbers(const vae_model *model, const vae_real *a, const vae_real *b) {
    return !memcmp(a, b, vae_parameter_count(model) * sizeof *a);
}

/* ---- bytes ---- */

typedef struct bytes {
    unsigned char *at;
    size_t         size;
} bytes;

/* In a block of just this size: the sanitizers see what is read behind it. */
static bytes copy_of(const unsigned char *at, size_t size) {
    bytes copy;
    copy.at = (unsigned char *)malloc(size ? size : 1);
    copy.size = size;
    if (size) memcpy(copy.at, at, size);
    return copy;
}

static bytes saved(const vae_model *model, int checkpoint) {
    bytes file = { NULL, 0 };
    EXPECT(vae_save_memory(model, checkpoint, NULL, 0, &file.size, &problem), VAE_OK);
    file.at = (unsigned char *)malloc(file.size);
    EXPECT(vae_save_memory(model, checkpoint, file.at, file.size, &file.size, &problem), VAE_OK);
    return file;
}

static int same_bytes(bytes a, bytes b) { return a.size == b.size && !memcmp(a.at, b.at, a.size); }

static int model_is(const vae_model *model, bytes checkpoint) {
    const bytes now = saved(model, 1);
    const int   same = same_bytes(now, checkpoint);
    free(now.at);
    return same;
}

static size_t header_size(bytes file) {
    return (size_t)file.at[0] | (size_t)file.at[1] << 8 | (size_t)file.at[2] << 16 | (size_t)file.at[3] << 24;
}

static void write_file(const char *path, const void *at, size_t size) {
    FILE *file = fopen(path, "wb");
    if (!CHECK(file != NULL)) return;
    CHECK(fwrite(at, 1, size, file) == size);
    CHECK(fclose(file) == 0);
}

static bytes read_file(const char *path) {
    static unsigned char buffer[1 << 18];
    FILE                *file = fopen(path, "rb");
    size_t               size = 0;
    if (CHECK(file != NULL)) {
        size = fread(buffer, 1, sizeof buffer, file);
        fclose(file);
    }
    return copy_of(buffer, size);
}

static int exists(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
}

/* A file of a header, in which ' stands for ", and zeros. */
static bytes file_of(const char *header, size_t data) {
    const size_t length = strlen(header);
    bytes        file;
    size_t       i;
    file.size = 8 + length + data;
    file.at = (unsigned char *)calloc(file.size, 1);
    for (i = 0; i < sizeof length; i++) file.at[i] = (unsigned char)(length >> (8 * i) & 255);
    for (i = 0; i < length; i++) file.at[8 + i] = (unsigned char)(header[i] == '\'' ? '"' : header[i]);
    return file;
}

/* ---- decimal numbers ---- */

static int parse_real(const char *text, vae_real *real) {
    vaei_json json = vaei_json_of((const unsigned char *)text, 0, strlen(text), 0);
    return vaei_json_real(&json, real) && json.at == strlen(text);
}

static vae_real c_library_real(const char *text) {
#ifdef VAE_DOUBLE
    return strtod(text, NULL);
#else
    return strtof(text, NULL);
#endif
}

/* A number of every size, now and then a denormal or a short decimal. */
static vae_real random_real(test_random *random) {
    const uint64_t kind = test_bits(random) % 7, word = test_bits(random);
    vae_real       real;
#ifdef VAE_DOUBLE
    const uint64_t bits = kind ? word : word & UINT64_C(0x800FFFFFFFFFFFFF);
#else
    const uint32_t bits = (uint32_t)(kind ? word : word & 0x807FFFFFu);
#endif
    memcpy(&real, &bits, sizeof real);
    return kind == 1 ? (vae_real)test_integer(random, 0, 999) / 1000 : real;
}

/* The shortest decimal that the C library reads back as `real`. */
static double shortest_by_c_library(vae_real real) {
    char text[64];
    int  digits;
    for (digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)real);
        if (c_library_real(text) == real) break;
    }
    return strtod(text, NULL);
}

TEST(test_numbers_are_exact) {
    const long  count = sizeof(vae_real) == 8 ? 5000 : 200000;
    test_random random = { 5 };
    long        i;
    for (i = 0; i < count; i++) {
        const vae_real real = i ? random_real(&random) : 0;
        vae_real       back = -1;
        char           shown[64];
        vaei_text      text;
        if (!vaei_finite(real) || (i && real == 0)) continue;     /* -Ofast has processors take denormals for zeros */
        text.bytes = shown;
        text.size = sizeof shown;
        text.length = 0;
        vaei_put_exact_real(&text, real);
        vaei_put(&text, 0);
        if (!CHECK(parse_real(shown, &back) && back == real)) printf("    %s is %.17g\n", shown, (double)real);
        if (i % 10) continue;
        CHECK(c_library_real(shown) == real);
        CHECK_NEAR(fabs(strtod(shown, NULL) - (double)real), fabs(shortest_by_c_library(real) - (double)real), 0);
        snprintf(shown, sizeof shown, "%.*e", test_integer(&random, 0, 18), (double)real * 1.00000003);
        if (parse_real(shown, &back) && !CHECK(back == c_library_real(shown))) printf("    %s\n", shown);
    }
}

TEST(test_number_syntax) {
    static const char *const good[] = { "0", "-0", "0.5", "1e2", "1E+2", "1e-2", "10.250", "0e0", "1e-400", "0e9999",
                                        "12345678901234567890123", "100000000000000000000000000000000000000",
                                        "16777217", "33554435", "1.00000005960464477539", "1e-45", "1.17549435e-38",
                                        /* about half of the smallest number, a little less and a little more */
                                        "7.006492321624085354e-46", "7.006492321624085355e-46",
                                        "2.470328229206232720e-324", "2.470328229206232721e-324" };
    static const char *const bad[] = { "", "-", "+1", ".5", "1.", "01", "-01", "1e", "1e+", "1.e1", "NaN", "inf",
                                       "Infinity", "0x10", "1e999", "-1e999", "1e99999999999", "1,5", "--1" };
    vae_real real;
    size_t   i;
    for (i = 0; i < sizeof good / sizeof *good; i++)
        if (!CHECK(parse_real(good[i], &real) && real == c_library_real(good[i]))) printf("    %s\n", good[i]);
    for (i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!CHECK(!parse_real(bad[i], &real))) printf("    %s\n", bad[i]);
}

/* ---- what is written ---- */

#define GOLDEN_LAYER "{\\\"kind\\\":\\\"dense\\\",\\\"shape\\\":"

TEST(test_golden_bytes) {
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\",\"generator\":\"vae.h " VAE_VERSION "\",\"vae.version\":\"2\","
        "\"vae.config\":\"{\\\"input\\\":[1,3,1],\\\"latent\\\":1,"
        "\\\"encoder\\\":[" GOLDEN_LAYER "[1,1,2],\\\"activation\\\":\\\"relu\\\"}],"
        "\\\"decoder\\\":[" GOLDEN_LAYER "[1,1,2],\\\"activation\\\":\\\"relu\\\"},"
        GOLDEN_LAYER "[1,3,1],\\\"activation\\\":\\\"linear\\\"}],"
        "\\\"likelihood\\\":\\\"bernoulli\\\",\\\"beta\\\":1,\\\"initialization\\\":\\\"pytorch\\\","
        "\\\"optimizer\\\":{\\\"kind\\\":\\\"adam\\\",\\\"learning_rate\\\":0.001,\\\"beta1\\\":0.9,"
        "\\\"beta2\\\":0.999,\\\"epsilon\\\":1e-8},\\\"seed\\\":\\\"77\\\",\\\"batch\\\":4}\"},"
        "\"decoder.0.bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"decoder.0.weight\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[8,16]},"
        "\"decoder.2.bias\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[16,28]},"
        "\"decoder.2.weight\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[28,52]},"
        "\"encoder.0.bias\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[52,60]},"
        "\"encoder.0.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[60,84]},"
        "\"logvar.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[84,88]},"
        "\"logvar.weight\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[88,96]},"
        "\"mean.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[96,100]},"
        "\"mean.weight\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[100,108]}}";
    static const vae_real      numbers[6] = { 1, 2, 3, 4, 5, -6 };
    static const unsigned char weight[24] = { 0, 0, 0x80, 0x3F, 0, 0, 0,    0x40, 0, 0, 0x40, 0x40,
                                              0, 0, 0x80, 0x40, 0, 0, 0xA0, 0x40, 0, 0, 0xC0, 0xC0 };
    const size_t length = sizeof header - 1, padded = (length + 7) / 8 * 8;
    vae_model   *model;
    bytes        file;
    size_t       i;
    if (sizeof(vae_real) != 4) SKIP("the golden bytes are those of float");
    model = make(DENSE);
    EXPECT(vae_set_tensor(model, "encoder.0.weight", numbers, 6, &problem), VAE_OK);
    file = saved(model, 0);
    if (CHECK(file.size == 8 + padded + 108)) {
        for (i = 0; i < 8; i++) CHECK(file.at[i] == (i < 2 ? padded >> (8 * i) & 255 : 0));
        CHECK(!memcmp(file.at + 8, header, length));
        for (i = length; i < padded; i++) CHECK(file.at[8 + i] == ' ');
        CHECK(!memcmp(file.at + 8 + padded + 60, weight, sizeof weight));
    }
    free(file.at);
    vae_destroy(model);
}

TEST(test_saving_to_memory_says_what_it_needs) {
    vae_model    *model = make(SERIES);
    const bytes   file = saved(model, 1);
    unsigned char small[16];
    bytes         room = copy_of(file.at, file.size);
    size_t        size = 0, i;
    memset(small, 0xA5, sizeof small);
    EXPECT(vae_save_memory(model, 1, small, sizeof small, &size, &problem), VAE_ERROR_MEMORY);
    CHECK(size == file.size);
    for (i = 0; i < sizeof small; i++) CHECK(small[i] == 0xA5);
    memset(room.at, 0xA5, room.size);
    EXPECT(vae_save_memory(model, 1, room.at, file.size - 1, &size, &problem), VAE_ERROR_MEMORY);
    for (i = 0; i < room.size; i++) CHECK(room.at[i] == 0xA5);
    EXPECT(vae_save_memory(model, 1, room.at, file.size, NULL, &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_save_memory(NULL, 1, room.at, file.size, &size, &problem), VAE_ERROR_ARGUMENT);
    free(file.at);
    free(room.at);
    vae_destroy(model);
}

/* ---- what is written is read ---- */

static void check_round_trip(int which, int checkpoint) {
    vae_model  *model = make_trained(which), *loaded = NULL;
    const bytes file = saved(model, checkpoint);
    bytes       again;
    if (EXPECT(vae_load_memory(file.at, file.size, NULL, &loaded, &problem), VAE_OK)) {
        again = saved(loaded, checkpoint);
        CHECK(same_bytes(file, again));
        free(again.at);
        CHECK(same_numbers(model, model->parameters, loaded->parameters));
        CHECK(loaded->settings.layout == VAE_CHANNELS_LAST && loaded->settings.seed == model->settings.seed);
        CHECK(loaded->file_batch == model->settings.batch && !model->file_batch);
        CHECK(loaded->settings.batch == model->settings.batch && loaded->settings.likelihood ==
              model->settings.likelihood);
        CHECK(loaded->settings.initialization == model->settings.initialization);
        CHECK(loaded->settings.sigma == model->settings.sigma && loaded->settings.optimizer.beta1 ==
              model->settings.optimizer.beta1);
        CHECK(vaei_beta(loaded) == vaei_beta(model) && vaei_learning_rate(loaded) == vaei_learning_rate(model));
        if (checkpoint) {
            CHECK(same_numbers(model, model->moment1, loaded->moment1));
            CHECK(same_numbers(model, model->moment2, loaded->moment2));
            CHECK(loaded->step == 5 && loaded->epoch == 3 && loaded->samples_drawn == 9);
            CHECK(loaded->position == UINT64_C(12345678901234567890));
            CHECK(loaded->epoch_rows == UINT64_C(12345678901234567891));
            CHECK(loaded->epoch_batch == 7 && loaded->epoch_keeps_order == 1);
        } else {
            CHECK(!loaded->step && !loaded->epoch && !loaded->samples_drawn && !loaded->position);
            CHECK(!loaded->epoch_rows && !loaded->epoch_batch && !loaded->epoch_keeps_order);
        }
        vae_destroy(loaded);
    }
    loaded = NULL;
    if (checkpoint) EXPECT(vae_save_checkpoint(model, MODEL_FILE, &problem), VAE_OK);
    else EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
    again = read_file(MODEL_FILE);
    CHECK(same_bytes(file, again));
    free(again.at);
    if (EXPECT(vae_load(MODEL_FILE, NULL, &loaded, &problem), VAE_OK)) {
        again = saved(loaded, checkpoint);
        CHECK(same_bytes(file, again));
        free(again.at);
    }
    vae_destroy(loaded);
    vae_destroy(model);
    free(file.at);
    remove(MODEL_FILE);
}

TEST(test_round_trips) {
    int which;
    for (which = 0; which < NETS; which++) {
        check_round_trip(which, 0);
        check_round_trip(which, 1);
    }
}

/* What vae_set_beta and vae_set_learning_rate chose is in the file, with 0 as 0. */
TEST(test_settings_are_those_of_now) {
    vae_model *model = make(DENSE), *loaded = NULL;
    bytes      file;
    EXPECT(vae_set_beta(model, 0, &problem), VAE_OK);
    EXPECT(vae_set_learning_rate(model, (vae_real)0.1, &problem), VAE_OK);
    file = saved(model, 0);
    if (EXPECT(vae_load_memory(file.at, file.size, NULL, &loaded, &problem), VAE_OK))
        CHECK(vaei_beta(loaded) == 0 && (vae_real)vaei_learning_rate(loaded) == (vae_real)0.1);
    vae_destroy(loaded);
    vae_destroy(model);
    free(file.at);
}

TEST(test_checkpoint_goes_on_with_the_same_bits) {
    int which;
    for (which = 0; which < NETS; which++) {
        vae_model  *model = make_trained(which), *loaded = NULL;
        const bytes file = saved(model, 1);
        vae_real    sample[2][LARGEST];
        vae_config  config;
        memset(&config, 0, sizeof config);
        config.layout = model->settings.layout;
        if (!EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_OK)) return;
        train(model, 2);
        CHECK(!same_numbers(model, model->parameters, loaded->parameters));
        train(loaded, 2);
        CHECK(same_numbers(model, model->parameters, loaded->parameters));
        EXPECT(vae_sample(model, 1, sample[0], &problem), VAE_OK);
        EXPECT(vae_sample(loaded, 1, sample[1], &problem), VAE_OK);
        CHECK(!memcmp(sample[0], sample[1], vae_example_size(model) * sizeof(vae_real)));
        vae_destroy(loaded);
        vae_destroy(model);
        free(file.at);
    }
}

typedef struct every_batch {
    bytes file[4];
    int   count;
} every_batch;

static int save_every_batch(void *user, const vae_progress *progress) {
    every_batch *all = (every_batch *)user;
    if (progress->event == VAE_EVENT_BATCH && all->count < 4) all->file[all->count++] = saved(progress->model, 1);
    return 0;
}

/* A checkpoint may be saved after any batch, the last one of an epoch too, where all its rows have been used. */
TEST(test_checkpoint_of_every_batch) {
    vae_real       pixels[8 * 3];
    vae_model     *model = make(DENSE), *loaded = NULL;
    vae_data       data;
    vae_fit_config fit;
    every_batch    all;
    int            i;
    memset(&data, 0, sizeof data);
    memset(&fit, 0, sizeof fit);
    memset(&all, 0, sizeof all);
    for (i = 0; i < 24; i++) pixels[i] = (vae_real)(i % 5) / 5;
    data.pixels = pixels;
    data.count = 8;
    fit.epochs = 2;
    fit.on_progress = save_every_batch;
    fit.user = &all;
    EXPECT(vae_fit(model, &data, &fit, &problem), VAE_OK);
    CHECK(all.count == 4);
    for (i = 0; i < all.count; i++) {
        if (EXPECT(vae_load_memory(all.file[i].at, all.file[i].size, NULL, &loaded, &problem), VAE_OK)) {
            CHECK(loaded->step == (uint64_t)i + 1 && loaded->epoch + (loaded->position == 8) == (uint64_t)(i + 1) / 2);
            CHECK(model_is(loaded, all.file[i]));
            vae_destroy(loaded);
        }
        free(all.file[i].at);
    }
    vae_destroy(model);
}

/* Only the weights: the moments and the place in training stay the model's own. */
TEST(test_loading_weights) {
    vae_model  *model = make_trained(CONVOLUTIONAL), *other = make(CONVOLUTIONAL);
    const bytes weights = saved(model, 0), checkpoint = saved(model, 1);
    train(other, 2);
    EXPECT(vae_load_weights_memory(other, weights.at, weights.size, &problem), VAE_OK);
    CHECK(same_numbers(model, model->parameters, other->parameters));
    CHECK(other->step == 2 && !other->epoch && !same_numbers(model, model->moment1, other->moment1));
    train(other, 1);
    EXPECT(vae_load_weights_memory(other, checkpoint.at, checkpoint.size, &problem), VAE_OK);
    CHECK(same_numbers(model, model->parameters, other->parameters));
    CHECK(other->step == 3);
    vae_destroy(model);
    vae_destroy(other);
    free(weights.at);
    free(checkpoint.at);
}

TEST(test_inference_only) {
    vae_model  *model = make_trained(CONVOLUTIONAL), *loaded = NULL;
    const bytes file = saved(model, 1);
    vae_config  config;
    size_t      size;
    memset(&config, 0, sizeof config);
    config.inference_only = 1;
    if (EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_OK)) {
        CHECK(!loaded->moment1 && same_numbers(model, model->parameters, loaded->parameters));
        EXPECT(vae_save_memory(loaded, 1, NULL, 0, &size, &problem), VAE_ERROR_ARGUMENT);
        EXPECT(vae_save_checkpoint(loaded, MODEL_FILE, &problem), VAE_ERROR_ARGUMENT);
        CHECK(!exists(MODEL_FILE));
        EXPECT(vae_save_memory(loaded, 0, NULL, 0, &size, &problem), VAE_OK);
    }
    vae_destroy(loaded);
    vae_destroy(model);
    free(file.at);
}

TEST(test_file_for_the_reader) {
    vae_model *model = make_trained(TRANSPOSED);
    EXPECT(vae_save(model, KEPT_FILE, &problem), VAE_OK);
    CHECK(exists(KEPT_FILE));
    vae_destroy(model);
}

/* ---- the config given to vae_load ---- */

TEST(test_config_overrides) {
    vae_model  *model = make_trained(CONVOLUTIONAL), *loaded = NULL;
    const bytes file = saved(model, 0);
    vae_config  config;
    memset(&config, 0, sizeof config);
    config.beta = 4;
    config.batch = 2;
    config.seed = 5;
    config.optimizer.learning_rate = VAE_ZERO;
    config.optimizer.beta1 = (vae_real)0.5;
    config.optimizer.beta2 = VAE_ZERO;
    config.optimizer.epsilon = (vae_real)0.125;
    config.kernels = VAE_KERNELS_PORTABLE;
    if (EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_OK)) {
        const vae_config filled_c = config_of(loaded), *c = &filled_c;
        CHECK(vaei_beta(loaded) == 4 && c->batch == 2 && c->seed == 5 && vaei_learning_rate(loaded) == 0);
        CHECK(c->optimizer.beta1 == (vae_real)0.5 && c->optimizer.beta2 == VAE_ZERO && c->optimizer.epsilon ==
              (vae_real)0.125);
        CHECK(c->kernels == VAE_KERNELS_PORTABLE);
        CHECK(c->layout == VAE_CHANNELS_LAST && c->likelihood == VAE_GAUSSIAN && c->sigma == (vae_real)0.3);
    }
    vae_destroy(loaded);
    loaded = NULL;
    config = net(CONVOLUTIONAL);        /* all of it again */
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_OK);
    vae_destroy(loaded);
    vae_destroy(model);
    free(file.at);
}

/* One thing in the config that is not the file's; NULL at the end. */
static const char *disagree(vae_config *c, int which) {
    switch (which) {
    case 0: c->latent++; return "latent";
    case 1: c->input.height++; return "input";
    case 2: c->input.width++; return "input";
    case 3: c->input.channels++; return "input";
    case 4: c->encoder[0].activation = VAE_TANH;
            return "encoder layer 1 has activation gelu in the file and tanh in the config: ";
    case 5: c->encoder[0].shape.channels++; return "encoder layer 1 has channels 3 in the file and 4 in the config: ";
    case 6: c->encoder[0].kernel_height = 2; return "encoder layer 1 has kernel [3,3] in the file and [2,3] in ";
    case 7: c->encoder[1].stride_width = 1; return "encoder layer 2 has stride [2,2] in the file and [2,1] in ";
    case 8: c->encoder[1].top = 2; return "encoder layer 2 has padding [1,1,1,1] in the file and [2,1,1,1] in ";
    case 9: c->encoder[2].shape.channels = 6; return "encoder layer 3 has units 5 in the file and 6 in the config: ";
    case 10: c->encoder[2].kind = VAE_LAYER_END; return "encoder has 3 layers";
    case 11: c->decoder[0] = VAE_DENSE(84, VAE_LINEAR); return "decoder has";
    case 12: c->sigma = 9; return "sigma";
    default: return NULL;
    }
}

TEST(test_config_that_disagrees) {
    vae_model  *model = make(CONVOLUTIONAL), *loaded = NULL, *other = make(SERIES);
    const bytes file = saved(model, 0), before = saved(other, 1);
    const char *what;
    vae_config  config;
    int         i;
    for (i = 0; config = net(CONVOLUTIONAL), (what = disagree(&config, i)) != NULL; i++) {
        EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
        CHECK_CONTAINS(problem.message, what);
        CHECK(!loaded);
    }
    config = net(CONVOLUTIONAL);
    config.allocator.allocate = ledger_allocate;
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
    EXPECT(vae_load("none", &config, &loaded, &problem), VAE_ERROR_CONFIG);
    CHECK(!loaded);
    EXPECT(vae_load_weights_memory(other, file.at, file.size, &problem), VAE_ERROR_CONFIG);
    CHECK(model_is(other, before));
    vae_destroy(other);
    vae_destroy(model);
    free(file.at);
    free(before.at);
}

/* In what two layers differ is said by its field; VAE_SAME and what it stands for are the same. */
TEST(test_layers_that_disagree) {
    vae_config    config, given;
    vae_model    *model, *loaded = NULL;
    bytes         file;
    const char   *says;
    int           i;
    memset(&config, 0, sizeof config);
    config.input.height = config.input.width = 6;
    config.input.channels = 1;
    config.latent = 2;
    config.encoder[0] = VAE_DENSE(9, VAE_RELU);
    config.encoder[0].batch_norm = 1;
    config.decoder[0] = VAE_DENSE_SHAPED(2, 2, 3, VAE_TANH);
    config.decoder[1] = VAE_CONV_TRANSPOSED(1, 2, 3, VAE_LINEAR);
    model = make_of(&config);
    file = saved(model, 0);
    for (i = 0; i < 7; i++) {
        given = config;
        switch (i) {
        case 0: given.encoder[0].batch_norm = 0; says = "encoder layer 1 has batch_norm 1 in the file and 0 in "; break;
        case 1:
            given.encoder[0] = VAE_CONV(9, 3, 2, VAE_RELU);
            says = "encoder layer 1 has kind dense in the file and conv in the config: leave it out there or ";
            break;
        case 2:
            given.decoder[0].shape.height = 4;
            says = "decoder layer 1 has shape [2,2,3] in the file and [4,2,3] in ";
            break;
        case 3:
            given.decoder[1] = VAE_CONV_TRANSPOSED_SYMMETRIC(1, 2, 3, 0, 0, VAE_LINEAR);
            says = "decoder layer 2 has output_padding [1,1] in the file and [0,0] in ";
            break;
        case 4:
            given.decoder[1] = VAE_CONV_TRANSPOSED_SYMMETRIC(1, 2, 3, 1, 1, VAE_LINEAR);
            says = "decoder layer 2 has padding [0,0,0,0] in the file and [1,1,1,1] in ";
            break;
        case 5: given.decoder[1] = VAE_CONV_TRANSPOSED_SYMMETRIC(1, 2, 3, 0, 1, VAE_LINEAR); says = NULL; break;
        default: given.encoder[0].batch_norm = 7; says = NULL;
        }
        EXPECT(vae_load_memory(file.at, file.size, &given, &loaded, &problem), says ? VAE_ERROR_CONFIG : VAE_OK);
        if (says) CHECK_CONTAINS(problem.message, says);
        vae_destroy(loaded);
        loaded = NULL;
    }
    vae_destroy(model);
    free(file.at);
}

TEST(test_classifier_that_the_file_lacks) {
    vae_model  *model = make(DENSE), *classifying;
    vae_config  config = net(DENSE);
    const bytes file = saved(model, 0);
    config.classifier[0] = VAE_DENSE(2, VAE_LINEAR);
    config.classifier_weight = 1;
    classifying = make_of(&config);
    EXPECT(vae_load_weights_memory(classifying, file.at, file.size, &problem), VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, "the file holds no classifier");
    free(file.at);
    vae_destroy(model);
    vae_destroy(classifying);
}

TEST(test_settings_that_disagree_are_named) {
    int         i;
    vae_model  *bernoulli = make(DENSE), *gaussian = make(FIXED_SIGMA), *loaded = NULL;
    const bytes file = saved(bernoulli, 0), other = saved(gaussian, 0);
    vae_config  config;
    memset(&config, 0, sizeof config);
    config.likelihood = VAE_GAUSSIAN;
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, "likelihood is bernoulli in the file and gaussian in the config");
    for (i = 0; i < 2; i++) {                               /* numbers without a name */
        config.likelihood = (vae_likelihood)(i ? 9 : -9);
        EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
        CHECK_CONTAINS(problem.message, i ? "likelihood is bernoulli in the file and 9 in the config"
                                          : "likelihood is bernoulli in the file and -9 in the config");
    }
    config.likelihood = VAE_BERNOULLI;
    EXPECT(vae_load_memory(other.at, other.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, "likelihood is gaussian in the file and bernoulli in the config");
    memset(&config, 0, sizeof config);
    config.sigma = (vae_real)0.3;
    EXPECT(vae_load_memory(other.at, other.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, "sigma is 0.5 in the file and 0.3 in the config");
    memset(&config, 0, sizeof config);
    config.encoder[1] = VAE_DENSE(4, VAE_RELU);
    EXPECT(vae_load_memory(other.at, other.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, "encoder layer 1 is empty, but layer 2 is set");
    memset(&config, 0, sizeof config);
    config.standardize = 1;
    EXPECT(vae_load_memory(other.at, other.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, "standardize is 0 in the file and 1 in the config");
    memset(&config, 0, sizeof config);
    config.input.height = 1; config.input.width = 4; config.input.channels = 1;
    EXPECT(vae_load_memory(other.at, other.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, "input is [1,3,1] in the file and [1,4,1] in the config");
    CHECK(!loaded);
    vae_destroy(bernoulli);
    vae_destroy(gaussian);
    free(file.at);
    free(other.at);
}

TEST(test_arguments) {
    vae_model  *model = make(DENSE), *loaded = NULL;
    const bytes file = saved(model, 0);
    EXPECT(vae_load_memory(NULL, 5, NULL, &loaded, &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_load_memory(file.at, file.size, NULL, NULL, &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_load_weights_memory(NULL, file.at, file.size, &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_load_weights_memory(model, NULL, file.size, &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_save(NULL, MODEL_FILE, &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_save(model, NULL, &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_save(model, "", &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_load(NULL, NULL, &loaded, &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_load(MODEL_FILE, NULL, NULL, &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_load_weights(model, NULL, &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_load("", NULL, &loaded, &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_load_weights(model, "", &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_load_matching(model, "", NULL, &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_load_weights(NULL, MODEL_FILE, &problem), VAE_ERROR_ARGUMENT);
    CHECK(vae_load_memory(file.at, 5, NULL, &loaded, NULL) == VAE_ERROR_FORMAT);        /* no error to fill */
    CHECK(!loaded && !exists(MODEL_FILE));
    free(file.at);
    vae_destroy(model);
}

/* ---- headers, right and wrong ----

   Written by hand for the network DENSE, with ' for ". All the data are zeros. */

#define TENSOR(name, shape, from, to) "'" name "':{'dtype':'F32','shape':[" shape "],'data_offsets':[" from "," to "]}"
#define EW TENSOR("encoder.0.weight", "2,3", "0", "24")
#define EB TENSOR("encoder.0.bias", "2", "24", "32")
#define MW TENSOR("mean.weight", "1,2", "32", "40")
#define MB TENSOR("mean.bias", "1", "40", "44")
#define LW TENSOR("logvar.weight", "1,2", "44", "52")
#define LB TENSOR("logvar.bias", "1", "52", "56")
#define DW TENSOR("decoder.0.weight", "2,1", "56", "64")
#define DB TENSOR("decoder.0.bias", "2", "64", "72")
#define GW TENSOR("decoder.2.weight", "3,2", "72", "96")
#define GB TENSOR("decoder.2.bias", "3", "96", "108")
#define REST "," EB "," MW "," MB "," LW "," LB "," DW "," DB "," GW "," GB
#define ALL EW REST
#define METADATA(inside) "{'__metadata__':" inside "," ALL "}"
#define NOTE(text) METADATA("{'a':'" text "'}")
#define FIRST(description) "{'encoder.0.weight':{" description "}" REST "}"
enum { DATA = 108 };

/* The file is as wanted for vae_load and vae_load_weights; a refusal names `words` and changes no model. */
static void check_file(const char *what, bytes file, vae_status wanted, const char *words) {
    static vae_model *old;      /* made once, for no file may change it */
    static bytes      before;
    const vae_config  config = net(DENSE);
    vae_model        *model = NULL;
    vae_config        with = config;
    ledger            l;
    int               good;
    if (!old) {
        old = make_trained(DENSE);
        before = saved(old, 1);
    }
    with.allocator = allocator_of(&l);
    good = EXPECT(vae_load_memory(file.at, file.size, &with, &model, &problem), wanted);
    if (wanted != VAE_OK) {
        good &= CHECK(!model);
        good &= CHECK_CONTAINS(problem.message, words);
    }
    vae_destroy(model);
    good &= CHECK(l.live == 0 && !l.mismatched);
    if (wanted == VAE_OK) {
        vae_model *other = make(DENSE);
        good &= EXPECT(vae_load_weights_memory(other, file.at, file.size, &problem), VAE_OK);
        good &= CHECK(other->parameters[0] == 0);
        vae_destroy(other);
    } else {
        good &= EXPECT(vae_load_weights_memory(old, file.at, file.size, &problem), wanted);
        good &= CHECK(model_is(old, before));
    }
    if (!good) printf("    with: %s\n", what);
}

static void check_header(const char *what, const char *header, size_t data, vae_status wanted, const char *words) {
    const bytes file = file_of(header, data);
    check_file(what, file, wanted, words);
    free(file.at);
}

TEST(test_headers_that_are_right) {
    static const struct { const char *what, *header; } rows[] = {
        { "plain", "{" ALL "}" },
        { "spaces around", " \t\r\n {" ALL " }  \n\t\r " },
        { "spaces within",
          "{'encoder.0.weight' : { 'data_offsets' : [ 0 , 24 ] , 'shape' : [ 2 , 3 ] , 'dtype'\n:\t'F32' } " REST "}" },
        { "other order", "{" GB "," GW "," DB "," DW "," LB "," LW "," MB "," MW "," EB "," EW "}" },
        { "metadata first", METADATA("{'format':'pt'}") },
        { "metadata last", "{" ALL ",'__metadata__':{}}" },
        { "metadata between", "{" EW ",'__metadata__':{'a':'b'}" REST "}" },
        { "escapes in metadata",
          METADATA("{'a\\u00e9':'\\ud83d\\ude00 \\\\ \\/ \\b\\f\\n\\r\\t \\' \\u0000 \xc3\xa9'}") },
        { "four bytes of UTF-8", NOTE("\xf0\x9f\x98\x80 \xef\xbf\xbf \xf4\x8f\xbf\xbf") },
        { "escaped names",
          "{'enc\\u006fder.0.weight':{'dtype':'\\u004632','shape':[2,3],'data_offsets':[0,24]}" REST "}" },
        { "braces in metadata", NOTE("}]{[,:") }
    };
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) check_header(rows[i].what, rows[i].header, DATA, VAE_OK, "");
}

TEST(test_headers_that_are_wrong) {
    static const struct { const char *what, *header, *words; } rows[] = {
        { "empty header", "", "JSON object" },
        { "array", "[]", "" },
        { "number", "12", "" },
        { "spaces only", "    ", "" },
        { "nothing in it", "{}", "encoder.0.weight" },
        { "only opened", "{", "" },
        { "not closed", "{" ALL, "" },
        { "closed wrongly", "{" ALL "]", "" },
        { "comma at the end", "{" ALL ",}", "comma" },
        { "comma at the beginning", "{," ALL "}", "" },
        { "two commas", "{" EW "," REST "}", "" },
        { "no comma", "{" EW " " EB "}", "" },
        { "no colon", "{'encoder.0.weight' {}" REST "}", "colon" },
        { "name without quotes", "{encoder:{}}", "" },
        { "a word follows", "{" ALL "}x", "" },
        { "a second object", "{" ALL "}{}", "" },
        { "no JSON space", "{" ALL "} \v", "" },
        { "byte order mark", "\xef\xbb\xbf{" ALL "}", "" },
        { "tensor twice", "{" ALL "," EW "}", "twice" },
        { "tensor twice, escaped",
          "{" ALL ",'enc\\u006fder.0.weight':{'dtype':'F32','shape':[2,3],'data_offsets':[0,24]}}", "twice" },
        { "metadata twice", "{'__metadata__':{},'__metadata__':{}," ALL "}", "twice" },
        { "key twice in metadata", METADATA("{'a':'1','b':'1','\\u0061':'2'}"), "twice" },
        { "key twice, of two halves", METADATA("{'\xf0\x9f\x98\x80':'1','\\ud83d\\ude00':'2'}"), "twice" },
        { "metadata with a number", METADATA("{'a':1}"), "" },
        { "metadata with an object", METADATA("{'a':{}}"), "" },
        { "metadata with null", METADATA("{'a':null}"), "" },
        { "metadata a list", METADATA("[]"), "" },
        { "metadata null", METADATA("null"), "" },
        { "unknown escape", NOTE("\\x"), "escape" },
        { "short \\u", NOTE("\\u12"), "escape" },
        { "\\u without hex", NOTE("\\u00g0"), "escape" },
        { "upper half of a pair", NOTE("\\ud800"), "escape" },
        { "lower half of a pair", NOTE("\\udc00"), "escape" },
        { "halves that do not match", NOTE("\\ud800\\u0041"), "escape" },
        { "control character", NOTE("\n"), "" },
        { "zero in a name", "{'a\\u0000':{}," ALL "}", "zero" },
        { "UTF-8: goes on without beginning", NOTE("\x80"), "UTF-8" },
        { "UTF-8: too long", NOTE("\xc0\xaf"), "UTF-8" },
        { "UTF-8: too long, three bytes", NOTE("\xe0\x80\x80"), "UTF-8" },
        { "UTF-8: too long, four bytes", NOTE("\xf0\x80\x80\x80"), "UTF-8" },
        { "UTF-8: half of a pair", NOTE("\xed\xa0\x80"), "UTF-8" },
        { "UTF-8: beyond the last", NOTE("\xf4\x90\x80\x80"), "UTF-8" },
        { "UTF-8: five bytes", NOTE("\xf8\x88\x80\x80\x80"), "UTF-8" },
        { "UTF-8: byte ff", NOTE("\xff"), "UTF-8" },
        { "UTF-8: cut", "{\xc3", "UTF-8" },
        { "tensor of others", "{" ALL ",'x\\n':{'dtype':'I64','shape':[],'data_offsets':[108,116]}}", "x?" },
        { "moments without our metadata", "{" ALL "," TENSOR("optimizer.m.mean.bias", "1", "108", "112") "}",
         "optimizer.m" },
        { "old moments without our metadata", "{" ALL "," TENSOR("adam.m.mean.bias", "1", "108", "112") "}", "adam.m" },
        { "tensor missing", "{" EW "," EB "," MW "," MB "," LW "," LB "," DW "," DB "," GW "}", "decoder.2.bias" },
        { "safetensors' own test file", "{'test':{'dtype':'I32','shape':[2,2],'data_offsets':[0,16]}}", "test" },
        { "shape turned", FIRST("'dtype':'F32','shape':[3,2],'data_offsets':[0,24]"), "[3, 2]" },
        { "shape flat", FIRST("'dtype':'F32','shape':[6],'data_offsets':[0,24]"), "[6]" },
        { "one dimension more", FIRST("'dtype':'F32','shape':[2,3,1],'data_offsets':[0,24]"), "[2, 3, 1]" },
        { "scalar", FIRST("'dtype':'F32','shape':[],'data_offsets':[0,4]"), "[]" },
        { "empty tensor", FIRST("'dtype':'F32','shape':[0,3],'data_offsets':[0,0]"), "[0, 3]" },
        { "huge shape", FIRST("'dtype':'F32','shape':[4294967296,4294967296],'data_offsets':[0,24]"), "4294967296" },
        { "shape beyond 64 bits",
          FIRST("'dtype':'F32','shape':[18446744073709551616],'data_offsets':[0,24]"), "large" },
        { "nine dimensions", FIRST("'dtype':'F32','shape':[1,1,1,1,1,1,1,2,3],'data_offsets':[0,24]"), "8" },
        { "negative shape", FIRST("'dtype':'F32','shape':[-2,3],'data_offsets':[0,24]"), "" },
        { "leading zero", FIRST("'dtype':'F32','shape':[02,3],'data_offsets':[0,24]"), "0" },
        { "fraction", FIRST("'dtype':'F32','shape':[2.0,3],'data_offsets':[0,24]"), "" },
        { "exponent", FIRST("'dtype':'F32','shape':[2e0,3],'data_offsets':[0,24]"), "" },
        { "shape a string", FIRST("'dtype':'F32','shape':'2','data_offsets':[0,24]"), "shape" },
        { "comma after the shape", FIRST("'dtype':'F32','shape':[2,3,],'data_offsets':[0,24]"), "comma" },
        { "dtype a number", FIRST("'dtype':32,'shape':[2,3],'data_offsets':[0,24]"), "" },
        { "long dtype",
          FIRST("'dtype':'F3222222222222222222222222222222222222','shape':[2,3],'data_offsets':[0,24]"), "" },
        { "no dtype", FIRST("'shape':[2,3],'data_offsets':[0,24]"), "dtype" },
        { "no shape", FIRST("'dtype':'F32','data_offsets':[0,24]"), "shape" },
        { "no offsets", FIRST("'dtype':'F32','shape':[2,3]"), "offsets" },
        { "dtype twice", FIRST("'dtype':'F32','dtype':'F32','shape':[2,3],'data_offsets':[0,24]"), "twice" },
        { "shape twice", FIRST("'shape':[2],'dtype':'F32','shape':[2,3],'data_offsets':[0,24]"), "twice" },
        { "offsets twice", FIRST("'data_offsets':[0,24],'dtype':'F32','shape':[2,3],'data_offsets':[0,24]"), "twice" },
        { "unknown key", FIRST("'dtype':'F32','shape':[2,3],'data_offsets':[0,24],'x':1"), "" },
        { "description a list", "{'encoder.0.weight':[]" REST "}", "" },
        { "one offset", FIRST("'dtype':'F32','shape':[2,3],'data_offsets':[24]"), "" },
        { "three offsets", FIRST("'dtype':'F32','shape':[2,3],'data_offsets':[0,24,24]"), "" },
        { "offsets turned", FIRST("'dtype':'F32','shape':[2,3],'data_offsets':[24,0]"), "" },
        { "offset beyond 64 bits",
          FIRST("'dtype':'F32','shape':[2,3],'data_offsets':[0,99999999999999999999]"), "large" },
        { "largest offset", FIRST("'dtype':'F32','shape':[2,3],'data_offsets':[0,18446744073709551615]"), "beyond" },
        { "both offsets largest",
          FIRST("'dtype':'F32','shape':[2,3],'data_offsets':[18446744073709551591,18446744073709551615]"), "beyond" },
        { "fewer bytes than the shape", FIRST("'dtype':'F32','shape':[2,3],'data_offsets':[0,20]"), "bytes" },
        { "fewer bytes than the dtype", FIRST("'dtype':'F64','shape':[2,3],'data_offsets':[0,24]"), "bytes" },
        { "overlap", FIRST("'dtype':'F32','shape':[2,3],'data_offsets':[8,32]"), "overlap" },
        { "two in the same place", "{" EW "," EB "," TENSOR("mean.weight", "1,2", "24", "32") "," MB "," LW "," LB ","
          DW "," DB "," GW "," GB "}", "overlap" }
    };
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_header(rows[i].what, rows[i].header, DATA, VAE_ERROR_FORMAT, rows[i].words);
        CHECK(strlen(problem.message) < sizeof problem.message - 1);        /* the sentence is not cut */
    }
}

TEST(test_data_that_do_not_fit_the_header) {
    check_header("hole", "{" EW "," EB "," MW "," MB "," LW "," LB "," DW "," DB "," GW ","
                 TENSOR("decoder.2.bias", "3", "100", "112") "}", DATA + 4, VAE_ERROR_FORMAT, "gap");
    check_header("one byte more", "{" ALL "}", DATA + 1, VAE_ERROR_FORMAT, "bytes");
    check_header("one byte less", "{" ALL "}", DATA - 1, VAE_ERROR_FORMAT, "beyond");
    check_header("no data", "{" ALL "}", 0, VAE_ERROR_FORMAT, "beyond");
}

TEST(test_header_lengths) {
    bytes        file = file_of("{" ALL "}", DATA);
    const size_t sizes[] = { 0, 1, 7, 8 };
    size_t       i;
    file.at[7] = 0x80;
    check_file("2^63", file, VAE_ERROR_FORMAT, "its header would be larger than the file");
    for (i = 0; i < 8; i++) file.at[i] = 0xFF;
    check_file("2^64 - 1", file, VAE_ERROR_FORMAT, "its header would be larger than the file");
    memset(file.at, 0, 8);
    file.at[2] = 0x10;
    check_file("longer than the file", file, VAE_ERROR_FORMAT, "header");
    memset(file.at, 0, 8);
    check_file("0", file, VAE_ERROR_FORMAT, "");
    free(file.at);
    file = file_of("{" ALL "}", DATA);
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const bytes cut = copy_of(file.at, sizes[i]);
        check_file("cut", cut, VAE_ERROR_FORMAT, "");
        free(cut.at);
    }
    file.at[8 + 5] = 0;
    check_file("a zero in the header", file, VAE_ERROR_FORMAT, "");
    free(file.at);
}

TEST(test_limits) {
    enum { ROOM = 600000 };
    char  *big = (char *)malloc(ROOM);
    size_t n;
    int    i, count;
    for (n = 0, i = 0; i < 4097; i++)
        n += (size_t)sprintf(big + n, "%s't%d':{'dtype':'F32','shape':[1],'data_offsets':[%d,%d]}", i ? "," : "{", i,
                             4 * i, 4 * i + 4);
    strcpy(big + n, "}");
    check_header("4097 tensors", big, 4 * 4097, VAE_ERROR_FORMAT, "4096");
    for (count = 512; count <= 513; count++) {
        n = (size_t)sprintf(big, "{'__metadata__':");
        for (i = 0; i < count; i++) n += (size_t)sprintf(big + n, "%s'm%d':''", i ? "," : "{", i);
        strcpy(big + n, "}," ALL "}");
        check_header("512 or 513 entries", big, DATA, count > 512 ? VAE_ERROR_FORMAT : VAE_OK, "512");
    }
    memset(big, 'a', 400);
    memcpy(big, "{'", 2);
    strcpy(big + 300, "':{}}");
    check_header("long name", big, DATA, VAE_ERROR_FORMAT, "long");
    memset(big, 'a', 400);
    memcpy(big, "{'", 2);
    strcpy(big + 252, "':{'dtype':'F32','shape':[1],'data_offsets':[0,4]}}");
    check_header("longest name", big, DATA, VAE_ERROR_FORMAT, "aaaa");
    memset(big, '[', 500000);
    big[500000] = 0;
    check_header("deep", big, DATA, VAE_ERROR_FORMAT, "");
    for (n = 0, i = 0; i < 8; i++) n += (size_t)sprintf(big + n, "%s18446744073709551615", i ? "," : "{'mean.bias':"
                                                        "{'dtype':'F32','data_offsets':[0,4],'shape':[");
    strcpy(big + n, "]}}");
    check_header("eight dimensions of 2^64 - 1", big, DATA, VAE_ERROR_FORMAT, "mean.bias");
    n = (size_t)sprintf(big, "{'__metadata__':{'a':'");
    memset(big + n, 'x', 400000);
    strcpy(big + n + 400000, "'}," ALL "}");
    check_header("long value", big, DATA, VAE_OK, "");
    free(big);
}

/* ---- files made to be slow ---- */

/* A header of encoder.0.bias and, before it in the data, `count` tensors of a byte each in the given order. */
static bytes many_tensors(const int *order, int count) {
    char  *header = (char *)malloc((size_t)count * 80 + 200);
    size_t n = (size_t)sprintf(header, "{'encoder.0.bias':{'dtype':'F32','shape':[2],'data_offsets':[%d,%d]}", count,
                               count + 8);
    bytes  file;
    int    i;
    for (i = 0; i < count; i++)
        n += (size_t)sprintf(header + n, ",'t%d':{'dtype':'U8','shape':[1],'data_offsets':[%d,%d]}", i, order[i],
                             order[i] + 1);
    strcpy(header + n, "}");
    file = file_of(header, (size_t)count + 8);
    free(header);
    return file;
}

/* `count` metadata, of which the first has a long value and number `second` the name of number `first`. */
static bytes many_names(int count, int first, int second, size_t length) {
    char  *header = (char *)malloc((size_t)count * 20 + length + 400);
    size_t n = (size_t)sprintf(header, "{'__metadata__':{'m%d':'", second == 0 ? first : 0);
    bytes  file;
    int    i;
    memset(header + n, 'x', length);
    n += length;
    for (i = 1; i < count; i++) n += (size_t)sprintf(header + n, "','m%d':'", i == second ? first : i);
    strcpy(header + n, "'},'encoder.0.bias':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}");
    file = file_of(header, 8);
    free(header);
    return file;
}

TEST(test_tensors_in_any_order) {
    enum { COUNT = 150 };
    vae_model  *model = make(DENSE);
    test_random random = { 7 };
    int         order[COUNT], turn, i;
    for (i = 0; i < COUNT; i++) order[i] = i;
    for (turn = 0; turn < 60; turn++) {
        bytes     file;
        const int at = (int)(test_bits(&random) % (COUNT - 1)), kept = order[at];
        for (i = COUNT - 1; i > 0 && turn; i--) {
            const int other = (int)(test_bits(&random) % (uint64_t)(i + 1)), moved = order[i];
            order[i] = order[other];
            order[other] = moved;
        }
        file = many_tensors(order, COUNT);
        EXPECT(vae_load_matching_memory(model, file.at, file.size, NULL, &problem), VAE_OK);
        free(file.at);
        for (i = 0; i < COUNT && order[i] != kept; i++) {}
        order[i] = (kept + 1 + turn) % COUNT;           /* one byte twice, one not at all */
        file = many_tensors(order, COUNT);
        EXPECT(vae_load_matching_memory(model, file.at, file.size, NULL, &problem), VAE_ERROR_FORMAT);
        CHECK_CONTAINS(problem.message, "gap or overlap at byte");
        free(file.at);
        order[i] = kept;
    }
    vae_destroy(model);
}

TEST(test_metadata_names_that_come_twice) {
    static const int pairs[][2] = { { 0, 1 }, { 0, 199 }, { 62, 63 }, { 63, 64 }, { 64, 65 }, { 1, 128 }, { 198, 199 } };
    vae_model       *model = make(DENSE);
    bytes            file = many_names(200, 1, 1, 3);
    size_t           i;
    EXPECT(vae_load_matching_memory(model, file.at, file.size, NULL, &problem), VAE_OK);
    free(file.at);
    for (i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        file = many_names(200, pairs[i][0], pairs[i][1], 3);
        EXPECT(vae_load_matching_memory(model, file.at, file.size, NULL, &problem), VAE_ERROR_FORMAT);
        CHECK_CONTAINS(problem.message, "a name comes twice");
        free(file.at);
    }
    vae_destroy(model);
}

#ifndef __wasi__
static double seconds_to_load(vae_model *model, bytes file) {
    const clock_t began = clock();
    EXPECT(vae_load_matching_memory(model, file.at, file.size, NULL, &problem), VAE_OK);
    return (double)(clock() - began) / CLOCKS_PER_SEC;
}

/* As many tensors and metadata as there may be, in the order that is worst for a reader that remembers none of them:
   a walk through the header for each would take hundreds of times as long. */
TEST(test_files_made_to_be_slow) {
    enum { COUNT = 4095 };
    static int  order[COUNT];
    const bytes one_name = many_names(1, 0, 0, 1 << 20), names = many_names(512, 0, 0, 1 << 20);
    vae_model  *model = make(DENSE);
    bytes       file;
    double      in_order, reversed;
    int         i;
    for (i = 0; i < COUNT; i++) order[i] = i;
    file = many_tensors(order, COUNT);
    in_order = seconds_to_load(model, file);
    free(file.at);
    for (i = 0; i < COUNT; i++) order[i] = COUNT - 1 - i;
    file = many_tensors(order, COUNT);
    reversed = seconds_to_load(model, file);
    free(file.at);
    if (!CHECK(reversed < 60 * in_order + 0.01)) printf("    %g s in order, %g s reversed\n", in_order, reversed);
    in_order = seconds_to_load(model, one_name);
    reversed = seconds_to_load(model, names);
    if (!CHECK(reversed < 20 * in_order + 0.01)) printf("    %g s for one name, %g s for 512\n", in_order, reversed);
    free(one_name.at);
    free(names.at);
    vae_destroy(model);
}
#endif

TEST(test_file_without_network_needs_the_config) {
    const bytes file = file_of("{" ALL "}", DATA);
    vae_model  *model = NULL;
    vae_config  config = net(DENSE);
    EXPECT(vae_load_memory(file.at, file.size, NULL, &model, &problem), VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, "config");
    config.latent = 2;
    EXPECT(vae_load_memory(file.at, file.size, &config, &model, &problem), VAE_ERROR_FORMAT);
    CHECK_CONTAINS(problem.message, "mean.weight");
    config.latent = 0;
    EXPECT(vae_load_memory(file.at, file.size, &config, &model, &problem), VAE_ERROR_CONFIG);
    CHECK(!model);
    free(file.at);
}

/* ---- our metadata, wrong in every field ---- */

/* `text` with its first `from` as `to`, in which ' stands for `quote`; NULL where `from` is not in it. */
static char *replaced(const char *text, const char *from, const char *to, const char *quote) {
    char       *result = (char *)malloc(strlen(text) + 2 * strlen(to) + 1), *out = result, find[300];
    const char *at;
    size_t      n = 0;
    for (at = from; *at; at++) {
        if (*at == '\'') n += (size_t)sprintf(find + n, "%s", quote);
        else find[n++] = *at;
    }
    find[n] = 0;
    at = strstr(text, find);
    if (!at) {
        free(result);
        return NULL;
    }
    memcpy(out, text, (size_t)(at - text));
    out += at - text;
    for (; *to; to++) {
        if (*to == '\'') out += sprintf(out, "%s", quote);
        else *out++ = *to;
    }
    strcpy(out, at + n);
    return result;
}

typedef struct change {
    const char *from, *to;
} change;

/* The file of a checkpoint with one change in its header is read, or refused. */
static void check_change(int which, const change *c, const char *quote, int readable) {
    vae_model   *model = make(which), *loaded = NULL;
    const bytes  file = saved(model, 1), before = saved(model, 1);
    const size_t length = header_size(file);
    char        *text = (char *)malloc(length + 1), *changed;
    memcpy(text, file.at + 8, length);
    text[length] = 0;
    changed = replaced(text, c->from, c->to, quote);
    if (!CHECK(changed != NULL)) printf("    %s is not in the header\n", c->from);
    else {
        const size_t data = file.size - 8 - length;
        bytes        other = file_of(changed, data);
        int          good;
        memcpy(other.at + other.size - data, file.at + 8 + length, data);
        good = CHECK((vae_load_memory(other.at, other.size, NULL, &loaded, &problem) == VAE_OK) == readable);
        good &= CHECK((loaded != NULL) == readable);
        if (!readable) {
            good &= CHECK(problem.status == VAE_ERROR_FORMAT || problem.status == VAE_ERROR_CONFIG ||
                          problem.status == VAE_ERROR_UNSUPPORTED || problem.status == VAE_ERROR_MEMORY);
            good &= CHECK(strlen(problem.message) > 10);
        }
        vae_load_weights_memory(model, other.at, other.size, NULL);     /* the same weights, or nothing */
        good &= CHECK(model_is(model, before));
        if (!good) printf("    %s as %s: %s\n", c->from, c->to, readable ? problem.message : "");
        free(other.at);
    }
    vae_destroy(loaded);
    vae_destroy(model);
    free(changed);
    free(text);
    free(file.at);
    free(before.at);
}

TEST(test_networks_that_are_wrong) {
    static const change rows[] = {
        { "'latent':1", "'latent':0" }, { "'latent':1", "'latent':-1" }, { "'latent':1", "'latent':99999999999" },
        { "'latent':1", "'latent':1.5" }, { "'latent':1", "'latent':2" }, { "'latent':1", "'latent':'1'" },
        { "'latent':1", "'latent':1,'latent':1" }, { "'latent':1,", "" },
        { "[1,3,1]", "[1,3]" }, { "[1,3,1]", "[1,3,1,1]" }, { "[1,3,1]", "[1,0,1]" }, { "[1,3,1]", "[1,3,99999999]" },
        { "[1,3,1]", "[67108864,67108864,67108864]" }, { "[1,3,1]", "[1,3,1" }, { "[1,3,1]", "[1,3,1,]" },
        { "[1,3,1]", "3" }, { "'input':[1,3,1],", "" },
        { "'dense'", "'rnn'" }, { "'dense'", "'conv'" }, { "'dense'", "3" }, { "'kind':'dense',", "" },
        { "'relu'", "'rel'" }, { "'relu'", "'re\\\\u006cu'" }, { "'relu'", "''" },
        { ",'activation':'relu'", "" },
        { "'shape':[1,1,2],", "" }, { "'shape':[1,1,2],", "'shape':[1,1,2],'kernel':[3,3]," },
        { "'shape':[1,1,2],", "'shape':[1,1,2],'shape':[1,1,2]," }, { "'shape':[1,1,2],", "'shape':[1,1,0]," },
        { "'encoder':[", "'encoder':[],'x':[" }, { "'encoder':[", "'encoder':[{" },
        { "'encoder':[{'kind':'dense','shape':[1,1,2],'activation':'relu'}],", "" },
        { "'decoder':[{'kind':'dense','shape':[1,1,2],'activation':'relu'},"
          "{'kind':'dense','shape':[1,3,1],'activation':'linear'}],", "" },
        { "'encoder':[{", "'encoder':[{},{" }, { "'gaussian'", "'poisson'" }, { "'likelihood':'gaussian',", "" },
        { "'sigma':0.5", "'sigma':-1" }, { "'sigma':0.5", "'sigma':1e999" },
        { "'sigma':0.5", "'sigma':NaN" }, { "'sigma':0.5", "'sigma':null" },
        { "'sigma':0.5", "'sigma':01" }, { "'sigma':0.5", "'sigma':1." }, { "'sigma':0.5", "'sigma':.5" },
        { "'sigma':0.5", "'sigma':1e" }, { "'sigma':0.5", "'sigma':" }, { "'beta':1", "'beta':-1" },
        { "'sigma':0.5", "'sigma':1e-7" }, { "'sigma':0.5", "'sigma':1e7" },
        { "'pytorch'", "'torch'" }, { "'pytorch'", "'pytorch','layout':'channels_middle'" },
        { "'beta':1", "'beta':1,'beta_schedule':{'kind':'spiral'}" }, { "'beta':1", "'beta':1,'beta_schedule':1" },
        { "'beta':1", "'beta':1,'beta_schedule':{'steps':1}}" }, { "'beta':1", "'beta':1,'part':'half'" },
        { "'kind':'adam'", "'kind':'lion'" }, { "'kind':'adam'", "'kind':1" },
        { "'beta':1", "'beta':1,'standardize':1" }, { "'beta':1", "'beta':1,'standardize':[1]" },
        { "'beta1':0.9,", "'beta1':1," }, { "'beta2':0.999,", "'beta2':1.5," }, { "'epsilon':", "'epsilom':" },
        { "'optimizer':{", "'optimizer':[" }, { "'optimizer':{", "'optimizer':{'beta1':0.5," },
        { "'seed':'77'", "'seed':77" }, { "'seed':'77'", "'seed':'18446744073709551616'" },
        { "'seed':'77'", "'seed':''" }, { "'seed':'77'", "'seed':'-1'" }, { "'seed':'77'", "'seed':'7 7'" },
        { "'batch':4", "'batch':0" }, { "'batch':4}", "'batch':4" }, { "'batch':4}", "'batch':4}}" },
        { "'batch':4}", "'batch':4} x" }, { "'batch':4", "'batch':9223372036854775807" },
        { "'batch':4", "'batch':4,'dropout':0.1" }, { "'batch':4", "'batch':4,"  },
        { "'step':'0'", "'step':0" }, { "'step':'0',", "" }, { "'step':'0'", "'step':'18446744073709551616'" },
        { "'step':'0'", "'step':'18446744073709551615'" },
        { "'step':'0'", "'step':'0','step':'0'" }, { "'epoch':'0'", "'epoch':'-1'" }, { "'epoch':'0'", "'era':'0'" },
        { "'samples_drawn':'0'}", "'samples_drawn':'0'" }, { "'samples_drawn':'0'}", "'samples_drawn':'0'} 1" }
    };
    static const change outside[] = {
        { "'vae.version':'2'", "'vae.version':'3'" }, { "'vae.version':'2'", "'vae.version':''" },
        { "'vae.version':'2'", "'vae.version':'0'" }, { "'vae.version':'2'", "'vae.version':'2x'" },
        { "'vae.version':'2'", "'vae.version':'1'" },       /* of version 1 the moments are adam.m. and adam.v. */
        { "'vae.version':'2',", "" }, { "'vae.config':'{", "'vae.config':'[" }, { "'vae.config':'{", "'vae.config':'" },
        { "'vae.state':'{", "'vae.state':'" }, { "'vae.config':'{", "'vae.config':'','x':'{" },
        { "'optimizer.m.mean.bias'", "'optimizer.w.mean.bias'" },
        { "'optimizer.m.mean.bias'", "'optimizer.v.mean.bias'" },
        { "'optimizer.m.mean.bias'", "'optimizer.m.mean.none'" }, { "'optimizer.m.mean.bias'", "'adam.m.mean.bias'" }
    };
    static const change zero = { "'encoder':[", "'encoder':[\\u0000" };
    size_t              i;
    check_change(FIXED_SIGMA, &zero, "\\\"", 0);
    CHECK_CONTAINS(problem.message, "an object is missing");       /* where a zero stands: the list does end */
    for (i = 0; i < sizeof rows / sizeof *rows; i++) check_change(FIXED_SIGMA, &rows[i], "\\\"", 0);
    for (i = 0; i < sizeof outside / sizeof *outside; i++) check_change(DENSE, &outside[i], "\"", 0);
}

/* Settings may be left out; spaces and the order are free. */
TEST(test_networks_that_are_right) {
    static const change rows[] = {
        { "'sigma':0.5", "'sigma':5.0e-01" }, { "'beta':1,", "" }, { "'beta':1", "'beta':1.0e+00" },
        { "'initialization':'pytorch',", "" }, { "'beta':1", "'layout':'channels_first'" },
        { "'beta':1", "'beta_schedule':{'kind':'constant'}" }, { "'beta':1", "'part':'whole'" },
        { "'kind':'adam',", "" }, { "'optimizer'", "'adam'" },
        { "'seed':'77',", "" }, { ",'batch':4", "" }, { "'batch':4", "'batch':65" },
        { "'seed':'77'", "'seed':'18446744073709551615'" }, { "'latent':1", " 'latent' : 1 " },
        { "'learning_rate':0.001,", "" }, { "[1,3,1]", "[ 1 , 3 , 1 ]" }, { "'batch':4}", "'batch':4}  " },
        { "'epoch':'0'", "'epoch':'18446744073709551615'" }, { "'epoch':'0'", "'epoch':'0','epoch_rows':'4'" }
    };
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) check_change(FIXED_SIGMA, &rows[i], "\\\"", 1);
}

/* ---- types of numbers ---- */

/* DENSE with all its tensors of one type of `size` bytes; the first one's data begin at *at. */
static bytes file_of_type(const char *type, size_t size, size_t *at) {
    static const struct { const char *name, *shape; size_t count; } tensors[] = {
        { "encoder.0.weight", "2,3", 6 }, { "encoder.0.bias", "2", 2 }, { "mean.weight", "1,2", 2 },
        { "mean.bias", "1", 1 }, { "logvar.weight", "1,2", 2 }, { "logvar.bias", "1", 1 },
        { "decoder.0.weight", "2,1", 2 }, { "decoder.0.bias", "2", 2 }, { "decoder.2.weight", "3,2", 6 },
        { "decoder.2.bias", "3", 3 }
    };
    char   header[4000];
    size_t n = 0, end = 0, i;
    bytes  file;
    for (i = 0; i < sizeof tensors / sizeof *tensors; i++) {
        const size_t begin = end;
        end += tensors[i].count * size;
        n += (size_t)sprintf(header + n, "%s'%s':{'dtype':'%s','shape':[%s],'data_offsets':[%u,%u]}", i ? "," : "{",
                             tensors[i].name, type, tensors[i].shape, (unsigned)begin, (unsigned)end);
    }
    strcpy(header + n, "}");
    file = file_of(header, end);
    *at = file.size - end;
    return file;
}

static void put_bits(unsigned char *at, uint64_t bits, size_t size) {
    for (; size; size--, bits >>= 8) *at++ = (unsigned char)(bits & 255);
}

typedef struct number_type {
    const char *name;
    size_t      size;
    uint64_t    bits[6];
    double      values[6];
    uint64_t    bad[3];         /* infinity, minus infinity, not a number */
} number_type;

static const number_type types[] = {
    { "F16", 2, { 0x3C00, 0xC000, 0x0001, 0x83FF, 0x7BFF, 0x8000 },
      { 1, -2, 5.9604644775390625e-8, -6.0975551605224609375e-5, 65504, 0 }, { 0x7C00, 0xFC00, 0x7E01 } },
    { "BF16", 2, { 0x3F80, 0xC000, 0x0001, 0x7F7F, 0x3EAB, 0x8000 },
      { 1, -2, 9.18354961579912115600575419705e-41, 3.38953138925153547590470800371e38, 0.333984375, 0 },
      { 0x7F80, 0xFF80, 0x7FC0 } },
    { "F32", 4, { 0x3F800000, 0xC0000000, 0x00000001, 0x7F7FFFFF, 0x3EAAAAAB, 0x80000000 },
      { 1, -2, 1.40129846432481707092372958329e-45, 3.40282346638528859811704183485e38, 0.3333333432674407958984375,
        0 },
      { 0x7F800000, 0xFF800000, 0x7FC00001 } },
    { "F64", 8, { UINT64_C(0x3FF0000000000000), UINT64_C(0xC000000000000000), UINT64_C(0x3FB999999999999A), 1,
                  UINT64_C(0x8000000000000000), UINT64_C(0x47EFFFFFE0000000) },
      { 1, -2, 0.1, 4.94065645841246544176568792868e-324, 0, 3.40282346638528859811704183485e38 },
      { UINT64_C(0x7FF0000000000000), UINT64_C(0xFFF0000000000000), UINT64_C(0x7FF8000000000001) } }
};

TEST(test_types_that_are_read) {
    const vae_config config = net(DENSE);
    size_t           t, i, at;
    for (t = 0; t < sizeof types / sizeof *types; t++) {
        const number_type *type = &types[t];
        const bytes        file = file_of_type(type->name, type->size, &at);
        vae_model         *model = NULL;
        vae_real           numbers[6];
        for (i = 0; i < 6; i++) put_bits(file.at + at + i * type->size, type->bits[i], type->size);
        if (EXPECT(vae_load_memory(file.at, file.size, &config, &model, &problem), VAE_OK)) {
            EXPECT(vae_get_tensor(model, "encoder.0.weight", numbers, 6, &problem), VAE_OK);
            for (i = 0; i < 6; i++) CHECK(numbers[i] == (vae_real)type->values[i]);
        }
        vae_destroy(model);
        for (i = 0; i < 3; i++) {
            put_bits(file.at + at + 2 * type->size, type->bad[i], type->size);
            check_file(type->name, file, VAE_ERROR_FORMAT, "encoder.0.weight");
            CHECK_CONTAINS(problem.message, "number 2");
            CHECK_CONTAINS(problem.message, "finite");
        }
        free(file.at);
    }
}

/* A double that is too large for a float; in VAE_DOUBLE it is not. */
TEST(test_doubles_beyond_float) {
    const vae_config config = net(DENSE);
    vae_model       *model = NULL;
    size_t           at;
    const bytes      file = file_of_type("F64", 8, &at);
    put_bits(file.at + at, UINT64_C(0xC7EFFFFFF0000000), 8);
    EXPECT(vae_load_memory(file.at, file.size, &config, &model, &problem),
           sizeof(vae_real) == 8 ? VAE_OK : VAE_ERROR_FORMAT);
    vae_destroy(model);
    free(file.at);
}

/* All numbers of 16 bits, by the formula of IEEE 754. */
TEST(test_half_precision) {
    volatile float denormal = 1e-40f;
    int32_t        bits;
    for (bits = 0; bits < 65536; bits++) {
        static const struct { int type, digits, bias; } kinds[] = { { VAEI_F16, 10, 15 }, { VAEI_BF16, 7, 127 } };
        int k;
        for (k = 0; k < 2; k++) {
            const int     digits = kinds[k].digits, most = (1 << (15 - digits)) - 1;
            const int     exponent = (int)(bits >> digits) & most, fraction = (int)(bits & ((1 << digits) - 1));
            const double  size = exponent ? ldexp((1 << digits) + fraction, exponent - kinds[k].bias - digits)
                                          : ldexp(fraction, 1 - kinds[k].bias - digits);
            unsigned char at[2];
            vae_real      number = -7;
            put_bits(at, (uint64_t)bits, 2);
            if (exponent == most) CHECK(!vaei_decode_number(kinds[k].type, at, &number));
            else if (exponent || (double)denormal > 0)     /* unless -Ofast has told the processor to flush them */
                CHECK(vaei_decode_number(kinds[k].type, at, &number) && (double)number == (bits >> 15 ? -size : size));
        }
    }
}

TEST(test_types_that_are_refused_by_name) {
    static const struct { const char *name; size_t size; } others[] = {
        { "BOOL", 1 }, { "U8", 1 }, { "I8", 1 }, { "F8_E5M2", 1 }, { "F8_E4M3", 1 }, { "F8_E8M0", 1 },
        { "F8_E4M3FNUZ", 1 }, { "F8_E5M2FNUZ", 1 }, { "F4", 1 }, { "F6_E2M3", 1 }, { "F6_E3M2", 1 }, { "I16", 2 },
        { "U16", 2 }, { "I32", 4 }, { "U32", 4 }, { "I64", 8 }, { "U64", 8 }, { "C64", 8 }, { "f32", 4 }, { "F", 4 },
        { "F322", 4 }, { "", 4 }
    };
    char   words[40];
    size_t i, at;
    for (i = 0; i < sizeof others / sizeof *others; i++) {
        const bytes file = file_of_type(others[i].name, others[i].size, &at);
        sprintf(words, "dtype %s:", others[i].name);
        words[strlen(words) - 1] = 0;
        check_file(others[i].name, file, VAE_ERROR_FORMAT, words);
        free(file.at);
    }
}

/* ---- files of vae.h 0.1 ---- */

static bytes old_file(const char *name) {
    char path[100];
    sprintf(path, "../../tests/files/%s", name);
    return read_file(path);
}

/* They load, go on with the bits that 0.1 went on with, and are saved as new ones. */
static void check_old_file(const char *name, int numbers, vae_layout layout, uint64_t stopped, uint64_t finished) {
    char           path[40];
    vae_model     *weights = NULL, *resumed = NULL, *again = NULL;
    bytes          file, checkpoint, now;
    vae_config     config;
    vae_fit_config fit;
    const vae_data data = recipe_data((size_t)numbers);
    memset(&config, 0, sizeof config);
    memset(&fit, 0, sizeof fit);
    sprintf(path, "%s_0_1.safetensors", name);
    file = old_file(path);
    sprintf(path, "%s_0_1.checkpoint", name);
    checkpoint = old_file(path);
    EXPECT(vae_load_memory(file.at, file.size, NULL, &weights, &problem), VAE_OK);
    if (weights && sizeof(vae_real) == 4) CHECK(recipe_hash(weights) == stopped);
    config.layout = layout;
    config.kernels = VAE_KERNELS_PORTABLE;
    if (EXPECT(vae_load_memory(checkpoint.at, checkpoint.size, &config, &resumed, &problem), VAE_OK)) {
        CHECK(resumed->step == 4 && resumed->epoch == 1 && resumed->position == RECIPE_BATCH && !resumed->epoch_rows);
        CHECK(resumed->settings.layout == layout && resumed->file_batch == RECIPE_BATCH);
        now = saved(resumed, 1);
        CHECK(strstr((const char *)now.at + 8, "\"vae.version\":\"2\"") != NULL);
        CHECK(strstr((const char *)now.at + 8, "\"optimizer.m.mean.bias\"") != NULL);
        CHECK(!strstr((const char *)now.at + 8, "layout") && !strstr((const char *)now.at + 8, "adam."));
        EXPECT(vae_load_memory(now.at, now.size, &config, &again, &problem), VAE_OK);
        free(now.at);
        fit.epochs = 2;
        EXPECT(vae_fit(resumed, &data, &fit, &problem), VAE_OK);
#ifndef RECKLESS                                /* the recipe's data round in another way */
        if (sizeof(vae_real) == 4) CHECK(recipe_hash(resumed) == finished);
#else
        (void)finished;
#endif
        if (again) {
            EXPECT(vae_fit(again, &data, &fit, &problem), VAE_OK);
            CHECK(recipe_hash(again) == recipe_hash(resumed));
        }
    }
    EXPECT(vae_load_weights_memory(resumed, file.at, file.size, &problem), VAE_OK);
    if (weights && resumed) CHECK(recipe_hash(resumed) == recipe_hash(weights));
    vae_destroy(weights);
    vae_destroy(resumed);
    vae_destroy(again);
    free(file.at);
    free(checkpoint.at);
}

TEST(test_old_files) {
    check_old_file("dense", 8, VAE_CHANNELS_LAST, UINT64_C(0xb7174333dbd8f781), UINT64_C(0xf180289054efde7a));
    check_old_file("gaussian", 60, VAE_CHANNELS_FIRST, UINT64_C(0x38dc7874a2140e14), UINT64_C(0x429ded8ca30fea21));
}

/* ---- changes to a header of ours ---- */

/* The file of `model` with the first `from` in its header as `to`; see replaced. */
static bytes changed_file(const vae_model *model, int checkpoint, const char *from, const char *to, const char *quote) {
    const bytes  file = saved(model, checkpoint);
    const size_t length = header_size(file), data = file.size - 8 - length;
    char        *text = (char *)malloc(length + 1), *other;
    bytes        result = { NULL, 0 };
    memcpy(text, file.at + 8, length);
    text[length] = 0;
    other = replaced(text, from, to, quote);
    if (CHECK(other != NULL)) {
        result = file_of(other, data);
        memcpy(result.at + result.size - data, file.at + 8 + length, data);
    }
    free(other);
    free(text);
    free(file.at);
    return result;
}

TEST(test_files_of_a_newer_version) {
    static const struct { change c; int inside; const char *words; } rows[] = {
        { { "'batch':4", "'batch':4,'dropout':0.1" }, 1, "`dropout`" },
        { { "'bernoulli'", "'student'" }, 1, "`student` for likelihood" },
        { { "'kind':'adam'", "'kind':'lion'" }, 1, "`lion` for kind" },
        { { "'relu'", "'mish'" }, 1, "`mish`" }, { { "'kind':'dense'", "'kind':'attention'" }, 1, "`attention`" },
        { { "'learning_rate':0.001", "'learning_rate':0.001,'nesterov':1" }, 1, "`nesterov`" },
        { { "'epoch':'0'", "'epoch':'0','best':1.5" }, 1, "`best`" },
        { { "'vae.version':'2'", "'vae.version':'3'" }, 0, "vae.version is 3" }
    };
    vae_model  *model = make(DENSE), *loaded = NULL;
    const bytes before = saved(model, 1);
    size_t      i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        const bytes file = changed_file(model, 1, rows[i].c.from, rows[i].c.to, rows[i].inside ? "\\\"" : "\"");
        EXPECT(vae_load_memory(file.at, file.size, NULL, &loaded, &problem), VAE_ERROR_UNSUPPORTED);
        CHECK_CONTAINS(problem.message, "newer than this vae.h (" VAE_VERSION ")");
        CHECK_CONTAINS(problem.message, rows[i].words);
        free(file.at);
    }
    CHECK(!loaded && model_is(model, before));
    free(before.at);
    vae_destroy(model);
}

/* Every optimiser and schedule that there is, with no setting at its default, comes back as it was. */
TEST(test_every_optimizer_and_schedule) {
    int kind, schedule;
    for (kind = 1; kind < VAEI_OPTIMIZERS; kind++)
        for (schedule = 1; schedule < VAEI_SCHEDULES; schedule++) {
            vae_model *model, *loaded = NULL;
            vae_config config = net(DENSE), before, after;
            bytes      file;
            config.optimizer.kind = (vae_optimizer_kind)kind;
            config.optimizer.learning_rate = (vae_real)0.03;
            config.optimizer.schedule.kind = config.beta_schedule.kind = (vae_schedule_kind)schedule;
            if (schedule != VAE_CONSTANT) {
                config.optimizer.schedule.steps = UINT64_C(12345678901);
                config.beta_schedule.steps = 50;
                config.optimizer.schedule.from = config.beta_schedule.from = (vae_real)0.1;
            }
            if (schedule > VAE_WARMUP) {
                config.optimizer.schedule.warmup = 9;
                config.beta_schedule.warmup = 5;
            }
            if (schedule > VAE_WARMUP && schedule != VAE_CYCLICAL)
                config.optimizer.schedule.to = config.beta_schedule.to = (vae_real)0.2;
            config.optimizer.clip_norm = (vae_real)0.7;
            model = make_of(&config);
            train(model, 3);
            file = saved(model, 1);
            if (EXPECT(vae_load_memory(file.at, file.size, NULL, &loaded, &problem), VAE_OK)) {
                before = config_of(model);
                after = config_of(loaded);
                before.optimizer.schedule.kind = after.optimizer.schedule.kind = (vae_schedule_kind)schedule;
                CHECK(!memcmp(&before.optimizer, &after.optimizer, sizeof before.optimizer));
                CHECK(before.beta_schedule.steps == after.beta_schedule.steps &&
                      before.beta_schedule.from == after.beta_schedule.from);
                CHECK(schedule == VAE_CONSTANT || (after.beta_schedule.kind == (vae_schedule_kind)schedule &&
                                                   loaded->settings.optimizer.schedule.kind ==
                                                       after.beta_schedule.kind));
                train(model, 2);
                train(loaded, 2);
                CHECK(same_numbers(model, model->parameters, loaded->parameters));
            }
            vae_destroy(loaded);
            vae_destroy(model);
            free(file.at);
        }
}

/* An optimiser with another number of moments begins with none; schedules are taken as a whole. */
TEST(test_optimizer_overrides) {
    vae_model  *model = make_trained(DENSE), *loaded = NULL;
    const bytes file = saved(model, 1);
    vae_config  config;
    memset(&config, 0, sizeof config);
    config.optimizer.kind = VAE_ADAM;
    config.optimizer.beta1 = (vae_real)0.5;
    if (EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_OK)) {
        CHECK(loaded->settings.optimizer.beta1 == (vae_real)0.5 && loaded->settings.optimizer.beta2 == (vae_real)0.999);
        CHECK(same_numbers(model, model->moment1, loaded->moment1));
    }
    vae_destroy(loaded);
    loaded = NULL;
    if (VAEI_OPTIMIZERS > (int)VAE_SGD) {
        config.optimizer.kind = VAE_SGD;
        config.optimizer.beta1 = 0;
        if (EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_OK)) {
            CHECK(loaded->settings.optimizer.kind == VAE_SGD && loaded->step == 5);
            CHECK(loaded->moment1[0] == 0);
        }
        vae_destroy(loaded);
    }
    vae_destroy(model);
    free(file.at);
}

/* ---- memory in proportion ---- */

TEST(test_batch_in_a_file_is_no_order) {
    vae_model  *model = make(DENSE), *loaded = NULL;
    const bytes file = changed_file(model, 1, "'batch':4", "'batch':16777216", "\\\"");
    vae_config  config, larger;
    size_t      size;
    ledger      l;
    memset(&config, 0, sizeof config);
    config.allocator = ledger_allocator(&l);
    l.largest = ((size_t)128 << 20) + 64 * file.size;
    if (EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_OK)) {
        CHECK(loaded->file_batch == 16777216 && loaded->settings.batch < 16777216 && loaded->settings.batch >= 65536);
        vae_get_config(loaded, &larger);
        larger.batch *= 2;
        EXPECT(vae_memory_needed(&larger, &size, &problem), VAE_OK);
        CHECK(size > l.largest);                        /* no more than was necessary */
        train(loaded, 1);
        vae_destroy(loaded);
    }
    loaded = NULL;
    config.inference_only = 1;
    if (EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_OK)) vae_destroy(loaded);
    loaded = NULL;
    config.inference_only = 0;
    config.batch = 3;                                   /* the caller's */
    if (EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_OK)) {
        const vae_real pixels[256] = { 0 };
        const vae_data data = { .pixels = pixels, .count = 1 };
        vae_fit_config fit;
        memset(&fit, 0, sizeof fit);
        CHECK(loaded->settings.batch == 3 && loaded->file_batch == 16777216);
        fit.epochs = 1;
        if (vae_example_size(loaded) <= 256) {
            EXPECT(vae_fit(loaded, &data, &fit, &problem), VAE_ERROR_ARGUMENT);
            CHECK_CONTAINS(problem.message, "has batches of up to 16777216 rows, it was loaded for 3: set fit.batch");
            fit.batch = 3;
            EXPECT(vae_fit(loaded, &data, &fit, &problem), VAE_OK);
        }
        vae_destroy(loaded);
    }
    CHECK(l.live == 0);
    free(file.at);
    vae_destroy(model);
}

/* Without a config what is wrong is the file, not a setting of the caller's. */
TEST(test_network_of_a_damaged_file) {
    vae_model  *model = make(DENSE), *loaded = NULL;
    const bytes file = saved(model, 0);
    const bytes other = changed_file(model, 0, "'beta1':0.9", "'beta1':9.9", "\\\"");
    vae_config  config;
    CHECK(vae_load_memory(other.at, other.size, NULL, &loaded, NULL) == VAE_ERROR_FORMAT);
    EXPECT(vae_load_memory(other.at, other.size, NULL, &loaded, &problem), VAE_ERROR_FORMAT);
    CHECK_CONTAINS(problem.message, "(vae.config) is wrong: optimizer.beta1 is 9.9");
    memset(&config, 0, sizeof config);
    config.threads = -1;
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, "threads is -1");
    CHECK(!loaded);
    vae_destroy(model);
    free(file.at);
    free(other.at);
}

/* What the file sets and the other objective has not got: the sentence's advice is one that can be followed. */
TEST(test_settings_that_the_objective_ends) {
    vae_model *model, *loaded = NULL;
    vae_config config;
    bytes      file;
    config = net(DENSE);
    config.beta = 4;
    config.samples = 2;
    model = make_of(&config);
    file = saved(model, 0);
    memset(&config, 0, sizeof config);
    config.objective = VAE_OBJECTIVE_AUTOENCODER;
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, "leave it 0, or, where the file sets it, write its default, since 0 keeps");
    config.beta = 1;
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, "samples is set, ");
    CHECK_CONTAINS(problem.message, "leave it 0, or, where the file sets it, write its default, since 0 keeps");
    config.samples = 1;
    if (EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_OK)) vae_destroy(loaded);
    vae_destroy(model);
    free(file.at);
}

/* Convolutions take far more than their weights: a batch of 128 is kept. */
TEST(test_honest_batches_are_kept) {
    vae_config config;
    vae_model *model, *loaded = NULL;
    bytes      file;
    size_t     size;
    if (sizeof(vae_real) == 8) SKIP("doubles take twice the memory");
    memset(&config, 0, sizeof config);
    config.input.height = config.input.width = 64; config.input.channels = 3;
    config.latent = 16;
    config.encoder[0] = VAE_CONV(16, 3, 1, VAE_GELU);
    config.encoder[1] = VAE_CONV(16, 3, 2, VAE_GELU);
    config.encoder[2] = config.encoder[3] = config.encoder[4] = config.encoder[1];
    config.batch = 128;
    config.threads = 1;
    EXPECT(vae_memory_needed(&config, &size, &problem), VAE_OK);
    CHECK(size > (size_t)64 << 20);
    config.inference_only = 1;
    config.batch = 1;
    model = make_of(&config);
    file = changed_file(model, 0, "'batch':1", "'batch':128", "\\\"");
    if (EXPECT(vae_load_memory(file.at, file.size, NULL, &loaded, &problem), VAE_OK)) CHECK(loaded->settings.batch ==
                                                                                            128);
    vae_destroy(loaded);
    vae_destroy(model);
    free(file.at);
}

/* One example that takes a hundred thousand times the file is for the caller to allow. */
TEST(test_examples_out_of_proportion) {
    static const change changes[] = { { "[8,8,1]", "[8000,8000,1]" }, { "'stride':[1,1]", "'stride':[1000,1000]" },
                                      { "'stride':[1,1]", "'stride':[1000,1000]" } };
    vae_config config;
    vae_model *model, *loaded = NULL;
    bytes      file;
    ledger     l;
    size_t     i, length, data;
    char      *text, *next;
    memset(&config, 0, sizeof config);
    config.input.height = config.input.width = 8; config.input.channels = 1;
    config.latent = 1;
    config.encoder[0] = VAE_CONV(1, 1, 1, VAE_RELU);
    config.encoder[1] = VAE_CONV(1, 1, 8, VAE_RELU);
    config.decoder[0] = VAE_DENSE(1, VAE_LINEAR);
    config.decoder[1] = VAE_CONV_TRANSPOSED(1, 1, 8, VAE_LINEAR);
    config.decoder[2] = VAE_CONV_TRANSPOSED(1, 1, 1, VAE_LINEAR);
    model = make_of(&config);
    file = saved(model, 0);
    length = header_size(file);
    data = file.size - 8 - length;
    text = (char *)calloc(length + 1, 1);
    memcpy(text, file.at + 8, length);
    for (i = 0; i < 3; i++, free(text), text = next)
        if (!CHECK((next = replaced(text, changes[i].from, changes[i].to, "\\\"")) != NULL)) return;
    free(file.at);
    file = file_of(text, data);
    memset(&config, 0, sizeof config);
    config.allocator = allocator_of(&l);
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_MEMORY);
    CHECK_CONTAINS(problem.message, "give config.batch");
    CHECK(l.calls == 1);                                /* the model was not asked for */
    config.batch = 1;
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_MEMORY);
    CHECK(l.calls == 3 && l.live == 0 && !loaded);      /* it was, and there was no room */
    free(text);
    free(file.at);
    vae_destroy(model);
}

/* More weights than the file has bytes for: refused before any memory is asked for, whatever the caller allows. In the
   last, whose decoder uses the encoder's weights, there is room for the biases. */
TEST(test_weights_out_of_proportion) {
    static const change rows[] = { { "'shape':[1,1,2]", "'shape':[1,1,67108864]" },
                                   { "'latent':1", "'latent':1048576" }, { "[1,3,1]", "[1,4000,1]" } };
    vae_model *model = make(DENSE), *loaded = NULL;
    vae_config config;
    ledger     l;
    size_t     i;
    for (i = 0; i < 3; i++) {
        bytes file;
        if (i == 2) {
            vae_destroy(model);
            config = net(DENSE);
            config.encoder[0] = config.encoder[1] = VAE_DENSE(64, VAE_RELU);
            config.tied = 1;
            if (!EXPECT(vae_create(&config, &model, &problem), VAE_OK)) return;
        }
        file = changed_file(model, 0, rows[i].from, rows[i].to, "\\\"");
        memset(&config, 0, sizeof config);
        config.batch = 1;
        config.allocator = allocator_of(&l);
        EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_FORMAT);
        CHECK_CONTAINS(problem.message, "bytes of data are too few");
        CHECK(!loaded && l.calls == 1 && l.live == 0);
        free(file.at);
    }
    vae_destroy(model);
}

/* ---- transfer ---- */

/* The same encoder with another latent size and decoder: its layers are taken, the rest is left as it is. */
TEST(test_transfer) {
    vae_config    config = net(TRANSPOSED);
    vae_model    *from = make_trained(TRANSPOSED), *to;
    const bytes   file = saved(from, 1);
    unsigned char taken[VAEI_MAX_TENSORS];
    vae_real      a[LARGEST], b[LARGEST], before[LARGEST];
    vae_tensor    tensor;
    bytes         state;
    size_t        i, used = 0, moment_bytes;
    config.latent = 3;
    config.seed = 1;
    to = make_of(&config);
    train(to, 2);
    state = saved(to, 1);
    moment_bytes = 2 * vae_parameter_count(to) * sizeof(vae_real);
    EXPECT(vae_get_tensor(to, "mean.bias", before, 3, &problem), VAE_OK);
    memset(taken, 7, sizeof taken);
    EXPECT(vae_load_matching_memory(to, file.at, file.size, taken, &problem), VAE_OK);
    for (i = 0; i < vae_tensor_count(to); i++) {
        vae_tensor_at(to, i, &tensor, NULL);
        CHECK(taken[i] == (strncmp(tensor.name, "mean", 4) && strncmp(tensor.name, "logvar", 6) &&
                           strcmp(tensor.name, "decoder.0.weight")));
        if (!taken[i] || tensor.count > LARGEST) continue;
        used++;
        vae_get_tensor(from, tensor.name, a, tensor.count, NULL);
        vae_get_tensor(to, tensor.name, b, tensor.count, NULL);
        CHECK(!memcmp(a, b, tensor.count * sizeof *a));
    }
    CHECK(used >= 3 && taken[vae_tensor_count(to)] == 7);
    EXPECT(vae_get_tensor(to, "mean.bias", b, 3, &problem), VAE_OK);
    CHECK(!memcmp(before, b, 3 * sizeof *b));
    {
        const bytes now = saved(to, 1);                 /* moments, step and the rest are still its own */
        CHECK(!memcmp(now.at + now.size - moment_bytes, state.at + state.size - moment_bytes, moment_bytes));
        CHECK(to->step == 2);
        free(now.at);
    }
    EXPECT(vae_load_matching_memory(to, file.at, file.size, NULL, &problem), VAE_OK);
    EXPECT(vae_load_matching_memory(to, NULL, file.size, NULL, &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_load_matching_memory(NULL, file.at, file.size, NULL, &problem), VAE_ERROR_ARGUMENT);
    free(state.at);
    free(file.at);
    vae_destroy(from);
    vae_destroy(to);
}

/* A file on the disk of which nothing fits: said from its header alone. */
TEST(test_transfer_of_nothing) {
    vae_model  *model = make(DENSE);
    const bytes file = file_of("{'fc.weight':{'dtype':'F32','shape':[1],'data_offsets':[0,4]}}", 4);
    const bytes before = saved(model, 1);
    write_file(MODEL_FILE, file.at, file.size);
    CHECK(vae_load_matching(model, MODEL_FILE, NULL, &problem) != VAE_OK);
    CHECK_CONTAINS(problem.message, "fc.weight");
    CHECK(model_is(model, before) && remove(MODEL_FILE) == 0);
    free(file.at);
    free(before.at);
    vae_destroy(model);
}

/* Files of other programs: other tensors, types and shapes stand beside those that fit. */
TEST(test_transfer_from_foreign_files) {
    static const struct { const char *header; size_t data; vae_status status; const char *words; } rows[] = {
        { "{" EW ",'fc.weight':{'dtype':'I64','shape':[1],'data_offsets':[24,32]}}", 32, VAE_OK, "" },
        { "{" EW "," TENSOR("mean.weight", "1,3", "24", "36")
          ",'empty':{'dtype':'F32','shape':[0],'data_offsets':[36,36]}}",
          36, VAE_OK, "" },
        { "{'__metadata__':{'format':'pt'}," EW "}", 24, VAE_OK, "" },
        { "{'__metadata__':{'format':'pt'}," EW "}", 99, VAE_ERROR_FORMAT, "something was appended" },
        { "{" EW "," TENSOR("x", "1", "20", "24") "}", 24, VAE_ERROR_FORMAT, "overlap" },
        { "{" EW ",'x':{'dtype':'I64','shape':[1],'data_offsets':[32,40]}}", 40, VAE_ERROR_FORMAT, "a gap" },
        { "{" TENSOR("fc1.weight", "2,3", "0", "24") "}", 24, VAE_ERROR_FORMAT, "begins with fc1.weight [2, 3]" },
        { "{" TENSOR("x", "1", "0", "4") "," TENSOR("mean.weight", "1,3", "4", "16") "}", 16, VAE_ERROR_FORMAT,
          "mean.weight has shape [1, 3] in the file and [1, 2] in the model" },
        { "{'encoder.0.weight':{'dtype':'I32','shape':[2,3],'data_offsets':[0,24]}}", 24, VAE_ERROR_FORMAT, "dtype" },
        { "{}", 0, VAE_ERROR_FORMAT, "no tensors" },
        { "{" EW "," EW "}", 24, VAE_ERROR_FORMAT, "twice" },
        { "{" EW "}", 20, VAE_ERROR_FORMAT, "beyond" },
        { "{" TENSOR("encoder.0.weight", "2,3", "0", "20") "}", 24, VAE_ERROR_FORMAT, "bytes" },
        { "{" EW, 24, VAE_ERROR_FORMAT, "" }
    };
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        vae_model    *model = make_trained(DENSE);
        const bytes   file = file_of(rows[i].header, rows[i].data), before = saved(model, 1);
        unsigned char taken[VAEI_MAX_TENSORS];
        memset(taken, 7, sizeof taken);
        EXPECT(vae_load_matching_memory(model, file.at, file.size, taken, &problem), rows[i].status);
        if (rows[i].status == VAE_OK) CHECK(taken[0] == 1 && taken[2] == 0 && model->parameters[0] == 0);
        else {
            CHECK_CONTAINS(problem.message, rows[i].words);
            CHECK(taken[0] == 7 && model_is(model, before));
        }
        free(file.at);
        free(before.at);
        vae_destroy(model);
    }
}

/* All or nothing: a number that is not finite in the last tensor leaves the first one alone. */
TEST(test_transfer_of_what_is_not_finite) {
    vae_model  *model = make_trained(DENSE);
    const bytes file = file_of("{" ALL "}", DATA), before = saved(model, 1);
    put_bits(file.at + file.size - 4, 0x7F800000, 4);
    EXPECT(vae_load_matching_memory(model, file.at, file.size, NULL, &problem), VAE_ERROR_FORMAT);
    CHECK_CONTAINS(problem.message, "decoder.2.bias");
    CHECK(model_is(model, before));
    free(file.at);
    free(before.at);
    vae_destroy(model);
}

/* ---- sentences about tensors ---- */

TEST(test_names_that_are_nearly_right) {
    static const struct { const char *header, *words; } rows[] = {
        { "{" TENSOR("module.encoder.0.weight", "2,3", "0", "24") REST "}",
          "is the network's encoder.0.weight with `module.` before it" },
        { "{" TENSOR("_orig_mod.vae.mean.bias", "1", "0", "4") REST "}", "{k[14:]: v" },
        { "{" TENSOR("fc1.weight", "2,3", "0", "24") REST "}", "rename it if it is encoder.0.weight" },
        { "{" EW "," EB "," MW "," MB "," LW "," LB "," DW "," DB "," GW "," TENSOR("fc4.bias", "3", "96", "108") "}",
          "fc4.bias [3] is none of the network's: rename it if it is decoder.2.bias" },
        { "{" TENSOR("conv.weight", "8,1,3,3", "0", "288") REST "}",
          "conv.weight [8, 1, 3, 3] is none of the network's, which has encoder.0.weight, encoder.0.bias, ..." }
    };
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_header(rows[i].header, rows[i].header, DATA, VAE_ERROR_FORMAT, rows[i].words);
        CHECK(strlen(problem.message) < sizeof problem.message - 1);
    }
}

/* What PyTorch programs do not save, since their modules do not have it. */
TEST(test_tensors_that_others_leave_out) {
    vae_config  config = net(DENSE);
    vae_model  *loaded = NULL;
    const bytes file = file_of("{" ALL "}", DATA);
    config.likelihood = VAE_GAUSSIAN;
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_FORMAT);
    CHECK_CONTAINS(problem.message, "has no tensor log_sigma: save it too, or set config.sigma");
    config.sigma = 1;
    config.standardize = 1;
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_FORMAT);
    CHECK_CONTAINS(problem.message, "has no tensor standardize.mean: save it too, or leave config.standardize 0");
    config.standardize = 0;
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_OK);
    vae_destroy(loaded);
    free(file.at);
}

TEST(test_shapes_that_are_turned) {
    vae_config  config = net(CONVOLUTIONAL);
    vae_model  *loaded = NULL;
    const bytes keras = file_of("{'encoder.1.weight':{'dtype':'F32','shape':[3,3,2,3],'data_offsets':[0,216]}}", 216);
    check_header("turned", "{" TENSOR("encoder.0.weight", "3,2", "0", "24") REST "}", DATA, VAE_ERROR_FORMAT,
                 "[3, 2] in the file and [2, 3] in the network: it is transposed, save its .T");
    config.encoder[0] = VAE_CONV_SYMMETRIC(3, 3, 2, 1, VAE_RELU);
    EXPECT(vae_load_memory(keras.at, keras.size, &config, &loaded, &problem), VAE_ERROR_FORMAT);
    CHECK_CONTAINS(problem.message, "encoder.1.weight");
    free(keras.at);
    {
        const bytes other = file_of("{'encoder.0.weight':{'dtype':'F32','shape':[3,3,2,3],'data_offsets':[0,216]}}",
                                    216);
        EXPECT(vae_load_memory(other.at, other.size, &config, &loaded, &problem), VAE_ERROR_FORMAT);
        CHECK_CONTAINS(problem.message, "it is transposed, save its .permute(3, 2, 0, 1)");
        free(other.at);
    }
    {
        vae_model  *model = make(CONVOLUTIONAL);
        const bytes file = saved(model, 0);
        vae_tensor  tensor;
        char        wanted[24], turned[24], *at;
        size_t      i = 0;
        while (vae_tensor_at(model, i, &tensor, NULL) == VAE_OK && strcmp(tensor.name, "mean.weight") != 0) i++;
        sprintf(wanted, "\"shape\":[%d,%d]", (int)tensor.shape[0], (int)tensor.shape[1]);
        sprintf(turned, "\"shape\":[%d,%d]", (int)tensor.shape[1], (int)tensor.shape[0]);
        at = strstr(strstr((char *)file.at + 8, "\"mean.weight\""), wanted);
        if (CHECK(at && tensor.shape[0] != tensor.shape[1])) memcpy(at, turned, strlen(turned));
        EXPECT(vae_load_weights_memory(model, file.at, file.size, &problem), VAE_ERROR_FORMAT);
        CHECK_CONTAINS(problem.message, "save its .T (and what Keras flattened, with channels first)");
        vae_destroy(model);
        free(file.at);
    }
    CHECK(!loaded);
}

/* VAE_SAME at stride 2 pads unevenly: the number of the layer counts a ZeroPad2d. */
TEST(test_names_that_count_padding) {
    const bytes file = file_of("{'encoder.0.weight':{'dtype':'F32','shape':[4,1,3,3],'data_offsets':[0,144]}}", 144);
    const bytes none = file_of("{}", 0);
    vae_config  config;
    vae_model  *loaded = NULL;
    memset(&config, 0, sizeof config);
    config.input.height = config.input.width = 8; config.input.channels = 1;
    config.latent = 2;
    config.encoder[0] = VAE_CONV(4, 3, 2, VAE_RELU);
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_FORMAT);
    CHECK_CONTAINS(problem.message, "rename it if it is encoder.1.weight");
    CHECK_CONTAINS(problem.message, "ZeroPad2d");
    CHECK_CONTAINS(problem.message, "VAE_CONV_SYMMETRIC)");
    EXPECT(vae_load_memory(none.at, none.size, &config, &loaded, &problem), VAE_ERROR_FORMAT);
    CHECK_CONTAINS(problem.message, "no tensor encoder.1.weight");
    CHECK_CONTAINS(problem.message, "ZeroPad2d");
    config.encoder[0] = VAE_CONV_SYMMETRIC(4, 3, 2, 1, VAE_RELU);
    EXPECT(vae_load_memory(none.at, none.size, &config, &loaded, &problem), VAE_ERROR_FORMAT);
    CHECK(!strstr(problem.message, "ZeroPad2d") && !loaded);
    free(file.at);
    free(none.at);
}

/* ---- constants, learned sigma, parts ---- */

/* Numbers as a file has them: little-endian. */
static void as_in_file(const vae_real *numbers, size_t count, unsigned char *to) {
    const uint16_t one = 1;
    unsigned char  first;
    size_t         i, k;
    memcpy(&first, &one, 1);
    for (i = 0; i < count; i++)
        for (k = 0; k < sizeof *numbers; k++)
            to[i * sizeof *numbers + k] =
                ((const unsigned char *)(numbers + i))[first ? k : sizeof *numbers - 1 - k];
}

TEST(test_constants_of_standardizing) {
    static const vae_real mean[3] = { 1, -2, 3e6f }, scale[3] = { 0.5f, 1, 2e6f };
    vae_config  config = net(FIXED_SIGMA);
    vae_model  *model, *loaded = NULL;
    vae_real    got[3];
    unsigned char stored[sizeof scale];
    bytes       file;
    size_t      i, at = 0;
    config.standardize = 1;
    model = make_of(&config);
    EXPECT(vae_set_tensor(model, "standardize.mean", mean, 3, &problem), VAE_OK);
    EXPECT(vae_set_tensor(model, "standardize.scale", scale, 3, &problem), VAE_OK);
    train(model, 3);
    file = saved(model, 1);
    if (EXPECT(vae_load_memory(file.at, file.size, NULL, &loaded, &problem), VAE_OK)) {
        const bytes again = saved(loaded, 1);
        CHECK(same_bytes(file, again));
        EXPECT(vae_get_tensor(loaded, "standardize.scale", got, 3, &problem), VAE_OK);
        CHECK(!memcmp(got, scale, sizeof scale));
        EXPECT(vae_get_tensor(loaded, "standardize.mean", got, 3, &problem), VAE_OK);
        CHECK(!memcmp(got, mean, sizeof mean));
        free(again.at);
        vae_destroy(loaded);
        loaded = NULL;
    }
    as_in_file(scale, 3, stored);
    for (i = 8 + header_size(file); !at && i + sizeof scale <= file.size; i++)
        if (!memcmp(file.at + i, stored, sizeof scale)) at = i;
    if (CHECK(at != 0)) {
        memset(file.at + at, 0, sizeof(vae_real));
        EXPECT(vae_load_memory(file.at, file.size, NULL, &loaded, &problem), VAE_ERROR_FORMAT);
        CHECK_CONTAINS(problem.message, "standardize.scale is 0");
        EXPECT(vae_load_weights_memory(model, file.at, file.size, &problem), VAE_ERROR_FORMAT);
        as_in_file(mean + 1, 1, file.at + at);
        EXPECT(vae_load_memory(file.at, file.size, NULL, &loaded, &problem), VAE_ERROR_FORMAT);
        CHECK_CONTAINS(problem.message, "standardize.scale is negative");
    }
    CHECK(!loaded);
    EXPECT(vae_get_tensor(model, "standardize.scale", got, 3, &problem), VAE_OK);
    CHECK(!memcmp(got, scale, sizeof scale));
    vae_destroy(model);
    free(file.at);
}

TEST(test_learned_sigma) {
    vae_config config = net(FIXED_SIGMA);
    vae_model *model, *loaded = NULL;
    vae_tensor tensor;
    bytes      file;
    int        per_pixel;
    for (per_pixel = 0; per_pixel < 2; per_pixel++) {
        config.sigma = 0;
        config.sigma_per_pixel = per_pixel;
        model = make_of(&config);
        if (vaei_index_named(model, "log_sigma", &tensor) == vae_tensor_count(model)) {
            vae_destroy(model);
            SKIP("this build learns no sigma");
        }
        train(model, 3);
        file = saved(model, 1);
        if (EXPECT(vae_load_memory(file.at, file.size, NULL, &loaded, &problem), VAE_OK)) {
            const bytes again = saved(loaded, 1);
            CHECK(same_bytes(file, again));
            CHECK(loaded->settings.sigma == 0 && loaded->settings.sigma_per_pixel == per_pixel);
            free(again.at);
        }
        vae_destroy(loaded);
        loaded = NULL;
        vae_destroy(model);
        free(file.at);
    }
}

/* A file may hold any number; the likelihoods take a sigma of 1e-6 to 1e6. */
TEST(test_sigma_out_of_range) {
    static const double logs[] = { 13.9, -13.9, 88, -1e30, 13.8155, -13.8155 };
    vae_config          config = net(FIXED_SIGMA);
    vae_model          *model, *loaded = NULL;
    size_t              i;
    config.sigma = 0;
    model = make_of(&config);
    for (i = 0; i < sizeof logs / sizeof *logs; i++) {
        const vae_real   log_sigma = (vae_real)logs[i];
        const vae_status wanted = i < 4 ? VAE_ERROR_FORMAT : VAE_OK;
        bytes            file;
        EXPECT(vae_set_tensor(model, "log_sigma", &log_sigma, 1, &problem), i < 4 ? VAE_ERROR_DATA : VAE_OK);
        model->parameters[model->plan.log_sigma] = log_sigma;
        file = saved(model, 0);
        EXPECT(vae_load_memory(file.at, file.size, NULL, &loaded, &problem), wanted);
        if (i < 4) CHECK_CONTAINS(problem.message, "log_sigma");
        model->parameters[model->plan.log_sigma] = 0;
        EXPECT(vae_load_weights_memory(model, file.at, file.size, &problem), wanted);
        CHECK(model->parameters[model->plan.log_sigma] == (i < 4 ? 0 : log_sigma));
        vae_destroy(loaded);
        loaded = NULL;
        free(file.at);
    }
    vae_destroy(model);
}

/* A schedule's factor is 0 whether it is written 0 or VAE_ZERO: in the filled config, in files and in files of
   files. */
TEST(test_zero_factors_are_kept) {
    int way;
    for (way = 0; way < 2; way++) {
        const vae_real zero = way ? VAE_ZERO : 0;
        vae_config     config = net(DENSE);
        vae_model     *model, *loaded = NULL;
        bytes          file, again;
        static bytes   first;
        config.beta_schedule.kind = VAE_WARMUP;
        config.beta_schedule.steps = 4;
        config.beta_schedule.from = config.beta_schedule.to = zero;
        config.optimizer.schedule.kind = VAE_COSINE;
        config.optimizer.schedule.steps = 9;
        config.optimizer.schedule.warmup = 2;
        config.optimizer.schedule.from = config.optimizer.schedule.to = zero;
        config.capacity_schedule.from = zero;                       /* of no kind: constant */
        model = make_of(&config);
        CHECK(config_of(model).beta_schedule.from == 0 && config_of(model).optimizer.schedule.to == 0);
        file = saved(model, 1);
        if (EXPECT(vae_load_memory(file.at, file.size, NULL, &loaded, &problem), VAE_OK)) {
            again = saved(loaded, 1);
            CHECK(same_bytes(file, again));
            free(again.at);
        }
        if (way) CHECK(same_bytes(file, first));
        if (!way) first = file;
        else free(first.at), free(file.at);
        vae_destroy(loaded);
        vae_destroy(model);
    }
}

/* Escape sequences and line ends in a file's names do not come out as such. */
TEST(test_names_that_a_terminal_would_obey) {
    static const char *const names[] = { "\\u001b[31mred", "a\\nb", "a\\u007f", "a\\u009b2J", "a\\u0085b" };
    size_t                   i, k;
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        char       header[200];
        vae_model *loaded = NULL;
        bytes      file;
        vae_config config = net(DENSE);
        sprintf(header, "{'%s':{'dtype':'F32','shape':[2],'data_offsets':[0,8]}}", names[i]);
        file = file_of(header, 8);
        EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_FORMAT);
        CHECK_CONTAINS(problem.message, "?");
        for (k = 0; problem.message[k]; k++)
            CHECK((unsigned char)problem.message[k] >= 32 && problem.message[k] != 127 &&
                  ((unsigned char)problem.message[k] != 0xC2 || (unsigned char)problem.message[k + 1] >= 0xA0));
        free(file.at);
    }
}

/* Any number but 0 asks for these: the file is written, read and compared with 1. */
TEST(test_yes_is_any_number) {
    static const int yes[] = { 1, 2, -1 };
    vae_model *model, *loaded = NULL;
    vae_config config = net(FIXED_SIGMA), filled;
    bytes      file;
    size_t     i;
    config.sigma = 0;
    for (i = 0; i < 3; i++) {
        config.sigma_per_pixel = config.standardize = yes[i];
        model = make_of(&config);
        filled = config_of(model);
        CHECK(filled.sigma_per_pixel == 1 && filled.standardize == 1);
        file = saved(model, 1);
        if (EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_OK)) vae_destroy(loaded);
        loaded = NULL;
        free(file.at);
        vae_destroy(model);
    }
}

/* What a half holds is what a whole model's file has for it; its own file is that of a half. */
static void check_part(int which, vae_part part) {
    const char *const name = part == VAE_ENCODER_ONLY ? "encoder" : "decoder";
    vae_model  *whole = make_trained(which), *half = NULL, *again = NULL, *loaded = NULL;
    const bytes file = saved(whole, 1), before = saved(whole, 1);
    bytes       own = { NULL, 0 };
    vae_config  config;
    vae_tensor  tensor;
    vae_real    a[LARGEST], b[LARGEST];
    size_t      i;
    memset(&config, 0, sizeof config);
    config.part = part;
    if (EXPECT(vae_load_memory(file.at, file.size, &config, &half, &problem), VAE_OK)) {
        CHECK(vae_tensor_count(half) < vae_tensor_count(whole));
        for (i = 0; i < vae_tensor_count(half); i++) {
            vae_tensor_at(half, i, &tensor, NULL);
            if (tensor.count > LARGEST) continue;
            EXPECT(vae_get_tensor(whole, tensor.name, a, tensor.count, &problem), VAE_OK);
            EXPECT(vae_get_tensor(half, tensor.name, b, tensor.count, &problem), VAE_OK);
            CHECK(!memcmp(a, b, tensor.count * sizeof *a));
        }
        own = saved(half, 0);
        CHECK(own.size < file.size);
        EXPECT(vae_load_memory(own.at, own.size, NULL, &again, &problem), VAE_OK);
        if (again) {
            const bytes twice = saved(again, 0);
            CHECK(again->settings.part == part && same_bytes(own, twice));
            free(twice.at);
            EXPECT(vae_load_weights_memory(again, file.at, file.size, &problem), VAE_OK);
            EXPECT(vae_load_weights_memory(again, own.at, own.size, &problem), VAE_OK);
        }
        {       /* what has the name of neither half is not taken for the other's */
            const bytes strange = changed_file(whole, 0, part == VAE_ENCODER_ONLY ? "'decoder." : "'encoder.",
                                               "'strange.", "\"");
            EXPECT(vae_load_weights_memory(half, strange.at, strange.size, &problem), VAE_ERROR_FORMAT);
            CHECK_CONTAINS(problem.message, "tensor strange.");
            CHECK(!strstr(problem.message, "which has ,"));
            free(strange.at);
        }
        EXPECT(vae_load_weights_memory(whole, own.at, own.size, &problem), VAE_ERROR_CONFIG);
        CHECK_CONTAINS(problem.message, name);
        config.part = VAE_WHOLE;
        EXPECT(vae_load_memory(own.at, own.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
        config.part = part == VAE_ENCODER_ONLY ? VAE_DECODER_ONLY : VAE_ENCODER_ONLY;
        EXPECT(vae_load_memory(own.at, own.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
        CHECK_CONTAINS(problem.message, name);
        CHECK(!loaded && model_is(whole, before));
    }
    vae_destroy(half);
    vae_destroy(again);
    vae_destroy(whole);
    free(own.at);
    free(file.at);
    free(before.at);
}

TEST(test_parts) {
    vae_config config = net(DENSE);
    vae_model *model = NULL, *whole = make(DENSE);
    int        built, which;
    config.part = VAE_DECODER_ONLY;
    built = vae_create(&config, &model, &problem) == VAE_OK && vae_tensor_count(model) < vae_tensor_count(whole);
    vae_destroy(model);
    vae_destroy(whole);
    if (!built) SKIP("this build makes no parts");
    for (which = 0; which < NETS; which++) {
        check_part(which, VAE_ENCODER_ONLY);
        check_part(which, VAE_DECODER_ONLY);
    }
}

/* The other way is refused by the metadata alone. */
TEST(test_file_of_a_part_is_no_whole) {
    vae_model  *model = make(DENSE), *loaded = NULL;
    const bytes file = changed_file(model, 0, "'beta':1", "'beta':1,'part':'decoder'", "\\\""), before = saved(model,
                                                                                                               1);
    vae_config  config;
    memset(&config, 0, sizeof config);
    config.part = VAE_WHOLE;
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, "holds the decoder alone");
    EXPECT(vae_load_weights_memory(model, file.at, file.size, &problem), VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, "holds the decoder alone");
    CHECK(!loaded && model_is(model, before));
    free(file.at);
    free(before.at);
    vae_destroy(model);
}

/* A model does not write weights that are not its own. */
TEST(test_weights_of_others_are_not_written) {
    vae_model     *model = make(DENSE), *loaded = NULL;
    const bytes    file = saved(model, 0);
    const vae_real other[64] = { 0 };
    vae_config     config;
    memset(&config, 0, sizeof config);
    config.weights = other;
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, "config.weights");
    vae_destroy(model);
    config = net(DENSE);
    config.weights = other;
    config.inference_only = 1;
    model = make_of(&config);
    EXPECT(vae_load_weights_memory(model, file.at, file.size, &problem), VAE_ERROR_ARGUMENT);
    EXPECT(vae_load_matching_memory(model, file.at, file.size, NULL, &problem), VAE_ERROR_ARGUMENT);
    CHECK(!loaded);
    vae_destroy(model);
    free(file.at);
}

/* ---- numbers that are not finite ---- */

TEST(test_saving_what_is_not_finite) {
    vae_model     *model = make_trained(DENSE);
    const vae_real infinite = (vae_real)HUGE_VAL;
    vae_real      *const blocks[] = { model->parameters, model->moment1, model->moment2 };
    bytes          old, now;
    size_t         size = 0, last = vae_parameter_count(model) - 1;
    int            i;
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
    old = read_file(MODEL_FILE);
    for (i = 0; i < 3; i++) {
        const vae_real before = blocks[i][last];
        blocks[i][last] = i ? infinite - infinite : -infinite;
        EXPECT(vae_save_checkpoint(model, MODEL_FILE, &problem), VAE_ERROR_NUMERIC);
        EXPECT(vae_save_memory(model, 1, NULL, 0, &size, &problem), VAE_ERROR_NUMERIC);
        EXPECT(vae_save_memory(model, 0, NULL, 0, &size, &problem), i ? VAE_OK : VAE_ERROR_NUMERIC);
        blocks[i][last] = before;
    }
    now = read_file(MODEL_FILE);
    CHECK(same_bytes(old, now));
    CHECK(!exists(TEMPORARY_FILE));
    free(old.at);
    free(now.at);
    vae_destroy(model);
    remove(MODEL_FILE);
}

TEST(test_moments_that_cannot_be) {
    vae_model  *model = make_trained(DENSE), *loaded = NULL;
    const bytes file = saved(model, 1);
    const size_t block = vae_parameter_count(model) * sizeof(vae_real), data = file.size - 3 * block;
    vae_config  config;
    memset(&config, 0, sizeof config);
    file.at[data + 3 * block - 1] |= 0x80;              /* v, the last one: mean.weight */
    file.at[data + 3 * block - 2] |= 0x81;              /* neither -0 nor denormal */
    EXPECT(vae_load_memory(file.at, file.size, NULL, &loaded, &problem), VAE_ERROR_FORMAT);
    CHECK_CONTAINS(problem.message, "optimizer.v.mean.weight");
    CHECK_CONTAINS(problem.message, "negative");
    file.at[data + 3 * block - 1] &= 0x7F;
    memset(file.at + data + 2 * block - sizeof(vae_real), 0xFF, sizeof(vae_real));
    EXPECT(vae_load_memory(file.at, file.size, NULL, &loaded, &problem), VAE_ERROR_FORMAT);
    CHECK_CONTAINS(problem.message, "optimizer.m.mean.weight");
    {
        const vae_real large = (vae_real)-1e38;         /* finite, but the next step would not be */
        as_in_file(&large, 1, file.at + data + 2 * block - sizeof large);
        EXPECT(vae_load_memory(file.at, file.size, NULL, &loaded, &problem), VAE_ERROR_FORMAT);
        CHECK_CONTAINS(problem.message, "optimizer.m.mean.weight is -1e38");
    }
    CHECK(!loaded);
    config.inference_only = 1;                          /* moments are not looked at */
    EXPECT(vae_load_memory(file.at, file.size, &config, &loaded, &problem), VAE_OK);
    vae_destroy(loaded);
    vae_destroy(model);
    free(file.at);
}

/* ---- damage ---- */

static void check_truncations_of(bytes file, vae_model *model) {
    vae_model  *loaded = NULL;
    const bytes before = saved(model, 1);
    vae_config  config;
    ledger      l;
    bytes       longer;
    size_t      size;
    int         bad = 0;
    memset(&config, 0, sizeof config);
    config.allocator = allocator_of(&l);
    for (size = 0; size < file.size; size++) {
        const bytes cut = copy_of(file.at, size);
        bad += vae_load_memory(cut.at, size, &config, &loaded, &problem) != VAE_ERROR_FORMAT || loaded;
        bad += vae_load_weights_memory(model, cut.at, size, &problem) == VAE_OK;
        bad += problem.status != VAE_ERROR_FORMAT && problem.status != VAE_ERROR_CONFIG;
        bad += vae_load_matching_memory(model, cut.at, size, NULL, &problem) != VAE_ERROR_FORMAT;
        free(cut.at);
    }
    CHECK(bad == 0);
    CHECK(l.live == 0);
    CHECK(model_is(model, before));
    longer = copy_of(file.at, file.size);
    longer.at = (unsigned char *)realloc(longer.at, file.size + 1);
    longer.at[file.size] = 0;
    EXPECT(vae_load_memory(longer.at, file.size + 1, &config, &loaded, &problem), VAE_ERROR_FORMAT);
    CHECK(!loaded);
    free(longer.at);
    vae_destroy(model);
    free(file.at);
    free(before.at);
}

static void check_truncations(int which, int checkpoint) {
    vae_model *model = make_trained(which);
    check_truncations_of(saved(model, checkpoint), model);
}

TEST(test_every_truncation) {
    check_truncations_of(old_file("dense_0_1.checkpoint"), make_trained(DENSE));
    check_truncations(DENSE, 0);
    check_truncations(DENSE, 1);
    check_truncations(CONVOLUTIONAL, 0);
    check_truncations(SERIES, 1);
}

static int weights_are_finite(const vae_model *model) {
    size_t i;
    for (i = 0; i < vae_parameter_count(model); i++)
        if (!vaei_finite(model->parameters[i])) return 0;
    return 1;
}

/* Every bit of bytes from .. to - 1 turned, one at a time: an error, or a model that can be used. */
static void check_flips(int which, int checkpoint, int in_data) {
    vae_model    *model = make_trained(which), *loaded = NULL;
    const bytes   file = saved(model, checkpoint);
    const size_t  count = vae_parameter_count(model), data = 8 + header_size(file), from = in_data ? data : 0;
    const size_t  to = in_data ? file.size : data;
    vae_real     *before = (vae_real *)malloc(count * sizeof *before);
    vae_config    config;
    ledger        l;
    size_t        i, size;
    int           bit, bad_models = 0, bad_refusals = 0;
    memset(&config, 0, sizeof config);
    config.allocator = allocator_of(&l);
    for (i = from; i < to; i++)
        for (bit = (int)i % test_one_in(); bit < 8; bit += test_one_in()) {
            file.at[i] ^= (unsigned char)(1 << bit);
            if (vae_load_memory(file.at, file.size, &config, &loaded, &problem) == VAE_OK) {
                bad_models += !weights_are_finite(loaded);
                bad_models += vae_save_memory(loaded, 0, NULL, 0, &size, NULL) != VAE_OK;
                vae_destroy(loaded);
                loaded = NULL;
            } else bad_refusals += loaded || strlen(problem.message) < 10;
            memcpy(before, model->parameters, count * sizeof *before);
            if (vae_load_weights_memory(model, file.at, file.size, &problem) != VAE_OK)
                bad_refusals += !same_numbers(model, before, model->parameters);
            else bad_models += !weights_are_finite(model);
            memcpy(before, model->parameters, count * sizeof *before);
            if (vae_load_matching_memory(model, file.at, file.size, NULL, &problem) != VAE_OK)
                bad_refusals += !same_numbers(model, before, model->parameters);
            else bad_models += !weights_are_finite(model);
            file.at[i] ^= (unsigned char)(1 << bit);
        }
    CHECK(bad_models == 0);
    CHECK(bad_refusals == 0);
    CHECK(l.live == 0 && !l.mismatched);
    free(before);
    free(file.at);
    vae_destroy(model);
}

TEST(test_every_flip_in_the_header) {
    check_flips(DENSE, 0, 0);
    check_flips(DENSE, 1, 0);
    check_flips(CONVOLUTIONAL, 0, 0);
    check_flips(TRANSPOSED, 0, 0);
}

TEST(test_every_flip_in_the_data) {
    check_flips(DENSE, 0, 1);
    check_flips(DENSE, 1, 1);
}

/* ---- memory that runs out ---- */

TEST(test_memory_that_runs_out) {
    int which;
    for (which = 0; which < NETS; which++) {
        vae_model  *model = make_trained(which), *loaded = NULL;
        const bytes file = saved(model, 1);
        vae_config  config;
        vae_status  status = VAE_ERROR_MEMORY;
        ledger      l;
        size_t      fail_at;
        int         from_path;
        memset(&config, 0, sizeof config);
        EXPECT(vae_save_checkpoint(model, MODEL_FILE, &problem), VAE_OK);
        for (from_path = 0; from_path < 2; from_path++) {
            for (fail_at = 1; fail_at < 10; fail_at++) {
                config.allocator = allocator_of(&l);
                l.fail_at = fail_at;
                status = from_path ? vae_load(MODEL_FILE, &config, &loaded, &problem)
                                   : vae_load_memory(file.at, file.size, &config, &loaded, &problem);
                if (status == VAE_OK) break;
                CHECK(status == VAE_ERROR_MEMORY && problem.status == status && !loaded && l.live == 0);
            }
            CHECK(status == VAE_OK && fail_at > 2);
            CHECK(l.live == 1);                             /* the model's own block */
            l.fail_at = 1;
            l.calls = 0;
            EXPECT(vae_save(loaded, MODEL_FILE ".2", &problem), VAE_ERROR_MEMORY);
            CHECK(!exists(MODEL_FILE ".2") && l.live == 1);
            l.fail_at = 0;
            EXPECT(vae_save(loaded, MODEL_FILE ".2", &problem), VAE_OK);
            CHECK(l.calls == 2 && l.live == 1);             /* one block, given back */
            train(loaded, 1);
            {
                const bytes before = saved(loaded, 1);
                l.calls = 0;
                l.fail_at = 1;
                EXPECT(vae_load_weights(loaded, MODEL_FILE, &problem), VAE_ERROR_MEMORY);
                CHECK(model_is(loaded, before));
                EXPECT(vae_load_weights(loaded, MODEL_FILE, &problem), VAE_OK);
                CHECK(same_numbers(model, model->parameters, loaded->parameters));
                free(before.at);
            }
            vae_destroy(loaded);
            loaded = NULL;
            CHECK(l.live == 0 && !l.mismatched);
            remove(MODEL_FILE ".2");
        }
        vae_destroy(model);
        free(file.at);
        remove(MODEL_FILE);
    }
}

/* ---- a disk that fails ---- */

#ifdef POSIX_FILES
enum { WHOLE, SHORT, INTERRUPTED, DISK_MODES };     /* SHORT: three bytes at a time; INTERRUPTED: every other call */
enum { MOST_OPERATIONS = 5000 };                    /* of one save or load; a loop with more does not end */

static struct {
    int  mode, reason, open_files, interrupted;
    long operation, fail_at;            /* the operation number fail_at fails for `reason`; 0: none */
    char log[64];                       /* a letter for each operation, once for several alike */
} disk;

static void disk_reset(int mode, long fail_at, int reason) {
    memset(&disk, 0, sizeof disk);
    disk.mode = mode;
    disk.fail_at = fail_at;
    disk.reason = reason;
}

static int disk_fails(char letter) {
    const size_t length = strlen(disk.log);
    if (length + 1 < sizeof disk.log && (!length || disk.log[length - 1] != letter)) disk.log[length] = letter;
    if (++disk.operation != disk.fail_at) return 0;
    errno = disk.reason;
    return 1;
}

static int disk_interrupts(void) {
    disk.interrupted = disk.mode == INTERRUPTED && !disk.interrupted;
    if (disk.interrupted) errno = EINTR;
    return disk.interrupted;
}

static int disk_opened(int file) {
    disk.open_files += file >= 0;
    return file;
}

static int disk_open(const char *path) { return disk_fails('o') ? -1 : disk_opened(open(path, O_RDONLY)); }
static int disk_create(const char *path, unsigned mode) {
    return disk_fails('c') ? -1 : disk_opened(open(path, O_WRONLY | O_CREAT | O_EXCL, (mode_t)mode));
}
static int disk_size_fails(void) { return disk_fails('z'); }
static long disk_read(int file, void *to, size_t size) {
    if (disk_fails('r')) return disk.reason ? -1 : 0;
    if (disk_interrupts()) return -1;
    return (long)read(file, to, disk.mode == SHORT && size > 3 ? 3 : size);
}
static long disk_write(int file, const void *from, size_t size) {
    if (disk_fails('w')) return disk.reason ? -1 : 0;
    if (disk_interrupts()) return -1;
    return (long)write(file, from, disk.mode == SHORT && size > 3 ? 3 : size);
}
/* The tests need not wait for the disk. */
static int disk_sync(int file) { return disk_fails('s') || disk_interrupts() || file < 0 ? -1 : 0; }
static int disk_close(int file) {
    const int fails = disk_fails('x'), result = close(file);
    disk.open_files--;
    if (fails) errno = disk.reason;
    return fails ? -1 : result;
}
static int disk_rename(const char *from, const char *to) { return disk_fails('n') ? -1 : rename(from, to); }

/* Create, write, sync, close: the new file is on the disk before it takes the name. Then the directory is synced, which
   has been opened before the name was taken. */
TEST(test_order_of_operations) {
    vae_model *model = make(DENSE);
    disk_reset(WHOLE, 0, 0);
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
    CHECK_TEXT(disk.log, "cwsxonsx");
    CHECK(disk.open_files == 0);
    disk_reset(WHOLE, 0, 0);
    EXPECT(vae_load_weights(model, MODEL_FILE, &problem), VAE_OK);
    CHECK_TEXT(disk.log, "ozrx");
    CHECK(disk.open_files == 0);
    vae_destroy(model);
    remove(MODEL_FILE);
}

/* Every operation of saving fails once: the old file is whole, or the new one is. */
static void check_failing_saves(vae_model *model, int checkpoint, int mode, int reason) {
    const bytes new_bytes = saved(model, checkpoint);
    bytes       old_bytes, now;
    vae_model  *old_model = make(SERIES);
    vae_status  status = VAE_ERROR_FILE;
    long        fail_at;
    int         kept = 0;
    train(old_model, 1);
    old_bytes = saved(old_model, 0);
    for (fail_at = 1; status != VAE_OK || disk.operation >= fail_at; fail_at++) {
        int is_old, is_new;
        write_file(MODEL_FILE, old_bytes.at, old_bytes.size);
        disk_reset(mode, fail_at, reason);
        status = checkpoint ? vae_save_checkpoint(model, MODEL_FILE, &problem) : vae_save(model, MODEL_FILE, &problem);
        now = read_file(MODEL_FILE);
        is_old = same_bytes(now, old_bytes);
        is_new = same_bytes(now, new_bytes);
        free(now.at);
        if (status == VAE_OK) CHECK(is_new);
        else {
            CHECK(status == VAE_ERROR_FILE && problem.status == status && strlen(problem.message) > 10);
            CHECK(strchr(disk.log, 'n') ? is_old || is_new : is_old);
            kept += is_old;
        }
        CHECK(!exists(TEMPORARY_FILE));
        CHECK(disk.open_files == 0);
        if (test_state.failures > TEST_SHOWN_FAILURES || !CHECK(fail_at < MOST_OPERATIONS)) break;
    }
    CHECK(kept > 3);
    disk_reset(WHOLE, 0, 0);
    vae_destroy(old_model);
    free(old_bytes.at);
    free(new_bytes.at);
    remove(MODEL_FILE);
}

TEST(test_failing_saves_keep_the_old_file) {
    vae_model *dense = make_trained(DENSE), *convolutional = make_trained(CONVOLUTIONAL);
    check_failing_saves(dense, 0, SHORT, EIO);
    check_failing_saves(dense, 1, INTERRUPTED, ENOSPC);
    check_failing_saves(convolutional, 1, WHOLE, EACCES);
    check_failing_saves(convolutional, 0, INTERRUPTED, EIO);
    check_failing_saves(convolutional, 0, WHOLE, 0);        /* the system gives no reason */
    vae_destroy(dense);
    vae_destroy(convolutional);
}

static void check_failing_loads(vae_model *model, int mode, int reason) {
    vae_model  *loaded = NULL, *other = make(DENSE);
    const bytes before = saved(other, 1);
    vae_config  config;
    vae_status  status;
    ledger      l;
    long        fail_at;
    memset(&config, 0, sizeof config);
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
    for (fail_at = 1;; fail_at++) {
        config.allocator = allocator_of(&l);
        disk_reset(mode, fail_at, reason);
        status = vae_load(MODEL_FILE, &config, &loaded, &problem);
        CHECK(disk.open_files == 0);
        if (status == VAE_OK) {
            CHECK(same_numbers(model, model->parameters, loaded->parameters));
            vae_destroy(loaded);
            loaded = NULL;
            if (disk.operation < fail_at) break;
        } else {
            CHECK(status == VAE_ERROR_FILE && problem.status == status && !loaded && l.live == 0);
            disk_reset(mode, fail_at, reason);
            EXPECT(vae_load_weights(other, MODEL_FILE, &problem), VAE_ERROR_FILE);
        }
        CHECK(l.live == 0 && !l.mismatched);
        if (test_state.failures > TEST_SHOWN_FAILURES || !CHECK(fail_at < MOST_OPERATIONS)) break;
    }
    CHECK(fail_at > 4);
    CHECK(model_is(other, before));
    disk_reset(WHOLE, 0, 0);
    vae_destroy(other);
    free(before.at);
    remove(MODEL_FILE);
}

TEST(test_failing_loads) {
    vae_model *model = make(DENSE);
    int        mode;
    for (mode = 0; mode < DISK_MODES; mode++) {
        check_failing_loads(model, mode, EIO);
        check_failing_loads(model, mode, 0);                /* the file ends earlier than its size was */
    }
    vae_destroy(model);
}

TEST(test_reasons_are_given) {
    vae_model *model = make(DENSE), *loaded = NULL;
    char       path[400];
    disk_reset(WHOLE, 1, EACCES);                           /* a place where nothing may be created */
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_ERROR_FILE);
    CHECK_CONTAINS(problem.message, strerror(EACCES));
    CHECK_CONTAINS(problem.message, MODEL_FILE);
    disk_reset(WHOLE, 2, ENOSPC);
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_ERROR_FILE);
    CHECK_CONTAINS(problem.message, strerror(ENOSPC));
    CHECK(!exists(MODEL_FILE) && !exists(TEMPORARY_FILE));
    disk_reset(WHOLE, 0, 0);
    EXPECT(vae_load(MODEL_FILE, NULL, &loaded, &problem), VAE_ERROR_FILE);
    CHECK_CONTAINS(problem.message, strerror(ENOENT));
    EXPECT(vae_save(model, "none/model.safetensors", &problem), VAE_ERROR_FILE);
    CHECK_TEXT(problem.message, "cannot save to none/model.safetensors: there is no folder none");
    EXPECT(vae_save_checkpoint(model, "/nonexistent/runs/m", &problem), VAE_ERROR_FILE);
    CHECK_TEXT(problem.message, "cannot save to /nonexistent/runs/m: there is no folder /nonexistent/runs");
    disk_reset(WHOLE, 1, ENOENT);                           /* of the working directory there is no name */
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_ERROR_FILE);
    CHECK_CONTAINS(problem.message, strerror(ENOENT));
    disk_reset(WHOLE, 0, 0);
    memset(path, 'a', sizeof path);                         /* longer than a message and than a name may be */
    memcpy(path, "none/", 5);
    strcpy(path + sizeof path - 9, "/b.model");
    EXPECT(vae_load(path, NULL, &loaded, &problem), VAE_ERROR_FILE);
    CHECK_CONTAINS(problem.message, "/b.model");
    EXPECT(vae_save(model, path, &problem), VAE_ERROR_FILE);
    CHECK_CONTAINS(problem.message, "/b.model");
    CHECK(strlen(problem.message) < sizeof problem.message - 1);
    CHECK(!loaded);
    vae_destroy(model);
}

TEST(test_path_that_is_too_long) {
    vae_model *model = make(DENSE);
    char      *path = (char *)malloc(6000);
    memset(path, 'a', 6000);
    path[5999] = 0;
    EXPECT(vae_save(model, path, &problem), VAE_ERROR_ARGUMENT);
    free(path);
    vae_destroy(model);
}

#define FOLDER "folder"

TEST(test_places_that_are_no_files) {
    vae_model  *model = make(DENSE), *loaded = NULL;
    const bytes before = saved(model, 1);
    CHECK(make_directory(FOLDER) == 0);
    EXPECT(vae_save(model, FOLDER, &problem), VAE_ERROR_FILE);
    CHECK_CONTAINS(problem.message, "directory");
    EXPECT(vae_load(FOLDER, NULL, &loaded, &problem), VAE_ERROR_FILE);
    CHECK_CONTAINS(problem.message, "directory");
    EXPECT(vae_load_weights(model, FOLDER, &problem), VAE_ERROR_FILE);
    EXPECT(vae_save(model, FOLDER "/", &problem), VAE_ERROR_FILE);
    CHECK(!exists(TEMPORARY_FILE));
    CHECK(mkfifo(FOLDER "/pipe", 0666) == 0);               /* must not be waited for, nor replaced */
    EXPECT(vae_save(model, FOLDER "/pipe", &problem), VAE_ERROR_FILE);
    EXPECT(vae_load(FOLDER "/pipe", NULL, &loaded, &problem), VAE_ERROR_FILE);
    CHECK(remove(FOLDER "/pipe") == 0);
    CHECK(remove_directory(FOLDER) == 0);                              /* nothing was left in it */
    CHECK(!loaded && model_is(model, before));
    free(before.at);
    vae_destroy(model);
}

TEST(test_path_with_directories) {
    vae_model *model = make_trained(SERIES), *loaded = NULL;
    CHECK(make_directory(FOLDER) == 0);
    EXPECT(vae_save(model, FOLDER "/../" FOLDER "/m", &problem), VAE_OK);
    if (EXPECT(vae_load(FOLDER "/m", NULL, &loaded, &problem), VAE_OK))
        CHECK(same_numbers(model, model->parameters, loaded->parameters));
    EXPECT(vae_load_weights(model, "./" FOLDER "//m", &problem), VAE_OK);
    CHECK(remove(FOLDER "/m") == 0);
    CHECK(remove_directory(FOLDER) == 0);
    vae_destroy(loaded);
    vae_destroy(model);
}
#else
TEST(test_order_of_operations) { SKIP("the failing disk is written for POSIX"); }
#endif

TEST(test_saving_over_an_existing_file) {
    vae_model *small = make(DENSE), *large = make(CONVOLUTIONAL), *loaded = NULL;
    bytes      file, wanted = saved(small, 0);
    write_file(MODEL_FILE, "no model", 8);
    EXPECT(vae_load(MODEL_FILE, NULL, &loaded, &problem), VAE_ERROR_FORMAT);
    EXPECT(vae_save(large, MODEL_FILE, &problem), VAE_OK);
    EXPECT(vae_save(small, MODEL_FILE, &problem), VAE_OK);      /* nothing of the larger file is left */
    file = read_file(MODEL_FILE);
    CHECK(same_bytes(file, wanted));
    EXPECT(vae_load_weights(large, MODEL_FILE, &problem), VAE_ERROR_CONFIG);
    free(file.at);
    free(wanted.at);
    vae_destroy(small);
    vae_destroy(large);
    remove(MODEL_FILE);
}

/* The beginnings of other kinds of files: refused before they are read. */
TEST(test_other_files) {
    static const struct { const char *bytes; size_t size; } others[] = {
        { "", 0 }, { "x", 1 }, { "\x89PNG\r\n\x1a\nabcdefghijklmnopq", 25 }, { "PK\x03\x04\x14\0\0\0\x08\0abcdef", 16 },
        { "\x93NUMPY\x01\0v\0{'descr': '<f4'", 24 }, { "{\"input\":[1,3,1]}\n", 18 }, { "\0\0\0\0\0\0\0\0", 8 },
        { "\x02\0\0\0\0\0\0\0{}", 10 }
    };
    vae_model *model = make(DENSE), *loaded = NULL;
    const bytes before = saved(model, 1);
    size_t     i;
    for (i = 0; i < sizeof others / sizeof *others; i++) {
        const int empty_header = i + 1 == sizeof others / sizeof *others;
        write_file(MODEL_FILE, others[i].bytes, others[i].size);
        EXPECT(vae_load(MODEL_FILE, NULL, &loaded, &problem), empty_header ? VAE_ERROR_CONFIG : VAE_ERROR_FORMAT);
        EXPECT(vae_load_weights(model, MODEL_FILE, &problem), VAE_ERROR_FORMAT);
    }
    CHECK(!loaded && model_is(model, before));
    free(before.at);
    vae_destroy(model);
    remove(MODEL_FILE);
}

/* The last one: the folder can be removed, so it is empty. */
TEST(test_nothing_is_left) {
    char folder[64];
    sprintf(folder, "test_files.%ld", process_number());
    CHECK(go_to_directory("..") == 0);
    CHECK(remove_directory(folder) == 0);
    CHECK(exists("test_written.safetensors"));
}

int main(void) {
    char folder[64];
    sprintf(folder, "test_files.%ld", process_number());
    make_directory("build");        /* where it is not there */
    if (go_to_directory("build") || make_directory(folder) || go_to_directory(folder)) {
        printf("build/%s cannot be made\n", folder);
        return 1;
    }
    RUN(test_numbers_are_exact);
    RUN(test_number_syntax);
    RUN(test_golden_bytes);
    RUN(test_saving_to_memory_says_what_it_needs);
    RUN(test_round_trips);
    RUN(test_settings_are_those_of_now);
    RUN(test_checkpoint_goes_on_with_the_same_bits);
    RUN(test_checkpoint_of_every_batch);
    RUN(test_loading_weights);
    RUN(test_inference_only);
    RUN(test_file_for_the_reader);
    RUN(test_config_overrides);
    RUN(test_config_that_disagrees);
    RUN(test_layers_that_disagree);
    RUN(test_network_of_a_damaged_file);
    RUN(test_settings_that_the_objective_ends);
    RUN(test_classifier_that_the_file_lacks);
    RUN(test_settings_that_disagree_are_named);
    RUN(test_arguments);
    RUN(test_headers_that_are_right);
    RUN(test_headers_that_are_wrong);
    RUN(test_data_that_do_not_fit_the_header);
    RUN(test_header_lengths);
    RUN(test_limits);
    RUN(test_tensors_in_any_order);
    RUN(test_metadata_names_that_come_twice);
#ifndef __wasi__
    RUN(test_files_made_to_be_slow);
#endif
    RUN(test_file_without_network_needs_the_config);
    RUN(test_networks_that_are_wrong);
    RUN(test_networks_that_are_right);
    RUN(test_types_that_are_read);
    RUN(test_doubles_beyond_float);
    RUN(test_half_precision);
    RUN(test_types_that_are_refused_by_name);
    RUN(test_old_files);
    RUN(test_files_of_a_newer_version);
    RUN(test_every_optimizer_and_schedule);
    RUN(test_optimizer_overrides);
    RUN(test_batch_in_a_file_is_no_order);
    RUN(test_honest_batches_are_kept);
    RUN(test_examples_out_of_proportion);
    RUN(test_weights_out_of_proportion);
    RUN(test_transfer);
    RUN(test_transfer_of_nothing);
    RUN(test_transfer_from_foreign_files);
    RUN(test_transfer_of_what_is_not_finite);
    RUN(test_names_that_are_nearly_right);
    RUN(test_tensors_that_others_leave_out);
    RUN(test_shapes_that_are_turned);
    RUN(test_names_that_count_padding);
    RUN(test_constants_of_standardizing);
    RUN(test_learned_sigma);
    RUN(test_sigma_out_of_range);
    RUN(test_zero_factors_are_kept);
    RUN(test_names_that_a_terminal_would_obey);
    RUN(test_yes_is_any_number);
    RUN(test_parts);
    RUN(test_file_of_a_part_is_no_whole);
    RUN(test_weights_of_others_are_not_written);
    RUN(test_saving_what_is_not_finite);
    RUN(test_moments_that_cannot_be);
    RUN(test_every_truncation);
    RUN_LONG(test_every_flip_in_the_header, "files and checkpoints, each bit of the header turned");
    RUN(test_every_flip_in_the_data);
    RUN(test_memory_that_runs_out);
    RUN(test_order_of_operations);
#ifdef POSIX_FILES
    RUN(test_failing_saves_keep_the_old_file);
    RUN(test_failing_loads);
    RUN(test_reasons_are_given);
    RUN(test_path_that_is_too_long);
    RUN(test_places_that_are_no_files);
    RUN(test_path_with_directories);
#endif
    RUN(test_saving_over_an_existing_file);
    RUN(test_other_files);
    RUN(test_nothing_is_left);
    return test_finish();
}
