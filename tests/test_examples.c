/* The helpers of the examples (IDX reader, options, PNG writer), the programs themselves where make has built them, and
   the two ways to data (make_digits, get_mnist.sh).
   The PNG files are read back by a decoder that stands here, written from RFC 1950, 1951 and 2083. Files go into a
   folder of build/, which is removed at the end. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif
#include "test.h"
#include "auc.h"

/* Not test_examples.d: that is the file where make keeps dependencies. */
#define FOLDER "build/test_examples.files"

static const char *mnist_dir;             /* the environment's MNIST_DIR as the reader sees it */
static int         allocations_left = -1; /* before malloc() returns NULL; -1: never */
static FILE       *to_stdout, *to_stderr; /* where the options' text goes */

static char *pretended_getenv(const char *name) {
    static char copy[1024];
    if (strcmp(name, "MNIST_DIR") || !mnist_dir) return NULL;
    return memcpy(copy, mnist_dir, strlen(mnist_dir) + 1);
}

static void *limited_malloc(size_t size) {
    if (!allocations_left) {
        errno = ENOMEM;
        return NULL;
    }
    if (allocations_left > 0) allocations_left--;
    return malloc(size);
}

static void *limited_realloc(void *block, size_t size) {
    if (!allocations_left) return NULL;
    if (allocations_left > 0) allocations_left--;
    return realloc(block, size);
}

static char warned[256]; /* what a signal's handler wrote */
static int  raised;      /* the signal that it raised, no longer caught */

static long pretended_write(int file, const void *text, size_t size) {
    if (file == 2) snprintf(warned + strlen(warned), sizeof warned - strlen(warned), "%.*s", (int)size,
                            (const char *)text);
    return (long)size;
}

static int pretended_raise(int number) { return raised = number; }

#define write pretended_write
#define raise pretended_raise
#include "../examples/support/interrupt.h"
#undef write
#undef raise
#define getenv pretended_getenv
#define malloc limited_malloc
#define realloc limited_realloc
#define printf(...) fprintf(to_stdout, __VA_ARGS__)
#undef stderr
#define stderr to_stderr
#include "../examples/support/beside.h"
#include "../examples/support/csv_reader.h"
#include "../examples/support/idx_reader.h"
#define WITHOUT_STB_IMAGE
#include "../examples/support/image_folder.h"
#include "../examples/support/near_codes.h"
#include "../examples/support/options.h"
#include "../examples/support/png_writer.h"
#undef getenv
#undef malloc
#undef realloc
#undef printf

/* ---- files and commands ---- */

static void make_folders_of(const char *path) {
    char   parent[1024];
    size_t i;
    for (i = 1; path[i] && i < sizeof parent; i++) {
        if (path[i] != '/') continue;
        memcpy(parent, path, i);
        parent[i] = '\0';
        mkdir(parent, 0777);
    }
}

static void write_file(const char *name, const void *bytes, size_t size) {
    char  path[1024];
    FILE *file;
    snprintf(path, sizeof path, FOLDER "/%s", name);
    make_folders_of(path);
    if ((file = fopen(path, "wb")) == NULL) {
        printf("cannot write %s\n", path);
        exit(1);
    }
    CHECK(fwrite(bytes, 1, size, file) == size);
    CHECK(fclose(file) == 0);
}

/* What `path` holds, with a 0 behind it; release with free(). NULL where it cannot be read. */
static unsigned char *read_file(const char *path, size_t *size) {
    FILE          *file = fopen(path, "rb");
    unsigned char *bytes = NULL;
    long           length;
    if (!file) return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (length = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0 &&
        (bytes = malloc((size_t)length + 1)) != NULL) {
        *size = fread(bytes, 1, (size_t)length, file);
        bytes[*size] = 0;
    }
    fclose(file);
    return bytes;
}

static int can_be_opened(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
}

static char heard[16384]; /* what the last command or parse said */

/* Runs a shell command; its exit status, or -1. Both its outputs are in `heard`. */
static int run(const char *format, ...) {
    char           command[4096];
    unsigned char *log;
    char          *last;
    size_t         size = 0;
    int            status = -1, length;
    va_list        arguments;
    length = snprintf(command, sizeof command, "{ ");
    va_start(arguments, format);
    length += vsnprintf(command + length, sizeof command - (size_t)length, format, arguments);
    va_end(arguments);
    snprintf(command + length, sizeof command - (size_t)length,
             "; } >" FOLDER "/log 2>&1 </dev/null; echo \"\n$?\" >>" FOLDER "/log");
    heard[0] = '\0';
    fflush(NULL);
    if (system(command) == -1 || (log = read_file(FOLDER "/log", &size)) == NULL) return -1;
    snprintf(heard, sizeof heard, "%s", (char *)log);
    log[size ? size - 1 : 0] = 0;
    last = strrchr((char *)log, '\n');
    if (last) status = atoi(last + 1);
    free(log);
    return status;
}

static int have_shell(void) { return system(NULL) && run("true") == 0; }

/* FNV-1a, 64 bits. */
static uint64_t hash(const unsigned char *bytes, size_t size) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    size_t   i;
    for (i = 0; i < size; i++) h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
    return h;
}

static uint64_t hash_of_file(const char *path) {
    size_t         size = 0;
    unsigned char *bytes = read_file(path, &size);
    uint64_t       h = bytes ? hash(bytes, size) : 0;
    free(bytes);
    return h;
}

/* ---- the IDX reader ---- */

#define IDX FOLDER "/idx"

/* Two images of 3 x 4; three labels. */
static const unsigned char good_images[16 + 24] = { 0,  0,  8,  3,  0,  0,  0,  2,  0,  0,  0,  3,  0,  0,
                                                    0,  4,  0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                                    12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 255 };
static const unsigned char good_labels[8 + 3] = { 0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 9 };

static const char *image_refusal(const void *bytes, size_t size) {
    static char message[MESSAGE_SIZE];
    idx_images  images = { NULL, 0, 0, 0 };
    message[0] = '\0';
    write_file("idx/images", bytes, size);
    if (idx_read_images(IDX, "images", &images, message) != 0) return message;
    free(images.pixels);
    return "read";
}

/* The good images with byte `at` of the header replaced. */
static const char *image_refusal_with(int at, int value) {
    unsigned char bytes[sizeof good_images];
    memcpy(bytes, good_images, sizeof bytes);
    bytes[at] = (unsigned char)value;
    return image_refusal(bytes, sizeof bytes);
}

TEST(test_idx_good_files) {
    char       message[MESSAGE_SIZE] = "";
    idx_images images = { NULL, 0, 0, 0 };
    idx_labels labels = { NULL, 0 };
    write_file("idx/images", good_images, sizeof good_images);
    write_file("idx/labels", good_labels, sizeof good_labels);
    CHECK(idx_read_images(IDX, "images", &images, message) == 0);
    CHECK(images.count == 2 && images.height == 3 && images.width == 4);
    CHECK(images.pixels && !memcmp(images.pixels, good_images + 16, 24));
    CHECK(idx_read_labels(IDX, "labels", &labels, message) == 0);
    CHECK(labels.count == 3 && labels.values && !memcmp(labels.values, good_labels + 8, 3));
    CHECK_TEXT(message, "");
    free(images.pixels);
    free(labels.values);
}

TEST(test_idx_refusals) {
    static const unsigned char empty[16] = { 0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 28 };
    static const unsigned char huge[16] = { 0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 16, 0, 0, 0, 16, 0 };
    static const unsigned char gzip[20] = { 0x1f, 0x8b, 8 };
    char                       message[MESSAGE_SIZE] = "";
    unsigned char              longer[sizeof good_images + 1] = { 0 };
    idx_images                 images = { NULL, 0, 0, 0 };
    idx_labels                 labels = { NULL, 0 };
    CHECK_CONTAINS(image_refusal("PNG, or what?....", 17), "is not an IDX file: it does not begin with two zero bytes");
    CHECK_CONTAINS(image_refusal_with(0, 1), "is not an IDX file");
    CHECK_CONTAINS(image_refusal_with(1, 1), "is not an IDX file");
    CHECK_CONTAINS(image_refusal_with(2, 0x0d), "holds elements of type 0x0d, not unsigned bytes");
    CHECK_CONTAINS(image_refusal_with(3, 1), "has 1 dimensions instead of 3: images are wanted");
    CHECK_CONTAINS(image_refusal_with(3, 255), "has 255 dimensions instead of 3");
    CHECK_CONTAINS(image_refusal(good_labels, sizeof good_labels), "has 1 dimensions instead of 3");
    CHECK_CONTAINS(image_refusal_with(7, 0), "is empty: its dimension 1 is 0");
    CHECK_CONTAINS(image_refusal_with(11, 0), "is empty: its dimension 2 is 0");
    CHECK_CONTAINS(image_refusal_with(15, 0), "is empty: its dimension 3 is 0");
    CHECK_CONTAINS(image_refusal(empty, sizeof empty), "is empty: its dimension 1 is 0");
    CHECK_CONTAINS(image_refusal_with(7, 3), "is cut short: its header announces 36 bytes, but 24 follow");
    CHECK_CONTAINS(image_refusal_with(7, 1), "is too long: its header announces 12 bytes, but 24 follow");
    CHECK_CONTAINS(image_refusal_with(10, 17), "announces images with a side of 4355 pixels, more than 4096");
    CHECK_CONTAINS(image_refusal_with(12, 255), "announces images with a side of 4278190084 pixels, more than 4096");
    CHECK_CONTAINS(image_refusal(huge, sizeof huge), sizeof(size_t) > 4 ? "is cut short" : "more elements than memory");
    CHECK_CONTAINS(image_refusal(gzip, sizeof gzip), "is still compressed: unpack it with gunzip");
    memcpy(longer, good_images, sizeof good_images);
    CHECK_CONTAINS(image_refusal(longer, sizeof longer), "is too long: its header announces 24 bytes, but 25 follow");
    CHECK_CONTAINS(image_refusal(good_images, 0), "ends within its header");

    write_file("idx/labels", good_images, sizeof good_images);
    CHECK(idx_read_labels(IDX, "labels", &labels, message) == -1);
    CHECK_CONTAINS(message, "has 3 dimensions instead of 1: labels are wanted");
    write_file("idx/labels", good_labels, sizeof good_labels - 1);
    CHECK(idx_read_labels(IDX, "labels", &labels, message) == -1);
    CHECK_CONTAINS(message, FOLDER "/idx/labels is cut short: its header announces 3 bytes, but 2 follow");

    CHECK(idx_read_images(IDX, "nowhere", &images, message) == -1);
    CHECK_CONTAINS(message, "cannot open " IDX "/nowhere: ");
    CHECK(idx_read_images(FOLDER, "idx", &images, message) == -1); /* a directory */
    CHECK_CONTAINS(message, "cannot ");
    CHECK_CONTAINS(message, FOLDER "/idx: ");
    allocations_left = 0;
    CHECK_CONTAINS(image_refusal(good_images, sizeof good_images),
                   "not enough memory for the 24 bytes of " IDX "/images");
    allocations_left = -1;
    CHECK(!images.pixels && !labels.values);
    CHECK_TEXT(image_refusal(good_images, sizeof good_images), "read");
}

/* No prefix of a good file passes for one, nor one with any other byte in its header. */
TEST(test_idx_damage) {
    size_t length;
    int    at, value;
    for (length = 0; length < sizeof good_images; length++)
        CHECK_CONTAINS(image_refusal(good_images, length), length < 16 ? "ends within its header" : "is cut short");
    for (at = 0; at < 16; at++)
        for (value = 0; value < 256; value++)
            if (value != good_images[at]) CHECK_CONTAINS(image_refusal_with(at, value), IDX "/images ");
}

/* A path too long for the reader must not make it open another file, here the directory above. */
TEST(test_idx_long_names) {
    char          path[600] = IDX, message[MESSAGE_SIZE] = "";
    idx_images    images = { NULL, 0, 0, 0 };
    idx_directory found = { "", 0 };
    size_t        length = strlen(path);
    write_file("idx/i", good_images, sizeof good_images);
    while (length < 509) path[length++] = '/';
    CHECK(idx_read_images(path, "i", &images, message) == 0);
    free(images.pixels);
    CHECK(idx_read_images(path, "images", &images, message) == -1); /* cut, this would be ".../i" */
    CHECK_CONTAINS(message, "the data directory's name is too long");
    CHECK(idx_find_directory(path, &found, message) == -1);
    CHECK_CONTAINS(message, "the data directory's name is too long");
}

TEST(test_idx_directories) {
    char          message[MESSAGE_SIZE] = "";
    idx_directory found = { "", 0 };
    const char   *names[4] = { "idx/all/train-images-idx3-ubyte", "idx/all/train-labels-idx1-ubyte",
                               "idx/all/t10k-images-idx3-ubyte", "idx/all/t10k-labels-idx1-ubyte" };
    int           i;
    for (i = 0; i < 4; i++) {
        char part[64];
        CHECK_TEXT(idx_missing_file(IDX "/all"), names[i] + 8);
        CHECK(idx_find_directory(IDX "/all", &found, message) == -1);
        snprintf(part, sizeof part, "/all has no file %s that can be opened", names[i] + 8);
        CHECK_CONTAINS(message, part);
        write_file(names[i], "x", 1);
    }
    CHECK(idx_missing_file(IDX "/all") == NULL);
    mnist_dir = "not/this"; /* what is asked for wins */
    CHECK(idx_find_directory(IDX "/all", &found, message) == 0);
    CHECK_TEXT(found.path, IDX "/all");
    CHECK(!found.generated);
    write_file("idx/all/GENERATED", "", 0);
    mnist_dir = IDX "/all";
    CHECK(idx_find_directory(NULL, &found, message) == 0);
    CHECK_TEXT(found.path, IDX "/all");
    CHECK(found.generated);
    mnist_dir = "not/this";
    CHECK(idx_find_directory(NULL, &found, message) == -1);
    CHECK_TEXT(message, "not/this (from MNIST_DIR) has no file train-images-idx3-ubyte that can be opened");
    for (i = 0; i < 2; i++) { /* unset and empty are the same: the usual places */
        mnist_dir = i ? "" : NULL;
        if (idx_find_directory(NULL, &found, message) == 0)
            CHECK(!idx_missing_file(found.path));
        else
            CHECK_CONTAINS(message, "run build/make_digits first, ");
    }
    mnist_dir = NULL;
}

/* ---- options ---- */

static struct {
    const char *name, *out;
    int         flag;
    long long   number, wanted, small;
    double      rate;
} got;

static const option table[] = { { "name", "WORD", "a text", OPTION_TEXT, &got.name, 0, 0 },
                                { "out", "FILE", "a file to write", OPTION_OUTPUT, &got.out, 0, 0 },
                                { "epochs", "N", "a whole number", OPTION_INTEGER, &got.number, -5, 1000 },
                                { "small", "N", "another", OPTION_INTEGER, &got.small, 0, 9e15 },
                                { "wanted", "N", "without a default", OPTION_INTEGER, &got.wanted, 0, 99 },
                                { "rate", "F", "a number", OPTION_NUMBER, &got.rate, 0, 10 },
                                { "flag", "", "a switch", OPTION_FLAG, &got.flag, 0, 0 },
                                OPTIONS_END };

static char printed[4096], complained[4096];

static void take_text(FILE *from, char *text) {
    rewind(from);
    text[fread(text, 1, 4095, from)] = '\0';
    fclose(from);
}

/* Parses a command line, its arguments separated by spaces, with the defaults below. */
static int parse_with(int plain_word, const char *line) {
    char  copy[512], *arguments[32], program[] = "some/where/prog";
    char *at = copy;
    int   count = 0, code;
    got.name = "default.txt";
    got.out = FOLDER "/out.png";
    got.flag = 0, got.number = 10, got.small = 1, got.wanted = -1;
    got.rate = 0.25;
    snprintf(copy, sizeof copy, "%s", line);
    arguments[count++] = program;
    while (*at) {
        arguments[count++] = at;
        at += strcspn(at, " ");
        if (*at) *at++ = '\0';
    }
    arguments[count] = NULL;
    to_stdout = fopen(FOLDER "/stdout", "wb+");
    to_stderr = fopen(FOLDER "/stderr", "wb+");
    if (!to_stdout || !to_stderr) exit(1);
    code = options_parse(count, arguments, "What it does.", table, plain_word);
    if (got.name != NULL && got.name >= copy && got.name < copy + sizeof copy) { /* it points into the arguments */
        static char kept[512];
        snprintf(kept, sizeof kept, "%s", got.name);
        got.name = kept;
    }
    take_text(to_stdout, printed);
    take_text(to_stderr, complained);
    return code;
}

static int parse(const char *line) { return parse_with(0, line); }

/* The sentence with which a command line is refused. */
static const char *refusal(const char *line) {
    const int code = parse(line);
    if (code == 2 && !strcmp(printed, "")) return complained;
    return code == -1 ? "taken" : "another exit code";
}

TEST(test_options_values) {
    CHECK(parse("") == -1);
    CHECK_TEXT(got.name, "default.txt");
    CHECK(got.number == 10 && got.wanted == -1 && !got.flag);
    CHECK_NEAR(got.rate, 0.25, 0);
    CHECK(parse("--name a.txt --out b.png --epochs 1000 --wanted 3 --rate 1e-3 --flag") == -1);
    CHECK_TEXT(got.name, "a.txt");
    CHECK_TEXT(got.out, "b.png");
    CHECK(got.number == 1000 && got.wanted == 3 && got.flag == 1);
    CHECK_NEAR(got.rate, 1e-3, 0);
    CHECK(parse("--name=b=c --epochs=-5 --wanted=5 --rate=.5 --small=9000000000000000") == -1);
    CHECK_TEXT(got.name, "b=c");
    CHECK(got.number == -5 && got.wanted == 5 && !got.flag);
    CHECK(got.small == 9000000000000000LL);
    CHECK_NEAR(got.rate, 0.5, 0);
    CHECK(parse("--epochs -5 --rate 10 --epochs 7 --name -") == -1); /* the last one counts; a dash is a value */
    CHECK(got.number == 7);
    CHECK_TEXT(got.name, "-");
    CHECK_NEAR(got.rate, 10, 0);
    CHECK_TEXT(complained, "");
    CHECK_TEXT(printed, "");
}

TEST(test_options_plain_word) {
    CHECK(parse_with(1, "word --epochs 3") == -1);
    CHECK_TEXT(got.name, "word");
    CHECK(parse_with(1, "--epochs 3 word") == -1);
    CHECK_TEXT(got.name, "word");
    CHECK(got.number == 3);
    CHECK(parse_with(1, "one two") == 2);
    CHECK_CONTAINS(complained, "prog: 'two' is not expected, options begin with --: see --help\n");
    CHECK(parse_with(1, "-x") == 2);
    CHECK_CONTAINS(complained, "prog: '-x' is not expected");
    CHECK_CONTAINS(refusal("word"), "prog: 'word' is not expected");
}

