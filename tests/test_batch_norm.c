/* Batch normalisation: what it makes of columns, running averages, inference, files. PyTorch: test_golden.c. */
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "config_of.h"

#include <stdlib.h>
#include "test.h"
#include "model.h"

enum { ROWS = 45 };

/* Convolutions of which one ends its stage and one does not, then dense; or dense alone. */
static vae_config network(int convolutional) {
    vae_config config = { .input = { 6, 5, 2 }, .latent = 3, .seed = 4, .batch = ROWS, .threads = 1,
                          .encoder = { VAE_DENSE(20, VAE_SILU), VAE_DENSE(12, VAE_TANH) } };
    if (convolutional) {
        config.encoder[0] = VAE_CONV(4, 3, 2, VAE_RELU);
        config.encoder[1] = VAE_CONV(5, 2, 1, VAE_TANH);
        config.encoder[2] = VAE_CONV(4, 2, 1, VAE_GELU);
        config.encoder[3] = VAE_DENSE(12, VAE_SILU);
        config.encoder[3].batch_norm = 1;
    }
    config.encoder[0].batch_norm = 1;
    return config;
}

static vae_real pixels[ROWS * 60];

static vae_data rows(size_t count) { return uniform_rows(pixels, sizeof pixels / sizeof *pixels, count); }

TEST(test_tensors) {
    static const char *const parts[] = { "weight", "bias", "running_mean", "running_var" };
    vae_config config = network(1);
    vae_model *model = make(&config);
    vae_tensor tensor;
    vae_real   values[16], negative[4] = { 1, 1, -1, 1 };
    char       text[4096];
    size_t     i, k, trained = 0;
    vae_error  error;
    for (i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "encoder.2.%s", parts[i]);      /* ZeroPad2d, Conv2d, BatchNorm2d, ReLU */
        CHECK(vae_get_tensor(model, name, values, 4, &error) == VAE_OK);
        for (k = 0; k < 4; k++) CHECK(values[k] == (i % 3 == 0));
    }
    for (i = 0; i < vae_tensor_count(model); i++) {
        CHECK(vae_tensor_at(model, i, &tensor, NULL) == VAE_OK);
        CHECK(tensor.trained == !strstr(tensor.name, ".running_"));
        CHECK((vae_tensor_place(model, i, 0) < vae_parameter_count(model)) == tensor.trained);
        for (k = 0; k < i; k++) {
            vae_tensor other;
            vae_tensor_at(model, k, &other, NULL);
            CHECK(strcmp(other.name, tensor.name));
        }
        trained += tensor.trained ? tensor.count : 0;
    }
    CHECK(trained == vae_parameter_count(model));
    CHECK(vae_weight_count(model) == trained + 2 * (4 + 12 + 12 + 4));
    CHECK(vae_set_tensor(model, "encoder.2.running_var", negative, 4, &error) == VAE_ERROR_DATA);
    CHECK_CONTAINS(error.message, "it must not be below 0");
    CHECK(vae_get_gradient(model, "encoder.2.running_mean", values, 4, &error) == VAE_ERROR_ARGUMENT);
    vae_summary(model, text, sizeof text);
    CHECK_CONTAINS(text, "  batch norm\n");
    vae_destroy(model);
}

/* In training every column has mean 0 and variance 1, or what weight and bias make of it; running averages move by a
   tenth, with the population's estimate of the variance; a step that fails leaves them. */
