/* Tests of the vector math. It takes a few seconds; `build/test_math exhaustive` tries every float of each function's
   domain instead of one in 61 (minutes), and prints the table of errors that stands in vae.h's section vector-math. */
#define VAE_PLAIN
#define VAEI_KERNEL_TESTS "tests/math_probe.h"
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "test.h"
#include <math.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>

/* Adam's constants for update number `t`, from 1, and an update with them. */
static vaei_update_step adam_step(double rate, double beta1, double beta2, double epsilon, uint64_t t) {
    vae_optimizer    settings;
    vaei_update_step made;
    memset(&settings, 0, sizeof settings);
    settings.beta1 = (vae_real)beta1;
    settings.beta2 = (vae_real)beta2;
    settings.epsilon = (vae_real)epsilon;
    settings.weight_decay = VAE_ZERO;
    vaei_begin_adam(&made, &settings, rate, t - 1);
    return made;
}

static void adam(const vaei_kernel_set *set, const vaei_update_step *step, size_t rows, size_t n, vae_real *p,
                 const vae_real *factors, const vae_real *g, vae_real *m, vae_real *v) {
    vaei_update_rows(set->adam, set, step, rows, n, p, factors, g, m, v);
}

/* ---- every kernel set that this machine can run ---- */

typedef void (*math_map)(size_t, const vae_real *, vae_real *);
typedef struct math_set {
    const char            *name;
    int                    fused;
    const vaei_kernel_set *kernels;
    math_map               exp, exp_negative, log1p, expm1, expm1_minus, sqrt, log;
} math_set;
#ifdef VAE_DOUBLE
#define MATH_LOG(s) NULL
#else
#define MATH_LOG(s) probe_log_##s
#endif
/* `math` is the set whose functions of one vector it uses. */
#define MATH_SET(s, math, fused) { #s, fused, &vaei_kernel_set_##s, probe_exp_##math, probe_exp_negative_##math, \
    probe_log1p_##math, probe_expm1_##math, probe_expm1_minus_##math, probe_sqrt_##s, MATH_LOG(math) }
static const math_set math_all_sets[] = {
    MATH_SET(plain, plain, 0),
#ifndef VAE_DOUBLE
#ifdef VAEI_HAS_VECTOR
    MATH_SET(vector, vector, 0),
#endif
#if defined(VAEI_HAS_X86)
    MATH_SET(avx2, avx2, 1),
    MATH_SET(avx512, avx2, 1),
#elif defined(VAEI_HAS_NEON)
    MATH_SET(neon, neon, 1),
#endif
#endif
};
/* The sets of this processor come first in the table, so that a count is enough. */
static int math_set_count(void) {
#ifdef VAEI_HAS_X86
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 2;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") ||
        !__builtin_cpu_supports("avx512dq")) return 3;
#endif
    return (int)(sizeof math_all_sets / sizeof *math_all_sets);
}

#undef CHECK        /* here with a sentence */
#define CHECK(condition, ...) \
    do { if (!(condition) && test_failure(__FILE__, __LINE__)) { printf(__VA_ARGS__); putchar('\n'); } } while (0)

/* By the bits: the tests run under -Ofast, too. */
static int is_nan(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & ~((uint64_t)1 << 63)) > (uint64_t)0x7FF << 52;
}

