/* Optimisers and schedules: golden steps from PyTorch, and what a resumed run must share with one that never
   stopped. */
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include <math.h>
#ifdef __wasi__                 /* has no jumps: the test that wants them is skipped */
#define jmp_buf int
#define setjmp(buffer) 1
#define longjmp(buffer, value) ((void)0)
#else
#include <setjmp.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include "test.h"
#include "model.h"
#include "golden/optimizers.h"

static vae_config network(void) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.input.height = 1;
    c.input.width = 6;
    c.input.channels = 1;
    c.latent = 2;
    c.encoder[0] = VAE_DENSE(4, VAE_TANH);
    c.batch = 8;
    c.threads = 1;
    return c;
}

static vae_real rows[64 * 6];
static vae_data toy(size_t count) {
    vae_data data;
    size_t   i;
    for (i = 0; i < sizeof rows / sizeof *rows; i++) rows[i] = (vae_real)((i * 31 + i / 6 * 7) % 17) / 16;
    memset(&data, 0, sizeof data);
    data.pixels = rows;
    data.count = count;
    return data;
}

/* ---- golden ---- */

static vae_schedule schedule_of(int which) {
    vae_schedule s;
    memset(&s, 0, sizeof s);
    if (which == 1) { s.kind = VAE_WARMUP; s.from = (vae_real)0.25; s.steps = 10; }
    if (which == 2) { s.kind = VAE_COSINE; s.to = (vae_real)0.1; s.warmup = 4; s.steps = 20; }
    if (which == 3) { s.kind = VAE_STEP; s.to = (vae_real)0.5; s.warmup = 3; s.steps = 5; }
    if (which == 4) { s.kind = VAE_EXPONENTIAL; s.to = (vae_real)0.25; s.steps = 10; }
    if (which == 5) { s.kind = VAE_CYCLICAL; s.from = (vae_real)0.2; s.warmup = 4; s.steps = 8; }
    return s;
}

static void check_golden(const char *name, vae_optimizer optimizer, vae_kernels kernels, const double *golden) {
    vae_config c = network();
    vae_model *model;
    vae_real  *gradients, *p;
    double     worst = 0;
    size_t     i, t;
    c.optimizer = optimizer;
    c.kernels = kernels;
    model = make(&c);
    CHECK(vae_parameter_count(model) == OPTIMIZER_COUNT);
    p = vae_parameters(model);
    gradients = vae_gradients(model);
    for (i = 0; i < OPTIMIZER_COUNT; i++) p[i] = (vae_real)((double)((i * 37) % 23) - 11) / 16;
    for (t = 0; t < OPTIMIZER_STEPS; t++) {
        for (i = 0; i < OPTIMIZER_COUNT; i++)
            gradients[i] = (vae_real)(((double)((i * 7 + t * 13) % 29) - 14) / 32 * (double)(1 + i % 3));
        CHECK(vae_apply_gradients(model, NULL) == VAE_OK);
    }
    for (i = 0; i < OPTIMIZER_COUNT; i++) {
        const double difference = fabs((double)p[i] - golden[i]) / (1 + fabs(golden[i]));
        if (difference > worst) worst = difference;
    }
    if (!(worst < 2e-6)) printf("%s, %s: %g\n", name, vae_kernels_name(kernels), worst);
    CHECK(worst < 2e-6);
    vae_destroy(model);
}

static void test_golden_steps(void) {
    int k;
    for (k = VAE_KERNELS_PORTABLE; k <= VAE_KERNELS_NEON; k++) {
        const vae_kernels kernels = (vae_kernels)k;
        vae_optimizer     o;
        if (!vae_kernels_available(kernels)) continue;
        memset(&o, 0, sizeof o);
        o.learning_rate = (vae_real)0.01;
        check_golden("adam", o, kernels, golden_adam);
        o.kind = VAE_ADAMW;
        o.weight_decay = (vae_real)0.05;
        o.schedule = schedule_of(1);
        check_golden("adamw", o, kernels, golden_adamw);
        o.kind = VAE_ADAM;
        o.weight_decay = (vae_real)0.1;
        o.beta1 = (vae_real)0.8;
        o.beta2 = (vae_real)0.95;
        o.epsilon = (vae_real)1e-3;
        o.schedule = schedule_of(2);
        check_golden("adam with decay", o, kernels, golden_adam_decay);
        memset(&o, 0, sizeof o);
        o.kind = VAE_SGD;
        o.learning_rate = (vae_real)0.02;
        check_golden("sgd", o, kernels, golden_sgd);
        o.weight_decay = (vae_real)0.1;
        o.momentum = (vae_real)0.5;
        o.schedule = schedule_of(2);
        check_golden("sgd with decay", o, kernels, golden_sgd_decay);
        o.momentum = VAE_ZERO;
        o.schedule = schedule_of(1);
        check_golden("sgd without momentum", o, kernels, golden_sgd_plain);
        memset(&o, 0, sizeof o);
        o.kind = VAE_RMSPROP;
        check_golden("rmsprop", o, kernels, golden_rmsprop);
        o.learning_rate = (vae_real)0.01;
        o.weight_decay = (vae_real)0.1;
        o.beta2 = (vae_real)0.9;
        o.epsilon = (vae_real)1e-3;
        o.schedule = schedule_of(3);
        check_golden("rmsprop with decay", o, kernels, golden_rmsprop_decay);
        memset(&o, 0, sizeof o);
        o.kind = VAE_ADADELTA;
        check_golden("adadelta", o, kernels, golden_adadelta);
        o.learning_rate = 2;
        o.weight_decay = (vae_real)0.1;
        o.beta2 = (vae_real)0.8;
        o.epsilon = (vae_real)1e-4;
        o.schedule = schedule_of(4);
        check_golden("adadelta with decay", o, kernels, golden_adadelta_decay);
        memset(&o, 0, sizeof o);
        o.kind = VAE_SGD;
        o.learning_rate = (vae_real)0.02;
        o.schedule = schedule_of(5);
        check_golden("sgd, cyclical", o, kernels, golden_sgd_cyclical);
        memset(&o, 0, sizeof o);
        o.learning_rate = (vae_real)0.01;
        o.weight_decay = (vae_real)0.1;
        o.clip_norm = (vae_real)4.5;
        check_golden("adam, clipped", o, kernels, golden_adam_clipped);
        o.kind = VAE_SGD;
        o.learning_rate = (vae_real)0.02;
        check_golden("sgd, clipped", o, kernels, golden_sgd_clipped);
    }
}

/* ---- the step's own way and the block's are one ---- */

