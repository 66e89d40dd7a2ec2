/* make_digits.c - draws digits that look handwritten and files them as MNIST does, for machines without MNIST.

       cc -O2 -o make_digits data/make_digits.c && ./make_digits --out build/digits

   Writes train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (28 x 28
   bytes an image, white on black), and a file GENERATED that tells them from the real ones. The same seed gives the
   same bytes with every compiler on every machine: all drawing is done in 64-bit integers, 16 bits of them behind the
   point. How a digit comes about is told in digits.h. */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef _WIN32
#include <direct.h>
#else
#include <sys/stat.h>
#endif

#include "../examples/support/options.h"
#include "digits.h"

/* --------------------------------------------------------------------------------------------------------- files */

enum { FILES = 4, NAME_SIZE = 600 };
static const char *const file_names[FILES] = { "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                               "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte" };

static volatile sig_atomic_t interrupted = 0; /* a signal handler has no other way to tell anybody anything */

static void on_interrupt(int number) {
    (void)number;
    interrupted = 1;
}

static void make_directories(const char *directory) {
    char   part[NAME_SIZE];
    size_t length = strlen(directory);
    memcpy(part, directory, length + 1);
    for (size_t i = 1; i <= length; i++) {
        char ended = part[i];
        if (ended != '/' && ended != '\\' && ended != '\0') continue;
#ifdef _WIN32
        part[i] = '\0';
        (void)_mkdir(part); /* a failure shows when the files are opened */
#else
        if (ended == '\\') continue;
        part[i] = '\0';
        (void)mkdir(part, 0777);
#endif
        part[i] = ended;
    }
}

static int exists(const char *name) {
    FILE *file = fopen(name, "rb");
    if (file) fclose(file);
    return file != NULL;
}

static void put_long(unsigned char *bytes, uint32_t value) {
    for (int i = 0; i < 4; i++) bytes[i] = (unsigned char)(value >> (24 - 8 * i) & 0xff);
}

/* Draws one part into two files that are open already. */
static int write_part(uint64_t seed, int part, uint32_t count, const tables *looked_up, FILE *images, FILE *labels) {
    enum { BATCH = 32 };
    unsigned char pixels[BATCH * PIXELS], digits[BATCH], header[16] = { 0, 0, 8, 3 };
    put_long(header + 4, count);
    put_long(header + 8, SIDE);
    put_long(header + 12, SIDE);
    if (fwrite(header, 1, 16, images) != 16) return 0;
    header[3] = 1;
    if (fwrite(header, 1, 8, labels) != 8) return 0;
    for (uint32_t done = 0; done < count;) {
        uint32_t batch = count - done < BATCH ? count - done : BATCH;
        for (uint32_t i = 0; i < batch; i++)
            digits[i] = (unsigned char)draw_digit(seed, part, done + i, looked_up, pixels + i * PIXELS);
        if (fwrite(pixels, PIXELS, batch, images) != batch || fwrite(digits, 1, batch, labels) != batch) return 0;
        if (interrupted) return 0;
        done += batch;
    }
    return 1;
}

int main(int argc, char **argv) {
    const char  *directory = "build/digits";
    long long    seed = 1, train = 60000, test = 10000;
    const option table[] = {
        { "out", "DIR", "directory the files go into", OPTION_TEXT, &directory, 0, 0 },
        { "seed", "N", "same seed, same bytes", OPTION_INTEGER, &seed, 0, 9e15 },
        { "train", "N", "number of training images", OPTION_INTEGER, &train, 1, 1000000 },
        { "test", "N", "number of test images", OPTION_INTEGER, &test, 1, 1000000 },
        OPTIONS_END
    };
    char    final[FILES][NAME_SIZE], partial[FILES][NAME_SIZE], marker[NAME_SIZE];
    FILE   *files[FILES] = { NULL };
    tables  looked_up;
    int     status, fine = 1, reason = 0, present = 0;
    FILE   *mark;
    clock_t begun = clock();

    status = options_parse(argc, argv, "Draws digits that look handwritten, into the four files that MNIST consists of.",
                           table, 0);
    if (status >= 0) return status;
    if (!*directory || strlen(directory) > NAME_SIZE - 64) {
        fprintf(stderr, "make_digits: the name of the directory must have 1 to %d bytes\n", NAME_SIZE - 64);
        return 2;
    }
    for (int i = 0; i < FILES; i++) {
        /* Two runs into one directory at the same time must not write into each other's unfinished files. */
        unsigned long token =
            (unsigned long)(scramble((uint64_t)time(NULL) ^ (uint64_t)(uintptr_t)&files) & 0xffffffffu);
        snprintf(final[i], NAME_SIZE, "%s/%s", directory, file_names[i]);
        snprintf(partial[i], NAME_SIZE, "%s/%s.%08lx", directory, file_names[i], token);
        if (exists(final[i])) present = 1;
    }
    snprintf(marker, NAME_SIZE, "%s/GENERATED", directory);
    if (present && !exists(marker)) {
        fprintf(stderr,
                "make_digits: %s holds digits that were not made by this program, which it will not overwrite: give "
                "another directory with --out\n",
                directory);
        return 1;
    }

    make_directories(directory);
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    make_tables(&looked_up);
    errno = 0;
    for (int i = 0; i < FILES && fine; i++) fine = (files[i] = fopen(partial[i], "wb")) != NULL;
    fine = fine && write_part((uint64_t)seed, 0, (uint32_t)train, &looked_up, files[0], files[1]) &&
           write_part((uint64_t)seed, 1, (uint32_t)test, &looked_up, files[2], files[3]);
    if (!fine) reason = errno;
    for (int i = 0; i < FILES; i++) {
        if (files[i] && fclose(files[i]) != 0 && fine) fine = 0, reason = errno;
    }
    if (fine) {
        mark = fopen(marker, "w");
        fine = mark != NULL;
        if (mark) {
            fprintf(mark, "Drawn by make_digits --seed %lld --train %lld --test %lld: not MNIST.\n", seed, train, test);
            fine = fclose(mark) == 0;
        }
        /* All old files go before the first new one comes: stopped in between, the set is incomplete rather than mixed.
         */
        for (int i = 0; i < FILES && fine; i++) {
            if (exists(final[i])) fine = remove(final[i]) == 0;
        }
        for (int i = 0; i < FILES && fine; i++) fine = rename(partial[i], final[i]) == 0;
        if (!fine) reason = errno;
    }
    if (!fine) {
        for (int i = 0; i < FILES; i++) {
            if (files[i]) (void)remove(partial[i]);
        }
        if (interrupted)
            fprintf(stderr, "make_digits: interrupted, nothing written\n");
        else
            fprintf(stderr, "make_digits: the files cannot be written into %s: %s\n", directory,
                    reason ? strerror(reason) : "unknown reason");
        return 1;
    }
    printf("wrote %lld training and %lld test digits into %s (seed %lld, %.1f s)\n", train, test, directory, seed,
           (double)(clock() - begun) / CLOCKS_PER_SEC);
    return 0;
}
