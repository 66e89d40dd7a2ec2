/* csv_reader.h - reads a table of numbers from a CSV file, trusting nothing in it.

       csv_table table;
       char      message[MESSAGE_SIZE];
       if (csv_read("sensors.csv", "id,time", &table, message) != 0) return complain("program", message);
       ... table.numbers[row * table.columns + column] ...
       csv_free(&table);

   Fields stand between commas, semicolons or tabs, whichever the first line has most of, as they are or in double
   quotes, where "" is one quote. A field is a number or a gap: nothing, or NA, NaN, null or ?, which reads as NaN. The
   first line is a header where one of its fields is neither. Lines end in LF, CR LF or CR; empty ones are passed over.

   Calls return 0, or -1 with one sentence in `message`. */
#ifndef CSV_READER_H
#define CSV_READER_H

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

typedef struct csv_table {
    float  *numbers;        /* rows x columns; NaN in the gaps */
    size_t  rows, columns;
    size_t *lines;          /* of each row: its line in the file, counted from 1 */
    char  **names;          /* of each column: the header's, else "column 3", counted from 1 in the file */
    size_t  gaps;
    int     has_header;
    char   *text;           /* where the names stand */
    size_t  width;          /* columns in the file; their names, in its order, stand behind the others */
    char   *left_out;       /* of each of them: nonzero; NULL: none is, as in tables of another making */
    char  **fields;         /* rows x width: what stands there, left out or not */
} csv_table;

static inline void csv_free(csv_table *table) {
    free(table->numbers);
    free(table->lines);
    free(table->names);
    free(table->text);
    free(table->left_out);
    free(table->fields);
    memset(table, 0, sizeof *table);
}

typedef struct csv_reader {
    const char *path;
    char       *at, *end, *message;
    char        delimiter;
    size_t      line;                                   /* that begins at `at`, counted from 1 */
    char      **fields;                                 /* of one line */
    size_t      room, rows_room, lines_room, fields_room;
} csv_reader;

/* The whole file with a 0 behind it. */
static inline char *csv_file(const char *path, size_t *size, char *message) {
    FILE  *file = fopen(path, "rb");
    char  *text = NULL, *larger;
    size_t room = 0, got = 1;
    *size = 0;
    if (!file) {
        fail(message, "cannot open %s: %s", path, strerror(errno));
        return NULL;
    }
    errno = 0;
    while (got > 0) {
        if (room - *size < 65536) {
            if (room > (size_t)-1 / 4 || (larger = (char *)realloc(text, room = 2 * room + 131072)) == NULL) {
                fail(message, "not enough memory for %s", path);
                break;
            }
            text = larger;
        }
        got = fread(text + *size, 1, room - *size - 1, file);
        *size += got;
    }
    if (got == 0 && ferror(file)) fail(message, "cannot read %s: %s", path, strerror(errno));
    else if (got == 0) {
        fclose(file);
        text[*size] = '\0';
        return text;
    }
    fclose(file);
    free(text);
    return NULL;
}

/* Takes the next field, without the blanks around it and in quotes without these; *last: a line ends behind it. */
static inline int csv_field(csv_reader *reader, char **field, int *last) {
    char *from = reader->at, *to;
    while (*from == ' ' || (*from == '\t' && reader->delimiter != '\t')) from++;
    *field = to = from;
    if (*from == '"') {
        const size_t opened = reader->line;
        for (from++; from[0] != '"' || from[1] == '"'; *to++ = *from++) {
            if (from == reader->end)
                return fail(reader->message, "%s, line %lu: a quoted field does not end", reader->path,
                            (unsigned long)opened);
            if (*from == '"') from++;
            if (*from == '\n') reader->line++;
        }
        from++;
        while (*from == ' ' || *from == '\r') from++;
        if (*from != reader->delimiter && *from != '\n' && from != reader->end)
            return fail(reader->message, "%s, line %lu: something follows a closing quote", reader->path,
                        (unsigned long)reader->line);
    } else {
        while (*from != reader->delimiter && *from != '\n' && from != reader->end) from++;
        for (to = from; to > *field && (to[-1] == ' ' || to[-1] == '\r' || to[-1] == '\t');) to--;
    }
    *last = from == reader->end || *from == '\n';
    reader->at = from + (from != reader->end);
    *to = '\0';
    return 0;
}

/* Whether the field is a number or a gap. Only plain decimals: strtod would also take words and hexadecimal. */
static inline int csv_number(const char *field, double *number) {
    static const char *const gaps[] = { "", "NA", "N/A", "NaN", "nan", "null", "NULL", "?" };
    char                    *end;
    size_t                   i;
    for (i = 0; i < sizeof gaps / sizeof *gaps; i++)
        if (strcmp(field, gaps[i]) == 0) {
            *number = (double)NAN;
            return 1;
        }
    if (field[strspn(field, "+-.0123456789eE")]) return 0;
    *number = strtod(field, &end);
    return !*end;
}

