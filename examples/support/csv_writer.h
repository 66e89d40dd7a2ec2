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

/* `numbers` under the table's names. */
static inline int csv_write(const char *path, const csv_table *table, const float *numbers,
                            char message[MESSAGE_SIZE]) {
    FILE  *file = fopen(path, "w");
    size_t i, k;
    if (!file) return fail(message, "cannot open %s: %s", path, strerror(errno));
    for (k = 0; k < table->columns; k++) {
        const char *name = table->names[k];
        fputs(k ? ",\"" : "\"", file);
        for (; *name; name++) fprintf(file, *name == '"' ? "\"%c" : "%c", *name);
        fputs("\"", file);
    }
    for (i = 0; i < table->rows * table->columns; i++) {
        fputc(i % table->columns ? ',' : '\n', file);
        csv_write_number(file, numbers[i]);
    }
    fputc('\n', file);
    if (ferror(file) | fclose(file)) return fail(message, "cannot write %s", path);
    printf("wrote %s\n", path);
    return 0;
}

#endif
