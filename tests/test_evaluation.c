/* What says how good a model is and how odd a row: log p(x) with many samples, scores of rows and of their numbers,
   thresholds, what each dimension of z carries. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "test.h"

enum { HEIGHT = 3, WIDTH = 4, CHANNELS = 2, SIZE = HEIGHT * WIDTH * CHANNELS, LATENT = 3, ROWS = 150 };
static const vae_likelihood all[] = { VAE_BERNOULLI, VAE_GAUSSIAN, VAE_LAPLACE, VAE_CONTINUOUS_BERNOULLI };
static vae_real pixels[ROWS * SIZE], first_planes[ROWS * SIZE];     /* the same rows, channels last and first */
static const vae_data data = { .pixels = pixels, .count = ROWS };

static int has_sigma(vae_likelihood likelihood) { return likelihood == VAE_GAUSSIAN || likelihood == VAE_LAPLACE; }

static void make_rows(void) {
    test_random random = { 11 };
    size_t      r, p, c;
    for (r = 0; r < ROWS; r++)
        for (p = 0; p < HEIGHT * WIDTH; p++)
            for (c = 0; c < CHANNELS; c++) {
                const vae_real x = (vae_real)(p == 5 ? (double)c : test_uniform(&random, 0, 1));    /* some 0 and 1 */
                pixels[r * SIZE + p * CHANNELS + c] = first_planes[r * SIZE + c * HEIGHT * WIDTH + p] = x;
            }
}

static void run_backwards(void *user, vae_task task, void *context, size_t count) {
    (void)user;
    while (count > 0) task(context, --count);
}

static vae_config small_net(void) {
    vae_config config;
    memset(&config, 0, sizeof config);
    config.input.height = HEIGHT;
    config.input.width = WIDTH;
    config.input.channels = CHANNELS;
    config.latent = LATENT;
    config.encoder[0] = VAE_DENSE(20, VAE_SILU);
    config.threads = 1;
    config.seed = 3;
    return config;
}

/* Trained a little, so that sigma, scales and outputs are none that are 0 or 1. */
static vae_model *make(const vae_config *config) {
    vae_model     *model = NULL;
    vae_error      error;
    vae_fit_config fit;
    vae_data       rows = data;
    if (config->layout == VAE_CHANNELS_FIRST) rows.pixels = first_planes;
    memset(&fit, 0, sizeof fit);
    fit.epochs = 3;
    if (CHECK(vae_create(config, &model, &error) == VAE_OK) && CHECK(vae_fit(model, &rows, &fit, &error) == VAE_OK))
        return model;
    printf("    %s\n", error.message);
    exit(1);
}

static vae_score_config kind_of(vae_score_kind kind) {
    vae_score_config score;
    memset(&score, 0, sizeof score);
    score.kind = kind;
    return score;
}

/* ---- log p(x) ---- */

typedef struct heap { size_t blocks, bytes; } heap;
static void *heap_allocate(void *user, size_t size) {
    ((heap *)user)->blocks++;
    ((heap *)user)->bytes += size;
    return malloc(size);
}
static void heap_release(void *user, void *block, size_t size) {
    (void)user;
    (void)size;
    free(block);
}

/* 5000 samples of each row: the log of the mean weight, computed here from the same noise in one go; in the memory that
   the model had before; the same bits for any number of threads, and whatever batch the workspace is for. */
