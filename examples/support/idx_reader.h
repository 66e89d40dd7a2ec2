/* idx_reader.h - reads MNIST's file format (IDX), trusting nothing in it.

   An IDX file is two zero bytes, the element type, the number of dimensions, each dimension as a big-endian 32-bit
   number, then the elements. MNIST has unsigned bytes, three dimensions for images and one for labels.

   Calls return 0, or -1 with one sentence in `message` (256 bytes of yours). */
#ifndef IDX_READER_H
#define IDX_READER_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file_can_be_read.h"
#include "message.h"

typedef struct idx_images {
    unsigned char *pixels; /* one image after the other, row by row, 0 is black; release with free() */
    size_t         count;
    int            height, width;
} idx_images;

typedef struct idx_labels {
    unsigned char *values; /* release with free() */
    size_t         count;
} idx_labels;

typedef struct idx_directory {
    char path[400];
    int  generated; /* nonzero: digits drawn by data/make_digits, not MNIST */
} idx_directory;

enum { IDX_MAX_SIDE = 4096 };

static inline int idx_read_open_file(FILE *file, const char *path, int rank, unsigned char **elements, size_t shape[3],
                                     char message[MESSAGE_SIZE]) {
    unsigned char head[16];
    const size_t  head_size = 4 + 4 * (size_t)rank;
    size_t        announced = 1, got;
    long          file_size;
    int           i;

    errno = 0;
    got = fread(head, 1, head_size, file);
    if (got < head_size && ferror(file)) return fail(message, "cannot read %s: %s", path, strerror(errno));
    if (got >= 2 && head[0] == 0x1f && head[1] == 0x8b)
        return fail(message, "%s is still compressed: unpack it with gunzip", path);
    if (got >= 2 && (head[0] || head[1]))
        return fail(message,
                    "%s is not an IDX file: it does not begin with two "
                    "zero bytes",
                    path);
    if (got >= 4 && head[2] != 0x08)
        return fail(message, "%s holds elements of type 0x%02x, not unsigned bytes (0x08)", path, head[2]);
    if (got >= 4 && head[3] != rank)
        return fail(message, "%s has %d dimensions instead of %d: %s are wanted", path, head[3], rank,
                    rank == 3 ? "images" : "labels");
    if (got < head_size) return fail(message, "%s ends within its header", path);

    if (fseek(file, 0, SEEK_END) != 0 || (file_size = ftell(file)) < (long)head_size ||
        fseek(file, (long)head_size, SEEK_SET) != 0)
        return fail(message, "cannot find out the size of %s", path);
    for (i = 0; i < rank; i++) {
        const unsigned char *bytes = head + 4 + 4 * i;
        shape[i] = (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
        if (!shape[i]) return fail(message, "%s is empty: its dimension %d is 0", path, i + 1);
        if (i > 0 && shape[i] > IDX_MAX_SIDE)
            return fail(message, "%s announces images with a side of %lu pixels, more than %d", path,
                        (unsigned long)shape[i], IDX_MAX_SIDE);
        if (announced > (size_t)-1 / shape[i])
            return fail(message, "%s announces more elements than memory can hold", path);
        announced *= shape[i];
    }
    got = (size_t)file_size - head_size;
    if (announced != got)
        return fail(message, "%s %s: its header announces %lu bytes, but %lu follow", path,
                    announced > got ? "is cut short" : "is too long", (unsigned long)announced, (unsigned long)got);

    *elements = malloc(announced);
    if (!*elements) return fail(message, "not enough memory for the %lu bytes of %s", (unsigned long)announced, path);
    if (fread(*elements, 1, announced, file) == announced) return 0;
    free(*elements);
    *elements = NULL;
    return fail(message, "cannot read %s: %s", path, ferror(file) ? strerror(errno) : "it ended early");
}

static inline int idx_read(const char *directory, const char *name, int rank, unsigned char **elements, size_t shape[3],
                           char message[MESSAGE_SIZE]) {
    char  path[512];
    FILE *file;
    int   result;
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path)
        return fail(message, "the data directory's name is too long");
    file = fopen(path, "rb");
    if (!file) return fail(message, "cannot open %s: %s", path, strerror(errno));
    result = idx_read_open_file(file, path, rank, elements, shape, message);
    fclose(file);
    return result;
}

