/* Speed, as a share of what this machine can do.

   Every figure is the median over windows of our work, each between two of independent multiply-adds: the machine's
   peak, of as many threads, is measured beside the work, so that a clock that drifts moves both. Work of one thread is
   timed by the processor's time that the thread got, so that others who share the core do not count; wall_... says the
   same by the clock on the wall. Work of several threads is timed by the wall: their waiting for each other is a part
   of it. Where a core has two hardware threads and somebody else keeps the other one busy, as on many a rented machine,
   ours is slowed without being told. So each window also stands between two looks at that (look_around). A window is
   disturbed where a look says so or where the system took the processor from one of our threads; such windows are left
   out if five others can be had in the time, and quiet_percent says how many were not disturbed. Where it is low, the
   figures are of a busy machine.

       bench                     everything, under two minutes
       bench --quick             the training steps and decoding only
       bench --peers             the training steps and decoding, alternating with PyTorch (tests/bench_peers.py), in
                                 windows of a second: some minutes
       bench --limits            the machine's peak and its speed of copying only; fails where they cannot be true
       bench --json FILE         the same figures as JSON too
       bench --kernels NAME      with one kernel set: plain, portable, avx2, avx512, neon; with avx2 everything is as on
                                 a processor without AVX-512, the peak and PyTorch too
       bench --threads N         with at most so many threads, instead of one per processor
       bench --only TEXT         the cases with TEXT in their names, and nothing else
       bench --patience SECONDS  waits so long for fifteen undisturbed windows of each case, instead of 1.2           */
#define _POSIX_C_SOURCE 200809L
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#ifdef VAEI_HAS_X86
#include <immintrin.h>
#endif

enum {
    ALTERNATIONS = 7,       /* windows at least */
    QUIET_ENOUGH = 15,      /* undisturbed windows after which a case is done, */
    QUIET_LEAST = 5,        /* ... or one with a peer; with fewer, disturbed windows count as well */
    MOST_WINDOWS = 200      /* kept; of disturbed ones half of that */
};

struct product_case;
typedef struct settings {
    int         quick, peers, limits;
    vae_kernels kernels;
    const char *only;           /* in the names of the cases to measure, or NULL */
    FILE       *json;
    int         lines;          /* reported */
    int         cores;
    double      window;         /* seconds of one window, at least one call */
    double      peer_window;    /* and where a peer's follows */
    double      patience;       /* seconds after which a case makes do with the windows that it has */
    struct product_case *probes;        /* one for each thread, see stillness */
    double      stillest, best_peak;                    /* the best that this run has seen of one core */
} settings;

static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double now(void) { return seconds_of(CLOCK_MONOTONIC); }

/* What this thread has had of a processor: asking takes a system call, which now() does without. */
static double thread_seconds(void) { return seconds_of(CLOCK_THREAD_CPUTIME_ID); }

