/* figures.c - what models made with vae.h are worth in uses that have published figures, or beside a plain method.

       figures denoise             takes noise off test digits; beside them as they are and beside median filters
       figures semi-supervised     learns to read digits of which 100 have labels: test digits read wrong, in percent
       figures semi-supervised-controls    the same in graphs of the pixels, and of an untrained encoder's codes
       figures one-class           trains on one digit alone, tells it from the others: area under the ROC curve, %
       figures impute              fills in half of a table's numbers; beside column means and nearest neighbours

   Each figure is one line: `figure: NAME ours=.. other=..`. The same command gives the same figures, for any number of
   threads. MNIST is looked for as everywhere (idx_reader.h); the tables, four of ADBench's classical ones, each a CSV
   file whose last column is a class, in TABLES_DIR or ../shared/tables. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <math.h>
#include "../examples/support/csv_reader.h"
#include "../examples/support/idx_reader.h"
#include "../examples/support/options.h"
#include "auc.h"

enum { SIDE = 28, PIXELS = SIDE * SIDE, CLASSES = 10 };

typedef struct digits {
    unsigned char *pixels, *labels;
    size_t         count;
} digits;

typedef struct task {
    const char *data, *tables;
    long long   seed, threads;
    int         verbose;
    digits      train, test;
} task;

/* ---- common ---- */

static void *must_allocate(size_t count, size_t size) {
    void *block = calloc(count, size);
    if (!block) exit(complain("figures", "not enough memory"));
    return block;
}

static void must(vae_status status, const vae_error *error) {
    if (status != VAE_OK) exit(complain("figures", error->message));
}

static double uniform(uint64_t *stream) {       /* in (0, 1); PCG's multiplier, the high bits of the state */
    *stream = *stream * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*stream >> 40) + 0.5) / (1 << 24);
}

static double normal(uint64_t *stream) {
    const double radius = sqrt(-2 * log(uniform(stream)));
    return radius * cos(6.283185307179586 * uniform(stream));
}

static int read_digits(const char *directory, const char *set, digits *into, char *message) {
    char       images_name[64], labels_name[64];
    idx_images images = { 0 };
    idx_labels labels = { 0 };
    snprintf(images_name, sizeof images_name, "%s-images-idx3-ubyte", set);
    snprintf(labels_name, sizeof labels_name, "%s-labels-idx1-ubyte", set);
    if (idx_read_images(directory, images_name, &images, message) != 0 ||
        idx_read_labels(directory, labels_name, &labels, message) != 0)
        return -1;
    if (images.height != SIDE || images.width != SIDE || images.count != labels.count)
        return fail(message, "%s holds other images than MNIST's", directory);
    *into = (digits){ images.pixels, labels.values, images.count };
    return 0;
}

/* A model of `config`, trained, from the weights of `start` where that is not NULL. The learning rate falls along half
   a cosine to a hundredth of itself. */
static vae_model *train(const task *t, vae_config config, const vae_data *data, size_t epochs, const vae_model *start) {
    const size_t         batch = config.batch ? config.batch : 128;
    const vae_fit_config fit = { .epochs = epochs, .output_bias_from_data = !start,
                                 .on_progress = t->verbose ? vae_print_progress : NULL };
    vae_model *model = NULL;
    vae_error  error;
    config.seed = (uint64_t)t->seed;
    config.threads = (int)t->threads;
    config.optimizer.schedule =
        (vae_schedule){ .kind = VAE_COSINE, .steps = epochs * ((data->count - 1) / batch + 1), .to = 0.01f };
    must(vae_create(&config, &model, &error), &error);
    if (start) memcpy(vae_parameters(model), vae_weights(start), vae_weight_count(model) * sizeof(vae_real));
    must(vae_fit(model, data, &fit, &error), &error);
    return model;
}

/* ---- denoise ---- */

/* The sum over a digit's pixels, mean over the digits. */
static double squared_error(const vae_real *pixels, const digits *clean) {
    double sum = 0;
    size_t i;
    for (i = 0; i < clean->count * PIXELS; i++) {
        const double off = (double)pixels[i] - clean->pixels[i] / 255.0;
        sum += off * off;
    }
    return sum / (double)clean->count;
}

