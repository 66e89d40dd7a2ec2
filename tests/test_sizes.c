/* Sizes that do not fit, in the plan's every product and sum: making a model fails with a sentence, or the model trains
   a step within its block. Most telling where size_t has 32 bits: gcc -m32 -msse2 -mfpmath=sse -fsanitize=address,
   undefined. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <stdlib.h>
#include "test.h"

enum { GUARD = 4096, MOST_BYTES = 96 << 20 };

static vae_shape shape(int height, int width, int channels) {
    vae_shape s;
    s.height = height;
    s.width = width;
    s.channels = channels;
    return s;
}

static vae_layer conv(vae_layer_kind kind, int channels, int height, int width, int stride_height, int stride_width) {
    vae_layer l = VAE_CONV(0, 1, 1, VAE_LINEAR);
    l.kind = kind;
    l.shape.channels = channels;
    l.kernel_height = height;
    l.kernel_width = width;
    l.stride_height = stride_height;
    l.stride_width = stride_width;
    return l;
}

/* Bytes that the weights, gradients and moments take at the least, by arithmetic that does not wrap. */
static double least_bytes(const vae_config *c, const vae_model *model) {
    double sum = 0;
    size_t i, k;
    for (i = 0; i < vae_tensor_count(model); i++) {
        vae_tensor t;
        double     product = 1;
        CHECK(vae_tensor_at(model, i, &t, NULL) == VAE_OK);
        for (k = 0; k < 4; k++) product *= (double)t.shape[k];
        sum += product;
    }
    return sum * (c->inference_only ? 1 : 4) * sizeof(vae_real);
}

/* Whether there was a model. What lies before and behind its memory stays as it is. */
static int try_config(const vae_config *c, size_t most) {
    vae_model     *model = NULL;
    vae_error      error;
    vae_data       data;
    unsigned char *memory, *bytes;
    size_t         needed = 0, example, i;
    int            clean = 1;
    vae_status     status = vae_memory_needed(c, &needed, &error);
    if (status != VAE_OK) {
        CHECK(status == VAE_ERROR_CONFIG || status == VAE_ERROR_MEMORY);
        CHECK(error.status == status && strlen(error.message) > 20 && strlen(error.message) < 255);
        CHECK(vae_create(c, &model, NULL) == status && !model);
        return 0;
    }
    if (needed > most) return 0;
    memory = (unsigned char *)malloc(needed + 2 * GUARD);
    if (!memory) return 0;
    memset(memory, 0xA5, needed + 2 * GUARD);
    CHECK(vae_create_in(c, memory + GUARD, needed, &model, &error) == VAE_OK);
    example = vae_example_size(model);
    CHECK(least_bytes(c, model) <= (double)needed);
    CHECK((double)example == (double)c->input.height * c->input.width * c->input.channels);
    bytes = (unsigned char *)calloc(example, 1);
    memset(&data, 0, sizeof data);
    data.bytes = bytes;
    data.count = 1;
    if (!c->inference_only) CHECK(vae_train_step(model, &data, NULL, &error) == VAE_OK);
    else CHECK(vae_elbo(model, &data, NULL, NULL, NULL) == VAE_OK);
    vae_destroy(model);
    for (i = 0; i < GUARD; i++) clean = clean && memory[i] == 0xA5 && memory[GUARD + needed + i] == 0xA5;
    CHECK(clean);
    free(bytes);
    free(memory);
    return 1;
}

/* Each has a product that is a little more than 2^32. */
TEST(test_products_beyond_32_bits) {
    vae_config c;
    int        inference, kind;
    for (inference = 0; inference < 2; inference++)
        for (kind = VAE_LAYER_CONV; kind <= VAE_LAYER_CONV_TRANSPOSED; kind++) {
            memset(&c, 0, sizeof c);
            c.latent = c.threads = 1;
            c.batch = 1;
            c.inference_only = inference;
            c.input = shape(1, 1, 54161);                       /* 325 x 244 x 54161 = 2^32 + 4 */
            c.encoder[0] = conv((vae_layer_kind)kind, 1, 325, 244, 1, 1);
            CHECK(!try_config(&c, MOST_BYTES));
            c.input = shape(3, 3, 1);
            c.encoder[0] = conv((vae_layer_kind)kind, 54161, 325, 244, 1, 1);
            CHECK(!try_config(&c, MOST_BYTES));
            c.input = shape(136, 15790321, 2);                  /* 2^32 + 16 numbers */
            c.layout = VAE_CHANNELS_FIRST;
            c.encoder[0] = VAE_DENSE(1, VAE_LINEAR);
            CHECK(!try_config(&c, MOST_BYTES));
            c.layout = VAE_CHANNELS_LAST;
            c.input = shape(1, 1, 4105);                        /* 1023 x 1023 x 4105 weights */
            c.encoder[0] = conv((vae_layer_kind)kind, 1, 1023, 1023, 1, 1);
            c.decoder[0] = VAE_DENSE_SHAPED(1, 1, 4105, VAE_LINEAR);
            CHECK(!try_config(&c, MOST_BYTES));
            memset(c.decoder, 0, sizeof c.decoder);
            c.input = shape(65535, 65535, 1);                   /* 2^32 - 2^17 + 1 */
            c.encoder[0] = conv((vae_layer_kind)kind, 1, 3, 3, 1, 1);
            CHECK(!try_config(&c, MOST_BYTES));
            c.input = shape(4, 4, 2);
            c.encoder[0] = VAE_DENSE_SHAPED(65535, 32767, 1, VAE_LINEAR);
            CHECK(!try_config(&c, MOST_BYTES));
            c.encoder[0] = VAE_CONV_SYMMETRIC(1, 1, 1, 65535, VAE_LINEAR);
            CHECK(!try_config(&c, MOST_BYTES));
            c.encoder[0] = VAE_CONV_SYMMETRIC(1, 1, 1, 32766, VAE_LINEAR);      /* sides of 65536 */
            CHECK(!try_config(&c, MOST_BYTES));
            c.encoder[0] = VAE_DENSE(65536, VAE_LINEAR);
            c.encoder[1] = VAE_DENSE(65536, VAE_LINEAR);
            CHECK(!try_config(&c, MOST_BYTES));
            c.encoder[1].kind = VAE_LAYER_END;
            c.encoder[0] = VAE_DENSE(4, VAE_LINEAR);
            c.batch = 0x1000000;                                /* 2^24 rows, 64 numbers each of them at least */
            CHECK(inference == try_config(&c, MOST_BYTES));     /* inference takes fewer at once */
            c.encoder[0] = VAE_CONV(4, 3, 1, VAE_LINEAR);
            CHECK(inference == try_config(&c, MOST_BYTES));
        }
}