TEST(test_columns) {
    vae_config      config = network(0);
    vae_model      *model = make(&config);
    vae_data        data = rows(ROWS);
    const vaei_layer *layer = &model->plan.layers[0];
    vae_real        weight[20], bias[20], mean[20], variance[20], *linear, *normalised, nan = (vae_real)HUGE_VAL;
    size_t          row, k;
    for (k = 0; k < 20; k++) {
        weight[k] = (vae_real)(0.5 + 0.1 * (double)k);
        bias[k] = (vae_real)(1 - 0.2 * (double)k);
    }
    CHECK(vae_set_tensor(model, "encoder.2.weight", weight, 20, NULL) == VAE_OK);    /* Flatten, Linear, this */
    CHECK(vae_set_tensor(model, "encoder.2.bias", bias, 20, NULL) == VAE_OK);
    CHECK(vae_accumulate_gradients(model, &data, NULL, NULL, NULL) == VAE_OK);
    linear = vaei_numbers(model, layer->places.linear);
    normalised = vaei_numbers(model, layer->places.saved);          /* SiLU keeps its input */
    CHECK(vae_get_tensor(model, "encoder.2.running_mean", mean, 20, NULL) == VAE_OK);
    CHECK(vae_get_tensor(model, "encoder.2.running_var", variance, 20, NULL) == VAE_OK);
    for (k = 0; k < 20; k++) {
        double sum[2] = { 0 }, squares[2] = { 0 };
        for (row = 0; row < ROWS; row++) {
            sum[0] += (double)linear[row * 20 + k] / ROWS;
            sum[1] += (double)normalised[row * 20 + k] / ROWS;
        }
        for (row = 0; row < ROWS; row++) {
            squares[0] += pow((double)linear[row * 20 + k] - sum[0], 2);
            squares[1] += pow((double)normalised[row * 20 + k] - sum[1], 2);
        }
        CHECK_NEAR(sum[1], (double)bias[k], 1e-5);
        CHECK_NEAR(squares[1] / ROWS, (double)(weight[k] * weight[k]) / (1 + 1e-5 * ROWS / squares[0]), 1e-4);
        CHECK_NEAR(mean[k], 0.1 * sum[0], 1e-6);
        CHECK_NEAR(variance[k], 0.9 + 0.1 * squares[0] / (ROWS - 1), 1e-6);
    }
    pixels[7] = nan;
    CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_ERROR_DATA);
    pixels[7] = 0;
    vae_gradients(model)[3] = (vae_real)1e30;
    CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_ERROR_NUMERIC);
    CHECK(vae_get_tensor(model, "encoder.2.running_mean", bias, 20, NULL) == VAE_OK);
    CHECK(!memcmp(mean, bias, sizeof mean));
    /* one row: normalised by the averages, which stay */
    vae_clear_gradients(model);
    data.count = 1;
    CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);
    CHECK(vae_get_tensor(model, "encoder.2.running_mean", bias, 20, NULL) == VAE_OK);
    CHECK(!memcmp(mean, bias, sizeof mean));
    vae_destroy(model);
}

/* Inference depends on the row alone, with its layer normalised by the averages: equal to a network without, whose
   weights are folded. */
TEST(test_inference) {
    vae_config config = network(0);
    vae_model *model = make(&config), *folded;
    vae_data   data = rows(ROWS), one = data;
    vae_real   weight[20 * 60], scale[20], shift[20], mean[20], variance[20], bias[20], z[ROWS * 3], same[ROWS * 3];
    size_t     i, k;
    config.decoder[0] = VAE_DENSE(60, VAE_LINEAR);
    for (i = 0; i < 30; i++) CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);
    CHECK(vae_encode(model, &data, z, NULL, NULL) == VAE_OK);
    for (i = 0; i < ROWS; i++) {
        one.pixels = pixels + i * 60;
        one.count = 1;
        CHECK(vae_encode(model, &one, same, NULL, NULL) == VAE_OK);
        for (k = 0; k < 3; k++) CHECK_NEAR(same[k], z[i * 3 + k], 1e-5);
    }
    config.encoder[0].batch_norm = 0;
    folded = make(&config);
    vae_get_tensor(model, "encoder.1.weight", weight, 20 * 60, NULL);
    vae_get_tensor(model, "encoder.1.bias", bias, 20, NULL);
    vae_get_tensor(model, "encoder.2.weight", scale, 20, NULL);
    vae_get_tensor(model, "encoder.2.bias", shift, 20, NULL);
    vae_get_tensor(model, "encoder.2.running_mean", mean, 20, NULL);
    vae_get_tensor(model, "encoder.2.running_var", variance, 20, NULL);
    for (k = 0; k < 20; k++) {
        const vae_real by = (vae_real)((double)scale[k] / sqrt((double)variance[k] + 1e-5));
        for (i = 0; i < 60; i++) weight[k * 60 + i] *= by;
        bias[k] = (bias[k] - mean[k]) * by + shift[k];
    }
    vae_set_tensor(folded, "encoder.1.weight", weight, 20 * 60, NULL);
    vae_set_tensor(folded, "encoder.1.bias", bias, 20, NULL);
    vae_get_tensor(model, "encoder.4.weight", weight, 12 * 20, NULL);
    CHECK(vae_set_tensor(folded, "encoder.3.weight", weight, 12 * 20, NULL) == VAE_OK);
    vae_get_tensor(model, "encoder.4.bias", bias, 12, NULL);
    CHECK(vae_set_tensor(folded, "encoder.3.bias", bias, 12, NULL) == VAE_OK);
    vae_get_tensor(model, "mean.weight", weight, 36, NULL);
    vae_set_tensor(folded, "mean.weight", weight, 36, NULL);
    vae_get_tensor(model, "mean.bias", bias, 3, NULL);
    vae_set_tensor(folded, "mean.bias", bias, 3, NULL);
    CHECK(vae_encode(folded, &data, same, NULL, NULL) == VAE_OK);
    for (i = 0; i < ROWS * 3; i++) CHECK_NEAR(same[i], z[i], 1e-5);
    vae_destroy(model);
    vae_destroy(folded);
}

