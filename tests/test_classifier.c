/* Semi-supervised models: a classifier on the mean, trained along on the rows that have a label. Its gradients are in
   test_gradients.c. */
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "test.h"
#include "model.h"

enum { ROWS = 400, PIXELS = 8, CLASSES = 3, LATENT = 3, HIDDEN = 5 };

static const vae_config base = {
    .input = { 1, PIXELS, 1 }, .latent = LATENT, .seed = 3, .batch = 32, .threads = 1,
    .encoder = { VAE_DENSE_INITIALIZER(12, VAE_SILU) },
    .classifier = { VAE_DENSE_INITIALIZER(HIDDEN, VAE_TANH), VAE_DENSE_INITIALIZER(CLASSES, VAE_LINEAR) },
    .classifier_weight = 20
};

static struct { vae_real pixels[ROWS * PIXELS]; int labels[ROWS], known[ROWS]; } rows;

/* Which two pixels are bright tells the class, which one row in ten is told. */
static vae_data make_rows(void) {
    test_random random = { 11 };
    vae_data    data = { 0 };
    size_t      i, k;
    for (i = 0; i < ROWS; i++) {
        rows.labels[i] = test_integer(&random, 0, CLASSES - 1);
        rows.known[i] = i % 10 ? -1 : rows.labels[i];
        for (k = 0; k < PIXELS; k++)
            rows.pixels[i * PIXELS + k] =
                (vae_real)((int)k / 2 == rows.labels[i] ? test_uniform(&random, 0.6, 1)
                           : test_uniform(&random, 0, 0.4));
    }
    data.pixels = rows.pixels;
    data.labels = rows.known;
    data.count = ROWS;
    return data;
}

/* Probabilities and nats from the means and the tensors. */
TEST(test_forward) {
    const vae_data data = make_rows();
    vae_model     *model = make(&base);
    static vae_real mean[ROWS * LATENT], p[ROWS * CLASSES];
    static vae_terms each[ROWS];
    vae_real       w0[HIDDEN * LATENT], b0[HIDDEN], w1[CLASSES * HIDDEN], b1[CLASSES];
    vae_terms      terms;
    double         sum = 0, off = 0, nats_off = 0;
    vae_data       unknown = data;
    size_t         row, i, k;
    CHECK(vae_get_tensor(model, "classifier.0.weight", w0, HIDDEN * LATENT, NULL) == VAE_OK);
    CHECK(vae_get_tensor(model, "classifier.0.bias", b0, HIDDEN, NULL) == VAE_OK);
    CHECK(vae_get_tensor(model, "classifier.2.weight", w1, CLASSES * HIDDEN, NULL) == VAE_OK);
    CHECK(vae_get_tensor(model, "classifier.2.bias", b1, CLASSES, NULL) == VAE_OK);
    CHECK(vae_encode(model, &data, mean, NULL, NULL) == VAE_OK);
    CHECK(vae_classify(model, &data, p, NULL) == VAE_OK);
    CHECK(vae_elbo(model, &data, &terms, each, NULL) == VAE_OK);
    for (row = 0; row < ROWS; row++) {
        double hidden[HIDDEN], logits[CLASSES], total = 0;
        for (i = 0; i < HIDDEN; i++) {
            hidden[i] = (double)b0[i];
            for (k = 0; k < LATENT; k++) hidden[i] += (double)w0[i * LATENT + k] * (double)mean[row * LATENT + k];
            hidden[i] = tanh(hidden[i]);
        }
        for (i = 0; i < CLASSES; i++) {
            logits[i] = (double)b1[i];
            for (k = 0; k < HIDDEN; k++) logits[i] += (double)w1[i * HIDDEN + k] * hidden[k];
            total += exp(logits[i]);
        }
        for (i = 0; i < CLASSES; i++) off = fmax(off, fabs((double)p[row * CLASSES + i] - exp(logits[i]) / total));
        if (data.labels[row] < 0) CHECK(each[row].classification == 0);
        else nats_off = fmax(nats_off, fabs(each[row].classification - (log(total) - logits[data.labels[row]])));
        CHECK_NEAR(each[row].loss, each[row].reconstruction + each[row].kl + 20 * each[row].classification, 1e-9);
        CHECK_NEAR(each[row].elbo, -each[row].reconstruction - each[row].kl, 1e-9);
        sum += each[row].classification;
    }
    CHECK(off < 1e-6 && nats_off < 1e-5 && sum > 10);
    CHECK_NEAR(terms.classification, sum / ROWS, 1e-9);
    CHECK_NEAR(terms.loss, terms.reconstruction + terms.kl + 20 * terms.classification, 1e-9);
    unknown.labels = NULL;
    CHECK(vae_elbo(model, &unknown, &terms, NULL, NULL) == VAE_OK && terms.classification == 0);
    vae_destroy(model);
}

