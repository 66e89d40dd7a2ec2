/* Models as C source: random networks are exported, compiled together and run, and give the library's own bits.

       build/test_export [NETWORKS]

   EXPORT_COMPILERS names the compilers with their flags, separated by semicolons; by default it is CC, else cc. Each
   makes one program of all networks. What was made stays in build/export or EXPORT_FOLDER. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "../examples/support/export_library.h"
#include "folder.h"
#include "test.h"
#include "model.h"

enum { ROWS = 2, INT8_EACH = 4 };       /* so many networks for one that is exported in int8 too */

static int         networks = 40;
static const char *folder;
static test_random chance = { 16 };

static int one_of(int count) { return test_integer(&chance, 0, count - 1); }

static vae_activation any_activation(void) { return (vae_activation)test_integer(&chance, VAE_LINEAR, VAE_SOFTPLUS); }

static vae_layer any_convolution(int transposed, int channels, int flat) {
    const int kernel = test_integer(&chance, 1, 5), stride = test_integer(&chance, 1, 3);
    vae_layer l = VAE_CONV(0, 0, 0, VAE_LINEAR);
    l.kind = transposed ? VAE_LAYER_CONV_TRANSPOSED : VAE_LAYER_CONV;
    l.shape.channels = channels;
    l.kernel_width = kernel;
    l.kernel_height = flat ? 1 : test_integer(&chance, 1, 5);
    l.stride_width = stride;
    l.stride_height = flat ? 1 : test_integer(&chance, 1, 3);
    l.activation = any_activation();
    return l;
}

/* The decoder undoes what the encoder does, or is dense with one convolution that keeps the size. */
static void own_decoder(vae_config *c, int outputs) {
    const vae_shape s = c->input;
    c->decoder[0] = VAE_DENSE(test_integer(&chance, 1, 20), VAE_SILU);
    c->decoder[0].activation = any_activation();
    c->decoder[0].batch_norm = one_of(3) == 0;
    if (one_of(2)) {
        c->decoder[1] = VAE_DENSE_SHAPED(s.height, s.width, outputs * s.channels, VAE_LINEAR);
        return;
    }
    c->decoder[1] = VAE_DENSE_SHAPED(s.height, s.width, test_integer(&chance, 1, 4), VAE_GELU);
    c->decoder[1].activation = any_activation();
    if (one_of(2)) c->decoder[2] = VAE_CONV(outputs * s.channels, 3, 1, VAE_LINEAR);
    else {                                                  /* padding of its own that keeps the size */
        c->decoder[2] = VAE_CONV_TRANSPOSED_SYMMETRIC(outputs * s.channels, 3, 1, 1, 0, VAE_LINEAR);
        c->decoder[2].top = 0;
        c->decoder[2].bottom = 2;
    }
}

static vae_config any_config(void) {
    vae_config c;
    const int  flat = one_of(3) == 0, dense = one_of(3) == 0;
    int        i, layers = test_integer(&chance, 1, 3), own = one_of(2);
    memset(&c, 0, sizeof c);
    c.input.height = flat ? 1 : test_integer(&chance, 1, 9);
    c.input.width = test_integer(&chance, 1, flat ? 40 : 9);
    c.input.channels = test_integer(&chance, 1, 3);
    c.latent = test_integer(&chance, 1, 6);
    for (i = 0; i < layers; i++) {
        if (dense || (i && i + 1 == layers)) c.encoder[i] = VAE_DENSE(test_integer(&chance, 1, 20), VAE_RELU);
        else c.encoder[i] = any_convolution(0, test_integer(&chance, 1, 5), flat);
        c.encoder[i].activation = any_activation();
        c.encoder[i].batch_norm = one_of(4) == 0;
    }
    c.likelihood = (vae_likelihood)test_integer(&chance, VAE_BERNOULLI, VAE_DISCRETIZED_LOGISTIC);
    if (own) own_decoder(&c, c.likelihood >= VAE_GAUSSIAN_PREDICTED ? 2 : 1);
    if (own && (c.likelihood == VAE_GAUSSIAN || c.likelihood == VAE_LAPLACE))
        c.decoder[c.decoder[2].kind ? 2 : 1].activation = any_activation();
    if (c.likelihood != VAE_BERNOULLI && c.likelihood != VAE_CONTINUOUS_BERNOULLI &&
        c.likelihood != VAE_DISCRETIZED_LOGISTIC) c.standardize = one_of(2);
    if (c.likelihood == VAE_GAUSSIAN || c.likelihood == VAE_LAPLACE) {
        c.sigma_per_pixel = one_of(3) == 0;
        if (!c.sigma_per_pixel && one_of(2)) c.sigma = 0.3f;
    }
    c.shared_heads = one_of(6) == 0;
    if (one_of(6) == 0) c.objective = VAE_OBJECTIVE_AUTOENCODER;
    if (!own && one_of(4) == 0) c.tied = 1;
    else if (one_of(4) == 0) c.classes = 3;
    c.missing = one_of(3) == 0;
    if (!c.classes && one_of(3) == 0) {
        if ((i = one_of(2)) != 0) {
            c.classifier[0] = VAE_DENSE(test_integer(&chance, 1, 9), VAE_RELU);
            c.classifier[0].activation = any_activation();
        }
        c.classifier[i] = VAE_DENSE(test_integer(&chance, 2, 5), VAE_LINEAR);
    }
    c.kernels = VAE_KERNELS_PORTABLE;
    return c;
}

/* Weights of chance, of a size that leaves activations somewhere between 0 and saturation. */
static void set_weights(vae_model *model) {
    vae_tensor t;
    size_t     i, k;
    for (i = 0; vae_tensor_at(model, i, &t, NULL) == VAE_OK; i++) {
        float       *values = (float *)malloc(t.count * sizeof *values);
        const double most = t.rank == 1 ? 1 : 2 / sqrt((double)(t.count / t.shape[0]) + 1);
        const int    positive = strstr(t.name, "_var") != NULL || strstr(t.name, ".scale") != NULL;
        for (k = 0; k < t.count; k++)
            values[k] = (float)test_uniform(&chance, positive ? 0.2 : -most, positive ? 3 : most);
        set(model, t.name, values, t.count);
        free(values);
    }
}

static void put_bits(FILE *file, const char *name, int network, const float *values, size_t count) {
    uint32_t bits;
    size_t   i;
    fprintf(file, "static const uint32_t %s_%d[] = {", name, network);
    for (i = 0; i < count; i++) {
        memcpy(&bits, values + i, sizeof bits);
        fprintf(file, "%s0x%lxu,", i % 8 ? " " : "\n    ", (unsigned long)bits);
    }
    fprintf(file, "\n};\n");
}

