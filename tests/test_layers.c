/* Layers and whole networks against loops that follow their definitions, for every set of kernels. The network below is
   written from PyTorch's formulas, channels first and in double, and shares nothing with the library. */
#define VAE_PLAIN             /* that set too */
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "config_of.h"

#include <stdlib.h>
#include "test.h"
#include "model.h"

enum { MOST_LAYERS = 2 * VAE_MAX_LAYERS + 2, MOST_KERNELS = VAE_KERNELS_NEON + 1, MOST_WORK = 60000 };

static vae_real *random_reals(test_random *random, size_t count, double low, double high) {
    vae_real *values = (vae_real *)malloc((count + 1) * sizeof *values);
    size_t    i;
    for (i = 0; i < count; i++) values[i] = (vae_real)test_uniform(random, low, high);
    return values;
}

static size_t size_of(vae_shape s) { return (size_t)s.height * (size_t)s.width * (size_t)s.channels; }

/* ---- shapes, by the rules of the public header ---- */

/* One axis: the output's extent and the padding before, or 0 where the layer does not fit. */
static int conv_axis(vae_padding rule, int size, int kernel, int stride, int *before, int after) {
    const int out = rule == VAE_SAME ? (size - 1) / stride + 1 : (size + *before + after - kernel + stride) / stride;
    const int missing = (out - 1) * stride + kernel - size;
    if (rule == VAE_SAME) *before = missing > 0 ? missing / 2 : 0;
    else if (size + *before + after < kernel) return 0;
    return out;
}

static int transposed_axis(vae_padding rule, int size, int kernel, int stride, int *before, int after, int added) {
    if (rule == VAE_SAME) {
        *before = kernel > stride ? (kernel - stride) / 2 : 0;
        return size * stride;
    }
    size = (size - 1) * stride - *before - after + kernel + added;
    return size > 0 ? size : 0;
}

/* ---- a network in plain loops ---- */

typedef struct naive_layer {
    vae_layer_kind kind;
    vae_activation activation;
    vae_shape      in, out;
    int            kernel_height, kernel_width, stride_height, stride_width, top, left;
    size_t         weights, biases;
    double        *weight, *bias, *d_weight, *d_bias;       /* in PyTorch's order */
    double        *input, *before, *output, *d_output;      /* of one example, channels first */
} naive_layer;

typedef struct naive_network {      /* encoder, mean, logvar, decoder: the order of the model's tensors */
    naive_layer layers[MOST_LAYERS];
    int         count, mean;        /* mean: its index; logvar is the next, the decoder begins after that */
    double      nearest_kink;       /* the smallest |input| of a ReLU so far, relative to the layer's largest */
} naive_network;

/* The layer's shapes; 0 where they do not fit. */
static int naive_describe(naive_layer *layer, const vae_layer *from, vae_shape in) {
    memset(layer, 0, sizeof *layer);
    layer->kind = from->kind;
    layer->activation = from->activation;
    layer->in = in;
    layer->out = from->shape;
    layer->weights = size_of(in) * size_of(layer->out);
    layer->biases = size_of(layer->out);
    if (from->kind == VAE_LAYER_DENSE) return 1;
    layer->kernel_height = from->kernel_height;
    layer->kernel_width = from->kernel_width;
    layer->stride_height = from->stride_height;
    layer->stride_width = from->stride_width;
    layer->top = from->top;
    layer->left = from->left;
    if (from->kind == VAE_LAYER_CONV) {
        layer->out.height = conv_axis(from->padding, in.height, from->kernel_height, from->stride_height, &layer->top,
                                      from->bottom);
        layer->out.width = conv_axis(from->padding, in.width, from->kernel_width, from->stride_width, &layer->left,
                                     from->right);
    } else {
        layer->out.height = transposed_axis(from->padding, in.height, from->kernel_height, from->stride_height,
                                            &layer->top, from->bottom, from->output_padding_height);
        layer->out.width = transposed_axis(from->padding, in.width, from->kernel_width, from->stride_width,
                                           &layer->left, from->right, from->output_padding_width);
    }
    layer->biases = (size_t)from->shape.channels;
    layer->weights = (size_t)(in.channels * from->shape.channels * from->kernel_height * from->kernel_width);
    return layer->out.height > 0 && layer->out.width > 0;
}

static double *zeros(size_t count) { return (double *)calloc(count + 1, sizeof(double)); }

static naive_layer *naive_add(naive_network *network, const vae_layer *from, vae_shape in) {
    naive_layer *layer = &network->layers[network->count++];
    CHECK(naive_describe(layer, from, in));
    layer->weight = zeros(layer->weights);
    layer->d_weight = zeros(layer->weights);
    layer->bias = zeros(layer->biases);
    layer->d_bias = zeros(layer->biases);
    layer->before = zeros(size_of(layer->out));
    layer->output = zeros(size_of(layer->out));
    layer->d_output = zeros(size_of(layer->out));
    return layer;
}

static void naive_fetch(const vae_model *model, size_t index, double *values, size_t count, int gradient) {
    vae_real  *reals = (vae_real *)malloc((count + 1) * sizeof *reals);
    vae_tensor tensor;
    size_t     i;
    CHECK(vae_tensor_at(model, index, &tensor, NULL) == VAE_OK);
    CHECK((gradient ? vae_get_gradient : vae_get_tensor)(model, tensor.name, reals, count, NULL) == VAE_OK);
    for (i = 0; i < count; i++) values[i] = (double)reals[i];
    free(reals);
}

static naive_network *naive_make(const vae_model *model) {
    const vae_config filled_config = config_of(model), *config = &filled_config;
    naive_network    *network = (naive_network *)calloc(1, sizeof *network);
    vae_layer         head = VAE_DENSE(0, VAE_LINEAR);
    vae_shape         shape = config->input, z = { 1, 1, 0 };
    int               i;
    z.channels = head.shape.channels = config->latent;
    network->nearest_kink = 1;
    for (i = 0; i < VAE_MAX_LAYERS && config->encoder[i].kind; i++)
        shape = naive_add(network, &config->encoder[i], shape)->out;
    network->mean = network->count;
    naive_add(network, &head, shape);
    naive_add(network, &head, shape);
    for (i = 0, shape = z; i < VAE_MAX_LAYERS && config->decoder[i].kind; i++)
        shape = naive_add(network, &config->decoder[i], shape)->out;
    CHECK(size_of(shape) == size_of(config->input));
    CHECK(vae_tensor_count(model) == 2 * (size_t)network->count);
    for (i = 0; i < network->count; i++) {
        naive_fetch(model, 2 * (size_t)i, network->layers[i].weight, network->layers[i].weights, 0);
        naive_fetch(model, 2 * (size_t)i + 1, network->layers[i].bias, network->layers[i].biases, 0);
    }
    return network;
}

static void naive_free(naive_network *network) {
    int i;
    for (i = 0; i < network->count; i++) {
        naive_layer *l = &network->layers[i];
        free(l->weight), free(l->bias), free(l->d_weight), free(l->d_bias);
        free(l->before), free(l->output), free(l->d_output);
    }
    free(network);
}

/* f(x) and f'(x) */
static double activation(vae_activation f, double x, double *slope) {
    const double s = 1 / (1 + exp(-x)), cdf = 0.5 * erfc(-x * sqrt(0.5)), t = tanh(x);
    switch (f) {
    case VAE_RELU: *slope = x > 0; return x > 0 ? x : 0;
    case VAE_LEAKY_RELU: *slope = x > 0 ? 1 : 0.01; return x > 0 ? x : 0.01 * x;
    case VAE_SILU: *slope = s + x * s * (1 - s); return x * s;
    case VAE_GELU: *slope = cdf + x * exp(-x * x / 2) * 0.3989422804014327; return x * cdf;
    case VAE_TANH: *slope = 1 - t * t; return t;
    case VAE_SIGMOID: *slope = s * (1 - s); return s;
    case VAE_SOFTPLUS: *slope = s; return log1p(exp(-fabs(x))) + (x > 0 ? x : 0);
    default: *slope = 1; return x;
    }
}

/* Calls `meet` for every weight that joins an input number to an output number. */
typedef void (*naive_meet)(naive_layer *layer, size_t in, size_t out, size_t weight, double *d_input);

