/* The fuzz targets (fuzz_files.c, fuzz_readers.c) with the published vectors, the committed corpus and some thousand
   inputs drawn by a fixed sequence. With arguments it writes what a fuzzer begins with, a folder for each entry:
       test_fuzz --corpus FOLDER --dictionary FILE */
#define FUZZ_IN_TESTS
#define FUZZ_FAILED(text) test_check(0, __FILE__, __LINE__, text)
#include "fuzz_files.c"
#include "fuzz_readers.c"
#include "vectors.h"

#define CORPUS "tests/corpus"

/* ---- what it begins with ---- */

/* Sizes that a network of a few weights can ask for, and a version to come. */
static const char *const enlarged[][2] = {
    { "\\\"batch\\\":4", "\\\"batch\\\":16777216" },
    { "\\\"batch\\\":4", "\\\"samples\\\":65536,\\\"batch\\\":65536" },
    { "\\\"input\\\":[1,3,1]", "\\\"input\\\":[1,67108864,1]" },
    { "\\\"latent\\\":1", "\\\"latent\\\":1048576" },
    { "\"vae.version\":\"2\"", "\"vae.version\":\"3\"" }
};
enum { ENLARGED = sizeof enlarged / sizeof *enlarged };

/* The first network's file with that text in place of what was there. */
static size_t enlarged_file(size_t which, unsigned char *input, size_t most) {
    const char *const from = enlarged[which][0], *const to = enlarged[which][1];
    const size_t      size = write_file(model_of(0)->model, 0, 0, input, most);
    size_t            at = 9, header = file_header(input + 1, size - 1);
    while (at < size - strlen(from) && memcmp(input + at, from, strlen(from))) at++;
    CHECK(at < 9 + header);
    file_put_length(input + 1, header - strlen(from) + strlen(to));
    return fuzz_splice(input, size, most, at, strlen(from), to, strlen(to));
}

/* Of every network a file and a checkpoint, those of version 1, the vectors, and sizes that are too large. */
static void add_seeds(fuzz_corpus *corpus) {
    static const char *const old[] = { "dense_0_1.safetensors", "dense_0_1.checkpoint", "gaussian_0_1.safetensors",
                                       "gaussian_0_1.checkpoint" };
    static unsigned char     input[FUZZ_MOST_INPUT];
    char                     path[100];
    size_t                   size, i;
    for (i = 0; i < 2 * NETWORKS; i++)
        if ((size = write_file(model_of((int)(i / 2))->model, i % 2, (unsigned)(i / 2), input, sizeof input)) > 0)
            fuzz_corpus_add(corpus, "", input, size);
    for (i = 0; i < sizeof old / sizeof *old; i++) {
        snprintf(path, sizeof path, "tests/files/%s", old[i]);
        input[0] = 0;
        if ((size = fuzz_read(path, input + 1, sizeof input - 1)) > 0) fuzz_corpus_add(corpus, "", input, 1 + size);
    }
    for (i = 0; i < ENLARGED; i++) fuzz_corpus_add(corpus, "", input, enlarged_file(i, input, sizeof input));
    for (i = 0; i < VECTORS; i++) {
        input[0] = NETWORKS;                            /* for vae_load_matching */
        memcpy(input + 1, vectors[i].bytes, vectors[i].size);
        fuzz_corpus_add(corpus, "", input, 1 + vectors[i].size);
    }
}

static fuzz_corpus *corpus_of(const fuzz_entry *entry, int takes_files) {
    static fuzz_corpus corpus;
    char               path[100];
    fuzz_corpus_free(&corpus);
    if (takes_files) add_seeds(&corpus);
    snprintf(path, sizeof path, CORPUS "/%s", entry->name);
    fuzz_each_file(path, fuzz_corpus_add, &corpus);
    fuzz_corpus_sort(&corpus);
    return &corpus;
}

/* ---- the tests ---- */

TEST(test_files_that_are_right) {
    static fuzz_corpus corpus;
    vae_config         none;
    size_t             i;
    memset(&none, 0, sizeof none);
    none.threads = 1;
    add_seeds(&corpus);
    CHECK(corpus.count == 2 * NETWORKS + 4 + ENLARGED + VECTORS);
    for (i = 0; i < 2 * NETWORKS; i++) {
        vae_model *model = NULL;
        if (!CHECK(vae_load_memory(corpus.seeds[i].bytes + 1, corpus.seeds[i].size - 1, &none, &model, &problem) ==
                   VAE_OK))
            printf("    file %d: %s\n", (int)i, problem.message);
        vae_destroy(model);
    }
    fuzz_corpus_free(&corpus);
}

TEST(test_published_vectors) {
    size_t i;
    for (i = 0; i < VECTORS; i++) {
        made_model *const made = model_of(0);
        vae_model        *model = NULL;
        vae_config        config = network_of(0);
        CHECK(vae_load_matching_memory(made->model, vectors[i].bytes, vectors[i].size, NULL, &problem) ==
              VAE_ERROR_FORMAT);
        if (!strstr(problem.message, vectors[i].sentence)) printf("    %s:\n", vectors[i].name);
        CHECK_CONTAINS(problem.message, vectors[i].sentence);
        CHECK(vae_load_weights_memory(made->model, vectors[i].bytes, vectors[i].size, &problem) == VAE_ERROR_FORMAT);
        CHECK(vae_load_memory(vectors[i].bytes, vectors[i].size, &config, &model, &problem) == VAE_ERROR_FORMAT &&
              !model);
        CHECK(!memcmp(made->before, made->block, made->size));
    }
}

