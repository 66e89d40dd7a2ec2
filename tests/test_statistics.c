/* Random numbers, likelihoods, KL, ELBO and log-likelihood against theory. Everything is seeded, so nothing here can
   fail by chance twice; the bounds are five standard errors (one in 1.7 million) unless a line says otherwise. */
#define VAE_PLAIN       /* plain C's kernels too */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <math.h>
#include <stdlib.h>
#include "test.h"
#include "model.h"

#define SIGMAS 5.0
#define HALF_LOG_TWO_PI 0.918938533204672741780329736406

/* A tensor becomes all zeros. */
static void clear(vae_model *model, const char *name, size_t count) {
    vae_real *zeros = (vae_real *)calloc(count, sizeof(vae_real));
    set(model, name, zeros, count);
    free(zeros);
}

static double normal_cdf(double x) { return 0.5 * erfc(-x / sqrt(2.0)); }

static int by_value(const void *a, const void *b) {
    const vae_real x = *(const vae_real *)a, y = *(const vae_real *)b;
    return (x > y) - (x < y);
}

/* ---- the sampler ---- */

enum { DIMENSIONS = 8, ROWS = 125000, NUMBERS = DIMENSIONS * ROWS };

static void check_standard_normals(vae_kernels kernels, uint64_t seed) {
    const vae_config config = { .input = { 1, 4, 1 }, .latent = DIMENSIONS, .encoder = { VAE_DENSE(4, VAE_RELU) },
                                .kernels = kernels, .seed = seed, .inference_only = 1 };
    vae_model *model = make(&config);
    vae_real  *z = (vae_real *)malloc(NUMBERS * sizeof(vae_real));
    double     sum = 0, squares = 0, cubes = 0, fourths = 0, lag = 0, beyond3 = 0, largest = 0, distance = 0;
    size_t     i, j, k;
    CHECK(vae_sample_latent(model, ROWS, z, NULL) == VAE_OK);
    for (i = 0; i < NUMBERS; i++) {
        const double x = (double)z[i];
        sum += x;
        squares += x * x;
        cubes += x * x * x;
        fourths += x * x * x * x;
        beyond3 += fabs(x) > 3;
        if (fabs(x) > largest) largest = fabs(x);
    }
    CHECK_NEAR(sum / NUMBERS, 0, SIGMAS / sqrt((double)NUMBERS));
    CHECK_NEAR(squares / NUMBERS, 1, SIGMAS * sqrt(2.0 / NUMBERS));
    CHECK_NEAR(cubes / NUMBERS, 0, SIGMAS * sqrt(15.0 / NUMBERS));          /* var x^3 = 15 */
    CHECK_NEAR(fourths / NUMBERS, 3, SIGMAS * sqrt(96.0 / NUMBERS));        /* var x^4 = 105 - 9 */
    CHECK_NEAR(beyond3, NUMBERS * 0.0026997960632601866, SIGMAS * sqrt(NUMBERS * 0.0027));
    CHECK(largest > 4.2 && largest < 6.5);      /* of a million: 4.9 is expected, less than 4.2 has p = 3e-12 */
    for (j = 0; j < DIMENSIONS; j++)            /* each dimension by itself, and with each other one */
        for (k = j; k < DIMENSIONS; k++) {
            double products = 0, mean = 0;
            for (i = 0; i < ROWS; i++) {
                products += (double)z[i * DIMENSIONS + j] * (double)z[i * DIMENSIONS + k];
                mean += (double)z[i * DIMENSIONS + j];
            }
            if (j == k) CHECK_NEAR(mean / ROWS, 0, SIGMAS / sqrt((double)ROWS));
            CHECK_NEAR(products / ROWS, j == k, SIGMAS * sqrt((j == k ? 2.0 : 1.0) / ROWS));
        }
    /* with the numbers k further on: neighbours, and rows before and after */
    for (k = 1; k < 40; k++) {
        for (lag = 0, i = 0; i + k < NUMBERS; i++) lag += (double)z[i] * (double)z[i + k];
        CHECK_NEAR(lag / NUMBERS, 0, SIGMAS / sqrt((double)NUMBERS));
    }
    for (lag = 0, i = 0; i + 1 < NUMBERS; i++)  /* neighbours' sizes: Box and Muller's pairs must not show */
        lag += ((double)z[i] * (double)z[i] - 1) * ((double)z[i + 1] * (double)z[i + 1] - 1);
    CHECK_NEAR(lag / NUMBERS, 0, SIGMAS * sqrt(4.0 / NUMBERS));
    qsort(z, NUMBERS, sizeof *z, by_value);
    for (i = 0; i < NUMBERS; i++) {
        const double p = normal_cdf((double)z[i]), below = fabs(p - (double)i / NUMBERS);
        const double above = fabs((double)(i + 1) / NUMBERS - p);
        distance = fmax(distance, fmax(below, above));
    }
    CHECK(distance * sqrt((double)NUMBERS) < 2.6);      /* Kolmogorov and Smirnov: p = 2 exp(-2 2.6^2) = 3e-6 */
    free(z);
    vae_destroy(model);
}

static void test_sampler_moments(void) {
    check_standard_normals(VAE_KERNELS_BEST, 0);
    check_standard_normals(VAE_KERNELS_PLAIN, 0x123456789ABCDEF0u);
}