/* Of about the size 2^bits; now and then exactly a power of two, or one more or less. */
static int about(test_random *random, int bits) {
    const int power = test_integer(random, 0, bits);
    if (test_integer(random, 0, 2)) return test_integer(random, 1, 1 << power);
    return power ? (1 << power) + test_integer(random, -1, 1) : 1;
}

static vae_layer any_layer(test_random *random, int bits) {
    vae_layer l;
    if (!test_integer(random, 0, 2))
        return test_integer(random, 0, 1) ? VAE_DENSE(about(random, bits), VAE_SILU)
             : VAE_DENSE_SHAPED(about(random, bits / 2), about(random, bits / 2), about(random, bits / 2), VAE_TANH);
    l = conv(test_integer(random, 0, 2) ? VAE_LAYER_CONV : VAE_LAYER_CONV_TRANSPOSED, about(random, bits / 2),
             about(random, 10) % 1024, about(random, 10) % 1024, 1 + about(random, 9) % 1023,
             1 + about(random, 9) % 1023);
    l.activation = (vae_activation)test_integer(random, VAE_LINEAR, VAE_SOFTPLUS);
    if (test_integer(random, 0, 1)) {
        l.padding = VAE_EXPLICIT;
        l.top = about(random, 16) % 65536;
        l.bottom = about(random, test_integer(random, 0, 1) ? 16 : 3) % 65536;
        l.left = about(random, test_integer(random, 0, 1) ? 16 : 3) % 65536;
        l.right = about(random, 3);
        if (l.kind == VAE_LAYER_CONV_TRANSPOSED) l.output_padding_width = test_integer(random, 0, l.stride_width - 1);
    }
    return l;
}

TEST(test_any_sizes) {
    enum { SMALL_BYTES = 1 << 20 };
    const int   configs = test_cases(40000);
    test_random random = { 11 };
    int         n, i, made = 0;
    for (n = 0; n < configs; n++) {
        const int  bits = test_integer(&random, 2, 26), layers = test_integer(&random, 1, 4);
        vae_config c;
        memset(&c, 0, sizeof c);
        c.input = shape(about(&random, bits), about(&random, bits), about(&random, bits));
        if (test_integer(&random, 0, 1)) c.input.height = 1;
        if (test_integer(&random, 0, 1)) c.input.width = test_integer(&random, 1, 8);
        c.latent = about(&random, bits < 20 ? bits : 20);
        c.threads = 1;
        c.batch = (size_t)about(&random, test_integer(&random, 0, 24)) & 0xFFFFFF;
        c.inference_only = test_integer(&random, 0, 1);
        for (i = 0; i < layers; i++) c.encoder[i] = any_layer(&random, bits);
        if (!test_integer(&random, 0, 3)) {
            c.decoder[0] = any_layer(&random, bits);
            c.decoder[1] = VAE_DENSE_SHAPED(0, 0, 0, VAE_LINEAR);
            c.decoder[1].shape = c.input;
        }
        made += try_config(&c, SMALL_BYTES);
    }
    printf("  %d of %d sizes made a model\n", made, configs);
    CHECK(made > configs / 50 && made < configs / 2);       /* both kinds were met */
}

/* The number of cores is asked once for a model: what it is made of fits what was counted. */
TEST(test_cores_are_asked_once) {
    vae_config  c;
    vaei_source source;
    vae_model  *model;
    size_t      first, second;
    void       *memory;
    memset(&c, 0, sizeof c);
    c.input = shape(8, 8, 1);
    c.latent = 2;
    c.encoder[0] = VAE_CONV(4, 3, 2, VAE_RELU);
    CHECK(vaei_source_of(&c, &source, NULL) == VAE_OK && source.threads == 0);
    CHECK(vaei_measure(&source, &first, NULL) == VAE_OK && source.threads == vaei_core_count());
    source.threads = 37;                        /* what the system said this time */
    CHECK(vaei_measure(&source, &second, NULL) == VAE_OK && source.threads == 37 && second > first);
    memory = malloc(second);
    model = vaei_make(&source, memory, second);
    CHECK(model->plan.threads == 37);
    vae_destroy(model);
    free(memory);
}

int main(void) {
    RUN(test_products_beyond_32_bits);
    RUN(test_any_sizes);
    RUN(test_cores_are_asked_once);
    return test_finish();
}
