/* anomaly_detector.h - learns what normal rows of a table look like, and says how odd others are.

   Four models share the work. The fine one (beta 1) learns how the columns belong together. The coarse one (beta 5)
   keeps only what is strongest, of few columns often nothing, and sees which rows are far from all others. The middle
   one (beta 3) keeps more, since it learns how far off each column may be: that makes a code worth its price where
   columns follow from each other. A row's score in these is its negative ELBO, but with codes of normal rows in place
   of the prior N(0, I): the mean of their posteriors, the prior that fits them best (Tomczak and Welling 2018, "VAE
   with a VampPrior"). The exact one (beta 1, how far off each column may be) finds the one reading that the others
   speak against. Its score is the reconstruction alone: some hundred codes lie so far apart that normal rows miss them
   all.

   All count in units of the held-out rows' scores, the exact one only beyond the largest of these: below it, columns
   that follow from the others but for rare exceptions would drown what the others see.

   Of a row with gaps (NaN) the numbers that are there are scored. Each gap adds what its column adds on average to a
   held-out row's score, or else rows would look the more normal, or the odder, the fewer numbers they have. So that
   gaps tell the models nothing, numbers of the training rows are hidden as often as they are missing. */
#ifndef ANOMALY_DETECTOR_H
#define ANOMALY_DETECTOR_H

#include "../../vae.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

enum { DETECTOR_FINE, DETECTOR_COARSE, DETECTOR_MIDDLE, DETECTOR_EXACT, DETECTOR_MODELS };
enum { DETECTOR_CODES = 2000, DETECTOR_LATENT = 16 };

typedef struct detector_model {
    vae_model *model;
    size_t     codes;                   /* of normal rows */
    float     *mean, *logvar, *inverse; /* of each code's posterior; the inverse of its variance */
    double     middle, high;            /* scores of held-out rows: half of them; nine in ten, or all, are not above */
    double    *usual;                   /* what each column adds to the reconstruction of such a row, on average */
} detector_model;

typedef struct detector {
    detector_model models[DETECTOR_MODELS];
    size_t         columns;
    double         threshold;
    double         gaps;                /* the share of numbers that are missing */
    int          (*on_progress)(void *user, const vae_progress *progress);
    void          *user;
} detector;

static inline void detector_destroy(detector *d) {
    int k;
    for (k = 0; k < DETECTOR_MODELS; k++) {
        vae_destroy(d->models[k].model);
        free(d->models[k].mean);
        free(d->models[k].logvar);
        free(d->models[k].inverse);
        free(d->models[k].usual);
    }
    memset(d, 0, sizeof *d);
}

static inline vae_status detector_no_memory(vae_error *error) {
    error->status = VAE_ERROR_MEMORY;
    strcpy(error->message, "not enough memory for the table's scores");
    return error->status;
}

static inline int detector_by_size(const void *a, const void *b) {
    const double left = *(const double *)a, right = *(const double *)b;
    return (left < right) - (left > right);
}

/* The least of the `most` largest of the scores. */
static inline vae_status detector_largest(const double *scores, size_t count, size_t most, double *least,
                                          vae_error *error) {
    double *sorted = malloc((count + 1) * sizeof *sorted);
    if (!sorted) return detector_no_memory(error);
    memcpy(sorted, scores, count * sizeof *scores);
    qsort(sorted, count, sizeof *sorted, detector_by_size);
    if (count) *least = sorted[most < 1 ? 0 : most < count ? most - 1 : count - 1];
    free(sorted);
    return VAE_OK;
}

/* log q(z | x) at its own mean, less the log of the mean of q(z | code) over the codes. */
static inline double detector_divergence(const detector_model *m, const float *mean, const float *logvar) {
    double largest = -1e300, sum = 0, own = 0;
    size_t i, k;
    for (k = 0; k < DETECTOR_LATENT; k++) own -= (double)logvar[k] / 2;
    for (i = 0; i < m->codes; i++) {
        const size_t at = i * DETECTOR_LATENT;
        float        log_q = 0;
        for (k = 0; k < DETECTOR_LATENT; k++) {
            const float off = mean[k] - m->mean[at + k];
            log_q -= 0.5f * (off * off * m->inverse[at + k] + m->logvar[at + k]);
        }
        if ((double)log_q > largest) {
            sum = sum * exp(largest - (double)log_q) + 1;
            largest = (double)log_q;
        } else sum += exp((double)log_q - largest);
    }
    return own - largest - log(sum / (double)m->codes);
}

