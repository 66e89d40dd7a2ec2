/* export_rows.h - rows to find scales with: a folder of MNIST's files, or a CSV file with a column for each number. For
   series the file may have a column for each channel instead: then every stretch of consecutive lines is a row. */
#ifndef EXPORT_ROWS_H
#define EXPORT_ROWS_H

#include "csv_reader.h"
#include "idx_reader.h"

enum { EXPORT_MOST_ROWS = 1000 };

typedef struct export_rows {
    float *numbers;
    int   *labels;      /* NULL where the source has none */
    size_t count;
} export_rows;

static inline void export_free_rows(export_rows *rows) {
    free(rows->numbers);
    free(rows->labels);
    memset(rows, 0, sizeof *rows);
}

/* At most so many rows of the source, spread over all of it. */
static inline int export_take_room_for(export_rows *rows, size_t count, size_t size, char *message) {
    rows->count = count < EXPORT_MOST_ROWS ? count : EXPORT_MOST_ROWS;
    rows->numbers = (float *)malloc((rows->count * size + 1) * sizeof(float));
    rows->labels = (int *)malloc((rows->count + 1) * sizeof(int));
    return rows->numbers && rows->labels ? 0 : fail(message, "not enough memory");
}

static inline int export_rows_of_folder(export_rows *rows, const char *path, size_t size, char *message) {
    idx_images images;
    idx_labels labels = { NULL, 0 };
    size_t     i, k;
    int        code;
    if (idx_read_images(path, "train-images-idx3-ubyte", &images, message) != 0) return -1;
    code = idx_read_labels(path, "train-labels-idx1-ubyte", &labels, message);
    if (code == 0 && ((size_t)images.height * (size_t)images.width != size || labels.count != images.count))
        code = fail(message, "the images in %s have %d x %d pixels, the model takes %lu numbers", path, images.height,
                    images.width, (unsigned long)size);
    if (code == 0) code = export_take_room_for(rows, images.count, size, message);
    for (i = 0; code == 0 && i < rows->count; i++) {
        const size_t row = i * images.count / rows->count;
        for (k = 0; k < size; k++) rows->numbers[i * size + k] = (float)images.pixels[row * size + k] / 255;
        rows->labels[i] = labels.values[row];
    }
    free(images.pixels);
    free(labels.values);
    return code;
}

/* Rows with gaps are left out. */
static inline int export_rows_of_table(export_rows *rows, const char *path, const char *without, vae_shape shape,
                                       char *message) {
    const size_t size = (size_t)shape.height * (size_t)shape.width * (size_t)shape.channels;
    csv_table    table;
    size_t       i, k, lines, count, kept = 0;      /* `lines` of the table make a row, of which there are `count` */
    int          code = 0;
    if (csv_read(path, without, &table, message) != 0) return -1;
    lines = shape.height == 1 && table.columns == (size_t)shape.channels ? (size_t)shape.width : 1;
    count = table.rows < lines ? 0 : table.rows - lines + 1;
    if (lines * table.columns != size)
        code = fail(message, "%s has %lu columns, the model takes %lu numbers%s", path, (unsigned long)table.columns,
                    (unsigned long)size, shape.height == 1 && shape.channels > 1 ? ", or a column for each channel"
                                                                                 : "");
    else if (count == 0)
        code = fail(message, "%s has %lu rows of numbers, the model takes %lu at a time", path,
                    (unsigned long)table.rows, (unsigned long)lines);
    else code = export_take_room_for(rows, count, size, message);
    for (i = 0; code == 0 && i < rows->count; i++) {
        const float *row = table.numbers + i * count / rows->count * table.columns;
        for (k = 0; k < size && row[k] == row[k]; k++) {}
        if (k == size) memcpy(rows->numbers + kept++ * size, row, size * sizeof *row);
    }
    if (code == 0) {
        rows->count = kept;
        free(rows->labels);
        rows->labels = NULL;
    }
    csv_free(&table);
    return code;
}

/* Rows of this shape; with `classes` labels are needed. */
static inline int export_read_rows(export_rows *rows, const char *path, const char *without, vae_shape shape,
                                   int classes, char *message) {
    const size_t size = (size_t)shape.height * (size_t)shape.width * (size_t)shape.channels;
    const size_t length = strlen(path);
    const int    is_table = length > 4 && strcmp(path + length - 4, ".csv") == 0;
    size_t       i;
    memset(rows, 0, sizeof *rows);
    if ((is_table ? export_rows_of_table(rows, path, without, shape, message)
                  : export_rows_of_folder(rows, path, size, message)) != 0) return -1;
    if (rows->count == 0) return fail(message, "%s has no rows without gaps", path);
    if (classes && !rows->labels) return fail(message, "the model takes labels, and %s has none", path);
    for (i = 0; classes && i < rows->count; i++)
        if (rows->labels[i] >= classes) return fail(message, "%s has a label %d, the model has %d classes", path,
                                                    rows->labels[i], classes);
    return 0;
}

#endif
