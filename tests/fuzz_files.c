/* Fuzz targets: model files from strangers. Each must end with an error or a usable model, take memory in proportion to
   the file and to what was asked for, give all of it back and leave a model that was there before as it was.
       memory       vae_load_memory, with configs that ask for this or that
       weights      vae_load_weights_memory and vae_load_matching_memory into models that exist
       checkpoint   vae_load_memory, a training step, a checkpoint of it, and that one loaded; the same after vae_fit
       path         the same calls with a file on a disk
   The first byte of an input says which network meets it and how; the rest is the file. tests/fuzz.h says how to build
   and run them. */
#include "fuzz.h"
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "fuzz_json.h"

/* Blocks above MOST_MEMORY are refused, whoever asks; what was asked for is checked all the same. */
enum { NETWORKS = 12, MOST_MEMORY = 4 << 20, MOST_MODEL = 1 << 18, MOST_NUMBERS = 4096, MOST_FILE = 1 << 18 };

/* ---- the networks: every kind of layer, likelihood, optimiser and setting that a file can hold ---- */

static vae_config network_of(int which) {
    static const vae_layer layers[4][2] = {
        { VAE_DENSE_INITIALIZER(2, VAE_RELU), VAE_DENSE_INITIALIZER(3, VAE_TANH) },
        { VAE_CONV_INITIALIZER(2, 3, 2, VAE_SILU), VAE_DENSE_INITIALIZER(3, VAE_RELU) },
        { VAE_CONV_SYMMETRIC_INITIALIZER(2, 3, 2, 1, VAE_LEAKY_RELU),
          VAE_CONV_SYMMETRIC_INITIALIZER(3, 2, 1, 0, VAE_GELU) },
        { VAE_CONV_1D_INITIALIZER(2, 3, 2, VAE_SOFTPLUS), VAE_DENSE_INITIALIZER(2, VAE_SIGMOID) }
    };
    static const vae_shape inputs[4] = { { 1, 3, 1 }, { 5, 4, 2 }, { 6, 5, 1 }, { 1, 9, 1 } };
    const int              kind = which % 4;
    vae_config             c;
    memset(&c, 0, sizeof c);
    c.input = inputs[kind];
    c.latent = 1 + which % 2;
    memcpy(c.encoder, layers[kind], sizeof layers[kind]);
    c.likelihood = which % 2 ? VAE_GAUSSIAN : VAE_BERNOULLI;
    c.batch = 4;
    c.threads = 1;
    switch (which) {
    case 4: c.tied = 1; c.optimizer.kind = VAE_SGD; c.keep_best = 1; c.binarize = 1; break;
    case 5:
        c.standardize = c.missing = c.sigma_per_pixel = 1;
        c.optimizer.kind = VAE_ADADELTA;
        c.corruption.kind = VAE_CORRUPTION_GAUSSIAN;
        c.corruption.amount = (vae_real)0.25;
        break;
    case 6:
        c.encoder[0].batch_norm = 1;
        c.encoder[1].dropout = (vae_real)0.25;
        c.likelihood = VAE_CONTINUOUS_BERNOULLI;
        break;
    case 7:
        c.classes = 3;
        c.objective = VAE_OBJECTIVE_IWAE;
        c.samples = 2;
        c.targets = 1;
        c.likelihood = VAE_LAPLACE;
        break;
    case 8:
        c.classifier[0] = VAE_DENSE(3, VAE_LINEAR);
        c.shared_heads = 1;
        c.free_bits = (vae_real)0.125;
        c.optimizer.kind = VAE_RMSPROP;
        c.optimizer.schedule.kind = VAE_COSINE;
        c.optimizer.schedule.steps = 9;
        break;
    case 9: c.likelihood = VAE_GAUSSIAN_PREDICTED; c.beta_schedule.kind = VAE_WARMUP; c.beta_schedule.steps = 5; break;
    case 10:
        c.likelihood = VAE_DISCRETIZED_LOGISTIC;
        c.capacity = 2;
        c.decoder[0] = VAE_DENSE_SHAPED(3, 3, 2, VAE_RELU);
        c.decoder[1] = VAE_CONV_TRANSPOSED_SYMMETRIC(2, 2, 2, 0, 0, VAE_LINEAR);
        c.decoder[1].output_padding_height = 0;
        c.decoder[1].right = 1;
        c.optimizer.kind = VAE_ADAMW;
        break;
    case 11: c.objective = VAE_OBJECTIVE_AUTOENCODER; c.sigma = (vae_real)0.5; c.freeze = VAE_FREEZE_ENCODER; break;
    default: break;
    }
    return c;
}

