/* Options against each other. Configs are drawn with every option at one of its values: each is refused with a
   sentence, or trains, saves and goes on from its checkpoint with the same bits as the model that never stopped, with
   three tasks at a time as with one; so does a vae_fit that was stopped after any batch. No option is taken for
   granted: each value must occur in models that were made. Then training in processes that are killed at any moment. */
#if defined(__unix__) || defined(__APPLE__)
#define _GNU_SOURCE                     /* before any header */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#undef __STRICT_ANSI__
#define HAS_PROCESSES 1
/* The calls of a save pass through these: a process is killed before the one that it is told. */
static long calls_left = -1;            /* -1: it is not killed */
static void live(void) {
    if (calls_left > 0 && !--calls_left) raise(SIGKILL);
}
#define open(...) (live(), open(__VA_ARGS__))
#define write(file, from, size) (live(), write(file, from, size))
#define fsync(file) (live(), 0)         /* a killed process loses nothing that was written */
#define close(file) (live(), close(file))
#define rename(from, to) (live(), rename(from, to))
#define unlink(path) (live(), unlink(path))
#endif
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "folder.h"
#include "test.h"
#include "model.h"

enum { ROWS = 12, SIZE = 36, DRAWN = 1500, OPTIONS_MAX = 32, VALUES_MAX = 8 };

static vae_real pixels[ROWS * SIZE], holed[ROWS * SIZE], targets[ROWS * SIZE];
static int      labels[ROWS], known[ROWS];      /* of every row; where one in three has none */

/* ---- the options: each sets one of its values ---- */

typedef struct choice {
    const char *name;
    int         values;
    void      (*set)(vae_config *c, int value);
} choice;

static void set_network(vae_config *c, int value) {
    const vae_activation activation = value % 2 ? VAE_SILU : VAE_RELU;
    if (value < 2) {
        c->encoder[0] = VAE_DENSE(9, activation);
        return;
    }
    c->encoder[0] = VAE_CONV(3, 3, 2, activation);
    if (value > 2) c->encoder[1] = VAE_DENSE(7, VAE_TANH);
}

static void set_decoder(vae_config *c, int value) {
    if (value == 0) return;
    c->decoder[0] = VAE_DENSE(5, VAE_TANH);
    c->decoder[1] = VAE_DENSE(value == 1 ? SIZE : 2 * SIZE, VAE_LINEAR);
}

