/* recipes.h - networks for MNIST with the settings they are trained with. A new one is one more row.

   What a row leaves out is vae.h's default: batch 128, Adam at 1e-3, PyTorch's first weights, and as decoder the
   encoder's mirror image. The figures are test losses in nats per image. */
#ifndef RECIPES_H
#define RECIPES_H

#include "../vae.h"

#include <stdio.h>
#include <string.h>

typedef struct recipe {
    const char *name, *about;
    int         output_bias;           /* begins with each pixel's mean: saves an epoch of learning what is black */
    int         stages;                /* rows in order; 3^i passes each at 10^(-i/7) times the learning rate, i = 0, 1,
                                          ..: Burda, Grosse and Salakhutdinov 2016, section 5 */
    int         epochs;                /* where --epochs says nothing; 0: 10 */
    vae_config  config;                /* all but the input's shape; a schedule lasts as long as the training */
} recipe;

/* What the command line says instead of the recipe; 0 or NULL: nothing. */
typedef struct recipe_changes {
    long long   latent, batch, epochs, samples;
    double      learning_rate, beta;    /* beta below 0: nothing */
    const char *objective;
} recipe_changes;

/* Makes the changes; `rows` is how many there are to train on. -1 where there is no such objective. */
static inline int recipe_change(recipe *r, const recipe_changes *wanted, size_t rows) {
    vae_config *config = &r->config;
    if (wanted->latent) config->latent = (int)wanted->latent;
    if (wanted->batch) config->batch = (size_t)wanted->batch;
    if (wanted->samples) config->samples = (size_t)wanted->samples;
    if (wanted->epochs) r->epochs = (int)wanted->epochs;
    if (!r->epochs) r->epochs = 10;
    if (wanted->learning_rate > 0) config->optimizer.learning_rate = (vae_real)wanted->learning_rate;
    if (wanted->beta >= 0) config->beta = wanted->beta > 0 ? (vae_real)wanted->beta : VAE_ZERO;
    if (config->optimizer.schedule.kind)
        config->optimizer.schedule.steps =
            (uint64_t)r->epochs * ((rows - 1) / (config->batch ? config->batch : 128) + 1);
    if (!wanted->objective) return 0;
    config->objective = strcmp(wanted->objective, "vae") == 0    ? VAE_OBJECTIVE_ELBO
                        : strcmp(wanted->objective, "iwae") == 0 ? VAE_OBJECTIVE_IWAE
                                                                 : VAE_OBJECTIVE_DEFAULT;
    return config->objective ? 0 : -1;
}

/* In a recipe of stages: sets the learning rate of the model's next pass. It follows from the passes made, so that
   training which resumes goes on with the right one. */
static inline void recipe_set_rate(const recipe *r, vae_model *model) {
    double    rate = (double)r->config.optimizer.learning_rate;
    size_t    passes = 1, ended = 1;
    vae_state state;
    if (!r->stages) return;
    vae_get_state(model, &state);
    for (; state.epoch >= ended; ended += passes) {
        passes *= 3;
        rate *= 0.71968567300115201;        /* 10^(-1/7) */
    }
    vae_set_learning_rate(model, (vae_real)rate, NULL);
}

#define SQUARED_ERROR 0.70710678f       /* sigma with which a Gaussian's nats are the squared error and a constant */

