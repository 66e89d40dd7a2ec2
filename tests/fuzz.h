/* fuzz.h - what the fuzz targets share: memory that is counted, and a driver for machines without libFuzzer.

   A target is a file with a table of entries and this header behind it. `--entry=NAME` chooses one.
       clang -g -O1 -DFUZZ_LIBFUZZER -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all tests/fuzz_files.c \
           -o build/fuzz_files -lm
       build/fuzz_files --entry=memory -max_total_time=60 -dict=tests/corpus/files.dict build/corpus/memory
   Without FUZZ_LIBFUZZER any compiler builds a program that draws inputs from the corpus and changes them by the
   target's own mutator, without looking at what they reach:
       gcc -g -O1 -fsanitize=address,undefined tests/fuzz_files.c -o build/fuzz_files -lm
       build/fuzz_files --entry=memory --runs=1000000 --seed=1 build/corpus/memory
   tests/fuzz.sh runs all of them, tests/test_fuzz.c some thousand executions of each. */
#ifndef FUZZ_H
#define FUZZ_H

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "folder.h"
#include "test.h"

enum { FUZZ_MOST_INPUT = 16384, FUZZ_MOST_BLOCKS = 512 };

typedef struct fuzz_entry {
    const char *name;
    void      (*run)(const unsigned char *input, size_t size);
    size_t    (*mutate)(unsigned char *input, size_t size, size_t most, test_random *random);
} fuzz_entry;

/* A condition that no input may break. */
#ifndef FUZZ_FAILED
#define FUZZ_FAILED(text) (fprintf(stderr, "%s:%d: %s is false\n", __FILE__, __LINE__, text), abort())
#endif
#define must(condition) do { if (!(condition)) FUZZ_FAILED(#condition); } while (0)

/* ---- memory that is counted. Sizes stand apart from the blocks, so that the sanitizer sees their borders ---- */

static struct {
    struct { void *block; size_t size; } blocks[FUZZ_MOST_BLOCKS];
    size_t live, peak, largest;         /* bytes held, most of them at once; the largest block asked for */
    size_t most;                        /* no larger block is given */
} fuzz_memory;

static inline void fuzz_memory_begin(size_t most) {
    must(fuzz_memory.live == 0);        /* everything was given back */
    fuzz_memory.peak = fuzz_memory.largest = 0;
    fuzz_memory.most = most;
}

static inline void fuzz_note(void *block, size_t size) {
    int i = 0;
    while (i < FUZZ_MOST_BLOCKS && fuzz_memory.blocks[i].block) i++;
    must(i < FUZZ_MOST_BLOCKS);
    if (i == FUZZ_MOST_BLOCKS) return;
    fuzz_memory.blocks[i].block = block;
    fuzz_memory.blocks[i].size = size;
    fuzz_memory.live += size;
    if (fuzz_memory.live > fuzz_memory.peak) fuzz_memory.peak = fuzz_memory.live;
}

/* Returns the size of the block, of which nothing is known from here on. */
static inline size_t fuzz_forget(void *block) {
    int i = 0;
    while (i < FUZZ_MOST_BLOCKS && fuzz_memory.blocks[i].block != block) i++;
    must(i < FUZZ_MOST_BLOCKS);
    if (i == FUZZ_MOST_BLOCKS) return 0;
    fuzz_memory.blocks[i].block = NULL;
    fuzz_memory.live -= fuzz_memory.blocks[i].size;
    return fuzz_memory.blocks[i].size;
}

static inline void *fuzz_allocate(void *user, size_t size) {
    void *block;
    (void)user;
    if (size > fuzz_memory.largest) fuzz_memory.largest = size;
    if (size > fuzz_memory.most || (block = malloc(size)) == NULL) return NULL;
    fuzz_note(block, size);
    return block;
}

static inline void fuzz_release(void *user, void *block, size_t size) {
    (void)user;
    must(fuzz_forget(block) == size);
    free(block);
}

/* ---- chance ---- */

static inline size_t fuzz_below(test_random *random, size_t count) {
    return count ? (size_t)(test_bits(random) % count) : 0;
}
static inline int fuzz_chance(test_random *random, int of) { return fuzz_below(random, (size_t)of) == 0; }

/* ---- changes without regard to structure ---- */

/* Puts `in` bytes in place of `out` bytes at `at`; returns the new size, or the old one where there is no room. */
static inline size_t fuzz_splice(unsigned char *bytes, size_t size, size_t most, size_t at, size_t out,
                                 const void *from, size_t in) {
    if (at > size || out > size - at || size - out > most || in > most - (size - out)) return size;
    memmove(bytes + at + in, bytes + at + out, size - at - out);
    memcpy(bytes + at, from, in);
    return size - out + in;
}

#ifdef FUZZ_LIBFUZZER
size_t LLVMFuzzerMutate(unsigned char *bytes, size_t size, size_t most);
#endif

