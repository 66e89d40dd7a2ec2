/* export_c.c - turns a model file into one file of C for a program without vae.h, heap or operating system.

       build/export_c out/model.safetensors --part decoder --name digits --out digits.h

   The file has the weights as constants and functions with plain arguments, such as
   void digits_decode(const float z[20], float pixels[784], float scratch[DIGITS_DECODE_SCRATCH]). */
#define VAE_IMPLEMENTATION
#include "../vae.h"

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

static int export_model(const char *path, const char *out, const export_options *options, char *message) {
    const vae_config changes = { .inference_only = 1, .kernels = VAE_KERNELS_PORTABLE };
    exported_network network;
    vae_model       *model = NULL;
    vae_error        error;
    FILE            *file;
    int              code;
    if (vae_load(path, &changes, &model, &error) != VAE_OK) return fail(message, "%s", error.message);
    code = exported_read(model, &network, message);
    if (code == 0) {
        file = fopen(out, "w");
        code = file ? export_write(file, &network, options, message) : fail(message, "cannot write %s", out);
        if (file && (ferror(file) | fclose(file)) && code == 0) code = fail(message, "cannot write %s", out);
        exported_free(&network);
    }
    vae_destroy(model);
    return code;
}

int main(int argc, char **argv) {
    static const char *const parts[] = { "decoder", "encoder", "score", NULL };
    static const char *const scores[] = { "elbo", "reconstruction", "squared", NULL };
    const char              *path = NULL, *part = "decoder", *name = "model", *out = NULL, *score = "elbo";
    int                      mean_only = 0, code;
    char                     message[MESSAGE_SIZE];
    export_options           options = { "", "", EXPORT_DECODER, 0, VAE_SCORE_ELBO };
    const option             table[] = {
        { "model", "FILE", "the model, a file that vae_save wrote", OPTION_TEXT, &path, 0, 0 },
        { "part", "PART", "decoder, encoder, or score: how unusual a row is, and both", OPTION_TEXT, &part, 0, 0 },
        { "mean-only", "", "the encoder gives no logvar", OPTION_FLAG, &mean_only, 0, 0 },
        { "score", "KIND", "elbo, reconstruction or squared: see vae_score", OPTION_TEXT, &score, 0, 0 },
        { "name", "NAME", "what the functions' names begin with", OPTION_TEXT, &name, 0, 0 },
        { "out", "FILE", "the C file", OPTION_OUTPUT, &out, 0, 0 },
        OPTIONS_END
    };
    code = options_parse(argc, argv, "Turns a model into one file of C.", table, 1);
    if (code >= 0) return code;
    if (!path || !out) return options_wrong("export_c", path ? "--out is missing" : "the model is missing");
    options.part = (export_part)which_of(part, parts);
    if (!options.part) return options_wrong("export_c", "--part is decoder, encoder or score, not %s", part);
    if (!is_identifier(name)) return options_wrong("export_c", "--name must be a name in C, not '%s'", name);
    options.score = (vae_score_kind)which_of(score, scores);
    if (!options.score) return options_wrong("export_c", "--score is elbo, reconstruction or squared, not %s", score);
    options.name = name;
    options.model = path;
    options.mean_only = mean_only && options.part == EXPORT_ENCODER;
    if (options_check_outputs("export_c", table) != 0) return 2;
    return export_model(path, out, &options, message) == 0 ? 0 : complain("export_c", message);
}
