/* loss_log.h - a training's losses as a CSV file, a line for each epoch. */
#ifndef LOSS_LOG_H
#define LOSS_LOG_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "message.h"

/* Adds an epoch's line. The first epoch begins the file anew. */
static inline int loss_log_write(const char *path, const vae_progress *p, char *message) {
    FILE     *file = fopen(path, p->epoch == 1 ? "w" : "a");
    const int good = file && fprintf(file, "%s%lu,%.4f,%.4f,%.4f,%.4f\n",
                                     p->epoch == 1 ? "epoch,train_loss,test_loss,test_reconstruction,test_kl\n" : "",
                                     (unsigned long)p->epoch, p->train.loss, p->validation.loss,
                                     p->validation.reconstruction, p->validation.kl) > 0;
    if (file && fclose(file) == 0 && good) return 0;
    return fail(message, "cannot write %s: %s", path, strerror(errno));
}

#endif
