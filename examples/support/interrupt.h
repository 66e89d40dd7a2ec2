/* interrupt.h - Ctrl-C asks the program to end what it is doing; a second one ends it at once. */
#ifndef INTERRUPT_H
#define INTERRUPT_H

#include <signal.h>

static volatile sig_atomic_t interrupted;       /* the signal's number, 0: none came */

static void interrupt(int number) {
    interrupted = number;
    signal(number, SIG_DFL);
}

static inline void interrupt_begin(void) {
    signal(SIGINT, interrupt);
    signal(SIGTERM, interrupt);
}

#endif
