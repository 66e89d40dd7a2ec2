/* Likelihoods by themselves: their nats, means and integrals, log p(x) against integration, standardising, scores, and
   results that are not finite. */
#define VAE_PLAIN       /* plain C's kernels too */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <stdlib.h>
#include "test.h"
#include "model.h"

/* The last two take two numbers a pixel: see test_pixels.c. */
static const vae_likelihood all[] = { VAE_BERNOULLI, VAE_GAUSSIAN, VAE_LAPLACE, VAE_CONTINUOUS_BERNOULLI,
                                      VAE_GAUSSIAN_PREDICTED, VAE_DISCRETIZED_LOGISTIC };

/* The nats of a row at z = mean, without the KL. */
static const vae_score_config nats = { .kind = VAE_SCORE_RECONSTRUCTION };

static int has_sigma(vae_likelihood likelihood) { return likelihood == VAE_GAUSSIAN || likelihood == VAE_LAPLACE; }

/* log C of the continuous Bernoulli: log(l / tanh(l / 2)). */
static double log_normaliser(double l) {
    const double a = fabs(l);
    if (a < 1e-2) return log(2) + a * a / 12 - 7 * a * a * a * a / 1440;
    return log(a) + log1p(exp(-a)) - log1p(-exp(-a));
}

/* -log p(x | l) */
static double nats_of(vae_likelihood likelihood, double x, double l, double sigma) {
    const double bernoulli = fmax(l, 0) - l * x + log1p(exp(-fabs(l)));
    if (likelihood == VAE_BERNOULLI) return bernoulli;
    if (likelihood == VAE_CONTINUOUS_BERNOULLI) return bernoulli - log_normaliser(l);
    if (likelihood == VAE_LAPLACE) return fabs(x - l) / sigma + log(2 * sigma);
    return (x - l) * (x - l) / (2 * sigma * sigma) + log(sigma) + 0.918938533204672741780329736406;
}

/* E[x | l] */
static double mean_of(vae_likelihood likelihood, double l) {
    const double a = fabs(l);
    double       low;
    if (has_sigma(likelihood)) return l;
    if (likelihood == VAE_BERNOULLI) return 1 / (1 + exp(-l));
    low = a < 1e-2 ? 0.5 - a / 12 + a * a * a / 720 : 1 / a - exp(-a) / -expm1(-a);
    return l < 0 ? low : 1 - low;
}

/* A decoder that ignores z: the outputs are its bias. The posterior is the prior. */
static vae_model *constant_decoder(vae_likelihood likelihood, vae_real sigma, vae_kernels kernels, int pixels) {
    vae_config config = { .input = { 1, pixels, 1 }, .latent = 1, .encoder = { VAE_DENSE(1, VAE_LINEAR) },
                          .decoder = { VAE_DENSE(pixels, VAE_LINEAR) }, .kernels = kernels, .threads = 1 };
    vae_model *model;
    config.likelihood = likelihood;
    config.sigma = has_sigma(likelihood) ? sigma : 0;
    model = make(&config);
    fill(model, "decoder.0.weight", (size_t)pixels, 0);
    return model;
}

TEST(test_nats_and_means) {
    static const double outputs[] = { 0, 1e-6, -1e-4, 1e-3, -0.01, 0.1, -0.3, 0.49, 0.51, -0.9, 0.999, 1, -1.001, 2,
                                      -3, 5, -8, 12, -17, 20, -30, 60, -88, 89, 100, -1000, 1e4, -1e4 };
    static const double pixels[] = { 0, 1, 0.5, 0.25, 0.999, 1e-3, 1.0 / 255, 1e-30 };
    size_t              k, i, j;
    int                 kernels;
    for (kernels = VAE_KERNELS_PLAIN; kernels <= VAE_KERNELS_NEON; kernels++)
        for (k = 0; k < 4 && vae_kernels_available((vae_kernels)kernels); k++) {
            vae_model *model = constant_decoder(all[k], 0.25f, (vae_kernels)kernels, 1);
            for (i = 0; i < sizeof outputs / sizeof *outputs; i++) {
                const vae_real    l = (vae_real)outputs[i], z = 0;
                const vae_latents latents = { .z = &z, .count = 1 };
                vae_real          mean = -1;
                set(model, "decoder.0.bias", &l, 1);
                CHECK(vae_decode(model, &latents, &mean, NULL) == VAE_OK);
                CHECK_NEAR(mean, mean_of(all[k], (double)l), 5e-7 * fabs(mean_of(all[k], (double)l)) + 1e-37);
                for (j = 0; j < sizeof pixels / sizeof *pixels; j++) {
                    const vae_real x = (vae_real)pixels[j];
                    const vae_data data = { .pixels = &x, .count = 1 };
                    const double   exact = nats_of(all[k], (double)x, (double)l, 0.25);
                    double         score = -1;
                    CHECK(vae_score(model, &data, &nats, &score, NULL) == VAE_OK);
                    /* l x is rounded in some sets; all else keeps its relative precision */
                    CHECK_NEAR(score, exact, 2e-6 * fabs(exact) + 3e-7 * (1 + fabs((double)(l * x))));
                }
            }
            vae_destroy(model);
        }
}

/* Many pixels, so that no vector's end is left out. */
TEST(test_sums_and_ends) {
    int    n, i;
    size_t k;
    for (k = 0; k < 4; k++)
        for (n = 1; n < 300; n += n < 40 ? 1 : 37) {
            vae_model  *model = constant_decoder(all[k], 0.5f, VAE_KERNELS_BEST, n);
            vae_real    outputs[300], pixels[300], means[300], z = 0;
            double      exact = 0, score = 0;
            vae_data    data = { .pixels = pixels, .count = 1 };
            vae_latents latents = { .z = &z, .count = 1 };
            for (i = 0; i < n; i++) {
                outputs[i] = (vae_real)(4 * sin(i + n));
                pixels[i] = (vae_real)(0.5 + 0.5 * cos(3 * i + n));
                exact += nats_of(all[k], (double)pixels[i], (double)outputs[i], 0.5);
            }
            set(model, "decoder.0.bias", outputs, (size_t)n);
            CHECK(vae_score(model, &data, &nats, &score, NULL) == VAE_OK);
            CHECK_NEAR(score, exact, 2e-6 * (n + fabs(exact)));
            CHECK(vae_decode(model, &latents, means, NULL) == VAE_OK);
            for (i = 0; i < n; i++)
                CHECK_NEAR(means[i], mean_of(all[k], (double)outputs[i]), 1e-6 * (1 + fabs((double)outputs[i])));
            vae_destroy(model);
        }
}

