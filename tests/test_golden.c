/* Small networks against PyTorch: tests/golden/golden.h holds what it computed in float64, and pairs.h the same for
   likelihoods of two numbers a pixel; objectives.h has what training steps make of each objective and of a classifier.
   test_golden_double.c is this file again with VAE_DOUBLE. */
#define VAE_PLAIN             /* that set too */
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "config_of.h"

#include <stdlib.h>
#include "test.h"
#include "golden/golden.h"
#include "golden/pairs.h"
#include "golden/objectives.h"

/* Figures are compared relative to the largest of their array. The golden ones have 11 digits: in double the worst is
   off by 4.8e-11, their rounding. In float it is 4.6e-7, with some room for other compilers. */
#ifdef VAE_DOUBLE
#define TOLERANCE 1e-10
#else
#define TOLERANCE 2e-6
#endif

enum { MODELS = GOLDEN_MODELS + PAIR_MODELS };

static const golden_model *golden_of(int number) {
    return number < GOLDEN_MODELS ? &golden_models[number] : &pair_models[number - GOLDEN_MODELS];
}

/* In the order of golden_models and pair_models; make_golden.py and make_pairs.py have the same networks in their own
   words. */
static const vae_config networks[MODELS] = {
    { .input = { 1, 12, 1 }, .latent = 3,
      .encoder = { VAE_DENSE_INITIALIZER(7, VAE_RELU) } },
    { .input = { 7, 6, 2 }, .latent = 4,
      .encoder = { VAE_CONV_INITIALIZER(5, 3, 2, VAE_SILU), VAE_CONV_INITIALIZER(6, 3, 2, VAE_LEAKY_RELU),
                   VAE_DENSE_INITIALIZER(9, VAE_TANH) } },
    { .input = { 8, 8, 3 }, .latent = 2, .likelihood = VAE_GAUSSIAN, .sigma = (vae_real)0.5, .beta = (vae_real)0.5,
      .encoder = { VAE_CONV_SYMMETRIC_INITIALIZER(4, 3, 2, 1, VAE_GELU),
                   VAE_CONV_SYMMETRIC_INITIALIZER(5, 3, 2, 1, VAE_SOFTPLUS) } },
    { .input = { 1, 16, 2 }, .latent = 3, .likelihood = VAE_GAUSSIAN, .sigma = (vae_real)0.7, .beta = 2,
      .encoder = { VAE_CONV_1D_INITIALIZER(4, 5, 2, VAE_SIGMOID), VAE_CONV_1D_INITIALIZER(6, 5, 2, VAE_TANH),
                   VAE_DENSE_INITIALIZER(7, VAE_RELU) },
      .decoder = { VAE_DENSE_INITIALIZER(10, VAE_GELU), VAE_DENSE_SHAPED_INITIALIZER(1, 4, 6, VAE_SOFTPLUS),
                   VAE_CONV_TRANSPOSED_1D_INITIALIZER(4, 5, 2, VAE_SIGMOID),
                   VAE_CONV_TRANSPOSED_1D_INITIALIZER(3, 4, 2, VAE_SILU),
                   VAE_CONV_1D_INITIALIZER(2, 3, 1, VAE_LINEAR) } },
    { .input = { 4, 5, 2 }, .latent = 2,
      .encoder = { VAE_DENSE_INITIALIZER(6, VAE_SILU) } },
    { .input = { 6, 5, 2 }, .latent = 3, .likelihood = VAE_LAPLACE, .sigma = (vae_real)0.3,
      .encoder = { VAE_CONV_INITIALIZER(4, 3, 2, VAE_SILU), VAE_DENSE_INITIALIZER(8, VAE_TANH) },
      .decoder = { VAE_DENSE_INITIALIZER(9, VAE_TANH), VAE_DENSE_INITIALIZER(60, VAE_SIGMOID) } },
    { .input = { 6, 5, 2 }, .latent = 3, .likelihood = VAE_CONTINUOUS_BERNOULLI,
      .encoder = { VAE_CONV_INITIALIZER(4, 3, 2, VAE_SILU), VAE_DENSE_INITIALIZER(8, VAE_TANH) } },
    { .input = { 2, 3, 2 }, .latent = 2, .tied = 1,
      .encoder = { VAE_DENSE_INITIALIZER(6, VAE_TANH), VAE_DENSE_INITIALIZER(5, VAE_SILU) } },
    { .input = { 7, 6, 2 }, .latent = 3, .tied = 1, .shared_heads = 1,
      .encoder = { VAE_CONV_SYMMETRIC_INITIALIZER(3, 3, 2, 1, VAE_SILU),
                   VAE_CONV_SYMMETRIC_INITIALIZER(4, 2, 1, 0, VAE_TANH) } },
    { .input = { 1, 9, 1 }, .latent = 2, .classes = 3,
      .encoder = { VAE_DENSE_INITIALIZER(7, VAE_SILU), VAE_DENSE_INITIALIZER(6, VAE_TANH) },
      .decoder = { VAE_DENSE_INITIALIZER(8, VAE_GELU), VAE_DENSE_INITIALIZER(9, VAE_LINEAR) } },
    { .input = { 6, 5, 2 }, .latent = 3, .likelihood = VAE_GAUSSIAN, .sigma = (vae_real)0.5, .classes = 4,
      .encoder = { VAE_CONV_INITIALIZER(4, 3, 2, VAE_SILU) } },
    { .input = { 4, 5, 2 }, .latent = 2,
      .encoder = { { VAE_LAYER_CONV, { 0, 0, 3 }, 3, 3, 2, 2, VAE_SAME, 0, 0, 0, 0, 0, 0, VAE_TANH, (vae_real)0.25, 0 },
                   { .kind = VAE_LAYER_DENSE, .shape = { 1, 1, 6 }, .activation = VAE_SILU,
                     .dropout = (vae_real)0.5 } } },
    { .input = { 4, 5, 2 }, .latent = 2,
      .encoder = { { VAE_LAYER_CONV, { 0, 0, 3 }, 3, 3, 2, 2, VAE_SAME, 0, 0, 0, 0, 0, 0, VAE_SILU, 0, 1 },
                   { VAE_LAYER_CONV, { 0, 0, 4 }, 2, 2, 1, 1, VAE_SAME, 0, 0, 0, 0, 0, 0, VAE_TANH, 0, 1 },
                   { .kind = VAE_LAYER_DENSE, .shape = { 1, 1, 6 }, .activation = VAE_RELU, .batch_norm = 1 } } },
    { .input = { 6, 5, 2 }, .latent = 3, .likelihood = VAE_GAUSSIAN_PREDICTED,
      .encoder = { VAE_CONV_INITIALIZER(4, 3, 2, VAE_SILU), VAE_DENSE_INITIALIZER(8, VAE_TANH) },
      .decoder = { VAE_DENSE_SHAPED_INITIALIZER(3, 3, 4, VAE_SILU),
                   { VAE_LAYER_CONV_TRANSPOSED, { 0, 0, 5 }, 3, 3, 2, 2, VAE_EXPLICIT, 1, 0, 1, 1, 0, 0, VAE_SILU, 0,
                     0 },
                   VAE_CONV_INITIALIZER(4, 3, 1, VAE_LINEAR) } },
    { .input = { 6, 5, 2 }, .latent = 3, .likelihood = VAE_DISCRETIZED_LOGISTIC,
      .encoder = { VAE_CONV_INITIALIZER(4, 3, 2, VAE_SILU), VAE_DENSE_INITIALIZER(8, VAE_TANH) } },
    { .input = { 1, 9, 1 }, .latent = 2, .likelihood = VAE_DISCRETIZED_LOGISTIC, .beta = (vae_real)0.5, .classes = 3,
      .encoder = { VAE_DENSE_INITIALIZER(7, VAE_TANH) } }
};