/* Copies recipe `name` into *found, or where `found` is NULL lists them all. Returns 0, or -1 where there is none. */
static inline int recipe_find(const char *name, recipe *found) {
    const recipe table[] = {
        { "conv", "draws good digits: 105.7 after 5 epochs, 103.3 after 10", 1, 0, 0,
          { .latent = 8,
            .encoder = { VAE_CONV(16, 4, 2, VAE_SILU), VAE_CONV(32, 4, 2, VAE_SILU), VAE_DENSE(256, VAE_SILU) },
            .initialization = VAE_INIT_GLOROT,
            .optimizer = { .learning_rate = 2e-3f } } },
        { "conv-16", "the same with 16 dimensions, which tells more: 99.5 after 5 epochs", 1, 0, 0,
          { .latent = 16,
            .encoder = { VAE_CONV(16, 4, 2, VAE_SILU), VAE_CONV(32, 4, 2, VAE_SILU), VAE_DENSE(256, VAE_SILU) },
            .initialization = VAE_INIT_GLOROT,
            .optimizer = { .learning_rate = 2e-3f } } },
        { "dense", "784-400-20 in a hurry: 106.0 in the seventh epoch", 1, 0, 0,
          { .latent = 20, .encoder = { VAE_DENSE(400, VAE_RELU) }, .optimizer = { .learning_rate = 2e-3f } } },
        { "torch-400-20", "pytorch/examples' vae: 126 to 129 after 1 epoch, 105.7 after 10", 0, 0, 0,
          { .latent = 20, .encoder = { VAE_DENSE(400, VAE_RELU) } } },
        { "dense-512-32", "784-512-32: 105.0 after 10 epochs", 0, 0, 0,
          { .latent = 32, .encoder = { VAE_DENSE(512, VAE_RELU) } } },
        { "dense-512-256-2", "784-512-256-2: 144 after 10 epochs; for sample_mnist --manifold", 0, 0, 0,
          { .latent = 2, .encoder = { VAE_DENSE(512, VAE_RELU), VAE_DENSE(256, VAE_RELU) } } },
        { "keras-conv", "conv 32/64, z 2, 96,453 parameters: 160.3 after 3 epochs; for --manifold", 0, 0, 0,
          { .latent = 2,
            .encoder = { VAE_CONV(32, 3, 2, VAE_RELU), VAE_CONV(64, 3, 2, VAE_RELU) },
            .decoder = { VAE_DENSE_SHAPED(7, 7, 64, VAE_RELU), VAE_CONV_TRANSPOSED(64, 3, 2, VAE_RELU),
                         VAE_CONV_TRANSPOSED(32, 3, 2, VAE_RELU), VAE_CONV_TRANSPOSED(1, 3, 1, VAE_LINEAR) },
            .initialization = VAE_INIT_GLOROT } },
        { "keras-conv-134k", "the network of Keras' guide, with a dense layer of 16: 187.6 after 3 epochs", 0, 0, 0,
          { .latent = 2,
            .encoder = { VAE_CONV(32, 3, 2, VAE_RELU), VAE_CONV(64, 3, 2, VAE_RELU), VAE_DENSE(16, VAE_RELU) },
            .decoder = { VAE_DENSE_SHAPED(7, 7, 64, VAE_RELU), VAE_CONV_TRANSPOSED(64, 3, 2, VAE_RELU),
                         VAE_CONV_TRANSPOSED(32, 3, 2, VAE_RELU), VAE_CONV_TRANSPOSED(1, 3, 1, VAE_LINEAR) },
            .initialization = VAE_INIT_GLOROT } },
        { "tf-conv-beta", "conv 64/64 without padding, dense decoder, squared error: beta as you like", 0, 0, 0,
          { .latent = 20,
            .encoder = { VAE_CONV_SYMMETRIC(64, 3, 1, 0, VAE_RELU), VAE_CONV_SYMMETRIC(64, 3, 1, 0, VAE_RELU),
                         VAE_DENSE(256, VAE_RELU) },
            .decoder = { VAE_DENSE(256, VAE_RELU), VAE_DENSE_SHAPED(28, 28, 1, VAE_SIGMOID) },
            .likelihood = VAE_GAUSSIAN, .sigma = SQUARED_ERROR, .initialization = VAE_INIT_GLOROT } },
        { "tf-conv-beta-tied", "the same, mean and logvar from one layer, the decoder the encoder's transpose", 0, 0, 0,
          { .latent = 20,
            .encoder = { VAE_CONV_SYMMETRIC(64, 3, 1, 0, VAE_RELU), VAE_CONV_SYMMETRIC(64, 3, 1, 0, VAE_RELU),
                         VAE_DENSE(256, VAE_RELU) },
            .likelihood = VAE_GAUSSIAN, .sigma = SQUARED_ERROR, .shared_heads = 1, .tied = 1,
            .initialization = VAE_INIT_GLOROT } },
        /* The 50 are the code: the linear layers behind it, for z and for the pixels, do no more than one. */
        { "autoencoder", "784-50-784 without sampling or KL, by Adadelta; the picture shows reconstructions", 0, 0, 0,
          { .latent = 50, .batch = 256, .encoder = { VAE_DENSE(50, VAE_RELU) },
            .decoder = { VAE_DENSE_SHAPED(28, 28, 1, VAE_LINEAR) }, .objective = VAE_OBJECTIVE_AUTOENCODER,
            .optimizer = { .kind = VAE_ADADELTA } } },
        { "cvae", "784-512-16 told the digit, which it then draws on demand: a class in each column", 1, 0, 0,
          { .latent = 16, .classes = 10, .encoder = { VAE_DENSE(512, VAE_SILU) },
            .initialization = VAE_INIT_GLOROT } },
        { "denoise", "learns to take off noise of deviation 0.5: see reconstruct_mnist --noise 0.5", 1, 0, 5,
          { .latent = 64,
            .encoder = { VAE_CONV(16, 4, 2, VAE_SILU), VAE_CONV(32, 4, 2, VAE_SILU), VAE_DENSE(256, VAE_SILU) },
            .initialization = VAE_INIT_GLOROT, .corruption = { VAE_CORRUPTION_GAUSSIAN, 0.5f },
            .optimizer = { .learning_rate = 2e-3f } } },
        { "iwae", "200-200-50, log p by Burda et al. -85.54, with --k 1 -86.76", 1, 1, 3280,
          { .latent = 50, .batch = 20, .encoder = { VAE_DENSE(200, VAE_TANH), VAE_DENSE(200, VAE_TANH) },
            .initialization = VAE_INIT_GLOROT, .binarize = 1, .objective = VAE_OBJECTIVE_IWAE,
            .optimizer = { .learning_rate = 1e-3f, .epsilon = 1e-4f } } },
        { "best", "the best log p of binarised digits known here: --evaluate 500 tells it", 1, 0, 60,
          { .latent = 40,
            .encoder = { VAE_CONV(32, 4, 2, VAE_SILU), VAE_CONV(64, 4, 2, VAE_SILU), VAE_DENSE(512, VAE_SILU) },
            .initialization = VAE_INIT_GLOROT, .binarize = 1,
            .optimizer = { .learning_rate = 2e-3f, .schedule = { .kind = VAE_COSINE, .to = 5e-3f } } } },
    };
    size_t i;
    for (i = 0; i < sizeof table / sizeof *table; i++) {
        if (!found) printf("%-18s %s\n", table[i].name, table[i].about);
        else if (strcmp(table[i].name, name) == 0) {
            *found = table[i];
            return 0;
        }
    }
    return found ? -1 : 0;
}

#endif
