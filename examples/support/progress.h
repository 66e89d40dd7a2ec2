/* progress.h - vae_print_progress for trainings of many short epochs: on a terminal its bar, and some lines. */
#ifndef PROGRESS_H
#define PROGRESS_H

/* Whether the last epoch has ended. */
static inline int progress_is_last(const vae_progress *progress) {
    return progress->event == VAE_EVENT_EPOCH && progress->epoch == progress->epochs;
}

/* Whether the epoch that ended is one of about so many, or the last. */
static inline int progress_is_due(const vae_progress *progress, size_t lines) {
    return progress_is_last(progress) ||
           (progress->event == VAE_EVENT_EPOCH && progress->epoch % (progress->epochs / lines + 1) == 0);
}

/* `user` NULL: fifty lines, else a size_t says how many. */
static inline int print_some_progress(void *user, const vae_progress *progress) {
    if (progress->event != VAE_EVENT_EPOCH || progress_is_due(progress, user ? *(const size_t *)user : 50))
        vae_print_progress(NULL, progress);
    return 0;
}

#endif