/* libFuzzer's own change where there is one. */
static inline size_t fuzz_mutate_bytes(unsigned char *bytes, size_t size, size_t most, test_random *random) {
#ifdef FUZZ_LIBFUZZER
    (void)random;
    return LLVMFuzzerMutate(bytes, size, most);
#else
    static const unsigned char odd[] = { 0, 1, 9, 10, 13, 32, '"', ',', '-', '.', '0', '9', '=', 127, 128, 255 };
    unsigned char              piece[16];
    const size_t               at = fuzz_below(random, size + 1);
    size_t                     count = 1 + fuzz_below(random, sizeof piece), from;
    if (count > size - at) count = size - at;
    switch (fuzz_below(random, 6)) {
    case 0: if (at < size) bytes[at] ^= (unsigned char)(1u << fuzz_below(random, 8)); return size;
    case 1: if (at < size) bytes[at] = (unsigned char)test_bits(random); return size;
    case 2: return fuzz_splice(bytes, size, most, at, count, "", 0);
    case 3: return fuzz_splice(bytes, size, most, at, 0, &odd[fuzz_below(random, sizeof odd)], 1);
    case 4: if (at < size) bytes[at] = odd[fuzz_below(random, sizeof odd)]; return size;
    default:
        from = fuzz_below(random, size - count + 1);
        memcpy(piece, bytes + from, count);
        return fuzz_splice(bytes, size, most, at, 0, piece, count);
    }
#endif
}

/* ---- files ---- */

static char fuzz_own_folder[200];

static inline void fuzz_remove_folder(void) {
    char           path[600];
    DIR           *directory = opendir(fuzz_own_folder);
    struct dirent *entry;
    while (directory && (entry = readdir(directory)) != NULL)
        if (entry->d_name[0] != '.' &&
            snprintf(path, sizeof path, "%s/%s", fuzz_own_folder, entry->d_name) < (int)sizeof path)
            remove(path);
    if (directory) closedir(directory);
    remove_directory(fuzz_own_folder);
}

/* A folder of the target's own, in memory where the system has such a place; gone when the program ends. */
static inline const char *fuzz_folder(void) {
    char *const folder = fuzz_own_folder;
    if (!*folder) {
        const char *const places[] = { "/dev/shm", getenv("TMPDIR"), "/tmp" };
        size_t            i;
        for (i = 0; i < 3 && !*folder; i++)
            if (!places[i] ||
                snprintf(folder, sizeof fuzz_own_folder, "%s/vae-fuzz-%ld", places[i], process_number()) >=
                    (int)sizeof fuzz_own_folder ||
                make_directory(folder) != 0)
                *folder = 0;
        must(*folder);
        atexit(fuzz_remove_folder);
    }
    return folder;
}

static inline void fuzz_write(const char *path, const unsigned char *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    must(file && fwrite(bytes, 1, size, file) == size);
    must(file && fclose(file) == 0);
}

/* The size of the file, 0 where it cannot be read; at most `most` bytes are read. */
static inline size_t fuzz_read(const char *path, unsigned char *bytes, size_t most) {
    FILE  *file = fopen(path, "rb");
    size_t size = file ? fread(bytes, 1, most, file) : 0;
    if (file) fclose(file);
    return size;
}

/* Calls `take` for each file of the folder, or for the file of that name; returns how many there were. */
static inline size_t fuzz_each_file(const char *path,
                                    void (*take)(void *user, const char *name, const unsigned char *bytes, size_t size),
                                    void *user) {
    static unsigned char bytes[FUZZ_MOST_INPUT];
    DIR                 *directory = opendir(path);
    struct dirent       *entry;
    char                 name[1000];
    size_t               count = 0;
    if (!directory) {
        FILE *file = fopen(path, "rb");
        if (!file) return 0;
        fclose(file);
        take(user, path, bytes, fuzz_read(path, bytes, sizeof bytes));
        return 1;
    }
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.' || snprintf(name, sizeof name, "%s/%s", path, entry->d_name) >= (int)sizeof name)
            continue;
        take(user, entry->d_name, bytes, fuzz_read(name, bytes, sizeof bytes));
        count++;
    }
    closedir(directory);
    return count;
}

/* ---- a corpus in memory, for the driver and the tests ---- */

enum { FUZZ_MOST_SEEDS = 4096 };
typedef struct fuzz_seed { unsigned char *bytes; size_t size; } fuzz_seed;
typedef struct fuzz_corpus {
    fuzz_seed seeds[FUZZ_MOST_SEEDS];
    size_t    count;
} fuzz_corpus;

static inline void fuzz_corpus_add(void *corpus, const char *name, const unsigned char *bytes, size_t size) {
    fuzz_corpus *const to = (fuzz_corpus *)corpus;
    (void)name;
    if (to->count == FUZZ_MOST_SEEDS || (to->seeds[to->count].bytes = (unsigned char *)malloc(size + 1)) == NULL)
        return;
    memcpy(to->seeds[to->count].bytes, bytes, size);
    to->seeds[to->count++].size = size;
}

