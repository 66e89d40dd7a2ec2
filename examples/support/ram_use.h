/* ram_use.h - how much RAM a program on a microcontroller has used: its variables and the deepest stack. Elsewhere the
   two calls do nothing. */
#ifndef RAM_USE_H
#define RAM_USE_H

#if defined(__arm__) && !defined(__linux__)
#include <stdio.h>

/* Of picolibc's linker script: where the variables begin and end, and where the stack begins, which grows downward. */
extern unsigned char __data_start[], __end[], __stack[];

/* Paints what lies between the variables and the stack. Call it first in main. */
static inline void ram_use_begin(void) {
    volatile unsigned char *paint = __end, *const end = (volatile unsigned char *)__builtin_frame_address(0) - 128;
    while (paint < end) *paint++ = 0xA5;
}

static inline void ram_use_print(void) {
    const unsigned char *deepest = __end;
    while (*deepest == 0xA5) deepest++;
    printf("RAM: variables %u, stack %u, in all %u bytes\n", (unsigned)(__end - __data_start),
           (unsigned)(__stack - deepest), (unsigned)(__end - __data_start + (__stack - deepest)));
}
#else
static inline void ram_use_begin(void) {}
static inline void ram_use_print(void) {}
#endif

#endif
