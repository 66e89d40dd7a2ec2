/* ppm_reader.h - reads a binary PGM (P5) or PPM (P6) picture, trusting nothing in it.

   The header is the magic, width, height and the largest value (1 to 65535), with white space and # comments between,
   and one white space behind. Then come width * height * channels numbers, of one byte, or of two where the largest
   value takes two, the higher first. Values are scaled to 0 .. 255; what follows them is not looked at. No more memory
   is taken than the file has bytes. Calls return 0, or -1 with one sentence in `message`. */
#ifndef PPM_READER_H
#define PPM_READER_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

enum { PPM_MAX_SIDE = 16384 };

typedef struct ppm_image {
    unsigned char *pixels;              /* height x width x channels; release with free() */
    int            height, width, channels;
} ppm_image;

/* The next number of the header, or -1: none, or larger than `largest`. The byte behind it is taken too. */
static inline int ppm_number(FILE *file, int largest) {
    int number = 0, digits = 0, c = getc(file);
    while (c == ' ' || (c >= '\t' && c <= '\r') || c == '#') {
        if (c == '#') while (c != '\n' && c != EOF) c = getc(file);
        else c = getc(file);
    }
    for (; c >= '0' && c <= '9'; c = getc(file), digits++)
        if ((number = number * 10 + (c - '0')) > largest) return -1;
    return digits && (c == ' ' || (c >= '\t' && c <= '\r')) ? number : -1;
}

static inline int ppm_content(FILE *file, const char *path, ppm_image *image, char *message) {
    int    magic, largest;
    long   begin, end;
    size_t size, bytes, i;
    errno = 0;
    magic = getc(file) == 'P' ? getc(file) : 0;
    if (ferror(file)) return fail(message, "cannot read %s: %s", path, strerror(errno));
    if (magic != '5' && magic != '6')
        return fail(message, "%s is no binary PGM or PPM picture: it does not begin with P5 or P6", path);
    image->channels = magic == '6' ? 3 : 1;
    image->width = ppm_number(file, PPM_MAX_SIDE);
    image->height = image->width < 0 ? -1 : ppm_number(file, PPM_MAX_SIDE);
    if (image->width < 1 || image->height < 1)
        return fail(message, "%s: width and height must be from 1 to %d", path, PPM_MAX_SIDE);
    if ((largest = ppm_number(file, 65535)) < 1)
        return fail(message, "%s: the largest value must be from 1 to 65535", path);
    size = (size_t)image->width * (size_t)image->height * (size_t)image->channels;
    bytes = largest > 255 ? 2 * size : size;
    if ((begin = ftell(file)) < 0 || fseek(file, 0, SEEK_END) != 0 || (end = ftell(file)) < begin ||
        fseek(file, begin, SEEK_SET) != 0)
        return fail(message, "cannot find out the size of %s", path);
    if ((unsigned long)(end - begin) < bytes)
        return fail(message, "%s ends after %lu of the %lu bytes of %d x %d pixels", path, (unsigned long)(end - begin),
                    (unsigned long)bytes, image->width, image->height);
    image->pixels = (unsigned char *)malloc(bytes);
    if (!image->pixels) return fail(message, "not enough memory for %s", path);
    i = fread(image->pixels, 1, bytes, file);
    if (ferror(file)) return fail(message, "cannot read %s: %s", path, strerror(errno));
    if (i < bytes) return fail(message, "cannot read %s: it ended early", path);
    for (i = 0; i < size; i++) {
        const int value = largest > 255 ? image->pixels[2 * i] << 8 | image->pixels[2 * i + 1] : image->pixels[i];
        if (value > largest)
            return fail(message, "%s has a value of %d where %d is the largest", path, value, largest);
        image->pixels[i] = (unsigned char)((value * 255 + largest / 2) / largest);
    }
    return 0;
}

static inline int ppm_read(const char *path, ppm_image *image, char message[MESSAGE_SIZE]) {
    FILE *file = fopen(path, "rb");
    int   result;
    memset(image, 0, sizeof *image);
    if (!file) return fail(message, "cannot open %s: %s", path, strerror(errno));
    result = ppm_content(file, path, image, message);
    fclose(file);
    if (result != 0) {
        free(image->pixels);
        image->pixels = NULL;
    }
    return result;
}

#endif
