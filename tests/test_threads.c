/* Threads: whatever their number, whoever runs them and in whatever order, the bits are the same. */
#ifndef VAE_THREADS
#define VAE_THREADS
#endif
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "config_of.h"

#include <stdlib.h>
#include "test.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#define HAS_PTHREADS 1
#endif

enum { DENSE, CONVOLUTIONAL, MIXED, SERIES, NETS };
enum { ROWS = 100, SCORED = 70, LARGEST = 400 };

static vae_config net(int which) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.seed = 5;
    c.input.height = c.input.width = 20;
    c.input.channels = 1;
    c.latent = 7;
    c.batch = 64;
    switch (which) {
    case DENSE:
        c.encoder[0] = VAE_DENSE(300, VAE_RELU);
        c.encoder[1] = VAE_DENSE(130, VAE_GELU);
        break;
    case CONVOLUTIONAL:
        c.encoder[0] = VAE_CONV(16, 3, 2, VAE_RELU);
        c.encoder[1] = VAE_CONV(24, 3, 2, VAE_SILU);
        break;
    case MIXED:
        c.encoder[0] = VAE_CONV(8, 5, 2, VAE_GELU);
        c.encoder[1] = VAE_DENSE_SHAPED(6, 5, 8, VAE_TANH);
        c.encoder[2] = VAE_CONV_TRANSPOSED(12, 3, 2, VAE_SOFTPLUS);
        c.encoder[3] = VAE_CONV(9, 3, 3, VAE_LEAKY_RELU);
        c.decoder[0] = VAE_DENSE_SHAPED(10, 10, 6, VAE_RELU);
        c.decoder[1] = VAE_CONV_TRANSPOSED(5, 4, 2, VAE_RELU);
        c.decoder[2] = VAE_DENSE(400, VAE_LINEAR);
        break;
    default:
        c.input.height = 1;
        c.input.width = 200;
        c.input.channels = 2;
        c.layout = VAE_CHANNELS_FIRST;
        c.likelihood = VAE_GAUSSIAN;
        c.encoder[0] = VAE_CONV_1D(10, 7, 3, VAE_RELU);
        c.batch = 37;
    }
    return c;
}

static unsigned char images[ROWS * LARGEST];
static vae_real      floats[ROWS * LARGEST];

static void draw_images(void) {
    test_random random = { 1 };
    size_t      i;
    for (i = 0; i < sizeof images; i++) {
        images[i] = (unsigned char)test_bits(&random);
        floats[i] = (vae_real)images[i] / 255;
    }
}

/* Everything that a model computes, after some training. */
typedef struct results {
    vae_real  *weights, pixels[SCORED * LARGEST], sampled[SCORED * LARGEST], mean[SCORED * 7], logvar[SCORED * 7],
              more[SCORED * LARGEST];
    vae_terms  step, elbo, each[SCORED];
    double     log_p, log_each[SCORED];
    size_t     count;
} results;

static void work(vae_model *model, results *r) {
    vae_data       data = { .bytes = images, .count = ROWS }, some = { .pixels = floats, .count = SCORED };
    vae_data       batch = { .pixels = floats, .count = config_of(model).batch };
    vae_share      share = { 0, 100 };
    vae_fit_config fit = { .epochs = 2, .validation = &some };
    memset(r, 0, sizeof *r);
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
    CHECK(vae_train_step(model, &batch, &r->step, NULL) == VAE_OK);
    batch.count = 29;
    CHECK(vae_accumulate_gradients(model, &batch, &share, NULL, NULL) == VAE_OK);
    share.first = 29;
    batch.count = 37;
    CHECK(vae_accumulate_gradients(model, &batch, &share, NULL, NULL) == VAE_OK);
    CHECK(vae_apply_gradients(model, NULL) == VAE_OK);
    CHECK(vae_encode(model, &some, r->mean, r->logvar, NULL) == VAE_OK);
    CHECK(vae_reconstruct(model, &some, r->pixels, NULL) == VAE_OK);
    CHECK(vae_decode(model, &(vae_latents){ .z = r->mean, .count = SCORED }, r->more, NULL) == VAE_OK);
    CHECK(vae_sample(model, SCORED, r->sampled, NULL) == VAE_OK);
    CHECK(vae_elbo(model, &some, &r->elbo, r->each, NULL) == VAE_OK);
    CHECK(vae_log_likelihood(model, &some, 5, &r->log_p, r->log_each, NULL) == VAE_OK);
    r->count = vae_parameter_count(model);
    r->weights = (vae_real *)malloc(r->count * sizeof(vae_real));
    memcpy(r->weights, vae_parameters(model), r->count * sizeof(vae_real));
}

