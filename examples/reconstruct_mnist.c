/* reconstruct_mnist.c - shows test digits above what a trained model makes of them, and scores them.

       build/reconstruct_mnist out/model.safetensors --count 20
       build/reconstruct_mnist out/model.safetensors --noise 0.5        of train_mnist --recipe denoise
       build/reconstruct_mnist out/model.safetensors --hide 0.5         half of each digit's pixels

   With --noise and --hide the picture has three lines: the digits, what the model sees of them, and what it makes of
   that. Hidden pixels are shown grey; any model fills them in, with the mean of what they may be, given the others. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <math.h>

#include "support/options.h"
#include "support/png_writer.h"
#include "support/trained_model.h"

typedef struct task {
    double         noise, hide;         /* the command line's; 0: none */
    size_t         numbers;             /* of all digits */
    vae_data       clean;
    float         *pixels, *seen;       /* what the model makes of the digits, and what it sees */
    unsigned char *known;               /* 0 where a pixel is hidden */
} task;

static double uniform(uint64_t *stream) {       /* in (0, 1); PCG's multiplier, the high bits of the state */
    *stream = *stream * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*stream >> 40) + 0.5) / (1 << 24);
}

/* Gaussian noise, cut off where pixels end, or grey where a pixel is hidden. */
static void corrupt(const task *t, uint64_t stream) {
    size_t i;
    for (i = 0; i < t->numbers; i++) {
        double pixel = t->clean.bytes[i] / 255.0;
        if (t->noise > 0)
            pixel += t->noise * sqrt(-2 * log(uniform(&stream))) * cos(6.283185307179586 * uniform(&stream));
        t->known[i] = !(t->hide > 0) || uniform(&stream) >= t->hide;
        t->seen[i] = t->known[i] ? (float)(pixel < 0 ? 0 : pixel > 1 ? 1 : pixel) : 0.5f;
    }
}

/* The sum over a digit's pixels, of --hide its hidden ones, mean over the digits; `pixels` NULL: all black. */
static double squared_error(const task *t, const float *pixels) {
    double sum = 0;
    size_t i;
    for (i = 0; i < t->numbers; i++)
        if (t->noise > 0 || !t->known[i]) sum += pow((pixels ? (double)pixels[i] : 0) - t->clean.bytes[i] / 255.0, 2);
    return sum / (double)t->clean.count;
}

/* Fills t->pixels and says how good they are. */
static int mend(task *t, vae_model *model, uint64_t seed, char *message) {
    const vae_data given = { .pixels = t->seen, .count = t->clean.count, .mask = t->hide > 0 ? t->known : NULL };
    vae_config     config;
    vae_error      error;
    vae_status     status;
    vae_terms      score;
    if (t->noise > 0 || t->hide > 0) {
        corrupt(t, seed);
        status = t->hide > 0 ? vae_impute(model, &given, 1000, t->pixels, NULL, &error)
                             : vae_reconstruct(model, &given, t->pixels, &error);
        if (status == VAE_OK)
            printf("squared error per image: %s %.2f, mended %.2f\n", t->hide > 0 ? "hidden pixels black" : "noisy",
                   squared_error(t, t->hide > 0 ? NULL : t->seen), squared_error(t, t->pixels));
        vae_get_config(model, &config);
        if (!(t->hide > 0) && config.corruption.kind <= VAE_CORRUPTION_NONE)
            puts("this model has never seen noise: train_mnist --recipe denoise makes one that has");
    } else {
        status = vae_reconstruct(model, &t->clean, t->pixels, &error);
        if (status == VAE_OK) status = vae_elbo(model, &t->clean, &score, NULL, &error);
        if (status == VAE_OK)
            printf("nats per image: reconstruction %.2f, kl %.2f, elbo %.2f\n", score.reconstruction, score.kl,
                   score.elbo);
    }
    return status == VAE_OK ? 0 : fail(message, "%s", error.message);
}

int main(int argc, char **argv) {
    const char *path = "out/model.safetensors", *data = NULL, *out = "out/reconstructions.png";
    long long   count = 20, first = 0, columns = 10, scale = 3, seed = 1;
    task        t = { 0 };
    const option table[] = {
        { "model", "FILE", "trained model", OPTION_TEXT, &path, 0, 0 },
        { "count", "N", "how many test digits", OPTION_INTEGER, &count, 1, 10000 },
        { "first", "N", "the first of them, counted from 0", OPTION_INTEGER, &first, 0, 1e9 },
        { "noise", "F", "deviation of noise that the model is to take off", OPTION_NUMBER, &t.noise, 0, 100 },
        { "hide", "F", "part of the pixels that it is to fill in", OPTION_NUMBER, &t.hide, 0, 1 },
        { "columns", "N", "pictures in a row", OPTION_INTEGER, &columns, 1, 500 },
        { "scale", "N", "enlargement of each pixel", OPTION_INTEGER, &scale, 1, 50 },
        { "seed", "N", "which noise, which pixels", OPTION_INTEGER, &seed, 0, 2147483647 },
        { "data", "DIR", "MNIST's files (else MNIST_DIR, data/, ...)", OPTION_TEXT, &data, 0, 0 },
        { "out", "FILE", "the picture", OPTION_OUTPUT, &out, 0, 0 },
        OPTIONS_END
    };
    idx_images test = { NULL, 0, 0, 0 };
    vae_model *model = NULL;
    char       message[MESSAGE_SIZE];
    int        code = options_parse(argc, argv, "Shows test digits above their reconstructions.", table, 1);
    if (code < 0 && t.noise > 0 && t.hide > 0)
        code = options_wrong("reconstruct_mnist", "--noise and --hide are two things: give one of them");
    if (code < 0 && options_check_outputs("reconstruct_mnist", table) != 0) code = 2;
    if (code >= 0) return code;
    code = load_for_images(path, data, t.hide > 0, &model, &test, message);
    if (code == 0) {
        t.numbers = (size_t)count * vae_example_size(model);
        t.pixels = malloc(2 * t.numbers * sizeof *t.pixels);
        t.known = malloc(t.numbers);
        if (!t.pixels || !t.known) code = fail(message, "not enough memory for %lu images", (unsigned long)count);
        else if ((size_t)first >= test.count || (size_t)count > test.count - (size_t)first)
            code = fail(message, "there are %lu test images: --first %lld and --count %lld ask for more",
                        (unsigned long)test.count, first, count);
    }
    if (code == 0) {
        png_grid grid = { .images = t.pixels, .count = (size_t)count, .height = test.height, .width = test.width,
                          .channels = 1, .columns = (int)(columns < count ? columns : count), .scale = (int)scale };
        t.seen = t.pixels + t.numbers;
        grid.originals = t.clean.bytes = test.pixels + (size_t)first * vae_example_size(model);
        t.clean.count = grid.count;
        if (t.noise > 0 || t.hide > 0) grid.between = t.seen;
        printf("test images %lld to %lld, ", first, first + count - 1);
        code = mend(&t, model, (uint64_t)seed, message);
        if (code == 0) code = png_write_grid(out, &grid, message);
    }
    if (code == 0) printf("wrote %s\n", out);
    else code = complain("reconstruct_mnist", message);
    free(t.pixels);
    free(t.known);
    free(test.pixels);
    vae_destroy(model);
    return code;
}
