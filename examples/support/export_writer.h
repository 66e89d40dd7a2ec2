/* export_writer.h - writes a network as one file of C that needs nothing: see export_c.c. */
#ifndef EXPORT_WRITER_H
#define EXPORT_WRITER_H

#include <ctype.h>
#include <stdarg.h>

#include "export_int8.h"
#include "exported_code.h"
#include "exported_network.h"

typedef enum export_part { EXPORT_DECODER = 1, EXPORT_ENCODER, EXPORT_SCORE, EXPORT_CLASSIFIER } export_part;

typedef struct export_options {
    const char *name, *model;       /* what the functions' names begin with; the model's file, for the comment */
    export_part part;
    int         mean_only;          /* the encoder gives no logvar, nor does that of a classifier; not for a score */
    vae_score_kind score;           /* VAE_SCORE_ELBO, VAE_SCORE_RECONSTRUCTION or VAE_SCORE_SQUARED_ERROR */
    const export_int8 *int8;        /* NULL: floats */
    int         library;            /* not functions, but config and weights for vae.h */
} export_options;

/* Whether a part is more than the decoder, and whether it is more than the encoder. */
static inline int export_encodes(const export_options *o) { return o->part != EXPORT_DECODER; }
static inline int export_decodes(const export_options *o) {
    return o->part == EXPORT_DECODER || o->part == EXPORT_SCORE;
}

static inline int export_gives_logvar(const exported_network *n, const export_options *o) {
    return n->has_logvar && !o->mean_only && o->part != EXPORT_CLASSIFIER;
}

/* Whether the network sees other numbers than the user's, and how many have to be kept. */
static inline int export_altered(const exported_network *n) {
    return n->config.standardize || n->config.missing ? n->example : 0;
}

/* Text that grows; net_ and NET_ in it stand for the name. */
typedef struct export_text {
    char  *text;
    size_t length, room;
    int    failed;
} export_text;

static inline void export_put(export_text *t, const char *format, ...) {
    va_list arguments;
    int     length;
    if (t->room - t->length < 1024) {
        char *larger = (char *)realloc(t->text, t->room + 65536);
        if (!larger) t->failed = 1;
        else {
            t->text = larger;
            t->room += 65536;
        }
    }
    if (t->failed) return;
    va_start(arguments, format);
    length = vsnprintf(t->text + t->length, t->room - t->length, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= t->room - t->length) t->failed = 1;
    else t->length += (size_t)length;
}

/* ---- which functions a file takes ---- */

static inline int export_is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

static inline int export_calls(const char *text, const char *name) {
    const size_t length = strlen(name);
    const char  *at = text;
    for (; (at = strstr(at, "net_")) != NULL; at += 4)
        if (strncmp(at + 4, name, length) == 0 && !export_is_word(at[4 + length])) return 1;
    return 0;
}

/* needed[i]: the body calls piece i, or another piece that is needed does. */
static inline void export_find_pieces(const char *body, int needed[EXPORTED_PIECES]) {
    int i, by;
    for (i = EXPORTED_PIECES - 1; i >= 0; i--) {
        needed[i] = export_calls(body, exported_pieces[i].name);
        for (by = i + 1; by < EXPORTED_PIECES && !needed[i]; by++)
            needed[i] = needed[by] && export_calls(exported_pieces[by].text, exported_pieces[i].name);
    }
}

/* ---- text to the file ---- */

static inline void export_write_capitals(FILE *file, const char *word) {
    for (; *word; word++) fputc(toupper((unsigned char)*word), file);
}

/* Writes the text with the name in place of net_, in capitals in place of NET_. */
static inline void export_write_text(FILE *file, const char *name, const char *text, size_t length) {
    const char *at = text, *end = text + length;
    while (at < end) {
        const int starts = at == text || !export_is_word(at[-1]), left = (int)(end - at) >= 4;
        if (starts && left && strncmp(at, "net_", 4) == 0) fprintf(file, "%s_", name);
        else if (starts && left && strncmp(at, "NET_", 4) == 0) {
            export_write_capitals(file, name);
            fputc('_', file);
        } else {
            fputc(*at++, file);
            continue;
        }
        at += 4;
    }
}

/* A piece is one line of text: breaks it where statements begin and end. */
static inline void export_write_piece(FILE *file, const char *name, const exported_piece *piece) {
    const char *c = piece->text;
    export_text lines = { NULL, 0, 0, 0 };
    int         depth = 0, inside = 0, ends;
    if (strcmp(piece->name, "four_sums8") == 0) {
        fputs("#if defined(__GNUC__) && defined(__OPTIMIZE__) && defined(__ARM_FEATURE_SIMD32) && \\\n", file);
        fputs("    defined(__ARM_FEATURE_UNALIGNED)\n", file);
        export_write_text(file, name, export_packed, strlen(export_packed));
        fputs("#else\n", file);
    }
    if (piece->comment) fprintf(file, "/* %s */\n", piece->comment);
    for (; *c; c++) {
        inside += (*c == '(') - (*c == ')');
        if (*c == '}') depth--;
        export_put(&lines, "%c", *c);
        if (*c == '{') depth++;
        ends = !inside && (*c == ';' || *c == '{' || (*c == '}' && c[1] == ' ' && c[2] != 'e' && c[2] != 'n'));
        if (ends && c[1] == ' ') {
            c++;
            export_put(&lines, "\n%*s", 4 * (depth - (c[1] == '}')), "");
        }
    }
    export_write_text(file, name, lines.text, lines.length);
    fputs(strcmp(piece->name, "one_sum8") == 0 ? "\n#endif\n" : "\n", file);
    free(lines.text);
}

