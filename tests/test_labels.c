/* Conditional models: the labels' way through encoder, decoder, training, sampling and files. What PyTorch makes of two
   of them is in test_golden.c. */
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "test.h"
#include "model.h"

static void copy_tensor(const vae_model *from, vae_model *to, const char *name) {
    vae_tensor tensor;
    vae_real  *values;
    size_t     index;
    for (index = 0; index < vae_tensor_count(from); index++) {
        vae_tensor_at(from, index, &tensor, NULL);
        if (!strcmp(tensor.name, name)) break;
    }
    CHECK(index < vae_tensor_count(from));
    values = (vae_real *)malloc(tensor.count * sizeof *values);
    CHECK(vae_get_tensor(from, name, values, tensor.count, NULL) == VAE_OK);
    CHECK(vae_set_tensor(to, name, values, tensor.count, NULL) == VAE_OK);
    free(values);
}

enum { ROWS = 450, PIXELS = 12, CLASSES = 4, LATENT = 3 };

static struct { vae_real pixels[ROWS * PIXELS]; int labels[ROWS]; } rows;

/* Three noisy stripes for each class, at another place. */
static vae_data make_rows(void) {
    test_random random = { 5 };
    vae_data    data = { 0 };
    size_t      i, k;
    for (i = 0; i < ROWS; i++) {
        rows.labels[i] = test_integer(&random, 0, CLASSES - 1);
        for (k = 0; k < PIXELS; k++)
            rows.pixels[i * PIXELS + k] =
                (vae_real)((int)k / 3 == rows.labels[i] ? test_uniform(&random, 0.7, 1)
                           : test_uniform(&random, 0, 0.3));
    }
    data.pixels = rows.pixels;
    data.labels = rows.labels;
    data.count = ROWS;
    return data;
}

static const vae_config dense = {
    .input = { 1, PIXELS, 1 }, .latent = LATENT, .classes = CLASSES, .seed = 3, .batch = 32, .threads = 1,
    .encoder = { VAE_DENSE_INITIALIZER(20, VAE_RELU), VAE_DENSE_INITIALIZER(9, VAE_SILU) }
};
static const vae_config images = {
    .input = { 2, 3, 2 }, .latent = LATENT, .classes = CLASSES, .seed = 3, .batch = 32, .threads = 1,
    .encoder = { VAE_CONV_INITIALIZER(5, 2, 1, VAE_RELU) },
    .decoder = { VAE_DENSE_SHAPED_INITIALIZER(2, 3, 4, VAE_RELU), VAE_CONV_INITIALIZER(2, 2, 1, VAE_LINEAR) }
};