static uint64_t random_state = 88172645463325252u;
static uint32_t random_word(void) {         /* xorshift64*, the tests' own */
    random_state ^= random_state >> 12; random_state ^= random_state << 25; random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 2685821657736338717u) >> 32);
}
static double random_between(double low, double high) { return low + (high - low) * (random_word() / 4294967296.0); }
static double random_normal(void) {
    double sum = -6;
    int i;
    for (i = 0; i < 12; i++) sum += random_word() / 4294967296.0;
    return sum;
}
static void test_philox(void) {
    /* Random123 1.09, tests/kat_vectors: philox4x32 10 */
    static const uint32_t known[3][10] = {
        { 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
        { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6,
          0x6d5451fd },
        { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
          0x24126ea1 } };
    uint32_t words[4];
    int t, wrong = 0;
    for (t = 0; t < 3; t++) {
        memcpy(words, known[t], sizeof words);
        vaei_philox(known[t] + 4, words);
        wrong += memcmp(words, known[t] + 6, sizeof words) != 0;
    }
    CHECK(wrong == 0, "Philox: %d blocks wrong", wrong);
}

#ifndef VAE_DOUBLE

static vae_real *reals(size_t n) {          /* exactly n, so that a sanitizer sees the ends */
    vae_real *block = (vae_real *)malloc(n ? n * sizeof *block : 1);
    if (!block) exit(2);
    return block;
}

static uint32_t bits_of(float x) { uint32_t b; memcpy(&b, &x, sizeof b); return b; }
/* Volatile: under -Ofast a compiler may take -0 for 0. */
static float float_of(uint32_t b) { volatile uint32_t kept = b; float x; b = kept; memcpy(&x, &b, sizeof x); return x; }
static double infinity_of(int sign) { return (double)float_of(sign > 0 ? 0x7F800000 : 0xFF800000); }
static int is_infinite(float x) { return bits_of(x) == 0x7F800000; }

/* ---- accuracy ---- */

static double reference_sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static double reference_softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
static double reference_silu(double x) { return x * reference_sigmoid(x); }
static double reference_silu_derivative(double x) { return reference_sigmoid(x) * (1 + x * reference_sigmoid(-x)); }
static double reference_gelu(double x) { return x * 0.5 * erfc(-x * 0.70710678118654752440); }
static double reference_gelu_derivative(double x) {
    return 0.5 * erfc(-x * 0.70710678118654752440) + x * exp(-x * x / 2) * 0.39894228040143267794;
}
static double reference_expm1_minus(double x) {
    double term = x * x / 2, sum = 0;
    int k;
    if (fabs(x) > 0.5) return expm1(x) - x;
    for (k = 3; k < 20; k++) { sum += term; term *= x / k; }
    return sum;
}
static double reference_softplus_from_output(double y) { return -expm1(-y); }

enum { BY_MAP, BY_ACTIVATE, BY_BACKWARD };
typedef struct accuracy {
    const char *name;
    double (*reference)(double);
    int how, which;                 /* BY_MAP: index of the map in math_set; else the activation */
    double low, high;               /* domain */
    int absolute;                   /* limits in absolute terms instead of ulp */
    double limit_fused, limit_portable;
} accuracy;

static math_map map_of(const math_set *set, int which) {
    switch (which) {
    case 0: return set->exp;
    case 1: return set->exp_negative;
    case 2: return set->log;
    case 3: return set->log1p;
    case 4: return set->expm1;
    case 5: return set->expm1_minus;
    default: return set->sqrt;
    }
}

static const accuracy accuracies[] = {
    { "exp",                  exp,                            BY_MAP, 0, -86.9, 88.72283, 0, 1.1, 1.5 },
    { "exp of x <= 0",        exp,                            BY_MAP, 1, -86.9, 0, 0, 1.1, 1.5 },
    { "log",                  log,                            BY_MAP, 2, 1.17549435e-38, 3.4e38, 0, 2, 2 },
    { "log1p on [0, 1]",      log1p,                          BY_MAP, 3, 1.17549435e-38, 1, 0, 2, 2.5 },
    { "expm1",                expm1,                          BY_MAP, 4, -87, 88.7, 0, 3, 3 },
    { "expm1(x) - x",         reference_expm1_minus,          BY_MAP, 5, -30, 30, 0, 6, 6 },
    { "sqrt",                 sqrt,                           BY_MAP, 6, 0, 3.4e38, 0, 0.5, 0.5 },
    { "tanh",                 tanh,                           BY_ACTIVATE, VAE_TANH, -3.4e38, 3.4e38, 0, 3, 3 },
    { "sigmoid",              reference_sigmoid,              BY_ACTIVATE, VAE_SIGMOID, -86.9, 3.4e38, 0, 3.5, 4 },
    { "softplus",             reference_softplus,             BY_ACTIVATE, VAE_SOFTPLUS, -86.9, 3.4e38, 0, 3, 4 },
    { "softplus'",            reference_softplus_from_output, BY_BACKWARD, VAE_SOFTPLUS, 1.17549435e-38, 3.4e38, 0, 3,
      3 },
    { "SiLU",                 reference_silu,                 BY_ACTIVATE, VAE_SILU, -86.9, 3.4e38, 0, 4, 4.5 },
    { "SiLU', absolute",      reference_silu_derivative,      BY_BACKWARD, VAE_SILU, -3.4e38, 3.4e38, 1, 3e-7, 3e-7 },
    { "GELU, x >= -1",        reference_gelu,                 BY_ACTIVATE, VAE_GELU, -1, 3.4e38, 0, 5, 6 },
    { "GELU, x < -1",         reference_gelu,                 BY_ACTIVATE, VAE_GELU, -12.9, -1, 0, 16, 16 },
    { "GELU', absolute",      reference_gelu_derivative,      BY_BACKWARD, VAE_GELU, -3.4e38, 3.4e38, 1, 3e-7, 3e-7 }
};

#define CHUNK 1024
static void apply(const math_set *set, const accuracy *a, const float *x, float *y) {
    int i;
    if (a->how == BY_MAP) map_of(set, a->which)(CHUNK, x, y);
    else if (a->how == BY_ACTIVATE) vaei_activate(set->kernels, (vae_activation)a->which, CHUNK, x, y);
    else {
        for (i = 0; i < CHUNK; i++) y[i] = 1;
        vaei_activate_backward(set->kernels, (vae_activation)a->which, CHUNK, x, y);
    }
}

static double error_of(double y, double reference, int absolute) {
    int exponent;
    if (y == reference) return 0;
    if (absolute) return fabs(y - reference);
    (void)frexp(reference, &exponent);
    if (exponent < -125) exponent = -125;
    return fabs(y - reference) / ldexp(1.0, exponent - 24);
}

/* The largest error of the sets `one` and `two` over the domain: every float, or one in 61. */
static void test_accuracy(const math_set *one, const math_set *two, int exhaustive) {
    const uint64_t step = (uint64_t)(61 * test_one_in()) | 1;
    size_t f;
    for (f = 0; f < sizeof accuracies / sizeof *accuracies; f++) {
        const accuracy *a = &accuracies[f];
        static float x[CHUNK], y[2][CHUNK];
        double worst[2] = { 0, 0 }, where[2] = { 0, 0 };
        uint64_t bits = 0;
        int count = 0, i, s;
        while (bits < 4294967296u || count > 0) {
            if (bits < 4294967296u) {
                const float candidate = float_of((uint32_t)bits);
                const int small = ((uint32_t)bits >> 23 & 255) < 127 - 30;      /* nothing happens below 2^-30 */
                bits += small ? 6101 : exhaustive ? 1 : step;
                if (!((double)candidate >= a->low && (double)candidate <= a->high)) continue;
                x[count++] = candidate;
                if (count < CHUNK) continue;
            } else while (count < CHUNK) { x[count] = x[count - 1]; count++; }
            apply(one, a, x, y[0]);
            apply(two, a, x, y[1]);
            for (i = 0; i < CHUNK; i++) {
                const double reference = a->reference((double)x[i]);
                if (fabs(reference) < 2e-38 && !a->absolute) continue;
                for (s = 0; s < 2; s++) {
                    const double error = error_of((double)y[s][i], reference, a->absolute);
                    if (!(error <= worst[s])) { worst[s] = error; where[s] = (double)x[i]; }
                }
            }
            count = 0;
        }
        printf("  %-18s %9.3g (at %-12.9g) %9.3g (at %-12.9g)\n", a->name, worst[0], where[0], worst[1], where[1]);
        CHECK(worst[0] <= (one->fused ? a->limit_fused : a->limit_portable), "%s: %s has error %g", one->name, a->name,
              worst[0]);
        CHECK(worst[1] <= a->limit_portable, "%s: %s has error %g", two->name, a->name, worst[1]);
    }
}

/* ---- special values ---- */

static float at(const math_set *set, vae_activation kind, double x) {
    float in = (float)x, out;
    vaei_activate(set->kernels, kind, 1, &in, &out);
    return out;
}
static float slope_at(const math_set *set, vae_activation kind, double saved) {
    float in = (float)saved, d = 1;
    vaei_activate_backward(set->kernels, kind, 1, &in, &d);
    return d;
}
static float mapped(math_map map, double x) {
    float in[16], out[16];
    int i;
    for (i = 0; i < 16; i++) in[i] = (float)x;
    map(16, in, out);
    return out[3];
}

static void test_special_values(const math_set *set) {
    const double inf = infinity_of(1), nan = (double)float_of(0x7FC00000), denormal = (double)float_of(12345);
    int kind;
    CHECK(mapped(set->exp, 0) == 1 && mapped(set->exp, -0.0) == 1 && mapped(set->exp, denormal) == 1,
          "%s exp 0", set->name);
    CHECK(is_infinite(mapped(set->exp, inf)) && mapped(set->exp, -inf) == 0 && mapped(set->exp, -1e30) == 0 &&
          is_infinite(mapped(set->exp, 1e30)), "%s exp at infinity", set->name);
    CHECK(!is_infinite(mapped(set->exp, (double)float_of(0x42B17217))) &&
          is_infinite(mapped(set->exp, (double)float_of(0x42B17218))),
          "%s exp at its largest", set->name);
    CHECK(mapped(set->log, 1) == 0, "%s log 1", set->name);
    CHECK(is_nan((double)mapped(set->exp, nan)) && is_nan((double)mapped(set->exp_negative, nan)) &&
          is_nan((double)mapped(set->expm1, nan)) && is_nan((double)mapped(set->expm1_minus, nan)),
          "%s NaN", set->name);
    for (kind = VAE_LINEAR; kind <= VAE_SOFTPLUS; kind++) {
        const vae_activation k = (vae_activation)kind;
        CHECK(is_nan((double)at(set, k, nan)), "%s activation %d of NaN", set->name, kind);
        CHECK(kind == VAE_TANH || kind == VAE_SIGMOID ? at(set, k, inf) == 1 : is_infinite(at(set, k, inf)),
              "%s activation %d of inf", set->name, kind);
        if (kind != VAE_LINEAR && kind != VAE_LEAKY_RELU)
            CHECK((double)at(set, k, -inf) == (kind == VAE_TANH ? -1 : 0), "%s activation %d of -inf", set->name, kind);
        if (kind != VAE_SIGMOID && kind != VAE_SOFTPLUS)
            CHECK(at(set, k, 0) == 0 && at(set, k, -0.0) == 0 && fabs((double)at(set, k, denormal)) <= denormal,
                  "%s activation %d near 0", set->name, kind);
    }
    CHECK(bits_of(at(set, VAE_TANH, (double)float_of(0x80000000))) == 0x80000000, "%s tanh -0", set->name);
    CHECK((double)at(set, VAE_SIGMOID, 0) == 0.5 && fabs((double)at(set, VAE_SOFTPLUS, 0) - 0.69314718) < 1e-7,
          "%s at 0", set->name);
    CHECK(slope_at(set, VAE_SILU, inf) == 1 && slope_at(set, VAE_SILU, -inf) == 0 &&
          (double)slope_at(set, VAE_SILU, 0) == 0.5, "%s SiLU'", set->name);
    CHECK(slope_at(set, VAE_GELU, inf) == 1 && slope_at(set, VAE_GELU, -inf) == 0 &&
          fabs((double)slope_at(set, VAE_GELU, 0) - 0.5) < 1e-7, "%s GELU'", set->name);
    CHECK(is_nan((double)slope_at(set, VAE_SILU, nan)) && is_nan((double)slope_at(set, VAE_GELU, nan)),
          "%s slope of NaN", set->name);
    CHECK(slope_at(set, VAE_RELU, 1) == 1 && slope_at(set, VAE_RELU, 0) == 0 && slope_at(set, VAE_LEAKY_RELU, 2) == 1 &&
          bits_of(slope_at(set, VAE_LEAKY_RELU, -2)) == bits_of(0.01f) && slope_at(set, VAE_LINEAR, 3) == 1,
          "%s ReLU'", set->name);
    CHECK((double)slope_at(set, VAE_TANH, 0.5) == 0.75 && (double)slope_at(set, VAE_SIGMOID, 0.25) == 0.1875,
          "%s tanh', sigmoid'", set->name);
    {   /* Bernoulli at saturation and for NaN */
        float l[4], x[4], d[4];
        double sum;
        l[0] = 200; x[0] = 1; l[1] = -200; x[1] = 0; l[2] = 200; x[2] = 0; l[3] = -200; x[3] = 1;
        sum = vaei_score_bernoulli(set->kernels, 4, l, x, NULL, 1, d);
        CHECK(sum == 400 && d[0] == 0 && d[1] == 0 && d[2] == 1 && d[3] == -1, "%s Bernoulli at saturation: %g",
              set->name, sum);
        l[1] = float_of(0x7FC00000);
        sum = vaei_score_bernoulli(set->kernels, 4, l, x, NULL, 1, d);
        CHECK(is_nan(sum) && is_nan((double)d[1]), "%s Bernoulli of NaN", set->name);
    }
    {   /* the bound on logvar and its gradient */
        float raw[7] = { -30, -20, 0, 10, 11, 0, 50 }, d[7] = { 1, -1, 5, 1, -1, -5, 1 };
        raw[5] = float_of(0x7FC00000);
        vaei_bound_logvar(7, raw, raw);
        CHECK(raw[0] == -20 && raw[1] == -20 && raw[2] == 0 && raw[3] == 10 && raw[4] == 10 && is_nan((double)raw[5]) &&
              raw[6] == 10, "%s bound", set->name);
        vaei_bound_logvar_backward(7, raw, d);
        CHECK(d[0] == 0 && d[1] == -1 && d[2] == 5 && d[3] == 1 && d[4] == 0 && d[6] == 1,
              "%s gradient at the bound", set->name);
    }
}

/* ---- square root ---- */

static void test_square_root(int exhaustive) {
    const uint64_t step = (uint64_t)(257 * test_one_in()) | 1;
    volatile float denormal = float_of(1);
    uint64_t       bits, wrong = 0;
    for (bits = 0; bits <= 0x7F800000u; bits += exhaustive ? 1 : step) {
        const float     x = float_of((uint32_t)bits);
        volatile double root = sqrt((double)x);         /* which -Ofast must not make a float's estimate of */
        if (bits_of(vaei_sqrt(x)) != bits_of((float)root) && (bits >= 0x800000 || (double)denormal > 0)) 
            wrong++;                            /* denormals only where the processor has not been told to flush them */
    }
    CHECK(wrong == 0, "%lu square roots differ", (unsigned long)wrong);
    CHECK(is_nan((double)vaei_sqrt(-1)) && bits_of(vaei_sqrt(float_of(0x80000000))) == 0x80000000,
          "square root below 0");
}

/* ---- every kernel at every length: no guard touched, the same bits in a tail as in a vector and in every set ---- */

enum { KERNELS = 31, MAX_N = 70, LONG_N = 1000 };
typedef struct workload { float *in[4]; unsigned char *bytes; } workload;
static const float unscaled = 1;        /* Adam's factor for gradients as they are */

/* Runs kernel k on the first n elements; out[0..2] are outputs of n elements. Returns its sum, 0 where it has none. */
static double run_kernel(const math_set *set, int k, size_t n, const workload *w, float *out[3], int *outputs) {
    vaei_update_step step;
    size_t i;
    *outputs = 1;
    if (k < 8) { vaei_activate(set->kernels, (vae_activation)k, n, w->in[0], out[0]); return 0; }
    if (k < 16) {
        for (i = 0; i < n; i++) out[0][i] = w->in[1][i];
        vaei_activate_backward(set->kernels, (vae_activation)(k - 8), n,
                               k == 8 + VAE_SIGMOID || k == 8 + VAE_SOFTPLUS ? w->in[2] : w->in[0], out[0]);
        return 0;
    }
    switch (k) {
    case 16: return vaei_score_bernoulli(set->kernels, n, w->in[0], w->in[2], NULL, 0.125f, out[0]);
    case 17: *outputs = 0; return vaei_score_bernoulli(set->kernels, n, w->in[0], w->in[2], NULL, 1, NULL);
    case 18: for (i = 0; i < n; i++) out[0][i] = w->in[0][i];               /* in place */
             return vaei_score_bernoulli(set->kernels, n, out[0], w->in[2], NULL, 0.125f, out[0]);
    case 19: return vaei_gaussian(set->kernels, n, w->in[0], w->in[2], 1.7f, 0.3f, out[0]);
    case 20: *outputs = 0; return vaei_gaussian(set->kernels, n, w->in[0], w->in[2], 1.7f, 1, NULL);
    case 21: *outputs = 0; return vaei_gaussian_kl(set->kernels, n, w->in[1], w->in[0]);
    case 22: vaei_reparameterize(set->kernels, n, w->in[1], w->in[0], w->in[2], out[0]); return 0;
    case 23:
        *outputs = 2;
        vaei_latent_backward(set->kernels, n, w->in[1], w->in[0], w->in[2], w->in[3], 0.01f, out[0], out[1]);
        return 0;
    case 24: vaei_bound_logvar(n, w->in[0], out[0]); return 0;
    case 25: for (i = 0; i < n; i++) out[0][i] = w->in[1][i];
             vaei_bound_logvar_backward(n, w->in[0], out[0]); return 0;
    case 26: *outputs = 3;
             for (i = 0; i < n; i++) { out[0][i] = w->in[0][i]; out[1][i] = w->in[1][i]; out[2][i] = w->in[2][i]; }
             step = adam_step(1e-3, 0.9, 0.999, 1e-8, 2);
             adam(set->kernels, &step, 1, n, out[0], &unscaled, w->in[3], out[1], out[2]); return 0;
    case 27: for (i = 0; i < n; i++) out[0][i] = w->in[1][i];
             set->kernels->add(n, out[0], w->in[0]); return 0;
    case 28: set->kernels->bytes_to_real(n, w->bytes, out[0]); return 0;
    case 29: vaei_random_elements(set->kernels, 1, 5, 3, 7, 11, 3, n, out[0]); return 0;
    default: vaei_random_elements(set->kernels, 0, 5, 3, 7, 11, 2, n, out[0]); return 0;
    }
}

static uint64_t hash_word(uint64_t hash, uint64_t word) { return (hash ^ word) * 1099511628211u ^ (hash >> 29); }
static uint64_t hash_sum(uint64_t hash, double sum) {
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    return hash_word(hash, bits);
}
static uint64_t hash_array(uint64_t hash, const float *x, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) hash = hash_word(hash, bits_of(x[i]));
    return hash;
}

