/* detect_anomalies.c - learns what normal rows of a table look like, then names rows that do not, and their columns.

       build/detect_anomalies normal.csv --check new.csv --without id,time --scores scores.csv

   A CSV file of numbers in whatever units; a gap is an empty field, NA, NaN, null or ?, and what --missing says. Rows
   with gaps are learned and scored by the numbers that they have. A fifth of the normal rows is held out of training:
   their scores give the threshold. Without --check the same file's rows are scored, which finds the odd among mostly
   normal ones. Without any file the program makes up some pumps. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "support/anomaly_detector.h"
#include "support/csv_reader.h"
#include "support/gap_marks.h"
#include "support/options.h"
#include "support/progress.h"
#include "support/pumps.h"

/* Reads a table; rows without any number are left out. */
static int read_rows(const char *path, const char *without, double missing, csv_table *table, char *message) {
    size_t kept = 0, i, k;
    if (csv_read(path, without, table, message) != 0) return -1;
    if (missing > -1e300) gap_marks_take(table, missing);
    for (i = 0; i < table->rows; i++) {
        const float *row = table->numbers + i * table->columns;
        for (k = 0; k < table->columns && row[k] != row[k]; k++) {}
        table->gaps -= k == table->columns ? k : 0;
        if (k == table->columns) continue;
        memmove(table->numbers + kept * table->columns, row, table->columns * sizeof *row);
        table->lines[kept++] = table->lines[i];
    }
    printf("%s: %lu rows of %lu columns, %lu gaps%s\n", path, (unsigned long)kept, (unsigned long)table->columns,
           (unsigned long)table->gaps, kept < table->rows ? "; rows of gaps alone are left out" : "");
    table->rows = kept;
    return kept ? 0 : fail(message, "%s holds no number", path);
}

/* A copy of the numbers with the rows in an order of chance, the same every time. */
static float *shuffled(const csv_table *table) {
    const size_t size = table->columns * sizeof *table->numbers;
    float       *rows = malloc(table->rows * size + 1);
    uint64_t     state = 1;
    size_t       i, k;
    for (i = 0; rows && i < table->rows; i++) {     /* row i changes places with one of those before it, or none */
        k = (size_t)(pumps_random(&state) * (double)(i + 1));
        memmove((char *)rows + i * size, (char *)rows + k * size, size);
        memcpy((char *)rows + k * size, table->numbers + i * table->columns, size);
    }
    return rows;
}

/* Names up to three columns that make the row odd, the worst first, beside what the model would have there. */
static vae_status explain(const detector *d, const csv_table *table, size_t i, vae_error *error) {
    const float *row = table->numbers + i * table->columns;
    float       *expected = malloc(table->columns * sizeof *expected);
    double      *added = malloc(table->columns * sizeof *added);
    vae_status   status = expected && added ? VAE_OK : detector_no_memory(error);
    size_t       k, worst;
    int          named;
    if (status == VAE_OK) status = detector_explain(d, row, added, expected, error);
    for (named = 0; status == VAE_OK && named < 3; named++) {
        for (worst = 0, k = 1; k < table->columns; k++) if (added[k] > added[worst]) worst = k;
        if (named && added[worst] < 2) break;
        printf("%s %s is %.4g, not %.4g", named ? "," : "", table->names[worst], (double)row[worst],
               (double)expected[worst]);
        added[worst] = -1e300;
    }
    printf("\n");
    free(expected);
    free(added);
    return status;
}

/* Names the rows above the threshold in the table's order; where they are more than are to be shown, the oddest. */
static vae_status report(const detector *d, const csv_table *table, const char *path, size_t shown, FILE *file,
                         vae_error *error) {
    const vae_data data = { .pixels = table->numbers, .count = table->rows };
    double        *scores = malloc((table->rows + 1) * sizeof *scores);
    vae_status     status = scores ? detector_score(d, &data, scores, error) : detector_no_memory(error);
    size_t         i, found = 0, named = 0;
    double         least = 0;
    if (status == VAE_OK) status = detector_largest(scores, table->rows, shown, &least, error);
    if (status == VAE_OK && file) fprintf(file, "line,score,anomaly\n");
    for (i = 0; status == VAE_OK && i < table->rows; i++) {
        const int odd = scores[i] > d->threshold;
        if (file) fprintf(file, "%lu,%.9g,%d\n", (unsigned long)table->lines[i], scores[i], odd);
        found += (size_t)odd;
        if (!odd || scores[i] < least || named++ >= shown) continue;
        printf("%s, line %lu: score %.4g:", path, (unsigned long)table->lines[i], scores[i]);
        status = explain(d, table, i, error);
    }
    free(scores);
    if (status == VAE_OK)
        printf("%lu of %lu rows are above the threshold, %.4g%s\n", (unsigned long)found, (unsigned long)table->rows,
               d->threshold, found > shown ? " (--show N names the N oddest)"
               : found ? "" : " (--scores FILE has the score of each, larger --alarms name more)");
    return status;
}