static void test_step_is_accumulate_and_apply(void) {
    int kind, decay;
    for (kind = VAE_ADAM; kind <= VAE_ADADELTA; kind++)
        for (decay = 0; decay < 3; decay++) {
            vae_config c = network();
            vae_data   data = toy(8);
            vae_model *a, *b;
            int        t;
            c.optimizer.kind = (vae_optimizer_kind)kind;
            c.optimizer.weight_decay = decay == 1 ? (vae_real)0.125 : VAE_ZERO;
            c.optimizer.clip_norm = decay == 2 ? (vae_real)0.5 : 0;
            c.beta_schedule = schedule_of(1);
            c.optimizer.schedule = schedule_of(2);
            a = make(&c);
            b = make(&c);
            for (t = 0; t < 25; t++) {
                vae_terms one, other;
                CHECK(vae_train_step(a, &data, &one, NULL) == VAE_OK);
                CHECK(vae_accumulate_gradients(b, &data, NULL, &other, NULL) == VAE_OK);
                CHECK(vae_apply_gradients(b, NULL) == VAE_OK);
                CHECK(one.loss == other.loss);
            }
            CHECK(same_weights(a, b));
            vae_destroy(a);
            vae_destroy(b);
        }
}

/* ---- schedules ---- */

static void test_schedules(void) {
    vae_config c = network();
    vae_data   data = toy(8);
    vae_model *model;
    vae_state  state;
    vae_terms  terms;
    int        t;
    c.beta = 2;
    c.beta_schedule.kind = VAE_WARMUP;
    c.beta_schedule.steps = 4;
    c.optimizer.learning_rate = (vae_real)0.01;
    c.optimizer.schedule = schedule_of(2);
    model = make(&c);
    for (t = 0; t < 24; t++) {
        const double beta = t < 4 ? 2.0 * t / 4 : 2.0;
        const double factor = t < 4 ? t / 4.0 : t < 20 ? 0.1 + 0.45 * (1 + cos(3.14159265358979323846 * (t - 4) / 16))
                              : 0.1;
        vae_get_state(model, &state);
        CHECK(fabs((double)state.beta - beta) < 1e-6);
        CHECK(fabs((double)state.learning_rate - 0.01 * factor) < 1e-8);
        CHECK(state.step == (uint64_t)t);
        CHECK(vae_train_step(model, &data, &terms, NULL) == VAE_OK);
        CHECK(fabs(terms.loss - (terms.reconstruction + beta * terms.kl)) < 1e-5);
    }
    /* What is set is multiplied still. */
    CHECK(vae_set_beta(model, 3, NULL) == VAE_OK && vae_set_learning_rate(model, 1, NULL) == VAE_OK);
    vae_get_state(model, &state);
    CHECK(state.beta == 3 && fabs((double)state.learning_rate - 0.1) < 1e-8);
    vae_destroy(model);
}

/* Far along, where powers leave the range of a double, and at the edges of the steps. */
static void test_schedules_far_along(void) {
    vae_schedule s = schedule_of(3);
    uint64_t     t;
    for (t = 0; t < 1000; t++) {
        const double factor = t < 3 ? (double)t / 3 : pow(0.5, (double)((t - 3) / 5));
        CHECK(fabs(vaei_schedules[s.kind].factor(&s, t) - factor) <= 1e-14 * factor);
    }
    CHECK(vaei_schedules[s.kind].factor(&s, UINT64_MAX / 2) == 0);
    s = schedule_of(4);
    s.warmup = 6;
    s.from = (vae_real)0.5;
    for (t = 0; t < 1000; t++) {
        const double factor = t < 6 ? 0.5 + (double)t / 12 : pow(0.25, (double)(t - 6) / 10);
        CHECK(fabs(vaei_schedules[s.kind].factor(&s, t) - factor) <= 1e-12 * factor);
    }
    CHECK(vaei_schedules[s.kind].factor(&s, UINT64_MAX / 2) == 0);
    s.to = 1;
    CHECK(vaei_schedules[s.kind].factor(&s, UINT64_MAX / 2) == 1);
    s = schedule_of(5);
    for (t = 0; t < 100; t++) {
        const double factor = t % 8 < 4 ? 0.2 + 0.8 * (double)(t % 8) / 4 : 1;
        CHECK(fabs(vaei_schedules[s.kind].factor(&s, t) - factor) < 1e-7);
    }
    s.warmup = s.steps;                             /* a saw */
    CHECK(fabs(vaei_schedules[s.kind].factor(&s, 15) - (0.2 + 0.8 * 7 / 8)) < 1e-7);
}

/* ---- clipping ---- */

/* A gradient that is short enough keeps its bits; one that is not, or whose square no float holds, gets the norm asked
   for; the sum does not depend on the threads. Gradients of a size that spreads over all pieces. */
static void test_clipping(void) {
    vae_config c = network();
    vae_model *plain, *wide, *clipped;
    vae_data   data = toy(8);
    vae_real  *g, *p;
    double     norm = 0;
    size_t     i, n, t;
    c.encoder[0] = VAE_DENSE(1000, VAE_TANH);
    c.optimizer.kind = VAE_SGD;
    c.optimizer.momentum = VAE_ZERO;
    c.optimizer.learning_rate = (vae_real)0.001;
    plain = make(&c);
    c.optimizer.clip_norm = (vae_real)1e6;
    wide = make(&c);
    c.optimizer.learning_rate = 1;
    for (t = 0; t < 3; t++) {
        CHECK(vae_train_step(plain, &data, NULL, NULL) == VAE_OK);
        CHECK(vae_train_step(wide, &data, NULL, NULL) == VAE_OK);
    }
    CHECK(same_weights(plain, wide));
    c.optimizer.clip_norm = 2;
    clipped = make(&c);
    n = vae_parameter_count(clipped);
    g = vae_gradients(clipped);
    p = vae_parameters(clipped);
    for (t = 0; t < 2; t++) {
        memset(p, 0, n * sizeof *p);
        for (i = 0; i < n; i++) g[i] = (vae_real)((double)(i * 7 % 11) - 5) * (t ? (vae_real)1e17 : 1);
        CHECK(vae_apply_gradients(clipped, NULL) == VAE_OK);
        for (norm = 0, i = 0; i < n; i++) norm += (double)p[i] * (double)p[i];
        CHECK(fabs(sqrt(norm) - 2) < 1e-5);
        CHECK(p[2] > 0 && fabs((double)(p[n - 1] / p[2]) - ((double)((n - 1) * 7 % 11) - 5) / -2) < 1e-5);
    }
    memset(p, 0, n * sizeof *p);
    g[n - 1] = (vae_real)1e-30;                     /* nothing to divide by */
    CHECK(vae_apply_gradients(clipped, NULL) == VAE_OK && p[n - 1] == (vae_real)-1e-30 && p[0] == 0);
    CHECK(vae_apply_gradients(clipped, NULL) == VAE_OK && p[n - 1] == (vae_real)-1e-30);
    vae_destroy(plain);
    vae_destroy(wide);
    vae_destroy(clipped);
}

