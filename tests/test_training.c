/* Training: that it learns, and that every way of cutting it up (steps, calls, stops, checkpoints) gives the same
   bits. */
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "config_of.h"

#include <math.h>
#include <stdlib.h>
#include "test.h"
#include "model.h"

/* ---- small networks of every kind ---- */

enum { DENSE, CONVOLUTIONAL, SERIES, GAUSSIAN, CHANNELS_FIRST, MIXED, NETS };
enum { MOST = 200, LARGEST = 130 };         /* rows, numbers in a row */

static vae_config net(int which) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.seed = 17;
    c.batch = 16;
    c.latent = 3;
    c.optimizer.learning_rate = (vae_real)5e-3;
    switch (which) {
    case DENSE:
        c.input.height = 1; c.input.width = 30; c.input.channels = 1;
        c.encoder[0] = VAE_DENSE(20, VAE_TANH);
        c.encoder[1] = VAE_DENSE(11, VAE_GELU);
        break;
    case CONVOLUTIONAL:
        c.input.height = 9; c.input.width = 8; c.input.channels = 1;
        c.encoder[0] = VAE_CONV(6, 3, 2, VAE_RELU);
        c.encoder[1] = VAE_CONV(8, 3, 2, VAE_SILU);
        break;
    case SERIES:
        c.input.height = 1; c.input.width = 40; c.input.channels = 2;
        c.encoder[0] = VAE_CONV_1D(6, 5, 2, VAE_LEAKY_RELU);
        c.encoder[1] = VAE_CONV_1D(7, 3, 3, VAE_RELU);
        break;
    case GAUSSIAN:
        c.input.height = 5; c.input.width = 5; c.input.channels = 1;
        c.encoder[0] = VAE_DENSE(24, VAE_SOFTPLUS);
        c.likelihood = VAE_GAUSSIAN;
        c.sigma = (vae_real)0.2;
        c.initialization = VAE_INIT_GLOROT;
        break;
    case CHANNELS_FIRST:
        c.input.height = 6; c.input.width = 7; c.input.channels = 3;
        c.layout = VAE_CHANNELS_FIRST;
        c.encoder[0] = VAE_CONV_SYMMETRIC(8, 3, 2, 1, VAE_RELU);
        c.initialization = VAE_INIT_HE;
        break;
    default:
        c.input.height = 8; c.input.width = 8; c.input.channels = 2;
        c.encoder[0] = VAE_CONV(6, 5, 2, VAE_GELU);
        c.encoder[1] = VAE_DENSE_SHAPED(3, 3, 4, VAE_TANH);
        c.encoder[2] = VAE_CONV_TRANSPOSED(5, 2, 2, VAE_SIGMOID);
        c.decoder[0] = VAE_DENSE_SHAPED(4, 4, 6, VAE_SILU);
        c.decoder[1] = VAE_CONV_TRANSPOSED(4, 3, 2, VAE_RELU);
        c.decoder[2] = VAE_DENSE(128, VAE_LINEAR);
    }
    return c;
}

static unsigned char toy_bytes[MOST * LARGEST];

/* Waves, of one of five kinds with a little variation: something to learn. */
static vae_data toy(const vae_config *c, size_t count) {
    const size_t size = (size_t)c->input.height * (size_t)c->input.width * (size_t)c->input.channels;
    vae_data     data;
    size_t       r, i;
    memset(&data, 0, sizeof data);
    for (r = 0; r < count; r++)
        for (i = 0; i < size; i++)
            toy_bytes[r * size + i] =
                (unsigned char)(127.5 + 120 * sin(0.7 * (double)(r % 5) * (double)i / 3 + (double)(r % 5) +
                                                  0.05 * (double)(r % 11)));
    data.bytes = toy_bytes;
    data.count = count;
    return data;
}

static vae_real *copy_weights(vae_model *model) {
    const size_t bytes = vae_parameter_count(model) * sizeof(vae_real);
    vae_real    *copy = (vae_real *)malloc(bytes);
    memcpy(copy, vae_parameters(model), bytes);
    return copy;
}

/* By value: a step of 0 may turn -0 into 0. */
static int weights_are(vae_model *model, const vae_real *copy) {
    size_t i;
    for (i = 0; i < vae_parameter_count(model); i++)
        if (!(vae_parameters(model)[i] == copy[i])) return 0;
    return 1;
}

/* The next update is the same too: moments, step, epoch and place agree, not only the weights. */
static int same_future(vae_model *a, vae_model *b, const vae_data *data) {
    vae_fit_config fit = { .epochs = 2 };
    return vae_fit(a, data, &fit, NULL) == VAE_OK && vae_fit(b, data, &fit, NULL) == VAE_OK && same_weights(a, b);
}

static void fit(vae_model *model, const vae_data *data, size_t epochs) {
    vae_fit_config config = { 0 };
    config.epochs = epochs;
    CHECK(vae_fit(model, data, &config, NULL) == VAE_OK);
}

/* ---- a callback that writes down and stops ---- */

typedef struct record {
    size_t       stop_after, batches, epochs, stopped;      /* stops after so many batch events, 0: never */
    size_t       stop_epoch;                       /* stops at this epoch event */
    vae_progress last, log[400];
    size_t       length;
    vae_model   *model;
    int        (*also)(struct record *, const vae_progress *);
} record;

static int watch(void *user, const vae_progress *p) {
    record *r = (record *)user;
    if (r->length < 400) r->log[r->length++] = *p;
    r->last = *p;
    if (r->also) r->also(r, p);
    if (p->event == VAE_EVENT_BATCH) return ++r->batches == r->stop_after;
    if (p->event == VAE_EVENT_STOPPED) { r->stopped++; return 0; }
    return ++r->epochs == r->stop_epoch;
}

/* ---- it learns ---- */

static void test_loss_falls(void) {
    /* nats per number that must be gained */
    static const double floors[NETS] = { 0.08, 0.08, 0.08, 3, 0.08, 0.08 };
    int which;
    for (which = 0; which < NETS; which++) {
        vae_config     c = net(which);
        vae_data       data = toy(&c, MOST);
        vae_model     *model = make(&c);
        record         r;
        vae_fit_config config = { .epochs = 25, .on_progress = watch };
        vae_terms      before, after;
        double         numbers = (double)vae_example_size(model);
        memset(&r, 0, sizeof r);
        config.user = &r;
        CHECK(vae_elbo(model, &data, &before, NULL, NULL) == VAE_OK);
        CHECK(vae_fit(model, &data, &config, NULL) == VAE_OK);
        CHECK(vae_elbo(model, &data, &after, NULL, NULL) == VAE_OK);
        if (!(after.loss < before.loss - floors[which] * numbers))
            printf("net %d: loss %.3f -> %.3f with %.0f numbers\n", which, before.loss, after.loss, numbers);
        CHECK(after.loss < before.loss - floors[which] * numbers);
        CHECK(after.kl > 0.3);                      /* z is used */
        CHECK_NEAR(r.last.train.loss, after.loss, 0.05 * fabs(before.loss - after.loss) + 0.5);
        vae_destroy(model);
    }
}

