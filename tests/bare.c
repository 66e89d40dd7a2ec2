/* For a machine without heap, files and operating system: trains a small dense and a small convolutional network in a
   static block, scores them, saves them to memory and loads them again. The hashes of the weights and of the files are
   the same from every compiler, on every machine, and stand below. With VAE_BASIC only the dense one.
   Exit status 0: all of it worked. */
#define VAE_IMPLEMENTATION
#include "vae.h"
#include <stdio.h>

enum { ROWS = 16, WIDTH = 16, MOST_NUMBERS = 144, BYTES = 240000, FILE_BYTES = 40000 };

static unsigned char block[BYTES], other_block[BYTES], file[FILE_BYTES];
static vae_real      rows[ROWS * MOST_NUMBERS];

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
    config.kernels = VAE_KERNELS_PORTABLE;
    config.seed = 7;
    return config;
}

#ifndef VAE_BASIC
/* Images of 12 x 12, two convolutions, a dense layer, batches of five. */
static vae_config images(void) {
    vae_config config;
    memset(&config, 0, sizeof config);
    config.input.height = config.input.width = 12;
    config.input.channels = 1;
    config.latent = 3;
    config.encoder[0] = VAE_CONV(5, 3, 2, VAE_RELU);
    config.encoder[1] = VAE_CONV(7, 3, 2, VAE_SILU);
    config.encoder[2] = VAE_DENSE(11, VAE_SOFTPLUS);
    config.likelihood = VAE_BERNOULLI;
    config.batch = 5;
    config.optimizer.learning_rate = (vae_real)0.005;
    config.threads = 1;
    config.kernels = VAE_KERNELS_PORTABLE;
    config.seed = 11;
    return config;
}
#endif

/* The hashes: of the weights, of the model file, of the checkpoint. */
static const struct {
    const char   *name;
    vae_config  (*config)(void);
    size_t        epochs;
    unsigned long weights, model, checkpoint;
} networks[] = {
    { "dense", sensors, 3, 0xe045faf3, 0x8babf9b5, 0xc5ef72ba },
#ifndef VAE_BASIC
    { "convolutional", images, 12, 0xc0d621f6, 0x008e6951, 0xbf4ed5f3 }
#endif
};

static vae_model *make(const vae_config *config, void *memory) {
    vae_model *model = NULL;
    vae_error  error;
    if (vae_create_in(config, memory, BYTES, &model, &error) != VAE_OK) puts(error.message);
    return model;
}

static double loss_of(vae_model *model, const vae_data *data) {
    vae_terms terms;
    return vae_elbo(model, data, &terms, NULL, NULL) == VAE_OK ? terms.loss : 1e30;
}

static uint32_t with_byte(uint32_t hash, unsigned byte) { return (hash ^ byte) * 16777619u; }

static unsigned long hash_of_bytes(const unsigned char *bytes, size_t count) {
    uint32_t hash = 2166136261u;
    size_t   i;
    for (i = 0; i < count; i++) hash = with_byte(hash, bytes[i]);
    return hash;
}

/* Bytes in little-endian order, whatever the machine's. */
static unsigned long hash_of(const vae_real *numbers, size_t count) {
    uint32_t hash = 2166136261u, bits;
    size_t   i;
    int      shift;
    for (i = 0; i < count; i++) {
        memcpy(&bits, numbers + i, sizeof bits);
        for (shift = 0; shift < 32; shift += 8) hash = with_byte(hash, (unsigned)(bits >> shift & 255));
    }
    return hash;
}

static int train(int network) {
    const vae_config config = networks[network].config();
    vae_model       *model = make(&config, block), *loaded = make(&config, other_block);
    vae_fit_config   fit;
    vae_data         data;
    vae_error        error;
    double           before, after;
    size_t           size = 0, needed = 0, i;
    unsigned long    weights, saved[2];
    int              checkpoint;
    if (!model || !loaded) return 1;
    for (i = 0; i < (size_t)ROWS * (size_t)config.input.height * (size_t)config.input.width; i++)
        rows[i] = (vae_real)(i % WIDTH * (i / WIDTH) % 17) / 16;
    memset(&data, 0, sizeof data);
    data.pixels = rows;
    data.count = ROWS;
    memset(&fit, 0, sizeof fit);
    fit.epochs = networks[network].epochs;
    before = loss_of(model, &data);
    if (vae_fit(model, &data, &fit, &error) != VAE_OK) return puts(error.message), 2;
    after = loss_of(model, &data);
    for (checkpoint = 1; checkpoint >= 0; checkpoint--) {
        if (vae_save_memory(model, checkpoint, file, sizeof file, &size, &error) != VAE_OK)
            return puts(error.message), 3;
        saved[checkpoint] = hash_of_bytes(file, size);
    }
    if (vae_load_weights_memory(loaded, file, size, &error) != VAE_OK) return puts(error.message), 4;
    if (vae_memory_needed(&config, &needed, &error) != VAE_OK) return 5;
    weights = hash_of(vae_parameters(model), vae_parameter_count(model));
    printf("%s: weights %08lx, model file %08lx, checkpoint %08lx\n", networks[network].name, weights, saved[0],
           saved[1]);
    printf("    loss in thousandths %ld, before training %ld; %lu bytes of memory\n", (long)(1000 * after),
           (long)(1000 * before), (unsigned long)needed);
    if (memcmp(vae_parameters(loaded), vae_parameters(model), vae_parameter_count(model) * sizeof(vae_real))) return 6;
    if (weights != networks[network].weights || saved[0] != networks[network].model ||
        saved[1] != networks[network].checkpoint) return puts("other hashes than everywhere else"), 7;
    return after < before ? 0 : 8;
}

int main(void) {
    int network, failed = 0;
    for (network = 0; network < (int)(sizeof networks / sizeof *networks) && !failed; network++)
        failed = train(network);
    return failed;
}
