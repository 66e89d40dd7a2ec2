/* mean_picture.h - whether a model has learned its pictures: how near it gives them back, beside their mean. */
#ifndef MEAN_PICTURE_H
#define MEAN_PICTURE_H

#include "../../vae.h"

#include <stdio.h>
#include <stdlib.h>

#include "message.h"

/* The squared error of the pictures' reconstructions, as a share of that which the mean picture has in their place. */
static inline vae_status share_of_mean(vae_model *model, const vae_data *data, double *share, vae_error *error) {
    const vae_score_config squared = { .kind = VAE_SCORE_SQUARED_ERROR };
    const size_t size = vae_example_size(model);
    double      *each = (double *)malloc(data->count * sizeof *each), left = 0, spread = 0;
    vae_status   status = each ? vae_score(model, data, &squared, each, error) : VAE_ERROR_MEMORY;
    size_t       i, k;
    if (!each) snprintf(error->message, sizeof error->message, "not enough memory for the pictures' errors");
    for (k = 0; status == VAE_OK && k < size; k++) {
        double sum = 0, squares = 0;
        for (i = 0; i < data->count; i++) {
            const double x = data->bytes[i * size + k] / 255.0;
            sum += x;
            squares += x * x;
        }
        spread += squares - sum * sum / (double)data->count;
    }
    for (i = 0; status == VAE_OK && i < data->count; i++) left += each[i];
    *share = spread > 1e-9 ? left / spread : 0;
    free(each);
    return status;
}

/* Says it; -1 where it cannot be known. */
static inline int tell_learned(vae_model *model, const vae_data *data, char *message) {
    double    share;
    vae_error error;
    vae_state state;
    if (share_of_mean(model, data, &share, &error) != VAE_OK) return fail(message, "%s", error.message);
    vae_get_state(model, &state);
    printf("%lu updates: your pictures come back with %.0f %% of the squared error that their mean has%s\n",
           (unsigned long)state.step, 100 * share,
           share > 0.8 ? ". They are not learned yet: new ones are noise, or all alike. Give more --epochs"
           : share > 0.25 ? ". New ones are as blurred: more --epochs may bring it down" : "");
    return 0;
}

#endif