/* A model without labels, whose rows and z have the one-hot label at their end, and which has the same weights. */
TEST(test_label_is_a_one_hot_input) {
    const vae_data    data = make_rows();
    vae_data          joined = { 0 };
    vae_latents       latents = { 0 }, joined_latents = { 0 };
    vae_config        config = dense;
    vae_model        *model = make(&config), *encoder, *decoder;
    static vae_real   pixels[ROWS * (PIXELS + CLASSES)], z[ROWS * (LATENT + CLASSES)];
    static vae_real   mean[2][ROWS * LATENT], logvar[2][ROWS * LATENT], decoded[2][ROWS * PIXELS];
    size_t            i, k;
    config.classes = 0;
    config.part = VAE_ENCODER_ONLY;
    config.input.width = PIXELS + CLASSES;
    encoder = make(&config);
    config = dense;
    config.classes = 0;
    config.part = VAE_DECODER_ONLY;
    config.latent = LATENT + CLASSES;
    decoder = make(&config);
    copy_tensor(model, encoder, "encoder.0.weight");
    copy_tensor(model, encoder, "encoder.0.bias");
    copy_tensor(model, encoder, "encoder.2.weight");
    copy_tensor(model, encoder, "encoder.2.bias");
    copy_tensor(model, encoder, "mean.weight");
    copy_tensor(model, encoder, "mean.bias");
    copy_tensor(model, encoder, "logvar.weight");
    copy_tensor(model, encoder, "logvar.bias");
    for (i = 0; i < 3; i++) {
        static const char *const names[3][2] = { { "decoder.0.weight", "decoder.0.bias" },
                                                 { "decoder.2.weight", "decoder.2.bias" },
                                                 { "decoder.4.weight", "decoder.4.bias" } };
        copy_tensor(model, decoder, names[i][0]);
        copy_tensor(model, decoder, names[i][1]);
    }
    for (i = 0; i < ROWS; i++) {
        memcpy(pixels + i * (PIXELS + CLASSES), data.pixels + i * PIXELS, PIXELS * sizeof *pixels);
        for (k = 0; k < CLASSES; k++)
            pixels[i * (PIXELS + CLASSES) + PIXELS + k] = (vae_real)((size_t)data.labels[i] == k);
    }
    joined.pixels = pixels;
    joined.count = ROWS;
    CHECK(vae_encode(model, &data, mean[0], logvar[0], NULL) == VAE_OK);
    CHECK(vae_encode(encoder, &joined, mean[1], logvar[1], NULL) == VAE_OK);
    for (i = 0; i < ROWS * LATENT; i++) {
        CHECK_NEAR(mean[0][i], mean[1][i], 2e-6);
        CHECK_NEAR(logvar[0][i], logvar[1][i], 2e-6);
    }
    for (i = 0; i < ROWS; i++) {
        memcpy(z + i * (LATENT + CLASSES), mean[0] + i * LATENT, LATENT * sizeof *z);
        for (k = 0; k < CLASSES; k++)
            z[i * (LATENT + CLASSES) + LATENT + k] = (vae_real)((size_t)data.labels[i] == k);
    }
    latents.z = mean[0];
    latents.labels = data.labels;
    joined_latents.z = z;
    latents.count = joined_latents.count = ROWS;
    CHECK(vae_decode(model, &latents, decoded[0], NULL) == VAE_OK);
    CHECK(vae_decode(decoder, &joined_latents, decoded[1], NULL) == VAE_OK);
    for (i = 0; i < ROWS * PIXELS; i++) CHECK_NEAR(decoded[0][i], decoded[1][i], 2e-6);
    CHECK(vae_reconstruct(model, &data, decoded[1], NULL) == VAE_OK);
    for (i = 0; i < ROWS * PIXELS; i++) CHECK(decoded[0][i] == decoded[1][i]);
    vae_destroy(model);
    vae_destroy(encoder);
    vae_destroy(decoder);
}

/* Several samples of a row share its label: log p(x | label) by hand, from encode, decode and the same noise. */
TEST(test_log_likelihood) {
    enum { SAMPLES = 7 };
    const vae_data data = make_rows();
    vae_model     *model = make(&dense);
    vae_latents    latents = { 0 };
    vae_real       mean[9 * LATENT], logvar[9 * LATENT], noise[SAMPLES * LATENT], z[SAMPLES * LATENT];
    vae_real       decoded[SAMPLES * PIXELS];
    int            labels[SAMPLES];
    double         each[9];
    vae_data       few = data;
    size_t         row, s, k;
    few.count = 9;
    CHECK(vae_encode(model, &few, mean, logvar, NULL) == VAE_OK);
    CHECK(vae_log_likelihood(model, &few, SAMPLES, NULL, each, NULL) == VAE_OK);
    for (row = 0; row < 9; row++) {
        double sum = 0;
        vaei_normal_rows(model->kernels, model->settings.seed, VAEI_STREAM_LIKELIHOOD, row, 0, SAMPLES, LATENT, noise);
        for (s = 0; s < SAMPLES; s++) {
            for (k = 0; k < LATENT; k++)
                z[s * LATENT + k] = (vae_real)((double)mean[row * LATENT + k] +
                                               exp((double)logvar[row * LATENT + k] / 2) *
                                               (double)noise[s * LATENT + k]);
            labels[s] = data.labels[row];
        }
        latents.z = z;
        latents.labels = labels;
        latents.count = SAMPLES;
        CHECK(vae_decode(model, &latents, decoded, NULL) == VAE_OK);
        for (s = 0; s < SAMPLES; s++) {
            double weight = 0;
            for (k = 0; k < LATENT; k++)
                weight += ((double)noise[s * LATENT + k] * (double)noise[s * LATENT + k] +
                           (double)logvar[row * LATENT + k] - (double)z[s * LATENT + k] *
                           (double)z[s * LATENT + k]) / 2;
            for (k = 0; k < PIXELS; k++) {
                const double x = (double)few.pixels[row * PIXELS + k], p = (double)decoded[s * PIXELS + k];
                weight += x * log(p) + (1 - x) * log(1 - p);
            }
            sum += exp(weight);
        }
        CHECK_NEAR(each[row], log(sum / SAMPLES), 1e-4);
    }
    vae_destroy(model);
}