static inline vae_status detector_score_in(const detector *d, int kind, const vae_data *rows, double *each,
                                           vae_error *error) {
    const detector_model  *m = &d->models[kind];
    const vae_score_config reconstruction = { .kind = VAE_SCORE_RECONSTRUCTION };
    float     *mean = malloc((rows->count + 1) * DETECTOR_LATENT * sizeof *mean);
    float     *logvar = malloc((rows->count + 1) * DETECTOR_LATENT * sizeof *logvar);
    vae_status status = mean && logvar ? VAE_OK : detector_no_memory(error);
    size_t     i, k;
    if (status == VAE_OK) status = vae_score(m->model, rows, &reconstruction, each, error);
    for (i = 0; status == VAE_OK && d->gaps > 0 && i < rows->count; i++)
        for (k = 0; k < d->columns; k++)
            if (rows->pixels[i * d->columns + k] != rows->pixels[i * d->columns + k]) each[i] += m->usual[k];
    if (status == VAE_OK && m->codes) status = vae_encode(m->model, rows, mean, logvar, error);
    for (i = 0; status == VAE_OK && m->codes && i < rows->count; i++)
        each[i] += detector_divergence(m, mean + i * DETECTOR_LATENT, logvar + i * DETECTOR_LATENT);
    free(mean);
    free(logvar);
    return status;
}

/* The score of each row; d->threshold is where odd ones begin. Beyond the held-out rows' own a score counts by its
   logarithm, so that no model drowns the others. */
static inline vae_status detector_score(const detector *d, const vae_data *rows, double *each, vae_error *error) {
    double    *scores = malloc((rows->count + 1) * sizeof *scores);
    vae_status status = scores ? VAE_OK : detector_no_memory(error);
    size_t     i;
    int        k;
    for (i = 0; i < rows->count; i++) each[i] = 0;
    for (k = 0; status == VAE_OK && k < DETECTOR_MODELS; k++) {
        const detector_model *m = &d->models[k];
        status = detector_score_in(d, k, rows, scores, error);
        for (i = 0; status == VAE_OK && i < rows->count; i++) {
            const double above = (scores[i] - m->middle) / fmax(m->high - m->middle, 1e-9);
            if (k == DETECTOR_EXACT) each[i] += above > 1 ? 1.5 * log(above) : 0;
            else each[i] += above > 0 ? log(1 + above) : above;
        }
    }
    free(scores);
    return status;
}

/* `scores` has room for one of each number. */
static inline vae_status detector_find_usual(const detector *d, detector_model *m, const vae_data *held, double *scores,
                                             vae_error *error) {
    vae_status status = (m->usual = calloc(d->columns, sizeof *m->usual)) ? VAE_OK : detector_no_memory(error);
    size_t     i, k, known;
    if (status == VAE_OK) status = vae_score_numbers(m->model, held, NULL, scores, error);
    for (k = 0; status == VAE_OK && k < d->columns; k++) {
        for (known = 0, i = k; i < held->count * d->columns; i += d->columns)
            if (held->pixels[i] == held->pixels[i]) {
                m->usual[k] += scores[i];
                known++;
            }
        if (known) m->usual[k] /= (double)known;
    }
    return status;
}

