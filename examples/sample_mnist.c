/* sample_mnist.c - draws what a trained model imagines: new digits, or its latent plane.

       build/sample_mnist out/model.safetensors --count 100
       build/sample_mnist out/plane.safetensors --manifold      (of a model with two latent dimensions) */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <math.h>

#include "support/options.h"
#include "support/png_writer.h"
#include "support/trained_model.h"

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

/* Decodes the middles of columns x columns cells that are equally probable under the prior. */
static int draw_plane(vae_model *model, size_t columns, int draw, float *pixels, char *message) {
    float            *z = malloc(columns * columns * 2 * sizeof *z);
    const vae_latents latents = { .z = z, .count = columns * columns };
    vae_error         error;
    vae_status        status;
    size_t            i;
    if (!z) return fail(message, "not enough memory for the latent plane");
    for (i = 0; i < latents.count; i++) {
        z[2 * i] = (float)inverse_normal_cdf(((double)(i % columns) + 0.5) / (double)columns);
        z[2 * i + 1] = -(float)inverse_normal_cdf(((double)(i / columns) + 0.5) / (double)columns);
    }
    status = (draw ? vae_draw : vae_decode)(model, &latents, pixels, &error);
    free(z);
    return status == VAE_OK ? 0 : fail(message, "%s", error.message);
}

int main(int argc, char **argv) {
    const char *path = "out/model.safetensors", *out = "out/samples.png";
    long long   count = 100, columns = 10, scale = 3, seed = 1;
    int         manifold = 0, draw = 0;
    const option table[] = {
        { "model", "FILE", "trained model", OPTION_TEXT, &path, 0, 0 },
        { "count", "N", "how many digits", OPTION_INTEGER, &count, 1, 10000 },
        { "columns", "N", "pictures in a row", OPTION_INTEGER, &columns, 2, 500 },
        { "manifold", "", "the latent plane, columns x columns", OPTION_FLAG, &manifold, 0, 0 },
        { "draw", "", "pixels drawn from p(x | z), not their means", OPTION_FLAG, &draw, 0, 0 },
        { "scale", "N", "enlargement of each pixel", OPTION_INTEGER, &scale, 1, 50 },
        { "seed", "N", "which random digits", OPTION_INTEGER, &seed, 1, 2147483647 },
        { "out", "FILE", "the picture", OPTION_OUTPUT, &out, 0, 0 },
        OPTIONS_END
    };
    vae_config        config = { .inference_only = 1 };
    vae_sample_config how = { .kind = VAE_SAMPLE_MEAN };
    vae_model        *model = NULL;
    vae_error         error;
    float            *pixels;
    char              message[MESSAGE_SIZE];
    int               code = options_parse(argc, argv, "Draws what a trained model imagines.", table, 1);
    if (code < 0 && options_check_outputs("sample_mnist", table) != 0) code = 2;
    if (code >= 0) return code;
    config.seed = (uint64_t)seed;
    if (draw) how.kind = VAE_SAMPLE_DRAW;
    if (load_trained(path, &config, &model, message) != 0) return complain("sample_mnist", message);
    vae_get_config(model, &config);
    if (manifold) count = columns * columns;
    pixels = malloc((size_t)count * vae_example_size(model) * sizeof *pixels);
    code = 0;
    if (!pixels) code = fail(message, "not enough memory for %lu images", (unsigned long)count);
    else if (manifold && config.latent != 2)
        code = fail(message, "--manifold shows a plane, this model has %d latent dimensions: train one with --latent 2",
                    config.latent);
    else if (manifold) code = draw_plane(model, (size_t)columns, draw, pixels, message);
    else if (vae_sample_with(model, (size_t)count, &how, pixels, &error) != VAE_OK)
        code = fail(message, "%s", error.message);
    if (code == 0) {
        const png_grid grid = { .images = pixels, .count = (size_t)count, .height = config.input.height,
                                .width = config.input.width, .channels = config.input.channels,
                                .columns = (int)(columns < count ? columns : count), .scale = (int)scale };
        code = png_write_grid(out, &grid, message);
    }
    if (code == 0) printf("wrote %s\n", out);
    else code = complain("sample_mnist", message);
    free(pixels);
    vae_destroy(model);
    return code;
}
