/* What training minimises: limits, refusals, threads, resuming and files of every objective. Their gradients and their
   values by brute force stand in test_gradients. */
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "config_of.h"

#include "test.h"
#include "model.h"

enum { ROWS = 23, HEIGHT = 6, WIDTH = 5, SIZE = HEIGHT * WIDTH, LATENT = 4, DENSE = 0, CONVOLUTIONS, NETWORKS };

static vae_error problem;

static vae_config network(int kind) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.input.height = HEIGHT;
    c.input.width = WIDTH;
    c.input.channels = 1;
    c.latent = LATENT;
    c.batch = ROWS;
    c.seed = 11;
    c.threads = 1;
    c.encoder[0] = kind == DENSE ? VAE_DENSE(19, VAE_TANH) : VAE_CONV(5, 3, 2, VAE_SILU);
    c.encoder[1] = VAE_DENSE(9, VAE_RELU);
    return c;
}

/* Every objective, with numbers that are no default. */
enum { PLAIN, SAMPLES, IWAE, AUTOENCODER, FREE_BITS, CAPACITY, OBJECTIVES };

static vae_config with(int kind, int objective) {
    vae_config c = network(kind);
    if (objective == SAMPLES) c.samples = 3;
    if (objective == IWAE) c.objective = VAE_OBJECTIVE_IWAE;
    if (objective == IWAE) c.samples = 6;
    if (objective == AUTOENCODER) c.objective = VAE_OBJECTIVE_AUTOENCODER;
    if (objective == FREE_BITS) c.free_bits = (vae_real)0.125;
    if (objective == CAPACITY) {
        c.capacity = 3;
        c.capacity_schedule.kind = VAE_WARMUP;
        c.capacity_schedule.steps = 40;
        c.beta = 10;
    }
    return c;
}

static vae_real pixels[ROWS * SIZE];
static const vae_data rows = { .pixels = pixels, .count = ROWS };

static void draw_pixels(void) {
    test_random random = { 3 };
    size_t      i;
    for (i = 0; i < ROWS * SIZE; i++) pixels[i] = (vae_real)test_uniform(&random, 0, 1);
}

static vae_terms train(vae_model *model, int steps) {
    vae_terms terms = { 0 };
    while (steps--)
        if (!CHECK(vae_train_step(model, &rows, &terms, &problem) == VAE_OK)) printf("    %s\n", problem.message);
    return terms;
}

/* ---- limits ---- */

/* Settings that bind nowhere train as the ELBO does, bit for bit. */
TEST(test_limits) {
    int kind;
    for (kind = 0; kind < NETWORKS; kind++) {
        vae_config c = network(kind);
        vae_model *elbo = make(&c), *model;
        vae_terms  expected, terms;
        c.objective = VAE_OBJECTIVE_ELBO;
        c.samples = 1;
        expected = train(elbo, 9);
        c = network(kind);
        c.free_bits = (vae_real)1e-7;       /* less than any dimension's KL */
        model = make(&c);
        terms = train(model, 9);
        CHECK(same_weights(elbo, model));
        CHECK_NEAR(terms.loss, expected.loss, 1e-6 * expected.loss);
        vae_destroy(model);
        c = network(kind);
        c.capacity = (vae_real)1e-7;        /* likewise */
        model = make(&c);
        terms = train(model, 9);
        CHECK(same_weights(elbo, model));
        CHECK_NEAR(terms.loss, expected.loss, 1e-6 * expected.loss);
        vae_destroy(model);
        vae_destroy(elbo);
    }
}

/* One importance sample is the ELBO on average, of the loss and of each gradient: over many draws for one row, which it
   shares with the closed form, they differ by less than their spread lets them. */