static void run_backwards(void *user, vae_task task, void *context, size_t count) {
    (void)user;
    while (count--) task(context, count);
}

/* The same bits for any number of threads and through a checkpoint; views and halves; and it learns. */
TEST(test_training_and_files) {
    int convolutional;
    for (convolutional = 0; convolutional < 2; convolutional++) {
        vae_config     config = network(convolutional), given;
        vae_data       data = rows(ROWS);
        vae_fit_config fit = { 0 };
        vae_model     *a = make(&config), *b, *c = NULL, *view = NULL, *half = NULL;
        vae_error      error = { VAE_OK, "" };
        vae_latents    latents = { 0 };
        vae_terms      before, after;
        vae_real       z[ROWS * 3], other[ROWS * 3], made[ROWS * 60], again[ROWS * 60];
        unsigned char *bytes;
        size_t         size;
        config.threads = 3;
        config.parallel.run = run_backwards;
        b = make(&config);
        fit.epochs = 15;
        fit.batch = 22;                     /* and a last batch of one */
        CHECK(vae_elbo(a, &data, &before, NULL, NULL) == VAE_OK);
        CHECK(vae_fit(a, &data, &fit, NULL) == VAE_OK && vae_fit(b, &data, &fit, NULL) == VAE_OK);
        CHECK(same_weights(a, b));
        CHECK(vae_elbo(a, &data, &after, NULL, NULL) == VAE_OK);
        CHECK(after.loss < before.loss);
        CHECK(vae_save_memory(a, 1, NULL, 0, &size, NULL) == VAE_OK);
        bytes = (unsigned char *)malloc(size);
        CHECK(vae_save_memory(a, 1, bytes, size, &size, NULL) == VAE_OK);
        if (!CHECK(vae_load_memory(bytes, size, NULL, &c, &error) == VAE_OK)) printf("    %s\n", error.message);
        CHECK(same_weights(a, c));
        CHECK(config_of(c).encoder[0].batch_norm == 1 && !config_of(c).encoder[1].batch_norm);
        CHECK(vae_fit(a, &data, &fit, NULL) == VAE_OK && vae_fit(c, &data, &fit, NULL) == VAE_OK);
        CHECK(same_weights(a, c));
        /* b is where the file was saved */
        CHECK(vae_create_view(b, NULL, &view, NULL) == VAE_OK);
        CHECK(vae_encode(b, &data, z, NULL, NULL) == VAE_OK && vae_encode(view, &data, other, NULL, NULL) == VAE_OK);
        CHECK(!memcmp(z, other, sizeof z));
        memset(&given, 0, sizeof given);
        given.part = VAE_ENCODER_ONLY;
        CHECK(vae_load_memory(bytes, size, &given, &half, &error) == VAE_OK);
        CHECK(vae_encode(half, &data, other, NULL, NULL) == VAE_OK && !memcmp(z, other, sizeof z));
        vae_destroy(half);
        given.part = VAE_DECODER_ONLY;
        half = NULL;
        CHECK(vae_load_memory(bytes, size, &given, &half, &error) == VAE_OK);
        latents.z = z;
        latents.count = ROWS;
        CHECK(vae_decode(b, &latents, made, NULL) == VAE_OK && vae_decode(half, &latents, again, NULL) == VAE_OK);
        CHECK(!memcmp(made, again, sizeof made));
        vae_destroy(half);
        free(bytes);
        vae_destroy(view);
        vae_destroy(a);
        vae_destroy(b);
        vae_destroy(c);
    }
}

/* A model that cannot train keeps what it has computed of averages and weights: it must notice that one changes, to 0
   as well. */
