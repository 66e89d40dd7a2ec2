/* Every public function with every argument wrong in turn: NULL, zero, negative, huge, NaN, infinite. Each call is
   refused with a sentence and leaves the model as it was, or is served; the same call with right arguments then works.
   The same functions inside on_progress, with models that cannot do all, and with an allocator that fails at the n-th
   call, for every n. The table has a row for each function that vae.h declares: this is read from vae.h. */
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include <float.h>
#include <limits.h>
#include "folder.h"
#include "ledger.h"
#include "test.h"

enum { ROWS = 6, SIZE = 8, LATENT = 2, CLASSES = 3, MOST_FILE = 1 << 14 };
static char model_file[64], out_file[64];       /* this process's own: others may run beside it */

static vae_error problem;

/* ---- what the functions are called with ---- */

typedef enum scene { PLAIN, CLASSIFIER, CONDITIONAL, MISSING, UNITS, SCENES } scene;

typedef struct arguments {
    vae_model        *model, *out_model, **to_model;
    vae_config        config, *config_at;
    vae_data          data, *data_at;
    vae_latents       latents, test, *latents_at, *test_at;
    vae_fit_config    fit, *fit_at;
    vae_share         share, *share_at;
    vae_sample_config how, *how_at;
    vae_score_config  score, *score_at;
    vae_probe_config  probe, *probe_at;
    vae_progress      progress, *progress_at;
    vae_real          pixels[ROWS * SIZE], z[ROWS * LATENT], rate;
    double            scores[ROWS * SIZE], fraction, *scores_at;
    union { vae_real reals[ROWS * SIZE]; vae_terms terms[ROWS]; double doubles[ROWS]; } result;
    unsigned char     mask[ROWS * SIZE];
    int               labels[ROWS], number;
    size_t            count, samples, index, element, bytes_size, size_out;
    const char       *name, *path;
    const void       *bytes;
    void             *memory, *out_at, *second_at;
    vae_error        *error;
} arguments;

static unsigned char file[MOST_FILE];           /* a model of PLAIN's */
static size_t        file_size;

static vae_config config_of(scene s) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.input.height = c.input.channels = 1;
    c.input.width = SIZE;
    c.latent = LATENT;
    c.batch = 4;
    c.encoder[0] = VAE_DENSE(5, VAE_TANH);
    if (s == CLASSIFIER) c.classifier[0] = VAE_DENSE(CLASSES, VAE_LINEAR);
    if (s == CONDITIONAL) c.classes = CLASSES;
    if (s == MISSING) c.missing = c.targets = 1;
    if (s == UNITS) {
        c.likelihood = VAE_GAUSSIAN;
        c.standardize = 1;
    }
    return c;
}

/* Right arguments for a model of this scene. */
static void fill_arguments(arguments *a, vae_model *model, scene s) {
    test_random random = { 3 };
    size_t      i;
    memset(a, 0, sizeof *a);
    for (i = 0; i < ROWS * SIZE; i++) a->pixels[i] = (vae_real)test_uniform(&random, 0, 1);
    for (i = 0; i < ROWS * SIZE; i++) a->scores[i] = test_uniform(&random, 0, 9);
    for (i = 0; i < ROWS * LATENT; i++) a->z[i] = (vae_real)test_uniform(&random, -2, 2);
    for (i = 0; i < ROWS * SIZE; i++) a->mask[i] = (unsigned char)(i % 3);
    for (i = 0; i < ROWS; i++) a->labels[i] = (int)i % CLASSES;
    a->model = model;
    a->to_model = &a->out_model;
    a->config = config_of(s);
    a->config_at = &a->config;
    a->data.pixels = a->pixels;
    a->data.count = 4;                          /* config.batch */
    if (s == CONDITIONAL || s == CLASSIFIER) a->data.labels = a->labels;
    if (s == MISSING) a->data.mask = a->mask;
    a->data_at = &a->data;
    a->latents.z = a->test.z = a->z;
    a->latents.count = a->test.count = ROWS;
    if (s == CONDITIONAL) a->latents.labels = a->labels;
    a->latents_at = &a->latents;
    a->test_at = &a->test;
    a->fit.epochs = 1;
    a->fit_at = &a->fit;
    a->share.total = 8;
    a->share_at = &a->share;
    a->how_at = &a->how;
    a->score_at = &a->score;
    a->probe.latent = LATENT;
    a->probe.classes = CLASSES;
    a->probe_at = &a->probe;
    a->progress.event = VAE_EVENT_EPOCH;
    a->progress.model = model;
    a->progress.epochs = a->progress.epoch = a->progress.batches = a->progress.batch = 1;
    a->progress_at = &a->progress;
    a->rate = (vae_real)0.5;
    a->fraction = 0.5;
    a->scores_at = a->scores;
    a->count = ROWS;
    a->samples = 3;
    a->bytes = file;
    a->bytes_size = file_size;
    a->name = "encoder.0.bias";
    a->path = model_file;
    a->out_at = &a->result;
    a->error = &problem;
}

/* ---- the functions ---- */

#define CALL(name, expression) static vae_status call_##name(arguments *a) { return (expression); }
/* Those without a status. */
#define VOID_CALL(name, statement) static vae_status call_##name(arguments *a) { (void)a; statement; return VAE_OK; }

static volatile size_t sink;
static void use(const void *pointer) { sink += pointer != NULL; }
static void count_up(size_t number) { sink += number; }

