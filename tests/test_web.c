/* The C behind the page of `make web` (examples/web), run natively. With --hashes FILE (the packed weights) it prints
   what the same C must give in the browser: tests/test_web.mjs compares. */
#include "../examples/web/web.c"

#include "test.h"

/* Packed weights of a model that has not been trained. */
static size_t make_packed(void) {
    vae_config config = built_in_network();
    size_t     size;
    CHECK(create(0, &config) == VAE_OK);
    size = packed_size(models[0].model);
    CHECK(size > 0 && size <= MOST_PACKED && pack_weights(models[0].model, packed));
    return size;
}

TEST(test_packed_weights) {
    static vae_real before[WEB_TENSOR], after[WEB_TENSOR];
    const size_t    size = make_packed();
    vae_tensor      tensor;
    vae_config      config = built_in_network();
    static vae_real block[BLOCK / sizeof(vae_real)];
    vae_model      *fresh = NULL;
    config.seed = 99;
    CHECK(vae_create_in(&config, block, sizeof block, &fresh, NULL) == VAE_OK);
    CHECK(unpack_weights(fresh, packed, size));
    for (size_t t = 0; t < vae_tensor_count(fresh); t++) {
        vae_real largest = 0;
        CHECK(vae_tensor_at(fresh, t, &tensor, NULL) == VAE_OK);
        CHECK(vae_get_tensor(models[0].model, tensor.name, before, tensor.count, NULL) == VAE_OK);
        CHECK(vae_get_tensor(fresh, tensor.name, after, tensor.count, NULL) == VAE_OK);
        for (size_t i = 0; i < tensor.count; i++) largest = (vae_real)fmax(largest, fabs((double)before[i]));
        for (size_t i = 0; i < tensor.count; i++)
            CHECK_NEAR(after[i], before[i], largest / packed_levels(&tensor) * 0.501f);
    }
    CHECK(!unpack_weights(fresh, packed, size - 1));
    CHECK(load((int)size) == VAE_OK && load((int)size + 1) != VAE_OK);
}

TEST(test_training) {
    double   first, sum = 0;
    uint32_t hash = 0;
    CHECK(begin(2, 7) == VAE_OK && latent(1) == 2);
    CHECK(train() == VAE_OK);
    first = terms[0];
    for (int step = 1; step < 60; step++) {
        CHECK(train() == VAE_OK);
        if (step == 19) hash = weights_hash(1);
        sum += step < 50 ? 0 : terms[0] / 10;
    }
    CHECK(first > 250 && sum < 0.75 * first);
    CHECK_NEAR(terms[0], terms[1] + terms[2], 1e-4);
    CHECK(begin(2, 7) == VAE_OK);
    for (int step = 0; step < 20; step++) CHECK(train() == VAE_OK);
    CHECK(weights_hash(1) == hash);
    CHECK(begin(2, 8) == VAE_OK && train() == VAE_OK && weights_hash(1) != hash);
    CHECK(begin(0, 1) != VAE_OK && begin(WEB_LATENT + 1, 1) != VAE_OK && begin(WEB_LATENT, 1) == VAE_OK);
}

TEST(test_both_ways) {
    int seen = 0;
    CHECK(load((int)make_packed()) == VAE_OK && latent(0) == WEB_LATENT);
    memset(picture, 0, sizeof picture);
    for (int i = 0; i < PIXELS; i++) picture_at()[i] = i % 3 ? 0 : 1;
    CHECK(encode(0) == VAE_OK);
    CHECK_NEAR(terms[0], terms[1] + terms[2], 1e-4);
    for (int i = 0; i < WEB_LATENT; i++) points_at()[i] = posterior_at()[i];
    CHECK(decode(0, 1) == VAE_OK);
    for (int i = 0; i < PIXELS; i++) CHECK(pixels_at()[i] > 0 && pixels_at()[i] < 1);
    CHECK(decode(0, MOST_DECODED) == VAE_OK && decode(0, MOST_DECODED + 1) != VAE_OK && decode(0, -1) != VAE_OK);
    CHECK(sort_dimensions(0) == VAE_OK);
    for (int i = 0; i < WEB_LATENT; i++) seen |= 1 << order_at()[i];
    CHECK(seen == (1 << WEB_LATENT) - 1);
    picture[5] = 2;                     /* no pixel */
    CHECK(encode(0) != VAE_OK);
    CHECK_CONTAINS(message(), "2");
}

static int print_hashes(const char *name) {
    static const int at[] = { 396, 405, 410 };
    FILE  *file = fopen(name, "rb");
    size_t size = file ? fread(packed_at(), 1, MOST_PACKED, file) : 0;
    int    i;
    if (file) fclose(file);
    if (load((int)size) != VAE_OK) return printf("%s has no packed weights\n", name), 1;
    printf("loaded %08lx\n", (unsigned long)weights_hash(0));
    if (begin(2, 7) != VAE_OK) return 1;
    for (i = 0; i < 20; i++)
        if (train() != VAE_OK) return 1;
    printf("trained %08lx\nencoded", (unsigned long)weights_hash(1));
    for (i = 0; i < PIXELS; i++) picture[i] = i % 28 > 11 && i % 28 < 16 && i > 112 && i < 672 ? 1 : 0;
    if (encode(0) != VAE_OK) return 1;
    for (i = 0; i < WEB_LATENT; i++) printf(" %.0f", floor((double)posterior[i] * 1000 + 0.5));
    printf(" %.0f\ndecoded", floor(terms_at()[0] * 1000 + 0.5));
    memcpy(points_at(), posterior, WEB_LATENT * sizeof *points);
    if (decode(0, 1) != VAE_OK) return 1;
    for (i = 0; i < 3; i++) printf(" %.0f", floor((double)pixels[at[i]] * 1000 + 0.5));
    printf("\n");
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "--hashes")) return print_hashes(argv[2]);
    RUN(test_packed_weights);
    RUN(test_training);
    RUN(test_both_ways);
    return test_finish();
}