/* Without labels, and with labels that weigh nothing, everything else learns what it learns without a classifier. */
TEST(test_without_labels) {
    const vae_data data = make_rows();
    vae_config     config = base;
    vae_model     *with, *plain, *weightless;
    vae_fit_config fit = { .epochs = 2 };
    vae_data       unlabelled = data;
    unlabelled.labels = NULL;
    with = make(&config);
    config.classifier_weight = VAE_ZERO;
    weightless = make(&config);
    memset(config.classifier, 0, sizeof config.classifier);
    config.classifier_weight = 0;
    plain = make(&config);
    CHECK(vae_parameter_count(with) ==
          vae_parameter_count(plain) + HIDDEN * (LATENT + 1) + CLASSES * (HIDDEN + 1));
    CHECK(!memcmp(vae_weights(with), vae_weights(plain), vae_parameter_count(plain) * sizeof(vae_real)));
    CHECK(vae_fit(with, &unlabelled, &fit, NULL) == VAE_OK && vae_fit(weightless, &data, &fit, NULL) == VAE_OK);
    CHECK(vae_fit(plain, &unlabelled, &fit, NULL) == VAE_OK);
    CHECK(!memcmp(vae_weights(with), vae_weights(plain), vae_parameter_count(plain) * sizeof(vae_real)));
    CHECK(!memcmp(vae_weights(weightless), vae_weights(plain), vae_parameter_count(plain) * sizeof(vae_real)));
    vae_destroy(with);
    vae_destroy(plain);
    vae_destroy(weightless);
}

static void run_in_turn(void *user, vae_task task, void *context, size_t count) {
    (void)user;
    while (count) task(context, --count);
}

/* vae_train_step, whole gradients, gradients in shares; one thread and five. */
TEST(test_updates) {
    const vae_data data = make_rows();
    vae_data       batch = data, piece;
    vae_config     config = base;
    vae_model     *step, *whole, *parallel;
    vae_terms      terms, part;
    size_t         i;
    batch.count = 32;
    config.optimizer.kind = VAE_ADAMW;
    config.optimizer.weight_decay = (vae_real)0.5;
    step = make(&config);
    whole = make(&config);
    config.threads = 5;
    config.parallel.run = run_in_turn;
    parallel = make(&config);
    for (i = 0; i < 6; i++) {
        vae_share share = { 0, 32 };
        double    sum = 0;
        batch.pixels = data.pixels + 32 * i * PIXELS;
        batch.labels = data.labels + 32 * i;
        piece = batch;
        CHECK(vae_train_step(step, &batch, &terms, NULL) == VAE_OK);
        CHECK(vae_train_step(parallel, &batch, NULL, NULL) == VAE_OK);
        CHECK(terms.classification > 0);
        for (; share.first < 32; share.first += piece.count) {
            piece.count = share.first ? 21 : 11;
            piece.pixels = batch.pixels + share.first * PIXELS;
            piece.labels = batch.labels + share.first;
            CHECK(vae_accumulate_gradients(whole, &piece, &share, &part, NULL) == VAE_OK);
            sum += part.classification * (double)piece.count / 32;
        }
        CHECK_NEAR(sum, terms.classification, 2e-4);
        CHECK(vae_apply_gradients(whole, NULL) == VAE_OK);
    }
    CHECK(!memcmp(vae_weights(step), vae_weights(parallel), vae_weight_count(step) * sizeof(vae_real)));
    for (i = 0; i < vae_parameter_count(step); i++) CHECK_NEAR(vae_weights(step)[i], vae_weights(whole)[i], 2e-4);
    vae_destroy(step);
    vae_destroy(whole);
    vae_destroy(parallel);
}

