/* Likelihoods of two numbers a pixel, and pixels drawn from every likelihood. */
#define VAE_PLAIN       /* plain C's kernels too */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <stdlib.h>
#include "test.h"
#include "model.h"

static const vae_likelihood pairs[2] = { VAE_GAUSSIAN_PREDICTED, VAE_DISCRETIZED_LOGISTIC };

/* The nats of a row at z = mean, without the KL. */
static const vae_score_config nats = { .kind = VAE_SCORE_RECONSTRUCTION };

static double softplus(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))); }

/* -log p(x | l, v), by other formulas than the library's where that keeps its digits. */
static double nats_of(vae_likelihood likelihood, double x, double l, double v) {
    double scale, level, upper, lower, share;
    if (likelihood == VAE_GAUSSIAN_PREDICTED) {
        v = fmin(fmax(v, -12), 40);
        return (x - l) * (x - l) / 2 * exp(-v) + v / 2 + 0.918938533204672741780329736406;
    }
    scale = exp(fmin(fmax(v, -8), 4));
    level = floor(255 * x + 0.5);
    upper = ((level + 0.5) / 255 - l) / scale;
    lower = ((level - 0.5) / 255 - l) / scale;
    if (level == 0) return softplus(-upper);
    if (level == 255) return softplus(lower);
    if (lower > 0) {            /* seen from the other side nothing is near 1 */
        share = upper;
        upper = -lower;
        lower = -share;
    }
    share = exp(upper) / (1 + exp(upper)) - exp(lower) / (1 + exp(lower));
    if (upper < 20 && upper > -600 && share > 0) return -log(share);        /* exp(upper) has all its digits */
    return softplus(-upper) + softplus(lower) - log(-expm1(lower - upper));
}

/* E[x | l, v] */
static double mean_of(vae_likelihood likelihood, double l, double v) {
    double sum = 0;
    int         level;
    if (likelihood == VAE_GAUSSIAN_PREDICTED) return l;
    for (level = 1; level < 256; level++)
        sum += 1 / (1 + exp(((level - 0.5) / 255 - l) / exp(fmin(fmax(v, -8), 4)))) / 255;
    return sum;
}

/* A decoder that ignores z: the outputs are its bias. The posterior is the prior. */
static vae_model *constant_decoder(vae_likelihood likelihood, vae_kernels kernels, vae_shape input) {
    vae_config config = { .latent = 1, .encoder = { VAE_DENSE(1, VAE_LINEAR) }, .kernels = kernels, .threads = 1 };
    const int  size = input.height * input.width * input.channels;
    const int  outputs = likelihood >= VAE_GAUSSIAN_PREDICTED ? 2 * size : size;
    vae_model *model;
    config.input = input;
    config.likelihood = likelihood;
    config.decoder[0] = VAE_DENSE(outputs, VAE_LINEAR);
    if (likelihood == VAE_GAUSSIAN || likelihood == VAE_LAPLACE) config.sigma = 0.25f;
    model = make(&config);
    fill(model, "decoder.0.weight", (size_t)outputs, 0);
    return model;
}

static const vae_shape one_pixel = { 1, 1, 1 };

/* ---- two numbers a pixel ---- */

static const double firsts[] = { 0, 1, 0.5, 0.25, 0.4980392, -0.1, 1.2, 1e-3, 3, -40, 1e4, -1e4 };
static const double seconds[] = { 0, -1, 1, -3, -4.8, -5, -7.5, -8, 3.9, 4, -11, -12, 15, 39, 1e4, -1e4 };

TEST(test_pair_nats_and_means) {
    static const double pixels[] = { 0, 1, 1.0 / 255, 254.0 / 255, 127.0 / 255, 128.0 / 255, 0.3, 0.25 };
    size_t              k, i, v, j;
    int                 kernels;
    for (kernels = VAE_KERNELS_PLAIN; kernels <= VAE_KERNELS_NEON; kernels++)
        for (k = 0; k < 2 && vae_kernels_available((vae_kernels)kernels); k++) {
            vae_model *model = constant_decoder(pairs[k], (vae_kernels)kernels, one_pixel);
            for (i = 0; i < sizeof firsts / sizeof *firsts; i++)
                for (v = 0; v < sizeof seconds / sizeof *seconds; v++) {
                    const vae_real    bias[2] = { (vae_real)firsts[i], (vae_real)seconds[v] }, z = 0;
                    const vae_latents latents = { .z = &z, .count = 1 };
                    vae_real          mean = -1;
                    double            expected;
                    set(model, "decoder.0.bias", bias, 2);
                    CHECK(vae_decode(model, &latents, &mean, NULL) == VAE_OK);
                    expected = mean_of(pairs[k], (double)bias[0], (double)bias[1]);
                    CHECK_NEAR(mean, expected, k ? 6e-6 : 0);
                    /* a small mean has its digits, too */
                    if (!i) CHECK_NEAR(mean, expected, 2e-5 * expected);
                    for (j = 0; j < sizeof pixels / sizeof *pixels; j++) {
                        const vae_real x = (vae_real)pixels[j];
                        const vae_data data = { .pixels = &x, .count = 1 };
                        const double   exact = nats_of(pairs[k], (double)x, (double)bias[0], (double)bias[1]);
                        /* how much the rounding of 255 l, or of x - l, weighs */
                        const double   steep = k ? 1e-7 * (1 + fabs(firsts[i])) / exp(fmin(fmax(seconds[v], -8), 4))
                                               : 0;
                        double         score = NAN;
                        CHECK(vae_score(model, &data, &nats, &score, NULL) == VAE_OK);
                        CHECK_NEAR(score, exact, 3e-6 * (1 + fabs(exact)) + steep);
                    }
                }
            vae_destroy(model);
        }
}