static void test_seeds_are_independent(void) {
    vae_config config = { .input = { 1, 4, 1 }, .latent = 16, .encoder = { VAE_DENSE(4, VAE_RELU) },
                          .inference_only = 1 };
    enum { N = 16 * 20000 };
    const uint64_t seeds[] = { 0, 1, 2, (uint64_t)1 << 32, (uint64_t)1 << 63, ~(uint64_t)0 };
    vae_real *z[6];
    size_t    s, t, i;
    for (s = 0; s < 6; s++) {
        vae_model *model;
        config.seed = seeds[s];
        model = make(&config);
        z[s] = (vae_real *)malloc(N * sizeof(vae_real));
        CHECK(vae_sample_latent(model, N / 16, z[s], NULL) == VAE_OK);
        vae_destroy(model);
    }
    for (s = 0; s < 6; s++)
        for (t = s + 1; t < 6; t++) {
            double products = 0;
            for (i = 0; i < N; i++) products += (double)z[s][i] * (double)z[t][i];
            CHECK_NEAR(products / N, 0, SIGMAS / sqrt((double)N));
        }
    for (s = 0; s < 6; s++) free(z[s]);
}

/* ---- KL ---- */

/* The integral of q log(q / p) with q = N(mean, exp(logvar)): by x = mean + deviation t and the trapezoidal rule, whose
   error for such integrands is far below rounding. */
static double integrated_kl(double mean, double logvar) {
    const double deviation = exp(logvar / 2), h = 1.0 / 32;
    double       sum = 0;
    int          i;
    for (i = -14 * 32; i <= 14 * 32; i++) {
        const double t = i * h, x = mean + deviation * t;
        sum += exp(-t * t / 2 - HALF_LOG_TWO_PI) * (x * x / 2 - t * t / 2 - logvar / 2);
    }
    return sum * h;
}

/* (mean^2 + exp(logvar) - 1 - logvar) / 2, the exponential's part by its series where it would cancel. */
static double closed_kl(double mean, double logvar) {
    double rest = exp(logvar) - 1 - logvar, term = logvar * logvar / 2;
    int    k;
    if (fabs(logvar) < 0.5)
        for (rest = 0, k = 3; k < 30; k++) {
            rest += term;
            term *= logvar / k;
        }
    return (mean * mean + rest) / 2;
}

static void test_kl_against_integration(void) {
    static const double means[] = { 0, 1e-6, -1e-4, 1e-3, 0.01, -0.1, 0.5, 1, -3, 10, 100 };
    static const double logvars[] = { 0, 1e-6, -1e-6, 1e-4, -1e-4, 1e-3, -1e-3, 0.0099, -0.03, 0.1, -0.2, 0.5, -0.5, 1,
                                      -1, 2, -3, 4.5, -7, 9.99, 10, -15, -19.9, -20 };
    const vae_kernels sets[] = { VAE_KERNELS_BEST, VAE_KERNELS_PLAIN };
    const unsigned char pixel = 0;
    double              worst = 0;
    size_t              s, i, j;
    for (s = 0; s < 2; s++) {
        const vae_config config = { .input = { 1, 1, 1 }, .latent = 1, .encoder = { VAE_DENSE(1, VAE_LINEAR) },
                                    .kernels = sets[s] };
        vae_model *model = make(&config);
        clear(model, "mean.weight", 1);
        clear(model, "logvar.weight", 1);
        for (i = 0; i < sizeof means / sizeof *means; i++)
            for (j = 0; j < sizeof logvars / sizeof *logvars; j++) {
                const vae_real mean = (vae_real)means[i], logvar = (vae_real)logvars[j];
                const double   m = (double)mean, v = (double)logvar, exact = closed_kl(m, v);
                const vae_data data = { .bytes = &pixel, .count = 1 };
                vae_terms      terms;
                double         relative;
                set(model, "mean.bias", &mean, 1);
                set(model, "logvar.bias", &logvar, 1);
                CHECK(vae_elbo(model, &data, &terms, NULL, NULL) == VAE_OK);
                if (exact == 0) { CHECK(terms.kl == 0); continue; }
                if (exact > 1e-8) CHECK_NEAR(integrated_kl(m, v) / exact, 1, 1e-6);
                relative = fabs(terms.kl / exact - 1);
                if (relative > 2e-6)
                    printf("mean %g, logvar %g: kl %.9g, exactly %.9g\n", (double)mean, (double)logvar, terms.kl,
                           exact);
                CHECK(relative <= 2e-6);
                worst = fmax(worst, relative);
            }
        vae_destroy(model);
    }
    printf("  KL: largest relative error %.2g\n", worst);
}

/* Beyond the bounds, logvar counts as the bound. */
static void test_logvar_is_held(void) {
    const vae_config config = { .input = { 1, 1, 1 }, .latent = 1, .encoder = { VAE_DENSE(1, VAE_LINEAR) } };
    const unsigned char pixel = 0;
    const vae_data      data = { .bytes = &pixel, .count = 1 };
    const vae_real      raw[] = { -1000, -20.5, 10.5, 1e30f }, held[] = { -20, -20, 10, 10 };
    vae_model          *model = make(&config);
    size_t              i;
    clear(model, "mean.weight", 1);
    clear(model, "mean.bias", 1);
    clear(model, "logvar.weight", 1);
    for (i = 0; i < 4; i++) {
        vae_real  logvar = 0;
        vae_terms terms;
        set(model, "logvar.bias", &raw[i], 1);
        CHECK(vae_encode(model, &data, NULL, &logvar, NULL) == VAE_OK);
        CHECK(logvar == held[i]);
        CHECK(vae_elbo(model, &data, &terms, NULL, NULL) == VAE_OK);
        CHECK_NEAR(terms.kl / closed_kl(0, (double)held[i]), 1, 2e-6);
    }
    vae_destroy(model);
}

/* ---- likelihoods ---- */

/* A decoder that ignores z: the logits are its bias. */
static vae_model *constant_decoder(vae_likelihood likelihood, double sigma, vae_kernels kernels, int pixels) {
    const vae_config config = { .input = { 1, pixels, 1 }, .latent = 1, .encoder = { VAE_DENSE(1, VAE_LINEAR) },
                                .decoder = { VAE_DENSE(pixels, VAE_LINEAR) }, .likelihood = likelihood,
                                .sigma = (vae_real)sigma, .kernels = kernels };
    vae_model *model = make(&config);
    clear(model, "decoder.0.weight", (size_t)pixels);
    return model;
}