static void run(const vae_config *c, results *r) {
    vae_model *model = NULL;
    vae_error  error;
    if (vae_create(c, &model, &error) != VAE_OK) {
        printf("vae_create: %s\n", error.message);
        exit(1);
    }
    work(model, r);
    vae_destroy(model);
}

static int same(const results *a, const results *b) {
    return a->count == b->count && !memcmp(a->weights, b->weights, a->count * sizeof(vae_real)) &&
           !memcmp(a->pixels, b->pixels, (size_t)((const char *)&a->count - (const char *)a->pixels));
}

static void test_number_of_threads(void) {
    static const int threads[] = { 3, 2, 8, 0, 64 };
    results *one = (results *)malloc(sizeof *one), *many = (results *)malloc(sizeof *many);
    int      which, t;
    for (which = 0; which < NETS; which++) {
        vae_config c = net(which);
        c.threads = 1;
        run(&c, one);
        for (t = 0; t < test_cases(which ? 4 : 5); t++) {       /* 64 once */
            c.threads = threads[t];
            run(&c, many);
            if (!same(one, many)) printf("net %d differs with %d threads\n", which, threads[t]);
            CHECK(same(one, many));
            free(many->weights);
        }
        free(one->weights);
    }
    free(one);
    free(many);
}

/* With many latent dimensions samples are drawn and weighed by several threads as well. */
static void test_importance_samples(void) {
    static const int threads[] = { 1, 2, 3, 8 };
    vae_data data = { .pixels = floats, .count = SCORED };
    double   log_p[4], each[4][SCORED];
    int      t;
    for (t = 0; t < 4; t++) {
        vae_config c = net(DENSE);
        vae_model *model = NULL;
        c.latent = 150;
        c.threads = threads[t];
        CHECK(vae_create(&c, &model, NULL) == VAE_OK);
        if (!model) return;
        CHECK(vae_log_likelihood(model, &data, 21, &log_p[t], each[t], NULL) == VAE_OK);
        CHECK(log_p[t] == log_p[0] && !memcmp(each[t], each[0], sizeof each[0]));
        vae_destroy(model);
    }
}

/* ---- threads from elsewhere ---- */

typedef struct hook { size_t calls, most, tasks; int way; } hook;

static void run_in_some_order(void *user, vae_task task, void *context, size_t count) {
    hook  *h = (hook *)user;
    size_t i;
    h->calls++;
    h->tasks += count;
    if (count > h->most) h->most = count;
    if (h->way == 0) for (i = count; i-- > 0;) task(context, i);
    else if (h->way == 1) for (i = 0; i < count; i++) task(context, i);
    else {          /* odd ones first */
        for (i = 1; i < count; i += 2) task(context, i);
        for (i = 0; i < count; i += 2) task(context, i);
    }
}

static void test_hook_in_any_order(void) {
    results *one = (results *)malloc(sizeof *one), *many = (results *)malloc(sizeof *many);
    int      which, way;
    for (which = 0; which < NETS; which++) {
        vae_config c = net(which);
        c.threads = 1;
        run(&c, one);
        for (way = 0; way < test_cases(3); way++) {
            hook h;
            memset(&h, 0, sizeof h);
            h.way = way;
            c.threads = way == 1 ? 3 : 7;
            c.parallel.run = run_in_some_order;
            c.parallel.user = &h;
            run(&c, many);
            CHECK(same(one, many));
            CHECK(h.calls > 10 && h.most > 1 && h.most <= (size_t)c.threads && h.tasks >= 2 * h.calls);
            free(many->weights);
        }
        free(one->weights);
    }
    {   /* a hook must say for how many threads it stands */
        vae_config c = net(DENSE), filled;
        vae_error  error;
        c.parallel.run = run_in_some_order;
        CHECK(vae_defaults(&c, &filled, &error) == VAE_ERROR_CONFIG);
        CHECK_CONTAINS(error.message, "threads is 0");
    }
    free(one);
    free(many);
}

