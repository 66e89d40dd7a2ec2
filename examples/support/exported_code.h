/* exported_code.h - the functions that exported files are made of, each once: as code, which export_c runs to tell what
   int8 costs, and as text, which it writes. net_ stands for the name that the file gets. A file takes those that it
   calls. The formulas and their order are those of vae.h's portable kernels, so that the bits are the same. */
#ifndef EXPORTED_CODE_H
#define EXPORTED_CODE_H

#include <stdint.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

#if defined(__GNUC__)
#define NET_APART __attribute__((noinline, unused))
#else
#define NET_APART
#endif
#define EXPORTED(name, ...) __VA_ARGS__ static const char exported_text_##name[] = #__VA_ARGS__;

/* ---- numbers ---- */

EXPORTED(word,
typedef union net_word { float number; uint32_t bits; } net_word;
)
EXPORTED(number,
static inline float net_number(uint32_t bits) { net_word word; word.bits = bits; return word.number; }
)
EXPORTED(bits,
static inline uint32_t net_bits(float number) { net_word word; word.number = number; return word.bits; }
)
EXPORTED(size,
static inline float net_size(float x) { return net_number(net_bits(x) & 0x7FFFFFFFu); }
)
EXPORTED(hold,
static inline float net_hold(float x, float low, float high) {
    const float raised = low > x ? low : x;
    return high < raised ? high : raised;
}
)
EXPORTED(power,
static inline float net_power(float shifted, float r) {
    float p = 0.0027636739f;
    p = p * r + 0.0167385712f;
    p = p * r + 0.0833365247f;
    p = p * r + 0.333330303f;
    p = p * r + 0.999999881f;
    p = p * r + 2.0f;
    p = p * r + 2.0f;
    return p * net_number((net_bits(shifted) << 23) + ((uint32_t)126 << 23));
}
)
EXPORTED(exp,
static inline float net_exp(float x) {
    const float inside = -87.3365f > x ? -87.3365f : x;
    const float shifted = inside * 1.44269504f + 12582912.0f;
    const float n = shifted - 12582912.0f;
    const float r = inside - n * 0.693359375f;
    return net_power(shifted, r - n * -2.12194440e-4f);
}
)
EXPORTED(log,
static inline float net_log(float x) {
    const uint32_t bits = net_bits(x);
    const uint32_t exponent = (bits - 0x3F3504F3u) & 0xFF800000u;
    const float    n = (float)(int32_t)exponent;
    const float    f = net_number(bits - exponent) - 1.0f;
    float          p = -0.0765348151f;
    p = p * f + 0.12767674f;
    p = p * f + -0.131584629f;
    p = p * f + 0.142010659f;
    p = p * f + -0.166233197f;
    p = p * f + 0.200012609f;
    p = p * f + -0.250008225f;
    p = p * f + 0.333333313f;
    p = p * f + -0.5f;
    p = f * f * p + n * (-2.12194440e-4f * 1.1920928955078125e-7f);
    return n * (0.693359375f * 1.1920928955078125e-7f) + (f + p);
}
)
EXPORTED(plus_log1p,
static inline float net_plus_log1p(float y, float e) {
    float q = -0.00343384058f;
    q = q * e + 0.0207456872f;
    q = q * e + -0.0587287657f;
    q = q * e + 0.107943743f;
    q = q * e + -0.154270798f;
    q = q * e + 0.197222769f;
    q = q * e + -0.249643415f;
    q = q * e + 0.333311379f;
    q = q * e + -0.499999583f;
    q = q * e + 1.0f;
    return q * e + y;
}
)

/* ---- activations ---- */

EXPORTED(relu,
static inline float net_relu(float x) { return 0.0f > x ? 0.0f : x; }
)
EXPORTED(leaky_relu,
static inline float net_leaky_relu(float x) { return x < 0.0f ? x * 0.01f : x; }
)
EXPORTED(sigmoid,
static inline float net_sigmoid(float x) {
    const float e = net_exp(-net_size(x));
    const float upper = 1.0f / (1.0f + e);
    return x < 0.0f ? e * upper : upper;
}
)
EXPORTED(silu,
static inline float net_silu(float x) {
    const float y = net_sigmoid(x);
    return (-100.0f > x ? -100.0f : x) * y;
}
)
EXPORTED(softplus,
static inline float net_softplus(float x) { return net_plus_log1p(0.0f > x ? 0.0f : x, net_exp(-net_size(x))); }
)
EXPORTED(tanh,
static inline float net_tanh(float x) {
    const float size = net_size(x);
    const float e = net_exp((100.0f < size ? 100.0f : size) * -2.0f);
    const float a = 0.625f < size ? 0.625f : size;
    const float z = a * a;
    float       t = -0.00571415294f;
    t = t * z + 0.0206481125f;
    t = t * z + -0.0537427813f;
    t = t * z + 0.133314833f;
    t = t * z + -0.333332837f;
    t = a * z * t + a;
    if (!(a < 0.625f)) t = 1.0f - 2.0f * (e / (1.0f + e));
    return net_number(net_bits(t) | (net_bits(x) & 0x80000000u));
}
)
EXPORTED(gelu,
static inline float net_gelu(float x) {
    const float size = net_size(x);
    const float a = 13.2f < size ? 13.2f : size;
    const float h = net_number(net_bits(a) & 0xFFFFF000u);
    const float half_rest = (a - h) * -0.5f;
    const float half_square = h * (h * -0.5f);
    const float exponent = half_rest * (a + h) + half_square;
    const float shifted = exponent * 1.44269504f + 12582912.0f;
    const float n = shifted - 12582912.0f;
    const float u = (a - 3.0f) / (a + 3.0f);
    float       r = half_square - n * 0.693359375f;
    float       m = 5.12941369e-05f;
    r = half_rest * (a + h) + r;
    r = r - n * -2.12194440e-4f;
    m = m * u + 0.000114126524f;
    m = m * u + -0.000336189027f;
    m = m * u + -0.000982502941f;
    m = m * u + 0.0029027909f;
    m = m * u + 0.00613176497f;
    m = m * u + -0.046212893f;
    m = m * u + 0.123225041f;
    m = m * u + -0.206402645f;
    m = m * u + 0.121513948f;
    return (0.0f > x ? 0.0f : x) - a * (net_power(shifted, r) * m);
}
)
EXPORTED(each,
static inline void net_each(float (*function)(float), float *x, int count) {
    for (; count > 0; count--, x++) *x = function(*x);
}
)

