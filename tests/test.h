/* Assertions for the tests, in C99 and C++. A test is a function; main runs each by RUN(name) and ends with
   `return test_finish();`, which prints "N passed, N failed[, N skipped]" and gives main's status. Each of the three
   counts named tests, here and in the sum over all programs.

       TEST(test_sum) { CHECK(sum(1, 2) == 3); CHECK_NEAR(root(2), 1.41421356, 1e-8); }
       int main(void) { RUN(test_sum); RUN_LONG(test_all_sums, "every pair of bytes"); return test_finish(); }

   A failed check says where it stands and what it met, and the test goes on. Included after vae.h, it lets the
   environment choose the kernel set of every model whose config leaves it open: VAE_TEST_KERNELS=portable.
   VAE_TEST_ONE_IN=8 goes through an eighth of what test_cases counts, and says so: for emulated processors. */
#ifndef TEST_H
#define TEST_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEST(name) static void name(void)
#define RUN(name) test_run(#name, name)
/* One that takes seconds: says what it is about to do. */
#define RUN_LONG(name, what) (test_announce(#name, what), test_run(#name, name))
/* A function of a larger table: `call` is one test of that name for `which`. */
#define RUN_FOR(which, name, call) do { test_begin(which, name); call; test_end(); } while (0)

#define CHECK(condition) test_check(!!(condition), __FILE__, __LINE__, #condition)
/* |actual - expected| <= tolerance; NaN is near nothing. */
#define CHECK_NEAR(actual, expected, tolerance) \
    test_check_near((double)(actual), (double)(expected), (double)(tolerance), __FILE__, __LINE__, #actual)
/* The same text; `part` somewhere within the text. */
#define CHECK_TEXT(actual, expected) test_check_text(actual, expected, 0, __FILE__, __LINE__)
#define CHECK_CONTAINS(actual, part) test_check_text(actual, part, 1, __FILE__, __LINE__)
/* Leaves the test: what it needs is not there. */
#define SKIP(why) do { test_skip(why); return; } while (0)

enum { TEST_SHOWN_FAILURES = 10 };      /* of one test */

static struct { char name[96]; int passed, failed, skipped, failures, is_skipped, is_shortened; } test_state;

static inline int test_failure(const char *file, int line) {
    const int shown = test_state.failures++ < TEST_SHOWN_FAILURES;
    if (shown) printf("%s:%d: %s: ", file, line, test_state.name);
    return shown;
}

static inline int test_check(int condition, const char *file, int line, const char *text) {
    if (!condition && test_failure(file, line)) printf("%s is false\n", text);
    return condition;
}

static inline int test_check_near(double actual, double expected, double tolerance, const char *file, int line,
                                  const char *text) {
    const int good = fabs(actual - expected) <= tolerance;
    if (!good && test_failure(file, line))
        printf("%s is %.17g, not %.17g +- %g: off by %g\n", text, actual, expected, tolerance, fabs(actual - expected));
    return good;
}

static inline int test_check_text(const char *actual, const char *expected, int part, const char *file, int line) {
    const int good = actual && (part ? strstr(actual, expected) != NULL : !strcmp(actual, expected));
    if (!good && test_failure(file, line))
        printf("the text is\n    %s\n%s\n    %s\n", actual ? actual : "NULL", part ? "without" : "not", expected);
    return good;
}

static inline void test_skip(const char *why) {
    printf("SKIPPED %s: %s\n", test_state.name, why);
    test_state.is_skipped = 1;
}

static inline void test_announce(const char *name, const char *what) {
    printf("  %s: %s\n", name, what);
    fflush(stdout);
}

static inline void test_begin(const char *which, const char *name) {
    snprintf(test_state.name, sizeof test_state.name, "%s%s%s", which ? which : "", which ? " " : "", name);
    test_state.failures = test_state.is_skipped = 0;
}

static inline void test_end(void) {
    if (test_state.failures) {
        printf("FAILED %s: %d failed checks\n", test_state.name, test_state.failures);
        test_state.failed++;
    } else if (test_state.is_skipped) test_state.skipped++;
    else test_state.passed++;
    fflush(stdout);
}

static inline void test_run(const char *name, void (*test)(void)) {
    test_begin(NULL, name);
    test();
    test_end();
}

/* One case in so many is gone through. */
static inline int test_one_in(void) {
    const char *text = getenv("VAE_TEST_ONE_IN");
    const int   one_in = text ? atoi(text) : 1;
    if (one_in <= 1) return 1;
    test_state.is_shortened = 1;
    return one_in;
}

/* How many of `count` cases that are more of one kind, drawn at random say, are gone through. */
static inline int test_cases(int count) { return (count - 1) / test_one_in() + 1; }

static inline int test_finish(void) {
    if (test_state.is_shortened) printf("  one in %d of the cases of one kind (VAE_TEST_ONE_IN)\n", test_one_in());
    if (test_state.skipped)
        printf("%d passed, %d failed, %d skipped\n", test_state.passed, test_state.failed, test_state.skipped);
    else printf("%d passed, %d failed\n", test_state.passed, test_state.failed);
    return test_state.failed != 0;
}

/* Random numbers that are not the library's own: splitmix64 (Steele, Lea and Flood 2014). */
typedef struct test_random { uint64_t state; } test_random;

static inline uint64_t test_bits(test_random *random) {
    uint64_t z = random->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* In [low, high): a number; in low..high: a whole one. */
static inline double test_uniform(test_random *random, double low, double high) {
    return low + (high - low) * ((double)(test_bits(random) >> 11) * (1.0 / 9007199254740992.0));
}

static inline int test_integer(test_random *random, int low, int high) {
    return low + (int)(test_bits(random) % (uint64_t)(high - low + 1));
}

/* ---- the kernel set that VAE_TEST_KERNELS names, wherever a test leaves the choice to the library ---- */

#if defined(VAE_H) && defined(VAE_IMPLEMENTATION) && !defined(VAE_NO_MALLOC)
static inline vae_kernels test_kernel_set(void) {
    const char *name = getenv("VAE_TEST_KERNELS");
    int         k;
    for (k = VAE_KERNELS_PLAIN; name && k <= VAE_KERNELS_NEON; k++)
        if (!strcmp(name, vae_kernels_name((vae_kernels)k))) return (vae_kernels)k;
    return VAE_KERNELS_BEST;
}

/* The config with that set in it, where it leaves the set open. */
static inline const vae_config *test_config_of(const vae_config *config, vae_config *changed) {
    if (test_kernel_set() == VAE_KERNELS_BEST || (config && config->kernels != VAE_KERNELS_BEST)) return config;
    memset(changed, 0, sizeof *changed);
    if (config) *changed = *config;
    changed->kernels = test_kernel_set();
    return changed;
}

static inline vae_status test_create(const vae_config *config, vae_model **model, vae_error *error) {
    vae_config changed;
    return vae_create(config ? test_config_of(config, &changed) : NULL, model, error);
}

static inline vae_status test_load_memory(const void *bytes, size_t size, const vae_config *config, vae_model **model,
                                          vae_error *error) {
    vae_config changed;
    return vae_load_memory(bytes, size, test_config_of(config, &changed), model, error);
}
#undef vae_create          /* VAE_DOUBLE renames it */
#define vae_create test_create
#undef vae_load_memory          /* VAE_DOUBLE renames it */
#define vae_load_memory test_load_memory

#ifndef VAE_NO_STDIO
static inline vae_status test_load(const char *path, const vae_config *config, vae_model **model, vae_error *error) {
    vae_config changed;
    return vae_load(path, test_config_of(config, &changed), model, error);
}
#undef vae_load          /* VAE_DOUBLE renames it */
#define vae_load test_load
#endif
#endif

#endif