static void naive_meetings(naive_layer *l, naive_meet meet, double *d_input) {
    const int transposed = l->kind == VAE_LAYER_CONV_TRANSPOSED;
    const vae_shape big = transposed ? l->out : l->in, small = transposed ? l->in : l->out;
    int i, o, y, x, ky, kx;
    if (l->kind == VAE_LAYER_DENSE) {
        const size_t ins = size_of(l->in);
        size_t       a, b;
        for (b = 0; b < size_of(l->out); b++)
            for (a = 0; a < ins; a++) meet(l, a, b, b * ins + a, d_input);
        return;
    }
    for (i = 0; i < l->in.channels; i++)
        for (o = 0; o < l->out.channels; o++)
            for (ky = 0; ky < l->kernel_height; ky++)
                for (kx = 0; kx < l->kernel_width; kx++)
                    for (y = 0; y < small.height; y++)
                        for (x = 0; x < small.width; x++) {
                            const int    by = y * l->stride_height + ky - l->top;
                            const int    bx = x * l->stride_width + kx - l->left;
                            const int    first = transposed ? i * l->out.channels + o : o * l->in.channels + i;
                            const int    small_channel = transposed ? i : o, big_channel = transposed ? o : i;
                            const size_t w = (size_t)((first * l->kernel_height + ky) * l->kernel_width + kx);
                            size_t       in_big, in_small;
                            if (by < 0 || bx < 0 || by >= big.height || bx >= big.width) continue;
                            in_big = (size_t)((big_channel * big.height + by) * big.width + bx);
                            in_small = (size_t)((small_channel * small.height + y) * small.width + x);
                            meet(l, transposed ? in_small : in_big, transposed ? in_big : in_small, w, d_input);
                        }
}

static void meet_forward(naive_layer *l, size_t in, size_t out, size_t weight, double *d_input) {
    (void)d_input;
    l->before[out] += l->input[in] * l->weight[weight];
}

static void meet_backward(naive_layer *l, size_t in, size_t out, size_t weight, double *d_input) {
    l->d_weight[weight] += l->input[in] * l->d_output[out];
    if (d_input) d_input[in] += l->weight[weight] * l->d_output[out];
}

static double *naive_forward(naive_network *network, naive_layer *l, double *input) {
    const size_t size = size_of(l->out), each = size / l->biases;
    double       slope, largest = 1e-30, nearest = 1e30;
    size_t       i;
    l->input = input;
    for (i = 0; i < size; i++) l->before[i] = l->bias[i / each];
    naive_meetings(l, meet_forward, NULL);
    for (i = 0; i < size; i++) {
        l->output[i] = activation(l->activation, l->before[i], &slope);
        largest = fmax(largest, fabs(l->before[i]));
        if (l->before[i] != 0) nearest = fmin(nearest, fabs(l->before[i]));     /* an exact 0 is one in float too */
    }
    if (l->activation == VAE_RELU || l->activation == VAE_LEAKY_RELU)
        network->nearest_kink = fmin(network->nearest_kink, nearest / largest);
    return l->output;
}

/* l->d_output is complete; adds to d_weight, d_bias and d_input (which may be NULL). */
static void naive_backward(naive_layer *l, double *d_input) {
    const size_t size = size_of(l->out), each = size / l->biases;
    double       slope;
    size_t       i;
    for (i = 0; i < size; i++) {
        activation(l->activation, l->before[i], &slope);
        l->d_output[i] *= slope;
        l->d_bias[i / each] += l->d_output[i];
    }
    naive_meetings(l, meet_backward, d_input);
    memset(l->d_output, 0, size * sizeof *l->d_output);
}

static void naive_encode(naive_network *network, double *image) {
    int i;
    for (i = 0; i < network->mean; i++) image = naive_forward(network, &network->layers[i], image);
    naive_forward(network, &network->layers[network->mean], image);
    naive_forward(network, &network->layers[network->mean + 1], image);
}

/* Returns the logits. */
static double *naive_decode(naive_network *network, double *z) {
    int i;
    for (i = network->mean + 2; i < network->count; i++) z = naive_forward(network, &network->layers[i], z);
    return z;
}

/* Loss and gradients, times scale, of one image. */
static vae_terms naive_train(naive_network *network, const vae_config *config, double *image, const vae_real *noise,
                             double scale) {
    const int     latent = config->latent, last = network->count - 1;
    const double  beta = config->beta == VAE_ZERO ? 0 : (double)config->beta, sigma = (double)config->sigma;
    double       *z = zeros((size_t)latent), *d_z = zeros((size_t)latent), *logits;
    naive_layer  *mean = &network->layers[network->mean], *logvar = mean + 1;
    vae_terms     terms = { 0 };
    size_t        p;
    int           i;
    naive_encode(network, image);
    for (i = 0; i < latent; i++) {
        const double m = mean->output[i], v = logvar->output[i];
        CHECK(v > -20 && v < 10);
        z[i] = m + exp(v / 2) * (double)noise[i];
        terms.kl += (m * m + exp(v) - 1 - v) / 2;
    }
    logits = naive_decode(network, z);
    for (p = 0; p < size_of(config->input); p++) {
        const double l = logits[p], x = image[p];
        if (config->likelihood == VAE_BERNOULLI) {
            terms.reconstruction += fmax(l, 0) - l * x + log1p(exp(-fabs(l)));
            network->layers[last].d_output[p] = scale * (1 / (1 + exp(-l)) - x);
        } else {
            terms.reconstruction += (x - l) * (x - l) / (2 * sigma * sigma) + log(sigma) + 0.9189385332046727;
            network->layers[last].d_output[p] = scale * (l - x) / (sigma * sigma);
        }
    }
    terms.elbo = -(terms.reconstruction + terms.kl);
    terms.loss = terms.reconstruction + beta * terms.kl;
    for (i = last; i > network->mean + 2; i--) naive_backward(&network->layers[i], network->layers[i - 1].d_output);
    naive_backward(&network->layers[network->mean + 2], d_z);
    for (i = 0; i < latent; i++) {
        const double v = logvar->output[i];
        mean->d_output[i] = d_z[i] + scale * beta * mean->output[i];
        logvar->d_output[i] = d_z[i] * (double)noise[i] * exp(v / 2) / 2 + scale * beta * (exp(v) - 1) / 2;
    }
    naive_backward(logvar, mean[-1].d_output);
    naive_backward(mean, mean[-1].d_output);
    for (i = network->mean - 1; i >= 0; i--)
        naive_backward(&network->layers[i], i ? network->layers[i - 1].d_output : NULL);
    free(z);
    free(d_z);
    return terms;
}

/* A row of the caller's pixels (channels last, or first) as an image, channels first. */
static void to_image(const vae_config *config, const vae_real *row, double *image) {
    const size_t channels = (size_t)config->input.channels, positions = size_of(config->input) / channels;
    size_t       p, c;
    for (c = 0; c < channels; c++)
        for (p = 0; p < positions; p++)
            image[c * positions + p] =
                (double)row[config->layout == VAE_CHANNELS_FIRST ? c * positions + p : p * channels + c];
}

/* ---- random networks ---- */

static int random_extent(test_random *random, int most) {
    return test_integer(random, 1, test_integer(random, 0, 3) ? most : 2);
}

static vae_layer random_convolution(test_random *random) {
    vae_layer layer = VAE_CONV(1, 1, 1, VAE_LINEAR);
    layer.kind = test_integer(random, 0, 2) ? VAE_LAYER_CONV : VAE_LAYER_CONV_TRANSPOSED;
    layer.shape.channels = test_integer(random, 0, 7) ? random_extent(random, 9) : test_integer(random, 15, 50);
    layer.kernel_height = layer.kernel_width = test_integer(random, 1, 5);
    layer.stride_height = layer.stride_width = test_integer(random, 1, test_integer(random, 2, 4));
    if (!test_integer(random, 0, 2)) layer.kernel_width = test_integer(random, 1, 5);
    if (!test_integer(random, 0, 2)) layer.stride_width = test_integer(random, 1, 4);
    layer.activation = (vae_activation)test_integer(random, VAE_LINEAR, VAE_SOFTPLUS);
    if (test_integer(random, 0, 1)) {
        layer.padding = VAE_EXPLICIT;
        layer.top = test_integer(random, 0, 3);
        layer.bottom = test_integer(random, 0, 3);
        layer.left = test_integer(random, 0, 3);
        layer.right = test_integer(random, 0, 3);
        if (layer.kind == VAE_LAYER_CONV_TRANSPOSED) {
            layer.output_padding_height = test_integer(random, 0, layer.stride_height - 1);
            layer.output_padding_width = test_integer(random, 0, layer.stride_width - 1);
        }
    }
    return layer;
}

