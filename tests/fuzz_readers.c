/* Fuzz targets: what the examples read, files and command lines.
       idx          MNIST's images and labels
       csv          a table, with columns to leave out
       image        a picture, PGM or PPM, brought to another size
       options      a command line
   Each must end with a sentence or with what it read, take memory in proportion to the file, and give all of it back.
   tests/fuzz.h says how to build and run them. */
#include "fuzz.h"
#include <ctype.h>
#include <stdarg.h>

/* The readers' own memory is counted. */
static void *reader_allocate(size_t count, size_t size) {
    void *block = count && size > (size_t)-1 / count ? NULL : fuzz_allocate(NULL, count * size);
    if (block) memset(block, 0xA5, count * size < 4096 ? count * size : 4096);
    return block;
}
static void *reader_allocate_zeros(size_t count, size_t size) {
    void *block = reader_allocate(count, size);
    if (block) memset(block, 0, count * size);
    return block;
}
static void *reader_resize(void *block, size_t size) {
    void        *larger = reader_allocate(size, 1);
    const size_t before = larger && block ? fuzz_forget(block) : 0;
    if (before) memcpy(larger, block, before < size ? before : size);
    if (larger) free(block);
    return larger;
}
static void reader_free(void *block) {
    if (block) fuzz_forget(block);
    free(block);
}
/* What they print is put together and goes nowhere. */
static int reader_print(const char *format, va_list arguments) {
    char      text[3 * FUZZ_MOST_INPUT];
    const int length = vsnprintf(text, sizeof text, format, arguments);
    must(length >= 0);
    return length;
}
static int reader_printf(const char *format, ...) {
    va_list arguments;
    int     length;
    va_start(arguments, format);
    length = reader_print(format, arguments);
    va_end(arguments);
    return length;
}
static int reader_fprintf(FILE *file, const char *format, ...) {
    va_list arguments;
    int     length;
    va_start(arguments, format);
    length = reader_print(format, arguments);
    va_end(arguments);
    must(file == stderr);
    return length;
}
#define printf reader_printf
#define fprintf reader_fprintf
#define vfprintf(file, format, arguments) reader_print(format, arguments)
#define malloc(size) reader_allocate(size, 1)
#define calloc(count, size) reader_allocate_zeros(count, size)
#define realloc(block, size) reader_resize(block, size)
#define free(block) reader_free(block)
#define WITHOUT_STB_IMAGE
#include "../examples/support/csv_reader.h"
#include "../examples/support/idx_reader.h"
#include "../examples/support/image_folder.h"
#include "../examples/support/options.h"
#undef printf
#undef fprintf
#undef vfprintf
#undef malloc
#undef calloc
#undef realloc
#undef free

static char message[MESSAGE_SIZE + 8];

static void message_begin(void) { memset(message, 1, sizeof message); }

static int is_message(void) {
    const size_t length = strcspn(message, "");
    return length > 10 && length < MESSAGE_SIZE && message[MESSAGE_SIZE] == 1;
}

static const char *path_of(const char *name) {
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    return path;
}

/* ---- files ---- */

static void try_idx(const unsigned char *input, size_t size) {
    idx_images images;
    idx_labels found;
    size_t     i, sum = 0;
    int        result;
    memset(&images, 0, sizeof images);
    memset(&found, 0, sizeof found);
    fuzz_write(path_of("t10k-labels-idx1-ubyte"), input, size);
    fuzz_memory_begin((size_t)1 << 30);
    message_begin();
    if (size > 3 && input[3] == 3) {
        result = idx_read_images(fuzz_folder(), "t10k-labels-idx1-ubyte", &images, message);
        if (result == 0) {
            must(images.height > 0 && images.width > 0 &&
                 images.count * (size_t)images.height * (size_t)images.width == size - 16);
            for (i = 0; i < size - 16; i++) sum += images.pixels[i] == input[16 + i];
            must(sum == size - 16);
        }
    } else {
        result = idx_read_labels(fuzz_folder(), "t10k-labels-idx1-ubyte", &found, message);
        if (result == 0) {
            must(found.count == size - 8);
            for (i = 0; i < found.count; i++) must(found.values[i] == input[8 + i]);
        }
    }
    must(result == 0 || (is_message() && !images.pixels && !found.values));
    must(fuzz_memory.largest <= size);
    reader_free(images.pixels);
    reader_free(found.values);
    must(fuzz_memory.live == 0);
}

