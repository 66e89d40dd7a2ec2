/* VAE_NO_DOUBLE: what is a vae_wide is a float. Its functions are as exact as a float can be where doubles were used to
   have digits to spare, and a network learns. (Other tests compile with the option, too: .ci/run.) */
#define VAE_NO_DOUBLE
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <math.h>
#include "test.h"

TEST(test_scalars) {
    double x, worst_exp = 0, worst_log = 0, worst_root = 0;
    for (x = -86.8; x < 88.7; x += 0.0173) {
        const float  at = (float)x;
        const double off = fabs((double)vaei_scalar_exp(at) / exp((double)at) - 1);
        if (off > worst_exp) worst_exp = off;
    }
    for (x = 1.2e-38; x < 3.3e38; x *= 1.0137) {
        const float  at = (float)x;
        const double off = fabs((double)vaei_scalar_log(at) - log((double)at)) / fmax(1e-3, fabs(log((double)at)));
        const double root = fabs((double)vaei_scalar_sqrt(at) / sqrt((double)at) - 1);
        if (off > worst_log) worst_log = off;
        if (root > worst_root) worst_root = root;
    }
    CHECK(worst_exp < 2.5e-7);
    CHECK(worst_log < 2.5e-7);
    CHECK(worst_root < 6e-6);           /* the rounding of the logarithm, times the number's size on that scale */
    CHECK(vaei_scalar_exp(-87) <= 0 && vaei_scalar_exp(-1e30f) <= 0 && !vaei_finite_wide(vaei_scalar_exp(89)));
    CHECK(vaei_scalar_log(0) < 0 && !vaei_finite_wide(vaei_scalar_log(0)) && vaei_is_nan_wide(vaei_scalar_log(-1)));
    CHECK_NEAR((double)vaei_scalar_log(1e-45f), log(1.4012984643e-45), 1e-4);
    for (x = 0; x <= 1; x += 0.0011)
        CHECK_NEAR((double)vaei_cosine((float)x), cos(3.14159265358979323846 * (double)(float)x), 3e-7);
}

/* 1 - beta^t from the first step to those where it is 1. */
TEST(test_bias_corrections) {
    static const float betas[] = { 0, 0.5f, 0.9f, 0.999f, 0.99999f, 0.9999999f };
    size_t   i;
    uint64_t t;
    for (i = 0; i < sizeof betas / sizeof *betas; i++)
        for (t = 1; t < (uint64_t)1 << 40; t += t / 5 + 1) {
            const double right = -expm1((double)t * log((double)betas[i]));
            const double off = fabs((double)vaei_one_minus_power(betas[i], t) / right - 1);
            if (!CHECK(off < 2e-6)) printf("  beta %.9g, t %.0f: off by %g\n", (double)betas[i], (double)t, off);
        }
}

TEST(test_drawn_numbers_stay_inside) {
    vae_real u;
    CHECK(vaei_middle(0) > 0 && vaei_middle((vae_real)(16777215 / 16777216.0)) < 1);
    for (u = 0; u < 1; u += (vae_real)(1 / 1024.0)) CHECK_NEAR((double)vaei_middle(u), (double)u, 1e-7);
}

TEST(test_doubles_of_files) {
    static const double numbers[] = { 0, 1, -1, 0.1, 1e-45, 7.0e-46, 7.1e-46, 1.1754943508222875e-38, 1e-320, 3e-39,
                                      -2.2e-40, 1.0 + 1.0 / 16777216, 1.0 + 3.0 / 16777216, 3.4028234663852886e38,
                                      16777217 };
    const double too_large[] = { 3.4028235677973366e38, 1e39, -1e308, HUGE_VAL, -HUGE_VAL };
    test_random random = { 9 };
    size_t      i;
    uint64_t    bits;
    vae_real    real;
    for (i = 0; i < 20000; i++) {
        const double drawn = ldexp(test_uniform(&random, -1, 1), (int)(i % 280) - 155);
        const double from = i < sizeof numbers / sizeof *numbers ? numbers[i] : drawn;
        memcpy(&bits, &from, sizeof bits);
        CHECK(vaei_decode_double(bits, &real) && memcmp(&real, &(const float) { (float)from }, sizeof real) == 0);
    }
    for (i = 0; i < sizeof too_large / sizeof *too_large; i++) {
        memcpy(&bits, &too_large[i], sizeof bits);
        CHECK(!vaei_decode_double(bits, &real));
    }
}

/* Numbers in sentences. */
TEST(test_sentences) {
    vae_config c;
    vae_error  error;
    vae_model *model;
    memset(&c, 0, sizeof c);
    c.input.height = c.input.width = c.input.channels = 1;
    c.latent = 1;
    c.encoder[0] = VAE_DENSE(1, VAE_LINEAR);
    c.optimizer.weight_decay = (vae_real)-0.375;
    CHECK(vae_create(&c, &model, &error) == VAE_ERROR_CONFIG);
    CHECK(strstr(error.message, "-0.375"));
}

