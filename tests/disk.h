/* disk.h - a disk in memory in place of the operating system's, for tests of saving. Included before vae.h, it gives
   the POSIX calls that vae.h makes another meaning. Each of them is one operation: it may fail, be interrupted or take
   less than was asked for. Before each, and whenever asked, the power may fail: `disk_after_power_cut` tells whether
   the file is whole in every state in which the disk may then be found.

   What a power cut leaves: of a file that was not flushed since it was written either the flushed bytes, all the new
   ones, half of them, or zeros in their place; of the names that were made, moved or removed in a directory since that
   was flushed any of the changes and not the others, for no standard gives them an order. */
#ifndef DISK_H
#define DISK_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { DISK_NODES = 24, DISK_NAMES = 24, DISK_HANDLES = 16, DISK_BYTES = 8192, DISK_PENDING = 10, DISK_PATH = 96 };
enum { DISK_FREE, DISK_FILE, DISK_FOLDER, DISK_LINK, DISK_PIPE, DISK_DEVICE };

typedef struct disk_node {
    int           kind;
    unsigned      mode, user, group;
    size_t        size, kept_size;                          /* kept: what has been flushed */
    unsigned char bytes[DISK_BYTES], kept[DISK_BYTES];
    char          link[DISK_PATH];
    int           lost;             /* a flush failed: what was written until then will never reach the disk */
} disk_node;

typedef struct disk_name { char path[DISK_PATH]; int node; } disk_name;         /* node -1: no such name */
typedef struct disk_change { char from[DISK_PATH], to[DISK_PATH]; int node; } disk_change;      /* either may be "" */

static struct {
    disk_node   nodes[DISK_NODES];
    disk_name   names[DISK_NAMES], kept[DISK_NAMES];        /* as programs see them, and as flushed */
    disk_change pending[DISK_PENDING];
    int         changes;
    struct { int node, locked; size_t at; } handles[DISK_HANDLES];              /* node -1: free */
    /* what goes wrong */
    long        operation, fail_at;         /* that operation fails, counted from 1; 0: none */
    int         reason;                     /* for this errno; 0 of a read or write: it gives 0 bytes */
    int         late;                       /* it reports the failure after it has been done */
    int         for_good;                   /* later operations of the same name fail, too */
    int         interrupts;                 /* every other call is interrupted first */
    size_t      piece;                      /* the most bytes that are taken at once; 0: all */
    int         interrupted;
    const char *failed;                     /* the name of the operation that did */
    char        failed_path[DISK_PATH];
    void      (*before_each)(void);         /* called before each operation */
} disk;

static void disk_begin(void) {
    size_t i;
    memset(&disk, 0, sizeof disk);
    for (i = 0; i < DISK_HANDLES; i++) disk.handles[i].node = -1;
    for (i = 0; i < DISK_NAMES; i++) disk.names[i].node = disk.kept[i].node = -1;
}

static void disk_impossible(const char *what) {
    printf("disk.h: %s\n", what);
    exit(1);
}

static int disk_open_handles(void) {
    int i, count = 0;
    for (i = 0; i < DISK_HANDLES; i++) count += disk.handles[i].node >= 0;
    return count;
}

/* ---- names ---- */

static int disk_look_up(const disk_name *names, const char *path) {
    int i;
    for (i = 0; i < DISK_NAMES; i++)
        if (names[i].node >= 0 && !strcmp(names[i].path, path)) return names[i].node;
    return -1;
}

static void disk_set(disk_name *names, const char *path, int node) {
    int i, free_one = -1;
    for (i = 0; i < DISK_NAMES; i++) {
        if (names[i].node < 0) free_one = i;
        else if (!strcmp(names[i].path, path)) break;
    }
    if (i == DISK_NAMES) {
        if (node < 0) return;
        if ((i = free_one) < 0) disk_impossible("too many names");
        strcpy(names[i].path, path);
    }
    names[i].node = node;
}