static const unsigned char some_row[64] = { 255, 0, 128, 7, 1, 99, 200, 31, 64 };
static const int           some_labels[2] = { 1, 0 };

/* A row or two of pixels that any of these models can take. */
static vae_data rows_for(const vae_model *model, size_t count) {
    static unsigned char bytes[MOST_NUMBERS];
    vae_config           c;
    vae_data             data;
    size_t               i;
    vae_get_config(model, &c);
    memset(&data, 0, sizeof data);
    must(vae_example_size(model) * count <= MOST_NUMBERS);
    for (i = 0; i < vae_example_size(model) * count; i++) bytes[i] = some_row[i % sizeof some_row];
    data.bytes = bytes;
    data.count = count;
    if (c.classes || c.classifier[0].kind) data.labels = some_labels;
    return data;
}

/* Made once, in a block of its own, with a step of training behind it, so that a checkpoint holds moments. */
typedef struct made_model { vae_model *model; unsigned char *block, *before; size_t size; } made_model;

static made_model *model_of(int which) {
    static made_model models[NETWORKS];
    made_model *const made = &models[which];
    if (!made->model) {
        vae_config config = network_of(which);
        vae_data   data;
        vae_error  error;
        config.allocator.allocate = fuzz_allocate;          /* of vae_load_weights: the block is ours */
        config.allocator.release = fuzz_release;
        must(vae_memory_needed(&config, &made->size, &error) == VAE_OK && made->size <= MOST_MODEL);
        made->block = (unsigned char *)calloc(2, made->size);
        made->before = made->block + made->size;
        must(made->block && vae_create_in(&config, made->block, made->size, &made->model, &error) == VAE_OK);
        data = rows_for(made->model, 2);
        if (config.standardize) must(vae_standardize(made->model, &data, &error) == VAE_OK);
        must(vae_train_step(made->model, &data, NULL, &error) == VAE_OK);
    }
    memcpy(made->before, made->block, made->size);
    return made;
}

/* ---- what a model must be able to do ---- */

static vae_error problem;

static int is_sentence(vae_status status) {
    size_t i;
    for (i = 0; i < sizeof problem.message && problem.message[i]; i++)
        if ((unsigned char)problem.message[i] < 32 || problem.message[i] == 127) return 0;
    return problem.status == status && status != VAE_OK && i > 10 && i < sizeof problem.message;
}

static int all_finite(const vae_real *numbers, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) if (!vaei_finite(numbers[i])) return 0;
    return 1;
}

/* The config under which a model's own file gives the same model again. */
static vae_config same_again(const vae_model *model) {
    vae_config c, same;
    vae_get_config(model, &c);
    memset(&same, 0, sizeof same);
    same.layout = c.layout;
    same.part = c.part;
    same.kernels = c.kernels;
    same.inference_only = c.inference_only;
    same.batch = c.batch;
    same.threads = 1;
    same.allocator.allocate = fuzz_allocate;
    same.allocator.release = fuzz_release;
    return same;
}


/* Its file can be loaded, and the model that comes of it has the same file. */
static void save_and_load(const vae_model *model, int checkpoint) {
    static unsigned char file[MOST_FILE], second[MOST_FILE];
    vae_config           config = same_again(model);
    vae_model           *loaded = NULL;
    size_t               size, again;
    must(vae_save_memory(model, checkpoint, file, sizeof file, &size, &problem) == VAE_OK);
    must(vae_load_memory(file, size, &config, &loaded, &problem) == VAE_OK);
    must(vae_save_memory(loaded, checkpoint, second, sizeof second, &again, &problem) == VAE_OK);
    must(size == again && !memcmp(file, second, size));
    vae_destroy(loaded);
}