TEST(test_many_samples) {
    enum { SAMPLES = 5000, SOME = 5 };
    static const struct { int threads; size_t batch; } ways[] = {
        { 1, 128 }, { 3, 128 }, { 4, 64 }, { 1, 1 }, { 2, 2 }
    };
    static vae_real noise[SAMPLES * LATENT], z[SAMPLES * LATENT], made[SAMPLES * SIZE];
    static double   log_weights[SAMPLES];
    double          each[5][SOME], mean;
    size_t          w, r, s, i;
    for (w = 0; w < 5; w++) {
        vae_config   config = small_net();
        heap         used = { 0, 0 };
        vae_model   *model = NULL;
        vae_data     some = data;
        size_t       bytes, needed;
        some.count = SOME;
        config.likelihood = VAE_GAUSSIAN;
        config.sigma = (vae_real)0.2;
        config.threads = ways[w].threads;
        config.parallel.run = run_backwards;
        config.batch = ways[w].batch;
        config.allocator.allocate = heap_allocate;
        config.allocator.release = heap_release;
        config.allocator.user = &used;
        CHECK(vae_memory_needed(&config, &needed, NULL) == VAE_OK);
        CHECK(vae_create(&config, &model, NULL) == VAE_OK);
        bytes = used.bytes;
        CHECK(used.blocks == 1 && bytes >= needed && bytes < needed + 128);
        CHECK(vae_log_likelihood(model, &some, SAMPLES, &mean, each[w], NULL) == VAE_OK);
        CHECK(used.blocks == 1 && used.bytes == bytes);
        CHECK(!memcmp(each[w], each[0], sizeof each[0]));
        for (r = 0; w == 0 && r < SOME; r++) {
            vae_real    mu[LATENT], logvar[LATENT];
            vae_data    row = { .pixels = pixels + r * SIZE, .count = 1 };
            vae_latents latents;
            double      most = -1e30, sum = 0;
            CHECK(vae_encode(model, &row, mu, logvar, NULL) == VAE_OK);
            vaei_normal_rows(model->kernels, config.seed, VAEI_STREAM_LIKELIHOOD, r, 0, SAMPLES, LATENT, noise);
            for (i = 0; i < SAMPLES * LATENT; i++)
                z[i] = (vae_real)((double)mu[i % LATENT] + exp((double)logvar[i % LATENT] / 2) * (double)noise[i]);
            memset(&latents, 0, sizeof latents);
            latents.z = z;
            latents.count = SAMPLES;
            CHECK(vae_decode(model, &latents, made, NULL) == VAE_OK);
            for (s = 0; s < SAMPLES; s++) {
                log_weights[s] = 0;
                for (i = 0; i < LATENT; i++)
                    log_weights[s] += (pow((double)noise[s * LATENT + i], 2) + (double)logvar[i] -
                                       pow((double)z[s * LATENT + i], 2)) / 2;
                for (i = 0; i < SIZE; i++)
                    log_weights[s] -= pow(((double)row.pixels[i] - (double)made[s * SIZE + i]) / 0.2, 2) / 2 +
                                      log(0.2) + 0.918938533204672742;
                if (log_weights[s] > most) most = log_weights[s];
            }
            for (s = 0; s < SAMPLES; s++) sum += exp(log_weights[s] - most);
            CHECK_NEAR(each[0][r], most + log(sum / SAMPLES), 3e-4);
        }
        vae_destroy(model);
    }
}

/* The score -log p(x) is vae_log_likelihood's of the row as the first of its data: wherever it stands, in whatever
   batch, with any number of threads. */
TEST(test_log_likelihood_score) {
    static const size_t batches[] = { 1, 7, 128 };
    double scores[ROWS], expected[ROWS];
    size_t k, b, i;
    int    threads;
    for (k = 0; k < 4; k++) {
        vae_config       config = small_net();
        vae_score_config score = kind_of(VAE_SCORE_LOG_LIKELIHOOD);
        vae_model       *model;
        double           by_default;
        config.likelihood = all[k];
        model = make(&config);
        score.samples = 37;
        for (i = 0; i < ROWS; i++) {
            vae_data row = { .pixels = pixels + i * SIZE, .count = 1 };
            CHECK(vae_log_likelihood(model, &row, 37, NULL, &expected[i], NULL) == VAE_OK);
        }
        for (b = 0; b < 3; b++)
            for (threads = 1; threads <= 3; threads += 2) {
                vae_config changes;
                vae_model *view;
                memset(&changes, 0, sizeof changes);
                changes.batch = batches[b];
                changes.threads = threads;
                changes.parallel.run = run_backwards;
                CHECK(vae_create_view(model, &changes, &view, NULL) == VAE_OK);
                CHECK(vae_score(view, &data, &score, scores, NULL) == VAE_OK);
                for (i = 0; i < ROWS; i++) CHECK(scores[i] == -expected[i]);
                vae_destroy(view);
            }
        score.samples = 0;
        {
            vae_data row = { .pixels = pixels, .count = 1 };
            CHECK(vae_score(model, &row, &score, scores, NULL) == VAE_OK);
            CHECK(vae_log_likelihood(model, &row, 100, NULL, &by_default, NULL) == VAE_OK);
            CHECK(scores[0] == -by_default);
        }
        vae_destroy(model);
    }
}

/* ---- numbers of a row ---- */

