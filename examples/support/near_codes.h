/* near_codes.h - new codes z from where the codes of given rows lie.

   Few rows, known by heart, have codes far from each other. Most of N(0, I) is then empty, and the decoder has not
   learned what to make of a place that no code was near. So a new code is that of a row, drawn in towards the mean of
   all and then moved by a Gaussian with the covariance of all: a smoothed bootstrap (Silverman 1986, section 6.4). New
   codes have the mean and covariance of the given ones, at any spread from 0 (a row's own code) to 1 (the Gaussian
   alone). */
#ifndef NEAR_CODES_H
#define NEAR_CODES_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

/* 32 bits of splitmix64 (Steele, Lea and Flood 2014). */
static inline uint32_t near_codes_bits(uint64_t *state) {
    uint64_t x = *state += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)(x >> 32);
}

/* From N(0, 1), by Box and Muller. */
static inline double near_codes_normal(uint64_t *state) {
    const double u = (near_codes_bits(state) + 0.5) / 4294967296.0, angle = near_codes_bits(state) / 4294967296.0;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * angle);
}

/* codes: rows x latent; to: count x latent. Returns -1 where there is not enough memory. */
static inline int near_codes(const float *codes, size_t rows, size_t latent, double spread, uint64_t seed, size_t count,
                             float *to) {
    const double kept = sqrt(1 - spread * spread), moved = spread / sqrt((double)rows);
    double      *mean = (double *)calloc(2 * latent, sizeof *mean), *sum = mean + latent;
    size_t       i, k, row;
    if (!mean) return -1;
    for (row = 0; row < rows; row++)
        for (k = 0; k < latent; k++) mean[k] += (double)codes[row * latent + k] / (double)rows;
    for (i = 0; i < count; i++, to += latent) {
        const size_t from = (size_t)((uint64_t)near_codes_bits(&seed) * rows >> 32);
        for (k = 0; k < latent; k++) sum[k] = mean[k] + kept * ((double)codes[from * latent + k] - mean[k]);
        /* All rows' codes in random parts add up to a Gaussian with their covariance. */
        for (row = 0; moved > 0 && row < rows; row++) {
            const double part = moved * near_codes_normal(&seed);
            for (k = 0; k < latent; k++) sum[k] += part * ((double)codes[row * latent + k] - mean[k]);
        }
        for (k = 0; k < latent; k++) to[k] = (float)sum[k];
    }
    free(mean);
    return 0;
}

#ifdef VAE_H
/* vae_sample, but from near the codes of these rows. */
static inline vae_status sample_near(vae_model *model, const vae_data *rows, double spread, long long seed,
                                     size_t count, float *pixels, vae_error *error) {
    const size_t latent = vae_latent_size(model);
    float       *codes = (float *)malloc((rows->count + count) * latent * sizeof *codes);
    vae_latents  drawn = { NULL, count, NULL };
    vae_status   status = codes ? vae_encode(model, rows, codes, NULL, error) : VAE_ERROR_MEMORY;
    if (status == VAE_OK) {
        float *const to = codes + rows->count * latent;
        drawn.z = to;
        if (near_codes(codes, rows->count, latent, spread, (uint64_t)seed, count, to) != 0) status = VAE_ERROR_MEMORY;
    }
    if (status == VAE_OK) status = vae_decode(model, &drawn, pixels, error);
    else if (status == VAE_ERROR_MEMORY) snprintf(error->message, sizeof error->message, "not enough memory for codes");
    free(codes);
    return status;
}
#endif

#endif