static void make_workload(workload *w, size_t n) {
    size_t i, j;
    for (j = 0; j < 4; j++) w->in[j] = reals(n);
    w->bytes = (unsigned char *)malloc(n ? n : 1);
    for (i = 0; i < n; i++) {
        w->in[0][i] = (float)(random_normal() * (i % 7 == 0 ? 12 : i % 5 == 0 ? 0.01 : 2));
        w->in[1][i] = (float)random_normal();
        w->in[2][i] = (float)(i % 3 == 0 ? (double)(random_word() & 1) : random_between(0, 1));
        w->in[3][i] = (float)(random_normal() * 0.01);
        w->bytes[i] = (unsigned char)random_word();
    }
}
static void copy_workload(workload *to, const workload *from, size_t n) {
    size_t j;
    for (j = 0; j < 4; j++) { to->in[j] = reals(n); memcpy(to->in[j], from->in[j], n * sizeof(float)); }
    to->bytes = (unsigned char *)malloc(n ? n : 1);
    memcpy(to->bytes, from->bytes, n);
}
static void free_workload(workload *w) { size_t j; for (j = 0; j < 4; j++) free(w->in[j]); free(w->bytes); }

static uint64_t test_kernels(const math_set *set, const workload *whole) {
    uint64_t hash = 14695981039346656037u;
    float *full[3], *out[3];
    int k, o, outputs, full_outputs, wrong_tails = 0, guards = 0;
    size_t n, i;
    for (o = 0; o < 3; o++) full[o] = reals(LONG_N);
    for (k = 0; k < KERNELS; k++) {
        double sum = run_kernel(set, k, LONG_N, whole, full, &full_outputs);
        hash = hash_sum(hash, sum);
        for (o = 0; o < full_outputs; o++) hash = hash_array(hash, full[o], LONG_N);
        for (n = 0; n <= MAX_N; n++) {
            workload part;
            copy_workload(&part, whole, n);
            for (o = 0; o < 3; o++) {
                out[o] = reals(n + 32);
                for (i = 0; i < n + 32; i++) out[o][i] = float_of(0x7FABCDEF);
                out[o] += 16;
            }
            sum = run_kernel(set, k, n, &part, out, &outputs);
            hash = hash_sum(hash, sum);
            for (o = 0; o < outputs; o++)
                for (i = 0; i < n; i++) if (bits_of(out[o][i]) != bits_of(full[o][i])) wrong_tails++;
            for (o = 0; o < 3; o++) {
                out[o] -= 16;
                for (i = 0; i < 16; i++)
                    if (bits_of(out[o][i]) != 0x7FABCDEF || bits_of(out[o][n + 16 + i]) != 0x7FABCDEF) guards++;
                free(out[o]);
            }
            free_workload(&part);
        }
        CHECK(wrong_tails == 0 && guards == 0, "%s kernel %d: %d elements depend on the length, %d guards overwritten",
              set->name, k, wrong_tails, guards);
        wrong_tails = guards = 0;
    }
    for (o = 0; o < 3; o++) free(full[o]);
    return hash;
}

