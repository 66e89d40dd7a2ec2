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
    int         output_bias_from_data; /* begins with each pixel's mean: saves an epoch of learning what is black */
    int         stages;                /* rows in order; 3^i passes each at 10^(-i/7) times the learning rate, i = 0, 1,
                                          ..: Burda, Grosse and Salakhutdinov 2016, section 5 */
    int         epochs;                /* where --epochs says nothing; 0: 10 */
    vae_config  config;                /* all but the input's shape; a schedule lasts as long as the training */
} recipe;

/* In a recipe of stages: the learning rate for the model's next pass. */
static inline void recipe_set_rate(vae_model *model, double rate) {
    size_t    passes = 1, ended = 1;
    vae_state state;
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
        { "autoencoder", "no sampling, no KL: a code of 50 numbers, Adadelta", 0, 0, 0,
          { .latent = 50, .batch = 256, .encoder = { VAE_DENSE(50, VAE_RELU) },
            .decoder = { VAE_DENSE_SHAPED(28, 28, 1, VAE_LINEAR) }, .objective = VAE_OBJECTIVE_AUTOENCODER,
            .optimizer = { .kind = VAE_ADADELTA } } },
        { "vae-burda", "200-200-50, pixels drawn anew, 3280 passes: the paper's log p is -86.76", 1, 1, 3280,
          { .latent = 50, .batch = 20, .encoder = { VAE_DENSE(200, VAE_TANH), VAE_DENSE(200, VAE_TANH) },
            .initialization = VAE_INIT_GLOROT, .optimizer = { .epsilon = 1e-4f }, .binarize = 1 } },
        { "iwae", "the same with the importance-weighted bound, --k samples (5): -85.54", 1, 1, 3280,
          { .latent = 50, .batch = 20, .encoder = { VAE_DENSE(200, VAE_TANH), VAE_DENSE(200, VAE_TANH) },
            .initialization = VAE_INIT_GLOROT, .optimizer = { .epsilon = 1e-4f }, .binarize = 1,
            .objective = VAE_OBJECTIVE_IWAE } },
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
