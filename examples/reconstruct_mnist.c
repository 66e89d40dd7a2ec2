/* reconstruct_mnist.c - shows test digits above what a trained model makes of them, and scores them.

       build/reconstruct_mnist out/model.safetensors --count 20 */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "support/options.h"
#include "support/png_writer.h"
#include "support/trained_model.h"

int main(int argc, char **argv) {
    const char *path = "out/model.safetensors", *data = NULL, *out = "out/reconstructions.png";
    long long   count = 20, first = 0, columns = 10, scale = 3;
    const option table[] = {
        { "model", "FILE", "trained model", OPTION_TEXT, &path, 0, 0 },
        { "count", "N", "how many test digits", OPTION_INTEGER, &count, 1, 10000 },
        { "first", "N", "the first of them, counted from 0", OPTION_INTEGER, &first, 0, 1e9 },
        { "columns", "N", "pictures in a row", OPTION_INTEGER, &columns, 1, 500 },
        { "scale", "N", "enlargement of each pixel", OPTION_INTEGER, &scale, 1, 50 },
        { "data", "DIR", "MNIST's files (else MNIST_DIR, data/, ...)", OPTION_TEXT, &data, 0, 0 },
        { "out", "FILE", "the picture", OPTION_OUTPUT, &out, 0, 0 },
        OPTIONS_END
    };
    idx_images test = { NULL, 0, 0, 0 };
    vae_model *model = NULL;
    vae_terms  score;
    vae_error  error;
    float     *pixels = NULL;
    char       message[MESSAGE_SIZE];
    int        code = options_parse(argc, argv, "Shows test digits above their reconstructions.", table, 1);
    if (code < 0 && options_check_outputs("reconstruct_mnist", table) != 0) code = 2;
    if (code >= 0) return code;
    code = load_for_images(path, data, &model, &test, message);
    if (code == 0) {
        pixels = malloc((size_t)count * vae_example_size(model) * sizeof *pixels);
        if (!pixels) code = fail(message, "not enough memory for %lu images", (unsigned long)count);
        else if ((size_t)first >= test.count || (size_t)count > test.count - (size_t)first)
            code = fail(message, "there are %lu test images: --first %lld and --count %lld ask for more",
                        (unsigned long)test.count, first, count);
    }
    if (code == 0) {
        const vae_data shown = { .bytes = test.pixels + (size_t)first * vae_example_size(model),
                                 .count = (size_t)count };
        const png_grid grid = { .images = pixels, .originals = shown.bytes, .count = shown.count,
                                .height = test.height, .width = test.width, .channels = 1,
                                .columns = (int)(columns < count ? columns : count), .scale = (int)scale };
        if (vae_reconstruct(model, &shown, pixels, &error) != VAE_OK ||
            vae_elbo(model, &shown, &score, NULL, &error) != VAE_OK)
            code = fail(message, "%s", error.message);
        else code = png_write_grid(out, &grid, message);
    }
    if (code == 0)
        printf("test images %lld to %lld, nats per image: reconstruction %.2f, kl %.2f, elbo %.2f\nwrote %s\n", first,
               first + count - 1, score.reconstruction, score.kl, score.elbo, out);
    else code = complain("reconstruct_mnist", message);
    free(pixels);
    free(test.pixels);
    vae_destroy(model);
    return code;
}
