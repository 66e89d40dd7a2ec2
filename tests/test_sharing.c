/* Tensors with more than one use: mean and logvar of one layer, a decoder that uses the encoder's weights. */
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "config_of.h"

#include <stdlib.h>
#include "test.h"
#include "model.h"
#include "folder.h"

enum { ROWS = 37, NETWORKS = 4, MOST = 4096 };

/* Dense, convolutions to the heads, both, and an encoder that begins with the adjoint. */
static vae_config network(int number, int shared_heads, int tied) {
    static const vae_config networks[NETWORKS] = {
        { .input = { 1, 12, 1 }, .latent = 3,
          .encoder = { VAE_DENSE_INITIALIZER(8, VAE_SILU), VAE_DENSE_INITIALIZER(6, VAE_TANH) } },
        { .input = { 7, 6, 2 }, .latent = 3,
          .encoder = { VAE_CONV_INITIALIZER(4, 3, 2, VAE_RELU), VAE_CONV_INITIALIZER(5, 2, 1, VAE_TANH) } },
        { .input = { 8, 8, 1 }, .latent = 4,
          .encoder = { VAE_CONV_SYMMETRIC_INITIALIZER(4, 3, 2, 1, VAE_GELU), VAE_DENSE_INITIALIZER(9, VAE_RELU) } },
        { .input = { 3, 4, 2 }, .latent = 2,
          .encoder = { VAE_CONV_TRANSPOSED_INITIALIZER(3, 3, 2, VAE_TANH), VAE_DENSE_INITIALIZER(10, VAE_SILU) } }
    };
    vae_config config = networks[number];
    config.batch = ROWS;
    config.threads = 1;
    config.shared_heads = shared_heads;
    config.tied = tied;
    return config;
}

static vae_real pixels[ROWS * 128];

static vae_data rows(size_t count) { return uniform_rows(pixels, sizeof pixels / sizeof *pixels, count); }

static void names_of(const vae_model *model, char *names) {
    vae_tensor tensor;
    size_t     i;
    names[0] = 0;
    for (i = 0; i < vae_tensor_count(model); i++) {
        CHECK(vae_tensor_at(model, i, &tensor, NULL) == VAE_OK);
        strcat(strcat(names, i ? " " : ""), tensor.name);
    }
}

TEST(test_tensors) {
    char       names[1024], text[4096];
    vae_config config = network(0, 1, 1);
    vae_model *model = make(&config);
    names_of(model, names);
    CHECK_TEXT(names, "encoder.0.weight encoder.0.bias encoder.2.weight encoder.2.bias mean.weight mean.bias "
                      "decoder.0.bias decoder.2.bias decoder.4.bias");
    CHECK(vae_parameter_count(model) == 8 * 12 + 8 + 6 * 8 + 6 + 3 * 6 + 3 + 6 + 8 + 12);
    vae_summary(model, text, sizeof text);
    CHECK_CONTAINS(text, "mean = logvar ");
    vae_destroy(model);
    config = network(1, 0, 1);
    model = make(&config);
    names_of(model, names);
    CHECK_TEXT(names, "encoder.1.weight encoder.1.bias encoder.4.weight encoder.4.bias mean.weight mean.bias "
                      "logvar.weight logvar.bias decoder.0.bias decoder.3.bias decoder.6.bias");
    vae_destroy(model);
}

/* Each first weight depends on its tensor alone, not on what is shared. */
TEST(test_first_weights) {
    int number, sharing;
    for (number = 0; number < NETWORKS; number++)
        for (sharing = 1; sharing < 4; sharing++) {
            vae_config config = network(number, 0, 0);
            vae_model *plain = make(&config), *model;
            vae_tensor tensor;
            size_t     i;
            config = network(number, sharing & 1, sharing & 2);
            model = make(&config);
            for (i = 0; i < vae_tensor_count(model); i++) {
                vae_real ours[MOST], theirs[MOST];
                CHECK(vae_tensor_at(model, i, &tensor, NULL) == VAE_OK);
                CHECK(vae_get_tensor(model, tensor.name, ours, tensor.count, NULL) == VAE_OK);
                CHECK(vae_get_tensor(plain, tensor.name, theirs, tensor.count, NULL) == VAE_OK);
                CHECK(!memcmp(ours, theirs, tensor.count * sizeof *ours));
            }
            vae_destroy(plain);
            vae_destroy(model);
        }
}