VOID_CALL(status_name, use(vae_status_name((vae_status)a->number)))
CALL(defaults, vae_defaults(a->config_at, (vae_config *)a->second_at, a->error))
CALL(memory_needed, vae_memory_needed(a->config_at, (size_t *)a->second_at, a->error))
CALL(create, vae_create(a->config_at, a->to_model, a->error))
CALL(create_in, vae_create_in(a->config_at, a->memory, a->size_out, a->to_model, a->error))
CALL(create_view, vae_create_view(a->model, a->config_at, a->to_model, a->error))
VOID_CALL(destroy, vae_destroy(NULL))
VOID_CALL(get_config, vae_get_config(a->model, (vae_config *)a->second_at))
VOID_CALL(get_state, vae_get_state(a->model, (vae_state *)a->second_at))
VOID_CALL(example_size, count_up(vae_example_size(a->model)))
VOID_CALL(latent_size, count_up(vae_latent_size(a->model)))
VOID_CALL(kernels_name, use(vae_kernels_name((vae_kernels)a->number)))
VOID_CALL(kernels_available, count_up((size_t)vae_kernels_available((vae_kernels)a->number)))
VOID_CALL(summary, count_up(vae_summary(a->model, (char *)a->out_at, a->out_at ? sizeof a->result : 0)))
VOID_CALL(print_summary, if (!a->model) vae_print_summary(a->model))            /* else tested in test_guards.c */
CALL(fit, vae_fit(a->model, a->data_at, a->fit_at, a->error))
VOID_CALL(print_progress, if (!a->progress_at) count_up((size_t)vae_print_progress(NULL, a->progress_at)))
CALL(standardize, vae_standardize(a->model, a->data_at, a->error))
CALL(train_step, vae_train_step(a->model, a->data_at, (vae_terms *)a->out_at, a->error))
CALL(set_beta, vae_set_beta(a->model, a->rate, a->error))
CALL(set_learning_rate, vae_set_learning_rate(a->model, a->rate, a->error))
CALL(accumulate_gradients,
     vae_accumulate_gradients(a->model, a->data_at, a->share_at, (vae_terms *)a->out_at, a->error))
CALL(apply_gradients, vae_apply_gradients(a->model, a->error))
CALL(end_step, vae_end_step(a->model, a->error))
VOID_CALL(clear_gradients, vae_clear_gradients(a->model))
VOID_CALL(gradients, use(vae_gradients(a->model)))
CALL(encode, vae_encode(a->model, a->data_at, (vae_real *)a->out_at, (vae_real *)a->second_at, a->error))
CALL(decode, vae_decode(a->model, a->latents_at, (vae_real *)a->out_at, a->error))
CALL(reconstruct, vae_reconstruct(a->model, a->data_at, (vae_real *)a->out_at, a->error))
CALL(sample, vae_sample(a->model, a->count, (vae_real *)a->out_at, a->error))
CALL(sample_latent, vae_sample_latent(a->model, a->count, (vae_real *)a->out_at, a->error))
CALL(sample_with, vae_sample_with(a->model, a->count, a->how_at, (vae_real *)a->out_at, a->error))
CALL(draw, vae_draw(a->model, a->latents_at, (vae_real *)a->out_at, a->error))
CALL(classify, vae_classify(a->model, a->data_at, (vae_real *)a->out_at, a->error))
CALL(elbo, vae_elbo(a->model, a->data_at, (vae_terms *)a->out_at, (vae_terms *)a->second_at, a->error))
CALL(log_likelihood,
     vae_log_likelihood(a->model, a->data_at, a->samples, (double *)a->out_at, (double *)a->second_at, a->error))
VOID_CALL(bits_per_dimension, sink += vae_bits_per_dimension(a->model, a->fraction) > 0)
CALL(impute, vae_impute(a->model, a->data_at, a->samples, (vae_real *)a->out_at, (vae_real *)a->second_at, a->error))
CALL(score, vae_score(a->model, a->data_at, a->score_at, (double *)a->second_at, a->error))
CALL(score_numbers, vae_score_numbers(a->model, a->data_at, a->score_at, (double *)a->second_at, a->error))
CALL(quantile, vae_quantile(a->scores_at, a->count, a->fraction, (double *)a->second_at, a->error))
CALL(latent_statistics,
     vae_latent_statistics(a->model, a->data_at, (vae_dimension *)a->second_at, (size_t *)a->out_at, a->error))
VOID_CALL(probe_memory, count_up(vae_probe_memory(a->probe_at)))
CALL(probe, vae_probe(a->probe_at, a->latents_at, a->test_at, (double *)a->memory, (double *)a->second_at, a->error))
CALL(save, vae_save(a->model, a->path, a->error))
CALL(load, vae_load(a->path, a->config_at, a->to_model, a->error))
CALL(load_weights, vae_load_weights(a->model, a->path, a->error))
CALL(load_matching, vae_load_matching(a->model, a->path, (unsigned char *)a->out_at, a->error))
CALL(save_checkpoint, vae_save_checkpoint(a->model, a->path, a->error))
CALL(save_memory, vae_save_memory(a->model, a->number, a->memory, MOST_FILE, (size_t *)a->second_at, a->error))
CALL(load_memory, vae_load_memory(a->bytes, a->bytes_size, a->config_at, a->to_model, a->error))
CALL(load_weights_memory, vae_load_weights_memory(a->model, a->bytes, a->bytes_size, a->error))
CALL(load_matching_memory,
     vae_load_matching_memory(a->model, a->bytes, a->bytes_size, (unsigned char *)a->out_at, a->error))
VOID_CALL(parameter_count, count_up(vae_parameter_count(a->model)))
VOID_CALL(weight_count, count_up(vae_weight_count(a->model)))
VOID_CALL(parameters, use(vae_parameters(a->model)))
VOID_CALL(weights, use(vae_weights(a->model)))
VOID_CALL(tensor_count, count_up(vae_tensor_count(a->model)))
CALL(tensor_at, vae_tensor_at(a->model, a->index, (vae_tensor *)a->second_at, a->error))
VOID_CALL(tensor_place, count_up(vae_tensor_place(a->model, a->index, a->element)))
CALL(get_tensor, vae_get_tensor(a->model, a->name, (vae_real *)a->out_at, a->element + 5, a->error))
CALL(set_tensor, vae_set_tensor(a->model, a->name, (vae_real *)a->out_at, a->element + 5, a->error))
CALL(get_gradient, vae_get_gradient(a->model, a->name, (vae_real *)a->out_at, a->element + 5, a->error))