TEST(test_one_importance_sample_is_the_elbo_on_average) {
    const size_t    draws = (size_t)test_cases(20000);
    static double   sums[2][2000], squares[2000];
    const vae_data  row = { .pixels = pixels, .count = 1 };
    vae_config      c = network(DENSE);
    vae_model      *models[2];
    size_t          count, i, draw;
    int             k;
    for (k = 0; k < 2; k++) {
        c.objective = k ? VAE_OBJECTIVE_IWAE : VAE_OBJECTIVE_ELBO;
        c.samples = 1;
        models[k] = make(&c);
    }
    count = vae_parameter_count(models[0]);
    memset(sums, 0, sizeof sums);
    memset(squares, 0, sizeof squares);
    CHECK(count < 2000);
    for (draw = 0; draw < draws; draw++) {
        const vae_share share = { draw, draws };
        vae_terms       terms[2];
        for (k = 0; k < 2; k++) {
            vae_clear_gradients(models[k]);
            CHECK(vae_accumulate_gradients(models[k], &row, &share, &terms[k], &problem) == VAE_OK);
        }
        for (i = 0; i <= count; i++) {
            double value[2];
            for (k = 0; k < 2; k++)
                value[k] = i < count ? (double)(vae_gradients(models[k])[i] * (vae_real)draws) : (double)terms[k].loss;
            for (k = 0; k < 2; k++) sums[k][i] += value[k] / (double)draws;
            squares[i] += (value[1] - value[0]) * (value[1] - value[0]) / (double)draws;
        }
        if (draw == 0) CHECK(terms[0].elbo == terms[1].elbo && terms[0].loss != terms[1].loss);
    }
    for (i = 0; i <= count; i++)
        CHECK_NEAR(sums[1][i], sums[0][i], 5 * sqrt(squares[i] / (double)draws) + 1e-6 * fabs(sums[0][i]));
    vae_destroy(models[0]);
    vae_destroy(models[1]);
}

/* While no dimension has used up its free bits, or the KL is below its capacity, it is not held back: with beta = 0 the
   weights are the same until then, and the capacity pushes it up. */
TEST(test_free_bits_and_capacity_free_the_kl) {
    vae_config c = network(DENSE);
    vae_model *none, *model;
    vae_terms  terms, expected;
    c.beta = VAE_ZERO;
    none = make(&c);
    expected = train(none, 20);
    c.beta = 0;
    c.free_bits = 1000;
    model = make(&c);
    terms = train(model, 20);
    CHECK(same_weights(none, model) && terms.kl == expected.kl);
    CHECK_NEAR(terms.loss, terms.reconstruction + 1000.0 * LATENT, 1e-3);
    vae_destroy(model);
    c.free_bits = 0;
    c.capacity = 5;
    c.beta = 100;
    c.optimizer.learning_rate = (vae_real)0.01;
    model = make(&c);
    CHECK(fabs(train(model, 1).kl - 5) > 1);
    CHECK_NEAR(train(model, 300).kl, 5, 0.2);
    vae_destroy(model);
    vae_destroy(none);
}

/* On a schedule the capacity is of the step. */
TEST(test_capacity_grows) {
    vae_config c = with(DENSE, CAPACITY);
    vae_model *model = make(&c);
    vae_terms  terms;
    int        step;
    for (step = 0; step < 50; step++) {
        const double capacity = step < 40 ? 3.0 * step / 40 : 3;
        terms = train(model, 1);
        CHECK_NEAR(terms.loss, terms.reconstruction + 10 * fabs(terms.kl - capacity), 1e-5);
    }
    vae_destroy(model);
}