static inline void export_write_floats(FILE *file, const char *name, const char *array, const float *values,
                                       size_t count) {
    char   number[32];
    size_t i;
    int    column = 0;
    if (!values) return;
    fprintf(file, "static const float %s_%s[%lu] = {\n", name, array, (unsigned long)count);
    for (i = 0; i < count; i++) {
        snprintf(number, sizeof number, "%.9g", (double)values[i]);
        if (!strpbrk(number, ".e")) strcat(number, ".0");
        column += fprintf(file, "%s%sf,", column ? " " : "    ", number);
        if (column > 104 || i + 1 == count) column = 0 * fprintf(file, "\n");
    }
    fprintf(file, "};\n");
}

static inline void export_write_whole(FILE *file, const char *name, const char *which, const char *array,
                                      const int8_t *bytes, const int32_t *words, size_t count) {
    size_t i;
    int    column = 0;
    if (!bytes && !words) return;
    fprintf(file, "static const %s %s_%s_%s[%lu] = {\n", bytes ? "int8_t" : "int32_t", name, which, array,
            (unsigned long)count);
    for (i = 0; i < count; i++) {
        column += fprintf(file, "%s%ld,", column ? " " : "    ", bytes ? (long)bytes[i] : (long)words[i]);
        if (column > 108 || i + 1 == count) column = 0 * fprintf(file, "\n");
    }
    fprintf(file, "};\n");
}

static inline void export_write_geometry(FILE *file, const char *name, const char *which, const exported_layer *l) {
    if (l->layer.kind == VAE_LAYER_DENSE) return;
    fprintf(file, "static const %s_geometry %s_%s_geometry = {\n", name, name, which);
    fprintf(file, "    { %d, %d, %d, %d, %d }, { %d, %d, %d, %d, %d }, %d, %d\n};\n", l->in.height, l->out.height,
            l->layer.kernel_height, l->layer.stride_height, l->layer.top, l->in.width, l->out.width,
            l->layer.kernel_width, l->layer.stride_width, l->layer.left, l->in.channels, l->out.channels);
}

/* ---- the network as calls ---- */

static const char *const export_activations[] = { "", "", "relu", "leaky_relu", "silu", "gelu", "tanh", "sigmoid",
                                                  "softplus" };

static inline void export_put_layer(export_text *t, const exported_layer *l, const char *which, const char *from,
                                    const char *to) {
    const vae_activation activation = l->layer.activation;
    if (l->layer.kind == VAE_LAYER_DENSE)
        export_put(t, "    net_dense(net_%s_weight, net_%s_bias, %s, %d, %s, %d);\n", which, which, from, l->inputs, to,
                   l->outputs);
    else
        export_put(t, "    net_convolution(&net_%s_geometry, net_reach%s, net_%s_weight, net_%s_bias, %s, %s);\n",
                   which, l->layer.kind == VAE_LAYER_CONV ? "" : "_transposed", which, which, from, to);
    if (l->classes)
        export_put(t, "    net_add(%s, net_%s_labels + label * %d, %d);\n", to, which, l->outputs, l->outputs);
    if (l->norm)
        export_put(t, "    net_normalize(net_%s_norm, %s, %d, %d);\n", which, to, l->outputs / l->channels,
                   l->channels);
    if (activation > VAE_LINEAR)
        export_put(t, "    net_each(net_%s, %s, %d);\n", export_activations[activation], to, l->outputs);
}

static inline void export_put_int8_layer(export_text *t, const export_int8_layer *m, const char *which,
                                         const char *from, const char *to) {
    const exported_layer *l = m->from;
    if (l->layer.kind == VAE_LAYER_DENSE) {
        export_put(t, "    net_dense8(&net_%s_layer, net_%s_", which, which);
        if (l->classes) export_put(t, "labels + label * %d", l->channels);
        else export_put(t, "bias");
        export_put(t, ", %s, %d, %s, %d);\n", from, l->inputs, to, l->outputs);
    } else
        export_put(t, "    net_%s8(&net_%s_geometry, net_reach%s, &net_%s_layer, %s, %s);\n",
                   l->channels < 4 ? "narrow" : "convolution", which,
                   l->layer.kind == VAE_LAYER_CONV ? "" : "_transposed", which, from, to);
    if (m->table) export_put(t, "    net_look_up(net_%s_table, %s, %d);\n", which, to, l->outputs);
    if (m->factor && l->layer.activation > VAE_LINEAR)
        export_put(t, "    net_each(net_%s, %s, %d);\n", export_activations[l->layer.activation], to, l->outputs);
}