/* A product is divided by rows and columns: no element may be left out, and none may be of other bits. */
static void test_divided_products(void) {
    enum { MOST_ROWS = 200, MOST_COLUMNS = 500, STEPS = 150 };
    static const int threads[] = { 1, 2, 3, 5, 8, 12, 16, 31, 64 };
    vae_real *a = (vae_real *)malloc(MOST_ROWS * STEPS * sizeof *a);
    vae_real *b = (vae_real *)malloc(STEPS * MOST_COLUMNS * sizeof *b);
    vae_real *c = (vae_real *)malloc(2 * MOST_ROWS * MOST_COLUMNS * sizeof *c), *whole = c + MOST_ROWS * MOST_COLUMNS;
    test_random random = { 3 };
    size_t      i, t, most = 0;
    for (i = 0; i < MOST_ROWS * STEPS; i++) a[i] = (vae_real)test_uniform(&random, -1, 1);
    for (i = 0; i < STEPS * MOST_COLUMNS; i++) b[i] = (vae_real)test_uniform(&random, -1, 1);
    for (t = 0; t < sizeof threads / sizeof *threads; t++) {
        vae_config   config = net(DENSE);
        vae_model   *model = NULL;
        hook         h;
        int          shape;
        memset(&h, 0, sizeof h);
        config.encoder[0] = VAE_DENSE(MOST_COLUMNS, VAE_RELU);
        config.batch = MOST_ROWS;
        config.threads = threads[t];
        config.parallel.run = run_in_some_order;
        config.parallel.user = &h;
        CHECK(vae_create(&config, &model, NULL) == VAE_OK);
        if (!model) break;
        for (shape = 0; shape < 40; shape++) {
            vaei_product p;
            memset(&p, 0, sizeof p);
            p.rows = (size_t)test_integer(&random, 1, MOST_ROWS);
            p.columns = (size_t)test_integer(&random, 1, MOST_COLUMNS);
            p.segments = 1;
            p.run = p.a_row = STEPS;
            p.a = a;
            p.a_step = p.b_column = 1;
            p.b = b;
            p.b_step = p.c_row = MOST_COLUMNS;
            for (i = 0; i < MOST_ROWS * MOST_COLUMNS; i++) c[i] = whole[i] = -77;
            p.c = whole;
            vaei_multiply(model->kernels, &p, vaei_slot(model, 0, model->plan.product_scratch));
            p.c = c;
            vaei_multiply_parallel(model, &p);
            CHECK(!memcmp(c, whole, MOST_ROWS * MOST_COLUMNS * sizeof *c));
        }
        CHECK(h.most <= (size_t)threads[t]);
        if (h.most > most) most = h.most;
        vae_destroy(model);
    }
    CHECK(most >= 16);
    free(a);
    free(b);
    free(c);
}

static void test_defaults_with_threads(void) {
    vae_config c = net(DENSE), filled, twice;
    CHECK(vae_defaults(&c, &filled, NULL) == VAE_OK && filled.threads >= 1 && filled.threads <= 64);
    CHECK(vae_defaults(&filled, &twice, NULL) == VAE_OK && twice.threads == filled.threads);
}

static void test_models_come_and_go(void) {
    int i;
    for (i = 0; i < test_cases(100); i++) {
        vae_config c = net(i % NETS);
        vae_model *model = NULL;
        vae_real   pixels[LARGEST];
        c.threads = 1 + i % 9;
        CHECK(vae_create(&c, &model, NULL) == VAE_OK);
        if (i % 3) CHECK(vae_sample(model, 1, pixels, NULL) == VAE_OK);
        vae_destroy(model);
    }
}