static void set_likelihood(vae_config *c, int value) { c->likelihood = (vae_likelihood)value; }
static void set_sigma(vae_config *c, int value) {
    if (value == 1) c->sigma = (vae_real)0.5;
    c->sigma_per_pixel = value == 2;
}
static void set_standardize(vae_config *c, int value) { c->standardize = value; }
static void set_shared(vae_config *c, int value) { c->shared_heads = value; }
static void set_tied(vae_config *c, int value) { c->tied = value; }
static void set_classes(vae_config *c, int value) { c->classes = value ? 3 : 0; }
static void set_objective(vae_config *c, int value) { c->objective = (vae_objective)value; }
static void set_samples(vae_config *c, int value) { c->samples = (size_t)value; }
static void set_free_bits(vae_config *c, int value) { c->free_bits = (vae_real)(0.25 * value); }
static void set_capacity(vae_config *c, int value) {
    if (value) c->capacity = 2;
    if (value > 1) {
        c->capacity_schedule.kind = VAE_WARMUP;
        c->capacity_schedule.steps = 5;
    }
}
static void set_beta(vae_config *c, int value) { c->beta = value == 1 ? VAE_ZERO : value == 2 ? (vae_real)0.5 : 0; }
static void set_initialization(vae_config *c, int value) { c->initialization = (vae_initialization)value; }
static void set_optimizer(vae_config *c, int value) {
    c->optimizer.kind = (vae_optimizer_kind)value;
    if (c->optimizer.kind == VAE_SGD) c->optimizer.learning_rate = (vae_real)1e-5;  /* steps as large as gradients */
}
static void set_dropout(vae_config *c, int value) {
    if (value) c->encoder[value > 1 && c->encoder[1].kind ? 1 : 0].dropout = (vae_real)0.5;
}
static void set_batch_norm(vae_config *c, int value) {
    c->encoder[0].batch_norm = value & 1;
    if (c->encoder[1].kind) c->encoder[1].batch_norm = value >> 1;
    if (value && c->decoder[1].kind) c->decoder[0].batch_norm = 1;
}
static void set_classifier(vae_config *c, int value) {
    if (value) c->classifier[0] = VAE_DENSE(value > 1 ? 4 : 3, value > 1 ? VAE_SILU : VAE_LINEAR);
    if (value > 1) c->classifier[1] = VAE_DENSE(3, VAE_LINEAR);
    if (value > 2) c->classifier[0].dropout = (vae_real)0.5;
    if (value > 2) c->classifier_weight = 10;
}
static void set_freeze(vae_config *c, int value) { c->freeze = (vae_freeze)value; }
static void set_keep_best(vae_config *c, int value) { c->keep_best = value; }
static void set_corruption(vae_config *c, int value) {
    c->corruption.kind = (vae_corruption_kind)value;
    c->corruption.amount = value > 1 ? (vae_real)0.25 : 0;
}
static void set_binarize(vae_config *c, int value) { c->binarize = value; }
static void set_missing(vae_config *c, int value) { c->missing = value; }
static void set_targets(vae_config *c, int value) { c->targets = value; }
static void set_decay(vae_config *c, int value) { c->optimizer.weight_decay = (vae_real)(0.1 * value); }
static void set_clip(vae_config *c, int value) { c->optimizer.clip_norm = (vae_real)value; }
static void set_schedule(vae_schedule *s, int value) {
    s->kind = (vae_schedule_kind)value;
    s->steps = value > VAE_CONSTANT ? 4 : 0;
    s->warmup = value == VAE_COSINE || value == VAE_CYCLICAL ? 2 : 0;
    s->to = value > VAE_WARMUP && value < VAE_CYCLICAL ? (vae_real)0.5 : 0;
}
static void set_beta_schedule(vae_config *c, int value) { set_schedule(&c->beta_schedule, value); }
static void set_rate_schedule(vae_config *c, int value) { set_schedule(&c->optimizer.schedule, value); }

static const choice choices[] = {
    { "network", 4, set_network }, { "decoder", 3, set_decoder }, { "likelihood", 7, set_likelihood },
    { "sigma", 3, set_sigma }, { "standardize", 2, set_standardize }, { "shared_heads", 2, set_shared },
    { "tied", 2, set_tied }, { "classes", 2, set_classes }, { "objective", 4, set_objective },
    { "samples", 4, set_samples }, { "free_bits", 2, set_free_bits }, { "capacity", 3, set_capacity },
    { "beta", 3, set_beta }, { "initialization", 4, set_initialization }, { "optimizer", 6, set_optimizer },
    { "dropout", 3, set_dropout }, { "batch_norm", 4, set_batch_norm }, { "keep_best", 2, set_keep_best },
    { "freeze", 4, set_freeze },
    { "weight_decay", 2, set_decay }, { "clip_norm", 2, set_clip }, { "beta_schedule", 7, set_beta_schedule },
    { "learning rate's schedule", 7, set_rate_schedule }, { "classifier", 4, set_classifier },
    { "corruption", 5, set_corruption },
    { "binarize", 2, set_binarize }, { "missing", 2, set_missing }, { "targets", 2, set_targets }
};
enum { CHOICES = (int)(sizeof choices / sizeof choices[0]) };

static int made[OPTIONS_MAX][VALUES_MAX];

static uint32_t random_state = 1;
static int draw(int below) {
    random_state = random_state * 1664525u + 1013904223u;
    return (int)((random_state >> 8) % (uint32_t)below);
}

