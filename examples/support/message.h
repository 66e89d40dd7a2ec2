/* message.h - failures as sentences: made where they happen, printed by the program. */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdarg.h>
#include <stdio.h>

enum { MESSAGE_SIZE = 256 };

/* Writes the sentence and returns -1: `return fail(message, "cannot read %s", path)`. */
static inline int fail(char message[MESSAGE_SIZE], const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, MESSAGE_SIZE, format, arguments);
    va_end(arguments);
    return -1;
}

/* Prints the sentence behind all that was printed before it; the result is the exit code for a failure. */
static inline int complain(const char *program, const char *message) {
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", program, message);
    return 1;
}

#endif
