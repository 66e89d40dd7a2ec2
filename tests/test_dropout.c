/* Dropout: what is dropped, how often, when, and that nothing else changes. Figures of PyTorch: test_golden.c. */
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "config_of.h"

#include <stdlib.h>
#include "test.h"
#include "model.h"

enum { ROWS = 45 };

static vae_config network(int convolutional, vae_real dropout) {
    vae_config config = { .input = { 6, 5, 2 }, .latent = 3, .seed = 4, .batch = ROWS, .threads = 1,
                          .encoder = { VAE_DENSE(20, VAE_SILU), VAE_DENSE(12, VAE_TANH) } };
    if (convolutional) {
        config.encoder[0] = VAE_CONV(4, 3, 2, VAE_TANH);
        config.encoder[1] = VAE_CONV(5, 2, 1, VAE_RELU);
        config.encoder[2] = VAE_DENSE(12, VAE_GELU);
    }
    config.encoder[0].dropout = dropout;
    config.encoder[1].dropout = dropout;
    return config;
}

static vae_real pixels[ROWS * 60];

static vae_data rows(size_t count) { return uniform_rows(pixels, sizeof pixels / sizeof *pixels, count); }

/* Kept numbers grow by exactly 1 / (1 - p), and their share is 1 - p, overall and in each column, to five standard
   deviations; rows, layers, steps and seeds have masks of their own. */
TEST(test_masks) {
    enum { COUNT = 2000, UNITS = 50 };
    static const vae_real amounts[] = { (vae_real)0.1, (vae_real)0.5, (vae_real)0.9 };
    static vae_real ones[UNITS], mask[4][COUNT][UNITS];
    vae_config config = network(0, (vae_real)0.5);
    vae_model *model = make(&config);
    size_t     a, i, k;
    int        m;
    for (k = 0; k < UNITS; k++) ones[k] = 1;
    for (a = 0; a < 3; a++) {
        const double p = (double)amounts[a], kept = 1 - p;
        double       all = 0, agreed[4] = { 0 }, one_way = kept * kept + p * p;
        vaei_pass    pass;
        vaei_begin_pass(&pass, model, 1);
        pass.forward_only = 0;
        model->plan.layers[0].dropout = model->plan.layers[1].dropout = amounts[a];
        for (m = 0; m < 4; m++) {
            model->step = m == 1 ? 8 : 7;
            model->settings.seed = m == 3 ? 5 : 4;
            for (i = 0; i < COUNT; i++)
                vaei_drop(&pass, &model->plan.layers[m == 2], i, 0, UNITS, ones, mask[m][i]);
        }
        for (k = 0; k < UNITS; k++) {
            double column = 0;
            for (i = 0; i < COUNT; i++) {
                const vae_real x = mask[0][i][k];
                CHECK(x == 0 || x == (vae_real)(1 / (1 - p)));
                column += x != 0;
                for (m = 1; m < 4; m++) agreed[m] += (x != 0) == (mask[m][i][k] != 0);
                agreed[0] += (x != 0) == (mask[0][(i + 1) % COUNT][(k + 1) % UNITS] != 0);
            }
            all += column;
            CHECK_NEAR(column / COUNT, kept, 5 * sqrt(kept * p / COUNT));
        }
        CHECK_NEAR(all / (COUNT * UNITS), kept, 5 * sqrt(kept * p / (COUNT * UNITS)));
        for (m = 0; m < 4; m++)
            CHECK_NEAR(agreed[m] / (COUNT * UNITS), one_way, 8 * sqrt(one_way * (1 - one_way) / (COUNT * UNITS)) +
                       1e-3);
        /* a part of a row is that part of the whole row */
        for (k = 0; k < UNITS; k++) {
            vae_real part[UNITS];
            model->step = 7;
            model->settings.seed = 4;
            vaei_drop(&pass, &model->plan.layers[0], 3, k, UNITS - k, ones, part);
            CHECK(!memcmp(part, mask[0][3] + k, (UNITS - k) * sizeof *part));
            pass.first = 3;
            vaei_drop(&pass, &model->plan.layers[0], 0, k, UNITS - k, ones, part);
            CHECK(!memcmp(part, mask[0][3] + k, (UNITS - k) * sizeof *part));
            pass.first = 0;
        }
    }
    vae_destroy(model);
}

