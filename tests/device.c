/* For a microcontroller under qemu: how deep the stack of each call gets, printed and compared with 1 KB, and how many
   instructions it takes. With VAE_INFERENCE_ONLY a decoder whose weights stay in constant memory. tests/devices.sh also
   measures the code. */
#define VAE_SMALL
#define VAE_BASIC
#define VAE_NO_MESSAGES
#define VAE_NO_MALLOC
#define VAE_NO_STDIO
#define VAE_IMPLEMENTATION
#include "vae.h"

#include <stdio.h>

enum { MOST = 1024, SENSORS = 16 };

static vae_model *model;
static vae_error  error;
static vae_real   row[SENSORS];

#ifdef VAE_INFERENCE_ONLY
static const vae_real   weights[2 * 8 + 8 + 8 * SENSORS + SENSORS] = { 1 };
static const vae_config config = {
    .input = { 1, SENSORS, 1 }, .latent = 2, .encoder = { VAE_DENSE_INITIALIZER(8, VAE_TANH) },
    .likelihood = VAE_GAUSSIAN, .sigma = 1, .batch = 1, .part = VAE_DECODER_ONLY, .weights = weights
};
static unsigned char block[2000];

static void create(void) { vae_create_in(&config, block, sizeof block, &model, &error); }
static void decode(void) {
    static const vae_real z[2] = { 1, -1 };
    const vae_latents     latents = { .z = z, .count = 1 };
    vae_decode(model, &latents, row, &error);
}
static const struct { const char *name; void (*run)(void); } calls[] = { { "vae_create_in", create },
                                                                          { "vae_decode", decode } };
#else
static const vae_config config = {
    .input = { 1, SENSORS, 1 }, .latent = 2, .encoder = { VAE_DENSE_INITIALIZER(8, VAE_TANH) },
    .likelihood = VAE_GAUSSIAN, .batch = 1
};
static const vae_data data = { .pixels = row, .count = 1 };
static unsigned char  block[7424];
static vae_wide       scores[100];

static void create(void) { vae_create_in(&config, block, sizeof block, &model, &error); }
static void train(void) { vae_train_step(model, &data, NULL, &error); }
static void score(void) { vae_score(model, &data, NULL, scores, &error); }
static void score_numbers(void) { vae_score_numbers(model, &data, NULL, scores, &error); }
static void quantile(void) { vae_quantile(scores, 100, (vae_wide)0.99, scores, &error); }
static const struct { const char *name; void (*run)(void); } calls[] = {
    { "vae_create_in", create }, { "vae_train_step", train }, { "vae_train_step again", train }, { "vae_score", score },
    { "vae_score_numbers", score_numbers }, { "vae_quantile", quantile }
};
#endif

/* Of picolibc's linker script: where the variables end, and where the stack begins, which grows downward. */
extern unsigned char __end[], __stack[];

static void nothing(void) {}

/* Of the boards mps2: its control, its value, which counts downwards at 25 MHz, and what it starts from. Under qemu's
   -icount shift=5 an instruction takes 32 ns. */
static volatile uint32_t *const timer = (volatile uint32_t *)0x40000000;
static uint32_t                 ticks;      /* of the latest call */

/* Bytes of a painted stack that the call has touched. */
static int depth_of(void (*call)(void)) {
    const unsigned char    *deepest = __end;
    volatile unsigned char *paint = __end, *const end = (volatile unsigned char *)__builtin_frame_address(0) - 64;
    while (paint < end) *paint++ = 0xA5;
    ticks = timer[1];
    call();
    ticks -= timer[1];
    while (*deepest == 0xA5) deepest++;
    return (int)(__stack - deepest);
}

int main(void) {
    int    own, failed = 0;
    size_t i;
    timer[2] = timer[1] = 0xFFFFFFFF;
    timer[0] = 1;
    own = depth_of(nothing);
    for (i = 0; i < sizeof calls / sizeof *calls; i++) {
        const int depth = depth_of(calls[i].run) - own;
        printf("  %-22s %4d bytes of stack, %7lu instructions\n", calls[i].name, depth, (unsigned long)ticks * 5 / 4);
        failed |= depth > MOST || error.status != VAE_OK;
    }
    return failed;
}
