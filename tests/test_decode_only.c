/* VAE_DECODE_ONLY: a decoder works as elsewhere, and what it has no code for is refused. */
#define VAE_INFERENCE_ONLY
#define VAE_DECODE_ONLY
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "test.h"

static vae_config two_numbers(void) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.input.height = c.input.channels = 1;
    c.input.width = 3;
    c.latent = 2;
    c.decoder[0] = VAE_DENSE(3, VAE_RELU);
    c.encoder[0] = VAE_DENSE(3, VAE_RELU);
    c.likelihood = VAE_GAUSSIAN;
    c.sigma = 1;
    c.part = VAE_DECODER_ONLY;
    return c;
}

TEST(test_decodes) {
    static const vae_real z[4] = { 1, 2, -3, (vae_real)0.5 }, weight[6] = { 1, 2, 3, -1, 0, 4 }, bias[3] = { 0, 1, -6 };
    const vae_latents     latents = { z, 2, NULL };
    const vae_config      c = two_numbers();
    vae_model            *model = NULL;
    vae_real              pixels[6];
    if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
    CHECK(vae_set_tensor(model, "decoder.0.weight", weight, 6, NULL) == VAE_OK);
    CHECK(vae_set_tensor(model, "decoder.0.bias", bias, 3, NULL) == VAE_OK);
    CHECK(vae_decode(model, &latents, pixels, NULL) == VAE_OK);
    CHECK(pixels[0] == 5 && pixels[1] == 2 && pixels[2] == 2);
    CHECK(pixels[3] == 0 && pixels[4] == 0 && pixels[5] == 0);
    vae_destroy(model);
}

/* Every likelihood has its mean, here of what a decoder of weights 0 gives, and every kind of first weights is drawn. */
TEST(test_has_every_mean) {
    static const vae_real z[2] = { 1, 2 };
    const vae_latents     latents = { z, 1, NULL };
    /* the last one: the integral of 1 - sigmoid from 0 to 1, 1 - log((1 + e) / 2) */
    static const double   means[] = { 0.5, 0, 0, 0.5, 0, 0.37988549 };
    int                   likelihood, how;
    size_t                i;
    for (likelihood = VAE_BERNOULLI; likelihood <= VAE_DISCRETIZED_LOGISTIC; likelihood++)
        for (how = VAE_INIT_PYTORCH; how <= VAE_INIT_HE; how++) {
            vae_config c = two_numbers();
            vae_model *model = NULL;
            vae_real   pixels[3];
            memset(c.decoder, 0, sizeof c.decoder);         /* the mirror image */
            c.sigma = 0;
            c.likelihood = (vae_likelihood)likelihood;
            c.initialization = (vae_initialization)how;
            if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
            CHECK(vae_decode(model, &latents, pixels, NULL) == VAE_OK);
            memset(vae_parameters(model), 0, vae_weight_count(model) * sizeof(vae_real));
            CHECK(vae_decode(model, &latents, pixels, NULL) == VAE_OK);
            for (i = 0; i < 3; i++) CHECK_NEAR(pixels[i], means[likelihood - 1], 1e-6);
            vae_destroy(model);
        }
}

TEST(test_refuses_the_rest) {
    static const vae_real row[3] = { 0, 0, 0 };
    static const vae_real z[2] = { 0, 0 };
    const vae_latents     latents = { z, 1, NULL };
    vae_config            c = two_numbers();
    vae_model            *model = NULL;
    vae_real              pixels[3];
    double                score;
    vae_data              data;
    memset(&data, 0, sizeof data);
    data.pixels = row;
    data.count = 1;
    c.part = VAE_WHOLE;
    CHECK(vae_create(&c, &model, NULL) == VAE_ERROR_UNSUPPORTED && !model);
    c.part = VAE_DECODER_ONLY;
    if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
    CHECK(vae_sample(model, 1, pixels, NULL) == VAE_ERROR_UNSUPPORTED);
    CHECK(vae_sample_with(model, 1, NULL, pixels, NULL) == VAE_ERROR_UNSUPPORTED);
    CHECK(vae_sample_latent(model, 1, pixels, NULL) == VAE_ERROR_UNSUPPORTED);
    CHECK(vae_draw(model, &latents, pixels, NULL) == VAE_ERROR_UNSUPPORTED);
    CHECK(vae_score(model, &data, NULL, &score, NULL) != VAE_OK);
    CHECK(vae_encode(model, &data, pixels, NULL, NULL) != VAE_OK);
    CHECK(vae_elbo(model, &data, NULL, NULL, NULL) != VAE_OK);
    CHECK(vae_reconstruct(model, &data, pixels, NULL) != VAE_OK);
    CHECK(vae_log_likelihood(model, &data, 1, &score, NULL, NULL) != VAE_OK);
    CHECK(vae_impute(model, &data, 1, pixels, NULL, NULL) != VAE_OK);
    vae_destroy(model);
}

int main(void) {
    RUN(test_decodes);
    RUN(test_has_every_mean);
    RUN(test_refuses_the_rest);
    return test_finish();
}
