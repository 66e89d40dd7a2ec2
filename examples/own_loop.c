/* own_loop.c - a training loop of your own: own batches, own schedules, own optimiser, and a checkpoint that goes on
   with the same bits. C99 that is C++11 too.

       build/own_loop 700 out/own      trains until step 700, from the start or from where out/own stopped

   Writes out/own.safetensors (the model, for any program) and out/own.momentum (what the optimiser here remembers). */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/path_kind.h"
#include "support/pumps.h"

enum { ROWS = 4000, COLUMNS = 6, BATCH = 128, PIECE = 48, STEPS = 1500 };

/* Any function of the step will do. The learning rate rises over 100 steps, stays, and falls over the last third. */
static double learning_rate(uint64_t step) {
    const double rise = (double)(step + 1) / 100, fall = 3 - 3 * (double)step / STEPS;
    return 1e-3 * fmax(0.01, fmin(1, fmin(rise, fall)));
}
static double beta(uint64_t step) { return fmin(1, (double)step / 300); }

/* Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms"): every weight moves by the learning rate, in
   the direction of the sign of a mean of gradients. */
static void update(vae_real *weights, const vae_real *gradients, vae_real *momentum, size_t count, double rate) {
    size_t i;
    for (i = 0; i < count; i++) {
        const double g = (double)gradients[i], m = (double)momentum[i], direction = 0.9 * m + 0.1 * g;
        weights[i] -= (vae_real)(direction > 0 ? rate : direction < 0 ? -rate : 0);
        momentum[i] = (vae_real)(0.99 * m + 0.01 * g);
    }
}

/* Gathers the batch of a step: here every row once in a pass, in strides. */
static void gather(const csv_table *table, uint64_t step, vae_real *batch) {
    size_t i;
    for (i = 0; i < BATCH; i++)
        memcpy(batch + i * COLUMNS, table->numbers + (step * BATCH + i) * 1009 % ROWS * COLUMNS,
               COLUMNS * sizeof *batch);
}

/* One step: the gradient in pieces, as if memory held no more than PIECE rows, then the update. */
static vae_status step_once(vae_model *model, const vae_real *batch, vae_real *momentum, uint64_t step, double *loss,
                            vae_error *error) {
    vae_real  *gradients = vae_gradients(model);
    size_t     count = vae_parameter_count(model), i;
    double     squares = 0, clip;
    vae_status status = vae_set_beta(model, (vae_real)beta(step), error);
    vae_share  share;
    share.total = BATCH;
    *loss = 0;
    for (share.first = 0; status == VAE_OK && share.first < BATCH; share.first += PIECE) {
        vae_data  piece;
        vae_terms terms;
        memset(&piece, 0, sizeof piece);
        piece.pixels = batch + share.first * COLUMNS;
        piece.count = PIECE;
        if (piece.count > BATCH - share.first) piece.count = BATCH - share.first;
        status = vae_accumulate_gradients(model, &piece, &share, &terms, error);
        if (status == VAE_OK) *loss += terms.loss * (double)piece.count / BATCH;
    }
    if (status != VAE_OK) return status;
    for (i = 0; i < count; i++) squares += (double)gradients[i] * (double)gradients[i];
    clip = 10 / fmax(10, sqrt(squares));            /* longer gradients are shortened to 10 */
    for (i = 0; i < count; i++) gradients[i] *= (vae_real)clip;
    update(vae_parameters(model), gradients, momentum, count, learning_rate(step));
    return vae_end_step(model, error);              /* zeroes the gradients, moves on to the next step's noise */
}

/* The optimiser's memory, with the step that it belongs to. Returns whether all went well. */
static int momentum_file(const char *path, const char *mode, vae_real *momentum, size_t count, uint64_t *step) {
    FILE  *file = fopen(path, mode);
    size_t done = 0;
    if (!file) return 0;
    if (*mode == 'w') done = fwrite(step, sizeof *step, 1, file) + fwrite(momentum, sizeof *momentum, count, file);
    else done = fread(step, sizeof *step, 1, file) + fread(momentum, sizeof *momentum, count, file);
    return (fclose(file) == 0) & (done == count + 1);
}

/* Loads the model from `path`, or makes one where there is none. */
static vae_status begin(const csv_table *table, const char *path, vae_model **model, vae_error *error) {
    vae_config config;
    vae_data   all;
    memset(&config, 0, sizeof config);
    memset(&all, 0, sizeof all);
    config.input.height = config.input.channels = 1;
    config.input.width = COLUMNS;
    config.latent = 3;
    config.encoder[0] = VAE_DENSE(64, VAE_SILU);
    config.likelihood = VAE_GAUSSIAN;
    config.sigma = (vae_real)0.1;                  /* of each column's standard deviation */
    config.standardize = 1;
    config.batch = PIECE;
    if (vae_load(path, &config, model, error) != VAE_ERROR_FILE || path_kind_of(path) != PATH_NOTHING)
        return error->status;
    all.pixels = table->numbers;
    all.count = table->rows;
    return vae_create(&config, model, error) == VAE_OK ? vae_standardize(*model, &all, error) : error->status;
}

static int train(const csv_table *table, vae_model *model, uint64_t until, const char *path, char *message) {
    const size_t count = vae_parameter_count(model);
    vae_real     batch[BATCH * COLUMNS], *momentum = (vae_real *)calloc(count, sizeof *momentum);
    vae_error    error;
    vae_state    state;
    uint64_t     saved = 0;
    double       loss;
    int          result = momentum ? 0 : fail(message, "not enough memory for the optimiser");
    vae_get_state(model, &state);
    if (momentum && state.step && (!momentum_file(path, "rb", momentum, count, &saved) || saved != state.step))
        result = fail(message, "%.200s does not belong to the model's step", path);
    for (; result == 0 && state.step < until; state.step++) {
        gather(table, state.step, batch);
        if (step_once(model, batch, momentum, state.step, &loss, &error) != VAE_OK)
            result = fail(message, "%s", error.message);
        else if (state.step % 100 == 99) printf("step %lu: loss %.3f\n", (unsigned long)state.step + 1, loss);
    }
    if (result == 0 && !momentum_file(path, "wb", momentum, count, &state.step))
        result = fail(message, "cannot write %.200s: is its folder there?", path);
    free(momentum);
    return result;
}

int main(int argc, char **argv) {
    const uint64_t until = argc > 1 ? strtoul(argv[1], NULL, 10) : (uint64_t)STEPS;
    const char *name = argc > 2 ? argv[2] : "out/own";
    char        model_path[512], momentum_path[512], message[MESSAGE_SIZE];
    csv_table   table;
    vae_model  *model = NULL;
    vae_error   error;
    int         code;
    if (argc > 3 || (argc > 1 && argv[1][strspn(argv[1], "0123456789")]) || strlen(name) > 480)
        return complain("own_loop", "usage: own_loop [STEPS [NAME]], as in own_loop 700 out/own");
    snprintf(model_path, sizeof model_path, "%.480s.safetensors", name);
    snprintf(momentum_path, sizeof momentum_path, "%.480s.momentum", name);
    code = pumps_make(ROWS, 0, 1, &table, message);
    if (code == 0 && begin(&table, model_path, &model, &error) != VAE_OK) code = fail(message, "%s", error.message);
    if (code == 0) code = train(&table, model, until, momentum_path, message);
    if (code == 0 && vae_save_checkpoint(model, model_path, &error)) code = fail(message, "%s", error.message);
    if (code == 0) printf("wrote %s and %s\n", model_path, momentum_path);
    else code = complain("own_loop", message);
    vae_destroy(model);
    csv_free(&table);
    return code;
}
