/* Gradients against finite differences of the loss, in double. The noise is decided by seed, step and row, so the loss
   is a plain function of the weights. */
#define VAE_DOUBLE
#define VAE_PLAIN             /* that set too */
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "config_of.h"

#include <stdlib.h>
#include "test.h"
#include "model.h"

/* Of the largest gradient in the same tensor, and at least of 0.01 and a thousandth of the loss, below which the
   differences' own rounding shows. */
#define TOLERANCE 1e-7

static vae_real *random_pixels(const vae_config *config, size_t rows, uint64_t seed) {
    test_random  random = { 0 };
    const size_t count = rows * (size_t)(config->input.height * config->input.width * config->input.channels);
    vae_real    *pixels = (vae_real *)malloc(count * sizeof *pixels);
    size_t       i;
    random.state = seed;
    for (i = 0; i < count; i++) pixels[i] = test_uniform(&random, 0, 1);
    return pixels;
}

static double loss_of(vae_model *model, const vae_data *data) {
    vae_terms terms = { 0 };
    vae_clear_gradients(model);
    CHECK(vae_accumulate_gradients(model, data, NULL, &terms, NULL) == VAE_OK);
    return terms.loss;
}

/* The loss with the weight moved by each of -2h, -h, h, 2h: five points in all. */
static double difference(vae_model *model, const vae_data *data, double *weight, double h, double base, int *kink) {
    const double was = *weight;
    double       f[4], narrow, wide, bend;
    int          i;
    for (i = 0; i < 4; i++) {
        static const int steps[4] = { -2, -1, 1, 2 };
        *weight = was + steps[i] * h;
        f[i] = loss_of(model, data);
    }
    *weight = was;
    narrow = (f[2] - f[1]) / (2 * h);
    wide = (f[3] - f[0]) / (4 * h);
    /* Where the loss is smooth both are all but equal, and its second difference is four times as large over 2h. At a
       kink one of them gives it away. */
    bend = (f[3] - 2 * base + f[0] - 4 * (f[2] - 2 * base + f[1])) / h;
    *kink = fabs(narrow - wide) + fabs(bend) > 1e-8 * (1 + fabs(narrow)) + 1e-14 * fabs(base) / h;
    return (4 * narrow - wide) / 3;
}

typedef struct gradient_check {
    size_t each;            /* weights of a tensor that are tried, about */
    double h;
    int    kinks;           /* the network has ReLUs */
    int    no_logvar;       /* the heads' second half is not tried */
    size_t tried, skipped;
    double worst;
} gradient_check;

/* Weights first .. first + count - 1 of the block: one tensor. */
static void check_span(gradient_check *check, vae_model *model, const vae_data *data, const vae_real *gradient,
                       size_t first, size_t count, const char *what) {
    const double base = loss_of(model, data);
    double       scale = fmax(0.01, 1e-3 * fabs(base));
    size_t       i, step = count > check->each ? count / check->each : 1;
    step *= (size_t)test_one_in();
    for (i = 0; i < count; i++) scale = fmax(scale, fabs(gradient[first + i]));
    for (i = 0; i < count; i += step) {
        int          kink;
        const double expected = difference(model, data, vae_parameters(model) + first + i, check->h, base, &kink);
        const double off = fabs(gradient[first + i] - expected) / scale;
        check->tried++;
        if (check->kinks && kink) {
            check->skipped++;
            continue;
        }
        if (!(off <= check->worst)) check->worst = off;
        if (!CHECK(off <= TOLERANCE) && test_state.failures <= TEST_SHOWN_FAILURES)
            printf("    %s, number %zu of %zu: %.12g, finite difference %.12g, off by %.2g of %.3g\n", what, i, count,
                   gradient[first + i], expected, off, scale);
    }
}

static void check_model(gradient_check *check, vae_model *model, const vae_data *data) {
    const vaei_plan *plan = &model->plan;
    vae_real        *gradient = (vae_real *)malloc(plan->parameter_count * sizeof *gradient);
    int              i;
    loss_of(model, data);
    memcpy(gradient, vae_gradients(model), plan->parameter_count * sizeof *gradient);
    for (i = 0; i < vaei_all_layers(plan); i++) {
        const vaei_layer *layer = &plan->layers[i];
        char              what[96];
        const char       *part = i == plan->heads ? "heads" : vaei_chain_name(plan, i);
        if (i == plan->heads) {             /* mean and logvar, whose gradients may be of very different sizes */
            size_t row, half;
            for (row = 0; row <= layer->inputs + layer->classes; row++)
                for (half = 0; half < layer->outputs / plan->latent - (size_t)check->no_logvar; half++) {
                    sprintf(what, "%s %s", half ? "logvar" : "mean",
                            row < layer->inputs + layer->classes ? "weight" : "bias");
                    check_span(check, model, data, gradient, layer->weight + row * layer->outputs + half * plan->latent,
                               plan->latent, what);
                }
            continue;
        }
        sprintf(what, "%s layer %d weight", part, i);
        check_span(check, model, data, gradient, layer->weight, layer->weight_count, what);
        sprintf(what, "%s layer %d bias", part, i);
        check_span(check, model, data, gradient, layer->bias, layer->bias_count, what);
        if (!layer->normalizes) continue;
        sprintf(what, "%s layer %d weight and bias of the normalisation", part, i);
        check_span(check, model, data, gradient, layer->bias + layer->bias_count, 2 * layer->bias_count, what);
    }
    if (plan->log_sigma_count)
        check_span(check, model, data, gradient, plan->log_sigma, plan->log_sigma_count, "log sigma");
    free(gradient);
}

static int has_kinks(const vae_config *config) {
    int i, found = config->likelihood == VAE_LAPLACE;
    for (i = 0; i < VAE_MAX_LAYERS; i++)
        found |= config->encoder[i].activation == VAE_RELU || config->encoder[i].activation == VAE_LEAKY_RELU ||
                 config->decoder[i].activation == VAE_RELU || config->decoder[i].activation == VAE_LEAKY_RELU;
    return found;
}

