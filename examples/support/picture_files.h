/* picture_files.h - what a model of a folder's pictures makes, as PREFIX-samples.png and PREFIX-reconstructions.png. */
#ifndef PICTURE_FILES_H
#define PICTURE_FILES_H

#include "image_folder.h"
#include "near_codes.h"
#include "png_writer.h"

enum { PICTURE_COLUMNS = 8, PICTURE_SAMPLES = 64, PICTURE_SHOWN = 24, PICTURE_CODES = 4000 };

typedef struct picture_files {
    const char         *prefix;
    const image_folder *folder;
    double              spread;
    long long           seed;
} picture_files;

/* New pictures from near the codes of the folder's, or some from all over it above their reconstructions. */
static inline int picture_file_write(const picture_files *f, vae_model *model, int reconstructions, char *message) {
    const image_folder *folder = f->folder;
    const size_t   most = reconstructions ? PICTURE_SHOWN : PICTURE_CODES;
    const size_t   taken = folder->count < most ? folder->count : most;
    const size_t   count = reconstructions ? taken : PICTURE_SAMPLES;
    float         *pixels = malloc(count * vae_example_size(model) * sizeof *pixels);
    unsigned char *chosen = image_folder_choose(folder, taken);
    const vae_data data = { .bytes = chosen, .count = taken };
    const png_grid grid = { .images = pixels, .originals = reconstructions ? chosen : NULL, .count = count,
                            .height = folder->height, .width = folder->width, .channels = folder->channels,
                            .columns = count < PICTURE_COLUMNS ? (int)count : PICTURE_COLUMNS,
                            .scale = folder->width < 64 ? (127 + folder->width) / folder->width : 2 };
    char      path[1100];
    vae_error error;
    int       code = 0;
    snprintf(path, sizeof path, "%s-%s.png", f->prefix, reconstructions ? "reconstructions" : "samples");
    if (!pixels || !chosen) code = fail(message, "not enough memory for %s", path);
    else if ((reconstructions ? vae_reconstruct(model, &data, pixels, &error)
                              : sample_near(model, &data, f->spread, f->seed, count, pixels, &error)) != VAE_OK)
        code = fail(message, "%s", error.message);
    if (code == 0) code = png_write_grid(path, &grid, message);
    free(pixels);
    free(chosen);
    return code;
}

static inline int picture_files_write(const picture_files *f, vae_model *model, char *message) {
    return picture_file_write(f, model, 0, message) != 0 ? -1 : picture_file_write(f, model, 1, message);
}

#endif