static void put_floats(FILE *file, const char *name, int network, const float *values, size_t count) {
    char   number[32];
    size_t i;
    fprintf(file, "static const float %s_%d[] = {", name, network);
    for (i = 0; i < count; i++) {
        snprintf(number, sizeof number, "%.9g", (double)values[i]);
        if (!strpbrk(number, ".e")) strcat(number, ".0");
        if (values[i] == values[i]) fprintf(file, "%s%sf,", i % 8 ? " " : "\n    ", number);
        else fprintf(file, "%sNAN,", i % 8 ? " " : "\n    ");
    }
    fprintf(file, "\n};\n");
}

static int write_file(const exported_network *n, const export_options *o, char *message) {
    char  path[512];
    FILE *file;
    int   code;
    snprintf(path, sizeof path, "%s/%s.h", folder, o->name);
    file = fopen(path, "w");
    if (!file) return fail(message, "cannot write %s", path);
    code = export_write(file, n, o, message);
    return fclose(file) == 0 && code == 0 ? 0 : -1;
}

/* How far off int8 is, as a part of the range that the numbers have. */
static double int8_error, int8_worst;

static void count_error(const float *got, const float *wanted, int count) {
    double sum = 0, low = 1e30, high = -1e30, error;
    int    i;
    for (i = 0; i < count; i++) {
        const double off = (double)got[i] - (double)wanted[i];
        sum += off * off / count;
        if ((double)wanted[i] < low) low = (double)wanted[i];
        if ((double)wanted[i] > high) high = (double)wanted[i];
    }
    error = high - low > 1e-2 ? sqrt(sum) / (high - low) : 0;
    int8_error += error / (2 * ((networks + INT8_EACH - 1) / INT8_EACH));
    if (error > int8_worst) int8_worst = error;
}

enum { CALIBRATION = 24 };

/* The classifier of means that the encoder gives in int8. */
static int add_int8_classifier(FILE *program, int network, const exported_network *n, const export_int8 *q,
                               const float *mean, char *message) {
    char           name[32];
    float          work[2 * 16], y[16];
    const float   *from = export_run_floats(n->classifier, n->classifiers, 0, mean, work, 16, NULL);
    const int      classes = n->classifier[n->classifiers - 1].outputs;
    export_options o = { NULL, "a test", EXPORT_CLASSIFIER, 0, VAE_SCORE_ELBO, NULL, 0 };
    sprintf(name, "class8_%d", network);
    o.name = name;
    o.int8 = q;
    if (write_file(n, &o, message) != 0) return -1;
    memcpy(y, from, (size_t)classes * sizeof *y);
    net_softmax(y, classes);
    fprintf(program, "#include \"%s.h\"\n", name);
    put_bits(program, "wanted8", network, y, (size_t)classes);
    fprintf(program, "static void check_int8_class_%d(void) {\n    static float got[%d];\n", network, classes);
    fprintf(program, "    static float scratch[CLASS8_%d_CLASSIFY_SCRATCH];\n", network);
    fprintf(program, "    %s_classify(rows8_%d, got, scratch);\n", name, network);
    fprintf(program, "    check(%d, \"int8 probability\", got, wanted8_%d, %d);\n}\n", network, network, classes);
    return 0;
}

/* The same in int8: the file's functions give what export_c has measured, which is near the library's numbers. */
static int add_int8(FILE *program, int network, vae_model *model, const exported_network *n, char *message) {
    const size_t example = (size_t)n->example, latent = (size_t)n->latent;
    const int    labelled = n->config.classes > 0;
    char         name[32], label[16] = "", also[16] = "";
    export_int8    q;
    export_options o = { NULL, "a test", EXPORT_SCORE, 0, VAE_SCORE_ELBO, NULL, 0 };
    float       *rows = (float *)calloc(CALIBRATION * example * 3 + CALIBRATION * latent * 4 + 8 * example + 4096 * 4,
                                        4);
    float       *x = rows + CALIBRATION * example, *decoded = x + CALIBRATION * example,
                *mean = decoded + CALIBRATION * example;
    float       *logvar = mean + CALIBRATION * latent, *means = logvar + CALIBRATION * latent,
                *wanted = means + CALIBRATION * latent;
    float       *seen = wanted + CALIBRATION * latent, *y = seen + example;
    int8_t      *work = (int8_t *)calloc(3 * 8192, 1);
    int          labels[CALIBRATION], alone = 0;
    vae_data     data;
    vae_latents  latents;
    size_t       i;
    memset(&data, 0, sizeof data);
    memset(&latents, 0, sizeof latents);
    for (i = 0; i < CALIBRATION * example; i++) rows[i] = (float)test_uniform(&chance, 0, 1);
    for (i = 0; i < CALIBRATION; i++) labels[i] = (int)(i % 3);
    if (export_quantize(&q, n, rows, labelled ? labels : NULL, CALIBRATION, message) != 0) return -1;
    sprintf(name, "int8_%d", network);
    o.name = name;
    o.int8 = &q;
    if (one_of(2)) {                        /* the decoder alone, which may end in a table */
        o.part = EXPORT_DECODER;
        alone = 1;
    }
    if (write_file(n, &o, message) != 0) return -1;
    data.pixels = rows;
    latents.z = wanted;
    data.count = latents.count = CALIBRATION;
    if (labelled) data.labels = latents.labels = labels;
    CHECK(vae_encode(model, &data, wanted, NULL, NULL) == VAE_OK);
    CHECK(vae_decode(model, &latents, decoded, NULL) == VAE_OK);
    for (i = 0; i < CALIBRATION; i++) {
        if (n->center) net_center_each(rows + i * example, n->center, n->scale, seen, n->example);
        else memcpy(seen, rows + i * example, example * sizeof(float));
        export_int8_encode(&q, n, labels[i], seen, means + i * latent, logvar, work, 8192);
        if (export_ends_in_table(n, &o))
            export_int8_pixels(&q, n, labels[i], wanted + i * latent, x + i * example, y, work, 8192);
        else {
            export_int8_decode(&q, n, labels[i], wanted + i * latent, y, work, 8192);
            export_means(n, y, x + i * example);
        }
        if (n->center) net_restore_each(x + i * example, n->center, n->scale, n->example);
    }
    count_error(means, wanted, (int)(CALIBRATION * latent));
    count_error(x, decoded, (int)(CALIBRATION * example));
    fprintf(program, "#include \"%s.h\"\n", name);
    put_floats(program, "rows8", network, rows, ROWS * example);
    put_floats(program, "z8", network, wanted, ROWS * latent);
    put_bits(program, "mean8", network, means, ROWS * latent);
    put_bits(program, "pixels8", network, x, ROWS * example);
    fprintf(program, "static void check8_%d(void) {\n    static float mean[%d], logvar[%d], decoded[%d], score;\n",
            network, (int)latent, (int)latent, (int)example);
    fprintf(program, "    static float decode[INT8_%d_DECODE_SCRATCH];\n", network);
    if (alone)
        fprintf(program, "    (void)score;\n    (void)mean;\n    (void)mean8_%d;\n    (void)rows8_%d;\n",
                network, network);
    else {
        fprintf(program, "    static float encode[INT8_%d_ENCODE_SCRATCH];\n", network);
        fprintf(program, "    static float score_scratch[INT8_%d_SCORE_SCRATCH];\n", network);
    }
    fprintf(program, "    (void)logvar;\n");
    for (i = 0; i < ROWS; i++) {
        if (labelled) sprintf(label, "%d, ", labels[i]);
        if (n->has_logvar) sprintf(also, "logvar, ");
        if (!alone)
            fprintf(program, "    %s_encode(rows8_%d + %d, %smean, %sencode);\n", name, network, (int)(i * example),
                    label, also);
        if (!alone)
            fprintf(program, "    check(%d, \"int8 mean\", mean, mean8_%d + %d, %d);\n", network, network,
                    (int)(i * latent),
                (int)latent);
        fprintf(program, "    %s_decode(z8_%d + %d, %sdecoded, decode);\n", name, network, (int)(i * latent), label);
        fprintf(program, "    check(%d, \"int8 pixels\", decoded, pixels8_%d + %d, %d);\n", network, network,
                (int)(i * example), (int)example);
        if (!alone)
            fprintf(program, "    score = %s_score(rows8_%d + %d, %sscore_scratch);\n    wrong += !(score - score == "
                             "0);\n", name,
                network, (int)(i * example), label);
    }
    fprintf(program, "}\n\n");
    if (n->classifiers && add_int8_classifier(program, network, n, &q, means, message) != 0) return -1;
    if (!n->classifiers) fprintf(program, "static void check_int8_class_%d(void) {}\n", network);
    export_free_int8(&q);
    free(rows);
    free(work);
    return 0;
}