/* `micro` and `chunk`: rows at a time, fewer than the plan's; 0: as planned. */
static void check_config(const vae_config *config, size_t rows, size_t micro, size_t chunk, size_t each) {
    vae_config     batch = *config, own;
    vae_real      *pixels = random_pixels(config, rows, 7), *targets = NULL;
    vae_data       data = { 0 };
    gradient_check check = { 0, 1e-3, 0, 0, 0, 0, 0 };
    vae_model     *model;
    int            labels[64];
    size_t         i;
    batch.batch = rows;
    batch.threads = 1;
    model = make(&batch);
    for (i = 0; i < 64 && model->plan.classes; i++) {
        labels[i] = (int)((i * i + i / 3) % model->plan.classes);
        if (!config->classes && i % 3 == 1) labels[i] = -1;
    }
    if (model->plan.classes) data.labels = labels;
    CHECK(!model->plan.classes || rows <= 64);
    if (micro) {
        CHECK(micro <= model->plan.micro && chunk % micro == 0);
        model->plan.micro = micro;
        model->plan.chunk = chunk;
    }
    data.pixels = pixels;
    data.count = rows;
    if (config->targets) data.targets = targets = random_pixels(config, rows, 8);
    for (i = 0; config->missing && i < rows * vae_example_size(model); i++) {
        if (i % 3 == 1) pixels[i] = NAN;
        if (targets && i % 5 == 2) targets[i] = NAN;
    }
    check.each = each;
    if (config->standardize) CHECK(vae_standardize(model, &data, NULL) == VAE_OK);
    for (i = 0; i < model->plan.log_sigma_count; i++)       /* not all alike, and none at its best */
        vae_parameters(model)[model->plan.log_sigma + i] = 0.3 * sin(1 + (double)i) - 0.4;
    own = config_of(model);
    for (i = 0; i < VAE_MAX_LAYERS; i++)        /* a column of nearly the same numbers bends the loss sharply */
        if (config->encoder[i].batch_norm) check.h = 2e-4;
    check.kinks = has_kinks(&own);
    if (check.kinks) check.h = 2e-5;
    check_model(&check, model, &data);
    CHECK(check.tried >= 8 && check.skipped * 50 <= check.tried);
    vae_destroy(model);
    free(pixels);
    free(targets);
}

TEST(test_activations) {
    int activation;
    for (activation = VAE_LINEAR; activation <= VAE_SOFTPLUS; activation++) {
        vae_config      dense = { .input = { 1, 6, 1 }, .latent = 3, .encoder = { VAE_DENSE(7, 0), VAE_DENSE(5, 0) } };
        vae_config      convolutions = { .input = { 5, 4, 2 }, .latent = 2,
                                         .encoder = { VAE_CONV(3, 3, 2, 0), VAE_CONV(4, 2, 1, 0) } };
        vae_config      mixed = { .input = { 4, 5, 1 }, .latent = 2,
                                  .encoder = { VAE_CONV(3, 3, 1, 0), VAE_DENSE(6, 0) } };
        int             i;
        for (i = 0; i < 2; i++) {
            dense.encoder[i].activation = (vae_activation)activation;
            convolutions.encoder[i].activation = (vae_activation)activation;
            mixed.encoder[i].activation = (vae_activation)activation;
        }
        check_config(&dense, 4, 0, 0, 200);
        check_config(&convolutions, 3, 0, 0, 200);
        check_config(&mixed, 3, 0, 0, 60);
    }
}

TEST(test_geometries) {
    static const vae_config configs[] = {
        { .input = { 7, 6, 1 }, .latent = 2,
          .encoder = { VAE_CONV_INITIALIZER(3, 3, 2, VAE_SILU), VAE_CONV_INITIALIZER(4, 3, 2, VAE_TANH) } },
        { .input = { 8, 8, 3 }, .latent = 2,
          .encoder = { VAE_CONV_SYMMETRIC_INITIALIZER(4, 3, 2, 1, VAE_GELU),
                       VAE_CONV_SYMMETRIC_INITIALIZER(5, 4, 2, 1, VAE_SOFTPLUS) } },
        { .input = { 6, 5, 17 }, .latent = 2,
          .encoder = { VAE_CONV_INITIALIZER(6, 2, 2, VAE_SILU), VAE_CONV_INITIALIZER(18, 1, 1, VAE_TANH) } },
        { .input = { 1, 16, 2 }, .latent = 2,
          .encoder = { VAE_CONV_1D_INITIALIZER(3, 5, 2, VAE_SIGMOID), VAE_CONV_1D_INITIALIZER(4, 4, 3, VAE_GELU) } },
        { .input = { 1, 19, 1 }, .latent = 2,
          .encoder = { VAE_CONV_1D_INITIALIZER(18, 3, 1, VAE_TANH), VAE_CONV_1D_INITIALIZER(2, 5, 4, VAE_SILU) } },
        { .input = { 3, 4, 2 }, .latent = 2,
          .encoder = { VAE_CONV_TRANSPOSED_INITIALIZER(3, 3, 2, VAE_SILU), VAE_CONV_INITIALIZER(4, 5, 3, VAE_TANH) } },
        /* a kernel larger than the image, strides larger than kernel and image, uneven padding and cropping */
        { .input = { 2, 3, 2 }, .latent = 2,
          .encoder = { VAE_CONV_INITIALIZER(3, 5, 1, VAE_SILU), VAE_CONV_INITIALIZER(4, 2, 4, VAE_GELU) } },
        { .input = { 9, 8, 2 }, .latent = 2,
          .encoder = { { VAE_LAYER_CONV, { 0, 0, 4 }, 2, 1, 4, 3, VAE_EXPLICIT, 0, 3, 2, 0, 0, 0, VAE_SILU, 0, 0 },
                       { VAE_LAYER_CONV, { 0, 0, 3 }, 3, 3, 2, 2, VAE_EXPLICIT, 3, 0, 0, 3, 0, 0, VAE_GELU, 0, 0 } } },
        { .input = { 6, 7, 1 }, .latent = 2, .encoder = { VAE_DENSE_INITIALIZER(6, VAE_TANH) },
          .decoder = { VAE_DENSE_SHAPED_INITIALIZER(3, 2, 4, VAE_SILU),
                       { VAE_LAYER_CONV_TRANSPOSED, { 0, 0, 3 }, 4, 5, 2, 3, VAE_EXPLICIT, 2, 1, 1, 2, 1, 2,
                         VAE_SOFTPLUS, 0, 0 },
                       { VAE_LAYER_CONV, { 0, 0, 1 }, 2, 3, 1, 1, VAE_EXPLICIT, 0, 1, 1, 1, 0, 0, VAE_LINEAR, 0,
                         0 } } },
        /* stages that alternate, a decoder that ends dense, convolutions of z */
        { .input = { 5, 4, 2 }, .latent = 3,
          .encoder = { VAE_DENSE_SHAPED_INITIALIZER(3, 3, 2, VAE_SILU), VAE_CONV_INITIALIZER(4, 3, 1, VAE_GELU),
                       VAE_DENSE_INITIALIZER(8, VAE_TANH),
                       VAE_CONV_INITIALIZER(5, 1, 1, VAE_SIGMOID), VAE_DENSE_SHAPED_INITIALIZER(2, 2, 2, VAE_SOFTPLUS),
                       VAE_CONV_INITIALIZER(3, 2, 1, VAE_LINEAR) },
          .decoder = { VAE_CONV_TRANSPOSED_SYMMETRIC_INITIALIZER(4, 2, 1, 0, 0, VAE_SILU),
                       VAE_DENSE_INITIALIZER(6, VAE_GELU),
                       VAE_DENSE_SHAPED_INITIALIZER(2, 2, 3, VAE_SIGMOID), VAE_CONV_INITIALIZER(4, 3, 1, VAE_TANH),
                       VAE_DENSE_INITIALIZER(40, VAE_LINEAR) } }
    };
    size_t i;
    for (i = 0; i < sizeof configs / sizeof *configs; i++) {
        check_config(&configs[i], 3, 0, 0, 70);
        check_config(&configs[i], 5, 2, 4, 12);
    }
}

