/* What the library asks of the operating system: clock, threads, signals, processes, and files that are links, devices,
   locked, private, half written or of another kind. What a platform lacks is skipped, and said. */
#ifndef VAE_THREADS
#define VAE_THREADS
#endif
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "folder.h"
#if defined(_WIN32)
#include <sys/utime.h>
#else
#include <errno.h>
#include <fcntl.h>
#include <utime.h>
#if !defined(__wasi__)
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#define HAS_PROCESSES 1
#endif
#endif
/* -std=c99 hides these. */
#if defined(__linux__) && defined(__STRICT_ANSI__) && !defined(__cplusplus)
extern int kill(pid_t process, int signal);
extern int symlink(const char *to, const char *name);
extern int seteuid(uid_t user);
extern int setegid(gid_t group);
#endif
#include "ledger.h"
#include "test.h"

#define MODEL_FILE "model.safetensors"
#define TEMPORARY_FILE "vae-unfinished-0.tmp"
#define NEXT_TEMPORARY_FILE "vae-unfinished-1.tmp"

static vae_error problem;       /* of the latest call */

static int expect(vae_status got, vae_status wanted, int line, const char *call) {
    const int good = got == wanted && (got == VAE_OK || (problem.status == got && strlen(problem.message) > 10));
    if (!test_check(good, __FILE__, line, call))
        printf("    %s, not %s: %s\n", vae_status_name(got), vae_status_name(wanted), problem.message);
    return good;
}
#define EXPECT(call, wanted) expect(call, wanted, __LINE__, #call)

static vae_model *make(int units, int threads) {
    vae_config config;
    vae_model *model = NULL;
    memset(&config, 0, sizeof config);
    config.input.height = config.input.width = 16;
    config.input.channels = 1;
    config.latent = 8;
    config.encoder[0] = VAE_DENSE(units, VAE_RELU);
    config.batch = 64;
    config.threads = threads;
    if (vae_create(&config, &model, &problem) != VAE_OK) {
        printf("vae_create: %s\n", problem.message);
        exit(1);
    }
    return model;
}

static int has_weights_of(const vae_model *model, const char *path) {
    vae_model *loaded = NULL;
    int        same = 0;
    if (!EXPECT(vae_load(path, NULL, &loaded, &problem), VAE_OK)) return 0;
    same = vae_parameter_count(loaded) == vae_parameter_count(model) &&
           !memcmp(vae_parameters(loaded), model->parameters, vae_parameter_count(model) * sizeof(vae_real));
    vae_destroy(loaded);
    return same;
}

static void write_file(const char *path, const void *at, size_t size) {
    FILE *file = fopen(path, "wb");
    if (!CHECK(file != NULL)) return;
    CHECK(fwrite(at, 1, size, file) == size);
    CHECK(fclose(file) == 0);
}

static int exists(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    return file != NULL;
}

static int holds(const char *path, const char *text) {
    char  read[64] = { 0 };
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    read[fread(read, 1, sizeof read - 1, file)] = 0;
    fclose(file);
    return !strcmp(read, text);
}

/* ---- time ---- */

TEST(test_clock) {
    int64_t   last = vaei_now(), now;
    double    passed;
    char      text[32];
    vaei_text t;
    int       i;
    const double odd[] = { -3599, -0.1, 0, 1e300, -1e300, (double)NAN, (double)INFINITY };
#if defined(__linux__) || (defined(__wasi__) && !defined(__STRICT_ANSI__))     /* with -std=c99 WASI hides that clock */
    CHECK(last < 1000000000000000);         /* since the machine started, not since 1970: nobody sets it */
#endif
    for (i = 0; i < 100000; i++) {
        now = vaei_now();
        if (!CHECK(now >= last)) break;
        last = now;
    }
#ifndef __wasi__
    {
        const int64_t began = vaei_now();
        const clock_t ticks = clock();
        double        busy = 0;
        while (busy < 0.2) busy = (double)(clock() - ticks) / CLOCKS_PER_SEC;
        passed = vaei_elapsed(began, vaei_now());
        CHECK(passed > 0.15 && passed < 60);
    }
#endif
    CHECK(vaei_elapsed(5, 3) <= 0 && vaei_elapsed(3000000, 5000000) >= 2 && !(vaei_elapsed(5, 3) < 0));
    for (i = 0; i < (int)(sizeof odd / sizeof *odd); i++) {
        t.bytes = text;
        t.size = sizeof text;
        t.length = 0;
        vaei_put_seconds(&t, odd[i]);
        CHECK_TEXT(text, "0s");
    }
}

