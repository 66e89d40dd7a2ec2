/* fuzz_json.h - changes to a safetensors file, field by field: names, dtypes, shapes, offsets, metadata, the JSON
   inside the metadata's strings, and the numbers in the data. Lengths and offsets are put right again most of the time,
   so that most files get past the first checks. After fuzz.h. */
#ifndef FUZZ_JSON_H
#define FUZZ_JSON_H

/* What makes inputs is not what is looked at. */
#ifdef FUZZ_LIBFUZZER
#pragma clang attribute push(__attribute__((no_sanitize("address", "undefined", "coverage"))), apply_to = function)
#endif

enum { JSON_MOST_NODES = 2000 };

/* A value, or the name before a value's colon. */
typedef struct json_node {
    size_t start, end;
    int    kind;                /* its first character: { [ " or, for numbers and words, 0 */
    int    is_name, parent;     /* the container's index, -1 at the top */
} json_node;

typedef struct json_text {
    unsigned char *bytes;
    size_t         size, most;
    json_node      nodes[JSON_MOST_NODES];
    int            count;
} json_text;

static inline void json_put(json_text *t, size_t at, size_t out, const void *from, size_t in) {
    t->size = fuzz_splice(t->bytes, t->size, t->most, at, out, from, in);
}

static inline int json_is_space(int c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* Finds the nodes. Whatever the text is, it finds something. */
static inline void json_scan(json_text *t) {
    int    open[64], depth = 0;
    size_t i = 0, next;
    t->count = 0;
    while (i < t->size && t->count < JSON_MOST_NODES) {
        const int  c = t->bytes[i];
        json_node *node = &t->nodes[t->count];
        if (json_is_space(c) || c == ',' || c == ':') { i++; continue; }
        if (c == '}' || c == ']') {
            i++;
            if (depth) t->nodes[open[--depth]].end = i;
            continue;
        }
        node->start = i;
        node->parent = depth ? open[depth - 1] : -1;
        node->kind = c == '{' || c == '[' || c == '"' ? c : 0;
        node->is_name = 0;
        if (c == '{' || c == '[') {
            node->end = t->size;
            if (depth < 64) open[depth++] = t->count;
            i++;
        } else if (c == '"') {
            for (i++; i < t->size && t->bytes[i] != '"'; i++) i += t->bytes[i] == '\\';
            i = i < t->size ? i + 1 : t->size;
        } else while (i < t->size && !json_is_space(t->bytes[i]) && !strchr(",:{}[]\"", t->bytes[i])) i++;
        if (i == node->start) i++;                      /* a byte 0 */
        if (node->kind != '{' && node->kind != '[') {
            node->end = i;
            for (next = i; next < t->size && json_is_space(t->bytes[next]); next++) {}
            node->is_name = c == '"' && next < t->size && t->bytes[next] == ':';
        }
        t->count++;
    }
}

static inline int json_is(const json_text *t, const json_node *node, const char *string) {
    return node->end - node->start == strlen(string) && !memcmp(t->bytes + node->start, string, strlen(string));
}

/* The member `name` (with its quotes) of the object: the index of its value, or -1. */
static inline int json_member(const json_text *t, int object, const char *name) {
    int i;
    for (i = object + 1; i + 1 < t->count; i++)
        if (t->nodes[i].parent == object && t->nodes[i].is_name && json_is(t, &t->nodes[i], name)) return i + 1;
    return -1;
}

/* From a name to the end of its value, or one item of an array. */
static inline void json_extent(const json_text *t, int index, size_t *start, size_t *end) {
    *start = t->nodes[index].start;
    *end = t->nodes[index].end;
    if (t->nodes[index].is_name && index + 1 < t->count) *end = t->nodes[index + 1].end;
}

static const char *const json_numbers[] = {
    "0", "-0", "-1", "1", "2", "3", "7", "8", "9", "255", "256", "4096", "4097", "65535", "65536", "16777216",
    "67108864", "67108865", "2147483647", "2147483648", "4294967295", "4294967296", "9223372036854775807",
    "9223372036854775808", "18446744073709551615", "18446744073709551616", "340282366920938463463374607431768211456",
    "0.5", "1e-45", "1e38", "3.5e38", "1e999", "-1e999", "1e-999", "0.1e1", "00", "01", "+1", ".5", "1.", "1e", "0x10",
    "NaN", "Infinity", "-Infinity", "nan", "inf", "1.17549435e-38",
    "0.00000000000000000000000000000000000000000000000000000001", "true"
};
static const char *const json_values[] = {
    "null", "true", "false", "[]", "{}", "\"\"", "[[]]", "[{}]", "{\"\":0}", "[1,2]", "[0,0]", "[1,1,1,1,1,1,1,1,1]",
    "[2,0]", "[0,4]", "[0,18446744073709551615]", "[18446744073709551615,18446744073709551615]",
    "[2,18446744073709551614]", "[2,9223372036854775807]", "\"\\u0000\"", "\"\\ud83d\\ude00\"", "\"\\ud800\"",
    "\"\xc3\xa9\"", "\"\xf0\x9f\x98\x80\"", "\"\xff\"", "\"\xc0\x80\"", "\"\\", "\"a", "{", "[", "}", "]", ",", ":",
    "\"", "\\", "\\\"", " ", "\t\n\r ", "//", "/**/"
};
static const char *const json_strings[] = {
    "F32", "F16", "BF16", "F64", "I32", "U8", "BOOL", "F8_E4M3", "C64", "F4", "f32", "dtype", "shape", "data_offsets",
    "__metadata__", "format", "pt", "vae.version", "vae.config", "vae.state", "1", "2", "3", "0", "9223372036854775807",
    "9223372036854775808", "18446744073709551615", "18446744073709551616", "input", "latent", "encoder", "decoder",
    "likelihood", "sigma", "sigma_per_pixel", "standardize", "classes", "classifier", "classifier_weight", "part",
    "beta", "beta_schedule", "objective", "samples", "free_bits", "capacity", "capacity_schedule", "initialization",
    "layout", "optimizer", "adam", "seed", "batch", "freeze", "keep_best", "tied", "shared_heads", "corruption",
    "binarize", "missing", "targets", "kind", "channels", "kernel", "stride", "padding", "output_padding", "activation",
    "dropout", "batch_norm", "steps", "warmup", "from", "to", "learning_rate", "beta1", "beta2", "epsilon", "momentum",
    "weight_decay", "schedule", "clip_norm", "amount", "step", "epoch", "position", "samples_drawn", "epoch_rows",
    "epoch_batch", "epoch_keeps_order", "best_epoch", "best_loss", "waited", "plateau", "shows_best", "dense", "conv",
    "conv_transposed", "same", "explicit", "linear", "relu", "leaky_relu", "silu", "gelu", "tanh", "sigmoid",
    "softplus", "bernoulli", "gaussian", "laplace", "continuous_bernoulli", "gaussian_predicted",
    "discretized_logistic", "elbo", "iwae", "autoencoder", "pytorch", "glorot", "he", "whole", "none", "masking",
    "salt_and_pepper", "constant", "cosine", "exponential", "cyclical", "sgd", "adamw", "rmsprop", "adadelta",
    "channels_first", "encoder.0.weight", "encoder.0.bias", "mean.weight", "logvar.bias", "decoder.2.weight",
    "log_sigma", "standardize.scale", "standardize.mean", "encoder.1.running_var", "encoder.1.num_batches_tracked",
    "optimizer.m.", "optimizer.v.mean.weight", "optimizer.u.mean.bias", "adam.m.mean.weight", "best.mean.weight",
    "model.mean.weight"
};
#define JSON_ANY(random, table) (table)[fuzz_below(random, sizeof(table) / sizeof *(table))]

/* A text to stand for the node: mostly of its kind. */
static inline void json_replace(json_text *t, const json_node *node, test_random *random) {
    const int   as_string = node->kind == '"' ? !fuzz_chance(random, 6) : fuzz_chance(random, 8);
    const char *text = as_string ? JSON_ANY(random, json_strings)
                                 : node->kind == 0 && !fuzz_chance(random, 6) ? JSON_ANY(random, json_numbers)
                                                                              : JSON_ANY(random, json_values);
    const size_t quote = as_string && node->kind == '"';
    json_put(t, node->start + quote, node->end - node->start - 2 * quote, text, strlen(text));
}

/* A small change to a number or word. */
static inline void json_count(json_text *t, const json_node *node, test_random *random) {
    char   text[32];
    size_t length = node->end - node->start;
    long   number;
    if (length >= sizeof text) return;
    memcpy(text, t->bytes + node->start, length);
    text[length] = 0;
    number = atol(text) % 1000000000;
    switch (fuzz_below(random, 6)) {
    case 0: number++; break;
    case 1: number--; break;
    case 2: number *= 2; break;
    case 3: number /= 2; break;
    case 4: number = -number; break;
    default: number = (long)fuzz_below(random, 10);
    }
    snprintf(text, sizeof text, "%ld", number);
    json_put(t, node->start, length, text, strlen(text));
}

/* A change within a string: escapes, other characters, no end. */
static inline void json_letters(json_text *t, const json_node *node, test_random *random) {
    static const char *const odd[] = {
        "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xff", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc2", "\n",
        "\x01", "\x7f", "\\n", "\\u0041", "\\u00e9", "\\ud83d\\ude00", "\\udc00", "\\x", "\\\"", "\\\\", "\"", ".",
        " ", "\x1b[31m"
    };
    const size_t             length = node->end - node->start,
                 at = node->start + 1 + fuzz_below(random, length > 1 ? length - 1 : 1);
    const char  *piece = JSON_ANY(random, odd);
    char         text[300];
    if (at > t->size) return;
    switch (fuzz_below(random, 5)) {
    case 0:             /* the same letter as an escape */
        if (at + 1 >= node->end || t->bytes[at] == '\\' || t->bytes[at - 1] == '\\' || t->bytes[at] >= 128) return;
        snprintf(text, sizeof text, fuzz_chance(random, 2) ? "\\u%04x" : "\\u%04X", t->bytes[at]);
        json_put(t, at, 1, text, strlen(text));
        break;
    case 1: json_put(t, at, at < node->end, piece, strlen(piece)); break;
    case 2: json_put(t, at, at < node->end, "", 0); break;
    case 3:
        memset(text, 'a', sizeof text);
        json_put(t, at, 0, text, 250 + fuzz_below(random, 12));
        break;
    default: json_put(t, at, 0, piece, strlen(piece));
    }
}

static inline void json_change(json_text *t, test_random *random, int depth);

/* The string's content as JSON of its own: changed and put back with its quotes escaped again. */
static inline void json_change_inner(json_text *t, const json_node *node, test_random *random) {
    static json_text     inner;
    static unsigned char plain[FUZZ_MOST_INPUT], escaped[2 * FUZZ_MOST_INPUT];
    size_t               i, size = 0, changes = 1 + fuzz_below(random, 3);
    inner.bytes = plain;
    inner.most = sizeof plain;
    inner.size = 0;
    for (i = node->start + 1; i + 1 < node->end && inner.size < sizeof plain; i++) {
        if (t->bytes[i] == '\\' && i + 2 < node->end && (t->bytes[i + 1] == '"' || t->bytes[i + 1] == '\\')) i++;
        plain[inner.size++] = t->bytes[i];
    }
    while (changes--) {
        json_scan(&inner);
        json_change(&inner, random, 1);
    }
    for (i = 0; i < inner.size; i++) {
        if (plain[i] == '"' || plain[i] == '\\') escaped[size++] = '\\';
        escaped[size++] = plain[i];
    }
    json_put(t, node->start + 1, node->end - node->start - 2, escaped, size);
}

/* Takes a member out, doubles it, puts it elsewhere, or puts something around it. */
static inline void json_move(json_text *t, int index, test_random *random) {
    static unsigned char kept[FUZZ_MOST_INPUT + 1];
    const json_node     *other = &t->nodes[fuzz_below(random, (size_t)t->count)];
    size_t               start, end, length;
    json_extent(t, index, &start, &end);
    length = end - start;
    if (length > FUZZ_MOST_INPUT) return;
    memcpy(kept, t->bytes + start, length);
    switch (fuzz_below(random, 4)) {
    case 0:             /* out, with the comma behind it or before */
        if (end < t->size && t->bytes[end] == ',') end++;
        else if (start && t->bytes[start - 1] == ',') start--;
        json_put(t, start, end - start, "", 0);
        break;
    case 1:             /* twice */
        kept[length] = ',';
        json_put(t, start, 0, kept, length + 1);
        break;
    case 2:             /* first in another container */
        while (other->kind != '{' && other->kind != '[') {
            if (other->parent < 0) return;
            other = &t->nodes[other->parent];
        }
        kept[length] = ',';
        json_put(t, other->start + 1, 0, kept, length + 1);
        break;
    default: {
        static const char *const around[][2] = {
            { "[", "]" }, { "{\"a\":", "}" }, { "\"", "\"" }, { " ", "\n" }, { "[[[[[[[[[[", "]]]]]]]]]]" }
        };
        const size_t             a = fuzz_below(random, sizeof around / sizeof *around);
        start = t->nodes[index].start;
        end = t->nodes[index].end;
        json_put(t, end, 0, around[a][1], strlen(around[a][1]));
        json_put(t, start, 0, around[a][0], strlen(around[a][0]));
    }
    }
}

/* The text of one node in place of another's, or both exchanged. */
static inline void json_exchange(json_text *t, const json_node *a, const json_node *b, test_random *random) {
    static unsigned char first[FUZZ_MOST_INPUT], second[FUZZ_MOST_INPUT];
    size_t               one, two;
    if (a->start > b->start) { const json_node *c = a; a = b; b = c; }
    one = a->end - a->start;
    two = b->end - b->start;
    if (a->end > b->start || one > sizeof first || two > sizeof second) return;
    memcpy(first, t->bytes + a->start, one);
    memcpy(second, t->bytes + b->start, two);
    if (fuzz_chance(random, 2)) json_put(t, b->start, two, first, one);
    if (fuzz_chance(random, 2)) json_put(t, a->start, one, second, two);
}

/* One of the strings that hold JSON, as the network's config and the state of training do; -1 if there is none. */
static inline int json_inner(const json_text *t, test_random *random) {
    int found = -1, count = 0, i;
    for (i = 0; i < t->count; i++)
        if (t->nodes[i].kind == '"' && t->nodes[i].end - t->nodes[i].start > 8 &&
            memchr(t->bytes + t->nodes[i].start, '{', t->nodes[i].end - t->nodes[i].start) &&
            fuzz_chance(random, ++count)) found = i;
    return found;
}

/* One change; the nodes are those of json_scan. */
static inline void json_change(json_text *t, test_random *random, int depth) {
    const int        index = (int)fuzz_below(random, (size_t)t->count);
    const int        inner = depth || !fuzz_chance(random, 3) ? -1 : json_inner(t, random);
    const json_node *node = &t->nodes[index], *other = node;
    int              tries;
    if (!t->count) {
        t->size = fuzz_mutate_bytes(t->bytes, t->size, t->most, random);
        return;
    }
    if (inner >= 0) {
        json_change_inner(t, &t->nodes[inner], random);
        return;
    }
    switch (fuzz_below(random, 10)) {
    case 0: case 1: json_replace(t, node, random); break;
    case 2: case 3:
        if (node->kind == '"') json_letters(t, node, random);
        else if (!node->kind) json_count(t, node, random);
        else json_replace(t, node, random);
        break;
    case 4: case 5: json_move(t, index, random); break;
    case 6: case 7:     /* with another of its kind: a dtype for a dtype, a name for a name */
        for (tries = 0; tries < 8; tries++) {
            other = &t->nodes[fuzz_below(random, (size_t)t->count)];
            if (other != node && other->kind == node->kind && other->is_name == node->is_name) break;
        }
        json_exchange(t, node, other, random);
        break;
    case 8: {
        const char *text = fuzz_chance(random, 2) ? " " : JSON_ANY(random, json_values);
        json_put(t, fuzz_chance(random, 2) ? node->start : node->end, 0, text, strlen(text));
        break;
    }
    default: if (fuzz_chance(random, 4)) t->size = fuzz_mutate_bytes(t->bytes, t->size, t->most, random);
             else json_replace(t, node, random);
    }
}

/* ---- the file: length, header, data ---- */

static inline void file_put_length(unsigned char *file, uint64_t length) {
    int i;
    for (i = 0; i < 8; i++) file[i] = (unsigned char)(length >> (8 * i) & 255);
}

/* The length of the header, or of what looks like one. */
static inline size_t file_header(const unsigned char *file, size_t size) {
    uint64_t length = 0;
    size_t   i;
    for (i = 8; i > 0; i--) length = length << 8 | file[i - 1];
    if (length <= size - 8) return (size_t)length;
    for (i = size; i > 8 && file[i - 1] != '}'; i--) {}
    return i - 8;
}

/* The bytes that a tensor of this object takes; (size_t)-1 where that cannot be said or is much. */
static inline size_t file_tensor_bytes(const json_text *t, int object) {
    const int dtype = json_member(t, object, "\"dtype\""), shape = json_member(t, object, "\"shape\"");
    size_t    product = 1, number, at;
    int       i;
    if (dtype < 0 || shape < 0) return (size_t)-1;
    for (i = shape + 1; i < t->count && t->nodes[i].start < t->nodes[shape].end; i++) {
        for (number = 0, at = t->nodes[i].start; at < t->nodes[i].end; at++) {
            if (t->bytes[at] < '0' || t->bytes[at] > '9' || number > 65536) return (size_t)-1;
            number = number * 10 + (size_t)(t->bytes[at] - '0');
        }
        if ((product *= number) > 65536) return (size_t)-1;
    }
    for (at = t->nodes[dtype].start; at < t->nodes[dtype].end; at++)
        if (t->bytes[at] >= '1' && t->bytes[at] <= '9') break;          /* F32, I64, BF16 ... */
    number = at == t->nodes[dtype].end ? 4
             : t->bytes[at] == '6'     ? 8
             : t->bytes[at] == '3'     ? 4
             : t->bytes[at] == '1'     ? 2
                                       : 1;
    return product * number;
}

/* Gives each tensor the place behind the one before it; returns the size of all data, (size_t)-1 where that is not
   possible. */
static inline size_t file_put_offsets(json_text *t) {
    struct { int offsets; size_t from, to; } places[256];
    char   text[64];
    size_t total = 0, bytes;
    int    count = 0, i;
    json_scan(t);
    for (i = 0; i + 1 < t->count && count < 256; i++) {
        if (t->nodes[i].parent != 0 || !t->nodes[i].is_name || t->nodes[i + 1].kind != '{' ||
            json_is(t, &t->nodes[i], "\"__metadata__\""))
            continue;
        if ((places[count].offsets = json_member(t, i + 1, "\"data_offsets\"")) < 0) continue;
        if ((bytes = file_tensor_bytes(t, i + 1)) == (size_t)-1) return (size_t)-1;
        places[count].from = total;
        places[count++].to = total += bytes;
        if (total > FUZZ_MOST_INPUT) return (size_t)-1;
    }
    while (count--) {
        const json_node node = t->nodes[places[count].offsets];
        snprintf(text, sizeof text, "[%lu,%lu]", (unsigned long)places[count].from, (unsigned long)places[count].to);
        json_put(t, node.start, node.end - node.start, text, strlen(text));
    }
    return total;
}

/* A number that is not one, or at the end of its range, or a byte more or less. */
static inline size_t file_change_data(unsigned char *data, size_t size, size_t most, test_random *random) {
    static const uint32_t odd[] = { 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFFFFFFF, 1,          0x80000001,
                                    0x80000000, 0,          0x7F7FFFFF, 0xFF7FFFFF, 0x00800000, 0x3F800000,
                                    0xBF800000, 0x7C007C00, 0x7E00FC00, 0x00010001, 0x7F817F81, 0x7149F2CA,
                                    0xF149F2CB, 0x41600000, 0x7FF00000, 0x47EFFFFF };
    unsigned char         bytes[4];
    const uint32_t        word = JSON_ANY(random, odd);
    size_t                at = fuzz_below(random, size), i, count;
    for (i = 0; i < 4; i++) bytes[i] = (unsigned char)(word >> (8 * i));
    switch (fuzz_below(random, 8)) {
    case 0: if (size) data[at] = (unsigned char)test_bits(random); return size;
    case 1: return fuzz_splice(data, size, most, at, 0, bytes, 1 + fuzz_below(random, 4));
    case 2: return fuzz_splice(data, size, most, at, 1 + fuzz_below(random, 4), "", 0);
    case 3:
        count = fuzz_below(random, 16);
        for (at -= at % 4; count-- && at + 4 <= size; at += 4) memcpy(data + at, bytes, 4);
        return size;
    default:
        at -= at % (fuzz_chance(random, 3) ? 2 : 4);
        if (at + 4 <= size) memcpy(data + at, bytes, 4);
        return size;
    }
}

/* Changes the file in bytes[0 .. size); returns its new size, at most `most`. */
static inline size_t file_change(unsigned char *file, size_t size, size_t most, test_random *random) {
    static json_text     text;
    static unsigned char header[FUZZ_MOST_INPUT], data[2 * FUZZ_MOST_INPUT];
    size_t               data_size, wanted, changes = 1, i;
    if (size < 10 || size > FUZZ_MOST_INPUT || most > 2 * FUZZ_MOST_INPUT || fuzz_chance(random, 16))
        return fuzz_mutate_bytes(file, size, most, random);
    text.bytes = header;
    text.most = sizeof header;
    text.size = file_header(file, size);
    data_size = size - 8 - text.size;
    memcpy(header, file + 8, text.size);
    memcpy(data, file + 8 + text.size, data_size);
    while (changes < 6 && fuzz_chance(random, 2)) changes++;
    while (changes--) {
        if (data_size && fuzz_chance(random, 4)) data_size = file_change_data(data, data_size, sizeof data, random);
        else {
            json_scan(&text);
            json_change(&text, random, 0);
        }
    }
    if (!fuzz_chance(random, 4) && (wanted = file_put_offsets(&text)) != (size_t)-1) {
        for (i = data_size; i < wanted && i < sizeof data; i++) data[i] = data_size ? data[i % data_size] : 0;
        data_size = wanted;
    }
    if (8 + text.size + data_size > most) {
        if (8 + text.size > most) return fuzz_mutate_bytes(file, size, most, random);
        data_size = most - 8 - text.size;
    }
    file_put_length(file, text.size);
    memcpy(file + 8, header, text.size);
    memcpy(file + 8 + text.size, data, data_size);
    if (fuzz_chance(random, 24)) {
        static const uint64_t lengths[] = {
            0, 1, 7, 100000000, 100000001, 0xFFFFFFFF, UINT64_C(0x100000000), (uint64_t)-1, (uint64_t)-8, (uint64_t)-9
        };
        file_put_length(file,
                        fuzz_chance(random, 2) ? JSON_ANY(random, lengths) : text.size + fuzz_below(random, 5) - 2);
    }
    return 8 + text.size + data_size;
}

#ifdef FUZZ_LIBFUZZER
#pragma clang attribute pop
#endif

#endif