static void test_bernoulli_nats(void) {
    static const double logits[] = { 0, 1e-6, -1e-3, 0.01, -0.1, 0.5, -1, 2, -3, 5, -8, 10, -12, 15, -17, 20, -30, 50,
                                     -60, 87, -88, 89, 100, -100 };
    static const double pixels[] = { 0, 1, 0.5, 0.25, 0.75, 1e-3, 0.999, 1.0 / 255, 1e-30 };
    const vae_kernels sets[] = { VAE_KERNELS_BEST, VAE_KERNELS_PLAIN };
    size_t s, i, j;
    for (s = 0; s < 2; s++) {
        vae_model *model = constant_decoder(VAE_BERNOULLI, 0, sets[s], 1);
        for (i = 0; i < sizeof logits / sizeof *logits; i++)
            for (j = 0; j < sizeof pixels / sizeof *pixels; j++) {
                const vae_real logit = (vae_real)logits[i], pixel = (vae_real)pixels[j];
                const double   l = (double)logit, x = (double)pixel;
                /* log sigmoid(l) = -log(1 + exp(-l)), log(1 - sigmoid(l)) = -log(1 + exp(l)) */
                const double   exact = x * log1p(exp(-l)) + (1 - x) * log1p(exp(l));
                const vae_data data = { .pixels = &pixel, .count = 1 };
                /* Neither side of l x may be exact; with x 0 or 1 nothing cancels, and the error is relative. */
                const double   allowed = j < 2 ? 2e-6 * exact + 1e-37 : 2e-7 * (1 + fabs(l)) + 2e-6 * exact;
                vae_terms      terms;
                set(model, "decoder.0.bias", &logit, 1);
                CHECK(vae_elbo(model, &data, &terms, NULL, NULL) == VAE_OK);
                if (!(fabs(terms.reconstruction - exact) <= allowed))
                    printf("logit %g, pixel %g: %.9g nats, exactly %.9g\n", l, x, terms.reconstruction, exact);
                CHECK_NEAR(terms.reconstruction, exact, allowed);
            }
        vae_destroy(model);
    }
}

/* Many pixels at once: the sum, with nothing left out at the ends of vectors. */
static void test_bernoulli_sums(void) {
    int n;
    for (n = 1; n < 70; n++) {
        vae_model  *model = constant_decoder(VAE_BERNOULLI, 0, VAE_KERNELS_BEST, n);
        vae_real    logits[70], pixels[70];
        double      exact = 0;
        vae_data    data = { .pixels = pixels, .count = 1 };
        vae_terms   terms;
        int         i;
        for (i = 0; i < n; i++) {
            logits[i] = (vae_real)(7 * sin(i + n));
            pixels[i] = (vae_real)(0.5 + 0.5 * cos(3 * i + n));
            exact += (double)pixels[i] * log1p(exp(-(double)logits[i])) + (1 - (double)pixels[i]) *
                     log1p(exp((double)logits[i]));
        }
        set(model, "decoder.0.bias", logits, (size_t)n);
        CHECK(vae_elbo(model, &data, &terms, NULL, NULL) == VAE_OK);
        CHECK_NEAR(terms.reconstruction / exact, 1, 2e-6);
        vae_destroy(model);
    }
}

static void test_gaussian_nats(void) {
    static const double sigmas[] = { 0, 0.01, 0.5, 0.70710678118654752, 1, 3, 100 };
    static const double outputs[] = { 0, 1e-3, -0.5, 1, 2.5, -40, 1000 };
    static const double pixels[] = { 0, 1, 0.25, -3, 40, -1000 };
    const vae_kernels   sets[] = { VAE_KERNELS_BEST, VAE_KERNELS_PLAIN };
    size_t              c, s, i, j;
    for (c = 0; c < 2; c++)
        for (s = 0; s < sizeof sigmas / sizeof *sigmas; s++) {
            vae_model   *model = constant_decoder(VAE_GAUSSIAN, sigmas[s], sets[c], 1);
            const double sigma = sigmas[s] == 0 ? 1 : (double)(vae_real)sigmas[s];
            for (i = 0; i < sizeof outputs / sizeof *outputs; i++)
                for (j = 0; j < sizeof pixels / sizeof *pixels; j++) {
                    const vae_real output = (vae_real)outputs[i], pixel = (vae_real)pixels[j];
                    const double   d = (double)pixel - (double)output, quadratic = d * d / (2 * sigma * sigma);
                    const double   exact = quadratic + log(sigma) + HALF_LOG_TWO_PI;
                    const vae_data data = { .pixels = &pixel, .count = 1 };
                    vae_terms      terms;
                    set(model, "decoder.0.bias", &output, 1);
                    CHECK(vae_elbo(model, &data, &terms, NULL, NULL) == VAE_OK);
                    CHECK_NEAR(terms.reconstruction, exact, 1e-12 + 1e-6 * quadratic);
                }
            vae_destroy(model);
        }
}

/* ---- a linear model with everything known ----

   p(z) = N(0, I), p(x | z) = N(W z + b, sigma^2 I), so p(x) = N(b, W W^T + sigma^2 I). The columns of W are orthogonal,
   so the true posterior has independent dimensions and the encoder can be it. */

enum { X = 3, Z = 2 };
static const double W[X][Z] = { { 0.5, 0.6 }, { 1.0, 0.3 }, { 1.0, -0.6 } };     /* 1.5 (1,2,2)/3 and 0.9 (2,1,-2)/3 */
static const double B[X] = { 0.3, -0.2, 0.1 };
#define SIGMA 0.7

typedef struct posterior { double matrix[Z][X], offset[Z], variance[Z]; } posterior;

/* p(z | x) = N(matrix x + offset, diag variance): variance_j = sigma^2 / (sigma^2 + |w_j|^2), mean_j = w_j.(x - b)
   variance_j / sigma^2 */