/* `spec`: a letter for each argument that is spoiled, see spoil(); in capitals where NULL is allowed. */
enum {
    ALLOCATES = 1,          /* takes memory from the allocator; the others never do */
    IS_BUSY = 2,            /* refused inside on_progress */
    NEEDS_ROWS = 4,         /* a count of 0 is an error */
    EITHER_NULL = 8         /* one of `o` and `p` must be given, or none need be */
};
typedef struct entry {
    const char  *name;
    vae_status (*call)(arguments *a);
    scene        where;
    int          flags;
    const char  *spec;
} entry;
#define ENTRY(name, where, flags, spec) { "vae_" #name, call_##name, where, flags, spec }

static const entry entries[] = {
    ENTRY(status_name, PLAIN, 0, "e"),
    ENTRY(defaults, PLAIN, 0, "cp"),
    ENTRY(memory_needed, PLAIN, 0, "cp"),
    ENTRY(create, PLAIN, ALLOCATES, "cq"),
    ENTRY(create_in, PLAIN, 0, "cqu"),
    ENTRY(create_view, PLAIN, ALLOCATES, "mq"),
    ENTRY(destroy, PLAIN, 0, ""),
    ENTRY(get_config, PLAIN, 0, "MP"),
    ENTRY(get_state, PLAIN, 0, "MP"),
    ENTRY(example_size, PLAIN, 0, "M"),
    ENTRY(latent_size, PLAIN, 0, "M"),
    ENTRY(kernels_name, PLAIN, 0, "e"),
    ENTRY(kernels_available, PLAIN, 0, "e"),
    ENTRY(summary, PLAIN, 0, "MO"),
    ENTRY(print_summary, PLAIN, 0, "M"),
    ENTRY(fit, PLAIN, IS_BUSY | NEEDS_ROWS, "mdG"),
    ENTRY(print_progress, PLAIN, 0, "Z"),
    ENTRY(standardize, UNITS, IS_BUSY | NEEDS_ROWS, "md"),
    ENTRY(train_step, PLAIN, IS_BUSY | NEEDS_ROWS, "mdO"),
    ENTRY(set_beta, PLAIN, 0, "mr"),
    ENTRY(set_learning_rate, PLAIN, 0, "mr"),
    ENTRY(accumulate_gradients, PLAIN, IS_BUSY, "mdAO"),
    ENTRY(apply_gradients, PLAIN, IS_BUSY, "m"),
    ENTRY(end_step, PLAIN, IS_BUSY, "m"),
    ENTRY(clear_gradients, PLAIN, 0, "M"),
    ENTRY(gradients, PLAIN, 0, "M"),
    ENTRY(encode, PLAIN, 0, "mdOP"),
    ENTRY(decode, CONDITIONAL, 0, "mlo"),
    ENTRY(reconstruct, CONDITIONAL, 0, "mdo"),
    ENTRY(sample, PLAIN, 0, "mjo"),
    ENTRY(sample_latent, PLAIN, 0, "mjo"),
    ENTRY(sample_with, CONDITIONAL, 0, "mjHo"),
    ENTRY(draw, PLAIN, 0, "mlo"),
    ENTRY(classify, CLASSIFIER, 0, "mdo"),
    ENTRY(elbo, PLAIN, NEEDS_ROWS, "mdOP"),
    ENTRY(log_likelihood, PLAIN, NEEDS_ROWS, "mdkOP"),
    ENTRY(bits_per_dimension, PLAIN, 0, "M"),
    ENTRY(impute, MISSING, 0, "mdkoP"),
    ENTRY(score, PLAIN, 0, "mdWp"),
    ENTRY(score_numbers, PLAIN, 0, "mdWp"),
    ENTRY(quantile, PLAIN, 0, "yp"),
    ENTRY(latent_statistics, PLAIN, NEEDS_ROWS, "mdpO"),
    ENTRY(probe_memory, PLAIN, 0, "X"),
    ENTRY(probe, CLASSIFIER, 0, "xltup"),
    ENTRY(save, PLAIN, ALLOCATES, "mf"),
    ENTRY(load, PLAIN, ALLOCATES, "CFq"),
    ENTRY(load_weights, PLAIN, ALLOCATES | IS_BUSY, "mF"),
    ENTRY(load_matching, PLAIN, ALLOCATES | IS_BUSY, "mFO"),
    ENTRY(save_checkpoint, PLAIN, ALLOCATES, "mf"),
    ENTRY(save_memory, PLAIN, 0, "mUp"),
    ENTRY(load_memory, PLAIN, ALLOCATES, "Cbq"),
    ENTRY(load_weights_memory, PLAIN, IS_BUSY, "mb"),
    ENTRY(load_matching_memory, PLAIN, IS_BUSY, "mbO"),
    ENTRY(parameter_count, PLAIN, 0, "M"),
    ENTRY(weight_count, PLAIN, 0, "M"),
    ENTRY(parameters, PLAIN, 0, "M"),
    ENTRY(weights, PLAIN, 0, "M"),
    ENTRY(tensor_count, PLAIN, 0, "M"),
    ENTRY(tensor_at, PLAIN, 0, "mip"),
    ENTRY(tensor_place, PLAIN, 0, "MI"),
    ENTRY(get_tensor, PLAIN, 0, "mno"),
    ENTRY(set_tensor, PLAIN, IS_BUSY, "mnov"),
    ENTRY(get_gradient, PLAIN, 0, "mno")
};
enum { ENTRIES = (int)(sizeof entries / sizeof *entries) };