/* The classifier's file gives the library's probabilities but for the last places, as the library adds up in double. */
static int add_classifier(FILE *program, int network, vae_model *model, const exported_network *n, const vae_data *data,
                          char *message) {
    const int      classes = n->classifier[n->classifiers - 1].outputs;
    float         *wanted = (float *)calloc((size_t)(ROWS * classes), sizeof *wanted);
    char           name[32];
    export_options o = { NULL, "a test", EXPORT_CLASSIFIER, 0, VAE_SCORE_ELBO, NULL, 0 };
    int            row;
    sprintf(name, "class%d", network);
    o.name = name;
    if (!wanted || write_file(n, &o, message) != 0) return -1;
    CHECK(vae_classify(model, data, wanted, NULL) == VAE_OK);
    fprintf(program, "#include \"%s.h\"\n", name);
    put_floats(program, "wanted", network, wanted, (size_t)(ROWS * classes));
    fprintf(program, "static void check_class_%d(void) {\n    static float got[%d];\n", network, classes);
    fprintf(program, "    static float scratch[CLASS%d_CLASSIFY_SCRATCH];\n", network);
    for (row = 0; row < ROWS; row++) {
        fprintf(program, "    %s_classify(pixels_%d + %d, got, scratch);\n", name, network, row * n->example);
        fprintf(program, "    check_near(%d, got, wanted_%d + %d, %d);\n", network, network, row * classes, classes);
    }
    fprintf(program, "}\n");
    free(wanted);
    return 0;
}

/* Exports the model, and adds to the program a function that compares what the file's functions give with what the
   library does. */
static int add_network(FILE *program, int network, vae_model *model, char *message) {
    char             name[32];
    exported_network n;
    export_options   o = { NULL, "a test", EXPORT_SCORE, 0, VAE_SCORE_ELBO, NULL, 0 };
    vae_score_config score;
    double           scores[ROWS];
    float            rounded[ROWS];
    int              example, latent, labelled, row, stands, code;
    float           *pixels, *z, *mean, *logvar, *decoded;
    int              labels[ROWS] = { 0, 2 };
    vae_data         data;
    vae_latents      latents;
    size_t           i;
    if (exported_read(model, &n, message) != 0) return -1;
    sprintf(name, "net%d", network);
    o.name = name;
    memset(&score, 0, sizeof score);
    o.score = score.kind = (vae_score_kind)test_integer(&chance, VAE_SCORE_ELBO, VAE_SCORE_SQUARED_ERROR);
    if (write_file(&n, &o, message) != 0) return -1;
    example = n.example;
    latent = n.latent;
    labelled = n.config.classes > 0;
    stands = n.has_logvar;
    pixels = (float *)calloc((size_t)(ROWS * (2 * example + 3 * latent)), sizeof *pixels);
    decoded = pixels + ROWS * example;
    z = decoded + ROWS * example;
    mean = z + ROWS * latent;
    logvar = mean + ROWS * latent;
    for (i = 0; i < (size_t)(ROWS * example); i++) pixels[i] = (float)test_uniform(&chance, 0, 1);
    for (i = 0; n.config.missing && i < (size_t)(ROWS * example); i++) if (one_of(3) == 0) pixels[i] = NAN;
    for (i = 0; i < (size_t)(ROWS * latent); i++) z[i] = (float)test_uniform(&chance, -3, 3);
    memset(&data, 0, sizeof data);
    memset(&latents, 0, sizeof latents);
    data.pixels = pixels;
    latents.z = z;
    data.count = latents.count = ROWS;
    if (labelled) data.labels = latents.labels = labels;
    CHECK(vae_encode(model, &data, mean, stands ? logvar : NULL, NULL) == VAE_OK);
    CHECK(vae_decode(model, &latents, decoded, NULL) == VAE_OK);
    CHECK(vae_score(model, &data, &score, scores, NULL) == VAE_OK);
    for (row = 0; row < ROWS; row++) rounded[row] = (float)scores[row];
    fprintf(program, "#include \"%s.h\"\n", name);
    put_bits(program, "score", network, rounded, ROWS);
    put_floats(program, "pixels", network, pixels, (size_t)(ROWS * example));
    put_floats(program, "z", network, z, (size_t)(ROWS * latent));
    put_bits(program, "mean", network, mean, (size_t)(ROWS * latent));
    if (stands) put_bits(program, "logvar", network, logvar, (size_t)(ROWS * latent));
    put_bits(program, "decoded", network, decoded, (size_t)(ROWS * example));
    if (n.classifiers && add_classifier(program, network, model, &n, &data, message) != 0) return -1;
    fprintf(program, "static void check_%d(void) {\n    static float mean[%d], logvar[%d], decoded[%d];\n", network,
            latent, latent, example);
    if (n.classifiers) fprintf(program, "    check_class_%d();\n", network);
    fprintf(program, "    static float encode[NET%d_ENCODE_SCRATCH], decode[NET%d_DECODE_SCRATCH], score;\n", network,
            network);
    fprintf(program, "    static float score_scratch[NET%d_SCORE_SCRATCH];\n", network);
    for (row = 0; row < ROWS; row++) {
        char label[16] = "", also[16] = "";
        if (labelled) sprintf(label, "%d, ", labels[row]);
        if (stands) sprintf(also, "logvar, ");
        fprintf(program, "    %s_encode(pixels_%d + %d, %smean, %sencode);\n", name, network, row * example, label,
                also);
        fprintf(program, "    check(%d, \"mean\", mean, mean_%d + %d, %d);\n", network, network, row * latent, latent);
        if (stands)
            fprintf(program, "    check(%d, \"logvar\", logvar, logvar_%d + %d, %d);\n", network, network, row * latent,
                    latent);
        else fprintf(program, "    (void)logvar;\n");
        fprintf(program, "    %s_decode(z_%d + %d, %sdecoded, decode);\n", name, network, row * latent, label);
        fprintf(program, "    check(%d, \"pixels\", decoded, decoded_%d + %d, %d);\n", network, network, row * example,
                example);
        fprintf(program, "    score = %s_score(pixels_%d + %d, %sscore_scratch);\n", name, network, row * example,
                label);
        fprintf(program, "    check_score(%d, score, score_%d + %d);\n", network, network, row);
    }
    fprintf(program, "}\n\n");
    free(pixels);
    code = network % INT8_EACH == 0 ? add_int8(program, network, model, &n, message) : 0;
    exported_free(&n);
    return code;
}

