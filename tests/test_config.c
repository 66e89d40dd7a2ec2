/* Configs, shapes, arguments and data: what is accepted, what is refused with which sentence, and that a refusal
   changes nothing. Memory: where it comes from and that no more is taken than was said. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every allocation of the library passes here, and every release. */
static size_t allocations, releases;
static void *counted_malloc(size_t size) {
    allocations++;
    return malloc(size);
}
static void *counted_calloc(size_t count, size_t size) {
    allocations++;
    return calloc(count, size);
}
static void *counted_realloc(void *block, size_t size) {
    allocations++;
    return realloc(block, size);
}
static void counted_free(void *block) {
    releases += block != NULL;
    free(block);
}
#define malloc counted_malloc
#define calloc counted_calloc
#define realloc counted_realloc
#define free counted_free
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "config_of.h"
#undef malloc
#undef calloc
#undef realloc
#undef free

#include <limits.h>
#include <math.h>
#include "ledger.h"
#include "test.h"
#include "model.h"

#define SIZE_LIMIT ((size_t)-1)

static vae_shape shape(int height, int width, int channels) {
    vae_shape s;
    s.height = height;
    s.width = width;
    s.channels = channels;
    return s;
}

/* ---- sentences ---- */

/* A sentence fits, is printable and does not break off. */
static int sensible(const char *message) {
    const size_t length = strlen(message);
    size_t       i;
    if (length < 10 || length > 250) return 0;
    for (i = 0; i < length; i++)
        if (message[i] < 32 || message[i] > 126) return 0;
    return !strchr(" ,:;%(", message[length - 1]) && !strstr(message, "%");
}

static int said(const vae_error *error, vae_status got, vae_status expected, const char *fragment, int line) {
    const int ok = got == expected && error->status == expected && strstr(error->message, fragment) &&
                   sensible(error->message);
    if (!ok)
        printf("line %d: %s, expected %s with \"%s\": %s\n", line, vae_status_name(got), vae_status_name(expected),
               fragment, error->message);
    return ok;
}

static void forget(vae_error *error) {
    memset(error, 0, sizeof *error);
    strcpy(error->message, "(nothing was said)");
}

static vae_config base(void) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.input = shape(1, 8, 1);
    c.latent = 2;
    c.encoder[0] = VAE_DENSE(4, VAE_RELU);
    return c;
}

static vae_config convolutional(void) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.input = shape(7, 6, 2);
    c.latent = 3;
    c.encoder[0] = VAE_CONV(4, 3, 2, VAE_RELU);
    c.encoder[1] = VAE_DENSE(9, VAE_TANH);
    c.batch = 5;
    return c;
}

/* Whatever makes or measures a model refuses this config, and changes nothing. */
static void check_refused(const vae_config *c, vae_status status, const char *fragment, int line) {
    vae_model  *const sentinel = (vae_model *)(void *)&line;
    vae_model  *model = sentinel;
    vae_error   error;
    size_t      bytes = 12345, i;
    char        memory[4096];
    vae_config  filled, untouched;
    memset(memory, 'm', sizeof memory);
    memset(&filled, 'f', sizeof filled);
    memset(&untouched, 'f', sizeof untouched);
    forget(&error);
    CHECK(said(&error, vae_memory_needed(c, &bytes, &error), status, fragment, line));
    CHECK(bytes == 12345);
    forget(&error);
    CHECK(said(&error, vae_create(c, &model, &error), status, fragment, line));
    CHECK(model == sentinel);
    forget(&error);
    CHECK(said(&error, vae_create_in(c, memory, sizeof memory, &model, &error), status, fragment, line));
    CHECK(model == sentinel);
    for (i = 0; i < sizeof memory; i++)
        if (memory[i] != 'm') break;
    CHECK(i == sizeof memory);
    CHECK(vae_memory_needed(c, &bytes, NULL) == status);
    CHECK(vae_create(c, &model, NULL) == status);
    forget(&error);
    if (vae_defaults(c, &filled, &error) != VAE_OK) {
        CHECK(said(&error, error.status, status, fragment, line));
        CHECK(!memcmp(&filled, &untouched, sizeof filled));
    }
}

#define REFUSED(change, status, fragment)                    \
    do {                                                     \
        vae_config c = base();                               \
        change;                                              \
        check_refused(&c, (status), (fragment), __LINE__);   \
    } while (0)

static vae_layer explicit_conv(vae_layer_kind kind, int kernel, int stride, int top, int bottom, int left, int right) {
    vae_layer l = VAE_CONV(3, 1, 1, VAE_RELU);
    l.kind = kind;
    l.kernel_height = l.kernel_width = kernel;
    l.stride_height = l.stride_width = stride;
    l.padding = VAE_EXPLICIT;
    l.top = top;
    l.bottom = bottom;
    l.left = left;
    l.right = right;
    return l;
}

static void run_in_turn(void *user, vae_task task, void *context, size_t count) {
    size_t i;
    (void)user;
    for (i = 0; i < count; i++) task(context, i);
}

static void test_wrong_settings(void) {
    const vae_real nan_ = (vae_real)NAN, inf = (vae_real)INFINITY;
    REFUSED(c.input = shape(0, 8, 1), VAE_ERROR_CONFIG, "input is 0 x 8 x 1");
    REFUSED(c.input = shape(1, 0, 1), VAE_ERROR_CONFIG, "input is 1 x 0 x 1");
    REFUSED(c.input = shape(1, 8, 0), VAE_ERROR_CONFIG, "input is 1 x 8 x 0");
    REFUSED(c.input = shape(-1, 8, 1), VAE_ERROR_CONFIG, "input is -1 x 8 x 1");
    REFUSED(c.input = shape(INT_MIN, INT_MIN, INT_MIN), VAE_ERROR_CONFIG, "input is -2147483648");
    REFUSED(c.input = shape(INT_MAX, INT_MAX, INT_MAX), VAE_ERROR_CONFIG, "input is 2147483647");
    REFUSED(c.latent = 0, VAE_ERROR_CONFIG, "latent is 0");
    REFUSED(c.latent = -3, VAE_ERROR_CONFIG, "latent is -3");
    REFUSED(c.latent = INT_MAX, VAE_ERROR_CONFIG, "latent is 2147483647");
    REFUSED(c.latent = INT_MIN, VAE_ERROR_CONFIG, "latent is -2147483648");
    REFUSED(c.encoder[0].kind = VAE_LAYER_END, VAE_ERROR_CONFIG, "the encoder has no layers");
    REFUSED(c.encoder[3] = VAE_DENSE(4, VAE_RELU), VAE_ERROR_CONFIG, "encoder layer 2 is empty, but layer 4 is set");
    REFUSED(c.decoder[1] = VAE_DENSE(8, VAE_LINEAR), VAE_ERROR_CONFIG, "decoder layer 1 is empty, but layer 2 is set");
    REFUSED(c.encoder[0].kind = (vae_layer_kind)77, VAE_ERROR_CONFIG, "encoder layer 1 has kind 77");
    REFUSED(c.encoder[0].activation = (vae_activation)50, VAE_ERROR_CONFIG, "encoder layer 1 has activation 50");
    REFUSED(c.likelihood = (vae_likelihood)9, VAE_ERROR_CONFIG, "likelihood is 9");
    REFUSED(c.initialization = (vae_initialization)4, VAE_ERROR_CONFIG, "initialization is 4");
    REFUSED(c.layout = (vae_layout)3, VAE_ERROR_CONFIG, "layout is 3");
    REFUSED(c.sigma = -2, VAE_ERROR_CONFIG, "sigma is -2");
    REFUSED(c.sigma = VAE_ZERO, VAE_ERROR_CONFIG, "sigma is");
    REFUSED(c.sigma = nan_, VAE_ERROR_CONFIG, "sigma is nan");
    REFUSED(c.sigma = inf, VAE_ERROR_CONFIG, "sigma is inf");
    REFUSED(c.beta = -2, VAE_ERROR_CONFIG, "beta is -2");
    REFUSED(c.beta = nan_, VAE_ERROR_CONFIG, "beta is nan");
    REFUSED(c.beta = inf, VAE_ERROR_CONFIG, "beta is inf");
    REFUSED(c.beta = (vae_real)2e6, VAE_ERROR_CONFIG, "beta is 2000000: it must lie in 0 (write VAE_ZERO) to 1e6");
    REFUSED(c.optimizer.learning_rate = (vae_real)-0.5, VAE_ERROR_CONFIG, "optimizer.learning_rate is -0.5");
    REFUSED(c.optimizer.learning_rate = nan_, VAE_ERROR_CONFIG, "optimizer.learning_rate is nan");
    REFUSED(c.optimizer.learning_rate = inf, VAE_ERROR_CONFIG, "optimizer.learning_rate is inf");
    REFUSED(c.optimizer.beta1 = 1, VAE_ERROR_CONFIG, "optimizer.beta1 is 1");
    REFUSED(c.optimizer.beta1 = -2, VAE_ERROR_CONFIG, "optimizer.beta1 is -2");
    REFUSED(c.optimizer.beta2 = (vae_real)1.5, VAE_ERROR_CONFIG, "optimizer.beta2 is 1.5");
    REFUSED(c.optimizer.beta2 = nan_, VAE_ERROR_CONFIG, "optimizer.beta2 is nan");
    REFUSED(c.optimizer.epsilon = -3, VAE_ERROR_CONFIG, "optimizer.epsilon is -3");
    REFUSED(c.optimizer.epsilon = inf, VAE_ERROR_CONFIG, "optimizer.epsilon is inf");
    REFUSED(c.threads = -1, VAE_ERROR_CONFIG, "threads is -1");
    REFUSED(c.threads = 65, VAE_ERROR_CONFIG, "threads is 65");
    REFUSED(c.threads = INT_MAX, VAE_ERROR_CONFIG, "threads is 2147483647");
    REFUSED(c.allocator.allocate = ledger_allocate, VAE_ERROR_CONFIG, "allocator has only one");
    REFUSED(c.allocator.release = ledger_release, VAE_ERROR_CONFIG, "allocator has only one");
    REFUSED(c.kernels = (vae_kernels)99, VAE_ERROR_UNSUPPORTED, "kernels unknown");
    REFUSED(c.kernels = (vae_kernels)-1, VAE_ERROR_UNSUPPORTED, "kernels unknown");
    if (!vae_kernels_available(VAE_KERNELS_PLAIN))
        REFUSED(c.kernels = VAE_KERNELS_PLAIN, VAE_ERROR_UNSUPPORTED, "kernels plain");
    if (!vae_kernels_available(VAE_KERNELS_NEON)) REFUSED(c.kernels = VAE_KERNELS_NEON, VAE_ERROR_UNSUPPORTED, "neon");
    if (!vae_kernels_available(VAE_KERNELS_AVX2)) REFUSED(c.kernels = VAE_KERNELS_AVX2, VAE_ERROR_UNSUPPORTED, "avx2");
}

