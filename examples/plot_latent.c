/* plot_latent.c - shows where test digits lie in the latent plane of a trained model, each class in its colour.

       build/train_mnist --recipe dense-512-256-2
       build/plot_latent out/model.safetensors

   A point is the mean of a digit's q(z | x). The rings lie 1, 2 and 3 standard deviations of the prior from 0. On the
   right stand digits of each class in its colour. build/sample_mnist --manifold draws what the plane decodes to. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <math.h>

#include "support/options.h"
#include "support/png_writer.h"
#include "support/trained_model.h"

enum { CLASSES = 10 };

typedef struct plot {
    float *pixels;                      /* height x width x 3 */
    int    side, width;                 /* the plane is side x side, the legend right of it */
    double reach;                       /* z at the plane's edge */
} plot;

static const unsigned char colours[CLASSES][3] = {
    { 228, 26, 28 },   { 55, 126, 184 },  { 77, 175, 74 },   { 152, 78, 163 }, { 255, 127, 0 },
    { 247, 224, 71 },  { 166, 86, 40 },   { 247, 129, 191 }, { 170, 170, 170 }, { 64, 224, 208 }
};

static float *pixel_at(const plot *p, int x, int y) {
    return p->pixels + 3 * ((size_t)y * (size_t)p->width + (size_t)x);
}

/* Lets the colour of a class shine over what is there. */
static void put(plot *p, int x, int y, int class, float strength) {
    float *pixel = pixel_at(p, x, y);
    int    c;
    for (c = 0; c < 3; c++) pixel[c] += strength * ((float)colours[class][c] / 255.0f - pixel[c]);
}

/* Rings of the prior, and the axes. */
static void draw_rings(plot *p) {
    const double scale = p->side / (2 * p->reach);
    int          x, y, c;
    for (y = 0; y < p->side; y++)
        for (x = 0; x < p->side; x++) {
            const double across = x + 0.5 - p->side / 2.0, down = y + 0.5 - p->side / 2.0;
            const double radius = sqrt(across * across + down * down) / scale, ring = floor(radius + 0.5);
            const int    lit = (ring >= 1 && ring <= 3 && fabs(radius - ring) * scale < 0.6) || fabs(across) < 0.6 ||
                            fabs(down) < 0.6;
            for (c = 0; c < 3; c++) pixel_at(p, x, y)[c] = lit ? 0.25f : 0;
        }
}

/* A point of 3 x 3 pixels, its middle brighter. */
static void draw_point(plot *p, const float *z, int class) {
    const double scale = p->side / (2 * p->reach);
    const double x = ((double)z[0] + p->reach) * scale, y = (p->reach - (double)z[1]) * scale;
    int          i;
    if (!(x >= 1 && y >= 1 && x < p->side - 1 && y < p->side - 1)) return;
    for (i = 0; i < 9; i++) put(p, (int)x + i % 3 - 1, (int)y + i / 3 - 1, class, i == 4 ? 0.9f : i % 2 ? 0.5f : 0.2f);
}

/* A digit of the class in its colour, at the legend's place for it. */
static void draw_digit(plot *p, const idx_images *images, size_t image, int class) {
    const unsigned char *pixels = images->pixels + image * (size_t)images->height * (size_t)images->width;
    const int            top = class * p->side / CLASSES + (p->side / CLASSES - images->height) / 2;
    int                  x, y;
    for (y = 0; y < images->height; y++)
        for (x = 0; x < images->width; x++) put(p, p->side + x, top + y, class, *pixels++ / 255.0f);
}

static int draw(plot *p, const idx_images *images, const int *labels, const float *z, char *message) {
    int    shown[CLASSES] = { 0 };
    size_t i;
    draw_rings(p);
    for (i = 0; i < images->count; i++) {
        if (labels[i] >= CLASSES)
            return fail(message, "test image %lu has label %d: colours are for 0 to 9", (unsigned long)i, labels[i]);
        draw_point(p, z + 2 * i, labels[i]);
        if (!shown[labels[i]]++) draw_digit(p, images, i, labels[i]);
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *path = "out/model.safetensors", *data = NULL, *out = "out/latent.png";
    long long   side = 600;
    double      reach = 4;
    const option table[] = {
        { "model", "FILE", "trained model with two latent dimensions", OPTION_TEXT, &path, 0, 0 },
        { "side", "N", "pixels on a side of the plane", OPTION_INTEGER, &side, 1, 4000 },
        { "reach", "F", "z at the plane's edges", OPTION_NUMBER, &reach, 0.1, 1000 },
        { "data", "DIR", "MNIST's files (else MNIST_DIR, data/, ...)", OPTION_TEXT, &data, 0, 0 },
        { "out", "FILE", "the picture", OPTION_OUTPUT, &out, 0, 0 },
        OPTIONS_END
    };
    plot       p = { NULL, 0, 0, 0 };
    idx_images test = { NULL, 0, 0, 0 };
    vae_model *model = NULL;
    float     *z = NULL;
    int       *labels = NULL;
    char       message[MESSAGE_SIZE];
    int        code = options_parse(argc, argv, "Shows where test digits lie in a model's latent plane.", table, 1);
    if (code < 0 && options_check_outputs("plot_latent", table) != 0) code = 2;
    if (code >= 0) return code;
    code = load_for_images(path, data, 0, &model, &test, message);
    if (code == 0 && vae_latent_size(model) != 2)
        code = fail(message, "this model has %d latent dimensions, a plane two: train one with --latent 2",
                    (int)vae_latent_size(model));
    if (code == 0 && side < CLASSES * test.height)
        code = fail(message, "--side must be at least %d, for the digits beside the plane", CLASSES * test.height);
    if (code == 0 && !(labels = idx_read_mnist_labels(data, "t10k", test.count, message))) code = -1;
    if (code == 0) {
        p.side = (int)side;
        p.width = p.side + test.width;
        p.reach = reach;
        z = malloc(test.count * 2 * sizeof *z);
        p.pixels = calloc((size_t)p.side * (size_t)p.width * 3, sizeof *p.pixels);
        if (!z || !p.pixels) code = fail(message, "not enough memory for %s", out);
    }
    if (code == 0) {
        const vae_data shown = { .bytes = test.pixels, .count = test.count };
        const png_grid grid = { .images = p.pixels, .count = 1, .height = p.side, .width = p.width, .channels = 3,
                                .columns = 1, .scale = 1 };
        vae_error      error;
        if (vae_encode(model, &shown, z, NULL, &error) != VAE_OK) code = fail(message, "%s", error.message);
        else code = draw(&p, &test, labels, z, message);
        if (code == 0) code = png_write_grid(out, &grid, message);
    }
    if (code == 0) printf("wrote %s\n", out);
    else code = complain("plot_latent", message);
    free(p.pixels);
    free(z);
    free(labels);
    free(test.pixels);
    vae_destroy(model);
    return code;
}
