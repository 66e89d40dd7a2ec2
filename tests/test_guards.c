/* Guards that nothing else runs into: closed forms for scores, limits of the plan, settings that differ in one number
   only, failures in the middle of a call, what is printed. Each test fails where its guard is taken out. */
#if defined(__unix__) || defined(__APPLE__)
#define _XOPEN_SOURCE 700           /* before any header: pseudo-terminals, dup2 */
#define HAS_DESCRIPTORS
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#endif
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "ledger.h"
#include "test.h"

static vae_error problem;

/* ---- what of the public part these tests use, in few places ---- */

static vae_config network(int height, int width, int channels, int latent) {
    vae_config config;
    memset(&config, 0, sizeof config);
    config.input.height = height;
    config.input.width = width;
    config.input.channels = channels;
    config.latent = latent;
    config.batch = 4;
    config.threads = 1;
    config.seed = 5;
    return config;
}

static vae_layer dense(int units, vae_activation activation) {
    const vae_layer layer = VAE_DENSE(units, activation);
    return layer;
}

static vae_layer shaped(int height, int width, int channels) {
    const vae_layer layer = VAE_DENSE_SHAPED(height, width, channels, VAE_LINEAR);
    return layer;
}

/* With a padding of 1 all around. */
static vae_layer conv(int channels, int kernel, int stride) {
    const vae_layer layer = VAE_CONV_SYMMETRIC(channels, kernel, stride, 1, VAE_LINEAR);
    return layer;
}

static vae_layer transposed(int channels, int kernel, int stride) {
    const vae_layer layer = VAE_CONV_TRANSPOSED_SYMMETRIC(channels, kernel, stride, 0, 0, VAE_LINEAR);
    return layer;
}

static void gaussian(vae_config *config, double sigma) {
    config->likelihood = VAE_GAUSSIAN;
    config->sigma = (vae_real)sigma;
}

/* Training then leaves the weights as they are. */
static void freeze(vae_config *config) { config->optimizer.learning_rate = VAE_ZERO; }

static void set_betas(vae_config *config, double beta1, double beta2) {
    config->optimizer.beta1 = (vae_real)beta1;
    config->optimizer.beta2 = (vae_real)beta2;
}

static vae_data rows_of(const vae_real *pixels, size_t count) {
    vae_data data;
    memset(&data, 0, sizeof data);
    data.pixels = pixels;
    data.count = count;
    return data;
}

static vae_model *make(const vae_config *config) {
    vae_model *model = NULL;
    if (!CHECK(vae_create(config, &model, &problem) == VAE_OK)) printf("    %s\n", problem.message);
    return model;
}

static vae_status size_of(const vae_config *config, size_t *bytes) {
    strcpy(problem.message, "");
    return vae_memory_needed(config, bytes, &problem);
}

static void set(vae_model *model, const char *name, const double *values, size_t count) {
    vae_real numbers[16];
    size_t   i;
    for (i = 0; i < count; i++) numbers[i] = (vae_real)values[i];
    if (!CHECK(vae_set_tensor(model, name, numbers, count, &problem) == VAE_OK)) printf("    %s\n", problem.message);
}

/* ---- log p(x) of a Gaussian against its closed form ----

   x = W z + b + sigma noise with W's columns at right angles: x is normal with mean b and covariance W W' + sigma^2 I,
   and z given x is normal with a diagonal covariance. Where the encoder is that posterior, every single sample's weight
   is p(x): the estimate is exact, whatever the number of samples. */

enum { PIXELS = 3, LATENT = 2, ROWS = 7 };
static const double columns_of_w[LATENT][PIXELS] = { { 1, 2, 0 }, { 1.5, -0.75, 0.5 } };
static const double offset[PIXELS] = { 0.25, -1, 2 };
static const double sigma = 0.75;

static double squared_length(const double *w) { return w[0] * w[0] + w[1] * w[1] + w[2] * w[2]; }

static double exact_log_density(const vae_real *x) {
    double log_determinant = PIXELS * log(sigma * sigma), squares = 0, d[PIXELS];
    int    i, k;
    for (i = 0; i < PIXELS; i++) {
        d[i] = (double)x[i] - offset[i];
        squares += d[i] * d[i];
    }
    for (k = 0; k < LATENT; k++) {
        const double *w = columns_of_w[k], along = w[0] * d[0] + w[1] * d[1] + w[2] * d[2];
        squares -= along * along / (sigma * sigma + squared_length(w));
        log_determinant += log(1 + squared_length(w) / (sigma * sigma));
    }
    return -0.5 * (PIXELS * log(6.283185307179586) + log_determinant + squares / (sigma * sigma));
}