/* Settings that the others make meaningless are refused, not ignored; a limit is told with its number. */
static void test_settings_without_meaning(void) {
    REFUSED(c.sigma = 1, VAE_ERROR_CONFIG, "sigma is set, but VAE_BERNOULLI has no sigma");
    REFUSED(c.sigma_per_pixel = 1, VAE_ERROR_CONFIG, "sigma_per_pixel is set, but VAE_BERNOULLI");
    REFUSED(c.standardize = 1, VAE_ERROR_CONFIG, "standardize is set, but VAE_BERNOULLI takes pixels in [0, 1]");
    REFUSED((c.likelihood = VAE_GAUSSIAN, c.sigma = 2, c.sigma_per_pixel = 1), VAE_ERROR_CONFIG, "sigma is fixed at 2");
    REFUSED((c.likelihood = VAE_GAUSSIAN, c.sigma = (vae_real)1e-7), VAE_ERROR_CONFIG, "lie in 1e-6 to 1e6");
    REFUSED((c.likelihood = VAE_GAUSSIAN, c.sigma = (vae_real)1e7), VAE_ERROR_CONFIG, "lie in 1e-6 to 1e6");
    REFUSED(c.part = (vae_part)4, VAE_ERROR_CONFIG, "part is 4");
    REFUSED(c.part = (vae_part)-1, VAE_ERROR_CONFIG, "part is -1");
    REFUSED(c.optimizer.kind = (vae_optimizer_kind)9, VAE_ERROR_CONFIG, "optimizer.kind is 9");
    REFUSED(c.optimizer.momentum = (vae_real)0.5, VAE_ERROR_CONFIG,
            "optimizer.momentum is 0.5, but the kind is VAE_ADAM");
    REFUSED(c.optimizer.learning_rate = (vae_real)2e6, VAE_ERROR_CONFIG, "to 1e6");
    REFUSED(c.optimizer.weight_decay = -1, VAE_ERROR_CONFIG, "optimizer.weight_decay is -1");
    REFUSED(c.beta_schedule.kind = (vae_schedule_kind)7, VAE_ERROR_CONFIG, "beta_schedule.kind is 7");
    REFUSED(c.beta_schedule.steps = 5, VAE_ERROR_CONFIG, "beta_schedule has numbers, but its kind is VAE_CONSTANT");
    REFUSED(c.optimizer.schedule.from = (vae_real)0.5, VAE_ERROR_CONFIG, "optimizer.schedule has numbers");
    REFUSED(c.parallel.run = run_in_turn, VAE_ERROR_CONFIG, "parallel is given, threads is 0: say how many");
    REFUSED(c.parallel.user = &c, VAE_ERROR_CONFIG, "parallel.user is given without parallel.run");
#ifndef VAE_THREADS
    REFUSED(c.threads = 4, VAE_ERROR_UNSUPPORTED, "threads is 4, but this build has none: define VAE_THREADS");
#endif
    if (VAEI_OPTIMIZERS > VAE_SGD) {
        REFUSED((c.optimizer.kind = VAE_SGD, c.optimizer.beta1 = (vae_real)0.5), VAE_ERROR_CONFIG,
                "the kind is VAE_SGD");
        REFUSED((c.optimizer.kind = VAE_SGD, c.optimizer.epsilon = 1), VAE_ERROR_CONFIG, "the kind is VAE_SGD");
        REFUSED((c.optimizer.kind = VAE_SGD, c.optimizer.momentum = 1), VAE_ERROR_CONFIG, "optimizer.momentum is 1");
    }
    REFUSED((c.optimizer.kind = VAE_RMSPROP, c.optimizer.beta1 = (vae_real)0.5), VAE_ERROR_CONFIG,
            "optimizer.beta1 is 0.5, but the kind is VAE_RMSPROP");
    REFUSED((c.optimizer.kind = VAE_ADADELTA, c.optimizer.momentum = (vae_real)0.5), VAE_ERROR_CONFIG,
            "optimizer.momentum is 0.5, but the kind is VAE_ADADELTA");
    REFUSED((c.optimizer.kind = VAE_ADADELTA, c.optimizer.beta2 = 1), VAE_ERROR_CONFIG, "optimizer.beta2 is 1");
    REFUSED((c.optimizer.kind = VAE_RMSPROP, c.optimizer.epsilon = -1), VAE_ERROR_CONFIG, "optimizer.epsilon is -1");
    REFUSED(c.optimizer.clip_norm = -1, VAE_ERROR_CONFIG, "optimizer.clip_norm is -1");
    if (VAEI_SCHEDULES > VAE_CYCLICAL) {
        REFUSED((c.beta_schedule.kind = VAE_STEP, c.beta_schedule.steps = 9), VAE_ERROR_CONFIG,
                "beta_schedule.to is 0: give the factor of every 9 updates");
        REFUSED((c.beta_schedule.kind = VAE_EXPONENTIAL, c.beta_schedule.steps = 9, c.beta_schedule.to = VAE_ZERO),
                VAE_ERROR_CONFIG, "beta_schedule.to is 0");
        REFUSED((c.beta_schedule.kind = VAE_STEP, c.beta_schedule.steps = 9, c.beta_schedule.to = 1,
                 c.beta_schedule.from = 1), VAE_ERROR_CONFIG, "there is no warmup");
        REFUSED((c.beta_schedule.kind = VAE_CYCLICAL, c.beta_schedule.steps = 9), VAE_ERROR_CONFIG,
                "beta_schedule.warmup is 0 of 9 steps");
        REFUSED((c.beta_schedule.kind = VAE_CYCLICAL, c.beta_schedule.steps = 9, c.beta_schedule.warmup = 10),
                VAE_ERROR_CONFIG, "beta_schedule.warmup is 10 of 9 steps");
        REFUSED((c.beta_schedule.kind = VAE_CYCLICAL, c.beta_schedule.steps = 9, c.beta_schedule.warmup = 9,
                 c.beta_schedule.to = 1), VAE_ERROR_CONFIG, "has a `to`, which VAE_CYCLICAL has not");
    }
    if (VAEI_SCHEDULES > VAE_COSINE) {
        REFUSED(c.beta_schedule.kind = VAE_WARMUP, VAE_ERROR_CONFIG, "beta_schedule.steps is 0");
        REFUSED((c.beta_schedule.kind = VAE_WARMUP, c.beta_schedule.steps = 9, c.beta_schedule.to = 1),
                VAE_ERROR_CONFIG, "has a `to`, which VAE_WARMUP has not");
        REFUSED((c.beta_schedule.kind = VAE_COSINE, c.beta_schedule.steps = 9, c.beta_schedule.warmup = 9),
                VAE_ERROR_CONFIG, "beta_schedule.warmup is 9 of 9 steps");
        REFUSED((c.beta_schedule.kind = VAE_COSINE, c.beta_schedule.steps = 9, c.beta_schedule.to = 2),
                VAE_ERROR_CONFIG, "must lie in [0, 1]");
        REFUSED((c.beta_schedule.kind = VAE_COSINE, c.beta_schedule.steps = 9, c.beta_schedule.from = 1),
                VAE_ERROR_CONFIG, "there is no warmup that begins there");
    }
    REFUSED(c.objective = (vae_objective)4, VAE_ERROR_CONFIG, "objective is 4");
    REFUSED(c.objective = (vae_objective)-1, VAE_ERROR_CONFIG, "objective is -1");
    REFUSED(c.samples = 65537, VAE_ERROR_CONFIG, "samples is 65537: use 1 to 65536");
    REFUSED(c.free_bits = -1, VAE_ERROR_CONFIG, "free_bits is -1");
    REFUSED(c.free_bits = (vae_real)NAN, VAE_ERROR_CONFIG, "free_bits is nan");
    REFUSED(c.capacity = (vae_real)2e6, VAE_ERROR_CONFIG, "capacity 2000000: each must lie in 0 (none) to 1e6");
    REFUSED((c.capacity = 1, c.free_bits = 1), VAE_ERROR_CONFIG, "both change the KL");
    REFUSED((c.objective = VAE_OBJECTIVE_IWAE, c.free_bits = 1), VAE_ERROR_CONFIG, "free_bits is set, but only");
    REFUSED((c.objective = VAE_OBJECTIVE_AUTOENCODER, c.capacity = 1), VAE_ERROR_CONFIG, "capacity is set, but only");
    REFUSED((c.objective = VAE_OBJECTIVE_AUTOENCODER, c.samples = 2), VAE_ERROR_CONFIG, "samples is set, but");
    REFUSED((c.objective = VAE_OBJECTIVE_AUTOENCODER, c.beta = VAE_ZERO), VAE_ERROR_CONFIG, "beta is set, but");
    REFUSED((c.objective = VAE_OBJECTIVE_AUTOENCODER, c.beta_schedule.kind = VAE_WARMUP, c.beta_schedule.steps = 2),
            VAE_ERROR_CONFIG, "beta_schedule is set, but VAE_OBJECTIVE_AUTOENCODER has no KL: leave it 0");
    REFUSED((c.capacity_schedule.kind = VAE_WARMUP, c.capacity_schedule.steps = 2), VAE_ERROR_CONFIG,
            "capacity_schedule is set, but capacity is 0");
    REFUSED((c.capacity = 1, c.capacity_schedule.kind = VAE_WARMUP), VAE_ERROR_CONFIG, "capacity_schedule.steps is 0");
    REFUSED(c.capacity_schedule.steps = 2, VAE_ERROR_CONFIG, "capacity_schedule has numbers");
    REFUSED(c.latent = 2000000, VAE_ERROR_CONFIG, "1 to 1048576");
    REFUSED(c.batch = 16777217, VAE_ERROR_CONFIG, "batch is 16777217: use 1 to 16777216");
    REFUSED(c.input = shape(1, 67108865, 1), VAE_ERROR_CONFIG, "each 1 to 67108864");
    REFUSED(c.encoder[0] = VAE_DENSE(67108865, VAE_RELU), VAE_ERROR_CONFIG, "at most 67108864");
    REFUSED(c.encoder[0] = VAE_CONV_1D(65536, 3, 1, VAE_RELU), VAE_ERROR_CONFIG, "at most 65535");
    REFUSED((c.input = shape(1, 65536, 1), c.encoder[0] = VAE_CONV_1D(1, 3, 2, VAE_RELU)), VAE_ERROR_CONFIG,
            "larger than 65535");
    REFUSED(c.encoder[0].stride_width = 2, VAE_ERROR_CONFIG, "encoder layer 1 is dense and has a kernel");
    REFUSED((c.encoder[0] = VAE_CONV_1D(2, 3, 1, VAE_RELU), c.encoder[0].left = 1), VAE_ERROR_CONFIG,
            "VAE_SAME chooses");
    REFUSED((c.encoder[0] = VAE_CONV_1D(2, 3, 1, VAE_RELU), c.encoder[0].shape.width = 8), VAE_ERROR_CONFIG,
            "height and width follow from its input");
    REFUSED((c.encoder[0] = explicit_conv(VAE_LAYER_CONV, 2, 2, 1, 1, 1, 1), c.encoder[0].output_padding_width = 1),
            VAE_ERROR_CONFIG, "which only a transposed convolution has");
    /* A series that stands upright, and a kernel across one that does not. */
    REFUSED((c.input = shape(1024, 1, 3), c.encoder[0] = VAE_CONV_1D(8, 3, 4, VAE_RELU)), VAE_ERROR_CONFIG,
            "a series is { 1, length, channels }");
    REFUSED((c.input = shape(1024, 1, 3), c.encoder[0] = VAE_CONV_1D(8, 1, 4, VAE_RELU)), VAE_ERROR_CONFIG,
            "a series is");
    REFUSED((c.input = shape(1024, 1, 3), c.encoder[0] = VAE_CONV_TRANSPOSED_1D(8, 3, 1, VAE_RELU)), VAE_ERROR_CONFIG,
            "a series is");
    REFUSED((c.encoder[0] = VAE_CONV_1D(8, 1, 1, VAE_RELU), c.encoder[0].kernel_height = 5), VAE_ERROR_CONFIG,
            "a series is");
}

/* The same network, mirrored by itself and written out, is accepted either way. */
static void test_limits_agree(void) {
    vae_config c = base(), filled;
    vae_error  error;
    size_t     mirrored = 0, written = 1;
    c.input = shape(1, 70000, 1);
    c.threads = 1;
    CHECK(vae_memory_needed(&c, &mirrored, &error) == VAE_OK);
    c.decoder[0] = VAE_DENSE(4, VAE_RELU);
    c.decoder[1] = VAE_DENSE(70000, VAE_LINEAR);
    CHECK(vae_memory_needed(&c, &written, &error) == VAE_OK && mirrored == written);
    c = base();
    c.input = shape(1, 70000, 1);
    CHECK(vae_defaults(&c, &filled, &error) == VAE_OK && vae_memory_needed(&filled, &written, &error) == VAE_OK);
    CHECK(mirrored == written);
    c.input = shape(70000, 1, 2);
    CHECK(vae_memory_needed(&c, &mirrored, &error) == VAE_OK);
    c.input = shape(1, 1, 70000);
    CHECK(vae_memory_needed(&c, &mirrored, &error) == VAE_OK);
}

/* A mean may be kept in [0, 1] where the likelihood has a sigma. */
static void test_free_last_activation(void) {
    vae_config     c = base();
    vae_model     *model;
    vae_error      error;
    vae_real       pixels[3 * 8], got[3 * 8];
    const vae_data data = { .pixels = pixels, .count = 3 };
    size_t         i;
    for (i = 0; i < 24; i++) pixels[i] = (vae_real)(i % 5) - 2;
    c.decoder[0] = VAE_DENSE(8, VAE_SIGMOID);
    check_refused(&c, VAE_ERROR_CONFIG, "decoder layer 1 is the last and gives the logits", __LINE__);
    c.likelihood = VAE_GAUSSIAN;
    c.sigma = 1;
    model = make(&c);
    for (i = 0; i < 20; i++) CHECK(vae_train_step(model, &data, NULL, &error) == VAE_OK);
    CHECK(vae_reconstruct(model, &data, got, NULL) == VAE_OK);
    for (i = 0; i < 24; i++) CHECK(got[i] > 0 && got[i] < 1);
    vae_destroy(model);
}

static void test_wrong_layers(void) {
    REFUSED(c.encoder[0] = VAE_DENSE(0, VAE_RELU), VAE_ERROR_CONFIG, "encoder layer 1 has no units");
    REFUSED(c.encoder[0] = VAE_DENSE(-5, VAE_RELU), VAE_ERROR_CONFIG, "encoder layer 1 has no units");
    REFUSED(c.encoder[0] = VAE_DENSE_SHAPED(0, 2, 2, VAE_RELU), VAE_ERROR_CONFIG, "encoder layer 1 has no units");
    REFUSED(c.encoder[0] = VAE_DENSE(INT_MAX, VAE_RELU), VAE_ERROR_CONFIG, "encoder layer 1");
    REFUSED(c.encoder[1] = VAE_CONV(0, 3, 1, VAE_RELU), VAE_ERROR_CONFIG, "encoder layer 2 has no channels");
    REFUSED(c.encoder[1] = VAE_CONV(-1, 3, 1, VAE_RELU), VAE_ERROR_CONFIG, "encoder layer 2 has no channels");
    REFUSED(c.encoder[1] = VAE_CONV(INT_MAX, 3, 1, VAE_RELU), VAE_ERROR_CONFIG, "encoder layer 2");
    REFUSED(c.encoder[1] = VAE_CONV(2, 0, 1, VAE_RELU), VAE_ERROR_CONFIG, "encoder layer 2: kernel 0 x 0");
    REFUSED(c.encoder[1] = VAE_CONV(2, 3, 0, VAE_RELU), VAE_ERROR_CONFIG,
            "encoder layer 2: kernel 3 x 3, stride 0 x 0");
    REFUSED(c.encoder[1] = VAE_CONV(2, -3, 1, VAE_RELU), VAE_ERROR_CONFIG, "kernel -3 x -3");
    REFUSED(c.encoder[1] = VAE_CONV(2, INT_MAX, 1, VAE_RELU), VAE_ERROR_CONFIG, "kernel 2147483647");
    REFUSED(c.encoder[1] = VAE_CONV(2, 3, INT_MAX, VAE_RELU), VAE_ERROR_CONFIG, "stride 2147483647");
    REFUSED(c.encoder[1] = VAE_CONV_TRANSPOSED(2, 3, INT_MIN, VAE_RELU), VAE_ERROR_CONFIG, "stride -2147483648");
    REFUSED(c.encoder[1] = VAE_CONV_SYMMETRIC(2, 3, 1, -1, VAE_RELU), VAE_ERROR_CONFIG, "padding -1, -1, -1, -1");
    REFUSED(c.encoder[1] = VAE_CONV_SYMMETRIC(2, 3, 1, INT_MAX, VAE_RELU), VAE_ERROR_CONFIG, "padding 2147483647");
    REFUSED(c.encoder[1] = VAE_CONV_SYMMETRIC(2, 3, 1, 0, VAE_RELU), VAE_ERROR_CONFIG,
            "encoder layer 2: a kernel of 3 does not fit an input of 1 with padding 0 + 0");
    REFUSED(c.encoder[1] = VAE_CONV_TRANSPOSED_SYMMETRIC(2, 3, 2, 1, 2, VAE_RELU), VAE_ERROR_CONFIG, "output padding");
    REFUSED(c.encoder[1] = VAE_CONV_TRANSPOSED_SYMMETRIC(2, 3, 2, 1, -1, VAE_RELU), VAE_ERROR_CONFIG, "output padding");
    REFUSED(c.encoder[1] = VAE_CONV_TRANSPOSED_SYMMETRIC(2, 3, 2, 2, 0, VAE_RELU), VAE_ERROR_CONFIG,
            "encoder layer 2: padding 2 + 2 crops the whole output");
    REFUSED(c.encoder[1] = explicit_conv(VAE_LAYER_CONV, 3, 1, 0, -1, 0, 0), VAE_ERROR_CONFIG, "padding 0, -1, 0, 0");
    REFUSED((c.encoder[1] = VAE_CONV(2, 3, 1, VAE_RELU), c.encoder[1].padding = (vae_padding)5), VAE_ERROR_CONFIG,
            "padding rule 5");
    REFUSED((c.encoder[0] = VAE_CONV_TRANSPOSED_1D(1, 3, 1023, VAE_RELU), c.input = shape(1, 1000, 1)),
            VAE_ERROR_CONFIG, "no side may be larger");
    {   /* sixteen encoder layers have no mirror image of at most sixteen, but may have a decoder of their own */
        vae_config c = base();
        int        i;
        for (i = 0; i < VAE_MAX_LAYERS; i++) c.encoder[i] = VAE_DENSE(4, VAE_RELU);
        check_refused(&c, VAE_ERROR_CONFIG, "the mirror image of 16 encoder layers has 17", __LINE__);
        for (i = 0; i < VAE_MAX_LAYERS; i++) c.decoder[i] = VAE_DENSE(8, i < 15 ? VAE_RELU : VAE_LINEAR);
        vae_destroy(make(&c));
        memset(c.decoder, 0, sizeof c.decoder);
        c.encoder[15].kind = VAE_LAYER_END;
        vae_destroy(make(&c));
    }
}