/* Each pixel becomes the median of the `width` x `width` pixels around it; beyond the edge stand the edge's pixels. */
static void filter_by_median(const vae_real *from, vae_real *to, int width) {
    const int reach = width / 2, last = SIDE - 1;
    int       y, x, i, j, k;
    for (y = 0; y < SIDE; y++)
        for (x = 0; x < SIDE; x++) {
            vae_real sorted[25];
            for (k = 0; k < width * width; k++) {
                const int      v = y + k / width - reach, u = x + k % width - reach;
                const int      row = v < 0 ? 0 : v > last ? last : v, column = u < 0 ? 0 : u > last ? last : u;
                const vae_real pixel = from[row * SIDE + column];
                for (i = 0; i < k && sorted[i] < pixel; i++) {}
                for (j = k; j > i; j--) sorted[j] = sorted[j - 1];
                sorted[i] = pixel;
            }
            to[y * SIDE + x] = sorted[width * width / 2];
        }
}

static int denoise(task *t) {
    static const struct {
        const char    *name;
        vae_corruption noise;
    } noises[] = { { "gaussian", { VAE_CORRUPTION_GAUSSIAN, 0.5f } },
                   { "salt-and-pepper", { VAE_CORRUPTION_SALT_AND_PEPPER, 0.4f } } };
    const size_t   count = t->test.count;
    const vae_data clean = { .bytes = t->train.pixels, .count = t->train.count };
    vae_real      *noisy = must_allocate(count * PIXELS, sizeof *noisy);
    vae_real      *result = must_allocate(count * PIXELS, sizeof *result);
    uint64_t       stream = (uint64_t)t->seed;
    vae_error      error;
    size_t         i, n;
    int            width;
    for (n = 0; n < sizeof noises / sizeof *noises; n++) {
        const double   amount = (double)noises[n].noise.amount;
        const vae_data given = { .pixels = noisy, .count = count };
        double         median[2];
        vae_model     *model;
        for (i = 0; i < count * PIXELS; i++) {
            double pixel = t->test.pixels[i] / 255.0;
            if (noises[n].noise.kind == VAE_CORRUPTION_GAUSSIAN) pixel += amount * normal(&stream);
            else if (uniform(&stream) < amount) pixel = uniform(&stream) < 0.5;
            noisy[i] = (vae_real)(pixel < 0 ? 0 : pixel > 1 ? 1 : pixel);
        }
        for (width = 3; width <= 5; width += 2) {
            for (i = 0; i < count; i++) filter_by_median(noisy + i * PIXELS, result + i * PIXELS, width);
            median[width > 3] = squared_error(result, &t->test);
        }
        model = train(t, (vae_config){ .input = { SIDE, SIDE, 1 }, .latent = 64,
                                       .encoder = { VAE_CONV(16, 4, 2, VAE_SILU), VAE_CONV(32, 4, 2, VAE_SILU),
                                                    VAE_DENSE(256, VAE_SILU) },
                                       .initialization = VAE_INIT_GLOROT, .optimizer = { .learning_rate = 2e-3f },
                                       .corruption = noises[n].noise },
                      &clean, 5, NULL);
        must(vae_reconstruct(model, &given, result, &error), &error);
        vae_destroy(model);
        printf("figure: denoise-%s ours=%.2f noisy=%.2f median-3x3=%.2f median-5x5=%.2f\n", noises[n].name,
               squared_error(result, &t->test), squared_error(noisy, &t->test), median[0], median[1]);
        fflush(stdout);
    }
    free(noisy);
    free(result);
    return 0;
}

/* ---- impute ---- */

/* Each column of mean 0 and variance 1 over the whole table, as published figures have it. */
static void standardize(csv_table *table) {
    const size_t numbers = table->rows * table->columns;
    size_t       column, i;
    for (column = 0; column < table->columns; column++) {
        double sum = 0, squares = 0, mean, deviation;
        for (i = column; i < numbers; i += table->columns) sum += (double)table->numbers[i];
        mean = sum / (double)table->rows;
        for (i = column; i < numbers; i += table->columns) squares += pow((double)table->numbers[i] - mean, 2);
        deviation = sqrt(squares / (double)table->rows);
        for (i = column; i < numbers; i += table->columns)
            table->numbers[i] = (float)(((double)table->numbers[i] - mean) / (deviation > 0 ? deviation : 1));
    }
}