static void test_memory_of_the_callers_with_threads(void) {
    vae_config     c = net(MIXED);
    size_t         needed, i, offset;
    unsigned char *buffer;
    results       *one = (results *)malloc(sizeof *one), *many = (results *)malloc(sizeof *many);
    c.threads = 3;
    run(&c, one);
    CHECK(vae_memory_needed(&c, &needed, NULL) == VAE_OK);
    buffer = (unsigned char *)malloc(needed + 200);
    for (offset = 0; offset < 2; offset++) {
        vae_model *model = NULL;
        const size_t at = offset ? 77 : 64;
        int        clean = 1;
        memset(buffer, 0xA5, needed + 200);
        CHECK(vae_create_in(&c, buffer + at, needed, &model, NULL) == VAE_OK);
        work(model, many);
        vae_destroy(model);
        CHECK(same(one, many));
        for (i = 0; i < at; i++) clean = clean && buffer[i] == 0xA5;
        for (i = at + needed; i < needed + 200; i++) clean = clean && buffer[i] == 0xA5;
        CHECK(clean);
        free(many->weights);
    }
    free(buffer);
    free(one->weights);
    free(one);
    free(many);
}

/* Batches that no memory holds, with threads: a sentence. */
static void test_huge_batches_with_threads(void) {
    static const size_t batches[] = { (size_t)-1, (size_t)-1 / 2, (size_t)-1 / 64, (size_t)-1 - 511, (size_t)-1 - 100 };
    int                 which;
    size_t              b;
    for (which = 0; which < NETS; which++)
        for (b = 0; b < sizeof batches / sizeof *batches; b++) {
            vae_config c = net(which);
            vae_model *model = NULL;
            vae_error  error;
            vae_status status;
            c.batch = batches[b];
            c.threads = 4;
            status = vae_create(&c, &model, &error);
            CHECK(status == VAE_ERROR_MEMORY || status == VAE_ERROR_CONFIG);
            CHECK(model == NULL);
        }
}

#ifdef HAS_PTHREADS
/* The mark that says a model is in use: whoever sets it is alone until it takes it back. */
static vaei_flag in_use;
static long      entered, refused;

static void *enter_often(void *unused) {
    long i;
    for (i = 0; i < 20000;) {
        if (!vaei_flag_swap(&in_use, 0, 1)) continue;
        if (vaei_flag_swap(&in_use, 0, 2)) refused--;           /* must not be */
        else refused++;
        entered++;
        i++;
        if (!vaei_flag_swap(&in_use, 1, 0)) refused--;
    }
    return unused;
}

static void test_flag_lets_one_in(void) {
    pthread_t threads[4];
    int       i;
    for (i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, enter_often, NULL) == 0);
    for (i = 0; i < 4; i++) pthread_join(threads[i], NULL);
#ifdef VAEI_HAS_ATOMICS
    CHECK(entered == 4 * 20000 && refused == entered);
#endif
    CHECK(vaei_flag_get(&in_use) == 0);
}

/* A model at work refuses all others, whoever they are: the hook that runs its tasks is called within a step, and there
   starts a second thread, and calls by itself. */
typedef struct intruder { vae_model *model; int calls, busy; } intruder;

static vae_status said(intruder *who, vae_status status, const vae_error *error) {
    who->calls++;
    who->busy += status == VAE_ERROR_BUSY && (!error || strstr(error->message, "another thread is using the model"));
    return status;
}