static void test_cosine(void) {
    int i;
    for (i = 0; i <= 1000; i++)
        CHECK(fabs(vaei_cosine(i / 1000.0) - cos(3.14159265358979323846 * i / 1000.0)) < 1e-15);
}

/* ---- checkpoints: at every batch, in a model made anew ---- */

typedef struct saved { unsigned char *bytes; size_t size; } saved;
typedef struct keeper { saved at[64]; int count; } keeper;

static int keep(void *user, const vae_progress *p) {
    keeper *k = (keeper *)user;
    saved  *s = &k->at[k->count];
    if (p->event != VAE_EVENT_BATCH) return 0;
    CHECK(vae_save_memory(p->model, 1, NULL, 0, &s->size, NULL) == VAE_OK);
    s->bytes = (unsigned char *)malloc(s->size);
    CHECK(vae_save_memory(p->model, 1, s->bytes, s->size, &s->size, NULL) == VAE_OK);
    k->count++;
    return 0;
}

static void test_resume_from_every_batch(void) {
    int kind;
    for (kind = VAE_ADAM; kind <= VAE_ADADELTA; kind++) {
        vae_config     c = network();
        vae_data       data = toy(43);
        vae_fit_config fit;
        vae_model     *whole;
        keeper         k;
        int            i;
        memset(&fit, 0, sizeof fit);
        memset(&k, 0, sizeof k);
        c.optimizer.kind = (vae_optimizer_kind)kind;
        c.optimizer.schedule = schedule_of(kind);
        c.optimizer.clip_norm = kind % 2 ? (vae_real)0.5 : 0;
        c.beta_schedule = schedule_of(kind == VAE_ADAM ? 5 : 1);
        whole = make(&c);
        fit.until_epoch = 3;
        fit.on_progress = keep;
        fit.user = &k;
        CHECK(vae_fit(whole, &data, &fit, NULL) == VAE_OK);
        CHECK(k.count == 18);
        fit.on_progress = NULL;
        for (i = 0; i < k.count; i++) {
            vae_model *resumed = NULL;
            vae_error  error;
            vae_state  a, b;
            error.message[0] = 0;
            CHECK(vae_load_memory(k.at[i].bytes, k.at[i].size, NULL, &resumed, &error) == VAE_OK);
            if (!resumed) { printf("%s\n", error.message); continue; }
            CHECK(vae_fit(resumed, &data, &fit, &error) == VAE_OK);
            if (error.message[0]) printf("batch %d: %s\n", i, error.message);
            CHECK(same_weights(whole, resumed));
            vae_get_state(whole, &a);
            vae_get_state(resumed, &b);
            CHECK(a.step == b.step && a.epoch == b.epoch && a.row == b.row);
            vae_destroy(resumed);
            free(k.at[i].bytes);
        }
        vae_destroy(whole);
    }
}

static int stop_at_third(void *user, const vae_progress *p) {
    (void)user;
    return p->event == VAE_EVENT_BATCH && p->batch == 3;
}

/* An epoch goes on only as it was begun. */
static void test_resume_otherwise(void) {
    vae_config     c = network();
    vae_data       data = toy(43), fewer = toy(42);
    vae_fit_config fit;
    vae_model     *model = make(&c);
    vae_error      error;
    memset(&fit, 0, sizeof fit);
    fit.epochs = 1;
    fit.on_progress = stop_at_third;
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_STOPPED);
    fit.on_progress = NULL;
    CHECK(vae_fit(model, &fewer, &fit, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "epoch of 43, the data have 42");
    fit.batch = 4;
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "batches of 8 rows, shuffled");
    fit.batch = 0;
    fit.keep_order = 1;
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "keep_order");
    fit.keep_order = 0;
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
    vae_destroy(model);
}

/* Between two epochs nothing is left of how the last one went: of a single row, in order or shuffled, both leave
   the same checkpoint. */
static void test_epoch_leaves_no_order(void) {
    vae_config     c = network();
    vae_data       data = toy(1);
    vae_fit_config fit = { .epochs = 1 };
    unsigned char *bytes[2] = { NULL, NULL };
    size_t         size[2];
    int            in_order;
    for (in_order = 0; in_order < 2; in_order++) {
        vae_model *model = make(&c);
        fit.keep_order = in_order;
        CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
        CHECK(vae_save_memory(model, 1, NULL, 0, &size[in_order], NULL) == VAE_OK);
        bytes[in_order] = (unsigned char *)malloc(size[in_order]);
        CHECK(vae_save_memory(model, 1, bytes[in_order], size[in_order], &size[in_order], NULL) == VAE_OK);
        vae_destroy(model);
    }
    CHECK(size[0] == size[1] && !memcmp(bytes[0], bytes[1], size[0]));
    free(bytes[0]);
    free(bytes[1]);
}

static int count_batches(void *user, const vae_progress *p) {
    if (p->event == VAE_EVENT_BATCH) ++*(int *)user;
    return 0;
}

static void test_epochs_asked_for(void) {
    vae_config     c = network();
    vae_data       data = toy(16);
    vae_fit_config fit;
    vae_model     *model = make(&c);
    vae_error      error;
    int            batches = 0;
    memset(&fit, 0, sizeof fit);
    fit.on_progress = count_batches;
    fit.user = &batches;
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "fit.epochs and fit.until_epoch are 0");
    fit.epochs = fit.until_epoch = 1;
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "both set");
    fit.epochs = 0;
    fit.until_epoch = 2;
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK && batches == 4);
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK && batches == 4);    /* none are left */
    fit.until_epoch = 3;
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK && batches == 6);
    vae_destroy(model);
}

/* ---- what vae_fit does by the validation loss ---- */

/* Weights that swing, so that the validation loss rises and falls. */
static vae_config swinging(void) {
    vae_config c = network();
    c.optimizer.learning_rate = (vae_real)0.3;
    c.seed = 3;
    c.beta = (vae_real)0.5;
    c.beta_schedule = schedule_of(1);
    c.keep_best = 1;
    return c;
}

static vae_fit_config watched(const vae_data *validation, size_t until) {
    vae_fit_config fit;
    memset(&fit, 0, sizeof fit);
    fit.until_epoch = until;
    fit.validation = validation;
    fit.plateau_epochs = 3;
    fit.plateau_factor = (vae_real)0.5;
    return fit;
}

/* What a program without keep_best and plateau_epochs would do by itself. */
typedef struct watcher {
    vae_real weights[OPTIMIZER_COUNT], loss, rate;
    uint64_t epoch, plateau, lowered, waited, most;
} watcher;

