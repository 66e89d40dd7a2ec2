/* Configs from a generator: every field, kinds and sizes up to their limits and beyond. Each is refused with a
   sentence, by every call alike, or a model is made in exactly the bytes that vae_memory_needed says, touching nothing
   around them. Some of the models train a step, are saved and loaded. The number of configs is the program's
   argument. */
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include <float.h>
#include <limits.h>
#include "ledger.h"
#include "test.h"

enum { USUAL = 30000, GUARD = 256, LARGEST_MADE = 1 << 18, LARGEST_TRAINED = 1 << 17 };

static test_random random_numbers = { 20 };
static int         draw(int low, int high) { return test_integer(&random_numbers, low, high); }
static int         chance(int of) { return draw(1, of) == 1; }

/* ---- a config ---- */

/* Mostly small; now and then near a limit or beyond. */
static int any_size(int limit) {
    static const int edges[] = { 0, -1, INT_MIN, INT_MAX, 1 << 30 };
    if (chance(500)) return edges[draw(0, 4)];
    if (chance(200)) return limit + draw(-1, 1);
    if (chance(40)) return draw(1, limit);
    if (chance(8)) return draw(1, 200);
    return draw(1, 9);
}

static vae_real any_real(double low, double high) {
    static const double odd[] = { -1, 1e30, -1e30, 1e-38, 1, 0, -0.0 };
    if (chance(300)) return (vae_real)vaei_bits_wide(chance(2) ? VAEI_WIDE_NAN : VAEI_WIDE_INFINITY);
    if (chance(60)) return (vae_real)odd[draw(0, 6)];
    if (chance(20)) return VAE_ZERO;
    return (vae_real)test_uniform(&random_numbers, low, high);
}

static int any_enum(int last) { return chance(300) ? draw(-1, 99) : draw(0, last); }

static void any_schedule(vae_schedule *s) {
    if (!chance(4)) return;
    s->kind = (vae_schedule_kind)any_enum(VAE_CYCLICAL);
    if (!chance(9)) s->steps = (uint64_t)draw(1, 9);
    if (s->kind >= VAE_COSINE && !chance(3)) s->warmup = (uint64_t)draw(0, 5);
    if (s->warmup || chance(9)) s->from = any_real(0, 1);
    if ((s->kind >= VAE_COSINE && s->kind <= VAE_EXPONENTIAL) || chance(9)) s->to = any_real(0, 1);
}

static void any_layer(vae_layer *l, int flat) {
    memset(l, 0, sizeof *l);
    l->kind = flat || chance(2) ? VAE_LAYER_DENSE : chance(3) ? VAE_LAYER_CONV_TRANSPOSED : VAE_LAYER_CONV;
    if (chance(400)) l->kind = (vae_layer_kind)draw(-1, 9);
    l->shape.channels = any_size(65535);
    if (l->kind == VAE_LAYER_DENSE) {
        l->shape.height = chance(8) ? any_size(65535) : 1;
        l->shape.width = chance(8) ? any_size(65535) : 1;
    } else {
        l->kernel_height = chance(3) ? 1 : any_size(1023);
        l->kernel_width = any_size(1023);
        l->stride_height = chance(2) ? 1 : any_size(1023) % 4;
        l->stride_width = chance(2) ? 1 : draw(1, 3);
        l->padding = (vae_padding)any_enum(VAE_EXPLICIT);
        if (l->padding == VAE_EXPLICIT) {
            l->top = draw(0, 2); l->bottom = draw(0, 2); l->left = any_size(65535) / 2; l->right = draw(0, 2);
            if (l->kind == VAE_LAYER_CONV_TRANSPOSED && chance(3)) l->output_padding_width = draw(0, 2);
        }
    }
    l->activation = (vae_activation)any_enum(VAE_SOFTPLUS);
    if (chance(8)) l->dropout = any_real(0, 0.9);
    l->batch_norm = chance(6);
}