/* `off`: by how much q is not the posterior. A batch larger than the rows takes several samples of each at a time. */
static vae_model *linear_model(double off, size_t batch) {
    static const double identity[9] = { 1, 0, 0, 0, 1, 0, 0, 0, 1 }, zeros[9] = { 0 };
    vae_config config = network(1, PIXELS, 1, LATENT);
    vae_model *model;
    double     decoder[PIXELS * LATENT], mean[LATENT * PIXELS], mean_bias[LATENT], logvar[LATENT];
    int        i, k;
    config.encoder[0] = dense(PIXELS, VAE_LINEAR);
    config.decoder[0] = dense(PIXELS, VAE_LINEAR);
    config.batch = batch;
    gaussian(&config, sigma);
    model = make(&config);
    for (k = 0; k < LATENT; k++) {
        const double variance = 1 / (1 + squared_length(columns_of_w[k]) / (sigma * sigma));
        logvar[k] = log(variance) + off;
        mean_bias[k] = off;
        for (i = 0; i < PIXELS; i++) {
            decoder[i * LATENT + k] = columns_of_w[k][i];
            mean[k * PIXELS + i] = variance * columns_of_w[k][i] / (sigma * sigma);
            mean_bias[k] -= mean[k * PIXELS + i] * offset[i];
        }
    }
    set(model, "encoder.0.weight", identity, 9);
    set(model, "encoder.0.bias", zeros, PIXELS);
    set(model, "mean.weight", mean, LATENT * PIXELS);
    set(model, "mean.bias", mean_bias, LATENT);
    set(model, "logvar.weight", zeros, LATENT * PIXELS);
    set(model, "logvar.bias", logvar, LATENT);
    set(model, "decoder.0.weight", decoder, PIXELS * LATENT);
    set(model, "decoder.0.bias", offset, PIXELS);
    return model;
}

static void fill_rows(vae_real *rows) {
    int i;
    for (i = 0; i < ROWS * PIXELS; i++) rows[i] = (vae_real)((i * 37 % 23 - 11) / 4.0);       /* no two rows alike */
}

static void check_likelihood(double off, size_t batch, size_t samples, double tolerance) {
    vae_model     *model = linear_model(off, batch);
    vae_real       rows[ROWS * PIXELS];
    const vae_data data = rows_of(rows, ROWS);
    double         each[ROWS], mean, sum = 0;
    int            r;
    fill_rows(rows);
    CHECK(vae_log_likelihood(model, &data, samples, &mean, each, &problem) == VAE_OK);
    for (r = 0; r < ROWS; r++) {
        CHECK_NEAR(each[r], exact_log_density(rows + r * PIXELS), tolerance);
        sum += each[r] / ROWS;
    }
    CHECK_NEAR(mean, sum, 1e-9);
    vae_destroy(model);
}

TEST(test_gaussian_likelihood_is_exact_under_the_posterior) {
    static const size_t batches[] = { 1, 4, 7, 64 }, samples[] = { 1, 3, 50 };
    size_t              b, s;
    for (b = 0; b < 4; b++)
        for (s = 0; s < 3; s++) check_likelihood(0, batches[b], samples[s], 2e-4);
}

TEST(test_gaussian_likelihood_converges_under_another_q) { check_likelihood(0.25, 128, 30000, 0.02); }

/* Under the posterior the ELBO is log p(x) on average over the noise: its bound is tight. */
TEST(test_gaussian_elbo_is_tight_under_the_posterior) {
    vae_model     *model = linear_model(0, 16);
    static vae_real rows[4000 * PIXELS];
    const vae_data data = rows_of(rows, 4000);
    vae_terms      mean;
    size_t         i;
    fill_rows(rows);
    for (i = 0; i < sizeof rows / sizeof *rows; i++) rows[i] = rows[i % PIXELS];        /* one row again and again */
    CHECK(vae_elbo(model, &data, &mean, NULL, &problem) == VAE_OK);
    CHECK_NEAR(mean.elbo, exact_log_density(rows), 0.1);
    vae_destroy(model);
}

TEST(test_sums_of_logarithms) {
    const double none = -HUGE_VAL, sum = vaei_add_logs(none, none);
    CHECK(!memcmp(&sum, &none, sizeof sum));                    /* no weight at all, and not NaN */
    CHECK(vaei_add_logs(none, 3) == 3 && vaei_add_logs(3, none) == 3);
    CHECK_NEAR(vaei_add_logs(-2000, -2001), -2000 + log(1 + exp(-1)), 1e-12);
    CHECK_NEAR(vaei_add_logs(700, 710), 710 + log(1 + exp(-10)), 1e-12);
    CHECK_NEAR(vaei_add_logs(0, 0), log(2), 1e-14);
}

/* Rows so far off that every weight is 0: a status or -inf, never NaN with VAE_OK. */
TEST(test_rows_without_any_weight) {
    vae_model     *model = linear_model(0, 16);
    vae_real       rows[2 * PIXELS] = { 0, 0, 0, 1e25f, -1e25f, 1e25f };
    const vae_data data = rows_of(rows, 2);
    double         each[2];
    if (vae_log_likelihood(model, &data, 5, NULL, each, &problem) == VAE_OK) {
        CHECK_NEAR(each[0], exact_log_density(rows), 2e-4);
        CHECK(each[1] < -1e30);
    } else CHECK(strlen(problem.message) > 10);
    vae_destroy(model);
}