/* ---- marks ---- */

TEST(test_flag) {
    vaei_flag flag = 0;
    CHECK(!vaei_flag_swap(&flag, 1, 2) && vaei_flag_get(&flag) == 0);
    CHECK(vaei_flag_swap(&flag, 0, 1) && vaei_flag_get(&flag) == 1);
    CHECK(!vaei_flag_swap(&flag, 0, 1) && vaei_flag_get(&flag) == 1);
    CHECK(vaei_flag_swap(&flag, 1, -3) && vaei_flag_get(&flag) == -3);
}

/* ---- processors ---- */

#if defined(__linux__) && defined(VAEI_HAS_POOL)
extern int sched_setaffinity_of_tests(int thread, size_t size, const unsigned char *mask) __asm__("sched_setaffinity");

TEST(test_affinity) {
    const pid_t child = fork();
    int         status = 1;
    if (!child) {
        unsigned char before[256], mask[256];
        size_t        i;
        memset(before, 0, sizeof before);
        memset(mask, 0, sizeof mask);
        if (vaei_sched_getaffinity(0, sizeof before, before) < 0) _exit(2);
        for (i = 0; i < 8 * sizeof before && !(before[i / 8] >> i % 8 & 1); i++) {}
        mask[i / 8] = (unsigned char)(1u << i % 8);
        if (sched_setaffinity_of_tests(0, sizeof mask, mask)) _exit(2);
        _exit(vaei_core_count() == 1 ? 0 : 3);
    }
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) SKIP("this system does not let a process choose its processors");
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(test_quota) {
    static const struct { const char *text; long processors; } quotas[] = {
        { "max 100000\n", 0 }, { "200000 100000\n", 2 }, { "350000 100000\n", 3 }, { "50000 100000\n", 1 },
        { "100000 100000\n", 1 }, { "", 0 }, { "200000", 0 }, { "0 100000\n", 0 }, { "1 0\n", 0 }, { "-1 100000\n", 0 },
        { "999999999999999999999 1\n", 0 }
    };
    size_t i;
    for (i = 0; i < sizeof quotas / sizeof *quotas; i++)
        CHECK(vaei_quota_of(quotas[i].text, strlen(quotas[i].text)) == quotas[i].processors);
}
#else
TEST(test_quota) { SKIP("control groups are Linux's"); }
TEST(test_affinity) { SKIP("processors are chosen on Linux alone"); }
#endif

/* ---- signals ---- */

#if defined(__linux__) && defined(VAEI_HAS_POOL)
#include <dirent.h>
/* The signals that a thread of ours blocks, from the kernel's own table. */
static uint64_t blocked_by(const char *thread) {
    char  path[300], line[256];
    FILE *file;
    unsigned long long blocked = 0;
    sprintf(path, "/proc/self/task/%.200s/status", thread);
    if (!(file = fopen(path, "r"))) return 0;
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, "SigBlk:", 7)) blocked = strtoull(line + 7, NULL, 16);
    fclose(file);
    return blocked;
}

TEST(test_signals_do_not_reach_workers) {
    static const int programs[] = { SIGTERM, SIGINT, 1, 3, 10, 12, 14, 17, 64 };     /* SIGHUP, QUIT, USR1, ... */
    static const int faults[] = { SIGSEGV, SIGFPE, SIGILL };
    char           own[32];
    uint64_t       before;
    long           others[16];              /* threads of a sanitizer or an emulator */
    vae_model     *model;
    DIR           *threads;
    struct dirent *entry;
    int            workers = 0;
    size_t         i, count = 0;
    sprintf(own, "%ld", (long)getpid());
    if (!(threads = opendir("/proc/self/task"))) SKIP("/proc is not there");
    while ((entry = readdir(threads)) != NULL && count < sizeof others / sizeof *others)
        if (entry->d_name[0] != '.') others[count++] = atol(entry->d_name);
    before = blocked_by(own);
    model = make(64, 4);
    CHECK(blocked_by(own) == before);
    rewinddir(threads);
    while ((entry = readdir(threads)) != NULL) {
        const int64_t began = vaei_now();
        uint64_t      blocked, open_to = 0;
        for (i = 0; i < count && others[i] != atol(entry->d_name);) i++;
        if (entry->d_name[0] == '.' || i < count) continue;
        do {                                            /* until it runs, a thread blocks all signals */
            blocked = blocked_by(entry->d_name);
            for (i = 0, open_to = 0; i < sizeof faults / sizeof *faults; i++)
                open_to += !(blocked >> (faults[i] - 1) & 1);
        } while (open_to < 3 && vaei_elapsed(began, vaei_now()) < 10);
        for (i = 0; i < sizeof programs / sizeof *programs; i++) CHECK(blocked >> (programs[i] - 1) & 1);
        workers += open_to == 3;                        /* what a sanitizer starts with a thread may block all */
    }
    closedir(threads);
    CHECK(workers == 3);
    vae_destroy(model);
}
#else
TEST(test_signals_do_not_reach_workers) { SKIP("signal masks of threads are shown on Linux alone"); }
#endif

