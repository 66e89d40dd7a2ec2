/* Saving on a disk that fails (disk.h): every operation of a save fails in turn, in every way, and at every operation
   the power may fail. The file is then the old one or the new one, whole; where the save said VAE_OK it is the new
   one. */
#if defined(__unix__) || defined(__APPLE__)
#define _GNU_SOURCE                 /* before any header: readlink, fchmod, ... */
#include "disk.h"
#undef __STRICT_ANSI__              /* vae.h would declare them itself, past disk.h */
#define HAS_DISK 1
#endif
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "ledger.h"
#include "test.h"

#ifdef HAS_DISK
#define TEMPORARY "vae-unfinished-0.tmp"

enum { MOST_FILE = DISK_BYTES };
typedef struct content { size_t size; unsigned char bytes[MOST_FILE]; } content;

static vae_error     problem;
static vae_model    *model;
static content        old_file, new_file, checkpoint_file; /* what is there before; what vae_save and the other write */
static const content *wanted;                                   /* of the latter two */

static vae_model *make(int units) {
    vae_config config;
    vae_model *made = NULL;
    vae_real   pixels[4 * 6];
    vae_data   data;
    int        i;
    memset(&config, 0, sizeof config);
    memset(&data, 0, sizeof data);
    config.input.height = config.input.channels = 1;
    config.input.width = 6;
    config.latent = 1;
    config.batch = 4;
    config.encoder[0] = VAE_DENSE(units, VAE_RELU);
    for (i = 0; i < 24; i++) pixels[i] = (vae_real)(i % 5) / 4;
    data.pixels = pixels;
    data.count = 4;
    if (!CHECK(vae_create(&config, &made, &problem) == VAE_OK && vae_train_step(made, &data, NULL, &problem) == VAE_OK))
        exit(1);
    return made;
}

static void keep(const vae_model *of, int checkpoint, content *file) {
    CHECK(vae_save_memory(of, checkpoint, file->bytes, MOST_FILE, &file->size, &problem) == VAE_OK);
}

static int is_content(const unsigned char *bytes, size_t size, const content *file) {
    return bytes && size == file->size && !memcmp(bytes, file->bytes, size);
}

/* ---- one save ---- */

typedef struct place {
    const char *path, *target;          /* what is saved to; the file that it leads to */
    int         has_old, checkpoint;
} place;
static const place *at;
static int          cuts_wrong;         /* before how many operations a power cut would have lost the file */

static int is_old(const unsigned char *bytes, size_t size) {
    return at->has_old ? is_content(bytes, size, &old_file) : !bytes;
}
static int is_new(const unsigned char *bytes, size_t size) { return is_content(bytes, size, wanted); }
static int is_either(const unsigned char *bytes, size_t size) { return is_old(bytes, size) || is_new(bytes, size); }

static void cut_power(void) { cuts_wrong += !disk_after_power_cut(at->target, is_either); }

/* What programs see now. */
static int sees(int (*good)(const unsigned char *, size_t)) {
    const int node = disk_look_up(disk.names, at->target);
    return node < 0 ? good(NULL, 0) : good(disk.nodes[node].bytes, disk.nodes[node].size);
}

static void begin(const place *p) {
    disk_begin();
    at = p;
    wanted = p->checkpoint ? &checkpoint_file : &new_file;
    disk_make(".", DISK_FOLDER, 0700, NULL, 0);
    disk_make("folder", DISK_FOLDER, 0700, NULL, 0);
    if (strcmp(p->path, p->target)) {
        disk_make(p->path, DISK_LINK, 0777, "step", 0);
        disk_make("step", DISK_LINK, 0777, "folder/m", 0);
    }
    if (p->has_old) disk_make(p->target, DISK_FILE, 0600, old_file.bytes, old_file.size);
    cuts_wrong = 0;
    disk.before_each = cut_power;
}

static vae_status save(void) {
    memset(&problem, 0, sizeof problem);
    return at->checkpoint ? vae_save_checkpoint(model, at->path, &problem) : vae_save(model, at->path, &problem);
}

/* The names in the folder of the target that a save has left. */
static int left_behind(void) {
    int i, count = 0;
    for (i = 0; i < DISK_NAMES; i++)
        count += disk.names[i].node >= 0 && strstr(disk.names[i].path, "vae-unfinished") != NULL;
    return count;
}

/* A folder that this process may not read cannot be flushed: there a save goes as far as it can. */
static int is_unflushable(void) { return disk.reason == EACCES && disk.failed && !strcmp(disk.failed, "open"); }

/* Whether a failing clean-up, or a file of which the system did not say that it was made, excuses what is left. */
static int may_leave(void) {
    return disk.failed && (!strcmp(disk.failed, "unlink") || (!strcmp(disk.failed, "create") && disk.late) ||
                           !strcmp(disk.failed, "fstat") || !strcmp(disk.failed, "stat"));
}

