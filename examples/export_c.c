/* export_c.c - turns a model file into one file of C for a program without heap, files or operating system.

       build/export_c out/model.safetensors --part decoder --name digits --out digits.h
       build/export_c table.safetensors --part score --type int8 --calibrate normal.csv --name pump --out pump.h
       build/export_c table.safetensors --part score --type library --name pump --out pump.h

   The file has the weights as constants and functions with plain arguments, such as
   void digits_decode(const float z[20], float pixels[784], float scratch[DIGITS_DECODE_SCRATCH]).
   Numbers are floats, with the bits of vae.h's portable kernels, or int8, with scales that suit the rows you give.
   With --type library the file has no functions, but weights and config for vae.h itself. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "support/export_library.h"
#include "support/export_rows.h"
#include "support/export_writer.h"
#include "support/options.h"

static int is_identifier(const char *name) {
    const char *c;
    for (c = name; export_is_word(*c); c++) {}
    return *c == '\0' && !isdigit((unsigned char)*name);
}

/* The place of `word` in the list, from 1, as enums count; 0: it is not there. */
static int which_of(const char *word, const char *const *list) {
    int i;
    for (i = 0; list[i]; i++) if (strcmp(word, list[i]) == 0) return i + 1;
    return 0;
}

/* Where the rows for the scales are; path NULL: floats. */
typedef struct calibration { const char *path, *without; } calibration;

/* The rows are such as the model takes: else their scales would suit nothing. */
static int check_rows(vae_model *model, const export_rows *rows, const char *path, int labelled, char *message) {
    const vae_data data = { .pixels = rows->numbers, .count = rows->count, .labels = labelled ? rows->labels : NULL };
    vae_terms      terms;
    vae_error      error;
    if (vae_elbo(model, &data, &terms, NULL, &error) == VAE_OK) return 0;
    return fail(message, "of the rows taken from %s: %s", path, error.message);
}

static int write_network(vae_model *model, const exported_network *network, const calibration *rows_of,
                         const char *out, export_options *options, char *message) {
    export_rows rows = { NULL, NULL, 0 };
    export_int8 int8;
    FILE       *file;
    int         code = export_check(network, options, rows_of->path != NULL, message);
    memset(&int8, 0, sizeof int8);
    if (code == 0 && rows_of->path) {
        code = export_read_rows(&rows, rows_of->path, rows_of->without, network->config.input, network->config.classes,
                                message);
        if (code == 0) code = check_rows(model, &rows, rows_of->path, network->config.classes, message);
        if (code == 0) code = export_quantize(&int8, network, rows.numbers, rows.labels, rows.count, message);
        options->int8 = &int8;
    }
    if (code == 0) {
        file = fopen(out, "w");
        code = file ? export_write(file, network, options, message) : fail(message, "cannot write %s", out);
        if (file && (ferror(file) | fclose(file)) && code == 0) code = fail(message, "cannot write %s", out);
    }
    if (code == 0 && rows_of->path)
        printf("%lu rows: reconstruction at z = mean %.3f nats in floats, %.3f in int8, the same constants left out\n",
               (unsigned long)rows.count, int8.float_nats, int8.int8_nats);
    export_free_int8(&int8);
    export_free_rows(&rows);
    return code;
}

static int export_model(const char *path, const calibration *rows_of, const char *out, export_options *options,
                        char *message) {
    const vae_config changes = { .inference_only = 1, .kernels = VAE_KERNELS_PORTABLE };
    exported_network network;
    vae_model       *model = NULL;
    vae_error        error;
    int              code;
    if (vae_load(path, &changes, &model, &error) != VAE_OK) return fail(message, "%s", error.message);
    code = exported_read(model, &network, message);
    if (code == 0) {
        code = options->library ? library_export(path, &network, out, options, message)
                                : write_network(model, &network, rows_of, out, options, message);
        exported_free(&network);
    }
    vae_destroy(model);
    return code;
}

int main(int argc, char **argv) {
    static const char *const parts[] = { "decoder", "encoder", "score", "classifier", NULL };
    static const char *const types[] = { "float", "int8", "library", NULL };
    static const char *const scores[] = { "elbo", "reconstruction", "squared", NULL };
    static const char        elbo[] = "elbo";
    const char              *path = NULL, *part = "decoder", *name = "model", *out = NULL, *score = elbo;
    const char              *type = "float";
    calibration              rows_of = { NULL, NULL };
    int                      mean_only = 0, code;
    char                     message[MESSAGE_SIZE];
    export_options           options = { "", "", EXPORT_DECODER, 0, VAE_SCORE_ELBO, NULL, 0 };
    const option             table[] = {
        { "model", "FILE", "the model, a file that vae_save wrote", OPTION_TEXT, &path, 0, 0 },
        { "part", "PART", "decoder, encoder, score (how unusual a row is) with both, or classifier", OPTION_TEXT, &part,
          0, 0 },
        { "type", "TYPE", "float, int8, which takes a quarter, or library: config and weights for vae.h", OPTION_TEXT,
          &type, 0, 0 },
        { "calibrate", "PATH", "int8: rows to find scales with, FILE.csv or MNIST's folder", OPTION_TEXT, &rows_of.path,
          0, 0 },
        { "without", "COLUMNS", "columns of the CSV file to leave out, as in id,time", OPTION_TEXT, &rows_of.without,
          0, 0 },
        { "mean-only", "", "the encoder gives no logvar", OPTION_FLAG, &mean_only, 0, 0 },
        { "score", "KIND", "elbo, reconstruction or squared: see vae_score", OPTION_TEXT, &score, 0, 0 },
        { "name", "NAME", "what the functions' names begin with, another for each file of a program", OPTION_TEXT,
          &name, 0, 0 },
        { "out", "FILE", "the C file; images in it have their channels last", OPTION_OUTPUT, &out, 0, 0 },
        OPTIONS_END
    };
    code = options_parse(argc, argv, "Turns a model into one file of C.", table, 1);
    if (code >= 0) return code;
    if (!path || !out) return options_wrong("export_c", path ? "--out is missing" : "the model is missing");
    options.part = (export_part)which_of(part, parts);
    if (!options.part) return options_wrong("export_c", "--part is one of those in --help, not %s", part);
    if (!is_identifier(name)) return options_wrong("export_c", "--name must be a name in C, not '%s'", name);
    if (!which_of(type, types)) return options_wrong("export_c", "--type is float, int8 or library, not %s", type);
    if ((strcmp(type, "int8") == 0) != (rows_of.path != NULL))
        return options_wrong("export_c", "--type int8 and --calibrate need each other");
    options.library = strcmp(type, "library") == 0;
    if (options.library && (mean_only || score != elbo))
        return options_wrong("export_c", "--mean-only and --score are not for --type library");
    options.score = (vae_score_kind)which_of(score, scores);
    if (!options.score) return options_wrong("export_c", "--score is elbo, reconstruction or squared, not %s", score);
    if (mean_only && options.part != EXPORT_ENCODER)
        return options_wrong("export_c", "--mean-only is for --part encoder");
    if (score != elbo && options.part != EXPORT_SCORE) return options_wrong("export_c", "--score is for --part score");
    if (rows_of.without && !rows_of.path) return options_wrong("export_c", "--without is for --calibrate FILE.csv");
    options.name = name;
    options.model = path;
    options.mean_only = mean_only;
    if (options_check_outputs("export_c", table) != 0) return 2;
    return export_model(path, &rows_of, out, &options, message) == 0 ? 0 : complain("export_c", message);
}