/* Inference knows nothing of dropout, before and while the model trains. */
TEST(test_inference) {
    int convolutional;
    for (convolutional = 0; convolutional < 2; convolutional++) {
        vae_config config = network(convolutional, 0);
        vae_model *plain = make(&config), *model;
        vae_data   data = rows(ROWS);
        vae_terms  expected, terms, trained;
        vae_real   mean[ROWS * 3], other[ROWS * 3], made[ROWS * 60], decoded[ROWS * 60];
        config = network(convolutional, (vae_real)0.3);
        model = make(&config);
        CHECK(same_weights(plain, model));
        CHECK(vae_train_step(model, &data, NULL, NULL) == VAE_OK);
        memcpy(vae_parameters(plain), vae_weights(model), vae_weight_count(model) * sizeof(vae_real));
        CHECK(vae_encode(plain, &data, mean, NULL, NULL) == VAE_OK);
        CHECK(vae_encode(model, &data, other, NULL, NULL) == VAE_OK);
        CHECK(!memcmp(mean, other, sizeof mean));
        CHECK(vae_reconstruct(plain, &data, made, NULL) == VAE_OK);
        CHECK(vae_reconstruct(model, &data, decoded, NULL) == VAE_OK);
        CHECK(!memcmp(made, decoded, sizeof made));
        CHECK(vae_elbo(plain, &data, &expected, NULL, NULL) == VAE_OK);
        CHECK(vae_elbo(model, &data, &terms, NULL, NULL) == VAE_OK);
        CHECK(!memcmp(&terms, &expected, sizeof terms));
        CHECK(vae_accumulate_gradients(model, &data, NULL, &trained, NULL) == VAE_OK);
        CHECK(trained.loss != terms.loss);
        vae_destroy(plain);
        vae_destroy(model);
    }
}

static void run_backwards(void *user, vae_task task, void *context, size_t count) {
    (void)user;
    while (count--) task(context, count);
}

/* The same bits for any number of threads and through a checkpoint; and it learns. */
TEST(test_training) {
    int convolutional;
    for (convolutional = 0; convolutional < 2; convolutional++) {
        vae_config     config = network(convolutional, (vae_real)0.2);
        vae_data       data = rows(ROWS);
        vae_fit_config fit = { 0 };
        vae_model     *a = make(&config), *b, *c = NULL;
        vae_terms      before, after;
        unsigned char *bytes;
        size_t         size;
        config.threads = 3;
        config.parallel.run = run_backwards;
        b = make(&config);
        fit.epochs = 10;
        fit.batch = 20;
        CHECK(vae_elbo(a, &data, &before, NULL, NULL) == VAE_OK);
        CHECK(vae_fit(a, &data, &fit, NULL) == VAE_OK && vae_fit(b, &data, &fit, NULL) == VAE_OK);
        CHECK(same_weights(a, b));
        CHECK(vae_elbo(a, &data, &after, NULL, NULL) == VAE_OK);
        CHECK(after.loss < before.loss);
        CHECK(vae_save_memory(a, 1, NULL, 0, &size, NULL) == VAE_OK);
        bytes = (unsigned char *)malloc(size);
        CHECK(vae_save_memory(a, 1, bytes, size, &size, NULL) == VAE_OK);
        CHECK(vae_load_memory(bytes, size, NULL, &c, NULL) == VAE_OK);
        CHECK(config_of(c).encoder[1].dropout == (vae_real)0.2);
        CHECK(config_of(c).decoder[0].dropout == (convolutional ? 0 : (vae_real)0.2));
        CHECK(vae_fit(a, &data, &fit, NULL) == VAE_OK && vae_fit(c, &data, &fit, NULL) == VAE_OK);
        CHECK(same_weights(a, c));
        free(bytes);
        vae_destroy(a);
        vae_destroy(b);
        vae_destroy(c);
    }
}