/* Root mean square over the missing numbers; columns have variance 1. */
static double error_of(const float *filled, const csv_table *table, const unsigned char *mask) {
    double sum = 0, count = 0;
    size_t i;
    for (i = 0; i < table->rows * table->columns; i++) {
        const double off = (double)filled[i] - (double)table->numbers[i];
        sum += mask[i] ? 0 : off * off;
        count += !mask[i];
    }
    return sqrt(sum / count);
}

static void fill_with_means(const csv_table *table, const unsigned char *mask, float *filled) {
    const size_t numbers = table->rows * table->columns;
    size_t       column, i;
    for (column = 0; column < table->columns; column++) {
        double sum = 0, known = 0;
        for (i = column; i < numbers; i += table->columns) {
            sum += mask[i] ? (double)table->numbers[i] : 0;
            known += mask[i];
        }
        for (i = column; i < numbers; i += table->columns)
            filled[i] = mask[i] ? table->numbers[i] : (float)(sum / fmax(known, 1));
    }
}

enum { MOST_NEIGHBOURS = 20 };

/* The mean of the nearest 5, 10 and 20 rows that have the number, into filled[0], [1] and [2]; how far rows are is the
   mean square over the columns that both have, as in scikit-learn's KNNImputer. */
static void fill_from_neighbours(const csv_table *table, const unsigned char *mask, float *filled[3]) {
    const size_t columns = table->columns;
    float       *distance = must_allocate(table->rows, sizeof *distance);
    size_t       row, other, k;
    for (row = 0; row < table->rows; row++) {
        const float         *x = table->numbers + row * columns;
        const unsigned char *has = mask + row * columns;
        for (other = 0; other < table->rows; other++) {
            const float         *y = table->numbers + other * columns;
            const unsigned char *also = mask + other * columns;
            float                sum = 0, both = 0;
            for (k = 0; k < columns; k++) {
                const float shared = (float)(has[k] & also[k]);
                sum += shared * (x[k] - y[k]) * (x[k] - y[k]);
                both += shared;
            }
            distance[other] = both > 0 && other != row ? sum / both : INFINITY;
        }
        for (k = 0; k < columns; k++) {
            float nearest[MOST_NEIGHBOURS], value[MOST_NEIGHBOURS] = { 0 }, sum = 0;
            int   i;
            for (i = 0; i < MOST_NEIGHBOURS; i++) nearest[i] = INFINITY;
            for (other = 0; !has[k] && other < table->rows; other++) {
                if (!mask[other * columns + k] || !(distance[other] < nearest[MOST_NEIGHBOURS - 1])) continue;
                for (i = MOST_NEIGHBOURS - 1; i > 0 && nearest[i - 1] > distance[other]; i--) {
                    nearest[i] = nearest[i - 1];
                    value[i] = value[i - 1];
                }
                nearest[i] = distance[other];
                value[i] = table->numbers[other * columns + k];
            }
            for (i = 1; i <= MOST_NEIGHBOURS; i++) {
                sum += value[i - 1];
                if (i == 5 || i == 10 || i == 20)
                    filled[i / 10][row * columns + k] = has[k] ? x[k] : sum / (float)i;
            }
        }
    }
    free(distance);
}

typedef struct table_to_fill {
    const char *name, *published;   /* a figure of others, or "" */
    int         is_rare;            /* it may lie in data/, too, and where it does not, all else is finished without it */
} table_to_fill;

static int find_table(const char *folder, const table_to_fill *table, char *path, size_t size) {
    if (table->is_rare && snprintf(path, size, "data/%s.csv", table->name) && file_can_be_read(path)) return 1;
    snprintf(path, size, "%.400s/%s.csv", folder, table->name);
    if (file_can_be_read(path)) return 1;
    printf(table->is_rare ? "not here: %s, which data/get_breast_cancer.sh takes from scikit-learn\n"
                          : "SKIPPED: %s is not here: TABLES_DIR says where the tables are\n", path);
    return 0;
}

/* The published protocol (Mattei and Frellsen 2019, section 4.2): half of all numbers are missing completely at random,
   and the model is trained on what is left of the rows it then fills. */