static int watch(void *user, const vae_progress *p) {
    watcher     *w = (watcher *)user;
    const double loss = p->validation.reconstruction + 0.5 * p->validation.kl;
    if (p->event != VAE_EVENT_EPOCH) return 0;
    CHECK(p->has_validation);
    w->plateau++;
    w->waited++;
    if (!w->epoch || (vae_real)loss < w->loss) {
        w->loss = (vae_real)loss;
        w->epoch = p->epoch;
        w->plateau = w->waited = 0;
        memcpy(w->weights, vae_weights(p->model), sizeof w->weights);
    }
    if (w->waited > w->most) w->most = w->waited;
    if (w->plateau == 3) {
        w->lowered++;
        w->plateau = 0;
        w->rate *= (vae_real)0.5;
        CHECK(vae_set_learning_rate(p->model, w->rate, NULL) == VAE_OK);
    }
    return 0;
}

static void test_best_and_plateau(void) {
    vae_config     c = swinging();
    vae_data       data = toy(43), validation = toy(5);
    vae_fit_config fit;
    vae_model     *model, *other;
    vae_state      state;
    watcher        w;
    int            epoch;
    validation.pixels = rows + 50 * 6;
    fit = watched(&validation, 30);
    memset(&w, 0, sizeof w);
    w.rate = c.optimizer.learning_rate;
    model = make(&c);
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
    c.keep_best = 0;
    other = make(&c);
    fit.plateau_epochs = 0;
    fit.plateau_factor = 0;
    fit.on_progress = watch;
    fit.user = &w;
    CHECK(vae_fit(other, &data, &fit, NULL) == VAE_OK);
    vae_get_state(model, &state);
    CHECK(state.best_epoch == w.epoch && state.best_loss == w.loss && state.epoch == 30);
    CHECK(w.epoch > 1 && w.epoch < 30 && w.lowered > 1 && w.lowered < 9);
    CHECK(state.learning_rate == w.rate);
    CHECK(!memcmp(w.weights, vae_weights(model), sizeof w.weights) && !same_weights(model, other));
    vae_get_state(other, &state);
    CHECK(state.best_epoch == 0 && state.best_loss == 0);
    /* The next epoch follows the last one, not the best. */
    fit = watched(&validation, 31);
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
    fit.plateau_epochs = 0;
    fit.plateau_factor = 0;
    CHECK(vae_fit(other, &data, &fit, NULL) == VAE_OK);
    CHECK(!memcmp(model->best, vae_weights(other), sizeof w.weights));
    vae_destroy(model);
    vae_destroy(other);
    /* Patience ends it when the longest wait is over that the run above had. */
    for (epoch = 1; epoch <= 3; epoch++) {
        model = make(&c);
        memset(&w, 0, sizeof w);
        fit = watched(&validation, 200);
        fit.plateau_epochs = 0;
        fit.plateau_factor = 0;
        fit.patience = (size_t)epoch;
        fit.on_progress = watch;
        w.plateau = 1000;
        fit.user = &w;
        CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
        vae_get_state(model, &state);
        CHECK(state.epoch < 200 && state.epoch == state.best_epoch + (uint64_t)epoch && w.most == (uint64_t)epoch);
        CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);         /* none is left, as in a program begun anew */
        CHECK(model->epoch == state.epoch);
        fit.patience++;
        CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
        CHECK(model->epoch > state.epoch);
        vae_destroy(model);
    }
}

static int keep_and_end(void *user, const vae_progress *p) {
    keeper *k = (keeper *)user;
    if (p->event == VAE_EVENT_EPOCH) return 0;
    if (p->event == VAE_EVENT_BATCH) return keep(user, p), p->batch == p->batches && k->count % 2;
    return 0;
}

/* A run in one piece, in pieces that end with an epoch or with a callback's wish, and one from a file at every batch or
   after any piece: the same weights, in place and aside. */
static void test_best_resumes(void) {
    vae_config     c = swinging();
    vae_data       data = toy(43), validation = toy(5);
    vae_fit_config fit;
    vae_model     *whole, *pieces, *resumed;
    vae_state      a, b;
    keeper         k;
    int            i, epoch;
    validation.pixels = rows + 50 * 6;
    fit = watched(&validation, 9);
    fit.patience = 6;
    whole = make(&c);
    CHECK(vae_fit(whole, &data, &fit, NULL) == VAE_OK);
    vae_get_state(whole, &a);
    pieces = make(&c);
    memset(&k, 0, sizeof k);
    fit.on_progress = keep_and_end;
    fit.user = &k;
    for (epoch = 1; epoch <= 9; epoch++) {
        fit.until_epoch = (size_t)epoch;
        i = vae_fit(pieces, &data, &fit, NULL);
        CHECK((i == VAE_OK || i == VAE_STOPPED) && pieces->epoch == (uint64_t)epoch && pieces->shows_best);
        CHECK(vae_save_memory(pieces, 1, NULL, 0, &k.at[k.count].size, NULL) == VAE_OK);
        k.at[k.count].bytes = (unsigned char *)malloc(k.at[k.count].size);
        CHECK(vae_save_memory(pieces, 1, k.at[k.count].bytes, k.at[k.count].size, &k.at[k.count].size, NULL) == VAE_OK);
        k.count++;
    }
    CHECK(same_weights(whole, pieces) && !memcmp(whole->best, pieces->best, sizeof(vae_real) * OPTIMIZER_COUNT));
    CHECK(k.count == 63 && a.best_epoch > 1 && a.best_epoch < 9);
    fit.on_progress = NULL;
    for (i = 0; i < k.count; i++) {
        vae_error error;
        resumed = NULL;
        error.message[0] = 0;
        CHECK(vae_load_memory(k.at[i].bytes, k.at[i].size, NULL, &resumed, &error) == VAE_OK);
        if (!resumed) { printf("%s\n", error.message); continue; }
        CHECK(vae_fit(resumed, &data, &fit, &error) == VAE_OK);
        CHECK(same_weights(whole, resumed) && !memcmp(whole->best, resumed->best, sizeof(vae_real) * OPTIMIZER_COUNT));
        vae_get_state(resumed, &b);
        CHECK(!memcmp(&a, &b, sizeof a) && whole->waited == resumed->waited && whole->plateau == resumed->plateau);
        vae_destroy(resumed);
    }
    /* The file of the last piece, taken otherwise. */
    {
        const saved *s = &k.at[k.count - 1], *plain = &k.at[0];
        vae_config   changes;
        vae_error    error;
        vae_real     first = 1;
        size_t       at;
        memset(&changes, 0, sizeof changes);
        changes.inference_only = 1;
        CHECK(vae_load_memory(s->bytes, s->size, &changes, &resumed, NULL) == VAE_OK);
        CHECK(same_weights(whole, resumed) && !resumed->best);
        vae_destroy(resumed);
        changes.inference_only = 0;
        changes.part = VAE_ENCODER_ONLY;
        CHECK(vae_load_memory(s->bytes, s->size, &changes, &resumed, NULL) == VAE_OK);
        vae_destroy(resumed);
        /* Weights that come in end what is known; so does a step by hand. */
        CHECK(vae_load_weights_memory(pieces, plain->bytes, plain->size, NULL) == VAE_OK);
        vae_get_state(pieces, &b);
        CHECK(b.best_epoch == 0 && !pieces->shows_best && b.epoch == 9);
        fit.until_epoch = 10;
        CHECK(vae_fit(pieces, &data, &fit, NULL) == VAE_OK && pieces->best_epoch == 10 && pieces->shows_best);
        CHECK(vae_train_step(pieces, &validation, NULL, NULL) == VAE_OK && !pieces->best_epoch);
        CHECK(vae_fit(whole, &data, &fit, NULL) == VAE_OK && whole->shows_best);
        CHECK(vae_set_tensor(whole, "decoder.0.bias", &first, 1, NULL) != VAE_OK && whole->shows_best);
        CHECK(vae_set_tensor(whole, "log_sigma", &first, 1, NULL) != VAE_OK && whole->best_epoch);
        /* A file that lacks the weights it speaks of. */
        for (at = 8; memcmp(s->bytes + at, "best.mean.bias", 14); at++) {}
        s->bytes[at] = 'r';
        CHECK(vae_load_memory(s->bytes, s->size, NULL, &resumed, &error) == VAE_ERROR_FORMAT);
        CHECK_CONTAINS(error.message, "rest.mean.bias");
    }
    for (i = 0; i < k.count; i++) free(k.at[i].bytes);
    vae_destroy(pieces);
    /* Room asked for only when loading: what is known of the best epoch without its weights is forgotten. */
    c.keep_best = 0;
    pieces = make(&c);
    fit.until_epoch = 4;
    CHECK(vae_fit(pieces, &data, &fit, NULL) == VAE_OK && pieces->best_epoch && !pieces->shows_best);
    {
        size_t         size = 0;
        unsigned char *bytes;
        CHECK(vae_save_memory(pieces, 1, NULL, 0, &size, NULL) == VAE_OK);
        bytes = (unsigned char *)malloc(size);
        CHECK(vae_save_memory(pieces, 1, bytes, size, &size, NULL) == VAE_OK);
        memset(&c, 0, sizeof c);
        c.keep_best = 1;
        CHECK(vae_load_memory(bytes, size, &c, &resumed, NULL) == VAE_OK);
        CHECK(resumed->best && !resumed->best_epoch && same_weights(pieces, resumed));
        fit.until_epoch = 6;
        CHECK(vae_fit(resumed, &data, &fit, NULL) == VAE_OK && resumed->best_epoch > 4 && resumed->shows_best);
        vae_destroy(resumed);
        free(bytes);
    }
    vae_destroy(pieces);
    vae_destroy(whole);
}