static void test_same_seed_same_bits(void) {
    int which;
    for (which = 0; which < NETS; which++) {
        vae_config c = net(which);
        vae_data   data = toy(&c, 90);
        vae_model *a = make(&c), *b = make(&c), *other;
        CHECK(same_weights(a, b));
        fit(a, &data, 3);
        fit(b, &data, 3);
        CHECK(same_weights(a, b));
        c.seed++;
        other = make(&c);
        CHECK(!same_weights(other, a));
        CHECK(vae_parameter_count(other) == vae_parameter_count(a));
        memcpy(vae_parameters(other), vae_parameters(a), vae_parameter_count(a) * sizeof(vae_real));
        fit(a, &data, 1);
        fit(other, &data, 1);
        CHECK(!same_weights(other, a));             /* noise and order differ too */
        vae_destroy(a);
        vae_destroy(b);
        vae_destroy(other);
    }
}

/* ---- cut into calls ---- */

static void test_two_fits_are_one(void) {
    int which;
    for (which = 0; which < NETS; which++) {
        vae_config c = net(which);
        vae_data   data = toy(&c, 75);
        vae_model *once = make(&c), *twice = make(&c);
        fit(once, &data, 4);
        fit(twice, &data, 2);
        fit(twice, &data, 1);
        fit(twice, &data, 1);
        CHECK(same_weights(once, twice) && same_future(once, twice, &data));
        vae_destroy(once);
        vae_destroy(twice);
    }
}

static void test_stop_and_go_on(void) {
    enum { EPOCHS = 3, ROWS = 75, BATCHES = 5 };
    int which;
    for (which = 0; which < NETS; which++) {
        vae_config c = net(which);
        vae_data   data = toy(&c, ROWS);
        vae_model *whole = make(&c);
        size_t     stop;
        fit(whole, &data, EPOCHS);
        for (stop = 1; stop < EPOCHS * BATCHES; stop += which ? 3 : 1) {
            vae_model     *stopped = make(&c);
            record         r;
            vae_fit_config config = { .epochs = EPOCHS, .on_progress = watch };
            vae_error      error;
            memset(&r, 0, sizeof r);
            r.stop_after = stop;
            config.user = &r;
            CHECK(vae_fit(stopped, &data, &config, &error) == VAE_STOPPED);
            CHECK(error.status == VAE_STOPPED && strstr(error.message, "stopped"));
            CHECK(r.batches == stop && r.last.step == stop && r.stopped == 1);
            /* an epoch whose last batch stopped it is complete, and was reported */
            CHECK(r.epochs == stop / BATCHES);
            /* What is left: the rest of the epoch under way counts as one. */
            fit(stopped, &data, EPOCHS - stop / BATCHES);
            CHECK(same_weights(whole, stopped));
            vae_destroy(stopped);
        }
        {   /* stopped at the end of an epoch */
            vae_model     *stopped = make(&c);
            record         r;
            vae_fit_config config = { .epochs = EPOCHS, .on_progress = watch };
            memset(&r, 0, sizeof r);
            r.stop_epoch = 2;
            config.user = &r;
            CHECK(vae_fit(stopped, &data, &config, NULL) == VAE_STOPPED);
            CHECK(r.epochs == 2 && r.batches == 2 * BATCHES);
            fit(stopped, &data, 1);
            CHECK(same_weights(whole, stopped) && same_future(whole, stopped, &data));
            vae_destroy(stopped);
        }
        vae_destroy(whole);
    }
}

/* A model that stands inside an epoch refuses data that are too short to be the same. */
static void test_going_on_with_other_data(void) {
    vae_config     c = net(DENSE);
    vae_data       data = toy(&c, 75), few = data;
    vae_model     *model = make(&c);
    record         r;
    vae_fit_config config = { .epochs = 1, .on_progress = watch };
    vae_error      error;
    vae_real      *before;
    memset(&r, 0, sizeof r);
    r.stop_after = 2;
    config.user = &r;
    CHECK(vae_fit(model, &data, &config, NULL) == VAE_STOPPED);
    few.count = 32;
    before = copy_weights(model);
    CHECK(vae_fit(model, &few, NULL, &error) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error.message, "stopped after 32 rows of an epoch of 75, the data have 32");
    CHECK(weights_are(model, before));
    free(before);
    fit(model, &data, 1);
    vae_destroy(model);
}

/* vae_fit is vae_train_step on the rows in their order, the last batch as long as there are rows. */
static void check_order(int which, int keep_order, size_t rows, size_t batch) {
    vae_config     c = net(which);
    vae_data       data = toy(&c, rows);
    vae_model     *fitted = make(&c), *stepped = make(&c);
    const size_t   size = vae_example_size(fitted);
    unsigned char *gathered = (unsigned char *)malloc(batch * size);
    vae_fit_config config = { .epochs = 2, .keep_order = keep_order };
    size_t         epoch, first, i;
    config.batch = batch;
    CHECK(vae_fit(fitted, &data, &config, NULL) == VAE_OK);
    for (epoch = 0; epoch < 2; epoch++) {
        const vaei_shuffle shuffle = vaei_shuffle_of(c.seed, epoch, rows);
        for (first = 0; first < rows; first += batch) {
            vae_data  part = { .bytes = gathered, .count = rows - first < batch ? rows - first : batch };
            for (i = 0; i < part.count; i++)
                memcpy(gathered + i * size,
                       data.bytes + (keep_order ? first + i : (size_t)vaei_shuffled(&shuffle, first + i)) * size, size);
            CHECK(vae_train_step(stepped, &part, NULL, NULL) == VAE_OK);
        }
    }
    CHECK(same_weights(fitted, stepped));
    free(gathered);
    vae_destroy(fitted);
    vae_destroy(stepped);
}

static void test_fit_is_a_loop_of_steps(void) {
    int which;
    for (which = 0; which < NETS; which++) {
        check_order(which, 1, 48, 16);
        check_order(which, 0, 48, 16);
        check_order(which, 1, 37, 16);          /* a last batch of 5 */
        check_order(which, 0, 37, 16);
        check_order(which, 0, 7, 1);
        check_order(which, 0, 3, 16);           /* less than one batch */
        check_order(which, 0, 1, 16);
        check_order(which, 0, 33, 7);           /* smaller than the config's */
    }
}

static void test_batch_of_one(void) {
    int which;
    for (which = 0; which < NETS; which++) {
        vae_config c = net(which);
        vae_data   data = toy(&c, 6);
        vae_model *one, *larger = make(&c);
        vae_terms  a, b;
        size_t     i;
        double     worst = 0;
        c.batch = 1;
        one = make(&c);
        data.count = 1;
        for (i = 0; i < 4; i++) {
            CHECK(vae_train_step(one, &data, &a, NULL) == VAE_OK && vae_train_step(larger, &data, &b, NULL) == VAE_OK);
            CHECK_NEAR(a.loss, b.loss, 1e-3 * fabs(b.loss));
        }
        for (i = 0; i < vae_parameter_count(one); i++)
            worst = fmax(worst, fabs((double)(vae_parameters(one)[i] - vae_parameters(larger)[i])));
        /* Adam may turn rounding into a whole step where a gradient is about 0 */
        CHECK_NEAR(worst, 0, 0.045);
        data.count = 6;
        fit(one, &data, 2);
        CHECK(vae_elbo(one, &data, &a, NULL, NULL) == VAE_OK && isfinite(a.loss));
        vae_destroy(one);
        vae_destroy(larger);
    }
}