/* The shares of the 256 levels, given as bytes, sum to 1, and their mean is the mean pixel. */
TEST(test_levels_sum_to_one) {
    unsigned char bytes[256];
    double        scores[256];
    vae_model    *model = constant_decoder(VAE_DISCRETIZED_LOGISTIC, VAE_KERNELS_BEST, one_pixel);
    vae_data      data = { .count = 256 };
    size_t        i, v, level;
    for (level = 0; level < 256; level++) bytes[level] = (unsigned char)level;
    data.bytes = bytes;
    for (i = 0; i < sizeof firsts / sizeof *firsts; i++)
        for (v = 0; v < sizeof seconds / sizeof *seconds; v++) {
            const vae_real    bias[2] = { (vae_real)firsts[i], (vae_real)seconds[v] }, z = 0;
            const vae_latents latents = { .z = &z, .count = 1 };
            vae_real          mean = -1;
            double            sum = 0, moment = 0;
            set(model, "decoder.0.bias", bias, 2);
            CHECK(vae_score(model, &data, &nats, scores, NULL) == VAE_OK);
            CHECK(vae_decode(model, &latents, &mean, NULL) == VAE_OK);
            for (level = 0; level < 256; level++) {
                CHECK(scores[level] >= 0);
                sum += exp(-scores[level]);
                moment += exp(-scores[level]) * (double)level / 255;
            }
            CHECK_NEAR(sum, 1, 2e-5);
            CHECK_NEAR(moment, mean, 2e-5);
        }
    vae_destroy(model);
}

/* The predicted Gaussian integrates to 1 about its mean. */
TEST(test_predicted_integrates_to_one) {
    enum { POINTS = 4000 };
    static vae_real pixels[POINTS];
    static double   scores[POINTS];
    vae_model      *model = constant_decoder(VAE_GAUSSIAN_PREDICTED, VAE_KERNELS_BEST, one_pixel);
    vae_data        data = { .pixels = pixels, .count = POINTS };
    size_t          i, v, p;
    for (i = 0; i < 9; i++)
        for (v = 0; v < sizeof seconds / sizeof *seconds; v++) {
            const vae_real bias[2] = { (vae_real)firsts[i], (vae_real)seconds[v] };
            const double   sigma = exp(fmin(fmax(seconds[v], -12), 40) / 2), width = 12 * sigma / POINTS;
            double         sum = 0, moment = 0;
            if (sigma > 1e7) continue;
            set(model, "decoder.0.bias", bias, 2);
            for (p = 0; p < POINTS; p++) pixels[p] = (vae_real)(firsts[i] + width * ((double)p + 0.5 - POINTS / 2.0));
            CHECK(vae_score(model, &data, &nats, scores, NULL) == VAE_OK);
            for (p = 0; p < POINTS; p++) {
                const double off = (double)pixels[p] - firsts[i];
                sum += exp(-scores[p]) * width;
                moment += exp(-scores[p]) * width * off * off;
            }
            CHECK_NEAR(sum, 1, 1e-3);
            CHECK_NEAR(moment, sigma * sigma, 2e-3 * sigma * sigma);
        }
    vae_destroy(model);
}

/* Where they stand: in PyTorch's order the first numbers of all pixels, channel by channel, then the second ones. Sizes
   leave no vector's end out. */
TEST(test_places_of_pairs) {
    size_t k;
    int    width, channels, first_layout;
    for (k = 0; k < 2; k++)
        for (channels = 1; channels < 4; channels++)
            for (width = 1; width < 40; width += width < 19 ? 1 : 7)
                for (first_layout = 0; first_layout < 2; first_layout++) {
                    const vae_shape shape = { 1, width, channels };
                    const int       n = width * channels;
                    vae_config      config = { .latent = 1, .encoder = { VAE_DENSE(1, VAE_LINEAR) }, .threads = 1,
                                               .decoder = { VAE_DENSE(2 * n, VAE_LINEAR) } };
                    vae_model      *model;
                    vae_real        bias[2 * 120], pixels[120], decoded[120], z = 0;
                    vae_data        data = { .pixels = pixels, .count = 1 };
                    vae_latents     latents = { .z = &z, .count = 1 };
                    double          exact = 0;
                    double          score = NAN, each[120];
                    int             i;
                    config.input = shape;
                    config.likelihood = pairs[k];
                    config.layout = first_layout ? VAE_CHANNELS_FIRST : VAE_CHANNELS_LAST;
                    model = make(&config);
                    fill(model, "decoder.0.weight", 2 * (size_t)n, 0);
                    for (i = 0; i < n; i++) {
                        bias[i] = (vae_real)(0.5 + 0.6 * sin(i + n));
                        bias[n + i] = (vae_real)(-2 + 2 * cos(3 * i));
                    }
                    set(model, "decoder.0.bias", bias, 2 * (size_t)n);
                    for (i = 0; i < n; i++) {
                        /* of the caller's row */
                        const int at = first_layout ? i : i % width * channels + i / width;
                        pixels[at] = (vae_real)((i * 37 + n) % 256) / 255;
                        exact += nats_of(pairs[k], (double)pixels[at], (double)bias[i], (double)bias[n + i]);
                    }
                    CHECK(vae_score(model, &data, &nats, &score, NULL) == VAE_OK);
                    CHECK_NEAR(score, exact, 1e-5 * (n + fabs(exact)));
                    CHECK(vae_score_numbers(model, &data, &nats, each, NULL) == VAE_OK);
                    for (i = 0; i < n; i++) {
                        const int at = first_layout ? i : i % width * channels + i / width;
                        exact = nats_of(pairs[k], (double)pixels[at], (double)bias[i], (double)bias[n + i]);
                        CHECK_NEAR(each[at], exact, 1e-5 * (1 + fabs(exact)));
                    }
                    CHECK(vae_decode(model, &latents, decoded, NULL) == VAE_OK);
                    for (i = 0; i < n; i++)
                        CHECK_NEAR(decoded[first_layout ? i : i % width * channels + i / width],
                                   mean_of(pairs[k], (double)bias[i], (double)bias[n + i]), 1e-5);
                    vae_destroy(model);
                }
}

