/* The models whose sizes tests/export_cortex.sh measures, with fresh weights: export_models FOLDER */
#define VAE_IMPLEMENTATION
#include "../vae.h"

static int save(const vae_config *config, const char *folder, const char *name) {
    char       path[512];
    vae_model *model = NULL;
    vae_error  error;
    snprintf(path, sizeof path, "%.400s/%s.safetensors", folder, name);
    if (vae_create(config, &model, &error) == VAE_OK && vae_save(model, path, &error) == VAE_OK) {
        vae_destroy(model);
        return 0;
    }
    printf("%s: %s\n", name, error.message);
    return 1;
}

int main(int argc, char **argv) {
    const char *folder = argc > 1 ? argv[1] : "build/export";
    vae_config  c;
    int         failed;
    memset(&c, 0, sizeof c);
    c.input.height = c.input.channels = 1;
    c.input.width = 16;
    c.latent = 2;
    c.encoder[0] = VAE_DENSE(8, VAE_TANH);
    failed = save(&c, folder, "sensor");
    c.input.height = c.input.width = 28;
    c.latent = 20;
    c.encoder[0] = VAE_DENSE(400, VAE_RELU);
    failed |= save(&c, folder, "dense");
    c.latent = 16;
    c.encoder[0] = VAE_CONV(16, 4, 2, VAE_RELU);
    c.encoder[1] = VAE_CONV(32, 4, 2, VAE_RELU);
    failed |= save(&c, folder, "convolutional");
    return failed;
}