/* ---- layers ---- */

EXPORTED(patch,
typedef struct net_patch { int lines, count, weight_line, x_line; } net_patch;
)
EXPORTED(four_sums,
NET_APART static void net_four_sums(float *sums, const float *weight, int next, const float *x, const net_patch *p) {
    float a = sums[0];
    float b = sums[1];
    float c = sums[2];
    float d = sums[3];
    int   line;
    for (line = p->lines; line > 0; line--, weight += p->weight_line, x += p->x_line) {
        const float *w0 = weight;
        const float *w1 = w0 + next;
        const float *w2 = w1 + next;
        const float *w3 = w2 + next;
        const float *from = x;
        const float *end = x + p->count;
        while (from != end) {
            const float value = *from++;
            a = value * *w0++ + a;
            b = value * *w1++ + b;
            c = value * *w2++ + c;
            d = value * *w3++ + d;
        }
    }
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}
)
EXPORTED(one_sum,
NET_APART static float net_one_sum(float sum, const float *weight, const float *x, const net_patch *p) {
    int line;
    for (line = p->lines; line > 0; line--, weight += p->weight_line, x += p->x_line) {
        const float *w = weight;
        const float *from = x;
        const float *end = x + p->count;
        while (from != end) sum = *from++ * *w++ + sum;
    }
    return sum;
}
)
EXPORTED(sums,
static inline void net_sums(const float *bias, float *y, int channels, const float *weight, int next, const float *x,
                            const net_patch *p) {
    for (; channels >= 4; channels -= 4, weight += 4 * next, y += 4, bias += 4) {
        y[0] = bias[0];
        y[1] = bias[1];
        y[2] = bias[2];
        y[3] = bias[3];
        net_four_sums(y, weight, next, x, p);
    }
    for (; channels > 0; channels--, weight += next) *y++ = net_one_sum(*bias++, weight, x, p);
}
)
EXPORTED(dense,
static inline void net_dense(const float *weight, const float *bias, const float *x, int inputs, float *y,
                             int outputs) {
    const net_patch patch = { 1, inputs, 0, 0 };
    net_sums(bias, y, outputs, weight, inputs, x, &patch);
}
)
EXPORTED(axis,
typedef struct net_axis { int in, out, kernel, stride, before; } net_axis;
)
EXPORTED(geometry,
typedef struct net_geometry { net_axis height, width; int in_channels, out_channels; } net_geometry;
)
EXPORTED(span,
typedef struct net_span { int from, tap, count; } net_span;
)
EXPORTED(reach,
static inline net_span net_reach(const net_axis *a, int place) {
    const int begin = place * a->stride - a->before;
    const int from = begin > 0 ? begin : 0;
    const int end = begin + a->kernel < a->in ? begin + a->kernel : a->in;
    net_span  span = { 0, 0, 0 };
    if (from >= end) return span;
    span.from = from;
    span.tap = from - begin;
    span.count = end - from;
    return span;
}
)
EXPORTED(reach_transposed,
static inline net_span net_reach_transposed(const net_axis *a, int place) {
    const int last = (place + a->before) / a->stride;
    const int phase = (place + a->before) % a->stride;
    const int taps = (a->kernel - phase + a->stride - 1) / a->stride;
    const int rest = a->kernel % a->stride;
    const int first = last - taps + 1;
    const int from = first > 0 ? first : 0;
    const int end = last < a->in ? last + 1 : a->in;
    net_span  span = { 0, 0, 0 };
    if (from >= end) return span;
    span.from = from;
    span.tap = phase * (a->kernel / a->stride) + (phase < rest ? phase : rest) + from - first;
    span.count = end - from;
    return span;
}
)
EXPORTED(convolution,
static inline void net_convolution(const net_geometry *g, net_span (*reach)(const net_axis *, int), const float *weight,
                                   const float *bias, const float *x, float *y) {
    const int line = g->width.kernel * g->in_channels;
    net_patch patch;
    int       row, column;
    patch.weight_line = line;
    patch.x_line = g->width.in * g->in_channels;
    for (row = 0; row < g->height.out; row++) {
        const net_span rows = reach(&g->height, row);
        for (column = 0; column < g->width.out; column++) {
            const net_span columns = reach(&g->width, column);
            patch.lines = columns.count > 0 ? rows.count : 0;
            patch.count = columns.count * g->in_channels;
            net_sums(bias, y, g->out_channels, weight + rows.tap * line + columns.tap * g->in_channels,
                     g->height.kernel * line, x + rows.from * patch.x_line + columns.from * g->in_channels, &patch);
            y += g->out_channels;
        }
    }
}
)
EXPORTED(normalize,
static inline void net_normalize(const float *norm, float *y, int positions, int channels) {
    int channel;
    for (; positions > 0; positions--)
        for (channel = 0; channel < channels; channel++, y++)
            *y = (*y - norm[channel]) * norm[channels + channel] + norm[2 * channels + channel];
}
)
EXPORTED(add,
static inline void net_add(float *y, const float *x, int count) {
    for (; count > 0; count--) *y++ += *x++;
}
)