/* More samples give a tighter bound; its mean over many rows is that of vae_log_likelihood, which draws its own. */
TEST(test_bound) {
    const size_t    count = (size_t)test_cases(4000);
    vae_config      c = network(DENSE);
    vae_data        many = { .count = count };
    vae_real       *drawn = (vae_real *)malloc(count * SIZE * sizeof *drawn);
    double          losses[4], *each = (double *)malloc(2 * count * sizeof *each), mean = 0, likelihood, spread = 0;
    test_random     random = { 5 };
    size_t          i, k;
    for (i = 0; i < count * SIZE; i++) drawn[i] = test_uniform(&random, 0, 1) < 0.5;
    many.pixels = drawn;
    c.batch = count;
    c.objective = VAE_OBJECTIVE_IWAE;
    for (k = 0; k < 4; k++) {
        static const size_t samples[4] = { 1, 2, 5, 40 };
        vae_model          *model;
        vae_terms           terms;
        c.samples = samples[k];
        model = make(&c);
        for (i = 0; i < vae_parameter_count(model); i++) vae_parameters(model)[i] *= 3;    /* posteriors that differ */
        CHECK(vae_accumulate_gradients(model, &many, NULL, &terms, &problem) == VAE_OK);
        losses[k] = terms.loss;
        if (k > 0) CHECK(terms.loss < -terms.elbo);
        CHECK(vae_log_likelihood(model, &many, samples[k], &likelihood, each, NULL) == VAE_OK);
        for (i = 0; i < count; i++) mean += each[i] / (double)count;
        for (i = 0; i < count; i++) spread += (each[i] - mean) * (each[i] - mean) / (double)count;
        CHECK_NEAR(-terms.loss, likelihood, 5 * sqrt(2 * spread / (double)count));
        mean = spread = 0;
        vae_destroy(model);
    }
    for (k = 1; k < 4; k++) CHECK(losses[k - 1] > losses[k]);
    free(drawn);
    free(each);
}

/* Samples whose weights differ by thousands of nats: everything stays finite, and the best one decides. */
TEST(test_extreme_weights) {
    int kind;
    for (kind = 0; kind < NETWORKS; kind++) {
        vae_config c = network(kind);
        vae_model *model;
        vae_terms  terms;
        size_t     i;
        c.objective = VAE_OBJECTIVE_IWAE;
        c.samples = 30;
        c.likelihood = VAE_GAUSSIAN;
        c.sigma = (vae_real)0.01;
        model = make(&c);
        for (i = 0; i < vae_parameter_count(model); i++) vae_parameters(model)[i] *= 5;
        CHECK(vae_accumulate_gradients(model, &rows, NULL, &terms, &problem) == VAE_OK);
        CHECK(terms.loss < -terms.elbo - 1000 && terms.loss > 0);
        for (i = 0; i < vae_parameter_count(model); i++)
            if (!CHECK(fabs((double)vae_gradients(model)[i]) < 1e18)) break;
        vae_destroy(model);
    }
}

/* ---- the same however it is done ---- */

static void run_backwards(void *user, vae_task task, void *context, size_t count) {
    (void)user;
    while (count) task(context, --count);
}

/* Any number of threads, the last stage fused or not, a step at once or by hand: the same bits. */
TEST(test_same_bits) {
    int kind, objective, way;
    for (kind = 0; kind < NETWORKS; kind++)
        for (objective = 0; objective < OBJECTIVES; objective++) {
            vae_config c = with(kind, objective);
            vae_model *model, *other = NULL;
            vae_terms  expected, terms;
            int        step;
            c.likelihood = VAE_GAUSSIAN;
            model = make(&c);
            expected = train(model, 6);
            for (way = 0; way < 3; way++) {
                vae_config changed = c;
                if (way < 2) {
                    changed.threads = way ? 3 : 2;
                    changed.parallel.run = run_backwards;
                    other = make(&changed);
                    terms = train(other, 6);
                } else {
                    vaei_source source;
                    changed.kernels = config_of(model).kernels;     /* past the harness, which would choose them */
                    if (!CHECK(vaei_source_of(&changed, &source, NULL) == VAE_OK)) continue;
                    source.unfused = 1;
                    CHECK(vaei_make_allocated(&source, &c.allocator, &other, NULL) == VAE_OK);
                    for (step = 0; step < 6; step++) {
                        if (!step) (void)vaei_load_rows(other, &rows, 0, ROWS, NULL, VAEI_FOR_TRAINING, 0, NULL);
                        if (!step) (void)vaei_first_sigma(other, ROWS);        /* as vae_train_step does */
                        CHECK(vae_accumulate_gradients(other, &rows, NULL, &terms, &problem) == VAE_OK);
                        CHECK(vae_apply_gradients(other, NULL) == VAE_OK);
                    }
                }
                if (!CHECK(same_weights(model, other) && !memcmp(&terms, &expected, sizeof terms)))
                    printf("    network %d, objective %d, way %d\n", kind, objective, way);
                vae_destroy(other);
            }
            vae_destroy(model);
        }
}

