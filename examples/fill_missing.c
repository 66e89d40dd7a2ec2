/* fill_missing.c - fills the gaps of a table with what a model of the other rows makes of what is known.

       build/fill_missing table.csv --out filled.csv --spread spread.csv --without id,time

   A CSV file of numbers in whatever units; a gap is an empty field, NA, NaN, null or ?, and what --missing says.
   --spread gets how far off each filled number may be: its standard deviation, 0 where the number was known. Columns
   left out are not shown to the model, and stand in both files as they were; rows keep their order. To tell what the
   filling is worth, some known numbers are hidden from the model and compared with what it makes of them (--check).
   Without any file the program makes up some pumps with a quarter of the readings lost. The model is a VAE trained on
   the importance-weighted bound of what is known (Mattei and Frellsen 2019). */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "support/beside.h"
#include "support/csv_writer.h"
#include "support/gap_marks.h"
#include "support/options.h"
#include "support/progress.h"
#include "support/pumps.h"

/* Hides a share of the known numbers; at least one of each row stays. Returns how many. */
static size_t hide(const csv_table *table, double share, uint64_t seed, unsigned char *mask) {
    size_t i, k, hidden = 0;
    for (i = 0; i < table->rows; i++) {
        size_t known = 0;
        for (k = i * table->columns; k < (i + 1) * table->columns; k++)
            known += mask[k] = table->numbers[k] == table->numbers[k];
        for (k = 0; k < table->columns; k++) {
            const size_t at = i * table->columns + k;
            if (!mask[at] || known < 2 || pumps_random(&seed) >= share) continue;
            mask[at] = 0;
            known--;
            hidden++;
        }
    }
    return hidden;
}

/* Compares what was hidden with what it was filled with, and with the column's mean, in the column's own deviations. */
static void judge(const csv_table *table, const unsigned char *mask, const float *filled, const float *spread) {
    double error = 0, plain = 0, within = 0, count = 0;
    size_t i, k;
    for (k = 0; k < table->columns; k++) {
        double sum = 0, squares = 0, known = 0, mean, deviation;
        for (i = k; i < table->rows * table->columns; i += table->columns) {
            if (!mask[i]) continue;
            sum += (double)table->numbers[i];
            squares += (double)table->numbers[i] * (double)table->numbers[i];
            known++;
        }
        mean = known > 0 ? sum / known : 0;
        deviation = known > 0 ? sqrt(fmax(squares / known - mean * mean, 0)) : 0;
        for (i = k; deviation > 0 && i < table->rows * table->columns; i += table->columns) {
            const double off = (double)filled[i] - (double)table->numbers[i];
            if (mask[i] || table->numbers[i] != table->numbers[i]) continue;
            error += off * off / (deviation * deviation);
            plain += pow(((double)table->numbers[i] - mean) / deviation, 2);
            within += fabs(off) <= 2 * (double)spread[i];
            count++;
        }
    }
    if (count > 0)
        printf("checked on %.0f hidden numbers: off by %.3f of their columns' standard deviation (root mean square), "
               "the columns' means by %.3f; %.0f %% within two spreads\n", count, sqrt(error / count),
               sqrt(plain / count), 100 * within / count);
}

/* Trains on the numbers with a 1 in the mask. */
static vae_status learn(const csv_table *table, const unsigned char *mask, size_t steps, vae_model **model,
                        vae_error *error) {
    const size_t     batches = (table->rows + 63) / 64, epochs = (steps + batches - 1) / batches;
    const vae_data   data = { .pixels = table->numbers, .count = table->rows, .mask = mask };
    const vae_fit_config fit = { .epochs = epochs, .on_progress = print_some_progress };
    const vae_config config = {
        .input = { 1, (int)table->columns, 1 }, .latent = table->columns < 10 ? (int)table->columns : 10, .batch = 64,
        .encoder = { VAE_DENSE(128, VAE_SILU), VAE_DENSE(128, VAE_SILU) },
        .likelihood = VAE_GAUSSIAN, .standardize = 1, .sigma_per_pixel = 1, .missing = 1,
        .objective = VAE_OBJECTIVE_IWAE, .samples = 10,
        .optimizer = { .schedule = { .kind = VAE_COSINE, .steps = epochs * batches + 1 } }
    };
    const vae_status status = vae_create(&config, model, error);
    return status == VAE_OK ? vae_fit(*model, &data, &fit, error) : status;
}