/* Densities integrate to 1, and their first moment is the mean pixel: by the midpoint rule over rows of one pixel. */
TEST(test_densities_integrate_to_one) {
    static const double outputs[] = { 0, 0.02, -0.4, 0.7, 1.3, -6, 25 };
    enum { POINTS = 20000 };
    static vae_real pixels[POINTS];
    static double   scores[POINTS];
    size_t          k, i, p;
    for (k = 1; k < 4; k++) {
        vae_model *model = constant_decoder(all[k], 0.3f, VAE_KERNELS_BEST, 1);
        for (i = 0; i < sizeof outputs / sizeof *outputs; i++) {
            const vae_real l = (vae_real)outputs[i], z = 0;
            const double   low = has_sigma(all[k]) ? outputs[i] - 9 : 0, high = has_sigma(all[k]) ? outputs[i] + 9 : 1;
            vae_data       data = { .pixels = pixels, .count = POINTS };
            vae_latents    latents = { .z = &z, .count = 1 };
            vae_real       mean = 0;
            double         sum = 0, moment = 0;
            set(model, "decoder.0.bias", &l, 1);
            for (p = 0; p < POINTS; p++) pixels[p] = (vae_real)(low + (high - low) * ((double)p + 0.5) / POINTS);
            CHECK(vae_score(model, &data, &nats, scores, NULL) == VAE_OK);
            CHECK(vae_decode(model, &latents, &mean, NULL) == VAE_OK);
            for (p = 0; p < POINTS; p++) {
                sum += exp(-scores[p]) * (high - low) / POINTS;
                moment += exp(-scores[p]) * (double)pixels[p] * (high - low) / POINTS;
            }
            CHECK_NEAR(sum, 1, 2e-5);
            CHECK_NEAR(moment, mean, 2e-5 * (1 + fabs(outputs[i])));
        }
        vae_destroy(model);
    }
}

/* log p(x) of one latent dimension against integration over z, within five standard errors (one in 1.7 million), which
   come from the weights' own variance: the integral of (p(x, z))^2 / q(z). */
TEST(test_log_likelihood_is_the_integral) {
    static const vae_real weight[2] = { 1.2f, -0.7f }, bias[2] = { 0.3f, 0.4f };
    static const vae_real rows[3][2] = { { 0.1f, 0.9f }, { 0.5f, 0.4f }, { 1, 0 } };
    enum { SAMPLES = 20000 };
    size_t k, r;
    for (k = 0; k < 4; k++) {
        vae_config config = { .input = { 1, 2, 1 }, .latent = 1, .encoder = { VAE_DENSE(1, VAE_LINEAR) }, .threads = 1,
                              .decoder = { VAE_DENSE(2, VAE_LINEAR) }, .seed = 3 };
        vae_model *model;
        double     each[3];
        vae_data   data = { .pixels = rows[0], .count = 3 };
        vae_real   mean[3], logvar[3];
        config.likelihood = all[k];
        config.sigma = has_sigma(all[k]) ? 0.6f : 0;
        model = make(&config);
        set(model, "decoder.0.weight", weight, 2);
        set(model, "decoder.0.bias", bias, 2);
        CHECK(vae_encode(model, &data, mean, logvar, NULL) == VAE_OK);
        CHECK(vae_log_likelihood(model, &data, SAMPLES, NULL, each, NULL) == VAE_OK);
        for (r = 0; r < 3; r++) {
            const double m = (double)mean[r], deviation = exp((double)logvar[r] / 2), h = 1e-3;
            double       p = 0, second = 0, z;
            for (z = -12; z < 12; z += h) {
                const double t = (z - m) / deviation;
                double       log_joint = -z * z / 2 - 0.918938533204672742,
                             log_q = -t * t / 2 - log(deviation) - 0.918938533204672742;
                int          i;
                for (i = 0; i < 2; i++)
                    log_joint -= nats_of(all[k], (double)rows[r][i],
                                         (double)weight[i] * (double)z + (double)bias[i], 0.6000000238);
                p += exp(log_joint) * h;
                second += exp(2 * log_joint - log_q) * h;
            }
            CHECK_NEAR(each[r], log(p), 5 * sqrt((second / (p * p) - 1) / SAMPLES) + 1e-6);
        }
        vae_destroy(model);
    }
}

/* output_bias_from_data: the outputs whose mean pixels are the data's. */
TEST(test_first_bias) {
    static const double means[] = { 0.5, 0.4999, 0.001, 0.03, 0.97, 0.6, 0.999 };
    size_t k, i;
    for (k = 0; k < 4; k++)
        for (i = 0; i < 7; i++)
            CHECK_NEAR(mean_of(all[k], (double)vaei_likelihoods[all[k]].bias_for_mean(means[i])), means[i], 1e-9);
    CHECK_NEAR(mean_of(VAE_CONTINUOUS_BERNOULLI, (double)vaei_bias_continuous_bernoulli(0)), 0.001, 1e-9);
}

/* f(x) of the activations, by the C library. */
static double activated(vae_activation activation, double x) {
    switch (activation) {
    case VAE_RELU: return x > 0 ? x : 0;
    case VAE_LEAKY_RELU: return x > 0 ? x : 0.01 * x;
    case VAE_SILU: return x / (1 + exp(-x));
    case VAE_GELU: return x / 2 * erfc(-x / sqrt(2));
    case VAE_TANH: return tanh(x);
    case VAE_SIGMOID: return 1 / (1 + exp(-x));
    case VAE_SOFTPLUS: return log1p(exp(x));
    default: return x;
    }
}