static void any_config(vae_config *c) {
    const int flat = chance(2), layers = chance(30) ? draw(0, VAE_MAX_LAYERS) : draw(1, 3);
    int       i;
    memset(c, 0, sizeof *c);
    c->input.height = flat ? 1 : any_size(65535);
    c->input.width = any_size(flat ? 67108864 : 65535);
    c->input.channels = flat ? 1 : any_size(65535);
    c->latent = any_size(1048576);
    for (i = 0; i < layers; i++) any_layer(&c->encoder[i], flat);
    c->likelihood = (vae_likelihood)any_enum(VAE_DISCRETIZED_LOGISTIC);
    if (chance(4)) {                                /* a decoder of its own, that meets the input more often than not */
        for (i = 0; i < draw(0, 2); i++) any_layer(&c->decoder[i], flat);
        c->decoder[i] = VAE_DENSE(1, VAE_LINEAR);
        c->decoder[i].shape = c->input;
        if (c->likelihood >= VAE_GAUSSIAN_PREDICTED && !chance(5))
            c->decoder[i].shape.channels *= c->input.channels > 0 && c->input.channels < 99999 ? 2 : 1;
    }
    if (chance(6)) c->sigma = any_real(1e-3, 9);
    c->sigma_per_pixel = chance(8);
    c->standardize = chance(8);
    if (chance(3)) c->beta = any_real(0, 4);
    any_schedule(&c->beta_schedule);
    c->initialization = (vae_initialization)any_enum(VAE_INIT_HE);
    c->layout = (vae_layout)any_enum(VAE_CHANNELS_FIRST);
    c->optimizer.kind = (vae_optimizer_kind)any_enum(VAE_ADADELTA);
    if (chance(2)) c->optimizer.learning_rate = any_real(0, 1e-3);
    if (chance(9)) c->optimizer.beta1 = any_real(0, 1);
    if (chance(9)) c->optimizer.beta2 = any_real(0, 1);
    if (chance(9)) c->optimizer.epsilon = any_real(1e-9, 1e-3);
    if (chance(9)) c->optimizer.momentum = any_real(0, 1);
    if (chance(9)) c->optimizer.weight_decay = any_real(0, 0.1);
    if (chance(9)) c->optimizer.clip_norm = any_real(0, 9);
    any_schedule(&c->optimizer.schedule);
    c->seed = (uint64_t)draw(0, 9);
    c->batch = chance(50) ? (size_t)any_size(16777216) : (size_t)draw(0, 9);
    c->part = chance(8) ? (vae_part)any_enum(VAE_DECODER_ONLY) : VAE_PART_DEFAULT;
    c->inference_only = chance(6);
    c->kernels = chance(9) ? (vae_kernels)any_enum(VAE_KERNELS_NEON) : VAE_KERNELS_BEST;
    c->threads = chance(60) ? any_size(64) : chance(2);
    c->shared_heads = chance(9);
    c->tied = chance(9);
    if (chance(9)) c->classes = any_size(1048576);
    c->objective = (vae_objective)any_enum(chance(3) ? VAE_OBJECTIVE_AUTOENCODER : VAE_OBJECTIVE_ELBO);
    if (chance(9)) c->samples = (size_t)any_size(65536);
    if (chance(12)) c->free_bits = any_real(0, 1);
    if (chance(12)) c->capacity = any_real(0, 9);
    if (c->capacity != 0) any_schedule(&c->capacity_schedule);
    c->keep_best = chance(8);
    if (chance(12)) c->freeze = (vae_freeze)any_enum(VAE_FREEZE_DECODER);
    if (chance(9)) c->classifier[0] = VAE_DENSE(any_size(1048576), VAE_LINEAR);
    if (chance(20)) c->classifier_weight = any_real(0, 5);
    if (chance(9)) {
        c->corruption.kind = (vae_corruption_kind)any_enum(VAE_CORRUPTION_SALT_AND_PEPPER);
        if (!chance(9)) c->corruption.amount = any_real(0, 1);
    }
    c->binarize = chance(20);
    c->missing = chance(9);
    c->targets = chance(9);
}

/* ---- what becomes of it ---- */

static vae_error problem;
static long      refused, fitting, made, trained, number;

static void explain(const char *what) { printf("    config %ld: %s: %s\n", number, what, problem.message); }

static int is_sentence(vae_status status, const vae_error *error) {
    size_t i;
    for (i = 0; error->message[i]; i++) if ((unsigned char)error->message[i] < 32) return 0;
    return error->status == status && i > 20 && i < sizeof error->message - 1;
}

static int same_files(const vae_model *a, const vae_model *b, int checkpoint) {
    size_t         size[2] = { 0, 1 };
    unsigned char *bytes[2];
    int            same = 0, i;
    for (i = 0; i < 2; i++)
        if (vae_save_memory(i ? b : a, checkpoint, NULL, 0, &size[i], NULL) == VAE_OK && !size[i]) return 0;
    if (size[0] != size[1]) return 0;
    for (i = 0; i < 2; i++) bytes[i] = (unsigned char *)malloc(size[i]);
    same = vae_save_memory(a, checkpoint, bytes[0], size[0], &size[0], &problem) == VAE_OK &&
           vae_save_memory(b, checkpoint, bytes[1], size[1], &size[1], &problem) == VAE_OK &&
           !memcmp(bytes[0], bytes[1], size[0]);
    for (i = 0; i < 2; i++) free(bytes[i]);
    return same;
}

