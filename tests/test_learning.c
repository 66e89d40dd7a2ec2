/* Do the defaults learn ordinary data? Data are made here; where the tables of shared/tables are (TABLES_DIR, else
   ../shared/tables), anomalies are looked for in them too. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <stdlib.h>
#include "test.h"
#include "auc.h"

static double normal(test_random *random) {
    return sqrt(-2 * log(1 - test_uniform(random, 0, 1))) * cos(6.283185307179586 * test_uniform(random, 0, 1));
}

/* A vector's model: one dense layer of 64, latent 8, everything else by default. */
static vae_config vector_config(int size, vae_likelihood likelihood) {
    vae_config config;
    memset(&config, 0, sizeof config);
    config.input.height = config.input.channels = 1;
    config.input.width = size;
    config.latent = 8;
    config.encoder[0] = VAE_DENSE(64, VAE_RELU);
    config.likelihood = likelihood;
    config.threads = 1;
    return config;
}

static vae_data rows(const vae_real *pixels, size_t count) {
    vae_data data;
    memset(&data, 0, sizeof data);
    data.pixels = pixels;
    data.count = count;
    return data;
}

/* NULL where the fit was refused. */
static vae_model *fit(const vae_config *config, const vae_real *pixels, size_t count, size_t epochs, vae_error *error) {
    vae_model     *model = NULL;
    const vae_data data = rows(pixels, count);
    vae_fit_config how;
    memset(&how, 0, sizeof how);
    how.epochs = epochs;
    if (!CHECK(vae_create(config, &model, error) == VAE_OK)) {
        printf("    %s\n", error->message);
        exit(1);
    }
    if (vae_fit(model, &data, &how, error) == VAE_OK) return model;
    vae_destroy(model);
    return NULL;
}

static vae_real sigma_of(const vae_model *model) {
    vae_state state;
    vae_get_state(model, &state);
    return state.sigma;
}

/* The share of its variance that the reconstruction explains: of the worst pixel, and of all together. */
static double worst_r2(vae_model *model, const vae_real *pixels, size_t count, double *all) {
    const size_t   size = vae_example_size(model);
    vae_real      *made = (vae_real *)malloc(count * size * sizeof *made);
    const vae_data data = rows(pixels, count);
    double         worst = 1, errors = 0, variances = 0;
    size_t         i, j;
    CHECK(vae_reconstruct(model, &data, made, NULL) == VAE_OK);
    for (j = 0; j < size; j++) {
        double mean = 0, variance = 0, error = 0;
        for (i = 0; i < count; i++) mean += (double)pixels[i * size + j] / (double)count;
        for (i = 0; i < count; i++) {
            const double off = (double)pixels[i * size + j] - mean;
            const double left = (double)pixels[i * size + j] - (double)made[i * size + j];
            variance += off * off;
            error += left * left;
        }
        worst = fmin(worst, 1 - error / variance);
        errors += error;
        variances += variance;
    }
    free(made);
    if (all) *all = 1 - errors / variances;
    return worst;
}

enum { SENSORS = 30, SENSOR_ROWS = 2000 };

/* Thirty sensors that follow two causes, each in its own way, within [1/4, 3/4]: twice SENSOR_ROWS rows, half to
   test. */
static vae_real *sensors(uint64_t seed, double noise) {
    test_random random = { 0 };
    double      weights[SENSORS][2];
    vae_real   *pixels = (vae_real *)malloc(2 * SENSOR_ROWS * SENSORS * sizeof *pixels);
    size_t      i, j;
    random.state = seed;
    for (j = 0; j < SENSORS; j++) {
        const double first = test_uniform(&random, -1, 1), second = test_uniform(&random, -1, 1);
        weights[j][0] = first / (fabs(first) + fabs(second));
        weights[j][1] = second / (fabs(first) + fabs(second));
    }
    for (i = 0; i < 2 * SENSOR_ROWS; i++) {
        const double first = test_uniform(&random, -1, 1), second = test_uniform(&random, -1, 1);
        for (j = 0; j < SENSORS; j++)
            pixels[i * SENSORS + j] = (vae_real)(0.5 + 0.25 * (weights[j][0] * first + weights[j][1] * second) +
                                                 noise * normal(&random));
    }
    return pixels;
}