/* ---- an update in one go, which never writes the whole gradient ---- */

/* One step by vae_train_step and one by hand: status, sentence and weights agree. Gives the status. */
static vae_status same_step(vae_model *whole, vae_model *by_hand, const vae_data *data) {
    vae_error  error, other;
    vae_status status = vae_train_step(whole, data, NULL, &error), expected;
    expected = vae_accumulate_gradients(by_hand, data, NULL, NULL, &other);
    if (expected == VAE_OK) expected = vae_apply_gradients(by_hand, &other);
    CHECK(status == expected);
    if (status != VAE_OK && expected != VAE_OK) CHECK_TEXT(error.message, other.message);
    CHECK(same_weights(whole, by_hand));
    return status;
}

static void test_step_is_accumulate_and_apply(void) {
    static const size_t batches[] = { 1, 2, 7, 64, 130, 450, 720 };     /* the last two: several blocks of steps, too
                                                                           many to be packed */
    static unsigned char bytes[720 * 700];
    size_t i, b;
    int    which, step;
    for (which = 0; which < NETS; which++) {
        vae_config c = net(which);
        vae_data   data = toy(&c, 16);
        vae_model *whole = make(&c), *by_hand = make(&c);
        for (step = 0; step < 3; step++) CHECK(same_step(whole, by_hand, &data) == VAE_OK);
        vae_destroy(whole);
        vae_destroy(by_hand);
    }
    for (i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * i % 241);
    for (b = 0; b < sizeof batches / sizeof *batches; b++) {        /* weights that take several turns */
        vae_config c = { 0 };
        vae_data   data = { .bytes = bytes };
        vae_model *whole, *by_hand;
        c.input.height = 1; c.input.width = 700; c.input.channels = 1;
        c.encoder[0] = VAE_DENSE(210, VAE_RELU);
        c.latent = 5;
        c.seed = 3;
        c.batch = batches[b];
        data.count = batches[b];
        whole = make(&c);
        by_hand = make(&c);
        for (step = 0; step < 2; step++) CHECK(same_step(whole, by_hand, &data) == VAE_OK);
        vae_destroy(whole);
        vae_destroy(by_hand);
    }
}

static void test_step_adds_to_what_was_accumulated(void) {
    vae_config c = net(DENSE);
    vae_data   data = toy(&c, 16), more = data;
    vae_model *whole = make(&c), *by_hand = make(&c);
    vae_real  *alone;
    more.count = 5;
    CHECK(vae_accumulate_gradients(whole, &more, NULL, NULL, NULL) == VAE_OK);
    CHECK(vae_accumulate_gradients(by_hand, &more, NULL, NULL, NULL) == VAE_OK);
    CHECK(same_step(whole, by_hand, &data) == VAE_OK);
    alone = copy_weights(whole);
    vae_gradients(whole)[0] = (vae_real)0.5;    /* whoever writes into the block is heard, too */
    vae_gradients(by_hand)[0] = (vae_real)0.5;
    CHECK(same_step(whole, by_hand, &data) == VAE_OK);
    CHECK(!weights_are(whole, alone));
    for (c.seed = 0; c.seed < vae_parameter_count(whole); c.seed++) CHECK(vae_gradients(whole)[c.seed] == 0);
    free(alone);
    vae_destroy(whole);
    vae_destroy(by_hand);
}

static void scale_tensor(vae_model *model, const char *name, double factor) {
    static vae_real values[4096];
    vae_tensor      tensor;
    size_t          i, k;
    for (i = 0; i < vae_tensor_count(model); i++) {
        if (vae_tensor_at(model, i, &tensor, NULL) != VAE_OK || strcmp(tensor.name, name)) continue;
        CHECK(vae_get_tensor(model, name, values, tensor.count, NULL) == VAE_OK);
        for (k = 0; k < tensor.count; k++) values[k] *= (vae_real)factor;
        CHECK(vae_set_tensor(model, name, values, tensor.count, NULL) == VAE_OK);
        return;
    }
    CHECK(!"the tensor exists");
}

/* Gradients too large to be called finite from their factors, but finite; and infinite ones with a finite loss. */
static void test_step_with_large_gradients(void) {
    static const struct { double hidden, bias, last; vae_status status; } cases[] = {
        { 1, 0, 1e3, VAE_OK }, { 1, 0, 1e5, VAE_OK }, { 1, 0, 1e15, VAE_ERROR_NUMERIC },
        { 1, 1e5, 1e3, VAE_OK }, { 1, 1e24, 1e-7, VAE_ERROR_NUMERIC }       /* of the last layer's weights alone */
    };
    static const vae_real narrow[3] = { -24, -24, -24 };
    vae_real bias[24];
    size_t i, k;
    int    m;
    for (i = 0; i < sizeof cases / sizeof *cases; i++) {
        vae_config c = net(GAUSSIAN);
        vae_data   data = toy(&c, 16);
        vae_model *whole, *by_hand;
        vae_real  *before;
        c.encoder[0] = VAE_DENSE(24, VAE_LINEAR);
        whole = make(&c);
        by_hand = make(&c);
        for (m = 0; m < 2; m++) {                   /* a small z, so that its gradient is larger than the loss */
            vae_model *model = m ? by_hand : whole;
            scale_tensor(model, "mean.weight", 1e-5);
            scale_tensor(model, "logvar.weight", 1e-5);
            CHECK(vae_set_tensor(model, "logvar.bias", narrow, 3, NULL) == VAE_OK);
            scale_tensor(model, "decoder.0.weight", cases[i].hidden);
            for (k = 0; k < 24; k++) bias[k] = (vae_real)cases[i].bias;
            CHECK(vae_set_tensor(model, "decoder.0.bias", bias, 24, NULL) == VAE_OK);
            scale_tensor(model, "decoder.1.weight", cases[i].last);
        }
        before = copy_weights(whole);
        CHECK(same_step(whole, by_hand, &data) == cases[i].status);
        CHECK(weights_are(whole, before) == (cases[i].status != VAE_OK));
        free(before);
        vae_destroy(whole);
        vae_destroy(by_hand);
    }
}

/* ---- bytes and floats ---- */

static void test_bytes_are_floats_divided_by_255(void) {
    int which;
    for (which = 0; which < NETS; which++) {
        vae_config c = net(which);
        vae_data   bytes = toy(&c, 60), floats = { 0 };
        vae_model *a = make(&c), *b = make(&c);
        const size_t numbers = 60 * vae_example_size(a);
        vae_real  *pixels = (vae_real *)malloc(numbers * sizeof(vae_real));
        vae_terms  terms_a, terms_b;
        const volatile vae_real whole = 255;            /* a quotient, under -Ofast too */
        size_t     i;
        for (i = 0; i < numbers; i++) toy_bytes[i] = (unsigned char)(i * 7 % 256);     /* every byte */
        for (i = 0; i < numbers; i++) pixels[i] = (vae_real)toy_bytes[i] / whole;
        floats.pixels = pixels;
        floats.count = 60;
        CHECK(vae_elbo(a, &bytes, &terms_a, NULL, NULL) == VAE_OK &&
              vae_elbo(b, &floats, &terms_b, NULL, NULL) == VAE_OK);
        CHECK(!memcmp(&terms_a, &terms_b, sizeof terms_a));
        fit(a, &bytes, 2);
        fit(b, &floats, 2);
        CHECK(same_weights(a, b));
        free(pixels);
        vae_destroy(a);
        vae_destroy(b);
    }
}

