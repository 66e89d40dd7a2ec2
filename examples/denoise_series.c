/* denoise_series.c - takes the noise off series of measurements, by what a model of all their windows makes of each.

       build/denoise_series sensors.csv --without time --out clean.csv

   A CSV file of numbers in whatever units, one line for each moment, one column for each series; gaps are filled, and
   columns left out stand in the output as they were. The model, a denoising VAE of convolutions along time, sees
   windows with noise added and is scored on them without it. It has too few latent numbers to keep what does not come
   again elsewhere. Each moment is the average of what all windows with it say. --truth names a table without noise to
   compare with. Without any file the program makes up waves and steps whose truth it knows. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "support/beside.h"
#include "support/csv_writer.h"
#include "support/gap_marks.h"
#include "support/options.h"
#include "support/progress.h"
#include "support/series.h"

enum { BLOCK = 256 };

/* Trains on windows from all over the table, at most 20000 of them. */
static vae_status learn(const csv_table *table, int window, int latent, double noise, size_t steps, vae_model **model,
                        vae_error *error) {
    const size_t size = (size_t)window * table->columns, places = table->rows - (size_t)window + 1;
    const size_t stride = places / 20000 + 1, count = (places + stride - 1) / stride, batches = (count + 63) / 64;
    const vae_config config = {
        .input = { 1, window, (int)table->columns }, .latent = latent, .batch = 64, .likelihood = VAE_GAUSSIAN,
        .encoder = { VAE_CONV_1D(32, 5, 2, VAE_SILU), VAE_CONV_1D(64, 5, 2, VAE_SILU), VAE_DENSE(128, VAE_SILU) },
        .standardize = 1, .missing = table->gaps > 0,
        .corruption = { noise > 0 ? VAE_CORRUPTION_GAUSSIAN : VAE_CORRUPTION_NONE, (vae_real)noise },
        .optimizer = { .schedule = { .kind = VAE_COSINE, .steps = steps + batches } }
    };
    const vae_fit_config fit = { .epochs = (steps + batches - 1) / batches, .on_progress = print_some_progress };
    float     *windows = malloc(count * size * sizeof *windows);
    vae_data   data = { .pixels = windows, .count = count };
    vae_status status = windows ? vae_create(&config, model, error) : VAE_ERROR_MEMORY;
    size_t     i;
    if (!windows) snprintf(error->message, sizeof error->message, "not enough memory for the windows");
    for (i = 0; windows && i < count; i++)
        memcpy(windows + i * size, table->numbers + i * stride * table->columns, size * sizeof *windows);
    if (status == VAE_OK) status = vae_fit(*model, &data, &fit, error);
    free(windows);
    return status;
}

/* `clean` becomes the average of all windows' reconstructions. `windows` has room for 2 BLOCKs of windows. */
static vae_status denoise(vae_model *model, const csv_table *table, size_t window, float *windows, float *clean,
                          vae_error *error) {
    const size_t columns = table->columns, size = window * columns, places = table->rows - window + 1;
    size_t       first, i, k;
    vae_status   status = VAE_OK;
    memset(clean, 0, table->rows * columns * sizeof *clean);
    for (first = 0; first < places && status == VAE_OK; first += BLOCK) {
        const vae_data data = { .pixels = windows, .count = places - first < BLOCK ? places - first : BLOCK };
        float         *made = windows + BLOCK * size;
        for (i = 0; i < data.count; i++)
            memcpy(windows + i * size, table->numbers + (first + i) * columns, size * sizeof *windows);
        status = vae_reconstruct(model, &data, made, error);
        for (i = 0; i < data.count && status == VAE_OK; i++)
            for (k = 0; k < size; k++) clean[(first + i) * columns + k] += made[i * size + k];
    }
    for (i = 0; i < table->rows; i++) {
        const size_t before = i + 1 < window ? i + 1 : window;
        const size_t after = table->rows - i < window ? table->rows - i : window;
        size_t       covered = before < after ? before : after;
        if (covered > places) covered = places;
        for (k = 0; k < columns; k++) clean[i * columns + k] /= (float)covered;
    }
    return status;
}

