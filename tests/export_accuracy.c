/* What int8 costs on real data, measured with the functions that exported files are made of: the negative ELBO on
   MNIST's test images, and how well scores tell anomalies in tables. Trains its models first: some minutes.

       export_accuracy [MNIST'S FOLDER [TABLES' FOLDER]] */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "../examples/support/csv_reader.h"
#include "../examples/support/export_rows.h"
#include "../examples/support/export_writer.h"
#include "auc.h"

static vae_error error;
static char      message[MESSAGE_SIZE];

static int give_up(const char *what) {
    printf("%s: %s\n", what, error.message[0] ? error.message : message);
    exit(1);
}

/* The negative ELBO of rows at z = mean + deviation noise, in int8 or by the library's numbers; noise NULL: at the
   mean. */
static void measure(const export_int8 *q, const exported_network *n, const float *rows, size_t count,
                    const float *noise, double *floats, double *int8s) {
    const size_t latent = (size_t)n->latent, example = (size_t)n->example;
    export_row   r;
    size_t       i, k;
    int          which;
    if (export_take_row(&r, n) != 0) give_up("memory");
    for (i = 0; i < count; i++)
        for (which = 0; which < 2; which++) {
            const float *y = r.work;
            double       nats;
            export_see(n, rows + i * example, r.x);
            if (which) export_int8_encode(q, n, 0, r.x, r.mean, r.logvar, r.bytes, r.half);
            else export_float_encode(n, 0, &r, NULL);
            for (k = 0; k < latent; k++)
                r.z[k] = r.mean[k] + (noise ? net_exp(0.5f * r.logvar[k]) * noise[i * latent + k] : 0.0f);
            if (which) export_int8_decode(q, n, 0, r.z, r.work, r.bytes, r.half);
            else y = export_run_floats(n->decoder, n->decoders, 0, r.z, r.work, r.half, NULL);
            nats = export_nats(n, y, r.x) + net_sum(net_kl, r.mean, r.logvar, n->latent) * 0.5;
            if (which) int8s[i] = nats;
            else floats[i] = nats;
        }
    free(r.x);
}

static double mean_of(const double *x, size_t count) {
    double sum = 0;
    size_t i;
    for (i = 0; i < count; i++) sum += x[i] / (double)count;
    return sum;
}

static vae_model *trained(const vae_config *config, const vae_data *data, size_t epochs) {
    vae_model     *model = NULL;
    vae_fit_config fit;
    memset(&fit, 0, sizeof fit);
    fit.epochs = epochs;
    if (vae_create(config, &model, &error) != VAE_OK || vae_fit(model, data, &fit, &error) != VAE_OK)
        give_up("training");
    return model;
}

static size_t constant_bytes(const exported_network *n, const export_int8 *q) {
    const export_options o = { "x", "x", EXPORT_SCORE, 0, VAE_SCORE_ELBO, q, 0 };
    return export_write_constants(NULL, n, &o);
}

static void on_mnist(const char *folder, const char *name, vae_config *config, size_t epochs) {
    const vae_shape  image = { 28, 28, 1 };
    idx_images       train, test;
    export_rows      rows;
    export_int8      q;
    exported_network n;
    vae_model       *model;
    vae_data         data;
    double          *floats = (double *)malloc(20000 * sizeof(double)), *int8s = floats + 10000;
    float           *pixels = (float *)malloc(10000 * 784 * sizeof(float)), *noise;
    uint32_t         state = 7;
    size_t           i;
    if (idx_read_images(folder, "train-images-idx3-ubyte", &train, message) != 0 ||
        idx_read_images(folder, "t10k-images-idx3-ubyte", &test, message) != 0 ||
        export_read_rows(&rows, folder, NULL, image, 0, message) != 0) give_up("MNIST");
    memset(&data, 0, sizeof data);
    data.bytes = train.pixels;
    data.count = train.count;
    config->input = image;
    config->seed = 1;
    model = trained(config, &data, epochs);
    if (exported_read(model, &n, message) != 0 || export_quantize(&q, &n, rows.numbers, NULL, rows.count, message) != 0)
        give_up("int8");
    noise = (float *)malloc(10000 * (size_t)n.latent * sizeof(float));
    for (i = 0; i < 10000 * (size_t)n.latent; i++) noise[i] = export_normal(&state);
    for (i = 0; i < 10000 * 784; i++) pixels[i] = (float)test.pixels[i] / 255;
    measure(&q, &n, pixels, 10000, noise, floats, int8s);
    printf("MNIST, %s: -ELBO of 10,000 test images %.3f nats in floats, %.3f in int8 (%+.3f); %lu bytes, %lu in int8\n",
           name,
           mean_of(floats, 10000), mean_of(int8s, 10000), mean_of(int8s, 10000) - mean_of(floats, 10000),
           (unsigned long)constant_bytes(&n, NULL), (unsigned long)constant_bytes(&n, &q));
    free(train.pixels); free(test.pixels); free(floats); free(pixels); free(noise);
    export_free_rows(&rows); export_free_int8(&q); exported_free(&n); vae_destroy(model);
}

