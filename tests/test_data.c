/* What is scored where it is not the row that the encoder sees: targets, corrupted input, pixels drawn anew, missing
   numbers, and what vae_impute puts in their place. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <stdlib.h>
#include "test.h"
#include "model.h"

enum { ROWS = 40, SIZE = 12 };          /* of the data below: images of 2 x 3 x 2 */

static vae_config small_network(vae_likelihood likelihood) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.input.height = 2;
    c.input.width = 3;
    c.input.channels = 2;
    c.latent = 2;
    c.encoder[0] = VAE_DENSE(7, VAE_TANH);
    c.likelihood = likelihood;
    c.batch = 16;
    c.threads = 1;
    c.seed = 5;
    return c;
}

/* The same with convolutions, whose last stage is fused. */
static vae_config convolutional_network(vae_likelihood likelihood) {
    vae_config c = small_network(likelihood);
    c.encoder[0] = VAE_CONV(3, 2, 1, VAE_TANH);
    return c;
}

static int has_sigma(vae_likelihood likelihood) { return likelihood == VAE_GAUSSIAN || likelihood == VAE_LAPLACE; }

/* In [0, 1], so that every likelihood allows them, and related to each other. */
static void draw_rows(vae_real *pixels, size_t rows, uint64_t seed) {
    test_random random = { 0 };
    size_t      r, i;
    random.state = seed;
    for (r = 0; r < rows; r++) {
        const double a = test_uniform(&random, 0, 1), b = test_uniform(&random, 0, 1);
        for (i = 0; i < SIZE; i++)
            pixels[r * SIZE + i] = (vae_real)(0.4 * a + 0.4 * (i % 3 == 0 ? b : 1 - b) + test_uniform(&random, 0, 0.2));
    }
}

static vae_data rows_of(const vae_real *pixels, size_t count) {
    vae_data data;
    memset(&data, 0, sizeof data);
    data.pixels = pixels;
    data.count = count;
    return data;
}

static int same_bits(const void *a, const void *b, size_t count) { return !memcmp(a, b, count * sizeof(vae_real)); }

static vae_real *target_of(vae_model *m, size_t row) { return vaei_row(m, m->plan.target, row, m->plan.example); }
static vae_real *input_of(vae_model *m, size_t row) { return vaei_row(m, m->plan.input, row, m->plan.example); }

static vae_real pixels[ROWS * SIZE], others[ROWS * SIZE], holed[ROWS * SIZE];
static vae_error error;

/* ---- settings ---- */

#define REFUSED(set, sentence) do { \
    vae_model *none = NULL; \
    c = small_network(VAE_BERNOULLI); \
    set; \
    CHECK(vae_create(&c, &none, &error) == VAE_ERROR_CONFIG && !none); \
    CHECK_CONTAINS(error.message, sentence); \
} while (0)