/* The same images in the other layout, into the same model. */
static void test_channels_first_is_only_a_layout(void) {
    vae_config     first = net(CHANNELS_FIRST), last = first;
    vae_data       data = toy(&first, 50), other = data;
    unsigned char *bytes = (unsigned char *)malloc(50 * 126);
    vae_real       a_pixels[50 * 126], b_pixels[50 * 126];
    vae_model     *a, *b;
    size_t         r, p, ch;
    int            same = 1;
    last.layout = VAE_CHANNELS_LAST;
    for (r = 0; r < 50; r++)
        for (p = 0; p < 42; p++)
            for (ch = 0; ch < 3; ch++) bytes[r * 126 + p * 3 + ch] = data.bytes[r * 126 + ch * 42 + p];
    other.bytes = bytes;
    a = make(&first);
    b = make(&last);
    fit(a, &data, 2);
    fit(b, &other, 2);
    CHECK(same_weights(a, b));
    CHECK(vae_reconstruct(a, &data, a_pixels, NULL) == VAE_OK && vae_reconstruct(b, &other, b_pixels, NULL) == VAE_OK);
    for (r = 0; r < 50; r++)
        for (p = 0; p < 42; p++)
            for (ch = 0; ch < 3; ch++) same = same && a_pixels[r * 126 + ch * 42 + p] == b_pixels[r * 126 + p * 3 + ch];
    CHECK(same);
    CHECK(vae_sample(a, 50, a_pixels, NULL) == VAE_OK && vae_sample(b, 50, b_pixels, NULL) == VAE_OK);
    for (r = 0; r < 50; r++)
        for (p = 0; p < 42; p++)
            for (ch = 0; ch < 3; ch++) same = same && a_pixels[r * 126 + ch * 42 + p] == b_pixels[r * 126 + p * 3 + ch];
    CHECK(same);
    free(bytes);
    vae_destroy(a);
    vae_destroy(b);
}

/* ---- what is reported ---- */

static void test_progress(void) {
    enum { EPOCHS = 3, ROWS = 70, BATCHES = 5 };
    vae_config     c = net(CONVOLUTIONAL);
    vae_data       data = toy(&c, ROWS), validation = data;
    vae_model     *model = make(&c), *steps = make(&c);
    record         r;
    vae_fit_config config = { .epochs = EPOCHS, .on_progress = watch, .keep_order = 1 };
    vae_terms      mean;
    size_t         e, b, i = 0, redraws = 0;
    double         seconds = 0;
    memset(&r, 0, sizeof r);
    validation.count = 33;
    config.validation = &validation;
    config.user = &r;
    CHECK(vae_set_beta(model, (vae_real)0.5, NULL) == VAE_OK && vae_set_beta(steps, (vae_real)0.5, NULL) == VAE_OK);
    CHECK(vae_fit(model, &data, &config, NULL) == VAE_OK);
    CHECK(r.length == EPOCHS * (BATCHES + 1));
    for (e = 1; e <= EPOCHS && r.length == EPOCHS * (BATCHES + 1); e++) {
        double reconstruction = 0, kl = 0, loss = 0, rows = 0;
        for (b = 1; b <= BATCHES + 1; b++, i++) {
            const vae_progress *p = &r.log[i];
            CHECK(p->event == (b <= BATCHES ? VAE_EVENT_BATCH : VAE_EVENT_EPOCH));
            CHECK(p->epoch == e && p->epochs == EPOCHS && p->batches == BATCHES);
            CHECK(p->batch == (b <= BATCHES ? b : BATCHES));
            CHECK(p->step == (e - 1) * BATCHES + p->batch);
            CHECK(p->seconds >= seconds && p->seconds < 100 && p->seconds_left >= 0 && p->seconds_left < 1000);
            CHECK(p->examples_per_second >= 0 && isfinite(p->examples_per_second));
            seconds = p->seconds;
            redraws += p->event == VAE_EVENT_BATCH && p->redraw;
            if (b <= BATCHES) {
                const size_t   first = (b - 1) * 16;
                const vae_data part = { .bytes = data.bytes + first * vae_example_size(model),
                                        .count = ROWS - first < 16 ? ROWS - first : 16 };
                vae_terms      terms;
                CHECK(vae_train_step(steps, &part, &terms, NULL) == VAE_OK);
                CHECK(!memcmp(&terms, &p->last, sizeof terms));
                CHECK(terms.loss == terms.reconstruction + 0.5 * terms.kl &&
                      terms.elbo == -(terms.reconstruction + terms.kl));
                reconstruction += terms.reconstruction * (double)part.count;
                kl += terms.kl * (double)part.count;
                loss += terms.loss * (double)part.count;
                rows += (double)part.count;
                CHECK(!p->has_validation && p->validation.loss == 0 && p->validation.reconstruction == 0);
            } else {
                CHECK(vae_elbo(steps, &validation, &mean, NULL, NULL) == VAE_OK);
                CHECK(p->has_validation && !memcmp(&mean, &p->validation, sizeof mean));
            }
            CHECK_NEAR(p->train.reconstruction, reconstruction / rows, 1e-9 * reconstruction);
            CHECK_NEAR(p->train.kl, kl / rows, 1e-9 * kl);
            CHECK_NEAR(p->train.loss, loss / rows, 1e-9 * loss);
            CHECK_NEAR(p->train.elbo, -(reconstruction + kl) / rows, 1e-9 * reconstruction);
        }
    }
    CHECK(r.last.seconds_left == 0);
    CHECK((double)redraws <= 10 * r.last.seconds + EPOCHS + 1);
    vae_destroy(model);
    vae_destroy(steps);
}

static void test_fit_by_default(void) {
    vae_config     c = net(DENSE);
    vae_data       data = toy(&c, 40);
    vae_model     *model = make(&c);
    record         r;
    vae_fit_config config = { .epochs = 1, .on_progress = watch };
    memset(&r, 0, sizeof r);
    config.user = &r;
    CHECK(vae_fit(model, &data, NULL, NULL) == VAE_OK);       /* ten epochs of three batches */
    CHECK(vae_fit(model, &data, &config, NULL) == VAE_OK);
    CHECK(r.log[0].step == 31);
    config.epochs = (size_t)-1;                                /* until it is stopped */
    memset(&r, 0, sizeof r);
    r.stop_after = 20;
    CHECK(vae_fit(model, &data, &config, NULL) == VAE_STOPPED);
    CHECK(r.last.seconds_left >= 0 && r.last.epochs == (size_t)-1);
    vae_destroy(model);
}

