/* file_can_be_read.h - whether there is a file at a path that this program may read. */
#ifndef FILE_CAN_BE_READ_H
#define FILE_CAN_BE_READ_H

#include <stdio.h>

static inline int file_can_be_read(const char *path) {
    FILE *file = fopen(path, "rb");
    return file && fclose(file) == 0;
}

#endif