int main(int argc, char **argv) {
    const char  *path = NULL, *without = NULL, *truth_path = NULL, *out = NULL;
    double       noise = 0.3, missing = -1e300;
    long long    window = 64, latent = 8, steps = 3000;
    const option options[] = {
        { "table", "FILE", "CSV table of series (else made-up ones)", OPTION_TEXT, &path, 0, 0 },
        { "without", "COLUMNS", "columns to copy as they are, unseen: id,time or 1,2", OPTION_TEXT, &without, 0, 0 },
        { "missing", "NUMBER", "that stands for a gap, as -999", OPTION_NUMBER, &missing, -3e38, 3e38 },
        { "out", "FILE", "the table without noise (else TABLE-clean.csv)", OPTION_OUTPUT, &out, 0, 0 },
        { "truth", "FILE", "the same table without noise, to compare with", OPTION_TEXT, &truth_path, 0, 0 },
        { "window", "N", "moments that the model sees at once", OPTION_INTEGER, &window, 8, 4096 },
        { "latent", "N", "numbers that it keeps of them", OPTION_INTEGER, &latent, 1, 1024 },
        { "noise", "AMOUNT", "added in training, in standard deviations", OPTION_NUMBER, &noise, 0, 10 },
        { "steps", "N", "updates of 64 windows", OPTION_INTEGER, &steps, 1, 1e9 },
        OPTIONS_END
    };
    csv_table  table = { 0 }, clean_table = { 0 };
    vae_model *model = NULL;
    vae_error  error = { VAE_OK, "" };
    float     *clean = NULL, *windows = NULL, *truth = NULL;
    char       message[MESSAGE_SIZE], made[BESIDE_SIZE];
    int        code = options_parse(argc, argv, "Takes the noise off series of measurements.", options, 1);
    if (path && !out && path_kind_of(path) == PATH_FILE) out = beside(made, path, ".csv", "-clean.csv");
    if (code < 0 && options_check_outputs("denoise_series", options) != 0) code = 2;
    if (code >= 0) return code;
    if (path && !out && path_kind_of(path) == PATH_DEVICE)
        return options_wrong("denoise_series", "--out is missing, as %s is a pipe or a device", path);
    if (truth_path && !path) return options_wrong("denoise_series", "--truth needs a table that it is the truth of");
    code = path ? csv_read(path, without, &table, message) : series_make(3000, &table, &clean_table, message);
    if (code == 0 && missing > -1e300) gap_marks_take(&table, missing);
    if (code == 0) code = csv_check_columns(&table, path, message);
    if (code == 0 && truth_path) code = csv_read(truth_path, without, &clean_table, message);
    if (code == 0 && clean_table.rows && (clean_table.rows != table.rows || clean_table.columns != table.columns))
        code = fail(message, "%s has %lu rows of %lu columns, the truth in %s has %lu of %lu", path,
                    (unsigned long)table.rows, (unsigned long)table.columns, truth_path,
                    (unsigned long)clean_table.rows, (unsigned long)clean_table.columns);
    if (code == 0 && table.rows < (size_t)window)
        code = fail(message, "%lu rows are fewer than a window of %lld: choose a smaller --window",
                    (unsigned long)table.rows, window);
    if (code == 0) {
        const size_t size = (size_t)window * table.columns;
        printf("%s: %lu rows of %lu columns, %lu gaps\n", path ? path : "a wave and steps", (unsigned long)table.rows,
               (unsigned long)table.columns, (unsigned long)table.gaps);
        if (path) gap_marks_warn(&table);
        fflush(stdout);
        truth = clean_table.numbers;
        clean = malloc(table.rows * table.columns * sizeof *clean);
        windows = malloc(2 * BLOCK * size * sizeof *windows);
        if (!clean || !windows) code = fail(message, "not enough memory for %lu rows", (unsigned long)table.rows);
        else if (learn(&table, (int)window, (int)latent, noise, (size_t)steps, &model, &error) != VAE_OK ||
                 denoise(model, &table, (size_t)window, windows, clean, &error) != VAE_OK)
            code = fail(message, "%s", error.message);
    }
    if (code == 0 && truth) series_judge(&table, truth, clean);
    if (code == 0 && out) code = csv_write(out, &table, clean, message);
    if (code != 0) code = complain("denoise_series", message);
    vae_destroy(model);
    free(clean);
    free(windows);
    csv_free(&table);
    csv_free(&clean_table);
    return code;
}