/* Their sum is the row's score; squares are those of vae_reconstruct; nats of Gaussian and Laplace follow from the
   reconstruction and sigma, in the caller's units; channels first is the same in the other order. */
TEST(test_scores_of_numbers) {
    static double   numbers[ROWS * SIZE], turned[ROWS * SIZE];
    static vae_real made[ROWS * SIZE];
    double          scores[ROWS];
    size_t          k, i, p, c;
    int             convolutional, sigma, standardize, squared;
    for (k = 0; k < 4; k++)
        for (convolutional = 0; convolutional < 2; convolutional++)
            for (sigma = 0; sigma < (has_sigma(all[k]) ? 3 : 1); sigma++)
                for (standardize = 0; standardize < (has_sigma(all[k]) ? 2 : 1); standardize++)
                    for (squared = 0; squared < 2; squared++) {
                        const vae_score_config score =
                            kind_of(squared ? VAE_SCORE_SQUARED_ERROR : VAE_SCORE_RECONSTRUCTION);
                        vae_config config = small_net();
                        vae_data   planes = { .pixels = first_planes, .count = ROWS };
                        vae_model *model;
                        config.likelihood = all[k];
                        config.sigma = has_sigma(all[k]) && !sigma ? (vae_real)0.3 : 0;
                        config.sigma_per_pixel = sigma == 2;
                        config.standardize = standardize;
                        if (convolutional) config.encoder[0] = VAE_CONV(5, 3, 2, VAE_SILU);
                        model = make(&config);
                        CHECK(vae_score(model, &data, &score, scores, NULL) == VAE_OK);
                        CHECK(vae_score_numbers(model, &data, squared ? &score : NULL, numbers, NULL) == VAE_OK);
                        CHECK(vae_reconstruct(model, &data, made, NULL) == VAE_OK);
                        for (i = 0; i < ROWS; i++) {
                            double sum = 0;
                            for (p = 0; p < SIZE; p++) {
                                const double off = (double)pixels[i * SIZE + p] - (double)made[i * SIZE + p];
                                sum += numbers[i * SIZE + p];
                                if (squared) CHECK_NEAR(numbers[i * SIZE + p], off * off, 1e-6);
                                else if (has_sigma(all[k])) {
                                    const vae_real *weights = vae_weights(model), *log_sigma = weights;
                                    double          s = (double)config.sigma;
                                    log_sigma += model->plan.log_sigma + (sigma == 2 ? p : 0);
                                    if (sigma) s = exp((double)*log_sigma);
                                    if (standardize) s *= (double)weights[model->plan.standardize_scale + p];
                                    CHECK_NEAR(numbers[i * SIZE + p],
                                               all[k] == VAE_LAPLACE ? fabs(off) / s + log(2 * s)
                                               : off * off / (2 * s * s) + log(s) + 0.918938533204672742, 1e-5);
                                }
                            }
                            CHECK_NEAR(sum, scores[i], 1e-4);
                        }
                        vae_destroy(model);
                        config.layout = VAE_CHANNELS_FIRST;
                        model = make(&config);
                        CHECK(vae_score_numbers(model, &planes, &score, turned, NULL) == VAE_OK);
                        for (i = 0; i < ROWS; i++)
                            for (p = 0; p < HEIGHT * WIDTH; p++)
                                for (c = 0; c < CHANNELS; c++)
                                    CHECK(turned[i * SIZE + c * HEIGHT * WIDTH + p] ==
                                          numbers[i * SIZE + p * CHANNELS + c]);
                        vae_destroy(model);
                    }
}

static double entropy(double x) { return x > 0 && x < 1 ? -x * log(x) - (1 - x) * log(1 - x) : 0; }

