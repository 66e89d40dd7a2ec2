/* Models that read weights which are not their own: views, constant weights, parts; several threads at the same time.
   Under -fsanitize=thread and address. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#ifndef __wasi__
#include <pthread.h>
#define HAS_PTHREADS 1
#endif
#include <stdlib.h>
#include "ledger.h"
#include "test.h"

enum { ROWS = 40, SIZE = 12 * 10 * 2, LATENT = 5, THREADS = 4 };

static vae_config network(int dense) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.input.height = 12;
    c.input.width = 10;
    c.input.channels = 2;
    c.latent = LATENT;
    c.batch = 16;
    c.seed = 9;
    c.threads = 1;
    c.encoder[0] = dense ? VAE_DENSE(33, VAE_TANH) : VAE_CONV(6, 3, 2, VAE_SILU);
    c.encoder[1] = VAE_DENSE(21, VAE_RELU);
    if (!dense) c.likelihood = VAE_GAUSSIAN;
    return c;
}

static unsigned char images[ROWS * SIZE];
static const vae_data rows = { .bytes = images, .count = ROWS };

typedef struct results {
    vae_real  mean[ROWS * LATENT], logvar[ROWS * LATENT], decoded[ROWS * SIZE], again[ROWS * SIZE], drawn[ROWS * SIZE];
    vae_terms terms;
    double    log_p;
} results;

/* Everything that inference gives. */
static void infer(vae_model *model, results *r) {
    vae_latents z = { 0 };
    memset(r, 0, sizeof *r);
    CHECK(vae_encode(model, &rows, r->mean, r->logvar, NULL) == VAE_OK);
    z.z = r->mean;
    z.count = ROWS;
    CHECK(vae_decode(model, &z, r->decoded, NULL) == VAE_OK);
    CHECK(vae_reconstruct(model, &rows, r->again, NULL) == VAE_OK);
    CHECK(vae_sample(model, ROWS, r->drawn, NULL) == VAE_OK);
    CHECK(vae_elbo(model, &rows, &r->terms, NULL, NULL) == VAE_OK);
    CHECK(vae_log_likelihood(model, &rows, 5, &r->log_p, NULL, NULL) == VAE_OK);
}

static vae_model *trained(const vae_config *c) {
    vae_model     *model = NULL;
    vae_fit_config fit;
    size_t         i;
    for (i = 0; i < sizeof images; i++) images[i] = (unsigned char)(i * i % 251);
    memset(&fit, 0, sizeof fit);
    fit.epochs = 3;
    CHECK(vae_create(c, &model, NULL) == VAE_OK);
    CHECK(vae_fit(model, &rows, &fit, NULL) == VAE_OK);
    return model;
}

static int same(const results *a, const results *b) { return !memcmp(a, b, sizeof *a); }

/* ---- in several threads ---- */

typedef struct job { vae_model *view; results *got; } job;

#ifdef HAS_PTHREADS
static void *work(void *argument) {
    job *j = (job *)argument;
    int  turn;
    for (turn = 0; turn < 3; turn++) {
        infer(j->view, j->got);
        j->view->samples_drawn = 0;
    }
    return NULL;
}

TEST(test_views_in_several_threads) {
    int dense, i;
    for (dense = 0; dense < 2; dense++) {
        const vae_config c = network(dense);
        vae_model       *model = trained(&c);
        results         *expected = (results *)malloc(sizeof *expected),
                        *got = (results *)malloc(THREADS * sizeof *got);
        pthread_t        threads[THREADS];
        job              jobs[THREADS];
        for (i = 0; i < THREADS; i++) {
            vae_config changes;
            memset(&changes, 0, sizeof changes);
            changes.batch = i % 2 ? 7 : 0;
            jobs[i].view = NULL;
            jobs[i].got = &got[i];
            CHECK(vae_create_view(model, i ? &changes : NULL, &jobs[i].view, NULL) == VAE_OK);
            CHECK(vae_weights(jobs[i].view) == vae_weights(model));
        }
        for (i = 0; i < THREADS; i++) CHECK(!pthread_create(&threads[i], NULL, work, &jobs[i]));
        for (i = 0; i < THREADS; i++) CHECK(!pthread_join(threads[i], NULL));
        infer(model, expected);
        for (i = 0; i < THREADS; i++) {
            CHECK(same(&got[i], expected));
            vae_destroy(jobs[i].view);
        }
        vae_destroy(model);
        free(expected);
        free(got);
    }
}