static inline void export_put_quantize(export_text *t, const char *from, const char *to, export_range range,
                                       int count) {
    const export_scale s = export_scale_of(range);
    export_put(t, "    net_quantize(%s, %s, %.9ef, %d.0f, %d);\n", from, to, (double)(1 / s.scale), s.zero, count);
}

/* Of numbers that live one after the other: as many as two neighbours need. */
static inline int export_room(const int *sizes, int count) {
    int i, room = count ? sizes[0] : 0;
    for (i = 1; i < count; i++) if (sizes[i - 1] + sizes[i] > room) room = sizes[i - 1] + sizes[i];
    return room;
}

/* Where the i-th of them lies: at the beginning of the scratch and at its end by turns. */
static inline const char *export_at(char *place, const int *sizes, int i, int room) {
    if (i % 2 == 0) return strcpy(place, "scratch");
    sprintf(place, "scratch + %d", room - sizes[i]);
    return place;
}

/* Whether the decoder ends in int8, and a table makes pixels of it. A score needs the numbers before it as floats. */
static inline int export_ends_in_table(const exported_network *n, const export_options *o) {
    return o->int8 && o->part == EXPORT_DECODER && export_has_table(n);
}

/* The layers of a chain, from `from`; those between lie in the scratch by turns, the last one of a decoder in y. In
   int8 the chain begins with its input. Leaves in `from` where the result lies, and returns the numbers of scratch. */
static inline int export_put_chain(export_text *t, const exported_layer *layers, const export_int8_layer *int8,
                                   int count, export_range range, const char *part, const export_int8_layer *last,
                                   int ends, char from[32]) {
    int  sizes[VAE_MAX_LAYERS + 1], begins = int8 != NULL, places, i, room;
    char which[32], to[32];
    sizes[0] = layers[0].inputs;
    for (i = 0; i < count; i++) sizes[i + begins] = layers[i].outputs;
    places = count + begins - ends;
    room = export_room(sizes, places);
    if (begins) {
        export_put_quantize(t, from, "scratch", range, sizes[0]);
        strcpy(from, "scratch");
    }
    for (i = 0; i < count; i++) {
        if (ends && i + 1 == count) strcpy(to, "y");
        else export_at(to, sizes, i + begins, room);
        sprintf(which, "%s_%d", part, i);
        if (int8) export_put_int8_layer(t, last && i + 1 == count ? last : &int8[i], which, from, to);
        else export_put_layer(t, &layers[i], which, from, to);
        strcpy(from, to);
    }
    return begins ? (room + 3) / 4 : room;
}

static inline int export_put_encoder(export_text *t, const exported_network *n, const export_options *o) {
    const export_int8 *q = o->int8;
    const int          logvar = export_gives_logvar(n, o);
    char               from[32] = "x";
    int                room;
    export_put(t, "static inline void net_encode_row(const float *x, %sfloat *mean, %s%s *scratch) {\n",
               n->config.classes ? "int label, " : "", logvar ? "float *logvar, " : "", q ? "int8_t" : "float");
    room = export_put_chain(t, n->encoder, q ? q->encoder : NULL, n->encoders, q ? q->x : (export_range){ 0, 0 },
                            "encoder", NULL, 0, from);
    if (q) export_put_int8_layer(t, &q->mean, "mean", from, "mean");
    else export_put_layer(t, &n->mean, "mean", from, "mean");
    if (logvar) {
        const char *head = n->config.shared_heads ? "mean" : "logvar";
        if (q) export_put_int8_layer(t, &q->logvar, head, from, "logvar");
        else export_put_layer(t, &n->logvar, head, from, "logvar");
        export_put(t, "    net_hold_each(logvar, -20.0f, 10.0f, %d);\n", n->latent);
    }
    export_put(t, "}\n\n");
    return room;
}

static inline int export_put_decoder(export_text *t, const exported_network *n, const export_options *o) {
    const export_int8 *q = o->int8;
    char               from[32] = "z";
    int                room;
    export_put(t, "static inline void net_decode_row(const float *z, %s%s *y%s) {\n",
               n->config.classes ? "int label, " : "", export_ends_in_table(n, o) ? "int8_t" : "float",
               q ? ", int8_t *scratch" : n->decoders > 1 ? ", float *scratch" : "");
    room = export_put_chain(t, n->decoder, q ? q->decoder : NULL, n->decoders, q ? q->z : (export_range){ 0, 0 },
                            "decoder", export_ends_in_table(n, o) ? &q->pixels : NULL, 1, from);
    export_put(t, "}\n\n");
    return room;
}

/* ---- the functions of the file ---- */

static inline void export_put_scratch(export_text *t, const char *function, int room) {
    export_put(t, "enum { NET_%s_SCRATCH = %d };      /* numbers of scratch, %lu bytes */\n", function, room ? room : 1,
               (unsigned long)(room ? room : 1) * sizeof(float));
}

