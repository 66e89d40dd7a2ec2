/* web.c - what the page asks of vae.h, as functions that take and give numbers and use the arrays below. There is no C
   library, no heap and no clock: models live in static blocks. Model 0 comes trained, model 1 is trained by the page.
   Functions return 0, or a vae_status, and then message() has the sentence. tests/test_web.c runs all this natively. */
#define VAE_STATIC
#define VAE_NO_STDIO
#define VAE_NO_MALLOC
#define VAE_IMPLEMENTATION
#include "../../vae.h"

#include "../../data/digits.h"
#include "network.h"

#ifdef __wasm__
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT static
#endif

enum { MODELS = 2, MOST_DECODED = 64, MOST_PACKED = 1 << 16, BLOCK = 12 << 20 };

static struct {
    vae_model *model;
    int        latent;
    vae_real   block[BLOCK / sizeof(vae_real)];
} models[MODELS];

static vae_error error;

/* Read and written by the page, which asks where they are. */
static unsigned char packed[MOST_PACKED];
static vae_real      points[MOST_DECODED * WEB_LATENT], pixels[MOST_DECODED * PIXELS], picture[PIXELS];
static vae_real      posterior[2 * WEB_LATENT];         /* mean, then log variance */
static double        terms[3];                          /* loss, reconstruction, KL */
static int           order[WEB_LATENT];                 /* the dimensions, the one that carries most first */

EXPORT unsigned char *packed_at(void) { return packed; }
EXPORT vae_real      *points_at(void) { return points; }
EXPORT vae_real      *pixels_at(void) { return pixels; }
EXPORT vae_real      *picture_at(void) { return picture; }
EXPORT vae_real      *posterior_at(void) { return posterior; }
EXPORT double        *terms_at(void) { return terms; }
EXPORT int           *order_at(void) { return order; }
EXPORT const char    *message(void) { return error.message; }
EXPORT int            latent(int m) { return models[m].latent; }

/* Digits drawn as they are needed: `count` of them from number `first` on, none of which comes twice. */
static vae_data draw_digits(size_t first, size_t count) {
    static unsigned char images[WEB_BATCH * PIXELS];
    static tables        looked_up;
    static int           is_made;
    vae_data             data = { .bytes = images, .count = count };
    if (!is_made) make_tables(&looked_up);
    is_made = 1;
    for (size_t i = 0; i < count; i++) draw_digit(1, 0, first + i, &looked_up, images + i * PIXELS);
    return data;
}

static void set_terms(const vae_terms *from) {
    terms[0] = from->loss;
    terms[1] = from->reconstruction;
    terms[2] = from->kl;
}

static int create(int m, vae_config *config) {
    config->kernels = VAE_KERNELS_PORTABLE;
    models[m].latent = config->latent;
    return (int)vae_create_in(config, models[m].block, sizeof models[m].block, &models[m].model, &error);
}

/* Model 0, from so many bytes in `packed`. */
EXPORT int load(int size) {
    vae_config config = built_in_network();
    config.inference_only = 1;
    if (create(0, &config) != VAE_OK) return (int)error.status;
    return unpack_weights(models[0].model, packed, (size_t)size) ? VAE_OK : VAE_ERROR_FORMAT;
}

/* Model 1, with fresh weights. The last bias makes it begin with black images, as most of their pixels are: else grey
   lingers where no digit lands. */
EXPORT int begin(int latent_size, int seed) {
    vae_config config = page_network(latent_size, seed);
    if (latent_size < 1 || latent_size > WEB_LATENT) return VAE_ERROR_ARGUMENT;
    if (create(1, &config) != VAE_OK) return (int)error.status;
    for (int i = 0; i < PIXELS; i++) pixels[i] = -3;
    return (int)vae_set_tensor(models[1].model, "decoder.4.bias", pixels, PIXELS, &error);
}

/* A step of training of model 1 on WEB_BATCH new digits. `terms` receives what it cost. */
EXPORT int train(void) {
    vae_state  state;
    vae_terms  step = { 0 };
    vae_data   batch;
    vae_status status;
    vae_get_state(models[1].model, &state);
    batch = draw_digits((size_t)state.step * WEB_BATCH, WEB_BATCH);
    status = vae_train_step(models[1].model, &batch, &step, &error);
    if (status == VAE_OK) set_terms(&step);
    return (int)status;
}

/* The first `count` of the `points`, one z after the other, to `pixels`. */
EXPORT int decode(int m, int count) {
    const vae_latents latents = { .z = points, .count = (size_t)count };
    if (count < 0 || count > MOST_DECODED) return VAE_ERROR_ARGUMENT;
    return (int)vae_decode(models[m].model, &latents, pixels, &error);
}

/* Where `picture` lands, and its terms. */
EXPORT int encode(int m) {
    const vae_data row = { .pixels = picture, .count = 1 };
    vae_terms      its = { 0 };
    if (vae_encode(models[m].model, &row, posterior, posterior + WEB_LATENT, &error) != VAE_OK ||
        vae_elbo(models[m].model, &row, &its, NULL, &error) != VAE_OK) return (int)error.status;
    set_terms(&its);
    return VAE_OK;
}

/* Sorts the dimensions by what they carry of some drawn digits: the first two make the plane. */
EXPORT int sort_dimensions(int m) {
    const vae_data digits = draw_digits(0, WEB_BATCH);
    vae_dimension  each[WEB_LATENT];
    int            i, j;
    if (vae_latent_statistics(models[m].model, &digits, each, NULL, &error) != VAE_OK) return (int)error.status;
    for (i = 0; i < models[m].latent; i++) {
        for (j = i; j > 0 && each[order[j - 1]].kl < each[i].kl; j--) order[j] = order[j - 1];
        order[j] = i;
    }
    return VAE_OK;
}

/* Of the weights, for tests: the same in the browser as anywhere. */
EXPORT uint32_t weights_hash(int m) {
    const vae_real *weights = vae_weights(models[m].model);
    const size_t    count = vae_weight_count(models[m].model);
    uint32_t        hash = 2166136261u, bits;
    for (size_t i = 0; i < count; i++) {
        memcpy(&bits, weights + i, sizeof bits);
        hash = (hash ^ bits) * 16777619u;
    }
    return hash;
}