/* Shares of a batch meet the noise of the batch; where the loss is a sum over rows they add up to it. */
TEST(test_shares) {
    int kind, objective;
    for (kind = 0; kind < NETWORKS; kind++)
        for (objective = 0; objective < FREE_BITS; objective++) {
            const vae_config c = with(kind, objective);
            vae_model       *model = make(&c);
            const size_t     count = vae_parameter_count(model);
            vae_real        *whole = (vae_real *)malloc(count * sizeof *whole), *parts;
            vae_terms        terms, part;
            double           loss = 0, largest = 0;
            size_t           cut, i;
            CHECK(vae_accumulate_gradients(model, &rows, NULL, &terms, NULL) == VAE_OK);
            parts = vae_gradients(model);
            memcpy(whole, parts, count * sizeof *whole);
            vae_clear_gradients(model);
            for (cut = 0; cut < ROWS; cut += 9) {
                const vae_data  piece = { .pixels = pixels + cut * SIZE, .count = cut + 9 < ROWS ? 9 : ROWS - cut };
                const vae_share share = { cut, ROWS };
                CHECK(vae_accumulate_gradients(model, &piece, &share, &part, NULL) == VAE_OK);
                loss += part.loss * (double)piece.count / ROWS;
            }
            CHECK_NEAR(loss, terms.loss, 1e-6 * terms.loss);
            for (i = 0; i < count; i++) largest = fmax(largest, fabs((double)whole[i]));
            for (i = 0; i < count; i++)
                if (!CHECK_NEAR(parts[i], whole[i], 1e-6 * largest)) break;
            free(whole);
            vae_destroy(model);
        }
}

/* ---- files ---- */

/* A checkpoint goes on with the same bits, and its file brings every setting back. */
TEST(test_resuming) {
    int kind, objective;
    for (kind = 0; kind < NETWORKS; kind++)
        for (objective = 0; objective < OBJECTIVES; objective++) {
            const vae_config c = with(kind, objective);
            vae_model       *model = make(&c), *loaded = NULL;
            vae_config       before, after;
            size_t           size = 0;
            void            *bytes;
            train(model, 4);
            CHECK(vae_save_memory(model, 1, NULL, 0, &size, NULL) == VAE_OK);
            bytes = malloc(size);
            CHECK(vae_save_memory(model, 1, bytes, size, &size, NULL) == VAE_OK);
            if (CHECK(vae_load_memory(bytes, size, NULL, &loaded, &problem) == VAE_OK)) {
                vae_terms expected = train(model, 4), terms = train(loaded, 4);
                before = config_of(model);
                after = config_of(loaded);
                CHECK(same_weights(model, loaded) && !memcmp(&terms, &expected, sizeof terms));
                CHECK(before.objective == after.objective && before.samples == after.samples &&
                      before.free_bits == after.free_bits && before.capacity == after.capacity &&
                      before.capacity_schedule.kind == after.capacity_schedule.kind &&
                      before.capacity_schedule.steps == after.capacity_schedule.steps);
            } else printf("    %s\n", problem.message);
            vae_destroy(loaded);
            vae_destroy(model);
            free(bytes);
        }
}

static int has(const char *bytes, size_t size, const char *word) {
    const size_t length = strlen(word);
    size_t       i;
    for (i = 0; i + length <= size; i++) if (!memcmp(bytes + i, word, length)) return 1;
    return 0;
}

