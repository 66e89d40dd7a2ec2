/* series.h - series to try programs on, with and without noise, and the moving median to compare with. */
#ifndef SERIES_H
#define SERIES_H

#include <math.h>

#include "csv_reader.h"
#include "pumps.h"

enum { SERIES_WIDEST = 41 };

/* A wave and steps: `table` with noise and `truth` without. */
static inline int series_make(size_t rows, csv_table *table, csv_table *truth, char message[MESSAGE_SIZE]) {
    static char names[2][6] = { "wave", "steps" };
    uint64_t    seed = 3;
    size_t      i, k;
    table->names = (char **)malloc(2 * sizeof *table->names);
    table->numbers = (float *)malloc(rows * 2 * sizeof *table->numbers);
    truth->numbers = (float *)malloc(rows * 2 * sizeof *truth->numbers);
    if (!table->names || !table->numbers || !truth->numbers) return fail(message, "not enough memory for series");
    table->rows = truth->rows = rows;
    table->columns = truth->columns = 2;
    for (k = 0; k < 2; k++) table->names[k] = names[k];
    for (i = 0; i < rows; i++) {
        const double time = (double)i;
        truth->numbers[2 * i] = (float)(500 + 100 * sin(time * 0.19635) + 30 * sin(time * 0.49087));
        truth->numbers[2 * i + 1] = i / 24 % 3 == 0 ? 0.5f : i / 24 % 3 == 1 ? 2.5f : 1.5f;
        for (k = 0; k < 2; k++)
            table->numbers[2 * i + k] = truth->numbers[2 * i + k] + (float)(pumps_noise(&seed) * (k ? 0.4 : 40));
    }
    return 0;
}

/* The median of up to `width` known numbers of the column around the row. */
static inline float series_median(const csv_table *table, size_t row, size_t column, size_t width) {
    float  sorted[SERIES_WIDEST];
    size_t count = 0, half = width / 2, i, k;
    for (i = row < half ? 0 : row - half; i <= row + half && i < table->rows; i++) {
        const float number = table->numbers[i * table->columns + column];
        if (number != number) continue;
        for (k = count++; k > 0 && sorted[k - 1] > number; k--) sorted[k] = sorted[k - 1];
        sorted[k] = number;
    }
    return count ? (sorted[(count - 1) / 2] + sorted[count / 2]) / 2 : NAN;
}

/* How far off the truth each column is: as measured, by the best moving median there is, and by the model. */
static inline void series_judge(const csv_table *table, const float *truth, const float *clean) {
    size_t i, k, width;
    for (k = 0; k < table->columns; k++) {
        double noisy = 0, model = 0, best = 0;
        size_t best_width = 0;
        for (width = 1; width <= SERIES_WIDEST; width += 2) {
            double sum = 0, off = 0, count = 0;
            for (i = 0; i < table->rows; i++) {
                const size_t at = i * table->columns + k;
                const double m = (double)series_median(table, i, k, width) - (double)truth[at];
                if (m != m || table->numbers[at] != table->numbers[at]) continue;
                sum += m * m;
                off += pow((double)clean[at] - (double)truth[at], 2);
                count++;
            }
            sum /= count > 0 ? count : 1;
            if (width == 1) noisy = sum;
            if (width == 1) model = off / (count > 0 ? count : 1);
            if (best_width && sum >= best) continue;
            best = sum;
            best_width = width;
        }
        printf("%s: mean squared error %.4g as measured, %.4g by a moving median of %lu (the best), %.4g by the "
               "model\n",
               table->names[k], noisy, best, (unsigned long)best_width, model);
    }
}

#endif