int main(int argc, char **argv) {
    const char  *path = NULL, *without = NULL, *out = NULL, *spread_out = NULL;
    double       check = 0.1, missing = -1e300;
    long long    steps = 3000, samples = 500;
    const option options[] = {
        { "table", "FILE", "CSV table with gaps (else made-up pumps)", OPTION_TEXT, &path, 0, 0 },
        { "without", "COLUMNS", "columns to copy as they are, unseen: id,time or 1,2", OPTION_TEXT, &without, 0, 0 },
        { "missing", "NUMBER", "that stands for a gap too, as -999", OPTION_NUMBER, &missing, -3e38, 3e38 },
        { "out", "FILE", "the table without gaps (else TABLE-filled.csv)", OPTION_OUTPUT, &out, 0, 0 },
        { "spread", "FILE", "the filled numbers' standard deviations", OPTION_OUTPUT, &spread_out, 0, 0 },
        { "check", "SHARE", "of known numbers to hide and compare; 0: none", OPTION_NUMBER, &check, 0, 0.5 },
        { "steps", "N", "updates of 64 rows", OPTION_INTEGER, &steps, 1, 1e9 },
        { "samples", "N", "draws for each row", OPTION_INTEGER, &samples, 1, 1e6 },
        OPTIONS_END
    };
    csv_table      table = { 0 };
    vae_model     *model = NULL;
    vae_error      error;
    unsigned char *mask = NULL;
    float         *filled = NULL, *spread = NULL;
    size_t         numbers, i;
    uint64_t       seed = 7;
    char           message[MESSAGE_SIZE], made[BESIDE_SIZE];
    int            code = options_parse(argc, argv, "Fills the gaps of a table, and tells how sure it is.", options, 1);
    if (path && !out && path_kind_of(path) == PATH_FILE) out = beside(made, path, ".csv", "-filled.csv");
    if (code < 0 && options_check_outputs("fill_missing", options) != 0) code = 2;
    if (code >= 0) return code;
    if (path && !out && path_kind_of(path) == PATH_DEVICE)
        return options_wrong("fill_missing", "--out is missing, as %s is a pipe or a device", path);
    code = path ? csv_read(path, without, &table, message) : pumps_make(2000, 0, 1, &table, message);
    if (code == 0 && missing > -1e300) gap_marks_take(&table, missing);
    if (code == 0) code = csv_check_columns(&table, path, message);
    numbers = table.rows * table.columns;
    for (i = 0; code == 0 && !path && i < numbers; i++)
        if (pumps_random(&seed) < 0.25 && ++table.gaps) table.numbers[i] = NAN;
    mask = malloc(numbers + 1);
    filled = malloc((numbers + 1) * sizeof *filled);
    spread = malloc((numbers + 1) * sizeof *spread);
    if (code == 0 && (!mask || !filled || !spread)) code = fail(message, "not enough memory");
    if (code == 0) {
        vae_data data = { .pixels = table.numbers, .count = table.rows, .mask = mask };
        printf("%s: %lu rows of %lu columns, %lu gaps\n", path ? path : "pumps", (unsigned long)table.rows,
               (unsigned long)table.columns, (unsigned long)table.gaps);
        if (path) gap_marks_warn(&table);
        fflush(stdout);
        if (hide(&table, check, 1, mask) == 0) check = 0;
        if (learn(&table, mask, (size_t)steps, &model, &error) != VAE_OK ||
            (check > 0 && vae_impute(model, &data, (size_t)samples, filled, spread, &error) != VAE_OK))
            code = fail(message, "%s", error.message);
        if (code == 0 && check > 0) judge(&table, mask, filled, spread);
        data.mask = NULL;               /* what was hidden is known, after all */
        if (code == 0 && vae_impute(model, &data, (size_t)samples, filled, spread, &error) != VAE_OK)
            code = fail(message, "%s", error.message);
    }
    if (code == 0 && out) code = csv_write(out, &table, filled, message);
    if (code == 0 && spread_out) code = csv_write(spread_out, &table, spread, message);
    if (code != 0) code = complain("fill_missing", message);
    vae_destroy(model);
    free(mask);
    free(filled);
    free(spread);
    csv_free(&table);
    return code;
}