static void test_wrong_decoders(void) {
    REFUSED(c.decoder[0] = VAE_DENSE(7, VAE_LINEAR), VAE_ERROR_CONFIG,
            "decoder layer 1 gives 1 x 1 x 7, the input is 1 x 8 x 1: change its units, to as many as the input has");
    REFUSED(c.decoder[0] = VAE_DENSE(8, VAE_SIGMOID), VAE_ERROR_CONFIG,
            "decoder layer 1 is the last and gives the logits");
    REFUSED((c.decoder[0] = VAE_DENSE_SHAPED(1, 4, 3, VAE_RELU),
             c.decoder[1] = VAE_CONV_TRANSPOSED_1D(1, 3, 3, VAE_LINEAR)),
            VAE_ERROR_CONFIG, "decoder layer 2 gives 1 x 12 x 1, the input is 1 x 8 x 1");
    REFUSED((c.decoder[0] = VAE_DENSE_SHAPED(1, 8, 3, VAE_RELU),
             c.decoder[1] = VAE_CONV_TRANSPOSED_1D(2, 3, 1, VAE_LINEAR)),
            VAE_ERROR_CONFIG, "decoder layer 2 gives 1 x 8 x 2");
    REFUSED((c.decoder[0] = VAE_DENSE(3, VAE_RELU), c.decoder[1] = VAE_CONV_SYMMETRIC(1, 5, 1, 1, VAE_LINEAR)),
            VAE_ERROR_CONFIG, "decoder layer 2: a kernel of 5 does not fit");
    REFUSED((c.decoder[0] = VAE_DENSE(8, VAE_RELU), c.decoder[1] = VAE_DENSE(0, VAE_LINEAR)),
            VAE_ERROR_CONFIG, "decoder layer 2 has no units");
}

/* Products that do not fit, and sizes that no memory holds: a sentence, never a crash or a wrapped number. */
static void check_too_large(vae_config c, int line) {
    ledger     l;
    vae_model *model = NULL;
    vae_error  error;
    size_t     bytes = 0;
    vae_status status;
    c.allocator = ledger_allocator(&l);
    l.largest = (size_t)1 << 28;
    status = vae_memory_needed(&c, &bytes, &error);
    if (status == VAE_OK && bytes <= l.largest) printf("line %d: only %lu bytes\n", line, (unsigned long)bytes);
    CHECK(status == VAE_OK ? bytes > l.largest : status == VAE_ERROR_CONFIG || status == VAE_ERROR_MEMORY);
    status = vae_create(&c, &model, &error);
    CHECK(status == VAE_ERROR_CONFIG || status == VAE_ERROR_MEMORY);
    CHECK(error.status == status && sensible(error.message));
    CHECK(!model && !l.live);
}

#define TOO_LARGE(change) do { vae_config c = base(); change; check_too_large(c, __LINE__); } while (0)

/* ---- a config that was never zeroed ---- */

/* What the calls that take it say; all of them fail. */
static int all_doubt(const vae_config *c, const vae_model *model) {
    const char    *doubt = "; or was the config never zeroed, as by vae_config config = { 0 }?";
    static unsigned char memory[64], file[1 << 14];
    vae_config     filled;
    vae_model     *made = NULL;
    vae_error      error;
    size_t         size;
    int            call, doubts = 0;
    CHECK(vae_save_memory(model, 0, file, sizeof file, &size, NULL) == VAE_OK);
    for (call = 0; call < 5; call++) {
        const vae_status status = call == 0   ? vae_defaults(c, &filled, &error)
                                  : call == 1 ? vae_memory_needed(c, &size, &error)
                                  : call == 2 ? vae_create(c, &made, &error)
                                  : call == 3 ? vae_create_in(c, memory, sizeof memory, &made, &error)
                                              : vae_load_memory(file, size, c, &made, &error);
        const char *at = status == VAE_OK ? NULL : strstr(error.message, doubt);
        if (!CHECK(status != VAE_OK && !made)) printf("    call %d\n", call);
        if (at && CHECK(!strcmp(at, doubt) && sensible(error.message))) doubts++;
        if (call == 1 && status != VAE_OK) CHECK(vae_save_memory(model, 0, file, sizeof file, &size, NULL) == VAE_OK);
    }
    CHECK(doubts == 0 || doubts == 5);
    return doubts == 5;
}