/* Inference inside the callback leaves training as it is; schedules set there count from the next step. */
static int look_around(record *r, const vae_progress *p) {
    vae_config     c = config_of(r->model);
    vae_data       data = { .bytes = toy_bytes, .count = 9 };
    vae_real       pixels[9 * LARGEST];
    vae_wide       log_p;
    (void)p;
    (void)c;
    CHECK(vae_elbo(r->model, &data, NULL, NULL, NULL) == VAE_OK && vae_sample(r->model, 9, pixels, NULL) == VAE_OK);
    CHECK(vae_log_likelihood(r->model, &data, 3, &log_p, NULL, NULL) == VAE_OK);
    CHECK(vae_reconstruct(r->model, &data, pixels, NULL) == VAE_OK);
    return 0;
}

static int freeze_after_three(record *r, const vae_progress *p) {
    CHECK(vae_set_learning_rate(r->model, (vae_real)(p->step >= 3 ? 0 : 5e-3), NULL) == VAE_OK);
    CHECK(vae_set_beta(r->model, (vae_real)(p->step >= 3 ? 0 : 1), NULL) == VAE_OK);
    return 0;
}

static void test_callbacks_may_use_the_model(void) {
    int which;
    for (which = 0; which < NETS; which++) {
        vae_config     c = net(which);
        vae_data       data = toy(&c, 60);
        vae_model     *quiet = make(&c), *curious = make(&c), *frozen = make(&c), *three = make(&c);
        record         r;
        vae_fit_config config = { .epochs = 2, .on_progress = watch };
        memset(&r, 0, sizeof r);
        config.user = &r;
        fit(quiet, &data, 2);
        r.model = curious;
        r.also = look_around;
        CHECK(vae_fit(curious, &data, &config, NULL) == VAE_OK);
        CHECK(same_weights(quiet, curious));
        memset(&r, 0, sizeof r);
        r.model = frozen;
        r.also = freeze_after_three;
        CHECK(vae_fit(frozen, &data, &config, NULL) == VAE_OK);
        CHECK(r.last.step == 8 && r.last.last.loss == r.last.last.reconstruction);
        memset(&r, 0, sizeof r);
        r.stop_after = 3;
        CHECK(vae_fit(three, &data, &config, NULL) == VAE_STOPPED);
        CHECK(same_weights(frozen, three));
        vae_destroy(quiet);
        vae_destroy(curious);
        vae_destroy(frozen);
        vae_destroy(three);
    }
}

/* ---- the output's bias ---- */

static double logit(double p) { return log(p / (1 - p)); }

static void test_output_bias_from_data(void) {
    int which;
    for (which = 0; which < 3; which++) {
        static const int nets[] = { DENSE, CHANNELS_FIRST, GAUSSIAN };
        vae_config     c = net(nets[which]);
        vae_data       data = toy(&c, 64);
        vae_model     *model;
        const size_t   size = (size_t)c.input.height * (size_t)c.input.width * (size_t)c.input.channels;
        const size_t   biases = which == 1 ? 3 : size;
        vae_fit_config config = { .epochs = 1, .output_bias_from_data = 1 };
        vae_tensor     t;
        vae_real       bias[LARGEST], *before;
        size_t         i, row, changed = 0;
        for (row = 0; row < 64 && which != 1; row++) toy_bytes[row * size] = 0, toy_bytes[row * size + 1] = 255;
        c.optimizer.learning_rate = VAE_ZERO;
        model = make(&c);
        before = copy_weights(model);
        CHECK(vae_fit(model, &data, &config, NULL) == VAE_OK);
        CHECK(vae_tensor_at(model, vae_tensor_count(model) - 1, &t, NULL) == VAE_OK && t.count == biases);
        CHECK(vae_get_tensor(model, t.name, bias, biases, NULL) == VAE_OK);
        for (i = 0; i < biases; i++) {
            double mean = 0;
            size_t k;
            for (row = 0; row < 64; row++)
                for (k = 0; k < size; k++)
                    if ((which == 1 ? k / 42 : k) == i)
                        mean += toy_bytes[row * size + k] / 255.0 / 64 / (which == 1 ? 42 : 1);
            if (which < 2) mean = logit(mean < 0.001 ? 0.001 : mean > 0.999 ? 0.999 : mean);
            CHECK_NEAR(bias[i], mean, 1e-5 * (1 + fabs(mean)));
        }
        for (i = 0; i < vae_parameter_count(model); i++) changed += vae_parameters(model)[i] != before[i];
        CHECK(changed <= biases && changed + 2 >= biases);
        /* Not a second time: the model is no longer fresh. */
        memset(toy_bytes, 200, 64 * size);
        free(before);
        before = copy_weights(model);
        CHECK(vae_fit(model, &data, &config, NULL) == VAE_OK);
        CHECK(weights_are(model, before));
        free(before);
        vae_destroy(model);
    }
}

/* More pixels in a channel than a float counts: the mean holds all the same. */
static void test_output_bias_of_many_pixels(void) {
    enum { ROWS = 3000, SIDE = 64 };
    vae_config     c = { .input = { SIDE, SIDE, 1 }, .latent = 1, .encoder = { VAE_CONV(1, 3, 8, VAE_RELU) },
                         .batch = 4, .optimizer = { .learning_rate = VAE_ZERO } };
    unsigned char *bytes = (unsigned char *)malloc((size_t)ROWS * SIDE * SIDE);
    vae_data       data = { .bytes = bytes, .count = ROWS };
    vae_model     *model = make(&c);
    record         r;
    vae_fit_config config = { .epochs = 1, .output_bias_from_data = 1, .on_progress = watch };
    vae_tensor     t;
    vae_real       bias = 0;
    memset(bytes, 240, (size_t)ROWS * SIDE * SIDE);
    memset(&r, 0, sizeof r);
    r.stop_after = 1;
    config.user = &r;
    CHECK(vae_fit(model, &data, &config, NULL) == VAE_STOPPED);
    CHECK(vae_tensor_at(model, vae_tensor_count(model) - 1, &t, NULL) == VAE_OK);
    CHECK(vae_get_tensor(model, t.name, &bias, 1, NULL) == VAE_OK);
    CHECK_NEAR(bias, logit(240 / 255.0), 1e-4);
    vae_destroy(model);
    free(bytes);
}

/* ---- numbers that are not finite ---- */

static void test_infinite_loss_changes_nothing(void) {
    int which;
    for (which = 0; which < NETS; which++) {
        vae_config c = net(which);
        vae_data   data = toy(&c, 16);
        vae_model *model = make(&c), *other = make(&c);
        vae_real  *before, *good = copy_weights(model);
        vae_terms  terms, untouched;
        vae_error  error;
        size_t     i;
        memset(&terms, 0x22, sizeof terms);
        untouched = terms;
        for (i = 0; i < vae_parameter_count(model); i++) vae_parameters(model)[i] = (vae_real)(i % 2 ? 3e38 : -3e38);
        before = copy_weights(model);
        error.message[0] = 0;
        CHECK(vae_train_step(model, &data, &terms, &error) == VAE_ERROR_NUMERIC);
        CHECK_CONTAINS(error.message, "step 1: the loss is not finite");
        CHECK_CONTAINS(error.message, "weights were not changed");
        CHECK(weights_are(model, before) && !memcmp(&terms, &untouched, sizeof terms));
        CHECK(vae_fit(model, &data, NULL, &error) == VAE_ERROR_NUMERIC);
        CHECK(vae_accumulate_gradients(model, &data, NULL, NULL, &error) == VAE_ERROR_NUMERIC);
        CHECK(weights_are(model, before));
        /* With good weights it goes on as if nothing had been. */
        memcpy(vae_parameters(model), good, vae_parameter_count(model) * sizeof(vae_real));
        fit(model, &data, 2);
        fit(other, &data, 2);
        CHECK(same_weights(model, other));
        free(before);
        free(good);
        vae_destroy(model);
        vae_destroy(other);
    }
}

