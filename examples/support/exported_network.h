/* exported_network.h - a model's network as export_c writes it: layers with their shapes and weights, channels last.

       exported_network network;
       char             message[MESSAGE_SIZE];
       if (exported_read(model, &network, message) != 0) return complain("program", message);
       ... network.decoder[0].weight ...
       exported_free(&network); */
#ifndef EXPORTED_NETWORK_H
#define EXPORTED_NETWORK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

typedef struct exported_layer {
    vae_layer layer;            /* the padding's amounts filled in */
    vae_shape in, out;
    int       inputs, outputs;  /* numbers */
    int       channels, depth;  /* outputs that have weights of their own, and how many weights each has */
    int       classes;          /* labels that it takes, 0: none */
    float    *weight;           /* [channels][depth]; of convolutions [kernel height][kernel width][in.channels] each */
    float    *bias;             /* [channels] */
    float    *norm;             /* [3][channels]: y = (x - mean) scale + bias; NULL: no batch normalisation */
    float    *labels;           /* [classes][channels], added to the sums */
} exported_layer;

typedef struct exported_network {
    vae_config     config;
    int            example, latent, outputs;    /* numbers in a row, in a z, for a pixel */
    int            encoders, decoders;
    exported_layer encoder[VAE_MAX_LAYERS], mean, logvar, decoder[VAE_MAX_LAYERS], classifier[VAE_MAX_LAYERS];
    int            classifiers;                 /* layers of the classifier, 0: there is none */
    int            has_logvar;
    float         *center, *scale;              /* of standardising, else NULL */
    float         *log_sigma, *inverse_sigma;   /* of each pixel; where all have one: of the first; else NULL */
} exported_network;

/* Where reading the tensors has come to. */
typedef struct exported_reader {
    const vae_model *model;
    size_t           next;
    char            *message;
} exported_reader;

/* Files have images channel after channel: where number k of a row that has channels last stands there. */
static inline size_t exported_place(vae_shape s, size_t k) {
    const size_t channels = (size_t)s.channels, positions = (size_t)s.height * (size_t)s.width;
    return k % channels * positions + k / channels;
}

static inline size_t exported_size(vae_shape s) { return (size_t)s.height * (size_t)s.width * (size_t)s.channels; }

/* A tensor's numbers; NULL with a sentence. */
static inline float *exported_tensor(const exported_reader *reader, const char *name, size_t count) {
    float    *values = (float *)malloc((count + 1) * sizeof *values);
    vae_error error;
    if (!values) fail(reader->message, "not enough memory for %s", name);
    else if (vae_get_tensor(reader->model, name, values, count, &error) != VAE_OK) {
        fail(reader->message, "%s", error.message);
        free(values);
        values = NULL;
    }
    return values;
}

/* The next tensor whose name begins so. */
static inline float *exported_next(exported_reader *reader, const char *part) {
    vae_tensor tensor;
    while (vae_tensor_at(reader->model, reader->next++, &tensor, NULL) == VAE_OK)
        if (strncmp(tensor.name, part, strlen(part)) == 0) return exported_tensor(reader, tensor.name, tensor.count);
    fail(reader->message, "the model has no tensor %s...", part);
    return NULL;
}

/* The same, `count` numbers of an image of this shape with its channels last. */
static inline float *exported_next_image(exported_reader *reader, const char *part, vae_shape shape) {
    float       *values = exported_next(reader, part), *turned = NULL;
    const size_t count = exported_size(shape);
    size_t       k;
    if (values) turned = (float *)malloc((count + 1) * sizeof *turned);
    for (k = 0; turned && k < count; k++) turned[k] = values[exported_place(shape, k)];
    free(values);
    return turned;
}

/* The shape of a layer's output, and the padding's amounts. */
static inline int exported_extent(int transposed, vae_padding rule, int size, int kernel, int stride,
                                  int output_padding, int *before, int *after) {
    const int out = transposed ? size * stride : (size + stride - 1) / stride;
    const int total = transposed ? kernel - stride : (out - 1) * stride + kernel - size;
    if (rule == VAE_EXPLICIT) return transposed ? (size - 1) * stride - *before - *after + kernel + output_padding
                                                : (size + *before + *after - kernel) / stride + 1;
    *before = total > 0 ? total / 2 : 0;
    *after = total > 0 ? total - total / 2 : 0;
    return out;
}