/* Tensors with two uses: mean and logvar of one layer, a decoder of the encoder's weights. */
TEST(test_shared_heads_and_tied_layers) {
    static const vae_config configs[] = {
        { .input = { 1, 9, 1 }, .latent = 3, .encoder = { VAE_DENSE_INITIALIZER(6, VAE_TANH),
                                                          VAE_DENSE_INITIALIZER(5, VAE_SILU) } },
        { .input = { 6, 5, 2 }, .latent = 3, .encoder = { VAE_CONV_INITIALIZER(3, 3, 2, VAE_SILU),
                                                          VAE_CONV_INITIALIZER(4, 2, 1, VAE_TANH) } },
        { .input = { 5, 7, 2 }, .latent = 2, .likelihood = VAE_GAUSSIAN, .sigma_per_pixel = 1,
          .encoder = { VAE_CONV_SYMMETRIC_INITIALIZER(3, 3, 2, 1, VAE_GELU), VAE_DENSE_INITIALIZER(7, VAE_TANH) } },
        { .input = { 3, 4, 2 }, .latent = 2,        /* the adjoint of a transposed convolution; stages that alternate */
          .encoder = { VAE_CONV_TRANSPOSED_INITIALIZER(3, 3, 2, VAE_TANH),
                       VAE_DENSE_SHAPED_INITIALIZER(3, 2, 2, VAE_SILU), VAE_CONV_INITIALIZER(4, 2, 1, VAE_SOFTPLUS) } }
    };
    size_t i;
    int    both;
    for (i = 0; i < sizeof configs / sizeof *configs; i++)
        for (both = 1; both < 4; both++) {
            vae_config config = configs[i];
            config.shared_heads = both & 1;
            config.tied = both & 2;
            check_config(&config, 4, 0, 0, 40);
            check_config(&config, 7, 2, 4, 12);
        }
}

/* Which outputs are dropped depends on seed, step, layer and row, so here too the loss is a function of the weights. */
TEST(test_dropout) {
    int activation, dense, i;
    for (activation = VAE_LINEAR; activation <= VAE_SOFTPLUS; activation++)
        for (dense = 0; dense < 2; dense++) {
            vae_config config = { .input = { 4, 5, 2 }, .latent = 3, .encoder = { VAE_CONV(3, 3, 2, VAE_SILU) } };
            if (dense) config.encoder[0] = VAE_DENSE(9, VAE_SILU);
            else config.encoder[1] = VAE_CONV(4, 2, 1, VAE_SILU);
            config.encoder[2 - dense] = VAE_DENSE_SHAPED(2, 2, 3, VAE_SILU);
            for (i = 0; i < 3 - dense; i++) {
                config.encoder[i].activation = (vae_activation)activation;
                config.encoder[i].dropout = i == 1 ? 0.5 : 0.25;
            }
            check_config(&config, 4, 0, 0, 30);
            check_config(&config, 7, 2, 4, 8);
            config.tied = config.shared_heads = 1;
            check_config(&config, 4, 0, 0, 12);
        }
}

/* Over the batch, in dense layers and in stages of convolutions that it ends; a single number meets running
   averages. */
TEST(test_batch_norm) {
    int activation, dense, i;
    for (activation = VAE_LINEAR; activation <= VAE_SOFTPLUS; activation++)
        for (dense = 0; dense < 2; dense++) {
            vae_config config = { .input = { 4, 5, 2 }, .latent = 3, .encoder = { VAE_CONV(3, 3, 2, VAE_SILU) } };
            /* too many kinks; see test_golden */
            if (activation == VAE_RELU || activation == VAE_LEAKY_RELU) continue;
            if (dense) config.encoder[0] = VAE_DENSE(7, VAE_SILU);
            else {
                config.encoder[1] = VAE_CONV(4, 2, 1, VAE_SILU);
                config.encoder[2] = VAE_CONV(3, 2, 1, VAE_SILU);
            }
            config.encoder[3 - 2 * dense] = VAE_DENSE_SHAPED(1, 2, 3, VAE_SILU);
            for (i = 0; i < 4 - 2 * dense; i++) {
                config.encoder[i].activation = (vae_activation)activation;
                config.encoder[i].batch_norm = i != 1 || dense;
            }
            check_config(&config, 5, 0, 0, 20);
            check_config(&config, 7, 2, 4, 8);
            check_config(&config, 1, 0, 0, 6);
            config.encoder[0].dropout = 0.25;
            config.samples = 2;
            config.tied = config.shared_heads = 1;
            check_config(&config, 5, 0, 0, 8);
        }
}

TEST(test_likelihoods_and_beta) {
    static const vae_real betas[] = { VAE_ZERO, 0.5, 1, 4 };
    size_t                b;
    int                   gaussian, kernels;
    for (gaussian = 0; gaussian < 2; gaussian++)
        for (b = 0; b < 4; b++) {
            vae_config config = { .input = { 4, 4, 2 }, .latent = 5, .sigma = gaussian ? (vae_real)0.3 : 0,
                                  .encoder = { VAE_CONV(3, 3, 2, VAE_SILU), VAE_DENSE(6, VAE_RELU) } };
            config.likelihood = gaussian ? VAE_GAUSSIAN : VAE_BERNOULLI;
            config.beta = betas[b];
            for (kernels = VAE_KERNELS_PLAIN; kernels <= VAE_KERNELS_NEON; kernels++)
                if (vae_kernels_available((vae_kernels)kernels)) {
                    config.kernels = (vae_kernels)kernels;
                    check_config(&config, 5, 0, 0, 40);
                }
        }
}