TEST(test_changed_averages) {
    int convolutional, turn;
    for (convolutional = 0; convolutional < 2; convolutional++) {
        vae_config config = network(convolutional);
        vae_data   data = rows(ROWS);
        vae_model *a = make(&config), *b;
        vae_real   of_a[ROWS * 60], of_b[ROWS * 60], values[60];
        vae_tensor tensor;
        size_t     index, i;
        config.inference_only = 1;
        b = make(&config);
        for (turn = 0; turn < 3; turn++)
            for (index = 0; index < vae_tensor_count(a); index++) {
                CHECK(vae_tensor_at(a, index, &tensor, NULL) == VAE_OK);
                if (tensor.rank > 1 || tensor.count > 60) continue;
                for (i = 0; i < tensor.count; i++)
                    values[i] = turn == 1 ? 0 : (vae_real)(0.5 + 0.1 * (double)(i % 7 + index));
                CHECK(vae_set_tensor(a, tensor.name, values, tensor.count, NULL) == VAE_OK &&
                      vae_set_tensor(b, tensor.name, values, tensor.count, NULL) == VAE_OK);
                CHECK(vae_reconstruct(a, &data, of_a, NULL) == VAE_OK &&
                      vae_reconstruct(b, &data, of_b, NULL) == VAE_OK);
                CHECK(!memcmp(of_a, of_b, sizeof of_a));
            }
        vae_destroy(a);
        vae_destroy(b);
    }
}

/* A file as PyTorch writes it also has num_batches_tracked, which is left out; a negative variance is damage. */
TEST(test_files_of_pytorch) {
    static const char more[] = "{\"encoder.2.num_batches_tracked\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[";
    static char    bytes[40000], changed[40000];
    vae_config     config = network(0);
    vae_model     *model = make(&config), *other;
    vae_error      error = { VAE_OK, "" };
    vae_data       data = rows(ROWS);
    size_t         size, length, added, i;
    char          *header;
    CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);
    CHECK(vae_save_memory(model, 0, bytes, sizeof bytes, &size, NULL) == VAE_OK);
    length = (size_t)(unsigned char)bytes[0] | (size_t)(unsigned char)bytes[1] << 8;
    added = (size_t)sprintf(changed + 8, "%s%u,%u]},", more, (unsigned)(size - 8 - length), (unsigned)(size - length));
    memcpy(changed + 8 + added, bytes + 9, size - 9);
    memset(changed + 8 + added + size - 9, 0, 8);
    for (i = 0; i < 8; i++) changed[i] = (char)((uint64_t)(length + added - 1) >> (8 * i) & 255);
    other = make(&config);
    if (!CHECK(vae_load_weights_memory(other, changed, size + added - 1 + 8, &error) == VAE_OK))
        printf("    %s\n", error.message);
    CHECK(same_weights(model, other));
    bytes[size] = 0;
    header = strstr(bytes + 8, "\"encoder.2.running_var\"");
    CHECK(header != NULL);
    header = header ? strstr(header, "data_offsets\":[") : NULL;
    if (header) {
        bytes[8 + length + strtoul(header + 15, NULL, 10) + 3] = (char)0xC0;      /* the sign of its first number */
        CHECK(vae_load_weights_memory(other, bytes, size, &error) == VAE_ERROR_FORMAT);
        CHECK_CONTAINS(error.message, "encoder.2.running_var is negative");
    }
    vae_destroy(model);
    vae_destroy(other);
}

TEST(test_refusals_and_mirror) {
    vae_config config = network(1), filled;
    vae_model *model = NULL;
    vae_error  error = { VAE_OK, "" };
    CHECK(vae_defaults(&config, &filled, NULL) == VAE_OK);
    CHECK(filled.decoder[0].batch_norm && !filled.decoder[1].batch_norm && !filled.decoder[2].batch_norm);
    CHECK(filled.decoder[3].batch_norm && !filled.decoder[4].batch_norm);
    filled.decoder[4].batch_norm = 1;
    CHECK(vae_create(&filled, &model, &error) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error.message, "decoder layer 5 is the last: its batch_norm would be that of pixels");
}

int main(void) {
    RUN(test_tensors);
    RUN(test_columns);
    RUN(test_inference);
    RUN(test_training_and_files);
    RUN(test_changed_averages);
    RUN(test_files_of_pytorch);
    RUN(test_refusals_and_mirror);
    return test_finish();
}