static int impute(task *t) {
    static const table_to_fill tables[] = {
        { "breast_cancer", "MIWAE=0.536 ", 1 },         /* its authors give the square, 0.287 */
        { "cardio", "", 0 }, { "pendigits", "", 0 }, { "satellite", "", 0 }, { "thyroid", "", 0 }
    };
    const char *folder = t->tables ? t->tables : getenv("TABLES_DIR") ? getenv("TABLES_DIR") : "../shared/tables";
    size_t      n, i;
    int         k;
    for (n = 0; n < sizeof tables / sizeof *tables; n++) {
        csv_table      table;
        vae_data       data = { 0 };
        vae_model     *model;
        unsigned char *mask;
        float         *filled, *three[3];
        uint64_t       stream = (uint64_t)t->seed;
        char           path[512], message[MESSAGE_SIZE];
        vae_error      error;
        size_t         numbers, steps = 4000, batch = 64;
        double         mean, nearest = INFINITY;
        if (!find_table(folder, &tables[n], path, sizeof path)) continue;
        if (csv_read(path, NULL, &table, message) != 0) return complain("figures", message);
        table.columns--;                                    /* the last one is the class */
        for (i = 1; i < table.rows; i++)
            memmove(table.numbers + i * table.columns, table.numbers + i * (table.columns + 1),
                    table.columns * sizeof *filled);
        standardize(&table);
        numbers = table.rows * table.columns;
        mask = must_allocate(numbers, 1);
        filled = must_allocate(numbers, sizeof *filled);
        for (i = 0; i < numbers; i++) mask[i] = uniform(&stream) >= 0.5;
        fill_with_means(&table, mask, filled);
        mean = error_of(filled, &table, mask);
        for (k = 0; k < 3; k++) three[k] = must_allocate(numbers, sizeof *filled);
        fill_from_neighbours(&table, mask, three);
        for (k = 0; k < 3; k++) {                           /* whichever number of neighbours happens to be best */
            nearest = fmin(nearest, error_of(three[k], &table, mask));
            free(three[k]);
        }
        data.pixels = table.numbers;
        data.count = table.rows;
        data.mask = mask;
        model = train(t, (vae_config){ .input = { 1, (int)table.columns, 1 }, .latent = 10, .batch = batch,
                                       .encoder = { VAE_DENSE(128, VAE_SILU), VAE_DENSE(128, VAE_SILU) },
                                       .likelihood = VAE_GAUSSIAN, .sigma_per_pixel = 1, .missing = 1,
                                       .objective = VAE_OBJECTIVE_IWAE, .samples = 20 },
                      &data, steps / ((table.rows - 1) / batch + 1) + 1, NULL);
        must(vae_impute(model, &data, 500, filled, NULL, &error), &error);
        vae_destroy(model);
        printf("figure: impute-%s ours=%.3f %sneighbours=%.3f mean=%.3f\n", tables[n].name,
               error_of(filled, &table, mask), tables[n].published, nearest, mean);
        fflush(stdout);
        table.columns++;
        csv_free(&table);
        free(mask);
        free(filled);
    }
    return 0;
}

/* ---- one-class ---- */

/* Weighs the pixels around each by 1 4 6 4 1, down and across; beyond the edge is nothing. */
static void blur(const vae_real *from, vae_real *to) {
    static const vae_real weight[5] = { 1 / 16.f, 4 / 16.f, 6 / 16.f, 4 / 16.f, 1 / 16.f };
    vae_real              down[PIXELS];
    int                   y, x, k;
    for (y = 0; y < SIDE; y++)
        for (x = 0; x < SIDE; x++)
            for (down[y * SIDE + x] = 0, k = 0; k < 5; k++)
                if (y + k >= 2 && y + k < SIDE + 2) down[y * SIDE + x] += weight[k] * from[(y + k - 2) * SIDE + x];
    for (y = 0; y < SIDE; y++)
        for (x = 0; x < SIDE; x++)
            for (to[y * SIDE + x] = 0, k = 0; k < 5; k++)
                if (x + k >= 2 && x + k < SIDE + 2) to[y * SIDE + x] += weight[k] * down[y * SIDE + x + k - 2];
}

/* How odd each digit is to the model: the squared error of its reconstruction, and in `relative` that of the blurred
   difference as a share of the image's squares. A stroke that is missing outweighs edges that are a little off, and
   a thick pen does not make a digit odd. */