static posterior true_posterior(void) {
    posterior q;
    int       i, j;
    for (j = 0; j < Z; j++) {
        double square = 0;
        for (i = 0; i < X; i++) square += W[i][j] * W[i][j];
        q.variance[j] = SIGMA * SIGMA / (SIGMA * SIGMA + square);
        q.offset[j] = 0;
        for (i = 0; i < X; i++) {
            q.matrix[j][i] = W[i][j] * q.variance[j] / (SIGMA * SIGMA);
            q.offset[j] -= q.matrix[j][i] * B[i];
        }
    }
    return q;
}

/* log N(x; b, W W^T + sigma^2 I), the 3 x 3 matrix inverted by cofactors */
static double exact_log_p(const vae_real *x) {
    double c[X][X], cofactor[X][X], determinant = 0, quadratic = 0;
    int    i, j, k;
    for (i = 0; i < X; i++)
        for (j = 0; j < X; j++) {
            c[i][j] = i == j ? SIGMA * SIGMA : 0;
            for (k = 0; k < Z; k++) c[i][j] += W[i][k] * W[j][k];
        }
    for (i = 0; i < X; i++)
        for (j = 0; j < X; j++)
            cofactor[i][j] = c[(i + 1) % 3][(j + 1) % 3] * c[(i + 2) % 3][(j + 2) % 3] -
                             c[(i + 1) % 3][(j + 2) % 3] * c[(i + 2) % 3][(j + 1) % 3];
    for (j = 0; j < X; j++) determinant += c[0][j] * cofactor[0][j];
    for (i = 0; i < X; i++)
        for (j = 0; j < X; j++)
            quadratic += ((double)x[i] - B[i]) * cofactor[i][j] / determinant * ((double)x[j] - B[j]);
    return -0.5 * quadratic - 0.5 * log(determinant) - 3 * (double)HALF_LOG_TWO_PI;
}

static vae_model *linear_model(const posterior *q) {
    const vae_config config = { .input = { 1, X, 1 }, .latent = Z, .encoder = { VAE_DENSE(X, VAE_LINEAR) },
                                .decoder = { VAE_DENSE(X, VAE_LINEAR) }, .likelihood = VAE_GAUSSIAN,
                                .sigma = (vae_real)SIGMA };
    vae_model *model = make(&config);
    vae_real   identity[X * X] = { 0 }, matrix[Z * X], offset[Z], logvar[Z], weight[X * Z], bias[X];
    int        i, j;
    for (i = 0; i < X; i++) {
        identity[i * X + i] = 1;
        bias[i] = (vae_real)B[i];
        for (j = 0; j < Z; j++) {
            weight[i * Z + j] = (vae_real)W[i][j];
            matrix[j * X + i] = (vae_real)q->matrix[j][i];
        }
    }
    for (j = 0; j < Z; j++) {
        offset[j] = (vae_real)q->offset[j];
        logvar[j] = (vae_real)log(q->variance[j]);
    }
    set(model, "encoder.0.weight", identity, X * X);
    clear(model, "encoder.0.bias", X);
    set(model, "mean.weight", matrix, Z * X);
    set(model, "mean.bias", offset, Z);
    clear(model, "logvar.weight", Z * X);
    set(model, "logvar.bias", logvar, Z);
    set(model, "decoder.0.weight", weight, X * Z);
    set(model, "decoder.0.bias", bias, X);
    return model;
}

/* Rows drawn from about the model's own distribution, without the library: sines as a crude spread. */
static void linear_rows(vae_real *rows, size_t count) {
    size_t r;
    int    i;
    for (r = 0; r < count; r++)
        for (i = 0; i < X; i++)
            rows[r * X + (size_t)i] = (vae_real)(B[i] + 1.6 * sin(12.9898 * (double)r + 78.233 * i));
}

static posterior wrong_posterior(void) {
    posterior q = true_posterior();
    q.offset[0] += 0.25;
    q.offset[1] -= 0.15;
    q.variance[0] *= 1.6;
    q.variance[1] *= 0.7;
    return q;
}

/* E over q of log p(x | z), and KL(q || p): both in closed form */
static vae_terms closed_form(const posterior *q, const vae_real *x) {
    vae_terms terms;
    double    mean[Z], squares = 0;
    int       i, j;
    terms.kl = 0;
    for (j = 0; j < Z; j++) {
        mean[j] = q->offset[j];
        for (i = 0; i < X; i++) mean[j] += q->matrix[j][i] * (double)x[i];
        terms.kl += 0.5 * (mean[j] * mean[j] + q->variance[j] - 1 - log(q->variance[j]));
    }
    for (i = 0; i < X; i++) {
        double rest = (double)x[i] - B[i];
        for (j = 0; j < Z; j++) {
            rest -= W[i][j] * mean[j];
            squares += W[i][j] * W[i][j] * q->variance[j];
        }
        squares += rest * rest;
    }
    terms.reconstruction = squares / (2 * SIGMA * SIGMA) + X * (log(SIGMA) + (double)HALF_LOG_TWO_PI);
    terms.elbo = -(terms.reconstruction + terms.kl);
    terms.loss = -terms.elbo;
    return terms;
}

