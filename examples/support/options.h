/* options.h - a command line described by a table.

       long long epochs = 10;
       const option table[] = {
           { "epochs", "N", "passes over the data", OPTION_INTEGER, &epochs, 1, 1000 },
           OPTIONS_END
       };
       const int code = options_parse(argc, argv, "What the program does.", table, 0);
       if (code >= 0) return code;                            // 0: --help was printed, 2: a mistake was reported

   What a destination holds beforehand is the default. Takes --name value and --name=value. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "message.h"
#include "path_kind.h"

typedef enum option_kind {
    OPTION_TEXT,    /* const char *; NULL where there is no default */
    OPTION_OUTPUT,  /* the same, a file to write, for options_check_outputs */
    OPTION_MODEL,   /* the same, one that vae_save writes: no device, no pipe */
    OPTION_INTEGER, /* long long; no default where it is below the minimum */
    OPTION_NUMBER,  /* double, likewise */
    OPTION_FLAG     /* int: 1 where given; takes no value */
} option_kind;

typedef struct option {
    const char *name; /* without the dashes; OPTIONS_END ends the table */
    const char *placeholder, *help;
    option_kind kind;
    void       *destination;
    double      minimum, maximum; /* of integers and numbers */
} option;

#define OPTIONS_END                                                                                                    \
    { NULL, NULL, NULL, OPTION_TEXT, NULL, 0, 0 }

/* Prints a sentence about a mistake in the command line; the result is the exit code for it. */
static inline int options_wrong(const char *program, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout); /* what was printed before stays above it */
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, ": see --help\n");
    va_end(arguments);
    return 2;
}

static inline void options_print_default(const option *o) {
    if (o->kind <= OPTION_MODEL && *(const char **)o->destination) printf(" (%s)", *(const char **)o->destination);
    if (o->kind == OPTION_INTEGER && (double)*(long long *)o->destination >= o->minimum)
        printf(" (%lld)", *(long long *)o->destination);
    if (o->kind == OPTION_NUMBER && *(double *)o->destination >= o->minimum) printf(" (%g)", *(double *)o->destination);
}

static inline void options_help(const char *program, const char *purpose, const option *table, int plain_word) {
    const option *o;
    printf("%s\n\nusage: %s %s%s%s[options]\n\n", purpose, program, plain_word ? "[" : "",
           plain_word ? table[0].placeholder : "", plain_word ? "] " : "");
    for (o = table; o->name; o++) {
        const int length = printf("  --%s %s", o->name, o->placeholder);
        printf("%*s%s", length < 26 ? 26 - length : 1, "", o->help);
        options_print_default(o);
        printf("\n");
    }
    printf("  --help%*sthis text; defaults are in brackets\n", 26 - 8, "");
}