static void score_digits(vae_model *model, const digits *d, double *plain, double *relative) {
    const vae_data data = { .bytes = d->pixels, .count = d->count };
    vae_real      *made = must_allocate(d->count * PIXELS, sizeof *made);
    vae_error      error;
    size_t         i, k;
    must(vae_reconstruct(model, &data, made, &error), &error);
    for (i = 0; i < d->count; i++) {
        vae_real off[PIXELS], blurred[PIXELS];
        double   ink = 0, coarse = 0;
        plain[i] = 0;
        for (k = 0; k < PIXELS; k++) {
            const vae_real pixel = (vae_real)d->pixels[i * PIXELS + k] / 255;
            off[k] = made[i * PIXELS + k] - pixel;
            plain[i] += (double)(off[k] * off[k]);
            ink += (double)(pixel * pixel);
        }
        blur(off, blurred);
        for (k = 0; k < PIXELS; k++) coarse += (double)(blurred[k] * blurred[k]);
        relative[i] = coarse / fmax(ink, 1e-3);
    }
    free(made);
}

/* In percent: the chance that another digit scores higher than `digit`. */
static double area_under_curve(const double *scores, const digits *d, int digit) {
    scored *each = must_allocate(d->count, sizeof *each);
    double  area;
    size_t  i;
    for (i = 0; i < d->count; i++) each[i] = (scored){ scores[i], d->labels[i] != digit };
    area = 100 * auc(each, d->count);
    free(each);
    return area;
}

/* A model of each digit's training images alone meets all test digits. The settings and the score are the same for
   every digit; they were chosen on training images held out. */
static int one_class(task *t) {
    unsigned char *own = must_allocate(t->train.count, PIXELS);
    double        *plain = must_allocate(t->test.count, sizeof *plain);
    double        *relative = must_allocate(t->test.count, sizeof *relative);
    double  mean_plain = 0, mean = 0, area;
    size_t  i;
    int     digit;
    for (digit = 0; digit < CLASSES; digit++) {
        vae_data   data = { .bytes = own };
        vae_model *model;
        for (i = 0; i < t->train.count; i++)
            if (t->train.labels[i] == digit) memcpy(own + data.count++ * PIXELS, t->train.pixels + i * PIXELS, PIXELS);
        model = train(t, (vae_config){ .input = { SIDE, SIDE, 1 }, .latent = 32, .batch = 64,
                                       .encoder = { VAE_DENSE(400, VAE_RELU), VAE_DENSE(200, VAE_RELU) },
                                       .initialization = VAE_INIT_GLOROT },
                      &data, 30, NULL);
        score_digits(model, &t->test, plain, relative);
        vae_destroy(model);
        area = area_under_curve(relative, &t->test, digit);
        mean += area / CLASSES;
        mean_plain += area_under_curve(plain, &t->test, digit) / CLASSES;
        printf("digit %d: %.2f\n", digit, area);
        fflush(stdout);
    }
    printf("figure: one-class-auc ours=%.2f squared-error-alone=%.2f Deep-SVDD=94.8\n", mean, mean_plain);
    free(own);
    free(plain);
    free(relative);
    return 0;
}

/* ---- semi-supervised ---- */

enum { NEIGHBOURS = 10, BLOCK = 64, LABELS = 100, CHOICES = 3 };

/* Which rows are near which: row i's neighbours stand at i * NEIGHBOURS, nearest first, each with its weight. */
typedef struct graph {
    size_t    count;
    unsigned *neighbour;
    float    *weight, *degree;
} graph;

/* Takes the rows of block `b` among row i's neighbours where they are nearer than what stands there. */
static void compare_with_block(graph *g, const vae_real *own, const float *others, size_t width, size_t i, size_t b) {
    unsigned *neighbour = g->neighbour + i * NEIGHBOURS;
    float    *distance = g->weight + i * NEIGHBOURS, off[BLOCK] = { 0 };
    size_t    j, k;
    int       n;
    for (k = 0; k < width; k += 4, own += 4, others += 4 * BLOCK)   /* four at a time: `off` is loaded less often */
        for (j = 0; j < BLOCK; j++) {
            const float d0 = own[0] - others[j], d1 = own[1] - others[j + BLOCK];
            const float d2 = own[2] - others[j + 2 * BLOCK], d3 = own[3] - others[j + 3 * BLOCK];
            off[j] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
        }
    for (j = 0; j < BLOCK && b * BLOCK + j < g->count; j++) {
        if (!(off[j] < distance[NEIGHBOURS - 1]) || b * BLOCK + j == i) continue;
        for (n = NEIGHBOURS - 1; n > 0 && distance[n - 1] > off[j]; n--) {
            distance[n] = distance[n - 1];
            neighbour[n] = neighbour[n - 1];
        }
        distance[n] = off[j];
        neighbour[n] = (unsigned)(b * BLOCK + j);
    }
}