static void test_infinite_gradient_changes_nothing(void) {
    const double bad[] = { (double)NAN, (double)INFINITY, -(double)INFINITY };
    vae_config c = net(MIXED);
    vae_data   data = toy(&c, 16);
    vae_model *model = make(&c), *other = make(&c);
    vae_real  *before = copy_weights(model);
    const size_t places[] = { 0, vae_parameter_count(model) / 2, vae_parameter_count(model) - 1 };
    vae_error  error;
    size_t     i, p;
    for (i = 0; i < 3; i++)
        for (p = 0; p < 3; p++) {
            error.message[0] = 0;
            CHECK(vae_accumulate_gradients(model, &data, NULL, NULL, NULL) == VAE_OK);
            vae_gradients(model)[places[p]] = (vae_real)bad[i];
            CHECK(vae_apply_gradients(model, &error) == VAE_ERROR_NUMERIC);
            CHECK_CONTAINS(error.message, "step 1: a gradient is not finite");
            CHECK(weights_are(model, before));
        }
    fit(model, &data, 2);
    fit(other, &data, 2);
    CHECK(same_weights(model, other));
    free(before);
    vae_destroy(model);
    vae_destroy(other);
}

/* A first batch whose update is refused is no measure of the losses to come: the bound is that of the first update that
   is made, as without it. */
static void test_refused_update_leaves_no_bound(void) {
    enum { COUNT = 4, WIDTH = 6 };
    vae_config c;
    vae_real   pixels[4][COUNT * WIDTH];
    vae_data   data[4];             /* good, refused, far off but good for a first step, the same */
    int        way, i, k;
    memset(&c, 0, sizeof c);
    memset(data, 0, sizeof data);
    c.input.height = c.input.channels = 1;
    c.input.width = WIDTH;
    c.latent = 2;
    c.threads = 1;
    c.likelihood = VAE_GAUSSIAN;
    c.sigma = (vae_real)1e-6;
    c.encoder[0] = VAE_DENSE(5, VAE_TANH);
    for (k = 0; k < 4; k++) {
        const double size = k == 0 ? 1 : k == 1 ? 1e9 : 1e4;
        for (i = 0; i < COUNT * WIDTH; i++) pixels[k][i] = (vae_real)(size * (i * 7 % 13 - 6) / 6);
        data[k].pixels = pixels[k];
        data[k].count = COUNT;
    }
    for (way = 0; way < 5; way++) {
        vae_model *model = make(&c), *other = make(&c);
        vae_share  half = { 0, 2 * COUNT };
        vae_error  error;
        if (way == 1) {
            CHECK(vae_accumulate_gradients(model, &data[1], NULL, NULL, NULL) == VAE_OK);
            CHECK(vae_apply_gradients(model, &error) == VAE_ERROR_NUMERIC);
            CHECK_CONTAINS(error.message, "beyond 1e18");
        } else if (way == 2) {
            CHECK(vae_accumulate_gradients(model, &data[0], &half, NULL, NULL) == VAE_OK);
            half.first = COUNT;
            CHECK(vae_accumulate_gradients(model, &data[1], &half, NULL, NULL) == VAE_ERROR_NUMERIC);
        } else if (way == 3) {
            CHECK(vae_accumulate_gradients(model, &data[1], NULL, NULL, NULL) == VAE_OK);
            vae_clear_gradients(model);
        } else if (way == 4) {
            CHECK(vae_accumulate_gradients(model, &data[0], NULL, NULL, NULL) == VAE_OK);
            CHECK(vae_train_step(model, &data[1], NULL, NULL) == VAE_ERROR_NUMERIC);
        }
        if (way == 2 || way == 4) {         /* not judged by the small one ... */
            CHECK(vae_train_step(model, &data[2], NULL, NULL) == VAE_OK);
            CHECK(vae_train_step(other, &data[2], NULL, NULL) == VAE_OK);
        } else {                            /* ... nor by the large one */
            CHECK(vae_train_step(model, &data[0], NULL, NULL) == VAE_OK);
            CHECK(vae_train_step(other, &data[0], NULL, NULL) == VAE_OK);
            CHECK(vae_train_step(model, &data[3], NULL, &error) == VAE_ERROR_NUMERIC);
            CHECK_CONTAINS(error.message, "training diverges");
        }
        CHECK(same_weights(model, other));
        vae_destroy(model);
        vae_destroy(other);
    }
}

/* A learning rate far too large: an error with a sentence, sooner or later, and finite weights until the end. */
static void test_huge_learning_rate(void) {
    int which;
    for (which = 0; which < NETS; which++) {
        vae_config c = net(which);
        vae_data   data = toy(&c, 64);
        vae_model *model;
        vae_error  error;
        size_t     i;
        int        finite = 1;
        c.optimizer.learning_rate = (vae_real)1e6;
        model = make(&c);
        CHECK(vae_set_learning_rate(model, (vae_real)1e30, NULL) == VAE_ERROR_ARGUMENT);
        error.message[0] = 0;
        CHECK(vae_fit(model, &data, NULL, &error) == VAE_ERROR_NUMERIC);
        CHECK_CONTAINS(error.message, "learning rate");
        for (i = 0; i < vae_parameter_count(model); i++) finite = finite && isfinite(vae_parameters(model)[i]);
        CHECK(finite);
        vae_destroy(model);
    }
}

/* ---- settings that change ---- */

static void test_beta_and_learning_rate(void) {
    vae_config c = net(CONVOLUTIONAL);
    vae_data   data = toy(&c, 16);
    vae_model *model = make(&c), *small;
    vae_real  *before;
    vae_terms  terms, one, four;
    CHECK(vae_elbo(model, &data, &one, NULL, NULL) == VAE_OK && one.loss == one.reconstruction + one.kl);
    CHECK(vae_set_beta(model, 4, NULL) == VAE_OK);
    CHECK(vae_elbo(model, &data, &four, NULL, NULL) == VAE_OK && four.loss == four.reconstruction + 4 * four.kl &&
          four.kl == one.kl);
    CHECK(vae_set_beta(model, 0, NULL) == VAE_OK);
    CHECK(vae_set_learning_rate(model, 0, NULL) == VAE_OK);
    before = copy_weights(model);
    CHECK(vae_train_step(model, &data, &terms, NULL) == VAE_OK);
    CHECK(terms.loss == terms.reconstruction && terms.kl > 0);
    CHECK(weights_are(model, before));
    /* beta 0 by the config or later: the same; and not the same as beta 1. */
    c.beta = VAE_ZERO;
    small = make(&c);
    CHECK(vae_set_learning_rate(small, 0, NULL) == VAE_OK);
    CHECK(vae_train_step(small, &data, NULL, NULL) == VAE_OK);
    CHECK(vae_set_learning_rate(small, (vae_real)0.01, NULL) == VAE_OK &&
          vae_set_learning_rate(model, (vae_real)0.01, NULL) == VAE_OK);
    CHECK(vae_train_step(small, &data, NULL, NULL) == VAE_OK && vae_train_step(model, &data, NULL, NULL) == VAE_OK);
    CHECK(same_weights(small, model) && !weights_are(model, before));
    free(before);
    vae_destroy(model);
    vae_destroy(small);
}