/* The same through the last activation, and beyond its range the nearest that still learns. */
TEST(test_first_bias_through_an_activation) {
    static const double means[] = { 0.25, 0.9, 0.05, 300, -40, 0, 1 };
    static const double least[] = { -1e9, 0, -1e9, -0.2785, -0.17, -0.998, 0.001, 0.001 };
    static const double most[] = { 1e9, 1e9, 1e9, 1e9, 1e9, 0.998, 0.999, 1e9 };
    vae_real rows[4 * 7], bias[7];
    unsigned i, kind;
    for (i = 0; i < 28; i++) rows[i] = (vae_real)(means[i % 7] * (i < 7 ? 0.5 : i < 14 ? 1.5 : 1));
    for (kind = VAE_LINEAR; kind <= VAE_SOFTPLUS; kind++) {
        vae_config     config;
        vae_data       data;
        vae_fit_config fit;
        vae_model     *model;
        memset(&config, 0, sizeof config);
        memset(&data, 0, sizeof data);
        memset(&fit, 0, sizeof fit);
        config.input.height = config.input.channels = 1;
        config.input.width = 7;
        config.latent = 2;
        config.batch = 4;
        config.encoder[0] = VAE_DENSE(5, VAE_TANH);
        config.decoder[0] = VAE_DENSE(5, VAE_TANH);
        config.decoder[1] = VAE_DENSE(7, (vae_activation)kind);
        config.likelihood = VAE_GAUSSIAN;
        model = make(&config);
        data.pixels = rows;
        data.count = 4;
        fit.epochs = 1;
        fit.output_bias_from_data = 1;
        CHECK(vae_set_learning_rate(model, 0, NULL) == VAE_OK);
        CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
        CHECK(vae_get_tensor(model, "decoder.2.bias", bias, 7, NULL) == VAE_OK);
        for (i = 0; i < 7; i++) {
            const double given = activated((vae_activation)kind, (double)bias[i]);
            const double wanted = fmin(fmax(means[i], least[kind - 1]), most[kind - 1]);
            if (!CHECK(fabs(given - wanted) <= 1e-4 * (1 + fabs(wanted))))
                printf("    activation %u, mean %g: bias %g gives %g\n", kind, means[i], (double)bias[i], given);
        }
        vae_destroy(model);
    }
}

/* ---- scores ---- */

/* "Threads" one after the other, the last first. */
static void run_backwards(void *user, vae_task task, void *context, size_t count) {
    (void)user;
    while (count) task(context, --count);
}

/* Of three kinds, at z = mean; they depend on the row alone, to the last bit. */
TEST(test_scores_depend_on_the_row_alone) {
    enum { ROWS = 230, SIZE = 21 };
    static vae_real pixels[ROWS * SIZE], moved[ROWS * SIZE];
    static double   first[3][ROWS], made[ROWS];
    static const size_t batches[] = { 1, 3, 32, 128, 1000 };
    size_t              k, b, i;
    int                 kind, threads, convolutional;
    for (i = 0; i < ROWS * SIZE; i++) pixels[i] = (vae_real)(0.5 + 0.5 * sin(1.7 * (double)i * (double)(i % 7)));
    for (i = 0; i < ROWS; i++) memcpy(moved + (i * 7 + 5) % ROWS * SIZE, pixels + i * SIZE, SIZE * sizeof *pixels);
    for (k = 0; k < 6; k++)
        for (convolutional = 0; convolutional < 2; convolutional++)
            for (b = 0; b < 5; b++)
                for (threads = 1; threads < 4; threads += 2) {
                    vae_config config = { .input = { 7, 3, 1 }, .latent = 5, .encoder = { VAE_DENSE(33, VAE_SILU) },
                                          .seed = 2 };
                    vae_model *model;
                    if (convolutional) config.encoder[0] = VAE_CONV(5, 3, 2, VAE_GELU);
                    config.likelihood = all[k];
                    config.sigma = has_sigma(all[k]) ? 0.4f : 0;
                    config.batch = batches[b];
                    config.threads = threads;
                    config.parallel.run = run_backwards;
                    model = make(&config);
                    for (kind = 0; kind < 3; kind++) {
                        vae_score_config score = { .kind = VAE_SCORE_DEFAULT };
                        vae_data         data = { .pixels = pixels, .count = ROWS };
                        score.kind = (vae_score_kind)(kind + 1);
                        CHECK(vae_score(model, &data, &score, made, NULL) == VAE_OK);
                        if (!b && threads == 1) memcpy(first[kind], made, sizeof made);
                        CHECK(!memcmp(made, first[kind], sizeof made));
                        data.pixels = moved;
                        CHECK(vae_score(model, &data, &score, made, NULL) == VAE_OK);
                        for (i = 0; i < ROWS; i++) CHECK(made[(i * 7 + 5) % ROWS] == first[kind][i]);
                        data.count = 1;
                        for (i = 0; i < ROWS; i += 29) {
                            data.pixels = pixels + i * SIZE;
                            CHECK(vae_score(model, &data, &score, made, NULL) == VAE_OK);
                            CHECK(made[0] == first[kind][i]);
                        }
                    }
                    if (!b && threads == 1) {       /* and they are what they are said to be */
                        vae_data data = { .pixels = pixels, .count = ROWS };
                        vae_real mean[ROWS * 5], logvar[ROWS * 5], *seen = (vae_real *)malloc(sizeof pixels);
                        size_t   j;
                        CHECK(vae_encode(model, &data, mean, logvar, NULL) == VAE_OK);
                        CHECK(vae_reconstruct(model, &data, seen, NULL) == VAE_OK);
                        for (i = 0; i < ROWS; i++) {
                            double kl = 0, squares = 0;
                            for (j = 0; j < 5; j++)
                                kl += ((double)mean[i * 5 + j] * (double)mean[i * 5 + j] +
                                       exp((double)logvar[i * 5 + j]) - 1 -
                                       (double)logvar[i * 5 + j]) / 2;
                            for (j = 0; j < SIZE; j++)
                                squares += pow((double)pixels[i * SIZE + j] - (double)seen[i * SIZE + j], 2);
                            CHECK_NEAR(first[0][i] - first[1][i], kl, 1e-6 * (1 + kl));
                            CHECK_NEAR(first[2][i], squares, 1e-5);
                            if (all[k] == VAE_GAUSSIAN)
                                CHECK_NEAR(first[1][i], squares / 0.32 + SIZE * (0.91893853320467 + log(0.4)), 1e-4);
                        }
                        free(seen);
                    }
                    vae_destroy(model);
                }
}

/* ---- standardising ---- */

/* The model with standardize is the model of the data brought to scale by hand: its nats less the change of scale, its
   pixels in the caller's units, as pixels and as bytes, whatever the layout. */