#else
TEST(test_views_in_several_threads) { SKIP("WASI has no threads"); }
#endif

/* ---- what a view is ---- */

static int is_refused(vae_status status, const vae_error *error, const char *part) {
    CHECK_CONTAINS(error->message, part);
    return status == VAE_ERROR_ARGUMENT && error->status == status;
}

TEST(test_a_view_reads_only) {
    const vae_config c = network(0);
    vae_model       *model = trained(&c), *view = NULL, *second = NULL, *none = NULL;
    results         *a = (results *)malloc(sizeof *a), *b = (results *)malloc(sizeof *b);
    vae_config       config;
    vae_error        error;
    vae_real         values[6] = { 0 };
    unsigned char    file[60000];
    size_t           size = 0;
    CHECK(vae_create_view(model, NULL, &view, NULL) == VAE_OK && vae_create_view(view, NULL, &second, NULL) == VAE_OK);
    infer(model, a);
    infer(second, b);
    CHECK(same(a, b));
    CHECK(!vae_parameters(view) && !vae_gradients(view) && vae_weight_count(view) == vae_weight_count(model));
    CHECK(is_refused(vae_train_step(view, &rows, NULL, &error), &error, "another's"));
    CHECK(is_refused(vae_set_tensor(view, "encoder.1.bias", values, 6, &error), &error, "only reads its weights"));
    CHECK(vae_save_memory(model, 0, file, sizeof file, &size, NULL) == VAE_OK);
    CHECK(is_refused(vae_load_weights_memory(view, file, size, &error), &error, "only reads its weights"));
    CHECK(vae_get_tensor(view, "encoder.1.bias", values, 6, NULL) == VAE_OK && values[0] != 0);
    vae_get_config(view, &config);
    CHECK(config.inference_only && config.weights == vae_weights(model) && config.threads == 1 && config.seed == 9);
    /* What the model learns, its views know at once. */
    CHECK(vae_set_tensor(model, "encoder.1.bias", values + 1, 5, &error) == VAE_ERROR_ARGUMENT);
    values[0] += 1;
    CHECK(vae_set_tensor(model, "encoder.1.bias", values, 6, NULL) == VAE_OK);
    infer(view, a);
    CHECK(!same(a, b));
    vae_destroy(second);
    vae_destroy(view);
    CHECK(vae_create_view(NULL, NULL, &none, &error) == VAE_ERROR_ARGUMENT && !none);
    memset(&config, 0, sizeof config);
    config.batch = (size_t)-1;
    CHECK(vae_create_view(model, &config, &none, &error) == VAE_ERROR_CONFIG && !none);
    CHECK_CONTAINS(error.message, "batch is");
    vae_destroy(model);
    free(a);
    free(b);
}

/* A view takes from the allocator that it is given, only its own workspace, and gives it back. */
TEST(test_memory_of_views) {
    vae_config c = network(1), changes;
    ledger     l, other;
    vae_model *model, *view = NULL;
    size_t     whole;
    c.allocator = ledger_allocator(&l);
    model = trained(&c);
    whole = l.bytes;
    CHECK(vae_create_view(model, NULL, &view, NULL) == VAE_OK);
    CHECK(l.bytes > whole && l.bytes - whole < whole - 3 * vae_parameter_count(model) * sizeof(vae_real));
    vae_destroy(view);
    memset(&changes, 0, sizeof changes);
    changes.allocator = ledger_allocator(&other);
    CHECK(vae_create_view(model, &changes, &view, NULL) == VAE_OK);
    CHECK(l.bytes == whole && other.live == 1);
    vae_destroy(view);
    CHECK(!other.live && !other.mismatched);
    vae_destroy(model);
    CHECK(!l.live && !l.mismatched);
}

/* ---- constant weights ---- */

