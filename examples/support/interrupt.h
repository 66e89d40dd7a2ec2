/* interrupt.h - Ctrl-C asks the program to end what it is doing; another one, later, ends it at once.

   One request may arrive as two signals: timeout(1) and some shells send it to the process and then to its whole group.
   What comes within two seconds of the first is the same request. To be included first: with -std=c99 alone, glibc's
   signal() would leave a moment without a handler. */
#ifndef INTERRUPT_H
#define INTERRUPT_H

#if defined(__linux__) && !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE
#endif
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#define INTERRUPT_WRITES        /* write() may be called in a signal's handler, printf may not */
#endif

static volatile sig_atomic_t interrupted;       /* the signal's number, 0: none came */
static volatile time_t       interrupted_at;

static void interrupt(int number) {
    const time_t now = time(NULL);
    signal(number, interrupt);                  /* some systems have taken it away */
    if (!interrupted) {
        interrupted_at = now;
        interrupted = number;
#ifdef INTERRUPT_WRITES
        {
            static const char said[] = "\nstopping, and saving: once more, in two seconds or later, gives up\n";
            if (write(2, said, sizeof said - 1) < 0) return;
        }
#endif
    } else if (now - interrupted_at >= 2) {
        signal(number, SIG_DFL);
        raise(number);
    }
}

static inline void interrupt_begin(void) {
    signal(SIGINT, interrupt);
    signal(SIGTERM, interrupt);
}

/* Says where everything is and how to go on: by the same command, with --resume. Returns the exit code that shells use
   for a signal. */
static inline int interrupt_explain(unsigned long epoch, const char *path, int argc, char **argv, int resumed) {
    int i;
    printf("interrupted in epoch %lu; everything is in %s, go on with\n   ", epoch, path);
    for (i = 0; i < argc; i++) printf(strchr(argv[i], ' ') ? " '%s'" : " %s", argv[i]);
    printf(resumed ? "\n" : " --resume\n");
    return 128 + (int)interrupted;
}

#endif