/* Where the layers' scratch begins. */
static inline void export_put_place(export_text *t, const export_options *o, const char *array, int offset) {
    if (offset) export_put(t, o->int8 ? "(int8_t *)(%s + %d)" : "%s + %d", array, offset);
    else export_put(t, "%s%s", o->int8 ? "(int8_t *)" : "", array);
}

static inline void export_put_altered(export_text *t, const exported_network *n, const export_options *o,
                                      const char *to) {
    if (n->config.standardize)
        export_put(t, "    net_%s(pixels, net_center, net_scale, %s, %d);\n", o->int8 ? "center_each" : "standardize",
                   to, n->example);
    if (n->config.missing)
        export_put(t, "    net_fill(%s, %s, %d);\n", n->config.standardize ? to : "pixels", to, n->example);
}

static inline int export_put_encode(export_text *t, const exported_network *n, const export_options *o) {
    const int logvar = export_gives_logvar(n, o), kept = export_altered(n);
    const int room = export_put_encoder(t, n, o);
    export_put_scratch(t, "ENCODE", room + kept);
    export_put(t, "NET_CALL void net_encode(const float pixels[%d], %sfloat mean[%d], ", n->example,
               n->config.classes ? "int label, " : "", n->latent);
    if (logvar) export_put(t, "float logvar[%d], ", n->latent);
    export_put(t, "float scratch[NET_ENCODE_SCRATCH]) {\n");
    if (kept) export_put_altered(t, n, o, "scratch");
    export_put(t, "    net_encode_row(%s, %smean, %s", kept ? "scratch" : "pixels",
               n->config.classes ? "label, " : "", logvar ? "logvar, " : "");
    export_put_place(t, o, "scratch", kept);
    export_put(t, ");\n}\n\n");
    return room;
}

/* What becomes of the decoder's outputs: the mean pixels, from `y` to `pixels`, in place but for two numbers a
   pixel. */
static inline void export_put_means(export_text *t, const exported_network *n, const char *y, const char *pixels) {
    const int channels = n->config.input.channels;
    if (n->config.likelihood == VAE_BERNOULLI)
        export_put(t, "    net_each(net_sigmoid, %s, %d);\n", pixels, n->example);
    if (n->config.likelihood == VAE_CONTINUOUS_BERNOULLI)
        export_put(t, "    net_each(net_continuous_mean, %s, %d);\n", pixels, n->example);
    if (n->outputs > 1)
        export_put(t, "    net_%s(%s, %s, %d, %d);\n",
                   n->config.likelihood == VAE_GAUSSIAN_PREDICTED ? "first_numbers" : "logistic_means", y, pixels,
                   n->example / channels, channels);
}

static inline int export_put_decode(export_text *t, const exported_network *n, const export_options *o) {
    const int room = export_put_decoder(t, n, o), both = n->outputs > 1 ? n->outputs * n->example : 0;
    const int tabled = export_ends_in_table(n, o);
    export_put_scratch(t, "DECODE", room + both);
    export_put(t,
               "NET_CALL void net_decode(const float z[%d], %sfloat pixels[%d], float scratch[NET_DECODE_SCRATCH]) {\n",
               n->latent, n->config.classes ? "int label, " : "", n->example);
    export_put(t, "    net_decode_row(z, %s", n->config.classes ? "label, " : "");
    if (tabled) export_put(t, "(int8_t *)pixels + %d", 3 * n->example);     /* it grows to the whole of them */
    else export_put(t, both ? "scratch" : "pixels");
    if (room) {
        export_put(t, ", ");
        export_put_place(t, o, "scratch", both);
    }
    export_put(t, ");\n");
    if (!room && !both) export_put(t, "    (void)scratch;\n");
    if (tabled)
        export_put(t, "    net_spread(net_pixel_table, (int8_t *)pixels + %d, pixels, %d);\n", 3 * n->example,
                   n->example);
    else export_put_means(t, n, "scratch", "pixels");
    if (n->config.standardize)
        export_put(t, "    net_%s(pixels, net_center, net_scale, %d);\n", o->int8 ? "restore_each" : "restore",
                   n->example);
    export_put(t, "}\n");
    return room;
}

/* The mean's layers, in floats in any case, and the probabilities. */
static inline void export_put_classify(export_text *t, const exported_network *n, const export_options *o,
                                       int encoder_room) {
    const int    kept = export_altered(n), classes = n->classifier[n->classifiers - 1].outputs;
    char         from[32] = "mean";
    export_range none = { 0, 0 };
    int          room;
    export_put(t, "static inline void net_classify_mean(const float *mean, float *y, float *scratch) {\n");
    if (n->classifiers == 1) export_put(t, "    (void)scratch;\n");
    room = export_put_chain(t, n->classifier, NULL, n->classifiers, none, "classifier", NULL, 1, from);
    export_put(t, "    net_softmax(y, %d);\n}\n\n", classes);
    export_put_scratch(t, "CLASSIFY", kept + n->latent + (encoder_room > room ? encoder_room : room));
    export_put(t, "NET_CALL void net_classify(const float pixels[%d], float probabilities[%d],\n"
                  "                           float scratch[NET_CLASSIFY_SCRATCH]) {\n", n->example, classes);
    if (kept) export_put_altered(t, n, o, "scratch");
    export_put(t, "    net_encode_row(%s, scratch + %d, ", kept ? "scratch" : "pixels", kept);
    export_put_place(t, o, "scratch", kept + n->latent);
    export_put(t, ");\n    net_classify_mean(scratch + %d, probabilities, scratch + %d);\n}\n", kept, kept + n->latent);
}

