/* Every kernel set of the matrix product against its definition, number by number and bit by bit.
   test_product [cases] */
#include <stdio.h>
#include <stdlib.h>
#include <math.h>
#define VAE_PLAIN
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "test.h"

typedef struct product_set { const char *name; const vaei_kernel_set *kernels; int fused; } product_set;

/* Every kernel set that this machine can run. */
static int product_sets(product_set *sets) {
    int n = 0, k;
    for (k = VAE_KERNELS_PLAIN; k <= VAE_KERNELS_NEON; k++) {
        if (!vae_kernels_available((vae_kernels)k)) continue;
        sets[n].name = vae_kernels_name((vae_kernels)k);
        sets[n].kernels = vaei_kernel_set_of((vae_kernels)k);
        sets[n++].fused = k >= VAE_KERNELS_AVX2;
    }
    return n;
}

static uint64_t state = 88172645463325252u;
static size_t below(size_t n) {
    state ^= state << 13; state ^= state >> 7; state ^= state << 17;
    return (size_t)((state >> 11) % n);
}
static int chance(size_t one_in) { return below(one_in) == 0; }
static size_t one_of(const size_t *list, size_t n) { return list[below(n)]; }

/* Heap memory of exactly this size, so that the address sanitiser sees the first read outside. */
static vae_real *numbers(size_t count) {
    vae_real *x = (vae_real *)malloc((count ? count : 1) * sizeof *x);
    size_t i;
    if (!x) exit(1);
    for (i = 0; i < count; i++) x[i] = (vae_real)((double)below(2000001) / 1e6 - 1);
    return x;
}

static uint32_t *increasing(size_t count, size_t least, size_t slack, size_t *end) {
    uint32_t *table = (uint32_t *)malloc((count ? count : 1) * sizeof *table);
    size_t i, at = 0;
    if (!table) exit(1);
    for (i = 0; i < count; i++) { at += below(slack); table[i] = (uint32_t)at; at += least; }
    *end = at;
    return table;
}

/* Entries side by side in groups of a few, as the rows of a convolution's weight gradient are. */
static uint32_t *grouped(size_t count, size_t *end) {
    const size_t group = 1 + below(30), gap = 1 + below(9);
    uint32_t *table = (uint32_t *)malloc((count ? count : 1) * sizeof *table);
    size_t i;
    if (!table) exit(1);
    for (i = 0; i < count; i++) table[i] = (uint32_t)(i + i / group * gap);
    *end = count ? table[count - 1] + 1 : 0;
    return table;
}

static void shuffle(uint32_t *table, size_t count) {
    size_t i;
    for (i = count; i > 1; i--) {
        size_t j = below(i);
        uint32_t t = table[j];
        table[j] = table[i - 1];
        table[i - 1] = t;
    }
}

static size_t largest(const uint32_t *table, size_t step, size_t count) {
    size_t i, most = 0;
    for (i = 0; i < count; i++) if (vaei_entry(table, step, i) > most) most = vaei_entry(table, step, i);
    return most;
}

#if defined(__MINGW32__) && !defined(VAE_DOUBLE)
/* fmaf with its one rounding: that of MinGW adds up parts that are rounded each. A product of floats is exact in double;
   a sum that is not gets its last bit set, so that rounding puts none halfway between two floats. */
static float multiply_add(float a, float b, float c) {
    const double product = (double)a * (double)b, sum = product + (double)c, back = sum - product;
    const double lost = (product - (sum - back)) + ((double)c - back);
    double       odd;
    uint64_t     bits;
    memcpy(&bits, &sum, sizeof bits);
    if ((lost < 0 || lost > 0) && !(bits & 1)) bits += (lost > 0) == (sum > 0) ? 1 : UINT64_MAX;
    memcpy(&odd, &bits, sizeof odd);
    return (float)odd;
}
#else
#define multiply_add fmaf
#endif