static void check_array(const vae_real *actual, const double *expected, size_t count, const char *model,
                        const char *what) {
    /* Five rows that are nearly the same in one column: dividing by their deviation magnifies the rounding. */
    const double tolerance = strcmp(model, "batch_norm") ? TOLERANCE : 4 * TOLERANCE;
    double       scale = 1e-12, error = 0;
    size_t       i, worst = 0;
    for (i = 0; i < count; i++) scale = fmax(scale, fabs(expected[i]));
    for (i = 0; i < count; i++) {
        const double off = fabs((double)actual[i] - expected[i]) / scale;
        if (!(off <= error)) {
            error = off;
            worst = i;
        }
    }
    if (!CHECK(error <= tolerance))
        printf("    %s, %s: number %zu is %.12g, not %.12g: off by %.2g of the largest\n", model, what, worst,
               (double)actual[worst], expected[worst], error);
}

static void check_number(double actual, double expected, const char *model, const char *what) {
    const vae_real rounded = (vae_real)actual;
    check_array(&rounded, &expected, 1, model, what);
}

/* The golden inputs are float numbers, written in 9 digits: through float they are exact again. */
static vae_real *reals(const double *from, size_t count) {
    vae_real *values = (vae_real *)malloc(count * sizeof *values);
    size_t    i;
    for (i = 0; i < count; i++) values[i] = (vae_real)(float)from[i];
    return values;
}