TEST(test_logvar_is_mean) {
    vae_config config = network(2, 1, 0);
    vae_model *model = make(&config);
    vae_data   data = rows(ROWS);
    vae_real   mean[ROWS * 4], logvar[ROWS * 4];
    CHECK(vae_encode(model, &data, mean, logvar, NULL) == VAE_OK);
    CHECK(!memcmp(mean, logvar, sizeof mean));
    CHECK(mean[0] != mean[4] && mean[0] != mean[1]);
    vae_destroy(model);
}

/* Copies tensor `from` of the one into `to` of the other: as it is, or a dense one transposed. */
static void copy_tensor(const vae_model *a, const char *from, vae_model *b, const char *to, size_t outs, size_t ins) {
    vae_real values[MOST], turned[MOST];
    size_t   i;
    CHECK(vae_get_tensor(a, from, values, outs * ins, NULL) == VAE_OK);
    for (i = 0; i < outs * ins; i++) turned[i % ins * outs + i / ins] = values[i];
    CHECK(vae_set_tensor(b, to, ins > 1 ? turned : values, outs * ins, NULL) == VAE_OK);
}

static void gradient_of(const vae_model *model, const char *name, size_t outs, size_t ins, int turn, double *sum) {
    vae_real values[MOST];
    size_t   i;
    CHECK(vae_get_gradient(model, name, values, outs * ins, NULL) == VAE_OK);
    for (i = 0; i < outs * ins; i++) sum[turn ? i % ins * outs + i / ins : i] += (double)values[i];
}

static void check_sum(const vae_model *model, const char *name, const double *sum, size_t count) {
    vae_real values[MOST];
    double   largest = 0;
    size_t   i;
    CHECK(vae_get_gradient(model, name, values, count, NULL) == VAE_OK);
    for (i = 0; i < count; i++) largest = fmax(largest, fabs(sum[i]));
    for (i = 0; i < count; i++) CHECK_NEAR(values[i], sum[i], 2e-5 * largest);
}

/* A network whose weights happen to be the same has the same loss, and its two gradients add up to the tensor's. */
TEST(test_the_sum_of_both_uses) {
    vae_config config = network(2, 1, 1);
    vae_model *model = make(&config), *plain;
    vae_data   data = rows(ROWS);
    vae_terms  terms, expected;
    double     mean[4 * 9] = { 0 }, dense[9 * 64] = { 0 }, conv[4 * 9] = { 0 };
    config = network(2, 0, 0);
    plain = make(&config);
    copy_tensor(model, "encoder.0.weight", plain, "encoder.0.weight", 36, 1);
    copy_tensor(model, "encoder.0.bias", plain, "encoder.0.bias", 4, 1);
    copy_tensor(model, "encoder.3.weight", plain, "encoder.3.weight", 9 * 64, 1);
    copy_tensor(model, "encoder.3.bias", plain, "encoder.3.bias", 9, 1);
    copy_tensor(model, "mean.weight", plain, "mean.weight", 36, 1);
    copy_tensor(model, "mean.weight", plain, "logvar.weight", 36, 1);
    copy_tensor(model, "mean.bias", plain, "mean.bias", 4, 1);
    copy_tensor(model, "mean.bias", plain, "logvar.bias", 4, 1);
    copy_tensor(model, "mean.weight", plain, "decoder.0.weight", 4, 9);
    copy_tensor(model, "decoder.0.bias", plain, "decoder.0.bias", 9, 1);
    copy_tensor(model, "encoder.3.weight", plain, "decoder.2.weight", 9, 64);
    copy_tensor(model, "decoder.2.bias", plain, "decoder.2.bias", 64, 1);
    copy_tensor(model, "encoder.0.weight", plain, "decoder.5.weight", 36, 1);
    copy_tensor(model, "decoder.5.bias", plain, "decoder.5.bias", 1, 1);
    CHECK(vae_accumulate_gradients(model, &data, NULL, &terms, NULL) == VAE_OK);
    CHECK(vae_accumulate_gradients(plain, &data, NULL, &expected, NULL) == VAE_OK);
    CHECK_NEAR(terms.loss, expected.loss, 1e-5 * expected.loss);
    CHECK_NEAR(terms.kl, expected.kl, 1e-5 * expected.loss);
    gradient_of(plain, "mean.weight", 4, 9, 0, mean);
    gradient_of(plain, "logvar.weight", 4, 9, 0, mean);
    gradient_of(plain, "decoder.0.weight", 9, 4, 1, mean);
    gradient_of(plain, "encoder.3.weight", 9, 64, 0, dense);
    gradient_of(plain, "decoder.2.weight", 64, 9, 1, dense);
    gradient_of(plain, "encoder.0.weight", 36, 1, 0, conv);
    gradient_of(plain, "decoder.5.weight", 36, 1, 0, conv);
    check_sum(model, "mean.weight", mean, 36);
    check_sum(model, "encoder.3.weight", dense, 9 * 64);
    check_sum(model, "encoder.0.weight", conv, 36);
    vae_destroy(model);
    vae_destroy(plain);
}