static int is_known(const char *name) {
    size_t i;
    for (i = 0; i < sizeof json_strings / sizeof *json_strings; i++) if (!strcmp(json_strings[i], name)) return 1;
    printf("    %s\n", name);
    return 0;
}

TEST(test_mutator_knows_every_field) {
    static const vaei_field *const tables[] = { vaei_config_fields,    vaei_layer_fields,     vaei_state_fields,
                                                vaei_tensor_fields,    vaei_optimizer_fields, vaei_schedule_fields,
                                                vaei_corruption_fields };
    const vaei_field *field;
    size_t            i;
    for (i = 0; i < sizeof tables / sizeof *tables; i++)
        for (field = tables[i]; field->name; field++) CHECK(is_known(field->name));
}

/* The words of the format, as they stand in a header. */
static int write_dictionary(const char *path) {
    FILE  *file = fopen(path, "wb");
    size_t i;
    if (!file) return perror(path), 1;
    for (i = 0; i < sizeof json_strings / sizeof *json_strings; i++) fprintf(file, "\"%s\"\n", json_strings[i]);
    for (i = 0; i < sizeof json_numbers / sizeof *json_numbers; i++) fprintf(file, "\"%s\"\n", json_numbers[i]);
    fprintf(file, "\"\\\\\\\"\"\n\"\\\\u0041\"\n\"{}\"\n\"[]\"\n");
    return fclose(file) != 0;
}

TEST(test_dictionary) {
    static unsigned char committed[FUZZ_MOST_INPUT], now[FUZZ_MOST_INPUT];
    const char *const    path = path_of("files.dict");
    size_t               size;
    CHECK(write_dictionary(path) == 0);
    size = fuzz_read(path, now, sizeof now);
    if (fuzz_read(CORPUS "/files.dict", committed, sizeof committed) == 0) SKIP("no " CORPUS " here");
    CHECK(size > 1000 &&
          !memcmp(now, committed, sizeof now)); /* else: test_fuzz --dictionary tests/corpus/files.dict */
}

static void run_corpus(const fuzz_entry *entry) {
    static fuzz_corpus corpus;
    char               path[100];
    size_t             i;
    snprintf(path, sizeof path, CORPUS "/%s", entry->name);
    if (!fuzz_each_file(path, fuzz_corpus_add, &corpus)) SKIP("no " CORPUS " here");
    fuzz_corpus_sort(&corpus);
    for (i = 0; i < corpus.count; i++) {
        fuzz_run(entry, corpus.seeds[i].bytes, corpus.seeds[i].size);
        if (test_state.failures && test_state.failures <= TEST_SHOWN_FAILURES)
            printf("    at input %d of %s\n", (int)i, path);
    }
    fuzz_corpus_free(&corpus);
}

static void run_changed(const fuzz_entry *entry, int takes_files, int executions) {
    const fuzz_corpus *corpus = corpus_of(entry, takes_files);
    test_random        random = { 2026 };
    int                i;
    for (i = 0; i < test_cases(executions); i++) fuzz_run_changed(entry, corpus, &random);
}

/* ---- what libFuzzer begins with ---- */

static int write_corpus(const char *folder, const fuzz_entry *entries, size_t count, int takes_files) {
    char   path[1000];
    size_t e, i;
    for (e = 0; e < count; e++) {
        const fuzz_corpus *const corpus = corpus_of(&entries[e], takes_files);
        snprintf(path, sizeof path, "%s/%s", folder, entries[e].name);
        make_directory(path);
        for (i = 0; i < corpus->count; i++) {
            snprintf(path, sizeof path, "%s/%s/seed-%03d", folder, entries[e].name, (int)i);
            fuzz_write(path, corpus->seeds[i].bytes, corpus->seeds[i].size);
        }
    }
    return test_state.failures != 0;
}

int main(int argc, char **argv) {
    const size_t files = sizeof file_entries / sizeof *file_entries,
                 readers = sizeof reader_entries / sizeof *reader_entries;
    size_t       e;
    int          i, status = 0;
    for (i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--corpus"))
            status |= write_corpus(argv[i + 1], file_entries, files, 1) |
                      write_corpus(argv[i + 1], reader_entries, readers, 0);
        else if (!strcmp(argv[i], "--dictionary")) status |= write_dictionary(argv[i + 1]);
    }
    if (argc > 1) return status;
    RUN(test_files_that_are_right);
    RUN(test_published_vectors);
    RUN(test_mutator_knows_every_field);
    RUN(test_dictionary);
    test_announce("test_changed_inputs", "some thousand executions of each fuzz target");
    for (e = 0; e < files; e++) {
        RUN_FOR(file_entries[e].name, "corpus", run_corpus(&file_entries[e]));
        RUN_FOR(file_entries[e].name, "changed", run_changed(&file_entries[e], 1, 3000));
    }
#ifdef __FAST_MATH__
    (void)readers;              /* the examples tell NaN by comparing, which -Ofast takes away */
#else
    for (e = 0; e < readers; e++) {
        RUN_FOR(reader_entries[e].name, "corpus", run_corpus(&reader_entries[e]));
        RUN_FOR(reader_entries[e].name, "changed", run_changed(&reader_entries[e], 0, 5000));
    }
#endif
    return test_finish();
}