/* ---- what the numbers mean ---- */

EXPORTED(standardize,
static inline void net_standardize(const float *x, const float *mean, const float *scale, float *y, int count) {
    for (; count > 0; count--) *y++ = (float)(((double)*x++ - (double)*mean++) / (double)*scale++);
}
)
EXPORTED(restore,
static inline void net_restore(float *y, const float *mean, const float *scale, int count) {
    for (; count > 0; count--, y++) *y = (float)((double)*y * (double)*scale++ + (double)*mean++);
}
)
EXPORTED(fill,
static inline void net_fill(const float *x, float *y, int count) {
    for (; count > 0; count--, x++) *y++ = *x == *x ? *x : 0.0f;
}
)
EXPORTED(leave_out,
static inline int net_leave_out(const float *pixels, float *y, float absent, int count) {
    int left = count;
    int i;
    for (i = 0; i < count; i++)
        if (!(pixels[i] == pixels[i])) {
            y[i] = absent;
            left--;
        }
    return left;
}
)
EXPORTED(leave_out_pairs,
static inline int net_leave_out_pairs(const float *pixels, float *y, float absent, int positions, int channels) {
    int left = positions * channels;
    int channel;
    for (; positions > 0; positions--, y += channels)
        for (channel = 0; channel < channels; channel++, pixels++, y++)
            if (!(*pixels == *pixels)) {
                y[0] = absent;
                y[channels] = 0.0f;
                left--;
            }
    return left;
}
)
EXPORTED(nats_there,
static inline double net_nats_there(const float *pixels, const double *nats, int count) {
    double sum = 0;
    for (; count > 0; count--, pixels++, nats++) if (*pixels == *pixels) sum += *nats;
    return sum;
}
)
EXPORTED(softmax,
static inline void net_softmax(float *x, int count) {
    float most = x[0];
    float sum = 0.0f;
    int   i;
    for (i = 1; i < count; i++) if (x[i] > most) most = x[i];
    for (i = 0; i < count; i++) {
        x[i] = net_exp(x[i] - most);
        sum += x[i];
    }
    for (i = 0; i < count; i++) x[i] /= sum;
}
)
EXPORTED(hold_each,
static inline void net_hold_each(float *x, float low, float high, int count) {
    for (; count > 0; count--, x++) *x = net_hold(*x, low, high);
}
)
EXPORTED(continuous_mean,
static inline float net_continuous_mean(float l) {
    const float a = net_size(l);
    const float most = 1.0f > a ? 1.0f : a;
    const float large = 1e30f < most ? 1e30f : most;
    const float y = 0.5f * (1.0f < a ? 1.0f : a);
    const float z = y * y;
    const float e = net_exp(-large);
    float       m = (float)(1 / 93555.0);
    m = m * z + (float)(-1 / 9450.0);
    m = m * z + (float)(1 / 945.0);
    m = m * z + (float)(-1 / 90.0);
    m = m * z + (float)(1 / 6.0);
    m = a < 1.0f ? 0.5f - m * y : 1.0f / large - e / (1.0f - e);
    return l < 0.0f ? m : 1.0f - m;
}
)
EXPORTED(first_numbers,
static inline void net_first_numbers(const float *x, float *y, int positions, int channels) {
    int channel;
    for (; positions > 0; positions--, x += channels)
        for (channel = 0; channel < channels; channel++) *y++ = *x++;
}
)
EXPORTED(level_width,
static inline float net_level_width(float v) {
    return net_exp(-2.0f * net_hold(v, -8.0f, 4.0f) * 0.5f) * (float)(1 / 255.0) + 0.0f;
}
)
EXPORTED(mean_level,
static inline double net_mean_level(float l, float width) {
    const float middle = 255.0f * net_hold(l, -1e6f, 1e6f);
    const float away = 18.0f / width;
    const float low = middle - away;
    const float high = middle + away;
    const int   end = high < 255.0f ? high > 0.0f ? (int)high + 2 : 1 : 256;
    int         level = low > 1.0f ? low < 256.0f ? (int)low : 256 : 1;
    double      sum = level - 1;
    for (; level < end; level++) sum += (double)net_sigmoid((middle - ((float)level - 0.5f)) * width);
    return sum;
}
)
EXPORTED(logistic_mean,
static inline float net_logistic_mean(float l, float v) {
    const float  delta = net_level_width(v);
    const float  from_0 = 255.0f * l * delta;
    const float  from_1 = 255.0f * (l - 1.0f) * delta;
    const double width = (double)delta;
    double       level;
    if (delta < 0.5f && l > -2.0f && l < 3.0f) {
        const double at_0 = (double)net_sigmoid(from_0);
        const double at_1 = (double)net_sigmoid(from_1);
        const double slope_0 = at_0 * (1 - at_0);
        const double slope_1 = at_1 * (1 - at_1);
        const double third_0 = slope_0 * (1 - 6 * slope_0);
        const double third_1 = slope_1 * (1 - 6 * slope_1);
        const float  rise = net_softplus(from_0) - net_softplus(from_1);
        level = (double)rise / width;
        level += width / 24 * (slope_1 - slope_0);
        level -= width * width * width * (7 / 5760.0) * (third_1 - third_0);
    } else level = net_mean_level(l, delta);
    return net_hold((float)(level / 255), 0.0f, 1.0f);
}
)
EXPORTED(logistic_means,
static inline void net_logistic_means(const float *x, float *y, int positions, int channels) {
    int channel;
    for (; positions > 0; positions--, x += channels)
        for (channel = 0; channel < channels; channel++, x++) *y++ = net_logistic_mean(x[0], x[channels]);
}
)

