/* export_int8.h - a network in whole numbers of 8 bits: scales that suit given rows, and what that costs.

   Each tensor has the range that it took on those rows. Weights are symmetric, each output channel with a scale of its
   own. ReLU is where results are cut off; the other activations are tables of 256 numbers. */
#ifndef EXPORT_INT8_H
#define EXPORT_INT8_H

#include "exported_code.h"
#include "exported_network.h"

typedef struct export_range { float low, high; } export_range;
typedef struct export_scale { float scale; int zero; } export_scale;

typedef struct export_int8_layer {
    const exported_layer *from;
    export_range          before, after;        /* the activation */
    net_layer             layer;                /* runs here, and is what is written */
    int8_t               *weight, *table;       /* table: NULL where the activation needs none */
    int32_t              *bias, *multiplier, *labels;   /* labels: the bias of each, where the layer takes them */
    float                *factor;               /* of the last layer, else NULL */
    export_scale          in, out;
} export_int8_layer;

typedef struct export_int8 {
    export_range      x, z;
    export_int8_layer encoder[VAE_MAX_LAYERS], mean, logvar, decoder[VAE_MAX_LAYERS];
    export_int8_layer pixels;                   /* the last one for pixels that are a function of one number: with */
    float             pixel_table[256];         /* ... int8 for that number, and a table of the function */
    int               encoders, decoders;
    size_t            rows;                     /* that it was measured on: */
    double            pixel_error, mean_error; /* root mean square of decoded pixels, and of z in standard deviations */
    double            float_nats, int8_nats;    /* reconstruction at z = mean */
    double            table_error, table_nats;  /* the same through the table */
} export_int8;

/* ---- floats ---- */

static inline void export_widen(export_range *range, const float *x, int count) {
    int i;
    for (i = 0; i < count; i++) {
        if (x[i] < range->low) range->low = x[i];
        if (x[i] > range->high) range->high = x[i];
    }
}

static inline float (*export_function(vae_activation activation))(float) {
    static float (*const functions[])(float) = { NULL, NULL, net_relu, net_leaky_relu, net_silu, net_gelu, net_tanh,
                                                 net_sigmoid, net_softplus };
    return functions[activation];
}

static inline net_geometry export_geometry(const exported_layer *l) {
    const vae_layer   *layer = &l->layer;
    const net_geometry g = {
        { l->in.height, l->out.height, layer->kernel_height, layer->stride_height, layer->top },
        { l->in.width, l->out.width, layer->kernel_width, layer->stride_width, layer->left },
        l->in.channels, l->out.channels
    };
    return g;
}

static inline net_span (*export_reach(const exported_layer *l))(const net_axis *, int) {
    return l->layer.kind == VAE_LAYER_CONV ? net_reach : net_reach_transposed;
}

/* A layer in floats; widens the ranges where `made` is not NULL. */
static inline void export_run_float(const exported_layer *l, int label, const float *x, float *y,
                                    export_int8_layer *made) {
    const net_geometry g = export_geometry(l);
    if (l->layer.kind == VAE_LAYER_DENSE) net_dense(l->weight, l->bias, x, l->inputs, y, l->outputs);
    else net_convolution(&g, export_reach(l), l->weight, l->bias, x, y);
    if (l->classes) net_add(y, l->labels + label * l->channels, l->outputs);
    if (l->norm) net_normalize(l->norm, y, l->outputs / l->channels, l->channels);
    if (made) export_widen(&made->before, y, l->outputs);
    if (l->layer.activation > VAE_LINEAR) net_each(export_function(l->layer.activation), y, l->outputs);
    if (made) export_widen(&made->after, y, l->outputs);
}

/* The layers one after the other, from x; the result lies where the returned pointer says. `work` has two halves. */
static inline const float *export_run_floats(const exported_layer *layers, int count, int label, const float *x,
                                             float *work, size_t half, export_int8_layer *made) {
    int i;
    for (i = 0; i < count; i++) {
        float *y = work + (size_t)(i % 2) * half;
        export_run_float(&layers[i], label, x, y, made ? &made[i] : NULL);
        x = y;
    }
    return x;
}