/* A first line that begins with @ names the columns to leave out. */
static void try_csv(const unsigned char *input, size_t size) {
    char         without[64] = "";
    csv_table    table;
    size_t       i, at = 0, gaps = 0;
    if (size && input[0] == '@') {
        for (at = 1; at < size && at < sizeof without && input[at] != '\n' && input[at]; at++)
            without[at - 1] = (char)input[at];
        without[at - 1] = 0;
        at += at < size;
    }
    fuzz_write(path_of("table.csv"), input + at, size - at);
    fuzz_memory_begin((size_t)1 << 30);
    message_begin();
    if (csv_read(path_of("table.csv"), *without ? without : NULL, &table, message) == 0) {
        must(table.rows > 0 && table.columns > 0);
        for (i = 0; i < table.rows * table.columns; i++) {
            gaps += table.numbers[i] != table.numbers[i];
            must(fabs((double)table.numbers[i]) <= 3.0001e38 || table.numbers[i] != table.numbers[i]);
        }
        must(gaps == table.gaps);
        must(csv_check_columns(&table, "table.csv", message) == 0 || is_message());
        message_begin();
        must(csv_check_same(&table, "table.csv", &table, "table.csv", message) == 0);
        for (i = 0; i < table.rows; i++)
            must(table.lines[i] >= 1 && table.lines[i] <= size + 1 && (!i || table.lines[i] > table.lines[i - 1]));
        for (i = 0; i < table.columns; i++) must(strlen(table.names[i]) > 0 && strlen(table.names[i]) <= size + 31);
    } else must(is_message());
    must(fuzz_memory.peak <= 131072 + 65536 + 800 * (size + 1));
    csv_free(&table);
    must(fuzz_memory.live == 0);
}

static void try_image(const unsigned char *input, size_t size) {
    image_folder folder;
    ppm_image    image;
    size_t       room = 0, i, numbers;
    const char  *path = path_of("image.ppm");
    fuzz_write(path, input, size);
    fuzz_memory_begin((size_t)1 << 30);
    memset(&folder, 0, sizeof folder);
    message_begin();
    if (ppm_read(path, &image, message) == 0) {
        must(image.height >= 1 && image.width >= 1 && (image.channels == 1 || image.channels == 3));
        numbers = (size_t)image.height * (size_t)image.width * (size_t)image.channels;
        must(numbers < size && fuzz_memory.live >= numbers);
        for (i = 0; i < 2; i++) {               /* in a shape of its own, or in the one that comes of its own */
            folder.height = i ? 5 : 0;
            folder.width = i ? 3 : 0;
            folder.count = room = 0;
            must(image_folder_add(&folder, &image, 16, &room, message) == 0);
            must(folder.count == 1 && folder.height >= 1 && folder.width >= 1 && folder.height <= 16 &&
                 folder.width <= 16);
            reader_free(folder.pixels);
            folder.pixels = NULL;
        }
        reader_free(image.pixels);
    } else must(!image.pixels && is_message());
    must(fuzz_memory.largest <= size || fuzz_memory.largest <= 64 * 16 * 16 * 3);
    must(fuzz_memory.live == 0);
}

/* ---- a command line: its words stand between bytes 0 ---- */