/* One inference: finite, or refused, as with weights near the largest float. */
static void infer(vae_model *model) {
    static vae_real numbers[MOST_NUMBERS], z[MOST_NUMBERS];
    const size_t    pixels = vae_example_size(model), latent = vae_latent_size(model);
    vae_config      c;
    vae_terms       terms;
    vae_latents     latents;
    vae_data        data;
    vae_status      status;
    if (pixels > MOST_NUMBERS || latent > MOST_NUMBERS) return;     /* a large image of few weights */
    data = rows_for(model, 1);
    vae_get_config(model, &c);
    memset(&latents, 0, sizeof latents);
    memset(z, 0, sizeof *z * latent);
    latents.z = z;
    latents.count = 1;
    if (c.classes) latents.labels = some_labels;
    if (c.part != VAE_DECODER_ONLY) {
        status = vae_encode(model, &data, numbers, NULL, &problem);
        must(status == VAE_OK ? all_finite(numbers, latent) : is_sentence(status));
    }
    if (c.part != VAE_ENCODER_ONLY) {
        status = vae_decode(model, &latents, numbers, &problem);
        must(status == VAE_OK ? all_finite(numbers, pixels) : is_sentence(status));
    }
    if (c.part > VAE_WHOLE) return;
    status = vae_elbo(model, &data, &terms, NULL, &problem);
    must(status == VAE_OK ? vaei_finite_wide(terms.loss) : is_sentence(status));
}

static void use(vae_model *model) {
    must(all_finite(vae_weights(model), vae_weight_count(model)));
    infer(model);
    save_and_load(model, 0);
}

/* ---- loading ---- */

/* What vae_load promises without a batch of yours. */
static int is_in_proportion(size_t asked, size_t file_size) {
    return asked <= ((uint64_t)128 << 20) + 64 * (uint64_t)file_size + sizeof(vaei_loading);
}

static vae_config config_for(unsigned how, int which) {
    vae_config c;
    memset(&c, 0, sizeof c);
    switch (how % 5) {
    case 1: c = network_of(which); break;
    case 2: c.batch = 2; c.inference_only = 1; c.layout = VAE_CHANNELS_FIRST; break;
    case 3:
        c.part = which % 2 ? VAE_ENCODER_ONLY : VAE_DECODER_ONLY;
        c.kernels = VAE_KERNELS_PORTABLE;
        break;
    case 4:
        c = network_of(which);
        c.batch = 0;
        c.optimizer.kind = which % 2 ? VAE_SGD : VAE_ADAMW;
        break;
    default: break;
    }
    c.threads = 1;
    c.allocator.allocate = fuzz_allocate;
    c.allocator.release = fuzz_release;
    return c;
}

/* What is true of every load. The rest of the file is bytes[0 .. size). */
static void check_load(vae_status status, const vae_config *config, const vae_model *model, size_t size) {
    vae_config made;
    size_t     needed;
    must(config->batch || is_in_proportion(fuzz_memory.largest, size));
    if (status != VAE_OK) {
        must(!model && is_sentence(status) && fuzz_memory.live == 0);
        return;
    }
    vae_get_config(model, &made);
    must(vae_memory_needed(&made, &needed, &problem) == VAE_OK);
    must(fuzz_memory.live == needed);
    must(fuzz_memory.peak <= needed + sizeof(vaei_loading) + 2 * size);
}

static void try_memory(const unsigned char *input, size_t size) {
    const unsigned how = size ? input[0] : 0;
    vae_config     config = config_for(how / NETWORKS % 6, (int)(how % NETWORKS));
    vae_model     *model = NULL;
    vae_status     status;
    size_t         needed;
    if (!size) return;
    fuzz_memory_begin(MOST_MEMORY);
    if (how / NETWORKS % 6 == 5) {                  /* without a config, and so with memory that is not counted */
        status = vae_load_memory(input + 1, size - 1, NULL, &model, &problem);
        must(status == VAE_OK ? model != NULL : !model && is_sentence(status));
    } else {
        status = vae_load_memory(input + 1, size - 1, &config, &model, &problem);
        check_load(status, &config, model, size - 1);
    }
    /* What was loaded without a config, and so without the targets' limit, may be too large to be used here. */
    if (status == VAE_OK) {
        vae_get_config(model, &config);
        if (vae_memory_needed(&config, &needed, NULL) == VAE_OK && needed <= MOST_MEMORY) use(model);
    }
    vae_destroy(model);
    must(fuzz_memory.live == 0);
}

