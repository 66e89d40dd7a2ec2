/* sample_mnist.c - draws what a trained model imagines: new digits, its latent plane, or the way between two digits.

       cc -std=c99 -O2 -DVAE_THREADS examples/sample_mnist.c -o build/sample_mnist -lm
       build/sample_mnist out/model.safetensors --count 100
       build/sample_mnist out/model.safetensors --interpolate 3 7
       build/sample_mnist out/plane.safetensors --manifold          (of a model with two latent dimensions) */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <math.h>

#include "idx_reader.h"
#include "options.h"
#include "png_writer.h"

typedef struct settings {
    const char *model, *data, *out;
    int         manifold;
    long long   count, columns, scale, seed, interpolate[2];
} settings;

/* The number below which a standard normal variable falls with this probability, by bisection. */
static double inverse_normal_cdf(double probability) {
    double low = -10, high = 10;
    int    i;
    for (i = 0; i < 60; i++) {
        const double middle = (low + high) / 2;
        if (erfc(-middle / sqrt(2.0)) / 2 < probability) low = middle;
        else high = middle;
    }
    return low;
}

/* The middles of columns x columns cells of equal probability under the prior: what is shown is what is likely. */
static int draw_plane(vae_model *model, size_t columns, float *pixels, char *message) {
    vae_real  *z = malloc(columns * columns * 2 * sizeof *z);
    vae_error  error = { VAE_ERROR_MEMORY, "not enough memory for the latent plane" };
    vae_status status = VAE_ERROR_MEMORY;
    size_t     row, column;
    for (row = 0; z && row < columns; row++)
        for (column = 0; column < columns; column++) {
            vae_real *point = z + (row * columns + column) * 2;
            point[0] = (vae_real)inverse_normal_cdf(((double)column + 0.5) / (double)columns);
            point[1] = -(vae_real)inverse_normal_cdf(((double)row + 0.5) / (double)columns);
        }
    if (z) status = vae_decode(model, &(vae_latents){ z, columns * columns }, pixels, &error);
    free(z);
    return status == VAE_OK ? 0 : png_fail(message, "%s", error.message);
}

/* From z[0] to z[count - 1], both given, along a circle: the prior's mass lies in a shell around 0, and a straight line
   would cut through the thin middle. */
static void spherical_path(vae_real *z, size_t latent, size_t count) {
    const vae_real *a = z, *b = z + (count - 1) * latent;
    double          aa = 0, bb = 0, ab = 0, angle;
    size_t          i, d;
    for (d = 0; d < latent; d++) {
        aa += (double)a[d] * (double)a[d];
        bb += (double)b[d] * (double)b[d];
        ab += (double)a[d] * (double)b[d];
    }
    angle = aa > 0 && bb > 0 ? acos(fmax(-1, fmin(1, ab / sqrt(aa * bb)))) : 0;
    for (i = 1; i + 1 < count; i++) {
        const double t = (double)i / (double)(count - 1);
        const int    straight = sin(angle) < 1e-3;   /* the same direction, or opposite ones: no circle is given */
        const double from = straight ? 1 - t : sin((1 - t) * angle) / sin(angle);
        const double to = straight ? t : sin(t * angle) / sin(angle);
        for (d = 0; d < latent; d++) z[i * latent + d] = (vae_real)(from * (double)a[d] + to * (double)b[d]);
    }
}

/* The first and the last picture are the test images themselves, those between come from the model. */
static int draw_path(vae_model *model, const settings *s, float *pixels, char *message) {
    vae_config filled, *config = &filled;
    const size_t      size = vae_example_size(model), latent = vae_latent_size(model), count = (size_t)s->columns;
    vae_real         *z = malloc(count * latent * sizeof *z);
    idx_directory     directory;
    idx_images        test = { NULL, 0, 0, 0 };
    vae_error         error;
    int               end, result = z ? 0 : png_fail(message, "not enough memory for the path");
    vae_get_config(model, &filled);

    if (result == 0) result = idx_find_directory(s->data, &directory, message);
    if (result == 0) result = idx_read_images(directory.path, "t10k-images-idx3-ubyte", &test, message);
    if (result == 0 && (test.height != config->input.height || test.width != config->input.width))
        result = png_fail(message, "the model's images and those in %s differ in size", directory.path);
    for (end = 0; end < 2 && result == 0; end++) {
        const size_t index = (size_t)s->interpolate[end];
        if (index >= test.count) {
            result = png_fail(message, "there is no test image %lu: they count from 0 to %lu", (unsigned long)index,
                              (unsigned long)test.count - 1);
        } else if (vae_encode(model, &(vae_data){ .bytes = test.pixels + index * size, .count = 1 },
                              z + (end ? count - 1 : 0) * latent, NULL, &error) != VAE_OK) {
            result = png_fail(message, "%s", error.message);
        }
    }
    if (result == 0) {
        spherical_path(z, latent, count);
        if (vae_decode(model, &(vae_latents){ z, count }, pixels, &error) != VAE_OK) result = png_fail(message, "%s", error.message);
    }
    for (end = 0; end < 2 && result == 0; end++) {
        const unsigned char *original = test.pixels + (size_t)s->interpolate[end] * size;
        size_t               i;
        for (i = 0; i < size; i++) pixels[(end ? count - 1 : 0) * size + i] = (float)original[i] / 255.0f;
    }
    free(z);
    free(test.pixels);
    return result;
}