static void run_backwards(void *user, vae_task task, void *context, size_t count) {
    (void)user;
    while (count--) task(context, count);
}

/* By steps, by gradients and by fits, with any number of threads: the same bits; and they learn. */
TEST(test_training) {
    int number, sharing;
    for (number = 0; number < NETWORKS; number++)
        for (sharing = 1; sharing < 4; sharing++) {
            vae_config config = network(number, sharing & 1, sharing & 2);
            vae_data   data = rows(ROWS);
            vae_model *a, *b, *c;
            vae_terms  first, last = { 0 };
            int        i;
            config.optimizer.kind = VAE_ADAMW;
            config.optimizer.learning_rate = (vae_real)0.01;
            a = make(&config);
            config.threads = 3;
            config.parallel.run = run_backwards;
            b = make(&config);
            config.threads = 2;
            c = make(&config);
            for (i = 0; i < 20; i++) {
                CHECK(vae_train_step(a, &data, i ? &last : &first, NULL) == VAE_OK);
                CHECK(vae_accumulate_gradients(b, &data, NULL, NULL, NULL) == VAE_OK);
                CHECK(vae_apply_gradients(b, NULL) == VAE_OK);
                CHECK(vae_train_step(c, &data, NULL, NULL) == VAE_OK);
            }
            CHECK(last.loss < first.loss);
            CHECK(same_weights(a, b) || !(sharing & 2));        /* an update by batch sums in another order */
            CHECK(same_weights(a, c));
            vae_destroy(a);
            vae_destroy(b);
            vae_destroy(c);
        }
}

static unsigned char *saved(const vae_model *model, int checkpoint, size_t *size) {
    unsigned char *bytes;
    CHECK(vae_save_memory(model, checkpoint, NULL, 0, size, NULL) == VAE_OK);
    bytes = (unsigned char *)malloc(*size + 1);
    CHECK(vae_save_memory(model, checkpoint, bytes, *size, size, NULL) == VAE_OK);
    bytes[*size] = 0;
    return bytes;
}

/* From the whole model's file, in every way to load one, the decoder alone decodes to the same bits; and from its
   own. */
static void check_decoder_alone(vae_model *whole, const vae_config *config, const void *bytes, size_t size) {
    static vae_real  z[ROWS * 4], wanted[ROWS * 128], got[ROWS * 128];
    const vae_latents latents = { z, ROWS, NULL };
    const size_t     numbers = ROWS * vae_example_size(whole);
    vae_config       given = { .part = VAE_DECODER_ONLY }, full = *config;
    vae_error        error;
    vae_tensor       tensor;
    unsigned char   *own;
    unsigned char    taken[64];
    size_t           own_size = 0, i;
    int              way;
    for (i = 0; i < ROWS * vae_latent_size(whole); i++) z[i] = (vae_real)((double)(i * 37 % 101) / 25 - 2);
    CHECK(vae_decode(whole, &latents, wanted, NULL) == VAE_OK);
    full.part = VAE_DECODER_ONLY;
    for (way = 0; way < 4; way++) {
        vae_model *b = NULL, *again = NULL;
        if (way < 2) CHECK(vae_load_memory(bytes, size, way ? &full : &given, &b, &error) == VAE_OK);
        else {
            b = make(&full);
            if (way == 2) CHECK(vae_load_weights_memory(b, bytes, size, &error) == VAE_OK);
            else CHECK(vae_load_matching_memory(b, bytes, size, taken, &error) == VAE_OK);
            for (i = 0; way == 3 && i < vae_tensor_count(b); i++) CHECK(taken[i]);
        }
        if (!b) continue;
        CHECK(config_of(b).tied == 0 && vae_tensor_at(b, 0, &tensor, NULL) == VAE_OK);
        CHECK_TEXT(tensor.name, "decoder.0.weight");
        CHECK(vae_decode(b, &latents, got, NULL) == VAE_OK);
        CHECK(!memcmp(got, wanted, numbers * sizeof *got));
        own = saved(b, 0, &own_size);
        CHECK(vae_load_memory(own, own_size, NULL, &again, &error) == VAE_OK);
        if (again) CHECK(vae_decode(again, &latents, got, NULL) == VAE_OK);
        CHECK(!memcmp(got, wanted, numbers * sizeof *got));
        vae_destroy(again);
        vae_destroy(b);
        free(own);
    }
}

