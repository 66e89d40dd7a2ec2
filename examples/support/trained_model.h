/* trained_model.h - a model from train_mnist, and whether it is for the images that it is to see. */
#ifndef TRAINED_MODEL_H
#define TRAINED_MODEL_H

#include "idx_reader.h"
#include "message.h"

static inline int load_trained(const char *path, const vae_config *changes, vae_model **model, char *message) {
    vae_error error;
    if (vae_load(path, changes, model, &error) == VAE_OK) return 0;
    return fail(message, "%s%s", error.message,
                error.status == VAE_ERROR_FILE ? " (train_mnist makes a model)" : "");
}

/* Reads the test images and loads a model for inference on them. `missing` nonzero: pixels of theirs may be missing. */
static inline int load_for_images(const char *path, const char *data, int missing, vae_model **model,
                                  idx_images *test, char *message) {
    const vae_config changes = { .inference_only = 1, .missing = missing };
    vae_config       config;
    idx_directory    found;
    if (idx_read_mnist(data, &found, NULL, test, message) != 0 ||
        load_trained(path, &changes, model, message) != 0) return -1;
    vae_get_config(*model, &config);
    if (config.classes)
        return fail(message, "%s is conditional: it asks for each image's class, which only draw_digit gives", path);
    if (config.input.height == test->height && config.input.width == test->width && config.input.channels == 1)
        return 0;
    return fail(message, "the model is for images of %d x %d x %d, the test images are %d x %d x 1",
                config.input.height, config.input.width, config.input.channels, test->height, test->width);
}

#endif