/* A step from outputs far out, at pixels 0 and 1, is finite or is refused, and where a bound binds the way back is
   open. */
TEST(test_extreme_outputs_train) {
    size_t k, i, v;
    for (k = 0; k < 2; k++)
        for (i = 0; i < sizeof firsts / sizeof *firsts; i++)
            for (v = 0; v < sizeof seconds / sizeof *seconds; v++) {
                vae_model     *model = constant_decoder(pairs[k], VAE_KERNELS_BEST, one_pixel);
                const vae_real bias[2] = { (vae_real)firsts[i], (vae_real)seconds[v] }, pixels[2] = { 0, 1 };
                vae_data       data = { .pixels = pixels, .count = 2 };
                vae_terms      terms;
                vae_real       gradient[2];
                set(model, "decoder.0.bias", bias, 2);
                CHECK(vae_accumulate_gradients(model, &data, NULL, &terms, NULL) == VAE_OK);
                CHECK(isfinite(terms.loss));
                CHECK(vae_get_gradient(model, "decoder.0.bias", gradient, 2, NULL) == VAE_OK);
                CHECK(isfinite(gradient[0]) && isfinite(gradient[1]));
                if (seconds[v] < (k ? -8 : -12)) CHECK(gradient[1] <= 0);
                if (seconds[v] > (k ? 4 : 40)) CHECK(gradient[1] >= 0);
                CHECK(vae_apply_gradients(model, NULL) == VAE_OK);
                vae_destroy(model);
            }
}

/* Networks of every kind of ending, mirrored ones too. */
static vae_config network(int which, vae_likelihood likelihood) {
    const int  two = likelihood >= VAE_GAUSSIAN_PREDICTED ? 2 : 1;
    vae_config config = { .input = { 7, 6, 2 }, .latent = 3, .seed = 5, .batch = 40 };
    if (which == 0) config.encoder[0] = VAE_DENSE(9, VAE_TANH);
    if (which == 1 || which == 2) config.encoder[0] = VAE_CONV(4, 3, 2, VAE_SILU);
    if (which == 2) {
        config.decoder[0] = VAE_DENSE_SHAPED(4, 3, 3, VAE_RELU);
        config.decoder[1] = VAE_CONV_TRANSPOSED_SYMMETRIC(4, 3, 2, 1, 1, VAE_SILU);
        config.decoder[1].output_padding_height = 0;
        config.decoder[2] = VAE_CONV(2 * two, 3, 1, VAE_LINEAR);
    }
    if (which == 3) {
        config.encoder[0] = VAE_CONV_TRANSPOSED(3, 2, 2, VAE_RELU);
        config.decoder[0] = VAE_DENSE_SHAPED(7, 6, 1, VAE_RELU);
        config.decoder[1] = VAE_DENSE(84 * two, VAE_LINEAR);
    }
    config.likelihood = likelihood;
    return config;
}

static vae_real *random_rows(size_t count, uint64_t seed) {
    test_random random = { 0 };
    vae_real   *rows = (vae_real *)malloc(count * sizeof *rows);
    size_t      i;
    random.state = seed;
    for (i = 0; i < count; i++) rows[i] = (vae_real)test_integer(&random, 0, 255) / 255;
    return rows;
}

static void run_backwards(void *user, vae_task task, void *context, size_t count) {
    (void)user;
    while (count) task(context, --count);
}

static vae_model *make_unfused(const vae_config *config) {
    vaei_source source;
    vae_model  *model = NULL;
    CHECK(vaei_source_of(config, &source, NULL) == VAE_OK);
    source.unfused = 1;
    CHECK(vaei_make_allocated(&source, &config->allocator, &model, NULL) == VAE_OK);
    return model;
}

/* One thread and three, a fused last stage and not, a filled config, a view, and a checkpoint loaded halfway: the same
   bits. Nothing is lost on the way through a file. */