static void test_elbo_equals_its_closed_form(void) {
    enum { REPEATS = 40000, DISTINCT = 4 };
    const posterior qs[2] = { true_posterior(), wrong_posterior() };
    vae_real       *rows = (vae_real *)malloc(REPEATS * X * sizeof(vae_real));
    vae_terms      *each = (vae_terms *)malloc(REPEATS * sizeof(vae_terms));
    size_t          which, d, r;
    for (which = 0; which < 2; which++) {
        vae_model *model = linear_model(&qs[which]);
        for (d = 0; d < DISTINCT; d++) {        /* one row many times: each place in the data has noise of its own */
            vae_real        few[DISTINCT * X];
            vae_data        data = { .pixels = rows, .count = REPEATS };
            vae_terms       mean, exact;
            double          variance = 0, sum = 0;
            linear_rows(few, DISTINCT);
            for (r = 0; r < REPEATS; r++) memcpy(rows + r * X, few + d * X, X * sizeof(vae_real));
            exact = closed_form(&qs[which], few + d * X);
            CHECK(vae_elbo(model, &data, &mean, each, NULL) == VAE_OK);
            for (r = 0; r < REPEATS; r++) {
                const double off = each[r].reconstruction - mean.reconstruction;
                variance += off * off / REPEATS;
                sum += each[r].elbo;
            }
            CHECK(variance > 0.01);
            CHECK_NEAR(mean.kl, exact.kl, 2e-6 * exact.kl);
            CHECK_NEAR(mean.reconstruction, exact.reconstruction, SIGMAS * sqrt(variance / REPEATS));
            CHECK_NEAR(mean.elbo, sum / REPEATS, 1e-9);
            CHECK(mean.elbo == -(mean.reconstruction + mean.kl) && mean.loss == -mean.elbo);
            if (which == 0) CHECK_NEAR(exact.elbo, exact_log_p(few + d * X), 1e-6);     /* the bound is tight there */
        }
        vae_destroy(model);
    }
    free(rows);
    free(each);
}

static void test_true_posterior_makes_every_sample_exact(void) {
    enum { COUNT = 500 };
    const posterior q = true_posterior();
    vae_model      *model = linear_model(&q);
    vae_real        rows[COUNT * X];
    double          each[COUNT], mean, sum = 0;
    vae_data        data = { .pixels = rows, .count = COUNT };
    const size_t    samples[] = { 1, 2, 3, 17, 200 };
    size_t          s, r;
    linear_rows(rows, COUNT);
    for (r = 0; r < COUNT; r++) sum += exact_log_p(rows + r * X);
    for (s = 0; s < sizeof samples / sizeof *samples; s++) {
        double worst = 0;
        CHECK(vae_log_likelihood(model, &data, samples[s], &mean, each, NULL) == VAE_OK);
        for (r = 0; r < COUNT; r++) worst = fmax(worst, fabs(each[r] - exact_log_p(rows + r * X)));
        CHECK_NEAR(worst, 0, 2e-5);             /* rounding of float alone: no spread between noises */
        CHECK_NEAR(mean, sum / COUNT, 1e-5);
    }
    vae_destroy(model);
}

static void test_log_likelihood_converges(void) {
    enum { COUNT = 1000 };
    const posterior q = wrong_posterior();
    vae_model      *model = linear_model(&q);
    vae_real       *rows = (vae_real *)malloc(COUNT * X * sizeof(vae_real));
    double         *each = (double *)malloc(COUNT * sizeof(double)), mean[5], error[5], exact = 0, elbo = 0,
                   variance = 0;
    vae_data        data = { .pixels = rows, .count = COUNT };
    const size_t    samples[] = { 1, 5, 50, 500, 5000 };
    size_t          s, r;
    linear_rows(rows, COUNT);
    for (r = 0; r < COUNT; r++) {
        exact += exact_log_p(rows + r * X) / COUNT;
        elbo += closed_form(&q, rows + r * X).elbo / COUNT;
    }
    for (s = 0; s < 5; s++) {
        if (samples[s] == 5000) data.count = 100;       /* enough for the error, and quick */
        CHECK(vae_log_likelihood(model, &data, samples[s], &mean[s], each, NULL) == VAE_OK);
        error[s] = 0;
        for (r = 0; r < data.count; r++) {
            const double off = each[r] - exact_log_p(rows + r * X);
            error[s] += off * off / (double)data.count;
            if (s == 0) variance += (off - (mean[0] - exact)) * (off - (mean[0] - exact)) / COUNT;
        }
        error[s] = sqrt(error[s]);
    }
    printf("  log-likelihood: root mean square errors %.3g %.3g %.3g %.3g %.3g for 1, 5, 50, 500, 5000 samples\n",
           error[0], error[1], error[2], error[3], error[4]);
    CHECK(error[1] < error[0] / 1.5 && error[2] < error[1] / 2 && error[3] < error[2] / 2 && error[4] < error[3] / 2);
    CHECK(error[4] < 0.02);
    CHECK_NEAR(mean[0], elbo, SIGMAS * sqrt(variance / COUNT));         /* one sample: the ELBO on average */
    CHECK(mean[1] > mean[0] && mean[2] > mean[1] && mean[3] > mean[2] - 0.002);
    CHECK(mean[1] > elbo && mean[3] > elbo);
    CHECK_NEAR(mean[3], exact, 0.005);
    free(rows);
    free(each);
    vae_destroy(model);
}