/* "." for a name without a folder. */
static void disk_folder_of(const char *path, char *folder) {
    const char *slash = strrchr(path, '/');
    if (!slash) strcpy(folder, ".");
    else sprintf(folder, "%.*s", (int)(slash - path), path);
}

/* The end of the links that begin at `path`. Returns 0, or an errno. */
static int disk_follow(const char *path, char *target) {
    int links, node;
    if (strlen(path) >= DISK_PATH) return ENAMETOOLONG;
    strcpy(target, path);
    for (links = 0; links < 8; links++) {
        char folder[DISK_PATH], next[2 * DISK_PATH];
        node = disk_look_up(disk.names, target);
        if (node < 0 || disk.nodes[node].kind != DISK_LINK) return 0;
        disk_folder_of(target, folder);
        sprintf(next, "%s%s%s", strcmp(folder, ".") ? folder : "", strcmp(folder, ".") ? "/" : "",
                disk.nodes[node].link);
        if (strlen(next) >= DISK_PATH) return ENAMETOOLONG;
        strcpy(target, next);
    }
    return ELOOP;
}

static void disk_change_name(const char *from, const char *to, int node) {
    disk_change *change = &disk.pending[disk.changes];
    if (disk.changes++ == DISK_PENDING) disk_impossible("too many changes of names");
    strcpy(change->from, from);
    strcpy(change->to, to);
    change->node = node;
    if (*from) disk_set(disk.names, from, -1);
    if (*to) disk_set(disk.names, to, node);
}

static void disk_make_change(disk_name *names, const disk_change *change) {
    if (*change->from && disk_look_up(names, change->from) == change->node) disk_set(names, change->from, -1);
    if (*change->to) disk_set(names, change->to, change->node);
}

/* Something that has always been there. */
static int disk_make(const char *path, int kind, unsigned mode, const void *bytes, size_t size) {
    int i;
    for (i = 0; i < DISK_NODES && disk.nodes[i].kind != DISK_FREE; i++) {}
    if (i == DISK_NODES || size > DISK_BYTES) disk_impossible("too many files");
    memset(&disk.nodes[i], 0, sizeof disk.nodes[i]);
    disk.nodes[i].kind = kind;
    disk.nodes[i].mode = mode;
    if (kind == DISK_LINK) strcpy(disk.nodes[i].link, (const char *)bytes);
    else if (size) {
        memcpy(disk.nodes[i].bytes, bytes, size);
        memcpy(disk.nodes[i].kept, bytes, size);
    }
    disk.nodes[i].size = disk.nodes[i].kept_size = size;
    disk_set(disk.names, path, i);
    disk_set(disk.kept, path, i);
    return i;
}

/* ---- the power fails ---- */

enum { DISK_VARIANTS = 4 };
/* The bytes of a file as the cut may leave them. Returns how many. */
static size_t disk_bytes_after(const disk_node *node, int variant, unsigned char *bytes) {
    const size_t size = variant == 0 || node->lost ? node->kept_size : variant == 1 ? node->size / 2 : node->size;
    if (variant == 3 && !node->lost) memset(bytes, 0, size);
    else memcpy(bytes, variant == 0 || node->lost ? node->kept : node->bytes, size);
    return size;
}

/* Calls `good` with the content of `path` (bytes NULL: no such file) in every state that a cut may leave; returns
   whether it was always nonzero. `path` is no link. */