/* ---- wrong arguments ---- */

typedef enum outcome { NO_MORE, REFUSED, SERVED, ANY } outcome;

static vae_real not_a_number(void) { return (vae_real)vaei_bits_wide(VAEI_WIDE_NAN); }
static vae_real infinite(int sign) {
    return (vae_real)vaei_bits_wide(VAEI_WIDE_INFINITY | (sign < 0 ? VAEI_WIDE_SIGN : 0));
}

/* Numbers that are in no setting's range, but for the last two, which are in some. */
static int bad_real(int variant, vae_real *real) {
    const vae_real numbers[] = { not_a_number(), infinite(1), infinite(-1), -1, (vae_real)-FLT_MAX, (vae_real)FLT_MAX,
                                 (vae_real)1e-38 };
    if (variant >= (int)(sizeof numbers / sizeof *numbers)) return 0;
    *real = numbers[variant];
    return 1;
}
static int bad_int(int variant, int *number) {
    static const int numbers[] = { -1, INT_MIN, INT_MAX, -1000000, 1 << 30 };
    if (variant >= (int)(sizeof numbers / sizeof *numbers)) return 0;
    *number = numbers[variant];
    return 1;
}

/* Each field of a config in turn; its `each` bad values one after the other. */
static outcome spoil_config(vae_config *c, int variant) {
    vae_real *const reals[] = { &c->sigma, &c->beta, &c->optimizer.learning_rate, &c->optimizer.beta1,
                                &c->optimizer.beta2,
        &c->optimizer.epsilon, &c->optimizer.weight_decay, &c->optimizer.clip_norm, &c->free_bits,
        &c->capacity, &c->classifier_weight, &c->corruption.amount, &c->encoder[0].dropout, &c->beta_schedule.from,
        &c->optimizer.schedule.to, &c->optimizer.momentum };
    int *const ints[] = { &c->input.height, &c->input.width, &c->input.channels, &c->latent, &c->encoder[0].shape.width,
        &c->encoder[0].shape.channels, &c->threads, &c->classes };
    size_t *const sizes[] = { &c->batch, &c->samples };
    const int  real_count = (int)(sizeof reals / sizeof *reals), int_count = (int)(sizeof ints / sizeof *ints);
    vae_real   real;
    int        number;
    if (variant < real_count * 5) {             /* the first five are in no range */
        bad_real(variant % 5, &real);
        *reals[variant / 5] = real;
        return REFUSED;
    }
    variant -= real_count * 5;
    if (variant < int_count * 5) {
        bad_int(variant % 5, &number);
        *ints[variant / 5] = number;
        return REFUSED;
    }
    variant -= int_count * 5;
    if (variant < 2) {
        *sizes[variant] = (size_t)-1;
        return REFUSED;
    }
    variant -= 2;
    switch (variant) {
#define ENUM_CASE(number, field, type) case number: c->field = (type)77; return REFUSED
    ENUM_CASE(0, likelihood, vae_likelihood); ENUM_CASE(1, objective, vae_objective);
    ENUM_CASE(2, initialization, vae_initialization); ENUM_CASE(3, layout, vae_layout);
    ENUM_CASE(4, kernels, vae_kernels); ENUM_CASE(5, part, vae_part); ENUM_CASE(6, freeze, vae_freeze);
    ENUM_CASE(7, optimizer.kind, vae_optimizer_kind); ENUM_CASE(8, beta_schedule.kind, vae_schedule_kind);
    ENUM_CASE(9, corruption.kind, vae_corruption_kind); ENUM_CASE(10, encoder[0].kind, vae_layer_kind);
    ENUM_CASE(11, encoder[0].activation, vae_activation); ENUM_CASE(12, optimizer.schedule.kind, vae_schedule_kind);
    ENUM_CASE(13, encoder[0].padding, vae_padding); ENUM_CASE(14, capacity_schedule.kind, vae_schedule_kind);
    case 15: c->allocator.release = NULL; c->allocator.allocate = ledger_allocate; return REFUSED;
    case 16: c->encoder[0].kind = VAE_LAYER_END; return REFUSED;
    case 17: c->encoder[2] = c->encoder[0]; return REFUSED;                /* a gap */
    case 18: c->decoder[0] = VAE_DENSE(SIZE + 1, VAE_LINEAR); return REFUSED;
    case 19: c->encoder[0] = VAE_CONV(1 << 30, 1 << 30, 1 << 30, VAE_RELU); return REFUSED;
    case 20: c->encoder[0] = VAE_CONV(2, 3, 0, VAE_RELU); return REFUSED;
    case 21: c->encoder[0] = VAE_CONV(2, -3, 1, VAE_RELU); return REFUSED;
    case 22: c->encoder[0] = VAE_CONV_SYMMETRIC(2, 3, 1, -1, VAE_RELU); return REFUSED;
    case 23: c->encoder[0] = VAE_CONV_TRANSPOSED_SYMMETRIC(2, 3, 1, INT_MAX, 1, VAE_RELU); return REFUSED;
    case 24: c->encoder[0] = VAE_CONV_TRANSPOSED_SYMMETRIC(2, 3, 1, 1, -1, VAE_RELU); return REFUSED;
    default: return NO_MORE;
    }
}