/* ---- fork ---- */

#if defined(HAS_PROCESSES) && defined(VAEI_HAS_POOL)
/* A child has the model but none of its threads: it works alone, to the same bits, and ends. */
TEST(test_fork) {
    enum { ROWS = 64, SIZE = 256 };
    vae_model *model = make(300, 4);
    vae_real  *z = (vae_real *)calloc(ROWS * 8, sizeof *z), *pixels = (vae_real *)malloc(2 * ROWS * SIZE * sizeof *z);
    int        i;
    for (i = 0; i < ROWS * 8; i++) z[i] = (vae_real)(i % 17) / 8 - 1;
    for (i = 0; i < 40; i++) {
        pid_t child;
        int   status = 1;
        /* its threads are awake, or falling asleep */
        CHECK(vae_decode(model, &(vae_latents){ .z = z, .count = ROWS }, pixels, NULL) == VAE_OK);
        child = fork();
        if (!child) {
            int good;
            alarm(20);                                                  /* instead of hanging */
            good = vae_decode(model, &(vae_latents){ .z = z, .count = ROWS }, pixels + ROWS * SIZE, NULL) == VAE_OK &&
                   !memcmp(pixels, pixels + ROWS * SIZE, ROWS * SIZE * sizeof *z);
            vae_destroy(model);
            _exit(good ? 0 : 3);
        }
        CHECK(waitpid(child, &status, 0) == child);
        if (!CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0)) break;
    }
    CHECK(vae_decode(model, &(vae_latents){ .z = z, .count = ROWS }, pixels + ROWS * SIZE, NULL) == VAE_OK);
    CHECK(!memcmp(pixels, pixels + ROWS * SIZE, ROWS * SIZE * sizeof *z));
    vae_destroy(model);
    free(z);
    free(pixels);
}
#else
TEST(test_fork) { SKIP("there is no fork"); }
#endif

/* ---- saving: what a path may lead to ---- */

#if defined(HAS_PROCESSES)
static int is_link(const char *path) {
    char text[8];
    return vaei_readlink(path, text, sizeof text) > 0;
}

TEST(test_pipes_and_devices_stay) {
    static const char *const others[] = { "pipe", "to_pipe", "to_null", "/dev/null", "to_open_pipe", "folder" };
    vae_model  *model = make(4, 1), *loaded = NULL;
    struct stat about[2];
    char        open_pipe[64];
    int         ends[2];
    size_t      i;
    CHECK(mkfifo("pipe", 0600) == 0 && symlink("pipe", "to_pipe") == 0 && symlink("/dev/null", "to_null") == 0);
    CHECK(make_directory("folder") == 0 && pipe(ends) == 0);
    sprintf(open_pipe, "/proc/self/fd/%d", ends[1]);        /* as /dev/stdout leads to */
    CHECK(symlink(open_pipe, "to_open_pipe") == 0);
    for (i = 0; i < sizeof others / sizeof *others; i++) {
        const int link = is_link(others[i]);
        if (stat(others[i], &about[0])) continue;           /* no /proc */
        EXPECT(vae_save(model, others[i], &problem), VAE_ERROR_FILE);
        CHECK_CONTAINS(problem.message, others[i]);
        CHECK_CONTAINS(problem.message, "pipe");
        EXPECT(vae_load(others[i], NULL, &loaded, &problem), VAE_ERROR_FILE);
        CHECK_CONTAINS(problem.message, others[i]);
        CHECK(is_link(others[i]) == link && !stat(others[i], &about[1]));
        CHECK(about[0].st_mode == about[1].st_mode && about[0].st_ino == about[1].st_ino);
    }
    CHECK(!exists(TEMPORARY_FILE) && !loaded);
    close(ends[0]);
    close(ends[1]);
    CHECK(!unlink("pipe") && !unlink("to_pipe") && !unlink("to_null") && !unlink("to_open_pipe") && !rmdir("folder"));
    vae_destroy(model);
}