TEST(test_standardized_model_is_the_scaled_one) {
    enum { ROWS = 60, PIXELS = 12, SIZE = 2 * PIXELS };
    static vae_real      pixels[ROWS * SIZE], scaled[ROWS * SIZE], made[ROWS * SIZE], expected[ROWS * SIZE];
    static unsigned char bytes[ROWS * SIZE];
    test_random          random = { 8 };
    size_t               i, j;
    int                  as_bytes, layout;
    for (layout = VAE_CHANNELS_LAST; layout <= VAE_CHANNELS_FIRST; layout++)
        for (as_bytes = 0; as_bytes < 2; as_bytes++) {
            vae_config config = { .input = { 4, 3, 2 }, .latent = 3, .encoder = { VAE_CONV(4, 3, 2, VAE_SILU) },
                                  .threads = 1, .likelihood = VAE_GAUSSIAN, .seed = 4, .sigma_per_pixel = 1 };
            vae_model *model, *plain;
            vae_data   data = { .count = ROWS }, by_hand = { .pixels = scaled, .count = ROWS };
            vae_terms  a, b;
            double     log_scale = 0, scores[2][ROWS], scale[SIZE], mean[SIZE];
            vae_score_config squares = { .kind = VAE_SCORE_SQUARED_ERROR };
            vae_error  error;
            for (i = 0; i < ROWS * SIZE; i++) {
                bytes[i] = (unsigned char)test_integer(&random, 0, 200);
                pixels[i] = as_bytes ? (vae_real)bytes[i] / 255
                                     : (vae_real)(test_uniform(&random, -1, 1) * pow(10, (double)(i % SIZE) / 6 - 2) +
                                                  3000);
                if (i % SIZE == 5) { pixels[i] = as_bytes ? (vae_real)17 / 255 : -7; bytes[i] = 17; }     /* constant */
            }
            for (j = 0; j < SIZE; j++) {
                double variance = 0;
                for (mean[j] = 0, i = 0; i < ROWS; i++) mean[j] += (double)pixels[i * SIZE + j] / ROWS;
                for (i = 0; i < ROWS; i++) variance += pow((double)pixels[i * SIZE + j] - mean[j], 2) / ROWS;
                scale[j] = j == 5 ? 1 : sqrt(variance);
                log_scale += log(scale[j]);
                for (i = 0; i < ROWS; i++)
                    scaled[i * SIZE + j] =
                        (vae_real)(((double)pixels[i * SIZE + j] - (double)(vae_real)mean[j]) / scale[j]);
            }
            config.layout = (vae_layout)layout;
            plain = make(&config);
            config.standardize = 1;
            model = make(&config);
            if (as_bytes) data.bytes = bytes;
            else data.pixels = pixels;
            CHECK(vae_standardize(model, &data, &error) == VAE_OK);
            {
                vae_real values[SIZE];          /* channel-first, as the file has them */
                CHECK(vae_get_tensor(model, "standardize.scale", values, SIZE, NULL) == VAE_OK);
                for (j = 0; j < SIZE; j++) {
                    const size_t own = layout == VAE_CHANNELS_FIRST ? j : j % PIXELS * 2 + j / PIXELS;
                    CHECK_NEAR(values[j], scale[own], 1e-6 * scale[own]);
                }
            }
            CHECK(vae_train_step(model, &data, &a, NULL) == VAE_OK);
            CHECK(vae_train_step(plain, &by_hand, &b, NULL) == VAE_OK);
            CHECK_NEAR(a.reconstruction, b.reconstruction + log_scale, 1e-5 * SIZE);
            CHECK(vae_elbo(model, &data, &a, NULL, NULL) == VAE_OK &&
                  vae_elbo(plain, &by_hand, &b, NULL, NULL) == VAE_OK);
            CHECK_NEAR(a.reconstruction, b.reconstruction + log_scale, 1e-4 * SIZE);
            CHECK_NEAR(a.kl, b.kl, 1e-4);
            CHECK(vae_log_likelihood(model, &data, 5, &scores[0][0], NULL, NULL) == VAE_OK);
            CHECK(vae_log_likelihood(plain, &by_hand, 5, &scores[1][0], NULL, NULL) == VAE_OK);
            CHECK_NEAR(scores[0][0], scores[1][0] - log_scale, 1e-4 * SIZE);
            CHECK(vae_score(model, &data, NULL, scores[0], NULL) == VAE_OK);
            CHECK(vae_score(plain, &by_hand, NULL, scores[1], NULL) == VAE_OK);
            for (i = 0; i < ROWS; i++) CHECK_NEAR(scores[0][i], scores[1][i] + log_scale, 1e-3);
            CHECK(vae_reconstruct(model, &data, made, NULL) == VAE_OK);
            CHECK(vae_reconstruct(plain, &by_hand, expected, NULL) == VAE_OK);
            for (i = 0; i < ROWS * SIZE; i++)
                CHECK_NEAR(made[i], (double)expected[i] * scale[i % SIZE] + mean[i % SIZE],
                           1e-4 * scale[i % SIZE] + 4e-7 * fabs(mean[i % SIZE]));
            CHECK(vae_score(model, &data, &squares, scores[0], NULL) == VAE_OK);
            for (i = 0; i < ROWS; i++) {
                double sum = 0;
                for (j = 0; j < SIZE; j++) sum += pow((double)pixels[i * SIZE + j] - (double)made[i * SIZE + j], 2);
                CHECK_NEAR(scores[0][i], sum, 1e-3 * sum);
            }
            vae_destroy(model);
            vae_destroy(plain);
        }
}

/* Constants have no place among the gradients; a scale divides. */
TEST(test_constants_are_guarded) {
    vae_config     config = { .input = { 1, 3, 1 }, .latent = 1, .encoder = { VAE_DENSE(2, VAE_TANH) }, .threads = 1,
                              .likelihood = VAE_GAUSSIAN, .standardize = 1 };
    vae_real       row[3] = { 0, 1, 2 }, values[3] = { 7, 7, 7 };
    const vae_data data = { .pixels = row, .count = 1 };
    vae_model     *model = make(&config);
    vae_error      error;
    CHECK(vae_standardize(model, &data, &error) == VAE_OK);
    CHECK(vae_accumulate_gradients(model, &data, NULL, NULL, &error) == VAE_OK);
    CHECK(vae_get_gradient(model, "standardize.mean", values, 3, &error) == VAE_ERROR_ARGUMENT);
    CHECK_TEXT(error.message, "tensor standardize.mean is not trained and has no gradient");
    CHECK(vae_get_gradient(model, "standardize.scale", values, 3, &error) == VAE_ERROR_ARGUMENT && values[0] == 7);
    CHECK(vae_get_gradient(model, "log_sigma", values, 1, &error) == VAE_OK);
    values[0] = values[1] = 1;
    for (values[2] = 0; values[2] >= -1; values[2] -= 1) {
        CHECK(vae_set_tensor(model, "standardize.scale", values, 3, &error) == VAE_ERROR_DATA);
        CHECK_CONTAINS(error.message, "value 2 for tensor standardize.scale is ");
    }
    CHECK(vae_get_tensor(model, "standardize.scale", values, 3, NULL) == VAE_OK && values[2] == 1);
    vae_destroy(model);
}

