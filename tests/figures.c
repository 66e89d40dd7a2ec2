/* figures.c - what models made with vae.h are worth in uses that have published figures, or beside a plain method.

       figures denoise             takes noise off test digits; beside them as they are and beside median filters
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

enum { SIDE = 28, PIXELS = SIDE * SIDE };

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

/* A model of `config`, trained. The learning rate falls along half a cosine to a hundredth of itself. */
static vae_model *train(const task *t, vae_config config, const vae_data *data, size_t epochs) {
    const size_t         batch = config.batch ? config.batch : 128;
    const vae_fit_config fit = { .epochs = epochs, .output_bias_from_data = 1,
                                 .on_progress = t->verbose ? vae_print_progress : NULL };
    vae_model *model = NULL;
    vae_error  error;
    config.seed = (uint64_t)t->seed;
    config.threads = (int)t->threads;
    config.optimizer.schedule =
        (vae_schedule){ .kind = VAE_COSINE, .steps = epochs * ((data->count - 1) / batch + 1), .to = 0.01f };
    must(vae_create(&config, &model, &error), &error);
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
                      &clean, 5);
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

/* The published protocol (Mattei and Frellsen 2019, section 4.2): half of all numbers are missing completely at random,
   and the model is trained on what is left of the rows it then fills. */
static int impute(task *t) {
    static const char *const names[] = { "cardio", "pendigits", "satellite", "thyroid" };
    const char *folder = t->tables ? t->tables : getenv("TABLES_DIR") ? getenv("TABLES_DIR") : "../shared/tables";
    size_t      n, i;
    int         k;
    for (n = 0; n < sizeof names / sizeof *names; n++) {
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
        snprintf(path, sizeof path, "%.400s/%s.csv", folder, names[n]);
        if (!file_can_be_read(path)) {
            printf("SKIPPED: %s is not here: TABLES_DIR says where the tables are\n", path);
            continue;
        }
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
                      &data, steps / ((table.rows - 1) / batch + 1) + 1);
        must(vae_impute(model, &data, 500, filled, NULL, &error), &error);
        vae_destroy(model);
        printf("figure: impute-%s ours=%.3f neighbours=%.3f mean=%.3f\n", names[n], error_of(filled, &table, mask),
               nearest, mean);
        fflush(stdout);
        table.columns++;
        csv_free(&table);
        free(mask);
        free(filled);
    }
    return 0;
}

/* ---- the command line ---- */

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(task *);
        int         needs_digits;
    } commands[] = { { "denoise", denoise, 1 }, { "impute", impute, 0 } };
    enum { COMMANDS = sizeof commands / sizeof *commands };
    static task  t = { .seed = 1 };
    const char  *command = NULL;
    const option table[] = {
        { "figure", "denoise|impute", "which figure", OPTION_TEXT, &command, 0, 0 },
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