TEST(test_links_are_followed) {
    vae_model *model = make(4, 1);
    CHECK(make_directory("folder") == 0);
    write_file("old", "old", 3);
    CHECK(symlink("old", "link") == 0 && symlink("link", "chain") == 0 && symlink("../chain", "folder/up") == 0);
    CHECK(symlink("folder/new", "to_new") == 0 && symlink("loop", "pool") == 0 && symlink("pool", "loop") == 0);
    EXPECT(vae_save(model, "folder/up", &problem), VAE_OK);
    CHECK(is_link("link") && is_link("chain") && is_link("folder/up") && !is_link("old"));
    CHECK(has_weights_of(model, "old"));
    EXPECT(vae_save(model, "to_new", &problem), VAE_OK);            /* as fopen would make it */
    CHECK(is_link("to_new") && !is_link("folder/new") && has_weights_of(model, "folder/new"));
    EXPECT(vae_save(model, "loop", &problem), VAE_ERROR_FILE);
    CHECK_CONTAINS(problem.message, "loop");
    CHECK(is_link("loop") && is_link("pool"));
    {   /* an open file, as /dev/stdout after > file; and one whose name is gone */
        char      name[64];
        const int file = open("opened", O_WRONLY | O_CREAT, 0600);
        sprintf(name, "/proc/self/fd/%d", file);
        CHECK(symlink(name, "to_open") == 0);
        if (is_link(name)) {
            EXPECT(vae_save(model, "to_open", &problem), VAE_OK);
            CHECK(is_link("to_open") && has_weights_of(model, "opened"));
            CHECK(unlink("opened") == 0);
            EXPECT(vae_save(model, "to_open", &problem), VAE_ERROR_FILE);
            CHECK(is_link("to_open") && !exists("opened (deleted)"));
        } else CHECK(unlink("opened") == 0);
        close(file);
    }
    CHECK(!unlink("folder/up") && !unlink("folder/new") && !rmdir("folder") && !unlink("old") && !unlink("link"));
    CHECK(!unlink("chain") && !unlink("to_new") && !unlink("loop") && !unlink("pool") && !unlink("to_open"));
    vae_destroy(model);
}

static unsigned mode_of(const char *path) {
    struct stat about;
    return stat(path, &about) ? 0 : (unsigned)about.st_mode & 07777u;
}

TEST(test_mode_and_owner_stay) {
    static const unsigned modes[] = { 0600, 0640, 0644, 0666, 0444, 0400, 0755 };
    vae_model   *model = make(4, 1);
    const mode_t mask = umask(027);
    size_t       i;
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
    CHECK(mode_of(MODEL_FILE) == 0640);                             /* a new one obeys the mask */
    for (i = 0; i < sizeof modes / sizeof *modes; i++) {
        CHECK(chmod(MODEL_FILE, (mode_t)modes[i]) == 0);
        EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
        CHECK(mode_of(MODEL_FILE) == modes[i]);
    }
    CHECK(vaei_first_mode(MODEL_FILE) == 0600 && vaei_first_mode("none") == 0666);     /* while it is written */
    if (geteuid() == 0) {
        struct stat about;
        CHECK(chown(MODEL_FILE, 12345, 23456) == 0 && chmod(MODEL_FILE, 0660) == 0);
        EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
        CHECK(!stat(MODEL_FILE, &about) && about.st_uid == 12345 && about.st_gid == 23456);
        CHECK(mode_of(MODEL_FILE) == 0660);
        /* Who can keep neither gives the group's rights to no other group. */
        CHECK(chmod(".", 0777) == 0 && !setegid(11111) && !seteuid(22222));
        EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
        CHECK(!seteuid(0) && !setegid(0));
        CHECK(!stat(MODEL_FILE, &about) && about.st_uid == 22222 && about.st_gid == 11111);
        CHECK(mode_of(MODEL_FILE) == 0600);
    }
    umask(mask);
    CHECK(remove(MODEL_FILE) == 0);
    vae_destroy(model);
}

/* ---- saving: what is left behind ---- */