static vae_layer random_layer(test_random *random) {
    vae_layer shaped = VAE_DENSE_SHAPED(1, 1, 1, VAE_LINEAR);
    if (test_integer(random, 0, 2)) return random_convolution(random);
    shaped.activation = (vae_activation)test_integer(random, VAE_LINEAR, VAE_SOFTPLUS);
    if (test_integer(random, 0, 1)) {
        shaped.shape.channels = test_integer(random, 1, 40);
        return shaped;
    }
    shaped.shape.height = test_integer(random, 1, 5);
    shaped.shape.width = test_integer(random, 1, 5);
    shaped.shape.channels = test_integer(random, 1, 6);
    return shaped;
}

/* A kernel along a side of 1 and none along the other one. */
static int misses_the_series(const naive_layer *l) {
    const int tall = l->kernel_height > 1 || l->stride_height > 1, wide = l->kernel_width > 1 || l->stride_width > 1;
    if (l->kind == VAE_LAYER_DENSE || tall == wide) return 0;
    if (wide) return l->in.width == 1 && l->out.width == 1 && l->in.height > 1;
    return l->in.height == 1 && l->out.height == 1 && l->in.width > 1;
}

/* Whether the layers fit each other and are small; *work grows by their multiplications for one example. */
static int fits(const vae_layer *layers, vae_shape *shape, double *work) {
    for (; layers->kind && *work < MOST_WORK; layers++) {
        naive_layer layer;
        int         positions = 1;
        if (!naive_describe(&layer, layers, *shape) || misses_the_series(&layer)) return 0;
        if (layers->kind == VAE_LAYER_CONV) positions = layer.out.height * layer.out.width;
        if (layers->kind == VAE_LAYER_CONV_TRANSPOSED) positions = layer.in.height * layer.in.width;
        *work += (double)layer.weights * positions;
        *shape = layer.out;
    }
    return *work < MOST_WORK;
}

static void random_decoder(test_random *random, vae_config *config) {
    vae_layer last = VAE_CONV(1, 1, 1, VAE_LINEAR), shaped = VAE_DENSE_SHAPED(1, 1, 1, VAE_LINEAR);
    int       i, count = test_integer(random, 0, 2);
    for (i = 0; i < count; i++) config->decoder[i] = random_layer(random);
    shaped.shape = config->input;
    if (test_integer(random, 0, 1)) {       /* the image from a dense layer, after whatever came before */
        if (test_integer(random, 0, 1)) {
            shaped.shape.height = shaped.shape.width = 1;
            shaped.shape.channels = (int)size_of(config->input);
        }
        config->decoder[i] = shaped;
        return;
    }
    shaped.shape.channels = test_integer(random, 1, 5);
    shaped.activation = (vae_activation)test_integer(random, VAE_LINEAR, VAE_SOFTPLUS);
    config->decoder[i] = shaped;
    last.kernel_height = test_integer(random, 1, 4);
    last.kernel_width = test_integer(random, 1, 4);
    last.shape.channels = config->input.channels;
    if (test_integer(random, 0, 1)) last.kind = VAE_LAYER_CONV_TRANSPOSED;
    config->decoder[i + 1] = last;
}

/* One that the rules allow; what they refuse, the library must refuse too, and nothing else. */
static vae_config random_network(test_random *random) {
    for (;;) {
        vae_config config, filled;
        vae_shape  shape, z = { 1, 1, 1 };
        double     work = 0;
        size_t     bytes;
        int        i, layers = test_integer(random, 1, 4), good;
        memset(&config, 0, sizeof config);
        shape.height = random_extent(random, 13);
        shape.width = random_extent(random, 13);
        shape.channels = test_integer(random, 1, 4);
        config.input = shape;
        config.latent = z.channels = test_integer(random, 1, 9);
        for (i = 0; i < layers; i++) config.encoder[i] = random_layer(random);
        if (test_integer(random, 0, 1)) random_decoder(random, &config);
        config.likelihood = test_integer(random, 0, 1) ? VAE_BERNOULLI : VAE_GAUSSIAN;
        if (config.likelihood == VAE_GAUSSIAN) {        /* the last activation is free */
            int last = 0;
            config.sigma = (vae_real)test_uniform(random, 0.5, 1.5);
            while (last + 1 < VAE_MAX_LAYERS && config.decoder[last + 1].kind) last++;
            if (config.decoder[0].kind)
                config.decoder[last].activation = (vae_activation)test_integer(random, VAE_LINEAR, VAE_SOFTPLUS);
        }
        config.beta = test_integer(random, 0, 4) ? (vae_real)test_uniform(random, 0.1, 4) : VAE_ZERO;
        config.layout = test_integer(random, 0, 3) ? VAE_CHANNELS_LAST : VAE_CHANNELS_FIRST;
        config.initialization = (vae_initialization)test_integer(random, VAE_INIT_PYTORCH, VAE_INIT_HE);
        config.seed = test_bits(random);
        config.threads = 1;
        good = fits(config.encoder, &shape, &work) && fits(config.decoder, &z, &work);
        if (work >= MOST_WORK) continue;
        CHECK(vae_memory_needed(&config, &bytes, NULL) == (good ? VAE_OK : VAE_ERROR_CONFIG));
        if (!good || vae_defaults(&config, &filled, NULL) != VAE_OK) continue;
        z.height = z.width = 1;
        z.channels = config.latent;
        if (config.decoder[0].kind || fits(filled.decoder, &z, &work)) return config;
    }
}

/* ---- whole networks ---- */

/* Relative to the largest of the array. */
static int near(const vae_real *actual, const double *expected, size_t count, double least_scale, double tolerance) {
    double scale = least_scale, error = 0;
    size_t i;
    for (i = 0; i < count; i++) scale = fmax(scale, fabs(expected[i]));
    for (i = 0; i < count; i++) {
        const double off = fabs((double)actual[i] - expected[i]) / scale;
        if (!(off <= error)) error = off;
    }
    return error <= tolerance;
}

static const char *const kind_names[] = { "end", "dense", "conv", "transposed" };

static void print_layers(const char *part, const vae_layer *l) {
    for (; l->kind; l++)
        printf("      %s %s %dx%dx%d kernel %dx%d stride %dx%d padding %d: %d %d %d %d + %d %d activation %d\n", part,
               kind_names[l->kind], l->shape.height, l->shape.width, l->shape.channels, l->kernel_height,
               l->kernel_width,
               l->stride_height, l->stride_width, (int)l->padding, l->top, l->bottom, l->left, l->right,
               l->output_padding_height, l->output_padding_width, (int)l->activation);
}

static void print_network(const vae_model *model, size_t count) {
    const vae_config filled_c = config_of(model), *c = &filled_c;
    if (test_state.failures > TEST_SHOWN_FAILURES) return;
    printf("    kernels %s, batch %zu of %zu, micro-batch %zu, chunk %zu, input %dx%dx%d, latent %d, layout %d:\n",
           vae_kernels_name(c->kernels), count, c->batch, model->plan.micro, model->plan.chunk, c->input.height,
           c->input.width, c->input.channels, c->latent, (int)c->layout);
    print_layers("encoder", c->encoder);
    print_layers("decoder", c->decoder);
}

