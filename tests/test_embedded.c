/* A trained model in a program without heap and files: everything the library takes is one static block. The weights
   are those that Python wrote, the figures PyTorch's. */
#define VAE_NO_MALLOC
#define VAE_NO_STDIO
#define VAE_INFERENCE_ONLY
#define VAE_PORTABLE
#define VAE_STATIC
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "golden/golden.h"
#include "test.h"

#ifdef malloc
#error "the library was to do without"
#endif

static unsigned char block[400000], file[10000];    /* file: what a linker would place in flash */

static vae_config network(void) {
    static const vae_layer encoder[3] = { VAE_CONV_INITIALIZER(5, 3, 2, VAE_SILU),
                                          VAE_CONV_INITIALIZER(6, 3, 2, VAE_LEAKY_RELU),
                                          VAE_DENSE_INITIALIZER(9, VAE_TANH) };
    vae_config             config;
    memset(&config, 0, sizeof config);
    config.input.height = 7;
    config.input.width = 6;
    config.input.channels = 2;
    config.latent = 4;
    memcpy(config.encoder, encoder, sizeof encoder);
    config.batch = 1;
    config.inference_only = 1;
    return config;
}

TEST(test_runs_in_a_static_block) {
    const golden_model *golden = &golden_models[1];
    const vae_config    config = network();
    const size_t        pixels = 7 * 6 * 2;
    FILE               *from = fopen("tests/golden/from_python.safetensors", "rb");
    vae_model          *model = NULL;
    vae_real            row[84], mean[4], decoded[84];
    vae_data            data;
    vae_error           error;
    size_t              needed = 0, size, r, i;
    CHECK(from != NULL);
    if (!from) return;
    size = fread(file, 1, sizeof file, from);
    fclose(from);
    CHECK(vae_memory_needed(&config, &needed, &error) == VAE_OK);
    printf("  a model of 1,300 weights takes %lu bytes of memory in all\n", (unsigned long)needed);
    CHECK(needed <= sizeof block);
    CHECK(vae_create_in(&config, block, sizeof block, &model, &error) == VAE_OK);
    if (!model) return;
    CHECK(vae_load_weights_memory(model, file, size, &error) == VAE_OK);
    memset(&data, 0, sizeof data);
    data.pixels = row;
    data.count = 1;
    for (r = 0; r < (size_t)golden->rows; r++) {
        for (i = 0; i < pixels; i++) row[i] = (vae_real)golden->pixels[r * pixels + i];
        CHECK(vae_encode(model, &data, mean, NULL, &error) == VAE_OK);
        for (i = 0; i < 4; i++) CHECK_NEAR((double)mean[i], golden->mean[r * 4 + i], 1e-5);
        CHECK(vae_reconstruct(model, &data, decoded, &error) == VAE_OK);
        for (i = 0; i < pixels; i++) CHECK_NEAR((double)decoded[i], golden->reconstructed[r * pixels + i], 1e-5);
    }
    CHECK(vae_sample(model, 1, decoded, &error) == VAE_OK);
    vae_destroy(model);
}

TEST(test_says_what_is_missing) {
    const vae_config config = network();
    vae_model       *model = NULL;
    vae_error        error;
    CHECK(vae_create(&config, &model, &error) == VAE_ERROR_MEMORY && !model);
    CHECK_CONTAINS(error.message, "VAE_NO_MALLOC");
    CHECK(vae_create_in(&config, block, 1000, &model, &error) == VAE_ERROR_MEMORY && !model);
}

#ifdef VAEI_HAS_VECTOR
/* Where no instruction may be taken, each of four roots is computed, of its own number. */
TEST(test_takes_four_roots) {
    const vaei_floats4 squares = { 1, 4, 9, 16 }, roots = vaei_sqrt4(squares);
    int                i;
    for (i = 0; i < 4; i++) CHECK(roots[i] == (float)(i + 1));
}
#endif

int main(void) {
    RUN(test_runs_in_a_static_block);
    RUN(test_says_what_is_missing);
#ifdef VAEI_HAS_VECTOR
    RUN(test_takes_four_roots);
#endif
    return test_finish();
}