/* ---- one config ---- */

static vae_error problem;
static int       drawn[OPTIONS_MAX];

static void explain(const char *what) {
    int i;
    printf("    %s: %s\n   ", what, problem.message);
    for (i = 0; i < CHOICES; i++) if (drawn[i]) printf(" %s %d", choices[i].name, drawn[i]);
    printf("\n");
}

static vae_data rows_of(const vae_config *c, size_t first, size_t count) {
    vae_data data;
    memset(&data, 0, sizeof data);
    data.pixels = (c->missing ? holed : pixels) + first * SIZE;
    if (c->targets) data.targets = targets + first * SIZE;
    data.count = count;
    if (c->classes) data.labels = labels + first;
    if (c->classifier[0].kind != VAE_LAYER_END) data.labels = known + first;
    return data;
}

static int train(vae_model *model, const vae_config *c, int steps) {
    int i;
    for (i = 0; i < steps; i++) {
        const vae_data batch = rows_of(c, (size_t)i % 2 * 5, 7);
        if (vae_train_step(model, &batch, NULL, &problem) != VAE_OK) return 0;
    }
    return 1;
}

/* An on-off task runner: the second half of the tasks first, as threads might. */
static void run_backwards(void *user, vae_task task, void *context, size_t count) {
    (void)user;
    while (count--) task(context, count);
}

/* ---- vae_fit, stopped after any batch, goes on with the same bits ---- */

enum { FIT_EPOCHS = 3, FIT_BATCH = 5, BATCHES = 3 * FIT_EPOCHS };       /* of 12 rows */

typedef struct saver {
    unsigned char *bytes;               /* of the latest checkpoint */
    size_t         size;
    int            stop_at, seen;       /* after this batch; batches so far */
} saver;

static int save_and_stop(void *user, const vae_progress *progress) {
    saver *s = (saver *)user;
    if (progress->event != VAE_EVENT_BATCH || ++s->seen < s->stop_at) return 0;
    if (s->seen > s->stop_at) return 1;
    CHECK(vae_save_memory(progress->model, 1, NULL, 0, &s->size, NULL) != VAE_OK || s->size > 0);
    s->bytes = (unsigned char *)malloc(s->size);
    CHECK(vae_save_memory(progress->model, 1, s->bytes, s->size, &s->size, &problem) == VAE_OK);
    return s->stop_at < BATCHES;
}

/* keep_order and the rules that go by the validation loss by turns. */
static vae_fit_config fit_of(const vae_config *config, const vae_data *validation, int turn) {
    vae_fit_config fit;
    memset(&fit, 0, sizeof fit);
    fit.until_epoch = FIT_EPOCHS;
    fit.batch = FIT_BATCH;
    fit.keep_order = turn & 1;
    fit.output_bias_from_data = (turn >> 1 & 1) && config->freeze != VAE_FREEZE_DECODER;
    if (config->keep_best || turn % 5 < 2) fit.validation = validation;
    if (turn % 5 < 2) fit.plateau_epochs = 1;
    return fit;
}

