/* vae.h - v0.1.0 - variational autoencoders in one C99 header - MIT or public domain - licence at the end of the file

   Do this:
       #define VAE_IMPLEMENTATION
   before you include this file in *one* C or C++ file, to create the implementation:
       #define VAE_IMPLEMENTATION
       #include "vae.h"
   Every other file includes it plainly. Build with any C99 or C++11 compiler: cc -O2 program.c -lm

   WHAT IT DOES

       rows --> batch --> encoder --> mean, logvar --> z = mean + exp(logvar/2) noise --> decoder --> logits --> nats
                                           |                                                            |
                                           '--------------- KL to N(0, I) ----------------> loss <------'

   It trains that network by gradients written by hand, generates new rows, encodes and reconstructs given ones, scores
   them in nats, and keeps the model in a safetensors file that PyTorch reads and writes.

   QUICK START
       vae_model *model;
       vae_config config = {
           .input   = { 28, 28, 1 },                              // height, width, channels
           .latent  = 16,
           .encoder = { VAE_CONV(32, 3, 2, VAE_RELU), VAE_CONV(64, 3, 2, VAE_RELU) },
       };                                                         // no decoder given: the mirror image of the encoder
       vae_create(&config, &model, NULL);
       vae_fit(model, &(vae_data){ .bytes = images, .count = 60000 },
               &(vae_fit_config){ .epochs = 10, .on_progress = vae_print_progress }, NULL);
       vae_sample(model, 64, digits, NULL);                       // 64 new images from the prior
       vae_save(model, "digits.safetensors", NULL);
       vae_destroy(model);

   vae.h DOES NOT
     - use a GPU, a graph compiler or automatic differentiation: the layers are those of vae_layer, no others
     - read or write images: it takes and gives arrays (the examples carry a PNG writer and an IDX reader)
     - print, exit, abort or assert: every failure is a status and a sentence (vae_print_progress prints if you ask it)
     - keep anything in global variables: two models in two threads know nothing of each other; one model is for one
       thread at a time
     - allocate while it trains or infers: all memory is taken when a model is created, or is yours

   CONVENTIONS, the same everywhere
     - Nats per example. Reconstruction and KL are summed over pixels and latent dimensions and averaged over examples.
       Nothing is rescaled silently: loss = reconstruction + beta * kl, elbo = -(reconstruction + kl).
     - mean and logvar (log of the variance) come from the encoder; logvar is held within [-20, 10]. The decoder gives
       logits: for VAE_BERNOULLI a pixel is sigmoid(logit), for VAE_GAUSSIAN the logit is the pixel's mean itself.
     - Rows are images of height x width x channels, channels interleaved, as C programs and stb_image have them, one
       after the other without gaps; VAE_CHANNELS_FIRST says they are channels x height x width instead. A series is an
       image of height 1; a plain vector of n numbers is { 1, n, 1 }.
     - Pixels are vae_real (float) in [0, 1] for VAE_BERNOULLI, any finite number for VAE_GAUSSIAN; or bytes 0..255,
       scaled by 1/255 as a batch is gathered. A pixel out of range is an error that names its row and column.
     - A config that is all zero apart from what you set is valid: 0 means "the default", given beside each field and by
       vae_defaults(). Where an exact zero means something, write VAE_ZERO.
     - Sizes and counts are size_t; small structural numbers (layers, kernel, stride) are int.
     - Same seed, same kernels: same bits, for any number of threads. Nothing depends on the time or on addresses.
     - Calls return a vae_status (VAE_OK is 0). Every `error` argument may be NULL; otherwise it receives the status and
       one sentence. A call that fails leaves its arguments and the model as they were.

   COMPILE-TIME OPTIONS (define them in the file that has VAE_IMPLEMENTATION; those marked * wherever vae.h is included)
       VAE_STATIC *          every function is static: the library is private to one file
       VAE_NO_STDIO *        no <stdio.h>: no vae_save, vae_load, vae_print_*; the *_memory calls remain
       VAE_NO_MALLOC         no <stdlib.h>: memory comes from vae_create_in or from config.allocator
       VAE_INFERENCE_ONLY *  no training code
       VAE_THREADS           config.threads uses POSIX or Win32 threads (older C libraries then want -pthread)
       VAE_PORTABLE          no processor-specific instructions
       VAE_PLAIN             also builds VAE_KERNELS_PLAIN where the compiler has vector extensions
       VAE_DOUBLE *          vae_real is double: slow, for checking gradients
       VAE_HEADER_FILE       this file's name in quotes, where it is not "vae.h" (it includes itself)

   CONTENTS (search for the tag)
     Public part
        1 >>status       status, error                      5 >>gradients    one batch by hand
        2 >>network      layers, likelihood, config         6 >>inference    encode, decode, sample, score
        3 >>model        create, destroy, describe          7 >>files        save and load
        4 >>training     data, fit, one step                8 >>parameters   weights by name
     Implementation
        9 >>platform     errors as text, clock, threads    21 >>matrix-product  any shape from the kernels
       10 >>memory       sizes, allocation                 22 >>plan         from a config to shapes, places and tables
       11 >>arithmetic   what compiler and target have     23 >>execution    the model itself, work shared out
       12 >>scalar-math  one number at a time              24 >>layers       dense, convolution: forward and backward
       13 >>random       streams, shuffle, Philox          25 >>likelihood   what becomes of the logits
       14 >>vectors      four floats at a time             26 >>stages       the walk through the layers
       15 >>product      what a matrix product is          27 >>latent       the sample and its gradient
       16 >>kernels      what a kernel set offers          28 >>model-implementation  tensors, first weights, create
       17 >>primitives   compiled once per instruction     29 >>batch        rows into the workspace
       18 >>vector-math    set: this file includes itself  30 >>inference-implementation
       19 >>product-kernels                                31 >>training-implementation
       20 >>arrays       of any length from the kernels    32 >>files-implementation  safetensors, JSON, disk
     At the end: >>licence, >>history
*/
#ifndef VAE_H
#define VAE_H

#define VAE_VERSION_MAJOR 0
#define VAE_VERSION_MINOR 1
#define VAE_VERSION_PATCH 0
#define VAE_VERSION "0.1.0"

#include <stddef.h>
#include <stdint.h>

#ifndef VAE_API         /* yours, where functions are to be exported or hidden: __declspec(dllexport), ... */
#if defined(VAE_STATIC) && defined(__GNUC__)
#define VAE_API __attribute__((unused)) static
#elif defined(VAE_STATIC)
#define VAE_API static
#else
#define VAE_API extern
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What takes or gives a vae_real has another name with VAE_DOUBLE: files with and without it do not link. */
#ifdef VAE_DOUBLE
#define vae_accumulate_gradients vae_accumulate_gradients_double
#define vae_create vae_create_double
#define vae_create_in vae_create_in_double
#define vae_decode vae_decode_double
#define vae_defaults vae_defaults_double
#define vae_elbo vae_elbo_double
#define vae_encode vae_encode_double
#define vae_fit vae_fit_double
#define vae_get_config vae_get_config_double
#define vae_get_gradient vae_get_gradient_double
#define vae_get_tensor vae_get_tensor_double
#define vae_gradients vae_gradients_double
#define vae_load vae_load_double
#define vae_load_memory vae_load_memory_double
#define vae_log_likelihood vae_log_likelihood_double
#define vae_memory_needed vae_memory_needed_double
#define vae_parameters vae_parameters_double
#define vae_reconstruct vae_reconstruct_double
#define vae_sample vae_sample_double
#define vae_sample_latent vae_sample_latent_double
#define vae_set_beta vae_set_beta_double
#define vae_set_learning_rate vae_set_learning_rate_double
#define vae_set_tensor vae_set_tensor_double
#define vae_train_step vae_train_step_double
typedef double vae_real;
#else
typedef float vae_real;
#endif

/* ==== 1 >>status ================================================================================================== */

typedef enum vae_status {
    VAE_OK = 0,
    VAE_STOPPED,            /* a callback asked training to stop; the model is whole and usable */
    VAE_ERROR_ARGUMENT,     /* a NULL that must not be, a count that does not fit */
    VAE_ERROR_CONFIG,       /* a setting out of its range, or a network whose shapes do not meet */
    VAE_ERROR_DATA,         /* a pixel out of range or not finite */
    VAE_ERROR_NUMERIC,      /* a loss or gradient was not finite; the weights were not changed */
    VAE_ERROR_MEMORY,       /* not enough memory */
    VAE_ERROR_FILE,         /* the operating system refused to open, read or write */
    VAE_ERROR_FORMAT,       /* the file is not what it should be */
    VAE_ERROR_UNSUPPORTED   /* not in this build, or not on this processor */
} vae_status;

/* What went wrong and what to change, as one sentence in English. */
typedef struct vae_error {
    vae_status status;
    char       message[256];
} vae_error;

/* The status's name, such as "VAE_ERROR_DATA". */
VAE_API const char *vae_status_name(vae_status status);

/* ==== 2 >>network ================================================================================================= */

/* f(x) for a whole layer. The formulas are PyTorch's defaults: GELU is x/2 (1 + erf(x/sqrt 2)), SiLU x sigmoid(x),
   softplus log(1 + exp x), leaky ReLU has slope 0.01 below zero. */
typedef enum vae_activation {
    VAE_LINEAR = 0, VAE_RELU, VAE_LEAKY_RELU, VAE_SILU, VAE_GELU, VAE_TANH, VAE_SIGMOID, VAE_SOFTPLUS
} vae_activation;

typedef enum vae_layer_kind {
    VAE_LAYER_END = 0, VAE_LAYER_DENSE, VAE_LAYER_CONV, VAE_LAYER_CONV_TRANSPOSED
} vae_layer_kind;

typedef struct vae_shape {
    int height, width, channels;
} vae_shape;

/* How a convolution's border is chosen.
   VAE_SAME is TensorFlow's rule: a convolution gives ceil(size / stride), a transposed one size * stride; an odd
   amount of padding puts the larger half after. VAE_EXPLICIT takes the four amounts as they are; with all four equal it
   is PyTorch's rule. At stride 2, kernel 3 and even size, VAE_SAME pads 0 before and 1 after, PyTorch's padding=1 pads
   1 and 1: the same output shape, different numbers. */
typedef enum vae_padding { VAE_SAME = 0, VAE_EXPLICIT } vae_padding;

/* One layer, best written with the macros below. For input H x W x C:
     dense            out = activation(W x + b); the input is flattened. Output `shape`, any product of which is the
                      number of units.
     conv             H' = (H + top + bottom - kernel) / stride + 1, rounded down, and W' alike; shape.channels filters
     conv transposed  H' = (H - 1) stride - top - bottom + kernel + output_padding; padding crops the output, and
                      output_padding (smaller than the stride) adds rows below and columns to the right */
typedef struct vae_layer {
    vae_layer_kind kind;
    vae_shape      shape;                               /* dense: the output; convolutions: only .channels */
    int            kernel_height, kernel_width, stride_height, stride_width;
    vae_padding    padding;
    int            top, bottom, left, right;            /* VAE_EXPLICIT only */
    int            output_padding_height, output_padding_width;
    vae_activation activation;
} vae_layer;

#define VAE_DENSE(units, activation) \
    { VAE_LAYER_DENSE, { 1, 1, (units) }, 0, 0, 0, 0, VAE_SAME, 0, 0, 0, 0, 0, 0, (activation) }
#define VAE_DENSE_SHAPED(height, width, channels, activation) \
    { VAE_LAYER_DENSE, { (height), (width), (channels) }, 0, 0, 0, 0, VAE_SAME, 0, 0, 0, 0, 0, 0, (activation) }
#define VAE_CONV(channels, kernel, stride, activation) \
    { VAE_LAYER_CONV, { 0, 0, (channels) }, (kernel), (kernel), (stride), (stride), VAE_SAME, 0, 0, 0, 0, 0, 0, \
      (activation) }
#define VAE_CONV_TRANSPOSED(channels, kernel, stride, activation) \
    { VAE_LAYER_CONV_TRANSPOSED, { 0, 0, (channels) }, (kernel), (kernel), (stride), (stride), VAE_SAME, 0, 0, 0, 0, \
      0, 0, (activation) }
/* PyTorch's Conv2d(.., padding=p) and ConvTranspose2d(.., padding=p, output_padding=q). */
#define VAE_CONV_SYMMETRIC(channels, kernel, stride, p, activation) \
    { VAE_LAYER_CONV, { 0, 0, (channels) }, (kernel), (kernel), (stride), (stride), VAE_EXPLICIT, (p), (p), (p), (p), \
      0, 0, (activation) }
#define VAE_CONV_TRANSPOSED_SYMMETRIC(channels, kernel, stride, p, q, activation) \
    { VAE_LAYER_CONV_TRANSPOSED, { 0, 0, (channels) }, (kernel), (kernel), (stride), (stride), VAE_EXPLICIT, (p), (p), \
      (p), (p), (q), (q), (activation) }
/* Along a series: for inputs of height 1. */
#define VAE_CONV_1D(channels, kernel, stride, activation) \
    { VAE_LAYER_CONV, { 0, 0, (channels) }, 1, (kernel), 1, (stride), VAE_SAME, 0, 0, 0, 0, 0, 0, (activation) }
#define VAE_CONV_TRANSPOSED_1D(channels, kernel, stride, activation) \
    { VAE_LAYER_CONV_TRANSPOSED, { 0, 0, (channels) }, 1, (kernel), 1, (stride), VAE_SAME, 0, 0, 0, 0, 0, 0, \
      (activation) }

/* -log p(x | z), in nats per example.
   VAE_BERNOULLI: sum of max(l, 0) - l x + log(1 + exp(-|l|)) over the logits l, binary cross-entropy. With grey pixels
     this is the customary loss rather than a likelihood: its floor is the pixels' own entropy, not 0.
   VAE_GAUSSIAN: sum of (x - l)^2 / (2 sigma^2) + log sigma + log(2 pi)/2, with the fixed `sigma` of the config. The
     constant is counted. At sigma = 1 the gradient is that of half the summed squared error; at sigma = 1/sqrt 2 that
     of the squared error itself. */
typedef enum vae_likelihood { VAE_BERNOULLI = 0, VAE_GAUSSIAN } vae_likelihood;

/* First weights, with n inputs and m outputs of a unit (for convolutions both times the kernel's area).
   VAE_INIT_PYTORCH: weights and biases uniform in +-1/sqrt n, the default of PyTorch's Linear and Conv2d (for a
     transposed convolution n counts its output channels, as PyTorch does).
   VAE_INIT_GLOROT: weights uniform in +-sqrt(6/(n+m)), biases 0, Keras' default (Glorot and Bengio 2010, equation 16).
   VAE_INIT_HE: weights normal with variance 2/n, biases 0 (He et al. 2015, equation 10), n counted likewise. */
typedef enum vae_initialization { VAE_INIT_PYTORCH = 0, VAE_INIT_GLOROT, VAE_INIT_HE } vae_initialization;

typedef enum vae_layout { VAE_CHANNELS_LAST = 0, VAE_CHANNELS_FIRST } vae_layout;

/* Which arithmetic to use. VAE_KERNELS_BEST picks the fastest the processor has. AVX2, AVX-512 and NEON give the same
   bits as each other; VAE_KERNELS_PORTABLE (the compiler's vector extensions, else plain C) and VAE_KERNELS_PLAIN
   (plain C, where built with VAE_PLAIN) give the same bits as each other, on every platform that neither fuses nor
   widens float arithmetic. */
typedef enum vae_kernels {
    VAE_KERNELS_BEST = 0, VAE_KERNELS_PLAIN, VAE_KERNELS_PORTABLE, VAE_KERNELS_AVX2, VAE_KERNELS_AVX512,
    VAE_KERNELS_NEON
} vae_kernels;

/* Adam (Kingma and Ba 2015, algorithm 1), with bias correction and PyTorch's place for epsilon. */
typedef struct vae_adam {
    vae_real learning_rate;   /* 0: 1e-3 */
    vae_real beta1;           /* 0: 0.9;   in [0, 1), VAE_ZERO for none */
    vae_real beta2;           /* 0: 0.999; in [0, 1) */
    vae_real epsilon;         /* 0: 1e-8 */
} vae_adam;

/* Memory from elsewhere: both functions or neither. Blocks must suit any type; `size` is what was asked for. */
typedef struct vae_allocator {
    void *(*allocate)(void *user, size_t size);
    void (*release)(void *user, void *block, size_t size);
    void *user;
} vae_allocator;

/* Threads from elsewhere: must call task(context, i) once for every i in 0 .. count-1, in any order, at the same time
   or not, and return when all have returned. */
typedef void (*vae_task)(void *context, size_t index);
typedef struct vae_parallel {
    void (*run)(void *user, vae_task task, void *context, size_t count);
    void *user;
} vae_parallel;

#define VAE_MAX_LAYERS 16              /* in the encoder, and again in the decoder */
#define VAE_ZERO ((vae_real)-1)        /* an exact zero, in fields where 0 means the default */
#define VAE_LOGVAR_MIN ((vae_real)-20)
#define VAE_LOGVAR_MAX ((vae_real)10)

typedef struct vae_config {
    vae_shape          input;                     /* required: the shape of one example */
    int                latent;                    /* required: dimensions of z, 1 or more */
    vae_layer          encoder[VAE_MAX_LAYERS];   /* at least one; the heads for mean and logvar follow by themselves */
    vae_layer          decoder[VAE_MAX_LAYERS];   /* from z to the logits, the last one linear and of the input's shape;
                                                     none: the mirror image of the encoder */
    vae_likelihood     likelihood;
    vae_real           sigma;                     /* VAE_GAUSSIAN: standard deviation of a pixel, 1e-6 to 1e6; 0: 1 */
    vae_real           beta;                      /* weight of the KL; 0: 1, VAE_ZERO for none. See vae_set_beta */
    vae_initialization initialization;
    vae_layout         layout;                    /* of the caller's pixels */
    vae_adam           adam;
    uint64_t           seed;                      /* of everything random */
    size_t             batch;                     /* largest training batch; 0: 128 */
    int                inference_only;            /* nonzero: keeps no gradients or moments, cannot train */
    vae_kernels        kernels;
    int                threads;                   /* 0: all cores where built with VAE_THREADS, else 1; up to 64 */
    vae_parallel       parallel;                  /* optional, with `threads` tasks at a time */
    vae_allocator      allocator;                 /* optional */
} vae_config;

/* ==== 3 >>model =================================================================================================== */

typedef struct vae_model vae_model;

/* The config with every default in its place (a 0 that means a default is replaced; `decoder` is filled with the mirror
   image where none was given). The only place where defaults are decided. */
VAE_API vae_status vae_defaults(const vae_config *config, vae_config *filled, vae_error *error);

/* Bytes that a model takes in all: parameters, gradients, moments, workspace. Nothing is allocated beyond it. */
VAE_API vae_status vae_memory_needed(const vae_config *config, size_t *bytes, vae_error *error);

/* Makes a model with fresh weights; vae_destroy releases it. vae_create_in puts it into memory of yours of at least
   vae_memory_needed bytes and any alignment, which you keep until you no longer use the model: destroying it then only
   ends its threads. On failure *model is unchanged. */
VAE_API vae_status vae_create(const vae_config *config, vae_model **model, vae_error *error);
VAE_API vae_status vae_create_in(const vae_config *config, void *memory, size_t bytes, vae_model **model,
                                 vae_error *error);
VAE_API void vae_destroy(vae_model *model);       /* NULL is allowed */

/* The model's config as filled by vae_defaults. Valid while the model is. */
VAE_API const vae_config *vae_get_config(const vae_model *model);

VAE_API size_t vae_example_size(const vae_model *model);      /* numbers in one example: height * width * channels */
VAE_API const char *vae_kernels_name(vae_kernels kernels);    /* "avx2", ... */
VAE_API int vae_kernels_available(vae_kernels kernels);       /* nonzero where this build and processor have them */

/* A table of layers, shapes, parameters and memory, one line each, as text. Writes at most `size` bytes with the
   closing zero and returns the length of the whole text, as snprintf does. */
VAE_API size_t vae_summary(const vae_model *model, char *text, size_t size);
#ifndef VAE_NO_STDIO
VAE_API void vae_print_summary(const vae_model *model);       /* to standard output */
#endif

/* ==== 4 >>training ================================================================================================ */

/* Rows, one after the other: set `pixels` or `bytes`, not both. The data stay yours and are never changed. */
typedef struct vae_data {
    const vae_real      *pixels;
    const unsigned char *bytes;
    size_t               count;
} vae_data;

/* Nats per example. */
typedef struct vae_terms {
    double reconstruction;    /* -log p(x | z) */
    double kl;                /* KL( q(z | x) || N(0, I) ), 0 or more */
    double elbo;              /* -(reconstruction + kl) */
    double loss;              /* reconstruction + beta kl: what is minimised */
} vae_terms;

#ifndef VAE_INFERENCE_ONLY

typedef enum vae_event {
    VAE_EVENT_BATCH = 0,             /* after each batch */
    VAE_EVENT_EPOCH,                 /* after each epoch, when the validation data have been scored */
    VAE_EVENT_STOPPED                /* once, when training ends because on_progress said so */
} vae_event;

typedef struct vae_progress {
    vae_event event;
    size_t    epoch, epochs;         /* epoch counts from 1 within this vae_fit; epochs is its last */
    size_t    batch, batches;        /* batch counts from 1 within the epoch */
    size_t    step;                  /* updates since the model was made */
    vae_terms last;                  /* the latest batch */
    vae_terms train;                 /* mean over the epoch so far, each batch by the weights it met */
    vae_terms validation;            /* event VAE_EVENT_EPOCH and validation data given; else zeros */
    int       has_validation;
    double    seconds;               /* since vae_fit began */
    double    examples_per_second;   /* while training this epoch, validation not counted */
    double    seconds_left;          /* to the end of vae_fit, by the speed so far */
    int       redraw;                /* nonzero about ten times a second and at the ends: enough for a display */
} vae_progress;

typedef struct vae_fit_config {
    size_t          epochs;               /* 0: 10 */
    size_t          batch;                /* examples in an update; 0: the config's `batch`, which is also the most */
    const vae_data *validation;           /* optional: scored after each epoch */
    int             keep_order;           /* nonzero: rows are taken in order; else shuffled anew each epoch */
    int             output_bias_from_data;/* nonzero: before the first step of a fresh model the last bias becomes the
                                             logit of each output channel's or pixel's mean, held in [0.001, 0.999] (for
                                             VAE_GAUSSIAN the mean itself), as in Burda et al. 2016 */
    int           (*on_progress)(void *user, const vae_progress *progress);   /* optional; nonzero stops training */
    void           *user;
} vae_fit_config;

/* Trains for `epochs` passes over the data. May be called again to go on: Adam's moments, the step, the epoch and the
   shuffle carry on as if the calls had been one; a model that was stopped inside an epoch, or saved there as a
   checkpoint, first finishes that epoch, which counts as one of the `epochs`. `fit` may be NULL. Returns VAE_STOPPED
   where the callback stopped it. */
VAE_API vae_status vae_fit(vae_model *model, const vae_data *data, const vae_fit_config *fit, vae_error *error);

#ifndef VAE_NO_STDIO
/* A ready-made on_progress: a bar with speed and time left where standard output is a terminal, a line per epoch. */
VAE_API int vae_print_progress(void *user, const vae_progress *progress);
#endif

/* One update on one batch of at most config.batch rows: forward, backward, Adam. `terms` may be NULL. */
VAE_API vae_status vae_train_step(vae_model *model, const vae_data *batch, vae_terms *terms, vae_error *error);

/* From the next step on. Both take the number as it is: 0 is 0. For schedules and warm-up. */
VAE_API vae_status vae_set_beta(vae_model *model, vae_real beta, vae_error *error);
VAE_API vae_status vae_set_learning_rate(vae_model *model, vae_real learning_rate, vae_error *error);

/* ==== 5 >>gradients =============================================================================================== */

/* A part of a larger batch: rows first .. first + count - 1 of `total`. */
typedef struct vae_share {
    size_t first, total;
} vae_share;

/* Adds to the gradient block the gradient of this batch's summed loss divided by `total`. With share NULL the batch is
   the whole (first 0, total count). Row r's noise depends on the seed, the step and first + r alone, so a batch may be
   cut into pieces, over time or over machines, and meets the same noise. `terms` are means over the rows given. A loss
   that is not finite (VAE_ERROR_NUMERIC) also forgets what was accumulated before it. */
VAE_API vae_status vae_accumulate_gradients(vae_model *model, const vae_data *batch, const vae_share *share,
                                            vae_terms *terms, vae_error *error);
/* One Adam update with what has been accumulated; the gradients are zero afterwards. */
VAE_API vae_status vae_apply_gradients(vae_model *model, vae_error *error);
/* Forgets what has been accumulated. */
VAE_API void vae_clear_gradients(vae_model *model);

/* The gradients, vae_parameter_count numbers in one block in the order of vae_parameters. */
VAE_API vae_real *vae_gradients(vae_model *model);
#endif /* VAE_INFERENCE_ONLY */

/* ==== 6 >>inference =============================================================================================== */

/* Any number of rows, taken config.batch at a time or fewer. Results are the caller's arrays, one row per example; all
   are deterministic.
   vae_encode: mean and logvar, count x latent each; either may be NULL.
   vae_decode: pixels from z (count x latent), count x example_size; what the likelihood expects of each pixel.
   vae_reconstruct: the decoded mean of q(z | x).
   vae_sample: decodes z from N(0, I). The model counts the samples drawn, so each call gives new ones; the sequence
     depends on the seed alone. vae_sample_latent gives those z, and counts alike. */
VAE_API vae_status vae_encode(vae_model *model, const vae_data *data, vae_real *mean, vae_real *logvar,
                              vae_error *error);
VAE_API vae_status vae_decode(vae_model *model, const vae_real *z, size_t count, vae_real *pixels, vae_error *error);
VAE_API vae_status vae_reconstruct(vae_model *model, const vae_data *data, vae_real *pixels, vae_error *error);
VAE_API vae_status vae_sample(vae_model *model, size_t count, vae_real *pixels, vae_error *error);
VAE_API vae_status vae_sample_latent(vae_model *model, size_t count, vae_real *z, vae_error *error);

/* The ELBO with one z per example. `mean` receives the mean terms over all rows, `each` the terms of every row (count
   of them); either may be NULL. The noise of row i depends on the seed and i alone: the same model and rows give the
   same score every time. */
VAE_API vae_status vae_elbo(vae_model *model, const vae_data *data, vae_terms *mean, vae_terms *each,
                            vae_error *error);

/* log p(x), estimated from below by `samples` importance samples from q (Burda et al. 2016, equation 8):
   log 1/k sum_k p(x | z_k) p(z_k) / q(z_k | x), nats per example. `mean` and `each` (count) as above. */
VAE_API vae_status vae_log_likelihood(vae_model *model, const vae_data *data, size_t samples, double *mean,
                                      double *each, vae_error *error);

/* ==== 7 >>files =================================================================================================== */

/* A model file is a safetensors file: tensors under PyTorch's names, shapes and orders, the network as JSON in its
   metadata. It is little-endian on every machine. A checkpoint also holds Adam's moments, the step, the epoch and the
   place within it: training then goes on with the same bits as if it had never stopped. (Gradients that were
   accumulated and not yet applied are not in it.)
   Saving writes a temporary file beside `path`, flushes it to the disk and renames it: at every instant either the old
   file or the new one is whole. (A symbolic link at `path` is replaced by the file.) Loading trusts nothing in the
   file.
   vae_load makes a model from the file alone. `config` may be NULL; else its seed, batch, kernels, threads, parallel,
   allocator, inference_only, layout, adam and beta are taken where not zero, and `input`, `latent` and `encoder` must
   be zero or agree with the file. Files without the metadata (weights saved from Python) need `config` in full.
   vae_load_weights replaces the weights of an existing model of the same network, all or none. Its _memory form
   allocates nothing: with vae_create_in a trained model runs without a heap. */
#ifndef VAE_NO_STDIO
VAE_API vae_status vae_save(const vae_model *model, const char *path, vae_error *error);
VAE_API vae_status vae_load(const char *path, const vae_config *config, vae_model **model, vae_error *error);
VAE_API vae_status vae_load_weights(vae_model *model, const char *path, vae_error *error);
#ifndef VAE_INFERENCE_ONLY
VAE_API vae_status vae_save_checkpoint(const vae_model *model, const char *path, vae_error *error);
#endif
#endif
/* The same from and to memory. vae_save_memory writes the file's bytes to `bytes` if `capacity` is enough (else
   VAE_ERROR_MEMORY, nothing written) and always stores the size needed; bytes may be NULL to ask for it. */
VAE_API vae_status vae_save_memory(const vae_model *model, int checkpoint, void *bytes, size_t capacity, size_t *size,
                                   vae_error *error);
VAE_API vae_status vae_load_memory(const void *bytes, size_t size, const vae_config *config, vae_model **model,
                                   vae_error *error);
VAE_API vae_status vae_load_weights_memory(vae_model *model, const void *bytes, size_t size, vae_error *error);

/* ==== 8 >>parameters ============================================================================================== */

/* The weights as one block, in the library's own order (for sums over machines, averaging, custom optimisers: anything
   that treats all numbers alike). */
VAE_API size_t vae_parameter_count(const vae_model *model);
VAE_API vae_real *vae_parameters(vae_model *model);

/* The same weights one tensor at a time, as PyTorch has them: Linear [out, in], Conv2d [out, in, height, width],
   ConvTranspose2d [in, out, height, width], bias [out]; names as in the nn.Sequential that one would write, which
   counts activations, Flatten, Unflatten and, for uneven padding, ZeroPad2d: "encoder.0.weight", "encoder.2.bias", ...,
   "mean.weight", "logvar.weight", ..., "decoder.0.weight". */
typedef struct vae_tensor {
    char   name[32];
    int    rank;          /* 1, 2 or 4 */
    size_t shape[4];      /* unused ones are 1 */
    size_t count;         /* product of the shape */
} vae_tensor;

VAE_API size_t vae_tensor_count(const vae_model *model);
VAE_API vae_status vae_tensor_at(const vae_model *model, size_t index, vae_tensor *tensor, vae_error *error);
/* Copies tensor `name` out of or into the model, `count` numbers in PyTorch's order. */
VAE_API vae_status vae_get_tensor(const vae_model *model, const char *name, vae_real *values, size_t count,
                                  vae_error *error);
VAE_API vae_status vae_set_tensor(vae_model *model, const char *name, const vae_real *values, size_t count,
                                  vae_error *error);
#ifndef VAE_INFERENCE_ONLY
/* The same of the gradient block. */
VAE_API vae_status vae_get_gradient(const vae_model *model, const char *name, vae_real *values, size_t count,
                                    vae_error *error);
#endif

#ifdef __cplusplus
}
#endif
#endif /* VAE_H */

/* ================================================================================================================
   IMPLEMENTATION
   ================================================================================================================ */
#if defined(VAE_IMPLEMENTATION) && !defined(VAEI_PASS) && !defined(VAEI_IMPLEMENTED)

/* ==== 9 >>platform ================================================================================================ */

#include <stdarg.h>
#include <string.h>
#ifndef VAE_NO_MALLOC
#include <stdlib.h>
#endif
#ifndef VAE_NO_STDIO
#include <stdio.h>
#endif

/* VAEI_SETUP runs once per model or file: the compiler may keep it small and spend its time elsewhere. VAEI_APART is
   not merged with its callers: large functions take longer to compile than their parts, and many copies longer than
   one. */
#if defined(__GNUC__)
#define VAEI_PRIVATE __attribute__((unused)) static
#define VAEI_SETUP __attribute__((unused, cold, noinline)) static
#define VAEI_NOINLINE __attribute__((noinline))
#else
#define VAEI_PRIVATE static
#define VAEI_SETUP static
#define VAEI_NOINLINE
#endif
#define VAEI_APART VAEI_NOINLINE VAEI_PRIVATE

/* ---- errors ---- */

typedef struct vaei_text {      /* text being written into a buffer that may be too small: length counts on */
    char  *bytes;
    size_t size, length;
} vaei_text;

VAEI_SETUP void vaei_put(vaei_text *text, char c) {
    if (text->length + 1 < text->size) text->bytes[text->length] = c;
    text->length++;
}

VAEI_SETUP void vaei_put_string(vaei_text *text, const char *string) {
    while (*string) vaei_put(text, *string++);
}

VAEI_SETUP void vaei_put_unsigned(vaei_text *text, uint64_t number) {
    char digits[20];
    int  count = 0;
    do digits[count++] = (char)('0' + (int)(number % 10));
    while ((number /= 10) != 0);
    while (count) vaei_put(text, digits[--count]);
}

/* At most nine significant digits, without trailing zeros, as %.9g: enough to give a float back exactly. */
VAEI_SETUP void vaei_put_real(vaei_text *text, double number) {
    uint64_t digits;
    int      exponent = 0, point, last = 9, i;
    char     shown[9];
    if (number != number) { vaei_put_string(text, "nan"); return; }
    if (number < 0) { vaei_put(text, '-'); number = -number; }
    if (number > 1e300) { vaei_put_string(text, "inf"); return; }
    if (number < 1e-300) { vaei_put(text, '0'); return; }
    while (number >= 1e9 || (uint64_t)(number + 0.5) >= 1000000000u) { number /= 10; exponent++; }
    while (number < 1e8) { number *= 10; exponent--; }
    digits = (uint64_t)(number + 0.5);
    if (digits == 1000000000u) { digits = 100000000u; exponent++; }
    for (i = 8; i >= 0; i--) { shown[i] = (char)('0' + (int)(digits % 10)); digits /= 10; }
    while (last > 1 && shown[last - 1] == '0') last--;
    point = 9 + exponent;                          /* digits before the decimal point */
    if (point < -3 || point > 12) {
        vaei_put(text, shown[0]);
        if (last > 1) vaei_put(text, '.');
        for (i = 1; i < last; i++) vaei_put(text, shown[i]);
        vaei_put_string(text, point - 1 < 0 ? "e-" : "e+");
        vaei_put_unsigned(text, (uint64_t)(point - 1 < 0 ? 1 - point : point - 1));
        return;
    }
    if (point <= 0) vaei_put_string(text, "0.");
    for (i = point; i < 0; i++) vaei_put(text, '0');
    for (i = 0; i < last || i < point; i++) {
        if (i == point && i > 0) vaei_put(text, '.');
        vaei_put(text, i < last ? shown[i] : '0');
    }
}

/* %s string, %d int, %z size_t, %r double. */
VAEI_SETUP void vaei_format_list(vaei_text *text, const char *format, va_list list) {
    for (; *format; format++) {
        if (*format != '%') { vaei_put(text, *format); continue; }
        format++;
        if (*format == 's') vaei_put_string(text, va_arg(list, const char *));
        else if (*format == 'z') vaei_put_unsigned(text, va_arg(list, size_t));
        else if (*format == 'r') vaei_put_real(text, va_arg(list, double));
        else if (*format == 'd') {
            int number = va_arg(list, int);
            if (number < 0) vaei_put(text, '-');
            vaei_put_unsigned(text, number < 0 ? (uint64_t)-(int64_t)number : (uint64_t)number);
        } else vaei_put(text, *format);
    }
    if (text->size) text->bytes[text->length < text->size ? text->length : text->size - 1] = 0;
}

VAEI_SETUP void vaei_format(vaei_text *text, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vaei_format_list(text, format, list);
    va_end(list);
}

/* Fills *error, if there is one, and returns the status: `return vaei_fail(error, VAE_ERROR_.., "...")`. */
VAEI_SETUP vae_status vaei_fail(vae_error *error, vae_status status, const char *format, ...) {
    if (error) {
        vaei_text text;
        va_list   list;
        text.bytes = error->message; text.size = sizeof error->message; text.length = 0;
        va_start(list, format);
        vaei_format_list(&text, format, list);
        va_end(list);
        error->status = status;
    }
    return status;
}

/* ---- what the operating system offers ---- */

#if defined(__unix__) || defined(__APPLE__) || defined(__HAIKU__) || defined(__wasi__)
#define VAEI_POSIX 1
/* -std=c99 hides most of POSIX, and once a header has been included no macro brings it back. What is missing then is
   declared under names of our own, which agree with every header. */
#if defined(__linux__) && defined(__GNUC__) && defined(__STRICT_ANSI__) && !defined(__cplusplus)
#define VAEI_HIDDEN_POSIX 1
#endif
#endif

/* Declared as <windows.h> declares them, which may be included before or after: it would bring its macros, and with the
   settings of whoever includes it first. */
#ifdef _WIN32
#ifdef __cplusplus
extern "C" {
#endif
struct _RTL_SRWLOCK;
struct _RTL_CONDITION_VARIABLE;
union _LARGE_INTEGER;
#ifdef _WIN64
typedef unsigned long long vaei_processor_mask;
#else
typedef unsigned long vaei_processor_mask;
#endif
__declspec(dllimport) void __stdcall AcquireSRWLockExclusive(struct _RTL_SRWLOCK *lock);
__declspec(dllimport) void __stdcall ReleaseSRWLockExclusive(struct _RTL_SRWLOCK *lock);
__declspec(dllimport) int __stdcall SleepConditionVariableSRW(struct _RTL_CONDITION_VARIABLE *condition,
                                                              struct _RTL_SRWLOCK *lock, unsigned long milliseconds,
                                                              unsigned long flags);
__declspec(dllimport) void __stdcall WakeAllConditionVariable(struct _RTL_CONDITION_VARIABLE *condition);
__declspec(dllimport) unsigned long __stdcall WaitForSingleObject(void *handle, unsigned long milliseconds);
__declspec(dllimport) int __stdcall CloseHandle(void *handle);
__declspec(dllimport) void *__stdcall GetCurrentProcess(void);
__declspec(dllimport) int __stdcall GetProcessAffinityMask(void *process, vaei_processor_mask *of_process,
                                                           vaei_processor_mask *of_system);
__declspec(dllimport) int __stdcall QueryPerformanceCounter(union _LARGE_INTEGER *count);
__declspec(dllimport) int __stdcall QueryPerformanceFrequency(union _LARGE_INTEGER *frequency);
__declspec(dllimport) int __stdcall MoveFileExW(const wchar_t *from, const wchar_t *to, unsigned long flags);
__declspec(dllimport) int __stdcall MultiByteToWideChar(unsigned int page, unsigned long flags, const char *from,
                                                        int from_size, wchar_t *to, int to_size);
#ifdef __cplusplus
}
#endif
#endif

/* ---- time and terminals: for progress, never for results ---- */

/* Seconds since some moment, on a clock that nobody sets where there is one. */
#if !defined(VAE_NO_STDIO) && defined(VAEI_POSIX)
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#if defined(CLOCK_MONOTONIC)
VAEI_PRIVATE double vaei_now(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now)) return 0;
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
#elif defined(VAEI_HIDDEN_POSIX) && \
    (defined(__LP64__) || (defined(__GLIBC__) && defined(__TIMESIZE) && __TIMESIZE == __WORDSIZE))
typedef struct vaei_time { long seconds, nanoseconds; } vaei_time;
extern int vaei_clock_gettime(int clock, vaei_time *now) __asm__("clock_gettime");
VAEI_PRIVATE double vaei_now(void) {
    vaei_time now;
    if (vaei_clock_gettime(1, &now)) return 0;          /* CLOCK_MONOTONIC */
    return (double)now.seconds + 1e-9 * (double)now.nanoseconds;
}
#else
VAEI_PRIVATE double vaei_now(void) {
    struct timeval now;
    gettimeofday(&now, NULL);
    return (double)now.tv_sec + 1e-6 * (double)now.tv_usec;
}
#endif
VAEI_PRIVATE int vaei_is_terminal(void) { return isatty(1); }
#elif !defined(VAE_NO_STDIO) && defined(_WIN32)
#include <io.h>
VAEI_PRIVATE double vaei_now(void) {
    int64_t count, frequency;
    if (!QueryPerformanceCounter((union _LARGE_INTEGER *)(void *)&count) ||
        !QueryPerformanceFrequency((union _LARGE_INTEGER *)(void *)&frequency)) return 0;
    return (double)count / (double)frequency;
}
VAEI_PRIVATE int vaei_is_terminal(void) { return _isatty(1); }
#elif !defined(VAE_NO_STDIO)
#include <time.h>
VAEI_PRIVATE double vaei_now(void) { return (double)time(NULL); }
VAEI_PRIVATE int vaei_is_terminal(void) { return 0; }
#else
VAEI_PRIVATE double vaei_now(void) { return 0; }
#endif

/* From one vaei_now() to a later one. Where the clock can be set back, no time has passed. */
VAEI_PRIVATE double vaei_elapsed(double from, double to) { return to > from ? to - from : 0; }

/* ---- numbers that threads share ---- */

#if defined(_MSC_VER) && !defined(__clang__)
#define VAEI_HAS_ATOMICS 1
#include <intrin.h>
typedef volatile long vaei_counter;
#define VAEI_COUNTER_GET(c) _InterlockedCompareExchange(&(c), 0, 0)
#define VAEI_COUNTER_ADD(c, n) _InterlockedExchangeAdd(&(c), (n))       /* gives the old value */
#define VAEI_COUNTER_SET(c, n) _InterlockedExchange(&(c), (n))
#define VAEI_COUNTER_SWAP(c, old, n) (_InterlockedCompareExchange(&(c), (n), (old)) == (old))
#elif (defined(__GCC_ATOMIC_LONG_LOCK_FREE) && __GCC_ATOMIC_LONG_LOCK_FREE == 2) || \
    (defined(__CLANG_ATOMIC_LONG_LOCK_FREE) && __CLANG_ATOMIC_LONG_LOCK_FREE == 2)
#define VAEI_HAS_ATOMICS 1
typedef long vaei_counter;
#define VAEI_COUNTER_GET(c) __atomic_load_n(&(c), __ATOMIC_ACQUIRE)
#define VAEI_COUNTER_ADD(c, n) __atomic_fetch_add(&(c), (n), __ATOMIC_ACQ_REL)
#define VAEI_COUNTER_SET(c, n) __atomic_store_n(&(c), (n), __ATOMIC_RELEASE)
#define VAEI_COUNTER_SWAP(c, old, n) \
    __atomic_compare_exchange_n(&(c), &(old), (n), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#endif

/* A mark that one thread at a time can set, whether or not the library has threads of its own. Where the compiler has
   no atomic operations it is a plain number, which sees what one thread does and may miss what two do at once. */
#ifdef VAEI_HAS_ATOMICS
typedef vaei_counter vaei_flag;
/* Whether the flag was `expected`; it is `desired` then. */
VAEI_PRIVATE int vaei_flag_swap(vaei_flag *flag, int expected, int desired) {
    long old = expected;
    return VAEI_COUNTER_SWAP(*flag, old, desired);
}
VAEI_PRIVATE int vaei_flag_get(vaei_flag *flag) { return (int)VAEI_COUNTER_GET(*flag); }
#else
typedef int vaei_flag;
VAEI_PRIVATE int vaei_flag_swap(vaei_flag *flag, int expected, int desired) {
    if (*flag != expected) return 0;
    *flag = desired;
    return 1;
}
VAEI_PRIVATE int vaei_flag_get(vaei_flag *flag) { return *flag; }
#endif

/* ---- threads ----

   A pool waits for work by spinning for some tens of microseconds, the time between two products of one training step,
   and then sleeps: on a busy machine it does not hold a core that someone else could use. Whoever is free takes the
   next task, the caller too: a thread that the system has set aside costs the help it would have been and no more.
   Task i always runs on slot i, so nothing depends on which thread takes it. */

#if defined(VAE_THREADS) && (defined(_WIN32) || (defined(VAEI_POSIX) && !defined(__wasi__)))
#define VAEI_HAS_POOL 1
#define VAEI_MOST_THREADS 64
#ifdef _WIN32
#ifndef VAEI_HAS_ATOMICS
#error "VAE_THREADS needs atomic operations, which this compiler lacks: leave it out, or give config.parallel"
#endif
#include <process.h>
typedef void *vaei_thread;
typedef struct vaei_monitor { void *lock, *changed; } vaei_monitor;    /* SRWLOCK, CONDITION_VARIABLE: 0 at first */
#define VAEI_THREAD_RESULT unsigned __stdcall
#define VAEI_LOCK(m) ((struct _RTL_SRWLOCK *)(void *)&(m)->lock)
#define VAEI_CHANGED(m) ((struct _RTL_CONDITION_VARIABLE *)(void *)&(m)->changed)
VAEI_PRIVATE void vaei_monitor_open(vaei_monitor *m) { m->lock = m->changed = NULL; }
VAEI_PRIVATE void vaei_monitor_close(vaei_monitor *m) { (void)m; }
VAEI_PRIVATE void vaei_monitor_enter(vaei_monitor *m) { AcquireSRWLockExclusive(VAEI_LOCK(m)); }
VAEI_PRIVATE void vaei_monitor_leave(vaei_monitor *m) { ReleaseSRWLockExclusive(VAEI_LOCK(m)); }
VAEI_PRIVATE void vaei_monitor_wait(vaei_monitor *m) {
    SleepConditionVariableSRW(VAEI_CHANGED(m), VAEI_LOCK(m), 0xFFFFFFFFul, 0);
}
VAEI_PRIVATE void vaei_monitor_wake(vaei_monitor *m) { WakeAllConditionVariable(VAEI_CHANGED(m)); }
VAEI_PRIVATE int  vaei_thread_start(vaei_thread *thread, unsigned(__stdcall *run)(void *), void *argument) {
    *thread = (void *)_beginthreadex(NULL, 0, run, argument, 0, NULL);
    return *thread != NULL;
}
VAEI_PRIVATE void vaei_thread_join(vaei_thread thread) {
    WaitForSingleObject(thread, 0xFFFFFFFFul);
    CloseHandle(thread);
}
VAEI_PRIVATE long vaei_process(void) { return 0; }      /* there is no fork */

/* Those this process may run on, up to 64: the system counts them in groups of so many. */
VAEI_PRIVATE int vaei_core_count(void) {
    vaei_processor_mask process = 0, all = 0;
    int                 count = 0;
    if (!GetProcessAffinityMask(GetCurrentProcess(), &process, &all)) return 1;
    if (!process) return VAEI_MOST_THREADS;     /* it already runs in several groups */
    for (; process; process &= process - 1) count++;
    return count;
}
#else
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
typedef pthread_t vaei_thread;
typedef struct vaei_monitor { pthread_mutex_t mutex; pthread_cond_t changed; } vaei_monitor;
#define VAEI_THREAD_RESULT void *
VAEI_PRIVATE void vaei_monitor_open(vaei_monitor *m) {
    pthread_mutex_init(&m->mutex, NULL);
    pthread_cond_init(&m->changed, NULL);
}
VAEI_PRIVATE void vaei_monitor_close(vaei_monitor *m) {
    pthread_mutex_destroy(&m->mutex);
    pthread_cond_destroy(&m->changed);
}
VAEI_PRIVATE void vaei_monitor_enter(vaei_monitor *m) { pthread_mutex_lock(&m->mutex); }
VAEI_PRIVATE void vaei_monitor_leave(vaei_monitor *m) { pthread_mutex_unlock(&m->mutex); }
VAEI_PRIVATE void vaei_monitor_wait(vaei_monitor *m) { pthread_cond_wait(&m->changed, &m->mutex); }
VAEI_PRIVATE void vaei_monitor_wake(vaei_monitor *m) { pthread_cond_broadcast(&m->changed); }

/* A new thread has the signal mask of the thread that starts it. All signals are blocked meanwhile, so that none of the
   program's is delivered to a worker; only those that report a fault of the very thread they come to are not. */
#if defined(SIG_SETMASK)
typedef sigset_t vaei_signals;
VAEI_PRIVATE void vaei_signals_block(vaei_signals *before) {
    static const int faults[] = { SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP };
    sigset_t         blocked;
    size_t           i;
    sigfillset(&blocked);
    for (i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&blocked, faults[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, before);
}
VAEI_PRIVATE void vaei_signals_restore(const vaei_signals *before) { pthread_sigmask(SIG_SETMASK, before, NULL); }
#elif defined(VAEI_HIDDEN_POSIX)
typedef struct vaei_signals { unsigned long bits[1024 / 8 / sizeof(unsigned long)]; } vaei_signals;
extern int vaei_pthread_sigmask(int how, const vaei_signals *now, vaei_signals *before) __asm__("pthread_sigmask");
#if defined(__mips__) || defined(__alpha__)
#define VAEI_SIG_SETMASK 3
#elif defined(__sparc__)
#define VAEI_SIG_SETMASK 4
#else
#define VAEI_SIG_SETMASK 2
#endif
VAEI_PRIVATE void vaei_signals_block(vaei_signals *before) {
    static const int apart[] = {
        SIGFPE, SIGILL, SIGSEGV,
#ifdef SIGBUS
        SIGBUS, SIGTRAP,
#endif
        32, 33, 34          /* the C library's own */
    };
    vaei_signals     blocked;
    const size_t     each = 8 * sizeof *blocked.bits;
    size_t           i;
    memset(&blocked, 0xFF, sizeof blocked);
    for (i = 0; i < sizeof apart / sizeof *apart; i++)
        blocked.bits[(size_t)(apart[i] - 1) / each] &= ~(1ul << (size_t)(apart[i] - 1) % each);
    vaei_pthread_sigmask(VAEI_SIG_SETMASK, &blocked, before);
}
VAEI_PRIVATE void vaei_signals_restore(const vaei_signals *before) {
    vaei_pthread_sigmask(VAEI_SIG_SETMASK, before, NULL);
}
#else
typedef int vaei_signals;
VAEI_PRIVATE void vaei_signals_block(vaei_signals *before) { *before = 0; }
VAEI_PRIVATE void vaei_signals_restore(const vaei_signals *before) { (void)before; }
#endif

VAEI_PRIVATE int vaei_thread_start(vaei_thread *thread, void *(*run)(void *), void *argument) {
    vaei_signals before;
    int          failed;
    vaei_signals_block(&before);
    failed = pthread_create(thread, NULL, run, argument);
    vaei_signals_restore(&before);
    return !failed;
}
VAEI_PRIVATE void vaei_thread_join(vaei_thread thread) { pthread_join(thread, NULL); }
VAEI_PRIVATE long vaei_process(void) { return (long)getpid(); }

#if defined(__linux__) && (defined(__GNUC__) || defined(__TINYC__))
/* Hidden unless _GNU_SOURCE is defined. */
extern int vaei_sched_getaffinity(int thread, size_t size, unsigned char *mask) __asm__("sched_getaffinity");

/* The processors that the calling thread may run on; 0: not known. */
VAEI_SETUP long vaei_affinity(void) {
    unsigned char mask[256];            /* of 2048 processors; the kernel refuses a mask too small for its own */
    long          count = 0;
    size_t        i;
    memset(mask, 0, sizeof mask);
    if (vaei_sched_getaffinity(0, sizeof mask, mask) < 0) return 0;
    for (i = 0; i < 8 * sizeof mask; i++) count += mask[i / 8] >> i % 8 & 1;
    return count;
}

/* How many processors' time a control group grants, rounded down, from "quota period\n" or "max period\n"; 0: any. A
   thread more than that would make all of them wait when the quota is used up. */
VAEI_SETUP long vaei_quota_of(const char *text, size_t size) {
    long   numbers[2] = { 0, 0 };
    int    which = 0;
    size_t i;
    for (i = 0; i < size && which < 2; i++) {
        if (text[i] >= '0' && text[i] <= '9' && numbers[which] < 100000000)
            numbers[which] = 10 * numbers[which] + (text[i] - '0');
        else if (text[i] == ' ' || text[i] == '\n') which++;
        else return 0;
    }
    if (numbers[0] < 1 || numbers[1] < 1) return 0;
    return numbers[0] < numbers[1] ? 1 : numbers[0] / numbers[1];
}

/* Of the group at the root, which is what a container sees of its own. */
VAEI_SETUP long vaei_quota(void) {
    char      text[64];
    const int file = open("/sys/fs/cgroup/cpu.max", O_RDONLY);
    long      size;
    if (file < 0) return 0;
    size = (long)read(file, text, sizeof text);
    close(file);
    return size > 0 ? vaei_quota_of(text, (size_t)size) : 0;
}
#else
VAEI_SETUP long vaei_affinity(void) { return 0; }
VAEI_SETUP long vaei_quota(void) { return 0; }
#endif

VAEI_SETUP int vaei_core_count(void) {
    const long allowed = vaei_affinity(), quota = vaei_quota();
    long       count = allowed > 0 ? allowed : sysconf(_SC_NPROCESSORS_ONLN);
    if (quota > 0 && quota < count) count = quota;
    return count < 1 ? 1 : count > VAEI_MOST_THREADS ? VAEI_MOST_THREADS : (int)count;
}
#endif

#ifdef VAEI_HAS_ATOMICS
#define VAEI_COUNTER_OPEN(c) ((void)0)
#define VAEI_COUNTER_CLOSE(c) ((void)0)
#else
typedef struct vaei_counter { pthread_mutex_t lock; long value; } vaei_counter;
#define VAEI_COUNTER_OPEN(c) ((void)pthread_mutex_init(&(c).lock, NULL))
#define VAEI_COUNTER_CLOSE(c) ((void)pthread_mutex_destroy(&(c).lock))
#define VAEI_COUNTER_GET(c) vaei_counter_add(&(c), 0)
#define VAEI_COUNTER_ADD(c, n) vaei_counter_add(&(c), (n))
#define VAEI_COUNTER_SET(c, n) vaei_counter_set(&(c), (n))
#define VAEI_COUNTER_SWAP(c, old, n) vaei_counter_swap(&(c), (old), (n))
VAEI_PRIVATE long vaei_counter_add(vaei_counter *counter, long number) {
    long old;
    pthread_mutex_lock(&counter->lock);
    old = counter->value;
    counter->value += number;
    pthread_mutex_unlock(&counter->lock);
    return old;
}
VAEI_PRIVATE void vaei_counter_set(vaei_counter *counter, long number) {
    pthread_mutex_lock(&counter->lock);
    counter->value = number;
    pthread_mutex_unlock(&counter->lock);
}
VAEI_PRIVATE int vaei_counter_swap(vaei_counter *counter, long old, long number) {
    int same;
    pthread_mutex_lock(&counter->lock);
    same = counter->value == old;
    if (same) counter->value = number;
    pthread_mutex_unlock(&counter->lock);
    return same;
}
#endif

#define VAEI_SPINS 4000     /* turns of vaei_pause: 40 to 100 microseconds */

VAEI_PRIVATE void vaei_pause(void) {
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_ia32_pause();
#elif defined(__GNUC__) && defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

typedef struct vaei_pool vaei_pool;

/* `work` is tasks * 256 + next, in one number: whoever raises it by one has taken task `next`, and the task and context
   stand still until that task is done. */
struct vaei_pool {
    vaei_monitor monitor;
    vaei_thread  threads[63];
    size_t       count;             /* of threads that could be started, the caller not among them */
    vaei_counter work, done, stopping, sleepers;
    vae_task     task;
    void        *context;
    long         process;           /* that started the threads */
};

VAEI_PRIVATE int vaei_pool_has_work(vaei_pool *pool) {
    const long work = VAEI_COUNTER_GET(pool->work);
    return work % 256 < work / 256;
}

VAEI_PRIVATE void vaei_pool_wake(vaei_pool *pool) {
    vaei_monitor_enter(&pool->monitor);
    if (VAEI_COUNTER_GET(pool->sleepers)) vaei_monitor_wake(&pool->monitor);
    vaei_monitor_leave(&pool->monitor);
}

/* Takes tasks until none is left. */
VAEI_PRIVATE void vaei_pool_share(vaei_pool *pool) {
    for (;;) {
        long work = VAEI_COUNTER_GET(pool->work);
        if (work % 256 >= work / 256) return;
        if (!VAEI_COUNTER_SWAP(pool->work, work, work + 1)) continue;
        pool->task(pool->context, (size_t)(work % 256));
        if (VAEI_COUNTER_ADD(pool->done, 1) + 1 < work / 256) continue;
        vaei_pool_wake(pool);                       /* that was the last: the caller may be asleep */
    }
}

/* A thread waits for work or the end; the caller (tasks > 0) until so many tasks are done. */
VAEI_PRIVATE int vaei_pool_may_go(vaei_pool *pool, long tasks) {
    if (tasks) return VAEI_COUNTER_GET(pool->done) == tasks;
    return vaei_pool_has_work(pool) || VAEI_COUNTER_GET(pool->stopping);
}

/* Spinning first, then asleep. Whoever goes to sleep counts itself under the lock before it looks again, and whoever
   changes something takes the lock afterwards: so either the one sees the change or the other the sleeper. */
VAEI_PRIVATE void vaei_pool_wait(vaei_pool *pool, long tasks) {
    int spin;
    for (spin = 0; spin < VAEI_SPINS; spin++) {
        if (vaei_pool_may_go(pool, tasks)) return;
        vaei_pause();
    }
    vaei_monitor_enter(&pool->monitor);
    VAEI_COUNTER_ADD(pool->sleepers, 1);
    while (!vaei_pool_may_go(pool, tasks)) vaei_monitor_wait(&pool->monitor);
    VAEI_COUNTER_ADD(pool->sleepers, -1);
    vaei_monitor_leave(&pool->monitor);
}

VAEI_PRIVATE VAEI_THREAD_RESULT vaei_pool_work(void *opaque) {
    vaei_pool *pool = (vaei_pool *)opaque;
    for (;;) {
        vaei_pool_wait(pool, 0);
        if (VAEI_COUNTER_GET(pool->stopping)) return 0;
        vaei_pool_share(pool);
    }
}

/* Where fewer threads can be started than asked for, those there are do the work of all. */
VAEI_PRIVATE void vaei_pool_start(vaei_pool *pool, int threads) {
    memset(pool, 0, sizeof *pool);
    pool->process = vaei_process();
    vaei_monitor_open(&pool->monitor);
    VAEI_COUNTER_OPEN(pool->work);
    VAEI_COUNTER_OPEN(pool->done);
    VAEI_COUNTER_OPEN(pool->stopping);
    VAEI_COUNTER_OPEN(pool->sleepers);
    while (pool->count + 1 < (size_t)threads) {
        if (!vaei_thread_start(&pool->threads[pool->count], vaei_pool_work, pool)) break;
        pool->count++;
    }
}

/* fork copies the pool without its threads, and its lock as it stood: the child leaves it alone and works by itself. */
VAEI_PRIVATE void vaei_pool_run(vaei_pool *pool, vae_task task, void *context, size_t count) {
    size_t i;
    if (pool->process != vaei_process()) {
        for (i = 0; i < count; i++) task(context, i);
        return;
    }
    pool->task = task;
    pool->context = context;
    VAEI_COUNTER_SET(pool->done, 0);
    VAEI_COUNTER_SET(pool->work, (long)count * 256);
    vaei_pool_wake(pool);
    vaei_pool_share(pool);
    vaei_pool_wait(pool, (long)count);
}

VAEI_PRIVATE void vaei_pool_stop(vaei_pool *pool) {
    size_t i;
    if (pool->process != vaei_process()) return;
    VAEI_COUNTER_ADD(pool->stopping, 1);
    vaei_pool_wake(pool);
    for (i = 0; i < pool->count; i++) vaei_thread_join(pool->threads[i]);
    VAEI_COUNTER_CLOSE(pool->work);
    VAEI_COUNTER_CLOSE(pool->done);
    VAEI_COUNTER_CLOSE(pool->stopping);
    VAEI_COUNTER_CLOSE(pool->sleepers);
    vaei_monitor_close(&pool->monitor);
}
#else
typedef struct vaei_pool { int unused; } vaei_pool;
VAEI_PRIVATE int  vaei_core_count(void) { return 1; }
VAEI_PRIVATE void vaei_pool_run(vaei_pool *pool, vae_task task, void *context, size_t count) {
    (void)pool; (void)task; (void)context; (void)count;
}
#endif

/* ==== 10 >>memory ================================================================================================= */

#define VAEI_ALIGNMENT 64      /* of every block handed out: a cache line, and the widest vector */

VAEI_PRIVATE size_t vaei_min_size(size_t a, size_t b) { return a < b ? a : b; }
VAEI_PRIVATE size_t vaei_max_size(size_t a, size_t b) { return a > b ? a : b; }

/* 0 where the product does not fit. */
VAEI_PRIVATE int vaei_multiply_sizes(size_t a, size_t b, size_t *product) {
    if (b && a > (size_t)-1 / b) return 0;
    *product = a * b;
    return 1;
}

VAEI_PRIVATE void *vaei_allocate(const vae_allocator *allocator, size_t size) {
    if (allocator->allocate) return allocator->allocate(allocator->user, size);
#ifdef VAE_NO_MALLOC
    return NULL;
#else
    return malloc(size);
#endif
}

VAEI_PRIVATE void vaei_release(const vae_allocator *allocator, void *block, size_t size) {
    if (!block) return;
    if (allocator->release) allocator->release(allocator->user, block, size);
#ifndef VAE_NO_MALLOC
    else free(block);
#endif
}

/* Hands out consecutive pieces of one block. With base NULL it only counts: the same code that lays a model out also
   says how large it is. A count that does not fit sets `overflow` and goes on harmlessly. */
typedef struct vaei_arena {
    char  *base;
    size_t used;
    int    overflow;
} vaei_arena;

VAEI_PRIVATE void *vaei_take(vaei_arena *arena, size_t count, size_t size) {
    size_t bytes, start = arena->used;
    if (!vaei_multiply_sizes(count, size, &bytes) || bytes > (size_t)-1 - 2 * VAEI_ALIGNMENT - start) {
        arena->overflow = 1;
        return NULL;
    }
    arena->used = (start + bytes + VAEI_ALIGNMENT - 1) / VAEI_ALIGNMENT * VAEI_ALIGNMENT;
    return arena->base ? (void *)(arena->base + start) : NULL;
}

VAEI_PRIVATE vae_real *vaei_take_reals(vaei_arena *arena, size_t count) {
    return (vae_real *)vaei_take(arena, count, sizeof(vae_real));
}

/* ==== 11 >>arithmetic ============================================================================================= */

#ifdef VAE_DOUBLE
#include <math.h>
#define VAEI_LARGEST ((vae_real)1.7976931348623157e308)
#else
#define VAEI_LARGEST ((vae_real)3.40282346638528859812e38)
#endif

/* The instruction sets that this build has; which of them the processor has is asked when a model is made. */
#if !defined(VAE_DOUBLE) && !defined(VAE_PORTABLE) && defined(__GNUC__) && !defined(__TINYC__)
#if defined(__x86_64__)
#define VAEI_HAS_X86 1
#elif defined(__aarch64__)
#define VAEI_HAS_NEON 1
#include <arm_neon.h>
#endif
#endif
#if !defined(VAE_DOUBLE) && defined(__GNUC__) && !defined(__TINYC__)
#define VAEI_HAS_VECTOR 1
#endif

/* Vectors of n floats, of as many integers of 32 bits and half as many of 64, by the compiler's vector extension; the
   loose ones lie anywhere in memory. */
#define VAEI_VECTORS_OF(n) \
    typedef float    vaei_floats##n __attribute__((vector_size(4 * n))); \
    typedef int32_t  vaei_ints##n __attribute__((vector_size(4 * n))); \
    typedef uint32_t vaei_uints##n __attribute__((vector_size(4 * n))); \
    typedef uint64_t vaei_longs##n __attribute__((vector_size(4 * n))); \
    typedef float    vaei_loose_floats##n __attribute__((vector_size(4 * n), aligned(4), may_alias)); \
    typedef int32_t  vaei_loose_ints##n __attribute__((vector_size(4 * n), aligned(4), may_alias));
#ifdef VAEI_HAS_VECTOR
VAEI_VECTORS_OF(4)
#endif
#ifdef VAEI_HAS_X86
VAEI_VECTORS_OF(8)
VAEI_VECTORS_OF(16)
typedef char vaei_byte16 __attribute__((vector_size(16)));

/* Where the extension has no operator we take gcc's own names, as far as we know them: <immintrin.h> alone is a ninth
   of gcc's work on this file. */
#if !defined(__clang__) && __GNUC__ >= 12 && __GNUC__ <= 15
#define VAEI_X86(gcc, others) gcc
#else
#define VAEI_X86(gcc, others) others
#include <immintrin.h>
#endif
#endif

/* A function that must become part of its caller, or its vectors would pass through memory. */
#if defined(__GNUC__)
#define VAEI_INLINE __attribute__((unused, always_inline)) static inline
#else
#define VAEI_INLINE static inline
#endif

/* A function that begins where the processor begins to fetch: where a kernel's loop lies relative to these lines makes
   1 to 3% of a step, and more where a neighbour shares the core, so it is not left to chance. */
#if defined(__GNUC__)
#define VAEI_FETCHED __attribute__((aligned(64)))
#else
#define VAEI_FETCHED
#endif

/* Asks for the memory `bytes` beyond p, which need not be anybody's. */
#if defined(__GNUC__)
#define VAEI_PREFETCH(p, bytes) __builtin_prefetch((const void *)((uintptr_t)(p) + (bytes)))
#else
#define VAEI_PREFETCH(p, bytes) ((void)0)
#endif

/* From here on the compiler takes p for any pointer, and nothing that follows is read from memory before. */
#if defined(__GNUC__)
#define VAEI_HERE(p) __asm__ volatile("" : "+r"(p) : : "memory")
#else
#define VAEI_HERE(p) ((void)0)
#endif

/* Keeps a rounded product apart from the sum that follows it where the target could fuse the two by itself. clang heeds
   the pragma; gcc fuses in its GNU modes where the target has the instruction, unless it cannot see the product. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
#if defined(__GNUC__) && !defined(__clang__) && defined(__FMA__)
#define VAEI_ROUNDED(x) \
    __extension__({ __typeof__(x) vaei_product_ = (x); __asm__("" : "+x"(vaei_product_)); vaei_product_; })
#elif defined(__GNUC__) && !defined(__clang__) && defined(__aarch64__)
#define VAEI_ROUNDED(x) \
    __extension__({ __typeof__(x) vaei_product_ = (x); __asm__("" : "+w"(vaei_product_)); vaei_product_; })
#else
#define VAEI_ROUNDED(x) (x)
#endif
/* The same inside functions compiled for a set that fuses, whatever the flags. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
#define VAEI_ROUNDED_IN_FUSED(x) \
    __extension__({ __typeof__(x) vaei_product_ = (x); __asm__("" : "+v"(vaei_product_)); vaei_product_; })
#else
#define VAEI_ROUNDED_IN_FUSED(x) VAEI_ROUNDED(x)
#endif

#ifndef VAE_DOUBLE
VAEI_INLINE int32_t vaei_real_bits(vae_real x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

VAEI_INLINE vae_real vaei_bits_real(int32_t bits) {
    vae_real x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
#endif

/* ==== 12 >>scalar-math ============================================================================================ */


#define VAEI_SUM_LANES 16       /* partial sums of every sum over an array: element i goes to number i mod 16 */
#define VAEI_SUM_BLOCK 256      /* elements after which the partial sums move on to a double */
#define VAEI_LEAKY_SLOPE ((vae_real)0.01)

/* The derivative of an activation is taken from its output where that tells it, else from its input, which a layer then
   has to keep. */
VAEI_PRIVATE int vaei_activation_saves_input(vae_activation kind) { return kind == VAE_SILU || kind == VAE_GELU; }

/* ---- square root ---- */

#ifndef VAE_DOUBLE
/* The square root, rounded to nearest as IEEE 754 asks, in integers. With x = M 2^23 2^(e - 46), e even and
   2^23 <= M < 2^25, the result's 24 bits are the integer nearest to sqrt(M 2^23): the one R for which
   R^2 - R < M 2^23 <= R^2 + R. Two of Newton's steps bring R within a few units, the two loops do the rest. */
VAEI_PRIVATE vae_real vaei_exact_sqrt(vae_real x) {
    const uint32_t bits = (uint32_t)vaei_real_bits(x);
    int            exponent = (int)(bits >> 23);
    uint32_t       mantissa = bits & 0x7FFFFF;
    uint64_t       square, root;
    vae_real       scaled, estimate;
    if ((bits & 0x7FFFFFFF) == 0 || bits == 0x7F800000) return x;
    if (bits > 0x7F800000) return vaei_bits_real(0x7FC00000);       /* NaN or below zero */
    if (exponent > 0) mantissa |= 0x800000;
    else for (exponent = 1; mantissa < 0x800000; exponent--) mantissa <<= 1;
    exponent -= 127;
    if (exponent % 2 != 0) { mantissa <<= 1; exponent--; }
    scaled   = (vae_real)mantissa * (vae_real)1.1920928955078125e-7;                      /* M 2^-23, in [1, 4) */
    estimate = vaei_bits_real((int32_t)((uint32_t)vaei_real_bits(scaled) >> 1) + 0x1FBD1DF5);   /* half the exponent */
    estimate = (vae_real)0.5 * (estimate + scaled / estimate);
    estimate = (vae_real)0.5 * (estimate + scaled / estimate);
    square   = (uint64_t)mantissa << 23;
    root     = (uint64_t)(estimate * (vae_real)8388608);
    while (root * root + root < square) root++;
    while (root * root - root >= square) root--;
    return vaei_bits_real((int32_t)((uint32_t)(exponent / 2 + 127) << 23) + ((int32_t)root - 0x800000));
}
#endif

/* The processor's own square root, which gives the same bits, where it can be named without libm. */
VAEI_PRIVATE vae_real vaei_sqrt(vae_real x) {
#if defined(VAE_DOUBLE)
    return sqrt(x);
#elif defined(VAEI_HAS_X86)
    vaei_floats4 v = { x, 0, 0, 0 };
    v = VAEI_X86(__builtin_ia32_sqrtss(v), _mm_sqrt_ss(v));
    return v[0];
#elif defined(VAEI_HAS_NEON)
    return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0);
#elif defined(__wasm__)
    return __builtin_sqrtf(x);
#else
    return vaei_exact_sqrt(x);
#endif
}

/* ---- one number at a time, in double: for the few places outside the kernels that need more than a float ---- */

VAEI_PRIVATE double vaei_power_of_two(int exponent) {       /* -1022 .. 1023 */
    const uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double         power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* e^x to about 1e-15: x = n ln 2 + r, and Taylor's series for e^r with |r| <= 0.35. */
VAEI_PRIVATE double vaei_scalar_exp(double x) {
    double n, r, sum = 1;
    int    k, whole;
    if (!(x > -708)) return x != x ? x : 0;
    if (x > 709) return x * 1e308 * 1e308;                  /* inf, or NaN */
    n     = VAEI_ROUNDED(x * 1.4426950408889634);
    whole = (int)(n < 0 ? n - 0.5 : n + 0.5);
    r     = x - VAEI_ROUNDED(whole * 0.693147180369123816490);          /* ln 2 in two parts, as in fdlibm's e_exp.c */
    r     = r - VAEI_ROUNDED(whole * 1.90821492927058770002e-10);
    for (k = 13; k > 0; k--) sum = 1 + VAEI_ROUNDED(sum * r) / k;
    return sum * vaei_power_of_two(whole - 1) * 2;
}

/* log x to about 1e-15 for x > 0: x = 2^n m, log m = 2 artanh(s) = 2 (s + s^3/3 + ...) with s = (m-1)/(m+1), |s| <
   0.18. -inf at 0, NaN below. */
VAEI_PRIVATE double vaei_scalar_log(double x) {
    uint64_t bits;
    double   m, s, z, series = 0;
    int      k, n = 0;
    if (!(x > 0)) return x == 0 ? -1e308 * 1e308 : (x != x ? x : (x - x) / (x - x));
    if (x > 1.7976931348623157e308) return x;
    if (x < 2.2250738585072014e-308) { x *= 18014398509481984.0; n = -54; }     /* denormal */
    memcpy(&bits, &x, sizeof bits);
    n += (int)(bits >> 52) - 1023;
    bits = (bits & 0xFFFFFFFFFFFFF) | ((uint64_t)1023 << 52);
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) { m *= 0.5; n++; }
    s = (m - 1) / (m + 1);
    z = s * s;
    for (k = 23; k >= 3; k -= 2) series = VAEI_ROUNDED((series + 1.0 / k) * z);
    s = VAEI_ROUNDED(2 * s);
    return VAEI_ROUNDED(n * 0.693147180369123816490) +
           (s + (VAEI_ROUNDED(s * series) + VAEI_ROUNDED(n * 1.90821492927058770002e-10)));
}

/* base^exponent by squaring: Adam's beta^t. */
VAEI_PRIVATE double vaei_power(double base, uint64_t exponent) {
    double power = 1;
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1) power *= base;
        base *= base;
        if (base < 1e-300 && base > -1e-300) base = 0;
    }
    return power;
}

/* ==== 13 >>random ================================================================================================= */

/* Every random number is a function of (seed, stream, counters): nothing is drawn from a state that could be advanced
   in another order. The streams: */
enum {
    VAEI_STREAM_WEIGHTS = 1, VAEI_STREAM_TRAINING, VAEI_STREAM_EVALUATION, VAEI_STREAM_SAMPLES, VAEI_STREAM_SHUFFLE,
    VAEI_STREAM_LIKELIHOOD
};

/* A permutation of 0 .. count-1 that needs no table: a Feistel network on the smallest even number of bits that holds
   count, applied again while it leads outside (Black and Rogaway 2002, "cycle walking"; under four turns each). */
typedef struct vaei_shuffle {
    uint64_t key, count;
    int      half_bits;         /* 0: the identity */
} vaei_shuffle;

/* The finaliser of splitmix64 (Steele, Lea and Flood 2014). */
VAEI_PRIVATE uint64_t vaei_mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

VAEI_PRIVATE vaei_shuffle vaei_shuffle_of(uint64_t seed, uint64_t epoch, uint64_t count) {
    vaei_shuffle shuffle;
    shuffle.key = vaei_mix(vaei_mix(seed + VAEI_STREAM_SHUFFLE) + epoch);
    shuffle.count = count;
    shuffle.half_bits = 3;     /* with fewer, six rounds leave a bias that can be seen on five rows */
    while (shuffle.half_bits < 31 && (count - 1) >> (2 * shuffle.half_bits)) shuffle.half_bits++;
    return shuffle;
}

VAEI_PRIVATE uint64_t vaei_shuffled(const vaei_shuffle *shuffle, uint64_t index) {
    const int      bits = shuffle->half_bits;
    const uint64_t mask = ((uint64_t)1 << bits) - 1;
    if (!bits) return index;
    do {
        uint64_t left = index >> bits, right = index & mask, round;
        for (round = 0; round < 6; round++) {
            uint64_t next = left ^ (vaei_mix(shuffle->key + (round << 56) + right) & mask);
            left = right;
            right = next;
        }
        index = left << bits | right;
    } while (index >= shuffle->count);
    return index;
}

/* ---- Philox ---- */

/* Random numbers are a function of where they stand, not of what was drawn before: a block of four 32-bit words is
   Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011) of

       key      the seed's low and high word
       counter  block within the example | example, low word | step, low word | stream, example and step, high words

   Element e of an example is made of block e / 4. Distinct streams (below 2^8), steps and examples (below 2^44) have
   distinct counters. */
#define VAEI_PHILOX_MULTIPLIER_0 0xD2511F53u
#define VAEI_PHILOX_MULTIPLIER_1 0xCD9E8D57u
#define VAEI_PHILOX_KEY_STEP_0 0x9E3779B9u
#define VAEI_PHILOX_KEY_STEP_1 0xBB67AE85u
#define VAEI_PHILOX_ROUNDS 10

/* One block; `words` holds the counter before and the random words after. */
VAEI_PRIVATE void vaei_philox(const uint32_t key[2], uint32_t words[4]) {
    uint32_t key0 = key[0], key1 = key[1];
    int      round;
    for (round = 0; round < VAEI_PHILOX_ROUNDS; round++) {
        const uint64_t product0 = (uint64_t)VAEI_PHILOX_MULTIPLIER_0 * words[0];
        const uint64_t product1 = (uint64_t)VAEI_PHILOX_MULTIPLIER_1 * words[2];
        words[0] = (uint32_t)(product1 >> 32) ^ words[1] ^ key0;
        words[1] = (uint32_t)product1;
        words[2] = (uint32_t)(product0 >> 32) ^ words[3] ^ key1;
        words[3] = (uint32_t)product0;
        key0 += VAEI_PHILOX_KEY_STEP_0;
        key1 += VAEI_PHILOX_KEY_STEP_1;
    }
}

VAEI_PRIVATE void vaei_random_key(uint64_t seed, uint32_t key[2]) {
    key[0] = (uint32_t)seed;
    key[1] = (uint32_t)(seed >> 32);
}

VAEI_PRIVATE uint32_t vaei_random_origin(uint32_t stream, uint64_t step, uint64_t example) {
    return stream ^ ((uint32_t)(example >> 32) << 8) ^ ((uint32_t)(step >> 32) << 20);
}

/* Numbers for `rows` consecutive examples, elements `first` .. first + columns - 1 of each. The kernels make them some
   blocks at a time: one function lists the blocks' counters, another puts the finished numbers in their places, both
   walking rows and blocks with a vaei_random_cursor. */
typedef struct vaei_random_request {
    uint64_t seed, step, example;       /* example of the first row */
    uint32_t stream;
    size_t   rows, columns, first;
} vaei_random_request;

typedef struct vaei_random_cursor {
    size_t row, block;
} vaei_random_cursor;

#define VAEI_RANDOM_BLOCKS 32

/* Lists up to VAEI_RANDOM_BLOCKS blocks from *cursor on, moves it past them and returns how many there were; the rest
   of `words` is filled with zeros. */
VAEI_PRIVATE size_t vaei_random_counters(const vaei_random_request *request, vaei_random_cursor *cursor,
                                         uint32_t words[4][VAEI_RANDOM_BLOCKS]) {
    const size_t first_block = request->first / 4;
    const size_t last_block  = (request->first + request->columns - 1) / 4;
    size_t       count = 0, j;
    while (count < VAEI_RANDOM_BLOCKS && cursor->row < request->rows) {
        const uint64_t example = request->example + cursor->row;
        const uint32_t origin  = vaei_random_origin(request->stream, request->step, example);
        for (; count < VAEI_RANDOM_BLOCKS && cursor->block <= last_block; cursor->block++, count++) {
            words[0][count] = (uint32_t)cursor->block;
            words[1][count] = (uint32_t)example;
            words[2][count] = (uint32_t)request->step;
            words[3][count] = origin;
        }
        if (cursor->block > last_block) { cursor->block = first_block; cursor->row++; }
    }
    for (j = count; j < VAEI_RANDOM_BLOCKS; j++) words[0][j] = words[1][j] = words[2][j] = words[3][j] = 0;
    return count;
}

/* numbers[c][j] is element 4 b + c of its example, where b is the j-th block listed from `cursor` on. */
VAEI_PRIVATE void vaei_random_place(const vaei_random_request *request, vaei_random_cursor cursor, size_t count,
                                    vae_real numbers[4][VAEI_RANDOM_BLOCKS], vae_real *out) {
    const size_t end        = request->first + request->columns;
    const size_t last_block = (end - 1) / 4;
    size_t       j, element;
    for (j = 0; j < count; j++) {
        vae_real *row = out + cursor.row * request->columns;
        if (4 * cursor.block >= request->first && 4 * cursor.block + 4 <= end) {
            vae_real *four = row + (4 * cursor.block - request->first);
            four[0] = numbers[0][j];
            four[1] = numbers[1][j];
            four[2] = numbers[2][j];
            four[3] = numbers[3][j];
        } else {
            for (element = 4 * cursor.block; element < 4 * cursor.block + 4; element++)
                if (element >= request->first && element < end) row[element - request->first] = numbers[element % 4][j];
        }
        if (cursor.block++ == last_block) { cursor.block = request->first / 4; cursor.row++; }
    }
}



/* ==== 14 >>vectors ================================================================================================ */

/* Four floats: what the vector extension has no operator for, made of those it has. */

#ifdef VAEI_HAS_VECTOR
VAEI_INLINE vaei_ints4 vaei_load_bytes4(const unsigned char *p) {
    vaei_ints4 v = { p[0], p[1], p[2], p[3] };
    return v;
}
VAEI_INLINE vaei_floats4 vaei_select4(vaei_ints4 mask, vaei_floats4 yes, vaei_floats4 no) {
    return (vaei_floats4)(((vaei_ints4)yes & mask) | ((vaei_ints4)no & ~mask));
}
VAEI_INLINE vaei_floats4 vaei_max4(vaei_floats4 a, vaei_floats4 b) {
#ifdef VAEI_HAS_X86
    return VAEI_X86(__builtin_ia32_maxps(a, b), _mm_max_ps(a, b));
#else
    return vaei_select4((vaei_ints4)(a > b), a, b);
#endif
}
VAEI_INLINE vaei_floats4 vaei_min4(vaei_floats4 a, vaei_floats4 b) {
#ifdef VAEI_HAS_X86
    return VAEI_X86(__builtin_ia32_minps(a, b), _mm_min_ps(a, b));
#else
    return vaei_select4((vaei_ints4)(a < b), a, b);
#endif
}
VAEI_INLINE vaei_floats4 vaei_float_from_int4(vaei_ints4 i) {
#if defined(__clang__) || __GNUC__ >= 9
    return __builtin_convertvector(i, vaei_floats4);
#else
    vaei_floats4 v = { (float)i[0], (float)i[1], (float)i[2], (float)i[3] };
    return v;
#endif
}
VAEI_INLINE vaei_floats4 vaei_sqrt4(vaei_floats4 v) {
#if defined(VAEI_HAS_X86)
    return VAEI_X86(__builtin_ia32_sqrtps(v), _mm_sqrt_ps(v));
#elif defined(VAEI_HAS_NEON)
    return (vaei_floats4)vsqrtq_f32((float32x4_t)v);
#else
    vaei_floats4 root = { vaei_sqrt(v[0]), vaei_sqrt(v[1]), vaei_sqrt(v[2]), vaei_sqrt(v[3]) };
    return root;
#endif
}
#ifdef VAEI_HAS_NEON
VAEI_INLINE vaei_ints4 vaei_long_product4(vaei_ints4 a, vaei_ints4 b) {
    return vreinterpretq_s32_u64(vmull_u32(vmovn_u64(vreinterpretq_u64_s32(a)), vmovn_u64(vreinterpretq_u64_s32(b))));
}
#endif
#endif

/* ==== 15 >>product ================================================================================================ */

/*

   One description serves every product in a network. It is C (rows x columns) = [C +] A B [+ bias] [then ReLU], where
   A and B are not matrices in memory but rules for finding numbers:

       the inner dimension has segments * run steps; step t of segment s
           of row i of A      is  a[a_row(i) + a_segment(s) + t * a_step]
           of column j of B   is  b[b_segment(s) + t * b_step + j * b_column]        b_step or b_column is 1
       row i of C             is  c[c_row(i) .. c_row(i) + columns]
       with a_row(i) = a_rows ? a_rows[i] : i * a_row, and in the same way for a_segment, b_segment and c_row.

   With b_packed, B has been packed by vaei_pack_panels, for several products that have it in common.

   A dense layer has one segment. A convolution over a padded channels-last image has one segment per kernel row (or
   tap) and a table of output positions, and so needs no im2col: A's rows overlap in memory.

   Bits: every number of C is ONE chain of multiply-adds over the steps in order, started from bias, C or zero. In the
   fused kernel sets (AVX2, AVX-512, NEON) each link rounds once, in the others (plain, vector) twice. Nothing else
   enters: tile sizes, slices over threads, packing and the choice of a special path leave every bit as it is. */

typedef struct vaei_product {
    size_t rows, columns, segments, run;
    const vae_real *a; const uint32_t *a_rows; size_t a_row;
    const uint32_t *a_segments; size_t a_segment, a_step;
    const vae_real *b; const uint32_t *b_segments; size_t b_segment, b_step, b_column;
    int b_packed;                                           /* b_step is then the columns of all panels */
    vae_real *c; const uint32_t *c_rows; size_t c_row;
    int accumulate;                                         /* add to C instead of replacing it */
    const vae_real *bias;                                   /* one per column, or NULL; never with accumulate */
    int relu;                                               /* negative results become 0; NaN stays NaN */
} vaei_product;

/* Where entry i of a table lies; without a table the entries are evenly spaced. */
VAEI_PRIVATE size_t vaei_entry(const uint32_t *table, size_t step, size_t i) { return table ? table[i] : i * step; }

/* The part of a product that computes `count` columns of C from column `first`: the same bits as the whole. */
VAEI_PRIVATE vaei_product vaei_product_columns(const vaei_product *p, size_t first, size_t count) {
    vaei_product part = *p;
    part.columns = count;
    part.b += first * p->b_column;
    part.c += first;
    if (p->bias) part.bias += first;
    return part;
}

/* The part of a product that computes `count` rows of C from row `first`: the same bits as the whole. */
VAEI_PRIVATE vaei_product vaei_product_rows(const vaei_product *p, size_t first, size_t count) {
    vaei_product part = *p;
    part.rows = count;
    if (p->a_rows) part.a_rows += first; else part.a += first * p->a_row;
    if (p->c_rows) part.c_rows += first; else part.c += first * p->c_row;
    return part;
}

/* The product as it is defined, one number after the other: what every tuned path is tested against. Its bits are
   those of the plain kernel set. */
VAEI_PRIVATE void vaei_multiply_naive(const vaei_product *p) {
    size_t i, j, s, t;
    for (i = 0; i < p->rows; i++) {
        const vae_real *a = p->a + vaei_entry(p->a_rows, p->a_row, i);
        vae_real *c = p->c + vaei_entry(p->c_rows, p->c_row, i);
        for (j = 0; j < p->columns; j++) {
            vae_real sum = p->accumulate ? c[j] : p->bias ? p->bias[j] : 0;
            for (s = 0; s < p->segments; s++) {
                const vae_real *x = a + vaei_entry(p->a_segments, p->a_segment, s);
                const vae_real *y = p->b + vaei_entry(p->b_segments, p->b_segment, s) + j * p->b_column;
                for (t = 0; t < p->run; t++) sum = VAEI_ROUNDED(x[t * p->a_step] * y[t * p->b_step]) + sum;
            }
            c[j] = p->relu && sum < 0 ? 0 : sum;
        }
    }
}

/* ---- The register tile's pattern, instantiated by every instruction set ---- */

enum {
    VAEI_TILE_ROWS = 8, VAEI_TILE_VECTORS = 4,              /* of the largest tiles of any set */
    VAEI_MOST_LANES = VAEI_SUM_LANES,                       /* numbers in a vector: all partial sums at once */
    VAEI_FEW_MOST = 3,                                      /* rows or columns for which any set has paths of few */
    VAEI_WHOLE_LAST = 0, VAEI_HALVES_LAST = 3               /* last steps that a tile takes apart: see VAEI_HALVES_END */
};

/* One tile of C: some rows, a few vectors wide. Rows may repeat: a repeated row is computed and stored twice, alike. */
typedef struct vaei_tile {
    size_t rows, panels;                                    /* of all tiles, where a call does several: rows one below
                                                               the other, of which the last tile may reach beyond, and
                                                               panels, as wide as a tile, side by side */
    const vae_real *const *a;                               /* where each row of A begins */
    vae_real *const *c;                                     /* where each row of C begins, */
    size_t column;                                          /* ... and the tile in it */
    int from_c;                                             /* do the sums go on from C? */
    vae_real *const *from;                                  /* if so, c once more, which gcc must not know: it would
                                                               keep the rows' addresses through the loop; */
    const vae_real *start;                                  /* ... if not, the first values, the same for all rows, */
    size_t start_next;                                      /* ... and how far from them the next panel's lie */
    const size_t *a_offsets;                                /* where each step lies in a row of A */
    const vae_real *b;                                      /* the tile's columns of B, one step after the other, */
    size_t b_step;                                          /* ... this far apart */
    vae_real *panel;                                        /* where a packing tile leaves them side by side */
    size_t steps;
    int relu;
} vaei_tile;

/* The sums must be named variables: gcc -O2 keeps an array of them in memory, three times slower. So a tile is written
   as lists of rows r and vectors v, which these macros spell out. Where a step of A lies comes from a table: one load
   more per step, for which segments of any length and number cost nothing. */
#define VAEI_ROWS_1(X, VECTORS) X(0, VECTORS)
#define VAEI_ROWS_2(X, VECTORS) VAEI_ROWS_1(X, VECTORS) X(1, VECTORS)
#define VAEI_ROWS_3(X, VECTORS) VAEI_ROWS_2(X, VECTORS) X(2, VECTORS)
#define VAEI_ROWS_3_TO_5(X, VECTORS) X(3, VECTORS) X(4, VECTORS) X(5, VECTORS)
#define VAEI_ROWS_4(X, VECTORS) VAEI_ROWS_3(X, VECTORS) X(3, VECTORS)
#define VAEI_ROWS_6(X, VECTORS) VAEI_ROWS_4(X, VECTORS) X(4, VECTORS) X(5, VECTORS)
#define VAEI_ROWS_8(X, VECTORS) VAEI_ROWS_6(X, VECTORS) X(6, VECTORS) X(7, VECTORS)
#define VAEI_VECTORS_1(X, r) X(r, 0)
#define VAEI_VECTORS_2(X, r) X(r, 0) X(r, 1)
#define VAEI_VECTORS_3(X, r) X(r, 0) X(r, 1) X(r, 2)
#define VAEI_VECTORS_4(X, r) X(r, 0) X(r, 1) X(r, 2) X(r, 3)

#define VAEI_TILE_SUM(r, v) VAEI_V sum##r##_##v;
#define VAEI_TILE_ROW(r, VECTORS) const vae_real *a##r = a_rows[r]; VECTORS(VAEI_TILE_SUM, r)
#define VAEI_TILE_START(r, v) const VAEI_V start##v = VAEI_LOAD(start + v * VAEI_LANES);
#define VAEI_TILE_START_SUM(r, v) sum##r##_##v = start##v;
#define VAEI_TILE_START_ROW(r, VECTORS) VECTORS(VAEI_TILE_START_SUM, r)
#define VAEI_TILE_FROM_SUM(r, v) sum##r##_##v = VAEI_LOAD(c##r + v * VAEI_LANES);
#define VAEI_TILE_FROM_ROW(r, VECTORS) { \
    const vae_real *c##r = from[r] + column; \
    VECTORS(VAEI_TILE_FROM_SUM, r) }
#define VAEI_TILE_READ_B(r, v) const VAEI_V b##v = VAEI_LOAD(b + v * VAEI_LANES);
#define VAEI_TILE_ADD(r, v) sum##r##_##v = VAEI_FMA(x, b##v, sum##r##_##v);
#define VAEI_TILE_STEP_ROW(r, VECTORS) { const VAEI_V x = VAEI_SET(a##r[offset]); VECTORS(VAEI_TILE_ADD, r) }
#define VAEI_TILE_RELU(r, v) sum##r##_##v = VAEI_MAX(zero, sum##r##_##v);
#define VAEI_TILE_RELU_ROW(r, VECTORS) VECTORS(VAEI_TILE_RELU, r)
#define VAEI_TILE_END_SUM(r, v) VAEI_STORE(c##r + v * VAEI_LANES, sum##r##_##v);
#define VAEI_TILE_END_POINTER(r, VECTORS) vae_real *c##r = c_rows[r] + column;
#define VAEI_TILE_END_ROW(r, VECTORS) VECTORS(VAEI_TILE_END_SUM, r)
#define VAEI_TILE_COUNT_ROW(r, VECTORS) + 1
#define VAEI_TILE_COUNT_VECTOR(r, v) + 1

/* A tile ends in one of two ways: all steps are alike, and then the sums are stored, */
#define VAEI_WHOLE_STEP(b) (void)0
#define VAEI_WHOLE_END(ROWS, VECTORS) \
    if (tile->relu) { \
        const VAEI_V zero = VAEI_SET(0); \
        ROWS(VAEI_TILE_RELU_ROW, VECTORS) \
    } \
    { ROWS(VAEI_TILE_END_POINTER, VECTORS) \
    ROWS(VAEI_TILE_END_ROW, VECTORS) }

/* ... or the upper half of six rows takes the last steps and stores its sums before the lower half does. Twelve stores
   in a row hold up the multiply-adds of AMD's Zen 3: 48 and 12 stores take 34 cycles, with the stores between them 24.
   Six in a row do not, if a few steps are between them and the next six: 128 x 400 x 20 is 1.04 times as fast. gcc must
   not know where B has got to: it would multiply to find out, and mix the steps (1.02 times as slow). */
#define VAEI_HALVES_STEP(b) VAEI_HERE(b)
#define VAEI_HALF_STEP(k, HALF, VECTORS) { \
    const size_t offset = a_offsets[k]; \
    VECTORS(VAEI_TILE_READ_B, 0) \
    HALF(VAEI_TILE_STEP_ROW, VECTORS) \
    b += b_step; \
    VAEI_HERE(b); }
#define VAEI_HALF_END(HALF, VECTORS) \
    VAEI_HALF_STEP(0, HALF, VECTORS) \
    VAEI_HALF_STEP(1, HALF, VECTORS) \
    VAEI_HALF_STEP(2, HALF, VECTORS) \
    VAEI_WHOLE_END(HALF, VECTORS)
#define VAEI_HALVES_END(ROWS, VECTORS) { \
    const vae_real *b_last = b; \
    VAEI_HALF_END(VAEI_ROWS_3, VECTORS) \
    b = b_last; \
    VAEI_HALF_END(VAEI_ROWS_3_TO_5, VECTORS) }

/* As many tiles as tile->rows and tile->panels hold. With a call for each, the multiply-adds ran out between two tiles
   (AVX-512, 128 x 400 x 20: 142 GF/s instead of 160); with one for each panel, too (AVX2: 87.2 instead of 90.0). */
#define VAEI_TILES_KERNEL(name, ROWS, VECTORS) \
    VAEI_TILE_PATTERN(name, ROWS, VECTORS, VAEI_TILE_READ_B, VAEI_TILE_STEP_ROW, 1, VAEI_WHOLE)
#define VAEI_TILES_OF_HALVES_KERNEL(name, ROWS, VECTORS) \
    VAEI_TILE_PATTERN(name, ROWS, VECTORS, VAEI_TILE_READ_B, VAEI_TILE_STEP_ROW, 1, VAEI_HALVES)

/* The same for a B that lies where it was made: its steps are on many pages, and in training they come from the third
   cache, so they are asked for well ahead (784-400-20, packed: 1.02 times as fast; 784-200-200-50, in place: 1.03). In
   place 12 steps ahead would do for a B that was used just before, and slow training by 1 to 2%; 32 are as good as 20
   there, and 1 to 2% slower alone (20 x 200 x 784, 20 x 784 x 200). */
#define VAEI_STEPS_AHEAD 20
#define VAEI_PACKING_STEPS_AHEAD 32
#define VAEI_PREFETCH_B(v, steps) VAEI_PREFETCH(b + v * VAEI_LANES, steps * b_step * sizeof *b);
#define VAEI_TILE_READ_B_AHEAD(r, v) VAEI_TILE_READ_B(r, v) VAEI_PREFETCH_B(v, VAEI_STEPS_AHEAD)
#define VAEI_TILES_AHEAD_KERNEL(name, ROWS, VECTORS) \
    VAEI_TILE_PATTERN(name, ROWS, VECTORS, VAEI_TILE_READ_B_AHEAD, VAEI_TILE_STEP_ROW, 1, VAEI_WHOLE)

/* One such tile, leaving the steps of B that it reads packed in tile->panel for the tiles below it: the copying hides
   behind the multiply-adds (a pass of its own cost 7% of a product of 128 rows with AVX2). */
#define VAEI_TILE_READ_AND_PACK_B(r, v) \
    VAEI_TILE_READ_B(r, v) \
    VAEI_PREFETCH_B(v, VAEI_PACKING_STEPS_AHEAD) \
    VAEI_STORE(panel, b##v); \
    panel += VAEI_LANES;
#define VAEI_PACKING_TILE_KERNEL(name, ROWS, VECTORS) \
    VAEI_TILE_PATTERN(name, ROWS, VECTORS, VAEI_TILE_READ_AND_PACK_B, VAEI_TILE_STEP_ROW, 0, VAEI_WHOLE)

/* The same tile the other way round, for few columns: "row" r is a vector of rows of A that lie side by side in
   memory, and each of the few columns is one number of B for them all. */
#define VAEI_STREAM_READ_B(r, v) const VAEI_V b##v = VAEI_SET(b[v]);
#define VAEI_STREAM_STEP_ROW(r, VECTORS) { const VAEI_V x = VAEI_LOAD(a##r + offset); VECTORS(VAEI_TILE_ADD, r) }
#define VAEI_STREAM_KERNEL(name, ROWS, VECTORS) \
    VAEI_TILE_PATTERN(name, ROWS, VECTORS, VAEI_STREAM_READ_B, VAEI_STREAM_STEP_ROW, 0, VAEI_WHOLE)

/* What they have in common. SEVERAL: may it be asked for several tiles? END: one of the two ways above, which does the
   last END_LAST steps itself. */
#define VAEI_TILE_PATTERN(name, ROWS, VECTORS, READ_B, STEP_ROW, SEVERAL, END) \
    VAEI_TARGET void VAEI_NAME(name)(const vaei_tile *tile) { \
        const size_t height = 0 ROWS(VAEI_TILE_COUNT_ROW, VECTORS); \
        const size_t width = (0 VECTORS(VAEI_TILE_COUNT_VECTOR, 0)) * VAEI_LANES; \
        const vae_real *const *a_end = tile->a + tile->rows; \
        const vae_real *start = tile->start, *b_first = tile->b; \
        size_t column = tile->column, panels = tile->panels; \
        do { \
            const vae_real *const *a_rows = tile->a; \
            vae_real *const *from = tile->from, *const *c_rows = tile->c; \
            do { \
                const size_t *a_offsets = tile->a_offsets, *end = a_offsets + tile->steps - END##_LAST; \
                const size_t b_step = tile->b_step; \
                const vae_real *b = b_first; \
                vae_real *panel = tile->panel; \
                ROWS(VAEI_TILE_ROW, VECTORS) \
                if (!tile->from_c) { \
                    VECTORS(VAEI_TILE_START, 0) \
                    ROWS(VAEI_TILE_START_ROW, VECTORS) \
                } else { \
                    ROWS(VAEI_TILE_FROM_ROW, VECTORS) \
                    from += height; \
                } \
                (void)panel; \
                for (; a_offsets < end; a_offsets++) { \
                    const size_t offset = *a_offsets; \
                    VECTORS(READ_B, 0) \
                    ROWS(STEP_ROW, VECTORS) \
                    b += b_step; \
                    END##_STEP(b); \
                } \
                END##_END(ROWS, VECTORS) \
                a_rows += height; \
                c_rows += height; \
            } while (SEVERAL && a_rows < a_end); \
            b_first += width; \
            column += width; \
            start += tile->start_next; \
        } while (SEVERAL && --panels); \
        (void)a_end; \
    }

/* And for rows of A that lie along their steps: group g is a vector of such rows, turned in registers four steps at a
   time. tile->a is not used: there are too many rows, so they come beside it. */
#define VAEI_TURN_BEGIN_SUM(g, f) VAEI_V sum##g##_##f = VAEI_LOAD(start##g + f * VAEI_LANES);
#define VAEI_TURN_BEGIN_GROUP(g, FEW) \
    const vae_real *start##g = tile->from_c ? tile->from[g] : tile->start; \
    FEW(VAEI_TURN_BEGIN_SUM, g)
#define VAEI_TURN_ADD_FOUR(g, f) \
    sum##g##_##f = VAEI_FMA(four.step0, VAEI_SET(b[f]), sum##g##_##f); \
    sum##g##_##f = VAEI_FMA(four.step1, VAEI_SET(b[b_step + f]), sum##g##_##f); \
    sum##g##_##f = VAEI_FMA(four.step2, VAEI_SET(b[2 * b_step + f]), sum##g##_##f); \
    sum##g##_##f = VAEI_FMA(four.step3, VAEI_SET(b[3 * b_step + f]), sum##g##_##f);
#define VAEI_TURN_FOUR(g, FEW) { \
    const VAEI_NAME(vaei_turned) four = VAEI_NAME(vaei_turn)(rows + g * VAEI_LANES, at); \
    FEW(VAEI_TURN_ADD_FOUR, g) }
#define VAEI_TURN_ADD_ONE(g, f) sum##g##_##f = VAEI_FMA(one, VAEI_SET(b[f]), sum##g##_##f);
#define VAEI_TURN_ONE(g, FEW) { \
    vae_real numbers[VAEI_LANES]; \
    VAEI_V one; \
    VAEI_NAME(vaei_gather)(rows + g * VAEI_LANES, at, numbers); \
    one = VAEI_LOAD(numbers); \
    FEW(VAEI_TURN_ADD_ONE, g) }
#define VAEI_TURN_KERNEL(name, GROUPS, FEW) \
    VAEI_TARGET void VAEI_NAME(name)(const vaei_tile *tile, const vae_real *const *rows) { \
        const size_t *offsets = tile->a_offsets; \
        const size_t b_step = tile->b_step; \
        const vae_real *b = tile->b; \
        const size_t column = tile->column; \
        size_t k = 0; \
        GROUPS(VAEI_TURN_BEGIN_GROUP, FEW) \
        while (k < tile->steps) { \
            const size_t at = offsets[k]; \
            if (k + 4 <= tile->steps && offsets[k + 1] == at + 1 && offsets[k + 2] == at + 2 \
                && offsets[k + 3] == at + 3) { \
                GROUPS(VAEI_TURN_FOUR, FEW) \
                b += 4 * b_step; \
                k += 4; \
            } else { \
                GROUPS(VAEI_TURN_ONE, FEW) \
                b += b_step; \
                k++; \
            } \
        } \
        if (tile->relu) { \
            const VAEI_V zero = VAEI_SET(0); \
            GROUPS(VAEI_TILE_RELU_ROW, FEW) \
        } \
        { vae_real *const *c_rows = tile->c; \
        GROUPS(VAEI_TILE_END_POINTER, FEW) \
        GROUPS(VAEI_TILE_END_ROW, FEW) } \
    }

/* One row of C, swept from end to end by a few steps at once: B is read in the order in which it lies in memory. The
   last vector reaches back over columns that the loop has as well; it is computed before C changes, and stored last. */
#define VAEI_SWEEP_BEGIN(k, unused) \
    const vae_real *b##k = b + b_offsets[k]; \
    const VAEI_V x##k = VAEI_SET(a[a_offsets[k]]);
#define VAEI_SWEEP_ADD(k, unused) sum = VAEI_FMA(x##k, VAEI_LOAD(b##k + j), sum);
#define VAEI_SWEEP_SUM(STEPS) \
    sum = start ? VAEI_LOAD(start + j) : zero; \
    STEPS(VAEI_SWEEP_ADD, 0) \
    if (relu) sum = VAEI_MAX(zero, sum);
#define VAEI_SWEEP_KERNEL(name, STEPS) \
    VAEI_TARGET void VAEI_NAME(name)(const vae_real *a, const size_t *a_offsets, const vae_real *b, \
                                     const size_t *b_offsets, const vae_real *start, vae_real *c, \
                                     size_t columns, int relu) { \
        const VAEI_V zero = VAEI_SET(0); \
        size_t j = columns - VAEI_LANES; \
        VAEI_V sum, last; \
        STEPS(VAEI_SWEEP_BEGIN, 0) \
        VAEI_SWEEP_SUM(STEPS) \
        last = sum; \
        for (j = 0; j + VAEI_LANES < columns; j += VAEI_LANES) { \
            VAEI_SWEEP_SUM(STEPS) \
            VAEI_STORE(c + j, sum); \
        } \
        VAEI_STORE(c + columns - VAEI_LANES, last); \
    }

/* ==== 16 >>kernels ================================================================================================ */

/* A register tile: how many rows it has, and the function. Without rows there is none. */
typedef struct vaei_tile_kernel {
    size_t rows;
    void (*run)(const vaei_tile *tile);
} vaei_tile_kernel;

/* A product of few columns (or rows): how many vectors of the many one call takes where they lie side by side, and
   where they must be turned. */
typedef struct vaei_few_kernel {
    size_t stream_vectors;
    void (*stream)(const vaei_tile *tile);
    size_t turn_vectors;
    void (*turn)(const vaei_tile *tile, const vae_real *const *rows);
} vaei_few_kernel;

/* What a kernel set brings to a matrix product. */
typedef struct vaei_product_kernels {
    size_t lanes;                                           /* numbers in a vector */
    size_t panel, wide;                                     /* vectors of the widest tall tile, of the widest tile */
    vaei_tile_kernel tall[VAEI_TILE_VECTORS];               /* one, two ... vectors wide: most rows' tiles, */
    vaei_tile_kernel low[VAEI_TILE_VECTORS];                /* ... and those that end a panel without much waste */
    void (*packing_tile)(const vaei_tile *tile);            /* the tall one of a panel, see there */
    void (*pack_turning)(const vae_real *b, size_t b_column, size_t columns, size_t steps, vae_real *panel,
                         size_t width);
    void (*pack_copying)(const vae_real *b, size_t b_step, size_t columns, size_t steps, vae_real *panel, size_t width);
    size_t few;                                             /* up to how many are few */
    vaei_few_kernel of_few[VAEI_FEW_MOST];
    void (*sweeps[4])(const vae_real *a, const size_t *a_offsets, const vae_real *b, const size_t *b_offsets,
                      const vae_real *start, vae_real *c, size_t columns, int relu);    /* of 1, 2, 4 and 8 steps */
    const struct vaei_product_kernels *half;                /* a set of half the lanes and the same bits, which takes
                                                               the last few columns and products of few; or NULL */
} vaei_product_kernels;

/* One Adam step's constants, as the kernel uses them. */
typedef struct vaei_adam_step {
    vae_real beta1, beta2, one_minus_beta1, one_minus_beta2, rate, inverse_root, epsilon;
} vaei_adam_step;

/* Adds up a term per element of a and b, n of them, a multiple of VAEI_SUM_LANES: the terms of element i go to
   sums[i % VAEI_SUM_LANES]. If d is not NULL, it receives the terms' derivatives times `factor`; it may be a. */
typedef void vaei_sum_kernel(size_t n, const vae_real *a, const vae_real *b, vae_real factor, vae_real *d,
                             vae_real sums[VAEI_SUM_LANES]);

/* What a kernel set offers. The comments stand with the functions. Those above the line want whole vectors: n a
   multiple of the lanes, or, for random numbers, arrays with room for `count` rounded up. They are called through the
   functions of section >>arrays, which take any n. */
typedef struct vaei_kernel_set {
    const vaei_product_kernels *product;
    void   (*activate)(vae_activation kind, size_t n, const vae_real *x, vae_real *y);
    void   (*activate_backward)(vae_activation kind, size_t n, const vae_real *saved, vae_real *d);
    vaei_sum_kernel *bernoulli, *gaussian, *gaussian_kl;
    void   (*reparameterize)(size_t n, const vae_real *mean, const vae_real *logvar, const vae_real *epsilon,
                             vae_real *z);
    void   (*latent_backward)(size_t n, const vae_real *mean, const vae_real *logvar, const vae_real *epsilon,
                              const vae_real *dz, vae_real kl_scale, vae_real *d_mean, vae_real *d_logvar);
    void   (*adam)(const vaei_adam_step *step, size_t rows, size_t n, vae_real *p, const vae_real *factors,
                   const vae_real *g, vae_real *m, vae_real *v);
    void   (*philox_blocks)(const uint32_t key[2], size_t count, uint32_t words[4][VAEI_RANDOM_BLOCKS]);
    void   (*words_to_normals)(size_t count, uint32_t words[4][VAEI_RANDOM_BLOCKS],
                               vae_real numbers[4][VAEI_RANDOM_BLOCKS]);
    void   (*column_sums)(size_t rows, size_t columns, const vae_real *d, size_t row_stride,
                          const uint32_t *row_offsets, vae_real *out, int accumulate);
    /* ---- */
    void   (*add)(size_t n, vae_real *y, const vae_real *x);
    void   (*bytes_to_real)(size_t n, const unsigned char *bytes, vae_real *y);
    int    (*all_within)(size_t n, const vae_real *x, vae_real most);
    size_t (*check_range)(size_t n, const vae_real *x, vae_real low, vae_real high);
} vaei_kernel_set;

/* The kernels that follow the next lines are written once and compiled once for each instruction set: the file includes
   itself with VAEI_PASS set, and skips everything else. */
#define VAEI_PASS_PLAIN 1
#define VAEI_PASS_VECTOR 2
#define VAEI_PASS_AVX2 3
#define VAEI_PASS_AVX512 4
#define VAEI_PASS_NEON 5
#ifndef VAE_HEADER_FILE
#if defined(__FILE_NAME__) && defined(__INCLUDE_LEVEL__) && __INCLUDE_LEVEL__ > 0
#define VAE_HEADER_FILE __FILE_NAME__       /* whatever it is called */
#else
#define VAE_HEADER_FILE "vae.h"
#endif
#endif
#ifdef __has_include
#if !__has_include(VAE_HEADER_FILE)
#error "vae.h includes itself and is not found: define VAE_HEADER_FILE as its name; keep it a file of its own"
#endif
#endif

/* Plain C gives the bits of the vector extension, slower: it is built where there is no other, or on request. */
#if !defined(VAEI_HAS_VECTOR) || defined(VAE_PLAIN)
#define VAEI_HAS_PLAIN 1
#define VAEI_PASS VAEI_PASS_PLAIN
#include VAE_HEADER_FILE
#undef VAEI_PASS
#endif
#ifdef VAEI_HAS_VECTOR
#define VAEI_PASS VAEI_PASS_VECTOR
#include VAE_HEADER_FILE
#undef VAEI_PASS
#endif
#ifdef VAEI_HAS_X86
#define VAEI_PASS VAEI_PASS_AVX2
#include VAE_HEADER_FILE
#undef VAEI_PASS
#define VAEI_PASS VAEI_PASS_AVX512
#include VAE_HEADER_FILE
#undef VAEI_PASS
#endif
#ifdef VAEI_HAS_NEON
#define VAEI_PASS VAEI_PASS_NEON
#include VAE_HEADER_FILE
#undef VAEI_PASS
#endif
#ifndef VAEI_PASSED
#error "vae.h includes itself and nothing came: it cannot be pasted into another file or stand behind #pragma once"
#endif

#endif /* VAE_IMPLEMENTATION, first half */

#ifdef VAEI_PASS
#define VAEI_PASSED 1

/* ==== 17 >>primitives ============================================================================================= */

/* The few operations that every kernel is written in, for each instruction set. */

/* Sums, differences and quotients are the operators. A product whose value reaches a sum or difference is never a plain
   a * b, which compilers fuse or not as they please, but VAEI_FMA (a b + c), VAEI_FNMA (c - a b) or VAEI_PRODUCT.
     MAX(a, b), MIN(a, b)   b where either is a NaN, or where both are equal: put the value that may be a NaN second
     SELECT_LESS            `no` where either is a NaN
     LONG_PRODUCT(a, b)     of the even-numbered 32-bit integers, unsigned, 64 bits wide; only in sets that have it
     LONG_HIGH(a)           moves the odd-numbered integers into the even places, 0 into the odd ones
     LONG_JOIN(even, odd)   the even-numbered integers of both, alternating
   VAEI_TARGET begins a function, VAEI_HELPER one that must become part of its caller. */

#undef VAEI_NAME
#undef VAEI_TARGET
#undef VAEI_V
#undef VAEI_I
#undef VAEI_TYPE
#undef VAEI_LANES
#undef VAEI_LOAD
#undef VAEI_STORE
#undef VAEI_SET
#undef VAEI_FMA
#undef VAEI_FNMA
#undef VAEI_SQRT
#undef VAEI_BITS
#undef VAEI_FROM_BITS
#undef VAEI_FROM_INT
#undef VAEI_ISET
#undef VAEI_IADD
#undef VAEI_ISHL
#undef VAEI_ISHR
#undef VAEI_IAND
#undef VAEI_IOR
#undef VAEI_IXOR
#undef VAEI_SELECT_LESS
#undef VAEI_HELPER
#undef VAEI_ABS
#undef VAEI_MAX
#undef VAEI_MIN
#undef VAEI_PRODUCT
#undef VAEI_ISUB
#undef VAEI_ILOAD
#undef VAEI_ISTORE
#undef VAEI_LOAD_BYTES
#undef VAEI_LONG_PRODUCT
#undef VAEI_LONG_HIGH
#undef VAEI_LONG_LOW
#undef VAEI_LONG_JOIN

#if VAEI_PASS == VAEI_PASS_PLAIN
/* Plain C: a vector is one number. Also the set for double. */
#define VAEI_NAME(name) name##_plain
#define VAEI_TARGET VAEI_PRIVATE
#define VAEI_V vae_real
#define VAEI_I int32_t
#define VAEI_LANES 1
#define VAEI_LOAD(p) (*(p))
#define VAEI_STORE(p, v) ((void)(*(p) = (v)))
#define VAEI_SET(x) ((vae_real)(x))
#define VAEI_FMA(a, b, c) (VAEI_ROUNDED((a) * (b)) + (c))
#define VAEI_FNMA(a, b, c) ((c) - VAEI_ROUNDED((a) * (b)))
#define VAEI_SQRT(v) vaei_sqrt(v)
#define VAEI_BITS(v) vaei_real_bits(v)
#define VAEI_FROM_BITS(i) vaei_bits_real(i)
#define VAEI_FROM_INT(i) ((vae_real)(i))
#define VAEI_ISET(x) ((int32_t)(x))
#define VAEI_IADD(a, b) ((int32_t)((uint32_t)(a) + (uint32_t)(b)))
#define VAEI_ISHL(a, n) ((int32_t)((uint32_t)(a) << (n)))
#define VAEI_ISHR(a, n) ((int32_t)((uint32_t)(a) >> (n)))
#define VAEI_IAND(a, b) ((a) & (b))
#define VAEI_IOR(a, b) ((a) | (b))
#define VAEI_IXOR(a, b) ((a) ^ (b))
#define VAEI_SELECT_LESS(a, b, yes, no) ((a) < (b) ? (yes) : (no))
#define VAEI_HELPER VAEI_INLINE
#ifdef VAE_DOUBLE
#define VAEI_ABS(v) fabs(v)
#else
#define VAEI_ABS(v) vaei_bits_real(vaei_real_bits(v) & 0x7FFFFFFF)
#endif
#define VAEI_MAX(a, b) ((a) > (b) ? (a) : (b))
#define VAEI_MIN(a, b) ((a) < (b) ? (a) : (b))
#define VAEI_PRODUCT(a, b) VAEI_ROUNDED((a) * (b))
#define VAEI_ISUB(a, b) ((int32_t)((uint32_t)(a) - (uint32_t)(b)))
#define VAEI_ILOAD(p) ((int32_t)*(p))
#define VAEI_ISTORE(p, v) ((void)(*(p) = (uint32_t)(v)))
#define VAEI_LOAD_BYTES(p) ((int32_t)*(p))

#else
/* The compiler's vector extension: first what it has no operators for, set by set; below, what it has. */
#if VAEI_PASS == VAEI_PASS_AVX2
#define VAEI_NAME(name) name##_avx2
#define VAEI_TYPE(name) name##8
#define VAEI_TARGET VAEI_FETCHED __attribute__((target("avx2,fma"))) VAEI_PRIVATE
#define VAEI_HELPER __attribute__((target("avx2,fma"))) VAEI_INLINE
#define VAEI_LANES 8
#define VAEI_FMA(a, b, c) VAEI_X86(__builtin_ia32_vfmaddps256(a, b, c), _mm256_fmadd_ps(a, b, c))
#define VAEI_FNMA(a, b, c) VAEI_FMA(-(a), b, c)
#define VAEI_PRODUCT(a, b) VAEI_ROUNDED_IN_FUSED((a) * (b))
#define VAEI_SQRT(v) VAEI_X86(__builtin_ia32_sqrtps256(v), _mm256_sqrt_ps(v))
#define VAEI_FROM_INT(i) VAEI_X86(__builtin_ia32_cvtdq2ps256(i), _mm256_cvtepi32_ps((__m256i)(i)))
#define VAEI_SELECT_LESS(a, b, yes, no) \
    VAEI_X86(__builtin_ia32_blendvps256(no, yes, (VAEI_V)((a) < (b))), _mm256_blendv_ps(no, yes, (VAEI_V)((a) < (b))))
#define VAEI_MAX(a, b) VAEI_X86(__builtin_ia32_maxps256(a, b), _mm256_max_ps(a, b))
#define VAEI_MIN(a, b) VAEI_X86(__builtin_ia32_minps256(a, b), _mm256_min_ps(a, b))
#define VAEI_LOAD_BYTES(p) vaei_load_bytes8(p)
#define VAEI_LONG_PRODUCT(a, b) \
    ((VAEI_I)VAEI_X86(__builtin_ia32_pmuludq256(a, b), _mm256_mul_epu32((__m256i)(a), (__m256i)(b))))
#define VAEI_LONG_JOIN(even, odd) \
    ((VAEI_I)VAEI_X86(__builtin_ia32_pblendd256(even, VAEI_LONG_LOW(odd), 0xAA), \
                      _mm256_blend_epi32((__m256i)(even), (__m256i)VAEI_LONG_LOW(odd), 0xAA)))
VAEI_HELPER vaei_ints8 vaei_load_bytes8(const unsigned char *p) {
    uint64_t    bytes;
    vaei_longs4 v = { 0, 0 };
    memcpy(&bytes, p, sizeof bytes);
    v[0] = bytes;
    return (vaei_ints8)VAEI_X86(__builtin_ia32_pmovzxbd256((vaei_byte16)v), _mm256_cvtepu8_epi32((__m128i)v));
}

#elif VAEI_PASS == VAEI_PASS_AVX512
#define VAEI_NAME(name) name##_avx512
#define VAEI_TYPE(name) name##16
#define VAEI_TARGET VAEI_FETCHED __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))) VAEI_PRIVATE
#define VAEI_HELPER __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))) VAEI_INLINE
#define VAEI_LANES 16
/* gcc's names take what masked-out lanes become, a mask (all ones) and a rounding mode (4: the current one). Those
   intrinsics are masked, too, which without a mask use something uninitialised, as gcc 12 warns (its bug 105593). */
#define VAEI_FMA(a, b, c) VAEI_X86(__builtin_ia32_vfmaddps512_mask(a, b, c, -1, 4), _mm512_fmadd_ps(a, b, c))
#define VAEI_FNMA(a, b, c) VAEI_FMA(-(a), b, c)
#define VAEI_PRODUCT(a, b) VAEI_ROUNDED_IN_FUSED((a) * (b))
#define VAEI_SQRT(v) \
    VAEI_X86(__builtin_ia32_sqrtps512_mask(v, VAEI_SET(0), -1, 4), _mm512_maskz_sqrt_ps((__mmask16)0xFFFF, v))
#define VAEI_FROM_INT(i) \
    VAEI_X86(__builtin_convertvector(i, VAEI_V), _mm512_maskz_cvtepi32_ps((__mmask16)0xFFFF, (__m512i)(i)))
#define VAEI_SELECT_LESS(a, b, yes, no) \
    VAEI_X86(__builtin_ia32_blendmps_512_mask(no, yes, __builtin_ia32_cmpps512_mask(a, b, 17, 0xFFFF, 4)), \
             _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes))
#define VAEI_MAX(a, b) \
    VAEI_X86(__builtin_ia32_maxps512_mask(a, b, VAEI_SET(0), -1, 4), _mm512_maskz_max_ps((__mmask16)0xFFFF, a, b))
#define VAEI_MIN(a, b) \
    VAEI_X86(__builtin_ia32_minps512_mask(a, b, VAEI_SET(0), -1, 4), _mm512_maskz_min_ps((__mmask16)0xFFFF, a, b))

#else
#define VAEI_TYPE(name) name##4
#define VAEI_TARGET VAEI_FETCHED VAEI_PRIVATE
#define VAEI_HELPER VAEI_INLINE
#define VAEI_LANES 4
#define VAEI_SQRT(v) vaei_sqrt4(v)
#define VAEI_FROM_INT(i) vaei_float_from_int4(i)
#define VAEI_MAX(a, b) vaei_max4(a, b)
#define VAEI_MIN(a, b) vaei_min4(a, b)
#define VAEI_LOAD_BYTES(p) vaei_load_bytes4(p)
#if VAEI_PASS == VAEI_PASS_NEON
#define VAEI_NAME(name) name##_neon
#define VAEI_FMA(a, b, c) ((VAEI_V)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#define VAEI_FNMA(a, b, c) ((VAEI_V)vfmsq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#define VAEI_PRODUCT(a, b) VAEI_ROUNDED_IN_FUSED((a) * (b))
#define VAEI_SELECT_LESS(a, b, yes, no) \
    ((VAEI_V)vbslq_f32((uint32x4_t)((a) < (b)), (float32x4_t)(yes), (float32x4_t)(no)))
#define VAEI_LONG_PRODUCT(a, b) vaei_long_product4(a, b)
#define VAEI_LONG_JOIN(even, odd) ((VAEI_I)vtrn1q_s32((int32x4_t)(even), (int32x4_t)(odd)))
#else
/* In the instructions every target of the extension has. */
#define VAEI_NAME(name) name##_vector
#define VAEI_FMA(a, b, c) (VAEI_ROUNDED((a) * (b)) + (c))
#define VAEI_FNMA(a, b, c) ((c) - VAEI_ROUNDED((a) * (b)))
#define VAEI_PRODUCT(a, b) VAEI_ROUNDED((a) * (b))
#define VAEI_SELECT_LESS(a, b, yes, no) vaei_select4((a) < (b), yes, no)
#ifdef VAEI_HAS_X86
#define VAEI_LONG_PRODUCT(a, b) \
    ((VAEI_I)VAEI_X86(__builtin_ia32_pmuludq128(a, b), _mm_mul_epu32((__m128i)(a), (__m128i)(b))))
#define VAEI_LONG_JOIN(even, odd) ((VAEI_I)((vaei_longs4)(even) & 0xFFFFFFFF) | VAEI_LONG_LOW(odd))
#endif
#endif
#endif
#define VAEI_V VAEI_TYPE(vaei_floats)
#define VAEI_I VAEI_TYPE(vaei_ints)
#define VAEI_LOAD(p) ((VAEI_V)*(const VAEI_TYPE(vaei_loose_floats) *)(const void *)(p))
#define VAEI_STORE(p, v) ((void)(*(VAEI_TYPE(vaei_loose_floats) *)(void *)(p) = (v)))
#define VAEI_SET(x) (__extension__((float)(x) - (VAEI_V){ 0 }))        /* all lanes x: not even a zero's sign changes */
#define VAEI_ABS(v) VAEI_FROM_BITS(VAEI_IAND(VAEI_BITS(v), VAEI_ISET(0x7FFFFFFF)))
#define VAEI_BITS(v) ((VAEI_I)(v))
#define VAEI_FROM_BITS(i) ((VAEI_V)(i))
#define VAEI_ILOAD(p) ((VAEI_I)*(const VAEI_TYPE(vaei_loose_ints) *)(const void *)(p))
#define VAEI_ISTORE(p, v) ((void)(*(VAEI_TYPE(vaei_loose_ints) *)(void *)(p) = (v)))
#define VAEI_ISET(x) (__extension__((int32_t)(x) + (VAEI_I){ 0 }))
#define VAEI_IADD(a, b) ((VAEI_I)((VAEI_TYPE(vaei_uints))(a) + (VAEI_TYPE(vaei_uints))(b)))
#define VAEI_ISUB(a, b) ((VAEI_I)((VAEI_TYPE(vaei_uints))(a) - (VAEI_TYPE(vaei_uints))(b)))
#define VAEI_ISHL(a, n) ((VAEI_I)((VAEI_TYPE(vaei_uints))(a) << (n)))
#define VAEI_ISHR(a, n) ((VAEI_I)((VAEI_TYPE(vaei_uints))(a) >> (n)))
#define VAEI_IAND(a, b) ((a) & (b))
#define VAEI_IOR(a, b) ((a) | (b))
#define VAEI_IXOR(a, b) ((a) ^ (b))
#define VAEI_LONG_HIGH(a) ((VAEI_I)((VAEI_TYPE(vaei_longs))(a) >> 32))
#define VAEI_LONG_LOW(a) ((VAEI_I)((VAEI_TYPE(vaei_longs))(a) << 32))
#endif

/* ==== 18 >>vector-math ============================================================================================ */

/* Arrays of any alignment; nothing is read or written past the end. An element has the same bits wherever it stands.

   Polynomials are minimax fits of our own (Remez's exchange, coefficients then rounded to float one after the other,
   the rest refitted each time); the range and the relative error of each stand beside it. Largest errors measured over
   every float of the domain, in units in the last place of the exact result (fused sets / portable sets):
       exp 0.91 / 1.18            expm1 1.6 / 2.1               softplus 2.1 / 2.7        SiLU 3.6 / 3.7
       log 0.91 / 0.96            expm1(x) - x 3.1 / 4.2        its derivative 1.2 / 1.6  GELU, x >= -1 4.8 / 5.3
       log(1 + e) 1.6 / 2.0       tanh 1.5 / 1.5                sigmoid 2.8 / 2.9         GELU, x < -1 6.8 / 7.8
   and in absolute terms the derivatives of SiLU 2.4e-7 and GELU 2.0e-7. Results below 2^-125.5 are 0. NaN gives NaN.
   VAE_DOUBLE takes libm's functions instead. */

/* ---- functions of one vector ---- */

#ifdef VAE_DOUBLE

VAEI_HELPER VAEI_V VAEI_NAME(vaei_exp)(VAEI_V x) { return exp(x); }
VAEI_HELPER VAEI_V VAEI_NAME(vaei_exp_negative)(VAEI_V x) { return exp(x); }
VAEI_HELPER VAEI_V VAEI_NAME(vaei_plus_log1p)(VAEI_V y, VAEI_V e) { return y + log1p(e); }
VAEI_HELPER VAEI_V VAEI_NAME(vaei_tanh)(VAEI_V x, VAEI_V e) { return (void)e, tanh(x); }
VAEI_HELPER VAEI_V VAEI_NAME(vaei_expm1)(VAEI_V x, VAEI_V exp_minus_1) { return (void)exp_minus_1, expm1(x); }
VAEI_HELPER VAEI_V VAEI_NAME(vaei_expm1_minus)(VAEI_V x, VAEI_V exp_minus_1) {
    double term = x * x / 2, sum = 0;
    int    k;
    if (fabs(x) > 0.5) return exp_minus_1 - x;
    for (k = 3; k < 20; k++) { sum += term; term *= x / k; }        /* x^2/2! + x^3/3! + ... */
    return sum;
}
VAEI_HELPER VAEI_V VAEI_NAME(vaei_normal_tail)(VAEI_V a, VAEI_V *exponential, VAEI_V *ratio) {
    const double tail = erfc(a * 0.70710678118654752440) / 2;
    *exponential = exp(-a * a / 2);
    *ratio = tail / *exponential;
    return tail;
}

#else

/* 2^(n-1) p, where `shifted` is n + 1.5 2^23 and p = 2 e^r. n = -126 gives 0. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_exp_assemble)(VAEI_V shifted, VAEI_V r) {
    VAEI_V p = VAEI_SET(0.0027636739f);                            /* 2 e^r, |r| <= 0.3475: 3.4e-9 */
    p = VAEI_FMA(p, r, VAEI_SET(0.0167385712f));
    p = VAEI_FMA(p, r, VAEI_SET(0.0833365247f));
    p = VAEI_FMA(p, r, VAEI_SET(0.333330303f));
    p = VAEI_FMA(p, r, VAEI_SET(0.999999881f));
    p = VAEI_FMA(p, r, VAEI_SET(2.0f));
    p = VAEI_FMA(p, r, VAEI_SET(2.0f));
    return VAEI_PRODUCT(p, VAEI_FROM_BITS(VAEI_IADD(VAEI_ISHL(VAEI_BITS(shifted), 23), VAEI_ISET(126 << 23))));
}

/* e^x for -87.3365 <= x <= 88.73: x = n ln 2 + r. Adding 1.5 2^23 rounds to an integer and leaves it in the low bits;
   ln 2 is split so that n times the first part is exact (Cody and Waite 1980). */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_exp_inside)(VAEI_V x) {
    const VAEI_V shifted = VAEI_FMA(x, VAEI_SET(1.44269504f), VAEI_SET(12582912.0f));
    const VAEI_V n = shifted - VAEI_SET(12582912.0f);
    VAEI_V       r = VAEI_FNMA(n, VAEI_SET(0.693359375f), x);
    r = VAEI_FNMA(n, VAEI_SET(-2.12194440e-4f), r);
    return VAEI_NAME(vaei_exp_assemble)(shifted, r);
}

/* e^x; 0 where that is below 2^-125.5, so that nothing denormal comes out; inf above the largest float. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_exp)(VAEI_V x) {
    return VAEI_NAME(vaei_exp_inside)(VAEI_MIN(VAEI_SET(88.73f), VAEI_MAX(VAEI_SET(-87.3365f), x)));
}

/* The same for x <= 0. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_exp_negative)(VAEI_V x) {
    return VAEI_NAME(vaei_exp_inside)(VAEI_MAX(VAEI_SET(-87.3365f), x));
}

/* log x for normal x > 0: x = 2^n (1 + f) with 1 + f between sqrt 1/2 and sqrt 2,
   log x = n ln 2 + f - f^2/2 + f^3 P(f). The exponent is used as it lies in the bits, n 2^23. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_log)(VAEI_V x) {
    const VAEI_I bits = VAEI_BITS(x);
    const VAEI_I exponent = VAEI_IAND(VAEI_ISUB(bits, VAEI_ISET(0x3F3504F3)), VAEI_ISET(-0x800000));
    const VAEI_V n = VAEI_FROM_INT(exponent);
    const VAEI_V f = VAEI_FROM_BITS(VAEI_ISUB(bits, exponent)) - VAEI_SET(1.0f);
    VAEI_V       p = VAEI_SET(-0.0765348151f);                     /* P, -0.2929 <= f <= 0.4142: 7.9e-9 of log(1+f) */
    p = VAEI_FMA(p, f, VAEI_SET(0.12767674f));
    p = VAEI_FMA(p, f, VAEI_SET(-0.131584629f));
    p = VAEI_FMA(p, f, VAEI_SET(0.142010659f));
    p = VAEI_FMA(p, f, VAEI_SET(-0.166233197f));
    p = VAEI_FMA(p, f, VAEI_SET(0.200012609f));
    p = VAEI_FMA(p, f, VAEI_SET(-0.250008225f));
    p = VAEI_FMA(p, f, VAEI_SET(0.333333313f));
    p = VAEI_FMA(p, f, VAEI_SET(-0.5f));
    p = VAEI_FMA(f * f, p, VAEI_PRODUCT(n, VAEI_SET(-2.12194440e-4f * 1.1920928955078125e-7f)));
    return VAEI_FMA(n, VAEI_SET(0.693359375f * 1.1920928955078125e-7f), f + p);
}

/* y + log(1 + e) for 0 <= e <= 1. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_plus_log1p)(VAEI_V y, VAEI_V e) {
    VAEI_V q = VAEI_SET(-0.00343384058f);                          /* log(1 + e)/e: 5.9e-9 */
    q = VAEI_FMA(q, e, VAEI_SET(0.0207456872f));
    q = VAEI_FMA(q, e, VAEI_SET(-0.0587287657f));
    q = VAEI_FMA(q, e, VAEI_SET(0.107943743f));
    q = VAEI_FMA(q, e, VAEI_SET(-0.154270798f));
    q = VAEI_FMA(q, e, VAEI_SET(0.197222769f));
    q = VAEI_FMA(q, e, VAEI_SET(-0.249643415f));
    q = VAEI_FMA(q, e, VAEI_SET(0.333311379f));
    q = VAEI_FMA(q, e, VAEI_SET(-0.499999583f));
    q = VAEI_FMA(q, e, VAEI_SET(1.0f));
    return VAEI_FMA(q, e, y);
}

/* tanh x = 1 - 2 e/(1 + e) with e = exp(-2 |x|), or for small |x|, where that cancels, x + x^3 T(x^2). */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_tanh)(VAEI_V x, VAEI_V e) {
    const VAEI_V a = VAEI_ABS(x);
    const VAEI_V z = a * a;
    const VAEI_V large = VAEI_FNMA(VAEI_SET(2.0f), e / (VAEI_SET(1.0f) + e), VAEI_SET(1.0f));
    VAEI_V       t = VAEI_SET(-0.00571415294f);                    /* 1 + z T(z), z <= 0.625^2: 4.2e-9 */
    t = VAEI_FMA(t, z, VAEI_SET(0.0206481125f));
    t = VAEI_FMA(t, z, VAEI_SET(-0.0537427813f));
    t = VAEI_FMA(t, z, VAEI_SET(0.133314833f));
    t = VAEI_FMA(t, z, VAEI_SET(-0.333332837f));
    t = VAEI_FMA(a * z, t, a);
    t = VAEI_SELECT_LESS(a, VAEI_SET(0.625f), t, large);
    return VAEI_FROM_BITS(VAEI_IOR(VAEI_BITS(t), VAEI_IAND(VAEI_BITS(x), VAEI_ISET(INT32_MIN))));
}

/* (e^x - 1 - x)/x^2, for |x| <= 1: 2.6e-8. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_expm1_remainder)(VAEI_V x) {
    VAEI_V p = VAEI_SET(2.41456269e-06f);
    p = VAEI_FMA(p, x, VAEI_SET(2.53045891e-05f));
    p = VAEI_FMA(p, x, VAEI_SET(0.000199219547f));
    p = VAEI_FMA(p, x, VAEI_SET(0.00138863234f));
    p = VAEI_FMA(p, x, VAEI_SET(0.00833282247f));
    p = VAEI_FMA(p, x, VAEI_SET(0.0416666977f));
    p = VAEI_FMA(p, x, VAEI_SET(0.166666746f));
    return VAEI_FMA(p, x, VAEI_SET(0.5f));
}

/* e^x - 1 and e^x - 1 - x without cancellation near 0; where there is none, from the difference itself, which the
   caller has. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_expm1)(VAEI_V x, VAEI_V exp_minus_1) {
    const VAEI_V series = VAEI_FMA(x * x, VAEI_NAME(vaei_expm1_remainder)(x), x);
    return VAEI_SELECT_LESS(VAEI_ABS(x), VAEI_SET(1.0f), series, exp_minus_1);
}

VAEI_HELPER VAEI_V VAEI_NAME(vaei_expm1_minus)(VAEI_V x, VAEI_V exp_minus_1) {
    const VAEI_V series = VAEI_PRODUCT(x * x, VAEI_NAME(vaei_expm1_remainder)(x));
    return VAEI_SELECT_LESS(VAEI_ABS(x), VAEI_SET(1.0f), series, exp_minus_1 - x);
}

/* For 0 <= a <= 13.2 the probability that a standard normal variable exceeds a, as its two factors exp(-a^2/2) and
   Mills' ratio (over sqrt 2 pi), of which the second is smooth: a polynomial in (a - 3)/(a + 3). The square is split,
   so that the exponential keeps its relative precision: with h the upper half of a's bits, a^2 = h^2 + (a - h)(a + h)
   and h^2 is exact. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_normal_tail)(VAEI_V a, VAEI_V *exponential, VAEI_V *ratio) {
    const VAEI_V h = VAEI_FROM_BITS(VAEI_IAND(VAEI_BITS(a), VAEI_ISET(-0x1000)));
    const VAEI_V half_rest = (a - h) * VAEI_SET(-0.5f);
    const VAEI_V half_square = h * (h * VAEI_SET(-0.5f));
    const VAEI_V exponent = VAEI_FMA(half_rest, a + h, half_square);
    const VAEI_V shifted = VAEI_FMA(exponent, VAEI_SET(1.44269504f), VAEI_SET(12582912.0f));
    const VAEI_V n = shifted - VAEI_SET(12582912.0f);
    const VAEI_V u = (a - VAEI_SET(3.0f)) / (a + VAEI_SET(3.0f));
    VAEI_V       r = VAEI_FNMA(n, VAEI_SET(0.693359375f), half_square);
    VAEI_V       m = VAEI_SET(5.12941369e-05f);                    /* 3.8e-8 */
    r = VAEI_FMA(half_rest, a + h, r);
    r = VAEI_FNMA(n, VAEI_SET(-2.12194440e-4f), r);
    m = VAEI_FMA(m, u, VAEI_SET(0.000114126524f));
    m = VAEI_FMA(m, u, VAEI_SET(-0.000336189027f));
    m = VAEI_FMA(m, u, VAEI_SET(-0.000982502941f));
    m = VAEI_FMA(m, u, VAEI_SET(0.0029027909f));
    m = VAEI_FMA(m, u, VAEI_SET(0.00613176497f));
    m = VAEI_FMA(m, u, VAEI_SET(-0.046212893f));
    m = VAEI_FMA(m, u, VAEI_SET(0.123225041f));
    m = VAEI_FMA(m, u, VAEI_SET(-0.206402645f));
    m = VAEI_FMA(m, u, VAEI_SET(0.121513948f));
    *exponential = VAEI_NAME(vaei_exp_assemble)(shifted, r);
    *ratio = m;
    return *exponential * m;
}

#endif

/* The sigmoids of x and of -x: with e = exp(-|x|) they are 1/(1 + e) and e/(1 + e), in one order or the other. Neither
   is the other's difference from 1, so both keep their relative precision. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_sigmoids)(VAEI_V x, VAEI_V e, VAEI_V *of_minus_x) {
    const VAEI_V upper = VAEI_SET(1) / (VAEI_SET(1) + e);
    const VAEI_V lower = VAEI_PRODUCT(e, upper);
    *of_minus_x = VAEI_SELECT_LESS(x, VAEI_SET(0), upper, lower);
    return VAEI_SELECT_LESS(x, VAEI_SET(0), lower, upper);
}

/* The activations made of one exponential: tanh, softplus max(x, 0) + log(1 + e^-|x|), sigmoid, and SiLU x sigmoid(x).
   Of SiLU, below -100 the product is 0; the bound keeps -inf from meeting that 0. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_of_exponential)(vae_activation kind, VAEI_V x) {
    const VAEI_V e = VAEI_NAME(vaei_exp_negative)(VAEI_ABS(x) * VAEI_SET(kind == VAE_TANH ? -2 : -1));
    VAEI_V       y, unused;
    if (kind == VAE_TANH) return VAEI_NAME(vaei_tanh)(x, e);
    if (kind == VAE_SOFTPLUS) return VAEI_NAME(vaei_plus_log1p)(VAEI_MAX(VAEI_SET(0), x), e);
    y = VAEI_NAME(vaei_sigmoids)(x, e, &unused);
    return kind == VAE_SILU ? VAEI_MAX(VAEI_SET(-100), x) * y : y;
}

/* The derivatives of softplus, of its value y: 1 - e^-y; and of SiLU: sigmoid(x) (1 + x sigmoid(-x)). */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_derivative_of_exponential)(vae_activation kind, VAEI_V saved) {
    const VAEI_V e = VAEI_NAME(vaei_exp_negative)(-VAEI_ABS(saved));
    const VAEI_V bounded = VAEI_MIN(VAEI_SET(100), VAEI_MAX(VAEI_SET(-100), saved));
    VAEI_V       of_x, of_minus_x;
    if (kind == VAE_SOFTPLUS) return -VAEI_NAME(vaei_expm1)(-saved, e - VAEI_SET(1));
    of_x = VAEI_NAME(vaei_sigmoids)(saved, e, &of_minus_x);
    return of_x * VAEI_FMA(bounded, of_minus_x, VAEI_SET(1));
}

/* x Phi(x) = max(x, 0) - |x| (1 - Phi(|x|)); from 13.2 on the second term is 0. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_gelu)(VAEI_V x) {
    const VAEI_V a = VAEI_MIN(VAEI_SET((vae_real)13.2), VAEI_ABS(x));
    VAEI_V       exponential, ratio;
    return VAEI_FNMA(a, VAEI_NAME(vaei_normal_tail)(a, &exponential, &ratio), VAEI_MAX(VAEI_SET(0), x));
}

/* Phi(x) + x phi(x), where with a = |x|, E = exp(-a^2/2) and k = a/sqrt(2 pi) - ratio
   1 - Phi(a) - a phi(a) = -E k: the result is -E k for negative x and 1 + E k otherwise. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_gelu_derivative)(VAEI_V x) {
    const VAEI_V a = VAEI_MIN(VAEI_SET((vae_real)13.2), VAEI_ABS(x));
    VAEI_V       exponential, ratio, k;
    (void)VAEI_NAME(vaei_normal_tail)(a, &exponential, &ratio);
    k = VAEI_FMA(a, VAEI_SET((vae_real)0.39894228040143267794), -ratio);
    return VAEI_FMA(exponential, VAEI_SELECT_LESS(x, VAEI_SET(0), -k, k),
                    VAEI_SELECT_LESS(x, VAEI_SET(0), VAEI_SET(0), VAEI_SET(1)));
}

/* ---- activations ---- */

#if VAEI_PASS != VAEI_PASS_AVX512       /* which takes AVX2's, see the table at the end */

#undef VAEI_EACH
#define VAEI_EACH(expression) \
    for (i = 0; i < n; i += VAEI_LANES) { const VAEI_V v = VAEI_LOAD(x + i); VAEI_STORE(y + i, expression); } \
    break

/* y = f(x); y may be x. */
VAEI_TARGET void VAEI_NAME(vaei_activate)(vae_activation kind, size_t n, const vae_real *x, vae_real *y) {
    size_t i;
    switch (kind) {
    case VAE_RELU:       VAEI_EACH(VAEI_MAX(VAEI_SET(0), v));
    case VAE_LEAKY_RELU: VAEI_EACH(VAEI_SELECT_LESS(v, VAEI_SET(0), v * VAEI_SET(VAEI_LEAKY_SLOPE), v));
    case VAE_GELU:       VAEI_EACH(VAEI_NAME(vaei_gelu)(v));
    case VAE_SILU:
    case VAE_TANH:
    case VAE_SIGMOID:
    case VAE_SOFTPLUS:   VAEI_EACH(VAEI_NAME(vaei_of_exponential)(kind, v));
    case VAE_LINEAR:
    default:             VAEI_EACH(v);
    }
}

#undef VAEI_EACH
#define VAEI_EACH(derivative) \
    for (i = 0; i < n; i += VAEI_LANES) { \
        const VAEI_V v = VAEI_LOAD(saved + i), e = VAEI_LOAD(d + i); \
        VAEI_STORE(d + i, derivative); \
    } \
    break

/* d *= f'(x), where `saved` is x for those activations that save their input, else f(x). Below, v is what was saved, e
   the gradient with respect to f(x). ReLU and leaky ReLU take the slope below zero at zero itself, as PyTorch does. */
VAEI_TARGET void VAEI_NAME(vaei_activate_backward)(vae_activation kind, size_t n, const vae_real *saved, vae_real *d) {
    size_t i;
    switch (kind) {
    case VAE_RELU:       VAEI_EACH(VAEI_SELECT_LESS(VAEI_SET(0), v, e, VAEI_SET(0)));
    case VAE_LEAKY_RELU: VAEI_EACH(VAEI_SELECT_LESS(VAEI_SET(0), v, e, e * VAEI_SET(VAEI_LEAKY_SLOPE)));
    case VAE_GELU:       VAEI_EACH(e * VAEI_NAME(vaei_gelu_derivative)(v));
    case VAE_TANH:       VAEI_EACH(e * VAEI_FNMA(v, v, VAEI_SET(1)));
    case VAE_SIGMOID:    VAEI_EACH(e * (v * (VAEI_SET(1) - v)));
    case VAE_SILU:
    case VAE_SOFTPLUS:   VAEI_EACH(e * VAEI_NAME(vaei_derivative_of_exponential)(kind, v));
    case VAE_LINEAR:
    default:             break;
    }
}
#undef VAEI_EACH

#endif /* not AVX-512 */

/* ---- sums ---- */

/* Bernoulli: per element max(l, 0) - l x + log(1 + e^-|l|), and its derivative sigmoid(l) - x, of one exponential. */
VAEI_TARGET void VAEI_NAME(vaei_bernoulli)(size_t n, const vae_real *logits, const vae_real *x, vae_real factor,
                                           vae_real *d, vae_real sums[VAEI_SUM_LANES]) {
    size_t part, i;
    for (part = 0; part < VAEI_SUM_LANES; part += VAEI_LANES) {
        VAEI_V sum = VAEI_SET(0);
        for (i = part; i < n; i += VAEI_SUM_LANES) {
            const VAEI_V l = VAEI_LOAD(logits + i), pixel = VAEI_LOAD(x + i);
            const VAEI_V e = VAEI_NAME(vaei_exp_negative)(-VAEI_ABS(l));
            sum = sum + VAEI_NAME(vaei_plus_log1p)(VAEI_FNMA(l, pixel, VAEI_MAX(VAEI_SET(0), l)), e);
            if (d) {
                VAEI_V unused;
                VAEI_STORE(d + i, (VAEI_NAME(vaei_sigmoids)(l, e, &unused) - pixel) * VAEI_SET(factor));
            }
        }
        VAEI_STORE(sums + part, sum);
    }
}

#if VAEI_PASS != VAEI_PASS_AVX512

/* Gaussian: per element the squared difference, and half its derivative. */
VAEI_TARGET void VAEI_NAME(vaei_gaussian)(size_t n, const vae_real *output, const vae_real *x, vae_real factor,
                                          vae_real *d, vae_real sums[VAEI_SUM_LANES]) {
    size_t part, i;
    for (part = 0; part < VAEI_SUM_LANES; part += VAEI_LANES) {
        VAEI_V sum = VAEI_SET(0);
        for (i = part; i < n; i += VAEI_SUM_LANES) {
            const VAEI_V difference = VAEI_LOAD(output + i) - VAEI_LOAD(x + i);
            sum = VAEI_FMA(difference, difference, sum);
            if (d) VAEI_STORE(d + i, difference * VAEI_SET(factor));
        }
        VAEI_STORE(sums + part, sum);
    }
}

/* The KL of N(mean, e^logvar) to N(0, 1), twice: mean^2 + (e^logvar - 1 - logvar). Its derivative is left to
   vaei_latent_backward. */
VAEI_TARGET void VAEI_NAME(vaei_gaussian_kl)(size_t n, const vae_real *mean, const vae_real *logvar, vae_real factor,
                                             vae_real *d, vae_real sums[VAEI_SUM_LANES]) {
    size_t part, i;
    (void)factor;
    (void)d;
    for (part = 0; part < VAEI_SUM_LANES; part += VAEI_LANES) {
        VAEI_V sum = VAEI_SET(0);
        for (i = part; i < n; i += VAEI_SUM_LANES) {
            const VAEI_V m = VAEI_LOAD(mean + i), v = VAEI_LOAD(logvar + i);
            const VAEI_V spread = VAEI_NAME(vaei_expm1_minus)(v, VAEI_NAME(vaei_exp)(v) - VAEI_SET(1));
            sum = sum + VAEI_FMA(m, m, spread);
        }
        VAEI_STORE(sums + part, sum);
    }
}

/* ---- latent ---- */

/* z = mean + e^(logvar/2) epsilon; z may be any of the inputs. */
VAEI_TARGET void VAEI_NAME(vaei_reparameterize)(size_t n, const vae_real *mean, const vae_real *logvar,
                                                const vae_real *epsilon, vae_real *z) {
    size_t i;
    for (i = 0; i < n; i += VAEI_LANES) {
        const VAEI_V deviation = VAEI_NAME(vaei_exp)(VAEI_LOAD(logvar + i) * VAEI_SET((vae_real)0.5));
        VAEI_STORE(z + i, VAEI_FMA(deviation, VAEI_LOAD(epsilon + i), VAEI_LOAD(mean + i)));
    }
}

/* With z = mean + e^(logvar/2) epsilon and kl = (mean^2 + e^logvar - 1 - logvar)/2:
   d_mean = dz + kl_scale mean,  d_logvar = dz epsilon e^(logvar/2)/2 + kl_scale (e^logvar - 1)/2.
   d_mean and d_logvar may be any of the inputs. */
VAEI_TARGET void VAEI_NAME(vaei_latent_backward)(size_t n, const vae_real *mean, const vae_real *logvar,
                                                 const vae_real *epsilon, const vae_real *dz, vae_real kl_scale,
                                                 vae_real *d_mean, vae_real *d_logvar) {
    const VAEI_V half = VAEI_SET((vae_real)0.5), scale = VAEI_SET(kl_scale);
    size_t       i;
    for (i = 0; i < n; i += VAEI_LANES) {
        const VAEI_V m = VAEI_LOAD(mean + i), v = VAEI_LOAD(logvar + i), d = VAEI_LOAD(dz + i);
        const VAEI_V deviation = VAEI_NAME(vaei_exp)(v * half);
        const VAEI_V slope = VAEI_NAME(vaei_expm1)(v, VAEI_FMA(deviation, deviation, VAEI_SET(-1)));
        const VAEI_V drawn = VAEI_PRODUCT(d * VAEI_LOAD(epsilon + i), deviation * half);
        VAEI_STORE(d_mean + i, VAEI_FMA(scale, m, d));
        VAEI_STORE(d_logvar + i, VAEI_FMA(scale * half, slope, drawn));
    }
}

#endif /* not AVX-512 */

/* ---- optimiser ---- */

/* m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
   p -= rate m / (sqrt(v) inverse_root + epsilon)         for the constants see vaei_adam_step_of
   Moments below 1e-30 become 0, so that those of weights that get no gradient do not end as denormal numbers, which are
   slow. (Beside an epsilon of 1e-12 or more that is nothing; a smaller one is not honoured where gradients are below
   1e-14.)
   p, m and v have n numbers in each row, and the gradients of row r are factors[r] times those in g: the weights of a
   layer whose batch is one example, or any n parameters as one row with the factor 1.
   In training p, m and v come from the third cache; wide vectors ask for them ahead: steps with AVX-512 are 1.00 to
   1.03 (784-400-20) and 1.03 to 1.05 (784-512-32) times as fast, with AVX2 those of one example 1.00 to 1.06 times. */
#define VAEI_ADAM_AHEAD 2048    /* bytes; half and twice as many gain less */
VAEI_TARGET void VAEI_NAME(vaei_adam)(const vaei_adam_step *step, size_t rows, size_t n, vae_real *p,
                                      const vae_real *factors, const vae_real *g, vae_real *m, vae_real *v) {
    const VAEI_V beta1 = VAEI_SET(step->beta1), one_minus_beta1 = VAEI_SET(step->one_minus_beta1);
    const VAEI_V beta2 = VAEI_SET(step->beta2), one_minus_beta2 = VAEI_SET(step->one_minus_beta2);
    const VAEI_V rate = VAEI_SET(step->rate), inverse_root = VAEI_SET(step->inverse_root);
    const VAEI_V epsilon = VAEI_SET(step->epsilon), tiny = VAEI_SET((vae_real)1e-30), zero = VAEI_SET(0);
    size_t       r, i;
    for (r = 0; r < rows; r++, p += n, m += n, v += n) {
        const VAEI_V factor = VAEI_SET(factors[r]);
        for (i = 0; i < n; i += VAEI_LANES) {
            VAEI_V gradient = VAEI_FMA(factor, VAEI_LOAD(g + i), zero), first, second, root;
            if (VAEI_LANES >= 8) {
                VAEI_PREFETCH(p + i, VAEI_ADAM_AHEAD);
                VAEI_PREFETCH(m + i, VAEI_ADAM_AHEAD);
                VAEI_PREFETCH(v + i, VAEI_ADAM_AHEAD);
            }
            first = VAEI_FMA(one_minus_beta1, gradient, VAEI_PRODUCT(beta1, VAEI_LOAD(m + i)));
            gradient = VAEI_SELECT_LESS(VAEI_ABS(gradient), VAEI_SET((vae_real)1e-15), zero, gradient);
            second = VAEI_FMA(one_minus_beta2 * gradient, gradient, VAEI_PRODUCT(beta2, VAEI_LOAD(v + i)));
            first = VAEI_SELECT_LESS(VAEI_ABS(first), tiny, zero, first);
            second = VAEI_SELECT_LESS(second, tiny, zero, second);
            root = VAEI_FMA(VAEI_SQRT(second), inverse_root, epsilon);
            VAEI_STORE(p + i, VAEI_FNMA(rate, first / root, VAEI_LOAD(p + i)));
            VAEI_STORE(m + i, first);
            VAEI_STORE(v + i, second);
        }
    }
}

/* ---- plain arithmetic ---- */

#if VAEI_PASS != VAEI_PASS_AVX512

/* y = bytes / 255, the quotient rounded once. */
VAEI_TARGET void VAEI_NAME(vaei_bytes_to_real)(size_t n, const unsigned char *bytes, vae_real *y) {
    const size_t whole = n - n % VAEI_LANES;
    size_t       i;
    for (i = 0; i < whole; i += VAEI_LANES)
        VAEI_STORE(y + i, VAEI_FROM_INT(VAEI_LOAD_BYTES(bytes + i)) / VAEI_SET(255));
    for (; i < n; i++) y[i] = (vae_real)bytes[i] / 255;
}

/* out[j] = sum of d[i][j] over the rows i, or += that. Row i begins at d + row_offsets[i], or at d + i row_stride where
   there is no table. The order is the same for every column and every set: in blocks of VAEI_SUM_BLOCK rows, row i goes
   to partial sum i mod 4, the four are added by halves, and the blocks one after the other. */
VAEI_TARGET void VAEI_NAME(vaei_column_sums)(size_t rows, size_t columns, const vae_real *d, size_t row_stride,
                                             const uint32_t *row_offsets, vae_real *out, int accumulate) {
    size_t at[VAEI_SUM_BLOCK], begin, count, i, j;
    if (!accumulate) for (j = 0; j < columns; j++) out[j] = 0;
    for (begin = 0; begin < rows; begin += count) {
        count = rows - begin < VAEI_SUM_BLOCK ? rows - begin : VAEI_SUM_BLOCK;
        for (i = 0; i < count; i++) at[i] = row_offsets ? (size_t)row_offsets[begin + i] : (begin + i) * row_stride;
        for (j = 0; j < columns; j += VAEI_LANES) {
            const vae_real *column = d + j;
            VAEI_V          sum0 = VAEI_SET(0), sum1 = sum0, sum2 = sum0, sum3 = sum0;
            for (i = 0; i + 4 <= count; i += 4) {
                sum0 = sum0 + VAEI_LOAD(column + at[i]);
                sum1 = sum1 + VAEI_LOAD(column + at[i + 1]);
                sum2 = sum2 + VAEI_LOAD(column + at[i + 2]);
                sum3 = sum3 + VAEI_LOAD(column + at[i + 3]);
            }
            if (i < count) sum0 = sum0 + VAEI_LOAD(column + at[i]);
            if (i + 1 < count) sum1 = sum1 + VAEI_LOAD(column + at[i + 1]);
            if (i + 2 < count) sum2 = sum2 + VAEI_LOAD(column + at[i + 2]);
            VAEI_STORE(out + j, VAEI_LOAD(out + j) + ((sum0 + sum2) + (sum1 + sum3)));
        }
    }
}

#ifdef VAE_DOUBLE

VAEI_TARGET int VAEI_NAME(vaei_all_within)(size_t n, const vae_real *x, vae_real most) {
    size_t i;
    for (i = 0; i < n; i++) if (!(x[i] >= -most && x[i] <= most)) return 0;
    return 1;
}

#else

/* Is every |x| <= most, a finite number? By the bits, which are ordered as the numbers are, infinity and NaN above all
   others, since -ffast-math assumes there are none of these. */
VAEI_TARGET int VAEI_NAME(vaei_all_within)(size_t n, const vae_real *x, vae_real most) {
    const size_t   whole = n - n % VAEI_LANES;
    const uint32_t limit = (uint32_t)vaei_real_bits(most);
    VAEI_I         beyond = VAEI_ISET(0);
    uint32_t       lanes[VAEI_LANES], any = 0;
    size_t         i, j;
    for (i = 0; i < whole; i += VAEI_LANES) {
        const VAEI_I size = VAEI_IAND(VAEI_BITS(VAEI_LOAD(x + i)), VAEI_ISET(0x7FFFFFFF));
        beyond = VAEI_IOR(beyond, VAEI_ISUB(VAEI_ISET((int32_t)limit), size));
    }
    VAEI_ISTORE(lanes, beyond);
    for (j = 0; j < VAEI_LANES; j++) any |= lanes[j];
    for (; i < n; i++) any |= limit - ((uint32_t)vaei_real_bits(x[i]) & 0x7FFFFFFF);
    return any >> 31 == 0;
}

#endif
#endif /* not AVX-512 */

#if VAEI_PASS != VAEI_PASS_AVX2 && VAEI_PASS != VAEI_PASS_AVX512        /* which take the vector extension's */

/* y += x */
VAEI_TARGET void VAEI_NAME(vaei_add)(size_t n, vae_real *y, const vae_real *x) {
    const size_t whole = n - n % VAEI_LANES;
    size_t       i;
    for (i = 0; i < whole; i += VAEI_LANES) VAEI_STORE(y + i, VAEI_LOAD(y + i) + VAEI_LOAD(x + i));
    for (; i < n; i++) y[i] = y[i] + x[i];
}

#ifdef VAE_DOUBLE

VAEI_TARGET size_t VAEI_NAME(vaei_check_range)(size_t n, const vae_real *x, vae_real low, vae_real high) {
    size_t i;
    for (i = 0; i < n; i++) if (!(x[i] >= low && x[i] <= high)) return i;
    return n;
}

#else

/* The index of the first number that is not within [low, high], or n; NaN is not. A block is looked at closely only if
   one of its numbers is NaN or infinite or changes when clamped. */
VAEI_TARGET size_t VAEI_NAME(vaei_check_range)(size_t n, const vae_real *x, vae_real low, vae_real high) {
    size_t begin, end, i, j;
    for (begin = 0; begin < n; begin = end) {
        VAEI_I   found = VAEI_ISET(0);
        uint32_t lanes[VAEI_LANES], any = 0;
        end = n - begin < VAEI_SUM_BLOCK ? n : begin + VAEI_SUM_BLOCK;
        for (i = begin; i + VAEI_LANES <= end; i += VAEI_LANES) {
            const VAEI_V v = VAEI_LOAD(x + i);
            const VAEI_V raised = VAEI_MAX(v, VAEI_SET(low));
            const VAEI_I changed = VAEI_IXOR(VAEI_BITS(v), VAEI_BITS(VAEI_MIN(raised, VAEI_SET(high))));
            const VAEI_I special = VAEI_IADD(VAEI_IAND(VAEI_BITS(v), VAEI_ISET(0x7FFFFFFF)), VAEI_ISET(0x800000));
            found = VAEI_IOR(found, VAEI_IOR(changed, VAEI_ISHR(special, 31)));
        }
        VAEI_ISTORE(lanes, found);
        for (j = 0; j < VAEI_LANES; j++) any |= lanes[j];
        for (i = any ? begin : i; i < end; i++)
            if (((uint32_t)vaei_real_bits(x[i]) & 0x7FFFFFFF) > 0x7F800000 || x[i] < low || x[i] > high) return i;
    }
    return n;
}

#endif

#endif /* neither AVX2 nor AVX-512 */

/* ---- random numbers ---- */

#if VAEI_PASS != VAEI_PASS_AVX512

/* Philox on several blocks at once: words[0..3][j] hold counter j before and its random words after. The products are
   64 bits wide, so that a vector of counters is worked on as two, of its even and of its odd places. */
VAEI_TARGET void VAEI_NAME(vaei_philox_blocks)(const uint32_t key[2], size_t count,
                                               uint32_t words[4][VAEI_RANDOM_BLOCKS]) {
    size_t j;
#ifdef VAEI_LONG_PRODUCT
    const VAEI_I multiplier0 = VAEI_ISET((int32_t)VAEI_PHILOX_MULTIPLIER_0);
    const VAEI_I multiplier1 = VAEI_ISET((int32_t)VAEI_PHILOX_MULTIPLIER_1);
    for (j = 0; j < count; j += VAEI_LANES) {
        VAEI_I even0 = VAEI_ILOAD(words[0] + j), odd0 = VAEI_LONG_HIGH(even0);
        VAEI_I even1 = VAEI_ILOAD(words[1] + j), odd1 = VAEI_LONG_HIGH(even1);
        VAEI_I even2 = VAEI_ILOAD(words[2] + j), odd2 = VAEI_LONG_HIGH(even2);
        VAEI_I even3 = VAEI_ILOAD(words[3] + j), odd3 = VAEI_LONG_HIGH(even3);
        uint32_t key0 = key[0], key1 = key[1];
        int      round;
        for (round = 0; round < VAEI_PHILOX_ROUNDS; round++) {
            const VAEI_I low = VAEI_ISET((int32_t)key0), high = VAEI_ISET((int32_t)key1);
            const VAEI_I even_product0 = VAEI_LONG_PRODUCT(even0, multiplier0);
            const VAEI_I odd_product0 = VAEI_LONG_PRODUCT(odd0, multiplier0);
            const VAEI_I even_product1 = VAEI_LONG_PRODUCT(even2, multiplier1);
            const VAEI_I odd_product1 = VAEI_LONG_PRODUCT(odd2, multiplier1);
            even0 = VAEI_IXOR(VAEI_IXOR(VAEI_LONG_HIGH(even_product1), even1), low);
            odd0 = VAEI_IXOR(VAEI_IXOR(VAEI_LONG_HIGH(odd_product1), odd1), low);
            even2 = VAEI_IXOR(VAEI_IXOR(VAEI_LONG_HIGH(even_product0), even3), high);
            odd2 = VAEI_IXOR(VAEI_IXOR(VAEI_LONG_HIGH(odd_product0), odd3), high);
            even1 = even_product1;
            odd1 = odd_product1;
            even3 = even_product0;
            odd3 = odd_product0;
            key0 += VAEI_PHILOX_KEY_STEP_0;
            key1 += VAEI_PHILOX_KEY_STEP_1;
        }
        VAEI_ISTORE(words[0] + j, VAEI_LONG_JOIN(even0, odd0));
        VAEI_ISTORE(words[1] + j, VAEI_LONG_JOIN(even1, odd1));
        VAEI_ISTORE(words[2] + j, VAEI_LONG_JOIN(even2, odd2));
        VAEI_ISTORE(words[3] + j, VAEI_LONG_JOIN(even3, odd3));
    }
#else
    for (j = 0; j < count; j++) {
        uint32_t block[4];
        block[0] = words[0][j]; block[1] = words[1][j]; block[2] = words[2][j]; block[3] = words[3][j];
        vaei_philox(key, block);
        words[0][j] = block[0]; words[1][j] = block[1]; words[2][j] = block[2]; words[3][j] = block[3];
    }
#endif
}

#ifdef VAE_DOUBLE

VAEI_TARGET void VAEI_NAME(vaei_words_to_normals)(size_t count, uint32_t words[4][VAEI_RANDOM_BLOCKS],
                                                  vae_real numbers[4][VAEI_RANDOM_BLOCKS]) {
    size_t j;
    int    pair;
    for (pair = 0; pair < 4; pair += 2)
        for (j = 0; j < count; j++) {
            const double u = ((double)(words[pair][j] >> 1) + 0.5) / 2147483648.0, word = (double)words[pair + 1][j];
            const double angle =
                (word < 2147483648.0 ? word : word - 4294967296.0) / 2147483648.0 * 3.14159265358979323846;
            const double radius = sqrt(-2 * log(u));
            numbers[pair][j] = radius * cos(angle);
            numbers[pair + 1][j] = radius * sin(angle);
        }
}

#else

/* Box and Muller 1958: r = sqrt(-2 log u) and a uniform angle give the normals r cos, r sin. u = (k + 1/2) 2^-31 for
   the upper 31 bits k of the first word, so that the largest normal is 6.66. The lower 31 bits of the second word are
   an angle f pi with -1/2 <= f < 1/2; its top bit turns the cosine's sign, which gives the other half of the circle. */
VAEI_TARGET void VAEI_NAME(vaei_words_to_normals)(size_t count, uint32_t words[4][VAEI_RANDOM_BLOCKS],
                                                  vae_real numbers[4][VAEI_RANDOM_BLOCKS]) {
    size_t j;
    int    pair;
    for (pair = 0; pair < 4; pair += 2)
        for (j = 0; j < count; j += VAEI_LANES) {
            const VAEI_I word0 = VAEI_ILOAD(words[pair] + j), word1 = VAEI_ILOAD(words[pair + 1] + j);
            const VAEI_V u = VAEI_FMA(VAEI_FROM_INT(VAEI_ISHR(word0, 1)), VAEI_SET(4.65661287307739258e-10f),
                                      VAEI_SET(2.32830643653869629e-10f));
            const VAEI_V radius = VAEI_SQRT(VAEI_NAME(vaei_log)(u) * VAEI_SET(-2.0f));
            const VAEI_V f = VAEI_FROM_INT(VAEI_ISHL(word1, 1)) * VAEI_SET(2.32830643653869629e-10f);
            const VAEI_V z = f * f;
            VAEI_V       sine = VAEI_SET(0.0798354819f);           /* sin(pi f)/f: 2.9e-8 */
            VAEI_V       cosine = VAEI_SET(0.220276549f);          /* cos(pi f): 5.7e-8 absolute */
            sine = VAEI_FMA(sine, z, VAEI_SET(-0.599437296f));
            sine = VAEI_FMA(sine, z, VAEI_SET(2.55026984f));
            sine = VAEI_FMA(sine, z, VAEI_SET(-5.16772079f));
            sine = VAEI_FMA(sine, z, VAEI_SET(3.14159274f));
            cosine = VAEI_FMA(cosine, z, VAEI_SET(-1.33219564f));
            cosine = VAEI_FMA(cosine, z, VAEI_SET(4.05846786f));
            cosine = VAEI_FMA(cosine, z, VAEI_SET(-4.93479633f));
            cosine = VAEI_FMA(cosine, z, VAEI_SET(1.0f));
            cosine = VAEI_FROM_BITS(VAEI_IXOR(VAEI_BITS(cosine), VAEI_IAND(word1, VAEI_ISET(INT32_MIN))));
            VAEI_STORE(numbers[pair] + j, radius * cosine);
            VAEI_STORE(numbers[pair + 1] + j, radius * (sine * f));
        }
}

#endif

#endif /* not AVX-512 */

/* ==== 19 >>product-kernels ======================================================================================== */

/* Register tiles by rows and vectors. Sums, a step of B and one number of A must fit the registers, and there must be
   enough sums to hide a multiply-add's latency:
   AVX2     6 x 2, 12 sums of 16 registers, and 4 x 3 for the last columns (40 = 16 + 24: 93% of peak, where 6 x 1 at
            the end stays below 80) and for few rows: see vaei_fills_low_tiles
   AVX-512  8 x 3, 24 sums of 32 registers: 11 loads for 24 multiply-adds, and the rows' addresses fit their registers
   NEON     6 x 4, 24 sums of 32 registers: 10 loads for 24
   vector   4 x 2, 8 sums of 16 registers: without a fused operation a product needs a register, too
   plain    2 x 4, 8 sums: 3 x 4 spills with gcc, 7 GF/s instead of 11
   A tile one vector wide is taller: six sums cannot hide a latency of four, two at a time. */
#undef VAEI_TILES
#undef VAEI_FEW
#undef VAEI_HALF
#if VAEI_PASS == VAEI_PASS_AVX2
VAEI_TILES_KERNEL(vaei_tile_8x1, VAEI_ROWS_8, VAEI_VECTORS_1)
VAEI_TILES_OF_HALVES_KERNEL(vaei_tile_6x2, VAEI_ROWS_6, VAEI_VECTORS_2)
VAEI_TILES_KERNEL(vaei_tile_4x2, VAEI_ROWS_4, VAEI_VECTORS_2)
VAEI_TILES_AHEAD_KERNEL(vaei_tile_4x3, VAEI_ROWS_4, VAEI_VECTORS_3)
VAEI_PACKING_TILE_KERNEL(vaei_packing_tile, VAEI_ROWS_6, VAEI_VECTORS_2)
#define VAEI_TILES 2, 3, \
    { VAEI_TILE(8, 1), VAEI_TILE(6, 2) }, \
    { VAEI_NO_TILE, VAEI_TILE(4, 2), VAEI_TILE(4, 3) }
#define VAEI_FEW 3
#define VAEI_HALF NULL
#elif VAEI_PASS == VAEI_PASS_AVX512
VAEI_TILES_KERNEL(vaei_tile_8x1, VAEI_ROWS_8, VAEI_VECTORS_1)
VAEI_TILES_KERNEL(vaei_tile_8x2, VAEI_ROWS_8, VAEI_VECTORS_2)
VAEI_TILES_KERNEL(vaei_tile_8x3, VAEI_ROWS_8, VAEI_VECTORS_3)
VAEI_TILES_KERNEL(vaei_tile_4x3, VAEI_ROWS_4, VAEI_VECTORS_3)
VAEI_PACKING_TILE_KERNEL(vaei_packing_tile, VAEI_ROWS_8, VAEI_VECTORS_3)
#define VAEI_TILES 3, 3, \
    { VAEI_TILE(8, 1), VAEI_TILE(8, 2), VAEI_TILE(8, 3) }, \
    { VAEI_NO_TILE, VAEI_NO_TILE, VAEI_TILE(4, 3) }
#define VAEI_FEW 0
#define VAEI_HALF &vaei_product_kernels_avx2
#elif VAEI_PASS == VAEI_PASS_NEON
VAEI_TILES_KERNEL(vaei_tile_8x1, VAEI_ROWS_8, VAEI_VECTORS_1)
VAEI_TILES_KERNEL(vaei_tile_6x2, VAEI_ROWS_6, VAEI_VECTORS_2)
VAEI_TILES_KERNEL(vaei_tile_6x3, VAEI_ROWS_6, VAEI_VECTORS_3)
VAEI_TILES_KERNEL(vaei_tile_6x4, VAEI_ROWS_6, VAEI_VECTORS_4)
VAEI_TILES_KERNEL(vaei_tile_4x2, VAEI_ROWS_4, VAEI_VECTORS_2)
VAEI_TILES_KERNEL(vaei_tile_4x3, VAEI_ROWS_4, VAEI_VECTORS_3)
VAEI_TILES_KERNEL(vaei_tile_4x4, VAEI_ROWS_4, VAEI_VECTORS_4)
VAEI_PACKING_TILE_KERNEL(vaei_packing_tile, VAEI_ROWS_6, VAEI_VECTORS_4)
#define VAEI_TILES 4, 4, \
    { VAEI_TILE(8, 1), VAEI_TILE(6, 2), VAEI_TILE(6, 3), VAEI_TILE(6, 4) }, \
    { VAEI_NO_TILE, VAEI_TILE(4, 2), VAEI_TILE(4, 3), VAEI_TILE(4, 4) }
#define VAEI_FEW 3
#define VAEI_HALF NULL
#elif VAEI_PASS == VAEI_PASS_VECTOR
VAEI_TILES_KERNEL(vaei_tile_8x1, VAEI_ROWS_8, VAEI_VECTORS_1)
VAEI_TILES_KERNEL(vaei_tile_4x2, VAEI_ROWS_4, VAEI_VECTORS_2)
VAEI_TILES_KERNEL(vaei_tile_2x2, VAEI_ROWS_2, VAEI_VECTORS_2)
VAEI_PACKING_TILE_KERNEL(vaei_packing_tile, VAEI_ROWS_4, VAEI_VECTORS_2)
#define VAEI_TILES 2, 2, \
    { VAEI_TILE(8, 1), VAEI_TILE(4, 2) }, \
    { VAEI_NO_TILE, VAEI_TILE(2, 2) }
#define VAEI_FEW 1                      /* of four lanes, three columns waste but one */
#define VAEI_HALF NULL
#else
VAEI_TILES_KERNEL(vaei_tile_4x1, VAEI_ROWS_4, VAEI_VECTORS_1)
VAEI_TILES_KERNEL(vaei_tile_2x2, VAEI_ROWS_2, VAEI_VECTORS_2)
VAEI_TILES_KERNEL(vaei_tile_2x3, VAEI_ROWS_2, VAEI_VECTORS_3)
VAEI_TILES_KERNEL(vaei_tile_2x4, VAEI_ROWS_2, VAEI_VECTORS_4)
VAEI_TILES_KERNEL(vaei_tile_1x4, VAEI_ROWS_1, VAEI_VECTORS_4)
VAEI_PACKING_TILE_KERNEL(vaei_packing_tile, VAEI_ROWS_2, VAEI_VECTORS_4)
#define VAEI_TILES 4, 4, \
    { VAEI_TILE(4, 1), VAEI_TILE(2, 2), VAEI_TILE(2, 3), VAEI_TILE(2, 4) }, \
    { VAEI_NO_TILE, VAEI_NO_TILE, VAEI_NO_TILE, VAEI_TILE(1, 4) }
#define VAEI_FEW 0                      /* a lane is a column: nothing is wasted */
#define VAEI_HALF NULL
#endif

/* ---- Packing a panel of B: its columns side by side, one step after the other, filled up with zeros ---- */

#if VAEI_PASS != VAEI_PASS_AVX512       /* which takes AVX2's */

/* Four steps of as many columns as a vector has lanes, turned: vector s holds step s of every column. */
typedef struct VAEI_NAME(vaei_turned) { VAEI_V step0, step1, step2, step3; } VAEI_NAME(vaei_turned);

VAEI_HELPER VAEI_NAME(vaei_turned) VAEI_NAME(vaei_turn)(const vae_real *const *columns, size_t at) {
    VAEI_NAME(vaei_turned) turned;
#if VAEI_PASS == VAEI_PASS_AVX2
#define VAEI_FOUR(c) (*(const vaei_loose_floats4 *)(const void *)(columns[c] + at))
#define VAEI_QUAD(c) VAEI_X86( \
    __builtin_ia32_vinsertf128_ps256(__builtin_ia32_ps256_ps(VAEI_FOUR(c)), VAEI_FOUR(c + 4), 1), \
    _mm256_insertf128_ps(_mm256_castps128_ps256(VAEI_FOUR(c)), VAEI_FOUR(c + 4), 1))
#define VAEI_UNPACK_LOW(a, b) VAEI_X86(__builtin_ia32_unpcklps256(a, b), _mm256_unpacklo_ps(a, b))
#define VAEI_UNPACK_HIGH(a, b) VAEI_X86(__builtin_ia32_unpckhps256(a, b), _mm256_unpackhi_ps(a, b))
#define VAEI_SHUFFLE(a, b, places) VAEI_X86(__builtin_ia32_shufps256(a, b, places), _mm256_shuffle_ps(a, b, places))
    const VAEI_V q0 = VAEI_QUAD(0), q1 = VAEI_QUAD(1), q2 = VAEI_QUAD(2), q3 = VAEI_QUAD(3);
    const VAEI_V low01 = VAEI_UNPACK_LOW(q0, q1), high01 = VAEI_UNPACK_HIGH(q0, q1);
    const VAEI_V low23 = VAEI_UNPACK_LOW(q2, q3), high23 = VAEI_UNPACK_HIGH(q2, q3);
    turned.step0 = VAEI_SHUFFLE(low01, low23, 0x44);
    turned.step1 = VAEI_SHUFFLE(low01, low23, 0xEE);
    turned.step2 = VAEI_SHUFFLE(high01, high23, 0x44);
    turned.step3 = VAEI_SHUFFLE(high01, high23, 0xEE);
#undef VAEI_FOUR
#undef VAEI_QUAD
#undef VAEI_UNPACK_LOW
#undef VAEI_UNPACK_HIGH
#undef VAEI_SHUFFLE
#elif VAEI_PASS == VAEI_PASS_NEON
    const float32x4_t q0 = vld1q_f32(columns[0] + at), q1 = vld1q_f32(columns[1] + at);
    const float32x4_t q2 = vld1q_f32(columns[2] + at), q3 = vld1q_f32(columns[3] + at);
    const float32x4x2_t even = vzipq_f32(q0, q2), odd = vzipq_f32(q1, q3);
    const float32x4x2_t first = vzipq_f32(even.val[0], odd.val[0]), second = vzipq_f32(even.val[1], odd.val[1]);
    turned.step0 = first.val[0]; turned.step1 = first.val[1];
    turned.step2 = second.val[0]; turned.step3 = second.val[1];
#elif VAEI_PASS == VAEI_PASS_VECTOR
    const float *q0 = columns[0] + at, *q1 = columns[1] + at, *q2 = columns[2] + at, *q3 = columns[3] + at;
    const VAEI_V v0 = { q0[0], q1[0], q2[0], q3[0] }, v1 = { q0[1], q1[1], q2[1], q3[1] };
    const VAEI_V v2 = { q0[2], q1[2], q2[2], q3[2] }, v3 = { q0[3], q1[3], q2[3], q3[3] };
    turned.step0 = v0; turned.step1 = v1; turned.step2 = v2; turned.step3 = v3;
#else
    turned.step0 = columns[0][at]; turned.step1 = columns[0][at + 1];
    turned.step2 = columns[0][at + 2]; turned.step3 = columns[0][at + 3];
#endif
    return turned;
}

/* One number from each of as many rows as a vector has lanes. */
VAEI_TARGET VAEI_NOINLINE void VAEI_NAME(vaei_gather)(const vae_real *const *rows, size_t at,
                                                      vae_real numbers[VAEI_LANES]) {
    size_t i;
    for (i = 0; i < VAEI_LANES; i++) numbers[i] = rows[i][at];
}

/* `steps` steps of `columns` <= width columns that lie along B's steps. */
VAEI_TARGET void VAEI_NAME(vaei_pack_turning)(const vae_real *b, size_t b_column, size_t columns, size_t steps,
                                              vae_real *panel, size_t width) {
    const vae_real *from[VAEI_LANES];
    size_t j = 0, i, k;
    for (; j + VAEI_LANES <= columns; j += VAEI_LANES) {
        for (i = 0; i < VAEI_LANES; i++) from[i] = b + (j + i) * b_column;
        for (k = 0; k + 4 <= steps; k += 4) {
            const VAEI_NAME(vaei_turned) turned = VAEI_NAME(vaei_turn)(from, k);
            vae_real *to = panel + k * width + j;
            VAEI_STORE(to, turned.step0);
            VAEI_STORE(to + width, turned.step1);
            VAEI_STORE(to + 2 * width, turned.step2);
            VAEI_STORE(to + 3 * width, turned.step3);
        }
        for (; k < steps; k++) VAEI_NAME(vaei_gather)(from, k, panel + k * width + j);
    }
    for (; j < columns; j++) for (k = 0; k < steps; k++) panel[k * width + j] = b[j * b_column + k];
    for (; j < width; j++) for (k = 0; k < steps; k++) panel[k * width + j] = 0;
}

/* `steps` steps of `columns` <= width columns that lie side by side. */
VAEI_TARGET void VAEI_NAME(vaei_pack_copying)(const vae_real *b, size_t b_step, size_t columns, size_t steps,
                                              vae_real *panel, size_t width) {
    size_t j, k;
    for (k = 0; k < steps; k++, b += b_step, panel += width) {
        for (j = 0; j + VAEI_LANES <= columns; j += VAEI_LANES) VAEI_STORE(panel + j, VAEI_LOAD(b + j));
        for (; j < columns; j++) panel[j] = b[j];
        for (; j < width; j++) panel[j] = 0;
    }
}

#endif

/* ---- Few rows or few columns: the last layer's one or three channels, heads, batches of two and three ----

   A tile would be mostly padding. Instead a vector holds one result each of as many of the many (rows, or columns) as
   it has lanes, and meets the few one number at a time: 288 x 1 x 1568 takes 33 us instead of 139 (AVX2), 784 x 1 x 64
   along its steps 5 instead of 14. */

#if VAEI_FEW
VAEI_STREAM_KERNEL(vaei_stream_1, VAEI_ROWS_8, VAEI_VECTORS_1)
VAEI_TURN_KERNEL(vaei_turn_1, VAEI_ROWS_4, VAEI_VECTORS_1)
#endif
#if VAEI_FEW > 1
VAEI_STREAM_KERNEL(vaei_stream_2, VAEI_ROWS_4, VAEI_VECTORS_2)
VAEI_STREAM_KERNEL(vaei_stream_3, VAEI_ROWS_4, VAEI_VECTORS_3)
VAEI_TURN_KERNEL(vaei_turn_2, VAEI_ROWS_2, VAEI_VECTORS_2)
VAEI_TURN_KERNEL(vaei_turn_3, VAEI_ROWS_2, VAEI_VECTORS_3)
#endif

/* ---- One row at a time, for few steps or a single row ---- */

VAEI_SWEEP_KERNEL(vaei_sweep_1, VAEI_ROWS_1)
VAEI_SWEEP_KERNEL(vaei_sweep_2, VAEI_ROWS_2)
VAEI_SWEEP_KERNEL(vaei_sweep_4, VAEI_ROWS_4)
VAEI_SWEEP_KERNEL(vaei_sweep_8, VAEI_ROWS_8)

/* ---- The table ---- */

/* AVX-512 takes from AVX2, which gives the same bits, what wider vectors do not make faster: this set then compiles in
   a third of AVX2's time. Both take from the vector extension what gives the same bits there and is bound by memory. */
#undef VAEI_SHARED
#undef VAEI_BASIC
#if VAEI_PASS == VAEI_PASS_AVX512
#define VAEI_SHARED(name) name##_avx2
#else
#define VAEI_SHARED(name) VAEI_NAME(name)
#endif
#if VAEI_PASS == VAEI_PASS_AVX2 || VAEI_PASS == VAEI_PASS_AVX512
#define VAEI_BASIC(name) name##_vector
#else
#define VAEI_BASIC(name) VAEI_NAME(name)
#endif

#undef VAEI_TILE
#undef VAEI_FEW_KERNELS
#define VAEI_TILE(rows, vectors) { rows, VAEI_NAME(vaei_tile_##rows##x##vectors) }
#define VAEI_NO_TILE { 0, NULL }
#if VAEI_FEW == 0
#define VAEI_FEW_KERNELS { { 0, NULL, 0, NULL } }
#elif VAEI_FEW == 1
#define VAEI_FEW_KERNELS { { 8, VAEI_NAME(vaei_stream_1), 4, VAEI_NAME(vaei_turn_1) } }
#else
#define VAEI_FEW_KERNELS \
    { { 8, VAEI_NAME(vaei_stream_1), 4, VAEI_NAME(vaei_turn_1) }, \
      { 4, VAEI_NAME(vaei_stream_2), 2, VAEI_NAME(vaei_turn_2) }, \
      { 4, VAEI_NAME(vaei_stream_3), 2, VAEI_NAME(vaei_turn_3) } }
#endif

static const vaei_product_kernels VAEI_NAME(vaei_product_kernels) = {
    VAEI_LANES, VAEI_TILES, VAEI_NAME(vaei_packing_tile), VAEI_SHARED(vaei_pack_turning),
    VAEI_SHARED(vaei_pack_copying), VAEI_FEW, VAEI_FEW_KERNELS,
    { VAEI_NAME(vaei_sweep_1), VAEI_NAME(vaei_sweep_2), VAEI_NAME(vaei_sweep_4), VAEI_NAME(vaei_sweep_8) }, VAEI_HALF
};

#ifdef VAEI_KERNEL_TESTS        /* the tests look at single vectors of each set through functions of their own */
#include VAEI_KERNEL_TESTS
#endif

static const vaei_kernel_set VAEI_NAME(vaei_kernel_set) = {
    &VAEI_NAME(vaei_product_kernels), VAEI_SHARED(vaei_activate), VAEI_SHARED(vaei_activate_backward),
    VAEI_NAME(vaei_bernoulli), VAEI_SHARED(vaei_gaussian), VAEI_SHARED(vaei_gaussian_kl),
    VAEI_SHARED(vaei_reparameterize), VAEI_SHARED(vaei_latent_backward), VAEI_NAME(vaei_adam),
    VAEI_SHARED(vaei_philox_blocks), VAEI_SHARED(vaei_words_to_normals), VAEI_SHARED(vaei_column_sums),
    VAEI_BASIC(vaei_add), VAEI_SHARED(vaei_bytes_to_real), VAEI_SHARED(vaei_all_within),
    VAEI_BASIC(vaei_check_range)
};
#endif /* VAEI_PASS */

#if defined(VAE_IMPLEMENTATION) && !defined(VAEI_PASS) && !defined(VAEI_IMPLEMENTED)
#define VAEI_IMPLEMENTED

/* ==== 20 >>arrays ================================================================================================= */

/* Kernels take whole vectors. Here the few elements that are left at the end of an array go through a copy filled up to
   a vector, once for all sets.

   Neither these functions nor any others that call kernels are VAEI_TARGET: after a call of a function without wide
   registers gcc 12 forgets to clear their upper halves (vzeroupper), and every SSE instruction of the program would
   then be several times slower. For the same reason a VAEI_TARGET function calls none but its like. */

VAEI_APART void vaei_copy_padded(vae_real padded[VAEI_MOST_LANES], const vae_real *values, size_t count,
                                 vae_real rest) {
    size_t i;
    memcpy(padded, values, count * sizeof *values);
    for (i = count; i < VAEI_MOST_LANES; i++) padded[i] = rest;
}

VAEI_PRIVATE void vaei_activate(const vaei_kernel_set *set, vae_activation kind, size_t n, const vae_real *x,
                                vae_real *y) {
    const size_t lanes = set->product->lanes, rest = n % lanes, whole = n - rest;
    vae_real     last[VAEI_MOST_LANES];
    if (kind == VAE_LINEAR && x == y) return;
    set->activate(kind, whole, x, y);
    if (rest == 0) return;
    vaei_copy_padded(last, x + whole, rest, 0);
    set->activate(kind, lanes, last, last);
    memcpy(y + whole, last, rest * sizeof *y);
}

VAEI_PRIVATE void vaei_activate_backward(const vaei_kernel_set *set, vae_activation kind, size_t n,
                                         const vae_real *saved, vae_real *d) {
    const size_t lanes = set->product->lanes, rest = n % lanes, whole = n - rest;
    vae_real     last_saved[VAEI_MOST_LANES], last[VAEI_MOST_LANES];
    if (kind == VAE_LINEAR) return;
    set->activate_backward(kind, whole, saved, d);
    if (rest == 0) return;
    vaei_copy_padded(last_saved, saved + whole, rest, 0);
    vaei_copy_padded(last, d + whole, rest, 0);
    set->activate_backward(kind, lanes, last_saved, last);
    memcpy(d + whole, last, rest * sizeof *d);
}

VAEI_PRIVATE void vaei_reparameterize(const vaei_kernel_set *set, size_t n, const vae_real *mean,
                                      const vae_real *logvar, const vae_real *epsilon, vae_real *z) {
    const size_t lanes = set->product->lanes, rest = n % lanes, whole = n - rest;
    vae_real     last_mean[VAEI_MOST_LANES], last_logvar[VAEI_MOST_LANES], last_epsilon[VAEI_MOST_LANES];
    set->reparameterize(whole, mean, logvar, epsilon, z);
    if (rest == 0) return;
    vaei_copy_padded(last_mean, mean + whole, rest, 0);
    vaei_copy_padded(last_logvar, logvar + whole, rest, 0);
    vaei_copy_padded(last_epsilon, epsilon + whole, rest, 0);
    set->reparameterize(lanes, last_mean, last_logvar, last_epsilon, last_mean);
    memcpy(z + whole, last_mean, rest * sizeof *z);
}

VAEI_PRIVATE void vaei_latent_backward(const vaei_kernel_set *set, size_t n, const vae_real *mean,
                                       const vae_real *logvar, const vae_real *epsilon, const vae_real *dz,
                                       vae_real kl_scale, vae_real *d_mean, vae_real *d_logvar) {
    const size_t lanes = set->product->lanes, rest = n % lanes, whole = n - rest;
    vae_real     last_mean[VAEI_MOST_LANES], last_logvar[VAEI_MOST_LANES];
    vae_real     last_epsilon[VAEI_MOST_LANES], last_dz[VAEI_MOST_LANES];
    set->latent_backward(whole, mean, logvar, epsilon, dz, kl_scale, d_mean, d_logvar);
    if (rest == 0) return;
    vaei_copy_padded(last_mean, mean + whole, rest, 0);
    vaei_copy_padded(last_logvar, logvar + whole, rest, 0);
    vaei_copy_padded(last_epsilon, epsilon + whole, rest, 0);
    vaei_copy_padded(last_dz, dz + whole, rest, 0);
    set->latent_backward(lanes, last_mean, last_logvar, last_epsilon, last_dz, kl_scale, last_mean, last_logvar);
    memcpy(d_mean + whole, last_mean, rest * sizeof *d_mean);
    memcpy(d_logvar + whole, last_logvar, rest * sizeof *d_logvar);
}

/* ---- optimiser ---- */

/* Kingma and Ba 2015, algorithm 1, with PyTorch's place for epsilon: update number `step` (the first is 1) is
   p -= learning_rate (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + epsilon) */
VAEI_PRIVATE vaei_adam_step vaei_adam_step_of(double learning_rate, double beta1, double beta2, double epsilon,
                                              uint64_t step) {
    vaei_adam_step made;
    made.beta1 = (vae_real)beta1;
    made.beta2 = (vae_real)beta2;
    made.one_minus_beta1 = (vae_real)(1 - beta1);
    made.one_minus_beta2 = (vae_real)(1 - beta2);
    made.rate = (vae_real)(learning_rate / (1 - vaei_power(beta1, step)));
    made.inverse_root = 1 / vaei_sqrt((vae_real)(1 - vaei_power(beta2, step)));
    made.epsilon = (vae_real)epsilon;
    return made;
}

/* Rows of n parameters, one after the other, whose gradients are multiples of g: see the kernel. */
VAEI_PRIVATE void vaei_adam(const vaei_kernel_set *set, const vaei_adam_step *step, size_t rows, size_t n, vae_real *p,
                            const vae_real *factors, const vae_real *g, vae_real *m, vae_real *v) {
    const size_t lanes = set->product->lanes, rest = n % lanes, whole = n - rest;
    vae_real     last_p[VAEI_MOST_LANES], last_g[VAEI_MOST_LANES], last_m[VAEI_MOST_LANES], last_v[VAEI_MOST_LANES];
    size_t       r;
    if (rest == 0) {
        set->adam(step, rows, n, p, factors, g, m, v);
        return;
    }
    vaei_copy_padded(last_g, g + whole, rest, 0);
    for (r = 0; r < rows; r++, p += n, m += n, v += n) {
        set->adam(step, 1, whole, p, factors + r, g, m, v);
        vaei_copy_padded(last_p, p + whole, rest, 0);
        vaei_copy_padded(last_m, m + whole, rest, 0);
        vaei_copy_padded(last_v, v + whole, rest, 0);
        set->adam(step, 1, lanes, last_p, factors + r, last_g, last_m, last_v);
        memcpy(p + whole, last_p, rest * sizeof *p);
        memcpy(m + whole, last_m, rest * sizeof *m);
        memcpy(v + whole, last_v, rest * sizeof *v);
    }
}

/* ---- sums ---- */

/* Every sum over an array is made in the same order whatever the vector's length: within a block of VAEI_SUM_BLOCK
   elements, element i is added to partial sum i mod 16, and the 16 are then added by halves. The blocks' sums, that of
   the whole sixteens that are left and that of the last few elements are added in double. A vector holds part of the 16
   partial sums; each part is a loop of its own over the block, which is in the cache. `rest` is an a whose term, with 0
   for b, is 0. */
VAEI_PRIVATE double vaei_sum(vaei_sum_kernel *kernel, size_t n, const vae_real *a, const vae_real *b, vae_real rest,
                             vae_real factor, vae_real *d) {
    vae_real sums[VAEI_SUM_LANES], last_a[VAEI_SUM_LANES], last_b[VAEI_SUM_LANES];
    double   total = 0;
    size_t   done, count;
    int      half, i;
    for (done = 0; done < n; done += count) {
        const size_t left = n - done;
        if (left >= VAEI_SUM_LANES) {
            count = left >= VAEI_SUM_BLOCK ? VAEI_SUM_BLOCK : left - left % VAEI_SUM_LANES;
            kernel(count, a + done, b + done, factor, d ? d + done : d, sums);
        } else {
            count = left;
            vaei_copy_padded(last_a, a + done, count, rest);
            vaei_copy_padded(last_b, b + done, count, 0);
            kernel(VAEI_SUM_LANES, last_a, last_b, factor, d ? last_a : d, sums);
            if (d) memcpy(d + done, last_a, count * sizeof *d);
        }
        for (half = VAEI_SUM_LANES / 2; half > 0; half /= 2)
            for (i = 0; i < half; i++) sums[i] = sums[i] + sums[i + half];
        total += (double)sums[0];
    }
    return total;
}

/* See the kernel, which takes whole vectors of columns, for the order. */
VAEI_PRIVATE void vaei_column_sums(const vaei_kernel_set *set, size_t rows, size_t columns, const vae_real *d,
                                   size_t row_stride, const uint32_t *row_offsets, vae_real *out, int accumulate) {
    const size_t whole = columns - columns % set->product->lanes;
    size_t       begin, end, i, j;
    if (whole) set->column_sums(rows, whole, d, row_stride, row_offsets, out, accumulate);
    for (j = whole; j < columns; j++) {
        if (!accumulate) out[j] = 0;
        for (begin = 0; begin < rows; begin = end) {
            vae_real sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
            end = vaei_min_size(rows, begin + VAEI_SUM_BLOCK);
            for (i = begin; i + 4 <= end; i += 4) {
                sum0 = sum0 + d[vaei_entry(row_offsets, row_stride, i) + j];
                sum1 = sum1 + d[vaei_entry(row_offsets, row_stride, i + 1) + j];
                sum2 = sum2 + d[vaei_entry(row_offsets, row_stride, i + 2) + j];
                sum3 = sum3 + d[vaei_entry(row_offsets, row_stride, i + 3) + j];
            }
            if (i < end) sum0 = sum0 + d[vaei_entry(row_offsets, row_stride, i) + j];
            if (i + 1 < end) sum1 = sum1 + d[vaei_entry(row_offsets, row_stride, i + 1) + j];
            if (i + 2 < end) sum2 = sum2 + d[vaei_entry(row_offsets, row_stride, i + 2) + j];
            out[j] = out[j] + ((sum0 + sum2) + (sum1 + sum3));
        }
    }
}

/* The sum over all elements; if d is not NULL, d = (sigmoid(logits) - x) scale. d may be logits. */
VAEI_PRIVATE double vaei_bernoulli(const vaei_kernel_set *set, size_t n, const vae_real *logits, const vae_real *x,
                                   vae_real scale, vae_real *d) {
    return vaei_sum(set->bernoulli, n, logits, x, -128, scale, d);
}

/* The sum of (x - output)^2 inverse_variance / 2; if d is not NULL, d = (output - x) inverse_variance scale. d may be
   output. */
VAEI_PRIVATE double vaei_gaussian(const vaei_kernel_set *set, size_t n, const vae_real *output, const vae_real *x,
                                  vae_real inverse_variance, vae_real scale, vae_real *d) {
    const double sum = vaei_sum(set->gaussian, n, output, x, 0, inverse_variance * scale, d);
    return VAEI_ROUNDED(sum * 0.5 * (double)inverse_variance);
}

/* The KL of N(mean, e^logvar) to N(0, I). */
VAEI_PRIVATE double vaei_gaussian_kl(const vaei_kernel_set *set, size_t n, const vae_real *mean,
                                     const vae_real *logvar) {
    return vaei_sum(set->gaussian_kl, n, mean, logvar, 0, 0, NULL) * 0.5;
}

/* ---- random numbers ---- */

VAEI_PRIVATE void vaei_random_fill(const vaei_kernel_set *set, const vaei_random_request *request, int normal,
                                   vae_real *out) {
    uint32_t           key[2], words[4][VAEI_RANDOM_BLOCKS];
    vae_real           numbers[4][VAEI_RANDOM_BLOCKS];
    vaei_random_cursor cursor, begin;
    size_t             count, j;
    int                c;
    if (request->columns == 0) return;
    vaei_random_key(request->seed, key);
    cursor.row = 0;
    cursor.block = request->first / 4;
    while (cursor.row < request->rows) {
        begin = cursor;
        count = vaei_random_counters(request, &cursor, words);
        set->philox_blocks(key, count, words);
        if (normal) set->words_to_normals(count, words, numbers);
        else                                                /* the upper 24 bits: multiples of 2^-24 in [0, 1) */
            for (c = 0; c < 4; c++)
                for (j = 0; j < count; j++) numbers[c][j] = (vae_real)(int32_t)(words[c][j] >> 8) / 16777216;
        vaei_random_place(request, begin, count, numbers, out);
    }
}

/* Standard normals for `rows` consecutive examples, elements 0 .. columns - 1 of each. A number depends on the seed,
   the stream, the step, its example and its element, and on nothing else. */
VAEI_PRIVATE void vaei_normal_rows(const vaei_kernel_set *set, uint64_t seed, uint32_t stream, uint64_t step,
                                   uint64_t first_example, size_t rows, size_t columns, vae_real *out) {
    vaei_random_request request;
    request.seed = seed; request.step = step; request.example = first_example; request.stream = stream;
    request.rows = rows; request.columns = columns; request.first = 0;
    vaei_random_fill(set, &request, 1, out);
}

/* Standard normals, or uniform in [0, 1), for one example, elements first .. first + n - 1. */
VAEI_PRIVATE void vaei_random_elements(const vaei_kernel_set *set, int normal, uint64_t seed, uint32_t stream,
                                       uint64_t step, uint64_t example, size_t first, size_t n, vae_real *out) {
    vaei_random_request request;
    request.seed = seed; request.step = step; request.example = example; request.stream = stream;
    request.rows = 1; request.columns = n; request.first = first;
    vaei_random_fill(set, &request, normal, out);
}

/* ==== 21 >>matrix-product ========================================================================================= */

/* ---- Scratch ---- */

#if defined(VAEI_HAS_X86)
#define VAEI_PANEL_COLUMNS 48                               /* columns of the widest tile of any set */
#elif defined(VAEI_HAS_NEON)
#define VAEI_PANEL_COLUMNS 16
#else
#define VAEI_PANEL_COLUMNS 8
#endif

enum {
    VAEI_BLOCK_STEPS = 400,                                 /* most steps of the inner dimension taken at once: 128 and
                                                               200 lose 3%, 264 loses 1%, 512 is as good but larger */
    VAEI_DIRECT_STEPS = 64,                                 /* up to so many are read where B lies: 128 x 400 x 20 1.04
                                                               times as fast with AVX2, 64 steps 1.02, 96 no gain */
    VAEI_BLOCK_ROWS = 264,                                  /* most rows of A at once: 400 KB of the second cache, and
                                                               whole tiles of every set */
    VAEI_LARGE_ROWS = 192, VAEI_LARGE_COLUMNS = 128,        /* least C for which packing A pays: see vaei_packs_a */
    VAEI_SWEEP_COLUMNS = 512,                               /* of B, 16 KB of eight steps */
    VAEI_SCRATCH_OFFSETS = (int)((VAEI_BLOCK_STEPS * sizeof(size_t) + sizeof(vae_real) - 1) / sizeof(vae_real)),
    VAEI_SCRATCH_PANEL = VAEI_BLOCK_STEPS * VAEI_PANEL_COLUMNS,
    VAEI_SCRATCH_TILE = 512,                                /* numbers of C in the largest tile of any set */
    VAEI_SCRATCH_START = 64,                                /* numbers in the first values of a tile, likewise */
    VAEI_SCRATCH_A = 128 * VAEI_BLOCK_STEPS,                /* numbers of A packed at once, 200 KB; 2 to 8 times less or
                                                               more made no difference */
    VAEI_SCRATCH_FIXED = VAEI_SCRATCH_PANEL + VAEI_SCRATCH_TILE + VAEI_SCRATCH_START + 4 * VAEI_SCRATCH_OFFSETS
};

/* Entries in a table of a block's rows. */
VAEI_PRIVATE size_t vaei_row_addresses(size_t rows) { return vaei_min_size(rows, VAEI_BLOCK_ROWS) + VAEI_TILE_ROWS; }

/* Three such tables, in numbers: a multiple of 64 bytes, so that packed A is aligned. */
VAEI_PRIVATE size_t vaei_scratch_addresses(size_t rows) {
    return (3 * vaei_row_addresses(rows) * sizeof(void *) + 63) / 64 * 64 / sizeof(vae_real);
}

/* Is there so much work for each number of A and B that rearranging them pays? */
VAEI_PRIVATE int vaei_is_large(size_t rows, size_t columns) {
    return rows >= VAEI_LARGE_ROWS && columns >= VAEI_LARGE_COLUMNS;
}

/* The scratch, in numbers, for one call of vaei_multiply with any set: less for products too small to pack A. It grows
   with rows and columns, so a slice needs no more than the whole. */
VAEI_PRIVATE size_t vaei_product_scratch(size_t rows, size_t columns) {
    const size_t packed_a = vaei_is_large(rows, columns) ? VAEI_SCRATCH_A : 0;
    return VAEI_SCRATCH_FIXED + vaei_scratch_addresses(rows) + packed_a;
}

/* What one product needs while it runs: a block of steps, and scratch. */
typedef struct vaei_work {
    const vaei_product *p;
    const vaei_product_kernels *kernels;
    size_t begin, steps;                                    /* the block */
    int b_even;                                             /* are all steps of B p->b_step apart? */
    int from_c, relu;                                       /* do the block's sums go on from C, is it the last? */
    size_t *a_offsets, *b_offsets;                          /* where its steps lie in a row of A, in a column of B */
    vae_real *panel, *edge, *start;                         /* packed B, a tile of C, first values of sums */
    const vae_real **a_at; vae_real **c_at;                 /* where the rows of a block lie in A and in C */
    vae_real *packed_a;                                     /* a block of rows of A, tile by tile; NULL: A as it lies */
    const vae_real **packed_at;                             /* where its rows lie there, */
    size_t *tall_offsets, *low_offsets;                     /* ... and the steps in a tall tile, in a low one */
} vaei_work;

/* Where steps begin .. begin + steps of a row or column lie. */
VAEI_PRIVATE void vaei_offsets(const uint32_t *segments, size_t segment_step, size_t run, size_t step,
                               size_t begin, size_t steps, size_t *offsets) {
    size_t segment = run ? begin / run : 0, t = run ? begin % run : 0, k = 0;
    while (k < steps) {
        const size_t end = k + vaei_min_size(run - t, steps - k);
        size_t at = vaei_entry(segments, segment_step, segment++) + t * step;
        for (; k < end; k++, at += step) offsets[k] = at;
        t = 0;
    }
}

/* ---- Rows and tiles ---- */

/* Where rows first .. first + rows of A and C begin. The last is repeated for tiles that reach beyond it. */
VAEI_PRIVATE void vaei_point_to_rows(const vaei_work *work, size_t first, size_t rows) {
    const vaei_product *p = work->p;
    const vae_real *a = p->a + first * p->a_row;
    vae_real *c = p->c + first * p->c_row;
    size_t i;
    if (p->a_rows) for (i = 0; i < rows; i++) work->a_at[i] = p->a + p->a_rows[first + i];
    else for (i = 0; i < rows; i++, a += p->a_row) work->a_at[i] = a;
    if (p->c_rows) for (i = 0; i < rows; i++) work->c_at[i] = p->c + p->c_rows[first + i];
    else for (i = 0; i < rows; i++, c += p->c_row) work->c_at[i] = c;
    for (i = rows; i < rows + VAEI_TILE_ROWS - 1; i++) {
        work->a_at[i] = work->a_at[rows - 1];
        work->c_at[i] = work->c_at[rows - 1];
    }
}

/* How many of a panel's next tiles are tall when `rest` rows are left: all but the last few rows, which low ones take
   where fewer rows are then computed for nothing. Of fewer steps than a tall tile may take apart, low ones take all. */
VAEI_PRIVATE size_t vaei_tall_tiles(const vaei_product_kernels *kernels, size_t vectors, size_t steps, size_t rest) {
    const size_t tall = kernels->tall[vectors - 1].rows, low = kernels->low[vectors - 1].rows;
    size_t       count;
    if (!tall || (low && steps < VAEI_HALVES_LAST)) return 0;
    count = rest > 2 * low ? (rest - 2 * low + tall - 1) / tall : 0;
    rest = rest > count * tall ? rest - count * tall : 0;
    return count + (rest > low && rest <= tall);
}

VAEI_PRIVATE const vaei_tile_kernel *vaei_next_tile(const vaei_product_kernels *kernels, size_t vectors, size_t steps,
                                                    size_t rest) {
    return vaei_tall_tiles(kernels, vectors, steps, rest) ? &kernels->tall[vectors - 1] : &kernels->low[vectors - 1];
}

/* Do a set's tiles do as much work per step of A as those of AVX-512, 8 x 48? */
VAEI_PRIVATE int vaei_has_large_tiles(const vaei_product_kernels *kernels) {
    return kernels->panel * kernels->lanes >= 32;
}

/* ---- Packing A ---- */

/* Does packing A pay? A weight gradient's A takes a step of the whole batch per step: with AVX2 and 784 x 400 x 128,
   88% of peak become 92, with 512 x 512 x 1024, 77 become 85. With fewer rows the packing costs what it saves, unless
   they are a slice of many whose packed B they have in common (the step of 784-400-20: 1.015 times as fast). The tiles
   of AVX-512 do more work per step and gain only when there are several blocks of steps. A large A that lies along its
   steps gains too: 1024 x 1024 x 1024, 75 to 83 with AVX2, nothing with AVX-512. */
VAEI_PRIVATE int vaei_packs_a(const vaei_product_kernels *kernels, const vaei_product *p, size_t steps) {
    const int large = vaei_has_large_tiles(kernels);
    if (!steps || !(p->b_packed || vaei_is_large(p->rows, p->columns))) return 0;
    if (p->a_step != 1) return !large || steps > VAEI_BLOCK_STEPS;
    return !large && p->rows >= 512 && steps >= 512;
}

/* One tile of A, its rows side by side, one step after the other. */
VAEI_PRIVATE void vaei_pack_tile(const vaei_work *work, const vae_real *const *a, size_t height, vae_real *to) {
    const size_t *offsets = work->a_offsets;
    size_t k, r, together = 1;
    while (together < height && a[together] == a[0] + together) together++;
    if (together < height || (height != 8 && height != 6 && height != 4))
        for (k = 0; k < work->steps; k++, to += height) for (r = 0; r < height; r++) to[r] = a[r][offsets[k]];
    else if (height == 8) for (k = 0; k < work->steps; k++, to += 8) memcpy(to, a[0] + offsets[k], 8 * sizeof *to);
    else if (height == 6) for (k = 0; k < work->steps; k++, to += 6) memcpy(to, a[0] + offsets[k], 6 * sizeof *to);
    else for (k = 0; k < work->steps; k++, to += 4) memcpy(to, a[0] + offsets[k], 4 * sizeof *to);
}

/* The block of rows, tile by tile. */
VAEI_APART void vaei_pack_a(const vaei_work *work, size_t rows) {
    vae_real *to = work->packed_a;
    size_t done, height, r;
    for (done = 0; done < rows; done += height) {
        height = vaei_next_tile(work->kernels, work->kernels->panel, work->steps, rows - done)->rows;
        vaei_pack_tile(work, work->a_at + done, height, to);
        for (r = 0; r < height; r++) work->packed_at[done + r] = to + r;
        to += height * work->steps;
    }
}

/* ---- Panels and blocks ---- */

/* Columns first .. first + columns of the block's steps side by side, one step after the other, filled up with zeros
   to `width` columns. */
VAEI_APART void vaei_pack_b(const vaei_work *work, const vaei_product_kernels *kernels, size_t first, size_t columns,
                              size_t width) {
    const vaei_product *p = work->p;
    const vae_real *b = p->b + first * p->b_column;
    size_t k = 0;
    while (k < work->steps) {                               /* one segment after the other */
        const size_t steps = vaei_min_size(p->run - (work->begin + k) % p->run, work->steps - k);
        const vae_real *from = b + work->b_offsets[k];
        vae_real *to = work->panel + k * width;
        if (p->b_column == 1) kernels->pack_copying(from, p->b_step, columns, steps, to, width);
        else kernels->pack_turning(from, p->b_column, columns, steps, to, width);
        k += steps;
    }
}

/* Up to this many rows read B where it lies, if it lies side by side. More rows pay for packing: with AVX2, 24 x 1024 x
   1024, whose columns share cache sets, would lose (101 to 96 GF/s). AVX-512 reads so little per step that it gains
   (105 to 110). */
VAEI_PRIVATE size_t vaei_direct_rows(const vaei_product_kernels *kernels) {
    return (vaei_has_large_tiles(kernels) ? 3 : 2) * kernels->tall[kernels->panel - 1].rows;
}

/* Are steps of B so far apart that they share few of a cache's sets? Then B is packed, although few rows or steps would
   read it where it lies: 20 rows would be 0.96 times as fast with 128 columns, 0.77 times with 512. */
VAEI_PRIVATE int vaei_steps_share_sets(const vaei_product *p) { return p->b_step % 128 == 0; }

/* Few rows that fill the low tiles of the set's widest panel take those instead, and read B where it lies. AVX2's tiles
   of four rows take 20 x 200 x 784 from 83 to 88% of peak, which with six counts as 22 rows; training steps of 4 to 32
   examples are 1.01 to 1.05 times as fast. */
VAEI_PRIVATE int vaei_fills_low_tiles(const vaei_work *work, size_t rows) {
    const vaei_product_kernels *kernels = work->kernels;
    const size_t height = kernels->low[kernels->wide - 1].rows;
    return kernels->wide > kernels->panel && rows <= 8 * height && rows % height == 0 && work->b_even &&
           work->p->b_column == 1 && !vaei_steps_share_sets(work->p) && !work->p->b_packed;
}

/* The last columns of a tile, which are fewer than its own: by way of a tile in scratch. */
VAEI_APART void vaei_run_edge_tile(const vaei_work *work, const vaei_tile_kernel *kernel, vaei_tile *tile,
                                     size_t columns, size_t width, size_t rows) {
    vae_real *const *c = tile->c, *edge[VAEI_TILE_ROWS];
    const size_t column = tile->column;
    size_t r, j;
    for (r = 0; r < kernel->rows; r++) {
        edge[r] = work->edge + r * width;
        if (!work->from_c) continue;
        for (j = 0; j < columns; j++) edge[r][j] = c[r][column + j];
        for (; j < width; j++) edge[r][j] = 0;
    }
    tile->c = edge;
    tile->column = 0;
    tile->from = edge;
    kernel->run(tile);
    tile->c = c;
    tile->column = column;
    for (r = 0; r < rows; r++) for (j = 0; j < columns; j++) c[r][column + j] = edge[r][j];
}

/* How many vectors, as a rule `most`, the next panel has when `rest` columns are left. Up to half a vector at the end
   is left to tiles of half the width: 128 x 40 x 400 takes 39 us instead of 48 with AVX-512. And one vector is not left
   alone, where a tile loads more than it multiplies: four are two and two. */
VAEI_PRIVATE size_t vaei_panel_vectors(const vaei_product_kernels *kernels, size_t most, size_t rest) {
    const size_t lanes = kernels->lanes;
    size_t       vectors = (rest + lanes - 1) / lanes;
    if (kernels->half && rest > lanes && (rest - 1) % lanes < lanes / 2) vectors--;
    if (vectors <= kernels->wide) return vectors;
    return vectors == most + 1 ? (vectors + 1) / 2 : most;
}

/* The next columns that are taken together, and the kernels that take them. */
typedef struct vaei_panel_shape {
    const vaei_product_kernels *kernels;
    size_t most;                                            /* vectors of a panel, as a rule */
    size_t vectors, width, columns;                         /* columns <= width = vectors * lanes */
} vaei_panel_shape;

/* The panel after which there are rest - columns columns left. */
VAEI_PRIVATE vaei_panel_shape vaei_next_panel(const vaei_product_kernels *kernels, size_t most, size_t rest) {
    vaei_panel_shape next;
    next.kernels = kernels->half && rest <= kernels->half->lanes ? kernels->half : kernels;
    next.most = most;
    next.vectors = vaei_panel_vectors(next.kernels, most, rest);
    next.width = next.vectors * next.kernels->lanes;
    next.columns = vaei_min_size(next.width, rest);
    return next;
}

/* How many panels of this shape follow one another when `rest` columns are left, this one among them? */
VAEI_PRIVATE size_t vaei_panels_alike(const vaei_panel_shape *shape, size_t rest) {
    size_t count = 1;
    while (vaei_next_panel(shape->kernels, shape->most, rest - count * shape->width).columns == shape->width) count++;
    return count;
}

/* One panel of columns for the block of rows; where B is read in place, all that are alike. How many columns? */
VAEI_APART size_t vaei_panel(const vaei_work *work, const vaei_panel_shape *shape, size_t column, size_t rows) {
    const vaei_product *p = work->p;
    const vaei_product_kernels *kernels = shape->kernels;
    const size_t vectors = shape->vectors, width = shape->width, columns = shape->columns;
    const int in_place = rows <= vaei_direct_rows(kernels) || vaei_fills_low_tiles(work, rows) ||
                         (work->steps <= VAEI_DIRECT_STEPS && !vaei_steps_share_sets(p));
    const int packed = work->packed_a && kernels == work->kernels && vectors == kernels->panel;
    const vaei_tile_kernel *tall = &kernels->tall[vectors - 1], *low = &kernels->low[vectors - 1], *kernel;
    vaei_tile tile;
    size_t tall_tiles = vaei_tall_tiles(kernels, vectors, work->steps, rows), done, count;
    tile.a_offsets = work->a_offsets;
    tile.column = column;
    tile.panels = 1;
    tile.steps = work->steps;
    tile.relu = work->relu;
    tile.start = work->start;
    tile.start_next = 0;
    tile.from_c = work->from_c;
    tile.panel = NULL;
    if (p->b_packed) {
        tile.b = p->b + work->begin * p->b_step + column * work->steps;
        tile.b_step = width;
    } else if (work->b_even && columns == width && (in_place || (vectors == kernels->panel && tall_tiles))) {
        tile.b = p->b + column + (work->steps ? work->b_offsets[0] : 0);
        tile.b_step = p->b_step;
        if (!in_place) tile.panel = work->panel;
        else tile.panels = vaei_panels_alike(shape, p->columns - column);
    } else {
        vaei_pack_b(work, kernels, column, columns, width);
        tile.b = work->panel;
        tile.b_step = width;
    }
    if (p->bias && columns == width) {
        tile.start = p->bias + column;
        tile.start_next = width;
    } else if (p->bias) memcpy(work->start, p->bias + column, columns * sizeof *work->start);
    for (done = 0; done < rows; done += tile.rows) {
        kernel = tall_tiles ? tall : low;
        count = tall_tiles ? tall_tiles : (rows - done + low->rows - 1) / low->rows;
        if (tile.panel || columns < width) count = 1;
        if (tall_tiles) tall_tiles -= count;
        tile.rows = count * kernel->rows;
        tile.a = work->a_at + done;
        tile.c = work->c_at + done;
        tile.from = tile.c;
        if (packed) {
            tile.a = work->packed_at + done;
            tile.a_offsets = kernel == tall ? work->tall_offsets : work->low_offsets;
        }
        if (tile.panel) {                                   /* the first tile packs B for the others */
            kernels->packing_tile(&tile);
            tile.b = tile.panel;
            tile.b_step = width;
            tile.panel = NULL;
        } else if (columns == width) kernel->run(&tile);
        else vaei_run_edge_tile(work, kernel, &tile, columns, width, vaei_min_size(kernel->rows, rows - done));
    }
    return columns * tile.panels;
}

/* One block of steps of the whole product, a block of rows after the other, panel by panel. */
VAEI_APART void vaei_block_by_tiles(const vaei_work *work) {
    const vaei_product *p = work->p;
    const size_t cap = work->packed_a ? vaei_min_size(VAEI_BLOCK_ROWS, VAEI_SCRATCH_A / work->steps / 24 * 24)
                                      : (size_t)VAEI_BLOCK_ROWS;
    const size_t blocks = (p->rows + cap - 1) / cap, most = ((p->rows + blocks - 1) / blocks + 23) / 24 * 24;
    size_t first, column;
    for (first = 0; first < p->rows; first += most) {
        const size_t rows = vaei_min_size(most, p->rows - first);
        const size_t vectors = vaei_fills_low_tiles(work, rows) ? work->kernels->wide : work->kernels->panel;
        vaei_point_to_rows(work, first, rows);
        if (work->packed_a) vaei_pack_a(work, rows);
        for (column = 0; column < p->columns;) {
            const vaei_panel_shape shape = vaei_next_panel(work->kernels, vectors, p->columns - column);
            column += vaei_panel(work, &shape, column, rows);
        }
    }
}

/* ---- Few rows or few columns: see vaei_stream_1 and its like ---- */

/* The product as few times many: few are the columns, or the rows (turned). */
typedef struct vaei_few {
    int turned;                                             /* few are the rows of C, many the columns */
    const vaei_product_kernels *kernels;
    int side_by_side;                                       /* a vector of the many is contiguous at every step */
    size_t few, many;
} vaei_few;

/* Where one of the many begins. */
VAEI_PRIVATE const vae_real *vaei_many_at(const vaei_product *p, int turned, size_t i) {
    return turned ? p->b + i * p->b_column : p->a + vaei_entry(p->a_rows, p->a_row, i);
}

/* Where `count` of the many begin. */
VAEI_PRIVATE void vaei_many_from(const vaei_product *p, int turned, size_t first, size_t count, const vae_real **rows) {
    size_t i;
    if (!turned && p->a_rows) for (i = 0; i < count; i++) rows[i] = p->a + p->a_rows[first + i];
    else {
        const vae_real *row = vaei_many_at(p, turned, first);
        const size_t step = turned ? p->b_column : p->a_row;
        for (i = 0; i < count; i++, row += step) rows[i] = row;
    }
}

/* Do the rows of A lie side by side, wherever a vector of `lanes` of them begins? */
VAEI_PRIVATE int vaei_rows_side_by_side(const vaei_product *p, size_t lanes) {
    size_t i, j;
    if (!p->a_rows) return p->a_row == 1;
    for (i = 0; i < p->rows; i += lanes) {
        const size_t first = i + lanes <= p->rows ? i : p->rows - lanes;
        for (j = 1; j < lanes; j++) if (p->a_rows[first + j] != p->a_rows[first] + j) return 0;
    }
    return 1;
}

/* Is the product one of few? The tiles of AVX-512 take two rows as fast where B lies side by side: 2 x 784 x 512 in 32
   us, where AVX2's paths of few need 48; 3 rows in 57, like 69. */
VAEI_PRIVATE int vaei_is_few(const vaei_product *p, const vaei_product_kernels *set, vaei_few *few) {
    const vaei_product_kernels *kernels = set->half ? set->half : set;
    const size_t lanes = kernels->lanes;
    few->kernels = kernels;
    few->turned = 0;
    few->few = p->columns;
    few->many = p->rows;
    if (p->columns <= kernels->few && p->rows >= lanes) {
        few->side_by_side = vaei_rows_side_by_side(p, lanes);
        if (few->side_by_side || p->a_step == 1) return 1;
    }
    few->turned = 1;
    few->few = p->rows;
    few->many = p->columns;
    few->side_by_side = p->b_column == 1;
    return p->rows <= kernels->few && p->columns >= lanes && !(set->half && few->side_by_side);
}

/* The first values of a vector of the many, from C, the bias or zero. */
VAEI_PRIVATE void vaei_few_in(const vaei_work *work, const vaei_few *few, size_t first, vae_real *to) {
    const vaei_product *p = work->p;
    const size_t lanes = few->kernels->lanes;
    size_t f, lane;
    for (f = 0; f < few->few; f++, to += lanes) {
        if (!few->turned) {
            for (lane = 0; lane < lanes; lane++)
                to[lane] = work->from_c ? p->c[vaei_entry(p->c_rows, p->c_row, first + lane) + f]
                           : p->bias    ? p->bias[f]
                                        : 0;
        } else if (work->from_c) memcpy(to, p->c + vaei_entry(p->c_rows, p->c_row, f) + first, lanes * sizeof *to);
        else if (p->bias) memcpy(to, p->bias + first, lanes * sizeof *to);
        else memset(to, 0, lanes * sizeof *to);
    }
}

/* Results of the many from lane `lane` of a vector that begins at `first`, to C. */
VAEI_PRIVATE void vaei_few_out(const vaei_work *work, const vaei_few *few, size_t first, size_t lane,
                               const vae_real *from) {
    const vaei_product *p = work->p;
    const size_t lanes = few->kernels->lanes;
    size_t f, i;
    for (f = 0; f < few->few; f++, from += lanes) {
        if (few->turned)
            memcpy(p->c + vaei_entry(p->c_rows, p->c_row, f) + first + lane, from + lane,
                   (lanes - lane) * sizeof *from);
        else if (p->c_rows) for (i = lane; i < lanes; i++) p->c[p->c_rows[first + i] + f] = from[i];
        else {
            vae_real *c = p->c + (first + lane) * p->c_row + f;
            for (i = lane; i < lanes; i++, c += p->c_row) *c = from[i];
        }
    }
}

/* The few's numbers side by side, one step after the other. */
VAEI_PRIVATE void vaei_few_pack(const vaei_work *work, const vaei_few *few) {
    const vaei_product *p = work->p;
    const size_t *offsets = few->turned ? work->a_offsets : work->b_offsets;
    size_t f, k;
    for (f = 0; f < few->few; f++) {
        const vae_real *from = few->turned ? p->a + vaei_entry(p->a_rows, p->a_row, f) : p->b + f * p->b_column;
        for (k = 0; k < work->steps; k++) work->panel[k * few->few + f] = from[offsets[k]];
    }
}

/* One block of steps of a product of few. */
VAEI_APART void vaei_block_by_few(const vaei_work *work, const vaei_few *few) {
    const vaei_product *p = work->p;
    const vaei_few_kernel *kernel = &few->kernels->of_few[few->few - 1];
    const size_t lanes = few->kernels->lanes, many = few->many;
    const size_t vectors = few->side_by_side ? kernel->stream_vectors : kernel->turn_vectors;
    const vae_real *rows[4 * VAEI_MOST_LANES], *streams[VAEI_TILE_ROWS];
    vae_real *c[VAEI_TILE_ROWS];
    vaei_tile tile;
    size_t i, v;
    vaei_few_pack(work, few);
    tile.rows = 0;                                          /* no kernel of few asks */
    tile.panels = 1;
    tile.a = streams;
    tile.a_offsets = few->turned ? work->b_offsets : work->a_offsets;
    tile.c = c;
    tile.column = tile.start_next = 0;
    tile.b = work->panel;
    tile.b_step = few->few;
    tile.steps = work->steps;
    tile.relu = work->relu;
    tile.panel = NULL;
    tile.start = work->start;
    tile.from = c;
    tile.from_c = work->from_c || few->turned;
    if (!tile.from_c) vaei_few_in(work, few, 0, work->start);       /* the same first values everywhere */
    for (v = 0; v < vectors; v++) c[v] = work->edge + v * few->few * lanes;
    for (i = 0; i < many; i += vectors * lanes) {
        for (v = 0; v < vectors; v++) { /* the last vector reaches back over numbers already done, */
            size_t first = i + v * lanes;                   /* ... and stands in for vectors beyond it */
            if (first + lanes > many) first = many - lanes;
            if (tile.from_c) vaei_few_in(work, few, first, c[v]);
            if (few->side_by_side) streams[v] = vaei_many_at(p, few->turned, first);
            else vaei_many_from(p, few->turned, first, lanes, rows + v * lanes);
        }
        if (few->side_by_side) kernel->stream(&tile);
        else kernel->turn(&tile, rows);
        for (v = 0; v < vectors; v++) {
            const size_t first = i + v * lanes;
            if (first + lanes <= many) vaei_few_out(work, few, first, 0, c[v]);
            else {
                if (first < many) vaei_few_out(work, few, many - lanes, first + lanes - many, c[v]);
                break;
            }
        }
    }
}

/* ---- One row at a time ---- */

/* A single row is bound by reading B, an outer product by writing C: both want them in the order of memory. 1 x 784 x
   512: 18 us, against 34 (AVX2) and 30 (AVX-512) with a tile's column after column; 784 x 512 x 1: 24 us against 35
   with AVX-512, 57 against 70 with AVX2. Other numbers of steps take two sweeps and more, and narrow rows cost a call
   for little: there tiles are as good or better. */
VAEI_PRIVATE int vaei_is_swept(const vaei_product_kernels *kernels, const vaei_product *p, size_t steps) {
    if (p->b_column != 1 || !steps) return 0;
    if (p->rows == 1) return p->columns >= 2 * kernels->lanes;
    return p->columns >= 128 && (steps == 1 || steps == 2 || steps == 4 || steps == 8);
}

/* One block of steps of every row. */
VAEI_PRIVATE void vaei_sweep_rows(const vaei_work *work, const vaei_product *p) {
    static const size_t steps_of[4] = { 1, 2, 4, 8 };
    size_t i, k;
    for (i = 0; i < p->rows; i++) {
        const vae_real *a = p->a + vaei_entry(p->a_rows, p->a_row, i), *start = p->bias;
        vae_real *c = p->c + vaei_entry(p->c_rows, p->c_row, i);
        if (work->from_c) start = c;
        for (k = 0; k < work->steps; start = c) {
            const size_t rest = work->steps - k, which = rest >= 8 ? 3 : rest >= 4 ? 2 : rest >= 2;
            work->kernels->sweeps[which](a, work->a_offsets + k, p->b, work->b_offsets + k, start, c, p->columns,
                                         work->relu && steps_of[which] == rest);
            k += steps_of[which];
        }
    }
}

/* The same, a range of columns after the other: several rows then find B's in the first cache. 128 x 2048 x 8 takes 64
   us instead of 107. */
VAEI_APART void vaei_block_by_sweeps(const vaei_work *work) {
    const vaei_product *p = work->p;
    const size_t most = p->rows == 1 ? p->columns : (size_t)VAEI_SWEEP_COLUMNS;
    size_t first, count;
    for (first = 0; first < p->columns; first += count) {
        vaei_product part;
        count = p->columns - first < most + VAEI_MOST_LANES ? p->columns - first : most;
        part = vaei_product_columns(p, first, count);
        vaei_sweep_rows(work, &part);
    }
}

/* ---- The product ---- */

/* How many of the inner dimension's steps are a block. */
VAEI_PRIVATE size_t vaei_block_steps(size_t steps) {
    const size_t blocks = steps > VAEI_BLOCK_STEPS ? (steps + VAEI_BLOCK_STEPS - 1) / VAEI_BLOCK_STEPS : 1;
    return (steps + blocks - 1) / blocks;
}

/* Which way a product is computed depends on its shape alone, and no bit of the result depends on the way. */
VAEI_PRIVATE void vaei_multiply(const vaei_kernel_set *set, const vaei_product *p, vae_real *scratch) {
    const vaei_product_kernels *kernels = set->product;
    const size_t steps = p->segments * p->run;
    /* A packed B serves few rows badly. Where B's segments are long and not evenly spaced, each is a block of its own
       and read where it lies: 5 x 16 x (16 x 128) takes 6 us instead of 9. */
    const int by_segments = p->rows <= vaei_direct_rows(kernels) && p->b_segments && p->b_column == 1 &&
                            p->segments > 1 && p->run >= 64 && p->run <= VAEI_BLOCK_STEPS;
    const size_t most = by_segments ? p->run : vaei_block_steps(steps);
    vaei_work work;
    vaei_few few;
    size_t k;
    int is_few, by_sweeps;
    if (!p->rows || !p->columns) return;
    is_few = !p->b_packed && vaei_is_few(p, kernels, &few);
    by_sweeps = !p->b_packed && vaei_is_swept(kernels, p, steps);
    work.p = p;
    work.kernels = kernels;
    work.b_even = p->b_column == 1 && (p->segments == 1 || by_segments ||
                                       (!p->b_segments && p->b_segment == p->run * p->b_step));
    work.panel = scratch;
    work.edge = work.panel + VAEI_SCRATCH_PANEL;
    work.start = work.edge + VAEI_SCRATCH_TILE;
    memset(work.start, 0, VAEI_SCRATCH_START * sizeof *work.start);
    work.a_offsets = (size_t *)(void *)(work.start + VAEI_SCRATCH_START);
    work.b_offsets = work.a_offsets + VAEI_BLOCK_STEPS;
    work.tall_offsets = work.b_offsets + VAEI_BLOCK_STEPS;
    work.low_offsets = work.tall_offsets + VAEI_BLOCK_STEPS;
    work.a_at = (const vae_real **)(void *)(work.low_offsets + VAEI_BLOCK_STEPS);
    work.packed_at = work.a_at + vaei_row_addresses(p->rows);
    work.c_at = (vae_real **)(void *)(work.packed_at + vaei_row_addresses(p->rows));
    work.packed_a = NULL;
    if (vaei_packs_a(kernels, p, steps)) {
        work.packed_a = scratch + VAEI_SCRATCH_FIXED + vaei_scratch_addresses(p->rows);
        for (k = 0; k < most; k++) {
            work.tall_offsets[k] = k * kernels->tall[kernels->panel - 1].rows;
            work.low_offsets[k] = k * kernels->low[kernels->panel - 1].rows;
        }
    }
    work.begin = 0;
    do {
        work.steps = vaei_min_size(most, steps - work.begin);
        work.from_c = work.begin || p->accumulate;
        work.relu = p->relu && work.begin + work.steps == steps;
        vaei_offsets(p->a_segments, p->a_segment, p->run, p->a_step, work.begin, work.steps, work.a_offsets);
        vaei_offsets(p->b_segments, p->b_segment, p->run, p->b_step, work.begin, work.steps, work.b_offsets);
        if (by_sweeps) vaei_block_by_sweeps(&work);
        else if (is_few) vaei_block_by_few(&work, &few);
        else vaei_block_by_tiles(&work);
        work.begin += work.steps;
    } while (work.begin < steps);
}

/* ---- One B for several products ---- */

/* The columns of all panels together, of which the last may reach beyond the product's. */
VAEI_PRIVATE size_t vaei_packed_columns(const vaei_kernel_set *set, size_t columns) {
    const size_t lanes = set->product->lanes;
    return (columns + lanes - 1) / lanes * lanes;
}

/* Packs those panels of B that begin in columns first .. end - 1 into `to`, which holds its steps times
   vaei_packed_columns numbers: each block of steps, and in it one panel after the other. The product is large, B has
   one segment, and its columns lie side by side. */
VAEI_PRIVATE void vaei_pack_panels(const vaei_kernel_set *set, const vaei_product *p, size_t first, size_t end,
                                   vae_real *to) {
    const size_t most = vaei_block_steps(p->run), all = vaei_packed_columns(set, p->columns);
    vaei_panel_shape shape;
    size_t           column, begin, steps;
    for (column = 0; column < end; column += shape.columns) {
        shape = vaei_next_panel(set->product, set->product->panel, p->columns - column);
        if (column < first) continue;
        for (begin = 0; begin < p->run; begin += steps) {
            steps = vaei_min_size(most, p->run - begin);
            shape.kernels->pack_copying(p->b + begin * p->b_step + column, p->b_step, shape.columns, steps,
                                        to + begin * all + column * steps, shape.width);
        }
    }
}

/* The product with its B taken from there. Its rows can be divided, its columns no longer. */
VAEI_PRIVATE vaei_product vaei_product_packed(const vaei_kernel_set *set, const vaei_product *p,
                                              const vae_real *packed) {
    vaei_product made = *p;
    made.b = packed;
    made.b_step = vaei_packed_columns(set, p->columns);
    made.b_packed = 1;
    return made;
}

/* ---- The choice of a kernel set ---- */

VAE_API const char *vae_kernels_name(vae_kernels kernels) {
    switch (kernels) {
    case VAE_KERNELS_BEST: return "best";
    case VAE_KERNELS_PLAIN: return "plain";
    case VAE_KERNELS_PORTABLE: return "portable";
    case VAE_KERNELS_AVX2: return "avx2";
    case VAE_KERNELS_AVX512: return "avx512";
    case VAE_KERNELS_NEON: return "neon";
    }
    return "unknown";
}

/* The set in this build, or NULL. */
VAEI_PRIVATE const vaei_kernel_set *vaei_kernel_set_of(vae_kernels kernels) {
#ifdef VAEI_HAS_PLAIN
    if (kernels == VAE_KERNELS_PLAIN) return &vaei_kernel_set_plain;
#endif
#ifdef VAEI_HAS_VECTOR
    if (kernels == VAE_KERNELS_PORTABLE) return &vaei_kernel_set_vector;
#else
    if (kernels == VAE_KERNELS_PORTABLE) return &vaei_kernel_set_plain;
#endif
#ifdef VAEI_HAS_X86
    if (kernels == VAE_KERNELS_AVX2) return &vaei_kernel_set_avx2;
    if (kernels == VAE_KERNELS_AVX512) return &vaei_kernel_set_avx512;
#endif
#ifdef VAEI_HAS_NEON
    if (kernels == VAE_KERNELS_NEON) return &vaei_kernel_set_neon;
#endif
    return NULL;
}

VAE_API int vae_kernels_available(vae_kernels kernels) {
    if (kernels == VAE_KERNELS_BEST) return 1;
    if (!vaei_kernel_set_of(kernels)) return 0;
#ifdef VAEI_HAS_X86
    if (kernels == VAE_KERNELS_AVX2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (kernels == VAE_KERNELS_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return 1;
}

VAEI_PRIVATE vae_kernels vaei_best_kernels(void) {
    static const vae_kernels best_first[] = { VAE_KERNELS_AVX512, VAE_KERNELS_AVX2, VAE_KERNELS_NEON };
    size_t                   i;
    for (i = 0; i < sizeof best_first / sizeof best_first[0]; i++)
        if (vae_kernels_available(best_first[i])) return best_first[i];
    return VAE_KERNELS_PORTABLE;
}

/* ==== 22 >>plan =================================================================================================== */
/*
   A config becomes a plan once, when a model is made: each layer's shapes, where its weights lie in the parameter
   block, where its tensors lie in the workspace, and, for convolutions, the tables that turn them into matrix products.

   The layers stand in one array: the encoder's, the heads (one dense layer whose first `latent` outputs are the mean
   and whose others are the logvar), the decoder's. They are walked in stages. A stage of dense layers takes the whole
   batch at once, so that the matrix products are large. A stage of convolutions is walked depth-first in micro-batches
   of a few images, so that what one layer writes is still in the cache when the next reads it; inference, which needs
   no row again, takes fewer rows than a large batch has for the same reason. Between stages tensors are flat: one row
   per example, channels last.
*/

/* How a tensor of images lies in memory: each image inside a border of zeros, so that convolutions need no bounds
   checks. Strides in numbers. */
typedef struct vaei_image {
    int    height, width, channels;
    size_t row, image;      /* from a row to the next, from an image to the next */
    size_t origin;          /* the first number inside the border */
} vaei_image;

#define VAEI_SHORT_RUN 16               /* numbers: shorter runs cost more than copying them together once */
#define VAEI_MICRO_BATCH_NUMBERS 204800 /* most in a micro-batch's largest tensor: 800 KB of a second cache of 1 MB
                                           (64 x 64 colour images train at 79 % of peak, with 1 MB at 76 %) */
#define VAEI_MICRO_BATCH_IMAGES 16      /* most in a micro-batch (series of 256: 69 % of peak, with 8 or 32: 66 %) */
#define VAEI_CHUNK_NUMBERS 8388608      /* most in all chunks' weight gradients together: 32 MB */
#define VAEI_INFERENCE_ROWS 192         /* most that inference takes at once per thread: what a layer writes is then
                                           in the cache for the next (1,024 rows of 784-512-32 decode in 0.9 of the
                                           time; 128 are as good, but up to a tenth slower with layers of 2,048) */

/* A place in the workspace: one for every example of the batch, or one micro-batch in each worker's slot. */
typedef struct vaei_place {
    int    in_slot;
    size_t offset;          /* in numbers, from the workspace or from the slot */
} vaei_place;

typedef struct vaei_tensor_memory {
    vaei_image image;
    vaei_place place;
} vaei_tensor_memory;

/* The rows of one output parity of a transposed convolution: those that meet the same taps of the kernel. */
typedef struct vaei_phase {
    size_t    rows, taps;                   /* rows of one image */
    uint32_t *from, *to;                    /* per row of a micro-batch */
    uint32_t *from_taps, *weight_taps;      /* per tap */
} vaei_phase;

/* A convolution and its adjoint, seen as one thing: it connects a fine image (the convolution's input, the transposed
   one's output) with a coarse one through weights of shape [kernel_height][kernel_width][fine channels][coarse channels]:
   coarse position i meets fine position i * stride + tap - top.
     gather   coarse = convolution of fine
     scatter  fine = transposed convolution of coarse
   Each layer uses one of them forward and the other backward. */
typedef struct vaei_connection {
    vae_shape   fine, coarse;
    int         kernel_height, kernel_width, stride_height, stride_width, top, left;
    int         as_patches;                 /* gather and weights copy the patches out first: their runs are short */
    uint32_t   *convolve_from, *convolve_to;    /* per coarse position of a micro-batch */
    uint32_t   *kernel_lines;               /* per kernel row, from a patch's first number */
    vaei_phase *phases;
    size_t      phase_count;
    uint32_t   *weight_rows;                /* per row of the weight matrix, from a patch's first number */
    uint32_t   *fine_lines, *coarse_lines;    /* per line of coarse positions of a micro-batch: the weights' inner runs */
} vaei_connection;

typedef struct vaei_layer {
    vae_layer_kind     kind;
    vae_activation     activation;
    vae_shape          in, out;
    size_t             inputs, outputs;             /* numbers per example */
    size_t             weight, weight_count;        /* in the parameter block */
    size_t             bias, bias_count;
    size_t             fan_in, fan_out;             /* as vae_initialization counts them */
    int                image_in, image_out;         /* dense: that side is an image, flattened channel-first in files */
    int                name_index;                  /* in PyTorch's nn.Sequential */
    vaei_tensor_memory input, output;               /* values */
    vaei_tensor_memory input_gradient, output_gradient;
    int                saves_input;                 /* the activation's derivative wants what went into it: kept in */
    vaei_place         saved;                       /* (laid out as output.image) */
    vaei_connection    connection;
} vaei_layer;

typedef struct vaei_stage {
    int        first, count;                        /* of the layers */
    int        convolutional;
    int        fused; /* the last stage: forward, likelihood and backward run on each micro-batch in turn */
    size_t     parameter, parameter_count;          /* its span of the block */
    vaei_place input, output, input_gradient, output_gradient;      /* flat */
} vaei_stage;

#define VAEI_MAX_LAYERS (2 * VAE_MAX_LAYERS + 1)
#define VAEI_MAX_THREADS 64

/* Weight gradients of convolutions are summed within a chunk of examples, then over chunks in order: the chunks, not
   the threads, decide the bits. */
#define VAEI_MAX_CHUNKS 16

typedef struct vaei_plan {
    vaei_layer layers[VAEI_MAX_LAYERS];
    vaei_stage stages[VAEI_MAX_LAYERS];
    int        layer_count, stage_count, heads;     /* heads: the index of that layer */
    int        first_decoder_stage;
    int        trains;
    int        threads;
    size_t     example, latent, batch;              /* numbers in an example, in z; examples in a batch */
    size_t     micro, chunk;                        /* examples in a micro-batch; in a chunk, a multiple of it */
    size_t     rows;                                /* that inference takes at once: a batch at most */
    size_t     parameter_count;
    /* The workspace, in numbers: */
    size_t     workspace_size, slot_base, slot_size;    /* slot_base: where the first one begins */
    size_t     partials, partial_size, partial_count;
    size_t     patches, product_scratch;            /* in a slot */
    vaei_place pixels, noise, z, logvar;
    vaei_place row_terms;                           /* per example two doubles: reconstruction, kl */
} vaei_plan;

VAEI_PRIVATE size_t vaei_shape_size(vae_shape s) {
    return (size_t)s.height * (size_t)s.width * (size_t)s.channels;
}

VAEI_PRIVATE int vaei_max_int(int a, int b) { return a > b ? a : b; }

/* ---- shapes ---- */

#define VAEI_MAX_EXTENT 65535       /* of an image's height, width and channels, and of padding */
#define VAEI_MAX_KERNEL 1023
#define VAEI_MAX_BATCH 0x1000000

typedef struct vaei_where {         /* which layer an error speaks of */
    const char *part;               /* "encoder" or "decoder" */
    int         number;             /* from 1 */
} vaei_where;

/* One axis of a convolution: the output's extent and the padding before and after it, or 0 with an error. */
VAEI_SETUP int vaei_conv_extent(const vae_layer *layer, int size, int kernel, int stride, int *before, int *after,
                                  vaei_where where, vae_error *error) {
    if (layer->padding == VAE_SAME) {
        int out = (size + stride - 1) / stride, total = vaei_max_int((out - 1) * stride + kernel - size, 0);
        *before = total / 2;
        *after = total - total / 2;
        return out;
    }
    if (size + *before + *after < kernel) {
        vaei_fail(error, VAE_ERROR_CONFIG,
                  "%s layer %d: a kernel of %d does not fit an input of %d with padding %d + %d: use a smaller kernel, "
                  "more padding or VAE_SAME", where.part, where.number, kernel, size, *before, *after);
        return 0;
    }
    return (size + *before + *after - kernel) / stride + 1;
}

/* The same of a transposed convolution. */
VAEI_SETUP int vaei_transposed_extent(const vae_layer *layer, int size, int kernel, int stride, int output_padding,
                                        int *before, int *after, vaei_where where, vae_error *error) {
    int out;
    if (layer->padding == VAE_SAME) {
        int total = vaei_max_int(kernel - stride, 0);
        *before = total / 2;
        *after = total - total / 2;
        return size * stride;
    }
    out = (size - 1) * stride - *before - *after + kernel + output_padding;
    if (out < 1)
        vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d: padding %d + %d crops the whole output of a transposed "
                  "convolution: use less padding or VAE_SAME", where.part, where.number, *before, *after);
    return out < 1 ? 0 : out;
}

VAEI_SETUP vae_status vaei_check_layer(const vae_layer *layer, vaei_where where, vae_error *error) {
    const int convolution = layer->kind == VAE_LAYER_CONV || layer->kind == VAE_LAYER_CONV_TRANSPOSED;
    if (layer->kind != VAE_LAYER_DENSE && !convolution)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has kind %d: write layers with VAE_DENSE, VAE_CONV, ...",
                         where.part, where.number, (int)layer->kind);
    if ((int)layer->activation < 0 || layer->activation > VAE_SOFTPLUS)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has activation %d: use one of vae_activation",
                         where.part, where.number, (int)layer->activation);
    if (layer->shape.channels < 1 ||
        (layer->kind == VAE_LAYER_DENSE && (layer->shape.height < 1 || layer->shape.width < 1)))
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has no %s: give 1 or more", where.part, where.number,
                         convolution ? "channels" : "units");
    if ((convolution && layer->shape.channels > VAEI_MAX_EXTENT) ||
        (!convolution && (layer->shape.height > VAEI_MAX_EXTENT || layer->shape.width > VAEI_MAX_EXTENT ||
                          layer->shape.channels > (1 << 26))))
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d is too large", where.part, where.number);
    if (!convolution) return VAE_OK;
    if (layer->kernel_height < 1 || layer->kernel_width < 1 || layer->stride_height < 1 || layer->stride_width < 1 ||
        layer->kernel_height > VAEI_MAX_KERNEL || layer->kernel_width > VAEI_MAX_KERNEL ||
        layer->stride_height > VAEI_MAX_KERNEL || layer->stride_width > VAEI_MAX_KERNEL)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d: kernel %d x %d, stride %d x %d: each must lie in 1..%d",
                         where.part, where.number, layer->kernel_height, layer->kernel_width, layer->stride_height,
                         layer->stride_width, VAEI_MAX_KERNEL);
    if (layer->padding != VAE_SAME && layer->padding != VAE_EXPLICIT)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has padding rule %d: use VAE_SAME or VAE_EXPLICIT",
                         where.part, where.number, (int)layer->padding);
    if (layer->padding == VAE_EXPLICIT &&
        (layer->top < 0 || layer->bottom < 0 || layer->left < 0 || layer->right < 0 || layer->top > VAEI_MAX_EXTENT ||
         layer->bottom > VAEI_MAX_EXTENT || layer->left > VAEI_MAX_EXTENT || layer->right > VAEI_MAX_EXTENT))
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d: padding %d, %d, %d, %d: each must lie in 0..%d",
                         where.part, where.number, layer->top, layer->bottom, layer->left, layer->right,
                         VAEI_MAX_EXTENT);
    if (layer->output_padding_height < 0 || layer->output_padding_height >= layer->stride_height ||
        layer->output_padding_width < 0 || layer->output_padding_width >= layer->stride_width)
        return vaei_fail(error, VAE_ERROR_CONFIG,
                         "%s layer %d: output padding must be 0 or more and less than the stride", where.part,
                         where.number);
    return VAE_OK;
}

/* What a layer makes of `in`; `explicit_layer` (may be NULL) is the same layer with its padding in numbers. */
VAEI_SETUP vae_status vaei_infer_shape(const vae_layer *layer, vae_shape in, vaei_where where, vae_shape *out,
                                         vae_layer *explicit_layer, vae_error *error) {
    vae_layer  l = *layer;
    vae_status status = vaei_check_layer(layer, where, error);
    if (status != VAE_OK) return status;
    if (l.kind != VAE_LAYER_DENSE && (in.height > VAEI_MAX_EXTENT || in.width > VAEI_MAX_EXTENT))
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d takes %d x %d x %d: no side may be larger than %d",
                         where.part, where.number, in.height, in.width, in.channels, VAEI_MAX_EXTENT);
    if (l.kind == VAE_LAYER_DENSE) {
        *out = l.shape;
    } else if (l.kind == VAE_LAYER_CONV) {
        out->height =
            vaei_conv_extent(&l, in.height, l.kernel_height, l.stride_height, &l.top, &l.bottom, where, error);
        if (!out->height) return VAE_ERROR_CONFIG;
        out->width = vaei_conv_extent(&l, in.width, l.kernel_width, l.stride_width, &l.left, &l.right, where, error);
        if (!out->width) return VAE_ERROR_CONFIG;
    } else {
        out->height = vaei_transposed_extent(&l, in.height, l.kernel_height, l.stride_height, l.output_padding_height,
                                             &l.top, &l.bottom, where, error);
        if (!out->height) return VAE_ERROR_CONFIG;
        out->width = vaei_transposed_extent(&l, in.width, l.kernel_width, l.stride_width, l.output_padding_width,
                                            &l.left, &l.right, where, error);
        if (!out->width) return VAE_ERROR_CONFIG;
    }
    out->channels = l.shape.channels;
    if (l.kind != VAE_LAYER_DENSE && (out->height > VAEI_MAX_EXTENT || out->width > VAEI_MAX_EXTENT))
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d gives %d x %d x %d: no side may be larger than %d",
                         where.part, where.number, out->height, out->width, out->channels, VAEI_MAX_EXTENT);
    if (l.kind != VAE_LAYER_DENSE) l.padding = VAE_EXPLICIT;
    if (explicit_layer) *explicit_layer = l;
    return VAE_OK;
}

VAEI_SETUP int vaei_count_layers(const vae_layer *layers) {
    int count = 0;
    while (count < VAE_MAX_LAYERS && layers[count].kind != VAE_LAYER_END) count++;
    return count;
}

/* The layer that undoes `layer`'s change of shape from `in`: its adjoint. */
VAEI_SETUP vae_layer vaei_mirror_layer(const vae_layer *layer, vae_shape in, vae_shape out) {
    vae_layer mirror = *layer;
    mirror.shape = in;
    if (layer->kind == VAE_LAYER_DENSE) return mirror;
    mirror.shape.height = mirror.shape.width = 0;
    mirror.output_padding_height = mirror.output_padding_width = 0;
    if (layer->kind == VAE_LAYER_CONV_TRANSPOSED) {
        mirror.kind = VAE_LAYER_CONV;
        return mirror;
    }
    mirror.kind = VAE_LAYER_CONV_TRANSPOSED;
    mirror.output_padding_height =
        in.height + layer->top + layer->bottom - layer->kernel_height - (out.height - 1) * layer->stride_height;
    mirror.output_padding_width =
        in.width + layer->left + layer->right - layer->kernel_width - (out.width - 1) * layer->stride_width;
    return mirror;
}

/* Fills config->decoder with the encoder's mirror image. */
VAEI_SETUP vae_status vaei_mirror(vae_config *config, vae_error *error) {
    const int count = vaei_count_layers(config->encoder);
    vae_shape shapes[VAE_MAX_LAYERS + 1];
    int       i;
    if (count + 1 > VAE_MAX_LAYERS)
        return vaei_fail(error, VAE_ERROR_CONFIG,
                         "the mirror image of %d encoder layers has %d, more than %d: give the "
                         "decoder yourself",
                         count, count + 1, VAE_MAX_LAYERS);
    shapes[0] = config->input;
    for (i = 0; i < count; i++) {
        vaei_where where = { "encoder", 0 };
        vae_status status;
        where.number = i + 1;
        status = vaei_infer_shape(&config->encoder[i], shapes[i], where, &shapes[i + 1], NULL, error);
        if (status != VAE_OK) return status;
    }
    memset(config->decoder, 0, sizeof config->decoder);
    config->decoder[0].kind = VAE_LAYER_DENSE;
    config->decoder[0].shape = shapes[count];
    config->decoder[0].activation = config->encoder[count - 1].activation;
    for (i = count - 1; i >= 0; i--) {
        vaei_where where = { "encoder", 0 };
        vae_layer  in_numbers;
        vae_shape  out;
        vaei_infer_shape(&config->encoder[i], shapes[i], where, &out, &in_numbers, NULL);
        config->decoder[count - i] = vaei_mirror_layer(&in_numbers, shapes[i], shapes[i + 1]);
        config->decoder[count - i].activation = i > 0 ? config->encoder[i - 1].activation : VAE_LINEAR;
    }
    return VAE_OK;
}

/* ---- defaults ---- */

VAEI_SETUP void vaei_default_real(vae_real *field, vae_real value) {
    if (*field == 0) *field = value;
}

/* The numbers of a config after defaults: VAE_ZERO stays, so that the filled config can be given again. */
VAEI_PRIVATE vae_real vaei_setting(vae_real field) { return field == VAE_ZERO ? (vae_real)0 : field; }

VAEI_PRIVATE int vaei_finite(vae_real x) { return x - x == 0; }

VAEI_SETUP vae_status vaei_check_settings(const vae_config *c, vae_error *error) {
    const vae_real beta1 = vaei_setting(c->adam.beta1), beta2 = vaei_setting(c->adam.beta2);
    if ((int)c->likelihood < 0 || c->likelihood > VAE_GAUSSIAN)
        return vaei_fail(error, VAE_ERROR_CONFIG, "likelihood is %d: use VAE_BERNOULLI or VAE_GAUSSIAN",
                         (int)c->likelihood);
    if ((int)c->initialization < 0 || c->initialization > VAE_INIT_HE)
        return vaei_fail(error, VAE_ERROR_CONFIG, "initialization is %d: use one of vae_initialization",
                         (int)c->initialization);
    if (c->layout != VAE_CHANNELS_LAST && c->layout != VAE_CHANNELS_FIRST)
        return vaei_fail(error, VAE_ERROR_CONFIG, "layout is %d: use VAE_CHANNELS_LAST or VAE_CHANNELS_FIRST",
                         (int)c->layout);
    if (!(c->sigma >= (vae_real)1e-6 && c->sigma <= (vae_real)1e6))
        return vaei_fail(error, VAE_ERROR_CONFIG, "sigma is %r: it must lie in 1e-6 to 1e6; scale the data",
                         (double)c->sigma);
    if (!(vaei_setting(c->beta) >= 0) || !vaei_finite(c->beta))
        return vaei_fail(error, VAE_ERROR_CONFIG, "beta is %r: it must be 0 (write VAE_ZERO) or larger",
                         (double)c->beta);
    if (!(vaei_setting(c->adam.learning_rate) >= 0) || !vaei_finite(c->adam.learning_rate))
        return vaei_fail(error, VAE_ERROR_CONFIG, "adam.learning_rate is %r: it must be 0 (write VAE_ZERO) or larger",
                         (double)c->adam.learning_rate);
    if (!(beta1 >= 0 && beta1 < 1) || !(beta2 >= 0 && beta2 < 1))
        return vaei_fail(error, VAE_ERROR_CONFIG, "adam.beta1 is %r, adam.beta2 %r: both must lie in [0, 1)",
                         (double)beta1, (double)beta2);
    if (!(c->adam.epsilon > 0) || !vaei_finite(c->adam.epsilon))
        return vaei_fail(error, VAE_ERROR_CONFIG, "adam.epsilon is %r: it must be larger than 0",
                         (double)c->adam.epsilon);
    if (c->threads < 0 || c->threads > VAEI_MAX_THREADS)
        return vaei_fail(error, VAE_ERROR_CONFIG, "threads is %d: use 0 (all cores) to %d", c->threads,
                         VAEI_MAX_THREADS);
    if (c->batch > VAEI_MAX_BATCH)
        return vaei_fail(error, VAE_ERROR_CONFIG, "batch is %z: use at most %z", c->batch, (size_t)VAEI_MAX_BATCH);
    if (!c->allocator.allocate != !c->allocator.release)
        return vaei_fail(error, VAE_ERROR_CONFIG, "allocator has only one of its functions: give both or neither");
    return VAE_OK;
}

VAE_API vae_status vae_defaults(const vae_config *config, vae_config *filled, vae_error *error) {
    vae_config c;
    vae_status status;
    if (!config || !filled) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_defaults: config or filled is NULL");
    c = *config;
    if (c.input.height < 1 || c.input.width < 1 || c.input.channels < 1 || c.input.height > VAEI_MAX_EXTENT ||
        c.input.width > (1 << 26) || c.input.channels > VAEI_MAX_EXTENT)
        return vaei_fail(error, VAE_ERROR_CONFIG, "input is %d x %d x %d: give height, width and channels, each 1 or "
                         "more", c.input.height, c.input.width, c.input.channels);
    if (c.latent < 1 || c.latent > (1 << 20))
        return vaei_fail(error, VAE_ERROR_CONFIG, "latent is %d: give the number of latent dimensions, 1 or more",
                         c.latent);
    if (!vaei_count_layers(c.encoder))
        return vaei_fail(error, VAE_ERROR_CONFIG, "the encoder has no layers: give at least one, such as "
                         "VAE_DENSE(400, VAE_RELU)");
    vaei_default_real(&c.sigma, 1);
    vaei_default_real(&c.beta, 1);
    vaei_default_real(&c.adam.learning_rate, (vae_real)1e-3);
    vaei_default_real(&c.adam.beta1, (vae_real)0.9);
    vaei_default_real(&c.adam.beta2, (vae_real)0.999);
    vaei_default_real(&c.adam.epsilon, (vae_real)1e-8);
    if (!c.batch) c.batch = 128;
    if (c.kernels == VAE_KERNELS_BEST) c.kernels = vaei_best_kernels();
    if (!vae_kernels_available(c.kernels))
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "kernels %s are not in this build or not on this processor: use "
                         "VAE_KERNELS_BEST", vae_kernels_name(c.kernels));
    if ((status = vaei_check_settings(&c, error)) != VAE_OK) return status;
    if (!c.threads) c.threads = c.parallel.run ? 1 : vaei_core_count();
    if (!vaei_count_layers(c.decoder) && (status = vaei_mirror(&c, error)) != VAE_OK) return status;
    *filled = c;
    return VAE_OK;
}

/* ---- names: the index of each layer in the nn.Sequential that one would write ---- */

/* Whether PyTorch's Conv2d(padding=(top, left)), or ConvTranspose2d with an output_padding below the stride, has this
   geometry: otherwise a ZeroPad2d stands before, or a cropping one after it. */
VAEI_SETUP int vaei_even_padding(const vaei_layer *layer) {
    const vaei_connection *c = &layer->connection;
    if (layer->kind == VAE_LAYER_CONV) {
        const int height = c->fine.height + 2 * c->top - c->kernel_height;
        const int width = c->fine.width + 2 * c->left - c->kernel_width;
        return height >= 0 && width >= 0 && height / c->stride_height + 1 == c->coarse.height &&
               width / c->stride_width + 1 == c->coarse.width;
    } else {
        const int height = c->fine.height - ((c->coarse.height - 1) * c->stride_height - 2 * c->top + c->kernel_height);
        const int width = c->fine.width - ((c->coarse.width - 1) * c->stride_width - 2 * c->left + c->kernel_width);
        return height >= 0 && height < c->stride_height && width >= 0 && width < c->stride_width;
    }
}

VAEI_SETUP void vaei_name_layers(vaei_layer *layers, int count, int input_is_image, int output_is_image) {
    int image = input_is_image, index = 0, i;
    for (i = 0; i < count; i++) {
        vaei_layer *layer = &layers[i];
        const int   convolution_follows = i + 1 < count && layers[i + 1].kind != VAE_LAYER_DENSE;
        if (layer->kind == VAE_LAYER_DENSE) {
            layer->image_in = image;
            layer->image_out = convolution_follows || (i + 1 == count && output_is_image);
            if (image) index++;                                                     /* Flatten */
            layer->name_index = index++;
            if (layer->activation != VAE_LINEAR) index++;
            if (convolution_follows) index++;                                       /* Unflatten */
            image = 0;
        } else {
            const int even = vaei_even_padding(layer);
            if (!even && layer->kind == VAE_LAYER_CONV) index++;                    /* ZeroPad2d */
            layer->name_index = index++;
            if (!even && layer->kind == VAE_LAYER_CONV_TRANSPOSED) index++;         /* ZeroPad2d that crops */
            if (layer->activation != VAE_LINEAR) index++;
            image = 1;
        }
    }
}

/* ---- the layers' own numbers ---- */

VAEI_SETUP void vaei_plan_connection(vaei_layer *layer, const vae_layer *in_numbers) {
    vaei_connection *c = &layer->connection;
    const int        transposed = layer->kind == VAE_LAYER_CONV_TRANSPOSED;
    c->fine = transposed ? layer->out : layer->in;
    c->coarse = transposed ? layer->in : layer->out;
    c->kernel_height = in_numbers->kernel_height;
    c->kernel_width = in_numbers->kernel_width;
    c->stride_height = in_numbers->stride_height;
    c->stride_width = in_numbers->stride_width;
    c->top = in_numbers->top;
    c->left = in_numbers->left;
    c->as_patches = c->kernel_width * c->fine.channels < VAEI_SHORT_RUN;
}

/* Adds one layer to the plan; its weights follow those of the layer before. */
VAEI_SETUP vae_status vaei_plan_layer(vaei_plan *plan, const vae_layer *described, vae_shape in, vaei_where where,
                                        vae_error *error) {
    vaei_layer *layer = &plan->layers[plan->layer_count];
    vae_layer   in_numbers;
    size_t      window = 1, weights;
    vae_status  status;
    memset(layer, 0, sizeof *layer);
    layer->kind = described->kind;
    layer->activation = described->activation;
    layer->in = in;
    layer->inputs = vaei_shape_size(in);
    status = vaei_infer_shape(described, in, where, &layer->out, &in_numbers, error);
    if (status != VAE_OK) return status;
    if (!vaei_multiply_sizes((size_t)layer->out.height, (size_t)layer->out.width, &layer->outputs) ||
        !vaei_multiply_sizes(layer->outputs, (size_t)layer->out.channels, &layer->outputs) ||
        layer->outputs > (size_t)0x7FFFFFFF)
        return vaei_fail(error, VAE_ERROR_CONFIG,
                         "%s layer %d gives more than 2^31 numbers per example: make it smaller", where.part,
                         where.number);
    if (layer->kind == VAE_LAYER_DENSE) {
        layer->fan_in = layer->inputs;
        layer->fan_out = layer->outputs;
    } else {
        vaei_plan_connection(layer, &in_numbers);
        window = (size_t)in_numbers.kernel_height * (size_t)in_numbers.kernel_width;
        layer->fan_in = window * (size_t)in.channels;
        layer->fan_out = window * (size_t)layer->out.channels;
        if (layer->kind == VAE_LAYER_CONV_TRANSPOSED) {
            size_t swap = layer->fan_in;
            layer->fan_in = layer->fan_out;
            layer->fan_out = swap;
        }
    }
    layer->bias_count = layer->kind == VAE_LAYER_DENSE ? layer->outputs : (size_t)layer->out.channels;
    if (!vaei_multiply_sizes(layer->fan_in / (layer->kind == VAE_LAYER_DENSE ? 1 : window), layer->fan_out, &weights) ||
        weights > (size_t)-1 / 64 / sizeof(vae_real) - layer->bias_count - plan->parameter_count)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has more weights than fit in memory: make it smaller",
                         where.part, where.number);
    layer->weight = plan->parameter_count;
    layer->weight_count = weights;
    layer->bias = layer->weight + weights;
    plan->parameter_count = layer->bias + layer->bias_count;
    layer->saves_input = vaei_activation_saves_input(layer->activation);
    plan->layer_count++;
    return VAE_OK;
}

VAEI_SETUP vae_status vaei_plan_layers(vaei_plan *plan, const vae_config *config, vae_error *error) {
    const int  encoders = vaei_count_layers(config->encoder), decoders = vaei_count_layers(config->decoder);
    const int  input_is_image = config->input.height > 1 || config->input.channels > 1;
    vae_shape  shape = config->input;
    vaei_layer *last;
    vaei_where where = { "encoder", 0 };
    vae_layer  heads;
    int        i;
    vae_status status;
    for (i = 0; i < encoders; i++) {
        where.number = i + 1;
        if ((status = vaei_plan_layer(plan, &config->encoder[i], shape, where, error)) != VAE_OK) return status;
        shape = plan->layers[plan->layer_count - 1].out;
    }
    vaei_name_layers(plan->layers, encoders, input_is_image, 0);
    memset(&heads, 0, sizeof heads);
    heads.kind = VAE_LAYER_DENSE;
    heads.shape.height = heads.shape.width = 1;
    heads.shape.channels = 2 * config->latent;
    where.number = encoders + 1;
    plan->heads = plan->layer_count;
    if ((status = vaei_plan_layer(plan, &heads, shape, where, error)) != VAE_OK) return status;
    plan->layers[plan->heads].image_in = plan->layers[plan->heads - 1].kind != VAE_LAYER_DENSE;
    shape.height = shape.width = 1;
    shape.channels = config->latent;
    where.part = "decoder";
    for (i = 0; i < decoders; i++) {
        where.number = i + 1;
        if ((status = vaei_plan_layer(plan, &config->decoder[i], shape, where, error)) != VAE_OK) return status;
        shape = plan->layers[plan->layer_count - 1].out;
    }
    vaei_name_layers(plan->layers + plan->heads + 1, decoders, 0, input_is_image);
    last = &plan->layers[plan->layer_count - 1];
    if (last->activation != VAE_LINEAR)
        return vaei_fail(error, VAE_ERROR_CONFIG,
                         "decoder layer %d is the last and gives the logits: make its activation "
                         "VAE_LINEAR (the likelihood applies its own)",
                         decoders);
    if (last->kind == VAE_LAYER_DENSE && last->outputs == vaei_shape_size(config->input)) last->out = config->input;
    if (last->out.height != config->input.height || last->out.width != config->input.width ||
        last->out.channels != config->input.channels)
        return vaei_fail(error, VAE_ERROR_CONFIG,
                         "decoder layer %d gives %d x %d x %d, the input is %d x %d x %d: change "
                         "its channels, strides or padding%s",
                         decoders, last->out.height, last->out.width, last->out.channels, config->input.height,
                         config->input.width, config->input.channels,
                         last->kind == VAE_LAYER_DENSE ? "" : " (output_padding adds a row below and a column right)");
    return VAE_OK;
}

/* ---- stages ---- */

VAEI_SETUP void vaei_plan_stages(vaei_plan *plan) {
    int i;
    for (i = 0; i < plan->layer_count; i++) {
        const int   convolutional = plan->layers[i].kind != VAE_LAYER_DENSE;
        vaei_stage *stage = plan->stage_count ? &plan->stages[plan->stage_count - 1] : NULL;
        if (!stage || stage->convolutional != convolutional || i == plan->heads + 1) {
            stage = &plan->stages[plan->stage_count++];
            memset(stage, 0, sizeof *stage);
            stage->first = i;
            stage->convolutional = convolutional;
            stage->parameter = plan->layers[i].weight;
            if (i == plan->heads + 1) plan->first_decoder_stage = plan->stage_count - 1;
        }
        stage->count++;
        stage->parameter_count = plan->layers[i].bias + plan->layers[i].bias_count - stage->parameter;
    }
    plan->stages[plan->stage_count - 1].fused = plan->stages[plan->stage_count - 1].convolutional;
}

/* Images in a micro-batch: few enough that the largest tensor of a convolution stays in the second-level cache, enough
   that the smallest products still fill the kernels. Their number is a multiple of a power of two, so that 2, 4, 8 or
   16 threads get equal shares; the threads themselves have no say in it. */
VAEI_SETUP void vaei_plan_micro_batch(vaei_plan *plan) {
    size_t largest = 1, weights = 1, most, count, chunks = 4, shares = 1;
    int    i;
    for (i = 0; i < plan->layer_count; i++)
        if (plan->layers[i].kind != VAE_LAYER_DENSE)
            largest = vaei_max_size(largest, vaei_max_size(plan->layers[i].inputs, plan->layers[i].outputs));
    for (i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].convolutional) weights = vaei_max_size(weights, plan->stages[i].parameter_count);
    most = vaei_max_size(1, vaei_min_size(VAEI_MICRO_BATCH_IMAGES, VAEI_MICRO_BATCH_NUMBERS / largest));
    count = (plan->batch + most - 1) / most;
    /* Every chunk may need a copy of the stage's weights: fewer of them where those are large. */
    while (chunks < VAEI_MAX_CHUNKS && 2 * chunks * weights <= VAEI_CHUNK_NUMBERS) chunks *= 2;
    while (shares < chunks && shares < count) shares *= 2;
    count = (count + shares - 1) / shares * shares;
    plan->micro = (plan->batch + count - 1) / count;
    plan->chunk = plan->micro * (count / shares);
}

/* ---- memory of the tensors ---- */

VAEI_APART vaei_image vaei_flat_image(vae_shape shape) {
    vaei_image image;
    image.height = shape.height;
    image.width = shape.width;
    image.channels = shape.channels;
    image.row = (size_t)shape.width * (size_t)shape.channels;
    image.image = (size_t)shape.height * image.row;
    image.origin = 0;
    return image;
}

VAEI_SETUP vaei_image vaei_bordered_image(vae_shape shape, int top, int bottom, int left, int right) {
    vaei_image image = vaei_flat_image(shape);
    image.row = (size_t)(left + shape.width + right) * (size_t)shape.channels;
    image.image = (size_t)(top + shape.height + bottom) * image.row;
    image.origin = (size_t)top * image.row + (size_t)left * (size_t)shape.channels;
    return image;
}

/* The border that gather reads around the fine image. */
VAEI_SETUP vaei_image vaei_fine_image(const vaei_connection *c) {
    const int below = (c->coarse.height - 1) * c->stride_height + c->kernel_height - c->top - c->fine.height;
    const int right = (c->coarse.width - 1) * c->stride_width + c->kernel_width - c->left - c->fine.width;
    return vaei_bordered_image(c->fine, c->top, vaei_max_int(below, 0), c->left, vaei_max_int(right, 0));
}

/* Positions of the coarse image that fine position p meets along one axis: from first to last, either side of it. */
VAEI_SETUP int vaei_floor_divide(int a, int b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

/* The border that scatter reads around the coarse image. */
VAEI_SETUP vaei_image vaei_coarse_image(const vaei_connection *c) {
    const int above = -vaei_floor_divide(c->top - c->kernel_height + c->stride_height, c->stride_height);
    const int left = -vaei_floor_divide(c->left - c->kernel_width + c->stride_width, c->stride_width);
    const int below = (c->fine.height - 1 + c->top) / c->stride_height - (c->coarse.height - 1);
    const int right = (c->fine.width - 1 + c->left) / c->stride_width - (c->coarse.width - 1);
    return vaei_bordered_image(c->coarse, vaei_max_int(above, 0), vaei_max_int(below, 0), vaei_max_int(left, 0),
                               vaei_max_int(right, 0));
}

/* Takes room for `count` images in the workspace or in the workers' own memory. */
VAEI_SETUP vaei_place vaei_place_numbers(vaei_plan *plan, vaei_arena *workspace, vaei_arena *slot, int in_slot,
                                           size_t each) {
    vaei_arena *arena = in_slot ? slot : workspace;
    vaei_place  place;
    size_t      count;
    place.in_slot = in_slot;
    place.offset = arena->used / sizeof(vae_real);
    if (!vaei_multiply_sizes(in_slot ? plan->micro : plan->batch, each, &count)) {
        arena->overflow = 1;
        return place;
    }
    vaei_take_reals(arena, count);
    return place;
}

VAEI_SETUP void vaei_place_dense_stage(vaei_plan *plan, vaei_stage *stage, vaei_arena *workspace, vaei_arena *slot) {
    vaei_place before = stage->input;
    int        i;
    for (i = stage->first; i < stage->first + stage->count; i++) {
        vaei_layer *layer = &plan->layers[i];
        layer->input.image = vaei_flat_image(layer->in);
        layer->output.image = vaei_flat_image(layer->out);
        layer->input.place = before;
        layer->output.place = vaei_place_numbers(plan, workspace, slot, 0, layer->outputs);
        layer->saved = layer->output.place;
        if (layer->saves_input && plan->trains)
            layer->saved = vaei_place_numbers(plan, workspace, slot, 0, layer->outputs);
        before = layer->output.place;
    }
    stage->output = before;
}

VAEI_SETUP void vaei_place_convolutional_stage(vaei_plan *plan, vaei_stage *stage, vaei_arena *workspace,
                                                 vaei_arena *slot) {
    /* What the backward pass will need again is kept for the whole batch, unless it follows at once. */
    const int in_slot = stage->fused || !plan->trains;
    const int last = stage->first + stage->count - 1;
    int       i;
    for (i = stage->first; i <= last; i++) {
        vaei_layer            *layer = &plan->layers[i];
        const vaei_connection *c = &layer->connection;
        const int              transposed = layer->kind == VAE_LAYER_CONV_TRANSPOSED;
        layer->input.image = transposed ? vaei_coarse_image(c) : vaei_fine_image(c);
        layer->output_gradient.image = transposed ? vaei_fine_image(c) : vaei_coarse_image(c);
        layer->input_gradient.image = vaei_flat_image(layer->in);
        layer->output.image = vaei_flat_image(layer->out);
        if (i > stage->first) {
            layer[-1].output.image = layer->input.image;
            layer->input_gradient.image = layer[-1].output_gradient.image;
        }
    }
    for (i = stage->first; i <= last; i++) {
        vaei_layer *layer = &plan->layers[i];
        const int   output_in_slot = i == last ? stage->fused : in_slot;
        layer->input.place = i == stage->first ? vaei_place_numbers(plan, workspace, slot, 1, layer->input.image.image)
                                               : layer[-1].output.place;
        layer->output.place = vaei_place_numbers(plan, workspace, slot, output_in_slot, layer->output.image.image);
        layer->saved = layer->output.place;
        if (layer->saves_input && plan->trains)
            layer->saved = vaei_place_numbers(plan, workspace, slot, output_in_slot, layer->output.image.image);
        if (plan->trains)
            layer->output_gradient.place = vaei_place_numbers(plan, workspace, slot, 1,
                                                              layer->output_gradient.image.image);
        if (i > stage->first) layer->input_gradient.place = layer[-1].output_gradient.place;
    }
    stage->output = plan->layers[last].output.place;
}

/* Gradients of flat tensors: each has a place of its own, for vaei_update. A fused stage's last one is made in place of
   its logits, as is that of a dense last layer. */
VAEI_SETUP void vaei_place_gradients(vaei_plan *plan, vaei_arena *workspace, vaei_arena *slot) {
    const vaei_place z = vaei_place_numbers(plan, workspace, slot, 0, plan->latent);
    vaei_place       below = z;
    int              s, i;
    for (s = 0; s < plan->stage_count; s++) {
        vaei_stage *stage = &plan->stages[s];
        if (s == plan->first_decoder_stage) below = z;
        stage->input_gradient = below;
        for (i = stage->first; i < stage->first + stage->count; i++) {
            vaei_layer *layer = &plan->layers[i];
            if (stage->convolutional && i + 1 < stage->first + stage->count) continue;
            if (!stage->convolutional) {
                layer->input_gradient.image = layer->input.image;
                layer->output_gradient.image = layer->output.image;
                layer->input_gradient.place = below;
            }
            below = i + 1 == plan->layer_count ? stage->output
                                               : vaei_place_numbers(plan, workspace, slot, 0, layer->outputs);
            if (!stage->convolutional) layer->output_gradient.place = below;
        }
        stage->output_gradient = below;
    }
}

/* ---- tables of the convolutions ---- */

VAEI_SETUP uint32_t *vaei_take_offsets(vaei_arena *arena, size_t count) {
    return (uint32_t *)vaei_take(arena, count, sizeof(uint32_t));
}

/* The four tensors that a convolution's three products touch. */
typedef struct vaei_connection_images {
    vaei_image gather_fine, gather_coarse, scatter_coarse, scatter_fine;
} vaei_connection_images;

VAEI_SETUP vaei_connection_images vaei_images_of(const vaei_layer *layer) {
    const int              transposed = layer->kind == VAE_LAYER_CONV_TRANSPOSED;
    vaei_connection_images images;
    images.gather_fine = transposed ? layer->output_gradient.image : layer->input.image;
    images.gather_coarse = transposed ? layer->input_gradient.image : layer->output.image;
    images.scatter_coarse = transposed ? layer->input.image : layer->output_gradient.image;
    images.scatter_fine = transposed ? layer->output.image : layer->input_gradient.image;
    return images;
}

VAEI_SETUP void vaei_tabulate_gather(vaei_connection *c, const vaei_connection_images *images, size_t micro,
                                       vaei_arena *arena) {
    const vaei_image *fine = &images->gather_fine, *coarse = &images->gather_coarse;
    const size_t      channels = (size_t)c->fine.channels,
                 positions = micro * (size_t)c->coarse.height * (size_t)c->coarse.width;
    size_t            n, i = 0;
    int               y, x;
    c->convolve_from = vaei_take_offsets(arena, positions);
    c->convolve_to = vaei_take_offsets(arena, positions);
    c->kernel_lines = vaei_take_offsets(arena, (size_t)c->kernel_height);
    if (!arena->base) return;
    for (n = 0; n < micro; n++)
        for (y = 0; y < c->coarse.height; y++)
            for (x = 0; x < c->coarse.width; x++, i++) {
                c->convolve_from[i] = (uint32_t)(n * fine->image + (size_t)(y * c->stride_height) * fine->row +
                                               (size_t)(x * c->stride_width) * channels);
                c->convolve_to[i] = (uint32_t)(n * coarse->image + coarse->origin + (size_t)y * coarse->row +
                                             (size_t)x * (size_t)c->coarse.channels);
            }
    for (y = 0; y < c->kernel_height; y++) c->kernel_lines[y] = (uint32_t)((size_t)y * fine->row);
}

/* Big positions 0 .. extent-1 whose (position + before) mod stride is `parity`. */
VAEI_SETUP int vaei_first_of_parity(int parity, int before, int stride) {
    return ((parity - before) % stride + stride) % stride;
}

VAEI_SETUP size_t vaei_count_of_parity(int parity, int before, int stride, int extent) {
    const int first = vaei_first_of_parity(parity, before, stride);
    return first < extent ? (size_t)((extent - 1 - first) / stride + 1) : 0;
}

VAEI_SETUP int vaei_taps_of_parity(int parity, int kernel, int stride) {
    return parity < kernel ? (kernel - 1 - parity) / stride + 1 : 0;
}

VAEI_SETUP void vaei_tabulate_phase(const vaei_connection *c, vaei_phase *phase, int parity_y, int parity_x,
                                      const vaei_connection_images *images, size_t micro) {
    const vaei_image *coarse = &images->scatter_coarse, *fine = &images->scatter_fine;
    const size_t      coarse_channels = (size_t)c->coarse.channels, fine_channels = (size_t)c->fine.channels;
    const int         taps_y = vaei_taps_of_parity(parity_y, c->kernel_height, c->stride_height);
    const int         taps_x = vaei_taps_of_parity(parity_x, c->kernel_width, c->stride_width);
    const int         first_y = vaei_first_of_parity(parity_y, c->top, c->stride_height);
    const int         first_x = vaei_first_of_parity(parity_x, c->left, c->stride_width);
    size_t            n, i = 0;
    int               y, x;
    for (n = 0; n < micro; n++)
        for (y = first_y; y < c->fine.height; y += c->stride_height)
            for (x = first_x; x < c->fine.width; x += c->stride_width, i++) {
                /* The coarse position that the last tap meets: the smallest address; the others lie at from_taps. */
                const ptrdiff_t coarse_y = (y + c->top - parity_y) / c->stride_height - (taps_y - 1);
                const ptrdiff_t coarse_x = (x + c->left - parity_x) / c->stride_width - (taps_x - 1);
                phase->from[i] = taps_y && taps_x
                                     ? (uint32_t)((ptrdiff_t)(n * coarse->image + coarse->origin) +
                                                  coarse_y * (ptrdiff_t)coarse->row + coarse_x * (ptrdiff_t)coarse_channels)
                                     : 0;
                phase->to[i] =
                    (uint32_t)(n * fine->image + fine->origin + (size_t)y * fine->row + (size_t)x * fine_channels);
            }
    i = 0;
    for (y = taps_y - 1; y >= 0; y--)
        for (x = taps_x - 1; x >= 0; x--, i++) {
            const size_t tap = (size_t)(parity_y + y * c->stride_height) * (size_t)c->kernel_width +
                               (size_t)(parity_x + x * c->stride_width);
            phase->from_taps[i] =
                (uint32_t)((size_t)(taps_y - 1 - y) * coarse->row + (size_t)(taps_x - 1 - x) * coarse_channels);
            phase->weight_taps[i] = (uint32_t)(tap * fine_channels * coarse_channels);
        }
}

VAEI_SETUP void vaei_tabulate_scatter(vaei_connection *c, const vaei_connection_images *images, size_t micro,
                                        vaei_arena *arena) {
    const int parities_y = c->stride_height < c->fine.height ? c->stride_height : c->fine.height;
    const int parities_x = c->stride_width < c->fine.width ? c->stride_width : c->fine.width;
    size_t    count = 0;
    int       y, x;
    c->phase_count = (size_t)parities_y * (size_t)parities_x;
    c->phases = (vaei_phase *)vaei_take(arena, c->phase_count, sizeof(vaei_phase));
    for (y = 0; y < parities_y; y++)
        for (x = 0; x < parities_x; x++, count++) {
            /* The parities that the first positions have: with a stride wider than the image the others are empty. */
            const int  parity_y = (y + c->top) % c->stride_height, parity_x = (x + c->left) % c->stride_width;
            vaei_phase phase;
            phase.rows = vaei_count_of_parity(parity_y, c->top, c->stride_height, c->fine.height) *
                         vaei_count_of_parity(parity_x, c->left, c->stride_width, c->fine.width);
            phase.taps = (size_t)vaei_taps_of_parity(parity_y, c->kernel_height, c->stride_height) *
                         (size_t)vaei_taps_of_parity(parity_x, c->kernel_width, c->stride_width);
            phase.from = vaei_take_offsets(arena, micro * phase.rows);
            phase.to = vaei_take_offsets(arena, micro * phase.rows);
            phase.from_taps = vaei_take_offsets(arena, phase.taps);
            phase.weight_taps = vaei_take_offsets(arena, phase.taps);
            if (!arena->base) continue;
            vaei_tabulate_phase(c, &phase, parity_y, parity_x, images, micro);
            c->phases[count] = phase;
        }
}

VAEI_SETUP void vaei_tabulate_weights(vaei_connection *c, const vaei_connection_images *images, size_t micro,
                                        vaei_arena *arena) {
    const vaei_image *fine = &images->gather_fine, *coarse = &images->scatter_coarse;
    const size_t      channels = (size_t)c->fine.channels, lines = micro * (size_t)c->coarse.height;
    const size_t      rows = (size_t)c->kernel_height * (size_t)c->kernel_width * channels;
    size_t            n, i = 0;
    int               y;
    c->weight_rows = vaei_take_offsets(arena, rows);
    c->fine_lines = vaei_take_offsets(arena, lines);
    c->coarse_lines = vaei_take_offsets(arena, lines);
    if (!arena->base) return;
    for (i = 0; i < rows; i++) {
        const size_t run = (size_t)c->kernel_width * channels;
        c->weight_rows[i] = (uint32_t)(c->as_patches ? i : i / run * fine->row + i % run);
    }
    i = 0;
    for (n = 0; n < micro; n++)
        for (y = 0; y < c->coarse.height; y++, i++) {
            c->fine_lines[i] = (uint32_t)(c->as_patches ? i * (size_t)c->coarse.width * rows
                                                       : n * fine->image + (size_t)(y * c->stride_height) * fine->row);
            c->coarse_lines[i] = (uint32_t)(n * coarse->image + coarse->origin + (size_t)y * coarse->row);
        }
}

/* ---- the whole ---- */

/* Numbers of scratch that the layer's products need. */
VAEI_SETUP size_t vaei_layer_scratch(const vaei_plan *plan, const vaei_layer *layer) {
    const vaei_connection *c = &layer->connection;
    size_t coarse, fine, gradient, most;
    if (layer->kind == VAE_LAYER_DENSE) {
        most = vaei_product_scratch(plan->batch, layer->outputs);
        if (!plan->trains) return most;
        gradient = vaei_product_scratch(layer->inputs, layer->outputs);
        return vaei_max_size(most, vaei_max_size(gradient, vaei_product_scratch(plan->batch, layer->inputs)));
    }
    coarse = plan->micro * (size_t)c->coarse.height * (size_t)c->coarse.width;
    fine = plan->micro * (size_t)c->fine.height * (size_t)c->fine.width;
    gradient = layer->weight_count / (size_t)c->coarse.channels;
    most = vaei_max_size(vaei_product_scratch(coarse, (size_t)c->coarse.channels),
                         vaei_product_scratch(fine, (size_t)c->fine.channels));
    return vaei_max_size(most, vaei_product_scratch(gradient, (size_t)c->coarse.channels));
}

/* Lays out everything after the model itself: tables, then the workspace. With arena->base NULL it only counts, and
   leaves the plan complete apart from the tables' addresses. */
VAEI_SETUP vae_status vaei_plan_memory(vaei_plan *plan, vaei_arena *arena, vae_error *error) {
    vaei_arena workspace, slot;
    vaei_place before;
    size_t     patches = 0, scratch = 0, total = 0;
    int        i, transposed;
    memset(&workspace, 0, sizeof workspace);
    memset(&slot, 0, sizeof slot);
    plan->pixels = vaei_place_numbers(plan, &workspace, &slot, 0, plan->example);
    plan->noise = vaei_place_numbers(plan, &workspace, &slot, 0, plan->latent);
    plan->logvar = vaei_place_numbers(plan, &workspace, &slot, 0, plan->latent);
    plan->z = vaei_place_numbers(plan, &workspace, &slot, 0, plan->latent);
    plan->row_terms = vaei_place_numbers(plan, &workspace, &slot, 0, 2 * sizeof(double) / sizeof(vae_real));
    before = plan->pixels;
    for (i = 0; i < plan->stage_count; i++) {
        vaei_stage *stage = &plan->stages[i];
        stage->input = i == plan->first_decoder_stage ? plan->z : before;
        if (stage->convolutional) vaei_place_convolutional_stage(plan, stage, &workspace, &slot);
        else vaei_place_dense_stage(plan, stage, &workspace, &slot);
        before = stage->output;
    }
    if (plan->trains) vaei_place_gradients(plan, &workspace, &slot);
    for (i = 0; i < plan->layer_count; i++) {
        vaei_layer            *layer = &plan->layers[i];
        vaei_connection       *c = &layer->connection;
        vaei_connection_images images;
        size_t                 largest = vaei_max_size(layer->input.image.image, layer->output.image.image);
        scratch = vaei_max_size(scratch, vaei_layer_scratch(plan, layer));
        if (layer->kind == VAE_LAYER_DENSE) continue;
        if (plan->trains)
            largest = vaei_max_size(largest, vaei_max_size(layer->input_gradient.image.image,
                                                           layer->output_gradient.image.image));
        transposed = layer->kind == VAE_LAYER_CONV_TRANSPOSED;
        images = vaei_images_of(layer);
        if (c->as_patches)
            largest = vaei_max_size(largest, layer->fan_in * layer->fan_out);
        if (c->as_patches && (plan->trains || !transposed)) {
            const size_t each = (size_t)c->coarse.height * (size_t)c->coarse.width * (size_t)c->kernel_height *
                                (size_t)c->kernel_width * (size_t)c->fine.channels;
            patches = vaei_max_size(patches, each);
            largest = vaei_max_size(largest, each);
        }
        if (largest > (size_t)0xFFFFFFFF / plan->micro)
            return vaei_fail(error, VAE_ERROR_CONFIG, "a convolution's tensor of %z numbers is too large", largest);
        if (plan->trains || !transposed) vaei_tabulate_gather(c, &images, plan->micro, arena);
        if (plan->trains || transposed) vaei_tabulate_scatter(c, &images, plan->micro, arena);
        if (plan->trains) vaei_tabulate_weights(c, &images, plan->micro, arena);
    }
    plan->patches = slot.used / sizeof(vae_real);
    if (!vaei_multiply_sizes(plan->micro, patches, &total)) slot.overflow = 1;
    vaei_take_reals(&slot, total);
    plan->product_scratch = slot.used / sizeof(vae_real);
    vaei_take_reals(&slot, scratch);
    plan->slot_size = slot.used / sizeof(vae_real);
    if (plan->trains) {
        plan->partials = workspace.used / sizeof(vae_real);
        for (i = 0; i < plan->stage_count; i++)
            if (plan->stages[i].convolutional)
                plan->partial_size = vaei_max_size(plan->partial_size, plan->stages[i].parameter_count);
        plan->partial_count = !plan->partial_size ? 0
                              : plan->threads > 1 ? (plan->batch + plan->chunk - 1) / plan->chunk
                                                  : 1;
        if (!vaei_multiply_sizes(plan->partial_count, plan->partial_size, &total)) workspace.overflow = 1;
        vaei_take_reals(&workspace, total);
    }
    plan->slot_base = workspace.used / sizeof(vae_real);
    if (!vaei_multiply_sizes((size_t)plan->threads, plan->slot_size, &total)) workspace.overflow = 1;
    vaei_take_reals(&workspace, total);
    plan->workspace_size = workspace.used / sizeof(vae_real);
    if (workspace.overflow || slot.overflow || arena->overflow)
        return vaei_fail(error, VAE_ERROR_MEMORY,
                         "the network does not fit in memory: make `batch` or the layers smaller");
    return VAE_OK;
}

/* `filled` is what vae_defaults gave. The tables are still missing: vaei_plan_memory lays them out. */
VAEI_SETUP vae_status vaei_plan_network(const vae_config *filled, vaei_plan *plan, vae_error *error) {
    vae_status status;
    memset(plan, 0, sizeof *plan);
    plan->example = vaei_shape_size(filled->input);
    plan->latent = (size_t)filled->latent;
    plan->threads = filled->threads;
#ifndef VAE_INFERENCE_ONLY
    plan->trains = !filled->inference_only;
#endif
    plan->rows = vaei_min_size(filled->batch, VAEI_INFERENCE_ROWS * (size_t)plan->threads);
    plan->batch = plan->trains ? filled->batch : plan->rows;
    if ((status = vaei_plan_layers(plan, filled, error)) != VAE_OK) return status;
    vaei_plan_stages(plan);
    vaei_plan_micro_batch(plan);
    return VAE_OK;
}

/* ==== 23 >>execution ============================================================================================== */

struct vae_model {
    vae_config              config;         /* filled: defaults applied, the decoder explicit */
    vaei_plan               plan;
    const vaei_kernel_set  *kernels;
    vaei_pool              *pool;           /* the model's own threads, or NULL */
    vae_real               *parameters, *gradients, *moment1, *moment2; /* the last three NULL when inference_only */
    vae_real               *workspace;
    size_t                  bytes;          /* of the whole block */
    void                   *block;          /* what the allocator gave, or NULL where the caller gave the memory */
    size_t                  block_size;
    vae_real                beta, learning_rate;    /* as they are now: 0 is 0 */
    int                     has_gradients;  /* 0: what the gradient block holds counts as zero */
    uint64_t                step;           /* updates made: Adam's t */
    uint64_t                epoch;          /* passes that vae_fit has completed */
    uint64_t                position;       /* examples that it has used of the next one */
    uint64_t                samples_drawn;
};

/* Where example `first` of a tensor begins, for the worker with this slot. A slot holds one micro-batch: its own first
   example. */
VAEI_APART vae_real *vaei_at(const vae_model *model, vaei_place place, size_t slot, size_t first, size_t each) {
    if (place.in_slot)
        return model->workspace + model->plan.slot_base + slot * model->plan.slot_size + place.offset;
    return model->workspace + place.offset + first * each;
}

VAEI_PRIVATE vae_real *vaei_slot(const vae_model *model, size_t slot, size_t offset) {
    return model->workspace + model->plan.slot_base + slot * model->plan.slot_size + offset;
}

/* ---- work shared out ---- */

/* Calls task(context, i) for i in 0 .. count-1, count at most config.threads: i is also the slot the task may use. */
VAEI_PRIVATE void vaei_run(const vae_model *model, vae_task task, void *context, size_t count) {
    size_t i;
    if (count > 1 && model->config.parallel.run)
        model->config.parallel.run(model->config.parallel.user, task, context, count);
    else if (count > 1 && model->pool)
        vaei_pool_run(model->pool, task, context, count);
    else
        for (i = 0; i < count; i++) task(context, i);
}

/* `items` in pieces of at least `grain`, one for each thread: part(context, slot, first, count). */
typedef void (*vaei_part)(void *context, size_t slot, size_t first, size_t count);

/* Items in pieces, each a multiple of `unit` but for the last. */
typedef struct vaei_cut {
    size_t items, unit, pieces;
} vaei_cut;

VAEI_PRIVATE size_t vaei_units(const vaei_cut *cut) { return (cut->items + cut->unit - 1) / cut->unit; }

VAEI_PRIVATE size_t vaei_piece_begin(const vaei_cut *cut, size_t index) {
    return vaei_min_size(cut->items, vaei_units(cut) * index / cut->pieces * cut->unit);
}

VAEI_PRIVATE size_t vaei_largest_piece(const vaei_cut *cut) {
    const size_t units = vaei_units(cut), last = cut->items - vaei_piece_begin(cut, cut->pieces - 1);
    return cut->pieces == 1 ? last : vaei_max_size(last, (units / cut->pieces + (units % cut->pieces > 1)) * cut->unit);
}

typedef struct vaei_split_context {
    vaei_part part;
    void     *context;
    vaei_cut  cut;
} vaei_split_context;

VAEI_PRIVATE void vaei_split_task(void *opaque, size_t index) {
    const vaei_split_context *split = (const vaei_split_context *)opaque;
    const size_t first = vaei_piece_begin(&split->cut, index), end = vaei_piece_begin(&split->cut, index + 1);
    if (end > first) split->part(split->context, index, first, end - first);
}

/* Pieces begin at multiples of `unit`. */
VAEI_PRIVATE void vaei_split(const vae_model *model, size_t items, size_t unit, size_t grain, vaei_part part,
                             void *context) {
    vaei_split_context split;
    split.part = part;
    split.context = context;
    split.cut.items = items;
    split.cut.unit = unit;
    split.cut.pieces = vaei_max_size(1, vaei_min_size((size_t)model->plan.threads, items / grain));
    vaei_run(model, vaei_split_task, &split, split.cut.pieces);
}

#define VAEI_PARALLEL_WORK 500000       /* multiply-adds worth another thread: about ten microseconds */

typedef struct vaei_multiply_context {
    const vae_model    *model;
    const vaei_product *product;
    vaei_cut            rows, columns;
} vaei_multiply_context;

VAEI_PRIVATE void vaei_multiply_part(void *opaque, size_t index) {
    const vaei_multiply_context *work = (const vaei_multiply_context *)opaque;
    const size_t r = index / work->columns.pieces, c = index % work->columns.pieces;
    const size_t row = vaei_piece_begin(&work->rows, r), row_end = vaei_piece_begin(&work->rows, r + 1);
    const size_t column = vaei_piece_begin(&work->columns, c), column_end = vaei_piece_begin(&work->columns, c + 1);
    const vaei_product rows = vaei_product_rows(work->product, row, row_end - row);
    const vaei_product part = vaei_product_columns(&rows, column, column_end - column);
    vaei_multiply(work->model->kernels, &part, vaei_slot(work->model, index, work->model->plan.product_scratch));
}

/* Row pieces are multiples of 24 and column pieces of 48, whole tiles in every kernel set; few rows are divided by
   columns alone, and then by 16. Of all grids the one whose largest piece is smallest; of such the one with the fewest
   row pieces, since each packs B for itself. */
VAEI_PRIVATE void vaei_multiply_parallel(const vae_model *model, const vaei_product *product) {
    const double work =
        (double)product->rows * (double)product->columns * (double)product->segments * (double)product->run;
    const size_t          worth = work < VAEI_PARALLEL_WORK * 64.0 ? (size_t)(work / VAEI_PARALLEL_WORK) : 64;
    const size_t          most = vaei_max_size(1, vaei_min_size((size_t)model->plan.threads, worth));
    const int             few = product->rows < 48;
    vaei_multiply_context grid, tried;
    size_t                row_units, least = (size_t)-1;
    tried.model = model;
    tried.product = product;
    tried.rows.items = product->rows;
    tried.rows.unit = few ? 48 : 24;
    tried.columns.items = product->columns;
    tried.columns.unit = few ? 16 : 48;
    tried.rows.pieces = tried.columns.pieces = 1;
    grid = tried;
    row_units = vaei_units(&tried.rows);
    for (; tried.rows.pieces <= vaei_min_size(most, row_units); tried.rows.pieces++) {
        size_t largest;
        tried.columns.pieces = vaei_max_size(1, vaei_min_size(most / tried.rows.pieces, vaei_units(&tried.columns)));
        largest = vaei_largest_piece(&tried.rows) * vaei_largest_piece(&tried.columns);
        if (largest >= least) continue;
        least = largest;
        grid = tried;
    }
    vaei_run(model, vaei_multiply_part, &grid, grid.rows.pieces * grid.columns.pieces);
}

/* ==== 24 >>layers ================================================================================================= */

/* One batch, or one score of a batch, on its way through the network. */
typedef struct vaei_pass {
    vae_model *model;
    size_t     count;               /* rows */
    int        forward_only;        /* no backward pass follows */
    int        updates;             /* dense layers' weight gradients are left to vaei_update */
    /* what becomes of the logits: */
    double    *reconstruction;      /* per row, nats; or NULL */
    size_t     repeat;              /* so many rows in succession belong to one row of pixels */
    vae_real   scale;               /* of the gradient: 1 / examples in the whole batch */
    vae_real  *decoded;             /* the caller's pixels, or NULL */
} vaei_pass;

/* The part of a convolutional stage's pass that one worker does at a time. */
typedef struct vaei_micro {
    const vaei_pass  *pass;
    const vaei_stage *stage;
    size_t            slot, first, count;       /* rows first .. first + count - 1 */
    vae_real         *gradients;                /* of the stage's span */
    int               accumulate;
} vaei_micro;

/* ---- dense: out [count][outputs] = activation(in [count][inputs] weight [inputs][outputs] + bias) ---- */

typedef struct vaei_activate_context {
    const vae_model *model;
    vae_activation   activation;
    const vae_real  *from;
    vae_real        *to;
} vaei_activate_context;

VAEI_PRIVATE void vaei_activate_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_activate_context *work = (const vaei_activate_context *)opaque;
    (void)slot;
    vaei_activate(work->model->kernels, work->activation, count, work->from + first, work->to + first);
}

VAEI_PRIVATE void vaei_activate_backward_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_activate_context *work = (const vaei_activate_context *)opaque;
    (void)slot;
    vaei_activate_backward(work->model->kernels, work->activation, count, work->from + first, work->to + first);
}

#define VAEI_PARALLEL_NUMBERS 16384     /* of elementwise work worth another thread */

/* The product applies ReLU as it stores; the other activations follow as a pass of their own. */
VAEI_PRIVATE int vaei_separate_activation(vae_activation activation) {
    return activation != VAE_LINEAR && activation != VAE_RELU;
}

VAEI_PRIVATE void vaei_dense_forward(const vaei_pass *pass, const vaei_layer *layer) {
    vae_model   *model = pass->model;
    vae_real    *out = vaei_at(model, layer->output.place, 0, 0, 0);
    vae_real    *before = model->plan.trains && layer->saves_input ? vaei_at(model, layer->saved, 0, 0, 0) : out;
    vaei_product p;
    memset(&p, 0, sizeof p);
    p.rows = pass->count;
    p.columns = layer->outputs;
    p.segments = 1;
    p.run = layer->inputs;
    p.a = vaei_at(model, layer->input.place, 0, 0, 0);
    p.a_row = layer->inputs;
    p.a_step = 1;
    p.b = model->parameters + layer->weight;
    p.b_step = layer->outputs;
    p.b_column = 1;
    p.c = before;
    p.c_row = layer->outputs;
    p.bias = model->parameters + layer->bias;
    p.relu = layer->activation == VAE_RELU;
    vaei_multiply_parallel(model, &p);
    if (vaei_separate_activation(layer->activation)) {
        vaei_activate_context work;
        work.model = model;
        work.activation = layer->activation;
        work.from = before;
        work.to = out;
        vaei_split(model, pass->count * layer->outputs, 64, VAEI_PARALLEL_NUMBERS, vaei_activate_part, &work);
    }
}

#ifndef VAE_INFERENCE_ONLY
/* The product d_weight (+)= in^T d_out of `count` examples. */
VAEI_PRIVATE vaei_product vaei_dense_weights(const vae_model *model, const vaei_layer *layer, size_t count) {
    vaei_product p;
    memset(&p, 0, sizeof p);
    p.rows = layer->inputs;
    p.columns = layer->outputs;
    p.segments = 1;
    p.run = count;
    p.a = vaei_at(model, layer->input.place, 0, 0, 0);
    p.a_row = 1;
    p.a_step = layer->inputs;
    p.b = vaei_at(model, layer->output_gradient.place, 0, 0, 0);
    p.b_step = layer->outputs;
    p.b_column = 1;
    p.c = model->gradients + layer->weight;
    p.c_row = layer->outputs;
    p.accumulate = model->has_gradients;
    return p;
}

/* d_out [count][outputs] is the gradient of the layer's output and becomes that of what went into the activation;
   d_weight as above, d_bias += sum of d_out's rows, d_in = d_out weight^T. */
VAEI_PRIVATE void vaei_dense_backward(const vaei_pass *pass, const vaei_layer *layer, int wants_input_gradient) {
    vae_model   *model = pass->model;
    vae_real    *d_out = vaei_at(model, layer->output_gradient.place, 0, 0, 0);
    vaei_product p;
    if (layer->activation != VAE_LINEAR) {
        vaei_activate_context work;
        work.model = model;
        work.activation = layer->activation;
        work.from = vaei_at(model, layer->saved, 0, 0, 0);
        work.to = d_out;
        vaei_split(model, pass->count * layer->outputs, 64, VAEI_PARALLEL_NUMBERS, vaei_activate_backward_part, &work);
    }
    vaei_column_sums(model->kernels, pass->count, layer->outputs, d_out, layer->outputs, NULL,
                     model->gradients + layer->bias, model->has_gradients);
    if (!pass->updates) {
        p = vaei_dense_weights(model, layer, pass->count);
        vaei_multiply_parallel(model, &p);
    }
    if (!wants_input_gradient) return;
    memset(&p, 0, sizeof p);
    p.rows = pass->count;
    p.columns = layer->inputs;
    p.segments = 1;
    p.run = layer->outputs;
    p.a = d_out;
    p.a_row = layer->outputs;
    p.a_step = 1;
    p.b = model->parameters + layer->weight;
    p.b_step = 1;
    p.b_column = layer->outputs;
    p.c = vaei_at(model, layer->input_gradient.place, 0, 0, 0);
    p.c_row = layer->inputs;
    vaei_multiply_parallel(model, &p);
}
#endif

/* ---- convolution and transposed convolution ----

   fine [height][width][fine channels] inside its border, coarse [height][width][coarse channels],
   weight [kernel height][kernel width][fine channels][coarse channels]:
     gather   coarse[i][s] = bias[s] + sum over taps k, channels b of fine[i stride + k - top][b] weight[k][b][s]
     scatter  fine[p][b]   = bias[b] + sum over the coarse positions i and taps k with i stride + k - top = p,
                                      and channels s, of coarse[i][s] weight[k][b][s]
     weights  d_weight[k][b][s] += sum over i of fine[i stride + k - top][b] coarse[i][s]                              */

/* The patches of n images as rows of a matrix: each position's kernel lines one after the other. */
VAEI_PRIVATE void vaei_copy_patches(const vaei_connection *c, const vae_real *fine, size_t n, vae_real *patches) {
    const size_t run = (size_t)c->kernel_width * (size_t)c->fine.channels;
    const size_t positions = n * (size_t)c->coarse.height * (size_t)c->coarse.width;
    size_t       i, j;
    int          k;
    for (i = 0; i < positions; i++)
        for (k = 0; k < c->kernel_height; k++) {
            const vae_real *line = fine + c->convolve_from[i] + c->kernel_lines[k];
            for (j = 0; j < run; j++) *patches++ = line[j];
        }
}

VAEI_PRIVATE void vaei_convolve(const vae_model *model, size_t slot, const vaei_connection *c, size_t n,
                              const vae_real *fine, vae_real *coarse, const vae_real *weight, const vae_real *bias,
                              int relu) {
    vaei_product p;
    memset(&p, 0, sizeof p);
    p.rows = n * (size_t)c->coarse.height * (size_t)c->coarse.width;
    p.columns = (size_t)c->coarse.channels;
    p.run = (size_t)c->kernel_width * (size_t)c->fine.channels;
    p.segments = (size_t)c->kernel_height;
    p.a_step = 1;
    p.b = weight;
    p.b_segment = p.run * p.columns;
    p.b_step = p.columns;
    p.b_column = 1;
    if (c->as_patches) {
        vae_real *patches = vaei_slot(model, slot, model->plan.patches);
        vaei_copy_patches(c, fine, n, patches);
        p.run *= p.segments;
        p.segments = 1;
        p.a = patches;
        p.a_row = p.run;
    } else {
        p.a = fine;
        p.a_rows = c->convolve_from;
        p.a_segments = c->kernel_lines;
    }
    p.c = coarse;
    p.c_rows = c->convolve_to;
    p.bias = bias;
    p.relu = relu;
    vaei_multiply(model->kernels, &p, vaei_slot(model, slot, model->plan.product_scratch));
}

VAEI_PRIVATE void vaei_convolve_transposed(const vae_model *model, size_t slot, const vaei_connection *c, size_t n,
                               const vae_real *coarse, vae_real *fine, const vae_real *weight, const vae_real *bias,
                               int relu) {
    size_t       i;
    vaei_product p;
    memset(&p, 0, sizeof p);
    p.columns = (size_t)c->fine.channels;
    p.run = (size_t)c->coarse.channels;
    p.a = coarse;
    p.a_step = 1;
    p.b = weight;
    p.b_step = 1;
    p.b_column = p.run;
    p.c = fine;
    p.bias = bias;
    p.relu = relu;
    for (i = 0; i < c->phase_count; i++) {
        const vaei_phase *phase = &c->phases[i];
        p.rows = n * phase->rows;
        p.segments = phase->taps;
        p.a_rows = phase->from;
        p.a_segments = phase->from_taps;
        p.b_segments = phase->weight_taps;
        p.c_rows = phase->to;
        vaei_multiply(model->kernels, &p, vaei_slot(model, slot, model->plan.product_scratch));
    }
}

#ifndef VAE_INFERENCE_ONLY
VAEI_PRIVATE void vaei_connection_weights(const vae_model *model, size_t slot, const vaei_connection *c, size_t n,
                                          const vae_real *fine, const vae_real *coarse, vae_real *d_weight,
                                          int accumulate) {
    vaei_product p;
    memset(&p, 0, sizeof p);
    p.rows = (size_t)c->kernel_height * (size_t)c->kernel_width * (size_t)c->fine.channels;
    p.columns = (size_t)c->coarse.channels;
    p.segments = n * (size_t)c->coarse.height;
    p.run = (size_t)c->coarse.width;
    p.a_rows = c->weight_rows;
    p.a_segments = c->fine_lines;
    if (c->as_patches) {
        vae_real *patches = vaei_slot(model, slot, model->plan.patches);
        vaei_copy_patches(c, fine, n, patches);
        p.a = patches;
        p.a_step = p.rows;
    } else {
        p.a = fine;
        p.a_step = (size_t)c->stride_width * (size_t)c->fine.channels;
    }
    p.b = coarse;
    p.b_segments = c->coarse_lines;
    p.b_step = p.columns;
    p.b_column = 1;
    p.c = d_weight;
    p.c_row = p.columns;
    p.accumulate = accumulate;
    vaei_multiply(model->kernels, &p, vaei_slot(model, slot, model->plan.product_scratch));
}
#endif

/* The three products as they are defined, position by position: what the tests hold the others against. Images are
   flat, one after the other. */
VAEI_PRIVATE void vaei_convolve_naive(const vaei_connection *c, size_t n, const vae_real *fine, vae_real *coarse,
                                    const vae_real *weight, const vae_real *bias) {
    size_t image;
    int    y, x, s, ky, kx, b;
    for (image = 0; image < n; image++, fine += vaei_shape_size(c->fine))
        for (y = 0; y < c->coarse.height; y++)
            for (x = 0; x < c->coarse.width; x++)
                for (s = 0; s < c->coarse.channels; s++) {
                    double sum = bias ? (double)bias[s] : 0;
                    for (ky = 0; ky < c->kernel_height; ky++)
                        for (kx = 0; kx < c->kernel_width; kx++) {
                            const int py = y * c->stride_height + ky - c->top, px = x * c->stride_width + kx - c->left;
                            if (py < 0 || py >= c->fine.height || px < 0 || px >= c->fine.width) continue;
                            for (b = 0; b < c->fine.channels; b++)
                                sum += (double)fine[(py * c->fine.width + px) * c->fine.channels + b] *
                                       (double)weight[((ky * c->kernel_width + kx) * c->fine.channels + b) *
                                                      c->coarse.channels + s];
                        }
                    *coarse++ = (vae_real)sum;
                }
}

VAEI_PRIVATE void vaei_convolve_transposed_naive(const vaei_connection *c, size_t n, const vae_real *coarse, vae_real *fine,
                                     const vae_real *weight, const vae_real *bias) {
    size_t image, i;
    int    y, x, s, ky, kx, b;
    for (image = 0; image < n; image++, fine += vaei_shape_size(c->fine)) {
        for (i = 0; i < vaei_shape_size(c->fine); i++) fine[i] = bias ? bias[i % (size_t)c->fine.channels] : 0;
        for (y = 0; y < c->coarse.height; y++)
            for (x = 0; x < c->coarse.width; x++, coarse += c->coarse.channels)
                for (ky = 0; ky < c->kernel_height; ky++)
                    for (kx = 0; kx < c->kernel_width; kx++) {
                        const int py = y * c->stride_height + ky - c->top, px = x * c->stride_width + kx - c->left;
                        if (py < 0 || py >= c->fine.height || px < 0 || px >= c->fine.width) continue;
                        for (b = 0; b < c->fine.channels; b++)
                            for (s = 0; s < c->coarse.channels; s++)
                                fine[(py * c->fine.width + px) * c->fine.channels + b] +=
                                    coarse[s] * weight[((ky * c->kernel_width + kx) * c->fine.channels + b) *
                                                      c->coarse.channels + s];
                    }
    }
}

VAEI_PRIVATE void vaei_connection_weights_naive(const vaei_connection *c, size_t n, const vae_real *fine,
                                                const vae_real *coarse, vae_real *d_weight) {
    size_t image;
    int    y, x, s, ky, kx, b;
    for (image = 0; image < n; image++, fine += vaei_shape_size(c->fine))
        for (y = 0; y < c->coarse.height; y++)
            for (x = 0; x < c->coarse.width; x++, coarse += c->coarse.channels)
                for (ky = 0; ky < c->kernel_height; ky++)
                    for (kx = 0; kx < c->kernel_width; kx++) {
                        const int py = y * c->stride_height + ky - c->top, px = x * c->stride_width + kx - c->left;
                        if (py < 0 || py >= c->fine.height || px < 0 || px >= c->fine.width) continue;
                        for (b = 0; b < c->fine.channels; b++)
                            for (s = 0; s < c->coarse.channels; s++)
                                d_weight[((ky * c->kernel_width + kx) * c->fine.channels + b) * c->coarse.channels + s] +=
                                    fine[(py * c->fine.width + px) * c->fine.channels + b] * coarse[s];
                    }
}

/* Images from one layout into another of the same shape, line by line: never the borders. */
VAEI_PRIVATE void vaei_copy_images(size_t n, const vaei_image *from, const vae_real *source, const vaei_image *to,
                                   vae_real *target) {
    const size_t line = (size_t)from->width * (size_t)from->channels;
    size_t       i;
    int          y;
    for (i = 0; i < n; i++)
        for (y = 0; y < from->height; y++)
            memcpy(target + i * to->image + to->origin + (size_t)y * to->row,
                   source + i * from->image + from->origin + (size_t)y * from->row, line * sizeof(vae_real));
}

VAEI_PRIVATE void vaei_activate_images(const vae_model *model, vae_activation activation, size_t n,
                                       const vaei_image *image, const vae_real *from, vae_real *to) {
    const size_t line = (size_t)image->width * (size_t)image->channels;
    size_t       i;
    int          y;
    for (i = 0; i < n; i++)
        for (y = 0; y < image->height; y++) {
            const size_t at = i * image->image + image->origin + (size_t)y * image->row;
            vaei_activate(model->kernels, activation, line, from + at, to + at);
        }
}

VAEI_PRIVATE void vaei_activate_images_backward(const vae_model *model, vae_activation activation, size_t n,
                                                const vaei_image *saved_image, const vae_real *saved,
                                                const vaei_image *image, vae_real *d) {
    const size_t line = (size_t)image->width * (size_t)image->channels;
    size_t       i;
    int          y;
    if (activation == VAE_LINEAR) return;
    for (i = 0; i < n; i++)
        for (y = 0; y < image->height; y++)
            vaei_activate_backward(
                model->kernels, activation, line,
                saved + i * saved_image->image + saved_image->origin + (size_t)y * saved_image->row,
                d + i * image->image + image->origin + (size_t)y * image->row);
}

VAEI_PRIVATE void vaei_convolution_forward(const vaei_micro *micro, const vaei_layer *layer) {
    const vae_model *model = micro->pass->model;
    const vae_real  *in = vaei_at(model, layer->input.place, micro->slot, micro->first, layer->input.image.image);
    vae_real        *out = vaei_at(model, layer->output.place, micro->slot, micro->first, layer->output.image.image);
    vae_real        *before = out;
    const vae_real  *weight = model->parameters + layer->weight, *bias = model->parameters + layer->bias;
    if (model->plan.trains && layer->saves_input)
        before = vaei_at(model, layer->saved, micro->slot, micro->first, layer->output.image.image);
    if (layer->kind == VAE_LAYER_CONV)
        vaei_convolve(model, micro->slot, &layer->connection, micro->count, in, before, weight, bias,
                    layer->activation == VAE_RELU);
    else
        vaei_convolve_transposed(model, micro->slot, &layer->connection, micro->count, in, before, weight, bias,
                     layer->activation == VAE_RELU);
    if (vaei_separate_activation(layer->activation))
        vaei_activate_images(model, layer->activation, micro->count, &layer->output.image, before, out);
}

#ifndef VAE_INFERENCE_ONLY
/* The layer's output gradient, already taken through its activation, lies in its bordered place. */
VAEI_PRIVATE void vaei_convolution_backward(const vaei_micro *micro, const vaei_layer *layer, vae_real *d_in) {
    const vae_model *model = micro->pass->model;
    const vae_real  *in = vaei_at(model, layer->input.place, micro->slot, micro->first, layer->input.image.image);
    const vae_real  *d_out = vaei_at(model, layer->output_gradient.place, micro->slot, 0, 0);
    const vae_real  *weight = model->parameters + layer->weight;
    vae_real        *d_weight = micro->gradients + (layer->weight - micro->stage->parameter);
    vae_real        *d_bias = micro->gradients + (layer->bias - micro->stage->parameter);
    const size_t     channels = (size_t)layer->out.channels;
    /* The borders are zeros and may be summed along with the rest. */
    vaei_column_sums(model->kernels, micro->count * (layer->output_gradient.image.image / channels), channels, d_out,
                     channels, NULL, d_bias, micro->accumulate);
    if (layer->kind == VAE_LAYER_CONV) {
        vaei_connection_weights(model, micro->slot, &layer->connection, micro->count, in, d_out, d_weight,
                                micro->accumulate);
        if (d_in) vaei_convolve_transposed(model, micro->slot, &layer->connection, micro->count, d_out, d_in, weight, NULL, 0);
    } else {
        vaei_connection_weights(model, micro->slot, &layer->connection, micro->count, d_out, in, d_weight,
                                micro->accumulate);
        if (d_in) vaei_convolve(model, micro->slot, &layer->connection, micro->count, d_out, d_in, weight, NULL, 0);
    }
}
#endif

VAEI_PRIVATE void vaei_store_row(const vae_model *model, const vae_real *logits, vae_real *pixels);

/* ==== 25 >>likelihood ============================================================================================= */

#define VAEI_HALF_LOG_TWO_PI 0.91893853320467274178

/* What becomes of the logits of rows first .. first + count - 1: scored against their pixels and replaced by their
   gradient, or only scored, or decoded into the caller's array. */
VAEI_PRIVATE void vaei_finish_rows(const vaei_pass *pass, size_t first, size_t count, vae_real *logits) {
    vae_model             *model = pass->model;
    const vaei_kernel_set *kernels = model->kernels;
    const size_t           size = model->plan.example;
    const vae_real         inverse_variance = 1 / (model->config.sigma * model->config.sigma);
    const vae_real        *pixels = vaei_at(model, model->plan.pixels, 0, 0, 0);
    size_t                 i;
    for (i = first; i < first + count; i++, logits += size) {
        vae_real *gradient = pass->forward_only ? NULL : logits;
        if (pass->decoded) vaei_store_row(model, logits, pass->decoded + i * size);
        if (!pass->reconstruction) continue;
        if (model->config.likelihood == VAE_BERNOULLI)
            pass->reconstruction[i] =
                vaei_bernoulli(kernels, size, logits, pixels + i / pass->repeat * size, pass->scale, gradient);
        else
            pass->reconstruction[i] =
                vaei_gaussian(kernels, size, logits, pixels + i / pass->repeat * size, inverse_variance, pass->scale,
                              gradient) +
                (double)size * (VAEI_HALF_LOG_TWO_PI + vaei_scalar_log((double)model->config.sigma));
    }
}

VAEI_PRIVATE void vaei_finish_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_pass  *pass = (const vaei_pass *)opaque;
    const vaei_stage *last = &pass->model->plan.stages[pass->model->plan.stage_count - 1];
    (void)slot;
    vaei_finish_rows(pass, first, count, vaei_at(pass->model, last->output, 0, first, pass->model->plan.example));
}

/* ==== 26 >>stages ================================================================================================= */

VAEI_PRIVATE void vaei_forward_micro(const vaei_micro *micro) {
    const vae_model  *model = micro->pass->model;
    const vaei_stage *stage = micro->stage;
    const vaei_layer *first = &model->plan.layers[stage->first];
    const vaei_image  flat = vaei_flat_image(first->in);
    int               i;
    vaei_copy_images(micro->count, &flat, vaei_at(model, stage->input, 0, micro->first, flat.image),
                     &first->input.image, vaei_at(model, first->input.place, micro->slot, 0, 0));
    for (i = 0; i < stage->count; i++) vaei_convolution_forward(micro, &first[i]);
    if (stage->fused)
        vaei_finish_rows(micro->pass, micro->first, micro->count, vaei_at(model, stage->output, micro->slot, 0, 0));
}

#ifndef VAE_INFERENCE_ONLY
VAEI_PRIVATE void vaei_backward_micro(const vaei_micro *micro) {
    const vae_model  *model = micro->pass->model;
    const vaei_stage *stage = micro->stage;
    const vaei_layer *first = &model->plan.layers[stage->first], *layer = first + stage->count - 1;
    vae_real         *d_out = vaei_at(model, stage->output_gradient, micro->slot, micro->first, layer->outputs);
    const vaei_image  flat = vaei_flat_image(layer->out);
    if (layer->activation != VAE_LINEAR)
        vaei_activate_backward(model->kernels, layer->activation, micro->count * layer->outputs,
                               vaei_at(model, layer->saved, micro->slot, micro->first, layer->outputs), d_out);
    vaei_copy_images(micro->count, &flat, d_out, &layer->output_gradient.image,
                     vaei_at(model, layer->output_gradient.place, micro->slot, 0, 0));
    for (; layer > first; layer--) {
        const vaei_layer *below = layer - 1;
        vae_real         *d_in = vaei_at(model, layer->input_gradient.place, micro->slot, 0, 0);
        vaei_convolution_backward(micro, layer, d_in);
        vaei_activate_images_backward(
            model, below->activation, micro->count, &below->output.image,
            vaei_at(model, below->saved, micro->slot, micro->first, below->output.image.image),
            &below->output_gradient.image, d_in);
    }
    vaei_convolution_backward(
        micro, first, stage->first ? vaei_at(model, stage->input_gradient, 0, micro->first, first->inputs) : NULL);
}
#endif

typedef struct vaei_stage_context {
    const vaei_pass  *pass;
    const vaei_stage *stage;
    size_t            workers;
    int               forward, backward;
} vaei_stage_context;

/* Rows first .. end - 1 of a convolutional stage, micro-batch by micro-batch. */
VAEI_PRIVATE void vaei_stage_rows(const vaei_stage_context *work, size_t slot, size_t first, size_t end,
                                  vae_real *gradients) {
    const vae_model *model = work->pass->model;
    vaei_micro       micro;
    micro.pass = work->pass;
    micro.stage = work->stage;
    micro.slot = slot;
    micro.gradients = gradients;
    micro.accumulate = 0;
    for (micro.first = first; micro.first < end; micro.first += model->plan.micro) {
        micro.count = vaei_min_size(model->plan.micro, end - micro.first);
        if (work->forward) vaei_forward_micro(&micro);
#ifndef VAE_INFERENCE_ONLY
        if (work->backward) {
            if (!work->forward) {
                const vaei_layer *layer = &model->plan.layers[work->stage->first];
                const vaei_image  flat = vaei_flat_image(layer->in);
                vaei_copy_images(micro.count, &flat, vaei_at(model, work->stage->input, 0, micro.first, flat.image),
                                 &layer->input.image, vaei_at(model, layer->input.place, slot, 0, 0));
            }
            vaei_backward_micro(&micro);
            micro.accumulate = 1;
        }
#endif
    }
}

VAEI_PRIVATE void vaei_stage_task(void *opaque, size_t index) {
    const vaei_stage_context *work = (const vaei_stage_context *)opaque;
    const vae_model          *model = work->pass->model;
    const size_t              step = work->backward ? model->plan.chunk : model->plan.micro;
    size_t                    first;
    for (first = index * step; first < work->pass->count; first += work->workers * step)
        vaei_stage_rows(work, index, first, vaei_min_size(first + step, work->pass->count),
                        model->workspace + model->plan.partials + first / step * model->plan.partial_size);
}

#ifndef VAE_INFERENCE_ONLY
typedef struct vaei_sum_context {
    vae_real       *total;
    const vae_real *partials;
    size_t          chunks, size;
    int             accumulate;
    const vae_model *model;
} vaei_sum_context;

/* total [=, +=] partial 0, += partial 1, ...: in the same order whoever made them. */
VAEI_PRIVATE void vaei_sum_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_sum_context *work = (const vaei_sum_context *)opaque;
    size_t                  chunk;
    (void)slot;
    for (chunk = 0; chunk < work->chunks; chunk++) {
        const vae_real *partial = work->partials + chunk * work->size + first;
        if (!chunk && !work->accumulate) memcpy(work->total + first, partial, count * sizeof(vae_real));
        else work->model->kernels->add(count, work->total + first, partial);
    }
}
#endif

/* Chunks are independent of each other: the workers share them out. Without threads one area of weight gradients is
   enough, emptied after every chunk. */
VAEI_PRIVATE void vaei_convolutional_stage(const vaei_pass *pass, const vaei_stage *stage, int forward, int backward) {
    const vae_model   *model = pass->model;
    const size_t       step = backward ? model->plan.chunk : model->plan.micro;
    const size_t       pieces = (pass->count + step - 1) / step;
    vaei_stage_context work;
    work.pass = pass;
    work.stage = stage;
    work.forward = forward;
    work.backward = backward;
    work.workers = vaei_min_size((size_t)model->plan.threads, pieces);
    if (!backward) {
        vaei_run(model, vaei_stage_task, &work, work.workers);
        return;
    }
#ifndef VAE_INFERENCE_ONLY
    {
        vaei_sum_context sum;
        size_t           chunk;
        sum.total = model->gradients + stage->parameter;
        sum.partials = model->workspace + model->plan.partials;
        sum.size = model->plan.partial_size;
        sum.model = model;
        sum.accumulate = model->has_gradients;
        if (model->plan.threads > 1) {
            vaei_run(model, vaei_stage_task, &work, work.workers);
            sum.chunks = pieces;
            vaei_split(model, stage->parameter_count, 64, VAEI_PARALLEL_NUMBERS, vaei_sum_part, &sum);
            return;
        }
        sum.chunks = 1;
        for (chunk = 0; chunk < pieces; chunk++) {
            vaei_stage_rows(&work, 0, chunk * step, vaei_min_size((chunk + 1) * step, pass->count),
                            model->workspace + model->plan.partials);
            vaei_sum_part(&sum, 0, 0, stage->parameter_count);
            sum.accumulate = 1;
        }
    }
#endif
}

VAEI_PRIVATE void vaei_stage_forward(const vaei_pass *pass, const vaei_stage *stage) {
    int i;
    if (stage->convolutional) {
        vaei_convolutional_stage(pass, stage, 1, stage->fused && !pass->forward_only);
        return;
    }
    for (i = 0; i < stage->count; i++) vaei_dense_forward(pass, &pass->model->plan.layers[stage->first + i]);
}

/* rows -> heads */
VAEI_PRIVATE void vaei_encoder_forward(const vaei_pass *pass) {
    int i;
    for (i = 0; i < pass->model->plan.first_decoder_stage; i++) vaei_stage_forward(pass, &pass->model->plan.stages[i]);
}

/* z -> logits -> nats or pixels; in training the last stage also goes backward if it is convolutional */
VAEI_PRIVATE void vaei_decoder_forward(vaei_pass *pass) {
    const vaei_plan *plan = &pass->model->plan;
    int              i;
    for (i = plan->first_decoder_stage; i < plan->stage_count; i++) vaei_stage_forward(pass, &plan->stages[i]);
    if (!plan->stages[plan->stage_count - 1].fused)
        vaei_split(pass->model, pass->count, 1, vaei_max_size(1, VAEI_PARALLEL_NUMBERS / 4 / plan->example),
                   vaei_finish_part, pass);
}

#ifndef VAE_INFERENCE_ONLY
VAEI_PRIVATE void vaei_stage_backward(const vaei_pass *pass, const vaei_stage *stage) {
    int i;
    if (stage->convolutional) {
        if (!stage->fused) vaei_convolutional_stage(pass, stage, 0, 1);
        return;
    }
    for (i = stage->first + stage->count - 1; i >= stage->first; i--)
        vaei_dense_backward(pass, &pass->model->plan.layers[i], i > 0);
}
#endif

/* ==== 27 >>latent ================================================================================================= */

/* heads [count][mean latent, logvar latent] -> logvar bounded, z = mean + exp(logvar / 2) noise. The noise has been
   drawn. Kingma and Welling 2014, section 2.4. */
VAEI_PRIVATE vae_real *vaei_heads(const vae_model *model) {
    return vaei_at(model, model->plan.layers[model->plan.heads].output.place, 0, 0, 0);
}

/* logvar is held within [VAE_LOGVAR_MIN, VAE_LOGVAR_MAX], wide enough never to bind in a working model. NaN stays NaN.
   `bounded` may be raw. */
VAEI_PRIVATE void vaei_bound_logvar(size_t n, const vae_real *raw, vae_real *bounded) {
    size_t i;
    for (i = 0; i < n; i++) {
        const vae_real raised = VAE_LOGVAR_MIN > raw[i] ? VAE_LOGVAR_MIN : raw[i];
        bounded[i] = VAE_LOGVAR_MAX < raised ? VAE_LOGVAR_MAX : raised;
    }
}

/* A true derivative would be 0 outside and hold a value there for ever. Instead the gradient passes unless the bound
   binds and a step against the gradient would push further out: at the upper bound only gradients >= 0 pass, at the
   lower one only those <= 0. Needs the bounded values only. */
VAEI_PRIVATE void vaei_bound_logvar_backward(size_t n, const vae_real *bounded, vae_real *d) {
    size_t i;
    for (i = 0; i < n; i++) {
        if (!(bounded[i] < VAE_LOGVAR_MAX) && d[i] < 0) d[i] = 0;
        if (!(bounded[i] > VAE_LOGVAR_MIN) && d[i] > 0) d[i] = 0;
    }
}

VAEI_PRIVATE void vaei_bound_rows(const vaei_pass *pass) {
    const vae_model *model = pass->model;
    const size_t     latent = model->plan.latent;
    const vae_real  *heads = vaei_heads(model);
    vae_real        *logvar = vaei_at(model, model->plan.logvar, 0, 0, 0);
    size_t           i;
    for (i = 0; i < pass->count; i++)
        vaei_bound_logvar(latent, heads + i * 2 * latent + latent, logvar + i * latent);
}

VAEI_PRIVATE void vaei_latent_forward(const vaei_pass *pass, double *kl) {
    const vae_model *model = pass->model;
    const size_t     latent = model->plan.latent;
    const vae_real  *heads = vaei_heads(model), *noise = vaei_at(model, model->plan.noise, 0, 0, 0);
    const vae_real  *logvar = vaei_at(model, model->plan.logvar, 0, 0, 0);
    vae_real        *z = vaei_at(model, model->plan.z, 0, 0, 0);
    size_t           i;
    vaei_bound_rows(pass);
    for (i = 0; i < pass->count; i++) {
        const vae_real *mean = heads + i * 2 * latent;
        vaei_reparameterize(model->kernels, latent, mean, logvar + i * latent, noise + i * latent, z + i * latent);
        if (kl) kl[i] = vaei_gaussian_kl(model->kernels, latent, mean, logvar + i * latent);
    }
}

#ifndef VAE_INFERENCE_ONLY
/* d_mean = d_z + s mean, d_logvar = d_z noise exp(logvar / 2) / 2 + s (exp(logvar) - 1) / 2 with s = beta scale. */
VAEI_PRIVATE void vaei_latent_backward_rows(const vaei_pass *pass) {
    const vae_model *model = pass->model;
    const size_t     latent = model->plan.latent;
    const vaei_layer *layer = &model->plan.layers[model->plan.heads];
    const vae_real  *heads = vaei_heads(model), *noise = vaei_at(model, model->plan.noise, 0, 0, 0);
    const vae_real  *logvar = vaei_at(model, model->plan.logvar, 0, 0, 0);
    const vae_real  *d_z = vaei_at(model, model->plan.stages[model->plan.first_decoder_stage].input_gradient, 0, 0, 0);
    vae_real        *d_heads = vaei_at(model, layer->output_gradient.place, 0, 0, 0);
    size_t           i;
    for (i = 0; i < pass->count; i++) {
        const vae_real *mean = heads + i * 2 * latent;
        vae_real       *d_mean = d_heads + i * 2 * latent;
        vaei_latent_backward(model->kernels, latent, mean, logvar + i * latent, noise + i * latent, d_z + i * latent,
                             model->beta * pass->scale, d_mean, d_mean + latent);
        vaei_bound_logvar_backward(latent, logvar + i * latent, d_mean + latent);
    }
}
#endif

/* ==== 28 >>model-implementation =================================================================================== */

VAE_API const char *vae_status_name(vae_status status) {
    switch (status) {
    case VAE_OK: return "VAE_OK";
    case VAE_STOPPED: return "VAE_STOPPED";
    case VAE_ERROR_ARGUMENT: return "VAE_ERROR_ARGUMENT";
    case VAE_ERROR_CONFIG: return "VAE_ERROR_CONFIG";
    case VAE_ERROR_DATA: return "VAE_ERROR_DATA";
    case VAE_ERROR_NUMERIC: return "VAE_ERROR_NUMERIC";
    case VAE_ERROR_MEMORY: return "VAE_ERROR_MEMORY";
    case VAE_ERROR_FILE: return "VAE_ERROR_FILE";
    case VAE_ERROR_FORMAT: return "VAE_ERROR_FORMAT";
    case VAE_ERROR_UNSUPPORTED: return "VAE_ERROR_UNSUPPORTED";
    }
    return "unknown status";
}

/* ---- tensors, as PyTorch has them ---- */

/* Which layer and which of its tensors number `index` is. The heads count as four: mean and logvar, weight and bias. */
typedef struct vaei_tensor_place {
    const vaei_layer *layer;
    int               number;           /* of the layer in the array */
    int               bias;
    int               head;             /* 0: not a head, 1: mean, 2: logvar */
} vaei_tensor_place;

VAEI_PRIVATE vaei_tensor_place vaei_find_tensor(const vae_model *model, size_t index) {
    const size_t      heads = 2 * (size_t)model->plan.heads;
    vaei_tensor_place place;
    place.head = index < heads ? 0 : index < heads + 2 ? 1 : index < heads + 4 ? 2 : 0;
    if (index >= heads + 4) index -= 2;
    else if (index >= heads + 2) index -= 2;
    place.number = (int)(index / 2);
    place.layer = &model->plan.layers[place.number];
    place.bias = (int)(index % 2);
    return place;
}

VAE_API size_t vae_tensor_count(const vae_model *model) {
    return model ? 2 * (size_t)model->plan.layer_count + 2 : 0;
}

VAE_API vae_status vae_tensor_at(const vae_model *model, size_t index, vae_tensor *tensor, vae_error *error) {
    vaei_tensor_place place;
    vaei_text         text;
    const vaei_layer *layer;
    if (!model || !tensor) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_tensor_at: model or tensor is NULL");
    if (index >= vae_tensor_count(model))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "tensor %z does not exist: the model has %z", index,
                         vae_tensor_count(model));
    place = vaei_find_tensor(model, index);
    layer = place.layer;
    text.bytes = tensor->name;
    text.size = sizeof tensor->name;
    text.length = 0;
    if (place.head) vaei_format(&text, "%s.%s", place.head == 1 ? "mean" : "logvar", place.bias ? "bias" : "weight");
    else
        vaei_format(&text, "%s.%d.%s", place.number < model->plan.heads ? "encoder" : "decoder", layer->name_index,
                    place.bias ? "bias" : "weight");
    tensor->shape[0] = tensor->shape[1] = tensor->shape[2] = tensor->shape[3] = 1;
    if (place.bias) {
        tensor->rank = 1;
        tensor->shape[0] = place.head ? model->plan.latent : layer->bias_count;
    } else if (layer->kind == VAE_LAYER_DENSE) {
        tensor->rank = 2;
        tensor->shape[0] = place.head ? model->plan.latent : layer->outputs;
        tensor->shape[1] = layer->inputs;
    } else {
        const int transposed = layer->kind == VAE_LAYER_CONV_TRANSPOSED;
        tensor->rank = 4;
        tensor->shape[0] = (size_t)(transposed ? layer->in.channels : layer->out.channels);
        tensor->shape[1] = (size_t)(transposed ? layer->out.channels : layer->in.channels);
        tensor->shape[2] = (size_t)layer->connection.kernel_height;
        tensor->shape[3] = (size_t)layer->connection.kernel_width;
    }
    tensor->count = tensor->shape[0] * tensor->shape[1] * tensor->shape[2] * tensor->shape[3];
    return VAE_OK;
}

/* Number i of an image flattened channel-first, in the channels-last order. */
VAEI_PRIVATE size_t vaei_channels_last(vae_shape shape, size_t i) {
    const size_t positions = (size_t)shape.height * (size_t)shape.width;
    return i % positions * (size_t)shape.channels + i / positions;
}

/* Where element i of a tensor in PyTorch's order lies in the parameter block. */
VAEI_PRIVATE size_t vaei_tensor_element(const vae_model *model, size_t tensor, size_t i) {
    const vaei_tensor_place place = vaei_find_tensor(model, tensor);
    const vaei_layer       *layer = place.layer;
    const size_t            shift = place.head == 2 ? model->plan.latent : 0;
    if (layer->kind == VAE_LAYER_DENSE) {
        size_t out = place.bias ? i : i / layer->inputs, in = place.bias ? 0 : i % layer->inputs;
        if (layer->image_out) out = vaei_channels_last(layer->out, out);
        if (place.bias) return layer->bias + shift + out;
        if (layer->image_in) in = vaei_channels_last(layer->in, in);
        return layer->weight + in * layer->outputs + shift + out;
    }
    if (place.bias) return layer->bias + i;
    {
        /* [coarse or out][fine or in][height][width] here, [height][width][fine][coarse] there. */
        const vaei_connection *c = &layer->connection;
        const size_t window = (size_t)c->kernel_height * (size_t)c->kernel_width, tap = i % window;
        const size_t fine_channels = (size_t)c->fine.channels;
        const size_t fine = i / window % fine_channels, coarse = i / window / fine_channels;
        return layer->weight + (tap * fine_channels + fine) * (size_t)c->coarse.channels + coarse;
    }
}

VAEI_SETUP vae_status vaei_tensor_named(const vae_model *model, const char *name, size_t count, size_t *index,
                                          vae_error *error) {
    vae_tensor tensor;
    for (*index = 0; *index < vae_tensor_count(model); ++*index) {
        vae_tensor_at(model, *index, &tensor, NULL);
        if (strcmp(tensor.name, name)) continue;
        if (tensor.count == count) return VAE_OK;
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "tensor %s has %z numbers, not %z", name, tensor.count, count);
    }
    return vaei_fail(error, VAE_ERROR_ARGUMENT, "there is no tensor named %s: vae_tensor_at lists them", name);
}

/* Copies between PyTorch's order and a block laid out as the parameters. */
VAEI_SETUP void vaei_tensor_out(const vae_model *model, size_t index, const vae_real *block, vae_real *values,
                                  size_t count) {
    size_t i;
    for (i = 0; i < count; i++) values[i] = block[vaei_tensor_element(model, index, i)];
}

VAEI_SETUP void vaei_tensor_in(const vae_model *model, size_t index, vae_real *block, const vae_real *values,
                                 size_t count) {
    size_t i;
    for (i = 0; i < count; i++) block[vaei_tensor_element(model, index, i)] = values[i];
}

VAE_API vae_status vae_get_tensor(const vae_model *model, const char *name, vae_real *values, size_t count,
                                  vae_error *error) {
    size_t     index;
    vae_status status;
    if (!model || !name || !values) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_get_tensor: an argument is NULL");
    if ((status = vaei_tensor_named(model, name, count, &index, error)) != VAE_OK) return status;
    vaei_tensor_out(model, index, model->parameters, values, count);
    return VAE_OK;
}

VAE_API vae_status vae_set_tensor(vae_model *model, const char *name, const vae_real *values, size_t count,
                                  vae_error *error) {
    size_t     index, i;
    vae_status status;
    if (!model || !name || !values) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_set_tensor: an argument is NULL");
    if ((status = vaei_tensor_named(model, name, count, &index, error)) != VAE_OK) return status;
    for (i = 0; i < count; i++)
        if (!vaei_finite(values[i]))
            return vaei_fail(error, VAE_ERROR_DATA, "value %z for tensor %s is not finite", i, name);
    vaei_tensor_in(model, index, model->parameters, values, count);
    return VAE_OK;
}

#ifndef VAE_INFERENCE_ONLY
VAE_API vae_status vae_get_gradient(const vae_model *model, const char *name, vae_real *values, size_t count,
                                    vae_error *error) {
    size_t     index, i;
    vae_status status;
    if (!model || !name || !values)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_get_gradient: an argument is NULL");
    if (!model->gradients)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_get_gradient: the model was made inference_only");
    if ((status = vaei_tensor_named(model, name, count, &index, error)) != VAE_OK) return status;
    if (model->has_gradients) vaei_tensor_out(model, index, model->gradients, values, count);
    else for (i = 0; i < count; i++) values[i] = 0;
    return VAE_OK;
}
#endif

VAE_API size_t vae_parameter_count(const vae_model *model) { return model ? model->plan.parameter_count : 0; }
VAE_API vae_real *vae_parameters(vae_model *model) { return model ? model->parameters : NULL; }
VAE_API const vae_config *vae_get_config(const vae_model *model) { return model ? &model->config : NULL; }
VAE_API size_t vae_example_size(const vae_model *model) { return model ? model->plan.example : 0; }

/* ---- first weights ---- */

/* Drawn tensor by tensor in PyTorch's order, so that they do not depend on the inner layout. */
VAEI_SETUP void vaei_initialize_tensor(vae_model *model, size_t index) {
    const vaei_tensor_place place = vaei_find_tensor(model, index);
    const double            fan_in = (double)place.layer->fan_in;
    const double            fan_out = place.head ? (double)model->plan.latent : (double)place.layer->fan_out;
    const vae_initialization how = model->config.initialization;
    vae_tensor              tensor;
    vae_real                drawn[64], scale;
    size_t                  first, i;
    vae_tensor_at(model, index, &tensor, NULL);
    if (how == VAE_INIT_PYTORCH) scale = 1 / vaei_sqrt((vae_real)fan_in);
    else if (place.bias) scale = 0;
    else if (how == VAE_INIT_GLOROT) scale = vaei_sqrt((vae_real)(6 / (fan_in + fan_out)));
    else scale = vaei_sqrt((vae_real)(2 / fan_in));
    for (first = 0; first < tensor.count; first += 64) {
        const size_t count = vaei_min_size(64, tensor.count - first);
        vaei_random_elements(model->kernels, how == VAE_INIT_HE, model->config.seed, VAEI_STREAM_WEIGHTS, 0, index,
                             first, count, drawn);
        for (i = 0; i < count; i++) {
            const vae_real unit = how == VAE_INIT_HE ? drawn[i] : 2 * drawn[i] - 1;
            model->parameters[vaei_tensor_element(model, index, first + i)] = scale > 0 ? unit * scale : 0;
        }
    }
}

/* ---- create, destroy ---- */

/* Lays out model, parameters and workspace from `arena`. With arena->base NULL, `model` is scratch and only counts. */
VAEI_SETUP vae_status vaei_lay_out(vae_model *model, vaei_arena *arena, vae_error *error) {
    vae_status status = vaei_plan_network(&model->config, &model->plan, error);
    size_t     n = model->plan.parameter_count;
    if (status != VAE_OK) return status;
    if ((status = vaei_plan_memory(&model->plan, arena, error)) != VAE_OK) return status;
    model->parameters = vaei_take_reals(arena, n);
    if (model->plan.trains) {
        model->gradients = vaei_take_reals(arena, n);
        model->moment1 = vaei_take_reals(arena, n);
        model->moment2 = vaei_take_reals(arena, n);
    }
    model->workspace = vaei_take_reals(arena, model->plan.workspace_size);
    model->pool = NULL;
#ifdef VAEI_HAS_POOL
    if (model->plan.threads > 1 && !model->config.parallel.run)
        model->pool = (vaei_pool *)vaei_take(arena, 1, sizeof(vaei_pool));
#endif
    if (arena->overflow)
        return vaei_fail(error, VAE_ERROR_MEMORY,
                         "the network does not fit in memory: make `batch` or the layers smaller");
    return VAE_OK;
}

VAE_API vae_status vae_memory_needed(const vae_config *config, size_t *bytes, vae_error *error) {
    vae_model  model;
    vaei_arena arena;
    vae_status status;
    if (!bytes) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_memory_needed: bytes is NULL");
    memset(&model, 0, sizeof model);
    memset(&arena, 0, sizeof arena);
    if ((status = vae_defaults(config, &model.config, error)) != VAE_OK) return status;
    vaei_take(&arena, 1, sizeof(vae_model));
    if ((status = vaei_lay_out(&model, &arena, error)) != VAE_OK) return status;
    *bytes = arena.used + VAEI_ALIGNMENT;
    return VAE_OK;
}

VAE_API vae_status vae_create_in(const vae_config *config, void *memory, size_t bytes, vae_model **model,
                                 vae_error *error) {
    size_t     needed, i;
    vaei_arena arena;
    vae_model *made;
    vae_status status;
    if (!model || !memory) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_create_in: memory or model is NULL");
    if ((status = vae_memory_needed(config, &needed, error)) != VAE_OK) return status;
    if (bytes < needed)
        return vaei_fail(error, VAE_ERROR_MEMORY, "the model needs %z bytes, the memory given has %z", needed, bytes);
    memset(&arena, 0, sizeof arena);
    arena.base = (char *)memory + (VAEI_ALIGNMENT - (uintptr_t)memory % VAEI_ALIGNMENT) % VAEI_ALIGNMENT;
    memset(arena.base, 0, needed - VAEI_ALIGNMENT);     /* the borders of images, the moments */
    made = (vae_model *)vaei_take(&arena, 1, sizeof(vae_model));
    if ((status = vae_defaults(config, &made->config, error)) != VAE_OK) return status;
    if ((status = vaei_lay_out(made, &arena, error)) != VAE_OK) return status;
    made->bytes = needed;
    made->kernels = vaei_kernel_set_of(made->config.kernels);
    made->beta = vaei_setting(made->config.beta);
    made->learning_rate = vaei_setting(made->config.adam.learning_rate);
    for (i = 0; i < vae_tensor_count(made); i++) vaei_initialize_tensor(made, i);
#ifdef VAEI_HAS_POOL
    if (made->pool) vaei_pool_start(made->pool, made->plan.threads);
#endif
    *model = made;
    return VAE_OK;
}

VAE_API vae_status vae_create(const vae_config *config, vae_model **model, vae_error *error) {
    size_t     needed;
    void      *block;
    vae_model *made = NULL;
    vae_status status;
    if (!config || !model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_create: config or model is NULL");
    if ((status = vae_memory_needed(config, &needed, error)) != VAE_OK) return status;
    block = vaei_allocate(&config->allocator, needed);
    if (!block)
        return vaei_fail(error, VAE_ERROR_MEMORY, "%z bytes could not be allocated: make `batch` or the layers smaller",
                         needed);
    if ((status = vae_create_in(config, block, needed, &made, error)) != VAE_OK) {
        vaei_release(&config->allocator, block, needed);
        return status;
    }
    made->block = block;
    made->block_size = needed;
    *model = made;
    return VAE_OK;
}

VAE_API void vae_destroy(vae_model *model) {
    vae_allocator allocator;
    if (!model) return;
#ifdef VAEI_HAS_POOL
    if (model->pool) vaei_pool_stop(model->pool);
#endif
    allocator = model->config.allocator;
    if (model->block) vaei_release(&allocator, model->block, model->block_size);
}

/* ---- summary ---- */

VAEI_SETUP const char *vaei_activation_name(vae_activation activation) {
    static const char *const names[] = {
        "linear", "relu", "leaky_relu", "silu", "gelu", "tanh", "sigmoid", "softplus"
    };
    return names[activation];
}

VAEI_SETUP void vaei_pad(vaei_text *text, size_t column) {
    do vaei_put(text, ' ');
    while (text->length < column);
}

VAEI_SETUP void vaei_put_shape(vaei_text *text, vae_shape s) {
    if (s.height == 1 && s.width == 1) vaei_format(text, "%d", s.channels);
    else if (s.height == 1 && s.channels == 1) vaei_format(text, "%d", s.width);
    else vaei_format(text, "%d x %d x %d", s.height, s.width, s.channels);
}

/* Right-aligned, with a space between groups of three digits. */
VAEI_SETUP void vaei_put_grouped(vaei_text *text, size_t number, size_t width) {
    char   digits[32];
    size_t count = 0, i = 0;
    do {
        if (i && i % 3 == 0) digits[count++] = ' ';
        digits[count++] = (char)('0' + (int)(number % 10));
        i++;
    } while ((number /= 10) != 0);
    for (i = count; i < width; i++) vaei_put(text, ' ');
    while (count) vaei_put(text, digits[--count]);
}

VAEI_SETUP void vaei_put_bytes(vaei_text *text, size_t bytes) {
    if (bytes < 10000) vaei_format(text, "%z bytes", bytes);
    else if (bytes < 10000000) vaei_format(text, "%z KB", (bytes + 500) / 1000);
    else vaei_format(text, "%z MB", (bytes + 500000) / 1000000);
}

VAEI_SETUP void vaei_put_layer(vaei_text *text, const vaei_plan *plan, int number) {
    const vaei_layer *layer = &plan->layers[number];
    const size_t      start = text->length;
    if (number == plan->heads) vaei_put_string(text, "mean, logvar");
    else vaei_format(text, "%s.%d", number < plan->heads ? "encoder" : "decoder", layer->name_index);
    vaei_pad(text, start + 14);
    if (layer->kind == VAE_LAYER_DENSE) vaei_put_string(text, "dense");
    else {
        const vaei_connection *c = &layer->connection;
        vaei_format(text, "%s %dx%d", layer->kind == VAE_LAYER_CONV ? "conv" : "conv transposed", c->kernel_height,
                    c->kernel_width);
        if (c->stride_height > 1 || c->stride_width > 1) {
            vaei_format(text, " /%d", c->stride_height);
            if (c->stride_height != c->stride_width) vaei_format(text, "x%d", c->stride_width);
        }
    }
    vaei_pad(text, start + 38);
    vaei_put_string(text, layer->activation == VAE_LINEAR ? "" : vaei_activation_name(layer->activation));
    vaei_pad(text, start + 50);
    vaei_put_shape(text, layer->out);
    vaei_pad(text, start + 66);
    vaei_put_grouped(text, layer->weight_count + layer->bias_count, 13);
    vaei_put(text, '\n');
}

VAE_API size_t vae_summary(const vae_model *model, char *buffer, size_t size) {
    vaei_text        text;
    const vaei_plan *plan;
    size_t           parameter_bytes;
    int              i;
    text.bytes = buffer;
    text.size = buffer ? size : 0;
    text.length = 0;
    if (!model) return 0;
    plan = &model->plan;
    vaei_put_string(&text, "layer         kind                    activation  output             parameters\n");
    vaei_put_string(&text, "input                                             ");
    vaei_put_shape(&text, model->config.input);
    vaei_put(&text, '\n');
    for (i = 0; i < plan->layer_count; i++) {
        vaei_put_layer(&text, plan, i);
        if (i == plan->heads)
            vaei_format(&text, "z                                                 %d\n", model->config.latent);
    }
    vaei_put_string(&text, "total                                                             ");
    vaei_put_grouped(&text, plan->parameter_count, 13);
    parameter_bytes = plan->parameter_count * sizeof(vae_real);
    vaei_put_string(&text, "\nmemory: parameters ");
    vaei_put_bytes(&text, parameter_bytes);
    if (plan->trains) {
        vaei_put_string(&text, ", gradients and moments ");
        vaei_put_bytes(&text, 3 * parameter_bytes);
    }
    vaei_put_string(&text, ", workspace ");
    vaei_put_bytes(&text, model->bytes - (plan->trains ? 4 : 1) * parameter_bytes);
    vaei_format(&text, "\nbatches of %z, %d thread%s, kernels %s\n", plan->batch, plan->threads,
                plan->threads == 1 ? "" : "s", vae_kernels_name(model->config.kernels));
    if (text.size) text.bytes[vaei_min_size(text.length, text.size - 1)] = 0;
    return text.length;
}

#ifndef VAE_NO_STDIO
VAE_API void vae_print_summary(const vae_model *model) {
    char text[8192];        /* 33 layers of 80 characters and the rest: always enough */
    vae_summary(model, text, sizeof text);
    fputs(model ? text : "", stdout);
}
#endif

/* ==== 29 >>batch ================================================================================================== */

/* Rows of the caller's data on their way into the workspace, checked and put channels last. */
typedef struct vaei_rows {
    vae_model          *model;
    const vae_data     *data;
    size_t              first;          /* of the batch, in the (shuffled) data */
    const vaei_shuffle *shuffle;        /* or NULL */
    struct { int found; size_t place, row, column; } bad[VAEI_MAX_THREADS];     /* the first in each worker's share */
} vaei_rows;

/* A channel-first image as channels last, and back. */
VAEI_PRIVATE void vaei_to_channels_last(vae_shape s, const vae_real *from, vae_real *to) {
    const size_t positions = (size_t)s.height * (size_t)s.width, channels = (size_t)s.channels;
    size_t       p, c;
    for (p = 0; p < positions; p++)
        for (c = 0; c < channels; c++) *to++ = from[c * positions + p];
}

VAEI_PRIVATE void vaei_load_part(void *opaque, size_t slot, size_t first, size_t count) {
    vaei_rows             *rows = (vaei_rows *)opaque;
    vae_model             *model = rows->model;
    const vaei_kernel_set *kernels = model->kernels;
    const size_t           size = model->plan.example;
    const int              bernoulli = model->config.likelihood == VAE_BERNOULLI;
    const vae_real         low = bernoulli ? 0 : -VAEI_LARGEST, high = bernoulli ? 1 : VAEI_LARGEST;
    const int              swap = model->config.layout == VAE_CHANNELS_FIRST && model->config.input.channels > 1;
    size_t                 i, k;
    for (i = first; i < first + count; i++) {
        const size_t row = rows->shuffle ? (size_t)vaei_shuffled(rows->shuffle, rows->first + i) : rows->first + i;
        vae_real    *to = vaei_at(model, model->plan.pixels, 0, i, size);
        if (rows->data->bytes) {
            const unsigned char *bytes = rows->data->bytes + row * size;
            if (!swap) { kernels->bytes_to_real(size, bytes, to); continue; }
            for (k = 0; k < size; k++) to[vaei_channels_last(model->config.input, k)] = (vae_real)bytes[k] / 255;
        } else {
            const vae_real *pixels = rows->data->pixels + row * size;
            const size_t    column = kernels->check_range(size, pixels, low, high);
            if (column < size) {
                if (rows->bad[slot].found) return;
                rows->bad[slot].found = 1;
                rows->bad[slot].place = i;
                rows->bad[slot].row = row;
                rows->bad[slot].column = column;
                return;
            }
            if (swap) vaei_to_channels_last(model->config.input, pixels, to);
            else memcpy(to, pixels, size * sizeof(vae_real));
        }
    }
}

/* Rows first .. first + count - 1 of the data, in shuffled order if there is one, become the batch. */
VAEI_PRIVATE vae_status vaei_load_rows(vae_model *model, const vae_data *data, size_t first, size_t count,
                                       const vaei_shuffle *shuffle, vae_error *error) {
    vaei_rows rows;
    size_t    slot, worst = VAEI_MAX_THREADS;
    memset(&rows, 0, sizeof rows);
    rows.model = model;
    rows.data = data;
    rows.first = first;
    rows.shuffle = shuffle;
    vaei_split(model, count, 1, vaei_max_size(1, 4 * VAEI_PARALLEL_NUMBERS / model->plan.example), vaei_load_part,
               &rows);
    for (slot = VAEI_MAX_THREADS; slot-- > 0;)
        if (rows.bad[slot].found && (worst == VAEI_MAX_THREADS || rows.bad[slot].place < rows.bad[worst].place))
            worst = slot;
    if (worst == VAEI_MAX_THREADS) return VAE_OK;
    {
        const size_t row = rows.bad[worst].row, column = rows.bad[worst].column;
        const double value = (double)data->pixels[row * model->plan.example + column];
        if (model->config.likelihood == VAE_BERNOULLI)
            return vaei_fail(error, VAE_ERROR_DATA, "row %z, column %z holds %r: VAE_BERNOULLI needs pixels in [0, 1]; "
                             "divide them by their maximum, or use VAE_GAUSSIAN", row, column, value);
        return vaei_fail(error, VAE_ERROR_DATA, "row %z, column %z holds %r: pixels must be finite", row, column,
                         value);
    }
}

/* The inverse for results: logits of one example as pixels in the caller's layout. */
VAEI_PRIVATE void vaei_store_row(const vae_model *model, const vae_real *logits, vae_real *pixels) {
    const size_t         size = model->plan.example;
    const vae_activation activation = model->config.likelihood == VAE_BERNOULLI ? VAE_SIGMOID : VAE_LINEAR;
    if (model->config.layout == VAE_CHANNELS_FIRST && model->config.input.channels > 1) {
        size_t k;
        for (k = 0; k < size; k++) pixels[k] = logits[vaei_channels_last(model->config.input, k)];
        vaei_activate(model->kernels, activation, size, pixels, pixels);
    } else vaei_activate(model->kernels, activation, size, logits, pixels);
}

VAEI_SETUP vae_status vaei_check_data(const vae_model *model, const vae_data *data, const char *call,
                                        vae_error *error) {
    size_t numbers;
    if (!model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: model is NULL", call);
    if (!data) return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: data is NULL", call);
    if (!data->count) return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: data.count is 0: give at least one row", call);
    if (!data->pixels == !data->bytes)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: data has %s pixels and bytes: set one of them", call,
                         data->pixels ? "both" : "neither");
    if (!vaei_multiply_sizes(data->count, model->plan.example, &numbers) || numbers > (size_t)-1 / sizeof(vae_real))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: data.count is %z, more than fits in memory", call,
                         data->count);
    return VAE_OK;
}

VAEI_PRIVATE void vaei_begin_pass(vaei_pass *pass, vae_model *model, size_t count) {
    memset(pass, 0, sizeof *pass);
    pass->model = model;
    pass->count = count;
    pass->forward_only = 1;
    pass->repeat = 1;
}

/* The standard normals of rows first .. first + count - 1 in one stream, into the workspace. */
VAEI_PRIVATE void vaei_draw_noise(vae_model *model, uint32_t stream, uint64_t step, uint64_t first, size_t count) {
    vaei_normal_rows(model->kernels, model->config.seed, stream, step, first, count, model->plan.latent,
                     vaei_at(model, model->plan.noise, 0, 0, 0));
}

VAEI_PRIVATE double *vaei_row_terms(const vae_model *model) {
    return (double *)(void *)vaei_at(model, model->plan.row_terms, 0, 0, 0);
}

VAEI_PRIVATE vae_terms vaei_terms_of(double reconstruction, double kl, vae_real beta) {
    vae_terms terms;
    terms.reconstruction = reconstruction;
    terms.kl = kl;
    terms.elbo = -(reconstruction + kl);
    terms.loss = reconstruction + (double)beta * kl;
    return terms;
}

/* ==== 30 >>inference-implementation =============================================================================== */

/* Rows of data through the encoder, a workspace full at a time; the caller takes what it wants of each. */
VAEI_APART vae_status vaei_encode_rows(vae_model *model, const vae_data *data, size_t first, vaei_pass *pass,
                                       vae_error *error) {
    const size_t count = vaei_min_size(model->plan.rows, data->count - first);
    vae_status   status = vaei_load_rows(model, data, first, count, NULL, error);
    if (status != VAE_OK) return status;
    vaei_begin_pass(pass, model, count);
    vaei_encoder_forward(pass);
    vaei_bound_rows(pass);
    return VAE_OK;
}

/* So that a bad row late in the data leaves the caller's arrays, and the model in training, as they were. */
VAEI_APART vae_status vaei_check_pixels(vae_model *model, const vae_data *data, vae_error *error) {
    const size_t size = model->plan.example;
    const int    bernoulli = model->config.likelihood == VAE_BERNOULLI;
    size_t       row;
    if (data->bytes) return VAE_OK;
    for (row = 0; row < data->count; row++) {
        const size_t column = model->kernels->check_range(size, data->pixels + row * size,
                                                          bernoulli ? 0 : -VAEI_LARGEST, bernoulli ? 1 : VAEI_LARGEST);
        if (column < size) return vaei_load_rows(model, data, row, 1, NULL, error);
    }
    return VAE_OK;
}

/* Whether `count` rows of the model's largest kind fit in memory at all. */
VAEI_SETUP vae_status vaei_check_count(const vae_model *model, size_t count, const char *call, vae_error *error) {
    const size_t largest = vaei_max_size(model->plan.example, model->plan.latent);
    if (count <= (size_t)-1 / sizeof(vae_real) / largest) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: count is %z, more than fits in memory", call, count);
}

VAE_API vae_status vae_encode(vae_model *model, const vae_data *data, vae_real *mean, vae_real *logvar,
                              vae_error *error) {
    size_t     first, i;
    vaei_pass  pass;
    vae_status status = vaei_check_data(model, data, "vae_encode", error);
    if (status == VAE_OK) status = vaei_check_pixels(model, data, error);
    for (first = 0; status == VAE_OK && first < data->count; first += pass.count) {
        const size_t latent = model->plan.latent;
        status = vaei_encode_rows(model, data, first, &pass, error);
        if (status != VAE_OK) break;
        for (i = 0; mean && i < pass.count; i++)
            memcpy(mean + (first + i) * latent, vaei_heads(model) + 2 * i * latent, latent * sizeof(vae_real));
        if (logvar)
            memcpy(logvar + first * latent, vaei_at(model, model->plan.logvar, 0, 0, 0),
                   pass.count * latent * sizeof(vae_real));
    }
    return status;
}

VAE_API vae_status vae_decode(vae_model *model, const vae_real *z, size_t count, vae_real *pixels, vae_error *error) {
    size_t first, i;
    if (!model || ((!z || !pixels) && count))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_decode: model, z or pixels is NULL");
    if (vaei_check_count(model, count, "vae_decode", error) != VAE_OK) return VAE_ERROR_ARGUMENT;
    for (i = 0; i < count * model->plan.latent; i++)
        if (!vaei_finite(z[i]))
            return vaei_fail(error, VAE_ERROR_DATA, "z of row %z, dimension %z is not finite", i / model->plan.latent,
                             i % model->plan.latent);
    for (first = 0; first < count; first += model->plan.rows) {
        vaei_pass pass;
        vaei_begin_pass(&pass, model, vaei_min_size(model->plan.rows, count - first));
        memcpy(vaei_at(model, model->plan.z, 0, 0, 0), z + first * model->plan.latent,
               pass.count * model->plan.latent * sizeof(vae_real));
        pass.decoded = pixels + first * model->plan.example;
        vaei_decoder_forward(&pass);
    }
    return VAE_OK;
}

VAE_API vae_status vae_reconstruct(vae_model *model, const vae_data *data, vae_real *pixels, vae_error *error) {
    size_t     first, i;
    vaei_pass  pass;
    vae_status status = vaei_check_data(model, data, "vae_reconstruct", error);
    if (status == VAE_OK && !pixels) status = vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_reconstruct: pixels is NULL");
    if (status == VAE_OK) status = vaei_check_pixels(model, data, error);
    for (first = 0; status == VAE_OK && first < data->count; first += pass.count) {
        const size_t latent = model->plan.latent;
        status = vaei_encode_rows(model, data, first, &pass, error);
        if (status != VAE_OK) break;
        for (i = 0; i < pass.count; i++)
            memcpy(vaei_at(model, model->plan.z, 0, i, latent), vaei_heads(model) + 2 * i * latent,
                   latent * sizeof(vae_real));
        pass.decoded = pixels + first * model->plan.example;
        vaei_decoder_forward(&pass);
    }
    return status;
}

VAE_API vae_status vae_sample_latent(vae_model *model, size_t count, vae_real *z, vae_error *error) {
    if (!model || (!z && count)) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_sample_latent: model or z is NULL");
    if (vaei_check_count(model, count, "vae_sample_latent", error) != VAE_OK) return VAE_ERROR_ARGUMENT;
    vaei_normal_rows(model->kernels, model->config.seed, VAEI_STREAM_SAMPLES, 0, model->samples_drawn, count,
                     model->plan.latent, z);
    model->samples_drawn += count;
    return VAE_OK;
}

VAE_API vae_status vae_sample(vae_model *model, size_t count, vae_real *pixels, vae_error *error) {
    size_t first;
    if (!model || (!pixels && count))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_sample: model or pixels is NULL");
    if (vaei_check_count(model, count, "vae_sample", error) != VAE_OK) return VAE_ERROR_ARGUMENT;
    for (first = 0; first < count; first += model->plan.rows) {
        vaei_pass pass;
        vaei_begin_pass(&pass, model, vaei_min_size(model->plan.rows, count - first));
        vae_sample_latent(model, pass.count, vaei_at(model, model->plan.z, 0, 0, 0), NULL);
        pass.decoded = pixels + first * model->plan.example;
        vaei_decoder_forward(&pass);
    }
    return VAE_OK;
}

VAE_API vae_status vae_elbo(vae_model *model, const vae_data *data, vae_terms *mean, vae_terms *each,
                            vae_error *error) {
    double     reconstruction = 0, kl = 0;
    size_t     first, i;
    vaei_pass  pass;
    vae_status status = vaei_check_data(model, data, "vae_elbo", error);
    if (status == VAE_OK) status = vaei_check_pixels(model, data, error);
    if (status != VAE_OK) return status;
    for (first = 0; first < data->count; first += pass.count) {
        double *row_kl;
        if ((status = vaei_encode_rows(model, data, first, &pass, error)) != VAE_OK) return status;
        pass.reconstruction = vaei_row_terms(model);
        row_kl = pass.reconstruction + model->plan.batch;
        vaei_draw_noise(model, VAEI_STREAM_EVALUATION, 0, first, pass.count);
        vaei_latent_forward(&pass, row_kl);
        vaei_decoder_forward(&pass);
        for (i = 0; i < pass.count; i++) {
            reconstruction += pass.reconstruction[i];
            kl += row_kl[i];
            if (each) each[first + i] = vaei_terms_of(pass.reconstruction[i], row_kl[i], model->beta);
        }
    }
    if (mean) *mean = vaei_terms_of(reconstruction / (double)data->count, kl / (double)data->count, model->beta);
    return VAE_OK;
}

/* log (exp a + exp b) */
VAEI_PRIVATE double vaei_add_logs(double a, double b) {
    const double larger = a > b ? a : b, smaller = a > b ? b : a;
    if (larger - larger != 0) return larger;        /* both are -inf: their difference would be NaN */
    return larger + vaei_scalar_log(1 + vaei_scalar_exp(smaller - larger));
}

/* log p(z) - log q(z | x) for one row: the sum over dimensions of (noise^2 + logvar - z^2) / 2, in which nothing is
   divided by the standard deviation. */
VAEI_PRIVATE double vaei_log_weight(size_t latent, const vae_real *noise, const vae_real *logvar, const vae_real *z) {
    double sum = 0;
    size_t i;
    for (i = 0; i < latent; i++)
        sum += (double)noise[i] * (double)noise[i] + (double)logvar[i] - (double)z[i] * (double)z[i];
    return sum / 2;
}

/* One turn of the rows of a batch: each takes as many samples as the workspace holds, rows of their own behind the same
   pixels. Heads and logvar of row r stay in place r; its sample s is row r * pass.repeat + s of noise, z and
   reconstruction. Rows may be worked on in any order. */
typedef struct vaei_importance {
    vaei_pass pass;
    size_t    first_row, done;      /* of the data, and samples of each row in earlier turns */
    double   *log_sums;             /* per row: the log of the sum of its samples' weights */
} vaei_importance;

#define VAEI_PARALLEL_SAMPLES 1024      /* numbers of z worth another thread, drawn or weighed */

VAEI_PRIVATE void vaei_draw_samples(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_importance *turn = (const vaei_importance *)opaque;
    const vae_model       *model = turn->pass.model;
    const size_t           latent = model->plan.latent, samples = turn->pass.repeat;
    size_t                 row, s;
    (void)slot;
    for (row = first; row < first + count; row++) {
        const vae_real *mean = vaei_heads(model) + 2 * row * latent;
        const vae_real *logvar = vaei_at(model, model->plan.logvar, 0, row, latent);
        vae_real       *noise = vaei_at(model, model->plan.noise, 0, row * samples, latent);
        vae_real       *z = vaei_at(model, model->plan.z, 0, row * samples, latent);
        vaei_normal_rows(model->kernels, model->config.seed, VAEI_STREAM_LIKELIHOOD, turn->first_row + row, turn->done,
                         samples, latent, noise);
        for (s = 0; s < samples; s++)
            vaei_reparameterize(model->kernels, latent, mean, logvar, noise + s * latent, z + s * latent);
    }
}

VAEI_PRIVATE void vaei_weigh_samples(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_importance *turn = (const vaei_importance *)opaque;
    const vae_model       *model = turn->pass.model;
    const size_t           latent = model->plan.latent, samples = turn->pass.repeat;
    size_t                 row, s;
    (void)slot;
    for (row = first; row < first + count; row++)
        for (s = 0; s < samples; s++) {
            const size_t i = row * samples + s;
            const double weight = vaei_log_weight(latent, vaei_at(model, model->plan.noise, 0, i, latent),
                                                  vaei_at(model, model->plan.logvar, 0, row, latent),
                                                  vaei_at(model, model->plan.z, 0, i, latent)) -
                                  turn->pass.reconstruction[i];
            turn->log_sums[row] = turn->done + s ? vaei_add_logs(turn->log_sums[row], weight) : weight;
        }
}

VAEI_PRIVATE void vaei_importance_samples(vaei_importance *turn, size_t samples) {
    const vae_model *model = turn->pass.model;
    const size_t     rows = turn->pass.count, most = model->plan.rows / rows;
    for (turn->done = 0; turn->done < samples; turn->done += turn->pass.repeat) {
        size_t grain;
        turn->pass.repeat = vaei_min_size(most, samples - turn->done);
        turn->pass.count = rows * turn->pass.repeat;
        grain = vaei_max_size(1, VAEI_PARALLEL_SAMPLES / (turn->pass.repeat * model->plan.latent));
        vaei_split(model, rows, 1, grain, vaei_draw_samples, turn);
        vaei_decoder_forward(&turn->pass);
        vaei_split(model, rows, 1, grain, vaei_weigh_samples, turn);
    }
}

VAE_API vae_status vae_log_likelihood(vae_model *model, const vae_data *data, size_t samples, double *mean,
                                      double *each, vae_error *error) {
    double          sum = 0;
    size_t          first, rows, i;
    vaei_importance turn;
    vae_status      status = vaei_check_data(model, data, "vae_log_likelihood", error);
    if (status == VAE_OK && !samples)
        status = vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_log_likelihood: samples is 0: give at least 1");
    if (status == VAE_OK) status = vaei_check_pixels(model, data, error);
    if (status != VAE_OK) return status;
    for (first = 0; first < data->count; first += rows) {
        if ((status = vaei_encode_rows(model, data, first, &turn.pass, error)) != VAE_OK) return status;
        rows = turn.pass.count;
        turn.first_row = first;
        turn.pass.reconstruction = vaei_row_terms(model);
        turn.log_sums = turn.pass.reconstruction + model->plan.batch;
        vaei_importance_samples(&turn, samples);
        for (i = 0; i < rows; i++) {
            const double log_p = turn.log_sums[i] - vaei_scalar_log((double)samples);
            sum += log_p;
            if (each) each[first + i] = log_p;
        }
    }
    if (mean) *mean = sum / (double)data->count;
    return VAE_OK;
}

/* ==== 31 >>training-implementation ================================================================================ */
#ifndef VAE_INFERENCE_ONLY

VAEI_SETUP vae_status vaei_check_trains(const vae_model *model, const char *call, vae_error *error) {
    if (!model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: model is NULL", call);
    if (!model->plan.trains)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: the model was made inference_only and keeps no gradients",
                         call);
    return VAE_OK;
}

/* The batch in the workspace, forward and backward: adds to the gradients. With `updates` the gradients of dense
   layers' weights are left to vaei_update. */
VAEI_PRIVATE vae_status vaei_train_rows(vae_model *model, size_t count, size_t first, size_t total, int updates,
                                        vae_terms *terms, vae_error *error) {
    double    reconstruction = 0, kl = 0, *row_kl;
    size_t    i;
    int       s;
    vaei_pass pass;
    vaei_begin_pass(&pass, model, count);
    pass.forward_only = 0;
    pass.updates = updates;
    pass.scale = (vae_real)(1 / (double)total);
    pass.reconstruction = vaei_row_terms(model);
    row_kl = pass.reconstruction + model->plan.batch;
    vaei_encoder_forward(&pass);
    vaei_draw_noise(model, VAEI_STREAM_TRAINING, model->step, first, count);
    vaei_latent_forward(&pass, row_kl);
    vaei_decoder_forward(&pass);
    for (i = 0; i < count; i++) {
        reconstruction += pass.reconstruction[i];
        kl += row_kl[i];
    }
    if (!(reconstruction - reconstruction == 0) || !(kl - kl == 0)) {
        model->has_gradients = 0;
        return vaei_fail(error, VAE_ERROR_NUMERIC,
                         "step %z: the loss is not finite (reconstruction %r, kl %r); the weights "
                         "were not changed: lower the learning rate",
                         (size_t)model->step + 1, reconstruction, kl);
    }
    for (s = model->plan.stage_count - 1; s >= 0; s--) {
        vaei_stage_backward(&pass, &model->plan.stages[s]);
        if (s == model->plan.first_decoder_stage) vaei_latent_backward_rows(&pass);
    }
    model->has_gradients = !updates;
    if (terms) *terms = vaei_terms_of(reconstruction / (double)count, kl / (double)count, model->beta);
    return VAE_OK;
}

/* ---- Adam (Kingma and Ba 2015, algorithm 1) ---- */

typedef struct vaei_adam_context {
    vae_model        *model;
    size_t            base;                     /* where in the parameter block */
    const vaei_layer *layer;                    /* in vaei_update: whose weights, */
    size_t            examples;                 /* ... of how many examples, */
    vaei_product      product;                  /* ... their gradient, */
    size_t            rows;                     /* ... of which so many rows are made at a time, */
    vae_real         *room;                     /* ... each thread's here, */
    vae_real         *packed;                   /* ... with its B packed there; NULL: as it lies; */
    int               is_outer;                 /* ... or of one example: a row is a multiple of the gradient's */
    vaei_adam_step    step;
    const vae_real   *numbers;                  /* in vaei_are_within */
    vae_real          most;
    int               beyond[VAEI_MAX_THREADS];
} vaei_adam_context;

VAEI_PRIVATE void vaei_begin_adam(vaei_adam_context *work, vae_model *model) {
    const vae_adam *adam = &model->config.adam;
    memset(work, 0, sizeof *work);
    work->model = model;
    work->step = vaei_adam_step_of((double)model->learning_rate, (double)vaei_setting(adam->beta1),
                                   (double)vaei_setting(adam->beta2), (double)adam->epsilon, model->step + 1);
}

VAEI_PRIVATE void vaei_within_part(void *opaque, size_t slot, size_t first, size_t count) {
    vaei_adam_context *work = (vaei_adam_context *)opaque;
    work->beyond[slot] = !work->model->kernels->all_within(count, work->numbers + first, work->most);
}

/* Is every |number| <= most, a finite number? */
VAEI_PRIVATE int vaei_are_within(vaei_adam_context *work, const vae_real *numbers, size_t count, vae_real most) {
    size_t i;
    work->numbers = numbers;
    work->most = most;
    vaei_split(work->model, count, 64, 4 * VAEI_PARALLEL_NUMBERS, vaei_within_part, work);
    for (i = 0; i < VAEI_MAX_THREADS; i++) if (work->beyond[i]) return 0;
    return 1;
}

/* Parameters at .. at + rows * count - 1, in rows whose gradients are multiples of g. */
VAEI_PRIVATE void vaei_adam_rows(const vaei_adam_context *work, size_t at, size_t rows, size_t count,
                                 const vae_real *factors, const vae_real *g) {
    vae_model *model = work->model;
    vaei_adam(model->kernels, &work->step, rows, count, model->parameters + at, factors, g, model->moment1 + at,
              model->moment2 + at);
}

/* Parameters at .. at + count - 1. */
VAEI_PRIVATE void vaei_adam_at(const vaei_adam_context *work, size_t at, size_t count, const vae_real *gradients) {
    static const vae_real one = 1;
    vaei_adam_rows(work, at, 1, count, &one, gradients);
}

VAEI_PRIVATE void vaei_adam_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_adam_context *work = (const vaei_adam_context *)opaque;
    const size_t             at = work->base + first;
    (void)slot;
    vaei_adam_at(work, at, count, work->model->gradients + at);
}

VAEI_PRIVATE void vaei_adam_span(vaei_adam_context *work, size_t base, size_t count) {
    work->base = base;
    vaei_split(work->model, count, 64, VAEI_PARALLEL_NUMBERS, vaei_adam_part, work);
}

VAE_API vae_status vae_apply_gradients(vae_model *model, vae_error *error) {
    vaei_adam_context work;
    vae_status        status = vaei_check_trains(model, "vae_apply_gradients", error);
    if (status != VAE_OK) return status;
    (void)vae_gradients(model);
    vaei_begin_adam(&work, model);
    model->has_gradients = 0;
    if (!vaei_are_within(&work, model->gradients, model->plan.parameter_count, VAEI_LARGEST))
        return vaei_fail(error, VAE_ERROR_NUMERIC,
                         "step %z: a gradient is not finite; the weights were not changed: "
                         "lower the learning rate",
                         (size_t)model->step + 1);
    vaei_adam_span(&work, 0, model->plan.parameter_count);
    model->step++;
    return VAE_OK;
}

/* ---- an update without the whole gradient ----

   A dense layer's weights are most of a model, and a step that writes their gradients, looks for infinities, and reads
   them again for Adam is bound by memory. So vae_train_step and vae_fit finish the backward pass first, compute the
   gradients a few rows at a time, always into the same place, and use them while they are in the cache: 1.3 times as
   fast for a batch of one, 1.1 times for 128 (784-400-20). That nothing changes where a gradient is not finite must
   then be known beforehand, from the factors. */

#define VAEI_UPDATE_NUMBERS 65536       /* of gradients at a time, 256 KB: half is as good, a quarter costs 2%; */
#define VAEI_SWEPT_UPDATE_NUMBERS 16384 /* ... but with sweeps, which mostly write them, the quarter is 3% faster */
#define VAEI_UPDATE_WORK 30             /* multiply-adds that take the time of one number's update */

VAEI_PRIVATE void vaei_pack_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_adam_context *work = (const vaei_adam_context *)opaque;
    (void)slot;
    vaei_pack_panels(work->model->kernels, &work->product, first, first + count, work->packed);
}

/* A batch of one is an outer product, which Adam makes by itself: 1.28 times as fast for 784-512-32. Otherwise the
   layer's place in the gradient block, empty so far, has room for each thread's rows at hand and, in a large layer, for
   the gradient of its output, packed once for all of them: 1.07 times as fast for 784-400-20, 1.13 for 784-512-32,
   whose columns share cache sets where they lie. */
VAEI_PRIVATE void vaei_begin_update(vaei_adam_context *work, const vaei_layer *layer) {
    const vae_model *model = work->model;
    const size_t     columns = layer->outputs, threads = (size_t)model->plan.threads;
    size_t           numbers, rows;
    int              swept;
    work->layer = layer;
    work->product = vaei_dense_weights(model, layer, work->examples);
    work->packed = NULL;
    swept = vaei_is_swept(model->kernels->product, &work->product, work->examples);
    numbers = swept ? VAEI_SWEPT_UPDATE_NUMBERS : VAEI_UPDATE_NUMBERS;
    work->rows = vaei_max_size(24, numbers / columns / 24 * 24);
    work->is_outer = swept && work->examples == 1;
    if (swept || !vaei_is_large(layer->inputs, columns)) return;
    numbers = vaei_packed_columns(model->kernels, columns) * work->examples + VAEI_MOST_LANES;
    if (numbers > layer->weight_count) return;
    rows = vaei_min_size(work->rows, (layer->weight_count - numbers) / threads / columns / 24 * 24);
    if (!rows) return;
    work->rows = rows;
    work->packed = work->product.c + (0 - (uintptr_t)work->product.c / sizeof(vae_real)) % VAEI_MOST_LANES;
    work->room = work->packed + numbers - VAEI_MOST_LANES;
    vaei_split(model, columns, VAEI_MOST_LANES, vaei_max_size(1, VAEI_PARALLEL_NUMBERS / work->examples),
               vaei_pack_part, work);
    work->product = vaei_product_packed(model->kernels, &work->product, work->packed);
}

/* Rows first .. first + count - 1 of the layer's weights. */
VAEI_PRIVATE void vaei_update_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_adam_context *work = (const vaei_adam_context *)opaque;
    const vae_model         *model = work->model;
    const size_t             columns = work->layer->outputs;
    size_t                   done, rows;
    if (work->is_outer) {
        vaei_adam_rows(work, work->layer->weight + first * columns, count, columns, work->product.a + first,
                       work->product.b);
        return;
    }
    for (done = first; done < first + count; done += rows) {
        vaei_product part;
        rows = vaei_min_size(work->rows, first + count - done);
        part = vaei_product_rows(&work->product, done, rows);
        part.c = work->packed ? work->room + slot * work->rows * columns : work->product.c + first * columns;
        vaei_multiply(model->kernels, &part, vaei_slot(model, slot, model->plan.product_scratch));
        vaei_adam_at(work, work->layer->weight + done * columns, rows * columns, part.c);
    }
}

/* Is every gradient that an update would meet finite? A sum of up to 10^6 products of numbers up to 10^15 is. With the
   Bernoulli likelihood the first layer's input, pixels in [0, 1], and the last one's gradient, differences of a sigmoid
   and a pixel, need no look once the loss has been found finite. */
VAEI_PRIVATE int vaei_update_is_finite(vaei_adam_context *work) {
    const vae_model *model = work->model;
    const vae_real   bound = (vae_real)1e15;
    const int        bernoulli = model->config.likelihood == VAE_BERNOULLI;
    int              i;
    if (work->examples > 1000000) return 0;
    for (i = 0; i < model->plan.layer_count; i++) {
        const vaei_layer *layer = &model->plan.layers[i];
        if (!vaei_are_within(work, model->gradients + layer->bias, layer->bias_count, VAEI_LARGEST)) return 0;
        if (layer->kind != VAE_LAYER_DENSE) {
            if (!vaei_are_within(work, model->gradients + layer->weight, layer->weight_count, VAEI_LARGEST)) return 0;
            continue;
        }
        if (!(bernoulli && i == 0) &&
            !vaei_are_within(work, vaei_at(model, layer->input.place, 0, 0, 0), work->examples * layer->inputs, bound))
            return 0;
        if (!(bernoulli && i == model->plan.layer_count - 1) &&
            !vaei_are_within(work, vaei_at(model, layer->output_gradient.place, 0, 0, 0),
                             work->examples * layer->outputs, bound))
            return 0;
    }
    return 1;
}

/* One update on the batch in the workspace. */
VAEI_PRIVATE vae_status vaei_update(vae_model *model, size_t count, vae_terms *terms, vae_error *error) {
    vaei_adam_context work;
    vae_status        status;
    int               i;
    if (model->has_gradients) {                 /* there are others to be added to */
        status = vaei_train_rows(model, count, 0, count, 0, terms, error);
        return status == VAE_OK ? vae_apply_gradients(model, error) : status;
    }
    if ((status = vaei_train_rows(model, count, 0, count, 1, terms, error)) != VAE_OK) return status;
    vaei_begin_adam(&work, model);
    work.examples = count;
    if (!vaei_update_is_finite(&work)) {        /* perhaps not: the whole gradient decides */
        for (i = 0; i < model->plan.layer_count; i++)
            if (model->plan.layers[i].kind == VAE_LAYER_DENSE) {
                const vaei_product p = vaei_dense_weights(model, &model->plan.layers[i], count);
                vaei_multiply_parallel(model, &p);
            }
        model->has_gradients = 1;
        return vae_apply_gradients(model, error);
    }
    /* The last layer first: its weights are still in the cache from the backward pass, and those of the first layer,
       updated last, for the next step's forward pass. */
    for (i = model->plan.layer_count - 1; i >= 0; i--) {
        const vaei_layer *layer = &model->plan.layers[i];
        vaei_adam_span(&work, layer->bias, layer->bias_count);
        if (layer->kind != VAE_LAYER_DENSE) {
            vaei_adam_span(&work, layer->weight, layer->weight_count);
            continue;
        }
        vaei_begin_update(&work, layer);
        vaei_split(model, layer->inputs, 8,
                   vaei_max_size(8, VAEI_PARALLEL_WORK / (layer->outputs * (count + VAEI_UPDATE_WORK))),
                   vaei_update_part, &work);
    }
    model->step++;
    return VAE_OK;
}

VAE_API void vae_clear_gradients(vae_model *model) {
    if (model) model->has_gradients = 0;
}

/* The block is written when the first gradients come; whoever looks earlier must see zeros. */
VAE_API vae_real *vae_gradients(vae_model *model) {
    if (!model || !model->gradients) return NULL;
    if (!model->has_gradients) memset(model->gradients, 0, model->plan.parameter_count * sizeof(vae_real));
    model->has_gradients = 1;
    return model->gradients;
}

/* Checks a batch and loads it into the workspace. */
VAEI_PRIVATE vae_status vaei_load_batch(vae_model *model, const vae_data *batch, const char *call, vae_error *error) {
    vae_status status = vaei_check_trains(model, call, error);
    if (status == VAE_OK) status = vaei_check_data(model, batch, call, error);
    if (status != VAE_OK) return status;
    if (batch->count > model->plan.batch)
        return vaei_fail(error, VAE_ERROR_ARGUMENT,
                         "the batch has %z rows, the model was made for %z: raise config.batch", batch->count,
                         model->plan.batch);
    return vaei_load_rows(model, batch, 0, batch->count, NULL, error);
}

VAE_API vae_status vae_accumulate_gradients(vae_model *model, const vae_data *batch, const vae_share *share,
                                            vae_terms *terms, vae_error *error) {
    vae_status status = vaei_load_batch(model, batch, "vae_accumulate_gradients", error);
    vae_share  whole;
    if (status != VAE_OK) return status;
    whole.first = 0;
    whole.total = batch->count;
    if (share) whole = *share;
    if (whole.total < batch->count || whole.first > whole.total - batch->count)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "rows %z to %z are not a share of %z", whole.first,
                         whole.first + batch->count, whole.total);
    return vaei_train_rows(model, batch->count, whole.first, whole.total, 0, terms, error);
}

VAE_API vae_status vae_train_step(vae_model *model, const vae_data *batch, vae_terms *terms, vae_error *error) {
    vae_terms  made;
    vae_status status = vaei_load_batch(model, batch, "vae_train_step", error);
    if (status == VAE_OK) status = vaei_update(model, batch->count, &made, error);
    if (status == VAE_OK && terms) *terms = made;
    return status;
}

VAE_API vae_status vae_set_beta(vae_model *model, vae_real beta, vae_error *error) {
    if (!model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_set_beta: model is NULL");
    if (!(beta >= 0) || !vaei_finite(beta))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "beta is %r: it must be 0 or larger", (double)beta);
    model->beta = beta;
    return VAE_OK;
}

VAE_API vae_status vae_set_learning_rate(vae_model *model, vae_real learning_rate, vae_error *error) {
    if (!model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_set_learning_rate: model is NULL");
    if (!(learning_rate >= 0) || !vaei_finite(learning_rate))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "learning_rate is %r: it must be 0 or larger",
                         (double)learning_rate);
    model->learning_rate = learning_rate;
    return VAE_OK;
}

/* ---- fit ---- */

/* The last bias becomes the logit of the data's mean: per unit for a dense layer, per channel for a convolution. Means
   are taken over at most 10,000 rows, spread evenly. */
VAEI_SETUP vae_status vaei_output_bias(vae_model *model, const vae_data *data, vae_error *error) {
    const vaei_layer *last = &model->plan.layers[model->plan.layer_count - 1];
    const size_t      stride = (data->count + 9999) / 10000;
    const size_t      size = model->plan.example, biases = last->bias_count;
    vae_real         *bias = model->parameters + last->bias, *pixels = vaei_at(model, model->plan.pixels, 0, 0, 0);
    double            largest = 0.999, smallest = 0.001;
    size_t            row, i, k;
    vae_status        status;
    /* Running means, in the gradient block, which is free before the first step. */
    vae_real *means = vae_gradients(model);
    for (row = 0; row < data->count; row += stride) {
        if ((status = vaei_load_rows(model, data, row, 1, NULL, error)) != VAE_OK) {
            model->has_gradients = 0;
            return status;
        }
        for (i = 0; i < biases; i++) {
            double sum = 0;
            for (k = i; k < size; k += biases) sum += (double)pixels[k];
            means[i] += (vae_real)((sum / (double)(size / biases) - (double)means[i]) / (double)(row / stride + 1));
        }
    }
    for (i = 0; i < biases; i++) {
        double mean = (double)means[i];
        if (model->config.likelihood == VAE_BERNOULLI) {
            mean = mean < smallest ? smallest : mean > largest ? largest : mean;
            mean = vaei_scalar_log(mean / (1 - mean));
        }
        bias[i] = (vae_real)mean;
    }
    model->has_gradients = 0;
    return VAE_OK;
}

typedef struct vaei_fit {
    vae_model            *model;
    const vae_data       *data;
    const vae_fit_config *config;
    size_t                batch;
    vae_progress          progress;
    double                began, epoch_began, redrawn;
    double                reconstruction, kl, loss;     /* sums over the epoch, by examples */
    size_t                epoch_examples, examples, planned;
} vaei_fit;

VAEI_SETUP int vaei_report(vaei_fit *fit, vae_event event) {
    vae_progress *p = &fit->progress;
    const double  now = vaei_now(), training = vaei_elapsed(fit->epoch_began, now);
    p->event = event;
    p->step = (size_t)fit->model->step;
    p->seconds = vaei_elapsed(fit->began, now);
    if (event == VAE_EVENT_BATCH)
        p->examples_per_second = training > 0 ? (double)fit->epoch_examples / training : 0;
    p->seconds_left = fit->examples ? p->seconds / (double)fit->examples * (double)(fit->planned - fit->examples) : 0;
    p->redraw = event != VAE_EVENT_BATCH || vaei_elapsed(fit->redrawn, now) > 0.1 || p->batch == p->batches;
    if (p->redraw) fit->redrawn = now;
    if (fit->epoch_examples) {
        const double n = (double)fit->epoch_examples;
        p->train = vaei_terms_of(fit->reconstruction / n, fit->kl / n, fit->model->beta);
        p->train.loss = fit->loss / n;
    }
    return fit->config->on_progress ? fit->config->on_progress(fit->config->user, p) : 0;
}

VAEI_PRIVATE vae_status vaei_fit_batch(vaei_fit *fit, const vaei_shuffle *shuffle, vae_error *error) {
    vae_model   *model = fit->model;
    const size_t first = (size_t)model->position, count = vaei_min_size(fit->batch, fit->data->count - first);
    vae_status   status = vaei_load_rows(model, fit->data, first, count, shuffle, error);
    if (status == VAE_OK) status = vaei_update(model, count, &fit->progress.last, error);
    if (status != VAE_OK) return status;
    model->position += count;
    fit->reconstruction += fit->progress.last.reconstruction * (double)count;
    fit->kl += fit->progress.last.kl * (double)count;
    fit->loss += fit->progress.last.loss * (double)count;
    fit->epoch_examples += count;
    fit->examples += count;
    fit->progress.batch = (size_t)(model->position + fit->batch - 1) / fit->batch;
    return vaei_report(fit, VAE_EVENT_BATCH) ? VAE_STOPPED : VAE_OK;
}

VAEI_PRIVATE vae_status vaei_fit_epoch(vaei_fit *fit, vae_error *error) {
    vae_model         *model = fit->model;
    const vaei_shuffle shuffle = vaei_shuffle_of(model->config.seed, model->epoch, fit->data->count);
    int                stopped = 0;
    fit->epoch_began = vaei_now();
    fit->reconstruction = fit->kl = fit->loss = 0;
    fit->epoch_examples = 0;
    while (model->position < fit->data->count && !stopped) {
        const vae_status status = vaei_fit_batch(fit, fit->config->keep_order ? NULL : &shuffle, error);
        if (status == VAE_STOPPED) stopped = 1;
        else if (status != VAE_OK) return status;
    }
    if (model->position < fit->data->count) return VAE_STOPPED;
    model->position = 0;
    model->epoch++;
    if (fit->config->validation && !stopped) {
        const vae_status status = vae_elbo(model, fit->config->validation, &fit->progress.validation, NULL, error);
        if (status != VAE_OK) return status;
        fit->progress.has_validation = 1;
    }
    if (vaei_report(fit, VAE_EVENT_EPOCH)) stopped = 1;
    fit->progress.has_validation = 0;
    memset(&fit->progress.validation, 0, sizeof fit->progress.validation);
    return stopped ? VAE_STOPPED : VAE_OK;
}

VAE_API vae_status vae_fit(vae_model *model, const vae_data *data, const vae_fit_config *config, vae_error *error) {
    vae_fit_config defaults;
    vaei_fit       fit;
    vae_status     status = vaei_check_trains(model, "vae_fit", error);
    if (status == VAE_OK) status = vaei_check_data(model, data, "vae_fit", error);
    if (status != VAE_OK) return status;
    memset(&defaults, 0, sizeof defaults);
    if (config) defaults = *config;
    if (!defaults.epochs) defaults.epochs = 10;
    if (!defaults.batch) defaults.batch = model->plan.batch;
    if (defaults.batch > model->plan.batch)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "fit.batch is %z, the model was made for %z: raise config.batch",
                         defaults.batch, model->plan.batch);
    if (defaults.validation &&
        (status = vaei_check_data(model, defaults.validation, "vae_fit: validation", error)) != VAE_OK)
        return status;
    if ((status = vaei_check_pixels(model, data, error)) != VAE_OK) return status;
    if (defaults.validation && (status = vaei_check_pixels(model, defaults.validation, error)) != VAE_OK) return status;
    if (model->position >= data->count)
        return vaei_fail(error, VAE_ERROR_ARGUMENT,
                         "the model stopped after %z rows of an epoch, the data have only %z: "
                         "go on with the data it was stopped with",
                         (size_t)model->position, data->count);
    if (defaults.output_bias_from_data && !model->step && (status = vaei_output_bias(model, data, error)) != VAE_OK)
        return status;
    memset(&fit, 0, sizeof fit);
    fit.model = model;
    fit.data = data;
    fit.config = &defaults;
    fit.batch = defaults.batch;
    fit.began = vaei_now();
    fit.planned = defaults.epochs * data->count - (size_t)model->position;
    fit.progress.epochs = defaults.epochs;
    fit.progress.batches = (data->count + fit.batch - 1) / fit.batch;
    for (fit.progress.epoch = 1; fit.progress.epoch <= defaults.epochs; fit.progress.epoch++)
        if ((status = vaei_fit_epoch(&fit, error)) != VAE_OK) break;
    if (status == VAE_STOPPED) {
        (void)vaei_report(&fit, VAE_EVENT_STOPPED);
        vaei_fail(error, VAE_STOPPED, "the callback stopped training in epoch %z", fit.progress.epoch);
    }
    return status;
}

#ifndef VAE_NO_STDIO
VAEI_SETUP void vaei_put_seconds(vaei_text *text, double seconds) {
    const size_t whole = seconds > 0 && seconds < 3e9 ? (size_t)(seconds + 0.5) : 0;
    if (whole >= 3600) vaei_format(text, "%zh %zm", whole / 3600, whole / 60 % 60);
    else if (whole >= 60) vaei_format(text, "%zm %zs", whole / 60, whole % 60);
    else vaei_format(text, "%zs", whole);
}

VAE_API int vae_print_progress(void *user, const vae_progress *p) {
    const int terminal = vaei_is_terminal();
    char      left[32];
    vaei_text text;
    int       i;
    (void)user;
    if (p->event == VAE_EVENT_STOPPED) {
        if (terminal) printf("\n");
        return 0;
    }
    if (p->event == VAE_EVENT_BATCH) {
        if (!terminal || !p->redraw) return 0;
        text.bytes = left;
        text.size = sizeof left;
        text.length = 0;
        vaei_put_seconds(&text, p->seconds_left);
        left[vaei_min_size(text.length, sizeof left - 1)] = 0;
        printf("\repoch %lu/%lu [", (unsigned long)p->epoch, (unsigned long)p->epochs);
        for (i = 0; i < 24; i++) fputc(i < (int)(p->batch * 24 / p->batches) ? '#' : '.', stdout);
        printf("] loss %.2f  %.0f examples/s  %s left\033[K", p->train.loss, p->examples_per_second, left);
        fflush(stdout);
        return 0;
    }
    printf("%sepoch %lu/%lu: loss %.3f (reconstruction %.3f + kl %.3f)", terminal ? "\r\033[K" : "",
           (unsigned long)p->epoch, (unsigned long)p->epochs, p->train.loss, p->train.reconstruction, p->train.kl);
    if (p->has_validation)
        printf(", validation %.3f (%.3f + %.3f)", p->validation.loss, p->validation.reconstruction, p->validation.kl);
    printf(", %.0f examples/s\n", p->examples_per_second);
    fflush(stdout);
    return 0;
}
#endif
#endif /* VAE_INFERENCE_ONLY */

/* ==== 32 >>files-implementation =================================================================================== */

/*

   A model file is eight bytes with the header's length, the header (JSON: where each tensor lies), the tensors' bytes.
   The network stands in the header's metadata as JSON once more, in a string. Both are read by what they must contain,
   not as JSON in general: there is nothing to nest, and whatever is not expected is refused where it stands. */

#define VAEI_FORMAT_VERSION "1"
#define VAEI_MAX_HEADER 100000000u          /* as safetensors has it */
#define VAEI_MAX_FILE_TENSORS 4096
#define VAEI_MAX_METADATA 512
#define VAEI_MAX_RANK 8
#define VAEI_NAME_SIZE 256                  /* of a name in a file, with the closing zero */
#define VAEI_MAX_TENSORS (2 * VAEI_MAX_LAYERS + 2)

/* ---- decimal numbers, exactly ----

   Both ways by whole numbers, so that every platform writes and reads the same, without its printf and strtod. The
   numbers are settings, a handful in a file. */

#ifdef VAE_DOUBLE
#define VAEI_MANTISSA_BITS 53
#define VAEI_LOWEST_BIT (-1074)             /* of the smallest number */
#define VAEI_HIGHEST_BIT 1023
#define VAEI_FIXED_BELOW 36
#define VAEI_FIXED_WORDS 72
#define VAEI_DECIMAL_DIGITS 17
#define VAEI_DECIMAL_RANGE 330              /* numbers from 10^this on are too large, below 10^-this zero */
#else
#define VAEI_MANTISSA_BITS 24
#define VAEI_LOWEST_BIT (-149)
#define VAEI_HIGHEST_BIT 127
#define VAEI_FIXED_BELOW 6
#define VAEI_FIXED_WORDS 12
#define VAEI_DECIMAL_DIGITS 9
#define VAEI_DECIMAL_RANGE 50
#endif

/* The sum of words[i] * 2^(32 (i - VAEI_FIXED_BELOW)). */
typedef struct vaei_fixed {
    uint32_t words[VAEI_FIXED_WORDS];
} vaei_fixed;

VAEI_SETUP void vaei_fixed_multiply(vaei_fixed *fixed, uint32_t by) {
    uint64_t carry = 0;
    int      i;
    for (i = 0; i < VAEI_FIXED_WORDS; i++) {
        carry += (uint64_t)fixed->words[i] * by;
        fixed->words[i] = (uint32_t)carry;
        carry >>= 32;
    }
}

/* A remainder sets the lowest bit. It stays set when a power of ten divides again, so a number that is not exactly in
   the middle between two others never looks as if it were. */
VAEI_SETUP void vaei_fixed_divide(vaei_fixed *fixed, uint32_t by) {
    uint64_t rest = 0;
    int      i;
    for (i = VAEI_FIXED_WORDS - 1; i >= 0; i--) {
        rest = rest << 32 | fixed->words[i];
        fixed->words[i] = (uint32_t)(rest / by);
        rest %= by;
    }
    if (rest) fixed->words[0] |= 1;
}

VAEI_SETUP void vaei_fixed_scale(vaei_fixed *fixed, int power_of_ten) {
    for (; power_of_ten >= 9; power_of_ten -= 9) vaei_fixed_multiply(fixed, 1000000000u);
    for (; power_of_ten > 0; power_of_ten--) vaei_fixed_multiply(fixed, 10);
    for (; power_of_ten <= -9; power_of_ten += 9) vaei_fixed_divide(fixed, 1000000000u);
    for (; power_of_ten < 0; power_of_ten++) vaei_fixed_divide(fixed, 10);
}

/* whole * 2^bit; `bit` counts from the binary point. */
VAEI_SETUP vaei_fixed vaei_fixed_of(uint64_t whole, int bit) {
    const int  place = bit + 32 * VAEI_FIXED_BELOW, word = place / 32, shift = place % 32;
    vaei_fixed fixed;
    memset(&fixed, 0, sizeof fixed);
    fixed.words[word] = (uint32_t)(whole << shift);
    fixed.words[word + 1] = (uint32_t)(whole >> (32 - shift));
    if (shift) fixed.words[word + 2] = (uint32_t)(whole >> 32 >> (32 - shift));
    return fixed;
}

VAEI_SETUP int vaei_fixed_bit(const vaei_fixed *fixed, int bit) {
    const int place = bit + 32 * VAEI_FIXED_BELOW;
    return (int)(fixed->words[place / 32] >> (place % 32) & 1);
}

/* The nearest number, ties to even; 0 where it is too large. */
VAEI_SETUP int vaei_fixed_to_real(const vaei_fixed *fixed, vae_real *real) {
    uint64_t mantissa = 0;
    int      top = 32 * (VAEI_FIXED_WORDS - VAEI_FIXED_BELOW) - 1, low, bit, below = 0, i;
    vae_real scaled;
    *real = 0;
    while (top >= VAEI_LOWEST_BIT - 1 && !vaei_fixed_bit(fixed, top)) top--;
    if (top < VAEI_LOWEST_BIT - 1) return 1;
    low = vaei_max_int(top - (VAEI_MANTISSA_BITS - 1), VAEI_LOWEST_BIT);
    for (bit = top; bit >= low; bit--) mantissa = mantissa << 1 | (uint64_t)vaei_fixed_bit(fixed, bit);
    if (vaei_fixed_bit(fixed, low - 1)) {
        for (bit = low - 2; bit % 32; bit--) below |= vaei_fixed_bit(fixed, bit);
        below |= vaei_fixed_bit(fixed, bit);
        for (i = 0; i < bit / 32 + VAEI_FIXED_BELOW; i++) below |= fixed->words[i] != 0;
        mantissa += below ? 1 : mantissa & 1;
    }
    if (top > VAEI_HIGHEST_BIT || (top == VAEI_HIGHEST_BIT && mantissa >> VAEI_MANTISSA_BITS)) return 0;
    scaled = (vae_real)mantissa;
    for (; low < 0; low++) scaled *= (vae_real)0.5;
    for (; low > 0; low--) scaled *= 2;
    *real = scaled;
    return 1;
}

/* digits * 10^power; 0 where it is too large. */
VAEI_SETUP int vaei_decimal_to_real(uint64_t digits, int power, vae_real *real) {
    vaei_fixed fixed;
    uint64_t   rest = digits;
    int        length = 0;
    *real = 0;
    for (; rest; rest /= 10) length++;
    if (!digits || length + power < -VAEI_DECIMAL_RANGE) return 1;
    if (length + power > VAEI_DECIMAL_RANGE) return 0;
    fixed = vaei_fixed_of(digits, 0);
    vaei_fixed_scale(&fixed, power);
    return vaei_fixed_to_real(&fixed, real);
}

/* The `count` first digits of a number above 0, rounded; *point is the power of ten of the first. */
VAEI_SETUP uint64_t vaei_real_to_decimal(vae_real real, int count, int *point) {
    uint64_t limit = 1, digits;
    int      bit = 0, top = VAEI_MANTISSA_BITS - 1, i;
    const vae_real one_too_many = (vae_real)((uint64_t)1 << VAEI_MANTISSA_BITS);
    vaei_fixed fixed;
    for (i = 0; i < count; i++) limit *= 10;
    while (real >= one_too_many) { real *= (vae_real)0.5; bit++; }
    while (real * 2 < one_too_many && bit > VAEI_LOWEST_BIT) { real *= 2; bit--; }
    while (top > 0 && !((uint64_t)real >> top)) top--;
    *point = (int)((long)(bit + top) * 30103 / 100000) - 1;     /* log10 of 2: at most two too small */
    for (;;) {
        fixed = vaei_fixed_of((uint64_t)real, bit);
        vaei_fixed_scale(&fixed, count - 1 - *point);
        if (!fixed.words[VAEI_FIXED_BELOW + 2]) {
            digits = (uint64_t)fixed.words[VAEI_FIXED_BELOW + 1] << 32 | fixed.words[VAEI_FIXED_BELOW];
            digits += fixed.words[VAEI_FIXED_BELOW - 1] >> 31;
            if (digits < limit) return digits;
        }
        ++*point;
    }
}

/* The shortest decimal number that reads back as `real`. */
VAEI_SETUP void vaei_put_exact_real(vaei_text *text, vae_real real) {
    char     shown[VAEI_DECIMAL_DIGITS + 1];
    uint64_t digits = 0;
    int      count = 0, point = 0, i;
    vae_real back = 0;
    if (real < 0) { vaei_put(text, '-'); real = -real; }
    if (real == 0) { vaei_put(text, '0'); return; }
    do digits = vaei_real_to_decimal(real, ++count, &point);
    while (count < VAEI_DECIMAL_DIGITS && (!vaei_decimal_to_real(digits, point - count + 1, &back) || back != real));
    for (i = count - 1; i >= 0; i--) { shown[i] = (char)('0' + (int)(digits % 10)); digits /= 10; }
    if (point < -4 || point > 15) {
        vaei_put(text, shown[0]);
        if (count > 1) vaei_put(text, '.');
        for (i = 1; i < count; i++) vaei_put(text, shown[i]);
        vaei_put_string(text, point < 0 ? "e-" : "e");
        vaei_put_unsigned(text, (uint64_t)(point < 0 ? -point : point));
        return;
    }
    if (point < 0) vaei_put_string(text, "0.");
    for (i = point + 1; i < 0; i++) vaei_put(text, '0');
    for (i = 0; i < count || i <= point; i++) {
        if (i == point + 1 && i > 0) vaei_put(text, '.');
        vaei_put(text, i < count ? shown[i] : '0');
    }
}

/* ---- reading JSON ---- */

typedef struct vaei_json {
    const unsigned char *bytes;
    size_t               at, end;
    int                  inner;         /* the text is what stands in a string of the header: its escapes are undone */
    const char          *problem;       /* the first one, or NULL; nothing is read after it */
    size_t               problem_at;
} vaei_json;

VAEI_SETUP vaei_json vaei_json_of(const unsigned char *bytes, size_t at, size_t end, int inner) {
    vaei_json json;
    json.bytes = bytes;
    json.at = at;
    json.end = end;
    json.inner = inner;
    json.problem = NULL;
    json.problem_at = 0;
    return json;
}

VAEI_SETUP int vaei_json_wrong(vaei_json *json, const char *problem) {
    if (!json->problem) {
        json->problem = problem;
        json->problem_at = json->at;
    }
    return 0;
}

VAEI_SETUP int32_t vaei_json_hex(vaei_json *json) {
    int32_t number = 0;
    int     i;
    for (i = 0; i < 4; i++) {
        const int c = json->at < json->end ? json->bytes[json->at++] : 0;
        if (c >= '0' && c <= '9') number = number * 16 + (c - '0');
        else if (c >= 'a' && c <= 'f') number = number * 16 + (c - 'a' + 10);
        else if (c >= 'A' && c <= 'F') number = number * 16 + (c - 'A' + 10);
        else return -1;
    }
    return number;
}

/* The character that an escape stands for, after its backslash; -1 where it is none. */
VAEI_SETUP int32_t vaei_json_escape(vaei_json *json) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const int         c = json->at < json->end ? json->bytes[json->at++] : 0;
    const char       *letter;
    int32_t           high, low;
    if (c != 'u') {
        letter = c ? strchr(letters, c) : NULL;
        return letter ? meanings[letter - letters] : -1;
    }
    high = vaei_json_hex(json);
    if (high < 0xD800 || high > 0xDFFF) return high;
    if (high > 0xDBFF || json->end - json->at < 2 || json->bytes[json->at] != '\\' || json->bytes[json->at + 1] != 'u')
        return -1;
    json->at += 2;
    low = vaei_json_hex(json);
    return low < 0xDC00 || low > 0xDFFF ? -1 : 0x10000 + (high - 0xD800) * 1024 + (low - 0xDC00);
}

/* The next character of the text, -1 at its end. */
VAEI_SETUP int32_t vaei_json_next(vaei_json *json) {
    if (json->problem || json->at >= json->end) return -1;
    if (json->bytes[json->at++] == '\\' && json->inner) return vaei_json_escape(json);
    return json->bytes[json->at - 1];
}

VAEI_SETUP int32_t vaei_json_peek(vaei_json *json) {
    const size_t  at = json->at;
    const int32_t c = vaei_json_next(json);
    json->at = at;
    return c;
}

VAEI_SETUP int32_t vaei_json_peek_past_space(vaei_json *json) {
    int32_t c;
    while ((c = vaei_json_peek(json)) == ' ' || c == '\t' || c == '\n' || c == '\r') vaei_json_next(json);
    return c;
}

VAEI_SETUP int vaei_json_expect(vaei_json *json, char c, const char *problem) {
    if (vaei_json_peek_past_space(json) != c) return vaei_json_wrong(json, problem);
    vaei_json_next(json);
    return 1;
}

/* Whether another item follows in an object or array, whose opening bracket has been read; at `close`, which is read
   too, and after a problem none does. */
VAEI_SETUP int vaei_json_item(vaei_json *json, char close, int *count) {
    if (json->problem) return 0;
    if (vaei_json_peek_past_space(json) == close) {
        vaei_json_next(json);
        return 0;
    }
    if (*count && !vaei_json_expect(json, ',', "a comma or closing bracket is missing")) return 0;
    if (vaei_json_peek_past_space(json) == close) return vaei_json_wrong(json, "a comma has nothing after it");
    ++*count;
    return 1;
}

VAEI_SETUP size_t vaei_utf8_length(int32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

VAEI_SETUP void vaei_utf8_put(char *out, int32_t c, size_t length) {
    static const int32_t marks[] = { 0, 0, 0xC0, 0xE0, 0xF0 };
    size_t               i;
    for (i = length; i > 1; i--) {
        out[i - 1] = (char)(unsigned char)(0x80 | (c & 0x3F));
        c >>= 6;
    }
    out[0] = (char)(unsigned char)(marks[length] | c);
}

/* A string, into `out` with a closing zero; or skipped, with `out` NULL. */
VAEI_SETUP int vaei_json_string(vaei_json *json, char *out, size_t size) {
    size_t length = 0;
    if (!vaei_json_expect(json, '"', "a string is missing")) return 0;
    for (;;) {
        int32_t c = vaei_json_next(json);
        size_t  bytes = 1;
        if (c == '"') break;
        if (c < 0x20) return vaei_json_wrong(json, "a string does not end or holds a control character");
        if (json->inner && (c > 0x7E || c == '\\')) return vaei_json_wrong(json, "a name is unknown");
        if (c == '\\') {
            if ((c = vaei_json_escape(json)) < 0) return vaei_json_wrong(json, "an escape in a string is wrong");
            bytes = vaei_utf8_length(c);
            if (!c && out) return vaei_json_wrong(json, "a name holds a zero");
        }
        if (!out) continue;
        if (length + bytes >= size) return vaei_json_wrong(json, "a name is too long");
        if (bytes == 1) out[length] = (char)(unsigned char)c;
        else vaei_utf8_put(out + length, c, bytes);
        length += bytes;
    }
    if (out) out[length] = 0;
    return 1;
}

VAEI_SETUP int vaei_json_key(vaei_json *json, char *out, size_t size) {
    return vaei_json_string(json, out, size) && vaei_json_expect(json, ':', "a colon is missing");
}

VAEI_SETUP int vaei_json_digit(vaei_json *json) {
    const int32_t c = vaei_json_peek(json);
    if (c < '0' || c > '9') return -1;
    vaei_json_next(json);
    return (int)(c - '0');
}

VAEI_SETUP int vaei_json_unsigned(vaei_json *json, uint64_t most, uint64_t *number) {
    int digit, first;
    vaei_json_peek_past_space(json);
    if ((digit = first = vaei_json_digit(json)) < 0) return vaei_json_wrong(json, "a whole number is missing");
    for (*number = (uint64_t)digit; (digit = vaei_json_digit(json)) >= 0;) {
        if (!first) return vaei_json_wrong(json, "a number begins with 0");
        if (*number > (most - (uint64_t)digit) / 10) return vaei_json_wrong(json, "a number is too large");
        *number = *number * 10 + (uint64_t)digit;
    }
    return *number <= most ? 1 : vaei_json_wrong(json, "a number is too large");
}

/* Digits past the nineteenth do not count. */
VAEI_SETUP int vaei_json_real(vaei_json *json, vae_real *real) {
    const int negative = vaei_json_peek_past_space(json) == '-';
    uint64_t  digits = 0;
    int       power = 0, exponent = 0, digit, first, sign = 1;
    if (negative) vaei_json_next(json);
    if ((digit = first = vaei_json_digit(json)) < 0) return vaei_json_wrong(json, "a number is missing");
    for (; digit >= 0; digit = vaei_json_digit(json)) {
        if (digits < UINT64_C(1000000000000000000)) digits = digits * 10 + (uint64_t)digit;
        else if (power < 10000) power++;
        if (!first && vaei_json_peek(json) >= '0' && vaei_json_peek(json) <= '9')
            return vaei_json_wrong(json, "a number begins with 0");
    }
    if (vaei_json_peek(json) == '.') {
        vaei_json_next(json);
        if ((digit = vaei_json_digit(json)) < 0) return vaei_json_wrong(json, "a number ends with its point");
        for (; digit >= 0; digit = vaei_json_digit(json))
            if (digits < UINT64_C(1000000000000000000) && power > -10000) {
                digits = digits * 10 + (uint64_t)digit;
                power--;
            }
    }
    if (vaei_json_peek(json) == 'e' || vaei_json_peek(json) == 'E') {
        vaei_json_next(json);
        if (vaei_json_peek(json) == '-') sign = -1;
        if (sign < 0 || vaei_json_peek(json) == '+') vaei_json_next(json);
        if ((digit = vaei_json_digit(json)) < 0) return vaei_json_wrong(json, "a number has no exponent");
        for (; digit >= 0; digit = vaei_json_digit(json))
            if (exponent < 1000) exponent = exponent * 10 + digit;
    }
    if (!vaei_decimal_to_real(digits, power + sign * exponent, real))
        return vaei_json_wrong(json, "a number is too large");
    if (negative) *real = -*real;
    return 1;
}

/* `count` whole numbers from `least` to `most` in an array. */
VAEI_SETUP int vaei_json_ints(vaei_json *json, int count, int least, int most, int *numbers) {
    uint64_t number;
    int      read = 0;
    if (!vaei_json_expect(json, '[', "an array is missing")) return 0;
    while (vaei_json_item(json, ']', &read)) {
        if (read > count) return vaei_json_wrong(json, "an array has too many numbers");
        if (!vaei_json_unsigned(json, (uint64_t)most, &number)) return 0;
        if (number < (uint64_t)least) return vaei_json_wrong(json, "a number is too small");
        numbers[read - 1] = (int)number;
    }
    return read == count ? !json->problem : vaei_json_wrong(json, "an array has too few numbers");
}

/* One of `names`. */
VAEI_SETUP int vaei_json_choice(vaei_json *json, const char *const *names, int count, int *choice) {
    char name[32];
    if (!vaei_json_string(json, name, sizeof name)) return 0;
    for (*choice = 0; *choice < count; ++*choice)
        if (!strcmp(names[*choice], name)) return 1;
    return vaei_json_wrong(json, "a name is unknown");
}

/* 64 bits as digits in a string, since most readers of JSON keep numbers as doubles. */
VAEI_SETUP int vaei_json_quoted(vaei_json *json, uint64_t *number) {
    return vaei_json_expect(json, '"', "digits in quotes are missing") &&
           vaei_json_unsigned(json, (uint64_t)-1, number) && vaei_json_expect(json, '"', "a string does not end");
}

/* Which of `names` a key is; each may come once. -1 with a problem. */
VAEI_SETUP int vaei_json_field(vaei_json *json, const char *const *names, int count, unsigned *seen) {
    char name[32];
    int  i;
    if (!vaei_json_key(json, name, sizeof name)) return -1;
    for (i = 0; i < count; i++) {
        if (strcmp(names[i], name)) continue;
        if (*seen >> i & 1u) {
            vaei_json_wrong(json, "a name comes twice");
            return -1;
        }
        *seen |= 1u << i;
        return i;
    }
    vaei_json_wrong(json, "a name is unknown");
    return -1;
}

/* ---- the network as JSON ---- */

#define VAEI_KIND_NAMES { "dense", "conv", "conv_transposed" }
#define VAEI_ACTIVATIONS (VAE_SOFTPLUS + 1)
#define VAEI_LIKELIHOOD_NAMES { "bernoulli", "gaussian" }
#define VAEI_INITIALIZATION_NAMES { "pytorch", "glorot", "he" }
#define VAEI_LAYOUT_NAMES { "channels_last", "channels_first" }
#define VAEI_MAX_INT (1 << 26)          /* of a number of the network: what each may be is for vae_create to say */

enum {
    VAEI_KEY_KIND, VAEI_KEY_SHAPE, VAEI_KEY_CHANNELS, VAEI_KEY_KERNEL, VAEI_KEY_STRIDE, VAEI_KEY_PADDING,
    VAEI_KEY_OUTPUT_PADDING, VAEI_KEY_ACTIVATION, VAEI_LAYER_KEYS
};

VAEI_SETUP int vaei_json_padding(vaei_json *json, vae_layer *layer) {
    char name[8];
    int  sides[4];
    if (vaei_json_peek_past_space(json) == '"') {
        layer->padding = VAE_SAME;
        return vaei_json_string(json, name, sizeof name) &&
               (!strcmp(name, "same") || vaei_json_wrong(json, "a padding rule is unknown"));
    }
    if (!vaei_json_ints(json, 4, 0, VAEI_MAX_INT, sides)) return 0;
    layer->padding = VAE_EXPLICIT;
    layer->top = sides[0];
    layer->bottom = sides[1];
    layer->left = sides[2];
    layer->right = sides[3];
    return 1;
}

VAEI_SETUP int vaei_json_layer_field(vaei_json *json, vae_layer *layer, int field) {
    static const char *const kinds[] = VAEI_KIND_NAMES;
    const char              *activations[VAEI_ACTIVATIONS];
    int                      numbers[3], choice;
    switch (field) {
    case VAEI_KEY_KIND:
        if (!vaei_json_choice(json, kinds, 3, &choice)) return 0;
        layer->kind = (vae_layer_kind)(VAE_LAYER_DENSE + choice);
        return 1;
    case VAEI_KEY_SHAPE:
        if (!vaei_json_ints(json, 3, 1, VAEI_MAX_INT, numbers)) return 0;
        layer->shape.height = numbers[0];
        layer->shape.width = numbers[1];
        layer->shape.channels = numbers[2];
        return 1;
    case VAEI_KEY_CHANNELS: {
        uint64_t channels;
        if (!vaei_json_unsigned(json, VAEI_MAX_INT, &channels)) return 0;
        layer->shape.channels = (int)channels;
        return 1;
    }
    case VAEI_KEY_KERNEL:
        if (!vaei_json_ints(json, 2, 1, VAEI_MAX_INT, numbers)) return 0;
        layer->kernel_height = numbers[0];
        layer->kernel_width = numbers[1];
        return 1;
    case VAEI_KEY_STRIDE:
        if (!vaei_json_ints(json, 2, 1, VAEI_MAX_INT, numbers)) return 0;
        layer->stride_height = numbers[0];
        layer->stride_width = numbers[1];
        return 1;
    case VAEI_KEY_PADDING: return vaei_json_padding(json, layer);
    case VAEI_KEY_OUTPUT_PADDING:
        if (!vaei_json_ints(json, 2, 0, VAEI_MAX_INT, numbers)) return 0;
        layer->output_padding_height = numbers[0];
        layer->output_padding_width = numbers[1];
        return 1;
    default:
        for (choice = 0; choice < VAEI_ACTIVATIONS; choice++)
            activations[choice] = vaei_activation_name((vae_activation)choice);
        if (!vaei_json_choice(json, activations, VAEI_ACTIVATIONS, &choice)) return 0;
        layer->activation = (vae_activation)choice;
        return 1;
    }
}

VAEI_SETUP int vaei_json_layer(vaei_json *json, vae_layer *layer) {
    static const char *const names[] = { "kind", "shape", "channels", "kernel", "stride", "padding", "output_padding",
                                         "activation" };
    const unsigned any = 1u << VAEI_KEY_KIND | 1u << VAEI_KEY_ACTIVATION, dense = any | 1u << VAEI_KEY_SHAPE;
    const unsigned conv = any | 1u << VAEI_KEY_CHANNELS | 1u << VAEI_KEY_KERNEL | 1u << VAEI_KEY_STRIDE |
                          1u << VAEI_KEY_PADDING;
    unsigned seen = 0;
    int      count = 0, field;
    if (!vaei_json_expect(json, '{', "a layer is missing")) return 0;
    while (vaei_json_item(json, '}', &count)) {
        if ((field = vaei_json_field(json, names, VAEI_LAYER_KEYS, &seen)) < 0) return 0;
        if (!vaei_json_layer_field(json, layer, field)) return 0;
    }
    if (json->problem) return 0;
    if (layer->kind == VAE_LAYER_CONV_TRANSPOSED) seen &= ~(1u << VAEI_KEY_OUTPUT_PADDING);     /* optional */
    if (layer->kind == VAE_LAYER_END || seen != (layer->kind == VAE_LAYER_DENSE ? dense : conv))
        return vaei_json_wrong(json, "a layer lacks something or has what its kind does not");
    return 1;
}

VAEI_SETUP int vaei_json_layers(vaei_json *json, vae_layer *layers) {
    int count = 0;
    if (!vaei_json_expect(json, '[', "a list of layers is missing")) return 0;
    while (vaei_json_item(json, ']', &count)) {
        if (count > VAE_MAX_LAYERS) return vaei_json_wrong(json, "a list has more layers than VAE_MAX_LAYERS");
        if (!vaei_json_layer(json, &layers[count - 1])) return 0;
    }
    return count ? !json->problem : vaei_json_wrong(json, "a list of layers is empty");
}

/* A setting where 0 means 0, as a config has it. */
VAEI_SETUP int vaei_json_setting(vaei_json *json, vae_real *setting) {
    if (!vaei_json_real(json, setting)) return 0;
    if (*setting < 0) return vaei_json_wrong(json, "a setting is negative");
    if (*setting == 0) *setting = VAE_ZERO;
    return 1;
}

VAEI_SETUP int vaei_json_adam(vaei_json *json, vae_adam *adam) {
    static const char *const names[] = { "learning_rate", "beta1", "beta2", "epsilon" };
    unsigned                 seen = 0;
    int                      count = 0, field;
    vae_real                *fields[4];
    fields[0] = &adam->learning_rate;
    fields[1] = &adam->beta1;
    fields[2] = &adam->beta2;
    fields[3] = &adam->epsilon;
    if (!vaei_json_expect(json, '{', "the settings of adam are missing")) return 0;
    while (vaei_json_item(json, '}', &count))
        if ((field = vaei_json_field(json, names, 4, &seen)) < 0 || !vaei_json_setting(json, fields[field])) return 0;
    return !json->problem;
}

enum {
    VAEI_KEY_INPUT, VAEI_KEY_LATENT, VAEI_KEY_ENCODER, VAEI_KEY_DECODER, VAEI_KEY_LIKELIHOOD, VAEI_KEY_SIGMA,
    VAEI_KEY_BETA, VAEI_KEY_INITIALIZATION, VAEI_KEY_LAYOUT, VAEI_KEY_ADAM, VAEI_KEY_SEED, VAEI_KEY_BATCH,
    VAEI_CONFIG_KEYS
};

VAEI_SETUP int vaei_json_config_field(vaei_json *json, vae_config *config, int field) {
    static const char *const likelihoods[] = VAEI_LIKELIHOOD_NAMES, *const layouts[] = VAEI_LAYOUT_NAMES;
    static const char *const initializations[] = VAEI_INITIALIZATION_NAMES;
    int                      numbers[3], choice;
    uint64_t                 number;
    switch (field) {
    case VAEI_KEY_INPUT:
        if (!vaei_json_ints(json, 3, 1, VAEI_MAX_INT, numbers)) return 0;
        config->input.height = numbers[0];
        config->input.width = numbers[1];
        config->input.channels = numbers[2];
        return 1;
    case VAEI_KEY_LATENT:
        if (!vaei_json_unsigned(json, VAEI_MAX_INT, &number)) return 0;
        config->latent = (int)number;
        return number ? 1 : vaei_json_wrong(json, "latent is 0");
    case VAEI_KEY_ENCODER: return vaei_json_layers(json, config->encoder);
    case VAEI_KEY_DECODER: return vaei_json_layers(json, config->decoder);
    case VAEI_KEY_LIKELIHOOD:
        if (!vaei_json_choice(json, likelihoods, 2, &choice)) return 0;
        config->likelihood = (vae_likelihood)choice;
        return 1;
    case VAEI_KEY_SIGMA:
        return vaei_json_real(json, &config->sigma) &&
               (config->sigma > 0 || vaei_json_wrong(json, "sigma is not above 0"));
    case VAEI_KEY_BETA: return vaei_json_setting(json, &config->beta);
    case VAEI_KEY_INITIALIZATION:
        if (!vaei_json_choice(json, initializations, 3, &choice)) return 0;
        config->initialization = (vae_initialization)choice;
        return 1;
    case VAEI_KEY_LAYOUT:
        if (!vaei_json_choice(json, layouts, 2, &choice)) return 0;
        config->layout = (vae_layout)choice;
        return 1;
    case VAEI_KEY_ADAM: return vaei_json_adam(json, &config->adam);
    case VAEI_KEY_SEED: return vaei_json_quoted(json, &config->seed);
    default:
        if (!vaei_json_unsigned(json, (size_t)-1 >> 1, &number)) return 0;
        config->batch = (size_t)number;
        return number ? 1 : vaei_json_wrong(json, "batch is 0");
    }
}

VAEI_SETUP int vaei_json_config(vaei_json *json, vae_config *config) {
    static const char *const names[] = { "input", "latent", "encoder", "decoder", "likelihood", "sigma", "beta",
                                         "initialization", "layout", "adam", "seed", "batch" };
    const unsigned required = 1u << VAEI_KEY_INPUT | 1u << VAEI_KEY_LATENT | 1u << VAEI_KEY_ENCODER |
                              1u << VAEI_KEY_DECODER | 1u << VAEI_KEY_LIKELIHOOD;
    unsigned seen = 0;
    int      count = 0, field;
    memset(config, 0, sizeof *config);
    if (!vaei_json_expect(json, '{', "an object is missing")) return 0;
    while (vaei_json_item(json, '}', &count)) {
        if ((field = vaei_json_field(json, names, VAEI_CONFIG_KEYS, &seen)) < 0) return 0;
        if (!vaei_json_config_field(json, config, field)) return 0;
    }
    if (json->problem) return 0;
    if ((seen & required) != required) return vaei_json_wrong(json, "a part of the network is missing");
    return vaei_json_peek_past_space(json) < 0 ? !json->problem : vaei_json_wrong(json, "something follows");
}

/* Where training stands. */
typedef struct vaei_progress_state {
    uint64_t step, epoch, position, samples_drawn;
} vaei_progress_state;

VAEI_SETUP int vaei_json_state(vaei_json *json, vaei_progress_state *state) {
    static const char *const names[] = { "step", "epoch", "position", "samples_drawn" };
    unsigned                 seen = 0;
    int                      count = 0, field;
    uint64_t                 numbers[4];
    if (!vaei_json_expect(json, '{', "an object is missing")) return 0;
    while (vaei_json_item(json, '}', &count))
        if ((field = vaei_json_field(json, names, 4, &seen)) < 0 || !vaei_json_quoted(json, &numbers[field])) return 0;
    if (json->problem) return 0;
    if (seen != 15u) return vaei_json_wrong(json, "a part of the state is missing");
    if (numbers[0] > UINT64_MAX / 2) return vaei_json_wrong(json, "a number is too large");   /* step + 1 must fit */
    state->step = numbers[0];
    state->epoch = numbers[1];
    state->position = numbers[2];
    state->samples_drawn = numbers[3];
    return vaei_json_peek_past_space(json) < 0 ? !json->problem : vaei_json_wrong(json, "something follows");
}

/* ---- reading the header ---- */

/* The types of numbers that are read; the others that safetensors has are refused. */
enum { VAEI_F32, VAEI_F64, VAEI_F16, VAEI_BF16, VAEI_TYPES };

VAEI_SETUP size_t vaei_type_size(int type) { return type == VAEI_F64 ? 8 : type == VAEI_F32 ? 4 : 2; }

typedef struct vaei_file_tensor {
    char     name[VAEI_NAME_SIZE], type_name[32];
    int      rank;
    uint64_t shape[VAEI_MAX_RANK], begin, end;
} vaei_file_tensor;

typedef struct vaei_file {
    const unsigned char *bytes, *data;
    size_t               header_end, data_size;         /* the header begins at byte 8 */
    size_t               config_at, config_end;         /* of the strings in the metadata; 0: there is none */
    size_t               state_at, state_end;
    size_t               version_at, version_end;
} vaei_file;

/* The way through a header, tensor by tensor. */
typedef struct vaei_walk {
    vaei_json json;
    int       count, metadata_seen;
} vaei_walk;

VAEI_SETUP vae_status vaei_fail_json(const vaei_json *json, const char *what, vae_error *error) {
    return vaei_fail(error, VAE_ERROR_FORMAT, "%s at byte %z: %s", what, json->problem_at, json->problem);
}

VAEI_SETUP int vaei_json_is_new_key(const vaei_json *json, const uint32_t *keys, int count, const char *key) {
    char other[VAEI_NAME_SIZE];
    int  i;
    for (i = 0; i < count; i++) {
        vaei_json again = vaei_json_of(json->bytes, keys[i], json->end, 0);
        vaei_json_string(&again, other, sizeof other);
        if (!strcmp(other, key)) return 0;
    }
    return 1;
}

VAEI_SETUP int vaei_json_metadata(vaei_json *json, vaei_file *file) {
    uint32_t keys[VAEI_MAX_METADATA];
    char     key[VAEI_NAME_SIZE];
    int      count = 0;
    if (!vaei_json_expect(json, '{', "the metadata are not an object")) return 0;
    while (vaei_json_item(json, '}', &count)) {
        size_t at, end;
        if (count > VAEI_MAX_METADATA) return vaei_json_wrong(json, "the metadata have more than 512 entries");
        keys[count - 1] = (uint32_t)json->at;
        if (!vaei_json_key(json, key, sizeof key)) return 0;
        if (!vaei_json_is_new_key(json, keys, count - 1, key)) return vaei_json_wrong(json, "a name comes twice");
        vaei_json_peek_past_space(json);
        at = json->at + 1;
        if (!vaei_json_string(json, NULL, 0)) return 0;
        end = json->at - 1;
        if (!strcmp(key, "vae.config")) { file->config_at = at; file->config_end = end; }
        if (!strcmp(key, "vae.state")) { file->state_at = at; file->state_end = end; }
        if (!strcmp(key, "vae.version")) { file->version_at = at; file->version_end = end; }
    }
    return !json->problem;
}

VAEI_SETUP int vaei_json_tensor(vaei_json *json, vaei_file_tensor *tensor) {
    static const char *const names[] = { "dtype", "shape", "data_offsets" };
    unsigned                 seen = 0;
    int                      count = 0, offsets = 0, field;
    if (!vaei_json_expect(json, '{', "a tensor's description is missing")) return 0;
    while (vaei_json_item(json, '}', &count)) {
        if ((field = vaei_json_field(json, names, 3, &seen)) < 0) return 0;
        if (field == 0) {
            if (!vaei_json_string(json, tensor->type_name, sizeof tensor->type_name)) return 0;
        } else if (field == 1) {
            if (!vaei_json_expect(json, '[', "a shape is missing")) return 0;
            for (tensor->rank = 0; vaei_json_item(json, ']', &tensor->rank);) {
                if (tensor->rank > VAEI_MAX_RANK) return vaei_json_wrong(json, "a shape has more than 8 dimensions");
                if (!vaei_json_unsigned(json, (uint64_t)-1, &tensor->shape[tensor->rank - 1])) return 0;
            }
        } else {
            if (!vaei_json_expect(json, '[', "the offsets are missing")) return 0;
            while (vaei_json_item(json, ']', &offsets)) {
                if (offsets > 2) return vaei_json_wrong(json, "there are more than two offsets");
                if (!vaei_json_unsigned(json, (uint64_t)-1, offsets == 1 ? &tensor->begin : &tensor->end)) return 0;
            }
        }
    }
    if (json->problem) return 0;
    return seen == 7u && offsets == 2 ? 1 : vaei_json_wrong(json, "a tensor lacks its dtype, shape or offsets");
}

VAEI_SETUP vaei_walk vaei_walk_begin(const vaei_file *file) {
    vaei_walk walk;
    walk.json = vaei_json_of(file->bytes, 8, file->header_end, 0);
    walk.count = walk.metadata_seen = 0;
    vaei_json_expect(&walk.json, '{', "the header is not a JSON object");
    return walk;
}

/* The next tensor; 0 at the end and after a problem. Metadata on the way are noted in `file`. */
VAEI_SETUP int vaei_walk_next(vaei_walk *walk, vaei_file *file, vaei_file_tensor *tensor) {
    vaei_json *json = &walk->json;
    while (vaei_json_item(json, '}', &walk->count)) {
        if (walk->count > VAEI_MAX_FILE_TENSORS) return vaei_json_wrong(json, "there are more than 4096 tensors");
        if (!vaei_json_key(json, tensor->name, sizeof tensor->name)) return 0;
        if (strcmp(tensor->name, "__metadata__")) return vaei_json_tensor(json, tensor);
        if (walk->metadata_seen++) return vaei_json_wrong(json, "a name comes twice");
        if (!vaei_json_metadata(json, file)) return 0;
    }
    if (!json->problem && vaei_json_peek_past_space(json) >= 0) vaei_json_wrong(json, "something follows the header");
    return 0;
}

/* The length of the longest beginning that is valid UTF-8. */
VAEI_SETUP size_t vaei_utf8_valid(const unsigned char *bytes, size_t size) {
    size_t at = 0;
    while (at < size) {
        const unsigned c = bytes[at];
        const size_t   more = c < 0x80 ? 0 : c >= 0xC2 && c < 0xE0 ? 1 : (c & 0xF0) == 0xE0 ? 2 : c - 0xF0 < 5 ? 3 : 4;
        size_t         i;
        if (more == 4 || more >= size - at) return at;
        for (i = 1; i <= more; i++)
            if ((bytes[at + i] & 0xC0) != 0x80) return at;
        /* too long, half of a pair, beyond the last character */
        if ((c == 0xE0 && bytes[at + 1] < 0xA0) || (c == 0xED && bytes[at + 1] > 0x9F) ||
            (c == 0xF0 && bytes[at + 1] < 0x90) || (c == 0xF4 && bytes[at + 1] > 0x8F)) return at;
        at += more + 1;
    }
    return at;
}

/* What a file is that is no safetensors file, and what to do about it; NULL: it is not known. */
VAEI_SETUP const char *vaei_foreign_kind(const unsigned char *bytes, size_t known) {
#define VAEI_IN_TORCH "in Python save it with safetensors.torch.save_file(model.state_dict(), \"model.safetensors\")"
#define VAEI_IN_NUMPY "in Python save it with safetensors.numpy.save_file({name: array, ...}, \"model.safetensors\")"
    static const struct { const char *first; size_t size; const char *kind; } kinds[] = {
        { "\x93NUMPY", 6, "this is a NumPy array (.npy): " VAEI_IN_NUMPY },
        { "GGUF", 4, "this is a GGUF file, which vae.h does not read: " VAEI_IN_TORCH },
        { "\x89HDF\r\n\x1a\n", 8, "this is an HDF5 file (.h5, Keras): " VAEI_IN_NUMPY },
        { "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.", 15, "this is a PyTorch file (pickle): " VAEI_IN_TORCH },
        { "\x80", 1, "this is a Python pickle: " VAEI_IN_TORCH },
        { "\x1f\x8b", 2, "this is a gzip file: unpack it first" }
    };
    size_t i, name, length;
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (known >= kinds[i].size && !memcmp(bytes, kinds[i].first, kinds[i].size) &&
            (kinds[i].size > 1 || (known > 1 && bytes[1] >= 2 && bytes[1] <= 5))) return kinds[i].kind;
    /* ONNX is a protocol buffer: field 1 is a small version number, and a text or a message follows. */
    if (known >= 3 && bytes[0] == 8 && bytes[1] > 0 && bytes[1] < 32 && (bytes[2] & 7) == 2)
        return "this is an ONNX file, which vae.h does not read: " VAEI_IN_TORCH;
    if (known < 4 || memcmp(bytes, "PK\3\4", 4)) return NULL;
    name = known < 30 ? 0 : bytes[26] + 256u * bytes[27];           /* a zip archive: what its first entry is called */
    length = name < known - vaei_min_size(30, known) ? name : known - vaei_min_size(30, known);
    for (i = 0; i + 4 <= length; i++) {
        if (!memcmp(bytes + 30 + i, ".npy", 4)) return "this is a NumPy archive (.npz): " VAEI_IN_NUMPY;
        if (!memcmp(bytes + 30 + i, ".pkl", 4)) return "this is a PyTorch file (zip): " VAEI_IN_TORCH;
    }
    return "this is a zip archive: if PyTorch wrote it, " VAEI_IN_TORCH;
#undef VAEI_IN_TORCH
#undef VAEI_IN_NUMPY
}

/* The header's length as the file's first eight bytes have it. */
VAEI_SETUP vae_status vaei_header_length(const unsigned char *bytes, size_t size, size_t *length, vae_error *error) {
    uint64_t number = 0;
    int      i;
    if (size < 8)
        return vaei_fail(error, VAE_ERROR_FORMAT, "the file has %z bytes: it is empty, cut off or not a safetensors "
                         "file", size);
    for (i = 7; i >= 0; i--) number = number << 8 | bytes[i];
    if (number > VAEI_MAX_HEADER)
        return vaei_fail(error, VAE_ERROR_FORMAT, "not a safetensors file: its header would have more than %z bytes",
                         (size_t)VAEI_MAX_HEADER);
    if (number > size - 8)
        return vaei_fail(error, VAE_ERROR_FORMAT, "the file has %z bytes, its header alone should have %z: it is cut "
                         "off or not a safetensors file", size, (size_t)number);
    *length = (size_t)number;
    return VAE_OK;
}

/* The same, with the first `known` bytes of the file at hand: of another kind of file it says which. */
VAEI_SETUP vae_status vaei_check_beginning(const unsigned char *bytes, size_t known, size_t size, size_t *length,
                                           vae_error *error) {
    const vae_status  status = vaei_header_length(bytes, size, length, error);
    const char *const kind = status == VAE_OK ? NULL : vaei_foreign_kind(bytes, known);
    return kind ? vaei_fail(error, VAE_ERROR_FORMAT, "%s", kind) : status;
}

/* Checks all of the header's syntax and finds the metadata. */
VAEI_SETUP vae_status vaei_open_file(vaei_file *file, const void *bytes, size_t size, vae_error *error) {
    vaei_file_tensor tensor;
    vaei_walk        walk;
    size_t           length = 0, valid;
    vae_status       status;
    memset(file, 0, sizeof *file);
    file->bytes = (const unsigned char *)bytes;
    if ((status = vaei_check_beginning(file->bytes, size, size, &length, error)) != VAE_OK) return status;
    file->header_end = 8 + length;
    file->data = file->bytes + file->header_end;
    file->data_size = size - file->header_end;
    valid = vaei_utf8_valid(file->bytes + 8, length);
    if (valid < length)
        return vaei_fail(error, VAE_ERROR_FORMAT, "not a safetensors file, or a damaged one: byte %z of the header is "
                         "not UTF-8", 8 + valid);
    walk = vaei_walk_begin(file);
    while (vaei_walk_next(&walk, file, &tensor)) {}
    if (walk.json.problem)
        return vaei_fail_json(&walk.json, "not a safetensors file, or a damaged one: the header is wrong", error);
    if (!file->config_at) return VAE_OK;
    if (file->version_end - file->version_at == sizeof VAEI_FORMAT_VERSION - 1 &&
        !memcmp(file->bytes + file->version_at, VAEI_FORMAT_VERSION, sizeof VAEI_FORMAT_VERSION - 1)) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "the metadata have no vae.version or another one than "
                     VAEI_FORMAT_VERSION ", which is what vae.h " VAE_VERSION " reads: use the vae.h that wrote the "
                     "file");
}

/* ---- numbers in files ---- */

/* The number at `at`; 0 where it is not finite as a vae_real. */
VAEI_SETUP int vaei_decode_number(int type, const unsigned char *at, vae_real *number) {
    const size_t size = vaei_type_size(type);
    uint64_t     bits = 0;
    uint32_t     low;
    float        single;
    size_t       i;
    for (i = size; i > 0; i--) bits = bits << 8 | at[i - 1];
    if (type == VAEI_F64) {
        double wide;
        memcpy(&wide, &bits, sizeof wide);
        if ((bits >> 52 & 0x7FF) == 0x7FF || wide > (double)VAEI_LARGEST || wide < -(double)VAEI_LARGEST) return 0;
        *number = (vae_real)wide;
        return 1;
    }
    low = (uint32_t)bits;
    if (type == VAEI_F16) {
        const uint32_t exponent = low >> 10 & 31, sign = low >> 15, fraction = low & 1023;
        if (exponent == 31) return 0;
        if (!exponent) {
            single = (float)fraction / 16777216;
            *number = (vae_real)(sign ? -single : single);
            return 1;
        }
        low = sign << 31 | (exponent + 112) << 23 | fraction << 13;
    } else if (type == VAEI_BF16) low <<= 16;
    if ((low >> 23 & 255) == 255) return 0;
    memcpy(&single, &low, sizeof single);
    *number = (vae_real)single;
    return 1;
}

/* ---- matching a file's tensors with a network's ---- */

/* Where each of the network's tensors lies in the data: its weights, then Adam's moments m and v. */
typedef struct vaei_piece {
    size_t begin, end;      /* 0, 0: not in the file */
    int    type;
} vaei_piece;

typedef struct vaei_pieces {
    vaei_piece of[3 * VAEI_MAX_TENSORS];
} vaei_pieces;

static const char *const vaei_groups[] = { "", "adam.m.", "adam.v." };

VAEI_SETUP void vaei_put_dimensions(vaei_text *text, const uint64_t *shape, int rank) {
    int i;
    vaei_put(text, '[');
    for (i = 0; i < rank; i++) {
        if (text->length > 48) {        /* absurd dimensions: the sentence must stay whole */
            vaei_put_string(text, ", ...");
            break;
        }
        if (i) vaei_put_string(text, ", ");
        vaei_put_unsigned(text, shape[i]);
    }
    vaei_put(text, ']');
}

VAEI_SETUP vae_status vaei_check_shape(const vaei_file_tensor *found, const vae_tensor *wanted, vae_error *error) {
    char      shapes[2][VAEI_MAX_RANK * 22 + 8];
    uint64_t  shape[4];
    vaei_text text;
    int       i, same = found->rank == wanted->rank;
    for (i = 0; i < wanted->rank; i++) {
        shape[i] = wanted->shape[i];
        same = same && found->shape[i] == shape[i];
    }
    if (same) return VAE_OK;
    for (i = 0; i < 2; i++) {
        text.bytes = shapes[i];
        text.size = sizeof shapes[i];
        text.length = 0;
        vaei_put_dimensions(&text, i ? shape : found->shape, i ? wanted->rank : found->rank);
        vaei_put(&text, 0);
    }
    return vaei_fail(error, VAE_ERROR_FORMAT, "tensor %s has shape %s in the file and %s in the network: use the "
                     "network that the file was made for", found->name, shapes[0], shapes[1]);
}

/* What a name from a file looks like in a sentence: short and printable. */
VAEI_SETUP const char *vaei_shown_name(char *name) {
    size_t i;
    for (i = 0; name[i] && i < 80; i++)
        if (name[i] < ' ' || name[i] > '~') name[i] = '?';
    name[i] = 0;
    return name;
}

VAEI_SETUP int vaei_find_name(const vae_model *model, const char *name, int *group, size_t *index) {
    vae_tensor tensor;
    *group = !strncmp(name, "adam.m.", 7) ? 1 : !strncmp(name, "adam.v.", 7) ? 2 : 0;
    if (*group) name += 7;
    for (*index = 0; *index < vae_tensor_count(model); ++*index) {
        vae_tensor_at(model, *index, &tensor, NULL);
        if (!strcmp(tensor.name, name)) return 1;
    }
    return 0;
}

/* Moments are expected only in files of ours. */
VAEI_SETUP vae_status vaei_match_tensor(const vae_model *model, const vaei_file *file, vaei_file_tensor *found,
                                          vaei_pieces *pieces, vae_error *error) {
    static const char *const types[] = { "F32", "F64", "F16", "BF16" };
    vae_tensor               wanted;
    vaei_piece              *piece;
    vae_status               status;
    size_t                   index;
    int                      group, type;
    if (!vaei_find_name(model, found->name, &group, &index) || (group && !file->config_at))
        return vaei_fail(error, VAE_ERROR_FORMAT, "the file's tensor %s is none of the network's: use the network "
                         "that the file was made for, or leave the tensor out", vaei_shown_name(found->name));
    vae_tensor_at(model, index, &wanted, NULL);
    piece = &pieces->of[(size_t)group * VAEI_MAX_TENSORS + index];
    if (piece->end) return vaei_fail(error, VAE_ERROR_FORMAT, "tensor %s comes twice in the file", found->name);
    for (type = 0; type < VAEI_TYPES && strcmp(types[type], found->type_name); type++) {}
    if (type == VAEI_TYPES || (type == VAEI_F64 && sizeof(double) != 8))
        return vaei_fail(error, VAE_ERROR_FORMAT, "tensor %s has dtype %s: save it as F32, F16, BF16 or F64",
                         found->name, vaei_shown_name(found->type_name));
    if ((status = vaei_check_shape(found, &wanted, error)) != VAE_OK) return status;
    if (found->begin > found->end || found->end > file->data_size)
        return vaei_fail(error, VAE_ERROR_FORMAT, "tensor %s should lie beyond the end of the file: it is cut off or "
                         "damaged", found->name);
    /* The shape is the network's by now, so its product fits. */
    if (wanted.count > (size_t)-1 / 8 || found->end - found->begin != wanted.count * vaei_type_size(type))
        return vaei_fail(error, VAE_ERROR_FORMAT, "tensor %s has another number of bytes than its shape and dtype "
                         "say: the file is damaged", found->name);
    piece->begin = (size_t)found->begin;
    piece->end = (size_t)found->end;
    piece->type = type;
    return VAE_OK;
}

/* Each byte of the data must belong to one tensor. None is empty, so every step of the way through them leads on. */
VAEI_SETUP vae_status vaei_check_cover(const vaei_file *file, const vaei_pieces *pieces, vae_error *error) {
    const vaei_piece *all = pieces->of;
    size_t            left = 0, at = 0, i;
    for (i = 0; i < 3 * VAEI_MAX_TENSORS; i++) left += all[i].end != 0;
    for (; left; left--) {
        for (i = 0; i < 3 * VAEI_MAX_TENSORS; i++)
            if (all[i].end && all[i].begin == at) break;
        if (i == 3 * VAEI_MAX_TENSORS)
            return vaei_fail(error, VAE_ERROR_FORMAT, "the tensors leave a gap or overlap at byte %z of the data: the "
                             "file is damaged", at);
        at = all[i].end;
    }
    if (at == file->data_size) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_FORMAT, "the file has %z bytes of data, its tensors only %z: something was "
                     "appended, or the file is damaged", file->data_size, at);
}

VAEI_SETUP vae_status vaei_check_values(const vaei_file *file, const vaei_piece *piece, int group, const char *name,
                                          vae_error *error) {
    const size_t size = vaei_type_size(piece->type);
    size_t       at;
    vae_real     number;
    for (at = piece->begin; at < piece->end; at += size) {
        const size_t index = (at - piece->begin) / size;
        if (!vaei_decode_number(piece->type, file->data + at, &number))
            return vaei_fail(error, VAE_ERROR_FORMAT, "number %z of the file's tensor %s%s is not finite: training had "
                             "failed before it was saved, or the file is damaged", index, vaei_groups[group], name);
        if (group == 2 && number < 0)
            return vaei_fail(error, VAE_ERROR_FORMAT, "number %z of the file's tensor adam.v.%s is negative: the file "
                             "is damaged", index, name);
    }
    return VAE_OK;
}

/* Finds the network's tensors in the file and checks everything about them. `model` may be a plan only. */
VAEI_SETUP vae_status vaei_match_tensors(const vae_model *model, vaei_file *file, int groups, vaei_pieces *pieces,
                                           vae_error *error) {
    const size_t     count = vae_tensor_count(model);
    vaei_file_tensor found;
    vaei_walk        walk = vaei_walk_begin(file);
    vae_tensor       tensor;
    vae_status       status;
    size_t           i;
    int              group;
    memset(pieces, 0, sizeof *pieces);
    while (vaei_walk_next(&walk, file, &found))
        if ((status = vaei_match_tensor(model, file, &found, pieces, error)) != VAE_OK) return status;
    for (group = 0; group < groups; group++)
        for (i = 0; i < count; i++) {
            if (pieces->of[(size_t)group * VAEI_MAX_TENSORS + i].end) continue;
            vae_tensor_at(model, i, &tensor, NULL);
            return vaei_fail(error, VAE_ERROR_FORMAT, "the file has no tensor %s%s: use the network that the file was "
                             "made for", vaei_groups[group], tensor.name);
        }
    if ((status = vaei_check_cover(file, pieces, error)) != VAE_OK) return status;
    if (!file->data) return VAE_OK;         /* only the header has been read */
    for (group = 0; group < groups; group++)
        for (i = 0; i < count; i++) {
            vae_tensor_at(model, i, &tensor, NULL);
            status = vaei_check_values(file, &pieces->of[(size_t)group * VAEI_MAX_TENSORS + i], group, tensor.name,
                                       error);
            if (status != VAE_OK) return status;
        }
    return VAE_OK;
}

VAEI_SETUP void vaei_fill_block(const vae_model *model, const vaei_file *file, const vaei_pieces *pieces, int group,
                                  vae_real *block) {
    size_t tensor, i;
    for (tensor = 0; tensor < vae_tensor_count(model); tensor++) {
        const vaei_piece    *piece = &pieces->of[(size_t)group * VAEI_MAX_TENSORS + tensor];
        const size_t         size = vaei_type_size(piece->type), count = (piece->end - piece->begin) / size;
        const unsigned char *from = file->data + piece->begin;
        for (i = 0; i < count; i++)
            vaei_decode_number(piece->type, from + i * size, &block[vaei_tensor_element(model, tensor, i)]);
    }
}

/* ---- the network of the file and the one given ---- */

VAEI_SETUP int vaei_same_shape(vae_shape a, vae_shape b) {
    return a.height == b.height && a.width == b.width && a.channels == b.channels;
}

/* Of two layers with their padding in numbers. */
VAEI_SETUP int vaei_same_layer(const vae_layer *a, const vae_layer *b) {
    if (a->kind != b->kind || a->activation != b->activation) return 0;
    if (a->kind == VAE_LAYER_DENSE) return vaei_same_shape(a->shape, b->shape);
    return a->shape.channels == b->shape.channels && a->kernel_height == b->kernel_height &&
           a->kernel_width == b->kernel_width && a->stride_height == b->stride_height &&
           a->stride_width == b->stride_width && a->top == b->top && a->bottom == b->bottom && a->left == b->left &&
           a->right == b->right;
}

VAEI_SETUP vae_status vaei_agree_layers(const char *part, vae_shape in, const vae_layer *ours,
                                          const vae_layer *theirs, const char *whose, vae_error *error) {
    const int  count = vaei_count_layers(ours), other_count = vaei_count_layers(theirs);
    vae_status status;
    vaei_where where;
    vae_layer  a, b;
    vae_shape  out, other_out;
    where.part = part;
    if (count != other_count)
        return vaei_fail(error, VAE_ERROR_CONFIG, "the %s has %d layers in the file and %d in %s", part, count,
                         other_count, whose);
    for (where.number = 1; where.number <= count; where.number++, in = out) {
        if ((status = vaei_infer_shape(&ours[where.number - 1], in, where, &out, &a, error)) != VAE_OK ||
            (status = vaei_infer_shape(&theirs[where.number - 1], in, where, &other_out, &b, error)) != VAE_OK)
            return status;
        if (!vaei_same_shape(out, other_out) || !vaei_same_layer(&a, &b))
            return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d is another one in the file than in %s", part,
                             where.number, whose);
    }
    return VAE_OK;
}

/* `given` must have the file's network, or zeros. `whose` says whose network it is and what to do. */
VAEI_SETUP vae_status vaei_agree(const vae_config *file, const vae_config *given, const char *whose,
                                   vae_error *error) {
    const vae_shape none = { 0, 0, 0 };
    vae_shape       z = { 1, 1, 0 };
    vae_status      status = VAE_OK;
    z.channels = file->latent;
    if (!vaei_same_shape(given->input, none) && !vaei_same_shape(given->input, file->input))
        return vaei_fail(error, VAE_ERROR_CONFIG, "input is %d x %d x %d in the file and %d x %d x %d in %s",
                         file->input.height, file->input.width, file->input.channels, given->input.height,
                         given->input.width, given->input.channels, whose);
    if (given->latent && given->latent != file->latent)
        return vaei_fail(error, VAE_ERROR_CONFIG, "latent is %d in the file and %d in %s", file->latent, given->latent,
                         whose);
    if (vaei_count_layers(given->encoder))
        status = vaei_agree_layers("encoder", file->input, file->encoder, given->encoder, whose, error);
    if (status == VAE_OK && vaei_count_layers(given->decoder))
        status = vaei_agree_layers("decoder", z, file->decoder, given->decoder, whose, error);
    return status;
}

VAEI_SETUP vae_status vaei_agree_with_config(const vae_config *file, const vae_config *given, vae_error *error) {
    const char *const whose = "the config: leave it out there or make it the same";
    if ((int)given->likelihood && given->likelihood != file->likelihood)
        return vaei_fail(error, VAE_ERROR_CONFIG, "likelihood is another one in the file than in %s", whose);
    if (given->sigma != 0 && given->sigma != file->sigma)
        return vaei_fail(error, VAE_ERROR_CONFIG, "sigma is %r in the file and %r in %s", (double)file->sigma,
                         (double)given->sigma, whose);
    return vaei_agree(file, given, whose, error);
}

/* What loading takes from the config given. */
VAEI_SETUP void vaei_merge(vae_config *config, const vae_config *given) {
    if (given->seed) config->seed = given->seed;
    if (given->batch) config->batch = given->batch;
    if (given->layout != VAE_CHANNELS_LAST) config->layout = given->layout;
    if (given->beta != 0) config->beta = given->beta;
    if (given->adam.learning_rate != 0) config->adam.learning_rate = given->adam.learning_rate;
    if (given->adam.beta1 != 0) config->adam.beta1 = given->adam.beta1;
    if (given->adam.beta2 != 0) config->adam.beta2 = given->adam.beta2;
    if (given->adam.epsilon != 0) config->adam.epsilon = given->adam.epsilon;
    config->kernels = given->kernels;
    config->threads = given->threads;
    config->parallel = given->parallel;
    config->allocator = given->allocator;
    config->inference_only = given->inference_only;
}

VAEI_SETUP vae_status vaei_read_config(const vaei_file *file, vae_config *config, vae_error *error) {
    vaei_json json = vaei_json_of(file->bytes, file->config_at, file->config_end, 1);
    if (vaei_json_config(&json, config)) return VAE_OK;
    return vaei_fail_json(&json, "the network in the file's metadata (vae.config) is wrong", error);
}

/* ---- loading ---- */

typedef struct vaei_loading {
    vaei_file           file;
    vae_model           plan_only;          /* a model without its numbers: it names the tensors and shapes */
    vae_config          config;             /* for vae_create */
    vaei_progress_state state;
    vaei_pieces        pieces;
    int                 groups;             /* blocks to fill: the weights, or the moments too */
} vaei_loading;

/* Everything but making the model. Nothing may be wrong with the file after this, and the model is no larger than its
   tensors and config.batch make it. */
VAEI_SETUP vae_status vaei_prepare_loading(vaei_loading *loading, const vae_config *given, vae_error *error) {
    vaei_file *file = &loading->file;
    vae_model *plan_only = &loading->plan_only;
    vae_status status;
    memset(plan_only, 0, sizeof *plan_only);
    memset(&loading->state, 0, sizeof loading->state);
    if (file->config_at) {
        if ((status = vaei_read_config(file, &loading->config, error)) != VAE_OK) return status;
        if (given && (status = vaei_agree_with_config(&loading->config, given, error)) != VAE_OK) return status;
        if (given) vaei_merge(&loading->config, given);
    } else if (given) {
        loading->config = *given;
    } else
        return vaei_fail(error, VAE_ERROR_CONFIG, "the file does not say which network it is for (it has no "
                         "vae.config in its metadata): give the config");
    if (file->config_at && file->state_at) {
        vaei_json json = vaei_json_of(file->bytes, file->state_at, file->state_end, 1);
        if (!vaei_json_state(&json, &loading->state))
            return vaei_fail_json(&json, "the state in the file's metadata (vae.state) is wrong", error);
    }
    if ((status = vae_defaults(&loading->config, &plan_only->config, error)) != VAE_OK) return status;
    if ((status = vaei_plan_network(&plan_only->config, &plan_only->plan, error)) != VAE_OK) return status;
    loading->groups = file->config_at && file->state_at && plan_only->plan.trains ? 3 : 1;
    return vaei_match_tensors(plan_only, file, loading->groups, &loading->pieces, error);
}

VAEI_SETUP void vaei_fill_model(vae_model *model, const vaei_loading *loading) {
    vaei_fill_block(model, &loading->file, &loading->pieces, 0, model->parameters);
    if (loading->groups > 1) {
        vaei_fill_block(model, &loading->file, &loading->pieces, 1, model->moment1);
        vaei_fill_block(model, &loading->file, &loading->pieces, 2, model->moment2);
    }
    model->step = loading->state.step;
    model->epoch = loading->state.epoch;
    model->position = loading->state.position;
    model->samples_drawn = loading->state.samples_drawn;
}

VAE_API vae_status vae_load_memory(const void *bytes, size_t size, const vae_config *config, vae_model **model,
                                   vae_error *error) {
    vae_allocator allocator;
    vaei_loading *loading;
    vae_model    *made;
    vaei_file     file;
    vae_status    status;
    if (!bytes || !model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_load: bytes or model is NULL");
    memset(&allocator, 0, sizeof allocator);
    if (config) allocator = config->allocator;
    if (!allocator.allocate != !allocator.release)
        return vaei_fail(error, VAE_ERROR_CONFIG, "allocator has only one of its functions: give both or neither");
    if ((status = vaei_open_file(&file, bytes, size, error)) != VAE_OK) return status;
    loading = (vaei_loading *)vaei_allocate(&allocator, sizeof *loading);
    if (!loading)
        return vaei_fail(error, VAE_ERROR_MEMORY, "%z bytes could not be allocated to read the file", sizeof *loading);
    loading->file = file;
    status = vaei_prepare_loading(loading, config, error);
    if (status == VAE_OK) status = vae_create(&loading->config, &made, error);
    if (status == VAE_OK) {
        vaei_fill_model(made, loading);
        *model = made;
    }
    vaei_release(&allocator, loading, sizeof *loading);
    return status;
}

/* Whether the file holds weights of this model, and where. */
VAEI_SETUP vae_status vaei_match_weights(const vae_model *model, vaei_file *file, vaei_pieces *pieces,
                                         vae_error *error) {
    vae_config config;
    vae_status status;
    if (file->config_at) {
        if ((status = vaei_read_config(file, &config, error)) != VAE_OK) return status;
        status = vaei_agree(&config, &model->config, "the model: make a model of the file with vae_load", error);
        if (status != VAE_OK) return status;
    }
    return vaei_match_tensors(model, file, 1, pieces, error);
}

VAE_API vae_status vae_load_weights_memory(vae_model *model, const void *bytes, size_t size, vae_error *error) {
    vaei_file   file;
    vaei_pieces pieces;
    vae_status  status;
    if (!model || !bytes) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_load_weights: model or bytes is NULL");
    if ((status = vaei_open_file(&file, bytes, size, error)) != VAE_OK) return status;
    if ((status = vaei_match_weights(model, &file, &pieces, error)) != VAE_OK) return status;
    vaei_fill_block(model, &file, &pieces, 0, model->parameters);
    return VAE_OK;
}

/* ---- writing: to memory, to a file, or to nowhere, which counts ---- */

typedef struct vaei_writer {
    unsigned char *memory;              /* NULL: not to memory */
    void         (*flush)(struct vaei_writer *writer);      /* NULL: not to a file */
    void          *file;
    size_t         total, used;         /* bytes so far; of them in the buffer */
    int            in_string;           /* what is written stands in a JSON string: escapes quotes */
    int            failed;              /* errno of the write that failed, or -1 */
    unsigned char  buffer[4096];
} vaei_writer;

VAEI_SETUP void vaei_write_byte(vaei_writer *writer, unsigned char value) {
    if (writer->memory) writer->memory[writer->total] = value;
    writer->total++;
    if (!writer->flush) return;
    if (writer->used == sizeof writer->buffer) writer->flush(writer);
    writer->buffer[writer->used++] = value;
}

VAEI_SETUP void vaei_write_string(vaei_writer *writer, const char *string) {
    for (; *string; string++) {
        if (writer->in_string && *string == '"') vaei_write_byte(writer, '\\');
        vaei_write_byte(writer, (unsigned char)*string);
    }
}

/* Up to 300 characters. */
VAEI_SETUP void vaei_write(vaei_writer *writer, const char *format, ...) {
    char      line[300];
    vaei_text text;
    va_list   list;
    text.bytes = line;
    text.size = sizeof line;
    text.length = 0;
    va_start(list, format);
    vaei_format_list(&text, format, list);
    va_end(list);
    vaei_write_string(writer, line);
}

/* "name":number */
VAEI_SETUP void vaei_write_real(vaei_writer *writer, const char *name, vae_real number) {
    char      digits[40];
    vaei_text text;
    text.bytes = digits;
    text.size = sizeof digits;
    text.length = 0;
    vaei_put_exact_real(&text, number);
    vaei_put(&text, 0);
    vaei_write(writer, "\"%s\":%s", name, digits);
}

VAEI_SETUP void vaei_write_quoted(vaei_writer *writer, const char *name, uint64_t number) {
    char      digits[24];
    vaei_text text;
    text.bytes = digits;
    text.size = sizeof digits;
    text.length = 0;
    vaei_put_unsigned(&text, number);
    vaei_put(&text, 0);
    vaei_write(writer, "\"%s\":\"%s\"", name, digits);
}

VAEI_SETUP void vaei_write_layers(vaei_writer *writer, const char *name, const vae_layer *layers) {
    static const char *const kinds[] = VAEI_KIND_NAMES;
    const int                count = vaei_count_layers(layers);
    int                      i;
    vaei_write(writer, "\"%s\":[", name);
    for (i = 0; i < count; i++) {
        const vae_layer *l = &layers[i];
        vaei_write(writer, "%s{\"kind\":\"%s\",", i ? "," : "", kinds[l->kind - VAE_LAYER_DENSE]);
        if (l->kind == VAE_LAYER_DENSE)
            vaei_write(writer, "\"shape\":[%d,%d,%d],", l->shape.height, l->shape.width, l->shape.channels);
        else {
            vaei_write(writer, "\"channels\":%d,\"kernel\":[%d,%d],\"stride\":[%d,%d],\"padding\":", l->shape.channels,
                       l->kernel_height, l->kernel_width, l->stride_height, l->stride_width);
            if (l->padding == VAE_SAME) vaei_write(writer, "\"same\",");
            else vaei_write(writer, "[%d,%d,%d,%d],", l->top, l->bottom, l->left, l->right);
            if (l->padding == VAE_EXPLICIT && l->kind == VAE_LAYER_CONV_TRANSPOSED)
                vaei_write(writer, "\"output_padding\":[%d,%d],", l->output_padding_height, l->output_padding_width);
        }
        vaei_write(writer, "\"activation\":\"%s\"}", vaei_activation_name(l->activation));
    }
    vaei_write(writer, "],");
}

/* The network and its settings as they are now. */
VAEI_SETUP void vaei_write_config(vaei_writer *writer, const vae_model *model) {
    static const char *const likelihoods[] = VAEI_LIKELIHOOD_NAMES, *const layouts[] = VAEI_LAYOUT_NAMES;
    static const char *const initializations[] = VAEI_INITIALIZATION_NAMES;
    const vae_config        *c = &model->config;
    vaei_write(writer, "{\"input\":[%d,%d,%d],\"latent\":%d,", c->input.height, c->input.width, c->input.channels,
               c->latent);
    vaei_write_layers(writer, "encoder", c->encoder);
    vaei_write_layers(writer, "decoder", c->decoder);
    vaei_write(writer, "\"likelihood\":\"%s\",", likelihoods[c->likelihood]);
    vaei_write_real(writer, "sigma", c->sigma);
    vaei_write_string(writer, ",");
    vaei_write_real(writer, "beta", model->beta);
    vaei_write(writer, ",\"initialization\":\"%s\",\"layout\":\"%s\",\"adam\":{", initializations[c->initialization],
               layouts[c->layout]);
    vaei_write_real(writer, "learning_rate", model->learning_rate);
    vaei_write_string(writer, ",");
    vaei_write_real(writer, "beta1", vaei_setting(c->adam.beta1));
    vaei_write_string(writer, ",");
    vaei_write_real(writer, "beta2", vaei_setting(c->adam.beta2));
    vaei_write_string(writer, ",");
    vaei_write_real(writer, "epsilon", c->adam.epsilon);
    vaei_write_string(writer, "},");
    vaei_write_quoted(writer, "seed", c->seed);
    vaei_write(writer, ",\"batch\":%z}", c->batch);
}

VAEI_SETUP void vaei_write_state(vaei_writer *writer, const vae_model *model) {
    vaei_write_string(writer, "{");
    vaei_write_quoted(writer, "step", model->step);
    vaei_write_string(writer, ",");
    vaei_write_quoted(writer, "epoch", model->epoch);
    vaei_write_string(writer, ",");
    vaei_write_quoted(writer, "position", model->position);
    vaei_write_string(writer, ",");
    vaei_write_quoted(writer, "samples_drawn", model->samples_drawn);
    vaei_write_string(writer, "}");
}

/* The numbers of the tensors in the order of their names, as safetensors writes them. */
VAEI_SETUP void vaei_order_tensors(const vae_model *model, size_t *order) {
    vae_tensor a, b;
    size_t     i, j;
    for (i = 0; i < vae_tensor_count(model); i++) {
        vae_tensor_at(model, i, &a, NULL);
        for (j = i; j > 0; j--) {
            vae_tensor_at(model, order[j - 1], &b, NULL);
            if (strcmp(b.name, a.name) < 0) break;
            order[j] = order[j - 1];
        }
        order[j] = i;
    }
}

/* "adam..." comes before every name of a network, so the groups follow one another: m, v, weights. */
VAEI_SETUP void vaei_write_header(vaei_writer *writer, const vae_model *model, int checkpoint, const size_t *order) {
    size_t offset = 0, i;
    int    turn;
    vaei_write_string(writer, "{\"__metadata__\":{\"format\":\"pt\",\"generator\":\"vae.h " VAE_VERSION
                      "\",\"vae.version\":\"" VAEI_FORMAT_VERSION "\",\"vae.config\":\"");
    writer->in_string = 1;
    vaei_write_config(writer, model);
    writer->in_string = 0;
    if (checkpoint) {
        vaei_write_string(writer, "\",\"vae.state\":\"");
        writer->in_string = 1;
        vaei_write_state(writer, model);
        writer->in_string = 0;
    }
    vaei_write_string(writer, "\"}");
    for (turn = checkpoint ? 1 : 3; turn <= 3; turn++)
        for (i = 0; i < vae_tensor_count(model); i++) {
            vae_tensor tensor;
            int        k;
            vae_tensor_at(model, order[i], &tensor, NULL);
            vaei_write(writer, ",\"%s%s\":{\"dtype\":\"%s\",\"shape\":[", vaei_groups[turn % 3], tensor.name,
                       sizeof(vae_real) == 8 ? "F64" : "F32");
            for (k = 0; k < tensor.rank; k++) vaei_write(writer, k ? ",%z" : "%z", tensor.shape[k]);
            vaei_write(writer, "],\"data_offsets\":[%z,%z]}", offset, offset + tensor.count * sizeof(vae_real));
            offset += tensor.count * sizeof(vae_real);
        }
    vaei_write_string(writer, "}");
}

VAEI_SETUP void vaei_write_number(vaei_writer *writer, vae_real number) {
#ifdef VAE_DOUBLE
    uint64_t bits;
#else
    uint32_t bits;
#endif
    size_t i;
    memcpy(&bits, &number, sizeof bits);
    for (i = 0; i < sizeof bits; i++) vaei_write_byte(writer, (unsigned char)(bits >> (8 * i) & 255));
}

VAEI_SETUP void vaei_write_block(vaei_writer *writer, const vae_model *model, const vae_real *block,
                                   const size_t *order) {
    vae_tensor tensor;
    size_t     i, k;
    for (i = 0; i < vae_tensor_count(model); i++) {
        vae_tensor_at(model, order[i], &tensor, NULL);
        for (k = 0; k < tensor.count && !writer->failed; k++)
            vaei_write_number(writer, block[vaei_tensor_element(model, order[i], k)]);
    }
}

VAEI_SETUP size_t vaei_blocks_written(int checkpoint) { return checkpoint ? 3 : 1; }

/* The whole file. `size` receives its size before anything is written; `capacity` is how much fits. */
VAEI_SETUP vae_status vaei_write_model(vaei_writer *writer, const vae_model *model, int checkpoint, size_t capacity,
                                         size_t *size, vae_error *error) {
    const size_t count = model->plan.parameter_count;
    size_t       order[VAEI_MAX_TENSORS], header, padded, i;
    vaei_writer *counter = writer;
    void       (*const flush)(vaei_writer *) = writer->flush;
    unsigned char *const memory = writer->memory;
    vaei_order_tensors(model, order);
    counter->flush = NULL;              /* the header once to nowhere: its length comes first */
    counter->memory = NULL;
    vaei_write_header(counter, model, checkpoint, order);
    header = counter->total;
    padded = (header + 7) / 8 * 8;
    counter->total = 0;
    counter->flush = flush;
    counter->memory = memory;
    *size = 8 + padded + vaei_blocks_written(checkpoint) * count * sizeof(vae_real);
    if (!flush && !memory) return VAE_OK;
    if (capacity < *size)
        return vaei_fail(error, VAE_ERROR_MEMORY, "the file needs %z bytes, the memory given has %z", *size, capacity);
    for (i = 0; i < 8; i++) vaei_write_byte(writer, (unsigned char)(i < sizeof padded ? padded >> (8 * i) & 255 : 0));
    vaei_write_header(writer, model, checkpoint, order);
    for (; header < padded; header++) vaei_write_byte(writer, ' ');
    if (checkpoint) {
        vaei_write_block(writer, model, model->moment1, order);
        vaei_write_block(writer, model, model->moment2, order);
    }
    vaei_write_block(writer, model, model->parameters, order);
    return VAE_OK;
}

VAEI_SETUP int vaei_block_is_finite(const vae_real *block, size_t count) {
    size_t i;
    for (i = 0; i < count; i++)
        if (!vaei_finite(block[i])) return 0;
    return 1;
}

/* Whether the model can be saved such that it can be loaded again. */
VAEI_SETUP vae_status vaei_check_saving(const vae_model *model, int checkpoint, const char *call, vae_error *error) {
    if (!model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: model is NULL", call);
#ifdef VAE_INFERENCE_ONLY
    if (checkpoint)
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "%s: built with VAE_INFERENCE_ONLY, which has no checkpoints",
                         call);
#endif
    if (checkpoint && !model->moment1)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: the model was made inference_only and has nothing to go on "
                         "with: save it without checkpoint", call);
    if (!vaei_block_is_finite(model->parameters, model->plan.parameter_count) ||
        (checkpoint && (!vaei_block_is_finite(model->moment1, model->plan.parameter_count) ||
                        !vaei_block_is_finite(model->moment2, model->plan.parameter_count))))
        return vaei_fail(error, VAE_ERROR_NUMERIC, "%s: a weight or moment is not finite; nothing was written", call);
    return VAE_OK;
}

VAE_API vae_status vae_save_memory(const vae_model *model, int checkpoint, void *bytes, size_t capacity, size_t *size,
                                   vae_error *error) {
    vaei_writer writer;
    vae_status  status;
    if (!size) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_save_memory: size is NULL");
    if ((status = vaei_check_saving(model, checkpoint, "vae_save_memory", error)) != VAE_OK) return status;
    memset(&writer, 0, sizeof writer);
    writer.memory = (unsigned char *)bytes;
    return vaei_write_model(&writer, model, checkpoint, capacity, size, error);
}

/* ---- files ----

   The operations on files are macros, so that tests can put in others that fail or forget what was not flushed. */

#ifndef VAE_NO_STDIO
#if defined(_MSC_VER)
#pragma warning(push)
#pragma warning(disable : 4996)     /* open and strerror are standard enough */
#endif

#include <errno.h>
#define VAEI_MAX_PATH 4096          /* with the closing zero */

#if defined(VAEI_POSIX)
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>
#ifndef __wasi__
#include <sys/file.h>
#endif
#if defined(O_CLOEXEC)
#define VAEI_IO_FLAGS O_CLOEXEC     /* child processes do not inherit the file */
#elif defined(__O_CLOEXEC)
#define VAEI_IO_FLAGS __O_CLOEXEC
#else
#define VAEI_IO_FLAGS 0
#endif
#if defined(O_NOFOLLOW)
#define VAEI_IO_NO_LINK O_NOFOLLOW
#elif defined(__O_NOFOLLOW)
#define VAEI_IO_NO_LINK __O_NOFOLLOW
#else
#define VAEI_IO_NO_LINK 0
#endif
typedef int vaei_handle;
#define VAEI_IO_NONE (-1)

#ifdef VAEI_HIDDEN_POSIX
extern ssize_t vaei_readlink(const char *path, char *text, size_t size) __asm__("readlink");
extern int     vaei_fchmod(int file, mode_t mode) __asm__("fchmod");
extern int     vaei_fchown(int file, uid_t user, gid_t group) __asm__("fchown");
#else
#define vaei_readlink readlink
#ifndef __wasi__
#define vaei_fchmod fchmod
#define vaei_fchown fchown
#endif
#endif

/* Renaming would put a file in the place of a device or pipe; of a directory it says nothing helpful. */
VAEI_SETUP int vaei_is_special(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && !S_ISREG(about.st_mode);
}

VAEI_SETUP int64_t vaei_file_size(vaei_handle file) {
    const off_t size = lseek(file, 0, SEEK_END);
    return size < 0 || lseek(file, 0, SEEK_SET) != 0 ? -1 : (int64_t)size;
}

#ifndef VAEI_IO_OPEN
#define VAEI_IO_OPEN(path) open((path), O_RDONLY | VAEI_IO_FLAGS)
#define VAEI_IO_CREATE(path, mode) open((path), O_WRONLY | O_CREAT | O_EXCL | VAEI_IO_FLAGS, (mode_t)(mode))
#define VAEI_IO_EXISTS() (errno == EEXIST)
#define VAEI_IO_IS_SPECIAL(path) vaei_is_special(path)
#define VAEI_IO_SIZE(file) vaei_file_size(file)
#define VAEI_IO_READ(file, bytes, size) ((long)read((file), (bytes), (size)))
#define VAEI_IO_WRITE(file, bytes, size) ((long)write((file), (bytes), (size)))
#define VAEI_IO_SYNC(file) fsync(file)
#define VAEI_IO_CLOSE(file) close(file)
#define VAEI_IO_RENAME(from, to) rename((from), (to))
#define VAEI_IO_REMOVE(path) unlink(path)
#endif

/* The file that `path` leads to through symbolic links: that one is replaced, not the link. 0, or why not. */
VAEI_SETUP int vaei_follow_links(const char *path, char target[VAEI_MAX_PATH]) {
    char        link[VAEI_MAX_PATH];
    struct stat about[2];
    int         links, is_there;
    strcpy(target, path);
    for (links = 0; links < 40; links++) {
        const long   size = (long)vaei_readlink(target, link, sizeof link);
        const char  *slash = strrchr(target, '/');
        const size_t folder = size > 0 && link[0] == '/' ? 0 : slash ? (size_t)(slash - target) + 1 : 0;
        if (size > 0) {
            if (folder + (size_t)size >= VAEI_MAX_PATH) return ENAMETOOLONG;
            memcpy(target + folder, link, (size_t)size);
            target[folder + (size_t)size] = 0;
            continue;
        }
        if (!links) return 0;
        /* A link below /proc leads to an open file, whose name may be gone. */
        is_there = stat(path, &about[0]) == 0;
        if (is_there != (stat(target, &about[1]) == 0)) return EINVAL;
        return is_there && (about[0].st_dev != about[1].st_dev || about[0].st_ino != about[1].st_ino) ? EINVAL : 0;
    }
    return ELOOP;
}

/* 0600 where a file is replaced: nobody else reads the new one before it has the old one's owner and mode. */
VAEI_SETUP unsigned vaei_first_mode(const char *target) {
    struct stat about;
    return stat(target, &about) == 0 ? 0600u : 0666u;
}

/* Gives `file` the owner and mode of the file that it will replace, as far as the process may. A group that it cannot
   keep loses its rights. */
VAEI_SETUP void vaei_keep_mode(vaei_handle file, const char *target) {
#ifdef __wasi__
    (void)file; (void)target;
#else
    struct stat old, now;
    mode_t      mode;
    if (stat(target, &old) || fstat(file, &now)) return;
    mode = old.st_mode & 07777;
    if (now.st_uid != old.st_uid || now.st_gid != old.st_gid)
        if (vaei_fchown(file, old.st_uid, old.st_gid)) {
            mode &= 0777;
            if (now.st_gid != old.st_gid && vaei_fchown(file, (uid_t)-1, old.st_gid)) mode &= 0707;
        }
    vaei_fchmod(file, mode);
#endif
}

/* ---- whose temporary file it is ----

   Whoever saves holds a lock on the temporary file until it has its final name. The lock of a process that was killed
   is gone, so its file can be told from one being written, and is removed. Without locks age has to tell. */

VAEI_SETUP int vaei_has_name(vaei_handle file, const char *path) {
    struct stat of_file, of_name;
    return !fstat(file, &of_file) && !stat(path, &of_name) && of_file.st_dev == of_name.st_dev &&
           of_file.st_ino == of_name.st_ino;
}

#ifdef LOCK_EX
/* The lock on `path`, whose content is none of its business; -1: someone else has it, -2: there are no locks here. */
VAEI_SETUP vaei_handle vaei_lock(const char *path) {
    const vaei_handle file = open(path, O_RDWR | O_NONBLOCK | VAEI_IO_NO_LINK | VAEI_IO_FLAGS);
    int               result;
    if (file < 0) return -1;
    do result = flock(file, LOCK_EX | LOCK_NB);
    while (result && errno == EINTR);
    if (!result) return file;
    result = errno == EWOULDBLOCK || errno == EAGAIN ? -1 : -2;
    close(file);
    return result;
}
VAEI_SETUP void vaei_unlock(vaei_handle lock) {
    if (lock >= 0) close(lock);
}
#else
VAEI_SETUP vaei_handle vaei_lock(const char *path) { (void)path; return -2; }
VAEI_SETUP void        vaei_unlock(vaei_handle lock) { (void)lock; }
#endif

VAEI_SETUP int vaei_is_mine(const struct stat *about) {
#ifdef __wasi__
    (void)about;
    return 1;
#else
    return about->st_uid == geteuid();
#endif
}

/* Removes a temporary file that a save left behind which did not come to its end. */
VAEI_SETUP void vaei_remove_stale(const char *temporary) {
    const vaei_handle lock = vaei_lock(temporary);
    struct stat       about;
    if (lock != -1 && !stat(temporary, &about) && S_ISREG(about.st_mode) && vaei_is_mine(&about) &&
        (lock >= 0 ? vaei_has_name(lock, temporary) : time(NULL) - about.st_mtime > 3600)) VAEI_IO_REMOVE(temporary);
    vaei_unlock(lock);
}

/* A new name is on the disk only when its directory is. `path` is cut to the directory. Where directories cannot be
   opened or flushed there is nothing left to do. */
VAEI_SETUP int vaei_sync_directory(char *path) {
    char       *slash = strrchr(path, '/');
    vaei_handle file;
    int         result;
    if (!slash) {
        path[0] = '.';
        slash = path;
    }
    slash[slash == path] = 0;
    if ((file = VAEI_IO_OPEN(path)) == VAEI_IO_NONE) return 0;
    do result = VAEI_IO_SYNC(file);
    while (result && errno == EINTR);
    if (result && (errno == EINVAL || errno == EBADF)) result = 0;
    VAEI_IO_CLOSE(file);
    return result;
}

#elif defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#include <sys/stat.h>
#include <time.h>
typedef int vaei_handle;
#define VAEI_IO_NONE (-1)

/* Paths are UTF-8. What is not is taken as main's arguments are, in the system's own code page. */
VAEI_SETUP int vaei_wide_path(const char *path, wchar_t wide[VAEI_MAX_PATH]) {
    if (MultiByteToWideChar(65001, 8, path, -1, wide, VAEI_MAX_PATH)) return 1;
    if (MultiByteToWideChar(0, 0, path, -1, wide, VAEI_MAX_PATH)) return 1;
    errno = EINVAL;
    return 0;
}

VAEI_SETUP vaei_handle vaei_open_wide(const char *path, int flags) {
    wchar_t wide[VAEI_MAX_PATH];
    return vaei_wide_path(path, wide) ? _wopen(wide, flags | _O_BINARY | _O_NOINHERIT, _S_IREAD | _S_IWRITE) : -1;
}

VAEI_SETUP int vaei_rename_wide(const char *from, const char *to) {
    wchar_t wide[2][VAEI_MAX_PATH];
    if (!vaei_wide_path(from, wide[0]) || !vaei_wide_path(to, wide[1])) return -1;
    if (MoveFileExW(wide[0], wide[1], 1 | 8)) return 0;         /* replacing, and to the disk */
    errno = EACCES;
    return -1;
}

VAEI_SETUP int vaei_stat_wide(const char *path, struct _stat64 *about) {
    wchar_t wide[VAEI_MAX_PATH];
    return vaei_wide_path(path, wide) ? _wstat64(wide, about) : -1;
}

VAEI_SETUP int vaei_remove_wide(const char *path) {
    wchar_t wide[VAEI_MAX_PATH];
    return vaei_wide_path(path, wide) ? _wunlink(wide) : -1;
}

/* A directory, or a device such as NUL. */
VAEI_SETUP int vaei_is_special(const char *path) {
    struct _stat64 about;
    return vaei_stat_wide(path, &about) == 0 && (about.st_mode & _S_IFMT) != _S_IFREG;
}

VAEI_SETUP int64_t vaei_file_size(vaei_handle file) {
    const int64_t size = _lseeki64(file, 0, SEEK_END);
    return size < 0 || _lseeki64(file, 0, SEEK_SET) != 0 ? -1 : size;
}

#ifndef VAEI_IO_OPEN
#define VAEI_IO_OPEN(path) vaei_open_wide((path), _O_RDONLY)
#define VAEI_IO_CREATE(path, mode) ((void)(mode), vaei_open_wide((path), _O_WRONLY | _O_CREAT | _O_EXCL))
#define VAEI_IO_EXISTS() (errno == EEXIST)
#define VAEI_IO_IS_SPECIAL(path) vaei_is_special(path)
#define VAEI_IO_SIZE(file) vaei_file_size(file)
#define VAEI_IO_READ(file, bytes, size) ((long)_read((file), (bytes), (unsigned)(size)))
#define VAEI_IO_WRITE(file, bytes, size) ((long)_write((file), (bytes), (unsigned)(size)))
#define VAEI_IO_SYNC(file) _commit(file)
#define VAEI_IO_CLOSE(file) _close(file)
#define VAEI_IO_RENAME(from, to) vaei_rename_wide((from), (to))
#define VAEI_IO_REMOVE(path) vaei_remove_wide(path)
#endif
/* One that is being written cannot be removed; one that has just been written is young. */
VAEI_SETUP void vaei_remove_stale(const char *temporary) {
    struct _stat64 about;
    if (!vaei_stat_wide(temporary, &about) && (about.st_mode & _S_IFMT) == _S_IFREG &&
        _time64(NULL) - about.st_mtime > 3600) VAEI_IO_REMOVE(temporary);
}
#else
typedef FILE *vaei_handle;
#define VAEI_IO_NONE NULL

VAEI_SETUP int64_t vaei_file_size(vaei_handle file) {
    long size;
    if (fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0 || fseek(file, 0, SEEK_SET)) return -1;
    return size;
}

VAEI_SETUP int vaei_rename_over(const char *from, const char *to) {
    if (!rename(from, to)) return 0;
    remove(to);         /* some C libraries do not replace */
    return rename(from, to);
}

/* There is one process, so a temporary file that is there was left behind. */
#ifndef VAEI_IO_OPEN
#define VAEI_IO_OPEN(path) fopen((path), "rb")
#define VAEI_IO_CREATE(path, mode) ((void)(mode), fopen((path), "wb"))
#define VAEI_IO_EXISTS() 0
#define VAEI_IO_IS_SPECIAL(path) 0
#define VAEI_IO_SIZE(file) vaei_file_size(file)
#define VAEI_IO_READ(file, bytes, size) (ferror(file) ? -1L : (long)fread((bytes), 1, (size), (file)))
#define VAEI_IO_WRITE(file, bytes, size) ((long)fwrite((bytes), 1, (size), (file)))
#define VAEI_IO_SYNC(file) fflush(file)
#define VAEI_IO_CLOSE(file) fclose(file)
#define VAEI_IO_RENAME(from, to) vaei_rename_over((from), (to))
#define VAEI_IO_REMOVE(path) remove(path)
#endif
VAEI_SETUP void vaei_remove_stale(const char *temporary) { (void)temporary; }
#endif

#ifndef VAEI_POSIX
VAEI_SETUP int         vaei_follow_links(const char *path, char *target) { strcpy(target, path); return 0; }
VAEI_SETUP unsigned    vaei_first_mode(const char *target) { (void)target; return 0; }
VAEI_SETUP void        vaei_keep_mode(vaei_handle file, const char *target) { (void)file; (void)target; }
VAEI_SETUP int         vaei_has_name(vaei_handle file, const char *path) { (void)file; (void)path; return 1; }
VAEI_SETUP int         vaei_lock(const char *path) { (void)path; return -2; }
VAEI_SETUP void        vaei_unlock(int lock) { (void)lock; }
VAEI_SETUP int         vaei_sync_directory(char *path) { (void)path; return 0; }
#endif

#ifndef EINTR
#define VAEI_IO_INTERRUPTED() 0
#else
#define VAEI_IO_INTERRUPTED() (errno == EINTR)
#endif
#define VAEI_IO_PIECE ((size_t)1 << 20)     /* bytes read at once */
#define VAEI_SHOWN_PATH 100                 /* bytes of a path in a sentence */

/* A path of more than `room` bytes loses its middle: "models/...today.safetensors". No UTF-8 character is cut. */
VAEI_SETUP void vaei_put_path(vaei_text *text, const char *path, size_t room) {
    size_t length = strlen(path), first = length, last = length, i;
    if (length > room) {
        first = (room - 3) / 3;
        last = length - (room - 3 - first);
        while (first && ((unsigned char)path[first] & 0xC0) == 0x80) first--;
        while (last < length && ((unsigned char)path[last] & 0xC0) == 0x80) last++;
    }
    for (i = 0; i < first; i++) vaei_put(text, path[i]);
    if (last > first) vaei_put_string(text, "...");
    for (i = last; i < length; i++) vaei_put(text, path[i]);
}

/* "cannot open model.safetensors: No such file or directory". */
VAEI_SETUP vae_status vaei_fail_path(const char *doing, const char *path, const char *reason, vae_error *error) {
    char      shown[VAEI_SHOWN_PATH + 2];
    vaei_text text;
    text.bytes = shown;
    text.size = sizeof shown;
    text.length = 0;
    vaei_put_path(&text, path, VAEI_SHOWN_PATH);
    vaei_put(&text, 0);
    return vaei_fail(error, VAE_ERROR_FILE, "cannot %s %s: %s", doing, shown, reason);
}

/* `reason` is an errno, or 0 or less where there is none. */
VAEI_SETUP vae_status vaei_fail_file(const char *doing, const char *path, int reason, vae_error *error) {
    return vaei_fail_path(doing, path, reason > 0 ? strerror(reason) : "the operating system gave no reason", error);
}

VAEI_SETUP vae_status vaei_fail_special(const char *doing, const char *path, vae_error *error) {
    return vaei_fail_path(doing, path, "it is a directory, a device or a pipe: give the name of a file, or use the "
                          "call with _memory", error);
}

/* Puts the path before a sentence about what is in the file. Other sentences name it already. */
VAEI_SETUP vae_status vaei_in_file(const char *path, vae_status status, vae_error *error) {
    if (status != VAE_OK && status != VAE_ERROR_FILE && error) {
        char         sentence[sizeof error->message];
        const size_t all = sizeof error->message - 1, length = strlen(error->message) + 2;
        vaei_text    text;
        memcpy(sentence, error->message, sizeof sentence);
        text.bytes = error->message;
        text.size = sizeof error->message;
        text.length = 0;
        vaei_put_path(&text, path, vaei_min_size(VAEI_SHOWN_PATH, vaei_max_size(24, all - vaei_min_size(all, length))));
        vaei_format(&text, ": %s", sentence);
    }
    return status;
}

VAEI_SETUP void vaei_flush_file(vaei_writer *writer) {
    const vaei_handle file = *(const vaei_handle *)writer->file;
    size_t            done = 0;
    while (done < writer->used && !writer->failed) {
        long written;
        errno = 0;
        written = VAEI_IO_WRITE(file, writer->buffer + done, writer->used - done);
        if (written > 0) done += (size_t)written;
        else if (written == 0 || !VAEI_IO_INTERRUPTED()) writer->failed = errno ? errno : -1;
    }
    writer->used = 0;
}

/* A new file beside `target`, and its lock. The name is short, whatever the target's: there is a most for names. All
   who save into a directory share the names, so whoever comes next clears away what a killed one left. */
VAEI_SETUP vaei_handle vaei_create_beside(const char *target, char temporary[VAEI_MAX_PATH + 32], int *lock) {
    const unsigned mode = vaei_first_mode(target);
    size_t         folder = strlen(target);
    int            attempt;
#ifdef _WIN32
    while (folder && !strchr("/\\:", target[folder - 1])) folder--;
#else
    while (folder && target[folder - 1] != '/') folder--;
#endif
    for (attempt = 0; attempt < 10000; attempt++) {
        vaei_handle file;
        vaei_text   text;
        memcpy(temporary, target, folder);
        text.bytes = temporary;
        text.size = VAEI_MAX_PATH + 32;
        text.length = folder;
        vaei_format(&text, "vae-unfinished-%d.tmp", attempt);
        errno = 0;
        if ((file = VAEI_IO_CREATE(temporary, mode)) == VAEI_IO_NONE && VAEI_IO_EXISTS()) {
            vaei_remove_stale(temporary);
            errno = 0;
            file = VAEI_IO_CREATE(temporary, mode);
        }
        if (file == VAEI_IO_NONE) {
            if (VAEI_IO_EXISTS()) continue;
            return VAEI_IO_NONE;
        }
        /* Between these two someone may have taken it for one left behind. */
        if ((*lock = vaei_lock(temporary)) != -1 && vaei_has_name(file, temporary)) return file;
        vaei_unlock(*lock);
        VAEI_IO_CLOSE(file);
    }
    return VAEI_IO_NONE;
}

/* Writes, flushes and closes; 0, or why not. */
VAEI_SETUP int vaei_write_file(vaei_handle file, const char *target, const vae_model *model, int checkpoint) {
    vaei_writer writer;
    size_t      size;
    int         result;
    memset(&writer, 0, sizeof writer);
    writer.flush = vaei_flush_file;
    writer.file = &file;
    vaei_write_model(&writer, model, checkpoint, (size_t)-1, &size, NULL);
    vaei_flush_file(&writer);
    vaei_keep_mode(file, target);
    if (!writer.failed) {
        errno = 0;
        do result = VAEI_IO_SYNC(file);
        while (result && VAEI_IO_INTERRUPTED());
        if (result) writer.failed = errno ? errno : -1;
    }
    errno = 0;
    if (VAEI_IO_CLOSE(file) && !writer.failed && !VAEI_IO_INTERRUPTED()) writer.failed = errno ? errno : -1;
    return writer.failed;
}

VAEI_SETUP vae_status vaei_save_file(const vae_model *model, int checkpoint, const char *path, const char *call,
                                       vae_error *error) {
    char        target[VAEI_MAX_PATH], temporary[VAEI_MAX_PATH + 32];
    vaei_handle file;
    vae_status  status;
    int         failed, lock;
    if (!path || !*path) return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: path is NULL or empty", call);
    if (strlen(path) >= VAEI_MAX_PATH)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: path has more than %d bytes", call, VAEI_MAX_PATH - 1);
    if ((status = vaei_check_saving(model, checkpoint, call, error)) != VAE_OK) return status;
    if (VAEI_IO_IS_SPECIAL(path)) return vaei_fail_special("save to", path, error);
    if ((failed = vaei_follow_links(path, target)) != 0) return vaei_fail_file("follow the link", path, failed, error);
    if ((file = vaei_create_beside(target, temporary, &lock)) == VAEI_IO_NONE)
        return vaei_fail_file("create a file beside", path, errno, error);
    failed = vaei_write_file(file, target, model, checkpoint);
    if (!failed) {
        errno = 0;
        if (!VAEI_IO_RENAME(temporary, target)) {
            vaei_unlock(lock);
            if (vaei_sync_directory(temporary)) return vaei_fail_file("flush the directory of", path, errno, error);
            return VAE_OK;
        }
        status = vaei_fail_file("replace", path, errno, error);
    } else status = vaei_fail_file("write", path, failed, error);
    VAEI_IO_REMOVE(temporary);
    vaei_unlock(lock);
    return status;
}

VAE_API vae_status vae_save(const vae_model *model, const char *path, vae_error *error) {
    return vaei_save_file(model, 0, path, "vae_save", error);
}

#ifndef VAE_INFERENCE_ONLY
VAE_API vae_status vae_save_checkpoint(const vae_model *model, const char *path, vae_error *error) {
    return vaei_save_file(model, 1, path, "vae_save_checkpoint", error);
}
#endif

/* Reads exactly `size` bytes; 0, or why not. */
VAEI_SETUP int vaei_read_bytes(vaei_handle file, unsigned char *bytes, size_t size) {
    size_t done = 0;
    while (done < size) {
        const size_t left = size - done;
        long         got;
        errno = 0;
        got = VAEI_IO_READ(file, bytes + done, left < VAEI_IO_PIECE ? left : VAEI_IO_PIECE);
        if (got > 0) done += (size_t)got;
        else if (got == 0 || !VAEI_IO_INTERRUPTED()) return errno ? errno : -1;
    }
    return 0;
}

/* What a file is read for: a new model of this config (or NULL), or the weights of a model that there is. */
typedef struct vaei_reading {
    const char          *path;
    const vae_config    *config;
    const vae_model     *model;
    const vae_allocator *allocator;
    unsigned char       *bytes;         /* the whole file, once it has been read */
    size_t               size;
} vaei_reading;

/* Whether the file's header suits what it is read for, before its data are read: they may be large. */
VAEI_SETUP vae_status vaei_check_header(const vaei_reading *reading, const unsigned char *header, vae_error *error) {
    vaei_loading *loading;
    vaei_file     file;
    vae_status    status = vaei_open_file(&file, header, reading->size, error);
    if (status != VAE_OK) return status;
    if (!(loading = (vaei_loading *)vaei_allocate(reading->allocator, sizeof *loading)))
        return vaei_fail(error, VAE_ERROR_MEMORY, "%z bytes could not be allocated to read the file", sizeof *loading);
    file.data = NULL;
    loading->file = file;
    if (!reading->model) status = vaei_prepare_loading(loading, reading->config, error);
    else status = vaei_match_weights(reading->model, &loading->file, &loading->pieces, error);
    vaei_release(reading->allocator, loading, sizeof *loading);
    return status;
}

/* The whole of an open file. Its beginning comes first, then its header: what is no model for us is not read. */
VAEI_SETUP vae_status vaei_read_open_file(vaei_reading *reading, vaei_handle file, vae_error *error) {
    unsigned char  first[64], *header;
    size_t         length, known, begun;
    int64_t        whole;
    int            failed;
    vae_status     status;
    errno = 0;
    if ((whole = VAEI_IO_SIZE(file)) < 0) return vaei_fail_file("find the size of", reading->path, errno, error);
    if ((uint64_t)whole > (size_t)-1)
        return vaei_fail(error, VAE_ERROR_MEMORY, "the file is larger than this machine's memory can be");
    reading->size = (size_t)whole;
    known = vaei_min_size(sizeof first, reading->size);
    if ((failed = vaei_read_bytes(file, first, known)) != 0)
        return vaei_fail_file("read", reading->path, failed, error);
    if ((status = vaei_check_beginning(first, known, reading->size, &length, error)) != VAE_OK) return status;
    begun = vaei_max_size(8 + length, known);
    if (!(header = (unsigned char *)vaei_allocate(reading->allocator, begun)))
        return vaei_fail(error, VAE_ERROR_MEMORY, "%z bytes could not be allocated to read the file's header", begun);
    memcpy(header, first, known);
    if ((failed = vaei_read_bytes(file, header + known, begun - known)) != 0)
        status = vaei_fail_file("read", reading->path, failed, error);
    if (status == VAE_OK) status = vaei_check_header(reading, header, error);
    if (status == VAE_OK && !(reading->bytes = (unsigned char *)vaei_allocate(reading->allocator, reading->size)))
        status = vaei_fail(error, VAE_ERROR_MEMORY, "%z bytes could not be allocated to read the file", reading->size);
    if (status == VAE_OK) memcpy(reading->bytes, header, begun);
    vaei_release(reading->allocator, header, begun);
    if (status != VAE_OK) return status;
    if ((failed = vaei_read_bytes(file, reading->bytes + begun, reading->size - begun)) == 0) return VAE_OK;
    vaei_release(reading->allocator, reading->bytes, reading->size);
    return vaei_fail_file("read", reading->path, failed, error);
}

VAEI_SETUP vae_status vaei_read_file(vaei_reading *reading, vae_error *error) {
    vaei_handle file;
    vae_status  status;
    if (VAEI_IO_IS_SPECIAL(reading->path)) return vaei_fail_special("load", reading->path, error);
    errno = 0;
    if ((file = VAEI_IO_OPEN(reading->path)) == VAEI_IO_NONE)
        return vaei_fail_file("open", reading->path, errno, error);
    status = vaei_read_open_file(reading, file, error);
    VAEI_IO_CLOSE(file);
    return status;
}

VAE_API vae_status vae_load(const char *path, const vae_config *config, vae_model **model, vae_error *error) {
    vae_allocator allocator;
    vaei_reading  reading;
    vae_status    status;
    if (!path || !model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_load: path or model is NULL");
    memset(&allocator, 0, sizeof allocator);
    memset(&reading, 0, sizeof reading);
    if (config) allocator = config->allocator;
    if (!allocator.allocate != !allocator.release)
        return vaei_fail(error, VAE_ERROR_CONFIG, "allocator has only one of its functions: give both or neither");
    reading.path = path;
    reading.config = config;
    reading.allocator = &allocator;
    if ((status = vaei_read_file(&reading, error)) == VAE_OK) {
        status = vae_load_memory(reading.bytes, reading.size, config, model, error);
        vaei_release(&allocator, reading.bytes, reading.size);
    }
    return vaei_in_file(path, status, error);
}

VAE_API vae_status vae_load_weights(vae_model *model, const char *path, vae_error *error) {
    vaei_reading reading;
    vae_status   status;
    if (!model || !path) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_load_weights: model or path is NULL");
    memset(&reading, 0, sizeof reading);
    reading.path = path;
    reading.model = model;
    reading.allocator = &model->config.allocator;
    if ((status = vaei_read_file(&reading, error)) == VAE_OK) {
        status = vae_load_weights_memory(model, reading.bytes, reading.size, error);
        vaei_release(reading.allocator, reading.bytes, reading.size);
    }
    return vaei_in_file(path, status, error);
}

#if defined(_MSC_VER)
#pragma warning(pop)
#endif
#endif /* VAE_NO_STDIO */

#endif /* VAE_IMPLEMENTATION */

/* ==== >>licence =============================================================================================

   This software is available under two licences: choose whichever you prefer.

   ------------------------------------------------------------------------------------------------------------
   ALTERNATIVE A - MIT Licence

   Copyright (c) 2026 the vae.h authors

   Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
   documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
   rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
   permit persons to whom the Software is furnished to do so, subject to the following conditions:

   The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
   Software.

   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
   WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
   COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
   OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

   ------------------------------------------------------------------------------------------------------------
   ALTERNATIVE B - Public domain (www.unlicense.org)

   This is free and unencumbered software released into the public domain.

   Anyone is free to copy, modify, publish, use, compile, sell, or distribute this software, either in source code form
   or as a compiled binary, for any purpose, commercial or non-commercial, and by any means.

   In jurisdictions that recognize copyright laws, the author or authors of this software dedicate any and all copyright
   interest in the software to the public domain. We make this dedication for the benefit of the public at large and to
   the detriment of our heirs and successors. We intend this dedication to be an overt act of relinquishment in
   perpetuity of all present and future rights to this software under copyright law.

   THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
   WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS BE
   LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
   OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

   ==== >>history =============================================================================================

   0.1.0   the first release
*/
