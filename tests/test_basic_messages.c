/* VAE_BASIC with its sentences: what a name of the public part asks for, but the build lacks, was written by someone.
   Only numbers without a name, as in a config that was never zeroed, raise that doubt. */
#define VAE_BASIC
#define VAE_STATIC
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "test.h"

static vae_config network(void) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.input.height = c.input.channels = 1;
    c.input.width = 16;
    c.latent = 2;
    c.encoder[0] = VAE_DENSE(8, VAE_TANH);
    return c;
}

static int is_doubted(const vae_config *c) {
    vae_model *model = NULL;
    vae_error  error;
    CHECK(vae_create(c, &model, &error) == VAE_ERROR_UNSUPPORTED);
    CHECK_CONTAINS(error.message, "VAE_BASIC");
    return strstr(error.message, "never zeroed") != NULL;
}

TEST(test_doubts_only_what_nobody_writes) {
    vae_config c;
#define TRUSTED(setting) do { c = network(); setting; CHECK(!is_doubted(&c)); } while (0)
#define DOUBTED(setting) do { c = network(); setting; CHECK(is_doubted(&c)); } while (0)
    TRUSTED(c.likelihood = VAE_LAPLACE);
    TRUSTED(c.likelihood = VAE_DISCRETIZED_LOGISTIC);
    TRUSTED(c.optimizer.kind = VAE_RMSPROP);
    TRUSTED(c.optimizer.kind = VAE_ADADELTA);
    TRUSTED(c.optimizer.schedule.kind = VAE_COSINE);
    TRUSTED(c.beta_schedule.kind = VAE_WARMUP);
    TRUSTED(c.capacity_schedule.kind = VAE_CYCLICAL);
    TRUSTED(c.objective = VAE_OBJECTIVE_AUTOENCODER);
    TRUSTED(c.initialization = VAE_INIT_HE);
    TRUSTED(c.encoder[0] = VAE_CONV(4, 3, 2, VAE_GELU));
    DOUBTED(c.likelihood = (vae_likelihood)(VAE_DISCRETIZED_LOGISTIC + 1));
    DOUBTED(c.optimizer.kind = (vae_optimizer_kind)(VAE_ADADELTA + 1));
    DOUBTED(c.optimizer.schedule.kind = (vae_schedule_kind)(VAE_CYCLICAL + 1));
}

int main(void) {
    RUN(test_doubts_only_what_nobody_writes);
    return test_finish();
}