/* The second fit of a model whose first one failed at once is as if there had been no first. */
TEST(test_standardize_after_a_failed_fit) {
    static const vae_real far[6] = { 1000, 2000, 3000, 1100, 2300, 2900 };
    vae_config     config = { .input = { 1, 3, 1 }, .latent = 1, .encoder = { VAE_DENSE(2, VAE_TANH) }, .threads = 1,
                              .likelihood = VAE_GAUSSIAN, .standardize = 1, .batch = 2 };
    vae_real       near_[6] = { 0, 1, 0, 1, 3, 2 }, weights[6], numbers[2][6] = { { 0 } };
    vae_data       data = { .pixels = far, .count = 2 };
    vae_fit_config fit = { .epochs = 1 };
    vae_error      error;
    vae_model     *model = make(&config), *other = make(&config);
    size_t         size, again, i;
    CHECK(vae_get_tensor(model, "decoder.2.weight", weights, 6, NULL) == VAE_OK);
    for (i = 0; i < 6; i++) numbers[0][i] = (vae_real)1e30;
    CHECK(vae_save_memory(model, 1, NULL, 0, &size, NULL) == VAE_OK);
    CHECK(vae_set_tensor(model, "decoder.2.weight", numbers[0], 6, NULL) == VAE_OK);
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_NUMERIC);
    CHECK(vae_set_tensor(model, "decoder.2.weight", weights, 6, NULL) == VAE_OK);
    CHECK(vae_save_memory(model, 1, NULL, 0, &again, NULL) == VAE_OK && size == again);
    data.pixels = near_;
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_OK && vae_fit(other, &data, &fit, &error) == VAE_OK);
    for (i = 0; i < 2; i++) {
        CHECK(vae_get_tensor(i ? other : model, "standardize.mean", numbers[i], 3, NULL) == VAE_OK);
        CHECK(vae_get_tensor(i ? other : model, "standardize.scale", numbers[i] + 3, 3, NULL) == VAE_OK);
    }
    CHECK(!memcmp(numbers[0], numbers[1], sizeof numbers[0]) && numbers[0][1] == 2);
    vae_destroy(model);
    vae_destroy(other);
}

TEST(test_standardize_is_refused) {
    static vae_real pixels[8] = { 1, 2, 3, 4, 5, 6, 7, 9 };
    vae_config config = { .input = { 1, 2, 1 }, .latent = 1, .encoder = { VAE_DENSE(3, VAE_TANH) },
                          .likelihood = VAE_LAPLACE, .threads = 1, .batch = 4 };
    vae_data   data = { .pixels = pixels, .count = 4 }, validation = { .pixels = pixels, .count = 4 };
    vae_fit_config fit = { .epochs = 1 };
    vae_error  error;
    vae_real   values[2];
    vae_model *model = make(&config);
    CHECK(vae_standardize(model, &data, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "config.standardize");
    vae_destroy(model);
    config.standardize = 1;
    model = make(&config);
    /* a fit that is refused leaves no numbers behind */
    {
        static vae_real bad[8] = { 1, 2, 3, 4, 5, 6, 7, 1e38f };
        validation.pixels = bad;
        fit.validation = &validation;
        CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_DATA);
        CHECK_CONTAINS(error.message, "validation row 3, column 1 holds ");
        CHECK_CONTAINS(error.message, "standard deviations");
        CHECK(vae_get_tensor(model, "standardize.mean", values, 2, NULL) == VAE_OK && values[0] == 0 && values[1] == 0);
        fit.validation = NULL;
    }
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_OK);
    CHECK(vae_get_tensor(model, "standardize.mean", values, 2, NULL) == VAE_OK && values[0] == 4 && values[1] == 5.25f);
    CHECK(vae_standardize(model, &data, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "before the first");
    CHECK(vae_fit(model, &validation, &fit, &error) == VAE_ERROR_DATA);     /* with the numbers that it has */
    vae_destroy(model);
    /* numbers that are there already stay */
    model = make(&config);
    values[0] = values[1] = 2;
    set(model, "standardize.scale", values, 2);
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_OK);
    CHECK(vae_get_tensor(model, "standardize.scale", values, 2, NULL) == VAE_OK && values[0] == 2 && values[1] == 2);
    vae_destroy(model);
}

/* The three ways to a first step, each refused until means and scales are there. */
static vae_status first_step(vae_model *model, int way, const vae_data *data, vae_error *error) {
    const vae_share share = { 1, 9 };
    vae_status      status;
    if (way == 0) return vae_train_step(model, data, NULL, error);
    status = vae_accumulate_gradients(model, data, way == 2 ? &share : NULL, NULL, error);
    return status == VAE_OK ? vae_apply_gradients(model, error) : status;
}

/* A first step by hand does not take a fresh model's 0 and 1 for means and scales; but whoever gives these numbers has
   given them, and a model that has made a step goes on with what it has. */
