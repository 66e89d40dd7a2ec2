/* evaluation.h - what a model is worth on images that it was not trained on. */
#ifndef EVALUATION_H
#define EVALUATION_H

#include <stdio.h>
#include <stdlib.h>
#include "message.h"

/* Prints log p(x), estimated by so many samples for each row, and how many dimensions of z carry something. */
static inline int print_evaluation(vae_model *model, const vae_data *test, size_t samples, char *message) {
    vae_dimension *each = malloc(vae_latent_size(model) * sizeof *each);
    size_t         active = 0;
    double         log_p = 0;
    vae_error      error;
    vae_status     status;
    if (!each) return fail(message, "not enough memory for %lu dimensions", (unsigned long)vae_latent_size(model));
    status = vae_log_likelihood(model, test, samples, &log_p, NULL, &error);
    if (status == VAE_OK) status = vae_latent_statistics(model, test, each, &active, &error);
    free(each);
    if (status != VAE_OK) return fail(message, "%s", error.message);
    printf("evaluated: samples=%lu log_p=%.2f active=%lu\n", (unsigned long)samples, log_p, (unsigned long)active);
    return 0;
}

#endif