/* Every likelihood, with sigma fixed, learned for all and for each pixel, in units of the data and of the model,
   through a decoder that ends dense and one that ends in a convolution, with and without an activation of its own. */
TEST(test_sigmas) {
    int likelihood, sigma, standardize, convolutional, kernels, bounded;
    for (likelihood = VAE_BERNOULLI; likelihood <= VAE_DISCRETIZED_LOGISTIC; likelihood++)
        for (sigma = 0; sigma < 3; sigma++)
            for (standardize = 0; standardize < 2; standardize++)
                for (convolutional = 0; convolutional < 2; convolutional++)
                    for (bounded = 0; bounded < 3; bounded++) {
                        static const vae_activation last[3] = { VAE_LINEAR, VAE_SIGMOID, VAE_SILU };
                        const int  has_sigma = likelihood == VAE_GAUSSIAN || likelihood == VAE_LAPLACE;
                        vae_config config = { .input = { 4, 3, 2 }, .latent = 3,
                                              .encoder = { VAE_CONV(3, 3, 2, VAE_SILU), VAE_DENSE(6, VAE_TANH) },
                                              .decoder = { VAE_DENSE_SHAPED(2, 2, 3, VAE_TANH),
                                                           VAE_CONV_TRANSPOSED(3, 3, 2, VAE_SILU),
                                                           { VAE_LAYER_CONV, { 0, 0, 2 }, 1, 2, 1, 1,
                                                             VAE_EXPLICIT } } };
                        const int  two = likelihood == VAE_GAUSSIAN_PREDICTED || likelihood == VAE_DISCRETIZED_LOGISTIC;
                        if (!has_sigma && (sigma || bounded)) continue;
                        if (!has_sigma && standardize && likelihood != VAE_GAUSSIAN_PREDICTED) continue;
                        config.likelihood = (vae_likelihood)likelihood;
                        config.decoder[2].activation = last[bounded];
                        config.decoder[2].shape.channels = two ? 4 : 2;
                        if (!convolutional) {
                            config.decoder[1] = VAE_DENSE(two ? 48 : 24, last[bounded]);
                            memset(&config.decoder[2], 0, sizeof config.decoder[2]);
                        }
                        config.sigma = has_sigma && !sigma ? 0.4 : 0;
                        config.sigma_per_pixel = sigma == 2;
                        config.standardize = standardize;
                        config.layout = standardize ? VAE_CHANNELS_FIRST : VAE_CHANNELS_LAST;
                        for (kernels = VAE_KERNELS_PLAIN; kernels <= VAE_KERNELS_NEON; kernels++)
                            if (vae_kernels_available((vae_kernels)kernels)) {
                                config.kernels = (vae_kernels)kernels;
                                check_config(&config, 5, 0, 0, 12);
                                check_config(&config, 7, 2, 4, 6);
                            }
                    }
}

TEST(test_labels) {
    static const vae_config configs[] = {
        { .input = { 1, 5, 1 }, .latent = 2, .classes = 3, .encoder = { VAE_DENSE_INITIALIZER(4, VAE_RELU) } },
        { .input = { 3, 3, 2 }, .latent = 2, .classes = 4, .likelihood = VAE_GAUSSIAN,
          .encoder = { VAE_CONV_INITIALIZER(2, 2, 1, VAE_SILU) } },
        { .input = { 3, 3, 2 }, .latent = 2, .classes = 3, .shared_heads = 1,
          .encoder = { VAE_CONV_INITIALIZER(2, 2, 1, VAE_TANH) } },
        { .input = { 3, 3, 2 }, .latent = 2, .classes = 2, .likelihood = VAE_GAUSSIAN, .sigma_per_pixel = 1,
          .encoder = { VAE_CONV_INITIALIZER(2, 2, 1, VAE_SILU), VAE_DENSE_INITIALIZER(5, VAE_GELU) } },
        { .input = { 1, 5, 1 }, .latent = 3, .encoder = { VAE_DENSE_INITIALIZER(4, VAE_TANH) },
          .classifier = { VAE_DENSE_INITIALIZER(4, VAE_LINEAR) }, .classifier_weight = 3 },
        { .input = { 3, 3, 2 }, .latent = 2, .shared_heads = 1, .beta = 2, .likelihood = VAE_LAPLACE,
          .encoder = { VAE_CONV_INITIALIZER(2, 2, 1, VAE_TANH) },
          .classifier = { VAE_DENSE_INITIALIZER(4, VAE_SILU), VAE_DENSE_INITIALIZER(3, VAE_TANH),
                          VAE_DENSE_INITIALIZER(2, VAE_LINEAR) } }
    };
    size_t i;
    for (i = 0; i < sizeof configs / sizeof *configs; i++) {
        check_config(&configs[i], 33, 0, 0, 20);
        check_config(&configs[i], 9, 3, 6, 20);
        check_config(&configs[i], 1, 0, 0, 20);
    }
}

