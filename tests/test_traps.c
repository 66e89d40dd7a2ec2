/* A program that turns overflow, division by zero and invalid operations into traps (feenableexcept, glibc) can use
   every kernel set: no finite input raises one where the result is a float, and what is not finite is refused with a
   status, not by SIGFPE. A trap ends this program, before its closing line. */
#if defined(__linux__)
#define _GNU_SOURCE
#endif
#define VAE_PLAIN
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "test.h"
#include <float.h>
#include <fenv.h>

/* tcc 0.9.27 converts some of the floats that it has stored to int, to no purpose, which may trap. */
#if !defined(__TINYC__) && defined(__GLIBC__) && defined(FE_OVERFLOW) && defined(FE_INVALID) && defined(FE_DIVBYZERO)
static int  traps_on(void) { return feenableexcept(FE_OVERFLOW | FE_INVALID | FE_DIVBYZERO) != -1; }
static void traps_off(void) { fedisableexcept(FE_ALL_EXCEPT); feclearexcept(FE_ALL_EXCEPT); }
#else
static int  traps_on(void) { return 0; }
static void traps_off(void) {}
#endif
#define NO_TRAPS "this C library, compiler or processor has no use for floating-point traps"

enum { COUNT = 67 };        /* whole vectors of every set, and a tail */

static vae_real not_a_number(void) {
    const uint32_t bits = 0x7FC00000;
    float          x;
    memcpy(&x, &bits, sizeof x);
    return (vae_real)x;
}

/* Numbers of every size and both signs up to `most`. */
static void fill(vae_real *x, vae_real most, size_t turn) {
    static const vae_real parts[] = { 0, 1, -1, (vae_real)0.5, (vae_real)-0.5, (vae_real)1e-3, (vae_real)-1e-3,
                                      (vae_real)1e-10, (vae_real)1e-20, (vae_real)-1e-20, (vae_real)1e-38 };
    size_t i;
    for (i = 0; i < COUNT; i++) x[i] = most * parts[(i + turn) % (sizeof parts / sizeof *parts)];
}

static void use_kernels(const vaei_kernel_set *set) {
    static const vae_real sizes[] = { FLT_MAX, (vae_real)1e30, (vae_real)1e19, 5001, 200, 100, 88, 20, 1 };
    static vae_real       x[COUNT], y[COUNT], z[COUNT], e[COUNT], d[COUNT], p[COUNT], m[COUNT], v[COUNT];
    static unsigned char  bytes[COUNT];
    const vae_real        one = 1;
    size_t                s, i;
    int                   kind, finite = 1;
    for (s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const vae_real most = sizes[s];
        for (kind = VAE_LINEAR; kind <= VAE_SOFTPLUS; kind++) {
            fill(x, most, s);
            vaei_activate(set, (vae_activation)kind, COUNT, x, y);
            for (i = 0; i < COUNT; i++) d[i] = (vae_real)(i % 2 ? 0.875 : -0.875);
            vaei_activate_backward(set, (vae_activation)kind, COUNT,
                                   vaei_activation_saves_input((vae_activation)kind) ? x : y, d);
            for (i = 0; i < COUNT; i++) finite = finite && vaei_finite(y[i]) && vaei_finite(d[i]);
        }
        /* Sums of a vector's lane have to be floats, too. */
        fill(x, most < (vae_real)1e36 ? most : (vae_real)1e36, s);
        for (i = 0; i < COUNT; i++) { e[i] = (vae_real)(i % 5) / 4; bytes[i] = (unsigned char)(i * 4); }
        finite = finite && vaei_finite_wide(vaei_score_bernoulli(set, COUNT, x, e, NULL, (vae_real)0.25, d));
        fill(x, most < (vae_real)1e17 ? most : (vae_real)1e17, s);
        finite = finite && vaei_finite_wide(vaei_gaussian(set, COUNT, x, e, (vae_real)0.25, (vae_real)0.5, d));
        /* A log variance is bounded before it comes here. */
        fill(z, most < 20 ? most : 20, s + 3);
        vaei_bound_logvar(COUNT, z, z);
        finite = finite && vaei_finite_wide(vaei_gaussian_kl(set, COUNT, x, z));
        vaei_reparameterize(set, COUNT, x, z, e, y);
        vaei_latent_backward(set, COUNT, x, z, e, x, (vae_real)0.5, d, y);
        for (i = 0; i < COUNT; i++) finite = finite && vaei_finite(d[i]) && vaei_finite(y[i]);
        {
            vae_optimizer    settings;
            vaei_update_step step;
            memset(&settings, 0, sizeof settings);
            settings.beta1 = (vae_real)0.9;
            settings.beta2 = (vae_real)0.999;
            settings.epsilon = (vae_real)1e-8;
            vaei_begin_adam(&step, &settings, 1e-3, s);
            fill(p, 1, s);
            memset(m, 0, sizeof m);
            memset(v, 0, sizeof v);
            vaei_update_rows(set->adam, set, &step, 1, COUNT, p, &one, x, m, v);
            for (i = 0; i < COUNT; i++) finite = finite && vaei_finite(p[i]) && vaei_finite(v[i]);
        }
        set->column_sums(3, COUNT / 3, x, COUNT / 3, NULL, y, 0);
        set->bytes_to_real(COUNT, bytes, y);
        vaei_random_elements(set, 1, 3, 1, s, 2, 1, COUNT, y);
        vaei_random_elements(set, 0, 3, 1, s, 2, 1, COUNT, y);
        fill(x, most, s);
        finite = finite && set->check_range(COUNT, x, -FLT_MAX, FLT_MAX) == COUNT;
    }
    for (i = 0; i < COUNT; i++) {
        fill(x, 1, 0);
        x[i] = not_a_number();
        finite = finite && set->check_range(COUNT, x, -FLT_MAX, FLT_MAX) == i;
    }
    traps_off();
    CHECK(finite);
}