/* The definition with one rounding for each multiply-add: the bits every fused set must give. */
static void multiply_fused(const vaei_product *p) {
#ifndef VAE_DOUBLE
    size_t i, j, s, t;
    for (i = 0; i < p->rows; i++) for (j = 0; j < p->columns; j++) {
        vae_real *c = p->c + vaei_entry(p->c_rows, p->c_row, i) + j;
        vae_real sum = p->accumulate ? *c : p->bias ? p->bias[j] : 0;
        for (s = 0; s < p->segments; s++) {
            const vae_real *x = p->a + vaei_entry(p->a_rows, p->a_row, i) + vaei_entry(p->a_segments, p->a_segment, s);
            const vae_real *y = p->b + vaei_entry(p->b_segments, p->b_segment, s) + j * p->b_column;
            for (t = 0; t < p->run; t++) sum = multiply_add(x[t * p->a_step], y[t * p->b_step], sum);
        }
        *c = p->relu && sum < 0 ? 0 : sum;
    }
#else
    (void)p;
#endif
}

static size_t checks, packed_products;
static void check(int ok, const char *what, const char *set, const vaei_product *p, unsigned long number) {
    checks++;
    if (!ok && test_failure(__FILE__, __LINE__))
        printf("%s, %s, case %lu: %lu x %lu x (%lu x %lu), tables %d%d%d%d, a_row %lu a_step %lu b_step %lu b_column "
               "%lu, accumulate %d bias %d relu %d\n",
               what, set, number, (unsigned long)p->rows, (unsigned long)p->columns, (unsigned long)p->segments,
               (unsigned long)p->run,
               !!p->a_rows, !!p->a_segments, !!p->b_segments, !!p->c_rows, (unsigned long)p->a_row,
               (unsigned long)p->a_step,
               (unsigned long)p->b_step, (unsigned long)p->b_column, p->accumulate, !!p->bias, p->relu);
}

/* Equal bits; any NaN equals any other. */
static int same(const vae_real *x, const vae_real *y, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) if (memcmp(x + i, y + i, sizeof *x) && !(x[i] != x[i] && y[i] != y[i])) return 0;
    return 1;
}

/* With a scratch for so many rows, the product's own or more. */
static void run(const product_set *set, const vaei_product *p, size_t rows, unsigned long number) {
    const size_t needed = vaei_product_scratch(rows, p->columns, p->segments * p->run);
    /* exact size, begun at a multiple of 64 bytes: what follows is the sanitiser's */
    unsigned char *memory = (unsigned char *)malloc(needed * sizeof(vae_real) + 64);
    unsigned char *aligned = memory + (64 - (uintptr_t)memory % 64) % 64;
    size_t i, rest = needed * sizeof(vae_real) + 64 - (size_t)(aligned - memory), ok = 1;
    memset(aligned, 0xFF, rest);                            /* scratch full of NaN must do no harm */
    vaei_multiply(set->kernels, p, (vae_real *)(void *)aligned);
    for (i = needed * sizeof(vae_real); i < rest; i++) ok &= aligned[i] == 0xFF;
    check((int)ok, "scratch kept", set->name, p, number);
    free(memory);
}

/* B packed by several, as threads share it out, and used by several, a few rows at a time. */
static void run_packed(const product_set *set, const vaei_product *p, unsigned long number) {
    const size_t size = p->run * vaei_packed_columns(set->kernels, p->columns);
    vae_real    *packed = numbers(size);
    vae_real    *scratch = numbers(vaei_product_scratch(p->rows, p->columns, p->run));
    const size_t cut = below(p->columns + 1);
    vaei_product whole;
    size_t       i, height;
    for (i = 0; i < size; i++) packed[i] = (vae_real)NAN;
    vaei_pack_panels(set->kernels, p, cut, p->columns, packed, scratch);
    vaei_pack_panels(set->kernels, p, 0, cut, packed, scratch);
    whole = vaei_product_packed(set->kernels, p, packed);
    for (i = 0; i < p->rows; i += height) {
        vaei_product part;
        height = chance(4) ? p->rows - i : 1 + below(p->rows - i < 50 ? p->rows - i : 50);
        part = vaei_product_rows(&whole, i, height);
        run(set, &part, p->rows, number);
    }
    free(packed);
    free(scratch);
}