/* A step of training where it can train, then a file and back. */
static void use_model(vae_model *model, const vae_config *c) {
    const size_t   example = vae_example_size(model), rows = 1;
    unsigned char *bytes, *file;
    int            label = 0;
    vae_model     *loaded = NULL;
    vae_config     with;
    vae_data       data;
    size_t         size = 0, i;
    vae_status     status;
    const int      trains = !c->inference_only && c->part <= VAE_WHOLE;
    bytes = (unsigned char *)malloc(example * rows);
    for (i = 0; i < example * rows; i++) bytes[i] = (unsigned char)(37 * i + 11);
    memset(&data, 0, sizeof data);
    data.bytes = bytes;
    data.count = rows;
    if (c->classes || c->classifier[0].kind) data.labels = &label;
    if (trains && c->standardize && !CHECK(vae_standardize(model, &data, &problem) == VAE_OK)) explain("standardize");
    if (trains) {
        status = vae_train_step(model, &data, NULL, &problem);
        /* A rate, decay or weight drawn too large for this network may diverge. */
        if (!CHECK(status == VAE_OK || (status == VAE_ERROR_NUMERIC && is_sentence(status, &problem))))
            explain("vae_train_step");
        trained += status == VAE_OK;
    }
    if (vae_save_memory(model, trains, NULL, 0, &size, &problem) != VAE_OK && !size) {
        if (!CHECK(problem.status == VAE_ERROR_NUMERIC)) explain("vae_save_memory");
        free(bytes);
        return;
    }
    file = (unsigned char *)malloc(size);
    if (!CHECK(vae_save_memory(model, trains, file, size, &size, &problem) == VAE_OK)) explain("vae_save_memory");
    memset(&with, 0, sizeof with);
    with.layout = c->layout;
    with.part = c->part;
    with.inference_only = c->inference_only;
    with.batch = c->batch;
    if (!CHECK(vae_load_memory(file, size, &with, &loaded, &problem) == VAE_OK)) explain("vae_load_memory");
    else if (!CHECK(same_files(model, loaded, trains))) explain("another file after loading");
    vae_destroy(loaded);
    free(file);
    free(bytes);
}

static void try_config(vae_config *c) {
    vae_model     *model = NULL;
    vae_config     filled;
    size_t         needed = 0, i;
    unsigned char *block;
    ledger         l;
    int            clean = 1;
    vae_status     status;
    problem.message[0] = 0;
    if ((status = vae_memory_needed(c, &needed, &problem)) != VAE_OK) {
        refused++;
        if (!CHECK((status == VAE_ERROR_CONFIG || status == VAE_ERROR_MEMORY || status == VAE_ERROR_UNSUPPORTED) &&
                   is_sentence(status, &problem))) explain(vae_status_name(status));
        CHECK(vae_create(c, &model, NULL) == status && !model && !needed);
        return;
    }
    fitting++;
    if (!CHECK(vae_defaults(c, &filled, &problem) == VAE_OK))
        explain("vae_defaults refuses what vae_memory_needed took");
    if (needed > LARGEST_MADE) {                        /* what vae_create asks for, which it does not get */
        c->allocator = ledger_allocator(&l);
        l.fail_at = 1;
        CHECK(vae_create(c, &model, &problem) == VAE_ERROR_MEMORY && is_sentence(VAE_ERROR_MEMORY, &problem) &&
              l.calls == 1);
        return;
    }
    made++;
    block = (unsigned char *)malloc(needed + 2 * GUARD);
    memset(block, 0xA5, needed + 2 * GUARD);
    CHECK(vae_create_in(c, block + GUARD, needed - 1, &model, NULL) == VAE_ERROR_MEMORY && !model);
    if (CHECK(vae_create_in(c, block + GUARD, needed, &model, &problem) == VAE_OK)) {
        size_t again = 0;
        if (!CHECK(vae_memory_needed(&filled, &again, &problem) == VAE_OK && again == needed))
            explain("the filled config");
        if (needed <= LARGEST_TRAINED && chance(8)) use_model(model, c);
        vae_destroy(model);
    } else explain("vae_create_in refuses what vae_memory_needed took");
    for (i = 0; i < GUARD; i++) clean = clean && block[i] == 0xA5 && block[GUARD + needed + i] == 0xA5;
    if (!CHECK(clean)) explain("written beyond the block");
    free(block);
    if (!chance(20)) return;
    c->allocator = ledger_allocator(&l);                /* the block that vae_create takes is of that size */
    if (CHECK(vae_create(c, &model, &problem) == VAE_OK)) CHECK(l.calls == 1 && l.bytes == needed);
    vae_destroy(model);
    CHECK(!l.live && !l.mismatched);
}

static long wanted = USUAL;

TEST(test_any_config) {
    if (wanted == USUAL) wanted = test_cases(USUAL);
    for (number = 0; number < wanted; number++) {
        static vae_config c;
        any_config(&c);
        try_config(&c);
        if (test_state.failures > TEST_SHOWN_FAILURES) break;
    }
    printf("  %ld configs: %ld refused, %ld fitting, %ld made, %ld of these trained\n", number, refused, fitting, made,
           trained);
    CHECK(refused > wanted / 4 && made > wanted / 10 && trained > wanted / 200);
}

int main(int count, char **arguments) {
    if (count > 1) wanted = atol(arguments[1]);
    RUN_LONG(test_any_config, "configs drawn at random, refused or made in the bytes they said");
    return test_finish();
}