TEST(test_unfinished_files) {
    vae_model *model = make(4, 1);
    int        held;
    write_file(TEMPORARY_FILE, "left by a killed one", 20);
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
    CHECK(!exists(TEMPORARY_FILE));
    write_file(TEMPORARY_FILE, "being written", 13);
    write_file(NEXT_TEMPORARY_FILE, "left", 4);
    CHECK((held = open(TEMPORARY_FILE, O_RDWR)) >= 0 && flock(held, LOCK_EX) == 0);
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
    CHECK(holds(TEMPORARY_FILE, "being written") && !exists(NEXT_TEMPORARY_FILE) && has_weights_of(model, MODEL_FILE));
    close(held);
    if (geteuid() == 0) {           /* someone else's may be removed by that one alone */
        CHECK(chown(TEMPORARY_FILE, 12345, 12345) == 0);
        EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
        CHECK(holds(TEMPORARY_FILE, "being written"));
    }
    CHECK(unlink(TEMPORARY_FILE) == 0);
    write_file("mine", "mine", 4);
    CHECK(symlink("mine", TEMPORARY_FILE) == 0 && mkfifo(NEXT_TEMPORARY_FILE, 0600) == 0);
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
    CHECK(is_link(TEMPORARY_FILE) && holds("mine", "mine"));
    CHECK(!unlink(TEMPORARY_FILE) && !unlink(NEXT_TEMPORARY_FILE) && !unlink("mine") && !unlink(MODEL_FILE));
    vae_destroy(model);
}

/* Killed at any time: the file is the old one or the new one, and one more save leaves nothing else. */
TEST(test_killed_saves) {
    enum { KILLS = 40 };
    vae_model *model = make(1500, 1);
    int        i, status, unfinished = 0;
    int64_t    before = vaei_now();
    double     one_save;
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
    one_save = vaei_elapsed(before, vaei_now());
    for (i = 0; i < KILLS; i++) {
        const pid_t child = fork();
        if (!child)
            for (;;) vae_save(model, MODEL_FILE, NULL);
        {
            const int64_t began = vaei_now();
            while (vaei_elapsed(began, vaei_now()) < 0.001 + one_save * (i % 20) / 10) {}
        }
        kill(child, SIGKILL);
        CHECK(waitpid(child, &status, 0) == child);
        unfinished += exists(TEMPORARY_FILE);
        CHECK(!exists(NEXT_TEMPORARY_FILE));
        if (!CHECK(has_weights_of(model, MODEL_FILE))) break;
    }
    CHECK(unfinished > 0);                  /* else nothing was interrupted */
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
    CHECK(!exists(TEMPORARY_FILE) && unlink(MODEL_FILE) == 0);
    vae_destroy(model);
}

TEST(test_saves_at_once) {
    enum { PROCESSES = 4, SAVES = 40 };
    vae_model *model = make(100, 1);
    pid_t      children[PROCESSES];
    int        i, k, status;
    for (i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (!children[i]) {
            for (k = 0; k < SAVES; k++)
                if (vae_save(model, i % 2 ? MODEL_FILE : "other", NULL) != VAE_OK) _exit(3);
            _exit(0);
        }
    }
    for (i = 0; i < PROCESSES; i++) {
        CHECK(waitpid(children[i], &status, 0) == children[i]);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    CHECK(has_weights_of(model, MODEL_FILE) && has_weights_of(model, "other"));
    CHECK(!unlink(MODEL_FILE) && !unlink("other"));
    for (i = 0; i < PROCESSES; i++) {
        char name[32];
        sprintf(name, "vae-unfinished-%d.tmp", i);
        CHECK(!exists(name));
    }
    vae_destroy(model);
}

TEST(test_files_are_not_inherited) {
    int file = VAEI_IO_CREATE("opened", 0600);
    CHECK(file >= 0 && (fcntl(file, F_GETFD) & FD_CLOEXEC));
    close(file);
    file = VAEI_IO_OPEN("opened");
    CHECK(file >= 0 && (fcntl(file, F_GETFD) & FD_CLOEXEC));
    close(file);
    file = vaei_lock("opened");
    CHECK(file == -2 || (file >= 0 && (fcntl(file, F_GETFD) & FD_CLOEXEC)));
    vaei_unlock(file);
    CHECK(unlink("opened") == 0);
}

TEST(test_unusual_directories) {
    vae_model *model = make(4, 1), *loaded = NULL;
    char       back[VAEI_MAX_PATH], path[400];
    if (!getcwd(back, sizeof back)) SKIP("the directory has no name");
    CHECK(make_directory("gone") == 0 && go_to_directory("gone") == 0 && rmdir("../gone") == 0);
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_ERROR_FILE);
    CHECK_CONTAINS(problem.message, MODEL_FILE);
    EXPECT(vae_load(MODEL_FILE, NULL, &loaded, &problem), VAE_ERROR_FILE);
    sprintf(path, "%.300s/" MODEL_FILE, back);              /* an absolute path needs no directory */
    EXPECT(vae_save(model, path, &problem), VAE_OK);
    CHECK(go_to_directory(back) == 0 && has_weights_of(model, MODEL_FILE) && unlink(MODEL_FILE) == 0);
    CHECK(make_directory("unread") == 0 && chmod("unread", 0300) == 0);
    EXPECT(vae_save(model, "unread/m", &problem), VAE_OK);
    CHECK(unlink("unread/m") == 0 && rmdir("unread") == 0);
    vae_destroy(model);
}
#else
TEST(test_pipes_and_devices_stay) { SKIP("written for POSIX"); }
#endif

