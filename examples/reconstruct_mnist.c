/* reconstruct_mnist.c - shows test digits above what a trained model makes of them, and scores them.

       cc -std=c99 -O2 -DVAE_THREADS examples/reconstruct_mnist.c -o build/reconstruct_mnist -lm
       build/reconstruct_mnist out/model.safetensors --count 20 */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "idx_reader.h"
#include "options.h"
#include "png_writer.h"

typedef struct settings {
    const char *model, *data, *out;
    long long   count, first, columns, scale;
} settings;

static int reconstruct(vae_model *model, const settings *s, const idx_images *test, char *message) {
    vae_config filled, *config = &filled;
    const size_t      size = vae_example_size(model), first = (size_t)s->first, count = (size_t)s->count;
    const vae_data    shown = { .bytes = test->pixels + first * size, .count = count };
    float            *pixels;
    vae_terms         score;
    vae_error         error;
    int               result = 0;
    vae_get_config(model, &filled);

    if (config->input.height != test->height || config->input.width != test->width || config->input.channels != 1)
        return png_fail(message, "the model is for images of %d x %d x %d, the test images are %d x %d x 1",
                        config->input.height, config->input.width, config->input.channels, test->height, test->width);
    if (first >= test->count || count > test->count - first)
        return png_fail(message, "there are %lu test images: --first %lu and --count %lu ask for more",
                        (unsigned long)test->count, (unsigned long)first, (unsigned long)count);
    pixels = malloc(count * size * sizeof *pixels);
    if (!pixels) return png_fail(message, "not enough memory for %lu images", (unsigned long)count);
    if (vae_reconstruct(model, &shown, pixels, &error) != VAE_OK ||
        vae_elbo(model, &shown, &score, NULL, &error) != VAE_OK)
        result = png_fail(message, "%s", error.message);
    if (result == 0) {
        const png_grid grid = { .images = pixels, .originals = shown.bytes, .count = count, .height = test->height,
                                .width = test->width, .channels = 1,
                                .columns = (int)(s->columns < s->count ? s->columns : s->count),
                                .scale = (int)s->scale };
        result = png_write_grid(s->out, &grid, message);
    }
    free(pixels);
    if (result == 0)
        printf("test images %lu to %lu, nats per image: reconstruction %.2f, kl %.2f, elbo %.2f\nwrote %s\n",
               (unsigned long)first, (unsigned long)(first + count - 1), score.reconstruction, score.kl, score.elbo,
               s->out);
    return result;
}

int main(int argc, char **argv) {
    settings s = { .model = "out/model.safetensors", .out = "out/reconstructions.png", .count = 20, .columns = 10,
                   .scale = 3 };
    const option table[] = {
        { "model", "FILE", "the trained model", OPTION_TEXT, &s.model, 0, 0 },
        { "data", "DIR", "MNIST's four files (default: MNIST_DIR, data, ...)", OPTION_TEXT, &s.data, 0, 0 },
        { "count", "N", "how many test digits", OPTION_INTEGER, &s.count, 1, 10000 },
        { "first", "N", "the first of them, counted from 0", OPTION_INTEGER, &s.first, 0, 1e9 },
        { "columns", "N", "pictures in a row", OPTION_INTEGER, &s.columns, 1, 500 },
        { "scale", "N", "enlargement of each pixel", OPTION_INTEGER, &s.scale, 1, 50 },
        { "out", "FILE", "the picture", OPTION_TEXT, &s.out, 0, 0 },
        OPTIONS_END
    };
    idx_directory directory;
    idx_images    test = { NULL, 0, 0, 0 };
    vae_model    *model = NULL;
    vae_error     error;
    char          message[256];
    int           code = options_parse(argc, argv, "Shows test digits above their reconstructions.", table, 1);
    if (code >= 0) return code;
    code = 1;
    if (idx_find_directory(s.data, &directory, message) != 0 ||
        idx_read_images(directory.path, "t10k-images-idx3-ubyte", &test, message) != 0)
        fprintf(stderr, "reconstruct_mnist: %s\n", message);
    else if (vae_load(s.model, &(vae_config){ .inference_only = 1 }, &model, &error) != VAE_OK)
        fprintf(stderr, "reconstruct_mnist: %s%s\n", error.message,
                error.status == VAE_ERROR_FILE ? " (train_mnist makes a model)" : "");
    else {
        printf("data: %s in %s\n", idx_describe(&directory), directory.path);
        if (reconstruct(model, &s, &test, message) == 0) code = 0;
        else fprintf(stderr, "reconstruct_mnist: %s\n", message);
    }
    vae_destroy(model);
    free(test.pixels);
    return code;
}