/* The nats that pixel i of every row has: of the density's constant, sigma and the change of scale. */
static inline double export_pixel_nats(const exported_network *n, int i) {
    const vae_likelihood likelihood = n->config.likelihood;
    double               nats = 0;
    if (likelihood == VAE_GAUSSIAN || likelihood == VAE_GAUSSIAN_PREDICTED) nats = 0.91893853320467274178;
    if (likelihood == VAE_LAPLACE) nats = 0.69314718055994530942;
    if (likelihood == VAE_GAUSSIAN || likelihood == VAE_LAPLACE)
        nats += n->log_sigma ? (double)n->log_sigma[n->config.sigma_per_pixel ? i : 0] : log((double)n->config.sigma);
    return n->scale ? nats + log((double)n->scale[i]) : nats;
}

/* Whether pixels differ in that, and may be missing. */
static inline int export_needs_nats(const exported_network *n, const export_options *o) {
    return o->part == EXPORT_SCORE && o->score != VAE_SCORE_SQUARED_ERROR && n->config.missing &&
           (n->config.standardize || n->config.sigma_per_pixel);
}

/* The nats that every row has. */
static inline double export_constant_nats(const exported_network *n) {
    const vae_likelihood likelihood = n->config.likelihood;
    const int            has_sigma = likelihood == VAE_GAUSSIAN || likelihood == VAE_LAPLACE;
    double               each = 0, sum = 0;
    int                  i;
    if (likelihood == VAE_GAUSSIAN || likelihood == VAE_GAUSSIAN_PREDICTED) each = 0.91893853320467274178;
    if (likelihood == VAE_LAPLACE) each = 0.69314718055994530942;
    if (has_sigma && !n->config.sigma_per_pixel)
        each += n->log_sigma ? (double)n->log_sigma[0] : log((double)n->config.sigma);
    for (i = 0; i < n->example; i++) {
        if (has_sigma && n->config.sigma_per_pixel) sum += (double)n->log_sigma[i];
        if (n->scale) sum += log((double)n->scale[i]);
    }
    return n->example * each + sum;
}

/* What is missing shall add nothing to the nats of `y`. */
static inline void export_put_leave_out(export_text *t, const exported_network *n) {
    const int    channels = n->config.input.channels, pairs = n->outputs > 1;
    const double absent = n->config.likelihood == VAE_BERNOULLI ? -128
                          : n->config.likelihood == VAE_DISCRETIZED_LOGISTIC ? -10000 : 0;
    export_put(t, "    there = net_leave_out%s(pixels, y, %.1ff, ", pairs ? "_pairs" : "", absent);
    if (pairs) export_put(t, "%d, %d);\n", n->example / channels, channels);
    else export_put(t, "%d);\n", n->example);
}

static inline void export_put_nats(export_text *t, const exported_network *n, const export_options *o) {
    static const char *const sums[] = { "", "bernoulli", "gaussian", "laplace", "continuous_bernoulli", "predicted",
                                        "logistic" };
    const vae_likelihood likelihood = n->config.likelihood;
    const char          *name = sums[likelihood];
    const int            channels = n->config.input.channels;
    const float          sigma = (float)(n->log_sigma ? exp((double)n->log_sigma[0]) : (double)n->config.sigma);
    if (n->outputs > 1) export_put(t, "    score = net_%s(y, x, %d, %d)", name, n->example / channels, channels);
    else if (n->config.sigma_per_pixel)
        export_put(t, "    score = net_%ss(y, x, net_inverse_sigma, %d)", name, n->example);
    else export_put(t, "    score = net_sum(net_%s, y, x, %d)", name, n->example);
    if (!n->config.sigma_per_pixel && likelihood == VAE_GAUSSIAN)
        export_put(t, " * 0.5 * %.17g", (double)(1 / (sigma * sigma)));
    if (!n->config.sigma_per_pixel && likelihood == VAE_LAPLACE) export_put(t, " * %.17g", (double)(1 / sigma));
    if (export_needs_nats(n, o))
        export_put(t, " + net_nats_there(pixels, net_nats, %d);\n    (void)there;\n", n->example);
    else if (n->config.missing) export_put(t, " + there * %.17g;\n", export_pixel_nats(n, 0));
    else export_put(t, " + %.17g;\n", export_constant_nats(n));
}