/* ---- scales ---- */

static inline export_scale export_scale_of(export_range range) {
    export_scale made;
    const double low = range.low < 0 ? (double)range.low : 0, high = range.high > 0 ? (double)range.high : 0;
    const double width = high - low > 1e-6 ? high - low : 1e-6;
    made.scale = (float)(width / 255);
    made.zero = (int)floor(-128 - low / (double)made.scale + 0.5);
    return made;
}

static inline int export_rounded(double x, int low, int high) {
    const double whole = floor(x + 0.5);
    return whole < low ? low : whole > high ? high : (int)whole;
}

/* Beyond these an activation is flat, or as good as flat below. */
static inline export_range export_cut(export_range range, vae_activation activation) {
    const float most = activation == VAE_TANH ? 4.0f : 8.0f;
    if (activation > VAE_LEAKY_RELU && range.low < -most) range.low = -most;
    if ((activation == VAE_TANH || activation == VAE_SIGMOID) && range.high > most) range.high = most;
    return range;
}

/* The multipliers from the scale of a channel's sums to the next activation's, with one shift for all. */
static inline void export_set_multipliers(export_int8_layer *m, int channels, const float *scales, float next) {
    double most = 0;
    int    c, shift = 33;
    for (c = 0; c < channels; c++) if ((double)scales[c] / (double)next > most) most = (double)scales[c] / (double)next;
    while (shift < 62 && ldexp(most, shift + 1) < 2147483647.0) shift++;
    m->layer.shift = shift - 32;
    m->layer.half = (int)1 << (shift - 33);
    for (c = 0; c < channels; c++)
        m->multiplier[c] = export_rounded(ldexp((double)scales[c] / (double)next, shift), 0, 2147483647);
}

/* A step of the next activation is four of the sums' at least, as multipliers are less than 2^31. */
static inline void export_coarsen(export_scale *next, float low, int channels, const float *scales) {
    int c;
    for (c = 0; c < channels; c++)
        if (next->scale < 4 * scales[c]) {
            next->scale = 4 * scales[c];
            next->zero = (int)floor(-128 - (low < 0 ? (double)low : 0) / (double)next->scale + 0.5);
        }
}

static inline void export_set_table(export_int8_layer *m, export_scale before, export_scale after) {
    int q;
    for (q = -128; q < 128; q++) {
        const float x = (float)(q - before.zero) * before.scale;
        const float y = export_function(m->from->layer.activation)(x);
        m->table[q + 128] = (int8_t)export_rounded((double)(y / after.scale) + after.zero, -128, 127);
    }
}

static inline void export_free_int8_layer(export_int8_layer *m) {
    free(m->weight);
    free(m->table);
    free(m->bias);
    free(m->multiplier);
    free(m->labels);
    free(m->factor);
}