static void test_configs_that_were_never_zeroed(void) {
#define DOUBTS(wanted, ...)                                                                \
    do {                                                                                   \
        c = base();                                                                        \
        c.latent = -1;                                                                     \
        __VA_ARGS__;                                                                       \
        if (!CHECK(all_doubt(&c, model) == (wanted))) puts("    " #__VA_ARGS__);           \
    } while (0)
#define DOUBTED(...) DOUBTS(1, __VA_ARGS__)
#define TRUSTED(...) DOUBTS(0, __VA_ARGS__)
    vae_config  c = base();
    vae_model  *model = NULL;
    test_random random = { 7 };
    unsigned char *bytes = (unsigned char *)&c;
    size_t      i, k;
    CHECK(vae_create(&c, &model, NULL) == VAE_OK);
    for (k = 0; k < 20; k++) {      /* what is required is set, the rest is what lay there */
        memset(&c, 0, sizeof c);
        for (i = 0; i < sizeof c; i++)
            if (k < 3) bytes[i] = (unsigned char)(0xFF >> k);
            else if (i / 64 % 4 == k % 4) bytes[i] = (unsigned char)test_bits(&random);
        c.input = shape(1, 8, 1);
        c.latent = 2;
        c.encoder[0] = VAE_DENSE(4, VAE_RELU);
        memset(&c.encoder[1], 0, sizeof c.encoder[1]);
        c.weights = NULL;
        memset(&c.allocator, 0, sizeof c.allocator);
        CHECK(all_doubt(&c, model));
    }
    DOUBTED((c.encoder[1].kind = VAE_LAYER_END, c.encoder[7].kind = (vae_layer_kind)21845));
    DOUBTED((c.classes = 3, c.classifier[0].kind = (vae_layer_kind)4));
    DOUBTED(c.encoder[3].activation = (vae_activation)-7);
    DOUBTED(c.decoder[15].padding = (vae_padding)3);
    DOUBTED(c.likelihood = (vae_likelihood)7);
    DOUBTED(c.beta_schedule.kind = (vae_schedule_kind)99);
    DOUBTED(c.initialization = (vae_initialization)4);
    DOUBTED(c.layout = (vae_layout)3);
    DOUBTED(c.optimizer.kind = (vae_optimizer_kind)6);
    DOUBTED(c.optimizer.schedule.kind = (vae_schedule_kind)-1);
    DOUBTED(c.part = (vae_part)4);
    DOUBTED(c.kernels = (vae_kernels)6);
    DOUBTED(c.objective = (vae_objective)4);
    DOUBTED(c.capacity_schedule.kind = (vae_schedule_kind)99);
    DOUBTED(c.freeze = (vae_freeze)4);
    DOUBTED(c.corruption.kind = (vae_corruption_kind)5);
    DOUBTED(c.sigma_per_pixel = 2);
    DOUBTED(c.standardize = -1);
    DOUBTED(c.inference_only = 32767);
    DOUBTED(c.shared_heads = 2);
    DOUBTED(c.tied = 2);
    DOUBTED(c.keep_best = 2);
    DOUBTED(c.binarize = 2);
    DOUBTED(c.missing = 2);
    DOUBTED(c.targets = 2);
    /* Mistakes that were written. */
    TRUSTED(c.batch = 5);
    TRUSTED(c.encoder[7] = VAE_DENSE(4, VAE_RELU));
    TRUSTED((c.classes = 3, c.classifier[0] = VAE_DENSE(3, VAE_LINEAR)));
    TRUSTED((c.standardize = c.tied = c.binarize = 1, c.likelihood = VAE_DISCRETIZED_LOGISTIC));
    TRUSTED((c.encoder[0] = VAE_CONV_TRANSPOSED(2, 3, 2, VAE_SOFTPLUS), c.kernels = VAE_KERNELS_NEON));
    vae_destroy(model);
#undef DOUBTS
#undef DOUBTED
#undef TRUSTED
}

static void test_huge_sizes(void) {
    static const size_t batches[] = { SIZE_LIMIT, SIZE_LIMIT / 2, SIZE_LIMIT / 4, SIZE_LIMIT / 8, SIZE_LIMIT / 32,
                                      SIZE_LIMIT / 64 + 1,
                                      (size_t)1 << (sizeof(size_t) > 4 ? sizeof(size_t) * 4 : 29), (size_t)1 << 30 };
    size_t i;
    for (i = 0; i < sizeof batches / sizeof *batches; i++) {
        TOO_LARGE(c.batch = batches[i]);
        TOO_LARGE((c = convolutional(), c.batch = batches[i]));
        TOO_LARGE((c.batch = batches[i] / 65536 + 1, c.samples = 65536));
        TOO_LARGE((c = convolutional(), c.batch = batches[i], c.inference_only = 1));
    }
    TOO_LARGE((c.latent = 1 << 20, c.encoder[0] = VAE_DENSE(1 << 20, VAE_RELU)));
    TOO_LARGE(c.encoder[0] = VAE_DENSE(1 << 26, VAE_RELU));
    TOO_LARGE(c.encoder[0] = VAE_DENSE_SHAPED(65535, 65535, 1 << 26, VAE_RELU));
    TOO_LARGE(c.encoder[0] = VAE_DENSE_SHAPED(65535, 32767, 1, VAE_RELU));
    TOO_LARGE(c.encoder[0] = VAE_CONV(65535, 1023, 1, VAE_RELU));
    TOO_LARGE((c.encoder[0] = VAE_CONV(65535, 1, 1, VAE_RELU), c.encoder[1] = VAE_CONV(65535, 1023, 1, VAE_RELU)));
    TOO_LARGE(c.encoder[0] = VAE_CONV_SYMMETRIC(1, 1, 1, 65535, VAE_RELU));
    TOO_LARGE(c.encoder[0] = VAE_CONV_SYMMETRIC(1, 1, 1, 32763, VAE_RELU));
    TOO_LARGE((c.input = shape(65535, 65535, 65535), c.encoder[0] = VAE_CONV(1, 1, 1023, VAE_RELU)));
    TOO_LARGE((c.input = shape(65535, 65535, 65535), c.encoder[0] = VAE_DENSE(1, VAE_RELU)));
    TOO_LARGE((c.input = shape(65535, 1 << 26, 65535), c.encoder[0] = VAE_DENSE(1, VAE_RELU)));
    TOO_LARGE(c.input = shape(1, 1 << 26, 1));
    TOO_LARGE((c.input = shape(1, 1 << 26, 1), c.encoder[0] = VAE_CONV_1D(1, 3, 1023, VAE_RELU)));
    TOO_LARGE((c.input = shape(1, 1 << 26, 1), c.encoder[0] = VAE_CONV_TRANSPOSED_1D(1, 3, 1023, VAE_RELU)));
    TOO_LARGE((c.input = shape(1, 1 << 26, 1),
               c.encoder[0] = explicit_conv(VAE_LAYER_CONV_TRANSPOSED, 3, 1023, 0, 0, 0, 0)));
}

/* ---- defaults ---- */

static int same_config(const vae_config *a, const vae_config *b) {
    return !memcmp(&a->input, &b->input, sizeof a->input) && a->latent == b->latent &&
           !memcmp(a->encoder, b->encoder, sizeof a->encoder) && !memcmp(a->decoder, b->decoder, sizeof a->decoder) &&
           a->likelihood == b->likelihood && a->sigma == b->sigma && a->beta == b->beta &&
           a->initialization == b->initialization && a->layout == b->layout &&
           !memcmp(&a->optimizer, &b->optimizer, sizeof a->optimizer) &&
           a->seed == b->seed && a->batch == b->batch && a->inference_only == b->inference_only &&
           a->kernels == b->kernels &&
           a->threads == b->threads && a->parallel.run == b->parallel.run && a->parallel.user == b->parallel.user &&
           a->allocator.allocate == b->allocator.allocate && a->allocator.release == b->allocator.release &&
           a->allocator.user == b->allocator.user;
}

static int same_as_config_of(const vae_model *model, const vae_config *filled) {
    const vae_config own = config_of(model);
    return same_config(&own, filled);
}

static void test_defaults(void) {
    vae_config c = base(), filled, twice;
    vae_model *model;
    CHECK(vae_defaults(&c, &filled, NULL) == VAE_OK);
    CHECK(filled.sigma == 0 && filled.beta == 1 && filled.batch == 128);
    CHECK(filled.optimizer.learning_rate == (vae_real)1e-3 && filled.optimizer.beta1 == (vae_real)0.9);
    CHECK(filled.optimizer.beta2 == (vae_real)0.999 && filled.optimizer.epsilon == (vae_real)1e-8);
    CHECK(filled.likelihood == VAE_BERNOULLI && filled.initialization == VAE_INIT_PYTORCH &&
          filled.layout == VAE_CHANNELS_LAST);
    CHECK(filled.seed == 0 && filled.inference_only == 0);
    CHECK(filled.threads == 1);             /* built without VAE_THREADS */
    CHECK(filled.kernels != VAE_KERNELS_BEST && vae_kernels_available(filled.kernels));
    CHECK(filled.decoder[0].kind == VAE_LAYER_DENSE && filled.decoder[0].shape.channels == 4 &&
          filled.decoder[0].activation == VAE_RELU);
    CHECK(filled.decoder[1].kind == VAE_LAYER_DENSE && filled.decoder[1].activation == VAE_LINEAR);
    CHECK(filled.decoder[1].shape.height == 1 && filled.decoder[1].shape.width == 8 &&
          filled.decoder[1].shape.channels == 1);
    CHECK(filled.decoder[2].kind == VAE_LAYER_END);
    CHECK(vae_defaults(&filled, &twice, NULL) == VAE_OK && same_config(&filled, &twice));
    model = make(&c);
    CHECK(same_as_config_of(model, &filled));
    vae_destroy(model);
    model = make(&filled);
    CHECK(same_as_config_of(model, &filled));
    vae_destroy(model);
    CHECK(vae_defaults(&filled, &filled, NULL) == VAE_OK && same_config(&filled, &twice));      /* in place */

    c = convolutional();
    c.likelihood = VAE_GAUSSIAN;
    c.sigma = (vae_real)0.5;
    c.beta = VAE_ZERO;
    c.optimizer.learning_rate = VAE_ZERO;
    c.optimizer.beta1 = VAE_ZERO;
    c.optimizer.beta2 = VAE_ZERO;
    c.optimizer.epsilon = 1;
    c.initialization = VAE_INIT_HE;
    c.layout = VAE_CHANNELS_FIRST;
    c.seed = ~(uint64_t)0;
    c.kernels = VAE_KERNELS_PORTABLE;
    c.threads = 3;
    c.parallel.run = run_in_turn;
    CHECK(vae_defaults(&c, &filled, NULL) == VAE_OK && vae_defaults(&filled, &twice, NULL) == VAE_OK);
    CHECK(same_config(&filled, &twice));
    CHECK(filled.sigma == (vae_real)0.5 && filled.beta == VAE_ZERO && filled.optimizer.learning_rate == VAE_ZERO);
    CHECK(filled.optimizer.beta1 == VAE_ZERO && filled.optimizer.epsilon == 1 && filled.batch == 5 &&
          filled.threads == 3);
}

static void test_exact_zeros(void) {
    vae_config     c = base();
    vae_real       pixels[3 * 8] = { 0 }, before[200], learning_rate;
    vae_terms      terms;
    vae_data       data = { .pixels = pixels, .count = 3 };
    vae_model     *model;
    size_t         i;
    for (i = 0; i < 24; i++) pixels[i] = (vae_real)(i % 5) / 4;
    c.beta = VAE_ZERO;
    c.optimizer.learning_rate = VAE_ZERO;
    model = make(&c);
    CHECK(vae_parameter_count(model) <= 200);
    memcpy(before, vae_parameters(model), vae_parameter_count(model) * sizeof(vae_real));
    CHECK(vae_train_step(model, &data, &terms, NULL) == VAE_OK);
    CHECK(terms.loss == terms.reconstruction && terms.kl > 0 && terms.elbo == -(terms.reconstruction + terms.kl));
    CHECK(!memcmp(before, vae_parameters(model), vae_parameter_count(model) * sizeof(vae_real)));
    vae_destroy(model);

    /* Adam without memory (beta1 = beta2 = 0) steps by learning rate times the gradient's sign. */
    c = base();
    c.optimizer.beta1 = c.optimizer.beta2 = VAE_ZERO;
    c.optimizer.epsilon = (vae_real)1e-30;
    c.optimizer.learning_rate = learning_rate = (vae_real)0.0625;
    model = make(&c);
    memcpy(before, vae_parameters(model), vae_parameter_count(model) * sizeof(vae_real));
    CHECK(vae_accumulate_gradients(model, &data, NULL, NULL, NULL) == VAE_OK);
    {
        vae_real gradients[200];
        memcpy(gradients, vae_gradients(model), vae_parameter_count(model) * sizeof(vae_real));
        CHECK(vae_apply_gradients(model, NULL) == VAE_OK);
        for (i = 0; i < vae_parameter_count(model); i++) {
            const double step = (double)(vae_parameters(model)[i] - before[i]);
            const double sign = gradients[i] > 0 ? 1 : gradients[i] < 0 ? -1 : 0;
            if (fabs((double)gradients[i]) > 1e-15 || gradients[i] == 0)
                CHECK_NEAR(step, -sign * (double)learning_rate, 1e-6);
        }
    }
    vae_destroy(model);
}

/* ---- the mirror image gives back the input's shape ---- */

/* One layer's output extent along an axis, by the formulas in the header; 0 where there is none. */
static int extent(const vae_layer *l, int size, int kernel, int stride, int before, int after, int output_padding) {
    if (l->kind == VAE_LAYER_CONV) {
        if (l->padding == VAE_SAME) return (size + stride - 1) / stride;
        return size + before + after < kernel ? 0 : (size + before + after - kernel) / stride + 1;
    }
    if (l->padding == VAE_SAME) return size * stride;
    size = (size - 1) * stride - before - after + kernel + output_padding;
    return size < 1 ? 0 : size;
}

static vae_shape output_of(const vae_layer *l, vae_shape in) {
    if (l->kind == VAE_LAYER_DENSE) return l->shape;
    return shape(extent(l, in.height, l->kernel_height, l->stride_height, l->top, l->bottom, l->output_padding_height),
                 extent(l, in.width, l->kernel_width, l->stride_width, l->left, l->right, l->output_padding_width),
                 l->shape.channels);
}

/* A kernel along a side of 1 and none along the other one. */
static int misses_the_series(const vae_layer *l, vae_shape in, vae_shape out) {
    const int tall = l->kernel_height > 1 || l->stride_height > 1, wide = l->kernel_width > 1 || l->stride_width > 1;
    if (l->kind == VAE_LAYER_DENSE || tall == wide) return 0;
    if (wide) return in.width == 1 && out.width == 1 && in.height > 1 && out.height > 1;
    return in.height == 1 && out.height == 1 && in.width > 1 && out.width > 1;
}

/* The encoder's layers fit by the formulas: then the mirror image must lead back, layer by layer, and the model train.
   Otherwise the first that does not must be named. */
static void check_mirror(const vae_config *c, int run) {
    vae_shape  shapes[VAE_MAX_LAYERS + 1];
    vae_config filled;
    vae_error  error;
    int        count = 0, bad = 0, i, ok = 1;
    size_t     bytes;
    shapes[0] = c->input;
    for (; c->encoder[count].kind != VAE_LAYER_END; count++) {
        shapes[count + 1] = output_of(&c->encoder[count], shapes[count]);
        if (!bad && (shapes[count + 1].height < 1 || shapes[count + 1].width < 1 ||
                     misses_the_series(&c->encoder[count], shapes[count], shapes[count + 1])))
            bad = count + 1;
    }
    if (bad) {
        char name[40];
        sprintf(name, "encoder layer %d", bad);
        CHECK(said(&error, vae_memory_needed(c, &bytes, &error), VAE_ERROR_CONFIG, name, __LINE__));
        return;
    }
    if (vae_defaults(c, &filled, &error) != VAE_OK || vae_memory_needed(c, &bytes, &error) != VAE_OK) {
        printf("%d x %d x %d: %s\n", c->input.height, c->input.width, c->input.channels, error.message);
        CHECK(error.status == VAE_OK);
        return;
    }
    ok = filled.decoder[0].kind == VAE_LAYER_DENSE &&
         !memcmp(&filled.decoder[0].shape, &shapes[count], sizeof shapes[0]);
    for (i = 1; i <= count; i++) {
        const vae_shape made = output_of(&filled.decoder[i], shapes[count - i + 1]), wanted = shapes[count - i];
        ok = ok && made.height == wanted.height && made.width == wanted.width && made.channels == wanted.channels;
        vae_activation wanted_activation = i == count ? VAE_LINEAR : c->encoder[count - 1 - i].activation;
        if (!wanted_activation) wanted_activation = VAE_LINEAR;
        ok = ok && filled.decoder[i].activation == wanted_activation;
    }
    CHECK(ok && filled.decoder[count + 1].kind == VAE_LAYER_END);
    if (run) {
        vae_model     *model = make(c);
        unsigned char  bytes_[3 * 2000];
        vae_real       pixels[3 * 2000];
        const size_t   size = vae_example_size(model);
        vae_data       data = { .bytes = bytes_, .count = 3 };
        vae_terms      terms;
        size_t         k;
        CHECK(size <= 2000);
        for (k = 0; k < sizeof bytes_; k++) bytes_[k] = (unsigned char)(k * 37 + k / 5);
        CHECK(vae_train_step(model, &data, &terms, NULL) == VAE_OK);
        CHECK(vae_reconstruct(model, &data, pixels, NULL) == VAE_OK);
        for (k = 0; k < 3 * size; k++)
            if (!(pixels[k] > 0 && pixels[k] < 1)) ok = 0;
        CHECK(ok);
        vae_destroy(model);
    }
}

static void test_mirror_of_same_padding(void) {
    static const int kernels[] = { 1, 2, 3, 4, 5, 7 };
    int size, stride;
    size_t k;
    for (size = 1; size <= 20; size++)
        for (k = 0; k < 6; k++)
            for (stride = 1; stride <= 4; stride++) {
                vae_config c;
                memset(&c, 0, sizeof c);
                c.input = shape(size, size * 7 % 20 + 1, 1 + size % 3);
                c.latent = 2;
                c.batch = 3;
                c.encoder[0] = VAE_CONV(3, kernels[k], stride, VAE_RELU);
                c.encoder[1] = VAE_CONV(2, 3, 2, VAE_TANH);
                check_mirror(&c, (size + (int)k + stride) % 3 == 0);
                c.encoder[0].padding = VAE_EXPLICIT;        /* PyTorch's padding=kernel/2 */
                c.encoder[0].top = c.encoder[0].bottom = c.encoder[0].left = c.encoder[0].right = kernels[k] / 2;
                check_mirror(&c, (size + (int)k + stride) % 3 == 1);
                c.encoder[0] = VAE_CONV_TRANSPOSED(2, kernels[k], stride, VAE_RELU);
                check_mirror(&c, (size + (int)k + stride) % 7 == 1 && stride < 3);
            }
}

static unsigned random_state = 1;
static int random_int(int low, int high) {
    random_state = random_state * 1664525u + 1013904223u;
    return low + (int)((random_state >> 8) % (unsigned)(high - low + 1));
}

/* Uneven explicit padding, oblong kernels, transposed and dense layers in between. */
static void test_mirror_of_anything(void) {
    int n, i, fits = 0;
    random_state = 1;
    for (n = 0; n < test_cases(3000); n++) {
        const int  count = random_int(1, 4);
        vae_config c;
        vae_shape  s;
        memset(&c, 0, sizeof c);
        c.input = shape(random_int(1, 12), random_int(1, 12), random_int(1, 3));
        c.latent = random_int(1, 4);
        c.batch = 3;
        s = c.input;
        for (i = 0; i < count; i++) {
            vae_layer *l = &c.encoder[i];
            const int  what = random_int(0, 5);
            if (what == 0) *l = VAE_DENSE_SHAPED(random_int(1, 5), random_int(1, 5), random_int(1, 4), VAE_TANH);
            else {
                *l = explicit_conv(what == 1 ? VAE_LAYER_CONV_TRANSPOSED : VAE_LAYER_CONV, 1, 1, random_int(0, 3),
                                   random_int(0, 3), random_int(0, 3), random_int(0, 3));
                l->kernel_height = random_int(1, 5);
                l->kernel_width = random_int(1, 5);
                l->stride_height = random_int(1, what == 1 ? 2 : 4);
                l->stride_width = random_int(1, what == 1 ? 2 : 4);
                if (what == 1) {
                    l->output_padding_height = random_int(0, l->stride_height - 1);
                    l->output_padding_width = random_int(0, l->stride_width - 1);
                }
                if (random_int(0, 3) == 0) {
                    l->padding = VAE_SAME;
                    l->top = l->bottom = l->left = l->right = l->output_padding_height = l->output_padding_width = 0;
                }
                l->activation = (vae_activation)random_int(0, 7);
            }
            if (s.height > 0 && s.width > 0) s = output_of(l, s);
        }
        if (s.height > 0 && s.width > 0) fits++;
        check_mirror(&c, n % 4 == 0 || n < 200);
    }
    CHECK(fits > test_cases(3000) / 3 && fits < test_cases(3000));        /* both kinds were met */
}

/* ---- memory ---- */

static void fill_bytes(unsigned char *bytes, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) bytes[i] = (unsigned char)(i * i + i / 7);
}