/* The likelihoods of two numbers a pixel by themselves, over all that the numbers may be, up to the bounds. */
TEST(test_pair_scores) {
    static const double   lows[2] = { -11.9, -7.9 }, highs[2] = { 20, 3.9 };
    const vaei_likelihood *likelihood;
    vaei_sigmas            spread;
    test_random            random = { 1 };
    int                    which, trial, k;
    memset(&spread, 0, sizeof spread);
    spread.channels = 1;
    for (which = 0; which < 2; which++)
        for (trial = 0; trial < test_cases(3000); trial++) {
            const vaei_kernel_set *set = vaei_kernel_set_of(trial % 2 ? VAE_KERNELS_PLAIN : vaei_best_kernels());
            const double           x = (trial % 5 ? test_integer(&random, 0, 255) : trial % 3 ? 255 : 0) / 255.0;
            double                 output[2], d[2], alone;
            output[0] = trial % 2 ? test_uniform(&random, -0.5, 1.5) : x + test_uniform(&random, -0.02, 0.02);
            output[1] = test_uniform(&random, lows[which], highs[which]);
            likelihood = &vaei_likelihoods[which ? VAE_DISCRETIZED_LOGISTIC : VAE_GAUSSIAN_PREDICTED];
            alone = likelihood->score(set, 1, output, &x, &spread, 1, NULL);
            CHECK(likelihood->score(set, 1, output, &x, &spread, 1, d) == alone);
            for (k = 0; k < 2; k++) {
                const double h = k ? 1e-4 : 1e-4 * exp(output[1] * (which ? 1 : 0.5)), was = output[k];
                double       f[4], difference;
                int          i;
                for (i = 0; i < 4; i++) {
                    output[k] = was + (i < 2 ? i - 2 : i - 1) * h;
                    f[i] = likelihood->score(set, 1, output, &x, &spread, 1, NULL);
                }
                output[k] = was;
                difference = (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * h);
                CHECK_NEAR(d[k], difference, 1e-6 * (fabs(difference) + 1) + 1e-14 * fabs(alone) / h +
                                             (k ? 0 : 1e-10 * exp(-output[1])));
            }
            likelihood->score(set, 1, output, &x, &spread, 1, output);        /* in place */
            CHECK(output[0] == d[0] && output[1] == d[1]);
        }
}

/* What is scored is not what the encoder sees, or not all of it: targets, corrupted input, drawn pixels, missing
   ones. */
TEST(test_rows_altered) {
    int likelihood, sigma, kind, convolutional;
    for (likelihood = VAE_BERNOULLI; likelihood <= VAE_DISCRETIZED_LOGISTIC; likelihood++)
        for (sigma = 0; sigma < 3; sigma++)
            for (kind = 0; kind < 8; kind++)
                for (convolutional = 0; convolutional < 3; convolutional++) {
                    const int  has_sigma = likelihood == VAE_GAUSSIAN || likelihood == VAE_LAPLACE;
                    vae_config config = { .input = { 4, 3, 2 }, .latent = 3,
                                          .encoder = { VAE_CONV(3, 3, 2, VAE_SILU), VAE_DENSE(6, VAE_TANH) },
                                          .decoder = { VAE_DENSE_SHAPED(2, 2, 3, VAE_TANH),
                                                       VAE_CONV_TRANSPOSED(3, 3, 2, VAE_SILU),
                                                       { VAE_LAYER_CONV, { 0, 0, 2 }, 1, 2, 1, 1, VAE_EXPLICIT } } };
                    if (!has_sigma && sigma) continue;
                    config.likelihood = (vae_likelihood)likelihood;
                    if (likelihood >= VAE_GAUSSIAN_PREDICTED) config.decoder[2].shape.channels = 4;
                    if (!convolutional) {
                        config.decoder[1] = VAE_DENSE(likelihood >= VAE_GAUSSIAN_PREDICTED ? 48 : 24, VAE_LINEAR);
                        memset(&config.decoder[2], 0, sizeof config.decoder[2]);
                    } else if (convolutional == 2) {
                        if (!has_sigma) continue;
                        config.decoder[2].activation = VAE_SILU;
                    }
                    config.sigma = has_sigma && !sigma ? 0.4 : 0;
                    config.sigma_per_pixel = sigma == 2;
                    config.layout = kind & 1 ? VAE_CHANNELS_FIRST : VAE_CHANNELS_LAST;
                    config.targets = kind == 1 || kind == 5 || kind == 7;
                    config.missing = kind >= 4;
                    config.binarize = (kind == 3 || kind == 7) && likelihood == VAE_BERNOULLI;
                    if (kind == 2 || kind >= 6) {
                        config.corruption.kind = kind == 2 ? VAE_CORRUPTION_GAUSSIAN : VAE_CORRUPTION_MASKING;
                        config.corruption.amount = 0.3;
                    }
                    if (kind == 6) config.objective = VAE_OBJECTIVE_IWAE;
                    if (kind >= 5) config.samples = 3;
                    check_config(&config, 5, 0, 0, 12);
                    check_config(&config, 7, 2, 4, 6);
                }
}

/* Batches of several micro-batches and chunks, as the plan makes them and in smaller ones. */
TEST(test_batches) {
    static const vae_config configs[] = {
        { .input = { 3, 3, 1 }, .latent = 2,
          .encoder = { VAE_CONV_INITIALIZER(2, 2, 1, VAE_SILU), VAE_CONV_INITIALIZER(3, 2, 2, VAE_GELU) } },
        { .input = { 2, 2, 2 }, .latent = 2,
          .encoder = { VAE_CONV_INITIALIZER(2, 2, 1, VAE_TANH), VAE_DENSE_INITIALIZER(3, VAE_SOFTPLUS) },
          .decoder = { VAE_DENSE_SHAPED_INITIALIZER(1, 2, 2, VAE_SIGMOID),
                       VAE_CONV_TRANSPOSED_INITIALIZER(2, 2, 2, VAE_SILU), VAE_DENSE_INITIALIZER(8, VAE_LINEAR) } },
        { .input = { 1, 5, 1 }, .latent = 2, .encoder = { VAE_DENSE_INITIALIZER(3, VAE_TANH) } }
    };
    size_t i;
    for (i = 0; i < sizeof configs / sizeof *configs; i++) {
        check_config(&configs[i], 600, 0, 0, 4);
        check_config(&configs[i], 70, 0, 0, 6);
        check_config(&configs[i], 33, 0, 0, 6);
        check_config(&configs[i], 17, 3, 6, 6);
        check_config(&configs[i], 17, 1, 1, 6);
        check_config(&configs[i], 1, 0, 0, 6);
    }
}

static double largest_difference(const vae_real *a, const vae_real *b, size_t count, double factor) {
    double largest = 0, off = 0;
    size_t i;
    for (i = 0; i < count; i++) largest = fmax(largest, fabs(b[i]));
    for (i = 0; i < count; i++) off = fmax(off, fabs(a[i] - factor * b[i]));
    return off / largest;
}