/* The borders of images were zeroed once and are never written. */
static int border_is_zero(const vae_model *model, const vaei_image *image, vaei_place place) {
    const size_t      line = (size_t)image->width * (size_t)image->channels;
    const vae_real   *memory = vaei_slot_rows(model, place, 0, 0, 0);
    const size_t      count = place.in_slot ? model->plan.micro : model->plan.batch;
    size_t            n, i;
    for (n = 0; n < count; n++, memory += image->image)
        for (i = 0; i < image->image; i++) {
            const size_t row = i / image->row, first = image->origin % image->row, top = image->origin / image->row;
            const int    inside = row >= top && row < top + (size_t)image->height && i % image->row >= first &&
                               i % image->row < first + line;
            if (!inside && memory[i] != 0) return 0;
        }
    return 1;
}

static void check_borders(const vae_model *model) {
    int i;
    for (i = 0; i < model->plan.layer_count; i++) {
        const vaei_layer *layer = &model->plan.layers[i];
        const vaei_connection *c = layer->connection;
        if (!c) continue;
        CHECK(border_is_zero(model, &c->input, layer->places.input));
        CHECK(border_is_zero(model, &c->output, layer->places.output));
        if (model->plan.trains) CHECK(border_is_zero(model, &c->output_gradient, layer->places.output_gradient));
    }
}

static void check_inference(vae_model *model, naive_network *network, const vae_data *data) {
    const vae_config filled_config = config_of(model), *config = &filled_config;
    const size_t      latent = (size_t)config->latent, size = vae_example_size(model), n = data->count;
    vae_real         *mean = (vae_real *)malloc(n * latent * sizeof *mean);
    vae_real         *one = (vae_real *)malloc(latent * sizeof *one);
    vae_real         *logvar = (vae_real *)malloc(n * latent * sizeof *mean);
    vae_real         *decoded = (vae_real *)malloc(n * size * sizeof *mean);
    double           *image = zeros(size), *expected = zeros(n * (2 * latent + size)), *z = zeros(latent);
    double           *means = expected, *logvars = expected + n * latent, *pixels = expected + 2 * n * latent;
    size_t            i, p;
    CHECK(vae_encode(model, data, mean, logvar, NULL) == VAE_OK);
    CHECK(vae_reconstruct(model, data, decoded, NULL) == VAE_OK);
    for (i = 0; i < n; i++) {
        const size_t channels = (size_t)config->input.channels, positions = size / channels;
        double      *logits;
        to_image(config, data->pixels + i * size, image);
        naive_encode(network, image);
        memcpy(means + i * latent, network->layers[network->mean].output, latent * sizeof(double));
        memcpy(logvars + i * latent, network->layers[network->mean + 1].output, latent * sizeof(double));
        memcpy(z, means + i * latent, latent * sizeof(double));
        logits = naive_decode(network, z);
        for (p = 0; p < size; p++)
            pixels[i * size + (config->layout == VAE_CHANNELS_FIRST ? p : p % positions * channels + p / positions)] =
                config->likelihood == VAE_BERNOULLI ? 1 / (1 + exp(-logits[p])) : logits[p];
    }
    if (!CHECK(near(mean, means, n * latent, 0.1, 1e-5))) print_network(model, n);
    if (!CHECK(near(logvar, logvars, n * latent, 0.1, 1e-5))) print_network(model, n);
    if (!CHECK(near(decoded, pixels, n * size, 0.1, 1e-5))) print_network(model, n);
    for (i = 0; i < n; i++) {               /* a row alone */
        vae_data row = { .count = 1 };
        row.pixels = data->pixels + i * size;
        CHECK(vae_encode(model, &row, one, NULL, NULL) == VAE_OK);
        if (!CHECK(near(one, means + i * latent, latent, 0.1, 1e-5))) print_network(model, 1);
    }
    free(mean), free(logvar), free(decoded), free(one), free(image), free(expected), free(z);
}

/* Loss and gradients of a batch, from this model and from the loops. */
static void check_gradients(vae_model *model, naive_network *network, const vae_data *data, int *kinks) {
    const vae_config filled_config = config_of(model), *config = &filled_config;
    const size_t      size = vae_example_size(model), n = data->count, latent = (size_t)config->latent;
    double           *image = zeros(size), scale = 1e-3;
    vae_terms         terms, expected = { 0 };
    size_t            i, k;
    CHECK(vae_accumulate_gradients(model, data, NULL, &terms, NULL) == VAE_OK);
    network->nearest_kink = 1;
    for (i = 0; i < (size_t)network->count; i++) {
        memset(network->layers[i].d_weight, 0, network->layers[i].weights * sizeof(double));
        memset(network->layers[i].d_bias, 0, network->layers[i].biases * sizeof(double));
    }
    for (i = 0; i < n; i++) {
        vae_terms row;
        to_image(config, data->pixels + i * size, image);
        row = naive_train(network, config, image, vaei_row(model, model->plan.noise, i, latent), 1 / (double)n);
        expected.reconstruction += row.reconstruction / (double)n;
        expected.kl += row.kl / (double)n;
        expected.elbo += row.elbo / (double)n;
        expected.loss += row.loss / (double)n;
    }
    CHECK_NEAR(terms.reconstruction, expected.reconstruction, 1e-5 * (1 + fabs(expected.reconstruction)));
    CHECK_NEAR(terms.kl, expected.kl, 1e-5 * (1 + expected.kl));
    CHECK_NEAR(terms.elbo, expected.elbo, 1e-5 * (1 + fabs(expected.elbo)));
    CHECK_NEAR(terms.loss, expected.loss, 1e-5 * (1 + fabs(expected.loss)));
    if (network->nearest_kink < 1e-6) ++*kinks;     /* float and double may disagree on which side a ReLU is */
    else {
        for (i = 0; i < (size_t)network->count; i++)
            for (k = 0; k < network->layers[i].biases; k++)
                scale = fmax(scale, 0.03 * fabs(network->layers[i].d_bias[k]));
        for (i = 0; i < 2 * (size_t)network->count; i++) {
            const naive_layer *layer = &network->layers[i / 2];
            const size_t       count = i % 2 ? layer->biases : layer->weights;
            vae_real          *gradient = (vae_real *)malloc(count * sizeof *gradient);
            vae_tensor         tensor;
            CHECK(vae_tensor_at(model, i, &tensor, NULL) == VAE_OK && tensor.count == count);
            CHECK(vae_get_gradient(model, tensor.name, gradient, count, NULL) == VAE_OK);
            if (!CHECK(near(gradient, i % 2 ? layer->d_bias : layer->d_weight, count, scale, 2e-5))) {
                printf("    gradient of %s\n", tensor.name);
                print_network(model, n);
            }
            free(gradient);
        }
    }
    check_borders(model);
    free(image);
}

/* Smaller micro-batches and chunks than the plan's: its tables and places hold more. */
static void shrink_micro_batches(test_random *random, vae_model *model) {
    if (!test_integer(random, 0, 1)) return;
    model->plan.micro = (size_t)test_integer(random, 1, (int)model->plan.micro);
    model->plan.chunk = model->plan.micro * (size_t)test_integer(random, 1, 3);
}

/* This network with every set of kernels, on the same batches: of the config's size, or a few rows. */
static void check_network(const vae_config *network, test_random *random, int *kinks) {
    static const int  equals[MOST_KERNELS] = { -1, -1, VAE_KERNELS_PLAIN, -1, VAE_KERNELS_AVX2, -1 };
    const int         rows = test_integer(random, 0, 5) ? test_integer(random, 1, 9) : test_integer(random, 33, 40);
    const size_t      batch = network->batch ? network->batch : (size_t)rows;
    const size_t      counts[2] = { (size_t)test_integer(random, 1, (int)batch), batch };
    const test_random state = *random;
    const size_t      size = size_of(network->input);
    vae_real         *pixels = random_reals(random, batch * size, 0, 1), *gradients[MOST_KERNELS] = { NULL };
    size_t            parameters = 0, which;
    int               kernels;
    for (kernels = VAE_KERNELS_PLAIN; kernels < MOST_KERNELS; kernels++) {
        vae_config     config = *network;
        vae_model     *model = NULL;
        naive_network *naive;
        vae_error      error = { VAE_OK, "" };
        if (!vae_kernels_available((vae_kernels)kernels)) continue;
        config.kernels = (vae_kernels)kernels;
        config.batch = batch;
        if (!CHECK(vae_create(&config, &model, &error) == VAE_OK)) {
            printf("    %s\n", error.message);
            continue;
        }
        *random = state;
        shrink_micro_batches(random, model);
        naive = naive_make(model);
        parameters = vae_parameter_count(model);
        for (which = 0; which < 2; which++) {
            vae_data data = { 0 };
            data.pixels = pixels;
            data.count = counts[which];
            vae_clear_gradients(model);
            check_gradients(model, naive, &data, kinks);
            if (!which) check_inference(model, naive, &data);
        }
        gradients[kernels] = (vae_real *)malloc(parameters * sizeof(vae_real));
        memcpy(gradients[kernels], vae_gradients(model), parameters * sizeof(vae_real));
        if (equals[kernels] >= 0 && gradients[equals[kernels]])
            if (!CHECK(!memcmp(gradients[kernels], gradients[equals[kernels]], parameters * sizeof(vae_real)))) {
                printf("    not the bits of %s\n", vae_kernels_name((vae_kernels)equals[kernels]));
                print_network(model, batch);
            }
        naive_free(naive);
        vae_destroy(model);
    }
    for (kernels = 0; kernels < MOST_KERNELS; kernels++) free(gradients[kernels]);
    free(pixels);
}