static void *intrude(void *opaque) {
    static vae_real    numbers[ROWS * LARGEST], two[2 * ROWS * LARGEST];
    static unsigned char file[1 << 21];
    static double      each[ROWS];
    intruder          *who = (intruder *)opaque;
    vae_model         *m = who->model;
    vae_data           data = { .bytes = images, .count = 2 };
    vae_latents        latents = { .z = numbers, .count = 1 };
    vae_fit_config     fit = { .epochs = 1 };
    vae_terms          terms;
    vae_tensor         tensor;
    vae_error          error;
    size_t             size = 0;
    memset(numbers, 0, sizeof numbers);
    said(who, vae_fit(m, &data, &fit, &error), &error);
    said(who, vae_train_step(m, &data, &terms, &error), &error);
    said(who, vae_accumulate_gradients(m, &data, NULL, &terms, &error), &error);
    said(who, vae_apply_gradients(m, &error), &error);
    said(who, vae_end_step(m, &error), &error);
    said(who, vae_standardize(m, &data, &error), &error);
    said(who, vae_set_beta(m, 2, &error), &error);
    said(who, vae_set_learning_rate(m, 2, &error), &error);
    CHECK(vae_tensor_at(m, 1, &tensor, NULL) == VAE_OK);
    said(who, vae_set_tensor(m, tensor.name, numbers, tensor.count, &error), &error);
    said(who, vae_encode(m, &data, numbers, two, &error), &error);
    said(who, vae_decode(m, &latents, two, &error), &error);
    said(who, vae_reconstruct(m, &data, two, &error), &error);
    said(who, vae_draw(m, &latents, two, &error), &error);
    said(who, vae_sample(m, 1, two, &error), &error);
    said(who, vae_sample_with(m, 1, NULL, two, &error), &error);
    said(who, vae_sample_latent(m, 1, numbers, &error), &error);
    said(who, vae_elbo(m, &data, &terms, NULL, &error), &error);
    said(who, vae_score(m, &data, NULL, each, &error), &error);
    said(who, vae_log_likelihood(m, &data, 2, NULL, each, &error), &error);
    {   /* a file of a model like it */
        vae_config c = net(DENSE);
        vae_model *like = NULL;
        c.threads = 1;
        CHECK(vae_create(&c, &like, NULL) == VAE_OK);
        CHECK(vae_save_memory(like, 0, file, sizeof file, &size, NULL) == VAE_OK);
        vae_destroy(like);
    }
    said(who, vae_load_weights_memory(m, file, size, &error), &error);
    said(who, vae_load_matching_memory(m, file, size, NULL, &error), &error);
    vae_clear_gradients(m);                                         /* does nothing, and so does vae_destroy */
    vae_destroy(m);
    who->calls++;
    who->busy += vae_gradients(m) == NULL;
    return NULL;
}

static void run_with_intruder(void *user, vae_task task, void *context, size_t count) {
    intruder *who = (intruder *)user;
    pthread_t thread;
    size_t    i;
    if (who->model && !who->calls) {
        CHECK(pthread_create(&thread, NULL, intrude, who) == 0);
        pthread_join(thread, NULL);
        intrude(who);
    }
    for (i = 0; i < count; i++) task(context, i);
}

static void test_a_model_at_work_refuses_others(void) {
    vae_config c = net(DENSE);
    vae_data   data = { .bytes = images, .count = 64 };
    vae_model *model = NULL, *plain = NULL;
    intruder   who = { NULL, 0, 0 };
    c.threads = 3;
    c.parallel.run = run_with_intruder;
    c.parallel.user = &who;
    CHECK(vae_create(&c, &model, NULL) == VAE_OK && vae_create(&c, &plain, NULL) == VAE_OK);
    CHECK(vae_train_step(plain, &data, NULL, NULL) == VAE_OK);
    who.model = model;
    CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);
    CHECK(who.calls == 2 * 22 && who.busy == who.calls);
    CHECK(!memcmp(vae_parameters(model), vae_parameters(plain), vae_parameter_count(model) * sizeof(vae_real)));
    CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);      /* and is free again afterwards */
    vae_destroy(model);
    vae_destroy(plain);
}

/* So does one that waits for on_progress, wherever the stacks of the two threads lie: the callback's thread is one that
   main has started, and then the other way round. A jump out of the callback leaves the model to its thread, whose next
   call gives it back to all. */
typedef struct watcher {
    vae_model *model;
    jmp_buf    jump;
    intruder   who;
    int        jumps;
    vae_status fitted, later;
    pthread_t  thread;
    vaei_flag  turn;                    /* 0: on_progress has not begun; 1: others try; 2: it goes on */
} watcher;