/* Rounds a layer's numbers, batch normalisation folded in, for an input of scale `in`; the last one gives floats. */
static inline int export_make_int8(export_int8_layer *m, const exported_layer *l, export_scale in, int last) {
    const vae_activation activation = last ? VAE_LINEAR : l->layer.activation;
    const int            channels = l->channels, depth = l->depth;
    const export_range   cut = export_cut(m->before, activation);
    export_scale         after = export_scale_of(m->after), before = export_scale_of(cut);
    const int            tabled = activation > VAE_RELU;
    float               *scales = (float *)malloc((size_t)channels * sizeof(float));
    int                  c, i, made;
    m->from = l;
    m->in = in;
    m->weight = (int8_t *)malloc((size_t)channels * (size_t)depth);
    m->bias = (int32_t *)malloc((size_t)channels * sizeof(int32_t));
    m->multiplier = last ? NULL : (int32_t *)malloc((size_t)channels * sizeof(int32_t));
    m->factor = last ? (float *)malloc((size_t)channels * sizeof(float)) : NULL;
    m->labels = l->classes ? (int32_t *)malloc((size_t)(channels * l->classes) * sizeof(int32_t)) : NULL;
    m->table = tabled ? (int8_t *)malloc(256) : NULL;
    made = scales && m->weight && m->bias && (last ? m->factor != NULL : m->multiplier != NULL) &&
           (!l->classes || m->labels) && (!tabled || m->table);
    for (c = 0; made && c < channels; c++) {
        const double norm = l->norm ? (double)l->norm[channels + c] : 1;
        const double bias = l->norm
                                ? ((double)l->bias[c] - (double)l->norm[c]) * norm + (double)l->norm[2 * channels + c]
                                : (double)l->bias[c];
        const float *weight = l->weight + (size_t)c * (size_t)depth;
        double       most = fabs(bias) / (double)in.scale / 1e9, scale;
        for (i = 0; i < depth; i++)
            if (fabs((double)weight[i] * norm) / 127 > most) most = fabs((double)weight[i] * norm) / 127;
        scale = most > 1e-20 ? most : 1e-20;
        for (i = 0; i < depth; i++)
            m->weight[(size_t)c * (size_t)depth + (size_t)i] =
                (int8_t)export_rounded((double)weight[i] * norm / scale, -127, 127);
        scales[c] = (float)(scale * (double)in.scale);
        m->bias[c] = export_rounded(bias / (double)scales[c], -1000000000, 1000000000);
        for (i = 0; i < l->classes; i++)
            m->labels[i * channels + c] = m->bias[c] +
                export_rounded((double)l->labels[i * channels + c] * norm / (double)scales[c], -500000000, 500000000);
        if (last) m->factor[c] = scales[c];
    }
    if (made && !last) {
        export_coarsen(tabled ? &before : &after, tabled ? cut.low : m->after.low, channels, scales);
        export_set_multipliers(m, channels, scales, tabled ? before.scale : after.scale);
    }
    m->out = after;
    if (made && tabled) export_set_table(m, before, after);
    m->layer.weight = m->weight;
    m->layer.bias = m->bias;
    m->layer.multiplier = m->multiplier;
    m->layer.factor = m->factor;
    m->layer.offset = -in.zero;
    m->layer.zero = last ? 0 : tabled ? before.zero : after.zero;
    m->layer.low = activation == VAE_RELU ? after.zero : -128;
    if (last) m->layer.shift = 1;
    free(scales);
    return made ? 0 : -1;
}

/* ---- whole numbers ---- */

static inline void export_run_int8(const export_int8_layer *m, int label, const int8_t *x, void *y) {
    const exported_layer *l = m->from;
    const net_geometry    g = export_geometry(l);
    if (l->layer.kind == VAE_LAYER_DENSE)
        net_dense8(&m->layer, m->labels ? m->labels + label * l->channels : m->bias, x, l->inputs, y, l->outputs);
    else net_convolution8(&g, export_reach(l), &m->layer, x, y);     /* whose numbers net_narrow8's are too */
    if (m->table) net_look_up(m->table, (int8_t *)y, l->outputs);
    if (m->factor && l->layer.activation > VAE_LINEAR)
        net_each(export_function(l->layer.activation), (float *)y, l->outputs);
}

/* All but the last `floats` layers of these, from the numbers x of scale `in`; where the result lies. */
static inline const int8_t *export_run_int8s(const export_int8_layer *layers, int count, int label, const float *x,
                                             int inputs, export_scale in, int8_t *work, size_t part) {
    const int8_t *from = work;
    int           i;
    net_quantize(x, work, 1 / in.scale, (float)in.zero, inputs);
    for (i = 0; i < count; i++) {
        int8_t *y = work + (size_t)((i + 1) % 2) * part;
        export_run_int8(&layers[i], label, from, y);
        from = y;
    }
    return from;
}

static inline void export_int8_encode(const export_int8 *q, const exported_network *n, int label, const float *x,
                                      float *mean, float *logvar, int8_t *work, size_t part) {
    const int8_t *from =
        export_run_int8s(q->encoder, q->encoders, label, x, n->example, export_scale_of(q->x), work, part);
    export_run_int8(&q->mean, label, from, mean);
    if (!n->has_logvar) return;
    export_run_int8(&q->logvar, label, from, logvar);
    net_hold_each(logvar, -20.0f, 10.0f, n->latent);
}