static inline void exported_outline(exported_layer *l, const vae_layer *layer, vae_shape in) {
    const int transposed = layer->kind == VAE_LAYER_CONV_TRANSPOSED;
    memset(l, 0, sizeof *l);
    l->layer = *layer;
    l->in = in;
    l->out = layer->shape;
    l->inputs = (int)exported_size(in);
    l->depth = l->inputs;
    if (layer->kind != VAE_LAYER_DENSE) {
        l->out.height =
            exported_extent(transposed, layer->padding, in.height, layer->kernel_height, layer->stride_height,
                            layer->output_padding_height, &l->layer.top, &l->layer.bottom);
        l->out.width = exported_extent(transposed, layer->padding, in.width, layer->kernel_width, layer->stride_width,
                                       layer->output_padding_width, &l->layer.left, &l->layer.right);
        l->depth = layer->kernel_height * layer->kernel_width * in.channels;
    }
    l->outputs = (int)exported_size(l->out);
    l->channels = layer->kind == VAE_LAYER_DENSE ? l->outputs : l->out.channels;
}

/* The k-th of a transposed kernel's taps on one axis as they are stored. An output meets every stride-th of them, and
   the inputs before each other meet later taps: so those that go together stand together, the last one first. */
static inline size_t exported_tap(int transposed, size_t kernel, size_t stride, size_t k) {
    size_t phase, taps;
    if (!transposed) return k;
    for (phase = 0;; phase++) {
        taps = kernel > phase ? (kernel - phase + stride - 1) / stride : 0;
        if (k < taps) return phase + (taps - 1 - k) * stride;
        k -= taps;
    }
}

/* Weight `i` of output channel `o` in the file's tensor. A tied layer has the encoder's, which is transposed. */
static inline size_t exported_weight_place(const exported_layer *l, size_t o, size_t i, int tied, size_t row) {
    const size_t width = (size_t)l->layer.kernel_width, kernel = (size_t)l->layer.kernel_height * width;
    const size_t in = (size_t)l->in.channels;
    const int    transposed = l->layer.kind == VAE_LAYER_CONV_TRANSPOSED;
    size_t       tap;
    if (l->layer.kind == VAE_LAYER_DENSE) {
        const size_t from = exported_place(l->in, i), to = exported_place(l->out, o);
        return tied ? from * row + to : to * row + from;
    }
    tap = exported_tap(transposed, (size_t)l->layer.kernel_height, (size_t)l->layer.stride_height, i / in / width);
    tap = tap * width +
          exported_tap(transposed, width, (size_t)l->layer.stride_width, i / in % width);
    if (!transposed && !tied) return (o * in + i % in) * kernel + tap;
    return (i % in * (size_t)l->out.channels + o) * kernel + tap;       /* both convolutions have [in][out] there */
}

static inline int exported_take_weight(exported_layer *l, float *values, int tied, size_t row) {
    const size_t channels = (size_t)l->channels, depth = (size_t)l->depth, classes = (size_t)l->classes;
    size_t       o, i;
    l->weight = (float *)malloc((channels * depth + 1) * sizeof(float));
    l->labels = classes ? (float *)malloc((classes * channels + 1) * sizeof(float)) : NULL;
    if (!values || !l->weight || (classes && !l->labels)) return -1;
    for (o = 0; o < channels; o++)
        for (i = 0; i < depth; i++) l->weight[o * depth + i] = values[exported_weight_place(l, o, i, tied, row)];
    for (i = 0; i < classes; i++)
        for (o = 0; o < channels; o++)
            l->labels[i * channels + o] = values[exported_place(l->out, o) * row + depth + i];
    return 0;
}