static double error_rate(vae_model *model, const vae_data *data) {
    static vae_real p[ROWS * CLASSES];
    size_t          wrong = 0, row, k, best;
    CHECK(vae_classify(model, data, p, NULL) == VAE_OK);
    for (row = 0; row < ROWS; row++) {
        for (best = 0, k = 1; k < CLASSES; k++) if (p[row * CLASSES + k] > p[row * CLASSES + best]) best = k;
        wrong += best != (size_t)rows.labels[row];
    }
    return (double)wrong / ROWS;
}

TEST(test_learning) {
    const vae_data data = make_rows();
    vae_config     config = base;
    vae_fit_config fit = { .epochs = 40 };
    vae_model     *model;
    config.optimizer.learning_rate = (vae_real)0.01;
    model = make(&config);
    CHECK(error_rate(model, &data) > 0.3);
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
    CHECK(error_rate(model, &data) < 0.02);
    vae_destroy(model);
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
    (void)user;
    return progress->epoch == 2 && progress->batch == 4;
}

TEST(test_files) {
    const vae_data  data = make_rows();
    vae_config      config = base, other = { 0 };
    vae_fit_config  fit = { .until_epoch = 3 };
    vae_model      *through = make(&config), *stopped = make(&config), *resumed = NULL, *part = NULL, *view = NULL;
    static vae_real p[2][ROWS * CLASSES];
    vae_error       error;
    unsigned char  *bytes;
    size_t          size, i;
    char            text[4000];
    CHECK(vae_fit(through, &data, &fit, NULL) == VAE_OK);
    fit.on_progress = stop_in_the_middle;
    CHECK(vae_fit(stopped, &data, &fit, NULL) == VAE_STOPPED);
    bytes = saved(stopped, 1, &size);
    CHECK(vae_load_memory(bytes, size, NULL, &resumed, &error) == VAE_OK);
    free(bytes);
    fit.on_progress = NULL;
    CHECK(vae_fit(resumed, &data, &fit, NULL) == VAE_OK);
    CHECK(!memcmp(vae_weights(resumed), vae_weights(through), vae_weight_count(through) * sizeof(vae_real)));
    CHECK(vae_create_view(through, NULL, &view, NULL) == VAE_OK);
    CHECK(vae_classify(through, &data, p[0], NULL) == VAE_OK && vae_classify(view, &data, p[1], NULL) == VAE_OK);
    CHECK(!memcmp(p[0], p[1], sizeof p[0]));

    (void)vae_save(through, "build/test_classifier.safetensors", NULL);    /* for PyTorch: see .ci/run */
    bytes = saved(through, 0, &size);
    CHECK_CONTAINS((const char *)bytes + 8, "\\\"classifier_weight\\\":20");
    other.part = VAE_ENCODER_ONLY;
    CHECK(vae_load_memory(bytes, size, &other, &part, &error) == VAE_OK);
    CHECK(vae_classify(part, &data, p[1], NULL) == VAE_OK && !memcmp(p[0], p[1], sizeof p[0]));
    vae_destroy(view);
    CHECK(vae_create_view(part, NULL, &view, NULL) == VAE_OK);
    CHECK(vae_classify(view, &data, p[1], NULL) == VAE_OK && !memcmp(p[0], p[1], sizeof p[0]));
    vae_destroy(part);
    other.part = VAE_DECODER_ONLY;
    CHECK(vae_load_memory(bytes, size, &other, &part, &error) == VAE_OK);
    CHECK(vae_classify(part, &data, p[1], &error) == VAE_ERROR_ARGUMENT);
    {                                       /* the decoder's own file and config serve again */
        vae_model     *again = NULL;
        size_t         length;
        unsigned char *half = saved(part, 0, &length);
        CHECK(vae_load_memory(half, length, NULL, &again, &error) == VAE_OK);
        vae_destroy(again);
        again = NULL;
        vae_get_config(part, &other);
        CHECK(vae_create(&other, &again, &error) == VAE_OK);
        vae_destroy(again);
        free(half);
    }
    vae_destroy(part);
    memset(&other, 0, sizeof other);
    other.classifier_weight = 7;
    memcpy(other.classifier, base.classifier, sizeof other.classifier);
    CHECK(vae_load_memory(bytes, size, &other, &part, &error) == VAE_OK);
    CHECK(part->settings.classifier_weight == 7);
    vae_destroy(part);
    other.classifier[0].activation = VAE_RELU;
    CHECK(vae_load_memory(bytes, size, &other, &part, &error) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error.message, "classifier layer 1 ");
    config.classifier[0] = VAE_DENSE(CLASSES, VAE_LINEAR);
    memset(&config.classifier[1], 0, sizeof config.classifier[1]);
    part = make(&config);
    CHECK(vae_load_weights_memory(part, bytes, size, &error) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error.message, "the classifier has 2 layers in the file and 1 in the model");
    vae_destroy(part);
    config = base;
    part = make(&config);
    CHECK(vae_load_weights_memory(part, bytes, size, &error) == VAE_OK);
    CHECK(!memcmp(vae_weights(part), vae_weights(through), vae_weight_count(through) * sizeof(vae_real)));
    vae_get_config(part, &other);
    CHECK(!memcmp(&other.classifier[0].shape, &base.classifier[0].shape, sizeof(vae_shape)));
    CHECK(other.classifier[1].kind == VAE_LAYER_DENSE && other.classifier[2].kind == VAE_LAYER_END);
    vae_summary(part, text, sizeof text);
    CHECK_CONTAINS(text, "\nclassifier.2  dense");
    CHECK_CONTAINS(text, ", classifier weight 20");
    vae_destroy(part);
    for (i = 8; memcmp(bytes + i, "\"classifier.2.bias\"", 19); i++) {}
    bytes[i + 1] = 'x';                     /* a tensor that no model has, and one that is missing */
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
    vae_data       wrong = data;
    vae_config     config = base;
    vae_latents    latents = { 0 };
    vae_model     *model = make(&config);
    vae_real       z[LATENT] = { 0 }, pixels[PIXELS];
    int            labels[ROWS];
    config.classes = 3;
    CHECK(try_to_make(&config, &error_of) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error_of.message, "classes and classifier are both set");
    config = base;
    config.classifier[1].activation = VAE_SIGMOID;
    CHECK(try_to_make(&config, &error_of) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error_of.message,
                   "classifier layer 2 is the last and gives the logits: make its activation VAE_LINEAR");
    config = base;
    config.classifier[1].dropout = (vae_real)0.5;
    CHECK(try_to_make(&config, &error_of) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error_of.message, "classifier layer 2 is the last: its dropout would be that of logits");
    config = base;
    config.classifier[0] = VAE_CONV(4, 1, 1, VAE_RELU);
    CHECK(try_to_make(&config, &error_of) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error_of.message, "classifier layer 1 is a convolution: use dense layers");
    config = base;
    config.classifier[1].shape.channels = 1;
    CHECK(try_to_make(&config, &error_of) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error_of.message, "classifier layer 2 has 1 units: give one for each class, 2 or more");
    config = base;
    config.classifier[3] = config.classifier[1];
    CHECK(try_to_make(&config, &error_of) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error_of.message, "classifier layer 3 is empty, but layer 4 is set");
    config = base;
    config.classifier_weight = -1;
    CHECK(try_to_make(&config, &error_of) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error_of.message, "classifier_weight is -1: it must lie in 0");
    memset(config.classifier, 0, sizeof config.classifier);
    config.classifier_weight = 2;
    CHECK(try_to_make(&config, &error_of) == VAE_ERROR_CONFIG);
    CHECK_CONTAINS(error_of.message, "classifier_weight is 2, but there is no classifier");
    memcpy(labels, data.labels, sizeof labels);
    labels[5] = -2;
    wrong.labels = labels;
    CHECK(vae_fit(model, &wrong, NULL, &error_of) == VAE_ERROR_DATA);
    CHECK_TEXT(error_of.message, "row 5 has label -2: labels must lie in -1 to 2");
    labels[5] = 3;
    CHECK(vae_train_step(model, &wrong, NULL, &error_of) != VAE_OK);
    wrong.count = 32;
    CHECK(vae_train_step(model, &wrong, NULL, &error_of) == VAE_ERROR_DATA);
    CHECK_TEXT(error_of.message, "row 5 has label 3: labels must lie in -1 to 2");
    latents.z = z;
    latents.labels = labels;
    latents.count = 1;
    CHECK(vae_decode(model, &latents, pixels, &error_of) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error_of.message, "vae_decode: labels are given, but the decoder takes none");
    CHECK(vae_classify(model, &data, NULL, NULL) == VAE_ERROR_ARGUMENT);
    CHECK(vae_classify(model, NULL, pixels, NULL) == VAE_ERROR_ARGUMENT);
    CHECK(vae_classify(NULL, &data, pixels, NULL) == VAE_ERROR_ARGUMENT);
    vae_destroy(model);
    config.classifier_weight = 0;
    model = make(&config);
    wrong.labels = NULL;
    CHECK(vae_classify(model, &wrong, pixels, &error_of) == VAE_ERROR_ARGUMENT);
    CHECK_CONTAINS(error_of.message, "vae_classify: the model has no classifier: set config.classifier");
    vae_destroy(model);
}