/* The decoder's outputs, as floats. */
static inline void export_int8_decode(const export_int8 *q, const exported_network *n, int label, const float *z,
                                      float *y, int8_t *work, size_t part) {
    const int8_t *from =
        export_run_int8s(q->decoder, q->decoders - 1, label, z, n->latent, export_scale_of(q->z), work, part);
    export_run_int8(&q->decoder[q->decoders - 1], label, from, y);
}

/* Whether a pixel is a function of one number that is not the identity. */
static inline int export_has_table(const exported_network *n) {
    return n->config.likelihood == VAE_BERNOULLI || n->config.likelihood == VAE_CONTINUOUS_BERNOULLI;
}

static inline int export_make_pixels(export_int8 *q, const exported_network *n, export_scale in) {
    const int    last = n->decoders - 1;
    export_scale made;
    int          i;
    q->pixels.after = q->decoder[last].after;
    if (q->pixels.after.low < -12) q->pixels.after.low = -12;       /* from there pixels are 0 or 1 to five digits */
    if (q->pixels.after.high > 12) q->pixels.after.high = 12;
    q->pixels.before = q->pixels.after;
    if (export_make_int8(&q->pixels, &n->decoder[last], in, 0) != 0) return -1;
    made = q->pixels.out;
    for (i = 0; i < 256; i++) {
        const float l = (float)(i - 128 - made.zero) * made.scale;
        q->pixel_table[i] = n->config.likelihood == VAE_BERNOULLI ? net_sigmoid(l) : net_continuous_mean(l);
    }
    return 0;
}

/* The pixels by the table, and the numbers before it. */
static inline void export_int8_pixels(const export_int8 *q, const exported_network *n, int label, const float *z,
                                      float *pixels, float *before, int8_t *work, size_t part) {
    const int8_t *from =
        export_run_int8s(q->decoder, q->decoders - 1, label, z, n->latent, export_scale_of(q->z), work, part);
    int8_t *bytes = work + 2 * part;
    int     i;
    export_run_int8(&q->pixels, label, from, bytes);
    net_spread(q->pixel_table, bytes, pixels, n->example);
    for (i = 0; i < n->example; i++) before[i] = (float)(bytes[i] - q->pixels.out.zero) * q->pixels.out.scale;
}

static inline void export_free_int8(export_int8 *q) {
    int i;
    export_free_int8_layer(&q->pixels);
    for (i = 0; i < VAE_MAX_LAYERS; i++) {
        export_free_int8_layer(&q->encoder[i]);
        export_free_int8_layer(&q->decoder[i]);
    }
    export_free_int8_layer(&q->mean);
    export_free_int8_layer(&q->logvar);
    memset(q, 0, sizeof *q);
}

/* ---- calibration ---- */

/* The nats of a row, given the decoder's outputs, without what every row has. */
static inline double export_nats(const exported_network *n, const float *y, const float *x) {
    const int channels = n->config.input.channels, count = n->example;
    const float sigma = (float)(n->log_sigma ? exp((double)n->log_sigma[0]) : (double)n->config.sigma);
    switch (n->config.likelihood) {
    case VAE_CONTINUOUS_BERNOULLI: return net_sum(net_continuous_bernoulli, y, x, count);
    case VAE_GAUSSIAN:
        return n->config.sigma_per_pixel ? net_gaussians(y, x, n->inverse_sigma, count)
                                         : net_sum(net_gaussian, y, x, count) * 0.5 / (double)sigma / (double)sigma;
    case VAE_LAPLACE:
        return n->config.sigma_per_pixel ? net_laplaces(y, x, n->inverse_sigma, count)
                                         : net_sum(net_laplace, y, x, count) / (double)sigma;
    case VAE_GAUSSIAN_PREDICTED: return net_predicted(y, x, count / channels, channels);
    case VAE_DISCRETIZED_LOGISTIC: return net_logistic(y, x, count / channels, channels);
    case VAE_BERNOULLI:
    default: return net_sum(net_bernoulli, y, x, count);
    }
}