TEST(test_first_step_needs_units) {
    enum { SIZE = 3, FILE_SIZE = 1 << 14 };
    static const char   *const calls[] = { "vae_train_step: ", "vae_accumulate_gradients: " };
    static unsigned char file[FILE_SIZE], weights[FILE_SIZE], fresh[FILE_SIZE];
    vae_config     config = { .input = { 1, SIZE, 1 }, .latent = 1, .encoder = { VAE_DENSE(2, VAE_TANH) }, .threads = 1,
                              .likelihood = VAE_GAUSSIAN, .standardize = 1, .batch = 2 };
    vae_real       zeros[2 * SIZE] = { 0 }, ones[SIZE] = { 1, 1, 1 }, rows[2 * SIZE] = { 1, 2, 3, 4, 6, 8 }, mean[SIZE];
    const vae_data data = { .pixels = rows, .count = 2 }, no_rows = { .pixels = rows, .count = 0 };
    const vae_data still = { .pixels = zeros, .count = 2 };
    const vae_share none = { 1, 9 };
    vae_fit_config fit = { .epochs = 1 };
    vae_error      error;
    vae_state      state;
    size_t         sizes[3];
    int            way, how;
    for (way = 0; way < 3; way++)
        for (how = 0; how < 8; how++) {
            vae_model *model = make(&config), *loaded = NULL;
            CHECK(vae_save_memory(model, 0, fresh, FILE_SIZE, &sizes[2], NULL) == VAE_OK);
            CHECK(vae_accumulate_gradients(model, &no_rows, &none, NULL, NULL) == VAE_OK);
            CHECK(first_step(model, way, &data, &error) == VAE_ERROR_ARGUMENT);
            CHECK_CONTAINS(error.message, calls[way > 0]);
            CHECK_CONTAINS(error.message, "call vae_standardize with the training data first");
            vae_get_state(model, &state);
            CHECK(state.step == 0);
            switch (how) {
            case 0: CHECK(vae_standardize(model, &data, NULL) == VAE_OK); break;
            case 1: CHECK(vae_standardize(model, &still, NULL) == VAE_OK); break;   /* gives 0 and 1 */
            case 2: set(model, "standardize.mean", zeros, SIZE); break;
            case 3: set(model, "standardize.scale", ones, SIZE); break;
            case 4:                                         /* a file of weights, without steps */
            case 5:                                         /* and what fits of it */
            case 6:                                         /* a checkpoint of no steps */
                CHECK(vae_standardize(model, &data, NULL) == VAE_OK);
                CHECK(vae_save_memory(model, 0, weights, FILE_SIZE, &sizes[0], NULL) == VAE_OK);
                CHECK(vae_save_memory(model, 1, file, FILE_SIZE, &sizes[1], NULL) == VAE_OK);
                if (how < 6) loaded = make(&config);
                if (how == 4) CHECK(vae_load_weights_memory(loaded, weights, sizes[0], NULL) == VAE_OK);
                if (how == 5) CHECK(vae_load_matching_memory(loaded, weights, sizes[0], NULL, NULL) == VAE_OK);
                if (how == 6) CHECK(vae_load_memory(file, sizes[1], NULL, &loaded, NULL) == VAE_OK);
                break;
            default:                                        /* a fit has made steps */
                CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
            }
            CHECK(first_step(loaded ? loaded : model, way, &data, &error) == VAE_OK);
            vae_destroy(loaded);
            /* A fresh model's file has no means and scales to take. */
            loaded = make(&config);
            CHECK(vae_load_weights_memory(loaded, fresh, sizes[2], NULL) == VAE_OK);
            CHECK(first_step(loaded, way, &data, &error) == VAE_ERROR_ARGUMENT);
            /* What was given, be it 0 and 1, stays in a fit; what a fit that made no step has found does not. */
            if (how == 2) set(loaded, "standardize.mean", zeros, SIZE);
            if (how == 3) {
                vae_data bad = data;
                vae_real far[2 * SIZE] = { 0, 0, 0, 0, 0, (vae_real)1e38 };
                bad.pixels = far;
                fit.validation = &bad;
                CHECK(vae_fit(loaded, &still, &fit, NULL) == VAE_ERROR_DATA);
                fit.validation = NULL;
                CHECK(first_step(loaded, way, &data, &error) == VAE_ERROR_ARGUMENT);
            }
            CHECK(vae_fit(loaded, &data, &fit, NULL) == VAE_OK);
            CHECK(vae_get_tensor(loaded, "standardize.mean", mean, SIZE, NULL) == VAE_OK);
            CHECK(mean[1] == (how == 2 ? 0 : 4));
            vae_destroy(loaded);
            vae_destroy(model);
        }
}

/* ---- bad data, and results that are not finite ---- */

TEST(test_sentences_about_data) {
    static const struct { vae_likelihood likelihood; vae_real value; const char *says; } cases[] = {
        { VAE_BERNOULLI, 2, "validation row 1, column 2 holds 2: VAE_BERNOULLI needs pixels in [0, 1]; divide bytes by "
                            "255, or give them as data.bytes, else divide them by their maximum, or use VAE_GAUSSIAN" },
        { VAE_BERNOULLI, 2.5f, "validation row 1, column 2 holds 2.5: VAE_BERNOULLI needs pixels in [0, 1]; divide "
                               "them by their maximum, or use VAE_GAUSSIAN" },
        { VAE_BERNOULLI, 256, "holds 256: VAE_BERNOULLI needs pixels in [0, 1]; divide them by their maximum" },
        { VAE_CONTINUOUS_BERNOULLI, -1, "validation row 1, column 2 holds -1: VAE_CONTINUOUS_BERNOULLI needs pixels in "
                                        "[0, 1]; shift and scale them, or use VAE_GAUSSIAN" },
        { VAE_BERNOULLI, 0, "validation row 1, column 2 holds NaN: pixels must be finite numbers" },
        { VAE_LAPLACE, 0, "validation row 1, column 2 holds NaN: pixels must be finite numbers" },
        { VAE_GAUSSIAN, 1.5e9f,
          "validation row 1, column 2 holds 1500000000: pixels must lie within -1e9 to 1e9; scale them, or "
                                "set config.standardize to 1" }
    };
    size_t k;
    for (k = 0; k < sizeof cases / sizeof *cases; k++) {
        vae_real       good[6] = { 0, 1, 0, 1, 1, 0 }, bad[6] = { 0, 1, 0, 1, 1, 0 };
        vae_config     config = { .input = { 1, 3, 1 }, .latent = 1, .encoder = { VAE_DENSE(3, VAE_TANH) },
                                  .threads = 1 };
        vae_data       data = { .pixels = good, .count = 2 }, validation = { .pixels = bad, .count = 2 };
        vae_fit_config fit = { .epochs = 1 };
        vae_error      error;
        vae_model     *model;
        config.likelihood = cases[k].likelihood;
        model = make(&config);
        bad[5] = cases[k].value;
        if (cases[k].value == 0) memset(&bad[5], 0xFF, sizeof bad[5]);
        fit.validation = &validation;
        CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_DATA);
        CHECK_CONTAINS(error.message, cases[k].says);
        CHECK(vae_fit(model, &validation, NULL, &error) == VAE_ERROR_DATA);
        CHECK_CONTAINS(error.message, cases[k].says + strlen("validation "));
        CHECK(!strncmp(error.message, "row 1", 5));
        vae_destroy(model);
    }
}

/* Where a number stands: in a line of numbers its column, in an image its place there. Bytes that came as floats are
   told what to do, and targets, which have no bytes, the half of it. */