/* A vae_fit that is refused leaves the best weights in place, whatever it refuses. */
static void test_best_stays_where_fit_is_refused(void) {
    vae_config     c = swinging();
    vae_data       data = toy(43), wrong, validation = toy(5);
    vae_fit_config fit;
    vae_model     *model = make(&c);
    vae_real       kept[OPTIMIZER_COUNT], none[6] = { 0, 0, 2, 0, 0, 0 };      /* 2 is no pixel */
    validation.pixels = rows + 50 * 6;
    fit = watched(&validation, 30);
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK && model->shows_best && model->best_epoch < 30);
    memcpy(kept, vae_weights(model), sizeof kept);
    wrong = toy(1);
    wrong.pixels = none;
    fit.until_epoch = 31;
    CHECK(vae_fit(model, &wrong, &fit, NULL) == VAE_ERROR_DATA);
    CHECK(!memcmp(kept, vae_weights(model), sizeof kept) && model->shows_best);
    fit.validation = &wrong;
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_ERROR_DATA);
    CHECK(!memcmp(kept, vae_weights(model), sizeof kept) && model->shows_best);
    vae_destroy(model);
}

/* Losses below zero, where a larger number is no better one. */
static void test_best_below_zero(void) {
    vae_config     c = swinging();
    vae_data       data = toy(43);
    vae_fit_config fit = watched(&data, 12);
    vae_model     *model, *loaded = NULL;
    unsigned char *bytes;
    size_t         size = 0, i;
    for (i = 0; i < 43 * 6; i++) rows[i] *= (vae_real)0.01;
    c.likelihood = VAE_GAUSSIAN;
    c.sigma = (vae_real)0.05;
    c.optimizer.learning_rate = (vae_real)0.02;
    c.beta = (vae_real)0.01;
    model = make(&c);
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
    CHECK(model->best_loss < 0 && model->best_epoch > 1);
    CHECK(vae_save_memory(model, 1, NULL, 0, &size, NULL) == VAE_OK);
    bytes = (unsigned char *)malloc(size);
    CHECK(vae_save_memory(model, 1, bytes, size, &size, NULL) == VAE_OK);
    CHECK(vae_load_memory(bytes, size, NULL, &loaded, NULL) == VAE_OK);
    CHECK(loaded->best_loss == model->best_loss && loaded->shows_best == 1);
    free(bytes);
    vae_destroy(loaded);
    vae_destroy(model);
}

/* Whatever bit of a file's header is wrong, and whatever its moments are: it is refused, or trains. */
static void test_best_damaged(void) {
    vae_config     c = swinging();
    vae_data       data = toy(16);
    vae_fit_config fit = watched(&data, 2);
    vae_model     *model, *loaded;
    unsigned char *bytes;
    size_t         size = 0, bit, end, refused = 0;
    vae_status     status;
    c.optimizer.kind = VAE_ADADELTA;
    c.optimizer.learning_rate = 0;
    model = make(&c);
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
    CHECK(vae_save_memory(model, 1, NULL, 0, &size, NULL) == VAE_OK);
    bytes = (unsigned char *)malloc(size);
    CHECK(vae_save_memory(model, 1, bytes, size, &size, NULL) == VAE_OK);
    fit.until_epoch = 3;
    end = 8 + (size_t)(bytes[0] + bytes[1] * 256);
    for (bit = 64; bit < end * 8; bit += 7) {
        loaded = NULL;
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1u << bit % 8);
        if (vae_load_memory(bytes, size, NULL, &loaded, NULL) == VAE_OK) {
            fit.batch = vae_weight_count(loaded) && loaded->plan.batch < 8 ? loaded->plan.batch : 8;
            status = vae_fit(loaded, &data, &fit, NULL);
            CHECK(status == VAE_OK || status == VAE_ERROR_ARGUMENT || status == VAE_ERROR_NUMERIC);
            vae_destroy(loaded);
        } else refused++;
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1u << bit % 8);
    }
    CHECK(refused > end / 2);
    free(bytes);
    vae_destroy(model);
}

