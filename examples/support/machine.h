/* machine.h - a simulated machine with sixteen sensors. Two causes that nobody measures, its load and the room's
   warmth, move all of them; each adds noise of its own. Compiled as C99, it gives the same bits everywhere. */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdint.h>

enum { MACHINE_SENSORS = 16, MACHINE_FAULTY = 5 };

typedef struct machine {
    uint32_t random;
    float    load, warmth;      /* -1 to 1 */
} machine;

static inline machine machine_start(void) {
    machine m = { 2463534242u, 0, 0 };
    return m;
}

/* -1 to 1 (xorshift, Marsaglia 2003). */
static inline float machine_random(machine *m) {
    m->random ^= m->random << 13;
    m->random ^= m->random >> 17;
    m->random ^= m->random << 5;
    return (float)(int32_t)(m->random >> 16) / 32768.0f - 1.0f;
}

static inline float machine_next(machine *m, float value) { return value / 2 + machine_random(m) / 2; }

/* The next reading of all sensors, in units in which they lie about -1 to 1. With a fault one sensor has come loose:
   its values are nothing special in themselves, but no longer fit the others. */
static inline void machine_read(machine *m, int has_fault, float *row) {
    int i;
    m->load = machine_next(m, m->load);
    m->warmth = machine_next(m, m->warmth);
    for (i = 0; i < MACHINE_SENSORS; i++) {
        const float by_load = (float)(i * 5 % 16 - 8) / 8, by_warmth = (float)(i * 7 % 16 - 8) / 8;
        const float noise = machine_random(m) / 8;
        row[i] = by_load * m->load;
        row[i] += by_warmth * m->warmth;
        row[i] += noise;
        if (has_fault && i == MACHINE_FAULTY) row[i] = machine_random(m);
    }
}

#endif