static void check_fit(const vae_config *config, int turn) {
    const vae_data data = rows_of(config, 0, ROWS), validation = rows_of(config, 3, 6);
    vae_fit_config fit = fit_of(config, &validation, turn);
    vae_config     changes;
    vae_model     *whole = NULL, *first = NULL, *second = NULL;
    vae_status     status;
    saver          s;
    size_t         sizes[2] = { 0, 0 };
    unsigned char *bytes[2];
    int            i;
    memset(&s, 0, sizeof s);
    memset(&changes, 0, sizeof changes);
    if (turn & 4) {
        changes.threads = 3;
        changes.parallel.run = run_backwards;
    }
    s.stop_at = 1 + draw(BATCHES);
    if (!CHECK(vae_create(config, &whole, &problem) == VAE_OK && vae_create(config, &first, &problem) == VAE_OK))
        return;
    if (!CHECK((status = vae_fit(whole, &data, &fit, &problem)) == VAE_OK)) explain("vae_fit");
    fit.on_progress = save_and_stop;
    fit.user = &s;
    CHECK((status = vae_fit(first, &data, &fit, &problem)) == VAE_OK || status == VAE_STOPPED);
    vae_destroy(first);
    fit.on_progress = NULL;
    if (!CHECK(s.bytes && vae_load_memory(s.bytes, s.size, &changes, &second, &problem) == VAE_OK)) explain("loading");
    else if (!CHECK(vae_fit(second, &data, &fit, &problem) == VAE_OK)) explain("going on");
    else {
        CHECK(vae_save_memory(whole, 1, NULL, 0, &sizes[0], NULL) != VAE_OK || sizes[0]);
        CHECK(vae_save_memory(second, 1, NULL, 0, &sizes[1], NULL) != VAE_OK || sizes[1]);
        for (i = 0; i < 2; i++) bytes[i] = (unsigned char *)malloc(sizes[i]);
        CHECK(vae_save_memory(whole, 1, bytes[0], sizes[0], &sizes[0], &problem) == VAE_OK);
        CHECK(vae_save_memory(second, 1, bytes[1], sizes[1], &sizes[1], &problem) == VAE_OK);
        if (!CHECK(sizes[0] == sizes[1] && !memcmp(bytes[0], bytes[1], sizes[0]))) {
            printf("    stopped after batch %d of %d\n", s.stop_at, BATCHES);
            explain("vae_fit gave other bits");
        }
        for (i = 0; i < 2; i++) free(bytes[i]);
    }
    free(s.bytes);
    vae_destroy(second);
    vae_destroy(whole);
}

static void check_model(vae_model *model, vae_config *config) {
    vae_model     *other = NULL, *threaded = NULL;
    const vae_data data = rows_of(config, 0, ROWS);
    vae_terms      terms;
    unsigned char *bytes;
    size_t         size = 0;
    if (config->standardize && !CHECK(vae_standardize(model, &data, &problem) == VAE_OK)) explain("standardize");
    if (!CHECK(train(model, config, 3))) explain("training");
    CHECK(vae_save_memory(model, 1, NULL, 0, &size, &problem) != VAE_OK || size > 0);
    bytes = (unsigned char *)malloc(size);
    if (!CHECK(vae_save_memory(model, 1, bytes, size, &size, &problem) == VAE_OK)) explain("saving");
    if (!CHECK(vae_load_memory(bytes, size, NULL, &other, &problem) == VAE_OK)) explain("loading");
    if (!CHECK(train(model, config, 2) && other && train(other, config, 2))) explain("going on");
    if (other && !CHECK(same_weights(model, other))) explain("other bits after loading");
    if (!CHECK(vae_elbo(model, &data, &terms, NULL, &problem) == VAE_OK)) explain("vae_elbo");
    config->threads = 3;
    config->parallel.run = run_backwards;
    if (CHECK(vae_create(config, &threaded, &problem) == VAE_OK)) {
        if (config->standardize) CHECK(vae_standardize(threaded, &data, &problem) == VAE_OK);
        if (!CHECK(train(threaded, config, 3) && train(threaded, config, 2))) explain("three threads");
        if (!CHECK(same_weights(model, threaded))) explain("other bits with three threads");
    } else {
        explain("three threads");
    }
    free(bytes);
    vae_destroy(other);
    vae_destroy(threaded);
}

/* Most options are left at 0 in most configs, so that the others are met. */
static void draw_config(vae_config *c) {
    int i;
    memset(c, 0, sizeof *c);
    c->input.height = c->input.width = 6;
    c->input.channels = 1;
    c->latent = 3;
    c->batch = 8;
    c->seed = 5;
    for (i = 0; i < CHOICES; i++) {
        drawn[i] = i == 0 || draw(3) == 0 ? draw(choices[i].values) : 0;
        choices[i].set(c, drawn[i]);
    }
}

