/* What tests/files/make_0_1.c trained with vae.h 0.1, and what the tests go on with. After vae.h. */
#ifndef RECIPE_H
#define RECIPE_H

enum { RECIPE_ROWS = 10, RECIPE_NUMBERS = 60, RECIPE_BATCH = 4 };

/* Which of the two networks has so many numbers in a row: 8 or 60. */
static inline vae_data recipe_data(size_t numbers) {
    static vae_real pixels[RECIPE_ROWS * RECIPE_NUMBERS];
    vae_data        data;
    size_t          i;
    for (i = 0; i < RECIPE_ROWS * numbers; i++) pixels[i] = (vae_real)(i * i % 37 * (i / numbers % 3)) / 74;
    memset(&data, 0, sizeof data);
    data.pixels = pixels;
    data.count = RECIPE_ROWS;
    return data;
}

/* A hash of all weights that depends on neither the order of the tensors nor that of the numbers within the model. */
static inline uint64_t recipe_hash(const vae_model *model) {
    vae_real   numbers[400];
    vae_tensor tensor;
    uint64_t   sum = 0;
    size_t     i, k;
    for (i = 0; i < vae_tensor_count(model); i++) {
        uint64_t hash = UINT64_C(14695981039346656037);
        if (vae_tensor_at(model, i, &tensor, NULL) != VAE_OK || tensor.count > 400 ||
            vae_get_tensor(model, tensor.name, numbers, tensor.count, NULL) != VAE_OK) return 0;
        for (k = 0; tensor.name[k]; k++) hash = (hash ^ (unsigned char)tensor.name[k]) * UINT64_C(1099511628211);
        for (k = 0; k < tensor.count; k++) {
            uint32_t bits;
            memcpy(&bits, &numbers[k], sizeof bits);
            hash = (hash ^ bits) * UINT64_C(1099511628211);
        }
        sum += hash;
    }
    return sum;
}

#endif