/* The same samples and results however the rows are spread over batches, and over what inference takes at once. */
static void test_results_do_not_depend_on_batches(void) {
    enum { COUNT = 2 * VAEI_INFERENCE_ROWS + 20 };
    const size_t batches[] = { 1, 7, 64, 128, 200, COUNT, 1000 };
    vae_real     pixels[COUNT * 6];
    struct {
        vae_real mean[COUNT * 3], logvar[COUNT * 3], reconstructed[COUNT * 6], decoded[COUNT * 6], sampled[COUNT * 6];
    } first, made;
    vae_terms    first_terms[COUNT], terms[COUNT];
    double       first_log_p[COUNT], log_p[COUNT];
    vae_data     data = { .pixels = pixels, .count = COUNT };
    size_t       b, i;
    for (i = 0; i < COUNT * 6; i++) pixels[i] = (vae_real)(0.5 + 0.5 * sin(1.7 * (double)i));
    for (b = 0; b < sizeof batches / sizeof *batches; b++) {
        const vae_config config = { .input = { 2, 3, 1 }, .latent = 3,
                                    .encoder = { VAE_CONV(3, 3, 1, VAE_TANH), VAE_DENSE(9, VAE_GELU) },
                                    .seed = 5, .batch = batches[b] };
        vae_model *model = make(&config);
        double     worst = 0;
        CHECK(vae_encode(model, &data, made.mean, made.logvar, NULL) == VAE_OK);
        CHECK(vae_reconstruct(model, &data, made.reconstructed, NULL) == VAE_OK);
        CHECK(vae_decode(model, &(vae_latents){ .z = made.mean, .count = COUNT }, made.decoded, NULL) == VAE_OK);
        CHECK(vae_sample(model, COUNT, made.sampled, NULL) == VAE_OK);
        CHECK(!memcmp(made.decoded, made.reconstructed, sizeof made.decoded));
        if (!b) first = made;
        CHECK(!memcmp(&made, &first, sizeof made));
        CHECK(vae_elbo(model, &data, NULL, b ? terms : first_terms, NULL) == VAE_OK);
        CHECK(vae_log_likelihood(model, &data, 9, NULL, b ? log_p : first_log_p, NULL) == VAE_OK);
        for (i = 0; b && i < COUNT; i++) {
            worst = fmax(worst, fabs(terms[i].reconstruction - first_terms[i].reconstruction));
            worst = fmax(worst, fabs(terms[i].kl - first_terms[i].kl));
            worst = fmax(worst, fabs(log_p[i] - first_log_p[i]));
        }
        CHECK_NEAR(worst, 0, 3e-6);
        vae_destroy(model);
    }
}

static void test_evaluation_is_repeatable(void) {
    enum { COUNT = 300 };
    const vae_config config = { .input = { 4, 4, 1 }, .latent = 3, .encoder = { VAE_DENSE(9, VAE_SILU) }, .seed = 6,
                                .batch = 50 };
    vae_model       *model = make(&config);
    unsigned char    bytes[COUNT * 16];
    vae_terms        a, b, each_a[COUNT], each_b[COUNT];
    double           log_a, log_b;
    vae_real         z[30], pixels[160];
    vae_data         data = { .bytes = bytes, .count = COUNT };
    size_t           i;
    for (i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * i % 251);
    CHECK(vae_elbo(model, &data, &a, each_a, NULL) == VAE_OK);
    CHECK(vae_log_likelihood(model, &data, 10, &log_a, NULL, NULL) == VAE_OK);
    CHECK(vae_sample_latent(model, 10, z, NULL) == VAE_OK);
    CHECK(vae_sample(model, 10, pixels, NULL) == VAE_OK);
    CHECK(vae_elbo(model, &data, &b, each_b, NULL) == VAE_OK);
    CHECK(vae_log_likelihood(model, &data, 10, &log_b, NULL, NULL) == VAE_OK);
    CHECK(!memcmp(&a, &b, sizeof a));
    CHECK(!memcmp(each_a, each_b, sizeof each_a));
    CHECK(log_a == log_b);
    for (i = 1; i < COUNT; i++) CHECK(each_a[i].kl >= 0);
    vae_destroy(model);
}

/* ---- samples from the prior ---- */

static void test_samples_are_decoded_latents(void) {
    enum { COUNT = 33 };
    const vae_config config = { .input = { 5, 4, 2 }, .latent = 3, .encoder = { VAE_CONV(4, 3, 2, VAE_RELU) },
                                .seed = 8, .batch = 10 };
    vae_model       *sampler = make(&config), *decoder = make(&config), *pieces = make(&config);
    vae_real         pixels[COUNT * 40], decoded[COUNT * 40], again[COUNT * 40], z[COUNT * 3];
    size_t           i;
    CHECK(vae_sample(sampler, COUNT, pixels, NULL) == VAE_OK);
    CHECK(vae_sample_latent(decoder, COUNT, z, NULL) == VAE_OK);
    CHECK(vae_decode(decoder, &(vae_latents){ .z = z, .count = COUNT }, decoded, NULL) == VAE_OK);
    CHECK(!memcmp(pixels, decoded, sizeof pixels));
    for (i = 0; i < COUNT * 40; i++) CHECK(pixels[i] > 0 && pixels[i] < 1);
    /* The sequence goes on from call to call, whichever call it is. */
    CHECK(vae_sample(pieces, 1, again, NULL) == VAE_OK);
    CHECK(vae_sample(pieces, 0, again, NULL) == VAE_OK);
    CHECK(vae_sample(pieces, 20, again + 40, NULL) == VAE_OK);
    CHECK(vae_sample_latent(pieces, 2, z, NULL) == VAE_OK);
    CHECK(vae_sample(pieces, COUNT - 23, again + 23 * 40, NULL) == VAE_OK);
    for (i = 0; i < COUNT * 40; i++)
        if (i / 40 != 21 && i / 40 != 22) CHECK_NEAR((double)again[i], (double)pixels[i], 1e-6);
    CHECK(vae_sample(sampler, COUNT, again, NULL) == VAE_OK);
    CHECK(memcmp(again, pixels, sizeof pixels) != 0);
    vae_destroy(sampler);
    vae_destroy(decoder);
    vae_destroy(pieces);
}

/* ---- shuffles ---- */