static size_t file_of(const vae_config *config, char *bytes, size_t room) {
    vae_model *model = make(config);
    size_t     size = 0;
    CHECK(vae_save_memory(model, 0, bytes, room, &size, NULL) == VAE_OK);
    vae_destroy(model);
    return size;
}

/* Files, names and mirror image. Without dropout a file says nothing of it. */
TEST(test_files_and_names) {
    static char bytes[40000];
    vae_config  config = network(1, 0), given, filled;
    vae_model  *model = NULL;
    vae_error   error = { VAE_OK, "" };
    vae_tensor  tensor;
    char        text[4096];
    size_t      size = file_of(&config, bytes, sizeof bytes - 1), i, found = 0;
    bytes[size] = 0;
    CHECK(!strstr(bytes + 8, "dropout"));
    config.encoder[0].dropout = (vae_real)0.25;
    size = file_of(&config, bytes, sizeof bytes - 1);
    bytes[size] = 0;
    CHECK_CONTAINS(bytes + 8, "\\\"activation\\\":\\\"tanh\\\",\\\"dropout\\\":0.25}");
    CHECK(vae_load_memory(bytes, size, NULL, &model, &error) == VAE_OK);
    for (i = 0; i < vae_tensor_count(model); i++) {         /* ZeroPad2d, Conv2d, Tanh, Dropout, ZeroPad2d, Conv2d */
        vae_tensor_at(model, i, &tensor, NULL);
        found += !strcmp(tensor.name, "encoder.1.weight") || !strcmp(tensor.name, "encoder.5.weight") ||
                 !strcmp(tensor.name, "decoder.9.weight");
    }
    CHECK(found == 3);
    vae_summary(model, text, sizeof text);
    CHECK_CONTAINS(text, "  dropout 0.25\n");
    vae_destroy(model);
    model = NULL;
    memset(&given, 0, sizeof given);
    memcpy(given.encoder, config.encoder, sizeof given.encoder);
    CHECK(vae_load_memory(bytes, size, &given, &model, &error) == VAE_OK);
    vae_destroy(model);
    given.encoder[0].dropout = 0;
    CHECK(vae_load_memory(bytes, size, &given, &model, &error) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error.message, "encoder layer 1 has dropout 0.25 in the file and 0 in the config: ");
    config.encoder[1].dropout = (vae_real)0.5;
    config.encoder[2].dropout = (vae_real)0.125;
    CHECK(vae_defaults(&config, &filled, NULL) == VAE_OK);
    CHECK(filled.decoder[0].dropout == (vae_real)0.125 && filled.decoder[1].dropout == (vae_real)0.5);
    CHECK(filled.decoder[2].dropout == (vae_real)0.25 && filled.decoder[3].dropout == 0);
}

TEST(test_refusals) {
    const double wrong[] = { -0.1, 1, 1.5, HUGE_VAL };
    vae_config   config = network(1, 0), filled;
    vae_model   *model = NULL;
    vae_error    error = { VAE_OK, "" };
    size_t       i;
    for (i = 0; i < 4; i++) {
        config.encoder[1].dropout = (vae_real)wrong[i];
        CHECK(vae_create(&config, &model, &error) == VAE_ERROR_CONFIG);
        CHECK_CONTAINS(error.message, "encoder layer 2 has dropout ");
    }
    config.encoder[1].dropout = 0;
    CHECK(vae_defaults(&config, &filled, NULL) == VAE_OK);
    filled.decoder[3].dropout = (vae_real)0.1;
    CHECK(vae_create(&filled, &model, &error) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error.message, "decoder layer 4 is the last: its dropout would be that of pixels");
}

int main(void) {
    RUN(test_masks);
    RUN(test_inference);
    RUN(test_training);
    RUN(test_files_and_names);
    RUN(test_refusals);
    return test_finish();
}
