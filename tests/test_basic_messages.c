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

/* The file with `to` in place of the header's first `from`. */
static size_t edit(unsigned char *file, size_t size, const char *from, const char *to) {
    const size_t out = strlen(from), in = strlen(to);
    size_t       at = 0, header = (size_t)file[0] + 256 * (size_t)file[1] - out + in;
    while (memcmp(file + at, from, out)) at++;
    memmove(file + at + in, file + at + out, size - at - out);
    memcpy(file + at, to, in);
    file[0] = (unsigned char)(header % 256);
    file[1] = (unsigned char)(header / 256);
    return size - out + in;
}

/* What a whole library writes is not taken for a newer version's or for damaged. */
TEST(test_says_what_a_file_needs) {
    static const char *const edits[][2] = {
        { "\\\"bernoulli\\\"", "\\\"laplace\\\"" }, { "\\\"adam\\\"", "\\\"rmsprop\\\"" },
        { "\\\"encoder\\\":[", "\\\"beta_schedule\\\":{\\\"kind\\\":\\\"warmup\\\"},\\\"encoder\\\":[" }
    };
    static const char    layer[] =
        "{\\\"kind\\\":\\\"dense\\\",\\\"shape\\\":[1,1,8],\\\"activation\\\":\\\"tanh\\\"},";
    static unsigned char file[20000];
    vae_config           c = network();
    vae_model           *model = NULL, *loaded = NULL;
    vae_error            error;
    size_t               whole = 0, size, i;
    char                 with[400] = "\\\"encoder\\\":[";
    if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
    for (i = 0; i < 3; i++) {
        CHECK(vae_save_memory(model, 0, file, sizeof file, &whole, NULL) == VAE_OK);
        size = edit(file, whole, edits[i][0], edits[i][1]);
        CHECK(vae_load_memory(file, size, NULL, &loaded, &error) == VAE_ERROR_UNSUPPORTED && !loaded);
        CHECK_CONTAINS(error.message, "VAE_BASIC");
        CHECK(vae_load_weights_memory(model, file, size, &error) == VAE_ERROR_UNSUPPORTED);
        CHECK_CONTAINS(error.message, "VAE_BASIC");
    }
    CHECK(vae_save_memory(model, 0, file, sizeof file, &whole, NULL) == VAE_OK);
    for (i = 0; i < 4; i++) strcat(with, layer);
    size = edit(file, whole, "\\\"encoder\\\":[", with);
    CHECK(vae_load_memory(file, size, NULL, &loaded, &error) == VAE_ERROR_UNSUPPORTED && !loaded);
    CHECK_CONTAINS(error.message, "more layers");
    CHECK_CONTAINS(error.message, "VAE_BASIC");
    vae_destroy(model);
    c.part = VAE_DECODER_ONLY;
    if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
    CHECK(vae_save_memory(model, 0, file, sizeof file, &whole, NULL) == VAE_OK);
    size = edit(file, whole, "\\\"decoder\\\":[", "\\\"tied\\\":1,\\\"decoder\\\":[");
    CHECK(vae_load_weights_memory(model, file, size, &error) == VAE_ERROR_UNSUPPORTED);
    CHECK_CONTAINS(error.message, "VAE_BASIC");
    vae_destroy(model);
}

int main(void) {
    RUN(test_doubts_only_what_nobody_writes);
    RUN(test_says_what_a_file_needs);
    return test_finish();
}
