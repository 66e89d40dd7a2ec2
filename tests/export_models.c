/* The models that tests/export_cortex.sh measures, with fresh weights; rows to find scales with; and, in macs.txt, how
   many multiply-adds their halves take, where inputs outside an image do not count: export_models FOLDER */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "../examples/support/export_int8.h"

enum { ROWS = 50 };

/* The taps that meet an input, of all outputs on an axis. */
static long taps(const exported_layer *l, const net_axis *axis) {
    long sum = 0;
    int  place;
    for (place = 0; place < axis->out; place++) sum += export_reach(l)(axis, place).count;
    return sum;
}

static long multiply_adds(const exported_layer *l, int count) {
    long sum = 0;
    for (; count > 0; count--, l++) {
        const net_geometry g = export_geometry(l);
        if (l->layer.kind == VAE_LAYER_DENSE) sum += (long)l->inputs * l->outputs;
        else sum += taps(l, &g.height) * taps(l, &g.width) * g.in_channels * g.out_channels;
    }
    return sum;
}

static int write_macs(const vae_model *model, const char *folder, const char *name) {
    char             path[512], message[MESSAGE_SIZE];
    exported_network n;
    FILE            *file;
    snprintf(path, sizeof path, "%.400s/macs.txt", folder);
    if (exported_read(model, &n, message) != 0 || (file = fopen(path, "a")) == NULL) return 1;
    fprintf(file, "%s decoder %ld\n", name, multiply_adds(n.decoder, n.decoders));
    fprintf(file, "%s encoder %ld\n", name, multiply_adds(n.encoder, n.encoders) + 2 * multiply_adds(&n.mean, 1));
    exported_free(&n);
    return fclose(file) != 0;
}

/* A soft spot somewhere in each picture. */
static int write_rows(const char *folder) {
    char  path[512];
    FILE *file;
    int   row, k;
    snprintf(path, sizeof path, "%.400s/rows.csv", folder);
    if ((file = fopen(path, "w")) == NULL) return 1;
    for (row = 0; row < ROWS; row++)
        for (k = 0; k < 784; k++) {
            const double across = k % 28 - 6 - row % 5 * 4, down = k / 28 - 6 - row / 5 % 5 * 4;
            fprintf(file, "%.3f%c", exp(-(across * across + down * down) / (10 + row)), k < 783 ? ',' : '\n');
        }
    return fclose(file) != 0;
}

static int save(const vae_config *config, const char *folder, const char *name) {
    char       path[512];
    vae_model *model = NULL;
    vae_error  error;
    snprintf(path, sizeof path, "%.400s/%s.safetensors", folder, name);
    if (vae_create(config, &model, &error) == VAE_OK && vae_save(model, path, &error) == VAE_OK) {
        const int failed = write_macs(model, folder, name);
        vae_destroy(model);
        return failed;
    }
    printf("%s: %s\n", name, error.message);
    return 1;
}

int main(int argc, char **argv) {
    const char *folder = argc > 1 ? argv[1] : "build/export";
    char        path[512];
    vae_config  c;
    int         failed;
    memset(&c, 0, sizeof c);
    snprintf(path, sizeof path, "%.400s/macs.txt", folder);
    remove(path);
    c.input.height = c.input.channels = 1;
    c.input.width = 16;
    c.latent = 2;
    c.encoder[0] = VAE_DENSE(8, VAE_TANH);
    failed = save(&c, folder, "sensor");
    c.input.height = c.input.width = 28;
    c.latent = 20;
    c.encoder[0] = VAE_DENSE(400, VAE_RELU);
    failed |= save(&c, folder, "dense");
    c.latent = 16;
    c.encoder[0] = VAE_CONV(16, 4, 2, VAE_RELU);
    c.encoder[1] = VAE_CONV(32, 4, 2, VAE_RELU);
    failed |= save(&c, folder, "convolutional");
    return failed | write_rows(folder);
}