TEST(test_same_bits_however) {
    enum { ROWS = 77, SIZE = 84, WAYS = 5 };
    vae_real *rows = random_rows(ROWS * SIZE, 4), decoded[WAYS][SIZE], seen[SIZE];
    vae_data  data = { .count = 40 };
    int       which, way, step;
    size_t    k;
    for (k = 0; k < 2; k++)
        for (which = 0; which < 4; which++) {
            vae_model *models[WAYS], *view = NULL;
            double     elbo[WAYS][ROWS];
            for (way = 0; way < WAYS; way++) {
                vae_config config = network(which, pairs[k]);
                if (which == 1) config.samples = 2;
                if (which == 2) config.objective = VAE_OBJECTIVE_IWAE, config.samples = 3;
                if (way == 1) {
                    config.threads = 3;
                    config.parallel.run = run_backwards;
                } else config.threads = 1;
                if (way == 2) CHECK(vae_defaults(&config, &config, NULL) == VAE_OK);
                models[way] = way == 3 ? make_unfused(&config) : make(&config);
                for (step = 0; step < 4; step++) {
                    data.pixels = rows + step * 7 * SIZE;
                    data.count = 40;
                    CHECK(vae_train_step(models[way], &data, NULL, NULL) == VAE_OK);
                    if (step == 1 && way == 4) {
                        size_t size = 0;
                        void  *file;
                        CHECK(vae_save_memory(models[way], 1, NULL, 0, &size, NULL) == VAE_OK);
                        file = malloc(size);
                        CHECK(vae_save_memory(models[way], 1, file, size, &size, NULL) == VAE_OK);
                        vae_destroy(models[way]);
                        memset(&config, 0, sizeof config);
                        config.threads = 1;
                        CHECK(vae_load_memory(file, size, &config, &models[way], NULL) == VAE_OK);
                        vae_get_config(models[way], &config);
                        CHECK(config.likelihood == pairs[k]);
                        free(file);
                    }
                }
                data.pixels = rows;
                data.count = ROWS;
                CHECK(vae_log_likelihood(models[way], &data, 3, NULL, elbo[way], NULL) == VAE_OK);
                data.count = 1;
                CHECK(vae_reconstruct(models[way], &data, decoded[way], NULL) == VAE_OK);
                CHECK(!memcmp(vae_weights(models[way]), vae_weights(models[0]),
                              vae_weight_count(models[0]) * sizeof(vae_real)));
                CHECK(!memcmp(elbo[way], elbo[0], sizeof elbo[0]) &&
                      !memcmp(decoded[way], decoded[0], sizeof decoded[0]));
            }
            CHECK(vae_create_view(models[0], NULL, &view, NULL) == VAE_OK);
            CHECK(vae_reconstruct(view, &data, seen, NULL) == VAE_OK && !memcmp(seen, decoded[0], sizeof seen));
            vae_destroy(view);
            for (way = 0; way < WAYS; way++) vae_destroy(models[way]);
        }
    free(rows);
}

TEST(test_pairs_are_refused) {
    static const struct { int which, dense; const char *says; } cases[] = {
        { 0, 84, "decoder layer 1 gives 1 x 1 x 84, the likelihood takes two numbers a pixel of the 7 x 6 x 2 input: "
                 "make it give 7 x 6 x 4" },
        { 0, 336, "make it give 7 x 6 x 4" }, { 1, 0, "decoder layer 1 is the last and gives the logits" },
        { 2, 0, "sigma is set, but VAE_" }, { 3, 0, "sigma_per_pixel is set, but VAE_" },
        { 4, 0, "mirrored decoder layer 2 gives 1 x 3 x 80000" }, { 5, 0, "tied is set, but VAE_" }
    };
    size_t k, c;
    for (k = 0; k < 2; k++)
        for (c = 0; c < sizeof cases / sizeof *cases; c++) {
            vae_config config = network(0, pairs[k]);
            vae_model *model = NULL;
            vae_error  error;
            if (cases[c].dense) config.decoder[0] = VAE_DENSE(cases[c].dense, VAE_LINEAR);
            if (cases[c].which == 1) config.decoder[0] = VAE_DENSE(168, VAE_SIGMOID);
            if (cases[c].which == 2) config.sigma = 1;
            if (cases[c].which == 3) config.sigma_per_pixel = 1;
            if (cases[c].which == 5) config.tied = 1;
            if (cases[c].which == 4) {
                config.input.height = 1;
                config.input.width = 3;
                config.input.channels = 40000;
                config.encoder[0] = VAE_CONV(1, 1, 1, VAE_LINEAR);
            }
            CHECK(vae_create(&config, &model, &error) == VAE_ERROR_CONFIG);
            CHECK_CONTAINS(error.message, cases[c].says);
        }
    {
        vae_config config = network(0, VAE_DISCRETIZED_LOGISTIC);
        vae_model *model = NULL;
        vae_real   rows[84] = { 0 };
        vae_data   data = { .count = 1 };
        vae_error  error;
        data.pixels = rows;
        config.standardize = 1;
        CHECK(vae_create(&config, &model, &error) == VAE_ERROR_CONFIG);
        CHECK_CONTAINS(error.message, "standardize is set, but VAE_DISCRETIZED_LOGISTIC takes pixels in [0, 1]");
        config.standardize = 0;
        model = make(&config);
        rows[83] = 2;
        CHECK(vae_elbo(model, &data, NULL, NULL, &error) == VAE_ERROR_DATA);
        CHECK_CONTAINS(error.message, "row 0, y 6, x 5, channel 1 holds 2: VAE_DISCRETIZED_LOGISTIC needs pixels");
        vae_destroy(model);
    }
}

