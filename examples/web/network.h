/* network.h - the two networks of the page, and how the weights of the first are packed into it. Used by train.c, which
   makes the weights, and by web.c, which runs them in the browser. Include vae.h first. */
#ifndef NETWORK_H
#define NETWORK_H

enum { WEB_LATENT = 8, WEB_BATCH = 64 };

/* The one that comes trained: convolutions, because they have few weights, and weights are most of what a page can
   save. */
static inline vae_config built_in_network(void) {
    vae_config config = { .latent = WEB_LATENT, .batch = WEB_BATCH, .threads = 1, .seed = 1 };
    config.input = (vae_shape){ 28, 28, 1 };
    config.encoder[0] = VAE_CONV(16, 4, 2, VAE_SILU);
    config.encoder[1] = VAE_CONV(24, 4, 2, VAE_SILU);
    config.encoder[2] = VAE_CONV(28, 4, 2, VAE_SILU);
    config.initialization = VAE_INIT_GLOROT;
    return config;
}

/* The one that the page trains: dense layers, because they learn fastest. */
static inline vae_config page_network(int latent, int seed) {
    vae_config config = { .latent = latent, .batch = WEB_BATCH, .threads = 1, .seed = (uint64_t)seed };
    config.input = (vae_shape){ 28, 28, 1 };
    config.encoder[0] = VAE_DENSE(128, VAE_SILU);
    config.encoder[1] = VAE_DENSE(64, VAE_SILU);
    config.initialization = VAE_INIT_GLOROT;
    config.optimizer.learning_rate = 4e-3f;
    return config;
}

/* Packed weights, tensor by tensor in the model's order. A tensor with enough numbers in each row (the places along its
   first dimension) is packed row by row, any other whole: first the scale as a float, then a byte for each number,
   which is scale * byte. Bytes that use few of their levels compress better, so each tensor has as few as it bears:
   many beside z, where a rounding moves the whole picture, fewest for the spread. */
enum { WEB_ROW = 64, WEB_TENSOR = 32768 };

static inline size_t packed_row(const vae_tensor *tensor) {
    const size_t row = tensor->count / tensor->shape[0];
    return row < WEB_ROW ? tensor->count : row;
}

static inline vae_real packed_levels(const vae_tensor *tensor) {
    if (tensor->count < 2048) return 127;
    if (!strcmp(tensor->name, "mean.weight") || !strcmp(tensor->name, "decoder.0.weight")) return 60;
    return strcmp(tensor->name, "logvar.weight") ? 18 : 8;
}

static inline size_t packed_size(const vae_model *model) {
    vae_tensor tensor;
    size_t     size = 0, t;
    for (t = 0; t < vae_tensor_count(model) && vae_tensor_at(model, t, &tensor, NULL) == VAE_OK; t++)
        size += tensor.count + tensor.count / packed_row(&tensor) * sizeof(vae_real);
    return size;
}

/* Writes packed_size bytes; 0 if it went wrong. */
static inline int pack_weights(const vae_model *model, unsigned char *bytes) {
    static vae_real values[WEB_TENSOR];
    vae_tensor      tensor;
    size_t          t, i, j;
    for (t = 0; t < vae_tensor_count(model); t++) {
        if (vae_tensor_at(model, t, &tensor, NULL) != VAE_OK || tensor.count > WEB_TENSOR ||
            vae_get_tensor(model, tensor.name, values, tensor.count, NULL) != VAE_OK) return 0;
        const size_t width = packed_row(&tensor);
        for (i = 0; i < tensor.count; i += width, bytes += sizeof(vae_real) + width) {
            vae_real largest = 0, scale;
            for (j = i; j < i + width; j++) {
                if (values[j] > largest) largest = values[j];
                if (-values[j] > largest) largest = -values[j];
            }
            scale = largest / packed_levels(&tensor);
            memcpy(bytes, &scale, sizeof scale);
            for (j = 0; j < width; j++) {
                const vae_real level = scale > 0 ? values[i + j] / scale : 0;
                bytes[sizeof scale + j] = (unsigned char)(signed char)(level < 0 ? level - 0.5f : level + 0.5f);
            }
        }
    }
    return 1;
}

/* Fills the model from packed weights; 0 if they are not those of its network. */
static inline int unpack_weights(vae_model *model, const unsigned char *bytes, size_t size) {
    static vae_real values[WEB_TENSOR];
    vae_tensor      tensor;
    size_t          t, i, j;
    if (size != packed_size(model)) return 0;
    for (t = 0; t < vae_tensor_count(model); t++) {
        if (vae_tensor_at(model, t, &tensor, NULL) != VAE_OK || tensor.count > WEB_TENSOR) return 0;
        const size_t width = packed_row(&tensor);
        for (i = 0; i < tensor.count; i += width, bytes += sizeof(vae_real) + width) {
            vae_real scale;
            memcpy(&scale, bytes, sizeof scale);
            for (j = 0; j < width; j++) values[i + j] = scale * (vae_real)(signed char)bytes[sizeof scale + j];
        }
        if (vae_set_tensor(model, tensor.name, values, tensor.count, NULL) != VAE_OK) return 0;
    }
    return 1;
}

#endif
