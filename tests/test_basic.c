/* VAE_BASIC and VAE_NO_MESSAGES: all that they leave out is refused, and what is left learns and scores. .ci/run sees
   that its weights are those of the whole library: it compares the hash of tests/bare.c in every build. */
#ifndef VAE_SMALL
#define VAE_SMALL
#endif
#define VAE_BASIC
#define VAE_NO_MESSAGES
#define VAE_NO_STDIO
#define VAE_STATIC
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <stdlib.h>
#include "test.h"

static vae_config network(void) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.input.height = c.input.channels = 1;
    c.input.width = 16;
    c.latent = 2;
    c.encoder[0] = VAE_DENSE(8, VAE_TANH);
    c.likelihood = VAE_GAUSSIAN;
    c.batch = 4;
    c.optimizer.learning_rate = (vae_real)0.01;
    return c;
}

static int is_refused(const vae_config *c) {
    vae_model *model = NULL;
    size_t     bytes = 0;
    vae_error  error;
    memset(&error, 0, sizeof error);
    return vae_memory_needed(c, &bytes, &error) == VAE_ERROR_UNSUPPORTED &&
           vae_create(c, &model, NULL) == VAE_ERROR_UNSUPPORTED && !model && error.status == VAE_ERROR_UNSUPPORTED &&
           !strcmp(error.message, "VAE_ERROR_UNSUPPORTED");
}

static void nothing(void *user, vae_task task, void *context, size_t count) {
    (void)user; (void)task; (void)context; (void)count;
}

TEST(test_refuses_what_it_lacks) {
    vae_config c = network();
    vae_model *model = NULL;
    CHECK(!is_refused(&c));
#define REFUSED(setting) do { c = network(); setting; CHECK(is_refused(&c)); } while (0)
    REFUSED(c.encoder[0] = VAE_CONV(4, 3, 2, VAE_RELU));
    REFUSED(c.encoder[0].activation = VAE_GELU);
    REFUSED(c.encoder[0].activation = VAE_SILU);
    REFUSED(c.encoder[0].activation = VAE_SOFTPLUS);
    REFUSED(c.encoder[0].dropout = (vae_real)0.5);
    REFUSED(c.encoder[0].batch_norm = 1);
    REFUSED(c.decoder[0] = VAE_DENSE(16, VAE_GELU));
    REFUSED(c.classifier[0] = VAE_DENSE(3, VAE_LINEAR));
    REFUSED(c.likelihood = VAE_LAPLACE);
    REFUSED(c.likelihood = VAE_DISCRETIZED_LOGISTIC);
    REFUSED(c.optimizer.kind = VAE_RMSPROP);
    REFUSED(c.optimizer.kind = VAE_ADADELTA);
    REFUSED(c.optimizer.schedule.kind = VAE_WARMUP);
    REFUSED(c.beta_schedule.kind = VAE_CYCLICAL);
    REFUSED(c.objective = VAE_OBJECTIVE_IWAE);
    REFUSED(c.objective = VAE_OBJECTIVE_AUTOENCODER);
    REFUSED(c.samples = 2);
    REFUSED(c.free_bits = (vae_real)0.1);
    REFUSED(c.capacity = 1);
    REFUSED(c.corruption.kind = VAE_CORRUPTION_MASKING);
    REFUSED(c.corruption.amount = 1);
    REFUSED(c.initialization = VAE_INIT_HE);
    REFUSED(c.layout = VAE_CHANNELS_FIRST);
    REFUSED(c.freeze = VAE_FREEZE_ENCODER);
    REFUSED(c.threads = 2);
    REFUSED(c.parallel.run = nothing);
    REFUSED(c.sigma_per_pixel = 1);
    REFUSED(c.standardize = 1);
    REFUSED(c.shared_heads = 1);
    REFUSED(c.tied = 1);
    REFUSED(c.classes = 3);
    REFUSED(c.binarize = 1);
    REFUSED(c.missing = 1);
    REFUSED(c.targets = 1);
    /* without a capacity it would do nothing */
    c = network();
    c.capacity_schedule.steps = 5;
    CHECK(vae_create(&c, &model, NULL) == VAE_ERROR_CONFIG && !model);
}

TEST(test_learns_scores_and_keeps_its_weights) {
    vae_config       c = network();
    vae_model       *model = NULL, *view = NULL;
    vae_data         data;
    vae_latents      latents;
    vae_score_config how;
    vae_real         rows[64 * 16], decoded[3 * 16], other[3 * 16], kept[400];
    vae_wide         scores[64], numbers[16];
    double           before = 0, after = 0, sum = 0;
    size_t           i, epoch;
    CHECK(vae_create(&c, &model, NULL) == VAE_OK);
    for (i = 0; i < 64 * 16; i++) rows[i] = (vae_real)((i % 16) * (i / 16) % 17) / 16;
    memset(&data, 0, sizeof data);
    data.pixels = rows;
    data.count = 64;
    CHECK(vae_score(model, &data, NULL, scores, NULL) == VAE_OK);
    for (i = 0; i < 64; i++) before += scores[i];
    for (epoch = 0; epoch < 60; epoch++)
        for (i = 0; i < 64; i += 4) {
            vae_data batch = data;
            batch.pixels = rows + i * 16;
            batch.count = 4;
            CHECK(vae_train_step(model, &batch, NULL, NULL) == VAE_OK);
        }
    CHECK(vae_score(model, &data, NULL, scores, NULL) == VAE_OK);
    for (i = 0; i < 64; i++) after += scores[i];
    CHECK(after < before - 64);
    data.count = 1;
    memset(&how, 0, sizeof how);
    how.kind = VAE_SCORE_RECONSTRUCTION;
    CHECK(vae_score(model, &data, &how, scores, NULL) == VAE_OK);
    CHECK(vae_score_numbers(model, &data, &how, numbers, NULL) == VAE_OK);
    for (i = 0; i < 16; i++) sum += numbers[i];
    CHECK_NEAR(sum, scores[0], 1e-4);
    how.kind = VAE_SCORE_LOG_LIKELIHOOD;
    CHECK(vae_score(model, &data, &how, scores, NULL) == VAE_ERROR_UNSUPPORTED);
    memset(&latents, 0, sizeof latents);
    latents.z = rows;
    latents.count = 3;
    CHECK(vae_decode(model, &latents, decoded, NULL) == VAE_OK);
    CHECK(vae_draw(model, &latents, other, NULL) == VAE_ERROR_UNSUPPORTED);
    CHECK(vae_create_view(model, NULL, &view, NULL) == VAE_ERROR_UNSUPPORTED && !view);
    /* Weights in constant memory, used in place. */
    CHECK(vae_weight_count(model) <= 400);
    memcpy(kept, vae_weights(model), vae_weight_count(model) * sizeof *kept);
    vae_destroy(model);
    model = NULL;
    c.weights = kept;
    CHECK(vae_create(&c, &model, NULL) == VAE_OK && vae_weights(model) == kept && !vae_parameters(model));
    CHECK(vae_decode(model, &latents, other, NULL) == VAE_OK && !memcmp(decoded, other, sizeof decoded));
    vae_destroy(model);
}

int main(void) {
    RUN(test_refuses_what_it_lacks);
    RUN(test_learns_scores_and_keeps_its_weights);
    return test_finish();
}
