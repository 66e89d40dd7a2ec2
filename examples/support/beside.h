/* beside.h - a default name that follows from another file's. */
#ifndef BESIDE_H
#define BESIDE_H

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BESIDE_SIZE = 1100 };

/* The path, without `ending` where it has it, and what `format` makes behind it. Any other ending stays, or else two
   files that differ in nothing else would have one result. */
static inline const char *beside(char made[BESIDE_SIZE], const char *path, const char *ending, const char *format,
                                 ...) {
    const size_t whole = strlen(path), end = strlen(ending);
    const size_t length = whole > end && strcmp(path + whole - end, ending) == 0 ? whole - end : whole;
    const size_t used = length < BESIDE_SIZE ? length : BESIDE_SIZE - 1;
    va_list      arguments;
    memcpy(made, path, used);
    va_start(arguments, format);
    vsnprintf(made + used, BESIDE_SIZE - used, format, arguments);
    va_end(arguments);
    return made;
}

#endif
