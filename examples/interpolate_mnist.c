/* interpolate_mnist.c - draws the way from one test digit to another through the latent space of a trained model.

       build/interpolate_mnist out/model.safetensors --from 3 --to 7 --count 10

   The first and the last picture are the test images themselves, those between come from the model. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <math.h>

#include "support/options.h"
#include "support/png_writer.h"
#include "support/trained_model.h"

/* From z[0] to z[count - 1], both given, along a circle: the prior's mass lies in a shell around 0, and a straight line
   would cut through the thin middle (White 2016, "Sampling Generative Networks"). */
static void spherical_path(float *z, size_t latent, size_t count) {
    const float *a = z, *b = z + (count - 1) * latent;
    double       aa = 0, bb = 0, ab = 0, angle;
    size_t       i, d;
    for (d = 0; d < latent; d++) {
        aa += (double)a[d] * (double)a[d];
        bb += (double)b[d] * (double)b[d];
        ab += (double)a[d] * (double)b[d];
    }
    angle = aa > 0 && bb > 0 ? acos(fmax(-1, fmin(1, ab / sqrt(aa * bb)))) : 0;
    for (i = 1; i + 1 < count; i++) {
        const double t = (double)i / (double)(count - 1);
        const int    straight = sin(angle) < 1e-3;   /* the same direction or opposite: no single circle */
        const double from = straight ? 1 - t : sin((1 - t) * angle) / sin(angle);
        const double to = straight ? t : sin(t * angle) / sin(angle);
        for (d = 0; d < latent; d++) z[i * latent + d] = (float)(from * (double)a[d] + to * (double)b[d]);
    }
}

/* Fills `pixels` with the `count` pictures. */
static int draw_path(vae_model *model, const unsigned char *first, const unsigned char *last, size_t count,
                     float *pixels, char *message) {
    const size_t      size = vae_example_size(model), latent = vae_latent_size(model);
    const vae_data    ends[2] = { { .bytes = first, .count = 1 }, { .bytes = last, .count = 1 } };
    float            *z = malloc(count * latent * sizeof *z);
    const vae_latents latents = { .z = z, .count = count };
    vae_error         error = { VAE_ERROR_MEMORY, "not enough memory for the path" };
    vae_status        status = VAE_ERROR_MEMORY;
    size_t            i;
    if (z) status = vae_encode(model, &ends[0], z, NULL, &error);
    if (status == VAE_OK) status = vae_encode(model, &ends[1], z + (count - 1) * latent, NULL, &error);
    if (status == VAE_OK) {
        spherical_path(z, latent, count);
        status = vae_decode(model, &latents, pixels, &error);
    }
    free(z);
    if (status != VAE_OK) return fail(message, "%s", error.message);
    for (i = 0; i < size; i++) {
        pixels[i] = (float)first[i] / 255.0f;
        pixels[(count - 1) * size + i] = (float)last[i] / 255.0f;
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *path = "out/model.safetensors", *data = NULL, *out = "out/path.png";
    long long   from = 0, to = 1, count = 10, scale = 3;
    const option table[] = {
        { "model", "FILE", "trained model", OPTION_TEXT, &path, 0, 0 },
        { "from", "N", "test image to begin with, counted from 0", OPTION_INTEGER, &from, 0, 1e9 },
        { "to", "N", "test image to end with", OPTION_INTEGER, &to, 0, 1e9 },
        { "count", "N", "pictures on the way, both ends counted", OPTION_INTEGER, &count, 2, 500 },
        { "scale", "N", "enlargement of each pixel", OPTION_INTEGER, &scale, 1, 50 },
        { "data", "DIR", "MNIST's files (else MNIST_DIR, data/, ...)", OPTION_TEXT, &data, 0, 0 },
        { "out", "FILE", "the picture", OPTION_OUTPUT, &out, 0, 0 },
        OPTIONS_END
    };
    idx_images test = { NULL, 0, 0, 0 };
    vae_model *model = NULL;
    float     *pixels = NULL;
    char       message[MESSAGE_SIZE];
    int        code = options_parse(argc, argv, "Draws the way from one test digit to another.", table, 1);
    if (code < 0 && options_check_outputs("interpolate_mnist", table) != 0) code = 2;
    if (code >= 0) return code;
    code = load_for_images(path, data, 0, &model, &test, message);
    if (code == 0) {
        pixels = malloc((size_t)count * vae_example_size(model) * sizeof *pixels);
        if (!pixels) code = fail(message, "not enough memory for %lu images", (unsigned long)count);
        else if ((size_t)from >= test.count || (size_t)to >= test.count)
            code = fail(message, "there are %lu test images, counted from 0: --from %lld and --to %lld ask for more",
                        (unsigned long)test.count, from, to);
        else
            code = draw_path(model, test.pixels + (size_t)from * vae_example_size(model),
                             test.pixels + (size_t)to * vae_example_size(model), (size_t)count, pixels, message);
    }
    if (code == 0) {
        const png_grid grid = { .images = pixels, .count = (size_t)count, .height = test.height, .width = test.width,
                                .channels = 1, .columns = (int)count, .scale = (int)scale };
        code = png_write_grid(out, &grid, message);
    }
    if (code == 0) printf("wrote %s\n", out);
    else code = complain("interpolate_mnist", message);
    free(pixels);
    free(test.pixels);
    vae_destroy(model);
    return code;
}
