/* Prints a hash of the weights after some steps of training, for every kernel set and several numbers of threads. The
   lines must be the same whatever the compiler and its options: .ci/run compares them. Within one run the sets of a
   family must agree, and the threads. */
#define VAE_PLAIN
#define VAE_THREADS
#define VAE_IMPLEMENTATION
#include "../vae.h"

static uint64_t hash_of(vae_model *model) {
    const vae_real *parameters = vae_parameters(model);
    uint64_t        hash = UINT64_C(14695981039346656037);
    size_t          i, byte;
    for (i = 0; i < vae_parameter_count(model); i++) {
        uint32_t bits;
        memcpy(&bits, parameters + i, sizeof bits);
        for (byte = 0; byte < 4; byte++, bits >>= 8) hash = (hash ^ (bits & 255)) * UINT64_C(1099511628211);
    }
    return hash;
}

/* dense, convolutions: with fixed likelihoods; then sigmas that are learned, of data that are standardised */
static const struct { const char *name; int convolutional, standardize, sigma_per_pixel;
                      vae_likelihood likelihood; vae_real sigma;
                      vae_objective objective; size_t samples; vae_real free_bits; } networks[] = {
    { "dense", 0, 0, 0, VAE_BERNOULLI, 0, VAE_OBJECTIVE_ELBO, 1, 0 },
    { "convolutions", 1, 0, 0, VAE_GAUSSIAN, 1, VAE_OBJECTIVE_ELBO, 1, 0 },
    { "learned sigma", 0, 1, 0, VAE_GAUSSIAN, 0, VAE_OBJECTIVE_ELBO, 1, 0 },
    { "learned sigmas", 1, 1, 1, VAE_LAPLACE, 0, VAE_OBJECTIVE_ELBO, 1, 0 },
    { "continuous bernoulli", 0, 0, 0, VAE_CONTINUOUS_BERNOULLI, 0, VAE_OBJECTIVE_ELBO, 1, 0 },
    { "several samples", 1, 0, 0, VAE_BERNOULLI, 0, VAE_OBJECTIVE_ELBO, 3, (vae_real)0.05 },
    { "weighed samples", 1, 1, 1, VAE_GAUSSIAN, 0, VAE_OBJECTIVE_IWAE, 4, 0 }
};

static uint64_t train(vae_kernels kernels, int threads, int network) {
    static const vae_layer dense[2] = { VAE_DENSE_INITIALIZER(67, VAE_GELU), VAE_DENSE_INITIALIZER(35, VAE_TANH) };
    static const vae_layer conv[3] = { VAE_CONV_INITIALIZER(9, 3, 2, VAE_SILU),
                                       VAE_CONV_INITIALIZER(17, 3, 2, VAE_RELU),
                                       VAE_DENSE_INITIALIZER(21, VAE_SOFTPLUS) };
    static unsigned char   pixels[60 * 22 * 19];
    vae_config             config;
    vae_model             *model = NULL;
    vae_data               data;
    vae_fit_config         fit;
    vae_error              error;
    uint64_t               hash;
    size_t                 i;
    for (i = 0; i < sizeof pixels; i++) pixels[i] = (unsigned char)(i * i % 251 * (i % 3));
    memset(&config, 0, sizeof config);
    memset(&data, 0, sizeof data);
    memset(&fit, 0, sizeof fit);
    config.input.height = 22;
    config.input.width = 19;
    config.input.channels = 1;
    config.latent = 5;
    if (networks[network].convolutional) memcpy(config.encoder, conv, sizeof conv);
    else memcpy(config.encoder, dense, sizeof dense);
    config.likelihood = networks[network].likelihood;
    config.sigma = networks[network].sigma;
    config.sigma_per_pixel = networks[network].sigma_per_pixel;
    config.standardize = networks[network].standardize;
    config.objective = networks[network].objective;
    config.samples = networks[network].samples;
    config.free_bits = networks[network].free_bits;
    config.batch = 27;
    config.kernels = kernels;
    config.threads = threads;
    config.seed = 3;
    data.bytes = pixels;
    data.count = 60;
    fit.epochs = 4;
    if (vae_create(&config, &model, &error) != VAE_OK || vae_fit(model, &data, &fit, &error) != VAE_OK) {
        printf("%s\n", error.message);
        return 0;
    }
    hash = hash_of(model);
    vae_destroy(model);
    return hash;
}

int main(void) {
    int network, kernels, threads, wrong = 0;
    for (network = 0; network < (int)(sizeof networks / sizeof *networks); network++) {
        uint64_t family[2] = { 0, 0 };
        for (kernels = VAE_KERNELS_PLAIN; kernels <= VAE_KERNELS_NEON; kernels++) {
            const int fused = kernels >= VAE_KERNELS_AVX2;
            if (!vae_kernels_available((vae_kernels)kernels)) continue;
            for (threads = 1; threads <= 8; threads = threads * 2 + (threads == 1)) {
                const uint64_t hash = train((vae_kernels)kernels, threads, network);
                if (!family[fused]) family[fused] = hash;
                if (hash != family[fused] || !hash) {
                    printf("%s, %d threads: %016llx\n", vae_kernels_name((vae_kernels)kernels), threads,
                           (unsigned long long)hash);
                    wrong = 1;
                }
            }
        }
        printf("%s: portable %016llx fused %016llx\n", networks[network].name, (unsigned long long)family[0],
               (unsigned long long)family[1]);
    }
    return wrong;
}