/* ---- sums against double ---- */

static void test_sums(const math_set *set) {
    static const size_t lengths[] = { 0, 1, 5, 16, 20, 100, 256, 257, 784, 1000, 3072, 100000 };
    size_t t, i;
    for (t = 0; t < sizeof lengths / sizeof *lengths; t++) {
        const size_t n = lengths[t];
        workload w;
        double bernoulli = 0, gaussian = 0, kl = 0;
        make_workload(&w, n);
        for (i = 0; i < n; i++) {
            const double l = (double)w.in[0][i], x = (double)w.in[2][i], m = (double)w.in[1][i];
            bernoulli += (l > 0 ? l : 0) - l * x + log1p(exp(-fabs(l)));
            gaussian += 0.5 * (l - x) * (l - x) * (double)1.7f;
            kl += 0.5 * (m * m + reference_expm1_minus(l));
        }
        CHECK(fabs(vaei_score_bernoulli(set->kernels, n, w.in[0], w.in[2], NULL, 1, NULL) - bernoulli) <=
                  3e-7 * bernoulli, "%s Bernoulli, n %d", set->name, (int)n);
        CHECK(fabs(vaei_gaussian(set->kernels, n, w.in[0], w.in[2], 1.7f, 1, NULL) - gaussian) <= 3e-7 * gaussian,
              "%s Gaussian, n %d", set->name, (int)n);
        CHECK(fabs(vaei_gaussian_kl(set->kernels, n, w.in[1], w.in[0]) - kl) <= 6e-7 * kl, "%s KL, n %d",
              set->name, (int)n);
        free_workload(&w);
    }
    {   /* KL near the prior: relative precision is kept */
        double scale;
        for (scale = 1; scale > 1e-9; scale *= 0.1) {
            float m = (float)(0.7 * scale), v = (float)(-0.9 * scale);
            const double exact = 0.5 * ((double)m * (double)m + reference_expm1_minus((double)v)),
                         got = vaei_gaussian_kl(set->kernels, 1, &m, &v);
            CHECK(fabs(got - exact) <= 4e-7 * exact, "%s KL at %g: %g for %g", set->name, scale, got, exact);
        }
    }
}

