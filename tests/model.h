/* model.h - models for tests: made, filled with numbers, compared. Included after vae.h and test.h. */
#ifndef MODEL_H
#define MODEL_H

/* A model, or the end of the program. */
static inline vae_model *make(const vae_config *config) {
    vae_model *model = NULL;
    vae_error  error = { VAE_OK, "" };
    if (CHECK(vae_create(config, &model, &error) == VAE_OK)) return model;
    printf("    %s\n", error.message);
    exit(1);
}

/* Whether, and with which sentence, a model can be made. */
static inline vae_status try_to_make(const vae_config *config, vae_error *error) {
    vae_model       *model = NULL;
    const vae_status status = vae_create(config, &model, error);
    if (status == VAE_OK) vae_destroy(model);
    return status;
}

static inline void set(vae_model *model, const char *name, const vae_real *values, size_t count) {
    CHECK(vae_set_tensor(model, name, values, count, NULL) == VAE_OK);
}

static inline void fill(vae_model *model, const char *name, size_t count, vae_real value) {
    vae_real *values = (vae_real *)malloc(count * sizeof *values);
    size_t    i;
    for (i = 0; i < count; i++) values[i] = value;
    set(model, name, values, count);
    free(values);
}

static inline int same_weights(const vae_model *a, const vae_model *b) {
    return vae_weight_count(a) == vae_weight_count(b) &&
           !memcmp(vae_weights(a), vae_weights(b), vae_weight_count(a) * sizeof(vae_real));
}

/* The first `count` rows of this array, which is filled with uniform numbers, the same at each call. */
static inline vae_data uniform_rows(vae_real *pixels, size_t numbers, size_t count) {
    vae_data    data;
    test_random random = { 5 };
    size_t      i;
    memset(&data, 0, sizeof data);
    for (i = 0; i < numbers; i++) pixels[i] = (vae_real)test_uniform(&random, 0, 1);
    data.pixels = pixels;
    data.count = count;
    return data;
}

#endif