static outcome spoil_data(arguments *a, int variant, const entry *e) {
    const scene s = e->where;
    vae_real    real;
    switch (variant) {
    case 0: a->data_at = NULL; return REFUSED;
    case 1: a->data.pixels = NULL; return REFUSED;
    case 2: a->data.bytes = a->mask; return REFUSED;
    case 3: a->data.count = 0; return e->flags & NEEDS_ROWS ? REFUSED : SERVED;
    case 4: a->data.count = (size_t)-1; return REFUSED;
    case 5: a->data.count = (size_t)-1 / SIZE + 2; return REFUSED;         /* rows x numbers wraps to a few */
    case 6: a->data.count = (size_t)-1 / SIZE / sizeof(vae_real) + 2; return REFUSED;
    case 7: a->data.pixels = NULL; a->data.bytes = a->mask; a->data.count = (size_t)-1; return REFUSED;
    case 8: a->labels[2] = CLASSES; return a->data.labels ? REFUSED : SERVED;
    case 9: a->labels[0] = INT_MIN; return a->data.labels ? REFUSED : SERVED;
    case 10:
        a->data.labels = s == CLASSIFIER || s == CONDITIONAL ? NULL : a->labels;
        return s == CLASSIFIER ? SERVED : REFUSED;
    case 11: a->data.targets = a->pixels; return s == MISSING ? SERVED : REFUSED;
    case 12: a->data.mask = a->mask; return s == MISSING ? SERVED : REFUSED;
    default:
        if (!bad_real(variant - 13, &real)) return NO_MORE;
        a->pixels[3 * SIZE + 5] = real;
        if (s == MISSING) a->mask[3 * SIZE + 5] = 1;
        if (s == UNITS && vaei_finite(real)) return ANY;
        return (s == MISSING && vaei_is_nan(real)) || real == (vae_real)1e-38 ? SERVED : REFUSED;
    }
}

static outcome spoil_latents(vae_latents *l, vae_latents **at, arguments *a, int variant, int labelled) {
    vae_real real;
    switch (variant) {
    case 0: *at = NULL; return REFUSED;
    case 1: l->z = NULL; return REFUSED;
    case 2: l->count = (size_t)-1; return REFUSED;
    case 3: l->count = (size_t)-1 / LATENT / sizeof(vae_real) + 2; return REFUSED;
    case 4: l->labels = l->labels ? NULL : a->labels; return labelled < 0 ? ANY : REFUSED;
    case 5: a->labels[1] = CLASSES; return l->labels ? REFUSED : ANY;
    case 6: a->labels[1] = -1; return l->labels ? REFUSED : ANY;
    default:
        if (!bad_real(variant - 7, &real)) return NO_MORE;
        a->z[3] = real;
        return vaei_finite(real) ? ANY : REFUSED;
    }
}

static outcome spoil_fit(arguments *a, int variant) {
    static vae_data nothing;
    switch (variant) {
    case 0: a->fit.epochs = 0; return REFUSED;
    case 1: a->fit.until_epoch = 3; return REFUSED;
    case 2: a->fit.batch = (size_t)-1; return REFUSED;
    case 3: a->fit.validation = &nothing; return REFUSED;
    case 4: a->fit.patience = 2; return REFUSED;            /* without validation data */
    case 5: a->fit.plateau_epochs = 1; return REFUSED;
    case 6: case 7: case 8: case 9: case 10: case 11:
        a->fit.validation = &a->data;
        a->fit.plateau_epochs = 1;
        bad_real(variant - 6, &a->fit.plateau_factor);
        return REFUSED;
    default: return NO_MORE;
    }
}