static void one_case(unsigned long number, const product_set *sets, int count) {
    static const size_t runs[] = { 23, 32, 33, 64, 72, 100, 127, 399, 400, 401, 523, 800, 1203 };
    static const size_t sides[] = { 24, 25, 31, 32, 33, 40, 41, 47, 48, 49, 56, 63, 64, 65, 96, 97, 104, 120, 300 };
    vaei_product p;
    size_t end, a_size, b_size, c_size, i, form = below(5);
    uint32_t *tables[4] = { NULL, NULL, NULL, NULL };
    vae_real *a, *b, *bias, *c, *expected[2], *begin;
    int s, packs_b = 0;
    memset(&p, 0, sizeof p);
    p.rows = chance(4) ? one_of(sides, sizeof sides / sizeof *sides) : chance(40) ? 513 : below(21);
    p.columns = chance(4) ? one_of(sides, sizeof sides / sizeof *sides) : chance(3) ? 1 + below(4) : below(21);
    p.segments = chance(3) ? 1 : chance(8) ? 40 + below(200) : below(12);
    p.run = p.segments < 3 && chance(2) ? one_of(runs, sizeof runs / sizeof *runs) : below(21);
    /* large enough for A to be packed, in several blocks of rows */
    if (chance(60)) {
        p.rows = 192 + below(chance(2) ? 40 : 420); p.columns = 128 + below(60);
        p.segments = 1 + below(3); p.run = 1 + below(chance(4) ? 700 : 60);
        packs_b = chance(2);
        if (packs_b) p.segments = 1;
    }
    if (!packs_b && chance(30)) { p.segments = 1; p.run = 1 + below(4); p.rows = below(400); }

    /* A: along its steps, along its rows, or neither */
    if (form == 0) {
        p.a_step = 1;
        p.a_row = p.segments * p.run + below(9);
        p.a_segment = chance(2) ? p.run : p.run + below(7);
    }
    else if (form == 1) { p.a_row = 1; p.a_step = p.rows + below(9); p.a_segment = p.run * p.a_step + below(5); }
    else {                                                  /* overlapping, as a convolution's */
        p.a_step = 1 + below(5);
        p.a_row = 1 + below(9);
        p.a_segment = 1 + below(30);
    }
    if (form >= 3) {
        p.a_rows = tables[0] = chance(2) ? grouped(p.rows, &end) : increasing(p.rows, 1, chance(2) ? 1 : 6, &end);
        if (chance(3)) shuffle(tables[0], p.rows);
    }
    if (form == 4 || chance(5)) p.a_segments = tables[1] = increasing(p.segments, 3, 9, &end);
    a_size = !p.rows || !p.segments || !p.run ? 0
             : largest(p.a_rows, p.a_row, p.rows) + largest(p.a_segments, p.a_segment, p.segments) +
               (p.run - 1) * p.a_step + 1;

    if (packs_b || chance(2)) {
        p.b_column = 1;
        p.b_step = p.columns + (chance(2) ? 0 : below(9));
        p.b_segment = p.run * p.b_step + below(4);
    }
    else {
        p.b_step = 1;
        p.b_column = p.segments * p.run + below(9);
        p.b_segment = chance(2) ? p.run : p.run + below(3);
    }
    if (!packs_b && chance(4)) {
        p.b_segments = tables[2] = increasing(p.segments, 3, 9, &end);
        shuffle(tables[2], p.segments);
    }
    b_size = !p.columns || !p.segments || !p.run ? 0
             : largest(p.b_segments, p.b_segment, p.segments) + (p.run - 1) * p.b_step +
               (p.columns - 1) * p.b_column + 1;

    p.c_row = p.columns + (chance(2) ? 0 : below(9));
    c_size = p.rows ? (p.rows - 1) * p.c_row + p.columns : 0;
    if (chance(3)) {
        p.c_rows = tables[3] = increasing(p.rows, p.columns, 9, &end);
        if (chance(2)) shuffle(tables[3], p.rows);
        c_size = p.rows ? end : 0;
    }

    a = numbers(a_size); b = numbers(b_size); begin = numbers(c_size); bias = numbers(p.columns);
    c = numbers(c_size); expected[0] = numbers(c_size); expected[1] = numbers(c_size);
    if (a_size && chance(6)) a[below(a_size)] = (vae_real)(chance(2) ? NAN : INFINITY); /* must stay in its rows */
    if (b_size && chance(6)) b[below(b_size)] = (vae_real)(chance(2) ? NAN : -INFINITY);
    p.a = a; p.b = b;
    p.relu = chance(3);
    p.accumulate = chance(2);
    if (!p.accumulate && chance(2)) p.bias = bias;
    memcpy(expected[0], begin, c_size * sizeof *c);
    memcpy(expected[1], begin, c_size * sizeof *c);
    p.c = expected[0]; vaei_multiply_naive(&p);
    p.c = expected[1]; multiply_fused(&p);
    p.c = c;

    for (s = 0; s < count; s++) {
        const size_t rows = p.rows, columns = p.columns;
        memcpy(c, begin, c_size * sizeof *c);
        run(&sets[s], &p, p.rows, number);
        check(same(c, expected[sets[s].fused], c_size), "whole product", sets[s].name, &p, number);

        memcpy(c, begin, c_size * sizeof *c);
        for (i = 0; i < rows;) {                            /* random slices of rows and columns */
            const size_t height = 1 + below(rows - i);
            const vaei_product band = vaei_product_rows(&p, i, height);
            size_t j;
            for (j = 0; j < columns;) {
                const size_t width = 1 + below(columns - j);
                const vaei_product part = vaei_product_columns(&band, j, width);
                run(&sets[s], &part, part.rows, number);
                j += width;
            }
            i += height;
        }
        check(same(c, expected[sets[s].fused], c_size), "slices", sets[s].name, &p, number);

        if (!vaei_is_large(rows, columns) || p.segments != 1 || p.b_column != 1 || p.b_segments) continue;
        memcpy(c, begin, c_size * sizeof *c);
        run_packed(&sets[s], &p, number);
        check(same(c, expected[sets[s].fused], c_size), "packed B", sets[s].name, &p, number);
        packed_products++;
    }
    free(a); free(b); free(c); free(bias); free(begin); free(expected[0]); free(expected[1]);
    for (i = 0; i < 4; i++) free(tables[i]);
}