static inline int fuzz_seed_order(const void *a, const void *b) {
    const fuzz_seed *one = (const fuzz_seed *)a, *two = (const fuzz_seed *)b;
    if (one->size != two->size) return one->size < two->size ? -1 : 1;
    return one->size ? memcmp(one->bytes, two->bytes, one->size) : 0;
}

/* The same order wherever the files came from. */
static inline void fuzz_corpus_sort(fuzz_corpus *corpus) {
    qsort(corpus->seeds, corpus->count, sizeof *corpus->seeds, fuzz_seed_order);
}

static inline void fuzz_corpus_free(fuzz_corpus *corpus) {
    while (corpus->count) free(corpus->seeds[--corpus->count].bytes);
}

/* One execution with an input of just its size, so that reading on is noticed. */
static inline void fuzz_run(const fuzz_entry *entry, const unsigned char *input, size_t size) {
    unsigned char *exact = (unsigned char *)malloc(size + !size);
    must(exact != NULL);
    memcpy(exact, input, size);
    entry->run(exact, size);
    free(exact);
}

/* One execution with a changed seed. */
static inline void fuzz_run_changed(const fuzz_entry *entry, const fuzz_corpus *corpus, test_random *random) {
    static unsigned char input[FUZZ_MOST_INPUT];
    const size_t         which = fuzz_below(random, corpus->count);
    size_t               size = corpus->count ? corpus->seeds[which].size : 0, changes = 1 + fuzz_below(random, 3);
    memcpy(input, corpus->count ? corpus->seeds[which].bytes : input, size);
    while (changes--) size = entry->mutate(input, size, sizeof input, random);
    fuzz_run(entry, input, size);
}

/* ---- what runs it: the tests, libFuzzer, or a loop ---- */

#if defined(FUZZ_IN_TESTS)
#define FUZZ_TARGET(entries)
#else
static fuzz_entry fuzz_chosen;

/* The entry that --entry=NAME names. */
static inline void fuzz_choose(const fuzz_entry *entries, size_t count, int argc, char **argv) {
    size_t e;
    int    i;
    for (i = 1; i < argc; i++)
        for (e = 0; e < count; e++)
            if (!strncmp(argv[i], "--entry=", 8) && !strcmp(argv[i] + 8, entries[e].name)) fuzz_chosen = entries[e];
    if (fuzz_chosen.name) return;
    fprintf(stderr, "--entry=NAME is one of");
    for (e = 0; e < count; e++) fprintf(stderr, " %s", entries[e].name);
    fprintf(stderr, "\n");
    exit(2);
}

#ifdef FUZZ_LIBFUZZER
int    LLVMFuzzerInitialize(int *argc, char ***argv);
int    LLVMFuzzerTestOneInput(const unsigned char *input, size_t size);
size_t LLVMFuzzerCustomMutator(unsigned char *input, size_t size, size_t most, unsigned seed);
int    LLVMFuzzerTestOneInput(const unsigned char *input, size_t size) {
    if (size <= FUZZ_MOST_INPUT) fuzz_chosen.run(input, size);
    return 0;
}
size_t LLVMFuzzerCustomMutator(unsigned char *input, size_t size, size_t most, unsigned seed) {
    test_random random;
    random.state = seed;
    return fuzz_chosen.mutate(input, size, most, &random);
}
#define FUZZ_TARGET(entries) \
    int LLVMFuzzerInitialize(int *argc, char ***argv) { \
        fuzz_choose(entries, sizeof(entries) / sizeof *(entries), *argc, *argv); \
        return 0; \
    }
#else
/* main of a program without libFuzzer. The same seed draws the same inputs. */
static inline int fuzz_loop(int argc, char **argv) {
    static fuzz_corpus corpus;
    test_random        random = { 1 };
    long               runs = -1, seconds = -1, done = 0;
    const time_t       began = time(NULL);
    size_t             seed;
    int                i;
    for (i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "--runs=", 7)) runs = atol(argv[i] + 7);
        else if (!strncmp(argv[i], "--seconds=", 10)) seconds = atol(argv[i] + 10);
        else if (!strncmp(argv[i], "--seed=", 7)) random.state = (uint64_t)atol(argv[i] + 7);
        else if (argv[i][0] != '-') fuzz_each_file(argv[i], fuzz_corpus_add, &corpus);
    }
    fuzz_corpus_sort(&corpus);
    for (seed = 0; seed < corpus.count; seed++)
        fuzz_run(&fuzz_chosen, corpus.seeds[seed].bytes, corpus.seeds[seed].size);
    for (; runs < 0 || done < runs; done++) {
        if (seconds >= 0 && done % 64 == 0 && time(NULL) - began >= seconds) break;
        fuzz_run_changed(&fuzz_chosen, &corpus, &random);
    }
    printf("%s: %ld executions, no finding\n", fuzz_chosen.name, (long)corpus.count + done);
    fuzz_corpus_free(&corpus);
    return 0;
}
#define FUZZ_TARGET(entries) \
    int main(int argc, char **argv) { \
        fuzz_choose(entries, sizeof(entries) / sizeof *(entries), argc, argv); \
        return fuzz_loop(argc, argv); \
    }
#endif
#endif

#endif
