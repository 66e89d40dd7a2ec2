/* pumps.h - a table to try programs on: readings of some water pumps, in raw units.

   Six readings follow from three causes (speed, how far a valve is open, the day's warmth), so that they belong
   together. Where a row is odd, one reading is off, by an amount that other pumps reach on other days. */
#ifndef PUMPS_H
#define PUMPS_H

#include <math.h>
#include <stdint.h>

#include "csv_reader.h"

static inline double pumps_random(uint64_t *state) { /* in (0, 1): splitmix64 */
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return ((double)((z ^ (z >> 31)) >> 12) + 0.5) / 4503599627370496.0;
}

static inline double pumps_noise(uint64_t *state) {
    const double size = sqrt(-2 * log(pumps_random(state)));
    return size * cos(6.283185307179586 * pumps_random(state));
}

/* One row in `odd_every` is odd; 0: none. */
static inline int pumps_make(size_t rows, size_t odd_every, uint64_t seed, csv_table *table,
                             char message[MESSAGE_SIZE]) {
    static const char *const names[] = { "speed rpm", "flow l/min", "pressure Pa", "power W", "temperature C",
                                         "vibration mm/s" };
    size_t                   i, k;
    memset(table, 0, sizeof *table);
    table->numbers = (float *)malloc(rows * 6 * sizeof *table->numbers);
    table->lines = (size_t *)malloc(rows * sizeof *table->lines);
    table->names = (char **)malloc(6 * sizeof *table->names);
    table->text = (char *)malloc(6 * 16);
    if (!table->numbers || !table->lines || !table->names || !table->text)
        return fail(message, "not enough memory for %lu rows", (unsigned long)rows);
    table->rows = rows;
    table->columns = 6;
    for (k = 0; k < 6; k++) table->names[k] = strcpy(table->text + 16 * k, names[k]);
    for (i = 0; i < rows; i++) {
        const double speed = 1000 + 2000 * pumps_random(&seed), open = 0.3 + 0.7 * pumps_random(&seed);
        const double flow = speed * open / 20, pressure = 0.04 * speed * speed * (1.3 - open);
        const double power = flow * pressure / 60000 / 0.7 + 200, warmth = 15 + 10 * pumps_random(&seed);
        const double normal[6] = { speed, flow, pressure, power, warmth + power / 50, 0.5 + speed / 1500 };
        for (k = 0; k < 6; k++)
            table->numbers[i * 6 + k] = (float)(normal[k] * (1 + 0.01 * pumps_noise(&seed)));
        table->lines[i] = i + 1;
        if (odd_every && i % odd_every == odd_every - 1)
            table->numbers[i * 6 + i / odd_every % 6] *= pumps_random(&seed) < 0.5 ? 0.7f : 1.3f;
    }
    return 0;
}

#endif