/* ---- the output bias ---- */

/* A ramp over the rows: the mean is known whichever rows are taken, as long as they are spread over all of them. */
TEST(test_output_bias_of_many_rows) {
    enum { COUNT = 25000, WIDTH = 3 };
    static vae_real rows[COUNT * WIDTH];
    const double    expected[WIDTH] = { 0.5, 1.0 / 3, 0.999 };
    const vae_data  data = rows_of(rows, COUNT);
    vae_config      config = network(1, WIDTH, 1, 1);
    vae_fit_config  fit;
    vae_model      *model;
    vae_real        bias[WIDTH];
    size_t          i;
    for (i = 0; i < COUNT; i++) {
        const double part = ((double)i + 0.5) / COUNT;
        rows[i * WIDTH] = (vae_real)part;
        rows[i * WIDTH + 1] = (vae_real)(part * part);
        rows[i * WIDTH + 2] = 1;
    }
    config.encoder[0] = dense(1, VAE_LINEAR);
    config.decoder[0] = dense(WIDTH, VAE_LINEAR);
    config.batch = 1000;
    freeze(&config);
    model = make(&config);
    memset(&fit, 0, sizeof fit);
    fit.epochs = 1;
    fit.output_bias_from_data = 1;
    CHECK(vae_fit(model, &data, &fit, &problem) == VAE_OK);
    CHECK(vae_get_tensor(model, "decoder.0.bias", bias, WIDTH, &problem) == VAE_OK);
    for (i = 0; i < WIDTH; i++) CHECK_NEAR(1 / (1 + exp(-(double)bias[i])), expected[i], 1e-3);
    vae_destroy(model);
}

/* A bad row leaves the model as it was, and its gradients empty. */
TEST(test_output_bias_that_fails) {
    vae_real   rows[6 * PIXELS] = { 0 }, before[200];
    vae_data   data = rows_of(rows, 6);
    vae_config config = network(1, PIXELS, 1, LATENT);
    vae_model *model, *other;
    vae_terms  terms, other_terms;
    size_t     count, i;
    config.encoder[0] = dense(PIXELS, VAE_RELU);
    config.batch = 6;
    model = make(&config);
    other = make(&config);
    count = vae_parameter_count(model);
    memcpy(before, vae_parameters(model), count * sizeof *before);
    for (i = 0; i < 6 * PIXELS; i++) rows[i] = (vae_real)0.5;
    rows[5 * PIXELS + 1] = 7;
    CHECK(vaei_output_bias(model, &data, &problem) == VAE_ERROR_DATA);
    CHECK(!memcmp(before, vae_parameters(model), count * sizeof *before));
    for (i = 0; i < count; i++) CHECK(vae_gradients(model)[i] == 0);
    rows[5 * PIXELS + 1] = 0;
    CHECK(vae_train_step(model, &data, &terms, &problem) == VAE_OK);
    CHECK(vae_train_step(other, &data, &other_terms, &problem) == VAE_OK);
    CHECK(!memcmp(vae_parameters(model), vae_parameters(other), count * sizeof *before));
    vae_destroy(model);
    vae_destroy(other);
}

/* ---- limits of the network ---- */