static const char program_head[] =
    "#include <math.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <string.h>\n\nstatic int wrong, checks;\n\n"
    "static void check(int network, const char *what, const float *got, const uint32_t *wanted, int count) {\n"
    "    for (int i = 0; i < count; i++) {\n"
    "        uint32_t bits;\n"
    "        float    number;\n"
    "        checks++;\n"
    "        memcpy(&bits, got + i, sizeof bits);\n"
    "        memcpy(&number, wanted + i, sizeof number);\n"
    "        if (bits == wanted[i] || (got[i] == 0 && number == 0)) continue;\n"
    "        if (wrong++ < 10) printf(\"network %d, %s %d: %.9g, not %.9g\\n\", network, what, i, (double)got[i],\n"
    "                                 (double)number);\n"
    "    }\n"
    "}\n\n"
    "static void check_near(int network, const float *got, const float *wanted, int count) {\n"
    "    for (int i = 0; i < count; i++) {\n"
    "        checks++;\n"
    "        if (fabsf(got[i] - wanted[i]) <= 2e-6f) continue;\n"
    "        if (wrong++ < 10) printf(\"network %d, probability %d: %.9g, not %.9g\\n\", network, i, (double)got[i],\n"
    "                                 (double)wanted[i]);\n"
    "    }\n"
    "}\n\n"
    "/* The sum of the constants is rounded otherwise than the library's: the last place of a double may differ. */\n"
    "static void check_score(int network, float got, const uint32_t *wanted) {\n"
    "    int32_t bits[2];\n"
    "    memcpy(bits, &got, sizeof got);\n"
    "    memcpy(bits + 1, wanted, sizeof *wanted);\n"
    "    if (bits[0] - bits[1] >= -1 && bits[0] - bits[1] <= 1) checks++;\n"
    "    else check(network, \"score\", &got, wanted, 1);\n"
    "}\n\n";

/* All networks as one program, and the same text as C++. */
static int write_programs(void) {
    char      path[512], message[MESSAGE_SIZE];
    FILE     *program;
    vae_error error;
    int       network, i, tries;
    snprintf(path, sizeof path, "%s/networks.c", folder);
    program = fopen(path, "w");
    if (!CHECK(program != NULL)) return 0;
    fputs(program_head, program);
    for (network = 0; network < networks; network++) {
        vae_model *model = NULL;
        for (tries = 0; tries < 1000 && !model; tries++) {
            const vae_config c = any_config();
            if (vae_create(&c, &model, &error) != VAE_OK) model = NULL;
        }
        if (!CHECK(model != NULL)) return 0;
        set_weights(model);
        if (!CHECK(add_network(program, network, model, message) == 0)) printf("    %s\n", message);
        vae_destroy(model);
    }
    fprintf(program, "int main(void) {\n");
    for (i = 0; i < networks; i++) fprintf(program, "    check_%d();\n", i);
    for (i = 0; i < networks; i += INT8_EACH) fprintf(program, "    check8_%d();\n    check_int8_class_%d();\n", i, i);
    fprintf(program, "    printf(\"%%d numbers of %d networks, %%d of them wrong\\n\", checks, wrong);\n"
                     "    return wrong != 0;\n}\n", networks);
    CHECK(fclose(program) == 0);
    snprintf(path, sizeof path, "%s/networks.cpp", folder);
    program = fopen(path, "w");
    if (!CHECK(program != NULL)) return 0;
    fputs("#include \"networks.c\"\n", program);
    return CHECK(fclose(program) == 0);
}

static int run_command(const char *compiler) {
    const char *flags = "-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wdouble-promotion -Werror "
                        "-g0";
    const char *suffix = strstr(compiler, "++") ? "cpp" : "c";
    char        command[2048];
    printf("  %s\n", compiler);
    fflush(stdout);
    snprintf(command, sizeof command, "%s %s %s/networks.%s -o %s/networks && %s/networks", compiler, flags, folder,
             suffix, folder, folder);
    return system(command) == 0;
}

/* int8 loses little: on average over the networks, and at worst. */
static void check_int8(void) {
    if (networks == 0) return;
    printf("  int8 is off by %.2f %% of the numbers' range, at worst %.1f %%\n", 100 * int8_error, 100 * int8_worst);
    CHECK(int8_error < 0.02 && int8_worst < 0.5);
}

TEST(test_same_bits) {
    const char *compilers = getenv("EXPORT_COMPILERS"), *end;
    char        compiler[512];
    if (!compilers) compilers = getenv("CC");
    if (!compilers) compilers = "cc";
    if (!getenv("EXPORT_COMPILERS")) {
        snprintf(compiler, sizeof compiler, "%s --version >%s/version 2>&1", compilers, folder);
        if (system(compiler) != 0) SKIP("there is no compiler here");
    }
    if (!write_programs()) return;
    check_int8();
    for (; *compilers; compilers = end + (*end == ';')) {
        end = strchr(compilers, ';');
        if (!end) end = compilers + strlen(compilers);
        snprintf(compiler, sizeof compiler, "%.*s", (int)(end - compilers), compilers);
        CHECK(run_command(compiler));
    }
}