/* output_bias_from_data: mean and variance of each pixel, or of each channel. */
TEST(test_first_biases_of_pairs) {
    enum { ROWS = 400, SIZE = 6 };
    static vae_real rows[ROWS * SIZE];
    test_random     random = { 3 };
    size_t          k, i, p;
    int             convolutional;
    /* channel 0 about .3, channel 1 about .6 and wider; pixel 5 never changes */
    for (i = 0; i < ROWS * SIZE; i++)
        rows[i] = i % SIZE == 5 ? 0.5f
                  : (vae_real)(i % 2 ? test_uniform(&random, 0.3, 0.9) : test_uniform(&random, 0.2, 0.4));
    for (k = 0; k < 2; k++)
        for (convolutional = 0; convolutional < 2; convolutional++) {
            vae_config     config = { .input = { 1, 3, 2 }, .latent = 1, .encoder = { VAE_DENSE(2, VAE_TANH) },
                                      .threads = 1 };
            vae_fit_config fit = { .epochs = 1, .output_bias_from_data = 1 };
            vae_data       data = { .pixels = rows, .count = ROWS };
            vae_real       bias[2 * SIZE];
            const size_t   units = convolutional ? 2 : SIZE;
            vae_model     *model;
            config.likelihood = pairs[k];
            if (convolutional) {
                config.decoder[0] = VAE_DENSE_SHAPED(1, 3, 2, VAE_TANH);
                config.decoder[1] = VAE_CONV_1D(4, 3, 1, VAE_LINEAR);
            }
            model = make(&config);
            CHECK(vae_set_learning_rate(model, 0, NULL) == VAE_OK);
            CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
            CHECK(vae_get_tensor(model, convolutional ? "decoder.3.bias" : "decoder.2.bias", bias, 2 * units, NULL) ==
                  VAE_OK);
            for (p = 0; p < units; p++) {       /* channel first */
                double sum = 0, squares = 0, variance, wanted;
                size_t count = 0;
                for (i = 0; i < ROWS * SIZE; i++) {
                    if (convolutional ? i % 2 != p : i % SIZE != p % 3 * 2 + p / 3) continue;
                    sum += (double)rows[i];
                    squares += (double)rows[i] * (double)rows[i];
                    count++;
                }
                sum /= (double)count;
                variance = squares / (double)count - sum * sum;
                wanted = k ? log(sqrt(3 * variance) / 3.14159265358979) : log(variance);
                if (variance < 1e-9) wanted = k ? -8 : -12;
                CHECK_NEAR(bias[p], sum, 1e-5);
                CHECK_NEAR(bias[units + p], wanted, 1e-3);
            }
            vae_destroy(model);
        }
}

/* Rows whose noise grows along them: the spread that is predicted is the one they were made with, in the caller's units
   and through standardising, and one learned sigma fits them worse. */
TEST(test_predicted_spread_is_learned) {
    enum { ROWS = 4000, SIZE = 4 };
    static vae_real rows[ROWS * SIZE];
    static const double sigmas[SIZE] = { 0.02, 0.1, 0.5, 2 };
    test_random     random = { 11 };
    vae_terms       terms[2];
    size_t          i;
    int             predicted, standardize;
    for (i = 0; i < ROWS * SIZE; i++) {
        const double u = test_uniform(&random, 1e-9, 1), t = test_uniform(&random, 0, 6.283185307);
        rows[i] = (vae_real)(3 + sigmas[i % SIZE] * sqrt(-2 * log(u)) * cos(t));
    }
    for (standardize = 0; standardize < 2; standardize++) {
        double best = 0;
        for (predicted = 0; predicted < 2; predicted++) {
            vae_config     config = { .input = { 1, SIZE, 1 }, .latent = 1, .encoder = { VAE_DENSE(8, VAE_TANH) },
                                      .threads = 1 };
            vae_fit_config fit = { .epochs = 12, .output_bias_from_data = 1 };
            vae_data       data = { .pixels = rows, .count = ROWS };
            vae_model     *model;
            double         score, each[SIZE];
            config.likelihood = predicted ? VAE_GAUSSIAN_PREDICTED : VAE_GAUSSIAN;
            config.standardize = standardize;
            config.optimizer.learning_rate = 5e-3f;
            config.optimizer.schedule.kind = VAE_COSINE;
            config.optimizer.schedule.steps = 12 * 32;
            model = make(&config);
            CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
            CHECK(vae_elbo(model, &data, &terms[predicted], NULL, NULL) == VAE_OK);
            data.count = 1;
            CHECK(vae_score(model, &data, &nats, &score, NULL) == VAE_OK &&
                  vae_score_numbers(model, &data, &nats, each, NULL) == VAE_OK);
            CHECK_NEAR(each[0] + each[1] + each[2] + each[3], score, 1e-5 * (1 + fabs(score)));
            vae_destroy(model);
        }
        for (i = 0; i < SIZE; i++) best -= 0.5 + log(sigmas[i]) + 0.918938533204672742;       /* minus the entropy */
        if (standardize) CHECK_NEAR(terms[1].elbo, best, 0.03);
        else CHECK(terms[1].elbo < best && terms[1].elbo > terms[0].elbo + 2);
    }
}

/* ---- drawn pixels ---- */

enum { DRAWS = 40000, LIKELIHOODS = 6 };

/* P(X <= x) of what is drawn, just below x where `below`. */
static double share_up_to(vae_likelihood likelihood, double x, int below, double l, double v) {
    switch (likelihood) {
    case VAE_BERNOULLI: return x >= 1 && !below ? 1 : x <= 0 && below ? 0 : 1 / (1 + exp(l));
    case VAE_CONTINUOUS_BERNOULLI: return fabs(l) < 1e-6 ? x : expm1(l * x) / expm1(l);
    case VAE_GAUSSIAN: return erfc(-(x - l) / 0.25 / sqrt(2)) / 2;
    case VAE_GAUSSIAN_PREDICTED: return erfc(-(x - l) / exp(fmin(fmax(v, -12), 40) / 2) / sqrt(2)) / 2;
    case VAE_LAPLACE: return x < l ? exp((x - l) / 0.25) / 2 : 1 - exp((l - x) / 0.25) / 2;
    default: break;
    }
    if (x >= 1 && !below) return 1;
    if (x <= 0 && below) return 0;
    return 1 / (1 + exp(-((floor(255 * x + 0.5) + (below ? -0.5 : 0.5)) / 255 - l) / exp(fmin(fmax(v, -8), 4))));
}