/* A file without an owner's lock that is older than an hour is nobody's. */
TEST(test_old_unfinished_files) {
    vae_model *model = make(4, 1);
#if defined(_WIN32)
    struct _utimbuf old;
    old.actime = old.modtime = time(NULL) - 4000;
    write_file(TEMPORARY_FILE, "young", 5);
    write_file(NEXT_TEMPORARY_FILE, "old", 3);
    CHECK(_utime(NEXT_TEMPORARY_FILE, &old) == 0);
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
    CHECK(holds(TEMPORARY_FILE, "young") && !exists(NEXT_TEMPORARY_FILE) && has_weights_of(model, MODEL_FILE));
    remove(TEMPORARY_FILE);
#else
    EXPECT(vae_save(model, MODEL_FILE, &problem), VAE_OK);
    CHECK(!exists(TEMPORARY_FILE));
#endif
    CHECK(remove(MODEL_FILE) == 0);
    vae_destroy(model);
}

/* ---- names ---- */

TEST(test_names) {
    vae_model *model = make(4, 1), *loaded = NULL;
    char       name[300];
    size_t     length;
    for (length = 248; length <= 255; length++) {
        memset(name, 'n', length);
        name[length] = 0;
#if defined(_WIN32)
        if (length > 200) continue;         /* there the whole path is limited */
#endif
        if (!EXPECT(vae_save(model, name, &problem), VAE_OK)) break;
        CHECK(has_weights_of(model, name) && remove(name) == 0);
    }
    memset(name, 'n', 256);
    name[256] = 0;
    EXPECT(vae_save(model, name, &problem), VAE_ERROR_FILE);
    CHECK_CONTAINS(problem.message, "nnn...nnn");
    CHECK(!strstr(problem.message, ".tmp") && !exists(TEMPORARY_FILE));
    EXPECT(vae_load(name, NULL, &loaded, &problem), VAE_ERROR_FILE);
    EXPECT(vae_save(model, "none/" MODEL_FILE, &problem), VAE_ERROR_FILE);
    CHECK_CONTAINS(problem.message, "none/" MODEL_FILE);
    CHECK(!strstr(problem.message, ".tmp"));
    {   /* UTF-8, wherever it runs */
        static const char utf8[] = "\xD0\xBC\xD0\xBE\xD0\xB4\xD0\xB5\xD0\xBB\xD1\x8C-\xE6\xA8\xA1.safetensors";
        EXPECT(vae_save(model, utf8, &problem), VAE_OK);
        EXPECT(vae_save(model, utf8, &problem), VAE_OK);
        CHECK(has_weights_of(model, utf8));
#if defined(_WIN32)
        {
            static const wchar_t wide[] = { 0x43C, 0x43E, 0x434, 0x435, 0x43B, 0x44C, '-', 0x6A21, '.', 's', 'a', 'f',
                                            'e', 't', 'e', 'n', 's', 'o', 'r', 's', 0 };
            CHECK(_waccess(wide, 0) == 0 && _wunlink(wide) == 0);
        }
#else
        CHECK(remove(utf8) == 0);
#endif
    }
    vae_destroy(model);
}

/* Long sentences about files with long names: both stay readable, and whole characters stay whole. */
TEST(test_paths_in_sentences) {
    vae_error error;
    char      path[599], text[64];
    vaei_text t;
    size_t    i;
    for (i = 0; i < sizeof path - 1; i++) path[i] = (char)(i % 2 ? 0xA9 : 0xC3);        /* e acute, and again */
    path[sizeof path - 1] = 0;
    for (i = 0; i < 256; i++) {
        memset(error.message, 's', i);
        error.message[i] = 0;
        vaei_in_file(path, VAE_ERROR_FORMAT, &error);
        CHECK(strlen(error.message) <= 255 && strstr(error.message, "...") != NULL);
        CHECK(i < 200 ? strlen(error.message) >= i + 2 + 20 : strlen(error.message) > 220);
        CHECK(vaei_utf8_valid((const unsigned char *)error.message, strlen(error.message)) == strlen(error.message));
    }
    strcpy(error.message, "sentence");
    CHECK(vaei_in_file("m", VAE_ERROR_CONFIG, &error) == VAE_ERROR_CONFIG);
    CHECK_TEXT(error.message, "m: sentence");
    CHECK(vaei_in_file("m", VAE_ERROR_FILE, &error) == VAE_ERROR_FILE);         /* names it already */
    CHECK_TEXT(error.message, "m: sentence");
    CHECK(vaei_in_file("m", VAE_ERROR_CONFIG, NULL) == VAE_ERROR_CONFIG);
    t.bytes = text;
    t.size = sizeof text;
    t.length = 0;
    vaei_put_path(&t, "models/of/today/digits.safetensors", 30);
    vaei_put(&t, 0);
    CHECK_TEXT(text, "models/of...digits.safetensors");
}