/* Of rows of `width` numbers, a multiple of four. A block of rows meets another while that one is in the cache. */
static graph nearest_neighbours(const vae_real *z, size_t count, size_t width) {
    const size_t blocks = (count + BLOCK - 1) / BLOCK;
    float       *turned = must_allocate(blocks * width * BLOCK, sizeof *turned);     /* BLOCK rows side by side */
    graph        g = { count, must_allocate(count * NEIGHBOURS, sizeof *g.neighbour),
                       must_allocate(count * NEIGHBOURS, sizeof *g.weight), must_allocate(count, sizeof *g.degree) };
    size_t       i, k, b, own;
    for (i = 0; i < count; i++)
        for (k = 0; k < width; k++) turned[(i / BLOCK * width + k) * BLOCK + i % BLOCK] = z[i * width + k];
    for (i = 0; i < count * NEIGHBOURS; i++) g.weight[i] = INFINITY;
    for (own = 0; own < blocks; own++)
        for (b = 0; b < blocks; b++)
            for (i = own * BLOCK; i < (own + 1) * BLOCK && i < count; i++)
                compare_with_block(&g, z + i * width, turned + b * width * BLOCK, width, i, b);
    for (i = 0; i < count; i++) {
        const float farthest = fmaxf(g.weight[(i + 1) * NEIGHBOURS - 1], 1e-20f);
        for (k = i * NEIGHBOURS; k < (i + 1) * NEIGHBOURS; k++) {
            g.weight[k] = expf(-4 * g.weight[k] / farthest);
            g.degree[i] += g.weight[k];
            g.degree[g.neighbour[k]] += g.weight[k];
        }
    }
    free(turned);
    return g;
}

/* Poisson learning (Calder, Cook, Thorpe and Slepcev 2020, algorithm 1): labelled rows are sources that pour their
   class into the graph. `labels` has -1 where there is none; afterwards every row has a class. */
static void propagate(const graph *g, int *labels, int passes) {
    float *u = must_allocate(g->count * CLASSES, sizeof *u), *next = must_allocate(g->count * CLASSES, sizeof *next);
    float *source = must_allocate(g->count * CLASSES, sizeof *source), share[CLASSES] = { 0 }, labelled = 0;
    size_t i, k;
    int    c;
    for (i = 0; i < g->count; i++)
        if (labels[i] >= 0) {
            share[labels[i]]++;
            labelled++;
        }
    for (i = 0; i < g->count; i++)
        for (c = 0; labels[i] >= 0 && c < CLASSES; c++)
            source[i * CLASSES + (size_t)c] = (float)(labels[i] == c) - share[c] / labelled;
    while (passes--) {
        float *old = u;
        memcpy(next, source, g->count * CLASSES * sizeof *next);
        for (i = 0; i < g->count; i++)
            for (k = i * NEIGHBOURS; k < (i + 1) * NEIGHBOURS; k++)
                for (c = 0; c < CLASSES; c++) {
                    next[i * CLASSES + (size_t)c] += g->weight[k] * u[g->neighbour[k] * CLASSES + (size_t)c];
                    next[g->neighbour[k] * CLASSES + (size_t)c] += g->weight[k] * u[i * CLASSES + (size_t)c];
                }
        for (i = 0; i < g->count * CLASSES; i++) next[i] /= g->degree[i / CLASSES];
        u = next;
        next = old;
    }
    for (i = 0; i < g->count; i++) {
        int best = 0;
        for (c = 1; c < CLASSES; c++)
            if (u[i * CLASSES + (size_t)c] > u[i * CLASSES + (size_t)best]) best = c;
        labels[i] = best;
    }
    free(u);
    free(next);
    free(source);
}