/* Every call that trains or infers. */
static void use_everything(vae_model *model, const unsigned char *bytes) {
    vae_data       data = { .bytes = bytes, .count = 7 };
    vae_fit_config fit = { .epochs = 1, .validation = &data, .output_bias_from_data = 1 };
    vae_real       pixels[7 * 84], z[7 * 3], logvar[7 * 3];
    vae_terms      terms, each[7];
    double         log_p, log_each[7];
    char           text[4000];
    CHECK(vae_example_size(model) == 84);
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
    data.count = 5;
    CHECK(vae_train_step(model, &data, &terms, NULL) == VAE_OK);
    CHECK(vae_accumulate_gradients(model, &data, NULL, &terms, NULL) == VAE_OK);
    CHECK(vae_apply_gradients(model, NULL) == VAE_OK);
    data.count = 7;
    CHECK(vae_encode(model, &data, z, logvar, NULL) == VAE_OK);
    CHECK(vae_decode(model, &(vae_latents){ .z = z, .count = 7 }, pixels, NULL) == VAE_OK);
    CHECK(vae_reconstruct(model, &data, pixels, NULL) == VAE_OK);
    CHECK(vae_sample(model, 7, pixels, NULL) == VAE_OK);
    CHECK(vae_sample_latent(model, 7, z, NULL) == VAE_OK);
    CHECK(vae_elbo(model, &data, &terms, each, NULL) == VAE_OK);
    CHECK(vae_log_likelihood(model, &data, 11, &log_p, log_each, NULL) == VAE_OK);
    CHECK(vae_summary(model, text, sizeof text) < sizeof text);
}

static void test_training_and_inference_allocate_nothing(void) {
    vae_config    c = convolutional();
    ledger        l;
    vae_model    *model;
    unsigned char bytes[7 * 84];
    size_t        needed;
    fill_bytes(bytes, sizeof bytes);
    CHECK(vae_memory_needed(&c, &needed, NULL) == VAE_OK);
    allocations = releases = 0;
    model = make(&c);
    CHECK(allocations == 1);
    use_everything(model, bytes);
    CHECK(allocations == 1 && releases == 0);
    vae_destroy(model);
    CHECK(releases == 1);

    c.allocator = ledger_allocator(&l);
    allocations = 0;
    model = make(&c);
    CHECK(allocations == 0 && l.calls >= 1 && l.bytes <= needed);
    {
        const size_t calls = l.calls;
        use_everything(model, bytes);
        CHECK(allocations == 0 && l.calls == calls);
    }
    vae_destroy(model);
    CHECK(l.live == 0 && l.bytes == 0 && !l.mismatched);
    vae_destroy(NULL);
}

static void test_failing_allocator(void) {
    vae_config c = convolutional();
    ledger     l;
    size_t     calls, i;
    c.allocator = ledger_allocator(&l);
    vae_destroy(make(&c));
    calls = l.calls;
    for (i = 1; i <= calls; i++) {
        vae_model *model = NULL;
        vae_error  error;
        c.allocator = ledger_allocator(&l);
        l.fail_at = i;
        forget(&error);
        CHECK(said(&error, vae_create(&c, &model, &error), VAE_ERROR_MEMORY, "could not be allocated", __LINE__));
        CHECK(!model && l.live == 0 && !l.mismatched);
    }
}

static void test_memory_of_the_callers(void) {
    vae_config    c = convolutional();
    unsigned char bytes[7 * 84], *buffer;
    size_t        needed, offset, i, parameters;
    vae_model    *reference = make(&c), *model = NULL;
    vae_error     error;
    fill_bytes(bytes, sizeof bytes);
    use_everything(reference, bytes);
    parameters = vae_parameter_count(reference) * sizeof(vae_real);
    CHECK(vae_memory_needed(&c, &needed, NULL) == VAE_OK);
    buffer = (unsigned char *)malloc(needed + 256);
    allocations = 0;
    for (offset = 0; offset < 66; offset++) {
        int clean = 1;
        memset(buffer, 0xA5, needed + 256);
        CHECK(vae_create_in(&c, buffer + 64 + offset, needed, &model, &error) == VAE_OK);
        use_everything(model, bytes);
        CHECK(!memcmp(vae_parameters(model), vae_parameters(reference), parameters));
        vae_destroy(model);
        for (i = 0; i < 64 + offset; i++) clean = clean && buffer[i] == 0xA5;
        for (i = 64 + offset + needed; i < needed + 256; i++) clean = clean && buffer[i] == 0xA5;
        CHECK(clean);
    }
    CHECK(allocations == 0);
    memset(buffer, 0xA5, needed + 256);
    model = reference;
    forget(&error);
    CHECK(said(&error, vae_create_in(&c, buffer, needed - 1, &model, &error), VAE_ERROR_MEMORY,
               "bytes, the memory given has", __LINE__));
    CHECK(vae_create_in(&c, buffer, 0, &model, NULL) == VAE_ERROR_MEMORY);
    for (i = 0; i < needed + 256; i++)
        if (buffer[i] != 0xA5) break;
    CHECK(i == needed + 256 && model == reference);
    free(buffer);
    vae_destroy(reference);
}

/* What memory held before makes no difference. */
static void test_memory_need_not_be_clear(void) {
    vae_config    c = convolutional();
    size_t        needed;
    unsigned char bytes[7 * 84], *buffer;
    vae_real      first[2000];
    int           value;
    fill_bytes(bytes, sizeof bytes);
    CHECK(vae_memory_needed(&c, &needed, NULL) == VAE_OK);
    buffer = (unsigned char *)malloc(needed);
    for (value = 0; value < 256; value += 51) {
        vae_model *model = NULL;
        memset(buffer, value, needed);
        CHECK(vae_create_in(&c, buffer, needed, &model, NULL) == VAE_OK);
        use_everything(model, bytes);
        CHECK(vae_parameter_count(model) <= 2000);
        if (value == 0) memcpy(first, vae_parameters(model), vae_parameter_count(model) * sizeof(vae_real));
        CHECK(!memcmp(first, vae_parameters(model), vae_parameter_count(model) * sizeof(vae_real)));
        vae_destroy(model);
    }
    free(buffer);
}

static void test_inference_only(void) {
    vae_config     c = convolutional();
    vae_model     *trains, *infers;
    unsigned char  bytes[7 * 84];
    vae_data       data = { .bytes = bytes, .count = 5 };
    size_t         all, less;
    vae_real       a[7 * 84], b[7 * 84], gradient = 0;
    vae_terms      terms_a, terms_b;
    vae_error      error;
    double         log_a = 1, log_b = 2;
    fill_bytes(bytes, sizeof bytes);
    CHECK(vae_memory_needed(&c, &all, NULL) == VAE_OK);
    trains = make(&c);
    c.inference_only = 1;
    CHECK(vae_memory_needed(&c, &less, NULL) == VAE_OK);
    CHECK(less < all - 3 * vae_parameter_count(trains) * sizeof(vae_real));
    c.threads = 1;
    c.batch = VAEI_INFERENCE_ROWS;                      /* the most that it takes at once needs no more room */
    CHECK(vae_memory_needed(&c, &less, NULL) == VAE_OK);
    c.batch = 100000;
    CHECK(vae_memory_needed(&c, &all, NULL) == VAE_OK && all == less);
    infers = make(&c);
    CHECK(!memcmp(vae_parameters(trains), vae_parameters(infers), vae_parameter_count(trains) * sizeof(vae_real)));
    CHECK(vae_reconstruct(trains, &data, a, NULL) == VAE_OK && vae_reconstruct(infers, &data, b, NULL) == VAE_OK);
    CHECK(!memcmp(a, b, 5 * 84 * sizeof(vae_real)));
    CHECK(vae_elbo(trains, &data, &terms_a, NULL, NULL) == VAE_OK &&
          vae_elbo(infers, &data, &terms_b, NULL, NULL) == VAE_OK);
    CHECK(!memcmp(&terms_a, &terms_b, sizeof terms_a));
    CHECK(vae_log_likelihood(trains, &data, 7, &log_a, NULL, NULL) == VAE_OK &&
          vae_log_likelihood(infers, &data, 7, &log_b, NULL, NULL) == VAE_OK);
    CHECK(log_a == log_b);
    CHECK(said(&error, vae_fit(infers, &data, NULL, &error), VAE_ERROR_ARGUMENT,
               "vae_fit: the model was made inference_only", __LINE__));
    CHECK(said(&error, vae_train_step(infers, &data, NULL, &error), VAE_ERROR_ARGUMENT, "inference_only", __LINE__));
    CHECK(said(&error, vae_accumulate_gradients(infers, &data, NULL, NULL, &error), VAE_ERROR_ARGUMENT,
               "inference_only", __LINE__));
    CHECK(said(&error, vae_apply_gradients(infers, &error), VAE_ERROR_ARGUMENT, "inference_only", __LINE__));
    CHECK(said(&error, vae_get_gradient(infers, "mean.bias", &gradient, 1, &error), VAE_ERROR_ARGUMENT,
               "inference_only", __LINE__));
    CHECK(vae_gradients(infers) == NULL);
    vae_clear_gradients(infers);
    vae_destroy(trains);
    vae_destroy(infers);
}

/* ---- arguments ---- */