/* ---- scores ---- */

EXPORTED(fold,
static inline double net_fold(float sums[16], int count) {
    int half, i;
    for (half = 8; half > 0; half /= 2)
        for (i = 0; i < half && i + half < count; i++) sums[i] += sums[i + half];
    return (double)sums[0];
}
)
EXPORTED(sum,
static inline double net_sum(float (*add)(float, float, float), const float *a, const float *b, int count) {
    double total = 0;
    while (count > 0) {
        const int part = count >= 256 ? 256 : count >= 16 ? count - count % 16 : count;
        float     sums[16];
        int       i;
        for (i = 0; i < part; i++) sums[i % 16] = add(i < 16 ? 0.0f : sums[i % 16], *a++, *b++);
        total += net_fold(sums, part);
        count -= part;
    }
    return total;
}
)
EXPORTED(kl,
static inline float net_kl(float sum, float mean, float logvar) {
    const float above = -1.0f > logvar ? -1.0f : logvar;
    const float x = 1.0f < above ? 1.0f : above;
    float       p = 2.41456269e-06f;
    p = p * x + 2.53045891e-05f;
    p = p * x + 0.000199219547f;
    p = p * x + 0.00138863234f;
    p = p * x + 0.00833282247f;
    p = p * x + 0.0416666977f;
    p = p * x + 0.166666746f;
    p = p * x + 0.5f;
    p = x * x * p;
    if (!(net_size(logvar) < 1.0f)) p = net_exp(logvar) - 1.0f - logvar;
    return sum + (mean * mean + p);
}
)
EXPORTED(bernoulli,
static inline float net_bernoulli(float sum, float l, float x) {
    return sum + net_plus_log1p((0.0f > l ? 0.0f : l) - l * x, net_exp(-net_size(l)));
}
)
EXPORTED(continuous_bernoulli,
static inline float net_continuous_bernoulli(float sum, float l, float x) {
    const float a = net_size(l);
    const float most = 1.0f > a ? 1.0f : a;
    const float large = 1e30f < most ? 1e30f : most;
    const float y = 0.5f * (1.0f < a ? 1.0f : a);
    const float z = y * y;
    float       p = (float)(1 / 467775.0);
    p = p * z + (float)(-1 / 37800.0);
    p = p * z + (float)(1 / 2835.0);
    p = p * z + (float)(-1 / 180.0);
    p = p * z + (float)(1 / 6.0);
    p = a < 1.0f ? p * z + -y : net_log((1.0f - net_exp(-large)) / large);
    return sum + ((0.0f > l ? 0.0f : l) - l * x + p);
}
)
EXPORTED(gaussian,
static inline float net_gaussian(float sum, float y, float x) { return (y - x) * (y - x) + sum; }
)
EXPORTED(laplace,
static inline float net_laplace(float sum, float y, float x) { return sum + net_size(y - x); }
)
EXPORTED(gaussians,
static inline double net_gaussians(const float *y, const float *x, const float *inverse, int count) {
    double sum = 0;
    for (; count > 0; count--) {
        const float off = (*y++ - *x++) * *inverse++;
        sum += (double)off * (double)off;
    }
    return sum * 0.5;
}
)
EXPORTED(laplaces,
static inline double net_laplaces(const float *y, const float *x, const float *inverse, int count) {
    double sum = 0;
    for (; count > 0; count--) {
        const float off = (*y++ - *x++) * *inverse++;
        sum += (double)(off < 0.0f ? -off : off);
    }
    return sum;
}
)
EXPORTED(predicted,
static inline double net_predicted(const float *y, const float *x, int positions, int channels) {
    double sum = 0;
    int    channel;
    for (; positions > 0; positions--, y += channels)
        for (channel = 0; channel < channels; channel++, y++) {
            const float v = net_hold(y[channels], -12.0f, 40.0f);
            const float off = net_exp(-v * 0.5f) * (y[0] - *x++);
            sum += (double)off * (double)off + (double)v;
        }
    return sum * 0.5;
}
)
EXPORTED(logistic,
static inline double net_logistic(const float *y, const float *x, int positions, int channels) {
    const int count = positions * channels;
    float     sums[16];
    double    sum = 0;
    int       i, channel = 0;
    for (i = 0; i < count; i++, y++) {
        const float v = net_hold(y[channels], -8.0f, 4.0f);
        const float delta = net_level_width(v);
        const int   level = (int)(255.0f * x[i] + 0.5f);
        const int   inner = level > 0 && level < 255;
        const float off = (float)level - 255.0f * y[0];
        const float upper = net_softplus(level == 255 ? -1000.0f : -(off + 0.5f) * delta);
        const float lower = net_softplus(level == 0 ? -1000.0f : (off - 0.5f) * delta);
        sum += (double)upper + (double)lower;
        if (inner) sum += (double)v + 5.54126354515842934;
        sums[i % 16] = net_continuous_bernoulli(0.0f, inner ? delta : 0.0f, inner ? 1.0f : 0.0f);
        if (i % 16 == 15 || i + 1 == count) sum -= net_fold(sums, i % 16 + 1);
        if (++channel == channels) {
            channel = 0;
            y += channels;
        }
    }
    return sum;
}
)
EXPORTED(squared_error,
static inline double net_squared_error(const float *y, const float *x, const float *scale, int count) {
    double sum = 0;
    for (; count > 0; count--) {
        const double off = ((double)*x++ - (double)*y++) * (scale ? (double)*scale++ : 1);
        sum += off * off;
    }
    return sum;
}
)