/* ---- gradients of the latent part, against double ---- */

static void test_latent(const math_set *set) {
    enum { N = 500 };
    workload w;
    float z[N], d_mean[N], d_logvar[N];
    double worst = 0;
    int i;
    make_workload(&w, N);
    vaei_reparameterize(set->kernels, N, w.in[1], w.in[0], w.in[2], z);
    vaei_latent_backward(set->kernels, N, w.in[1], w.in[0], w.in[2], w.in[3], 0.01f, d_mean, d_logvar);
    for (i = 0; i < N; i++) {
        const double m = (double)w.in[1][i], v = (double)w.in[0][i], e = (double)w.in[2][i], dz = (double)w.in[3][i];
        const double spread = exp(0.5 * v) * e, a = dz * spread * 0.5, b = (double)0.01f * 0.5 * expm1(v);
        double error = fabs((double)z[i] - (m + spread)) / (fabs(m) + fabs(spread));
        if (error > worst) worst = error;
        error = fabs((double)d_logvar[i] - (a + b)) / (fabs(a) + fabs(b) + 1e-30);
        if (error > worst) worst = error;
        error = fabs((double)d_mean[i] - (dz + (double)0.01f * m)) / (fabs(dz) + 0.01 * fabs(m));
        if (error > worst) worst = error;
    }
    CHECK(worst < 6e-7, "%s latent: error %g", set->name, worst);
    free_workload(&w);
}

/* ---- Adam ---- */

/* Rows whose gradients are multiples of an array's numbers: the bits of the products. */
static void test_adam_of_multiples(const math_set *set) {
    enum { ROWS = 3, MOST = 40 };
    float          g[MOST], product[ROWS * MOST], factors[ROWS], p[2][ROWS * MOST], m[2][ROWS * MOST],
                   v[2][ROWS * MOST];
    vaei_update_step step;
    size_t         n, i, r;
    int            t;
    for (n = 0; n <= MOST; n++) {
        const size_t bytes = ROWS * n * sizeof(float);
        memset(m, 0, sizeof m);
        memset(v, 0, sizeof v);
        for (i = 0; i < ROWS * n; i++) p[0][i] = p[1][i] = (float)random_normal();
        for (t = 1; t <= 5; t++) {
            for (i = 0; i < n; i++) g[i] = i % 7 == 3 ? 0 : (float)random_normal();
            for (r = 0; r < ROWS; r++) {
                factors[r] = t == 3 ? 0 : t == 4 ? 1e-20f : (float)random_normal();
                for (i = 0; i < n; i++) product[r * n + i] = factors[r] * g[i];
            }
            step = adam_step(1e-2, 0.9, 0.999, 1e-8, (uint64_t)t);
            adam(set->kernels, &step, ROWS, n, p[0], factors, g, m[0], v[0]);
            adam(set->kernels, &step, 1, ROWS * n, p[1], &unscaled, product, m[1], v[1]);
        }
        CHECK(!memcmp(p[0], p[1], bytes) && !memcmp(m[0], m[1], bytes) && !memcmp(v[0], v[1], bytes),
              "%s Adam of rows of %d multiples", set->name, (int)n);
    }
}

static void test_adam(const math_set *set) {
    const double beta1 = (double)0.9f, beta2 = (double)0.999f;
    double p = 0.5, m = 0, v = 0, b1 = 1, b2 = 1;
    float parameter = 0.5f, first = 0, second = 0, g;
    vaei_update_step step;
    int t, denormal = 0;
    for (t = 1; t <= 200; t++) {            /* against double */
        g = (float)random_normal();
        b1 *= beta1; b2 *= beta2;
        step = adam_step(1e-2, 0.9, 0.999, 1e-8, (uint64_t)t);
        adam(set->kernels, &step, 1, 1, &parameter, &unscaled, &g, &first, &second);
        m = beta1 * m + (1 - beta1) * (double)g;
        v = beta2 * v + (1 - beta2) * (double)g * (double)g;
        p -= 1e-2 / (1 - b1) * m / (sqrt(v / (1 - b2)) + 1e-8);
    }
    CHECK(fabs((double)parameter - p) < 4e-6 && fabs((double)first - m) < 1e-6 && fabs((double)second - v) < 1e-5 * v,
          "%s Adam: %.9g for %.9g, %g for %g, %g for %g", set->name, (double)parameter, p, (double)first, m,
          (double)second, v);
    CHECK(fabs(vaei_power(beta1, 200) - b1) < 1e-12 * b1 && fabs(vaei_power(beta2, 200) - b2) < 1e-12, "powers");
    g = 0;                                  /* no gradient any more: the moments end at 0, never denormal */
    step = adam_step(1e-2, 0.9, 0.999, 1e-8, 100000);
    for (t = 0; t < 100000; t++) {
        adam(set->kernels, &step, 1, 1, &parameter, &unscaled, &g, &first, &second);
        if ((first != 0 && fabs((double)first) < 1.2e-38) || (second != 0 && (double)second < 1.2e-38)) denormal++;
    }
    CHECK(denormal == 0 && first == 0 && second == 0, "%s Adam: %d denormal, at the end %g %g", set->name, denormal,
          (double)first, (double)second);
}

/* ---- arithmetic, data ---- */