TEST(test_sensors) {
    static const vae_likelihood likelihoods[] = { VAE_GAUSSIAN, VAE_GAUSSIAN, VAE_LAPLACE, VAE_LAPLACE };
    vae_error error;
    int       i, standardize;
    for (i = 0; i < 4; i++)
        for (standardize = 0; standardize < 2; standardize++) {
            vae_real  *pixels = sensors((uint64_t)i, 0.01);
            vae_config config = vector_config(SENSORS, likelihoods[i]);
            vae_model *model;
            double     r2;
            config.sigma_per_pixel = i % 2;
            config.standardize = standardize;
            model = fit(&config, pixels, SENSOR_ROWS, 100, &error);
            if (!CHECK(model != NULL)) { printf("    %s\n", error.message); free(pixels); return; }
            r2 = worst_r2(model, pixels + SENSOR_ROWS * SENSORS, SENSOR_ROWS, NULL);
            printf("  sensors, %s%s%s: worst R^2 %.4f, sigma %.4g\n", i < 2 ? "gaussian" : "laplace",
                   i % 2 ? ", a sigma each" : "", standardize ? ", standardised" : "", r2, (double)sigma_of(model));
            CHECK(r2 > 0.95);
            vae_destroy(model);
            free(pixels);
        }
}

/* After a few epochs, sigma^2 is within a third of what fits the next batch best, which its gradient tells. */
TEST(test_sigma_is_soon_where_it_fits) {
    vae_error error;
    int       epochs, laplace;
    for (laplace = 0; laplace < 2; laplace++)
        for (epochs = 1; epochs < 30; epochs *= 3) {
            vae_real      *pixels = sensors(3, 0.01), gradient = 0;
            vae_config     config = vector_config(SENSORS, laplace ? VAE_LAPLACE : VAE_GAUSSIAN);
            const vae_data batch = rows(pixels + SENSOR_ROWS * SENSORS, 128);
            vae_model     *model = fit(&config, pixels, SENSOR_ROWS, (size_t)epochs, &error);
            if (!CHECK(model != NULL)) { free(pixels); return; }
            CHECK(vae_accumulate_gradients(model, &batch, NULL, NULL, NULL) == VAE_OK);
            CHECK(vae_get_gradient(model, "log_sigma", &gradient, 1, NULL) == VAE_OK);
            CHECK_NEAR((double)gradient / SENSORS, 0, 0.4);
            vae_destroy(model);
            free(pixels);
        }
}

/* Black borders after a ReLU: for whole batches such pixels are exactly 0, which says nothing about their sigma. */
TEST(test_exact_pixels) {
    enum { COUNT = 512, WIDTH = 20 };
    static vae_real pixels[COUNT * WIDTH];
    const vae_data  data = rows(pixels, COUNT);
    uint64_t        seed;
    size_t          i, k;
    for (i = 0; i < COUNT; i++)
        for (k = 0; k < WIDTH; k++)
            pixels[i * WIDTH + k] = k < 10 ? 0 : (vae_real)((i * 31 + k * 7 * (i % 5)) % 97) / 96;
    for (seed = 0; seed < 10; seed++) {
        vae_config     config = { .input = { 1, WIDTH, 1 }, .latent = 4, .encoder = { VAE_DENSE(32, VAE_RELU) },
                                  .decoder = { VAE_DENSE(32, VAE_RELU), VAE_DENSE(WIDTH, VAE_RELU) },
                                  .likelihood = VAE_GAUSSIAN, .sigma_per_pixel = 1, .threads = 1 };
        vae_fit_config fit = { .epochs = 50 };
        vae_error      error;
        vae_model     *model;
        config.seed = seed;
        CHECK(vae_create(&config, &model, &error) == VAE_OK);
        if (!CHECK(vae_fit(model, &data, &fit, &error) == VAE_OK)) printf("    %s\n", error.message);
        vae_destroy(model);
    }
}

