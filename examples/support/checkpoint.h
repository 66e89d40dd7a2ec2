/* checkpoint.h - a checkpoint, or a trained model, and whether it is of these data.

   A checkpoint does not hold what it was trained on. With other data, training would go on without a word and overwrite
   what was learned before. So PATH.data, a line of text beside it, tells how many images there were, the hash of their
   pixels and where they lay; a checkpoint without that line is taken for one of these data. A checkpoint that a new
   training replaces is kept as PATH.before: who forgot --resume has lost nothing.
   Calls return 0, or -1 with one sentence in `message`. */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "message.h"
#include "path_kind.h"

typedef struct checkpoint {
    const char   *path, *option;        /* what names it on the command line, such as "--out" */
    const char   *what, *where;         /* such as "pictures", and their folder */
    const char   *anew;                 /* what to do for a new one */
    unsigned long count;
    char          hash[17], mark[1200]; /* the mark: the path of the line of text */
    int           sized;                /* nonzero: an option --size makes the images as large as it says */
    int           marked;               /* nonzero: the line has been written */
    int           resumed;              /* nonzero: what is at the path is an earlier state of this training */
} checkpoint;

/* `count` images of `size` bytes each. The hash is FNV-1a, of 64 bits. */
static inline void checkpoint_begin(checkpoint *c, const char *path, const char *option, const char *what,
                                    const char *where, const unsigned char *bytes, size_t count, size_t size) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    size_t   i;
    memset(c, 0, sizeof *c);
    c->path = path;
    c->option = option;
    c->what = what;
    c->where = where;
    c->anew = "leave out --resume";
    c->count = (unsigned long)count;
    snprintf(c->mark, sizeof c->mark, "%s.data", path);
    for (i = 0; i < count * size; i++) hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    for (i = 0; i < 16; i++) c->hash[i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
}

/* Whether the line is of these data, wherever they lie now. */
static inline int checkpoint_check(const checkpoint *c, char message[MESSAGE_SIZE]) {
    FILE         *file = fopen(c->mark, "r");
    char          hash[17] = "", where[61] = "";
    unsigned long count = 0;
    int           fields;
    if (!file) return 0;
    fields = fscanf(file, "%lu %16s %60[^\n]", &count, hash, where);
    fclose(file);
    if (fields < 2 || (count == c->count && strcmp(hash, c->hash) == 0)) return 0;
    return fail(message, "%.60s learned %lu %s of %s, not these %lu of %.60s: name another %s, or %s to begin anew",
                c->path, count, c->what, where, c->count, c->where, c->option, c->anew);
}

/* Loads it to go on with training, unless it is of other data. */
static inline int checkpoint_load(const checkpoint *c, const vae_config *config, vae_model **model,
                                  char message[MESSAGE_SIZE]) {
    const vae_config inference = { .inference_only = 1 };
    const vae_shape  here = config->input;
    vae_shape        there;
    vae_config       found;
    vae_model       *other = NULL;
    vae_error        error, unused;
    char             size[40] = "";
    if (vae_load(c->path, config, model, &error) == VAE_OK) return checkpoint_check(c, message);
    fail(message, "%s", error.message);
    if (vae_load(c->path, &inference, &other, &unused) != VAE_OK) return -1;
    vae_get_config(other, &found);
    there = found.input;
    vae_destroy(other);
    if (here.height == there.height && here.width == there.width && here.channels == there.channels) return -1;
    if (c->sized && there.width == there.height && there.width != here.width)
        snprintf(size, sizeof size, "give --size %d, ", there.width);
    return fail(message, "%.60s learned %s of %d x %d%s, these are %d x %d%s: %sname another %s, or leave out "
                "--resume to begin anew", c->path, c->what, there.width, there.height,
                there.channels == 3 ? " in colour" : "", here.width, here.height,
                here.channels == 3 ? " in colour" : "", size, c->option);
}

/* Loads it, or makes a new model after a word about what is going to happen to an earlier one. */
static inline int checkpoint_open(checkpoint *c, int resume, const vae_config *config, vae_model **model,
                                  char message[MESSAGE_SIZE]) {
    vae_error error;
    c->resumed = resume;
    if (resume) return checkpoint_load(c, config, model, message);
    if (path_kind_of(c->path) == PATH_FILE)
        printf("%s is there already: --resume would go on from it, else it becomes %s.before\n", c->path, c->path);
    return vae_create(config, model, &error) == VAE_OK ? 0 : fail(message, "%s", error.message);
}

/* Says so where all epochs that there are to be were made before. Returns whether there is something to watch. */
static inline int checkpoint_has_epochs_left(const vae_model *model, size_t until) {
    vae_state state;
    vae_get_state(model, &state);
    if (state.epoch < until) return 1;
    printf("nothing left to train: %lu epochs are made, --epochs tells how many there are to be in all\n",
           (unsigned long)state.epoch);
    return 0;
}

/* Writes the line. */
static inline int checkpoint_mark(checkpoint *c, char message[MESSAGE_SIZE]) {
    FILE     *file = fopen(c->mark, "w");
    const int good = file && fprintf(file, "%lu %s %s\n", c->count, c->hash, c->where) > 0;
    if (!file || (fclose(file) != 0) | !good) return fail(message, "cannot write %s", c->mark);
    c->marked = 1;
    return 0;
}

/* Moves the checkpoint of another training and its line out of the way, or `back`. */
static inline int checkpoint_put_aside(const checkpoint *c, int back, char message[MESSAGE_SIZE]) {
    char before[1200], mark[1250];
    snprintf(before, sizeof before, "%s.before", c->path);
    snprintf(mark, sizeof mark, "%s.data", before);
    if (path_kind_of(back ? before : c->path) != PATH_FILE) return 0;
    remove(back ? c->path : before);    /* Windows does not rename onto a file that is there */
    remove(back ? c->mark : mark);
    if (rename(back ? before : c->path, back ? c->path : before) != 0)
        return fail(message, "cannot keep %.100s as %.100s: %s", c->path, before, strerror(errno));
    if (path_kind_of(back ? mark : c->mark) == PATH_FILE) rename(back ? mark : c->mark, back ? c->mark : mark);
    return 0;
}

/* The line follows the first save. In between there is none: one of the data before would be of no use there. */
static inline int checkpoint_save(checkpoint *c, vae_model *model, char message[MESSAGE_SIZE]) {
    char      unused[MESSAGE_SIZE];
    vae_error error;
    if (!c->marked && !c->resumed && checkpoint_put_aside(c, 0, message) != 0) return -1;
    if (!c->marked) remove(c->mark);
    if (vae_save_checkpoint(model, c->path, &error) == VAE_OK) return c->marked ? 0 : checkpoint_mark(c, message);
    if (!c->marked && !c->resumed) checkpoint_put_aside(c, 1, unused);
    return fail(message, "%s", error.message);
}

#endif