/* A batch in pieces is the batch: gradients, noise and terms. */
TEST(test_shares) {
    static const vae_config configs[] = {
        { .input = { 4, 3, 2 }, .latent = 3,
          .encoder = { VAE_CONV_INITIALIZER(3, 3, 2, VAE_SILU), VAE_DENSE_INITIALIZER(4, VAE_RELU) } },
        { .input = { 1, 7, 1 }, .latent = 3, .encoder = { VAE_DENSE_INITIALIZER(4, VAE_GELU) } },
        { .input = { 4, 4, 1 }, .latent = 2,
          .encoder = { VAE_DENSE_SHAPED_INITIALIZER(2, 2, 2, VAE_TANH), VAE_CONV_INITIALIZER(3, 2, 1, VAE_RELU) },
          .decoder = { VAE_DENSE_SHAPED_INITIALIZER(2, 2, 2, VAE_SILU),
                       VAE_CONV_TRANSPOSED_INITIALIZER(2, 3, 2, VAE_RELU), VAE_DENSE_INITIALIZER(16, VAE_LINEAR) } },
        { .input = { 4, 3, 2 }, .latent = 3, .likelihood = VAE_GAUSSIAN,
          .encoder = { VAE_CONV_INITIALIZER(3, 3, 2, VAE_SILU) } },
        { .input = { 4, 3, 2 }, .latent = 3, .likelihood = VAE_LAPLACE, .sigma_per_pixel = 1,
          .encoder = { VAE_CONV_INITIALIZER(3, 3, 2, VAE_SILU) } },
        { .input = { 4, 3, 2 }, .latent = 3, .shared_heads = 1, .tied = 1,
          .encoder = { VAE_CONV_INITIALIZER(3, 3, 2, VAE_SILU), VAE_DENSE_INITIALIZER(4, VAE_RELU) } },
        { .input = { 4, 3, 2 }, .latent = 3,
          .encoder = { { VAE_LAYER_CONV, { 0, 0, 3 }, 3, 3, 2, 2, VAE_SAME, 0, 0, 0, 0, 0, 0, VAE_TANH, 0.3, 0 },
                       { .kind = VAE_LAYER_DENSE, .shape = { 1, 1, 4 }, .activation = VAE_SILU, .dropout = 0.6 } } },
        { .input = { 1, 7, 1 }, .latent = 3, .samples = 3,
          .encoder = { { .kind = VAE_LAYER_DENSE, .shape = { 1, 1, 4 }, .activation = VAE_GELU, .dropout = 0.4 } } }
    };
    enum { ROWS = 45 };
    static const size_t cuts[][5] = { { 0, 45 }, { 0, 7, 45 }, { 0, 33, 34, 45 }, { 0, 1, 12, 40, 45 } };
    size_t i, c, k;
    for (i = 0; i < sizeof configs / sizeof *configs; i++) {
        vae_config   config = configs[i];
        vae_real    *pixels, *whole;
        vae_data     data = { .count = ROWS };
        vae_terms    terms;
        vae_model   *model;
        size_t       count;
        config.batch = ROWS;
        config.threads = 1;
        config.beta = 2;
        model = make(&config);
        count = vae_parameter_count(model);
        pixels = random_pixels(&config, ROWS, 3);
        whole = (vae_real *)malloc(count * sizeof *whole);
        data.pixels = pixels;
        CHECK(vae_accumulate_gradients(model, &data, NULL, &terms, NULL) == VAE_OK);
        memcpy(whole, vae_gradients(model), count * sizeof *whole);
        for (c = 0; c < 4; c++) {
            vae_terms sum = { 0 }, part;
            vae_clear_gradients(model);
            for (k = 0; k == 0 || cuts[c][k] < ROWS; k++) {
                vae_data  piece = { 0 };
                vae_share share = { 0, ROWS };
                share.first = cuts[c][k];
                piece.count = cuts[c][k + 1] - cuts[c][k];
                piece.pixels = pixels + share.first * vae_example_size(model);
                CHECK(vae_accumulate_gradients(model, &piece, &share, &part, NULL) == VAE_OK);
                sum.loss += part.loss * (double)piece.count / ROWS;
                sum.kl += part.kl * (double)piece.count / ROWS;
            }
            CHECK_NEAR(sum.loss, terms.loss, 1e-13 * terms.loss);
            CHECK_NEAR(sum.kl, terms.kl, 1e-13 * terms.loss);
            CHECK(largest_difference(vae_gradients(model), whole, count, 1) < 1e-13);
        }
        /* the same once more, and half of the weight */
        CHECK(vae_accumulate_gradients(model, &data, NULL, NULL, NULL) == VAE_OK);
        CHECK(largest_difference(vae_gradients(model), whole, count, 2) < 1e-13);
        vae_clear_gradients(model);
        {
            vae_share half = { 0, 2 * ROWS };
            CHECK(vae_accumulate_gradients(model, &data, &half, &terms, NULL) == VAE_OK);
            CHECK(largest_difference(vae_gradients(model), whole, count, 0.5) < 1e-13);
        }
        vae_destroy(model);
        free(pixels);
        free(whole);
    }
}

/* vae_set_beta changes the loss and its gradient together. */
TEST(test_beta_while_training) {
    static const vae_config config = { .input = { 1, 6, 1 }, .latent = 3, .batch = 4, .threads = 1,
                                       .encoder = { VAE_DENSE_INITIALIZER(5, VAE_TANH) } };
    vae_model     *model = make(&config);
    vae_real      *pixels = random_pixels(&config, 4, 5);
    vae_data       data = { .count = 4 };
    vae_real       beta;
    data.pixels = pixels;
    for (beta = 0; beta < 3; beta += 1.25) {
        gradient_check check = { 100, 1e-3, 0, 0, 0, 0, 0 };
        CHECK(vae_set_beta(model, beta, NULL) == VAE_OK);
        check_model(&check, model, &data);
        CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);
    }
    vae_destroy(model);
    free(pixels);
}

/* Beyond its bounds the logvar is held, and a gradient is let through only where a step would bring it back: upwards
   (below 0) at the lower bound, downwards (above 0) at the upper one. */
