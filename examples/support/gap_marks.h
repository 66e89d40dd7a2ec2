/* gap_marks.h - numbers that stand for a gap, such as -999. */
#ifndef GAP_MARKS_H
#define GAP_MARKS_H

#include "csv_reader.h"

/* Takes every such number for a gap. */
static inline void gap_marks_take(csv_table *table, double mark) {
    size_t i;
    for (i = 0; i < table->rows * table->columns; i++)
        if (table->numbers[i] == (float)mark) {
            table->numbers[i] = NAN;
            table->gaps++;
        }
}

/* How often the column's least number (`sign` 1) or largest (-1) stands there, where it is farther from all others than
   these are from each other, or the only negative one; else 0. */
static inline size_t gap_marks_count(const csv_table *table, size_t column, float sign, float *mark) {
    float  least = INFINITY, nearest = INFINITY, largest = -INFINITY;
    size_t count = 0, i;
    for (i = column; i < table->rows * table->columns; i += table->columns)
        if (sign * table->numbers[i] < least) least = sign * table->numbers[i];
    for (i = column; i < table->rows * table->columns; i += table->columns) {
        const float number = sign * table->numbers[i];
        count += number == least;
        if (number > least && number < nearest) nearest = number;
        if (number > least && number > largest) largest = number;
    }
    *mark = sign * least;
    if (!(largest > nearest)) return 0;         /* of two numbers, none is odd */
    return nearest - least > largest - nearest || (sign > 0 && least < 0 && nearest >= 0) ? count : 0;
}

/* Names the columns with a number that looks like a mark: one that comes at least three times. */
static inline void gap_marks_warn(const csv_table *table) {
    size_t k;
    int    which;
    for (k = 0; k < table->columns; k++)
        for (which = 0; which < 2; which++) {
            float        mark;
            const size_t count = gap_marks_count(table, k, which ? -1.0f : 1.0f, &mark);
            if (count >= 3)
                printf("%s holds %.9g %lu times, far from its other numbers: a mark for missing? give --missing %.9g\n",
                       table->names[k], (double)mark, (unsigned long)count, (double)mark);
        }
}

#endif