TEST(test_options_together) {
    vae_config config;
    int        number, i, models = 0, refused = 0;
    for (number = 0; number < test_cases(DRAWN); number++) {
        vae_model *model = NULL;
        vae_status status;
        draw_config(&config);
        memset(&problem, 0, sizeof problem);
        status = vae_create(&config, &model, &problem);
        if (status != VAE_OK) {
            if (!CHECK(status == VAE_ERROR_CONFIG && strlen(problem.message) > 20 && !model)) explain("refused");
            refused++;
            continue;
        }
        for (i = 0; i < CHOICES; i++) made[i][drawn[i]]++;
        models++;
        check_fit(&config, number);
        check_model(model, &config);
        vae_destroy(model);
    }
    printf("  %d models made, %d configs refused\n", models, refused);
    CHECK(models > test_cases(DRAWN) / 4);
}

TEST(test_every_value_was_met) {
    int i, value;
    if (test_cases(DRAWN) < DRAWN) SKIP("too few configs were drawn for that");
    for (i = 0; i < CHOICES; i++)
        for (value = 0; value < choices[i].values; value++)
            if (!CHECK(made[i][value] > 0)) printf("    %s %d: in no model\n", choices[i].name, value);
}

/* ---- processes that are killed ---- */

#ifdef HAS_PROCESSES
#define CHECKPOINT "checkpoint"
#define WHOLE "whole"
enum { LARGEST_FILE = 1 << 16 };

static int save_each_batch(void *user, const vae_progress *progress) {
    if (progress->event != VAE_EVENT_STOPPED &&
        vae_save_checkpoint(progress->model, (const char *)user, &problem) != VAE_OK)
        _exit(5);
    return 0;
}

/* Trains to the end, from the checkpoint at `path` if there is one, with a checkpoint after every batch and epoch. */
static vae_status train_with_checkpoints(const vae_config *config, const char *path, int tasks) {
    const vae_data data = rows_of(config, 0, ROWS), validation = rows_of(config, 3, 6);
    vae_fit_config fit = fit_of(config, &validation, 1);
    vae_config     with;
    vae_model     *model = NULL;
    vae_status     status;
    const int      begins = access(path, F_OK);
    memset(&with, 0, sizeof with);          /* the file knows the rest, and the learning rate as it is by now */
    if (begins) with = *config;
    if (tasks > 1) {
        with.threads = tasks;
        with.parallel.run = run_backwards;
    }
    fit.on_progress = save_each_batch;
    fit.user = (void *)(uintptr_t)path;
    status = begins ? vae_create(&with, &model, &problem) : vae_load(path, &with, &model, &problem);
    if (status == VAE_OK) status = vae_fit(model, &data, &fit, &problem);
    if (status == VAE_OK) status = vae_save_checkpoint(model, path, &problem);
    vae_destroy(model);
    return status;
}

static size_t read_whole(const char *path, unsigned char *bytes) {
    FILE  *file = fopen(path, "rb");
    size_t size;
    if (!file) return 0;
    size = fread(bytes, 1, LARGEST_FILE, file);
    fclose(file);
    return size;
}