/* The gradient is that of reconstruction + beta kl: linear in beta. */
static void test_beta_weighs_the_gradient(void) {
    int which;
    for (which = 0; which < NETS; which++) {
        vae_config   c = net(which);
        vae_data     data = toy(&c, 16);
        vae_model   *model = make(&c);
        const size_t n = vae_parameter_count(model);
        vae_real    *g[3];
        double       scale = 0, worst = 0, moved = 0;
        size_t       i, k;
        for (k = 0; k < 3; k++) {
            static const double betas[] = { 0, 1, 3.5 };
            vae_clear_gradients(model);
            CHECK(vae_set_beta(model, (vae_real)betas[k], NULL) == VAE_OK);
            CHECK(vae_accumulate_gradients(model, &data, NULL, NULL, NULL) == VAE_OK);
            g[k] = (vae_real *)malloc(n * sizeof(vae_real));
            memcpy(g[k], vae_gradients(model), n * sizeof(vae_real));
        }
        for (i = 0; i < n; i++) {
            const double zero = (double)g[0][i], one = (double)g[1][i], more = (double)g[2][i];
            scale = fmax(scale, fabs(zero));
            moved = fmax(moved, fabs(one - zero));
            worst = fmax(worst, fabs(more - zero - 3.5 * (one - zero)));
        }
        CHECK(moved > 1e-3);
        CHECK_NEAR(worst, 0, 1e-5 * scale);
        for (k = 0; k < 3; k++) free(g[k]);
        vae_destroy(model);
    }
}

/* ---- gradients by hand ---- */

static void test_gradients_by_hand(void) {
    int which;
    for (which = 0; which < NETS; which++) {
        vae_config   c = net(which);
        vae_data     data = toy(&c, 16);
        vae_model   *hand = make(&c), *step = make(&c), *holder = make(&c);
        const size_t n = vae_parameter_count(hand);
        vae_terms    a, b;
        vae_real    *g, *first = (vae_real *)malloc(n * sizeof(vae_real)),
                    *x = (vae_real *)malloc(n * sizeof(vae_real));
        vae_real    *y = (vae_real *)malloc(n * sizeof(vae_real));
        size_t       i, t, zero = 0, same = 0, twice = 0;
        for (g = vae_gradients(hand), i = 0; i < n; i++) zero += g[i] == 0;
        CHECK(zero == n);                                   /* before anything has been accumulated */
        for (t = 0; t < 3; t++) {
            CHECK(vae_accumulate_gradients(hand, &data, NULL, &a, NULL) == VAE_OK);
            if (t == 0) memcpy(first, vae_gradients(hand), n * sizeof(vae_real));
            CHECK(vae_apply_gradients(hand, NULL) == VAE_OK);
            CHECK(vae_train_step(step, &data, &b, NULL) == VAE_OK);
            CHECK(!memcmp(&a, &b, sizeof a) && same_weights(hand, step));
            for (zero = 0, g = vae_gradients(hand), i = 0; i < n; i++) zero += g[i] == 0;
            CHECK(zero == n);                               /* zero again afterwards */
        }
        /* Accumulating twice doubles; clearing forgets. */
        vae_clear_gradients(holder);
        CHECK(vae_accumulate_gradients(holder, &data, NULL, NULL, NULL) == VAE_OK);
        for (g = vae_gradients(holder), i = 0; i < n; i++) same += g[i] == first[i];
        CHECK(same == n);
        CHECK(vae_accumulate_gradients(holder, &data, NULL, NULL, NULL) == VAE_OK);
        for (g = vae_gradients(holder), i = 0; i < n; i++)
            twice += fabs((double)(g[i] - 2 * first[i])) <= 2e-6 * (1 + fabs((double)first[i]));
        CHECK(twice == n);
        vae_clear_gradients(holder);
        for (zero = 0, g = vae_gradients(holder), i = 0; i < n; i++) zero += g[i] == 0;
        CHECK(zero == n);
        /* Gradients by name have the order of the weights by name. */
        CHECK(vae_accumulate_gradients(holder, &data, NULL, NULL, NULL) == VAE_OK);
        memcpy(vae_parameters(holder), vae_gradients(holder), n * sizeof(vae_real));
        for (t = 0; t < vae_tensor_count(holder); t++) {
            vae_tensor tensor;
            CHECK(vae_tensor_at(holder, t, &tensor, NULL) == VAE_OK);
            CHECK(vae_get_tensor(holder, tensor.name, x, tensor.count, NULL) == VAE_OK);
            CHECK(vae_get_gradient(holder, tensor.name, y, tensor.count, NULL) == VAE_OK);
            CHECK(!memcmp(x, y, tensor.count * sizeof(vae_real)));
        }
        vae_clear_gradients(holder);
        CHECK(vae_get_gradient(holder, "mean.bias", x, 3, NULL) == VAE_OK && x[0] == 0 && x[1] == 0 && x[2] == 0);
        free(first);
        free(x);
        free(y);
        vae_destroy(hand);
        vae_destroy(step);
        vae_destroy(holder);
    }
}

/* Halves of a batch, and the sum of two models' gradients, as over two machines: the whole batch's gradient. */
static void test_gradients_of_shares_add_up(void) {
    vae_config   c = net(MIXED);
    vae_data     data = toy(&c, 16), low = data, high = data;
    vae_model   *whole = make(&c), *a = make(&c), *b = make(&c);
    const size_t n = vae_parameter_count(whole);
    vae_share    first = { 0, 16 }, second = { 6, 16 };
    double       worst = 0, scale = 0;
    size_t       i;
    low.count = 6;
    high.count = 10;
    high.bytes += 6 * vae_example_size(whole);
    CHECK(vae_accumulate_gradients(whole, &data, NULL, NULL, NULL) == VAE_OK);
    CHECK(vae_accumulate_gradients(a, &low, &first, NULL, NULL) == VAE_OK);
    CHECK(vae_accumulate_gradients(b, &high, &second, NULL, NULL) == VAE_OK);
    for (i = 0; i < n; i++) {
        vae_gradients(a)[i] += vae_gradients(b)[i];
        worst = fmax(worst, fabs((double)(vae_gradients(a)[i] - vae_gradients(whole)[i])));
        scale = fmax(scale, fabs((double)vae_gradients(whole)[i]));
    }
    CHECK_NEAR(worst, 0, 2e-6 * scale);
    vae_destroy(whole);
    vae_destroy(a);
    vae_destroy(b);
}