/* ---- int8: an activation is (q - zero) scale, a weight q scale of its channel. Sums are whole numbers. ---- */

EXPORTED(quantize,
static inline void net_quantize(const float *x, int8_t *y, float factor, float zero, int count) {
    for (; count > 0; count--) {
        const float q = net_hold(*x++ * factor + zero, -128.0f, 127.0f);
        *y++ = (int8_t)((int)((q == q ? q : zero) + 128.5f) - 128);
    }
}
)
EXPORTED(center_each,
static inline void net_center_each(const float *x, const float *mean, const float *scale, float *y, int count) {
    for (; count > 0; count--) *y++ = (*x++ - *mean++) / *scale++;
}
)
EXPORTED(restore_each,
static inline void net_restore_each(float *y, const float *mean, const float *scale, int count) {
    for (; count > 0; count--, y++) *y = *y * *scale++ + *mean++;
}
)
EXPORTED(layer,
typedef struct net_layer {
    const int8_t  *weight;
    const int32_t *bias;
    const int32_t *multiplier;
    const float   *factor;
    int offset, half, shift, zero, low;
} net_layer;
)
EXPORTED(store,
NET_APART static void net_store(const net_layer *layer, int channel, int channels, const int32_t *sums, void *y,
                                int at) {
    const int32_t *multiplier = layer->multiplier + channel;
    const int      half = layer->half;
    const int      shift = layer->shift;
    const int      zero = layer->zero;
    const int      low = layer->low;
    int8_t        *to = (int8_t *)y + at;
    if (layer->factor) {
        const float *factor = layer->factor + channel;
        float       *number = (float *)y + at;
        for (; channels > 0; channels--) *number++ = (float)*sums++ * *factor++;
        return;
    }
    do {
        const int32_t high = (int32_t)(((int64_t)*sums++ * *multiplier++) >> 32);
        int           q = ((high + half) >> shift) + zero;
        if (q < low) q = low;
        if (q > 127) q = 127;
        *to++ = (int8_t)q;
    } while (--channels > 0);
}
)
EXPORTED(four_sums8,
NET_APART static void net_four_sums8(int32_t *sums, const int8_t *weight, int next, const int8_t *x, int offset,
                                     int count) {
    const int8_t *other = weight + 2 * next;
    const int8_t *end = x + count;
    int32_t a = sums[0];
    int32_t b = sums[1];
    int32_t c = sums[2];
    int32_t d = sums[3];
    do {
        const int32_t value = *x++ + offset;
        a += value * weight[0];
        b += value * weight[next];
        c += value * other[0];
        d += value * other[next];
        weight++;
        other++;
    } while (x != end);
    sums[0] = a;
    sums[1] = b;
    sums[2] = c;
    sums[3] = d;
}
)
EXPORTED(one_sum8,
NET_APART static int32_t net_one_sum8(int32_t sum, const int8_t *weight, const int8_t *x, int offset,
                                      const net_patch *p) {
    int line;
    for (line = p->lines; line > 0; line--, weight += p->weight_line, x += p->x_line) {
        const int8_t *w = weight;
        const int8_t *from = x;
        const int8_t *end = x + (p->count & ~3);
        int           rest;
        if (p->count >= 4) do {
            sum += (from[0] + offset) * w[0];
            sum += (from[1] + offset) * w[1];
            sum += (from[2] + offset) * w[2];
            sum += (from[3] + offset) * w[3];
            from += 4;
            w += 4;
        } while (from != end);
        for (rest = p->count & 3; rest > 0; rest--) sum += (*from++ + offset) * *w++;
    }
    return sum;
}
)
EXPORTED(sums8,
static inline void net_sums8(const net_layer *layer, const int32_t *bias, int channels, const int8_t *weight, int next,
                             const int8_t *x, const net_patch *p, void *y, int at) {
    int32_t sums[4];
    int     channel, line, left;
    for (channel = 0; channel + 4 <= channels; channel += 4, weight += 4 * next) {
        const int8_t *w = weight;
        const int8_t *from = x;
        sums[0] = bias[channel];
        sums[1] = bias[channel + 1];
        sums[2] = bias[channel + 2];
        sums[3] = bias[channel + 3];
        for (line = p->lines; line > 0; line--, w += p->weight_line, from += p->x_line)
            net_four_sums8(sums, w, next, from, layer->offset, p->count);
        net_store(layer, channel, 4, sums, y, at + channel);
    }
    for (left = channels & 3; left > 0; left--, channel++, weight += next) {
        sums[0] = net_one_sum8(bias[channel], weight, x, layer->offset, p);
        net_store(layer, channel, 1, sums, y, at + channel);
    }
}
)
EXPORTED(dense8,
static inline void net_dense8(const net_layer *layer, const int32_t *bias, const int8_t *x, int inputs, void *y,
                              int outputs) {
    const net_patch patch = { 1, inputs, 0, 0 };
    net_sums8(layer, bias, outputs, layer->weight, inputs, x, &patch, y, 0);
}
)
EXPORTED(convolution8,
static inline void net_convolution8(const net_geometry *g, net_span (*reach)(const net_axis *, int),
                                    const net_layer *layer, const int8_t *x, void *y) {
    const int line = g->width.kernel * g->in_channels;
    net_patch patch;
    int       row, column, at = 0;
    patch.weight_line = line;
    patch.x_line = g->width.in * g->in_channels;
    for (row = 0; row < g->height.out; row++) {
        const net_span rows = reach(&g->height, row);
        for (column = 0; column < g->width.out; column++, at += g->out_channels) {
            const net_span columns = reach(&g->width, column);
            patch.lines = columns.count > 0 ? rows.count : 0;
            patch.count = columns.count * g->in_channels;
            net_sums8(layer, layer->bias, g->out_channels,
                      layer->weight + rows.tap * line + columns.tap * g->in_channels, g->height.kernel * line,
                      x + rows.from * patch.x_line + columns.from * g->in_channels, &patch, y, at);
        }
    }
}
)
EXPORTED(narrow8,
static inline void net_narrow8(const net_geometry *g, net_span (*reach)(const net_axis *, int), const net_layer *layer,
                               const int8_t *x, void *y) {
    const int line = g->width.kernel * g->in_channels;
    const int step = g->width.stride;
    net_patch patch;
    int32_t   sums[4], base[3];
    int       row, phase, column, channel, places, i;
    patch.weight_line = line;
    patch.x_line = g->width.in * g->in_channels;
    for (row = 0; row < g->height.out; row++) {
        const net_span rows = reach(&g->height, row);
        for (phase = 0; phase < step; phase++) {
            base[0] = base[1] = base[2] = 0;
            for (column = phase; column < g->width.out; column += places * step) {
                const net_span columns = reach(&g->width, column);
                const int8_t  *weight = layer->weight + rows.tap * line + columns.tap * g->in_channels;
                const int8_t  *from = x + rows.from * patch.x_line + columns.from * g->in_channels;
                int            at = (row * g->width.out + column) * g->out_channels;
                int            next = 0;
                patch.lines = columns.count > 0 ? rows.count : 0;
                patch.count = columns.count * g->in_channels;
                places = 1;
                if (patch.lines && column + 3 * step < g->width.out) {
                    const net_span last = reach(&g->width, column + 3 * step);
                    next = (last.from - columns.from) / 3 * g->in_channels;
                    if (last.tap == columns.tap && last.count == columns.count) places = 4;
                }
                for (channel = 0; channel < g->out_channels; channel++, at++, weight += g->height.kernel * line) {
                    sums[0] = sums[1] = sums[2] = sums[3] = base[channel];
                    for (i = 0; places == 4 && i < patch.lines; i++)
                        net_four_sums8(sums, from + i * patch.x_line, next, weight + i * line, 0, patch.count);
                    if (places == 1)
                        sums[0] = net_one_sum8(layer->bias[channel], weight, from, layer->offset, &patch);
                    else if (!base[channel]) {
                        base[channel] = net_one_sum8(layer->bias[channel], weight, from, layer->offset, &patch) -
                                        sums[0];
                        for (i = 0; i < 4; i++) sums[i] += base[channel];
                    }
                    for (i = 0; i < places; i++)
                        net_store(layer, channel, 1, sums + i, y, at + i * step * g->out_channels);
                }
            }
        }
    }
}
)
EXPORTED(look_up,
static inline void net_look_up(const int8_t *table, int8_t *y, int count) {
    for (; count > 0; count--, y++) *y = table[*y + 128];
}
)
EXPORTED(spread,
static inline void net_spread(const float *table, const int8_t *x, float *y, int count) {
    for (; count > 0; count--) *y++ = table[*x++ + 128];
}
)