/* The mean pixels; the first numbers of y where there are two. */
static inline void export_means(const exported_network *n, const float *y, float *pixels) {
    const int channels = n->config.input.channels, positions = n->example / channels;
    if (n->config.likelihood == VAE_DISCRETIZED_LOGISTIC) net_logistic_means(y, pixels, positions, channels);
    else if (n->outputs > 1) net_first_numbers(y, pixels, positions, channels);
    else memcpy(pixels, y, (size_t)n->example * sizeof(float));
    if (n->config.likelihood == VAE_BERNOULLI) net_each(net_sigmoid, pixels, n->example);
    if (n->config.likelihood == VAE_CONTINUOUS_BERNOULLI) net_each(net_continuous_mean, pixels, n->example);
}

/* About normal: the sum of twelve uniform numbers. */
static inline float export_normal(uint32_t *state) {
    float sum = -6;
    int   i;
    for (i = 0; i < 12; i++) {
        *state = *state * 1664525u + 1013904223u;
        sum += (float)(*state >> 8) / 16777216.0f;
    }
    return sum;
}

/* What a row goes through. */
typedef struct export_row {
    float  *x, *mean, *logvar, *z, *pixels, *others, *work;    /* work: two halves */
    int8_t *bytes;                                             /* likewise */
    size_t  half;
} export_row;

static inline int export_take_row(export_row *r, const exported_network *n) {
    size_t example = (size_t)n->example, latent = (size_t)n->latent;
    int    i;
    r->half = 2 * example + latent;
    for (i = 0; i < n->encoders; i++)
        if ((size_t)n->encoder[i].outputs > r->half) r->half = (size_t)n->encoder[i].outputs;
    for (i = 0; i < n->decoders; i++)
        if ((size_t)n->decoder[i].outputs > r->half) r->half = (size_t)n->decoder[i].outputs;
    r->x = (float *)malloc((3 * example + 3 * latent + 3 * r->half + 4) * sizeof(float));
    if (!r->x) return -1;
    r->pixels = r->x + example;
    r->others = r->pixels + example;
    r->mean = r->others + example;
    r->logvar = r->mean + latent;
    r->z = r->logvar + latent;
    r->work = r->z + latent;
    r->bytes = (int8_t *)(r->work + 2 * r->half);
    return 0;
}

/* A row as the network sees it. */
static inline void export_see(const exported_network *n, const float *row, float *x) {
    if (n->center) net_standardize(row, n->center, n->scale, x, n->example);
    else memcpy(x, row, (size_t)n->example * sizeof(float));
}

static inline void export_float_encode(const exported_network *n, int label, export_row *r, export_int8 *q) {
    const float *from =
        export_run_floats(n->encoder, n->encoders, label, r->x, r->work, r->half, q ? q->encoder : NULL);
    int          k;
    export_run_float(&n->mean, label, from, r->mean, NULL);
    for (k = 0; k < n->latent; k++) r->logvar[k] = -20;
    if (n->has_logvar) export_run_float(&n->logvar, label, from, r->logvar, NULL);
    net_hold_each(r->logvar, -20.0f, 10.0f, n->latent);
}

/* Ranges: of the rows, of their z as drawn from q, and of all between. */
static inline void export_find_ranges(export_int8 *q, const exported_network *n, const float *rows, const int *labels,
                                      size_t count, export_row *r) {
    uint32_t state = 1;
    size_t   i;
    int      k, drawn;
    for (i = 0; i < count; i++) {
        const int label = labels ? labels[i] : 0;
        export_see(n, rows + i * (size_t)n->example, r->x);
        export_widen(&q->x, r->x, n->example);
        export_float_encode(n, label, r, q);
        for (drawn = 0; drawn < 2; drawn++) {
            for (k = 0; k < n->latent; k++)
                r->z[k] = r->mean[k] + (drawn ? net_exp(0.5f * r->logvar[k]) * export_normal(&state) : 0.0f);
            export_widen(&q->z, r->z, n->latent);
            export_run_floats(n->decoder, n->decoders, label, r->z, r->work, r->half, q->decoder);
        }
    }
}