static vae_model *make(int number, vae_kernels kernels, size_t batch) {
    const golden_model *golden = golden_of(number);
    vae_config          config = networks[number];
    vae_model          *model = NULL;
    vae_error           error = { VAE_OK, "" };
    int                 i;
    config.kernels = kernels;
    config.batch = batch;
    config.optimizer.learning_rate = (vae_real)0.01;
    if (!CHECK(vae_create(&config, &model, &error) == VAE_OK)) {
        printf("    %s: %s\n", golden->name, error.message);
        exit(1);
    }
    CHECK(vae_tensor_count(model) == (size_t)golden->tensor_count);
    for (i = 0; i < golden->tensor_count; i++) {
        const golden_tensor *t = &golden->tensors[i];
        vae_real            *values = reals(t->values, (size_t)t->count);
        vae_tensor           tensor;
        int                  k;
        CHECK(vae_tensor_at(model, (size_t)i, &tensor, NULL) == VAE_OK);
        CHECK_TEXT(tensor.name, t->name);
        CHECK(tensor.rank == t->rank && tensor.count == (size_t)t->count);
        for (k = 0; k < 4; k++) CHECK(tensor.shape[k] == (size_t)t->shape[k]);
        CHECK(vae_set_tensor(model, t->name, values, (size_t)t->count, &error) == VAE_OK);
        free(values);
    }
    return model;
}

/* What vaei_train_rows does, with the golden noise in place of drawn one; `forward` leaves the logits where they are
   and goes no further. Returns the mean loss. */