/* Learns from the first half of the normal rows, and scores the others and the anomalies. */
static void on_table(const char *folder, const char *name) {
    char             path[512];
    csv_table        table;
    export_int8      q;
    exported_network n;
    vae_config       config;
    vae_model       *model;
    vae_data         data;
    scored          *each;
    double          *floats, *int8s, a, b;
    float           *rows;
    size_t           i, columns, normals = 0, taken = 0, others = 0;
    snprintf(path, sizeof path, "%.400s/%s.csv", folder, name);
    if (csv_read(path, NULL, &table, message) != 0) give_up(name);
    columns = table.columns - 1;
    rows = (float *)malloc(table.rows * columns * sizeof(float) * 2);
    each = (scored *)malloc(table.rows * sizeof *each);
    floats = (double *)malloc(2 * table.rows * sizeof(double));
    int8s = floats + table.rows;
    for (i = 0; i < table.rows; i++) normals += table.numbers[i * table.columns + columns] == 0;
    for (i = 0; i < table.rows; i++) {
        const float *row = table.numbers + i * table.columns;
        const int    learns = row[columns] == 0 && taken < normals / 2;
        memcpy(rows + (learns ? taken++ : table.rows + others) * columns, row, columns * sizeof(float));
        if (!learns) each[others++].anomaly = row[columns] != 0;
    }
    memset(&config, 0, sizeof config);
    config.input.height = config.input.channels = 1;
    config.input.width = (int)columns;
    config.latent = 4;
    config.encoder[0] = VAE_DENSE(64, VAE_SILU);
    config.encoder[1] = VAE_DENSE(32, VAE_SILU);
    config.likelihood = VAE_GAUSSIAN;
    config.standardize = 1;
    config.seed = 1;
    memset(&data, 0, sizeof data);
    data.pixels = rows;
    data.count = taken;
    model = trained(&config, &data, taken > 20000 ? 10 : 100000 / taken + 10);
    if (exported_read(model, &n, message) != 0 ||
        export_quantize(&q, &n, rows, NULL, taken < 1000 ? taken : 1000, message) != 0)
        give_up("int8");
    measure(&q, &n, rows + table.rows * columns, others, NULL, floats, int8s);
    for (i = 0; i < others; i++) each[i].score = floats[i];
    for (i = 0; i < others; i++) floats[i] = each[i].anomaly;
    a = auc(each, others);
    for (i = 0; i < others; i++) {
        each[i].anomaly = floats[i] != 0;
        each[i].score = int8s[i];
    }
    b = auc(each, others);
    printf("%s: AUC %.4f in floats, %.4f in int8 (%+.4f); %lu bytes, %lu in int8\n", name, a, b, b - a,
           (unsigned long)constant_bytes(&n, NULL), (unsigned long)constant_bytes(&n, &q));
    free(rows); free(each); free(floats);
    csv_free(&table); export_free_int8(&q); exported_free(&n); vae_destroy(model);
}

int main(int argc, char **argv) {
    static const char *const tables[] = { "cardio", "mammography", "pendigits", "satellite", "thyroid", "shuttle" };
    const char              *mnist = argc > 1 ? argv[1] : "../shared/mnist",
                            *folder = argc > 2 ? argv[2] : "../shared/tables";
    vae_config               c;
    size_t                   i;
    for (i = 0; i < sizeof tables / sizeof tables[0]; i++) on_table(folder, tables[i]);
    memset(&c, 0, sizeof c);
    c.latent = 20;
    c.encoder[0] = VAE_DENSE(400, VAE_RELU);
    on_mnist(mnist, "dense 784-400-20", &c, 3);
    c.latent = 16;
    c.encoder[0] = VAE_CONV(16, 4, 2, VAE_SILU);
    c.encoder[1] = VAE_CONV(32, 4, 2, VAE_SILU);
    on_mnist(mnist, "convolutional", &c, 1);
    return 0;
}