static void test_arguments(void) {
    vae_config     c = convolutional();
    vae_config     filled;
    vae_model     *model = make(&c), *other = NULL;
    unsigned char  bytes[8 * 84];
    vae_real       pixels[8 * 84], z[8 * 3] = { 0 };
    vae_data       good = { .bytes = bytes, .count = 5 }, none = { .bytes = bytes }, both, neither = { .count = 2 },
                   many = good;
    vae_data       six = { .bytes = bytes, .count = 6 };
    vae_terms      terms;
    vae_tensor     tensor;
    vae_share      share;
    vae_dimension  dimensions[3];
    vae_fit_config fit = { .epochs = 1 };
    vae_error      error;
    size_t         size = 0;
    double         mean = 0;
    vae_real      *before = (vae_real *)malloc(vae_parameter_count(model) * sizeof(vae_real));
    fill_bytes(bytes, sizeof bytes);
    memset(pixels, 0, sizeof pixels);
    memcpy(before, vae_parameters(model), vae_parameter_count(model) * sizeof(vae_real));
    both = good;
    both.pixels = pixels;
    many.count = SIZE_LIMIT;
#define ARGUMENT(call, fragment) \
    do { forget(&error); CHECK(said(&error, (call), VAE_ERROR_ARGUMENT, (fragment), __LINE__)); } while (0)
    ARGUMENT(vae_defaults(NULL, &filled, &error), "vae_defaults: config or filled is NULL");
    ARGUMENT(vae_defaults(&c, NULL, &error), "vae_defaults");
    ARGUMENT(vae_memory_needed(NULL, &size, &error), "NULL");
    ARGUMENT(vae_memory_needed(&c, NULL, &error), "vae_memory_needed: config or bytes is NULL");
    ARGUMENT(vae_create(NULL, &other, &error), "vae_create: config or model is NULL");
    ARGUMENT(vae_create(&c, NULL, &error), "vae_create: config or model is NULL");
    ARGUMENT(vae_create_in(NULL, bytes, sizeof bytes, &other, &error), "vae_create_in: config");
    ARGUMENT(vae_create_in(&c, NULL, 100, &other, &error), "vae_create_in: config, memory or model is NULL");
    ARGUMENT(vae_create_in(&c, bytes, sizeof bytes, NULL, &error), "vae_create_in: config, memory or model is NULL");
    /* data, in every call that takes them */
#define DATA(call) DATA_AND_NONE(call, ARGUMENT(call, "data.count is 0"))
#define DATA_AND_NONE(call, no_rows)                                                                   \
    do {                                                                                               \
        const vae_data *data = NULL;                                                                   \
        vae_model      *m = model;                                                                     \
        ARGUMENT(call, "data is NULL");                                                                \
        data = &none;                                                                                  \
        no_rows;                                                                                       \
        data = &both;                                                                                  \
        ARGUMENT(call, "data has both pixels and bytes");                                              \
        data = &neither;                                                                               \
        ARGUMENT(call, "data has neither pixels nor bytes");                                           \
        data = &many;                                                                                  \
        ARGUMENT(call, sizeof(size_t) == 8 ? "data.count is 18446744073709551615" : "data.count is 4294967295"); \
        data = &good;                                                                                  \
        m = NULL;                                                                                      \
        ARGUMENT(call, "model is NULL");                                                               \
    } while (0)
    /* results of each row: of no rows there are none; a mean needs one */
    DATA_AND_NONE(vae_encode(m, data, z, z, &error), CHECK(vae_encode(m, data, z, z, &error) == VAE_OK));
    DATA_AND_NONE(vae_reconstruct(m, data, pixels, &error), CHECK(vae_reconstruct(m, data, pixels, &error) == VAE_OK));
    DATA_AND_NONE(vae_score(m, data, NULL, &mean, &error), CHECK(vae_score(m, data, NULL, &mean, &error) == VAE_OK));
    DATA_AND_NONE(vae_score_numbers(m, data, NULL, &mean, &error),
                  CHECK(vae_score_numbers(m, data, NULL, &mean, &error) == VAE_OK));
    DATA_AND_NONE(vae_elbo(m, data, NULL, &terms, &error), CHECK(vae_elbo(m, data, NULL, &terms, &error) == VAE_OK));
    DATA_AND_NONE(vae_log_likelihood(m, data, 3, NULL, &mean, &error),
                  CHECK(vae_log_likelihood(m, data, 3, NULL, &mean, &error) == VAE_OK));
    DATA(vae_elbo(m, data, &terms, NULL, &error));
    DATA(vae_log_likelihood(m, data, 3, &mean, NULL, &error));
    DATA(vae_latent_statistics(m, data, dimensions, NULL, &error));
    DATA_AND_NONE(vae_impute(m, data, 2, pixels, NULL, &error),
                  ARGUMENT(vae_impute(m, data, 2, pixels, NULL, &error), "no number may be missing"));
    DATA(vae_fit(m, data, &fit, &error));
    DATA(vae_train_step(m, data, &terms, &error));
    DATA(vae_accumulate_gradients(m, data, NULL, &terms, &error));
    ARGUMENT(vae_reconstruct(model, &good, NULL, &error), "vae_reconstruct: pixels is NULL");
    ARGUMENT(vae_log_likelihood(model, &good, 0, &mean, NULL, &error), "samples is 0");
    ARGUMENT(vae_decode(NULL, &(vae_latents){ .z = z, .count = 1 }, pixels, &error), "vae_decode");
    ARGUMENT(vae_decode(model, &(vae_latents){ .count = 1 }, pixels, &error), "vae_decode");
    ARGUMENT(vae_decode(model, &(vae_latents){ .z = z, .count = 1 }, NULL, &error), "vae_decode");
    ARGUMENT(vae_draw(NULL, &(vae_latents){ .z = z, .count = 1 }, pixels, &error), "vae_draw");
    ARGUMENT(vae_draw(model, &(vae_latents){ .count = 1 }, pixels, &error), "vae_draw");
    ARGUMENT(vae_draw(model, &(vae_latents){ .z = z, .count = 1 }, NULL, &error), "vae_draw");
    ARGUMENT(vae_sample(NULL, 1, pixels, &error), "vae_sample:");
    ARGUMENT(vae_sample(model, 1, NULL, &error), "vae_sample:");
    ARGUMENT(vae_sample_with(NULL, 1, NULL, pixels, &error), "vae_sample_with");
    ARGUMENT(vae_sample_with(model, 1, NULL, NULL, &error), "vae_sample_with");
    ARGUMENT(vae_sample_latent(NULL, 1, z, &error), "vae_sample_latent");
    ARGUMENT(vae_sample_latent(model, 1, NULL, &error), "vae_sample_latent");
    CHECK(vae_decode(model, &(vae_latents){ 0 }, NULL, NULL) == VAE_OK);
    CHECK(vae_draw(model, &(vae_latents){ 0 }, NULL, NULL) == VAE_OK);
    CHECK(vae_sample(model, 0, NULL, NULL) == VAE_OK);
    CHECK(vae_sample_with(model, 0, NULL, NULL, NULL) == VAE_OK);
    CHECK(vae_sample_latent(model, 0, NULL, NULL) == VAE_OK);
    CHECK(vae_encode(model, &good, NULL, NULL, NULL) == VAE_OK);
    CHECK(vae_elbo(model, &good, NULL, NULL, NULL) == VAE_OK);
    CHECK(vae_log_likelihood(model, &good, 1, NULL, NULL, NULL) == VAE_OK);
    /* batches and shares */
    ARGUMENT(vae_train_step(model, &six, NULL, &error), "the batch has 6 rows, the model was made for 5");
    ARGUMENT(vae_accumulate_gradients(model, &six, NULL, NULL, &error), "the batch has 6 rows");
    share.first = 0;
    share.total = 4;
    ARGUMENT(vae_accumulate_gradients(model, &good, &share, NULL, &error), "5 rows from row 0 on are not a share of 4");
    share.first = 96;
    share.total = 100;
    ARGUMENT(vae_accumulate_gradients(model, &good, &share, NULL, &error), "5 rows from row 96 on are not a share of 100");
    share.first = SIZE_LIMIT - 2;
    ARGUMENT(vae_accumulate_gradients(model, &good, &share, NULL, &error), "are not a share of 100");
    share.total = 0;
    ARGUMENT(vae_accumulate_gradients(model, &good, &share, NULL, &error), "are not a share of 0");
    fit.batch = 6;
    ARGUMENT(vae_fit(model, &good, &fit, &error), "fit.batch is 6, the model was made for 5");
    fit.batch = 0;
    fit.validation = &none;
    ARGUMENT(vae_fit(model, &good, &fit, &error), "validation: data.count is 0");
    ARGUMENT(vae_apply_gradients(NULL, &error), "vae_apply_gradients: model is NULL");
    ARGUMENT(vae_set_beta(NULL, 1, &error), "vae_set_beta");
    ARGUMENT(vae_set_beta(model, -1, &error), "beta is -1");
    ARGUMENT(vae_set_beta(model, (vae_real)NAN, &error), "beta is nan");
    ARGUMENT(vae_set_beta(model, (vae_real)INFINITY, &error), "beta is inf");
    ARGUMENT(vae_set_learning_rate(NULL, 1, &error), "vae_set_learning_rate");
    ARGUMENT(vae_set_learning_rate(model, -1, &error), "learning_rate is -1");
    ARGUMENT(vae_set_learning_rate(model, (vae_real)NAN, &error), "learning_rate is nan");
    /* tensors */
    ARGUMENT(vae_tensor_at(NULL, 0, &tensor, &error), "vae_tensor_at");
    ARGUMENT(vae_tensor_at(model, 0, NULL, &error), "vae_tensor_at");
    ARGUMENT(vae_tensor_at(model, vae_tensor_count(model), &tensor, &error), "does not exist");
    ARGUMENT(vae_tensor_at(model, SIZE_LIMIT, &tensor, &error), "does not exist");
    ARGUMENT(vae_get_tensor(NULL, "mean.bias", z, 3, &error), "vae_get_tensor");
    ARGUMENT(vae_get_tensor(model, NULL, z, 3, &error), "vae_get_tensor");
    ARGUMENT(vae_get_tensor(model, "mean.bias", NULL, 3, &error), "vae_get_tensor");
    ARGUMENT(vae_get_tensor(model, "mean.bias", z, 4, &error), "tensor mean.bias has 3 numbers, not 4");
    ARGUMENT(vae_get_tensor(model, "mean.bia", z, 3, &error), "no tensor named mean.bia");
    ARGUMENT(vae_get_tensor(model, "", z, 3, &error), "no tensor named");
    ARGUMENT(vae_set_tensor(NULL, "mean.bias", z, 3, &error), "vae_set_tensor");
    ARGUMENT(vae_set_tensor(model, NULL, z, 3, &error), "vae_set_tensor");
    ARGUMENT(vae_set_tensor(model, "mean.bias", NULL, 3, &error), "vae_set_tensor");
    ARGUMENT(vae_set_tensor(model, "mean.bias", z, 2, &error), "tensor mean.bias has 3 numbers, not 2");
    ARGUMENT(vae_set_tensor(model, "decoder.99.bias", z, 3, &error), "no tensor named decoder.99.bias");
    ARGUMENT(vae_get_gradient(NULL, "mean.bias", z, 3, &error), "vae_get_gradient");
    ARGUMENT(vae_get_gradient(model, NULL, z, 3, &error), "vae_get_gradient");
    ARGUMENT(vae_get_gradient(model, "mean.bias", NULL, 3, &error), "vae_get_gradient");
    ARGUMENT(vae_get_gradient(model, "mean.bias", z, 1, &error), "tensor mean.bias has 3 numbers, not 1");
    z[1] = (vae_real)NAN;
    forget(&error);
    CHECK(said(&error, vae_set_tensor(model, "mean.bias", z, 3, &error), VAE_ERROR_DATA,
               "value 1 for tensor mean.bias is not finite", __LINE__));
    forget(&error);
    CHECK(said(&error, vae_decode(model, &(vae_latents){ .z = z, .count = 2 }, pixels, &error), VAE_ERROR_DATA,
               "z of row 0, dimension 1 is not finite", __LINE__));
    z[1] = 0;
    z[7] = -(vae_real)INFINITY;
    forget(&error);
    CHECK(said(&error, vae_decode(model, &(vae_latents){ .z = z, .count = 5 }, pixels, &error), VAE_ERROR_DATA,
               "z of row 2, dimension 1 is not finite", __LINE__));
    /* a very long name: the sentence is cut, inside its array */
    {
        char name[600];
        memset(name, 'n', sizeof name);
        name[599] = 0;
        forget(&error);
        CHECK(vae_get_tensor(model, name, z, 3, &error) == VAE_ERROR_ARGUMENT);
        CHECK(strlen(error.message) < sizeof error.message);
    }
    /* what takes a model and cannot fail takes NULL too */
    CHECK(vae_example_size(NULL) == 0 && vae_parameter_count(NULL) == 0);
    CHECK(vae_parameters(NULL) == NULL && vae_gradients(NULL) == NULL && vae_tensor_count(NULL) == 0);
    CHECK(vae_summary(NULL, NULL, 0) == 0);
    vae_clear_gradients(NULL);
    CHECK(other == NULL && !memcmp(before, vae_parameters(model), vae_parameter_count(model) * sizeof(vae_real)));
    free(before);
    vae_destroy(model);
}

/* Counts whose product with the row's size does not fit: refused before anything is read or written. */
static void test_counts_that_do_not_fit(void) {
    vae_config   c = convolutional();
    vae_model   *model = make(&c);
    vae_real     pixels[84] = { 0 }, z[3] = { 0 };
    vae_error    error;
    const size_t counts[] = { SIZE_LIMIT, SIZE_LIMIT / 2 + 1, SIZE_LIMIT / 84 + 1 };
    size_t       i;
    for (i = 0; i < 3; i++) {
        ARGUMENT(vae_decode(model, &(vae_latents){ .z = z, .count = counts[i] }, pixels, &error), "count is");
        ARGUMENT(vae_draw(model, &(vae_latents){ .z = z, .count = counts[i] }, pixels, &error), "count is");
        ARGUMENT(vae_sample(model, counts[i], pixels, &error), "count is");
        ARGUMENT(vae_sample_with(model, counts[i], NULL, pixels, &error), "count is");
    }
    ARGUMENT(vae_sample_latent(model, SIZE_LIMIT / 2, z, &error), "count is");
    vae_destroy(model);
}

static void test_status_names(void) {
    CHECK(!strcmp(vae_status_name(VAE_ERROR_ARGUMENT), "VAE_ERROR_ARGUMENT"));
    CHECK(!strcmp(vae_status_name(VAE_ERROR_CONFIG), "VAE_ERROR_CONFIG"));
    CHECK(!strcmp(vae_status_name(VAE_ERROR_NUMERIC), "VAE_ERROR_NUMERIC"));
    CHECK(!strcmp(vae_status_name(VAE_ERROR_MEMORY), "VAE_ERROR_MEMORY"));
    CHECK(!strcmp(vae_status_name(VAE_ERROR_FILE), "VAE_ERROR_FILE"));
    CHECK(!strcmp(vae_status_name(VAE_ERROR_FORMAT), "VAE_ERROR_FORMAT"));
    CHECK(!strcmp(vae_status_name(VAE_ERROR_BUSY), "VAE_ERROR_BUSY"));
    CHECK(!strcmp(vae_status_name(VAE_OK), "VAE_OK"));
    CHECK(!strcmp(vae_status_name(VAE_STOPPED), "VAE_STOPPED"));
    CHECK(!strcmp(vae_status_name(VAE_ERROR_DATA), "VAE_ERROR_DATA"));
    CHECK(!strcmp(vae_status_name(VAE_ERROR_UNSUPPORTED), "VAE_ERROR_UNSUPPORTED"));
    CHECK(vae_status_name((vae_status)1000) != NULL && vae_kernels_name((vae_kernels)1000) != NULL);
    CHECK(!vae_kernels_available((vae_kernels)1000));
    CHECK(vae_kernels_available(VAE_KERNELS_BEST) && vae_kernels_available(VAE_KERNELS_PORTABLE));
}

/* ---- pixels ---- */

static void test_wrong_pixels(void) {
    enum { ROWS = 23, SIZE = 84 };
    const double values[] = { -0.001, 1.001, (double)NAN, (double)INFINITY, -(double)INFINITY, 255, -1e-30 };
    static const size_t places[][2] = { { 0, 0 }, { 0, 83 }, { 4, 17 }, { 5, 0 }, { 11, 42 }, { 22, 83 } };
    size_t likelihood, first, v, p, i;
    for (likelihood = 0; likelihood < 2; likelihood++)
        /* the caller's channels last or first: columns count in his order */
        for (first = 0; first < 2; first++) {
            vae_config c = convolutional();
            vae_model *model;
            vae_real  *pixels = (vae_real *)malloc(ROWS * SIZE * sizeof(vae_real));
            vae_real  *out = (vae_real *)malloc(ROWS * SIZE * sizeof(vae_real)), *before;
            vae_data   data = { .pixels = pixels, .count = ROWS };
            vae_error  error;
            size_t     parameters;
            c.likelihood = likelihood ? VAE_GAUSSIAN : VAE_BERNOULLI;
            c.layout = first ? VAE_CHANNELS_FIRST : VAE_CHANNELS_LAST;
            model = make(&c);
            parameters = vae_parameter_count(model) * sizeof(vae_real);
            before = (vae_real *)malloc(parameters);
            memcpy(before, vae_parameters(model), parameters);
            for (i = 0; i < ROWS * SIZE; i++) pixels[i] = (vae_real)(i % 2);      /* 0 and 1 themselves are in range */
            pixels[3] = -(vae_real)0.0;
            CHECK(vae_elbo(model, &data, NULL, NULL, NULL) == VAE_OK);
            for (v = 0; v < sizeof values / sizeof *values; v++)
                for (p = 0; p < sizeof places / sizeof *places; p++) {
                    const size_t   row = places[p][0], at = row * SIZE + places[p][1];
                    const vae_real kept = pixels[at];
                    const int      fine = likelihood && vaei_finite((vae_real)values[v]);
                    char           fragment[60];
                    vae_terms      terms, each[ROWS];
                    double         log_p = 7, log_each[ROWS];
                    int            untouched = 1, call;
                    pixels[at] = (vae_real)values[v];
                    const unsigned place = (unsigned)places[p][1], plane = SIZE / 2;
                    const unsigned pixel = first ? place % plane : place / 2;
                    sprintf(fragment, "row %u, y %u, x %u, channel %u holds ", (unsigned)row, pixel / 6, pixel % 6,
                            first ? place / plane : place % 2);
                    if (fine) {
                        CHECK(vae_elbo(model, &data, NULL, NULL, NULL) == VAE_OK);
                        pixels[at] = kept;
                        continue;
                    }
                    memset(out, 0x11, ROWS * SIZE * sizeof(vae_real));
                    memset(&terms, 0x11, sizeof terms);
                    memset(each, 0x11, sizeof each);
                    memset(log_each, 0x11, sizeof log_each);
                    for (call = 0; call < 6; call++) {
                        vae_status     status = VAE_OK;
                        vae_fit_config fit = { .epochs = 1, .keep_order = call == 5 };
                        forget(&error);
                        if (call == 0) status = vae_encode(model, &data, out, out + 100, &error);
                        if (call == 1) status = vae_reconstruct(model, &data, out, &error);
                        if (call == 2) status = vae_elbo(model, &data, &terms, each, &error);
                        if (call == 3) status = vae_log_likelihood(model, &data, 2, &log_p, log_each, &error);
                        if (call >= 4) status = vae_fit(model, &data, &fit, &error);
                        CHECK(said(&error, status, VAE_ERROR_DATA, fragment, __LINE__));
                    }
                    if (row < 5) {
                        vae_data batch = data;
                        batch.count = 5;
                        forget(&error);
                        CHECK(said(&error, vae_train_step(model, &batch, &terms, &error), VAE_ERROR_DATA,
                                   fragment, __LINE__));
                        forget(&error);
                        CHECK(said(&error, vae_accumulate_gradients(model, &batch, NULL, &terms, &error),
                                   VAE_ERROR_DATA, fragment, __LINE__));
                    }
                    for (i = 0; i < ROWS * SIZE * sizeof(vae_real); i++)
                        untouched = untouched && ((unsigned char *)out)[i] == 0x11;
                    for (i = 0; i < sizeof each; i++) untouched = untouched && ((unsigned char *)each)[i] == 0x11;
                    for (i = 0; i < sizeof terms; i++) untouched = untouched && ((unsigned char *)&terms)[i] == 0x11;
                    for (i = 0; i < sizeof log_each; i++)
                        untouched = untouched && ((unsigned char *)log_each)[i] == 0x11;
                    CHECK(untouched && log_p == 7);
                    CHECK(!memcmp(before, vae_parameters(model), parameters));
                    memcpy(vae_parameters(model), before, parameters);
                    pixels[at] = kept;
                }
            /* still whole */
            CHECK(vae_train_step(model, &(vae_data){ .pixels = pixels, .count = 5 }, NULL, NULL) == VAE_OK);
            free(pixels);
            free(out);
            free(before);
            vae_destroy(model);
        }
}