static double pass_with_golden_noise(vae_model *model, const golden_model *golden, int forward) {
    const size_t rows = (size_t)golden->rows, latent = (size_t)golden->latent;
    vae_real    *pixels = reals(golden->pixels, rows * model->plan.example);
    vae_real    *noise = reals(golden->epsilon, rows * latent);
    vae_data     data = { 0 };
    vae_wide    *row_kl;
    double       reconstruction = 0, kl = 0;
    size_t       i;
    int          s;
    vaei_pass    pass;
    data.pixels = pixels;
    data.count = rows;
    data.labels = golden->classes ? golden_labels : NULL;
    CHECK(vaei_load_rows(model, &data, 0, rows, NULL, VAEI_FOR_TRAINING, 0, NULL) == VAE_OK);
    vaei_begin_pass(&pass, model, rows);
    if (!forward) vaei_begin_backward(&pass);
    pass.scale = (vae_real)(1 / (double)rows);
    pass.reconstruction = vaei_row_terms(model);
    row_kl = vaei_row_kl(model);
    vaei_encoder_forward(&pass);
    memcpy(vaei_numbers(model, model->plan.noise), noise, rows * latent * sizeof *noise);
    vaei_latent_forward(&pass, row_kl);
    for (i = 0; i < rows; i++) kl += row_kl[i];
    if (!forward) (void)vaei_kl_in_loss(&pass, kl / (double)rows);
    vaei_decoder_forward(&pass);
    for (i = 0; i < rows; i++) {
        reconstruction += pass.reconstruction[i];
        if (!forward) continue;
        check_number(pass.reconstruction[i], golden->reconstruction[i], golden->name, "reconstruction of a row");
        check_number(row_kl[i], golden->kl[i], golden->name, "kl of a row");
    }
    for (s = model->plan.stage_count - 1; s >= 0 && !forward; s--) {
        vaei_stage_backward(&pass, &model->plan.stages[s]);
        if (s == model->plan.decoder.first_stage) vaei_latent_backward_rows(&pass);
    }
    if (!forward) model->has_gradients = 1;
    if (!forward) vaei_move_running(model, rows);
    free(pixels);
    free(noise);
    return vaei_terms_of(reconstruction / (double)rows, kl / (double)rows, vaei_beta(model)).loss;
}

/* In the workspace the channels of a position stand together, those of the first numbers before those of the second. */
static void check_logits(const vae_model *model, const golden_model *golden) {
    const size_t rows = (size_t)golden->rows, example = model->plan.example, outputs = model->plan.output / example;
    const size_t channels = (size_t)golden->channels;
    double      *expected = (double *)malloc(rows * example * outputs * sizeof *expected);
    size_t       row, k, i;
    for (row = 0; row < rows; row++)
        for (k = 0; k < outputs; k++)
            for (i = 0; i < example; i++)
                expected[row * outputs * example + (i / channels * outputs + k) * channels + i % channels] =
                    golden->logits[(row * outputs + k) * example + i];
    check_array(vaei_slot_rows(model, model->plan.stages[model->plan.stage_count - 1].output, 0, 0, 0), expected,
                rows * outputs * example, golden->name, "logits");
    free(expected);
}

static void check_forward(int number, vae_kernels kernels) {
    const golden_model *golden = golden_of(number);
    const size_t        rows = (size_t)golden->rows, latent = (size_t)golden->latent;
    vae_model          *model = make(number, kernels, 16);
    const size_t        example = vae_example_size(model);
    vae_real           *pixels = reals(golden->pixels, rows * example), *mean, *logvar, *decoded;
    vae_data            data = { 0 };
    double              loss;
    mean = (vae_real *)malloc(rows * latent * sizeof *mean);
    logvar = (vae_real *)malloc(rows * latent * sizeof *logvar);
    decoded = (vae_real *)malloc(rows * example * sizeof *decoded);
    data.pixels = pixels;
    data.count = rows;
    data.labels = golden->classes ? golden_labels : NULL;
    CHECK(vae_encode(model, &data, mean, logvar, NULL) == VAE_OK);
    check_array(mean, golden->mean, rows * latent, golden->name, "mean");
    check_array(logvar, golden->logvar, rows * latent, golden->name, "logvar");
    CHECK(vae_reconstruct(model, &data, decoded, NULL) == VAE_OK);
    check_array(decoded, golden->reconstructed, rows * example, golden->name, "reconstructed pixels");
    loss = pass_with_golden_noise(model, golden, 1);
    check_number(loss, golden->loss, golden->name, "loss");
    check_array(vaei_numbers(model, model->plan.z), golden->z, rows * latent, golden->name, "z");
    CHECK(model->plan.micro >= rows);       /* a fused stage keeps the logits of one micro-batch */
    check_logits(model, golden);
    free(pixels);
    free(mean);
    free(logvar);
    free(decoded);
    vae_destroy(model);
}