/* Tasks one after the other: what threads would do, without threads. */
static void run_in_turn(void *user, vae_task task, void *context, size_t count) {
    (void)user;
    while (count) task(context, --count);
}

/* Whole gradients and vae_train_step's way to an update without them; one thread and five. A layer of 200 x 160 is
   large: its gradients' place is used otherwise meanwhile. */
TEST(test_updates) {
    size_t size, i;
    for (size = 0; size < 2; size++) {
        const vae_data data = make_rows();
        vae_data       batch = data;
        vae_config     config = dense;
        vae_model     *step, *whole, *parallel;
        const size_t   count = size ? 5 : 32, pixels = size ? 200 : PIXELS;
        batch.count = count;
        config.optimizer.kind = VAE_ADAMW;
        config.optimizer.weight_decay = (vae_real)0.5;
        config.input.width = (int)pixels;
        if (size) config.classes = 40;
        if (size) config.encoder[0] = VAE_DENSE(160, VAE_SILU);
#ifndef VAE_SMALL
        if (size) CHECK(vaei_is_large(pixels, 160));
#endif
        step = make(&config);
        whole = make(&config);
        config.threads = 5;
        config.parallel.run = run_in_turn;
        parallel = make(&config);
        for (i = 0; i < 5; i++) {
            batch.pixels = data.pixels + count * i * pixels;
            batch.labels = data.labels + count * i;
            CHECK(vae_train_step(step, &batch, NULL, NULL) == VAE_OK);
            CHECK(vae_train_step(parallel, &batch, NULL, NULL) == VAE_OK);
            CHECK(vae_accumulate_gradients(whole, &batch, NULL, NULL, NULL) == VAE_OK);
            CHECK(vae_apply_gradients(whole, NULL) == VAE_OK);
        }
        CHECK(!memcmp(vae_weights(step), vae_weights(parallel), vae_weight_count(step) * sizeof(vae_real)));
        for (i = 0; i < vae_parameter_count(step); i++) CHECK_NEAR(vae_weights(step)[i], vae_weights(whole)[i], 2e-5);
        vae_destroy(step);
        vae_destroy(whole);
        vae_destroy(parallel);
    }
}

/* A batch in shares is the batch; rows go with their labels when they are shuffled, so the classes are learned. */
TEST(test_training) {
    const vae_data data = make_rows();
    vae_data       piece = data;
    vae_config     config = images;
    vae_fit_config fit = { 0 };
    vae_model     *model = make(&config);
    vae_share      share = { 0, 32 };
    vae_latents    latents = { 0 };
    const size_t   count = vae_parameter_count(model);
    vae_real      *whole = (vae_real *)malloc(count * sizeof *whole), z[CLASSES * LATENT] = { 0 };
    vae_real       decoded[CLASSES * PIXELS];
    int            labels[CLASSES];
    size_t         i, k;
    piece.count = 32;
    CHECK(vae_accumulate_gradients(model, &piece, NULL, NULL, NULL) == VAE_OK);
    memcpy(whole, vae_gradients(model), count * sizeof *whole);
    vae_clear_gradients(model);
    for (; share.first < 32; share.first += piece.count) {
        piece.count = share.first ? 21 : 11;
        piece.pixels = data.pixels + share.first * PIXELS;
        piece.labels = data.labels + share.first;
        CHECK(vae_accumulate_gradients(model, &piece, &share, NULL, NULL) == VAE_OK);
    }
    for (i = 0; i < count; i++) CHECK_NEAR(vae_gradients(model)[i], whole[i], 1e-5);
    vae_clear_gradients(model);
    config.optimizer.learning_rate = (vae_real)0.01;
    vae_destroy(model);
    model = make(&config);
    fit.epochs = 40;
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
    latents.z = z;
    latents.labels = labels;
    latents.count = CLASSES;
    for (i = 0; i < CLASSES; i++) labels[i] = (int)(CLASSES - 1 - i);
    CHECK(vae_decode(model, &latents, decoded, NULL) == VAE_OK);
    for (i = 0; i < CLASSES; i++)
        for (k = 0; k < PIXELS; k++)
            CHECK_NEAR(decoded[i * PIXELS + k], (int)k / 3 == labels[i] ? 0.85 : 0.15, 0.1);
    vae_destroy(model);
    free(whole);
}