/* The mean square of the differences between a row's pixels and the others. */
static inline double export_pixel_error(const exported_network *n, const export_row *r) {
    double sum = 0;
    int    k;
    for (k = 0; k < n->example; k++) {
        const double off = ((double)r->others[k] - (double)r->pixels[k]) * (n->scale ? (double)n->scale[k] : 1);
        sum += off * off / (double)n->example;
    }
    return sum;
}

static inline void export_measure(export_int8 *q, const exported_network *n, const float *rows, const int *labels,
                                  size_t count, export_row *r) {
    size_t i;
    int    k;
    for (i = 0; i < count; i++) {
        const int    label = labels ? labels[i] : 0;
        const float *y;
        float       *logvar = r->work, *means = r->work + n->latent;
        export_see(n, rows + i * (size_t)n->example, r->x);
        export_float_encode(n, label, r, NULL);
        y = export_run_floats(n->decoder, n->decoders, label, r->mean, r->work, r->half, NULL);
        q->float_nats += export_nats(n, y, r->x) / (double)count;
        export_means(n, y, r->pixels);
        export_int8_encode(q, n, label, r->x, means, logvar, r->bytes, r->half);
        for (k = 0; k < n->latent; k++) {
            const double off =
                ((double)means[k] - (double)r->mean[k]) / (n->has_logvar ? exp(0.5 * (double)r->logvar[k]) : 1);
            q->mean_error += off * off / (double)n->latent / (double)count;
        }
        export_int8_decode(q, n, label, r->mean, r->work, r->bytes, r->half);
        q->int8_nats += export_nats(n, r->work, r->x) / (double)count;
        export_means(n, r->work, r->others);
        q->pixel_error += export_pixel_error(n, r) / (double)count;
        if (!export_has_table(n)) continue;
        export_int8_pixels(q, n, label, r->mean, r->others, r->work, r->bytes, r->half);
        q->table_nats += export_nats(n, r->work, r->x) / (double)count;
        q->table_error += export_pixel_error(n, r) / (double)count;
    }
    q->table_error = sqrt(q->table_error);
    q->mean_error = sqrt(q->mean_error);
    q->pixel_error = sqrt(q->pixel_error);
    q->rows = count;
}

/* The network in int8, with scales for these rows in the user's units. Returns 0, or -1 with a sentence. */
static inline int export_quantize(export_int8 *q, const exported_network *n, const float *rows, const int *labels,
                                  size_t count, char *message) {
    export_row r;
    export_scale        in;
    int                 i, failed;
    memset(q, 0, sizeof *q);
    if (export_take_row(&r, n) != 0) return fail(message, "not enough memory");
    export_find_ranges(q, n, rows, labels, count, &r);
    q->encoders = n->encoders;
    q->decoders = n->decoders;
    in = export_scale_of(q->x);
    for (i = failed = 0; i < n->encoders && !failed; i++) {
        failed = export_make_int8(&q->encoder[i], &n->encoder[i], in, 0);
        in = q->encoder[i].out;
    }
    if (!failed) failed = export_make_int8(&q->mean, &n->mean, in, 1);
    if (!failed && n->has_logvar) failed = export_make_int8(&q->logvar, &n->logvar, in, 1);
    in = export_scale_of(q->z);
    for (i = 0; i < n->decoders && !failed; i++) {
        failed = export_make_int8(&q->decoder[i], &n->decoder[i], in, i + 1 == n->decoders);
        in = q->decoder[i].out;
    }
    if (!failed && export_has_table(n))
        failed = export_make_pixels(q, n, q->decoder[n->decoders - 1].in);
    if (!failed) export_measure(q, n, rows, labels, count, &r);
    free(r.x);
    if (failed) export_free_int8(q);
    return failed ? fail(message, "not enough memory") : 0;
}

#endif
