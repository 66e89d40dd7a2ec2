/* draw_digit.c - writes digits of your choice in several hands, with a conditional model.

       build/draw_digit 2026                          trains the model first; one that is there is used as it is
       build/draw_digit 0123456789 --hands 10

   The model learns from labelled images what each class looks like. What the label does not say, the hand, is left to
   z: each line of the picture is one z, decoded with the label of every digit. --data takes any labelled images in
   MNIST's format; the digits are then the labels of their classes, 0 to 9. A model of other images is refused. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "support/checkpoint.h"
#include "support/idx_reader.h"
#include "support/options.h"
#include "support/png_writer.h"

enum { CLASSES = 10 };

/* Trains a model on all labelled images and saves it; one that is there has to be of these. */
static int train(const char *data, const char *path, long long epochs, char *message) {
    vae_config     config = { .latent = 12, .classes = CLASSES, .seed = 1, .initialization = VAE_INIT_GLOROT,
                              .encoder = { VAE_CONV(16, 4, 2, VAE_SILU), VAE_CONV(32, 4, 2, VAE_SILU),
                                           VAE_DENSE(256, VAE_SILU) },
                              .optimizer = { .learning_rate = 2e-3f } };
    vae_fit_config fit = { .epochs = (size_t)epochs, .output_bias_from_data = 1, .on_progress = vae_print_progress };
    idx_directory  found;
    idx_images     images = { 0 }, test = { 0 };
    vae_data       rows = { 0 };
    checkpoint     saved;
    vae_model     *model = NULL;
    vae_error      error = { VAE_OK, "" };
    int           *labels = NULL;
    const int      there = path_kind_of(path) != PATH_NOTHING;
    int            code = idx_read_mnist(data, &found, &images, &test, message);
    if (code == 0) {
        checkpoint_begin(&saved, path, "--model", "images", found.path, images.pixels, images.count,
                         (size_t)images.height * (size_t)images.width);
        saved.anew = "remove this one";
        if (there) code = checkpoint_check(&saved, message);
        else if (!(labels = idx_read_mnist_labels(data, "train", images.count, message))) code = -1;
    }
    if (code == 0 && !there) {
        config.input = (vae_shape){ images.height, images.width, 1 };
        rows.bytes = images.pixels;
        rows.count = images.count;
        rows.labels = labels;
        if (vae_create(&config, &model, &error) != VAE_OK || vae_fit(model, &rows, &fit, &error) != VAE_OK ||
            vae_save(model, path, &error) != VAE_OK) code = fail(message, "%s", error.message);
        else if ((code = checkpoint_mark(&saved, message)) == 0) printf("wrote %s\n", path);
    } else if (code == 0 && path_kind_of(saved.mark) == PATH_FILE) printf("%s learned these images\n", path);
    else if (code == 0) printf("what %s learned is not known: there is no %s\n", path, saved.mark);
    vae_destroy(model);
    free(labels);
    free(images.pixels);
    free(test.pixels);
    return code;
}

/* Image hand * digits + d is digit d with that hand's z. */
static int draw(vae_model *model, const char *digits, size_t hands, vae_real *pixels, char *message) {
    const size_t latent = vae_latent_size(model), length = strlen(digits), count = hands * length;
    vae_real    *drawn = malloc(hands * latent * sizeof *drawn), *z = malloc(count * latent * sizeof *z);
    int         *labels = malloc(count * sizeof *labels), code = 0;
    vae_latents  latents = { .z = z, .count = count, .labels = labels };
    vae_error    error;
    size_t       i;
    if (!drawn || !z || !labels) code = fail(message, "not enough memory for %lu digits", (unsigned long)count);
    else if (vae_sample_latent(model, hands, drawn, &error) != VAE_OK) code = fail(message, "%s", error.message);
    for (i = 0; code == 0 && i < count; i++) {
        memcpy(z + i * latent, drawn + i / length * latent, latent * sizeof *z);
        labels[i] = digits[i % length] - '0';
    }
    if (code == 0 && vae_decode(model, &latents, pixels, &error) != VAE_OK) code = fail(message, "%s", error.message);
    free(drawn);
    free(z);
    free(labels);
    return code;
}

int main(int argc, char **argv) {
    const char  *digits = "0123456789", *path = "out/digits.safetensors", *out = "out/digits.png", *data = NULL;
    long long    hands = 6, epochs = 5, scale = 3, seed = 1;
    option       table[] = {
        { "digits", "DIGITS", "what to write", OPTION_TEXT, &digits, 0, 0 },
        { "model", "FILE", "the model; trained and saved where there is none", OPTION_MODEL, &path, 0, 0 },
        { "hands", "N", "in so many ways", OPTION_INTEGER, &hands, 1, 1000 },
        { "seed", "N", "which ones", OPTION_INTEGER, &seed, 1, 2147483647 },
        { "scale", "N", "enlargement of each pixel", OPTION_INTEGER, &scale, 1, 50 },
        { "epochs", "N", "passes over the data to train it", OPTION_INTEGER, &epochs, 1, 100000 },
        { "data", "DIR", "MNIST's files (else MNIST_DIR, data/, ...)", OPTION_TEXT, &data, 0, 0 },
        { "out", "FILE", "the picture", OPTION_OUTPUT, &out, 0, 0 },
        OPTIONS_END
    };
    vae_config config = { .inference_only = 1 };
    vae_model *model = NULL;
    vae_real  *pixels = NULL;
    vae_error  error;
    char       message[MESSAGE_SIZE];
    int        code = options_parse(argc, argv, "Writes digits of your choice in several hands.", table, 1), there;
    if (code >= 0) return code;
    if (!*digits || strspn(digits, "0123456789") < strlen(digits) || strlen(digits) > 100)
        return options_wrong("draw_digit", "'%s' is not 1 to 100 digits", digits);
    there = path_kind_of(path) != PATH_NOTHING;
    if (there) table[1].kind = OPTION_TEXT;         /* --model is only read */
    if (options_check_outputs("draw_digit", table) != 0) return 2;
    if (there) printf("%s is there already: remove it, or name another --model, to train anew\n", path);
    code = there && !data ? 0 : train(data, path, epochs, message);
    config.seed = (uint64_t)seed;
    if (code == 0 && vae_load(path, &config, &model, &error) != VAE_OK) code = fail(message, "%s", error.message);
    vae_get_config(model, &config);
    if (code == 0 && config.classes != CLASSES)
        code = fail(message, "the model in %s knows %d classes, not ten: name another --model", path, config.classes);
    if (code == 0) {
        png_grid grid = { .count = (size_t)hands * strlen(digits), .height = config.input.height,
                          .width = config.input.width, .channels = config.input.channels,
                          .columns = (int)strlen(digits), .scale = (int)scale };
        grid.images = pixels = malloc(grid.count * vae_example_size(model) * sizeof *pixels);
        if (!pixels) code = fail(message, "not enough memory for %lu images", (unsigned long)grid.count);
        if (code == 0) code = draw(model, digits, (size_t)hands, pixels, message);
        if (code == 0) code = png_write_grid(out, &grid, message);
    }
    if (code == 0) printf("wrote %s\n", out);
    else code = complain("draw_digit", message);
    free(pixels);
    vae_destroy(model);
    return code;
}