/* ---- files of other kinds ---- */

TEST(test_files_of_other_kinds) {
#define ZIP "PK\3\4\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    static const struct { const char *bytes; size_t size; const char *name, *what, *advice; } kinds[] = {
        { ZIP "\x10\0\0\0archive/data.pkl....", 50, "m.pt", "PyTorch", "safetensors.torch.save_file" },
        { "PK\3\4\x2d\0\0\0\0\0\0\0!\0....\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x09\0\x14\0arr_0.npy", 40, "m.npz", ".npz",
          "safetensors.numpy.save_file" },
        { "PK\3\4\x14\0\0\0", 8, "m.zip", "zip archive", "safetensors.torch.save_file" },
        { ZIP "\xFF\xFF\0\0metadata.json", 43, "m.keras", "zip archive", "safetensors" },
        { "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", 21, "old.pt", "PyTorch",
          "safetensors.torch.save_file" },
        { "\x80\x04\x95\x10\0\0\0\0\0\0\0", 11, "m.pkl", "pickle", "safetensors.torch.save_file" },
        { "\x93NUMPY\x01\0v\0{'descr': '<f4'", 24, "m.npy", "NumPy", "safetensors.numpy.save_file" },
        { "\x08\x07\x12\x07pytorch\x1a\x05" "1.9.0", 18, "m.onnx", "ONNX", "safetensors.torch.save_file" },
        { "GGUF\3\0\0\0\x10\0\0\0\0\0\0\0", 16, "m.gguf", "GGUF", "safetensors" },
        { "\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0", 16, "m.h5", "HDF5", "safetensors.numpy.save_file" },
        { "\x1f\x8b\x08\0\0\0\0\0\0\3", 10, "m.gz", "gzip", "unpack" },
        { "t\tx\r\n0\t1\r\n", 10, "rows.tsv", "text, such as a table or JSON", "no safetensors file" },
        { "\xEF\xBB\xBFH\xC3\xB6he;Breite\n1;2\n", 20, "rows.csv", "text, such as", "give a model's file" },
        { "{ \"more or just one\": \"\xE2\x89\xA5 1\" }", 31, "a.json", "text, such as", "give a model's file" }
    };
    vae_model *model = make(4, 1), *loaded = NULL;
    size_t     i, size;
    EXPECT(vae_load_memory("\x80\x01\0\0\0\0\0\0\0{}", 11, NULL, &loaded, &problem), VAE_ERROR_FORMAT);
    CHECK(!strstr(problem.message, "pickle"));              /* there is no protocol 1 in a pickle's header */
    EXPECT(vae_load_memory("rows 1\x7f,2,3", 13, NULL, &loaded, &problem), VAE_ERROR_FORMAT);
    CHECK(!strstr(problem.message, "text"));
    EXPECT(vae_load_memory("rows 1\xff,2,3\0", 14, NULL, &loaded, &problem), VAE_ERROR_FORMAT);
    CHECK(!strstr(problem.message, "text"));
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        write_file(kinds[i].name, kinds[i].bytes, kinds[i].size);
        EXPECT(vae_load(kinds[i].name, NULL, &loaded, &problem), VAE_ERROR_FORMAT);
        CHECK(strstr(problem.message, kinds[i].name) == problem.message);
        CHECK_CONTAINS(problem.message, kinds[i].what);
        CHECK_CONTAINS(problem.message, kinds[i].advice);
        EXPECT(vae_load_weights(model, kinds[i].name, &problem), VAE_ERROR_FORMAT);
        CHECK(strstr(problem.message, kinds[i].name) == problem.message);
        CHECK_CONTAINS(problem.message, kinds[i].what);
        EXPECT(vae_load_memory(kinds[i].bytes, kinds[i].size, NULL, &loaded, &problem), VAE_ERROR_FORMAT);
        CHECK_CONTAINS(problem.message, kinds[i].what);
        for (size = 0; size < kinds[i].size; size++) {      /* cut off anywhere; in memory of just that size */
            unsigned char *cut = (unsigned char *)malloc(size + !size);
            memcpy(cut, kinds[i].bytes, size);
            EXPECT(vae_load_memory(cut, size, NULL, &loaded, &problem), VAE_ERROR_FORMAT);
            free(cut);
        }
        CHECK(remove(kinds[i].name) == 0);
    }
    CHECK(!loaded);
    vae_destroy(model);
