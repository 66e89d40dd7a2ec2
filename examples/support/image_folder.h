/* image_folder.h - the pictures of a folder as rows of one size, in the order of their names.

   PGM and PPM are read here; PNG and JPEG by stb_image.h where the compiler finds it (Debian: libstb-dev), unless
   WITHOUT_STB_IMAGE is defined. What is transparent shows white. Where one picture has colours, grey ones become three
   equal channels. Other files, and subfolders, are passed over and counted; so are damaged pictures, with a sentence
   to standard error for each of the first ten.
   Calls return 0, or -1 with one sentence in `message`. */
#ifndef IMAGE_FOLDER_H
#define IMAGE_FOLDER_H

#include <dirent.h>

#include "path_kind.h"
#include "ppm_reader.h"

#if defined(__has_include) && !defined(WITHOUT_STB_IMAGE)
#if __has_include(<stb/stb_image.h>)
#define STB_IMAGE_FILE <stb/stb_image.h>
#elif __has_include(<stb_image.h>)
#define STB_IMAGE_FILE <stb_image.h>
#endif
#endif

#ifdef STB_IMAGE_FILE
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_MAX_DIMENSIONS 16384
#ifdef __GNUC__                         /* it declares static functions that it leaves out */
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include STB_IMAGE_FILE
enum { IMAGE_FOLDER_READS_PNG = 1 };
#else
enum { IMAGE_FOLDER_READS_PNG = 0 };
#endif

typedef struct image_folder {
    unsigned char *pixels;              /* count x height x width x channels */
    size_t         count, others;       /* others: files passed over, */
    size_t         unread;              /* ... of which these are PNG and JPEG that this build does not read */
    int            height, width, channels;
    size_t         cut;                 /* pictures of another shape, of which two edges are left out */
} image_folder;

static inline void image_folder_free_names(char **names, size_t count) {
    while (count) free(names[--count]);
    free(names);
}