/* The running averages as one multiplication and two sums, in the library's own steps. */
static inline int exported_take_norm(exported_layer *l, exported_reader *reader, const char *part, vae_shape shape) {
    const size_t channels = (size_t)l->channels;
    float       *from[4] = { NULL, NULL, NULL, NULL };      /* weight, bias, mean, variance */
    size_t       c;
    int          k, made;
    for (k = 0; k < 4; k++) from[k] = exported_next_image(reader, part, shape);
    l->norm = (float *)malloc(3 * channels * sizeof(float));
    made = l->norm && from[0] && from[1] && from[2] && from[3];
    for (c = 0; made && c < channels; c++) {
        l->norm[c] = from[2][c];
        l->norm[channels + c] = (float)((double)from[0][c] / sqrt((double)from[3][c] + 1e-5));
        l->norm[2 * channels + c] = from[1][c];
        if (isfinite(l->norm[channels + c])) continue;
        fail(reader->message, "a weight of %s's batch normalisation is too large for its variance", part);
        made = 0;
    }
    for (k = 0; k < 4; k++) free(from[k]);
    return made ? 0 : -1;
}

/* A layer's tensors, in the order in which the model lists them. */
static inline int exported_take_layer(exported_layer *l, exported_reader *reader, const char *part) {
    const vae_shape shape = l->layer.kind == VAE_LAYER_DENSE ? l->out : (vae_shape){ 1, 1, l->channels };
    float          *values = NULL;
    int             failed = 0;
    if (!l->weight) {
        values = exported_next(reader, part);
        failed = exported_take_weight(l, values, 0, (size_t)(l->depth + l->classes));
        free(values);
    }
    if (!failed) failed = !(l->bias = exported_next_image(reader, part, shape));
    if (!failed && l->layer.batch_norm) failed = exported_take_norm(l, reader, part, shape);
    return failed ? -1 : 0;
}

/* The weights that layer `i` of a tied decoder shares with an earlier layer: the i-th from the last, mean's
   included. */
static inline int exported_tie(exported_network *n, const exported_reader *reader, int i) {
    char                  name[32];
    const exported_layer *other = i == 0 ? &n->mean : &n->encoder[n->encoders - i];
    const size_t          row = (size_t)(other->depth + other->classes);
    vae_tensor            tensor;
    size_t                k;
    int                   weights = 0, failed;
    float                *values;
    snprintf(name, sizeof name, "mean.weight");
    for (k = 0; i > 0 && vae_tensor_at(reader->model, k, &tensor, NULL) == VAE_OK; k++)
        if (strncmp(tensor.name, "encoder.", 8) == 0 && tensor.rank > 1 && ++weights == n->encoders - i + 1)
            snprintf(name, sizeof name, "%s", tensor.name);
    values = exported_tensor(reader, name, (size_t)other->channels * row);
    failed = exported_take_weight(&n->decoder[i], values, 1, row);
    free(values);
    return failed;
}

static inline void exported_free_layer(exported_layer *l) {
    free(l->weight);
    free(l->bias);
    free(l->norm);
    free(l->labels);
}

static inline void exported_free(exported_network *n) {
    int i;
    for (i = 0; i < VAE_MAX_LAYERS; i++) {
        exported_free_layer(&n->encoder[i]);
        exported_free_layer(&n->decoder[i]);
        exported_free_layer(&n->classifier[i]);
    }
    exported_free_layer(&n->mean);
    exported_free_layer(&n->logvar);
    free(n->center);
    free(n->scale);
    free(n->log_sigma);
    free(n->inverse_sigma);
    memset(n, 0, sizeof *n);
}

static inline int exported_read_encoder(exported_reader *reader, exported_network *n) {
    const vae_config *c = &n->config;
    const vae_layer   head = VAE_DENSE_INITIALIZER(c->latent, VAE_LINEAR);
    vae_shape         shape = c->input;
    int               labelled = 0;
    for (; n->encoders < VAE_MAX_LAYERS && c->encoder[n->encoders].kind; n->encoders++) {
        exported_layer *l = &n->encoder[n->encoders];
        exported_outline(l, &c->encoder[n->encoders], shape);
        if (!labelled && l->layer.kind == VAE_LAYER_DENSE) l->classes = labelled = c->classes;
        if (exported_take_layer(l, reader, "encoder.") != 0) return -1;
        shape = l->out;
    }
    exported_outline(&n->mean, &head, shape);
    n->mean.classes = labelled ? 0 : c->classes;
    if (exported_take_layer(&n->mean, reader, "mean.") != 0) return -1;
    n->has_logvar = c->objective != VAE_OBJECTIVE_AUTOENCODER;
    if (n->has_logvar) {
        if (c->shared_heads) reader->next -= 2;
        exported_outline(&n->logvar, &head, shape);
        n->logvar.classes = n->mean.classes;
        if (exported_take_layer(&n->logvar, reader, c->shared_heads ? "mean." : "logvar.") != 0) return -1;
    }
    return 0;
}