static void explain(const char *what) {
    printf("    %s: operation %ld (%s %s) failed with %s%s%s: %s\n", what, disk.fail_at,
           disk.failed ? disk.failed : "none", disk.failed_path, disk.reason ? strerror(disk.reason) : "nothing",
           disk.late ? ", after it was done" : "", disk.for_good ? ", for good" : "", problem.message);
}

/* Everything that has to hold after a save, and after one more on a disk that works. */
static void check_save(vae_status status) {
    const int node = disk_look_up(disk.names, at->target);
    if (!CHECK(!cuts_wrong)) explain("a power cut during the save lost the file");
    if (status == VAE_OK) {
        if (!CHECK(sees(is_new))) explain("VAE_OK without the new file");
        if (!is_unflushable() && !CHECK(disk_after_power_cut(at->target, is_new))) explain("VAE_OK was not durable");
    } else {
        if (!CHECK(status == VAE_ERROR_FILE && problem.status == status && strlen(problem.message) > 10))
            explain("status");
        if (!CHECK(sees(is_either))) explain("neither file is there");
        if (!CHECK(disk_after_power_cut(at->target, is_either))) explain("a power cut after the save lost the file");
    }
    if (!CHECK(disk_open_handles() == 0)) explain("files are still open");
    if (!may_leave() && !CHECK(left_behind() == 0)) explain("something was left behind");
    if (!CHECK(left_behind() <= 1)) explain("much was left behind");
    if (at->has_old && !CHECK(node >= 0 && !(disk.nodes[node].mode & ~0600u))) explain("others may read it now");
    disk.fail_at = 0;
    disk.before_each = NULL;
    if (!CHECK(save() == VAE_OK && sees(is_new) && disk_after_power_cut(at->target, is_new))) explain("the next save");
    if (!CHECK(left_behind() == 0 && disk_open_handles() == 0)) explain("the next save left something");
}

static long fail_in_turn(const place *p, int reason, int late, int for_good, int interrupts, size_t piece) {
    vae_status status;
    long       fail_at = 0, operations = 1;
    for (fail_at = 0; fail_at <= operations; fail_at++) {
        begin(p);
        disk.fail_at = fail_at;
        disk.reason = reason;
        disk.late = late;
        disk.for_good = for_good;
        disk.interrupts = interrupts;
        disk.piece = piece;
        status = save();
        if (!fail_at) {
            CHECK(status == VAE_OK);
            operations = disk.operation;
        }
        check_save(status);
        if (test_state.failures > TEST_SHOWN_FAILURES) break;
    }
    return operations;
}

static const place places[] = {
    { "m", "m", 1, 0 }, { "m", "m", 0, 1 }, { "folder/m", "folder/m", 1, 1 }, { "link", "folder/m", 1, 0 },
    { "link", "folder/m", 0, 0 }
};
enum { PLACES = (int)(sizeof places / sizeof *places) };

TEST(test_every_operation_fails) {
    static const int reasons[] = { EIO, ENOSPC, EINTR, EACCES, EMFILE, ENFILE, EROFS, EDQUOT, ENOMEM, 0 };
    size_t           i, k;
    long             faults = 0;
    int              late, for_good;
    for (i = 0; i < PLACES; i++)
        for (k = 0; k < sizeof reasons / sizeof *reasons; k++)
            for (late = 0; late < 2; late++)
                for (for_good = 0; for_good < 2; for_good++) {
                    /* What is interrupted has not been done; with no end to it, saving waits. */
                    if (reasons[k] == EINTR && (late || for_good)) continue;
                    faults += fail_in_turn(&places[i], reasons[k], late, for_good, 0, k % 2 ? 300 : 0);
                }
    printf("  %ld faults, each with a power cut before every operation\n", faults);
    CHECK(faults > 2000);
}

TEST(test_short_and_interrupted_writes) {
    long faults = 0;
    faults += fail_in_turn(&places[0], EIO, 0, 0, 1, 0);
    faults += fail_in_turn(&places[1], ENOSPC, 0, 1, 1, 100);
    faults += fail_in_turn(&places[2], EIO, 0, 0, 0, 7);
    CHECK(faults > 300);
}

/* ---- where no file can be made ---- */

TEST(test_folder_that_may_not_be_written) {
    begin(&places[2]);
    disk.nodes[disk_look_up(disk.names, "folder")].mode = 0500;
    CHECK(save() == VAE_ERROR_FILE && sees(is_old));
    CHECK_CONTAINS(problem.message, strerror(EACCES));
    CHECK(disk_open_handles() == 0 && left_behind() == 0);
}

/* Not replaced, whatever fails: what is asked about them may not be answered. */
TEST(test_what_is_no_file_stays) {
    static const int   kinds[] = { DISK_FOLDER, DISK_PIPE, DISK_DEVICE };
    static const place special = { "m", "m", 0, 0 };
    size_t             k;
    long               fail_at, operations = 1;
    for (k = 0; k < 3; k++)
        for (fail_at = 0; fail_at <= operations; fail_at++) {
            int node;
            begin(&special);
            disk.before_each = NULL;
            node = disk_make("m", kinds[k], 0600, NULL, 0);
            disk.fail_at = fail_at;
            disk.reason = EIO;
            if (!CHECK(save() == VAE_ERROR_FILE && disk_look_up(disk.names, "m") == node && left_behind() == 0))
                explain("it was replaced");
            operations = disk.operation;
        }
}