/* After the backward pass, or after an Adam step. */
static void check_tensors(const vae_model *model, const golden_model *golden, int gradients) {
    int i;
    for (i = 0; i < golden->tensor_count; i++) {
        const golden_tensor *t = &golden->tensors[i];
        vae_real            *values = (vae_real *)malloc((size_t)t->count * sizeof *values);
        const size_t         count = (size_t)t->count;
        if (gradients && !t->gradient) {
            CHECK(vae_get_gradient(model, t->name, values, count, NULL) == VAE_ERROR_ARGUMENT);
            free(values);
            continue;
        }
        CHECK((gradients ? vae_get_gradient : vae_get_tensor)(model, t->name, values, count, NULL) == VAE_OK);
        check_array(values, gradients ? t->gradient : t->after_three_adam_steps, count, golden->name, t->name);
        free(values);
    }
}

static void check_training(int number, vae_kernels kernels, size_t micro) {
    const golden_model *golden = golden_of(number);
    vae_model          *model = make(number, kernels, 16);
    int                 step;
    if (micro) {                            /* the tables are made for more, so fewer rows at a time are as good */
        CHECK(micro < model->plan.micro);
        model->plan.micro = micro;
        model->plan.chunk = 2 * micro;
    }
    for (step = 0; step < 3; step++) {
        const double loss = pass_with_golden_noise(model, golden, 0);
        check_number(loss, golden->step_losses[step], golden->name, "loss before a step");
        if (!step) check_tensors(model, golden, 1);
        CHECK(vae_apply_gradients(model, NULL) == VAE_OK);
    }
    check_tensors(model, golden, 0);
    vae_destroy(model);
}

static void for_each_model_and_kernels(void (*check)(int number, vae_kernels kernels)) {
    int number, kernels;
    for (kernels = VAE_KERNELS_PLAIN; kernels <= VAE_KERNELS_NEON; kernels++)
        for (number = 0; number < MODELS && vae_kernels_available((vae_kernels)kernels); number++)
            check(number, (vae_kernels)kernels);
}

static void check_whole_batches(int number, vae_kernels kernels) { check_training(number, kernels, 0); }
static void check_micro_batches(int number, vae_kernels kernels) {
    check_training(number, kernels, 1);
    check_training(number, kernels, 2);
}

TEST(test_forward_is_that_of_pytorch) { for_each_model_and_kernels(check_forward); }
TEST(test_gradients_and_adam_are_those_of_pytorch) { for_each_model_and_kernels(check_whole_batches); }
TEST(test_micro_batches_are_those_of_pytorch) { for_each_model_and_kernels(check_micro_batches); }

/* A file that Python wrote: the second network's weights, without metadata. */
TEST(test_python_file) {
    const golden_model *golden = &golden_models[1];
    const size_t        rows = (size_t)golden->rows, latent = (size_t)golden->latent;
    const char         *here = __FILE__;
    const size_t        folder = strlen(here) - strlen("test_golden.c");
    vae_config          config = networks[1];
    vae_model          *model = NULL, *other;
    vae_error           error = { VAE_OK, "" };
    vae_data            data = { 0 };
    vae_real           *pixels, *mean;
    char                path[512];
    FILE               *file;
    int                 i;
    CHECK_TEXT(golden->name, "conv_same");
    if (folder > 400) SKIP("the folder of the tests has too long a name");
    memcpy(path, here, folder);
    memcpy(path + folder, "golden/from_python.safetensors", sizeof "golden/from_python.safetensors");
    file = fopen(path, "rb");
    if (!file) SKIP("tests/golden/from_python.safetensors is not where the tests were compiled from");
    fclose(file);
    if (!CHECK(vae_load(path, &config, &model, &error) == VAE_OK)) {
        printf("    %s\n", error.message);
        return;
    }
    other = make(2, VAE_KERNELS_BEST, 16);      /* not the file's network */
    CHECK(vae_load_weights(other, path, &error) == VAE_ERROR_FORMAT);
    vae_destroy(other);
    other = make(1, VAE_KERNELS_BEST, 16);
    memset(vae_parameters(other), 0, vae_parameter_count(other) * sizeof(vae_real));
    CHECK(vae_load_weights(other, path, &error) == VAE_OK);
    for (i = 0; i < golden->tensor_count; i++) {
        const golden_tensor *t = &golden->tensors[i];
        const size_t         count = (size_t)t->count;
        vae_real            *expected = reals(t->values, count), *values = (vae_real *)calloc(count, sizeof *values);
        CHECK(vae_get_tensor(model, t->name, values, count, NULL) == VAE_OK);
        CHECK(!memcmp(values, expected, count * sizeof *values));
        CHECK(vae_get_tensor(other, t->name, values, count, NULL) == VAE_OK);
        CHECK(!memcmp(values, expected, count * sizeof *values));
        free(expected);
        free(values);
    }
    data.pixels = pixels = reals(golden->pixels, rows * vae_example_size(model));
    data.count = rows;
    mean = (vae_real *)malloc(rows * latent * sizeof *mean);
    CHECK(vae_encode(model, &data, mean, NULL, NULL) == VAE_OK);
    check_array(mean, golden->mean, rows * latent, golden->name, "mean of the loaded model");
    free(pixels);
    free(mean);
    vae_destroy(model);
    vae_destroy(other);
}