/* A process that is killed before its call number `killed_at`; 0: never. Returns whether it came to its end. */
static int train_in_a_process(const vae_config *config, long killed_at, int tasks) {
    int         status = 0;
    const pid_t child = fork();
    if (!child) {
        calls_left = killed_at ? killed_at : -1;
        _exit(train_with_checkpoints(config, CHECKPOINT, tasks) == VAE_OK ? 0 : 3);
    }
    if (!CHECK(child > 0 && waitpid(child, &status, 0) == child)) exit(1);
    CHECK(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return WIFEXITED(status);
}

/* Kills at random until the training ends; then the file is that of the training which was never killed. */
static void check_killed(const vae_config *config, long calls, long first_kill, long *kills) {
    static unsigned char whole[LARGEST_FILE], now[LARGEST_FILE];
    const size_t         size = read_whole(WHOLE, whole);
    int                  tries = 1;
    remove(CHECKPOINT);
    if (!train_in_a_process(config, first_kill, 1))
        for (++*kills; tries < 60 &&
             !train_in_a_process(config, tries < 8 ? 1 + draw((int)calls) : 0, tries % 2 ? 3 : 1); tries++)
            ++*kills;
    if (!CHECK(size > 0 && read_whole(CHECKPOINT, now) == size && !memcmp(now, whole, size))) explain("killed");
    if (!CHECK(access("vae-unfinished-0.tmp", F_OK))) remove("vae-unfinished-0.tmp");
    remove(CHECKPOINT);
}

static void config_to_kill(vae_config *c, int network, int optimizer, int objective, int extra) {
    memset(c, 0, sizeof *c);
    memset(drawn, 0, sizeof drawn);
    c->input.height = c->input.width = 6;
    c->input.channels = 1;
    c->latent = 3;
    c->batch = 8;
    set_network(c, network);
    set_optimizer(c, optimizer);
    set_objective(c, objective);
    c->encoder[0].batch_norm = extra & 1;
    if (extra & 1) c->encoder[0].dropout = (vae_real)0.25;
    c->keep_best = extra >> 1 & 1;
    c->optimizer.schedule.kind = VAE_EXPONENTIAL;
    c->optimizer.schedule.steps = 4;
    c->optimizer.schedule.to = (vae_real)0.5;
    drawn[0] = network;
    drawn[14] = optimizer;
    drawn[8] = objective;
}

TEST(test_killed_training) {
    vae_config config;
    long       kills = 0, calls, k;
    int        network, optimizer, objective, turn = 0;
    char       folder[64];
    sprintf(folder, "test_combinations.%ld", process_number());     /* others may run beside it */
    if (!CHECK(make_directory(folder) == 0 && go_to_directory(folder) == 0)) return;
    for (network = 0; network < 4; network += network ? 1 : 2)
        for (optimizer = VAE_ADAM; optimizer <= VAE_ADADELTA; optimizer++)
            for (objective = VAE_OBJECTIVE_ELBO; objective <= VAE_OBJECTIVE_AUTOENCODER; objective++, turn++) {
                config_to_kill(&config, network, optimizer, objective, turn);
                remove(WHOLE);
                calls_left = 1L << 30;
                if (!CHECK(train_with_checkpoints(&config, WHOLE, 1) == VAE_OK)) explain("training");
                calls = (1L << 30) - calls_left;
                calls_left = -1;
                check_killed(&config, calls / 2, 1 + draw((int)calls), &kills);
                /* before each */
                for (k = 1; !turn && k <= calls; k += test_one_in()) check_killed(&config, calls / 2, k, &kills);
            }
    remove(WHOLE);
    CHECK(go_to_directory("..") == 0 && remove_directory(folder) == 0);
    printf("  %ld processes killed\n", kills);
    CHECK(kills > 100);
}
#else
TEST(test_killed_training) { SKIP("written for POSIX"); }
#endif

int main(void) {
    int i;
    for (i = 0; i < ROWS * SIZE; i++) pixels[i] = (vae_real)(draw(256) / 255.0);
    for (i = 0; i < ROWS * SIZE; i++) {
        holed[i] = i % 5 ? pixels[i] : (vae_real)NAN;
        targets[i] = 1 - pixels[i];
    }
    for (i = 0; i < ROWS; i++) labels[i] = i % 3;
    for (i = 0; i < ROWS; i++) known[i] = i / 2 % 3 ? labels[i] : -1;
    RUN_LONG(test_options_together, "configs with options drawn at random, trained, saved, resumed");
    RUN(test_every_value_was_met);
    RUN_LONG(test_killed_training,
             "every optimiser and objective in processes that are killed while they train and save");
    return test_finish();
}