TEST(test_options_refusals) {
    CHECK_TEXT(refusal("--name"), "prog: --name needs a value: see --help\n");
    CHECK_CONTAINS(refusal("--name --flag"), "prog: --name needs a value");
    CHECK_CONTAINS(refusal("--name="), "prog: --name needs WORD, not an empty word");
    CHECK_CONTAINS(refusal("--epochs 1.5"), "prog: --epochs needs a whole number, not '1.5'");
    CHECK_CONTAINS(refusal("--epochs 3x"), "needs a whole number, not '3x'");
    CHECK_CONTAINS(refusal("--epochs 0x3"), "needs a whole number, not '0x3'");
    CHECK_CONTAINS(refusal("--epochs="), "needs a whole number, not ''");
    CHECK_CONTAINS(refusal("--epochs=\t3"), "needs a whole number, not '\t3'");
    CHECK_CONTAINS(refusal("--epochs -6"), "prog: --epochs must be from -5 to 1000, not -6");
    CHECK_CONTAINS(refusal("--epochs 1001"), "prog: --epochs must be from -5 to 1000, not 1001");
    CHECK_CONTAINS(refusal("--small 99999999999999999999"), "must be from 0 to 9e+15, not 99999999999999999999");
    CHECK_CONTAINS(refusal("--small 9000000000000001"), "must be from 0 to 9e+15");
    CHECK_CONTAINS(refusal("--rate fast"), "prog: --rate needs a number, not 'fast'");
    CHECK_CONTAINS(refusal("--rate nan"), "prog: --rate needs a number, not 'nan'");
    CHECK_CONTAINS(refusal("--rate inf"), "prog: --rate must be from 0 to 10, not inf");
    CHECK_CONTAINS(refusal("--rate 1e999"), "prog: --rate must be from 0 to 10, not 1e999");
    CHECK_CONTAINS(refusal("--rate 1e-999"), "prog: --rate must be from 0 to 10, not 1e-999"); /* not taken for 0 */
    CHECK_CONTAINS(refusal("--rate -0.1"), "prog: --rate must be from 0 to 10, not -0.1");
    CHECK_CONTAINS(refusal("--wanted"), "prog: --wanted needs a value");
    CHECK_CONTAINS(refusal("--wanted --flag"), "prog: --wanted needs a value");
    CHECK_CONTAINS(refusal("--wanted 100"), "prog: --wanted must be from 0 to 99, not 100");
    CHECK_CONTAINS(refusal("--wanted 3 4"), "prog: '4' is not expected");
    CHECK_CONTAINS(refusal("--out="), "prog: --out needs FILE, not an empty word");
    CHECK_CONTAINS(refusal("--flag=1"), "prog: --flag takes no value");
    CHECK_CONTAINS(refusal("--flag 1"), "prog: '1' is not expected");
    CHECK_CONTAINS(refusal("-flag"), "prog: '-flag' is not expected, options begin with --");
    CHECK_CONTAINS(refusal("-"), "prog: '-' is not expected");
}

TEST(test_options_hints) {
    CHECK_TEXT(refusal("--epoch 3"), "prog: there is no option --epoch (did you mean --epochs?): see --help\n");
    CHECK_CONTAINS(refusal("--epcohs=3"), "there is no option --epcohs (did you mean --epochs?)");
    CHECK_CONTAINS(refusal("--wnated 3"), "there is no option --wnated (did you mean --wanted?)");
    CHECK_CONTAINS(refusal("--flags"), "(did you mean --flag?)");
    CHECK_CONTAINS(refusal("--Name"), "(did you mean --name?)");
    CHECK_TEXT(refusal("--zzzzz"), "prog: there is no option --zzzzz: see --help\n");
    CHECK_TEXT(refusal("--learning-rate 3"), "prog: there is no option --learning-rate: see --help\n");
    CHECK_TEXT(refusal("--x"), "prog: there is no option --x: see --help\n");
    CHECK_TEXT(refusal("--"), "prog: there is no option --: see --help\n");
    CHECK_TEXT(refusal("--=3"), "prog: there is no option --: see --help\n");
}

TEST(test_options_help) {
    CHECK(parse("--help") == 0);
    CHECK_TEXT(complained, "");
    CHECK_CONTAINS(printed, "What it does.\n\nusage: prog [options]\n\n  --name WORD ");
    CHECK_CONTAINS(printed, "a text (default.txt)\n");
    CHECK_CONTAINS(printed, "  --out FILE              a file to write (" FOLDER "/out.png)\n");
    CHECK_CONTAINS(printed, "  --epochs N              a whole number (10)\n");
    CHECK_CONTAINS(printed, "  --wanted N              without a default\n"); /* below the minimum: no default */
    CHECK_CONTAINS(printed, "  --rate F                a number (0.25)\n");
    CHECK_CONTAINS(printed, "  --flag                  a switch\n");
    CHECK_CONTAINS(printed, "  --help                  this text; defaults are in brackets\n");
    CHECK(parse("--wanted 3 --epochs nonsense --help") == 0); /* asked for, it comes before any complaint */
    CHECK(got.number == 10 && got.wanted == -1);
    CHECK(parse_with(1, "-h") == 0);
    CHECK_CONTAINS(printed, "usage: prog [WORD] [options]\n");
}

/* Where the outputs cannot be, that is said; nothing is left behind and no folder made. */
TEST(test_options_outputs) {
    static const option outputs[] = { { "out", "FILE", "", OPTION_OUTPUT, &got.out, 0, 0 }, OPTIONS_END };
    static char         long_name[1100];
    const char         *paths[6] = { FOLDER "/new.png", NULL, FOLDER "/missing/new.png", "/nonexistent/x.png",
                                     FOLDER "/log/new.png", long_name };
    const char         *wanted[6] = { "", "",
                                      "prog: there is no folder " FOLDER "/missing for --out: make it with mkdir -p ",
                                      "prog: there is no folder /nonexistent for --out: make it with mkdir -p "
                                      "/nonexistent\n",
                                      "prog: cannot write --out " FOLDER "/log/new.png: ",
                                      "prog: cannot write --out nnn" };
    int                 i;
    memset(long_name, 'n', sizeof long_name - 1);
    for (i = 0; i < 6; i++) {
        got.out = paths[i];
        to_stderr = fopen(FOLDER "/stderr", "wb+");
        if (!to_stderr) exit(1);
        CHECK(options_check_outputs("prog", outputs) == (i < 2 ? 0 : 2));
        take_text(to_stderr, complained);
        if (i < 2) CHECK_TEXT(complained, "");
        else CHECK_CONTAINS(complained, wanted[i]);
    }
    CHECK(!can_be_opened(FOLDER "/new.png") && !can_be_opened(FOLDER "/new.png.partial"));
    CHECK(!can_be_opened(FOLDER "/missing") && !can_be_opened("/nonexistent"));
}

/* Only the ending asked for gives way: two files never have one result. */
TEST(test_beside) {
    char made[BESIDE_SIZE], longer[2 * BESIDE_SIZE];
    CHECK_TEXT(beside(made, "a b/t.csv", ".csv", "-filled.csv"), "a b/t-filled.csv");
    CHECK_TEXT(beside(made, "t.txt", ".csv", "-filled.csv"), "t.txt-filled.csv");
    CHECK_TEXT(beside(made, "t.csv.csv", ".csv", "-filled.csv"), "t.csv-filled.csv");
    CHECK_TEXT(beside(made, ".csv", ".csv", "-filled.csv"), ".csv-filled.csv");
    CHECK_TEXT(beside(made, "m.safetensors/n.safetensors", ".safetensors", "-%s.x", "conv"), "m.safetensors/n-conv.x");
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    CHECK(strlen(beside(made, longer, ".csv", "-filled.csv")) == BESIDE_SIZE - 1);     /* too long to be opened */
}

/* Nor may an output be what another option names, whether that is read or written. */
TEST(test_options_same_file) {
    static const char  *in, *name, *out, *log;
    static const option files[] = { { "in", "FILE", "", OPTION_TEXT, &in, 0, 0 },
                                    { "name", "NAME", "", OPTION_TEXT, &name, 0, 0 },
                                    { "out", "FILE", "", OPTION_OUTPUT, &out, 0, 0 },
                                    { "log", "FILE", "", OPTION_OUTPUT, &log, 0, 0 },
                                    OPTIONS_END };
    int                 i;
    for (i = 0; i < 4; i++) {
        out = FOLDER "/new.png";
        in = i == 1 ? FOLDER "/new.png" : NULL;
        log = i == 2 ? FOLDER "/new.png" : FOLDER "/other.png";
        name = i == 3 ? FOLDER "/new.png" : NULL;       /* no file */
        to_stderr = fopen(FOLDER "/stderr", "wb+");
        if (!to_stderr) exit(1);
        CHECK(options_check_outputs("prog", files) == (i == 1 || i == 2 ? 2 : 0));
        take_text(to_stderr, complained);
        if (i == 1)
            CHECK_TEXT(complained, "prog: --out would overwrite " FOLDER "/new.png, which is --in too: see --help\n");
        if (i == 2) CHECK_CONTAINS(complained, "which is --log too");
    }
#ifndef _WIN32
    write_file("model", "m", 1);
    in = FOLDER "/model";
    out = FOLDER "/../../" FOLDER "/model";
    log = NULL;
    to_stderr = fopen(FOLDER "/stderr", "wb+");
    if (!to_stderr) exit(1);
    CHECK(options_check_outputs("prog", files) == 2);
    take_text(to_stderr, complained);
#endif
}

/* What the check says of one path; what is there is as it was. */
static const char *output_refusal(const char *path, option_kind kind, const char *placeholder) {
    option checked[2] = { { "out", NULL, "", OPTION_TEXT, &got.out, 0, 0 }, OPTIONS_END };
    int    code;
    checked[0].placeholder = placeholder;
    checked[0].kind = kind;
    got.out = path;
    to_stderr = fopen(FOLDER "/stderr", "wb+");
    if (!to_stderr) exit(1);
    code = options_check_outputs("prog", checked);
    take_text(to_stderr, complained);
    CHECK(code == (complained[0] ? 2 : 0));
    return complained;
}

/* A folder, a protected file or a model's device are refused before the work; other devices and files stay. */
TEST(test_options_kinds_of_outputs) {
    size_t         size = 0;
    unsigned char *left;
    write_file("kinds/folder/x", "x", 1);
    write_file("kinds/mine.png.partial", "kept", 4);
    write_file("kinds/guarded.csv", "kept", 4);
    CHECK_TEXT(output_refusal(FOLDER "/kinds/folder", OPTION_OUTPUT, "FILE"),
               "prog: --out " FOLDER "/kinds/folder is a folder: add a name for the file\n");
    CHECK_CONTAINS(output_refusal(FOLDER "/kinds/folder/", OPTION_OUTPUT, "PREFIX"), "is a folder: add a name");
    CHECK_TEXT(output_refusal(FOLDER "/kinds/folder", OPTION_OUTPUT, "PREFIX"), "");
    CHECK_CONTAINS(output_refusal(FOLDER "/kinds/no where/", OPTION_MODEL, "FILE"), "is a folder: add a name");
    CHECK_CONTAINS(output_refusal(FOLDER "/kinds/no where/x", OPTION_MODEL, "FILE"),
                   "there is no folder " FOLDER "/kinds/no where for --out: make it with mkdir -p '" FOLDER
                   "/kinds/no where'\n");
    CHECK_TEXT(output_refusal(FOLDER "/kinds/mine.png", OPTION_OUTPUT, "FILE"), "");
    left = read_file(FOLDER "/kinds/mine.png.partial", &size);
    if (CHECK(left != NULL)) CHECK_TEXT((char *)left, "kept");
    free(left);
    CHECK_TEXT(output_refusal(FOLDER "/kinds/guarded.csv", OPTION_OUTPUT, "FILE"), "");
    left = read_file(FOLDER "/kinds/guarded.csv", &size);
    if (CHECK(left != NULL)) CHECK_TEXT((char *)left, "kept");
    free(left);
#if defined(__unix__) || defined(__APPLE__)
    CHECK(chmod(FOLDER "/kinds/guarded.csv", 0400) == 0);
    if (access(FOLDER "/kinds/guarded.csv", W_OK) != 0)         /* the superuser may write everywhere */
        CHECK_CONTAINS(output_refusal(FOLDER "/kinds/guarded.csv", OPTION_OUTPUT, "FILE"), "cannot write --out ");
    if (path_kind_of("/dev/null") == PATH_DEVICE) {
        CHECK_TEXT(output_refusal("/dev/null", OPTION_OUTPUT, "FILE"), "");
        CHECK_TEXT(output_refusal("/dev/null", OPTION_MODEL, "FILE"),
                   "prog: --out /dev/null is a device or a pipe: name a file\n");
    }
    if (path_kind_of("/proc/self") == PATH_FOLDER)
        CHECK_CONTAINS(output_refusal("/proc/x", OPTION_OUTPUT, "FILE"), "prog: cannot write --out /proc/x: ");
#endif
}

/* ---- a PNG decoder: 8 bits, grey or RGB, no filter; zlib with stored blocks and fixed codes ---- */