static inline int image_folder_order(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* 1: PGM or PPM, 2: PNG or JPEG, 0: neither, by the end of the name. */
static inline int image_folder_kind(const char *name) {
    static const char *const ends[] = { ".pgm", ".ppm", ".png", ".jpg", ".jpeg" };
    const char              *dot = strrchr(name, '.');
    size_t                   i, k;
    for (i = 0; dot && i < 5; i++) {
        for (k = 0; dot[k] && (dot[k] | 32) == (ends[i][k] | 32); k++) {}
        if (!dot[k] && !ends[i][k]) return i < 2 ? 1 : 2;
    }
    return 0;
}

/* The paths of what is in the folder, in order, hidden files left out. */
static inline int image_folder_list(const char *path, char ***names, size_t *count, char *message) {
    DIR           *directory = opendir(path);
    struct dirent *entry;
    size_t         room = 0, length = strlen(path);
    int            result = 0;
    if (!directory) return fail(message, "cannot open the folder %s: %s", path, strerror(errno));
    while (length > 1 && path[length - 1] == '/') length--;
    while (result == 0 && (entry = readdir(directory)) != NULL) {
        const size_t size = length + strlen(entry->d_name) + 2;
        char       **larger = *names, *name;
        if (entry->d_name[0] == '.') continue;
        name = (char *)malloc(size);
        if (name && *count == room)
            larger = (char **)realloc(*names, (room = room ? 2 * room : 64) * sizeof *larger);
        if (larger) *names = larger;
        if (!name || !larger) {
            free(name);
            result = fail(message, "not enough memory for the names in %s", path);
        } else {
            snprintf(name, size, "%.*s/%s", (int)length, path, entry->d_name);
            (*names)[(*count)++] = name;
        }
    }
    closedir(directory);
    if (*count) qsort(*names, *count, sizeof **names, image_folder_order);
    return result;
}

#ifdef STB_IMAGE_FILE
static inline int image_folder_read_stb(const char *path, ppm_image *image, char *message) {
    unsigned char *from, *to;
    size_t         left;
    int            channels, c;
    image->pixels = stbi_load(path, &image->width, &image->height, &channels, 0);
    if (!image->pixels) return fail(message, "cannot read %s: %s", path, stbi_failure_reason());
    image->channels = channels < 3 ? 1 : 3;
    if (channels == image->channels) return 0;
    from = to = image->pixels;          /* the last channel is how much hides the white behind */
    for (left = (size_t)image->width * (size_t)image->height; left; left--, from += channels)
        for (c = 0; c < image->channels; c++)
            *to++ = (unsigned char)(255 - ((255 - from[c]) * from[channels - 1] + 127) / 255);
    return 0;
}
#endif

static inline int image_folder_read(const char *path, int kind, ppm_image *image, char *message) {
    const path_kind there = path_kind_of(path);
    if (there == PATH_FOLDER || there == PATH_DEVICE)       /* a pipe would be waited for */
        return fail(message, "%s is no picture but a %s", path, there == PATH_FOLDER ? "folder" : "device or a pipe");
#ifdef STB_IMAGE_FILE
    if (kind == 2) return image_folder_read_stb(path, image, message);
#endif
    (void)kind;
    return ppm_read(path, image, message);
}

/* The middle of the image in the shape of height x width, as three channels: each pixel is the average of the area that
   it covers. */
static inline void image_folder_fit(const ppm_image *image, int height, int width, unsigned char *to) {
    const double down = (double)image->height / height, across = (double)image->width / width;
    const double scale = down < across ? down : across;
    const double top = (image->height - scale * height) / 2, left = (image->width - scale * width) / 2;
    int          y, x, c, i, j;
    for (y = 0; y < height; y++)
        for (x = 0; x < width; x++) {
            const double y0 = top + y * scale, y1 = y0 + scale, x0 = left + x * scale, x1 = x0 + scale;
            const int    colour = image->channels == 3;
            double       sums[3] = { 0, 0, 0 }, all = 0;
            for (i = (int)y0; i < image->height && i < y1; i++)
                for (j = (int)x0; j < image->width && j < x1; j++) {
                    const double part = ((i + 1 < y1 ? i + 1 : y1) - (i > y0 ? i : y0)) *
                                        ((j + 1 < x1 ? j + 1 : x1) - (j > x0 ? j : x0));
                    const size_t at = ((size_t)i * (size_t)image->width + (size_t)j) * (size_t)image->channels;
                    for (c = 0; c < 3; c++) sums[c] += part * image->pixels[at + (colour ? (size_t)c : 0)];
                    all += part;
                }
            for (c = 0; c < 3; c++) *to++ = (unsigned char)(all > 0 ? sums[c] / all + 0.5 : 0);
        }
}

/* Takes one more picture; the first one may decide the size. */
static inline int image_folder_add(image_folder *folder, const ppm_image *image, int limit, size_t *room,
                                   char *message) {
    const int longer = image->height > image->width ? image->height : image->width;
    double    down, across;
    size_t    size;
    if (!folder->height) {
        const double scale = longer > limit ? (double)limit / longer : 1;
        folder->height = image->height * scale < 1 ? 1 : (int)(image->height * scale + 0.5);
        folder->width = image->width * scale < 1 ? 1 : (int)(image->width * scale + 0.5);
    }
    size = (size_t)folder->height * (size_t)folder->width * 3;
    if (folder->count == *room) {
        const size_t   wanted = *room ? *room + *room / 2 : 64;
        unsigned char *larger = (unsigned char *)realloc(folder->pixels, wanted * size);
        if (!larger) return fail(message, "not enough memory for more than %lu pictures", (unsigned long)*room);
        folder->pixels = larger;
        *room = wanted;
    }
    image_folder_fit(image, folder->height, folder->width, folder->pixels + folder->count++ * size);
    down = (double)image->height / folder->height;
    across = (double)image->width / folder->width;
    folder->cut += down > across ? image->height > (folder->height + 1) * across
                                 : image->width > (folder->width + 1) * down;
    return 0;
}

/* Each picture becomes height x width; where these are 0, the first one's shape with its longer side `limit` at most.
   Release folder->pixels with free(), also after a failure. */
static inline int image_folder_load(const char *path, int height, int width, int limit, image_folder *folder,
                                    char message[MESSAGE_SIZE]) {
    char **names = NULL;
    size_t files = 0, file, room = 0, damaged = 0, i;
    int    colours = 0, result;
    memset(folder, 0, sizeof *folder);
    folder->height = height;
    folder->width = width;
    result = image_folder_list(path, &names, &files, message);
    for (file = 0; result == 0 && file < files; file++) {
        const int kind = image_folder_kind(names[file]);
        ppm_image image = { NULL, 0, 0, 0 };
        if (kind == 0 || (kind == 2 && !IMAGE_FOLDER_READS_PNG)) {
            folder->others++;
            folder->unread += kind == 2;
        } else if (image_folder_read(names[file], kind, &image, message) != 0) {
            folder->others++;
            if (++damaged <= 10) fprintf(stderr, "passed over: %s\n", message);
        } else {
            colours |= image.channels == 3;
            result = image_folder_add(folder, &image, limit, &room, message);
        }
        free(image.pixels);
    }
    image_folder_free_names(names, files);
    folder->channels = colours ? 3 : 1;
    for (i = 0; !colours && i < folder->count * (size_t)folder->height * (size_t)folder->width; i++)
        folder->pixels[i] = folder->pixels[3 * i];
    if (result != 0 || folder->count) return result;
    return fail(message, "%s holds no picture that this program reads (%s)%s", path,
                IMAGE_FOLDER_READS_PNG ? "PGM, PPM, PNG, JPEG" : "PGM, PPM",
                folder->unread ? ": build it again with stb_image.h installed, and it also reads PNG and JPEG" : "");
}

/* Copies of `count` pictures from all over the folder, at most all; release with free(). NULL: not enough memory. */
static inline unsigned char *image_folder_choose(const image_folder *folder, size_t count) {
    const size_t   size = (size_t)folder->height * (size_t)folder->width * (size_t)folder->channels;
    unsigned char *chosen = (unsigned char *)malloc(count * size);
    size_t         i;
    for (i = 0; chosen && i < count; i++)
        memcpy(chosen + i * size, folder->pixels + i * folder->count / count * size, size);
    return chosen;
}

#endif