static void test_shuffle_is_a_permutation(void) {
    static const size_t counts[] = { 1, 2, 3, 4, 5, 7, 15, 16, 17, 63, 64, 65, 100, 255, 256, 257, 1000, 1024, 1025,
                                     4097, 60000 };
    size_t c, i, epoch;
    for (c = 0; c < sizeof counts / sizeof *counts; c++) {
        const size_t   n = counts[c];
        unsigned char *seen = (unsigned char *)malloc(n);
        for (epoch = 0; epoch < 5; epoch++) {
            const vaei_shuffle shuffle = vaei_shuffle_of(42, epoch, n), next = vaei_shuffle_of(42, epoch + 1, n);
            const vaei_shuffle other = vaei_shuffle_of(43, epoch, n);
            size_t             repeated = 0, outside = 0, same_next = 0, same_other = 0, in_place = 0;
            memset(seen, 0, n);
            for (i = 0; i < n; i++) {
                const size_t to = (size_t)vaei_shuffled(&shuffle, i);
                if (to >= n) { outside++; continue; }
                repeated += seen[to];
                seen[to] = 1;
                in_place += to == i;
                same_next += to == (size_t)vaei_shuffled(&next, i);
                same_other += to == (size_t)vaei_shuffled(&other, i);
            }
            CHECK(outside == 0 && repeated == 0);
            /* Fixed points of a random permutation: one on average, more than 12 has p < 1e-9. */
            if (n >= 63) CHECK(in_place <= 12 && same_next <= 12 && same_other <= 12);
        }
        free(seen);
    }
}

/* Where each place leads, over many epochs: uniform, by chi-square. */
static void test_shuffle_is_uniform(void) {
    static const size_t counts[] = { 2, 3, 5, 7, 10, 16, 33, 100 };
    enum { EPOCHS = 20000 };
    size_t c, place, epoch, i;
    for (c = 0; c < sizeof counts / sizeof *counts; c++) {
        const size_t n = counts[c];
        for (place = 0; place < n; place += n > 10 ? 9 : 1) {
            double hits[100] = { 0 }, chi = 0;
            const double expected = (double)EPOCHS / (double)n, degrees = (double)(n - 1);
            for (epoch = 0; epoch < EPOCHS; epoch++) {
                const vaei_shuffle shuffle = vaei_shuffle_of(7, epoch, n);
                hits[vaei_shuffled(&shuffle, place)]++;
            }
            for (i = 0; i < n; i++) chi += (hits[i] - expected) * (hits[i] - expected) / expected;
            /* Wilson and Hilferty: (chi / degrees)^(1/3) is about normal. */
            if (!((cbrt(chi / degrees) - (1 - 2 / (9 * degrees))) / sqrt(2 / (9 * degrees)) < SIGMAS))
                printf("%lu rows, place %lu: chi-square %.1f with %.0f degrees of freedom\n", (unsigned long)n,
                       (unsigned long)place, chi, degrees);
            CHECK((cbrt(chi / degrees) - (1 - 2 / (9 * degrees))) / sqrt(2 / (9 * degrees)) < SIGMAS);
        }
    }
    {   /* the orders of three rows: all six, equally often */
        double hits[27] = { 0 }, chi = 0;
        for (epoch = 0; epoch < EPOCHS; epoch++) {
            const vaei_shuffle shuffle = vaei_shuffle_of(11, epoch, 3);
            hits[9 * vaei_shuffled(&shuffle, 0) + 3 * vaei_shuffled(&shuffle, 1) + vaei_shuffled(&shuffle, 2)]++;
        }
        for (i = 0; i < 27; i++)
            if (hits[i] > 0) chi += (hits[i] - EPOCHS / 6.0) * (hits[i] - EPOCHS / 6.0) / (EPOCHS / 6.0);
        CHECK(chi < 40);        /* five degrees of freedom: p = 1.5e-7 */
        CHECK(hits[5] + hits[7] + hits[11] + hits[15] + hits[19] + hits[21] == EPOCHS);
    }
}

/* ---- noise of training ---- */

static void test_noise_does_not_depend_on_the_split(void) {
    enum { COUNT = 24 };
    const vae_config config = { .input = { 6, 5, 1 }, .latent = 4,
                                .encoder = { VAE_CONV(5, 3, 2, VAE_GELU), VAE_DENSE(11, VAE_TANH) },
                                .seed = 3, .batch = COUNT };
    const size_t splits[][5] = { { 24, 0 }, { 12, 12, 0 }, { 1, 23, 0 }, { 7, 3, 13, 1, 0 }, { 5, 5, 5, 9, 0 } };
    vae_model   *model = make(&config);
    const size_t parameters = vae_parameter_count(model);
    vae_real    *whole = (vae_real *)malloc(parameters * sizeof(vae_real)), pixels[COUNT * 30];
    double       reconstruction = 0, kl = 0, scale = 0;
    size_t       s, p, i;
    for (i = 0; i < COUNT * 30; i++) pixels[i] = (vae_real)(0.5 + 0.5 * sin(0.37 * (double)i));
    for (s = 0; s < 5; s++) {
        vae_terms sums = { 0 };
        vae_share share = { 0, COUNT };
        double    worst = 0;
        vae_clear_gradients(model);
        for (p = 0; splits[s][p]; p++) {
            const vae_data data = { .pixels = pixels + share.first * 30, .count = splits[s][p] };
            vae_terms      terms;
            CHECK(vae_accumulate_gradients(model, &data, &share, &terms, NULL) == VAE_OK);
            sums.reconstruction += terms.reconstruction * (double)data.count / COUNT;
            sums.kl += terms.kl * (double)data.count / COUNT;
            share.first += data.count;
        }
        if (s == 0) {
            reconstruction = sums.reconstruction;
            kl = sums.kl;
            memcpy(whole, vae_gradients(model), parameters * sizeof(vae_real));
            for (i = 0; i < parameters; i++) scale = fmax(scale, fabs((double)whole[i]));
            CHECK(scale > 1e-3);
            continue;
        }
        for (i = 0; i < parameters; i++) worst = fmax(worst, fabs((double)(vae_gradients(model)[i] - whole[i])));
        CHECK_NEAR(sums.reconstruction, reconstruction, 1e-6 * reconstruction);
        CHECK_NEAR(sums.kl, kl, 1e-6 * kl);
        CHECK_NEAR(worst, 0, 2e-6 * scale);
    }
    {   /* and it does depend on the row's place, and on the step */
        const vae_data data = { .pixels = pixels, .count = 2 };
        const vae_share here = { 0, COUNT }, there = { 10, COUNT };
        vae_terms a, b, c;
        CHECK(vae_accumulate_gradients(model, &data, &here, &a, NULL) == VAE_OK);
        CHECK(vae_accumulate_gradients(model, &data, &there, &b, NULL) == VAE_OK);
        CHECK(vae_set_learning_rate(model, 0, NULL) == VAE_OK);
        CHECK(vae_apply_gradients(model, NULL) == VAE_OK);
        CHECK(vae_accumulate_gradients(model, &data, &here, &c, NULL) == VAE_OK);
        CHECK(a.kl == b.kl && a.kl == c.kl);
        CHECK(a.reconstruction != b.reconstruction && a.reconstruction != c.reconstruction);
    }
    free(whole);
    vae_destroy(model);
}

