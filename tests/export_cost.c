/* How many instructions a call of an exported file takes, for tests/export_cortex.sh: the board's timer counts those of
   a processor whose instructions all take as long (qemu's -icount). ENCODER: of net_encode, else of net_decode. */
#include "cost.h"

#include <stdio.h>

enum { NOPS = 10000 };

static volatile uint32_t *const timer = (volatile uint32_t *)0x40000000;       /* control, value, reload */
static float                    from[784], to[784];

#ifdef ENCODER
static float scratch[NET_ENCODE_SCRATCH], logvar[20];
static void  run(void) { net_encode(from, to, logvar, scratch); }
#else
static float scratch[NET_DECODE_SCRATCH];
static void  run(void) { net_decode(from, to, scratch); }
#endif

__attribute__((noinline)) static void nops(void) { __asm__ volatile(".rept 10000\n nop\n .endr"); }

static uint32_t ticks(void (*call)(void)) {     /* it counts downwards */
    const uint32_t before = timer[1];
    call();
    return before - timer[1];
}

int main(void) {
    uint32_t taken;
    int      i;
    timer[2] = timer[1] = 0xFFFFFFFF;
    timer[0] = 1;
    for (i = 0; i < 784; i++) from[i] = (float)(i % 16) / 16;
    taken = ticks(run);
    printf("%lu\n", (unsigned long)((uint64_t)taken * NOPS / ticks(nops)));
    return 0;
}