static void test_column_sums(const math_set *set, uint64_t *hash) {
    static const size_t shapes[][2] = { { 0, 5 }, { 1, 1 }, { 3, 7 }, { 128, 400 }, { 257, 20 }, { 1000, 33 },
                                        { 5000, 1 } };
    size_t t, i, j;
    for (t = 0; t < sizeof shapes / sizeof *shapes; t++) {
        const size_t rows = shapes[t][0], columns = shapes[t][1], stride = columns + 3;
        float *d = reals(rows * stride), *out = reals(columns), *again = reals(columns);
        uint32_t *offsets = (uint32_t *)malloc((rows + 1) * sizeof *offsets);
        double worst = 0;
        int differ = 0;
        for (i = 0; i < rows * stride; i++) d[i] = (float)random_normal();
        for (i = 0; i < rows; i++) offsets[i] = (uint32_t)((rows - 1 - i) * stride);
        set->kernels->column_sums(rows, columns, d, stride, NULL, out, 0);
        *hash = hash_array(*hash, out, columns);
        for (j = 0; j < columns; j++) {
            double sum = 0, size = 0;
            for (i = 0; i < rows; i++) { sum += (double)d[i * stride + j]; size += fabs((double)d[i * stride + j]); }
            if (size > 0 && fabs((double)out[j] - sum) / size > worst) worst = fabs((double)out[j] - sum) / size;
        }
        CHECK(worst < 2e-7, "%s column sums: error %g", set->name, worst);
        for (j = 0; j < columns; j++) again[j] = 3;
        set->kernels->column_sums(rows, columns, d, 0, offsets, again, 1);           /* rows upside down, on top of 3 */
        *hash = hash_array(*hash, again, columns);
        for (j = 0; j < columns; j++)
            if (fabs((double)again[j] - 3 - (double)out[j]) > 1e-4 * (1 + fabs((double)out[j]))) differ++;
        CHECK(differ == 0, "%s column sums by table", set->name);
        free(d); free(out); free(again); free(offsets);
    }
}

static int all_within(const math_set *set, size_t n, const float *x, float most) {
    return set->kernels->check_range(n, x, -most, most) == n;
}

static void test_data(const math_set *set) {
    enum { N = 700 };
    static const uint32_t bad[] = { 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00001, 0x7F800001 };
    unsigned char bytes[256];
    float y[256], *x = reals(N);
    size_t i, j, wrong = 0;
    for (i = 0; i < 256; i++) bytes[i] = (unsigned char)i;
    set->kernels->bytes_to_real(256, bytes, y);
    for (i = 0; i < 256; i++) if (bits_of(y[i]) != bits_of((float)((double)i / 255.0))) wrong++;
    CHECK(wrong == 0, "%s bytes", set->name);
    for (i = 0; i < N; i++) x[i] = (float)random_between(0, 1);
    x[5] = 0; x[6] = float_of(0x80000000); x[7] = 1; x[8] = float_of(1);
    for (i = 0; i <= N; i++) if (!all_within(set, i, x, FLT_MAX) || set->kernels->check_range(i, x, 0, 1) != i) wrong++;
    CHECK(wrong == 0, "%s good data refused", set->name);
    for (i = 0; i < N; i++) {
        const float kept = x[i];
        for (j = 0; j < 5; j++) {
            x[i] = float_of(bad[j]);
            if (all_within(set, N, x, FLT_MAX) || all_within(set, i + 1, x, FLT_MAX) || !all_within(set, i, x, FLT_MAX))
                wrong++;
            if (set->kernels->check_range(N, x, 0, 1) != i || set->kernels->check_range(i, x, 0, 1) != i) wrong++;
        }
        x[i] = float_of(0x3F800001); if (set->kernels->check_range(N, x, 0, 1) != i) wrong++;
        if (all_within(set, N, x, 1) || !all_within(set, N, x, x[i])) wrong++;
        x[i] = float_of(0xBF800001); if (all_within(set, N, x, 1) || !all_within(set, N, x, -x[i])) wrong++;
        x[i] = -1e-30f; if (set->kernels->check_range(N, x, 0, 1) != i) wrong++;
        x[i] = FLT_MAX; if (!all_within(set, N, x, FLT_MAX) || set->kernels->check_range(N, x, 0, 1) != i) wrong++;
        x[i] = kept;
    }
    CHECK(wrong == 0, "%s bad data: %d wrong answers", set->name, (int)wrong);
    free(x);
}

/* ---- random numbers ---- */

/* A number depends on its place alone. */
static void test_places(const math_set *set) {
    static const size_t widths[] = { 1, 2, 3, 4, 5, 7, 16, 20, 50, 131 };
    float *block = reals(64 * 131), *row = reals(131);
    size_t t, i, j, wrong = 0;
    for (t = 0; t < sizeof widths / sizeof *widths; t++) {
        const size_t columns = widths[t];
        vaei_normal_rows(set->kernels, 99, 2, 5, 1000, 64, columns, block);
        for (i = 0; i < 64; i++) {
            const size_t first = (i * 3) % columns;
            vaei_random_elements(set->kernels, 1, 99, 2, 5, 1000 + i, first, columns - first, row);
            for (j = first; j < columns; j++) if (bits_of(row[j - first]) != bits_of(block[i * columns + j])) wrong++;
        }
    }
    vaei_normal_rows(set->kernels, 99, 2, 5, 1000, 64, 16, block);         /* and a part of the batch */
    vaei_normal_rows(set->kernels, 99, 2, 5, 1010, 7, 16, row);
    for (j = 0; j < 7 * 16; j++) if (bits_of(row[j]) != bits_of(block[160 + j])) wrong++;
    vaei_normal_rows(set->kernels, 99, 2, 5, 1000, 0, 16, row);
    vaei_normal_rows(set->kernels, 99, 2, 5, 1000, 16, 0, row);
    CHECK(wrong == 0, "%s: %d normals depend on more than their place", set->name, (int)wrong);
    free(block); free(row);
}