static void refused(const vae_config *config, const char *part) {
    size_t bytes = 77;
    CHECK(size_of(config, &bytes) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(problem.message, part);
    CHECK(bytes == 77);
}

/* All shapes meet: only the rule that output padding is smaller than the stride can refuse them. */
TEST(test_output_padding_below_the_stride) {
    vae_config config = network(4, 4, 1, 2);
    vae_layer *last = &config.decoder[1];
    size_t     bytes;
    config.encoder[0] = dense(3, VAE_RELU);
    config.decoder[0] = shaped(1, 1, 1);
    *last = transposed(1, 3, 2);
    last->output_padding_height = last->output_padding_width = 1;
    CHECK(size_of(&config, &bytes) == VAE_OK);
    last->kernel_width = 2;
    last->output_padding_width = 2;
    refused(&config, "output padding");
    last->kernel_width = 5;
    last->output_padding_width = -1;
    refused(&config, "output padding");
    *last = transposed(1, 3, 2);
    last->output_padding_height = last->output_padding_width = 1;
    last->kernel_height = 2;
    last->output_padding_height = 2;
    refused(&config, "output padding");
    last->kernel_height = 5;
    last->output_padding_height = -1;
    refused(&config, "output padding");
}

static void does_not_fit(const vae_config *config) {
    size_t           bytes = 77;
    const vae_status status = size_of(config, &bytes);
    if (sizeof(size_t) > 4) {           /* here they do: what limits one layer's size keeps every product below 2^63 */
        CHECK(status == VAE_OK && (double)bytes > 1e18);
        return;
    }
    CHECK((status == VAE_ERROR_MEMORY || status == VAE_ERROR_CONFIG) && bytes == 77);
    CHECK_CONTAINS(problem.message, "fit in memory");
}

/* In one layer, and in two that fit alone. */
TEST(test_more_weights_than_fit) {
    const int  large = sizeof(size_t) > 4;
    vae_config config = network(large ? 32767 : 1, large ? 65536 : 65535, 1, 2);
    config.batch = 1;
    config.encoder[0] = dense(large ? 1 << 26 : 16384, VAE_LINEAR);
    does_not_fit(&config);
    config = network(large ? 8193 : 1, large ? 65535 : 32767, 1, 2);
    config.batch = 1;
    config.encoder[0] = dense(large ? 1 << 26 : 6000, VAE_LINEAR);
    config.decoder[0] = dense(large ? 1 << 26 : 6000, VAE_LINEAR);
    config.decoder[1] = shaped(config.input.height, config.input.width, 1);
    does_not_fit(&config);
}

/* At 1 the corrections divide by zero. */
TEST(test_moments_that_never_change) {
    vae_config config = network(1, 4, 1, 2);
    size_t     bytes;
    config.encoder[0] = dense(3, VAE_RELU);
    set_betas(&config, 0.9990234375, 0.9990234375);
    CHECK(size_of(&config, &bytes) == VAE_OK);
    set_betas(&config, 1, 0.5);
    refused(&config, "beta1");
    set_betas(&config, 0.5, 1);
    refused(&config, "beta2");
}

/* ---- sizes that overflow ---- */

/* A product or sum that does not fit sticks at the largest size, and so does all that is made of it. */
TEST(test_sizes_that_do_not_fit) {
    const size_t most = (size_t)-1;
    vaei_arena   arena;
    CHECK(vaei_times(most / 3 - 1, 3) == (most / 3 - 1) * 3);
    CHECK(vaei_times(most / 3 + 1, 3) == VAEI_TOO_LARGE);
    CHECK(vaei_times((size_t)1 << (sizeof(size_t) * 4), (size_t)1 << (sizeof(size_t) * 4)) == VAEI_TOO_LARGE);
    CHECK(vaei_times(0, most) == 0 && vaei_times(most, 0) == 0);
    CHECK(vaei_plus(most - 5, 4) == most - 1 && vaei_plus(most - 5, 6) == VAEI_TOO_LARGE);
    CHECK(vaei_plus(VAEI_TOO_LARGE, 0) == VAEI_TOO_LARGE);
    memset(&arena, 0, sizeof arena);
    vaei_take(&arena, most / 4 + 1, 4);                             /* the product */
    CHECK(arena.used == VAEI_TOO_LARGE);
    memset(&arena, 0, sizeof arena);
    vaei_take(&arena, most - 3 * VAEI_ALIGNMENT, 1);
    CHECK(arena.used != VAEI_TOO_LARGE && arena.used % VAEI_ALIGNMENT == 0);
    vaei_take(&arena, 3 * VAEI_ALIGNMENT, 1);                       /* the sum */
    CHECK(arena.used == VAEI_TOO_LARGE);
    vaei_take(&arena, 1, 1);                                        /* and it stays so */
    CHECK(arena.used == VAEI_TOO_LARGE);
}

/* More rows at a time than 32 bits hold the numbers of. */
TEST(test_plans_that_do_not_fit) {
    vae_config config = network(64, 64, 1, 2);
    size_t     bytes;
    config.encoder[0] = dense(2, VAE_TANH);
    config.batch = 1 << 24;
    CHECK(size_of(&config, &bytes) == (sizeof(size_t) > 4 ? VAE_OK : VAE_ERROR_MEMORY));
    config.batch = 1 << 10;
    CHECK(size_of(&config, &bytes) == VAE_OK);
}

/* ---- any network: it is refused, or its size is that of its parts, or it runs ---- */

static int sometimes_large(test_random *random, int large) {
    const int kind = test_integer(random, 0, 9);
    return kind < 6 ? test_integer(random, 1, 6) : kind < 9 ? test_integer(random, 1, 300)
           : test_integer(random, 1, large);
}

static vae_config any_network(test_random *random) {
    vae_config config = network(test_integer(random, 0, 2) ? sometimes_large(random, 65535) : 1,
                                sometimes_large(random, 1 << 26), sometimes_large(random, 65535),
                                sometimes_large(random, 1 << 20));
    const int  layers = test_integer(random, 1, 3);
    int        i;
    config.batch = (size_t)sometimes_large(random, 1 << 24);
    config.inference_only = test_integer(random, 0, 1);
    config.layout = test_integer(random, 0, 1) ? VAE_CHANNELS_FIRST : VAE_CHANNELS_LAST;
    for (i = 0; i < layers; i++) {
        vae_layer *layer = &config.encoder[i];
        if (test_integer(random, 0, 2) == 0) {
            *layer = dense(sometimes_large(random, 1 << 26), VAE_RELU);
            continue;
        }
        *layer = conv(sometimes_large(random, 65535), 1, 1);
        if (test_integer(random, 0, 1)) layer->padding = VAE_SAME;
        if (test_integer(random, 0, 3) == 0) layer->kind = VAE_LAYER_CONV_TRANSPOSED;
        layer->kernel_height = sometimes_large(random, 1023);
        layer->kernel_width = sometimes_large(random, 1023);
        layer->stride_height = test_integer(random, 1, 3);
        layer->stride_width = test_integer(random, 1, 3);
        layer->top = sometimes_large(random, 65535) - 1;
        layer->left = sometimes_large(random, 65535) - 1;
    }
    return config;
}

/* Weights of the encoder, counted in double precision, by the shapes' formulas: what a model takes at the least. */
static double least_bytes(const vae_config *config) {
    double height = config->input.height, width = config->input.width, channels = config->input.channels, weights = 0;
    double largest = height * width * channels;
    int    i;
    for (i = 0; i < VAE_MAX_LAYERS && config->encoder[i].kind != VAE_LAYER_END; i++) {
        const vae_layer *l = &config->encoder[i];
        const double     across = l->kernel_height * (double)l->kernel_width;
        if (l->kind == VAE_LAYER_DENSE) {
            weights += height * width * channels * l->shape.channels;
            height = width = 1;
        } else {
            weights += across * channels * l->shape.channels;
            if (l->kind == VAE_LAYER_CONV && l->padding == VAE_SAME) {
                height = ceil(height / l->stride_height);
                width = ceil(width / l->stride_width);
            } else if (l->kind == VAE_LAYER_CONV) {
                height = floor((height + l->top + l->bottom - l->kernel_height) / l->stride_height) + 1;
                width = floor((width + l->left + l->right - l->kernel_width) / l->stride_width) + 1;
            } else if (l->padding == VAE_SAME) {
                height *= l->stride_height;
                width *= l->stride_width;
            } else {
                height = (height - 1) * l->stride_height - l->top - l->bottom + l->kernel_height +
                         l->output_padding_height;
                width = (width - 1) * l->stride_width - l->left - l->right + l->kernel_width + l->output_padding_width;
            }
        }
        channels = l->shape.channels;
        if (height * width * channels > largest) largest = height * width * channels;
    }
    weights += height * width * channels * 2 * config->latent;
    return sizeof(vae_real) * (weights * (config->inference_only ? 1 : 4) + largest);
}

static void try_out(const vae_config *config) {
    const size_t size = (size_t)config->input.height * (size_t)config->input.width * (size_t)config->input.channels;
    vae_model   *model = make(config);
    vae_real    *row = (vae_real *)calloc(size, sizeof *row);
    vae_data     data = rows_of(row, 1);
    if (!model || !CHECK(row != NULL)) return;
    if (!config->inference_only && !CHECK(vae_train_step(model, &data, NULL, &problem) == VAE_OK))
        puts(problem.message);
    if (!CHECK(vae_reconstruct(model, &data, row, &problem) == VAE_OK)) puts(problem.message);
    free(row);
    vae_destroy(model);
}

TEST(test_any_network) {
    test_random random = { 77 };
    int         i, refusals = 0, fitting = 0, ran = 0;
    for (i = 0; i < 20000; i++) {
        const vae_config config = any_network(&random);
        size_t           bytes = 0;
        const vae_status status = size_of(&config, &bytes);
        if (status != VAE_OK) {
            refusals++;
            CHECK((status == VAE_ERROR_CONFIG || status == VAE_ERROR_MEMORY) && strlen(problem.message) > 10);
            continue;
        }
        fitting++;
        if (!CHECK((double)bytes >= least_bytes(&config))) printf("    network %d: %.0f bytes\n", i, (double)bytes);
        if (bytes > 1u << 18 || ran == 1000) continue;
        ran++;
        try_out(&config);
    }
    CHECK(refusals > 500 && fitting > 500 && ran > 100);
}

/* ---- creation that fails ---- */

/* An allocator that changes the config while it is being read: creation fails after its allocation, or has copied
   it. */
typedef struct meddler {
    ledger      counts;
    vae_config *config;
    int         latent;         /* what it becomes */
} meddler;

static void *meddling_allocate(void *user, size_t size) {
    meddler *m = (meddler *)user;
    m->config->latent = m->latent;
    return ledger_allocate(&m->counts, size);
}

static void meddling_release(void *user, void *block, size_t size) {
    ledger_release(&((meddler *)user)->counts, block, size);
}

TEST(test_creation_that_fails_late) {
    static const int latents[] = { 0, 5000, -1 };
    size_t           i;
    for (i = 0; i < 3; i++) {
        vae_config config = network(1, 8, 1, 2);
        vae_model *model = NULL;
        meddler    m;
        memset(&m, 0, sizeof m);
        m.config = &config;
        m.latent = latents[i];
        config.encoder[0] = dense(4, VAE_RELU);
        config.allocator.allocate = meddling_allocate;
        config.allocator.release = meddling_release;
        config.allocator.user = &m;
        if (vae_create(&config, &model, &problem) == VAE_OK) {
            CHECK(vae_latent_size(model) == 2);
            vae_destroy(model);
        } else CHECK(!model);
        CHECK(m.counts.calls > 0 && m.counts.live == 0 && !m.counts.mismatched);
    }
}

TEST(test_creation_without_memory) {
    vae_config config = network(8, 8, 1, 2);
    vae_model *model = NULL, *kept;
    ledger     l;
    size_t     needed = 0, k;
    char      *block;
    config.encoder[0] = conv(2, 3, 2);
    config.allocator = ledger_allocator(&l);
    l.fail_at = 1;
    CHECK(vae_create(&config, &model, &problem) == VAE_ERROR_MEMORY && !model && l.live == 0);
    CHECK_CONTAINS(problem.message, "bytes");
    CHECK(size_of(&config, &needed) == VAE_OK);
    block = (char *)malloc(needed + 3);
    kept = model = (vae_model *)(void *)&l;                 /* must stay as it is */
    for (k = 0; k < 4; k++) {
        CHECK(vae_create_in(&config, block, k == 3 ? needed - 1 : needed * k / 4, &model, &problem) ==
              VAE_ERROR_MEMORY);
        CHECK(model == kept);
    }
    for (k = 0; k < 4; k++) {                               /* enough, at any alignment */
        CHECK(vae_create_in(&config, block + k, needed, &model, &problem) == VAE_OK && model != kept);
        vae_destroy(model);
        model = kept;
    }
    CHECK(l.live == 0);
    free(block);
}

/* ---- files of a network that differs in one number ---- */

static vae_config padded(void) {
    vae_config config = network(5, 5, 1, 2);
    config.encoder[0] = conv(2, 3, 2);
    config.decoder[0] = shaped(5, 5, 1);
    return config;
}

static void change(vae_layer *layer, int which) {
    switch (which) {        /* the output stays 3 x 3 */
    case 0: layer->top = 2; break;
    case 1: layer->bottom = 2; break;
    case 2: layer->left = 2; break;
    case 3: layer->right = 2; break;
    case 4: layer->kernel_height = 2; break;
    case 5: layer->kernel_width = 2; break;
    case 6: layer->activation = VAE_TANH; break;
    case 7: layer->shape.channels = 3; break;
    case 8: layer->stride_height = 1, layer->kernel_height = 5; break;
    default: layer->stride_width = 1, layer->kernel_width = 5; break;
    }
}

TEST(test_files_of_almost_the_same_network) {
    static unsigned char file[8192];
    vae_config config = padded();
    vae_model *model = make(&config), *other, *loaded = NULL;
    size_t     size = 0;
    int        which;
    CHECK(vae_save_memory(model, 0, file, sizeof file, &size, &problem) == VAE_OK);
    CHECK(vae_load_memory(file, size, &config, &loaded, &problem) == VAE_OK);
    vae_destroy(loaded);
    loaded = NULL;
    for (which = 0; which < 10; which++) {
        vae_real before;
        config = padded();
        change(&config.encoder[0], which);
        other = make(&config);
        before = vae_parameters(other)[0];
        CHECK(vae_load_memory(file, size, &config, &loaded, &problem) == VAE_ERROR_CONFIG && !loaded);
        CHECK_CONTAINS(problem.message, "encoder layer 1");
        CHECK(vae_load_weights_memory(other, file, size, &problem) != VAE_OK && vae_parameters(other)[0] == before);
        vae_destroy(other);
    }
    vae_destroy(model);
}

/* Strides that give one row or column either way. */
TEST(test_files_of_another_stride) {
    static unsigned char file[8192];
    vae_config config = padded();
    vae_model *model, *loaded = NULL;
    size_t     size = 0;
    int        which;
    config.input.height = config.input.width = 2;
    config.decoder[0] = shaped(2, 2, 1);
    model = make(&config);
    CHECK(vae_save_memory(model, 0, file, sizeof file, &size, &problem) == VAE_OK);
    for (which = 0; which < 2; which++) {
        vae_config another = config;
        if (which) another.encoder[0].stride_width = 3;
        else another.encoder[0].stride_height = 3;
        CHECK(vae_load_memory(file, size, &another, &loaded, &problem) == VAE_ERROR_CONFIG && !loaded);
    }
    vae_destroy(model);
}

/* ---- what is printed ---- */

#ifdef HAS_DESCRIPTORS

typedef struct printed {
    char text[20000];
    int  kept, to;          /* the standard output that was; where it goes now */
} printed;

static void capture_to(printed *p, int descriptor) {
    fflush(stdout);
    p->kept = dup(1);
    p->to = descriptor;
    CHECK(p->kept >= 0 && dup2(descriptor, 1) == 1);
}

static void capture_end(printed *p) {
    fflush(stdout);
    CHECK(dup2(p->kept, 1) == 1);
    close(p->kept);
}

/* Into a file of this process: the same test may run beside it, from another build. */
static const char *capture_file(void) {
    static char path[64];
    sprintf(path, "build/test_guards.%ld.txt", (long)getpid());
    return path;
}

static void capture_begin(printed *p) {
    capture_to(p, open(capture_file(), O_RDWR | O_CREAT | O_TRUNC, 0600));
}

static void capture_read(printed *p) {
    ssize_t got;
    capture_end(p);
    lseek(p->to, 0, SEEK_SET);
    got = read(p->to, p->text, sizeof p->text - 1);
    p->text[got > 0 ? got : 0] = 0;
    close(p->to);
    remove(capture_file());
}

TEST(test_summary_is_printed) {
    static printed p;
    static char    text[4096];
    vae_config     config = padded();
    vae_model     *model = make(&config);
    const size_t   length = vae_summary(model, text, sizeof text);
    capture_begin(&p);
    vae_print_summary(model);
    CHECK(lseek(1, 0, SEEK_END) == (off_t)length);      /* it is there, not in a buffer */
    capture_read(&p);
    CHECK(length > 200 && length < sizeof text);
    CHECK_TEXT(p.text, text);
    CHECK_CONTAINS(p.text, "conv 3x3 /2");
    capture_begin(&p);
    vae_print_summary(NULL);
    capture_read(&p);
    CHECK_TEXT(p.text, "");
    vae_destroy(model);
}

/* A summary cut short is closed with a zero and says how long it is. */
TEST(test_summary_that_is_cut_short) {
    char         text[100];
    vae_config   config = padded();
    vae_model   *model = make(&config);
    const size_t length = vae_summary(model, NULL, 0);
    memset(text, 'x', sizeof text);
    CHECK(vae_summary(model, text, 40) == length && strlen(text) == 39 && text[40] == 'x');
    vae_destroy(model);
}

typedef struct seen { vae_progress epochs[2]; int count, stop_at; } seen;

static int watch(void *user, const vae_progress *progress) {
    seen *s = (seen *)user;
    if (progress->event == VAE_EVENT_EPOCH && s->count < 2) s->epochs[s->count++] = *progress;
    CHECK(vae_print_progress(NULL, progress) == 0);
    return progress->event == VAE_EVENT_EPOCH && s->count == s->stop_at;
}

static void train_and_print(seen *s, int validated) {
    static const vae_real rows[8 * 25];
    const vae_data data = rows_of(rows, 8);
    vae_config     config = padded();
    vae_fit_config fit;
    vae_model     *model = make(&config);
    memset(&fit, 0, sizeof fit);
    fit.epochs = 2;
    fit.validation = validated ? &data : NULL;
    fit.on_progress = watch;
    fit.user = s;
    CHECK(vae_fit(model, &data, &fit, &problem) == (s->stop_at ? VAE_STOPPED : VAE_OK));
    vae_destroy(model);
}

/* One line an epoch, with the figures of that epoch, and nothing of a terminal's. */
TEST(test_progress_into_a_file) {
    static printed p;
    int            validated, i;
    for (validated = 0; validated < 2; validated++) {
        seen        s;
        const char *line;
        memset(&s, 0, sizeof s);
        capture_begin(&p);
        train_and_print(&s, validated);
        capture_read(&p);
        line = p.text;
        CHECK(s.count == 2 && !strchr(p.text, '\r') && !strchr(p.text, '\033'));
        CHECK(s.epochs[0].seconds > 0 && s.epochs[1].seconds > s.epochs[0].seconds);
        CHECK_NEAR(s.epochs[0].seconds_left, s.epochs[0].seconds, 0.2 * s.epochs[0].seconds);   /* half is done */
        CHECK(s.epochs[1].seconds_left == 0);
        for (i = 0; i < 2 && line; i++) {
            char        expected[100];
            const char *end = strchr(line, '\n'), *found;
            snprintf(expected, sizeof expected, "epoch %d/2", i + 1);
            CHECK(!strncmp(line, expected, strlen(expected)));
            snprintf(expected, sizeof expected, "%.3f", s.epochs[i].train.loss);
            found = strstr(line, expected);
            CHECK(found && end && found < end);
            snprintf(expected, sizeof expected, "%.3f", s.epochs[i].validation.loss);
            found = strstr(line, "validation");
            CHECK(validated ? found && end && found < end && strstr(found, expected) : !found || !end || found > end);
            line = end ? end + 1 : NULL;
        }
        CHECK(line && !*line);
    }
}

/* Of what a terminal shows: the widest line, escape sequences not counted. */
static int widest_line(const char *text) {
    int widest = 0, column = 0;
    for (; *text; text++) {
        if (*text == '\033') while (text[1] && *text != 'K' && *text != 'm') text++;
        else if (*text == '\r' || *text == '\n') column = 0;
        else if (++column > widest) widest = column;
    }
    return widest;
}

/* A line that fills the last column would scroll with every redraw. */
TEST(test_progress_on_a_terminal) {
    static const int widths[] = { 132 };
    size_t           w;
    for (w = 0; w < sizeof widths / sizeof *widths; w++) {
        static printed p;
        const int      terminal = posix_openpt(O_RDWR | O_NOCTTY);
        const char    *name = terminal >= 0 && grantpt(terminal) == 0 &&
                              unlockpt(terminal) == 0 ? ptsname(terminal) : NULL;
        const int      screen = name ? open(name, O_RDWR | O_NOCTTY) : -1;
        struct winsize size;
        size_t         length = 0;
        ssize_t        got;
        seen           s;
        if (screen < 0) SKIP("there are no pseudo-terminals here");
        memset(&size, 0, sizeof size);
        size.ws_row = 24;
        size.ws_col = (unsigned short)widths[w];
        CHECK(ioctl(screen, TIOCSWINSZ, &size) == 0);
        memset(&s, 0, sizeof s);
        s.stop_at = 2;
        capture_to(&p, screen);
        train_and_print(&s, 1);
        capture_end(&p);
        close(screen);
        while (length + 1 < sizeof p.text && (got = read(terminal, p.text + length, sizeof p.text - 1 - length)) > 0)
            length += (size_t)got;
        p.text[length] = 0;
        CHECK(strchr(p.text, '\r') != NULL);
        CHECK_CONTAINS(p.text, "epoch 1/2 [");
        CHECK_CONTAINS(p.text, "########################]");
        CHECK_CONTAINS(p.text, " left");
        CHECK(widest_line(p.text) < widths[w]);
        close(terminal);
    }
}

/* Sizes in the summary, from bytes to megabytes. */
TEST(test_sizes_are_readable) {
    static const struct { size_t bytes; const char *text; } cases[] = {
        { 0, "0 bytes" }, { 9999, "9999 bytes" }, { 10000, "10 KB" }, { 1234567, "1235 KB" }, { 9999499, "9999 KB" },
        { 10000000, "10 MB" }, { 123456789, "123 MB" }
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        char      text[32] = "";
        vaei_text into;
        into.bytes = text;
        into.size = sizeof text;
        into.length = 0;
        vaei_put_bytes(&into, cases[i].bytes);
        text[into.length] = 0;
        CHECK_TEXT(text, cases[i].text);
    }
}

/* Times left, from seconds to hours. */
TEST(test_times_are_readable) {
    static const struct { double seconds; const char *text; } cases[] = {
        { 0.4, "0s" }, { 59.4, "59s" }, { 59.6, "1m 0s" }, { 61, "1m 1s" }, { 3599, "59m 59s" }, { 3600, "1h 0m" },
        { 7384, "2h 3m" }
    };
    size_t i;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        char      text[32] = "";
        vaei_text into;
        into.bytes = text;
        into.size = sizeof text;
        into.length = 0;
        vaei_put_seconds(&into, cases[i].seconds);
        text[into.length] = 0;
        CHECK_TEXT(text, cases[i].text);
    }
}
#endif