TEST(test_constant_weights) {
    int dense;
    for (dense = 0; dense < 2; dense++) {
        vae_config c = network(dense);
        vae_model *model = trained(&c), *reader = NULL;
        results   *a = (results *)malloc(sizeof *a), *b = (results *)malloc(sizeof *b);
        size_t     count = vae_weight_count(model), with, without;
        /* of no alignment but its own */
        vae_real  *kept = (vae_real *)malloc((count + 1) * sizeof *kept), *flash = kept + 1;
        memcpy(flash, vae_weights(model), count * sizeof *flash);
        infer(model, a);
        vae_destroy(model);
        c.inference_only = 1;
        CHECK(vae_memory_needed(&c, &with, NULL) == VAE_OK);
        c.inference_only = 0;
        c.weights = flash;
        CHECK(vae_memory_needed(&c, &without, NULL) == VAE_OK);
        CHECK(with - without >= count * sizeof(vae_real) && with - without < count * sizeof(vae_real) + 64);
        CHECK(vae_create(&c, &reader, NULL) == VAE_OK);
        CHECK(vae_weights(reader) == flash && !vae_parameters(reader));
        infer(reader, b);
        CHECK(same(a, b));
        vae_destroy(reader);
        free(kept);
        free(a);
        free(b);
    }
}

/* ---- parts ---- */

