/* png_writer.h - writes float images as one PNG picture, without a library: 8 bits, grey or RGB.

   Deflate is kept small: fixed Huffman codes, and matches at two distances only, one pixel back and one row back. That
   is all it takes here, where most pixels are black and enlarging repeats rows.

   Calls return 0, or -1 with one sentence in `message` (256 bytes of yours). */
#ifndef PNG_WRITER_H
#define PNG_WRITER_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "path_kind.h"

enum { PNG_MAX_SIDE = 20000, PNG_GUTTER = 2, PNG_GUTTER_GREY = 48 };

typedef struct png_bits {
    unsigned char *bytes;
    size_t         length;
    uint32_t       pending; /* bits not yet in `bytes`, the earliest lowest */
    int            pending_count;
} png_bits;

static inline void png_put_bits(png_bits *out, uint32_t value, int count) {
    out->pending |= value << out->pending_count;
    for (out->pending_count += count; out->pending_count >= 8; out->pending_count -= 8, out->pending >>= 8)
        out->bytes[out->length++] = (unsigned char)out->pending;
}

/* Huffman codes alone go into the stream with their highest bit first. */
static inline void png_put_code(png_bits *out, uint32_t code, int count) {
    while (count-- > 0) png_put_bits(out, code >> count & 1, 1);
}

/* The fixed code of a literal, a length or the end of the block (RFC 1951, 3.2.6). */
static inline void png_put_symbol(png_bits *out, uint32_t symbol) {
    if (symbol < 144)
        png_put_code(out, 0x30 + symbol, 8);
    else if (symbol < 256)
        png_put_code(out, 0x190 + symbol - 144, 9);
    else if (symbol < 280)
        png_put_code(out, symbol - 256, 7);
    else
        png_put_code(out, 0xc0 + symbol - 280, 8);
}

/* "Repeat `length` bytes (3 to 258) from `distance` bytes ago (1 to 32768)." The symbols double in range every four
   (lengths) or two (distances); these are the tables of RFC 1951, 3.2.5, as formulas. */
static inline void png_put_match(png_bits *out, uint32_t length, uint32_t distance) {
    const uint32_t l = length - 3, d = distance - 1;
    int            extra = 0;
    while (l >> extra >= 8) extra++;
    if (length == 258)
        png_put_symbol(out, 285);
    else {
        png_put_symbol(out, extra ? 257 + 4 * (uint32_t)extra + (l >> extra) : 257 + l);
        png_put_bits(out, l & ((1u << extra) - 1), extra);
    }
    for (extra = 0; d >> extra >= 4;) extra++;
    png_put_code(out, extra ? 2 * (uint32_t)extra + (d >> extra) : d, 5);
    png_put_bits(out, d & ((1u << extra) - 1), extra);
}

static inline size_t png_match_length(const unsigned char *bytes, size_t position, size_t size, size_t distance) {
    size_t length = 0;
    if (distance > position || distance > 32768) return 0;
    while (length < 258 && position + length < size && bytes[position + length] == bytes[position + length - distance])
        length++;
    return length;
}

/* A zlib stream of `raw`. `out` has room: a literal takes at most 9 bits. */
static inline void png_compress(png_bits *out, const unsigned char *raw, size_t size, size_t pixel, size_t row) {
    uint32_t low = 1, high = 0; /* Adler-32 */
    size_t   i = 0;
    png_put_bits(out, 0x0178, 16);    /* deflate, window of 32 KiB */
    png_put_bits(out, 1 | 1 << 1, 3); /* the last block, fixed codes */
    while (i < size) {
        const size_t across = png_match_length(raw, i, size, pixel), above = png_match_length(raw, i, size, row);
        const size_t length = across >= above ? across : above;
        if (length >= 3)
            png_put_match(out, (uint32_t)length, (uint32_t)(across >= above ? pixel : row));
        else
            png_put_symbol(out, raw[i]);
        i += length >= 3 ? length : 1;
    }
    png_put_symbol(out, 256);
    png_put_bits(out, 0, -out->pending_count & 7);
    for (i = 0; i < size; i++) {
        low = (low + raw[i]) % 65521;
        high = (high + low) % 65521;
    }
    for (i = 0; i < 4; i++) out->bytes[out->length++] = (unsigned char)((i < 2 ? high : low) >> (i % 2 ? 0 : 8));
}