TEST(test_random_networks) {
    test_random random = { 1 };
    int         i, kinks = 0;
    for (i = 0; i < test_cases(200); i++) {
        const vae_config config = random_network(&random);
        check_network(&config, &random, &kinks);
    }
    CHECK(kinks < 10);                      /* of a thousand comparisons or more */
}

/* The orders of layers and the ends that a network can have, and shapes that fill the kernels' tiles. */
TEST(test_chosen_networks) {
    static const vae_config networks[] = {
        /* convolutions after a dense layer, and again */
        { .input = { 6, 5, 2 }, .latent = 3,
          .encoder = { VAE_DENSE_SHAPED_INITIALIZER(3, 4, 2, VAE_SILU), VAE_CONV_INITIALIZER(5, 3, 1, VAE_GELU),
                       VAE_DENSE_SHAPED_INITIALIZER(2, 2, 3, VAE_TANH),
                       VAE_DENSE_INITIALIZER(20, VAE_RELU), VAE_CONV_INITIALIZER(4, 1, 1, VAE_SOFTPLUS),
                       VAE_CONV_INITIALIZER(3, 2, 1, VAE_LINEAR) } },
        /* dense layers after convolutions in the decoder, which ends dense */
        { .input = { 4, 3, 3 }, .latent = 2, .likelihood = VAE_GAUSSIAN, .sigma = 1,
          .encoder = { VAE_DENSE_INITIALIZER(5, VAE_TANH) },
          .decoder = { VAE_DENSE_SHAPED_INITIALIZER(2, 3, 4, VAE_GELU),
                       VAE_CONV_TRANSPOSED_INITIALIZER(5, 3, 2, VAE_SILU), VAE_CONV_INITIALIZER(3, 3, 1, VAE_RELU),
                       VAE_DENSE_INITIALIZER(7, VAE_SIGMOID), VAE_DENSE_INITIALIZER(36, VAE_LINEAR) } },
        /* the decoder begins with a convolution of z */
        { .input = { 4, 4, 1 }, .latent = 6, .encoder = { VAE_CONV_INITIALIZER(3, 3, 2, VAE_RELU) },
          .decoder = { VAE_CONV_TRANSPOSED_SYMMETRIC_INITIALIZER(7, 4, 1, 0, 0, VAE_LEAKY_RELU),
                       VAE_CONV_INITIALIZER(1, 3, 1, VAE_LINEAR) } },
        /* a transposed convolution in the encoder */
        { .input = { 3, 5, 1 }, .latent = 2,
          .encoder = { VAE_CONV_TRANSPOSED_INITIALIZER(4, 3, 2, VAE_SOFTPLUS),
                       VAE_CONV_INITIALIZER(6, 4, 3, VAE_TANH) } },
        /* a kernel larger than the image, a stride larger than image and kernel */
        { .input = { 2, 3, 2 }, .latent = 2,
          .encoder = { VAE_CONV_INITIALIZER(3, 5, 1, VAE_SILU), VAE_CONV_INITIALIZER(4, 2, 4, VAE_GELU) } },
        { .input = { 1, 1, 1 }, .latent = 1, .encoder = { VAE_CONV_INITIALIZER(1, 1, 1, VAE_LINEAR) } },
        { .input = { 1, 1, 1 }, .latent = 1, .encoder = { VAE_DENSE_INITIALIZER(1, VAE_LINEAR) } },
        /* series */
        { .input = { 1, 29, 1 }, .latent = 2,
          .encoder = { VAE_CONV_1D_INITIALIZER(4, 5, 2, VAE_RELU), VAE_CONV_1D_INITIALIZER(8, 3, 3, VAE_SILU) } },
        { .input = { 1, 13, 4 }, .latent = 2,
          .encoder = { VAE_CONV_1D_INITIALIZER(20, 4, 4, VAE_SIGMOID), VAE_DENSE_INITIALIZER(9, VAE_GELU) } },
        /* one column */
        { .input = { 17, 1, 3 }, .latent = 2,
          .encoder = { VAE_CONV_INITIALIZER(5, 3, 2, VAE_TANH), VAE_CONV_INITIALIZER(6, 3, 2, VAE_TANH) } },
        /* widths about the tiles of the matrix product */
        { .input = { 5, 5, 16 }, .latent = 48,
          .encoder = { VAE_CONV_INITIALIZER(16, 3, 1, VAE_RELU), VAE_CONV_INITIALIZER(33, 3, 2, VAE_RELU) } },
        { .input = { 4, 4, 49 }, .latent = 5,
          .encoder = { VAE_CONV_INITIALIZER(97, 1, 1, VAE_SILU), VAE_DENSE_INITIALIZER(49, VAE_RELU) } },
        { .input = { 1, 100, 1 }, .latent = 17,
          .encoder = { VAE_DENSE_INITIALIZER(193, VAE_RELU), VAE_DENSE_INITIALIZER(31, VAE_LEAKY_RELU) } },
        /* a stride that never meets some taps and some of the image */
        { .input = { 9, 8, 2 }, .latent = 2,
          .encoder = { { VAE_LAYER_CONV, { 0, 0, 4 }, 2, 1, 4, 3, VAE_EXPLICIT, 0, 3, 2, 0, 0, 0, VAE_SILU, 0, 0 },
                       { VAE_LAYER_CONV, { 0, 0, 3 }, 3, 3, 2, 2, VAE_EXPLICIT, 3, 0, 0, 3, 0, 0, VAE_GELU, 0, 0 } } },
        /* more padding than kernel: borders that give the bias alone; and much cropping of the mirror image */
        { .input = { 3, 4, 1 }, .latent = 2,
          .encoder = { { VAE_LAYER_CONV, { 0, 0, 4 }, 2, 2, 1, 1, VAE_EXPLICIT, 3, 4, 5, 2, 0, 0, VAE_SIGMOID, 0,
                         0 } } }
    };
    test_random random = { 2 };
    size_t      i;
    int         kinks = 0, repeat;
    for (i = 0; i < sizeof networks / sizeof *networks; i++)
        for (repeat = 0; repeat < test_cases(3); repeat++) {
            vae_config config = networks[i];
            config.threads = 1;
            config.seed = i;
            check_network(&config, &random, &kinks);
        }
    CHECK(kinks < 10);
}