/* Validation rows count as arguments: a wrong one is found before the model has been trained. */
static void test_wrong_validation_pixels(void) {
    vae_config     c = base();
    vae_model     *model;
    vae_real       pixels[10 * 8] = { 0 }, wrong[10 * 8] = { 0 }, before[200];
    vae_data       data = { .pixels = pixels, .count = 10 }, validation = { .pixels = wrong, .count = 10 };
    vae_fit_config fit = { .epochs = 2, .validation = &validation };
    vae_error      error;
    c.batch = 4;
    model = make(&c);
    memcpy(before, vae_parameters(model), vae_parameter_count(model) * sizeof(vae_real));
    wrong[9 * 8 + 3] = 2;
    forget(&error);
    CHECK(said(&error, vae_fit(model, &data, &fit, &error), VAE_ERROR_DATA, "row 9, column 3 holds 2", __LINE__));
    CHECK(!memcmp(before, vae_parameters(model), vae_parameter_count(model) * sizeof(vae_real)));
    vae_destroy(model);
}

static void test_every_byte_is_a_pixel(void) {
    vae_config    c = base();
    unsigned char bytes[256];
    vae_model    *model;
    vae_data      data = { .bytes = bytes, .count = 32 };
    size_t        i;
    for (i = 0; i < 256; i++) bytes[i] = (unsigned char)i;
    for (i = 0; i < 2; i++) {
        c.likelihood = i ? VAE_GAUSSIAN : VAE_BERNOULLI;
        model = make(&c);
        CHECK(vae_elbo(model, &data, NULL, NULL, NULL) == VAE_OK);
        CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);
        vae_destroy(model);
    }
}

/* ---- tensors ---- */

typedef struct expected_tensor { const char *name; size_t shape[4]; } expected_tensor;

static void check_tensors(const vae_config *c, const expected_tensor *expected, size_t count, int line) {
    vae_model *model = make(c);
    size_t     i, k, total = 0;
    if (vae_tensor_count(model) != count)
        printf("line %d: %lu tensors\n", line, (unsigned long)vae_tensor_count(model));
    CHECK(vae_tensor_count(model) == count);
    for (i = 0; i < count && i < vae_tensor_count(model); i++) {
        vae_tensor t;
        size_t     product = 1;
        int        rank = 0;
        CHECK(vae_tensor_at(model, i, &t, NULL) == VAE_OK);
        for (k = 0; k < 4; k++) {
            const size_t extent_ = expected[i].shape[k] ? expected[i].shape[k] : 1;
            rank += expected[i].shape[k] > 0;
            product *= extent_;
            if (t.shape[k] != extent_)
                printf("line %d: %s has shape[%lu] = %lu\n", line, t.name, (unsigned long)k, (unsigned long)t.shape[k]);
            CHECK(t.shape[k] == extent_);
        }
        if (strcmp(t.name, expected[i].name))
            printf("line %d: tensor %lu is %s, not %s\n", line, (unsigned long)i, t.name, expected[i].name);
        CHECK(!strcmp(t.name, expected[i].name));
        CHECK(t.rank == rank && t.count == product);
        total += t.count;
    }
    CHECK(total == vae_parameter_count(model));
    {   /* every parameter belongs to one tensor, and comes back as it was set */
        unsigned char *seen = (unsigned char *)calloc(total, 1);
        vae_real      *values = (vae_real *)malloc(total * sizeof(vae_real)),
                      *back = (vae_real *)malloc(total * sizeof(vae_real));
        size_t         number = 0, found = 0;
        int            same = 1;
        for (i = 0; i < vae_tensor_count(model); i++) {
            vae_tensor t;
            vae_tensor_at(model, i, &t, NULL);
            for (k = 0; k < t.count; k++) values[k] = (vae_real)(number + k);
            number += t.count;
            CHECK(vae_set_tensor(model, t.name, values, t.count, NULL) == VAE_OK);
            CHECK(vae_get_tensor(model, t.name, back, t.count, NULL) == VAE_OK);
            same = same && !memcmp(values, back, t.count * sizeof(vae_real));
        }
        CHECK(same);
        for (k = 0; k < total; k++) {
            const size_t value = (size_t)vae_parameters(model)[k];
            if (value < total && !seen[value]) found++;
            if (value < total) seen[value] = 1;
        }
        CHECK(found == total);
        free(seen);
        free(values);
        free(back);
    }
    vae_destroy(model);
}

#define TENSORS(config, ...)                                                                       \
    do {                                                                                           \
        const expected_tensor expected_[] = { __VA_ARGS__ };                                       \
        check_tensors(&(config), expected_, sizeof expected_ / sizeof *expected_, __LINE__);       \
    } while (0)

static void test_tensors(void) {
    {   /* Linear, ReLU; Linear, ReLU, Linear */
        const vae_config c = { .input = { 1, 20, 1 }, .latent = 3, .encoder = { VAE_DENSE(7, VAE_RELU) } };
        TENSORS(c, { "encoder.0.weight", { 7, 20 } }, { "encoder.0.bias", { 7 } }, { "mean.weight", { 3, 7 } },
                { "mean.bias", { 3 } },
                { "logvar.weight", { 3, 7 } }, { "logvar.bias", { 3 } }, { "decoder.0.weight", { 7, 3 } },
                { "decoder.0.bias", { 7 } },
                { "decoder.2.weight", { 20, 7 } }, { "decoder.2.bias", { 20 } });
    }
    {   /* images into Linear: Flatten, Linear, Tanh, Linear (no activation); Linear, Linear, Tanh, Linear */
        const vae_config c = { .input = { 4, 5, 1 }, .latent = 3,
                               .encoder = { VAE_DENSE(7, VAE_TANH), VAE_DENSE(6, VAE_LINEAR) } };
        TENSORS(c, { "encoder.1.weight", { 7, 20 } }, { "encoder.1.bias", { 7 } }, { "encoder.3.weight", { 6, 7 } },
                { "encoder.3.bias", { 6 } },
                { "mean.weight", { 3, 6 } }, { "mean.bias", { 3 } }, { "logvar.weight", { 3, 6 } },
                { "logvar.bias", { 3 } },
                { "decoder.0.weight", { 6, 3 } }, { "decoder.0.bias", { 6 } }, { "decoder.1.weight", { 7, 6 } },
                { "decoder.1.bias", { 7 } },
                { "decoder.3.weight", { 20, 7 } }, { "decoder.3.bias", { 20 } });
    }
    {
        /* Conv2d(padding=1): Conv2d, ReLU, Conv2d, ReLU; Linear, ReLU, Unflatten, ConvTranspose2d, ReLU,
           ConvTranspose2d */
        const vae_config c = { .input = { 8, 12, 3 }, .latent = 5,
                               .encoder = { VAE_CONV_SYMMETRIC(6, 3, 2, 1, VAE_RELU),
                                            VAE_CONV_SYMMETRIC(4, 3, 2, 1, VAE_RELU) } };
        TENSORS(c, { "encoder.0.weight", { 6, 3, 3, 3 } }, { "encoder.0.bias", { 6 } },
                { "encoder.2.weight", { 4, 6, 3, 3 } }, { "encoder.2.bias", { 4 } },
                { "mean.weight", { 5, 24 } }, { "mean.bias", { 5 } }, { "logvar.weight", { 5, 24 } },
                { "logvar.bias", { 5 } },
                { "decoder.0.weight", { 24, 5 } }, { "decoder.0.bias", { 24 } }, { "decoder.3.weight", { 4, 6, 3, 3 } },
                { "decoder.3.bias", { 6 } },
                { "decoder.5.weight", { 6, 3, 3, 3 } }, { "decoder.5.bias", { 3 } });
    }
    {
        /* VAE_SAME at stride 2 on even sizes: ZeroPad2d before each Conv2d, a cropping ZeroPad2d after each
           ConvTranspose2d */
        const vae_config c = { .input = { 8, 8, 1 }, .latent = 2,
                               .encoder = { VAE_CONV(3, 3, 2, VAE_RELU), VAE_CONV(4, 3, 2, VAE_RELU) } };
        TENSORS(c, { "encoder.1.weight", { 3, 1, 3, 3 } }, { "encoder.1.bias", { 3 } },
                { "encoder.4.weight", { 4, 3, 3, 3 } }, { "encoder.4.bias", { 4 } },
                { "mean.weight", { 2, 16 } }, { "mean.bias", { 2 } }, { "logvar.weight", { 2, 16 } },
                { "logvar.bias", { 2 } },
                { "decoder.0.weight", { 16, 2 } }, { "decoder.0.bias", { 16 } }, { "decoder.3.weight", { 4, 3, 3, 3 } },
                { "decoder.3.bias", { 3 } },
                { "decoder.6.weight", { 3, 1, 3, 3 } }, { "decoder.6.bias", { 1 } });
    }
    {
        /* Conv2d 5x5 stride 1 (even padding), ReLU, Flatten, Linear, Tanh; Linear, Tanh, Linear, ReLU, Unflatten,
           ConvTranspose2d */
        const vae_config c = { .input = { 3, 4, 2 }, .latent = 2,
                               .encoder = { VAE_CONV(3, 5, 1, VAE_RELU), VAE_DENSE(10, VAE_TANH) } };
        TENSORS(c, { "encoder.0.weight", { 3, 2, 5, 5 } }, { "encoder.0.bias", { 3 } },
                { "encoder.3.weight", { 10, 36 } }, { "encoder.3.bias", { 10 } },
                { "mean.weight", { 2, 10 } }, { "mean.bias", { 2 } }, { "logvar.weight", { 2, 10 } },
                { "logvar.bias", { 2 } },
                { "decoder.0.weight", { 10, 2 } }, { "decoder.0.bias", { 10 } }, { "decoder.2.weight", { 36, 10 } },
                { "decoder.2.bias", { 36 } },
                { "decoder.5.weight", { 3, 2, 5, 5 } }, { "decoder.5.bias", { 2 } });
    }
    {   /* Linear, ReLU, Unflatten, Conv2d, ReLU, ConvTranspose2d; a decoder of its own */
        const vae_config c = { .input = { 1, 9, 1 }, .latent = 2,
                               .encoder = { VAE_DENSE_SHAPED(4, 3, 2, VAE_RELU), VAE_CONV(3, 3, 1, VAE_RELU),
                                            VAE_CONV_TRANSPOSED(2, 2, 2, VAE_LINEAR) },
                               .decoder = { VAE_DENSE(5, VAE_GELU), VAE_DENSE(9, VAE_LINEAR) } };
        TENSORS(c, { "encoder.0.weight", { 24, 9 } }, { "encoder.0.bias", { 24 } },
                { "encoder.3.weight", { 3, 2, 3, 3 } }, { "encoder.3.bias", { 3 } },
                { "encoder.5.weight", { 3, 2, 2, 2 } }, { "encoder.5.bias", { 2 } }, { "mean.weight", { 2, 96 } },
                { "mean.bias", { 2 } },
                { "logvar.weight", { 2, 96 } }, { "logvar.bias", { 2 } }, { "decoder.0.weight", { 5, 2 } },
                { "decoder.0.bias", { 5 } },
                { "decoder.2.weight", { 9, 5 } }, { "decoder.2.bias", { 9 } });
    }
    {   /* a series: Conv2d with kernels 1 x 5 */
        const vae_config c = { .input = { 1, 16, 2 }, .latent = 2, .encoder = { VAE_CONV_1D(3, 5, 1, VAE_RELU) } };
        TENSORS(c, { "encoder.0.weight", { 3, 2, 1, 5 } }, { "encoder.0.bias", { 3 } }, { "mean.weight", { 2, 48 } },
                { "mean.bias", { 2 } },
                { "logvar.weight", { 2, 48 } }, { "logvar.bias", { 2 } }, { "decoder.0.weight", { 48, 2 } },
                { "decoder.0.bias", { 48 } },
                { "decoder.3.weight", { 3, 2, 1, 5 } }, { "decoder.3.bias", { 2 } });
    }
}