static outcome spoil(char letter, int variant, arguments *a, const entry *e) {
    static char   long_text[6000];
    const char    small = (char)(letter | 32);
    const outcome if_null = small == letter ? REFUSED : SERVED;
    switch (small) {
    case 'm': a->model = NULL; return variant ? NO_MORE : if_null;
    case 'c':
        if (variant == 0) a->config_at = NULL;
        return variant == 0 ? if_null : small != letter ? NO_MORE
             : e->call == call_defaults && variant == 141 ? ANY     /* which looks at settings alone */
                                                          : spoil_config(&a->config, variant - 1);
    case 'd': return spoil_data(a, variant, e);
    case 'l': return spoil_latents(&a->latents, &a->latents_at, a, variant, e->call == call_probe ? -1 : 0);
    case 't': return spoil_latents(&a->test, &a->test_at, a, variant, -1);
    case 'o': a->out_at = NULL; return variant ? NO_MORE : if_null;
    case 'p': a->second_at = NULL; return variant ? NO_MORE : if_null;
    case 'q': a->to_model = NULL; return variant ? NO_MORE : REFUSED;
    case 'u': a->memory = NULL; return variant ? NO_MORE : small == letter ? REFUSED : ANY;
    case 'r': return bad_real(variant, &a->rate) ? variant < 6 ? REFUSED : SERVED : NO_MORE;
    case 'e': return bad_int(variant, &a->number) ? SERVED : NO_MORE;
    case 'g':
        if (variant == 0) a->fit_at = NULL;
        return variant == 0 ? SERVED : spoil_fit(a, variant - 1);
    case 'a':
        if (variant == 0) a->share_at = NULL;
        if (variant == 1) a->share.total = 0;
        if (variant == 2) a->share.first = 5;               /* 5 + 4 of 8 */
        if (variant == 3) a->share.first = (size_t)-1;
        return variant == 0 ? SERVED : variant < 4 ? REFUSED : NO_MORE;
    case 'j':
        a->count = variant == 0 ? 0
                   : (size_t)-1 / (variant == 1 ? 1 : LATENT * sizeof(vae_real)) + (variant > 1 ? 2 : 0);
        return variant == 0 ? SERVED : variant < 3 ? REFUSED : NO_MORE;
    case 'k': a->samples = 0; return variant ? NO_MORE : REFUSED;
    case 'h':
        if (variant == 0) a->how_at = NULL;
        if (variant == 1) a->how.kind = (vae_sample_kind)99;
        if (variant == 2 || variant == 3) a->how.labels = a->labels;
        if (variant == 3) a->labels[2] = -1;
        return variant == 0 || variant == 2 ? SERVED : variant < 4 ? REFUSED : NO_MORE;
    case 'w':
        if (variant == 0) a->score_at = NULL;
        if (variant == 1) a->score.kind = (vae_score_kind)99;
        if (variant == 2) a->score.samples = 7;             /* of another kind */
        return variant == 0 ? SERVED : variant < 3 ? REFUSED : NO_MORE;
    case 'x':
        if (variant == 0) a->probe_at = NULL;
        if (variant == 1) a->probe.latent = 0;
        if (variant == 2) a->probe.classes = 0;
        if (variant == 3) a->probe.classes = 1;
        if (variant == 4) a->probe.latent = (size_t)-1;
        if (variant == 5) a->probe.classes = (size_t)-1;
        if (variant == 6) a->probe.latent = a->probe.classes = (size_t)1 << (4 * sizeof(size_t));
        return variant < 7 ? if_null : NO_MORE;
    case 'y':
        if (variant == 0) a->scores_at = NULL;
        if (variant == 1) a->count = 0;
        if (variant == 2) a->count = (size_t)-1;
        if (variant == 3) a->scores[2] = vaei_bits_wide(VAEI_WIDE_NAN);
        if (variant == 4) a->fraction = vaei_bits_wide(VAEI_WIDE_NAN);
        if (variant == 5) a->fraction = 1;
        if (variant == 6) a->fraction = -0.5;
        if (variant == 7) a->fraction = vaei_bits_wide(VAEI_WIDE_INFINITY);
        return variant < 8 ? REFUSED : NO_MORE;
    case 'f':
        memset(long_text, 'x', sizeof long_text - 1);
        a->path = variant == 0 ? NULL : variant == 1 ? "" : variant == 2 ? long_text
                  : variant == 3 ? "." : "no/such\n\033[31m/file";
        return variant < 5 ? REFUSED : NO_MORE;
    case 'n':
        memset(long_text, 'x', sizeof long_text - 1);
        a->name = variant == 0 ? NULL : variant == 1 ? "" : variant == 2 ? long_text : variant == 3 ? "%s%n%d"
                : variant == 4 ? "encoder.\033[31m.bias\a\r" : variant == 5 ? "encoder.0.weight" : a->name;
        if (variant == 6) a->element = (size_t)-5;          /* a count of 0 */
        if (variant == 7) a->element = (size_t)-6;
        return variant < 8 ? REFUSED : NO_MORE;
    case 'v': return bad_real(variant, &a->result.reals[2]) && variant < 3 ? REFUSED : NO_MORE;
    case 'b':
        if (variant == 0) a->bytes = NULL;
        if (variant > 0)
            a->bytes_size = variant == 1 ? 0 : variant == 2 ? 1 : variant == 3 ? file_size - 1 : file_size / 2;
        return variant < 5 ? REFUSED : NO_MORE;
    case 'i':
        a->index = variant == 0 ? 10 : variant == 1 ? (size_t)-1 : 0;
        if (variant == 2) a->element = (size_t)-1;
        return variant < 2 ? if_null : variant == 2 ? ANY : NO_MORE;
    default:
        a->progress_at = NULL;
        return variant ? NO_MORE : SERVED;
    }
}

/* ---- one call ---- */

typedef struct snapshot { size_t size; vae_state state; unsigned char bytes[MOST_FILE]; } snapshot;

static void take_snapshot(const vae_model *model, snapshot *s) {
    memset(s, 0, sizeof *s);
    vae_get_state(model, &s->state);
    if (vae_save_memory(model, 1, s->bytes, MOST_FILE, &s->size, NULL) != VAE_OK)
        vae_save_memory(model, 0, s->bytes, MOST_FILE, &s->size, NULL);
}

static int is_same_model(const vae_model *model, const snapshot *before) {
    static snapshot now;
    take_snapshot(model, &now);
    return now.size == before->size && !memcmp(now.bytes, before->bytes, now.size) &&
           !memcmp(&now.state, &before->state, sizeof now.state);
}

static int is_plain_text(const char *text) {
    size_t i;
    for (i = 0; text[i]; i++) if ((unsigned char)text[i] < 32 || text[i] == 127) return 0;
    return i > 10 && i < sizeof problem.message;
}

/* The call has ended as it may; its sentence is one. */
static int check_outcome(const entry *e, vae_status status, outcome wanted, char letter, int variant) {
    int good = (int)status >= VAE_OK && status <= VAE_ERROR_BUSY;
    if (wanted == REFUSED) good = good && status >= VAE_ERROR_ARGUMENT;
    if (wanted == SERVED) good = good && status == VAE_OK;
    if (status == VAE_OK) good = good && problem.status == VAE_STOPPED && !problem.message[0];
    else good = good && problem.status == status && is_plain_text(problem.message);
    if (!CHECK(good))
        printf("    %s, argument %c, variant %d: %s: %s\n", e->name, letter, variant, vae_status_name(status),
               problem.message);
    return good;
}

static void clear_error(void) {
    problem.status = VAE_STOPPED;           /* VAE_OK leaves it alone */
    problem.message[0] = 0;
}

typedef struct stage { vae_model *model; ledger l; vae_allocator allocator; void *memory; size_t size; } stage;

static void stage_open(stage *st, scene s) {
    vae_config config = config_of(s);
    st->allocator = ledger_allocator(&st->l);
    config.allocator = st->allocator;
    st->model = NULL;
    if (!CHECK(vae_create(&config, &st->model, &problem) == VAE_OK)) {
        puts(problem.message);
        exit(1);
    }
    st->size = (size_t)1 << 20;
    st->memory = malloc(st->size);
}

static void stage_close(stage *st) {
    vae_destroy(st->model);
    CHECK(st->l.live == 0 && !st->l.mismatched);
    free(st->memory);
}