/* vae_fit goes on where the file says that training was. */
static void fit(vae_model *model) {
    const vae_data data = rows_for(model, 2);
    vae_fit_config config;
    vae_status     status;
    memset(&config, 0, sizeof config);
    config.epochs = 1;
    config.batch = 1;
    config.validation = &data;
    config.patience = 2;
    config.plateau_epochs = 1;
    status = vae_fit(model, &data, &config, &problem);
    must(status == VAE_OK || is_sentence(status));
    must(all_finite(vae_weights(model), vae_weight_count(model)));
    save_and_load(model, 1);
}

static void try_checkpoint(const unsigned char *input, size_t size) {
    const unsigned how = size ? input[0] : 0;
    vae_config     config = config_for(how / NETWORKS % 2 * 4, (int)(how % NETWORKS));
    vae_model     *model = NULL;
    vae_data       data;
    vae_state      before, after;
    vae_status     status;
    if (!size) return;
    fuzz_memory_begin(MOST_MEMORY);
    config.batch = how / NETWORKS / 2 % 2 ? 2 : 0;
    status = vae_load_memory(input + 1, size - 1, &config, &model, &problem);
    check_load(status, &config, model, size - 1);
    if (status == VAE_OK && vaei_block(model, VAEI_BLOCK_WEIGHTS) && model->plan.trains &&
        model->plan.example * 2 <= MOST_NUMBERS) {
        vae_get_state(model, &before);
        data = rows_for(model, 1);
        status = vae_train_step(model, &data, NULL, &problem);
        vae_get_state(model, &after);
        must(all_finite(vae_weights(model), vae_weight_count(model)));
        must(status == VAE_OK ? after.step - before.step == (before.step < UINT64_MAX / 2) : is_sentence(status));
        save_and_load(model, 1);
        fit(model);
        infer(model);
    }
    vae_destroy(model);
    must(fuzz_memory.live == 0);
}

/* ---- loading into a model that exists ---- */

/* A refused file leaves the whole model as it was, to the bit; what a taken one leaves can be used. */
static void check_into(made_model *made, vae_status status) {
    must(fuzz_memory.live == 0);
    if (status == VAE_OK) {
        must(all_finite(vae_weights(made->model), vae_weight_count(made->model)));
        infer(made->model);
        save_and_load(made->model, 0);
    } else must(is_sentence(status) && !memcmp(made->block, made->before, made->size));
    memcpy(made->block, made->before, made->size);
}

static void try_weights(const unsigned char *input, size_t size) {
    unsigned char taken[VAEI_MAX_TENSORS];
    made_model   *made;
    size_t        i, count = 0;
    vae_status    status;
    if (!size) return;
    made = model_of(input[0] % NETWORKS);
    fuzz_memory_begin(MOST_MEMORY);
    if (input[0] / NETWORKS % 2 == 0) {
        status = vae_load_weights_memory(made->model, input + 1, size - 1, &problem);
        must(fuzz_memory.largest == 0);                     /* it allocates nothing */
        check_into(made, status);
        return;
    }
    memset(taken, 77, sizeof taken);
    status = vae_load_matching_memory(made->model, input + 1, size - 1, taken, &problem);
    must(fuzz_memory.largest == 0);
    for (i = 0; i < vae_tensor_count(made->model); i++) {
        must(status == VAE_OK ? taken[i] <= 1 : taken[i] == 77);
        count += taken[i];
    }
    must(taken[i] == 77 && (status != VAE_OK || count > 0));
    check_into(made, status);
}