static uint32_t big_endian(const unsigned char *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static uint32_t crc_32(const unsigned char *bytes, size_t size) {
    uint32_t crc = 0xffffffffu;
    size_t   i;
    int      bit;
    for (i = 0; i < 8 * size; i++) {
        bit = (int)((crc ^ (uint32_t)(bytes[i / 8] >> (i % 8))) & 1);
        crc >>= 1;
        if (bit) crc ^= 0xedb88320u;
    }
    return crc ^ 0xffffffffu;
}

static uint32_t adler_32(const unsigned char *bytes, size_t size) {
    uint32_t a = 1, b = 0;
    size_t   i;
    for (i = 0; i < size; i++) a = (a + bytes[i]) % 65521, b = (b + a) % 65521;
    return b << 16 | a;
}

typedef struct bit_reader {
    const unsigned char *bytes;
    size_t               position, size; /* in bits */
    int                  over;
} bit_reader;

static uint32_t take_bits(bit_reader *in, int count) {
    uint32_t value = 0;
    int      i;
    for (i = 0; i < count; i++, in->position++) {
        if (in->position >= in->size)
            in->over = 1;
        else
            value |= (uint32_t)(in->bytes[in->position / 8] >> in->position % 8 & 1) << i;
    }
    return value;
}

/* `count` bits of a Huffman code, highest first, behind `code`. */
static uint32_t take_code(bit_reader *in, uint32_t code, int count) {
    while (count--) code = code << 1 | take_bits(in, 1);
    return code;
}

static uint32_t take_symbol(bit_reader *in) { /* RFC 1951, 3.2.6 */
    uint32_t code = take_code(in, 0, 7);
    if (code <= 0x17) return 256 + code;
    code = take_code(in, code, 1);
    if (code >= 0x30 && code <= 0xbf) return code - 0x30;
    if (code >= 0xc0 && code <= 0xc7) return 280 + code - 0xc0;
    return 144 + take_code(in, code, 1) - 0x190;
}

/* Unpacks a whole zlib stream into exactly `room` bytes; NULL, or what is wrong with it. */
static const char *inflate(const unsigned char *bytes, size_t size, unsigned char *out, size_t room) {
    static const int lengths[29] = { 3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                     31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258 };
    static const int distances[30] = { 1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                       33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                       1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577 };
    bit_reader       in = { NULL, 16, 0, 0 };
    size_t           done = 0;
    uint32_t         last, type, symbol, length, distance;
    in.bytes = bytes;
    in.size = 8 * size;
    if (size < 6 || (bytes[0] & 15) != 8 || bytes[0] >> 4 > 7 || bytes[1] & 32 || (bytes[0] * 256 + bytes[1]) % 31)
        return "bad zlib header";
    do {
        last = take_bits(&in, 1);
        type = take_bits(&in, 2);
        if (type > 1) return "neither stored nor fixed codes";
        if (type == 0) {
            in.position = (in.position + 7) / 8 * 8;
            length = take_bits(&in, 16);
            if (take_bits(&in, 16) != (length ^ 0xffffu)) return "bad length of a stored block";
            while (length-- && !in.over) {
                if (done == room) return "too many bytes";
                out[done++] = (unsigned char)take_bits(&in, 8);
            }
            continue;
        }
        while ((symbol = take_symbol(&in)) != 256) {
            if (in.over) return "no end";
            if (symbol < 256) {
                if (done == room) return "too many bytes";
                out[done++] = (unsigned char)symbol;
                continue;
            }
            if ((symbol -= 257) > 28) return "bad length symbol";
            length = (uint32_t)lengths[symbol] + take_bits(&in, symbol < 8 || symbol == 28 ? 0 : (int)symbol / 4 - 1);
            distance = take_code(&in, 0, 5);
            if (distance > 29) return "bad distance symbol";
            distance = (uint32_t)distances[distance] + take_bits(&in, distance < 4 ? 0 : (int)distance / 2 - 1);
            if (distance > done) return "distance too far back";
            if (length > room - done) return "too many bytes";
            for (; length; length--, done++) out[done] = out[done - distance];
        }
    } while (!last && !in.over);
    in.position = (in.position + 7) / 8 * 8;
    if (in.over || in.position + 32 != in.size) return "the stream ends elsewhere";
    if (done != room) return "too few bytes";
    return big_endian(bytes + size - 4) == adler_32(out, room) ? NULL : "wrong Adler-32";
}

typedef struct picture {
    unsigned char *raw; /* rows, each behind its filter byte */
    size_t         width, height, channels;
} picture;

/* NULL, or what is wrong. Release picture.raw with free(). */
static const char *decode_png(const unsigned char *bytes, size_t size, picture *p) {
    unsigned char *data = malloc(size + 1);
    size_t         at = 8, length = 0, y, row, data_size = 0;
    int            chunk, ended = 0;
    const char    *wrong = NULL;
    p->raw = NULL;
    if (!data) return "no memory";
    if (size < 8 || memcmp(bytes, "\x89PNG\r\n\x1a\n", 8)) wrong = "bad signature";
    for (chunk = 0; !wrong && !ended; chunk++, at += length + 12) {
        const unsigned char *type = bytes + at + 4;
        if (size - at < 12 || (length = big_endian(bytes + at)) > size - at - 12)
            wrong = "chunk cut short";
        else if (big_endian(type + 4 + length) != crc_32(type, length + 4))
            wrong = "wrong CRC-32";
        else if (!memcmp(type, "IHDR", 4) && chunk == 0 && length == 13) {
            p->width = big_endian(type + 4);
            p->height = big_endian(type + 8);
            p->channels = type[13] == 2 ? 3 : 1;
            if (type[12] != 8 || (type[13] != 0 && type[13] != 2) || type[14] || type[15] || type[16])
                wrong = "another kind of PNG";
            else if (p->width < 1 || p->height < 1 || p->width > 30000 || p->height > 30000)
                wrong = "bad size";
        } else if (!memcmp(type, "IDAT", 4) && chunk > 0) {
            memcpy(data + data_size, type + 4, length);
            data_size += length;
        } else if (!memcmp(type, "IEND", 4) && chunk > 1 && length == 0)
            ended = 1;
        else
            wrong = "unexpected chunk";
    }
    if (!wrong && at != size) wrong = "bytes behind the end";
    if (!wrong) {
        row = p->width * p->channels + 1;
        p->raw = malloc(row * p->height);
        wrong = p->raw ? inflate(data, data_size, p->raw, row * p->height) : "no memory";
        for (y = 0; !wrong && y < p->height; y++)
            if (p->raw[y * row]) wrong = "a filter";
    }
    free(data);
    return wrong;
}

TEST(test_decoder) {
    /* By zlib 1.2.13: "abc" stored; 140..149, "vae" four times, 300 times "z" and "vae" with fixed codes. */
    static const unsigned char stored[] = { 0x78, 0x01, 0x01, 0x03, 0x00, 0xfc, 0xff,
                                            0x61, 0x62, 0x63, 0x02, 0x4d, 0x01, 0x27 };
    static const unsigned char fixed[] = { 0x78, 0x01, 0xeb, 0xe9, 0xed, 0xeb, 0x9f, 0x30, 0x71, 0xd2, 0xe4,
                                           0x29, 0x53, 0xcb, 0x12, 0x53, 0x15, 0x90, 0x70, 0xd5, 0x28, 0x20,
                                           0x1a, 0x00, 0x83, 0x0b, 0x00, 0x59, 0x75, 0x9b, 0x2a };
    unsigned char              out[400];
    size_t                     i;
    int                        bad = 0;
    CHECK(crc_32((const unsigned char *)"123456789", 9) == 0xcbf43926u);
    CHECK(adler_32((const unsigned char *)"Wikipedia", 9) == 0x11e60398u);
    CHECK(inflate(stored, sizeof stored, out, 3) == NULL);
    CHECK(!memcmp(out, "abc", 3));
    CHECK(inflate(fixed, sizeof fixed, out, 328) == NULL);
    for (i = 0; i < 10; i++) bad += out[i] != 140 + i;
    for (i = 25; i < 325; i++) bad += out[i] != 'z';
    CHECK(!bad && !memcmp(out + 10, "vae vae vae vae", 15) && !memcmp(out + 325, "vae", 3));
    CHECK(inflate(fixed, sizeof fixed, out, 327) != NULL);
    CHECK(inflate(fixed, sizeof fixed, out, 329) != NULL);
    CHECK(inflate(fixed, sizeof fixed - 1, out, 328) != NULL);
}

/* ---- the PNG writer ---- */

#define PICTURE FOLDER "/png/picture.png"

static const char *decode_file(const char *path, picture *p) {
    size_t         size = 0;
    unsigned char *bytes = read_file(path, &size);
    const char    *wrong = bytes ? decode_png(bytes, size, p) : "no such file";
    if (!bytes) p->raw = NULL;
    free(bytes);
    return wrong;
}

/* Random bytes as pictures have them: noise, few colours, runs, repeated rows. */
static void fill(test_random *random, unsigned char *bytes, size_t size, size_t row) {
    const int kind = test_integer(random, 0, 4), rare = test_integer(random, 2, 400);
    size_t    i;
    for (i = 0; i < size; i++) {
        bytes[i] = (unsigned char)test_integer(random, 0, kind == 1 ? 1 : 255);
        if (kind == 2 && i > 0 && test_integer(random, 0, rare)) bytes[i] = bytes[i - 1];
        if (kind == 3 && i >= row && test_integer(random, 0, rare)) bytes[i] = bytes[i - row];
        if (kind == 4) bytes[i] = 143;
    }
}

/* The byte that belongs at (x, y), channel c, of the grid's picture; the images are `bytes` / 255. */
static int expected_byte(const png_grid *grid, const unsigned char *bytes, size_t x, size_t y, size_t c) {
    const size_t scale = (size_t)grid->scale, cell_width = (size_t)grid->width * scale + 2;
    const size_t cell_height = (size_t)grid->height * scale + 2, bands = grid->originals ? grid->between ? 3 : 2 : 1;
    const size_t column = x / cell_width, line = y / cell_height, image = line / bands * (size_t)grid->columns + column;
    size_t       pixel;
    if (x % cell_width < 2 || y % cell_height < 2 || image >= grid->count) return 48;
    pixel = (image * (size_t)grid->height + (y % cell_height - 2) / scale) * (size_t)grid->width +
            (x % cell_width - 2) / scale;
    pixel = pixel * (size_t)grid->channels + c;
    if (grid->between && line % 3 == 1) return png_byte(grid->between[pixel]);
    return grid->originals && line % bands == 0 ? grid->originals[pixel] : bytes[pixel];
}

static void check_grid(test_random *random, size_t count, int height, int width, int channels, int columns, int scale,
                       int others) {
    const size_t   size = count * (size_t)height * (size_t)width * (size_t)channels;
    unsigned char *bytes = malloc(2 * size), *originals = bytes + size;
    float         *images = malloc(size * sizeof *images);
    char           message[MESSAGE_SIZE] = "";
    picture        p = { NULL, 0, 0, 0 };
    float         *between = malloc(size * sizeof *between);
    png_grid       grid = { NULL, NULL, NULL, 0, 0, 0, 0, 0, 0 };
    size_t         i, x, y, c, lines = (count + (size_t)columns - 1) / (size_t)columns * (size_t)(others + 1);
    long           bad = 0;
    const char    *wrong;
    if (!bytes || !images || !between) exit(1);
    fill(random, bytes, size, (size_t)(width * channels));
    fill(random, originals, size, (size_t)(width * channels));
    for (i = 0; i < size; i++) images[i] = (float)((bytes[i] + test_uniform(random, -0.49, 0.49)) / 255.0);
    grid.images = images;
    for (i = 0; i < size; i++) between[i] = (float)test_uniform(random, -0.2, 1.2);
    grid.originals = others ? originals : NULL;
    grid.between = others > 1 ? between : NULL;
    grid.count = count;
    grid.height = height, grid.width = width, grid.channels = channels, grid.columns = columns, grid.scale = scale;
    CHECK(png_write_grid(PICTURE, &grid, message) == 0);
    CHECK_TEXT(message, "");
    wrong = decode_file(PICTURE, &p);
    CHECK_TEXT(wrong ? wrong : "fine", "fine");
    CHECK(p.channels == (size_t)channels && p.width == (size_t)columns * ((size_t)(width * scale) + 2) + 2 &&
          p.height == lines * ((size_t)(height * scale) + 2) + 2);
    if (!wrong)
        for (y = 0; y < p.height; y++)
            for (x = 0; x < p.width; x++)
                for (c = 0; c < p.channels; c++)
                    bad += p.raw[y * (p.width * p.channels + 1) + 1 + x * p.channels + c] !=
                           expected_byte(&grid, bytes, x, y, c);
    CHECK(bad == 0);
    CHECK(!can_be_opened(PICTURE ".partial"));
    free(p.raw);
    free(images);
    free(between);
    free(bytes);
}

TEST(test_png_grids) {
    test_random random = { 20 };
    int         i;
    for (i = 0; i < 150; i++) {
        const int count = test_integer(&random, 1, 12), height = test_integer(&random, 1, 12);
        const int width = test_integer(&random, 1, 12), channels = test_integer(&random, 0, 1) ? 3 : 1;
        const int columns = test_integer(&random, 1, 6), scale = test_integer(&random, 1, 4);
        check_grid(&random, (size_t)count, height, width, channels, columns, scale, test_integer(&random, 0, 2));
    }
    check_grid(&random, 1, 1, 1, 1, 1, 1, 0);
    check_grid(&random, 2, 1, 2, 3, 500, 1, 1); /* columns that stay empty */
    check_grid(&random, 1, 3, 20, 1, 1, 50, 0);
    check_grid(&random, 64, 28, 28, 1, 8, 2, 1);
    check_grid(&random, 1, 2, 10918, 3, 1, 1, 0); /* the row above is 32767 bytes ago, just within the window */
    check_grid(&random, 1, 2, 10919, 3, 1, 1, 0); /* and just outside it */
    check_grid(&random, 1, 1, 19996, 1, 1, 1, 0); /* the widest there may be */
}

/* Runs of every length, so that every length symbol comes by with all its extra bits. */
TEST(test_png_runs) {
    test_random   random = { 21 };
    unsigned char pixels[600];
    char          message[MESSAGE_SIZE] = "";
    int           run_length;
    write_file("png/new/folders/x", "", 0);
    for (run_length = 1; run_length < 540; run_length++) {
        const int   width = run_length + 3;
        picture     p = { NULL, 0, 0, 0 };
        const char *wrong;
        memset(pixels, test_integer(&random, 0, 255), sizeof pixels);
        pixels[0] ^= 1;
        pixels[width - 1] ^= 0x80;
        CHECK(png_write_file(PICTURE, pixels, width, 1, 1, message) == 0);
        wrong = decode_file(PICTURE, &p);
        CHECK_TEXT(wrong ? wrong : "fine", "fine");
        CHECK(p.raw && p.width == (size_t)width && !memcmp(p.raw + 1, pixels, (size_t)width));
        free(p.raw);
    }
}

TEST(test_png_values) {
    const float values[10] = { 0.0f, 1.0f, -3.0f, 7.0f, 0.5f, NAN, INFINITY, -INFINITY, 1e-9f, 0.99999f };
    const int   wanted[10] = { 0, 255, 0, 255, 128, 0, 255, 0, 0, 255 };
    int         i;
    for (i = 0; i < 10; i++) CHECK(png_byte(values[i]) == wanted[i]);
    for (i = 0; i < 256; i++) CHECK(png_byte((float)i / 255.0f) == i);
}

TEST(test_png_refusals) {
    static float   pixels[12];
    static char    long_name[1200];
    const png_grid good = { pixels, NULL, NULL, 3, 2, 2, 1, 2, 1 };
    png_grid       grid;
    char           message[MESSAGE_SIZE] = "";
    uint64_t       before;
    int            i;
    for (i = 0; i < 7; i++) {
        grid = good;
        if (i == 0) grid.count = 0;
        if (i == 1) grid.columns = 0;
        if (i == 2) grid.scale = 0;
        if (i == 3) grid.channels = 2;
        if (i == 4) grid.height = 0;
        if (i == 5) grid.width = -1;
        if (i == 6) grid.channels = 4;
        CHECK(png_write_grid(FOLDER "/png/no.png", &grid, message) == -1);
        CHECK_TEXT(message, "a picture needs 1 or more images of 1 or 3 channels");
    }
    for (i = 0; i < 9; i++) { /* refused before any pixel is looked at */
        grid = good;
        if (i == 0) grid.count = 20000;
        if (i == 1) grid.columns = 10000;
        if (i == 2) grid.scale = 10000;
        if (i == 3) grid.width = 19997, grid.columns = 1;
        if (i == 4) grid.height = 20000;
        if (i == 5) grid.count = (size_t)-1;
        if (i == 6)
            grid.count = (size_t)1 << (8 * sizeof(size_t) - 1), grid.columns = 1,
            grid.originals = (unsigned char *)pixels;
        if (i == 7) grid.width = 2147483647, grid.scale = 100;
        if (i == 8) grid.columns = 2147483647;
        CHECK(png_write_grid(FOLDER "/png/no.png", &grid, message) == -1);
        CHECK_TEXT(message, FOLDER
                   "/png/no.png would have a side of more than 20000 pixels: ask for fewer images or a smaller scale");
    }
    CHECK(!can_be_opened(FOLDER "/png/no.png"));
    write_file("png/file", "x", 1);
    CHECK(png_write_grid(FOLDER "/png/file/no.png", &good, message) == -1); /* a file where a folder should be */
    CHECK_CONTAINS(message, "cannot write " FOLDER "/png/file/no.png");
    CHECK(png_write_grid(FOLDER "/png/missing/no.png", &good, message) == -1); /* no folder is made */
    CHECK_CONTAINS(message, "cannot write " FOLDER "/png/missing/no.png");
    CHECK(!can_be_opened(FOLDER "/png/missing"));
    write_file("png/folder/x", "x", 1);
    CHECK(png_write_grid(FOLDER "/png/folder", &good, message) == -1);
    CHECK_CONTAINS(message, "cannot write " FOLDER "/png/folder: ");
    CHECK(!can_be_opened(FOLDER "/png/folder.partial"));
    CHECK(can_be_opened(FOLDER "/png/folder/x"));
    memset(long_name, 'n', sizeof long_name - 1);
    CHECK(png_write_grid(long_name, &good, message) == -1);
    CHECK_CONTAINS(message, "the name of the file to write is too long");
    long_name[300] = '\0';
    CHECK(png_write_grid(long_name, &good, message) == -1); /* longer than file systems take */
    CHECK_CONTAINS(message, "cannot write nnnn");

    /* A picture that cannot be replaced stays as it is. */
    CHECK(png_write_grid(FOLDER "/png/old.png", &good, message) == 0);
    before = hash_of_file(FOLDER "/png/old.png");
    pixels[0] = 1;
    for (i = 0; i < 3; i++) {
        allocations_left = i;
        CHECK(png_write_grid(FOLDER "/png/old.png", &good, message) == -1);
        allocations_left = -1;
        CHECK_CONTAINS(message, FOLDER "/png/old.png");
        CHECK(hash_of_file(FOLDER "/png/old.png") == before && before != 0);
        CHECK(!can_be_opened(FOLDER "/png/old.png.partial"));
    }
    CHECK(png_write_grid(FOLDER "/png/old.png", &good, message) == 0);
    CHECK(hash_of_file(FOLDER "/png/old.png") != before);
}

/* ---- make_digits ---- */

#define MAKE FOLDER "/make_digits --out " FOLDER "/"

/* Whether make_digits is there, after building it once. */
static int have_make_digits(void) {
    static int tried = 0, built = 0;
    if (tried) return built;
    tried = 1;
    if (!have_shell() || run("${CC:-cc} --version") != 0) return 0;
    built = run("${CC:-cc} -std=c99 -O2 data/make_digits.c -o " FOLDER "/make_digits") == 0;
    if (!built) printf("%s", heard);
    CHECK(built);
    return built;
}

TEST(test_digits_are_pinned) {
    idx_images    images = { NULL, 0, 0, 0 };
    idx_labels    labels = { NULL, 0 };
    idx_directory found = { "", 0 };
    char          message[MESSAGE_SIZE] = "";
    double        ink = 0;
    int           counts[10] = { 0 }, wrong = 0, blank = 0;
    size_t        i, k;
    if (!have_make_digits()) SKIP("there is no C compiler to build make_digits with");
    CHECK(run(MAKE "digits --train 500 --test 100") == 0);
    CHECK_CONTAINS(heard, "wrote 500 training and 100 test digits into " FOLDER "/digits (seed 1, ");
    /* These change with the drawing, and with them every number measured on generated digits. */
    CHECK(hash_of_file(FOLDER "/digits/train-images-idx3-ubyte") == UINT64_C(0xee84b0c6c09b1dfc));
    CHECK(hash_of_file(FOLDER "/digits/train-labels-idx1-ubyte") == UINT64_C(0x4b7bd3f684ecd8da));
    CHECK(hash_of_file(FOLDER "/digits/t10k-images-idx3-ubyte") == UINT64_C(0xbd57b2ea2240a1fa));
    CHECK(hash_of_file(FOLDER "/digits/t10k-labels-idx1-ubyte") == UINT64_C(0xb69c5e518daa1b6e));
    CHECK(run("ls -A " FOLDER "/digits | wc -l | tr -d ' '") == 0);
    CHECK_TEXT(heard, "5\n\n0\n"); /* the four and the mark, nothing unfinished */

    CHECK(idx_find_directory(FOLDER "/digits", &found, message) == 0);
    CHECK(found.generated);
    CHECK(idx_read_images(FOLDER "/digits", "train-images-idx3-ubyte", &images, message) == 0);
    CHECK(idx_read_labels(FOLDER "/digits", "train-labels-idx1-ubyte", &labels, message) == 0);
    CHECK_TEXT(message, "");
    CHECK(images.count == 500 && images.height == 28 && images.width == 28 && labels.count == 500);
    for (i = 0; i < images.count && i < labels.count; i++) {
        const double before = ink;
        for (k = 0; k < 784; k++) ink += images.pixels[784 * i + k] / 255.0;
        blank += ink - before < 784 * 0.02;
        if (labels.values[i] < 10)
            counts[labels.values[i]]++;
        else
            wrong++;
    }
    CHECK(wrong == 0 && blank == 0);
    for (k = 0; k < 10; k++) CHECK(counts[k] >= 30 && counts[k] <= 70);
    ink /= 500 * 784;
    CHECK(ink > 0.12 && ink < 0.145);
    free(images.pixels);
    free(labels.values);
}

TEST(test_digits_depend_on_the_seed_alone) {
    idx_images a = { NULL, 0, 0, 0 }, b = { NULL, 0, 0, 0 };
    char       message[MESSAGE_SIZE] = "";
    if (!have_make_digits()) SKIP("there is no C compiler to build make_digits with");
    CHECK(run(MAKE "a --train 40 --test 3 --seed 7") == 0);
    CHECK(run(MAKE "b/deeper --train=70 --test=5 --seed=7") == 0);
    CHECK(run(MAKE "c --train 40 --test 3 --seed 8") == 0);
    CHECK(idx_read_images(FOLDER "/a", "train-images-idx3-ubyte", &a, message) == 0);
    CHECK(idx_read_images(FOLDER "/b/deeper", "train-images-idx3-ubyte", &b, message) == 0);
    CHECK(a.count == 40 && b.count == 70 && !memcmp(a.pixels, b.pixels, 40 * 784));
    free(b.pixels);
    b.pixels = NULL;
    CHECK(idx_read_images(FOLDER "/c", "train-images-idx3-ubyte", &b, message) == 0);
    CHECK(a.count == b.count && memcmp(a.pixels, b.pixels, 40 * 784) != 0);
    free(b.pixels);
    b.pixels = NULL;
    CHECK(idx_read_images(FOLDER "/a", "t10k-images-idx3-ubyte", &b, message) == 0); /* not the training images again */
    CHECK(b.count == 3 && memcmp(a.pixels, b.pixels, 784) != 0);
    free(a.pixels);
    free(b.pixels);
}

TEST(test_digits_overwrite_only_their_own) {
    uint64_t before;
    if (!have_make_digits()) SKIP("there is no C compiler to build make_digits with");
    CHECK(run(MAKE "own --train 20 --test 2") == 0);
    before = hash_of_file(FOLDER "/own/train-images-idx3-ubyte");
    CHECK(run(MAKE "own --train 30 --test 2") == 0); /* its own: overwritten */
    CHECK(hash_of_file(FOLDER "/own/train-images-idx3-ubyte") != before);
    before = hash_of_file(FOLDER "/own/train-images-idx3-ubyte");
    CHECK(remove(FOLDER "/own/GENERATED") == 0);
    CHECK(run(MAKE "own --train 20 --test 2") == 1);
    CHECK_CONTAINS(heard, "make_digits: " FOLDER "/own holds digits that were not made by this program, which it will "
                          "not overwrite: give another directory with --out");
    CHECK(hash_of_file(FOLDER "/own/train-images-idx3-ubyte") == before && before != 0);
    CHECK(!can_be_opened(FOLDER "/own/GENERATED"));
    write_file("one/t10k-labels-idx1-ubyte", "x", 1); /* one of the four is enough */
    CHECK(run(MAKE "one --train 20 --test 2") == 1);
    CHECK_CONTAINS(heard, "will not overwrite");
    CHECK(!can_be_opened(FOLDER "/one/train-images-idx3-ubyte"));
}

TEST(test_digits_mistakes) {
    if (!have_make_digits()) SKIP("there is no C compiler to build make_digits with");
    CHECK(run(MAKE "bad --train 0") == 2);
    CHECK_CONTAINS(heard, "make_digits: --train must be from 1 to 1000000, not 0");
    CHECK(run(MAKE "bad --test many") == 2);
    CHECK_CONTAINS(heard, "make_digits: --test needs a whole number, not 'many'");
    CHECK(run(MAKE "bad --seed -1") == 2);
    CHECK_CONTAINS(heard, "make_digits: --seed must be from 0 to ");
    CHECK(run(MAKE "bad --trian 5") == 2);
    CHECK_CONTAINS(heard, "make_digits: there is no option --trian (did you mean --train?)");
    CHECK(run(MAKE "bad 5") == 2);
    CHECK_CONTAINS(heard, "make_digits: '5' is not expected");
    CHECK(run(FOLDER "/make_digits --out") == 2);
    CHECK_CONTAINS(heard, "make_digits: --out needs a value");
    CHECK(run(MAKE "%0600d", 1) == 2);
    CHECK_CONTAINS(heard, "make_digits: the name of the directory must have 1 to ");
    CHECK(run("test -e " FOLDER "/bad") != 0);
    write_file("in_the_way", "x", 1);
    CHECK(run(MAKE "in_the_way/digits --train 5 --test 5") == 1);
    CHECK_CONTAINS(heard, "make_digits: the files cannot be written into " FOLDER "/in_the_way/digits: ");
    CHECK(run(FOLDER "/make_digits --help") == 0);
    CHECK_CONTAINS(heard, "usage: make_digits [options]");
    CHECK_CONTAINS(heard, "number of training images (60000)");
    CHECK(run(MAKE "stopped --train 1000000 & digits=$!; sleep 1; kill -TERM $digits; wait $digits") == 1);
    CHECK_CONTAINS(heard, "make_digits: interrupted, nothing written");
    CHECK(run("ls -A " FOLDER "/stopped") == 0);
    CHECK_TEXT(heard, "\n0\n");
}

/* ---- the CSV reader ---- */

static char csv_said[MESSAGE_SIZE];

static int csv_from(const char *text, size_t size, const char *without, csv_table *found) {
    csv_said[0] = '\0';
    write_file("table.csv", text, size);
    return csv_read(FOLDER "/table.csv", without, found, csv_said);
}

/* Reads the text and writes what was read as "names: numbers; numbers (lines)", gaps as _. */
static const char *csv_seen(const char *text, const char *without) {
    static char seen[2048];
    csv_table   found;
    size_t      used = 0, i, k;
    if (csv_from(text, strlen(text), without, &found) != 0) snprintf(seen, sizeof seen, "%s", csv_said);
    else {
        for (k = 0; k < found.columns; k++)
            used += (size_t)snprintf(seen + used, sizeof seen - used, "%s%s", k ? "|" : "", found.names[k]);
        for (i = 0; i < found.rows; i++) {
            used += (size_t)snprintf(seen + used, sizeof seen - used, " %lu:", (unsigned long)found.lines[i]);
            for (k = 0; k < found.columns; k++) {
                const float x = found.numbers[i * found.columns + k];
                used += (size_t)(x == x ? snprintf(seen + used, sizeof seen - used, "%s%g", k ? "," : "", (double)x)
                                        : snprintf(seen + used, sizeof seen - used, "%s_", k ? "," : ""));
            }
        }
        snprintf(seen + used, sizeof seen - used, " gaps %lu", (unsigned long)found.gaps);
    }
    csv_free(&found);
    return seen;
}

TEST(test_csv_good_files) {
    CHECK_TEXT(csv_seen("a,b\n1,2\n3,-4.5e2\n", NULL), "a|b 2:1,2 3:3,-450 gaps 0");
    CHECK_TEXT(csv_seen("1,2\n3,4", NULL), "column 1|column 2 1:1,2 2:3,4 gaps 0");
    CHECK_TEXT(csv_seen("a;b\r\n1;2\r\n\r\n 3 ; .5 \r\n", NULL), "a|b 2:1,2 4:3,0.5 gaps 0");
    CHECK_TEXT(csv_seen("a\tb, c\td\n1\t2\t3\n\t\t\n", NULL), "a|b, c|d 2:1,2,3 3:_,_,_ gaps 3");
    CHECK_TEXT(csv_seen("\xEF\xBB\xBF\"a, \"\"b\"\"\",\"c\nd\"\n\"1\",+2\n", NULL), "a, \"b\"|c\nd 3:1,2 gaps 0");
    CHECK_TEXT(csv_seen("a,,c\n,NA,?\n1,NaN,null\n2,3,", NULL), "a|column 2|c 2:_,_,_ 3:1,_,_ 4:2,3,_ gaps 6");
    CHECK_TEXT(csv_seen("5\n\n6\n", NULL), "column 1 1:5 3:6 gaps 0");
    CHECK_TEXT(csv_seen("a,b\r1,2\r\r3,4\r", NULL), "a|b 2:1,2 4:3,4 gaps 0");
    CHECK_TEXT(csv_seen("\n\n7,8\n  \n", NULL), "column 1|column 2 3:7,8 gaps 0");
    CHECK_TEXT(csv_seen("id,time,x\nfirst,Monday,3\n", "id,time"), "x 2:3 gaps 0");
    CHECK_TEXT(csv_seen("id,time,x\nfirst,Monday,3\n", "2,1"), "x 2:3 gaps 0");
    CHECK_TEXT(csv_seen("1,2,3\n", "2"), "column 1|column 3 1:1,3 gaps 0");
    CHECK_TEXT(csv_seen("2,x\n5,6\n", "2"), "x 2:6 gaps 0");        /* names come before numbers */
}

TEST(test_csv_refusals) {
    csv_table found;
    int       left;
    CHECK_CONTAINS(csv_seen("a,b\n1,2\n3\n", NULL), "/table.csv, line 3 has 1 fields, the first line has 2");
    CHECK_CONTAINS(csv_seen("a,b\n1,2,3\n", NULL), "/table.csv, line 2 has 3 fields, the first line has 2");
    CHECK_CONTAINS(csv_seen("a,size\n1,2\n3,tall\n", NULL),
                   "/table.csv, line 3, size holds 'tall': that is no number (--without leaves a column out)");
    CHECK_CONTAINS(csv_seen("1,2\n3,0x10\n", NULL), "/table.csv, line 2, column 2 holds '0x10': that is no number");
    CHECK_CONTAINS(csv_seen("1,2\n3,inf\n", NULL), "column 2 holds 'inf': that is no number");
    CHECK_CONTAINS(csv_seen("1,2\n3,1e5e\n", NULL), "column 2 holds '1e5e': that is no number");
    CHECK_CONTAINS(csv_seen("1;2\n3;1,5\n", NULL), "column 2 holds '1,5': that is no number (numbers take a decimal "
                                                   "point and no commas)");
    CHECK_CONTAINS(csv_seen("a b\n1.5 2\n", NULL), "a b holds '1.5 2': that is no number (fields stand between commas, "
                                                 "semicolons or tabs)");
    CHECK_CONTAINS(csv_seen("1,2\n3,-1e39\n", NULL), "line 2, column 2 holds -1e39: that is too large");
    CHECK_CONTAINS(csv_seen("a,b\n\"1,2\n3,4\n", NULL), "/table.csv, line 2: a quoted field does not end");
    CHECK_CONTAINS(csv_seen("a,b\n\"1\"2,3\n", NULL), "/table.csv, line 2: something follows a closing quote");
    CHECK_CONTAINS(csv_seen("a,b\n", NULL), "/table.csv holds no rows");
    CHECK_CONTAINS(csv_seen("", NULL), "/table.csv holds no rows");
    CHECK_CONTAINS(csv_seen("\n \r\n", NULL), "/table.csv holds no rows");
    CHECK_CONTAINS(csv_seen("a,b\n1,2\n", "c"), "/table.csv has no column 'c' to leave out");
    CHECK_CONTAINS(csv_seen("speed of the first pump,pressure behind the second,temperature of the oil in the bearing "
                            "of the third\n", "c"),
                   " no column 'c' to leave out, it has speed of the first pump, pressure behind the second, ..");
    CHECK_CONTAINS(csv_seen("a,b\n1,2\n", "3"), "/table.csv has no column '3' to leave out");
    CHECK_CONTAINS(csv_seen("a,b\n1,2\n", "a,b"), "no column of " FOLDER "/table.csv is left");
    CHECK(csv_from("a\0b\n", 4, NULL, &found) != 0);
    CHECK_CONTAINS(csv_said, "/table.csv is no text in UTF-8: it holds a byte 0");
    csv_free(&found);
    CHECK(csv_read(FOLDER "/nothing.csv", NULL, &found, csv_said) != 0);
    CHECK_CONTAINS(csv_said, "cannot open " FOLDER "/nothing.csv: ");
    csv_free(&found);
    CHECK(csv_read(FOLDER, NULL, &found, csv_said) != 0);
    CHECK_CONTAINS(csv_said, "cannot ");
    csv_free(&found);
    for (left = 0; left < 20; left++) {     /* wherever memory ends */
        write_file("table.csv", "a,b\n1,2\n", 8);
        allocations_left = left;
        if (csv_read(FOLDER "/table.csv", NULL, &found, csv_said) == 0) left = 20;
        else CHECK_CONTAINS(csv_said, "not enough memory for ");
        allocations_left = -1;
        csv_free(&found);
    }
    CHECK(left > 20);       /* with enough of it the table was read */
}

/* Damaged files end in a table or a sentence. */
TEST(test_csv_damage) {
    static const char good[] = "\"a\"\"b\",c;d\n1,\"2\"\n3,\r\n\n4,5e-1\n";
    static const char bytes[] = "\",;\n\r\t 1ex\\\xEF";
    test_random       random = { 6 };
    int               turn, change, read = 0;
    for (turn = 0; turn < 3000; turn++) {
        char      text[sizeof good];
        csv_table found;
        memcpy(text, good, sizeof good);
        for (change = test_integer(&random, 1, 4); change > 0; change--)
            text[test_integer(&random, 0, (int)sizeof good - 2)] =
                bytes[test_integer(&random, 0, (int)sizeof bytes - 2)];
        if (csv_from(text, (size_t)test_integer(&random, 0, (int)sizeof good - 1), NULL, &found) == 0) {
            CHECK(found.rows && found.columns && found.lines[found.rows - 1] <= 7);
            read++;
        } else CHECK(csv_said[0]);
        csv_free(&found);
    }
    CHECK(read > 300 && read < 2700);
}

/* A size that memory cannot have is refused, not cut off to what remains of it. */
TEST(test_csv_sizes) {
    void  *array = NULL;
    size_t room = 0;
    CHECK(!csv_room(&array, 0, &room, (size_t)-1 / 64 + 2) && !array && !room);
    room = (size_t)-1 / 2;
    CHECK(!csv_room(&array, room, &room, 2) && !array);
}

/* ---- the example programs, as make builds them ---- */

#define RUNS FOLDER "/runs"
/* A run of three short epochs, its files in folder `n`. */
#define TRAIN "build/train_mnist --recipe torch-400-20 --epochs 3 --threads 2 --data " RUNS "/digits"
#define FILES(n) \
    " --out " RUNS "/" n "/model --samples " RUNS "/" n "/samples.png --checkpoint " RUNS "/" n "/checkpoint" \
    " --log " RUNS "/" n "/log.csv"

/* Whether the programs are there; digits and folders are made the first time. */
static int have_examples(void) {
    static int made = 0;
    if (!have_shell() || !can_be_opened("build/train_mnist") || !can_be_opened("build/sample_mnist") ||
        !can_be_opened("build/reconstruct_mnist") || !can_be_opened("build/interpolate_mnist") ||
        !can_be_opened("build/plot_latent") || !can_be_opened("build/draw_digit") || !have_make_digits())
        return 0;
    if (!made) made = run("mkdir -p " RUNS "/a " RUNS "/b " RUNS "/c") == 0 &&
                      run(FOLDER "/make_digits --out " RUNS "/digits --train 6000 --test 200") == 0;
    return made;
}

static void check_same_files(const char *name) {
    char     path[256];
    uint64_t first;
    snprintf(path, sizeof path, RUNS "/a/%s", name);
    first = hash_of_file(path);
    snprintf(path, sizeof path, RUNS "/b/%s", name);
    CHECK(first != 0 && hash_of_file(path) == first);
}

/* Waits in the shell, a minute or two at most. What it waits for is not left from an earlier run: see each rm. */
#define UNTIL(condition) \
    "tries=0; until " condition " || [ $((tries += 1)) -gt 3000 ]; do sleep 0.02; done; "

/* Interrupted and resumed by the very command it prints, a run ends with the bytes of one that never stopped. On a busy
   machine the signal may come after the second epoch: then again. */
TEST(test_resume) {
    static const char *const signals[2] = { "INT", "TERM" };
    int                      i;
    if (!have_examples()) SKIP("the examples are not built");
    CHECK(run(TRAIN FILES("a")) == 0);
    CHECK_CONTAINS(heard, "epoch 1/3: loss ");
    CHECK_CONTAINS(heard, "final: epochs=3 train_loss=");
    for (i = 0; i < 2; i++) {
        char  command[4096], *begin, *end;
        int   tries = 0;
        do {
            run("rm -f " RUNS "/b/* " RUNS "/b.log; " TRAIN FILES("b") " >" RUNS "/b.log 2>&1 & run=$!; "
                UNTIL("grep -qs 'epoch 1/' " RUNS "/b.log") "sleep 0.05; kill -%s $run; "
                "wait $run; echo \"code $?\"; cat " RUNS "/b.log", signals[i]);
        } while (!strstr(heard, "interrupted in epoch 2") && ++tries < 20);
        CHECK_CONTAINS(heard, i ? "code 143" : "code 130");
        CHECK_CONTAINS(heard, "interrupted in epoch 2; everything is in " RUNS "/b/checkpoint, go on with\n    build/");
        CHECK(!can_be_opened(RUNS "/b/model") && can_be_opened(RUNS "/b/samples.png"));
        begin = strstr(heard, "    build/train_mnist");
        if (!begin || (end = strchr(begin, '\n')) == NULL) return;
        snprintf(command, sizeof command, "%.*s", (int)(end - begin), begin);
        CHECK_CONTAINS(command, " --resume");
        CHECK(run("%s", command) == 0);
        CHECK(!strstr(heard, "epoch 1/3"));
        CHECK_CONTAINS(heard, "epoch 2/3: loss ");
        check_same_files("model");
        check_same_files("checkpoint");
        check_same_files("samples.png");
    }
    CHECK(run(TRAIN FILES("b") " --resume") == 0);      /* nothing is left to do */
    CHECK(!strstr(heard, "epoch 3/3"));
    CHECK_CONTAINS(heard, "nothing left to train: 3 epochs are made, ");
    check_same_files("model");
}

#define FEW "build/train_mnist --threads 1 --data " RUNS "/few --recipe "

/* Every recipe of the list makes a model, trains it and draws. */
TEST(test_recipes) {
    static char list[sizeof heard];
    char        names[32][32], *line;
    int         count = 0, i;
    if (!have_examples()) SKIP("the examples are not built");
    CHECK(run(FOLDER "/make_digits --out " RUNS "/few --train 64 --test 16") == 0);
    CHECK(run("build/train_mnist --recipe list") == 0);
    memcpy(list, heard, sizeof list);
    for (line = strtok(list, "\n"); line && count < 32; line = strtok(NULL, "\n"))
        if (strchr(line, ' ') && sscanf(line, "%31s", names[count]) == 1) count++;
    CHECK(count >= 14);
    for (i = 0; i < count; i++) {
        run("rm -f " RUNS "/c/*");
        CHECK(run(FEW "%s --epochs 1 --batch 32%s" FILES("c"), names[i],
                  strcmp(names[i], "autoencoder") ? " --evaluate 2" : "") == 0);
        if (!CHECK(strstr(heard, "final: epochs=1 train_loss=") != NULL)) printf("%s: %s\n", names[i], heard);
        CHECK((strcmp(names[i], "autoencoder") != 0) == (strstr(heard, "\nevaluated: samples=2 log_p=-") != NULL));
        CHECK(can_be_opened(RUNS "/c/model") && can_be_opened(RUNS "/c/samples.png"));
    }
}

/* The rate that the checkpoint tells, after so many passes. */
static double rate_after(const char *objective, int passes) {
    const char    *at;
    unsigned char *bytes;
    size_t         size = 0;
    double         rate = 0;
    CHECK(run(FEW "iwae --k 2 --objective %s --epochs %d --resume" FILES("a"), objective, passes) == 0);
    if ((bytes = read_file(RUNS "/a/checkpoint", &size)) == NULL) return 0;
    if ((at = strstr((char *)bytes + 8, "learning_rate")) != NULL) sscanf(at, "%*[^:]:%lf", &rate);
    free(bytes);
    return rate;
}

/* 3^i passes at 10^(-i/7) of the rate, i = 0, 1, ..; the same bits where each stage is a run of its own. */
TEST(test_stages) {
    if (!have_examples()) SKIP("the examples are not built");
    CHECK(run(FOLDER "/make_digits --out " RUNS "/few --train 64 --test 16") == 0);
    run("rm -f " RUNS "/a/* " RUNS "/b/*");
    CHECK(run(FEW "iwae --k 2 --objective iwae --epochs 1" FILES("a")) == 0);
    CHECK_NEAR(rate_after("iwae", 1), 1e-3, 1e-9);
    CHECK_NEAR(rate_after("iwae", 2), 1e-3 * pow(10, -1.0 / 7), 1e-9);
    CHECK_NEAR(rate_after("iwae", 4), 1e-3 * pow(10, -1.0 / 7), 1e-9);
    CHECK_NEAR(rate_after("iwae", 5), 1e-3 * pow(10, -2.0 / 7), 1e-9);
    CHECK_NEAR(rate_after("iwae", 14), 1e-3 * pow(10, -3.0 / 7), 1e-9);
    CHECK(run(FEW "iwae --k 2 --epochs 14" FILES("b")) == 0);
    check_same_files("model");
    check_same_files("checkpoint");
    check_same_files("samples.png");
    CHECK(run(FEW "iwae --k 2 --objective vae --epochs 14" FILES("b")) == 0);
    CHECK(hash_of_file(RUNS "/a/model") != hash_of_file(RUNS "/b/model"));
    CHECK(run(FEW "iwae --objective elbo" FILES("b")) == 2);
    CHECK_CONTAINS(heard, "train_mnist: --objective is vae or iwae, not elbo: see --help");
    CHECK(run(FEW "cvae --epochs 1" FILES("b")) == 0);
    CHECK(run("cp " RUNS "/digits/t10k-labels-idx1-ubyte " RUNS "/few/") == 0);
    CHECK(run(FEW "cvae --epochs 1" FILES("b")) == 1);
    CHECK_CONTAINS(heard, "/few/t10k-labels-idx1-ubyte has 200 labels for 16 images");
}

#define REPRODUCE "MNIST_DIR=" FOLDER "/real sh tests/reproduce.sh " FOLDER "/fake " FOLDER "/table"

/* With a program in train_mnist's place that says its figures, leaves a checkpoint and, at its second call, is
   stopped. */
TEST(test_reproduce) {
    static const char fake[] =
        "#!/bin/sh\n"
        "while [ $# -gt 0 ]; do case $1 in --epochs) e=$2 ;; --evaluate) k=$2 ;; --checkpoint) c=$2 ;; --log) l=$2 ;; "
        "--resume) r=1 ;; esac; shift; done\n"
        "echo $e $r >>" FOLDER "/calls; echo x >$c\n"
        "[ $(wc -l <" FOLDER "/calls) != 2 ] || exit 130\n"
        "echo \"$e,1.234,5,6,7\" >>$l\n"
        "echo \"final: epochs=$e train_loss=1.00 test_loss=-2.50 reconstruction=3.00 kl=4.00 seconds=5.0\"\n"
        "[ $k = 0 ] || echo \"evaluated: samples=$k log_p=-88.75 active=19\"\n";
    static const char fake_figures[] =
        "#!/bin/sh\n"
        "echo figures $1 >>" FOLDER "/calls\n"
        "[ $1 = denoise ] && echo \"figure: denoise-noise ours=1.5 noisy=9.25 median-3x3=4\" || echo SKIPPED: no "
        "table\n"
        "echo finished: $1\n";
    static const char *const names[4] = { "real/train-images-idx3-ubyte", "real/train-labels-idx1-ubyte",
                                          "real/t10k-images-idx3-ubyte", "real/t10k-labels-idx1-ubyte" };
    unsigned char           *text;
    size_t                   size = 0;
    int                      i;
    if (!have_shell()) SKIP("it needs a shell");
    write_file("fake/train_mnist", fake, sizeof fake - 1);
    write_file("fake/figures", fake_figures, sizeof fake_figures - 1);
    if (run("chmod +x " FOLDER "/fake/train_mnist " FOLDER "/fake/figures && command -v awk") != 0)
        SKIP("it needs chmod and awk");
    CHECK(run("rm -rf " FOLDER "/real; " REPRODUCE) == 0);
    CHECK_CONTAINS(heard, "SKIPPED: no figure was reproduced. They need real MNIST, which is not in " FOLDER "/real");
    for (i = 0; i < 4; i++) write_file(names[i], "x", 1);
    write_file("real/GENERATED", "", 0);
    CHECK(run(REPRODUCE) == 0);
    CHECK_CONTAINS(heard, "SKIPPED: ");
    CHECK(!can_be_opened(FOLDER "/calls") && run("rm " FOLDER "/real/GENERATED") == 0);
    CHECK(run(REPRODUCE) == 130);
    CHECK_CONTAINS(heard, "interrupted; the same command goes on");
    CHECK(run(REPRODUCE) == 0);
    CHECK_CONTAINS(heard, "torch-400-20, 10 epochs: finished before\n");
    CHECK_CONTAINS(heard, "| torch-400-20, 10 | training; test | 1.23; 2.50 | 106.37; 105.56 | ");
    CHECK_CONTAINS(heard, "active units | 2.50; 88.75; 19 | 111.58; 104.33 | ");
    CHECK_CONTAINS(heard, "\nfigure: denoise-noise ours=1.5 ");
    CHECK_CONTAINS(heard, "\nSKIPPED: no table\n");
    CHECK_CONTAINS(heard, "| denoise-noise | squared error of a test digit | 1.5 | noisy 9.25; median-3x3 4 |\n");
    CHECK(strstr(heard, "| iwae-1, 20 |") == NULL);
    CHECK(run("FULL=1 " REPRODUCE) == 0);
    CHECK_CONTAINS(heard, "| gain in log p (50 samples), mean of 6 seeds | 0.00 ± 0.00 | ");
    CHECK_CONTAINS(heard, "| iwae-1, 3280 | −ELBO; −log p (5000 samples); active units | 2.50; 88.75; 19 | ");
    CHECK((text = read_file(FOLDER "/calls", &size)) != NULL);
    if (text) CHECK_TEXT((char *)text, "10\n10\n10 1\n10\n3\n4\n4\n"
                                     "figures denoise\nfigures semi-supervised\nfigures one-class\nfigures impute\n"
                                     "figures semi-supervised\nfigures one-class\nfigures impute\n"
                                     "figures semi-supervised-controls\n4\n4\n4\n4\n4\n4\n4\n4\n4\n4\n20 1\n40 1\n60\n121 1\n3280 1\n");
    free(text);
    CHECK(run("rm " FOLDER "/table/best-60.log; printf '#!/bin/sh\\necho no memory; exit 1\\n' >" FOLDER
              "/fake/train_mnist; FULL=1 " REPRODUCE) == 1);
    CHECK_CONTAINS(heard, "best failed; " FOLDER "/table/best-60.log ends with\nno memory\n");
    CHECK(run("rm -rf " FOLDER "/calls " FOLDER "/table") == 0);
}

/* timeout(1) signals a process and its group: that is one request. A later signal is another, and ends the program. */
TEST(test_second_interrupt) {
    warned[0] = '\0';
    interrupt_begin();
    CHECK(raise(SIGTERM) == 0 && interrupted == SIGTERM);
    CHECK(raise(SIGTERM) == 0 && raise(SIGINT) == 0 && raised == 0);
#ifdef INTERRUPT_WRITES
    CHECK_TEXT(warned, "\nstopping, and saving: once more, in two seconds or later, gives up\n");
#else
    (void)pretended_write;
#endif
    interrupted_at -= 3;
    CHECK(raise(SIGINT) == 0 && raised == SIGINT);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    interrupted = 0;
    if (!have_examples()) SKIP("the examples are not built");
    run("rm -f " RUNS "/c/* " RUNS "/c.log");
    CHECK(run("build/train_mnist --threads 1 --batch 6000 --data " RUNS "/digits" FILES("c") " >" RUNS "/c.log 2>&1 & "
              "run=$!; " UNTIL("grep -qs watch " RUNS "/c.log") "sleep 0.1; kill -INT $run; kill -INT $run; "
              "sleep 0.02; kill -INT $run; wait $run; code=$?; cat " RUNS "/c.log; (exit $code)") == 130);
    CHECK_CONTAINS(heard, "interrupted in epoch ");
    CHECK(can_be_opened(RUNS "/c/checkpoint"));
}

/* What a new training replaces is kept, with the line that tells its data: Ctrl-C after a forgotten --resume loses
   nothing. */
TEST(test_forgotten_resume) {
    uint64_t before, line;
    if (!have_examples()) SKIP("the examples are not built");
    CHECK(run("rm -f " RUNS "/c/* " RUNS "/c.log; " FOLDER "/make_digits --out " RUNS "/few --train 64 --test 16") ==
          0);
    CHECK(run(FEW "torch-400-20 --epochs 2" FILES("c")) == 0);
    before = hash_of_file(RUNS "/c/checkpoint");
    line = hash_of_file(RUNS "/c/checkpoint.data");
    CHECK(run("build/train_mnist --recipe torch-400-20 --threads 1 --data " RUNS "/digits" FILES("c") " >" RUNS
              "/c.log 2>&1 & run=$!; " UNTIL("grep -qs watch " RUNS "/c.log") "kill -TERM $run; wait $run") == 143);
    CHECK(run("cat " RUNS "/c.log") == 0);
    CHECK_CONTAINS(heard, "/c/checkpoint is there already: --resume would go on from it, else it becomes " RUNS
                   "/c/checkpoint.before\n");
    CHECK(hash_of_file(RUNS "/c/checkpoint.before") == before && before != 0);
    CHECK(hash_of_file(RUNS "/c/checkpoint.before.data") == line && line != 0);
    CHECK(hash_of_file(RUNS "/c/checkpoint") != before && hash_of_file(RUNS "/c/checkpoint.data") != line);
    CHECK(run("mv " RUNS "/c/checkpoint.before " RUNS "/c/checkpoint && mv " RUNS "/c/checkpoint.before.data " RUNS
              "/c/checkpoint.data && " FEW "torch-400-20 --epochs 3 --resume" FILES("c")) == 0);
    CHECK(!can_be_opened(RUNS "/c/checkpoint.before"));         /* what goes on replaces itself */
}

/* Each recipe has a checkpoint of its own, which --resume finds: one that another left stays as it is. */
TEST(test_checkpoint_of_each_recipe) {
    if (!have_examples()) SKIP("the examples are not built");
#define RECIPE(name, epochs) \
    "build/train_mnist --recipe " name " --epochs " epochs " --threads 2 --data " RUNS "/digits --out " RUNS \
    "/c/m.safetensors --samples " RUNS "/c/s.png"
    CHECK(run("rm -f " RUNS "/c/*; " RECIPE("torch-400-20", "1")) == 0);
    CHECK(!strstr(heard, ".before"));
    CHECK(run(RECIPE("dense-512-32", "1")) == 0);
    CHECK(!strstr(heard, ".before"));
    CHECK(run(RECIPE("torch-400-20", "2") " --resume") == 0);
    CHECK(!strstr(heard, ".before") && !strstr(heard, "epoch 1/2") && strstr(heard, "epoch 2/2"));
    CHECK(run("(cd " RUNS "/c && ls *.safetensors *.png)") == 0);
    CHECK_TEXT(heard, "m-dense-512-32-checkpoint.safetensors\nm-torch-400-20-checkpoint.safetensors\nm.safetensors\n"
                      "s.png\n\n0\n");
    CHECK(run(RECIPE("dense-512-32", "1")) == 0);
    CHECK_CONTAINS(heard, "/c/m-dense-512-32-checkpoint.safetensors is there already: --resume would ");
#undef RECIPE
}

TEST(test_train_mistakes) {
    const char *data, *complaint;
    if (!have_examples()) SKIP("the examples are not built");
    CHECK(run("build/train_mnist --recipe list") == 0);
    CHECK_CONTAINS(heard, "torch-400-20     ");
    CHECK_CONTAINS(heard, "keras-conv       ");
    CHECK_CONTAINS(heard, "keras-conv-134k ");
    CHECK(run("build/train_mnist --recipe tensorflow") == 2);
    CHECK_CONTAINS(heard, "train_mnist: --recipe list has no tensorflow: see --help");
    CHECK(run(TRAIN FILES("missing")) == 2);
    CHECK_CONTAINS(heard, "train_mnist: there is no folder " RUNS "/missing for --out: make it with mkdir -p ");
    CHECK(run("rm -f " RUNS "/c/*; " TRAIN FILES("c") " --resume") == 1);
    data = strstr(heard, "data: generated digits, not MNIST, in " RUNS "/digits, 6000 training and 200 test images\n");
    complaint = strstr(heard, "train_mnist: cannot open " RUNS "/c/checkpoint");
    CHECK(data && complaint && data < complaint);       /* into one pipe, in the order they were said */
    CHECK(run(TRAIN FILES("c") " --seconds 0.01") == 0);
    CHECK_CONTAINS(heard, "stopped in epoch 1 of 3: 0.01 seconds are over (--seconds); the model is as the last ");
    CHECK_CONTAINS(heard, "final: epochs=0.");
    CHECK(can_be_opened(RUNS "/c/model") && can_be_opened(RUNS "/c/samples.png"));
    CHECK(run(FOLDER "/make_digits --out " RUNS "/few --train 64 --test 16") == 0);
    CHECK(run("build/train_mnist --recipe torch-400-20 --resume --data " RUNS "/few" FILES("c")) == 1);
    CHECK_CONTAINS(heard, RUNS "/c/checkpoint learned 6000 images of " RUNS "/digits, not these 64 of " RUNS
                   "/few: name another --checkpoint, or leave out --resume to begin anew");
    CHECK(run("rm " RUNS "/c/checkpoint.data; " TRAIN FILES("c") " --resume") == 0); /* earlier versions wrote none */
}

static void check_picture(const char *path, size_t width, size_t height) {
    picture     p = { NULL, 0, 0, 0 };
    const char *wrong = decode_file(path, &p);
    CHECK_TEXT(wrong ? wrong : "fine", "fine");
    CHECK(p.width == width && p.height == height && p.channels == 1);
    free(p.raw);
}

/* Digits of every class beside the plane and points in it, in the classes' colours. */
static void check_plane(void) {
    static const unsigned char colours[10][3] = {
        { 228, 26, 28 },   { 55, 126, 184 },  { 77, 175, 74 },   { 152, 78, 163 },  { 255, 127, 0 },
        { 247, 224, 71 },  { 166, 86, 40 },   { 247, 129, 191 }, { 170, 170, 170 }, { 64, 224, 208 }
    };
    picture     p = { NULL, 0, 0, 0 };
    const char *wrong;
    size_t      x, y, inside = 0;
    int         c, digit, legend[10] = { 0 };
    CHECK(run("build/plot_latent " RUNS "/a/model --data " RUNS "/digits --out " RUNS "/p.png --side 320 --reach 5") ==
          0);
    wrong = decode_file(RUNS "/p.png", &p);
    CHECK_TEXT(wrong ? wrong : "fine", "fine");
    CHECK(p.width == 320 + 28 + 4 && p.height == 320 + 4 && p.channels == 3);
    for (y = 2; !wrong && y < 322; y++)
        for (x = 2; x < 350; x++) {
            const unsigned char *pixel = p.raw + y * (p.width * 3 + 1) + 1 + x * 3;
            inside += x < 322 && (pixel[0] != pixel[1] || pixel[1] != pixel[2]);
            digit = (int)(y - 2) / 32;
            for (c = 0; c < 3 && abs(pixel[c] - colours[digit][c]) < 16; c++) {}    /* of the brightest pixels */
            legend[digit] += x >= 322 && c == 3;
        }
    for (digit = 0; digit < 10; digit++) CHECK(legend[digit] > 3);
    CHECK(inside > 200);
    free(p.raw);
    CHECK(run("build/plot_latent " RUNS "/a/model --data " RUNS "/digits --out " RUNS "/p.png --side 279") == 1);
    CHECK_CONTAINS(heard, "--side must be at least 280");
}

TEST(test_pictures) {
    uint64_t before;
    int      i;
    if (!have_examples()) SKIP("the examples are not built");
    CHECK(run(TRAIN FILES("a") " --latent 2") == 0);
    CHECK_CONTAINS(heard, RUNS "/a/checkpoint is there already: --resume would go on from it, else it becomes "
                   RUNS "/a/checkpoint.before\n");
    check_picture(RUNS "/a/samples.png", 10 * 86 + 2, 10 * 86 + 2);
    CHECK(run("build/sample_mnist " RUNS "/a/model --out " RUNS "/p.png --count 5 --columns 3 --scale 1") == 0);
    check_picture(RUNS "/p.png", 3 * 30 + 2, 2 * 30 + 2);
    CHECK(run("build/sample_mnist " RUNS "/a/model --out " RUNS "/p.png --count 5 --columns 3 --scale 1 --draw") == 0);
    check_picture(RUNS "/p.png", 3 * 30 + 2, 2 * 30 + 2);
    CHECK(run("build/sample_mnist " RUNS "/a/checkpoint --out " RUNS "/p.png --manifold --columns 4 --scale 2") == 0);
    check_picture(RUNS "/p.png", 4 * 58 + 2, 4 * 58 + 2);
    CHECK(run("build/reconstruct_mnist " RUNS "/a/model --data " RUNS "/digits --out " RUNS "/p.png --count 7") == 0);
    CHECK_CONTAINS(heard, "test images 0 to 6, nats per image: reconstruction ");
    check_picture(RUNS "/p.png", 7 * 86 + 2, 2 * 86 + 2);
    CHECK(run("build/reconstruct_mnist " RUNS "/a/model --data " RUNS "/digits --out " RUNS "/p.png --first 199 "
              "--count 2")
          == 1);
    CHECK_CONTAINS(heard, "there are 200 test images: --first 199 and --count 2 ask for more");
    for (i = 0; i < 2; i++) {
        CHECK(run("build/reconstruct_mnist " RUNS "/a/model --data " RUNS "/digits --out " RUNS "/p.png --count 7 "
                  "--%s 0.5", i ? "hide" : "noise") == 0);
        CHECK_CONTAINS(heard, i ? "squared error per image: hidden pixels black " : "squared error per image: noisy ");
        CHECK(!i == !!strstr(heard, "this model has never seen noise"));
        check_picture(RUNS "/p.png", 7 * 86 + 2, 3 * 86 + 2);
    }
    CHECK(run("build/reconstruct_mnist " RUNS "/a/model --noise 0.5 --hide 0.5 --out " RUNS "/p.png") == 2);
    CHECK_CONTAINS(heard, "--noise and --hide are two things");
    check_plane();
    CHECK(run("build/interpolate_mnist " RUNS "/a/model --data " RUNS "/digits --out " RUNS "/p.png --from 3 "
              "--to 199") == 0);
    check_picture(RUNS "/p.png", 10 * 86 + 2, 86 + 2);
    CHECK(run("build/interpolate_mnist " RUNS "/a/model --data " RUNS "/digits --out " RUNS "/p.png --to 200") == 1);
    CHECK_CONTAINS(heard, "there are 200 test images, counted from 0");
    run("rm -f " RUNS "/classes");
    CHECK(run("build/draw_digit 2026 --hands 3 --epochs 1 --data " RUNS "/digits --model " RUNS "/classes --out " RUNS
              "/p.png --scale 1") == 0);
    CHECK_CONTAINS(heard, "epoch 1/1: loss ");
    check_picture(RUNS "/p.png", 4 * 30 + 2, 3 * 30 + 2);
    CHECK(run("build/draw_digit 7 --epochs 9 --model " RUNS "/classes --out " RUNS "/p.png") == 0);
    CHECK(!strstr(heard, "epoch"));             /* the model is there now */
    CHECK_CONTAINS(heard, RUNS "/classes is there already: remove it, or name another --model, to train anew\n");
    CHECK(run("build/draw_digit 7 --data " RUNS "/digits --model " RUNS "/classes --out " RUNS "/p.png") == 0);
    CHECK_CONTAINS(heard, RUNS "/classes learned these images\n");
    CHECK(run("mv " RUNS "/classes.data " RUNS "/mark; build/draw_digit 7 --data " RUNS "/digits --model " RUNS
              "/classes --out " RUNS "/p.png && mv " RUNS "/mark " RUNS "/classes.data") == 0);
    CHECK_CONTAINS(heard, "what " RUNS "/classes learned is not known: there is no " RUNS "/classes.data\n");
    CHECK(run(FOLDER "/make_digits --out " RUNS "/few --train 64 --test 16") == 0);
    before = hash_of_file(RUNS "/classes");
    CHECK(run("rm " RUNS "/p.png; build/draw_digit 7 --data " RUNS "/few --model " RUNS "/classes --out " RUNS
              "/p.png") == 1);
    CHECK_CONTAINS(heard, "draw_digit: " RUNS "/classes learned 6000 images of " RUNS "/digits, not these 64 of " RUNS
                   "/few: name another --model, or remove this one to begin anew\n");
    CHECK(!can_be_opened(RUNS "/p.png") && hash_of_file(RUNS "/classes") == before);
    CHECK(run("mkfifo " RUNS "/pipe; cat " RUNS "/pipe >" RUNS "/q.png & cat=$!; build/draw_digit 7 --model " RUNS
              "/classes --out " RUNS "/pipe && test -p " RUNS "/pipe && wait $cat; code=$?; kill $cat; (exit $code)") ==
          0);                                   /* no file comes in its place */
    check_picture(RUNS "/q.png", 86 + 2, 6 * 86 + 2);
    CHECK(run("build/reconstruct_mnist " RUNS "/classes --data " RUNS "/digits --out " RUNS "/p.png") == 1);
    CHECK_CONTAINS(heard, "reconstruct_mnist: " RUNS "/classes is conditional: it asks for each image's class, which ");
    CHECK(run("build/interpolate_mnist " RUNS "/classes --data " RUNS "/digits --out " RUNS "/p.png") == 1);
    CHECK(run("build/plot_latent " RUNS "/classes --data " RUNS "/digits --out " RUNS "/p.png") == 1);
    CHECK(run("build/draw_digit 7 --data /nonexistent --model " RUNS "/classes --out " RUNS "/p.png") == 1);
    CHECK_CONTAINS(heard, "draw_digit: /nonexistent has no file train-images-idx3-ubyte that can be opened");
    CHECK(run("build/draw_digit 7 --model " RUNS "/classes --out " RUNS "/p.png") == 0);
    check_picture(RUNS "/p.png", 86 + 2, 6 * 86 + 2);
    CHECK(run("build/draw_digit 7 --model " RUNS "/a/model --out " RUNS "/p.png") == 1);
    CHECK_CONTAINS(heard, "knows 0 classes, not ten: name another --model");
    CHECK(run("(here=$PWD; mkdir -p " RUNS "/empty/a && cd " RUNS "/empty/a && MNIST_DIR= \"$here/build/draw_digit\" 7 "
              "--model m --out p.png)") == 1);
    CHECK_CONTAINS(heard, "draw_digit: run build/make_digits first, which draws some digits, or data/get_mnist.sh, ");
    CHECK_CONTAINS(heard, "it is not in data, ../shared/mnist or build/digits\n");
    CHECK(run("build/draw_digit 20x6") == 2);
    CHECK_CONTAINS(heard, "draw_digit: '20x6' is not 1 to 100 digits: see --help");
    CHECK(run(FEW "torch-400-20 --epochs 1" FILES("c")) == 0);
    CHECK(run("build/plot_latent " RUNS "/c/model --data " RUNS "/digits --out " RUNS "/p.png") == 1);
    CHECK_CONTAINS(heard, "plot_latent: this model has 20 latent dimensions, a plane two: train one with --latent 2");
    CHECK(run("build/sample_mnist " RUNS "/a/model --out /nonexistent/x.png") == 2);
    CHECK_CONTAINS(heard, "sample_mnist: there is no folder /nonexistent for --out");
    CHECK(run("test -e /nonexistent") != 0);
    CHECK(run("build/sample_mnist " RUNS "/nothing --out " RUNS "/p.png") == 1);
    CHECK_CONTAINS(heard, "sample_mnist: cannot open " RUNS "/nothing: ");
    CHECK_CONTAINS(heard, "(train_mnist makes a model)");
}

#define DETECT "build/detect_anomalies "

/* A table that the program is to be right about: b is 1000 a + 5, c noise, an identity that is no number. */
static void write_sensors(const char *name, int rows, int odd) {
    test_random random = { 3 };
    char       *text = (char *)malloc((size_t)rows * 80 + 80);
    size_t      used = (size_t)sprintf(text, "id,\"a, in V\",b,c\r\n");
    int         i;
    random.state += (uint64_t)rows;
    for (i = 0; i < rows; i++) {
        const double a = test_uniform(&random, 1, 3), c = test_uniform(&random, 0, 1e-3);
        used += (size_t)sprintf(text + used, "s%d,%.5f,%.4f,%.6g\r\n", i, a,
                                (i == odd ? 3500 - 1000 * a : 1000 * a) + 5 + test_uniform(&random, -20, 20), c);
    }
    used += (size_t)sprintf(text + used, "gap,,2,3\r\n");
    write_file(name, text, used);
    free(text);
}

TEST(test_detect_anomalies) {
    const char *line;
    if (!have_shell() || !can_be_opened("build/detect_anomalies")) SKIP("the examples are not built");
    CHECK(run(DETECT) == 0);
    CHECK_CONTAINS(heard, "pumps, line 50: score ");
    CHECK_CONTAINS(heard, " of 1000 rows are above the threshold, ");
    write_sensors("normal.csv", 1000, -1);
    write_sensors("new.csv", 200, 77);
    CHECK(run(DETECT FOLDER "/normal.csv --check " FOLDER "/new.csv --without id --scores " FOLDER "/scores.csv") == 0);
    CHECK_CONTAINS(heard, "normal.csv: 1001 rows of 3 columns, 1 gaps\n");
    CHECK_CONTAINS(heard, "\nmodel 4 of 4\nepoch 24/286: loss ");
    line = strstr(heard, "new.csv, line 79: score ");        /* the header is line 1 */
    if (CHECK(line != NULL)) CHECK_CONTAINS(line, " is ");
    CHECK(run("grep -c . " FOLDER "/scores.csv; grep '^79,.*,1$' " FOLDER "/scores.csv") == 0);
    CHECK_CONTAINS(heard, "202\n");
    CHECK(run(DETECT FOLDER "/normal.csv --check " FOLDER "/new.csv --without id --alarms 0.1 --show 1 --steps 500") ==
          0);
    line = strstr(heard, ": score ");                       /* the oddest, though others stand before it */
    if (CHECK(line && line > heard + 8)) CHECK(!strncmp(line - 8, " line 79", 8) && !strstr(line + 1, ": score "));
    CHECK_CONTAINS(heard, " (--show N names the N oddest)");
    CHECK(run("cat " FOLDER "/normal.csv | " DETECT "/dev/stdin --without id --show 0 --steps 20") == 0);
    CHECK_CONTAINS(heard, " of 1001 rows are above the threshold, ");
    CHECK(run(DETECT FOLDER "/normal.csv --without id --show 0 --steps 200") == 0);
    CHECK_CONTAINS(heard, " of 1001 rows are above the threshold, ");
    /* mistakes */
    CHECK(run(DETECT FOLDER "/normal.csv") == 1);
    CHECK_CONTAINS(heard, "detect_anomalies: " FOLDER "/normal.csv, line 2, id holds 's0': that is no number");
    CHECK(run(DETECT FOLDER "/nowhere.csv") == 1);
    CHECK_CONTAINS(heard, "detect_anomalies: cannot open " FOLDER "/nowhere.csv");
    write_file("few.csv", "1,2\n3,4\n5,6\n", 12);
    CHECK(run(DETECT FOLDER "/few.csv") == 1);
    CHECK_CONTAINS(heard, "detect_anomalies: 3 rows are too few for --alarms 0.01: at least 495 are needed, ");
    CHECK(run(DETECT FOLDER "/normal.csv --without id --alarms 0.001") == 1);
    CHECK_CONTAINS(heard, "1001 rows are too few for --alarms 0.001: at least 4995 are needed");
    write_file("open.csv", "a,b,\n1,2,\n3,4,\n", 15);    /* a delimiter too many in each line: a column of gaps */
    CHECK(run(DETECT FOLDER "/open.csv") == 1);
    CHECK_CONTAINS(heard, FOLDER "/open.csv holds no number in column 3: leave it out with --without");
    write_file("empty.csv", "a,b\n,\nNA,\n", 10);
    CHECK(run(DETECT FOLDER "/empty.csv") == 1);
    CHECK_CONTAINS(heard, FOLDER "/empty.csv holds no number\n");
    write_file("turned.csv", "a,c,b\n1,2,3\n", 12);
    write_file("right.csv", "a,b,c\n1,2,3\n", 12);
    CHECK(run(DETECT FOLDER "/right.csv --check " FOLDER "/turned.csv") == 1);
    CHECK_CONTAINS(heard, "column 2 of those read is b in " FOLDER "/right.csv, but c in " FOLDER "/turned.csv");
    CHECK(run(DETECT FOLDER "/normal.csv --without id --check " FOLDER "/few.csv") == 1);
    CHECK_CONTAINS(heard, FOLDER "/few.csv has no column 'id' to leave out");
    CHECK(run(DETECT FOLDER "/normal.csv --without 1 --check " FOLDER "/few.csv") == 1);
    CHECK_CONTAINS(heard, FOLDER "/normal.csv has 3 columns, " FOLDER "/few.csv has 1");
    CHECK(run(DETECT "--check " FOLDER "/few.csv") == 2);
    CHECK_CONTAINS(heard, "--check needs a table of normal rows too");
    CHECK(run(DETECT FOLDER "/normal.csv --scores " FOLDER "/missing/s.csv") == 2);
    CHECK_CONTAINS(heard, "there is no folder " FOLDER "/missing for --scores");
}

/* A machine's readings: two causes, load and speed, and 4 % of noise in each. In an odd row it works hard, and its
   power is 40 % too low; the others go together. */
static void write_machine(const char *name, int rows, int odd_every, uint64_t seed) {
    test_random random = { seed };
    char       *text = (char *)malloc((size_t)rows * 160 + 160);
    size_t      used = (size_t)sprintf(text, "speed,torque,power,temperature,current,vibration,pressure,flow\n");
    int         i, k, j;
    for (i = 0; i < rows; i++) {
        const int    odd = odd_every && i % odd_every == odd_every - 1;
        const double speed = test_uniform(&random, odd ? 0.7 : 0.3, 1);
        const double load = test_uniform(&random, odd ? 0.7 : 0.2, 1);
        const double power = 6300 * speed * load;
        const double readings[8] = { 1500 * speed, 40 * load, odd ? 0.6 * power : power, 25 + 5 * speed + power / 126,
                                     2 + 3.6 * load + power / 750, 0.5 + 3 * speed * speed, 1 + power / 1575,
                                     8 * speed };
        for (k = 0; k < 8; k++) {
            double noise = 0;
            for (j = 0; j < 12; j++) noise += test_uniform(&random, -0.5, 0.5);     /* nearly normal, variance 1 */
            used += (size_t)sprintf(text + used, "%.6g%c", readings[k] * (1 + 0.04 * noise), k < 7 ? ',' : '\n');
        }
    }
    write_file(name, text, used);
    free(text);
}

/* The machine's table with every 11th number in the file replaced, and behind it a row without any. */
static void write_machine_with_gaps(const char *name, const char *from, const char *const marks[4]) {
    char   path[256], *text, *punched, *at;
    size_t size = 0, used = 0, field = 0;
    snprintf(path, sizeof path, FOLDER "/%s", from);
    if (!CHECK((text = (char *)read_file(path, &size)) != NULL)) exit(1);
    punched = (char *)malloc(2 * size + 80);
    for (at = text + strcspn(text, "\n"); *at; at++) {      /* the number behind a comma or a line's end */
        punched[used++] = *at;
        if (!at[1] || (*at != ',' && *at != '\n') || field++ % 11 != 0) continue;
        used += (size_t)sprintf(punched + used, "%s", marks[field / 11 % 4]);
        at += strcspn(at + 1, ",\n");
    }
    used += (size_t)sprintf(punched + used, ",NA,,,,,,\n");
    memmove(punched + strcspn(text, "\n"), punched, used);
    memcpy(punched, text, strcspn(text, "\n"));
    write_file(name, punched, used + strcspn(text, "\n"));
    free(punched);
    free(text);
}

static double score_in_line(const char *path, int line) {
    FILE  *file = fopen(path, "r");
    char   text[80];
    int    number;
    double score = 0;
    while (file && fgets(text, sizeof text, file))
        if (sscanf(text, "%d,%lf", &number, &score) == 2 && number == line) break;
    if (file) fclose(file);
    return score;
}

/* Of the 200 rows of write_machine's table, every 20th odd: how many of the odd ones were named, and with the column
   that makes them so, and how many of the others. */
static void count_machine_faults(const char *file, int *found, int *explained, int *alarms) {
    int i;
    *found = *explained = *alarms = 0;
    for (i = 0; i < 200; i++) {
        char        line[64];
        const char *at;
        sprintf(line, "%s, line %d: score ", file, i + 2);     /* the header is line 1 */
        if ((at = strstr(heard, line)) == NULL) continue;
        if (i % 20 != 19) ++*alarms;
        else {
            ++*found;
            at = strstr(at, ": score ") + 8;
            *explained += !strncmp(at + strcspn(at, ":"), ": power is ", 11);
        }
    }
}

/* Tables without gaps score as they always did. In those with gaps all rows are scored, faults are found where they can
   be read, and rows with gaps are no odder than others, whether there were gaps to learn from or not. */
TEST(test_anomalies_with_gaps) {
    static const char *const words[4] = { "", "NA", "?", "null" }, *const numbers[4] = { "-999", "-999.0", "", "NA" };
    int which;
    if (!have_shell() || !can_be_opened("build/detect_anomalies")) SKIP("the examples are not built");
    write_machine("machine.csv", 500, 0, 10);
    write_machine("today.csv", 200, 20, 20);
    CHECK(run(DETECT FOLDER "/machine.csv --check " FOLDER "/today.csv --steps 20 --scores " FOLDER "/s.csv") == 0);
    CHECK_CONTAINS(heard, "machine.csv: 500 rows of 8 columns, 0 gaps\n" FOLDER "/today.csv: 200 rows");
    CHECK_NEAR(score_in_line(FOLDER "/s.csv", 21), 0.672161, 1e-2);
    CHECK_NEAR(score_in_line(FOLDER "/s.csv", 101), 0.787775, 1e-2);
    CHECK_NEAR(score_in_line(FOLDER "/s.csv", 150), -0.386726, 1e-2);
    CHECK(run(DETECT FOLDER "/machine.csv --check " FOLDER "/today.csv --steps 20 --missing -999 --scores " FOLDER
              "/t.csv && cmp " FOLDER "/s.csv " FOLDER "/t.csv") == 0);
    write_machine_with_gaps("gaps.csv", "machine.csv", words);
    write_machine_with_gaps("today-gaps.csv", "today.csv", words);
    for (which = 0; which < 2; which++) {
        int found, explained, alarms;
        CHECK(run(DETECT FOLDER "/%s.csv --check " FOLDER "/today-gaps.csv --show 200 --scores " FOLDER "/s.csv",
                  which ? "gaps" : "machine") == 0);
        CHECK_CONTAINS(heard, "today-gaps.csv: 200 rows of 8 columns, 146 gaps; rows of gaps alone are left out\n");
        count_machine_faults("today-gaps.csv", &found, &explained, &alarms);
        printf("  gaps in %s: %d of 10 faults found, %d explained, %d false alarms in 190 rows\n",
               which ? "both tables" : "the new table alone", found, explained, alarms);
        CHECK(found >= 8 && explained >= 8 && alarms <= 8);
        CHECK(!strstr(heard, "nan"));
        CHECK(run("grep -c . " FOLDER "/s.csv; grep -i nan " FOLDER "/s.csv") == 1);
        CHECK_CONTAINS(heard, "201\n");
    }
    write_machine_with_gaps("marks.csv", "machine.csv", numbers);      /* the same gaps in other words */
    write_machine_with_gaps("today-marks.csv", "today.csv", numbers);
    CHECK(run(DETECT FOLDER "/marks.csv --check " FOLDER "/today-marks.csv --missing -999 --scores " FOLDER "/t.csv && "
              "cmp " FOLDER "/s.csv " FOLDER "/t.csv") == 0);
    CHECK(run(DETECT FOLDER "/marks.csv --steps 1") == 0);
    CHECK_CONTAINS(heard, "speed holds -999 ");
    CHECK_CONTAINS(heard, " far from its other numbers: a mark for missing? give --missing -999\n");
    CHECK(run(DETECT "--help") == 0);
    CHECK_CONTAINS(heard, "  --missing NUMBER        that stands for a gap too, as -999\n");
}

/* Few rows of columns that go together, and faults that every one of them but one speaks against: all are found and
   explained, with few false alarms. */
TEST(test_anomalies_in_small_tables) {
    int seed;
    if (!have_shell() || !can_be_opened("build/detect_anomalies")) SKIP("the examples are not built");
    for (seed = 0; seed < 2; seed++) {
        int found, explained, alarms;
        write_machine("machine.csv", 500, 0, 10 + (uint64_t)seed);
        write_machine("today.csv", 200, 20, 20 + (uint64_t)seed);
        CHECK(run(DETECT FOLDER "/machine.csv --check " FOLDER "/today.csv --show 200") == 0);
        count_machine_faults("today.csv", &found, &explained, &alarms);
        printf("  table %d: %d of 10 faults found, %d explained, %d false alarms in 190 rows\n", seed, found,
               explained, alarms);
        CHECK(found == 10 && explained >= 9);
        CHECK(alarms <= 8);
    }
}

/* Stopped and gone on with, also as C++, the loop ends with the bytes of one that never stopped. */
TEST(test_own_loop) {
    if (!have_shell() || !can_be_opened("build/own_loop")) SKIP("the examples are not built");
    CHECK(run("build/own_loop 300 " FOLDER "/whole") == 0);
    CHECK_CONTAINS(heard, "step 100: loss ");
    CHECK(run("build/own_loop 130 " FOLDER "/parts") == 0);
    if (run("${CXX:-c++} --version") == 0)
        CHECK(run("${CXX:-c++} -std=c++11 -O1 -x c++ -o " FOLDER "/own_loop examples/own_loop.c -lm") == 0);
    else CHECK(run("cp build/own_loop " FOLDER "/own_loop") == 0);
    CHECK(run(FOLDER "/own_loop 300 " FOLDER "/parts") == 0);
    CHECK(!strstr(heard, "step 100:") && strstr(heard, "step 200: loss "));
    CHECK(run("cmp " FOLDER "/whole.safetensors " FOLDER "/parts.safetensors") == 0);
    CHECK(run("cmp " FOLDER "/whole.momentum " FOLDER "/parts.momentum") == 0);
    CHECK(run("cp " FOLDER "/whole.momentum " FOLDER "/parts.momentum; build/own_loop 10 " FOLDER "/other; cp " FOLDER
              "/other.safetensors " FOLDER "/parts.safetensors; build/own_loop 300 " FOLDER "/parts") == 1);
    CHECK_CONTAINS(heard, "own_loop: " FOLDER "/parts.momentum does not belong to the model's step");
    CHECK(run("mkdir " FOLDER "/parts2.safetensors; build/own_loop 10 " FOLDER "/parts2") == 1);  /* no file to load */
    CHECK_CONTAINS(heard, "own_loop: cannot ");
    CHECK(!can_be_opened(FOLDER "/parts2.momentum"));
    if (have_examples()) {              /* a model of longer rows: they are not read beyond the table's */
        CHECK(run(FOLDER "/make_digits --out " RUNS "/few --train 64 --test 16 && build/draw_digit 7 --epochs 1 --data "
                  RUNS "/few --model " FOLDER "/longer.safetensors --out " FOLDER "/p.png") == 0);
        CHECK(run("build/own_loop 10 " FOLDER "/longer") == 1);
        CHECK_CONTAINS(heard, "own_loop: " FOLDER "/longer.safetensors: ");
    }
    CHECK(run("build/own_loop 10 " FOLDER "/missing/own") == 1);
    CHECK_CONTAINS(heard, "own_loop: cannot write " FOLDER "/missing/own.momentum: is its folder there?");
    CHECK(run("build/own_loop --help") == 1);
    CHECK_CONTAINS(heard, "usage: own_loop [STEPS [NAME]]");
}

/* The monitor that also runs on microcontrollers: it learns the same weights everywhere (tests/devices.sh compares). */
TEST(test_sensor) {
    if (!have_shell() || !can_be_opened("build/sensor")) SKIP("the examples are not built");
    CHECK(run("build/sensor") == 0);
    CHECK_CONTAINS(heard, "alarm, sensor 5 is odd");
    CHECK_CONTAINS(heard, ", 0 in a false alarm");
    CHECK_CONTAINS(heard, "1372 bytes kept between power cycles, for 341 parameters");
}

/* The distance to the 5th nearest training row, squared, with all columns standardised by the training rows. */
static void nearest_neighbours(const float *training, size_t rows, float *tested, size_t count, size_t columns,
                               scored *each) {
    float *scaled = (float *)malloc(rows * columns * sizeof *scaled);
    size_t i, j, k;
    for (k = 0; k < columns; k++) {
        double mean = 0, variance = 0, deviation;
        for (i = 0; i < rows; i++) mean += (double)training[i * columns + k] / (double)rows;
        for (i = 0; i < rows; i++) variance += pow((double)training[i * columns + k] - mean, 2) / (double)rows;
        deviation = variance > 1e-20 ? sqrt(variance) : 1;
        for (i = 0; i < rows; i++)
            scaled[i * columns + k] = (float)(((double)training[i * columns + k] - mean) / deviation);
        for (i = 0; i < count; i++)
            tested[i * columns + k] = (float)(((double)tested[i * columns + k] - mean) / deviation);
    }
    for (i = 0; i < count; i++) {
        float best[5] = { 1e38f, 1e38f, 1e38f, 1e38f, 1e38f };
        for (j = 0; j < rows; j++) {
            const float *a = tested + i * columns, *b = scaled + j * columns;
            float        sum = 0;
            int          place = 4;
            for (k = 0; k < columns && sum < best[4]; k++) sum += (a[k] - b[k]) * (a[k] - b[k]);
            if (!(sum < best[4])) continue;
            for (; place > 0 && best[place - 1] > sum; place--) best[place] = best[place - 1];
            best[place] = sum;
        }
        each[i].score = (double)best[4];
    }
    free(scaled);
}

/* By the tables' protocol: the first half of the normal rows to learn from, the other rows to be told apart. The
   program at its defaults is at least as good as the distance to the 5th nearest neighbour, on average over the
   tables. */
TEST(test_anomalies_in_real_tables) {
    static const char *const tables[] = { "cardio", "mammography", "pendigits", "satellite", "thyroid", "shuttle" };
    const char *folder = getenv("TABLES_DIR") ? getenv("TABLES_DIR") : "../shared/tables";
    double      ours = 0, theirs = 0;
    size_t      t;
    if (!have_shell() || !can_be_opened("build/detect_anomalies")) SKIP("the examples are not built");
    for (t = 0; t < 6; t++) {
        char      path[512], message[MESSAGE_SIZE], *text[2];
        csv_table all, scores;
        size_t    used[2] = { 0, 0 }, rows[2] = { 0, 0 }, normals = 0, columns, i, k;
        scored   *each, *neighbours;
        float    *numbers[2];
        double    a, b;
        snprintf(path, sizeof path, "%.400s/%s.csv", folder, tables[t]);
        if (!can_be_opened(path)) SKIP("the real tables are not here: TABLES_DIR says where they are");
        CHECK(csv_read(path, NULL, &all, message) == 0);
        columns = all.columns - 1;
        each = (scored *)malloc(all.rows * sizeof *each);
        neighbours = (scored *)malloc(all.rows * sizeof *neighbours);
        for (k = 0; k < 2; k++) {
            text[k] = (char *)malloc(all.rows * all.columns * 16);
            numbers[k] = (float *)malloc(all.rows * columns * sizeof **numbers);
        }
        for (i = 0; i < all.rows; i++) normals += all.numbers[i * all.columns + columns] < 0.5f;
        for (i = 0; i < all.rows; i++) {
            const float *row = all.numbers + i * all.columns;
            const int    anomaly = row[columns] > 0.5f, to = anomaly || rows[0] >= normals / 2;
            if (to) each[rows[1]].anomaly = neighbours[rows[1]].anomaly = anomaly;
            memcpy(numbers[to] + rows[to]++ * columns, row, columns * sizeof *row);
            for (k = 0; k < columns; k++)
                used[to] += (size_t)sprintf(text[to] + used[to], "%.8g%c", (double)row[k],
                                            k + 1 < columns ? ',' : '\n');
        }
        write_file("train.csv", text[0], used[0]);
        write_file("check.csv", text[1], used[1]);
        CHECK(run(DETECT FOLDER "/train.csv --check " FOLDER "/check.csv --show 0 --scores " FOLDER "/scores.csv") ==
              0);
        if (CHECK(csv_read(FOLDER "/scores.csv", NULL, &scores, message) == 0) && CHECK(scores.rows == rows[1]))
            for (i = 0; i < rows[1]; i++) each[i].score = (double)scores.numbers[i * 3 + 1];
        nearest_neighbours(numbers[0], rows[0], numbers[1], rows[1], columns, neighbours);
        a = auc(each, rows[1]);
        b = auc(neighbours, rows[1]);
        ours += a / 6;
        theirs += b / 6;
        printf("  %-12s AUC %.4f; distance to the 5th nearest neighbour %.4f\n", tables[t], a, b);
        fflush(stdout);
        for (k = 0; k < 2; k++) free(text[k]), free(numbers[k]);
        free(each);
        free(neighbours);
        csv_free(&all);
        csv_free(&scores);
    }
    printf("  %-12s AUC %.4f; distance to the 5th nearest neighbour %.4f\n", "mean", ours, theirs);
    CHECK(ours >= theirs);
}

TEST(test_readme) {
    if (!have_shell() || run("${CC:-cc} --version") != 0) SKIP("there is no C compiler");
    CHECK(run("sh tests/readme.sh") == 0);
    CHECK_CONTAINS(heard, " snippets compile\n");
    if (test_state.failures) printf("%s", heard);
}

/* ---- get_mnist.sh ---- */

/* Tries to download from `mirrors` only, whatever proxies there are, into a folder that holds `mine`. */
static int download(const char *mirrors) {
    const int status =
        run("mkdir -p " FOLDER "/mnist && echo mine >" FOLDER "/mnist/mine && "
            "no_proxy='*' NO_PROXY='*' http_proxy= MNIST_MIRRORS=\"%s\" sh data/get_mnist.sh " FOLDER "/mnist",
            mirrors);
    char said[sizeof heard];
    memcpy(said, heard, sizeof said);
    CHECK(run("ls -A " FOLDER "/mnist") == 0);
    CHECK_TEXT(heard, "mine\n\n0\n");
    memcpy(heard, said, sizeof heard);
    return status;
}

TEST(test_get_mnist_usage) {
    if (!have_shell()) SKIP("there is no shell");
    CHECK(run("sh -n data/get_mnist.sh") == 0);
    CHECK_TEXT(heard, "\n0\n");
    CHECK(run("sh data/get_mnist.sh --help") == 0);
    CHECK_CONTAINS(heard, "Usage: get_mnist.sh [DIRECTORY]");
    CHECK(run("sh data/get_mnist.sh -h") == 0);
    CHECK(run("sh data/get_mnist.sh --frobnicate") == 2);
    CHECK_CONTAINS(heard, "get_mnist.sh: there is no option --frobnicate (see --help)");
    CHECK(run("sh data/get_mnist.sh " FOLDER "/one " FOLDER "/two") == 2);
    CHECK_CONTAINS(heard, "get_mnist.sh: only one directory can be given (see --help)");
    CHECK(run("shell=$(command -v sh); PATH=/nowhere \"$shell\" data/get_mnist.sh " FOLDER "/mnist") == 1);
    CHECK_CONTAINS(heard, "get_mnist.sh: there is no sha256sum, shasum or openssl to check the files with");
}

TEST(test_get_mnist_failures) {
    if (!have_shell() || run("command -v gunzip && { command -v curl || command -v wget; } && "
                             "{ command -v sha256sum || command -v shasum || command -v openssl; }") != 0)
        SKIP("it needs gunzip, curl or wget, and sha256sum, shasum or openssl");
    CHECK(download("http://127.0.0.1:9") == 1); /* nobody listens there */
    CHECK_CONTAINS(heard, "downloading http://127.0.0.1:9/train-images-idx3-ubyte.gz\n");
    CHECK_CONTAINS(heard, "  that did not work\n");
    CHECK_CONTAINS(heard, "get_mnist.sh: train-images-idx3-ubyte could not be had from any mirror: check the network");
    write_file("file", "x", 1);
    CHECK(run("MNIST_MIRRORS=http://127.0.0.1:9/ sh data/get_mnist.sh " FOLDER "/file/mnist") == 1);
    CHECK_CONTAINS(heard, "get_mnist.sh: the directory " FOLDER "/file/mnist cannot be made: give another one");
}

TEST(test_get_mnist_bad_mirrors) {
    if (!have_shell() || run("command -v gunzip && command -v gzip && curl --version | grep -q 'Protocols.* file ' && "
                             "{ command -v sha256sum || command -v shasum || command -v openssl; }") != 0)
        SKIP("it needs gzip and a curl that takes file:// URLs");
    if (run("case $PWD in *[!A-Za-z0-9/._-]*) exit 1; esac") != 0) SKIP("the path to here does not go into a URL");
    CHECK(download("file://$PWD/" FOLDER "/nothing") == 1);
    CHECK_CONTAINS(heard, "  that did not work\n");
    write_file("broken/train-images-idx3-ubyte.gz", "not gzip", 8);
    write_file("wrong/train-images-idx3-ubyte", good_images, sizeof good_images);
    CHECK(run("gzip " FOLDER "/wrong/train-images-idx3-ubyte") == 0);
    CHECK(download("file://$PWD/" FOLDER "/broken/ file://$PWD/" FOLDER "/wrong") == 1);
    CHECK_CONTAINS(heard, "  that is not a complete gzip file\n");
    CHECK_CONTAINS(heard, "  that unpacks to something other than MNIST's train-images-idx3-ubyte (wrong SHA-256)\n");
    CHECK_CONTAINS(heard, "get_mnist.sh: train-images-idx3-ubyte could not be had from any mirror");
}

/* b is 1000 a + 5 with a gap in every third row, c lacks where b does not in every fifth; an identity that is no
   number. */
static void write_gaps(const char *name, int rows) {
    test_random random = { 4 };
    char       *text = (char *)malloc((size_t)rows * 80 + 80);
    size_t      used = (size_t)sprintf(text, "id,\"a, in \"\"V\"\"\",b,c\n");
    int         i;
    for (i = 0; i < rows; i++) {
        const double a = test_uniform(&random, 1, 3);
        used += (size_t)sprintf(text + used, "s%d,%.5f,", i, a);
        if (i % 3) used += (size_t)sprintf(text + used, "%.4f,", 1000 * a + 5 + test_uniform(&random, -20, 20));
        else used += (size_t)sprintf(text + used, "NA,");
        if (i % 5 == 1) used += (size_t)sprintf(text + used, "\n");
        else used += (size_t)sprintf(text + used, "%.6g\n", -0.25 * a);
    }
    write_file(name, text, used);
    free(text);
}

/* The table that the program wrote, without its header: rows of an identity and three numbers, `count` in all. */
static int read_numbers(const char *path, const char *header, double *values, int count) {
    FILE *file = fopen(path, "r");
    char  line[200];
    int   i, id, good = file != NULL && fgets(line, sizeof line, file) != NULL;
    if (good) CHECK_TEXT(line, header);
    for (i = 0; good && i < count; i++) {
        if (i % 3 == 0) good = fscanf(file, "%*[s]%d", &id) == 1 && id == i / 3;
        good = good && fscanf(file, ",%lf", &values[i]) == 1;
        if (i % 3 == 2) (void)!fgets(line, sizeof line, file);
    }
    if (file) fclose(file);
    return good;
}

TEST(test_fill_missing) {
    enum { GAPPED = 300 };
    static double filled[GAPPED * 3], spread[GAPPED * 3];
    const char   *header = "\"id\",\"a, in \"\"V\"\"\",\"b\",\"c\"\n";
    double        off = 0, told = 0;
    int           i;
    if (!have_shell() || !can_be_opened("build/fill_missing")) SKIP("the examples are not built");
    write_gaps("gaps.csv", GAPPED);
    CHECK(run("build/fill_missing " FOLDER "/gaps.csv --without id --steps 1500 --samples 100 --out " FOLDER
              "/filled.csv --spread " FOLDER "/spread.csv") == 0);
    CHECK_CONTAINS(heard, "gaps.csv: 300 rows of 3 columns, 160 gaps");
    CHECK_CONTAINS(heard, " hidden numbers: off by 0.");
    if (!CHECK(read_numbers(FOLDER "/filled.csv", header, filled, GAPPED * 3))) return;
    if (!CHECK(read_numbers(FOLDER "/spread.csv", header, spread, GAPPED * 3))) return;
    for (i = 0; i < GAPPED; i++) {
        CHECK(spread[3 * i] == 0 && (i % 3 == 0) == (spread[3 * i + 1] > 0) && (i % 5 == 1) == (spread[3 * i + 2] > 0));
        if (i % 3) continue;
        off += pow(filled[3 * i + 1] - (1000 * filled[3 * i] + 5), 2) / (GAPPED / 3);
        told += pow(spread[3 * i + 1], 2) / (GAPPED / 3);
    }
    CHECK(sqrt(off) < 150 && sqrt(told) > 10 && sqrt(told) < 300);      /* of a deviation of 577 */
    CHECK_CONTAINS(heard, "\nepoch 300/300: loss ");
    CHECK(run("build/fill_missing --steps 200 --samples 20 --check 0") == 0);
    CHECK_CONTAINS(heard, "pumps: 2000 rows of 6 columns, ");
    CHECK(strstr(heard, "hidden") == NULL);
    CHECK(run("build/fill_missing " FOLDER "/gaps.csv") == 1);
    CHECK_CONTAINS(heard, "fill_missing: " FOLDER "/gaps.csv, line 2, id holds 's0': that is no number");
    CHECK(run("build/fill_missing " FOLDER "/gaps.csv --check 0.7") == 2);
    write_file("open.csv", "a,b,\n1,2,\n3,4,\n", 15);
    CHECK(run("build/fill_missing " FOLDER "/open.csv") == 1);  /* nothing can be known of such a column */
    CHECK_CONTAINS(heard, FOLDER "/open.csv holds no number in column 3: leave it out with --without");
    CHECK(run("build/denoise_series " FOLDER "/open.csv") == 1);
    CHECK_CONTAINS(heard, FOLDER "/open.csv holds no number in column 3: leave it out with --without");
}

/* What is known stays as it was written, beyond a float's digits; a table may come by a pipe. */
TEST(test_filled_tables_keep_digits) {
    static const char text[] = "t,x,y\n1700000001,0.1234567890123,+1.50\n1700000002,NA,2.50\n1700000003,3e0,\"3.5\"\n"
                               "1700000004,4,4.50\n16777217,5,5.5\n";
    if (!have_shell() || !can_be_opened("build/fill_missing")) SKIP("the examples are not built");
    write_file("digits.csv", text, sizeof text - 1);
    CHECK(run("build/fill_missing " FOLDER "/digits.csv --steps 5 --samples 2 --check 0") == 0);
    CHECK(run("cat " FOLDER "/digits-filled.csv") == 0);
    CHECK(!strncmp(heard, "\"t\",\"x\",\"y\"\n1700000001,0.1234567890123,+1.50\n1700000002,", 56));
    CHECK_CONTAINS(heard, ",2.50\n1700000003,3e0,3.5\n1700000004,4,4.50\n16777217,5,5.5\n");
    CHECK(run("cat " FOLDER "/digits.csv | build/fill_missing /dev/stdin --steps 5 --samples 2 --check 0 --out " FOLDER
              "/piped.csv && cmp " FOLDER "/piped.csv " FOLDER "/digits-filled.csv") == 0);
    CHECK(run("cat " FOLDER "/digits.csv | build/fill_missing /dev/stdin --steps 5") == 2);
    CHECK_CONTAINS(heard, "fill_missing: --out is missing, as /dev/stdin is a pipe or a device: see --help\n");
    CHECK(run("cat " FOLDER "/digits.csv | build/denoise_series /dev/stdin --steps 5") == 2);
}

/* What the model is not to see stands in its place as it was, marks are gaps, and a file that nobody named is written
   beside the table. */
TEST(test_tables_keep_all) {
    static const char text[] = "id;when;x;\"y \"\"z\"\"\";note\na;1,5;1;-999;\" b, \"\"c\"\"\"\n;NA;2;4;\n"
                               "007;3;3;-999;e\n8;4;NA;8;f g\n9;5;5;10.5;h\n8;6;6;-999;i\n8;7;7;14;j\n8;8;8;16;k\n";
    static const char *const programs[2] = { "fill_missing", "denoise_series" };
    static const char *const outputs[2] = { "filled", "clean" };
    int i;
    if (!have_shell() || !can_be_opened("build/fill_missing") || !can_be_opened("build/denoise_series"))
        SKIP("the examples are not built");
    for (i = 0; i < 2; i++) {
        const char *few = i ? "--steps 5 --window 8" : "--steps 5 --samples 2";
        write_file("keeps.all/table.csv", text, sizeof text - 1);
        CHECK(run("build/%s " FOLDER "/keeps.all/table.csv --without id,when,note %s", programs[i], few) == 0);
        CHECK_CONTAINS(heard, "table.csv: 8 rows of 2 columns, 1 gaps\ny \"z\" holds -999 3 times, far from its other "
                              "numbers: a mark for missing? give --missing -999\n");
        CHECK(!strstr(heard, "x holds"));
        CHECK(run("build/%s " FOLDER "/keeps.all/table.csv --without id,when,note %s --missing -999", programs[i],
                  few) == 0);
        CHECK_CONTAINS(heard, "table.csv: 8 rows of 2 columns, 4 gaps\nepoch 1/");
        CHECK(strstr(heard, "--missing") == NULL);
        CHECK(run("cat " FOLDER "/keeps.all/table-%s.csv", outputs[i]) == 0);
        CHECK(!strncmp(heard, "\"id\",\"when\",\"x\",\"y \"\"z\"\"\",\"note\"\na,\"1,5\",", 38));
        CHECK_CONTAINS(heard, ",\" b, \"\"c\"\"\"\n,NA,");
        CHECK_CONTAINS(heard, ",\n007,3,");
        CHECK_CONTAINS(heard, ",f g\n9,5,");
        CHECK(!strstr(heard, "-999"));
        CHECK(i || strstr(heard, "\n,NA,2,4,\n"));
        /* the first line comes before the work */
        CHECK(run("rm -f " FOLDER "/said; build/%s " FOLDER "/keeps.all/table.csv --without id,when,note "
                  "--steps 100000000 %s >" FOLDER "/said & run=$!; " UNTIL("grep -qs '1 gaps' " FOLDER "/said")
                  "kill $run", programs[i], i ? "--window 8" : "") == 0);
        CHECK(run("build/%s " FOLDER "/nowhere/table.csv", programs[i]) == 1);
        CHECK_CONTAINS(heard, ": cannot open " FOLDER "/nowhere/table.csv");
    }
    CHECK(run("build/fill_missing --help && build/denoise_series --help | grep ' unseen: '") == 0);
    CHECK_CONTAINS(heard, "  --without COLUMNS       columns to copy as they are, unseen: id,time or 1,2\n");
    CHECK(run("build/fill_missing " FOLDER "/keeps.all/table.csv --without ID") == 1);
    CHECK_CONTAINS(heard, "has no column 'ID' to leave out, it has id, when, x, y \"z\", note\n");
}

/* "NAME: mean squared error A as measured, B by a moving median of W (the best), C by the model": C below B below A. */
static void check_denoised(const char *name) {
    const char *at = strstr(heard, name);
    double      noisy = 0, median = 0, model = 0;
    int         width;
    if (!CHECK(at != NULL)) return;
    CHECK(sscanf(at + strlen(name), " mean squared error %lf as measured, %lf by a moving median of %d (the best), %lf",
                 &noisy, &median, &width, &model) == 4);
    CHECK(model > 0 && model < median && median < noisy);
}

TEST(test_denoise_series) {
    if (!have_shell() || !can_be_opened("build/denoise_series")) SKIP("the examples are not built");
    CHECK(run("build/denoise_series --steps 1500 --out " FOLDER "/clean.csv") == 0);
    check_denoised("\nwave:");
    check_denoised("\nsteps:");
    CHECK(run("build/denoise_series " FOLDER "/clean.csv --steps 20 --truth " FOLDER "/clean.csv") == 0);
    CHECK_CONTAINS(heard, "/clean.csv: 3000 rows of 2 columns, 0 gaps\nepoch ");
    CHECK_CONTAINS(heard, "\nwave: mean squared error 0 as measured");
    write_gaps("series.csv", 40);
    CHECK(run("build/denoise_series " FOLDER "/series.csv --without id --steps 5 --window 16 --out " FOLDER
              "/clean.csv") == 0);
    CHECK(run("grep -ci nan " FOLDER "/clean.csv") == 1);       /* gaps are filled */
    CHECK(run("build/denoise_series " FOLDER "/series.csv --without id") == 1);
    CHECK_CONTAINS(heard, "denoise_series: 40 rows are fewer than a window of 64: choose a smaller --window");
    CHECK(run("build/denoise_series " FOLDER "/series.csv") == 1);
    CHECK_CONTAINS(heard, "/series.csv, line 2, id holds 's0': that is no number");
    CHECK(run("build/denoise_series --truth x.csv") == 2);
}

static const unsigned char small_jpeg[] = {         /* 8 x 8, all 200 */
    255, 216, 255, 224, 0, 16, 74, 70, 73, 70, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 255, 219, 0, 67, 0, 16, 11, 12, 14, 12, 10,
    16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51, 56, 55, 64,
    72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92,
    101, 103, 99, 255, 192, 0, 11, 8, 0, 8, 0, 8, 1, 1, 17, 0, 255, 196, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 6, 255, 196, 0, 20, 16, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 218, 0, 8, 1, 1, 0, 0,
    63, 0, 72, 255, 217
};

static char complaint[MESSAGE_SIZE];

/* What is read of a folder, here without stb_image.h; 0 or -1. */
static int load_folder(const char *name, int size, image_folder *folder) {
    char path[200];
    int  result;
    snprintf(path, sizeof path, FOLDER "/%s", name);
    heard[0] = complaint[0] = '\0';
    if (!CHECK((to_stderr = tmpfile()) != NULL)) exit(1);
    result = image_folder_load(path, size, size, 64, folder, complaint);
    rewind(to_stderr);
    heard[fread(heard, 1, sizeof heard - 1, to_stderr)] = '\0';
    fclose(to_stderr);
    return result;
}

/* A damaged picture is passed over with a sentence, and the others are read. */
static void check_damaged_picture(const char *bytes, size_t size, const char *sentence) {
    image_folder folder;
    write_file("damaged/a.ppm", bytes, size);
    write_file("damaged/b.pgm", "P5 1 1 255 x", 12);
    CHECK(load_folder("damaged", 0, &folder) == 0);
    CHECK(folder.count == 1 && folder.others == 1 && folder.channels == 1 && folder.pixels[0] == 'x');
    CHECK_CONTAINS(heard, "passed over: ");
    CHECK_CONTAINS(heard, sentence);
    free(folder.pixels);
}

TEST(test_image_folder) {
    image_folder   folder;
    unsigned char *chosen;
    static const unsigned char wide[] = "P6 # a comment\n4 2\n255\n\1\2\3\4\5\6\7\10\11\12\13\14"
                                        "\21\22\23\24\25\26\27\30\31\32\33\34";
    static const unsigned char deep[] = "P5 2 2 65535 \377\377\0\0\200\0\0\377";
    int            left;
    write_file("shapes of all/a b.ppm", wide, sizeof wide - 1);
    write_file("shapes of all/notes.txt", "x", 1);
    write_file("shapes of all/.hidden.ppm", "x", 1);
    CHECK(load_folder("shapes of all/", 0, &folder) == 0);         /* as it is */
    CHECK(folder.cut == 0);
    CHECK(folder.count == 1 && folder.others == 1 && folder.unread == 0 && folder.height == 2 && folder.width == 4);
    CHECK(folder.channels == 3 && !memcmp(folder.pixels, wide + sizeof wide - 25, 24));
    free(folder.pixels);
    CHECK(load_folder("shapes of all", 1, &folder) == 0);          /* the mean of the middle 2 x 2 */
    CHECK(folder.pixels[0] == (4 + 7 + 20 + 23 + 2) / 4 && folder.pixels[2] == (6 + 9 + 22 + 25 + 2) / 4);
    free(folder.pixels);
    CHECK(load_folder("shapes of all", 4, &folder) == 0);          /* each of the middle pixels four times */
    CHECK(folder.cut == 1);
    CHECK(folder.pixels[0] == 4 && folder.pixels[3] == 4 && folder.pixels[6] == 7 && folder.pixels[12 + 9] == 7);
    free(folder.pixels);
    write_file("shapes of all/b.PGM", deep, sizeof deep - 1);       /* of two bytes; grey among colours */
    write_file("shapes of all/c.jpg", small_jpeg, sizeof small_jpeg);
    CHECK(load_folder("shapes of all", 2, &folder) == 0);
    CHECK(folder.count == 2 && folder.others == 2 && folder.unread == 1 && folder.channels == 3);
    CHECK(!memcmp(folder.pixels + 12, "\377\377\377\0\0\0\200\200\200\1\1\1", 12));
    chosen = image_folder_choose(&folder, 2);
    CHECK(chosen && !memcmp(chosen, folder.pixels, 24));
    free(chosen);
    free(folder.pixels);
    for (left = 0; left < 5; left++) {      /* names, their list, an image, the pixels */
        allocations_left = left;
        CHECK(load_folder("shapes of all", 2, &folder) == -1 || (left > 0 && folder.count < 2));
        allocations_left = -1;
        free(folder.pixels);
    }
    check_damaged_picture("P3 1 1 255 0", 12, "is no binary PGM or PPM picture: it does not begin with P5 or P6");
    check_damaged_picture("", 0, "is no binary PGM or PPM picture");
    check_damaged_picture("P5 0 1 255 ", 11, "width and height must be from 1 to 16384");
    check_damaged_picture("P5 99999999999 1 255 ", 21, "width and height must be from 1 to 16384");
    check_damaged_picture("P5 1 -1 255 ", 12, "width and height must be from 1 to 16384");
    check_damaged_picture("P5 1 1 65536 ab", 15, "the largest value must be from 1 to 65535");
    check_damaged_picture("P6 2 2 255 abc", 14, "ends after 3 of the 12 bytes of 2 x 2 pixels");
    check_damaged_picture("P5 1 1 999 a", 12, "ends after 1 of the 2 bytes of 1 x 1 pixels");
    check_damaged_picture("P5 1 1 9 a", 10, "has a value of 97 where 9 is the largest");
    if (run("mkfifo " FOLDER "/damaged/c.pgm && mkdir " FOLDER "/damaged/d.ppm") == 0) {    /* nobody writes there */
        CHECK(load_folder("damaged", 0, &folder) == 0);
        CHECK_CONTAINS(heard, "/damaged/c.pgm is no picture but a device or a pipe\n");
        CHECK_CONTAINS(heard, "/damaged/d.ppm is no picture but a folder\n");
        CHECK(folder.count == 1 && folder.others == 3);
        free(folder.pixels);
        CHECK(run("rm -r " FOLDER "/damaged/[cd].*") == 0);
    }
    check_damaged_picture("P5 1", 4, "width and height must be from 1 to 16384");
    CHECK(run("rm " FOLDER "/damaged/b.pgm") == 0);
    CHECK(load_folder("damaged", 0, &folder) == -1);
    CHECK_CONTAINS(complaint, "/damaged holds no picture that this program reads (PGM, PPM)");
    free(folder.pixels);
}

/* New codes are those of rows at spread 0; at any, they have the rows' mean and covariance. */
TEST(test_near_codes) {
    enum { ROWS = 40, COUNT = 20000 };
    static float  codes[ROWS][3], drawn[COUNT][3], again[COUNT][3];
    static double moments[4][6];                        /* of the rows, then at spreads 0, 0.5 and 1 */
    int           i, j, k, which, strange = 0;
    for (i = 0; i < ROWS; i++) {
        codes[i][0] = (float)(i * 13 % ROWS) / 10 - 1;
        codes[i][1] = 2 * codes[i][0] + (float)(i * i % 7);
        codes[i][2] = 7;
    }
    for (which = 0; which < 4; which++) {
        float(*const of)[3] = which ? drawn : codes;
        const int     count = which ? COUNT : ROWS;
        double *const m = moments[which];
        if (which) CHECK(near_codes(codes[0], ROWS, 3, (which - 1) / 2.0, 5, COUNT, drawn[0]) == 0);
        for (i = 0; i < count; i++)
            for (j = 0; j < 3; j++) m[j] += (double)of[i][j] / count;
        for (i = 0; i < count; i++)
            for (j = 0; j < 3; j++)                     /* 0 with 0, 1 with 1, 1 with 0 */
                m[3 + j] += ((double)of[i][j % 2] - m[j % 2]) * ((double)of[i][j > 0] - m[j > 0]) / count;
        for (j = 0; j < 3; j++) CHECK_NEAR(m[j], moments[0][j], 0.1);
        for (j = 3; j < 6; j++) CHECK_NEAR(m[j] / moments[0][j], 1, 0.06);
        for (i = 0; which == 1 && i < COUNT; i++) {
            for (k = 0; k < ROWS && fabs((double)drawn[i][1] - (double)codes[k][1]) > 1e-5; k++) {}
            strange += k == ROWS;
        }
    }
    CHECK(strange == 0);
    CHECK(near_codes(codes[0], ROWS, 3, 1, 5, COUNT, again[0]) == 0 && !memcmp(drawn, again, sizeof drawn));
    CHECK(near_codes(codes[0], ROWS, 3, 1, 6, COUNT, again[0]) == 0 && memcmp(drawn, again, sizeof drawn));
}

/* Pictures are there long before the end. A checkpoint is of its own pictures, and goes on with no others. */
static void check_other_pictures(unsigned char *bytes) {
    const uint64_t before = hash_of_file(FOLDER "/i-checkpoint.safetensors");
    bytes[11] ^= 1;
    write_file("others/1.ppm", bytes, 11 + 192);
    CHECK(run("build/train_images " FOLDER "/others --epochs 9 --resume --out " FOLDER "/i") == 1);
    CHECK_CONTAINS(heard, "/i-checkpoint.safetensors learned 6 pictures of " FOLDER "/my pictures, not these 1 of "
                          FOLDER "/others: name another --out, or leave out --resume to begin anew\n");
    CHECK(hash_of_file(FOLDER "/i-checkpoint.safetensors") == before);
    CHECK(run("mv '" FOLDER "/my pictures' " FOLDER "/moved && build/train_images " FOLDER "/moved --epochs 2 --resume "
              "--out " FOLDER "/i && mv " FOLDER "/moved '" FOLDER "/my pictures'") == 0);
    CHECK(run("rm -f " FOLDER "/k*; build/train_images " FOLDER "/others --epochs 100000 --out " FOLDER "/k >" FOLDER
              "/k.log & run=$!; " UNTIL("test -s " FOLDER "/k-reconstructions.png") "kill -TERM $run; wait $run") ==
          143);
    CHECK(can_be_opened(FOLDER "/k-samples.png") && !can_be_opened(FOLDER "/k.safetensors"));
    CHECK(run("grep interrupted " FOLDER "/k.log") == 0);
}

TEST(test_train_images) {
    static const float grey[81] = { 0.5f };
    png_grid      grid = { .images = grey, .count = 1, .height = 9, .width = 9, .channels = 1, .columns = 1,
                           .scale = 1 };
    unsigned char bytes[11 + 192];
    char          name[40];
    const char   *learned;
    int           i, k, reads_png;
    if (!have_shell() || !can_be_opened("build/train_images")) SKIP("the examples are not built");
    memcpy(bytes, "P6 8 8 200\n", 11);
    for (i = 0; i < 6; i++) {
        for (k = 0; k < 192; k++) bytes[11 + k] = (unsigned char)((i * 31 + k * 7) % 200);
        sprintf(name, "my pictures/%d.ppm", i);
        write_file(name, bytes, sizeof bytes);
    }
    CHECK(run("build/train_images '" FOLDER "/my pictures' --epochs 2 --out " FOLDER "/i") == 0);
    CHECK_CONTAINS(heard, "/my pictures: 6 pictures, as 8 x 8, in colour\nwatch ");
    CHECK_CONTAINS(heard, "\nepoch 1/2: ");
    CHECK(can_be_opened(FOLDER "/i-samples.png") && can_be_opened(FOLDER "/i-reconstructions.png"));
    CHECK_CONTAINS(heard, "\n2 updates: your pictures come back with ");
    CHECK_CONTAINS(heard, " that their mean has. They are not learned yet: new ones are noise, or ");
    CHECK(run("build/train_images '" FOLDER "/my pictures' --epochs 300 --beta 0.2 --out " FOLDER "/k") == 0);
    learned = strstr(heard, "\n300 updates: your pictures come back with ");
    if (CHECK(learned)) CHECK(atoi(learned + strlen("\n300 updates: your pictures come back with ")) < 20);
    CHECK_CONTAINS(heard, " that their mean has\n");
    CHECK(run("cp " FOLDER "/i.safetensors " FOLDER "/j.safetensors; build/train_images '" FOLDER
              "/my pictures' --epochs 2 --resume --out " FOLDER "/i && cmp " FOLDER "/[ij].safetensors") == 0);
    CHECK_CONTAINS(heard, "nothing left to train: 2 epochs are made, --epochs tells how many there are to be in all\n");
    check_other_pictures(bytes);
    CHECK(run("build/sample_mnist " FOLDER "/i.safetensors --out " FOLDER "/s.png") == 0);
    write_file("my pictures/7.pgm", "P5 2 1 255 ab", 13);
    write_file("my pictures/8.jpeg", small_jpeg, sizeof small_jpeg);
    write_file("my pictures/9.png", small_jpeg, 60);
    CHECK(png_write_grid(FOLDER "/my pictures/a.PNG", &grid, complaint) == 0);
    CHECK(run("build/train_images '" FOLDER "/my pictures' --size 11 --epochs 1 --out " FOLDER "/i") == 0);
    CHECK_CONTAINS(heard, "/i-checkpoint.safetensors is there already: --resume would go on from it, else ");
    CHECK_CONTAINS(heard, "\n1 of another shape have two of their edges cut off (--size makes squares of all)\n");
    reads_png = strstr(heard, "without stb_image.h") == NULL;
    CHECK_CONTAINS(heard, reads_png ? ": 9 pictures, as 11 x 11, in colour\n1 other files were passed over\n"
                                    : ": 7 pictures, as 11 x 11, in colour\n3 other files were passed over, PNG or "
                                      "JPEG among them: this program was built without stb_image.h\n");
    if (reads_png) CHECK_CONTAINS(heard, "passed over: cannot read " FOLDER "/my pictures/9.png: ");
    CHECK(run("build/train_images '" FOLDER "/my pictures' --resume --out " FOLDER "/i") == 1);
    CHECK_CONTAINS(heard, "/i-checkpoint.safetensors learned pictures of 11 x 11 in colour, these are 8 x 8 in colour: "
                          "give --size 11, name another --out, or leave out --resume to begin anew\n");
    CHECK(run("mkdir " FOLDER "/one; cp '" FOLDER "/my pictures/3.ppm' " FOLDER "/one; build/train_images " FOLDER
              "/one --epochs 3 --out " FOLDER "/i") == 0);
    CHECK(run("mkdir " FOLDER "/none; build/train_images " FOLDER "/none --out " FOLDER "/i") == 1);
    CHECK_CONTAINS(heard, "/none holds no picture that this program reads");
    CHECK(run("build/train_images /nonexistent --out " FOLDER "/i") == 1);
    CHECK_CONTAINS(heard, "train_images: cannot open the folder /nonexistent: ");
    CHECK(run("build/train_images --size 3 --out " FOLDER "/i") == 2);
}

int main(void) {
    if (system(NULL)) (void)!system("rm -rf " FOLDER); /* of a run that was stopped */
    write_file("png/mark", "", 0);
    write_file("log", "", 0);
    RUN(test_idx_good_files);
    RUN(test_idx_refusals);
    RUN(test_idx_damage);
    RUN(test_idx_long_names);
    RUN(test_idx_directories);
    RUN(test_options_values);
    RUN(test_options_plain_word);
    RUN(test_options_refusals);
    RUN(test_options_hints);
    RUN(test_options_help);
    RUN(test_options_outputs);
    RUN(test_beside);
    RUN(test_options_same_file);
    RUN(test_options_kinds_of_outputs);
    RUN(test_decoder);
    RUN(test_png_values);
    RUN(test_png_runs);
    RUN(test_png_grids);
    RUN(test_png_refusals);
    RUN(test_digits_are_pinned);
    RUN(test_digits_depend_on_the_seed_alone);
    RUN(test_digits_overwrite_only_their_own);
    RUN(test_digits_mistakes);
    RUN(test_resume);
    RUN(test_recipes);
    RUN(test_stages);
    RUN(test_reproduce);
    RUN(test_second_interrupt);
    RUN(test_forgotten_resume);
    RUN(test_checkpoint_of_each_recipe);
    RUN(test_train_mistakes);
    RUN(test_pictures);
    RUN(test_csv_good_files);
    RUN(test_csv_refusals);
    RUN(test_csv_damage);
    RUN(test_csv_sizes);
    RUN(test_detect_anomalies);
    RUN(test_anomalies_in_small_tables);
    RUN(test_anomalies_with_gaps);
    RUN(test_own_loop);
    RUN(test_sensor);
    RUN(test_fill_missing);
    RUN(test_filled_tables_keep_digits);
    RUN(test_tables_keep_all);
    RUN(test_denoise_series);
    RUN(test_image_folder);
    RUN(test_near_codes);
    RUN(test_train_images);
    RUN_LONG(test_anomalies_in_real_tables, "four models for each of six tables, and neighbours");
    RUN(test_readme);
    RUN(test_get_mnist_usage);
    RUN(test_get_mnist_failures);
    RUN(test_get_mnist_bad_mirrors);
    if (system(NULL)) CHECK(system("rm -rf " FOLDER) == 0);
    return test_finish();
}