static int disk_after_power_cut(const char *path, int (*good)(const unsigned char *bytes, size_t size)) {
    static unsigned char bytes[DISK_BYTES];
    unsigned             subset;
    int                  i, variant;
    for (subset = 0; subset < 1u << disk.changes; subset++) {
        disk_name names[DISK_NAMES];
        int       node;
        memcpy(names, disk.kept, sizeof names);
        for (i = 0; i < disk.changes; i++) if (subset >> i & 1u) disk_make_change(names, &disk.pending[i]);
        node = disk_look_up(names, path);
        if (node < 0) {
            if (!good(NULL, 0)) return 0;
            continue;
        }
        for (variant = 0; variant < DISK_VARIANTS; variant++) {
            const disk_node *of = &disk.nodes[node];
            const int        is_flushed = of->size == of->kept_size && !memcmp(of->bytes, of->kept, of->size);
            if (variant && is_flushed) break;
            if (!good(bytes, disk_bytes_after(of, variant, bytes))) return 0;
        }
    }
    return 1;
}

/* ---- operations: each begins with disk_begins, which says that it fails, and ends with disk_ends ---- */

static int disk_is_failing(const char *name) {
    return disk.fail_at && (disk.operation == disk.fail_at ||
                            (disk.for_good && disk.operation > disk.fail_at && disk.failed &&
                             !strcmp(disk.failed, name)));
}

static int disk_begins(const char *name, const char *path, int may_interrupt) {
    if (disk.before_each) disk.before_each();
    disk.operation++;
    disk.interrupted = may_interrupt && disk.interrupts && !disk.interrupted;
    if (disk_is_failing(name)) {
        if (disk.operation == disk.fail_at) {
            disk.failed = name;
            sprintf(disk.failed_path, "%.*s", DISK_PATH - 1, path);
        }
        if (disk.late) return 0;
        errno = disk.reason;
        return 1;
    }
    if (disk.interrupted) errno = EINTR;
    return disk.interrupted;
}

static int disk_ends(const char *name, int result) {
    if (!disk_is_failing(name) || !disk.late || result < 0) return result;
    errno = disk.reason;
    return -1;
}

static int disk_says(int reason) {
    if (reason) errno = reason;
    return reason ? -1 : 0;
}

static int disk_handle_of(int node) {
    int i;
    for (i = 0; i < DISK_HANDLES; i++)
        if (disk.handles[i].node < 0) {
            disk.handles[i].node = node;
            disk.handles[i].at = 0;
            disk.handles[i].locked = 0;
            return i + 100;
        }
    disk_impossible("too many open files");
    return -1;
}

static disk_node *disk_node_of(int handle) { return &disk.nodes[disk.handles[handle - 100].node]; }

static int disk_may(const disk_node *node, unsigned bit) { return (node->mode & bit) != 0; }

static int disk_open(const char *path, int flags, ...) {
    const char *name = flags & O_CREAT ? "create" : "open";
    char        target[DISK_PATH], folder[DISK_PATH];
    int         node, in, handle;
    if (disk_begins(name, path, 1)) return -1;
    if (flags & (O_EXCL | O_NOFOLLOW) ? strlen(path) >= DISK_PATH : disk_says(disk_follow(path, target)) != 0)
        return flags & (O_EXCL | O_NOFOLLOW) ? disk_says(ENAMETOOLONG) : -1;
    if (flags & (O_EXCL | O_NOFOLLOW)) strcpy(target, path);
    node = disk_look_up(disk.names, target);
    disk_folder_of(target, folder);
    in = disk_look_up(disk.names, folder);
    if (node >= 0 && flags & O_EXCL) return disk_says(EEXIST);
    if (node >= 0 && disk.nodes[node].kind == DISK_LINK) return disk_says(ELOOP);
    if (node < 0 && !(flags & O_CREAT)) return disk_says(ENOENT);
    if (node < 0) {
        unsigned mode = 0;
        va_list  list;
        va_start(list, flags);
        mode = (unsigned)va_arg(list, int) & ~022u;
        va_end(list);
        if (in < 0) return disk_says(ENOENT);
        if (!disk_may(&disk.nodes[in], 0200)) return disk_says(EACCES);
        for (node = 0; node < DISK_NODES && disk.nodes[node].kind != DISK_FREE; node++) {}
        if (node == DISK_NODES) disk_impossible("too many files");
        memset(&disk.nodes[node], 0, sizeof disk.nodes[node]);
        disk.nodes[node].kind = DISK_FILE;
        disk.nodes[node].mode = mode;
        disk_change_name("", target, node);
    } else if (disk.nodes[node].kind == DISK_FOLDER && (flags & O_ACCMODE) != O_RDONLY) return disk_says(EISDIR);
    else if (!disk_may(&disk.nodes[node], (flags & O_ACCMODE) == O_RDONLY ? 0400 : 0600)) return disk_says(EACCES);
    if (disk_ends(name, 0)) return -1;
    handle = disk_handle_of(node);
    return handle;
}