static int compare(const void *a, const void *b) {
    const vae_real x = *(const vae_real *)a, y = *(const vae_real *)b;
    return x < y ? -1 : x > y;
}

/* The largest distance between the distribution functions drawn and exact (Kolmogorov and Smirnov): over 2.6 times the
   root of the number it is by chance in one case of 380,000. */
TEST(test_drawn_pixels_have_their_distribution) {
    static const double at[][2] = { { 0, 0 }, { 0.4, -3 }, { 1.3, -1 }, { -2, 1 }, { 0.99, -6 }, { 1e-7, -9 },
                                    { 6, 5 }, { -30, -20 }, { 60, 2 } };
    static vae_real drawn[DRAWS], z[DRAWS];
    size_t          i, p;
    int             k;
    for (k = VAE_BERNOULLI; k <= LIKELIHOODS; k++) {
        vae_model *model = constant_decoder((vae_likelihood)k, VAE_KERNELS_BEST, one_pixel);
        for (p = 0; p < sizeof at / sizeof *at; p++) {
            const vae_real    bias[2] = { (vae_real)at[p][0], (vae_real)at[p][1] };
            const vae_latents latents = { .z = z, .count = DRAWS };
            double            largest = 0, off;
            set(model, "decoder.0.bias", bias, k >= VAE_GAUSSIAN_PREDICTED ? 2 : 1);
            CHECK(vae_draw(model, &latents, drawn, NULL) == VAE_OK);
            qsort(drawn, DRAWS, sizeof *drawn, compare);
            for (i = 0; i < DRAWS; i++) {
                const double x = (double)drawn[i];
                /* of equal ones the first and the last count */
                if (!i || drawn[i - 1] < drawn[i]) {
                    off = fabs((double)i / DRAWS -
                               share_up_to((vae_likelihood)k, x, 1, (double)bias[0], (double)bias[1]));
                    if (!(off <= largest)) largest = off;
                }
                if (i + 1 == DRAWS || drawn[i] < drawn[i + 1]) {
                    off = fabs((double)(i + 1) / DRAWS -
                               share_up_to((vae_likelihood)k, x, 0, (double)bias[0], (double)bias[1]));
                    if (!(off <= largest)) largest = off;
                }
            }
            if (!CHECK(largest < 2.6 / sqrt(DRAWS))) printf("    likelihood %d, case %d: %g\n", k, (int)p, largest);
        }
        vae_destroy(model);
    }
}

/* Their mean is the mean pixel and their variance the likelihood's, within five standard errors, for every pixel of a
   row with its own outputs, sigmas and units; and neighbours are independent. */
TEST(test_moments_of_drawn_pixels) {
    enum { SIZE = 18, ROWS = 8000 };
    static vae_real drawn[ROWS * SIZE], z[ROWS];
    int             k, way;
    size_t          i, r;
    for (k = VAE_BERNOULLI; k <= LIKELIHOODS; k++)
        for (way = 0; way < 2; way++) {
            const int         two = k >= VAE_GAUSSIAN_PREDICTED, sigma = k == VAE_GAUSSIAN || k == VAE_LAPLACE;
            vae_config        config = { .input = { 3, 2, 3 }, .latent = 1, .encoder = { VAE_DENSE(1, VAE_LINEAR) },
                                         .threads = 1, .seed = 9 };
            const vae_latents latents = { .z = z, .count = ROWS }, single = { .z = z, .count = 1 };
            vae_model        *model;
            vae_real          bias[2 * SIZE], spread[SIZE], scale[SIZE], mean[SIZE];
            double            sums[SIZE], squares[SIZE], products = 0;
            config.likelihood = (vae_likelihood)k;
            config.decoder[0] = VAE_DENSE(SIZE * (1 + two), VAE_LINEAR);
            config.layout = way ? VAE_CHANNELS_FIRST : VAE_CHANNELS_LAST;
            config.sigma_per_pixel = way && sigma;
            config.sigma = sigma && !way ? 0.25f : 0;
            config.standardize = way && (sigma || k == VAE_GAUSSIAN_PREDICTED);
            model = make(&config);
            fill(model, "decoder.0.weight", SIZE * (size_t)(1 + two), 0);
            for (i = 0; i < SIZE; i++) {
                bias[i] = (vae_real)(0.5 + 0.4 * sin((double)i));
                bias[SIZE + i] = (vae_real)(-2.5 + cos(5 * (double)i));
                spread[i] = (vae_real)(-1 + 0.3 * sin(3 * (double)i));
                scale[i] = (vae_real)(2 + cos((double)i));
            }
            set(model, "decoder.0.bias", bias, SIZE * (size_t)(1 + two));
            if (config.sigma_per_pixel) set(model, "log_sigma", spread, SIZE);
            if (config.standardize) {
                set(model, "standardize.scale", scale, SIZE);
                set(model, "standardize.mean", scale, SIZE);
            }
            CHECK(vae_decode(model, &single, mean, NULL) == VAE_OK);
            CHECK(vae_draw(model, &latents, drawn, NULL) == VAE_OK);
            for (i = 0; i < SIZE; i++) {
                /* PyTorch's order of this pixel, in which the tensors above stand */
                const size_t t = way ? i : i % 3 * 6 + i / 3;
                const double l = (double)bias[t], v = (double)bias[SIZE + t];
                const double units = config.standardize ? (double)scale[t] : 1,
                             own = way ? exp((double)spread[t]) : 0.25;
                double       variance = 0, fourth = 4.2, s;
                int          level;
                sums[i] = squares[i] = 0;
                for (r = 0; r < ROWS; r++) {
                    const double off = (double)drawn[r * SIZE + i] - (double)mean[i];
                    sums[i] += off / ROWS;
                    squares[i] += off * off / ROWS;
                    if (i)
                        products += off * ((double)drawn[r * SIZE + i - 1] - (double)mean[i - 1]) /
                                    sqrt(squares[i - 1]) / (ROWS * SIZE);
                }
                s = exp(v);
                if (k == VAE_BERNOULLI) variance = 1 / (1 + exp(-l)) / (1 + exp(l));
                if (k == VAE_CONTINUOUS_BERNOULLI)
                    variance = fabs(l) < 0.05 ? 1.0 / 12 : 1 / (l * l) - 1 / (2 * cosh(l) - 2);
                if (k == VAE_GAUSSIAN) variance = own * own;
                if (k == VAE_LAPLACE) variance = 2 * own * own, fourth = 6;
                if (k == VAE_GAUSSIAN_PREDICTED) variance = s;
                for (level = 0; k == VAE_DISCRETIZED_LOGISTIC && level < 256; level++) {
                    const double off = level / 255.0 - (double)mean[i];
                    variance += off * off *
                                exp(-nats_of(VAE_DISCRETIZED_LOGISTIC, level / 255.0, (double)l, (double)v));
                }
                variance *= units * units;
                CHECK_NEAR(sums[i], 0, 5 * sqrt(variance / ROWS));
                CHECK_NEAR(squares[i] / variance, 1, 5 * sqrt((fourth + 1) / ROWS) + 0.002);
            }
            CHECK(fabs(products) < 5 / sqrt(ROWS * SIZE) * 2);
            vae_destroy(model);
        }
}