/* A decoder whose mean is the row has no other Bernoulli nats than the row's entropy; of black and white it is 0. */
TEST(test_without_entropy) {
    vae_config       config = small_net();
    vae_model       *model = NULL;
    vae_score_config plain = kind_of(VAE_SCORE_RECONSTRUCTION), less;
    vae_data         row = { .pixels = pixels, .count = 1 };
    vae_real         bias[SIZE], made[SIZE], *none;
    double           before[SIZE], after[SIZE], one, two, own = 0;
    size_t           i;
    int              kind;
    config.decoder[0] = VAE_DENSE(SIZE, VAE_LINEAR);
    CHECK(vae_create(&config, &model, NULL) == VAE_OK);
    none = (vae_real *)calloc(SIZE * LATENT, sizeof *none);
    for (i = 0; i < SIZE; i++) {
        const double x = (double)pixels[i];
        bias[i] = (vae_real)(x <= 0 ? -40 : x >= 1 ? 40 : log(x / (1 - x)));
        own += entropy(x);
    }
    CHECK(own > 5);
    CHECK(vae_set_tensor(model, "decoder.0.weight", none, SIZE * LATENT, NULL) == VAE_OK);
    for (i = 0; i < SIZE; i++) made[i % CHANNELS * HEIGHT * WIDTH + i / CHANNELS] = bias[i];   /* PyTorch's order */
    CHECK(vae_set_tensor(model, "decoder.0.bias", made, SIZE, NULL) == VAE_OK);
    less = plain;
    less.without_entropy = 1;
    CHECK(vae_score(model, &row, &plain, &one, NULL) == VAE_OK);
    CHECK(vae_score(model, &row, &less, &two, NULL) == VAE_OK);
    CHECK_NEAR(one, own, 1e-5);
    CHECK_NEAR(two, 0, 1e-5);
    CHECK(vae_score_numbers(model, &row, &plain, before, NULL) == VAE_OK);
    CHECK(vae_score_numbers(model, &row, &less, after, NULL) == VAE_OK);
    for (i = 0; i < SIZE; i++) {
        CHECK_NEAR(before[i], entropy((double)pixels[i]), 1e-6);
        CHECK_NEAR(after[i], 0, 1e-6);
    }
    for (kind = VAE_SCORE_ELBO; kind <= VAE_SCORE_LOG_LIKELIHOOD; kind++) {
        if (kind == VAE_SCORE_SQUARED_ERROR) continue;
        plain.kind = less.kind = (vae_score_kind)kind;
        CHECK(vae_score(model, &row, &plain, &one, NULL) == VAE_OK);
    CHECK(vae_score(model, &row, &less, &two, NULL) == VAE_OK);
        CHECK_NEAR(one - two, own, 1e-5);
    }
    for (i = 0; i < SIZE; i++) made[i] = (vae_real)(i % 3 == 0);
    row.pixels = made;
    CHECK(vae_score(model, &row, &plain, &one, NULL) == VAE_OK);
    CHECK(vae_score(model, &row, &less, &two, NULL) == VAE_OK);
    CHECK(one == two);
    free(none);
    vae_destroy(model);
}

TEST(test_score_refusals) {
    vae_config       config = small_net();
    vae_model       *model, *gaussian;
    vae_score_config score = kind_of((vae_score_kind)5);
    vae_error        error;
    double           each[SIZE];
    vae_data         row = { .pixels = pixels, .count = 1 };
    model = make(&config);
    config.likelihood = VAE_GAUSSIAN;
    gaussian = make(&config);
#define REFUSED(call, part) \
    do { CHECK((call) == VAE_ERROR_ARGUMENT); CHECK_CONTAINS(error.message, part); } while (0)
    REFUSED(vae_score(model, &row, &score, each, &error), "score.kind is 5");
    score = kind_of((vae_score_kind)-1);
    REFUSED(vae_score_numbers(model, &row, &score, each, &error), "score.kind is -1");
    score = kind_of(VAE_SCORE_DEFAULT);
    score.samples = 10;
    REFUSED(vae_score(model, &row, &score, each, &error), "score.samples is 10");
    score = kind_of(VAE_SCORE_ELBO);
    REFUSED(vae_score_numbers(model, &row, &score, each, &error), "no sum over a row's numbers");
    score = kind_of(VAE_SCORE_LOG_LIKELIHOOD);
    REFUSED(vae_score_numbers(model, &row, &score, each, &error), "no sum over a row's numbers");
    score.without_entropy = 1;
    REFUSED(vae_score(gaussian, &row, &score, each, &error), "score.without_entropy");
    score.kind = VAE_SCORE_SQUARED_ERROR;
    REFUSED(vae_score(model, &row, &score, each, &error), "score.without_entropy");
    REFUSED(vae_score_numbers(model, &row, NULL, NULL, &error), "each is NULL");
    REFUSED(vae_score_numbers(NULL, &row, NULL, each, &error), "model is NULL");
    REFUSED(vae_latent_statistics(model, &row, NULL, NULL, &error), "each is NULL");
    row.count = 0;
    CHECK(vae_score_numbers(model, &row, NULL, NULL, NULL) == VAE_OK);
    vae_destroy(model);
    vae_destroy(gaussian);
}