/* Without noise sigma has no floor but its own; columns that never change tell nothing. */
TEST(test_noiseless_and_constant) {
    vae_error error;
    int       each;
    for (each = 0; each < 2; each++) {
        vae_real      *pixels = sensors(5, 0);
        vae_config     config = vector_config(SENSORS, VAE_GAUSSIAN);
        const vae_data data = rows(pixels + SENSOR_ROWS * SENSORS, SENSOR_ROWS);
        vae_model     *model;
        vae_terms      terms;
        vae_real      *made = (vae_real *)malloc(SENSOR_ROWS * SENSORS * sizeof *made);
        size_t         i;
        double         off = 0;
        for (i = 0; i < 2 * SENSOR_ROWS; i++) pixels[i * SENSORS] = (vae_real)0.3, pixels[i * SENSORS + 7] = 0;
        config.sigma_per_pixel = each;
        model = fit(&config, pixels, SENSOR_ROWS, 200, &error);
        if (!CHECK(model != NULL)) { printf("    %s\n", error.message); free(pixels); free(made); return; }
        CHECK(vae_elbo(model, &data, &terms, NULL, &error) == VAE_OK && terms.reconstruction < -60);
        CHECK(vae_reconstruct(model, &data, made, NULL) == VAE_OK);
        for (i = 0; i < SENSOR_ROWS * SENSORS; i++) off = fmax(off, fabs((double)(made[i] - data.pixels[i])));
        CHECK(off < 0.05);
        CHECK(sigma_of(model) >= 1e-6f && sigma_of(model) < 0.02f);
        vae_destroy(model);
        free(pixels);
        free(made);
    }
}

/* The same sensors in raw units, 1e3 to 1e7: refused as they are; standardised, each is reconstructed in its units. */
TEST(test_raw_units) {
    vae_real  *pixels = sensors(1, 0.01), least = 1e30f, most = 0, *made;
    vae_config config = vector_config(SENSORS, VAE_GAUSSIAN);
    vae_error  error;
    vae_model *model;
    size_t     i;
    made = (vae_real *)malloc(500 * SENSORS * sizeof *made);
    for (i = 0; i < 2 * SENSOR_ROWS * SENSORS; i++)
        pixels[i] = (vae_real)(pow(10, 3 + 4.0 * (double)(i % SENSORS) / (SENSORS - 1)) * (1 + (double)pixels[i]));
    CHECK(fit(&config, pixels, SENSOR_ROWS, 100, &error) == NULL);
    CHECK(error.status == VAE_ERROR_DATA);
    CHECK_CONTAINS(error.message, "set config.standardize to 1");
    config.standardize = 1;
    model = fit(&config, pixels, SENSOR_ROWS, 100, &error);
    if (!CHECK(model != NULL)) { printf("    %s\n", error.message); return; }
    CHECK(worst_r2(model, pixels + SENSOR_ROWS * SENSORS, SENSOR_ROWS, NULL) > 0.95);
    CHECK(vae_sample(model, 500, made, &error) == VAE_OK);
    for (i = 0; i < 500; i++) {
        least = made[i * SENSORS + SENSORS - 1] < least ? made[i * SENSORS + SENSORS - 1] : least;
        most = made[i * SENSORS + SENSORS - 1] > most ? made[i * SENSORS + SENSORS - 1] : most;
    }
    /* 1.25e7 to 1.75e7, more or less */
    CHECK(least > 0.9e7f && least < 1.4e7f && most > 1.6e7f && most < 2.1e7f);
    vae_destroy(model);
    free(made);
    free(pixels);
}

/* Numbers that no default learns from are told so, and a fixed sigma is the caller's business. */
TEST(test_data_out_of_scale) {
    static const double scales[][2] = { { 1e-4, 0 }, { 1e-6, 1 }, { 1e4, 0 }, { 1, 1e3 } };
    vae_error error;
    size_t    i, k;
    for (k = 0; k < 4; k++) {
        vae_real  *pixels = sensors(2, 0.01);
        vae_config config = vector_config(SENSORS, VAE_LAPLACE);
        vae_model *model;
        for (i = 0; i < SENSOR_ROWS * SENSORS; i++)
            pixels[i] = (vae_real)((double)pixels[i] * scales[k][0] + scales[k][1]);
        CHECK(fit(&config, pixels, SENSOR_ROWS, 1, &error) == NULL);
        CHECK(error.status == VAE_ERROR_DATA);
        CHECK_CONTAINS(error.message, "set config.standardize to 1");
        config.sigma = 1;
        model = fit(&config, pixels, SENSOR_ROWS, 1, &error);
        CHECK(model != NULL);
        vae_destroy(model);
        free(pixels);
    }
    for (k = 0; k < 2; k++) {           /* not far from either bound they are taken */
        vae_real  *pixels = sensors(2, 0.01);
        vae_config config = vector_config(SENSORS, VAE_LAPLACE);
        vae_model *model;
        for (i = 0; i < SENSOR_ROWS * SENSORS; i++) pixels[i] *= (vae_real)(k ? 1000 : 0.02);
        model = fit(&config, pixels, SENSOR_ROWS, 1, &error);
        if (!CHECK(model != NULL)) printf("    %s\n", error.message);
        vae_destroy(model);
        free(pixels);
    }
}

