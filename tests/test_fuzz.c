/* tests/fuzz_files.c with inputs of its own: the files that the library writes, and changes to them drawn by a fixed
   sequence. With arguments it writes what libFuzzer begins with instead:
       test_fuzz --corpus FOLDER --dictionary FILE */
#include <ctype.h>
#include "test.h"
#define FUZZ_FAILED(text) test_check(0, __FILE__, __LINE__, text)
#include "fuzz_files.c"

enum { SEEDS = NETWORKS * 3 };

/* Input number `seed`: a file, a checkpoint as header and data, a checkpoint without a change. */
static size_t write_seed(int seed, unsigned char *input) {
    const int kind = seed % 3, which = seed / 3;
    size_t    size = 0, header;
    vae_error error;
    input[0] = (unsigned char)(which * INPUT_KINDS + kind);
    if (kind == INPUT_CHANGES) return 1;
    if (!CHECK(vae_save_memory(model_of(which), kind == INPUT_PARTS, input + 9, MOST_FILE, &size, &error) == VAE_OK)) return 1;
    if (kind == INPUT_FILE) {
        memmove(input + 1, input + 9, size);
        return 1 + size;
    }
    header = (size_t)input[9] | (size_t)input[10] << 8;
    memmove(input + 1, input + 17, header);             /* the eight bytes of its length make room for the one that ends it */
    memmove(input + 1 + header + 1, input + 17 + header, size - 8 - header);
    input[1 + header] = 0xFF;
    return 1 + header + 1 + size - 8 - header;
}

static void take(unsigned char *input, size_t *size, size_t at, size_t count) {
    memmove(input + at, input + at + count, *size - at - count);
    *size -= count;
}

static void insert(unsigned char *input, size_t *size, size_t at, const void *bytes, size_t count) {
    if (*size + count > MOST_INPUT) return;
    memmove(input + at + count, input + at, *size - at);
    memcpy(input + at, bytes, count);
    *size += count;
}

/* One change to an input: a bit, a byte, a cut, a piece twice, or a number in place of another. */
static void change(test_random *random, unsigned char *input, size_t *size) {
    static const char *const numbers[] = { "0", "-1", "1", "65535", "65536", "16777216", "67108864", "2147483647",
                                           "4294967296",
                                           "18446744073709551616", "1e999", "0.5", "true", "null", "[]", "{}", "\"\"" };
    unsigned char piece[16];
    size_t        at = *size > 1 ? 1 + test_bits(random) % (*size - 1) : 1, count = 1 + test_bits(random) % 16;
    if (*size <= 1 || input[0] % INPUT_KINDS == INPUT_CHANGES) {        /* one more change in its own language */
        const char *number = numbers[test_bits(random) % (sizeof numbers / sizeof *numbers)];
        unsigned char one[4] = { (unsigned char)test_bits(random), (unsigned char)(test_bits(random) % 16),
                                 (unsigned char)(test_bits(random) % 6), (unsigned char)strlen(number) };
        insert(input, size, *size, one, 4);
        insert(input, size, *size, number, strlen(number));
        return;
    }
    if (count > *size - at) count = *size - at;
    switch (test_bits(random) % 5) {
    case 0: input[at] ^= (unsigned char)(1 << test_bits(random) % 8); break;
    case 1: input[at] = (unsigned char)test_bits(random); break;
    case 2: take(input, size, at, count); break;
    case 3:
        memcpy(piece, input + at, count);
        insert(input, size, 1 + test_bits(random) % (*size - 1), piece, count);
        break;
    default: {
        const char *number = numbers[test_bits(random) % (sizeof numbers / sizeof *numbers)];
        while (at < *size && (input[at] < '0' || input[at] > '9')) at++;
        while (at < *size && input[at] >= '0' && input[at] <= '9') take(input, size, at, 1);
        insert(input, size, at, number, strlen(number));
    }
    }
}

TEST(test_files_that_are_right) {
    static unsigned char input[MOST_FILE + 64];
    int                  seed;
    for (seed = 0; seed < SEEDS; seed++) {
        const size_t size = write_seed(seed, input);
        vae_model   *model = NULL;
        CHECK(size <= MOST_INPUT);
        LLVMFuzzerTestOneInput(input, size);
        if (seed % 3) continue;
        CHECK(vae_load_memory(input + 1, size - 1, NULL, &model, NULL) == VAE_OK);
        vae_destroy(model);
    }
}

TEST(test_files_that_are_made_up) {
    static unsigned char input[MOST_FILE + 64];
    test_random          random = { 2026 };
    int                  i;
    for (i = 0; i < 6000; i++) {
        size_t size = write_seed(i % SEEDS, input);
        int    changes = test_integer(&random, 1, 3);
        while (changes--) change(&random, input, &size);
        LLVMFuzzerTestOneInput(input, size);
    }
}

/* ---- what libFuzzer begins with ---- */

static int write_corpus(const char *folder) {
    static unsigned char input[MOST_FILE + 64];
    int                  seed;
    for (seed = 0; seed < SEEDS; seed++) {
        const size_t size = write_seed(seed, input);
        char         path[1000];
        FILE        *file;
        snprintf(path, sizeof path, "%s/seed-%02d", folder, seed);
        file = fopen(path, "wb");
        if (!file || fwrite(input, 1, size, file) != size || fclose(file)) return perror(path), 1;
    }
    return 0;
}

/* Every word between quotation marks in the headers that the library writes. */
static int write_dictionary(const char *path) {
    static unsigned char input[MOST_FILE + 64];
    static char          words[400][40];
    FILE                *file = fopen(path, "w");
    int                  seed, count = 0, i;
    if (!file) return perror(path), 1;
    for (seed = 0; seed < SEEDS; seed++) {
        const size_t size = write_seed(seed, input);
        size_t       at, length;
        if (seed % 3 != INPUT_PARTS) continue;
        for (at = 1; at < size && input[at] != 0xFF; at += length + !length) {
            for (length = 0; at + length < size && (isalnum(input[at + length]) || strchr("._", input[at + length])); length++)
                if (!input[at + length]) break;
            if (!length || length >= sizeof words[0] || count == 400) continue;
            memcpy(words[count], input + at, length);
            words[count][length] = 0;
            for (i = 0; i < count && strcmp(words[i], words[count]); i++) {}
            if (i < count) continue;
            fprintf(file, "\"%s\"\n", words[count++]);
        }
    }
    fprintf(file, "\"\\\"\"\n\"\\\\\\\"\"\n\"{}\"\n\"[]\"\n\"\\\\u0041\"\n\"F16\"\n\"BF16\"\n\"F64\"\n\"4294967296\"\n\"1e999\"\n");
    return fclose(file) != 0;
}

int main(int argc, char **argv) {
    int i, status = 0;
    for (i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--corpus")) status |= write_corpus(argv[i + 1]);
        else if (!strcmp(argv[i], "--dictionary")) status |= write_dictionary(argv[i + 1]);
    }
    if (argc > 1) return status;
    RUN(test_files_that_are_right);
    RUN_LONG(test_files_that_are_made_up, "six thousand of them");
    return test_finish();
}