/* What does not fit is refused before the numbers are looked at: here these are wrong, too. */
TEST(test_arguments_before_numbers) {
    vae_config       config = small_net();
    vae_score_config score = kind_of((vae_score_kind)5);
    vae_real         wrong[SIZE], filled[SIZE];
    vae_data         row = { .pixels = wrong, .count = 1 }, many = { .pixels = pixels, .targets = wrong, .count = 1 };
    double           each[SIZE], scores[2] = { (double)NAN, 0 };
    vae_model       *model;
    vae_error        error;
    memset(wrong, 0, sizeof wrong);
    wrong[1] = 2;
    config.missing = config.targets = 1;
    config.batch = 1;
    model = make(&config);
    CHECK(vae_elbo(model, &row, NULL, NULL, &error) == VAE_ERROR_DATA);
    CHECK(vae_score(model, &row, NULL, each, &error) == VAE_ERROR_DATA);
    CHECK(vae_log_likelihood(model, &row, 1, NULL, NULL, &error) == VAE_ERROR_DATA);
    CHECK(vae_impute(model, &row, 1, filled, NULL, &error) == VAE_ERROR_DATA);
    CHECK(vae_train_step(model, &many, NULL, &error) == VAE_ERROR_DATA);
    REFUSED(vae_score(model, &row, &score, each, &error), "score.kind is 5");
    REFUSED(vae_score(model, &row, NULL, NULL, &error), "each is NULL");
    REFUSED(vae_score_numbers(model, &row, NULL, NULL, &error), "each is NULL");
    REFUSED(vae_log_likelihood(model, &row, 0, NULL, NULL, &error), "samples is 0");
    REFUSED(vae_impute(model, &row, 0, filled, NULL, &error), "samples is 0");
    REFUSED(vae_impute(model, &row, 1, NULL, NULL, &error), "filled is NULL");
    many.count = 2;
    REFUSED(vae_train_step(model, &many, NULL, &error), "the batch has 2 rows, the model was made for 1");
    REFUSED(vae_quantile(scores, 2, 0.99, each, &error), "2 scores are too few");
    vae_destroy(model);
}

/* ---- thresholds ---- */

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The score of that rank, whatever the scores; they stay as they are. */
TEST(test_quantile_is_a_rank) {
    static double scores[400], sorted[400];
    test_random   random = { 4 };
    size_t        count, i, rank;
    for (count = 1; count <= 400; count += 1 + count / 3) {
        for (i = 0; i < count; i++) {
            const double x = test_uniform(&random, -1, 1);
            scores[i] = test_integer(&random, 0, 3) ? x * pow(10, test_integer(&random, -300, 300)) : floor(5 * x);
        }
        if (count > 10) {
            scores[3] = (double)INFINITY;
            scores[7] = -(double)INFINITY;
        }
        memcpy(sorted, scores, sizeof sorted);
        qsort(sorted, count, sizeof *sorted, ascending);
        for (rank = 1; rank <= count; rank++) {
            const double exact = (double)rank / (double)(count + 1);
            double       at = 0, below = 0;
            CHECK(vae_quantile(scores, count, exact, &at, NULL) == VAE_OK && at == sorted[rank - 1]);
            CHECK(vae_quantile(scores, count, exact - 0.5 / (double)(count + 1), &below, NULL) == VAE_OK);
            CHECK(below == at);
        }
    }
}

TEST(test_quantile_refusals) {
    double    scores[100] = { 0 }, at = 7;
    vae_error error;
    REFUSED(vae_quantile(NULL, 3, 0.5, &at, &error), "scores or threshold is NULL");
    REFUSED(vae_quantile(scores, 3, 0.5, NULL, &error), "scores or threshold is NULL");
    REFUSED(vae_quantile(scores, 3, 0, &at, &error), "fraction is 0");
    REFUSED(vae_quantile(scores, 3, 1, &at, &error), "fraction is 1");
    REFUSED(vae_quantile(scores, 3, (double)NAN, &at, &error), "fraction is nan");
    REFUSED(vae_quantile(scores, 98, 0.99, &at, &error),
            "98 scores are too few for the fraction 0.99, it takes at least 99");
    REFUSED(vae_quantile(scores, 0, 0.9999, &at, &error), "it takes at least 9999");
    REFUSED(vae_quantile(NULL, 0, 0.5, &at, &error), "0 scores are too few");
    CHECK(at == 7);
    CHECK(vae_quantile(scores, 99, 0.99, &at, &error) == VAE_OK && at == 0);
    scores[2] = (double)NAN;
    CHECK(vae_quantile(scores, 100, 0.5, &at, &error) == VAE_ERROR_DATA);
    CHECK_CONTAINS(error.message, "score 2 is not a number");
}