static void test_watching_refused(void) {
    vae_config     c = network();
    vae_data       data = toy(16);
    vae_fit_config fit = watched(&data, 1);
    vae_model     *model = make(&c);
    vae_error      error;
    fit.validation = NULL;
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "fit.plateau_epochs goes by the validation loss");
    fit.patience = 1;
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "fit.patience goes by");
    fit.validation = &data;
    fit.plateau_factor = 1;
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "fit.plateau_factor is 1");
    fit.plateau_epochs = 0;
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "without fit.plateau_epochs");
    vae_destroy(model);
    c.keep_best = 7;
    model = make(&c);
    vae_get_config(model, &c);
    CHECK(c.keep_best == 1);
    memset(&fit, 0, sizeof fit);
    fit.epochs = 1;
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "config.keep_best goes by");
    vae_destroy(model);
}

/* ---- freezing ---- */

static void run_in_turn(void *user, vae_task task, void *context, size_t count) {
    (void)user;
    while (count--) task(context, count);
}

/* Dense; convolutional; both with labels or per-pixel sigmas; several samples. */
static vae_config to_freeze(int which) {
    vae_config c = network();
    if (which % 2) {
        c.input.width = 2;
        c.input.channels = 3;
        c.encoder[0] = VAE_CONV_1D(5, 3, 1, VAE_SILU);
        c.encoder[1] = VAE_DENSE(7, VAE_TANH);
    } else c.encoder[1] = VAE_DENSE(130, VAE_SILU);
    if (which >= 2) {
        c.likelihood = VAE_GAUSSIAN;
        c.sigma_per_pixel = which >= 4;
    }
    if (which >= 4) c.samples = 3;
    if (which == 4) c.classes = 3;
    return c;
}
enum { NETWORKS_TO_FREEZE = 6 };

static int is_decoders(const vae_tensor *tensor) {
    return !strncmp(tensor->name, "decoder.", 8) || !strcmp(tensor->name, "log_sigma");
}

/* The block's numbers of one half: whether they are those of another block, or zeros where that is NULL. */
static int half_is(const vae_model *model, int decoder, const vae_real *a, const vae_real *b) {
    vae_tensor tensor;
    size_t     i, k;
    int        same = 1;
    for (i = 0; i < vae_tensor_count(model); i++) {
        CHECK(vae_tensor_at(model, i, &tensor, NULL) == VAE_OK);
        if (!tensor.trained || is_decoders(&tensor) != decoder) continue;
        for (k = 0; k < tensor.count; k++) {
            const size_t at = vae_tensor_place(model, i, k);
            same = same && a[at] == (b ? b[at] : 0);
        }
    }
    return same;
}

static void test_freeze(void) {
    static const int labels[8] = { 0, 1, 2, 0, 1, 2, 2, 1 };
    vae_real         first[4000];
    int              which, half, way, t;
    for (which = 0; which < NETWORKS_TO_FREEZE; which++)
        for (half = VAE_FREEZE_ENCODER; half <= VAE_FREEZE_DECODER; half++)
            for (way = 0; way < 4; way++) {         /* plain; with decay; clipped; outputs too large to be sure of */
                const int  frozen = half == VAE_FREEZE_DECODER;
                vae_config c = to_freeze(which);
                vae_data   data = toy(8);
                vae_model *free_one, *model, *by_hand, *threaded;
                vae_terms  a, b;
                size_t     n;
                if (c.classes) data.labels = labels;
                c.optimizer.weight_decay = way == 1 ? (vae_real)0.1 : VAE_ZERO;
                c.optimizer.clip_norm = way == 2 ? (vae_real)0.25 : 0;
                if (way == 3 && which < 2) continue;
                if (way == 3) for (t = 0; t < 48; t++) rows[t] *= 4000000;
                free_one = make(&c);
                c.freeze = (vae_freeze)half;
                model = make(&c);
                by_hand = make(&c);
                c.threads = 3;
                c.parallel.run = run_in_turn;
                threaded = make(&c);
                n = vae_parameter_count(model);
                CHECK(n <= sizeof first / sizeof *first);
                memcpy(first, vae_weights(model), n * sizeof *first);
                for (t = 0; t < 3; t++) {
                    vae_real *g = vae_gradients(by_hand);
                    CHECK(vae_train_step(model, &data, &a, NULL) == VAE_OK);
                    CHECK(vae_train_step(threaded, &data, NULL, NULL) == VAE_OK);
                    if (t == 0) {
                        CHECK(vae_train_step(free_one, &data, &b, NULL) == VAE_OK);
                        CHECK(half_is(model, frozen, model->parameters, first));
                        CHECK(!half_is(model, !frozen, model->parameters, first));
                        CHECK(!half_is(model, frozen, free_one->parameters, first));
                        if (way != 2 && !(frozen && which >= 2)) {      /* another norm; another sigma */
                            CHECK(half_is(model, !frozen, model->parameters, free_one->parameters));
                            CHECK(a.loss == b.loss);
                        }
                    }
                    CHECK(vae_accumulate_gradients(by_hand, &data, NULL, NULL, NULL) == VAE_OK);
                    if (t || which < 2 || frozen) CHECK(half_is(by_hand, frozen, g, NULL));
                    CHECK(!half_is(by_hand, !frozen, g, NULL));
                    if (frozen) g[n - 1] = 1;       /* does not count */
                    else g[0] = 1;
                    CHECK(vae_apply_gradients(by_hand, NULL) == VAE_OK);
                }
                CHECK(half_is(model, frozen, model->parameters, first));
                CHECK(!memcmp(vae_weights(model), vae_weights(threaded), n * sizeof *first));
                /* A fresh model's sigma moves before vae_train_step's first gradient, not before one by hand. */
                if (frozen || which < 2) CHECK(same_weights(model, by_hand));
                vae_destroy(free_one);
                vae_destroy(model);
                vae_destroy(by_hand);
                vae_destroy(threaded);
            }
}