/* With either half frozen the loss is that of a free model, and so are the gradients of all that is not frozen: the
   classifier belongs to neither half. */
TEST(test_with_a_frozen_half) {
    static const vae_real zeros[HIDDEN * LATENT + 12 * PIXELS + 12 * LATENT];
    static vae_real       gradients[3][4][HIDDEN * LATENT + 12 * PIXELS + 12 * LATENT];
    static const struct { const char *name; size_t count; } tensors[4] = {
        { "classifier.0.weight", HIDDEN * LATENT }, { "classifier.2.bias", CLASSES },
        { "encoder.0.weight", 12 * PIXELS }, { "decoder.0.weight", 12 * LATENT }
    };
    static const vae_share shares[2] = { { 0, 32 }, { 10, 32 } };
    vae_data     batch = make_rows();
    int          objective, half, t;
    for (objective = VAE_OBJECTIVE_ELBO; objective <= VAE_OBJECTIVE_IWAE; objective++) {
        vae_terms terms[3];
        for (half = 0; half < 3; half++) {
            vae_config config = base;
            vae_model *model;
            vae_data   part = batch;
            vae_terms  sum[2];
            config.objective = (vae_objective)objective;
            config.samples = 5;
            config.freeze = (vae_freeze)(VAE_FREEZE_NONE + half);
            model = make(&config);
            batch.count = 32;
            CHECK(vae_accumulate_gradients(model, &batch, NULL, &terms[half], NULL) == VAE_OK);
            for (t = 0; t < 4; t++)
                CHECK(vae_get_gradient(model, tensors[t].name, gradients[half][t], tensors[t].count, NULL) == VAE_OK);
            vae_clear_gradients(model);
            part.count = 10;
            CHECK(vae_accumulate_gradients(model, &part, &shares[0], &sum[0], NULL) == VAE_OK);
            part.pixels += 10 * PIXELS;
            part.labels += 10;
            part.count = 22;
            CHECK(vae_accumulate_gradients(model, &part, &shares[1], &sum[1], NULL) == VAE_OK);
            CHECK_NEAR((10 * sum[0].loss + 22 * sum[1].loss) / 32, terms[half].loss, 1e-5 * fabs(terms[half].loss));
            CHECK(terms[half].loss == terms[0].loss && terms[half].classification == terms[0].classification);
            for (t = 0; t < 4; t++) {
                const int frozen = half && t == 1 + half;           /* 2: the encoder's tensor, 3: the decoder's */
                CHECK(!memcmp(gradients[half][t], frozen ? zeros : gradients[0][t],
                              tensors[t].count * sizeof(vae_real)));
                CHECK(half || memcmp(gradients[0][t], zeros, tensors[t].count * sizeof(vae_real)));
            }
            vae_destroy(model);
        }
    }
}