static int draw(vae_model *model, const settings *s, char *message) {
    vae_config filled, *config = &filled;
    const int         path = s->interpolate[0] >= 0;
    const size_t      columns = (size_t)s->columns;
    const size_t      count = path ? columns : s->manifold ? columns * columns : (size_t)s->count;
    float            *pixels;
    vae_error         error;
    int               result;
    vae_get_config(model, &filled);

    if (s->manifold && config->latent != 2)
        return png_fail(message, "--manifold shows a plane, this model has %d latent dimensions: train one with "
                        "--latent 2", config->latent);
    if (config->input.channels != 1 && path)
        return png_fail(message, "--interpolate needs a model of grey images");
    pixels = malloc(count * vae_example_size(model) * sizeof *pixels);
    if (!pixels) return png_fail(message, "not enough memory for %lu images", (unsigned long)count);
    if (path) result = draw_path(model, s, pixels, message);
    else if (s->manifold) result = draw_plane(model, columns, pixels, message);
    else result = vae_sample(model, count, pixels, &error) == VAE_OK ? 0 : png_fail(message, "%s", error.message);
    if (result == 0) {
        const png_grid grid = { .images = pixels, .count = count, .height = config->input.height,
                                .width = config->input.width, .channels = config->input.channels,
                                .columns = (int)(columns < count ? columns : count), .scale = (int)s->scale };
        result = png_write_grid(s->out, &grid, message);
    }
    free(pixels);
    return result;
}

int main(int argc, char **argv) {
    settings s = { .model = "out/model.safetensors", .out = "out/samples.png", .count = 100, .columns = 10, .scale = 3,
                   .seed = 1, .interpolate = { -1, -1 } };
    const option table[] = {
        { "model", "FILE", "the trained model", OPTION_TEXT, &s.model, 0, 0 },
        { "count", "N", "how many digits", OPTION_INTEGER, &s.count, 1, 10000 },
        { "columns", "N", "pictures in a row", OPTION_INTEGER, &s.columns, 2, 500 },
        { "manifold", "", "the latent plane, columns x columns; for models with --latent 2", OPTION_FLAG, &s.manifold,
          0, 0 },
        { "interpolate", "A B", "one row of pictures, from test image A to test image B", OPTION_TWO_INTEGERS,
          s.interpolate, 0, 1e9 },
        { "data", "DIR", "MNIST's four files, for --interpolate", OPTION_TEXT, &s.data, 0, 0 },
        { "scale", "N", "enlargement of each pixel", OPTION_INTEGER, &s.scale, 1, 50 },
        { "seed", "N", "which random digits", OPTION_INTEGER, &s.seed, 1, 2147483647 },
        { "out", "FILE", "the picture", OPTION_TEXT, &s.out, 0, 0 },
        OPTIONS_END
    };
    vae_model *model = NULL;
    vae_error  error;
    char       message[256];
    int        code = options_parse(argc, argv, "Draws what a trained model imagines.", table, 1);
    if (code >= 0) return code;
    if (s.manifold && s.interpolate[0] >= 0) {
        fprintf(stderr, "sample_mnist: --manifold and --interpolate are two pictures: choose one, see --help\n");
        return 2;
    }
    code = 1;
    if (vae_load(s.model, &(vae_config){ .seed = (uint64_t)s.seed, .inference_only = 1 }, &model, &error) != VAE_OK)
        fprintf(stderr, "sample_mnist: %s%s\n", error.message,
                error.status == VAE_ERROR_FILE ? " (train_mnist makes a model)" : "");
    else if (draw(model, &s, message) != 0)
        fprintf(stderr, "sample_mnist: %s\n", message);
    else {
        printf("wrote %s\n", s.out);
        code = 0;
    }
    vae_destroy(model);
    return code;
}