/* Work is cut where its size times the number of a piece does not fit, as elsewhere: pieces follow one another up to the
   last item, and differ by at most a unit. */
TEST(test_pieces_of_any_size) {
    static const size_t sizes[] = { 1, 7, 63, 1000, (size_t)-1 / 64, (size_t)-1 / 63, (size_t)-1 / 2, (size_t)-1 - 200 };
    vaei_cut cut;
    size_t   s, piece;
    for (s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (cut.unit = 1; cut.unit < 65; cut.unit += 7)
            for (cut.pieces = 1; cut.pieces <= 64; cut.pieces++) {
                const size_t most = ((sizes[s] + cut.unit - 1) / cut.unit / cut.pieces + 1) * cut.unit;
                cut.items = sizes[s];
                CHECK(vaei_piece_begin(&cut, 0) == 0 && vaei_piece_begin(&cut, cut.pieces) == cut.items);
                for (piece = 0; piece < cut.pieces; piece++) {
                    const size_t begin = vaei_piece_begin(&cut, piece), end = vaei_piece_begin(&cut, piece + 1);
                    CHECK(begin <= end && end - begin <= most && (begin % cut.unit == 0 || begin == cut.items));
                }
            }
}

int main(void) {
    RUN(test_pieces_of_any_size);
    RUN(test_gaussian_likelihood_is_exact_under_the_posterior);
    RUN(test_gaussian_likelihood_converges_under_another_q);
    RUN(test_gaussian_elbo_is_tight_under_the_posterior);
    RUN(test_sums_of_logarithms);
    RUN(test_rows_without_any_weight);
    RUN(test_output_bias_of_many_rows);
    RUN(test_output_bias_that_fails);
    RUN(test_output_padding_below_the_stride);
    RUN(test_more_weights_than_fit);
    RUN(test_moments_that_never_change);
    RUN(test_sizes_that_do_not_fit);
    RUN(test_plans_that_do_not_fit);
    RUN(test_any_network);
    RUN(test_creation_that_fails_late);
    RUN(test_creation_without_memory);
    RUN(test_files_of_almost_the_same_network);
    RUN(test_files_of_another_stride);
#ifdef HAS_DESCRIPTORS
    RUN(test_summary_is_printed);
    RUN(test_summary_that_is_cut_short);
    RUN(test_progress_into_a_file);
    RUN(test_progress_on_a_terminal);
    RUN(test_sizes_are_readable);
    RUN(test_times_are_readable);
#endif
    return test_finish();
}