/* Several micro-batches as the plan has them; products that are cut into blocks and whose operands are packed. */
TEST(test_larger_networks) {
    static const vae_config networks[] = {
        { .input = { 40, 40, 1 }, .latent = 2, .batch = 36,
          .encoder = { VAE_CONV_INITIALIZER(8, 3, 1, VAE_SILU), VAE_CONV_INITIALIZER(4, 3, 4, VAE_GELU) } },
        { .input = { 6, 6, 48 }, .latent = 2, .batch = 9, .likelihood = VAE_GAUSSIAN, .sigma = 1,
          .encoder = { VAE_CONV_INITIALIZER(130, 3, 1, VAE_RELU) } },
        /* rows of weight gradients that lie side by side in groups which tiles do not divide */
        { .input = { 7, 7, 16 }, .latent = 2, .batch = 7, .encoder = { VAE_CONV_INITIALIZER(130, 5, 2, VAE_SILU) } },
        { .input = { 7, 6, 22 }, .latent = 2, .batch = 7, .encoder = { VAE_CONV_INITIALIZER(128, 5, 3, VAE_TANH) } },
        { .input = { 1, 420, 1 }, .latent = 3, .batch = 260, .encoder = { VAE_DENSE_INITIALIZER(130, VAE_SILU) } }
    };
    test_random random = { 6 };
    int         i, kinks = 0;
    for (i = 0; i < test_cases(sizeof networks / sizeof *networks); i++) {
        vae_config config = networks[i];
        config.threads = 1;
        check_network(&config, &random, &kinks);
    }
    CHECK(kinks == 0);
}

/* ---- the same network in other ways ---- */

/* Channels first is the same as channels last once the pixels are in their places: the same bits. */
TEST(test_layouts) {
    enum { ROWS = 11 };
    test_random random = { 3 };
    int         i;
    for (i = 0; i < test_cases(30); i++) {
        vae_config   config = random_network(&random);
        const size_t channels = (size_t)config.input.channels, size = size_of(config.input);
        const size_t positions = size / channels;
        const size_t latent = (size_t)config.latent;
        vae_real    *last = random_reals(&random, ROWS * size, 0, 1), *first = random_reals(&random, ROWS * size, 0, 1);
        vae_real    *means[2], *decoded[2];
        vae_model   *models[2];
        vae_terms    terms[2];
        size_t       row, p, c;
        int          m;
        config.batch = ROWS;
        for (row = 0; row < ROWS; row++)
            for (p = 0; p < positions; p++)
                for (c = 0; c < channels; c++)
                    first[row * size + c * positions + p] = last[row * size + p * channels + c];
        for (m = 0; m < 2; m++) {
            vae_data data = { .count = ROWS };
            data.pixels = m ? first : last;
            config.layout = m ? VAE_CHANNELS_FIRST : VAE_CHANNELS_LAST;
            models[m] = make(&config);
            means[m] = (vae_real *)malloc(ROWS * latent * sizeof(vae_real));
            decoded[m] = (vae_real *)malloc(ROWS * size * sizeof(vae_real));
            CHECK(vae_encode(models[m], &data, means[m], NULL, NULL) == VAE_OK);
            CHECK(vae_reconstruct(models[m], &data, decoded[m], NULL) == VAE_OK);
            CHECK(vae_accumulate_gradients(models[m], &data, NULL, &terms[m], NULL) == VAE_OK);
        }
        CHECK(!memcmp(means[0], means[1], ROWS * latent * sizeof(vae_real)));
        CHECK(terms[0].loss == terms[1].loss);
        CHECK(!memcmp(vae_gradients(models[0]), vae_gradients(models[1]),
                      vae_parameter_count(models[0]) * sizeof(vae_real)));
        for (row = 0; row < ROWS; row++)
            for (p = 0; p < positions; p++)
                for (c = 0; c < channels; c++)      /* other places in a vector of the sigmoid: to a few units */
                    CHECK_NEAR(decoded[1][row * size + c * positions + p], decoded[0][row * size + p * channels + c],
                               1e-6 * (1 + fabs((double)decoded[0][row * size + p * channels + c])));
        for (m = 0; m < 2; m++) {
            vae_destroy(models[m]);
            free(means[m]), free(decoded[m]);
        }
        free(first), free(last);
    }
}

/* A model that keeps no gradients lays its memory out otherwise, and gives the same bits. */
TEST(test_inference_only) {
    enum { ROWS = 9 };
    test_random random = { 4 };
    int         i;
    for (i = 0; i < test_cases(40); i++) {
        vae_config   config = random_network(&random);
        const size_t size = size_of(config.input), latent = (size_t)config.latent;
        vae_real    *pixels = random_reals(&random, ROWS * size, 0, 1), *results[2];
        vae_data     data = { .count = ROWS };
        vae_model   *models[2];
        vae_terms    terms[2];
        int          m;
        data.pixels = pixels;
        config.batch = (size_t)test_integer(&random, 1, ROWS + 1);
        for (m = 0; m < 2; m++) {
            config.inference_only = m;
            models[m] = make(&config);
            results[m] = (vae_real *)malloc(ROWS * (2 * latent + size) * sizeof(vae_real));
            CHECK(vae_encode(models[m], &data, results[m], results[m] + ROWS * latent, NULL) == VAE_OK);
            CHECK(vae_reconstruct(models[m], &data, results[m] + 2 * ROWS * latent, NULL) == VAE_OK);
            CHECK(vae_elbo(models[m], &data, &terms[m], NULL, NULL) == VAE_OK);
            check_borders(models[m]);
        }
        CHECK(!memcmp(results[0], results[1], ROWS * (2 * latent + size) * sizeof(vae_real)));
        CHECK(terms[0].elbo == terms[1].elbo);
        for (m = 0; m < 2; m++) {
            vae_destroy(models[m]);
            free(results[m]);
        }
        free(pixels);
    }
}

/* ---- shapes ---- */

/* Reads the shape off the mirror image: its first layer gives what the encoder ends with. */
static void check_shape(vae_layer layer, int height, int width, int expected_height, int expected_width) {
    vae_config config, filled;
    vae_error  error = { VAE_OK, "" };
    size_t     bytes;
    memset(&config, 0, sizeof config);
    config.input.height = height;
    config.input.width = width;
    config.input.channels = 2;
    config.latent = 1;
    config.encoder[0] = layer;
    if (!expected_height) {
        CHECK(vae_defaults(&config, &filled, &error) == VAE_ERROR_CONFIG);
        CHECK_CONTAINS(error.message, "encoder layer 1");
        return;
    }
    if (!CHECK(vae_defaults(&config, &filled, &error) == VAE_OK)) printf("    %s\n", error.message);
    else {
        CHECK_NEAR(filled.decoder[0].shape.height, expected_height, 0);
        CHECK_NEAR(filled.decoder[0].shape.width, expected_width, 0);
        CHECK(filled.decoder[0].shape.channels == layer.shape.channels);
        /* the mirror image ends with the input's shape */
        CHECK(vae_memory_needed(&config, &bytes, NULL) == VAE_OK);
    }
}