static inline size_t options_smallest(size_t a, size_t b, size_t c) {
    const size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* How many letters must be changed, added or left out to make `a` of `b` (Levenshtein). */
static inline size_t options_distance(const char *a, size_t a_length, const char *b) {
    size_t row[64], i, j, length = strlen(b);
    if (length >= 64) return (size_t)-1;
    for (j = 0; j <= length; j++) row[j] = j;
    for (i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (j = 1; j <= length; j++) {
            const size_t above = row[j];
            row[j] = options_smallest(diagonal + (a[i - 1] != b[j - 1]), above + 1, row[j - 1] + 1);
            diagonal = above;
        }
    }
    return row[length];
}

static inline int options_unknown(const char *program, const char *given, size_t length, const option *table) {
    const option *o, *nearest = NULL;
    size_t        least = length / 2 < 3 ? length / 2 + 1 : 4; /* anything farther is no misspelling */
    for (o = table; o->name; o++) {
        const size_t distance = options_distance(given, length, o->name);
        if (distance < least) {
            least = distance;
            nearest = o;
        }
    }
    if (!nearest) return options_wrong(program, "there is no option --%.*s", (int)length, given);
    return options_wrong(program, "there is no option --%.*s (did you mean --%s?)", (int)length, given, nearest->name);
}

static inline int options_store_number(const char *program, const option *o, const char *text) {
    const int whole = o->kind == OPTION_INTEGER;
    char     *end;
    long long integer = 0;
    double    number;
    errno = 0;
    number = whole ? (double)(integer = strtoll(text, &end, 10)) : strtod(text, &end);
    if (end == text || *end || isspace((unsigned char)*text) || number != number)
        return options_wrong(program, "--%s needs a %s, not '%s'", o->name, whole ? "whole number" : "number", text);
    if (errno == ERANGE || number < o->minimum || number > o->maximum)
        return options_wrong(program, "--%s must be from %.10g to %.10g, not %s", o->name, o->minimum, o->maximum,
                             text);
    if (whole)
        *(long long *)o->destination = integer;
    else
        *(double *)o->destination = number;
    return 0;
}

/* Stores the value; 0, or the exit code after a printed sentence. */
static inline int options_store(const char *program, const option *o, const char *text) {
    if (!text) return options_wrong(program, "--%s needs a value", o->name);
    if (o->kind > OPTION_MODEL) return options_store_number(program, o, text);
    if (!*text) return options_wrong(program, "--%s needs %s, not an empty word", o->name, o->placeholder);
    *(const char **)o->destination = text;
    return 0;
}

/* Takes option `o` at argv[*i], with `value` what followed its '=' if any, and moves *i over the value. */
static inline int options_take(const char *program, const option *o, const char *value, int argc, char **argv, int *i) {
    if (o->kind == OPTION_FLAG) {
        if (value) return options_wrong(program, "--%s takes no value", o->name);
        *(int *)o->destination = 1;
        return 0;
    }
    if (!value && *i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0) value = argv[++*i];
    return options_store(program, o, value);
}

/* Whether both paths lead to one file: spelt otherwise, or by a link. (Windows numbers no files here: all have 0.) */
static inline int options_is_one_file(const char *path, const char *other) {
    struct stat file, second;
    if (strcmp(path, other) == 0) return 1;
    return stat(path, &file) == 0 && stat(other, &second) == 0 && file.st_ino != 0 && file.st_ino == second.st_ino &&
           file.st_dev == second.st_dev;
}

/* Another option of the table that names the file which output `o` would overwrite, or NULL. */
static inline const option *options_same_file(const option *o, const option *table) {
    for (; table->name; table++) {
        const int   is_path = strcmp(table->placeholder, "FILE") == 0 || strcmp(table->placeholder, "PATH") == 0;
        const char *path = is_path && table->kind <= OPTION_MODEL ? *(const char **)table->destination : NULL;
        if (table != o && path && options_is_one_file(path, *(const char **)o->destination)) return table;
    }
    return NULL;
}

/* The file that the option names for output, or NULL. */
static inline const char *options_output(const option *o) {
    return o->kind == OPTION_OUTPUT || o->kind == OPTION_MODEL ? *(const char **)o->destination : NULL;
}

/* Whether the file can be opened so; one that this makes is removed again. Else errno says why not. */
static inline int options_can_open(const char *path, const char *mode) {
    const path_kind before = path_kind_of(path);
    FILE           *file = fopen(path, mode);
    return file && fclose(file) == 0 && (before != PATH_NOTHING || remove(path) == 0);
}

/* Whether a file can be made at `path`. What is there now stays as it is. */
static inline int options_check_output(const option *o, const char *path, char message[MESSAGE_SIZE]) {
    const int       is_prefix = strcmp(o->placeholder, "PREFIX") == 0;
    const path_kind kind = is_prefix ? PATH_NOTHING : path_kind_of(path);
    const char     *slash = strrchr(path, '/');
    char            trial[1024];
    if (kind == PATH_FOLDER || (slash && !slash[1]))
        return fail(message, "--%s %s is a folder: add a name for the file", o->name, path);
    if (kind == PATH_DEVICE && o->kind == OPTION_MODEL)
        return fail(message, "--%s %s is a device or a pipe: name a file", o->name, path);
    if (kind == PATH_DEVICE) return 0;      /* what is written there goes straight into it */
    errno = ENAMETOOLONG;
    if (snprintf(trial, sizeof trial, "%s.partial", path) < (int)sizeof trial &&
        (kind != PATH_FILE || options_can_open(path, "r+b")) && options_can_open(trial, "ab")) return 0;
    fail(message, "cannot write --%s %s: %s", o->name, path, strerror(errno));
    if (!slash || slash == path) return -1;
    snprintf(trial, sizeof trial, "%.*s", (int)(slash - path), path);
    if (path_kind_of(trial) != PATH_NOTHING) return -1;
    return fail(message, strchr(trial, ' ') ? "there is no folder %s for --%s: make it with mkdir -p '%s'"
                                            : "there is no folder %s for --%s: make it with mkdir -p %s",
                trial, o->name, trial);
}

/* Whether files can be made where the options say, before an hour is spent on what should go into them: of another file
   that an option names nothing would be left. No folder is made: one that is missing is more often misspelt. Returns 0,
   or the exit code after a printed sentence. */
static inline int options_check_outputs(const char *program, const option *table) {
    const option *o;
    char          message[MESSAGE_SIZE];
    for (o = table; o->name; o++)
        if (options_output(o) && options_same_file(o, table))
            return options_wrong(program, "--%s would overwrite %s, which is --%s too", o->name, options_output(o),
                                 options_same_file(o, table)->name);
    for (o = table; o->name; o++) {
        if (!options_output(o) || options_check_output(o, options_output(o), message) == 0) continue;
        complain(program, message);
        return 2;
    }
    return 0;
}

/* Returns -1 where the program should go on, else its exit code. With `plain_word` nonzero, one argument without dashes
   is taken as the value of the table's first option. */
static inline int options_parse(int argc, char **argv, const char *purpose, const option *table, int plain_word) {
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *program = slash ? slash + 1 : argc > 0 ? argv[0] : "";
    int         i, words = 0;
    for (i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            options_help(program, purpose, table, plain_word);
            return 0;
        }
    for (i = 1; i < argc; i++) {
        const char   *name = argv[i] + 2;
        const option *o = table;
        size_t        length;
        if (strncmp(argv[i], "--", 2) != 0) {
            if (argv[i][0] == '-' || words++ >= plain_word)
                return options_wrong(program, "'%s' is not expected, options begin with --", argv[i]);
            if (options_store(program, table, argv[i]) != 0) return 2;
            continue;
        }
        length = strcspn(name, "=");
        while (o->name && (strlen(o->name) != length || strncmp(o->name, name, length) != 0)) o++;
        if (!o->name) return options_unknown(program, name, length, table);
        if (options_take(program, o, name[length] ? name + length + 1 : NULL, argc, argv, &i) != 0) return 2;
    }
    return -1;
}

#endif