/* Through a file, and freed when loading; what would have no effect. */
static void test_freeze_settings(void) {
    vae_config     c = network(), changes;
    vae_data       data = toy(16);
    vae_fit_config fit;
    vae_model     *model, *loaded = NULL;
    unsigned char *bytes;
    size_t         size = 0;
    vae_error      error;
    c.freeze = VAE_FREEZE_DECODER;
    model = make(&c);
    memset(&fit, 0, sizeof fit);
    fit.epochs = 1;
    fit.output_bias_from_data = 1;
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "would change the decoder");
    fit.output_bias_from_data = 0;
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
    CHECK(vae_save_memory(model, 1, NULL, 0, &size, NULL) == VAE_OK);
    bytes = (unsigned char *)malloc(size);
    CHECK(vae_save_memory(model, 1, bytes, size, &size, NULL) == VAE_OK);
    CHECK(vae_load_memory(bytes, size, NULL, &loaded, NULL) == VAE_OK);
    vae_get_config(loaded, &changes);
    CHECK(changes.freeze == VAE_FREEZE_DECODER);
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK && vae_fit(loaded, &data, &fit, NULL) == VAE_OK);
    CHECK(same_weights(model, loaded));
    vae_destroy(loaded);
    memset(&changes, 0, sizeof changes);
    changes.freeze = VAE_FREEZE_NONE;
    CHECK(vae_load_memory(bytes, size, &changes, &loaded, NULL) == VAE_OK);
    CHECK(vae_fit(loaded, &data, &fit, NULL) == VAE_OK);
    CHECK(!half_is(model, 1, model->parameters, loaded->parameters));
    vae_destroy(loaded);
    free(bytes);
    vae_destroy(model);
    c.freeze = (vae_freeze)4;
    CHECK(vae_create(&c, &model, &error) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error.message, "freeze is 4");
    c.freeze = VAE_FREEZE_ENCODER;
    c.tied = 1;
    CHECK(vae_create(&c, &model, &error) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error.message, "freeze and tied are both set");
}

/* ---- gradients by hand ---- */

/* An update of one's own: a step ends with vae_end_step, and the next meets other noise. */
static void test_own_update(void) {
    vae_config c = network();
    vae_data   data = toy(8);
    vae_model *own, *library;
    vae_terms  a, b, first, second;
    size_t     i;
    c.optimizer.kind = VAE_SGD;
    c.optimizer.momentum = VAE_ZERO;
    c.optimizer.learning_rate = (vae_real)0.0625;
    own = make(&c);
    library = make(&c);
    for (i = 0; i < 5; i++) {
        vae_real *p = vae_parameters(own), *g = vae_gradients(own);
        size_t    k;
        CHECK(vae_accumulate_gradients(own, &data, NULL, &a, NULL) == VAE_OK);
        for (k = 0; k < vae_parameter_count(own); k++) p[k] -= (vae_real)0.0625 * g[k];
        CHECK(vae_end_step(own, NULL) == VAE_OK);
        CHECK(vae_train_step(library, &data, &b, NULL) == VAE_OK);
        CHECK(fabs(a.loss - b.loss) < 1e-5);
    }
    CHECK(vae_accumulate_gradients(own, &data, NULL, &first, NULL) == VAE_OK);
    vae_clear_gradients(own);
    CHECK(vae_accumulate_gradients(own, &data, NULL, &second, NULL) == VAE_OK);
    CHECK(first.loss == second.loss);           /* the same step meets the same noise, */
    CHECK(vae_end_step(own, NULL) == VAE_OK);
    CHECK(vae_accumulate_gradients(own, &data, NULL, &second, NULL) == VAE_OK);
    CHECK(first.loss != second.loss);           /* ... the next one other noise */
    vae_destroy(own);
    vae_destroy(library);
}

/* A pointer to the block stays good: what is written through it counts, and it shows zeros after each way to end. */
static void test_held_gradients(void) {
    vae_config c = network();
    vae_data   data = toy(8);
    vae_model *model, *plain;
    vae_real  *g, before;
    size_t     i, count;
    int        way;
    c.optimizer.kind = VAE_SGD;
    c.optimizer.momentum = VAE_ZERO;
    c.optimizer.learning_rate = 1;
    model = make(&c);
    plain = make(&c);
    g = vae_gradients(model);
    count = vae_parameter_count(model);
    for (way = 0; way < 4; way++) {
        if (way == 0) CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);
        if (way == 1) vae_clear_gradients(model);
        if (way == 2) CHECK(vae_end_step(model, NULL) == VAE_OK);
        if (way == 3) CHECK(vae_apply_gradients(model, NULL) == VAE_OK);
        for (i = 0; i < count; i++) CHECK(g[i] == 0);
        before = vae_parameters(model)[3];
        g[3] = (vae_real)0.5;
        CHECK(vae_apply_gradients(model, NULL) == VAE_OK);
        CHECK(vae_parameters(model)[3] == before - (vae_real)0.5);
    }
    /* The block's way gives the bits of the other. */
    CHECK(vae_train_step(plain, &data, NULL, NULL) == VAE_OK);
    vae_destroy(model);
    model = make(&c);
    (void)vae_gradients(model);
    CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);
    CHECK(same_weights(model, plain));
    vae_destroy(model);
    vae_destroy(plain);
}

/* Two ranks, one of them without rows. */
static void test_share_without_rows(void) {
    vae_config c = network();
    vae_data   data = toy(8), none = toy(0);
    vae_share  share;
    vae_model *model = make(&c), *alone = make(&c);
    vae_terms  terms;
    share.first = 8;
    share.total = 8;
    CHECK(vae_accumulate_gradients(model, &none, &share, &terms, NULL) == VAE_OK && terms.loss == 0);
    share.first = 0;
    CHECK(vae_accumulate_gradients(model, &data, &share, &terms, NULL) == VAE_OK);
    CHECK(vae_apply_gradients(model, NULL) == VAE_OK);
    CHECK(vae_train_step(alone, &data, NULL, NULL) == VAE_OK);
    CHECK(same_weights(model, alone));
    CHECK(vae_accumulate_gradients(model, &none, NULL, &terms, NULL) == VAE_ERROR_ARGUMENT);
    vae_destroy(model);
    vae_destroy(alone);
}

/* ---- what a callback may do, and must not ---- */

typedef struct caller {
    const vae_data *data;
    int             calls, refused, jumps;
    vae_real        z[64];
    unsigned char   file[1 << 16];
    jmp_buf         jump;
} caller;

static int misuse(void *user, const vae_progress *p) {
    caller   *who = (caller *)user;
    vae_error error;
    vae_terms terms;
    vae_tensor tensor;
    vae_config config;
    size_t     size;
    who->calls++;
    who->refused += vae_fit(p->model, who->data, NULL, &error) == VAE_ERROR_BUSY;
    CHECK_CONTAINS(error.message, "vae_fit: called from on_progress");
    who->refused += vae_train_step(p->model, who->data, NULL, NULL) == VAE_ERROR_BUSY;
    who->refused += vae_accumulate_gradients(p->model, who->data, NULL, NULL, NULL) == VAE_ERROR_BUSY;
    who->refused += vae_apply_gradients(p->model, NULL) == VAE_ERROR_BUSY;
    who->refused += vae_end_step(p->model, NULL) == VAE_ERROR_BUSY;
    who->refused += vae_standardize(p->model, who->data, NULL) == VAE_ERROR_BUSY;
    CHECK(vae_save_memory(p->model, 0, who->file, sizeof who->file, &size, NULL) == VAE_OK);
    who->refused += vae_load_weights_memory(p->model, who->file, size, NULL) == VAE_ERROR_BUSY;
    who->refused += vae_load_matching_memory(p->model, who->file, size, NULL, NULL) == VAE_ERROR_BUSY;
    CHECK(vae_tensor_at(p->model, 1, &tensor, NULL) == VAE_OK && tensor.count <= 64);
    who->refused += vae_set_tensor(p->model, tensor.name, who->z, tensor.count, &error) == VAE_ERROR_BUSY;
    CHECK_CONTAINS(error.message, "vae_set_tensor: called from on_progress");
    vae_clear_gradients(p->model);
    vae_get_config(p->model, &config);
    CHECK(vae_set_beta(p->model, config.beta, NULL) == VAE_OK);
    CHECK(vae_set_learning_rate(p->model, config.optimizer.learning_rate, NULL) == VAE_OK);
    CHECK(vae_sample_latent(p->model, 3, who->z, NULL) == VAE_OK);
    CHECK(vae_elbo(p->model, who->data, &terms, NULL, NULL) == VAE_OK);
    CHECK(vae_encode(p->model, who->data, who->z, NULL, NULL) == VAE_OK);
    return 0;
}