TEST(test_parts) {
    int dense;
    for (dense = 0; dense < 2; dense++) {
        vae_config  c = network(dense), config;
        vae_model  *model = NULL, *encoder = NULL, *decoder = NULL, *view = NULL;
        results    *r = (results *)malloc(sizeof *r);
        vae_real    mean[ROWS * LATENT], logvar[ROWS * LATENT], *pixels = r->again;
        vae_latents z = { 0 };
        vae_error   error;
        vae_tensor  tensor;
        size_t      i, k, whole, half, tensors, parameters;
        char        text[4000];
        CHECK(vae_create(&c, &model, NULL) == VAE_OK);
        infer(model, r);
        CHECK(vae_memory_needed(&c, &whole, NULL) == VAE_OK);
        c.part = VAE_ENCODER_ONLY;
        CHECK(vae_memory_needed(&c, &half, NULL) == VAE_OK && half < whole / 2);
        CHECK(vae_create(&c, &encoder, NULL) == VAE_OK);
        c.part = VAE_DECODER_ONLY;
        CHECK(vae_memory_needed(&c, &half, NULL) == VAE_OK && half < whole / 2);
        CHECK(vae_create(&c, &decoder, NULL) == VAE_OK);
        tensors = vae_tensor_count(model);
        parameters = vae_parameter_count(model);
        CHECK(vae_tensor_count(encoder) + vae_tensor_count(decoder) == tensors);
        CHECK(vae_parameter_count(encoder) + vae_parameter_count(decoder) == parameters);
        /* each tensor of the whole is in one part, with the same first weights */
        for (i = 0; i < tensors; i++) {
            const size_t     of_encoder = vae_tensor_count(encoder);
            const vae_model *part = i < of_encoder ? encoder : decoder;
            const size_t     at = i < of_encoder ? i : i - of_encoder;
            vae_tensor       whole_tensor;
            int              equal = 1;
            CHECK(vae_tensor_at(model, i, &whole_tensor, NULL) == VAE_OK &&
                  vae_tensor_at(part, at, &tensor, NULL) == VAE_OK);
            CHECK_TEXT(tensor.name, whole_tensor.name);
            CHECK(tensor.count == whole_tensor.count && tensor.rank == whole_tensor.rank);
            for (k = 0; k < tensor.count; k++)
                equal = equal && vae_weights(part)[vae_tensor_place(part, at, k)] ==
                                     vae_weights(model)[vae_tensor_place(model, i, k)];
            CHECK(equal);
        }
        CHECK(vae_encode(encoder, &rows, mean, logvar, NULL) == VAE_OK);
        CHECK(!memcmp(mean, r->mean, sizeof mean) && !memcmp(logvar, r->logvar, sizeof logvar));
        z.z = mean;
        z.count = ROWS;
        CHECK(vae_decode(decoder, &z, pixels, NULL) == VAE_OK && !memcmp(pixels, r->decoded, sizeof r->decoded));
        CHECK(vae_sample(decoder, ROWS, pixels, NULL) == VAE_OK && !memcmp(pixels, r->drawn, sizeof r->drawn));
        CHECK(vae_create_view(decoder, NULL, &view, NULL) == VAE_OK);
        CHECK(vae_decode(view, &z, pixels, NULL) == VAE_OK && !memcmp(pixels, r->decoded, sizeof r->decoded));
        vae_destroy(view);
        CHECK(vae_create_view(encoder, NULL, &view, NULL) == VAE_OK);
        CHECK(vae_encode(view, &rows, mean, NULL, NULL) == VAE_OK && !memcmp(mean, r->mean, sizeof mean));
        vae_destroy(view);
#define NEEDS_ENCODER(call) CHECK(is_refused(call, &error, "needs the encoder, the model holds the decoder only"))
#define NEEDS_DECODER(call) CHECK(is_refused(call, &error, "needs the decoder, the model holds the encoder only"))
        NEEDS_ENCODER(vae_encode(decoder, &rows, mean, NULL, &error));
        NEEDS_ENCODER(vae_reconstruct(decoder, &rows, pixels, &error));
        NEEDS_ENCODER(vae_elbo(decoder, &rows, NULL, NULL, &error));
        NEEDS_ENCODER(vae_log_likelihood(decoder, &rows, 2, NULL, NULL, &error));
        NEEDS_ENCODER(vae_score(decoder, &rows, NULL, NULL, &error));
        NEEDS_ENCODER(vae_score_numbers(decoder, &rows, NULL, NULL, &error));
        NEEDS_ENCODER(vae_impute(decoder, &rows, 2, NULL, NULL, &error));
        NEEDS_ENCODER(vae_latent_statistics(decoder, &rows, NULL, NULL, &error));
        NEEDS_DECODER(vae_score(encoder, &rows, NULL, NULL, &error));
        NEEDS_DECODER(vae_impute(encoder, &rows, 2, NULL, NULL, &error));
        NEEDS_DECODER(vae_score_numbers(encoder, &rows, NULL, NULL, &error));
        NEEDS_DECODER(vae_decode(encoder, &z, pixels, &error));
        NEEDS_DECODER(vae_draw(encoder, &z, pixels, &error));
        NEEDS_DECODER(vae_sample(encoder, 1, pixels, &error));
        NEEDS_DECODER(vae_sample_with(encoder, 1, NULL, pixels, &error));
        NEEDS_DECODER(vae_reconstruct(encoder, &rows, pixels, &error));
        NEEDS_DECODER(vae_elbo(encoder, &rows, NULL, NULL, &error));
        NEEDS_DECODER(vae_log_likelihood(encoder, &rows, 2, NULL, NULL, &error));
        CHECK(is_refused(vae_train_step(encoder, &rows, NULL, &error), &error, "a part of a network cannot train"));
        CHECK(is_refused(vae_fit(decoder, &rows, NULL, &error), &error, "a part of a network cannot train"));
        CHECK(vae_summary(decoder, text, sizeof text) < sizeof text);
        CHECK_CONTAINS(text, "cannot train: the decoder only");
        CHECK_CONTAINS(text, "decoder.0");
        CHECK(!strstr(text, "encoder.") && !strstr(text, "logvar"));
        CHECK(vae_summary(encoder, text, sizeof text) < sizeof text && !strstr(text, "decoder."));
        /* The config that a part gives back makes it again. */
        vae_get_config(decoder, &config);
        CHECK(config.part == VAE_DECODER_ONLY && !config.encoder[0].kind && config.decoder[0].kind);
        config.weights = vae_weights(decoder);
        CHECK(vae_create(&config, &view, &error) == VAE_OK);
        CHECK(vae_decode(view, &z, pixels, NULL) == VAE_OK && !memcmp(pixels, r->decoded, sizeof r->decoded));
        vae_destroy(view);
        vae_get_config(encoder, &config);
        config.weights = vae_weights(encoder);
        CHECK(vae_create(&config, &view, &error) == VAE_OK);
        CHECK(vae_encode(view, &rows, mean, NULL, NULL) == VAE_OK && !memcmp(mean, r->mean, sizeof mean));
        vae_destroy(view);
        vae_destroy(encoder);
        vae_destroy(decoder);
        vae_destroy(model);
        free(r);
    }
}

int main(void) {
    RUN(test_views_in_several_threads);
    RUN(test_a_view_reads_only);
    RUN(test_memory_of_views);
    RUN(test_constant_weights);
    RUN(test_parts);
    return test_finish();
}