TEST(test_logvar_at_its_bounds) {
    enum { LATENT = 16, UNITS = 5 };
    vae_config config = { .input = { 1, 6, 1 }, .latent = LATENT, .batch = 1, .threads = 1,
                          .encoder = { VAE_DENSE(UNITS, VAE_TANH) }, .decoder = { VAE_DENSE(6, VAE_LINEAR) } };
    static const vae_real betas[] = { VAE_ZERO, 1e-4, 1 };
    vae_real *pixels = random_pixels(&config, 1, 5), zeros[LATENT * UNITS] = { 0 };
    vae_data  data = { .count = 1 };
    size_t    b, i;
    int       upper;
    data.pixels = pixels;
    for (upper = 0; upper < 2; upper++)
        for (b = 0; b < 3; b++) {
            const vae_real bound = upper ? 10 : -20, outside = upper ? 12.5 : -25;
            vae_real       bias[LATENT], within[LATENT], beyond[LATENT], weight[LATENT * UNITS], scale = 1e-12;
            int            passed = 0, kept_back = 0, row_is_zero = 1;
            vae_terms      terms, held;
            /* z in the hundreds: smaller steps */
            gradient_check check = { 100, upper ? 1e-5 : 1e-3, 0, 1, 0, 0, 0 };
            vae_model     *model;
            config.beta = betas[b];
            model = make(&config);
            CHECK(vae_set_tensor(model, "logvar.weight", zeros, LATENT * UNITS, NULL) == VAE_OK);
            for (i = 0; i < LATENT; i++) bias[i] = bound - (upper ? 1e-10 : -1e-10);
            CHECK(vae_set_tensor(model, "logvar.bias", bias, LATENT, NULL) == VAE_OK);
            CHECK(vae_accumulate_gradients(model, &data, NULL, &terms, NULL) == VAE_OK);
            CHECK(vae_get_gradient(model, "logvar.bias", within, LATENT, NULL) == VAE_OK);
            for (i = 0; i < LATENT; i++) bias[i] = outside;
            CHECK(vae_set_tensor(model, "logvar.bias", bias, LATENT, NULL) == VAE_OK);
            vae_clear_gradients(model);
            CHECK(vae_accumulate_gradients(model, &data, NULL, &held, NULL) == VAE_OK);
            CHECK_NEAR(held.loss, terms.loss, 1e-7 * (1 + fabs(terms.loss)));
            CHECK(vae_get_gradient(model, "logvar.bias", beyond, LATENT, NULL) == VAE_OK);
            CHECK(vae_get_gradient(model, "logvar.weight", weight, LATENT * UNITS, NULL) == VAE_OK);
            for (i = 0; i < LATENT; i++) scale = fmax(scale, fabs(within[i]));
            for (i = 0; i < LATENT; i++) {
                const int back = upper ? within[i] > 0 : within[i] < 0;
                CHECK_NEAR(beyond[i], back ? within[i] : 0, 1e-7 * scale);
                passed += back;
                kept_back += !back;
                row_is_zero &= back || (weight[i * UNITS] == 0 && weight[i * UNITS + UNITS - 1] == 0);
            }
            CHECK(row_is_zero);
            if (b == 0) CHECK(passed > 2 && kept_back > 2);
            if (b == 2) CHECK(passed == LATENT);        /* the KL term is stronger than all else there */
            check_model(&check, model, &data);          /* everything else as ever, with the logvar constant */
            vae_destroy(model);
        }
    free(pixels);
}

/* ---- objectives ---- */

/* What the loss of a batch is made of, besides the ELBO itself. */
typedef struct objective { vae_objective kind; size_t samples; double beta, free_bits, capacity; } objective;

static const objective objectives[] = {
    { VAE_OBJECTIVE_ELBO, 1, 1, 0, 0 }, { VAE_OBJECTIVE_ELBO, 3, 2, 0, 0 }, { VAE_OBJECTIVE_IWAE, 1, 1, 0, 0 },
    { VAE_OBJECTIVE_IWAE, 2, 1, 0, 0 }, { VAE_OBJECTIVE_IWAE, 7, 0.5, 0, 0 },
    { VAE_OBJECTIVE_AUTOENCODER, 1, 1, 0, 0 }, { VAE_OBJECTIVE_ELBO, 1, 1, 0.05, 0 },
    { VAE_OBJECTIVE_ELBO, 2, 3, 0.05, 0 }, { VAE_OBJECTIVE_ELBO, 1, 5, 0, 0.01 }, { VAE_OBJECTIVE_ELBO, 2, 5, 0, 40 }
};
enum { OBJECTIVES = sizeof objectives / sizeof *objectives };

static void set_objective(vae_config *config, const objective *o) {
    config->objective = o->kind;
    config->samples = o->samples;
    config->beta = o->beta;
    config->free_bits = o->free_bits;
    config->capacity = o->capacity;
}

/* Every objective's gradient is that of its loss, with every kind of sigma, whatever the decoder ends in, where layers
   share their weights, and with labels, which all samples of a row have. */
TEST(test_objective_gradients) {
    int o, likelihood, sigma, convolutional;
    for (o = 0; o < OBJECTIVES; o++)
        for (likelihood = VAE_BERNOULLI; likelihood < VAEI_LIKELIHOODS; likelihood++)
            for (sigma = 0; sigma < (vaei_has_sigma((vae_likelihood)likelihood) ? 3 : 1); sigma++)
                for (convolutional = 0; convolutional < 4; convolutional++) {
                    vae_config config = { .input = { 4, 3, 2 }, .latent = 3, .classes = convolutional == 3 ? 4 : 0,
                                          .encoder = { VAE_CONV(3, 3, 2, VAE_SILU), VAE_DENSE(6, VAE_TANH) } };
                    const int  outputs = vaei_likelihoods[likelihood].outputs;
                    config.shared_heads = convolutional == 2;
                    config.tied = convolutional == 2 && outputs == 1;
                    if (!convolutional) config.decoder[0] = VAE_DENSE(5, VAE_GELU);
                    if (!convolutional) config.decoder[1] = VAE_DENSE(24 * outputs, VAE_LINEAR);
                    config.likelihood = (vae_likelihood)likelihood;
                    config.sigma = vaei_has_sigma(config.likelihood) && !sigma ? 0.7 : 0;
                    config.sigma_per_pixel = sigma == 2;
                    set_objective(&config, &objectives[o]);
                    check_config(&config, 5, 0, 0, 12);
                    if (convolutional == 1) check_config(&config, 7, 2, 4, 6);
                }
}

/* out = activation(in W + b) of a layer of the plan, as plainly as it can be said; tanh or linear. */
static void plain_dense(const vae_model *model, int index, const double *in, double *out) {
    const vaei_layer *layer = &model->plan.layers[index];
    size_t            i, j;
    for (j = 0; j < layer->outputs; j++) {
        double sum = model->weights[layer->bias + j];
        for (i = 0; i < layer->inputs; i++) sum += in[i] * model->weights[layer->weight + i * layer->outputs + j];
        out[j] = layer->activation == VAE_TANH ? tanh(sum) : sum;
    }
}

enum { BRUTE_PIXELS = 6, BRUTE_LATENT = 3, BRUTE_UNITS = 5, BRUTE_ROWS = 11 };

