/* csv_writer.h - writes numbers in the shape of a table that csv_reader.h has read, as a CSV file with a header.
   Returns 0, or -1 with one sentence in `message`. */
#ifndef CSV_WRITER_H
#define CSV_WRITER_H

#include "csv_reader.h"

/* The fewest digits that read back as the same float. */
static inline void csv_write_number(FILE *file, float number) {
    char text[32];
    int  digits = 6;
    do snprintf(text, sizeof text, "%.*g", digits, (double)number);
    while (digits++ < 9 && (float)strtod(text, NULL) != number);
    fputs(text, file);
}

/* In quotes where it needs them. */
static inline void csv_write_text(FILE *file, const char *text, int quoted) {
    quoted |= text[strcspn(text, ",;\t\"\r\n")] != '\0';
    if (quoted) fputc('"', file);
    for (; *text; text++) fprintf(file, *text == '"' ? "\"%c" : "%c", *text);
    if (quoted) fputc('"', file);
}

/* `numbers` under the table's names. What is left out or unchanged stands there as it was read, to the last digit. */
static inline int csv_write(const char *path, const csv_table *table, const float *numbers,
                            char message[MESSAGE_SIZE]) {
    const size_t width = table->left_out ? table->width : table->columns;
    char *const *names = table->left_out ? table->names + width : table->names;
    FILE        *file = fopen(path, "w");
    size_t       i, k, column;
    if (!file) return fail(message, "cannot open %s: %s", path, strerror(errno));
    for (k = 0; k < width; k++) {
        if (k) fputc(',', file);
        csv_write_text(file, names[k], 1);
    }
    for (i = 0; i < table->rows; i++)
        for (k = column = 0; k < width; k++) {
            const int    left_out = table->left_out && table->left_out[k];
            const size_t at = i * table->columns + column;
            fputc(k ? ',' : '\n', file);
            if (left_out || (table->fields && numbers[at] == table->numbers[at]))
                csv_write_text(file, table->fields[i * width + k], 0);
            else csv_write_number(file, numbers[at]);
            column += !left_out;
        }
    fputc('\n', file);
    if (ferror(file) | fclose(file)) return fail(message, "cannot write %s", path);
    printf("wrote %s\n", path);
    return 0;
}

#endif
