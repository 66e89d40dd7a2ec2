/* Models as C source: random networks are exported, compiled together and run, and give the library's own bits.

       build/test_export [NETWORKS]

   EXPORT_COMPILERS names the compilers with their flags, separated by semicolons; by default it is CC, else cc. Each
   makes one program of all networks. What was made stays in build/export or EXPORT_FOLDER. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "../examples/support/export_writer.h"
#include "folder.h"
#include "test.h"
#include "model.h"

enum { ROWS = 2 };

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
        for (k = 0; k < t.count; k++) values[k] = (float)test_uniform(&chance, positive ? 0.2 : -most, positive ? 3 : most);
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
        fprintf(file, "%s%sf,", i % 8 ? " " : "\n    ", number);
    }
    fprintf(file, "\n};\n");
}

/* Exports the model, and adds to the program a function that compares what the file's functions give with what the
   library does. */
static int add_network(FILE *program, int network, vae_model *model, char *message) {
    char             path[512], name[32];
    exported_network n;
    export_options   o = { NULL, "a test", EXPORT_SCORE, 0, VAE_SCORE_ELBO };
    vae_score_config score;
    double           scores[ROWS];
    float            rounded[ROWS];
    FILE            *file;
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
    snprintf(path, sizeof path, "%s/%s.h", folder, name);
    file = fopen(path, "w");
    if (!file) return fail(message, "cannot write %s", path);
    code = export_write(file, &n, &o, message);
    if (fclose(file) != 0 || code != 0) return -1;
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
    fprintf(program, "static void check_%d(void) {\n    static float mean[%d], logvar[%d], decoded[%d];\n", network, latent,
            latent, example);
    fprintf(program, "    static float encode[NET%d_ENCODE_SCRATCH], decode[NET%d_DECODE_SCRATCH], score;\n", network,
            network);
    fprintf(program, "    static float score_scratch[NET%d_SCORE_SCRATCH];\n", network);
    for (row = 0; row < ROWS; row++) {
        char label[16] = "", also[16] = "";
        if (labelled) sprintf(label, "%d, ", labels[row]);
        if (stands) sprintf(also, "logvar, ");
        fprintf(program, "    %s_encode(pixels_%d + %d, %smean, %sencode);\n", name, network, row * example, label, also);
        fprintf(program, "    check(%d, \"mean\", mean, mean_%d + %d, %d);\n", network, network, row * latent, latent);
        if (stands)
            fprintf(program, "    check(%d, \"logvar\", logvar, logvar_%d + %d, %d);\n", network, network, row * latent,
                    latent);
        else fprintf(program, "    (void)logvar;\n");
        fprintf(program, "    %s_decode(z_%d + %d, %sdecoded, decode);\n", name, network, row * latent, label);
        fprintf(program, "    check(%d, \"pixels\", decoded, decoded_%d + %d, %d);\n", network, network, row * example,
                example);
        fprintf(program, "    score = %s_score(pixels_%d + %d, %sscore_scratch);\n", name, network, row * example, label);
        fprintf(program, "    check_score(%d, score, score_%d + %d);\n", network, network, row);
    }
    fprintf(program, "}\n\n");
    free(pixels);
    exported_free(&n);
    return 0;
}

static const char program_head[] =
    "#include <stdint.h>\n#include <stdio.h>\n#include <string.h>\n\nstatic int wrong, checks;\n\n"
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
    const char *flags = "-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wdouble-promotion -Werror -g0";
    const char *suffix = strstr(compiler, "++") ? "cpp" : "c";
    char        command[2048];
    printf("  %s\n", compiler);
    fflush(stdout);
    snprintf(command, sizeof command, "%s %s %s/networks.%s -o %s/networks && %s/networks", compiler, flags, folder, suffix,
             folder, folder);
    return system(command) == 0;
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
    for (; *compilers; compilers = end + (*end == ';')) {
        end = strchr(compilers, ';');
        if (!end) end = compilers + strlen(compilers);
        snprintf(compiler, sizeof compiler, "%.*s", (int)(end - compilers), compilers);
        CHECK(run_command(compiler));
    }
}

int main(int argc, char **argv) {
    folder = getenv("EXPORT_FOLDER") ? getenv("EXPORT_FOLDER") : "build/export";
    if (argc > 1) networks = atoi(argv[1]);
    make_directory("build");
    make_directory(folder);
    RUN_LONG(test_same_bits, "exports random networks and compiles them");
    return test_finish();
}