static void wait_for_turn(watcher *w, vaei_mark turn) {
    while (vaei_flag_get(&w->turn) != turn) sched_yield();
}

static void *train_once(void *opaque) {
    watcher *w = (watcher *)opaque;
    vae_data data = { .bytes = images, .count = 8 };
    w->later = vae_train_step(w->model, &data, NULL, NULL);
    vae_destroy(w->model);              /* only where it may not */
    return NULL;
}

static int let_others_try(void *user, const vae_progress *progress) {
    watcher *w = (watcher *)user;
    if (progress->step != 2) return 0;
    if (w->jumps) longjmp(w->jump, 1);
    vaei_flag_set(&w->turn, 1);
    wait_for_turn(w, 2);
    return 0;
}

static void fit_watched(watcher *w) {
    vae_data       data = { .bytes = images, .count = ROWS };
    vae_fit_config fit = { .epochs = 2, .batch = 40, .on_progress = let_others_try, .user = w };
    w->fitted = vae_fit(w->model, &data, &fit, NULL);
}

static void *fit_aside(void *opaque) {
    fit_watched((watcher *)opaque);
    return NULL;
}

static void *intrude_in_turn(void *opaque) {
    watcher *w = (watcher *)opaque;
    wait_for_turn(w, 1);
    intrude(&w->who);
    vaei_flag_set(&w->turn, 2);
    return NULL;
}

static void test_on_progress_is_one_threads(void) {
    vae_config     c = net(DENSE);
    vae_data       data = { .bytes = images, .count = ROWS };
    vae_fit_config fit = { .epochs = 2, .batch = 40 };
    vae_model     *plain = NULL;
    static watcher w;
    int            aside;
    c.threads = 1;
    CHECK(vae_create(&c, &plain, NULL) == VAE_OK && vae_fit(plain, &data, &fit, NULL) == VAE_OK);
    for (aside = 0; aside < 2; aside++) {
        CHECK(vae_create(&c, &w.model, NULL) == VAE_OK);
        w.jumps = w.who.calls = w.who.busy = 0;
        vaei_flag_set(&w.turn, 0);
        w.who.model = w.model;
        CHECK(pthread_create(&w.thread, NULL, aside ? fit_aside : intrude_in_turn, &w) == 0);
        if (aside) intrude_in_turn(&w);
        else fit_watched(&w);
        pthread_join(w.thread, NULL);
        CHECK(w.fitted == VAE_OK && w.who.calls == 22 && w.who.busy == w.who.calls);
        CHECK(!memcmp(vae_parameters(w.model), vae_parameters(plain), vae_parameter_count(plain) * sizeof(vae_real)));
        vae_destroy(w.model);
    }
    vae_destroy(plain);
    CHECK(vae_create(&c, &w.model, NULL) == VAE_OK);
    w.jumps = 1;
    if (!setjmp(w.jump)) fit_watched(&w);
    CHECK(pthread_create(&w.thread, NULL, train_once, &w) == 0);
    pthread_join(w.thread, NULL);
    CHECK(w.later == VAE_ERROR_BUSY);
    CHECK(vae_sample_latent(w.model, 0, NULL, NULL) == VAE_OK);
    CHECK(pthread_create(&w.thread, NULL, train_once, &w) == 0);
    pthread_join(w.thread, NULL);
    CHECK(w.later == VAE_OK);           /* and it could destroy the model: the ledger of memory would tell */
}

/* Threads that want one model at the same time: each call is whole or refused. */
typedef struct rival { vae_model *model; long steps, refused, others; } rival;

static void *train_often(void *opaque) {
    rival        *r = (rival *)opaque;
    const vae_real zero[130] = { 0 };
    vae_data      data = { .bytes = images, .count = 4 };
    int           i;
    for (i = 0; i < 30; i++) {
        const vae_status status = vae_train_step(r->model, &data, NULL, NULL);
        r->steps += status == VAE_OK;
        r->refused += status == VAE_ERROR_BUSY;
        r->others += status != VAE_OK && status != VAE_ERROR_BUSY;
        (void)vae_set_tensor(r->model, "encoder.2.bias", zero, 130, NULL);
        (void)vae_set_beta(r->model, 1, NULL);
        (void)vae_set_learning_rate(r->model, (vae_real)1e-3, NULL);
        (void)vae_gradients(r->model);
    }
    return NULL;
}