TEST(test_shapes) {
    enum { SAME = 1000 };
    static const struct { int size, kernel, stride, before, after, expected; } convs[] = {
        /* TensorFlow's SAME: ceil(size / stride) */
        { 28, 3, 1, SAME, 0, 28 }, { 28, 3, 2, SAME, 0, 14 }, { 7, 3, 2, SAME, 0, 4 }, { 7, 5, 3, SAME, 0, 3 },
        { 6, 1, 4, SAME, 0, 2 }, { 1, 5, 4, SAME, 0, 1 }, { 2, 5, 1, SAME, 0, 2 }, { 9, 2, 4, SAME, 0, 3 },
        { 8, 4, 2, SAME, 0, 4 },
        /* PyTorch's Conv2d */
        { 28, 3, 2, 1, 1, 14 }, { 28, 4, 2, 1, 1, 14 }, { 28, 5, 1, 0, 0, 24 }, { 7, 3, 2, 0, 0, 3 },
        { 8, 3, 2, 0, 0, 3 },
        { 8, 3, 3, 1, 1, 3 }, { 5, 5, 1, 0, 0, 1 }, { 3, 5, 2, 1, 1, 1 }, { 2, 1, 4, 0, 0, 1 }, { 3, 5, 1, 0, 1, 0 },
        { 1, 2, 1, 0, 0, 0 },
        /* uneven */
        { 28, 3, 2, 0, 1, 14 }, { 4, 3, 1, 3, 0, 5 }, { 2, 2, 3, 0, 4, 2 }
    };
    static const struct { int size, kernel, stride, before, after, added, expected; } transposed[] = {
        { 7, 3, 2, SAME, 0, 0, 14 }, { 7, 5, 1, SAME, 0, 0, 7 }, { 4, 2, 4, SAME, 0, 0, 16 },
        { 1, 1, 3, SAME, 0, 0, 3 },
        /* PyTorch's ConvTranspose2d */
        { 7, 4, 2, 1, 1, 0, 14 }, { 7, 3, 2, 1, 1, 1, 14 }, { 7, 3, 2, 1, 1, 0, 13 }, { 4, 5, 1, 0, 0, 0, 8 },
        { 3, 2, 4, 0, 0, 3, 13 },
        { 1, 3, 2, 1, 1, 0, 1 }, { 1, 2, 2, 1, 1, 0, 0 }, { 2, 1, 1, 2, 0, 0, 0 }, { 3, 3, 2, 2, 0, 1, 6 }
    };
    size_t i, k;
    for (i = 0; i < sizeof convs / sizeof *convs; i++)
        for (k = 0; k < sizeof convs / sizeof *convs; k++) {        /* one rule for the height, another for the width */
            const int same = convs[i].before == SAME;
            vae_layer layer = VAE_CONV(3, 1, 1, VAE_RELU);
            if (same != (convs[k].before == SAME)) continue;
            layer.kernel_height = convs[i].kernel, layer.kernel_width = convs[k].kernel;
            layer.stride_height = convs[i].stride, layer.stride_width = convs[k].stride;
            layer.padding = same ? VAE_SAME : VAE_EXPLICIT;
            layer.top = same ? 0 : convs[i].before, layer.bottom = convs[i].after;
            layer.left = same ? 0 : convs[k].before, layer.right = convs[k].after;
            check_shape(layer, convs[i].size, convs[k].size, convs[k].expected ? convs[i].expected : 0,
                        convs[k].expected);
        }
    for (i = 0; i < sizeof transposed / sizeof *transposed; i++)
        for (k = 0; k < sizeof transposed / sizeof *transposed; k++) {
            const int same = transposed[i].before == SAME;
            vae_layer layer = VAE_CONV_TRANSPOSED(3, 1, 1, VAE_RELU);
            if (same != (transposed[k].before == SAME)) continue;
            layer.kernel_height = transposed[i].kernel, layer.kernel_width = transposed[k].kernel;
            layer.stride_height = transposed[i].stride, layer.stride_width = transposed[k].stride;
            layer.padding = same ? VAE_SAME : VAE_EXPLICIT;
            layer.top = same ? 0 : transposed[i].before, layer.bottom = transposed[i].after;
            layer.left = same ? 0 : transposed[k].before, layer.right = transposed[k].after;
            layer.output_padding_height = transposed[i].added, layer.output_padding_width = transposed[k].added;
            check_shape(layer, transposed[i].size, transposed[k].size,
                        transposed[k].expected ? transposed[i].expected : 0,
                        transposed[k].expected);
        }
}

/* ---- the last stage, fused and not ---- */

static vae_model *make_unfused(const vae_config *config) {
    vaei_source source;
    vae_model  *model = NULL;
    CHECK(vaei_source_of(config, &source, NULL) == VAE_OK);
    source.unfused = 1;
    CHECK(vaei_make_allocated(&source, &config->allocator, &model, NULL) == VAE_OK);
    return model;
}

/* The likelihood meets each micro-batch as it comes, or the whole batch: the same bits. */
TEST(test_unfused) {
    static const vae_activation last[] = { VAE_LINEAR, VAE_SIGMOID, VAE_GELU, VAE_RELU };
    enum { ROWS = 61, SIZE = 11 * 9 * 2 };
    test_random random = { 8 };
    vae_real   *pixels = random_reals(&random, ROWS * SIZE, 0, 1);
    int         i, kernels;
    for (i = 0; i < 8; i++)
        for (kernels = VAE_KERNELS_PLAIN; kernels < MOST_KERNELS; kernels++) {
            vae_config config;
            vae_model *models[2];
            vae_terms  terms[2], each[2][ROWS];
            vae_real   decoded[2][SIZE];
            vae_data   data = { .count = ROWS }, one = { .count = 1 };
            double     log_p[2];
            int        m, step;
            if (!vae_kernels_available((vae_kernels)kernels)) continue;
            memset(&config, 0, sizeof config);
            config.input.height = 11;
            config.input.width = 9;
            config.input.channels = 2;
            config.latent = 3;
            config.threads = 1;
            config.batch = ROWS;
            config.kernels = (vae_kernels)kernels;
            config.likelihood = i < 4 ? VAE_GAUSSIAN : VAE_BERNOULLI;
            if (i < 4) config.sigma = (vae_real)0.7;
            config.encoder[0] = VAE_CONV(5, 3, 2, VAE_SILU);
            config.decoder[0] = VAE_DENSE_SHAPED(6, 5, 4, VAE_RELU);
            config.decoder[1] = VAE_CONV_TRANSPOSED_SYMMETRIC(5, 3, 2, 1, 0, VAE_TANH);
            config.decoder[2] = VAE_CONV(2, 3, 1, VAE_LINEAR);
            config.decoder[2].activation = last[i < 4 ? i : 0];
            data.pixels = one.pixels = pixels;
            models[0] = make(&config);
            models[1] = make_unfused(&config);
            CHECK(models[0]->plan.fused && !models[1]->plan.fused && models[0]->plan.micro < ROWS);
            for (m = 0; m < 2; m++) {
                for (step = 0; step < 3; step++) CHECK(vae_train_step(models[m], &data, &terms[m], NULL) == VAE_OK);
                CHECK(vae_accumulate_gradients(models[m], &data, NULL, NULL, NULL) == VAE_OK);
                CHECK(vae_elbo(models[m], &data, NULL, each[m], NULL) == VAE_OK);
                CHECK(vae_log_likelihood(models[m], &one, 9, &log_p[m], NULL, NULL) == VAE_OK);
                CHECK(vae_reconstruct(models[m], &one, decoded[m], NULL) == VAE_OK);
            }
            CHECK(!memcmp(&terms[0], &terms[1], sizeof terms[0]) && !memcmp(each[0], each[1], sizeof each[0]));
            CHECK(log_p[0] == log_p[1] && !memcmp(decoded[0], decoded[1], sizeof decoded[0]));
            CHECK(!memcmp(vae_parameters(models[0]), vae_parameters(models[1]),
                          vae_parameter_count(models[0]) * sizeof(vae_real)));
            CHECK(!memcmp(models[0]->gradients, models[1]->gradients,
                          vae_parameter_count(models[0]) * sizeof(vae_real)));
            vae_destroy(models[0]);
            vae_destroy(models[1]);
        }
    free(pixels);
}

/* ---- a connection's three products ---- */

/* Images inside borders: zeros, or `mark` everywhere for a target. */
static vae_real *bordered(const vaei_image *image, vae_shape shape, size_t n, const vae_real *flat, vae_real mark) {
    const vaei_image from = vaei_flat_image(shape);
    vae_real        *made = (vae_real *)malloc(n * image->image * sizeof *made);
    size_t           i;
    for (i = 0; i < n * image->image; i++) made[i] = mark;
    if (flat) vaei_copy_images(n, &from, flat, image, made);
    return made;
}

/* The images within; what lies about them must still be `mark`. */
static vae_real *unbordered(const vaei_image *image, vae_shape shape, size_t n, vae_real *made, vae_real mark) {
    const vaei_image to = vaei_flat_image(shape);
    vae_real        *flat = (vae_real *)malloc(n * to.image * sizeof *flat);
    vae_real        *marks = bordered(&to, shape, n, NULL, mark);
    size_t           i, changed = 0;
    vaei_copy_images(n, image, made, &to, flat);
    vaei_copy_images(n, &to, marks, image, made);
    for (i = 0; i < n * image->image; i++) changed += made[i] != mark;
    CHECK(changed == 0);
    free(made);
    free(marks);
    return flat;
}

static double dot(const vae_real *a, const vae_real *b, size_t n) {
    double sum = 0;
    while (n--) sum += (double)*a++ * (double)*b++;
    return sum;
}

static double norm(const vae_real *a, size_t n) { return sqrt(dot(a, a, n)); }

static int close_to(const vae_real *actual, const vae_real *expected, size_t n) {
    double largest = 1e-2, off = 0;
    size_t i;
    for (i = 0; i < n; i++) largest = fmax(largest, fabs((double)expected[i]));
    for (i = 0; i < n; i++) {
        const double difference = fabs((double)actual[i] - (double)expected[i]);
        if (!(difference <= off)) off = difference;
    }
    return off <= 1e-5 * largest;
}