/* In int8, what is missing counts as 0, and what is beyond the range as its end. */
TEST(test_quantizes_anything) {
    const float x[5] = { NAN, 0.0f, 1e30f, -1e30f, 1.0f };
    int8_t      y[5];
    net_quantize(x, y, 100.0f, -28.0f, 5);
    CHECK(y[0] == -28 && y[1] == -28 && y[2] == 127 && y[3] == -128 && y[4] == 72);
}

/* Layers of few channels, written another way, give the same numbers: with borders of any width, inputs of any zero. */
TEST(test_narrow_layers) {
    enum { MOST = 7 * 40 * 5, WEIGHTS = 3 * 25 * 5, OUTPUTS = 9 * 40 * 3 };
    static int8_t x[MOST], weight[WEIGHTS], wanted[OUTPUTS], got[OUTPUTS];
    const int32_t bias[3] = { 20000, -7000, 0 }, multiplier[3] = { 2000000000, 1500000000, 700000000 };
    test_random   number = { 8 };
    int           round, i;
    for (round = 0; round < test_cases(2000); round++) {
        net_layer    layer = { NULL, NULL, NULL, NULL, 0, 128, 8, 3, -128 };
        net_geometry g;
        net_axis    *axis = &g.height;
        net_span   (*reach)(const net_axis *, int) = test_integer(&number, 0, 1) ? net_reach : net_reach_transposed;
        g.in_channels = test_integer(&number, 1, 5);
        g.out_channels = test_integer(&number, 1, 3);
        for (i = 0; i < 2; i++, axis = &g.width) {
            axis->in = test_integer(&number, 1, i ? 40 : 7);
            axis->out = test_integer(&number, 1, i ? 40 : 9);
            axis->kernel = test_integer(&number, 1, 5);
            axis->stride = test_integer(&number, 1, 3);
            axis->before = test_integer(&number, 0, test_integer(&number, 0, 3) ? 2 : 19);
        }
        for (i = 0; i < MOST; i++) x[i] = (int8_t)test_integer(&number, -128, 127);
        for (i = 0; i < WEIGHTS; i++) weight[i] = (int8_t)test_integer(&number, -127, 127);
        layer.weight = weight;
        layer.bias = bias;
        layer.multiplier = multiplier;
        layer.offset = test_integer(&number, -127, 128);
        memset(wanted, 0, sizeof wanted);
        memset(got, 0, sizeof got);
        net_convolution8(&g, reach, &layer, x, wanted);
        net_narrow8(&g, reach, &layer, x, got);
        if (!CHECK(memcmp(got, wanted, sizeof got) == 0)) return;      /* nor is anything written behind them */
    }
}

TEST(test_refuses_what_is_not_there) {
    vae_config       c;
    vae_model       *model = NULL;
    exported_network n;
    export_options   o = { "name", "model.safetensors", EXPORT_CLASSIFIER, 0, VAE_SCORE_ELBO, NULL, 0 };
    char             message[MESSAGE_SIZE] = "";
    memset(&c, 0, sizeof c);
    c.input.height = c.input.channels = 1;
    c.input.width = c.latent = 3;
    c.encoder[0] = VAE_DENSE(4, VAE_TANH);
    if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
    CHECK(exported_read(model, &n, message) == 0);
    CHECK(write_file(&n, &o, message) != 0 && strstr(message, "has no classifier"));
    exported_free(&n);
    vae_destroy(model);
}

/* ---- halves, names, paths ---- */

static char *read_text(const char *path) {
    static char text[3][1 << 16];
    static int  turn;
    char       *to = text[turn++ % 3];
    FILE       *file = fopen(path, "r");
    size_t      length = file ? fread(to, 1, sizeof text[0] - 1, file) : 0;
    if (file) fclose(file);
    to[length] = '\0';
    return to;
}

/* What a file of this part says behind its first lines. */
static const char *written(vae_model *model, const char *name, const char *path, export_part part, char *message) {
    exported_network n;
    export_options   o = { NULL, NULL, EXPORT_DECODER, 0, VAE_SCORE_ELBO, NULL, 0 };
    char             file[512];
    const char      *text = NULL, *at;
    o.name = name;
    o.model = path;
    o.part = part;
    if (exported_read(model, &n, message) != 0) return "";
    if (write_file(&n, &o, message) == 0) {
        snprintf(file, sizeof file, "%s/%s.h", folder, name);
        text = read_text(file);
    }
    exported_free(&n);
    at = text ? strstr(text, "#ifndef") : NULL;
    return at ? at : "";
}

static vae_config small_config(int normalized) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.input.height = c.input.channels = 1;
    c.input.width = c.latent = 3;
    c.encoder[0] = VAE_DENSE(4, VAE_TANH);
    c.encoder[0].batch_norm = normalized;
    c.likelihood = VAE_GAUSSIAN;                            /* its sigma is the decoder's */
    c.standardize = 1;
    return c;
}

/* A file of half a model gives the same C as the whole one, also where the halves share weights; and only that. */
TEST(test_halves) {
    const vae_part    parts[2] = { VAE_ENCODER_ONLY, VAE_DECODER_ONLY };
    const export_part own[2] = { EXPORT_ENCODER, EXPORT_DECODER }, other[2] = { EXPORT_DECODER, EXPORT_ENCODER };
    int               half, tied;
    for (tied = 0; tied < 2; tied++) {
        vae_config c = small_config(0), changes;
        vae_model *model = NULL, *part;
        char       path[512], message[MESSAGE_SIZE], expected[1 << 16];
        c.tied = tied;
        c.classifier[0] = VAE_DENSE(2, VAE_LINEAR);
        if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
        set_weights(model);
        snprintf(path, sizeof path, "%s/whole.safetensors", folder);
        CHECK(vae_save(model, path, NULL) == VAE_OK);
        for (half = 0; half < 2; half++) {
            exported_network n;
            export_options   o = { "half", "half.safetensors", EXPORT_SCORE, 0, VAE_SCORE_ELBO, NULL, 0 };
            memset(&changes, 0, sizeof changes);
            changes.part = parts[half];
            strcpy(expected, written(model, "half", "m", own[half], message));
            if (!CHECK(vae_load(path, &changes, &part, NULL) == VAE_OK)) return;
            CHECK(*expected && strcmp(written(part, "half", "m", own[half], message), expected) == 0);
            strcpy(expected, written(model, "half", "m", EXPORT_CLASSIFIER, message));
            CHECK(*expected && (half || strcmp(written(part, "half", "m", EXPORT_CLASSIFIER, message), expected) == 0));
            CHECK(!*written(part, "half", "m", other[half], message));
            CHECK_CONTAINS(message, half ? "m holds only a decoder: it can be exported with --part decoder"
                                         : "m holds only an encoder: it can be exported with --part encoder");
            CHECK(!*written(part, "half", "m", EXPORT_SCORE, message));
            if (CHECK(exported_read(part, &n, message) == 0)) {
                o.part = own[half];
                CHECK(export_check(&n, &o, 0, message) == 0 && export_check(&n, &o, 1, message) != 0);
                CHECK_CONTAINS(message, "--type int8 takes the whole model");
                exported_free(&n);
            }
            vae_destroy(part);
        }
        vae_destroy(model);
    }
}