/* How often the system took the processor away from one of our threads. */
static long interruptions(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nivcsw;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* ---- the machine's own limits ---- */

/* Twelve independent chains hide the latency of a multiply-add on every processor that this knows. A compiler that knew
   the factors could compute a chain beforehand. */
static volatile float peak_factor = 0.999f, peak_summand = 0.001f;
#define CHAINS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define PEAK_LOOP(NAME, TARGET, VECTOR, SET, FMA)                                     \
    TARGET static float NAME(long turns) {                                            \
        VECTOR a = SET(peak_factor), b = SET(peak_summand);                           \
        float  sum = 0, out[sizeof(VECTOR) / sizeof(float)];                          \
        long   i;                                                                     \
        CHAINS(PEAK_DECLARE_##NAME)                                                   \
        for (i = 0; i < turns; i++) { CHAINS(PEAK_STEP_##NAME) }                      \
        CHAINS(PEAK_SUM_##NAME)                                                       \
        for (i = 0; i < (long)(sizeof out / sizeof out[0]); i++) sum += out[i];       \
        return sum;                                                                   \
    }

#ifdef VAEI_HAS_X86
#define PEAK_DECLARE_peak_avx2(n) __m256 c##n = _mm256_set1_ps(n);
#define PEAK_STEP_peak_avx2(n) c##n = _mm256_fmadd_ps(c##n, a, b);
#define PEAK_SUM_peak_avx2(n) _mm256_storeu_ps(out, n ? _mm256_add_ps(c##n, _mm256_loadu_ps(out)) : c##n);
PEAK_LOOP(peak_avx2, __attribute__((target("avx2,fma"))), __m256, _mm256_set1_ps, _mm256_fmadd_ps)
#define PEAK_DECLARE_peak_avx512(n) __m512 c##n = _mm512_set1_ps(n);
#define PEAK_STEP_peak_avx512(n) c##n = _mm512_fmadd_ps(c##n, a, b);
#define PEAK_SUM_peak_avx512(n) _mm512_storeu_ps(out, n ? _mm512_add_ps(c##n, _mm512_loadu_ps(out)) : c##n);
PEAK_LOOP(peak_avx512, __attribute__((target("avx512f"))), __m512, _mm512_set1_ps, _mm512_fmadd_ps)
#endif
#ifdef VAEI_HAS_NEON
#define PEAK_DECLARE_peak_neon(n) float32x4_t c##n = vdupq_n_f32(n);
#define PEAK_STEP_peak_neon(n) c##n = vfmaq_f32(b, c##n, a);
#define PEAK_SUM_peak_neon(n) vst1q_f32(out, n ? vaddq_f32(c##n, vld1q_f32(out)) : c##n);
PEAK_LOOP(peak_neon, , float32x4_t, vdupq_n_f32, vfmaq_f32)
#endif
#define PEAK_DECLARE_peak_plain(n) float c##n = n;
#define PEAK_STEP_peak_plain(n) c##n = c##n * a + b;
#define PEAK_SUM_peak_plain(n) out[0] = n ? out[0] + c##n : c##n;
#define PLAIN_SET(x) (x)
PEAK_LOOP(peak_plain, , float, PLAIN_SET, )

static volatile float peak_sink;

/* GFLOP/s of one core, with vectors of AVX-512 (2), of AVX2 or NEON (1), or with single numbers (0). */
static double peak_with(int width) {
    const long turns = 100000;
    double     began = thread_seconds();
    int        lanes = 1;
#ifdef VAEI_HAS_X86
    if (width == 2) { peak_sink = peak_avx512(turns / 2); lanes = 8; }
    else if (width == 1) { peak_sink = peak_avx2(turns); lanes = 8; }
    else
#endif
#ifdef VAEI_HAS_NEON
    if (width == 1) { peak_sink = peak_neon(turns); lanes = 4; }
    else
#endif
    { peak_sink = peak_plain(turns); lanes = 1; (void)width; }
    return 2.0 * 12 * lanes * (double)turns / (thread_seconds() - began) * 1e-9;
}

static int peak_width;

/* The widest vectors are not always the fastest, so this tries them. */
static void choose_peak_width(vae_kernels kernels) {
    double best = 0, got;
    int    w, turn;
    for (turn = 0; turn < 3; turn++)
        for (w = 0; w <= 2; w++) {
            if (w == 2 && (kernels == VAE_KERNELS_AVX2 || !vae_kernels_available(VAE_KERNELS_AVX512))) continue;
            if (w == 1 && !vae_kernels_available(VAE_KERNELS_AVX2) && !vae_kernels_available(VAE_KERNELS_NEON))
                continue;
            got = peak_with(w);
            if (got > best) { best = got; peak_width = w; }
        }
}

static double peak(void) { return peak_with(peak_width); }

static char *volatile copied;       /* a copy that anybody may look at cannot be left out */

/* GB/s read and written by a copy far larger than any cache. */
static double bandwidth(void) {
    const size_t bytes = (size_t)256 << 20;
    char        *from = (char *)malloc(bytes), *to = (char *)malloc(bytes);
    double       best = 0;
    int          i;
    if (from && to) {
        memset(from, 1, bytes);
        memset(to, 2, bytes);
        for (i = 0; i < 4; i++) {
            const double began = thread_seconds();
            double       rate;
            copied = from;
            memcpy(to, from, bytes);
            copied = to;
            rate = 2e-9 * (double)bytes / (thread_seconds() - began);
            if (rate > best) best = rate;
        }
    }
    free(from);
    free(to);
    return best;
}

/* ---- networks ---- */

typedef struct network {
    const char *name, *peer;
    vae_shape   input;
    int         latent;
    size_t      batch;
    vae_layer   encoder[6], decoder[6];
} network;

static const network networks[] = {
    { "dense-784-400-20", "dense-400-20", { 28, 28, 1 }, 20, 128, { VAE_DENSE_INITIALIZER(400, VAE_RELU) },
      { { VAE_LAYER_END } } },
    { "dense-784-512-32", "dense-512-32", { 28, 28, 1 }, 32, 128, { VAE_DENSE_INITIALIZER(512, VAE_RELU) },
      { { VAE_LAYER_END } } },
    { "dense-784-512-32", "dense-512-32-batch-1", { 28, 28, 1 }, 32, 1, { VAE_DENSE_INITIALIZER(512, VAE_RELU) },
      { { VAE_LAYER_END } } },
    { "dense-784-200-200-50", "dense-200-200-50", { 28, 28, 1 }, 50, 20,
      { VAE_DENSE_INITIALIZER(200, VAE_RELU), VAE_DENSE_INITIALIZER(200, VAE_RELU) }, { { VAE_LAYER_END } } },
    { "keras-conv", "keras-conv", { 28, 28, 1 }, 2, 128,
      { VAE_CONV_INITIALIZER(32, 3, 2, VAE_RELU), VAE_CONV_INITIALIZER(64, 3, 2, VAE_RELU),
        VAE_DENSE_INITIALIZER(16, VAE_RELU) },
      { VAE_DENSE_SHAPED_INITIALIZER(7, 7, 64, VAE_RELU), VAE_CONV_TRANSPOSED_INITIALIZER(64, 3, 2, VAE_RELU),
        VAE_CONV_TRANSPOSED_INITIALIZER(32, 3, 2, VAE_RELU), VAE_CONV_TRANSPOSED_INITIALIZER(1, 3, 1, VAE_LINEAR) } },
    { "rgb-64", "rgb-64", { 64, 64, 3 }, 32, 64,
      { VAE_CONV_INITIALIZER(32, 3, 2, VAE_RELU), VAE_CONV_INITIALIZER(64, 3, 2, VAE_RELU),
        VAE_CONV_INITIALIZER(128, 3, 2, VAE_RELU) }, { { VAE_LAYER_END } } },
    { "series-256", "series-1d", { 1, 256, 1 }, 8, 128,
      { VAE_CONV_1D_INITIALIZER(16, 5, 2, VAE_RELU), VAE_CONV_1D_INITIALIZER(32, 5, 2, VAE_RELU) },
      { { VAE_LAYER_END } } },
    { "dense-784-512-32", "decode", { 28, 28, 1 }, 32, 1024, { VAE_DENSE_INITIALIZER(512, VAE_RELU) },
      { { VAE_LAYER_END } } },
};
enum { NETWORKS = 7, DECODER = 7, CONV = 4 };      /* the first NETWORKS are trained */

static vae_model *make(const settings *s, const network *net, size_t batch, int threads) {
    vae_config config;
    vae_model *model = NULL;
    vae_error  error;
    memset(&config, 0, sizeof config);
    config.input = net->input;
    config.latent = net->latent;
    memcpy(config.encoder, net->encoder, sizeof net->encoder);
    memcpy(config.decoder, net->decoder, sizeof net->decoder);
    config.batch = batch;
    config.threads = threads;
    config.kernels = s->kernels;
    config.seed = 1;
    if (vae_create(&config, &model, &error) != VAE_OK) {
        fprintf(stderr, "bench: %s\n", error.message);
        exit(1);
    }
    return model;
}

/* Multiply-adds of one example, forward through layers first .. end - 1. */
static double multiply_adds(const vae_model *model, int first, int end) {
    double sum = 0;
    int    i;
    for (i = first; i < end; i++) {
        const vaei_layer *layer = &model->plan.layers[i];
        const vaei_connection *c = layer->connection;
        if (layer->kind == VAE_LAYER_DENSE) sum += (double)layer->inputs * (double)layer->outputs;
        else sum += (double)c->coarse.height * c->coarse.width * (double)layer->weight_count;
    }
    return sum;
}

/* Forward once, backward twice, except that the first layer's input needs no gradient. */
static double training_flops(const vae_model *model) {
    return 6 * multiply_adds(model, 0, model->plan.layer_count) - 2 * multiply_adds(model, 0, 1);
}

static unsigned char *digits_like(size_t bytes) {
    unsigned char *pixels = (unsigned char *)malloc(bytes);
    uint64_t       state = 1;
    size_t         i;
    if (!pixels) exit(1);
    for (i = 0; i < bytes; i++) {
        state = state * UINT64_C(6364136223846793005) + 1;
        pixels[i] = state >> 61 ? 0 : (unsigned char)(state >> 40);        /* one in eight is ink */
    }
    return pixels;
}

/* ---- one matrix product ---- */

typedef struct product_case {
    const vaei_kernel_set *kernels;
    vaei_product           product;
    vae_real              *scratch;
} product_case;

static void multiply(void *context) {
    const product_case *p = (const product_case *)context;
    vaei_multiply(p->kernels, &p->product, p->scratch);
}

/* Zeros, as aligned as everything that a model holds. The benchmark's own end frees them. */
static vae_real *aligned_numbers(size_t count) {
    char *block = (char *)calloc(count * sizeof(vae_real) + 64, 1);
    if (!block) exit(1);
    return (vae_real *)(void *)(block + (64 - (uintptr_t)block % 64) % 64);
}

/* form 0: out = in W; 1: d_in = d_out W^T; 2: d_W = in^T d_out */
static product_case make_product(vae_kernels kernels, size_t rows, size_t columns, size_t inner, int form) {
    product_case p;
    vae_real    *a = aligned_numbers(rows * inner), *b = aligned_numbers(inner * columns);
    size_t       i;
    for (i = 0; i < rows * inner; i++) a[i] = (vae_real)(i % 17) / 16 - (vae_real)0.5;
    for (i = 0; i < inner * columns; i++) b[i] = (vae_real)(i % 13) / 16 - (vae_real)0.5;
    memset(&p, 0, sizeof p);
    p.kernels = vaei_kernel_set_of(kernels == VAE_KERNELS_BEST ? vaei_best_kernels() : kernels);
    p.scratch = aligned_numbers(vaei_product_scratch(rows, columns, inner));
    p.product.rows = rows;
    p.product.columns = columns;
    p.product.segments = 1;
    p.product.run = inner;
    p.product.a = a;
    p.product.a_row = form == 2 ? 1 : inner;
    p.product.a_step = form == 2 ? rows : 1;
    p.product.b = b;
    p.product.b_step = form == 1 ? 1 : columns;
    p.product.b_column = form == 1 ? inner : 1;
    p.product.c = aligned_numbers(rows * columns);
    p.product.c_row = columns;
    return p;
}

/* ---- is anybody else there? ---- */

/* A small product's calls in a second. Its numbers stay in the first cache: multiply-adds, loads and the core's front
   end all at once, as in the work that is measured, so that it feels whoever else uses them. (Instructions that do
   nothing do not tell: on a Zen 3 they ran at half their speed for seconds in which everything of ours was at its
   best.) */
static double stillness(product_case *probe) {
    const int turns = 50;
    double    began;
    int       i;
    multiply(probe);                                            /* into the cache */
    began = thread_seconds();
    for (i = 0; i < turns; i++) multiply(probe);
    return turns / (thread_seconds() - began);
}

/* One look around, by all threads at the same time: what is another's neighbour may be our own other thread, since two
   cores of a rented machine are now and then one. */
typedef struct look {
    int          threads;
    product_case *probes;
    vaei_counter arrived;
    double       stillness[VAEI_MAX_THREADS], peak[VAEI_MAX_THREADS];
} look;

static void look_from_one_thread(void *context, size_t index) {
    look        *l = (look *)context;
    const double began = now();
    double       looks[3];
    int          i;
    VAEI_COUNTER_ADD(l->arrived, 1);
    while (VAEI_COUNTER_GET(l->arrived) < l->threads && now() - began < 1e-3) {}
    for (i = 0; i < 3; i++) looks[i] = stillness(&l->probes[index]);        /* one of them may have been interrupted */
    l->stillness[index] = median(looks, 3);
    l->peak[index] = peak();
}

/* GFLOP/s of all threads' multiply-adds together. `still` becomes 0 if a core was not wholly ours, as far as the best
   that this run has seen can tell. */
static double look_around(settings *s, const vae_model *model, int threads, int *still) {
    look   l;
    double sum = 0;
    int    i;
    memset(&l, 0, sizeof l);
    l.threads = threads;
    l.probes = s->probes;
    if (threads == 1) look_from_one_thread(&l, 0);
    else vaei_run(model, look_from_one_thread, &l, (size_t)threads);
    for (i = 0; i < threads; i++) {
        if (l.stillness[i] > s->stillest) s->stillest = l.stillness[i];
        if (threads == 1 && l.peak[i] > s->best_peak) s->best_peak = l.peak[i];
        if (l.stillness[i] < 0.88 * s->stillest || l.peak[i] < 0.85 * s->best_peak) *still = 0;
        sum += l.peak[i];
    }
    return sum;
}

/* ---- measuring ---- */

typedef void (*work)(void *context);

typedef struct figure {
    double seconds;     /* of one call: the thread's own where there is one, else as wall */
    double wall;        /* of one call, by the clock on the wall */
    double share;       /* of the peak of all threads' cores */
    double quiet;       /* the part of the windows that nobody disturbed; fewer than five: the figures are of all */
} figure;

/* Up to four numbers of each window. */
typedef struct windows {
    int    seen, count, quiet;
    int    undisturbed[MOST_WINDOWS];
    double of[MOST_WINDOWS][4];
} windows;

/* Where the numbers of one more window go. */
static double *add_window(windows *w, int undisturbed) {
    const int kept = undisturbed || w->count - w->quiet < MOST_WINDOWS / 2;
    w->undisturbed[w->count] = undisturbed;
    w->quiet += undisturbed;
    w->seen++;
    w->count += kept;
    return w->of[kept ? w->count - 1 : w->count];
}

/* The median of one of the four, over undisturbed windows if there are enough of them. */
static double typical(const windows *w, int which) {
    double values[MOST_WINDOWS];
    int    i, count = 0;
    for (i = 0; i < w->count; i++)
        if (w->undisturbed[i] || w->quiet < QUIET_LEAST) values[count++] = w->of[i][which];
    return median(values, count);
}

typedef struct timing {
    double seconds, wall;       /* as in figure */
    int    interrupted;
} timing;

/* One call, on average over at least `window` seconds. */
static timing time_calls(work call, void *context, double window, int threads) {
    const long   before = interruptions();
    const double own = thread_seconds(), began = now();
    long         calls = 0;
    timing       t;
    do {
        call(context);
        calls++;
        t.wall = now() - began;
    } while (t.wall < window);
    t.seconds = (threads == 1 ? thread_seconds() - own : t.wall) / (double)calls;
    t.wall /= (double)calls;
    t.interrupted = interruptions() > before;
    return t;
}

/* Windows of call(context), each between two of peak. */
static figure measure(settings *s, work call, void *context, double flops, const vae_model *model, int threads) {
    const double began = now();
    windows      w;
    figure       f;
    memset(&w, 0, sizeof w);
    call(context);
    while (w.seen < ALTERNATIONS || (w.quiet < QUIET_ENOUGH && now() - began < s->patience)) {
        int          still = 1;
        const double before = look_around(s, model, threads, &still);
        const timing t = time_calls(call, context, s->window, threads);
        const double after = look_around(s, model, threads, &still);
        double      *at = add_window(&w, still && !t.interrupted);
        at[0] = t.seconds;
        at[1] = flops * 1e-9 / t.seconds / ((before + after) / 2);
        at[2] = t.wall;
    }
    f.seconds = typical(&w, 0);
    f.share = typical(&w, 1);
    f.wall = typical(&w, 2);
    f.quiet = (double)w.quiet / w.seen;
    return f;
}

static int wanted(const settings *s, const char *name) { return !s->only || strstr(name, s->only); }

/* The exit status: 1 where --only left nothing. */
static int ended(const settings *s) {
    if (s->lines) return 0;
    fprintf(stderr, "bench: no case has \"%s\" in its name\n", s->only);
    return 1;
}

static void report(settings *s, const char *name, size_t batch, int threads, double per_call, double flops, figure f,
                   size_t bytes, int micro) {
    char unit[96];
    if (micro) snprintf(unit, sizeof unit, "microseconds=%.1f wall_microseconds=%.1f", f.seconds * 1e6, f.wall * 1e6);
    else snprintf(unit, sizeof unit, "images_per_second=%.0f wall_images_per_second=%.0f", per_call / f.seconds,
                  per_call / f.wall);
    printf("bench: %s batch=%lu threads=%d %s gflops=%.1f peak_percent=%.1f", name, (unsigned long)batch, threads, unit,
           flops * 1e-9 / f.seconds, 100 * f.share);
    if (bytes) printf(" workspace_bytes=%lu", (unsigned long)bytes);
    printf(" quiet_percent=%.0f\n", 100 * f.quiet);
    fflush(stdout);
    if (s->json)
        fprintf(s->json, "%s  {\"name\": \"%s\", \"batch\": %lu, \"threads\": %d, \"seconds\": %.9g, "
                "\"wall_seconds\": %.9g, "
                "\"images_per_second\": %.9g, \"gflops\": %.6g, \"peak_percent\": %.4g, \"workspace_bytes\": %lu, "
                "\"quiet_percent\": %.3g}",
                s->lines ? ",\n" : "", name, (unsigned long)batch, threads, f.seconds, f.wall, per_call / f.seconds,
                flops * 1e-9 / f.seconds, 100 * f.share, (unsigned long)bytes, 100 * f.quiet);
    s->lines++;
}

typedef struct training {
    vae_model     *model;
    unsigned char *pixels;
    size_t         batch, turn;
} training;

static void train(void *context) {
    training *t = (training *)context;
    vae_data  data;
    vae_error error;
    memset(&data, 0, sizeof data);
    data.bytes = t->pixels + t->turn++ % 8 * t->batch * vae_example_size(t->model);
    data.count = t->batch;
    if (vae_train_step(t->model, &data, NULL, &error) != VAE_OK) {
        fprintf(stderr, "bench: %s\n", error.message);
        exit(1);
    }
}

static size_t workspace_bytes(const vae_model *model) {
    return model->bytes - 4 * model->plan.parameter_count * sizeof(vae_real);
}

static void train_case(settings *s, const network *net, const char *name, int threads) {
    training t;
    figure   f;
    double   flops;
    if (!wanted(s, name)) return;
    t.model = make(s, net, net->batch, threads);
    t.pixels = digits_like(8 * net->batch * vae_example_size(t.model));
    t.batch = net->batch;
    t.turn = 0;
    flops = training_flops(t.model) * (double)net->batch;
    f = measure(s, train, &t, flops, t.model, threads);
    report(s, name, net->batch, threads, (double)net->batch, flops, f, workspace_bytes(t.model), 0);
    vae_destroy(t.model);
    free(t.pixels);
}

typedef struct inference {
    vae_model     *model;
    vae_real      *z, *pixels;
    vae_data       data;
    size_t         count, samples;
} inference;

static void decode(void *context) {
    inference *i = (inference *)context;
    vae_decode(i->model, &(vae_latents){ .z = i->z, .count = i->count }, i->pixels, NULL);
}
static void encode(void *context) {
    inference *i = (inference *)context;
    vae_encode(i->model, &i->data, i->z, NULL, NULL);
}
static void sample(void *context) {
    inference *i = (inference *)context;
    vae_sample(i->model, i->count, i->pixels, NULL);
}
static void elbo(void *context) {
    inference *i = (inference *)context;
    vae_terms  terms;
    vae_elbo(i->model, &i->data, &terms, NULL, NULL);
}
static void likelihood(void *context) {
    inference *i = (inference *)context;
    double     mean;
    vae_log_likelihood(i->model, &i->data, i->samples, &mean, NULL, NULL);
}

static void inference_case(settings *s, const char *name, const network *net, size_t count, int threads, work call,
                           size_t samples) {
    inference      i;
    figure         f;
    double         encoder, decoder, flops;
    unsigned char *bytes;
    if (!wanted(s, name)) return;
    memset(&i, 0, sizeof i);
    i.model = make(s, net, count < 1024 ? count : 1024, threads);
    i.count = count;
    i.samples = samples;
    i.z = (vae_real *)calloc(count * (size_t)net->latent, sizeof(vae_real));
    i.pixels = (vae_real *)calloc(count * vae_example_size(i.model), sizeof(vae_real));
    bytes = digits_like(count * vae_example_size(i.model));
    if (!i.z || !i.pixels) exit(1);
    vae_sample_latent(i.model, count, i.z, NULL);
    i.data.bytes = bytes;
    i.data.count = count;
    encoder = 2 * multiply_adds(i.model, 0, i.model->plan.heads + 1);
    decoder = 2 * multiply_adds(i.model, i.model->plan.heads + 1, i.model->plan.layer_count);
    flops = call == encode ? encoder : call == decode || call == sample ? decoder
            : call == elbo ? encoder + decoder : encoder + (double)samples * decoder;
    flops *= (double)count;
    f = measure(s, call, &i, flops, i.model, threads);
    report(s, name, count, threads, (double)count, flops, f, i.model->bytes, call == decode || call == encode);
    vae_destroy(i.model);
    free(i.z);
    free(i.pixels);
    free(bytes);
}

/* ---- matrix products of the training shapes ---- */

static void product_line(settings *s, size_t rows, size_t columns, size_t inner, int form) {
    static const char *const forms[] = { "forward", "input-gradient", "weight-gradient" };
    const double flops = 2.0 * (double)rows * (double)columns * (double)inner;
    product_case p;
    char         name[96];
    figure       f;
    snprintf(name, sizeof name, "product-%s-%lux%lux%lu", forms[form], (unsigned long)rows, (unsigned long)columns,
             (unsigned long)inner);
    if (!wanted(s, name)) return;
    p = make_product(s->kernels, rows, columns, inner, form);
    f = measure(s, multiply, &p, flops, NULL, 1);
    report(s, name, rows, 1, 1, flops, f, 0, 1);
}

static void products(settings *s) {
    product_line(s, 128, 400, 784, 0);
    product_line(s, 128, 784, 400, 0);
    product_line(s, 128, 400, 784, 1);
    product_line(s, 784, 400, 128, 2);
    product_line(s, 400, 784, 128, 2);
    product_line(s, 128, 40, 400, 0);
    product_line(s, 128, 400, 20, 0);
    product_line(s, 128, 512, 784, 0);
    product_line(s, 20, 200, 784, 0);
    product_line(s, 1, 784, 512, 0);
    product_line(s, 1024, 1024, 1024, 0);
}

/* ---- growth: one thing doubles, the rest stays ---- */

static void growth(settings *s) {
    network net;
    char    name[96];
    int     size;
    if (!s->only)
        printf("\ngrowth: one thing doubles at a time; a constant share of peak means cost in proportion to work\n");
    for (size = 100; size <= 1600; size *= 2) {
        net = networks[0];
        net.encoder[0].shape.channels = size;
        snprintf(name, sizeof name, "growth-width-%d", size);
        train_case(s, &net, name, 1);
    }
    for (size = 1; size <= 4; size *= 2) {
        int i;
        net = networks[0];
        for (i = 0; i < size; i++) net.encoder[i] = networks[0].encoder[0];
        snprintf(name, sizeof name, "growth-depth-%d", size);
        train_case(s, &net, name, 1);
    }
    for (size = 16; size <= 512; size *= 2) {
        net = networks[0];
        net.batch = (size_t)size;
        snprintf(name, sizeof name, "growth-batch-%d", size);
        train_case(s, &net, name, 1);
    }
    for (size = 16; size <= 64; size *= 2) {
        net = networks[5];
        net.batch = 16;
        net.input.height = net.input.width = size;
        snprintf(name, sizeof name, "growth-image-%d", size);
        train_case(s, &net, name, 1);
    }
}

/* ---- PyTorch beside us ---- */

typedef struct peer {
    FILE *to, *from;
    pid_t process;
} peer;

/* Debian's torch belongs to the system's Python, which need not be the first on the path. */
static const char find_torch[] =
    "for python in /usr/bin/python3 python3; do"
    " \"$python\" -c 'import sys, importlib.util as u; sys.exit(not u.find_spec(\"torch\"))' 2>/dev/null && break; "
    "done;"
    " exec \"$python\" tests/bench_peers.py \"$@\"";

static int peer_start(peer *p, vae_kernels kernels, char *line, int size) {
    const char *instructions = kernels == VAE_KERNELS_AVX2 ? "--avx2" : NULL;       /* NULL ends the arguments */
    int         in[2], out[2];
    if (pipe(in) || pipe(out)) return 0;
    p->process = fork();
    if (p->process < 0) return 0;
    if (!p->process) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execl("/bin/sh", "sh", "-c", find_torch, "sh", instructions, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    p->to = fdopen(in[1], "w");
    p->from = fdopen(out[0], "r");
    if (!p->to || !p->from || !fgets(line, size, p->from)) {
        snprintf(line, (size_t)size, "peer: unavailable python3 could not be started\n");
        return 0;
    }
    return !strncmp(line, "peer: ready", 11);
}

/* Seconds of one step of the peer, or 0: as ours, the processor's for one thread. */
static double peer_run(peer *p, const char *name, int threads, double seconds) {
    char        line[512];
    const char *found;
    fprintf(p->to, "run %s threads=%d seconds=%.2f\n", name, threads, seconds);
    fflush(p->to);
    if (!fgets(line, sizeof line, p->from)) return 0;
    found = strstr(line, threads == 1 ? " cpu_microseconds=" : " microseconds=");
    if (!found) { printf("%s", line); return 0; }
    return strtod(strchr(found, '=') + 1, NULL) * 1e-6;
}

static void peer_line(settings *s, peer *p, const char *name, const char *peer_name, work call, void *context,
                      size_t batch, double flops, const vae_model *model, int threads) {
    const int    all = s->cores;
    const double first = now();
    windows      w;
    memset(&w, 0, sizeof w);
    peer_run(p, peer_name, 1, 0.1);
    if (all > 1) peer_run(p, peer_name, all, 0.1);
    while (w.seen < QUIET_LEAST || (w.quiet < QUIET_LEAST && now() - first < 10 * s->peer_window + 5 * s->patience)) {
        int          still = 1;
        const double before = look_around(s, model, threads, &still);
        const timing t = time_calls(call, context, s->peer_window, threads);
        const double after = look_around(s, model, threads, &still), ours = t.seconds;
        double       theirs, other, *at;
        theirs = peer_run(p, peer_name, threads, s->peer_window);
        /* With several threads the peer may be faster on one: each as it does best. */
        if (threads > 1 && (other = peer_run(p, peer_name, 1, s->peer_window)) > 0 && other < theirs) theirs = other;
        if (theirs <= 0) return;
        look_around(s, model, threads, &still);
        at = add_window(&w, still && !t.interrupted);
        at[0] = ours;
        at[1] = theirs;
        at[2] = theirs / ours;
        at[3] = flops * 1e-9 / ours / ((before + after) / 2);
    }
    printf("peers: %s batch=%lu threads=%d ours_microseconds=%.1f torch_microseconds=%.1f ratio=%.2f peak_percent=%.1f "
           "quiet_percent=%d\n", name, (unsigned long)batch, threads, typical(&w, 0) * 1e6, typical(&w, 1) * 1e6,
           typical(&w, 2), 100 * typical(&w, 3), 100 * w.quiet / w.seen);
    fflush(stdout);
    s->lines++;
}

static int peers(settings *s) {
    static const size_t decoded[] = { 1, 64, 1024 };
    peer   p;
    char   line[512];
    int    n, threads;
    memset(&p, 0, sizeof p);
    if (!peer_start(&p, s->kernels, line, (int)sizeof line)) {
        printf("bench-peers: skipped: %s", line);
        return 0;
    }
    printf("%s", line);
    for (n = 0; n < NETWORKS; n++)
        for (threads = 1; threads <= s->cores; threads += s->cores > 1 ? s->cores - 1 : 1) {
            training t;
            if (!wanted(s, networks[n].name)) continue;
            t.model = make(s, &networks[n], networks[n].batch, threads);
            t.pixels = digits_like(8 * networks[n].batch * vae_example_size(t.model));
            t.batch = networks[n].batch;
            t.turn = 0;
            peer_line(s, &p, networks[n].name, networks[n].peer, train, &t, t.batch,
                      training_flops(t.model) * (double)t.batch, t.model, threads);
            vae_destroy(t.model);
            free(t.pixels);
        }
    for (n = 0; n < 3 && wanted(s, "decode-dense"); n++) {
        inference i;
        char      name[32];
        memset(&i, 0, sizeof i);
        i.count = decoded[n];
        i.model = make(s, &networks[DECODER], i.count, 1);
        i.z = (vae_real *)calloc(i.count * 32, sizeof(vae_real));
        i.pixels = (vae_real *)calloc(i.count * 784, sizeof(vae_real));
        if (!i.z || !i.pixels) return 1;
        vae_sample_latent(i.model, i.count, i.z, NULL);
        snprintf(name, sizeof name, "decode-%lu", (unsigned long)i.count);
        peer_line(s, &p, "decode-dense", name, decode, &i, i.count,
                  2.0 * multiply_adds(i.model, i.model->plan.heads + 1, i.model->plan.layer_count) * (double)i.count,
                  i.model, 1);
        vae_destroy(i.model);
        free(i.z);
        free(i.pixels);
    }
    fprintf(p.to, "quit\n");
    fclose(p.to);
    fclose(p.from);
    waitpid(p.process, NULL, 0);
    return ended(s);
}

/* ---- the whole ---- */

static void inferences(settings *s) {
    static const size_t counts[] = { 1, 64, 1024 };
    int                 i, threads;
    for (threads = 1; threads <= s->cores; threads += s->cores > 1 ? s->cores - 1 : 1) {
        for (i = 0; i < 3; i++) {
            inference_case(s, "decode-dense", &networks[DECODER], counts[i], threads, decode, 0);
            if (s->quick) continue;
            inference_case(s, "encode-dense", &networks[DECODER], counts[i], threads, encode, 0);
            inference_case(s, "decode-conv", &networks[CONV], counts[i], threads, decode, 0);
            inference_case(s, "encode-conv", &networks[CONV], counts[i], threads, encode, 0);
        }
        if (s->quick) continue;
        inference_case(s, "sample-dense", &networks[0], 1024, threads, sample, 0);
        inference_case(s, "elbo-dense", &networks[0], 1024, threads, elbo, 0);
        inference_case(s, "log-likelihood-100-dense", &networks[0], 128, threads, likelihood, 100);
    }
}

static int usage(void) {
    fprintf(stderr, "usage: bench [--quick] [--peers] [--limits] [--json FILE] "
                    "[--kernels plain|portable|avx2|avx512|neon] "
                    "[--threads N] [--only TEXT] [--patience SECONDS]\n");
    return 2;
}

int main(int argc, char **argv) {
    settings s;
    double   peaks[ALTERNATIONS], copies;
    int      i, threads, still;
    memset(&s, 0, sizeof s);
    s.window = 0.004;
    s.peer_window = 1;
    s.patience = 1.2;
    s.cores = vaei_core_count();
    for (i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick")) s.quick = 1;
        else if (!strcmp(argv[i], "--peers")) s.peers = 1;
        else if (!strcmp(argv[i], "--limits")) s.limits = 1;
        else if (!strcmp(argv[i], "--only") && i + 1 < argc) s.only = argv[++i];
        else if (!strcmp(argv[i], "--json") && i + 1 < argc) {
            s.json = fopen(argv[++i], "w");
            if (!s.json) { perror(argv[i]); return 1; }
        } else if (!strcmp(argv[i], "--patience") && i + 1 < argc) s.patience = strtod(argv[++i], NULL);
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc) {
            s.cores = atoi(argv[++i]);
            if (s.cores < 1 || s.cores > 64) return usage();
        } else if (!strcmp(argv[i], "--kernels") && i + 1 < argc) {
            const char *name = argv[++i];
            int         k;
            for (k = VAE_KERNELS_PLAIN; k <= VAE_KERNELS_NEON; k++)
                if (!strcmp(name, vae_kernels_name((vae_kernels)k))) s.kernels = (vae_kernels)k;
            if (s.kernels == VAE_KERNELS_BEST || !vae_kernels_available(s.kernels)) {
                fprintf(stderr, "bench: kernels %s are not available here\n", name);
                return 1;
            }
        } else return usage();
    }
    choose_peak_width(s.kernels);
    s.probes = (product_case *)malloc((size_t)s.cores * sizeof *s.probes);
    if (!s.probes) return 1;
    for (i = 0; i < s.cores; i++) s.probes[i] = make_product(s.kernels, 24, 32, 64, 0);
    for (i = 0; i < ALTERNATIONS; i++) peaks[i] = peak();
    for (i = 0; i < 300; i++) look_around(&s, NULL, 1, &still);        /* 0.1 s, for the best that this run sees */
    copies = bandwidth();
    printf("machine: cores=%d peak_gflops_per_core=%.1f copy_gigabytes_per_second=%.1f kernels=%s\n", s.cores,
           median(peaks, ALTERNATIONS), copies,
           vae_kernels_name(s.kernels == VAE_KERNELS_BEST ? vaei_best_kernels() : s.kernels));
    if (s.limits) return !(copies > 0.1 && copies < 5000 && median(peaks, ALTERNATIONS) > 0.01);
    if (s.peers) return peers(&s);
    if (s.json) fprintf(s.json, "[\n");
    for (i = 0; i < NETWORKS; i++)
        for (threads = 1; threads <= s.cores; threads += s.cores > 1 ? s.cores - 1 : 1)
            train_case(&s, &networks[i], networks[i].name, threads);
    if (!s.quick) products(&s);
    inferences(&s);
    if (!s.quick) growth(&s);
    if (s.json) {
        fprintf(s.json, "\n]\n");
        fclose(s.json);
    }
    return ended(&s);
}