static int compare_floats(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Over N = 2^20 normals, statistics that true normals would keep within 4.9 standard errors with probability 1 - 1e-6
   each, and the Kolmogorov-Smirnov distance within 2.7/sqrt N (probability 1 - 1e-6). */
static void test_statistics(const math_set *set) {
    const int columns = 16, rows = 65536, count = columns * rows;
    const double error = 4.9 / sqrt((double)count);
    float *z = reals((size_t)count), *other = reals((size_t)count);
    double sum[5] = { 0, 0, 0, 0, 0 }, next = 0, next_squares = 0, below = 0, steps = 0, streams = 0, seeds = 0,
           distance = 0, largest = 0;
    double uniform_sum = 0, uniform_squares = 0;
    int i, k;
    vaei_normal_rows(set->kernels, 2024, 1, 1, 0, (size_t)rows, (size_t)columns, z);
    for (i = 0; i < count; i++) {
        double power = 1;
        for (k = 0; k < 5; k++) { sum[k] += power; power *= (double)z[i]; }
        if (fabs((double)z[i]) > largest) largest = fabs((double)z[i]);
        if (i + 1 < count) {
            next += (double)z[i] * (double)z[i + 1];
            next_squares += ((double)z[i] * (double)z[i] - 1) * ((double)z[i + 1] * (double)z[i + 1] - 1);
        }
        if (i + columns < count) below += (double)z[i] * (double)z[i + columns];
    }
    vaei_normal_rows(set->kernels, 2024, 1, 2, 0, (size_t)rows, (size_t)columns, other);
    for (i = 0; i < count; i++) steps += (double)z[i] * (double)other[i];
    vaei_normal_rows(set->kernels, 2024, 2, 1, 0, (size_t)rows, (size_t)columns, other);
    for (i = 0; i < count; i++) streams += (double)z[i] * (double)other[i];
    vaei_normal_rows(set->kernels, 2025, 1, 1, 0, (size_t)rows, (size_t)columns, other);
    for (i = 0; i < count; i++) seeds += (double)z[i] * (double)other[i];
    for (k = 1; k < 5; k++) sum[k] /= count;
    CHECK(fabs(sum[1]) < error, "mean %g", sum[1]);
    CHECK(fabs(sum[2] - 1) < error * sqrt(2.0), "variance %g", sum[2]);
    CHECK(fabs(sum[3]) < error * sqrt(15.0), "third moment %g", sum[3]);
    CHECK(fabs(sum[4] - 3) < error * sqrt(96.0), "fourth moment %g", sum[4]);
    CHECK(fabs(next / count) < error && fabs(below / count) < error && fabs(steps / count) < error &&
          fabs(streams / count) < error && fabs(seeds / count) < error,
          "correlations: elements %g rows %g steps %g streams %g seeds %g", next / count, below / count, steps / count,
          streams / count, seeds / count);
    CHECK(fabs(next_squares / count) < error * 2, "correlation of squares %g", next_squares / count);
    CHECK(largest > 4.5 && largest < 6.67, "largest %g", largest);
    qsort(z, (size_t)count, sizeof *z, compare_floats);
    for (i = 0; i < count; i++) {
        const double cumulative = 0.5 * erfc(-(double)z[i] * 0.70710678118654752440);
        const double above = fabs((i + 1.0) / count - cumulative), under = fabs(cumulative - (double)i / count);
        if (above > distance) distance = above;
        if (under > distance) distance = under;
    }
    CHECK(distance < 2.7 / sqrt((double)count), "Kolmogorov-Smirnov distance %g", distance * sqrt((double)count));
    vaei_random_elements(set->kernels, 0, 2024, 1, 1, 0, 0, (size_t)count, other);
    distance = 0;
    for (i = 0; i < count; i++) {
        if (!((double)other[i] >= 0 && (double)other[i] < 1)) distance = 9;
        uniform_sum += (double)other[i] - 0.5; uniform_squares += ((double)other[i] - 0.5) * ((double)other[i] - 0.5);
    }
    CHECK(distance == 0 && fabs(uniform_sum / count) < error * sqrt(1 / 12.0) &&
          fabs(uniform_squares / count - 1 / 12.0) < error * sqrt(1 / 180.0), "uniforms");
    printf("  %s normals, in standard errors: mean %.2f variance %.2f third %.2f fourth %.2f elements %.2f rows %.2f "
           "steps %.2f largest %.3f\n",
           set->name, sum[1] / error * 4.9, (sum[2] - 1) / error / sqrt(2.0) * 4.9, sum[3] / error / sqrt(15.0) * 4.9,
           (sum[4] - 3) / error / sqrt(96.0) * 4.9, next / count / error * 4.9, below / count / error * 4.9,
           steps / count / error * 4.9, largest);
    free(z); free(other);
}

/* No number repeats for 2^32 examples or steps. */
static void test_random_counters(const math_set *set) {
    const uint64_t far = (uint64_t)1 << 32;
    float a[4], b[4];
    vaei_random_elements(set->kernels, 0, 7, 1, 2, 3, 0, 4, a);
    vaei_random_elements(set->kernels, 0, 7, 1, 2, 3, 0, 4, b);
    CHECK(memcmp(a, b, sizeof a) == 0, "%s uniforms repeat", set->name);
    vaei_random_elements(set->kernels, 0, 7, 1, 2, far + 3, 0, 4, b);
    CHECK(memcmp(a, b, sizeof a) != 0, "%s examples above 2^32", set->name);
    vaei_random_elements(set->kernels, 0, 7, 1, far + 2, 3, 0, 4, b);
    CHECK(memcmp(a, b, sizeof a) != 0, "%s steps above 2^32", set->name);
    /* Which bits of the stream the upper halves change belongs to the numbers that a seed gives. */
    vaei_random_elements(set->kernels, 0, 7, 1, 5 * far + 2, 9 * far + 3, 0, 4, a);
    vaei_random_elements(set->kernels, 0, 7, 1 ^ 9u << 8 ^ 5u << 20, 2, 3, 0, 4, b);
    CHECK(memcmp(a, b, sizeof a) == 0, "%s examples and steps above 2^32 in their places", set->name);
}

#endif /* VAE_DOUBLE */

/* ---- double precision helpers ---- */

static void test_scalars(void) {
    double worst_exp = 0, worst_log = 0;
    const int one_in = test_one_in();
    int       i;
    for (i = 0; i < 200000; i++) {
        const double    x = random_between(-700, 700), exponent = random_between(-700, 700);
        volatile double y;
        double          error;
        if (i % one_in) continue;               /* drawn all the same: the bits of later tests are known */
        y = exp(exponent);                      /* not log(exp(..)) for -Ofast to simplify */
        error = fabs(vaei_scalar_exp(x) - exp(x)) / exp(x);
        if (error > worst_exp) worst_exp = error;
        error = fabs(vaei_scalar_log(y) - log(y)) / (fabs(log(y)) + 1e-300);
        if (error > worst_log) worst_log = error;
        error = fabs(vaei_scalar_log(1 + x * 1e-4) - log(1 + x * 1e-4)) / fabs(log(1 + x * 1e-4));
        if (error > worst_log) worst_log = error;
    }
    CHECK(worst_exp < 1e-15, "exp in double: %g", worst_exp);
    CHECK(worst_log < 1e-15, "log in double: %g", worst_log);
    CHECK(vaei_scalar_exp(0) == 1 && vaei_scalar_log(1) == 0 && vaei_scalar_exp(-1e9) == 0 &&
          vaei_scalar_log(0) < -1e308 &&
          vaei_scalar_exp(1e9) > 1e308 && is_nan((double)vaei_scalar_log(-1)) &&
          fabs(vaei_scalar_log(5e-324) - log(5e-324)) < 1e-12, "scalars at the ends");
}

#ifdef VAE_DOUBLE
/* Gradients by central differences, of the kernels in double. */
static void test_double(const math_set *set) {
    enum { N = 37 };
    vae_real x[N], y[N], z[N], d[N], e[N], f[N], g[N];
    const double h = 1e-5;
    double worst = 0;
    int i, kind;
    for (kind = VAE_LINEAR; kind <= VAE_SOFTPLUS; kind++) {
        for (i = 0; i < N; i++) { x[i] = random_normal() * 2; d[i] = 1; }
        vaei_activate(set->kernels, (vae_activation)kind, N, x, e);
        vaei_activate_backward(set->kernels, (vae_activation)kind, N,
                               vaei_activation_saves_input((vae_activation)kind) ? x : e, d);
        for (i = 0; i < N; i++) { y[i] = x[i] + h; z[i] = x[i] - h; }
        vaei_activate(set->kernels, (vae_activation)kind, N, y, y);
        vaei_activate(set->kernels, (vae_activation)kind, N, z, z);
        for (i = 0; i < N; i++)
            if (fabs(x[i]) > 1e-4 && fabs((y[i] - z[i]) / (2 * h) - d[i]) > worst)
                worst = fabs((y[i] - z[i]) / (2 * h) - d[i]);
        CHECK(worst < 1e-8, "activation %d: gradient off by %g", kind, worst);
    }
    for (i = 0; i < N; i++) {
        x[i] = random_normal();
        y[i] = random_between(0, 1);
        e[i] = random_normal();
        f[i] = random_normal();
    }
    (void)vaei_score_bernoulli(set->kernels, N, x, y, NULL, 0.25, d);
    (void)vaei_gaussian(set->kernels, N, x, y, 1.7, 0.25, z);
    for (i = 0; i < N; i++) {
        const vae_real kept = x[i];
        double up, down;
        x[i] = kept + h;
        up = vaei_score_bernoulli(set->kernels, N, x, y, NULL, 1, NULL);
        x[i] = kept - h;
        down = vaei_score_bernoulli(set->kernels, N, x, y, NULL, 1, NULL);
        CHECK(fabs((up - down) / (2 * h) * 0.25 - d[i]) < 1e-8, "Bernoulli gradient");
        x[i] = kept + h;
        up = vaei_gaussian(set->kernels, N, x, y, 1.7, 1, NULL);
        x[i] = kept - h;
        down = vaei_gaussian(set->kernels, N, x, y, 1.7, 1, NULL);
        CHECK(fabs((up - down) / (2 * h) * 0.25 - z[i]) < 1e-8, "Gaussian gradient");
        x[i] = kept;
    }
    /* loss = sum f z + 0.3 KL */
    vaei_latent_backward(set->kernels, N, x, y, e, f, 0.3, d, g);
    for (i = 0; i < N; i++) {
        int which;
        for (which = 0; which < 2; which++) {
            vae_real *p = which ? &y[i] : &x[i];
            const vae_real kept = *p;
            double up = 0, down = 0;
            int j;
            *p = kept + h; vaei_reparameterize(set->kernels, N, x, y, e, z); for (j = 0; j < N; j++) up += f[j] * z[j];
            up += 0.3 * vaei_gaussian_kl(set->kernels, N, x, y);
            *p = kept - h;
            vaei_reparameterize(set->kernels, N, x, y, e, z);
            for (j = 0; j < N; j++) down += f[j] * z[j];
            down += 0.3 * vaei_gaussian_kl(set->kernels, N, x, y);
            *p = kept;
            CHECK(fabs((up - down) / (2 * h) - (which ? g[i] : d[i])) < 1e-8, "latent gradient");
        }
    }
    vaei_random_elements(set->kernels, 1, 1, 2, 3, 4, 0, N, x);
    for (i = 0; i < N; i++) CHECK(!is_nan(x[i]) && fabs(x[i]) < 7, "normals in double");
}
#endif

#ifndef VAE_DOUBLE
/* What each kernel set is tried with. */
static workload whole;
static uint64_t family[2];      /* the bits of the portable sets, of the fused ones */

static void test_family_bits(const math_set *set) {
    uint64_t hash = test_kernels(set, &whole);
    test_column_sums(set, &hash);
    if (!family[set->fused]) family[set->fused] = hash;
    CHECK(hash == family[set->fused], "%s has other bits than the family's first set", set->name);
    /* The same on every compiler and processor (x86-64 and AArch64, gcc and clang, -O0 to -O3, -march=native). */
    CHECK(hash == (set->fused ? 0x91f51b99ed9ad97eu : 0x4629a5ba78d7a93eu),
          "%s has changed bits: %08lx%08lx", set->name,
          (unsigned long)(hash >> 32), (unsigned long)(hash & 0xFFFFFFFFu));
}
#endif

int main(int argc, char **argv) {
    const int exhaustive = argc > 1 && strcmp(argv[1], "exhaustive") == 0, count = math_set_count();
    int       s;
    (void)exhaustive;
    RUN(test_scalars);
    RUN(test_philox);
#ifdef VAE_DOUBLE
    for (s = 0; s < count; s++) RUN_FOR(math_all_sets[s].name, "gradients in double", test_double(&math_all_sets[s]));
#else
    make_workload(&whole, LONG_N);
    whole.in[0][3] = 60; whole.in[0][11] = -75; whole.in[0][17] = 0; whole.in[0][18] = 30; whole.in[0][19] = -30;
    for (s = 0; s < count; s++) {
        const math_set *set = &math_all_sets[s];
        const uint64_t  kept = random_state;        /* every set meets the same numbers */
        RUN_FOR(set->name, "bits", test_family_bits(set));
        random_state = kept;
        RUN_FOR(set->name, "special values", test_special_values(set));
        RUN_FOR(set->name, "sums", test_sums(set));
        random_state = kept;
        RUN_FOR(set->name, "latent", test_latent(set));
        RUN_FOR(set->name, "Adam", test_adam(set));
        RUN_FOR(set->name, "Adam of multiples", test_adam_of_multiples(set));
        RUN_FOR(set->name, "data", test_data(set));
        RUN_FOR(set->name, "random counters", test_random_counters(set));
        RUN_FOR(set->name, "places", test_places(set));
        if (s == 0 || math_all_sets[s - 1].fused != set->fused) RUN_FOR(set->name, "statistics", test_statistics(set));
        random_state = kept;
    }
    free_workload(&whole);
    test_announce("accuracy", "every function over its domain");
    RUN_FOR(NULL, "square root", test_square_root(exhaustive));
    {
        const math_set *portable = &math_all_sets[count > 1], *best = &math_all_sets[count > 2 ? 2 : count > 1];
        printf("  largest error in ulp      %s                       %s\n", best->name, portable->name);
        RUN_FOR(NULL, "accuracy", test_accuracy(best, portable, exhaustive));
    }
#endif
    return test_finish();
}