/* Nothing in a path ends the comment that it stands in or begins another. */
TEST(test_paths_in_comments) {
    vae_config  c = small_config(0);
    vae_model  *model = NULL;
    char        message[MESSAGE_SIZE], path[512];
    const char *text, *end;
    if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
    written(model, "path", "a*/ /b/*/c\nd*", EXPORT_DECODER, message);
    snprintf(path, sizeof path, "%s/path.h", folder);
    text = read_text(path);
    CHECK_CONTAINS(text, "/* The decoder of a* / /b/ * /c?d*, written by export_c");
    end = strstr(text, "*/");
    CHECK(end && strncmp(end, "*/\n#ifndef PATH_DECODER_FLOAT_H\n", 32) == 0 && strstr(text + 2, "/*") > end);
    vae_destroy(model);
}

/* A float could not hold the factor. */
TEST(test_large_norm) {
    vae_config       c = small_config(1);
    vae_model       *model = NULL;
    exported_network n;
    float            weight[4] = { 1, 1, 3e38f, 1 }, variance[4] = { 0, 0, 0, 0 };
    char             message[MESSAGE_SIZE] = "";
    if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
    set(model, "encoder.1.weight", weight, 4);
    set(model, "encoder.1.running_var", variance, 4);
    CHECK(exported_read(model, &n, message) != 0);
    CHECK_CONTAINS(message, "batch normalisation is too large for its variance");
    vae_destroy(model);
}

static int compiles(const char *compiler, const char *text) {
    char  path[512], command[2048];
    FILE *file;
    snprintf(path, sizeof path, "%s/names.c", folder);
    file = fopen(path, "w");
    if (!file) return -1;
    fputs(text, file);
    if (fclose(file) != 0) return -1;
    snprintf(command, sizeof command, "%s -c %s -o %s/names.o >%s/names.txt 2>&1", compiler, path, folder, folder);
    return system(command) == 0;
}

/* A file may be read twice; two files of one name tell so, and those of two names stand side by side. */
TEST(test_names) {
    vae_config  c = small_config(0);
    vae_model  *model = NULL;
    const char *compiler = getenv("CC") ? getenv("CC") : "cc";
    char        message[MESSAGE_SIZE], path[512], one[512], two[512];
    if (compiles(compiler, "int main(void) { return 0; }\n") != 1) SKIP("there is no compiler here");
    if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
    snprintf(one, sizeof one, "%s/one.h", folder);
    snprintf(two, sizeof two, "%s/two.h", folder);
    snprintf(path, sizeof path, "%s/int.h", folder);
    CHECK(*written(model, "int", "m", EXPORT_DECODER, message) && (remove(one), rename(path, one) == 0));
    CHECK(*written(model, "int", "m", EXPORT_ENCODER, message) && (remove(two), rename(path, two) == 0));
    CHECK(*written(model, "double", "m", EXPORT_ENCODER, message));
    CHECK(compiles(compiler,
                   "#include \"one.h\"\n#include \"one.h\"\n#include \"double.h\"\n"
                   "void run(float *a, float *b) { int_decode(a, b, a); double_encode(a, b, b, a); }\n") == 1);
    CHECK(compiles(compiler, "#include \"one.h\"\n#include \"two.h\"\n") == 0);
    snprintf(path, sizeof path, "%s/names.txt", folder);
    CHECK_CONTAINS(read_text(path), "two exported files of one name");
    vae_destroy(model);
}

/* ---- for vae.h itself ---- */

/* Writes what a part of the model's file needs as LIB<number>.h. */
static void write_library_file(const char *model_path, int number, vae_part part) {
    vae_config     changes;
    vae_model     *model = NULL;
    vae_error      error;
    export_options o = { NULL, "a test", EXPORT_SCORE, 0, VAE_SCORE_ELBO, NULL, 1 };
    char           name[32], path[512];
    FILE          *file;
    memset(&changes, 0, sizeof changes);
    changes.part = part;
    snprintf(name, sizeof name, "lib%d", number);
    snprintf(path, sizeof path, "%s/%s.h", folder, name);
    o.name = name;
    if (!CHECK(vae_load(model_path, &changes, &model, &error) == VAE_OK)) return;
    file = fopen(path, "w");
    if (CHECK(file != NULL)) {
        library_write(file, model, &o);
        CHECK(fclose(file) == 0);
    }
    vae_destroy(model);
}

/* The program's head: what stands at the end of it, `run`, makes the model in a block and asks it. */
static const char library_head[] =
    "#define VAE_IMPLEMENTATION\n#define VAE_INFERENCE_ONLY\n#define VAE_NO_MALLOC\n#define VAE_NO_STDIO\n"
    "#include \"vae.h\"\n#include <math.h>\n#include <stdio.h>\n#include <string.h>\n\n"
    "static unsigned char memory[1 << 20];\nstatic float got[1 << 14];\nstatic int wrong;\n\n"
    "static vae_model *make(const vae_config *own) {\n"
    "    vae_config c = *own;\n    vae_model *model = NULL;\n    vae_error error;\n"
    "    c.kernels = VAE_KERNELS_PORTABLE;\n"
    "    if (vae_create_in(&c, memory, sizeof memory, &model, &error) != VAE_OK) puts(error.message);\n"
    "    return model;\n}\n\n"
    "static void check(const char *what, const void *wanted, size_t size, vae_status status) {\n"
    "    if (status == VAE_OK && memcmp(got, wanted, size) == 0) return;\n"
    "    wrong++;\n    puts(what);\n}\n\n";

