/* progress.h - vae_print_progress for trainings of many short epochs: on a terminal its bar, and some 50 lines. */
#ifndef PROGRESS_H
#define PROGRESS_H

/* Whether the last epoch has ended. */
static inline int progress_is_last(const vae_progress *progress) {
    return progress->event == VAE_EVENT_EPOCH && progress->epoch == progress->epochs;
}

/* Whether the epoch that ended is one of about fifty, or the last. */
static inline int progress_is_due(const vae_progress *progress) {
    return progress_is_last(progress) ||
           (progress->event == VAE_EVENT_EPOCH && progress->epoch % (progress->epochs / 50 + 1) == 0);
}

static inline int print_some_progress(void *user, const vae_progress *progress) {
    if (progress->event != VAE_EVENT_EPOCH || progress_is_due(progress)) vae_print_progress(user, progress);
    return 0;
}

#endif