/* Room for item `count` of an array of `size` bytes each, which grows by doubling. */
static inline int csv_room(void **array, size_t count, size_t *room, size_t size) {
    void *larger;
    if (count < *room) return 1;
    if (*room > (size_t)-1 / 4 || 2 * *room + 64 > (size_t)-1 / size ||
        (larger = realloc(*array, (2 * *room + 64) * size)) == NULL) return 0;
    *array = larger;
    *room = 2 * *room + 64;
    return 1;
}

/* Takes the fields of the next line that is not empty; *count is 0 where there is none. Fields stay in the text. */
static inline int csv_line(csv_reader *reader, size_t *line, size_t *count) {
    int last = 0;
    for (*count = 0; reader->at < reader->end; reader->at++) {
        while (*reader->at == ' ' || *reader->at == '\r') reader->at++;
        if (*reader->at != '\n') break;
        reader->line++;
    }
    *line = reader->line;
    if (reader->at == reader->end) return 0;
    while (!last) {
        if (!csv_room((void **)&reader->fields, *count, &reader->room, sizeof *reader->fields))
            return fail(reader->message, "not enough memory for %s", reader->path);
        if (csv_field(reader, &reader->fields[(*count)++], &last) != 0) return -1;
    }
    reader->line++;
    return 0;
}

static inline char csv_delimiter(const char *text) {
    static const char delimiters[] = { ',', ';', '\t' };
    size_t            counts[3] = { 0, 0, 0 }, i;
    int               quoted = 0;
    for (; *text && (quoted || *text != '\n'); text++) {
        quoted ^= *text == '"';
        for (i = 0; i < 3; i++) counts[i] += !quoted && *text == delimiters[i];
    }
    i = counts[1] > counts[0];
    return delimiters[counts[2] > counts[i] ? 2 : i];
}

/* Which of the columns has that name, or that number counted from 1; `count` where none has. */
static inline size_t csv_column(char *const *names, size_t count, const char *name, size_t length) {
    char   digits[32];
    size_t i;
    for (i = 0; i < count; i++) if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0) return i;
    for (i = 0; i < count; i++) {
        snprintf(digits, sizeof digits, "%lu", (unsigned long)i + 1);
        if (strlen(digits) == length && memcmp(digits, name, length) == 0) return i;
    }
    return count;
}