typedef struct judged { size_t epochs, best; vae_wide least; } judged;
static int note_validation(void *user, const vae_progress *progress) {
    judged *j = (judged *)user;
    if (progress->event != VAE_EVENT_EPOCH) return 0;
    j->epochs++;
    if (j->best && progress->validation.loss >= j->least) return 0;
    j->best = progress->epoch;
    j->least = progress->validation.loss;
    return 0;
}

/* A classifier on a frozen encoder learns, and the best epoch is that of the whole loss, its own term counted. */
TEST(test_judged_by_the_whole_loss) {
    const vae_data data = make_rows();
    vae_config     config = base;
    vae_data       all = data;
    judged         seen = { 0, 0, 0 };
    vae_fit_config fit = { .epochs = 25, .validation = &all, .patience = 10, .on_progress = note_validation };
    vae_state      state;
    vae_terms      before, after;
    vae_model     *model;
    fit.user = &seen;
    all.labels = rows.labels;
    config.freeze = VAE_FREEZE_ENCODER;
    config.classifier_weight = 50;
    config.keep_best = 1;
    config.optimizer.learning_rate = (vae_real)0.01;
    model = make(&config);
    CHECK(vae_elbo(model, &all, &before, NULL, NULL) == VAE_OK);
    CHECK(vae_fit(model, &data, &fit, NULL) == VAE_OK);
    CHECK(vae_elbo(model, &all, &after, NULL, NULL) == VAE_OK);
    vae_get_state(model, &state);
    CHECK(seen.epochs >= 20 && state.best_epoch == seen.best && state.best_epoch > 10);
    CHECK_NEAR((double)state.best_loss, seen.least, 1e-5 * fabs(seen.least));
    CHECK_NEAR(after.loss, seen.least, 1e-5 * fabs(seen.least));
    CHECK(after.classification < 0.8 * before.classification);
    vae_destroy(model);
}