/* A decoder alone has the weights that it shared with the encoder as its own. */
static inline int exported_read_decoder(exported_reader *reader, exported_network *n) {
    const vae_config *c = &n->config;
    const int         tied = c->tied && c->part != VAE_DECODER_ONLY;
    vae_shape         shape = { 1, 1, 0 };
    shape.channels = c->latent;
    for (; n->decoders < VAE_MAX_LAYERS && c->decoder[n->decoders].kind; n->decoders++) {
        exported_layer *l = &n->decoder[n->decoders];
        exported_outline(l, &c->decoder[n->decoders], shape);
        if (n->decoders == 0) l->classes = c->classes;
        if (tied && exported_tie(n, reader, n->decoders) != 0) return -1;
        if (exported_take_layer(l, reader, "decoder.") != 0) return -1;
        shape = l->out;
    }
    return 0;
}

static inline int exported_read_classifier(exported_network *n, const vae_model *model, char *message) {
    exported_reader reader = { model, 0, message };
    vae_shape       shape = { 1, 1, 0 };
    shape.channels = n->latent;
    for (; n->classifiers < VAE_MAX_LAYERS && n->config.classifier[n->classifiers].kind; n->classifiers++) {
        exported_layer *l = &n->classifier[n->classifiers];
        exported_outline(l, &n->config.classifier[n->classifiers], shape);
        if (exported_take_layer(l, &reader, "classifier.") != 0) return -1;
        shape = l->out;
    }
    return 0;
}

/* Reads the network of a model, which may be one half of it: then encoders or decoders is 0. Returns 0, or -1 with a
   sentence. */
static inline int exported_read(const vae_model *model, exported_network *n, char *message) {
    exported_reader reader = { model, 0, message };
    vae_shape       one = { 1, 1, 1 };
    int             failed, encodes, decodes;
    memset(n, 0, sizeof *n);
    fail(message, "not enough memory");
    vae_get_config(model, &n->config);
    n->example = (int)exported_size(n->config.input);
    n->latent = n->config.latent;
    encodes = n->config.part != VAE_DECODER_ONLY;
    decodes = n->config.part != VAE_ENCODER_ONLY;
    failed = (encodes && exported_read_encoder(&reader, n) != 0) ||
             (decodes && exported_read_decoder(&reader, n) != 0) ||
             (encodes && exported_read_classifier(n, model, message) != 0);
    if (!failed && decodes && (n->config.likelihood == VAE_GAUSSIAN || n->config.likelihood == VAE_LAPLACE) &&
        n->config.sigma == 0)
        failed = !(n->log_sigma = exported_next_image(&reader, "log_sigma",
                                                      n->config.sigma_per_pixel ? n->config.input : one));
    if (n->log_sigma) {
        const int sigmas = n->config.sigma_per_pixel ? n->example : 1;
        int       i;
        failed = !(n->inverse_sigma = (float *)malloc((size_t)sigmas * sizeof(float)));
        for (i = 0; !failed && i < sigmas; i++) n->inverse_sigma[i] = (float)exp(-(double)n->log_sigma[i]);
    }
    if (!failed && n->config.standardize)
        failed = !(n->center = exported_next_image(&reader, "standardize.mean", n->config.input)) ||
                 !(n->scale = exported_next_image(&reader, "standardize.scale", n->config.input));
    n->outputs = 1;
    if (!failed && decodes) n->outputs = n->decoder[n->decoders - 1].outputs / n->example;
    if (failed) exported_free(n);
    return failed ? -1 : 0;
}

#endif