static int destroys(void *user, const vae_progress *p) {
    (void)user;
    vae_destroy(p->model);
    return 0;
}

static int jumps(void *user, const vae_progress *p) {
    caller *who = (caller *)user;
    if (++who->jumps < 3) return 0;
    vae_destroy(p->model);              /* does nothing, now and later */
    longjmp(who->jump, 1);
    return 1;
}

static int goes_on(void *user, const vae_progress *p) {
    (void)user;
    (void)p;
    return 0;
}

static void test_callbacks(void) {
    vae_config     c = network();
    vae_data       data = toy(16);
    vae_fit_config fit;
    vae_model     *model = make(&c), *plain = make(&c);
    vae_error      error;
    static caller  who;
    memset(&fit, 0, sizeof fit);
    who.data = &data;
    fit.epochs = 1;
    fit.on_progress = misuse;
    fit.user = &who;
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
    CHECK(who.calls == 3 && who.refused == 3 * 9);
    fit.on_progress = NULL;
    CHECK(vae_fit(plain, &data, &fit, NULL) == VAE_OK);
    CHECK(same_weights(model, plain));
    fit.on_progress = destroys;
    CHECK(vae_fit(model, &data, &fit, &error) == VAE_ERROR_BUSY);
    CHECK_CONTAINS(error.message, "vae_destroy");
    fit.on_progress = NULL;
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);         /* it lives */
    vae_destroy(model);
    vae_destroy(plain);
}

static void test_callback_left_by_a_jump(void) {
    vae_config     c = network();
    vae_data       data = toy(16);
    vae_fit_config fit;
    vae_model     *model = make(&c), *plain = make(&c);
    static caller  who;
    vae_real       z[2 * 16];
#ifdef __wasi__
    SKIP("WASI has no setjmp");
#endif
    memset(&fit, 0, sizeof fit);
    fit.until_epoch = 3;
    fit.user = &who;
    fit.on_progress = jumps;
    if (!setjmp(who.jump)) {
        (void)vae_fit(model, &data, &fit, NULL);
        CHECK(!"it jumps");
    }
    CHECK(vae_encode(model, &data, z, NULL, NULL) == VAE_OK);
    fit.on_progress = goes_on;
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
    CHECK(vae_fit(plain, &data, &fit, NULL) == VAE_OK);
    CHECK(same_weights(model, plain));
    fit.on_progress = jumps;
    fit.until_epoch = 30;
    who.jumps = 0;
    if (!setjmp(who.jump)) (void)vae_fit(model, &data, &fit, NULL);
    vae_destroy(model);         /* and may be destroyed: the ledger of memory would tell */
    vae_destroy(plain);
}

/* ---- divergence ---- */

static void test_divergence(void) {
    vae_config c = network();
    vae_data   data = toy(8);
    vae_model *model;
    vae_error  error;
    vae_state  state;
    vae_real   kept;
    c.optimizer.learning_rate = (vae_real)1e5;
    model = make(&c);
    error.message[0] = 0;
    CHECK(vae_fit(model, &data, NULL, &error) == VAE_ERROR_NUMERIC);
    CHECK_CONTAINS(error.message, "training diverges");
    CHECK_CONTAINS(error.message, "lower learning rate");
    vae_get_state(model, &state);
    kept = vae_parameters(model)[0];
    CHECK(vae_train_step(model, &data, NULL, &error) == VAE_ERROR_NUMERIC);
    CHECK(vae_parameters(model)[0] == kept && state.step >= 1);
    CHECK(vae_set_learning_rate(model, (vae_real)3e38, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "0 to 1e6");
    CHECK(vae_set_beta(model, (vae_real)1e30, &error) == VAE_ERROR_ARGUMENT);
    vae_destroy(model);
}

/* Gradients whose squares would overflow the second moment never reach it. */
static void test_gradients_too_large(void) {
    vae_config c = network();
    vae_model *model = make(&c);
    vae_real  *g = vae_gradients(model), before = vae_parameters(model)[7];
    vae_data   data = toy(8);
    vae_error  error;
    size_t     i, moved = 0;
    vae_real   kept[OPTIMIZER_COUNT];
    g[7] = (vae_real)1.9e19;
    CHECK(vae_apply_gradients(model, &error) == VAE_ERROR_NUMERIC);
    CHECK_CONTAINS(error.message, "beyond 1e18");
    CHECK(vae_parameters(model)[7] == before && g[7] == 0);
    memcpy(kept, vae_parameters(model), sizeof kept);
    for (i = 0; i < 50; i++) CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);
    for (i = 0; i < OPTIMIZER_COUNT; i++) moved += kept[i] != vae_parameters(model)[i];
    CHECK(moved == OPTIMIZER_COUNT);
    vae_destroy(model);
}

int main(void) {
    RUN(test_golden_steps);
    RUN(test_step_is_accumulate_and_apply);
    RUN(test_schedules);
    RUN(test_schedules_far_along);
    RUN(test_clipping);
    RUN(test_cosine);
    RUN(test_resume_from_every_batch);
    RUN(test_resume_otherwise);
    RUN(test_epoch_leaves_no_order);
    RUN(test_epochs_asked_for);
    RUN(test_best_and_plateau);
    RUN(test_best_resumes);
    RUN(test_best_stays_where_fit_is_refused);
    RUN(test_best_below_zero);
    RUN(test_best_damaged);
    RUN(test_watching_refused);
    RUN(test_freeze);
    RUN(test_freeze_settings);
    RUN(test_own_update);
    RUN(test_held_gradients);
    RUN(test_share_without_rows);
    RUN(test_callbacks);
    RUN(test_callback_left_by_a_jump);
    RUN(test_divergence);
    RUN(test_gradients_too_large);
    return test_finish();
}