static void test_rivals(void) {
    vae_config c = net(DENSE);
    rival      rivals[3];
    pthread_t  threads[3];
    vae_model *model = NULL;
    vae_state  state;
    long       steps = 0;
    int        i;
    c.threads = 1;
    CHECK(vae_create(&c, &model, NULL) == VAE_OK);
    for (i = 0; i < 3; i++) {
        memset(&rivals[i], 0, sizeof rivals[i]);
        rivals[i].model = model;
        CHECK(pthread_create(&threads[i], NULL, train_often, &rivals[i]) == 0);
    }
    for (i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        CHECK(rivals[i].steps + rivals[i].refused == 30 && rivals[i].others == 0);
        steps += rivals[i].steps;
    }
    vae_get_state(model, &state);
    CHECK(steps > 0 && state.step == (uint64_t)steps);
    vae_destroy(model);
}

/* Two models at the same time, each in a thread of its own and with threads of its own: as alone. */
typedef struct job { vae_config config; results *made; } job;

static void *work_aside(void *opaque) {
    job       *j = (job *)opaque;
    vae_model *model = NULL;
    if (vae_create(&j->config, &model, NULL) == VAE_OK) {
        vae_data       data = { .bytes = images, .count = ROWS };
        vae_fit_config fit = { .epochs = 3 };
        vae_fit(model, &data, &fit, NULL);
        vae_sample(model, SCORED, j->made->sampled, NULL);
        j->made->count = vae_parameter_count(model);
        j->made->weights = (vae_real *)malloc(j->made->count * sizeof(vae_real));
        memcpy(j->made->weights, vae_parameters(model), j->made->count * sizeof(vae_real));
        vae_destroy(model);
    }
    return NULL;
}

static void test_two_models_at_once(void) {
    job       jobs[4];
    pthread_t threads[4];
    int       i;
    for (i = 0; i < 4; i++) {
        jobs[i].config = net(i);
        jobs[i].config.threads = 1 + i % 2;
        jobs[i].made = (results *)calloc(1, sizeof(results));
        CHECK(pthread_create(&threads[i], NULL, work_aside, &jobs[i]) == 0);
    }
    for (i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (i = 0; i < 4; i++) {
        job alone = jobs[i];
        alone.made = (results *)calloc(1, sizeof(results));
        work_aside(&alone);
        CHECK(jobs[i].made->count > 0 && same(jobs[i].made, alone.made));
        free(alone.made->weights);
        free(alone.made);
        free(jobs[i].made->weights);
        free(jobs[i].made);
    }
}
#endif

#ifdef VAEI_HAS_POOL
/* The threads of a model, and the memory for them, are there where there is more than one. */
TEST(test_one_thread_takes_no_pool) {
    vae_config c = net(CONVOLUTIONAL);
    int        threads;
    for (threads = 1; threads < 3; threads++) {
        vae_model *model = NULL;
        c.threads = threads;
        if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
        CHECK(!model->pool == (threads == 1));
        vae_destroy(model);
    }
}
#endif

int main(void) {
    draw_images();
    RUN(test_number_of_threads);
#ifdef VAEI_HAS_POOL
    RUN(test_one_thread_takes_no_pool);
#endif
    RUN(test_importance_samples);
    RUN(test_hook_in_any_order);
    RUN(test_divided_products);
    RUN(test_defaults_with_threads);
    RUN(test_models_come_and_go);
    RUN(test_memory_of_the_callers_with_threads);
#ifdef HAS_PTHREADS
    RUN(test_two_models_at_once);
    RUN(test_flag_lets_one_in);
#ifdef VAEI_HAS_ATOMICS
    RUN(test_a_model_at_work_refuses_others);
    RUN(test_on_progress_is_one_threads);
    RUN(test_rivals);
#endif
#endif
    RUN(test_huge_batches_with_threads);
    return test_finish();
}