static inline void export_put_score(export_text *t, const exported_network *n, const export_options *o,
                                    int encoder_room, int decoder_room) {
    const int   stands = n->config.standardize != 0, kept = export_altered(n), outputs = n->outputs * n->example;
    const int   heads = n->latent * (1 + n->has_logvar), squared = o->score == VAE_SCORE_SQUARED_ERROR;
    const int   means = squared && n->outputs > 1 ? n->example : 0;
    const int   decoding = outputs + (decoder_room > means ? decoder_room : means);
    const char *label = n->config.classes ? "label, " : "";
    export_put(t, "\n");
    export_put_scratch(t, "SCORE", kept + heads + (encoder_room > decoding ? encoder_room : decoding));
    export_put(t, "NET_CALL float net_score(const float pixels[%d], %sfloat scratch[NET_SCORE_SCRATCH]) {\n",
               n->example, n->config.classes ? "int label, " : "");
    if (kept) export_put(t, "    float *x = scratch;\n");
    else export_put(t, "    const float *x = pixels;\n");
    export_put(t, "    float *mean = scratch + %d;\n", kept);
    if (n->has_logvar) export_put(t, "    float *logvar = mean + %d;\n", n->latent);
    export_put(t, "    float *y = scratch + %d;\n    double score;\n", kept + heads);
    if (n->config.missing && !squared) export_put(t, "    int there;\n");
    if (kept) export_put_altered(t, n, o, "x");
    export_put(t, "    net_encode_row(x, %smean, %s", label, n->has_logvar ? "logvar, " : "");
    export_put_place(t, o, "y", 0);
    export_put(t, ");\n    net_decode_row(mean, %sy", label);
    if (decoder_room) {
        export_put(t, ", ");
        export_put_place(t, o, "y", outputs);
    }
    export_put(t, ");\n");
    if (squared) {
        char pixels[32] = "y";
        if (means) sprintf(pixels, "y + %d", outputs);
        export_put_means(t, n, "y", pixels);
        if (n->config.missing) export_put(t, "    net_leave_out(pixels, %s, 0.0f, %d);\n", pixels, n->example);
        export_put(t, "    score = net_squared_error(%s, x, %s, %d);\n", pixels, stands ? "net_scale" : "0",
                   n->example);
    } else {
        if (n->config.missing) export_put_leave_out(t, n);
        export_put_nats(t, n, o);
    }
    if (o->score == VAE_SCORE_ELBO && n->has_logvar)
        export_put(t, "    score += net_sum(net_kl, mean, logvar, %d) * 0.5;\n", n->latent);
    export_put(t, "    return (float)score;\n}\n");
}

/* ---- the file ---- */

static inline size_t export_weight_count(const exported_layer *l) {
    return l->weight ? (size_t)l->channels * (size_t)(l->depth + l->classes + (l->norm ? 4 : 1)) : 0;
}

static inline void export_write_layer(FILE *file, const char *name, const char *which, const exported_layer *l) {
    const size_t channels = (size_t)l->channels;
    char         array[64];
    sprintf(array, "%s_weight", which);
    export_write_floats(file, name, array, l->weight, channels * (size_t)l->depth);
    sprintf(array, "%s_bias", which);
    export_write_floats(file, name, array, l->bias, channels);
    sprintf(array, "%s_norm", which);
    export_write_floats(file, name, array, l->norm, 3 * channels);
    sprintf(array, "%s_labels", which);
    export_write_floats(file, name, array, l->labels, channels * (size_t)l->classes);
    export_write_geometry(file, name, which, l);
}

static inline size_t export_write_int8_layer(FILE *file, const char *name, const char *which,
                                             const export_int8_layer *m) {
    const exported_layer *l = m->from;
    const size_t          channels = (size_t)l->channels;
    char                  array[64];
    if (file) {
        export_write_whole(file, name, which, "weight", m->weight, NULL, channels * (size_t)l->depth);
        export_write_whole(file, name, which, "bias", NULL, m->bias, channels);
        export_write_whole(file, name, which, "multiplier", NULL, m->multiplier, channels);
        export_write_whole(file, name, which, "labels", NULL, m->labels, channels * (size_t)l->classes);
        export_write_whole(file, name, which, "table", m->table, NULL, 256);
        sprintf(array, "%s_factor", which);
        export_write_floats(file, name, array, m->factor, channels);
        export_write_geometry(file, name, which, l);
        fprintf(file, "static const %s_layer %s_%s_layer = {\n    %s_%s_weight, %s_%s_bias, ", name, name, which, name,
                which, name, which);
        if (m->factor) fprintf(file, "0, %s_%s_factor", name, which);
        else fprintf(file, "%s_%s_multiplier, 0", name, which);
        fprintf(file, ", %d, %d, %d, %d, %d\n};\n", m->layer.offset, m->layer.half, m->layer.shift, m->layer.zero,
                m->layer.low);
    }
    return channels * (size_t)(l->depth + 8 + 4 * l->classes) + (m->table ? 256 : 0);
}

/* One layer's constants, written where there is a file; their bytes. */
static inline size_t export_write_either(FILE *file, const export_options *o, const char *which,
                                         const exported_layer *l, const export_int8_layer *m) {
    if (o->int8) return export_write_int8_layer(file, o->name, which, m);
    if (file) export_write_layer(file, o->name, which, l);
    return export_weight_count(l) * sizeof(float);
}