/* Adam's formula, in double, on gradients of our own. */
static void test_adam(void) {
    vae_config   c = net(DENSE);
    vae_model   *model;
    double       m[3] = { 0 }, v[3] = { 0 }, p[3];
    size_t       step, i;
    c.optimizer.learning_rate = (vae_real)0.01;
    c.optimizer.beta1 = (vae_real)0.8;
    c.optimizer.beta2 = (vae_real)0.95;
    c.optimizer.epsilon = (vae_real)1e-3;
    model = make(&c);
    for (i = 0; i < 3; i++) p[i] = (double)vae_parameters(model)[i];
    for (step = 1; step <= 50; step++) {
        for (i = 0; i < 3; i++) {
            const vae_real g = (vae_real)(sin((double)(step * (i + 1))) * pow(10, -2.0 * (double)i));
            vae_gradients(model)[i] = g;
            m[i] = 0.8 * m[i] + 0.2 * (double)g;
            v[i] = 0.95 * v[i] + 0.05 * (double)g * (double)g;
            p[i] -= 0.01 * (m[i] / (1 - pow(0.8, (double)step))) / (sqrt(v[i] / (1 - pow(0.95, (double)step))) + 1e-3);
        }
        CHECK(vae_apply_gradients(model, NULL) == VAE_OK);
        for (i = 0; i < 3; i++) CHECK_NEAR(vae_parameters(model)[i], p[i], 2e-6);
    }
    vae_destroy(model);
}

/* ---- files ---- */

static void *saved(vae_model *model, int checkpoint, size_t *size) {
    void *bytes;
    CHECK(vae_save_memory(model, checkpoint, NULL, 0, size, NULL) == VAE_OK || *size > 0);
    bytes = malloc(*size);
    CHECK(vae_save_memory(model, checkpoint, bytes, *size, size, NULL) == VAE_OK);
    return bytes;
}

/* The layout is the caller's: no file says it. */
static vae_model *loaded(const void *bytes, size_t size, vae_layout layout) {
    vae_config given;
    vae_model *model = NULL;
    vae_error  error;
    memset(&given, 0, sizeof given);
    given.layout = layout;
    if (vae_load_memory(bytes, size, &given, &model, &error) != VAE_OK) {
        printf("vae_load_memory: %s\n", error.message);
        exit(1);
    }
    return model;
}

static void test_checkpoint_goes_on(void) {
    enum { EPOCHS = 3, ROWS = 75, BATCHES = 5 };
    int which;
    for (which = 0; which < NETS; which++) {
        vae_config c = net(which);
        vae_data   data = toy(&c, ROWS);
        vae_model *whole = make(&c);
        size_t     stop;
        fit(whole, &data, EPOCHS);
        for (stop = 1; stop < EPOCHS * BATCHES; stop += 3) {
            vae_model     *stopped = make(&c), *again;
            record         r;
            vae_fit_config config = { .epochs = EPOCHS, .on_progress = watch };
            size_t         size = 0;
            void          *bytes;
            memset(&r, 0, sizeof r);
            r.stop_after = stop;
            config.user = &r;
            CHECK(vae_fit(stopped, &data, &config, NULL) == VAE_STOPPED);
            bytes = saved(stopped, 1, &size);
            vae_destroy(stopped);
            again = loaded(bytes, size, c.layout);
            free(bytes);
            fit(again, &data, EPOCHS - stop / BATCHES);
            CHECK(same_weights(whole, again));
            vae_destroy(again);
        }
        vae_destroy(whole);
    }
}

static void test_save_and_load_are_the_identity(void) {
    int which;
    for (which = 0; which < NETS; which++) {
        vae_config c = net(which);
        vae_data   data = toy(&c, 60);
        vae_model *model = make(&c), *again, *third;
        vae_real   a[60 * LARGEST], b[60 * LARGEST];
        vae_terms  terms_a, terms_b;
        size_t     size = 0, size_again = 0;
        void      *bytes, *bytes_again;
        fit(model, &data, 2);
        bytes = saved(model, 0, &size);
        again = loaded(bytes, size, c.layout);
        CHECK(same_weights(model, again));
        memset(a, 0, sizeof a);
        memset(b, 0, sizeof b);
        CHECK(vae_reconstruct(model, &data, a, NULL) == VAE_OK && vae_reconstruct(again, &data, b, NULL) == VAE_OK);
        CHECK(!memcmp(a, b, sizeof a));
        CHECK(vae_elbo(model, &data, &terms_a, NULL, NULL) == VAE_OK &&
              vae_elbo(again, &data, &terms_b, NULL, NULL) == VAE_OK);
        CHECK(!memcmp(&terms_a, &terms_b, sizeof terms_a));
        bytes_again = saved(again, 0, &size_again);
        CHECK(size == size_again && !memcmp(bytes, bytes_again, size));
        /* into a model that exists */
        third = make(&c);
        CHECK(vae_load_weights_memory(third, bytes, size, NULL) == VAE_OK && same_weights(model, third));
        free(bytes);
        free(bytes_again);
        vae_destroy(model);
        vae_destroy(again);
        vae_destroy(third);
    }
}

/* Saving in the callback changes nothing; a checkpoint of a checkpoint is the same bytes. */
static void test_checkpoints_are_exact(void) {
    int which;
    for (which = 0; which < NETS; which++) {
        vae_config c = net(which);
        vae_data   data = toy(&c, 40);
        vae_model *model = make(&c), *again;
        size_t     size = 0, size_again = 0;
        void      *bytes, *bytes_again;
        fit(model, &data, 1);
        CHECK(vae_set_beta(model, (vae_real)0.25, NULL) == VAE_OK &&
              vae_set_learning_rate(model, (vae_real)0.002, NULL) == VAE_OK);
        bytes = saved(model, 1, &size);
        again = loaded(bytes, size, c.layout);
        bytes_again = saved(again, 1, &size_again);
        CHECK(size == size_again && !memcmp(bytes, bytes_again, size));
        CHECK(same_weights(model, again));
        CHECK(same_future(model, again, &data));        /* with the schedule's present values */
        free(bytes);
        free(bytes_again);
        vae_destroy(model);
        vae_destroy(again);
    }
}

int main(void) {
    RUN(test_loss_falls);
    RUN(test_same_seed_same_bits);
    RUN(test_two_fits_are_one);
    RUN(test_stop_and_go_on);
    RUN(test_going_on_with_other_data);
    RUN(test_fit_is_a_loop_of_steps);
    RUN(test_batch_of_one);
    RUN(test_step_is_accumulate_and_apply);
    RUN(test_step_adds_to_what_was_accumulated);
    RUN(test_step_with_large_gradients);
    RUN(test_bytes_are_floats_divided_by_255);
    RUN(test_channels_first_is_only_a_layout);
    RUN(test_progress);
    RUN(test_fit_by_default);
    RUN(test_callbacks_may_use_the_model);
    RUN(test_output_bias_from_data);
    RUN(test_output_bias_of_many_pixels);
    RUN(test_infinite_loss_changes_nothing);
    RUN(test_infinite_gradient_changes_nothing);
    RUN(test_refused_update_leaves_no_bound);
    RUN(test_huge_learning_rate);
    RUN(test_beta_and_learning_rate);
    RUN(test_beta_weighs_the_gradient);
    RUN(test_gradients_by_hand);
    RUN(test_gradients_of_shares_add_up);
    RUN(test_adam);
    RUN(test_checkpoint_goes_on);
    RUN(test_save_and_load_are_the_identity);
    RUN(test_checkpoints_are_exact);
    return test_finish();
}