/* ---- objectives and the classifier, by the public calls and the library's own noise ---- */

#define DENSE .input = { 1, 12, 1 }, .latent = 3, .encoder = { VAE_DENSE_INITIALIZER(7, VAE_TANH) }
#define CONVOLUTION \
    .input = { 4, 3, 2 }, .latent = 2, .likelihood = VAE_GAUSSIAN, .sigma = (vae_real)0.5, \
    .encoder = { VAE_CONV_INITIALIZER(3, 3, 2, VAE_SILU), VAE_DENSE_INITIALIZER(6, VAE_TANH) }
#define CLASSIFIER \
    .classifier = { VAE_DENSE_INITIALIZER(4, VAE_TANH), VAE_DENSE_INITIALIZER(3, VAE_LINEAR) }, \
    .classifier_weight = (vae_real)2.5

/* In the order of objective_models. */
static const vae_config objectives[OBJECTIVE_MODELS] = {
    { DENSE, .samples = 3, .beta = (vae_real)0.5 },
    { DENSE, .objective = VAE_OBJECTIVE_IWAE, .samples = 1 },
    { DENSE, .objective = VAE_OBJECTIVE_IWAE, .samples = 4 },
    { CONVOLUTION, .objective = VAE_OBJECTIVE_IWAE, .samples = 3, .beta = (vae_real)0.5 },
    { DENSE, .free_bits = (vae_real)0.25, .beta = 2 },
    { CONVOLUTION, .free_bits = (vae_real)0.0625, .samples = 2 },
    { DENSE, .capacity = 2, .capacity_schedule = { .kind = VAE_WARMUP, .steps = 4, .from = (vae_real)0.25 },
      .beta = 3 },
    { CONVOLUTION, .objective = VAE_OBJECTIVE_AUTOENCODER },
    { DENSE, CLASSIFIER },
    { CONVOLUTION, CLASSIFIER, .objective = VAE_OBJECTIVE_IWAE, .samples = 3 },
    { DENSE, CLASSIFIER, .objective = VAE_OBJECTIVE_AUTOENCODER }
};

static void check_terms(const vae_terms *terms, const double expected[4], const char *model) {
    check_number(terms->loss, expected[0], model, "loss of a step");
    check_number(terms->reconstruction, expected[1], model, "reconstruction of a step");
    check_number(terms->kl, expected[2], model, "kl of a step");
    check_number(terms->classification, expected[3], model, "classification of a step");
}