/* Whether the score takes a sigma for each pixel. */
static inline int export_needs_sigmas(const exported_network *n, const export_options *o) {
    return o->part == EXPORT_SCORE && n->config.sigma_per_pixel && o->score != VAE_SCORE_SQUARED_ERROR;
}

/* The constants that the part has, written where there is a file; their bytes. */
static inline size_t export_write_constants(FILE *file, const exported_network *n, const export_options *o) {
    const int          encodes = export_encodes(o), decodes = export_decodes(o);
    const export_int8 *q = o->int8;
    const size_t       example = (size_t)n->example;
    const int          tabled = export_ends_in_table(n, o);
    size_t             bytes = 0;
    char               which[32];
    int                i;
    for (i = 0; encodes && i < n->encoders; i++) {
        sprintf(which, "encoder_%d", i);
        bytes += export_write_either(file, o, which, &n->encoder[i], q ? &q->encoder[i] : NULL);
    }
    if (encodes) bytes += export_write_either(file, o, "mean", &n->mean, q ? &q->mean : NULL);
    if (encodes && export_gives_logvar(n, o) && !n->config.shared_heads)
        bytes += export_write_either(file, o, "logvar", &n->logvar, q ? &q->logvar : NULL);
    for (i = 0; decodes && i < n->decoders; i++) {
        sprintf(which, "decoder_%d", i);
        bytes += export_write_either(file, o, which, &n->decoder[i],
                                     !q ? NULL : tabled && i + 1 == n->decoders ? &q->pixels : &q->decoder[i]);
    }
    for (i = 0; o->part == EXPORT_CLASSIFIER && i < n->classifiers; i++) {
        sprintf(which, "classifier_%d", i);
        if (file) export_write_layer(file, o->name, which, &n->classifier[i]);
        bytes += export_weight_count(&n->classifier[i]) * sizeof(float);
    }
    if (tabled) bytes += sizeof q->pixel_table;
    if (tabled && file) export_write_floats(file, o->name, "pixel_table", q->pixel_table, 256);
    if (n->center) bytes += 2 * example * sizeof(float);
    if (export_needs_sigmas(n, o)) bytes += example * sizeof(float);
    if (export_needs_nats(n, o)) bytes += example * sizeof(double);
    if (!file) return bytes;
    export_write_floats(file, o->name, "center", n->center, example);
    export_write_floats(file, o->name, "scale", n->scale, example);
    if (export_needs_sigmas(n, o)) export_write_floats(file, o->name, "inverse_sigma", n->inverse_sigma, example);
    if (export_needs_nats(n, o)) {
        fprintf(file, "static const double %s_nats[%d] = {\n", o->name, n->example);
        for (i = 0; i < n->example; i++) fprintf(file, "    %.17g,\n", export_pixel_nats(n, i));
        fprintf(file, "};\n");
    }
    return bytes;
}

/* What the numbers are, and what they lose. */
static inline void export_write_accuracy(FILE *file, const exported_network *n, const export_options *o) {
    const export_int8 *q = o->int8;
    const int          tabled = export_ends_in_table(n, o);
    if (!q) {
        fprintf(file, "   Numbers are floats, with the bits of vae.h's portable kernels (VAE_KERNELS_PORTABLE).\n");
        return;
    }
    fprintf(file,
            "   Between input and output numbers are int8. Against floats, on the %lu rows that gave the scales:\n",
            (unsigned long)q->rows);
    if (export_encodes(o))
        fprintf(file, "   z is off by %.3g %s (root mean square)", q->mean_error,
                n->has_logvar ? "of its standard deviations" : "");
    if (o->part == EXPORT_SCORE) fprintf(file, ",\n");
    if (export_decodes(o))
        fprintf(file, "   pixels are off by %.3g (root mean square), the reconstruction at z = mean loses %.3g nats",
                tabled ? q->table_error : q->pixel_error, (tabled ? q->table_nats : q->int8_nats) - q->float_nats);
    fprintf(file, ".\n");
}

/* gcc inlines a function into one that may fuse products with sums, and then fuses its own. */
static const char export_float_rules[] =
    "#if defined(__FAST_MATH__) || (defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ == 2)\n"
    "#error \"this file needs float arithmetic by the rules: no -ffast-math, and on x86 -msse2 -mfpmath=sse\"\n"
    "#endif\n"
    "#if defined(__clang__)\n"
    "#pragma STDC FP_CONTRACT OFF\n"
    "#elif defined(__GNUC__) && defined(__FP_FAST_FMAF)     /* products and sums are to round apart */\n"
    "#pragma GCC push_options\n"
    "#pragma GCC optimize(\"fp-contract=off\", \"no-tree-slp-vectorize\")     /* which fuses all the same */\n"
    "#define NET_CALL __attribute__((noinline, unused)) static\n"
    "#endif\n"
    "#if defined(__GNUC__)                                   /* the loop that takes the time stands by itself */\n"
    "#define NET_APART __attribute__((noinline, unused))\n"
    "#else\n"
    "#define NET_APART\n"
    "#endif\n"
    "#ifndef NET_CALL\n"
    "#define NET_CALL static inline\n"
    "#endif\n\n";