TEST(test_settings) {
    vae_config  c = small_network(VAE_BERNOULLI);
    vae_model  *model;
    vae_data    data = rows_of(pixels, 4);
    const unsigned char mask[4 * SIZE] = { 0 };
    vae_terms   terms;
    vae_fit_config fit = { .epochs = 1 };
    size_t      plain, room;
    REFUSED((c.corruption.kind = (vae_corruption_kind)9), "corruption.kind is 9");
    REFUSED((c.corruption.amount = (vae_real)0.5), "there is no corruption");
    REFUSED((c.corruption.kind = VAE_CORRUPTION_MASKING), "corruption.amount is 0");
    REFUSED((c.corruption.kind = VAE_CORRUPTION_MASKING, c.corruption.amount = (vae_real)1.5), "at most 1");
    REFUSED((c.corruption.kind = VAE_CORRUPTION_GAUSSIAN, c.corruption.amount = -1), "corruption.amount is -1");
    REFUSED((c.likelihood = VAE_GAUSSIAN, c.standardize = 1, c.corruption.kind = VAE_CORRUPTION_SALT_AND_PEPPER,
             c.corruption.amount = (vae_real)0.1), "which mean nothing beside standardize");
    REFUSED((c.likelihood = VAE_CONTINUOUS_BERNOULLI, c.binarize = 1), "VAE_CONTINUOUS_BERNOULLI is not for");
    c = small_network(VAE_BERNOULLI);
    CHECK(vae_defaults(&c, &c, NULL) == VAE_OK && c.corruption.kind == VAE_CORRUPTION_NONE);

    model = make(&c);
    data.mask = mask;
    CHECK(vae_elbo(model, &data, &terms, NULL, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "set config.missing to 1");
    data.mask = NULL;
    data.targets = pixels;
    CHECK(vae_train_step(model, &data, NULL, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "set config.targets to 1");
    CHECK(vae_impute(model, &data, 5, others, NULL, &error) == VAE_ERROR_ARGUMENT);
    data.targets = NULL;
    CHECK(vae_impute(model, &data, 5, others, NULL, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "set config.missing to 1");
    memcpy(holed, pixels, sizeof holed);
    holed[2 * SIZE + 7] = NAN;
    data.pixels = holed;
    CHECK(vae_elbo(model, &data, &terms, NULL, &error) == VAE_ERROR_DATA);
    CHECK_CONTAINS(error.message, "row 2, y 1, x 0, channel 1 holds NaN");
    vae_destroy(model);

    /* Room is taken only by what needs it. */
    CHECK(vae_memory_needed(&c, &plain, NULL) == VAE_OK);
    c.binarize = 1;
    CHECK(vae_memory_needed(&c, &room, NULL) == VAE_OK && room == plain);
    c.targets = 1;
    CHECK(vae_memory_needed(&c, &room, NULL) == VAE_OK && room == plain + 16 * SIZE * sizeof(vae_real));
    c.targets = c.binarize = 0;
    c.corruption.kind = VAE_CORRUPTION_MASKING;
    c.corruption.amount = (vae_real)0.5;
    CHECK(vae_memory_needed(&c, &room, NULL) == VAE_OK && room == plain + 16 * SIZE * sizeof(vae_real));
    c.inference_only = 1;
    CHECK(vae_memory_needed(&c, &room, NULL) == VAE_OK);
    c.corruption.kind = VAE_CORRUPTION_NONE;
    c.corruption.amount = 0;
    CHECK(vae_memory_needed(&c, &plain, NULL) == VAE_OK && room == plain);

    /* Bad targets are found before anything is changed. */
    c = small_network(VAE_BERNOULLI);
    c.targets = c.missing = 1;
    model = make(&c);
    memcpy(holed, pixels, sizeof holed);
    holed[3 * SIZE + 5] = 7;
    data.pixels = pixels;
    data.targets = holed;
    CHECK(vae_train_step(model, &data, NULL, &error) == VAE_ERROR_DATA);
    CHECK_CONTAINS(error.message, "target row 3, y 0, x 2, channel 1 holds 7");
    data.count = 3;
    CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);
    holed[0] = (vae_real)INFINITY;      /* is not missing */
    CHECK(vae_train_step(model, &data, NULL, &error) == VAE_ERROR_DATA);
    CHECK_CONTAINS(error.message, "target row 0, y 0, x 0, channel 0 holds inf");
    CHECK(vae_impute(model, &data, 0, others, NULL, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "samples is 0");
    CHECK(vae_impute(model, &data, 3, NULL, NULL, &error) == VAE_ERROR_ARGUMENT);
    vae_destroy(model);

    /* Those of a fresh model, whose scale the pixels give, too. */
    c = small_network(VAE_GAUSSIAN);
    c.targets = c.standardize = 1;
    model = make(&c);
    CHECK(vae_train_step(model, &data, NULL, &error) == VAE_ERROR_ARGUMENT);       /* it has no scale to judge by */
    CHECK_CONTAINS(error.message, "call vae_standardize");
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_DATA);
    CHECK_CONTAINS(error.message, "target row 0, y 0, x 0, channel 0 holds inf");
    vae_destroy(model);
}

/* ---- targets ---- */

/* Targets that are the pixels, a mask that hides nothing, corruption in inference: all change nothing. */
TEST(test_without_effect) {
    int likelihood, convolutional;
    for (likelihood = VAE_BERNOULLI; likelihood <= VAE_DISCRETIZED_LOGISTIC; likelihood++)
        for (convolutional = 0; convolutional < 2; convolutional++) {
            vae_config    c = convolutional ? convolutional_network((vae_likelihood)likelihood)
                                            : small_network((vae_likelihood)likelihood);
            vae_data      data = rows_of(pixels, 16), same = data;
            vae_model    *plain, *with;
            unsigned char mask[16 * SIZE];
            vae_terms     each[2][16];
            int           step, i;
            memset(mask, 1, sizeof mask);
            plain = make(&c);
            c.targets = c.missing = 1;
            with = make(&c);
            same.targets = pixels;
            same.mask = mask;
            for (step = 0; step < 3; step++) {
                CHECK(vae_train_step(plain, &data, NULL, NULL) == VAE_OK);
                CHECK(vae_train_step(with, step ? &same : &data, NULL, NULL) == VAE_OK);
            }
            CHECK(vae_elbo(plain, &data, NULL, each[0], NULL) == VAE_OK);
            CHECK(vae_elbo(with, &same, NULL, each[1], NULL) == VAE_OK);
            for (i = 0; i < 16; i++) CHECK_NEAR(each[1][i].reconstruction, each[0][i].reconstruction, 1e-4);
            vae_destroy(with);

            c = convolutional ? convolutional_network((vae_likelihood)likelihood)
                              : small_network((vae_likelihood)likelihood);
            c.corruption.kind = VAE_CORRUPTION_MASKING;
            c.corruption.amount = (vae_real)0.5;
            with = make(&c);
            memcpy(vae_parameters(with), vae_parameters(plain), vae_weight_count(plain) * sizeof(vae_real));
            CHECK(vae_elbo(with, &data, NULL, each[1], NULL) == VAE_OK);
            CHECK(!memcmp(each[0], each[1], sizeof each[0]));
            vae_destroy(with);
            vae_destroy(plain);
        }
}

/* With the encoder's input unchanged, the nats of a row add up from those of any numbers and those of the rest, their
   constants too; so does the squared error, and log p(x | z) of one sample. */
TEST(test_nats_of_parts) {
    int likelihood, variant, convolutional, i;
    for (likelihood = VAE_BERNOULLI; likelihood <= VAE_DISCRETIZED_LOGISTIC; likelihood++)
        for (variant = 0; variant < 6; variant++)
            for (convolutional = 0; convolutional < 2; convolutional++) {
                vae_config  c = convolutional ? convolutional_network((vae_likelihood)likelihood)
                                              : small_network((vae_likelihood)likelihood);
                vae_data    data = rows_of(pixels, ROWS);
                vae_model  *model;
                static vae_real parts[2][ROWS * SIZE];
                double      whole[ROWS], part[2][ROWS], numbers[ROWS * SIZE];
                vae_terms   all, half[2];
                test_random random = { 77 };
                int         kind, p;
                if (variant && !has_sigma((vae_likelihood)likelihood) &&
                    (variant < 4 || likelihood != VAE_GAUSSIAN_PREDICTED)) continue;
                c.targets = c.missing = 1;
                c.layout = variant % 2 ? VAE_CHANNELS_FIRST : VAE_CHANNELS_LAST;
                c.sigma = variant == 1 ? (vae_real)0.3 : 0;
                c.sigma_per_pixel = variant == 2 || variant == 3;
                c.standardize = variant >= 3;
                model = make(&c);
                if (c.standardize) CHECK(vae_standardize(model, &data, NULL) == VAE_OK);
                for (i = 0; i < 5; i++) {
                    vae_data batch = rows_of(pixels, 16);
                    CHECK(vae_train_step(model, &batch, NULL, NULL) == VAE_OK);
                }
                for (i = 0; i < ROWS * SIZE; i++) {
                    const int at = test_integer(&random, 0, 1);
                    parts[at][i] = others[i];
                    parts[1 - at][i] = NAN;
                }
                for (kind = VAE_SCORE_ELBO; kind <= VAE_SCORE_SQUARED_ERROR; kind++) {
                    vae_score_config score;
                    memset(&score, 0, sizeof score);
                    score.kind = (vae_score_kind)kind;
                    data.targets = others;
                    CHECK(vae_score(model, &data, &score, whole, NULL) == VAE_OK);
                    for (p = 0; p < 2; p++) {
                        data.targets = parts[p];
                        CHECK(vae_score(model, &data, &score, part[p], NULL) == VAE_OK);
                    }
                    if (kind == VAE_SCORE_ELBO) continue;
                    for (p = 0; p < 2; p++) {
                        data.targets = parts[p];
                        CHECK(vae_score_numbers(model, &data, &score, numbers, NULL) == VAE_OK);
                        for (i = 0; i < ROWS; i++) {
                            double sum = 0;
                            int    k;
                            for (k = 0; k < SIZE; k++) {
                                sum += numbers[i * SIZE + k];
                                if (parts[p][i * SIZE + k] != others[i * SIZE + k]) CHECK(numbers[i * SIZE + k] == 0);
                            }
                            CHECK_NEAR(sum, part[p][i], 1e-4 * (1 + fabs(sum)));
                        }
                    }
                    for (i = 0; i < ROWS; i++)
                        CHECK_NEAR(part[0][i] + part[1][i], whole[i], 1e-4 * (1 + fabs(whole[i])));
                }
                data.targets = others;
                CHECK(vae_elbo(model, &data, &all, NULL, NULL) == VAE_OK);
                for (p = 0; p < 2; p++) {
                    data.targets = parts[p];
                    CHECK(vae_elbo(model, &data, &half[p], NULL, NULL) == VAE_OK && half[p].kl == all.kl);
                }
                CHECK_NEAR(half[0].reconstruction + half[1].reconstruction, all.reconstruction,
                           1e-4 * (1 + fabs(all.reconstruction)));
                vae_destroy(model);
            }
}

/* ---- corruption, binarisation ---- */

enum { MANY = 4000 };

/* One batch of rows of 0.3 as a training step loads it. */
static void load_for_training(vae_model *model, const vae_data *data, size_t number) {
    CHECK(vaei_load_rows(model, data, 0, data->count, NULL, VAEI_FOR_TRAINING, number, NULL) == VAE_OK);
}

TEST(test_statistics_of_corruption) {
    static vae_real even[MANY * SIZE];
    vae_data        data = rows_of(even, MANY);
    int             kind, i;
    const double    n = MANY * SIZE;
    for (i = 0; i < MANY * SIZE; i++) even[i] = (vae_real)0.3;
    for (kind = VAE_CORRUPTION_GAUSSIAN; kind <= VAE_CORRUPTION_SALT_AND_PEPPER; kind++) {
        vae_config c = small_network(VAE_GAUSSIAN);
        vae_model *model;
        double     zeros = 0, ones = 0, sum = 0, squares = 0, neighbours = 0;
        c.batch = MANY;
        c.corruption.kind = (vae_corruption_kind)kind;
        c.corruption.amount = (vae_real)0.2;
        model = make(&c);
        load_for_training(model, &data, 0);
        CHECK(same_bits(target_of(model, 0), even, MANY * SIZE));
        for (i = 0; i < MANY * SIZE; i++) {
            const double off = (double)input_of(model, 0)[i] - (double)even[i];
            zeros += input_of(model, 0)[i] == 0;
            ones += input_of(model, 0)[i] == 1;
            sum += off;
            squares += off * off;
            if (i) neighbours += off * ((double)input_of(model, 0)[i - 1] - (double)even[i - 1]);
        }
        /* five standard deviations of each */
        if (kind == VAE_CORRUPTION_GAUSSIAN) {
            CHECK_NEAR(sum / n, 0, 5 * 0.2 / sqrt(n));
            CHECK_NEAR(squares / n, 0.04, 5 * 0.04 * sqrt(2 / n));
            CHECK_NEAR(neighbours / n, 0, 5 * 0.04 / sqrt(n));
            CHECK(zeros < 3 && ones < 3);
        } else if (kind == VAE_CORRUPTION_MASKING) {
            CHECK_NEAR(zeros / n, 0.2, 5 * sqrt(0.2 * 0.8 / n));
            CHECK(ones == 0);
        } else {
            CHECK_NEAR(zeros / n, 0.1, 5 * sqrt(0.1 * 0.9 / n));
            CHECK_NEAR(ones / n, 0.1, 5 * sqrt(0.1 * 0.9 / n));
        }
        vae_destroy(model);
    }
    {                                   /* stays in [0, 1] where the likelihood does, and what is missing stays 0 */
        vae_config    c = small_network(VAE_BERNOULLI);
        vae_model    *model;
        unsigned char mask[16 * SIZE];
        c.corruption.kind = VAE_CORRUPTION_GAUSSIAN;
        c.corruption.amount = 2;
        c.missing = 1;
        model = make(&c);
        for (i = 0; i < 16 * SIZE; i++) mask[i] = i % 3 != 0;
        data.count = 16;
        data.mask = mask;
        load_for_training(model, &data, 0);
        for (i = 0; i < 16 * SIZE; i++) {
            CHECK(input_of(model, 0)[i] >= 0 && input_of(model, 0)[i] <= 1 && (mask[i] || input_of(model, 0)[i] == 0));
            CHECK(target_of(model, 0)[i] == (mask[i] ? even[i] : 0));
        }
        vae_destroy(model);
    }
}

TEST(test_binarized_pixels) {
    static vae_real grey[MANY * SIZE], first[MANY * SIZE];
    vae_config      c = small_network(VAE_BERNOULLI);
    vae_data        data = rows_of(grey, MANY);
    vae_model      *model, *plain;
    vae_terms       terms[2], each[2][16];
    double          ones[10] = { 0 }, log_p[2][16], score[2][16];
    vae_real        mean[2][16 * 2];
    int             i, k, differ = 0;
    for (i = 0; i < MANY * SIZE; i++) grey[i] = (vae_real)(i % 10) / 9;
    c.batch = MANY;
    c.binarize = 1;
    model = make(&c);
    load_for_training(model, &data, 0);
    memcpy(first, input_of(model, 0), sizeof first);
    for (i = 0; i < MANY * SIZE; i++) {
        CHECK(first[i] == 0 || first[i] == 1);
        ones[i % 10] += (double)first[i];
    }
    CHECK(ones[0] == 0 && ones[9] == MANY * SIZE / 10);
    for (k = 1; k < 9; k++)
        CHECK_NEAR(ones[k] / (MANY * SIZE / 10), k / 9.0, 5 * sqrt(k / 9.0 * (1 - k / 9.0) / (MANY * SIZE / 10)));
    /* rows have numbers, steps have theirs */
    data.pixels = grey + 10 * SIZE * 5;
    data.count = 100;
    load_for_training(model, &data, 50);
    CHECK(same_bits(input_of(model, 0), first + 50 * SIZE, 100 * SIZE));
    data.pixels = grey;
    data.count = MANY;
    CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);
    load_for_training(model, &data, 0);
    for (i = 0; i < MANY * SIZE; i++) differ += input_of(model, 0)[i] != first[i];
    /* 2 p (1 - p), mean over p */
    CHECK_NEAR(differ / (double)(MANY * SIZE), 2 * (285.0 / 81 / 10 * -1 + 0.5), 0.02);
    vae_destroy(model);

    /* The ELBO and log p(x) are those of the pixels drawn, each time the same ones. */
    c.batch = 16;
    model = make(&c);
    c.binarize = 0;
    plain = make(&c);
    data.count = 16;
    CHECK(vaei_load_rows(model, &data, 0, 16, NULL, VAEI_FOR_NATS, 0, NULL) == VAE_OK);
    memcpy(first, input_of(model, 0), 16 * SIZE * sizeof(vae_real));
    for (k = 0; k < 2; k++) CHECK(vae_elbo(model, &data, &terms[k], each[0], NULL) == VAE_OK);
    CHECK(!memcmp(&terms[0], &terms[1], sizeof terms[0]));
    CHECK(vae_log_likelihood(model, &data, 7, NULL, log_p[0], NULL) == VAE_OK);
    CHECK(vae_score(model, &data, NULL, score[0], NULL) == VAE_OK);
    CHECK(vae_encode(model, &data, mean[0], NULL, NULL) == VAE_OK);
    CHECK(vae_score(plain, &data, NULL, score[1], NULL) == VAE_OK);         /* of the pixels as they are */
    CHECK(vae_encode(plain, &data, mean[1], NULL, NULL) == VAE_OK);
    CHECK(!memcmp(score[0], score[1], sizeof score[0]) && same_bits(mean[0], mean[1], 32));
    data.pixels = first;
    CHECK(vae_elbo(plain, &data, NULL, each[1], NULL) == VAE_OK);
    CHECK(vae_log_likelihood(plain, &data, 7, NULL, log_p[1], NULL) == VAE_OK);
    CHECK(!memcmp(each[0], each[1], sizeof each[0]) && !memcmp(log_p[0], log_p[1], sizeof log_p[0]));
    vae_destroy(model);
    vae_destroy(plain);
}

/* Trained on corrupted input, a model gives back clean rows; trained on clean ones it does not know gaps. */
TEST(test_denoising) {
    enum { LENGTH = 24, SERIES = 600 };
    static vae_real clean[SERIES * LENGTH], noisy[SERIES * LENGTH], made[SERIES * LENGTH];
    test_random     random = { 3 };
    double          off[2] = { 0, 0 }, noise = 0;
    int             trained, i, k;
    for (i = 0; i < SERIES; i++) {
        const double phase = test_uniform(&random, 0, 6.2832), size = test_uniform(&random, 0.5, 1);
        for (k = 0; k < LENGTH; k++) {
            clean[i * LENGTH + k] = (vae_real)(size * sin(phase + 0.5 * k));
            noisy[i * LENGTH + k] = test_integer(&random, 0, 1) ? clean[i * LENGTH + k] : 0;
        }
    }
    for (trained = 0; trained < 2; trained++) {
        vae_config     c;
        vae_fit_config fit;
        vae_data       data = rows_of(clean, SERIES);
        vae_model     *model;
        memset(&c, 0, sizeof c);
        memset(&fit, 0, sizeof fit);
        c.input.height = c.input.channels = 1;
        c.input.width = LENGTH;
        c.latent = 12;
        c.encoder[0] = VAE_DENSE(32, VAE_SILU);
        c.likelihood = VAE_GAUSSIAN;
        c.batch = 32;
        c.optimizer.learning_rate = (vae_real)5e-3;
        if (trained) {
            c.corruption.kind = VAE_CORRUPTION_MASKING;
            c.corruption.amount = (vae_real)0.5;
        }
        model = make(&c);
        fit.epochs = 40;
        CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
        data.pixels = noisy;
        CHECK(vae_reconstruct(model, &data, made, NULL) == VAE_OK);
        for (i = 0; i < SERIES * LENGTH; i++) {
            off[trained] += pow((double)made[i] - (double)clean[i], 2) / (SERIES * LENGTH);
            noise += pow((double)noisy[i] - (double)clean[i], 2) / (SERIES * LENGTH) / 2;
        }
        vae_destroy(model);
    }
    printf("  squared error of series with gaps %.4f, mended %.4f, by a model of clean ones %.4f\n", noise, off[1],
           off[0]);
    CHECK(off[1] < 0.2 * noise && off[1] < 0.5 * off[0]);
}

/* ---- missing numbers ---- */

/* Every third number is missing, in every column somewhere; row 3 has none at all. */
static void punch(vae_real *with_holes, unsigned char *mask) {
    test_random random = { 9 };
    int         i;
    for (i = 0; i < ROWS * SIZE; i++) {
        mask[i] = (unsigned char)(i / SIZE != 3 && test_integer(&random, 0, 2) ? test_integer(&random, 1, 255) : 0);
        with_holes[i] = mask[i] ? pixels[i] : (vae_real)NAN;
    }
}

/* NaN, a mask over any number and over bytes say the same. */
TEST(test_ways_to_miss) {
    static unsigned char mask[ROWS * SIZE], bytes[ROWS * SIZE];
    static vae_real      covered[ROWS * SIZE];
    int                  likelihood, layout, i;
    for (i = 0; i < ROWS * SIZE; i++) {
        bytes[i] = (unsigned char)(i * 37 % 256);
        others[i] = (vae_real)bytes[i] / 255;
    }
    for (likelihood = VAE_BERNOULLI; likelihood <= VAE_DISCRETIZED_LOGISTIC; likelihood++)
        for (layout = VAE_CHANNELS_LAST; layout <= VAE_CHANNELS_FIRST; layout++) {
            vae_config c = small_network((vae_likelihood)likelihood);
            vae_data   data[3];
            vae_terms  each[3][ROWS];
            vae_real   mean[3][ROWS * 2], filled[3][ROWS * SIZE], spread[3][ROWS * SIZE];
            double     score[3][ROWS];
            size_t     d;
            c.missing = 1;
            c.layout = (vae_layout)layout;
            c.standardize = has_sigma(c.likelihood);
            punch(holed, mask);
            for (i = 0; i < ROWS * SIZE; i++) {
                holed[i] = mask[i] ? others[i] : (vae_real)NAN;
                covered[i] = mask[i] ? others[i] : (vae_real)(i % 2 ? 1e30 : (double)NAN);
            }
            for (d = 0; d < 3; d++) {
                vae_model *model = make(&c);
                vae_data   batch;
                data[d] = rows_of(d ? covered : holed, ROWS);
                if (d) data[d].mask = mask;
                if (d == 2) {
                    data[d].pixels = NULL;
                    data[d].bytes = bytes;
                }
                if (c.standardize) CHECK(vae_standardize(model, &data[d], NULL) == VAE_OK);
                batch = data[d];
                batch.count = 16;
                for (i = 0; i < 3; i++) CHECK(vae_train_step(model, &batch, NULL, NULL) == VAE_OK);
                CHECK(vae_elbo(model, &data[d], NULL, each[d], NULL) == VAE_OK);
                CHECK(vae_encode(model, &data[d], mean[d], NULL, NULL) == VAE_OK);
                CHECK(vae_score(model, &data[d], NULL, score[d], NULL) == VAE_OK);
                CHECK(vae_impute(model, &data[d], 9, filled[d], spread[d], NULL) == VAE_OK);
                vae_destroy(model);
                if (!d) continue;
                CHECK(!memcmp(each[0], each[d], sizeof each[0]) && !memcmp(score[0], score[d], sizeof score[0]));
                CHECK(same_bits(mean[0], mean[d], ROWS * 2) && same_bits(filled[0], filled[d], ROWS * SIZE));
                CHECK(same_bits(spread[0], spread[d], ROWS * SIZE));
            }
            CHECK(each[0][3].reconstruction == 0 && each[0][3].kl > 0);        /* the row that misses all */
            for (i = 0; i < ROWS * SIZE; i++) {
                CHECK(mask[i] ? filled[0][i] == others[i] && spread[0][i] == 0 : spread[0][i] > 0);
            }
        }
    draw_rows(others, ROWS, 2);
}

/* Means and scales are those of the numbers observed, a column that nobody has keeps 0 and 1, and learned sigmas come
   to stand where the observed numbers want them. */
TEST(test_statistics_of_observed) {
    enum { LENGTH = 5, COUNT = 900 };
    static vae_real rows[COUNT * LENGTH], z[COUNT * 2];
    test_random     random = { 21 };
    double          sums[LENGTH] = { 0 }, squares[LENGTH] = { 0 }, found[LENGTH] = { 0 };
    int             per_pixel, likelihood, i, k;
    (void)z;
    for (i = 0; i < COUNT; i++) {
        const double a = test_uniform(&random, -1, 1);
        for (k = 0; k < LENGTH; k++) {
            const double x = 1000 * (k + 1) + 300 * a + 100 * (k + 1) * test_uniform(&random, -1, 1);
            const int    missing = k == 4 ||
                                   (k == 2 ? test_uniform(&random, 0, 1) < 0.9 : test_uniform(&random, 0, 1) < 0.3);
            rows[i * LENGTH + k] = missing ? (vae_real)NAN : (vae_real)x;
            if (missing) continue;
            found[k]++;
            sums[k] += (double)(vae_real)x;
            squares[k] += (double)(vae_real)x * (double)(vae_real)x;
        }
    }
    for (likelihood = VAE_GAUSSIAN; likelihood <= VAE_LAPLACE; likelihood++)
        for (per_pixel = 0; per_pixel < 2; per_pixel++) {
            vae_config     c;
            vae_fit_config fit;
            vae_data       data = rows_of(rows, COUNT);
            vae_model     *model;
            vae_real       mean[LENGTH], scale[LENGTH], log_sigma[LENGTH];
            double         wanted[LENGTH] = { 0 }, numbers[LENGTH] = { 0 };
            memset(&c, 0, sizeof c);
            memset(&fit, 0, sizeof fit);
            c.input.height = c.input.channels = 1;
            c.input.width = LENGTH;
            c.latent = 2;
            c.encoder[0] = VAE_DENSE(8, VAE_TANH);
            c.likelihood = (vae_likelihood)likelihood;
            c.sigma_per_pixel = per_pixel;
            c.standardize = c.missing = 1;
            c.batch = 90;
            c.threads = 1;
            fit.epochs = 60;
            fit.output_bias_from_data = 1;
            model = make(&c);
            CHECK(vae_fit(model, &data, &fit, &error) == VAE_OK);
            CHECK(vae_get_tensor(model, "standardize.mean", mean, LENGTH, NULL) == VAE_OK);
            CHECK(vae_get_tensor(model, "standardize.scale", scale, LENGTH, NULL) == VAE_OK);
            for (k = 0; k < 4; k++) {
                const double m = sums[k] / found[k];
                CHECK_NEAR(mean[k], m, 1e-3 * m);
                CHECK_NEAR(scale[k], sqrt(squares[k] / found[k] - m * m), 1e-2 * (double)scale[k]);
            }
            CHECK(mean[4] == 0 && scale[4] == 1);
            /* what an epoch of training steps meets, without any update */
            for (i = 0; i < COUNT; i += 90) {
                vae_data  batch = rows_of(rows + i * LENGTH, 90);
                vaei_pass pass;
                int       r;
                (void)vaei_load_rows(model, &batch, 0, 90, NULL, VAEI_FOR_TRAINING, 0, NULL);
                vaei_begin_pass(&pass, model, 90);
                vaei_encoder_forward(&pass);
                vaei_draw_noise(model, VAEI_STREAM_TRAINING, 1000 + (uint64_t)i, 0, 90);
                vaei_latent_forward(&pass, NULL);
                pass.saved_outputs = (vae_real *)malloc(90 * LENGTH * sizeof(vae_real));
                vaei_decoder_forward(&pass);
                for (r = 0; r < 90; r++)
                    for (k = 0; k < LENGTH; k++) {
                        const double off = (double)pass.saved_outputs[r * LENGTH + k] -
                                           (double)target_of(model, 0)[r * LENGTH + k];
                        if (vaei_is_nan(batch.pixels[r * LENGTH + k])) continue;
                        wanted[per_pixel ? k : 0] += likelihood == VAE_GAUSSIAN ? off * off : fabs(off);
                        numbers[per_pixel ? k : 0]++;
                    }
                free(pass.saved_outputs);
            }
            CHECK(vae_get_tensor(model, "log_sigma", log_sigma, per_pixel ? LENGTH : 1, NULL) == VAE_OK);
            for (k = 0; k < (per_pixel ? 4 : 1); k++) {
                const double best = log(wanted[k] / numbers[k]) / (likelihood == VAE_GAUSSIAN ? 2 : 1);
                CHECK_NEAR(log_sigma[k], best, 0.12);
            }
            if (per_pixel) CHECK(log_sigma[4] == 0);
            vae_destroy(model);
        }
}

/* ---- vae_impute against the integral over z ---- */

/* The moments of every number of a row given those observed, by the trapezoid rule over one latent dimension. `mean`
   and `variance` of p(x | z) follow from the decoder's outputs by the textbook. */
static void integrate(vae_model *model, const vae_real *row, double *means, double *deviations) {
    enum { POINTS = 401 };
    static vae_real z[POINTS], outputs[POINTS * 2 * SIZE];
    vae_config      c;
    vae_state       state;
    vaei_pass       pass;
    double          total = 0, first[SIZE] = { 0 }, second[SIZE] = { 0 }, scale[SIZE], shift[SIZE];
    vae_real        scales[SIZE];
    int             i, k;
    vae_get_config(model, &c);
    vae_get_state(model, &state);
    for (i = 0; i < POINTS; i++) z[i] = (vae_real)(-6 + 12.0 * i / (POINTS - 1));
    for (i = 0; i < POINTS; i += (int)pass.count) {             /* the decoder's outputs, channels last */
        vaei_begin_pass(&pass, model, vaei_min_size(model->plan.rows, (size_t)(POINTS - i)));
        memcpy(vaei_numbers(model, model->plan.z), z + i, pass.count * sizeof(vae_real));
        pass.saved_outputs = outputs + (size_t)i * model->plan.output;
        vaei_decoder_forward(&pass);
    }
    for (k = 0; k < SIZE; k++) {
        scale[k] = 1;
        shift[k] = 0;
    }
    if (c.standardize) {
        CHECK(vae_get_tensor(model, "standardize.scale", scales, SIZE, NULL) == VAE_OK);
        for (k = 0; k < SIZE; k++) scale[k] = (double)scales[k];
        CHECK(vae_get_tensor(model, "standardize.mean", scales, SIZE, NULL) == VAE_OK);
        for (k = 0; k < SIZE; k++) shift[k] = (double)scales[k];
    }
    for (i = 0; i < POINTS; i++) {
        double weight = -0.5 * (double)z[i] * (double)z[i], p[SIZE], variance[SIZE];
        for (k = 0; k < SIZE; k++) {
            /* pixel k of the row, channels first, stands at position k % 6 of channel k / 6 */
            const int    position = k % (SIZE / 2), channel = k / (SIZE / 2),
                         pair = c.likelihood >= VAE_GAUSSIAN_PREDICTED;
            const vae_real *output = outputs + (size_t)i * model->plan.output + position * (pair ? 4 : 2) + channel;
            const double l = (double)output[0], v = pair ? (double)output[2] : 0;
            const double x = ((double)row[k] - shift[k]) / scale[k], sigma = (double)state.sigma;
            double       m = l, log_p;
            if (c.likelihood == VAE_BERNOULLI) {
                m = 1 / (1 + exp(-l));
                variance[k] = m * (1 - m);
                log_p = x * log(m) + (1 - x) * log(1 - m);
            } else if (c.likelihood == VAE_GAUSSIAN) {
                variance[k] = sigma * sigma;
                log_p = -0.5 * pow((x - m) / sigma, 2);
            } else if (c.likelihood == VAE_LAPLACE) {
                variance[k] = 2 * sigma * sigma;
                log_p = -fabs(x - m) / sigma;
            } else if (c.likelihood == VAE_CONTINUOUS_BERNOULLI) {
                m = fabs(l) < 1e-4 ? 0.5 + l / 12 : 1 / (1 - exp(-l)) - 1 / l;
                variance[k] = fabs(l) < 1e-2 ? 1.0 / 12 : 1 / (l * l) - exp(-l) / pow(1 - exp(-l), 2);
                log_p = x * l + (fabs(l) < 1e-6 ? 0 : log(l / (exp(l) - 1)));
            } else if (c.likelihood == VAE_GAUSSIAN_PREDICTED) {
                variance[k] = exp(v);
                log_p = -0.5 * ((x - m) * (x - m) / exp(v) + v);
            } else {
                double below = 0, square = 0;
                int    level;
                m = log_p = 0;
                for (level = 0; level < 256; level++) {
                    const double upto = level < 255 ? 1 / (1 + exp(-((level + 0.5) / 255 - l) / exp(v))) : 1;
                    m += (upto - below) * level / 255;
                    square += (upto - below) * pow(level / 255.0, 2);
                    if (level == (int)(255 * x + 0.5)) log_p = log(upto - below);
                    below = upto;
                }
                variance[k] = square - m * m;
            }
            p[k] = m * scale[k] + shift[k];
            variance[k] *= scale[k] * scale[k];
            if (row[k] == row[k]) weight += log_p;
        }
        weight = exp(weight);
        total += weight;
        for (k = 0; k < SIZE; k++) {
            first[k] += weight * p[k];
            second[k] += weight * (p[k] * p[k] + variance[k]);
        }
    }
    for (k = 0; k < SIZE; k++) {
        means[k] = first[k] / total;
        deviations[k] = sqrt(second[k] / total - means[k] * means[k]);
    }
}

TEST(test_imputed) {
    static unsigned char mask[ROWS * SIZE];
    int                  likelihood, convolutional, standardize, i, k;
    punch(holed, mask);
    for (likelihood = VAE_BERNOULLI; likelihood <= VAE_DISCRETIZED_LOGISTIC; likelihood++)
        for (convolutional = 0; convolutional < 2; convolutional++)
            for (standardize = 0; standardize < 2; standardize++) {
                vae_config      c = convolutional ? convolutional_network((vae_likelihood)likelihood)
                                                  : small_network((vae_likelihood)likelihood);
                vae_data        data = rows_of(holed, ROWS), one;
                vae_fit_config  fit;
                vae_model      *model, *view;
                static vae_real filled[ROWS * SIZE], spread[ROWS * SIZE], again[ROWS * SIZE];
                double          means[SIZE], deviations[SIZE];
                vae_real        heads[64];
                const size_t    inputs = convolutional ? 18 : 7;
                if (standardize && !has_sigma(c.likelihood) && likelihood != VAE_GAUSSIAN_PREDICTED) continue;
                memset(&fit, 0, sizeof fit);
                c.latent = 1;
                c.missing = 1;
                c.standardize = standardize;
                c.optimizer.learning_rate = (vae_real)0.02;
                c.layout = VAE_CHANNELS_FIRST;
                fit.epochs = 30;
                model = make(&c);
                CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
                /* q made wide and wrong, so that weights are bounded and do not all agree */
                CHECK(vae_get_tensor(model, "mean.weight", heads, inputs, NULL) == VAE_OK);
                for (i = 0; i < (int)inputs; i++) heads[i] *= (vae_real)0.3;
                CHECK(vae_set_tensor(model, "mean.weight", heads, inputs, NULL) == VAE_OK);
                memset(heads, 0, sizeof heads);
                CHECK(vae_set_tensor(model, "logvar.weight", heads, inputs, NULL) == VAE_OK);
                heads[0] = (vae_real)0.5;
                CHECK(vae_set_tensor(model, "mean.bias", heads, 1, NULL) == VAE_OK);
                CHECK(vae_set_tensor(model, "logvar.bias", heads, 1, NULL) == VAE_OK);
                data.count = (size_t)test_cases(8);
                CHECK(vae_impute(model, &data, 3000, filled, spread, NULL) == VAE_OK);
                for (i = 0; i < test_cases(8); i++) {
                    integrate(model, holed + i * SIZE, means, deviations);
                    for (k = 0; k < SIZE; k++) {
                        const int at = i * SIZE + k;
                        if (mask[at]) CHECK(filled[at] == pixels[at] && spread[at] == 0);
                        else {
                            CHECK_NEAR(filled[at], means[k], 0.07 * deviations[k]);
                            CHECK_NEAR(spread[at], deviations[k], 0.07 * deviations[k]);
                        }
                    }
                }
                data.count = ROWS;
                /* The same every time and without the spread, through a view, however the batches fall, and in
                   place. */
                CHECK(vae_impute(model, &data, 50, filled, spread, NULL) == VAE_OK);
                CHECK(vae_impute(model, &data, 50, again, NULL, NULL) == VAE_OK &&
                      same_bits(filled, again, ROWS * SIZE));
                memset(&c, 0, sizeof c);
                c.batch = 7;
                CHECK(vae_create_view(model, &c, &view, NULL) == VAE_OK);
                CHECK(vae_impute(view, &data, 50, again, NULL, NULL) == VAE_OK);
                for (i = 0; i < ROWS * SIZE; i++) CHECK_NEAR(again[i], filled[i], 1e-4);
                vae_destroy(view);
                one = rows_of(holed, 1);
                CHECK(vae_impute(model, &one, 50, again, NULL, NULL) == VAE_OK);
                for (i = 0; i < SIZE; i++) CHECK_NEAR(again[i], filled[i], 1e-4);
                data.count = 0;
                CHECK(vae_impute(model, &data, 50, NULL, NULL, NULL) == VAE_OK);
                vae_destroy(model);
            }
}

/* One sample weighs 1: it is the decoded z. */
TEST(test_imputed_by_one_sample) {
    static unsigned char mask[ROWS * SIZE];
    vae_config           c = small_network(VAE_GAUSSIAN);
    vae_data             data = rows_of(holed, 1);
    vae_latents          latents;
    vae_model           *model;
    vae_real             filled[SIZE], decoded[SIZE], mean[2], logvar[2], noise[2], z[2];
    int                  i;
    punch(holed, mask);
    c.missing = 1;
    c.sigma = (vae_real)0.1;
    model = make(&c);
    CHECK(vae_encode(model, &data, mean, logvar, NULL) == VAE_OK);
    CHECK(vae_impute(model, &data, 1, filled, NULL, NULL) == VAE_OK);
    vaei_normal_rows(model->kernels, c.seed, VAEI_STREAM_LIKELIHOOD, 0, 0, 1, 2, noise);
    for (i = 0; i < 2; i++) z[i] = mean[i] + (vae_real)exp(0.5 * (double)logvar[i]) * noise[i];
    memset(&latents, 0, sizeof latents);
    latents.z = z;
    latents.count = 1;
    CHECK(vae_decode(model, &latents, decoded, NULL) == VAE_OK);
    for (i = 0; i < SIZE; i++) CHECK_NEAR(filled[i], mask[i] ? holed[i] : decoded[i], 1e-5);
    vae_destroy(model);
}

/* ---- all of it, resumed and shared ---- */

typedef struct vae_mix { const char *name; vae_likelihood likelihood; int corruption, binarize, missing, targets; } mix;

static const mix mixes[] = {
    { "masking", VAE_BERNOULLI, VAE_CORRUPTION_MASKING, 0, 0, 0 },
    { "gaussian noise, missing", VAE_LAPLACE, VAE_CORRUPTION_GAUSSIAN, 0, 1, 0 },
    { "salt and pepper, binarized", VAE_BERNOULLI, VAE_CORRUPTION_SALT_AND_PEPPER, 1, 0, 0 },
    { "all", VAE_BERNOULLI, VAE_CORRUPTION_MASKING, 1, 1, 1 },
    { "targets, missing", VAE_GAUSSIAN, 0, 0, 1, 1 },
    { "targets", VAE_CONTINUOUS_BERNOULLI, 0, 0, 0, 1 }
};

static void set_mix(const mix *m, vae_config *c) {
    c->corruption.kind = (vae_corruption_kind)m->corruption;
    c->corruption.amount = m->corruption ? (vae_real)0.3 : 0;
    c->binarize = m->binarize;
    c->missing = m->missing;
    c->targets = m->targets;
}

TEST(test_resumed) {
    static unsigned char mask[ROWS * SIZE], file[200000];
    size_t               m, size;
    int                  convolutional;
    punch(holed, mask);
    for (m = 0; m < sizeof mixes / sizeof *mixes; m++)
        for (convolutional = 0; convolutional < 2; convolutional++) {
            vae_config     c = convolutional ? convolutional_network(mixes[m].likelihood)
                                             : small_network(mixes[m].likelihood);
            vae_config     loaded;
            vae_fit_config fit;
            vae_data       data = rows_of(mixes[m].missing ? holed : pixels, ROWS);
            vae_model     *straight, *stopped, *resumed = NULL;
            size_t         count;
            set_mix(&mixes[m], &c);
            if (mixes[m].targets) data.targets = others;
            memset(&fit, 0, sizeof fit);
            straight = make(&c);
            stopped = make(&c);
            count = vae_parameter_count(straight);
            fit.epochs = 4;
            fit.output_bias_from_data = 1;
            CHECK(vae_fit(straight, &data, &fit, &error) == VAE_OK);
            fit.epochs = 2;
            CHECK(vae_fit(stopped, &data, &fit, NULL) == VAE_OK);
            CHECK(vae_save_memory(stopped, 1, file, sizeof file, &size, NULL) == VAE_OK);
            if (!CHECK(vae_load_memory(file, size, NULL, &resumed, &error) == VAE_OK)) {
                printf("    %s\n", error.message);
                return;
            }
            vae_get_config(resumed, &loaded);
            CHECK(!memcmp(&loaded.corruption, &c.corruption, sizeof c.corruption) || !mixes[m].corruption);
            CHECK(loaded.binarize == c.binarize && loaded.missing == c.missing && loaded.targets == c.targets);
            CHECK(vae_fit(resumed, &data, &fit, NULL) == VAE_OK);
            CHECK(same_bits(vae_parameters(straight), vae_parameters(resumed), count));
            vae_destroy(stopped);
            vae_destroy(resumed);

            /* What is not said is not in the file; what is said at loading counts. */
            c = small_network(mixes[m].likelihood);
            stopped = make(&c);
            CHECK(vae_save_memory(stopped, 0, file, sizeof file, &size, NULL) == VAE_OK);
            file[size] = 0;
            CHECK(!strstr((char *)file + 8, "corruption") && !strstr((char *)file + 8, "missing"));
            CHECK(!strstr((char *)file + 8, "binarize") && !strstr((char *)file + 8, "targets"));
            memset(&loaded, 0, sizeof loaded);
            set_mix(&mixes[m], &loaded);
            CHECK(vae_load_memory(file, size, &loaded, &resumed, &error) == VAE_OK);
            vae_get_config(resumed, &c);
            CHECK(!mixes[m].corruption || c.corruption.kind == loaded.corruption.kind);
            CHECK(c.binarize == loaded.binarize && c.missing == loaded.missing && c.targets == loaded.targets);
            vae_destroy(stopped);
            vae_destroy(resumed);
            vae_destroy(straight);
        }
    {                                           /* corruption can be taken back */
        vae_config c = small_network(VAE_BERNOULLI), none;
        vae_model *model, *loaded = NULL;
        c.corruption.kind = VAE_CORRUPTION_MASKING;
        c.corruption.amount = (vae_real)0.5;
        model = make(&c);
        CHECK(vae_save_memory(model, 0, file, sizeof file, &size, NULL) == VAE_OK);
        memset(&none, 0, sizeof none);
        none.corruption.kind = VAE_CORRUPTION_NONE;
        CHECK(vae_load_memory(file, size, &none, &loaded, &error) == VAE_OK);
        vae_get_config(loaded, &c);
        CHECK(c.corruption.kind == VAE_CORRUPTION_NONE && c.corruption.amount == 0);
        vae_destroy(model);
        vae_destroy(loaded);
    }
}

/* A batch in shares is drawn like the batch, on any number of tasks; either layout draws the same. */
TEST(test_shares) {
    static unsigned char mask[ROWS * SIZE];
    static vae_real      turned[ROWS * SIZE], turned_others[ROWS * SIZE];
    size_t               m;
    int                  i, k;
    punch(holed, mask);
    for (m = 0; m < sizeof mixes / sizeof *mixes; m++) {
        vae_config c = small_network(mixes[m].likelihood);
        vae_real  *from = mixes[m].missing ? holed : pixels;
        vae_data   data = rows_of(from, ROWS), piece;
        vae_share  share;
        vae_model *whole, *shared, *other;
        double     largest = 0;
        size_t     count;
        set_mix(&mixes[m], &c);
        c.batch = ROWS;
        if (mixes[m].targets) data.targets = others;
        whole = make(&c);
        shared = make(&c);
        c.layout = VAE_CHANNELS_FIRST;
        other = make(&c);
        count = vae_parameter_count(whole);
        CHECK(vae_accumulate_gradients(whole, &data, NULL, NULL, NULL) == VAE_OK);
        share.total = ROWS;
        for (share.first = 0; share.first < ROWS; share.first += 15) {
            piece = rows_of(from + share.first * SIZE, share.first == 30 ? 10 : 15);
            if (mixes[m].targets) piece.targets = others + share.first * SIZE;
            CHECK(vae_accumulate_gradients(shared, &piece, &share, NULL, NULL) == VAE_OK);
        }
        for (i = 0; i < ROWS * SIZE; i++) {             /* the same rows, channels first */
            const int at = i % SIZE, channel = at % 2, position = at / 2;
            turned[i / SIZE * SIZE + channel * (SIZE / 2) + position] = from[i];
            turned_others[i / SIZE * SIZE + channel * (SIZE / 2) + position] = others[i];
        }
        data.pixels = turned;
        if (mixes[m].targets) data.targets = turned_others;
        CHECK(vae_accumulate_gradients(other, &data, NULL, NULL, NULL) == VAE_OK);
        CHECK(same_bits(vae_gradients(whole), vae_gradients(other), count));
        for (k = 0; k < (int)count; k++) largest = fmax(largest, fabs((double)vae_gradients(whole)[k]));
        for (k = 0; k < (int)count; k++)
            CHECK_NEAR(vae_gradients(shared)[k], vae_gradients(whole)[k], 1e-5 * largest);
        vae_destroy(whole);
        vae_destroy(shared);
        vae_destroy(other);
    }
}

int main(void) {
    draw_rows(pixels, ROWS, 1);
    draw_rows(others, ROWS, 2);
    RUN(test_settings);
    RUN(test_without_effect);
    RUN(test_nats_of_parts);
    RUN(test_statistics_of_corruption);
    RUN(test_binarized_pixels);
    RUN(test_denoising);
    RUN(test_ways_to_miss);
    RUN(test_statistics_of_observed);
    RUN(test_imputed);
    RUN(test_imputed_by_one_sample);
    RUN(test_resumed);
    RUN(test_shares);
    return test_finish();
}