/* Gradients whose squares a float has no room for are clipped as others are. */
TEST(test_clipping) {
    static const float sizes[] = { 1e-9f, 1, 1e12f, 9e17f };
    vae_config c;
    vae_model *model;
    size_t     i, k, count;
    memset(&c, 0, sizeof c);
    c.input.height = c.input.channels = 1;
    c.input.width = 30;
    c.latent = 2;
    c.encoder[0] = VAE_DENSE(40, VAE_RELU);
    c.optimizer.clip_norm = (vae_real)1e-6;
    if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
    count = model->plan.log_sigma;
    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const double norm = (double)sizes[i] * sqrt((double)count), right = fmin(1, 1e-6 / (norm + 1e-6));
        for (k = 0; k < count; k++) model->gradients[k] = k % 2 ? sizes[i] : -sizes[i];
        CHECK_NEAR((double)vaei_clip_factor(model) / right, 1, 1e-5);
    }
    vae_destroy(model);
}

/* Two causes of sixteen numbers in raw units, a batch of one: fits go on past where they learn much, so that sums and
   corrections of late steps are met, too. Then what is strange scores higher, and a checkpoint goes on to the same
   bits. */
static void make_row(test_random *random, vae_real *row, int strange) {
    const double a = test_uniform(random, -1, 1), b = test_uniform(random, -1, 1);
    int          i;
    for (i = 0; i < 16; i++)
        row[i] = (vae_real)(100 + 7 * (a * cos(i * 0.7) + b * sin(i * 1.3) + 0.05 * test_uniform(random, -1, 1)));
    if (strange) row[strange % 16] += 7;
}

TEST(test_learns) {
    enum { ROWS = 2000, TESTED = 500 };
    static vae_real rows[ROWS * 16];
    static float    scores[TESTED];
    test_random random = { 3 };
    vae_config  c;
    vae_fit_config fit;
    vae_data    data, one;
    vae_model  *model, *again;
    vae_terms   before, after;
    float       threshold;
    void       *file;
    size_t      i, size, beyond = 0;
    memset(&c, 0, sizeof c);
    memset(&fit, 0, sizeof fit);
    memset(&data, 0, sizeof data);
    c.input.height = c.input.channels = 1;
    c.input.width = 16;
    c.latent = 2;
    c.batch = 20;
    c.encoder[0] = VAE_DENSE(24, VAE_TANH);
    c.likelihood = VAE_GAUSSIAN;
    c.standardize = 1;
    c.optimizer.learning_rate = (vae_real)3e-3;
    c.optimizer.clip_norm = 100;
    c.optimizer.schedule.kind = VAE_COSINE;
    c.optimizer.schedule.warmup = 100;
    c.optimizer.schedule.steps = 4000;
    fit.epochs = 40;
    data.pixels = rows;
    data.count = ROWS;
    for (i = 0; i < ROWS; i++) make_row(&random, rows + i * 16, 0);
    if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
    CHECK(vae_standardize(model, &data, NULL) == VAE_OK && vae_elbo(model, &data, &before, NULL, NULL) == VAE_OK);
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK && vae_elbo(model, &data, &after, NULL, NULL) == VAE_OK);
    printf("  ELBO %.2f before, %.2f after\n", (double)before.elbo, (double)after.elbo);
    CHECK(after.elbo > before.elbo + 20 && after.kl > 3 && after.kl < 15);
    /* 400 rows that it has not seen: about 1 in 100 of others is beyond their threshold, and what is strange is. */
    data.count = TESTED;
    for (i = 0; i < TESTED; i++) make_row(&random, rows + i * 16, 0);
    CHECK(vae_score(model, &data, NULL, scores, NULL) == VAE_OK);
    CHECK(vae_quantile(scores, TESTED, 0.99f, &threshold, NULL) == VAE_OK);
    for (i = 0; i < TESTED; i++) beyond += scores[i] > threshold;
    CHECK(beyond == 4);
    for (i = 0; i < TESTED; i++) make_row(&random, rows + i * 16, 1 + (int)i);
    CHECK(vae_score(model, &data, NULL, scores, NULL) == VAE_OK);
    for (beyond = 0, i = 0; i < TESTED; i++) beyond += scores[i] > threshold;
    CHECK(beyond > TESTED * 9 / 10);
    /* a checkpoint */
    CHECK(vae_save_memory(model, 1, NULL, 0, &size, NULL) == VAE_OK);
    file = malloc(size);
    one = data;
    one.count = 20;
    CHECK(vae_save_memory(model, 1, file, size, &size, NULL) == VAE_OK);
    CHECK(vae_load_memory(file, size, NULL, &again, NULL) == VAE_OK);
    CHECK(vae_train_step(model, &one, &before, NULL) == VAE_OK && vae_train_step(again, &one, &after, NULL) == VAE_OK);
    CHECK(memcmp(vae_weights(model), vae_weights(again), vae_weight_count(model) * sizeof(vae_real)) == 0);
    free(file);
    vae_destroy(again);
    /* numbers that are too large to be standardised */
    rows[5] = (vae_real)2e15;
    CHECK(vae_score(model, &one, NULL, scores, NULL) == VAE_ERROR_DATA);
    vae_destroy(model);
}

int main(void) {
    RUN(test_scalars);
    RUN(test_bias_corrections);
    RUN(test_drawn_numbers_stay_inside);
    RUN(test_doubles_of_files);
    RUN(test_sentences);
    RUN(test_clipping);
    RUN(test_learns);
    return test_finish();
}
