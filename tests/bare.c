/* For a machine without heap, files and operating system: trains a small network in a static block, scores, saves to
   memory and loads again, and prints a hash of the weights, which is the same on every machine. .ci/run builds it for
   Cortex-M and others. Exit status 0: all of it worked. */
#define VAE_IMPLEMENTATION
#include "vae.h"
#include <stdio.h>

enum { ROWS = 16, WIDTH = 16, BYTES = 65000 };

static unsigned char block[BYTES], other_block[BYTES], file[16000];

/* Sixteen sensors, eight units, two latent dimensions, one row at a time. */
static vae_config sensors(void) {
    vae_config config;
    memset(&config, 0, sizeof config);
    config.input.height = config.input.channels = 1;
    config.input.width = WIDTH;
    config.latent = 2;
    config.encoder[0] = VAE_DENSE(8, VAE_TANH);
    config.likelihood = VAE_GAUSSIAN;
    config.sigma = (vae_real)0.25;
    config.batch = 1;
    config.threads = 1;
    config.seed = 7;
    return config;
}

static vae_model *make(void *memory) {
    const vae_config config = sensors();
    vae_model *model = NULL;
    vae_error  error;
    if (vae_create_in(&config, memory, BYTES, &model, &error) != VAE_OK) puts(error.message);
    return model;
}

static double loss_of(vae_model *model, const vae_data *data) {
    vae_terms terms;
    return vae_elbo(model, data, &terms, NULL, NULL) == VAE_OK ? terms.loss : 1e30;
}

/* Bytes in little-endian order, whatever the machine's. */
static uint32_t hash_of(const vae_real *numbers, size_t count) {
    uint32_t hash = 2166136261u, bits;
    size_t   i;
    int      shift;
    for (i = 0; i < count; i++) {
        memcpy(&bits, numbers + i, sizeof bits);
        for (shift = 0; shift < 32; shift += 8) hash = (hash ^ (bits >> shift & 255)) * 16777619u;
    }
    return hash;
}

int main(void) {
    static vae_real rows[ROWS * WIDTH];
    vae_model      *model = make(block), *loaded = make(other_block);
    vae_fit_config  fit;
    vae_data        data;
    vae_error       error;
    double          before, after;
    size_t          size = 0, needed = 0, i;
    const vae_config config = sensors();
    if (!model || !loaded) return 1;
    for (i = 0; i < ROWS * WIDTH; i++) rows[i] = (vae_real)(i % WIDTH * (i / WIDTH) % 17) / 16;
    memset(&data, 0, sizeof data);
    data.pixels = rows;
    data.count = ROWS;
    memset(&fit, 0, sizeof fit);
    fit.epochs = 3;
    before = loss_of(model, &data);
    if (vae_fit(model, &data, &fit, &error) != VAE_OK) return puts(error.message), 2;
    after = loss_of(model, &data);
    if (vae_save_memory(model, 0, file, sizeof file, &size, &error) != VAE_OK) return puts(error.message), 3;
    if (vae_load_weights_memory(loaded, file, size, &error) != VAE_OK) return puts(error.message), 4;
    if (vae_memory_needed(&config, &needed, &error) != VAE_OK) return 5;
    printf("weights %08lx\n", (unsigned long)hash_of(vae_parameters(model), vae_parameter_count(model)));
    printf("loss in thousandths %ld, before training %ld; %lu bytes of memory\n", (long)(1000 * after),
           (long)(1000 * before), (unsigned long)needed);
    if (memcmp(vae_parameters(loaded), vae_parameters(model), vae_parameter_count(model) * sizeof(vae_real))) return 6;
    return after < before ? 0 : 7;
}