/* The same pixels for any number of threads, batch and kernel set's kind, in one call or many; new ones at each call;
   their count goes with a checkpoint, and vae_sample_with draws its z as vae_sample does. */
TEST(test_draws_are_reproducible) {
    enum { ROWS = 90, SIZE = 84, WAYS = 5 };
    static vae_real drawn[WAYS][ROWS * SIZE], more[ROWS * SIZE], z[ROWS * 3], means[2][ROWS * SIZE];
    static const size_t batches[WAYS] = { 40, 40, 7, 1, 40 };
    vae_sample_config draw = { .kind = VAE_SAMPLE_DRAW }, mean = { .kind = VAE_SAMPLE_MEAN };
    vae_latents       latents = { .z = z, .count = ROWS }, none = { 0 };
    size_t            i;
    int               k, which, way;
    for (i = 0; i < ROWS * 3; i++) z[i] = (vae_real)sin((double)i * 1.3);
    for (k = VAE_BERNOULLI; k <= LIKELIHOODS; k++)
        for (which = 0; which < 4; which++)
            for (way = 0; way < WAYS; way++) {
                vae_config config = network(which, (vae_likelihood)k);
                vae_model *model, *view = NULL;
                vae_state  state;
                config.batch = batches[way];
                config.threads = 1;
                if (way == 1) {
                    config.threads = 3;
                    config.parallel.run = run_backwards;
                }
                model = make(&config);
                if (way != 4) CHECK(vae_draw(model, &latents, drawn[way], NULL) == VAE_OK);
                for (i = 0; way == 4 && i < ROWS; i += 9) {
                    vae_latents few = { .z = z + 3 * i, .count = 9 };
                    CHECK(vae_draw(model, &few, drawn[way] + i * SIZE, NULL) == VAE_OK);
                }
                CHECK(!memcmp(drawn[way], drawn[0], sizeof drawn[0]));
                CHECK(vae_draw(model, &none, NULL, NULL) == VAE_OK);
                vae_get_state(model, &state);
                CHECK(state.samples_drawn == ROWS);
                CHECK(vae_draw(model, &latents, more, NULL) == VAE_OK && memcmp(more, drawn[0], sizeof more));
                /* the z of both are the same, and a mean is a mean */
                CHECK(vae_create_view(model, NULL, &view, NULL) == VAE_OK);
                CHECK(vae_sample(view, ROWS, means[0], NULL) == VAE_OK);
                vae_destroy(view);
                CHECK(vae_create_view(model, NULL, &view, NULL) == VAE_OK);
                CHECK(vae_sample_with(view, ROWS, way % 2 ? &mean : NULL, means[1], NULL) == VAE_OK);
                CHECK(!memcmp(means[0], means[1], sizeof means[0]));
                vae_destroy(view);
                CHECK(vae_create_view(model, NULL, &view, NULL) == VAE_OK);
                CHECK(vae_sample_with(view, ROWS, &draw, more, NULL) == VAE_OK);
                vae_destroy(view);
                CHECK(vae_create_view(model, NULL, &view, NULL) == VAE_OK);
                CHECK(vae_sample_latent(view, ROWS, z, NULL) == VAE_OK);
                vae_destroy(view);
                CHECK(vae_create_view(model, NULL, &view, NULL) == VAE_OK);
                CHECK(vae_draw(view, &latents, means[1], NULL) == VAE_OK && !memcmp(more, means[1], sizeof more));
                vae_destroy(view);
                for (i = 0; i < ROWS * 3; i++) z[i] = (vae_real)sin((double)i * 1.3);
                for (i = 0; i < ROWS * SIZE; i++) {
                    const vae_real x = more[i];
                    if (k == VAE_BERNOULLI) CHECK(x == 0 || x == 1);
                    if (k == VAE_DISCRETIZED_LOGISTIC) CHECK(x == (vae_real)(int)(255 * x + (vae_real)0.5) / 255);
                    if (k == VAE_CONTINUOUS_BERNOULLI) CHECK(x > 0 && x < 1);
                }
                vae_destroy(model);
            }
}

