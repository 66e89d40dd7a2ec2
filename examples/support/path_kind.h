/* path_kind.h - what there is at a path. */
#ifndef PATH_KIND_H
#define PATH_KIND_H

#include <errno.h>
#include <sys/stat.h>

typedef enum path_kind {
    PATH_NOTHING,
    PATH_FILE,
    PATH_FOLDER,
    PATH_DEVICE,    /* or a pipe */
    PATH_UNKNOWN    /* such as in a folder that may not be entered */
} path_kind;

static inline path_kind path_kind_of(const char *path) {
    struct stat there;
    if (stat(path, &there) != 0) return errno == ENOENT || errno == ENOTDIR ? PATH_NOTHING : PATH_UNKNOWN;
    return S_ISREG(there.st_mode) ? PATH_FILE : S_ISDIR(there.st_mode) ? PATH_FOLDER : PATH_DEVICE;
}

#endif