static long disk_transfer(const char *name, int handle, unsigned char *to, const unsigned char *from, size_t size) {
    disk_node *node = disk_node_of(handle);
    size_t    *at = &disk.handles[handle - 100].at, count = disk.piece && size > disk.piece ? disk.piece : size;
    if (disk_begins(name, "", 1)) return disk.interrupted || disk.reason ? -1 : 0;
    if (to) {
        if (count > node->size - *at) count = node->size - *at;
        memcpy(to, node->bytes + *at, count);
    } else {
        if (*at + count > DISK_BYTES) disk_impossible("too large a file");
        memcpy(node->bytes + *at, from, count);
        if (*at + count > node->size) node->size = *at + count;
    }
    *at += count;
    return disk_ends(name, 0) ? -1 : (long)count;
}
static long disk_read(int handle, void *to, size_t size) {
    return disk_transfer("read", handle, (unsigned char *)to, NULL, size);
}
static long disk_write(int handle, const void *from, size_t size) {
    return disk_transfer("write", handle, NULL, (const unsigned char *)from, size);
}

static int disk_fsync(int handle) {
    disk_node *node = disk_node_of(handle);
    const int  is_folder = node->kind == DISK_FOLDER;
    int        i, kept = 0;
    const char *name = is_folder ? "flush the folder" : "flush";
    if (disk_begins(name, "", 1)) {
        if (errno != EINTR && !is_folder) node->lost = 1;
        return -1;
    }
    if (!is_folder) {
        if (node->lost) return disk_ends(name, 0);          /* once is all that a system says it */
        memcpy(node->kept, node->bytes, node->size);
        node->kept_size = node->size;
        return disk_ends(name, 0);
    }
    for (i = 0; i < disk.changes; i++) {
        char folder[DISK_PATH];
        disk_folder_of(*disk.pending[i].to ? disk.pending[i].to : disk.pending[i].from, folder);
        if (disk_look_up(disk.names, folder) == disk.handles[handle - 100].node)
            disk_make_change(disk.kept, &disk.pending[i]);
        else disk.pending[kept++] = disk.pending[i];
    }
    disk.changes = kept;
    return disk_ends(name, 0);
}

static int disk_close(int handle) {
    const int fails = disk_begins("close", "", 0);          /* it is closed even so */
    disk.handles[handle - 100].node = -1;
    return fails ? -1 : disk_ends("close", 0);
}

static long disk_lseek(int handle, long at, int whence) {
    if (disk_begins("lseek", "", 0)) return -1;
    disk.handles[handle - 100].at = (whence == SEEK_END ? disk_node_of(handle)->size : 0) + (size_t)at;
    return disk_ends("lseek", 0) ? -1 : (long)disk.handles[handle - 100].at;
}

static int disk_rename(const char *from, const char *to) {
    int node, over;
    if (disk_begins("rename", from, 0)) return -1;
    node = disk_look_up(disk.names, from);
    over = disk_look_up(disk.names, to);
    if (node < 0) return disk_says(ENOENT);
    if (over >= 0 && disk.nodes[over].kind == DISK_FOLDER) return disk_says(EISDIR);
    disk_change_name(from, to, node);
    return disk_ends("rename", 0);
}