TEST(test_kernels) {
    int kernels;
    for (kernels = VAE_KERNELS_PLAIN; kernels <= VAE_KERNELS_NEON; kernels++) {
        if (!vae_kernels_available((vae_kernels)kernels)) continue;
        if (!traps_on()) SKIP(NO_TRAPS);
        use_kernels(vaei_kernel_set_of((vae_kernels)kernels));
    }
}

TEST(test_scalars) {
    static const double sizes[] = { 0, 1e-310, 1e-300, 1, 88, 709, 1e4, 1.7e308 };
    size_t i;
    double sum = 0;
    if (!traps_on()) SKIP(NO_TRAPS);
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const double least = vaei_scalar_exp(-sizes[i]);
        (void)vaei_scalar_log(sizes[i]);
        (void)vaei_scalar_log(-sizes[i]);
        (void)vaei_scalar_exp(sizes[i]);
        sum += least;
        sum += (double)vaei_sqrt((vae_real)(sizes[i] < 1e38 ? sizes[i] : 1e38)) * 1e-30;
    }
    traps_off();
    CHECK(sum > 2 && sum < 4);
}

static vae_config small_model(vae_likelihood likelihood, vae_kernels kernels, vae_activation activation) {
    const vae_layer layer = VAE_DENSE(19, activation);
    vae_config      config;
    memset(&config, 0, sizeof config);
    config.input.height = config.input.channels = 1;
    config.input.width = 21;
    config.latent = 3;
    memcpy(config.encoder, &layer, sizeof layer);
    config.likelihood = likelihood;
    config.kernels = kernels;
    config.batch = 8;
    config.seed = 1;
    return config;
}

/* Whole steps of training and inference; then what is not finite. */
static void use_model(vae_likelihood likelihood, vae_kernels kernels, vae_activation activation) {
    vae_config config = small_model(likelihood, kernels, activation);
    vae_model *model = NULL;
    vae_latents latents = { 0 };
    vae_real   pixels[8 * 21], mean[8 * 3], logvar[8 * 3];
    vae_data   data;
    vae_error  error;
    size_t     i;
    int        step, good = 1;
    memset(&data, 0, sizeof data);
    for (i = 0; i < 8 * 21; i++) pixels[i] = (vae_real)(i % 4) / 4;
    data.pixels = pixels;
    data.count = 8;
    good = good && vae_create(&config, &model, &error) == VAE_OK;
    for (step = 0; good && step < 5; step++) good = vae_train_step(model, &data, NULL, &error) == VAE_OK;
    good = good && vae_encode(model, &data, mean, logvar, &error) == VAE_OK;
    good = good && vae_reconstruct(model, &data, pixels, &error) == VAE_OK;
    good = good && vae_elbo(model, &data, NULL, NULL, &error) == VAE_OK;
    good = good && vae_log_likelihood(model, &data, 3, NULL, NULL, &error) == VAE_OK;
    pixels[30] = not_a_number();
    good = good && vae_train_step(model, &data, NULL, &error) == VAE_ERROR_DATA;
    good = good && vae_encode(model, &data, mean, logvar, &error) == VAE_ERROR_DATA;
    good = good && vae_set_beta(model, not_a_number(), &error) == VAE_ERROR_ARGUMENT;
    good = good && vae_set_learning_rate(model, not_a_number(), &error) == VAE_ERROR_ARGUMENT;
    mean[4] = not_a_number();
    latents.z = mean;
    latents.count = 8;
    good = good && vae_decode(model, &latents, pixels, &error) == VAE_ERROR_DATA;
    vae_destroy(model);
    model = NULL;
    config.beta = not_a_number();
    good = good && vae_create(&config, &model, &error) == VAE_ERROR_CONFIG;
    config.beta = 0;
    config.sigma = not_a_number();
    good = good && vae_create(&config, &model, &error) == VAE_ERROR_CONFIG;
    traps_off();
    CHECK(good);
}

TEST(test_models) {
    int kernels, likelihood, activation;
    for (kernels = VAE_KERNELS_PLAIN; kernels <= VAE_KERNELS_NEON; kernels++)
        for (likelihood = VAE_BERNOULLI; likelihood <= VAE_GAUSSIAN; likelihood++)
            for (activation = VAE_LINEAR; activation <= VAE_SOFTPLUS; activation++) {
                if (!vae_kernels_available((vae_kernels)kernels)) continue;
                if (!traps_on()) SKIP(NO_TRAPS);
                use_model((vae_likelihood)likelihood, (vae_kernels)kernels, (vae_activation)activation);
            }
}

int main(void) {
    RUN(test_kernels);
    RUN(test_scalars);
    RUN(test_models);
    return test_finish();
}