static void add_library(FILE *program, FILE *calls, int number, const vae_config *c) {
    static const vae_part parts[3] = { VAE_WHOLE, VAE_ENCODER_ONLY, VAE_DECODER_ONLY };
    const int             example = c->input.height * c->input.width * c->input.channels, latent = c->latent;
    vae_model            *model = NULL;
    float                *pixels = (float *)calloc((size_t)(2 * example + 2 * latent), sizeof *pixels);
    float                *decoded = pixels + example, *z = decoded + example, *mean = z + latent;
    int                   label = 1, i;
    double                score;
    float                 rounded;
    vae_data              data;
    vae_latents           latents;
    char                  path[512];
    memset(&data, 0, sizeof data);
    memset(&latents, 0, sizeof latents);
    data.count = latents.count = 1;
    data.pixels = pixels;
    latents.z = z;
    if (c->classes) data.labels = latents.labels = &label;
    for (i = 0; i < example; i++) pixels[i] = (float)test_uniform(&chance, 0, 1);
    for (i = 0; i < latent; i++) z[i] = (float)test_uniform(&chance, -3, 3);
    if (c->missing) pixels[0] = NAN;
    if (!CHECK(vae_create(c, &model, NULL) == VAE_OK)) return;
    set_weights(model);
    snprintf(path, sizeof path, "%s/library.safetensors", folder);
    CHECK(vae_save(model, path, NULL) == VAE_OK);
    CHECK(vae_encode(model, &data, mean, NULL, NULL) == VAE_OK);
    CHECK(vae_decode(model, &latents, decoded, NULL) == VAE_OK);
    CHECK(vae_score(model, &data, NULL, &score, NULL) == VAE_OK);
    vae_destroy(model);
    rounded = (float)score;
    for (i = 0; i < 3; i++) {
        write_library_file(path, 3 * number + i, parts[i]);
        fprintf(program, "#include \"lib%d.h\"\n", 3 * number + i);
    }
    put_floats(program, "pixels", number, pixels, (size_t)example);
    put_floats(program, "z", number, z, (size_t)latent);
    put_bits(program, "mean", number, mean, (size_t)latent);
    put_bits(program, "decoded", number, decoded, (size_t)example);
    put_bits(program, "score", number, &rounded, 1);
    fprintf(calls, "    data.pixels = pixels_%d;\n    latents.z = z_%d;\n", number, number);
    fprintf(calls, "    data.labels = latents.labels = %s;\n", c->classes ? "&label" : "NULL");
    for (i = 0; i < 3; i++) {
        fprintf(calls, "    model = make(&lib%d_config);\n    if (!model) return 1;\n", 3 * number + i);
        if (i < 2)
            fprintf(calls, "    status = vae_encode(model, &data, got, NULL, NULL);\n"
                    "    check(\"mean %d\", mean_%d, sizeof mean_%d, status);\n", number, number, number);
        if (i != 1)
            fprintf(calls, "    status = vae_decode(model, &latents, got, NULL);\n"
                    "    check(\"pixels %d\", decoded_%d, sizeof decoded_%d, status);\n", number, number, number);
        if (i == 0)
            fprintf(calls, "    status = vae_score(model, &data, NULL, &score, NULL);\n    got[0] = (float)score;\n"
                    "    check(\"score %d\", score_%d, sizeof score_%d, status);\n", number, number, number);
        fprintf(calls, "    vae_destroy(model);\n");
    }
    free(pixels);
}

/* The constants make the model again, whole or half, in a program that has neither files nor heap: with its bits. */
TEST(test_library) {
    const char *compiler = getenv("CC") ? getenv("CC") : "cc";
    char        path[512], calls_path[512], command[2048];
    FILE       *program, *calls;
    int         number, made = 0, tries;
    snprintf(command, sizeof command, "%s --version >%s/version 2>&1", compiler, folder);
    if (system(command) != 0) SKIP("there is no compiler here");
    snprintf(path, sizeof path, "%s/library.c", folder);
    snprintf(calls_path, sizeof calls_path, "%s/library_calls.h", folder);
    program = fopen(path, "w");
    calls = fopen(calls_path, "w");
    if (!CHECK(program && calls)) return;
    fputs(library_head, program);
    for (number = 0; number < 16; number++) {
        vae_model *model = NULL;
        vae_config c = any_config();
        for (tries = 0; tries < 1000 && vae_create(&c, &model, NULL) != VAE_OK; tries++) c = any_config();
        vae_destroy(model);
        add_library(program, calls, number, &c);
        made++;
    }
    CHECK(fclose(calls) == 0);
    fprintf(program, "int main(void) {\n    vae_model *model;\n    static vae_data data;\n"
            "    static vae_latents latents;\n    const int label = 1;\n    vae_status status;\n    double score;\n"
            "    data.count = latents.count = 1;\n#include \"library_calls.h\"\n"
            "    return wrong != 0;\n}\n");
    CHECK(fclose(program) == 0 && made == 16);
    snprintf(command, sizeof command, "%s -I. -g0 -Wall -Wextra -Werror %s/library.c -o %s/library -lm && %s/library",
             compiler, folder, folder, folder);
    CHECK(system(command) == 0);
}

/* A build with VAE_BASIC, which may have no sentences, says what it lacks when it is compiled. */
TEST(test_library_beyond_basic) {
    vae_config  c = small_config(0);
    vae_model  *model = NULL;
    char        path[512], compiler[512];
    int         beyond;
    snprintf(compiler, sizeof compiler, "%s -I.", getenv("CC") ? getenv("CC") : "cc");
    if (compiles(compiler, "int main(void) { return 0; }\n") != 1) SKIP("there is no compiler here");
    for (beyond = 0; beyond < 2; beyond++) {
        c.standardize = beyond;
        if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
        snprintf(path, sizeof path, "%s/library.safetensors", folder);
        CHECK(vae_save(model, path, NULL) == VAE_OK);
        vae_destroy(model);
        write_library_file(path, 99, VAE_WHOLE);
        CHECK(compiles(compiler, "#define VAE_BASIC\n#include \"vae.h\"\n#include \"lib99.h\"\n"
                       "const vae_config *used(void) { return &lib99_config; }\n") == !beyond);
        snprintf(path, sizeof path, "%s/names.txt", folder);
        if (beyond) CHECK_CONTAINS(read_text(path), "leaves out: standardize");
    }
}

/* ---- the program ---- */

/* What it says, with the folder for each @; the exit code before it. */
static const char *run_program(const char *arguments) {
    char        command[2048], path[512], *to = command;
    const char *from;
    static char said[1 << 10];
    int         status;
    to += sprintf(to, "build/export_c ");
    for (from = arguments; *from; from++) {
        if (*from == '@') to += sprintf(to, "%s", folder);
        else *to++ = *from;
    }
    sprintf(to, " >%s/said.txt 2>&1", folder);
    snprintf(path, sizeof path, "%s/said.txt", folder);
    status = system(command);
    snprintf(said, sizeof said, "%s%.900s", status ? "failed: " : "", read_text(path));
    return said;
}