/* vae_sample's labels go round, over several calls and beyond what the workspace holds at once. */
TEST(test_samples) {
    vae_model      *model = make(&images), *twin = make(&images);
    static vae_real z[300 * LATENT], decoded[300 * PIXELS], sampled[300 * PIXELS];
    static int      labels[300];
    vae_latents     latents = { 0 };
    vae_sample_config how = { 0 };
    vae_config      config = images;
    vae_model      *plain;
    vae_error       error;
    size_t          i;
    for (i = 0; i < 300; i++) labels[i] = (int)(i % CLASSES);
    latents.z = z;
    latents.labels = labels;
    latents.count = 300;
    CHECK(vae_sample_latent(twin, 300, z, NULL) == VAE_OK);
    CHECK(vae_decode(twin, &latents, decoded, NULL) == VAE_OK);
    CHECK(vae_sample(model, 7, sampled, NULL) == VAE_OK);
    CHECK(vae_sample(model, 293, sampled + 7 * PIXELS, NULL) == VAE_OK);
    CHECK(!memcmp(sampled, decoded, sizeof sampled));
    /* chosen ones, as means and drawn */
    for (i = 0; i < 300; i++) labels[i] = (int)(i / 7 % CLASSES);
    how.labels = labels;
    CHECK(vae_sample_latent(twin, 300, z, NULL) == VAE_OK);
    CHECK(vae_decode(twin, &latents, decoded, NULL) == VAE_OK);
    CHECK(vae_sample_with(model, 300, &how, sampled, NULL) == VAE_OK);
    CHECK(!memcmp(sampled, decoded, sizeof sampled));
    how.kind = VAE_SAMPLE_DRAW;
    CHECK(vae_sample_with(model, 300, &how, sampled, NULL) == VAE_OK);
    for (i = 0; i < 300 * PIXELS; i++) CHECK(sampled[i] == 0 || sampled[i] == 1);
    CHECK(vae_draw(model, &latents, sampled, NULL) == VAE_OK);
    labels[299] = CLASSES;
    CHECK(vae_draw(model, &latents, sampled, &error) == VAE_ERROR_DATA);
    CHECK(vae_sample_with(model, 300, &how, sampled, &error) == VAE_ERROR_DATA);
    CHECK_TEXT(error.message, "row 299 has label 4: labels must lie in 0 to 3");
    config.classes = 0;
    plain = make(&config);
    CHECK(vae_sample_with(plain, 300, &how, sampled, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "vae_sample_with: how.labels are given, but the model is not conditional");
    vae_destroy(plain);
    vae_destroy(model);
    vae_destroy(twin);
}

static unsigned char *saved(const vae_model *model, int checkpoint, size_t *size) {
    unsigned char *bytes;
    CHECK(vae_save_memory(model, checkpoint, NULL, 0, size, NULL) == VAE_OK);
    bytes = (unsigned char *)malloc(*size + 1);
    CHECK(vae_save_memory(model, checkpoint, bytes, *size, size, NULL) == VAE_OK);
    bytes[*size] = 0;
    return bytes;
}

static int stop_in_the_middle(void *user, const vae_progress *progress) {
    return progress->epoch == 2 && progress->batch == *(const size_t *)user;
}

static void check_same(vae_model *a, vae_model *b, const vae_data *data) {
    vae_terms first, second;
    CHECK(!memcmp(vae_weights(a), vae_weights(b), vae_weight_count(a) * sizeof(vae_real)));
    CHECK(vae_elbo(a, data, &first, NULL, NULL) == VAE_OK && vae_elbo(b, data, &second, NULL, NULL) == VAE_OK);
    CHECK(first.loss == second.loss);
}

TEST(test_files) {
    const vae_data data = make_rows();
    vae_fit_config fit = { 0 };
    vae_config     config = images, other = { 0 };
    vae_model     *through = make(&config), *stopped = make(&config), *resumed = NULL, *part = NULL, *view = NULL;
    vae_error      error;
    vae_latents    latents = { 0 };
    vae_real       mean[2][20 * LATENT], decoded[2][20 * PIXELS];
    vae_data       few = data;
    size_t         size, at = 5, i;
    unsigned char *bytes;
    fit.until_epoch = 3;
    CHECK(vae_fit(through, &data, &fit, NULL) == VAE_OK);
    fit.on_progress = stop_in_the_middle;
    fit.user = &at;
    CHECK(vae_fit(stopped, &data, &fit, NULL) == VAE_STOPPED);
    bytes = saved(stopped, 1, &size);
    CHECK(vae_load_memory(bytes, size, NULL, &resumed, &error) == VAE_OK);
    free(bytes);
    fit.on_progress = NULL;
    CHECK(vae_fit(resumed, &data, &fit, NULL) == VAE_OK);
    check_same(resumed, through, &data);
    CHECK(vae_create_view(through, NULL, &view, NULL) == VAE_OK);
    check_same(view, through, &data);

    (void)vae_save(through, "build/test_labels.safetensors", NULL);     /* for PyTorch: see .ci/run */
    bytes = saved(through, 0, &size);
    CHECK_CONTAINS((const char *)bytes + 8, "\\\"classes\\\":4");
    few.count = 20;
    other.part = VAE_ENCODER_ONLY;
    CHECK(vae_load_memory(bytes, size, &other, &part, NULL) == VAE_OK);
    CHECK(vae_encode(through, &few, mean[0], NULL, NULL) == VAE_OK);
    CHECK(vae_encode(part, &few, mean[1], NULL, NULL) == VAE_OK);
    CHECK(!memcmp(mean[0], mean[1], sizeof mean[0]));
    vae_destroy(part);
    other.part = VAE_DECODER_ONLY;
    CHECK(vae_load_memory(bytes, size, &other, &part, NULL) == VAE_OK);
    latents.z = mean[0];
    latents.labels = data.labels;
    latents.count = 20;
    CHECK(vae_decode(through, &latents, decoded[0], NULL) == VAE_OK);
    CHECK(vae_decode(part, &latents, decoded[1], NULL) == VAE_OK);
    CHECK(!memcmp(decoded[0], decoded[1], sizeof decoded[0]));
    vae_destroy(part);
    /* the file's classes count; others are refused */
    other = images;
    other.classes = 5;
    CHECK(vae_load_memory(bytes, size, &other, &part, &error) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error.message, "classes is 4 in the file and 5 in the config");
    part = make(&other);
    CHECK(vae_load_weights_memory(part, bytes, size, &error) == VAE_ERROR_CONFIG);
    vae_destroy(part);
    other.classes = 0;
    part = make(&other);
    CHECK(vae_load_weights_memory(part, bytes, size, &error) == VAE_ERROR_FORMAT);
    free(bytes);
    bytes = saved(part, 0, &size);          /* not conditional: the file does not speak of classes */
    CHECK(!strstr((const char *)bytes + 8, "classes"));
    free(bytes);
    vae_destroy(part);
    /* a file that promises classes for which it has no weights takes no memory */
    bytes = saved(through, 0, &size);
    for (i = 0; memcmp(bytes + i, "classes\\\":4", 11); i++) {}
    bytes[i + 10] = '9';
    CHECK(vae_load_memory(bytes, size, NULL, &part, &error) == VAE_ERROR_FORMAT);
    free(bytes);
    vae_destroy(view);
    vae_destroy(through);
    vae_destroy(stopped);
    vae_destroy(resumed);
}

static vae_error error_of;
TEST(test_refusals) {
    const vae_data data = make_rows();
    vae_data       wrong = data, validation = data;
    vae_config     config = dense, filled;
    vae_fit_config fit = { 0 };
    vae_latents    latents = { 0 };
    vae_model     *model = make(&config), *plain;
    vae_real       z[3 * LATENT] = { 0 }, pixels[3 * PIXELS];
    int            labels[ROWS];
    char           text[4000];
    config.classes = 1;
    CHECK(try_to_make(&config, &error_of) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error_of.message, "classes is 1: use 0 (not conditional), or the number of different labels");
    config.classes = -4;
    CHECK(try_to_make(&config, &error_of) == VAE_ERROR_CONFIG);
    config.classes = 1048577;
    CHECK(try_to_make(&config, &error_of) == VAE_ERROR_CONFIG);
    config.classes = 2;
    config.tied = 1;
    CHECK(try_to_make(&config, &error_of) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error_of.message, "classes and tied are both set");
    config.tied = 0;
    config.decoder[0] = VAE_CONV_TRANSPOSED(4, 3, 2, VAE_RELU);
    config.decoder[1] = VAE_DENSE(PIXELS, VAE_LINEAR);
    CHECK(try_to_make(&config, &error_of) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error_of.message, "decoder layer 1 is a convolution, which cannot take the label");
    vae_get_config(model, &filled);
    CHECK(filled.classes == CLASSES);
    vae_summary(model, text, sizeof text);
    CHECK_CONTAINS(text, "given one of 4 classes");

    wrong.labels = NULL;
    CHECK(vae_train_step(model, &wrong, NULL, &error_of) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error_of.message, "vae_train_step: the model is conditional (classes is 4), and labels is NULL");
    CHECK(vae_encode(model, &wrong, NULL, NULL, NULL) == VAE_ERROR_ARGUMENT);
    CHECK(vae_elbo(model, &wrong, NULL, NULL, NULL) == VAE_ERROR_ARGUMENT);
    CHECK(vae_fit(model, &wrong, NULL, NULL) == VAE_ERROR_ARGUMENT);
    memcpy(labels, data.labels, sizeof labels);
    labels[ROWS - 2] = CLASSES;
    labels[ROWS - 1] = -1;
    wrong.labels = labels;
    CHECK(vae_fit(model, &wrong, NULL, &error_of) == VAE_ERROR_DATA);
    CHECK_TEXT(error_of.message, "row 448 has label 4: labels must lie in 0 to 3");
    fit.epochs = 1;
    fit.validation = &wrong;
    CHECK(vae_fit(model, &validation, &fit, &error_of) == VAE_ERROR_DATA);
    CHECK_TEXT(error_of.message, "validation row 448 has label 4: labels must lie in 0 to 3");
    CHECK(vae_elbo(model, &wrong, NULL, NULL, &error_of) == VAE_ERROR_DATA);
    wrong.pixels += (ROWS - 2) * PIXELS;
    wrong.labels += ROWS - 2;
    wrong.count = 2;
    CHECK(vae_train_step(model, &wrong, NULL, &error_of) == VAE_ERROR_DATA);
    CHECK_TEXT(error_of.message, "row 0 has label 4: labels must lie in 0 to 3");
    wrong.labels++;
    CHECK(vae_score(model, &wrong, NULL, (double[2]){ 0 }, &error_of) == VAE_ERROR_DATA);
    CHECK_TEXT(error_of.message, "row 0 has label -1: labels must lie in 0 to 3");
    latents.z = z;
    latents.count = 3;
    CHECK(vae_decode(model, &latents, pixels, &error_of) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error_of.message, "vae_decode: the model is conditional");
    latents.labels = labels + ROWS - 3;
    CHECK(vae_decode(model, &latents, pixels, &error_of) == VAE_ERROR_DATA);
    CHECK_TEXT(error_of.message, "row 1 has label 4: labels must lie in 0 to 3");
    config = dense;
    config.classes = 0;
    plain = make(&config);
    CHECK(vae_train_step(plain, &data, NULL, &error_of) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error_of.message, "labels are given, but the model is not conditional: set config.classes");
    CHECK(vae_decode(plain, &latents, pixels, &error_of) == VAE_ERROR_ARGUMENT);
    vae_destroy(plain);
    vae_destroy(model);
}

int main(void) {
    RUN(test_label_is_a_one_hot_input);
    RUN(test_log_likelihood);
    RUN(test_updates);
    RUN(test_training);
    RUN(test_samples);
    RUN(test_files);
    RUN(test_refusals);
    return test_finish();
}