TEST(test_series) {
    enum { LENGTH = 64, COUNT = 1000 };
    vae_real   *pixels = (vae_real *)malloc(2 * COUNT * LENGTH * sizeof *pixels);
    vae_config  config = vector_config(LENGTH, VAE_GAUSSIAN);
    test_random random = { 4 };
    vae_error   error;
    int         convolutional;
    size_t      i, j;
    for (i = 0; i < 2 * COUNT; i++) {
        const double phase = test_uniform(&random, 0, 6.283), rate = test_uniform(&random, 1, 2);
        const double size = test_uniform(&random, 0.1, 0.4);
        for (j = 0; j < LENGTH; j++)
            pixels[i * LENGTH + j] = (vae_real)(0.5 + size * sin(phase + rate * 6.283 * (double)j / LENGTH) +
                                                0.02 * normal(&random));
    }
    for (convolutional = 0; convolutional < 2; convolutional++) {
        vae_model *model;
        double     all = 0;
        if (convolutional) {
            config.encoder[0] = VAE_CONV_1D(8, 5, 2, VAE_RELU);
            config.encoder[1] = VAE_CONV_1D(16, 5, 2, VAE_RELU);
        }
        model = fit(&config, pixels, COUNT, 60, &error);
        if (!CHECK(model != NULL)) { printf("    %s\n", error.message); return; }
        worst_r2(model, pixels + COUNT * LENGTH, COUNT, &all);
        printf("  series%s: R^2 %.4f, sigma %.4g\n", convolutional ? ", convolutions" : "", all,
               (double)sigma_of(model));
        CHECK(all > 0.75);
        vae_destroy(model);
    }
    free(pixels);
}

/* ---- anomalies ---- */

static double auc_of(vae_model *model, const vae_real *pixels, const unsigned char *anomaly, size_t count) {
    const vae_data data = rows(pixels, count);
    vae_wide       *scores = (vae_wide *)malloc(count * sizeof *scores);
    double          area;
    scored        *each = (scored *)malloc(count * sizeof *each);
    size_t         i;
    CHECK(vae_score(model, &data, NULL, scores, NULL) == VAE_OK);
    for (i = 0; i < count; i++) {
        each[i].score = scores[i];
        each[i].anomaly = anomaly[i];
    }
    area = auc(each, count);
    free(scores);
    free(each);
    return area;
}

/* Eight columns of three causes in [0, 1]; one row in a hundred has its columns' causes drawn apart. The anomalies are
   in the training data. */
TEST(test_table) {
    enum { COLUMNS = 8, COUNT = 3000 };
    vae_real      *pixels = (vae_real *)malloc(COUNT * COLUMNS * sizeof *pixels);
    unsigned char *anomaly = (unsigned char *)calloc(COUNT, 1);
    vae_config     config = vector_config(COLUMNS, VAE_GAUSSIAN);
    test_random    random = { 9 };
    vae_error      error;
    vae_model     *model;
    double         weights[COLUMNS][3], sizes[COLUMNS], area;
    size_t         i, j, k;
    int            standardize;
    for (j = 0; j < COLUMNS; j++) {
        for (sizes[j] = 0, k = 0; k < 3; k++) {
            weights[j][k] = normal(&random);
            sizes[j] += weights[j][k] * weights[j][k];
        }
        sizes[j] = sqrt(sizes[j]);
    }
    for (i = 0; i < COUNT; i++) {
        double causes[3];
        for (k = 0; k < 3; k++) causes[k] = normal(&random);
        anomaly[i] = i % 100 == 0;
        for (j = 0; j < COLUMNS; j++) {
            double sum = 0;
            for (k = 0; k < 3; k++) {
                if (anomaly[i]) causes[k] = normal(&random);
                sum += weights[j][k] * causes[k] / sizes[j];
            }
            pixels[i * COLUMNS + j] = (vae_real)(0.5 + 0.15 * (sum + 0.3 * normal(&random)));
        }
    }
    for (standardize = 0; standardize < 2; standardize++) {
        config.standardize = standardize;
        model = fit(&config, pixels, COUNT, 100, &error);
        if (!CHECK(model != NULL)) { printf("    %s\n", error.message); return; }
        area = auc_of(model, pixels, anomaly, COUNT);
        printf("  table%s: AUC %.4f, sigma %.4g\n", standardize ? ", standardised" : "", area, (double)sigma_of(model));
        CHECK(area >= 0.93);
        vae_destroy(model);
    }
    free(pixels);
    free(anomaly);
}