/* Of a conditional model: vae_draw asks for labels, and they count; vae_sample_with takes vae_sample's, 0, 1, 0, ... */
TEST(test_draws_of_a_class) {
    int k;
    for (k = VAE_BERNOULLI; k <= LIKELIHOODS; k++) {
        vae_config        config = network(1, (vae_likelihood)k);
        vae_sample_config draw = { .kind = VAE_SAMPLE_DRAW };
        vae_model        *model, *view = NULL;
        vae_real          z[2 * 3], drawn[3][2 * 84];
        int               labels[2] = { 0, 1 };
        vae_latents       latents = { .z = z, .count = 2 };
        vae_error         error;
        config.classes = 2;
        model = make(&config);
        CHECK(vae_sample_latent(model, 2, z, NULL) == VAE_OK);
        CHECK(vae_create_view(model, NULL, &view, NULL) == VAE_OK);
        CHECK(vae_draw(view, &latents, drawn[0], &error) == VAE_ERROR_ARGUMENT);
        CHECK_CONTAINS(error.message, "vae_draw");
        latents.labels = labels;
        CHECK(vae_draw(view, &latents, drawn[0], &error) == VAE_OK);
        vae_destroy(view);
        CHECK(vae_create_view(model, NULL, &view, NULL) == VAE_OK);
        CHECK(vae_sample_with(view, 2, &draw, drawn[1], &error) == VAE_OK);
        CHECK(!memcmp(drawn[0], drawn[1], sizeof drawn[0]));
        vae_destroy(view);
        CHECK(vae_create_view(model, NULL, &view, NULL) == VAE_OK);
        labels[1] = 0;
        CHECK(vae_draw(view, &latents, drawn[2], &error) == VAE_OK);
        CHECK(!memcmp(drawn[0], drawn[2], 84 * sizeof(vae_real)));
        /* whose few values a fresh model hardly moves */
        if (k != VAE_BERNOULLI && k != VAE_DISCRETIZED_LOGISTIC)
            CHECK(memcmp(drawn[0] + 84, drawn[2] + 84, 84 * sizeof(vae_real)));
        vae_destroy(view);
        vae_destroy(model);
    }
}

TEST(test_draws_are_refused) {
    vae_config        config = network(1, VAE_DISCRETIZED_LOGISTIC);
    vae_sample_config wrong = { .kind = VAE_SAMPLE_DRAW };
    vae_model        *model = make(&config);
    vae_real          pixels[84], z[3] = { 0, NAN, 0 };
    vae_latents       latents = { .z = z, .count = 1 };
    vae_state         state;
    vae_error         error;
    int               k;
    wrong.kind = (vae_sample_kind)7;
    CHECK(vae_sample_with(model, 1, &wrong, pixels, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "how.kind is 7");
    CHECK(vae_sample_with(model, 1, NULL, NULL, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "vae_sample_with: model or pixels is NULL");
    CHECK(vae_sample_with(NULL, 1, NULL, pixels, &error) == VAE_ERROR_ARGUMENT);
    CHECK(vae_draw(model, NULL, pixels, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "vae_draw: ");
    CHECK(vae_draw(NULL, &latents, pixels, &error) == VAE_ERROR_ARGUMENT);
    CHECK(vae_draw(model, &latents, pixels, &error) == VAE_ERROR_DATA);
    CHECK_CONTAINS(error.message, "z of row 0, dimension 1 is not finite");
    vae_get_state(model, &state);
    CHECK(state.samples_drawn == 0);
    vae_destroy(model);
    config.part = VAE_ENCODER_ONLY;
    model = make(&config);
    z[1] = 0;
    CHECK(vae_draw(model, &latents, pixels, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "vae_draw needs the decoder");
    CHECK(vae_sample_with(model, 1, NULL, pixels, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "vae_sample_with needs the decoder");
    vae_destroy(model);
    /* Weights of 1e20 are finite; what they make is not, and nothing is counted. */
    for (k = VAE_BERNOULLI; k <= LIKELIHOODS; k++) {
        config = network(3, (vae_likelihood)k);
        model = make(&config);
        fill(model, "decoder.0.weight", 3 * 42, 1e20f);
        fill(model, "decoder.2.weight", 42 * (size_t)(k >= VAE_GAUSSIAN_PREDICTED ? 168 : 84), 1e20f);
        z[0] = 1;
        CHECK(vae_draw(model, &latents, pixels, &error) == VAE_ERROR_NUMERIC);
        CHECK_CONTAINS(error.message, "row 0: the result is not finite");
        vae_get_state(model, &state);
        CHECK(state.samples_drawn == 0);
        vae_destroy(model);
    }
}

int main(void) {
    RUN(test_pair_nats_and_means);
    RUN(test_levels_sum_to_one);
    RUN(test_predicted_integrates_to_one);
    RUN(test_places_of_pairs);
    RUN(test_extreme_outputs_train);
    RUN(test_same_bits_however);
    RUN(test_pairs_are_refused);
    RUN(test_first_biases_of_pairs);
    RUN(test_predicted_spread_is_learned);
    RUN(test_drawn_pixels_have_their_distribution);
    RUN(test_moments_of_drawn_pixels);
    RUN(test_draws_are_reproducible);
    RUN(test_draws_of_a_class);
    RUN(test_draws_are_refused);
    return test_finish();
}