static unsigned long cases = 3000;      /* or as an argument says; of fewer, the rarer kinds need not occur */

TEST(test_random_products) {
    product_set   sets[5];
    const int     count = product_sets(sets);
    unsigned long number;
    for (number = 0; number < cases; number++) one_case(number, sets, count);
    printf("  %lu checks of %lu products, %lu with a packed B\n", (unsigned long)checks, cases,
           (unsigned long)packed_products);
    CHECK(cases < 3000 || packed_products >= (count > 2 ? 50 : 30));
}

/* Scratch follows the product: more rows, columns or steps never need less, and small products need little. */
static size_t scratch_failures(void) {
    static const size_t sizes[] = { 1, 2, 3, 7, 8, 9, 16, 31, 33, 48, 100, 127, 128, 191, 192, 264, 265, 400, 401,
                                    3000 };
    const size_t n = sizeof sizes / sizeof sizes[0];
    size_t r, c, s, wrong = 0;
    for (r = 0; r < n; r++) for (c = 0; c < n; c++) for (s = 0; s < n; s++) {
        const size_t needed = vaei_product_scratch(sizes[r], sizes[c], sizes[s]);
        if (r && vaei_product_scratch(sizes[r - 1], sizes[c], sizes[s]) > needed) wrong++;
        if (c && vaei_product_scratch(sizes[r], sizes[c - 1], sizes[s]) > needed) wrong++;
        if (s && vaei_product_scratch(sizes[r], sizes[c], sizes[s - 1]) > needed) wrong++;
    }
    if (vaei_product_scratch(1, 8, 16) * sizeof(vae_real) > 4096 * sizeof(vae_real) / 4) wrong++;
    if (wrong) printf("FAILED: %lu sizes of scratch\n", (unsigned long)wrong);
    return wrong;
}

TEST(test_scratch_follows_the_product) { CHECK(scratch_failures() == 0); }

int main(int argc, char **argv) {
    cases = argc > 1 ? strtoul(argv[1], NULL, 10) : (unsigned long)test_cases((int)cases);
    RUN_LONG(test_random_products, "whole, in slices and packed, by every kernel set, to the bit");
    RUN(test_scratch_follows_the_product);
    return test_finish();
}