int main(int argc, char **argv) {
    const char  *path = NULL, *check = NULL, *without = NULL, *scores = NULL;
    double       alarms = 0.01, missing = -1e300;
    long long    steps = 2000, shown = 10;
    size_t       progress_lines = 12;
    const option table[] = {
        { "normal", "FILE", "CSV table of normal rows (else made-up pumps)", OPTION_TEXT, &path, 0, 0 },
        { "check", "FILE", "table whose odd rows are named (else the same)", OPTION_TEXT, &check, 0, 0 },
        { "without", "COLUMNS", "columns to leave out, by name or number, as id,time", OPTION_TEXT, &without, 0, 0 },
        { "missing", "NUMBER", "that stands for a gap too, as -999", OPTION_NUMBER, &missing, -3e38, 3e38 },
        { "alarms", "SHARE", "of normal rows that may be taken for odd", OPTION_NUMBER, &alarms, 1e-6, 0.5 },
        { "steps", "N", "updates of 128 rows, of each of four models", OPTION_INTEGER, &steps, 1, 1e9 },
        { "show", "N", "odd rows to name", OPTION_INTEGER, &shown, 0, 1e9 },
        { "scores", "FILE", "every row's score, as CSV", OPTION_OUTPUT, &scores, 0, 0 },
        OPTIONS_END
    };
    csv_table normal = { 0 }, checked = { 0 }, *scored;
    detector  d = { .on_progress = print_some_progress, .user = &progress_lines };
    vae_error error;
    float    *rows = NULL;
    FILE     *file = NULL;
    char      message[MESSAGE_SIZE];
    int       code = options_parse(argc, argv, "Names odd rows of a table, and their columns.", table, 1);
    if (code < 0 && options_check_outputs("detect_anomalies", table) != 0) code = 2;
    if (code >= 0) return code;
    if (check && !path) return options_wrong("detect_anomalies", "--check needs a table of normal rows too");
    code = path ? read_rows(path, without, missing, &normal, message) : pumps_make(5000, 0, 1, &normal, message);
    if (code == 0) code = csv_check_columns(&normal, path, message);
    scored = path && !check ? &normal : &checked;       /* a pipe is read once */
    if (code == 0 && scored == &checked) code = check ? read_rows(check, without, missing, &checked, message)
                                                      : pumps_make(1000, 50, 2, &checked, message);
    if (code == 0) code = csv_check_same(&normal, path, scored, check, message);
    if (code == 0) code = detector_check_count(normal.rows, alarms, message);
    if (code == 0 && path) gap_marks_warn(&normal);
    if (code == 0 && (rows = shuffled(&normal)) == NULL) code = fail(message, "not enough memory");
    if (!check) check = path ? path : "pumps";
    if (code == 0) d.gaps = (double)(normal.gaps + scored->gaps) /
                            (double)((normal.rows + scored->rows) * normal.columns);
    if (code == 0 && detector_learn(&d, rows, normal.rows, normal.columns, alarms, (size_t)steps, &error) != VAE_OK)
        code = fail(message, "%s", error.message);
    if (code == 0 && scores && !(file = fopen(scores, "w"))) code = fail(message, "cannot write %s", scores);
    if (code == 0 && report(&d, scored, check, (size_t)shown, file, &error) != VAE_OK)
        code = fail(message, "%s", error.message);
    if (file && fclose(file) != 0 && code == 0) code = fail(message, "cannot write %s", scores);
    if (code != 0) code = complain("detect_anomalies", message);
    detector_destroy(&d);
    free(rows);
    csv_free(&normal);
    csv_free(&checked);
    return code;
}