static void prepare(arguments *a, stage *st, const entry *e) {
    fill_arguments(a, st->model, e->where);
    a->config.allocator = st->allocator;
    a->memory = st->memory;
    a->size_out = st->size;
    a->second_at = (char *)st->memory + st->size / 2;      /* room for whatever is written there */
    if (e->call == call_save || e->call == call_save_checkpoint) a->path = out_file;
    if (e->call == call_probe) a->latents.labels = a->test.labels = a->labels;
    clear_error();
}

/* The call with right arguments; what it made is released. */
static vae_status call_rightly(const entry *e, arguments *a, stage *st) {
    vae_status status;
    prepare(a, st, e);
    status = e->call(a);
    if (a->out_model && status == VAE_OK) vae_destroy(a->out_model);
    return status;
}

static void check_entry(const entry *e) {
    static arguments a;
    static snapshot  before;
    stage            st;
    const char      *letter;
    int              variant;
    outcome          wanted;
    stage_open(&st, e->where);
    if (!CHECK(call_rightly(e, &a, &st) == VAE_OK)) printf("    %s: %s\n", e->name, problem.message);
    for (letter = e->spec; *letter; letter++)
        for (variant = 0;; variant++) {
            vae_status status;
            size_t     live = st.l.live;
            if (e->call == call_standardize) {              /* only before the first step */
                stage_close(&st);
                stage_open(&st, e->where);
                live = st.l.live;
            }
            prepare(&a, &st, e);
            if ((wanted = spoil(*letter, variant, &a, e)) == NO_MORE) break;
            take_snapshot(st.model, &before);
            status = e->call(&a);
            check_outcome(e, status, wanted, *letter, variant);
            if (status == VAE_OK) vae_destroy(a.out_model);
            else {
                if (!CHECK(!a.out_model && is_same_model(st.model, &before)))
                    printf("    %s, argument %c, variant %d changed the model\n", e->name, *letter, variant);
                a.error = NULL;
                CHECK(e->call(&a) == status && is_same_model(st.model, &before));
            }
            CHECK(st.l.live == live);
            if (!CHECK(call_rightly(e, &a, &st) == VAE_OK))
                printf("    %s after argument %c, variant %d: %s\n", e->name, *letter, variant, problem.message);
        }
    stage_close(&st);
}

TEST(test_every_argument) {
    int i;
    for (i = 0; i < ENTRIES; i++) check_entry(&entries[i]);
}

/* ---- memory that runs out ---- */

TEST(test_every_allocation_fails) {
    static arguments a;
    static snapshot  before;
    int              i, failures = 0;
    for (i = 0; i < ENTRIES; i++) {
        const entry *e = &entries[i];
        size_t       n, live;
        vae_status   status = VAE_ERROR_MEMORY;
        stage        st;
        stage_open(&st, e->where);
        live = st.l.live;
        for (n = 1; n < 20; n++) {
            prepare(&a, &st, e);
            take_snapshot(st.model, &before);
            st.l.calls = 0;
            st.l.fail_at = n;
            status = e->call(&a);
            st.l.fail_at = 0;
            if (st.l.calls < n) break;
            failures++;
            CHECK(status == VAE_ERROR_MEMORY && problem.status == status && is_plain_text(problem.message));
            if (!CHECK(!a.out_model && st.l.live == live && is_same_model(st.model, &before)))
                printf("    %s\n", e->name);
            if (!CHECK(call_rightly(e, &a, &st) == VAE_OK)) printf("    %s: %s\n", e->name, problem.message);
            CHECK(st.l.live == live);
        }
        if (!CHECK(status == VAE_OK && (e->flags & ALLOCATES ? n > 1 : n == 1)))
            printf("    %s allocates %d times\n", e->name, (int)n - 1);
        vae_destroy(a.out_model);
        CHECK(st.l.live == live);
        stage_close(&st);
    }
    printf("  %d allocations failed\n", failures);
    CHECK(failures >= 14);
}

/* ---- inside on_progress ---- */

typedef struct nested { const entry *e; stage *st; arguments a; vae_status status; int calls; } nested;

static int call_inside(void *user, const vae_progress *progress) {
    nested *n = (nested *)user;
    (void)progress;
    if (n->calls++) return 0;
    prepare(&n->a, n->st, n->e);
    n->status = n->e->call(&n->a);
    if (n->status == VAE_OK) vae_destroy(n->a.out_model);
    return 0;
}

TEST(test_inside_on_progress) {
    static nested n;
    arguments     a;
    int           i;
    for (i = 0; i < ENTRIES; i++) {
        stage      st;
        vae_status status;
        memset(&n, 0, sizeof n);
        n.e = &entries[i];
        n.st = &st;
        stage_open(&st, n.e->where);
        fill_arguments(&a, st.model, n.e->where);
        a.fit.on_progress = call_inside;
        a.fit.user = &n;
        status = vae_fit(st.model, &a.data, &a.fit, NULL);
        if (!CHECK(status == VAE_OK && n.calls > 1 && n.status == (n.e->flags & IS_BUSY ? VAE_ERROR_BUSY : VAE_OK)))
            printf("    %s: %s: %s\n", n.e->name, vae_status_name(n.status), problem.message);
        if (n.e->flags & IS_BUSY) CHECK(problem.status == VAE_ERROR_BUSY && is_plain_text(problem.message));
        stage_close(&st);
    }
}

/* ---- models that cannot do all ---- */

enum { OF_A_VIEW, INFERENCE_ONLY, ENCODER_ONLY, DECODER_ONLY, AUTOENCODER, OF_CONSTANT_WEIGHTS, KINDS };

