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
    vae_config  config;                /* all but the input's shape */
} recipe;

/* Copies recipe `name` into *found, or where `found` is NULL lists them all. Returns 0, or -1 where there is none. */
static inline int recipe_find(const char *name, recipe *found) {
    const recipe table[] = {
        { "conv", "draws good digits: 105.7 after 5 epochs, 103.3 after 10", 1,
          { .latent = 8,
            .encoder = { VAE_CONV(16, 4, 2, VAE_SILU), VAE_CONV(32, 4, 2, VAE_SILU), VAE_DENSE(256, VAE_SILU) },
            .initialization = VAE_INIT_GLOROT,
            .optimizer = { .learning_rate = 2e-3f } } },
        { "conv-16", "the same with 16 dimensions, which tells more: 99.5 after 5 epochs", 1,
          { .latent = 16,
            .encoder = { VAE_CONV(16, 4, 2, VAE_SILU), VAE_CONV(32, 4, 2, VAE_SILU), VAE_DENSE(256, VAE_SILU) },
            .initialization = VAE_INIT_GLOROT,
            .optimizer = { .learning_rate = 2e-3f } } },
        { "dense", "784-400-20 in a hurry: 106.0 in the seventh epoch", 1,
          { .latent = 20, .encoder = { VAE_DENSE(400, VAE_RELU) }, .optimizer = { .learning_rate = 2e-3f } } },
        { "torch-400-20", "pytorch/examples' vae: 126 to 129 after 1 epoch, 105.7 after 10", 0,
          { .latent = 20, .encoder = { VAE_DENSE(400, VAE_RELU) } } },
        { "dense-512-32", "784-512-32: 105.0 after 10 epochs", 0,
          { .latent = 32, .encoder = { VAE_DENSE(512, VAE_RELU) } } },
        { "dense-512-256-2", "784-512-256-2: 144 after 10 epochs; for sample_mnist --manifold", 0,
          { .latent = 2, .encoder = { VAE_DENSE(512, VAE_RELU), VAE_DENSE(256, VAE_RELU) } } },
        { "keras-conv", "the network of Keras' guide, 134,165 parameters: 187.6 after 3 epochs", 0,
          { .latent = 2,
            .encoder = { VAE_CONV(32, 3, 2, VAE_RELU), VAE_CONV(64, 3, 2, VAE_RELU), VAE_DENSE(16, VAE_RELU) },
            .decoder = { VAE_DENSE_SHAPED(7, 7, 64, VAE_RELU), VAE_CONV_TRANSPOSED(64, 3, 2, VAE_RELU),
                         VAE_CONV_TRANSPOSED(32, 3, 2, VAE_RELU), VAE_CONV_TRANSPOSED(1, 3, 1, VAE_LINEAR) },
            .initialization = VAE_INIT_GLOROT } },
        { "keras-conv-96k", "the same without its dense layer of 16, 96,453 parameters: 160.3 after 3 epochs", 0,
          { .latent = 2,
            .encoder = { VAE_CONV(32, 3, 2, VAE_RELU), VAE_CONV(64, 3, 2, VAE_RELU) },
            .decoder = { VAE_DENSE_SHAPED(7, 7, 64, VAE_RELU), VAE_CONV_TRANSPOSED(64, 3, 2, VAE_RELU),
                         VAE_CONV_TRANSPOSED(32, 3, 2, VAE_RELU), VAE_CONV_TRANSPOSED(1, 3, 1, VAE_LINEAR) },
            .initialization = VAE_INIT_GLOROT } },
    };
    size_t i;
    for (i = 0; i < sizeof table / sizeof *table; i++) {
        if (!found) printf("%-16s %s\n", table[i].name, table[i].about);
        else if (strcmp(table[i].name, name) == 0) {
            *found = table[i];
            return 0;
        }
    }
    return found ? -1 : 0;
}

#endif