/* Settings at their defaults are not in the file; one importance sample is none. Loading may change the objective. */
TEST(test_files) {
    vae_config c = network(DENSE), change;
    vae_model *model = make(&c), *loaded = NULL;
    static char bytes[1 << 16];
    size_t     size;
    memset(&change, 0, sizeof change);
    CHECK(vae_save_memory(model, 0, bytes, sizeof bytes, &size, NULL) == VAE_OK);
    CHECK(!has(bytes, size, "objective") && !has(bytes, size, "samples\\") && !has(bytes, size, "free_bits") &&
          !has(bytes, size, "capacity"));
    change.objective = VAE_OBJECTIVE_IWAE;
    if (CHECK(vae_load_memory(bytes, size, &change, &loaded, &problem) == VAE_OK))
        CHECK(config_of(loaded).objective == VAE_OBJECTIVE_IWAE && config_of(loaded).samples == 5);
    vae_destroy(loaded);
    change.samples = 1;
    if (CHECK(vae_load_memory(bytes, size, &change, &loaded, &problem) == VAE_OK)) {
        CHECK(vae_save_memory(loaded, 0, bytes, sizeof bytes, &size, NULL) == VAE_OK);
        vae_destroy(loaded);
        if (CHECK(vae_load_memory(bytes, size, NULL, &loaded, &problem) == VAE_OK))
            CHECK(config_of(loaded).objective == VAE_OBJECTIVE_IWAE && config_of(loaded).samples == 1);
    }
    vae_destroy(loaded);
    vae_destroy(model);
    c = with(DENSE, FREE_BITS);
    model = make(&c);
    CHECK(vae_save_memory(model, 0, bytes, sizeof bytes, &size, NULL) == VAE_OK);
    memset(&change, 0, sizeof change);
    change.free_bits = VAE_ZERO;
    if (CHECK(vae_load_memory(bytes, size, &change, &loaded, &problem) == VAE_OK))
        CHECK(config_of(loaded).free_bits == 0);
    vae_destroy(loaded);
    vae_destroy(model);
}

/* ---- the plain autoencoder ---- */