/* A command that is refused leaves the files it names as they are. */
TEST(test_program) {
    static const char *const refused[][2] = {
        { "@/m.safetensors --part classifier --out @/kept.h", "has no classifier" },
        { "@/m.safetensors --out @/m.safetensors", "would overwrite" },
        { "@/m.safetensors --type int8 --calibrate @/kept.h --out @/kept.h", "which is --calibrate too" },
        { "@/m.safetensors --type int8 --calibrate @/rows.csv --out @/kept.h", "row 1, column 2 holds 7" },
        { "@/m.safetensors --type int8 --calibrate @ --out @/kept.h", "cannot open" },
        { "@/m.safetensors --mean-only --out @/kept.h", "--mean-only is for --part encoder" },
        { "@/m.safetensors --score elbo --out @/kept.h", "--score is for --part score" },
        { "@/m.safetensors --type library --score elbo --part score --out @/kept.h", "not for --type library" },
        { "@/m.safetensors --type library --part classifier --out @/kept.h", "has no classifier" },
        { "@/m.safetensors --without id --out @/kept.h", "--without is for --calibrate" },
    };
    vae_config c = small_config(0);
    vae_model *model = NULL;
    char       path[512];
    FILE      *file = fopen("build/export_c", "r");
    size_t     i;
    if (!file) SKIP("there is no build/export_c");
    fclose(file);
    c.likelihood = VAE_BERNOULLI;
    c.standardize = 0;
    if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
    snprintf(path, sizeof path, "%s/m.safetensors", folder);
    CHECK(vae_save(model, path, NULL) == VAE_OK);
    snprintf(path, sizeof path, "%s/rows.csv", folder);
    if (!CHECK((file = fopen(path, "w")) != NULL)) return;
    fputs("0,1,0\n.1,.2,7\n", file);
    fclose(file);
    snprintf(path, sizeof path, "%s/kept.h", folder);
    if (!CHECK((file = fopen(path, "w")) != NULL)) return;
    fputs("kept", file);
    fclose(file);
    for (i = 0; i < sizeof refused / sizeof *refused; i++) {
        const char *said = run_program(refused[i][0]);
        CHECK_CONTAINS(said, "failed: ");
        CHECK_CONTAINS(said, refused[i][1]);
        CHECK_TEXT(read_text(path), "kept");
    }
    snprintf(path, sizeof path, "%s/m.safetensors", folder);
    vae_destroy(model);
    CHECK(vae_load(path, NULL, &model, NULL) == VAE_OK);
    vae_destroy(model);
    CHECK_TEXT(run_program("@/m.safetensors --part encoder --mean-only --name=_ --out '@/with blank.h'"), "");
    snprintf(path, sizeof path, "%s/with blank.h", folder);
    CHECK_CONTAINS(read_text(path), "void __encode(const float pixels[3], float mean[3], ");
    CHECK_TEXT(run_program("@/m.safetensors --type library --part decoder --out '@/with blank.h'"), "");
    CHECK_CONTAINS(read_text(path), "static const float model_weights[31] = {");
    CHECK_CONTAINS(read_text(path), ".part = VAE_DECODER_ONLY,");
}

/* A series with a column for each channel gives the scales that all its stretches give as rows of their own. */
TEST(test_rows_of_series) {
    enum { LINES = 30, LENGTH = 4, CHANNELS = 2 };
    static const char command[] = "@/s.safetensors --type int8 --part score --calibrate ";
    vae_config  c = small_config(0);
    vae_model  *model = NULL;
    float       numbers[LINES * CHANNELS];
    char        path[512], first[1 << 12];
    FILE       *file;
    int         i, k;
    if ((file = fopen("build/export_c", "r")) == NULL) SKIP("there is no build/export_c");
    fclose(file);
    c.input.width = LENGTH;
    c.input.channels = CHANNELS;
    if (!CHECK(vae_create(&c, &model, NULL) == VAE_OK)) return;
    snprintf(path, sizeof path, "%s/s.safetensors", folder);
    CHECK(vae_save(model, path, NULL) == VAE_OK);
    vae_destroy(model);
    snprintf(path, sizeof path, "%s/lines.csv", folder);
    if (!CHECK((file = fopen(path, "w")) != NULL)) return;
    for (i = 0; i < LINES; i++) {
        for (k = 0; k < CHANNELS; k++) numbers[CHANNELS * i + k] = (float)test_integer(&chance, -9, 9);
        fprintf(file, "%g,%g\n", (double)numbers[CHANNELS * i], (double)numbers[CHANNELS * i + 1]);
    }
    fclose(file);
    snprintf(path, sizeof path, "%s/stretches.csv", folder);
    if (!CHECK((file = fopen(path, "w")) != NULL)) return;
    for (i = 0; i + LENGTH <= LINES; i++)
        for (k = 0; k < LENGTH * CHANNELS; k++)
            fprintf(file, "%g%s", (double)numbers[CHANNELS * i + k], k + 1 < LENGTH * CHANNELS ? "," : "\n");
    fclose(file);
    snprintf(path, sizeof path, "%s%s", command, "@/lines.csv --out @/lines.h");
    CHECK_CONTAINS(run_program(path), "27 rows: ");
    snprintf(path, sizeof path, "%s%s", command, "@/stretches.csv --out @/stretches.h");
    CHECK_CONTAINS(run_program(path), "27 rows: ");
    snprintf(path, sizeof path, "%s/lines.h", folder);
    snprintf(first, sizeof first, "%.4000s", read_text(path));
    snprintf(path, sizeof path, "%s/stretches.h", folder);
    CHECK(strncmp(first, read_text(path), strlen(first)) == 0 && strlen(first) == 4000);
    snprintf(path, sizeof path, "%s%s", command, "@/rows.csv --out @/lines.h");
    CHECK_CONTAINS(run_program(path), "has 3 columns, the model takes 8 numbers, or a column for each channel");
    snprintf(path, sizeof path, "%s/lines.csv", folder);
    if (!CHECK((file = fopen(path, "w")) != NULL)) return;
    fputs("1,2\n3,4\n5,6\n", file);
    fclose(file);
    snprintf(path, sizeof path, "%s%s", command, "@/lines.csv --out @/lines.h");
    CHECK_CONTAINS(run_program(path), "has 3 rows of numbers, the model takes 4 at a time");
}

int main(int argc, char **argv) {
    folder = getenv("EXPORT_FOLDER") ? getenv("EXPORT_FOLDER") : "build/export";
    if (argc > 1) networks = atoi(argv[1]);
    make_directory("build");
    make_directory(folder);
    RUN(test_quantizes_anything);
    RUN(test_narrow_layers);
    RUN(test_refuses_what_is_not_there);
    RUN(test_halves);
    RUN(test_paths_in_comments);
    RUN(test_large_norm);
    RUN(test_names);
    RUN(test_library_beyond_basic);
    RUN(test_program);
    RUN(test_rows_of_series);
    RUN(test_library);
    RUN_LONG(test_same_bits, "exports random networks and compiles them");
    return test_finish();
}