#undef ZIP
}

/* A file of many bytes whose header suits nothing here: refused with its header read and no more. */
TEST(test_large_files_are_refused_early) {
    static const char *const headers[] = {
        "{\"model.weight\":{\"dtype\":\"F32\",\"shape\":[400000000],\"data_offsets\":[0,1600000000]}}",
        "{\"__metadata__\":{\"format\":\"pt\"},\"w\":{\"dtype\":\"I64\",\"shape\":[200000000],"
            "\"data_offsets\":[0,1600000000]}}",
        "not JSON at all"
    };
    vae_model       *other = make(4, 1), *model = NULL, *limited = NULL;
    vae_config       whole;
    ledger           limits;
    size_t           i;
    int              given;
    vae_get_config(other, &whole);
    whole.allocator = ledger_allocator(&limits);
    CHECK(vae_create(&whole, &limited, &problem) == VAE_OK);
    limits.largest = (size_t)4 << 20;
    for (i = 0; i < sizeof headers / sizeof *headers; i++)
        for (given = 0; given < 2; given++) {
            const size_t  length = strlen(headers[i]);
            unsigned char first[8] = { 0 };
            vae_config    config;
            ledger        l;
            FILE         *file = fopen(MODEL_FILE, "wb");
            int           k;
            if (!CHECK(file != NULL)) break;
            for (k = 0; k < 8; k++) first[k] = (unsigned char)((uint64_t)length >> (8 * k) & 255);
            fwrite(first, 1, 8, file);
            fwrite(headers[i], 1, length, file);
            CHECK(fseek(file, 1600000000L + (long)length + 7, SEEK_SET) == 0 && fputc(0, file) == 0);     /* a hole */
            CHECK(fclose(file) == 0);
            memset(&config, 0, sizeof config);
            if (given) config = whole;
            config.allocator = ledger_allocator(&l);
            l.largest = (size_t)4 << 20;
            EXPECT(vae_load(MODEL_FILE, &config, &model, &problem),
                   i < 2 && !given ? VAE_ERROR_CONFIG : VAE_ERROR_FORMAT);
            CHECK(strstr(problem.message, MODEL_FILE) == problem.message && !model && l.live == 0);
            EXPECT(vae_load_weights(other, MODEL_FILE, &problem), VAE_ERROR_FORMAT);
            EXPECT(vae_load_matching(limited, MODEL_FILE, NULL, &problem), VAE_ERROR_FORMAT);
        }
    CHECK(remove(MODEL_FILE) == 0);
    vae_destroy(other);
    vae_destroy(limited);
}

/* The last one: the folder can be removed, so it is empty. */
static char folder[64];

TEST(test_nothing_is_left) {
    CHECK(go_to_directory("..") == 0);
    CHECK(remove_directory(folder) == 0);
}

int main(void) {
    sprintf(folder, "test_platform.%ld", process_number());
    make_directory("build");        /* where it is not there */
    if (go_to_directory("build") || make_directory(folder) || go_to_directory(folder)) {
        printf("build/%s cannot be made\n", folder);
        return 1;
    }
    RUN(test_clock);
    RUN(test_flag);
    RUN(test_affinity);
    RUN(test_quota);
    RUN(test_signals_do_not_reach_workers);
    RUN(test_fork);
    RUN(test_pipes_and_devices_stay);
#if defined(HAS_PROCESSES)
    RUN(test_links_are_followed);
    RUN(test_mode_and_owner_stay);
    RUN(test_unfinished_files);
    RUN(test_killed_saves);
    RUN(test_saves_at_once);
    RUN(test_files_are_not_inherited);
    RUN(test_unusual_directories);
#endif
    RUN(test_old_unfinished_files);
    RUN(test_names);
    RUN(test_paths_in_sentences);
    RUN(test_files_of_other_kinds);
    RUN(test_large_files_are_refused_early);
    RUN(test_nothing_is_left);
    return test_finish();
}