/* Weights far too large give an error, no NaN; logits of 1e4 give 0 and 1. */
TEST(test_extremes) {
    const vae_data data = make_rows();
    vae_model     *model = make(&base);
    static vae_real p[ROWS * CLASSES];
    vae_real       b[CLASSES] = { (vae_real)1e4, (vae_real)-1e4, 0 }, w[CLASSES * HIDDEN];
    vae_terms      terms;
    vae_error      error;
    size_t         i;
    CHECK(vae_set_tensor(model, "classifier.2.bias", b, CLASSES, NULL) == VAE_OK);
    CHECK(vae_classify(model, &data, p, NULL) == VAE_OK);
    for (i = 0; i < ROWS; i++) CHECK(p[i * CLASSES] == 1 && p[i * CLASSES + 1] == 0 && p[i * CLASSES + 2] == 0);
    CHECK(vae_elbo(model, &data, &terms, NULL, NULL) == VAE_OK && terms.classification > 100 &&
          terms.classification < 2e4);
    for (i = 0; i < CLASSES * HIDDEN; i++) w[i] = (vae_real)(i % 2 ? 3e38 : -3e38);
    CHECK(vae_set_tensor(model, "classifier.2.weight", w, CLASSES * HIDDEN, NULL) == VAE_OK);
    for (i = 0; i < CLASSES; i++) b[i] = (vae_real)(i ? 3e38 : -3e38);
    CHECK(vae_set_tensor(model, "classifier.2.bias", b, CLASSES, NULL) == VAE_OK);
    if (sizeof(vae_real) == 4) {
        vae_data batch = data;
        batch.count = 32;
        CHECK(vae_train_step(model, &batch, NULL, &error) == VAE_ERROR_NUMERIC);
    }
    vae_destroy(model);
}

int main(void) {
    RUN(test_forward);
    RUN(test_without_labels);
    RUN(test_updates);
    RUN(test_learning);
    RUN(test_files);
    RUN(test_refusals);
    RUN(test_with_a_frozen_half);
    RUN(test_judged_by_the_whole_loss);
    RUN(test_extremes);
    return test_finish();
}