static void check_objective(int number, vae_kernels kernels) {
    enum { ROWS = sizeof objective_labels / sizeof *objective_labels, LARGEST = 1024 };
    const objective_model *golden = &objective_models[number];
    vae_config             config = objectives[number];
    vae_real               values[LARGEST], *first, *pixels;
    vae_data               data = { 0 };
    vae_model             *model = NULL;
    vae_terms              terms;
    vae_error              error = { VAE_OK, "" };
    int                    i, step;
    config.kernels = kernels;
    config.threads = 1;
    config.optimizer.learning_rate = (vae_real)0.01;
    if (!CHECK(vae_create(&config, &model, &error) == VAE_OK)) {
        printf("    %s: %s\n", golden->name, error.message);
        return;
    }
    CHECK(vae_tensor_count(model) == (size_t)golden->tensor_count +
          (config.objective == VAE_OBJECTIVE_AUTOENCODER ? 2 : 0));
    for (i = 0; i < golden->tensor_count; i++) {
        const objective_tensor *t = &golden->tensors[i];
        CHECK(t->count <= LARGEST);
        first = reals(t->values, (size_t)t->count);
        CHECK(vae_set_tensor(model, t->name, first, (size_t)t->count, NULL) == VAE_OK);
        free(first);
    }
    data.pixels = pixels = reals(golden->pixels, ROWS * vae_example_size(model));
    data.count = ROWS;
    if (config.classifier[0].kind) data.labels = objective_labels;
    CHECK(vae_accumulate_gradients(model, &data, NULL, &terms, NULL) == VAE_OK);
    check_terms(&terms, golden->terms[0], golden->name);
    for (i = 0; i < golden->tensor_count; i++) {
        const objective_tensor *t = &golden->tensors[i];
        CHECK(vae_get_gradient(model, t->name, values, (size_t)t->count, NULL) == VAE_OK);
        check_array(values, t->gradient, (size_t)t->count, golden->name, t->name);
    }
    vae_clear_gradients(model);
    for (step = 0; step < (int)(sizeof golden->terms / sizeof *golden->terms); step++) {
        CHECK(vae_train_step(model, &data, &terms, NULL) == VAE_OK);
        check_terms(&terms, golden->terms[step], golden->name);
    }
    for (i = 0; i < golden->tensor_count; i++) {
        const objective_tensor *t = &golden->tensors[i];
        CHECK(vae_get_tensor(model, t->name, values, (size_t)t->count, NULL) == VAE_OK);
        check_array(values, t->after, (size_t)t->count, golden->name, t->name);
    }
    free(pixels);
    vae_destroy(model);
}

TEST(test_objectives_are_those_of_pytorch) {
    int number, kernels;
    for (kernels = VAE_KERNELS_PLAIN; kernels <= VAE_KERNELS_NEON; kernels++)
        for (number = 0; number < OBJECTIVE_MODELS && vae_kernels_available((vae_kernels)kernels); number++)
            check_objective(number, (vae_kernels)kernels);
}

/* A file's double is a vae_real's bits with VAE_DOUBLE, and else the nearest float. */
TEST(test_doubles_of_files) {
    const double        numbers[] = { 0.1, -3e-300, 1e300 }, too_large[] = { HUGE_VAL, -HUGE_VAL };
    vae_real            real;
    uint64_t            bits;
    size_t              i;
    for (i = 0; i < 3; i++) {
        const int fits = sizeof real == sizeof(double) || i < 2;
        memcpy(&bits, &numbers[i], sizeof bits);
        CHECK(vaei_decode_double(bits, &real) == fits && (!fits || real == (vae_real)numbers[i]));
    }
    for (i = 0; i < 2; i++) {
        memcpy(&bits, &too_large[i], sizeof bits);
        CHECK(!vaei_decode_double(bits, &real));
    }
}

int main(void) {
    RUN(test_forward_is_that_of_pytorch);
    RUN(test_gradients_and_adam_are_those_of_pytorch);
    RUN(test_micro_batches_are_those_of_pytorch);
    RUN(test_python_file);
    RUN(test_doubles_of_files);
    RUN(test_objectives_are_those_of_pytorch);
    return test_finish();
}