/* Which element of a tensor does what, by PyTorch's definitions: one weight at a time is 1, all others 0.
     Conv2d            out[o][y][x] += weight[o][i][ky][kx] in[i][y stride + ky - pad][x stride + kx - pad]
     ConvTranspose2d   out[o][y stride + ky - pad][x stride + kx - pad] += weight[i][o][ky][kx] in[i][y][x]
   and images are flattened channel by channel. */
static void test_order_within_tensors(void) {
    /* stride 2, padding 1 above and below */
    enum { H = 5, WIDTH = 6, IN = 2, OUT = 3, KH = 3, KW = 2, SH = 3, SW = 3 };
    vae_config c;
    vae_model *model;
    vae_real   weight[OUT * IN * KH * KW], pick[OUT * SH * SW], image[H * WIDTH * IN], pixels[H * WIDTH * IN],
               zeros[H * WIDTH * OUT * IN] = { 0 };
    int        o, i, ky, kx, n, wrong = 0, met = 0;
    memset(&c, 0, sizeof c);
    c.input = shape(H, WIDTH, IN);
    c.latent = 1;
    c.likelihood = VAE_GAUSSIAN;
    c.encoder[0] = VAE_CONV(OUT, 1, 2, VAE_LINEAR);
    c.encoder[0].kernel_height = KH;
    c.encoder[0].kernel_width = KW;
    c.encoder[0].padding = VAE_EXPLICIT;
    c.encoder[0].top = c.encoder[0].bottom = 1;
    c.encoder[0].left = c.encoder[0].right = 0;
    model = make(&c);
    for (n = 0; n < H * WIDTH * IN; n++) image[n] = (vae_real)(n + 1);
    CHECK(vae_set_tensor(model, "encoder.0.bias", zeros, OUT, NULL) == VAE_OK);
    CHECK(vae_set_tensor(model, "mean.bias", zeros, 1, NULL) == VAE_OK);
    CHECK(vae_set_tensor(model, "decoder.0.bias", zeros, OUT * SH * SW, NULL) == VAE_OK);
    CHECK(vae_set_tensor(model, "decoder.2.bias", zeros, IN, NULL) == VAE_OK);
    for (o = 0; o < OUT; o++)
        for (i = 0; i < IN; i++)
            for (ky = 0; ky < KH; ky++)
                for (kx = 0; kx < KW; kx++) {
                    const vae_data data = { .pixels = image, .count = 1 };
                    int            y, x;
                    memset(weight, 0, sizeof weight);
                    /* the same place for both: [small][big][ky][kx] */
                    weight[((o * IN + i) * KH + ky) * KW + kx] = 1;
                    CHECK(vae_set_tensor(model, "encoder.0.weight", weight, OUT * IN * KH * KW, NULL) == VAE_OK);
                    CHECK(vae_set_tensor(model, "decoder.2.weight", weight, OUT * IN * KH * KW, NULL) == VAE_OK);
                    for (y = 0; y < SH; y++)
                        for (x = 0; x < SW; x++) {
                            const int py = 2 * y + ky - 1, px = 2 * x + kx,
                                      inside = py >= 0 && py < H && px >= 0 && px < WIDTH;
                            const vae_real two = 2;
                            vae_real       mean = -1;
                            int            row, column, channel;
                            memset(pick, 0, sizeof pick);
                            pick[(o * SH + y) * SW + x] = 1;
                            CHECK(vae_set_tensor(model, "mean.weight", pick, OUT * SH * SW, NULL) == VAE_OK);
                            CHECK(vae_set_tensor(model, "decoder.0.weight", pick, OUT * SH * SW, NULL) == VAE_OK);
                            CHECK(vae_encode(model, &data, &mean, NULL, NULL) == VAE_OK);
                            wrong += mean != (inside ? image[(py * WIDTH + px) * IN + i] : 0);
                            met += inside;
                            CHECK(vae_decode(model, &(vae_latents){ .z = &two, .count = 1 }, pixels, NULL) == VAE_OK);
                            for (row = 0; row < H; row++)
                                for (column = 0; column < WIDTH; column++)
                                    for (channel = 0; channel < IN; channel++)
                                        wrong += pixels[(row * WIDTH + column) * IN + channel] !=
                                                 (vae_real)(row == py && column == px && channel == i ? 2 : 0);
                        }
                }
    CHECK(wrong == 0 && met > 200);
    vae_destroy(model);
}

/* ---- the summary ---- */

static void test_summary(void) {
    const vae_config c = { .input = { 28, 28, 1 }, .latent = 16,
                           .encoder = { VAE_CONV(32, 3, 2, VAE_RELU), VAE_CONV(64, 3, 2, VAE_GELU),
                                        VAE_DENSE(1000, VAE_LEAKY_RELU) } };
    vae_model *model = make(&c);
    char       whole[4096], part[4096];
    size_t     length, size, lines = 0, i;
    memset(whole, '#', sizeof whole);
    length = vae_summary(model, whole, sizeof whole);
    CHECK(length < sizeof whole && strlen(whole) == length && whole[length + 1] == '#');
    CHECK(vae_summary(model, NULL, 0) == length && vae_summary(model, NULL, 100) == length);
    for (i = 0; i < length; i++) {
        lines += whole[i] == '\n';
        CHECK(whole[i] == '\n' || (whole[i] >= 32 && whole[i] <= 126));
    }
    CHECK(lines == 1 + 1 + 3 + 1 + 1 + 4 + 1 + 4);     /* title, input, encoder, heads, z, decoder, total, settings */
    CHECK(strstr(whole, "28 x 28 x 1") && strstr(whole, "14 x 14 x 32") && strstr(whole, "7 x 7 x 64") &&
          strstr(whole, "mean, logvar"));
    CHECK(strstr(whole, "leaky_relu") && strstr(whole, "gelu") && strstr(whole, "conv transposed 3x3 /2") &&
          strstr(whole, "3 137 000"));
    for (size = 0; size <= length + 2; size++) {
        int ok = 1;
        memset(part, '#', sizeof part);
        ok = vae_summary(model, part, size) == length && part[size] == '#';
        if (size)
            ok = ok && strlen(part) == (size - 1 < length ? size - 1 : length) && !memcmp(part, whole, strlen(part));
        CHECK(ok);
    }
    vae_destroy(model);
}

/* Where VAE_SAME needed a ZeroPad2d, numbers are others than one thinks: the sentence says so and which there are. */
static void test_names_that_are_near(void) {
    vae_config c = convolutional();
    vae_model *model = make(&c);
    vae_error  error;
    vae_real   number = 0;
    c = base();
    forget(&error);
    CHECK(said(&error, vae_get_tensor(model, "encoder.7.bias", &number, 1, &error), VAE_ERROR_ARGUMENT,
               "encoder.4.bias", __LINE__));
    vae_destroy(model);
    c.input = shape(8, 8, 1);
    c.encoder[0] = VAE_CONV(3, 3, 2, VAE_RELU);
    model = make(&c);
    CHECK(said(&error, vae_get_tensor(model, "encoder.0.weight", &number, 1, &error), VAE_ERROR_ARGUMENT,
               "no tensor named encoder.0.weight, the nearest is encoder.1.weight", __LINE__));
    CHECK(strstr(error.message, "VAE_SAME") && strstr(error.message, "ZeroPad2d"));
    CHECK(said(&error, vae_set_tensor(model, "decoder.1.bias", &number, 1, &error), VAE_ERROR_ARGUMENT,
               "decoder.0.bias", __LINE__));
    CHECK(said(&error, vae_get_tensor(model, "encoder.1.wight", &number, 1, &error), VAE_ERROR_ARGUMENT,
               "vae_tensor_at lists", __LINE__));
    vae_destroy(model);
}

static void test_settings_in_summary(void) {
    vae_config c = base();
    vae_model *model;
    char       text[4096];
    model = make(&c);
    vae_summary(model, text, sizeof text);
    CHECK(strstr(text, "objective: bernoulli, beta 1\n") && !strstr(text, "sigma"));
    CHECK(strstr(text, "optimizer: adam, learning rate 0.001") && strstr(text, "1 thread,"));
    CHECK(vae_set_beta(model, 3, NULL) == VAE_OK && vae_summary(model, text, sizeof text) && strstr(text, "beta 3"));
    vae_destroy(model);
    c.likelihood = VAE_GAUSSIAN;
    c.sigma_per_pixel = c.standardize = c.inference_only = 1;
    model = make(&c);
    vae_summary(model, text, sizeof text);
    CHECK_CONTAINS(text, "gaussian, sigma learned for each pixel (1), beta 1, standardized");
    CHECK_CONTAINS(text, "cannot train: inference only");
    CHECK(vae_tensor_count(model) == 2 + 4 + 4 + 3);       /* encoder, heads, decoder, those of no layer */
    vae_destroy(model);
    c.sigma_per_pixel = 0;
    c.sigma = (vae_real)0.25;
    model = make(&c);
    vae_summary(model, text, sizeof text);
    CHECK_CONTAINS(text, "sigma fixed (0.25)");
    vae_destroy(model);
}

static void test_wrong_classifiers(void) {
    REFUSED(c.classifier[0] = VAE_DENSE(3, VAE_LINEAR); c.classifier[0].batch_norm = 1; c.classifier_weight = 1,
            VAE_ERROR_CONFIG, "classifier layer 1 has batch_norm");
}

static void test_standardizing_at_the_wrong_time(void) {
    static const vae_real pixels[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2 };
    static const vae_real scales[8] = { 1, 1, 1, 0, 1, 1, 1, 1 };
    vae_config            c = base();
    vae_data              data = { .pixels = pixels, .count = 2 };
    vae_error             error;
    vae_real              mean[4];
    vae_model            *model;
    c.likelihood = VAE_GAUSSIAN;
    model = make(&c);
    CHECK(vae_standardize(model, &data, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "the model was made without");
    vae_destroy(model);
    c.standardize = 1;
    model = make(&c);
    CHECK(vae_standardize(model, &data, &error) == VAE_OK && vae_train_step(model, &data, NULL, &error) == VAE_OK);
    CHECK(vae_standardize(model, &data, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "has made 1 steps with other numbers");
    CHECK(vae_set_tensor(model, "standardize.scale", scales, 8, &error) == VAE_ERROR_DATA);
    CHECK_CONTAINS(error.message, "value 3 for tensor standardize.scale is 0: it must be larger than 0");
    fill(model, "encoder.0.bias", 4, 10);               /* a result beyond every number is none */
    fill(model, "mean.weight", 8, (vae_real)3e38);
    CHECK(vae_encode(model, &data, mean, NULL, &error) == VAE_ERROR_NUMERIC);
    CHECK_CONTAINS(error.message, "row 0");
    vae_destroy(model);
}

/* The bytes that the summary gives after these words. */
static double bytes_after(const char *text, const char *words) {
    const char *at = strstr(text, words);
    double      number = 0;
    char        unit[8] = "";
    CHECK(at && sscanf(at + strlen(words), "%lf %7[a-zA-Z]", &number, unit) == 2);
    return unit[0] == 'M' ? 1e6 * number : unit[0] == 'K' ? 1e3 * number : number;
}

static void test_summary_of_what_is_seldom_set(void) {
    vae_config c = base();
    vae_model *model;
    char       text[4096];
    c.corruption.kind = VAE_CORRUPTION_MASKING;
    c.corruption.amount = (vae_real)0.25;
    c.keep_best = 1;
    c.encoder[0] = VAE_DENSE(64, VAE_RELU);     /* weights of 6 KB, where parts are rounded to 1 KB */
    model = make(&c);
    CHECK(vae_summary(model, text, sizeof text) < sizeof text);
    CHECK_CONTAINS(text, "input corrupted (masking, 0.25)");
    CHECK_NEAR(bytes_after(text, "memory: parameters ") + bytes_after(text, "gradients and moments ") +
               bytes_after(text, "best weights ") + bytes_after(text, "workspace "), (double)model->bytes, 1500);
    vae_destroy(model);
}

int main(int count, char **arguments) {
    (void)arguments;
    (void)counted_calloc;
    (void)counted_realloc;
    if (count > 1) {        /* any argument: show a summary, for people to look at */
        const vae_config c = { .input = { 28, 28, 1 }, .latent = 16,
                               .encoder = { VAE_CONV(32, 3, 2, VAE_RELU), VAE_CONV(64, 3, 2, VAE_GELU),
                                            VAE_DENSE(1000, VAE_LEAKY_RELU) } };
        vae_model *model = make(&c);
        vae_print_summary(model);
        vae_destroy(model);
        return 0;
    }
    RUN(test_wrong_settings);
    RUN(test_settings_without_meaning);
    RUN(test_limits_agree);
    RUN(test_free_last_activation);
    RUN(test_wrong_layers);
    RUN(test_wrong_decoders);
    RUN(test_configs_that_were_never_zeroed);
    RUN(test_huge_sizes);
    RUN(test_defaults);
    RUN(test_exact_zeros);
    RUN(test_mirror_of_same_padding);
    RUN(test_mirror_of_anything);
    RUN(test_training_and_inference_allocate_nothing);
    RUN(test_failing_allocator);
    RUN(test_memory_of_the_callers);
    RUN(test_memory_need_not_be_clear);
    RUN(test_inference_only);
    RUN(test_arguments);
    RUN(test_status_names);
    RUN(test_wrong_pixels);
    RUN(test_wrong_validation_pixels);
    RUN(test_every_byte_is_a_pixel);
    RUN(test_tensors);
    RUN(test_order_within_tensors);
    RUN(test_summary);
    RUN(test_names_that_are_near);
    RUN(test_settings_in_summary);
    RUN(test_counts_that_do_not_fit);
    RUN(test_wrong_classifiers);
    RUN(test_standardizing_at_the_wrong_time);
    RUN(test_summary_of_what_is_seldom_set);
    return test_finish();
}