/* Reads a table of numbers with the mark of an anomaly last: the normal rows' first half to train with, the rest. */
static size_t read_table(const char *path, vae_real **pixels, unsigned char **anomaly, size_t *count) {
    FILE  *file = fopen(path, "r");
    char  *line = (char *)malloc(1 << 16);
    size_t columns = 0, room = 0;
    *pixels = NULL;
    *anomaly = NULL;
    *count = 0;
    while (file && fgets(line, 1 << 16, file)) {
        char  *at = line;
        size_t j;
        if (!columns) for (; *at; at++) columns += *at == ',';
        if (*count == room) {
            room = 2 * room + 1000;
            *pixels = (vae_real *)realloc(*pixels, room * columns * sizeof **pixels);
            *anomaly = (unsigned char *)realloc(*anomaly, room);
        }
        for (at = line, j = 0; j < columns; j++, at++) (*pixels)[*count * columns + j] = (vae_real)strtod(at, &at);
        (*anomaly)[(*count)++] = strtod(at, NULL) > 0.5;
    }
    if (file) fclose(file);
    free(line);
    return columns;
}

/* The protocol of the tables' README, at the defaults but for standardize. */
TEST(test_real_tables) {
    /* cardio is known to want a larger sigma than fits best; the bounds are a few hundredths below what was measured */
    static const struct { const char *name; size_t epochs; double least; } tables[] = {
        { "cardio", 100, 0.80 }, { "mammography", 50, 0.83 }, { "pendigits", 50, 0.93 }, { "satellite", 100, 0.72 },
        { "thyroid", 100, 0.95 }, { "shuttle", 10, 0.97 }
    };
    const char *folder = getenv("TABLES_DIR") ? getenv("TABLES_DIR") : "../shared/tables";
    double      sum = 0;
    size_t      t;
    for (t = 0; t < 6; t++) {
        char           path[512];
        vae_real      *pixels, *training;
        unsigned char *anomaly;
        size_t         count, columns, normals = 0, taken = 0, left = 0, i;
        vae_config     config;
        vae_error      error;
        vae_model     *model;
        double         area;
        sprintf(path, "%.400s/%s.csv", folder, tables[t].name);
        columns = read_table(path, &pixels, &anomaly, &count);
        if (!columns) SKIP("the real tables are not here: TABLES_DIR says where they are");
        for (i = 0; i < count; i++) normals += !anomaly[i];
        training = (vae_real *)malloc(normals / 2 * columns * sizeof *training);
        for (i = 0; i < count; i++) {
            if (!anomaly[i] && taken < normals / 2)
                memcpy(training + taken++ * columns, pixels + i * columns, columns * sizeof *pixels);
            else {
                memmove(pixels + left * columns, pixels + i * columns, columns * sizeof *pixels);
                anomaly[left++] = anomaly[i];
            }
        }
        config = vector_config((int)columns, VAE_GAUSSIAN);
        config.standardize = 1;
        model = fit(&config, training, taken, tables[t].epochs, &error);
        if (!CHECK(model != NULL)) { printf("    %s: %s\n", tables[t].name, error.message); return; }
        area = auc_of(model, pixels, anomaly, left);
        sum += area / 6;
        printf("  %-12s %2u columns, %5u rows to train, %5u to test: AUC %.4f, sigma %.3g\n", tables[t].name,
               (unsigned)columns, (unsigned)taken, (unsigned)left, area, (double)sigma_of(model));
        CHECK(area >= tables[t].least);
        vae_destroy(model);
        free(training);
        free(pixels);
        free(anomaly);
    }
    printf("  mean of six tables: AUC %.4f\n", sum);
}

int main(void) {
    RUN(test_sensors);
    RUN(test_sigma_is_soon_where_it_fits);
    RUN(test_exact_pixels);
    RUN(test_noiseless_and_constant);
    RUN(test_raw_units);
    RUN(test_data_out_of_scale);
    RUN(test_series);
    RUN(test_table);
    RUN(test_real_tables);
    return test_finish();
}
