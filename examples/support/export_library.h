/* export_library.h - writes a model's config and weights as constants for vae.h itself, which reads them in place:

       vae_create_in(&name_config, memory, sizeof memory, &model, &error); */
#ifndef EXPORT_LIBRARY_H
#define EXPORT_LIBRARY_H

#include "export_writer.h"

/* What a build with VAE_BASIC lacks of the model; NULL: nothing. */
static inline const char *library_beyond_basic(const vae_config *c) {
    const vae_layer *const lists[2] = { c->encoder, c->decoder };
    int                    list, i;
    for (list = 0; list < 2; list++)
        for (i = 0; i < VAE_MAX_LAYERS && lists[list][i].kind; i++) {
            const vae_layer *l = &lists[list][i];
            if (i == 4) return "more than 4 layers";
            if (l->kind != VAE_LAYER_DENSE) return "convolutions";
            if (l->batch_norm) return "batch normalisation";
            if (l->activation == VAE_SILU || l->activation == VAE_GELU || l->activation == VAE_SOFTPLUS)
                return "SiLU, GELU or softplus";
        }
    if (c->likelihood != VAE_BERNOULLI && c->likelihood != VAE_GAUSSIAN) return "its likelihood";
    return c->objective == VAE_OBJECTIVE_AUTOENCODER ? "a plain autoencoder" : c->classes ? "classes"
         : c->classifier[0].kind ? "a classifier" : c->standardize ? "standardize" : c->missing ? "missing numbers"
         : c->shared_heads ? "shared_heads" : c->tied ? "tied layers" : c->sigma_per_pixel ? "sigma_per_pixel" : NULL;
}

static inline void library_write_layers(FILE *file, const char *list, const vae_layer *l) {
    static const char *const kinds[] = { "", "DENSE", "CONV", "CONV_TRANSPOSED" };
    const vae_layer         *end = l + VAE_MAX_LAYERS;
    if (l->kind) fprintf(file, "    .%s = {\n", list);
    else return;
    for (; l < end && l->kind; l++) {
        fprintf(file, "        { .kind = VAE_LAYER_%s, .shape = { %d, %d, %d },", kinds[l->kind], l->shape.height,
                l->shape.width, l->shape.channels);
        if (l->kind != VAE_LAYER_DENSE) {
            fprintf(file, "\n          .kernel_height = %d, .kernel_width = %d, .stride_height = %d, .stride_width = %d,\n"
                    "          .padding = ", l->kernel_height, l->kernel_width, l->stride_height, l->stride_width);
            if (l->padding == VAE_SAME) fprintf(file, "VAE_SAME,");
            else fprintf(file, "VAE_EXPLICIT, .top = %d, .bottom = %d, .left = %d, .right = %d,", l->top, l->bottom,
                         l->left, l->right);
            if (l->output_padding_height || l->output_padding_width)
                fprintf(file, " .output_padding_height = %d, .output_padding_width = %d,", l->output_padding_height,
                        l->output_padding_width);
        }
        fprintf(file, " .activation = VAE_");
        export_write_capitals(file, l->activation > VAE_LINEAR ? export_activations[l->activation] : "linear");
        fprintf(file, "%s },\n", l->batch_norm ? ", .batch_norm = 1" : "");
    }
    fprintf(file, "    },\n");
}

/* The model is the whole or the half that the constants are for. */
static inline void library_write(FILE *file, const vae_model *model, const export_options *o) {
    static const char *const likelihoods[] = { "", "BERNOULLI", "GAUSSIAN", "LAPLACE", "CONTINUOUS_BERNOULLI",
                                               "GAUSSIAN_PREDICTED", "DISCRETIZED_LOGISTIC" };
    static const char guard[] = "#ifndef NET_LIBRARY_H\n#define NET_LIBRARY_H\n\n";
    const size_t      count = vae_weight_count(model);
    const char       *lack;
    vae_config        c;
    vae_get_config(model, &c);
    lack = library_beyond_basic(&c);
    fprintf(file, "/* The config and the weights of ");
    export_write_path(file, o->model);
    fprintf(file, ", written by export_c for vae.h " VAE_VERSION ": C99.\n\n"
            "   Include it behind vae.h, and give %s_config to vae_memory_needed and vae_create_in. The weights stay\n"
            "   where they are: the model has no copy of their %lu bytes. To set more, such as seed or layout, change\n"
            "   a copy of the config. */\n", o->name, (unsigned long)(4 * count));
    export_write_text(file, o->name, guard, strlen(guard));
    if (lack)
        fprintf(file, "#ifdef VAE_BASIC\n#error \"the model needs what VAE_BASIC leaves out: %s\"\n#endif\n\n", lack);
    export_write_floats(file, o->name, "weights", vae_weights(model), count);
    fprintf(file, "\nstatic const vae_config %s_config = {\n    .input = { %d, %d, %d },\n    .latent = %d,\n", o->name,
            c.input.height, c.input.width, c.input.channels, c.latent);
    library_write_layers(file, "encoder", c.encoder);
    library_write_layers(file, "decoder", c.decoder);
    fprintf(file, "    .likelihood = VAE_%s,\n", likelihoods[c.likelihood]);
    if (c.sigma > 0) fprintf(file, "    .sigma = (vae_real)%.9g,\n", (double)c.sigma);
    if (c.sigma_per_pixel) fprintf(file, "    .sigma_per_pixel = 1,\n");
    if (c.standardize) fprintf(file, "    .standardize = 1,\n");
    fprintf(file, "    .batch = 1,\n");
    if (c.part == VAE_ENCODER_ONLY) fprintf(file, "    .part = VAE_ENCODER_ONLY,\n");
    if (c.part == VAE_DECODER_ONLY) fprintf(file, "    .part = VAE_DECODER_ONLY,\n");
    fprintf(file, "    .weights = %s_weights,\n", o->name);
    if (c.shared_heads) fprintf(file, "    .shared_heads = 1,\n");
    if (c.tied) fprintf(file, "    .tied = 1,\n");
    if (c.classes) fprintf(file, "    .classes = %d,\n", c.classes);
    if (c.objective == VAE_OBJECTIVE_AUTOENCODER) fprintf(file, "    .objective = VAE_OBJECTIVE_AUTOENCODER,\n");
    library_write_layers(file, "classifier", c.classifier);
    if (c.missing) fprintf(file, "    .missing = 1,\n");
    fprintf(file, "};\n\n#endif\n");
}

/* The weights in vae.h's own order, of the half that the part needs. */
static inline int library_export(const char *path, const exported_network *network, const char *out,
                                 const export_options *options, char *message) {
    vae_config changes = { .inference_only = 1 };
    vae_model *model = NULL;
    vae_error  error;
    FILE      *file;
    int        code = export_check(network, options, 0, message);
    if (options->part == EXPORT_DECODER) changes.part = VAE_DECODER_ONLY;
    else if (options->part != EXPORT_SCORE) changes.part = VAE_ENCODER_ONLY;
    if (code != 0) return code;
    if (vae_load(path, &changes, &model, &error) != VAE_OK) return fail(message, "%s", error.message);
    file = fopen(out, "w");
    if (file) library_write(file, model, options);
    if (!file || (ferror(file) | fclose(file))) code = fail(message, "cannot write %s", out);
    vae_destroy(model);
    return code;
}

#endif