/* The loss of a batch, written down from its definition: every sample of every row through the network by itself. */
static vae_terms brute_force(const vae_model *model, const objective *o, const vae_real *pixels, size_t count,
                             size_t first) {
    const int gaussian = model->settings.likelihood == VAE_GAUSSIAN;
    double    kls[BRUTE_LATENT] = { 0 }, kl_in_loss = 0, bound = 0;
    vae_terms terms = { 0 };
    size_t    row, s, j;
    for (row = 0; row < count; row++) {
        double hidden[BRUTE_UNITS], heads[2 * BRUTE_LATENT], sum = 0;
        plain_dense(model, 0, pixels + row * BRUTE_PIXELS, hidden);
        plain_dense(model, 1, hidden, heads);
        for (j = 0; j < BRUTE_LATENT; j++)
            kls[j] += 0.5 * (heads[j] * heads[j] + exp(heads[BRUTE_LATENT + j]) - 1 - heads[BRUTE_LATENT + j]) /
                      (double)count;
        for (s = 0; s < o->samples; s++) {
            double noise[BRUTE_LATENT], z[BRUTE_LATENT], outputs[BRUTE_PIXELS], nats = 0, ratio = 0;
            vaei_normal_rows(model->kernels, model->settings.seed, VAEI_STREAM_TRAINING, model->step,
                             (first + row) * o->samples + s, 1, BRUTE_LATENT, noise);
            for (j = 0; j < BRUTE_LATENT; j++) {
                const double deviation = exp(heads[BRUTE_LATENT + j] / 2);
                z[j] = heads[j] + (o->kind == VAE_OBJECTIVE_AUTOENCODER ? 0 : deviation * noise[j]);
                /* log N(z; 0, 1) - log N(z; mean, deviation) */
                ratio += -z[j] * z[j] / 2 + (z[j] - heads[j]) * (z[j] - heads[j]) / (2 * deviation * deviation) +
                         log(deviation);
            }
            plain_dense(model, 2, z, hidden);
            plain_dense(model, 3, hidden, outputs);
            for (j = 0; j < BRUTE_PIXELS; j++) {
                const double x = pixels[row * BRUTE_PIXELS + j], p = 1 / (1 + exp(-outputs[j]));
                nats += gaussian ? (x - outputs[j]) * (x - outputs[j]) / (2 * 0.7 * 0.7) +
                                       log(0.7 * sqrt(8 * atan(1.0)))
                                 : -x * log(p) - (1 - x) * log(1 - p);
            }
            terms.reconstruction += nats / (double)(count * o->samples);
            sum += exp(-nats + o->beta * ratio);
        }
        bound += log(sum / (double)o->samples) / (double)count;
    }
    for (j = 0; j < BRUTE_LATENT; j++) {
        if (o->kind != VAE_OBJECTIVE_AUTOENCODER) terms.kl += kls[j];
        kl_in_loss += kls[j] > o->free_bits ? kls[j] : o->free_bits;
    }
    if (o->capacity > 0) kl_in_loss = fabs(terms.kl - o->capacity);
    if (o->kind == VAE_OBJECTIVE_AUTOENCODER) kl_in_loss = 0;
    terms.elbo = -(terms.reconstruction + terms.kl);
    terms.loss = o->kind == VAE_OBJECTIVE_IWAE ? -bound : terms.reconstruction + o->beta * kl_in_loss;
    return terms;
}

/* Of a whole batch and of shares, whose averages are over their own rows, before and after some steps. */
TEST(test_objectives_by_brute_force) {
    int o, gaussian, step;
    for (o = 0; o < OBJECTIVES; o++)
        for (gaussian = 0; gaussian < 2; gaussian++) {
            vae_config config = { .input = { 1, BRUTE_PIXELS, 1 }, .latent = BRUTE_LATENT, .batch = BRUTE_ROWS,
                                  .threads = 1, .seed = 5, .encoder = { VAE_DENSE(BRUTE_UNITS, VAE_TANH) } };
            vae_real  *pixels = random_pixels(&config, BRUTE_ROWS, 21);
            vae_model *model;
            size_t     i;
            config.optimizer.learning_rate = 0.03;
            config.likelihood = gaussian ? VAE_GAUSSIAN : VAE_BERNOULLI;
            config.sigma = gaussian ? 0.7 : 0;
            set_objective(&config, &objectives[o]);
            model = make(&config);
            for (i = 0; i < vae_parameter_count(model); i++) vae_parameters(model)[i] *= 2;
            for (step = 0; step < 4; step++) {
                static const struct { size_t first, count, total; } shares[] = { { 0, 11, 11 }, { 3, 5, 40 },
                                                                                 { 900, 1, 1000 } };
                for (i = 0; i < 3; i++) {
                    const vae_data  data = { .pixels = pixels, .count = shares[i].count };
                    const vae_share share = { shares[i].first, shares[i].total };
                    const vae_terms expected = brute_force(model, &objectives[o], pixels, data.count, share.first);
                    vae_terms       terms = { 0 };
                    CHECK(vae_accumulate_gradients(model, &data, &share, &terms, NULL) == VAE_OK);
                    CHECK_NEAR(terms.reconstruction, expected.reconstruction,
                               1e-12 * (1 + fabs(expected.reconstruction)));
                    CHECK_NEAR(terms.kl, expected.kl, 1e-12);
                    CHECK_NEAR(terms.elbo, expected.elbo, 1e-12 * (1 + fabs(expected.elbo)));
                    CHECK_NEAR(terms.loss, expected.loss, 1e-12 * (1 + fabs(expected.loss)));
                }
                vae_clear_gradients(model);
                {
                    const vae_data data = { .pixels = pixels, .count = BRUTE_ROWS };
                    CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);
                }
            }
            vae_destroy(model);
            free(pixels);
        }
}

int main(void) {
    RUN(test_activations);
    RUN(test_geometries);
    RUN(test_shared_heads_and_tied_layers);
    RUN(test_dropout);
    RUN(test_batch_norm);
    RUN(test_likelihoods_and_beta);
    RUN(test_sigmas);
    RUN(test_labels);
    RUN(test_pair_scores);
    RUN(test_rows_altered);
    RUN(test_batches);
    RUN(test_shares);
    RUN(test_beta_while_training);
    RUN(test_logvar_at_its_bounds);
    RUN(test_objective_gradients);
    RUN(test_objectives_by_brute_force);
    return test_finish();
}
