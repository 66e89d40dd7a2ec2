/* sensor.c - a monitor that learns on the device what the sixteen sensors of a machine show while all is well, and then
   tells when one of them has come loose, and which. It keeps no data: each row is seen once. The machine is simulated.

       build/sensor            on a computer
       make sensor-qemu        the same program, to the same bits, on Cortex-M3 and M4F with 12 KB of RAM in all */
#define VAE_SMALL               /* little code and memory, */
#define VAE_BASIC               /* ... dense layers and what they need, */
#define VAE_NO_MESSAGES         /* ... failures as names, not as sentences, */
#define VAE_NO_MALLOC           /* ... in memory of ours, */
#define VAE_NO_STDIO            /* ... without files, */
#define VAE_NO_DOUBLE           /* ... or doubles, which such processors compute in software */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <stdio.h>
#include <string.h>

#include "support/machine.h"
#include "support/ram_use.h"

enum { POWER_CUT = 1500, LEARNED = 3000, EVERY = 8, SCORES = 100, CALIBRATED = LEARNED + EVERY * SCORES,
       FAULT_FROM = 5000, ROWS = 6000, ALARM = 3 };

/* Constant, so it stays in flash: the two hidden causes of sixteen readings, found by eight units. */
static const vae_config config = {
    .input = { 1, MACHINE_SENSORS, 1 }, .latent = 2, .encoder = { VAE_DENSE_INITIALIZER(8, VAE_TANH) },
    .likelihood = VAE_GAUSSIAN, .batch = 1, .seed = 7, .optimizer = { .learning_rate = 5e-3f }
};

/* What is kept in flash or battery-backed memory while the device is off. The optimiser's moments form anew. */
typedef struct kept_state {
    uint32_t rows;
    float    threshold, weights[341];   /* 340 and the learned sigma */
} kept_state;

static unsigned char block[sizeof(void *) > 4 ? 12000 : 7424];      /* all that the library ever takes */
static float         row[MACHINE_SENSORS];
static float         scores[SCORES];    /* of normal rows that were not learned */
static kept_state    kept;
static vae_error     error;

static vae_model *wake(void) {
    vae_model *model = NULL;
    if (vae_create_in(&config, block, sizeof block, &model, &error) != VAE_OK) return NULL;
    if (kept.rows) memcpy(vae_parameters(model), kept.weights, sizeof kept.weights);
    return model;
}

static void sleep_now(vae_model *model, uint32_t rows, float threshold) {
    memcpy(kept.weights, vae_weights(model), sizeof kept.weights);
    kept.rows = rows;
    kept.threshold = threshold;
    vae_destroy(model);
    memset(block, 0, sizeof block);
}

/* The sensor that adds most to the row's score. */
static vae_status find_odd_sensor(vae_model *model, const vae_data *data, int *odd) {
    float            each[MACHINE_SENSORS];
    const vae_status status = vae_score_numbers(model, data, NULL, each, &error);
    int              i;
    for (*odd = 0, i = 1; i < MACHINE_SENSORS; i++) if (each[i] > each[*odd]) *odd = i;
    return status;
}

/* FNV-1a, for comparing devices. */
static unsigned long hash_of(const float *numbers, size_t count) {
    uint32_t hash = 2166136261u, bits;
    int      shift;
    for (; count; count--, numbers++) {
        memcpy(&bits, numbers, sizeof bits);
        for (shift = 0; shift < 32; shift += 8) hash = (hash ^ (bits >> shift & 255)) * 16777619u;
    }
    return (unsigned long)hash;
}

/* First it learns row after row. Then it stays as it is, and the scores of 100 rows that it has not learned, far enough
   apart to have little to do with each other, give the threshold: a normal row exceeds it with a chance of one in a
   hundred. From then on rows beyond it that come close together are an alarm. */
int main(void) {
    const vae_data data = { .pixels = row, .count = 1 };
    machine        simulated = machine_start();
    vae_model     *model = wake();
    float          threshold = 1e30f, score;
    int            suspicion = 0, odd, beyond = 0, false_alarms = 0, found = 0, named = 0;
    uint32_t       r;
    ram_use_begin();
    for (r = 0; model && r < ROWS; r++) {
        if (r == POWER_CUT) {
            sleep_now(model, r, threshold);
            if ((model = wake()) == NULL) break;
            threshold = kept.threshold;
        }
        machine_read(&simulated, r >= FAULT_FROM, row);
        if (r < LEARNED) {
            if (vae_train_step(model, &data, NULL, &error) != VAE_OK) break;
            continue;
        }
        if (vae_score(model, &data, NULL, &score, &error) != VAE_OK) break;
        if (r < CALIBRATED) {
            scores[(r - LEARNED) / EVERY] = score;
            if (r + 1 == CALIBRATED && vae_quantile(scores, SCORES, 0.99f, &threshold, &error) != VAE_OK) break;
            continue;
        }
        suspicion += score > threshold ? (suspicion < 2 * ALARM) : -(suspicion > 0);
        if (r < FAULT_FROM) {
            beyond += score > threshold;
            false_alarms += suspicion >= ALARM;
        } else if (suspicion >= ALARM) {
            if (find_odd_sensor(model, &data, &odd) != VAE_OK) break;
            if (found++ == 0) printf("row %lu: alarm, sensor %d is odd\n", (unsigned long)r, odd);
            named += odd == MACHINE_FAULTY;
        }
    }
    if (!model || r < ROWS) return puts(error.message), 1;
    printf("%d of %d normal rows were beyond the threshold, %d in a false alarm\n", beyond, FAULT_FROM - CALIBRATED,
           false_alarms);
    printf("%d of %d faulty rows were in an alarm, %d named the right sensor\n", found, ROWS - FAULT_FROM, named);
    printf("%lu bytes kept between power cycles, for %lu parameters\n", (unsigned long)sizeof kept,
           (unsigned long)vae_parameter_count(model));
    printf("weights %08lx\n", hash_of(vae_weights(model), vae_weight_count(model)));
    ram_use_print();
    return 0;
}