static double percent_wrong(const int *labels, const digits *d) {
    size_t i, wrong = 0;
    for (i = 0; i < d->count; i++) wrong += labels[i] != d->labels[i];
    return 100.0 * (double)wrong / (double)d->count;
}

/* Ten rows of each digit keep their label, -1 stands for that of all others. */
static void choose_labels(const digits *d, uint64_t stream, int *labels) {
    int    of[CLASSES] = { 0 }, chosen = 0;
    size_t i;
    for (i = 0; i < d->count; i++) labels[i] = -1;
    while (chosen < LABELS) {
        i = (size_t)(uniform(&stream) * (double)d->count);
        if (labels[i] >= 0 || of[d->labels[i]] == LABELS / CLASSES) continue;
        labels[i] = d->labels[i];
        of[labels[i]]++;
        chosen++;
    }
}

/* What the classifier says of each digit. */
static void classify(vae_model *model, const digits *d, int *labels) {
    const vae_data data = { .bytes = d->pixels, .count = d->count };
    vae_real      *probabilities = must_allocate(d->count * CLASSES, sizeof *probabilities);
    vae_error      error;
    size_t         i;
    int            c;
    must(vae_classify(model, &data, probabilities, &error), &error);
    for (i = 0; i < d->count; i++)
        for (c = labels[i] = 0; c < CLASSES; c++)
            if (probabilities[i * CLASSES + (size_t)c] > probabilities[i * CLASSES + (size_t)labels[i]]) labels[i] = c;
    free(probabilities);
}

/* What 100 labels come to that spread in a graph: test digits read wrong for three choices of the 100, in percent, and
   training images that got a wrong label. */
typedef struct spread_result {
    double wrong[CHOICES], mean, wrong_labels;
} spread_result;

/* The labels spread among all training images in the graph of `rows`, by which then model and classifier go on learning
   together from where `start` is. The other labels only tell how many came out wrong, and test images are met only at
   the end. */
static spread_result spread(const task *t, const vae_config *config, const vae_model *start, const vae_real *rows,
                            size_t width) {
    const size_t  count = t->train.count;
    const graph   g = nearest_neighbours(rows, count, width);
    int          *labels = must_allocate(count, sizeof *labels), *said = must_allocate(t->test.count, sizeof *said);
    spread_result result = { { 0 }, 0, 0 };
    int           choice;
    for (choice = 0; choice < CHOICES; choice++) {
        const vae_data data = { .bytes = t->train.pixels, .count = count, .labels = labels };
        vae_model     *model;
        choose_labels(&t->train, (uint64_t)t->seed * CHOICES + (uint64_t)choice, labels);
        propagate(&g, labels, 100);
        result.wrong_labels += percent_wrong(labels, &t->train) / CHOICES;
        model = train(t, *config, &data, 4, start);
        classify(model, &t->test, said);
        vae_destroy(model);
        result.wrong[choice] = percent_wrong(said, &t->test);
        result.mean += result.wrong[choice] / CHOICES;
    }
    free(g.neighbour);
    free(g.weight);
    free(g.degree);
    free(labels);
    free(said);
    return result;
}

static void print_spread(const char *name, const spread_result *r, const char *others) {
    printf("figure: %s ours=%.2f three-choices=%.2f,%.2f,%.2f wrong-labels-spread=%.2f%s\n", name, r->mean, r->wrong[0],
           r->wrong[1], r->wrong[2], r->wrong_labels, others);
    fflush(stdout);
}

enum { CODE = 32 };

static const vae_config reader = { .input = { SIDE, SIDE, 1 }, .latent = CODE,
                                   .encoder = { VAE_DENSE_INITIALIZER(500, VAE_SILU) },
                                   .initialization = VAE_INIT_GLOROT, .optimizer = { .learning_rate = 2e-3f },
                                   .classifier = { VAE_DENSE_INITIALIZER(256, VAE_SILU),
                                                   VAE_DENSE_INITIALIZER(CLASSES, VAE_LINEAR) },
                                   .classifier_weight = 100 };