/* A further score exceeds the threshold in 1 - fraction of the cases: 1 in 10 with 9 and with 99 scores, within four
   standard errors. */
TEST(test_quantile_covers) {
    enum { TURNS = 20000 };
    test_random random = { 8 };
    size_t      count, i;
    for (count = 9; count <= 99; count += 90) {
        double above = 0, scores[99], threshold = 0;
        int    turn;
        for (turn = 0; turn < TURNS; turn++) {
            for (i = 0; i < count; i++) scores[i] = pow(test_uniform(&random, 0, 1), 3);
            CHECK(vae_quantile(scores, count, 0.9, &threshold, NULL) == VAE_OK);
            above += pow(test_uniform(&random, 0, 1), 3) > threshold;
        }
        CHECK_NEAR(above / TURNS, 0.1, 4 * sqrt(0.09 / TURNS));
    }
}

/* ---- dimensions of z ---- */

TEST(test_latent_statistics) {
    static const size_t batches[] = { 1, 7, 128 };
    static vae_real mean[ROWS * LATENT], logvar[ROWS * LATENT];
    vae_dimension   each[LATENT], first[LATENT];
    vae_terms       terms;
    size_t          b, i, d, active;
    memset(first, 0, sizeof first);
    for (b = 0; b < 3; b++) {
        vae_config config = small_net();
        vae_model *model = NULL;
        vae_real   weights[LATENT * 20], bias[LATENT] = { 0 };
        double     kl = 0;
        config.batch = batches[b];
        config.threads = b == 2 ? 3 : 1;
        config.parallel.run = run_backwards;
        CHECK(vae_create(&config, &model, NULL) == VAE_OK);
        /* dimension 0 far from 0, where a sum of squares would cancel; dimension 1 dead */
        CHECK(vae_get_tensor(model, "mean.weight", weights, LATENT * 20, NULL) == VAE_OK);
        for (i = 0; i < 20; i++) {
            weights[20 + i] = 0;
            weights[40 + i] *= 3;
        }
        bias[0] = 1000;
        CHECK(vae_set_tensor(model, "mean.weight", weights, LATENT * 20, NULL) == VAE_OK);
        CHECK(vae_set_tensor(model, "mean.bias", bias, LATENT, NULL) == VAE_OK);
        CHECK(vae_latent_statistics(model, &data, each, &active, NULL) == VAE_OK);
        CHECK(vae_latent_statistics(model, &data, each, NULL, NULL) == VAE_OK);
        if (!b) memcpy(first, each, sizeof each);
        CHECK(!memcmp(each, first, sizeof each));
        CHECK(vae_encode(model, &data, mean, logvar, NULL) == VAE_OK);
        CHECK(vae_elbo(model, &data, &terms, NULL, NULL) == VAE_OK);
        for (d = 0; d < LATENT; d++) {
            double center = 0, variance = 0, nats = 0;
            for (i = 0; i < ROWS; i++) center += (double)mean[i * LATENT + d] / ROWS;
            for (i = 0; i < ROWS; i++) {
                const double m = (double)mean[i * LATENT + d], l = (double)logvar[i * LATENT + d];
                variance += (m - center) * (m - center) / ROWS;
                nats += (m * m + exp(l) - 1 - l) / 2 / ROWS;
            }
            CHECK_NEAR(each[d].mean, center, 1e-9);
            CHECK_NEAR(each[d].variance, variance, 1e-9);
            CHECK_NEAR(each[d].kl, nats, 1e-6 * fmax(1, nats));
            CHECK(each[d].is_active == (each[d].variance > 0.01));
            kl += each[d].kl;
        }
        CHECK(each[1].variance == 0 && !each[1].is_active && each[2].is_active);
        CHECK(active == (size_t)each[0].is_active + 1);
        CHECK_NEAR(kl, terms.kl, 1e-6 * kl);
        vae_destroy(model);
    }
}