/* What processors with packed products of 16 bits do in place of four_sums8 and one_sum8 (Cortex-M4, M7, M33). */
static const char export_packed[] =
    "/* Two products of 16 bits and their sum are one instruction, so of four bytes the even and the odd ones go\n"
    "   together. Four inputs and four channels at a time just fit into the registers: `offsets` stays in memory. */\n"
    "#define NET_WIDEN                                      \\\n"
    "    \"ldr %[odd], [%[x]], #4\\n\\t\"                       \\\n"
    "    \"ldr %[low], %[offsets]\\n\\t\"                       \\\n"
    "    \"sxtab16 %[even], %[low], %[odd]\\n\\t\"              \\\n"
    "    \"sxtab16 %[odd], %[low], %[odd], ror #8\\n\\t\"\n"
    "#define NET_PRODUCTS(sum, weights)                     \\\n"
    "    \"ldr %[four], \" weights \"\\n\\t\"                     \\\n"
    "    \"sxtb16 %[low], %[four]\\n\\t\"                       \\\n"
    "    \"sxtb16 %[four], %[four], ror #8\\n\\t\"              \\\n"
    "    \"smlad \" sum \", %[even], %[low], \" sum \"\\n\\t\"      \\\n"
    "    \"smlad \" sum \", %[odd], %[four], \" sum \"\\n\\t\"\n"
    "#define NET_STEP                                       \\\n"
    "    NET_WIDEN NET_PRODUCTS(\"%[b]\", \"[%[w], %[next]]\") NET_PRODUCTS(\"%[a]\", \"[%[w]], #4\") \\\n"
    "    NET_PRODUCTS(\"%[d]\", \"[%[v], %[next]]\") NET_PRODUCTS(\"%[c]\", \"[%[v]], #4\")\n"
    "#define NET_FOUR(code)                                 \\\n"
    "    uint32_t even, odd, four, low;                     \\\n"
    "    __asm__ volatile(code                              \\\n"
    "        : [a] \"+r\"(a), [b] \"+r\"(b), [c] \"+r\"(c), [d] \"+r\"(d), [x] \"+r\"(x), [w] \"+r\"(weight), \\\n"
    "          [v] \"+r\"(other), [even] \"=&r\"(even), [odd] \"=&r\"(odd), [four] \"=&r\"(four), \\\n"
    "          [low] \"=&r\"(low) : [next] \"r\"(next), [offsets] \"m\"(offsets))\n"
    "NET_APART static void net_four_sums8(int32_t *sums, const int8_t *weight, int next, const int8_t *x, int offset,\n"
    "                                     int count) {\n"
    "    const uint32_t offsets = ((uint32_t)offset & 0xFFFFu) * 0x10001u;\n"
    "    const int8_t  *other = weight + 2 * next, *end = x + (count & ~7);\n"
    "    int32_t        a = sums[0], b = sums[1], c = sums[2], d = sums[3];\n"
    "    if (count >= 8) do { NET_FOUR(NET_STEP NET_STEP); } while (x != end);\n"
    "    if (count & 4) { NET_FOUR(NET_STEP); }\n"
    "    for (count &= 3; count > 0; count--, weight++, other++) {\n"
    "        const int32_t value = *x++ + offset;\n"
    "        a += value * weight[0];\n"
    "        b += value * weight[next];\n"
    "        c += value * other[0];\n"
    "        d += value * other[next];\n"
    "    }\n"
    "    sums[0] = a;\n"
    "    sums[1] = b;\n"
    "    sums[2] = c;\n"
    "    sums[3] = d;\n"
    "}\n"
    "NET_APART static int32_t net_one_sum8(int32_t sum, const int8_t *weight, const int8_t *x, int offset,\n"
    "                                      const net_patch *p) {\n"
    "    const uint32_t offsets = ((uint32_t)offset & 0xFFFFu) * 0x10001u;\n"
    "    int            line, rest;\n"
    "    for (line = p->lines; line > 0; line--, weight += p->weight_line, x += p->x_line) {\n"
    "        const int8_t *from = x, *w = weight, *end = x + (p->count & ~3);\n"
    "        if (p->count >= 4) do {\n"
    "            uint32_t even, odd, four, low;\n"
    "            __asm__ volatile(NET_WIDEN NET_PRODUCTS(\"%[a]\", \"[%[w]], #4\")\n"
    "                             : [a] \"+r\"(sum), [x] \"+r\"(from), [w] \"+r\"(w), [even] \"=&r\"(even),\n"
    "                               [odd] \"=&r\"(odd), [four] \"=&r\"(four), [low] \"=&r\"(low)\n"
    "                             : [offsets] \"m\"(offsets));\n"
    "        } while (from != end);\n"
    "        for (rest = p->count & 3; rest > 0; rest--) sum += (*from++ + offset) * *w++;\n"
    "    }\n"
    "    return sum;\n"
    "}\n"
    "#undef NET_STEP\n"
    "#undef NET_FOUR\n"
    "#undef NET_WIDEN\n"
    "#undef NET_PRODUCTS\n";