/* A name for the temporary file that is taken: by a link, which is not followed, a folder, a save that is under way. */
TEST(test_temporary_names_that_are_taken) {
    static const place here = { "m", "m", 1, 0 };
    int                handle, victim;
    begin(&here);
    victim = disk_make("victim", DISK_FILE, 0600, "mine", 4);
    disk_make(TEMPORARY, DISK_LINK, 0777, "victim", 0);
    disk_make("vae-unfinished-1.tmp", DISK_FOLDER, 0700, NULL, 0);
    disk_make("vae-unfinished-2.tmp", DISK_FILE, 0600, "written", 7);
    disk_make("vae-unfinished-3.tmp", DISK_FILE, 0600, "stale", 5);
    handle = disk_open("vae-unfinished-2.tmp", O_RDWR);
    CHECK(disk_flock(handle, LOCK_EX) == 0);
    CHECK(save() == VAE_OK && sees(is_new) && !cuts_wrong);
    CHECK(disk.nodes[victim].size == 4 && !memcmp(disk.nodes[victim].bytes, "mine", 4));
    CHECK(disk_look_up(disk.names, TEMPORARY) >= 0 && disk_look_up(disk.names, "vae-unfinished-1.tmp") >= 0);
    CHECK(disk_look_up(disk.names, "vae-unfinished-2.tmp") >= 0 &&
          disk_look_up(disk.names, "vae-unfinished-3.tmp") < 0);
    disk_close(handle);
    CHECK(disk_open_handles() == 0);
}

/* ---- loading ---- */

enum { LOAD, LOAD_WEIGHTS, LOAD_MATCHING, LOADS };

static void check_load(int call, ledger *l) {
    vae_model  *loaded = NULL, *other = NULL;
    content     before, after;
    vae_config  config;
    vae_status  status;
    vae_model  *into = call == LOAD ? NULL : (other = make(3));
    memset(&config, 0, sizeof config);
    config.allocator = ledger_allocator(l);
    if (into) keep(into, 1, &before);
    memset(&problem, 0, sizeof problem);
    status = call == LOAD           ? vae_load("m", &config, &loaded, &problem)
             : call == LOAD_WEIGHTS ? vae_load_weights(into, "m", &problem)
                                    : vae_load_matching(into, "m", NULL, &problem);
    if (status == VAE_OK) {
        keep(call == LOAD ? loaded : into, 0, &after);
        CHECK(is_content(after.bytes, after.size, &new_file));
    } else {
        if (!CHECK(status == VAE_ERROR_FILE && problem.status == status && !loaded)) explain("loading");
        if (into) {
            keep(into, 1, &after);
            CHECK(is_content(after.bytes, after.size, &before));
        }
    }
    CHECK(disk_open_handles() == 0);
    vae_destroy(loaded);
    vae_destroy(other);
    CHECK(l->live == 0 && !l->mismatched);
}

TEST(test_every_read_fails) {
    static const int   reasons[] = { EIO, EINTR, EACCES, 0 };
    static const place here = { "m", "m", 0, 0 };
    ledger             l;
    size_t             k;
    long               fail_at, operations = 1;
    int                call, late;
    for (call = 0; call < LOADS; call++)
        for (k = 0; k < sizeof reasons / sizeof *reasons; k++)
            for (late = 0; late < 2; late++)
                for (fail_at = 0; fail_at <= operations; fail_at++) {
                    begin(&here);
                    disk_make("m", DISK_FILE, 0600, new_file.bytes, new_file.size);
                    disk.before_each = NULL;
                    disk.fail_at = fail_at;
                    disk.reason = reasons[k];
                    disk.late = late;
                    disk.interrupts = (int)k & 1;
                    disk.piece = k & 2 ? 100 : 0;
                    if (late && reasons[k] == EINTR) continue;
                    check_load(call, &l);
                    operations = disk.operation;
                }
}
#endif

int main(void) {
#ifdef HAS_DISK
    vae_model *old_model = make(2);
    model = make(3);
    keep(old_model, 0, &old_file);
    keep(model, 0, &new_file);
    keep(model, 1, &checkpoint_file);
    RUN_LONG(test_every_operation_fails, "every call of a save to the system fails, in ten ways");
    RUN(test_short_and_interrupted_writes);
    RUN(test_folder_that_may_not_be_written);
    RUN(test_what_is_no_file_stays);
    RUN(test_temporary_names_that_are_taken);
    RUN(test_every_read_fails);
    {
        content after;
        keep(model, 1, &after);
        CHECK(is_content(after.bytes, after.size, &checkpoint_file));
    }
    vae_destroy(old_model);
    vae_destroy(model);
#else
    printf("SKIPPED: the disk that fails is written for POSIX\n");
#endif
    return test_finish();
}