/* ---- the linear probe ---- */

enum { POINTS = 900, PROBED = 4, CLASSES = 3 };

/* Three classes around three points of a plane, `spread` wide; dimension 2 is a copy of 0, dimension 3 stands still. */
static void make_points(vae_real *z, int *labels, double spread, double scale) {
    static const double middles[CLASSES][2] = { { 0, 0 }, { 1, 0 }, { 0.2, 1.3 } };
    test_random         random = { 17 };
    size_t              i;
    for (i = 0; i < POINTS; i++) {
        const double size = spread * sqrt(-2 * log(1 - test_uniform(&random, 0, 1)));
        const double angle = test_uniform(&random, 0, 6.283185307179586);
        labels[i] = (int)(i % CLASSES);
        z[i * PROBED] = z[i * PROBED + 2] = (vae_real)(scale * (middles[labels[i]][0] + size * cos(angle)));
        z[i * PROBED + 1] = (vae_real)(middles[labels[i]][1] + size * sin(angle));
        z[i * PROBED + 3] = (vae_real)0.7;
    }
}

/* The fitted classifier is where the penalised loss has no slope, in memory of exactly the size that was said; it finds
   what there is to find, whatever the scale of a dimension. */
TEST(test_probe) {
    static const double spreads[] = { 0.05, 0.4, 1e3 };
    static vae_real     z[POINTS * PROBED];
    static int          labels[POINTS];
    const vae_probe_config probe = { PROBED, CLASSES, 2000 };
    const size_t           size = vae_probe_memory(&probe);
    double                *memory = (double *)malloc((size + 1) * sizeof *memory), accuracy[3][2] = { { 0 } };
    vae_latents            points;
    size_t                 s, k, i, c;
    memset(&points, 0, sizeof points);
    points.z = z;
    points.count = POINTS;
    points.labels = labels;
    for (s = 0; s < 3; s++)
        for (k = 0; k < 2; k++) {
            double slope[CLASSES][2] = { { 0 } };       /* by the weight of dimension 1 and by the bias */
            make_points(z, labels, spreads[s], k ? 1000 : 1);
            memory[size] = 7;
            CHECK(vae_probe(&probe, &points, &points, memory, &accuracy[s][k], NULL) == VAE_OK && memory[size] == 7);
            for (i = 0; i < POINTS; i++) {
                double scores[CLASSES], sum = 0;
                for (c = 0; c < CLASSES; c++) {
                    const double *w = memory + c * (PROBED + 1);
                    size_t        d;
                    scores[c] = w[PROBED];
                    for (d = 0; d < PROBED; d++) scores[c] += w[d] * (double)z[i * PROBED + d];
                }
                for (c = 0; c < CLASSES; c++) sum += exp(scores[c]);
                for (c = 0; c < CLASSES; c++) {
                    /* the penalty is 1 / POINTS^2 sum of squared scores / 2 */
                    const double off = exp(scores[c]) / sum - (labels[i] == (int)c) + scores[c] / POINTS;
                    slope[c][0] += off * (double)z[i * PROBED + 1] / POINTS;
                    slope[c][1] += off / POINTS;
                }
            }
            for (c = 0; c < CLASSES; c++) {
                CHECK_NEAR(slope[c][0], 0, 3e-5 * fmax(1, spreads[s]));
                CHECK_NEAR(slope[c][1], 0, 3e-5);
            }
        }
    printf("  linear probe: %.3f %.3f %.3f right for classes ever wider\n", accuracy[0][0], accuracy[1][0],
           accuracy[2][0]);
    CHECK(accuracy[0][0] > 0.999 && accuracy[1][0] > 0.8 && accuracy[1][0] < 0.95 && accuracy[2][0] < 0.5);
    for (s = 0; s < 3; s++) CHECK_NEAR(accuracy[s][0], accuracy[s][1], 0.003);
    free(memory);
}

