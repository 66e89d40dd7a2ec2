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

typedef enum option_kind {
    OPTION_TEXT,         /* const char *; NULL where there is no default */
    OPTION_CHOICE,       /* int: which of the words of the placeholder, such as "dense|conv" */
    OPTION_INTEGER,      /* long long */
    OPTION_TWO_INTEGERS, /* long long [2]: takes two values; no default where they are below the minimum */
    OPTION_NUMBER,       /* double */
    OPTION_FLAG          /* int: 1 where given; takes no value */
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

/* Word number `index` of "a|b|c" and its length; NULL after the last. */
static inline const char *options_word(const char *words, int index, int *length) {
    while (index-- > 0) {
        words = strchr(words, '|');
        if (!words) return NULL;
        words++;
    }
    *length = (int)strcspn(words, "|");
    return words;
}

/* Prints a sentence about a mistake; the result is the exit code for it. */
static inline int options_wrong(const char *program, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, ": see --help\n");
    va_end(arguments);
    return 2;
}

static inline void options_print_default(const option *o) {
    int         length;
    const char *word;
    if (o->kind == OPTION_TEXT && *(const char **)o->destination) printf(" (%s)", *(const char **)o->destination);
    if (o->kind == OPTION_CHOICE && (word = options_word(o->placeholder, *(int *)o->destination, &length)) != NULL)
        printf(" (%.*s)", length, word);
    if (o->kind == OPTION_TWO_INTEGERS && (double)*(long long *)o->destination >= o->minimum)
        printf(" (%lld %lld)", ((long long *)o->destination)[0], ((long long *)o->destination)[1]);
    if (o->kind == OPTION_INTEGER) printf(" (%lld)", *(long long *)o->destination);
    if (o->kind == OPTION_NUMBER) printf(" (%g)", *(double *)o->destination);
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

static inline int options_store_choice(const char *program, const option *o, const char *text) {
    const char *word;
    int         which, length;
    for (which = 0; (word = options_word(o->placeholder, which, &length)) != NULL; which++)
        if (strlen(text) == (size_t)length && strncmp(word, text, (size_t)length) == 0) {
            *(int *)o->destination = which;
            return 0;
        }
    return options_wrong(program, "--%s must be one of %s, not '%s'", o->name, o->placeholder, text);
}

static inline int options_store_number(const char *program, const option *o, int index, const char *text) {
    const int whole = o->kind != OPTION_NUMBER;
    char     *end;
    long long integer = 0;
    double    number;
    errno = 0;
    if (whole)
        number = (double)(integer = strtoll(text, &end, 10));
    else
        number = strtod(text, &end);
    if (end == text || *end || isspace((unsigned char)*text) || number != number)
        return options_wrong(program, "--%s needs a %s, not '%s'", o->name, whole ? "whole number" : "number", text);
    if (errno == ERANGE || number < o->minimum || number > o->maximum)
        return options_wrong(program, "--%s must be from %.10g to %.10g, not %s", o->name, o->minimum, o->maximum,
                             text);
    if (whole)
        ((long long *)o->destination)[index] = integer;
    else
        *(double *)o->destination = number;
    return 0;
}

/* Stores the value, or value number `index` of two; 0, or the exit code after a printed sentence. */
static inline int options_store(const char *program, const option *o, int index, const char *text) {
    if (o->kind == OPTION_CHOICE) return options_store_choice(program, o, text);
    if (o->kind != OPTION_TEXT) return options_store_number(program, o, index, text);
    if (!*text) return options_wrong(program, "--%s needs %s, not an empty word", o->name, o->placeholder);
    *(const char **)o->destination = text;
    return 0;
}

/* Takes option `o` at argv[*i], with `value` what followed its '=' if any, and moves *i over the values. */
static inline int options_take(const char *program, const option *o, const char *value, int argc, char **argv, int *i) {
    const int values = o->kind == OPTION_TWO_INTEGERS ? 2 : 1;
    int       v;
    if (o->kind == OPTION_FLAG) {
        if (value) return options_wrong(program, "--%s takes no value", o->name);
        *(int *)o->destination = 1;
        return 0;
    }
    for (v = 0; v < values; v++, value = NULL) {
        if (!value && *i + 1 < argc && strncmp(argv[*i + 1], "--", 2) != 0) value = argv[++*i];
        if (!value) return options_wrong(program, "--%s needs %s", o->name, values == 2 ? "two values" : "a value");
        if (options_store(program, o, v, value) != 0) return 2;
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
            if (options_store(program, table, 0, argv[i]) != 0) return 2;
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