/* Reads `name`, such as "t10k-images-idx3-ubyte", in `directory`. */
static inline int idx_read_images(const char *directory, const char *name, idx_images *images,
                                  char message[MESSAGE_SIZE]) {
    size_t shape[3] = { 0, 0, 0 };
    if (idx_read(directory, name, 3, &images->pixels, shape, message) != 0) return -1;
    images->count = shape[0];
    images->height = (int)shape[1];
    images->width = (int)shape[2];
    return 0;
}

static inline int idx_read_labels(const char *directory, const char *name, idx_labels *labels,
                                  char message[MESSAGE_SIZE]) {
    size_t shape[3] = { 0, 0, 0 };
    if (idx_read(directory, name, 1, &labels->values, shape, message) != 0) return -1;
    labels->count = shape[0];
    return 0;
}

static inline int idx_file_exists(const char *directory, const char *name) {
    char path[512];
    return snprintf(path, sizeof path, "%s/%s", directory, name) < (int)sizeof path && file_can_be_read(path);
}

/* The first of MNIST's four files that is not in `directory`, or NULL. */
static inline const char *idx_missing_file(const char *directory) {
    static const char *const names[4] = { "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                          "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte" };
    int                      i;
    for (i = 0; i < 4; i++)
        if (!idx_file_exists(directory, names[i])) return names[i];
    return NULL;
}

/* Where the data are: `wanted` if it is not NULL, else what the environment's MNIST_DIR names, else the first of a few
   usual places that has all four files. */
static inline int idx_find_directory(const char *wanted, idx_directory *found, char message[MESSAGE_SIZE]) {
    static const char *const usual[3] = { "data", "../shared/mnist", "build/digits" };
    const char              *source = "", *missing;
    int                      i;
    if (!wanted) {
        wanted = getenv("MNIST_DIR");
        if (wanted && !*wanted) wanted = NULL;
        if (wanted) source = " (from MNIST_DIR)";
    }
    for (i = 0; !wanted && i < 3; i++)
        if (!idx_missing_file(usual[i])) wanted = usual[i];
    if (!wanted)
        return fail(message,
                    "run build/make_digits first, which draws some digits, or data/get_mnist.sh, which fetches MNIST, "
                    "or name MNIST's directory with --data: it is not in data, ../shared/mnist or build/digits");
    if (strlen(wanted) >= sizeof found->path) return fail(message, "the data directory's name is too long");
    missing = idx_missing_file(wanted);
    if (missing) return fail(message, "%s%s has no file %s that can be opened", wanted, source, missing);
    strcpy(found->path, wanted);
    found->generated = idx_file_exists(wanted, "GENERATED");
    return 0;
}

/* MNIST's images, from where idx_find_directory finds them, which is told in `found`; `train` may be NULL. Says on
   standard output what was read. Release the pixels of both with free(), after a failure too. */
static inline int idx_read_mnist(const char *wanted, idx_directory *found, idx_images *train, idx_images *test,
                                 char message[MESSAGE_SIZE]) {
    if (idx_find_directory(wanted, found, message) != 0 ||
        idx_read_images(found->path, "t10k-images-idx3-ubyte", test, message) != 0)
        return -1;
    if (train && idx_read_images(found->path, "train-images-idx3-ubyte", train, message) != 0) return -1;
    if (train && (train->height != test->height || train->width != test->width))
        return fail(message, "the training and the test images in %s differ in size", found->path);
    printf("data: %s in %s, ", found->generated ? "generated digits, not MNIST," : "MNIST", found->path);
    if (train) printf("%lu training and ", (unsigned long)train->count);
    printf("%lu test images\n", (unsigned long)test->count);
    return 0;
}

/* The labels of MNIST's `count` images, of which `set` says "train" or "t10k". NULL on failure; release with free(). */
static inline int *idx_read_mnist_labels(const char *wanted, const char *set, size_t count,
                                         char message[MESSAGE_SIZE]) {
    char          name[64];
    idx_directory found;
    idx_labels    labels;
    int          *numbers = NULL;
    size_t        i;
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", set);
    if (idx_find_directory(wanted, &found, message) != 0 || idx_read_labels(found.path, name, &labels, message) != 0)
        return NULL;
    if (labels.count != count)
        fail(message, "%s/%s has %lu labels for %lu images", found.path, name, (unsigned long)labels.count,
             (unsigned long)count);
    else if (count > (size_t)-1 / sizeof *numbers || (numbers = malloc(count * sizeof *numbers)) == NULL)
        fail(message, "not enough memory for %lu labels", (unsigned long)count);
    for (i = 0; numbers && i < count; i++) numbers[i] = labels.values[i];      /* one above 9: vae_fit says where */
    free(labels.values);
    return numbers;
}

#endif