TEST(test_files) {
    int number, sharing;
    for (number = 0; number < NETWORKS; number++)
        for (sharing = 0; sharing < 4; sharing++) {
            vae_config      config = network(number, sharing & 1, sharing & 2), given, plain;
            vae_data        data = rows(ROWS);
            vae_fit_config  fit = { 0 };
            vae_model      *a = make(&config), *b = NULL, *view;
            vae_error       error = { VAE_OK, "" };
            vae_real        mean[ROWS * 4], viewed[ROWS * 4];
            unsigned char  *bytes;
            const char     *header;
            size_t          size;
            fit.epochs = 2;
            fit.batch = 10;
            CHECK(vae_fit(a, &data, &fit, NULL) == VAE_OK);
            bytes = saved(a, 1, &size);
            header = (const char *)bytes + 8;
            CHECK((strstr(header, "\\\"tied\\\":1") != NULL) == (sharing >= 2));
            CHECK((strstr(header, "\\\"shared_heads\\\":1") != NULL) == (sharing % 2));
            CHECK((strstr(header, "\"logvar.weight\"") == NULL) == (sharing % 2));
            CHECK((strstr(header, "\"decoder.0.weight\"") == NULL) == (sharing >= 2));
            CHECK(vae_load_memory(bytes, size, NULL, &b, &error) == VAE_OK);
            CHECK(same_weights(a, b));
            CHECK(config_of(b).tied == (sharing >= 2) && config_of(b).shared_heads == sharing % 2);
            CHECK(vae_fit(a, &data, &fit, NULL) == VAE_OK);
            CHECK(vae_fit(b, &data, &fit, NULL) == VAE_OK);
            CHECK(same_weights(a, b));
            CHECK(vae_create_view(a, NULL, &view, NULL) == VAE_OK);
            CHECK(vae_encode(a, &data, mean, NULL, NULL) == VAE_OK);
            CHECK(vae_encode(view, &data, viewed, NULL, NULL) == VAE_OK);
            CHECK(!memcmp(mean, viewed, ROWS * vae_latent_size(a) * sizeof *mean));
            vae_destroy(view);
            vae_destroy(b);
            /* into a model of the same kind, and into others */
            b = make(&config);
            CHECK(vae_load_weights_memory(b, bytes, size, &error) == VAE_OK);
            vae_destroy(b);
            if (sharing) {
                plain = network(number, 0, 0);
                b = make(&plain);
                CHECK(vae_load_weights_memory(b, bytes, size, &error) == VAE_ERROR_FORMAT);
                vae_destroy(b);
            }
            memset(&given, 0, sizeof given);
            given.tied = given.shared_heads = 1;
            b = NULL;
            CHECK((vae_load_memory(bytes, size, &given, &b, &error) == VAE_OK) == (sharing == 3));
            if (sharing < 3) CHECK_CONTAINS(error.message, "is 0 in the file and 1 in the config");
            vae_destroy(b);
            /* the encoder alone */
            memset(&given, 0, sizeof given);
            given.part = VAE_ENCODER_ONLY;
            b = NULL;
            CHECK(vae_load_memory(bytes, size, &given, &b, &error) == VAE_OK);
            vae_destroy(a);
            a = NULL;
            CHECK(vae_load_memory(bytes, size, NULL, &a, NULL) == VAE_OK);
            CHECK(vae_encode(a, &data, mean, NULL, NULL) == VAE_OK);
            CHECK(vae_encode(b, &data, viewed, NULL, NULL) == VAE_OK);
            CHECK(!memcmp(mean, viewed, ROWS * vae_latent_size(a) * sizeof *mean));
            vae_destroy(b);
            check_decoder_alone(a, &config, bytes, size);
            vae_destroy(a);
            /* cut off in the data: the weights that are counted are those that are stored */
            CHECK(vae_load_memory(bytes, size - 4, NULL, &b, &error) != VAE_OK);
            free(bytes);
        }
}

/* From a tied model's file on the disk a decoder alone of another latent size takes all but the layer behind z. */
TEST(test_transfer_to_a_decoder) {
    char path[64];
    int  number;
    sprintf(path, "test_sharing.%ld.safetensors", process_number());
    for (number = 0; number < NETWORKS; number++) {
        vae_config    config = network(number, number & 1, 1);
        vae_model    *a = make(&config), *b;
        vae_error     error = { VAE_OK, "" };
        vae_tensor    tensor;
        unsigned char taken[64];
        size_t        i;
        CHECK(vae_save(a, path, &error) == VAE_OK);
        config.latent += 2;
        config.part = VAE_DECODER_ONLY;
        b = make(&config);
        CHECK(vae_load_matching(b, path, taken, &error) == VAE_OK);
        for (i = 0; i < vae_tensor_count(b); i++) CHECK(taken[i] == (i != 0));
        CHECK(vae_tensor_at(b, 0, &tensor, NULL) == VAE_OK);
        CHECK_TEXT(tensor.name, "decoder.0.weight");
        vae_destroy(a);
        vae_destroy(b);
    }
    CHECK(remove(path) == 0);
}

