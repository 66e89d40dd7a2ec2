/* Made the files beside it, with the vae.h of release 0.1.0 in FOLDER, and printed the hashes that tests/test_files.c
   expects; run in tests/files:
       cc -O2 -IFOLDER make_0_1.c -o make_0_1 -lm && ./make_0_1
   Each model is trained for one epoch of three batches and stopped after the first batch of the next; it is saved
   there, alone and as a checkpoint, and then finishes that epoch and one more. */
#define VAE_IMPLEMENTATION
#include "vae.h"
#include "recipe.h"

static int stop_in_second_epoch(void *user, const vae_progress *progress) {
    (void)user;
    return progress->event == VAE_EVENT_BATCH && progress->epoch == 2;
}

static int failed(vae_status status, const vae_error *error) {
    if (status == VAE_OK || status == VAE_STOPPED) return 0;
    printf("%s\n", error->message);
    return 1;
}

static int make(const char *name, const vae_config *config) {
    vae_fit_config fit;
    vae_model     *model = NULL;
    vae_data       data;
    vae_error      error;
    uint64_t       stopped;
    char           path[64];
    memset(&fit, 0, sizeof fit);
    fit.epochs = 2;
    fit.on_progress = stop_in_second_epoch;
    if (failed(vae_create(config, &model, &error), &error)) return 1;
    data = recipe_data(vae_example_size(model));
    if (failed(vae_fit(model, &data, &fit, &error), &error)) return 1;
    stopped = recipe_hash(model);
    snprintf(path, sizeof path, "%s_0_1.safetensors", name);
    if (failed(vae_save(model, path, &error), &error)) return 1;
    snprintf(path, sizeof path, "%s_0_1.checkpoint", name);
    if (failed(vae_save_checkpoint(model, path, &error), &error)) return 1;
    fit.on_progress = NULL;
    if (failed(vae_fit(model, &data, &fit, &error), &error)) return 1;
    printf("%s: stopped %016llx, then %016llx\n", name, (unsigned long long)stopped,
           (unsigned long long)recipe_hash(model));
    vae_destroy(model);
    return 0;
}

int main(void) {
    vae_config config;
    memset(&config, 0, sizeof config);
    config.input.height = 1; config.input.width = 8; config.input.channels = 1;
    config.latent = 2;
    config.encoder[0] = (vae_layer)VAE_DENSE(5, VAE_TANH);
    config.beta = (vae_real)0.5;
    config.adam.learning_rate = (vae_real)0.01;
    config.seed = 12;
    config.batch = RECIPE_BATCH;
    config.kernels = VAE_KERNELS_PORTABLE;
    if (make("dense", &config)) return 1;
    memset(&config, 0, sizeof config);
    config.input.height = 6; config.input.width = 5; config.input.channels = 2;
    config.latent = 3;
    config.encoder[0] = (vae_layer)VAE_CONV(3, 3, 2, VAE_GELU);
    config.encoder[1] = (vae_layer)VAE_CONV_SYMMETRIC(4, 3, 2, 1, VAE_LEAKY_RELU);
    config.encoder[2] = (vae_layer)VAE_DENSE(5, VAE_SILU);
    config.likelihood = VAE_GAUSSIAN;
    config.sigma = (vae_real)0.3;
    config.initialization = VAE_INIT_HE;
    config.layout = VAE_CHANNELS_FIRST;
    config.adam.beta1 = (vae_real)0.8;
    config.adam.beta2 = (vae_real)0.95;
    config.adam.epsilon = (vae_real)1e-6;
    config.seed = UINT64_C(0xFFFFFFFFFFFFFFFF);
    config.batch = RECIPE_BATCH;
    config.kernels = VAE_KERNELS_PORTABLE;
    return make("gaussian", &config);
}