TEST(test_models_that_cannot_do_all) {
    static arguments a;
    static snapshot  before;
    int              i, kind, refused[KINDS] = { 0 };
    for (i = 0; i < ENTRIES; i++)
        for (kind = 0; kind < KINDS; kind++) {
            const entry *e = &entries[i];
            vae_config   config = config_of(e->where);
            vae_model   *model = NULL;
            vae_status   status;
            stage        st;
            stage_open(&st, e->where);
            if (kind == INFERENCE_ONLY) config.inference_only = 1;
            if (kind == ENCODER_ONLY) config.part = VAE_ENCODER_ONLY;
            if (kind == DECODER_ONLY) config.part = VAE_DECODER_ONLY;
            if (kind == AUTOENCODER) config.objective = VAE_OBJECTIVE_AUTOENCODER;
            if (kind == OF_CONSTANT_WEIGHTS) config.weights = vae_weights(st.model);
            status = kind == OF_A_VIEW ? vae_create_view(st.model, NULL, &model, &problem)
                     : vae_create(&config, &model, &problem);
            if (status == VAE_OK) {
                prepare(&a, &st, e);
                a.model = a.progress.model = model;
                take_snapshot(model, &before);
                status = e->call(&a);
                check_outcome(e, status, ANY, '-', kind);
                if (status == VAE_OK) vae_destroy(a.out_model);
                else CHECK(is_same_model(model, &before));
                refused[kind] += status != VAE_OK;
                vae_destroy(model);
            } else CHECK(e->where == CLASSIFIER || e->where == UNITS || e->where == MISSING || e->where == CONDITIONAL);
            stage_close(&st);
        }
    for (kind = 0; kind < KINDS; kind++) CHECK(refused[kind] >= (kind == AUTOENCODER ? 2 : 5));
}

/* ---- arrays that are given twice ---- */

TEST(test_results_over_their_data) {
    static arguments a;
    vae_real         apart[ROWS * SIZE], both[ROWS * LATENT];
    stage            st;
    size_t           i, element;
    stage_open(&st, PLAIN);
    fill_arguments(&a, st.model, PLAIN);
    a.data.count = ROWS;                                    /* more than a batch */
    CHECK(vae_reconstruct(st.model, &a.data, apart, &problem) == VAE_OK);
    CHECK(vae_reconstruct(st.model, &a.data, a.pixels, &problem) == VAE_OK);
    CHECK(!memcmp(apart, a.pixels, sizeof apart));
    fill_arguments(&a, st.model, PLAIN);
    a.data.count = ROWS;
    CHECK(vae_encode(st.model, &a.data, apart, NULL, &problem) == VAE_OK);
    CHECK(vae_encode(st.model, &a.data, a.pixels, both, &problem) == VAE_OK);
    CHECK(!memcmp(apart, a.pixels, ROWS * LATENT * sizeof *apart));
    fill_arguments(&a, st.model, PLAIN);
    /* one of the two remains */
    CHECK(vae_encode(st.model, &a.data, a.result.reals, a.result.reals, &problem) == VAE_OK);
    CHECK(vae_defaults(&a.config, &a.config, &problem) == VAE_OK);
    element = vae_tensor_place(st.model, 1, 0);
    for (i = 0; i < 5; i++) apart[i] = vae_weights(st.model)[element + i];
    CHECK(vae_set_tensor(st.model, "encoder.0.bias", vae_weights(st.model) + element, 5, &problem) == VAE_OK);
    CHECK(!memcmp(apart, vae_weights(st.model) + element, 5 * sizeof *apart));
    stage_close(&st);
}

/* ---- the table has all functions ---- */

static int is_listed(const char *name) {
    int i, count = 0;
    for (i = 0; i < ENTRIES; i++) count += !strcmp(entries[i].name, name);
    return count;
}

static FILE *open_header(void) {
    static const char *const places[] = { "vae.h", "../vae.h", "../../vae.h" };
    char   path[sizeof __FILE__ + 16];
    char  *slash;
    FILE  *header = NULL;
    size_t i;
    for (i = 0; i < 3 && !header; i++) header = fopen(places[i], "r");
    strcpy(path, __FILE__);
    if (header || !(slash = strrchr(path, '/'))) return header;
    strcpy(slash, "/../vae.h");
    return fopen(path, "r");
}

TEST(test_every_function_has_a_row) {
    FILE *header = open_header();
    char  line[512];
    int   count = 0;
    if (!header) SKIP("vae.h is not beside the tests");
    while (fgets(line, sizeof line, header) && !strstr(line, "defined(VAE_IMPLEMENTATION)")) {
        char  name[64];
        char *bracket = strchr(line, '('), *from;
        if (strncmp(line, "VAE_API ", 8) || !bracket) continue;
        for (from = bracket; from > line && (from[-1] == '_' || (from[-1] >= 'a' && from[-1] <= 'z')); from--) {}
        sprintf(name, "%.*s", (int)(bracket - from < 63 ? bracket - from : 63), from);
        count++;
        if (!CHECK(is_listed(name) == 1))
            printf("    %s has %d rows in the table of tests/test_arguments.c\n", name, is_listed(name));
    }
    fclose(header);
    CHECK(count == ENTRIES);
}

int main(void) {
    vae_config config = config_of(PLAIN);
    vae_model *model = NULL;
    sprintf(model_file, "test_arguments.%ld.safetensors", process_number());
    sprintf(out_file, "test_arguments.%ld.out", process_number());
    CHECK(vae_create(&config, &model, &problem) == VAE_OK);
    CHECK(vae_save_memory(model, 1, file, MOST_FILE, &file_size, &problem) == VAE_OK);
    CHECK(vae_save_checkpoint(model, model_file, &problem) == VAE_OK);
    vae_destroy(model);
    RUN(test_every_function_has_a_row);
    RUN(test_every_argument);
    RUN(test_every_allocation_fails);
    RUN(test_inside_on_progress);
    RUN(test_models_that_cannot_do_all);
    RUN(test_results_over_their_data);
    remove(model_file);
    remove(out_file);
    return test_finish();
}