static int disk_unlink(const char *path) {
    int node;
    if (disk_begins("unlink", path, 0)) return -1;
    node = disk_look_up(disk.names, path);
    if (node < 0) return disk_says(ENOENT);
    disk_change_name(path, "", node);
    return disk_ends("unlink", 0);
}

static int disk_describe(const char *name, int node, struct stat *about) {
    static const mode_t kinds[] = { 0, S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR };
    if (node < 0) return disk_says(ENOENT);
    memset(about, 0, sizeof *about);
    about->st_mode = kinds[disk.nodes[node].kind] | (mode_t)disk.nodes[node].mode;
    about->st_ino = (ino_t)node + 1;
    about->st_uid = (uid_t)disk.nodes[node].user;
    about->st_gid = (gid_t)disk.nodes[node].group;
    about->st_size = (off_t)disk.nodes[node].size;
    return disk_ends(name, 0);
}
static int disk_stat(const char *path, struct stat *about) {
    char target[DISK_PATH];
    if (disk_begins("stat", path, 0)) return -1;
    if (disk_says(disk_follow(path, target))) return -1;
    return disk_describe("stat", disk_look_up(disk.names, target), about);
}
static int disk_fstat(int handle, struct stat *about) {
    if (disk_begins("fstat", "", 0)) return -1;
    return disk_describe("fstat", disk.handles[handle - 100].node, about);
}

static long disk_readlink(const char *path, char *text, size_t size) {
    int node;
    if (disk_begins("readlink", path, 0)) return -1;
    node = disk_look_up(disk.names, path);
    if (node < 0 || disk.nodes[node].kind != DISK_LINK) return disk_says(node < 0 ? ENOENT : EINVAL);
    if (strlen(disk.nodes[node].link) < size) size = strlen(disk.nodes[node].link);
    memcpy(text, disk.nodes[node].link, size);
    return disk_ends("readlink", 0) ? -1 : (long)size;
}

static int disk_fchmod(int handle, mode_t mode) {
    if (disk_begins("fchmod", "", 0)) return -1;
    disk_node_of(handle)->mode = (unsigned)mode;
    return disk_ends("fchmod", 0);
}
static int disk_fchown(int handle, uid_t user, gid_t group) {
    if (disk_begins("fchown", "", 0)) return -1;
    if (user != (uid_t)-1) disk_node_of(handle)->user = (unsigned)user;
    if (group != (gid_t)-1) disk_node_of(handle)->group = (unsigned)group;
    return disk_ends("fchown", 0);
}

static int disk_flock(int handle, int operation) {
    int i;
    (void)operation;
    if (disk_begins("lock", "", 1)) return -1;
    for (i = 0; i < DISK_HANDLES; i++)
        if (disk.handles[i].locked && disk.handles[i].node == disk.handles[handle - 100].node)
            return disk_says(EWOULDBLOCK);
    disk.handles[handle - 100].locked = 1;
    return disk_ends("lock", 0);
}

#undef open
#undef stat
#undef fstat
#define open(...) disk_open(__VA_ARGS__)
#define read(handle, to, size) disk_read(handle, to, size)
#define write(handle, from, size) disk_write(handle, from, size)
#define fsync(handle) disk_fsync(handle)
#define close(handle) disk_close(handle)
#define lseek(handle, at, whence) disk_lseek(handle, at, whence)
#define rename(from, to) disk_rename(from, to)
#define unlink(path) disk_unlink(path)
#define stat(path, about) disk_stat(path, about)
#define fstat(handle, about) disk_fstat(handle, about)
#define readlink(path, text, size) disk_readlink(path, text, size)
#define fchmod(handle, mode) disk_fchmod(handle, mode)
#define fchown(handle, user, group) disk_fchown(handle, user, group)
#define flock(handle, operation) disk_flock(handle, operation)
#define geteuid() ((uid_t)0)

#endif