static void try_options(const unsigned char *input, size_t size) {
    static char  words[FUZZ_MOST_INPUT + 1], path[FUZZ_MOST_INPUT + 300];
    char        *arguments[64];
    const char  *text = "a default", *out = NULL;
    long long    count = 5, none = -1;
    double       rate = 0.5;
    int          flag = 0, number = 1, code;
    size_t       at;
    const option table[] = {
        { "data", "FOLDER", "where the data are", OPTION_TEXT, &text, 0, 0 },
        { "out", "FILE", "what is written", OPTION_OUTPUT, &out, 0, 0 },
        { "epochs", "N", "passes over the data", OPTION_INTEGER, &count, 1, 1000 },
        { "seed", "N", "of everything random", OPTION_INTEGER, &none, 0, 9e18 },
        { "learning-rate", "X", "step size", OPTION_NUMBER, &rate, 0, 1e6 },
        { "draw", "", "pixels, not means", OPTION_FLAG, &flag, 0, 0 },
        OPTIONS_END
    };
    memcpy(words, input, size);
    words[size] = 0;
    arguments[0] = words;
    for (at = 0; at < size && number < 63; at++)
        if (!words[at]) arguments[number++] = words + at + 1;
    arguments[number] = NULL;
    code = options_parse(number, arguments, "What the program does.", table, size % 2);
    must(code == -1 || code == 0 || code == 2);
    must(count >= 1 && count <= 1000 && none >= -1 && rate >= 0 && rate <= 1e6 && (flag == 0 || flag == 1));
    must(text && *text && (!out || *out));
    if (code == -1 && out && !strchr(out, '/')) {           /* it may be made, here, and is not */
        snprintf(path, sizeof path, "%s/%s", fuzz_folder(), out);
        out = path;
        code = options_check_outputs("program", table);
        must(code == 0 || code == 2);
    }
}

/* ---- new inputs ---- */

#ifdef FUZZ_LIBFUZZER
#pragma clang attribute push(__attribute__((no_sanitize("address", "undefined", "coverage"))), apply_to = function)
#endif

#define WORDS_ANY(random, table) (table)[fuzz_below(random, sizeof(table) / sizeof *(table))]

/* Puts a word in place of one that is there, or beside it. Words end where `is_end` says. */
static size_t put_word(unsigned char *input, size_t size, size_t most, const char *word, int (*is_end)(int),
                       test_random *random) {
    size_t at = fuzz_below(random, size + 1), end;
    while (at > 0 && !is_end(input[at - 1])) at--;
    for (end = at; end < size && !is_end(input[end]); end++) {}
    return fuzz_splice(input, size, most, at, fuzz_chance(random, 3) ? 0 : end - at, word, strlen(word));
}

static int ends_field(int c) { return c == ',' || c == ';' || c == '\t' || c == '\n'; }
static int ends_argument(int c) { return c == 0; }

/* Header fields, then the length that they ask for in most inputs. */
static size_t change_idx(unsigned char *input, size_t size, size_t most, test_random *random) {
    static const unsigned char sides[] = { 0, 1, 2, 3, 4, 7, 28, 127, 128, 255 };
    size_t                     rank, i, wanted = 1;
    if (size < 16 || most < 16 || fuzz_chance(random, 12)) return fuzz_mutate_bytes(input, size, most, random);
    if (fuzz_chance(random, 3))
        input[4 + 4 * fuzz_below(random, 3) + (fuzz_chance(random, 4) ? fuzz_below(random, 3) : 3)] =
            WORDS_ANY(random, sides);
    if (fuzz_chance(random, 8)) input[fuzz_below(random, 4)] = (unsigned char)fuzz_below(random, 16);
    if (fuzz_chance(random, 4)) {
        input[0] = input[1] = 0;
        input[2] = 8;
        input[3] = fuzz_chance(random, 2) ? 3 : 1;
    }
    if (fuzz_chance(random, 4)) return size;
    rank = input[3] == 3 ? 3 : 1;
    for (i = 0; i < rank; i++) wanted *= (size_t)input[6 + 4 * i] << 8 | input[7 + 4 * i];
    wanted += 4 + 4 * rank;
    if (wanted > most) return size;
    for (i = size; i < wanted; i++) input[i] = (unsigned char)test_bits(random);
    return wanted;
}