static inline vae_status detector_fit(detector *d, int kind, const vae_data *training, const vae_data *held,
                                      size_t steps, double *scores, vae_error *error) {
    detector_model  *m = &d->models[kind];
    const size_t     batches = (training->count + 127) / 128, codes = kind == DETECTOR_EXACT ? 0 : training->count;
    const size_t     epochs = batches ? (steps + batches - 1) / batches : 1;
    const vae_fit_config fit = { .epochs = epochs, .on_progress = d->on_progress, .user = d->user };
    const vae_config config = {
        .input = { 1, (int)d->columns, 1 }, .latent = DETECTOR_LATENT,
        .encoder = { VAE_DENSE(128, VAE_SILU), VAE_DENSE(128, VAE_SILU) },
        .likelihood = VAE_GAUSSIAN, .sigma_per_pixel = kind >= DETECTOR_MIDDLE, .standardize = 1,
        .missing = d->gaps > 0,
        .corruption = { d->gaps > 0 ? VAE_CORRUPTION_MASKING : VAE_CORRUPTION_NONE, (vae_real)d->gaps },
        .beta = kind == DETECTOR_COARSE ? 5 : kind == DETECTOR_MIDDLE ? 3 : 1,
        .optimizer = { .learning_rate = 2e-3f, .schedule = { .kind = VAE_COSINE, .steps = epochs * batches + 1 } }
    };
    vae_data   some = *training;
    vae_status status;
    size_t     i;
    some.count = m->codes = codes < DETECTOR_CODES ? codes : DETECTOR_CODES;
    m->mean = malloc((m->codes + 1) * DETECTOR_LATENT * sizeof *m->mean);
    m->logvar = malloc((m->codes + 1) * DETECTOR_LATENT * sizeof *m->logvar);
    m->inverse = malloc((m->codes + 1) * DETECTOR_LATENT * sizeof *m->inverse);
    status = m->mean && m->logvar && m->inverse ? VAE_OK : detector_no_memory(error);
    if (status == VAE_OK) status = vae_create(&config, &m->model, error);
    if (status == VAE_OK && d->on_progress) printf("model %d of %d\n", kind + 1, DETECTOR_MODELS);
    if (status == VAE_OK) status = vae_fit(m->model, training, &fit, error);
    if (status == VAE_OK && codes) status = vae_encode(m->model, &some, m->mean, m->logvar, error);
    for (i = 0; status == VAE_OK && i < m->codes * DETECTOR_LATENT; i++)
        m->inverse[i] = (float)exp(-(double)m->logvar[i]);
    if (status == VAE_OK) status = detector_find_usual(d, m, held, scores, error);
    if (status == VAE_OK) status = detector_score_in(d, kind, held, scores, error);
    if (status == VAE_OK) status = vae_quantile(scores, held->count, 0.5, &m->middle, error);
    if (status == VAE_OK && kind == DETECTOR_EXACT) return detector_largest(scores, held->count, 1, &m->high, error);
    return status == VAE_OK ? vae_quantile(scores, held->count, 0.9, &m->high, error) : status;
}

/* Learns from rows in an order of chance; a fifth of them, the last, is held out. `alarms` is the share of normal rows
   that may be taken for odd. Set d->gaps, which is 0 where none of these rows nor of those to score has any, and where
   wanted d->on_progress. Release with detector_destroy, after a failure too. */
static inline vae_status detector_learn(detector *d, const float *rows, size_t count, size_t columns, double alarms,
                                        size_t steps, vae_error *error) {
    const vae_data training = { .pixels = rows, .count = count - count / 5 };
    const vae_data held = { .pixels = rows + training.count * columns, .count = count / 5 };
    double        *scores = malloc((held.count * columns + 1) * sizeof *scores);
    vae_status     status = scores ? VAE_OK : detector_no_memory(error);
    int            k;
    d->columns = columns;
    for (k = 0; status == VAE_OK && k < DETECTOR_MODELS; k++)
        status = detector_fit(d, k, &training, &held, steps, scores, error);
    if (status == VAE_OK) status = detector_score(d, &held, scores, error);
    if (status == VAE_OK) status = vae_quantile(scores, held.count, 1 - alarms, &d->threshold, error);
    free(scores);
    return status;
}

/* Whether the fifth of the rows that is held out suffices for the quantiles that are taken of their scores. */
static inline int detector_check_count(size_t count, double alarms, char *message) {
    const double held = fmax(9, ceil((1 - alarms) / alarms - 1e-9));
    if ((double)(count / 5) >= held) return 0;
    return fail(message, "%lu rows are too few for --alarms %g: at least %.0f are needed, or more --alarms",
                (unsigned long)count, alarms, 5 * held);
}

/* For one row: what each column adds beyond what is usual, and the value that the exact model has in its place. Gaps
   come last. */
static inline vae_status detector_explain(const detector *d, const float *row, double *added, float *expected,
                                          vae_error *error) {
    const vae_data one = { .pixels = row, .count = 1 };
    const detector_model *exact = &d->models[DETECTOR_EXACT];
    vae_status     status = vae_score_numbers(exact->model, &one, NULL, added, error);
    size_t         k;
    for (k = 0; status == VAE_OK && k < d->columns; k++)
        added[k] = row[k] == row[k] ? added[k] - exact->usual[k] : -1e300;
    return status == VAE_OK ? vae_reconstruct(exact->model, &one, expected, error) : status;
}

#endif