/* In the order in which they stand in a file. */
typedef struct exported_piece {
    const char *name, *text, *comment;
} exported_piece;

#define EXPORTED_PIECE(name, comment) { #name, exported_text_##name, comment }

static const exported_piece exported_pieces[] = {
    EXPORTED_PIECE(word, NULL),
    EXPORTED_PIECE(number, NULL),
    EXPORTED_PIECE(bits, NULL),
    EXPORTED_PIECE(size, NULL),
    EXPORTED_PIECE(hold, NULL),
    EXPORTED_PIECE(power, "2^(n-1) 2 e^r; `shifted` is n + 1.5 2^23, which has n in its low bits."),
    EXPORTED_PIECE(exp, "e^x for x up to 88: x = n ln 2 + r, ln 2 in two parts."),
    EXPORTED_PIECE(log, "log x for x above 0: x = 2^n (1 + f)."),
    EXPORTED_PIECE(plus_log1p, "y + log(1 + e) for e from 0 to 1."),
    EXPORTED_PIECE(relu, NULL),
    EXPORTED_PIECE(leaky_relu, NULL),
    EXPORTED_PIECE(sigmoid, NULL),
    EXPORTED_PIECE(silu, NULL),
    EXPORTED_PIECE(softplus, NULL),
    EXPORTED_PIECE(tanh, NULL),
    EXPORTED_PIECE(gelu, "x times the normal distribution's function."),
    EXPORTED_PIECE(each, NULL),
    EXPORTED_PIECE(patch, "Lines of `count` numbers: those of the next line stand `weight_line` and `x_line` further."),
    EXPORTED_PIECE(four_sums, "Four channels share each x; their weights lie `next` apart."),
    EXPORTED_PIECE(one_sum, NULL),
    EXPORTED_PIECE(sums, NULL),
    EXPORTED_PIECE(dense, NULL),
    EXPORTED_PIECE(axis, NULL),
    EXPORTED_PIECE(geometry, NULL),
    EXPORTED_PIECE(span, "Inputs from `from` on meet the kernel's stored taps from `tap` on."),
    EXPORTED_PIECE(reach, "What lies outside counts as 0."),
    EXPORTED_PIECE(reach_transposed, "An output meets every stride-th tap; those are stored side by side."),
    EXPORTED_PIECE(convolution, "Images have their channels last."),
    EXPORTED_PIECE(normalize, "Batch normalisation by the averages of training."),
    EXPORTED_PIECE(add, NULL),
    EXPORTED_PIECE(standardize, "In double, as the difference of two large floats need not fit in a float."),
    EXPORTED_PIECE(restore, NULL),
    EXPORTED_PIECE(fill, "What is missing counts as 0."),
    EXPORTED_PIECE(leave_out, "What is missing adds no nats; how many numbers are there."),
    EXPORTED_PIECE(leave_out_pairs, "The same with two outputs a number."),
    EXPORTED_PIECE(nats_there, NULL),
    EXPORTED_PIECE(softmax, NULL),
    EXPORTED_PIECE(hold_each, NULL),
    EXPORTED_PIECE(continuous_mean, "The mean of the continuous Bernoulli distribution: 1/(1 - e^-l) - 1/l."),
    EXPORTED_PIECE(first_numbers, "Of two numbers a pixel the first, its mean."),
    EXPORTED_PIECE(level_width, NULL),
    EXPORTED_PIECE(mean_level, NULL),
    EXPORTED_PIECE(logistic_mean, "The mean of a logistic distribution rounded to k/255."),
    EXPORTED_PIECE(logistic_means, NULL),
    EXPORTED_PIECE(fold, NULL),
    EXPORTED_PIECE(sum, "Terms are added up in the library's order."),
    EXPORTED_PIECE(kl, "Twice the KL of one dimension."),
    EXPORTED_PIECE(bernoulli, NULL),
    EXPORTED_PIECE(continuous_bernoulli, NULL),
    EXPORTED_PIECE(gaussian, NULL),
    EXPORTED_PIECE(laplace, NULL),
    EXPORTED_PIECE(gaussians, "Each number has a sigma of its own."),
    EXPORTED_PIECE(laplaces, "Each number has a sigma of its own."),
    EXPORTED_PIECE(predicted, NULL),
    EXPORTED_PIECE(logistic, NULL),
    EXPORTED_PIECE(squared_error, NULL),
    EXPORTED_PIECE(quantize, "NaN counts as 0."),
    EXPORTED_PIECE(center_each, NULL),
    EXPORTED_PIECE(restore_each, NULL),
    EXPORTED_PIECE(layer, "An activation is (q - zero) scale. From a sum, multiplier 2^-(32 + shift) leads to the next "
                          "one's scale, factor to a float."),
    EXPORTED_PIECE(store, NULL),
    EXPORTED_PIECE(four_sums8, NULL),
    EXPORTED_PIECE(one_sum8, NULL),
    EXPORTED_PIECE(sums8, NULL),
    EXPORTED_PIECE(dense8, NULL),
    EXPORTED_PIECE(convolution8, "Images have their channels last."),
    EXPORTED_PIECE(narrow8, "Up to three channels, which come last. Four outputs a stride apart that meet the same\n"
                            "   taps share each weight: inputs and weights change places. To each, bias and offset\n"
                            "   add `base`."),
    EXPORTED_PIECE(look_up, NULL),
    EXPORTED_PIECE(spread, "x may be the last `count` bytes of y.")
};
enum { EXPORTED_PIECES = (int)(sizeof exported_pieces / sizeof exported_pieces[0]) };

#endif