/* The three products as they are defined, position by position: whichever of the last three is not NULL grows by what
   the other two factors give. Images lie one after the other, without borders. */
static void connect_naive(const vaei_connection *c, size_t n, const vae_real *fine, const vae_real *coarse,
                          const vae_real *weight, vae_real *to_fine, vae_real *to_coarse, vae_real *to_weight) {
    size_t image;
    int    y, x, ky, kx, b, s;
    for (image = 0; image < n; image++)
        for (y = 0; y < c->coarse.height; y++)
            for (x = 0; x < c->coarse.width; x++)
                for (ky = 0; ky < c->kernel_height; ky++)
                    for (kx = 0; kx < c->kernel_width; kx++) {
                        const int py = y * c->stride_height + ky - c->top, px = x * c->stride_width + kx - c->left;
                        if (py < 0 || py >= c->fine.height || px < 0 || px >= c->fine.width) continue;
                        for (b = 0; b < c->fine.channels; b++)
                            for (s = 0; s < c->coarse.channels; s++) {
                                const size_t f = image * vaei_shape_size(c->fine) +
                                                 (size_t)((py * c->fine.width + px) * c->fine.channels + b);
                                const size_t k = image * vaei_shape_size(c->coarse) +
                                                 (size_t)((y * c->coarse.width + x) * c->coarse.channels + s);
                                const size_t w = (size_t)(((ky * c->kernel_width + kx) * c->fine.channels + b) *
                                                          c->coarse.channels + s);
                                if (to_fine) to_fine[f] += coarse[k] * weight[w];
                                if (to_coarse) to_coarse[k] += fine[f] * weight[w];
                                if (to_weight) to_weight[w] += fine[f] * coarse[k];
                            }
                    }
}

static void check_connection(test_random *random, const vae_model *model, const vaei_layer *layer) {
    const vaei_connection       *c = layer->connection;
    const vaei_connection_images images = vaei_images_of(layer);
    const size_t n = (size_t)test_integer(random, 1, (int)model->plan.micro);
    const size_t bigs = n * size_of(c->fine), smalls = n * size_of(c->coarse), weights = layer->weight_count;
    const int    relu = test_integer(random, 0, 1), accumulate = test_integer(random, 0, 1);
    const vae_real mark = (vae_real)-12345;
    vae_real *big = random_reals(random, bigs, -1, 1), *small = random_reals(random, smalls, -1, 1);
    vae_real *weight = random_reals(random, weights, -1, 1), *d_weight = random_reals(random, weights, -1, 1);
    vae_real *bias = random_reals(random, (size_t)(c->fine.channels + c->coarse.channels), -1, 1);
    vae_real *gathered = bordered(images.gather_coarse, c->coarse, n, NULL, mark);
    vae_real *scattered = bordered(images.scatter_fine, c->fine, n, NULL, mark);
    vae_real *big_in = bordered(images.gather_fine, c->fine, n, big, 0);
    vae_real *small_in = bordered(images.scatter_coarse, c->coarse, n, small, 0);
    vae_real *gather_expected = (vae_real *)calloc(smalls, sizeof *big);
    vae_real *scatter_expected = (vae_real *)calloc(bigs, sizeof *big);
    vae_real *weights_expected = (vae_real *)calloc(weights, sizeof *big);
    double    product;
    size_t    i;
    for (i = 0; i < smalls; i++) gather_expected[i] = bias[i % (size_t)c->coarse.channels];
    for (i = 0; i < bigs; i++) scatter_expected[i] = bias[i % (size_t)c->fine.channels];
    connect_naive(c, n, big, NULL, weight, NULL, gather_expected, NULL);
    connect_naive(c, n, NULL, small, weight, scatter_expected, NULL, NULL);
    for (i = 0; relu && i < smalls; i++) gather_expected[i] = gather_expected[i] > 0 ? gather_expected[i] : 0;
    for (i = 0; relu && i < bigs; i++) scatter_expected[i] = scatter_expected[i] > 0 ? scatter_expected[i] : 0;
    if (accumulate) memcpy(weights_expected, d_weight, weights * sizeof *d_weight);
    connect_naive(c, n, big, small, NULL, NULL, NULL, weights_expected);
    vaei_convolve(model, 0, c, n, big_in, gathered, weight, bias, relu);
    vaei_convolve_transposed(model, 0, c, n, small_in, scattered, weight, bias, relu);
    vaei_connection_weights(model, 0, c, n, big_in, small_in, d_weight, accumulate);
    gathered = unbordered(images.gather_coarse, c->coarse, n, gathered, mark);
    scattered = unbordered(images.scatter_fine, c->fine, n, scattered, mark);
    CHECK(close_to(gathered, gather_expected, smalls));
    CHECK(close_to(scattered, scatter_expected, bigs));
    CHECK(close_to(d_weight, weights_expected, weights));
    /* Adjoint: <gather(big), small> = <big, scatter(small)> = <weight, weights(big, small)>, all without bias. */
    free(gathered);
    free(scattered);
    gathered = bordered(images.gather_coarse, c->coarse, n, NULL, mark);
    scattered = bordered(images.scatter_fine, c->fine, n, NULL, mark);
    vaei_convolve(model, 0, c, n, big_in, gathered, weight, NULL, 0);
    vaei_convolve_transposed(model, 0, c, n, small_in, scattered, weight, NULL, 0);
    vaei_connection_weights(model, 0, c, n, big_in, small_in, d_weight, 0);
    gathered = unbordered(images.gather_coarse, c->coarse, n, gathered, mark);
    scattered = unbordered(images.scatter_fine, c->fine, n, scattered, mark);
    product = dot(gathered, small, smalls);
    CHECK_NEAR(product, dot(big, scattered, bigs), 1e-6 * (1 + norm(gathered, smalls) * norm(small, smalls)));
    CHECK_NEAR(product, dot(weight, d_weight, weights), 1e-6 * (1 + norm(gathered, smalls) * norm(small, smalls)));
    free(big), free(small), free(weight), free(d_weight), free(bias), free(gathered), free(scattered), free(big_in);
    free(small_in), free(gather_expected), free(scatter_expected), free(weights_expected);
}

TEST(test_connections) {
    test_random random = { 5 };
    int         i = 0, kernels;
    while (i < test_cases(300)) {
        vae_config config;
        vae_shape  shape;
        double     work = 0;
        memset(&config, 0, sizeof config);
        config.input.height = random_extent(&random, 13);
        config.input.width = random_extent(&random, 13);
        config.input.channels = test_integer(&random, 1, 20);
        config.latent = config.threads = 1;
        config.batch = (size_t)test_integer(&random, 1, 5);
        config.encoder[0] = random_convolution(&random);
        config.encoder[1] = random_convolution(&random);
        shape = config.input;
        if (!fits(config.encoder, &shape, &work)) continue;
        for (kernels = VAE_KERNELS_PLAIN; kernels < MOST_KERNELS; kernels++) {
            vae_model *model;
            if (!vae_kernels_available((vae_kernels)kernels)) continue;
            config.kernels = (vae_kernels)kernels;
            model = make(&config);
            check_connection(&random, model, &model->plan.layers[0]);
            check_connection(&random, model, &model->plan.layers[1]);
            vae_destroy(model);
        }
        i++;
    }
}

int main(void) {
    int kernels;
    printf("kernels:");
    for (kernels = VAE_KERNELS_PLAIN; kernels < MOST_KERNELS; kernels++)
        if (vae_kernels_available((vae_kernels)kernels)) printf(" %s", vae_kernels_name((vae_kernels)kernels));
    printf("\n");
    RUN(test_shapes);
    RUN(test_connections);
    RUN(test_random_networks);
    RUN_LONG(test_chosen_networks, "the orders of layers and the ends that a network can have");
    RUN_LONG(test_larger_networks, "shapes that fill the kernels' tiles");
    RUN(test_layouts);
    RUN(test_inference_only);
    RUN(test_unfused);
    return test_finish();
}
