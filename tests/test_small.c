/* What small models take: a sensor network of 16-8-2-8-16 with a batch of 1, trained, and its decoder alone; and the
   stack of calls. The limits hold for 32 bits: gcc -m32 -msse2 -mfpmath=sse -DVAE_SMALL. Elsewhere pointers and sizes
   are twice as wide, which the limits below allow for. */
#define _XOPEN_SOURCE 600       /* posix_memalign, pthread_attr_setstack */
#ifndef VAE_SMALL
#define VAE_PORTABLE
#endif
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include <stdlib.h>
#include "test.h"

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <pthread.h>
#define HAS_PTHREADS 1
#endif

/* The stack of a call: 1 KB on a Cortex-M, whose frames begin at multiples of 8 (tests/devices.sh); here they begin at
   multiples of 16, and are up to twice as wide on 64 bits, where s390x has 160 bytes for registers in each besides. */
enum { STACK = 1024, WIDE = sizeof(void *) > 4, STACK_HERE = WIDE ? 3 * STACK : 3 * STACK / 2 };

static vae_config sensors(void) {
    vae_config c;
    memset(&c, 0, sizeof c);
    c.input.height = 1;
    c.input.width = 16;
    c.input.channels = 1;
    c.latent = 2;
    c.encoder[0] = VAE_DENSE(8, VAE_TANH);
    c.batch = 1;
    c.threads = 1;
    return c;
}

/* What it takes apart from the scratch of fast products, of which VAE_SMALL has none. */
static size_t taken(const vae_config *c) {
    size_t    needed = 0, scratch;
    vae_model *model = NULL;
    CHECK(vae_memory_needed(c, &needed, NULL) == VAE_OK);
    CHECK(vae_create(c, &model, NULL) == VAE_OK);
    scratch = (model->plan.slot_size - model->plan.product_scratch) * sizeof(vae_real);
    vae_destroy(model);
    return needed - scratch;
}

TEST(test_sensor_network) {
    vae_config c = sensors();
    size_t     trained, decoder, encoder;
    vae_model *model = NULL;
    CHECK(vae_create(&c, &model, NULL) == VAE_OK && vae_parameter_count(model) == 340);
    vae_destroy(model);
    trained = taken(&c);
    c.part = VAE_DECODER_ONLY;
    decoder = taken(&c);
    c.part = VAE_ENCODER_ONLY;
    encoder = taken(&c);
    printf("  16-8-2-8-16, batch 1: %d bytes trained, %d its decoder alone, %d its encoder alone, without the stack\n",
           (int)trained, (int)decoder, (int)encoder);
    printf("  a model %d, a layer %d, a convolution's geometry %d, a stage %d bytes\n", (int)sizeof(vae_model),
           (int)sizeof(vaei_layer), (int)sizeof(vaei_connection), (int)sizeof(vaei_stage));
    CHECK(trained + STACK <= (WIDE ? 14000 : 12000));
    /* 40 bytes more where numbers of 64 bits lie at multiples of 8 */
    CHECK(decoder + STACK <= (WIDE ? 4000 : 3072));
}

/* ---- the stack of calls ---- */

#ifdef HAS_PTHREADS
static vae_config  given, filled;
static vae_model  *one;
static vae_real    row[16], z[2], weights[16];
static char        text[4096];
static size_t      number;
static void       *block;
static vae_tensor  tensor;

static void call_nothing(void) {}
static void call_defaults(void) { vae_defaults(&given, &filled, NULL); }
static void call_memory_needed(void) { vae_memory_needed(&given, &number, NULL); }
static void call_create_in(void) { vae_create_in(&given, block, 100000, &one, NULL); }
static void call_get_config(void) { vae_get_config(one, &filled); }
static void call_summary(void) { vae_summary(one, text, sizeof text); }
static void call_tensor_at(void) { vae_tensor_at(one, 3, &tensor, NULL); }
static void call_get_tensor(void) { vae_get_tensor(one, "mean.weight", weights, 16, NULL); }
static void call_set_tensor(void) { vae_set_tensor(one, "mean.weight", weights, 16, NULL); }
static void call_train_step(void) {
    const vae_data data = { .pixels = row, .count = 1 };
    CHECK(vae_train_step(one, &data, NULL, NULL) == VAE_OK);
}
static void call_encode(void) {
    const vae_data data = { .pixels = row, .count = 1 };
    vae_encode(one, &data, z, NULL, NULL);
}
static void call_decode(void) { const vae_latents at = { .z = z, .count = 1 }; vae_decode(one, &at, row, NULL); }
static void call_refused(void) {
    static vae_error error;
    given.encoder[0].kernel_width = 3;
    vae_memory_needed(&given, &number, &error);
    given.encoder[0].kernel_width = 0;
}

static unsigned char *lowest;
static int            depth;

/* Measured before the thread ends, which takes stack, too: more than some calls do. */
static void *start(void *call) {
    volatile unsigned char here = 0;
    (*(void (**)(void))call)();
    while (*lowest == 0xA5) lowest++;
    depth = (int)((unsigned char *)(uintptr_t)&here - lowest);
    return NULL;
}

/* Bytes of a painted stack that the call has touched. */
static int depth_of(void (*call)(void)) {
    enum { SIZE = 1 << 18 };
    void          *memory = NULL;
    unsigned char *stack;
    pthread_attr_t attributes;
    pthread_t      thread;
    if (posix_memalign(&memory, 4096, SIZE)) return -1;
    lowest = stack = (unsigned char *)memory;
    memset(stack, 0xA5, SIZE);
    pthread_attr_init(&attributes);
    if (pthread_attr_setstack(&attributes, stack, SIZE) || pthread_create(&thread, &attributes, start, &call))
        return -1;
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    free(memory);
    return depth;
}

TEST(test_stack) {
    static const struct { const char *name; void (*call)(void); int bound; } calls[] = {      /* 2: on 32 bits */
        { "vae_defaults", call_defaults, 1 }, { "vae_memory_needed", call_memory_needed, 1 },
        { "a refusal with its sentence", call_refused, 1 }, { "vae_create_in", call_create_in, 0 },
        { "vae_get_config", call_get_config, 1 }, { "vae_summary", call_summary, 1 },
        { "vae_tensor_at", call_tensor_at, 1 }, { "vae_get_tensor", call_get_tensor, 1 },
        { "vae_set_tensor", call_set_tensor, 1 }, { "vae_train_step", call_train_step, 1 },
        { "vae_encode", call_encode, 1 }, { "vae_decode", call_decode, 2 }
    };
    size_t i;
    int    nothing;
#ifdef __TINYC__
    SKIP("the bounds are those of code that a compiler optimizes");
#endif
    given = sensors();
    block = malloc(100000);
    memset(block, 0, 100000);
    call_create_in();
    /* what the system binds at the first call */
    for (i = 0; i < sizeof calls / sizeof *calls; i++) calls[i].call();
    nothing = depth_of(call_nothing);
    for (i = 0; i < sizeof calls / sizeof *calls; i++) {
        const int bytes = depth_of(calls[i].call) - nothing;
        printf("  %-28s %5d bytes of stack\n", calls[i].name, bytes);
        if (calls[i].bound == 1 || (calls[i].bound && !WIDE))
            CHECK(bytes > 0 && bytes <= STACK_HERE);
    }
    vae_destroy(one);
    free(block);
}
#endif

int main(void) {
    RUN(test_sensor_network);
#ifdef HAS_PTHREADS
    RUN(test_stack);
#endif
    return test_finish();
}