/* The graph of the codes of a model that has learned from all training images without labels. */
static int semi_supervised(task *t) {
    const vae_data data = { .bytes = t->train.pixels, .count = t->train.count };
    vae_real      *z = must_allocate(data.count * CODE, sizeof *z);
    vae_model     *unlabelled = train(t, reader, &data, 10, NULL);
    vae_error      error;
    spread_result  result;
    must(vae_encode(unlabelled, &data, z, NULL, &error), &error);
    result = spread(t, &reader, unlabelled, z, CODE);
    print_spread("semi-supervised-100-labels", &result, " M2=11.97 M1+TSVM=11.82 M1+M2=3.33");
    vae_destroy(unlabelled);
    free(z);
    return 0;
}

/* What of that figure is the codes' merit: the same with the graph of the pixels themselves, and with that of the codes
   of an encoder that has learned nothing. What then learns from the labels is the same model, so that the graphs alone
   differ. */
static int semi_supervised_controls(task *t) {
    const size_t   count = t->train.count;
    const vae_data data = { .bytes = t->train.pixels, .count = count };
    vae_real      *rows = must_allocate(count * PIXELS, sizeof *rows);
    vae_model     *unlabelled = train(t, reader, &data, 10, NULL), *untrained = NULL;
    vae_config     config = reader;
    vae_error      error;
    spread_result  result;
    size_t         i;
    config.seed = (uint64_t)t->seed;
    must(vae_create(&config, &untrained, &error), &error);
    must(vae_encode(untrained, &data, rows, NULL, &error), &error);
    vae_destroy(untrained);
    result = spread(t, &reader, unlabelled, rows, CODE);
    print_spread("semi-supervised-control-untrained-encoder", &result, "");
    for (i = 0; i < count * PIXELS; i++) rows[i] = (vae_real)t->train.pixels[i] / 255;
    result = spread(t, &reader, unlabelled, rows, PIXELS);
    print_spread("semi-supervised-control-pixels", &result, "");
    vae_destroy(unlabelled);
    free(rows);
    return 0;
}

/* ---- the command line ---- */

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(task *);
        int         needs_digits;
    } commands[] = { { "denoise", denoise, 1 }, { "impute", impute, 0 },
                     { "semi-supervised", semi_supervised, 1 },
                     { "semi-supervised-controls", semi_supervised_controls, 1 }, { "one-class", one_class, 1 } };
    enum { COMMANDS = sizeof commands / sizeof *commands };
    static task  t = { .seed = 1 };
    const char  *command = NULL;
    const option table[] = {
        { "figure", "denoise|impute|semi-supervised|semi-supervised-controls|one-class", "which", OPTION_TEXT, &command,
          0, 0 },
        { "seed", "N", "of everything random", OPTION_INTEGER, &t.seed, 0, 2147483647 },
        { "threads", "N", "0 for all cores", OPTION_INTEGER, &t.threads, 0, 64 },
        { "data", "DIR", "MNIST's files (else MNIST_DIR, data/, ...)", OPTION_TEXT, &t.data, 0, 0 },
        { "tables", "DIR", "the tables (else TABLES_DIR, ../shared/tables)", OPTION_TEXT, &t.tables, 0, 0 },
        { "verbose", "", "show how training goes", OPTION_FLAG, &t.verbose, 0, 0 },
        OPTIONS_END
    };
    idx_directory found;
    char          message[MESSAGE_SIZE];
    int           i, code = options_parse(argc, argv, "Measures what models are worth in use.", table, 1);
    if (code >= 0) return code;
    for (i = 0; command && i < COMMANDS && strcmp(command, commands[i].name) != 0; i++) {}
    if (!command || i == COMMANDS) return options_wrong("figures", "say which figure: %s", table[0].placeholder);
    if (commands[i].needs_digits) {
        if (idx_find_directory(t.data, &found, message) != 0 || found.generated) {
            printf("SKIPPED: %s needs real MNIST, which is not here: `make data` fetches it\n", command);
            return 0;
        }
        if (read_digits(found.path, "train", &t.train, message) != 0 ||
            read_digits(found.path, "t10k", &t.test, message) != 0)
            return complain("figures", message);
    }
    code = commands[i].run(&t);
    if (code == 0) printf("finished: %s\n", command);
    free(t.train.pixels);
    free(t.train.labels);
    free(t.test.pixels);
    free(t.test.labels);
    return code;
}