/* Refuses a name that no column has, with the first of those that there are. */
static inline int csv_no_column(const csv_reader *reader, char *const *names, size_t count, const char *name,
                                size_t length) {
    char   list[100];
    size_t used = 0, i;
    for (i = 0; i < count && used + strlen(names[i]) + 6 < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
    if (i < count) snprintf(list + used, sizeof list - used, "%s..", i ? ", " : "");
    return fail(reader->message, "%s has no column '%.*s' to leave out, it has %s", reader->path, (int)length, name,
                list);
}

/* Names the columns after the first line, or by their numbers, and finds out which are left out. */
static inline int csv_name_columns(csv_reader *reader, csv_table *table, const char *without, size_t count) {
    enum { ROOM = 32 };         /* of "column 3" */
    size_t i, length;
    double number;
    char  *made, **all;
    table->width = count;
    if (count <= (size_t)-1 / (2 * sizeof *table->names + ROOM))
        table->names = (char **)malloc(count * (2 * sizeof *table->names + ROOM));
    table->left_out = (char *)calloc(count, 1);
    if (!table->names || !table->left_out)
        return fail(reader->message, "not enough memory for the columns of %s", reader->path);
    for (i = 0; i < count; i++) table->has_header |= !csv_number(reader->fields[i], &number);
    all = table->names + count;
    made = (char *)(all + count);
    for (i = 0; i < count; i++, made += ROOM) {
        snprintf(made, ROOM, "column %lu", (unsigned long)i + 1);
        all[i] = table->has_header && *reader->fields[i] ? reader->fields[i] : made;
    }
    for (; without && *without; without += length + (without[length] == ',')) {
        length = strcspn(without, ",");
        if ((i = csv_column(all, count, without, length)) == count)
            return csv_no_column(reader, all, count, without, length);
        table->left_out[i] = 1;
    }
    for (i = 0; i < count; i++)
        if (!table->left_out[i]) table->names[table->columns++] = all[i];
    return table->columns ? 0 : fail(reader->message, "no column of %s is left", reader->path);
}

/* What to do about a field that is no number. */
static inline const char *csv_advice(const char *field) {
    const size_t length = strspn(field, "+-.,0123456789eE");
    if (!field[length] && strchr(field, ',')) return "numbers take a decimal point and no commas";
    return !field[strspn(field, "+-.0123456789eE ")] ? "fields stand between commas, semicolons or tabs"
                                                     : "--without leaves a column out";
}

/* Reads the fields of one line as the table's next row. */
static inline int csv_row(csv_reader *reader, csv_table *table, size_t line, size_t count) {
    size_t i, column = 0;
    if (count != table->width)
        return fail(reader->message, "%s, line %lu has %lu fields, the first line has %lu", reader->path,
                    (unsigned long)line, (unsigned long)count, (unsigned long)table->width);
    if (!csv_room((void **)&table->numbers, table->rows, &reader->rows_room, table->columns * sizeof *table->numbers) ||
        !csv_room((void **)&table->lines, table->rows, &reader->lines_room, sizeof *table->lines) ||
        !csv_room((void **)&table->fields, table->rows, &reader->fields_room, table->width * sizeof *table->fields))
        return fail(reader->message, "not enough memory for %s", reader->path);
    memcpy(table->fields + table->rows * table->width, reader->fields, count * sizeof *table->fields);
    for (i = 0; i < count; i++) {
        float *to = table->numbers + table->rows * table->columns + column;
        double number = 0;
        if (table->left_out[i]) continue;
        if (!csv_number(reader->fields[i], &number))
            return fail(reader->message, "%s, line %lu, %s holds '%.40s': that is no number (%s)", reader->path,
                        (unsigned long)line, table->names[column], reader->fields[i], csv_advice(reader->fields[i]));
        if (number > 3e38 || number < -3e38)
            return fail(reader->message, "%s, line %lu, %s holds %.40s: that is too large", reader->path,
                        (unsigned long)line, table->names[column], reader->fields[i]);
        table->gaps += number != number;
        *to = (float)number;
        column++;
    }
    table->lines[table->rows++] = line;
    return 0;
}

/* Refuses a table with a column of gaps alone: nothing can be learned of it. */
static inline int csv_check_columns(const csv_table *table, const char *path, char message[MESSAGE_SIZE]) {
    size_t i, k;
    for (k = 0; k < table->columns; k++) {
        for (i = k; i < table->rows * table->columns && table->numbers[i] != table->numbers[i];) i += table->columns;
        if (i >= table->rows * table->columns)
            return fail(message, "%s holds no number in %s: leave it out with --without", path, table->names[k]);
    }
    return 0;
}

/* Refuses two tables whose columns differ in number or, where both have a header, in their names. */
static inline int csv_check_same(const csv_table *a, const char *a_path, const csv_table *b, const char *b_path,
                                 char message[MESSAGE_SIZE]) {
    size_t k;
    if (a->columns != b->columns)
        return fail(message, "%s has %lu columns, %s has %lu", a_path, (unsigned long)a->columns, b_path,
                    (unsigned long)b->columns);
    for (k = 0; a->has_header && b->has_header && k < a->columns; k++)
        if (strcmp(a->names[k], b->names[k]) != 0)
            return fail(message, "column %lu of those read is %s in %s, but %s in %s", (unsigned long)k + 1,
                        a->names[k], a_path, b->names[k], b_path);
    return 0;
}

/* `without` names columns to leave out, in words or numbers with commas between, or is NULL. Release the table with
   csv_free, after a failure too. */
static inline int csv_read(const char *path, const char *without, csv_table *table, char message[MESSAGE_SIZE]) {
    csv_reader reader;
    size_t     size, line, count = 0;
    int        result = 0;
    memset(table, 0, sizeof *table);
    memset(&reader, 0, sizeof reader);
    if ((table->text = csv_file(path, &size, message)) == NULL) return -1;
    if (!memchr(table->text, '\n', size))                      /* lines end in CR alone */
        for (line = 0; line < size; line++) if (table->text[line] == '\r') table->text[line] = '\n';
    if (memchr(table->text, '\0', size)) return fail(message, "%s is no text in UTF-8: it holds a byte 0", path);
    reader.path = path;
    reader.message = message;
    reader.at = table->text + (memcmp(table->text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0);       /* a byte-order mark */
    reader.end = table->text + size;
    reader.delimiter = csv_delimiter(reader.at);
    reader.line = 1;
    do {
        result = csv_line(&reader, &line, &count);
        if (result == 0 && count && !table->width) {
            result = csv_name_columns(&reader, table, without, count);
            if (table->has_header) continue;
        }
        if (result == 0 && count) result = csv_row(&reader, table, line, count);
    } while (result == 0 && count);
    if (result == 0 && !table->rows) result = fail(message, "%s holds no rows", path);
    free(reader.fields);
    return result;
}

#endif