TEST(test_sentences_about_places) {
    static const struct { vae_shape input; size_t at; const char *last, *first; } cases[] = {
        { { 1, 9, 1 }, 7, "column 7 ", "column 7 " },
        { { 9, 1, 1 }, 7, "column 7 ", "column 7 " },
        { { 1, 1, 9 }, 7, "column 7 ", "column 7 " },
        { { 1, 5, 2 }, 7, "x 3, channel 1 ", "x 2, channel 1 " },
        { { 4, 3, 1 }, 7, "y 2, x 1 ", "y 2, x 1 " },
        { { 3, 1, 3 }, 7, "y 2, x 0, channel 1 ", "y 1, x 0, channel 2 " },
        { { 16, 16, 3 }, 500, "y 10, x 6, channel 2 ", "y 15, x 4, channel 1 " }
    };
    static vae_real rows[2 * 768], targets[2 * 768];
    size_t k;
    int    first;
    for (k = 0; k < sizeof cases / sizeof *cases; k++)
        for (first = 0; first < 2; first++) {
            const vae_shape input = cases[k].input;
            const size_t at = (size_t)(input.height * input.width * input.channels) + cases[k].at;
            vae_config   config = { .latent = 1, .encoder = { VAE_DENSE(3, VAE_TANH) }, .threads = 1, .targets = 1 };
            vae_data     data = { .pixels = rows, .count = 2 };
            vae_error    error;
            vae_model   *model;
            char         says[300];
            config.input = input;
            config.layout = first ? VAE_CHANNELS_FIRST : VAE_CHANNELS_LAST;
            model = make(&config);
            rows[at] = 255;
            CHECK(vae_elbo(model, &data, NULL, NULL, &error) == VAE_ERROR_DATA);
            snprintf(says, sizeof says, "row 1, %sholds 255: VAE_BERNOULLI needs pixels in [0, 1]; divide bytes by "
                     "255, or give them as data.bytes, else divide them by their maximum, or use VAE_GAUSSIAN",
                     first ? cases[k].first : cases[k].last);
            CHECK_TEXT(error.message, says);
            rows[at] = 0;
            data.targets = targets;
            targets[at] = 17;
            CHECK(vae_elbo(model, &data, NULL, NULL, &error) == VAE_ERROR_DATA);
            snprintf(says, sizeof says, "target row 1, %sholds 17: VAE_BERNOULLI needs pixels in [0, 1]; divide bytes "
                     "by 255, else divide them by their maximum, or use VAE_GAUSSIAN",
                     first ? cases[k].first : cases[k].last);
            CHECK_TEXT(error.message, says);
            targets[at] = 0;
            vae_destroy(model);
        }
}

/* Weights of 1e20 are finite; what they make is not. */
TEST(test_results_that_are_not_finite) {
    enum { ROWS = 5, SIZE = 12 };
    size_t k, t;
    int    convolutional;
    for (k = 0; k < 4; k++)
        for (convolutional = 0; convolutional < 2; convolutional++)
            for (t = 0; t < 2; t++) {
                vae_config  config = { .input = { 4, 3, 1 }, .latent = 2, .encoder = { VAE_DENSE(5, VAE_LINEAR) },
                                       .threads = 1,
                                       .decoder = { VAE_DENSE(12, VAE_LINEAR), VAE_DENSE(12, VAE_LINEAR) },
                                       .batch = 2 };
                vae_real    pixels[ROWS * SIZE], out[ROWS * SIZE], z[ROWS * 2];
                vae_data    data = { .pixels = pixels, .count = ROWS };
                vae_latents latents = { .z = z, .count = ROWS };
                vae_terms   terms[ROWS];
                double      each[ROWS];
                vae_error   error;
                vae_model  *model;
                size_t      i;
                for (i = 0; i < ROWS * SIZE; i++) pixels[i] = i / SIZE < 3 ? 0 : 1;     /* rows 0 to 2 meet no weight */
                for (i = 0; i < ROWS * 2; i++) z[i] = i / 2 < 3 ? 0 : 1;
                if (convolutional) {
                    config.encoder[0] = VAE_CONV(5, 3, 2, VAE_LINEAR);
                    config.decoder[0] = VAE_DENSE_SHAPED(4, 3, 1, VAE_LINEAR);
                    config.decoder[1] = VAE_CONV(1, 1, 1, VAE_LINEAR);
                }
                config.likelihood = all[k];
                config.sigma = has_sigma(all[k]) ? 1 : 0;
                model = make(&config);
                for (i = 0; i < vae_tensor_count(model); i++) {
                    vae_tensor tensor;
                    CHECK(vae_tensor_at(model, i, &tensor, NULL) == VAE_OK);
                    if (strstr(tensor.name, "bias")) fill(model, tensor.name, tensor.count, 0);
                    else if (!t == (strncmp(tensor.name, "decoder", 7) == 0))
                        fill(model, tensor.name, tensor.count, 1e20f);
                }
                if (t) {        /* the encoder */
                    CHECK(vae_encode(model, &data, z, NULL, &error) == VAE_ERROR_NUMERIC);
                    CHECK_CONTAINS(error.message, "row 3");
                    CHECK(vae_reconstruct(model, &data, out, &error) == VAE_ERROR_NUMERIC);
                    CHECK_CONTAINS(error.message, "row 3");
                    CHECK(vae_score(model, &data, NULL, each, &error) == VAE_ERROR_NUMERIC);
                    CHECK_CONTAINS(error.message, "row 3");
                } else {
                    CHECK(vae_decode(model, &latents, out, &error) == VAE_ERROR_NUMERIC);
                    CHECK_CONTAINS(error.message, "row 3");
                    CHECK(vae_sample(model, ROWS, out, &error) == VAE_ERROR_NUMERIC);
                    CHECK_CONTAINS(error.message, "row 0");
                }
                CHECK(vae_elbo(model, &data, NULL, terms, &error) == VAE_ERROR_NUMERIC);
                CHECK_CONTAINS(error.message, "row ");
                CHECK(vae_log_likelihood(model, &data, 3, NULL, each, &error) == VAE_ERROR_NUMERIC);
                CHECK_CONTAINS(error.message, "row ");
                vae_destroy(model);
            }
}