/* A normalisation's weights are not taken for a layer's, and a file that lacks a layer's is refused. */
TEST(test_decoder_alone) {
    int number;
    for (number = 0; number < NETWORKS; number++) {
        vae_config     config = network(number, number % 2, 1), half = { .part = VAE_DECODER_ONLY };
        vae_model     *a, *b = NULL;
        vae_error      error = { VAE_OK, "" };
        vae_data       data = rows(ROWS);
        unsigned char *bytes, *at;
        size_t         size;
        config.encoder[0].batch_norm = config.encoder[1].batch_norm = 1;
        a = make(&config);
        CHECK(vae_train_step(a, &data, NULL, NULL) == VAE_OK);     /* averages other than 0 and 1 */
        bytes = saved(a, 0, &size);
        check_decoder_alone(a, &config, bytes, size);
        at = (unsigned char *)strstr((char *)bytes + 8, "\"mean.weight");
        CHECK(at != NULL);
        if (at) at[1] = 'n';
        CHECK(vae_load_memory(bytes, size, &half, &b, &error) == VAE_ERROR_FORMAT && !b);
        vae_destroy(a);
        free(bytes);
    }
}

static void check_refused(vae_config config, const char *part) {
    vae_model *model = NULL;
    vae_error  error = { VAE_OK, "" };
    CHECK(vae_create(&config, &model, &error) == VAE_ERROR_CONFIG);
    CHECK(!model);
    CHECK_CONTAINS(error.message, part);
}

/* Whatever is not the mirror image is refused, with the layer's name; a decoder that is, however written, is not. */
TEST(test_mirror_images) {
    vae_config config = network(2, 0, 1), mirror, wrong;
    vae_model *model, *other;
    CHECK(vae_defaults(&config, &mirror, NULL) == VAE_OK);
    mirror.decoder[1].activation = VAE_SIGMOID;             /* activations are free */
    model = make(&mirror);
    config.decoder[0] = VAE_DENSE(9, VAE_RELU);
    config.decoder[1] = VAE_DENSE_SHAPED(4, 4, 4, VAE_SIGMOID);
    config.decoder[2] = VAE_CONV_TRANSPOSED_SYMMETRIC(1, 3, 2, 1, 1, VAE_LINEAR);
    other = make(&config);
    CHECK(same_weights(model, other));
    vae_destroy(model);
    vae_destroy(other);
    wrong = mirror;
    wrong.decoder[0].shape.channels = 8;
    check_refused(wrong, "decoder layer 1 is tied to the layer that gives the mean");
    wrong = mirror;
    wrong.decoder[1] = VAE_DENSE_SHAPED(4, 2, 8, VAE_RELU);
    check_refused(wrong, "decoder layer 2 is tied to encoder layer 2, but is not its mirror image");
    wrong = mirror;
    wrong.decoder[1] = VAE_DENSE(64, VAE_RELU);             /* no image: other numbers in another order */
    wrong.decoder[2] = VAE_DENSE(64, VAE_LINEAR);
    check_refused(wrong, "decoder layer 2 is tied");
    wrong = mirror;
    wrong.decoder[2] = VAE_CONV_TRANSPOSED(1, 4, 2, VAE_LINEAR);
    check_refused(wrong, "decoder layer 3 is tied to encoder layer 1");
    wrong = mirror;
    wrong.decoder[2] = VAE_DENSE(64, VAE_LINEAR);
    check_refused(wrong, "decoder layer 3 is tied to encoder layer 1");
    wrong = mirror;
    wrong.decoder[3] = VAE_CONV(1, 3, 1, VAE_LINEAR);
    check_refused(wrong, "the decoder has 4 layers where the mirror image of the encoder's 2 has 3");
}

int main(void) {
    RUN(test_tensors);
    RUN(test_first_weights);
    RUN(test_logvar_is_mean);
    RUN(test_the_sum_of_both_uses);
    RUN(test_training);
    RUN(test_files);
    RUN(test_transfer_to_a_decoder);
    RUN(test_decoder_alone);
    RUN(test_mirror_images);
    return test_finish();
}