static void try_path(const unsigned char *input, size_t size) {
    static char   from[300], to[300];
    unsigned char taken[VAEI_MAX_TENSORS];
    const unsigned how = size ? input[0] / NETWORKS : 0;
    made_model   *made = NULL;
    vae_model    *model = NULL, *second = NULL;
    vae_config    config, same;
    vae_status    status, expected;
    if (!size) return;
    if (!*from) {
        snprintf(from, sizeof from, "%s/from", fuzz_folder());
        snprintf(to, sizeof to, "%s/to", fuzz_folder());
    }
    fuzz_write(from, input + 1, size - 1);
    if (how % 4 < 2) made = model_of(input[0] % NETWORKS);
    fuzz_memory_begin(MOST_MEMORY);
    if (made) {
        status = how % 2 ? vae_load_matching(made->model, from, taken, &problem)
                         : vae_load_weights(made->model, from, &problem);
        must(fuzz_memory.peak <= 2 * size && fuzz_memory.live == 0);
        check_into(made, status);
        return;
    }
    config = config_for(how / 4, input[0] % NETWORKS);
    status = vae_load(from, &config, &model, &problem);
    check_load(status, &config, model, size - 1);
    expected = vae_load_memory(input + 1, size - 1, &config, &second, NULL);       /* the same from memory */
    must(status == expected);
    vae_destroy(second);
    if (status == VAE_OK) {
        infer(model);
        same = same_again(model);
        must(vae_save(model, to, &problem) == VAE_OK);
        must(vae_load(to, &same, &second, &problem) == VAE_OK);
        vae_destroy(second);
    }
    vae_destroy(model);
    must(fuzz_memory.live == 0);
}

/* ---- new inputs ---- */

static size_t write_file(const vae_model *model, int checkpoint, unsigned selector, unsigned char *input, size_t most) {
    size_t size;
    if (vae_save_memory(model, checkpoint, input + 1, most - 1, &size, NULL) != VAE_OK) return 0;
    input[0] = (unsigned char)selector;
    return 1 + size;
}

/* The file of one of the networks, a setting or two of it drawn anew. */
static size_t draw_file(unsigned char *input, size_t most, test_random *random) {
    const int  which = (int)fuzz_below(random, NETWORKS);
    vae_config c = network_of(which);
    vae_model *model = NULL;
    vae_data   data;
    size_t     size = 0, changes = fuzz_below(random, 4);
    while (changes--)
        switch (fuzz_below(random, 16)) {
        case 0: c.latent = 1 + (int)fuzz_below(random, 4); break;
        case 1: c.likelihood = (vae_likelihood)fuzz_below(random, 7); break;
        case 2: c.optimizer.kind = (vae_optimizer_kind)fuzz_below(random, 6); break;
        case 3: c.encoder[fuzz_below(random, 2)].activation = (vae_activation)fuzz_below(random, 9); break;
        case 4: c.encoder[0].batch_norm = 1; break;
        case 5: c.encoder[1].dropout = (vae_real)0.5; break;
        case 6: c.standardize = 1; break;
        case 7: c.sigma_per_pixel = 1; break;
        case 8: c.keep_best = 1; break;
        case 9: c.samples = 1 + fuzz_below(random, 3); break;
        case 10: c.tied = 1; break;
        case 11: c.shared_heads = 1; break;
        case 12: c.part = (vae_part)fuzz_below(random, 4); break;
        case 13: c.encoder[1].shape.channels = 1 + (int)fuzz_below(random, 5); break;
        case 14:
            c.optimizer.schedule.kind = (vae_schedule_kind)fuzz_below(random, 7);
            c.optimizer.schedule.steps = 3;
            break;
        default: c.objective = (vae_objective)fuzz_below(random, 4);
        }
    if (vae_create(&c, &model, NULL) != VAE_OK) return 0;
    if (c.part <= VAE_WHOLE && fuzz_chance(random, 2)) {
        data = rows_for(model, 2);
        if (c.standardize) vae_standardize(model, &data, NULL);
        vae_train_step(model, &data, NULL, NULL);
        size = write_file(model, 1, (unsigned)which, input, most);
    }
    if (!size) size = write_file(model, 0, (unsigned)which, input, most);
    vae_destroy(model);
    return size;
}

static size_t change_input(unsigned char *input, size_t size, size_t most, test_random *random) {
    size_t drawn;
    if (size < 2 || fuzz_chance(random, 100)) {
        drawn = draw_file(input, most, random);
        if (drawn) return drawn;
        if (size < 2) return fuzz_mutate_bytes(input, size, most, random);
    }
    if (fuzz_chance(random, 12)) input[0] = (unsigned char)test_bits(random);
    return 1 + file_change(input + 1, size - 1, most - 1, random);
}

static const fuzz_entry file_entries[] = {
    { "memory", try_memory, change_input }, { "weights", try_weights, change_input },
    { "checkpoint", try_checkpoint, change_input }, { "path", try_path, change_input }
};
FUZZ_TARGET(file_entries)