/* Data of any finite size either train or are refused, and every weight stays finite. */
TEST(test_sizes_of_data) {
    static const vae_real sizes[] = { 1e-30f, 1, 1e5f, 9e8f, 1.1e9f, 1e15f, 1e30f, 3.4e38f };
    size_t s, i;
    int    sigma, standardize, each;
    for (s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (sigma = 0; sigma < 2; sigma++)
            for (each = 0; each < 2; each++)
                for (standardize = 0; standardize < 2; standardize++) {
                    vae_config config = { .input = { 1, 16, 1 }, .latent = 4, .encoder = { VAE_DENSE(9, VAE_RELU) },
                                          .threads = 1, .likelihood = each ? VAE_LAPLACE : VAE_GAUSSIAN, .batch = 16 };
                    vae_real   pixels[64 * 16];
                    vae_data   data = { .pixels = pixels, .count = 16 };
                    vae_model *model;
                    vae_error  error;
                    vae_status status = VAE_OK;
                    for (i = 0; i < 64 * 16; i++) pixels[i] = (vae_real)sin((double)i);
                    pixels[37] = sizes[s];
                    config.sigma = sigma ? 1 : 0;
                    config.sigma_per_pixel = !sigma && each;
                    config.standardize = standardize;
                    model = make(&config);
                    if (standardize) {
                        data.count = 64;
                        status = vae_standardize(model, &data, &error);
                        data.count = 16;
                        CHECK(status == VAE_OK);
                    }
                    for (i = 0; i < 40 && status == VAE_OK; i++) {
                        data.pixels = pixels + i % 4 * 256;
                        status = vae_train_step(model, &data, NULL, &error);
                    }
                    if (!standardize && sizes[s] > 1e9f) CHECK(status == VAE_ERROR_DATA);
                    else if (sizes[s] < 1e8f || standardize) CHECK(status == VAE_OK);
                    if (status != VAE_OK) CHECK(strlen(error.message) > 10);
                    for (i = 0; i < vae_weight_count(model); i++) CHECK(fabsf(vae_weights(model)[i]) < 3e38f);
                    vae_destroy(model);
                }
}

/* A step by hand, in pieces, moves sigma as vae_train_step does. */
TEST(test_sigma_in_shares) {
    enum { ROWS = 20, SIZE = 6 };
    vae_real pixels[ROWS * SIZE];
    size_t   i;
    int      each, step, k;
    for (i = 0; i < ROWS * SIZE; i++) pixels[i] = (vae_real)(3 * sin((double)i));
    for (each = 0; each < 2; each++) {
        vae_config config = { .input = { 1, SIZE, 1 }, .latent = 2, .encoder = { VAE_DENSE(7, VAE_TANH) },
                              .threads = 1, .batch = ROWS, .likelihood = VAE_GAUSSIAN, .sigma_per_pixel = each };
        vae_model *whole = make(&config), *pieces = make(&config);
        vae_data   data = { .pixels = pixels, .count = ROWS };
        CHECK(vae_train_step(whole, &data, NULL, NULL) == VAE_OK);
        CHECK(vae_train_step(pieces, &data, NULL, NULL) == VAE_OK);
        for (step = 0; step < 5; step++) {
            vae_state a, b;
            CHECK(vae_train_step(whole, &data, NULL, NULL) == VAE_OK);
            for (k = 0; k < 4; k++) {
                const vae_share share = { (size_t)k * 5, ROWS };
                vae_data        piece = { .count = 5 };
                piece.pixels = pixels + k * 5 * SIZE;
                CHECK(vae_accumulate_gradients(pieces, &piece, &share, NULL, NULL) == VAE_OK);
            }
            CHECK(vae_apply_gradients(pieces, NULL) == VAE_OK);
            vae_get_state(whole, &a);
            vae_get_state(pieces, &b);
            CHECK_NEAR(a.sigma, b.sigma, 1e-5 * (double)a.sigma);
            CHECK(a.sigma > 0.5f && a.sigma < 3);
        }
        vae_destroy(whole);
        vae_destroy(pieces);
    }
}

/* A first step that fails leaves nothing behind: the next one goes as if it were the first. Only the bad rows have
   something in the first pixel, which weighs so much that the loss or a gradient is beyond all bounds. */
TEST(test_first_step_that_fails) {
    static const double heavy[] = { 1e10, 1e12, 1e14, 1e18, 1e25 };
    vae_real            rows[4 * 6], wrong[4 * 6];
    unsigned            k, i, each;
    for (i = 0; i < 24; i++) {
        rows[i] = i % 6 ? (vae_real)(5 + sin(i * 1.7)) : 0;
        wrong[i] = rows[i] + 100;
    }
    for (each = 0; each < 2; each++)
        for (k = 0; k <= sizeof heavy / sizeof *heavy; k++) {
            vae_config config;
            vae_data   data, first;
            vae_model *model, *alone;
            vae_real   weights[5 * 6];
            const int  is_data = k == sizeof heavy / sizeof *heavy;
            memset(&config, 0, sizeof config);
            memset(&data, 0, sizeof data);
            config.input.height = config.input.channels = 1;
            config.input.width = 6;
            config.latent = 2;
            config.batch = 4;
            config.encoder[0] = VAE_DENSE(5, VAE_LINEAR);
            config.likelihood = VAE_GAUSSIAN;
            config.sigma_per_pixel = (int)each;
            model = make(&config);
            alone = make(&config);
            data.pixels = rows;
            data.count = 4;
            CHECK(vae_get_tensor(model, "encoder.0.weight", weights, 30, NULL) == VAE_OK);
            for (i = 0; !is_data && i < 30; i += 6) weights[i] = (vae_real)heavy[k];
            set(model, "encoder.0.weight", weights, 30);
            set(alone, "encoder.0.weight", weights, 30);
            first = data;
            first.pixels = wrong;
            wrong[7] = is_data ? (vae_real)NAN : 5;
            CHECK(vae_train_step(model, &first, NULL, NULL) == (is_data ? VAE_ERROR_DATA : VAE_ERROR_NUMERIC));
            for (i = 0; i < 2; i++) {
                CHECK(!memcmp(vae_parameters(model), vae_parameters(alone),
                              vae_parameter_count(model) * sizeof(vae_real)));
                CHECK(model->largest_loss == alone->largest_loss);
                CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);
                CHECK(vae_train_step(alone, &data, NULL, NULL) == VAE_OK);
            }
            vae_destroy(model);
            vae_destroy(alone);
        }
}

int main(void) {
    RUN(test_nats_and_means);
    RUN(test_sums_and_ends);
    RUN(test_densities_integrate_to_one);
    RUN(test_log_likelihood_is_the_integral);
    RUN(test_first_bias);
    RUN(test_first_bias_through_an_activation);
    RUN(test_scores_depend_on_the_row_alone);
    RUN(test_standardized_model_is_the_scaled_one);
    RUN(test_constants_are_guarded);
    RUN(test_standardize_after_a_failed_fit);
    RUN(test_standardize_is_refused);
    RUN(test_first_step_needs_units);
    RUN(test_sentences_about_data);
    RUN(test_sentences_about_places);
    RUN(test_results_that_are_not_finite);
    RUN(test_sizes_of_data);
    RUN(test_sigma_in_shares);
    RUN(test_first_step_that_fails);
    return test_finish();
}