static const char export_float_end[] =
    "#undef NET_CALL\n"
    "#undef NET_APART\n"
    "#if defined(__clang__)\n"
    "#pragma STDC FP_CONTRACT DEFAULT\n"
    "#elif defined(__GNUC__) && defined(__FP_FAST_FMAF)\n"
    "#pragma GCC pop_options\n"
    "#endif\n\n";

/* Whether the model has what the options want. Returns 0, or -1 with a sentence: to be asked before a file is opened
   for writing, which empties it. */
static inline int export_check(const exported_network *n, const export_options *o, int int8, char *message) {
    const char *half = n->encoders ? "an encoder" : "a decoder", *part = n->encoders ? "encoder" : "decoder";
    if ((export_encodes(o) && !n->encoders) || (export_decodes(o) && !n->decoders))
        return fail(message, "%s holds only %s: it can be exported with --part %s", o->model, half, part);
    if (int8 && !(n->encoders && n->decoders))
        return fail(message, "%s holds only %s: --type int8 takes the whole model, as scales come from rows that go "
                    "through both halves", o->model, half);
    if (o->part == EXPORT_CLASSIFIER && !n->classifiers)
        return fail(message, "%s has no classifier: it was made without config.classifier", o->model);
    return 0;
}

/* A path in a comment, which nothing in it may end or begin. */
static inline void export_write_path(FILE *file, const char *path) {
    char before = ' ';
    for (; *path; before = *path++) {
        if ((before == '*' && *path == '/') || (before == '/' && *path == '*')) fputc(' ', file);
        fputc((unsigned char)*path < ' ' ? '?' : *path, file);
    }
}

/* Two files of one name would have functions of the same names; what they share would be there twice. */
static inline void export_write_guard(FILE *file, const export_options *o, const char *part) {
    const char *type = o->int8 ? "int8" : "float";
    export_text t = { NULL, 0, 0, 0 };
    char       *c, own[64];
    snprintf(own, sizeof own, "NET_%s_%s_H", part, type);
    for (c = own; *c; c++) *c = (char)toupper((unsigned char)*c);
    export_put(&t, "#ifndef %s\n#define %s\n\n#ifdef NET_H\n"
               "#error \"two exported files of one name: give each its own, or export --part score, which has both\"\n"
               "#else\n#define NET_H\n\n#include <stdint.h>\n\n", own, own);
    if (!t.failed) export_write_text(file, o->name, t.text, t.length);
    free(t.text);
}

/* Writes the file. Returns 0, or -1 with a sentence. */
static inline int export_write(FILE *file, const exported_network *n, const export_options *o, char *message) {
    static const char *const parts[] = { "", "decoder", "encoder", "score", "classifier" };
    export_text body = { NULL, 0, 0, 0 };
    int         needed[EXPORTED_PIECES], i, encoder_room = 0, decoder_room = 0;
    if (export_check(n, o, o->int8 != NULL, message) != 0) return -1;
    if (export_encodes(o)) encoder_room = export_put_encode(&body, n, o);
    if (export_decodes(o)) decoder_room = export_put_decode(&body, n, o);
    if (o->part == EXPORT_SCORE) export_put_score(&body, n, o, encoder_room, decoder_room);
    if (o->part == EXPORT_CLASSIFIER) export_put_classify(&body, n, o, encoder_room);
    if (body.failed) {
        free(body.text);
        return fail(message, "not enough memory");
    }
    export_find_pieces(body.text, needed);
    fprintf(file, "/* The %s of ", parts[o->part]);
    export_write_path(file, o->model);
    fprintf(file, ", written by export_c: C99 and C++ that calls nothing and keeps nothing.\n\n");
    export_write_accuracy(file, n, o);
    fprintf(file, "   Constants: %lu bytes.\n", (unsigned long)export_write_constants(NULL, n, o));
    fprintf(file,
            "   Compile: cc -std=c99 -Os, or for instance arm-none-eabi-gcc -std=c99 -Os -mthumb -mcpu=cortex-m4 "
            "-mfloat-abi=hard\n   -mfpu=fpv4-sp-d16. The calls stand at the end of the file; `scratch` is "
            "an array of yours.\n   Images have their channels last, whatever config.layout the model has elsewhere. "
            "*/\n");
    export_write_guard(file, o, parts[o->part]);
    export_write_text(file, o->name, export_float_rules, strlen(export_float_rules));
    for (i = 0; i < EXPORTED_PIECES; i++)
        if (needed[i]) export_write_piece(file, o->name, &exported_pieces[i]);
    fputs("\n", file);
    export_write_constants(file, n, o);
    fputs("\n", file);
    export_write_text(file, o->name, body.text, body.length);
    fputs("\n", file);
    export_write_text(file, o->name, export_float_end, strlen(export_float_end));
    fputs("#endif\n#endif\n", file);
    free(body.text);
    return 0;
}

#endif