TEST(test_autoencoder) {
    vae_config      c = with(CONVOLUTIONS, AUTOENCODER);
    vae_model      *model = make(&c), *half = NULL;
    vae_real        mean[ROWS * LATENT], decoded[ROWS * SIZE], again[ROWS * SIZE], before[LATENT], after[LATENT];
    vae_latents     latents = { .z = mean, .count = ROWS };
    double          scores[ROWS], sum = 0;
    vae_terms       terms, each[ROWS], first;
    vae_score_config kind;
    vae_dimension   dimensions[LATENT];
    size_t          i;
    CHECK(vae_get_tensor(model, "logvar.bias", before, LATENT, NULL) == VAE_OK);
    first = train(model, 1);
    CHECK(first.kl == 0 && first.loss == first.reconstruction);
    CHECK(train(model, 60).loss < first.loss);
    CHECK(vae_get_tensor(model, "logvar.bias", after, LATENT, NULL) == VAE_OK);
    CHECK(!memcmp(before, after, sizeof before));
    /* z is the mean, always */
    CHECK(vae_encode(model, &rows, mean, NULL, NULL) == VAE_OK);
    CHECK(vae_decode(model, &latents, decoded, NULL) == VAE_OK && vae_reconstruct(model, &rows, again, NULL) == VAE_OK);
    CHECK(!memcmp(decoded, again, sizeof decoded));
    CHECK(vae_score(model, &rows, NULL, scores, NULL) == VAE_OK &&
          vae_elbo(model, &rows, &terms, each, NULL) == VAE_OK);
    for (i = 0; i < ROWS; i++) CHECK(each[i].reconstruction == scores[i] && each[i].kl == 0);
    for (i = 0; i < ROWS; i++) sum += scores[i] / ROWS;
    CHECK_NEAR(terms.elbo, -sum, 1e-9 * sum);
    memset(&kind, 0, sizeof kind);
    kind.kind = VAE_SCORE_RECONSTRUCTION;
    CHECK(vae_score(model, &rows, &kind, scores, NULL) == VAE_OK && each[ROWS - 1].reconstruction == scores[ROWS - 1]);
    /* what it does not have */
    CHECK(vae_encode(model, &rows, mean, mean, &problem) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(problem.message, "vae_encode: a plain autoencoder has no logvar: give NULL");
    CHECK(vae_sample(model, 1, decoded, &problem) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(problem.message, "vae_sample: the model is a plain autoencoder");
    CHECK(vae_sample_latent(model, 1, mean, &problem) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(problem.message, "vae_sample_latent: the model is a plain autoencoder");
    CHECK(vae_log_likelihood(model, &rows, 2, &sum, NULL, &problem) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(problem.message, "vae_log_likelihood: the model is a plain autoencoder");
    kind.kind = VAE_SCORE_LOG_LIKELIHOOD;
    CHECK(vae_score(model, &rows, &kind, scores, &problem) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(problem.message, "vae_score: the model is a plain autoencoder");
    CHECK(vae_latent_statistics(model, &rows, dimensions, NULL, NULL) == VAE_OK && dimensions[0].kl == 0 &&
          dimensions[0].variance > 0);
    CHECK(vae_set_beta(model, 2, &problem) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(problem.message, "has no KL");
    CHECK(vae_create_view(model, NULL, &half, NULL) == VAE_OK &&
          vae_sample(half, 1, decoded, NULL) == VAE_ERROR_ARGUMENT);
    vae_destroy(half);
    vae_destroy(model);
}

/* ---- what people read ---- */

TEST(test_texts) {
    static const char *const told[OBJECTIVES] = {
        "objective: bernoulli, beta 1\n", "beta 1, 3 samples a row\n", "beta 1, 6 weighed samples a row\n",
        "objective: bernoulli, autoencoder\n", "free bits 0.125\n", "beta 10, capacity 0.3\n"
    };
    static const char *const line[OBJECTIVES] = { "12.000 (reconstruction 9.000 + kl 3.000)",
                                                  "12.000 (reconstruction 9.000 + kl 3.000)",
        "12.000 (reconstruction 9.000, kl 3.000)", "12.000 (reconstruction 9.000 + kl 3.000)",
        "12.000 (reconstruction 9.000, kl 3.000)", "12.000 (reconstruction 9.000, kl 3.000)" };
    int i;
    for (i = 0; i < OBJECTIVES; i++) {
        const vae_config c = with(DENSE, i);
        const vae_terms  terms = { .reconstruction = 9, .kl = 3, .elbo = -12, .loss = 12 };
        vae_model       *model = make(&c);
        char             text[4096];
        vae_progress     progress;
        vaei_text        put;
        train(model, 4);
        CHECK(vae_summary(model, text, sizeof text) < sizeof text);
        CHECK_CONTAINS(text, told[i]);
        memset(&progress, 0, sizeof progress);
        progress.model = model;
        progress.train = terms;
        put.bytes = text;
        put.size = sizeof text - 1;
        put.length = 0;
        vaei_put_epoch(&put, &progress, 0);
        text[put.length] = 0;
        CHECK_CONTAINS(text, line[i]);
        vae_destroy(model);
    }
}

int main(void) {
    draw_pixels();
    RUN(test_limits);
    RUN(test_one_importance_sample_is_the_elbo_on_average);
    RUN(test_free_bits_and_capacity_free_the_kl);
    RUN(test_capacity_grows);
    RUN(test_bound);
    RUN(test_extreme_weights);
    RUN(test_same_bits);
    RUN(test_shares);
    RUN(test_resuming);
    RUN(test_files);
    RUN(test_autoencoder);
    RUN(test_texts);
    return test_finish();
}