/* ---- first weights ---- */

static void check_tensor(vae_model *model, const char *name, size_t count, vae_initialization how, double n, double m) {
    vae_real *values = (vae_real *)malloc(count * sizeof(vae_real));
    double    sum = 0, squares = 0, fourths = 0, largest = 0, variance, bound;
    size_t    i;
    const int bias = strstr(name, "bias") != NULL;
    CHECK(vae_get_tensor(model, name, values, count, NULL) == VAE_OK);
    for (i = 0; i < count; i++) {
        const double x = (double)values[i];
        sum += x;
        squares += x * x;
        fourths += x * x * x * x;
        largest = fmax(largest, fabs(x));
    }
    free(values);
    if (how != VAE_INIT_PYTORCH && bias) { CHECK(largest == 0); return; }
    if (how == VAE_INIT_HE) {
        variance = 2 / n;
        if (count > 1000)
            CHECK_NEAR(fourths / (double)count / (variance * variance), 3, SIGMAS * sqrt(96.0 / (double)count));
        CHECK_NEAR(squares / (double)count / variance, 1, SIGMAS * sqrt(2.0 / (double)count));
    } else {
        bound = how == VAE_INIT_GLOROT ? sqrt(6 / (n + m)) : 1 / sqrt(n);
        variance = bound * bound / 3;
        CHECK(largest <= bound * (1 + 1e-6));
        CHECK(largest > bound * (1 - 16 / (double)count));      /* all of them lower: p = exp(-16) */
        CHECK_NEAR(squares / (double)count / variance, 1, SIGMAS * sqrt(0.8 / (double)count));
    }
    CHECK_NEAR(sum / (double)count, 0, SIGMAS * sqrt(variance / (double)count));
}

static void test_first_weights(void) {
    const vae_initialization how[] = { VAE_INIT_PYTORCH, VAE_INIT_GLOROT, VAE_INIT_HE };
    size_t h;
    for (h = 0; h < 3; h++) {
        const vae_config config = { .input = { 16, 12, 3 }, .latent = 10, .seed = 1,
                                    .encoder = { VAE_CONV(32, 5, 2, VAE_RELU), VAE_CONV(48, 3, 2, VAE_RELU),
                                                 VAE_DENSE(200, VAE_RELU) },
                                    .initialization = how[h] };
        vae_model *model = make(&config);
        vae_real   mean[2000], logvar[2000];
        check_tensor(model, "encoder.1.weight", 32 * 3 * 25, how[h], 75, 32 * 25);
        check_tensor(model, "encoder.1.bias", 32, how[h], 75, 0);
        check_tensor(model, "encoder.4.weight", 48 * 32 * 9, how[h], 32 * 9, 48 * 9);
        check_tensor(model, "encoder.4.bias", 48, how[h], 32 * 9, 0);
        check_tensor(model, "encoder.7.weight", 200 * 576, how[h], 576, 200);
        check_tensor(model, "encoder.7.bias", 200, how[h], 576, 0);
        check_tensor(model, "mean.weight", 10 * 200, how[h], 200, 10);
        check_tensor(model, "logvar.weight", 10 * 200, how[h], 200, 10);
        check_tensor(model, "decoder.0.weight", 200 * 10, how[h], 10, 200);
        check_tensor(model, "decoder.2.weight", 576 * 200, how[h], 200, 576);
        /* transposed: [in, out, height, width]; PyTorch counts the output channels */
        if (how[h] != VAE_INIT_HE) {
            check_tensor(model, "decoder.5.weight", 48 * 32 * 9, how[h], 32 * 9, 48 * 9);
            check_tensor(model, "decoder.5.bias", 32, how[h], 32 * 9, 0);
            check_tensor(model, "decoder.8.weight", 32 * 3 * 25, how[h], 3 * 25, 32 * 25);
        }
        CHECK(vae_get_tensor(model, "mean.weight", mean, 2000, NULL) == VAE_OK);
        CHECK(vae_get_tensor(model, "logvar.weight", logvar, 2000, NULL) == VAE_OK);
        CHECK(memcmp(mean, logvar, sizeof mean) != 0);
        vae_destroy(model);
    }
}

int main(void) {
    RUN(test_sampler_moments);
    RUN(test_seeds_are_independent);
    RUN(test_kl_against_integration);
    RUN(test_logvar_is_held);
    RUN(test_bernoulli_nats);
    RUN(test_bernoulli_sums);
    RUN(test_gaussian_nats);
    RUN(test_elbo_equals_its_closed_form);
    RUN(test_true_posterior_makes_every_sample_exact);
    RUN(test_log_likelihood_converges);
    RUN(test_results_do_not_depend_on_batches);
    RUN(test_evaluation_is_repeatable);
    RUN(test_samples_are_decoded_latents);
    RUN(test_shuffle_is_a_permutation);
    RUN(test_shuffle_is_uniform);
    RUN(test_noise_does_not_depend_on_the_split);
    RUN(test_first_weights);
    return test_finish();
}