static size_t change_csv(unsigned char *input, size_t size, size_t most, test_random *random) {
    static const char *const fields[] = {
        "0", "-1", "1.5", "1e38", "4e38", "-1e999", "1e-999", "nan", "NA", "N/A", "null", "?", "", "0x10", "inf", "+5",
        "1e", ".", "-", "e", "\"", "\"\"", "\"a\"\"b\"", "\"1\n2\"", " 7 ", "id", "column 2", "3", "\xEF\xBB\xBF",
        "\r", "00000000000000000000000000000000000000000000001"
    };
    static const char *const breaks[] = { "\n", "\r\n", ",", ";", "\t", "\n\n", ",,", " ", "\"", "@id,2\n" };
    if (fuzz_chance(random, 8)) return fuzz_mutate_bytes(input, size, most, random);
    if (fuzz_chance(random, 3)) {
        const char *text = WORDS_ANY(random, breaks);
        return fuzz_splice(input, size, most, text[0] == '@' ? 0 : fuzz_below(random, size + 1), 0, text, strlen(text));
    }
    return put_word(input, size, most, WORDS_ANY(random, fields), ends_field, random);
}

/* A new header in front of the pixels, with as many of these as it asks for in most inputs. */
static size_t change_image(unsigned char *input, size_t size, size_t most, test_random *random) {
    static const char *const numbers[] = { "0",     "1",     "2",     "3",          "5",  "17", "255", "256",   "16384",
                                           "16385", "65535", "65536", "4294967297", "-1", "",   "1a",  "#c\n2", "0x2" };
    static const char *const blanks[] = { " ", "\n", "\t", "\r\n", " # comment\n", "#", "" };
    char                     head[200];
    const char              *width, *height, *largest;
    size_t                   wanted, length, i;
    if (fuzz_chance(random, 4)) return fuzz_mutate_bytes(input, size, most, random);
    width = WORDS_ANY(random, numbers);
    height = WORDS_ANY(random, numbers);
    largest = fuzz_chance(random, 2) ? "255" : WORDS_ANY(random, numbers);
    length = (size_t)snprintf(head, sizeof head, "P%c%s%s%s%s%s%s%s",
                              fuzz_chance(random, 8)   ? 'a'
                              : fuzz_chance(random, 2) ? '5'
                                                       : '6',
                              WORDS_ANY(random, blanks), width, WORDS_ANY(random, blanks), height,
                              WORDS_ANY(random, blanks), largest, fuzz_chance(random, 8) ? "" : "\n");
    wanted = length + (size_t)(atoi(width) % 99) * (size_t)(atoi(height) % 99) * (head[1] == '6' ? 3 : 1) *
                          (atoi(largest) > 255 ? 2 : 1);
    if (length > most || wanted > most) return size;
    if (!fuzz_chance(random, 4))
        for (i = size; i < wanted; i++) input[i] = (unsigned char)fuzz_below(random, fuzz_chance(random, 9) ? 256 : 2);
    else wanted = size < length ? length : size;
    memcpy(input, head, length);
    return wanted;
}

static size_t change_options(unsigned char *input, size_t size, size_t most, test_random *random) {
    static const char *const arguments[] = {
        "--data", "--out", "--epochs", "--seed", "--learning-rate", "--draw", "--help", "-h", "--", "-", "--data=x",
        "--epochs=3", "--epochs=", "--epochs=1001", "--draw=1", "--drw", "--learnin-rate", "--=", "=", "3", "-1", "0",
        "1e3", "nan", "inf", "-inf", "1e999", "9223372036854775807", "9223372036854775808", " 3", "3 ", "0x10", "",
        "%s%n", "--%s", "word", "\xff\xfe",
        "--aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    };
    unsigned char            zero = 0;
    if (fuzz_chance(random, 8)) return fuzz_mutate_bytes(input, size, most, random);
    if (fuzz_chance(random, 2)) size = fuzz_splice(input, size, most, size, 0, &zero, 1);
    return put_word(input, size, most, WORDS_ANY(random, arguments), ends_argument, random);
}

#ifdef FUZZ_LIBFUZZER
#pragma clang attribute pop
#endif

static const fuzz_entry reader_entries[] = {
    { "idx", try_idx, change_idx }, { "csv", try_csv, change_csv }, { "image", try_image, change_image },
    { "options", try_options, change_options }
};
FUZZ_TARGET(reader_entries)