TEST(test_probe_refusals) {
    static vae_real  z[POINTS * PROBED];
    static int       labels[POINTS];
    vae_probe_config probe = { PROBED, CLASSES, 0 };
    double           memory[100], accuracy = 7;
    vae_latents      points, none;
    vae_error        error;
    make_points(z, labels, 1, 1);
    memset(&points, 0, sizeof points);
    points.z = z;
    points.count = 10;
    points.labels = labels;
    none = points;
    CHECK(vae_probe_memory(&probe) <= 100 && vae_probe_memory(NULL) == 0);
    REFUSED(vae_probe(NULL, &points, &points, memory, &accuracy, &error), "probe, memory or accuracy is NULL");
    REFUSED(vae_probe(&probe, &points, &points, NULL, &accuracy, &error), "probe, memory or accuracy is NULL");
    REFUSED(vae_probe(&probe, &points, &points, memory, NULL, &error), "probe, memory or accuracy is NULL");
    REFUSED(vae_probe(&probe, NULL, &points, memory, &accuracy, &error), "train, its z or its labels is NULL");
    none.labels = NULL;
    REFUSED(vae_probe(&probe, &points, &none, memory, &accuracy, &error), "test, its z or its labels is NULL");
    none.labels = labels;
    none.count = 0;
    REFUSED(vae_probe(&probe, &none, &points, memory, &accuracy, &error), "train.count is 0");
    none.count = (size_t)-1 / 4;
    REFUSED(vae_probe(&probe, &points, &none, memory, &accuracy, &error), "test.count is");
    REFUSED(vae_probe(&probe, &none, &points, memory, &accuracy, &error), "more than fits in memory");
    probe.classes = 1;
    REFUSED(vae_probe(&probe, &points, &points, memory, &accuracy, &error), "classes is 1");
    probe.classes = (size_t)-1 / 8;
    CHECK(vae_probe_memory(&probe) == (size_t)-1);
    REFUSED(vae_probe(&probe, &points, &points, memory, &accuracy, &error), "than fit in memory");
    probe.classes = 2;
    CHECK(vae_probe(&probe, &points, &points, memory, &accuracy, &error) == VAE_ERROR_DATA);
    CHECK_CONTAINS(error.message, "train row 2 has label 2: labels must lie in 0 to 1");
    probe.classes = 3;
    z[7] = (vae_real)NAN;
    CHECK(vae_probe(&probe, &points, &points, memory, &accuracy, &error) == VAE_ERROR_DATA);
    CHECK_CONTAINS(error.message, "train: z of row 1, dimension 3 is not finite");
    CHECK(accuracy == 7);
    /* What stands after the last point is not read. */
    points.count = 1;
    labels[1] = -1;
    CHECK(vae_probe(&probe, &points, &points, memory, &accuracy, &error) == VAE_OK && accuracy == 1);
}

/* The half that a score needs. */
TEST(test_parts) {
    vae_config    config = small_net();
    vae_model    *encoder = NULL, *decoder = NULL;
    vae_error     error;
    vae_dimension dimensions[LATENT];
    double        each[ROWS];
    static double numbers[ROWS * SIZE];
    config.part = VAE_ENCODER_ONLY;
    CHECK(vae_create(&config, &encoder, NULL) == VAE_OK);
    config.part = VAE_DECODER_ONLY;
    CHECK(vae_create(&config, &decoder, NULL) == VAE_OK);
    CHECK(vae_latent_statistics(encoder, &data, dimensions, NULL, NULL) == VAE_OK);
    REFUSED(vae_latent_statistics(decoder, &data, dimensions, NULL, &error), "needs the encoder");
    REFUSED(vae_score_numbers(encoder, &data, NULL, numbers, &error), "vae_score_numbers needs the decoder");
    REFUSED(vae_score_numbers(decoder, &data, NULL, numbers, &error), "vae_score_numbers needs the encoder");
    REFUSED(vae_score(encoder, &data, NULL, each, &error), "vae_score needs the decoder");
    vae_destroy(encoder);
    vae_destroy(decoder);
}

int main(void) {
    make_rows();
    RUN_LONG(test_many_samples, "5000 samples a row, five ways");
    RUN(test_log_likelihood_score);
    RUN(test_scores_of_numbers);
    RUN(test_without_entropy);
    RUN(test_score_refusals);
    RUN(test_arguments_before_numbers);
    RUN(test_quantile_is_a_rank);
    RUN(test_quantile_refusals);
    RUN(test_quantile_covers);
    RUN(test_latent_statistics);
    RUN(test_parts);
    RUN(test_probe);
    RUN(test_probe_refusals);
    return test_finish();
}