static inline void png_store_32(unsigned char *bytes, uint32_t value) {
    int i;
    for (i = 0; i < 4; i++) bytes[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* CRC-32 of PNG, a bit at a time; `crc` is that of what came before, 0 at the start. */
static inline uint32_t png_crc(uint32_t crc, const unsigned char *bytes, size_t size) {
    size_t i;
    int    bit;
    crc = ~crc;
    for (i = 0; i < size; i++)
        for (crc ^= bytes[i], bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    return ~crc;
}

static inline void png_put_chunk(FILE *file, const char *name, const unsigned char *bytes, size_t size) {
    unsigned char head[8], tail[4];
    png_store_32(head, (uint32_t)size);
    memcpy(head + 4, name, 4);
    png_store_32(tail, png_crc(png_crc(0, head + 4, 4), bytes, size));
    fwrite(head, 1, 8, file);
    fwrite(bytes, 1, size, file);
    fwrite(tail, 1, 4, file);
}

static inline int png_write_file(const char *path, const unsigned char *pixels, int width, int height, int channels,
                                 char message[MESSAGE_SIZE]) {
    const size_t  pixel_row = (size_t)width * (size_t)channels, row = pixel_row + 1, size = row * (size_t)height;
    unsigned char head[13] = { 0 }, *raw = malloc(size);
    png_bits      stream = { NULL, 0, 0, 0 };
    FILE         *file = NULL;
    int           y, failed = 1;

    stream.bytes = malloc(size + size / 8 + 64);
    errno = 0;
    if (raw && stream.bytes) file = fopen(path, "wb");
    if (file) {
        for (y = 0; y < height; y++) {
            raw[(size_t)y * row] = 0; /* no filter */
            memcpy(raw + (size_t)y * row + 1, pixels + (size_t)y * pixel_row, pixel_row);
        }
        png_compress(&stream, raw, size, (size_t)channels, row);
        png_store_32(head, (uint32_t)width);
        png_store_32(head + 4, (uint32_t)height);
        head[8] = 8;                     /* bits per channel */
        head[9] = channels == 3 ? 2 : 0; /* RGB or grey */
        fwrite("\211PNG\r\n\032\n", 1, 8, file);
        png_put_chunk(file, "IHDR", head, sizeof head);
        png_put_chunk(file, "IDAT", stream.bytes, stream.length);
        png_put_chunk(file, "IEND", head, 0);
        failed = ferror(file);
        if (fclose(file) != 0) failed = 1;
    }
    if (failed) fail(message, "cannot write %s: %s", path, errno ? strerror(errno) : "not enough memory");
    free(raw);
    free(stream.bytes);
    return failed ? -1 : 0;
}

/* A table of images, `columns` in a row, each pixel enlarged to scale x scale, with a thin line between. */
typedef struct png_grid {
    const float         *images;    /* count x height x width x channels, each number in [0, 1] */
    const unsigned char *originals; /* optional, as many: each is shown above its image */
    const float         *between;   /* optional, with originals: each is shown between the two */
    size_t               count;
    int                  height, width, channels;
    int                  columns, scale;
} png_grid;

static inline unsigned char png_byte(float value) {
    return (unsigned char)(value > 0.0f ? (value < 1.0f ? value * 255.0f + 0.5f : 255.0f) : 0.0f);
}

/* How many pictures stand above each other for each image. */
static inline size_t png_bands(const png_grid *grid) { return grid->originals ? grid->between ? 3 : 2 : 1; }

static inline void png_draw_grid(const png_grid *grid, unsigned char *canvas, size_t canvas_width) {
    const size_t scale = (size_t)grid->scale, columns = (size_t)grid->columns, channels = (size_t)grid->channels;
    const size_t height = (size_t)grid->height, width = (size_t)grid->width, bands = png_bands(grid);
    size_t       cell, x, y, c;
    for (cell = 0; cell < grid->count * bands; cell++) {
        const size_t image = cell / bands, below = bands - 1 - cell % bands; /* below 0: the image itself */
        const float *shown = below ? grid->between : grid->images;
        const size_t left = image % columns * (width * scale + PNG_GUTTER) + PNG_GUTTER;
        const size_t top = (image / columns * bands + cell % bands) * (height * scale + PNG_GUTTER) + PNG_GUTTER;
        for (y = 0; y < height * scale; y++)
            for (x = 0; x < width * scale; x++)
                for (c = 0; c < channels; c++) {
                    const size_t from = ((image * height + y / scale) * width + x / scale) * channels + c;
                    canvas[((top + y) * canvas_width + left + x) * channels + c] =
                        bands > 1 && below == bands - 1 ? grid->originals[from] : png_byte(shown[from]);
                }
    }
}

/* Writes the grid as a PNG. The picture appears under its name, and replaces an older one there, only when it is
   complete: a viewer that watches the file never sees half of it. */
static inline int png_write_grid(const char *path, const png_grid *grid, char message[MESSAGE_SIZE]) {
    const size_t   columns = (size_t)grid->columns, bands = png_bands(grid);
    size_t         rows, width, height, size;
    unsigned char *canvas;
    char           temporary[1024];
    int            result;

    if ((grid->channels != 1 && grid->channels != 3) || grid->count < 1 || grid->columns < 1 || grid->scale < 1 ||
        grid->height < 1 || grid->width < 1)
        return fail(message, "a picture needs 1 or more images of 1 or 3 channels");
    rows = (grid->count / columns + (grid->count % columns != 0)) * bands;
    if (grid->columns > PNG_MAX_SIDE || grid->count / columns > PNG_MAX_SIDE || rows > PNG_MAX_SIDE ||
        grid->width > PNG_MAX_SIDE / grid->scale || grid->height > PNG_MAX_SIDE / grid->scale ||
        (width = columns * ((size_t)(grid->width * grid->scale) + PNG_GUTTER) + PNG_GUTTER) > PNG_MAX_SIDE ||
        (height = rows * ((size_t)(grid->height * grid->scale) + PNG_GUTTER) + PNG_GUTTER) > PNG_MAX_SIDE)
        return fail(message, "%s would have a side of more than %d pixels: ask for fewer images or a smaller scale",
                    path, PNG_MAX_SIDE);
    if (strlen(path) > 1000) return fail(message, "the name of the file to write is too long");
    snprintf(temporary, sizeof temporary, "%s.partial", path);

    size = width * height * (size_t)grid->channels;
    canvas = malloc(size);
    if (!canvas) return fail(message, "not enough memory to draw %s", path);
    memset(canvas, PNG_GUTTER_GREY, size);
    png_draw_grid(grid, canvas, width);
    if (path_kind_of(path) == PATH_DEVICE) strcpy(temporary, path);      /* a device stays what it is */
    result = png_write_file(temporary, canvas, (int)width, (int)height, grid->channels, message);
    free(canvas);
    if (strcmp(temporary, path) == 0) return result;
#ifdef _WIN32
    if (result == 0) remove(path); /* Windows does not rename onto a file that is there */
#endif
    if (result == 0 && rename(temporary, path) != 0)
        result = fail(message, "cannot write %s: %s", path, strerror(errno));
    if (result != 0) remove(temporary);
    return result;
}

#endif
