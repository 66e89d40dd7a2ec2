/* vae.h - v0.2.0 - variational autoencoders in one C99 header - MIT or public domain - licence at the end of the file

   In *one* C or C++ file, define VAE_IMPLEMENTATION before the include; that creates the implementation:
       #define VAE_IMPLEMENTATION
       #include "vae.h"
   Every other file includes it plainly. Build with any C99 or C++11 compiler: cc -O2 program.c -lm
   The header includes itself, so it must stay a file of its own: do not paste it into another one.

   WHAT IT DOES

     rows --> batch --> encoder --> mean, logvar --> z = mean + exp(logvar/2) noise --> decoder --> likelihood --> nats
                                         |                                                              |
                                         '--------------- KL to N(0, I) ----------------> loss <--------'

   It trains that network, generates new rows, encodes and reconstructs given ones, scores them in nats, and keeps the
   model in a safetensors file, which PyTorch programs can read and write.

   QUICK START, as C99 and as C++11
       vae_config     config = { 0 };                             // in C++: vae_config config = {};
       vae_fit_config fit = { 0 };
       vae_data       data = { 0 };
       vae_model     *model;
       vae_error      error;
       config.input.height = 28; config.input.width = 28; config.input.channels = 1;
       config.latent = 16;
       config.encoder[0] = VAE_CONV(32, 3, 2, VAE_RELU);
       config.encoder[1] = VAE_CONV(64, 3, 2, VAE_RELU);          // no decoder given: the mirror image of the encoder
       data.bytes = images; data.count = 60000;                   // 60000 x 28 x 28 bytes
       fit.epochs = 10; fit.on_progress = vae_print_progress;
       if (vae_create(&config, &model, &error) != VAE_OK || vae_fit(model, &data, &fit, &error) != VAE_OK ||
           vae_sample(model, 64, digits, &error) != VAE_OK ||     // 64 new images: vae_real digits[64 * 28 * 28]
           vae_save(model, "digits.safetensors", &error) != VAE_OK) {
           puts(error.message);
           return 1;
       }
       vae_destroy(model);

   vae.h DOES NOT
     - use a GPU, a graph compiler or automatic differentiation: the layers are those of vae_layer, no others
     - read or write images: it takes and gives arrays (the examples carry a PNG writer and an IDX reader)
     - exit, abort, assert or print: every failure is a status and a sentence (you may ask vae_print_* to print)
     - keep anything in global variables: models are independent. One model serves one thread at a time; to use it in
       several threads at once, give each a view (vae_create_view)
     - allocate while it trains or infers: a model's memory is taken when it is created, or is yours

   CONVENTIONS, the same everywhere
     - Every figure is in nats per example: summed over pixels and latent dimensions, averaged over examples, never
       rescaled silently. loss = reconstruction + beta * kl unless the config asks for another objective; elbo =
       -(reconstruction + kl).
     - The encoder gives mean and logvar, the log of the variance, clamped to [-20, 10]. The decoder gives one number a
       pixel, or two, from which the likelihood makes the pixel's mean: see vae_likelihood.
     - A row is an image of height x width x channels, the channels interleaved, as C programs and stb_image have them;
       with VAE_CHANNELS_FIRST channels x height x width. A series is an image of height 1: { 1, length, channels }.
       A vector of n numbers, such as a row of a table, is { 1, n, 1 }. Rows follow each other without gaps.
     - "Pixel" means any number of a row. Pixels are vae_real (float), or bytes 0 to 255, which count as 0 to 1. A pixel
       that the likelihood does not allow is an error that names its row and its place in it, both counted from 0.
     - Set the fields that you need and leave the others 0: 0 means "the default", which stands beside each field, and
       which vae_defaults() fills in. An enum's 0 means the value after it. Where 0 means a default and you want an
       exact zero, write VAE_ZERO. A setting that could have no effect is refused, not ignored.
     - Sizes and counts are size_t; small structural numbers (layers, kernel, stride) are int. A count of 0 is allowed
       wherever results are per row, and does nothing; a mean, an update or a fit needs at least one row.
     - Same seed, same kernels: same bits, for any number of threads and at any time.
     - Calls return a vae_status (VAE_OK is 0). `error` may be NULL; a call that returns anything but VAE_OK fills it
       with the status and one sentence. A call that fails leaves the model and your data as they were, but
       vae_fit keeps the steps it has made and the bias it has set, and of results for many rows the first ones may
       have been written.
     - Structs may grow at their end in later versions: name the fields, do not count on positions or sizes.

   COMPILE-TIME OPTIONS (define them in the file that has VAE_IMPLEMENTATION; those marked * wherever vae.h is included)
       VAE_API *             what stands before every public function, such as __declspec(dllexport); default: extern
       VAE_STATIC *          every function is static: the library is private to one file
       VAE_NO_STDIO *        no <stdio.h>: no calls with a path, no vae_print_*; the *_memory calls remain
       VAE_NO_MALLOC         no <stdlib.h>: memory comes from vae_create_in or from config.allocator
       VAE_INFERENCE_ONLY *  no training code
       VAE_THREADS           config.threads uses POSIX or Win32 threads (older C libraries then want -pthread)
       VAE_PORTABLE          no processor-specific instructions
       VAE_SMALL             least code and memory instead of speed; only kernels with the bits of VAE_KERNELS_PORTABLE
       VAE_BASIC *           only what a small network needs; the rest is VAE_ERROR_UNSUPPORTED. There are up to 4 dense
                             layers in the encoder and 4 in the decoder: linear, (leaky) ReLU, tanh, sigmoid; Bernoulli
                             and Gaussian; the ELBO with one sample; VAE_ADAM, VAE_ADAMW, VAE_SGD; one thread. There is
                             no dropout, batch normalisation, classes, classifier, standardize, missing or altered
                             pixels, targets, tied or frozen layers, shared_heads, sigma_per_pixel, schedules, free
                             bits, capacity, drawn pixels, VAE_CHANNELS_FIRST, views, VAE_SCORE_LOG_LIKELIHOOD,
                             without_entropy, and first weights are VAE_INIT_PYTORCH (for VAE_INFERENCE_ONLY 0)
       VAE_DECODE_ONLY *     with VAE_INFERENCE_ONLY: only config.part VAE_DECODER_ONLY and vae_decode; other parts,
                             and whatever draws, are VAE_ERROR_UNSUPPORTED
       VAE_NO_MESSAGES *     error.message is the status's name: no sentences
       VAE_PLAIN             also builds VAE_KERNELS_PLAIN where the compiler has vector extensions
       VAE_DOUBLE *          vae_real is double: slow, for checking gradients
       VAE_NO_DOUBLE *       no arithmetic of doubles, for processors without it: what is a vae_wide, such as nats and
                             scores, is a float of about six digits, two or three where a million rows or samples
                             are summed; config.standardize takes numbers up to 1e15 in size. Weights get other last
                             bits than without it, the same on every machine
       VAE_HEADER_FILE       this file's name in quotes: only for a renamed file and a compiler without __FILE_NAME__

   CONTENTS of the public part (search for the tag)
        1 >>status       status, error                      5 >>gradients    one batch by hand
        2 >>network      layers, likelihood, config         6 >>inference    encode, decode, sample, score
        3 >>model        create, destroy, describe          7 >>files        save and load
        4 >>training     data, fit, one step                8 >>parameters   weights by name
     Behind it: >>implementation, with contents of its own, >>licence, >>history
*/
#ifndef VAE_H
#define VAE_H

#define VAE_VERSION_MAJOR 0
#define VAE_VERSION_MINOR 2
#define VAE_VERSION_PATCH 0
#define VAE_VERSION "0.2.0"

#include <stddef.h>
#include <stdint.h>

#ifndef VAE_API
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

/* Calls that use these types have other names where a type is another, so that files do not link which would not agree
   about them. */
#if defined(VAE_DOUBLE) && defined(VAE_NO_DOUBLE)
#error "VAE_DOUBLE and VAE_NO_DOUBLE: define one of them"
#elif defined(VAE_DOUBLE)
#define VAEI_LINKED(name) name##_double
#elif defined(VAE_NO_DOUBLE)
#define VAEI_LINKED(name) name##_no_double
#endif
#ifdef VAEI_LINKED
#define vae_accumulate_gradients VAEI_LINKED(vae_accumulate_gradients)
#define vae_bits_per_dimension VAEI_LINKED(vae_bits_per_dimension)
#define vae_classify VAEI_LINKED(vae_classify)
#define vae_create VAEI_LINKED(vae_create)
#define vae_create_in VAEI_LINKED(vae_create_in)
#define vae_create_view VAEI_LINKED(vae_create_view)
#define vae_decode VAEI_LINKED(vae_decode)
#define vae_defaults VAEI_LINKED(vae_defaults)
#define vae_draw VAEI_LINKED(vae_draw)
#define vae_elbo VAEI_LINKED(vae_elbo)
#define vae_encode VAEI_LINKED(vae_encode)
#define vae_fit VAEI_LINKED(vae_fit)
#define vae_get_config VAEI_LINKED(vae_get_config)
#define vae_get_gradient VAEI_LINKED(vae_get_gradient)
#define vae_get_state VAEI_LINKED(vae_get_state)
#define vae_get_tensor VAEI_LINKED(vae_get_tensor)
#define vae_gradients VAEI_LINKED(vae_gradients)
#define vae_impute VAEI_LINKED(vae_impute)
#define vae_latent_statistics VAEI_LINKED(vae_latent_statistics)
#define vae_load VAEI_LINKED(vae_load)
#define vae_load_memory VAEI_LINKED(vae_load_memory)
#define vae_log_likelihood VAEI_LINKED(vae_log_likelihood)
#define vae_memory_needed VAEI_LINKED(vae_memory_needed)
#define vae_parameters VAEI_LINKED(vae_parameters)
#define vae_print_progress VAEI_LINKED(vae_print_progress)
#define vae_print_summary VAEI_LINKED(vae_print_summary)
#define vae_probe VAEI_LINKED(vae_probe)
#define vae_quantile VAEI_LINKED(vae_quantile)
#define vae_reconstruct VAEI_LINKED(vae_reconstruct)
#define vae_sample VAEI_LINKED(vae_sample)
#define vae_sample_latent VAEI_LINKED(vae_sample_latent)
#define vae_sample_with VAEI_LINKED(vae_sample_with)
#define vae_score VAEI_LINKED(vae_score)
#define vae_score_numbers VAEI_LINKED(vae_score_numbers)
#define vae_set_beta VAEI_LINKED(vae_set_beta)
#define vae_set_learning_rate VAEI_LINKED(vae_set_learning_rate)
#define vae_set_tensor VAEI_LINKED(vae_set_tensor)
#define vae_standardize VAEI_LINKED(vae_standardize)
#define vae_train_step VAEI_LINKED(vae_train_step)
#define vae_weights VAEI_LINKED(vae_weights)
#endif
#ifdef VAE_DOUBLE
typedef double vae_real;
#else
typedef float vae_real;
#endif

/* What is summed over many numbers, such as nats and scores, is computed and given as this. */
#ifdef VAE_NO_DOUBLE
typedef float vae_wide;
#else
typedef double vae_wide;
#endif

/* ==== 1 >>status ================================================================================================== */

typedef enum vae_status {
    VAE_OK = 0,
    VAE_STOPPED,            /* on_progress asked vae_fit to stop; no failure, the model is usable */
    VAE_ERROR_ARGUMENT,     /* a NULL that must not be, a count that does not fit, a call that the model cannot serve */
    VAE_ERROR_CONFIG,       /* a setting out of its range, or a network whose shapes do not meet */
    VAE_ERROR_DATA,         /* a pixel out of range or not finite, or data that cannot be learned from as they are */
    VAE_ERROR_NUMERIC,      /* a loss, gradient or result was not finite or too large; the weights were not changed */
    VAE_ERROR_MEMORY,       /* not enough memory */
    VAE_ERROR_FILE,         /* the operating system refused to open, read or write */
    VAE_ERROR_FORMAT,       /* the file is damaged, or no model file */
    VAE_ERROR_UNSUPPORTED,  /* not in this build, or not on this processor */
    VAE_ERROR_BUSY          /* the model is in use: by another thread, or by the vae_fit whose on_progress calls */
} vae_status;

/* What went wrong and what to change, as one sentence in English. */
typedef struct vae_error {
    vae_status status;
#ifdef VAE_NO_MESSAGES
    char       message[24];     /* the status's name */
#else
    char       message[256];
#endif
} vae_error;

/* The status's name, such as "VAE_ERROR_DATA". */
VAE_API const char *vae_status_name(vae_status status);

/* ==== 2 >>network ================================================================================================= */

/* Applied to each output of a layer. The formulas are PyTorch's defaults: GELU is x/2 (1 + erf(x/sqrt 2)), SiLU
   x sigmoid(x), softplus log(1 + exp x); leaky ReLU has slope 0.01 below zero. */
typedef enum vae_activation {
    VAE_ACTIVATION_DEFAULT = 0, VAE_LINEAR, VAE_RELU, VAE_LEAKY_RELU, VAE_SILU, VAE_GELU, VAE_TANH, VAE_SIGMOID,
    VAE_SOFTPLUS
} vae_activation;

typedef enum vae_layer_kind {
    VAE_LAYER_END = 0, VAE_LAYER_DENSE, VAE_LAYER_CONV, VAE_LAYER_CONV_TRANSPOSED
} vae_layer_kind;

typedef struct vae_shape {      /* each 1 to 67108864; where a convolution takes or gives the image, 1 to 65535 */
    int height, width, channels;
} vae_shape;

/* How many zeros stand around a convolution's input.
   VAE_SAME is TensorFlow's rule: a convolution gives ceil(size / stride), a transposed one size * stride; of an odd
   amount the larger half comes after. VAE_EXPLICIT takes the four amounts as they are; with top = bottom and left =
   right it is PyTorch's rule. At stride 2, kernel 3 and even size, VAE_SAME pads 0 before and 1 after, PyTorch's
   padding=1 pads 1 and 1: the same output shape, different numbers. */
typedef enum vae_padding { VAE_PADDING_DEFAULT = 0, VAE_SAME, VAE_EXPLICIT } vae_padding;

/* One layer, best written with the macros below. For input H x W x C:
     dense            activation(W x + b), x the flattened input; it has shape.height * width * channels units, which
                      a convolution that follows sees as an image of that shape
     conv             H' = (H + top + bottom - kernel) / stride + 1, rounded down, W' likewise; shape.channels filters
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
    vae_real       dropout;         /* in [0, 1): in training each output of the activation becomes 0 with this
                                       probability, and the others grow by 1 / (1 - dropout). Not in the last layer */
    int            batch_norm;      /* nonzero: what goes into the activation is normalised, as PyTorch's BatchNorm1d
                                       and 2d do: in training by the batch's mean and variance (a vae_share's by its
                                       own), in inference, or where a channel has one number only, by the running
                                       averages. Not in the last layer */
} vae_layer;

/* Layers as expressions, in C and C++: config.encoder[0] = VAE_DENSE(400, VAE_RELU); other fields are set afterwards:
   config.encoder[0].dropout = 0.1f. `kernel` and `stride` hold for height and width alike. Static tables, where strict
   C wants constants, take the names with _INITIALIZER instead. */
#define VAE_DENSE_INITIALIZER(units, activation) VAE_DENSE_SHAPED_INITIALIZER(1, 1, units, activation)
#define VAE_DENSE_SHAPED_INITIALIZER(height, width, channels, activation) \
    { VAE_LAYER_DENSE, { (height), (width), (channels) }, 0, 0, 0, 0, VAE_PADDING_DEFAULT, 0, 0, 0, 0, 0, 0, \
      (activation), 0, 0 }
#define VAE_CONV_INITIALIZER(channels, kernel, stride, activation) \
    VAEI_LAYER(VAE_LAYER_CONV, channels, kernel, kernel, stride, stride, VAE_SAME, 0, 0, activation)
#define VAE_CONV_TRANSPOSED_INITIALIZER(channels, kernel, stride, activation) \
    VAEI_LAYER(VAE_LAYER_CONV_TRANSPOSED, channels, kernel, kernel, stride, stride, VAE_SAME, 0, 0, activation)
/* PyTorch's Conv2d(.., padding=p) and ConvTranspose2d(.., padding=p, output_padding=q). */
#define VAE_CONV_SYMMETRIC_INITIALIZER(channels, kernel, stride, p, activation) \
    VAEI_LAYER(VAE_LAYER_CONV, channels, kernel, kernel, stride, stride, VAE_EXPLICIT, p, 0, activation)
#define VAE_CONV_TRANSPOSED_SYMMETRIC_INITIALIZER(channels, kernel, stride, p, q, activation) \
    VAEI_LAYER(VAE_LAYER_CONV_TRANSPOSED, channels, kernel, kernel, stride, stride, VAE_EXPLICIT, p, q, activation)
/* A kernel of height 1: along a series, an input of height 1; along each row of an image by itself. */
#define VAE_CONV_1D_INITIALIZER(channels, kernel, stride, activation) \
    VAEI_LAYER(VAE_LAYER_CONV, channels, 1, kernel, 1, stride, VAE_SAME, 0, 0, activation)
#define VAE_CONV_TRANSPOSED_1D_INITIALIZER(channels, kernel, stride, activation) \
    VAEI_LAYER(VAE_LAYER_CONV_TRANSPOSED, channels, 1, kernel, 1, stride, VAE_SAME, 0, 0, activation)
#define VAEI_LAYER(kind, channels, height, width, down, right, padding, p, q, activation) \
    { kind, { 0, 0, (channels) }, (height), (width), (down), (right), padding, (p), (p), (p), (p), (q), (q), \
      (activation), 0, 0 }

#ifdef __cplusplus
#define VAE_EXPRESSION vae_layer
#else
#define VAE_EXPRESSION (vae_layer)
#endif
#define VAE_DENSE(units, activation) VAE_EXPRESSION VAE_DENSE_INITIALIZER(units, activation)
#define VAE_DENSE_SHAPED(height, width, channels, activation) \
    VAE_EXPRESSION VAE_DENSE_SHAPED_INITIALIZER(height, width, channels, activation)
#define VAE_CONV(channels, kernel, stride, activation) \
    VAE_EXPRESSION VAE_CONV_INITIALIZER(channels, kernel, stride, activation)
#define VAE_CONV_TRANSPOSED(channels, kernel, stride, activation) \
    VAE_EXPRESSION VAE_CONV_TRANSPOSED_INITIALIZER(channels, kernel, stride, activation)
#define VAE_CONV_SYMMETRIC(channels, kernel, stride, p, activation) \
    VAE_EXPRESSION VAE_CONV_SYMMETRIC_INITIALIZER(channels, kernel, stride, p, activation)
#define VAE_CONV_TRANSPOSED_SYMMETRIC(channels, kernel, stride, p, q, activation) \
    VAE_EXPRESSION VAE_CONV_TRANSPOSED_SYMMETRIC_INITIALIZER(channels, kernel, stride, p, q, activation)
#define VAE_CONV_1D(channels, kernel, stride, activation) \
    VAE_EXPRESSION VAE_CONV_1D_INITIALIZER(channels, kernel, stride, activation)
#define VAE_CONV_TRANSPOSED_1D(channels, kernel, stride, activation) \
    VAE_EXPRESSION VAE_CONV_TRANSPOSED_1D_INITIALIZER(channels, kernel, stride, activation)

/* p(x | z) of one pixel x, given the decoder's output l for it. Below: -log p, whose sum over pixels is the
   reconstruction term, and the pixel's mean.
   VAE_BERNOULLI: x in [0, 1], mean sigmoid(l). max(l, 0) - l x + log(1 + exp(-|l|)), binary cross-entropy from logits.
     With grey pixels this is the customary loss but no likelihood: it cannot fall below the pixels' own entropy.
   VAE_CONTINUOUS_BERNOULLI: x in [0, 1]; a true density of grey pixels: the same minus log C(l), with C(l) =
     l / tanh(l/2) (Loaiza-Ganem and Cunningham 2019, equation 5 written in logits); mean 1/(1 - exp(-l)) - 1/l.
   VAE_GAUSSIAN: x within +-1e9, mean l. (x - l)^2 / (2 sigma^2) + log sigma + log(2 pi)/2, the constant counted.
   VAE_LAPLACE: x within +-1e9, mean l. |x - l| / sigma + log(2 sigma): less moved by outliers.
   The last two: with config.standardize the bound is 1e9 standard deviations. The decoder may end in any activation:
   VAE_SIGMOID keeps means in [0, 1]. `sigma` says how far off a pixel is expected to be; by default it is learned along
   with the weights and stays near its best value (the closed form of Rybkin, Daniilidis and Levine 2021, "sigma-VAE").
   Two take two numbers a pixel: the decoder gives an image of twice the channels, first those of l, then those of the
   second number v (in PyTorch l, v = output.chunk(2, dim=1)). Its last layer is linear.
   VAE_GAUSSIAN_PREDICTED: VAE_GAUSSIAN with log sigma = v/2 of each pixel of each row; v is clamped to [-12, 40]: else
     a pixel predicted without error would draw its sigma to 0, and the gradients beyond all bounds.
   VAE_DISCRETIZED_LOGISTIC: bytes. x in [0, 1] counts as the nearest k/255, and p is the share of a logistic
     distribution of mean l and scale exp(v) that lies within 1/510 of it; 0 and 1 also take what lies beyond (Salimans
     et al. 2017, section 2.1). v is clamped to [-8, 4]: at -8 one level has nearly all of p, at 4 only 0 and 1 do.
   VAE_BERNOULLI and VAE_DISCRETIZED_LOGISTIC are probabilities. The others are densities, which may exceed 1: there a
   negative loss is normal. */
typedef enum vae_likelihood {
    VAE_LIKELIHOOD_DEFAULT = 0, VAE_BERNOULLI, VAE_GAUSSIAN, VAE_LAPLACE, VAE_CONTINUOUS_BERNOULLI,
    VAE_GAUSSIAN_PREDICTED, VAE_DISCRETIZED_LOGISTIC
} vae_likelihood;

/* What training minimises, on average over the rows of a batch: vae_terms.loss.
   VAE_OBJECTIVE_ELBO: reconstruction + beta kl, the reconstruction averaged over config.samples draws of z.
   VAE_OBJECTIVE_IWAE: -log 1/k sum_k p(x | z_k) (p(z_k) / q(z_k | x))^beta over k = config.samples draws, where beta is
     1 a tighter bound on log p(x) (Burda et al. 2016, equation 8). With one draw it is on average the ELBO, but its KL
     is that draw's, as Burda et al. train their VAE: VAE_OBJECTIVE_ELBO has the KL in closed form, with less noise.
   VAE_OBJECTIVE_AUTOENCODER: the reconstruction at z = mean; there is no noise and no KL (where one is asked for it is
     0), no logvar, and no p(z) to sample from: calls that need these are refused. */
typedef enum vae_objective {
    VAE_OBJECTIVE_DEFAULT = 0, VAE_OBJECTIVE_ELBO, VAE_OBJECTIVE_IWAE, VAE_OBJECTIVE_AUTOENCODER
} vae_objective;

/* First weights of a layer with n inputs and m outputs (of a convolution: channels times the kernel's area).
   VAE_INIT_PYTORCH: weights and biases uniform in +-1/sqrt n, the default of PyTorch's Linear and Conv2d (for a
     transposed convolution n counts its output channels, as PyTorch does).
   VAE_INIT_GLOROT: weights uniform in +-sqrt(6/(n+m)), biases 0, Keras' default (Glorot and Bengio 2010, equation 16).
   VAE_INIT_HE: weights normal with variance 2/n, biases 0 (He et al. 2015, equation 10), n counted likewise. */
typedef enum vae_initialization {
    VAE_INIT_DEFAULT = 0, VAE_INIT_PYTORCH, VAE_INIT_GLOROT, VAE_INIT_HE
} vae_initialization;

/* How your pixels lie in memory. State it at every creation and every load: it is not taken from files. */
typedef enum vae_layout { VAE_LAYOUT_DEFAULT = 0, VAE_CHANNELS_LAST, VAE_CHANNELS_FIRST } vae_layout;

/* Which instructions to use. VAE_KERNELS_BEST picks the fastest that the processor has. AVX2, AVX-512 and NEON give the
   same bits as each other. So do VAE_KERNELS_PORTABLE (the compiler's vector extensions, else plain C) and
   VAE_KERNELS_PLAIN (plain C, where built with VAE_PLAIN), on every platform. */
typedef enum vae_kernels {
    VAE_KERNELS_BEST = 0, VAE_KERNELS_PLAIN, VAE_KERNELS_PORTABLE, VAE_KERNELS_AVX2, VAE_KERNELS_AVX512,
    VAE_KERNELS_NEON
} vae_kernels;

/* A factor for beta, the capacity or the learning rate, by the number of updates made: a resumed run carries on in the
   right place.
   VAE_CONSTANT: 1.
   VAE_WARMUP: from `from` to 1 in a straight line over `steps` updates, then 1. For beta: KL warm-up (Sonderby et al.
     2016).
   VAE_COSINE: first `warmup` updates in a straight line from `from` to 1; then from 1 to `to` along half a cosine until
     update `steps`, then `to` (Loshchilov and Hutter 2017, equation 5).
   VAE_STEP: the same warm-up; then 1, and `to` times what it was after every `steps` updates.
   VAE_EXPONENTIAL: the same without jumps: to^(t / steps) at update t after the warm-up.
   VAE_CYCLICAL: of every `steps` updates the first `warmup` in a straight line from `from` to 1, the others 1. For
     beta: Fu et al. 2019, equation 6, with R = warmup / steps.
   In epochs: steps = epochs * batches, and an epoch has rows / batch batches, rounded up. Ten epochs of 60000 rows in
   batches of 128 are 10 * 469 steps. */
typedef enum vae_schedule_kind {
    VAE_SCHEDULE_DEFAULT = 0, VAE_CONSTANT, VAE_WARMUP, VAE_COSINE, VAE_STEP, VAE_EXPONENTIAL, VAE_CYCLICAL
} vae_schedule_kind;

typedef struct vae_schedule {
    vae_schedule_kind kind;
    uint64_t          steps;        /* required unless constant: 1 or more */
    uint64_t          warmup;       /* VAE_COSINE: less than `steps`; VAE_CYCLICAL: 1 to `steps`; else 0: none */
    vae_real          from, to;     /* factors in [0, 1]; no defaults, 0 is the factor 0. VAE_STEP, VAE_EXPONENTIAL:
                                       `to` above 0 */
} vae_schedule;

/* One update of a parameter p with gradient g.
   VAE_ADAM: Kingma and Ba 2015, algorithm 1; epsilon is added after the bias correction, as in PyTorch. weight_decay w
     adds w p to g, as PyTorch's Adam does.
   VAE_ADAMW: the same, but p first shrinks by learning_rate w p (Loshchilov and Hutter 2019, algorithm 2).
   VAE_SGD: m = momentum m + (g + w p), p -= learning_rate m, PyTorch's form.
   VAE_RMSPROP: g += w p, v = beta2 v + (1 - beta2) g^2, p -= learning_rate g / (sqrt v + epsilon), PyTorch's form with
     beta2 for its alpha (Tieleman and Hinton 2012).
   VAE_ADADELTA: Zeiler 2012, algorithm 1, times learning_rate; beta2 is its rho, weight decay as in VAE_ADAM. */
typedef enum vae_optimizer_kind {
    VAE_OPTIMIZER_DEFAULT = 0, VAE_ADAM, VAE_ADAMW, VAE_SGD, VAE_RMSPROP, VAE_ADADELTA
} vae_optimizer_kind;

typedef struct vae_optimizer {
    vae_optimizer_kind kind;
    vae_real           learning_rate;   /* up to 1e6. Default 1e-3, for VAE_SGD 1e-2, for VAE_ADADELTA 1 */
    vae_real           beta1;           /* VAE_ADAM, VAE_ADAMW: in [0, 1). Default 0.9 */
    vae_real           beta2;           /* all but VAE_SGD: in [0, 1). Default 0.999, for VAE_RMSPROP 0.99, for
                                           VAE_ADADELTA 0.9 */
    vae_real           epsilon;         /* all but VAE_SGD: above 0. Default 1e-8, for VAE_ADADELTA 1e-6 */
    vae_real           momentum;        /* VAE_SGD: in [0, 1). Default 0.9 */
    vae_real           weight_decay;    /* of weights, not of biases and batch normalisation; up to 1e6. Default
                                           none, for VAE_ADAMW 1e-2 */
    vae_schedule       schedule;        /* of the learning rate */
    vae_real           clip_norm;       /* a gradient whose norm over all weights is larger is scaled down to it, as by
                                           PyTorch's clip_grad_norm_; a learned sigma is left out. Default none. Steps
                                           with it are somewhat slower */
} vae_optimizer;

/* Memory of your own: give both functions or neither. allocate gives a block aligned for any type, or NULL; release
   gets the size that was asked for. */
typedef struct vae_allocator {
    void *(*allocate)(void *user, size_t size);
    void (*release)(void *user, void *block, size_t size);
    void *user;
} vae_allocator;

/* Threads of your own: run must call task(context, i) once for every i in 0 .. count-1, in any order, at the same time
   or not, and return when all have returned. */
typedef void (*vae_task)(void *context, size_t index);
typedef struct vae_parallel {
    void (*run)(void *user, vae_task task, void *context, size_t count);
    void *user;
} vae_parallel;

/* Which half of the network a model holds. A half cannot train. It loads what it needs from a whole model's file; calls
   that need the other half are refused. */
typedef enum vae_part { VAE_PART_DEFAULT = 0, VAE_WHOLE, VAE_ENCODER_ONLY, VAE_DECODER_ONLY } vae_part;

/* Which half's weights training leaves as they are. A learned sigma belongs to the decoder. */
typedef enum vae_freeze { VAE_FREEZE_DEFAULT = 0, VAE_FREEZE_NONE, VAE_FREEZE_ENCODER, VAE_FREEZE_DECODER } vae_freeze;

/* Denoising: what happens to the encoder's input in a training step, drawn anew for each number of each row, while what
   is scored stays clean (Vincent et al. 2010). The amount has no default. Pixels are taken as the network sees them, so
   with config.standardize in standard deviations, and stay where the likelihood allows them.
   VAE_CORRUPTION_GAUSSIAN: adds normal noise, `amount` is its standard deviation, up to 1000.
   VAE_CORRUPTION_MASKING: sets to 0 with probability `amount`.
   VAE_CORRUPTION_SALT_AND_PEPPER: sets to 0 or 1, either with probability `amount` / 2; not with config.standardize. */
typedef enum vae_corruption_kind {
    VAE_CORRUPTION_DEFAULT = 0, VAE_CORRUPTION_NONE, VAE_CORRUPTION_GAUSSIAN, VAE_CORRUPTION_MASKING,
    VAE_CORRUPTION_SALT_AND_PEPPER
} vae_corruption_kind;

typedef struct vae_corruption {
    vae_corruption_kind kind;
    vae_real            amount;
} vae_corruption;

#ifndef VAE_BASIC
#define VAE_MAX_LAYERS 16              /* in the encoder, again in the decoder, and in the classifier */
#else
#define VAE_MAX_LAYERS 4
#endif
#ifdef __cplusplus                     /* whose compilers may warn of C's casts */
#define VAEI_REAL(number) vae_real(number)
#else
#define VAEI_REAL(number) ((vae_real)(number))
#endif
#define VAE_ZERO VAEI_REAL(-1e-30)     /* an exact zero, in fields where 0 means the default; no other use */
#define VAE_LOGVAR_MIN VAEI_REAL(-20)  /* the encoder's logvar is clamped to these */
#define VAE_LOGVAR_MAX VAEI_REAL(10)

typedef struct vae_config {
    vae_shape          input;                     /* required: the shape of one row */
    int                latent;                    /* required: dimensions of z, 1 to 1048576 */
    vae_layer          encoder[VAE_MAX_LAYERS];   /* at least one; the layers that give mean and logvar are added */
    vae_layer          decoder[VAE_MAX_LAYERS];   /* from z to one number a pixel, or two where the likelihood takes
                                                     two; none: the encoder's mirror image. The last one is linear,
                                                     but for VAE_GAUSSIAN and VAE_LAPLACE */
    vae_likelihood     likelihood;
    vae_real           sigma;                     /* VAE_GAUSSIAN, VAE_LAPLACE: fixed, 1e-6 to 1e6; 0: learned */
    int                sigma_per_pixel;           /* nonzero: learns a sigma for each pixel, not one for all */
    int                standardize;               /* nonzero: see vae_standardize. Not where pixels lie in [0, 1] */
    vae_real           beta;                      /* weight of the KL, 0 or more. Default 1 */
    vae_schedule       beta_schedule;
    vae_initialization initialization;
    vae_layout         layout;                    /* of your pixels */
    vae_optimizer      optimizer;
    uint64_t           seed;                      /* of everything random; 0 is a seed like others */
    size_t             batch;                     /* largest training batch, 1 to 16777216. Default 128 */
    vae_part           part;
    const vae_real    *weights;                   /* optional: the model reads its weights here, in the order and number
                                                     that vae_weights has, and never writes them (flash memory, another
                                                     model's weights); they must outlive it. It cannot train */
    int                inference_only;            /* nonzero: keeps no gradients or moments, cannot train */
    vae_kernels        kernels;
    int                threads;                   /* up to 64. Default: with VAE_THREADS all cores that the process may
                                                     use, else 1. With `parallel`: required */
    vae_parallel       parallel;                  /* optional, with `threads` tasks at a time */
    vae_allocator      allocator;                 /* optional. Default: malloc and free */
    int                shared_heads;              /* nonzero: logvar is the same numbers as mean, of one layer that
                                                     gets the gradient of both */
    int                tied;                      /* nonzero: the decoder, the encoder's mirror image, uses its weights
                                                     transposed, those of mean first; only biases are its own. (In
                                                     PyTorch F.linear(z, mean.weight.t(), bias),
                                                     F.conv_transpose2d(h, encoder[0].weight, bias).) A decoder alone
                                                     holds a copy of them: it is not tied */
    int                classes;                   /* nonzero, 2 to 1048576: a conditional VAE, p(x | z, label). Each row
                                                     has a label, 0 to classes - 1, which enters one-hot beside the
                                                     input of the encoder's first dense layer (or of the heads where it
                                                     has none) and beside z; the decoder begins with a dense layer */
    vae_objective      objective;
    size_t             samples;                   /* z drawn for each row in training, each a row of the decoder's
                                                     batch; 1 to 65536. Default 1, for VAE_OBJECTIVE_IWAE 5 */
    vae_real           free_bits;                 /* above 0: in the loss each latent dimension's KL, averaged over the
                                                     batch, counts as this many nats at least (Kingma et al. 2016) */
    vae_real           capacity;                  /* above 0: C nats; the loss has beta |kl - C|, the KL averaged over
                                                     the batch (Burgess et al. 2018) */
    vae_schedule       capacity_schedule;         /* of C, such as VAE_WARMUP from 0 */
    int                keep_best;                 /* nonzero: has room for the weights with the lowest validation loss,
                                                     which vae_fit leaves in place when it returns */
    vae_freeze         freeze;                    /* such as the encoder's, after vae_load_matching */
    vae_layer          classifier[VAE_MAX_LAYERS];/* optional, semi-supervised: dense layers from q's mean to a logit of
                                                     each class, trained with the rest on the rows with a label, 0 and
                                                     up; -1 marks those without. The last one is linear, and its units
                                                     are the classes. Not together with config.classes */
    vae_real           classifier_weight;         /* of its cross-entropy in the loss, 0 or more. Default 1; with few
                                                     labels rows / labelled rows or more is usual */
    vae_corruption     corruption;                /* of the input, in training steps only */
    int                binarize;                  /* VAE_BERNOULLI, nonzero: grey pixels are probabilities, from which
                                                     pixels 0 or 1 are drawn: by training steps anew at every step, by
                                                     vae_elbo, vae_log_likelihood and vae_latent_statistics by seed and
                                                     row alone. All other calls take the pixels as they are */
    int                missing;                   /* nonzero: numbers may be missing: see vae_data */
    int                targets;                   /* nonzero: there is room for vae_data.targets */
} vae_config;

/* ==== 3 >>model =================================================================================================== */

typedef struct vae_model vae_model;

/* Checks the settings and copies them with every default in its place, a mirrored decoder too. `filled` may be
   `config`. Whether the layers of a decoder of your own meet is found by the calls below. */
VAE_API vae_status vae_defaults(const vae_config *config, vae_config *filled, vae_error *error);

/* Bytes that a model takes in all: parameters, gradients, moments, workspace. It never grows. (Saving to and loading
   from files take memory while they run, and threads take stacks.) */
VAE_API vae_status vae_memory_needed(const vae_config *config, size_t *bytes, vae_error *error);

/* Makes a model with fresh weights; vae_destroy releases it. The config is copied, but for what it points to. On
   failure *model is unchanged. vae_create_in puts the model into memory of yours, of at least vae_memory_needed bytes
   and any alignment. The memory stays yours: vae_destroy ends the model's threads, then you may free or reuse it. */
VAE_API vae_status vae_create(const vae_config *config, vae_model **model, vae_error *error);
VAE_API vae_status vae_create_in(const vae_config *config, void *memory, size_t bytes, vae_model **model,
                                 vae_error *error);
/* A view is a model for inference that reads `model`'s weights and has a workspace of its own. Several threads may run
   inference at the same time, each through its view, while nobody trains or destroys `model`. `changes` may be NULL;
   else its seed, batch, threads, parallel, layout and allocator are taken where not zero. A view has one thread unless
   `changes` says more, and draws its own sequence of samples, from the first. Destroy views before the model. */
VAE_API vae_status vae_create_view(const vae_model *model, const vae_config *changes, vae_model **view,
                                   vae_error *error);
/* NULL is allowed. A model in use by another thread or by the vae_fit that is calling on_progress is left alone. */
VAE_API void vae_destroy(vae_model *model);

/* The model's config as vae_defaults fills it, with beta and learning rate as they were last set. */
VAE_API void vae_get_config(const vae_model *model, vae_config *config);

/* Where a model stands. */
typedef struct vae_state {
    uint64_t step;              /* updates made */
    uint64_t epoch;             /* passes that vae_fit has completed */
    uint64_t row;               /* rows used of the pass in progress; 0 between passes */
    uint64_t samples_drawn;     /* by vae_sample, vae_sample_with, vae_sample_latent and vae_draw */
    vae_real beta;              /* of the next update, times its schedule's factor */
    vae_real learning_rate;     /* likewise */
    vae_real sigma;             /* fixed or learned, in units of the (standardised) pixels; their geometric mean where
                                   each pixel has its own; 0 for likelihoods without */
    uint64_t best_epoch;        /* with the lowest validation loss so far, and that loss: both are 0 unless */
    vae_real best_loss;         /* ... keep_best, patience or plateau_epochs is set */
} vae_state;
VAE_API void vae_get_state(const vae_model *model, vae_state *state);

VAE_API size_t vae_example_size(const vae_model *model);      /* numbers in one example: height * width * channels */
VAE_API size_t vae_latent_size(const vae_model *model);       /* numbers in one z */
VAE_API const char *vae_kernels_name(vae_kernels kernels);    /* "avx2", ... */
VAE_API int vae_kernels_available(vae_kernels kernels);       /* nonzero where this build and processor have them */

/* Layers, shapes, parameters, memory and settings as a table for people. Writes at most `size` bytes, the closing zero
   included, and returns the length of the whole text, as snprintf does. */
VAE_API size_t vae_summary(const vae_model *model, char *text, size_t size);
#ifndef VAE_NO_STDIO
VAE_API void vae_print_summary(const vae_model *model);       /* to standard output */
#endif

/* ==== 4 >>training ================================================================================================ */

/* Rows of vae_example_size numbers, one after the other: set `pixels` or `bytes`, not both. The data stay yours, are
   read during the call only and are never changed.
   With config.missing a pixel that is NaN, or 0 in `mask`, is missing: the encoder sees 0 there (with
   config.standardize that is its mean), and nats, scores, sigma, means and scales count the others alone. A row may
   lack all its pixels. With targets, those that are not NaN are scored, whatever the mask says. See vae_impute. */
typedef struct vae_data {
    const vae_real      *pixels;
    const unsigned char *bytes;
    size_t               count;          /* of rows */
    const int           *labels;         /* of each row; only with config.classes, and then required, or with
                                            config.classifier, where -1 or NULL is "not known" */
    const vae_real      *targets;        /* optional, with config.targets: what is scored in place of the pixels, in
                                            their units and layout: clean rows where the pixels are noisy, ... */
    const unsigned char *mask;           /* optional, with config.missing: a byte for each pixel, 0 where it is missing
                                            whatever it holds */
} vae_data;

/* Nats per example. In training with several samples a row, -log p(x | z) is their mean. */
typedef struct vae_terms {
    vae_wide reconstruction;  /* -log p(x | z) */
    vae_wide kl;              /* KL( q(z | x) || N(0, I) ), 0 or more */
    vae_wide elbo;            /* -(reconstruction + kl) */
    vae_wide loss;            /* what is minimised: see vae_objective; of vae_elbo always reconstruction + beta kl, beta
                                 where its schedule stands; with config.classifier also + classifier_weight
                                 classification */
    vae_wide classification;  /* -log p(label | mean) by config.classifier; 0 for a row without label */
} vae_terms;

#ifndef VAE_INFERENCE_ONLY

/* When on_progress is called. The last batch of an epoch brings VAE_EVENT_BATCH and then VAE_EVENT_EPOCH; returning
   nonzero from either brings VAE_EVENT_STOPPED, from which the return value is ignored. Stopping at an epoch's last
   batch still ends that epoch, but leaves out its validation unless patience, plateau_epochs or keep_best is set. */
typedef enum vae_event {
    VAE_EVENT_BATCH = 1,             /* after each batch */
    VAE_EVENT_EPOCH,                 /* after each epoch, when the validation data have been scored */
    VAE_EVENT_STOPPED                /* last of all, only where on_progress stopped training */
} vae_event;

typedef struct vae_progress {
    vae_event  event;
    vae_model *model;
    size_t     epoch, epochs;        /* counted from 1 since the model was made; epochs: this call's last */
    size_t     batch, batches;       /* counted from 1 within the epoch */
    uint64_t   step;                 /* updates since the model was made */
    vae_terms  last;                 /* the latest batch */
    vae_terms  train;                /* mean over this vae_fit's batches of the epoch, with the weights of their time */
    vae_terms  validation;           /* as vae_elbo gives them, at VAE_EVENT_EPOCH; zeros unless has_validation */
    int        has_validation;
    vae_wide   seconds;              /* since vae_fit began */
    vae_wide   examples_per_second;  /* while training this epoch, validation not counted */
    vae_wide   seconds_left;         /* to the end of vae_fit, by the speed so far */
    int        redraw;               /* nonzero when a display is due: ten times a second, and at each epoch's end */
} vae_progress;

typedef struct vae_fit_config {
    size_t          epochs;               /* passes over the data in this call. Set this or until_epoch, not both */
    size_t          until_epoch;          /* trains until the model has made this many passes in all, which may be no
                                             more: a program that resumes gives the same number again */
    size_t          batch;                /* rows in an update, at most config.batch. 0: config.batch, or, where the
                                             model comes from a file, the config.batch that it was saved with */
    const vae_data *validation;           /* optional: scored after each epoch */
    int             keep_order;           /* nonzero: rows are taken in order; else shuffled anew each epoch */
    int             output_bias_from_data;/* nonzero: before a model's first step, sets the decoder's last bias so that
                                             it gives the data's mean, or what the last activation can give nearest to
                                             it: of each pixel, or after a convolution of each channel; for pixels in
                                             [0, 1] clamped to [0.001, 0.999] (Burda et al. 2016). A second number a
                                             pixel begins with the data's variance */
    int           (*on_progress)(void *user, const vae_progress *progress);   /* optional; nonzero stops training */
    void           *user;                 /* handed to on_progress */
    size_t          patience;             /* no further epoch begins after this many in a row that did not bring the
                                             lowest validation loss so far; 0: no limit */
    size_t          plateau_epochs;       /* after this many of those in a row, and again after as many more, the
                                             learning rate is multiplied by plateau_factor; 0: never */
    vae_real        plateau_factor;       /* between 0 and 1. Default 0.1 */
} vae_fit_config;

/* Trains; `fit` NULL means ten epochs. Returns VAE_OK, VAE_STOPPED where on_progress stopped it, or an error.
   Call it again to go on: optimiser, step, epoch and shuffle carry on as if the calls had been one. A model that was
   stopped inside an epoch, or saved there as a checkpoint, first finishes that epoch, which counts as one of the
   `epochs`; give it the same number of rows, batch and keep_order.
   Training that diverges ends with VAE_ERROR_NUMERIC before the weights change: where a loss or gradient is not finite,
   a gradient is beyond 1e18, or a batch's loss is more than 10,000 times the sum of the first batch's and the number of
   pixels, "first" since the model was made or loaded; batches whose update was refused do not count. The single steps
   below do the same.
   on_progress may read the model, save it (also as a checkpoint, which resumes exactly there), encode, decode, sample
   and score with it, and set beta and the learning rate. It may not train, set or load weights, or destroy the model:
   those calls return VAE_ERROR_BUSY (vae_destroy does nothing, and vae_fit then stops and returns it). Meanwhile the
   model is this thread's: in others inference returns VAE_ERROR_BUSY, too, and vae_destroy does nothing at all.
   An exception or longjmp may leave on_progress: the model is then as after the last batch. After longjmp, or where
   vae.h is compiled as C without -fexceptions, other threads get the model once this one has made another call with it
   that is not refused (such as vae_encode).
   keep_best, patience and plateau_epochs go by the validation loss with beta as it is without its schedule. With
   keep_best the last weights are kept aside, in checkpoints too, and the next vae_fit goes on with them. Steps of your
   own, vae_set_tensor and loading weights change the weights in place and end what is known of earlier epochs. */
VAE_API vae_status vae_fit(vae_model *model, const vae_data *data, const vae_fit_config *fit, vae_error *error);

#ifndef VAE_NO_STDIO
/* A ready-made on_progress: a bar with speed and time left where standard output is a terminal, a line per epoch. */
VAE_API int vae_print_progress(void *user, const vae_progress *progress);
#endif

/* With config.standardize the network sees (pixel - mean) / scale: each pixel's mean and standard deviation in `data`
   (one that varies by less than 1e-30 keeps scale 1). Pixels that come out are in your units again, and nats count the
   change of scale (+ sum of log scale), so that they stay comparable. vae_fit does this by itself before the model's
   first step, unless you have. A first step of your own is refused without it: call it before, with the same rows on
   every machine, or set the tensors "standardize.mean" and "standardize.scale", which are saved with the weights. */
VAE_API vae_status vae_standardize(vae_model *model, const vae_data *data, vae_error *error);

/* One update on one batch of at most config.batch rows: forward, backward, optimiser. `terms` may be NULL. */
VAE_API vae_status vae_train_step(vae_model *model, const vae_data *batch, vae_terms *terms, vae_error *error);

/* For the next step and all later ones, 0 to 1e6: here 0 is 0. The schedules still multiply them. */
VAE_API vae_status vae_set_beta(vae_model *model, vae_real beta, vae_error *error);
VAE_API vae_status vae_set_learning_rate(vae_model *model, vae_real learning_rate, vae_error *error);

/* ==== 5 >>gradients =============================================================================================== */

/* A part of a larger batch: rows first .. first + count - 1 of `total`. */
typedef struct vae_share {
    size_t first, total;
} vae_share;

/* Adds to the gradient block the gradient of this batch's summed loss divided by `total`. With share NULL the batch is
   the whole (first 0, total count); a share may have no rows. Row r's noise depends on the seed, the step and first + r
   alone: a batch cut into pieces, over time or over machines, meets the same noise. The averages of config.free_bits
   and capacity are over the rows given. `terms`, which may be NULL, are means over these, too. After a loss that is not
   finite (VAE_ERROR_NUMERIC) the gradients are zero. */
VAE_API vae_status vae_accumulate_gradients(vae_model *model, const vae_data *batch, const vae_share *share,
                                            vae_terms *terms, vae_error *error);
/* One update by the optimiser with what has been accumulated, then as vae_end_step. Gradients that it refuses
   (VAE_ERROR_NUMERIC) are zero afterwards, and nothing else has changed. A learned sigma is not left to the
   optimiser: its gradient says where its best value lies. It begins at 1, where vae_train_step and vae_fit first fit it
   to the batch: standardise data of another size. */
VAE_API vae_status vae_apply_gradients(vae_model *model, vae_error *error);
/* Ends a step whose update you made yourself: zeroes the gradients, moves on to the next step's noise and schedules. */
VAE_API vae_status vae_end_step(vae_model *model, vae_error *error);
/* Forgets what has been accumulated. */
VAE_API void vae_clear_gradients(vae_model *model);

/* The gradients: one block of vae_parameter_count numbers in the order of vae_parameters, the model's own; NULL where
   it cannot train or is in use by another thread. Once asked for, the block always holds what has been accumulated,
   zeros after an update, and what you write into it counts; updates are then somewhat slower. */
VAE_API vae_real *vae_gradients(vae_model *model);
#endif /* VAE_INFERENCE_ONLY */

/* ==== 6 >>inference =============================================================================================== */

/* Points of the latent space, one after the other. */
typedef struct vae_latents {
    const vae_real *z;        /* count x latent numbers */
    size_t          count;
    const int      *labels;   /* of each z; only with config.classes, and then required */
} vae_latents;

/* Any number of rows in one call. Results go to arrays of yours, one row for each row given. A result that is not
   finite is VAE_ERROR_NUMERIC: the weights are too large.
   vae_encode: mean and logvar of q(z | x), count x vae_latent_size each; either may be NULL.
   vae_decode: the mean pixels of p(x | z), count x vae_example_size; so are those of the next two.
   vae_reconstruct: what vae_decode makes of vae_encode's mean.
   vae_sample: decodes z drawn from N(0, I). Each call gives new samples, for the model counts them: see
     vae_state.samples_drawn, which checkpoints keep. The sequence depends on the seed alone. With config.classes
     sample number n, counted from the model's first, has label n % classes: every class in turn. For chosen labels
     see vae_sample_config.
   vae_sample_latent: only draws the z, count x vae_latent_size, and counts them likewise. */
VAE_API vae_status vae_encode(vae_model *model, const vae_data *data, vae_real *mean, vae_real *logvar,
                              vae_error *error);
VAE_API vae_status vae_decode(vae_model *model, const vae_latents *latents, vae_real *pixels, vae_error *error);
VAE_API vae_status vae_reconstruct(vae_model *model, const vae_data *data, vae_real *pixels, vae_error *error);
VAE_API vae_status vae_sample(vae_model *model, size_t count, vae_real *pixels, vae_error *error);
VAE_API vae_status vae_sample_latent(vae_model *model, size_t count, vae_real *z, vae_error *error);

/* What becomes of a z: the mean pixels of p(x | z), or pixels drawn from p(x | z), which are as rough as the likelihood
   takes data to be: black and white for VAE_BERNOULLI, multiples of 1/255 for VAE_DISCRETIZED_LOGISTIC. */
typedef enum vae_sample_kind { VAE_SAMPLE_DEFAULT = 0, VAE_SAMPLE_MEAN, VAE_SAMPLE_DRAW } vae_sample_kind;

typedef struct vae_sample_config {
    vae_sample_kind kind;
    const int      *labels;         /* of each sample, with config.classes. Default: every class in turn */
} vae_sample_config;

/* vae_sample_with: vae_sample's z, with these pixels; `how` NULL: vae_sample.
   vae_draw: pixels drawn from p(x | z) for each z given, new ones at each call: it counts its rows as vae_sample does.
   Their randomness depends on the seed and on that count alone. */
VAE_API vae_status vae_sample_with(vae_model *model, size_t count, const vae_sample_config *how, vae_real *pixels,
                                   vae_error *error);
VAE_API vae_status vae_draw(vae_model *model, const vae_latents *latents, vae_real *pixels, vae_error *error);

/* With config.classifier: each row's probabilities of the classes, count x classes. data->labels may be given; they are
   checked, but do not count. */
VAE_API vae_status vae_classify(vae_model *model, const vae_data *data, vae_real *probabilities, vae_error *error);

/* The ELBO with one z drawn per row. `mean` receives the mean terms over all rows, `each` the terms of every row (count
   of them); either may be NULL. The noise of row i depends on the seed and i alone: the same model and rows give the
   same terms every time. For a score that does not depend on a row's place, see vae_score. */
VAE_API vae_status vae_elbo(vae_model *model, const vae_data *data, vae_terms *mean, vae_terms *each,
                            vae_error *error);

/* log p(x) in nats, estimated from below by k = `samples` (1 or more) draws from q (Burda et al. 2016, equation 8):
   log 1/k sum_k p(x | z_k) p(z_k) / q(z_k | x). `mean` and `each` (count numbers) as above. */
VAE_API vae_status vae_log_likelihood(vae_model *model, const vae_data *data, size_t samples, vae_wide *mean,
                                      vae_wide *each, vae_error *error);

/* A row's nats as bits per number of it: nats / (vae_example_size log 2). Of -log p(x), or of -elbo, which bounds it,
   these are the bits per dimension of the literature where p is a probability: bytes under VAE_DISCRETIZED_LOGISTIC,
   zeros and ones under VAE_BERNOULLI. */
VAE_API vae_wide vae_bits_per_dimension(const vae_model *model, vae_wide nats);

/* What a row's missing numbers probably are, given the others (config.missing): their mean, and in `spread`, which may
   be NULL, their standard deviation, by `samples` draws from q with self-normalised importance weights (Mattei and
   Frellsen 2019, equation 12). Both arrays have count x vae_example_size numbers in your units; where nothing is
   missing the pixels are copied and the spread is 0. The standard deviation counts the likelihood's own, too. The draws
   depend on the seed and the row's place alone. */
VAE_API vae_status vae_impute(vae_model *model, const vae_data *data, size_t samples, vae_real *filled,
                              vae_real *spread, vae_error *error);

/* How unusual a row is: higher is stranger. The score depends on the model and the row alone, wherever the row stands
   and whatever stands beside it.
   VAE_SCORE_ELBO: reconstruction at z = mean, plus the KL: the negative ELBO without its noise, in nats.
   VAE_SCORE_RECONSTRUCTION: the first of these two terms.
   VAE_SCORE_SQUARED_ERROR: sum over pixels of (x - vae_reconstruct's pixel)^2, in your units.
   VAE_SCORE_LOG_LIKELIHOOD: -log p(x) as vae_log_likelihood estimates it, but with the same noise for every row. */
typedef enum vae_score_kind {
    VAE_SCORE_DEFAULT = 0,          /* VAE_SCORE_ELBO; in vae_score_numbers VAE_SCORE_RECONSTRUCTION */
    VAE_SCORE_ELBO, VAE_SCORE_RECONSTRUCTION, VAE_SCORE_SQUARED_ERROR, VAE_SCORE_LOG_LIKELIHOOD
} vae_score_kind;

typedef struct vae_score_config {
    vae_score_kind kind;
    size_t         samples;         /* VAE_SCORE_LOG_LIKELIHOOD: draws for each row. Default 100 */
    int            without_entropy; /* VAE_BERNOULLI's nats: nonzero: less the pixels' own entropy, so that a grey pixel
                                       counts by how badly it is predicted, not by how grey it is */
} vae_score_config;

/* `each` receives data->count scores. `score` NULL: VAE_SCORE_ELBO. */
VAE_API vae_status vae_score(vae_model *model, const vae_data *data, const vae_score_config *score, vae_wide *each,
                             vae_error *error);
/* What each number of a row adds to its score: data->count x vae_example_size numbers, in your layout. Only for
   VAE_SCORE_RECONSTRUCTION and VAE_SCORE_SQUARED_ERROR; `score` NULL: the first. */
VAE_API vae_status vae_score_numbers(vae_model *model, const vae_data *data, const vae_score_config *score,
                                     vae_wide *each, vae_error *error);

/* The threshold for anomalies, from the scores of normal rows that were not trained on: the k-th smallest of them, k =
   (count + 1) fraction rounded up. A further normal row exceeds it with a chance of at most 1 - `fraction`, whatever
   the scores' distribution (split conformal prediction). At .99 that takes at least 99 scores, at .999 at least 999. */
VAE_API vae_status vae_quantile(const vae_wide *scores, size_t count, vae_wide fraction, vae_wide *threshold,
                                vae_error *error);

/* What one dimension of z carries, over rows. */
typedef struct vae_dimension {
    vae_wide kl;              /* its mean KL in nats; the sum over dimensions is vae_terms.kl */
    vae_wide mean, variance;  /* of the mean that the encoder gives */
    int      is_active;       /* 1: that variance is above 0.01 (Burda et al. 2016, section 5.2); else 0 */
} vae_dimension;

/* `each` receives vae_latent_size of them; `active`, which may be NULL, how many are active. */
VAE_API vae_status vae_latent_statistics(vae_model *model, const vae_data *data, vae_dimension *each, size_t *active,
                                         vae_error *error);

#ifndef VAE_INFERENCE_ONLY
/* A linear probe: how well z tells classes apart to a linear classifier (multinomial logistic regression). */
typedef struct vae_probe_config {
    size_t latent, classes;     /* numbers in a z; labels are 0 to classes - 1 */
    size_t iterations;          /* passes over the data, at most. Default 100 */
} vae_probe_config;

/* The classifier is fitted to `train`, which has labels; `accuracy` receives its share of right answers on `test`.
   `memory` is yours, vae_probe_memory(probe) numbers: the classifier, class by class with its bias last, stands in the
   first classes * (latent + 1). The scale of z does not matter, nor an offset up to a hundred times its spread. */
VAE_API size_t vae_probe_memory(const vae_probe_config *probe);
VAE_API vae_status vae_probe(const vae_probe_config *probe, const vae_latents *train, const vae_latents *test,
                             vae_wide *memory, vae_wide *accuracy, vae_error *error);
#endif

/* ==== 7 >>files =================================================================================================== */

/* A model file is a safetensors file: tensors under PyTorch's names, shapes and orders, the network as JSON in its
   metadata, little-endian on every machine. A checkpoint also holds the optimiser's moments, the step, the epoch, the
   place within it, the best epoch and samples_drawn; training goes on with the same bits as if it had never stopped.
   (Gradients accumulated and not yet applied are not in it.) Paths are UTF-8 on Windows.
   Saving writes a temporary file beside the old one, flushes it to the disk and renames it: at every instant either the
   old file or the new one is whole. On POSIX systems symbolic links are followed, so that the file they lead to is
   replaced, and the new file keeps the old one's mode, and its owner as far as the process may set it. Devices and the
   like are refused.
   Loading trusts nothing in the file, and takes memory in proportion to the file's size and to what you ask for:
   without config.batch the file's batch is halved until the model's memory suits the file.
   vae_load makes a model from the file; vae_destroy releases it. `config` may be NULL. Otherwise, of its fields,
     - seed, batch, part, beta, beta_schedule, optimizer, objective, samples, free_bits, capacity, capacity_schedule,
       keep_best, freeze, classifier_weight, corruption, binarize, missing, targets replace the file's where they are
       not zero (learning_rate too: leave it 0 to go on with one that plateau_epochs has lowered); a checkpoint's
       moments are left out where the optimiser's kind changes, but for VAE_ADAM and VAE_ADAMW, which have the same;
     - layout, kernels, threads, parallel, allocator, inference_only are yours alone: the file's do not count;
     - input, latent, encoder, decoder, likelihood, sigma, sigma_per_pixel, standardize, shared_heads, tied, classes,
       classifier must be zero or as in the file;
     - initialization is not looked at, and weights must be NULL.
   A file without that metadata, such as weights saved from Python, needs `config` in full.
   vae_load_weights replaces the weights of an existing model of the same network, or of a part of it, all or none. Its
   _memory form allocates nothing: with vae_create_in a trained model runs without a heap.
   vae_load_matching takes those tensors whose names and shapes are the model's, for transfer from another network:
   taken[i] becomes 1 or 0 for each of the model's vae_tensor_count tensors; `taken` may be NULL. No match: an error.
   From a tied model's file, both give a decoder alone the encoder's weights, transposed (but not with VAE_BASIC). */
#ifndef VAE_NO_STDIO
VAE_API vae_status vae_save(const vae_model *model, const char *path, vae_error *error);
VAE_API vae_status vae_load(const char *path, const vae_config *config, vae_model **model, vae_error *error);
VAE_API vae_status vae_load_weights(vae_model *model, const char *path, vae_error *error);
VAE_API vae_status vae_load_matching(vae_model *model, const char *path, unsigned char *taken, vae_error *error);
#ifndef VAE_INFERENCE_ONLY
VAE_API vae_status vae_save_checkpoint(const vae_model *model, const char *path, vae_error *error);
#endif
#endif
/* The same from and to memory. vae_save_memory always stores the file's size in *size. It writes the file to `bytes` if
   `capacity` is enough, else it returns VAE_ERROR_MEMORY; `bytes` NULL only asks for the size. */
VAE_API vae_status vae_save_memory(const vae_model *model, int checkpoint, void *bytes, size_t capacity, size_t *size,
                                   vae_error *error);
VAE_API vae_status vae_load_memory(const void *bytes, size_t size, const vae_config *config, vae_model **model,
                                   vae_error *error);
VAE_API vae_status vae_load_weights_memory(vae_model *model, const void *bytes, size_t size, vae_error *error);
VAE_API vae_status vae_load_matching_memory(vae_model *model, const void *bytes, size_t size, unsigned char *taken,
                                            vae_error *error);

/* ==== 8 >>parameters ============================================================================================== */

/* The weights as one block of the model's, in the library's own order: first the vae_parameter_count numbers that are
   trained, then the others (those of vae_standardize, running averages), vae_weight_count in all. vae_parameters is for
   writing: sums over machines, averages, optimisers of your own; NULL where the model does not own its weights.
   vae_weights is for reading: what a program with constant weights keeps in flash, and gives as config.weights. */
VAE_API size_t vae_parameter_count(const vae_model *model);
VAE_API size_t vae_weight_count(const vae_model *model);
VAE_API vae_real *vae_parameters(vae_model *model);
VAE_API const vae_real *vae_weights(const vae_model *model);

/* The same weights one tensor at a time, as PyTorch has them: Linear [out, in], Conv2d [out, in, height, width],
   ConvTranspose2d [in, out, height, width], bias [out]; names as in the nn.Sequential that one would write, which
   counts BatchNorm, activations, Dropout, Flatten, Unflatten and, for uneven padding, ZeroPad2d: "encoder.0.weight",
   "encoder.2.bias", ..., "mean.weight", "logvar.weight", ..., "decoder.0.weight". Shared heads have "mean" alone, tied
   layers only a bias. Batch normalisation has a weight, bias, running_mean and running_var: "encoder.1.running_mean". A
   learned sigma is "log_sigma", [1] or one per pixel in channel-first order, as are "standardize.mean" and
   "standardize.scale". With config.classes the layers that take the label are Linear [out, in + classes] for
   torch.cat([x.flatten(1), one_hot], 1); config.classifier's are "classifier.0.weight", .... */
typedef struct vae_tensor {
    char   name[32];
    int    rank;          /* 1, 2 or 4 */
    size_t shape[4];      /* unused ones are 1 */
    size_t count;         /* product of the shape */
    int    trained;       /* nonzero: it has gradients; else it is a constant or a running average */
} vae_tensor;

VAE_API size_t vae_tensor_count(const vae_model *model);
VAE_API vae_status vae_tensor_at(const vae_model *model, size_t index, vae_tensor *tensor, vae_error *error);
/* Where element `element` (in PyTorch's order) of tensor `index` lies in vae_weights; (size_t)-1 if there is none. */
VAE_API size_t vae_tensor_place(const vae_model *model, size_t index, size_t element);
/* Copies tensor `name` out of or into the model, `count` numbers in PyTorch's order. */
VAE_API vae_status vae_get_tensor(const vae_model *model, const char *name, vae_real *values, size_t count,
                                  vae_error *error);
VAE_API vae_status vae_set_tensor(vae_model *model, const char *name, const vae_real *values, size_t count,
                                  vae_error *error);
#ifndef VAE_INFERENCE_ONLY
/* The same for the gradient block. */
VAE_API vae_status vae_get_gradient(const vae_model *model, const char *name, vae_real *values, size_t count,
                                    vae_error *error);
#endif

#ifdef __cplusplus
}
#endif
#endif /* VAE_H */

/* ================================================================================================================
   IMPLEMENTATION >>implementation

   Read >>training-implementation first: it shows the way of one training step through this file. Arithmetic stands
   before the network because C wants it so; nothing in it knows what a network is.

      9 >>platform     errors as text, clock, threads    22 >>tables       likelihoods, optimisers, schedules
     10 >>memory       sizes, allocation                 23 >>plan         from a config to shapes and places
     11 >>arithmetic   what compiler and target have     24 >>execution    the model itself, work shared out
     12 >>scalar-math  one number at a time              25 >>layers       dense, convolution, dropout, batch norm
     13 >>random       streams, shuffle, Philox          26 >>outcome      what becomes of the decoder's output
     14 >>vectors      four floats at a time             27 >>stages       the walk through the layers
     15 >>product      what a matrix product is          28 >>latent       the sample, the KL, the classifier
     16 >>kernels      what a kernel set offers          29 >>model-implementation  tensors, first weights, create
     17 >>primitives   compiled once per instruction     30 >>batch        rows into the workspace
     18 >>vector-math    set: this file includes itself  31 >>inference-implementation
     19 >>product-kernels                                32 >>training-implementation
     20 >>arrays       of any length from the kernels    33 >>files-implementation  safetensors, JSON, disk
     21 >>matrix-product  any shape from the kernels

   Words, each for one thing:
     row           an example of the data or of a batch; raw: still in the caller's layout and units
     pixel         any number of a row; where it lies in the workspace: vaei_inner_place
     heads         the layer that gives a row's mean and logvar, from which noise makes z
     output        what the decoder gives for a row: the likelihood's parameters, not pixels
     nats          -log of a probability or density, of a row unless something else is named
     spec          a layer as a config describes it, with the shapes that follow
     plan          where everything of a model lies: layers, stages, tables, tensors, weights
     workspace     what a model computes in; slot: the piece of it that one worker has for itself
     chain, stage  encoder or decoder; a run of its layers that is walked through as one
     pass          a batch on its way through the network: forward, or there and back
     micro-batch   the few images that a stage of convolutions takes at once; chunk: several of them, whose gradients
                   are summed together
     fine, coarse  the larger and the smaller of the two images that a convolution connects, either way round
     kernel set    the inner loops, compiled for one instruction set; scratch: memory for them while they run
     block         as many numbers as a model has weights: parameters, gradients, a moment, the best weights

   Names: vaei_check_* refuses with a sentence, and vaei_fail_* makes one; *_part and *_task are pieces of shared work;
   *_backward stands beside its forward function; d_x is the gradient of the loss with respect to x.
   ================================================================================================================ */
#if defined(VAE_IMPLEMENTATION) && !defined(VAEI_PASS) && !defined(VAEI_IMPLEMENTED)

/* ==== 9 >>platform ================================================================================================ */

/* What differs from one compiler or operating system to the next: how numbers are rounded, the clock, the terminal,
   threads. What concerns files stands in >>files-implementation, what concerns the processor in >>arithmetic. */

#include <stdarg.h>
#include <string.h>
#ifndef VAE_NO_MALLOC
#include <stdlib.h>
#endif
#ifndef VAE_NO_STDIO
#include <stdio.h>
#endif
#include <float.h>

#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push             /* the implementation is C, with its casts and its NULL */
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wzero-as-null-pointer-constant"
#endif

/* ---- floating point ----

   Every operation rounds as IEEE 754 says, whatever flags the program is compiled with. Under -ffast-math a compiler
   may simplify x + c - c to x and assume that no number is NaN; the pragmas below forbid both up to the end of this
   file. Even so, whether a number is finite is read from its bits: no flag changes that answer, and a comparison with
   NaN traps in programs that enable such traps.
   So -Ofast leaves every bit as it is, with one exception: it makes the processor take denormal numbers for 0. Less
   holds for clang where it does not know float_control (version 14: AArch64, Arm, RISC-V, wasm): errors may exceed
   those in section vector-math by one unit, and a NaN may be lost on its way through a network. */

#if FLT_EVAL_METHOD == 2 || (defined(__i386__) && defined(__GNUC__) && !defined(__SSE2_MATH__))
#error "vae.h needs arithmetic in the type's own precision, which x87 lacks: compile with -msse2 -mfpmath=sse"
#endif
#if defined(__clang__)
#define VAEI_RESTORE_FLOATS 1
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wignored-pragmas"        /* older versions lack float_control on some targets */
#pragma float_control(precise, on, push)
#ifdef __FAST_MATH__
#pragma clang fp reassociate(off)
#endif
#pragma clang diagnostic pop
#pragma STDC FP_CONTRACT OFF
#elif defined(_MSC_VER)
#define VAEI_RESTORE_FLOATS 2
#pragma float_control(precise, on, push)
#elif defined(__GNUC__)
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || \
    defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
#define VAEI_RESTORE_FLOATS 3
#pragma GCC push_options
#pragma GCC optimize("no-fast-math")
#endif
/* gcc must not fuse products with sums, nor compute in a wider type. On x86 and AArch64 VAEI_ROUNDED prevents the
   fusing, which compiles faster. */
#if FLT_EVAL_METHOD == 1 || ((defined(__FP_FAST_FMAF) || defined(__FP_FAST_FMA)) && !defined(__x86_64__) && \
                             !defined(__i386__) && !defined(__aarch64__))
#ifndef VAEI_RESTORE_FLOATS
#define VAEI_RESTORE_FLOATS 3
#pragma GCC push_options
#endif
#pragma GCC optimize("fp-contract=off", "excess-precision=fast")
#endif
#endif

#if defined(__GNUC__)
#define VAEI_PRIVATE __attribute__((unused)) static
#else
#define VAEI_PRIVATE static
#endif

/* How a vae_wide is laid out: as a double, or as a float with VAE_NO_DOUBLE and where double is as small (AVR).
   VAEI_BY_WIDTH is a constant that depends on it. */
#if defined(VAE_NO_DOUBLE) || DBL_MANT_DIG != 53
#define VAEI_WIDE_IS_FLOAT 1
typedef uint32_t vaei_wide_word;
#define VAEI_WIDE_FRACTION 23
#define VAEI_WIDE_BIAS 127
#define VAEI_WIDE_MIN FLT_MIN
#define VAEI_BY_WIDTH(of_double, of_float) ((vae_wide)(of_float))
#else
#define VAEI_WIDE_IS_FLOAT 0
typedef uint64_t vaei_wide_word;
#define VAEI_WIDE_FRACTION 52
#define VAEI_WIDE_BIAS 1023
#define VAEI_WIDE_MIN DBL_MIN
#define VAEI_BY_WIDTH(of_double, of_float) ((vae_wide)(of_double))
#endif
#define VAEI_WIDE_SIGN ((vaei_wide_word)1 << (8 * sizeof(vaei_wide_word) - 1))
#define VAEI_WIDE_INFINITY ((vaei_wide_word)(2 * VAEI_WIDE_BIAS + 1) << VAEI_WIDE_FRACTION)
#define VAEI_WIDE_NAN ((vaei_wide_word)-1 << (VAEI_WIDE_FRACTION - 1))

VAEI_PRIVATE vaei_wide_word vaei_wide_bits(vae_wide x) {
    vaei_wide_word bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

VAEI_PRIVATE vae_wide vaei_bits_wide(vaei_wide_word bits) {
    vae_wide x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

VAEI_PRIVATE int vaei_finite_wide(vae_wide x) {
    return (vaei_wide_bits(x) & VAEI_WIDE_INFINITY) != VAEI_WIDE_INFINITY;
}

VAEI_PRIVATE int vaei_finite(vae_real x) {
#ifdef VAE_DOUBLE
    return vaei_finite_wide(x);
#else
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7F800000) != 0x7F800000;
#endif
}

VAEI_PRIVATE int vaei_is_nan_wide(vae_wide x) {
    return (vaei_wide_bits(x) & ~VAEI_WIDE_SIGN) > VAEI_WIDE_INFINITY;
}

VAEI_PRIVATE int vaei_is_nan(vae_real x) {
#ifdef VAE_DOUBLE
    return vaei_is_nan_wide(x);
#else
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7FFFFFFF) > 0x7F800000;
#endif
}

/* VAEI_SETUP marks functions that run once per model or file: the compiler may keep them small rather than fast.
   VAEI_APART marks functions that are not inlined: a large function takes longer to compile than its parts, and many
   copies take longer than one. */
#if defined(__GNUC__)
#define VAEI_SETUP __attribute__((unused, cold, noinline)) static
#define VAEI_NOINLINE __attribute__((noinline))
#else
#define VAEI_SETUP static
#define VAEI_NOINLINE
#endif
#define VAEI_APART VAEI_NOINLINE VAEI_PRIVATE

/* VAEI_INLINE begins a function that must be inlined: otherwise its vectors would pass through memory. */
#if defined(__GNUC__)
#define VAEI_INLINE __attribute__((unused, always_inline)) static inline
#else
#define VAEI_INLINE static inline
#endif

/* Whether a setting asks for what VAE_BASIC leaves out. There it is always 0, so that the compiler drops all that the
   setting would need; vaei_is_basic has refused it before. */
#ifdef VAE_BASIC
#define VAEI_IS_BASIC 1
#define VAEI_HAS(asked) (0 && (asked))
#define VAEI_EXTRA(function) NULL       /* of a table */
#else
#define VAEI_IS_BASIC 0
#define VAEI_HAS(asked) (asked)
#define VAEI_EXTRA(function) function
#endif
/* Whether models only decode, and what else they would need, of a table. VAEI_MORE marks what decoders need all the
   same, for a likelihood's mean or their first weights, unless they are basic. */
#ifdef VAE_DECODE_ONLY
#ifndef VAE_INFERENCE_ONLY
#error "VAE_DECODE_ONLY needs VAE_INFERENCE_ONLY"
#endif
#define VAEI_DECODES_ONLY 1
#define VAEI_SCORING(function) NULL
#define VAEI_MORE(function) VAEI_EXTRA(function)
#else
#define VAEI_DECODES_ONLY 0
#define VAEI_SCORING(function) function
#define VAEI_MORE(function) function
#endif
#ifdef VAE_SMALL
#define VAEI_IS_SMALL 1
#else
#define VAEI_IS_SMALL 0
#endif
#ifdef VAE_INFERENCE_ONLY
#define VAEI_TRAINING(function) NULL
#else
#define VAEI_TRAINING(function) function
#endif

/* ---- errors ----

   Sentences are put together by the few functions here and not by snprintf, which VAE_NO_STDIO leaves out, and which in
   some locales writes a decimal comma. */

/* A text that is being written. It stops at the end of its buffer, but `length` goes on counting: so the caller learns
   how long the whole text is. */
typedef struct vaei_text {
    char  *bytes;
    size_t size, length;
} vaei_text;

/* A text that will be written into these bytes; with a `size` of 0 it is only counted. */
VAEI_PRIVATE vaei_text vaei_text_in(char *bytes, size_t size) {
    vaei_text text;
    text.bytes = bytes;
    text.size = size;
    text.length = 0;
    if (size) bytes[0] = 0;
    return text;
}

/* Ends the text, or as much of it as there is room for, with a zero. */
VAEI_PRIVATE void vaei_end_text(const vaei_text *text) {
    if (text->size) text->bytes[text->length < text->size ? text->length : text->size - 1] = 0;
}

VAEI_SETUP void vaei_put(vaei_text *text, char c) {
    if (text->length + 1 < text->size) text->bytes[text->length] = c;
    text->length++;
}

VAEI_SETUP void vaei_put_string(vaei_text *text, const char *string) {
    while (*string) vaei_put(text, *string++);
}

/* Names and paths come from files and users: what a terminal would obey, control characters of ASCII and, as UTF-8, of
   Latin-1, becomes a question mark. Returns how many bytes it read. */
VAEI_SETUP size_t vaei_put_shown(vaei_text *text, const char *at) {
    const unsigned char first = (unsigned char)at[0], next = first == 0xC2 ? (unsigned char)at[1] : 0;
    const int           is_control = first < 32 || first == 127 || (next >= 0x80 && next < 0xA0);
    vaei_put(text, is_control ? '?' : at[0]);
    return is_control && next ? 2 : 1;
}

VAEI_SETUP void vaei_put_unsigned(vaei_text *text, uint64_t number) {
    char digits[20];
    int  count = 0;
    do digits[count++] = (char)('0' + (int)(number % 10));
    while ((number /= 10) != 0);
    while (count) vaei_put(text, digits[--count]);
}

/* The shortest decimal number that reads back as `real`: see >>files-implementation. */
VAEI_SETUP void vaei_put_exact_real(vaei_text *text, vae_real real);

/* %s string, %d int, %z size_t, %r VAEI_SHOWN(number), written as the shortest vae_real. Ends the text with a zero. */
#ifdef VAE_NO_DOUBLE        /* a float among the variable arguments would become a double: its bits go there */
typedef int32_t vaei_real_argument;
#define VAEI_SHOWN(number) vaei_real_bits((vae_real)(number))
#else
typedef double vaei_real_argument;
#define VAEI_SHOWN(number) ((double)(number))
#endif
VAEI_SETUP vae_real vaei_real_shown(vaei_real_argument shown) {
#ifdef VAE_NO_DOUBLE
    vae_real real;
    memcpy(&real, &shown, sizeof real);
    return real;
#else
    return (vae_real)shown;
#endif
}

VAEI_SETUP void vaei_format_list(vaei_text *text, const char *format, va_list list) {
    for (; *format; format++) {
        if (*format != '%') { vaei_put(text, *format); continue; }
        format++;
        if (*format == 's') {
            const char *string = va_arg(list, const char *);
            while (*string) string += vaei_put_shown(text, string);
        }
        else if (*format == 'z') vaei_put_unsigned(text, va_arg(list, size_t));
        else if (*format == 'r') vaei_put_exact_real(text, vaei_real_shown(va_arg(list, vaei_real_argument)));
        else if (*format == 'd') {
            int number = va_arg(list, int);
            /* Negated as 64 bits: the least int has no positive counterpart among the ints. */
            if (number < 0) vaei_put(text, '-');
            vaei_put_unsigned(text, number < 0 ? (uint64_t)-(int64_t)number : (uint64_t)number);
        } else vaei_put(text, *format);
    }
    vaei_end_text(text);
}

VAEI_SETUP void vaei_format(vaei_text *text, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vaei_format_list(text, format, list);
    va_end(list);
}

/* A constant's number as a string, for sentences that name it. */
#define VAEI_WRITTEN(number) VAEI_AS_TEXT(number)
#define VAEI_AS_TEXT(text) #text

/* Fills *error, if there is one, and returns the status: `return vaei_fail(error, VAE_ERROR_.., "...")`. */
#ifdef VAE_NO_MESSAGES
VAEI_SETUP vae_status vaei_fail_by_name(vae_error *error, vae_status status) {
    if (error) {
        strcpy(error->message, vae_status_name(status));
        error->status = status;
    }
    return status;
}

/* Inlined, so that the compiler drops the sentences and all that they are made of. */
VAEI_INLINE vae_status vaei_fail(vae_error *error, vae_status status, const char *format, ...) {
    (void)format;
    return vaei_fail_by_name(error, status);
}
#else
VAEI_SETUP vae_status vaei_fail(vae_error *error, vae_status status, const char *format, ...) {
    if (error) {
        vaei_text text = vaei_text_in(error->message, sizeof error->message);
        va_list   list;
        va_start(list, format);
        vaei_format_list(&text, format, list);
        va_end(list);
        error->status = status;
    }
    return status;
}
#endif

/* ---- what the operating system offers ---- */

#if defined(__unix__) || defined(__APPLE__) || defined(__HAIKU__) || defined(__wasi__)
#define VAEI_POSIX 1
/* -std=c99 hides most of POSIX, and after the first header has been included no macro brings it back. The hidden
   functions are then declared here under names of our own, which conflict with no header. */
#if defined(__linux__) && defined(__GNUC__) && defined(__STRICT_ANSI__) && !defined(__cplusplus)
#define VAEI_HIDDEN_POSIX 1
#endif
#endif

/* Declared as in <windows.h>, which the program may include before or after. It is not included here: it brings its
   macros, and it obeys the settings of whoever includes it first. */
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
__declspec(dllimport) unsigned long __stdcall GetCurrentThreadId(void);
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

/* vaei_now: microseconds since some fixed moment, by a clock that nobody can set, where the system has one.
   vaei_is_terminal: whether standard output goes to a terminal. */
#if !defined(VAE_NO_STDIO) && defined(VAEI_POSIX)
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
/* WASI's header hides the function with -std=c99, but not the clock's name. */
#if defined(CLOCK_MONOTONIC) && !(defined(__wasi__) && defined(__STRICT_ANSI__) && !defined(__cplusplus))
VAEI_PRIVATE int64_t vaei_now(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now)) return 0;
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
#elif defined(VAEI_HIDDEN_POSIX) && \
    (defined(__LP64__) || (defined(__GLIBC__) && defined(__TIMESIZE) && __TIMESIZE == __WORDSIZE))
/* This struct is the C library's only where its seconds are a long; elsewhere the clock below has to do. */
typedef struct vaei_time { long seconds, nanoseconds; } vaei_time;
extern int vaei_clock_gettime(int clock, vaei_time *now) __asm__("clock_gettime");
VAEI_PRIVATE int64_t vaei_now(void) {
    vaei_time now;
    if (vaei_clock_gettime(1, &now)) return 0;          /* CLOCK_MONOTONIC */
    return (int64_t)now.seconds * 1000000 + now.nanoseconds / 1000;
}
#else
VAEI_PRIVATE int64_t vaei_now(void) {
    struct timeval now;
    gettimeofday(&now, NULL);
    return (int64_t)now.tv_sec * 1000000 + now.tv_usec;
}
#endif
VAEI_PRIVATE int vaei_is_terminal(void) { return isatty(1); }
#elif !defined(VAE_NO_STDIO) && defined(_WIN32)
#include <io.h>
VAEI_PRIVATE int64_t vaei_now(void) {
    int64_t count, frequency;
    if (!QueryPerformanceCounter((union _LARGE_INTEGER *)(void *)&count) ||
        !QueryPerformanceFrequency((union _LARGE_INTEGER *)(void *)&frequency)) return 0;
    return count / frequency * 1000000 + count % frequency * 1000000 / frequency;
}
VAEI_PRIVATE int vaei_is_terminal(void) { return _isatty(1); }
#elif !defined(VAE_NO_STDIO)
#include <time.h>
VAEI_PRIVATE int64_t vaei_now(void) { return (int64_t)time(NULL) * 1000000; }
VAEI_PRIVATE int vaei_is_terminal(void) { return 0; }
#else
VAEI_PRIVATE int64_t vaei_now(void) { return 0; }
#endif

/* The seconds between two calls of vaei_now; 0 if the clock was set back in between. */
VAEI_PRIVATE vae_wide vaei_elapsed(int64_t from, int64_t to) {
    return to > from ? (vae_wide)(to - from) * (vae_wide)1e-6 : 0;
}

/* ---- numbers that threads share ----

   GET reads a counter, ADD adds and gives the old value, SET stores; SWAP stores n if the counter holds `old`, and says
   whether it did. They order memory as well: whoever reads a value sees all that was written before it was stored. */

#if defined(_MSC_VER) && !defined(__clang__)
#define VAEI_HAS_ATOMICS 1
#include <intrin.h>
typedef volatile long vaei_counter;
#define VAEI_COUNTER_GET(c) _InterlockedCompareExchange(&(c), 0, 0)
#define VAEI_COUNTER_ADD(c, n) _InterlockedExchangeAdd(&(c), (n))
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

/* The calling thread, as a number that no other thread has at that time; never 0 or 1. Each thread has an errno of its
   own. Elsewhere there is nobody to ask, and all threads are alike. */
#if defined(_WIN32)
typedef long vaei_mark;
#define VAEI_THREAD ((vaei_mark)GetCurrentThreadId())
#elif defined(VAEI_POSIX)
#include <errno.h>
typedef long vaei_mark;
#define VAEI_THREAD ((vaei_mark)(uintptr_t)&errno)
#else
typedef int vaei_mark;
#define VAEI_THREAD 2
#endif

/* A flag that only one of several threads can set, whether or not the library starts threads itself. Without atomic
   operations it is a plain number: right for one thread, but two that set it at once may both succeed. */
#ifdef VAEI_HAS_ATOMICS
typedef vaei_counter vaei_flag;
/* If the flag is `expected`, sets it to `desired`. Returns whether it did. */
VAEI_PRIVATE int vaei_flag_swap(vaei_flag *flag, vaei_mark expected, vaei_mark desired) {
    long old = expected;
    /* A swap that fails writes what it found into `old`: so it gets a variable of its own. */
    return VAEI_COUNTER_SWAP(*flag, old, desired);
}
VAEI_PRIVATE vaei_mark vaei_flag_get(vaei_flag *flag) { return (vaei_mark)VAEI_COUNTER_GET(*flag); }
VAEI_PRIVATE void      vaei_flag_set(vaei_flag *flag, vaei_mark value) { VAEI_COUNTER_SET(*flag, value); }
#else
typedef vaei_mark vaei_flag;
VAEI_PRIVATE int vaei_flag_swap(vaei_flag *flag, vaei_mark expected, vaei_mark desired) {
    if (*flag != expected) return 0;
    *flag = desired;
    return 1;
}
VAEI_PRIVATE vaei_mark vaei_flag_get(vaei_flag *flag) { return *flag; }
VAEI_PRIVATE void      vaei_flag_set(vaei_flag *flag, vaei_mark value) { *flag = value; }
#endif

/* ---- threads ----

   An idle thread of the pool spins for about as long as the pause between two products of a training step and then
   sleeps, so that it does not hold a core that others could use. Whoever is free takes the next task, the caller
   included: a thread that the system does not let run takes none, and the others do its share. Task i always runs on
   slot i, so no result depends on which thread takes it.

   A monitor is a lock with one condition, "something has changed": wait gives up the lock, sleeps until some other
   thread calls wake, and takes the lock again. */

#ifndef VAE_BASIC
#define VAEI_MAX_THREADS 64
#else
#define VAEI_MAX_THREADS 1
#endif

#if defined(VAE_THREADS) && (defined(_WIN32) || (defined(VAEI_POSIX) && !defined(__wasi__)))
#define VAEI_HAS_POOL 1
#ifdef _WIN32
#ifndef VAEI_HAS_ATOMICS
#error "VAE_THREADS needs atomic operations, which this compiler lacks: leave it out, or give config.parallel"
#endif
#include <process.h>
typedef void *vaei_thread;
typedef struct vaei_monitor { void *lock, *changed; } vaei_monitor;    /* SRWLOCK, CONDITION_VARIABLE: NULL at first */
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
    /* Not CreateThread: the C library wants to know of its threads. */
    *thread = (void *)_beginthreadex(NULL, 0, run, argument, 0, NULL);
    return *thread != NULL;
}
VAEI_PRIVATE void vaei_thread_join(vaei_thread thread) {
    WaitForSingleObject(thread, 0xFFFFFFFFul);
    CloseHandle(thread);
}
VAEI_PRIVATE long vaei_process(void) { return 0; }      /* there is no fork */

/* The processors this process may run on, at most 64: Windows counts them in groups of up to 64, and a mask covers
   one. */
VAEI_PRIVATE int vaei_core_count(void) {
    vaei_processor_mask process = 0, all = 0;
    int                 count = 0;
    if (!GetProcessAffinityMask(GetCurrentProcess(), &process, &all)) return 1;
    if (!process) return VAEI_MAX_THREADS;      /* it already runs in several groups */
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

/* A new thread inherits the signal mask of the thread that starts it. So all signals are blocked while a worker is
   started, and it receives none of the program's; only those that report a fault of the thread itself are left. */
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
/* The set as C libraries on Linux lay it out: bit n - 1 stands for signal n. */
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
/* <sched.h> hides it unless _GNU_SOURCE is defined. */
extern int vaei_sched_getaffinity(int thread, size_t size, unsigned char *mask) __asm__("sched_getaffinity");

/* The number of processors that the calling thread may run on; 0: not known. */
VAEI_SETUP long vaei_affinity(void) {
    unsigned char mask[256];            /* 2048 processors; the kernel refuses a mask smaller than its own */
    long          count = 0;
    size_t        i;
    memset(mask, 0, sizeof mask);
    if (vaei_sched_getaffinity(0, sizeof mask, mask) < 0) return 0;
    for (i = 0; i < 8 * sizeof mask; i++) count += mask[i / 8] >> i % 8 & 1;
    return count;
}

/* The processors whose time a control group grants, rounded down but at least one, from "quota period\n"; 0: no limit,
   which reads "max period\n". With more threads than that, all would stand still once the quota is used up. */
VAEI_SETUP long vaei_quota_of(const char *text, size_t size) {
    long   numbers[2] = { 0, 0 };
    int    which = 0;
    size_t i;
    for (i = 0; i < size && which < 2; i++) {
        /* A tenth digit could overflow a long of 32 bits; so large a quota limits nothing. */
        if (text[i] >= '0' && text[i] <= '9' && numbers[which] < 100000000)
            numbers[which] = 10 * numbers[which] + (text[i] - '0');
        else if (text[i] == ' ' || text[i] == '\n') which++;
        else return 0;
    }
    if (numbers[0] < 1 || numbers[1] < 1) return 0;
    return numbers[0] < numbers[1] ? 1 : numbers[0] / numbers[1];
}

/* The quota of the root group: what a container sees there is its own. */
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
    /* Affinity and quota come first: a container or a batch system grants fewer processors than the machine has. */
    const long allowed = vaei_affinity(), quota = vaei_quota();
    long       count = allowed > 0 ? allowed : sysconf(_SC_NPROCESSORS_ONLN);
    if (quota > 0 && quota < count) count = quota;
    return count < 1 ? 1 : count > VAEI_MAX_THREADS ? VAEI_MAX_THREADS : (int)count;
}
#endif

#ifdef VAEI_HAS_ATOMICS
#define VAEI_COUNTER_OPEN(c) ((void)0)
#define VAEI_COUNTER_CLOSE(c) ((void)0)
#else
/* Without atomic operations each number has a lock. */
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

#define VAEI_SPINS 4000     /* calls of vaei_pause before a thread sleeps: some tens of microseconds */

/* Tells the processor that this is a loop that waits: it saves power and leaves the core to its other thread. */
VAEI_PRIVATE void vaei_pause(void) {
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
    __builtin_ia32_pause();
#elif defined(__GNUC__) && defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

typedef struct vaei_pool vaei_pool;

/* `work` is tasks * 256 + next in one number, so that both are read and changed together. Whoever raises it by one has
   taken task `next`; `task` and `context` do not change before that task is done. */
struct vaei_pool {
    vaei_monitor monitor;
    vaei_thread  threads[VAEI_MAX_THREADS];
    size_t       count;             /* threads that could be started; the caller is not counted */
    vaei_counter work, done, stopping, sleepers;
    vae_task     task;
    void        *context;
    long         process;           /* the one that started the threads */
};

/* Is there a task that nobody has taken yet? */
VAEI_PRIVATE int vaei_pool_has_work(vaei_pool *pool) {
    const long work = VAEI_COUNTER_GET(pool->work);
    return work % 256 < work / 256;
}

/* Wakes whoever sleeps. The lock is taken even if nobody does: see vaei_pool_wait. */
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
        /* Read only now that the task is ours. A thread that read `work` in an earlier run and was held up may still
           succeed in the swap; it then takes a task of the present run. */
        pool->task(pool->context, (size_t)(work % 256));
        if (VAEI_COUNTER_ADD(pool->done, 1) + 1 < work / 256) continue;
        vaei_pool_wake(pool);                       /* that was the last: the caller may be asleep */
    }
}

/* May a waiting thread go on? A worker (tasks == 0) waits for work or the end, the caller until all its tasks are
   done. */
VAEI_PRIVATE int vaei_pool_may_go(vaei_pool *pool, long tasks) {
    if (tasks) return VAEI_COUNTER_GET(pool->done) == tasks;
    return vaei_pool_has_work(pool) || VAEI_COUNTER_GET(pool->stopping);
}

/* Spins first, then sleeps. No wake-up is lost: a thread counts itself as a sleeper, under the lock, before it looks
   once more, and whoever changes something takes the lock afterwards. So either the sleeper sees the change or the
   other thread sees the sleeper. */
VAEI_PRIVATE void vaei_pool_wait(vaei_pool *pool, long tasks) {
    int spin;
    for (spin = 0; spin < VAEI_SPINS; spin++) {
        if (vaei_pool_may_go(pool, tasks)) return;
        vaei_pause();
    }
    vaei_monitor_enter(&pool->monitor);
    VAEI_COUNTER_ADD(pool->sleepers, 1);
    /* A wait may also end without a wake-up, so the question is asked again. */
    while (!vaei_pool_may_go(pool, tasks)) vaei_monitor_wait(&pool->monitor);
    VAEI_COUNTER_ADD(pool->sleepers, -1);
    vaei_monitor_leave(&pool->monitor);
}

/* What each thread of the pool does from its start to its end. */
VAEI_PRIVATE VAEI_THREAD_RESULT vaei_pool_work(void *opaque) {
    vaei_pool *pool = (vaei_pool *)opaque;
    for (;;) {
        vaei_pool_wait(pool, 0);
        if (VAEI_COUNTER_GET(pool->stopping)) return 0;
        vaei_pool_share(pool);
    }
}

/* If fewer threads can be started than asked for, those that run do all the work. */
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

/* fork copies the pool without its threads, and its lock in whatever state it was: a child process leaves the pool
   alone and runs the tasks itself. */
VAEI_PRIVATE void vaei_pool_run(vaei_pool *pool, vae_task task, void *context, size_t count) {
    size_t i;
    if (pool->process != vaei_process()) {
        for (i = 0; i < count; i++) task(context, i);
        return;
    }
    pool->task = task;
    pool->context = context;
    VAEI_COUNTER_SET(pool->done, 0);
    /* Last, since threads begin as soon as they see it: by then the task and `done` are in place. */
    VAEI_COUNTER_SET(pool->work, (long)count * 256);
    vaei_pool_wake(pool);
    vaei_pool_share(pool);
    vaei_pool_wait(pool, (long)count);
}

/* Ends the threads and waits for them. In a child process after fork there are none to wait for. */
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
/* Without threads vaei_run does all tasks by itself: see section execution. */
typedef struct vaei_pool { int unused; } vaei_pool;
VAEI_PRIVATE int  vaei_core_count(void) { return 1; }
VAEI_PRIVATE void vaei_pool_run(vaei_pool *pool, vae_task task, void *context, size_t count) {
    (void)pool; (void)task; (void)context; (void)count;
}
#endif

/* ==== 10 >>memory ================================================================================================= */

/* A model's sizes are sums and products of numbers that a user or a file has chosen. So each step of the calculation is
   checked; and memory is taken and given back by the two functions here and nowhere else. */

VAEI_PRIVATE size_t vaei_min_size(size_t a, size_t b) { return a < b ? a : b; }
VAEI_PRIVATE size_t vaei_max_size(size_t a, size_t b) { return a > b ? a : b; }
VAEI_PRIVATE int    vaei_min_int(int a, int b) { return a < b ? a : b; }
VAEI_PRIVATE int    vaei_max_int(int a, int b) { return a > b ? a : b; }

/* A size that does not fit becomes VAEI_TOO_LARGE and stays so in all further sums and products (but with a factor of
   0), so that one look at the end of a calculation is enough. */
#define VAEI_TOO_LARGE ((size_t)-1)
VAEI_PRIVATE size_t vaei_plus(size_t a, size_t b) { return a > VAEI_TOO_LARGE - b ? VAEI_TOO_LARGE : a + b; }
VAEI_PRIVATE size_t vaei_times(size_t a, size_t b) { return b && a > VAEI_TOO_LARGE / b ? VAEI_TOO_LARGE : a * b; }

#ifdef VAE_NO_MALLOC
#define VAEI_NOT_ALLOCATED \
    "%z bytes could not be allocated (VAE_NO_MALLOC: memory comes from vae_create_in or config.allocator)"
#else
#define VAEI_NOT_ALLOCATED "%z bytes could not be allocated"
#endif

/* NULL where there is no memory, and in a build without malloc where the caller has given no allocator. */
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
    /* The size goes back with the block, so that an allocator of the caller's need not remember it. */
    if (allocator->release) allocator->release(allocator->user, block, size);
#ifndef VAE_NO_MALLOC
    else free(block);
#endif
}

/* ==== 11 >>arithmetic ============================================================================================= */

/* What compiler and target have, and the few macros by which the code is kept from being fused, reordered or moved.
   Nothing is computed here. A build may hold several instruction sets: what depends on them below asks for
   VAEI_HAS_X86, VAEI_HAS_NEON or VAEI_HAS_VECTOR. */

#ifdef VAE_DOUBLE
#include <math.h>
#define VAEI_LARGEST ((vae_real)1.7976931348623157e308)
#else
#define VAEI_LARGEST ((vae_real)3.40282346638528859812e38)
#endif

/* The instruction sets in this build; which of them the processor has is found out when a model is made. */
#if !defined(VAE_DOUBLE) && !defined(VAE_PORTABLE) && !defined(VAE_SMALL) && defined(__GNUC__) && !defined(__TINYC__)
#if defined(__x86_64__)
#define VAEI_HAS_X86 1
#elif defined(__aarch64__)
#define VAEI_HAS_NEON 1
#include <arm_neon.h>
#endif
#endif
/* Vectors of four floats by the compiler's extension: only where the processor has them, since emulated they cost
   memory and time, and where they compute as single floats do, unlike 32-bit NEON, which has no denormal numbers. */
#if !defined(VAE_DOUBLE) && !defined(VAE_SMALL) && defined(__GNUC__) && !defined(__TINYC__) && \
    (defined(__SSE2__) || defined(__aarch64__) || defined(__wasm_simd128__) || defined(__VSX__))
#define VAEI_HAS_VECTOR 1
#endif

/* Vectors of n floats and of n integers of 32 bits. The loose ones may lie at any address of a number. */
#define VAEI_VECTORS_OF(n) \
    typedef float    vaei_floats##n __attribute__((vector_size(4 * n))); \
    typedef int32_t  vaei_ints##n __attribute__((vector_size(4 * n))); \
    typedef uint32_t vaei_uints##n __attribute__((vector_size(4 * n))); \
    typedef float    vaei_loose_floats##n __attribute__((vector_size(4 * n), aligned(4), may_alias));
typedef vae_real vaei_floats1, vaei_loose_floats1;
typedef int32_t  vaei_ints1;
typedef uint32_t vaei_uints1;
#ifdef VAEI_HAS_VECTOR
VAEI_VECTORS_OF(4)
#endif
#ifdef VAEI_HAS_X86
VAEI_VECTORS_OF(8) VAEI_VECTORS_OF(16)
typedef char     vaei_chars16 __attribute__((vector_size(16)));
typedef uint64_t vaei_longs2 __attribute__((vector_size(16)));

/* Where the extension has no operator, gcc's builtins stand under their own names, for the versions that are known to
   have them: reading <immintrin.h> alone would take a large part of the time to compile this file. */
#if !defined(__clang__) && __GNUC__ >= 12 && __GNUC__ <= 15
#define VAEI_X86(gcc, others) gcc
#else
#define VAEI_X86(gcc, others) others
#include <immintrin.h>
#endif
/* One instruction from v to a vector of the same type: square roots, for which clang under -ffast-math would otherwise
   use estimates, whatever the pragmas in section platform say. */
#define VAEI_INSTRUCTION(name, v) __extension__({ \
    __typeof__(-(v)) vaei_result_; \
    __asm__(name " {%1, %0|%0, %1}" : "=v"(vaei_result_) : "v"(v)); \
    vaei_result_; })
#endif

/* Windows aligns the stack to 16 bytes only. gcc cannot align it further there, but moves wide vectors to and from it
   as if it had (gcc bug 54412). These assembler macros turn such moves into unaligned ones, which are as fast. */
#if defined(VAEI_HAS_X86) && defined(_WIN32) && !defined(__clang__)
__asm__(".macro vmovaps operands:vararg\n vmovups \\operands\n.endm\n"
        ".macro vmovapd operands:vararg\n vmovupd \\operands\n.endm\n"
        ".macro vmovdqa operands:vararg\n vmovdqu \\operands\n.endm\n"
        ".macro vmovdqa32 operands:vararg\n vmovdqu32 \\operands\n.endm\n"
        ".macro vmovdqa64 operands:vararg\n vmovdqu64 \\operands\n.endm\n");
#endif

/* VAEI_FETCHED begins a function on a cache line: how fast a kernel's loop runs depends on where it lies in the lines
   that the processor fetches, so that is not left to chance.
   VAEI_PREFETCH prefetches the memory `bytes` beyond p, which may lie outside every array.
   VAEI_FORGET makes the compiler forget what it knows about the pointer p and about memory: what is read after it is
   not read before it. */
#if defined(__GNUC__)
#define VAEI_FETCHED __attribute__((aligned(64)))
#define VAEI_PREFETCH(p, bytes) __builtin_prefetch((const void *)((uintptr_t)(p) + (bytes)))
#define VAEI_FORGET(p) __asm__ volatile("" : "+r"(p) : : "memory")
#else
#define VAEI_FETCHED
#define VAEI_PREFETCH(p, bytes) ((void)0)
#define VAEI_FORGET(p) ((void)0)
#endif

/* VAEI_ROUNDED keeps a product apart from the sum that it enters, where a compiler could fuse the two: VAEI_OPAQUE
   hides that the value is a product. */
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#define VAEI_OPAQUE(x) \
    __extension__({ __typeof__(x) vaei_value_ = (x); __asm__("" : "+v"(vaei_value_)); vaei_value_; })
#elif defined(__GNUC__) && defined(__aarch64__)
#define VAEI_OPAQUE(x) \
    __extension__({ __typeof__(x) vaei_value_ = (x); __asm__("" : "+w"(vaei_value_)); vaei_value_; })
#else
#define VAEI_OPAQUE(x) (x)
#endif
#if defined(__FMA__) || defined(__aarch64__)
#define VAEI_ROUNDED(x) VAEI_OPAQUE(x)
#else
#define VAEI_ROUNDED(x) (x)
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

/* An integer for every number, in the same order, infinities and NaN at both ends: comparing integers never traps. */
VAEI_INLINE int32_t vaei_order(vae_real x) {
    const int32_t bits = vaei_real_bits(x);
    return bits < 0 ? bits ^ INT32_MAX : bits;
}
#endif

/* ==== 12 >>scalar-math ============================================================================================ */

/* Functions of one number, for the few places where a whole array is not at hand. libm is not used, but for
   VAE_DOUBLE's square root: its results differ in the last bits from one platform to the next, and then the same seed
   would not give the same bits. */

/* A sum over an array is made of partial sums, whose order is fixed: it must not depend on how wide a processor's
   vectors are. */
#define VAEI_SUM_LANES 16       /* partial sums of every sum over an array: element i goes to number i mod 16 */
#define VAEI_SUM_BLOCK 256      /* elements, or rows, after which the partial sums are added to the total */
#define VAEI_LEAKY_SLOPE ((vae_real)0.01)

/* The derivative of an activation is computed from its output where that is enough, else from its input, which the
   layer then has to keep. */
VAEI_PRIVATE int vaei_activation_saves_input(vae_activation kind) { return kind == VAE_SILU || kind == VAE_GELU; }

/* ---- square root ---- */

#ifdef VAE_DOUBLE
VAEI_PRIVATE vae_real vaei_sqrt(vae_real x) { return sqrt(x); }
#else
/* The square root, rounded to nearest as IEEE 754 asks, in integers. With x = M 2^23 2^(e - 46), e even and
   2^23 <= M < 2^25, the result's 24 bits are the integer nearest to sqrt(M 2^23): the one R for which
   R^2 - R < M 2^23 <= R^2 + R. Two Newton steps bring R within a few units, the two loops do the rest. */
VAEI_PRIVATE vae_real vaei_sqrt(vae_real x) {
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
    root     = (uint32_t)(estimate * (vae_real)8388608);
    while (root * root + root < square) root++;
    while (root * root - root >= square) root--;
    return vaei_bits_real((int32_t)((uint32_t)(exponent / 2 + 127) << 23) + ((int32_t)root - 0x800000));
}
#endif

/* ---- one number at a time, as a vae_wide: for the few places outside the kernels that need more than a float. Below,
   "exact" means to about 1e-15, or 1e-7 where it is a float ---- */

/* 2^exponent, by its bits. */
VAEI_PRIVATE vae_wide vaei_power_of_two(int exponent) {     /* -1022 .. 1023, or -126 .. 127 */
    return vaei_bits_wide((vaei_wide_word)(exponent + VAEI_WIDE_BIAS) << VAEI_WIDE_FRACTION);
}

/* ln 2 in two parts: the first has few enough bits for its product with an exponent to be exact. As in fdlibm's
   e_exp.c and in Cephes's expf.c. */
#define VAEI_LOG_TWO_HIGH VAEI_BY_WIDTH(0.693147180369123816490, 0.693359375)
#define VAEI_LOG_TWO_LOW VAEI_BY_WIDTH(1.90821492927058770002e-10, -2.12194440e-4)

/* e^x, exact: x = n ln 2 + r, and Taylor's series for e^r with |r| <= 0.35. */
VAEI_PRIVATE vae_wide vaei_scalar_exp(vae_wide x) {
    vae_wide n, r, sum = 1;
    int      k, whole;
    if (vaei_is_nan_wide(x)) return x;
    /* A little below this the result would be denormal, which some processors take for 0: so it is 0 on all. */
    if (x <= VAEI_BY_WIDTH(-708, -86.9)) return 0;
    if (x > VAEI_BY_WIDTH(709.78, 88.72)) return vaei_bits_wide(VAEI_WIDE_INFINITY);
    n     = VAEI_ROUNDED(x * (vae_wide)1.4426950408889634);
    whole = (int)(n < 0 ? n - (vae_wide)0.5 : n + (vae_wide)0.5);
    r     = x - VAEI_ROUNDED((vae_wide)whole * VAEI_LOG_TWO_HIGH);
    r     = r - VAEI_ROUNDED((vae_wide)whole * VAEI_LOG_TWO_LOW);
    for (k = VAEI_WIDE_IS_FLOAT ? 7 : 13; k > 0; k--) sum = 1 + VAEI_ROUNDED(sum * r) / (vae_wide)k;
    /* 2^1024, or 2^128, is too large while e^x may still be a number: the power is one lower and the result doubled. */
    return sum * vaei_power_of_two(whole - 1) * 2;
}

/* log x, exact for x > 0; -inf at 0, NaN below.
   x = 2^n m, log m = 2 artanh(s) = 2 (s + s^3/3 + ...) with s = (m - 1)/(m + 1), |s| < 0.18. */
VAEI_PRIVATE vae_wide vaei_scalar_log(vae_wide x) {
    vaei_wide_word bits = vaei_wide_bits(x);
    vae_wide       m, s, z, series = 0;
    int            k, n = 0;
    if ((bits & ~VAEI_WIDE_SIGN) == 0) return vaei_bits_wide(VAEI_WIDE_SIGN | VAEI_WIDE_INFINITY);
    if (bits >= VAEI_WIDE_INFINITY)         /* infinity, NaN or below zero */
        return vaei_bits_wide(bits | (bits > VAEI_WIDE_INFINITY ? VAEI_WIDE_NAN : 0));
    for (; bits >> VAEI_WIDE_FRACTION == 0; bits *= 2) n--;     /* denormal: a product might be flushed to 0 */
    n += (int)(bits >> VAEI_WIDE_FRACTION) - VAEI_WIDE_BIAS;
    m = vaei_bits_wide((bits & (((vaei_wide_word)1 << VAEI_WIDE_FRACTION) - 1)) |
                       (vaei_wide_word)VAEI_WIDE_BIAS << VAEI_WIDE_FRACTION);
    if (m > (vae_wide)1.4142135623730951) { m *= (vae_wide)0.5; n++; }
    s = (m - 1) / (m + 1);
    z = s * s;
    for (k = VAEI_WIDE_IS_FLOAT ? 9 : 23; k >= 3; k -= 2) series = VAEI_ROUNDED((series + 1 / (vae_wide)k) * z);
    s = VAEI_ROUNDED(2 * s);
    return VAEI_ROUNDED((vae_wide)n * VAEI_LOG_TWO_HIGH) +
           (s + (VAEI_ROUNDED(s * series) + VAEI_ROUNDED((vae_wide)n * VAEI_LOG_TWO_LOW)));
}

/* The square root, exact; 0 below zero. */
VAEI_PRIVATE vae_wide vaei_scalar_sqrt(vae_wide x) { return x > 0 ? vaei_scalar_exp(vaei_scalar_log(x) / 2) : 0; }

/* base^exponent by squaring: a schedule's factor. A base that would become denormal becomes 0, as it does anyway on a
   processor that flushes denormals: so the bits do not depend on that. */
VAEI_PRIVATE vae_wide vaei_power(vae_wide base, uint64_t exponent) {
    vae_wide power = 1;
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1) power *= base;
        base *= base;
        if (base < VAEI_WIDE_MIN && base > -VAEI_WIDE_MIN) base = 0;
    }
    return power;
}

/* 1 - base^exponent, for 0 <= base < 1: Adam's bias correction. Of floats the difference would lose what tells a base
   near 1 from 1, so there the differences themselves are multiplied: 1 - a b = (1 - a) + (1 - b) a. */
VAEI_PRIVATE vae_wide vaei_one_minus_power(vae_wide base, uint64_t exponent) {
#if VAEI_WIDE_IS_FLOAT
    vae_wide all = 0, square = 1 - base;
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1) all += VAEI_ROUNDED(square * (1 - all));
        square += VAEI_ROUNDED(square * (1 - square));
    }
    return all;
#else
    return 1 - vaei_power(base, exponent);
#endif
}

/* ==== 13 >>random ================================================================================================= */

/* Every random number is a function of the seed, a stream and counters, not of the numbers drawn before. So it does not
   matter in which order, by which thread or on which machine they are drawn, and a resumed run need not know what has
   been drawn. What is drawn for different purposes comes from different streams; a number's place in its
   stream is a step, an example and an element:
     weights       step 0, the tensor's number in the network, its element in PyTorch's order
     training      noise of z: the step, the number of the sample in the whole batch, the dimension
     evaluation    noise of vae_elbo: step 0, the row, the dimension
     samples       z of vae_sample: step 0, the number of the sample since the model was made, the dimension
     likelihood    noise of vae_log_likelihood: the row in place of the step, the sample, the dimension
     pixels        of drawn samples: step 0, the sample as above, the pixel
     binarize      of scored rows: step 0, the row, the pixel; in training, as corruption, by step and row
     dropout       the step, the row of the layer in the whole batch, the output; a stream for each layer
   The order of an epoch's rows is no such stream: see vaei_shuffle. */
enum {
    VAEI_STREAM_WEIGHTS = 1, VAEI_STREAM_TRAINING, VAEI_STREAM_EVALUATION, VAEI_STREAM_SAMPLES, VAEI_STREAM_SHUFFLE,
    VAEI_STREAM_LIKELIHOOD, VAEI_STREAM_PIXELS, VAEI_STREAM_BINARIZE, VAEI_STREAM_BINARIZE_TRAINING,
    VAEI_STREAM_CORRUPTION,
    VAEI_STREAM_DROPOUT = 128       /* and those above it: one for each layer */
};

/* A permutation of 0 .. count-1 that needs no table: a Feistel network on an even number of bits that holds count,
   applied again until the result is below count (Black and Rogaway 2002, "cycle walking"); for more than 16 that takes
   fewer than four turns on average. */
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

/* The order of `count` rows in this epoch. */
VAEI_PRIVATE vaei_shuffle vaei_shuffle_of(uint64_t seed, uint64_t epoch, uint64_t count) {
    vaei_shuffle shuffle;
    /* Neighbouring seeds and epochs differ in few bits; mixed, their orders have nothing in common. */
    shuffle.key = vaei_mix(vaei_mix(seed + VAEI_STREAM_SHUFFLE) + epoch);
    shuffle.count = count;
    shuffle.half_bits = 3;     /* with fewer, six rounds leave permutations of a few rows biased */
    while (shuffle.half_bits < 31 && (count - 1) >> (2 * shuffle.half_bits)) shuffle.half_bits++;
    return shuffle;
}

/* The row that comes at place `index` of the epoch. */
VAEI_PRIVATE uint64_t vaei_shuffled(const vaei_shuffle *shuffle, uint64_t index) {
    const int      bits = shuffle->half_bits;
    const uint64_t mask = ((uint64_t)1 << bits) - 1;
    if (!bits) return index;
    do {
        uint64_t left = index >> bits, right = index & mask, round;
        for (round = 0; round < 6; round++) {
            /* The round's number lies above all bits of `right`: so each round is a function of its own. */
            uint64_t next = left ^ (vaei_mix(shuffle->key + (round << 56) + right) & mask);
            left = right;
            right = next;
        }
        index = left << bits | right;
    } while (index >= shuffle->count);
    return index;
}

/* ---- Philox ---- */

/* A block of four 32-bit random words is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as
   easy as 1, 2, 3", 2011) of

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

/* The counter's last word. */
VAEI_PRIVATE uint32_t vaei_random_origin(uint32_t stream, uint64_t step, uint64_t example) {
    return stream ^ ((uint32_t)(example >> 32) << 8) ^ ((uint32_t)(step >> 32) << 20);
}

/* Numbers for `rows` consecutive examples, elements `first` .. first + columns - 1 of each. They are made some blocks
   at a time: vaei_random_counters lists the blocks' counters, vaei_random_place puts the finished numbers in their
   places, and both walk rows and blocks with a vaei_random_cursor. */
typedef struct vaei_random_request {
    uint64_t seed, step, example;       /* example of the first row */
    uint32_t stream;
    size_t   rows, columns, first;
} vaei_random_request;

typedef struct vaei_random_cursor {
    size_t row, block;
} vaei_random_cursor;

#ifndef VAE_SMALL
#define VAEI_RANDOM_BLOCKS 16       /* the lanes of the longest vector: more would take stack and save no time */
#else
#define VAEI_RANDOM_BLOCKS 4        /* likewise */
#endif

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
    /* Kernels compute whole vectors of blocks, these included: memory that nobody has set would upset its checkers. */
    for (j = count; j < VAEI_RANDOM_BLOCKS; j++) words[0][j] = words[1][j] = words[2][j] = words[3][j] = 0;
    return count;
}

/* The random words of the blocks that vaei_random_counters lists. */
VAEI_PRIVATE size_t vaei_random_words(const vaei_random_request *request, vaei_random_cursor *cursor,
                                      uint32_t words[4][VAEI_RANDOM_BLOCKS]) {
    const size_t count = vaei_random_counters(request, cursor, words);
    uint32_t     key[2], block[4];
    size_t       j, c;
    vaei_random_key(request->seed, key);
    for (j = 0; j < count; j++) {
        for (c = 0; c < 4; c++) block[c] = words[c][j];
        vaei_philox(key, block);
        for (c = 0; c < 4; c++) words[c][j] = block[c];
    }
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

/* Operations on four floats for which the vector extension has no operator. They serve the portable set and NEON; the
   wider sets have theirs in section primitives. */

#ifdef VAEI_HAS_VECTOR
VAEI_INLINE vaei_uints4 vaei_load_bytes4(const unsigned char *p) {
    vaei_uints4 v = { p[0], p[1], p[2], p[3] };
    return v;
}
VAEI_INLINE vaei_floats4 vaei_select4(vaei_ints4 mask, vaei_floats4 yes, vaei_floats4 no) {
    return (vaei_floats4)(((vaei_ints4)yes & mask) | ((vaei_ints4)no & ~mask));
}
VAEI_INLINE vaei_floats4 vaei_sqrt4(vaei_floats4 v) {
#if defined(VAEI_HAS_X86)
    return VAEI_X86(__builtin_ia32_sqrtps(v), VAEI_INSTRUCTION("sqrtps", v));
#elif defined(VAEI_HAS_NEON)
    __asm__("fsqrt %0.4s, %1.4s" : "=w"(v) : "w"(v));
    return v;
#else
    vaei_floats4 root = { vaei_sqrt(v[0]), vaei_sqrt(v[1]), vaei_sqrt(v[2]), vaei_sqrt(v[3]) };
    return root;
#endif
}
#endif

/* ==== 15 >>product ================================================================================================ */

/* One description serves every product in a network: C (rows x columns) = [C +] A B [+ bias] [then ReLU], where
   A and B are not matrices in memory but rules for finding numbers:

       the inner dimension has segments * run steps; step t of segment s
           of row i of A      is  a[a_row(i) + a_segment(s) + t * a_step]
           of column j of B   is  b[b_segment(s) + t * b_step + j * b_column]        b_step or b_column is 1
       row i of C             is  c[c_row(i) .. c_row(i) + columns]
       with a_row(i) = a_rows ? a_rows[i] : i * a_row, and in the same way for a_segment, b_segment and c_row.

   With b_packed, vaei_pack_panels has packed B beforehand, for several products that share it.

   A dense layer has one segment. A convolution over a padded channels-last image has one segment per kernel row (or
   tap) and a table of output positions: A's rows may overlap in memory, so no patch is copied.

   The bits: each number of C is one chain of multiply-adds, over the steps in order, that starts from bias, C or zero.
   In the fused kernel sets (AVX2, AVX-512, NEON) a multiply-add rounds once, in the others (plain, vector) twice.
   Nothing else matters: tile sizes, slices over threads, packing and special paths leave every bit as it is.

   How it is computed (section >>matrix-product), from the outside in:
       block    some hundreds of steps of the inner dimension, for some hundreds of rows of C
       panel    a few vectors of C's columns; B's numbers for them are packed side by side, or read where they lie
       tile     a few rows of a panel, whose sums stay in registers from the block's first step to its last
   VAE_SMALL leaves all that out and runs the definition below. */

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

/* The product by its definition, one number after the other: every tuned path is tested against it. Its bits are those
   of the plain kernel set. */
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

/* ---- The register tile, instantiated by every instruction set ---- */

enum {
    VAEI_TILE_ROWS = 8,                                     /* of the tallest tile of any set */
    VAEI_TILE_VECTORS = 4,                                  /* of the widest */
    VAEI_DOT_VECTORS = 4,                                   /* of C, which one call of vaei_dot computes */
    VAEI_MOST_LANES = VAEI_SUM_LANES                        /* numbers in a vector: it may hold all partial sums */
};

#ifndef VAE_SMALL
/* What one call computes: tiles one below the other. */
typedef struct vaei_tile {
    size_t rows;                                            /* of all tiles; the last one may reach beyond the rows */
    const vae_real *const *a_rows;                          /* where each row of A begins, */
    vae_real *const *c_rows;                                /* ... and each row of C; a row listed twice is computed and
                                                               stored twice, with one result */
    size_t column;                                          /* of C, where the panel begins */
    const size_t *a_offsets;                                /* where each step lies in a row of A */
    size_t steps;
    const vae_real *b;                                      /* the panel's numbers of B, step after step, */
    size_t b_step;                                          /* ... this far apart */
    vae_real *panel;                                        /* where a packing tile leaves them side by side */
    int from_c;                                             /* do the sums begin with what is in C? */
    const vae_real *start;                                  /* if not, the first values, for all rows */
    int relu;
} vaei_tile;

/* The sums must be named variables: gcc -O2 keeps an array of them in memory. So a tile is written as lists of rows r
   and vectors v, which these macros spell out. A table tells where each step of A lies: that is one more load per step,
   but segments of any length and number then cost nothing. */
#define VAEI_ROWS_1(X, VECTORS) X(0, VECTORS)
#define VAEI_ROWS_2(X, VECTORS) VAEI_ROWS_1(X, VECTORS) X(1, VECTORS)
#define VAEI_ROWS_4(X, VECTORS) VAEI_ROWS_2(X, VECTORS) X(2, VECTORS) X(3, VECTORS)
#define VAEI_ROWS_6(X, VECTORS) VAEI_ROWS_4(X, VECTORS) X(4, VECTORS) X(5, VECTORS)
#define VAEI_ROWS_8(X, VECTORS) VAEI_ROWS_6(X, VECTORS) X(6, VECTORS) X(7, VECTORS)
#define VAEI_VECTORS_1(X, r) X(r, 0)
#define VAEI_VECTORS_2(X, r) VAEI_VECTORS_1(X, r) X(r, 1)
#define VAEI_VECTORS_3(X, r) VAEI_VECTORS_2(X, r) X(r, 2)
#define VAEI_VECTORS_4(X, r) VAEI_VECTORS_3(X, r) X(r, 3)

#define VAEI_COUNT_ROW(r, VECTORS) + 1
#define VAEI_DECLARE_SUM(r, v) VAEI_V sum##r##_##v;
#define VAEI_DECLARE_ROW(r, VECTORS) const vae_real *a##r = a_rows[r]; VECTORS(VAEI_DECLARE_SUM, r)
#define VAEI_READ_START(r, v) const VAEI_V start##v = VAEI_LOAD(start + v * VAEI_LANES);
#define VAEI_START_SUM(r, v) sum##r##_##v = start##v;
#define VAEI_START_ROW(r, VECTORS) VECTORS(VAEI_START_SUM, r)
#define VAEI_READ_SUM(r, v) sum##r##_##v = VAEI_LOAD(c##r + v * VAEI_LANES);
#define VAEI_READ_ROW(r, VECTORS) { const vae_real *c##r = c_rows[r] + column; VECTORS(VAEI_READ_SUM, r) }
#define VAEI_MULTIPLY_ADD(r, v) sum##r##_##v = VAEI_FMA(x, b##v, sum##r##_##v);
#define VAEI_STEP_ROW(r, VECTORS) { const VAEI_V x = VAEI_SET(a##r[offset]); VECTORS(VAEI_MULTIPLY_ADD, r) }
#define VAEI_RELU_SUM(r, v) sum##r##_##v = VAEI_MAX(VAEI_SET(0), sum##r##_##v);
#define VAEI_RELU_ROW(r, VECTORS) VECTORS(VAEI_RELU_SUM, r)
#define VAEI_STORE_SUM(r, v) VAEI_STORE(c##r + v * VAEI_LANES, sum##r##_##v);
#define VAEI_STORE_ROW(r, VECTORS) { vae_real *c##r = c_rows[r] + column; VECTORS(VAEI_STORE_SUM, r) }

/* A tile reads a step of B in one of three ways: steps that lie close together are just loaded; */
#define VAEI_READ_B(r, v) const VAEI_V b##v = VAEI_LOAD(b + v * VAEI_LANES);
/* ... steps far apart, each on a page of its own, are prefetched some steps ahead; */
#define VAEI_STEPS_AHEAD 20
#define VAEI_READ_B_AHEAD(r, v) \
    VAEI_READ_B(r, v) \
    VAEI_PREFETCH(b + v * VAEI_LANES, VAEI_STEPS_AHEAD * b_step * sizeof *b);
/* ... the packing tile also prefetches, and stores each step in a packed panel for the tiles below it: the copying
   hides behind the multiply-adds. */
#define VAEI_READ_AND_PACK_B(r, v) VAEI_READ_B_AHEAD(r, v) VAEI_STORE(panel, b##v); panel += VAEI_LANES;

/* One call does all rows, since between two calls the processor runs out of multiply-adds. */
#define VAEI_TILE_KERNEL(name, ROWS, VECTORS, READ_B) \
    VAEI_TARGET void VAEI_NAME(name)(const vaei_tile *tile) { \
        const size_t height = 0 ROWS(VAEI_COUNT_ROW, VECTORS), column = tile->column; \
        const size_t *const a_offsets_end = tile->a_offsets + tile->steps; \
        const vae_real *const *a_rows = tile->a_rows, *const *const a_rows_end = a_rows + tile->rows; \
        vae_real *const *c_rows = tile->c_rows; \
        for (; a_rows < a_rows_end; a_rows += height, c_rows += height) { \
            const size_t *at = tile->a_offsets, b_step = tile->b_step; \
            const vae_real *b = tile->b; \
            vae_real *panel = tile->panel; \
            ROWS(VAEI_DECLARE_ROW, VECTORS) \
            if (tile->from_c) { ROWS(VAEI_READ_ROW, VECTORS) } else { \
                const vae_real *start = tile->start; \
                VECTORS(VAEI_READ_START, 0) \
                ROWS(VAEI_START_ROW, VECTORS) \
            } \
            VAEI_FORGET(c_rows); /* or the rows' addresses would take registers in the loop */ \
            (void)panel; \
            for (; at < a_offsets_end; at++) { \
                const size_t offset = *at; \
                VECTORS(READ_B, 0) \
                ROWS(VAEI_STEP_ROW, VECTORS) \
                b += b_step; \
            } \
            if (tile->relu) { ROWS(VAEI_RELU_ROW, VECTORS) } \
            ROWS(VAEI_STORE_ROW, VECTORS) \
        } \
    }
#endif

/* ==== 16 >>kernels ================================================================================================ */

/* Where arithmetic meets the network. A kernel set is a table of functions, one for each loop over an array that is
   worth an instruction set of its own. A model picks its set when it is made: so one program runs on every processor of
   a kind, with the best that it has.

   The sets form two families. In the fused one (AVX2, AVX-512, NEON) a multiply-add rounds once, in the portable one
   (vector, plain) twice. Within a family every set gives the same bits: so each kernel fixes the order of its sums, and
   none depends on how long its vectors are. */

/* What a kernel set brings to a matrix product. */
#ifdef VAE_SMALL
typedef struct vaei_product_kernels { size_t lanes; } vaei_product_kernels;
#else
/* A register tile: its rows and its function. With 0 rows there is none. */
typedef struct vaei_tile_kernel {
    size_t rows;
    void (*run)(const vaei_tile *tile);
} vaei_tile_kernel;

typedef struct vaei_product_kernels {
    size_t lanes;                                           /* numbers in a vector */
    void (*packing_tile)(const vaei_tile *tile);            /* a panel's tall tile, which packs B as it reads it */
    void (*pack)(const vae_real *const *from, const size_t *offsets, size_t count, size_t steps, vae_real *to,
                 size_t width);
    void (*sweep)(const vae_real *a, const size_t *a_offsets, const vae_real *b, const size_t *b_offsets, size_t steps,
                  const vae_real *start, vae_real *c, size_t columns, int relu);
    size_t panel, wide;                                     /* vectors of a panel of many rows, and of few */
    vaei_tile_kernel tall[VAEI_TILE_VECTORS];               /* one, two ... vectors wide: tiles for most rows, */
    vaei_tile_kernel low[VAEI_TILE_VECTORS];                /* ... and lower ones for the last rows, or for few */
    void (*dot)(const vae_real *one, const size_t *one_offsets, const vae_real *const *many, const size_t *many_offsets,
                size_t steps, vae_real *sums);              /* NULL in a set without vectors */
    const struct vaei_product_kernels *half;                /* a set of half the lanes and the same bits, or NULL */
} vaei_product_kernels;
#endif

/* A larger first moment cannot come from gradients, which are refused beyond 1e18, and could make the next weights
   infinite: files may not hold one. Adadelta's u could outgrow it, from one in a file, and is kept to it. */
#define VAEI_MOST_MOMENT ((vae_real)1e30)

/* The constants of one update for the optimisers' kernels. In VAE_SGD, too, the first moment decays by beta1, and in
   VAE_RMSPROP and VAE_ADADELTA all moments by beta2. */
typedef struct vaei_update_step {
    vae_real beta1, beta2, one_minus_beta1, one_minus_beta2, rate, inverse_root, epsilon;
    vae_real decay;             /* times the parameter, it is added to the gradient */
    vae_real shrink;            /* the parameter is first multiplied by it */
} vaei_update_step;

typedef void vaei_update_kernel(const vaei_update_step *step, size_t rows, size_t n, vae_real *p,
                                const vae_real *factors, const vae_real *g, vae_real *m, vae_real *v);

/* Adds up one term for each of the n elements of a and b; n is a multiple of VAEI_SUM_LANES. The term of element i goes
   to sums[i % VAEI_SUM_LANES]. If d is not NULL, it receives the terms' derivatives times `factor`; it may be a. */
typedef void vaei_sum_kernel(size_t n, const vae_real *a, const vae_real *b, vae_real factor, vae_real *d,
                             vae_real sums[VAEI_SUM_LANES]);

/* What a kernel set offers; comments stand with the functions. Those above the line take whole vectors only: n a
   multiple of the lanes, or, for random numbers, arrays with room for `count` rounded up. They are called through the
   functions of section >>arrays, which take any n. */
typedef struct vaei_kernel_set {
    const vaei_product_kernels *product;
    void   (*activate)(vae_activation kind, size_t n, const vae_real *x, vae_real *y);
    void   (*activate_backward)(vae_activation kind, size_t n, const vae_real *saved, vae_real *d);
    vaei_sum_kernel *bernoulli, *gaussian, *laplace, *continuous_bernoulli, *gaussian_kl;
    void   (*reparameterize)(size_t n, const vae_real *mean, const vae_real *logvar, const vae_real *epsilon,
                             vae_real *z);
    void   (*latent_backward)(size_t n, const vae_real *mean, const vae_real *logvar, const vae_real *epsilon,
                              const vae_real *dz, vae_real kl_scale, vae_real *d_mean, vae_real *d_logvar);
    vaei_update_kernel *adam, *sgd, *rmsprop, *adadelta;
    void   (*words_to_normals)(size_t count, uint32_t words[4][VAEI_RANDOM_BLOCKS],
                               vae_real numbers[4][VAEI_RANDOM_BLOCKS]);
    /* ---- */
    void   (*column_sums)(size_t rows, size_t columns, const vae_real *d, size_t row_stride,
                          const uint32_t *row_offsets, vae_real *out, int accumulate);
    void   (*add)(size_t n, vae_real *y, const vae_real *x);
    void   (*bytes_to_real)(size_t n, const unsigned char *bytes, vae_real *y);
    size_t (*check_range)(size_t n, const vae_real *x, vae_real low, vae_real high);
} vaei_kernel_set;

/* The kernels, sections >>primitives to >>product-kernels, are written once and compiled once for each instruction set:
   the file includes itself with VAEI_PASS set, and then skips everything else. */
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

/* Plain C gives the bits of the vector extension, but slower: it is built where there are no vectors, or on request. */
#if !defined(VAEI_HAS_VECTOR) || defined(VAE_PLAIN)
#define VAEI_HAS_PLAIN 1
#define VAEI_PASS VAEI_PASS_PLAIN
#include VAE_HEADER_FILE
#endif
#ifdef VAEI_HAS_VECTOR
#define VAEI_PASS VAEI_PASS_VECTOR
#include VAE_HEADER_FILE
#endif
#ifdef VAEI_HAS_X86
#define VAEI_PASS VAEI_PASS_AVX2
#include VAE_HEADER_FILE
#define VAEI_PASS VAEI_PASS_AVX512
#include VAE_HEADER_FILE
#endif
#ifdef VAEI_HAS_NEON
#define VAEI_PASS VAEI_PASS_NEON
#include VAE_HEADER_FILE
#endif
#ifndef VAEI_PASSED
#error "vae.h includes itself and read nothing: it cannot be pasted into another file or stand behind #pragma once"
#endif

#endif /* VAE_IMPLEMENTATION, first half */

#ifdef VAEI_PASS
#define VAEI_PASSED 1

/* ==== 17 >>primitives ============================================================================================= */

/* The few operations that every kernel is written in, for each instruction set.

   VAEI_V is a vector of numbers, VAEI_I one of as many unsigned 32-bit integers, which have all of the language's
   operators. Sums, differences and quotients of numbers are plain operators, too. A product that enters a sum or
   difference is never a plain a * b, which compilers fuse or not as they please, but VAEI_FMA (a b + c), VAEI_FNMA
   (c - a b) or VAEI_PRODUCT.
     MAX(a, b), MIN(a, b)   b where either is a NaN or both are equal: so the value that may be a NaN stands second
     SELECT_LESS            `no` where either is a NaN
   VAEI_TARGET begins a function, VAEI_HELPER one that must be inlined. */

#undef VAEI_NAME
#undef VAEI_TYPE
#undef VAEI_TARGET
#undef VAEI_HELPER
#undef VAEI_LANES
#undef VAEI_SET
#undef VAEI_FMA
#undef VAEI_FNMA
#undef VAEI_PRODUCT
#undef VAEI_SQRT
#undef VAEI_BITS
#undef VAEI_FROM_BITS
#undef VAEI_FROM_INT
#undef VAEI_SELECT_LESS
#undef VAEI_MAX
#undef VAEI_MIN
#undef VAEI_LOAD_BYTES

#if VAEI_PASS == VAEI_PASS_PLAIN
/* Plain C: a vector is one number. Also the set for double. */
#define VAEI_NAME(name) name##_plain
#define VAEI_TYPE(name) name##1
#define VAEI_TARGET VAEI_PRIVATE
#define VAEI_HELPER VAEI_INLINE
#define VAEI_LANES 1
#define VAEI_SET(x) ((vae_real)(x))
#define VAEI_SQRT(v) vaei_sqrt(v)
#define VAEI_BITS(v) ((uint32_t)vaei_real_bits(v))
#define VAEI_FROM_BITS(i) vaei_bits_real((int32_t)(i))
#define VAEI_FROM_INT(i) ((vae_real)(int32_t)(i))
#define VAEI_SELECT_LESS(a, b, yes, no) ((a) < (b) ? (yes) : (no))
#define VAEI_MAX(a, b) ((a) > (b) ? (a) : (b))
#define VAEI_MIN(a, b) ((a) < (b) ? (a) : (b))
#define VAEI_LOAD_BYTES(p) ((uint32_t)*(p))

#else
/* The compiler's vector extension, */
#define VAEI_SET(x) (__extension__((float)(x) - (VAEI_V){ 0 }))        /* all lanes x: not even a zero's sign changes */
#define VAEI_BITS(v) ((VAEI_I)(v))
#define VAEI_FROM_BITS(i) ((VAEI_V)(i))
#if defined(__clang__) || __GNUC__ >= 9
#define VAEI_FROM_INT(i) __builtin_convertvector((VAEI_TYPE(vaei_ints))(i), VAEI_V)
#else
#define VAEI_FROM_INT(i) __extension__({ \
    VAEI_V vaei_v_; int vaei_k_; \
    for (vaei_k_ = 0; vaei_k_ < VAEI_LANES; vaei_k_++) vaei_v_[vaei_k_] = (float)(int32_t)(i)[vaei_k_]; \
    vaei_v_; })
#endif
/* ... and what it has no operators for, set by set */
#if VAEI_PASS == VAEI_PASS_AVX2
#define VAEI_NAME(name) name##_avx2
#define VAEI_TYPE(name) name##8
#define VAEI_TARGET VAEI_FETCHED __attribute__((target("avx2,fma"))) VAEI_PRIVATE
#define VAEI_HELPER __attribute__((target("avx2,fma"))) VAEI_INLINE
#define VAEI_LANES 8
#define VAEI_FMA(a, b, c) VAEI_X86(__builtin_ia32_vfmaddps256(a, b, c), _mm256_fmadd_ps(a, b, c))
#define VAEI_SQRT(v) VAEI_X86(__builtin_ia32_sqrtps256(v), VAEI_INSTRUCTION("vsqrtps", v))
#define VAEI_SELECT_LESS(a, b, yes, no) \
    VAEI_X86(__builtin_ia32_blendvps256(no, yes, (VAEI_V)((a) < (b))), _mm256_blendv_ps(no, yes, (VAEI_V)((a) < (b))))
#define VAEI_MAX(a, b) VAEI_X86(__builtin_ia32_maxps256(a, b), _mm256_max_ps(a, b))
#define VAEI_MIN(a, b) VAEI_X86(__builtin_ia32_minps256(a, b), _mm256_min_ps(a, b))
#define VAEI_LOAD_BYTES(p) vaei_load_bytes8(p)
VAEI_HELPER vaei_uints8 vaei_load_bytes8(const unsigned char *p) {
    uint64_t    bytes;
    vaei_longs2 v = { 0, 0 };
    memcpy(&bytes, p, sizeof bytes);
    v[0] = bytes;
    return (vaei_uints8)VAEI_X86(__builtin_ia32_pmovzxbd256((vaei_chars16)v), _mm256_cvtepu8_epi32((__m128i)v));
}

#elif VAEI_PASS == VAEI_PASS_AVX512
#define VAEI_NAME(name) name##_avx512
#define VAEI_TYPE(name) name##16
#define VAEI_TARGET VAEI_FETCHED __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))) VAEI_PRIVATE
#define VAEI_HELPER __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))) VAEI_INLINE
#define VAEI_LANES 16
/* gcc's builtins take the value of masked-out lanes, a mask (all ones) and a rounding mode (4: the current one). Some
   intrinsics are masked, too: without a mask they use something uninitialised, of which gcc 12 warns (gcc bug
   105593). */
#define VAEI_FMA(a, b, c) VAEI_X86(__builtin_ia32_vfmaddps512_mask(a, b, c, -1, 4), _mm512_fmadd_ps(a, b, c))
#define VAEI_SQRT(v) \
    VAEI_X86(__builtin_ia32_sqrtps512_mask(v, VAEI_SET(0), -1, 4), VAEI_INSTRUCTION("vsqrtps", v))
#define VAEI_SELECT_LESS(a, b, yes, no) \
    VAEI_X86(__builtin_ia32_blendmps_512_mask(no, yes, __builtin_ia32_cmpps512_mask(a, b, 17, 0xFFFF, 4)), \
             _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes))
#define VAEI_MAX(a, b) \
    VAEI_X86(__builtin_ia32_maxps512_mask(a, b, VAEI_SET(0), -1, 4), _mm512_maskz_max_ps((__mmask16)0xFFFF, a, b))
#define VAEI_MIN(a, b) VAEI_SELECT_LESS(a, b, a, b)

#else
#define VAEI_TYPE(name) name##4
#define VAEI_TARGET VAEI_FETCHED VAEI_PRIVATE
#define VAEI_HELPER VAEI_INLINE
#define VAEI_LANES 4
#define VAEI_SQRT(v) vaei_sqrt4(v)
#define VAEI_LOAD_BYTES(p) vaei_load_bytes4(p)
#ifdef VAEI_HAS_X86
#define VAEI_MAX(a, b) VAEI_X86(__builtin_ia32_maxps(a, b), _mm_max_ps(a, b))
#define VAEI_MIN(a, b) VAEI_X86(__builtin_ia32_minps(a, b), _mm_min_ps(a, b))
#else
#define VAEI_MAX(a, b) vaei_select4((a) > (b), a, b)
#define VAEI_MIN(a, b) vaei_select4((a) < (b), a, b)
#endif
#if VAEI_PASS == VAEI_PASS_NEON
#define VAEI_NAME(name) name##_neon
#define VAEI_FMA(a, b, c) ((VAEI_V)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#define VAEI_SELECT_LESS(a, b, yes, no) \
    ((VAEI_V)vbslq_f32((uint32x4_t)((a) < (b)), (float32x4_t)(yes), (float32x4_t)(no)))
#else       /* only instructions that every target of the extension has */
#define VAEI_NAME(name) name##_vector
#define VAEI_SELECT_LESS(a, b, yes, no) vaei_select4((a) < (b), yes, no)
#endif
#endif
#endif

#ifdef VAEI_FMA
#define VAEI_FNMA(a, b, c) VAEI_FMA(-(a), b, c)
#define VAEI_PRODUCT(a, b) VAEI_OPAQUE((a) * (b))
#else
#define VAEI_FMA(a, b, c) (VAEI_ROUNDED((a) * (b)) + (c))
#define VAEI_FNMA(a, b, c) ((c) - VAEI_ROUNDED((a) * (b)))
#define VAEI_PRODUCT(a, b) VAEI_ROUNDED((a) * (b))
#endif

#define VAEI_V VAEI_TYPE(vaei_floats)
#define VAEI_I VAEI_TYPE(vaei_uints)
#define VAEI_LOAD(p) ((VAEI_V)*(const VAEI_TYPE(vaei_loose_floats) *)(const void *)(p))
#define VAEI_STORE(p, v) ((void)(*(VAEI_TYPE(vaei_loose_floats) *)(void *)(p) = (v)))
#ifdef VAE_DOUBLE
#define VAEI_ABS(v) fabs(v)
#else
#define VAEI_ABS(v) VAEI_FROM_BITS(VAEI_BITS(v) & 0x7FFFFFFFu)
#endif

/* Three or four steps of Horner's rule: each multiplies p by x and adds the next coefficient. */
#define VAEI_HORNER_1(p, x, a) p = VAEI_FMA(p, x, VAEI_SET((vae_real)(a)))
#define VAEI_HORNER_3(p, x, a, b, c) VAEI_HORNER_1(p, x, a); VAEI_HORNER_1(p, x, b); VAEI_HORNER_1(p, x, c)
#define VAEI_HORNER_4(p, x, a, b, c, d) VAEI_HORNER_3(p, x, a, b, c); VAEI_HORNER_1(p, x, d)

/* ==== 18 >>vector-math ============================================================================================ */

/* Arrays may have any alignment; nothing is read or written past the end. The bits computed for an element do not
   depend on its place in the array.

   The polynomials are minimax fits (Remez exchange; the coefficients are then rounded to float one after the other, and
   the rest refitted each time). The range and relative error of each stand beside it. The largest errors over every
   float of the domain, in units in the last place of the exact result (fused sets / portable sets):
       exp 0.91 / 1.18            expm1 1.6 / 2.1               softplus 2.1 / 2.7        SiLU 3.6 / 3.7
       log 0.91 / 0.96            expm1(x) - x 3.1 / 4.2        its derivative 1.2 / 1.6  GELU, x >= -1 4.8 / 5.3
       log(1 + e) 1.6 / 2.0       tanh 1.5 / 1.5                sigmoid 2.8 / 2.9         GELU, x < -1 6.8 / 7.8
   and in absolute terms the derivatives of SiLU 2.4e-7 and GELU 2.0e-7. Results below 2^-125.5 are 0. NaN gives NaN.
   VAE_DOUBLE takes libm's functions instead. */

/* ---- functions of one vector ---- */

#ifdef VAE_DOUBLE

VAEI_HELPER VAEI_V VAEI_NAME(vaei_exp)(VAEI_V x) { return exp(x); }
VAEI_HELPER VAEI_V VAEI_NAME(vaei_exp_negative)(VAEI_V x) { return exp(x); }
VAEI_HELPER VAEI_V VAEI_NAME(vaei_log)(VAEI_V x) { return log(x); }
VAEI_HELPER VAEI_V VAEI_NAME(vaei_plus_log1p)(VAEI_V y, VAEI_V e) { return y + log1p(e); }
VAEI_HELPER VAEI_V VAEI_NAME(vaei_tanh)(VAEI_V x, VAEI_V e) { return (void)e, tanh(x); }
VAEI_HELPER VAEI_V VAEI_NAME(vaei_expm1)(VAEI_V x, VAEI_V exp_minus_1, int minus) {
    vae_wide term = x * x / 2, sum = 0;
    int    k;
    if (!minus) return expm1(x);
    if (fabs(x) > 0.5) return exp_minus_1 - x;
    for (k = 3; k < 20; k++) { sum += term; term *= x / k; }        /* x^2/2! + x^3/3! + ... */
    return sum;
}
VAEI_HELPER VAEI_V VAEI_NAME(vaei_normal_tail)(VAEI_V a, VAEI_V *exponential, VAEI_V *ratio) {
    const vae_wide tail = erfc(a * 0.70710678118654752440) / 2;
    *exponential = exp(-a * a / 2);
    *ratio = tail / *exponential;
    return tail;
}
VAEI_HELPER VAEI_V VAEI_NAME(vaei_normal_pair)(VAEI_I word0, VAEI_I word1, VAEI_V *second) {
    const vae_wide radius = sqrt(-2 * log(((vae_wide)(word0 >> 1) + 0.5) / 2147483648.0));
    const vae_wide angle = (vae_wide)(int32_t)((uint32_t)word1 << 1) / 4294967296.0 * 3.14159265358979323846;
    *second = radius * sin(angle);
    return (uint32_t)word1 >> 31 ? -radius * cos(angle) : radius * cos(angle);
}

#else

/* 2^(n-1) p, where `shifted` is n + 1.5 2^23 and p = 2 e^r. n = -126 gives 0. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_exp_assemble)(VAEI_V shifted, VAEI_V r) {
    VAEI_V p = VAEI_SET(0.0027636739f);                            /* 2 e^r, |r| <= 0.3475: 3.4e-9 */
    VAEI_HORNER_3(p, r, 0.0167385712f, 0.0833365247f, 0.333330303f);
    VAEI_HORNER_3(p, r, 0.999999881f, 2.0f, 2.0f);
    return VAEI_PRODUCT(p, VAEI_FROM_BITS((VAEI_BITS(shifted) << 23) + ((uint32_t)126 << 23)));
}

/* e^x for x <= 88.73; 0 where that is below 2^-125.5, so that nothing denormal comes out. x = n ln 2 + r. Adding
   1.5 2^23 rounds to an integer and leaves it in the low bits; ln 2 is split so that n times the first part is exact
   (Cody and Waite 1980). */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_exp_negative)(VAEI_V x) {
    const VAEI_V inside = VAEI_MAX(VAEI_SET(-87.3365f), x);
    const VAEI_V shifted = VAEI_FMA(inside, VAEI_SET(1.44269504f), VAEI_SET(12582912.0f));
    const VAEI_V n = shifted - VAEI_SET(12582912.0f), r = VAEI_FNMA(n, VAEI_SET(0.693359375f), inside);
    return VAEI_NAME(vaei_exp_assemble)(shifted, VAEI_FNMA(n, VAEI_SET(-2.12194440e-4f), r));
}

/* The same for any x: inf above the largest float. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_exp)(VAEI_V x) {
    return VAEI_NAME(vaei_exp_negative)(VAEI_MIN(VAEI_SET(88.73f), x));
}

/* log x for normal x > 0: x = 2^n (1 + f) with 1 + f between sqrt 1/2 and sqrt 2,
   log x = n ln 2 + f - f^2/2 + f^3 P(f). The exponent is used as it lies in the bits, n 2^23. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_log)(VAEI_V x) {
    const VAEI_I bits = VAEI_BITS(x), exponent = (bits - 0x3F3504F3u) & 0xFF800000u;
    const VAEI_V n = VAEI_FROM_INT(exponent);
    const VAEI_V f = VAEI_FROM_BITS(bits - exponent) - VAEI_SET(1.0f);
    VAEI_V       p = VAEI_SET(-0.0765348151f);                     /* P, -0.2929 <= f <= 0.4142: 7.9e-9 of log(1+f) */
    VAEI_HORNER_4(p, f, 0.12767674f, -0.131584629f, 0.142010659f, -0.166233197f);
    VAEI_HORNER_4(p, f, 0.200012609f, -0.250008225f, 0.333333313f, -0.5f);
    p = VAEI_FMA(f * f, p, VAEI_PRODUCT(n, VAEI_SET(-2.12194440e-4f * 1.1920928955078125e-7f)));
    return VAEI_FMA(n, VAEI_SET(0.693359375f * 1.1920928955078125e-7f), f + p);
}

/* y + log(1 + e) for 0 <= e <= 1. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_plus_log1p)(VAEI_V y, VAEI_V e) {
    VAEI_V q = VAEI_SET(-0.00343384058f);                          /* log(1 + e)/e: 5.9e-9 */
    VAEI_HORNER_4(q, e, 0.0207456872f, -0.0587287657f, 0.107943743f, -0.154270798f);
    VAEI_HORNER_4(q, e, 0.197222769f, -0.249643415f, 0.333311379f, -0.499999583f);
    VAEI_HORNER_1(q, e, 1.0f);
    return VAEI_FMA(q, e, y);
}

/* tanh x = 1 - 2 e/(1 + e) with e = exp(-2 |x|), or for small |x|, where that cancels, x + x^3 T(x^2). Here and below
   both branches are computed for every x, so the series gets a bounded argument, which cannot overflow. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_tanh)(VAEI_V x, VAEI_V e) {
    const VAEI_V a = VAEI_MIN(VAEI_SET(0.625f), VAEI_ABS(x));
    const VAEI_V z = a * a;
    const VAEI_V large = VAEI_FNMA(VAEI_SET(2.0f), e / (VAEI_SET(1.0f) + e), VAEI_SET(1.0f));
    VAEI_V       t = VAEI_SET(-0.00571415294f);                    /* 1 + z T(z), z <= 0.625^2: 4.2e-9 */
    VAEI_HORNER_4(t, z, 0.0206481125f, -0.0537427813f, 0.133314833f, -0.333332837f);
    t = VAEI_FMA(a * z, t, a);
    t = VAEI_SELECT_LESS(a, VAEI_SET(0.625f), t, large);
    return VAEI_FROM_BITS(VAEI_BITS(t) | (VAEI_BITS(x) & 0x80000000u));
}

/* e^x - 1 or, with `minus`, e^x - 1 - x: by a series near 0, where the differences would cancel, elsewhere from e^x - 1
   as the caller has computed it. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_expm1)(VAEI_V x, VAEI_V exp_minus_1, int minus) {
    const VAEI_V near_0 = VAEI_MIN(VAEI_SET(1), VAEI_MAX(VAEI_SET(-1), x));
    VAEI_V       p = VAEI_SET(2.41456269e-06f);                    /* (e^x - 1 - x)/x^2, |x| <= 1: 2.6e-8 */
    VAEI_HORNER_3(p, near_0, 2.53045891e-05f, 0.000199219547f, 0.00138863234f);
    VAEI_HORNER_4(p, near_0, 0.00833282247f, 0.0416666977f, 0.166666746f, 0.5f);
    p = minus ? VAEI_PRODUCT(near_0 * near_0, p) : VAEI_FMA(near_0 * near_0, p, near_0);
    return VAEI_SELECT_LESS(VAEI_ABS(x), VAEI_SET(1), p, minus ? exp_minus_1 - x : exp_minus_1);
}

/* For 0 <= a <= 13.2 the probability that a standard normal variable exceeds a, as its two factors exp(-a^2/2) and
   Mills' ratio (over sqrt 2 pi), of which the second is smooth: a polynomial in (a - 3)/(a + 3). The square is split,
   so that the exponential keeps its relative precision: with h the upper half of a's bits, a^2 = h^2 + (a - h)(a + h)
   and h^2 is exact. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_normal_tail)(VAEI_V a, VAEI_V *exponential, VAEI_V *ratio) {
    const VAEI_V h = VAEI_FROM_BITS(VAEI_BITS(a) & 0xFFFFF000u);
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
    VAEI_HORNER_3(m, u, 0.000114126524f, -0.000336189027f, -0.000982502941f);
    VAEI_HORNER_3(m, u, 0.0029027909f, 0.00613176497f, -0.046212893f);
    VAEI_HORNER_3(m, u, 0.123225041f, -0.206402645f, 0.121513948f);
    *exponential = VAEI_NAME(vaei_exp_assemble)(shifted, r);
    *ratio = m;
    return *exponential * m;
}

/* Two standard normals of two random words (Box and Muller 1958): r = sqrt(-2 log u) and a uniform angle give r cos and
   r sin. u = (k + 1/2) 2^-31 for the upper 31 bits k of the first word, so that the largest normal is 6.66. The lower
   31 bits of the second word are an angle f pi with -1/2 <= f < 1/2; its top bit turns the cosine's sign, which gives
   the other half of the circle. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_normal_pair)(VAEI_I word0, VAEI_I word1, VAEI_V *second) {
    const VAEI_V u = VAEI_FMA(VAEI_FROM_INT(word0 >> 1), VAEI_SET(4.65661287307739258e-10f),
                              VAEI_SET(2.32830643653869629e-10f));
    const VAEI_V radius = VAEI_SQRT(VAEI_NAME(vaei_log)(u) * VAEI_SET(-2.0f));
    const VAEI_V f = VAEI_FROM_INT(word1 << 1) * VAEI_SET(2.32830643653869629e-10f), z = f * f;
    VAEI_V       sine = VAEI_SET(0.0798354819f);                   /* sin(pi f)/f: 2.9e-8 */
    VAEI_V       cosine = VAEI_SET(0.220276549f);                  /* cos(pi f): 5.7e-8 absolute */
    VAEI_HORNER_4(sine, z, -0.599437296f, 2.55026984f, -5.16772079f, 3.14159274f);
    VAEI_HORNER_4(cosine, z, -1.33219564f, 4.05846786f, -4.93479633f, 1.0f);
    *second = radius * (sine * f);
    return radius * VAEI_FROM_BITS(VAEI_BITS(cosine) ^ (word1 & 0x80000000u));
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

/* ---- sums ---- */

/* A kernel that adds up terms of array elements: see vaei_sum_kernel. `add` returns the sum with one vector of terms
   added to it, and leaves their derivatives in *slope if they are wanted. */
#define VAEI_SUM_KERNEL(name, add) \
    VAEI_TARGET void VAEI_NAME(name)(size_t n, const vae_real *a, const vae_real *b, vae_real factor, vae_real *d, \
                                     vae_real sums[VAEI_SUM_LANES]) { \
        size_t part, i; \
        for (part = 0; part < VAEI_SUM_LANES; part += VAEI_LANES) { \
            VAEI_V sum = VAEI_SET(0), slope = sum; \
            for (i = part; i < n; i += VAEI_SUM_LANES) { \
                sum = VAEI_NAME(add)(sum, VAEI_LOAD(a + i), VAEI_LOAD(b + i), d != NULL, &slope); \
                if (d) VAEI_STORE(d + i, slope * VAEI_SET(factor)); \
            } \
            VAEI_STORE(sums + part, sum); \
        } \
    }

/* Bernoulli: max(l, 0) - l x + log(1 + e^-|l|), and its derivative sigmoid(l) - x, of one exponential. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_add_bernoulli)(VAEI_V sum, VAEI_V l, VAEI_V x, int wanted, VAEI_V *slope) {
    const VAEI_V e = VAEI_NAME(vaei_exp_negative)(-VAEI_ABS(l));
    VAEI_V       unused;
    if (wanted) *slope = VAEI_NAME(vaei_sigmoids)(l, e, &unused) - x;
    return sum + VAEI_NAME(vaei_plus_log1p)(VAEI_FNMA(l, x, VAEI_MAX(VAEI_SET(0), l)), e);
}
VAEI_SUM_KERNEL(vaei_bernoulli, vaei_add_bernoulli)

#if VAEI_PASS != VAEI_PASS_AVX512       /* it takes all but Bernoulli and Adam from AVX2: see >>product-kernels */

/* Gaussian: the squared difference, and half its derivative. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_add_gaussian)(VAEI_V sum, VAEI_V output, VAEI_V x, int wanted, VAEI_V *slope) {
    const VAEI_V difference = output - x;
    if (wanted) *slope = difference;
    return VAEI_FMA(difference, difference, sum);
}
VAEI_SUM_KERNEL(vaei_gaussian, vaei_add_gaussian)

/* Laplace: the size of the difference, and its derivative, the sign. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_add_laplace)(VAEI_V sum, VAEI_V output, VAEI_V x, int wanted, VAEI_V *slope) {
    const VAEI_V difference = output - x, zero = VAEI_SET(0);
    const VAEI_V sign = VAEI_SELECT_LESS(zero, difference, VAEI_SET(1), zero);
    if (wanted) *slope = VAEI_SELECT_LESS(difference, zero, VAEI_SET(-1), sign);
    return sum + VAEI_ABS(difference);
}
VAEI_SUM_KERNEL(vaei_laplace, vaei_add_laplace)

/* Continuous Bernoulli. With a = |l| the logarithm of the density is -max(l, 0) + l x - log((1 - e^-a)/a). Its mean is
   1/a - e^-a/(1 - e^-a) for l = -a, and 1 minus that for l = a. For a below the bound, where both cancel, series in y =
   a/2 are used: log((1 - e^-a)/a) = -y + log(sinh(y)/y), and the mean is 1/2 - (coth(y) - 1/y)/2. Each branch gets a
   limited to its own range, so that the branch not taken does not overflow. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_add_continuous)(VAEI_V sum, VAEI_V l, VAEI_V x, int wanted, VAEI_V *slope) {
    const VAEI_V bound = VAEI_SET(sizeof(vae_real) > 4 ? 0.25f : 1.0f), half = VAEI_SET(0.5f), one = VAEI_SET(1);
    const VAEI_V a = VAEI_ABS(l), large = VAEI_MIN(VAEI_SET((vae_real)1e30), VAEI_MAX(bound, a));
    const VAEI_V y = half * VAEI_MIN(bound, a), z = y * y;
    const VAEI_V e = VAEI_NAME(vaei_exp_negative)(-large), rest = one - e;
    VAEI_V       p = VAEI_SET((vae_real)(1 / 467775.0)), m = VAEI_SET((vae_real)(1 / 93555.0));
    VAEI_HORNER_4(p, z, -1 / 37800.0, 1 / 2835.0, -1 / 180.0, 1 / 6.0);
    p = VAEI_SELECT_LESS(a, bound, VAEI_FMA(p, z, -y), VAEI_NAME(vaei_log)(rest / large));
    if (wanted) {
        VAEI_HORNER_4(m, z, -1 / 9450.0, 1 / 945.0, -1 / 90.0, 1 / 6.0);
        m = VAEI_SELECT_LESS(a, bound, VAEI_FNMA(m, y, half), one / large - e / rest);
        *slope = VAEI_SELECT_LESS(l, VAEI_SET(0), m, one - m) - x;
    }
    return sum + (VAEI_FNMA(l, x, VAEI_MAX(VAEI_SET(0), l)) + p);
}
VAEI_SUM_KERNEL(vaei_continuous_bernoulli, vaei_add_continuous)

/* The KL of N(mean, e^logvar) to N(0, 1), twice: mean^2 + (e^logvar - 1 - logvar). Its derivative is left to
   vaei_latent_backward. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_add_kl)(VAEI_V sum, VAEI_V mean, VAEI_V logvar, int wanted, VAEI_V *slope) {
    (void)wanted; (void)slope;
    return sum + VAEI_FMA(mean, mean, VAEI_NAME(vaei_expm1)(logvar, VAEI_NAME(vaei_exp)(logvar) - VAEI_SET(1), 1));
}
VAEI_SUM_KERNEL(vaei_gaussian_kl, vaei_add_kl)

/* ---- activations ---- */

/* The activations made of one exponential: tanh, softplus max(x, 0) + log(1 + e^-|x|), sigmoid, and SiLU x sigmoid(x).
   SiLU is 0 below -100; the bound keeps -inf from being multiplied by 0. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_of_exponential)(vae_activation kind, VAEI_V x) {
    const VAEI_V a = kind == VAE_TANH ? VAEI_MIN(VAEI_SET(100), VAEI_ABS(x)) : VAEI_ABS(x);
    const VAEI_V e = VAEI_NAME(vaei_exp_negative)(a * VAEI_SET(kind == VAE_TANH ? -2 : -1));
    VAEI_V       y, unused;
    if (kind == VAE_TANH) return VAEI_NAME(vaei_tanh)(x, e);
    if (VAEI_HAS(kind == VAE_SOFTPLUS)) return VAEI_NAME(vaei_plus_log1p)(VAEI_MAX(VAEI_SET(0), x), e);
    y = VAEI_NAME(vaei_sigmoids)(x, e, &unused);
    return VAEI_HAS(kind == VAE_SILU) ? VAEI_MAX(VAEI_SET(-100), x) * y : y;
}

/* The derivatives of softplus, of its value y: 1 - e^-y; and of SiLU: sigmoid(x) (1 + x sigmoid(-x)). */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_derivative_of_exponential)(vae_activation kind, VAEI_V saved) {
    const VAEI_V e = VAEI_NAME(vaei_exp_negative)(-VAEI_ABS(saved));
    const VAEI_V bounded = VAEI_MIN(VAEI_SET(100), VAEI_MAX(VAEI_SET(-100), saved));
    VAEI_V       of_x, of_minus_x;
    if (kind == VAE_SOFTPLUS) return -VAEI_NAME(vaei_expm1)(-saved, e - VAEI_SET(1), 0);
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

#define VAEI_EACH(expression) \
    for (i = 0; i < n; i += VAEI_LANES) { const VAEI_V v = VAEI_LOAD(x + i); VAEI_STORE(y + i, expression); } \
    break

/* y = f(x); y may be x. */
VAEI_TARGET void VAEI_NAME(vaei_activate)(vae_activation kind, size_t n, const vae_real *x, vae_real *y) {
    size_t i;
    switch (kind) {
    case VAE_RELU:       VAEI_EACH(VAEI_MAX(VAEI_SET(0), v));
    case VAE_LEAKY_RELU: VAEI_EACH(VAEI_SELECT_LESS(v, VAEI_SET(0), v * VAEI_SET(VAEI_LEAKY_SLOPE), v));
    case VAE_GELU:       if (VAEI_IS_BASIC) break; VAEI_EACH(VAEI_NAME(vaei_gelu)(v));
    case VAE_SILU: case VAE_TANH: case VAE_SIGMOID:
    case VAE_SOFTPLUS:   VAEI_EACH(VAEI_NAME(vaei_of_exponential)(kind, v));
    default:             VAEI_EACH(v);      /* linear */
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
    case VAE_TANH:       VAEI_EACH(e * VAEI_FNMA(v, v, VAEI_SET(1)));
    case VAE_SIGMOID:    VAEI_EACH(e * (v * (VAEI_SET(1) - v)));
#ifndef VAE_BASIC
    case VAE_GELU:       VAEI_EACH(e * VAEI_NAME(vaei_gelu_derivative)(v));
    case VAE_SILU: case VAE_SOFTPLUS: VAEI_EACH(e * VAEI_NAME(vaei_derivative_of_exponential)(kind, v));
#endif
    default:             break;             /* linear */
    }
}
#undef VAEI_EACH

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
        const VAEI_V slope = VAEI_NAME(vaei_expm1)(v, VAEI_FMA(deviation, deviation, VAEI_SET(-1)), 0);
        const VAEI_V drawn = VAEI_PRODUCT(d * VAEI_LOAD(epsilon + i), deviation * half);
        VAEI_STORE(d_mean + i, VAEI_FMA(scale, m, d));
        VAEI_STORE(d_logvar + i, VAEI_FMA(scale * half, slope, drawn));
    }
}

/* ---- plain arithmetic ---- */

/* out[j] = sum of d[i][j] over the rows i, or += that. Row i begins at d + row_offsets[i], or at d + i row_stride where
   there is no table. The order is the same for every column and every set: in blocks of VAEI_SUM_BLOCK rows, row i goes
   to partial sum i mod 4, the four are added by halves, and the blocks one after the other. NUMBERS is the type of a
   vector of columns or, for the last few, of a single one; LOOSE is that type in arrays. (Without optimization gcc
   fails on loose variables where it cannot align the stack: Windows.) */
#define VAEI_NUMBERS_OF_ROW(NUMBERS, LOOSE, i) \
    ((NUMBERS)*(const LOOSE *)(const void *)(d + j + vaei_entry(row_offsets, row_stride, i)))
#define VAEI_SUM_COLUMNS(NUMBERS, LOOSE) { \
    NUMBERS sum0 = { 0 }, sum1 = { 0 }, sum2 = { 0 }, sum3 = { 0 }; \
    LOOSE  *total = (LOOSE *)(void *)(out + j); \
    for (i = begin; end - i >= 4; i += 4) { \
        sum0 = sum0 + VAEI_NUMBERS_OF_ROW(NUMBERS, LOOSE, i); \
        sum1 = sum1 + VAEI_NUMBERS_OF_ROW(NUMBERS, LOOSE, i + 1); \
        sum2 = sum2 + VAEI_NUMBERS_OF_ROW(NUMBERS, LOOSE, i + 2); \
        sum3 = sum3 + VAEI_NUMBERS_OF_ROW(NUMBERS, LOOSE, i + 3); \
    } \
    if (i < end) sum0 = sum0 + VAEI_NUMBERS_OF_ROW(NUMBERS, LOOSE, i); \
    if (i + 1 < end) sum1 = sum1 + VAEI_NUMBERS_OF_ROW(NUMBERS, LOOSE, i + 1); \
    if (i + 2 < end) sum2 = sum2 + VAEI_NUMBERS_OF_ROW(NUMBERS, LOOSE, i + 2); \
    *total = (NUMBERS)*total + ((sum0 + sum2) + (sum1 + sum3)); }
VAEI_TARGET void VAEI_NAME(vaei_column_sums)(size_t rows, size_t columns, const vae_real *d, size_t row_stride,
                                             const uint32_t *row_offsets, vae_real *out, int accumulate) {
    size_t begin, end, i, j;
    if (!accumulate) for (j = 0; j < columns; j++) out[j] = 0;
    for (begin = 0; begin < rows; begin = end) {
        end = rows - begin < VAEI_SUM_BLOCK ? rows : begin + VAEI_SUM_BLOCK;
        for (j = 0; j + VAEI_LANES <= columns; j += VAEI_LANES)
            VAEI_SUM_COLUMNS(VAEI_V, VAEI_TYPE(vaei_loose_floats))
        for (; j < columns; j++) VAEI_SUM_COLUMNS(vae_real, vae_real)
    }
}

/* y = bytes / 255, the quotient rounded once. */
VAEI_TARGET void VAEI_NAME(vaei_bytes_to_real)(size_t n, const unsigned char *bytes, vae_real *y) {
    size_t i;
    for (i = 0; i + VAEI_LANES <= n; i += VAEI_LANES)
        VAEI_STORE(y + i, VAEI_FROM_INT(VAEI_LOAD_BYTES(bytes + i)) / VAEI_SET(255));
    for (; i < n; i++) y[i] = (vae_real)bytes[i] / 255;
}

/* y += x */
VAEI_TARGET void VAEI_NAME(vaei_add)(size_t n, vae_real *y, const vae_real *x) {
    size_t i;
    for (i = 0; i + VAEI_LANES <= n; i += VAEI_LANES) VAEI_STORE(y + i, VAEI_LOAD(y + i) + VAEI_LOAD(x + i));
    for (; i < n; i++) y[i] = y[i] + x[i];
}

/* The index of the first number that is not within [low, high], or n. A NaN is never within. */
VAEI_TARGET size_t VAEI_NAME(vaei_check_range)(size_t n, const vae_real *x, vae_real low, vae_real high) {
    size_t i = 0;
#ifdef VAE_DOUBLE
    while (i < n && vaei_finite(x[i]) && x[i] >= low && x[i] <= high) i++;
#else
    const int32_t least = vaei_order(low == 0 ? (vae_real)-0.0 : low), most = vaei_order(high);
    uint32_t      lanes[VAEI_LANES], found = 0;
    size_t        j, end;
    for (; n - i >= VAEI_LANES; i = end) {                          /* in blocks, up to the first with such a number */
        VAEI_TYPE(vaei_ints) beyond = (VAEI_TYPE(vaei_ints))VAEI_BITS(VAEI_SET(0));
        end = n - i < VAEI_SUM_BLOCK ? n - n % VAEI_LANES : i + VAEI_SUM_BLOCK;
        for (j = i; j < end; j += VAEI_LANES) {                     /* by vaei_order */
            const VAEI_TYPE(vaei_ints) bits = (VAEI_TYPE(vaei_ints))VAEI_BITS(VAEI_LOAD(x + j));
            const VAEI_TYPE(vaei_ints) order = bits ^ (bits >> 31 & INT32_MAX);
            beyond |= (order < least) | (order > most);
        }
        memcpy(lanes, &beyond, sizeof lanes);
        for (j = 0; j < VAEI_LANES; j++) found |= lanes[j];
        if (found) break;
    }
    while (i < n && vaei_order(x[i]) >= least && vaei_order(x[i]) <= most) i++;
#endif
    return i;
}

/* ---- random numbers ---- */

/* words[c][j] is word c of random block j, and numbers[c][j] the normal made of it and its neighbour. */
VAEI_TARGET void VAEI_NAME(vaei_words_to_normals)(size_t count, uint32_t words[4][VAEI_RANDOM_BLOCKS],
                                                  vae_real numbers[4][VAEI_RANDOM_BLOCKS]) {
    VAEI_I word0, word1;
    VAEI_V second;
    size_t j;
    int    pair;
    for (pair = 0; pair < 4; pair += 2)
        for (j = 0; j < count; j += VAEI_LANES) {
            memcpy(&word0, words[pair] + j, sizeof word0);
            memcpy(&word1, words[pair + 1] + j, sizeof word1);
            VAEI_STORE(numbers[pair] + j, VAEI_NAME(vaei_normal_pair)(word0, word1, &second));
            VAEI_STORE(numbers[pair + 1] + j, second);
        }
}

#endif /* not AVX-512 */

/* ---- optimisers ----

   p = shrink p - rate d, where the direction d comes of the gradient g, to which decay p has been added, and of one or
   two moments, which move. p and the moments have `rows` rows of n numbers, and the gradients of row r are factors[r]
   times those in g. So are those of a layer's weights when the batch is one example; any other n parameters are one row
   with the factor 1. In training they lie in a far cache. Wide vectors use them up faster than the processor fetches
   them by itself, so they are prefetched. */
#define VAEI_UPDATE_AHEAD 2048    /* bytes */
#define VAEI_UPDATE_KERNEL(name, direction, has_second) \
    VAEI_HELPER void VAEI_NAME(name##_rows)(const vaei_update_step *given, size_t rows, size_t n, vae_real *p, \
                                            const vae_real *factors, const vae_real *g, vae_real *m, vae_real *v, \
                                            int has_decay) { \
        const vaei_update_step step = *given;           /* a copy that no store to p can change */ \
        const VAEI_V zero = VAEI_SET(0); \
        size_t r, i; \
        for (r = 0; r < rows; r++, p += n, m += n, v = has_second ? v + n : v) { \
            const VAEI_V factor = VAEI_SET(factors[r]); \
            for (i = 0; i < n; i += VAEI_LANES) { \
                VAEI_V parameter = VAEI_LOAD(p + i), d = VAEI_FMA(factor, VAEI_LOAD(g + i), zero); \
                VAEI_V first = VAEI_LOAD(m + i), second = has_second ? VAEI_LOAD(v + i) : zero; \
                if (VAEI_LANES >= 8) { \
                    VAEI_PREFETCH(p + i, VAEI_UPDATE_AHEAD); \
                    VAEI_PREFETCH(m + i, VAEI_UPDATE_AHEAD); \
                    if (has_second) VAEI_PREFETCH(v + i, VAEI_UPDATE_AHEAD); \
                } \
                if (has_decay) d = VAEI_FMA(VAEI_SET(step.decay), parameter, d); \
                d = VAEI_NAME(direction)(&step, d, &first, &second); \
                if (has_decay) parameter = VAEI_PRODUCT(VAEI_SET(step.shrink), parameter); \
                VAEI_STORE(p + i, VAEI_FNMA(VAEI_SET(step.rate), d, parameter)); \
                VAEI_STORE(m + i, first); \
                if (has_second) VAEI_STORE(v + i, second); \
            } \
        } \
    } \
    VAEI_TARGET void VAEI_NAME(name)(const vaei_update_step *step, size_t rows, size_t n, vae_real *p, \
                                     const vae_real *factors, const vae_real *g, vae_real *m, vae_real *v) { \
        if (!VAEI_IS_SMALL && step->decay == 0 && step->shrink == 1) \
            VAEI_NAME(name##_rows)(step, rows, n, p, factors, g, m, v, 0); \
        else VAEI_NAME(name##_rows)(step, rows, n, p, factors, g, m, v, 1); \
    }

/* A moment so small that it would decay to denormal numbers, which are slow, is 0. (Beside an epsilon of 1e-12 or more
   that makes no difference; a smaller one is not honoured where gradients are below 1e-14.) */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_moment)(VAEI_V m) {
    return VAEI_SELECT_LESS(VAEI_ABS(m), VAEI_SET((vae_real)1e-30), VAEI_SET(0), m);
}

/* v = beta2 v + (1 - beta2) g^2. What is too small for a square that is no denormal number counts as 0. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_mean_square)(const vaei_update_step *step, VAEI_V g, VAEI_V v) {
    g = VAEI_SELECT_LESS(VAEI_ABS(g), VAEI_SET((vae_real)1e-15), VAEI_SET(0), g);
    v = VAEI_FMA(VAEI_SET(step->one_minus_beta2) * g, g, VAEI_PRODUCT(VAEI_SET(step->beta2), v));
    return VAEI_SELECT_LESS(v, VAEI_SET((vae_real)1e-30), VAEI_SET(0), v);
}

/* Adam and AdamW: m = beta1 m + (1 - beta1) g,  d = m / (sqrt(v) inverse_root + epsilon). For the constants see
   vaei_begin_adam. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_by_moments)(const vaei_update_step *step, VAEI_V g, VAEI_V *m, VAEI_V *v) {
    *m = VAEI_FMA(VAEI_SET(step->one_minus_beta1), g, VAEI_PRODUCT(VAEI_SET(step->beta1), *m));
    *m = VAEI_NAME(vaei_moment)(*m);
    *v = VAEI_NAME(vaei_mean_square)(step, g, *v);
    return *m / VAEI_FMA(VAEI_SQRT(*v), VAEI_SET(step->inverse_root), VAEI_SET(step->epsilon));
}
VAEI_UPDATE_KERNEL(vaei_adam, vaei_by_moments, 1)

#if VAEI_PASS != VAEI_PASS_AVX512

/* Gradient descent with momentum: d = m = beta1 m + g. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_by_momentum)(const vaei_update_step *step, VAEI_V g, VAEI_V *m, VAEI_V *unused) {
    (void)unused;
    return *m = VAEI_NAME(vaei_moment)(VAEI_FMA(VAEI_SET(step->beta1), *m, g));
}
VAEI_UPDATE_KERNEL(vaei_sgd, vaei_by_momentum, 0)

/* RMSprop, whose one moment is v: d = g / (sqrt(v) + epsilon). */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_by_square)(const vaei_update_step *step, VAEI_V g, VAEI_V *v, VAEI_V *unused) {
    (void)unused;
    *v = VAEI_NAME(vaei_mean_square)(step, g, *v);
    return g / (VAEI_SQRT(*v) + VAEI_SET(step->epsilon));
}
VAEI_UPDATE_KERNEL(vaei_rmsprop, vaei_by_square, 0)

/* Adadelta: d = sqrt(u + epsilon) / sqrt(v + epsilon) g,  u = beta2 u + (1 - beta2) d^2. */
VAEI_HELPER VAEI_V VAEI_NAME(vaei_by_squares)(const vaei_update_step *step, VAEI_V g, VAEI_V *v, VAEI_V *u) {
    const VAEI_V epsilon = VAEI_SET(step->epsilon), most = VAEI_SET(VAEI_MOST_MOMENT);
    VAEI_V       d;
    *v = VAEI_NAME(vaei_mean_square)(step, g, *v);
    d = VAEI_PRODUCT(VAEI_SQRT(*u + epsilon) / VAEI_SQRT(*v + epsilon), g);
    *u = VAEI_NAME(vaei_mean_square)(step, d, *u);
    *u = VAEI_SELECT_LESS(most, *u, most, *u);
    return d;
}
VAEI_UPDATE_KERNEL(vaei_adadelta, vaei_by_squares, 1)

#endif /* not AVX-512 */

/* ==== 19 >>product-kernels ======================================================================================== */

/* The innermost loops of a product, for one instruction set: packing, register tiles, and two loops for a single row or
   column of C. They compute a part of C over one block of steps; which part, and with which of them, is decided in
   section matrix-product. Each takes the steps in order and each number of C in one chain, which is all that the bits
   depend on. Tiles read and write whole vectors; what does not fill one comes to them through scratch. */

#ifndef VAE_SMALL
#if VAEI_PASS != VAEI_PASS_AVX512       /* which takes AVX2's */
/* Four steps of as many columns as a vector has lanes, transposed: vector s holds step s of every column. */
typedef struct VAEI_NAME(vaei_four_steps) { VAEI_V step0, step1, step2, step3; } VAEI_NAME(vaei_four_steps);

VAEI_HELPER VAEI_NAME(vaei_four_steps) VAEI_NAME(vaei_transpose)(const vae_real *const *columns, size_t offset) {
    VAEI_NAME(vaei_four_steps) four;
#if VAEI_PASS == VAEI_PASS_PLAIN
    const vae_real *column = columns[0] + offset;
    four.step0 = column[0]; four.step1 = column[1]; four.step2 = column[2]; four.step3 = column[3];
#else
#undef VAEI_COLUMNS
#undef VAEI_MIX
#ifdef __clang__
#define VAEI_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define VAEI_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, __extension__(VAEI_I){ __VA_ARGS__ })
#endif
#if VAEI_PASS == VAEI_PASS_AVX2         /* four steps of column c in the lower half, of column c + 4 in the upper */
#define VAEI_FOUR(c) (*(const vaei_loose_floats4 *)(const void *)(columns[c] + offset))
#define VAEI_COLUMNS(c) VAEI_X86( \
    __builtin_ia32_vinsertf128_ps256(__builtin_ia32_ps256_ps(VAEI_FOUR(c)), VAEI_FOUR(c + 4), 1), \
    _mm256_insertf128_ps(_mm256_castps128_ps256(VAEI_FOUR(c)), VAEI_FOUR(c + 4), 1))
#define VAEI_MIX(a, b, i, j, k, l) VAEI_SHUFFLE(a, b, i, 8 + j, k, 8 + l, i + 4, 12 + j, k + 4, 12 + l)
#else
#define VAEI_COLUMNS(c) VAEI_LOAD(columns[c] + offset)
#define VAEI_MIX(a, b, i, j, k, l) VAEI_SHUFFLE(a, b, i, 4 + j, k, 4 + l)
#endif
    const VAEI_V q0 = VAEI_COLUMNS(0), q1 = VAEI_COLUMNS(1), q2 = VAEI_COLUMNS(2), q3 = VAEI_COLUMNS(3);
    const VAEI_V low02 = VAEI_MIX(q0, q2, 0, 0, 1, 1), high02 = VAEI_MIX(q0, q2, 2, 2, 3, 3);
    const VAEI_V low13 = VAEI_MIX(q1, q3, 0, 0, 1, 1), high13 = VAEI_MIX(q1, q3, 2, 2, 3, 3);
    four.step0 = VAEI_MIX(low02, low13, 0, 0, 1, 1);
    four.step1 = VAEI_MIX(low02, low13, 2, 2, 3, 3);
    four.step2 = VAEI_MIX(high02, high13, 0, 0, 1, 1);
    four.step3 = VAEI_MIX(high02, high13, 2, 2, 3, 3);
#endif
    return four;
}

/* Packs `count` columns of B (or rows of A) side by side, one step after the other, filled up with zeros to `width`:
   column i begins at from[i], and in each the steps lie at the same offsets. */
VAEI_TARGET void VAEI_NAME(vaei_pack)(const vae_real *const *from, const size_t *offsets, size_t count, size_t steps,
                                      vae_real *to, size_t width) {
    size_t i = 1, k, run, j, lane;
    while (i < count && from[i] == from[0] + i) i++;
    if (i == count) {                                       /* they lie side by side already */
        for (k = 0; k < steps; k++, to += width) {
            const vae_real *step = from[0] + offsets[k];
            for (i = 0; i + VAEI_LANES <= count; i += VAEI_LANES) VAEI_STORE(to + i, VAEI_LOAD(step + i));
            for (; i < count; i++) to[i] = step[i];
            for (; i < width; i++) to[i] = 0;
        }
        return;
    }
    for (k = 0; k < steps; k += run, to += run * width) {   /* steps that follow one another in every column */
        const size_t offset = offsets[k];
        for (run = 1; k + run < steps && offsets[k + run] == offset + run;) run++;
        for (i = 0; i + VAEI_LANES <= count; i += VAEI_LANES) {
            vae_real *packed = to + i;
            for (j = 0; j + 4 <= run; j += 4, packed += 4 * width) {
                const VAEI_NAME(vaei_four_steps) four = VAEI_NAME(vaei_transpose)(from + i, offset + j);
                VAEI_STORE(packed, four.step0);
                VAEI_STORE(packed + width, four.step1);
                VAEI_STORE(packed + 2 * width, four.step2);
                VAEI_STORE(packed + 3 * width, four.step3);
            }
            for (; j < run; j++, packed += width)
                for (lane = 0; lane < VAEI_LANES; lane++) packed[lane] = from[i + lane][offset + j];
        }
        for (; i < count; i++) for (j = 0; j < run; j++) to[j * width + i] = from[i][offset + j];
        for (; i < width; i++) for (j = 0; j < run; j++) to[j * width + i] = 0;
    }
}

/* A single row or column of C, some vectors of it at a time: adds to `sums` the products of the steps of `one`, its row
   of A or column of B, and of those of `many`, the columns or rows that it meets. Four steps that follow one another in
   these are transposed in registers, other steps are taken one by one. */
#define VAEI_DOT_FOUR(r, v) { \
    const VAEI_NAME(vaei_four_steps) four = VAEI_NAME(vaei_transpose)(many + v * VAEI_LANES, many_offsets[0]); \
    sum0_##v = VAEI_FMA(VAEI_SET(one[one_offsets[0]]), four.step0, sum0_##v); \
    sum0_##v = VAEI_FMA(VAEI_SET(one[one_offsets[1]]), four.step1, sum0_##v); \
    sum0_##v = VAEI_FMA(VAEI_SET(one[one_offsets[2]]), four.step2, sum0_##v); \
    sum0_##v = VAEI_FMA(VAEI_SET(one[one_offsets[3]]), four.step3, sum0_##v); }
#define VAEI_DOT_ONE(r, v) { \
    for (lane = 0; lane < VAEI_LANES; lane++) numbers[lane] = many[v * VAEI_LANES + lane][many_offsets[0]]; \
    sum0_##v = VAEI_FMA(VAEI_SET(one[one_offsets[0]]), VAEI_LOAD(numbers), sum0_##v); }
VAEI_TARGET void VAEI_NAME(vaei_dot)(const vae_real *one, const size_t *one_offsets, const vae_real *const *many,
                                     const size_t *many_offsets, size_t steps, vae_real *sums) {
    vae_real numbers[VAEI_LANES], *c0 = sums;
    size_t   count, lane;
    VAEI_VECTORS_4(VAEI_DECLARE_SUM, 0)
    VAEI_VECTORS_4(VAEI_READ_SUM, 0)
    for (; steps > 0; steps -= count, one_offsets += count, many_offsets += count) {
        count = steps >= 4 && many_offsets[1] == many_offsets[0] + 1 && many_offsets[2] == many_offsets[0] + 2 &&
                many_offsets[3] == many_offsets[0] + 3 ? 4 : 1;
        if (count == 4) { VAEI_VECTORS_4(VAEI_DOT_FOUR, 0) }
        else { VAEI_VECTORS_4(VAEI_DOT_ONE, 0) }
    }
    VAEI_VECTORS_4(VAEI_STORE_SUM, 0)
}
#endif

/* Register tiles by rows and vectors. Sums, a step of B and one number of A must fit the registers, and there must be
   enough sums to hide a multiply-add's latency. Each vector of B serves all rows and each number of A all vectors, so
   that large tiles load little for what they multiply.
   AVX2     6 x 2: 12 sums of 16 registers; 4 x 3 for few rows, and for the three vectors that may be the last ones
   AVX-512  8 x 3: 24 sums of 32 registers
   NEON     6 x 4: 24 sums of 32 registers
   others   4 x 2: 8 sums of 16 registers, since without a fused operation a product needs a register, too
   A tile one vector wide is taller, to have enough sums. */
#undef VAEI_TILES
#define VAEI_TILE(rows, vectors) { rows, VAEI_NAME(vaei_tile_##rows##x##vectors) }
#define VAEI_NO_TILE { 0, NULL }
VAEI_TILE_KERNEL(vaei_tile_8x1, VAEI_ROWS_8, VAEI_VECTORS_1, VAEI_READ_B)
#if VAEI_PASS == VAEI_PASS_AVX2
VAEI_TILE_KERNEL(vaei_tile_6x2, VAEI_ROWS_6, VAEI_VECTORS_2, VAEI_READ_B)
VAEI_TILE_KERNEL(vaei_tile_4x2, VAEI_ROWS_4, VAEI_VECTORS_2, VAEI_READ_B)
VAEI_TILE_KERNEL(vaei_tile_4x3, VAEI_ROWS_4, VAEI_VECTORS_3, VAEI_READ_B_AHEAD)
VAEI_TILE_KERNEL(vaei_packing_tile, VAEI_ROWS_6, VAEI_VECTORS_2, VAEI_READ_AND_PACK_B)
#define VAEI_TILES 2, 3, \
    { VAEI_TILE(8, 1), VAEI_TILE(6, 2) }, { VAEI_NO_TILE, VAEI_TILE(4, 2), VAEI_TILE(4, 3) }, vaei_dot_avx2, NULL
#elif VAEI_PASS == VAEI_PASS_AVX512
VAEI_TILE_KERNEL(vaei_tile_8x2, VAEI_ROWS_8, VAEI_VECTORS_2, VAEI_READ_B)
VAEI_TILE_KERNEL(vaei_tile_8x3, VAEI_ROWS_8, VAEI_VECTORS_3, VAEI_READ_B)
VAEI_TILE_KERNEL(vaei_tile_4x3, VAEI_ROWS_4, VAEI_VECTORS_3, VAEI_READ_B)
VAEI_TILE_KERNEL(vaei_packing_tile, VAEI_ROWS_8, VAEI_VECTORS_3, VAEI_READ_AND_PACK_B)
#define VAEI_TILES 3, 3, \
    { VAEI_TILE(8, 1), VAEI_TILE(8, 2), VAEI_TILE(8, 3) }, { VAEI_NO_TILE, VAEI_NO_TILE, VAEI_TILE(4, 3) }, \
    NULL, &vaei_product_kernels_avx2
#elif VAEI_PASS == VAEI_PASS_NEON
VAEI_TILE_KERNEL(vaei_tile_6x2, VAEI_ROWS_6, VAEI_VECTORS_2, VAEI_READ_B)
VAEI_TILE_KERNEL(vaei_tile_6x3, VAEI_ROWS_6, VAEI_VECTORS_3, VAEI_READ_B)
VAEI_TILE_KERNEL(vaei_tile_6x4, VAEI_ROWS_6, VAEI_VECTORS_4, VAEI_READ_B)
VAEI_TILE_KERNEL(vaei_tile_4x4, VAEI_ROWS_4, VAEI_VECTORS_4, VAEI_READ_B)
VAEI_TILE_KERNEL(vaei_packing_tile, VAEI_ROWS_6, VAEI_VECTORS_4, VAEI_READ_AND_PACK_B)
#define VAEI_TILES 4, 4, \
    { VAEI_TILE(8, 1), VAEI_TILE(6, 2), VAEI_TILE(6, 3), VAEI_TILE(6, 4) }, \
    { VAEI_NO_TILE, VAEI_NO_TILE, VAEI_NO_TILE, VAEI_TILE(4, 4) }, vaei_dot_neon, NULL
#else
VAEI_TILE_KERNEL(vaei_tile_4x2, VAEI_ROWS_4, VAEI_VECTORS_2, VAEI_READ_B)
VAEI_TILE_KERNEL(vaei_tile_2x2, VAEI_ROWS_2, VAEI_VECTORS_2, VAEI_READ_B)
VAEI_TILE_KERNEL(vaei_packing_tile, VAEI_ROWS_4, VAEI_VECTORS_2, VAEI_READ_AND_PACK_B)
#define VAEI_TILES 2, 2, \
    { VAEI_TILE(8, 1), VAEI_TILE(4, 2) }, { VAEI_NO_TILE, VAEI_TILE(2, 2) }, VAEI_NAME(vaei_dot), NULL
#endif

/* A single row of C, computed from end to end for a few steps at a time: such a product waits for B, which is read here
   in the order in which it lies in memory. The last vector overlaps columns of the loop; it is computed before C
   changes, and stored last. */
#define VAEI_SWEEP_BEGIN(s, unused) \
    const vae_real *b##s = b + b_offsets[k + s]; \
    const VAEI_V x##s = VAEI_SET(a[a_offsets[k + s]]);
#define VAEI_SWEEP_ADD(s, unused) sum = VAEI_FMA(x##s, VAEI_LOAD(b##s + j), sum);
#define VAEI_SWEEP_SUM(STEPS) \
    sum = start ? VAEI_LOAD(start + j) : zero; \
    STEPS(VAEI_SWEEP_ADD, 0) \
    if (ends) sum = VAEI_MAX(zero, sum);
#define VAEI_SWEEP(STEPS) \
    size_t j = columns - VAEI_LANES; \
    STEPS(VAEI_SWEEP_BEGIN, 0) \
    VAEI_SWEEP_SUM(STEPS) \
    last = sum; \
    for (j = 0; j + VAEI_LANES < columns; j += VAEI_LANES) { \
        VAEI_SWEEP_SUM(STEPS) \
        VAEI_STORE(c + j, sum); \
    }
VAEI_TARGET void VAEI_NAME(vaei_sweep)(const vae_real *a, const size_t *a_offsets, const vae_real *b,
                                       const size_t *b_offsets, size_t steps, const vae_real *start, vae_real *c,
                                       size_t columns, int relu) {
    const VAEI_V zero = VAEI_SET(0);
    size_t k, count;
    for (k = 0; k < steps; k += count, start = c) {
        VAEI_V sum, last;
        int    ends;
        count = steps - k >= 8 ? 8 : steps - k >= 4 ? 4 : steps - k >= 2 ? 2 : 1;
        ends = relu && k + count == steps;
        if (count == 8) { VAEI_SWEEP(VAEI_ROWS_8) }
        else if (count == 4) { VAEI_SWEEP(VAEI_ROWS_4) }
        else if (count == 2) { VAEI_SWEEP(VAEI_ROWS_2) }
        else { VAEI_SWEEP(VAEI_ROWS_1) }
        VAEI_STORE(c + columns - VAEI_LANES, last);
    }
}
#endif /* VAE_SMALL */

/* ---- The table ---- */

/* AVX-512 takes from AVX2, which gives the same bits, what wider vectors do not make faster: that saves most of the
   time to compile it. */
#undef VAEI_SHARED
#if VAEI_PASS == VAEI_PASS_AVX512
#define VAEI_SHARED(name) name##_avx2
#else
#define VAEI_SHARED(name) VAEI_NAME(name)
#endif

static const vaei_product_kernels VAEI_NAME(vaei_product_kernels) = {
    VAEI_LANES
#ifndef VAE_SMALL
    , VAEI_NAME(vaei_packing_tile), VAEI_SHARED(vaei_pack), VAEI_NAME(vaei_sweep), VAEI_TILES
#endif
};

#ifdef VAEI_KERNEL_TESTS        /* the tests look at single vectors of each set through functions of their own */
#include VAEI_KERNEL_TESTS
#endif

static const vaei_kernel_set VAEI_NAME(vaei_kernel_set) = {
    &VAEI_NAME(vaei_product_kernels), VAEI_SHARED(vaei_activate), VAEI_TRAINING(VAEI_SHARED(vaei_activate_backward)),
    VAEI_SCORING(VAEI_NAME(vaei_bernoulli)), VAEI_SCORING(VAEI_SHARED(vaei_gaussian)),
    VAEI_SCORING(VAEI_EXTRA(VAEI_SHARED(vaei_laplace))),
    VAEI_EXTRA(VAEI_SHARED(vaei_continuous_bernoulli)), VAEI_SCORING(VAEI_SHARED(vaei_gaussian_kl)),
    VAEI_MORE(VAEI_SHARED(vaei_reparameterize)),
    VAEI_TRAINING(VAEI_SHARED(vaei_latent_backward)), VAEI_TRAINING(VAEI_NAME(vaei_adam)),
    VAEI_TRAINING(VAEI_SHARED(vaei_sgd)), VAEI_TRAINING(VAEI_EXTRA(VAEI_SHARED(vaei_rmsprop))),
    VAEI_TRAINING(VAEI_EXTRA(VAEI_SHARED(vaei_adadelta))), VAEI_MORE(VAEI_SHARED(vaei_words_to_normals)),
    VAEI_TRAINING(VAEI_SHARED(vaei_column_sums)), VAEI_SHARED(vaei_add), VAEI_SHARED(vaei_bytes_to_real),
    VAEI_SHARED(vaei_check_range)
};
#endif /* VAEI_PASS */

#if defined(VAE_IMPLEMENTATION) && !defined(VAEI_PASS) && !defined(VAEI_IMPLEMENTED)
#define VAEI_IMPLEMENTED

/* ==== 20 >>arrays ================================================================================================= */

/* Kernels take whole vectors. The functions here take any n, for every set: the last few elements of an array go
   through a copy that is filled up to a vector.

   No function that calls kernels is itself VAEI_TARGET: after it has called a function without wide registers, gcc 12
   forgets to clear their upper halves (vzeroupper), and every SSE instruction of the program is then several times
   slower. For the same reason a VAEI_TARGET function calls only its like. */

VAEI_APART void vaei_copy_padded(vae_real *padded, size_t width, const vae_real *values, size_t count, vae_real rest) {
    size_t i;
    for (i = 0; i < width; i++) padded[i] = rest;
    memcpy(padded, values, count * sizeof *values);
}

/* The last `count` numbers of up to four arrays, from index `whole` on, each filled up with zeros to one vector. */
typedef struct vaei_tail {
    size_t   whole, count;
    vae_real at[4][VAEI_IS_SMALL ? 4 : (int)VAEI_MOST_LANES];
} vaei_tail;

/* Copies the tails. Returns 0 if there are none. Arrays that are not needed are NULL. */
#ifdef VAE_SMALL        /* every vector is one number: there are no tails, and all of this comes to nothing */
VAEI_INLINE
#else
VAEI_APART
#endif
int vaei_tail_in(vaei_tail *tail, const vaei_kernel_set *set, size_t n, const vae_real *a, const vae_real *b,
                 const vae_real *c, const vae_real *d) {
    const vae_real *arrays[4];
    int             i;
    arrays[0] = a; arrays[1] = b; arrays[2] = c; arrays[3] = d;
    tail->count = VAEI_IS_SMALL ? 0 : n % set->product->lanes;
    tail->whole = n - tail->count;
    for (i = 0; i < 4 && tail->count; i++)
        if (arrays[i]) vaei_copy_padded(tail->at[i], set->product->lanes, arrays[i] + tail->whole, tail->count, 0);
    return tail->count > 0;
}

VAEI_PRIVATE void vaei_tail_out(const vaei_tail *tail, int i, vae_real *array) {
    memcpy(array + tail->whole, tail->at[i], tail->count * sizeof *array);
}

/* Is every |x| <= most, a finite number? A NaN is not. */
VAEI_PRIVATE int vaei_all_within(const vaei_kernel_set *set, size_t n, const vae_real *x, vae_real most) {
    return set->check_range(n, x, -most, most) == n;
}

/* An output may be an input, so the tail is copied before anything is written. */
VAEI_PRIVATE void vaei_activate(const vaei_kernel_set *set, vae_activation kind, size_t n, const vae_real *x,
                                vae_real *y) {
    vaei_tail tail;
    if (kind == VAE_LINEAR && x == y) return;
    if (vaei_tail_in(&tail, set, n, x, NULL, NULL, NULL)) {
        set->activate(kind, set->product->lanes, tail.at[0], tail.at[0]);
        vaei_tail_out(&tail, 0, y);
    }
    set->activate(kind, tail.whole, x, y);
}

VAEI_PRIVATE void vaei_activate_backward(const vaei_kernel_set *set, vae_activation kind, size_t n,
                                         const vae_real *saved, vae_real *d) {
    vaei_tail tail;
    if (kind == VAE_LINEAR) return;
    if (vaei_tail_in(&tail, set, n, saved, d, NULL, NULL)) {
        set->activate_backward(kind, set->product->lanes, tail.at[0], tail.at[1]);
        vaei_tail_out(&tail, 1, d);
    }
    set->activate_backward(kind, tail.whole, saved, d);
}

VAEI_PRIVATE void vaei_reparameterize(const vaei_kernel_set *set, size_t n, const vae_real *mean,
                                      const vae_real *logvar, const vae_real *epsilon, vae_real *z) {
    vaei_tail tail;
    if (vaei_tail_in(&tail, set, n, mean, logvar, epsilon, NULL)) {
        set->reparameterize(set->product->lanes, tail.at[0], tail.at[1], tail.at[2], tail.at[0]);
        vaei_tail_out(&tail, 0, z);
    }
    set->reparameterize(tail.whole, mean, logvar, epsilon, z);
}

VAEI_PRIVATE void vaei_latent_backward(const vaei_kernel_set *set, size_t n, const vae_real *mean,
                                       const vae_real *logvar, const vae_real *epsilon, const vae_real *dz,
                                       vae_real kl_scale, vae_real *d_mean, vae_real *d_logvar) {
    vaei_tail tail;
    if (vaei_tail_in(&tail, set, n, mean, logvar, epsilon, dz)) {
        set->latent_backward(set->product->lanes, tail.at[0], tail.at[1], tail.at[2], tail.at[3], kl_scale, tail.at[0],
                             tail.at[1]);
        vaei_tail_out(&tail, 0, d_mean);
        vaei_tail_out(&tail, 1, d_logvar);
    }
    set->latent_backward(tail.whole, mean, logvar, epsilon, dz, kl_scale, d_mean, d_logvar);
}

/* An optimiser's update of rows: see VAEI_UPDATE_KERNEL. v is NULL for one moment. */
VAEI_PRIVATE void vaei_update_rows(vaei_update_kernel *kernel, const vaei_kernel_set *set, const vaei_update_step *step,
                                   size_t rows, size_t n, vae_real *p, const vae_real *factors, const vae_real *g,
                                   vae_real *m, vae_real *v) {
    vaei_tail tail;
    size_t    r;
    if (n % set->product->lanes == 0) {
        kernel(step, rows, n, p, factors, g, m, v);
        return;
    }
    for (r = 0; r < rows; r++, p += n, m += n, v = v ? v + n : v) {
        (void)vaei_tail_in(&tail, set, n, p, g, m, v);
        kernel(step, 1, tail.whole, p, factors + r, g, m, v);
        kernel(step, 1, set->product->lanes, tail.at[0], factors + r, tail.at[1], tail.at[2], tail.at[3]);
        vaei_tail_out(&tail, 0, p);
        vaei_tail_out(&tail, 2, m);
        if (v) vaei_tail_out(&tail, 3, v);
    }
}

/* ---- sums ---- */

/* Every sum over an array is made in the same order whatever the vector's length: within a block of VAEI_SUM_BLOCK
   elements, element i is added to partial sum i mod 16, and the 16 are then added by halves. The blocks' sums, that of
   the whole sixteens that are left and that of the last few elements are added as vae_wide. A vector holds part of the
   16 partial sums; each part is a loop of its own over the block, which is in the cache. `rest` fills up a, and 0 fills
   up b: their term must be 0. */
VAEI_PRIVATE vae_wide vaei_sum(vaei_sum_kernel *kernel, size_t n, const vae_real *a, const vae_real *b, vae_real rest,
                               vae_real factor, vae_real *d) {
    vae_real sums[VAEI_SUM_LANES], last_a[VAEI_SUM_LANES], last_b[VAEI_SUM_LANES];
    vae_wide total = 0;
    size_t   done, count;
    int      half, i;
    for (done = 0; done < n; done += count) {
        const size_t left = n - done;
        if (left >= VAEI_SUM_LANES) {
            count = left >= VAEI_SUM_BLOCK ? VAEI_SUM_BLOCK : left - left % VAEI_SUM_LANES;
            kernel(count, a + done, b + done, factor, d ? d + done : d, sums);
        } else {
            count = left;
            vaei_copy_padded(last_a, VAEI_SUM_LANES, a + done, count, rest);
            vaei_copy_padded(last_b, VAEI_SUM_LANES, b + done, count, 0);
            kernel(VAEI_SUM_LANES, last_a, last_b, factor, d ? last_a : d, sums);
            if (d) memcpy(d + done, last_a, count * sizeof *d);
        }
        for (half = VAEI_SUM_LANES / 2; half > 0; half /= 2)
            for (i = 0; i < half; i++) sums[i] = sums[i] + sums[i + half];
        total += (vae_wide)sums[0];
    }
    return total;
}

/* The sum of (x - output)^2 inverse_variance / 2; d, NULL or perhaps output, is (output - x) inverse_variance scale. */
VAEI_PRIVATE vae_wide vaei_gaussian(const vaei_kernel_set *set, size_t n, const vae_real *output, const vae_real *x,
                                    vae_real inverse_variance, vae_real scale, vae_real *d) {
    const vae_wide sum = vaei_sum(set->gaussian, n, output, x, 0, inverse_variance * scale, d);
    return VAEI_ROUNDED(sum * (vae_wide)0.5 * (vae_wide)inverse_variance);
}

/* The KL of N(mean, e^logvar) to N(0, I). */
VAEI_PRIVATE vae_wide vaei_gaussian_kl(const vaei_kernel_set *set, size_t n, const vae_real *mean,
                                       const vae_real *logvar) {
    return vaei_sum(set->gaussian_kl, n, mean, logvar, 0, 0, NULL) * (vae_wide)0.5;
}

/* ---- random numbers ---- */

VAEI_PRIVATE void vaei_random_fill(const vaei_kernel_set *set, const vaei_random_request *request, int normal,
                                   vae_real *out) {
    uint32_t           words[4][VAEI_RANDOM_BLOCKS];
    vae_real           numbers[4][VAEI_RANDOM_BLOCKS];
    vaei_random_cursor cursor = { 0, request->first / 4 };
    size_t             j;
    int                c;
    while (request->columns && cursor.row < request->rows) {
        const vaei_random_cursor begin = cursor;
        const size_t             count = vaei_random_words(request, &cursor, words);
        if (normal) set->words_to_normals(count, words, numbers);
        else                                                /* the upper 24 bits: multiples of 2^-24 in [0, 1) */
            for (c = 0; c < 4; c++)
                for (j = 0; j < count; j++) numbers[c][j] = (vae_real)(int32_t)(words[c][j] >> 8) / 16777216;
        vaei_random_place(request, begin, count, numbers, out);
    }
}

/* Standard normals for `rows` consecutive examples, elements 0 .. columns - 1 of each. */
VAEI_PRIVATE void vaei_normal_rows(const vaei_kernel_set *set, uint64_t seed, uint32_t stream, uint64_t step,
                                   uint64_t first_example, size_t rows, size_t columns, vae_real *out) {
    const vaei_random_request request = { seed, step, first_example, stream, rows, columns, 0 };
    vaei_random_fill(set, &request, 1, out);
}

/* Standard normals, or uniform in [0, 1), for one example, elements first .. first + n - 1. */
VAEI_PRIVATE void vaei_random_elements(const vaei_kernel_set *set, int normal, uint64_t seed, uint32_t stream,
                                       uint64_t step, uint64_t example, size_t first, size_t n, vae_real *out) {
    const vaei_random_request request = { seed, step, example, stream, 1, n, first };
    vaei_random_fill(set, &request, normal, out);
}

/* ==== 21 >>matrix-product ========================================================================================= */

/* From a product's description (section product) to calls of the kernels: it is cut into blocks of steps, blocks of
   rows and panels of columns, so that what is used again is still in a cache when it is. A and B are rearranged
   ("packed") where each number is used often enough to pay for it, or where their own layout would make them drive each
   other out of the cache. Nothing is allocated: tables and packed numbers lie in scratch that the caller has made room
   for, as vaei_product_scratch says. No decision here changes a bit. */

#ifdef VAE_SMALL
VAEI_PRIVATE size_t vaei_product_scratch(size_t rows, size_t columns, size_t steps) {
    (void)rows; (void)columns; (void)steps;
    return 0;
}

VAEI_PRIVATE void vaei_multiply(const vaei_kernel_set *set, const vaei_product *p, vae_real *scratch) {
    (void)set; (void)scratch;
    vaei_multiply_naive(p);
}
#else

/* ---- Scratch ---- */

enum {
#if defined(VAEI_HAS_X86)
    /* columns of the widest vector, panel and call of vaei_dot of any set in this build */
    VAEI_WIDEST_VECTOR = 16, VAEI_WIDEST_PANEL = 48, VAEI_WIDEST_DOT = 32,
#elif defined(VAEI_HAS_NEON)
    VAEI_WIDEST_VECTOR = 4, VAEI_WIDEST_PANEL = 16, VAEI_WIDEST_DOT = 16,
#elif defined(VAEI_HAS_VECTOR)
    VAEI_WIDEST_VECTOR = 4, VAEI_WIDEST_PANEL = 8, VAEI_WIDEST_DOT = 16,
#else
    VAEI_WIDEST_VECTOR = 1, VAEI_WIDEST_PANEL = 2, VAEI_WIDEST_DOT = 4,
#endif
    VAEI_BLOCK_STEPS = 400,                                 /* steps at once: a panel of B stays in the second cache, */
    VAEI_BLOCK_ROWS = 264,                                  /* ... and so do the rows of A; whole tiles of every set */
    VAEI_PACKED_ROWS = 120,                                 /* rows of A at once where A is packed, */
    VAEI_STRIP = 8                                          /* ... this many of them side by side */
};

/* Is each number of A and B used so often that rearranging them pays? */
VAEI_PRIVATE int vaei_is_large(size_t rows, size_t columns) { return rows >= 192 && columns >= 128; }

/* What one product needs while it runs: a block of steps, and scratch. */
typedef struct vaei_work {
    const vaei_product *p;
    const vaei_product_kernels *kernels;
    size_t begin, steps;                                    /* the block */
    int b_even;                                             /* are its steps p->b_step apart, its columns adjacent? */
    int from_c, relu;                                       /* do its sums start from C, does ReLU follow them? */
    const vae_real **a_rows, **b_columns;                   /* where rows of A, columns of B begin */
    vae_real **c_rows;
    size_t *a_offsets, *b_offsets;                          /* where the steps lie in a row of A, in a column of B */
    size_t *packed_offsets;                                 /* ... and in a row of packed A */
    vae_real *start, *edge, *panel;                         /* first values of sums, a tile of C, packed B */
    vae_real *packed_a;                                     /* NULL: A is read where it lies */
} vaei_work;

/* Lays out the scratch for any set and gives its size in numbers. Every part grows with rows, columns and steps, so a
   slice of a product needs no more than the whole. */
VAEI_PRIVATE size_t vaei_lay_out_scratch(size_t rows, size_t columns, size_t steps, int packs_a, vaei_work *work,
                                         vae_real *scratch) {
    const size_t row_count = vaei_max_size(vaei_min_size(rows, VAEI_BLOCK_ROWS) + VAEI_TILE_ROWS - 1, VAEI_WIDEST_DOT);
    const size_t step_count = vaei_min_size(steps, VAEI_BLOCK_STEPS), lanes = VAEI_WIDEST_VECTOR;
    const size_t vectors = (vaei_max_size(columns, lanes > 1 ? rows : 1) + lanes - 1) / lanes;
    const size_t width = vaei_min_size(vectors * lanes, VAEI_WIDEST_PANEL);
    const size_t column_count = vaei_max_size(width, VAEI_WIDEST_DOT);
    const size_t pointers = 2 * row_count + column_count, offsets = (packs_a ? 3 : 2) * step_count;
    const size_t align = lanes * sizeof(vae_real);
    const size_t tables = ((pointers * sizeof(void *) + offsets * sizeof(size_t) + align - 1) / align) * lanes;
    const size_t edge = lanes > 1 ? VAEI_TILE_ROWS * width : 0, panel = step_count * width;
    if (work) {
        work->a_rows = (const vae_real **)(void *)scratch;
        work->b_columns = work->a_rows + row_count;
        work->c_rows = (vae_real **)(void *)(work->b_columns + column_count);
        work->a_offsets = (size_t *)(void *)(work->c_rows + row_count);
        work->b_offsets = work->a_offsets + step_count;
        work->packed_offsets = work->b_offsets + step_count;
        work->panel = scratch + tables;
        work->edge = work->panel + panel;
        work->start = work->edge + edge;
        work->packed_a = packs_a ? work->start + width : NULL;
        memset(work->start, 0, width * sizeof *work->start);
    }
    return tables + panel + edge + width + (packs_a ? step_count * VAEI_PACKED_ROWS : 0);
}

/* The scratch, in numbers, for one call of vaei_multiply with any set. */
VAEI_PRIVATE size_t vaei_product_scratch(size_t rows, size_t columns, size_t steps) {
    return vaei_lay_out_scratch(rows, columns, steps, vaei_is_large(rows, columns), NULL, NULL);
}

/* ---- Blocks ---- */

/* Where `steps` steps of a row or column lie, from step `begin` on. */
VAEI_PRIVATE void vaei_find_steps(const uint32_t *segments, size_t segment_step, size_t run, size_t step,
                                  size_t begin, size_t steps, size_t *offsets) {
    size_t segment = begin ? begin / run : 0, t = begin ? begin % run : 0, k = 0;
    while (k < steps) {
        const size_t end = k + vaei_min_size(run - t, steps - k);
        size_t offset = vaei_entry(segments, segment_step, segment++) + t * step;
        for (; k < end; k++, offset += step) offsets[k] = offset;
        t = 0;
    }
}

/* The next block begins where the last one ended. */
VAEI_PRIVATE void vaei_next_block(vaei_work *work, size_t steps) {
    const vaei_product *p = work->p;
    work->begin += work->steps;
    work->steps = steps;
    work->from_c = work->begin || p->accumulate;
    work->relu = p->relu && work->begin + steps == p->segments * p->run;
    vaei_find_steps(p->a_segments, p->a_segment, p->run, p->a_step, work->begin, steps, work->a_offsets);
    vaei_find_steps(p->b_segments, p->b_segment, p->run, p->b_step, work->begin, steps, work->b_offsets);
}

/* As few blocks as VAEI_BLOCK_STEPS allows, of about the same size. */
VAEI_PRIVATE size_t vaei_block_steps(size_t steps) {
    const size_t blocks = (steps + VAEI_BLOCK_STEPS - 1) / VAEI_BLOCK_STEPS;
    return blocks > 1 ? (steps + blocks - 1) / blocks : steps;
}

/* ---- Packing ---- */

/* Do numbers that lie `step` apart fall into few sets of a cache, and so drive each other out? */
VAEI_PRIVATE int vaei_share_sets(size_t step) { return step % 128 == 0; }

/* Does packing A pay? It does where its rows or steps, or C's rows, share cache sets, and where small tiles would read
   a long column of A again for every few columns of B. */
VAEI_PRIVATE int vaei_packs_a(const vaei_product_kernels *kernels, const vaei_product *p) {
    if (!p->b_packed && !vaei_is_large(p->rows, p->columns)) return 0;
    if (p->a_step != 1 && kernels->panel * kernels->lanes < 32) return p->segments * p->run >= 64;
    return vaei_share_sets(p->a_step) || vaei_share_sets(p->a_row) || vaei_share_sets(p->c_row);
}

/* Packs the block's rows of A into strips of VAEI_STRIP rows. In a strip each step's numbers lie side by side, one step
   after the other. */
VAEI_PRIVATE void vaei_pack_a(const vaei_work *work, size_t rows) {
    vae_real *strip = work->packed_a;
    size_t first, i;
    for (first = 0; first < rows; first += VAEI_STRIP, strip += VAEI_STRIP * work->steps) {
        const size_t count = vaei_min_size(VAEI_STRIP, rows - first);
        work->kernels->pack(work->a_rows + first, work->a_offsets, count, work->steps, strip, VAEI_STRIP);
        for (i = 0; i < count; i++) work->a_rows[first + i] = strip + i;
    }
    for (i = rows; i < rows + VAEI_TILE_ROWS - 1; i++) work->a_rows[i] = work->a_rows[rows - 1];
    for (i = 0; i < work->steps; i++) work->packed_offsets[i] = i * VAEI_STRIP;
}

/* Packs `columns` columns of the block's B, from column `first` on: each step's numbers side by side, filled up with
   zeros to `width`, one step after the other. */
VAEI_PRIVATE void vaei_pack_b(const vaei_work *work, size_t first, size_t columns, size_t width, vae_real *to) {
    const vae_real *b = work->p->b + first * work->p->b_column;
    size_t i;
    for (i = 0; i < columns; i++, b += work->p->b_column) work->b_columns[i] = b;
    work->kernels->pack(work->b_columns, work->b_offsets, columns, work->steps, to, width);
}

/* ---- Panels ---- */

/* The next columns that are taken together, and the kernels that take them. */
typedef struct vaei_panel {
    const vaei_product_kernels *kernels;
    size_t vectors, width, columns;                         /* columns <= width = vectors * lanes */
} vaei_panel;

/* The next panel of the columns that are left, as a rule `vectors` wide. Up to half a vector at the end is left to the
   set of half the lanes. A last panel of one vector is avoided, since its tiles load more than they multiply: the last
   two are about equally wide instead. */
VAEI_PRIVATE vaei_panel vaei_next_panel(const vaei_product_kernels *kernels, size_t vectors, size_t columns_left) {
    vaei_panel next;
    size_t     lanes, left;
    next.kernels = kernels->half && columns_left <= kernels->half->lanes ? kernels->half : kernels;
    lanes = next.kernels->lanes;
    left = (columns_left + lanes - 1) / lanes;
    if (next.kernels->half && columns_left > lanes && (columns_left - 1) % lanes < lanes / 2) left--;
    next.vectors = left <= next.kernels->wide ? left : left == vectors + 1 ? (left + 1) / 2 : vectors;
    while (!next.kernels->tall[next.vectors - 1].rows && !next.kernels->low[next.vectors - 1].rows) next.vectors--;
    next.width = next.vectors * lanes;
    next.columns = vaei_min_size(next.width, columns_left);
    return next;
}

/* How many of a panel's tiles are tall. If the last rows fit into a low tile it takes them: fewer of its rows are
   computed for nothing. */
VAEI_PRIVATE size_t vaei_tall_tiles(size_t tall, size_t low, size_t rows) {
    if (!low) return (rows + tall - 1) / tall;
    return !tall ? 0 : rows / tall + (rows % tall > low);
}

/* Runs a tile that is wider than the columns left: its part of C goes through a tile in scratch. */
VAEI_APART void vaei_run_edge_tile(const vaei_work *work, const vaei_tile_kernel *kernel, const vaei_tile *tile,
                                   size_t columns, size_t width, size_t rows) {
    vae_real *edge[VAEI_TILE_ROWS];
    vaei_tile own = *tile;
    size_t r;
    for (r = 0; r < kernel->rows; r++) {
        edge[r] = work->edge + r * width;
        if (!work->from_c) continue;
        memcpy(edge[r], tile->c_rows[r] + tile->column, columns * sizeof *edge[r]);
        memset(edge[r] + columns, 0, (width - columns) * sizeof *edge[r]);
    }
    own.c_rows = edge;
    own.column = 0;
    kernel->run(&own);
    for (r = 0; r < rows; r++) memcpy(tile->c_rows[r] + tile->column, edge[r], columns * sizeof *edge[r]);
}

/* Computes one panel of columns for the block of rows. */
VAEI_APART void vaei_run_panel(const vaei_work *work, const vaei_panel *panel, size_t column, size_t rows) {
    const vaei_product *p = work->p;
    const vaei_product_kernels *kernels = panel->kernels;
    const size_t vectors = panel->vectors, width = panel->width, columns = panel->columns;
    const vaei_tile_kernel *tall = &kernels->tall[vectors - 1], *low = &kernels->low[vectors - 1], *kernel;
    /* With up to 8 rows packing B costs more than it saves; with few rows or few steps it does, too, unless the steps
       share cache sets. */
    const int in_place = rows <= 8 || (!vaei_share_sets(p->b_step) && (rows <= 32 || work->steps <= 64));
    size_t tall_tiles = vaei_tall_tiles(tall->rows, low->rows, rows), done, count;
    vaei_tile tile;
    tile.column = column;
    tile.a_offsets = work->packed_a ? work->packed_offsets : work->a_offsets;
    tile.steps = work->steps;
    tile.b = work->panel;
    tile.b_step = width;
    tile.panel = NULL;
    tile.from_c = work->from_c;
    tile.start = work->start;
    tile.relu = work->relu;
    if (p->b_packed) tile.b = p->b + work->begin * p->b_step + column * work->steps;
    else if (work->b_even && columns == width && (in_place || (vectors == kernels->panel && tall_tiles))) {
        tile.b = p->b + work->b_offsets[0] + column;
        tile.b_step = p->b_step;
        if (!in_place) tile.panel = work->panel;
    } else vaei_pack_b(work, column, columns, width, work->panel);
    if (p->bias && columns == width) tile.start = p->bias + column;
    else if (p->bias) memcpy(work->start, p->bias + column, columns * sizeof *work->start);
    for (done = 0; done < rows; done += tile.rows) {
        kernel = tall_tiles ? tall : low;
        count = tall_tiles ? tall_tiles : (rows - done + low->rows - 1) / low->rows;
        if (tile.panel || columns < width) count = 1;
        if (tall_tiles) tall_tiles -= count;
        tile.rows = count * kernel->rows;
        tile.a_rows = work->a_rows + done;
        tile.c_rows = work->c_rows + done;
        if (tile.panel) {                                   /* the first tile packs B for the others */
            kernels->packing_tile(&tile);
            tile.b = tile.panel;
            tile.b_step = width;
            tile.panel = NULL;
        } else if (columns == width) kernel->run(&tile);
        else vaei_run_edge_tile(work, kernel, &tile, columns, width, vaei_min_size(kernel->rows, rows - done));
    }
}

/* ---- Three ways through a block of steps: panels, a single row or column, sweeps ---- */

/* One block of rows after the other, panel by panel. */
VAEI_APART void vaei_block_of_panels(const vaei_work *work) {
    const vaei_product *p = work->p;
    const size_t most = work->packed_a ? VAEI_PACKED_ROWS : VAEI_BLOCK_ROWS;
    size_t first, column, rows, vectors, i;
    for (first = 0; first < p->rows; first += rows) {
        rows = vaei_min_size(most, p->rows - first);
        vectors = rows <= 32 && !p->b_packed ? work->kernels->wide : work->kernels->panel;
        for (i = 0; i < rows + VAEI_TILE_ROWS - 1; i++) {   /* tiles may reach beyond the last row: it is repeated */
            const size_t row = first + vaei_min_size(i, rows - 1);
            work->a_rows[i] = p->a + vaei_entry(p->a_rows, p->a_row, row);
            work->c_rows[i] = p->c + vaei_entry(p->c_rows, p->c_row, row);
        }
        if (work->packed_a) vaei_pack_a(work, rows);
        for (column = 0; column < p->columns;) {
            const vaei_panel panel = vaei_next_panel(work->kernels, vectors, p->columns - column);
            vaei_run_panel(work, &panel, column, rows);
            column += panel.columns;
        }
    }
}

/* A single row or column of C, by vaei_dot. */
VAEI_APART void vaei_block_of_one(const vaei_work *work, int is_column) {
    const vaei_product *p = work->p;
    const size_t count = is_column ? p->rows : p->columns, width = VAEI_DOT_VECTORS * work->kernels->lanes;
    vae_real sums[VAEI_WIDEST_DOT], **c = work->c_rows;
    size_t first, i;
    for (first = 0; first < count; first += width) {
        for (i = 0; i < width; i++) {                       /* the last one is repeated */
            const size_t at = vaei_min_size(first + i, count - 1), row = is_column ? at : 0;
            c[i] = p->c + vaei_entry(p->c_rows, p->c_row, row) + (at - row);
            work->b_columns[i] = is_column ? p->a + vaei_entry(p->a_rows, p->a_row, row) : p->b + at * p->b_column;
            sums[i] = work->from_c ? *c[i] : p->bias ? p->bias[at - row] : 0;
        }
        if (is_column) work->kernels->dot(p->b, work->b_offsets, work->b_columns, work->a_offsets, work->steps, sums);
        else work->kernels->dot(p->a + vaei_entry(p->a_rows, p->a_row, 0), work->a_offsets, work->b_columns,
                                work->b_offsets, work->steps, sums);
        for (i = 0; i < width; i++) *c[i] = work->relu && sums[i] < 0 ? 0 : sums[i];
    }
}

/* ---- The product ---- */

VAEI_PRIVATE void vaei_begin_work(vaei_work *work, const vaei_product_kernels *kernels, const vaei_product *p,
                                  vae_real *scratch) {
    work->p = p;
    work->kernels = kernels;
    work->begin = work->steps = 0;
    work->b_even = p->b_column == 1 && (p->segments == 1 || (!p->b_segments && p->b_segment == p->run * p->b_step));
    (void)vaei_lay_out_scratch(p->rows, p->columns, p->segments * p->run, vaei_packs_a(kernels, p), work, scratch);
}

/* Which way a product is computed depends on its shape alone, and no bit of the result depends on the way. */
VAEI_APART void vaei_multiply(const vaei_kernel_set *set, const vaei_product *p, vae_real *scratch) {
    const vaei_product_kernels *kernels = set->product;
    const vaei_product_kernels *narrow = kernels->half ? kernels->half : kernels;
    const size_t steps = p->segments * p->run;
    const size_t most = vaei_block_steps(steps);
    /* A single column would leave its vectors mostly empty; a single row uses each number of B once, so that packing B
       would take longer than the product. Where B lies in rows it is read in that order, since the row waits for it. */
    const int has_dot = narrow->dot && !p->b_packed;
    const int is_column = has_dot && p->columns == 1 && p->rows >= narrow->lanes && p->a_step == 1 && p->run >= 4;
    const int is_row = has_dot && p->rows == 1 && p->columns >= narrow->lanes && p->b_column != 1;
    const int is_swept = p->rows == 1 && p->b_column == 1 && !p->b_packed && p->columns >= 2 * kernels->lanes;
    size_t left;
    vaei_work work;
    if (!p->rows || !p->columns) return;
    if (!steps) { vaei_multiply_naive(p); return; }         /* C, bias or zero: no product is added */
    vaei_begin_work(&work, is_column || is_row ? narrow : kernels, p, scratch);
    for (left = steps; left > 0; left -= work.steps) {
        vaei_next_block(&work, vaei_min_size(left, most));
        if (is_swept) {
            vae_real *c = p->c + vaei_entry(p->c_rows, p->c_row, 0);
            kernels->sweep(p->a + vaei_entry(p->a_rows, p->a_row, 0), work.a_offsets, p->b, work.b_offsets, work.steps,
                           work.from_c ? c : p->bias, c, p->columns, work.relu);
        } else if (is_column || is_row) vaei_block_of_one(&work, is_column);
        else vaei_block_of_panels(&work);
    }
}

/* ---- One B for several products ---- */

/* The columns of all panels together, of which the last may reach beyond the product's. */
VAEI_PRIVATE size_t vaei_packed_columns(const vaei_kernel_set *set, size_t columns) {
    const size_t lanes = set->product->lanes;
    return (columns + lanes - 1) / lanes * lanes;
}

/* Packs those panels of B that begin in columns first .. end - 1 into `to`, which has room for vaei_packed_columns
   numbers per step: block of steps after block, and in each panel after panel. */
VAEI_PRIVATE void vaei_pack_panels(const vaei_kernel_set *set, const vaei_product *p, size_t first, size_t end,
                                   vae_real *to, vae_real *scratch) {
    const size_t steps = p->segments * p->run, most = vaei_block_steps(steps);
    const size_t all = vaei_packed_columns(set, p->columns);
    size_t       column, left;
    vaei_panel   panel;
    vaei_work    work;
    vaei_begin_work(&work, set->product, p, scratch);
    for (left = steps; left > 0; left -= work.steps) {
        vaei_next_block(&work, vaei_min_size(left, most));
        for (column = 0; column < end; column += panel.columns) {
            panel = vaei_next_panel(set->product, set->product->panel, p->columns - column);
            if (column >= first)
                vaei_pack_b(&work, column, panel.columns, panel.width, to + work.begin * all + column * work.steps);
        }
    }
}

/* The same product, with B as vaei_pack_panels packed it. It may still be divided by rows, but not by columns. */
VAEI_PRIVATE vaei_product vaei_product_packed(const vaei_kernel_set *set, const vaei_product *p,
                                              const vae_real *packed) {
    vaei_product made = *p;
    made.b = packed;
    made.b_step = vaei_packed_columns(set, p->columns);
    made.b_packed = 1;
    return made;
}
#endif /* VAE_SMALL */

/* ---- The choice of a kernel set ---- */

VAE_API const char *vae_kernels_name(vae_kernels kernels) {
    static const char *const names[] = { "best", "plain", "portable", "avx2", "avx512", "neon" };
    return (size_t)kernels < sizeof names / sizeof names[0] ? names[kernels] : "unknown";
}

/* The set; NULL if this build does not have it. */
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
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return kernels != VAE_KERNELS_AVX2 && kernels != VAE_KERNELS_AVX512;
    if (kernels == VAE_KERNELS_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
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

/* ==== 22 >>tables ================================================================================================= */

/* Each likelihood, optimiser and schedule is a row of a table. The rest of the code calls through the row and does not
   ask which one it has: a new one is a row, its functions and its place in the enum. The enum's value is the index; row
   0 is not used, since every 0 has been replaced by its default. */

/* What a setting stands for. Filling in the defaults leaves VAE_ZERO in its field, so that the filled config can be
   given again; here it becomes 0. It is recognised by its bits, since comparing a NaN may trap. */
VAEI_PRIVATE vae_real vaei_setting(vae_real field) {
    const vae_real zero = VAE_ZERO;
    return memcmp(&field, &zero, sizeof zero) == 0 ? (vae_real)0 : field;
}

/* ---- likelihoods ----

   The formulas of -log p(x | z) stand with vae_likelihood, in the public part. Here `output` is what the decoder gives
   for a row: l, or the pairs l, v; x is the row, as the network sees it: standardised where the model standardises.
   What does not depend on x and l (the density's constants, log sigma) is left out of a score: it is row_nats below. */

#define VAEI_HALF_LOG_TWO_PI ((vae_wide)0.91893853320467274178)

/* What a likelihood needs to know besides outputs and pixels: sigma, and the nats that follow from it. Set once for
   each pass. */
typedef struct vaei_sigmas {
    size_t          channels;   /* of an image */
    vae_wide        sigma;      /* of all pixels, */
    const vae_real *inverse;    /* ... unless each has its own: 1 / sigma of each, else NULL */
    vae_wide        row_nats;   /* what every row's nats begin with: the density's constants, log sigma and, where the
                                   model standardises, log scale, summed over its pixels */
    const vae_wide *pixel_nats; /* the same of each pixel, where numbers may be missing; else NULL */
} vaei_sigmas;

struct vaei_pairs;

typedef struct vaei_likelihood {
    const char *name;           /* in files */
    const char *symbol;         /* in error messages */
    int         outputs;        /* numbers a pixel: 1, or 2: see vaei_pairs */
    vae_real    low, high;      /* pixels allowed, as the network sees them */
    vae_real    absent;         /* a first output that leaves a pixel of 0 no nats; the second one is 0 then */
    vae_wide    constant;       /* nats of a pixel, whatever its value */
    int         has_sigma;      /* it has a sigma, and the decoder's last layer may have any activation */
    int         power;          /* sigma fits best where sigma^power is the mean of |x - output|^power */
    int         is_bounded;     /* every gradient lies within [-1, 1] */
    int         is_binary;      /* data are 0 and 1, or grey: their probability of 1, which has an entropy of its own */
    int         tells_bits;     /* p is a probability of whatever data there are: progress shows bits per dimension */
    int         draws_normals;  /* `draw` wants standard normals */
    /* One row of n numbers: the sum of -log p(x | output) but for row_nats, and, if d is not NULL, its gradient times
       `scale`. d may be output. */
    vae_wide  (*score)(const vaei_kernel_set *set, size_t n, const vae_real *output, const vae_real *x,
                       const vaei_sigmas *sigmas, vae_real scale, vae_real *d);
    /* `pixels` may be output. */
    void      (*mean)(const vaei_kernel_set *set, size_t n, const vae_real *output, const vaei_sigmas *sigmas,
                      vae_real *pixels);
    vae_wide  (*bias_for_mean)(vae_wide mean);          /* the output whose mean is this */
    vae_wide  (*bias_for_variance)(vae_wide variance);  /* the second output for this variance, or NULL */
    /* Draws the pixels from i on, whose outputs are p's, into p->first. `random` holds standard normals or, without
       `draws_normals`, uniform multiples of 2^-24 from 0 up to below 1. */
    void      (*draw)(const vaei_kernel_set *set, struct vaei_pairs *p, size_t i, const vaei_sigmas *sigmas,
                      const vae_real *random);
    vae_wide  (*variance)(vae_wide output, vae_wide second, vae_wide sigma);  /* of the pixel */
} vaei_likelihood;

/* Gradient with respect to l: sigmoid(l) - x. The last few elements are filled up with logits of -128, which leave a
   pixel of 0 no nats. */
VAEI_PRIVATE vae_wide vaei_score_bernoulli(const vaei_kernel_set *set, size_t n, const vae_real *output,
                                           const vae_real *x, const vaei_sigmas *sigmas, vae_real scale, vae_real *d) {
    (void)sigmas;
    return vaei_sum(set->bernoulli, n, output, x, -128, scale, d);
}

/* Gradient with respect to l: the mean at l, minus x. */
VAEI_PRIVATE vae_wide vaei_score_continuous_bernoulli(const vaei_kernel_set *set, size_t n, const vae_real *output,
                                                      const vae_real *x, const vaei_sigmas *sigmas, vae_real scale,
                                                      vae_real *d) {
    (void)sigmas;
    return vaei_sum(set->continuous_bernoulli, n, output, x, 0, scale, d);
}

/* residual = (l - x)/sigma: the nats are residual^2/2, the gradient with respect to l is residual/sigma. */
VAEI_PRIVATE vae_wide vaei_score_gaussian(const vaei_kernel_set *set, size_t n, const vae_real *output,
                                          const vae_real *x, const vaei_sigmas *sigmas, vae_real scale, vae_real *d) {
    const vae_real s = (vae_real)sigmas->sigma;
    vae_wide       sum = 0;
    size_t         i;
    if (!sigmas->inverse) return vaei_gaussian(set, n, output, x, 1 / (s * s), scale, d);
    for (i = 0; i < n; i++) {
        const vae_real residual = (output[i] - x[i]) * sigmas->inverse[i];
        sum += VAEI_ROUNDED((vae_wide)residual * (vae_wide)residual);
        if (d) d[i] = residual * sigmas->inverse[i] * scale;
    }
    return sum * (vae_wide)0.5;
}

/* residual = (l - x)/sigma: the nats are |residual|, the gradient with respect to l is sign(residual)/sigma, and 0
   where l = x. */
VAEI_PRIVATE vae_wide vaei_score_laplace(const vaei_kernel_set *set, size_t n, const vae_real *output,
                                         const vae_real *x, const vaei_sigmas *sigmas, vae_real scale, vae_real *d) {
    vae_wide sum = 0;
    size_t i;
    if (!sigmas->inverse) {
        const vae_real inverse = 1 / (vae_real)sigmas->sigma;
        return VAEI_ROUNDED(vaei_sum(set->laplace, n, output, x, 0, inverse * scale, d) * (vae_wide)inverse);
    }
    for (i = 0; i < n; i++) {
        const vae_real residual = (output[i] - x[i]) * sigmas->inverse[i];
        sum += (vae_wide)(residual < 0 ? -residual : residual);
        if (d) d[i] = residual < 0 ? -sigmas->inverse[i] * scale : residual > 0 ? sigmas->inverse[i] * scale : 0;
    }
    return sum;
}

VAEI_PRIVATE void vaei_mean_sigmoid(const vaei_kernel_set *set, size_t n, const vae_real *output,
                                    const vaei_sigmas *sigmas, vae_real *pixels) {
    (void)sigmas;
    vaei_activate(set, VAE_SIGMOID, n, output, pixels);
}

VAEI_PRIVATE void vaei_mean_identity(const vaei_kernel_set *set, size_t n, const vae_real *output,
                                     const vaei_sigmas *sigmas, vae_real *pixels) {
    (void)sigmas;
    vaei_activate(set, VAE_LINEAR, n, output, pixels);
}

/* Pixels of 0, and means of 0 for vaei_reparameterize, which then is exp(logvar/2) epsilon. */
static const vae_real vaei_zeros[VAEI_SUM_LANES] = { 0 };

/* The gradient with respect to l is mean - x, so for pixels of 0 it is the mean. */
VAEI_PRIVATE void vaei_mean_continuous_bernoulli(const vaei_kernel_set *set, size_t n, const vae_real *output,
                                                 const vaei_sigmas *sigmas, vae_real *pixels) {
    size_t done, count;
    (void)sigmas;
    for (done = 0; done < n; done += count) {
        count = vaei_min_size(n - done, VAEI_SUM_LANES);
        (void)vaei_sum(set->continuous_bernoulli, count, output + done, vaei_zeros, 0, 1, pixels + done);
    }
}

/* ---- two numbers a pixel ----

   The decoder's output then is an image of twice the channels, channels last: at each position the first numbers of all
   channels, then the second ones. Rows are taken some pixels at a time, which the kernels find side by side. A pixel's
   two places in the output belong to it alone and are read before they are written, so that the gradient may replace
   the output; and no pixel's number in a row is larger than its place in the output, so that pixels may, too. */
typedef struct vaei_pairs {
    size_t   count;
    size_t   at[VAEI_SUM_LANES];                            /* the first number's place, the second is `channels` on */
    vae_real first[VAEI_SUM_LANES], second[VAEI_SUM_LANES];     /* the second only where there are two */
} vaei_pairs;

/* Where the first number of pixel i stands. */
VAEI_PRIVATE size_t vaei_output_place(size_t channels, int outputs, size_t i) {
    return outputs == 1 ? i : i / channels * (2 * channels) + i % channels;
}

/* x clamped to [low, high]. A NaN stays NaN; it is recognised by its bits, since clang's -Ofast takes it for
   impossible. */
VAEI_PRIVATE vae_real vaei_clamp(vae_real x, vae_real low, vae_real high) {
    const vae_real raised = low > x ? low : x;
    return vaei_is_nan(x) ? x : high < raised ? high : raised;
}

/* The gradient `slope` of vaei_clamp: where a bound binds, it passes only if a step against it leads back inside. The
   reason stands with vaei_bound_logvar_backward. */
VAEI_PRIVATE vae_real vaei_clamp_backward(vae_real clamped, vae_real low, vae_real high, vae_real slope) {
    return (!(clamped < high) && slope < 0) || (!(clamped > low) && slope > 0) ? 0 : slope;
}

/* The pairs of the pixels from `i` on, the second numbers clamped. */
VAEI_PRIVATE void vaei_read_pairs(vaei_pairs *p, size_t n, size_t i, const vae_real *output, size_t channels,
                                  vae_real low, vae_real high) {
    size_t at = vaei_output_place(channels, 2, i), channel = i % channels, j;
    p->count = vaei_min_size(n - i, VAEI_SUM_LANES);
    for (j = 0; j < p->count; j++) {
        p->at[j] = at;
        p->first[j] = output[at];
        p->second[j] = vaei_clamp(output[at + channels], low, high);
        at++;
        if (++channel < channels) continue;
        channel = 0;
        at += channels;
    }
}

#define VAEI_LEAST_PREDICTED ((vae_real)-12)    /* sigma 1/400, less than the step from one byte to the next */
#define VAEI_MOST_PREDICTED ((vae_real)40)      /* sigma 5e8, as far as pixels go */
VAEI_PRIVATE vae_wide vaei_clamp_predicted(vae_wide v) {
    return (vae_wide)vaei_clamp((vae_real)v, VAEI_LEAST_PREDICTED, VAEI_MOST_PREDICTED);
}

/* residual = (l - x)/sigma; the nats are residual^2/2 + v/2, their derivatives with respect to l and v residual/sigma
   and (1 - residual^2)/2. */
VAEI_PRIVATE vae_wide vaei_score_gaussian_predicted(const vaei_kernel_set *set, size_t n, const vae_real *output,
                                                    const vae_real *x, const vaei_sigmas *sigmas, vae_real scale,
                                                    vae_real *d) {
    const vae_real low = VAEI_LEAST_PREDICTED, high = VAEI_MOST_PREDICTED;
    vaei_pairs     p;
    vae_real       residual[VAEI_SUM_LANES], minus[VAEI_SUM_LANES];
    vae_wide       sum = 0;
    size_t         i, j;
    for (i = 0; i < n; i += p.count) {
        vaei_read_pairs(&p, n, i, output, sigmas->channels, low, high);
        for (j = 0; j < p.count; j++) {
            residual[j] = p.first[j] - x[i + j];
            minus[j] = -p.second[j];
        }
        /* With mean 0 and logvar -v a reparameterisation is exp(-v/2) (l - x), the residual; the second one below
           divides by sigma once more, as the gradient does. So the kernels need nothing of their own for this
           likelihood. */
        vaei_reparameterize(set, p.count, vaei_zeros, minus, residual, residual);
        for (j = 0; j < p.count; j++)
            sum += VAEI_ROUNDED((vae_wide)residual[j] * (vae_wide)residual[j]) + (vae_wide)p.second[j];
        if (!d) continue;
        vaei_reparameterize(set, p.count, vaei_zeros, minus, residual, p.first);
        for (j = 0; j < p.count; j++) {
            const vae_real slope = (1 - VAEI_ROUNDED(residual[j] * residual[j])) * (vae_real)0.5;
            d[p.at[j]] = p.first[j] * scale;
            d[p.at[j] + sigmas->channels] = vaei_clamp_backward(p.second[j], low, high, slope) * scale;
        }
    }
    return sum * (vae_wide)0.5;
}

/* For likelihoods of two numbers a pixel whose mean is the first. */
VAEI_PRIVATE void vaei_mean_first(const vaei_kernel_set *set, size_t n, const vae_real *output,
                                  const vaei_sigmas *sigmas, vae_real *pixels) {
    size_t i;
    (void)set;
    for (i = 0; i < n; i++) pixels[i] = output[vaei_output_place(sigmas->channels, 2, i)];
}

#define VAEI_LEAST_LOGISTIC ((vae_real)-8)      /* the level that holds the mean then has .994 or more */
#define VAEI_MOST_LOGISTIC ((vae_real)4)        /* ... and all levels between the first and the last .005 */
VAEI_PRIVATE vae_wide vaei_clamp_logistic(vae_wide v) {
    return (vae_wide)vaei_clamp((vae_real)v, VAEI_LEAST_LOGISTIC, VAEI_MOST_LOGISTIC);
}

/* delta = 1/(255 exp v), the width of a level in units of the scale. */
VAEI_APART void vaei_level_widths(const vaei_kernel_set *set, const vaei_pairs *p, vae_real *delta) {
    static const vae_real level = (vae_real)(1 / 255.0);
    vae_real              levels[VAEI_SUM_LANES];
    size_t                j;
    for (j = 0; j < p->count; j++) {
        levels[j] = level;
        delta[j] = -2 * p->second[j];
    }
    /* With logvar -2 v that is exp(-v) times a level's width. */
    vaei_reparameterize(set, p->count, vaei_zeros, delta, levels, delta);
}

/* With a and b the upper and the lower end of the pixel's level in units of the scale, seen from l, and delta = a - b,
   sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(-delta)): so the nats are
   softplus(-a) + softplus(b) - log(1 - exp(-delta)), in which nothing cancels. The first level has no b, the last no a,
   and neither has the last term. That is log delta plus the continuous Bernoulli's nats of a pixel 1 at l = delta, of
   which a pixel 0 at l = 0 has none. */
VAEI_PRIVATE vae_wide vaei_score_discretized_logistic(const vaei_kernel_set *set, size_t n, const vae_real *output,
                                                      const vae_real *x, const vaei_sigmas *sigmas, vae_real scale,
                                                      vae_real *d) {
    const vae_real low = VAEI_LEAST_LOGISTIC, high = VAEI_MOST_LOGISTIC;
    vaei_pairs     p;
    vae_real       delta[VAEI_SUM_LANES], ends[2 * VAEI_SUM_LANES], made[2 * VAEI_SUM_LANES];
    vae_real       within[VAEI_SUM_LANES];
    vae_wide       sum = 0;
    size_t         i, j;
    for (i = 0; i < n; i += p.count) {
        vae_real *const upper = made, *const lower = made + VAEI_SUM_LANES;
        vae_real *const minus_a = ends, *const b = ends + VAEI_SUM_LANES;
        vaei_read_pairs(&p, n, i, output, sigmas->channels, low, high);
        memset(ends, 0, sizeof ends);
        vaei_level_widths(set, &p, delta);
        /* Lanes without a pixel keep their zeros: they are computed along and never read. */
        for (j = 0; j < p.count; j++) {
            const int      level = (int)(VAEI_ROUNDED(255 * x[i + j]) + (vae_real)0.5);
            const vae_real distance = (vae_real)level - VAEI_ROUNDED(255 * p.first[j]);
            const int      inner = level > 0 && level < 255;
            minus_a[j] = -(distance + (vae_real)0.5) * delta[j];
            b[j] = (distance - (vae_real)0.5) * delta[j];
            within[j] = (vae_real)inner;
            p.first[j] = inner ? delta[j] : 0;
            if (level == 255) minus_a[j] = -1000;       /* its softplus and its sigmoid are 0 */
            if (level == 0) b[j] = -1000;
        }
        vaei_activate(set, VAE_SOFTPLUS, 2 * VAEI_SUM_LANES, ends, made);
        for (j = 0; j < p.count; j++) {
            sum += (vae_wide)upper[j] + (vae_wide)lower[j];
            if (p.first[j] > 0) sum += (vae_wide)p.second[j] + (vae_wide)5.54126354515842934;   /* log 255 */
        }
        sum -= vaei_sum(set->continuous_bernoulli, p.count, p.first, within, 0, 1, d ? p.first : NULL);
        if (!d) continue;
        vaei_activate(set, VAE_SIGMOID, 2 * VAEI_SUM_LANES, ends, made);
        for (j = 0; j < p.count; j++) {
            /* delta/(exp(delta) - 1), and the derivative of the rest with respect to log s */
            const vae_real width = within[j] > 0 ? 1 + VAEI_ROUNDED(delta[j] * p.first[j]) : 0;
            const vae_real slope = width - (VAEI_ROUNDED(minus_a[j] * upper[j]) + VAEI_ROUNDED(b[j] * lower[j]));
            /* A step of l moves a and b by -255 delta each; `upper` is sigmoid(-a) now and `lower` sigmoid(b). */
            d[p.at[j]] = (upper[j] - lower[j]) * (255 * delta[j]) * scale;
            d[p.at[j] + sigmas->channels] = vaei_clamp_backward(p.second[j], low, high, slope) * scale;
        }
    }
    return sum;
}

/* The mean level is the sum over k = 1 .. 255 of the probability of k or more, sigmoid((255 l - k + 1/2) delta), which
   is 1 or 0 where it is further than 18 from the middle. */
VAEI_APART vae_wide vaei_mean_level(const vaei_kernel_set *set, vae_real l, vae_real delta) {
    const vae_real middle = 255 * vaei_clamp(l, (vae_real)-1e6, (vae_real)1e6), away = 18 / delta;
    const vae_real low = middle - away, high = middle + away;
    const int      begin = low > 1 ? low < 256 ? (int)low : 256 : 1;      /* NaN takes all levels */
    const int      end = high < 255 ? high > 0 ? (int)high + 2 : 1 : 256;
    vae_real       shares[VAEI_SUM_LANES];
    vae_wide       sum = (vae_wide)(begin - 1);
    size_t         count, k;
    int            level;
    for (level = begin; level < end; level += (int)count) {
        count = vaei_min_size((size_t)(end - level), VAEI_SUM_LANES);
        for (k = 0; k < count; k++) shares[k] = (middle - ((vae_real)(level + (int)k) - (vae_real)0.5)) * delta;
        vaei_activate(set, VAE_SIGMOID, count, shares, shares);
        for (k = 0; k < count; k++) sum += (vae_wide)shares[k];
    }
    return sum;
}

/* Where the scale is two levels or more that sum is an integral, softplus, and what the midpoint rule adds at its ends,
   at 0 and 1: by Euler and Maclaurin's formula up to the third derivative, to 1e-9. */
VAEI_PRIVATE void vaei_mean_discretized_logistic(const vaei_kernel_set *set, size_t n, const vae_real *output,
                                                 const vaei_sigmas *sigmas, vae_real *pixels) {
    vaei_pairs p;
    vae_real   delta[VAEI_SUM_LANES], ends[2 * VAEI_SUM_LANES];
    size_t     i, j;
    int        sigmoids;
    for (i = 0; i < n; i += p.count) {
        vaei_read_pairs(&p, n, i, output, sigmas->channels, VAEI_LEAST_LOGISTIC, VAEI_MOST_LOGISTIC);
        memset(ends, 0, sizeof ends);
        vaei_level_widths(set, &p, delta);
        for (sigmoids = 0; sigmoids < 2; sigmoids++) {      /* of the same arguments, in one place: less stack */
            for (j = 0; j < p.count; j++) {
                ends[j] = 255 * p.first[j] * delta[j];
                ends[j + VAEI_SUM_LANES] = 255 * (p.first[j] - 1) * delta[j];
            }
            vaei_activate(set, sigmoids ? VAE_SIGMOID : VAE_SOFTPLUS, 2 * VAEI_SUM_LANES, ends, ends);
            for (j = 0; !sigmoids && j < p.count; j++) p.second[j] = ends[j] - ends[j + VAEI_SUM_LANES];
        }
        for (j = 0; j < p.count; j++) {
            const vae_wide width = (vae_wide)delta[j];
            const vae_wide at_0 = (vae_wide)ends[j], at_1 = (vae_wide)ends[j + VAEI_SUM_LANES];
            const vae_wide slope_0 = at_0 * (1 - at_0), slope_1 = at_1 * (1 - at_1);
            const vae_wide third_0 = slope_0 * (1 - VAEI_ROUNDED(6 * slope_0));
            const vae_wide third_1 = slope_1 * (1 - VAEI_ROUNDED(6 * slope_1));
            vae_wide     level;
            /* With l far outside [0, 1] the integral is the difference of two large numbers: little of it is left. */
            if (delta[j] < (vae_real)0.5 && p.first[j] > -2 && p.first[j] < 3) {
                level = (vae_wide)p.second[j] / width;
                level += VAEI_ROUNDED(width / 24 * (slope_1 - slope_0));
                level -= VAEI_ROUNDED(width * width * width * (7 / (vae_wide)5760) * (third_1 - third_0));
            } else level = vaei_mean_level(set, p.first[j], delta[j]);
            pixels[i + j] = vaei_clamp((vae_real)(level / 255), 0, 1);
        }
    }
}

/* ---- drawn pixels ----

   From a uniform number u the inverse of the distribution function gives the pixel. A random number serves one pixel,
   so that each pixel's value depends on seed, row and place alone. */

VAEI_PRIVATE void vaei_draw_bernoulli(const vaei_kernel_set *set, vaei_pairs *p, size_t i, const vaei_sigmas *sigmas,
                                      const vae_real *random) {
    size_t j;
    (void)i;
    (void)sigmas;
    vaei_activate(set, VAE_SIGMOID, p->count, p->first, p->first);
    /* `random` may be 0 but not 1: so probability 1 always gives a one, and probability 0 never does. */
    for (j = 0; j < p->count; j++) p->first[j] = random[j] < p->first[j];
}

/* The middle of the interval that a uniform number stands for: never 0 or 1. A float has room for the middles of
   intervals that are twice as long. */
VAEI_PRIVATE vae_wide vaei_middle(vae_real uniform) {
    if (VAEI_WIDE_IS_FLOAT) return ((vae_wide)(int32_t)(uniform * 8388608) + (vae_wide)0.5) / 8388608;
    return (vae_wide)uniform + (vae_wide)1.0 / 33554432;
}

/* With a = |l| the distribution function is (1 - exp(-a x))/(1 - exp(-a)), where x is counted from 1 downwards if l is
   above 0. */
VAEI_PRIVATE void vaei_draw_continuous_bernoulli(const vaei_kernel_set *set, vaei_pairs *p, size_t i,
                                                 const vaei_sigmas *sigmas, const vae_real *random) {
    size_t j;
    (void)set;
    (void)i;
    (void)sigmas;
    for (j = 0; j < p->count; j++) {
        const int    above = p->first[j] > 0;
        const vae_wide a = above ? (vae_wide)p->first[j] : -(vae_wide)p->first[j];
        const vae_wide u = above ? 1 - vaei_middle(random[j]) : vaei_middle(random[j]);
        const vae_wide share = VAEI_ROUNDED(u * (1 - vaei_scalar_exp(-a)));
        /* Near a = 0 the density is flat, and the formula 0 / 0. */
        const vae_wide x = a < VAEI_BY_WIDTH(1e-5, 1e-3) ? u : -vaei_scalar_log(1 - share) / a;
        p->first[j] = (vae_real)(above ? 1 - x : x);
    }
}

/* The sigma of pixel i. */
VAEI_PRIVATE vae_wide vaei_pixel_sigma(const vaei_sigmas *sigmas, size_t i) {
    return sigmas->inverse ? 1 / (vae_wide)sigmas->inverse[i] : sigmas->sigma;
}

/* l + sigma times a standard normal. */
VAEI_PRIVATE void vaei_draw_gaussian(const vaei_kernel_set *set, vaei_pairs *p, size_t i, const vaei_sigmas *sigmas,
                                     const vae_real *random) {
    size_t j;
    (void)set;
    for (j = 0; j < p->count; j++) {
        const vae_wide noise = VAEI_ROUNDED(vaei_pixel_sigma(sigmas, i + j) * (vae_wide)random[j]);
        p->first[j] = (vae_real)((vae_wide)p->first[j] + noise);
    }
}

/* u below 1/2 gives l + sigma log(2 u), the rest its mirror image. */
VAEI_PRIVATE void vaei_draw_laplace(const vaei_kernel_set *set, vaei_pairs *p, size_t i, const vaei_sigmas *sigmas,
                                    const vae_real *random) {
    size_t j;
    (void)set;
    for (j = 0; j < p->count; j++) {
        const vae_wide u = vaei_middle(random[j]), tail = 2 * (u < (vae_wide)0.5 ? u : 1 - u);
        const vae_wide noise = VAEI_ROUNDED(vaei_pixel_sigma(sigmas, i + j) * vaei_scalar_log(tail));
        p->first[j] = (vae_real)((vae_wide)p->first[j] + (u < (vae_wide)0.5 ? noise : -noise));
    }
}

/* l + exp(v/2) times a standard normal, which is what a reparameterisation computes. */
VAEI_PRIVATE void vaei_draw_gaussian_predicted(const vaei_kernel_set *set, vaei_pairs *p, size_t i,
                                               const vaei_sigmas *sigmas, const vae_real *random) {
    size_t j;
    (void)i;
    (void)sigmas;
    for (j = 0; j < p->count; j++) p->second[j] = vaei_clamp(p->second[j], VAEI_LEAST_PREDICTED, VAEI_MOST_PREDICTED);
    vaei_reparameterize(set, p->count, p->first, p->second, random, p->first);
}

/* The level in which a number drawn from the logistic distribution lies. NaN gives 0: the row is not finite anyway. */
VAEI_PRIVATE void vaei_draw_discretized_logistic(const vaei_kernel_set *set, vaei_pairs *p, size_t i,
                                                 const vaei_sigmas *sigmas, const vae_real *random) {
    size_t j;
    (void)set;
    (void)i;
    (void)sigmas;
    for (j = 0; j < p->count; j++) {
        const vae_wide u = vaei_middle(random[j]);
        const vae_wide scale = vaei_scalar_exp(vaei_clamp_logistic((vae_wide)p->second[j]));
        const vae_wide x = (vae_wide)p->first[j] + VAEI_ROUNDED(scale * vaei_scalar_log(u / (1 - u)));
        p->first[j] =
            (vae_real)(x < 1 ? x > 0 ? (int)(VAEI_ROUNDED(255 * x) + (vae_wide)0.5) : 0 : x >= 1 ? 255 : 0) / 255;
    }
}

/* The v whose sigma^2 = exp(v) is this variance. */
VAEI_SETUP vae_wide vaei_bias_predicted(vae_wide variance) {
    /* A pixel that never changes has no logarithm of a variance. */
    if (!(variance > 0)) return (vae_wide)VAEI_LEAST_PREDICTED;
    return vaei_clamp_predicted(vaei_scalar_log(variance));
}

/* A logistic distribution of scale s has variance (pi s)^2/3. */
VAEI_SETUP vae_wide vaei_bias_logistic(vae_wide variance) {
    if (!(variance > 0)) return (vae_wide)VAEI_LEAST_LOGISTIC;
    return vaei_clamp_logistic((vaei_scalar_log(variance) - (vae_wide)1.19084748) / 2);
}

/* The l whose sigmoid is this mean; clamped to [0.001, 0.999], as l would be infinite at 0 and 1. */
VAEI_SETUP vae_wide vaei_bias_logit(vae_wide mean) {
    const vae_wide least = (vae_wide)0.001, most = (vae_wide)0.999;
    mean = mean < least ? least : mean > most ? most : mean;
    return vaei_scalar_log(mean / (1 - mean));
}

/* The l with this mean, by bisection: there is no closed form. */
VAEI_SETUP vae_wide vaei_bias_continuous_bernoulli(vae_wide mean) {
    /* The density at l is the mirror image of that at -l, so that only means up to 1/2 are searched for. */
    const int above = mean > (vae_wide)0.5;
    vae_wide  low = 0, high = 1000;         /* of |l|, where the mean of -|l| is 1/|l| - 1/(exp |l| - 1) */
    int       i;
    if (above) mean = 1 - mean;
    mean = mean < (vae_wide)0.001 ? (vae_wide)0.001 : mean;
    for (i = 0; i < 60; i++) {
        const vae_wide a = (low + high) / 2;
        const vae_wide at =
            a < VAEI_BY_WIDTH(1e-3, 0.1) ? (vae_wide)0.5 - a / 12 : 1 / a - 1 / (vaei_scalar_exp(a) - 1);
        if (at > mean) low = a;
        else high = a;
    }
    return above ? low : -low;
}

VAEI_SETUP vae_wide vaei_bias_identity(vae_wide mean) { return mean; }

/* p (1 - p), with p = sigmoid(l) */
VAEI_PRIVATE vae_wide vaei_variance_bernoulli(vae_wide output, vae_wide second, vae_wide sigma) {
    const vae_wide e = vaei_scalar_exp(output < 0 ? output : -output);
    (void)second;
    (void)sigma;
    return e / ((1 + e) * (1 + e));
}

VAEI_PRIVATE vae_wide vaei_variance_gaussian(vae_wide output, vae_wide second, vae_wide sigma) {
    (void)output;
    (void)second;
    return sigma * sigma;
}

/* A Laplace distribution of scale sigma has variance 2 sigma^2. */
VAEI_PRIVATE vae_wide vaei_variance_laplace(vae_wide output, vae_wide second, vae_wide sigma) {
    (void)output;
    (void)second;
    return 2 * sigma * sigma;
}

/* The derivative of the mean: 1/l^2 - exp(-l)/(1 - exp(-l))^2, near 0 by its series. */
VAEI_PRIVATE vae_wide vaei_variance_continuous_bernoulli(vae_wide output, vae_wide second, vae_wide sigma) {
    const vae_wide l = output < 0 ? -output : output, square = l * l, e = vaei_scalar_exp(-l);
    (void)second;
    (void)sigma;
    if (l < (vae_wide)0.5)
        return (vae_wide)1.0 / 12 - square / 240 + square * square / 6048 - square * square * square / 172800;
    return 1 / square - e / ((1 - e) * (1 - e));
}

VAEI_PRIVATE vae_wide vaei_variance_gaussian_predicted(vae_wide output, vae_wide second, vae_wide sigma) {
    (void)output;
    (void)sigma;
    return vaei_scalar_exp(vaei_clamp_predicted(second));
}

/* From the probabilities of level k or more, k = 1 .. 255: E x = sum P_k, E x^2 = sum (2 k - 1) P_k, in levels. Where
   they are 0 or 1 to nine digits they are taken so. */
VAEI_PRIVATE vae_wide vaei_variance_discretized_logistic(vae_wide output, vae_wide second, vae_wide sigma) {
    const vae_wide scale = 255 * vaei_scalar_exp(vaei_clamp_logistic(second));
    vae_wide     first = 0, square = 0;
    int          k;
    (void)sigma;
    for (k = 1; k < 256; k++) {
        const vae_wide a = (255 * output - (vae_wide)k + (vae_wide)0.5) / scale;
        const vae_wide p = a > 20 ? 1 : a > -20 ? 1 / (1 + vaei_scalar_exp(-a)) : 0;
        first += p;
        square += (vae_wide)(2 * k - 1) * p;
    }
    return square > first * first ? (square - first * first) / ((vae_wide)255 * 255) : 0;
}

/* The largest pixel allowed: small enough that squares, their sums over a row and gradients stay within a float. */
#define VAEI_PIXEL_LIMIT 1e9
#define VAEI_MOST_PIXEL ((vae_real)VAEI_PIXEL_LIMIT)

#define VAEI_LOG_TWO ((vae_wide)0.69314718055994530942)

/* name, symbol, outputs, low, high, absent, constant;
   has_sigma, power, is_bounded, is_binary, tells_bits, draws_normals;
   score, mean, bias_for_mean, bias_for_variance, draw, variance */
static const vaei_likelihood vaei_likelihoods[] = {
    { "", "", 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL },
    { "bernoulli", "VAE_BERNOULLI", 1, 0, 1, -128, 0, 0, 0, 1, 1, 0, 0,
      VAEI_SCORING(vaei_score_bernoulli), vaei_mean_sigmoid, VAEI_SCORING(vaei_bias_logit), NULL,
      VAEI_EXTRA(vaei_draw_bernoulli),
      VAEI_EXTRA(vaei_variance_bernoulli) },
    { "gaussian", "VAE_GAUSSIAN", 1, -VAEI_MOST_PIXEL, VAEI_MOST_PIXEL, 0, VAEI_HALF_LOG_TWO_PI, 1, 2, 0, 0, 0, 1,
      VAEI_SCORING(vaei_score_gaussian), vaei_mean_identity, vaei_bias_identity, NULL, VAEI_EXTRA(vaei_draw_gaussian),
      VAEI_EXTRA(vaei_variance_gaussian) },
#ifndef VAE_BASIC
    { "laplace", "VAE_LAPLACE", 1, -VAEI_MOST_PIXEL, VAEI_MOST_PIXEL, 0, VAEI_LOG_TWO, 1, 1, 0, 0, 0, 0,
      vaei_score_laplace, vaei_mean_identity, vaei_bias_identity, NULL, vaei_draw_laplace, vaei_variance_laplace },
    { "continuous_bernoulli", "VAE_CONTINUOUS_BERNOULLI", 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0,
      vaei_score_continuous_bernoulli, vaei_mean_continuous_bernoulli, vaei_bias_continuous_bernoulli, NULL,
      vaei_draw_continuous_bernoulli, vaei_variance_continuous_bernoulli },
    { "gaussian_predicted", "VAE_GAUSSIAN_PREDICTED", 2, -VAEI_MOST_PIXEL, VAEI_MOST_PIXEL, 0, VAEI_HALF_LOG_TWO_PI,
      0, 0, 0, 0, 0, 1,
      vaei_score_gaussian_predicted, vaei_mean_first, vaei_bias_identity, vaei_bias_predicted,
      vaei_draw_gaussian_predicted, vaei_variance_gaussian_predicted },
    { "discretized_logistic", "VAE_DISCRETIZED_LOGISTIC", 2, 0, 1, -10000, 0, 0, 0, 0, 0, 1, 0,
      vaei_score_discretized_logistic, vaei_mean_discretized_logistic, vaei_bias_identity, vaei_bias_logistic,
      vaei_draw_discretized_logistic, vaei_variance_discretized_logistic }
#endif
};
#define VAEI_LIKELIHOODS ((int)(sizeof vaei_likelihoods / sizeof vaei_likelihoods[0]))

/* Pixels of one row, drawn from its outputs, whose place they may take. `row` counts all rows ever drawn. */
VAEI_PRIVATE void vaei_draw_pixels(const vaei_kernel_set *set, const vaei_likelihood *likelihood, size_t n,
                                   const vae_real *output, const vaei_sigmas *sigmas, uint64_t seed, uint64_t row,
                                   vae_real *pixels) {
    vaei_pairs p;
    vae_real   random[VAEI_SUM_LANES];
    size_t     i, j;
    for (i = 0; i < n; i += p.count) {
        p.count = vaei_min_size(n - i, VAEI_SUM_LANES);
        for (j = 0; j < p.count; j++) {
            const size_t at = vaei_output_place(sigmas->channels, likelihood->outputs, i + j);
            p.first[j] = output[at];
            if (likelihood->outputs > 1) p.second[j] = output[at + sigmas->channels];
        }
        vaei_random_elements(set, likelihood->draws_normals, seed, VAEI_STREAM_PIXELS, 0, row, i, p.count, random);
        likelihood->draw(set, &p, i, sigmas, random);
        memcpy(pixels + i, p.first, p.count * sizeof *pixels);
    }
}

/* ---- optimisers ----

   A row's `begin` turns the settings and the step into a few constants, its kernel (in >>vector-math) then updates a
   span of parameters with them. So powers, schedules and bias corrections are computed once an update, as vae_wide, and
   the kernel needs nothing but multiply-adds, a square root and a quotient. */

/* What a checkpoint keeps for each weight: the weight, then the optimiser's moments, the mean gradient m, the mean
   squared gradient v and the mean squared update u; and the weight of the best epoch (or, while that one is in place,
   the last). A model has some of these blocks, a file names each: see vaei_block_names. */
enum { VAEI_BLOCK_WEIGHTS, VAEI_BLOCK_M, VAEI_BLOCK_V, VAEI_BLOCK_U, VAEI_BLOCK_BEST, VAEI_BLOCKS };
#define VAEI_MAX_MOMENTS 2

typedef struct vaei_optimizer {
    const char          *name, *symbol;     /* in files; in error messages */
    int                  moments;           /* numbers kept for each parameter */
    unsigned char        blocks[VAEI_MAX_MOMENTS];          /* what they are */
    vae_real             learning_rate, weight_decay;       /* defaults; 0: it has no such setting */
    vae_real             beta1, beta2, epsilon, momentum;
    /* Sets the constants of update number `step`, counted from 0; `rate` is the learning rate of that update. */
    void               (*begin)(vaei_update_step *update, const vae_optimizer *settings, vae_wide rate, uint64_t step);
    vaei_update_kernel *(*kernel)(const vaei_kernel_set *set);
} vaei_optimizer;

/* Kingma and Ba 2015, algorithm 1, with PyTorch's place for epsilon; t = step + 1:
   p -= rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon) */
VAEI_PRIVATE void vaei_begin_adam(vaei_update_step *update, const vae_optimizer *settings, vae_wide rate,
                                  uint64_t step) {
    const vae_wide beta1 = (vae_wide)vaei_setting(settings->beta1), beta2 = (vae_wide)vaei_setting(settings->beta2);
    update->beta1 = (vae_real)beta1;
    update->beta2 = (vae_real)beta2;
    update->one_minus_beta1 = (vae_real)(1 - beta1);
    update->one_minus_beta2 = (vae_real)(1 - beta2);
    /* Both bias corrections become constants of the update: sqrt(v / c) is sqrt(v) times a constant. */
    update->rate = (vae_real)(rate / vaei_one_minus_power(beta1, step + 1));
    update->inverse_root = 1 / vaei_sqrt((vae_real)vaei_one_minus_power(beta2, step + 1));
    update->epsilon = settings->epsilon;
    update->decay = vaei_setting(settings->weight_decay);
    update->shrink = 1;
}

/* Loshchilov and Hutter 2019, algorithm 2: the decay shrinks the weights directly and stays out of the moments. */
VAEI_PRIVATE void vaei_begin_adamw(vaei_update_step *update, const vae_optimizer *settings, vae_wide rate,
                                   uint64_t step) {
    vaei_begin_adam(update, settings, rate, step);
    update->shrink = (vae_real)(1 - rate * (vae_wide)update->decay);
    update->decay = 0;
}

/* m = momentum m + g, p -= rate m, as PyTorch has it; the kernel knows the momentum as beta1. */
VAEI_PRIVATE void vaei_begin_sgd(vaei_update_step *update, const vae_optimizer *settings, vae_wide rate,
                                 uint64_t step) {
    (void)step;
    memset(update, 0, sizeof *update);
    update->beta1 = vaei_setting(settings->momentum);
    update->rate = (vae_real)rate;
    update->decay = vaei_setting(settings->weight_decay);
    update->shrink = 1;
}

/* For VAE_RMSPROP and VAE_ADADELTA, which have no bias correction and so do not depend on the step. */
VAEI_PRIVATE void vaei_begin_squares(vaei_update_step *update, const vae_optimizer *settings, vae_wide rate,
                                     uint64_t step) {
    const vae_wide beta2 = (vae_wide)vaei_setting(settings->beta2);
    vaei_begin_sgd(update, settings, rate, step);
    update->beta2 = (vae_real)beta2;
    update->one_minus_beta2 = (vae_real)(1 - beta2);
    update->epsilon = settings->epsilon;
}

/* The table is constant, but which kernel an optimiser has depends on the set that the model picked. */
VAEI_PRIVATE vaei_update_kernel *vaei_adam_of(const vaei_kernel_set *set) { return set->adam; }
VAEI_PRIVATE vaei_update_kernel *vaei_sgd_of(const vaei_kernel_set *set) { return set->sgd; }
VAEI_PRIVATE vaei_update_kernel *vaei_rmsprop_of(const vaei_kernel_set *set) { return set->rmsprop; }
VAEI_PRIVATE vaei_update_kernel *vaei_adadelta_of(const vaei_kernel_set *set) { return set->adadelta; }

/* name, symbol, moments, blocks; the defaults of learning_rate, weight_decay, beta1, beta2, epsilon, momentum; begin,
   kernel */
static const vaei_optimizer vaei_optimizers[] = {
    { "", "", 0, { 0, 0 }, 0, 0, 0, 0, 0, 0, NULL, NULL },
    { "adam", "VAE_ADAM", 2, { VAEI_BLOCK_M, VAEI_BLOCK_V }, (vae_real)1e-3, VAE_ZERO, (vae_real)0.9, (vae_real)0.999,
      (vae_real)1e-8, 0, VAEI_TRAINING(vaei_begin_adam), VAEI_TRAINING(vaei_adam_of) },
    { "adamw", "VAE_ADAMW", 2, { VAEI_BLOCK_M, VAEI_BLOCK_V }, (vae_real)1e-3, (vae_real)1e-2, (vae_real)0.9,
      (vae_real)0.999, (vae_real)1e-8, 0, VAEI_TRAINING(vaei_begin_adamw), VAEI_TRAINING(vaei_adam_of) },
    { "sgd", "VAE_SGD", 1, { VAEI_BLOCK_M, 0 }, (vae_real)1e-2, VAE_ZERO, 0, 0, 0, (vae_real)0.9,
      VAEI_TRAINING(vaei_begin_sgd), VAEI_TRAINING(vaei_sgd_of) },
#ifndef VAE_BASIC
    { "rmsprop", "VAE_RMSPROP", 1, { VAEI_BLOCK_V, 0 }, (vae_real)1e-3, VAE_ZERO, 0, (vae_real)0.99, (vae_real)1e-8, 0,
      vaei_begin_squares, vaei_rmsprop_of },
    { "adadelta", "VAE_ADADELTA", 2, { VAEI_BLOCK_V, VAEI_BLOCK_U }, 1, VAE_ZERO, 0, (vae_real)0.9, (vae_real)1e-6, 0,
      vaei_begin_squares, vaei_adadelta_of }
#endif
};
#define VAEI_OPTIMIZERS ((int)(sizeof vaei_optimizers / sizeof vaei_optimizers[0]))

/* ---- schedules ----

   Each is a function of the step alone: a resumed run needs to know nothing else. */

/* cos(pi x) for 0 <= x <= 1, by its series about the nearer of 0 and 1/2. */
VAEI_PRIVATE vae_wide vaei_cosine(vae_wide x) {
    const vae_wide quarter = (vae_wide)0.25, nearest = x < quarter ? x : x > 3 * quarter ? 1 - x : 2 * quarter - x;
    const vae_wide y = (vae_wide)3.14159265358979323846 * nearest, z = VAEI_ROUNDED(y * y);
    const int      outer = x < quarter || x > 3 * quarter;
    vae_wide       sum = 1;
    int            k;
    for (k = 20; k >= 2; k -= 2) sum = 1 - VAEI_ROUNDED(sum * z) / (vae_wide)(k * (outer ? k - 1 : k + 1));
    return outer ? (x < quarter ? sum : -sum) : VAEI_ROUNDED(sum * y);
}

/* The warm-up that a schedule may have: none, of any length, less than `steps`, or 1 to `steps`. */
enum { VAEI_NO_WARMUP, VAEI_ANY_WARMUP, VAEI_SHORTER_WARMUP, VAEI_WARMUP_WITHIN };

typedef struct vaei_schedule {
    const char *name, *symbol;                                          /* in files; in error messages */
    vae_wide  (*factor)(const vae_schedule *schedule, uint64_t step);   /* of update `step`, from 0 */
    char        warmup, has_to;
    char        multiplies;                                             /* by `to`, which must not be 0 */
} vaei_schedule;

VAEI_PRIVATE vae_wide vaei_constant(const vae_schedule *schedule, uint64_t step) {
    (void)schedule;
    (void)step;
    return 1;
}

/* Rises evenly from `from` to 1 over `steps` updates. */
VAEI_PRIVATE vae_wide vaei_rise(vae_wide from, uint64_t steps, uint64_t step) {
    return step >= steps ? 1 : from + VAEI_ROUNDED((1 - from) * ((vae_wide)step / (vae_wide)steps));
}

/* Of the functions below t is the update's number, from 0, or counted from the end of the warm-up where there is one.
   from + (1 - from) t / steps, then 1. */
VAEI_PRIVATE vae_wide vaei_warmup(const vae_schedule *schedule, uint64_t step) {
    return vaei_rise((vae_wide)schedule->from, schedule->steps, step);
}

/* to + (1 - to)/2 (1 + cos(pi t/T)), with t and T counted from the end of the warm-up: Loshchilov and Hutter 2017,
   equation 5. */
VAEI_PRIVATE vae_wide vaei_cosine_decay(const vae_schedule *schedule, uint64_t step) {
    const vae_wide to = (vae_wide)schedule->to;
    if (step < schedule->warmup) return vaei_rise((vae_wide)schedule->from, schedule->warmup, step);
    if (step >= schedule->steps) return to;
    return to + VAEI_ROUNDED((1 - to) / 2 * (1 + vaei_cosine((vae_wide)(step - schedule->warmup) /
                                                             (vae_wide)(schedule->steps - schedule->warmup))));
}

/* to^(t / steps), the exponent rounded down. */
VAEI_PRIVATE vae_wide vaei_stepwise(const vae_schedule *schedule, uint64_t step) {
    if (step < schedule->warmup) return vaei_rise((vae_wide)schedule->from, schedule->warmup, step);
    return vaei_power((vae_wide)schedule->to, (step - schedule->warmup) / schedule->steps);
}

/* to^(t / steps). */
VAEI_PRIVATE vae_wide vaei_exponential(const vae_schedule *schedule, uint64_t step) {
    if (step < schedule->warmup) return vaei_rise((vae_wide)schedule->from, schedule->warmup, step);
    /* `to` is above 0 here: vaei_check_schedule refuses 0 for rows that multiply. */
    return vaei_scalar_exp(VAEI_ROUNDED(vaei_scalar_log((vae_wide)schedule->to) *
                                        ((vae_wide)(step - schedule->warmup) / (vae_wide)schedule->steps)));
}

/* from + (1 - from) r / warmup, then 1, with r = t mod steps: Fu et al. 2019, equation 6. */
VAEI_PRIVATE vae_wide vaei_cyclical(const vae_schedule *schedule, uint64_t step) {
    return vaei_rise((vae_wide)schedule->from, schedule->warmup, step % schedule->steps);
}

/* name, symbol, factor, warmup, has_to, multiplies */
static const vaei_schedule vaei_schedules[] = {
    { "", "", vaei_constant, VAEI_NO_WARMUP, 0, 0 },
    { "constant", "VAE_CONSTANT", vaei_constant, VAEI_NO_WARMUP, 0, 0 },
#ifndef VAE_BASIC
    { "warmup", "VAE_WARMUP", vaei_warmup, VAEI_NO_WARMUP, 0, 0 },
    { "cosine", "VAE_COSINE", vaei_cosine_decay, VAEI_SHORTER_WARMUP, 1, 0 },
    { "step", "VAE_STEP", vaei_stepwise, VAEI_ANY_WARMUP, 1, 1 },
    { "exponential", "VAE_EXPONENTIAL", vaei_exponential, VAEI_ANY_WARMUP, 1, 1 },
    { "cyclical", "VAE_CYCLICAL", vaei_cyclical, VAEI_WARMUP_WITHIN, 0, 0 }
#endif
};
#define VAEI_SCHEDULES ((int)(sizeof vaei_schedules / sizeof vaei_schedules[0]))

/* ==== 23 >>plan =================================================================================================== */
/*
   A config becomes a plan once, when a model is made: each layer's shapes, where its weights lie in the parameter
   block, where its tensors lie in the workspace, and, for convolutions, the tables that turn them into matrix products.

   The layers stand in one array: the encoder's, the heads (one dense layer whose first `latent` outputs are the mean
   and whose others are the logvar; where they are shared, it has the first ones only), the decoder's. They form two
   chains, the encoder with the heads and the decoder; a model of one part holds one of them. A chain is walked in
   stages. A stage of dense layers takes the whole batch at once, so that the matrix products are large. A stage of
   convolutions is walked depth-first in micro-batches of a few images, so that what one layer writes is still in the
   cache when the next reads it. For the same reason inference, which needs no row again, takes only a few rows at
   once, however large the batch. Between stages tensors are flat: one row per example, channels last.

   The examples of a batch are cut twice: into micro-batches, which a stage of convolutions takes one after the other,
   and into chunks of some micro-batches, which workers take. The gradients of a chunk have an area of their own.

   The plan lies in the model's own block, whose size must be known before there is one. So the same walk over the
   config is made twice: first it only counts, then it fills the block. Both times each layer's shapes are derived anew
   from the config when they are needed, so that no memory is needed to remember them. The block holds

   model | layers | stages | tables of convolutions | weights | gradients | moments | best weights | workspace | pool

   and the workspace holds

   batch, noise, z, row terms | tensors of the layers | sums of weight gradients, a chunk each | slots, a thread each

   where a slot has the tensors of one micro-batch, and what a product needs to pack its factors.

   An example: input 28 x 28 x 1, latent 16, encoder conv(32), conv(64), decoder its mirror image.

     index in the network   0     1     2      3      4       5
     layer                  conv  conv  heads  dense  conv^T  conv^T
     chain                  encoder ........   decoder ............
     stage                  0 ........  1      2      3 ...........

   Stage 3 is fused: each row goes through the likelihood and back while it is in the cache, since nothing needs the
   whole batch in between. A batch of 128 is cut into micro-batches of 16, each a chunk of its own here, and up to eight
   threads share the chunks out. One thread takes the same chunks one after the other: so the gradients are summed in
   the same order, and the bits are the same.

   In the order of this section:
     what a plan holds           the structs, from the block down to a convolution's tables
     shapes, the network         what each layer makes of its input, whether written out or mirrored
     defaults and checks         every setting that is refused, and the sentence that says why
     names, counts               the first walk: how many stages and parameters there are, how large chunks may be
     memory of the tensors       the second walk, made twice: where every tensor lies
     tables of the convolutions  which turn them into matrix products
*/

#include <limits.h>

/* ---- one block, handed out in pieces ---- */

/* Each piece begins at a multiple of this: a cache line, which is also the widest vector; without vectors, what any
   type needs. */
#if defined(VAEI_HAS_VECTOR) || defined(VAEI_HAS_X86) || defined(VAEI_HAS_NEON)
#define VAEI_ALIGNMENT 64
#else
#define VAEI_ALIGNMENT 8
#endif

/* Hands out consecutive pieces of one block. With base NULL it only counts: the same code that lays a model out also
   says how large it is. `used` may become VAEI_TOO_LARGE. */
typedef struct vaei_arena {
    char  *base;
    size_t used;
} vaei_arena;

VAEI_PRIVATE void *vaei_take(vaei_arena *arena, size_t count, size_t size) {
    /* used is always a multiple of the alignment: what is added is rounded up. */
    const size_t start = arena->used, end = vaei_plus(vaei_plus(start, vaei_times(count, size)), VAEI_ALIGNMENT - 1);
    arena->used = end == VAEI_TOO_LARGE ? end : end / VAEI_ALIGNMENT * VAEI_ALIGNMENT;
    return arena->base ? (void *)(arena->base + start) : NULL;
}

VAEI_PRIVATE vae_real *vaei_take_reals(vaei_arena *arena, size_t count) {
    return (vae_real *)vaei_take(arena, count, sizeof(vae_real));
}

/* ---- what a plan holds ---- */

/* How a tensor of images lies in memory: each image inside a border of zeros, so that convolutions need no bounds
   checks. Strides count numbers, not bytes. */
typedef struct vaei_image {
    int    height, width, channels;
    size_t row, image;      /* from a row to the next, from an image to the next */
    size_t origin;          /* the first number inside the border */
} vaei_image;

#define VAEI_MICRO_BATCH_NUMBERS 204800 /* most in a micro-batch's largest tensor: it stays in the second-level cache */
#define VAEI_MICRO_BATCH_IMAGES 16      /* most in a micro-batch */
#define VAEI_CHUNK_NUMBERS 8388608      /* most in all chunks' weight gradients together */
#define VAEI_INFERENCE_ROWS 192         /* most that inference takes at once per thread: what a layer writes is then in
                                           the cache for the next */

/* Where a tensor lies: in the workspace, with room for the whole batch, or in every worker's slot, with room for one
   micro-batch. A slot is a worker's own piece of the workspace. */
typedef struct vaei_place {
    size_t in_slot;         /* 0 or 1, but as wide as the offset: padding would put undefined bytes into the model */
    size_t offset;          /* in numbers, from the workspace or from the slot */
} vaei_place;

/* Where a layer's tensors lie. `saved`: what the activation's derivative is computed from, which is its output or its
   input; laid out as the output. */
typedef struct vaei_places {
    vaei_place input, output, saved, input_gradient, output_gradient;
    vaei_place linear;      /* batch normalisation: its input */
    size_t     statistics;  /* ... and what VAEI_STATISTICS counts, in the workspace */
} vaei_places;

/* The output positions of a transposed convolution that meet the same taps of the kernel. They are those with the same
   parity, which here means the remainder of (position + padding) divided by the stride, in both directions. A phase is
   one matrix product; a position is a row of it. With stride 2 and a kernel of 3 x 3, for instance, there are four
   phases, of 2 x 2, 2 x 1, 1 x 2 and 1 x 1 taps. */
typedef struct vaei_phase {
    size_t    rows, taps;                   /* rows of one image */
    uint32_t *from, *to;                    /* per row of a micro-batch */
    uint32_t *from_taps, *weight_taps;      /* per tap */
} vaei_phase;

/* A convolution and its adjoint, seen as one thing. It connects a fine image (the convolution's input, the transposed
   one's output) with a coarse one (the convolution's output, the transposed one's input) through weights of shape
   [kernel_height][kernel_width][fine channels][coarse channels]. Coarse position i meets fine position
   i * stride + tap - top.
     gather   coarse = convolution of fine
     scatter  fine = transposed convolution of coarse
   Each layer uses one of them forward and the other backward. */
typedef struct vaei_connection {
    vae_shape   fine, coarse;
    int         kernel_height, kernel_width, stride_height, stride_width;
    int         top, bottom, left, right, output_padding_height, output_padding_width;
    vae_padding padding;                    /* the rule that gave those numbers */
    vaei_image  input, output, input_gradient, output_gradient;     /* of the layer */
    uint32_t   *convolve_from, *convolve_to;    /* per coarse position of a micro-batch */
    uint32_t   *kernel_lines;               /* per kernel row, from a patch's first number */
    vaei_phase *phases;
    size_t      phase_count;
    uint32_t   *weight_rows;                /* per row of the weight matrix, from a patch's first number */
    uint32_t   *fine_lines, *coarse_lines;  /* per line of coarse positions of a micro-batch: where each run of
                                               the weight gradients' sums begins */
} vaei_connection;

typedef struct vaei_layer {
    vae_layer_kind   kind;
    vae_activation   activation;
    vae_real         dropout;
    int              normalizes;                    /* batch normalisation: its weight and bias, `bias_count` numbers
                                                       each, follow the layer's bias; */
    size_t           running;                       /* ... where its running means and then variances begin; */
    int              norm_index;                    /* ... its index in the nn.Sequential */
    size_t           tensor;                        /* the first of its tensors */
    vae_shape        in, out;
    vae_shape        written;                       /* the shape that the config gives it */
    size_t           inputs, outputs;               /* numbers per example */
    size_t           classes;                       /* a dense layer that takes the label: this many rows of weights
                                                       follow those of its inputs; else 0 */
    size_t           weight, weight_count;          /* in the parameter block; tied: where the encoder layer's lie, 0 */
    size_t           weight_row;                    /* tied and dense: from one row there to the next */
    size_t           weight_partial;                /* convolution: where in its stage's span the weights' gradients
                                                       are summed; tied ones follow the span */
    size_t           bias, bias_count;
    int              is_tied;                       /* to layer 2 heads + 1 - number: see vaei_counterpart */
    int              image_in, image_out;           /* dense: that side is an image, flattened channel-first in files */
    int              name_index;                    /* in PyTorch's nn.Sequential */
    vaei_places      places;
    vaei_connection *connection;                    /* NULL: dense */
} vaei_layer;

typedef struct vaei_stage {
    int        first, count;                        /* of the layers */
    int        convolutional;
    size_t     parameter, parameter_count;          /* its span of the block, without a normalisation at its end */
    vaei_place input, output, input_gradient, output_gradient;      /* flat */
} vaei_stage;

/* Encoder (with the heads) or decoder: its layers and its stages. None of either where the model does not hold it. */
typedef struct vaei_chain {
    int first_layer, layers, first_stage, stages;       /* `layers` and `stages` are counts */
} vaei_chain;

#define VAEI_MAX_LAYERS (3 * VAE_MAX_LAYERS + 1)

/* Weight gradients of convolutions are summed within a chunk of examples, then over chunks in order: so the bits
   depend on the chunks and not on the threads. */
#define VAEI_MAX_CHUNKS 16

typedef struct vaei_plan {
    vaei_layer *layers;
    vaei_stage *stages;
    int         layer_count, stage_count;           /* without the classifier */
    vaei_chain  encoder, decoder;
    vaei_chain  classifier;                         /* its layers come after the others, in no stage */
    int         heads;                              /* the index of that layer, -1 where there is no encoder */
    vae_part    part;
    int         moments;                            /* numbers that the optimiser keeps for each weight */
    int         last_stage_layer;                   /* where the last stage begins */
    char        trains;
    char        fused;      /* the last stage runs forward, likelihood and backward on each micro-batch in turn */
    char        owns_weights, has_pool;
    char        keeps_best;                         /* there is room for a second set of weights */
    char        is_bare;                            /* no weights, tables or workspace: it only names the tensors */
    char        free_activation;                    /* the decoder's last layer may have any activation */
    char        finishes_in_place;                  /* the likelihood's gradient replaces the decoder's output */
    char        has_weights;                        /* the samples of a row have importance weights, */
    char        has_free_bits;                      /* ... dimensions of z may be free of the KL's gradient */
    char        is_conditional;                     /* every row needs its label, and so does every z */
    char        has_target;                         /* `target` is a place of its own */
    int         threads;
    size_t      example, latent, batch;             /* numbers in an example, in z; examples in a batch */
    size_t      classes;                            /* that a label may name; 0: rows have no labels */
    size_t      samples, decoder_batch;             /* z of each example in training; rows of the decoder then */
    size_t      output;                             /* numbers that the decoder gives for an example */
    size_t      micro, chunk;                       /* examples in a micro-batch; in a chunk, a multiple of it */
    size_t      rows;                               /* that inference takes at once: a batch at most */
    size_t      parameter_count;                    /* numbers that are trained */
    size_t      log_sigma, log_sigma_count;         /* the last of them: where they begin, how many are learned */
    size_t      constant_count;                     /* numbers after those, which are not trained: */
    size_t      standardize_mean, standardize_scale;    /* ... where these begin, `example` each, if there are any */
    size_t      running;                            /* ... where those of batch normalisation begin */
    size_t      layer_tensors;                      /* tensors that belong to layers */
    size_t      weight_count;                       /* trained numbers and constants */
    /* The workspace, in numbers: */
    size_t      workspace_size, slot_base, slot_size;   /* slot_base: where the first one begins */
    size_t      partials, partial_size, partial_count;      /* sums of a stage's gradients, one area per chunk or one
                                                       alone: where they begin, numbers in an area, how many areas */
    size_t      product_scratch;                    /* in a slot: what a product needs to pack its factors */
    vaei_place  input, target;                      /* what the encoder sees, what is scored: one place if the same */
    vaei_place  labels;                             /* an int per example, where rows have labels */
    vaei_place  means, means_gradient;              /* what the classifier takes */
    vaei_place  noise, z, logvar, z_gradient;
    vaei_place  row_terms;                          /* per row of the decoder two numbers: see vaei_row_terms */
    vaei_place  sample_weights;                     /* per row of the decoder a weight, where samples are weighted */
    vaei_place  is_free;                            /* per latent dimension, with free bits: see vaei_apply_free_bits */
    vaei_place  inverse_sigma;                      /* of each pixel, where there is more than one */
    /* Where numbers may be missing: */
    size_t      observed_size;                      /* a row's in `observed`; 0: none may be missing */
    vaei_place  observed;                           /* per example a byte for each pixel: 0 where it is not scored */
    vaei_place  pixel_nats;                         /* nats for each pixel: see vaei_sigmas */
    vaei_place  saved_outputs;                      /* the decoder's outputs for as many rows as inference takes */
} vaei_plan;

/* The settings of a config: all of its members but the layers, which stand in the plan. A new member of vae_config is a
   new entry here and, where files keep it, a row of vaei_config_fields. */
#define VAEI_SETTINGS(X) \
    X(vae_shape, input) X(int, latent) X(vae_likelihood, likelihood) X(vae_real, sigma) X(int, sigma_per_pixel) \
    X(int, standardize) X(vae_real, beta) X(vae_schedule, beta_schedule) X(vae_initialization, initialization) \
    X(vae_layout, layout) X(vae_optimizer, optimizer) X(uint64_t, seed) X(size_t, batch) X(vae_part, part) \
    X(const vae_real *, weights) X(int, inference_only) X(vae_kernels, kernels) X(int, threads) \
    X(vae_parallel, parallel) X(vae_allocator, allocator) X(int, shared_heads) X(int, tied) X(int, classes) \
    X(vae_objective, objective) X(size_t, samples) X(vae_real, free_bits) X(vae_real, capacity) \
    X(vae_schedule, capacity_schedule) X(int, keep_best) X(vae_freeze, freeze) X(vae_real, classifier_weight) \
    X(vae_corruption, corruption) X(int, binarize) X(int, missing) X(int, targets)
#define VAEI_SETTING_MEMBER(type, name) type name;
#define VAEI_SETTING_COPY(type, name) to->name = from->name;

/* What a model keeps of them, with the defaults applied; an exact 0 is still VAE_ZERO there, as in a config. */
typedef struct vaei_settings {
    VAEI_SETTINGS(VAEI_SETTING_MEMBER)
    int unfused;            /* the last stage is not fused even where it could be: for the tests */
    int tensors_only;       /* no weights, no workspace: the model can only be asked for its tensors */
} vaei_settings;

/* The classifier's included. */
VAEI_PRIVATE int vaei_all_layers(const vaei_plan *plan) { return plan->layer_count + plan->classifier.layers; }

VAEI_PRIVATE size_t vaei_shape_size(vae_shape s) {
    return vaei_times(vaei_times((size_t)s.height, (size_t)s.width), (size_t)s.channels);
}

/* The shape of what the decoder gives for an image. For a likelihood that does not exist it is the image's own: later
   vaei_check_settings says what is wrong. */
VAEI_SETUP vae_shape vaei_output_shape(vae_shape input, vae_likelihood likelihood) {
    if ((int)likelihood > 0 && (int)likelihood < VAEI_LIKELIHOODS && input.channels > 0 &&
        input.channels <= INT_MAX / 2)
        input.channels *= vaei_likelihoods[likelihood].outputs;
    return input;
}

VAEI_PRIVATE int vaei_same_shape(vae_shape a, vae_shape b) {
    return a.height == b.height && a.width == b.width && a.channels == b.channels;
}

VAEI_PRIVATE int vaei_is_dense(const vae_layer *layer) {
    return !VAEI_HAS(layer->kind != VAE_LAYER_DENSE);
}

/* ---- shapes ----

   The limits keep extents, and what strides and padding make of them, within 32 bits; sizes of tensors, which are
   products of extents, are size_t and checked one by one. */

#define VAEI_MAX_SIDE 67108864      /* each of an input's or a dense layer's three numbers, */
#define VAEI_MAX_EXTENT 65535       /* ... of an image's that a convolution takes or gives, and of padding */
#define VAEI_MAX_KERNEL 1023
#define VAEI_MAX_BATCH 16777216
#define VAEI_MAX_SAMPLES 65536
#define VAEI_MAX_LATENT 1048576
#define VAEI_MAX_CLASSES 1048576
#define VAEI_MAX_OUTPUTS 2147483647 /* numbers per example */
#define VAEI_MOST_SETTING 1e6       /* of beta, the learning rate and their like: no step can then overflow a weight */
#define VAEI_LEAST_SIGMA 1e-6       /* given as a setting, */
#define VAEI_MOST_SIGMA 1e6
#define VAEI_MOST_LOG_SIGMA 13.82   /* ... as a tensor: the log of the largest, rounded up */

typedef struct vaei_where {         /* which layer an error is about */
    const char *part;               /* "encoder", "decoder" or "mirrored decoder" */
    int         number;             /* from 1 */
} vaei_where;

/* One layer as the config describes it, with the shapes that follow. */
typedef struct vaei_layer_spec {
    vae_layer layer;                /* activation and padding rule filled in, the padding's amounts in numbers */
    vae_shape in, out;
    size_t    classes;              /* it also takes a label, one of this many; 0: it does not */
} vaei_layer_spec;

/* The larger of a and 0. */
VAEI_PRIVATE int32_t vaei_not_below_0(int32_t a) { return a > 0 ? a : 0; }

/* One axis of a convolution: returns the output's extent, or 0 with an error. With VAE_SAME it also sets the padding
   before and after, so that the output has ceil(size / stride) numbers. */
VAEI_SETUP int32_t vaei_conv_extent(vae_padding rule, int32_t size, int32_t kernel, int32_t stride, int *before,
                                    int *after, vaei_where where, vae_error *error) {
    if (rule == VAE_SAME) {
        const int32_t out = (size + stride - 1) / stride, total = vaei_not_below_0((out - 1) * stride + kernel - size);
        *before = (int)(total / 2);
        *after = (int)(total - total / 2);
        return out;
    }
    if (size + *before + *after < kernel) {
        vaei_fail(error, VAE_ERROR_CONFIG,
                  "%s layer %d: a kernel of %d does not fit an input of %d with padding %d + %d: use a smaller kernel, "
                  "more padding or VAE_SAME", where.part, where.number, (int)kernel, (int)size, *before, *after);
        return 0;
    }
    return (size + *before + *after - kernel) / stride + 1;
}

/* The same for a transposed convolution, whose padding crops the output; VAE_SAME gives size * stride numbers. */
VAEI_SETUP int32_t vaei_transposed_extent(vae_padding rule, int32_t size, int32_t kernel, int32_t stride,
                                          int output_padding, int *before, int *after, vaei_where where,
                                          vae_error *error) {
    int32_t out;
    if (rule == VAE_SAME) {
        const int32_t total = vaei_not_below_0(kernel - stride);
        *before = (int)(total / 2);
        *after = (int)(total - total / 2);
        return size * stride;
    }
    out = (size - 1) * stride - *before - *after + kernel + output_padding;
    if (out < 1)
        vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d: padding %d + %d crops the whole output of a transposed "
                  "convolution: use less padding or VAE_SAME", where.part, where.number, *before, *after);
    return out < 1 ? 0 : out;
}

VAEI_PRIVATE int vaei_has_padding(const vae_layer *layer) {
    return layer->top || layer->bottom || layer->left || layer->right || layer->output_padding_height ||
           layer->output_padding_width;
}

/* What only a dense layer must not have. */
VAEI_PRIVATE vae_status vaei_check_dense(const vae_layer *layer, vaei_where where, vae_error *error) {
    const vae_shape s = layer->shape;
    if (s.height > VAEI_MAX_SIDE || s.width > VAEI_MAX_SIDE || s.channels > VAEI_MAX_SIDE)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d gives %d x %d x %d: each may be at most "
                         VAEI_WRITTEN(VAEI_MAX_SIDE), where.part, where.number, s.height, s.width, s.channels);
    if (layer->kernel_height || layer->kernel_width || layer->stride_height || layer->stride_width ||
        vaei_has_padding(layer) || layer->padding != VAE_SAME)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d is dense and has a kernel, a stride or padding: "
                         "leave them 0, or make it a convolution", where.part, where.number);
    return VAE_OK;
}

/* A convolution's kernel, stride and padding, either way round. */
VAEI_PRIVATE vae_status vaei_check_convolution(const vae_layer *layer, vaei_where where, vae_error *error) {
    const vae_shape s = layer->shape;
    if (s.channels > VAEI_MAX_EXTENT)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has %d channels: a convolution may have at most "
                         VAEI_WRITTEN(VAEI_MAX_EXTENT), where.part, where.number, s.channels);
    if (s.height || s.width)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d gives a convolution's shape as %d x %d x %d: height and "
                         "width follow from its input, leave them 0", where.part, where.number, s.height, s.width,
                         s.channels);
    if (layer->kernel_height < 1 || layer->kernel_width < 1 || layer->stride_height < 1 || layer->stride_width < 1 ||
        layer->kernel_height > VAEI_MAX_KERNEL || layer->kernel_width > VAEI_MAX_KERNEL ||
        layer->stride_height > VAEI_MAX_KERNEL || layer->stride_width > VAEI_MAX_KERNEL)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d: kernel %d x %d, stride %d x %d: each must lie in 1..%d",
                         where.part, where.number, layer->kernel_height, layer->kernel_width, layer->stride_height,
                         layer->stride_width, VAEI_MAX_KERNEL);
    if (layer->padding == VAE_SAME && vaei_has_padding(layer))
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has amounts of padding, but VAE_SAME chooses them: "
                         "leave them 0, or make its padding VAE_EXPLICIT", where.part, where.number);
    if (layer->top < 0 || layer->bottom < 0 || layer->left < 0 || layer->right < 0 || layer->top > VAEI_MAX_EXTENT ||
        layer->bottom > VAEI_MAX_EXTENT || layer->left > VAEI_MAX_EXTENT || layer->right > VAEI_MAX_EXTENT)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d: padding %d, %d, %d, %d: each must lie in 0.."
                         VAEI_WRITTEN(VAEI_MAX_EXTENT), where.part, where.number, layer->top, layer->bottom,
                         layer->left, layer->right);
    if ((layer->output_padding_height || layer->output_padding_width) && layer->kind == VAE_LAYER_CONV)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has output padding, which only a transposed convolution "
                         "has: leave it 0", where.part, where.number);
    if (layer->output_padding_height < 0 || layer->output_padding_height >= layer->stride_height ||
        layer->output_padding_width < 0 || layer->output_padding_width >= layer->stride_width)
        return vaei_fail(error, VAE_ERROR_CONFIG,
                         "%s layer %d: output padding must be 0 or more and less than the stride", where.part,
                         where.number);
    return VAE_OK;
}

/* Checks what the config says of a layer, whose defaults are filled in already. What follows from its input's shape is
   checked later, in vaei_infer_layer. */
VAEI_SETUP vae_status vaei_check_layer(const vae_layer *layer, vaei_where where, vae_error *error) {
    const vae_shape s = layer->shape;
    const int       convolution =
        VAEI_HAS(layer->kind == VAE_LAYER_CONV || layer->kind == VAE_LAYER_CONV_TRANSPOSED);
    if (layer->kind != VAE_LAYER_DENSE && !convolution)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has kind %d: write layers with VAE_DENSE, VAE_CONV, ...",
                         where.part, where.number, (int)layer->kind);
    if ((int)layer->activation < 1 || layer->activation > VAE_SOFTPLUS)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has activation %d: use one of vae_activation",
                         where.part, where.number, (int)layer->activation);
    if (s.channels < 1 || (!convolution && (s.height < 1 || s.width < 1)))
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has no %s: give 1 or more", where.part, where.number,
                         convolution ? "channels" : "units");
    if (!vaei_finite(layer->dropout) || layer->dropout < 0 || layer->dropout >= 1)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has dropout %r: it must lie in [0, 1)", where.part,
                         where.number, VAEI_SHOWN(layer->dropout));
    if (layer->padding != VAE_SAME && layer->padding != VAE_EXPLICIT)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has padding rule %d: use VAE_SAME or VAE_EXPLICIT",
                         where.part, where.number, (int)layer->padding);
    return convolution ? vaei_check_convolution(layer, where, error) : vaei_check_dense(layer, where, error);
}

/* Whether a convolution can take or give (`does`) this image. */
VAEI_SETUP vae_status vaei_check_image(vae_shape s, const char *does, vaei_where where, vae_error *error) {
    if (s.height <= VAEI_MAX_EXTENT && s.width <= VAEI_MAX_EXTENT && s.channels <= VAEI_MAX_EXTENT) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d %s %d x %d x %d: no side may be larger than "
                     VAEI_WRITTEN(VAEI_MAX_EXTENT) " in a convolution", where.part, where.number, does, s.height,
                     s.width, s.channels);
}

/* A kernel that extends only along a side of 1 sees no neighbours: the series was given with its sides swapped. The
   answer is the same for the layer's mirror image, which takes what it gives. */
VAEI_SETUP int vaei_misses_the_series(const vaei_layer_spec *spec) {
    const vae_layer *l = &spec->layer;
    const vae_shape  in = spec->in, out = spec->out;
    const int        along_height = l->kernel_height > 1 || l->stride_height > 1;
    const int        along_width = l->kernel_width > 1 || l->stride_width > 1;
    const int        is_column = in.width == 1 && out.width == 1 && in.height > 1 && out.height > 1;
    const int        is_row = in.height == 1 && out.height == 1 && in.width > 1 && out.width > 1;
    return (is_column && along_width && !along_height) || (is_row && along_height && !along_width);
}

VAEI_SETUP void vaei_default_layer(vae_layer *layer) {
    if (!layer->activation) layer->activation = VAE_LINEAR;
    if (!layer->padding) layer->padding = VAE_SAME;
    layer->batch_norm = layer->batch_norm != 0;
}

/* What spec->layer makes of spec->in. */
VAEI_SETUP vae_status vaei_infer_layer(vaei_layer_spec *spec, vaei_where where, vae_error *error) {
    vae_layer *l = &spec->layer;
    int32_t    height, width;
    vae_status status;
    vaei_default_layer(l);
    if (where.part && (status = vaei_check_layer(l, where, error)) != VAE_OK) return status;
    spec->out = l->shape;
    if (vaei_is_dense(l)) return VAE_OK;
    if ((status = vaei_check_image(spec->in, "takes", where, error)) != VAE_OK) return status;
    if (l->kind == VAE_LAYER_CONV) {
        height = vaei_conv_extent(l->padding, spec->in.height, l->kernel_height, l->stride_height, &l->top, &l->bottom,
                                  where, error);
        if (!height) return VAE_ERROR_CONFIG;
        width = vaei_conv_extent(l->padding, spec->in.width, l->kernel_width, l->stride_width, &l->left, &l->right,
                                 where, error);
    } else {
        height = vaei_transposed_extent(l->padding, spec->in.height, l->kernel_height, l->stride_height,
                                        l->output_padding_height, &l->top, &l->bottom, where, error);
        if (!height) return VAE_ERROR_CONFIG;
        width = vaei_transposed_extent(l->padding, spec->in.width, l->kernel_width, l->stride_width,
                                       l->output_padding_width, &l->left, &l->right, where, error);
    }
    if (!width) return VAE_ERROR_CONFIG;
    if (height > VAEI_MAX_EXTENT || width > VAEI_MAX_EXTENT)
        /* As %r, since int may have 16 bits and these numbers more. */
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d gives %r x %r x %d: no side may be larger than "
                         VAEI_WRITTEN(VAEI_MAX_EXTENT) " in a convolution", where.part, where.number,
                         VAEI_SHOWN(height), VAEI_SHOWN(width), l->shape.channels);
    spec->out.height = (int)height;
    spec->out.width = (int)width;
    if (vaei_misses_the_series(spec))
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d: the kernel of %d x %d lies along a side of 1 of its %d "
                         "x %d x %d: a series is { 1, length, channels }", where.part, where.number, l->kernel_height,
                         l->kernel_width, spec->in.height, spec->in.width, spec->in.channels);
    return VAE_OK;
}

/* The same for one layer by itself, which then has its padding in numbers. */
VAEI_SETUP vae_status vaei_infer_shape(vae_layer *layer, vae_shape in, vaei_where where, vae_shape *out,
                                       vae_error *error) {
    vaei_layer_spec  spec;
    const vae_layer *l = &spec.layer;
    vae_status       status;
    spec.layer = *layer;
    spec.in = in;
    if ((status = vaei_infer_layer(&spec, where, error)) != VAE_OK) return status;
    *out = spec.out;
    *layer = spec.layer;
    if (vaei_is_dense(l)) return VAE_OK;
    layer->padding = VAE_EXPLICIT;
    if (l->padding != VAE_SAME || l->kind != VAE_LAYER_CONV_TRANSPOSED) return VAE_OK;
    layer->output_padding_height = (int)vaei_not_below_0(l->stride_height - l->kernel_height);
    layer->output_padding_width = (int)vaei_not_below_0(l->stride_width - l->kernel_width);
    return VAE_OK;
}

VAEI_SETUP int vaei_count_layers(const vae_layer *layers) {
    int count = 0;
    while (count < VAE_MAX_LAYERS && layers[count].kind != VAE_LAYER_END) count++;
    return count;
}

/* Replaces the layer by its adjoint, which undoes the change of shape: a convolution becomes a transposed one with the
   same kernel, stride and padding, and the output padding makes good what the convolution's division had rounded
   off. */
VAEI_SETUP void vaei_mirror_layer(vaei_layer_spec *spec) {
    const vae_shape in = spec->in, out = spec->out;
    vae_layer      *l = &spec->layer;
    spec->in = out;
    spec->out = in;
    l->shape = in;
    if (vaei_is_dense(l)) return;
    l->shape.height = l->shape.width = 0;
    l->output_padding_height = l->output_padding_width = 0;
    l->padding = VAE_EXPLICIT;
    if (l->kind == VAE_LAYER_CONV_TRANSPOSED) {
        l->kind = VAE_LAYER_CONV;
        return;
    }
    l->kind = VAE_LAYER_CONV_TRANSPOSED;
    l->output_padding_height = (int)((int32_t)in.height + l->top + l->bottom - l->kernel_height -
                                     ((int32_t)out.height - 1) * l->stride_height);
    l->output_padding_width = (int)((int32_t)in.width + l->left + l->right - l->kernel_width -
                                    ((int32_t)out.width - 1) * l->stride_width);
}

/* ---- the network, layer by layer ----

   Nothing stores the layers' shapes before there is a model: vaei_spec_at finds any layer's by walking through those
   before it. That is slow for deep networks and does not matter: it happens when a model is made, with few layers. */

/* Where the layers are described: in a config, whose defaults need not be filled in, or in the plan of a model. One
   index runs through them all, whether the model holds them or not:
     0 .. encoders - 1                       the encoder's
     encoders                                the heads
     encoders + 1 .. encoders + decoders     the decoder's
     and after these                         the classifier's */
typedef struct vaei_network {
    const vae_config *config;           /* or NULL: */
    const vaei_plan  *plan;
    vae_shape         input, output;    /* of the encoder, of the decoder */
    int               latent;
    int               encoders, decoders;
    int               classifiers;      /* layers of the classifier, whose indices come last */
    int               is_mirrored;      /* the config has no decoder of its own */
    int               shared_heads, tied;
    int               is_checked;       /* walking through encoder and decoder finds no fault any more */
    size_t            classes;
} vaei_network;

/* A dense layer of this shape, with nothing else set. */
VAEI_SETUP void vaei_make_dense(vae_layer *layer, vae_shape shape, vae_activation activation) {
    memset(layer, 0, sizeof *layer);
    layer->kind = VAE_LAYER_DENSE;
    layer->shape = shape;
    layer->padding = VAE_SAME;
    layer->activation = activation;
}

/* Walks through the first `count` of these layers; *spec then describes the last one. With `count` 0 only its `out` is
   set. `part` NULL: they have been checked, and what the checks take of the stack is spared. */
VAEI_SETUP vae_status vaei_walk_layers(const vae_layer *layers, int count, vae_shape in, const char *part,
                                       vaei_layer_spec *spec, vae_error *error) {
    vaei_where where;
    vae_status status = VAE_OK;
    where.part = part;
    spec->out = in;
    for (where.number = 1; status == VAE_OK && where.number <= count; where.number++) {
        spec->layer = layers[where.number - 1];
        spec->in = spec->out;
        if (!part && vaei_is_dense(&spec->layer)) {
            vaei_default_layer(&spec->layer);
            spec->out = spec->layer.shape;
        } else status = vaei_infer_layer(spec, where, error);
    }
    return status;
}

VAEI_SETUP void vaei_describe(const vaei_layer *layer, vae_layer *l);

/* The encoder layer (or the heads) that decoder layer `index` undoes, where one half is the other's mirror image. */
VAEI_SETUP int vaei_counterpart(const vaei_network *n, int index) { return 2 * n->encoders + 1 - index; }

/* The label enters the encoder where its first dense layer or the heads come, and the decoder with z. */
VAEI_SETUP int vaei_takes_label(const vaei_network *n, int index) {
    int first = 0;
    while (first < n->encoders && n->config->encoder[first].kind != VAE_LAYER_DENSE) first++;
    return index == first || index == n->encoders + 1;
}

/* How error messages name layer `index` of the network. */
VAEI_SETUP vaei_where vaei_where_is(const vaei_network *n, int index) {
    vaei_where where;
    where.part = index <= n->encoders ? "encoder" : n->is_mirrored ? "mirrored decoder" : "decoder";
    where.number = index <= n->encoders ? index + 1 : index - n->encoders;
    return where;
}

/* Which of its plan's layers layer `index` of a network is. */
VAEI_SETUP int vaei_plan_index(const vaei_network *n, int index) {
    return n->plan->encoder.layers ? index : index - (n->encoders + 1);
}

/* Layer `index` of a network that a plan holds. */
VAEI_SETUP vae_status vaei_spec_in_plan(const vaei_network *n, int index, vaei_layer_spec *spec) {
    const vaei_layer *layer = &n->plan->layers[vaei_plan_index(n, index)];
    vaei_describe(layer, &spec->layer);
    spec->in = layer->in;
    spec->out = layer->out;
    spec->classes = layer->classes;
    if (layer->connection) {
        /* The rule has become numbers, which is what the walk through a config gives, too. */
        spec->layer.top = layer->connection->top;
        spec->layer.bottom = layer->connection->bottom;
        spec->layer.left = layer->connection->left;
        spec->layer.right = layer->connection->right;
    }
    return VAE_OK;
}

/* The first `count` layers of the encoder. */
VAEI_PRIVATE vae_status vaei_walk_encoder(const vaei_network *n, int count, vaei_layer_spec *spec, vae_error *error) {
    return vaei_walk_layers(n->config->encoder, count, n->input, n->is_checked ? NULL : "encoder", spec, error);
}

/* The heads: one dense layer. */
VAEI_PRIVATE vae_status vaei_spec_of_heads(const vaei_network *n, vaei_layer_spec *spec, vae_error *error) {
    const vae_status status = vaei_walk_encoder(n, n->encoders, spec, error);
    spec->in = spec->out;
    spec->out.height = spec->out.width = 1;
    spec->out.channels = n->shared_heads ? n->latent : 2 * n->latent;
    vaei_make_dense(&spec->layer, spec->out, VAE_LINEAR);
    return status;
}

/* Layer `index` of a decoder that mirrors the encoder. What comes out is what went into its counterpart, the output of
   the layer before that one: so it has that layer's activation, dropout and normalisation. The heads' counterpart is a
   dense layer from z back to what the heads see. */
VAEI_PRIVATE vae_status vaei_spec_mirrored(const vaei_network *n, int index, vae_shape z, vaei_layer_spec *spec,
                                           vae_error *error) {
    const int        counterpart = vaei_counterpart(n, index), ends = counterpart == 0;
    const vae_layer *before = ends ? NULL : &n->config->encoder[counterpart - 1];
    /* The heads are not in the encoder's list: where they are the counterpart, the walk ends with what they see. */
    const vae_status status = vaei_walk_encoder(n, vaei_min_int(counterpart + 1, n->encoders), spec, error);
    if (status != VAE_OK) return status;
    if (counterpart == n->encoders) {
        spec->in = z;
        vaei_make_dense(&spec->layer, spec->out, VAE_LINEAR);
    } else vaei_mirror_layer(spec);
    spec->layer.activation = ends ? VAE_LINEAR : before->activation;
    spec->layer.dropout = ends ? 0 : before->dropout;
    spec->layer.batch_norm = ends ? 0 : before->batch_norm;
    vaei_default_layer(&spec->layer);
    if (!ends) return VAE_OK;
    /* The last layer: the likelihood may take two numbers a pixel. */
    spec->layer.shape.channels = spec->out.channels = n->output.channels;
    return vaei_is_dense(&spec->layer) ? VAE_OK
                                       : vaei_check_image(spec->out, "gives", vaei_where_is(n, index), error);
}

/* Layer `index` of the network. An error is about this layer or one before it. */
VAEI_SETUP vae_status vaei_spec_at(const vaei_network *n, int index, vaei_layer_spec *spec, vae_error *error) {
    const int  decoder_end = n->encoders + 1 + n->decoders;
    vae_shape  z = { 1, 1, 0 };
    vae_status status;
    z.channels = n->latent;
    if (VAEI_HAS(!n->config)) return vaei_spec_in_plan(n, index, spec);
    spec->classes = VAEI_HAS(n->classes) && vaei_takes_label(n, index) ? n->classes : 0;
    if (index < n->encoders) return vaei_walk_encoder(n, index + 1, spec, error);
    if (index == n->encoders) return vaei_spec_of_heads(n, spec, error);
    if (VAEI_HAS(index >= decoder_end))
        return vaei_walk_layers(n->config->classifier, index - decoder_end + 1, z, "classifier", spec, error);
    status = n->is_mirrored ? vaei_spec_mirrored(n, index, z, spec, error)
                            : vaei_walk_layers(n->config->decoder, index - n->encoders, z,
                                               n->is_checked ? NULL : "decoder", spec, error);
    /* A dense last layer may be written in any shape of the right size: its numbers are those of the output's shape. */
    if (status == VAE_OK && index == decoder_end - 1 && vaei_is_dense(&spec->layer) &&
        vaei_shape_size(spec->out) == vaei_shape_size(n->output))
        spec->out = n->output;
    return status;
}

/* A layer after the first empty place would be silently left out. */
VAEI_SETUP vae_status vaei_check_gaps(const vae_layer *layers, const char *part, vae_error *error) {
    const int count = vaei_count_layers(layers);
    int       i;
    for (i = count; i < VAE_MAX_LAYERS; i++)
        if (layers[i].kind != VAE_LAYER_END)
            return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d is empty, but layer %d is set: %s[%d] would be left "
                             "out, move it to %s[%d]", part, count + 1, i + 1, part, i, part, count);
    return VAE_OK;
}

/* The network that a config describes. Counts its layers; their shapes are not looked at yet. */
VAEI_SETUP vae_status vaei_network_of(const vae_config *config, vaei_network *n, vae_error *error) {
    vae_status status;
    n->config = config;
    n->plan = NULL;
    n->input = config->input;
    n->output = vaei_output_shape(config->input, config->likelihood);
    n->latent = config->latent;
    n->shared_heads = config->shared_heads != 0;
    n->tied = config->tied && config->part != VAE_DECODER_ONLY;
    n->is_checked = 0;
    n->encoders = vaei_count_layers(config->encoder);
    n->decoders = vaei_count_layers(config->decoder);
    n->is_mirrored = !n->decoders;
    n->classes = config->classes > 0 ? (size_t)config->classes : 0;
    n->classifiers = vaei_count_layers(config->classifier);
    /* A decoder alone can do without an encoder, unless it has to be mirrored from one. */
    if (!n->encoders && !(config->part == VAE_DECODER_ONLY && n->decoders))
        return vaei_fail(error, VAE_ERROR_CONFIG, "the encoder has no layers: give at least one, such as "
                         "VAE_DENSE(400, VAE_RELU)");
    if ((status = vaei_check_gaps(config->encoder, "encoder", error)) != VAE_OK ||
        (status = vaei_check_gaps(config->decoder, "decoder", error)) != VAE_OK ||
        (status = vaei_check_gaps(config->classifier, "classifier", error)) != VAE_OK) return status;
    if (!n->is_mirrored) return VAE_OK;
    n->decoders = n->encoders + 1;
    if (n->decoders > VAE_MAX_LAYERS && config->part != VAE_ENCODER_ONLY)
        return vaei_fail(error, VAE_ERROR_CONFIG, "the mirror image of %d encoder layers has %d, more than %d: give "
                         "the decoder yourself", n->encoders, n->decoders, VAE_MAX_LAYERS);
    return VAE_OK;
}

/* ---- defaults and checks of the settings ----

   vaei_default_settings fills in what a setting is by default, and vaei_default_layer what a layer's is. Every refusal
   names the setting, its value and what to change. */

/* A NaN is left as it is, for the checks to find. */
VAEI_SETUP void vaei_default_real(vae_real *field, vae_real value) {
    if (vaei_finite(*field) && *field == 0) *field = value;
}

VAEI_PRIVATE int vaei_lies_in(vae_real x, vae_real low, vae_real high) {
    return vaei_finite(x) && x >= low && x <= high;
}

/* Of a setting that is 0 or more. */
VAEI_PRIVATE int vaei_is_amount(vae_real x) { return vaei_lies_in(x, 0, (vae_real)VAEI_MOST_SETTING); }

/* A schedule's factors have no defaults: VAE_ZERO and 0 are the same, so one of them is kept. */
VAEI_SETUP void vaei_default_schedule(vae_schedule *s) {
    if (!s->kind) s->kind = VAE_CONSTANT;
    s->from = vaei_setting(s->from);
    s->to = vaei_setting(s->to);
}

/* Where a row has VAE_ZERO as its weight decay, the default is none, but one may be given. */
VAEI_SETUP void vaei_default_optimizer(vae_optimizer *o) {
    const vaei_optimizer *row;
    if (!o->kind) o->kind = VAE_ADAM;
    vaei_default_schedule(&o->schedule);
    if ((int)o->kind < 1 || (int)o->kind >= VAEI_OPTIMIZERS) return;
    row = &vaei_optimizers[o->kind];
    vaei_default_real(&o->learning_rate, row->learning_rate);
    if (row->weight_decay != VAE_ZERO) vaei_default_real(&o->weight_decay, row->weight_decay);
    vaei_default_real(&o->beta1, row->beta1);
    vaei_default_real(&o->beta2, row->beta2);
    vaei_default_real(&o->epsilon, row->epsilon);
    vaei_default_real(&o->momentum, row->momentum);
}

/* A schedule's kind and the numbers that it takes; `name` is the setting's. */
VAEI_SETUP vae_status vaei_check_schedule(const vae_schedule *s, const char *name, vae_error *error) {
    const vaei_schedule *row;
    if ((int)s->kind < 1 || (int)s->kind >= VAEI_SCHEDULES)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s.kind is %d: use one of vae_schedule_kind", name, (int)s->kind);
    row = &vaei_schedules[s->kind];
    if (s->kind == VAE_CONSTANT)
        return !s->steps && !s->warmup && s->from == 0 && s->to == 0 ? VAE_OK
             : vaei_fail(error, VAE_ERROR_CONFIG, "%s has numbers, but its kind is VAE_CONSTANT: set its kind, or "
                         "leave them 0", name);
    if (!s->steps)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s.steps is 0: give the updates that it takes, 1 or more", name);
    if ((s->warmup && row->warmup == VAEI_NO_WARMUP) || (s->to != 0 && !row->has_to))
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s has a %s, which %s has not: leave it 0", name,
                         s->to != 0 && !row->has_to ? "`to`" : "warmup", row->symbol);
    if (row->warmup == VAEI_SHORTER_WARMUP && s->warmup >= s->steps)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s.warmup is %r of %r steps: it must be less than all of them", name,
                         VAEI_SHOWN(s->warmup), VAEI_SHOWN(s->steps));
    if (row->warmup == VAEI_WARMUP_WITHIN && (!s->warmup || s->warmup > s->steps))
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s.warmup is %r of %r steps: give the updates that it rises in each "
                         "cycle, 1 to all of them", name, VAEI_SHOWN(s->warmup), VAEI_SHOWN(s->steps));
    if (!vaei_lies_in(s->from, 0, 1) || !vaei_lies_in(s->to, 0, 1))
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s.from is %r, its `to` %r: both are factors and must lie in [0, 1]",
                         name, VAEI_SHOWN(s->from), VAEI_SHOWN(s->to));
    if (row->multiplies && s->to == 0)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s.to is 0: give the factor of every %r updates, above 0 and up to "
                         "1", name, VAEI_SHOWN(s->steps));
    if (row->warmup != VAEI_NO_WARMUP && !s->warmup && s->from != 0)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s.from is %r, but there is no warmup that begins there: set "
                         "warmup, or leave it 0", name, VAEI_SHOWN(s->from));
    return VAE_OK;
}

/* One of the settings that not every optimiser has; `usual` is its default, or 0. */
VAEI_SETUP vae_status vaei_check_own_setting(const vae_optimizer *o, const char *name, vae_real value, vae_real usual,
                                             vae_error *error) {
    if (usual == 0 && value != 0)
        return vaei_fail(error, VAE_ERROR_CONFIG, "optimizer.%s is %r, but the kind is %s, which has none: leave it 0, "
                         "or set optimizer.kind", name, VAEI_SHOWN(value), vaei_optimizers[o->kind].symbol);
    if (!vaei_lies_in(vaei_setting(value), 0, 1) || value == 1)
        return vaei_fail(error, VAE_ERROR_CONFIG, "optimizer.%s is %r: it must lie in [0, 1)", name, VAEI_SHOWN(value));
    return VAE_OK;
}

/* Each optimiser has only some of the settings, which its row of the table says by a default other than 0. */
VAEI_SETUP vae_status vaei_check_optimizer(const vae_optimizer *o, vae_error *error) {
    const vaei_optimizer *row;
    vae_status            status;
    if ((int)o->kind < 1 || (int)o->kind >= VAEI_OPTIMIZERS)
        return vaei_fail(error, VAE_ERROR_CONFIG, "optimizer.kind is %d: use one of vae_optimizer_kind", (int)o->kind);
    row = &vaei_optimizers[o->kind];
    if (!vaei_is_amount(vaei_setting(o->learning_rate)))
        return vaei_fail(error, VAE_ERROR_CONFIG, "optimizer.learning_rate is %r: it must lie in 0 (write VAE_ZERO) to "
                         VAEI_WRITTEN(VAEI_MOST_SETTING), VAEI_SHOWN(o->learning_rate));
    if (!vaei_is_amount(vaei_setting(o->weight_decay)))
        return vaei_fail(error, VAE_ERROR_CONFIG, "optimizer.weight_decay is %r: it must lie in 0 to "
                         VAEI_WRITTEN(VAEI_MOST_SETTING), VAEI_SHOWN(o->weight_decay));
    if ((status = vaei_check_own_setting(o, "beta1", o->beta1, row->beta1, error)) != VAE_OK ||
        (status = vaei_check_own_setting(o, "beta2", o->beta2, row->beta2, error)) != VAE_OK ||
        (status = vaei_check_own_setting(o, "momentum", o->momentum, row->momentum, error)) != VAE_OK) return status;
    if (row->epsilon == 0 && o->epsilon != 0)
        return vaei_fail(error, VAE_ERROR_CONFIG, "optimizer.epsilon is %r, but the kind is %s, which has none: leave "
                         "it 0, or set optimizer.kind", VAEI_SHOWN(o->epsilon), row->symbol);
    if (row->epsilon != 0 && (!vaei_lies_in(o->epsilon, 0, VAEI_LARGEST) || o->epsilon == 0))
        return vaei_fail(error, VAE_ERROR_CONFIG, "optimizer.epsilon is %r: it must be larger than 0",
                         VAEI_SHOWN(o->epsilon));
    if (!vaei_lies_in(vaei_setting(o->clip_norm), 0, VAEI_LARGEST))
        return vaei_fail(error, VAE_ERROR_CONFIG, "optimizer.clip_norm is %r: give the largest norm of a gradient, or "
                         "0 for none", VAEI_SHOWN(o->clip_norm));
    return vaei_check_schedule(&o->schedule, "optimizer.schedule", error);
}

VAEI_PRIVATE int vaei_has_sigma(vae_likelihood likelihood) { return vaei_likelihoods[likelihood].has_sigma; }

/* Not only those in [0, 1]. */
VAEI_PRIVATE int vaei_takes_any_pixel(vae_likelihood likelihood) { return vaei_likelihoods[likelihood].low < 0; }

/* More than one thread needs a pool in this build, or a run of the caller's. */
VAEI_SETUP vae_status vaei_check_threads(const vaei_settings *s, vae_error *error) {
    if (s->threads < 0 || s->threads > VAEI_MAX_THREADS)
        return vaei_fail(error, VAE_ERROR_CONFIG, "threads is %d: use 0 (all cores) to %d", s->threads,
                         VAEI_MAX_THREADS);
    if (s->parallel.run)
        return s->threads ? VAE_OK
             : vaei_fail(error, VAE_ERROR_CONFIG, "parallel is given, threads is 0: say how many tasks it runs at a "
                         "time, 1 to %d", VAEI_MAX_THREADS);
    if (s->parallel.user)
        return vaei_fail(error, VAE_ERROR_CONFIG, "parallel.user is given without parallel.run: give both or neither");
#ifndef VAEI_HAS_POOL
    if (s->threads > 1)
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "threads is %d, but this build has none: define VAE_THREADS "
                         "where VAE_IMPLEMENTATION is, give config.parallel, or set threads to 1", s->threads);
#endif
    return VAE_OK;
}

/* The objective, and the settings that change the loss: each must have something to act on. */
VAEI_SETUP vae_status vaei_check_objective(const vaei_settings *s, vae_error *error) {
    const int   plain = s->objective == VAE_OBJECTIVE_AUTOENCODER;
    const char *idle = s->free_bits != 0 ? "free_bits" : s->capacity != 0 ? "capacity" : NULL;
    if ((int)s->objective < 1 || s->objective > VAE_OBJECTIVE_AUTOENCODER)
        return vaei_fail(error, VAE_ERROR_CONFIG, "objective is %d: use one of vae_objective", (int)s->objective);
    if (s->samples > VAEI_MAX_SAMPLES)
        return vaei_fail(error, VAE_ERROR_CONFIG, "samples is %z: use 1 to " VAEI_WRITTEN(VAEI_MAX_SAMPLES),
                         s->samples);
    if (!vaei_is_amount(s->free_bits) || !vaei_is_amount(s->capacity))
        return vaei_fail(error, VAE_ERROR_CONFIG, "free_bits is %r, capacity %r: each must lie in 0 (none) to "
                         VAEI_WRITTEN(VAEI_MOST_SETTING), VAEI_SHOWN(s->free_bits), VAEI_SHOWN(s->capacity));
    if (s->objective != VAE_OBJECTIVE_ELBO && idle)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s is set, but only VAE_OBJECTIVE_ELBO has a KL that it can act on: "
                         "leave it 0", idle);
    if (plain && (s->samples > 1 || s->beta != 1 || s->beta_schedule.kind != VAE_CONSTANT))
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s is set, but VAE_OBJECTIVE_AUTOENCODER has no %s: leave it 0",
                         s->samples > 1 ? "samples" : s->beta != 1 ? "beta" : "beta_schedule",
                         s->samples > 1 ? "noise" : "KL");
    if (s->free_bits != 0 && s->capacity != 0)
        return vaei_fail(error, VAE_ERROR_CONFIG, "free_bits is %r, capacity %r: both change the KL, leave one of them "
                         "0", VAEI_SHOWN(s->free_bits), VAEI_SHOWN(s->capacity));
    if (s->capacity == 0 && s->capacity_schedule.kind != VAE_CONSTANT)
        return vaei_fail(error, VAE_ERROR_CONFIG, "capacity_schedule is set, but capacity is 0: set it, or leave both");
    return vaei_check_schedule(&s->capacity_schedule, "capacity_schedule", error);
}

/* The amount has no default: how much noise helps depends on the data. */
VAEI_SETUP vae_status vaei_check_corruption(const vaei_settings *s, vae_error *error) {
    const vae_corruption *c = &s->corruption;
    const vae_real        most = c->kind == VAE_CORRUPTION_GAUSSIAN ? 1000 : 1;
    if ((int)c->kind < 1 || c->kind > VAE_CORRUPTION_SALT_AND_PEPPER)
        return vaei_fail(error, VAE_ERROR_CONFIG, "corruption.kind is %d: use one of vae_corruption_kind",
                         (int)c->kind);
    if (c->kind == VAE_CORRUPTION_NONE)
        return c->amount == 0 ? VAE_OK
             : vaei_fail(error, VAE_ERROR_CONFIG, "corruption.amount is %r, but there is no corruption: set its kind, "
                         "or leave it 0", VAEI_SHOWN(c->amount));
    if (!vaei_lies_in(c->amount, 0, most) || c->amount == 0)
        return vaei_fail(error, VAE_ERROR_CONFIG, "corruption.amount is %r: it must be above 0 and at most %r",
                         VAEI_SHOWN(c->amount), VAEI_SHOWN(most));
    if (c->kind == VAE_CORRUPTION_SALT_AND_PEPPER && s->standardize)
        return vaei_fail(error, VAE_ERROR_CONFIG, "VAE_CORRUPTION_SALT_AND_PEPPER sets pixels to 0 and 1, which mean "
                         "nothing beside standardize: use another kind, or leave standardize 0");
    return VAE_OK;
}

/* Input, latent size and the enums that describe the network. */
VAEI_SETUP vae_status vaei_check_network(const vaei_settings *s, vae_error *error) {
    const vae_shape i = s->input;
    if (i.height < 1 || i.width < 1 || i.channels < 1 || i.height > VAEI_MAX_SIDE || i.width > VAEI_MAX_SIDE ||
        i.channels > VAEI_MAX_SIDE || vaei_shape_size(i) > VAEI_MAX_OUTPUTS)
        return vaei_fail(error, VAE_ERROR_CONFIG, "input is %d x %d x %d: give height, width and channels, each 1 to "
                         VAEI_WRITTEN(VAEI_MAX_SIDE) " and together at most " VAEI_WRITTEN(VAEI_MAX_OUTPUTS),
                         i.height, i.width, i.channels);
    /* The heads give twice as many numbers, and count them in an int. */
    if (s->latent < 1 || s->latent > VAEI_MAX_LATENT || s->latent > INT_MAX / 2)
        return vaei_fail(error, VAE_ERROR_CONFIG, "latent is %d: give the number of latent dimensions, 1 to "
                         VAEI_WRITTEN(VAEI_MAX_LATENT), s->latent);
    if ((int)s->likelihood < 1 || (int)s->likelihood >= VAEI_LIKELIHOODS)
        return vaei_fail(error, VAE_ERROR_CONFIG, "likelihood is %d: use one of vae_likelihood",
                         (int)s->likelihood);
    if (i.channels > INT_MAX / vaei_likelihoods[s->likelihood].outputs)
        return vaei_fail(error, VAE_ERROR_CONFIG, "input has %d channels, too many for a likelihood of two numbers a "
                         "pixel", i.channels);
    if ((int)s->initialization < 1 || s->initialization > VAE_INIT_HE)
        return vaei_fail(error, VAE_ERROR_CONFIG, "initialization is %d: use one of vae_initialization",
                         (int)s->initialization);
    if (s->layout != VAE_CHANNELS_LAST && s->layout != VAE_CHANNELS_FIRST)
        return vaei_fail(error, VAE_ERROR_CONFIG, "layout is %d: use VAE_CHANNELS_LAST or VAE_CHANNELS_FIRST",
                         (int)s->layout);
    if ((int)s->part < 1 || s->part > VAE_DECODER_ONLY)
        return vaei_fail(error, VAE_ERROR_CONFIG, "part is %d: use VAE_WHOLE, VAE_ENCODER_ONLY or VAE_DECODER_ONLY",
                         (int)s->part);
    if (VAEI_HAS(s->tied && vaei_likelihoods[s->likelihood].outputs > 1))
        return vaei_fail(error, VAE_ERROR_CONFIG, "tied is set, but %s takes two numbers a pixel, and an encoder's "
                         "weights are for one: leave tied 0", vaei_likelihoods[s->likelihood].symbol);
    if (!vae_kernels_available(s->kernels))
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "kernels %s are not in this build or not on this processor: use "
                         "VAE_KERNELS_BEST", vae_kernels_name(s->kernels));
    return VAE_OK;
}

#define VAEI_SIGMA_RANGE VAEI_WRITTEN(VAEI_LEAST_SIGMA) " to " VAEI_WRITTEN(VAEI_MOST_SIGMA)

/* What depends on a pixel's range: sigma and standardising are for likelihoods that take any pixel. */
VAEI_SETUP vae_status vaei_check_sigma(const vaei_settings *s, vae_error *error) {
    if (!vaei_finite(s->sigma) ||
        (s->sigma != 0 && !vaei_lies_in(s->sigma, (vae_real)VAEI_LEAST_SIGMA, (vae_real)VAEI_MOST_SIGMA)))
        return vaei_fail(error, VAE_ERROR_CONFIG, "sigma is %r: it must be 0 (learned) or lie in " VAEI_SIGMA_RANGE,
                         VAEI_SHOWN(s->sigma));
    if (!vaei_has_sigma(s->likelihood) && (s->sigma != 0 || s->sigma_per_pixel))
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s is set, but %s has no sigma: leave it 0, or use VAE_GAUSSIAN or "
                         "VAE_LAPLACE", s->sigma != 0 ? "sigma" : "sigma_per_pixel",
                         vaei_likelihoods[s->likelihood].symbol);
    if (s->standardize && !vaei_takes_any_pixel(s->likelihood))
        return vaei_fail(error, VAE_ERROR_CONFIG, "standardize is set, but %s takes pixels in [0, 1] as they are: "
                         "leave it 0, or use VAE_GAUSSIAN or VAE_LAPLACE", vaei_likelihoods[s->likelihood].symbol);
    if (s->sigma != 0 && s->sigma_per_pixel)
        return vaei_fail(error, VAE_ERROR_CONFIG, "sigma is fixed at %r, and sigma_per_pixel asks for learned ones: "
                         "leave one of them 0", VAEI_SHOWN(s->sigma));
    return VAE_OK;
}

VAEI_PRIVATE vae_status vaei_check_allocator(const vae_allocator *allocator, vae_error *error) {
    if (!allocator->allocate == !allocator->release) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_CONFIG, "allocator has only one of its functions: give both or neither");
}

/* Each setting by itself, and those that exclude each other. Whether the layers fit is found by vaei_plan_numbers. */
VAEI_SETUP vae_status vaei_check_settings(const vaei_settings *s, vae_error *error) {
    vae_status status;
    if ((status = vaei_check_network(s, error)) != VAE_OK) return status;
    if ((status = vaei_check_sigma(s, error)) != VAE_OK) return status;
    if (!vaei_is_amount(vaei_setting(s->beta)))
        return vaei_fail(error, VAE_ERROR_CONFIG, "beta is %r: it must lie in 0 (write VAE_ZERO) to "
                         VAEI_WRITTEN(VAEI_MOST_SETTING), VAEI_SHOWN(s->beta));
    if ((status = vaei_check_schedule(&s->beta_schedule, "beta_schedule", error)) != VAE_OK) return status;
#if !defined(VAE_BASIC) || !defined(VAE_INFERENCE_ONLY)
    /* A build that only infers, and only what is basic, has no use for the optimiser. */
    if ((status = vaei_check_optimizer(&s->optimizer, error)) != VAE_OK) return status;
#endif
    status = VAEI_IS_BASIC ? vaei_check_schedule(&s->capacity_schedule, "capacity_schedule", error)
                           : vaei_check_objective(s, error);
    if (status != VAE_OK) return status;
    if ((int)s->freeze < 1 || s->freeze > VAE_FREEZE_DECODER)
        return vaei_fail(error, VAE_ERROR_CONFIG, "freeze is %d: use one of vae_freeze", (int)s->freeze);
    if (VAEI_HAS(s->freeze != VAE_FREEZE_NONE && s->tied))
        return vaei_fail(error, VAE_ERROR_CONFIG, "freeze and tied are both set, but a tied decoder has the encoder's "
                         "weights: leave one of them 0");
    if ((status = vaei_check_threads(s, error)) != VAE_OK) return status;
    if (VAEI_HAS(s->classes && (s->classes < 2 || s->classes > VAEI_MAX_CLASSES)))
        return vaei_fail(error, VAE_ERROR_CONFIG, "classes is %d: use 0 (not conditional), or the number of different "
                         "labels, 2 to " VAEI_WRITTEN(VAEI_MAX_CLASSES), s->classes);
    if (VAEI_HAS(!vaei_is_amount(vaei_setting(s->classifier_weight))))
        return vaei_fail(error, VAE_ERROR_CONFIG, "classifier_weight is %r: it must lie in 0 (write VAE_ZERO) to "
                         VAEI_WRITTEN(VAEI_MOST_SETTING), VAEI_SHOWN(s->classifier_weight));
    if (VAEI_HAS(s->classes && s->tied))
        return vaei_fail(error, VAE_ERROR_CONFIG, "classes and tied are both set, but a layer that takes a label is no "
                         "other's mirror image: leave one of them 0");
    if (!VAEI_IS_BASIC && (status = vaei_check_corruption(s, error)) != VAE_OK) return status;
    if (VAEI_HAS(s->binarize && !vaei_likelihoods[s->likelihood].is_binary))
        return vaei_fail(error, VAE_ERROR_CONFIG, "binarize draws pixels 0 or 1, which %s is not for: leave it 0, or "
                         "use VAE_BERNOULLI", vaei_likelihoods[s->likelihood].symbol);
    if (s->batch > VAEI_MAX_BATCH)
        return vaei_fail(error, VAE_ERROR_CONFIG, "batch is %z: use 1 to " VAEI_WRITTEN(VAEI_MAX_BATCH), s->batch);
    return vaei_check_allocator(&s->allocator, error);
}

#ifdef VAE_BASIC
/* Whether none of these layers is more than dense. */
VAEI_SETUP int vaei_are_basic(const vae_layer *layers) {
    int i;
    for (i = 0; i < VAE_MAX_LAYERS && layers[i].kind != VAE_LAYER_END; i++)
        if (layers[i].kind != VAE_LAYER_DENSE || layers[i].batch_norm || layers[i].dropout != 0 ||
            layers[i].activation == VAE_GELU || layers[i].activation == VAE_SILU ||
            layers[i].activation == VAE_SOFTPLUS) return 0;
    return 1;
}

/* Whether the config does without all that VAE_BASIC leaves out. Of an enum that nothing else checks, numbers below 0
   (there are compilers that give it a sign) are beyond its last value, too. */
VAEI_SETUP int vaei_is_basic(const vae_config *c) {
    return vaei_are_basic(c->encoder) && vaei_are_basic(c->decoder) && c->classifier[0].kind == VAE_LAYER_END &&
           c->likelihood <= VAE_GAUSSIAN && c->optimizer.kind <= VAE_SGD &&
           (unsigned)c->objective <= VAE_OBJECTIVE_ELBO &&
           c->initialization <= VAE_INIT_PYTORCH &&
           c->beta_schedule.kind <= VAE_CONSTANT && c->optimizer.schedule.kind <= VAE_CONSTANT &&
           c->capacity_schedule.kind <= VAE_CONSTANT && c->samples <= 1 && vaei_setting(c->free_bits) == 0 &&
           vaei_setting(c->capacity) == 0 && (unsigned)c->corruption.kind <= VAE_CORRUPTION_NONE &&
           c->corruption.amount == 0 &&
           c->layout <= VAE_CHANNELS_LAST && c->freeze <= VAE_FREEZE_NONE &&
           c->threads <= 1 && !c->parallel.run &&
           !(c->sigma_per_pixel || c->standardize || c->shared_heads || c->tied || c->classes || c->binarize ||
             c->missing || c->targets);
}
#endif

VAEI_SETUP void vaei_copy_settings(const vae_config *from, vaei_settings *to) { VAEI_SETTINGS(VAEI_SETTING_COPY) }

/* Puts them back into a config. */
VAEI_SETUP void vaei_restore_settings(const vaei_settings *from, vae_config *to) { VAEI_SETTINGS(VAEI_SETTING_COPY) }

/* Fills in what the config leaves at 0. Of a yes or no any number but 0 says yes; files and comparisons know 1. */
VAEI_SETUP void vaei_default_settings(vaei_settings *s, int classifies) {
    if (!s->likelihood) s->likelihood = VAE_BERNOULLI;
    if (!s->initialization) s->initialization = VAE_INIT_PYTORCH;
    if (!s->layout) s->layout = VAE_CHANNELS_LAST;
    if (!s->batch) s->batch = 128;
    if (!s->part) s->part = VAE_WHOLE;
    if (s->kernels == VAE_KERNELS_BEST) s->kernels = vaei_best_kernels();
    if (!s->objective) s->objective = VAE_OBJECTIVE_ELBO;
    if (!s->samples) s->samples = s->objective == VAE_OBJECTIVE_IWAE ? 5 : 1;
    if (!s->freeze) s->freeze = VAE_FREEZE_NONE;
    if (!s->corruption.kind) s->corruption.kind = VAE_CORRUPTION_NONE;
    vaei_default_real(&s->beta, 1);
    if (classifies) vaei_default_real(&s->classifier_weight, 1);
    vaei_default_schedule(&s->beta_schedule);
    vaei_default_schedule(&s->capacity_schedule);
#if !defined(VAE_BASIC) || !defined(VAE_INFERENCE_ONLY)
    vaei_default_optimizer(&s->optimizer);
#endif
    /* Their default is 0 itself, so that VAE_ZERO says nothing else. */
    s->free_bits = vaei_setting(s->free_bits);
    s->capacity = vaei_setting(s->capacity);
    s->sigma_per_pixel = s->sigma_per_pixel != 0;
    s->standardize = s->standardize != 0;
    s->shared_heads = s->shared_heads != 0;
    s->tied = s->tied != 0;
    s->keep_best = s->keep_best != 0;
    s->binarize = s->binarize != 0;
    s->missing = s->missing != 0;
    s->targets = s->targets != 0;
}

/* The settings of a config, checked and with defaults filled in. `threads` is what config.threads 0 stands for, or 0
   while the system has not been asked: it may answer differently the next time, and one creation must use one
   number. */
VAEI_SETUP vae_status vaei_resolve_settings(const vae_config *c, int threads, vaei_settings *s, vae_error *error) {
    const int  classifies = c->classifier[0].kind != VAE_LAYER_END;
    vae_status status;
#ifdef VAE_BASIC
    if (!vaei_is_basic(c))
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "the network or its training needs what a build with VAE_BASIC "
                         "lacks: see the list at the top of vae.h, or build without");
#endif
    if (VAEI_DECODES_ONLY && c->part != VAE_DECODER_ONLY)
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "a build with VAE_DECODE_ONLY has decoders alone: set "
                         "config.part to VAE_DECODER_ONLY");
    memset(s, 0, sizeof *s);
    vaei_copy_settings(c, s);
    vaei_default_settings(s, classifies);
    /* Looked at in the config, as it was given: of a classifier that is absent the defaults say nothing. */
    if (!classifies && (!vaei_finite(c->classifier_weight) || c->classifier_weight != 0))
        return vaei_fail(error, VAE_ERROR_CONFIG, "classifier_weight is %r, but there is no classifier: give its "
                         "layers, or leave it 0", VAEI_SHOWN(c->classifier_weight));
    if (VAEI_HAS(classifies && c->classes))
        return vaei_fail(error, VAE_ERROR_CONFIG, "classes and classifier are both set, but an encoder that is told "
                         "the label leaves nothing to classify: leave one of them 0");
    if ((status = vaei_check_settings(s, error)) != VAE_OK) return status;
    /* The decoder alone, and its own file, have no classifier, and no encoder whose weights it could use. */
    if (s->part == VAE_DECODER_ONLY) {
        s->classifier_weight = 0;
        s->tied = 0;
    }
    if (!s->threads) s->threads = VAEI_IS_BASIC ? 1 : threads ? threads : vaei_core_count();
    /* The caller's weights may be constant, in flash: nothing may train them. */
    if (s->weights) s->inference_only = 1;
    return VAE_OK;
}

#ifndef VAE_NO_MESSAGES
/* Whether a list has a layer that nobody writes. */
VAEI_SETUP int vaei_are_odd(const vae_layer *layers) {
    int i, odd = 0;
    for (i = 0; i < VAE_MAX_LAYERS; i++) {
        const int kind = (int)layers[i].kind, activation = (int)layers[i].activation, rule = (int)layers[i].padding;
        odd |= kind < 0 || kind > VAE_LAYER_CONV_TRANSPOSED || activation < 0 || activation > VAE_SOFTPLUS ||
               rule < 0 || rule > VAE_EXPLICIT;
    }
    return odd;
}

/* Adds to the error about a config that holds what nobody writes, such as an enum's number without a name, that it may
   never have been zeroed: then what the error names was not written by the caller either. */
VAEI_SETUP void vaei_add_doubt(const vae_config *c, vae_error *error) {
    const int numbers[][2] = {      /* each with the largest that has a meaning, in this build or not */
        { (int)c->likelihood, VAE_DISCRETIZED_LOGISTIC }, { (int)c->beta_schedule.kind, VAE_CYCLICAL },
        { (int)c->initialization, VAE_INIT_HE }, { (int)c->layout, VAE_CHANNELS_FIRST },
        { (int)c->optimizer.kind, VAE_ADADELTA }, { (int)c->optimizer.schedule.kind, VAE_CYCLICAL },
        { (int)c->part, VAE_DECODER_ONLY }, { (int)c->kernels, VAE_KERNELS_NEON },
        { (int)c->objective, VAE_OBJECTIVE_AUTOENCODER }, { (int)c->capacity_schedule.kind, VAE_CYCLICAL },
        { (int)c->freeze, VAE_FREEZE_DECODER }, { (int)c->corruption.kind, VAE_CORRUPTION_SALT_AND_PEPPER },
        { c->sigma_per_pixel, 1 }, { c->standardize, 1 }, { c->inference_only, 1 }, { c->shared_heads, 1 },
        { c->tied, 1 }, { c->keep_best, 1 }, { c->binarize, 1 }, { c->missing, 1 }, { c->targets, 1 }
    };
    int    odd = vaei_are_odd(c->encoder) || vaei_are_odd(c->decoder) || vaei_are_odd(c->classifier);
    size_t i;
    for (i = 0; i < sizeof numbers / sizeof *numbers; i++) odd |= numbers[i][0] < 0 || numbers[i][0] > numbers[i][1];
    if (odd && error) {
        const size_t length = strlen(error->message);
        vaei_text    text = vaei_text_in(error->message + length, sizeof error->message - length);
        vaei_format(&text, "; or was the config never zeroed, as by vae_config config = { 0 }?");
    }
}
#endif

/* The status of a call with a config of the caller's; an error is given that doubt. */
VAEI_PRIVATE vae_status vaei_doubt(const vae_config *config, vae_status status, vae_error *error) {
#ifndef VAE_NO_MESSAGES
    if (status != VAE_OK) vaei_add_doubt(config, error);
#else
    (void)config, (void)error;
#endif
    return status;
}

/* The mirrored decoder is written out layer by layer, with its padding in numbers, so that it can be read and changed.
   Everything that can fail comes before the first change, since `filled` may be `config`. */
VAEI_SETUP vae_status vaei_defaults(const vae_config *config, vae_config *filled, vae_error *error) {
    vaei_settings   settings;
    vaei_network    network;
    vaei_layer_spec spec;
    vae_status      status;
    int             i;
    if ((status = vaei_resolve_settings(config, 0, &settings, error)) != VAE_OK) return status;
    if ((status = vaei_network_of(config, &network, error)) != VAE_OK) return status;
    /* The way to the heads leads through the whole encoder, from which the mirror image takes its shapes. */
    if (network.is_mirrored && settings.part != VAE_ENCODER_ONLY &&
        (status = vaei_spec_at(&network, network.encoders, &spec, error)) != VAE_OK)
        return status;
    if (filled != config) memcpy(filled, config, sizeof *filled);
    vaei_restore_settings(&settings, filled);
    for (i = 0; i < network.encoders; i++) vaei_default_layer(&filled->encoder[i]);
    for (i = 0; i < network.classifiers; i++) vaei_default_layer(&filled->classifier[i]);
    /* The mirrored layers below are derived from the encoder as filled in, since `config` may be the same struct. */
    network.config = filled;
    if (network.is_mirrored) memset(filled->decoder, 0, sizeof filled->decoder);
    for (i = 0; i < network.decoders; i++) {
        if (!network.is_mirrored) vaei_default_layer(&filled->decoder[i]);
        else if (settings.part != VAE_ENCODER_ONLY) {
            vaei_spec_at(&network, network.encoders + 1 + i, &spec, NULL);
            filled->decoder[i] = spec.layer;
        }
    }
    return VAE_OK;
}

VAE_API vae_status vae_defaults(const vae_config *config, vae_config *filled, vae_error *error) {
    if (!config || !filled) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_defaults: config or filled is NULL");
    return vaei_doubt(config, vaei_defaults(config, filled, error), error);
}

/* ---- names: the index of each layer in the nn.Sequential that one would write ----

   Files name tensors as PyTorch would, "encoder.2.weight", where 2 is the place in an nn.Sequential. Modules without
   tensors take places there too, so they are counted here: a convolution and a dense layer, both with ReLU, are 0
   Conv2d, 1 ReLU, 2 Flatten, 3 Linear, 4 ReLU. */

/* Whether PyTorch's Conv2d(padding=(top, left)), or its ConvTranspose2d with an output_padding below the stride, has
   this geometry. Otherwise a ZeroPad2d stands before the Conv2d, or one that crops after the ConvTranspose2d. */
VAEI_SETUP int vaei_even_padding(const vaei_layer *layer) {
    const vaei_connection *c = layer->connection;
    if (layer->kind == VAE_LAYER_CONV) {
        const int32_t height = c->fine.height + 2 * (int32_t)c->top - c->kernel_height;
        const int32_t width = c->fine.width + 2 * (int32_t)c->left - c->kernel_width;
        return height >= 0 && width >= 0 && height / c->stride_height + 1 == c->coarse.height &&
               width / c->stride_width + 1 == c->coarse.width;
    } else {
        const int32_t height = c->fine.height - (((int32_t)c->coarse.height - 1) * c->stride_height -
                                                 2 * (int32_t)c->top + c->kernel_height);
        const int32_t width = c->fine.width - (((int32_t)c->coarse.width - 1) * c->stride_width -
                                               2 * (int32_t)c->left + c->kernel_width);
        return height >= 0 && height < c->stride_height && width >= 0 && width < c->stride_width;
    }
}

/* Gives the layers of one nn.Sequential their indices. Flatten stands before a dense layer whose input is an image,
   Unflatten after one whose output a convolution takes. */
VAEI_SETUP void vaei_name_layers(vaei_layer *layers, int count, int input_is_image, int output_is_image) {
    int image = input_is_image, index = 0, i;
    for (i = 0; i < count; i++) {
        vaei_layer *layer = &layers[i];
        const int   convolution_follows = i + 1 < count && layers[i + 1].connection;
        if (!VAEI_HAS(layer->connection != NULL)) {
            layer->image_in = image;
            layer->image_out = convolution_follows || (i + 1 == count && output_is_image);
            if (image) index++;                                                     /* Flatten */
            layer->name_index = index++;
            if (VAEI_HAS(layer->normalizes)) layer->norm_index = index++;
            if (layer->activation != VAE_LINEAR) index++;
            if (VAEI_HAS(layer->dropout > 0)) index++;
            if (convolution_follows) index++;                                       /* Unflatten */
            image = 0;
        } else {
            const int even = vaei_even_padding(layer);
            if (!even && layer->kind == VAE_LAYER_CONV) index++;                    /* ZeroPad2d */
            layer->name_index = index++;
            if (!even && layer->kind == VAE_LAYER_CONV_TRANSPOSED) index++;         /* ZeroPad2d that crops */
            if (layer->normalizes) layer->norm_index = index++;
            if (layer->activation != VAE_LINEAR) index++;
            if (layer->dropout > 0) index++;
            image = 1;
        }
    }
}

/* ---- how many numbers a layer has ---- */

/* The kernel's area. */
VAEI_SETUP size_t vaei_window(const vaei_layer_spec *spec) {
    return vaei_times((size_t)spec->layer.kernel_height, (size_t)spec->layer.kernel_width);
}

VAEI_SETUP size_t vaei_count_weights(const vaei_layer_spec *spec) {
    if (vaei_is_dense(&spec->layer))
        return vaei_times(vaei_plus(vaei_shape_size(spec->in), spec->classes), vaei_shape_size(spec->out));
    return vaei_times(vaei_window(spec), vaei_times((size_t)spec->in.channels, (size_t)spec->out.channels));
}

VAEI_SETUP size_t vaei_count_biases(const vaei_layer_spec *spec) {
    return vaei_is_dense(&spec->layer) ? vaei_shape_size(spec->out) : (size_t)spec->out.channels;
}

/* A plan's layer as the config's, as vae_defaults fills it. */
VAEI_SETUP void vaei_describe(const vaei_layer *layer, vae_layer *l) {
    const vaei_connection *c = layer->connection;
    vaei_make_dense(l, layer->written, layer->activation);
    l->dropout = layer->dropout;
    l->batch_norm = layer->normalizes;
    if (!c) return;
    l->kind = layer->kind;
    l->kernel_height = c->kernel_height;
    l->kernel_width = c->kernel_width;
    l->stride_height = c->stride_height;
    l->stride_width = c->stride_width;
    l->padding = c->padding;
    if (c->padding == VAE_SAME) return;
    l->top = c->top;
    l->bottom = c->bottom;
    l->left = c->left;
    l->right = c->right;
    l->output_padding_height = c->output_padding_height;
    l->output_padding_width = c->output_padding_width;
}

/* ---- what is counted before anything is laid out ----

   The first walk over the network: it checks every layer, and finds how many stages and parameters there are and how
   large micro-batches may be. */

/* Whether decoder layer `index`, which is tied, has the shape of weights that the layer it undoes has, transposed. The
   heads, of whose outputs only the mean goes on, are undone by a dense layer; the others by their adjoints. */
VAEI_SETUP vae_status vaei_check_tied(const vaei_network *n, int index, const vaei_layer_spec *spec, vae_error *error) {
    const vaei_where where = vaei_where_is(n, index);
    const int        counterpart = vaei_counterpart(n, index);
    const vae_layer *l = &spec->layer;
    vaei_layer_spec  m;
    if (n->decoders != n->encoders + 1)
        return vaei_fail(error, VAE_ERROR_CONFIG, "tied is set, but the decoder has %d layers where the mirror image "
                         "of the encoder's %d has %d: leave the decoder out, or tied 0", n->decoders, n->encoders,
                         n->encoders + 1);
    vaei_spec_at(n, counterpart, &m, NULL);
    if (counterpart == n->encoders) m.out = spec->in;
    vaei_mirror_layer(&m);
    if (l->kind == m.layer.kind && vaei_same_shape(spec->in, m.in) && vaei_same_shape(spec->out, m.out) &&
        l->kernel_height == m.layer.kernel_height && l->kernel_width == m.layer.kernel_width &&
        l->stride_height == m.layer.stride_height && l->stride_width == m.layer.stride_width && l->top == m.layer.top &&
        l->left == m.layer.left) return VAE_OK;
    if (counterpart == n->encoders)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d is tied to the layer that gives the mean, but is not "
                         "its mirror image: make it dense with %d x %d x %d units, or leave tied 0", where.part,
                         where.number, m.out.height, m.out.width, m.out.channels);
    return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d is tied to encoder layer %d, but is not its mirror image: "
                     "leave the decoder out, or tied 0", where.part, where.number, counterpart + 1);
}

/* The layers that a model of this part holds: first .. end - 1 of the network. */
VAEI_SETUP int vaei_first_layer(const vaei_network *n, vae_part part) {
    return part == VAE_DECODER_ONLY ? n->encoders + 1 : 0;
}
VAEI_SETUP int vaei_end_layer(const vaei_network *n, vae_part part) {
    return part == VAE_ENCODER_ONLY ? n->encoders + 1 : n->encoders + 1 + n->decoders;
}

/* Whether the decoder's last layer gives what the likelihood takes, and nothing stands between it and the
   likelihood. */
VAEI_SETUP vae_status vaei_check_last_layer(const vaei_network *n, const vaei_layer_spec *last, int free_activation,
                                            vae_error *error) {
    const vaei_where where = vaei_where_is(n, n->encoders + n->decoders);
    if (last->layer.activation != VAE_LINEAR && !free_activation)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d is the last and gives the logits: make its activation "
                         "VAE_LINEAR (the likelihood applies its own)", where.part, where.number);
    if (last->layer.dropout > 0 || last->layer.batch_norm)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d is the last: its %s would be that of pixels, leave it 0",
                         where.part, where.number, last->layer.dropout > 0 ? "dropout" : "batch_norm");
    if (vaei_same_shape(last->out, n->output)) return VAE_OK;
    if (n->output.channels != n->input.channels)
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d gives %d x %d x %d, the likelihood takes two numbers a "
                         "pixel of the %d x %d x %d input: make it give %d x %d x %d", where.part, where.number,
                         last->out.height, last->out.width, last->out.channels, n->input.height, n->input.width,
                         n->input.channels, n->output.height, n->output.width, n->output.channels);
    return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d gives %d x %d x %d, the input is %d x %d x %d: change its "
                     "%s", where.part, where.number, last->out.height, last->out.width, last->out.channels,
                     n->input.height, n->input.width, n->input.channels,
                     vaei_is_dense(&last->layer)
                         ? "units, to as many as the input has numbers"
                         : "channels, strides or padding (output_padding adds a row below and a column right)");
}

/* Images in a micro-batch: few enough that the largest tensor of a convolution stays in the second-level cache, enough
   that the smallest products still fill the kernels. The number of micro-batches is a multiple of a power of two, so
   that 2, 4, 8 or 16 threads get equal shares; it does not depend on the number of threads, and so the bits do not
   either. `largest`: the numbers of that tensor in one image; `weights`: the parameters of the largest stage of
   convolutions. */
VAEI_SETUP void vaei_plan_micro_batch(vaei_plan *plan, size_t largest, size_t weights) {
    const size_t most = vaei_max_size(1, vaei_min_size(VAEI_MICRO_BATCH_IMAGES, VAEI_MICRO_BATCH_NUMBERS / largest));
    size_t       count = (plan->batch - 1) / most + 1, chunks = 4, shares = 1;
    /* Every chunk may need a copy of the stage's weights: fewer of them where those are large. */
    while (chunks < VAEI_MAX_CHUNKS && vaei_times(2 * chunks, weights) <= VAEI_CHUNK_NUMBERS) chunks *= 2;
    /* As many shares as chunks, unless there are fewer micro-batches than that. */
    while (shares < chunks && shares < count) shares *= 2;
    count = ((count - 1) / shares + 1) * shares;
    plan->micro = (plan->batch - 1) / count + 1;
    plan->chunk = plan->micro * (count / shares);
}

/* As vaei_plan_numbers, for the classifier, which belongs to the encoder's half. */
VAEI_SETUP vae_status vaei_plan_classifier(const vaei_network *n, vaei_plan *plan, vae_error *error) {
    const int       first = n->encoders + 1 + n->decoders;
    int             i;
    vaei_layer_spec spec;
    vae_status      status;
    plan->classifier.first_layer = plan->layer_count;
    plan->classifier.layers = n->classifiers;
    for (i = 0; VAEI_HAS(i < n->classifiers); i++) {
        if ((status = vaei_spec_at(n, first + i, &spec, error)) != VAE_OK) return status;
        if (spec.layer.batch_norm)
            return vaei_fail(error, VAE_ERROR_CONFIG, "classifier layer %d has batch_norm, which only the encoder and "
                             "the decoder may have: leave it 0", i + 1);
        if (!vaei_is_dense(&spec.layer) || (i + 1 == n->classifiers && spec.layer.activation != VAE_LINEAR))
            return vaei_fail(error, VAE_ERROR_CONFIG, "classifier layer %d is %s", i + 1, vaei_is_dense(&spec.layer)
                             ? "the last and gives the logits: make its activation VAE_LINEAR"
                             : "a convolution: use dense layers");
        if (i + 1 == n->classifiers && spec.layer.dropout > 0)
            return vaei_fail(error, VAE_ERROR_CONFIG, "classifier layer %d is the last: its dropout would be that of "
                             "logits, leave it 0", i + 1);
        plan->classes = vaei_shape_size(spec.out);
        if (plan->classes > VAEI_MAX_OUTPUTS || (i + 1 == n->classifiers && plan->classes < 2))
            return vaei_fail(error, VAE_ERROR_CONFIG, "classifier layer %d has %z units: give %s", i + 1, plan->classes,
                             i + 1 == n->classifiers ? "one for each class, 2 or more"
                                                     : "at most " VAEI_WRITTEN(VAEI_MAX_OUTPUTS));
        plan->parameter_count = vaei_plus(plan->parameter_count, vaei_plus(vaei_count_weights(&spec), plan->classes));
        if (vaei_times(plan->parameter_count, sizeof(vae_real)) > VAEI_TOO_LARGE / 16)
            return vaei_fail(error, VAE_ERROR_CONFIG, "classifier layer %d has more weights than fit in memory: make "
                             "it smaller", i + 1);
    }
    return VAE_OK;
}

/* Where in the block lies what belongs to no layer: sigmas, then the numbers that are not trained. */
VAEI_SETUP void vaei_plan_block(vaei_plan *plan, size_t running) {
    plan->log_sigma = plan->parameter_count;
    plan->parameter_count = vaei_plus(plan->parameter_count, plan->log_sigma_count);
    plan->standardize_mean = plan->parameter_count;
    plan->standardize_scale = plan->parameter_count + plan->constant_count / 2;
    plan->running = vaei_plus(plan->parameter_count, plan->constant_count);
    plan->constant_count = vaei_plus(plan->constant_count, running);
    plan->weight_count = vaei_plus(plan->parameter_count, plan->constant_count);
}

/* What is counted besides the plan's own numbers. */
typedef struct vaei_counts {
    size_t running;                         /* running averages of batch normalisation */
    size_t stage_weights, most_weights;     /* parameters of this stage of convolutions, of the largest one */
    size_t largest;                         /* numbers in an image of the largest tensor of a convolution */
    int    convolutional, normalizes;       /* the layer before */
} vaei_counts;

/* Where the stages begin: with each half, where dense layers and convolutions meet, and, in a model that can train,
   after a normalised convolution, since the normalisation needs the whole batch. */
VAEI_PRIVATE void vaei_count_stage(const vaei_network *n, int index, const vaei_layer_spec *spec, vaei_plan *plan,
                                   vaei_counts *counts) {
    const int first = vaei_first_layer(n, plan->part), convolutional = !vaei_is_dense(&spec->layer);
    if (index == first || index == n->encoders + 1 || convolutional != counts->convolutional ||
        (convolutional && counts->normalizes && plan->trains)) {
        plan->stage_count++;
        counts->stage_weights = 0;
        plan->last_stage_layer = index - first;
    }
    if (index == n->encoders + 1) {
        plan->decoder.first_layer = index - first;
        plan->decoder.first_stage = plan->stage_count - 1;
    }
    counts->convolutional = convolutional;
    counts->normalizes = VAEI_HAS(spec->layer.batch_norm != 0);
    if (!convolutional) return;
    /* Tied weights count too: their gradients are summed in the stage's areas, after its own. */
    counts->stage_weights += vaei_plus(vaei_count_weights(spec), vaei_count_biases(spec));
    counts->most_weights = vaei_max_size(counts->most_weights, counts->stage_weights);
    counts->largest = vaei_max_size(counts->largest, vaei_max_size(vaei_shape_size(spec->in),
                                                                   vaei_shape_size(spec->out)));
}

/* Checks a layer that the model holds, and counts its parameters. */
VAEI_PRIVATE vae_status vaei_count_layer(const vaei_network *n, int index, const vaei_layer_spec *spec, vaei_plan *plan,
                                         vaei_counts *counts, vae_error *error) {
    const vaei_where where = vaei_where_is(n, index);
    const int        tied = VAEI_HAS(n->tied) && index > n->encoders;
    const size_t     biases = vaei_count_biases(spec);
    const size_t     normalized = VAEI_HAS(spec->layer.batch_norm != 0) ? vaei_times(2, biases) : 0;
    vae_status       status;
    if (spec->classes && !vaei_is_dense(&spec->layer))
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d is a convolution, which cannot take the label of a "
                         "conditional model (classes is %z): begin the decoder with a dense layer", where.part,
                         where.number, spec->classes);
    if (tied && (status = vaei_check_tied(n, index, spec, error)) != VAE_OK) return status;
    plan->parameter_count = vaei_plus(plan->parameter_count, vaei_plus(biases, normalized));
    if (!tied) plan->parameter_count = vaei_plus(plan->parameter_count, vaei_count_weights(spec));
    counts->running = vaei_plus(counts->running, normalized);
    /* A sixteenth of what a size_t can count: gradients, moments and a second set of weights still fit beside it. */
    if (vaei_times(plan->parameter_count, sizeof(vae_real)) <= VAEI_TOO_LARGE / 16) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has more weights than fit in memory: make it smaller",
                     where.part, where.number);
}

/* The layers and stages of the two chains, once all have been counted. */
VAEI_PRIVATE void vaei_plan_chains(const vaei_network *n, vaei_plan *plan) {
    const int first = vaei_first_layer(n, plan->part);
    plan->layer_count = vaei_end_layer(n, plan->part) - first;
    plan->heads = first ? -1 : n->encoders;
    plan->encoder.layers = first ? 0 : n->encoders + 1;
    plan->decoder.layers = plan->layer_count - plan->encoder.layers;
    plan->encoder.stages = plan->decoder.layers ? plan->decoder.first_stage : plan->stage_count;
    plan->decoder.stages = plan->stage_count - plan->encoder.stages;
}

/* Checks the layers up to the last one that the model holds, and counts those that it holds: a decoder alone may be the
   mirror image of an encoder that it does not hold. */
VAEI_SETUP vae_status vaei_plan_numbers(const vaei_network *n, vaei_plan *plan, vae_error *error) {
    const int       first = vaei_first_layer(n, plan->part), end = vaei_end_layer(n, plan->part);
    vaei_counts     counts = { 0, 0, 1, 1, 0, 0 };
    int             index;
    vaei_layer_spec spec;
    vae_status      status;
    for (index = n->config && n->encoders ? 0 : first; index < end; index++) {
        const vaei_where where = vaei_where_is(n, index);
        if ((status = vaei_spec_at(n, index, &spec, error)) != VAE_OK) return status;
        if (vaei_shape_size(spec.out) > VAEI_MAX_OUTPUTS)
            return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d gives more than " VAEI_WRITTEN(VAEI_MAX_OUTPUTS)
                             " numbers per example: make it smaller", where.part, where.number);
        if (index < first) continue;
        if ((status = vaei_count_layer(n, index, &spec, plan, &counts, error)) != VAE_OK) return status;
        vaei_count_stage(n, index, &spec, plan, &counts);
    }
    vaei_plan_chains(n, plan);
    plan->output = plan->example;
    if (!first && (status = vaei_plan_classifier(n, plan, error)) != VAE_OK) return status;
    if (plan->decoder.layers) {
        if ((status = vaei_check_last_layer(n, &spec, plan->free_activation, error)) != VAE_OK) return status;
        plan->output = vaei_shape_size(spec.out);
        plan->finishes_in_place = spec.layer.activation == VAE_LINEAR;
    }
    if (!plan->decoder.layers || !counts.convolutional) plan->fused = 0;
    vaei_plan_block(plan, counts.running);
    /* 1 is what the count began with: there is no convolution. */
    plan->partial_size = counts.most_weights > 1 ? counts.most_weights : 0;
    vaei_plan_micro_batch(plan, counts.largest, counts.most_weights);
    return VAE_OK;
}

/* What the settings decide by themselves, before any layer is looked at. */
VAEI_SETUP void vaei_begin_plan(const vaei_settings *s, vaei_plan *plan) {
    const int has_sigma = vaei_has_sigma(s->likelihood);
    memset(plan, 0, sizeof *plan);
    plan->example = vaei_shape_size(s->input);
    plan->latent = (size_t)s->latent;
    plan->classes = (size_t)s->classes;
    plan->is_conditional = s->classes != 0;
    plan->threads = s->threads;
    plan->part = s->part;
    plan->moments = vaei_optimizers[s->optimizer.kind].moments;
    plan->owns_weights = !s->weights;
    plan->is_bare = s->tensors_only != 0;
    plan->free_activation = has_sigma != 0;
    if (has_sigma && s->sigma == 0 && s->part != VAE_ENCODER_ONLY)
        plan->log_sigma_count = s->sigma_per_pixel ? plan->example : 1;
    if (s->standardize) plan->constant_count = vaei_times(2, plan->example);
#ifdef VAEI_HAS_POOL
    plan->has_pool = s->threads > 1 && !s->parallel.run && !s->tensors_only;
#endif
#ifndef VAE_INFERENCE_ONLY
    plan->trains = !s->inference_only && s->part == VAE_WHOLE;
    plan->keeps_best = plan->trains && s->keep_best;
#endif
    plan->samples = plan->trains ? s->samples : 1;
    plan->has_weights = plan->trains && s->objective == VAE_OBJECTIVE_IWAE;
    plan->has_free_bits = plan->trains && s->free_bits != 0;
    /* The gradients of a sigma for each pixel need the outputs of the whole batch before any row goes backward, those
       of weighted samples the scores of the others. */
    plan->fused = !s->unfused && !(plan->trains && (plan->log_sigma_count > 1 || plan->has_weights));
    /* A model that cannot train has room for as many rows as inference takes at once, not for a batch. */
    plan->rows = vaei_min_size(s->batch, VAEI_INFERENCE_ROWS * (size_t)plan->threads);
    plan->batch = plan->trains ? s->batch : plan->rows;
    plan->decoder_batch = vaei_times(plan->batch, plan->samples);
    if (s->part == VAE_WHOLE) {
        plan->has_target = (plan->trains && s->corruption.kind != VAE_CORRUPTION_NONE) || s->targets;
        if (s->missing) plan->observed_size = (plan->example - 1) / sizeof(vae_real) + 1;
    }
}

/* ---- memory of the tensors ----

   Dense layers and the ends of stages have flat tensors. Inside a stage of convolutions each image lies in a border of
   zeros, as wide as the next layer's kernel reaches: then every tap of every position reads a number, and no loop asks
   whether it is inside. The borders are set to 0 once, when the model is made, and nothing writes to them again. */

/* An image without a border. */
VAEI_APART vaei_image vaei_flat_image(vae_shape shape) {
    vaei_image image;
    memset(&image, 0, sizeof image);        /* its padding too: the image is copied into the model */
    image.height = shape.height;
    image.width = shape.width;
    image.channels = shape.channels;
    image.row = vaei_times((size_t)shape.width, (size_t)shape.channels);
    image.image = vaei_times((size_t)shape.height, image.row);
    return image;
}

/* A negative border counts as none. */
VAEI_SETUP vaei_image vaei_bordered_image(vae_shape shape, int32_t top, int32_t bottom, int32_t left, int32_t right) {
    const size_t channels = (size_t)shape.channels;
    vaei_image   image = vaei_flat_image(shape);
    top = vaei_not_below_0(top);
    left = vaei_not_below_0(left);
    image.row = vaei_plus(vaei_plus((size_t)left, (size_t)shape.width), (size_t)vaei_not_below_0(right));
    image.row = vaei_times(image.row, channels);
    image.image = vaei_plus(vaei_plus((size_t)top, (size_t)shape.height), (size_t)vaei_not_below_0(bottom));
    image.image = vaei_times(image.image, image.row);
    image.origin = vaei_plus(vaei_times((size_t)top, image.row), vaei_times((size_t)left, channels));
    return image;
}

/* A convolution's fine and coarse image: see vaei_connection. */
VAEI_PRIVATE int vaei_is_transposed(const vaei_layer_spec *spec) {
    return spec->layer.kind == VAE_LAYER_CONV_TRANSPOSED;
}
VAEI_SETUP vae_shape vaei_fine_shape(const vaei_layer_spec *spec) {
    return vaei_is_transposed(spec) ? spec->out : spec->in;
}
VAEI_SETUP vae_shape vaei_coarse_shape(const vaei_layer_spec *spec) {
    return vaei_is_transposed(spec) ? spec->in : spec->out;
}

/* The border that gather reads around the fine image. */
VAEI_SETUP vaei_image vaei_fine_image(const vaei_layer_spec *spec) {
    const vae_layer *l = &spec->layer;
    const vae_shape  fine = vaei_fine_shape(spec), coarse = vaei_coarse_shape(spec);
    const int32_t    below = ((int32_t)coarse.height - 1) * l->stride_height + l->kernel_height - l->top - fine.height;
    const int32_t    right = ((int32_t)coarse.width - 1) * l->stride_width + l->kernel_width - l->left - fine.width;
    return vaei_bordered_image(fine, l->top, below, l->left, right);
}

/* C's division rounds towards 0; this one rounds down. b > 0. */
VAEI_SETUP int32_t vaei_floor_divide(int32_t a, int32_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

/* The border that scatter reads around the coarse image: up to the positions that the outermost fine ones meet. Coarse
   position i meets the fine ones from i stride - top to i stride - top + kernel - 1; so fine position 0 meets no i
   below (top - kernel + 1) / stride, rounded up, and the last one, p, no i above (p + top) / stride, rounded down. */
VAEI_SETUP vaei_image vaei_coarse_image(const vaei_layer_spec *spec) {
    const vae_layer *l = &spec->layer;
    const vae_shape  fine = vaei_fine_shape(spec), coarse = vaei_coarse_shape(spec);
    const int32_t    above =
        -vaei_floor_divide((int32_t)l->top - l->kernel_height + l->stride_height, l->stride_height);
    const int32_t    left = -vaei_floor_divide((int32_t)l->left - l->kernel_width + l->stride_width, l->stride_width);
    const int32_t    below = ((int32_t)fine.height - 1 + l->top) / l->stride_height - ((int32_t)coarse.height - 1);
    const int32_t    right = ((int32_t)fine.width - 1 + l->left) / l->stride_width - ((int32_t)coarse.width - 1);
    return vaei_bordered_image(coarse, above, below, left, right);
}

/* Is this layer of the network a convolution? `index` may lie before or after them all. */
VAEI_SETUP int vaei_is_convolution(const vaei_network *n, int index) {
    if (index < 0 || index == n->encoders || index > n->encoders + n->decoders) return 0;
    if (!n->config) {
        const int at = vaei_plan_index(n, index);
        return at >= 0 && at < n->plan->layer_count && n->plan->layers[at].connection != NULL;
    }
    if (index < n->encoders) return n->config->encoder[index].kind != VAE_LAYER_DENSE;
    index -= n->encoders + 1;
    if (!n->is_mirrored) return n->config->decoder[index].kind != VAE_LAYER_DENSE;
    /* The first layer undoes the heads, which are dense; layer i undoes the encoder's layer encoders - i. */
    return index && n->config->encoder[n->encoders - index].kind != VAE_LAYER_DENSE;
}

/* Is this convolution's product normalised? */
VAEI_SETUP int vaei_is_normalized(const vaei_network *n, int index) {
    if (!n->config) return n->plan->layers[vaei_plan_index(n, index)].normalizes;
    if (index < n->encoders) return n->config->encoder[index].batch_norm != 0;
    index -= n->encoders + 1;
    if (!n->is_mirrored) return n->config->decoder[index].batch_norm != 0;
    /* A mirrored layer has the normalisation of the layer before the one that it undoes. */
    return index < n->encoders && n->config->encoder[n->encoders - 1 - index].batch_norm != 0;
}

/* Does this convolution go on with the one before it in one stage? Where that one is normalised, only in a model that
   cannot train: the others normalise by the whole batch. */
VAEI_SETUP int vaei_is_joined(const vaei_network *n, int trains, int index) {
    return VAEI_HAS(vaei_is_convolution(n, index)) && vaei_is_convolution(n, index - 1) &&
           !(trains && vaei_is_normalized(n, index - 1));
}

/* A convolution's four tensors. */
enum { VAEI_INPUT, VAEI_OUTPUT, VAEI_INPUT_GRADIENT, VAEI_OUTPUT_GRADIENT };

/* How a tensor of a convolution lies in memory. Within a stage a layer's output is the next one's input, and has the
   border that the next one reads; likewise the gradients on the backward pass. */
VAEI_SETUP vaei_image vaei_image_at(const vaei_network *n, int trains, int index, int which) {
    vaei_layer_spec spec;
    if (which == VAEI_OUTPUT && vaei_is_joined(n, trains, index + 1)) {
        index++;
        which = VAEI_INPUT;
    } else if (which == VAEI_INPUT_GRADIENT && vaei_is_joined(n, trains, index)) {
        index--;
        which = VAEI_OUTPUT_GRADIENT;
    }
    vaei_spec_at(n, index, &spec, NULL);
    /* At the ends of a stage. */
    if (which == VAEI_OUTPUT) return vaei_flat_image(spec.out);
    if (which == VAEI_INPUT_GRADIENT) return vaei_flat_image(spec.in);
    /* What a gather reads is a fine image, what a scatter reads a coarse one. */
    return (which == VAEI_INPUT) != vaei_is_transposed(&spec) ? vaei_fine_image(&spec) : vaei_coarse_image(&spec);
}

/* A plan that is being made: it counts and, once there is a block, fills it. */
typedef struct vaei_planning {
    const vaei_network *network;
    vaei_plan          *plan;
    vaei_arena         *arena;                  /* of the model's block */
    vaei_arena          workspace, slot;        /* only counted */
    int                 first;                  /* layer of the network that the plan holds */
    size_t              rows;                   /* of the batch in the half of the network that is being planned */
    vaei_stage         *stage;                  /* NULL while counting */
    size_t              parameters;             /* of the layers so far */
    size_t              running;                /* numbers that batch normalisation keeps, so far */
    size_t              partial;                /* where the stage's sums for tied weights begin */
    size_t              scratch;                /* the most that any product needs */
    vaei_place          input, input_gradient;  /* of the next layer: the output of the one before, and its gradient */
} vaei_planning;

/* Where what is taken next will lie, in numbers. */
VAEI_PRIVATE size_t vaei_next_number(const vaei_arena *arena) { return arena->used / sizeof(vae_real); }

/* Takes room for `each` numbers per example: for the batch in the workspace, or for a micro-batch in the slots. */
VAEI_SETUP vaei_place vaei_place_numbers(vaei_planning *p, int in_slot, size_t each) {
    vaei_arena *arena = in_slot ? &p->slot : &p->workspace;
    vaei_place  place;
    place.in_slot = in_slot != 0;
    place.offset = vaei_next_number(arena);
    vaei_take_reals(arena, vaei_times(in_slot ? p->plan->micro : p->rows, each));
    return place;
}

/* Whether the activation makes its output from numbers that dropout must not change: all but those whose derivative
   needs only a sign. */
VAEI_PRIVATE int vaei_saves_output(vae_activation activation) {
    return activation == VAE_TANH || activation == VAE_SIGMOID || activation == VAE_SOFTPLUS;
}

/* Whether what the activation's derivative is computed from is kept beside the layer's output. */
VAEI_SETUP int vaei_saves_apart(vae_activation activation, vae_real dropout) {
    return vaei_activation_saves_input(activation) || (dropout > 0 && vaei_saves_output(activation));
}

/* What batch normalisation knows of each channel, one array after the other: mean and 1 / deviation by which it
   normalises; the variance as an estimate of the population's; 1 / deviation times weight; and on the backward pass
   what is taken off every gradient, and off it in proportion to the input. */
enum {
    VAEI_NORM_MEAN, VAEI_NORM_INVERSE, VAEI_NORM_VARIANCE, VAEI_NORM_SCALE, VAEI_NORM_LESS, VAEI_NORM_LESS_INPUT,
    VAEI_STATISTICS
};

/* What decides how much room a layer's tensors need, and where. */
typedef struct vaei_layer_needs {
    vae_layer_kind kind;
    size_t         inputs, outputs;
    size_t         channels;                    /* that batch normalisation knows */
    size_t         room;                        /* for a dense layer's outputs: the heads always have both halves */
    char           saves_apart;                 /* what the activation's derivative needs is not the output */
    char           normalizes;
    char           begins, ends;                /* the first of its stage, the last, */
    char           fused;                       /* which is the fused one */
    char           finishes;                    /* the likelihood's gradient replaces its output */
} vaei_layer_needs;

/* That of the network's layer `index`. */
VAEI_SETUP void vaei_layer_needs_of(const vaei_planning *p, int index, vaei_layer_needs *needs) {
    const vaei_plan *plan = p->plan;
    vaei_layer_spec  spec;
    vaei_spec_at(p->network, index, &spec, NULL);
    needs->kind = spec.layer.kind;
    needs->saves_apart = plan->trains && vaei_saves_apart(spec.layer.activation, spec.layer.dropout);
    needs->normalizes = spec.layer.batch_norm != 0;
    needs->inputs = vaei_shape_size(spec.in);
    needs->outputs = vaei_shape_size(spec.out);
    needs->channels = vaei_count_biases(&spec);
    needs->room = index == p->network->encoders ? 2 * plan->latent : needs->outputs;
    needs->begins = !vaei_is_joined(p->network, plan->trains, index);
    needs->ends = !vaei_is_joined(p->network, plan->trains, index + 1) || index - p->first + 1 == plan->layer_count;
    needs->fused = plan->fused && index - p->first >= plan->last_stage_layer;
    needs->finishes = plan->finishes_in_place && index - p->first + 1 == plan->layer_count;
}

/* Batch normalisation keeps its input for the backward pass; inference needs no more room. */
VAEI_SETUP void vaei_place_linear(vaei_planning *p, const vaei_layer_needs *needs, vaei_places *places) {
    places->linear = places->output;
    if (needs->normalizes && p->plan->trains) places->linear = vaei_place_numbers(p, 0, needs->outputs);
    places->statistics = vaei_next_number(&p->workspace);
    if (needs->normalizes) vaei_take_reals(&p->workspace, vaei_times(VAEI_STATISTICS, needs->channels));
}

/* The gradient of each layer's output has a place of its own, since vaei_update needs it later. Only the last layer's
   replaces the output from which the likelihood computes it, unless the activation's derivative needs that output. */
VAEI_SETUP void vaei_place_dense(vaei_planning *p, const vaei_layer_needs *needs, vaei_places *places) {
    const int trains = p->plan->trains;
    places->input = p->input;
    places->input_gradient = p->input_gradient;
    places->output = vaei_place_numbers(p, 0, needs->room);
    places->saved = places->output;
    if (needs->saves_apart) places->saved = vaei_place_numbers(p, 0, needs->outputs);
    vaei_place_linear(p, needs, places);
    p->input = places->output;
    if (trains) p->input_gradient = needs->finishes ? places->output : vaei_place_numbers(p, 0, needs->room);
    places->output_gradient = p->input_gradient;
}

/* Numbers in one image of each of a convolution's tensors. */
typedef struct vaei_image_sizes {
    size_t input, output, output_gradient;
} vaei_image_sizes;

/* Numbers in one image of this tensor; `kept`, NULL while counting, receives its layout. */
VAEI_SETUP size_t vaei_lay_image(vaei_planning *p, int index, int which, vaei_image *kept) {
    const vaei_image image = vaei_image_at(p->network, p->plan->trains, index, which);
    if (kept) *kept = image;
    /* Entries of the tables have 32 bits. */
    if (image.image > (size_t)(0xFFFFFFFF / p->plan->micro)) p->arena->used = VAEI_TOO_LARGE;
    return image.image;
}

/* What the backward pass needs again is kept for the whole batch, unless that pass follows at once. */
VAEI_SETUP void vaei_place_convolution(vaei_planning *p, const vaei_layer_needs *needs, const vaei_image_sizes *sizes,
                                       vaei_places *places) {
    const int trains = p->plan->trains, output_in_slot = needs->ends ? needs->fused : needs->fused || !trains;
    /* What comes into a stage is flat: it is copied into the border that the first layer's kernel reads. */
    places->input = needs->begins ? vaei_place_numbers(p, 1, sizes->input) : p->input;
    places->input_gradient = p->input_gradient;
    places->output = vaei_place_numbers(p, output_in_slot, sizes->output);
    places->saved = places->output;
    if (needs->saves_apart) places->saved = vaei_place_numbers(p, output_in_slot, sizes->output);
    vaei_place_linear(p, needs, places);
    p->input = places->output;
    if (trains) p->input_gradient = vaei_place_numbers(p, 1, sizes->output_gradient);
    places->output_gradient = p->input_gradient;
    /* The gradient of the stage's output arrives flat; its bordered copy is the one above. */
    if (trains && needs->ends)
        p->input_gradient = needs->finishes ? places->output : vaei_place_numbers(p, needs->fused, needs->outputs);
}

/* The plan's entry for a layer, but for its places and tables. Its numbers follow those of the layer before: weights,
   bias, and for batch normalisation weight and bias once more. */
VAEI_SETUP void vaei_fill_layer(vaei_planning *p, int index, vaei_layer *layer) {
    vaei_layer_spec spec;
    vaei_spec_at(p->network, index, &spec, NULL);
    layer->kind = spec.layer.kind;
    layer->activation = spec.layer.activation;
    layer->dropout = spec.layer.dropout;
    layer->normalizes = spec.layer.batch_norm != 0;
    layer->in = spec.in;
    layer->out = spec.out;
    layer->written = spec.layer.shape;
    layer->inputs = vaei_shape_size(spec.in);
    layer->outputs = vaei_shape_size(spec.out);
    layer->classes = spec.classes;
    layer->weight = p->parameters;
    layer->weight_count = vaei_count_weights(&spec);
    layer->is_tied = p->network->tied && index > p->network->encoders &&
                     index <= p->network->encoders + p->network->decoders;
    if (layer->is_tied) {
        const vaei_layer *other = &p->plan->layers[vaei_counterpart(p->network, index)];
        layer->weight = other->weight;
        layer->weight_row = other->outputs;
        layer->weight_partial = layer->weight_count;
        layer->weight_count = 0;
    }
    layer->bias = p->parameters + layer->weight_count;
    layer->bias_count = vaei_count_biases(&spec);
    layer->tensor = p->plan->layer_tensors;
    /* The heads are one layer here and two in files, mean and logvar, each with a weight and a bias. */
    p->plan->layer_tensors += index == p->network->encoders && !p->network->shared_heads ? 4 : layer->is_tied ? 1 : 2;
    p->parameters = layer->bias + layer->bias_count;
    if (!layer->normalizes) return;
    layer->running = p->plan->running + p->running;
    p->running += 2 * layer->bias_count;
    p->parameters += 2 * layer->bias_count;
    p->plan->layer_tensors += 4;
}

/* The geometry of a convolution, either way round: its input is the fine image, a transposed one's the coarse image. */
VAEI_SETUP void vaei_fill_connection(const vaei_network *n, int index, vaei_connection *c) {
    vaei_layer_spec  spec;
    const vae_layer *l = &spec.layer;
    vaei_spec_at(n, index, &spec, NULL);
    c->fine = vaei_fine_shape(&spec);
    c->coarse = vaei_coarse_shape(&spec);
    c->kernel_height = l->kernel_height;
    c->kernel_width = l->kernel_width;
    c->stride_height = l->stride_height;
    c->stride_width = l->stride_width;
    c->top = l->top;
    c->bottom = l->bottom;
    c->left = l->left;
    c->right = l->right;
    c->output_padding_height = l->output_padding_height;
    c->output_padding_width = l->output_padding_width;
    c->padding = l->padding;
}

/* Notes the scratch that a product of this size needs. */
VAEI_SETUP void vaei_note_product(vaei_planning *p, size_t rows, size_t columns, size_t steps) {
    size_t needed = VAEI_TOO_LARGE;
    /* The sums in vaei_product_scratch are not checked, so no size may reach it that did not fit. */
    if (rows != VAEI_TOO_LARGE && columns != VAEI_TOO_LARGE && steps != VAEI_TOO_LARGE)
        needed = vaei_product_scratch(rows, columns, steps);
    p->scratch = vaei_max_size(p->scratch, needed);
}

/* ---- tables of the convolutions ----

   vaei_product finds the rows of A and C through tables of offsets: that makes a convolution a matrix product without
   copying patches. A convolution's three products need these:
     gather    for each coarse position, where its patch begins in the fine images and where its result goes; for each
               row of the kernel, how far it lies from the patch's beginning
     scatter   the same the other way round, phase by phase
     weights   for each number of a patch, how far it lies from the patch's beginning; for each line of coarse
               positions, where it begins in both images
   The tables hold offsets for one micro-batch and are the same for all. */

/* Room for a table; NULL while counting. */
VAEI_SETUP uint32_t *vaei_take_offsets(vaei_arena *arena, size_t count) {
    return (uint32_t *)vaei_take(arena, count, sizeof(uint32_t));
}

/* Of the fine positions 0 .. extent-1, those whose (position + before) mod stride is `parity`: the first, their count,
   and the number of the kernel's taps that they meet, which are parity, parity + stride, .... */
VAEI_SETUP int vaei_first_of_parity(int parity, int before, int stride) {
    return (int)((((int32_t)parity - before) % stride + stride) % stride);
}

VAEI_SETUP size_t vaei_count_of_parity(int parity, int before, int stride, int extent) {
    const int first = vaei_first_of_parity(parity, before, stride);
    return first < extent ? (size_t)((extent - 1 - first) / stride + 1) : 0;
}

VAEI_SETUP int vaei_taps_of_parity(int parity, int kernel, int stride) {
    return parity < kernel ? (kernel - 1 - parity) / stride + 1 : 0;
}

/* The parity of a position. The phases are those of the first positions: with a stride wider than the image no position
   has the other parities. */
VAEI_SETUP int vaei_parity(int position, int before, int stride) {
    return (int)(((int32_t)position + before) % stride);
}

/* Takes room for the tables of a scatter, and counts the rows and taps of its phases; `c` is NULL while counting. */
VAEI_SETUP void vaei_take_phases(const vaei_layer_spec *spec, vae_shape fine, size_t micro, vaei_arena *arena,
                                 vaei_connection *c) {
    const vae_layer *l = &spec->layer;
    const int        parities_y = l->stride_height < fine.height ? l->stride_height : fine.height;
    const int        parities_x = l->stride_width < fine.width ? l->stride_width : fine.width;
    const size_t     count = vaei_times((size_t)parities_y, (size_t)parities_x);
    vaei_phase      *phase = (vaei_phase *)vaei_take(arena, count, sizeof(vaei_phase)), counted;
    int              y, x;
    if (c) {
        c->phases = phase;
        c->phase_count = count;
    }
    for (y = 0; y < parities_y; y++)
        for (x = 0; x < parities_x; x++) {
            const int   parity_y = vaei_parity(y, l->top, l->stride_height);
            const int   parity_x = vaei_parity(x, l->left, l->stride_width);
            vaei_phase *made = c ? phase++ : &counted;
            made->rows = vaei_times(vaei_count_of_parity(parity_y, l->top, l->stride_height, fine.height),
                                    vaei_count_of_parity(parity_x, l->left, l->stride_width, fine.width));
            made->taps = vaei_times((size_t)vaei_taps_of_parity(parity_y, l->kernel_height, l->stride_height),
                                    (size_t)vaei_taps_of_parity(parity_x, l->kernel_width, l->stride_width));
            made->from = vaei_take_offsets(arena, vaei_times(micro, made->rows));
            made->to = vaei_take_offsets(arena, vaei_times(micro, made->rows));
            made->from_taps = vaei_take_offsets(arena, made->taps);
            made->weight_taps = vaei_take_offsets(arena, made->taps);
        }
}

/* The same for the tables of a gather, and for those of the weights. */
VAEI_SETUP void vaei_take_gather(vaei_arena *arena, size_t positions, int kernel_height, vaei_connection *c) {
    uint32_t *from = vaei_take_offsets(arena, positions), *to = vaei_take_offsets(arena, positions);
    uint32_t *lines = vaei_take_offsets(arena, (size_t)kernel_height);
    if (!c) return;
    c->convolve_from = from;
    c->convolve_to = to;
    c->kernel_lines = lines;
}

VAEI_SETUP void vaei_take_weight_tables(vaei_arena *arena, size_t rows, size_t lines, vaei_connection *c) {
    uint32_t *weight_rows = vaei_take_offsets(arena, rows);
    uint32_t *fine_lines = vaei_take_offsets(arena, lines), *coarse_lines = vaei_take_offsets(arena, lines);
    if (!c) return;
    c->weight_rows = weight_rows;
    c->fine_lines = fine_lines;
    c->coarse_lines = coarse_lines;
}

/* Takes room for the tables; `c` is NULL while counting. Also notes the scratch that the products need. */
VAEI_SETUP void vaei_take_tables(vaei_planning *p, int index, vaei_connection *c) {
    const vaei_plan *plan = p->plan;
    vaei_arena      *arena = p->arena;
    const size_t     micro = plan->micro;
    vaei_layer_spec  spec;
    vae_shape        fine, coarse;
    size_t           window, rows, positions, lines;
    vaei_spec_at(p->network, index, &spec, NULL);
    fine = vaei_fine_shape(&spec);
    coarse = vaei_coarse_shape(&spec);
    window = vaei_window(&spec);
    rows = vaei_times(window, (size_t)fine.channels);
    lines = vaei_times(micro, (size_t)coarse.height);
    positions = vaei_times(lines, (size_t)coarse.width);
    /* gather: forward in a convolution, backward in a transposed one */
    if (plan->trains || !vaei_is_transposed(&spec)) {
        vaei_take_gather(arena, positions, spec.layer.kernel_height, c);
        vaei_note_product(p, positions, (size_t)coarse.channels, rows);
    }
    /* scatter: the other way */
    if (plan->trains || vaei_is_transposed(&spec)) {
        vaei_take_phases(&spec, fine, micro, arena, c);
        vaei_note_product(p, vaei_times(micro, vaei_times((size_t)fine.height, (size_t)fine.width)),
                          (size_t)fine.channels, vaei_times(window, (size_t)coarse.channels));
    }
    if (plan->trains) {
        vaei_take_weight_tables(arena, rows, lines, c);
        vaei_note_product(p, rows, (size_t)coarse.channels, positions);
    }
    if (vaei_times(rows, (size_t)coarse.channels) / 2 > 0x7FFFFFFF) arena->used = VAEI_TOO_LARGE;    /* 32 bits */
}

/* Offsets into the fine image count from its border's corner, where the first patch begins. */
VAEI_SETUP void vaei_fill_gather(vaei_connection *c, const vaei_image *fine, const vaei_image *coarse, size_t micro) {
    const size_t channels = (size_t)c->fine.channels;
    size_t       n, i = 0;
    int          y, x;
    for (n = 0; n < micro; n++)
        for (y = 0; y < c->coarse.height; y++)
            for (x = 0; x < c->coarse.width; x++, i++) {
                c->convolve_from[i] = (uint32_t)(n * fine->image + (size_t)y * (size_t)c->stride_height * fine->row +
                                               (size_t)x * (size_t)c->stride_width * channels);
                c->convolve_to[i] = (uint32_t)(n * coarse->image + coarse->origin + (size_t)y * coarse->row +
                                             (size_t)x * (size_t)c->coarse.channels);
            }
    for (y = 0; y < c->kernel_height; y++) c->kernel_lines[y] = (uint32_t)((size_t)y * fine->row);
}

/* The tables of one phase: its rows in all images of a micro-batch, and its taps, the last of the kernel first. */
VAEI_SETUP void vaei_fill_phase(const vaei_connection *c, vaei_phase *phase, int parity_y, int parity_x,
                                const vaei_image *coarse, const vaei_image *fine, size_t micro) {
    const size_t  coarse_channels = (size_t)c->coarse.channels, fine_channels = (size_t)c->fine.channels;
    const int     taps_y = vaei_taps_of_parity(parity_y, c->kernel_height, c->stride_height);
    const int     taps_x = vaei_taps_of_parity(parity_x, c->kernel_width, c->stride_width);
    const int32_t first_y = vaei_first_of_parity(parity_y, c->top, c->stride_height);
    const int32_t first_x = vaei_first_of_parity(parity_x, c->left, c->stride_width);
    size_t        n, i = 0;
    int32_t       y, x;
    for (n = 0; n < micro; n++)
        for (y = first_y; y < c->fine.height; y += c->stride_height)
            for (x = first_x; x < c->fine.width; x += c->stride_width, i++) {
                /* The coarse position that the last tap meets has the lowest address; from_taps leads from it to the
                   others. It may lie in the border, so coarse_y and coarse_x may be negative, but the sum is not. */
                const int32_t coarse_y = (y + c->top - parity_y) / c->stride_height - (taps_y - 1);
                const int32_t coarse_x = (x + c->left - parity_x) / c->stride_width - (taps_x - 1);
                phase->from[i] = taps_y && taps_x
                                     ? (uint32_t)(n * coarse->image + coarse->origin) +
                                           (uint32_t)coarse_y * (uint32_t)coarse->row +
                                           (uint32_t)coarse_x * (uint32_t)coarse_channels
                                     : 0;
                phase->to[i] =
                    (uint32_t)(n * fine->image + fine->origin + (size_t)y * fine->row + (size_t)x * fine_channels);
            }
    i = 0;
    for (y = taps_y - 1; y >= 0; y--)
        for (x = taps_x - 1; x >= 0; x--, i++) {
            const size_t tap = ((size_t)parity_y + (size_t)y * (size_t)c->stride_height) * (size_t)c->kernel_width +
                               ((size_t)parity_x + (size_t)x * (size_t)c->stride_width);
            phase->from_taps[i] =
                (uint32_t)((size_t)(taps_y - 1 - y) * coarse->row + (size_t)(taps_x - 1 - x) * coarse_channels);
            phase->weight_taps[i] = (uint32_t)(tap * fine_channels * coarse_channels);
        }
}

/* All phases: one for each pair of parities, row by row. */
VAEI_SETUP void vaei_fill_scatter(vaei_connection *c, const vaei_image *coarse, const vaei_image *fine, size_t micro) {
    const int parities_x = c->stride_width < c->fine.width ? c->stride_width : c->fine.width;
    size_t    i;
    for (i = 0; i < c->phase_count; i++)
        vaei_fill_phase(c, &c->phases[i], vaei_parity((int)(i / (size_t)parities_x), c->top, c->stride_height),
                        vaei_parity((int)(i % (size_t)parities_x), c->left, c->stride_width), coarse, fine, micro);
}

/* Row i of the weights' product stands for number i of a patch: kernel row, tap and fine channel. */
VAEI_SETUP void vaei_fill_weights(vaei_connection *c, const vaei_image *fine, const vaei_image *coarse, size_t micro) {
    const size_t run = (size_t)c->kernel_width * (size_t)c->fine.channels, rows = (size_t)c->kernel_height * run;
    size_t       n, i;
    int          y;
    for (i = 0; i < rows; i++) c->weight_rows[i] = (uint32_t)(i / run * fine->row + i % run);
    i = 0;
    for (n = 0; n < micro; n++)
        for (y = 0; y < c->coarse.height; y++, i++) {
            c->fine_lines[i] = (uint32_t)(n * fine->image + (size_t)y * (size_t)c->stride_height * fine->row);
            c->coarse_lines[i] = (uint32_t)(n * coarse->image + coarse->origin + (size_t)y * coarse->row);
        }
}

/* Which of a layer's tensors each of the three products reads and writes: gather goes forward in a convolution and
   backward in a transposed one, scatter the other way. */
typedef struct vaei_connection_images {
    const vaei_image *gather_fine, *gather_coarse, *scatter_coarse, *scatter_fine;
} vaei_connection_images;

VAEI_SETUP vaei_connection_images vaei_images_of(const vaei_layer *layer) {
    const int              transposed = layer->kind == VAE_LAYER_CONV_TRANSPOSED;
    const vaei_connection *c = layer->connection;
    vaei_connection_images images;
    images.gather_fine = transposed ? &c->output_gradient : &c->input;
    images.gather_coarse = transposed ? &c->input_gradient : &c->output;
    images.scatter_coarse = transposed ? &c->input : &c->output_gradient;
    images.scatter_fine = transposed ? &c->output : &c->input_gradient;
    return images;
}

VAEI_SETUP void vaei_fill_tables(const vaei_layer *layer, size_t micro) {
    vaei_connection             *c = layer->connection;
    const vaei_connection_images images = vaei_images_of(layer);
    if (c->convolve_from) vaei_fill_gather(c, images.gather_fine, images.gather_coarse, micro);
    if (c->phases) vaei_fill_scatter(c, images.scatter_coarse, images.scatter_fine, micro);
    if (c->weight_rows) vaei_fill_weights(c, images.gather_fine, images.scatter_coarse, micro);
}

/* ---- the whole ----

   The second walk, made twice: it takes room for layers, stages and tables from the model's block (`arena`) and for
   tensors from the workspace and the slots, which are only counted. Once there is a block, it also fills them. */

/* A dense layer's three products: forward, its weights' gradient, its input's gradient. */
VAEI_SETUP void vaei_note_dense(vaei_planning *p, size_t inputs, size_t outputs) {
    vaei_note_product(p, p->rows, outputs, inputs);
    if (p->plan->trains) vaei_note_product(p, inputs, outputs, p->rows);
    if (p->plan->trains) vaei_note_product(p, p->rows, inputs, outputs);
}

/* Opens a stage if this layer, `at` in the plan, begins one. Its parameters begin at `parameter`. */
VAEI_PRIVATE void vaei_plan_stage(vaei_planning *p, int at, int convolutional, int begins, size_t parameter) {
    if (p->stage && p->stage->convolutional == convolutional && at != p->plan->decoder.first_layer &&
        !(convolutional && begins)) return;
    p->stage = p->stage ? p->stage + 1 : p->plan->stages;
    p->stage->first = at;
    p->stage->convolutional = convolutional;
    p->stage->parameter = parameter;
    p->stage->input = p->input;
    p->stage->input_gradient = p->input_gradient;
    p->partial = p->plan->partial_size;
}

/* Layer `index` of the network: fills its entry, opens a stage where one begins, and places its tensors. */
VAEI_SETUP void vaei_plan_layer(vaei_planning *p, int index) {
    vaei_plan       *plan = p->plan;
    const int        at = index - p->first;
    vaei_layer      *layer = plan->layers ? &plan->layers[at] : NULL;
    vaei_connection *c = NULL;
    vaei_places      places;
    vaei_layer_needs needs;
    int              dense;
    vaei_layer_needs_of(p, index, &needs);
    dense = !VAEI_HAS(needs.kind != VAE_LAYER_DENSE);
    if (!dense) c = (vaei_connection *)vaei_take(p->arena, 1, sizeof(vaei_connection));
    if (index == p->network->encoders + 1) {            /* the decoder's first */
        p->input = plan->z;
        p->input_gradient = plan->z_gradient;
        p->rows = plan->decoder_batch;
    }
    if (layer) {
        const size_t parameter = p->parameters;
        vaei_fill_layer(p, index, layer);
        layer->connection = c;
        if (c) vaei_fill_connection(p->network, index, c);
        vaei_plan_stage(p, at, !dense, needs.begins, parameter);
        /* The stage's area is filled from the front by its own span, from the back by tied weights. */
        if (layer->is_tied && c) layer->weight_partial = p->partial -= layer->weight_partial;
        else layer->weight_partial = layer->weight - p->stage->parameter;
    }
    if (dense) {
        vaei_place_dense(p, &needs, &places);
        vaei_note_dense(p, needs.inputs, needs.outputs);
        /* A tied layer makes its weights' gradient transposed. */
        if (plan->trains && VAEI_HAS(p->network->tied)) vaei_note_product(p, needs.outputs, needs.inputs, p->rows);
    } else {
        vaei_image_sizes sizes;
        sizes.input = vaei_lay_image(p, index, VAEI_INPUT, c ? &c->input : NULL);
        sizes.output = vaei_lay_image(p, index, VAEI_OUTPUT, c ? &c->output : NULL);
        sizes.output_gradient = vaei_lay_image(p, index, VAEI_OUTPUT_GRADIENT, c ? &c->output_gradient : NULL);
        vaei_lay_image(p, index, VAEI_INPUT_GRADIENT, c ? &c->input_gradient : NULL);
        vaei_place_convolution(p, &needs, &sizes, &places);
        if (!plan->is_bare) vaei_take_tables(p, index, c);
    }
    if (!layer) return;
    layer->places = places;
    if (c && !plan->is_bare) vaei_fill_tables(layer, plan->micro);
    p->stage->count++;
    p->stage->parameter_count = layer->bias + layer->bias_count - p->stage->parameter;
    p->stage->output = p->input;
    p->stage->output_gradient = p->input_gradient;
}

/* The same for layer `number` of the classifier, which is always dense and in no stage. Its input is a copy of the
   means. */
VAEI_SETUP void vaei_plan_classifier_layer(vaei_planning *p, int number) {
    vaei_plan       *plan = p->plan;
    const int        index = p->network->encoders + 1 + p->network->decoders + number;
    vaei_layer      *layer = plan->layers ? &plan->layers[plan->classifier.first_layer + number] : NULL;
    vaei_layer_spec  spec;
    vaei_layer_needs needs;
    vaei_places      places;
    vaei_spec_at(p->network, index, &spec, NULL);
    memset(&needs, 0, sizeof needs);
    needs.saves_apart = plan->trains && vaei_saves_apart(spec.layer.activation, spec.layer.dropout);
    needs.inputs = vaei_shape_size(spec.in);
    needs.outputs = needs.room = vaei_shape_size(spec.out);
    if (!number) {
        p->rows = plan->batch;
        p->input = plan->means;
        p->input_gradient = plan->means_gradient;
    }
    vaei_place_dense(p, &needs, &places);
    vaei_note_dense(p, needs.inputs, needs.outputs);
    if (!layer) return;
    vaei_fill_layer(p, index, layer);
    layer->places = places;
}

/* The tensors that belong to no layer: the batch, what is drawn for it, z, and each row's terms. */
VAEI_SETUP void vaei_place_rows(vaei_planning *p) {
    vaei_plan *plan = p->plan;
    p->rows = plan->batch;
    if (plan->encoder.layers) {
        plan->input = vaei_place_numbers(p, 0, plan->example);
        plan->target = VAEI_HAS(plan->has_target) ? vaei_place_numbers(p, 0, plan->example) : plan->input;
        if (VAEI_HAS(plan->observed_size)) plan->observed = vaei_place_numbers(p, 0, plan->observed_size);
        plan->logvar = vaei_place_numbers(p, 0, plan->latent);
        p->rows = plan->decoder_batch;
        plan->noise = vaei_place_numbers(p, 0, plan->latent);
    }
    if (plan->decoder.layers) plan->z = vaei_place_numbers(p, 0, plan->latent);
    if (plan->decoder.layers)
        plan->row_terms =
            vaei_place_numbers(p, 0, (VAEI_HAS(plan->has_weights) ? 3 : 2) * sizeof(vae_wide) / sizeof(vae_real));
    if (VAEI_HAS(plan->has_weights))
        plan->sample_weights = vaei_place_numbers(p, 0, sizeof(vae_wide) / sizeof(vae_real));
    /* These are counted by dimensions or pixels, not by examples. */
    plan->is_free.offset = vaei_next_number(&p->workspace);
    vaei_take_reals(&p->workspace, VAEI_HAS(plan->has_free_bits) ? plan->latent : 0);
    plan->inverse_sigma.offset = vaei_next_number(&p->workspace);
    vaei_take_reals(&p->workspace, VAEI_HAS(plan->log_sigma_count > 1) ? plan->log_sigma_count : 0);
    if (VAEI_HAS(plan->observed_size)) {
        plan->pixel_nats.offset = vaei_next_number(&p->workspace);
        vaei_take(&p->workspace, plan->example, sizeof(vae_wide));
        plan->saved_outputs.offset = vaei_next_number(&p->workspace);
        vaei_take_reals(&p->workspace, vaei_times(plan->rows, plan->output));
    }
    if (plan->trains) plan->z_gradient = vaei_place_numbers(p, 0, plan->latent);
    p->input = plan->input;
    p->rows = plan->batch;
    if (VAEI_HAS(plan->classes)) plan->labels = vaei_place_numbers(p, 0, (sizeof(int) - 1) / sizeof(vae_real) + 1);
    if (VAEI_HAS(plan->classifier.layers)) plan->means = vaei_place_numbers(p, 0, plan->latent);
    if (VAEI_HAS(plan->classifier.layers) && plan->trains)
        plan->means_gradient = vaei_place_numbers(p, 0, plan->latent);
}

/* The workers' slots, and the areas in which the weight gradients of the chunks are summed. */
VAEI_SETUP void vaei_place_slots(vaei_planning *p) {
    vaei_plan *plan = p->plan;
    plan->product_scratch = vaei_next_number(&p->slot);
    vaei_take_reals(&p->slot, p->scratch);
    if (plan->trains) {
        plan->partials = vaei_next_number(&p->workspace);
        /* One thread adds a chunk's sums to the gradients before it begins the next chunk: one area is enough. */
        plan->partial_count = !plan->partial_size ? 0 : plan->threads > 1 ? (plan->batch - 1) / plan->chunk + 1 : 1;
        vaei_take_reals(&p->workspace, vaei_times(plan->partial_count, plan->partial_size));
    }
    plan->slot_base = vaei_next_number(&p->workspace);
    plan->slot_size = vaei_next_number(&p->slot);
    vaei_take(&p->workspace, (size_t)plan->threads, p->slot.used);
    plan->workspace_size = vaei_next_number(&p->workspace);
    if (p->slot.used == VAEI_TOO_LARGE || p->workspace.used == VAEI_TOO_LARGE) p->arena->used = VAEI_TOO_LARGE;
}

/* Layers, stages and tables go into the block; the workspace is only counted here. */
VAEI_INLINE void vaei_lay_out_plan(const vaei_network *n, vaei_plan *plan, vaei_arena *arena) {
    vaei_planning p;
    int           i;
    memset(&p, 0, sizeof p);
    p.network = n;
    p.plan = plan;
    p.arena = arena;
    p.first = vaei_first_layer(n, plan->part);
    plan->layers = (vaei_layer *)vaei_take(arena, (size_t)vaei_all_layers(plan), sizeof(vaei_layer));
    plan->stages = (vaei_stage *)vaei_take(arena, (size_t)plan->stage_count, sizeof(vaei_stage));
    vaei_place_rows(&p);
    for (i = 0; i < plan->layer_count; i++) vaei_plan_layer(&p, p.first + i);
    for (i = 0; VAEI_HAS(i < plan->classifier.layers); i++) vaei_plan_classifier_layer(&p, i);
    vaei_place_slots(&p);
    if (plan->layers) {
        /* A row of one channel has the same order in files and here: no Flatten stands before it. */
        const int input_is_image = n->input.height > 1 || n->input.channels > 1;
        const int output_is_image = n->output.height > 1 || n->output.channels > 1;
        if (plan->encoder.layers) {
            vaei_name_layers(plan->layers, plan->heads, input_is_image, 0);
            plan->layers[plan->heads].image_in = plan->layers[plan->heads - 1].connection != NULL;
        }
        vaei_name_layers(plan->layers + plan->decoder.first_layer, plan->decoder.layers, 0, output_is_image);
        vaei_name_layers(plan->layers + plan->layer_count, plan->classifier.layers, 0, 0);
    }
}

/* ==== 24 >>execution ============================================================================================== */

/* The model itself; how work is shared out among threads; and who may use a model at which time. Loops that are worth
   sharing go through vaei_split or vaei_run, so that the sections below say only what one piece is. Pieces never share
   a sum: that keeps the bits the same for any number of threads. */

/* Only a file made up can say that so many steps were taken. The count then stands still, so that what training goes on
   to write can be read again, and step + 1 always fits. */
#define VAEI_MOST_STEPS (UINT64_MAX / 2)

struct vae_model {
    vaei_settings           settings;
    vaei_plan               plan;
    const vaei_kernel_set  *kernels;
    vaei_pool              *pool;           /* the model's own threads, or NULL */
    const vae_real         *weights;        /* what the model reads: its parameters, or another's */
    vae_real               *parameters;     /* NULL where the weights are another's */
    vae_real               *gradients, *moment1, *moment2;      /* NULL where the model cannot train */
    vae_real               *best;           /* room for a second set of weights, or NULL */
    vae_real               *workspace;
    size_t                  bytes;          /* of the whole block */
    void                   *block;          /* what the allocator gave, or NULL where the caller gave the memory */
    size_t                  block_size;
    int                     has_gradients;  /* 0: what the gradient block holds counts as zero */
    int                     shows_gradients;/* the caller has a pointer to the block: zeros are really written there */
    vae_wide                largest_loss;   /* beyond which training has diverged; 0: not known yet */
    vaei_flag               in_use;         /* see >>execution, "who may use the model now" */
    uintptr_t               callback_frame; /* where the stack was when on_progress was called */
    int                     destroy_asked;  /* by on_progress */
    int                     tries_loss;     /* largest_loss comes from a batch whose step has not been made yet */
    uint64_t                step;           /* updates made: Adam's t */
    uint64_t                epoch;          /* passes that vae_fit has completed */
    uint64_t                position;       /* examples that it has used of the next one */
    uint64_t                samples_drawn;
    /* What the epoch in progress was begun with, in checkpoints too: it goes on with the same or not at all. */
    uint64_t                epoch_rows, epoch_batch;        /* 0 between epochs */
    int                     epoch_keeps_order;
    int                     has_units;      /* means and scales were given, be they those of a fresh model: 0 and 1 */
    /* What vae_fit goes by, see vaei_note_validation; in checkpoints too. */
    uint64_t                best_epoch;     /* 0: none has been judged */
    uint64_t                waited, plateau;/* epochs since the best one; ... or since the learning rate was lowered */
    vae_real                best_loss;
    int                     shows_best;     /* the best weights are in place, the last ones lie in `best` */
    size_t                  file_batch;     /* config.batch of the model's file; 0: it has none */
};

VAEI_PRIVATE const vaei_likelihood *vaei_likelihood_of(const vae_model *model) {
    return &vaei_likelihoods[model->settings.likelihood];
}

/* A setting as the next update uses it: multiplied by its schedule's factor. */
VAEI_PRIVATE vae_wide vaei_scheduled(const vae_model *model, vae_real setting, const vae_schedule *schedule) {
    return (vae_wide)vaei_setting(setting) * vaei_schedules[schedule->kind].factor(schedule, model->step);
}
VAEI_PRIVATE vae_real vaei_beta(const vae_model *model) {
    return (vae_real)vaei_scheduled(model, model->settings.beta, &model->settings.beta_schedule);
}
VAEI_PRIVATE vae_wide vaei_learning_rate(const vae_model *model) {
    const vae_optimizer *optimizer = &model->settings.optimizer;
    return vaei_scheduled(model, optimizer->learning_rate, &optimizer->schedule);
}

/* Where a tensor of the whole batch lies, and where its row `row` of `width` numbers begins. */
VAEI_PRIVATE vae_real *vaei_numbers(const vae_model *model, vaei_place place) {
    return model->workspace + place.offset;
}
VAEI_PRIVATE vae_real *vaei_row(const vae_model *model, vaei_place place, size_t row, size_t width) {
    return model->workspace + place.offset + row * width;
}

/* A place in the piece of the workspace that belongs to the worker with this slot. */
VAEI_PRIVATE vae_real *vaei_slot(const vae_model *model, size_t slot, size_t offset) {
    return model->workspace + model->plan.slot_base + slot * model->plan.slot_size + offset;
}

/* The same as vaei_row for a tensor that may lie in the worker's slot. There it holds one micro-batch, whose first row
   `row` is, and begins with that. */
VAEI_APART vae_real *vaei_slot_rows(const vae_model *model, vaei_place place, size_t slot, size_t row, size_t width) {
    return place.in_slot ? vaei_slot(model, slot, place.offset) : vaei_row(model, place, row, width);
}

/* Do the weights of layer `index` stay as they are? */
VAEI_PRIVATE int vaei_is_frozen(const vae_model *model, int index) {
    const vaei_chain *chain = model->settings.freeze == VAE_FREEZE_ENCODER ? &model->plan.encoder
                                                                           : &model->plan.decoder;
    return VAEI_HAS(model->settings.freeze != VAE_FREEZE_NONE) && index >= chain->first_layer &&
           index < chain->first_layer + chain->layers;
}

/* Biases, and batch normalisation's weights and biases after them: weight decay leaves all of these alone. */
VAEI_PRIVATE size_t vaei_bias_numbers(const vaei_layer *layer) {
    return (VAEI_HAS(layer->normalizes) ? 3 : 1) * layer->bias_count;
}

/* Does training move sigma? It belongs to the decoder. */
VAEI_PRIVATE int vaei_moves_sigma(const vae_model *model) {
    return model->plan.log_sigma_count && !VAEI_HAS(model->settings.freeze == VAE_FREEZE_DECODER);
}

/* Refuses a call that needs a half of the network which the model does not hold. */
VAEI_SETUP vae_status vaei_check_part(const vae_model *model, vae_part needed, const char *call, vae_error *error) {
    const int decoder = needed == VAE_DECODER_ONLY;
    if (model->plan.part == VAE_WHOLE || model->plan.part == needed) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s needs the %s, the model holds the %s only: make it with another "
                     "config.part", call, decoder ? "decoder" : "encoder", decoder ? "encoder" : "decoder");
}

/* ---- work shared out ---- */

/* Calls task(context, i) for i in 0 .. count-1, count at most config.threads: i is also the slot the task may use. */
VAEI_PRIVATE void vaei_run(const vae_model *model, vae_task task, void *context, size_t count) {
    size_t i;
    /* A single task runs here, without a call to anyone. */
    if (count > 1 && model->settings.parallel.run)
        model->settings.parallel.run(model->settings.parallel.user, task, context, count);
    else if (count > 1 && model->pool)
        vaei_pool_run(model->pool, task, context, count);
    else
        for (i = 0; i < count; i++) task(context, i);
}

/* Does items first .. first + count - 1 of some shared work, in the worker with this slot. */
typedef void (*vaei_range_task)(void *context, size_t slot, size_t first, size_t count);

/* Items in pieces, each a multiple of `unit` but for the last. */
typedef struct vaei_cut {
    size_t items, unit, pieces;
} vaei_cut;

VAEI_PRIVATE size_t vaei_units(const vaei_cut *cut) { return (cut->items + cut->unit - 1) / cut->unit; }

/* The first item of piece `index`: units times index over pieces. Pieces differ by at most one unit. */
VAEI_PRIVATE size_t vaei_piece_begin(const vaei_cut *cut, size_t index) {
    const size_t units = vaei_units(cut), each = units / cut->pieces, rest = units % cut->pieces;
    /* The product of units and index may not fit. */
    return vaei_min_size(cut->items, (each * index + rest * index / cut->pieces) * cut->unit);
}

VAEI_PRIVATE size_t vaei_largest_piece(const vaei_cut *cut) {
    const size_t units = vaei_units(cut), last = cut->items - vaei_piece_begin(cut, cut->pieces - 1);
    /* With one unit more than fits evenly, rounding down gives it to the last piece, which is looked at by itself. */
    return cut->pieces == 1 ? last : vaei_max_size(last, (units / cut->pieces + (units % cut->pieces > 1)) * cut->unit);
}

typedef struct vaei_split_context {
    vaei_range_task part;
    void           *context;
    vaei_cut        cut;
} vaei_split_context;

VAEI_PRIVATE void vaei_split_task(void *opaque, size_t index) {
    const vaei_split_context *split = (const vaei_split_context *)opaque;
    const size_t first = vaei_piece_begin(&split->cut, index), end = vaei_piece_begin(&split->cut, index + 1);
    if (end > first) split->part(split->context, index, first, end - first);
}

/* Cuts `items` into pieces of at least `grain` items, at most one for each thread, that begin at multiples of
   `unit`. */
VAEI_PRIVATE void vaei_split(const vae_model *model, size_t items, size_t unit, size_t grain, vaei_range_task part,
                             void *context) {
    vaei_split_context split;
    split.part = part;
    split.context = context;
    split.cut.items = items;
    split.cut.unit = unit;
    split.cut.pieces = vaei_min_size((size_t)model->plan.threads, items / grain);
    if (VAEI_HAS(split.cut.pieces > 1)) vaei_run(model, vaei_split_task, &split, split.cut.pieces);
    else if (items) part(context, 0, 0, items);
}

#define VAEI_PARALLEL_WORK 500000       /* multiply-adds that are worth waking another thread */

typedef struct vaei_multiply_context {
    const vae_model    *model;
    const vaei_product *product;
    vaei_cut            rows, columns;
} vaei_multiply_context;

/* Piece `index` of the grid, row by row. As a task it has a slot of its own, and so scratch of its own. */
VAEI_PRIVATE void vaei_multiply_part(void *opaque, size_t index) {
    const vaei_multiply_context *work = (const vaei_multiply_context *)opaque;
    const size_t r = index / work->columns.pieces, c = index % work->columns.pieces;
    const size_t row = vaei_piece_begin(&work->rows, r), row_end = vaei_piece_begin(&work->rows, r + 1);
    const size_t column = vaei_piece_begin(&work->columns, c), column_end = vaei_piece_begin(&work->columns, c + 1);
    const vaei_product rows = vaei_product_rows(work->product, row, row_end - row);
    const vaei_product part = vaei_product_columns(&rows, column, column_end - column);
    vaei_multiply(work->model->kernels, &part, vaei_slot(work->model, index, work->model->plan.product_scratch));
}

/* Cuts a product into a grid of pieces. Rows are cut at multiples of 24 and columns at multiples of 48, which are whole
   tiles in every kernel set; a product of few rows is cut by columns alone, at multiples of 16. Of all grids it takes
   the one whose largest piece is smallest, and among equals the one with the fewest row pieces, since each of these
   packs B for itself. */
VAEI_PRIVATE void vaei_multiply_parallel(const vae_model *model, const vaei_product *product) {
    /* As vae_wide, since the product of the sizes may not fit. */
    const vae_wide work =
        (vae_wide)product->rows * (vae_wide)product->columns * (vae_wide)product->segments * (vae_wide)product->run;
    const size_t          worth = work < (vae_wide)VAEI_PARALLEL_WORK * VAEI_MAX_THREADS
                                      ? (size_t)(work / VAEI_PARALLEL_WORK) : VAEI_MAX_THREADS;
    const size_t          most = vaei_max_size(1, vaei_min_size((size_t)model->plan.threads, worth));
    const int             few = product->rows < 48;
    vaei_multiply_context grid, tried;
    size_t                row_units, least = (size_t)-1;
    if (!VAEI_HAS(most > 1)) {
        vaei_multiply(model->kernels, product, vaei_slot(model, 0, model->plan.product_scratch));
        return;
    }
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

/* ---- who may use the model now ----

   A model is free, at work in some call, or waiting while its vae_fit calls on_progress; then inference by the same
   thread may use it and training may not. The mark in_use says which: while it waits, it is the number of the thread
   whose vae_fit it is. With it, two threads in one model, or a callback that trains the model, get a status instead of
   undefined behaviour. A callback may be left by longjmp or an exception, and then the mark stays behind, until that
   thread makes its next call. So the position on the stack decides whether a call comes from within the callback:
   stacks grow downwards, and the frame of such a call lies below that of the callback's caller; in WebAssembly, where a
   frame may be empty, at its end. */

enum { VAEI_FREE, VAEI_AT_WORK, VAEI_IN_CALLBACK };

#if defined(__GNUC__) && !defined(__TINYC__)
#define VAEI_STACK_ROOM(name) volatile char *const name = (volatile char *)__builtin_alloca(256); *name = 0
#define VAEI_STACK_PLACE(name) const uintptr_t name = (uintptr_t)__builtin_frame_address(0)
#else
#define VAEI_STACK_ROOM(name) volatile char name[256]; name[0] = 0
#define VAEI_STACK_PLACE(name) volatile char name##_here = 0; const uintptr_t name = (uintptr_t)&name##_here
#endif

VAEI_APART int vaei_is_within_callback(vae_model *model) {
    VAEI_STACK_PLACE(here);
    /* The thread is looked at first: the frame is another's to change. */
    return vaei_flag_get(&model->in_use) == VAEI_THREAD && here <= model->callback_frame;
}

/* For inference: what to give back to vaei_leave, or -1 with an error. */
VAEI_APART int vaei_enter(vae_model *model, const char *call, vae_error *error) {
    int within;
    /* Without a model the call goes on to its own checks, whose sentence names the argument. */
    if (!model || vaei_flag_swap(&model->in_use, VAEI_FREE, VAEI_AT_WORK)) return VAEI_FREE;
    within = vaei_is_within_callback(model);
    /* Not within: the callback was left by a jump. */
    if (vaei_flag_swap(&model->in_use, VAEI_THREAD, VAEI_AT_WORK)) return within ? VAEI_IN_CALLBACK : VAEI_FREE;
    vaei_fail(error, VAE_ERROR_BUSY, "%s: another thread is using the model: give each thread a view of its own "
              "(vae_create_view), or take turns", call);
    return -1;
}

/* Gives the model back to whoever had it before; returns `status`, so that a call can end with it. */
VAEI_PRIVATE vae_status vaei_leave(vae_model *model, int before, vae_status status) {
    if (model) vaei_flag_set(&model->in_use, before == VAEI_IN_CALLBACK ? VAEI_THREAD : (vaei_mark)before);
    return status;
}

/* The body of a call for inference: `work`, with the model marked as being at work meanwhile. */
#define VAEI_RUN_CALL(call, work) \
    const int before = vaei_enter(model, call, error); \
    return before < 0 ? VAE_ERROR_BUSY : vaei_leave(model, before, work)

/* For whatever changes the weights or the state of training. */
VAEI_APART vae_status vaei_enter_alone(vae_model *model, const char *call, vae_error *error) {
    if (vaei_is_within_callback(model))
        return vaei_fail(error, VAE_ERROR_BUSY, "%s: called from on_progress, whose vae_fit is using the model: return "
                         "nonzero there to stop it first", call);
    return vaei_enter(model, call, error) < 0 ? VAE_ERROR_BUSY : VAE_OK;
}

/* ==== 25 >>layers ================================================================================================= */

/* Each kind of layer forward and backward, side by side. Tensors have one row per example, [count][numbers], channels
   last. d_x is the gradient of the loss with respect to x. Forward functions read weights and leave what the backward
   pass needs in the workspace; backward functions turn the gradient of a layer's output, in place, into that of what
   went into its activation, add to the gradients of its weights, and make the gradient of its input. In short, with f
   the activation and m the mask of dropout over 1 - p,
     forward    out = m f(norm(in W + b))
     backward   d = f'(..) m d_out, taken back through norm;   d_W += in^T d,   d_b += sum of d,   d_in = d W^T
   where for a convolution `in W` is the convolution and `d W^T` the transposed one with the same weights. */

/* One batch, or one score of a batch, that passes through the network. */
typedef struct vaei_pass {
    vae_model *model;
    size_t     count;               /* rows */
    int        forward_only;        /* no backward pass follows */
    int        updates;             /* the gradients of dense layers' weights are left to vaei_update */
    size_t     first;               /* the row of the whole batch with which these begin */
    /* what becomes of the decoder's outputs: */
    vae_wide  *reconstruction;      /* per row, nats; or NULL */
    size_t     repeat;              /* this many rows in succession are samples of one row of pixels */
    vae_wide  *weights;             /* importance weights, by which each row's gradient is multiplied, those of one row
                                       of pixels adding up to 1: computed from the scores of all. NULL: all are 1 */
    vae_wide  *row_loss;            /* with weights, per row of pixels: -log of their mean before they were scaled */
    vae_real   scale;               /* of the gradient: 1 / rows in the whole batch, also 1 / repeat if unweighted */
    vae_real   kl_scale;            /* of the KL's gradient: beta / rows in the whole batch */
    const vae_real *is_free;        /* per dimension 1 where free bits leave the KL without gradient; or NULL */
    vaei_sigmas sigmas;             /* what the likelihood needs */
    vae_real  *d_log_sigma;         /* where its gradient goes; NULL: nowhere */
    int        adds;                /* ... in addition to what is there */
    int        squared;             /* `reconstruction` receives squared errors in the caller's units, not nats */
    vae_wide  *numbers;             /* ... and this what each number adds to a row's score, in the caller's layout */
    vae_real  *saved_outputs;       /* receives every row's outputs; or NULL */
    vae_real  *decoded;             /* the caller's pixels, or NULL; row_terms then tell which rows are not finite */
    int        draws;               /* they are drawn, not means, */
    uint64_t   first_drawn;         /* ... by this number for the first row, and so on */
} vaei_pass;

/* The part of a convolutional stage's pass that one worker does at a time. */
typedef struct vaei_micro {
    const vaei_pass  *pass;
    const vaei_stage *stage;
    size_t            slot, first, count;       /* rows first .. first + count - 1 */
    vae_real         *gradients;                /* of the stage's span */
    int               accumulate;
} vaei_micro;

/* The micro-batch's rows of a tensor, each of `width` numbers; in a slot, where they alone are, any width will do. */
VAEI_PRIVATE vae_real *vaei_micro_rows(const vaei_micro *micro, vaei_place place, size_t width) {
    return vaei_slot_rows(micro->pass->model, place, micro->slot, micro->first, width);
}

#define VAEI_PARALLEL_NUMBERS 16384     /* numbers, each computed by itself, that are worth another thread */
#define VAEI_PARALLEL_SAMPLES 1024      /* numbers of z, to be drawn or weighted, that are worth another thread */
#define VAEI_PARALLEL_READS 65535u      /* the same of numbers that are only read or copied; fits a 16-bit size_t */

/* ---- activations: y = f(x), elementwise, [count][outputs] ----

   Forward to = f(from); backward d_x = d_y f'(x), that is to *= f', where f' is computed from `from`: f's output where
   that is enough, else its input (vaei_activation_saves_input). The formulas stand with vae_activation; that of GELU is
   Hendrycks and Gimpel 2016, of SiLU Elfwing et al. 2018. */

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

/* ---- dropout: Srivastava et al. 2014, scaled in training as in PyTorch ----

   to = from / (1 - p), or 0 with probability p. The backward pass is the same function, applied to the gradient. */

/* Whether this pass drops outputs of the layer. */
VAEI_PRIVATE int vaei_drops(const vaei_pass *pass, const vaei_layer *layer) {
    return VAEI_HAS(layer->dropout > 0) && !pass->forward_only;
}

#ifndef VAE_INFERENCE_ONLY
/* Numbers first .. first + n - 1 of what the layer gives for row `row` of the pass, or of its gradient. Which ones are
   dropped depends on the seed, the step, the layer and the row's place in the whole batch, so that the backward pass
   need not remember it. `to` may be `from`. */
VAEI_PRIVATE void vaei_drop(const vaei_pass *pass, const vaei_layer *layer, size_t row, size_t first, size_t n,
                            const vae_real *from, vae_real *to) {
    const vae_model    *model = pass->model;
    const vae_real      factors[2] = { 0, (vae_real)(1 / (1 - (vae_wide)layer->dropout)) };  /* no branch to guess */
    /* The limit is p times 2^24, rounded up: the least p above 0 then still drops a number now and then. */
    const vae_wide      part = (vae_wide)layer->dropout * 16777216;
    const uint32_t      limit = (uint32_t)part + ((vae_wide)(uint32_t)part < part);    /* of the words' upper 24 bits */
    uint32_t            words[4][VAEI_RANDOM_BLOCKS];
    vaei_random_request request;
    vaei_random_cursor  cursor;
    size_t              count, e, j;
    request.seed = model->settings.seed;
    request.step = model->step;
    request.example = (uint64_t)pass->first * pass->repeat + row;
    request.stream = VAEI_STREAM_DROPOUT + (uint32_t)(layer - model->plan.layers);
    request.rows = 1;
    request.columns = n;
    request.first = first;
    cursor.row = 0;
    cursor.block = first / 4;
    while (cursor.row < 1) {
        const size_t block = cursor.block;
        count = vaei_random_words(&request, &cursor, words);
        for (j = 0; j < count; j++) {
            const size_t at = 4 * (block + j) - first;      /* the first block may begin earlier: then at is huge */
            if (at < n && n - at >= 4)
                for (e = 0; e < 4; e++) to[at + e] = from[at + e] * factors[words[e][j] >> 8 >= limit];
            else
                for (e = 0; e < 4; e++)
                    if (at + e < n) to[at + e] = from[at + e] * factors[words[e][j] >> 8 >= limit];
        }
    }
}

typedef struct vaei_drop_context {
    const vaei_pass  *pass;
    const vaei_layer *layer;
    const vae_real   *from;
    vae_real         *to;
} vaei_drop_context;

VAEI_PRIVATE void vaei_drop_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_drop_context *work = (const vaei_drop_context *)opaque;
    const size_t             outputs = work->layer->outputs;
    size_t                   row;
    (void)slot;
    for (row = first; row < first + count; row++)
        vaei_drop(work->pass, work->layer, row, 0, outputs, work->from + row * outputs, work->to + row * outputs);
}

/* All rows of the pass: from, to [count][outputs]. */
VAEI_PRIVATE void vaei_drop_rows(const vaei_pass *pass, const vaei_layer *layer, const vae_real *from, vae_real *to) {
    vaei_drop_context work;
    work.pass = pass;
    work.layer = layer;
    work.from = from;
    work.to = to;
    vaei_split(pass->model, pass->count, 1, VAEI_PARALLEL_NUMBERS / 4 / layer->outputs + 1, vaei_drop_part, &work);
}
#endif

/* ---- how a layer ends: activation, dropout ----

   activated = f(preactivation), output = dropout(activated), all [count][outputs]. They are one place unless the
   backward pass needs what the next step would overwrite. */

/* Where the forward pass leaves what goes into the activation, what comes out of it, and the layer's output. */
typedef struct vaei_buffers {
    vae_real *preactivation, *activated, *output;
} vaei_buffers;

/* Those of the rows from `first` on, each `width` numbers, in the worker with this slot. */
VAEI_PRIVATE vaei_buffers vaei_buffers_of(const vaei_pass *pass, const vaei_layer *layer, size_t slot, size_t first,
                                          size_t width) {
    const vae_model *model = pass->model;
    vae_real        *saved = vaei_slot_rows(model, layer->places.saved, slot, first, width);
    vaei_buffers     buffers;
    buffers.output = vaei_slot_rows(model, layer->places.output, slot, first, width);
    buffers.activated = vaei_drops(pass, layer) && vaei_saves_output(layer->activation) ? saved : buffers.output;
    buffers.preactivation = model->plan.trains && vaei_activation_saves_input(layer->activation) ? saved
                                                                                                 : buffers.activated;
    return buffers;
}

/* All rows of the pass at once. */
VAEI_PRIVATE void vaei_activate_dense(const vaei_pass *pass, const vaei_layer *layer, const vaei_buffers *buffers,
                                      int activates) {
    vaei_activate_context work;
    work.model = pass->model;
    work.activation = layer->activation;
    work.from = buffers->preactivation;
    work.to = buffers->activated;
    if (activates)
        vaei_split(pass->model, pass->count * layer->outputs, 64, VAEI_PARALLEL_NUMBERS, vaei_activate_part, &work);
#ifndef VAE_INFERENCE_ONLY
    if (vaei_drops(pass, layer)) vaei_drop_rows(pass, layer, buffers->activated, buffers->output);
#endif
}

#ifndef VAE_INFERENCE_ONLY
/* d, the gradient of the output, becomes that of what went into the activation. */
VAEI_PRIVATE void vaei_activate_dense_backward(const vaei_pass *pass, const vaei_layer *layer, vae_real *d) {
    vaei_activate_context work;
    work.model = pass->model;
    work.activation = layer->activation;
    work.from = vaei_numbers(pass->model, layer->places.saved);
    work.to = d;
    if (vaei_drops(pass, layer)) vaei_drop_rows(pass, layer, d, d);
    if (layer->activation == VAE_LINEAR) return;
    vaei_split(pass->model, pass->count * layer->outputs, 64, VAEI_PARALLEL_NUMBERS, vaei_activate_backward_part,
               &work);
}
#endif

/* ---- batch normalisation: Ioffe and Szegedy 2015, with PyTorch's epsilon and momentum ----

   A layer's output, before its activation, is a table with a column for each channel: for each unit of a dense layer,
   or for each channel of a convolution, whose positions are rows. In training every column is brought to mean 0 and
   variance 1, then scaled by the weight and moved by the bias (algorithm 1): with x, y [rows][channels] and all else
   [channels],
     y = weight (x - mean) / deviation + bias,    deviation = sqrt(variance + epsilon)
   Inference takes running averages of mean and variance, which every training step moves towards the batch's. It takes
   the whole batch, so a convolution that is normalised ends its stage, and the activation and dropout follow here. */

#define VAEI_NORM_EPSILON ((vae_wide)1e-5)
#define VAEI_NORM_MOMENTUM ((vae_wide)0.1)
#define VAEI_NORM_COLUMNS 16            /* summed together, as vae_wide: enough for a cache line */

typedef struct vaei_batch_norm {
    const vaei_pass  *pass;
    const vaei_layer *layer;
    size_t            rows;             /* of the table: rows of the pass, times positions */
    int               by_batch;         /* else by the running averages */
    vae_real         *linear, *to, *d;  /* x; y forward; backward the gradient of y, which becomes that of x */
} vaei_batch_norm;

/* How this pass normalises the layer. A frozen layer keeps its running averages, and uses them. */
VAEI_PRIVATE vaei_batch_norm vaei_norm_of(const vaei_pass *pass, const vaei_layer *layer) {
    vaei_batch_norm norm;
    norm.pass = pass;
    norm.layer = layer;
    norm.rows = pass->count * (layer->outputs / layer->bias_count);
    /* A single number has no variance: it is normalised as in inference. */
    norm.by_batch = !pass->forward_only && norm.rows > 1 &&
                    !vaei_is_frozen(pass->model, (int)(layer - pass->model->plan.layers));
    norm.linear = vaei_numbers(pass->model, layer->places.linear);
    norm.to = norm.d = NULL;
    return norm;
}

/* The [channels] of this statistic, one of VAEI_NORM_MEAN and so on. */
VAEI_PRIVATE vae_real *vaei_norm_statistic(const vaei_batch_norm *norm, int which) {
    return norm->pass->model->workspace + norm->layer->places.statistics + (size_t)which * norm->layer->bias_count;
}

/* The variance of numbers near the largest float may be infinite as a float; a file must not hold that. */
VAEI_PRIVATE vae_real vaei_norm_limited(vae_wide variance) {
    return variance > (vae_wide)VAEI_LARGEST ? VAEI_LARGEST : (vae_real)variance;
}

VAEI_PRIVATE vae_wide vaei_norm_inverse(vae_wide variance) {
    return vaei_scalar_exp(vaei_scalar_log(variance + VAEI_NORM_EPSILON) * (vae_wide)-0.5);
}

/* In a model that cannot train: the root would take longer than the rest of a small batch, and is computed again only
   where variance or weight is no longer what it was computed from, which stands in the place of what nobody asks for
   here. (At first these are 0, and the scale of 0 and 0 is 0.) */
VAEI_PRIVATE void vaei_norm_recall(const vaei_batch_norm *norm, size_t first, size_t count) {
    const vaei_layer *layer = norm->layer;
    const vae_real   *means = norm->pass->model->weights + layer->running, *variances = means + layer->bias_count;
    const vae_real   *weights = norm->pass->model->weights + layer->bias + layer->bias_count;
    vae_real         *of_variance = vaei_norm_statistic(norm, VAEI_NORM_VARIANCE);
    vae_real         *of_weight = vaei_norm_statistic(norm, VAEI_NORM_INVERSE);
    vae_real         *scale = vaei_norm_statistic(norm, VAEI_NORM_SCALE);
    size_t            c;
    memcpy(vaei_norm_statistic(norm, VAEI_NORM_MEAN) + first, means + first, count * sizeof *means);
    for (c = first; c < first + count; c++) {
        if (variances[c] == of_variance[c] && weights[c] == of_weight[c]) continue;
        of_variance[c] = variances[c];
        of_weight[c] = weights[c];
        scale[c] = (vae_real)(vaei_norm_inverse((vae_wide)variances[c]) * (vae_wide)weights[c]);
    }
}

/* By what the channels first .. first + count - 1 are normalised. The mean comes first and the squares are summed about
   it, so that nothing large cancels. */
VAEI_PRIVATE void vaei_norm_measure(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_batch_norm *norm = (const vaei_batch_norm *)opaque;
    const vaei_layer      *layer = norm->layer;
    const vae_real        *weights = norm->pass->model->weights;
    const size_t           channels = layer->bias_count, end = first + count;
    vae_wide               means[VAEI_NORM_COLUMNS], squares[VAEI_NORM_COLUMNS];
    size_t                 row, i;
    (void)slot;
    if (!norm->pass->model->plan.trains) {
        /* In a model that trains, the averages move with every step, so that remembering would not pay. */
        vaei_norm_recall(norm, first, count);
        return;
    }
    for (; first < end; first += count) {
        const vae_real *from = norm->linear + first;
        count = vaei_min_size(VAEI_NORM_COLUMNS, end - first);
        for (i = 0; i < count; i++) means[i] = squares[i] = 0;
        if (norm->by_batch) {
            for (row = 0; row < norm->rows; row++)
                for (i = 0; i < count; i++) means[i] += (vae_wide)from[row * channels + i];
            for (i = 0; i < count; i++) means[i] /= (vae_wide)norm->rows;
            for (row = 0; row < norm->rows; row++)
                for (i = 0; i < count; i++) {
                    const vae_wide difference = (vae_wide)from[row * channels + i] - means[i];
                    squares[i] += VAEI_ROUNDED(difference * difference);
                }
        }
        for (i = 0; i < count; i++) {
            const size_t c = first + i;
            const vae_wide variance = norm->by_batch ? squares[i] / (vae_wide)norm->rows
                                                   : (vae_wide)weights[layer->running + channels + c];
            const vae_wide inverse = vaei_norm_inverse(variance);
            if (!norm->by_batch) means[i] = (vae_wide)weights[layer->running + c];
            else vaei_norm_statistic(norm, VAEI_NORM_VARIANCE)[c] =
                     vaei_norm_limited(squares[i] / (vae_wide)(norm->rows - 1));
            vaei_norm_statistic(norm, VAEI_NORM_MEAN)[c] = (vae_real)means[i];
            vaei_norm_statistic(norm, VAEI_NORM_INVERSE)[c] = (vae_real)inverse;
            vaei_norm_statistic(norm, VAEI_NORM_SCALE)[c] =
                (vae_real)(inverse * (vae_wide)weights[layer->bias + channels + c]);
        }
    }
}

/* y from x, for rows first .. first + count - 1. */
VAEI_PRIVATE void vaei_norm_rows(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_batch_norm *norm = (const vaei_batch_norm *)opaque;
    const size_t           channels = norm->layer->bias_count;
    const vae_real        *mean = vaei_norm_statistic(norm, VAEI_NORM_MEAN);
    const vae_real        *scale = vaei_norm_statistic(norm, VAEI_NORM_SCALE);
    const vae_real        *bias = norm->pass->model->weights + norm->layer->bias + 2 * channels;
    size_t                 row, i;
    (void)slot;
    for (row = first; row < first + count; row++) {
        const vae_real *from = norm->linear + row * channels;
        vae_real       *to = norm->to + row * channels;
        /* Sixteen at a time come to rest apart, where a compiler sees that nothing else is written. */
        for (i = 0; i + VAEI_NORM_COLUMNS <= channels; i += VAEI_NORM_COLUMNS) {
            vae_real made[VAEI_NORM_COLUMNS];
            int      k;
            for (k = 0; k < VAEI_NORM_COLUMNS; k++)
                made[k] = VAEI_ROUNDED((from[i + (size_t)k] - mean[i + (size_t)k]) * scale[i + (size_t)k]) +
                          bias[i + (size_t)k];
            memcpy(to + i, made, sizeof made);
        }
        for (; i < channels; i++) to[i] = VAEI_ROUNDED((from[i] - mean[i]) * scale[i]) + bias[i];
    }
}

/* Before the layer's numbers are normalised. */
VAEI_PRIVATE void vaei_norm_prepare(const vaei_pass *pass, const vaei_layer *layer) {
    vaei_batch_norm norm = vaei_norm_of(pass, layer);
    vaei_split(pass->model, layer->bias_count, VAEI_NORM_COLUMNS, VAEI_PARALLEL_NUMBERS / norm.rows + 1,
               vaei_norm_measure, &norm);
}

/* Makes the layer's output from what its product has left in `linear`. */
VAEI_PRIVATE void vaei_norm_forward(const vaei_pass *pass, const vaei_layer *layer) {
    const vae_model   *model = pass->model;
    const vaei_buffers buffers = vaei_buffers_of(pass, layer, 0, 0, 0);
    vaei_batch_norm    norm = vaei_norm_of(pass, layer);
    norm.to = buffers.preactivation;
    vaei_norm_prepare(pass, layer);
    vaei_split(model, norm.rows, 1, VAEI_PARALLEL_NUMBERS / layer->bias_count + 1, vaei_norm_rows, &norm);
    vaei_activate_dense(pass, layer, &buffers, layer->activation != VAE_LINEAR);
}

#ifndef VAE_INFERENCE_ONLY
/* With x the input and d the gradient of the normalised and scaled output, n numbers in a column:
     d_weight += sum of d (x - mean) / deviation          d_bias += sum of d
     d_x = weight / deviation (d - d_bias / n - (x - mean) / deviation d_weight / n)
   The last two terms come by way of the mean and the variance, which depend on x too; running averages do not.
   vaei_norm_sums is for channels first .. first + count - 1, vaei_norm_rows_backward then for rows. */
VAEI_PRIVATE void vaei_norm_sums(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_batch_norm *norm = (const vaei_batch_norm *)opaque;
    const vae_model       *model = norm->pass->model;
    const size_t           channels = norm->layer->bias_count, end = first + count;
    const vae_real        *mean = vaei_norm_statistic(norm, VAEI_NORM_MEAN);
    vae_wide               sums[VAEI_NORM_COLUMNS], products[VAEI_NORM_COLUMNS];
    size_t                 row, i;
    (void)slot;
    for (; first < end; first += count) {
        count = vaei_min_size(VAEI_NORM_COLUMNS, end - first);
        for (i = 0; i < count; i++) sums[i] = products[i] = 0;
        for (row = 0; row < norm->rows; row++) {
            const vae_real *x = norm->linear + row * channels + first, *d = norm->d + row * channels + first;
            for (i = 0; i < count; i++) {
                sums[i] += (vae_wide)d[i];
                products[i] += VAEI_ROUNDED((vae_wide)d[i] * ((vae_wide)x[i] - (vae_wide)mean[first + i]));
            }
        }
        for (i = 0; i < count; i++) {
            const size_t c = first + i;
            const vae_wide inverse = (vae_wide)vaei_norm_statistic(norm, VAEI_NORM_INVERSE)[c];
            const vae_wide n = (vae_wide)norm->rows;
            vae_real    *d_weight = model->gradients + norm->layer->bias + channels + c, *d_bias = d_weight + channels;
            *d_weight = (vae_real)(products[i] * inverse) + (model->has_gradients ? *d_weight : 0);
            *d_bias = (vae_real)sums[i] + (model->has_gradients ? *d_bias : 0);
            vaei_norm_statistic(norm, VAEI_NORM_LESS)[c] = norm->by_batch ? (vae_real)(sums[i] / n) : 0;
            /* It will be multiplied by x - mean, not yet divided by the deviation: hence 1 / deviation twice. */
            vaei_norm_statistic(norm, VAEI_NORM_LESS_INPUT)[c] =
                norm->by_batch ? (vae_real)(products[i] * inverse * inverse / n) : 0;
        }
    }
}

VAEI_PRIVATE void vaei_norm_rows_backward(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_batch_norm *norm = (const vaei_batch_norm *)opaque;
    const size_t           channels = norm->layer->bias_count;
    const vae_real        *mean = vaei_norm_statistic(norm, VAEI_NORM_MEAN);
    const vae_real        *scale = vaei_norm_statistic(norm, VAEI_NORM_SCALE);
    const vae_real        *less = vaei_norm_statistic(norm, VAEI_NORM_LESS);
    const vae_real        *less_input = vaei_norm_statistic(norm, VAEI_NORM_LESS_INPUT);
    size_t                 row, i;
    (void)slot;
    for (row = first; row < first + count; row++) {
        const vae_real *x = norm->linear + row * channels;
        vae_real       *d = norm->d + row * channels;
        for (i = 0; i < channels; i++)
            d[i] = scale[i] * (d[i] - less[i] - VAEI_ROUNDED((x[i] - mean[i]) * less_input[i]));
    }
}

/* `d`, the gradient of the layer's output, becomes that of its product. */
VAEI_PRIVATE void vaei_norm_backward(const vaei_pass *pass, const vaei_layer *layer, vae_real *d) {
    const vae_model *model = pass->model;
    vaei_batch_norm  norm = vaei_norm_of(pass, layer);
    norm.d = d;
    vaei_activate_dense_backward(pass, layer, d);
    vaei_split(model, layer->bias_count, VAEI_NORM_COLUMNS, VAEI_PARALLEL_NUMBERS / norm.rows + 1, vaei_norm_sums,
               &norm);
    vaei_split(model, norm.rows, 1, VAEI_PARALLEL_NUMBERS / layer->bias_count + 1, vaei_norm_rows_backward, &norm);
}

/* The sum of a layer's d_out: its bias's gradient. A bias before a normalisation by the batch changes nothing: its
   gradient is 0, which sums would give but for their rounding. */
VAEI_PRIVATE void vaei_bias_sums(const vaei_pass *pass, const vaei_layer *layer, size_t rows, const vae_real *d_out,
                                 vae_real *d_bias, int accumulate) {
    if (!VAEI_HAS(layer->normalizes) || !vaei_norm_of(pass, layer).by_batch)
        pass->model->kernels->column_sums(rows, layer->bias_count, d_out, layer->bias_count, NULL, d_bias, accumulate);
    else if (!accumulate) memset(d_bias, 0, layer->bias_count * sizeof(vae_real));
}

/* After a step that did not fail: the running averages move a tenth of the way towards the mean and variance of the
   batch of `count` rows. As in PyTorch the variance is here the estimate of the population's, sum / (n - 1). */
VAEI_PRIVATE void vaei_move_running(vae_model *model, size_t count) {
    int    i;
    size_t c;
    for (i = 0; i < model->plan.layer_count; i++) {
        const vaei_layer *layer = &model->plan.layers[i];
        const vae_real   *now = model->workspace + layer->places.statistics;
        vae_real         *running = model->parameters + layer->running;
        /* The decoder has a row for each sample. */
        const size_t      rows = i < model->plan.decoder.first_layer ? count : count * model->plan.samples;
        if (!VAEI_HAS(layer->normalizes) || vaei_is_frozen(model, i) ||
            rows * (layer->outputs / layer->bias_count) < 2) continue;
        for (c = 0; c < layer->bias_count; c++) {
            const vae_wide mean = (vae_wide)now[c];
            const vae_wide variance = (vae_wide)now[VAEI_NORM_VARIANCE * layer->bias_count + c];
            vae_real    *kept = running + layer->bias_count + c;
            running[c] = (vae_real)(VAEI_ROUNDED((vae_wide)running[c] * (1 - VAEI_NORM_MOMENTUM)) +
                                    VAEI_ROUNDED(mean * VAEI_NORM_MOMENTUM));
            *kept = (vae_real)(VAEI_ROUNDED((vae_wide)*kept * (1 - VAEI_NORM_MOMENTUM)) +
                               VAEI_ROUNDED(variance * VAEI_NORM_MOMENTUM));
        }
    }
}
#endif

/* ---- dense: out [count][outputs] = activation(in [count][inputs] weight [inputs][outputs] + bias [outputs]) ----

   Backward, with d_out the gradient of what went into the activation:
     d_weight += in^T d_out        d_bias += sum of d_out's rows        d_in = d_out weight^T
   A tied layer's weights lie transposed, [outputs][inputs]: they are those of an encoder layer, or the first columns of
   the heads', whose rows are longer. */

/* The product applies ReLU as it stores; the other activations follow as a pass of their own. */
VAEI_PRIVATE int vaei_separate_activation(vae_activation activation) {
    return activation != VAE_LINEAR && activation != VAE_RELU;
}

/* ---- labels: a one-hot input beside the others picks one row of weights, which is added to the sums ----

   With the one-hot vector e of the label, [classes], and the rows of weights that belong to it, [classes][outputs]:
     out += e weight                 the row of the label
     d_weight += e^T d_out           d_out, added to that row alone; the label itself has no gradient */

VAEI_PRIVATE int *vaei_labels(const vae_model *model) {
    return (int *)(void *)vaei_numbers(model, model->plan.labels);
}

typedef struct vaei_label_context {
    const vaei_pass  *pass;
    const vaei_layer *layer;
    vae_real         *numbers;          /* [count][outputs]: the layer's sums, or their gradient */
} vaei_label_context;

/* The row of weights that belongs to the label of row `row`, from output `first` on; in a block like the parameters. */
VAEI_PRIVATE size_t vaei_label_row(const vaei_label_context *work, size_t row, size_t first) {
    const size_t label = (size_t)vaei_labels(work->pass->model)[row / work->pass->repeat];
    return work->layer->weight + (work->layer->inputs + label) * work->layer->outputs + first;
}

/* For rows first .. first + count - 1. */
VAEI_PRIVATE void vaei_add_label_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_label_context *work = (const vaei_label_context *)opaque;
    const vae_model          *model = work->pass->model;
    const size_t              size = work->layer->outputs;
    size_t                    row;
    (void)slot;
    for (row = first; row < first + count; row++)
        model->kernels->add(size, work->numbers + row * size, model->weights + vaei_label_row(work, row, 0));
}

#ifndef VAE_INFERENCE_ONLY
/* The gradient of a label's row of weights is the sum over the rows with that label, in their order; for outputs
   first .. first + count - 1. Workers share out outputs, not rows: two rows with the same label add to the same
   numbers. */
VAEI_PRIVATE void vaei_label_gradient_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_label_context *work = (const vaei_label_context *)opaque;
    const vaei_layer         *layer = work->layer;
    vae_model                *model = work->pass->model;
    size_t                    i;
    (void)slot;
    for (i = layer->inputs; !model->has_gradients && i < layer->inputs + layer->classes; i++)
        memset(model->gradients + layer->weight + i * layer->outputs + first, 0, count * sizeof(vae_real));
    for (i = 0; i < work->pass->count; i++)
        model->kernels->add(count, model->gradients + vaei_label_row(work, i, first),
                            work->numbers + i * layer->outputs + first);
}
#endif

/* in -> what goes into the activation -> out, for all rows of the pass. */
VAEI_PRIVATE void vaei_dense_forward(const vaei_pass *pass, const vaei_layer *layer) {
    vae_model         *model = pass->model;
    const vaei_buffers buffers = vaei_buffers_of(pass, layer, 0, 0, 0);
    vae_real          *linear = VAEI_HAS(layer->normalizes) ? vaei_numbers(model, layer->places.linear)
                                                            : buffers.preactivation;
    vaei_product       p;
    memset(&p, 0, sizeof p);
    p.rows = pass->count;
    p.columns = layer->outputs;
    p.segments = 1;
    p.run = layer->inputs;
    p.a = vaei_numbers(model, layer->places.input);
    p.a_row = layer->inputs;
    p.a_step = 1;
    p.b = model->weights + layer->weight;
    p.b_step = VAEI_HAS(layer->is_tied) ? 1 : layer->outputs;
    p.b_column = VAEI_HAS(layer->is_tied) ? layer->weight_row : 1;
    p.c = linear;
    p.c_row = layer->outputs;
    p.bias = model->weights + layer->bias;
    /* Only if nothing comes between: a label's row of weights, or a normalisation. */
    p.relu = layer->activation == VAE_RELU && !VAEI_HAS(layer->classes) && !VAEI_HAS(layer->normalizes);
    vaei_multiply_parallel(model, &p);
    if (VAEI_HAS(layer->classes)) {
        vaei_label_context labels;
        labels.pass = pass;
        labels.layer = layer;
        labels.numbers = linear;
        vaei_split(model, pass->count, 1, vaei_max_size(1, VAEI_PARALLEL_NUMBERS / layer->outputs),
                   vaei_add_label_part, &labels);
    }
    if (VAEI_HAS(layer->normalizes)) vaei_norm_forward(pass, layer);
    else vaei_activate_dense(pass, layer, &buffers, vaei_separate_activation(layer->activation) ||
                                               (VAEI_HAS(layer->classes) && layer->activation == VAE_RELU));
}

#ifndef VAE_INFERENCE_ONLY
/* The product d_weight (+)= in^T d_out of `count` examples, or its transpose. */
VAEI_PRIVATE vaei_product vaei_dense_weights(const vae_model *model, const vaei_layer *layer, size_t count) {
    const vae_real *in = vaei_numbers(model, layer->places.input);
    const vae_real *d_out = vaei_numbers(model, layer->places.output_gradient);
    vaei_product    p;
    memset(&p, 0, sizeof p);
    /* The sum goes over the examples: a step of the product is a row of both arrays. */
    p.rows = VAEI_HAS(layer->is_tied) ? layer->outputs : layer->inputs;
    p.columns = VAEI_HAS(layer->is_tied) ? layer->inputs : layer->outputs;
    p.segments = 1;
    p.run = count;
    p.a = VAEI_HAS(layer->is_tied) ? d_out : in;
    p.a_row = 1;
    p.a_step = p.rows;
    p.b = VAEI_HAS(layer->is_tied) ? in : d_out;
    p.b_step = p.columns;
    p.b_column = 1;
    p.c = model->gradients + layer->weight;
    p.c_row = VAEI_HAS(layer->is_tied) ? layer->weight_row : layer->outputs;
    p.accumulate = model->has_gradients;
    return p;
}

/* d_out [count][outputs] is the gradient of the layer's output and becomes that of what went into the activation. With
   pass->updates the weights' gradient is left out: vaei_update makes it later. */
VAEI_PRIVATE void vaei_dense_backward(const vaei_pass *pass, const vaei_layer *layer, int wants_input_gradient) {
    vae_model   *model = pass->model;
    vae_real    *d_out = vaei_numbers(model, layer->places.output_gradient);
    const int    frozen = vaei_is_frozen(model, (int)(layer - model->plan.layers));
    vaei_product p;
    if (VAEI_HAS(layer->normalizes)) vaei_norm_backward(pass, layer, d_out);
    else vaei_activate_dense_backward(pass, layer, d_out);
    if (!frozen)
        vaei_bias_sums(pass, layer, pass->count, d_out, model->gradients + layer->bias, model->has_gradients);
    if (VAEI_HAS(layer->classes) && !frozen) {
        vaei_label_context labels;
        labels.pass = pass;
        labels.layer = layer;
        labels.numbers = d_out;
        vaei_split(model, layer->outputs, 64, vaei_max_size(64, VAEI_PARALLEL_NUMBERS / pass->count),
                   vaei_label_gradient_part, &labels);
    }
    if (!pass->updates && !frozen) {
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
    p.b = model->weights + layer->weight;
    p.b_step = VAEI_HAS(layer->is_tied) ? layer->weight_row : 1;
    p.b_column = VAEI_HAS(layer->is_tied) ? 1 : layer->outputs;
    p.c = vaei_numbers(model, layer->places.input_gradient);
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
     weights  d_weight[k][b][s] += sum over i of fine[i stride + k - top][b] coarse[i][s]
   A convolution is a gather forward and a scatter backward, a transposed one a scatter forward and a gather backward;
   in `weights` the coarse or the fine image is then the gradient. Each function does n images. */

/* gather: one matrix product. A row of A is a patch, a segment one of its lines. */
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
    p.a = fine;
    p.a_rows = c->convolve_from;
    p.a_segments = c->kernel_lines;
    p.c = coarse;
    p.c_rows = c->convolve_to;
    p.bias = bias;
    p.relu = relu;
    vaei_multiply(model->kernels, &p, vaei_slot(model, slot, model->plan.product_scratch));
}

/* scatter: one matrix product for each phase. A segment is one tap, of all coarse channels. */
VAEI_PRIVATE void vaei_convolve_transposed(const vae_model *model, size_t slot, const vaei_connection *c, size_t n,
                                           const vae_real *coarse, vae_real *fine, const vae_real *weight,
                                           const vae_real *bias, int relu) {
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
    /* A tap's weights lie [fine][coarse]: its steps, over coarse channels, are adjacent. */
    p.c = fine;
    p.bias = bias;
    p.relu = relu;
    for (i = 0; i < c->phase_count; i++) {
        const vaei_phase *phase = &c->phases[i];
        p.rows = n * phase->rows;
        /* A phase without taps, as a stride wider than the kernel has, has no steps: it leaves the bias alone. */
        p.segments = phase->taps;
        p.a_rows = phase->from;
        p.a_segments = phase->from_taps;
        p.b_segments = phase->weight_taps;
        p.c_rows = phase->to;
        vaei_multiply(model->kernels, &p, vaei_slot(model, slot, model->plan.product_scratch));
    }
}

#ifndef VAE_INFERENCE_ONLY
/* weights: one matrix product. A row of it is a number of the patch, a column a coarse channel; a segment is a line of
   positions, over which the sum goes. */
VAEI_PRIVATE void vaei_connection_weights(const vae_model *model, size_t slot, const vaei_connection *c, size_t n,
                                          const vae_real *fine, const vae_real *coarse, vae_real *d_weight,
                                          int accumulate) {
    vaei_product p;
    memset(&p, 0, sizeof p);
    p.rows = (size_t)c->kernel_height * (size_t)c->kernel_width * (size_t)c->fine.channels;
    p.columns = (size_t)c->coarse.channels;
    p.segments = n * (size_t)c->coarse.height;
    p.run = (size_t)c->coarse.width;
    p.a = fine;
    p.a_rows = c->weight_rows;
    p.a_segments = c->fine_lines;
    p.a_step = (size_t)c->stride_width * (size_t)c->fine.channels;
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

/* Where line y of image i begins. */
VAEI_PRIVATE size_t vaei_line(const vaei_image *image, size_t i, int y) {
    return i * image->image + image->origin + (size_t)y * image->row;
}

/* Copies images from one layout into another of the same shape, line by line; the borders are not touched. */
VAEI_PRIVATE void vaei_copy_images(size_t n, const vaei_image *from, const vae_real *source, const vaei_image *to,
                                   vae_real *target) {
    const size_t line = (size_t)from->width * (size_t)from->channels;
    size_t       i;
    int          y;
    for (i = 0; i < n; i++)
        for (y = 0; y < from->height; y++)
            memcpy(target + vaei_line(to, i, y), source + vaei_line(from, i, y), line * sizeof(vae_real));
}

/* As vaei_activate, for n images inside their borders, which stay 0: f(0) need not be 0. */
VAEI_PRIVATE void vaei_activate_images(const vae_model *model, vae_activation activation, size_t n,
                                       const vaei_image *image, const vae_real *from, vae_real *to) {
    const size_t line = (size_t)image->width * (size_t)image->channels;
    size_t       i;
    int          y;
    for (i = 0; i < n; i++)
        for (y = 0; y < image->height; y++) {
            const size_t at = vaei_line(image, i, y);
            vaei_activate(model->kernels, activation, line, from + at, to + at);
        }
}

/* Its backward pass. What the forward pass saved may have another border than the gradient. */
VAEI_PRIVATE void vaei_activate_images_backward(const vae_model *model, vae_activation activation, size_t n,
                                                const vaei_image *saved_image, const vae_real *saved,
                                                const vaei_image *image, vae_real *d) {
    const size_t line = (size_t)image->width * (size_t)image->channels;
    size_t       i;
    int          y;
    if (activation == VAE_LINEAR) return;
    for (i = 0; i < n; i++)
        for (y = 0; y < image->height; y++)
            vaei_activate_backward(model->kernels, activation, line, saved + vaei_line(saved_image, i, y),
                                   d + vaei_line(image, i, y));
}

#ifndef VAE_INFERENCE_ONLY
/* Dropout of a micro-batch's images, inside their borders. */
VAEI_PRIVATE void vaei_drop_images(const vaei_micro *micro, const vaei_layer *layer, const vaei_image *image,
                                   const vae_real *from, vae_real *to) {
    const size_t line = (size_t)image->width * (size_t)image->channels;
    size_t       i;
    int          y;
    for (i = 0; i < micro->count; i++)
        for (y = 0; y < image->height; y++) {
            const size_t at = vaei_line(image, i, y);
            vaei_drop(micro->pass, layer, micro->first + i, (size_t)y * line, line, from + at, to + at);
        }
}
#endif

/* A micro-batch of images, inside their borders, in a model that cannot train. */
VAEI_PRIVATE void vaei_norm_images(const vaei_micro *micro, const vaei_layer *layer, vae_real *numbers) {
    const vaei_image *image = &layer->connection->output;
    vaei_batch_norm   norm = vaei_norm_of(micro->pass, layer);
    size_t            i;
    int               y;
    for (i = 0; i < micro->count; i++)
        for (y = 0; y < image->height; y++) {
            norm.linear = norm.to = numbers + i * image->image + image->origin + (size_t)y * image->row;
            vaei_norm_rows(&norm, micro->slot, 0, (size_t)image->width);
        }
}

/* in [count][in] -> out [count][out], both images inside their borders, for the rows of one micro-batch. */
VAEI_PRIVATE void vaei_convolution_forward(const vaei_micro *micro, const vaei_layer *layer) {
    const vae_model       *model = micro->pass->model;
    const vaei_connection *c = layer->connection;
    const vaei_buffers     buffers = vaei_buffers_of(micro->pass, layer, micro->slot, micro->first, c->output.image);
    const vae_real        *in = vaei_micro_rows(micro, layer->places.input, c->input.image);
    const vae_real        *weight = model->weights + layer->weight, *bias = model->weights + layer->bias;
    const int              normalizes = VAEI_HAS(layer->normalizes);
    vae_real              *linear = normalizes && model->plan.trains
                                        ? vaei_micro_rows(micro, layer->places.linear, layer->outputs)
                                        : buffers.preactivation;
    const int              relu = layer->activation == VAE_RELU && !normalizes;
    if (layer->kind == VAE_LAYER_CONV)
        vaei_convolve(model, micro->slot, c, micro->count, in, linear, weight, bias, relu);
    else vaei_convolve_transposed(model, micro->slot, c, micro->count, in, linear, weight, bias, relu);
    if (normalizes && model->plan.trains) return;     /* the whole batch goes on together: see vaei_norm_forward */
    if (normalizes) vaei_norm_images(micro, layer, linear);
    if (vaei_separate_activation(layer->activation) || (normalizes && layer->activation == VAE_RELU))
        vaei_activate_images(model, layer->activation, micro->count, &c->output, linear, buffers.activated);
#ifndef VAE_INFERENCE_ONLY
    if (vaei_drops(micro->pass, layer)) vaei_drop_images(micro, layer, &c->output, buffers.activated, buffers.output);
#endif
}

#ifndef VAE_INFERENCE_ONLY
/* d_out [count][out], already taken back through the activation, lies inside its border. Sums d_weight and d_bias in
   micro->gradients and, unless d_in is NULL, makes d_in [count][in]. */
VAEI_PRIVATE void vaei_convolution_backward(const vaei_micro *micro, const vaei_layer *layer, vae_real *d_in) {
    const vae_model *model = micro->pass->model;
    const vae_real  *in = vaei_micro_rows(micro, layer->places.input, layer->connection->input.image);
    const vae_real  *d_out = vaei_micro_rows(micro, layer->places.output_gradient, 0);
    const vae_real  *weight = model->weights + layer->weight;
    vae_real        *d_weight = micro->gradients + layer->weight_partial;
    vae_real        *d_bias = micro->gradients + (layer->bias - micro->stage->parameter);
    const size_t     channels = (size_t)layer->out.channels;
    /* A stage lies in one half of the network, so that its first layer speaks for all of them. */
    const int        frozen = vaei_is_frozen(model, micro->stage->first);
    /* The borders are zeros and may be summed along with the rest. */
    if (!frozen)
        vaei_bias_sums(micro->pass, layer, micro->count * (layer->connection->output_gradient.image / channels), d_out,
                       d_bias, micro->accumulate);
    if (layer->kind == VAE_LAYER_CONV) {
        if (!frozen)
            vaei_connection_weights(model, micro->slot, layer->connection, micro->count, in, d_out, d_weight,
                                    micro->accumulate);
        if (d_in)
            vaei_convolve_transposed(model, micro->slot, layer->connection, micro->count, d_out, d_in, weight, NULL, 0);
    } else {
        if (!frozen)
            vaei_connection_weights(model, micro->slot, layer->connection, micro->count, d_out, in, d_weight,
                                    micro->accumulate);
        if (d_in) vaei_convolve(model, micro->slot, layer->connection, micro->count, d_out, d_in, weight, NULL, 0);
    }
}
#endif

VAEI_PRIVATE void vaei_store_row(const vaei_pass *pass, size_t row, vae_real *output, vae_real *pixels);
VAEI_PRIVATE size_t vaei_inner_place(const vae_model *model, size_t k);

/* ==== 26 >>outcome ================================================================================================ */

/* What becomes of the decoder's output: it is scored against the target, in nats or squared errors, and turned into its
   own gradient; or it becomes pixels. Both happen row by row, so that in a fused stage they happen while the row is in
   the cache. A learned sigma belongs here too: its gradient comes from the same scores. */

/* ---- sigma ---- */

#define VAEI_SIGMA_RATE ((vae_wide)0.1) /* the least weight of a batch in the moving average of sigma^p */
#define VAEI_LEAST_LOG_SIGMA ((vae_wide)-13.8)      /* the log of a millionth; the largest sigma is a million */
/* Of a file's or the user's. */
VAEI_SETUP int vaei_is_log_sigma(vae_real x) {
    return vaei_lies_in(x, (vae_real)-VAEI_MOST_LOG_SIGMA, (vae_real)VAEI_MOST_LOG_SIGMA);
}

/* A byte for each pixel of a row in the workspace, 0 where it is not scored; NULL where no number may be missing. */
VAEI_PRIVATE unsigned char *vaei_observed(const vae_model *model, size_t row) {
    const vaei_plan *plan = &model->plan;
    if (!VAEI_HAS(plan->observed_size)) return NULL;
    return (unsigned char *)vaei_row(model, plan->observed, row, plan->observed_size);
}

/* What pixel i adds to the nats of every row, whatever its value: it is its share of sigmas.row_nats. */
VAEI_PRIVATE vae_wide vaei_constant_nats(const vae_model *model, size_t i) {
    const vaei_plan       *plan = &model->plan;
    const vaei_likelihood *likelihood = vaei_likelihood_of(model);
    vae_wide               nats = likelihood->constant;
    if (plan->log_sigma_count)
        nats += (vae_wide)model->weights[plan->log_sigma + (VAEI_HAS(plan->log_sigma_count > 1) ? i : 0)];
    else if (likelihood->has_sigma) nats += vaei_scalar_log((vae_wide)model->settings.sigma);
    if (VAEI_HAS(model->settings.standardize))
        nats += vaei_scalar_log((vae_wide)model->weights[plan->standardize_scale + i]);
    return nats;
}

/* The same for each pixel, in the workspace. */
VAEI_PRIVATE const vae_wide *vaei_pixel_nats(const vae_model *model) {
    vae_wide *each = (vae_wide *)(void *)vaei_numbers(model, model->plan.pixel_nats);
    size_t  i;
    for (i = 0; i < model->plan.example; i++) each[i] = vaei_constant_nats(model, i);
    return each;
}

/* What a pass needs of sigma and of the change of scale. Instead of a log of each scale, one log is taken of the
   product of as many as keep it in range. */
VAEI_PRIVATE vaei_sigmas vaei_sigmas_of(const vae_model *model) {
    const vaei_plan       *plan = &model->plan;
    const vaei_likelihood *likelihood = vaei_likelihood_of(model);
    const vae_real        *log_sigma = model->weights + plan->log_sigma;
    vaei_sigmas            sigmas;
    size_t                 i;
    memset(&sigmas, 0, sizeof sigmas);
    sigmas.channels = (size_t)model->settings.input.channels;
    if (VAEI_DECODES_ONLY) return sigmas;               /* a mean needs no more */
    sigmas.row_nats = likelihood->constant;
    if (!likelihood->has_sigma) {
        sigmas.row_nats = (vae_wide)plan->example * sigmas.row_nats;
    } else if (VAEI_HAS(plan->log_sigma_count > 1)) {
        vae_real *inverse = vaei_numbers(model, plan->inverse_sigma);
        sigmas.inverse = inverse;
        sigmas.row_nats = (vae_wide)plan->example * sigmas.row_nats;
        for (i = 0; i < plan->example; i++) {
            inverse[i] = (vae_real)vaei_scalar_exp(-(vae_wide)log_sigma[i]);
            sigmas.row_nats += (vae_wide)log_sigma[i];
        }
    } else if (plan->log_sigma_count) {
        sigmas.sigma = vaei_scalar_exp((vae_wide)log_sigma[0]);
        sigmas.row_nats = (vae_wide)plan->example * (sigmas.row_nats + (vae_wide)log_sigma[0]);
    } else {
        sigmas.sigma = (vae_wide)model->settings.sigma;
        sigmas.row_nats = (vae_wide)plan->example * (sigmas.row_nats + vaei_scalar_log(sigmas.sigma));
    }
    if (VAEI_HAS(model->settings.standardize)) {
        const vae_real *scale = model->weights + plan->standardize_scale;
        vae_wide        product = 1;
        for (i = 0; i < plan->example; i++) {
            product *= (vae_wide)scale[i];
#if !VAEI_WIDE_IS_FLOAT             /* a float has no room for a product of many */
            if (product > 1e-200 && product < 1e200) continue;
#endif
            sigmas.row_nats += vaei_scalar_log(product);
            product = 1;
        }
        sigmas.row_nats += vaei_scalar_log(product);
    }
    if (VAEI_HAS(plan->observed_size)) sigmas.pixel_nats = vaei_pixel_nats(model);
    return sigmas;
}

/* Sigma; where each pixel has its own, their geometric mean; 0 where the likelihood has none. */
VAEI_PRIVATE vae_wide vaei_sigma(const vae_model *model) {
    const vaei_plan *plan = &model->plan;
    vae_wide         sum = 0;
    size_t           i;
    if (!vaei_likelihood_of(model)->has_sigma) return 0;
    if (!plan->log_sigma_count) return (vae_wide)model->settings.sigma;
    for (i = 0; i < plan->log_sigma_count; i++) sum += (vae_wide)model->weights[plan->log_sigma + i];
    return vaei_scalar_exp(sum / (vae_wide)plan->log_sigma_count);
}

/* sigmas.row_nats of one row of the pass: of the pixels that it has. */
VAEI_PRIVATE vae_wide vaei_row_nats(const vaei_pass *pass, size_t row) {
    const unsigned char *observed;
    vae_wide             sum = 0;
    size_t               i;
    if (!VAEI_HAS(pass->sigmas.pixel_nats)) return pass->sigmas.row_nats;
    observed = vaei_observed(pass->model, row / pass->repeat);
    for (i = 0; i < pass->model->plan.example; i++) if (observed[i]) sum += pass->sigmas.pixel_nats[i];
    return sum;
}

/* How many pixels of a row in the workspace are scored. */
VAEI_PRIVATE size_t vaei_count_observed(const vae_model *model, size_t row) {
    const unsigned char *observed = vaei_observed(model, row);
    size_t               count = 0, i;
    if (!observed) return model->plan.example;
    for (i = 0; i < model->plan.example; i++) count += observed[i];
    return count;
}

#ifndef VAE_INFERENCE_ONLY
/* The importance weight of a row of the decoder; 1 where rows are not weighted. */
VAEI_PRIVATE vae_wide vaei_weight_of(const vaei_pass *pass, size_t row) {
    return VAEI_HAS(pass->weights) ? pass->weights[row] : 1;
}

/* The gradient of log sigma. With s the mean of |x - output|^p over the numbers that share a sigma (p is 2 for the
   Gaussian, 1 for Laplace), their nats are s/(p sigma^p) + log sigma each, and the derivative with respect to log sigma
   is 1 - s/sigma^p each. Where all pixels share one sigma, s follows from the rows' nats, which have been computed by
   now. */
VAEI_PRIVATE void vaei_log_sigma_gradient(const vaei_pass *pass) {
    const vae_model *model = pass->model;
    const vae_wide   power = (vae_wide)vaei_likelihood_of(model)->power;
    vae_wide         sum = 0;
    size_t           i;
    for (i = 0; i < pass->count; i++) {
        const vae_wide s = VAEI_ROUNDED(power * (pass->reconstruction[i] - vaei_row_nats(pass, i)));
        sum += VAEI_ROUNDED(vaei_weight_of(pass, i) * ((vae_wide)vaei_count_observed(model, i / pass->repeat) - s));
    }
    *pass->d_log_sigma = (vae_real)((vae_wide)pass->scale * sum) + (pass->adds ? *pass->d_log_sigma : 0);
}

/* The same where each pixel has its sigma, for pixels first .. first + count - 1: from the outputs of the whole batch,
   before their gradients replace them. A missing number counts as lying just sigma away: it has no gradient. Nor has a
   pixel whose outputs are exact in the whole batch, such as ReLU's zeros of a black border: its sigma would sink, until
   the first output above 0 costs millions of nats. */
VAEI_PRIVATE void vaei_log_sigmas_gradient(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_pass *pass = (const vaei_pass *)opaque;
    const vae_model *model = pass->model;
    const vaei_plan *plan = &model->plan;
    const int        squares = vaei_likelihood_of(model)->power == 2;
    const size_t     end = first + count;
    vae_wide         sums[32], weights = 0;
    size_t           r;
    (void)slot;
    for (r = 0; r < pass->count; r++) weights += vaei_weight_of(pass, r);
    for (; first < end; first += count) {
        vae_real *d = pass->d_log_sigma + first;
        size_t    row, i;
        count = vaei_min_size(32, end - first);
        memset(sums, 0, sizeof sums);
        for (row = 0; row < pass->count; row++) {
            const vae_wide  weight = vaei_weight_of(pass, row);
            const vae_real *x = vaei_row(model, plan->target, row / pass->repeat, plan->example) + first;
            const vae_real *output =
                vaei_row(model, plan->stages[plan->stage_count - 1].output, row, plan->output) + first;
            const unsigned char *observed = vaei_observed(model, row / pass->repeat);
            for (i = 0; i < count; i++) {
                const vae_real residual = (output[i] - x[i]) * pass->sigmas.inverse[first + i];
                vae_wide       power = (vae_wide)(residual < 0 ? -residual : residual);
                if (squares) power = VAEI_ROUNDED((vae_wide)residual * (vae_wide)residual);
                if (observed && !observed[first + i]) power = 1;
                sums[i] += VAEI_ROUNDED(weight * power);
            }
        }
        for (i = 0; i < count; i++) {
            const vae_wide gradient = sums[i] > 0 ? (vae_wide)pass->scale * (weights - sums[i]) : 0;
            d[i] = (vae_real)gradient + (pass->adds ? d[i] : 0);
        }
    }
}

/* Moves sigma^p towards s, the value that fits best: a moving average of the closed form of Rybkin et al., in place of
   the optimiser. At first a batch weighs in proportion to its step number, so that the beginning is soon forgotten.
   With `rate` 1 this batch decides alone. Missing numbers add nothing to the gradient, and so a batch weighs the less
   the more it misses; what sigma moves towards stays the same. */
VAEI_PRIVATE void vaei_move_sigma(vae_model *model, const vae_real *gradients, vae_wide rate) {
    const vaei_plan *plan = &model->plan;
    const vae_wide   power = (vae_wide)vaei_likelihood_of(model)->power;
    const vae_wide   share = (vae_wide)(plan->example / vaei_max_size(1, plan->log_sigma_count));
    const vae_wide   least = (vae_wide)1e-30;
    vae_real        *log_sigma = model->parameters + plan->log_sigma;
    size_t           i;
    for (i = 0; i < plan->log_sigma_count; i++) {
        /* The gradient is 1 - s/sigma^p for each pixel that shares this sigma. So `ratio`, the new sigma^p over the old
           one, is 1 - rate + rate s/sigma^p. A perfect fit would make it 0, which has no logarithm. */
        const vae_wide ratio = 1 - VAEI_ROUNDED(rate * ((vae_wide)gradients[i] / share));
        if (!vaei_finite(gradients[i])) continue;
        vae_wide     moved = (vae_wide)log_sigma[i] + vaei_scalar_log(ratio > least ? ratio : least) / power;
        if (moved < VAEI_LEAST_LOG_SIGMA) moved = VAEI_LEAST_LOG_SIGMA;
        if (moved > -VAEI_LEAST_LOG_SIGMA) moved = -VAEI_LEAST_LOG_SIGMA;
        log_sigma[i] = (vae_real)moved;
    }
}

/* The move after update number `step`, counted from 0: 2/(step + 2) is the weight that makes the average over batches
   favour the late ones, until it falls to VAEI_SIGMA_RATE. */
VAEI_PRIVATE void vaei_update_sigma(vae_model *model, const vae_real *gradients, uint64_t step) {
    const vae_wide rate = 2 / ((vae_wide)step + 2);
    if (vaei_moves_sigma(model)) vaei_move_sigma(model, gradients, rate > VAEI_SIGMA_RATE ? rate : VAEI_SIGMA_RATE);
}
#endif

/* ---- rows ---- */

/* Two arrays: the first has a number for each row of the decoder, its reconstruction; the second, vaei_row_kl, one for
   each row of pixels, its KL, and then, where samples are weighted, one more, its loss. Decoding stores in the first
   whether a pixel of the row is not finite: 0 or 1, asked for by its bits, so that a program which only decodes has no
   arithmetic of doubles. */
VAEI_PRIVATE vae_wide *vaei_row_terms(const vae_model *model) {
    return (vae_wide *)(void *)vaei_numbers(model, model->plan.row_terms);
}

VAEI_PRIVATE vae_wide *vaei_row_kl(const vae_model *model) { return vaei_row_terms(model) + model->plan.decoder_batch; }

/* The sum of (x - pixel)^2 over a row, in the caller's units. */
VAEI_PRIVATE vae_wide vaei_squared_error(const vae_model *model, const vae_real *mean, const vae_real *pixels,
                                         const unsigned char *observed) {
    const vae_real *scale =
        VAEI_HAS(model->settings.standardize) ? model->weights + model->plan.standardize_scale : NULL;
    vae_wide        sum = 0;
    size_t          i;
    for (i = 0; i < model->plan.example; i++) {
        const vae_wide difference = ((vae_wide)pixels[i] - (vae_wide)mean[i]) * (scale ? (vae_wide)scale[i] : 1);
        if (!observed || observed[i]) sum += VAEI_ROUNDED(difference * difference);
    }
    return sum;
}

/* What each number of a row adds to its nats or, where `output` holds the mean pixels, to its squared error; one that
   is missing adds nothing. */
VAEI_APART void vaei_score_numbers_of(const vaei_pass *pass, const vae_real *output, const vae_real *pixels,
                                      const unsigned char *observed, vae_wide *numbers) {
    const vae_model       *model = pass->model;
    const vaei_likelihood *likelihood = vaei_likelihood_of(model);
    const vae_real        *scale =
        VAEI_HAS(model->settings.standardize) ? model->weights + model->plan.standardize_scale : NULL;
    size_t                 k;
    for (k = 0; k < model->plan.example; k++) {
        const size_t i = vaei_inner_place(model, k);
        if (observed && !observed[i]) numbers[k] = 0;
        else if (pass->squared) {
            const vae_wide difference = ((vae_wide)pixels[i] - (vae_wide)output[i]) * (scale ? (vae_wide)scale[i] : 1);
            numbers[k] = difference * difference;
        } else {
            const size_t channels = pass->sigmas.channels, at = vaei_output_place(channels, likelihood->outputs, i);
            vaei_sigmas  sigmas = pass->sigmas;
            vae_real     own[2];
            /* The pixel is scored as a row of one channel: its second number then stands beside the first. */
            if (VAEI_HAS(sigmas.inverse)) sigmas.inverse += i;
            sigmas.channels = 1;
            own[0] = output[at];
            own[1] = likelihood->outputs > 1 ? output[at + channels] : 0;
            numbers[k] = likelihood->score(model->kernels, 1, own, pixels + i, &sigmas, 1, NULL) +
                         vaei_constant_nats(model, i);
        }
    }
}

/* The score of a row of which pixels are missing, without what it has whatever their values. Those pixels are 0 by now;
   the outputs for them are replaced. So the kernels need no mask, and whole rows are scored as fast as ever. */
VAEI_APART vae_wide vaei_score_observed(const vaei_pass *pass, const unsigned char *observed, vae_real *output,
                                        const vae_real *row, vae_real scale, vae_real *d) {
    const vaei_likelihood *likelihood = vaei_likelihood_of(pass->model);
    const size_t           size = pass->model->plan.example;
    vae_wide               nats;
    size_t                 i;
    for (i = 0; i < size; i++)
        if (!observed[i]) {
            vae_real *place = output + vaei_output_place(pass->sigmas.channels, likelihood->outputs, i);
            *place = likelihood->absent;
            if (likelihood->outputs > 1) place[pass->sigmas.channels] = 0;
        }
    nats = likelihood->score(pass->model->kernels, size, output, row, &pass->sigmas, scale, d);
    for (i = 0; d && i < size; i++)
        if (!observed[i]) {
            vae_real *place = d + vaei_output_place(pass->sigmas.channels, likelihood->outputs, i);
            *place = 0;
            if (likelihood->outputs > 1) place[pass->sigmas.channels] = 0;
        }
    return nats;
}

/* What becomes of the outputs of rows first .. first + count - 1: scored against their pixels and turned into their
   gradient d (which may take their place), or only scored, or decoded into the caller's array. Scores of outputs that
   are not finite are not finite. */
VAEI_PRIVATE void vaei_finish_rows(const vaei_pass *pass, size_t first, size_t count, vae_real *output, vae_real *d) {
    vae_model             *model = pass->model;
    const vaei_kernel_set *kernels = model->kernels;
    const vaei_likelihood *likelihood = vaei_likelihood_of(model);
    const size_t           size = model->plan.example;
    const vae_real        *pixels = vaei_numbers(model, model->plan.target);
    size_t                 i;
    for (i = first; i < first + count; i++, output += model->plan.output) {
        const vae_wide  weight = VAEI_HAS(pass->weights) ? pass->weights[i] : 1;
        const vae_real *row = pixels + i / pass->repeat * size;
        /* Training looks at its loss instead, which is no more finite than the outputs. */
        const int       finite =
            !pass->forward_only || vaei_all_within(kernels, model->plan.output, output, VAEI_LARGEST);
        const unsigned char *observed = vaei_observed(model, i / pass->repeat);
        if (pass->saved_outputs)
            memcpy(pass->saved_outputs + i * model->plan.output, output, model->plan.output * sizeof(vae_real));
        if (pass->decoded) {
            vae_real *decoded = pass->decoded + i * size;
            vaei_store_row(pass, i, output, decoded);
            vaei_row_terms(model)[i] = finite && vaei_all_within(kernels, size, decoded, VAEI_LARGEST) ? (vae_wide)0
                                                                                                       : (vae_wide)1;
        }
        if (VAEI_DECODES_ONLY || !pass->reconstruction) continue;
        if (!finite) {
            pass->reconstruction[i] = vaei_bits_wide(VAEI_WIDE_INFINITY);
        } else if (pass->squared || pass->numbers) {
            if (pass->squared) likelihood->mean(kernels, size, output, &pass->sigmas, output);
            if (pass->numbers) vaei_score_numbers_of(pass, output, row, observed, pass->numbers + i * size);
            pass->reconstruction[i] = pass->numbers ? 0 : vaei_squared_error(model, output, row, observed);
        } else {
            /* A sample without weight has no gradient; its score is there already. */
            if (d && weight == 0) memset(d, 0, model->plan.output * sizeof(vae_real));
            else if (observed)
                pass->reconstruction[i] = vaei_score_observed(pass, observed, output, row,
                                                              (vae_real)(weight * (vae_wide)pass->scale), d) +
                                          vaei_row_nats(pass, i);
            else
                pass->reconstruction[i] = likelihood->score(kernels, size, output, row, &pass->sigmas,
                                                            (vae_real)(weight * (vae_wide)pass->scale), d) +
                                          pass->sigmas.row_nats;
            if (d) d += model->plan.output;
        }
    }
}

/* The same for a whole batch, where the last stage is not fused. */
VAEI_PRIVATE void vaei_finish_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_pass  *pass = (const vaei_pass *)opaque;
    const vae_model  *model = pass->model;
    const vaei_stage *last = &model->plan.stages[model->plan.stage_count - 1];
    (void)slot;
    vaei_finish_rows(pass, first, count, vaei_row(model, last->output, first, model->plan.output),
                     pass->forward_only ? NULL : vaei_row(model, last->output_gradient, first, model->plan.output));
}

/* ==== 27 >>stages ================================================================================================= */

/* The walk through the layers, stage by stage. A stage of dense layers takes all rows at once, layer by layer. A stage
   of convolutions takes one micro-batch through all its layers before the next: see section plan. Workers share out
   chunks of micro-batches, since the sums of the weights' gradients belong to a chunk.

   What passes from stage to stage is flat and holds the whole batch: forward the outputs, backward their gradients.
   What a stage of convolutions keeps to itself lies in borders, and in slots where no backward pass needs it again. Its
   weights' gradients go first into the chunk's own area (`partials`), then, chunk by chunk, into the gradient block. */

/* A fused last stage takes each micro-batch forward, through the likelihood and backward before it begins the next one.
   Otherwise the likelihood takes the whole batch between the two passes; the bits are the same. */
VAEI_PRIVATE int vaei_is_fused(const vaei_plan *plan, const vaei_stage *stage) {
    return plan->fused && stage == &plan->stages[plan->stage_count - 1];
}

/* One micro-batch through a stage of convolutions: its rows are copied inside the first layer's border, and the last
   layer leaves flat rows. */
VAEI_PRIVATE void vaei_forward_micro(const vaei_micro *micro) {
    const vae_model  *model = micro->pass->model;
    const vaei_stage *stage = micro->stage;
    const vaei_layer *first = &model->plan.layers[stage->first];
    const vaei_image  flat = vaei_flat_image(first->in);
    int               i;
    vaei_copy_images(micro->count, &flat, vaei_row(model, stage->input, micro->first, flat.image),
                     &first->connection->input, vaei_micro_rows(micro, first->places.input, 0));
    for (i = 0; i < stage->count; i++) vaei_convolution_forward(micro, &first[i]);
    if (vaei_is_fused(&model->plan, stage))
        vaei_finish_rows(micro->pass, micro->first, micro->count, vaei_micro_rows(micro, stage->output, 0),
                         micro->pass->forward_only ? NULL : vaei_micro_rows(micro, stage->output_gradient, 0));
}

#ifndef VAE_INFERENCE_ONLY
/* The backward pass, from the gradient of the stage's output, which is flat, to that of its input. Each layer's input
   gradient becomes the gradient of what went into the activation of the layer below. */
VAEI_PRIVATE void vaei_backward_micro(const vaei_micro *micro) {
    const vae_model  *model = micro->pass->model;
    const vaei_stage *stage = micro->stage;
    const vaei_layer *first = &model->plan.layers[stage->first], *layer = first + stage->count - 1;
    vae_real         *d_out = vaei_micro_rows(micro, stage->output_gradient, layer->outputs);
    const vaei_image  flat = vaei_flat_image(layer->out);
    /* A normalised layer's gradient has come this far already, in vaei_norm_backward. */
    if (vaei_drops(micro->pass, layer) && !VAEI_HAS(layer->normalizes))
        vaei_drop_images(micro, layer, &flat, d_out, d_out);
    if (layer->activation != VAE_LINEAR && !VAEI_HAS(layer->normalizes))
        vaei_activate_backward(model->kernels, layer->activation, micro->count * layer->outputs,
                               vaei_micro_rows(micro, layer->places.saved, layer->outputs), d_out);
    vaei_copy_images(micro->count, &flat, d_out, &layer->connection->output_gradient,
                     vaei_micro_rows(micro, layer->places.output_gradient, 0));
    for (; layer > first; layer--) {
        const vaei_layer *below = layer - 1;
        vae_real         *d_in = vaei_micro_rows(micro, layer->places.input_gradient, 0);
        vaei_convolution_backward(micro, layer, d_in);
        if (vaei_drops(micro->pass, below))
            vaei_drop_images(micro, below, &below->connection->output_gradient, d_in, d_in);
        vaei_activate_images_backward(
            model, below->activation, micro->count, &below->connection->output,
            vaei_micro_rows(micro, below->places.saved, below->connection->output.image),
            &below->connection->output_gradient, d_in);
    }
    vaei_convolution_backward(
        micro, first, stage->first ? vaei_row(model, stage->input_gradient, micro->first, first->inputs) : NULL);
}
#endif

typedef struct vaei_stage_context {
    const vaei_pass  *pass;
    const vaei_stage *stage;
    size_t            workers;              /* at most one for each thread */
    int               forward, backward;    /* both in a fused stage */
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
    /* The chunk's first micro-batch replaces what an earlier batch has left in the area, the others add to it. */
    micro.accumulate = 0;
    for (micro.first = first; micro.first < end; micro.first += model->plan.micro) {
        micro.count = vaei_min_size(model->plan.micro, end - micro.first);
        if (work->forward) vaei_forward_micro(&micro);
#ifndef VAE_INFERENCE_ONLY
        if (work->backward) {
            if (!work->forward) {
                /* A slot holds one micro-batch, by now another one: the input is copied in once more. */
                const vaei_layer *layer = &model->plan.layers[work->stage->first];
                const vaei_image  flat = vaei_flat_image(layer->in);
                vaei_copy_images(micro.count, &flat, vaei_row(model, work->stage->input, micro.first, flat.image),
                                 &layer->connection->input, vaei_slot_rows(model, layer->places.input, slot, 0, 0));
            }
            vaei_backward_micro(&micro);
            micro.accumulate = 1;
        }
#endif
    }
}

/* What worker `index` does of a stage: every workers-th chunk or, where there is no backward pass, micro-batch. */
VAEI_PRIVATE void vaei_stage_task(void *opaque, size_t index) {
    const vaei_stage_context *work = (const vaei_stage_context *)opaque;
    const vae_model          *model = work->pass->model;
    const size_t              step = work->backward ? model->plan.chunk * work->pass->repeat : model->plan.micro;
    size_t                    first;
    for (first = index * step; first < work->pass->count; first += work->workers * step)
        vaei_stage_rows(work, index, first, vaei_min_size(first + step, work->pass->count), !work->backward ? NULL
                        : model->workspace + model->plan.partials + first / step * model->plan.partial_size);
}

#ifndef VAE_INFERENCE_ONLY
typedef struct vaei_sum_context {
    vae_real       *total;
    const vae_real *partials;               /* one for each chunk, `size` numbers apart */
    size_t          chunks, size;
    int             accumulate;             /* add to the total instead of replacing it */
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

/* Adds the chunks' sums to the gradients: of the stage's own span, then of the weights that are tied. */
VAEI_PRIVATE void vaei_sum_stage(const vaei_pass *pass, const vaei_stage *stage, size_t chunks, int accumulate) {
    const vae_model *model = pass->model;
    const vae_real  *partials = model->workspace + model->plan.partials;
    vaei_sum_context sum;
    int              i;
    if (vaei_is_frozen(model, stage->first)) return;
    sum.size = model->plan.partial_size;
    sum.chunks = chunks;
    sum.model = model;
    sum.accumulate = accumulate;
    sum.total = model->gradients + stage->parameter;
    sum.partials = partials;
    vaei_split(model, stage->parameter_count, 64, VAEI_PARALLEL_NUMBERS, vaei_sum_part, &sum);
    for (i = stage->first; i < stage->first + stage->count; i++) {
        const vaei_layer *layer = &model->plan.layers[i];
        if (!VAEI_HAS(layer->is_tied)) continue;
        sum.total = model->gradients + layer->weight;
        sum.partials = partials + layer->weight_partial;
        /* A tied layer counts no weights of its own: their number is its counterpart's. */
        vaei_split(model, model->plan.layers[2 * model->plan.heads + 1 - i].weight_count, 64, VAEI_PARALLEL_NUMBERS,
                   vaei_sum_part, &sum);
    }
}
#endif

/* The chunks are independent of each other, and the workers share them out. Without threads one area of weight
   gradients is enough: it is added to the total after every chunk. A chunk has the same examples in both halves of the
   network, and so in the decoder all their samples. */
VAEI_PRIVATE void vaei_convolutional_stage(const vaei_pass *pass, const vaei_stage *stage, int forward, int backward) {
    const vae_model   *model = pass->model;
    const size_t       step = backward ? model->plan.chunk * pass->repeat : model->plan.micro;
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
    if (model->plan.threads > 1) {
        vaei_run(model, vaei_stage_task, &work, work.workers);
        vaei_sum_stage(pass, stage, pieces, model->has_gradients);
    } else {
        size_t chunk;
        for (chunk = 0; chunk < pieces; chunk++) {
            vaei_stage_rows(&work, 0, chunk * step, vaei_min_size((chunk + 1) * step, pass->count),
                            model->workspace + model->plan.partials);
            vaei_sum_stage(pass, stage, 1, chunk || model->has_gradients);
        }
    }
#endif
}

/* A stage forward; if it is fused and trained, backward as well. */
VAEI_PRIVATE void vaei_stage_forward(const vaei_pass *pass, const vaei_stage *stage) {
    int i;
    if (VAEI_HAS(stage->convolutional)) {
        const vaei_layer *last = &pass->model->plan.layers[stage->first + stage->count - 1];
        /* A model that cannot train has normalised layers inside a stage: what they need is prepared once, before
           workers share the stage out. */
        for (i = 0; i < stage->count && !pass->model->plan.trains; i++)
            if (VAEI_HAS(last[-i].normalizes)) vaei_norm_prepare(pass, last - i);
        vaei_convolutional_stage(pass, stage, 1, vaei_is_fused(&pass->model->plan, stage) && !pass->forward_only);
        if (VAEI_HAS(last->normalizes) && pass->model->plan.trains) vaei_norm_forward(pass, last);
        return;
    }
    for (i = 0; i < stage->count; i++) vaei_dense_forward(pass, &pass->model->plan.layers[stage->first + i]);
}

VAEI_PRIVATE void vaei_chain_forward(const vaei_pass *pass, const vaei_chain *chain) {
    int i;
    for (i = 0; i < chain->stages; i++)
        vaei_stage_forward(pass, &pass->model->plan.stages[chain->first_stage + i]);
}

/* One array of `latent` numbers a row becomes two that are equal, in place. */
VAEI_PRIVATE void vaei_share_heads(const vaei_pass *pass) {
    const vaei_plan *plan = &pass->model->plan;
    vae_real        *heads = vaei_numbers(pass->model, plan->layers[plan->heads].places.output);
    size_t           i = pass->count;
    /* From the last row to the first: rows become twice as long where they lie, and none may overwrite another. */
    while (i--) {
        memmove(heads + 2 * i * plan->latent, heads + i * plan->latent, plan->latent * sizeof(vae_real));
        memcpy(heads + (2 * i + 1) * plan->latent, heads + 2 * i * plan->latent, plan->latent * sizeof(vae_real));
    }
}

/* rows -> heads */
VAEI_PRIVATE void vaei_encoder_forward(const vaei_pass *pass) {
    vaei_chain_forward(pass, &pass->model->plan.encoder);
    if (VAEI_HAS(pass->model->settings.shared_heads)) vaei_share_heads(pass);
}

/* Scores or decodes all rows of the pass, where the last stage has not done it on the way. */
VAEI_PRIVATE void vaei_finish_batch(vaei_pass *pass) {
    vaei_split(pass->model, pass->count, 1, vaei_max_size(1, VAEI_PARALLEL_NUMBERS / 4 / pass->model->plan.example),
               vaei_finish_part, pass);
}

#ifndef VAE_INFERENCE_ONLY
/* ---- importance weights: w_k = p(x | z_k) p(z_k)^beta / q(z_k | x)^beta of a row's samples z_k ---- */

/* A smaller weight is 0: it adds nothing, and would fill gradients with denormals. */
#define VAEI_LEAST_WEIGHT ((vae_wide)1e-20)

VAEI_PRIVATE vae_wide vaei_log_weight(size_t latent, const vae_real *noise, const vae_real *logvar, const vae_real *z);

/* Rows of pixels first .. first + count - 1: the weight of each of their samples, relative to the sum of them all, and
   the loss -log 1/k sum_k w_k. Its gradient is the sum of the samples' own, each times that weight (Burda et al. 2016,
   equations 13 and 14): d(-log sum_k w_k) = -sum_k (w_k / sum_j w_j) d log w_k. So the weights themselves count as
   constants on the backward pass, and all of them are needed before the first row goes back. */
VAEI_PRIVATE void vaei_weigh_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_pass *pass = (const vaei_pass *)opaque;
    const vae_model *model = pass->model;
    const size_t     latent = model->plan.latent, samples = pass->repeat;
    const vae_wide   beta = (vae_wide)vaei_beta(model);
    size_t           row, s;
    (void)slot;
    for (row = first; row < first + count; row++) {
        vae_wide *weights = pass->weights + row * samples, sum = 0, most;
        for (s = 0; s < samples; s++) {
            const size_t i = row * samples + s;
            weights[s] = VAEI_ROUNDED(beta * vaei_log_weight(latent, vaei_row(model, model->plan.noise, i, latent),
                                                             vaei_row(model, model->plan.logvar, row, latent),
                                                             vaei_row(model, model->plan.z, i, latent))) -
                         pass->reconstruction[i];
        }
        /* softmax of the log weights, the largest taken out first, so that exp cannot overflow */
        for (most = weights[0], s = 1; s < samples; s++) if (weights[s] > most) most = weights[s];
        for (s = 0; s < samples; s++) sum += weights[s] = vaei_scalar_exp(weights[s] - most);
        for (s = 0; s < samples; s++) {
            weights[s] /= sum;
            if (weights[s] < VAEI_LEAST_WEIGHT) weights[s] = 0;
        }
        pass->row_loss[row] = vaei_scalar_log((vae_wide)samples) - (most + vaei_scalar_log(sum));
    }
}

/* The scores come first; the pass itself then finishes its rows with the weights. */
VAEI_APART void vaei_weigh_rows(vaei_pass *pass) {
    vaei_pass scores = *pass;
    /* The outputs must outlast this pass, since the next one makes their gradients from them. */
    scores.forward_only = 1;
    vaei_finish_batch(&scores);
    vaei_split(pass->model, pass->count / pass->repeat, 1,
               vaei_max_size(1, VAEI_PARALLEL_SAMPLES / (pass->repeat * pass->model->plan.latent)), vaei_weigh_part,
               pass);
}
#endif

/* z -> logits -> nats or pixels; in training the last stage also goes backward if it is convolutional */
VAEI_PRIVATE void vaei_decoder_forward(vaei_pass *pass) {
    const vaei_plan *plan = &pass->model->plan;
    vaei_chain_forward(pass, &plan->decoder);
#ifndef VAE_INFERENCE_ONLY
    /* In this order: weights need the scores of all samples; a sigma for each pixel needs the outputs, which the
       finished rows may replace by their gradients; a sigma for all needs the finished rows' nats. */
    if (VAEI_HAS(pass->weights)) vaei_weigh_rows(pass);
    if (pass->d_log_sigma && VAEI_HAS(plan->log_sigma_count > 1))
        vaei_split(pass->model, plan->example, 32, vaei_max_size(1, VAEI_PARALLEL_NUMBERS / pass->count),
                   vaei_log_sigmas_gradient, pass);
#endif
    if (!plan->fused) vaei_finish_batch(pass);
#ifndef VAE_INFERENCE_ONLY
    if (pass->d_log_sigma && plan->log_sigma_count == 1) vaei_log_sigma_gradient(pass);
#endif
}

#ifndef VAE_INFERENCE_ONLY
/* A stage backward, unless it went there on the forward pass. The first layer of all needs no input gradient. */
VAEI_APART void vaei_stage_backward(const vaei_pass *pass, const vaei_stage *stage) {
    int i;
    if (VAEI_HAS(stage->convolutional)) {
        const vaei_layer *last = &pass->model->plan.layers[stage->first + stage->count - 1];
        if (VAEI_HAS(last->normalizes))
            vaei_norm_backward(pass, last, vaei_numbers(pass->model, stage->output_gradient));
        if (!vaei_is_fused(&pass->model->plan, stage)) vaei_convolutional_stage(pass, stage, 0, 1);
        return;
    }
    for (i = stage->first + stage->count - 1; i >= stage->first; i--)
        vaei_dense_backward(pass, &pass->model->plan.layers[i], i > 0);
}
#endif

/* ==== 28 >>latent ================================================================================================= */

/* The sample and the KL (Kingma and Welling 2014, section 2.4 and appendix B). From the heads' output, a row's means
   and then its logvars, [count][2 latent], come
     logvar    [count][latent]           clamped
     z         [count][repeat][latent]   = mean + exp(logvar / 2) noise; the noise, of the same shape, is drawn before
     kl        [count]                   = 1/2 sum (mean^2 + exp(logvar) - 1 - logvar), in nats
   and backward, with s = beta / rows the KL's weight in the loss and sums over the samples of a row,
     d_mean    [count][latent]           = sum d_z + s mean
     d_logvar  [count][latent]           = sum d_z noise exp(logvar / 2) / 2 + s (exp(logvar) - 1) / 2
   Importance weights take the place of the KL (vaei_weigh_part), and free bits or a capacity change it
   (vaei_kl_in_loss). */

/* [count][2 latent] */
VAEI_PRIVATE vae_real *vaei_heads(const vae_model *model) {
    return vaei_numbers(model, model->plan.layers[model->plan.heads].places.output);
}

/* logvar is clamped to [VAE_LOGVAR_MIN, VAE_LOGVAR_MAX], wide enough never to bind in a working model. NaN stays NaN.
   `bounded` may be raw. */
VAEI_PRIVATE void vaei_bound_logvar(size_t n, const vae_real *raw, vae_real *bounded) {
    size_t i;
    for (i = 0; i < n; i++) bounded[i] = vaei_clamp(raw[i], VAE_LOGVAR_MIN, VAE_LOGVAR_MAX);
}

/* The true derivative is 0 outside the bounds, so a value that got there would stay there. Instead the
   gradient passes unless the bound binds and a step against the gradient would push further out: at the upper bound
   only gradients >= 0 pass, at the lower one only those <= 0. Needs the bounded values only. */
VAEI_PRIVATE void vaei_bound_logvar_backward(size_t n, const vae_real *bounded, vae_real *d) {
    size_t i;
    for (i = 0; i < n; i++) d[i] = vaei_clamp_backward(bounded[i], VAE_LOGVAR_MIN, VAE_LOGVAR_MAX, d[i]);
}

/* The bounded logvar of every row of the pass. */
VAEI_PRIVATE void vaei_bound_rows(const vaei_pass *pass) {
    const vae_model *model = pass->model;
    const size_t     latent = model->plan.latent;
    const vae_real  *heads = vaei_heads(model);
    vae_real        *logvar = vaei_numbers(model, model->plan.logvar);
    size_t           i;
    for (i = 0; i < pass->count; i++)
        vaei_bound_logvar(latent, heads + i * 2 * latent + latent, logvar + i * latent);
}

VAEI_PRIVATE int vaei_is_autoencoder(const vae_model *model) {
    return VAEI_HAS(model->settings.objective == VAE_OBJECTIVE_AUTOENCODER);
}

/* The KL of n numbers of z; an autoencoder has none. */
VAEI_PRIVATE vae_wide vaei_kl_of(const vae_model *model, size_t n, const vae_real *mean, const vae_real *logvar) {
    return vaei_is_autoencoder(model) ? 0 : vaei_gaussian_kl(model->kernels, n, mean, logvar);
}

/* Heads -> logvar, z and, unless NULL, kl. A row's pass->repeat samples stand one after the other. */
VAEI_PRIVATE void vaei_latent_forward(const vaei_pass *pass, vae_wide *kl) {
    const vae_model *model = pass->model;
    const size_t     latent = model->plan.latent;
    const vae_real  *heads = vaei_heads(model), *noise = vaei_numbers(model, model->plan.noise);
    const vae_real  *logvar = vaei_numbers(model, model->plan.logvar);
    vae_real        *z = vaei_numbers(model, model->plan.z);
    size_t           i, s;
    vaei_bound_rows(pass);
    for (i = 0; i < pass->count; i++) {
        const vae_real *mean = heads + i * 2 * latent;
        for (s = i * pass->repeat; s < (i + 1) * pass->repeat; s++)
            vaei_reparameterize(model->kernels, latent, mean, logvar + i * latent, noise + s * latent, z + s * latent);
        if (kl) kl[i] = vaei_kl_of(model, latent, mean, logvar + i * latent);
    }
}

#ifndef VAE_INFERENCE_ONLY
/* Kingma et al. 2016: a dimension whose KL, averaged over the batch, is less than config.free_bits counts as that much
   and has no gradient. Returns the sum over dimensions and marks those dimensions with 1, the others with 0. */
VAEI_PRIVATE vae_wide vaei_apply_free_bits(const vaei_pass *pass, vae_real *is_free) {
    const vae_model *model = pass->model;
    const size_t     latent = model->plan.latent;
    const vae_real  *heads = vaei_heads(model), *logvar = vaei_numbers(model, model->plan.logvar);
    const vae_wide   least = (vae_wide)model->settings.free_bits;
    vae_wide         total = 0;
    size_t           i, j;
    for (j = 0; j < latent; j++) {
        vae_wide sum = 0;
        for (i = 0; i < pass->count; i++) {
            const vae_wide m = (vae_wide)heads[i * 2 * latent + j], v = (vae_wide)logvar[i * latent + j];
            sum += VAEI_ROUNDED(m * m) + (vaei_scalar_exp(v) - 1 - v);
        }
        sum /= 2 * (vae_wide)pass->count;
        is_free[j] = sum < least;
        total += sum < least ? least : sum;
    }
    return total;
}

/* The KL as the loss has it, and in the pass what its gradient needs; `kl` is its average over the batch. */
VAEI_PRIVATE vae_wide vaei_kl_in_loss(vaei_pass *pass, vae_wide kl) {
    const vae_model     *model = pass->model;
    const vaei_settings *settings = &model->settings;
    if (vaei_is_autoencoder(model)) return 0;
    if (VAEI_HAS(model->plan.has_weights)) {
        /* The weights hold p(z) / q(z | x) of each sample: there is no KL besides. */
        pass->weights = (vae_wide *)(void *)vaei_numbers(model, model->plan.sample_weights);
        pass->row_loss = vaei_row_kl(model) + model->plan.batch;
        return 0;
    }
    pass->kl_scale = vaei_beta(model) * pass->scale;
    if (VAEI_HAS(model->plan.has_free_bits)) {
        vae_real *is_free = vaei_numbers(model, model->plan.is_free);
        pass->is_free = is_free;
        return vaei_apply_free_bits(pass, is_free);
    }
    if (VAEI_HAS(settings->capacity != 0)) {
        const vae_wide difference = kl - vaei_scheduled(model, settings->capacity, &settings->capacity_schedule);
        /* |kl - C|: below C the gradient raises the KL. */
        pass->kl_scale = difference < 0 ? -pass->kl_scale : difference > 0 ? pass->kl_scale : 0;
        return difference < 0 ? -difference : difference;
    }
    return kl;
}

/* Whether the loss is reconstruction + beta kl, so that it may be shown as that sum. */
VAEI_PRIVATE int vaei_loss_is_sum(const vae_model *model) {
    return !VAEI_HAS(model->plan.has_weights) && !VAEI_HAS(model->plan.has_free_bits) && model->settings.capacity == 0;
}

/* What is minimised, after the pass: its average over the batch. */
VAEI_PRIVATE vae_wide vaei_loss(const vaei_pass *pass, vae_wide reconstruction, vae_wide kl_in_loss) {
    vae_wide sum = 0;
    size_t i;
    if (!VAEI_HAS(pass->weights)) return reconstruction + VAEI_ROUNDED((vae_wide)vaei_beta(pass->model) * kl_in_loss);
    for (i = 0; i < pass->count; i++) sum += pass->row_loss[i];
    return sum / (vae_wide)pass->count;
}

/* d_mean and, after it, d_logvar from the d_z of the row's first sample, with the KL's gradient. In dimensions that
   free bits hold they are computed once more, without the KL's. */
VAEI_PRIVATE void vaei_latent_backward_row(const vaei_pass *pass, size_t row, vae_real *d_mean) {
    const vae_model       *model = pass->model;
    const vaei_kernel_set *kernels = model->kernels;
    const size_t           latent = model->plan.latent;
    const vae_real        *mean = vaei_heads(model) + row * 2 * latent;
    const vae_real        *logvar = vaei_row(model, model->plan.logvar, row, latent);
    const vae_real        *noise = vaei_row(model, model->plan.noise, row * pass->repeat, latent);
    const vae_real        *d_z = vaei_row(model, model->plan.z_gradient, row * pass->repeat, latent);
    vae_real               free_mean[32], free_logvar[32];
    size_t                 first, count, j;
    vaei_latent_backward(kernels, latent, mean, logvar, noise, d_z, pass->kl_scale, d_mean, d_mean + latent);
    for (first = 0; VAEI_HAS(pass->is_free) && first < latent; first += count) {
        count = vaei_min_size(32, latent - first);
        vaei_latent_backward(kernels, count, mean + first, logvar + first, noise + first, d_z + first, 0, free_mean,
                             free_logvar);
        for (j = 0; j < count; j++)
            if (pass->is_free[first + j] != 0) {
                d_mean[first + j] = free_mean[j];
                d_mean[latent + first + j] = free_logvar[j];
            }
    }
}

/* The gradients of a row's further samples are added to those of its first. They take the places of their d_z and
   noise. */
VAEI_PRIVATE void vaei_latent_add_samples(const vaei_pass *pass, size_t row, vae_real *d_mean) {
    const vae_model *model = pass->model;
    const size_t     latent = model->plan.latent;
    const vae_real  *mean = vaei_heads(model) + row * 2 * latent;
    const vae_real  *logvar = vaei_row(model, model->plan.logvar, row, latent);
    size_t           s, j;
    for (s = row * pass->repeat + 1; s < (row + 1) * pass->repeat; s++) {
        vae_real *noise = vaei_row(model, model->plan.noise, s, latent);
        vae_real *d_z = vaei_row(model, model->plan.z_gradient, s, latent);
        /* The KL's gradient came with the first sample, so its scale is 0 here. */
        vaei_latent_backward(model->kernels, latent, mean, logvar, noise, d_z, 0, d_z, noise);
        for (j = 0; j < latent; j++) {
            d_mean[j] += d_z[j];
            d_mean[latent + j] += noise[j];
        }
    }
}

/* Where samples are weighted, -beta log (p(z) / q(z | x)) = beta (z^2 - noise^2 - logvar) / 2 of each takes the KL's
   place. Given the noise, its gradient with respect to z is beta z, and to logvar itself -beta / 2. */
VAEI_PRIVATE void vaei_weighed_backward(const vaei_pass *pass, size_t row) {
    const vae_model *model = pass->model;
    const size_t     latent = model->plan.latent;
    const vae_wide   scale = (vae_wide)(vaei_beta(model) * pass->scale);
    size_t           s, j;
    for (s = row * pass->repeat; s < (row + 1) * pass->repeat; s++) {
        const vae_real *z = vaei_row(model, model->plan.z, s, latent);
        vae_real       *d_z = vaei_row(model, model->plan.z_gradient, s, latent);
        const vae_real  weight = (vae_real)(pass->weights[s] * scale);
        for (j = 0; j < latent; j++) d_z[j] += VAEI_ROUNDED(weight * z[j]);
    }
}

/* d_z -> the gradient of the heads' output, for all rows of the pass. */
VAEI_APART void vaei_latent_backward_rows(const vaei_pass *pass) {
    const vae_model *model = pass->model;
    const size_t     latent = model->plan.latent;
    vae_real        *d_heads = vaei_numbers(model, model->plan.layers[model->plan.heads].places.output_gradient);
    size_t           i, j;
    for (i = 0; i < pass->count; i++) {
        vae_real *d_mean = d_heads + i * 2 * latent;
        if (VAEI_HAS(pass->weights)) vaei_weighed_backward(pass, i);
        vaei_latent_backward_row(pass, i, d_mean);
        if (VAEI_HAS(pass->repeat > 1)) vaei_latent_add_samples(pass, i, d_mean);
        /* -beta / 2 for each sample, times its weight: these add up to 1. */
        for (j = 0; VAEI_HAS(pass->weights) && j < latent; j++)
            d_mean[latent + j] -= vaei_beta(model) * pass->scale / 2;
        vaei_bound_logvar_backward(latent, vaei_row(model, model->plan.logvar, i, latent), d_mean + latent);
    }
    /* From the first row to the last: rows become half as long where they lie. */
    for (i = 0; VAEI_HAS(model->settings.shared_heads) && i < pass->count; i++) {  /* its own outputs, in place */
        size_t k;
        for (k = 0; k < latent; k++)
            d_heads[i * latent + k] = d_heads[2 * i * latent + k] + d_heads[(2 * i + 1) * latent + k];
    }
}
#endif

/* ---- the classifier: logits [count][classes] from means [count][latent], and its cross-entropy in nats ---- */

/* rows' means -> logits */
VAEI_PRIVATE void vaei_classifier_forward(const vaei_pass *pass) {
    const vae_model *model = pass->model;
    const size_t     latent = model->plan.latent;
    size_t           row;
    int              i;
    /* The heads' rows hold logvars, too; a dense layer wants its input without gaps. */
    for (row = 0; row < pass->count; row++)
        memcpy(vaei_row(model, model->plan.means, row, latent), vaei_heads(model) + row * 2 * latent,
               latent * sizeof(vae_real));
    for (i = model->plan.layer_count; i < vaei_all_layers(&model->plan); i++)
        vaei_dense_forward(pass, &model->plan.layers[i]);
}

/* The classifier's last layer. */
VAEI_PRIVATE const vaei_layer *vaei_logits_layer(const vae_model *model) {
    return &model->plan.layers[vaei_all_layers(&model->plan) - 1];
}

/* log sum exp of a row's logits; the largest is taken out first, so that exp cannot overflow */
VAEI_PRIVATE vae_wide vaei_log_sum(size_t n, const vae_real *logits) {
    vae_wide most = (vae_wide)logits[0], sum = 0;
    size_t i;
    for (i = 1; i < n; i++) if ((vae_wide)logits[i] > most) most = (vae_wide)logits[i];
    for (i = 0; i < n; i++) sum += vaei_scalar_exp((vae_wide)logits[i] - most);
    return most + vaei_scalar_log(sum);
}

/* -log p(label | mean) of this row of the pass, 0 where it has no label. */
VAEI_PRIVATE vae_wide vaei_row_classification(const vae_model *model, size_t row) {
    const size_t    classes = model->plan.classes;
    const vae_real *logits = vaei_row(model, vaei_logits_layer(model)->places.output, row, classes);
    const int       label = vaei_labels(model)[row];
    return label < 0 ? 0 : vaei_log_sum(classes, logits) - (vae_wide)logits[label];
}

#ifndef VAE_INFERENCE_ONLY
/* The gradient with respect to the logits is softmax - one-hot, times `scale`. What reaches the means is added to the
   heads'. */
VAEI_PRIVATE void vaei_classifier_backward(const vaei_pass *pass, vae_real scale) {
    const vae_model  *model = pass->model;
    const vaei_layer *last = vaei_logits_layer(model), *heads = &model->plan.layers[model->plan.heads];
    const size_t      classes = model->plan.classes, latent = model->plan.latent;
    size_t            row, k;
    int               i;
    for (row = 0; row < pass->count; row++) {
        const vae_real *logits = vaei_row(model, last->places.output, row, classes);
        vae_real       *d = vaei_row(model, last->places.output_gradient, row, classes);
        const int       label = vaei_labels(model)[row];
        const vae_wide  log_sum = label < 0 ? 0 : vaei_log_sum(classes, logits);
        for (k = 0; k < classes; k++)
            d[k] = label < 0 ? 0
                 : (vae_real)(vaei_scalar_exp((vae_wide)logits[k] - log_sum) - ((size_t)label == k)) * scale;
    }
    for (i = vaei_all_layers(&model->plan) - 1; i >= model->plan.layer_count; i--)
        vaei_dense_backward(pass, &model->plan.layers[i], 1);
    for (row = 0; row < pass->count; row++) {
        /* Shared heads have one gradient by now, hence outputs and not 2 latent. */
        vae_real       *d_mean = vaei_row(model, heads->places.output_gradient, row, heads->outputs);
        const vae_real *d = vaei_row(model, model->plan.means_gradient, row, latent);
        for (k = 0; k < latent; k++) d_mean[k] += d[k];
    }
}
#endif

/* ==== 29 >>model-implementation =================================================================================== */

/* From a config to a model, and what can be asked about it. A model is one block of memory: the struct, the plan,
   weights, gradients, moments, the workspace, the threads. It is laid out twice, first to count the bytes, then to fill
   them. The block is the model's only memory: what it owns goes with it, and what it was given (weights, the
   allocator's user pointer, on_progress) stays the caller's. */

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
    case VAE_ERROR_BUSY: return "VAE_ERROR_BUSY";
    }
    return "unknown status";
}

/* ---- tensors, as PyTorch has them ----

   The block of weights has an order of its own, which suits the kernels. Names, shapes and the order of the elements
   are PyTorch's only here: vaei_tensor_element says where in the block an element lies, and reading, writing and
   initialising are loops over it.

                      PyTorch                              the block
     dense            [outputs][inputs]                    [inputs][outputs]
     convolutions     [coarse][fine][height][width]        [height][width][fine][coarse]
     one per pixel    channels first                       channels last
     heads            mean.weight, logvar.weight           one layer: a row has mean's outputs, then logvar's

   An image that a dense layer takes or gives is flattened channels first there, channels last here. */

/* A tensor's layer, and which of its tensors it is. The heads have four: mean and logvar, weight and bias; shared ones
   are called mean. A tied layer has no weight. */
enum {
    VAEI_TENSOR_WEIGHT, VAEI_TENSOR_BIAS, VAEI_TENSOR_NORM_WEIGHT, VAEI_TENSOR_NORM_BIAS, VAEI_TENSOR_RUNNING_MEAN,
    VAEI_TENSOR_RUNNING_VARIANCE
};

typedef struct vaei_tensor_place {
    const vaei_layer *layer;
    int               number;           /* of the layer in the array */
    int               which;
    int               head;             /* 0: not a head, 1: mean, 2: logvar */
} vaei_tensor_place;

/* A tensor that belongs to no layer. */
typedef struct vaei_model_tensor {
    const char *name;
    size_t      place, count;       /* in the parameter block */
    int         trained;
} vaei_model_tensor;

VAEI_PRIVATE size_t vaei_layer_tensors(const vae_model *model) { return model->plan.layer_tensors; }

/* Tensor `index`, one of the layers'. */
VAEI_PRIVATE vaei_tensor_place vaei_find_tensor(const vae_model *model, size_t index) {
    vaei_tensor_place place;
    place.number = vaei_all_layers(&model->plan) - 1;
    while (model->plan.layers[place.number].tensor > index) place.number--;
    place.layer = &model->plan.layers[place.number];
    /* A tied layer's first tensor is its bias. */
    place.which = (int)(index - place.layer->tensor) + place.layer->is_tied;
    place.head = place.number != model->plan.heads ? 0 : place.which < 2 ? 1 : 2;
    if (place.head == 2) place.which -= 2;
    return place;
}

/* Where a layer's numbers of one for each channel begin. */
VAEI_PRIVATE size_t vaei_channel_place(const vaei_tensor_place *place) {
    const vaei_layer *layer = place->layer;
    if (place->which >= VAEI_TENSOR_RUNNING_MEAN)
        return layer->running + (size_t)(place->which - VAEI_TENSOR_RUNNING_MEAN) * layer->bias_count;
    return layer->bias + (size_t)(place->which - VAEI_TENSOR_BIAS) * layer->bias_count;
}

VAE_API size_t vae_tensor_count(const vae_model *model) {
    return model ? vaei_layer_tensors(model) + (model->plan.log_sigma_count ? 1 : 0) +
                   (VAEI_HAS(model->settings.standardize) ? 2 : 0) : 0;
}

/* The tensors that belong to no layer: "log_sigma", "standardize.mean", "standardize.scale". `index` counts from the
   first of those that the model has. */
VAEI_PRIVATE vaei_model_tensor vaei_find_model_tensor(const vae_model *model, size_t index) {
    const vaei_plan  *plan = &model->plan;
    vaei_model_tensor extra;
    extra.name = "log_sigma";
    extra.place = plan->log_sigma;
    extra.count = plan->log_sigma_count;
    extra.trained = 1;
    if (plan->log_sigma_count && !index--) return extra;
    extra.name = index ? "standardize.scale" : "standardize.mean";
    extra.place = index ? plan->standardize_scale : plan->standardize_mean;
    extra.count = plan->example;
    extra.trained = 0;
    return extra;
}

/* The part of the network that a layer, not one of the heads, belongs to: the beginning of its tensors' names. */
VAEI_PRIVATE const char *vaei_chain_name(const vaei_plan *plan, int layer) {
    return layer < plan->heads ? "encoder" : layer < plan->layer_count ? "decoder" : "classifier";
}

/* "encoder.0.weight". Not by vaei_format: every model needs names, but small programs no other text. */
VAEI_PRIVATE void vaei_name_tensor(const vae_model *model, const vaei_tensor_place *place, vae_tensor *tensor) {
    static const char *const names[] = { "weight", "bias", "weight", "bias", "running_mean", "running_var" };
    const vaei_layer *layer = place->layer;
    vaei_text         text = vaei_text_in(tensor->name, sizeof tensor->name);
    vaei_put_string(&text, place->head == 1 ? "mean" : place->head ? "logvar"
                                                    : vaei_chain_name(&model->plan, place->number));
    if (!place->head) {
        const int number = place->which < VAEI_TENSOR_NORM_WEIGHT ? layer->name_index : layer->norm_index;
        vaei_put(&text, '.');
        vaei_put_unsigned(&text, (uint64_t)number);
    }
    vaei_put(&text, '.');
    vaei_put_string(&text, names[place->which]);
    vaei_end_text(&text);
}

/* Rank, shape and count of a layer's tensor: [out, in], of a convolution [coarse channels, fine channels, height,
   width], of all but weights [out]. */
VAEI_PRIVATE void vaei_shape_tensor(const vae_model *model, const vaei_tensor_place *place, vae_tensor *tensor) {
    const vaei_layer *layer = place->layer;
    if (place->which != VAEI_TENSOR_WEIGHT) {
        tensor->rank = 1;
        tensor->shape[0] = place->head ? model->plan.latent : layer->bias_count;
    } else if (!VAEI_HAS(layer->kind != VAE_LAYER_DENSE)) {
        tensor->rank = 2;
        tensor->shape[0] = place->head ? model->plan.latent : layer->outputs;
        tensor->shape[1] = layer->inputs + layer->classes;
    } else {
        tensor->rank = 4;
        tensor->shape[0] = (size_t)layer->connection->coarse.channels;
        tensor->shape[1] = (size_t)layer->connection->fine.channels;
        tensor->shape[2] = (size_t)layer->connection->kernel_height;
        tensor->shape[3] = (size_t)layer->connection->kernel_width;
    }
    tensor->count = tensor->shape[0] * tensor->shape[1] * tensor->shape[2] * tensor->shape[3];
}

VAE_API vae_status vae_tensor_at(const vae_model *model, size_t index, vae_tensor *tensor, vae_error *error) {
    vaei_tensor_place place;
    if (!model || !tensor) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_tensor_at: model or tensor is NULL");
    if (index >= vae_tensor_count(model))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "tensor %z does not exist: the model has %z", index,
                         vae_tensor_count(model));
    tensor->shape[0] = tensor->shape[1] = tensor->shape[2] = tensor->shape[3] = 1;
    if (index >= vaei_layer_tensors(model)) {
        const vaei_model_tensor extra = vaei_find_model_tensor(model, index - vaei_layer_tensors(model));
        strcpy(tensor->name, extra.name);
        tensor->rank = 1;
        tensor->shape[0] = tensor->count = extra.count;
        tensor->trained = extra.trained;
        return VAE_OK;
    }
    place = vaei_find_tensor(model, index);
    vaei_name_tensor(model, &place, tensor);
    vaei_shape_tensor(model, &place, tensor);
    tensor->trained = place.which < VAEI_TENSOR_RUNNING_MEAN;
    return VAE_OK;
}

/* Number i of an image flattened channel-first, in the channels-last order. */
VAEI_PRIVATE size_t vaei_channels_last(vae_shape shape, size_t i) {
    const size_t positions = (size_t)shape.height * (size_t)shape.width;
    return i % positions * (size_t)shape.channels + i / positions;
}

/* Where element i of a tensor in PyTorch's order lies in the parameter block. */
VAEI_PRIVATE size_t vaei_tensor_element(const vae_model *model, size_t tensor, size_t i) {
    /* A tensor that belongs to no layer has no place among them; the last one stands in and is not looked at. */
    const vaei_tensor_place place = vaei_find_tensor(model, vaei_min_size(tensor, vaei_layer_tensors(model) - 1));
    const vaei_layer       *layer = place.layer;
    const size_t            shift = place.head == 2 ? model->plan.latent : 0;
    if (tensor >= vaei_layer_tensors(model)) {
        const vaei_model_tensor extra = vaei_find_model_tensor(model, tensor - vaei_layer_tensors(model));
        return extra.place + (extra.count == 1 ? 0 : vaei_channels_last(model->settings.input, i));
    }
    if (!VAEI_HAS(layer->kind != VAE_LAYER_DENSE)) {
        const size_t columns = layer->inputs + layer->classes;
        const int    is_weight = place.which == VAEI_TENSOR_WEIGHT;
        size_t       out = is_weight ? i / columns : i, in = is_weight ? i % columns : 0;
        /* PyTorch flattens an image channel by channel, the workspace pixel by pixel. */
        if (layer->image_out) out = vaei_channels_last(layer->out, out);
        if (!is_weight) return vaei_channel_place(&place) + shift + out;
        /* A label's columns come after the image's and stay in their order. */
        if (layer->image_in && in < layer->inputs) in = vaei_channels_last(layer->in, in);
        return layer->weight + in * layer->outputs + shift + out;
    }
    if (place.which != VAEI_TENSOR_WEIGHT) return vaei_channel_place(&place) + i;
    {
        /* PyTorch has [coarse][fine][height][width], the block [height][width][fine][coarse]. */
        const vaei_connection *c = layer->connection;
        const size_t window = (size_t)c->kernel_height * (size_t)c->kernel_width, tap = i % window;
        const size_t fine_channels = (size_t)c->fine.channels;
        const size_t fine = i / window % fine_channels, coarse = i / window / fine_channels;
        return layer->weight + (tap * fine_channels + fine) * (size_t)c->coarse.channels + coarse;
    }
}

VAE_API size_t vae_tensor_place(const vae_model *model, size_t index, size_t element) {
    vae_tensor tensor;
    if (vae_tensor_at(model, index, &tensor, NULL) != VAE_OK || element >= tensor.count) return (size_t)-1;
    return vaei_tensor_element(model, index, element);
}

/* The model's tensor whose name differs least from `name`: the same part and kind, the nearest number. */
VAEI_SETUP int vaei_nearest_tensor(const vae_model *model, const char *name, vae_tensor *nearest) {
    const int  part = !strncmp(name, "encoder.", 8) || !strncmp(name, "decoder.", 8);
    int        wanted = 0, least = -1, at = 8;
    vae_tensor tensor;
    size_t     index;
    if (!part) return 0;
    while (name[at] >= '0' && name[at] <= '9' && wanted < 1000) wanted = 10 * wanted + (name[at++] - '0');
    for (index = 0; index < vae_tensor_count(model); index++) {
        int number = 0, away, k = 8;
        vae_tensor_at(model, index, &tensor, NULL);
        if (strncmp(tensor.name, name, 8)) continue;
        while (tensor.name[k] >= '0' && tensor.name[k] <= '9') number = 10 * number + (tensor.name[k++] - '0');
        if (strcmp(tensor.name + k, name + at)) continue;
        away = number > wanted ? number - wanted : wanted - number;
        if (least >= 0 && away >= least) continue;
        least = away;
        *nearest = tensor;
    }
    return least >= 0;
}

/* The index of the tensor with this name, which must have `count` numbers. The usual reason for a wrong name is a
   module that the caller has not counted: the error says so. */
VAEI_SETUP vae_status vaei_tensor_named(const vae_model *model, const char *name, size_t count, size_t *index,
                                        vae_error *error) {
    vae_tensor tensor;
    int        i;
    for (*index = 0; *index < vae_tensor_count(model); ++*index) {
        vae_tensor_at(model, *index, &tensor, NULL);
        if (strcmp(tensor.name, name)) continue;
        if (tensor.count == count) return VAE_OK;
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "tensor %s has %z numbers, not %z", tensor.name, tensor.count,
                         count);
    }
    if (!vaei_nearest_tensor(model, name, &tensor))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "there is no tensor named %s: vae_tensor_at lists them", name);
    for (i = 0; i < model->plan.layer_count; i++) {
        const vaei_layer *layer = &model->plan.layers[i];
        if (layer->connection && (tensor.name[0] == 'e') == (i < model->plan.heads) && !vaei_even_padding(layer))
            return vaei_fail(error, VAE_ERROR_ARGUMENT, "there is no tensor named %s, the nearest is %s: padding that "
                             "differs between the sides, as VAE_SAME may choose it, is a ZeroPad2d in PyTorch, which "
                             "is counted too", name, tensor.name);
    }
    return vaei_fail(error, VAE_ERROR_ARGUMENT, "there is no tensor named %s, the nearest is %s: activations, Flatten "
                     "and Unflatten are counted too, as in an nn.Sequential", name, tensor.name);
}

/* The weights of a view, and those that config.weights gave, are not the model's to change. */
VAEI_SETUP vae_status vaei_check_owns(const vae_model *model, const char *call, vae_error *error) {
    if (model->parameters) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: the model only reads its weights, they are another's: change them "
                     "there", call);
}

/* Copies between PyTorch's order and a block laid out as the parameters. */
VAEI_SETUP void vaei_tensor_out(const vae_model *model, size_t index, const vae_real *block, vae_real *values,
                                size_t count) {
    size_t i;
    /* Each element is looked up, which is slow; training never comes here. */
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
    vaei_tensor_out(model, index, model->weights, values, count);
    return VAE_OK;
}

/* Whether it is a batch normalisation's running variance. */
VAEI_SETUP int vaei_is_variance(const char *name) {
    const size_t length = strlen(name);
    return length > 12 && !strcmp(name + length - 12, ".running_var");
}

/* The weights are being changed by other means than vae_fit: what it knew of its epochs holds no longer. */
VAEI_PRIVATE void vaei_forget_best(vae_model *model) {
    model->best_epoch = model->waited = model->plateau = 0;
    model->best_loss = 0;
    model->shows_best = 0;
}

/* Refuses what a file must not hold either: a model that can be saved can be loaded again. */
VAE_API vae_status vae_set_tensor(vae_model *model, const char *name, const vae_real *values, size_t count,
                                  vae_error *error) {
    size_t     index, i;
    vae_status status;
    if (!model || !name || !values) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_set_tensor: an argument is NULL");
    if ((status = vaei_check_owns(model, "vae_set_tensor", error)) != VAE_OK) return status;
    if ((status = vaei_tensor_named(model, name, count, &index, error)) != VAE_OK) return status;
    for (i = 0; i < count; i++)
        if (!vaei_finite(values[i]))
            return vaei_fail(error, VAE_ERROR_DATA, "value %z for tensor %s is not finite", i, name);
    for (i = 0; vaei_is_variance(name) && i < count; i++)
        if (values[i] < 0)
            return vaei_fail(error, VAE_ERROR_DATA, "value %z for tensor %s is %r: it must not be below 0", i, name,
                             VAEI_SHOWN(values[i]));
    for (i = 0; !strcmp(name, "standardize.scale") && i < count; i++)
        if (!(values[i] > 0))
            return vaei_fail(error, VAE_ERROR_DATA, "value %z for tensor %s is %r: it must be larger than 0", i, name,
                             VAEI_SHOWN(values[i]));
    for (i = 0; !strcmp(name, "log_sigma") && i < count; i++)
        if (!vaei_is_log_sigma(values[i]))
            return vaei_fail(error, VAE_ERROR_DATA, "value %z for tensor %s is %r: sigma must lie in " VAEI_SIGMA_RANGE
                             ", its log in -" VAEI_WRITTEN(VAEI_MOST_LOG_SIGMA) " to "
                             VAEI_WRITTEN(VAEI_MOST_LOG_SIGMA), i, name, VAEI_SHOWN(values[i]));
    if ((status = vaei_enter_alone(model, "vae_set_tensor", error)) != VAE_OK) return status;
    vaei_tensor_in(model, index, model->parameters, values, count);
    if (!strncmp(name, "standardize.", 12)) model->has_units = 1;
    vaei_forget_best(model);
    return vaei_leave(model, VAEI_FREE, VAE_OK);
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
    if (vaei_tensor_element(model, index, 0) >= model->plan.parameter_count)     /* beyond the gradients' block */
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "tensor %s is not trained and has no gradient", name);
    if (model->has_gradients) vaei_tensor_out(model, index, model->gradients, values, count);
    else for (i = 0; i < count; i++) values[i] = 0;
    return VAE_OK;
}
#endif

VAE_API size_t vae_parameter_count(const vae_model *model) { return model ? model->plan.parameter_count : 0; }
VAE_API size_t vae_weight_count(const vae_model *model) { return model ? model->plan.weight_count : 0; }
VAE_API vae_real *vae_parameters(vae_model *model) { return model ? model->parameters : NULL; }
VAE_API const vae_real *vae_weights(const vae_model *model) { return model ? model->weights : NULL; }
VAE_API size_t vae_example_size(const vae_model *model) { return model ? model->plan.example : 0; }
VAE_API size_t vae_latent_size(const vae_model *model) { return model ? model->plan.latent : 0; }

VAE_API vae_wide vae_bits_per_dimension(const vae_model *model, vae_wide nats) {
    return model ? nats / (VAEI_LOG_TWO * (vae_wide)model->plan.example) : 0;
}

/* What the next update will use, not what the config said: schedules and plateaus have been at work. */
VAE_API void vae_get_state(const vae_model *model, vae_state *state) {
    if (!state) return;
    memset(state, 0, sizeof *state);
    if (!model) return;
    state->step = model->step;
    state->epoch = model->epoch;
    state->row = model->position;
    state->samples_drawn = model->samples_drawn;
    state->beta = vaei_beta(model);
    state->learning_rate = (vae_real)vaei_learning_rate(model);
    state->sigma = (vae_real)vaei_sigma(model);
    state->best_epoch = model->best_epoch;
    state->best_loss = model->best_loss;
}

/* ---- first weights: the rules and their sources stand with vae_initialization ---- */

/* The inputs of a unit, or its outputs (`out`), as vae_initialization counts them. In a transposed convolution the two
   are exchanged, as in PyTorch, which takes the weight's second dimension for the inputs whichever layer it is. */
VAEI_SETUP vae_wide vaei_fan(const vaei_layer *layer, int out) {
    const vaei_connection *c = layer->connection;
    if (!VAEI_HAS(c != NULL)) return (vae_wide)(out ? layer->outputs : layer->inputs + layer->classes);
    return (vae_wide)c->kernel_height * (vae_wide)c->kernel_width *
           (vae_wide)(out ? c->coarse.channels : c->fine.channels);
}

/* Weights are drawn tensor by tensor in PyTorch's order, so that they do not depend on the inner layout. `number`
   counts the tensors of the whole network with `encoders` layers before the heads, shared or not, so that an encoder or
   decoder alone gets the weights that it has in the whole. */
VAEI_SETUP void vaei_initialize_tensor(vae_model *model, size_t index, int encoders) {
    const vaei_tensor_place place = vaei_find_tensor(model, vaei_min_size(index, vaei_layer_tensors(model) - 1));
    /* The classifier counts from beyond the largest network: its layers change no other layer's first weights. */
    const int               layer = place.number >= model->plan.layer_count     /* of the classifier */
                                        ? place.number - model->plan.layer_count + 2 * VAE_MAX_LAYERS + 1
                                        : place.number + (model->plan.heads < 0 ? encoders + 1 : 0);
    const size_t            number =
        2 * (size_t)layer + (layer > encoders || place.head == 2 ? 2 : 0) + (size_t)place.which;
    const vae_wide          fan_in = vaei_fan(place.layer, 0);
    const vae_wide          fan_out = place.head ? (vae_wide)model->plan.latent : vaei_fan(place.layer, 1);
#ifdef VAE_BASIC
    const vae_initialization how = VAE_INIT_PYTORCH;
#else
    const vae_initialization how = model->settings.initialization;
#endif
    vae_tensor              tensor;
    vae_real                drawn[32], scale;
    size_t                  first, i;
    vae_tensor_at(model, index, &tensor, NULL);
    /* log sigma 0, mean 0, scale 1; of batch normalisation weight 1, bias 0, mean 0, variance 1 */
    if (index >= vaei_layer_tensors(model) || place.which >= VAEI_TENSOR_NORM_WEIGHT) {
        const vae_real value = index >= vaei_layer_tensors(model) ? !strcmp(tensor.name, "standardize.scale")
                             : place.which == VAEI_TENSOR_NORM_WEIGHT || place.which == VAEI_TENSOR_RUNNING_VARIANCE;
        for (i = 0; i < tensor.count; i++) model->parameters[vaei_tensor_element(model, index, i)] = value;
        return;
    }
    /* uniform in +-scale, or normal times scale */
    if (how == VAE_INIT_PYTORCH) scale = 1 / vaei_sqrt((vae_real)fan_in);
    else if (place.which == VAEI_TENSOR_BIAS) scale = 0;
    else if (how == VAE_INIT_GLOROT) scale = vaei_sqrt((vae_real)(6 / (fan_in + fan_out)));
    else scale = vaei_sqrt((vae_real)(2 / fan_in));
    for (first = 0; first < tensor.count; first += 32) {
        const size_t count = vaei_min_size(32, tensor.count - first);
        vaei_random_elements(model->kernels, how == VAE_INIT_HE, model->settings.seed, VAEI_STREAM_WEIGHTS, 0, number,
                             first, count, drawn);
        for (i = 0; i < count; i++) {
            const vae_real unit = how == VAE_INIT_HE ? drawn[i] : 2 * drawn[i] - 1;
            /* Half of the zeros would be negative ones, and show up in files. */
            model->parameters[vaei_tensor_element(model, index, first + i)] = scale > 0 ? unit * scale : 0;
        }
    }
}

VAEI_SETUP void vaei_initialize(vae_model *model, int encoders) {
    size_t i;
    for (i = 0; i < vae_tensor_count(model); i++) vaei_initialize_tensor(model, i, encoders);
}

/* ---- create, destroy ----

   The source's settings are resolved, these begin the plan, the plan is laid out. Whatever can fail does so while the
   bytes are counted: vaei_make only repeats what has succeeded. Plan and settings are large, so each lies on the stack
   of one function that is called when it is needed, and not on that of all. */

/* What a model is made from: a config, or another model of which it is a view. */
typedef struct vaei_source {
    vaei_network      network;
    const vae_config *config;
    const vae_model  *model;            /* config is NULL: then these settings, */
    const vae_config *changes;          /* ... and what changes of them, or NULL */
    int               threads;          /* in place of 0; 0 until asked for */
    int               unfused, tensors_only;
} vaei_source;

/* A config as the source. */
VAEI_SETUP vae_status vaei_source_of(const vae_config *config, vaei_source *source, vae_error *error) {
    memset(source, 0, sizeof *source);
    source->config = config;
    return vaei_network_of(config, &source->network, error);
}

/* The settings of a view: the model's, with what may change. */
VAEI_SETUP vae_status vaei_resolve_view(const vaei_source *source, vaei_settings *s, vae_error *error) {
    const vae_config *c = source->changes;
    *s = source->model->settings;
    /* Also where the model owns its weights: to a view they are given ones, which nothing changes. */
    s->weights = source->model->weights;
    s->inference_only = 1;
    s->threads = 1;
    s->parallel.run = NULL;
    s->parallel.user = NULL;
    if (!c) return VAE_OK;
    if (c->seed) s->seed = c->seed;
    if (c->batch) s->batch = c->batch;
    if (c->threads) s->threads = c->threads;
    if (c->layout) s->layout = c->layout;
    if (c->allocator.allocate || c->allocator.release) s->allocator = c->allocator;
    s->parallel = c->parallel;
    /* 0 is then refused below, as it is for a new model. */
    if (s->parallel.run && !c->threads) s->threads = 0;
    return vaei_check_settings(s, error);
}

/* The settings, checked. The system is asked for the number of threads once; the source keeps it. */
VAEI_SETUP vae_status vaei_resolve_source(vaei_source *source, vaei_settings *s, vae_error *error) {
    const vae_status status = VAEI_HAS(source->model != NULL) ? vaei_resolve_view(source, s, error)
                                            : vaei_resolve_settings(source->config, source->threads, s, error);
    if (status != VAE_OK) return status;
    source->threads = s->threads;
    s->unfused = source->unfused;
    s->tensors_only = source->tensors_only;
    return VAE_OK;
}

/* Checks the settings and begins the plan, without keeping them. */
VAEI_SETUP vae_status vaei_begin_source(vaei_source *source, vaei_plan *plan, vae_error *error) {
    vaei_settings    settings;
    const vae_status status = vaei_resolve_source(source, &settings, error);
    if (status == VAE_OK) vaei_begin_plan(&settings, plan);
    return status;
}

/* Lays out plan, parameters and workspace. With arena->base NULL it only counts, and `model` is NULL. */
VAEI_SETUP void vaei_lay_out(const vaei_network *network, vaei_plan *plan, vaei_arena *arena, vae_model *model) {
    vae_real  *blocks[4] = { NULL, NULL, NULL, NULL }, *best = NULL, *workspace = NULL;
    vaei_pool *pool = NULL;
    int        i;
    vaei_lay_out_plan(network, plan, arena);
    if (!plan->is_bare) {
        if (plan->owns_weights) blocks[0] = vaei_take_reals(arena, plan->weight_count);
        /* The gradients, then the moments that the optimiser keeps. */
        for (i = 1; plan->trains && i <= 1 + plan->moments; i++)
            blocks[i] = vaei_take_reals(arena, plan->parameter_count);
        if (plan->keeps_best) best = vaei_take_reals(arena, plan->weight_count);
        workspace = vaei_take_reals(arena, plan->workspace_size);
        if (plan->has_pool) pool = (vaei_pool *)vaei_take(arena, 1, sizeof(vaei_pool));
    }
    if (!model) return;
    model->parameters = blocks[0];
    model->gradients = blocks[1];
    model->moment1 = blocks[2];
    model->moment2 = blocks[3];
    model->best = best;
    model->workspace = workspace;
    model->pool = pool;
}

/* Checks settings and layers before a plan lies on the stack, so that refusals, with their sentences, stay shallow. */
VAEI_SETUP vae_status vaei_check_source(vaei_source *source, vae_error *error) {
    vaei_settings settings;
    return vaei_resolve_source(source, &settings, error);
}
VAEI_SETUP vae_status vaei_check_layers(vaei_network *n, vae_part part, vae_error *error) {
    const int       end = vaei_end_layer(n, part);
    int             index;
    vaei_layer_spec spec;
    vae_status      status;
    if (!n->config) return VAE_OK;
    for (index = n->encoders ? 0 : vaei_first_layer(n, part); index < end; index++)
        if ((status = vaei_spec_at(n, index, &spec, error)) != VAE_OK) return status;
    return VAE_OK;
}

/* The bytes that a model of this source takes, with what aligning its block may cost. */
VAEI_SETUP vae_status vaei_count_bytes(vaei_source *source, size_t *bytes, vae_error *error) {
    vaei_plan  plan;
    vaei_arena arena;
    vae_status status;
    if ((status = vaei_begin_source(source, &plan, error)) != VAE_OK) return status;
    if ((status = vaei_plan_numbers(&source->network, &plan, error)) != VAE_OK) return status;
    arena.base = NULL;
    arena.used = 0;
    vaei_take(&arena, 1, sizeof(vae_model));
    vaei_lay_out(&source->network, &plan, &arena, NULL);
    if (arena.used > VAEI_TOO_LARGE / 2)        /* differences of addresses must fit too */
        return vaei_fail(error, VAE_ERROR_MEMORY,
                         "the network does not fit in memory: make `batch` or the layers smaller");
    *bytes = arena.used + VAEI_ALIGNMENT;
    return VAE_OK;
}

/* The same, once all has been checked. */
VAEI_SETUP vae_status vaei_measure(vaei_source *source, size_t *bytes, vae_error *error) {
    const vae_config *config = source->config;
    vae_status        status;
    if (!config) return vaei_count_bytes(source, bytes, error);
    /* The first walk makes all checks, with their sentences; the later ones do without and take less stack. */
    source->network.is_checked = 0;
    if ((status = vaei_check_source(source, error)) != VAE_OK ||
        (status = vaei_check_layers(&source->network, config->part, error)) != VAE_OK) return status;
    source->network.is_checked = 1;
    return vaei_count_bytes(source, bytes, error);
}

/* Makes the model in memory that is large enough; nothing can fail any more. */
VAEI_SETUP vae_model *vaei_make(vaei_source *source, void *memory, size_t needed) {
    vaei_arena arena;
    vae_model *model;
    arena.base = (char *)memory + (VAEI_ALIGNMENT - (uintptr_t)memory % VAEI_ALIGNMENT) % VAEI_ALIGNMENT;
    arena.used = 0;
    memset(arena.base, 0, needed - VAEI_ALIGNMENT);     /* the borders of images, the moments */
    model = (vae_model *)vaei_take(&arena, 1, sizeof(vae_model));
    /* The same steps as in vaei_count_bytes, now with a place for what they make. */
    vaei_resolve_source(source, &model->settings, NULL);
    vaei_begin_plan(&model->settings, &model->plan);
    vaei_plan_numbers(&source->network, &model->plan, NULL);
    vaei_lay_out(&source->network, &model->plan, &arena, model);
    model->bytes = needed;
    model->kernels = vaei_kernel_set_of(model->settings.kernels);
    model->weights = model->parameters ? model->parameters : model->settings.weights;
#if !defined(VAE_BASIC) || !defined(VAE_INFERENCE_ONLY)
    /* A basic model for inference gets its weights from a file, and spares the code that draws them. */
    if (model->parameters) vaei_initialize(model, source->network.encoders);
#endif
#ifdef VAEI_HAS_POOL
    if (model->pool) vaei_pool_start(model->pool, model->plan.threads);
#endif
    return model;
}

/* In memory of the allocator's. */
VAEI_SETUP vae_status vaei_make_allocated(vaei_source *source, const vae_allocator *allocator, vae_model **model,
                                          vae_error *error) {
    const vae_allocator kept = *allocator;
    size_t              needed, again = 0;
    void               *block;
    vae_status          status;
    if ((status = vaei_measure(source, &needed, error)) != VAE_OK) return status;
    block = vaei_allocate(&kept, needed);
    if (!block)
        return vaei_fail(error, VAE_ERROR_MEMORY, VAEI_NOT_ALLOCATED ": make `batch` or the layers smaller", needed);
    /* The config is read once more from here on: an allocator or a thread that changed it must not lead beyond the
       block. */
    status = vaei_measure(source, &again, error);
    if (status == VAE_OK && again != needed)
        status = vaei_fail(error, VAE_ERROR_CONFIG, "the config was changed while the model was being made from it");
    if (status != VAE_OK) {
        vaei_release(&kept, block, needed);
        return status;
    }
    *model = vaei_make(source, block, needed);
    (*model)->block = block;
    (*model)->block_size = needed;
    return VAE_OK;
}

VAE_API vae_status vae_memory_needed(const vae_config *config, size_t *bytes, vae_error *error) {
    vaei_source source;
    vae_status  status;
    if (!config || !bytes)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_memory_needed: config or bytes is NULL");
    if ((status = vaei_source_of(config, &source, error)) == VAE_OK) status = vaei_measure(&source, bytes, error);
    return vaei_doubt(config, status, error);
}

VAE_API vae_status vae_create_in(const vae_config *config, void *memory, size_t bytes, vae_model **model,
                                 vae_error *error) {
    size_t      needed;
    vaei_source source;
    vae_status  status;
    if (!config || !model || !memory)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_create_in: config, memory or model is NULL");
    if ((status = vaei_source_of(config, &source, error)) == VAE_OK) status = vaei_measure(&source, &needed, error);
    if (status != VAE_OK) return vaei_doubt(config, status, error);
    if (bytes < needed)
        return vaei_fail(error, VAE_ERROR_MEMORY, "the model needs %z bytes, the memory given has %z", needed, bytes);
    *model = vaei_make(&source, memory, needed);
    return VAE_OK;
}

VAE_API vae_status vae_create(const vae_config *config, vae_model **model, vae_error *error) {
    vaei_source source;
    vae_status  status;
    if (!config || !model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_create: config or model is NULL");
    if ((status = vaei_source_of(config, &source, error)) == VAE_OK)
        status = vaei_make_allocated(&source, &config->allocator, model, error);
    return vaei_doubt(config, status, error);
}

/* A model that can only be asked for its tensors. */
VAEI_SETUP vae_status vaei_create_bare(const vae_config *config, vae_model **model, vae_error *error) {
    vaei_source source;
    vae_status  status;
    if ((status = vaei_source_of(config, &source, error)) != VAE_OK) return status;
    source.tensors_only = 1;
    return vaei_make_allocated(&source, &config->allocator, model, error);
}

/* No config is at hand: the layers are those of the model's plan, whose offsets into the weights are then the view's,
   too. Only what depends on batch and threads is planned anew. */
VAE_API vae_status vae_create_view(const vae_model *model, const vae_config *changes, vae_model **view,
                                   vae_error *error) {
    const vae_allocator *allocator;
    vaei_source          source;
    vaei_network        *network = &source.network;
    if (!model || !view) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_create_view: model or view is NULL");
    if (VAEI_IS_BASIC) return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "a build with VAE_BASIC has no views");
    memset(&source, 0, sizeof source);
    source.model = model;
    source.changes = changes;
    network->plan = &model->plan;
    network->input = model->settings.input;
    network->output = vaei_output_shape(model->settings.input, model->settings.likelihood);
    network->latent = model->settings.latent;
    network->shared_heads = model->settings.shared_heads;
    network->tied = model->settings.tied;
    network->encoders = model->plan.encoder.layers ? model->plan.encoder.layers - 1 : 0;
    network->decoders = model->plan.decoder.layers;
    network->classes = (size_t)model->settings.classes;
    network->classifiers = model->plan.classifier.layers;
    network->is_checked = 0;
    allocator = &model->settings.allocator;
    if (changes && (changes->allocator.allocate || changes->allocator.release)) allocator = &changes->allocator;
    return vaei_make_allocated(&source, allocator, view, error);
}

/* A model in use is left alone: its memory would vanish under another call. The allocator is copied, since it lies in
   the block that it is to release. */
VAE_API void vae_destroy(vae_model *model) {
    vae_allocator allocator;
    if (!model) return;
    if (vaei_is_within_callback(model)) {
        model->destroy_asked = 1;
        return;
    }
    /* Its own thread's mark is one that a jump has left. */
    if (!vaei_flag_swap(&model->in_use, VAEI_FREE, VAEI_AT_WORK) &&
        !vaei_flag_swap(&model->in_use, VAEI_THREAD, VAEI_AT_WORK)) return;
#ifdef VAEI_HAS_POOL
    if (model->pool) vaei_pool_stop(model->pool);
#endif
    allocator = model->settings.allocator;
    if (model->block) vaei_release(&allocator, model->block, model->block_size);
}

/* A model keeps no config: its layers are described anew from the plan. */
VAE_API void vae_get_config(const vae_model *model, vae_config *config) {
    const vaei_plan *plan;
    int              i;
    if (!config) return;
    memset(config, 0, sizeof *config);
    if (!model) return;
    plan = &model->plan;
    vaei_restore_settings(&model->settings, config);
    /* The encoder's last layer is the heads, which the config does not list. */
    for (i = 0; i < plan->encoder.layers - 1; i++) vaei_describe(&plan->layers[i], &config->encoder[i]);
    for (i = 0; i < plan->decoder.layers; i++)
        vaei_describe(&plan->layers[plan->decoder.first_layer + i], &config->decoder[i]);
    for (i = 0; i < plan->classifier.layers; i++)
        vaei_describe(&plan->layers[plan->layer_count + i], &config->classifier[i]);
}

/* ---- summary: a line for each layer, the total, memory, objective, optimiser, batches. It is made line by line, so
   that printing it needs no buffer for the whole ---- */

VAEI_SETUP const char *vaei_activation_name(vae_activation activation) {
    static const char *const names[] = {
        "", "linear", "relu", "leaky_relu", "silu", "gelu", "tanh", "sigmoid", "softplus"
    };
    return names[activation];
}

/* At least one space, up to this column of the text. */
VAEI_SETUP void vaei_pad(vaei_text *text, size_t column) {
    do vaei_put(text, ' ');
    while (text->length < column);
}

/* Without sides of 1, where that leaves no doubt: a vector is one number. */
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

/* "encoder.0 conv 3x3 /2 relu 14 x 14 x 32 320", in columns. */
VAEI_SETUP void vaei_put_layer(vaei_text *text, const vaei_plan *plan, int number) {
    const vaei_layer *layer = &plan->layers[number];
    const size_t      start = text->length;
    if (number == plan->heads)
        vaei_put_string(text, layer->outputs > plan->latent ? "mean, logvar" : "mean = logvar");
    else vaei_format(text, "%s.%d", vaei_chain_name(plan, number), layer->name_index);
    vaei_pad(text, start + 14);
    if (!layer->connection) vaei_put_string(text, "dense");
    else {
        const vaei_connection *c = layer->connection;
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
    vaei_put_grouped(text, layer->weight_count + vaei_bias_numbers(layer), 13);
    if (VAEI_HAS(layer->normalizes)) vaei_put_string(text, "  batch norm");
    if (layer->dropout > 0) vaei_format(text, "  dropout %r", VAEI_SHOWN(layer->dropout));
}

VAEI_SETUP const char *vaei_corruption_name(int i) {
    static const char *const names[] = { "", "none", "gaussian", "masking", "salt_and_pepper" };
    return i < 5 ? names[i] : NULL;
}

/* The likelihood, then only those settings that are not at their defaults. */
VAEI_SETUP void vaei_put_objective(vaei_text *text, const vae_model *model) {
    const vaei_settings *s = &model->settings;
    vae_state            state;
    vae_get_state(model, &state);
    vaei_format(text, "objective: %s", vaei_likelihoods[s->likelihood].name);
    if (vaei_has_sigma(s->likelihood)) {
        vaei_format(text, ", sigma %s%s", s->sigma != 0 ? "fixed" : "learned",
                    s->sigma_per_pixel ? " for each pixel" : "");
        if (state.sigma > 0) vaei_format(text, " (%r)", VAEI_SHOWN(state.sigma));
    }
    if (vaei_is_autoencoder(model)) vaei_put_string(text, ", autoencoder");
    else vaei_format(text, ", beta %r", VAEI_SHOWN(state.beta));
    if (s->objective == VAE_OBJECTIVE_IWAE || s->samples > 1)
        vaei_format(text, ", %z%s sample%s a row", s->samples, s->objective == VAE_OBJECTIVE_IWAE ? " weighed" : "",
                    s->samples == 1 ? "" : "s");
    if (s->free_bits != 0) vaei_format(text, ", free bits %r", VAEI_SHOWN(s->free_bits));
    if (s->capacity != 0)
        vaei_format(text, ", capacity %r",
                    VAEI_SHOWN(vaei_scheduled(model, s->capacity, &s->capacity_schedule)));
    if (s->standardize) vaei_put_string(text, ", standardized pixels");
    if (s->classes) vaei_format(text, ", given one of %d classes", s->classes);
    if (VAEI_HAS(model->plan.classifier.layers))
        vaei_format(text, ", classifier weight %r", VAEI_SHOWN(vaei_setting(s->classifier_weight)));
    if (s->binarize) vaei_put_string(text, ", binarized pixels");
    if (s->missing) vaei_put_string(text, ", some may be missing");
    if (s->corruption.kind != VAE_CORRUPTION_NONE)
        vaei_format(text, ", input corrupted (%s, %r)", vaei_corruption_name((int)s->corruption.kind),
                    VAEI_SHOWN(s->corruption.amount));
}

/* What is neither weights nor gradients, moments or best weights counts as workspace. */
VAEI_SETUP void vaei_put_memory(vaei_text *text, const vae_model *model) {
    const vaei_plan *plan = &model->plan;
    const size_t     weights = plan->weight_count * sizeof(vae_real), own = plan->owns_weights ? weights : 0;
    size_t           training = 0;
    vaei_put_string(text, "memory: parameters ");
    vaei_put_bytes(text, weights);
    if (!plan->owns_weights) vaei_put_string(text, " of another's");
    if (plan->trains) {
        training = (size_t)(1 + plan->moments) * plan->parameter_count * sizeof(vae_real);
        vaei_put_string(text, ", gradients and moments ");
        vaei_put_bytes(text, training);
    }
    if (plan->keeps_best) {
        training += weights;
        vaei_put_string(text, ", best weights ");
        vaei_put_bytes(text, weights);
    }
    vaei_put_string(text, ", workspace ");
    vaei_put_bytes(text, model->bytes - own - training);
}

/* Fewer than config.threads where not all could be started. */
VAEI_SETUP int vaei_threads_used(const vae_model *model) {
#ifdef VAEI_HAS_POOL
    if (model->pool) return (int)model->pool->count + 1;
#endif
    return model->settings.parallel.run ? model->plan.threads : 1;
}

enum { VAEI_SUMMARY_LINES = VAEI_MAX_LAYERS + 8 };

/* One line of the summary without its end; 0 where there is no such line. */
VAEI_SETUP int vaei_put_summary_line(vaei_text *text, const vae_model *model, int line) {
    const vaei_plan     *plan = &model->plan;
    const vaei_settings *s = &model->settings;
    const int            z = plan->heads + 1;           /* the line of z among the layers'; without heads the first */
    if (line-- == 0)
        /* Counted down: each part of the table takes its lines and leaves the rest to the next. */
        vaei_put_string(text, "layer         kind                    activation  output             parameters");
    else if (plan->encoder.layers && line-- == 0) {
        vaei_put_string(text, "input                                             ");
        vaei_put_shape(text, s->input);
    } else if (line <= vaei_all_layers(plan)) {
        if (line == z) vaei_format(text, "z                                                 %d", s->latent);
        else vaei_put_layer(text, plan, line < z ? line : line - 1);
    } else
        switch (line - vaei_all_layers(plan)) {
        case 1:
            vaei_put_string(text, "total                                                             ");
            vaei_put_grouped(text, plan->parameter_count, 13);
            break;
        case 2: vaei_put_memory(text, model); break;
        case 3: vaei_put_objective(text, model); break;
        case 4:
            if (plan->trains)
                vaei_format(text, "optimizer: %s, learning rate %r%s", vaei_optimizers[s->optimizer.kind].name,
                            VAEI_SHOWN(vaei_learning_rate(model)),
                            s->freeze == VAE_FREEZE_ENCODER ? ", the encoder frozen"
                            : s->freeze == VAE_FREEZE_DECODER ? ", the decoder frozen" : "");
            else
                vaei_format(text, "cannot train: %s", plan->part == VAE_ENCODER_ONLY ? "the encoder only"
                                                     : plan->part == VAE_DECODER_ONLY ? "the decoder only"
                                                     : plan->owns_weights ? "inference only"
                                                     : "the weights are another's");
            break;
        case 5:
            vaei_format(text, "batches of %z, %d thread%s, kernels %s", plan->batch, vaei_threads_used(model),
                        vaei_threads_used(model) == 1 ? "" : "s", vae_kernels_name(s->kernels));
            break;
        default: return 0;
        }
    return 1;
}

VAE_API size_t vae_summary(const vae_model *model, char *buffer, size_t size) {
    vaei_text text = vaei_text_in(buffer, buffer && model ? size : 0);
    int       line;
    for (line = 0; model && vaei_put_summary_line(&text, model, line); line++) vaei_put(&text, '\n');
    vaei_end_text(&text);
    return text.length;
}

#ifndef VAE_NO_STDIO
VAE_API void vae_print_summary(const vae_model *model) {
    char bytes[240];                    /* a line, however large its numbers */
    int  line;
    for (line = 0; model; line++) {
        vaei_text text = vaei_text_in(bytes, sizeof bytes);
        if (!vaei_put_summary_line(&text, model, line)) break;
        vaei_end_text(&text);
        puts(bytes);
    }
    fflush(stdout);                     /* so that it stands before what another stream or a crash then says */
}
#endif

/* ==== 30 >>batch ================================================================================================== */

/* Rows on their way into the workspace and out of it. The caller's rows are floats or bytes, in the caller's layout and
   units; in the workspace they are floats, channels last, standardised where the model standardises, 0 where they are
   missing. Whatever a row may have wrong with it is found here, and named by its row and column.

     raw row --> checked --> plain: copied or scaled (vaei_load_plain) ------------------------> input = target
                        '--> altered (vaei_load_altered): standardised --> binarised --.-------> target
                                                                                       '-- corrupted --> input
     output  --> pixels in the caller's layout and units (vaei_store_row) */

/* What rows are loaded for: to be encoded or scored as they are, for the ELBO and log p(x), or for a training step. */
typedef enum vaei_purpose { VAEI_AS_GIVEN, VAEI_FOR_NATS, VAEI_FOR_TRAINING } vaei_purpose;

/* Rows of the caller's data on their way into the workspace, checked and put channels last. */
typedef struct vaei_rows {
    vae_model          *model;
    const vae_data     *data;
    size_t              first;          /* of the batch, in the (shuffled) data */
    const vaei_shuffle *shuffle;        /* or NULL */
    vaei_purpose        purpose;
    size_t              number;         /* of the first row: what is drawn for a row depends on its number */
    size_t              bad[VAEI_MAX_THREADS];  /* the first bad row in each worker's share, counted from 1; 0: none */
} vaei_rows;

/* The row of the data that is the batch's row `place`. */
VAEI_PRIVATE size_t vaei_row_at(const vaei_rows *rows, size_t place) {
    return rows->shuffle ? (size_t)vaei_shuffled(rows->shuffle, rows->first + place) : rows->first + place;
}

/* Turns a channels-first image into a channels-last one. */
VAEI_PRIVATE void vaei_to_channels_last(vae_shape s, const vae_real *from, vae_real *to) {
    const size_t positions = (size_t)s.height * (size_t)s.width, channels = (size_t)s.channels;
    size_t       p, c;
    for (p = 0; p < positions; p++)
        for (c = 0; c < channels; c++) *to++ = from[c * positions + p];
}

/* Whether a caller's rows have their channels in another place than the workspace's. */
VAEI_PRIVATE int vaei_swaps_channels(const vae_model *model) {
    return VAEI_HAS(model->settings.layout == VAE_CHANNELS_FIRST && model->settings.input.channels > 1);
}

/* Where pixel k of a caller's row stands in a row of the workspace. */
VAEI_PRIVATE size_t vaei_inner_place(const vae_model *model, size_t k) {
    return vaei_swaps_channels(model) ? vaei_channels_last(model->settings.input, k) : k;
}

/* The largest number that may be given to be standardised: of sums of its squares there are variances. */
#define VAEI_FLOAT_GIVEN 1e15
#define VAEI_MOST_GIVEN (VAEI_WIDE_IS_FLOAT ? (vae_real)VAEI_FLOAT_GIVEN : VAEI_LARGEST)

/* What the network sees of pixel i. As a vae_wide, since the difference of two large floats need not fit in a float. */
VAEI_PRIVATE vae_wide vaei_standardized(const vae_model *model, size_t i, vae_real pixel) {
    return ((vae_wide)pixel - (vae_wide)model->weights[model->plan.standardize_mean + i]) /
           (vae_wide)model->weights[model->plan.standardize_scale + i];
}

/* A row of the caller's: its pixels, as numbers or bytes and with their mask or NULL, or its targets. */
typedef struct vaei_raw_row {
    const vae_real      *pixels;
    const unsigned char *bytes, *mask;
    int                  is_target;
} vaei_raw_row;

VAEI_PRIVATE vaei_raw_row vaei_raw_pixels(const vae_model *model, const vae_data *data, size_t row) {
    const size_t at = row * model->plan.example;
    vaei_raw_row raw;
    raw.pixels = data->pixels ? data->pixels + at : NULL;
    raw.bytes = data->bytes ? data->bytes + at : NULL;
    raw.mask = data->mask ? data->mask + at : NULL;
    raw.is_target = 0;
    return raw;
}

VAEI_PRIVATE vaei_raw_row vaei_raw_targets(const vae_model *model, const vae_data *data, size_t row) {
    vaei_raw_row raw;
    raw.pixels = data->targets + row * model->plan.example;
    raw.bytes = raw.mask = NULL;
    raw.is_target = 1;
    return raw;
}

/* Whether pixel k of a caller's row counts as missing. */
VAEI_PRIVATE int vaei_is_missing(const vae_model *model, const vaei_raw_row *raw, size_t k) {
    return VAEI_HAS(model->settings.missing) && ((raw->mask && !raw->mask[k]) ||
                                       (raw->pixels && vaei_is_nan(raw->pixels[k])));
}

/* Pixel k in the caller's units; bytes count as 0 to 1. */
VAEI_PRIVATE vae_real vaei_raw_pixel(const vaei_raw_row *raw, size_t k) {
    return raw->bytes ? (vae_real)raw->bytes[k] / 255 : raw->pixels[k];
}

/* The first column of a caller's row that holds no finite number, or one that is too large to be standardised;
   plan.example where there is none. */
VAEI_PRIVATE size_t vaei_not_finite_column(const vae_model *model, const vaei_raw_row *raw) {
    const vae_real most = VAEI_HAS(model->settings.standardize) ? VAEI_MOST_GIVEN : VAEI_LARGEST;
    size_t         column = 0;
    if (!raw->pixels) return model->plan.example;
    for (;;) {
        /* A NaN that stands for a missing number is no fault: the search goes on behind it. */
        column += model->kernels->check_range(model->plan.example - column, raw->pixels + column, -most, most);
        if (column == model->plan.example || !vaei_is_missing(model, raw, column)) return column;
        if (++column == model->plan.example) return column;
    }
}

/* The first column of a caller's row whose pixel the likelihood does not allow; plan.example where there is none. */
VAEI_PRIVATE size_t vaei_bad_column(const vae_model *model, const vaei_raw_row *raw) {
    const vaei_likelihood *likelihood = vaei_likelihood_of(model);
    const size_t           size = model->plan.example;
    size_t                 column, k;
    if (!raw->pixels) return size;
    if (!VAEI_HAS(model->settings.standardize) && !VAEI_HAS(model->settings.missing))
        return model->kernels->check_range(size, raw->pixels, likelihood->low, likelihood->high);
    column = vaei_not_finite_column(model, raw);
    for (k = 0; k < column; k++) {
        vae_wide x;
        if (vaei_is_missing(model, raw, k)) continue;
        x = (vae_wide)raw->pixels[k];
        if (VAEI_HAS(model->settings.standardize))
            x = vaei_standardized(model, vaei_inner_place(model, k), raw->pixels[k]);
        if (x < (vae_wide)likelihood->low || x > (vae_wide)likelihood->high) return k;
    }
    return column;
}

/* A classifier's rows may have the label -1. */
VAEI_PRIVATE int vaei_least_label(const vae_model *model) { return model->plan.is_conditional ? 0 : -1; }

/* Whether no row may have this label. */
VAEI_PRIVATE int vaei_is_bad_label(const vae_model *model, int label) {
    return label < vaei_least_label(model) || (label >= 0 && (size_t)label >= model->plan.classes);
}

/* Labels are there where the model is conditional, may be there for a classifier, and nowhere else. */
VAEI_SETUP vae_status vaei_check_has_labels(const vae_model *model, const int *labels, size_t count, const char *call,
                                            vae_error *error) {
    if (!model->plan.classes && labels)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: labels are given, but the model is not conditional: set "
                         "config.classes (or config.classifier), or leave them NULL", call);
    if (model->plan.is_conditional && !labels && count)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: the model is conditional (classes is %z), and labels is NULL: "
                         "give each row's label", call, model->plan.classes);
    return VAE_OK;
}

/* Whether the labels of these rows all lie in the model's classes. `set` as in vaei_fail_pixel. */
VAEI_APART vae_status vaei_check_labels(const vae_model *model, const int *labels, size_t first, size_t count,
                                        const char *set, vae_error *error) {
    size_t row;
    for (row = first; labels && row < first + count; row++)
        if (vaei_is_bad_label(model, labels[row]))
            return vaei_fail(error, VAE_ERROR_DATA, "%srow %z has label %d: labels must lie in %d to %z", set, row,
                             labels[row], vaei_least_label(model), model->plan.classes - 1);
    return VAE_OK;
}

/* ---- rows that do not go into the workspace as they are ----

   Binarised, corrupted, with targets of their own or with missing pixels. What is drawn for a row depends on the seed,
   the row's number and, in training, the step: not on the worker, nor on how the rows are cut into batches. */

#ifdef VAE_SMALL
#define VAEI_DRAWN 16               /* numbers drawn at a time: few on a small stack, */
#else
#define VAEI_DRAWN 64               /* ... or as many as the kernels make at a time */
#endif

/* What is drawn for one row. */
typedef struct vaei_drawing {
    const vae_model *model;
    uint32_t         stream;
    uint64_t         step, row;
} vaei_drawing;

/* Numbers first .. first + count - 1 of those for the row. */
VAEI_PRIVATE size_t vaei_draw_numbers(const vaei_drawing *drawing, int normal, size_t first, vae_real *numbers) {
    const size_t count = vaei_min_size(VAEI_DRAWN, drawing->model->plan.example - first);
    vaei_random_elements(drawing->model->kernels, normal, drawing->model->settings.seed, drawing->stream, drawing->step,
                         drawing->row, first, count, numbers);
    return count;
}

/* Each pixel becomes 1 with the probability that it holds, else 0. */
VAEI_PRIVATE void vaei_binarize_row(const vaei_drawing *drawing, vae_real *row) {
    vae_real uniform[VAEI_DRAWN];
    size_t   done, count, i;
    for (done = 0; done < drawing->model->plan.example; done += count) {
        count = vaei_draw_numbers(drawing, 0, done, uniform);
        for (i = 0; i < count; i++) row[done + i] = uniform[i] < row[done + i] ? 1 : 0;
    }
}

#ifndef VAE_INFERENCE_ONLY
/* Denoising (Vincent et al. 2010), as vae_corruption describes it. `observed` as vaei_observed: what is missing stays
   0. */
VAEI_PRIVATE void vaei_corrupt_row(const vaei_drawing *drawing, const unsigned char *observed, vae_real *row) {
    const vaei_likelihood *likelihood = vaei_likelihood_of(drawing->model);
    const vae_corruption  *corruption = &drawing->model->settings.corruption;
    const vae_real         amount = corruption->amount;
    vae_real               drawn[VAEI_DRAWN];
    size_t                 done, count, i;
    for (done = 0; done < drawing->model->plan.example; done += count) {
        count = vaei_draw_numbers(drawing, corruption->kind == VAE_CORRUPTION_GAUSSIAN, done, drawn);
        for (i = 0; i < count; i++) {
            vae_real *x = row + done + i;
            /* A number has been drawn for it all the same, so that what is missing shifts nothing. */
            if (observed && !observed[done + i]) continue;
            if (corruption->kind == VAE_CORRUPTION_GAUSSIAN) {
                *x += VAEI_ROUNDED(amount * drawn[i]);
                *x = *x < likelihood->low ? likelihood->low : *x > likelihood->high ? likelihood->high : *x;
            } else if (drawn[i] < amount)
                *x = corruption->kind == VAE_CORRUPTION_SALT_AND_PEPPER && drawn[i] < amount / 2 ? 1 : 0;
        }
    }
}
#endif

/* A caller's row, channels last and standardised, 0 where it is missing; unless NULL, `observed` receives where it is
   not. */
VAEI_PRIVATE void vaei_convert_row(const vae_model *model, const vaei_raw_row *raw, vae_real *to,
                                   unsigned char *observed) {
    size_t k;
    for (k = 0; k < model->plan.example; k++) {
        const size_t i = vaei_inner_place(model, k);
        const int    missing = vaei_is_missing(model, raw, k);
        if (missing) to[i] = 0;
        else if (!VAEI_HAS(model->settings.standardize)) to[i] = vaei_raw_pixel(raw, k);
        else to[i] = (vae_real)vaei_standardized(model, i, vaei_raw_pixel(raw, k));
        if (observed) observed[i] = !missing;
    }
}

/* Row `row` of the data becomes row `place` of the batch. Pixels are drawn first, so that what is scored is what was
   drawn, then what is scored is set apart, then the input is corrupted. */
VAEI_APART void vaei_load_altered(const vaei_rows *rows, size_t row, size_t place) {
    const vae_model *model = rows->model;
    const vaei_plan *plan = &model->plan;
    const int        trains = rows->purpose == VAEI_FOR_TRAINING;
    const int        binarizes = VAEI_HAS(model->settings.binarize) && rows->purpose != VAEI_AS_GIVEN;
    vae_real        *input = vaei_row(model, plan->input, place, plan->example);
    vae_real        *target = vaei_row(model, plan->target, place, plan->example);
    unsigned char   *observed = vaei_observed(model, place);
    vaei_raw_row     raw = vaei_raw_pixels(model, rows->data, row);
    vaei_drawing     drawing;
    drawing.model = model;
    drawing.stream = trains ? VAEI_STREAM_BINARIZE_TRAINING : VAEI_STREAM_BINARIZE;
    drawing.step = trains ? model->step : 0;
    drawing.row = rows->number + place;
    vaei_convert_row(model, &raw, input, observed);
    if (binarizes) vaei_binarize_row(&drawing, input);
    if (!plan->has_target) return;
    if (!VAEI_HAS(rows->data->targets)) memcpy(target, input, plan->example * sizeof(vae_real));
#ifndef VAE_INFERENCE_ONLY
    if (trains && VAEI_HAS(model->settings.corruption.kind != VAE_CORRUPTION_NONE)) {
        drawing.stream = VAEI_STREAM_CORRUPTION;
        vaei_corrupt_row(&drawing, observed, input);
        drawing.stream = VAEI_STREAM_BINARIZE_TRAINING;
    }
#endif
    if (!VAEI_HAS(rows->data->targets)) return;
    /* From here on `observed` says which targets are scored. They are binarised by the numbers that the pixels were:
       where both are alike, so is what is drawn. */
    raw = vaei_raw_targets(model, rows->data, row);
    vaei_convert_row(model, &raw, target, observed);
    if (binarizes) vaei_binarize_row(&drawing, target);
}

/* Whether the rows of this model's data may need vaei_load_altered. */
VAEI_PRIVATE int vaei_alters_rows(const vae_model *model) {
    return VAEI_HAS(model->plan.has_target) || VAEI_HAS(model->settings.missing) ||
           VAEI_HAS(model->settings.binarize);
}

/* Row `row` of the data, whose pixels may be taken as they are, becomes row `place` of the batch. */
VAEI_PRIVATE void vaei_load_plain(const vaei_rows *rows, size_t row, size_t place) {
    const vae_model *model = rows->model;
    const size_t     size = model->plan.example;
    const int        swap = vaei_swaps_channels(model);
    vae_real        *to = vaei_row(model, model->plan.input, place, size);
    size_t           k;
    if (rows->data->bytes) {
        const unsigned char *bytes = rows->data->bytes + row * size;
        if (!swap) model->kernels->bytes_to_real(size, bytes, to);
        else for (k = 0; k < size; k++) to[vaei_channels_last(model->settings.input, k)] = (vae_real)bytes[k] / 255;
    } else {
        const vae_real *pixels = rows->data->pixels + row * size;
        if (swap) vaei_to_channels_last(model->settings.input, pixels, to);
        else memcpy(to, pixels, size * sizeof(vae_real));
    }
    if (VAEI_HAS(model->settings.standardize))
        for (k = 0; k < size; k++) to[k] = (vae_real)vaei_standardized(model, k, to[k]);
}

/* Rows first .. first + count - 1 of the batch. A worker stops at its first bad row. */
VAEI_PRIVATE void vaei_load_part(void *opaque, size_t slot, size_t first, size_t count) {
    vaei_rows       *rows = (vaei_rows *)opaque;
    const vae_model *model = rows->model;
    const int        alters = vaei_alters_rows(model);
    size_t           i;
    for (i = first; i < first + count; i++) {
        const size_t       row = vaei_row_at(rows, i);
        const vaei_raw_row raw = vaei_raw_pixels(model, rows->data, row);
        const int          label = rows->data->labels ? rows->data->labels[row] : -1;
        if ((VAEI_HAS(model->plan.classes) && vaei_is_bad_label(model, label)) ||
            vaei_bad_column(model, &raw) < model->plan.example) {
            rows->bad[slot] = i + 1;
            return;
        }
        if (VAEI_HAS(model->plan.classes)) vaei_labels(model)[i] = label;
        if (alters) vaei_load_altered(rows, row, i);
        else vaei_load_plain(rows, row, i);
    }
}

/* "validation row 2, column 7 holds 255"; where a row is more than a line of numbers, "row 2, y 0, x 2, channel 1 ...",
   all counted from 0. */
#ifndef VAE_NO_MESSAGES
VAEI_SETUP void vaei_put_pixel(vaei_text *text, const vae_model *model, const vaei_raw_row *raw, const char *set,
                               size_t row, size_t column) {
    const vae_shape s = model->settings.input;
    const size_t    width = (size_t)s.width, channels = (size_t)s.channels, plane = (size_t)s.height * width;
    const int       planes = model->settings.layout == VAE_CHANNELS_FIRST;
    const size_t    at = planes ? column % plane : column / channels;
    vaei_format(text, "%s%srow %z, ", set, raw->is_target ? "target " : "", row);
    if (plane == 1 || (channels == 1 && (width == 1 || width == plane))) vaei_format(text, "column %z", column);
    else {
        if (s.height > 1) vaei_format(text, "y %z, ", at / width);
        vaei_format(text, "x %z", at % width);
        if (channels > 1) vaei_format(text, ", channel %z", planes ? column / plane : column % channels);
    }
    if (vaei_is_nan(raw->pixels[column])) vaei_format(text, " holds NaN");
    else vaei_format(text, " holds %r", VAEI_SHOWN(raw->pixels[column]));
}
#endif

/* The error for a pixel that is not allowed. `set` is "" or says which data, as in "validation ". */
VAEI_SETUP vae_status vaei_fail_pixel(const vae_model *model, const vaei_raw_row *raw, const char *set, size_t row,
                                      size_t column, vae_error *error) {
    const vaei_likelihood *likelihood = vaei_likelihood_of(model);
    const vae_real         value = raw->pixels[column];
#ifdef VAE_NO_MESSAGES
    const char *const found = "";
    (void)set, (void)row, (void)column;
#else
    char      found[128];
    vaei_text text = vaei_text_in(found, sizeof found);
    vaei_put_pixel(&text, model, raw, set, row, column);
#endif
    if (vaei_is_nan(value))
        return vaei_fail(error, VAE_ERROR_DATA, "%s: pixels must be finite numbers; where NaN means missing, set "
                         "config.missing to 1", found);
    if (!vaei_finite(value))
        return vaei_fail(error, VAE_ERROR_DATA, "%s: pixels must be finite numbers", found);
    if (likelihood->low >= 0) {
        const int is_byte = value > 0 && value <= 255 && value == (vae_real)(int)value;
        return vaei_fail(error, VAE_ERROR_DATA, "%s: %s needs pixels in [0, 1]; %s%s%s, or use VAE_GAUSSIAN", found,
                         likelihood->symbol, is_byte ? "divide bytes by 255" : "",
                         !is_byte ? "" : raw->is_target ? ", else " : ", or give them as data.bytes, else ",
                         value < 0 ? "shift and scale them" : "divide them by their maximum");
    }
#if VAEI_WIDE_IS_FLOAT
    if (VAEI_HAS(model->settings.standardize) && !vaei_lies_in(value, -VAEI_MOST_GIVEN, VAEI_MOST_GIVEN))
        return vaei_fail(error, VAE_ERROR_DATA, "%s: pixels must lie within -" VAEI_WRITTEN(VAEI_FLOAT_GIVEN) " to "
                         VAEI_WRITTEN(VAEI_FLOAT_GIVEN) " in this build: scale them", found);
#endif
    if (VAEI_HAS(model->settings.standardize))
        return vaei_fail(error, VAE_ERROR_DATA, "%s, more than " VAEI_WRITTEN(VAEI_PIXEL_LIMIT) " standard deviations "
                         "from its mean: correct it or leave the row out", found);
    return vaei_fail(error, VAE_ERROR_DATA, "%s: pixels must lie within -" VAEI_WRITTEN(VAEI_PIXEL_LIMIT) " to "
                     VAEI_WRITTEN(VAEI_PIXEL_LIMIT) "; scale them, or set config.standardize to 1", found);
}

/* Makes rows first .. first + count - 1 of the data, in shuffled order if there is one, the batch. What is drawn for
   them is drawn as for rows number, number + 1, .... Only pixels are checked: targets have been. */
VAEI_PRIVATE vae_status vaei_load_rows(vae_model *model, const vae_data *data, size_t first, size_t count,
                                       const vaei_shuffle *shuffle, vaei_purpose purpose, size_t number,
                                       vae_error *error) {
    vaei_rows  rows;
    vaei_raw_row raw;
    size_t       slot, worst = 0, row, column;
    memset(&rows, 0, sizeof rows);
    rows.model = model;
    rows.data = data;
    rows.first = first;
    rows.shuffle = shuffle;
    rows.purpose = purpose;
    rows.number = number;
    vaei_split(model, count, 1, vaei_max_size(1, VAEI_PARALLEL_READS / model->plan.example), vaei_load_part,
               &rows);
    for (slot = 0; slot < VAEI_MAX_THREADS; slot++)
        /* The first of all, so that the sentence does not depend on how many workers there were. */
        if (rows.bad[slot] && (!worst || rows.bad[slot] < worst)) worst = rows.bad[slot];
    if (!worst) return VAE_OK;
    row = vaei_row_at(&rows, worst - 1);
    if (vaei_check_labels(model, data->labels, row, 1, "", error) != VAE_OK) return VAE_ERROR_DATA;
    raw = vaei_raw_pixels(model, data, row);
    column = vaei_bad_column(model, &raw);
    return vaei_fail_pixel(model, &raw, "", row, column, error);
}

/* For results: the outputs of one row of the pass become pixels in the caller's layout and units. The outputs are not
   kept. */
VAEI_PRIVATE void vaei_store_row(const vaei_pass *pass, size_t row, vae_real *output, vae_real *pixels) {
    const vae_model       *model = pass->model;
    const size_t           size = model->plan.example;
    const vaei_likelihood *likelihood = vaei_likelihood_of(model);
    const int              swap = vaei_swaps_channels(model);
    /* Swapping channels needs a second array: the outputs', which are of no more use. */
    vae_real *const        made = swap ? output : pixels;
    size_t                 k;
    if (VAEI_HAS(pass->draws))
        vaei_draw_pixels(model->kernels, likelihood, size, output, &pass->sigmas, model->settings.seed,
                         pass->first_drawn + row, made);
    else likelihood->mean(model->kernels, size, output, &pass->sigmas, made);
    for (k = 0; swap && k < size; k++) pixels[k] = output[vaei_channels_last(model->settings.input, k)];
    if (!VAEI_HAS(model->settings.standardize)) return;
    for (k = 0; k < size; k++) {
        const size_t i = vaei_inner_place(model, k);
        const vae_wide scaled =
            VAEI_ROUNDED((vae_wide)pixels[k] * (vae_wide)model->weights[model->plan.standardize_scale + i]);
        pixels[k] = (vae_real)(scaled + (vae_wide)model->weights[model->plan.standardize_mean + i]);
    }
}

/* For calls with a result for each row: no rows at all are allowed. */
VAEI_SETUP vae_status vaei_check_each(const vae_model *model, const vae_data *data, const char *call,
                                      vae_error *error) {
    if (!model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: model is NULL", call);
    if (vaei_check_part(model, VAE_ENCODER_ONLY, call, error) != VAE_OK) return VAE_ERROR_ARGUMENT;
    if (!data) return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: data is NULL", call);
    if (data->pixels && data->bytes)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: data has both pixels and bytes: set one of them", call);
    if (!data->pixels && !data->bytes && data->count)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: data has neither pixels nor bytes: set one of them", call);
    if (data->mask && !VAEI_HAS(model->settings.missing))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: data has a mask, but in this model no number may be missing: "
                         "set config.missing to 1", call);
    if (data->targets && !model->settings.targets)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: data has targets, for which this model has no room: set "
                         "config.targets to 1", call);
    /* From here on places in the caller's arrays are computed unchecked. */
    if (vaei_times(vaei_times(data->count, model->plan.example), sizeof(vae_real)) == VAEI_TOO_LARGE)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: data.count is %z, more than fits in memory", call,
                         data->count);
    return vaei_check_has_labels(model, data->labels, data->count, call, error);
}

/* For a mean, an update or a fit: at least one row is needed. */
VAEI_SETUP vae_status vaei_check_data(const vae_model *model, const vae_data *data, const char *call,
                                      vae_error *error) {
    vae_status status = vaei_check_each(model, data, call, error);
    if (status != VAE_OK || data->count) return status;
    return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: data.count is 0: give at least one row", call);
}

/* Loading a batch does not look at its targets, so all of them are checked beforehand, by the rule for pixels. */
VAEI_APART vae_status vaei_check_targets(const vae_model *model, const vae_data *data, const char *set,
                                         vae_error *error) {
    size_t row;
    for (row = 0; VAEI_HAS(data->targets) && row < data->count; row++) {
        const vaei_raw_row raw = vaei_raw_targets(model, data, row);
        const size_t       column = vaei_bad_column(model, &raw);
        if (column < model->plan.example) return vaei_fail_pixel(model, &raw, set, row, column, error);
    }
    return VAE_OK;
}

/* Looks at all rows beforehand, so that a bad one late in the data leaves the caller's arrays and the model as they
   were. */
VAEI_APART vae_status vaei_check_pixels(const vae_model *model, const vae_data *data, const char *set,
                                        vae_error *error) {
    size_t row;
    if (vaei_check_labels(model, data->labels, 0, data->count, set, error) != VAE_OK) return VAE_ERROR_DATA;
    for (row = 0; data->pixels && row < data->count; row++) {
        const vaei_raw_row raw = vaei_raw_pixels(model, data, row);
        const size_t       column = vaei_bad_column(model, &raw);
        if (column < model->plan.example) return vaei_fail_pixel(model, &raw, set, row, column, error);
    }
    return vaei_check_targets(model, data, set, error);
}

#ifndef VAE_INFERENCE_ONLY
/* ---- the data's own scale ---- */

#define VAEI_LEAST_DEVIATION ((vae_wide)1e-3)   /* root of the columns' mean variance: see vaei_check_data_scale */
#define VAEI_MOST_SIZE ((vae_wide)1e3)          /* root of the mean square */

/* Means and variances of columns first .. first + count - 1, at most 16, over all rows that have them; 0 where none
   has. Differences from the first row are summed: they are small where the data vary little, so that little cancels in
   the variance. */
VAEI_PRIVATE void vaei_column_statistics(const vae_model *model, const vae_data *data, size_t first, size_t count,
                                         vae_wide *means, vae_wide *variances) {
    vae_wide start[16], rows[16];
    size_t row, i;
    for (i = 0; i < count; i++) start[i] = means[i] = variances[i] = rows[i] = 0;
    for (row = 0; row < data->count; row++) {
        const vaei_raw_row raw = vaei_raw_pixels(model, data, row);
        for (i = 0; i < count; i++) {
            vae_wide x, difference;
            if (vaei_is_missing(model, &raw, first + i)) continue;
            x = (vae_wide)vaei_raw_pixel(&raw, first + i);
            if (rows[i] == 0) start[i] = x;
            rows[i] += 1;
            difference = x - start[i];
            means[i] += difference;
            variances[i] += VAEI_ROUNDED(difference * difference);
        }
    }
    for (i = 0; i < count; i++) {
        const vae_wide difference = rows[i] > 0 ? means[i] / rows[i] : 0;
        const vae_wide variance = rows[i] > 0 ? variances[i] / rows[i] - VAEI_ROUNDED(difference * difference) : 0;
        means[i] = start[i] + difference;
        variances[i] = variance > 0 ? variance : 0;
    }
}

/* Whether the model is to standardise, and has neither made a step nor been given means and scales: by vae_standardize,
   as tensors, or by a file, in which a fresh model's 0 and 1 count as none. */
VAEI_PRIVATE int vaei_lacks_units(const vae_model *model) {
    size_t i;
    if (!VAEI_HAS(model->settings.standardize) || model->step || model->has_units) return 0;
    for (i = 0; i < model->plan.example; i++)
        if (model->weights[model->plan.standardize_mean + i] != 0 ||
            model->weights[model->plan.standardize_scale + i] != 1) return 0;
    return 1;
}

/* Each pixel's mean and scale over the data; of a pixel that never changes the scale is 1. `data` NULL: 0 and 1, as in
   a fresh model. */
VAEI_PRIVATE void vaei_set_standardize(vae_model *model, const vae_data *data) {
    vae_real *mean = model->parameters + model->plan.standardize_mean;
    vae_real *scale = model->parameters + model->plan.standardize_scale;
    vae_wide  means[16], variances[16];
    size_t    first, count, i;
    model->has_units = data != NULL;
    for (first = 0; first < model->plan.example; first += count) {
        count = vaei_min_size(16, model->plan.example - first);
        if (data) vaei_column_statistics(model, data, first, count, means, variances);
        for (i = 0; i < count; i++) {
            const size_t   k = vaei_inner_place(model, first + i);
            const vae_real deviation = data ? (vae_real)vaei_scalar_sqrt(variances[i]) : 1;
            mean[k] = data ? (vae_real)means[i] : 0;
            scale[k] = deviation > (vae_real)1e-30 ? deviation : 1;
        }
    }
}

/* Takes the means and scales from all rows of the data, if all their pixels are finite. */
VAEI_SETUP vae_status vaei_standardize(vae_model *model, const vae_data *data, vae_error *error) {
    size_t row, column;
    if (!VAEI_HAS(model->settings.standardize))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_standardize: the model was made without: set "
                         "config.standardize to 1");
    if (model->step)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_standardize: the model has made %z steps with other numbers: "
                         "standardise before the first", (size_t)model->step);
    /* Only whether they are finite: what else is allowed is counted in the standard deviations that are found here. */
    for (row = 0; row < data->count; row++) {
        const vaei_raw_row raw = vaei_raw_pixels(model, data, row);
        column = vaei_not_finite_column(model, &raw);
        if (column < model->plan.example) return vaei_fail_pixel(model, &raw, "", row, column, error);
    }
    vaei_set_standardize(model, data);
    return VAE_OK;
}

/* Refuses data from which a model with default settings does not learn, since the optimiser moves a weight by about a
   thousandth per step: data that vary too little about their means, and data so large that the weights never reach
   them. */
VAEI_SETUP vae_status vaei_check_data_scale(const vae_model *model, const vae_data *data, vae_error *error) {
    vae_wide means[16], variances[16], variance = 0, size = 0;
    size_t first, count, i;
    /* Bytes count as 0 to 1, which is a scale to learn from. */
    if (data->bytes) return VAE_OK;
    for (first = 0; first < model->plan.example; first += count) {
        count = vaei_min_size(16, model->plan.example - first);
        vaei_column_statistics(model, data, first, count, means, variances);
        for (i = 0; i < count; i++) {
            variance += variances[i] / (vae_wide)model->plan.example;
            size += (means[i] * means[i] + variances[i]) / (vae_wide)model->plan.example;
        }
    }
    if (!(variance > 0)) return VAE_OK;
    if (variance < VAEI_LEAST_DEVIATION * VAEI_LEAST_DEVIATION || variance < (vae_wide)1e-6 * size)
        return vaei_fail(error, VAE_ERROR_DATA, "the data vary by only %r about their means: too little to learn from "
                         "as they are; set config.standardize to 1, or scale them",
                         VAEI_SHOWN(vaei_scalar_sqrt(variance)));
    if (size > VAEI_MOST_SIZE * VAEI_MOST_SIZE)
        return vaei_fail(error, VAE_ERROR_DATA, "the data's numbers are about %r in size: too large to learn from as "
                         "they are; set config.standardize to 1, or scale them",
                         VAEI_SHOWN(vaei_scalar_sqrt(size)));
    return VAE_OK;
}

/* How far off pixels are is learned, as a sigma or by the decoder, and not bounded by what pixels there can be. */
VAEI_PRIVATE int vaei_learns_sigma(const vae_model *model) {
    const vae_likelihood likelihood = model->settings.likelihood;
    return model->plan.log_sigma_count ||
           (vaei_takes_any_pixel(likelihood) && vaei_likelihoods[likelihood].outputs > 1);
}

/* For a fit: checks that the model can take the data, and those of validation (or NULL). A fresh model that
   standardizes takes its means and scales from the data. */
VAEI_SETUP vae_status vaei_accept_data(vae_model *model, const vae_data *data, const vae_data *validation,
                                       vae_error *error) {
    const int  fresh = vaei_lacks_units(model);
    vae_status status = vaei_check_labels(model, data->labels, 0, data->count, "", error);
    if (status != VAE_OK) return status;
    /* A fresh model can judge pixels only once it has their scale; it then allows all that are finite. */
    if (fresh) {
        status = vaei_standardize(model, data, error);
        if (status == VAE_OK) status = vaei_check_targets(model, data, "", error);
    } else status = vaei_check_pixels(model, data, "", error);
    if (status == VAE_OK && !model->step && !VAEI_HAS(model->settings.standardize) && vaei_learns_sigma(model))
        status = vaei_check_data_scale(model, data, error);
    if (status == VAE_OK && validation) status = vaei_check_pixels(model, validation, "validation ", error);
    /* A call that fails leaves the model as it was. */
    if (status != VAE_OK && fresh) vaei_set_standardize(model, NULL);
    return status;
}
#endif

/* A pass that only goes forward, with one row of the decoder for each row; the caller changes what it wants
   otherwise. */
VAEI_PRIVATE void vaei_begin_pass(vaei_pass *pass, vae_model *model, size_t count) {
    memset(pass, 0, sizeof *pass);
    pass->model = model;
    pass->count = count;
    pass->forward_only = 1;
    pass->repeat = 1;
    if (model->settings.part != VAE_ENCODER_ONLY) pass->sigmas = vaei_sigmas_of(model);
}

/* Draws the standard normals of rows first .. first + count - 1 of one stream into the workspace; of an autoencoder
   zeros, so that z is the mean. */
VAEI_PRIVATE void vaei_draw_noise(vae_model *model, uint32_t stream, uint64_t step, uint64_t first, size_t count) {
    if (vaei_is_autoencoder(model))
        memset(vaei_numbers(model, model->plan.noise), 0, count * model->plan.latent * sizeof(vae_real));
    else vaei_normal_rows(model->kernels, model->settings.seed, stream, step, first, count, model->plan.latent,
                          vaei_numbers(model, model->plan.noise));
}

#ifndef VAE_INFERENCE_ONLY
/* Really writes the zeros. Mostly that is spared: with has_gradients 0 the block counts as zeros, whatever it holds,
   and the first gradients replace them. But a caller who has a pointer to it (vae_gradients) must see them. */
VAEI_PRIVATE void vaei_zero_gradients(vae_model *model) {
    memset(model->gradients, 0, model->plan.parameter_count * sizeof(vae_real));
    model->has_gradients = 1;
}

/* Frozen weights have no gradient, and what was written in its place is ignored. */
VAEI_PRIVATE void vaei_zero_frozen(vae_model *model) {
    const vaei_plan *plan = &model->plan;
    int              i;
    for (i = 0; i < plan->layer_count; i++) {
        const vaei_layer *layer = &plan->layers[i];
        if (!vaei_is_frozen(model, i)) continue;
        memset(model->gradients + layer->weight, 0, layer->weight_count * sizeof(vae_real));
        memset(model->gradients + layer->bias, 0, vaei_bias_numbers(layer) * sizeof(vae_real));
    }
    if (model->settings.freeze == VAE_FREEZE_DECODER)
        memset(model->gradients + plan->log_sigma, 0, plan->log_sigma_count * sizeof(vae_real));
}

/* Makes the pass one that goes backward too, and adds to the gradients that are there. */
VAEI_PRIVATE void vaei_begin_backward(vaei_pass *pass) {
    vae_model *model = pass->model;
    if (VAEI_HAS(model->settings.tied) && !model->has_gradients) vaei_zero_gradients(model);  /* both uses add */
    pass->forward_only = 0;
    pass->d_log_sigma = vaei_moves_sigma(model) ? model->gradients + model->plan.log_sigma : NULL;
    pass->adds = model->has_gradients;
}

/* Makes the gradient of log sigma what it would be if all numbers had been observed and were like those that were. */
VAEI_PRIVATE void vaei_count_for_sigma(const vae_model *model, size_t count, vae_real *gradients) {
    const vaei_plan *plan = &model->plan;
    size_t           i, row;
    for (i = 0; i < plan->log_sigma_count; i++) {
        vae_wide all = (vae_wide)count, observed = 0;
        for (row = 0; row < count; row++)
            observed += VAEI_HAS(plan->log_sigma_count > 1) ? vaei_observed(model, row)[i]
                                                  : (vae_wide)vaei_count_observed(model, row);
        if (plan->log_sigma_count == 1) all *= (vae_wide)plan->example;
        if (observed > 0) gradients[i] = (vae_real)((vae_wide)gradients[i] * (all / observed));
    }
}

/* Before a fresh model's first step a forward pass of its own gives sigma the value that fits the batch in the
   workspace best. Otherwise, for pixels in the thousands, the first gradients would be about a million times the later
   ones, and Adam, which divides by the size of the gradients that it remembers, would stand still. Returns whether
   sigma moved. */
VAEI_APART int vaei_first_sigma(vae_model *model, size_t count) {
    const vaei_plan *plan = &model->plan;
    vaei_pass        pass;
    size_t           i;
    if (!vaei_moves_sigma(model)) return 0;
    /* Sigma is 1 exactly in a fresh model alone: one that was set or loaded keeps it. */
    for (i = 0; i < plan->log_sigma_count; i++) if (model->parameters[plan->log_sigma + i] != 0) return 0;
    vaei_begin_pass(&pass, model, count);
    pass.scale = (vae_real)(1 / (vae_wide)count);
    pass.reconstruction = vaei_row_terms(model);
    vaei_encoder_forward(&pass);
    vaei_draw_noise(model, VAEI_STREAM_TRAINING, 0, 0, count);
    vaei_latent_forward(&pass, vaei_row_kl(model));
    pass.d_log_sigma = model->moment1 + plan->log_sigma;        /* free: the optimiser leaves sigma alone */
    vaei_decoder_forward(&pass);
    if (VAEI_HAS(plan->observed_size)) vaei_count_for_sigma(model, count, pass.d_log_sigma);
    vaei_move_sigma(model, pass.d_log_sigma, 1);
    memset(pass.d_log_sigma, 0, plan->log_sigma_count * sizeof(vae_real));
    return 1;
}
#endif

/* The terms of the plain objective; where the loss is another, the caller replaces it. */
VAEI_PRIVATE vae_terms vaei_terms_of(vae_wide reconstruction, vae_wide kl, vae_real beta) {
    vae_terms terms;
    terms.reconstruction = reconstruction;
    terms.kl = kl;
    terms.elbo = -(reconstruction + kl);
    terms.loss = reconstruction + (vae_wide)beta * kl;
    terms.classification = 0;
    return terms;
}

/* Adds the classifier's cross-entropy to the loss. */
VAEI_PRIVATE void vaei_add_classification(const vae_model *model, vae_terms *terms, vae_wide classification) {
    terms->classification = classification;
    terms->loss += VAEI_ROUNDED((vae_wide)vaei_setting(model->settings.classifier_weight) * classification);
}

/* ==== 31 >>inference-implementation =============================================================================== */

/* The calls for inference. Each stands twice: vaei_x does the work, and vae_x around it marks the model as being at
   work. Any number of rows goes through in turns of as many as the workspace holds. All rows are checked before the
   first turn, so a bad pixel leaves the caller's arrays as they were; a result that is not finite is found only on the
   way. Every result is a function of the weights, the seed and the row (or its place), never of the turns: a row is
   computed the same way whatever stands beside it.
   Arguments that do not fit are refused before the numbers are looked at, which takes a walk through all rows. */

VAEI_SETUP vae_status vaei_fail_result(size_t row, vae_error *error) {
    return vaei_fail(error, VAE_ERROR_NUMERIC, "row %z: the result is not finite: the weights are too large", row);
}

/* Takes rows from `first` on through the encoder, as many as the workspace holds; the caller then takes what it
   wants. */
VAEI_APART vae_status vaei_encode_rows(vae_model *model, const vae_data *data, size_t first, vaei_purpose purpose,
                                       vaei_pass *pass, vae_error *error) {
    const size_t count = vaei_min_size(model->plan.rows, data->count - first), heads = 2 * model->plan.latent;
    size_t       i;
    vae_status   status = vaei_load_rows(model, data, first, count, NULL, purpose, first, error);
    if (status != VAE_OK) return status;
    vaei_begin_pass(pass, model, count);
    vaei_encoder_forward(pass);
    /* Before the logvars are clamped, which would hide an infinite one. */
    for (i = 0; i < count; i++)
        if (!vaei_all_within(model->kernels, heads, vaei_heads(model) + i * heads, VAEI_LARGEST))
            return vaei_fail_result(first + i, error);
    vaei_bound_rows(pass);
    return VAE_OK;
}

/* The z of every row in the pass becomes its mean. */
VAEI_PRIVATE void vaei_z_from_means(const vaei_pass *pass) {
    const vae_model *model = pass->model;
    const size_t     latent = model->plan.latent;
    size_t           i;
    for (i = 0; i < pass->count; i++)
        memcpy(vaei_row(model, model->plan.z, i, latent), vaei_heads(model) + 2 * i * latent,
               latent * sizeof(vae_real));
}

/* The z of the pass become pixels of the caller's rows from `first` on. */
VAEI_PRIVATE vae_status vaei_decode_rows(vaei_pass *pass, size_t first, vae_real *pixels, vae_error *error) {
    size_t i;
    pass->decoded = pixels + first * pass->model->plan.example;
    vaei_decoder_forward(pass);
    for (i = 0; i < pass->count; i++)
        if (vaei_wide_bits(vaei_row_terms(pass->model)[i])) return vaei_fail_result(first + i, error);
    return VAE_OK;
}

/* Whether `count` rows, of pixels or of z, whichever are longer, fit in memory at all. */
VAEI_SETUP vae_status vaei_check_count(const vae_model *model, size_t count, const char *call, vae_error *error) {
    const size_t largest = vaei_max_size(model->plan.example, model->plan.latent);
    if (count <= (size_t)-1 / sizeof(vae_real) / largest) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: count is %z, more than fits in memory", call, count);
}

/* Refuses what an autoencoder does not have: a distribution of z. */
VAEI_SETUP vae_status vaei_check_prior(const vae_model *model, const char *call, vae_error *error) {
    if (!vaei_is_autoencoder(model)) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: the model is a plain autoencoder, whose z has no distribution to "
                     "draw from: train with another config.objective, or decode z of your own", call);
}

/* The rows' means and bounded logvars, copied from the heads. */
VAEI_PRIVATE vae_status vaei_encode(vae_model *model, const vae_data *data, vae_real *mean, vae_real *logvar,
                                    vae_error *error) {
    size_t     first, i;
    vaei_pass  pass;
    vae_status status = vaei_check_each(model, data, "vae_encode", error);
    if (status == VAE_OK && logvar && vaei_is_autoencoder(model))
        status = vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_encode: a plain autoencoder has no logvar: give NULL");
    if (status == VAE_OK) status = vaei_check_pixels(model, data, "", error);
    for (first = 0; status == VAE_OK && first < data->count; first += pass.count) {
        const size_t latent = model->plan.latent;
        status = vaei_encode_rows(model, data, first, VAEI_AS_GIVEN, &pass, error);
        if (status != VAE_OK) break;
        for (i = 0; mean && i < pass.count; i++)
            memcpy(mean + (first + i) * latent, vaei_heads(model) + 2 * i * latent, latent * sizeof(vae_real));
        if (logvar)
            memcpy(logvar + first * latent, vaei_numbers(model, model->plan.logvar),
                   pass.count * latent * sizeof(vae_real));
    }
    return status;
}

VAE_API vae_status vae_encode(vae_model *model, const vae_data *data, vae_real *mean, vae_real *logvar,
                              vae_error *error) {
    VAEI_RUN_CALL("vae_encode", vaei_encode(model, data, mean, logvar, error));
}

/* softmax of the classifier's logits at the mean. */
VAEI_PRIVATE vae_status vaei_classify(vae_model *model, const vae_data *data, vae_real *probabilities,
                                      vae_error *error) {
    size_t     first, i, k;
    vaei_pass  pass;
    vae_status status = vaei_check_each(model, data, "vae_classify", error);
    if (status == VAE_OK && !model->plan.classifier.layers)
        status = vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_classify: the model has no classifier: set "
                           "config.classifier");
    if (status == VAE_OK && !probabilities && data->count)
        status = vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_classify: probabilities is NULL");
    if (status == VAE_OK) status = vaei_check_pixels(model, data, "", error);
    for (first = 0; status == VAE_OK && first < data->count; first += pass.count) {
        const size_t classes = model->plan.classes;
        if ((status = vaei_encode_rows(model, data, first, VAEI_AS_GIVEN, &pass, error)) != VAE_OK) break;
        vaei_classifier_forward(&pass);
        for (i = 0; i < pass.count; i++) {
            const vae_real *logits = vaei_row(model, vaei_logits_layer(model)->places.output, i, classes);
            const vae_wide  log_sum = vaei_log_sum(classes, logits);
            if (!vaei_all_within(model->kernels, classes, logits, VAEI_LARGEST))
                return vaei_fail_result(first + i, error);
            for (k = 0; k < classes; k++)
                *probabilities++ = (vae_real)vaei_scalar_exp((vae_wide)logits[k] - log_sum);
        }
    }
    return status;
}

VAE_API vae_status vae_classify(vae_model *model, const vae_data *data, vae_real *probabilities, vae_error *error) {
    VAEI_RUN_CALL("vae_classify", vaei_classify(model, data, probabilities, error));
}

/* Means, or with `draws` drawn pixels, of the z given. */
VAEI_PRIVATE vae_status vaei_decode(vae_model *model, const vae_latents *latents, int draws, const char *call,
                                    vae_real *pixels, vae_error *error) {
    const vae_real *z = latents ? latents->z : NULL;
    const size_t    count = latents ? latents->count : 0;
    size_t          first, i;
    vaei_pass       pass;
    vae_status      status = VAE_OK;
    if (!model || !latents || ((!z || !pixels) && count))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: model, latents, its z or pixels is NULL", call);
    if (draws && VAEI_DECODES_ONLY)
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "a build with VAE_DECODE_ONLY draws nothing");
    if (draws && VAEI_IS_BASIC)
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "a build with VAE_BASIC draws no pixels");
    if (vaei_check_part(model, VAE_DECODER_ONLY, call, error) != VAE_OK ||
        vaei_check_count(model, count, call, error) != VAE_OK ||
        vaei_check_has_labels(model, latents->labels, count, call, error) != VAE_OK) return VAE_ERROR_ARGUMENT;
    if (latents->labels && !model->plan.is_conditional)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: labels are given, but the decoder takes none: leave them NULL",
                         call);
    if (vaei_check_labels(model, latents->labels, 0, count, "", error) != VAE_OK) return VAE_ERROR_DATA;
    for (i = 0; i < count * model->plan.latent; i++)
        if (!vaei_finite(z[i]))
            return vaei_fail(error, VAE_ERROR_DATA, "z of row %z, dimension %z is not finite", i / model->plan.latent,
                             i % model->plan.latent);
    for (first = 0; status == VAE_OK && first < count; first += pass.count) {
        vaei_begin_pass(&pass, model, vaei_min_size(model->plan.rows, count - first));
        pass.draws = draws;
        pass.first_drawn = model->samples_drawn + first;
        memcpy(vaei_numbers(model, model->plan.z), z + first * model->plan.latent,
               pass.count * model->plan.latent * sizeof(vae_real));
        if (model->plan.is_conditional)
            memcpy(vaei_labels(model), latents->labels + first, pass.count * sizeof(int));
        status = vaei_decode_rows(&pass, first, pixels, error);
    }
    if (status == VAE_OK && draws) model->samples_drawn += count;
    return status;
}

VAE_API vae_status vae_decode(vae_model *model, const vae_latents *latents, vae_real *pixels, vae_error *error) {
    VAEI_RUN_CALL("vae_decode", vaei_decode(model, latents, 0, "vae_decode", pixels, error));
}

VAE_API vae_status vae_draw(vae_model *model, const vae_latents *latents, vae_real *pixels, vae_error *error) {
    VAEI_RUN_CALL("vae_draw", vaei_decode(model, latents, 1, "vae_draw", pixels, error));
}

/* Decodes the mean of q(z | x). */
VAEI_PRIVATE vae_status vaei_reconstruct(vae_model *model, const vae_data *data, vae_real *pixels, vae_error *error) {
    size_t     first;
    vaei_pass  pass;
    vae_status status = vaei_check_each(model, data, "vae_reconstruct", error);
    if (status == VAE_OK) status = vaei_check_part(model, VAE_DECODER_ONLY, "vae_reconstruct", error);
    if (status == VAE_OK && !pixels && data->count)
        status = vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_reconstruct: pixels is NULL");
    if (status == VAE_OK) status = vaei_check_pixels(model, data, "", error);
    for (first = 0; status == VAE_OK && first < data->count; first += pass.count) {
        status = vaei_encode_rows(model, data, first, VAEI_AS_GIVEN, &pass, error);
        if (status != VAE_OK) break;
        vaei_z_from_means(&pass);
        status = vaei_decode_rows(&pass, first, pixels, error);
    }
    return status;
}

VAE_API vae_status vae_reconstruct(vae_model *model, const vae_data *data, vae_real *pixels, vae_error *error) {
    VAEI_RUN_CALL("vae_reconstruct", vaei_reconstruct(model, data, pixels, error));
}

/* z from N(0, I): numbers samples_drawn, samples_drawn + 1, ... of the model's sequence. */
VAEI_PRIVATE vae_status vaei_sample_latent(vae_model *model, size_t count, vae_real *z, vae_error *error) {
    if (!model || (!z && count)) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_sample_latent: model or z is NULL");
    if (VAEI_DECODES_ONLY) return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "a build with VAE_DECODE_ONLY draws nothing");
    if (vaei_check_prior(model, "vae_sample_latent", error) != VAE_OK ||
        vaei_check_count(model, count, "vae_sample_latent", error) != VAE_OK) return VAE_ERROR_ARGUMENT;
    vaei_normal_rows(model->kernels, model->settings.seed, VAEI_STREAM_SAMPLES, 0, model->samples_drawn, count,
                     model->plan.latent, z);
    model->samples_drawn += count;
    return VAE_OK;
}

VAE_API vae_status vae_sample_latent(vae_model *model, size_t count, vae_real *z, vae_error *error) {
    VAEI_RUN_CALL("vae_sample_latent", vaei_sample_latent(model, count, z, error));
}

/* The z of vae_sample, decoded as `how` says. */
VAEI_PRIVATE vae_status vaei_sample(vae_model *model, size_t count, const vae_sample_config *how, const char *call,
                                    vae_real *pixels, vae_error *error) {
    const vae_sample_kind kind = how && how->kind ? how->kind : VAE_SAMPLE_MEAN;
    const int            *labels = how ? how->labels : NULL;
    size_t                first, i;
    vaei_pass             pass;
    vae_status            status = VAE_OK;
    if (!model || (!pixels && count))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: model or pixels is NULL", call);
    if (VAEI_DECODES_ONLY) return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "a build with VAE_DECODE_ONLY draws nothing");
    if (vaei_check_part(model, VAE_DECODER_ONLY, call, error) != VAE_OK ||
        vaei_check_prior(model, call, error) != VAE_OK ||
        vaei_check_count(model, count, call, error) != VAE_OK) return VAE_ERROR_ARGUMENT;
    if ((int)kind < 1 || kind > VAE_SAMPLE_DRAW)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "how.kind is %d: use one of vae_sample_kind", (int)kind);
    if (kind == VAE_SAMPLE_DRAW && VAEI_IS_BASIC)
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "a build with VAE_BASIC draws no pixels");
    if (labels && !model->plan.is_conditional)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: how.labels are given, but the model is not conditional: set "
                         "config.classes, or leave them NULL", call);
    if (vaei_check_labels(model, labels, 0, count, "", error) != VAE_OK) return VAE_ERROR_DATA;
    for (first = 0; status == VAE_OK && first < count; first += pass.count) {
        vaei_begin_pass(&pass, model, vaei_min_size(model->plan.rows, count - first));
        pass.draws = kind == VAE_SAMPLE_DRAW;
        pass.first_drawn = model->samples_drawn + first;
        /* By their numbers in the model's sequence, so that the size of a turn does not show. */
        vaei_normal_rows(model->kernels, model->settings.seed, VAEI_STREAM_SAMPLES, 0, model->samples_drawn + first,
                         pass.count, model->plan.latent, vaei_numbers(model, model->plan.z));
        for (i = 0; model->plan.is_conditional && i < pass.count; i++)
            vaei_labels(model)[i] = labels ? labels[first + i]
                                           : (int)((model->samples_drawn + first + i) % model->plan.classes);
        status = vaei_decode_rows(&pass, first, pixels, error);
    }
    /* A call that failed has drawn nothing: the next one begins with the same numbers. */
    if (status == VAE_OK) model->samples_drawn += count;
    return status;
}

VAE_API vae_status vae_sample(vae_model *model, size_t count, vae_real *pixels, vae_error *error) {
    VAEI_RUN_CALL("vae_sample", vaei_sample(model, count, NULL, "vae_sample", pixels, error));
}

VAE_API vae_status vae_sample_with(vae_model *model, size_t count, const vae_sample_config *how, vae_real *pixels,
                                   vae_error *error) {
    VAEI_RUN_CALL("vae_sample_with", vaei_sample(model, count, how, "vae_sample_with", pixels, error));
}

/* Before a score, but for the pixels; a mean needs at least one row. */
VAEI_SETUP vae_status vaei_check_score(const vae_model *model, const vae_data *data, int wants_mean, const char *call,
                                       vae_error *error) {
    const vae_status status = (wants_mean ? vaei_check_data : vaei_check_each)(model, data, call, error);
    return status == VAE_OK ? vaei_check_part(model, VAE_DECODER_ONLY, call, error) : status;
}

/* One z per row, drawn by seed and row alone; in nats. */
VAEI_PRIVATE vae_status vaei_elbo(vae_model *model, const vae_data *data, vae_terms *mean, vae_terms *each,
                                  vae_error *error) {
    vae_wide   reconstruction = 0, kl = 0, classification = 0;
    size_t     first, i;
    vaei_pass  pass;
    vae_status status = vaei_check_score(model, data, mean != NULL, "vae_elbo", error);
    if (status == VAE_OK) status = vaei_check_pixels(model, data, "", error);
    if (status != VAE_OK) return status;
    for (first = 0; first < data->count; first += pass.count) {
        vae_wide *row_kl;
        if ((status = vaei_encode_rows(model, data, first, VAEI_FOR_NATS, &pass, error)) != VAE_OK) return status;
        pass.reconstruction = vaei_row_terms(model);
        row_kl = vaei_row_kl(model);
        vaei_draw_noise(model, VAEI_STREAM_EVALUATION, 0, first, pass.count);
        vaei_latent_forward(&pass, row_kl);
        vaei_decoder_forward(&pass);
        if (VAEI_HAS(model->plan.classifier.layers)) vaei_classifier_forward(&pass);
        for (i = 0; i < pass.count; i++) {
            const vae_wide nats = VAEI_HAS(model->plan.classifier.layers) ? vaei_row_classification(model, i) : 0;
            if (!vaei_finite_wide(pass.reconstruction[i] + row_kl[i] + nats))
                return vaei_fail_result(first + i, error);
            reconstruction += pass.reconstruction[i];
            /* Row by row, so that the mean does not depend on how many rows a turn takes. */
            kl += row_kl[i];
            classification += nats;
            if (!each) continue;
            each[first + i] = vaei_terms_of(pass.reconstruction[i], row_kl[i], vaei_beta(model));
            vaei_add_classification(model, &each[first + i], nats);
        }
    }
    if (!mean) return VAE_OK;
    *mean = vaei_terms_of(reconstruction / (vae_wide)data->count, kl / (vae_wide)data->count, vaei_beta(model));
    vaei_add_classification(model, mean, classification / (vae_wide)data->count);
    return VAE_OK;
}

VAE_API vae_status vae_elbo(vae_model *model, const vae_data *data, vae_terms *mean, vae_terms *each,
                            vae_error *error) {
    VAEI_RUN_CALL("vae_elbo", vaei_elbo(model, data, mean, each, error));
}

/* log (exp a + exp b) */
VAEI_PRIVATE vae_wide vaei_add_logs(vae_wide a, vae_wide b) {
    const vae_wide larger = a > b ? a : b, smaller = a > b ? b : a;
    if (!vaei_finite_wide(larger)) return larger;        /* both are -inf: their difference would be NaN */
    return larger + vaei_scalar_log(1 + vaei_scalar_exp(smaller - larger));
}

/* log p(z) - log q(z | x) for one row: the sum over dimensions of (noise^2 + logvar - z^2) / 2, in which nothing is
   divided by the standard deviation. */
VAEI_PRIVATE vae_wide vaei_log_weight(size_t latent, const vae_real *noise, const vae_real *logvar, const vae_real *z) {
    vae_wide sum = 0;
    size_t i;
    for (i = 0; i < latent; i++)
        sum += (vae_wide)noise[i] * (vae_wide)noise[i] + (vae_wide)logvar[i] - (vae_wide)z[i] * (vae_wide)z[i];
    return sum / 2;
}

/* A turn takes as many samples of every row of a batch as the workspace holds. For the decoder each sample is a row of
   its own that is scored against the same pixels. The mean and logvar of row r stay in place r; its sample s is row
   r * pass.repeat + s of noise, z and reconstruction. Rows may be worked on in any order. With room for 192 rows, 10
   rows of data take their 100 samples in six turns, five of 19 and one of 5. */
typedef struct vaei_importance {
    vaei_pass pass;
    size_t    first_row, done;      /* of the data, and samples of each row in earlier turns */
    int       same_noise;           /* every row has the noise of row 0 */
    vae_wide *log_sums;             /* per row: the log of the sum of its samples' weights */
    vae_real *filled, *spread;      /* the caller's arrays for the rows of the pass, or NULL: see vae_impute */
} vaei_importance;

/* The noise and z of the turn's samples, for rows first .. first + count - 1. */
VAEI_PRIVATE void vaei_draw_samples(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_importance *turn = (const vaei_importance *)opaque;
    const vae_model       *model = turn->pass.model;
    const size_t           latent = model->plan.latent, samples = turn->pass.repeat;
    size_t                 row, s;
    (void)slot;
    for (row = first; row < first + count; row++) {
        const vae_real *mean = vaei_heads(model) + 2 * row * latent;
        const vae_real *logvar = vaei_row(model, model->plan.logvar, row, latent);
        vae_real       *noise = vaei_row(model, model->plan.noise, row * samples, latent);
        vae_real       *z = vaei_row(model, model->plan.z, row * samples, latent);
        vaei_normal_rows(model->kernels, model->settings.seed, VAEI_STREAM_LIKELIHOOD,
                         turn->same_noise ? 0 : turn->first_row + row, turn->done, samples, latent, noise);
        for (s = 0; s < samples; s++)
            vaei_reparameterize(model->kernels, latent, mean, logvar, noise + s * latent, z + s * latent);
    }
}

/* Adds a sample, whose share of the weights so far is `share`, to the mean and variance of a row's missing numbers, in
   the network's units. Decoded row i is its output. With m, v what they were and m', v' the sample's own, the mean
   becomes m + share (m' - m), the variance (1 - share) v + share v' + share (1 - share) (m' - m)^2. */
VAEI_PRIVATE void vaei_blend_sample(const vaei_importance *turn, size_t row, size_t i, vae_wide share) {
    const vae_model       *model = turn->pass.model;
    const vaei_likelihood *likelihood = vaei_likelihood_of(model);
    const vaei_sigmas     *sigmas = &turn->pass.sigmas;
    const size_t           size = model->plan.example;
    const unsigned char   *observed = vaei_observed(model, row);
    vae_real              *output = turn->pass.saved_outputs + i * model->plan.output;
    vae_real              *filled = turn->filled + row * size;
    vae_real              *spread = turn->spread ? turn->spread + row * size : NULL;
    size_t                 k;
    /* The variances come first, since the mean replaces the outputs of which they are computed. */
    for (k = 0; spread && k < size; k++) {
        const size_t at = vaei_inner_place(model, k);
        const vae_wide sigma = vaei_pixel_sigma(sigmas, at);
        const vae_real *place = output + vaei_output_place(sigmas->channels, likelihood->outputs, at);
        const vae_wide second = likelihood->outputs > 1 ? (vae_wide)place[sigmas->channels] : 0;
        if (!observed[at])
            spread[k] = (vae_real)(VAEI_ROUNDED((1 - share) * (vae_wide)spread[k]) +
                                   VAEI_ROUNDED(share * likelihood->variance((vae_wide)*place, second, sigma)));
    }
    likelihood->mean(model->kernels, size, output, sigmas, output);
    for (k = 0; k < size; k++) {
        const size_t at = vaei_inner_place(model, k);
        const vae_wide difference = (vae_wide)output[at] - (vae_wide)filled[k];
        if (observed[at]) continue;
        filled[k] = (vae_real)((vae_wide)filled[k] + VAEI_ROUNDED(share * difference));
        if (spread) {
            const vae_wide part = VAEI_ROUNDED(share * (1 - share)), square = VAEI_ROUNDED(difference * difference);
            spread[k] = (vae_real)((vae_wide)spread[k] + VAEI_ROUNDED(part * square));
        }
    }
}

/* The weights of the turn's samples, for rows first .. first + count - 1: log w =
   log p(x | z) + log p(z) - log q(z | x). */
VAEI_PRIVATE void vaei_weigh_samples(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_importance *turn = (const vaei_importance *)opaque;
    const vae_model       *model = turn->pass.model;
    const size_t           latent = model->plan.latent, samples = turn->pass.repeat;
    size_t                 row, s;
    (void)slot;
    for (row = first; row < first + count; row++)
        for (s = 0; s < samples; s++) {
            const size_t i = row * samples + s;
            const vae_wide weight = vaei_log_weight(latent, vaei_row(model, model->plan.noise, i, latent),
                                                    vaei_row(model, model->plan.logvar, row, latent),
                                                    vaei_row(model, model->plan.z, i, latent)) -
                                  turn->pass.reconstruction[i];
            /* The sum grows sample by sample: each is blended in with its share of the weights up to its own. */
            turn->log_sums[row] = turn->done + s ? vaei_add_logs(turn->log_sums[row], weight) : weight;
            if (turn->filled && vaei_finite_wide(weight) && vaei_finite_wide(turn->log_sums[row]))
                vaei_blend_sample(turn, row, i, vaei_scalar_exp(weight - turn->log_sums[row]));
        }
}

/* Makes pass.reconstruction the estimates of log p(x) of the rows in the pass, in nats: Burda et al. 2016, equation 8,
   turn after turn. */
VAEI_PRIVATE void vaei_estimate_log_p(vaei_importance *turn, size_t samples) {
    const vae_model *model = turn->pass.model;
    const size_t     rows = turn->pass.count, most = model->plan.rows / rows;
    size_t           i;
    /* The sums take the place of the rows' KLs, which nobody asks for here. */
    turn->pass.reconstruction = vaei_row_terms(model);
    turn->log_sums = vaei_row_kl(model);
    for (turn->done = 0; turn->done < samples; turn->done += turn->pass.repeat) {
        size_t grain;
        turn->pass.repeat = vaei_min_size(most, samples - turn->done);
        turn->pass.count = rows * turn->pass.repeat;
        grain = vaei_max_size(1, VAEI_PARALLEL_SAMPLES / (turn->pass.repeat * model->plan.latent));
        vaei_split(model, rows, 1, grain, vaei_draw_samples, turn);
        vaei_decoder_forward(&turn->pass);
        vaei_split(model, rows, 1, grain, vaei_weigh_samples, turn);
    }
    /* The caller goes on by rows of data. */
    turn->pass.count = rows;
    for (i = 0; i < rows; i++) turn->pass.reconstruction[i] = turn->log_sums[i] - vaei_scalar_log((vae_wide)samples);
}

/* The noise of row i depends on the seed and i alone, as in vaei_elbo. */
VAEI_PRIVATE vae_status vaei_log_likelihood(vae_model *model, const vae_data *data, size_t samples, vae_wide *mean,
                                            vae_wide *each, vae_error *error) {
    vae_wide        sum = 0;
    size_t          first, i;
    vaei_importance turn;
    vae_status      status = vaei_check_score(model, data, mean != NULL, "vae_log_likelihood", error);
    if (status == VAE_OK && !samples)
        status = vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_log_likelihood: samples is 0: give at least 1");
    if (status == VAE_OK) status = vaei_check_prior(model, "vae_log_likelihood", error);
    if (status == VAE_OK) status = vaei_check_pixels(model, data, "", error);
    if (status != VAE_OK) return status;
    for (first = 0; first < data->count; first += turn.pass.count) {
        status = vaei_encode_rows(model, data, first, VAEI_FOR_NATS, &turn.pass, error);
        if (status != VAE_OK) return status;
        turn.first_row = first;
        turn.same_noise = 0;
        turn.filled = NULL;
        vaei_estimate_log_p(&turn, samples);
        for (i = 0; i < turn.pass.count; i++) {
            const vae_wide log_p = turn.pass.reconstruction[i];
            if (!vaei_finite_wide(log_p)) return vaei_fail_result(first + i, error);
            sum += log_p;
            if (each) each[first + i] = log_p;
        }
    }
    if (mean) *mean = sum / (vae_wide)data->count;
    return VAE_OK;
}

VAE_API vae_status vae_log_likelihood(vae_model *model, const vae_data *data, size_t samples, vae_wide *mean,
                                      vae_wide *each, vae_error *error) {
    VAEI_RUN_CALL("vae_log_likelihood", vaei_log_likelihood(model, data, samples, mean, each, error));
}

/* ---- scores: one number a row, or a number for each of a row's numbers, higher where it is stranger ---- */

/* The entropy of a pixel x in nats: minus the log of a Bernoulli likelihood cannot fall below it. */
VAEI_PRIVATE vae_wide vaei_entropy(vae_wide x) {
    if (!(x > 0) || !(x < 1)) return 0;
    return -VAEI_ROUNDED(x * vaei_scalar_log(x)) - VAEI_ROUNDED((1 - x) * vaei_scalar_log(1 - x));
}

/* Whether this model can give this kind of score, with these settings. */
VAEI_SETUP vae_status vaei_check_score_config(const vae_model *model, const vae_score_config *score, int numbers,
                                              vae_error *error) {
    if ((int)score->kind < 1 || score->kind > VAE_SCORE_LOG_LIKELIHOOD)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "score.kind is %d: use one of vae_score_kind", (int)score->kind);
    if (score->samples && score->kind != VAE_SCORE_LOG_LIKELIHOOD)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "score.samples is %z, but only VAE_SCORE_LOG_LIKELIHOOD draws "
                         "samples: leave it 0", score->samples);
#ifdef VAE_BASIC
    if (score->kind == VAE_SCORE_LOG_LIKELIHOOD || score->without_entropy)
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "a build with VAE_BASIC has neither VAE_SCORE_LOG_LIKELIHOOD "
                         "nor without_entropy");
#endif
    if (score->kind == VAE_SCORE_LOG_LIKELIHOOD && vaei_check_prior(model, "vae_score", error) != VAE_OK)
        return VAE_ERROR_ARGUMENT;
    if (numbers && score->kind != VAE_SCORE_RECONSTRUCTION && score->kind != VAE_SCORE_SQUARED_ERROR)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_score_numbers: this kind of score is no sum over a row's "
                         "numbers: use VAE_SCORE_RECONSTRUCTION or VAE_SCORE_SQUARED_ERROR");
    if (score->without_entropy &&
        (score->kind == VAE_SCORE_SQUARED_ERROR || !vaei_likelihood_of(model)->is_binary))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "score.without_entropy has a meaning only for VAE_BERNOULLI's "
                         "nats: leave it 0");
    return VAE_OK;
}

/* The scores of the rows in the pass, from `first` on. */
VAEI_PRIVATE void vaei_score_rows(vaei_importance *turn, const vae_score_config *score, vae_wide *each) {
    vaei_pass       *pass = &turn->pass;
    const vae_model *model = pass->model;
    const size_t     latent = model->plan.latent, size = model->plan.example;
    size_t           i, k;
    if (VAEI_HAS(score->kind == VAE_SCORE_LOG_LIKELIHOOD)) {
        turn->same_noise = 1;
        vaei_estimate_log_p(turn, score->samples ? score->samples : 100);
    } else {
        pass->reconstruction = vaei_row_terms(model);
        pass->squared = score->kind == VAE_SCORE_SQUARED_ERROR;
        vaei_z_from_means(pass);
        vaei_decoder_forward(pass);
    }
    for (i = 0; i < pass->count; i++) {
        const vae_real *pixels = vaei_row(model, model->plan.target, i, size);
        each[i] = score->kind == VAE_SCORE_LOG_LIKELIHOOD ? -pass->reconstruction[i] : pass->reconstruction[i];
        if (score->kind == VAE_SCORE_ELBO)
            each[i] += vaei_kl_of(model, latent, vaei_heads(model) + 2 * i * latent,
                                  vaei_row(model, model->plan.logvar, i, latent));
        for (k = 0; VAEI_HAS(score->without_entropy) && k < size; k++) each[i] -= vaei_entropy((vae_wide)pixels[k]);
    }
}

/* The scores of the numbers of the rows in the pass. */
VAEI_PRIVATE void vaei_score_each_number(vaei_pass *pass, const vae_score_config *score, vae_wide *numbers) {
    const vae_model *model = pass->model;
    const size_t     size = model->plan.example;
    size_t           i, k;
    pass->reconstruction = vaei_row_terms(model);
    pass->squared = score->kind == VAE_SCORE_SQUARED_ERROR;
    pass->numbers = numbers;
    vaei_z_from_means(pass);
    vaei_decoder_forward(pass);
    for (i = 0; VAEI_HAS(score->without_entropy) && i < pass->count; i++) {
        const vae_real *pixels = vaei_row(model, model->plan.target, i, size);
        for (k = 0; k < size; k++) numbers[i * size + k] -= vaei_entropy((vae_wide)pixels[vaei_inner_place(model, k)]);
    }
}

/* Both calls: `width` results a row, 1 or the row's length. Nothing is drawn but VAE_SCORE_LOG_LIKELIHOOD's samples,
   and those alike for every row: a score depends on the row alone. */
VAEI_PRIVATE vae_status vaei_score(vae_model *model, const vae_data *data, const vae_score_config *score, int numbers,
                                   vae_wide *each, vae_error *error) {
    const char      *call = numbers ? "vae_score_numbers" : "vae_score";
    vae_score_config config;
    vaei_importance  turn;
    size_t           first, width, i;
    vae_status       status = vaei_check_score(model, data, 0, call, error);
    if (status != VAE_OK) return status;
    if (!each && data->count) return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: each is NULL", call);
    memset(&config, 0, sizeof config);
    if (score) config = *score;
    /* In a copy: the caller's config may be constant. */
    if (!config.kind) config.kind = numbers ? VAE_SCORE_RECONSTRUCTION : VAE_SCORE_ELBO;
    if ((status = vaei_check_score_config(model, &config, numbers, error)) != VAE_OK ||
        (status = vaei_check_pixels(model, data, "", error)) != VAE_OK) return status;
    width = numbers ? model->plan.example : 1;
    for (first = 0; first < data->count; first += turn.pass.count) {
        vae_wide *results = each + first * width;
        status = vaei_encode_rows(model, data, first, VAEI_AS_GIVEN, &turn.pass, error);
        if (status != VAE_OK) return status;
        turn.filled = NULL;
        if (numbers) vaei_score_each_number(&turn.pass, &config, results);
        else vaei_score_rows(&turn, &config, results);
        for (i = 0; i < turn.pass.count * width; i++)
            /* In this order: of a row that is not finite nothing was written. */
            if (!vaei_finite_wide(turn.pass.reconstruction[i / width]) || !vaei_finite_wide(results[i]))
                return vaei_fail_result(first + i / width, error);
    }
    return VAE_OK;
}

VAE_API vae_status vae_score(vae_model *model, const vae_data *data, const vae_score_config *score, vae_wide *each,
                             vae_error *error) {
    VAEI_RUN_CALL("vae_score", vaei_score(model, data, score, 0, each, error));
}

VAE_API vae_status vae_score_numbers(vae_model *model, const vae_data *data, const vae_score_config *score,
                                     vae_wide *each, vae_error *error) {
    VAEI_RUN_CALL("vae_score_numbers", vaei_score(model, data, score, 1, each, error));
}

/* A number's place in the order of them all: among the positive ones their bits as integers, below them the negative
   ones' bits turned round. */
VAEI_PRIVATE vaei_wide_word vaei_rank_bits(vae_wide number) {
    const vaei_wide_word bits = vaei_wide_bits(number);
    return bits & VAEI_WIDE_SIGN ? ~bits : bits | VAEI_WIDE_SIGN;
}

/* The threshold's bits are found from the highest to the lowest: it is the smallest of which `rank` scores are not
   above. Nothing is sorted, so that the scores stay as they are and no memory is needed. */
VAE_API vae_status vae_quantile(const vae_wide *scores, size_t count, vae_wide fraction, vae_wide *threshold,
                                vae_error *error) {
    const vae_wide slack = VAEI_BY_WIDTH(1 - 1e-12, 1 - 1e-6);
    vae_wide       wanted, needed;
    vaei_wide_word low = 0;
    size_t         rank, below, i;
    int            bit;
    if (!threshold || (!scores && count))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_quantile: scores or threshold is NULL");
    if (count > (size_t)-1 / sizeof *scores)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_quantile: %z scores are more than memory can hold", count);
    if (!vaei_finite_wide(fraction) || !(fraction > 0) || !(fraction < 1))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_quantile: fraction is %r: use one between 0 and 1, as 0.99",
                         VAEI_SHOWN(fraction));
    wanted = fraction * ((vae_wide)count + 1) * slack;          /* 0.07 * 100 must not be rounded up to 8 */
    rank = (size_t)wanted + 1;
    needed = fraction / (1 - fraction) * slack;
    if (rank > count)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_quantile: %z scores are too few for the fraction %r, it takes "
                         "at least %z", count, VAEI_SHOWN(fraction),
                         needed < (vae_wide)((size_t)-1 / 2) ? (size_t)needed + 1 : (size_t)-1);
    for (i = 0; i < count; i++)
        if (vaei_is_nan_wide(scores[i]))
            return vaei_fail(error, VAE_ERROR_DATA, "vae_quantile: score %z is not a number", i);
    /* The largest number below which there are fewer than `rank` scores: it is the score wanted. */
    for (bit = 8 * (int)sizeof low - 1; bit >= 0; bit--) {
        const vaei_wide_word tried = low | (vaei_wide_word)1 << bit;
        for (below = 0, i = 0; i < count; i++) below += vaei_rank_bits(scores[i]) < tried;
        if (below < rank) low = tried;
    }
    *threshold = vaei_bits_wide(low & VAEI_WIDE_SIGN ? low & ~VAEI_WIDE_SIGN : ~low);
    return VAE_OK;
}

/* Variances by Welford's recurrence: the rows are seen once, and nothing large cancels. */
VAEI_PRIVATE vae_status vaei_latent_statistics(vae_model *model, const vae_data *data, vae_dimension *each,
                                               size_t *active, vae_error *error) {
    size_t     first, i, d, count = 0;
    vaei_pass  pass;
    vae_status status = vaei_check_data(model, data, "vae_latent_statistics", error);
    if (status == VAE_OK && !each)
        status = vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_latent_statistics: each is NULL");
    if (status == VAE_OK) status = vaei_check_pixels(model, data, "", error);
    if (status != VAE_OK) return status;
    memset(each, 0, model->plan.latent * sizeof *each);
    for (first = 0; first < data->count; first += pass.count) {
        const size_t latent = model->plan.latent;
        status = vaei_encode_rows(model, data, first, VAEI_FOR_NATS, &pass, error);
        if (status != VAE_OK) return status;
        for (i = 0; i < pass.count; i++)
            for (d = 0; d < latent; d++) {
                const vae_real *mean = vaei_heads(model) + 2 * i * latent + d;
                const vae_wide  difference = (vae_wide)*mean - each[d].mean;
                each[d].mean += difference / (vae_wide)(first + i + 1);
                each[d].variance += VAEI_ROUNDED(difference * ((vae_wide)*mean - each[d].mean));
                each[d].kl += vaei_kl_of(model, 1, mean, vaei_row(model, model->plan.logvar, i, latent) + d);
            }
    }
    for (d = 0; d < model->plan.latent; d++) {
        each[d].variance /= (vae_wide)data->count;
        each[d].kl /= (vae_wide)data->count;
        each[d].is_active = each[d].variance > (vae_wide)0.01;
        count += (size_t)each[d].is_active;
    }
    if (active) *active = count;
    return VAE_OK;
}

VAE_API vae_status vae_latent_statistics(vae_model *model, const vae_data *data, vae_dimension *each, size_t *active,
                                         vae_error *error) {
    VAEI_RUN_CALL("vae_latent_statistics", vaei_latent_statistics(model, data, each, active, error));
}

/* ---- missing numbers: means and variances are summed in the caller's own arrays, in the network's units, and turned
   into the caller's at the end ---- */

/* Before the samples of these rows: nothing is known of the missing numbers. */
VAEI_PRIVATE void vaei_begin_filling(const vaei_importance *turn, size_t rows) {
    const size_t numbers = rows * turn->pass.model->plan.example;
    memset(turn->filled, 0, numbers * sizeof(vae_real));
    if (turn->spread) memset(turn->spread, 0, numbers * sizeof(vae_real));
}

/* After them: the row in the caller's units, and what was given where it was. */
VAEI_PRIVATE int vaei_end_filling(const vaei_importance *turn, const vae_data *data, size_t row) {
    const vae_model   *model = turn->pass.model;
    const size_t       size = model->plan.example;
    const vaei_raw_row raw = vaei_raw_pixels(model, data, turn->first_row + row);
    vae_real          *filled = turn->filled + row * size, *spread = turn->spread ? turn->spread + row * size : NULL;
    size_t             k;
    for (k = 0; k < size; k++) {
        if (!vaei_is_missing(model, &raw, k)) {
            filled[k] = vaei_raw_pixel(&raw, k);
            continue;
        }
        /* Up to here it was a variance. */
        if (spread && spread[k] > 0) spread[k] = vaei_sqrt(spread[k]);
        if (VAEI_HAS(model->settings.standardize)) {
            const size_t at = vaei_inner_place(model, k);
            const vae_wide scale = (vae_wide)model->weights[model->plan.standardize_scale + at];
            filled[k] = (vae_real)(VAEI_ROUNDED((vae_wide)filled[k] * scale) +
                                   (vae_wide)model->weights[model->plan.standardize_mean + at]);
            if (spread) spread[k] = (vae_real)((vae_wide)spread[k] * scale);
        }
        if (!vaei_finite(filled[k]) || (spread && !vaei_finite(spread[k]))) return 0;
    }
    return 1;
}

/* Rows turn by turn, all samples of a turn's rows before the next. What is given is copied from the data, not from the
   workspace, so that it comes out bit by bit. */
VAEI_PRIVATE vae_status vaei_impute(vae_model *model, const vae_data *data, size_t samples, vae_real *filled,
                                    vae_real *spread, vae_error *error) {
    size_t          first, rows, i;
    vae_data        pixels;
    vaei_importance turn;
    vae_status      status;
    memset(&pixels, 0, sizeof pixels);
    if (data) pixels = *data;
    pixels.targets = NULL;          /* what they say is not asked here */
    status = vaei_check_score(model, data ? &pixels : NULL, 0, "vae_impute", error);
    if (status != VAE_OK) return status;
    if (!VAEI_HAS(model->settings.missing))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_impute: in this model no number may be missing: set "
                         "config.missing to 1, also where it is loaded");
    if (vaei_check_prior(model, "vae_impute", error) != VAE_OK) return VAE_ERROR_ARGUMENT;
    if (!samples) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_impute: samples is 0: give at least 1");
    if (!filled && data->count) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_impute: filled is NULL");
    if ((status = vaei_check_pixels(model, &pixels, "", error)) != VAE_OK) return status;
    for (first = 0; first < data->count; first += rows) {
        status = vaei_encode_rows(model, &pixels, first, VAEI_AS_GIVEN, &turn.pass, error);
        if (status != VAE_OK) return status;
        rows = turn.pass.count;
        turn.first_row = first;
        turn.same_noise = 0;
        turn.filled = filled + first * model->plan.example;
        turn.spread = spread ? spread + first * model->plan.example : NULL;
        turn.pass.saved_outputs = vaei_numbers(model, model->plan.saved_outputs);
        vaei_begin_filling(&turn, rows);
        vaei_estimate_log_p(&turn, samples);
        for (i = 0; i < rows; i++)
            if (!vaei_finite_wide(turn.pass.reconstruction[i]) || !vaei_end_filling(&turn, data, i))
                return vaei_fail_result(first + i, error);
    }
    return VAE_OK;
}

VAE_API vae_status vae_impute(vae_model *model, const vae_data *data, size_t samples, vae_real *filled,
                              vae_real *spread, vae_error *error) {
    VAEI_RUN_CALL("vae_impute", vaei_impute(model, data, samples, filled, spread, error));
}

#ifndef VAE_INFERENCE_ONLY
/* ---- the linear probe: multinomial logistic regression, scores = weights (z, 1) ---- */

/* Three blocks of weights, a square matrix, the scores of one z and the z itself; VAEI_TOO_LARGE where it overflows. */
VAE_API size_t vae_probe_memory(const vae_probe_config *probe) {
    size_t side, weights;
    if (!probe) return 0;
    side = vaei_plus(probe->latent, 1);
    weights = vaei_times(probe->classes, side);
    return vaei_plus(vaei_plus(vaei_times(weights, 3), vaei_times(side, side)), vaei_plus(probe->classes, side));
}

typedef struct vaei_probe {
    size_t  side, classes;                  /* latent + 1, for a bias */
    vae_wide *weights, *ahead, *gradient;   /* [classes][side] */
    vae_wide *factor;                       /* [side][side] */
    vae_wide *scores, *input;               /* of one z: [classes], [side] */
} vaei_probe;

/* The scores of one z, and p->input, which is (z, 1). */
VAEI_PRIVATE void vaei_probe_scores(const vaei_probe *p, const vae_wide *weights, const vae_real *z) {
    size_t c, i;
    for (i = 0; i + 1 < p->side; i++) p->input[i] = (vae_wide)z[i];
    p->input[p->side - 1] = 1;
    for (c = 0; c < p->classes; c++) {
        vae_wide sum = 0;
        for (i = 0; i < p->side; i++) sum += VAEI_ROUNDED(weights[c * p->side + i] * p->input[i]);
        p->scores[c] = sum;
    }
}

/* The mean cross-entropy at `ahead`, and its gradient. */
VAEI_PRIVATE vae_wide vaei_probe_loss(const vaei_probe *p, const vae_latents *train) {
    vae_wide loss = 0;
    size_t row, c, i;
    memset(p->gradient, 0, p->classes * p->side * sizeof(vae_wide));
    for (row = 0; row < train->count; row++) {
        const size_t label = (size_t)train->labels[row];
        vae_wide     largest, sum = 0;
        vaei_probe_scores(p, p->ahead, train->z + row * (p->side - 1));
        /* The largest score is taken out first, so that exp cannot overflow. */
        largest = p->scores[0];
        for (c = 1; c < p->classes; c++) if (p->scores[c] > largest) largest = p->scores[c];
        loss += largest - p->scores[label];
        for (c = 0; c < p->classes; c++) {
            p->scores[c] = vaei_scalar_exp(p->scores[c] - largest);
            sum += p->scores[c];
        }
        loss += vaei_scalar_log(sum);
        for (c = 0; c < p->classes; c++) {
            const vae_wide error = (p->scores[c] / sum - (vae_wide)(c == label)) / (vae_wide)train->count;
            for (i = 0; i < p->side; i++) p->gradient[c * p->side + i] += VAEI_ROUNDED(error * p->input[i]);
        }
    }
    return loss / (vae_wide)train->count;
}

/* The second moments of (z, 1) as L L': L below the diagonal and on it. A dimension that says nothing which those
   before it do not say gets no weight. */
VAEI_PRIVATE void vaei_probe_factor(const vaei_probe *p, const vae_latents *train) {
    vae_wide *l = p->factor;
    size_t  row, i, j, k;
    memset(l, 0, p->side * p->side * sizeof *l);
    for (row = 0; row < train->count; row++) {
        /* Only for p->input; the scores are not looked at. */
        vaei_probe_scores(p, p->weights, train->z + row * (p->side - 1));
        for (i = 0; i < p->side; i++)
            for (j = 0; j <= i; j++)
                l[i * p->side + j] += VAEI_ROUNDED(p->input[i] * p->input[j]) / (vae_wide)train->count;
    }
    for (i = 0; i < p->side; i++)
        for (j = 0; j <= i; j++) {
            const vae_wide own = l[i * p->side + j];
            vae_wide     sum = own;
            for (k = 0; k < j; k++) sum -= VAEI_ROUNDED(l[i * p->side + k] * l[j * p->side + k]);
            if (j < i) l[i * p->side + j] = sum / l[j * p->side + j];
            else l[i * p->side + i] = sum > VAEI_BY_WIDTH(1e-9, 1e-5) * own ? vaei_scalar_sqrt(sum) : (vae_wide)1e30;
        }
}

/* Solves L L' x = b in place. */
VAEI_PRIVATE void vaei_probe_solve(const vaei_probe *p, vae_wide *b) {
    const vae_wide *l = p->factor;
    size_t        i, k;
    /* First L y = b, from the top; then L' x = y, from the bottom. */
    for (i = 0; i < p->side; i++) {
        for (k = 0; k < i; k++) b[i] -= VAEI_ROUNDED(l[i * p->side + k] * b[k]);
        b[i] /= l[i * p->side + i];
    }
    for (i = p->side; i-- > 0;) {
        for (k = i + 1; k < p->side; k++) b[i] -= VAEI_ROUNDED(l[k * p->side + i] * b[k]);
        b[i] /= l[i * p->side + i];
    }
}

/* The loss curves nowhere more than half the second moments do (Bohning 1992), so that a step by twice their inverse
   never overshoots, whatever the scale of z; Nesterov's momentum on top, restarted where the loss rose. A penalty of
   one observation's weight, in the same measure, keeps classes that are separable from driving the weights off. */
VAEI_PRIVATE void vaei_probe_fit(const vaei_probe *p, const vae_latents *train, size_t iterations) {
    const size_t n = p->classes * p->side;
    const vae_wide penalty = 1 / (vae_wide)train->count, rate = 1 / ((vae_wide)0.5 + penalty);
    vae_wide     before = 0, age = 1;
    size_t       step, c, i;
    int          small_steps = 0;
    vaei_probe_factor(p, train);
    for (step = 0; step < iterations && small_steps < 5; step++) {
        const vae_wide loss = vaei_probe_loss(p, train);
        /* Nesterov's sequence: t' = (1 + sqrt(1 + 4 t^2))/2, momentum (t - 1)/t' */
        const vae_wide next = (1 + vaei_scalar_sqrt(1 + 4 * age * age)) / 2;
        vae_wide     momentum = (age - 1) / next;
        if (step && loss > before) momentum = 0;
        /* Momentum lets the loss fall by fits and starts: only some small steps in a row mean that it is at rest. */
        small_steps = step && before - loss < VAEI_BY_WIDTH(1e-7, 1e-6) * (1 + loss) && before >= loss
                          ? small_steps + 1 : 0;
        age = momentum > 0 || !step ? next : 1;
        before = loss;
        /* The gradient, in the measure of the second moments: that is why the scale of z does not matter. */
        for (c = 0; c < p->classes; c++) vaei_probe_solve(p, p->gradient + c * p->side);
        for (i = 0; i < n; i++) {
            const vae_wide slope = p->gradient[i] + VAEI_ROUNDED(penalty * p->ahead[i]);
            const vae_wide moved = p->ahead[i] - VAEI_ROUNDED(rate * slope);
            p->ahead[i] = moved + VAEI_ROUNDED(momentum * (moved - p->weights[i]));
            p->weights[i] = moved;
        }
    }
}

/* Whether these z and labels can be used; `set` names them. */
VAEI_SETUP vae_status vaei_check_probe_points(const vae_probe_config *probe, const vae_latents *points,
                                              const char *set, vae_error *error) {
    size_t i;
    if (!points || !points->z || !points->labels)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_probe: %s, its z or its labels is NULL", set);
    if (!points->count) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_probe: %s.count is 0", set);
    if (vaei_times(vaei_times(points->count, probe->latent), sizeof(vae_real)) == VAEI_TOO_LARGE)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_probe: %s.count is %z, more than fits in memory", set,
                         points->count);
    for (i = 0; i < points->count; i++)
        if (points->labels[i] < 0 || (size_t)points->labels[i] >= probe->classes)
            return vaei_fail(error, VAE_ERROR_DATA, "%s row %z has label %d: labels must lie in 0 to %z", set, i,
                             points->labels[i], probe->classes - 1);
    for (i = 0; i < points->count * probe->latent; i++)
        if (!vaei_finite(points->z[i]))
            return vaei_fail(error, VAE_ERROR_DATA, "%s: z of row %z, dimension %z is not finite", set,
                             i / probe->latent, i % probe->latent);
    return VAE_OK;
}

/* The caller's memory is cut into the arrays of vaei_probe, the weights first, where the caller finds them. */
VAE_API vae_status vae_probe(const vae_probe_config *probe, const vae_latents *train, const vae_latents *test,
                             vae_wide *memory, vae_wide *accuracy, vae_error *error) {
    vaei_probe p;
    vae_status status;
    size_t     row, c, best, right = 0;
    if (!probe || !memory || !accuracy)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_probe: probe, memory or accuracy is NULL");
    if (!probe->latent || probe->classes < 2 || vae_probe_memory(probe) > (size_t)-1 / sizeof(vae_wide))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_probe: latent is %z, classes is %z: it takes at least one "
                         "number and two classes, and not more than fit in memory", probe->latent, probe->classes);
    status = vaei_check_probe_points(probe, train, "train", error);
    if (status == VAE_OK) status = vaei_check_probe_points(probe, test, "test", error);
    if (status != VAE_OK) return status;
    p.side = probe->latent + 1;
    p.classes = probe->classes;
    p.weights = memory;
    p.ahead = p.weights + p.classes * p.side;
    p.gradient = p.ahead + p.classes * p.side;
    p.factor = p.gradient + p.classes * p.side;
    p.scores = p.factor + p.side * p.side;
    p.input = p.scores + p.classes;
    /* Weights and `ahead`: at first all classes are alike. */
    memset(p.weights, 0, 2 * p.classes * p.side * sizeof(vae_wide));
    vaei_probe_fit(&p, train, probe->iterations ? probe->iterations : 100);
    for (row = 0; row < test->count; row++) {
        vaei_probe_scores(&p, p.weights, test->z + row * probe->latent);
        for (best = 0, c = 1; c < p.classes; c++) if (p.scores[c] > p.scores[best]) best = c;
        right += best == (size_t)test->labels[row];
    }
    *accuracy = (vae_wide)right / (vae_wide)test->count;
    return VAE_OK;
}
#endif

/* ==== 32 >>training-implementation ================================================================================ */
#ifndef VAE_INFERENCE_ONLY

/* A step: load a batch, forward, likelihood, backward, update. A step that fails changes nothing: whatever may refuse
   it (a loss, a gradient that is not finite) is looked at before the first weight changes. vae_fit is steps in a
   shuffled order, with what belongs to epochs: validation, the best weights, the learning rate on a plateau. The way of
   one step through this file:

       vae_train_step, vae_fit
         vaei_load_rows                 rows -> the workspace                                             >>batch
         vaei_update
           vaei_train_rows
             vaei_encoder_forward       rows -> heads                                                     >>stages
             vaei_draw_noise
             vaei_latent_forward        heads, noise -> z, kl                                             >>latent
             vaei_decoder_forward       z -> outputs -> nats and their gradient (vaei_finish_rows)        >>outcome
             vaei_stage_backward        from the last stage to the first, with                            >>stages
             vaei_latent_backward_rows  ... between decoder and encoder                                   >>latent
           vaei_update_span             gradients -> weights, or vaei_update_part while they are made */

VAEI_SETUP vae_status vaei_check_trains(const vae_model *model, const char *call, vae_error *error) {
    if (!model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: model is NULL", call);
    if (model->plan.trains) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: the model was made inference_only and keeps no gradients%s", call,
                     model->plan.part != VAE_WHOLE ? " (a part of a network cannot train)"
                     : model->parameters           ? "" : " (its weights are another's)");
}

/* Marks the model as being at work, if it can train and nobody else uses it. */
VAEI_SETUP vae_status vaei_begin_training(vae_model *model, const char *call, vae_error *error) {
    const vae_status status = vaei_check_trains(model, call, error);
    return status == VAE_OK ? vaei_enter_alone(model, call, error) : status;
}

VAEI_PRIVATE vae_status vaei_end_training(vae_model *model, vae_status status) {
    return vaei_leave(model, VAEI_FREE, status);
}

/* ---- the gradient block ---- */

/* From here on the block counts as zeros. A first batch whose step is not made leaves no bound on the loss behind. */
VAEI_PRIVATE void vaei_forget_gradients(vae_model *model) {
    if (model->tries_loss) model->largest_loss = 0;
    model->tries_loss = model->has_gradients = 0;
    if (model->shows_gradients) vaei_zero_gradients(model);
}

VAEI_PRIVATE void vaei_end_step(vae_model *model) {
    model->tries_loss = 0;
    vaei_forget_gradients(model);
    if (model->step < VAEI_MOST_STEPS) model->step++;
}

/* ---- one batch, forward and backward ---- */

#define VAEI_MOST_GRADIENT ((vae_real)1e18)     /* its square is still far from the largest float */
#define VAEI_DIVERGED ((vae_wide)1e4)           /* times the first loss: see vaei_check_loss */

/* A loss that is not finite, or out of all proportion to the first one, is refused before it can reach the weights.
   Both sums are over the batch's rows. The bound is taken from the first loss plus one nat per pixel, so that a first
   loss near zero does not make it narrow. */
VAEI_PRIVATE vae_status vaei_check_loss(vae_model *model, vae_wide reconstruction, vae_wide kl, size_t count,
                                        vae_error *error) {
    const vae_wide loss = (reconstruction + kl) / (vae_wide)count, size = loss < 0 ? -loss : loss;
    if (!vaei_finite_wide(reconstruction) || !vaei_finite_wide(kl))
        return vaei_fail(error, VAE_ERROR_NUMERIC, "step %z: the loss is not finite (reconstruction %r, kl %r); the "
                         "weights were not changed: lower the learning rate, or scale the data (config.standardize)",
                         (size_t)model->step + 1, VAEI_SHOWN(reconstruction / (vae_wide)count),
                         VAEI_SHOWN(kl / (vae_wide)count));
    if (model->largest_loss == 0) {
        model->largest_loss = VAEI_DIVERGED * (size + (vae_wide)model->plan.example);
        model->tries_loss = 1;
    }
    if (size <= model->largest_loss) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_NUMERIC, "step %z: training diverges: the loss is %r, more than %r times that of "
                     "the first batch; go on from an earlier file with a lower learning rate",
                     (size_t)model->step + 1, VAEI_SHOWN(loss), VAEI_SHOWN(VAEI_DIVERGED));
}

/* Backward, last stage first; between decoder and encoder through z, where the rows are counted once again. `weight` is
   the classifier's in the loss of `total` rows. */
VAEI_PRIVATE void vaei_backward(vaei_pass *pass, size_t count, vae_wide weight, size_t total) {
    const vaei_plan *plan = &pass->model->plan;
    const int        frozen = VAEI_HAS(pass->model->settings.freeze == VAE_FREEZE_ENCODER);
    int              s;
    for (s = plan->stage_count - 1; s >= 0; s--) {
        vaei_stage_backward(pass, &plan->stages[s]);
        if (s != plan->decoder.first_stage) continue;
        pass->count = count;
        if (!frozen) vaei_latent_backward_rows(pass);
        pass->repeat = 1;
        if (VAEI_HAS(plan->classifier.layers)) vaei_classifier_backward(pass, (vae_real)(weight / (vae_wide)total));
        /* Nothing before z is trained: the backward pass ends here. */
        if (frozen) break;
    }
}

/* Takes the batch in the workspace forward and backward, and adds to the gradients of the loss divided by `total`: the
   batch is rows first .. first + count - 1 of that many. With `updates` the gradients of dense layers' weights are left
   to vaei_update. *terms are means over the batch. pass.count and pass.repeat change on the way: the encoder has
   `count` rows, the decoder samples as many for each. */
VAEI_PRIVATE vae_status vaei_train_rows(vae_model *model, size_t count, size_t first, size_t total, int updates,
                                        vae_terms *terms, vae_error *error) {
    const size_t samples = model->plan.samples;
    const vae_wide weight = (vae_wide)vaei_setting(model->settings.classifier_weight);
    vae_wide     reconstruction = 0, kl = 0, classification = 0, penalty, *row_kl = vaei_row_kl(model);
    size_t       i;
    vaei_pass    pass;
    vae_status   status;
    vaei_begin_pass(&pass, model, count);
    vaei_begin_backward(&pass);
    pass.updates = updates;
    pass.first = first;
    pass.scale = (vae_real)(1 / (vae_wide)total);
    pass.reconstruction = vaei_row_terms(model);
    vaei_encoder_forward(&pass);
    if (VAEI_HAS(model->plan.classifier.layers)) {
        vaei_classifier_forward(&pass);
        for (i = 0; i < count; i++) classification += vaei_row_classification(model, i);
    }
    /* From here on each row has `samples` rows of the decoder. */
    vaei_draw_noise(model, VAEI_STREAM_TRAINING, model->step, (uint64_t)first * samples, count * samples);
    pass.repeat = samples;
    vaei_latent_forward(&pass, row_kl);
    for (i = 0; i < count; i++) kl += row_kl[i];
    penalty = vaei_kl_in_loss(&pass, kl / (vae_wide)count);
    if (!VAEI_HAS(pass.weights)) pass.scale = (vae_real)(1 / ((vae_wide)total * (vae_wide)samples));
    pass.count = count * samples;
    vaei_decoder_forward(&pass);
    for (i = 0; i < count * samples; i++) reconstruction += pass.reconstruction[i];
    reconstruction /= (vae_wide)samples;
    if ((status = vaei_check_loss(model, reconstruction, kl + weight * classification, count, error)) != VAE_OK) {
        /* A fused stage has gone backward by now, and left in the block what must not be used. */
        vaei_forget_gradients(model);
        return status;
    }
    vaei_backward(&pass, count, weight, total);
    /* The caller must read zeros for frozen weights. */
    if (!updates && VAEI_HAS(model->settings.freeze != VAE_FREEZE_NONE)) vaei_zero_frozen(model);
    model->has_gradients = !updates;
    *terms = vaei_terms_of(reconstruction / (vae_wide)count, kl / (vae_wide)count, vaei_beta(model));
    terms->loss = vaei_loss(&pass, terms->reconstruction, penalty);
    vaei_add_classification(model, terms, classification / (vae_wide)count);
    return VAE_OK;
}

/* ---- the update ----

   Parameters and moments are updated in one walk over their blocks, cut into spans for the threads: a number's update
   depends on its own gradient and moments alone (section vector-math), so neither cuts nor order change a bit. Weights
   and biases have constants of their own, since weight decay leaves biases alone. */

typedef struct vaei_update_context {
    vae_model          *model;
    vaei_update_kernel *kernel;
    vaei_update_step    step, without_decay;    /* of weights, of biases */
    vae_real            factor;                 /* of the gradient */
    const vaei_update_step *now;                /* the one of the two in use */
    size_t              base;                   /* where in the parameter block the span begins */
    /* for dense layers whose gradients are computed on the way: */
    const vaei_layer   *layer;
    size_t              examples;               /* rows of the layer in the batch */
    vaei_product        product;                /* gives the gradients of the layer's weights, */
    size_t              rows;                   /* ... this many rows at a time, */
    vae_real           *room;                   /* ... each thread's in its own part of this room, */
    vae_real           *packed;                 /* ... with the product's B packed here; NULL: not packed */
    int                 is_outer;               /* one example: a row is a multiple of the output's gradient */
} vaei_update_context;

/* The constants of the next update, for all of the model's spans. */
VAEI_PRIVATE void vaei_begin_update(vaei_update_context *work, vae_model *model) {
    const vae_optimizer  *settings = &model->settings.optimizer;
    const vaei_optimizer *optimizer = &vaei_optimizers[settings->kind];
    memset(work, 0, sizeof *work);
    work->model = model;
    work->kernel = optimizer->kernel(model->kernels);
    optimizer->begin(&work->step, settings, vaei_learning_rate(model), model->step);
    work->without_decay = work->step;
    work->without_decay.decay = 0;
    work->without_decay.shrink = 1;
    work->now = &work->step;
    work->factor = 1;
}

typedef struct vaei_within_context {
    const vaei_kernel_set *kernels;
    const vae_real        *numbers;
    vae_real               most;
    unsigned char          found[VAEI_MAX_THREADS];     /* by each worker: one that is larger, or a NaN */
} vaei_within_context;

VAEI_PRIVATE void vaei_within_part(void *opaque, size_t slot, size_t first, size_t count) {
    vaei_within_context *work = (vaei_within_context *)opaque;
    work->found[slot] = !vaei_all_within(work->kernels, count, work->numbers + first, work->most);
}

/* Is every |number| <= most? `most` is finite. */
VAEI_PRIVATE int vaei_are_within(const vae_model *model, const vae_real *numbers, size_t count, vae_real most) {
    vaei_within_context work;
    work.kernels = model->kernels;
    work.numbers = numbers;
    work.most = most;
    memset(work.found, 0, sizeof work.found);
    vaei_split(model, count, 64, VAEI_PARALLEL_READS, vaei_within_part, &work);
    return !memchr(work.found, 1, sizeof work.found);
}

/* Updates the parameters at .. at + rows * count - 1: the gradient of row i is factors[i] * g. */
VAEI_PRIVATE void vaei_update_at(const vaei_update_context *work, size_t at, size_t rows, size_t count,
                                 const vae_real *factors, const vae_real *g) {
    vae_model *model = work->model;
    vaei_update_rows(work->kernel, model->kernels, work->now, rows, count, model->parameters + at, factors, g,
                     model->moment1 + at, model->moment2 ? model->moment2 + at : NULL);
}

/* The same for one span, whose gradient is g times the factor. */
VAEI_PRIVATE void vaei_update_numbers(const vaei_update_context *work, size_t at, size_t count, const vae_real *g) {
    vaei_update_at(work, at, 1, count, &work->factor, g);
}

VAEI_PRIVATE void vaei_span_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_update_context *work = (const vaei_update_context *)opaque;
    const size_t               at = work->base + first;
    (void)slot;
    vaei_update_numbers(work, at, count, work->model->gradients + at);
}

/* Updates parameters base .. base + count - 1 with the gradient block, by all threads. */
VAEI_PRIVATE void vaei_update_span(vaei_update_context *work, const vaei_update_step *step, size_t base, size_t count) {
    work->now = step;
    work->base = base;
    vaei_split(work->model, count, 64, VAEI_PARALLEL_NUMBERS, vaei_span_part, work);
}

/* The sum of squares is made in this many pieces, whatever the threads, and each in four partial sums. */
#define VAEI_CLIP_PIECES 32
#define VAEI_CLIP_SCALE VAEI_BY_WIDTH(1, 1.0 / 1048576)     /* of what is squared: squares of floats need the room */
typedef struct vaei_clip_context {
    const vae_real *numbers;
    size_t          count, piece;           /* numbers in all, and in one piece */
    vae_wide        sums[VAEI_CLIP_PIECES];
} vaei_clip_context;

/* The sums of squares of pieces first .. first + count - 1. */
VAEI_PRIVATE void vaei_clip_part(void *opaque, size_t slot, size_t first, size_t count) {
    vaei_clip_context *work = (vaei_clip_context *)opaque;
    const size_t       pieces_end = first + count;
    (void)slot;
    for (; first < pieces_end; first++) {
        const size_t end = vaei_min_size((first + 1) * work->piece, work->count);
        vae_wide     sums[4] = { 0, 0, 0, 0 };
        size_t       i;
        for (i = vaei_min_size(first * work->piece, end); i < end; i++) {
            const vae_wide g = (vae_wide)work->numbers[i] * VAEI_CLIP_SCALE;
            sums[i % 4] += VAEI_ROUNDED(g * g);
        }
        work->sums[first] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
}

/* What the gradient is multiplied by so that its norm is at most optimizer.clip_norm, as PyTorch's clip_grad_norm_ has
   it. A sum of squares below the smallest number has no need of it. */
VAEI_APART vae_real vaei_clip_factor(const vae_model *model) {
    const vae_wide    most = (vae_wide)vaei_setting(model->settings.optimizer.clip_norm);
    vaei_clip_context work;
    vae_wide          sum = 0, factor;
    size_t            i;
    work.numbers = model->gradients;
    /* Sigma's gradient, the last in the block, is left out: sigma does not follow it. */
    work.count = model->plan.log_sigma;
    work.piece = (work.count / VAEI_CLIP_PIECES + 4) / 4 * 4;
    vaei_split(model, VAEI_CLIP_PIECES, 1, vaei_max_size(1, VAEI_PARALLEL_NUMBERS / work.piece), vaei_clip_part, &work);
    for (i = 0; i < VAEI_CLIP_PIECES; i++) sum += work.sums[i];
    if (sum < VAEI_WIDE_MIN) return 1;
    /* the 1e-6 is PyTorch's */
    factor = most / (vaei_scalar_sqrt(sum) / VAEI_CLIP_SCALE + (vae_wide)1e-6);
    return factor < 1 ? (vae_real)factor : 1;
}

/* One update with the whole gradient block, after which that counts as zeros. A learned sigma follows its own rule. */
VAEI_PRIVATE vae_status vaei_apply(vae_model *model, vae_error *error) {
    const vaei_plan    *plan = &model->plan;
    vaei_update_context work;
    int                 i;
    if (!model->has_gradients) vaei_zero_gradients(model);
    /* Frozen weights have no part in what follows, neither in the checks nor in the norm that clips. */
    if (VAEI_HAS(model->settings.freeze != VAE_FREEZE_NONE)) vaei_zero_frozen(model);
    if (!vaei_are_within(model, model->gradients, plan->parameter_count, VAEI_MOST_GRADIENT)) {
        vaei_forget_gradients(model);
        return vaei_fail(error, VAE_ERROR_NUMERIC, "step %z: a gradient is not finite or beyond %r; the weights were "
                         "not changed: lower the learning rate, or scale the data (config.standardize)",
                         (size_t)model->step + 1, VAEI_SHOWN(VAEI_MOST_GRADIENT));
    }
    vaei_begin_update(&work, model);
    if (vaei_setting(model->settings.optimizer.clip_norm) != 0) work.factor = vaei_clip_factor(model);     /* else 1 */
    /* Without decay all parameters are alike, and one span takes them. */
    if (work.step.decay == 0 && work.step.shrink == 1 && model->settings.freeze == VAE_FREEZE_NONE)
        vaei_update_span(&work, &work.step, 0, plan->log_sigma);
    else
        for (i = 0; i < vaei_all_layers(plan); i++) {
            const vaei_layer *layer = &plan->layers[i];
            if (vaei_is_frozen(model, i)) continue;
            vaei_update_span(&work, &work.step, layer->weight, layer->weight_count);
            vaei_update_span(&work, &work.without_decay, layer->bias, vaei_bias_numbers(layer));
        }
    vaei_update_sigma(model, model->gradients + plan->log_sigma, model->step);
    vaei_end_step(model);
    return VAE_OK;
}

/* ---- an update without the whole gradient ----

   Dense layers have most of a model's weights. A step that writes their gradients, checks that they are finite, and
   reads them again for the update spends its time on memory. So vae_train_step and vae_fit finish the backward pass
   first, then compute the gradients a few rows at a time, always into the same place, and use them while they are in
   the cache. A step with a gradient that is not finite must not change anything, so the factors of the products are
   checked beforehand. */

#define VAEI_UPDATE_NUMBERS 65536       /* gradients at a time: as many as stay in the second-level cache */
#define VAEI_UPDATE_WORK 30             /* multiply-adds that take about as long as one number's update */

#ifndef VAE_SMALL
VAEI_PRIVATE void vaei_pack_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_update_context *work = (const vaei_update_context *)opaque;
    vaei_pack_panels(work->model->kernels, &work->product, first, first + count, work->packed,
                     vaei_slot(work->model, slot, work->model->plan.product_scratch));
}

/* In a large layer, packs the gradient of its output once for all threads' rows. */
VAEI_PRIVATE void vaei_pack_update(vaei_update_context *work, const vaei_layer *layer) {
    const vae_model *model = work->model;
    const size_t     columns = layer->outputs, threads = (size_t)model->plan.threads;
    const size_t     numbers = vaei_packed_columns(model->kernels, columns) * work->examples + VAEI_MOST_LANES;
    size_t           rows;
    /* The packed gradient and every thread's rows share the layer's own place in the gradient block. What does not fit
       there is not packed. Rows come in multiples of 24, which are whole tiles in every kernel set. */
    if (!vaei_is_large(layer->inputs, columns) || numbers > layer->weight_count) return;
    rows = vaei_min_size(work->rows, (layer->weight_count - numbers) / threads / columns / 24 * 24);
    if (!rows) return;
    work->rows = rows;
    work->packed = work->product.c + (0 - (uintptr_t)work->product.c / sizeof(vae_real)) % VAEI_MOST_LANES;
    work->room = work->packed + numbers - VAEI_MOST_LANES;
    vaei_split(model, columns, VAEI_MOST_LANES, vaei_max_size(1, VAEI_PARALLEL_NUMBERS / work->examples),
               vaei_pack_part, work);
    work->product = vaei_product_packed(model->kernels, &work->product, work->packed);
}
#endif

/* For a batch of one example the gradient is an outer product, which the update forms by itself. Otherwise the layer's
   place in the gradient block, which is not in use, has room for the rows that each thread is working on and, in a
   large layer, for the packed gradient of its output. */
VAEI_PRIVATE void vaei_begin_layer_update(vaei_update_context *work, const vaei_layer *layer) {
    const size_t columns = layer->outputs;
    work->layer = layer;
    work->now = &work->step;
    work->product = vaei_dense_weights(work->model, layer, work->examples);
    work->packed = NULL;
    work->rows = vaei_max_size(24, VAEI_UPDATE_NUMBERS / columns / 24 * 24);
    work->is_outer = work->examples == 1 && columns >= 128;
#ifndef VAE_SMALL
    if (!work->is_outer) vaei_pack_update(work, layer);
#endif
}

/* Rows first .. first + count - 1 of the layer's weights. */
VAEI_PRIVATE void vaei_update_part(void *opaque, size_t slot, size_t first, size_t count) {
    const vaei_update_context *work = (const vaei_update_context *)opaque;
    const vae_model           *model = work->model;
    const size_t               columns = work->layer->outputs;
    size_t                     done, rows;
    if (work->is_outer) {
        vaei_update_at(work, work->layer->weight + first * columns, count, columns, work->product.a + first,
                       work->product.b);
        return;
    }
    for (done = first; done < first + count; done += rows) {
        vaei_product part;
        rows = vaei_min_size(work->rows, first + count - done);
        part = vaei_product_rows(&work->product, done, rows);
        /* Always the same place, so that it stays in the cache: the thread's own room, or that of its first rows. */
        part.c = work->packed ? work->room + slot * work->rows * columns : work->product.c + first * columns;
        vaei_multiply(model->kernels, &part, vaei_slot(model, slot, model->plan.product_scratch));
        vaei_update_numbers(work, work->layer->weight + done * columns, rows * columns, part.c);
    }
}

/* Rows of layer `i` in a batch of this many examples. */
VAEI_PRIVATE size_t vaei_layer_rows(const vae_model *model, int i, size_t examples) {
    const int is_decoder = i >= model->plan.decoder.first_layer && i < model->plan.layer_count;
    return is_decoder ? examples * model->plan.samples : examples;
}

/* Is every gradient that an update would meet surely within VAEI_MOST_GRADIENT? A sum of up to 10^6 products of numbers
   up to 10^6 is. A likelihood with bounded gradients also bounds the pixels to [0, 1], so then the gradients of the
   last layer's output and the input of the first layer need no check. */
VAEI_PRIVATE int vaei_update_is_finite(const vae_model *model, size_t examples) {
    const vae_real bound = (vae_real)1e6;
    const int      bounded = vaei_likelihood_of(model)->is_bounded;
    int            i;
    if (examples * model->plan.samples > 1000000) return 0;
    if (vaei_moves_sigma(model) &&
        !vaei_are_within(model, model->gradients + model->plan.log_sigma, model->plan.log_sigma_count,
                         VAEI_MOST_GRADIENT))
        return 0;
    for (i = 0; i < vaei_all_layers(&model->plan); i++) {
        const vaei_layer *layer = &model->plan.layers[i];
        const size_t      rows = vaei_layer_rows(model, i, examples);
        if (vaei_is_frozen(model, i)) continue;
        if (!vaei_are_within(model, model->gradients + layer->bias, vaei_bias_numbers(layer), VAEI_MOST_GRADIENT))
            return 0;
        if (VAEI_HAS(layer->kind != VAE_LAYER_DENSE)) {
            if (!vaei_are_within(model, model->gradients + layer->weight, layer->weight_count, VAEI_MOST_GRADIENT))
                return 0;
            continue;
        }
        if (!(bounded && i == 0) &&
            !vaei_are_within(model, vaei_numbers(model, layer->places.input), rows * layer->inputs, bound))
            return 0;
        if (!(bounded && i == model->plan.layer_count - 1) &&
            !vaei_are_within(model, vaei_numbers(model, layer->places.output_gradient), rows * layer->outputs,
                             bound))
            return 0;
    }
    return 1;
}

#ifndef VAE_SMALL
/* Makes the gradients of dense layers' weights that a pass with `updates` has left out. */
VAEI_PRIVATE void vaei_complete_gradients(vae_model *model, size_t count) {
    int i;
    for (i = 0; i < vaei_all_layers(&model->plan); i++)
        if (model->plan.layers[i].kind == VAE_LAYER_DENSE && !vaei_is_frozen(model, i)) {
            const vaei_product p =
                vaei_dense_weights(model, &model->plan.layers[i], vaei_layer_rows(model, i, count));
            vaei_multiply_parallel(model, &p);
        }
    model->has_gradients = 1;
}

/* Updates all layers, after a pass with `updates`. The last layer comes first. The first layer's weights, updated last,
   are then still in the cache when the next step's forward pass begins with them. */
VAEI_PRIVATE void vaei_update_layers(vae_model *model, size_t count) {
    vaei_update_context work;
    int                 i;
    vaei_begin_update(&work, model);
    for (i = vaei_all_layers(&model->plan) - 1; i >= 0; i--) {
        const vaei_layer *layer = &model->plan.layers[i];
        if (vaei_is_frozen(model, i)) continue;
        vaei_update_span(&work, &work.without_decay, layer->bias, vaei_bias_numbers(layer));
        if (VAEI_HAS(layer->kind != VAE_LAYER_DENSE)) {
            vaei_update_span(&work, &work.step, layer->weight, layer->weight_count);
            continue;
        }
        if (VAEI_HAS(layer->classes))   /* whose gradients are there, before their place becomes room for others */
            vaei_update_span(&work, &work.step, layer->weight + layer->inputs * layer->outputs,
                             layer->classes * layer->outputs);
        work.examples = vaei_layer_rows(model, i, count);
        vaei_begin_layer_update(&work, layer);
        vaei_split(model, layer->inputs, 8,
                   vaei_max_size(8, VAEI_PARALLEL_WORK / (layer->outputs * (work.examples + VAEI_UPDATE_WORK))),
                   vaei_update_part, &work);
    }
    vaei_update_sigma(model, model->gradients + model->plan.log_sigma, model->step);
    vaei_end_step(model);
}
#endif

/* One update on the batch in the workspace: as described above, or with the whole gradient. That is needed where
   earlier gradients are there to add to, where the caller looks at the block, where a tensor has more than one use, and
   where the gradient's norm comes first. VAE_SMALL does so always: the same numbers with less code. */
VAEI_PRIVATE vae_status vaei_update_by_batch(vae_model *model, size_t count, vae_terms *terms, vae_error *error) {
    const int  whole = VAEI_IS_SMALL || model->has_gradients || VAEI_HAS(model->settings.tied) ||
                       vaei_setting(model->settings.optimizer.clip_norm) != 0;
    vae_status status = vaei_train_rows(model, count, 0, count, !whole, terms, error);
    if (status != VAE_OK) return status;
#ifndef VAE_SMALL
    if (!whole && vaei_update_is_finite(model, count)) {
        vaei_update_layers(model, count);
        return VAE_OK;
    }
    if (!whole) vaei_complete_gradients(model, count);      /* it decides whether all is finite */
#endif
    return vaei_apply(model, error);
}

/* One update on the batch in the workspace. A step that fails leaves no trace: neither the sigma that a bad first batch
   would have set nor, by vaei_forget_gradients, the bound on the loss. */
VAEI_PRIVATE vae_status vaei_update(vae_model *model, size_t count, vae_terms *terms, vae_error *error) {
    const int        moves_sigma = !model->step && vaei_first_sigma(model, count);
    const vae_status status = vaei_update_by_batch(model, count, terms, error);
    if (status == VAE_OK) {
        vaei_move_running(model, count);
        return status;
    }
    if (moves_sigma)
        memset(model->parameters + model->plan.log_sigma, 0, model->plan.log_sigma_count * sizeof(vae_real));
    return status;
}

/* ---- one batch, by the caller ---- */

/* Checks a batch and loads it into the workspace: its rows are those from `number` on of the step. */
VAEI_PRIVATE vae_status vaei_load_batch(vae_model *model, const vae_data *batch, size_t number, const char *call,
                                        vae_error *error) {
    vae_status status = vaei_check_data(model, batch, call, error);
    if (status != VAE_OK) return status;
    if (batch->count > model->plan.batch)
        return vaei_fail(error, VAE_ERROR_ARGUMENT,
                         "the batch has %z rows, the model was made for %z: raise config.batch", batch->count,
                         model->plan.batch);
    if (vaei_lacks_units(model))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: config.standardize is set, but means and scales are not: call "
                         "vae_standardize with the training data first", call);
    if ((status = vaei_check_targets(model, batch, "", error)) != VAE_OK) return status;
    return vaei_load_rows(model, batch, 0, batch->count, NULL, VAEI_FOR_TRAINING, number, error);
}

/* `share` NULL: the batch is the whole. A share without rows adds nothing, but makes the block readable. */
VAEI_PRIVATE vae_status vaei_accumulate(vae_model *model, const vae_data *batch, const vae_share *share,
                                        vae_terms *terms, vae_error *error) {
    vae_share  whole;
    vae_terms  made;
    vae_status status;
    if (!batch) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_accumulate_gradients: data is NULL");
    whole.first = 0;
    whole.total = batch->count;
    if (share) whole = *share;
    /* By a difference: the sum of first and count might not fit. */
    if (whole.total < batch->count || whole.first > whole.total - batch->count)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%z rows from row %z on are not a share of %z", batch->count,
                         whole.first, whole.total);
    if (share && !batch->count) {
        if (!model->has_gradients) vaei_zero_gradients(model);
        if (terms) memset(terms, 0, sizeof *terms);
        return VAE_OK;
    }
    status = vaei_load_batch(model, batch, whole.first, "vae_accumulate_gradients", error);
    if (status == VAE_OK) status = vaei_train_rows(model, batch->count, whole.first, whole.total, 0, &made, error);
    if (status == VAE_OK) vaei_move_running(model, batch->count);
    if (status == VAE_OK && terms) *terms = made;
    return status;
}

VAE_API vae_status vae_accumulate_gradients(vae_model *model, const vae_data *batch, const vae_share *share,
                                            vae_terms *terms, vae_error *error) {
    vae_status status = vaei_begin_training(model, "vae_accumulate_gradients", error);
    if (status != VAE_OK) return status;
    return vaei_end_training(model, vaei_accumulate(model, batch, share, terms, error));
}

VAE_API vae_status vae_apply_gradients(vae_model *model, vae_error *error) {
    vae_status status = vaei_begin_training(model, "vae_apply_gradients", error);
    if (status != VAE_OK) return status;
    if ((status = vaei_apply(model, error)) == VAE_OK) vaei_forget_best(model);
    return vaei_end_training(model, status);
}

VAE_API vae_status vae_end_step(vae_model *model, vae_error *error) {
    vae_status status = vaei_begin_training(model, "vae_end_step", error);
    if (status != VAE_OK) return status;
    vaei_end_step(model);
    vaei_forget_best(model);
    return vaei_end_training(model, VAE_OK);
}

VAE_API void vae_clear_gradients(vae_model *model) {
    if (vaei_begin_training(model, "vae_clear_gradients", NULL) != VAE_OK) return;
    vaei_forget_gradients(model);
    (void)vaei_end_training(model, VAE_OK);
}

/* From now on the block must really hold zeros where it otherwise only counts as zeros: see vaei_zero_gradients. */
VAE_API vae_real *vae_gradients(vae_model *model) {
    int before;
    /* Not vaei_begin_training: on_progress may look at the block, too. */
    if (!model || !model->plan.trains || (before = vaei_enter(model, "vae_gradients", NULL)) < 0) return NULL;
    if (!model->has_gradients) vaei_zero_gradients(model);
    model->shows_gradients = 1;
    (void)vaei_leave(model, before, VAE_OK);
    return model->gradients;
}

VAE_API vae_status vae_train_step(vae_model *model, const vae_data *batch, vae_terms *terms, vae_error *error) {
    vae_terms  made;
    vae_status status = vaei_begin_training(model, "vae_train_step", error);
    if (status != VAE_OK) return status;
    status = vaei_load_batch(model, batch, 0, "vae_train_step", error);
    if (status == VAE_OK) status = vaei_update(model, batch->count, &made, error);
    if (status == VAE_OK) vaei_forget_best(model);
    /* A step that fails leaves the caller's terms as they were. */
    if (status == VAE_OK && terms) *terms = made;
    return vaei_end_training(model, status);
}

VAE_API vae_status vae_set_beta(vae_model *model, vae_real beta, vae_error *error) {
    int before;
    if (!model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_set_beta: model is NULL");
    if (!vaei_is_amount(beta))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "beta is %r: it must lie in 0 to " VAEI_WRITTEN(VAEI_MOST_SETTING),
                         VAEI_SHOWN(beta));
    if (vaei_is_autoencoder(model))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_set_beta: VAE_OBJECTIVE_AUTOENCODER has no KL");
    if ((before = vaei_enter(model, "vae_set_beta", error)) < 0) return VAE_ERROR_BUSY;
    /* Among the settings 0 would stand for the default. */
    model->settings.beta = beta == 0 ? VAE_ZERO : beta;
    return vaei_leave(model, before, VAE_OK);
}

VAE_API vae_status vae_set_learning_rate(vae_model *model, vae_real learning_rate, vae_error *error) {
    int before;
    if (!model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_set_learning_rate: model is NULL");
    if (!vaei_is_amount(learning_rate))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "learning_rate is %r: it must lie in 0 to "
                         VAEI_WRITTEN(VAEI_MOST_SETTING), VAEI_SHOWN(learning_rate));
    if ((before = vaei_enter(model, "vae_set_learning_rate", error)) < 0) return VAE_ERROR_BUSY;
    model->settings.optimizer.learning_rate = learning_rate == 0 ? VAE_ZERO : learning_rate;
    return vaei_leave(model, before, VAE_OK);
}

VAE_API vae_status vae_standardize(vae_model *model, const vae_data *data, vae_error *error) {
    vae_status status = vaei_begin_training(model, "vae_standardize", error);
    if (status != VAE_OK) return status;
    status = vaei_check_data(model, data, "vae_standardize", error);
    return vaei_end_training(model, status == VAE_OK ? vaei_standardize(model, data, error) : status);
}

/* ---- fit ----

   An epoch is a walk through the shuffled rows; the model knows how far it has come (`position`), so that a fit that
   was stopped, or a checkpoint, goes on with the next batch. The order is a function of seed and epoch and is kept
   nowhere. Everything that a caller may have got wrong is found before the first weight changes. */

/* The number from which the activation makes `output`, or the nearest one from which it can still learn: by bisection,
   over the numbers where the activation grows. One that levels off stops about 0.001 short of its limit; SiLU and GELU
   begin at their minimum. */
VAEI_SETUP vae_real vaei_activated_from(const vae_model *model, vae_activation kind, vae_real output) {
    vae_real low = 0, high = output > 0 ? output + 1 : 1;
    int      i;
    switch (kind) {
    case VAE_RELU: break;
    case VAE_LEAKY_RELU: low = output < 0 ? 2 * output / VAEI_LEAKY_SLOPE : 0; break;
    case VAE_SILU: low = (vae_real)-1.278; break;
    case VAE_GELU: low = (vae_real)-0.752; break;
    case VAE_TANH: high = (vae_real)3.45; low = -high; break;
    case VAE_SIGMOID: high = (vae_real)6.9; low = -high; break;
    case VAE_SOFTPLUS: low = (vae_real)-6.9; break;
    default: return output;
    }
    for (i = 0; i < 60; i++) {
        const vae_real middle = low + (high - low) / 2;
        vae_real       made = middle;
        vaei_activate(model->kernels, kind, 1, &made, &made);
        if (made < output) low = middle;
        else high = middle;
    }
    return high;
}

/* Sets the last layer's biases so that, through its activation, they give the data's mean, and where the likelihood
   takes two numbers a pixel, its variance: per unit for a dense layer, per channel for a convolution. They are taken
   over at most 10,000 rows, spread evenly. */
VAEI_SETUP vae_status vaei_output_bias(vae_model *model, const vae_data *data, vae_error *error) {
    const vaei_layer      *last = &model->plan.layers[model->plan.layer_count - 1];
    const vaei_likelihood *likelihood = vaei_likelihood_of(model);
    const int              outputs = likelihood->outputs;
    const size_t           channels = (size_t)model->settings.input.channels, stride = (data->count + 9999) / 10000;
    const size_t           size = model->plan.example, units = last->bias_count / (size_t)outputs;
    vae_real              *bias = model->parameters + last->bias, *pixels = vaei_numbers(model, model->plan.target);
    size_t                 row, i, k;
    int                    which;
    vae_status             status;
    /* Running means, in the gradient block, then those of squares about them, and what they are taken over, in rows, in
       the moments': both are free before the first step. */
    vae_real *means = model->gradients, *counts = model->moment1;
    vaei_zero_gradients(model);
    for (which = 0; which < outputs; which++, memset(counts, 0, units * sizeof(vae_real)))
        for (row = 0; row < data->count; row += stride) {
            vae_real            *running = means + (size_t)which * units;
            const unsigned char *observed = vaei_observed(model, 0);
            if ((status = vaei_load_rows(model, data, row, 1, NULL, VAEI_AS_GIVEN, 0, error)) != VAE_OK) {
                vaei_forget_gradients(model);
                memset(counts, 0, units * sizeof(vae_real));
                return status;
            }
            for (i = 0; i < units; i++) {
                vae_wide sum = 0, found = 0, weight;
                for (k = i; k < size; k += units) {
                    const vae_wide difference = (vae_wide)pixels[k] - (which ? (vae_wide)means[i] : 0);
                    if (observed && !observed[k]) continue;
                    sum += which ? VAEI_ROUNDED(difference * difference) : difference;
                    found += 1;
                }
                if (!(found > 0)) continue;
                /* A row counts by how many of the unit's pixels it has. The mean runs along, since a sum over all rows,
                   in floats, would lose digits. */
                weight = found / (vae_wide)(size / units);
                counts[i] += (vae_real)weight;
                running[i] += (vae_real)((sum / found - (vae_wide)running[i]) * weight / (vae_wide)counts[i]);
            }
        }
    for (i = 0; i < units; i++) {
        const size_t at = vaei_output_place(channels, outputs, i);
        bias[at] = vaei_activated_from(model, last->activation,
                                       (vae_real)likelihood->bias_for_mean((vae_wide)means[i]));
        if (outputs > 1) bias[at + channels] = (vae_real)likelihood->bias_for_variance((vae_wide)means[units + i]);
    }
    vaei_forget_gradients(model);
    return VAE_OK;
}

/* A vae_fit in progress. Times are vaei_now's; what is counted in examples is a vae_wide, as it is divided. */
typedef struct vaei_fit {
    vae_model            *model;
    const vae_data       *data;
    const vae_fit_config *config;
    size_t                batch;
    vae_progress          progress;
    int64_t               began, epoch_began, redrawn;                  /* redrawn: when a display was last due */
    vae_wide              reconstruction, kl, loss, classification;     /* sums over the epoch's examples */
    vae_wide              epoch_examples, examples, planned;            /* in this epoch, in this fit, in all of it */
} vaei_fit;

/* What becomes of the mark when on_progress is left: a return says that vae_fit goes on, an exception that it does not.
   Where the compiler does not know of exceptions, the mark stays: see >>execution. (C++ forbids longjmp over a
   destructor, but not over a cleanup.) */
#if defined(__GNUC__) && defined(__EXCEPTIONS)
typedef struct vaei_callback { vae_model *model; vaei_mark after; } vaei_callback;
VAEI_PRIVATE void vaei_leave_callback(vaei_callback *left) { vaei_flag_set(&left->model->in_use, left->after); }
#define VAEI_CALLBACK __attribute__((cleanup(vaei_leave_callback))) vaei_callback
#elif defined(__cplusplus) && !defined(__GNUC__)
struct vaei_callback {
    vae_model *model;
    vaei_mark  after;
    ~vaei_callback() { vaei_flag_set(&model->in_use, after); }
};
#define VAEI_CALLBACK vaei_callback
#endif

/* Calls on_progress. The room on the stack separates the frame of this vae_fit from those of the callback and of all
   that it calls: see vaei_is_within_callback. */
VAEI_APART int vaei_call_back(vae_model *model, const vae_fit_config *config, const vae_progress *progress) {
    VAEI_STACK_ROOM(room);
#ifdef VAEI_CALLBACK
    VAEI_CALLBACK left = { model, VAEI_FREE };
#endif
    int stop;
    model->callback_frame = (uintptr_t)room;
    vaei_flag_set(&model->in_use, VAEI_THREAD);
    stop = config->on_progress(config->user, progress);
#ifdef VAEI_CALLBACK
    left.after = VAEI_AT_WORK;
#else
    vaei_flag_set(&model->in_use, VAEI_AT_WORK);
#endif
    return stop;
}

/* Fills in the progress and calls on_progress, if there is one. Returns whether to stop. */
VAEI_APART int vaei_report(vaei_fit *fit, vae_event event) {
    vae_progress  *p = &fit->progress;
    const int64_t  now = vaei_now();
    const vae_wide training = vaei_elapsed(fit->epoch_began, now);
    p->event = event;
    p->model = fit->model;
    p->step = fit->model->step;
    p->seconds = vaei_elapsed(fit->began, now);
    /* An epoch's end keeps the last batch's figure: validation does not count. */
    if (event == VAE_EVENT_BATCH) p->examples_per_second = training > 0 ? fit->epoch_examples / training : 0;
    p->seconds_left = fit->examples > 0 ? p->seconds / fit->examples * (fit->planned - fit->examples) : 0;
    p->redraw = event != VAE_EVENT_BATCH || vaei_elapsed(fit->redrawn, now) > (vae_wide)0.1 || p->batch == p->batches;
    if (p->redraw) fit->redrawn = now;
    if (fit->epoch_examples > 0) {
        const vae_wide n = fit->epoch_examples;
        p->train = vaei_terms_of(fit->reconstruction / n, fit->kl / n, vaei_beta(fit->model));
        p->train.loss = fit->loss / n;
        p->train.classification = fit->classification / n;
    }
    if (!fit->config->on_progress) return 0;
    return vaei_call_back(fit->model, fit->config, p) || fit->model->destroy_asked;
}

/* The next batch of the epoch: one update, and a report. */
VAEI_PRIVATE vae_status vaei_fit_batch(vaei_fit *fit, const vaei_shuffle *shuffle, vae_error *error) {
    vae_model   *model = fit->model;
    const size_t first = (size_t)model->position, count = vaei_min_size(fit->batch, fit->data->count - first);
    vae_status   status = vaei_load_rows(model, fit->data, first, count, shuffle, VAEI_FOR_TRAINING, 0, error);
    if (status == VAE_OK) status = vaei_update(model, count, &fit->progress.last, error);
    if (status != VAE_OK) return status;
    model->position += count;
    /* Weighted by rows, since an epoch's last batch may be smaller. */
    fit->reconstruction += fit->progress.last.reconstruction * (vae_wide)count;
    fit->kl += fit->progress.last.kl * (vae_wide)count;
    fit->loss += fit->progress.last.loss * (vae_wide)count;
    fit->classification += fit->progress.last.classification * (vae_wide)count;
    fit->epoch_examples += (vae_wide)count;
    fit->examples += (vae_wide)count;
    fit->progress.batch = ((size_t)model->position - 1) / fit->batch + 1;
    return vaei_report(fit, VAE_EVENT_BATCH) ? VAE_STOPPED : VAE_OK;
}

/* Exchanges the weights in place, from the best to the last ones or back. */
VAEI_PRIVATE void vaei_exchange_best(vae_model *model) {
    size_t i;
    for (i = 0; i < model->plan.weight_count; i++) {
        const vae_real weight = model->parameters[i];
        /* Number by number: there is no room for a third set. */
        model->parameters[i] = model->best[i];
        model->best[i] = weight;
    }
    model->shows_best = !model->shows_best;
}

/* Where vae_fit ends, also where nothing was left to do: a checkpoint of the last epoch holds the last weights. */
VAEI_PRIVATE void vaei_show_best(vae_model *model) {
    if (model->best && model->best_epoch && !model->shows_best) vaei_exchange_best(model);
}

/* Does anything go by the validation loss? */
VAEI_PRIVATE int vaei_uses_validation(const vae_model *model, const vae_fit_config *fit) {
    return model->plan.keeps_best || fit->patience || fit->plateau_epochs;
}

/* Takes note of the loss of the epoch that has ended: keeps its weights if they are the best so far, and lowers the
   learning rate when it is time. As a vae_real the loss is the same after a checkpoint. */
VAEI_PRIVATE void vaei_note_validation(vae_model *model, const vae_fit_config *fit, const vae_terms *validation) {
    vae_optimizer *const optimizer = &model->settings.optimizer;
    const vae_wide       most = (vae_wide)VAEI_LARGEST;
    vae_wide             loss = vaei_terms_of(validation->reconstruction, validation->kl,
                                              vaei_setting(model->settings.beta)).loss;
    loss += VAEI_ROUNDED((vae_wide)vaei_setting(model->settings.classifier_weight) * validation->classification);
    /* Judged with beta as it is without its schedule, so that epochs compare while it rises. A file must be able to
       hold the loss. */
    loss = loss > most ? most : loss < -most ? -most : loss;
    model->waited++;
    model->plateau++;
    if (!model->best_epoch || (vae_real)loss < model->best_loss) {
        model->best_loss = (vae_real)loss;
        model->best_epoch = model->epoch;
        model->waited = model->plateau = 0;
        if (model->best) memcpy(model->best, model->parameters, model->plan.weight_count * sizeof(vae_real));
    }
    if (!fit->plateau_epochs || model->plateau < fit->plateau_epochs) return;
    model->plateau = 0;
    /* In the settings, so that checkpoints keep it. */
    optimizer->learning_rate = vaei_setting(optimizer->learning_rate) * fit->plateau_factor;
    if (optimizer->learning_rate == 0) optimizer->learning_rate = VAE_ZERO;
}

/* The rest of the epoch in progress, or a new one. An epoch may have been stopped or saved after its last batch: then
   no batch is left, and it only ends here. */
VAEI_PRIVATE vae_status vaei_fit_epoch(vaei_fit *fit, vae_error *error) {
    vae_model         *model = fit->model;
    const vaei_shuffle shuffle = vaei_shuffle_of(model->settings.seed, model->epoch, fit->data->count);
    int                stopped = 0;
    /* Kept in the model, since a checkpoint may be saved inside the epoch. */
    model->epoch_rows = fit->data->count;
    model->epoch_batch = fit->batch;
    model->epoch_keeps_order = fit->config->keep_order != 0;
    fit->epoch_began = vaei_now();
    fit->reconstruction = fit->kl = fit->loss = fit->classification = fit->epoch_examples = 0;
    while (model->position < fit->data->count && !stopped) {
        const vae_status status = vaei_fit_batch(fit, fit->config->keep_order ? NULL : &shuffle, error);
        if (status == VAE_STOPPED) stopped = 1;
        else if (status != VAE_OK) {
            if (!model->position) model->epoch_rows = model->epoch_batch = 0;       /* it has not begun */
            if (!model->position) model->epoch_keeps_order = 0;
            return status;
        }
    }
    if (model->position < fit->data->count) return VAE_STOPPED;
    /* From here on the epoch is over, also for a checkpoint that on_progress saves. */
    model->position = model->epoch_rows = model->epoch_batch = 0;
    model->epoch_keeps_order = 0;
    model->epoch++;
    if (fit->config->validation && (!stopped || vaei_uses_validation(model, fit->config))) {
        /* Not vae_elbo, since the model is marked as being at work already. */
        const vae_status status = vaei_elbo(model, fit->config->validation, &fit->progress.validation, NULL, error);
        if (status != VAE_OK) return status;
        if (vaei_uses_validation(model, fit->config))
            vaei_note_validation(model, fit->config, &fit->progress.validation);
        fit->progress.has_validation = 1;
    }
    if (vaei_report(fit, VAE_EVENT_EPOCH)) stopped = 1;
    fit->progress.has_validation = 0;
    memset(&fit->progress.validation, 0, sizeof fit->progress.validation);
    return stopped ? VAE_STOPPED : VAE_OK;
}

/* Checks the fit's config and fills in its batch. An epoch in progress must go on as it was begun. */
VAEI_SETUP vae_status vaei_check_fit(const vae_model *model, const vae_data *data, vae_fit_config *fit,
                                     vae_error *error) {
    const size_t rows = (size_t)model->epoch_rows, batch = (size_t)model->epoch_batch;
    if (!fit->epochs == !fit->until_epoch)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "fit.epochs and fit.until_epoch are %s: set fit.epochs to the "
                         "passes to make, or fit.until_epoch to how many there are to be in all",
                         fit->epochs ? "both set" : "0");
    if (!fit->batch && model->file_batch > model->plan.batch)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "the model's file has batches of up to %z rows, it was loaded "
                         "for %z: set fit.batch to train in other ones, or config.batch when loading",
                         model->file_batch, model->plan.batch);
    if (!fit->batch) fit->batch = model->file_batch ? model->file_batch : model->plan.batch;
    if (fit->batch > model->plan.batch)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "fit.batch is %z, the model was made for %z: raise config.batch",
                         fit->batch, model->plan.batch);
    if (fit->output_bias_from_data && model->settings.freeze == VAE_FREEZE_DECODER)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "fit.output_bias_from_data would change the decoder, which "
                         "config.freeze leaves as it is: leave one of them 0");
    if (!fit->validation && vaei_uses_validation(model, fit))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s goes by the validation loss: give fit.validation",
                         fit->patience ? "fit.patience" : fit->plateau_epochs ? "fit.plateau_epochs"
                                                        : "config.keep_best");
    if (fit->plateau_factor != 0 && !fit->plateau_epochs)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "fit.plateau_factor is set without fit.plateau_epochs: leave it 0, "
                         "or give the epochs");
    vaei_default_real(&fit->plateau_factor, (vae_real)0.1);
    if (!vaei_lies_in(fit->plateau_factor, 0, 1) || fit->plateau_factor == 0 || fit->plateau_factor == 1)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "fit.plateau_factor is %r: it must lie between 0 and 1",
                         VAEI_SHOWN(fit->plateau_factor));
    if (!model->position) return VAE_OK;
    /* An older checkpoint does not say with how many rows its epoch was begun. */
    if (model->position > data->count || (rows && rows != data->count))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "the model stopped after %z rows of an epoch of %z, the data have "
                         "%z: go on with the data it was stopped with", (size_t)model->position,
                         rows ? rows : (size_t)model->position, data->count);
    if (batch && (batch != fit->batch || !model->epoch_keeps_order != !fit->keep_order))
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "the model stopped inside an epoch of batches of %z rows, %s: go "
                         "on with the same fit.batch and keep_order", batch,
                         model->epoch_keeps_order ? "in order" : "shuffled");
    return VAE_OK;
}

/* `config` is a copy that may be changed. Everything is checked before the first weight changes. */
VAEI_PRIVATE vae_status vaei_run_fit(vae_model *model, const vae_data *data, vae_fit_config *config, vae_error *error) {
    vaei_fit   fit;
    const int  fresh = vaei_lacks_units(model);
    vae_status status = vaei_check_data(model, data, "vae_fit", error);
    if (status == VAE_OK) status = vaei_check_fit(model, data, config, error);
    if (status == VAE_OK && config->validation)
        status = vaei_check_data(model, config->validation, "vae_fit: validation", error);
    if (status != VAE_OK) return status;
    /* All epochs may have been made, or the patience used up, by an earlier call. */
    if ((config->until_epoch && config->until_epoch <= model->epoch) ||
        (config->patience && model->waited >= config->patience)) {
        vaei_show_best(model);
        return VAE_OK;
    }
    if (config->until_epoch) config->epochs = config->until_epoch - (size_t)model->epoch;
    /* The data may set means and scales here; `fresh` was asked before. */
    if ((status = vaei_accept_data(model, data, config->validation, error)) != VAE_OK) return status;
    /* Training goes on with the last weights, and in the end the best ones are put in place again. */
    if (model->shows_best) vaei_exchange_best(model);
    if (config->output_bias_from_data && !model->step) status = vaei_output_bias(model, data, error);
    memset(&fit, 0, sizeof fit);
    fit.model = model;
    fit.data = data;
    fit.config = config;
    fit.batch = config->batch;
    fit.began = vaei_now();
    fit.planned = (vae_wide)config->epochs * (vae_wide)data->count - (vae_wide)model->position;
    fit.progress.epochs = (size_t)model->epoch;
    /* The sum may not fit. */
    fit.progress.epochs += vaei_min_size(config->epochs, (size_t)-1 - fit.progress.epochs);
    fit.progress.batches = (data->count - 1) / fit.batch + 1;
    while (status == VAE_OK && model->epoch < fit.progress.epochs &&
           !(config->patience && model->waited >= config->patience)) {
        fit.progress.epoch = (size_t)model->epoch + 1;
        status = vaei_fit_epoch(&fit, error);
    }
    /* Not one step was made: the next fit is the first, and takes the numbers from its own data. */
    if (status != VAE_OK && fresh && !model->step) vaei_set_standardize(model, NULL);
    if (status == VAE_STOPPED && !model->destroy_asked) (void)vaei_report(&fit, VAE_EVENT_STOPPED);
    vaei_show_best(model);
    if (status != VAE_STOPPED) return status;
    if (model->destroy_asked)
        return vaei_fail(error, VAE_ERROR_BUSY, "on_progress called vae_destroy, which did nothing: let it return "
                         "nonzero, and destroy the model after vae_fit");
    return vaei_fail(error, VAE_STOPPED, "the callback stopped training in epoch %z", fit.progress.epoch);
}

/* Works on a copy of the config, in which defaults are filled in; the caller's may be constant. */
VAE_API vae_status vae_fit(vae_model *model, const vae_data *data, const vae_fit_config *config, vae_error *error) {
    vae_fit_config own;
    vae_status     status = vaei_begin_training(model, "vae_fit", error);
    if (status != VAE_OK) return status;
    memset(&own, 0, sizeof own);
    if (config) own = *config;
    else own.epochs = 10;
    model->destroy_asked = 0;       /* an earlier on_progress may have asked, and then jumped */
    return vaei_end_training(model, vaei_run_fit(model, data, &own, error));
}

#ifndef VAE_NO_STDIO
#if defined(__unix__) || defined(__APPLE__)
#include <stdlib.h>
#include <sys/ioctl.h>
#endif

/* Columns of the terminal that standard output goes to; 0 where it goes elsewhere. */
VAEI_SETUP int vaei_terminal_width(void) {
    int width = 0;
    if (!vaei_is_terminal()) return 0;
#ifdef TIOCGWINSZ
    {
        struct winsize window;
        if (ioctl(1, TIOCGWINSZ, &window) == 0) width = window.ws_col;
    }
#endif
#if defined(__unix__) || defined(__APPLE__)
    if (width <= 0) {
        /* Some programs pass a terminal on without its size, but tell the width here. */
        const char *columns = getenv("COLUMNS");
        width = columns ? atoi(columns) : 0;
    }
#endif
    return width > 0 ? width : 80;
}

/* "12s", "3m 20s", "1h 5m". */
VAEI_SETUP void vaei_put_seconds(vaei_text *text, vae_wide seconds) {
    /* A size_t of 32 bits must hold it. */
    const size_t whole = seconds > 0 && seconds < (vae_wide)3e9 ? (size_t)(seconds + (vae_wide)0.5) : 0;
    if (whole >= 3600) vaei_format(text, "%zh %zm", whole / 3600, whole / 60 % 60);
    else if (whole >= 60) vaei_format(text, "%zm %zs", whole / 60, whole % 60);
    else vaei_format(text, "%zs", whole);
}

#define VAEI_LINE 256               /* the longest line that is printed, with its closing zero */

/* Numbers for people: with this many digits after the point, unless they are absurdly large. */
VAEI_SETUP void vaei_put_decimal(vaei_text *text, vae_wide number, int places) {
    const vae_wide most = (vae_wide)1e15;
    char           digits[32];
    snprintf(digits, sizeof digits, number > -most && number < most ? "%.*f" : "%.*g", places, (double)number);
    vaei_put_string(text, digits);
}

/* "105.221 (reconstruction 79.900 + kl 25.321)", or shorter. `is_sum`: the loss is the sum of its two terms. */
VAEI_SETUP void vaei_put_terms(vaei_text *text, const vae_terms *terms, int is_sum, int brevity, int named) {
    const int    places = brevity ? 2 : 3;
    /* The beta at which these terms were made: the model's own may have moved on since. */
    const vae_wide beta = terms->kl > 0 ? (terms->loss - terms->reconstruction) / terms->kl : 1;
    char         factor[32];
    vaei_put_decimal(text, terms->loss, places);
    if (brevity > 1) return;
    vaei_put_string(text, named ? " (reconstruction " : " (");
    vaei_put_decimal(text, terms->reconstruction, places);
    if (terms->classification > 0) is_sum = 0;
    vaei_put_string(text, is_sum ? " + " : ", ");
    snprintf(factor, sizeof factor, "%.3g x ", (double)beta);
    if (is_sum && strcmp(factor, "1 x ")) vaei_put_string(text, factor);        /* so that the sum is seen to hold */
    if (named) vaei_put_string(text, "kl ");
    vaei_put_decimal(text, terms->kl, places);
    if (terms->classification > 0) {
        vaei_put_string(text, named ? ", classification " : ", ");
        vaei_put_decimal(text, terms->classification, 5);       /* per row, labelled or not: it may be small */
    }
    vaei_put(text, ')');
}

/* The line for an epoch that has ended: in full where `brevity` is 0, at its shortest where it is 4. */
VAEI_SETUP void vaei_put_epoch(vaei_text *text, const vae_progress *p, int brevity) {
    vaei_format(text, brevity < 3 ? "epoch %z/%z: " : "%z/%z: ", p->epoch, p->epochs);
    if (brevity < 4) vaei_put_string(text, "loss ");
    vaei_put_terms(text, &p->train, p->model ? vaei_loss_is_sum(p->model) : 1, brevity, !brevity);
    if (p->has_validation) {
        vaei_put_string(text, brevity < 4 ? ", validation " : ", ");
        vaei_put_terms(text, &p->validation, 1, brevity, 0);
    }
    if (brevity) return;
    if (p->model && vaei_likelihood_of(p->model)->tells_bits) {
        const vae_terms *terms = p->has_validation ? &p->validation : &p->train;
        vaei_put_string(text, ", ");
        vaei_put_decimal(text, vae_bits_per_dimension(p->model, -terms->elbo), 3);
        vaei_put_string(text, " bits per dimension");
    }
    vaei_put_string(text, ", ");
    vaei_put_decimal(text, p->examples_per_second, 0);
    vaei_put_string(text, " examples/s");
}

/* The line for an epoch that is going on, with a bar of `marks` columns; `brevity` as above. */
VAEI_SETUP void vaei_put_bar(vaei_text *text, const vae_progress *p, int brevity, int marks) {
    int i;
    vaei_format(text, brevity < 2 ? "epoch %z/%z [" : "%z/%z [", p->epoch, p->epochs);
    for (i = 0; i < marks; i++)
        vaei_put(text, (vae_wide)p->batch * (vae_wide)marks >= (vae_wide)p->batches * (vae_wide)(i + 1) ? '#' : '.');
    vaei_put_string(text, "] loss ");
    vaei_put_decimal(text, p->train.loss, 2);
    if (brevity < 2) {
        vaei_put_string(text, "  ");
        vaei_put_decimal(text, p->examples_per_second, 0);
        vaei_put_string(text, brevity ? "/s" : " examples/s");
    }
    if (brevity == 4) return;
    vaei_put_string(text, "  ");
    vaei_put_seconds(text, p->seconds_left);
    if (brevity < 3) vaei_put_string(text, " left");
}

/* Takes the least brevity and the longest bar with which the line fits the terminal. No line reaches the last column,
   where some terminals wrap; spaces cover what an earlier, longer line left. */
VAE_API int vae_print_progress(void *user, const vae_progress *p) {
    enum { LONGEST_BAR = 24, SHORTEST_BAR = 6 };
    const int width = vaei_terminal_width(), room = width > 1 && width < VAEI_LINE ? width - 1 : VAEI_LINE - 1;
    const int ended = p && p->event == VAE_EVENT_EPOCH;
    char      line[VAEI_LINE];
    vaei_text text = vaei_text_in(line, sizeof line);
    int       brevity, marks;
    (void)user;
    if (!p) return 0;
    text.length = VAEI_LINE;            /* too long, until a shorter one has been made */
    if (p->event == VAE_EVENT_STOPPED && width) printf("\n");
    if (ended || (p->event == VAE_EVENT_BATCH && width && p->redraw)) {
        for (brevity = 0; brevity < 5 && text.length > (size_t)room; brevity++)
            for (marks = ended ? SHORTEST_BAR : LONGEST_BAR; marks >= SHORTEST_BAR && text.length > (size_t)room;
                 marks--) {
                text.length = 0;
                if (ended) vaei_put_epoch(&text, p, brevity);
                else vaei_put_bar(&text, p, brevity, marks);
            }
        vaei_end_text(&text);
        if (!width) printf("%s\n", line);
        else printf("\r%-*.*s%s", room, room, line, ended ? "\n" : "");
    }
    fflush(stdout);
    return 0;
}
#endif
#endif /* VAE_INFERENCE_ONLY */

/* ==== 33 >>files-implementation =================================================================================== */

/*
   A model file (safetensors) is eight bytes with the header's length, then the header, JSON that says where each tensor
   lies, then the tensors' bytes:

       length | {"__metadata__":{"format":"pt","vae.version":"2","vae.config":"{\"input\":[28,28,1],...}"},
                 "encoder.1.weight":{"dtype":"F32","shape":[400,784],"data_offsets":[0,1254400]},...} | data

   The network stands in the header's metadata, as JSON inside a string. Both are read by what they must contain, not as
   JSON in general: anything unexpected is refused where it is met. The header is walked through anew for each question,
   so that nothing of it has to be remembered, and loading weights allocates nothing.

   Loading: check the header's syntax; read the config, make a model of it; match the file's tensors with the model's,
   by name, shape and place; only then read numbers. Saving: write the header to nowhere, which gives its length, then
   the file. Config, layers, state and tensors are described by tables of fields; reading, writing and comparing are
   loops over them.

   In the order of this section:
     decimal numbers, JSON    settings as text that reads back as the same bits on every platform
     fields, the header       what a file says of its network, of training and of each tensor
     numbers, matching        the file's tensors and the model's
     comparing                the file's network and the one that a caller has given
     loading, writing         from and to memory, which is all that a build without <stdio.h> has
     files                    paths, locks, temporary files, and what may go wrong on a disk
*/

#define VAEI_FORMAT_VERSION 2               /* 1 is that of vae.h 0.1 */
#define VAEI_MAX_HEADER 100000000           /* as safetensors has it */
#define VAEI_MAX_FILE_TENSORS 4096
#define VAEI_MAX_METADATA 512
#define VAEI_MAX_RANK 8
#define VAEI_MAX_NAME 255                   /* characters of a name in a file */
#define VAEI_MAX_TENSORS (6 * VAEI_MAX_LAYERS + 3)     /* a bound; there are fewer than 256: see vaei_order_tensors */

/* What stands before a tensor's name in a file, by the block that it belongs to. */
static const char *const vaei_block_names[VAEI_BLOCKS] = { "", "optimizer.m.", "optimizer.v.", "optimizer.u.",
                                                           "best." };
static const char *const vaei_old_block_names[] = { "", "adam.m.", "adam.v." };        /* of version 1 */

/* The prefix in a file of this version, or NULL where it has no such block. */
VAEI_SETUP const char *vaei_block_prefix(int version, int block) {
    if (version != 1) return vaei_block_names[block];
    return block <= VAEI_BLOCK_V ? vaei_old_block_names[block] : NULL;
}

/* A block that a checkpoint has of this model, or NULL. */
VAEI_SETUP vae_real *vaei_block(const vae_model *model, int block) {
    const unsigned char *const kept = vaei_optimizers[model->settings.optimizer.kind].blocks;
    if (!block) return model->parameters;
    if (!model->plan.trains) return NULL;
    if (block == VAEI_BLOCK_BEST) return model->best_epoch ? model->best : NULL;
    return kept[0] == block ? model->moment1 : kept[1] == block ? model->moment2 : NULL;
}

/* Which moments the file of a model with this optimiser has: bit i stands for block i. */
VAEI_SETUP unsigned vaei_moment_mask(vae_optimizer_kind kind) {
    const unsigned char *const kept = vaei_optimizers[kind].blocks;
    return (1u << kept[0] | 1u << kept[1]) & ~1u;
}

/* Constants have no moments. */
VAEI_SETUP int vaei_block_holds(int block, const vae_tensor *tensor) {
    return tensor->trained || block == VAEI_BLOCK_WEIGHTS || block == VAEI_BLOCK_BEST;
}

/* Numbers in a block. */
VAEI_SETUP size_t vaei_block_count(const vae_model *model, int block) {
    return block == VAEI_BLOCK_WEIGHTS || block == VAEI_BLOCK_BEST ? vae_weight_count(model)
                                                                   : vae_parameter_count(model);
}

/* The moments that this model keeps, as bits. */
VAEI_SETUP unsigned vaei_block_mask(const vae_model *model) {
    return model->plan.trains ? vaei_moment_mask(model->settings.optimizer.kind) : 0;
}

/* A network's lists of layers in files: encoder (0), decoder (1), classifier (2). */
#define VAEI_LISTS 3

/* The layers of a list, without the heads; none where the model lacks that part. */
VAEI_SETUP const vaei_layer *vaei_list_layers(const vae_model *model, int list, int *count) {
    const vaei_plan *plan = &model->plan;
    if (list == 2) {
        *count = plan->classifier.layers;
        return plan->layers + plan->layer_count;
    }
    *count = list ? plan->layer_count - plan->heads - 1 : vaei_max_int(plan->heads, 0);
    return list ? plan->layers + plan->heads + 1 : plan->layers;
}

/* ---- decimal numbers, exactly ----

   Decimals and binary numbers are compared as whole numbers of many digits. So every platform writes and reads the same
   digits, whatever its printf, its strtod and its rounding. Of two positive numbers the larger one's bits, read as an
   integer, are the larger, so the nearest number is found by bisection over the bits. */

#ifdef VAE_DOUBLE
typedef uint64_t vaei_word;
#define VAEI_FRACTION_BITS 52
#define VAEI_EXPONENT_BIAS 1075             /* of the fraction's last bit */
#define VAEI_DECIMAL_DIGITS 17              /* enough to tell any two numbers apart */
#define VAEI_DECIMAL_RANGE 330              /* numbers from 10^RANGE on are too large, below 10^-RANGE 0 */
#define VAEI_WHOLE_WORDS 72                 /* enough for the largest whole number that vaei_compare_decimal makes */
#else
typedef uint32_t vaei_word;
#define VAEI_FRACTION_BITS 23
#define VAEI_EXPONENT_BIAS 150
#define VAEI_DECIMAL_DIGITS 9
#define VAEI_DECIMAL_RANGE 50
#define VAEI_WHOLE_WORDS 12
#endif
/* The bits of infinity, the first that are too large. */
#define VAEI_INFINITE_WORD ((vaei_word)-1 >> (VAEI_FRACTION_BITS + 1) << VAEI_FRACTION_BITS)

typedef struct vaei_whole {                 /* a whole number, the low word first; count 0: it is 0 */
    uint32_t words[VAEI_WHOLE_WORDS];
    int      count;
} vaei_whole;

/* whole *= by, word by word from the lowest. */
VAEI_SETUP void vaei_whole_multiply(vaei_whole *whole, uint32_t by) {
    uint64_t carry = 0;
    int      i;
    for (i = 0; i < whole->count; i++) {
        carry += (uint64_t)whole->words[i] * by;
        whole->words[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry) whole->words[whole->count++] = (uint32_t)carry;
}

/* Sets `whole` to number * 5^fives * 2^twos, leaving out powers with a negative exponent. */
VAEI_SETUP void vaei_whole_set(vaei_whole *whole, uint64_t number, int fives, int twos) {
    whole->words[0] = (uint32_t)number;
    whole->words[1] = (uint32_t)(number >> 32);
    whole->count = 2;
    /* The largest powers of 5 and of 2 that a word holds. */
    for (; fives >= 13; fives -= 13) vaei_whole_multiply(whole, 1220703125u);
    for (; fives > 0; fives--) vaei_whole_multiply(whole, 5);
    for (; twos >= 31; twos -= 31) vaei_whole_multiply(whole, (uint32_t)1 << 31);
    if (twos > 0) vaei_whole_multiply(whole, (uint32_t)1 << twos);
    while (whole->count && !whole->words[whole->count - 1]) whole->count--;
}

/* Compares digits * 10^power with mantissa * 2^exponent: -1 if it is smaller, 0 if equal, 1 if larger. Both sides are
   multiplied by what makes them whole. */
VAEI_SETUP int vaei_compare_decimal(uint64_t digits, int power, uint64_t mantissa, int exponent) {
    vaei_whole a, b;
    int        i;
    vaei_whole_set(&a, digits, power, power - exponent);
    vaei_whole_set(&b, mantissa, -power, exponent - power);
    if (a.count != b.count) return a.count < b.count ? -1 : 1;
    for (i = a.count - 1; i >= 0; i--)
        if (a.words[i] != b.words[i]) return a.words[i] < b.words[i] ? -1 : 1;
    return 0;
}

/* Splits the number with these bits into mantissa * 2^exponent. */
VAEI_SETUP void vaei_split_real(vaei_word bits, uint64_t *mantissa, int *exponent) {
    const int field = (int)(bits >> VAEI_FRACTION_BITS);
    *mantissa = bits & (((vaei_word)1 << VAEI_FRACTION_BITS) - 1);
    /* A denormal number has no leading 1, and the exponent of the smallest normal ones. */
    if (field) *mantissa |= (uint64_t)1 << VAEI_FRACTION_BITS;
    *exponent = vaei_max_int(field, 1) - VAEI_EXPONENT_BIAS;
}

/* Whether digits * 10^power rounds to the number with these bits or to a smaller one. A tie goes to the even one. */
VAEI_SETUP int vaei_rounds_within(uint64_t digits, int power, vaei_word bits) {
    uint64_t mantissa;
    int      exponent, order;
    vaei_split_real(bits, &mantissa, &exponent);
    order = vaei_compare_decimal(digits, power, 2 * mantissa + 1, exponent - 1);
    return order < 0 || (order == 0 && !(bits & 1));
}

/* Finds the number nearest to digits * 10^power; returns 0 where that is too large. */
VAEI_SETUP int vaei_decimal_to_real(uint64_t digits, int power, vae_real *real) {
    vaei_word bits = 0, step;
    uint64_t  rest;
    int       length = 0;
    for (rest = digits; rest; rest /= 10) length++;
    if (digits && length + power > VAEI_DECIMAL_RANGE) return 0;
    if (digits && length + power >= -VAEI_DECIMAL_RANGE)
        for (step = (vaei_word)1 << (8 * sizeof bits - 2); step; step >>= 1)
            /* From the top: the largest number without this bit is too small, so the bit is set. */
            if (!vaei_rounds_within(digits, power, bits + (step - 1))) bits += step;
    if (bits >= VAEI_INFINITE_WORD) return 0;
    memcpy(real, &bits, sizeof bits);
    return 1;
}

/* Writes the digits; `point` is the power of ten of the first one. */
VAEI_SETUP void vaei_put_digits(vaei_text *text, uint64_t digits, int count, int point) {
    /* Very small and very large numbers have an exponent, the others all their zeros. */
    const int first = point < -4 || point > 15 ? 0 : point;         /* the digit before the decimal point */
    char      shown[VAEI_DECIMAL_DIGITS];
    int       i;
    for (i = count - 1; i >= 0; i--) { shown[i] = (char)('0' + (int)(digits % 10)); digits /= 10; }
    if (first < 0) vaei_put_string(text, "0.");
    for (i = first + 1; i < 0; i++) vaei_put(text, '0');
    for (i = 0; i < count || i <= first; i++) {
        if (i == first + 1 && i > 0) vaei_put(text, '.');
        vaei_put(text, i < count ? shown[i] : '0');
    }
    if (first == point) return;
    vaei_put_string(text, point < 0 ? "e-" : "e");
    vaei_put_unsigned(text, (uint64_t)(point < 0 ? -point : point));
}

/* The shortest decimal number that reads back as `real`, and of those the nearest. */
VAEI_SETUP void vaei_put_exact_real(vaei_text *text, vae_real real) {
    uint64_t  mantissa, all = 0, digits = 0, unit = 1, step;
    int       exponent, top = 0, point, count, order;
    vaei_word bits;
    memcpy(&bits, &real, sizeof bits);
    if (bits << 1 == 0) { vaei_put(text, '0'); return; }
    if (bits << 1 >> 1 > VAEI_INFINITE_WORD) { vaei_put_string(text, "nan"); return; }
    if (bits >> (8 * sizeof bits - 1)) vaei_put(text, '-');
    bits = bits << 1 >> 1;
    if (bits == VAEI_INFINITE_WORD) { vaei_put_string(text, "inf"); return; }
    vaei_split_real(bits, &mantissa, &exponent);
    /* point: the power of ten of the first digit, estimated from the power of two and then corrected */
    while (mantissa >> top) top++;
    point = (int)((long)(exponent + top - 1) * 30103 / 100000) - 1;     /* log10 of 2: never too large */
    while (vaei_compare_decimal(1, point + 1, mantissa, exponent) <= 0) point++;
    for (count = 1; count < VAEI_DECIMAL_DIGITS; count++) unit *= 10;
    /* all: the first DECIMAL_DIGITS digits, cut off, by bisection */
    for (step = (uint64_t)1 << (VAEI_DECIMAL_DIGITS * 10 / 3); step; step >>= 1)
        if (vaei_compare_decimal(all + step, point + 1 - VAEI_DECIMAL_DIGITS, mantissa, exponent) <= 0) all += step;
    /* The first of its prefixes, rounded to nearest, that reads back as the same number. */
    for (count = 1;; count++, unit /= 10) {
        digits = all / unit;
        order = vaei_compare_decimal(10 * digits + 5, point - count, mantissa, exponent);
        digits += order < 0 || (order == 0 && digits % 2);
        if (count == VAEI_DECIMAL_DIGITS || (vaei_rounds_within(digits, point + 1 - count, bits) &&
                                             !vaei_rounds_within(digits, point + 1 - count, bits - 1))) break;
    }
    /* 9.6 rounded to one digit is 10: one digit again, at the next power. */
    if (count == 1 && digits == 10) {
        digits = 1;
        point++;
    }
    vaei_put_digits(text, digits, count, point);
}

/* ---- reading JSON ----

   A vaei_json is a place in a text. Functions that read move it forward, and return 0, or -1 where they give a number,
   after a problem; the first problem stays, and from then on everything fails. So a caller may read on and look once at
   the end. A text inside a string of the header is read through its escapes (`inner`), without being copied. */

typedef struct vaei_json {
    const unsigned char *bytes;
    size_t               at, end;
    int                  inner;         /* the text is the content of a string of the header: its escapes are undone */
    const char          *problem;       /* the first one, or NULL; nothing is read after it */
    const char          *field;         /* the field that the problem is about, or NULL */
    size_t               problem_at;
    size_t               layers_at[VAEI_LISTS];  /* where the lists of layers begin, once they have been read; else 0 */
} vaei_json;

/* The text from `at` to `end`. */
VAEI_SETUP vaei_json vaei_json_of(const unsigned char *bytes, size_t at, size_t end, int inner) {
    vaei_json json;
    memset(&json, 0, sizeof json);
    json.bytes = bytes;
    json.at = at;
    json.end = end;
    json.inner = inner;
    return json;
}

/* Notes a problem, unless there is one already. Returns 0. */
VAEI_SETUP int vaei_json_wrong(vaei_json *json, const char *problem) {
    if (!json->problem) {
        json->problem = problem;
        json->problem_at = json->at;
    }
    return 0;
}

/* Four hexadecimal digits, or -1. */
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

/* Whether another item follows in an object or array whose opening bracket has been read. None follows at `close`,
   which is then read too, or after a problem. */
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

/* The next character of a string whose opening quote has been read; -1 at its closing quote, which is then read too,
   and after a problem. The header is known to be UTF-8. */
VAEI_SETUP int32_t vaei_json_character(vaei_json *json) {
    int32_t c = vaei_json_next(json);
    if (c == '"') return -1;
    if (c < 0x20) return vaei_json_wrong(json, "a string does not end or holds a control character") - 1;
    if (json->inner && (c > 0x7E || c == '\\')) return vaei_json_wrong(json, "a name is not in plain letters") - 1;
    if (c == '\\') {
        c = vaei_json_escape(json);
        return c < 0 ? vaei_json_wrong(json, "an escape in a string is wrong") - 1 : c;
    }
    if (c < 0x80) return c;
    /* UTF-8: the first byte says by its upper bits how many follow; each of those has six bits more. */
    c &= c < 0xE0 ? 31 : c < 0xF0 ? 15 : 7;
    while (json->at < json->end && json->bytes[json->at] >> 6 == 2) c = c << 6 | (json->bytes[json->at++] & 63);
    return c;
}

/* Reads a string of at most `most` characters (0: of any length). With a `size` other than 0 it is stored in `out`, as
   far as it fits and with ? for whatever is not printable ASCII. */
VAEI_SETUP int vaei_json_string(vaei_json *json, int most, char *out, size_t size) {
    size_t  stored = 0;
    int32_t c;
    int     length = 0;
    if (!vaei_json_expect(json, '"', "a string is missing")) return 0;
    while ((c = vaei_json_character(json)) >= 0) {
        if (most && !c) return vaei_json_wrong(json, "a name holds a zero");
        if (most && ++length > most) return vaei_json_wrong(json, "a name is too long");
        if (stored + 1 < size) out[stored++] = (char)(c >= ' ' && c <= '~' ? c : '?');
    }
    if (size) out[stored] = 0;
    return !json->problem;
}

VAEI_SETUP int vaei_json_name(vaei_json *json, char *out, size_t size) {
    return vaei_json_string(json, VAEI_MAX_NAME, out, size);
}

/* The string at `at`, as an error message shows it. */
VAEI_SETUP void vaei_json_shown(const vaei_json *json, size_t at, char *out, size_t size) {
    vaei_json again = vaei_json_of(json->bytes, at, json->end, json->inner);
    vaei_json_string(&again, 0, out, size);
    if (again.problem) out[0] = 0;
}

/* Whether the strings at a and b have the same characters, however they are escaped. */
VAEI_SETUP int vaei_json_same(const vaei_json *json, size_t a, size_t b) {
    vaei_json first = vaei_json_of(json->bytes, a, json->end, 0), second = vaei_json_of(json->bytes, b, json->end, 0);
    int32_t   c;
    vaei_json_expect(&first, '"', "");
    vaei_json_expect(&second, '"', "");
    /* Both have been read before, so that nothing can be wrong with them now. */
    while ((c = vaei_json_character(&first)) == vaei_json_character(&second))
        if (c < 0) return 1;
    return 0;
}

/* The next digit, or -1 where another character follows, which is left. */
VAEI_SETUP int vaei_json_digit(vaei_json *json) {
    const int32_t c = vaei_json_peek(json);
    if (c < '0' || c > '9') return -1;
    vaei_json_next(json);
    return (int)(c - '0');
}

/* A whole number, 0 to `most`. */
VAEI_SETUP int vaei_json_unsigned(vaei_json *json, uint64_t most, uint64_t *number) {
    int digit, first;
    vaei_json_peek_past_space(json);
    if ((digit = first = vaei_json_digit(json)) < 0) return vaei_json_wrong(json, "a whole number is missing");
    for (*number = (uint64_t)digit; (digit = vaei_json_digit(json)) >= 0;) {
        if (!first) return vaei_json_wrong(json, "a number begins with 0");
        /* Compared before it is multiplied: the product might not fit. */
        if (*number > (most - (uint64_t)digit) / 10) return vaei_json_wrong(json, "a number is too large");
        *number = *number * 10 + (uint64_t)digit;
    }
    return *number <= most ? 1 : vaei_json_wrong(json, "a number is too large");
}

/* With `real` NULL the number is only read past. Digits after the nineteenth are not used. */
VAEI_SETUP int vaei_json_real(vaei_json *json, vae_real *real) {
    const int negative = vaei_json_peek_past_space(json) == '-';
    uint64_t  digits = 0;
    int       power = 0, exponent = 0, digit, first, sign = 1;
    if (negative) vaei_json_next(json);
    if ((digit = first = vaei_json_digit(json)) < 0) return vaei_json_wrong(json, "a number is missing");
    for (; digit >= 0; digit = vaei_json_digit(json)) {
        if (digits < UINT64_C(1000000000000000000)) digits = digits * 10 + (uint64_t)digit;
        /* However many digits there are, the power cannot overflow; a number so large is refused anyway. */
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
    if (!real) return 1;
    if (!vaei_decimal_to_real(digits, power + sign * exponent, real))
        return vaei_json_wrong(json, "a number is too large");
    if (negative) *real = -*real;
    return 1;
}

/* ---- fields ----

   A field of a JSON object belongs to a member of a struct. Its row says how it is read, written, compared with another
   network's and taken over from vae_load's config: as a rule a new setting is a new row. */

typedef enum vaei_field_kind {
    VAEI_FIELD_INTS,              /* one number or an array, as many as the field has */
    VAEI_FIELD_NAME,              /* an enum, by name */
    VAEI_FIELD_REAL,
    VAEI_FIELD_SIGNED,            /* a real that may be negative */
    VAEI_FIELD_SETTING,           /* a real where an exact 0 is VAE_ZERO and 0 means the default */
    VAEI_FIELD_SIZE,
    VAEI_FIELD_QUOTED,            /* 64 bits as digits in a string: most readers of JSON keep numbers as doubles */
    VAEI_FIELD_OBJECT,
    VAEI_FIELD_LAYERS,
    VAEI_FIELD_PADDING,           /* of a layer: a rule's name or four numbers */
    VAEI_FIELD_TYPE, VAEI_FIELD_SHAPE, VAEI_FIELD_OFFSETS     /* of a tensor in the header */
} vaei_field_kind;

enum {
    VAEI_REQUIRED = 1,
    VAEI_OLD = 2,           /* of version 1: read, not written */
    VAEI_IS_NETWORK = 4,    /* weights fit a model only if this is the same */
    VAEI_AGREES = 8,        /* vae_load's config must have the file's value or 0 */
    VAEI_TAKEN = 16,        /* vae_load's config overrides the file */
    VAEI_AS_ONE = 32,       /* an object: it overrides as a whole */
    VAEI_NOT_FIRST = 64,    /* left out where the enum, or the object's first field, has its first value, the default */
    VAEI_OF_SIGMA = 128,    /* left out where the likelihood has no sigma */
    VAEI_YES_OR_NO = 256,   /* an int: only whether it is 0 counts */
    VAEI_OF_SAMPLES = 512   /* left out where it is 1, the ELBO's default */
};

typedef struct vaei_field {
    const char     *name;
    vaei_field_kind kind;
    int             flags;
    size_t          place[2], size;     /* offsets in vae_config and vaei_settings; for other structs the same */
    const char   *(*names)(int);        /* of an enum's value, NULL beyond the last */
    const struct vaei_field *inner;     /* an object's fields, up to a row without a name */
} vaei_field;

#define VAEI_PLACES(type, other, member) \
    { offsetof(type, member), offsetof(other, member) }, sizeof(((type *)0)->member)
#define VAEI_ROW(type, name, kind, flags, member, names, inner) \
    { name, kind, flags, VAEI_PLACES(type, type, member), names, inner }
#define VAEI_CONFIG_ROW(name, kind, flags, member, names, inner) \
    { name, kind, flags, VAEI_PLACES(vae_config, vaei_settings, member), names, inner }
#define VAEI_LAST_ROW { NULL, VAEI_FIELD_INTS, 0, { 0, 0 }, 0, NULL, NULL }

VAEI_SETUP const char *vaei_name_of(const char *const *names, int count, int i) { return i < count ? names[i] : NULL; }
VAEI_SETUP const char *vaei_kind_name(int i) {
    static const char *const names[] = { "", "dense", "conv", "conv_transposed" };
    return vaei_name_of(names, 4, i);
}
VAEI_SETUP const char *vaei_objective_name(int i) {
    static const char *const names[] = { "", "elbo", "iwae", "autoencoder" };
    return vaei_name_of(names, 4, i);
}
VAEI_SETUP const char *vaei_initialization_name(int i) {
    static const char *const names[] = { "", "pytorch", "glorot", "he" };
    return vaei_name_of(names, 4, i);
}
VAEI_SETUP const char *vaei_layout_name(int i) {
    static const char *const names[] = { "", "channels_last", "channels_first" };
    return vaei_name_of(names, 3, i);
}
VAEI_SETUP const char *vaei_freeze_name(int i) {
    static const char *const names[] = { "", "none", "encoder", "decoder" };
    return vaei_name_of(names, 4, i);
}
VAEI_SETUP const char *vaei_part_name(int i) {
    static const char *const names[] = { "", "whole", "encoder", "decoder" };
    return vaei_name_of(names, 4, i);
}
VAEI_SETUP const char *vaei_activation_named(int i) {
    return i <= VAE_SOFTPLUS ? vaei_activation_name((vae_activation)i) : NULL;
}
VAEI_SETUP const char *vaei_likelihood_name(int i) { return i < VAEI_LIKELIHOODS ? vaei_likelihoods[i].name : NULL; }
VAEI_SETUP const char *vaei_optimizer_name(int i) { return i < VAEI_OPTIMIZERS ? vaei_optimizers[i].name : NULL; }
VAEI_SETUP const char *vaei_schedule_name(int i) { return i < VAEI_SCHEDULES ? vaei_schedules[i].name : NULL; }

static const vaei_field vaei_schedule_fields[] = {
    VAEI_ROW(vae_schedule, "kind", VAEI_FIELD_NAME, 0, kind, vaei_schedule_name, NULL),
    VAEI_ROW(vae_schedule, "steps", VAEI_FIELD_QUOTED, 0, steps, NULL, NULL),
    VAEI_ROW(vae_schedule, "warmup", VAEI_FIELD_QUOTED, 0, warmup, NULL, NULL),
    VAEI_ROW(vae_schedule, "from", VAEI_FIELD_REAL, 0, from, NULL, NULL),
    VAEI_ROW(vae_schedule, "to", VAEI_FIELD_REAL, 0, to, NULL, NULL),
    VAEI_LAST_ROW
};

static const vaei_field vaei_optimizer_fields[] = {
    VAEI_ROW(vae_optimizer, "kind", VAEI_FIELD_NAME, 0, kind, vaei_optimizer_name, NULL),
    VAEI_ROW(vae_optimizer, "learning_rate", VAEI_FIELD_SETTING, 0, learning_rate, NULL, NULL),
    VAEI_ROW(vae_optimizer, "beta1", VAEI_FIELD_SETTING, 0, beta1, NULL, NULL),
    VAEI_ROW(vae_optimizer, "beta2", VAEI_FIELD_SETTING, 0, beta2, NULL, NULL),
    VAEI_ROW(vae_optimizer, "epsilon", VAEI_FIELD_SETTING, 0, epsilon, NULL, NULL),
    VAEI_ROW(vae_optimizer, "momentum", VAEI_FIELD_SETTING, 0, momentum, NULL, NULL),
    VAEI_ROW(vae_optimizer, "weight_decay", VAEI_FIELD_SETTING, 0, weight_decay, NULL, NULL),
    VAEI_ROW(vae_optimizer, "schedule", VAEI_FIELD_OBJECT, VAEI_AS_ONE | VAEI_NOT_FIRST, schedule, NULL,
             vaei_schedule_fields),
    VAEI_ROW(vae_optimizer, "clip_norm", VAEI_FIELD_SETTING, 0, clip_norm, NULL, NULL),
    VAEI_LAST_ROW
};

static const vaei_field vaei_corruption_fields[] = {
    VAEI_ROW(vae_corruption, "kind", VAEI_FIELD_NAME, 0, kind, vaei_corruption_name, NULL),
    VAEI_ROW(vae_corruption, "amount", VAEI_FIELD_REAL, 0, amount, NULL, NULL),
    VAEI_LAST_ROW
};

/* In a row for a list of layers place[1] is no offset: 0 for the encoder, 1 for the decoder, 2 for the classifier. */
static const vaei_field vaei_config_fields[] = {
    VAEI_CONFIG_ROW("input", VAEI_FIELD_INTS, VAEI_REQUIRED | VAEI_IS_NETWORK | VAEI_AGREES, input, NULL, NULL),
    VAEI_CONFIG_ROW("latent", VAEI_FIELD_INTS, VAEI_REQUIRED | VAEI_IS_NETWORK | VAEI_AGREES, latent, NULL, NULL),
    { "encoder", VAEI_FIELD_LAYERS, 0, { offsetof(vae_config, encoder), 0 }, 0, NULL, NULL },
    { "decoder", VAEI_FIELD_LAYERS, 0, { offsetof(vae_config, decoder), 1 }, 0, NULL, NULL },
    VAEI_CONFIG_ROW("likelihood", VAEI_FIELD_NAME, VAEI_REQUIRED | VAEI_AGREES, likelihood, vaei_likelihood_name, NULL),
    VAEI_CONFIG_ROW("sigma", VAEI_FIELD_REAL, VAEI_AGREES | VAEI_OF_SIGMA, sigma, NULL, NULL),
    VAEI_CONFIG_ROW("sigma_per_pixel", VAEI_FIELD_INTS, VAEI_AGREES | VAEI_OF_SIGMA | VAEI_YES_OR_NO, sigma_per_pixel,
                    NULL, NULL),
    VAEI_CONFIG_ROW("standardize", VAEI_FIELD_INTS, VAEI_AGREES | VAEI_YES_OR_NO, standardize, NULL, NULL),
    VAEI_CONFIG_ROW("classes", VAEI_FIELD_INTS, VAEI_IS_NETWORK | VAEI_AGREES, classes, NULL, NULL),
    { "classifier", VAEI_FIELD_LAYERS, 0, { offsetof(vae_config, classifier), 2 }, 0, NULL, NULL },
    VAEI_CONFIG_ROW("classifier_weight", VAEI_FIELD_SETTING, VAEI_TAKEN, classifier_weight, NULL, NULL),
    VAEI_CONFIG_ROW("part", VAEI_FIELD_NAME, VAEI_NOT_FIRST, part, vaei_part_name, NULL),
    VAEI_CONFIG_ROW("beta", VAEI_FIELD_SETTING, VAEI_TAKEN, beta, NULL, NULL),
    VAEI_CONFIG_ROW("beta_schedule", VAEI_FIELD_OBJECT, VAEI_TAKEN | VAEI_AS_ONE | VAEI_NOT_FIRST, beta_schedule, NULL,
                    vaei_schedule_fields),
    VAEI_CONFIG_ROW("objective", VAEI_FIELD_NAME, VAEI_TAKEN | VAEI_NOT_FIRST, objective, vaei_objective_name, NULL),
    VAEI_CONFIG_ROW("samples", VAEI_FIELD_SIZE, VAEI_TAKEN | VAEI_OF_SAMPLES, samples, NULL, NULL),
    VAEI_CONFIG_ROW("free_bits", VAEI_FIELD_REAL, VAEI_TAKEN, free_bits, NULL, NULL),
    VAEI_CONFIG_ROW("capacity", VAEI_FIELD_REAL, VAEI_TAKEN, capacity, NULL, NULL),
    VAEI_CONFIG_ROW("capacity_schedule", VAEI_FIELD_OBJECT, VAEI_TAKEN | VAEI_AS_ONE | VAEI_NOT_FIRST,
                    capacity_schedule, NULL, vaei_schedule_fields),
    VAEI_CONFIG_ROW("initialization", VAEI_FIELD_NAME, 0, initialization, vaei_initialization_name, NULL),
    VAEI_CONFIG_ROW("layout", VAEI_FIELD_NAME, VAEI_OLD, layout, vaei_layout_name, NULL),
    VAEI_CONFIG_ROW("optimizer", VAEI_FIELD_OBJECT, VAEI_TAKEN, optimizer, NULL, vaei_optimizer_fields),
    VAEI_CONFIG_ROW("adam", VAEI_FIELD_OBJECT, VAEI_OLD, optimizer, NULL, vaei_optimizer_fields),
    VAEI_CONFIG_ROW("seed", VAEI_FIELD_QUOTED, VAEI_TAKEN, seed, NULL, NULL),
    VAEI_CONFIG_ROW("batch", VAEI_FIELD_SIZE, VAEI_TAKEN, batch, NULL, NULL),
    VAEI_CONFIG_ROW("freeze", VAEI_FIELD_NAME, VAEI_TAKEN | VAEI_NOT_FIRST, freeze, vaei_freeze_name, NULL),
    VAEI_CONFIG_ROW("keep_best", VAEI_FIELD_INTS, VAEI_TAKEN | VAEI_YES_OR_NO, keep_best, NULL, NULL),
    VAEI_CONFIG_ROW("tied", VAEI_FIELD_INTS, VAEI_AGREES | VAEI_IS_NETWORK | VAEI_YES_OR_NO, tied, NULL, NULL),
    VAEI_CONFIG_ROW("shared_heads", VAEI_FIELD_INTS, VAEI_AGREES | VAEI_IS_NETWORK | VAEI_YES_OR_NO, shared_heads,
                    NULL, NULL),
    VAEI_CONFIG_ROW("corruption", VAEI_FIELD_OBJECT, VAEI_TAKEN | VAEI_AS_ONE | VAEI_NOT_FIRST, corruption, NULL,
                    vaei_corruption_fields),
    VAEI_CONFIG_ROW("binarize", VAEI_FIELD_INTS, VAEI_TAKEN | VAEI_YES_OR_NO, binarize, NULL, NULL),
    VAEI_CONFIG_ROW("missing", VAEI_FIELD_INTS, VAEI_TAKEN | VAEI_YES_OR_NO, missing, NULL, NULL),
    VAEI_CONFIG_ROW("targets", VAEI_FIELD_INTS, VAEI_TAKEN | VAEI_YES_OR_NO, targets, NULL, NULL),
    VAEI_LAST_ROW
};

/* Which of these a layer has depends on its kind: see vaei_layer_mask. */
static const vaei_field vaei_layer_fields[] = {
    VAEI_ROW(vae_layer, "kind", VAEI_FIELD_NAME, VAEI_REQUIRED, kind, vaei_kind_name, NULL),
    VAEI_ROW(vae_layer, "shape", VAEI_FIELD_INTS, 0, shape, NULL, NULL),
    VAEI_ROW(vae_layer, "channels", VAEI_FIELD_INTS, 0, shape.channels, NULL, NULL),
    { "kernel", VAEI_FIELD_INTS, 0, { offsetof(vae_layer, kernel_height), 0 }, 2 * sizeof(int), NULL, NULL },
    { "stride", VAEI_FIELD_INTS, 0, { offsetof(vae_layer, stride_height), 0 }, 2 * sizeof(int), NULL, NULL },
    { "padding", VAEI_FIELD_PADDING, 0, { offsetof(vae_layer, top), 0 }, 4 * sizeof(int), NULL, NULL },
    { "output_padding", VAEI_FIELD_INTS, 0, { offsetof(vae_layer, output_padding_height), 0 }, 2 * sizeof(int), NULL,
      NULL },
    VAEI_ROW(vae_layer, "activation", VAEI_FIELD_NAME, VAEI_REQUIRED, activation, vaei_activation_named, NULL),
    VAEI_ROW(vae_layer, "dropout", VAEI_FIELD_REAL, 0, dropout, NULL, NULL),
    VAEI_ROW(vae_layer, "batch_norm", VAEI_FIELD_INTS, 0, batch_norm, NULL, NULL),
    VAEI_LAST_ROW
};
#define VAEI_OUTPUT_PADDING_ROW 64u
#define VAEI_DROPOUT_ROW 256u
#define VAEI_BATCH_NORM_ROW 512u

/* The fields that a layer of this kind has: bit i stands for row i of vaei_layer_fields. */
VAEI_SETUP unsigned vaei_layer_mask(const vae_layer *layer) {
    const unsigned output_padding = layer->kind == VAE_LAYER_CONV_TRANSPOSED ? VAEI_OUTPUT_PADDING_ROW : 0;
    const unsigned optional = output_padding | (layer->dropout > 0 ? VAEI_DROPOUT_ROW : 0) |
                              (layer->batch_norm ? VAEI_BATCH_NORM_ROW : 0);
    return (layer->kind == VAE_LAYER_DENSE ? 1u | 2u | 128u : 1u | 4u | 8u | 16u | 32u | 128u) | optional;
}

/* Where training stands: a checkpoint's vae.state. */
static const vaei_field vaei_state_fields[] = {
    VAEI_ROW(vae_model, "step", VAEI_FIELD_QUOTED, VAEI_REQUIRED, step, NULL, NULL),
    VAEI_ROW(vae_model, "epoch", VAEI_FIELD_QUOTED, VAEI_REQUIRED, epoch, NULL, NULL),
    VAEI_ROW(vae_model, "position", VAEI_FIELD_QUOTED, VAEI_REQUIRED, position, NULL, NULL),
    VAEI_ROW(vae_model, "samples_drawn", VAEI_FIELD_QUOTED, VAEI_REQUIRED, samples_drawn, NULL, NULL),
    VAEI_ROW(vae_model, "epoch_rows", VAEI_FIELD_QUOTED, 0, epoch_rows, NULL, NULL),
    VAEI_ROW(vae_model, "epoch_batch", VAEI_FIELD_QUOTED, 0, epoch_batch, NULL, NULL),
    VAEI_ROW(vae_model, "epoch_keeps_order", VAEI_FIELD_INTS, 0, epoch_keeps_order, NULL, NULL),
    VAEI_ROW(vae_model, "best_epoch", VAEI_FIELD_QUOTED, 0, best_epoch, NULL, NULL),
    VAEI_ROW(vae_model, "best_loss", VAEI_FIELD_SIGNED, 0, best_loss, NULL, NULL),
    VAEI_ROW(vae_model, "waited", VAEI_FIELD_QUOTED, 0, waited, NULL, NULL),
    VAEI_ROW(vae_model, "plateau", VAEI_FIELD_QUOTED, 0, plateau, NULL, NULL),
    VAEI_ROW(vae_model, "shows_best", VAEI_FIELD_INTS, 0, shows_best, NULL, NULL),
    VAEI_LAST_ROW
};

/* The types of numbers that are read; the others that safetensors has are refused. */
enum { VAEI_F32, VAEI_F64, VAEI_F16, VAEI_BF16, VAEI_TYPES };

VAEI_SETUP size_t vaei_type_size(int type) { return type == VAEI_F64 ? 8 : type == VAEI_F32 ? 4 : 2; }

typedef struct vaei_file_tensor {
    size_t   name_at, type_at;      /* of the strings */
    int      type, rank;            /* a type that is not read: VAEI_TYPES */
    uint64_t shape[4];              /* the first dimensions */
    uint64_t offsets[2];            /* where the data begin and end */
} vaei_file_tensor;

static const vaei_field vaei_tensor_fields[] = {
    VAEI_ROW(vaei_file_tensor, "dtype", VAEI_FIELD_TYPE, VAEI_REQUIRED, type, NULL, NULL),
    VAEI_ROW(vaei_file_tensor, "shape", VAEI_FIELD_SHAPE, VAEI_REQUIRED, shape, NULL, NULL),
    VAEI_ROW(vaei_file_tensor, "data_offsets", VAEI_FIELD_OFFSETS, VAEI_REQUIRED, offsets, NULL, NULL),
    VAEI_LAST_ROW
};

/* An enum's size is the compiler's choice. */
VAEI_SETUP int vaei_enum_value(const void *at, size_t size) {
    int           number = 0;
    unsigned char octet;                /* windows.h has a type called byte */
    if (size == sizeof number) memcpy(&number, at, sizeof number);
    else {
        memcpy(&octet, at, 1);
        number = octet;
    }
    return number;
}

/* The same for writing; an enum that is not an int is a byte. */
VAEI_SETUP void vaei_set_enum(void *at, size_t size, int number) {
    const unsigned char octet = (unsigned char)number;
    if (size == sizeof number) memcpy(at, &number, sizeof number);
    else memcpy(at, &octet, 1);
}

/* Whether the field is left at 0; an object that overrides as a whole is where its first field, an enum, is. */
VAEI_SETUP int vaei_field_is_zero(const vaei_field *field, int column, const void *base) {
    const unsigned char *bytes = (const unsigned char *)base + field->place[column];
    size_t               i;
    if (field->inner && field->flags & VAEI_AS_ONE) return !vaei_enum_value(bytes, field->inner->size);
    if (field->kind == VAEI_FIELD_REAL || field->kind == VAEI_FIELD_SETTING || field->kind == VAEI_FIELD_SIGNED) {
        vae_real real;                  /* -0 is 0, too */
        memcpy(&real, bytes, sizeof real);
        return vaei_finite(real) && real == 0;
    }
    for (i = 0; i < field->size; i++)
        if (bytes[i]) return 0;
    return 1;
}

/* ---- reading fields ---- */

static const char vaei_unknown[] = "a name is unknown";

/* The largest number of the network that is read; vae_create then checks each more closely. */
#define VAEI_MAX_INT ((unsigned)-1 / 2 < VAEI_MAX_SIDE ? (unsigned)-1 / 2 : VAEI_MAX_SIDE)

/* Reads an array of numbers and keeps the first `most`. Returns how many there are, or -1. */
VAEI_SETUP int vaei_json_numbers(vaei_json *json, int limit, uint64_t largest, uint64_t *numbers, int most) {
    uint64_t number;
    int      count = 0;
    if (!vaei_json_expect(json, '[', "an array is missing")) return -1;
    while (vaei_json_item(json, ']', &count)) {
        if (count > limit) return vaei_json_wrong(json, limit == VAEI_MAX_RANK
                                 ? "it has more than " VAEI_WRITTEN(VAEI_MAX_RANK) " numbers"
                                 : "it has too many numbers") - 1;
        if (!vaei_json_unsigned(json, largest, &number)) return -1;
        if (count <= most) numbers[count - 1] = number;
    }
    return json->problem ? -1 : count;
}

/* One number, or an array of `count`, at most 4, stored as ints. */
VAEI_SETUP int vaei_json_ints(vaei_json *json, int count, void *to) {
    uint64_t numbers[4];
    int      number, read = 1, i;
    if (count == 1) vaei_json_unsigned(json, VAEI_MAX_INT, numbers);
    else read = vaei_json_numbers(json, count, VAEI_MAX_INT, numbers, 4);
    if (json->problem) return 0;
    if (read < count) return vaei_json_wrong(json, "it has too few numbers");
    for (i = 0; i < count; i++) {
        number = (int)numbers[i];
        memcpy((char *)to + (size_t)i * sizeof number, &number, sizeof number);
    }
    return 1;
}

/* An enum's value, by its name. An unknown name is pointed at, since a newer version may have written it. */
VAEI_SETUP int vaei_json_choice(vaei_json *json, const vaei_field *field, void *to) {
    const size_t at = (vaei_json_peek_past_space(json), json->at);
    char         name[32];
    int          i;
    if (!vaei_json_name(json, name, sizeof name)) return 0;
    /* An enum's 0 stands for the default and has no name in files. */
    for (i = 1; field->names(i); i++)
        if (!strcmp(field->names(i), name)) {
            vaei_set_enum(to, field->size, i);
            return 1;
        }
    json->at = at;
    return vaei_json_wrong(json, vaei_unknown);
}

/* The rule's name, or the amounts: top, bottom, left, right. */
VAEI_SETUP int vaei_json_padding(vaei_json *json, vae_layer *layer) {
    char name[8];
    layer->padding = vaei_json_peek_past_space(json) == '"' ? VAE_SAME : VAE_EXPLICIT;
    if (layer->padding == VAE_EXPLICIT) return vaei_json_ints(json, 4, &layer->top);
    return vaei_json_name(json, name, sizeof name) &&
           (!strcmp(name, "same") || vaei_json_wrong(json, "a padding rule is unknown"));
}

/* A dtype that is not read is no error here: the tensor may be one that is left out. */
VAEI_SETUP int vaei_json_type(vaei_json *json, vaei_file_tensor *tensor) {
    static const char *const types[] = { "F32", "F64", "F16", "BF16" };
    char                     name[8];
    vaei_json_peek_past_space(json);
    tensor->type_at = json->at;
    if (!vaei_json_name(json, name, sizeof name)) return 0;
    for (tensor->type = 0; tensor->type < VAEI_TYPES && strcmp(types[tensor->type], name); tensor->type++) {}
    return 1;
}

/* Skips a list, up to its closing bracket: its content is read later. */
VAEI_SETUP int vaei_json_pass_list(vaei_json *json) {
    int32_t c;
    int     depth = 0;
    do {
        /* Brackets in strings do not count. */
        if ((c = vaei_json_peek_past_space(json)) == '"') {
            if (!vaei_json_string(json, 0, NULL, 0)) return 0;
            continue;
        }
        if (c < 0 || (!depth && c != '[')) return vaei_json_wrong(json, "a list is missing or does not end");
        depth += (c == '[') - (c == ']');
        vaei_json_next(json);
    } while (depth);
    return 1;
}

VAEI_SETUP int vaei_json_object(vaei_json *json, const vaei_field *fields, int column, void *base, uint64_t *seen);

/* The value of a field, into the struct at `base`; `column` chooses among the field's two places. */
VAEI_SETUP int vaei_json_value(vaei_json *json, const vaei_field *field, int column, void *base) {
    char          *to = (char *)base + field->place[column];
    vae_real       real = 0;
    uint64_t       number;
    size_t         size;
    uint64_t       seen;
    switch (field->kind) {
    case VAEI_FIELD_INTS: return vaei_json_ints(json, (int)(field->size / sizeof(int)), to);
    case VAEI_FIELD_NAME: return vaei_json_choice(json, field, to);
    case VAEI_FIELD_REAL:
    case VAEI_FIELD_SIGNED:
    case VAEI_FIELD_SETTING:
        if (!vaei_json_real(json, column ? NULL : &real)) return 0;         /* settings do not make a network */
        if (real < 0 && field->kind != VAEI_FIELD_SIGNED) return vaei_json_wrong(json, "a setting is negative");
        if (real == 0) real = field->kind == VAEI_FIELD_SETTING ? VAE_ZERO : 0;
        memcpy(to, &real, sizeof real);
        return 1;
    case VAEI_FIELD_SIZE:
        if (!vaei_json_unsigned(json, (size_t)-1 >> 1, &number)) return 0;
        if (!number) return vaei_json_wrong(json, "it is 0");
        size = (size_t)number;
        memcpy(to, &size, sizeof size);
        return 1;
    case VAEI_FIELD_QUOTED:
        if (!vaei_json_expect(json, '"', "digits in quotes are missing") ||
            !vaei_json_unsigned(json, (uint64_t)-1, &number) || !vaei_json_expect(json, '"', "a string does not end"))
            return 0;
        memcpy(to, &number, sizeof number);
        return 1;
    case VAEI_FIELD_OBJECT: return vaei_json_object(json, field->inner, column, to, &seen);
    case VAEI_FIELD_LAYERS:
        vaei_json_peek_past_space(json);
        json->layers_at[field->place[1]] = json->at;
        return vaei_json_pass_list(json);
    case VAEI_FIELD_PADDING: return vaei_json_padding(json, (vae_layer *)base);
    case VAEI_FIELD_TYPE: return vaei_json_type(json, (vaei_file_tensor *)base);
    case VAEI_FIELD_SHAPE: {
        vaei_file_tensor *tensor = (vaei_file_tensor *)base;
        return (tensor->rank = vaei_json_numbers(json, VAEI_MAX_RANK, (uint64_t)-1, tensor->shape, 4)) >= 0;
    }
    default:
        return vaei_json_numbers(json, 2, (uint64_t)-1, ((vaei_file_tensor *)base)->offsets, 2) == 2 ||
               vaei_json_wrong(json, "it has not two numbers");
    }
}

/* Reads the name that comes next, and its colon. Returns which of the fields it is, or -1 after a problem; each may
   come once. */
VAEI_SETUP int vaei_json_field(vaei_json *json, const vaei_field *fields, uint64_t *seen) {
    const size_t at = json->at;
    char         name[32];
    int          i;
    if (!vaei_json_name(json, name, sizeof name)) return -1;
    for (i = 0; fields[i].name && strcmp(fields[i].name, name); i++) {}
    if (!fields[i].name || *seen >> i & 1u) {
        json->at = at;
        return vaei_json_wrong(json, fields[i].name ? "a name comes twice" : vaei_unknown) - 1;
    }
    *seen |= (uint64_t)1 << i;
    return vaei_json_expect(json, ':', "a colon is missing") ? i : -1;
}

/* Reads an object of these fields. `seen` receives a bit for each that was there. */
VAEI_SETUP int vaei_json_object(vaei_json *json, const vaei_field *fields, int column, void *base, uint64_t *seen) {
    int count = 0, i;
    *seen = 0;
    if (!vaei_json_expect(json, '{', "an object is missing")) return 0;
    while (vaei_json_item(json, '}', &count)) {
        if ((i = vaei_json_field(json, fields, seen)) < 0) return 0;
        if (vaei_json_value(json, &fields[i], column, base)) continue;
        /* The innermost field is named: the objects around it find one there. */
        if (!json->field) json->field = fields[i].name;
        return 0;
    }
    for (i = 0; fields[i].name && !json->problem; i++)
        if (fields[i].flags & VAEI_REQUIRED && !(*seen >> i & 1u)) {
            json->field = fields[i].name;
            vaei_json_wrong(json, "it is missing");
        }
    return !json->problem;
}

/* A layer must have just the fields of its kind; three of them are optional. */
VAEI_SETUP int vaei_json_layer(vaei_json *json, vae_layer *layer) {
    uint64_t seen, wanted;
    memset(layer, 0, sizeof *layer);
    if (!vaei_json_object(json, vaei_layer_fields, 0, layer, &seen)) return 0;
    /* Output padding may be absent, and dropout or batch_norm may be there and say 0. */
    wanted = vaei_layer_mask(layer);
    return (seen | (wanted & VAEI_OUTPUT_PADDING_ROW)) ==
               (wanted | (seen & (VAEI_DROPOUT_ROW | VAEI_BATCH_NORM_ROW))) ||
           vaei_json_wrong(json, "a layer lacks something or has what its kind does not");
}

static const char vaei_many_layers[] = "a list has more layers than VAE_MAX_LAYERS";

/* Reads a list of layers and, unless `layers` is NULL, stores them there. */
VAEI_SETUP int vaei_json_layers(vaei_json *json, vae_layer *layers) {
    vae_layer layer;
    int       count = 0;
    if (!vaei_json_expect(json, '[', "a list of layers is missing")) return 0;
    while (vaei_json_item(json, ']', &count)) {
        if (count > VAE_MAX_LAYERS) return vaei_json_wrong(json, vaei_many_layers);
        if (!vaei_json_layer(json, layers ? &layers[count - 1] : &layer)) return 0;
    }
    return count ? !json->problem : vaei_json_wrong(json, "a list of layers is empty");
}

/* ---- reading the header ----

   A vaei_file remembers where the metadata's strings of our own are, and nothing else; a vaei_walk goes through the
   tensors, one after the other, and may be begun as often as needed. What it gives has been checked as JSON, but is
   only what the file claims: whether that is true is found in vaei_check_place and vaei_check_cover. */

/* A file in memory, or its header alone, and where in the header the strings of our metadata begin and end. */
typedef struct vaei_file {
    const unsigned char *bytes, *data;                  /* `data` NULL: only the header is there */
    size_t               header_end, data_size;         /* the header begins at byte 8 */
    size_t               metadata_at, metadata_end;
    size_t               config_at, config_end;         /* of the strings in the metadata; 0: there is none */
    size_t               state_at, state_end;
    size_t               version_at, version_end;
    int                  version;
    int                  tied;                          /* its network is, once its config has been read */
} vaei_file;

/* A walk through a header, tensor by tensor. */
typedef struct vaei_walk {
    vaei_json json;
    int       count;
} vaei_walk;

#ifdef VAE_BASIC
#define VAEI_OR_NOT_BASIC ", or needs what a build with VAE_BASIC lacks"
#else
#define VAEI_OR_NOT_BASIC ""
#endif

/* An unknown name in our own metadata comes from a newer version, or from a build that has more: only vae.h writes
   these. */
VAEI_SETUP vae_status vaei_fail_json(const vaei_json *json, const char *what, vae_error *error) {
    char name[40];
    if (json->problem == vaei_unknown && json->inner) {
        vaei_json_shown(json, json->problem_at, name, sizeof name);
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "the file is newer than this vae.h (" VAE_VERSION ")"
                         VAEI_OR_NOT_BASIC ": it has `%s`%s%s", name, json->field ? " for " : "",
                         json->field ? json->field : "");
    }
    if (VAEI_IS_BASIC && json->problem == vaei_many_layers)
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "the file's network has more layers than a build with VAE_BASIC "
                         "takes, " VAEI_WRITTEN(VAE_MAX_LAYERS) " in the encoder and as many in the decoder: build "
                         "without");
    return vaei_fail(error, VAE_ERROR_FORMAT, "%s at byte %z: %s%s%s", what, json->problem_at,
                     json->field ? json->field : "", json->field ? ": " : "", json->problem);
}

#define VAEI_NAMES 64                   /* that a walk compares with all that follow */

/* Whether no name of the metadata comes twice. A walk for each name could take very long, since values may be long. */
VAEI_SETUP int vaei_check_names(vaei_json *json, const vaei_file *file, int count) {
    size_t names[VAEI_NAMES];
    int    first, read, i;
    for (first = 0; first < count; first += VAEI_NAMES) {
        vaei_json again = vaei_json_of(json->bytes, file->metadata_at, json->end, 0);
        for (read = 0; vaei_json_item(&again, '}', &read);) {
            for (i = 0; i < VAEI_NAMES && first + i < read - 1; i++) {
                if (!vaei_json_same(json, names[i], again.at)) continue;
                json->at = again.at;
                return vaei_json_wrong(json, "a name comes twice");
            }
            if (i < VAEI_NAMES && first + i == read - 1) names[i] = again.at;
            vaei_json_string(&again, 0, NULL, 0);
            vaei_json_expect(&again, ':', "");
            vaei_json_string(&again, 0, NULL, 0);
        }
    }
    return 1;
}

/* Notes where our own metadata are; others may hold anything. */
VAEI_SETUP int vaei_json_metadata(vaei_json *json, vaei_file *file) {
    char key[16];
    int  count = 0;
    if (!vaei_json_expect(json, '{', "the metadata are not an object")) return 0;
    file->metadata_at = json->at;
    while (vaei_json_item(json, '}', &count)) {
        size_t at;
        if (count > VAEI_MAX_METADATA)
            return vaei_json_wrong(json, "the metadata have more than " VAEI_WRITTEN(VAEI_MAX_METADATA) " entries");
        if (!vaei_json_name(json, key, sizeof key) || !vaei_json_expect(json, ':', "a colon is missing")) return 0;
        vaei_json_peek_past_space(json);
        at = json->at + 1;
        if (!vaei_json_string(json, 0, NULL, 0)) return 0;
        /* A longer key has been cut, to something that is none of these. */
        if (!strcmp(key, "vae.config")) { file->config_at = at; file->config_end = json->at - 1; }
        if (!strcmp(key, "vae.state")) { file->state_at = at; file->state_end = json->at - 1; }
        if (!strcmp(key, "vae.version")) { file->version_at = at; file->version_end = json->at - 1; }
    }
    file->metadata_end = json->at;
    return !json->problem && vaei_check_names(json, file, count);
}

/* At the header's opening bracket. */
VAEI_SETUP vaei_walk vaei_walk_begin(const vaei_file *file) {
    vaei_walk walk;
    walk.json = vaei_json_of(file->bytes, 8, file->header_end, 0);
    walk.count = 0;
    vaei_json_expect(&walk.json, '{', "the header is not a JSON object");
    return walk;
}

/* The next tensor; 0 at the end and after a problem. Metadata that are met are noted in `file` the first time, and
   later skipped, since they may be long. */
VAEI_SETUP int vaei_walk_next(vaei_walk *walk, vaei_file *file, vaei_file_tensor *tensor) {
    vaei_json *json = &walk->json;
    char       name[16];
    uint64_t   seen;
    while (vaei_json_item(json, '}', &walk->count)) {
        if (walk->count > VAEI_MAX_FILE_TENSORS)
            return vaei_json_wrong(json, "there are more than " VAEI_WRITTEN(VAEI_MAX_FILE_TENSORS) " tensors");
        memset(tensor, 0, sizeof *tensor);
        tensor->name_at = json->at;
        if (!vaei_json_name(json, name, sizeof name) || !vaei_json_expect(json, ':', "a colon is missing")) return 0;
        if (strcmp(name, "__metadata__")) {
            return vaei_json_object(json, vaei_tensor_fields, 0, tensor, &seen);
        }
        if (file->metadata_at && json->at < file->metadata_at) json->at = file->metadata_end;
        else if (file->metadata_at) return vaei_json_wrong(json, "a name comes twice");
        else if (!vaei_json_metadata(json, file)) return 0;
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
        /* an overlong form, half of a surrogate pair, beyond the last character */
        if ((c == 0xE0 && bytes[at + 1] < 0xA0) || (c == 0xED && bytes[at + 1] > 0x9F) ||
            (c == 0xF0 && bytes[at + 1] < 0x90) || (c == 0xF4 && bytes[at + 1] > 0x8F)) return at;
        at += more + 1;
    }
    return at;
}

/* Whether these are a text's first bytes. Its last character may be cut off. */
VAEI_SETUP int vaei_is_text(const unsigned char *bytes, size_t size) {
    size_t i;
    for (i = 0; i < size; i++)
        if (bytes[i] < 32 ? bytes[i] < '\t' || bytes[i] > '\r' : bytes[i] == 127) return 0;
    return size >= 8 && vaei_utf8_valid(bytes, size) + 3 >= size;
}

/* What a file is that is not a safetensors file, and what to do about it; NULL where that cannot be told. */
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
    if (vaei_is_text(bytes, vaei_min_size(known, 24)))
        return "this is a text, such as a table or JSON, and no safetensors file: give a model's file";
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

/* The header's length, from the file's first eight bytes. */
VAEI_SETUP vae_status vaei_header_length(const unsigned char *bytes, size_t size, size_t *length, vae_error *error) {
    uint64_t number = 0;
    int      i;
    if (size < 8)
        return vaei_fail(error, VAE_ERROR_FORMAT, "the file has %z bytes: it is empty, cut off or not a safetensors "
                         "file", size);
    for (i = 7; i >= 0; i--) number = number << 8 | bytes[i];
    if (number > VAEI_MAX_HEADER)
        return vaei_fail(error, VAE_ERROR_FORMAT, "not a safetensors file: its header would be larger than %s",
                         size < VAEI_MAX_HEADER ? "the file"
                                                : VAEI_WRITTEN(VAEI_MAX_HEADER) " bytes, the most that there may be");
    if (number > size - 8)
        return vaei_fail(error, VAE_ERROR_FORMAT, "the file has %z bytes, its header alone should have %z: it is cut "
                         "off or not a safetensors file", size, (size_t)number);
    *length = (size_t)number;
    return VAE_OK;
}

/* The version of the format, which says how the rest of the metadata is to be read. */
VAEI_SETUP vae_status vaei_read_version(vaei_file *file, vae_error *error) {
    vaei_json json = vaei_json_of(file->bytes, file->version_at, file->version_end, 0);
    uint64_t  version = 0;
    if (!file->version_at || !vaei_json_unsigned(&json, (uint64_t)-1, &version) || json.at < json.end || !version)
        return vaei_fail(error, VAE_ERROR_FORMAT, "the file's metadata have vae.config without a vae.version that is a "
                         "number: they are damaged");
    if (version > VAEI_FORMAT_VERSION)
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "the file is newer than this vae.h (" VAE_VERSION "): its "
                         "vae.version is %z, this one reads up to %d", (size_t)version, VAEI_FORMAT_VERSION);
    file->version = (int)version;
    return VAE_OK;
}

/* The same with the first `known` bytes at hand. A file of another kind is recognised by what it begins with, so
   that the error can say what to do about it. */
VAEI_SETUP vae_status vaei_check_beginning(const unsigned char *bytes, size_t known, size_t size, size_t *length,
                                           vae_error *error) {
    const vae_status  status = vaei_header_length(bytes, size, length, error);
    const char *const kind = status == VAE_OK ? NULL : vaei_foreign_kind(bytes, known);
    return kind ? vaei_fail(error, VAE_ERROR_FORMAT, "%s", kind) : status;
}

/* Checks all of the header's syntax and finds the metadata. Of `bytes` only the header is read. */
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
    /* Once for the whole header, so that whoever reads a string need not look again. */
    valid = vaei_utf8_valid(file->bytes + 8, length);
    if (valid < length)
        return vaei_fail(error, VAE_ERROR_FORMAT, "not a safetensors file, or a damaged one: byte %z of the header is "
                         "not UTF-8", 8 + valid);
    walk = vaei_walk_begin(file);
    while (vaei_walk_next(&walk, file, &tensor)) {}
    if (walk.json.problem)
        return vaei_fail_json(&walk.json, "not a safetensors file, or a damaged one: the header is wrong", error);
    return file->config_at ? vaei_read_version(file, error) : VAE_OK;
}

/* ---- numbers in files: little-endian, of four types. The bits are put together by hand, so that it does not matter
   how the host stores its numbers ---- */

/* The number nearest to the double with these bits, a tie going to the even one; returns 0 where it is not finite. */
VAEI_SETUP int vaei_decode_double(uint64_t bits, vae_real *number) {
#ifdef VAE_DOUBLE
    memcpy(number, &bits, sizeof bits);
    return vaei_finite(*number);
#else
    const int exponent = (int)(bits >> 52 & 0x7FF) - (1023 - 127);
    uint64_t  fraction = (bits & (((uint64_t)1 << 52) - 1)) | (uint64_t)1 << 52, rest;
    int       cut = 29, k;
    uint32_t  word;
    if (exponent >= 255) return 0;
    for (k = exponent; k < 1 && cut < 54; k++) cut++;           /* denormal as a float: fewer bits are left */
    rest = fraction & (((uint64_t)1 << cut) - 1);
    word = (uint32_t)(fraction >> cut) + (uint32_t)(exponent < 1 ? 0 : exponent - 1) * 0x800000u;
    fraction = (uint64_t)1 << (cut - 1);
    word += rest > fraction || (rest == fraction && word & 1);  /* may carry into the exponent, as it should */
    if (word >= 0x7F800000u) return 0;
    *number = vaei_bits_real((int32_t)(word | (uint32_t)(bits >> 63) << 31));
    return 1;
#endif
}

/* Reads the number at `at`; returns 0 where it is not finite as a vae_real. */
VAEI_SETUP int vaei_decode_number(int type, const unsigned char *at, vae_real *number) {
    const size_t size = vaei_type_size(type);
    uint64_t     bits = 0;
    uint32_t     low;
    float        single;
    size_t       i;
    for (i = size; i > 0; i--) bits = bits << 8 | at[i - 1];
    if (type == VAEI_F64) return vaei_decode_double(bits, number);
    low = (uint32_t)bits;
    if (type == VAEI_F16) {
        /* Five bits of exponent, biased by 15 where a float's is by 127; exponent 0 is fraction / 2^24. */
        const uint32_t exponent = low >> 10 & 31, sign = low >> 15, fraction = low & 1023;
        if (exponent == 31) return 0;
        if (!exponent) {
            single = (float)fraction / 16777216;
            *number = (vae_real)(sign ? -single : single);
            return 1;
        }
        low = sign << 31 | (exponent + 112) << 23 | fraction << 13;
    } else if (type == VAEI_BF16) low <<= 16;       /* the upper half of a float */
    if ((low >> 23 & 255) == 255) return 0;
    memcpy(&single, &low, sizeof single);
    *number = (vae_real)single;
    return 1;
}

/* ---- matching a file's tensors with a model's ----

   First everything that the header says is checked (vaei_match_header), then the numbers are read (vaei_match_numbers).
   Both walk through the header and look each tensor up by its name, in whatever order the file has them. */

#define VAEI_MOST_INDICES 128           /* of an nn.Sequential: a layer and what stands about it take 6 at most */

typedef struct vaei_matching {
    const vae_model *model;
    vaei_file       *file;
    unsigned         blocks;            /* those that are wanted besides the weights, as in vaei_block_mask */
    int              is_transfer;       /* what does not fit is left out */
    size_t           taken;             /* tensors that fit */
    int              is_tied;           /* the decoder's weights are the encoder's: see vaei_find_ties */
    unsigned char    tied[VAEI_MOST_INDICES / 8];       /* a bit for each N of the file's encoder.N.weight */
    unsigned char    seen[VAEI_BLOCKS][(VAEI_MAX_TENSORS + 7) / 8];
} vaei_matching;

/* Whether the file has this tensor of the model's. */
VAEI_SETUP int vaei_is_seen(const vaei_matching *matching, int block, size_t index) {
    return matching->seen[block][index / 8] >> (index % 8) & 1;
}

/* Whether the model takes this block from the file. */
VAEI_SETUP int vaei_is_wanted(const vaei_matching *matching, int block) {
    return !block || (matching->blocks >> block & 1u);
}

/* "[32, 1, 3, 3]". */
VAEI_SETUP void vaei_put_dimensions(vaei_text *text, const uint64_t *shape, int rank) {
    int i;
    vaei_put(text, '[');
    for (i = 0; i < rank; i++) {
        if (i == 4 || text->length > 16) {      /* absurd dimensions: the sentence must stay whole */
            vaei_put_string(text, ", ...");
            break;
        }
        if (i) vaei_put_string(text, ", ");
        vaei_put_unsigned(text, shape[i]);
    }
    vaei_put(text, ']');
}

typedef struct vaei_shown {         /* a tensor in a sentence: "fc1.weight [400, 784]" */
    char name[57], shape[44];
} vaei_shown;

VAEI_SETUP void vaei_show_shape(vaei_shown *shown, const uint64_t *shape, int rank) {
    vaei_text text = vaei_text_in(shown->shape, sizeof shown->shape);
    vaei_put_dimensions(&text, shape, rank);
    vaei_end_text(&text);
}

/* The string at `at` in the header. */
VAEI_SETUP void vaei_show_string(const vaei_file *file, size_t at, char *out, size_t size) {
    const vaei_json json = vaei_json_of(file->bytes, 8, file->header_end, 0);
    vaei_json_shown(&json, at, out, size);
}

VAEI_SETUP void vaei_show_found(vaei_shown *shown, const vaei_file *file, const vaei_file_tensor *found) {
    vaei_show_string(file, found->name_at, shown->name, sizeof shown->name);
    vaei_show_shape(shown, found->shape, found->rank);
}

VAEI_SETUP vae_status vaei_fail_tensor(const vaei_file *file, const vaei_file_tensor *found, const char *what,
                                       vae_error *error) {
    char name[57];
    vaei_show_string(file, found->name_at, name, sizeof name);
    return vaei_fail(error, VAE_ERROR_FORMAT, "tensor %s %s", name, what);
}

VAEI_SETUP vae_status vaei_fail_type(const vaei_file *file, const vaei_file_tensor *found, vae_error *error) {
    vaei_shown shown;
    vaei_show_string(file, found->name_at, shown.name, sizeof shown.name);
    vaei_show_string(file, found->type_at, shown.shape, sizeof shown.shape);
    return vaei_fail(error, VAE_ERROR_FORMAT, "tensor %s has dtype %s: save it as F32, F16, BF16 or F64", shown.name,
                     shown.shape);
}

/* Whether the file's tensor has the shape of the model's. */
VAEI_SETUP int vaei_has_shape(const vaei_file_tensor *found, const vae_tensor *wanted) {
    int i;
    for (i = 0; i < found->rank && i < 4; i++)
        if (found->shape[i] != wanted->shape[i]) return 0;
    return found->rank == wanted->rank;
}

/* The model's tensor of this name; its count where there is none. */
VAEI_SETUP size_t vaei_index_named(const vae_model *model, const char *name, vae_tensor *tensor) {
    size_t index;
    for (index = 0; index < vae_tensor_count(model); index++) {
        vae_tensor_at(model, index, tensor, NULL);
        if (!strcmp(tensor->name, name)) break;
    }
    return index;
}

/* N where this is "encoder.N.weight", of a layer and not of its normalisation; else -1. */
VAEI_SETUP int vaei_encoder_number(const char *name, const vaei_file_tensor *found) {
    int number = 0, i = 8;
    if (found->rank < 2 || strncmp(name, "encoder.", 8)) return -1;
    while (name[i] >= '0' && name[i] <= '9' && number < VAEI_MOST_INDICES) number = 10 * number + (name[i++] - '0');
    return i > 8 && number < VAEI_MOST_INDICES && !strcmp(name + i, ".weight") ? number : -1;
}

/* A tied model's file has no weights for the decoder, whose layers use those of mean and then the encoder's, the last
   first. A decoder alone has weights of its own and takes them from there, transposed. */
VAEI_SETUP void vaei_find_ties(vaei_matching *matching) {
    vaei_walk        walk = vaei_walk_begin(matching->file);
    vaei_file_tensor found;
    char             name[48];
    matching->is_tied = VAEI_HAS(matching->file->tied && matching->model->settings.part == VAE_DECODER_ONLY);
    memset(matching->tied, 0, sizeof matching->tied);
    while (matching->is_tied && vaei_walk_next(&walk, matching->file, &found)) {
        int number;
        vaei_show_string(matching->file, found.name_at, name, sizeof name);
        if ((number = vaei_encoder_number(name, &found)) < 0) continue;
        matching->tied[number / 8] = (unsigned char)(matching->tied[number / 8] | 1u << number % 8);
    }
}

/* The decoder's tensor that is the encoder's of this name, with the shape that it has there; the model's count of
   tensors where there is none. */
VAEI_SETUP size_t vaei_index_tied(const vaei_matching *matching, const char *name, const vaei_file_tensor *found,
                                  vae_tensor *tensor) {
    const vaei_plan *plan = &matching->model->plan;
    int              number = vaei_encoder_number(name, found), layer = 0;
    size_t           rows;
    if (number < 0 && strcmp(name, "mean.weight")) return vae_tensor_count(matching->model);
    if (number >= 0)
        /* The decoder's layer 0 uses the mean's; which one uses this depends on how many of the encoder's follow it. */
        for (layer = 1; ++number < VAEI_MOST_INDICES;) layer += matching->tied[number / 8] >> number % 8 & 1;
    if (layer >= plan->decoder.layers) return vae_tensor_count(matching->model);
    vae_tensor_at(matching->model, plan->layers[layer].tensor, tensor, NULL);
    if (tensor->rank == 2) {            /* a convolution's is that of the transposed convolution as it is */
        rows = tensor->shape[1];
        tensor->shape[1] = tensor->shape[0];
        tensor->shape[0] = rows;
    }
    return plan->layers[layer].tensor;
}

/* Where number i of the file's tensor lies in the block. */
VAEI_SETUP size_t vaei_place_of(const vaei_matching *matching, size_t index, const vae_tensor *tensor, size_t i) {
    if (VAEI_HAS(matching->is_tied) && tensor->rank == 2)
        i = i % tensor->shape[1] * tensor->shape[0] + i / tensor->shape[1];
    return vaei_tensor_element(matching->model, index, i);
}

/* Which of the model's tensors it is, by its name, and in which block. */
VAEI_SETUP int vaei_identify(const vaei_matching *matching, const vaei_file_tensor *found, int *block, size_t *index,
                             vae_tensor *wanted) {
    char        shown[48];
    const char *name = shown;
    /* A longer name is cut, and is then still longer than any of the model's with a prefix. */
    vaei_show_string(matching->file, found->name_at, shown, sizeof shown);
    for (*block = VAEI_BLOCKS - 1; *block > 0; --*block) {
        const char *const prefix = vaei_block_prefix(matching->file->version, *block);
        if (!prefix || strncmp(name, prefix, strlen(prefix))) continue;
        name += strlen(prefix);
        break;
    }
    if (*block && !matching->file->config_at) return 0;         /* only our own files have moments */
    *index = vaei_index_named(matching->model, name, wanted);
    if (VAEI_HAS(matching->is_tied)) {
        if (*index < vae_tensor_count(matching->model) && wanted->rank > 1) return 0;   /* it has another name */
        if (*index == vae_tensor_count(matching->model)) *index = vaei_index_tied(matching, name, found, wanted);
    }
    return *index < vae_tensor_count(matching->model) && vaei_block_holds(*block, wanted);
}

/* PyTorch's batch normalisation counts its batches, which nothing needs. */
VAEI_SETUP int vaei_is_counter(const vaei_matching *matching, const vaei_file_tensor *found) {
    static const char tail[] = ".num_batches_tracked";
    char              shown[64];
    size_t            length;
    vaei_show_string(matching->file, found->name_at, shown, sizeof shown);
    length = strlen(shown);
    return length >= sizeof tail && !strcmp(shown + length + 1 - sizeof tail, tail);
}

/* Whether the tensor belongs to the half that the model was made without. */
VAEI_SETUP int vaei_is_other_half(const vaei_matching *matching, const vaei_file_tensor *found) {
    static const char *const names[2][4] = {
        { "decoder.", "log_sigma", "log_sigma", "log_sigma" }, { "encoder.", "mean.", "logvar.", "classifier." }
    };
    const vae_part           part = matching->model->settings.part;
    char                     shown[48];
    const char              *name = shown;
    int                      i;
    if (part != VAE_ENCODER_ONLY && part != VAE_DECODER_ONLY) return 0;
    vaei_show_string(matching->file, found->name_at, shown, sizeof shown);
    for (i = 1; i < VAEI_BLOCKS; i++) {
        const char *const prefix = vaei_block_prefix(matching->file->version, i);
        if (prefix && !strncmp(shown, prefix, strlen(prefix))) name = shown + strlen(prefix);
    }
    for (i = 0; i < 4; i++) {
        const char *const begin = names[part == VAE_DECODER_ONLY][i];
        if (!strncmp(name, begin, strlen(begin))) return 1;
    }
    return 0;
}

/* Whether names count a ZeroPad2d that VAE_SAME made necessary. */
VAEI_SETUP int vaei_pads_unevenly(const vae_model *model) {
    int i;
    for (i = 0; i < model->plan.layer_count; i++) {
        const vaei_layer *layer = &model->plan.layers[i];
        if (layer->connection && layer->connection->padding == VAE_SAME && !vaei_even_padding(layer)) return 1;
    }
    return 0;
}

/* The error for a tensor that the model does not have: it says which one may be meant. */
VAEI_SETUP vae_status vaei_fail_unknown(const vaei_matching *matching, const vaei_file_tensor *found,
                                        vae_error *error) {
    const vae_model *model = matching->model;
    const char      *rest, *pads = "";
    vaei_shown       shown;
    vae_tensor       tensor;
    char             listed[72];
    vaei_text        text = vaei_text_in(listed, sizeof listed);
    size_t           i, like = vae_tensor_count(model);
    int              moment;
    vaei_show_found(&shown, matching->file, found);
    moment = !strncmp(shown.name, "optimizer.", 10) || !strncmp(shown.name, "adam.", 5) ||
             !strncmp(shown.name, "best.", 5);
    /* A network saved as a part of another module has that module's name before all of its own. */
    for (rest = shown.name; !moment && (rest = strchr(rest, '.')) != NULL;)
        if (vaei_index_named(model, ++rest, &tensor) < vae_tensor_count(model)) {
            shown.name[rest - shown.name - 1] = 0;
            return vaei_fail(error, VAE_ERROR_FORMAT, "the file's tensor %s.%s is the network's %s with `%s.` before "
                             "it: save it without, as {k[%z:]: v for k, v in state.items()}", shown.name, tensor.name,
                             tensor.name, shown.name, (size_t)(rest - shown.name));
        }
    if (vaei_pads_unevenly(model))
        pads = " (its numbers count the ZeroPad2d that VAE_SAME needs; Conv2d's own padding is VAE_CONV_SYMMETRIC)";
    for (i = 0; i < vae_tensor_count(model); i++) {
        vae_tensor_at(model, i, &tensor, NULL);
        if (vaei_is_seen(matching, 0, i)) continue;
        if (!moment && like == vae_tensor_count(model) && vaei_has_shape(found, &tensor)) like = i;
        if (text.length < 30) vaei_format(&text, "%s%s", text.length ? ", " : "", tensor.name);
    }
    if (like < vae_tensor_count(model)) {
        vae_tensor_at(model, like, &tensor, NULL);
        return vaei_fail(error, VAE_ERROR_FORMAT, "the file's tensor %s %s is none of the network's: rename it if it "
                         "is %s, which has that shape%s", shown.name, shown.shape, tensor.name, pads);
    }
    return vaei_fail(error, VAE_ERROR_FORMAT, "the file's tensor %s %s is none of the network's%s%s%s: use the network "
                     "that the file was made for", shown.name, shown.shape, text.length ? ", which has " : "", listed,
                     text.length ? ", ..." : "");
}

/* The error for a shape that differs; a transposed tensor is recognised, since that is the usual reason. */
VAEI_SETUP vae_status vaei_fail_shape(const vaei_matching *matching, const vaei_file_tensor *found,
                                      const vae_tensor *wanted, vae_error *error) {
    const char *advice = "use the network that the file was made for";
    vaei_shown  shown, ours;            /* of `ours` only the shape */
    uint64_t    shape[4];
    int         i, reversed = found->rank == wanted->rank && found->rank > 1;
    for (i = 0; i < 4; i++) shape[i] = wanted->shape[i];
    for (i = 0; i < wanted->rank && reversed; i++) reversed = found->shape[i] == shape[wanted->rank - 1 - i];
    if (reversed) advice = "it is transposed, save its .T";
    for (i = 0; i < matching->model->plan.layer_count && reversed; i++)
        if (matching->model->plan.layers[i].connection)
            advice = "it is transposed, save its .T (and what Keras flattened, with channels first)";
    if (found->rank == 4 && wanted->rank == 4 && found->shape[0] == shape[2] && found->shape[1] == shape[3] &&
        found->shape[2] == shape[1] && found->shape[3] == shape[0])
        advice = "it is transposed, save its .permute(3, 2, 0, 1)";
    vaei_show_found(&shown, matching->file, found);
    vaei_show_shape(&ours, shape, wanted->rank);
    return vaei_fail(error, VAE_ERROR_FORMAT, "tensor %s has shape %s in the file and %s in the network: %s",
                     shown.name, shown.shape, ours.shape, advice);
}

/* Checks where a tensor's data lie. `wanted` is NULL for a tensor that is left out. */
VAEI_SETUP vae_status vaei_check_place(const vaei_file *file, const vaei_file_tensor *found, const vae_tensor *wanted,
                                       vae_error *error) {
    const uint64_t begin = found->offsets[0], end = found->offsets[1];
    if (begin > end || end > file->data_size)
        return vaei_fail_tensor(file, found, "should lie beyond the end of the file: it is cut off or damaged", error);
    if (!wanted) return VAE_OK;
    if (found->type == VAEI_TYPES)
        return vaei_fail_type(file, found, error);
    /* The shape has been found to be the network's, so its product does not overflow. */
    if (wanted->count > (size_t)-1 / 8 || end - begin != wanted->count * vaei_type_size(found->type))
        return vaei_fail_tensor(file, found, "does not have the number of bytes that its shape and dtype need: the "
                                "file is damaged", error);
    return VAE_OK;
}

/* Whether vae_load_matching takes this tensor. */
VAEI_SETUP int vaei_can_transfer(const vaei_file_tensor *found, int block, const vae_tensor *wanted) {
    return !block && vaei_has_shape(found, wanted) && found->type < VAEI_TYPES;
}

/* Checks everything about one tensor but its numbers. *block is -1 where it is left out: one of the half that the model
   does not hold, PyTorch's count of batches, or in a transfer whatever does not fit. Any other is an error. */
VAEI_SETUP vae_status vaei_match_tensor(vaei_matching *matching, const vaei_file_tensor *found, int *block,
                                        size_t *index, vae_tensor *wanted, vae_error *error) {
    const int known = vaei_identify(matching, found, block, index, wanted);
    if (!known && !matching->is_transfer && !vaei_is_other_half(matching, found) &&
        !vaei_is_counter(matching, found))
        return vaei_fail_unknown(matching, found, error);
    if (!known || (matching->is_transfer && !vaei_can_transfer(found, *block, wanted))) {
        *block = -1;
        return vaei_check_place(matching->file, found, NULL, error);
    }
    if (vaei_is_seen(matching, *block, *index))
        return vaei_fail_tensor(matching->file, found, "comes twice in the file", error);
    if (!vaei_has_shape(found, wanted)) return vaei_fail_shape(matching, found, wanted, error);
    return vaei_check_place(matching->file, found, wanted, error);
}

#define VAEI_SPANS 32                   /* that a walk keeps */

/* Each byte of the data must belong to exactly one tensor. If the header lists the tensors in the order of their data,
   one walk is enough. Else each walk also keeps the first of the spans that lie further on, sorted, and then follows
   them: with a walk for each tensor a small file could take very long. */
VAEI_SETUP vae_status vaei_check_cover(vaei_file *file, vae_error *error) {
    vaei_file_tensor found;
    size_t           spans[VAEI_SPANS][2];          /* begin and end; vaei_check_place has bounded them */
    size_t           at = 0, total = 0, met = 0, before;
    int              kept, i;
    do {
        vaei_walk walk = vaei_walk_begin(file);
        before = met;
        kept = 0;
        for (total = 0; vaei_walk_next(&walk, file, &found);) {
            const size_t begin = (size_t)found.offsets[0], end = (size_t)found.offsets[1];
            /* A tensor without numbers covers nothing, wherever it says that it lies. */
            if (begin == end) continue;
            total++;
            if (begin == at) {
                at = end;
                met++;
            }
            if (begin < at || (kept == VAEI_SPANS && begin >= spans[kept - 1][0])) continue;
            if (kept < VAEI_SPANS) kept++;
            for (i = kept - 1; i > 0 && spans[i - 1][0] > begin; i--) memcpy(spans[i], spans[i - 1], sizeof *spans);
            spans[i][0] = begin;
            spans[i][1] = end;
        }
        for (i = 0; i < kept; i++) {
            if (spans[i][0] != at) continue;
            at = spans[i][1];
            met++;
        }
    /* Each walk but the last meets at least one tensor more, and how many there may be is bounded. */
    } while (met < total && met > before);
    if (met < total)
        return vaei_fail(error, VAE_ERROR_FORMAT, "the tensors leave a gap or overlap at byte %z of the data: the "
                         "file is damaged", at);
    if (at == file->data_size) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_FORMAT, "the file has %z bytes of data, its tensors only %z: something was "
                     "appended, or the file is damaged", file->data_size, at);
}

/* Finds the model's tensors in the file and checks all that the header says about them. */
VAEI_SETUP vae_status vaei_match_header(vaei_matching *matching, vae_error *error) {
    vaei_walk        walk = vaei_walk_begin(matching->file);
    vaei_file_tensor found;
    vae_tensor       tensor;
    vae_status       status;
    size_t           index;
    int              block;
    if (!VAEI_IS_BASIC) vaei_find_ties(matching);
    while (vaei_walk_next(&walk, matching->file, &found)) {
        if ((status = vaei_match_tensor(matching, &found, &block, &index, &tensor, error)) != VAE_OK) return status;
        if (block < 0) continue;
        matching->seen[block][index / 8] = (unsigned char)(matching->seen[block][index / 8] | 1u << index % 8);
        matching->taken++;
    }
    /* A transfer leaves what the file lacks as it is. */
    for (block = 0; block < VAEI_BLOCKS && !matching->is_transfer; block++)
        for (index = 0; index < vae_tensor_count(matching->model); index++) {
            vae_tensor_at(matching->model, index, &tensor, NULL);
            if (vaei_is_seen(matching, block, index) || !vaei_is_wanted(matching, block) ||
                !vaei_block_holds(block, &tensor))
                continue;
            return vaei_fail(error, VAE_ERROR_FORMAT, "the file has no tensor %s%s: %s%s", vaei_block_names[block],
                             tensor.name, !strcmp(tensor.name, "log_sigma") ? "save it too, or set config.sigma" :
                             !strncmp(tensor.name, "standardize.", 12) ? "save it too, or leave config.standardize 0" :
                             "use the network that the file was made for", vaei_pads_unevenly(matching->model) ?
                             " (names count the ZeroPad2d that VAE_SAME needs)" : "");
        }
    return vaei_check_cover(matching->file, error);
}

/* Checks one tensor's numbers and, with `to` not NULL, stores them there. */
VAEI_SETUP vae_status vaei_read_numbers(const vaei_matching *matching, const vaei_file_tensor *found, int block,
                                        size_t index, const vae_tensor *wanted, vae_real *to, vae_error *error) {
    /* Second moments and variances: of a negative one the root would be NaN. */
    const int            squares = block == VAEI_BLOCK_V || block == VAEI_BLOCK_U || vaei_is_variance(wanted->name);
    const int            is_weight = !block || block == VAEI_BLOCK_BEST;
    const int            scale = is_weight && !strcmp(wanted->name, "standardize.scale");
    const int            log_sigma = is_weight && !strcmp(wanted->name, "log_sigma");
    const unsigned char *from = matching->file->data + (size_t)found->offsets[0];
    vae_real             number;
    size_t               i;
    for (i = 0; i < wanted->count; i++, from += vaei_type_size(found->type)) {
        if (!vaei_decode_number(found->type, from, &number))
            return vaei_fail(error, VAE_ERROR_FORMAT, "number %z of the file's tensor %s%s is not finite: training had "
                             "failed before it was saved, or the file is damaged", i, vaei_block_names[block],
                             wanted->name);
        if ((squares && number < 0) || (scale && !(number > 0)))
            return vaei_fail(error, VAE_ERROR_FORMAT, "number %z of the file's tensor %s%s is %s: the file is damaged",
                             i, vaei_block_names[block], wanted->name, number < 0 ? "negative" : "0");
        if ((block == VAEI_BLOCK_M || block == VAEI_BLOCK_U) &&
            (number > VAEI_MOST_MOMENT || number < -VAEI_MOST_MOMENT))
            return vaei_fail(error, VAE_ERROR_FORMAT, "number %z of the file's tensor %s%s is %r, more than any "
                             "gradient leaves: the file is damaged", i, vaei_block_names[block], wanted->name,
                             VAEI_SHOWN(number));
        if (log_sigma && !vaei_is_log_sigma(number))
            return vaei_fail(error, VAE_ERROR_FORMAT, "number %z of the file's tensor %s%s is %r, and sigma must lie "
                             "in " VAEI_SIGMA_RANGE ": the file is damaged", i, vaei_block_names[block], wanted->name,
                             VAEI_SHOWN(number));
        if (to) to[vaei_place_of(matching, index, wanted, i)] = number;
    }
    return VAE_OK;
}

/* Checks all numbers that are wanted; with `model` not NULL each tensor's are stored in it. */
VAEI_SETUP vae_status vaei_match_numbers(const vaei_matching *matching, vae_model *model, vae_error *error) {
    vaei_walk        walk = vaei_walk_begin(matching->file);
    vaei_file_tensor found;
    vae_tensor       tensor;
    vae_status       status;
    size_t           index;
    int              block;
    while (vaei_walk_next(&walk, matching->file, &found)) {
        if (!vaei_identify(matching, &found, &block, &index, &tensor) || !vaei_is_wanted(matching, block) ||
            (matching->is_transfer && !vaei_can_transfer(&found, block, &tensor))) continue;
        status = vaei_read_numbers(matching, &found, block, index, &tensor,
                                   model ? vaei_block(model, block) : NULL, error);
        if (status != VAE_OK) return status;
    }
    return VAE_OK;
}

/* ---- writing fields ---- */

/* Writes a field's value as JSON or, for an error message, without the quotes. */
VAEI_SETUP void vaei_put_value(vaei_text *text, const vaei_field *field, int column, const void *base, int is_json) {
    const char *at = (const char *)base + field->place[column];
    const char *quote = is_json ? "\"" : "", *name;
    const int   count = (int)(field->size / sizeof(int));
    vae_real    real;
    uint64_t    number;
    size_t      size;
    int         i, value;
    switch (field->kind) {
    case VAEI_FIELD_INTS:
    case VAEI_FIELD_PADDING:
        if (field->kind == VAEI_FIELD_PADDING && ((const vae_layer *)base)->padding == VAE_SAME) {
            vaei_put_string(text, "\"same\"");
            break;
        }
        for (i = 0; i < count; i++) {
            memcpy(&value, at + (size_t)i * sizeof value, sizeof value);
            vaei_format(text, "%s%d", i ? "," : count > 1 ? "[" : "", value);
        }
        if (count > 1) vaei_put(text, ']');
        break;
    case VAEI_FIELD_NAME:
        value = vaei_enum_value(at, field->size);
        name = value < 0 ? NULL : field->names(value);
        if (name) vaei_format(text, "%s%s%s", quote, name, quote);
        else vaei_format(text, "%d", value);                /* of a config given, which has not been checked yet */
        break;
    case VAEI_FIELD_SIZE:
        memcpy(&size, at, sizeof size);
        vaei_put_unsigned(text, size);
        break;
    case VAEI_FIELD_QUOTED:
        memcpy(&number, at, sizeof number);
        vaei_put_string(text, quote);
        vaei_put_unsigned(text, number);
        vaei_put_string(text, quote);
        break;
    default:
        memcpy(&real, at, sizeof real);
        vaei_put_exact_real(text, vaei_setting(real));
    }
    vaei_end_text(text);
}

/* ---- comparing the file's network with the one given ----

   Layers are compared by what they do, not by how they are written: VAE_SAME and the amounts that it chooses are the
   same. */

/* The first field in which two layers differ that have the same input, or NULL. `in` then becomes the shape of the
   first one's output, and the padding of both is given in numbers. */
VAEI_SETUP vae_status vaei_compare_layers(vae_layer *a, vae_layer *b, vaei_where where, vae_shape *in,
                                          const vaei_field **different, vae_error *error) {
    const vaei_field *field = vaei_layer_fields;
    unsigned          mask;
    vae_shape         out;
    vae_status        status;
    if ((status = vaei_infer_shape(a, *in, where, &out, error)) != VAE_OK ||
        (status = vaei_infer_shape(b, *in, where, in, error)) != VAE_OK) return status;
    *in = out;
    mask = vaei_layer_mask(a) | vaei_layer_mask(b);
    while (field->name && (!(mask >> (field - vaei_layer_fields) & 1) ||
                           !memcmp((const char *)a + field->place[0], (const char *)b + field->place[0], field->size)))
        field++;
    *different = field->name ? field : NULL;
    return VAE_OK;
}

/* "encoder layer 1 has activation tanh in the file and relu in ...". */
VAEI_SETUP vae_status vaei_fail_layer(const vaei_field *field, const vae_layer *file, const vae_layer *given,
                                      vaei_where where, const char *whose, vae_error *error) {
    const char *name = field->name;
    char        ours[48], theirs[48];
    vaei_text   text = vaei_text_in(ours, sizeof ours), other = vaei_text_in(theirs, sizeof theirs);
    /* A dense layer's shape that is one number. */
    if (field == &vaei_layer_fields[1] && file->shape.height == 1 && file->shape.width == 1 &&
        given->shape.height == 1 && given->shape.width == 1) {
        field = &vaei_layer_fields[2];
        name = "units";
    }
    vaei_put_value(&text, field, 0, file, 0);
    vaei_put_value(&other, field, 0, given, 0);
    return vaei_fail(error, VAE_ERROR_CONFIG, "%s layer %d has %s %s in the file and %s in %s", where.part,
                     where.number, name, ours, theirs, whose);
}

/* The network that the file's is compared with: a config's or a model's. */
typedef struct vaei_reference {
    const vae_config *config;           /* or NULL */
    const vae_model  *model;
    const char       *name;             /* for error messages, with what to do */
} vaei_reference;

/* A config's list of layers: see VAEI_LISTS. */
VAEI_SETUP const vae_layer *vaei_config_layers(const vae_config *config, int list) {
    return list == 0 ? config->encoder : list == 1 ? config->decoder : config->classifier;
}

/* How many layers the other network has in this list. */
VAEI_SETUP int vaei_reference_count(const vaei_reference *reference, int list) {
    int count;
    if (reference->config) return vaei_count_layers(vaei_config_layers(reference->config, list));
    vaei_list_layers(reference->model, list, &count);
    return count;
}

VAEI_SETUP void vaei_reference_layer(const vaei_reference *reference, int list, int number, vae_layer *layer) {
    int count;
    if (reference->config) *layer = vaei_config_layers(reference->config, list)[number];
    else vaei_describe(vaei_list_layers(reference->model, list, &count) + number, layer);
}

/* Compares the file's list of layers, at json->layers_at, with the other network's, if that one lists any. */
VAEI_SETUP vae_status vaei_agree_layers(const vaei_json *json, int which, vae_shape in,
                                        const vaei_reference *reference, vae_error *error) {
    vaei_json  list = vaei_json_of(json->bytes, json->layers_at[which], json->end, 1);
    vaei_where where;
    vae_layer  layer, given;
    vae_status status = VAE_OK;
    int        read = 0, count;
    const vaei_field *different = NULL;
    where.part = which == 0 ? "encoder" : which == 1 ? "decoder" : "classifier";
    where.number = 0;
    count = vaei_reference_count(reference, which);
    if (!count) return VAE_OK;
    if (!json->layers_at[which])
        return vaei_fail(error, VAE_ERROR_CONFIG, "the file holds no %s, which is there in %s", where.part,
                         reference->name);
    for (vaei_json_expect(&list, '[', ""); vaei_json_item(&list, ']', &read);) {
        vae_layer read_layer;
        vaei_json_layer(&list, &read_layer);
        /* The list is read to its end all the same: the error may have to say how many layers it has. */
        if (read > count || different) continue;
        layer = read_layer;
        where.number = read;
        vaei_reference_layer(reference, which, read - 1, &given);
        status = vaei_compare_layers(&layer, &given, where, &in, &different, error);
        if (status != VAE_OK) return status;
    }
    if (read != count)
        return vaei_fail(error, VAE_ERROR_CONFIG, "the %s has %d layers in the file and %d in %s", where.part, read,
                         count, reference->name);
    return different ? vaei_fail_layer(different, &layer, &given, where, reference->name, error) : VAE_OK;
}

/* The fields with this flag that are not 0 in `given` must be the same in the file. */
VAEI_SETUP vae_status vaei_agree_fields(int flag, int column, const void *file, const void *given, const char *whose,
                                        vae_error *error) {
    const vaei_field *field;
    char              ours[40], theirs[40];
    vaei_text         text;
    for (field = vaei_config_fields; field->name; field++) {
        const size_t place = field->place[column];
        if (!(field->flags & flag) || vaei_field_is_zero(field, column, given) ||
            !memcmp((const char *)file + place, (const char *)given + place, field->size) ||
            (field->flags & VAEI_YES_OR_NO && !vaei_field_is_zero(field, column, file))) continue;
        text = vaei_text_in(theirs, sizeof theirs);
        vaei_put_value(&text, field, column, given, 0);
        text = vaei_text_in(ours, sizeof ours);
        if (field->kind == VAEI_FIELD_REAL && vaei_field_is_zero(field, column, file)) vaei_format(&text, "learned");
        else vaei_put_value(&text, field, column, file, 0);
        return vaei_fail(error, VAE_ERROR_CONFIG, "%s is %s in the file and %s in %s", field->name, ours, theirs,
                         whose);
    }
    return VAE_OK;
}

/* All lists of layers. */
VAEI_SETUP vae_status vaei_agree_networks(const vaei_json *json, vae_shape input, int latent,
                                          const vaei_reference *reference, vae_error *error) {
    vae_shape  z = { 1, 1, 0 };
    vae_status status = vaei_agree_layers(json, 0, input, reference, error);
    z.channels = latent;
    if (status == VAE_OK) status = vaei_agree_layers(json, 1, z, reference, error);
    return status == VAE_OK ? vaei_agree_layers(json, 2, z, reference, error) : status;
}

/* Half a network in the file can be loaded only as that half. */
VAEI_SETUP vae_status vaei_check_file_part(vae_part file, vae_part wanted, vae_error *error) {
    if (file <= VAE_WHOLE || file == wanted) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_CONFIG, "the file holds the %s alone: load it as that part, or a whole model's "
                     "file", vaei_part_name((int)file));
}

/* Copies the fields that are not 0 in `given`. */
VAEI_SETUP void vaei_override_fields(const vaei_field *fields, int flag, char *to, const char *given) {
    for (; fields->name; fields++) {
        const size_t place = fields->place[0];
        const int    kind = fields->inner ? vaei_enum_value(given + place, fields->inner->size) : 0;
        if ((fields->flags & flag) != flag) continue;
        /* An optimiser of another kind replaces the file's as a whole, since the settings of one mean nothing to the
           other. With the same kind, or none given, it does so field by field. */
        if (fields->inner && !(fields->flags & VAEI_AS_ONE) &&
            (!kind || kind == vaei_enum_value(to + place, fields->inner->size)))
            vaei_override_fields(fields->inner, 0, to + place, given + place);
        else if (!vaei_field_is_zero(fields, 0, given)) memcpy(to + place, given + place, fields->size);
    }
}

/* Reads the file's vae.config into a vae_config (column 0) or, without its layers, into vaei_settings (column 1). */
VAEI_SETUP vae_status vaei_read_config(const vaei_file *file, vaei_json *json, int column, void *base, size_t size,
                                       vae_error *error) {
    uint64_t seen;
    int      list;
    *json = vaei_json_of(file->bytes, file->config_at, file->config_end, 1);
    memset(base, 0, size);
    if (vaei_json_object(json, vaei_config_fields, column, base, &seen) && vaei_json_peek_past_space(json) >= 0)
        vaei_json_wrong(json, "something follows");
    for (list = 0; list < VAEI_LISTS; list++) {
        /* In column 1 `base` is no config, and the layers are only read past. */
        vae_config *config = (vae_config *)base;
        if (json->problem || !json->layers_at[list]) continue;
        json->at = json->layers_at[list];
        vaei_json_layers(json, column ? NULL : list == 0 ? config->encoder : list == 1 ? config->decoder
                                                                                       : config->classifier);
    }
    if (!json->problem) return VAE_OK;
    return vaei_fail_json(json, "the network in the file's metadata (vae.config) is wrong", error);
}

/* Where training stood, from a checkpoint into the model. */
VAEI_SETUP vae_status vaei_read_state(const vaei_file *file, vae_model *model, vae_error *error) {
    vaei_json json = vaei_json_of(file->bytes, file->state_at, file->state_end, 1);
    uint64_t  seen;
    if (vaei_json_object(&json, vaei_state_fields, 0, model, &seen)) {
        if (vaei_json_peek_past_space(&json) >= 0) vaei_json_wrong(&json, "something follows");
        if (model->step > VAEI_MOST_STEPS) vaei_json_wrong(&json, "step is too large");
    }
    if (!json.problem) return VAE_OK;
    return vaei_fail_json(&json, "the state in the file's metadata (vae.state) is wrong", error);
}

/* ---- loading ----

   Nothing is taken from the file before all that it says has been checked. A model made from a file is given to the
   caller only once its weights are in it; one that exists is changed only once every number has been looked at. What is
   allocated on the way is bounded: by the header, by the file, and by vaei_limit_batch for the model itself. */

/* What vaei_make_model needs of the file's config; it comes from the allocator, since a config is large for a stack. */
typedef struct vaei_loading {
    vae_config config;              /* for vae_create */
    size_t     file_batch;
    unsigned   blocks;              /* of moments in the file, as in vaei_block_mask */
    int        keeps_best;          /* the file's */
} vaei_loading;

/* The part of the network that the file's config lacks must be one that is not wanted. */
VAEI_SETUP vae_status vaei_check_lists(const vaei_json *json, vae_part part, vae_error *error) {
    if ((json->layers_at[0] || part == VAE_DECODER_ONLY) && (json->layers_at[1] || part == VAE_ENCODER_ONLY))
        return VAE_OK;
    return vaei_fail(error, VAE_ERROR_FORMAT, "the network in the file's metadata (vae.config) has no %s: the file is "
                     "damaged", json->layers_at[0] ? "decoder" : "encoder");
}

/* A number takes two bytes at least, so a file's size bounds how many weights its network may have. */
VAEI_SETUP vae_status vaei_check_weights(const vae_config *config, const vaei_file *file, vae_error *error) {
    size_t          weights = 0;
    vaei_network    network;
    vaei_layer_spec spec;
    vae_status      status = vaei_network_of(config, &network, error);
    /* vae_defaults has accepted this config, so that the network is complete. */
    const int       decoder_end = network.encoders + 1 + network.decoders;
    int             i, end = config->part == VAE_DECODER_ONLY ? decoder_end : decoder_end + network.classifiers;
    for (i = vaei_first_layer(&network, config->part); i < end; i++) {
        if (i == vaei_end_layer(&network, config->part)) i = decoder_end;       /* without a decoder */
        if (i == end) break;
        if ((status = vaei_spec_at(&network, i, &spec, error)) != VAE_OK) return status;
        weights = vaei_plus(weights, vaei_count_biases(&spec));
        if (!network.tied || i <= network.encoders || i >= decoder_end)
            weights = vaei_plus(weights, vaei_count_weights(&spec));
    }
    if (vaei_times(2, weights) <= file->data_size) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_FORMAT, "the network has %r weights, for which the file's %z bytes of data are "
                     "too few: it is cut off or damaged", VAEI_SHOWN(weights), file->data_size);
}

/* A file must not make a program take memory without bound. So unless the caller gives a batch, the file's is halved
   until the model takes at most 128 MB plus 64 times the file's size. That leaves most convolutional networks
   their batch of 128, though their tensors outweigh their weights by far. The memory of further threads is not counted,
   so that a file loads with the same batch on every machine. */
VAEI_SETUP vae_status vaei_limit_batch(vae_config *config, size_t file_size, vae_error *error) {
    const uint64_t most = ((uint64_t)128 << 20) + 64 * (uint64_t)file_size;
    const int      threads = config->threads;
    size_t         needed = 0;
    vae_status     status = VAE_OK;
    config->threads = 1;
    while ((status = vae_memory_needed(config, &needed, NULL)) == VAE_OK ? needed > most : status == VAE_ERROR_MEMORY) {
        if (config->batch == 1) break;
        /* Half the batch takes no less than half the memory, and counting it anew takes time. */
        if (status != VAE_OK) needed = (size_t)-1;
        do config->batch /= 2;
        while ((needed /= 2) > most && config->batch > 1);
    }
    config->threads = threads;
    if (status != VAE_OK) return vae_memory_needed(config, &needed, error);
    if (needed <= most) return VAE_OK;
    return vaei_fail(error, VAE_ERROR_MEMORY, "the model would take %z bytes, far more than the file's %z: give "
                     "config.batch to allow it", needed, file_size);
}

/* Where no config was given, an error in the config is an error in the file. */
VAEI_APART vae_status vaei_blame_file(vae_status status, vae_error *error) {
    char sentence[sizeof error->message];
    if (status != VAE_ERROR_CONFIG) return status;
    if (!error) return VAE_ERROR_FORMAT;
    memcpy(sentence, error->message, sizeof sentence);
    return vaei_fail(error, VAE_ERROR_FORMAT, "the network in the file's metadata (vae.config) is wrong: %s", sentence);
}

/* A setting of the file's that goes no longer with one of the given config's is 0 there already. */
VAEI_APART vae_status vaei_advise_default(vae_status status, vae_error *error) {
    static const char advice[] = "leave it 0";
    const size_t      length = error ? strlen(error->message) : 0, end = sizeof advice - 1;
    char              sentence[sizeof error->message];
    if (length < end || memcmp(error->message + length - end, advice, end) != 0) return status;
    memcpy(sentence, error->message, sizeof sentence);
    return vaei_fail(error, status, "%s, or, where the file sets it, write its default, since 0 keeps the file's",
                     sentence);
}

/* The config for vae_create: the file's, with the fields that the given one overrides. */
VAEI_SETUP vae_status vaei_prepare_config(vaei_file *file, const vae_config *given, vaei_loading *loading,
                                          vae_error *error) {
    vae_config    *config = &loading->config;
    vaei_json      json;
    vaei_reference reference;
    vae_status     status = vaei_read_config(file, &json, 0, config, sizeof *config, error);
    if (status != VAE_OK) return status;
    file->tied = config->tied;
    loading->file_batch = config->batch;
    if (!config->optimizer.kind) config->optimizer.kind = VAE_ADAM;         /* version 1 has no other */
    loading->keeps_best = config->keep_best;
    loading->blocks = file->state_at ? vaei_moment_mask(config->optimizer.kind) : 0;
    /* The layout is the caller's, even if a file of version 1 has one. */
    config->layout = VAE_LAYOUT_DEFAULT;
    if (!vaei_likelihoods[config->likelihood].has_sigma) config->sigma = 0;
    else if (file->version == 1 && config->sigma == 0) config->sigma = 1;       /* it was not learned then */
    reference.config = given;
    reference.model = NULL;
    reference.name = "the config: leave it out there or make it the same";
    if (given) {
        status = vaei_agree_fields(VAEI_AGREES, 0, config, given, reference.name, error);
        if (status == VAE_OK) status = vaei_check_gaps(given->encoder, "encoder", error);
        if (status == VAE_OK) status = vaei_check_gaps(given->decoder, "decoder", error);
        if (status == VAE_OK) status = vaei_agree_networks(&json, config->input, config->latent, &reference, error);
        if (status == VAE_OK && given->part) status = vaei_check_file_part(config->part, given->part, error);
        if (status != VAE_OK) return status;
        /* What the given config says overrides the file's from here on. */
        vaei_override_fields(vaei_config_fields, VAEI_TAKEN, (char *)config, (const char *)given);
        if (given->part) config->part = given->part;
        config->layout = given->layout;
        config->kernels = given->kernels;
        config->threads = given->threads;
        config->parallel = given->parallel;
        config->allocator = given->allocator;
        config->inference_only = given->inference_only;
    }
    if ((status = vaei_check_lists(&json, config->part, error)) != VAE_OK ||
        (status = vaei_defaults(config, config, error)) != VAE_OK ||
        (status = vaei_check_weights(config, file, error)) != VAE_OK)
        return given ? vaei_advise_default(status, error) : vaei_blame_file(status, error);
    return given && given->batch ? VAE_OK
                                 : vaei_limit_batch(config, file->header_end + file->data_size, error);
}

/* Makes a model of the file's network and checks all that the header says against it. Only the numbers are left to
   read. */
VAEI_SETUP vae_status vaei_make_model(vaei_file *file, const vae_config *given, vaei_matching *matching,
                                      vae_model **made, vae_error *error) {
    vae_allocator allocator;
    vaei_loading *loading;
    int           keeps_best = 0;
    vae_status    status = VAE_OK;
    memset(&allocator, 0, sizeof allocator);
    memset(matching, 0, sizeof *matching);
    *made = NULL;
    if (given && given->weights)
        return vaei_fail(error, VAE_ERROR_CONFIG, "config.weights is set, but the weights are the file's: leave it "
                         "NULL");
    if (!file->config_at && !given)
        return vaei_fail(error, VAE_ERROR_CONFIG, "the file does not say which network it is for (it has no "
                         "vae.config in its metadata): give the config");
    if (given) allocator = given->allocator;
    if (!file->config_at) status = vae_create(given, made, error);
    else {
        loading = (vaei_loading *)vaei_allocate(&allocator, sizeof *loading);
        if (!loading)
            return vaei_fail(error, VAE_ERROR_MEMORY, VAEI_NOT_ALLOCATED " to read the file",
                             sizeof *loading);
        status = vaei_prepare_config(file, given, loading, error);
        if (given) status = vaei_doubt(given, status, error);
        if (status == VAE_OK) status = vae_create(&loading->config, made, error);
        if (status == VAE_OK) {
            (*made)->file_batch = loading->file_batch;
            /* The moments are of use only to an optimiser that has the same. */
            if (loading->blocks == vaei_block_mask(*made)) matching->blocks = loading->blocks;
            keeps_best = loading->keeps_best && (*made)->best;
        }
        vaei_release(&allocator, loading, sizeof *loading);
    }
    if (status != VAE_OK) return status;
    matching->model = *made;
    matching->file = file;
    /* Before the tensors are matched: the state says whether there must be best weights among them. */
    if (file->config_at && file->state_at) status = vaei_read_state(file, *made, error);
    if (keeps_best && (*made)->best_epoch) matching->blocks |= 1u << VAEI_BLOCK_BEST;
    else if ((*made)->best) vaei_forget_best(*made);        /* of the best epoch only the loss is known */
    else (*made)->shows_best = 0;
    if (status == VAE_OK) status = vaei_match_header(matching, error);
    if (status == VAE_OK) return VAE_OK;
    vae_destroy(*made);
    *made = NULL;
    return status;
}

/* Until all numbers have been read the model is nobody's: on failure it is destroyed, and *model stays as it was. */
VAE_API vae_status vae_load_memory(const void *bytes, size_t size, const vae_config *config, vae_model **model,
                                   vae_error *error) {
    vaei_matching matching;
    vaei_file     file;
    vae_model    *made;
    vae_status    status;
    if (!bytes || !model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_load: bytes or model is NULL");
    if (config && (status = vaei_check_allocator(&config->allocator, error)) != VAE_OK) return status;
    if ((status = vaei_open_file(&file, bytes, size, error)) != VAE_OK ||
        (status = vaei_make_model(&file, config, &matching, &made, error)) != VAE_OK) return status;
    if ((status = vaei_match_numbers(&matching, made, error)) == VAE_OK) *model = made;
    else vae_destroy(made);
    return status;
}

VAEI_SETUP vae_status vaei_check_loading(const vae_model *model, const void *source, const char *call,
                                         vae_error *error) {
    if (!model || !source) return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: an argument is NULL", call);
    return vaei_check_owns(model, call, error);
}

#define VAEI_THE_MODEL "the model: make a model of the file with vae_load"

/* Whether the file's network is the model's, apart from the layers. */
VAEI_SETUP vae_status vaei_agree_with_settings(vaei_file *file, const vae_model *model, vaei_json *json,
                                               vae_error *error) {
    vaei_settings settings;
    vae_status    status = vaei_read_config(file, json, 1, &settings, sizeof settings, error);
    file->tied = settings.tied;
    if (status == VAE_OK) status = vaei_check_file_part(settings.part, model->settings.part, error);
    if (VAEI_IS_BASIC && status == VAE_OK && file->tied && model->settings.part == VAE_DECODER_ONLY)
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "the file's decoder is tied to its encoder, which a build with "
                         "VAE_BASIC lacks: build without");
    return status != VAE_OK ? status : vaei_agree_fields(VAEI_IS_NETWORK, 1, &settings, &model->settings,
                                                         VAEI_THE_MODEL, error);
}

/* Whether the file's network is the model's, layers included. */
VAEI_SETUP vae_status vaei_agree_with_model(vaei_file *file, const vae_model *model, vae_error *error) {
    vaei_reference reference;
    vaei_json      json;
    vae_status     status = vaei_agree_with_settings(file, model, &json, error);
    reference.config = NULL;
    reference.model = model;
    reference.name = VAEI_THE_MODEL;
    if (status != VAE_OK) return status;
    return vaei_agree_networks(&json, model->settings.input, model->settings.latent, &reference, error);
}

/* A transfer asks nothing of the file's network but whether it is tied: see vaei_find_ties. */
VAEI_SETUP void vaei_read_tied(vaei_file *file) {
    vaei_settings settings;
    vaei_json     json;
    if (!VAEI_IS_BASIC && file->config_at &&
        vaei_read_config(file, &json, 1, &settings, sizeof settings, NULL) == VAE_OK) file->tied = settings.tied;
}

/* The error for a file of which nothing fits. It names the first tensor that has the name of one of the model's, else
   the first one. */
VAEI_SETUP vae_status vaei_fail_transfer(const vaei_matching *matching, vae_error *error) {
    vaei_walk        walk = vaei_walk_begin(matching->file);
    vaei_file_tensor found;
    vaei_shown       first, ours;
    vae_tensor       tensor;
    uint64_t         shape[4];
    size_t           index;
    int              block, count = 0, i;
    first.name[0] = 0;
    while (vaei_walk_next(&walk, matching->file, &found)) {
        if (!vaei_identify(matching, &found, &block, &index, &tensor) || block) {
            if (!count++) vaei_show_found(&first, matching->file, &found);
            continue;
        }
        vaei_show_found(&first, matching->file, &found);
        for (i = 0; i < 4; i++) shape[i] = tensor.shape[i];
        vaei_show_shape(&ours, shape, tensor.rank);
        return vaei_fail(error, VAE_ERROR_FORMAT, "no tensor of the file fits the model: %s has shape %s in the file "
                         "and %s in the model%s", first.name, first.shape, ours.shape,
                         found.type == VAEI_TYPES ? ", and a dtype that is not read" : "");
    }
    vae_tensor_at(matching->model, 0, &tensor, NULL);
    if (!count) return vaei_fail(error, VAE_ERROR_FORMAT, "the file has no tensors");
    return vaei_fail(error, VAE_ERROR_FORMAT, "no tensor of the file has a name of the model's: the file begins with "
                     "%s %s, the model with %s", first.name, first.shape, tensor.name);
}

/* Loads all weights of a model, or those that fit. Nothing is stored before everything has been checked. */
VAEI_SETUP vae_status vaei_read_weights(vae_model *model, vaei_file *file, int is_transfer, unsigned char *taken,
                                        vae_error *error) {
    vaei_matching matching;
    vae_status    status;
    size_t        i;
    memset(&matching, 0, sizeof matching);
    matching.model = model;
    matching.file = file;
    matching.is_transfer = is_transfer;
    if ((status = vaei_match_header(&matching, error)) != VAE_OK) return status;
    if (!matching.taken) return vaei_fail_transfer(&matching, error);
    if ((status = vaei_match_numbers(&matching, NULL, error)) != VAE_OK ||
        (status = vaei_match_numbers(&matching, model, error)) != VAE_OK) return status;
    /* How large a loss may be is found anew, with the first batch that these weights meet. */
    model->largest_loss = 0;
    vaei_forget_best(model);
    for (i = 0; taken && i < vae_tensor_count(model); i++) taken[i] = (unsigned char)vaei_is_seen(&matching, 0, i);
    return VAE_OK;
}

VAE_API vae_status vae_load_weights_memory(vae_model *model, const void *bytes, size_t size, vae_error *error) {
    vaei_file  file;
    vae_status status;
    if ((status = vaei_check_loading(model, bytes, "vae_load_weights", error)) != VAE_OK ||
        (status = vaei_open_file(&file, bytes, size, error)) != VAE_OK) return status;
    /* A file without our metadata has only its names and shapes to be judged by. */
    if (file.config_at && (status = vaei_agree_with_model(&file, model, error)) != VAE_OK) return status;
    if ((status = vaei_enter_alone(model, "vae_load_weights", error)) != VAE_OK) return status;
    return vaei_leave(model, VAEI_FREE, vaei_read_weights(model, &file, 0, NULL, error));
}

VAE_API vae_status vae_load_matching_memory(vae_model *model, const void *bytes, size_t size, unsigned char *taken,
                                            vae_error *error) {
    vaei_file  file;
    vae_status status;
    if ((status = vaei_check_loading(model, bytes, "vae_load_matching", error)) != VAE_OK ||
        (status = vaei_open_file(&file, bytes, size, error)) != VAE_OK ||
        (status = vaei_enter_alone(model, "vae_load_matching", error)) != VAE_OK) return status;
    vaei_read_tied(&file);
    return vaei_leave(model, VAEI_FREE, vaei_read_weights(model, &file, 1, taken, error));
}

/* ---- writing: to memory, to a file, or to nowhere, which only counts ---- */

typedef struct vaei_writer {
    unsigned char *memory;              /* NULL: not to memory */
    void         (*flush)(struct vaei_writer *writer);      /* NULL: not to a file */
    void          *file;
    const vae_model *model;
    size_t         total, used;         /* bytes written so far; those of them still in the buffer */
    int            in_string;           /* inside a JSON string: quotes are escaped */
    int            failed;              /* errno of the write that failed, or -1 */
    unsigned char *buffer;              /* of `room` bytes, for `flush` */
    size_t         room;
} vaei_writer;

/* Every byte of a file passes here: it is stored, put into the buffer, or only counted. */
VAEI_SETUP void vaei_write_byte(vaei_writer *writer, unsigned char value) {
    if (writer->memory) writer->memory[writer->total] = value;
    writer->total++;
    if (!writer->flush) return;
    if (writer->used == writer->room) writer->flush(writer);
    writer->buffer[writer->used++] = value;
}

/* Of a JSON string's content only quotes need escaping: names and numbers have no other such character. */
VAEI_SETUP void vaei_write_string(vaei_writer *writer, const char *string) {
    for (; *string; string++) {
        if (writer->in_string && *string == '"') vaei_write_byte(writer, '\\');
        vaei_write_byte(writer, (unsigned char)*string);
    }
}

/* Writes up to 120 characters. */
VAEI_SETUP void vaei_write(vaei_writer *writer, const char *format, ...) {
    char      line[121];
    vaei_text text = vaei_text_in(line, sizeof line);
    va_list   list;
    va_start(list, format);
    vaei_format_list(&text, format, list);
    va_end(list);
    vaei_write_string(writer, line);
}

VAEI_SETUP void vaei_write_layers(vaei_writer *writer, int list);

/* Whether a field is written. Zeros are left out, and enums at their first value where the row says so: both are read
   back as what they were. */
VAEI_SETUP int vaei_is_written(const vaei_field *field, int column, const void *base, const vae_model *model) {
    const size_t size = field->inner ? field->inner->size : field->size;
    int          count;
    if (field->flags & VAEI_OLD) return 0;
    if (field->flags & VAEI_OF_SIGMA && !vaei_likelihood_of(model)->has_sigma) return 0;
    if (field->flags & VAEI_OF_SAMPLES)
        return model->settings.samples > 1 || model->settings.objective == VAE_OBJECTIVE_IWAE;
    if (field->flags & VAEI_NOT_FIRST) return vaei_enum_value((const char *)base + field->place[column], size) > 1;
    if (field->kind == VAEI_FIELD_LAYERS) {
        vaei_list_layers(model, (int)field->place[1], &count);
        return count > 0;
    }
    return field->flags & VAEI_REQUIRED || !vaei_field_is_zero(field, column, base);
}

VAEI_SETUP void vaei_write_value(vaei_writer *writer, const vaei_field *field, int column, const void *base) {
    char      value[56];
    vaei_text text = vaei_text_in(value, sizeof value);
    vaei_put_value(&text, field, column, base, 1);
    vaei_write_string(writer, value);
}

/* Writes {"name":value,...}. A `mask` other than 0 has a bit for each field to write, even if its value is 0. */
VAEI_SETUP void vaei_write_object(vaei_writer *writer, const vaei_field *fields, int column, const void *base,
                                  unsigned mask) {
    int i, count = 0;
    vaei_write_string(writer, "{");
    for (i = 0; fields[i].name; i++) {
        const vaei_field *field = &fields[i];
        if (mask ? !(mask >> i & 1u) : !vaei_is_written(field, column, base, writer->model)) continue;
        vaei_write(writer, "%s\"%s\":", count++ ? "," : "", field->name);
        if (field->kind == VAEI_FIELD_LAYERS) vaei_write_layers(writer, (int)field->place[1]);
        else if (field->kind == VAEI_FIELD_OBJECT)
            vaei_write_object(writer, field->inner, 0, (const char *)base + field->place[column], 0);
        else vaei_write_value(writer, field, column, base);
    }
    vaei_write_string(writer, "}");
}

/* A list of layers, by its number: see VAEI_LISTS. */
VAEI_SETUP void vaei_write_layers(vaei_writer *writer, int list) {
    const vaei_layer *layers;
    int               i, count;
    layers = vaei_list_layers(writer->model, list, &count);
    vaei_write_string(writer, "[");
    for (i = 0; i < count; i++) {
        vae_layer described, *layer = &described;
        unsigned  mask;
        vaei_describe(&layers[i], layer);
        mask = vaei_layer_mask(layer);
        if (i) vaei_write_string(writer, ",");
        vaei_write_object(writer, vaei_layer_fields, 0, layer,
                          layer->padding == VAE_EXPLICIT ? mask : mask & ~VAEI_OUTPUT_PADDING_ROW);
    }
    vaei_write_string(writer, "]");
}

/* The indices of the tensors in the order of their names, as safetensors writes them. A byte holds one: there are at
   most 16 encoder layers of 6 tensors, 4 of the heads, 15 decoder layers of 6 and a last one of 2, 16 classifier layers
   of 2, and 3 others, 227 in all. */
VAEI_SETUP void vaei_order_tensors(const vae_model *model, unsigned char *order) {
    vae_tensor a, b;
    size_t     i, j;
    /* Names are made anew for each comparison: a list of them would take more memory than a stack should. */
    for (i = 0; i < vae_tensor_count(model); i++) {
        vae_tensor_at(model, i, &a, NULL);
        for (j = i; j > 0; j--) {
            vae_tensor_at(model, order[j - 1], &b, NULL);
            if (strcmp(b.name, a.name) < 0) break;
            order[j] = order[j - 1];
        }
        order[j] = (unsigned char)i;
    }
}

/* Whether this block goes into the file. */
VAEI_SETUP int vaei_is_saved(const vae_model *model, int checkpoint, int block) {
    return !block || (checkpoint && vaei_block(model, block));
}

/* The weights come first; in a checkpoint the moments of those that are trained follow, then the best epoch's weights.
   Within a block the tensors stand in the order of their names. */
VAEI_SETUP void vaei_write_header(vaei_writer *writer, int checkpoint, const unsigned char *order) {
    const vae_model *model = writer->model;
    vae_tensor       tensor;
    size_t           offset = 0, end, i;
    int              block, k;
    vaei_write_string(writer, "{\"__metadata__\":{\"format\":\"pt\",\"generator\":\"vae.h " VAE_VERSION "\",");
    vaei_write(writer, "\"vae.version\":\"%d\",\"vae.config\":\"", VAEI_FORMAT_VERSION);
    writer->in_string = 1;
    vaei_write_object(writer, vaei_config_fields, 1, &model->settings, 0);
    writer->in_string = 0;
    if (checkpoint) {
        vaei_write_string(writer, "\",\"vae.state\":\"");
        writer->in_string = 1;
        vaei_write_object(writer, vaei_state_fields, 0, model, 0);
        writer->in_string = 0;
    }
    vaei_write_string(writer, "\"}");
    for (block = 0; block < VAEI_BLOCKS; block++)
        for (i = 0; vaei_is_saved(model, checkpoint, block) && i < vae_tensor_count(model); i++, offset = end) {
            vae_tensor_at(model, order[i], &tensor, NULL);
            end = offset;
            /* Left out, but the next tensor's data follow the last one's without a gap. */
            if (!vaei_block_holds(block, &tensor)) continue;
            end += tensor.count * sizeof(vae_real);
            vaei_write(writer, ",\"%s%s\":{\"dtype\":\"%s\",\"shape\":[", vaei_block_names[block], tensor.name,
                       sizeof(vae_real) == 8 ? "F64" : "F32");
            for (k = 0; k < tensor.rank; k++) vaei_write(writer, k ? ",%z" : "%z", tensor.shape[k]);
            vaei_write(writer, "],\"data_offsets\":[%z,%z]}", offset, end);
        }
    vaei_write_string(writer, "}");
}

/* The bytes of one block, in the header's order, little-endian whatever the host is. */
VAEI_SETUP void vaei_write_block(vaei_writer *writer, int block, const unsigned char *order) {
    const vae_real *from = block ? vaei_block(writer->model, block) : vae_weights(writer->model);
    vae_tensor      tensor;
    vaei_word       bits;
    size_t          i, k, shift;
    for (i = 0; i < vae_tensor_count(writer->model); i++) {
        vae_tensor_at(writer->model, order[i], &tensor, NULL);
        if (!vaei_block_holds(block, &tensor)) continue;
        for (k = 0; k < tensor.count && !writer->failed; k++) {
            memcpy(&bits, &from[vaei_tensor_element(writer->model, order[i], k)], sizeof bits);
            for (shift = 0; shift < 8 * sizeof bits; shift += 8)
                vaei_write_byte(writer, (unsigned char)(bits >> shift & 255));
        }
    }
}

/* Writes the whole file. `size` receives its size before anything is written; `capacity` is the room there is. */
VAEI_SETUP vae_status vaei_write_model(vaei_writer *writer, const vae_model *model, int checkpoint, size_t capacity,
                                       size_t *size, vae_error *error) {
    size_t       numbers = 0;
    void       (*const flush)(vaei_writer *) = writer->flush;
    unsigned char *const memory = writer->memory;
    unsigned char order[VAEI_MAX_TENSORS];
    size_t        header, padded, i;
    int           block;
    writer->model = model;
    vaei_order_tensors(model, order);
    writer->flush = NULL;              /* the header first goes to nowhere, since its length comes before it */
    writer->memory = NULL;
    vaei_write_header(writer, checkpoint, order);
    header = writer->total;
    /* Numbers then begin at a multiple of 8, as programs want it that map the file into memory. */
    padded = (header + 7) / 8 * 8;
    writer->total = 0;
    writer->flush = flush;
    writer->memory = memory;
    for (block = 0; block < VAEI_BLOCKS; block++)
        if (vaei_is_saved(model, checkpoint, block)) numbers += vaei_block_count(model, block);
    *size = 8 + padded + numbers * sizeof(vae_real);
    if (!flush && !memory) return VAE_OK;
    if (capacity < *size)
        return vaei_fail(error, VAE_ERROR_MEMORY, "the file needs %z bytes, the memory given has %z", *size, capacity);
    /* A size_t of 32 bits has no bytes beyond the fourth, and may not be shifted that far. */
    for (i = 0; i < 8; i++) vaei_write_byte(writer, (unsigned char)(i < sizeof padded ? padded >> (8 * i) & 255 : 0));
    vaei_write_header(writer, checkpoint, order);
    for (; header < padded; header++) vaei_write_byte(writer, ' ');
    for (block = 0; block < VAEI_BLOCKS; block++)
        if (vaei_is_saved(model, checkpoint, block)) vaei_write_block(writer, block, order);
    return VAE_OK;
}

/* Whether all of these numbers are finite. */
VAEI_SETUP int vaei_block_is_finite(const vae_real *block, size_t count) {
    size_t i;
    for (i = 0; i < count; i++)
        if (!vaei_finite(block[i])) return 0;
    return 1;
}

/* Whether the model, once saved, can be loaded again. */
VAEI_SETUP vae_status vaei_check_saving(const vae_model *model, int checkpoint, const char *call, vae_error *error) {
    int block, finite;
    if (!model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: model is NULL", call);
#ifdef VAE_INFERENCE_ONLY
    if (checkpoint)
        return vaei_fail(error, VAE_ERROR_UNSUPPORTED, "%s: built with VAE_INFERENCE_ONLY, which has no checkpoints",
                         call);
#endif
    if (checkpoint && !model->plan.trains)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: the model was made inference_only and has nothing to go on "
                         "with: save it without checkpoint", call);
#if defined(VAE_BASIC) && defined(VAE_INFERENCE_ONLY)
    {   /* The optimiser has no use in this build, so nobody has looked at it yet. */
        vae_optimizer optimizer = model->settings.optimizer;
        vaei_default_optimizer(&optimizer);
        if (vaei_check_optimizer(&optimizer, error) != VAE_OK) return VAE_ERROR_CONFIG;
    }
#endif
    finite = vaei_block_is_finite(vae_weights(model), vae_weight_count(model));
    for (block = 1; block < VAEI_BLOCKS; block++)
        if (vaei_is_saved(model, checkpoint, block))
            finite = finite && vaei_block_is_finite(vaei_block(model, block), vaei_block_count(model, block));
    if (!finite)
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

   The operations on files are macros, so that tests can replace them by ones that fail or lose what was not flushed. */

#ifndef VAE_NO_STDIO
#if defined(_MSC_VER)
#pragma warning(push)
#pragma warning(disable : 4996)     /* open and strerror are standard enough */
#endif

#include <errno.h>
#define VAEI_MAX_PATH 4096          /* with the closing zero */
#ifndef EINTR
#define VAEI_IO_INTERRUPTED() 0
#else
#define VAEI_IO_INTERRUPTED() (errno == EINTR)
#endif

/* What vaei_lock returns in place of a lock. */
enum { VAEI_LOCK_TAKEN = -1, VAEI_LOCK_NONE = -2, VAEI_LOCK_FAILED = -3 };

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

/* Saving renames a file over `path`. That must not replace a device or pipe, and for a directory its error would not
   help. Returns -1 where the system does not tell what is there. */
VAEI_SETUP int vaei_is_special(const char *path) {
    struct stat about;
    if (stat(path, &about) == 0) return !S_ISREG(about.st_mode);
    return errno == EIO || errno == ENOMEM || VAEI_IO_INTERRUPTED() ? -1 : 0;
}

#ifdef __wasi__             /* whose lseek is a macro with an extension of the language in it */
#define VAEI_LSEEK __extension__ lseek
#else
#define VAEI_LSEEK lseek
#endif
/* The size in bytes, or -1. The file is then at its beginning. */
VAEI_SETUP int64_t vaei_file_size(vaei_handle file) {
    const off_t size = VAEI_LSEEK(file, 0, SEEK_END);
    return size < 0 || VAEI_LSEEK(file, 0, SEEK_SET) != 0 ? -1 : (int64_t)size;
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

/* Follows symbolic links from `path` to the file that a save replaces, since the links are to stay. Returns 0, or the
   error's number. `link` is room to work in. */
VAEI_SETUP int vaei_follow_links(const char *path, char target[VAEI_MAX_PATH], char link[VAEI_MAX_PATH]) {
    struct stat about[2];
    int         links, is_there;
    strcpy(target, path);
    /* As many as Linux follows before it takes them for a circle. */
    for (links = 0; links < 40; links++) {
        const long   size = (errno = 0, (long)vaei_readlink(target, link, VAEI_MAX_PATH));
        const int    reason = size >= 0 ? 0 : errno ? errno : -1;
        const char  *slash = strrchr(target, '/');
        const size_t folder = size > 0 && link[0] == '/' ? 0 : slash ? (size_t)(slash - target) + 1 : 0;
        if (size > 0) {
            if (folder + (size_t)size >= VAEI_MAX_PATH) return ENAMETOOLONG;
            memcpy(target + folder, link, (size_t)size);
            target[folder + (size_t)size] = 0;
            continue;
        }
        /* Else it is not known whether it is one. */
        if (reason && reason != EINVAL && reason != ENOENT && reason != ENOTDIR && reason != ENAMETOOLONG &&
            reason != ENOSYS && reason != ENOTSUP) return reason;
        if (!links) return 0;
        /* A link below /proc leads to an open file, whose name may be gone. */
        is_there = stat(path, &about[0]) == 0;
        if (is_there != (stat(target, &about[1]) == 0)) return EINVAL;
        return is_there && (about[0].st_dev != about[1].st_dev || about[0].st_ino != about[1].st_ino) ? EINVAL : 0;
    }
    return ELOOP;
}

/* 0600 where a file is or may be replaced: nobody else may read the new one until it has the old one's owner and
   mode. */
VAEI_SETUP unsigned vaei_first_mode(const char *target) {
    struct stat about;
    return stat(target, &about) == 0 || errno != ENOENT ? 0600u : 0666u;
}

/* Gives `file` the owner and mode of the file that it will replace, as far as the process may. Where the group cannot
   be kept, the group's rights are removed. */
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
            /* The bits that let a program run as its owner are not for a file of another owner. */
            mode &= 0777;
            if (now.st_gid != old.st_gid && vaei_fchown(file, (uid_t)-1, old.st_gid)) mode &= 0707;
        }
    vaei_fchmod(file, mode);
#endif
}

/* ---- temporary files left behind ----

   A save holds a lock on its temporary file until the file has its final name. When a process is killed its lock goes
   too, so that its file can be told from one that is being written, and is removed. Without locks its age decides. */

/* Whether `path` is a name of the open file; -1 where the system does not tell. */
VAEI_SETUP int vaei_has_name(vaei_handle file, const char *path) {
    struct stat of_file, of_name;
    if (fstat(file, &of_file)) return -1;
    if (stat(path, &of_name)) return errno == ENOENT ? 0 : -1;
    return of_file.st_dev == of_name.st_dev && of_file.st_ino == of_name.st_ino;
}

#ifdef LOCK_EX
/* Locks `path` without reading it. Returns the lock, or that someone else has it or has removed the file, that there
   are no locks here, or that the file cannot be opened (errno says why). */
VAEI_SETUP vaei_handle vaei_lock(const char *path) {
    vaei_handle file;
    int         result;
    /* Without waiting: what has that name by now may be a pipe. */
    do file = open(path, O_RDWR | O_NONBLOCK | VAEI_IO_NO_LINK | VAEI_IO_FLAGS);
    while (file < 0 && VAEI_IO_INTERRUPTED());
    if (file < 0) return errno == ENOENT ? VAEI_LOCK_TAKEN : VAEI_LOCK_FAILED;
    do result = flock(file, LOCK_EX | LOCK_NB);
    while (result && errno == EINTR);
    if (!result) return file;
    result = errno == EWOULDBLOCK || errno == EAGAIN ? VAEI_LOCK_TAKEN : VAEI_LOCK_NONE;
    close(file);
    return result;
}
VAEI_SETUP void vaei_unlock(vaei_handle lock) {
    if (lock >= 0) close(lock);
}
#else
VAEI_SETUP vaei_handle vaei_lock(const char *path) { (void)path; return VAEI_LOCK_NONE; }
VAEI_SETUP void        vaei_unlock(vaei_handle lock) { (void)lock; }
#endif

/* What another user has left is not ours to remove. WASI has no users. */
VAEI_SETUP int vaei_is_mine(const struct stat *about) {
#ifdef __wasi__
    (void)about;
    return 1;
#else
    return about->st_uid == geteuid();
#endif
}

/* Removes a temporary file that an interrupted save left behind. */
VAEI_SETUP void vaei_remove_stale(const char *temporary) {
    const vaei_handle lock = vaei_lock(temporary);
    struct stat       about;
    if ((lock >= 0 || lock == VAEI_LOCK_NONE) && !stat(temporary, &about) && S_ISREG(about.st_mode) &&
        vaei_is_mine(&about) && (lock >= 0 ? vaei_has_name(lock, temporary) > 0
                                           : time(NULL) - about.st_mtime > 3600)) VAEI_IO_REMOVE(temporary);
    vaei_unlock(lock);
}

/* A new name is on the disk only once its directory is flushed. Opens the directory of `path` for that: a save that
   cannot be made to last fails before it replaces anything. Returns 0, or the error's number. The directory is
   VAEI_IO_NONE where the system, or its owner, does not let it be read: then nothing more can be done. */
VAEI_SETUP int vaei_open_directory(char *path, vaei_handle *directory) {
    char        *slash = strrchr(path, '/'), first;
    if (slash == path) slash++;             /* the root */
    first = slash ? *slash : 0;
    if (slash) *slash = 0;
    do {
        errno = 0;
        *directory = VAEI_IO_OPEN(slash ? path : ".");
    } while (*directory == VAEI_IO_NONE && VAEI_IO_INTERRUPTED());
    if (slash) *slash = first;
    if (*directory != VAEI_IO_NONE) return 0;
#ifdef __wasi__
    return 0;
#else
    return errno == EACCES || errno == EPERM || errno == EISDIR || errno == EINVAL || errno == ENOTSUP ? 0
         : errno ? errno : -1;
#endif
}

/* Flushes and closes it. Some systems open directories, but do not flush them. Returns 0, or the error's number. */
VAEI_SETUP int vaei_sync_directory(vaei_handle directory) {
    int result;
    if (directory == VAEI_IO_NONE) return 0;
    do {
        errno = 0;
        result = VAEI_IO_SYNC(directory);
    } while (result && VAEI_IO_INTERRUPTED());
    if (result) result = errno == EINVAL || errno == EBADF || errno == ENOTSUP ? 0 : errno ? errno : -1;
    VAEI_IO_CLOSE(directory);
    return result;
}

#elif defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#include <sys/stat.h>
#include <time.h>
typedef int vaei_handle;
#define VAEI_IO_NONE (-1)

/* Paths are UTF-8. One that is not is taken to be in the system's own code page, as main's arguments are. */
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
/* A file that is being written cannot be removed; one that has just been written is not old enough to be. */
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

/* There is only one process, so an existing temporary file was left behind. */
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
VAEI_SETUP int vaei_follow_links(const char *path, char *target, char *link) {
    (void)link;
    strcpy(target, path);
    return 0;
}
VAEI_SETUP unsigned    vaei_first_mode(const char *target) { (void)target; return 0; }
VAEI_SETUP void        vaei_keep_mode(vaei_handle file, const char *target) { (void)file; (void)target; }
VAEI_SETUP int         vaei_has_name(vaei_handle file, const char *path) { (void)file; (void)path; return 1; }
VAEI_SETUP int         vaei_lock(const char *path) { (void)path; return VAEI_LOCK_NONE; }
VAEI_SETUP void        vaei_unlock(int lock) { (void)lock; }
VAEI_SETUP int         vaei_open_directory(char *path, vaei_handle *directory) {
    (void)path;
    *directory = VAEI_IO_NONE;
    return 0;
}
VAEI_SETUP int         vaei_sync_directory(vaei_handle directory) { (void)directory; return 0; }
#endif

#define VAEI_IO_PIECE ((size_t)1 << 20)     /* bytes read at once */
#define VAEI_SHOWN_PATH 100                 /* bytes of a path in a sentence */

/* A path of more than `room` bytes is shown without its middle: "models/...today.safetensors". UTF-8 characters stay
   whole. */
VAEI_SETUP void vaei_put_path(vaei_text *text, const char *path, size_t room) {
    size_t length = strlen(path), first = length, last = length, i;
    if (length > room) {
        first = (room - 3) / 3;
        last = length - (room - 3 - first);
        while (first && ((unsigned char)path[first] & 0xC0) == 0x80) first--;
        while (last < length && ((unsigned char)path[last] & 0xC0) == 0x80) last++;
    }
    for (i = 0; i < first;) i += vaei_put_shown(text, path + i);
    if (last > first) vaei_put_string(text, "...");
    for (i = last; i < length;) i += vaei_put_shown(text, path + i);
}

/* "cannot open model.safetensors: No such file or directory". */
VAEI_SETUP vae_status vaei_fail_path(const char *doing, const char *path, const char *reason, vae_error *error) {
    char      shown[VAEI_SHOWN_PATH + 1];
    vaei_text text = vaei_text_in(shown, sizeof shown);
    vaei_put_path(&text, path, VAEI_SHOWN_PATH);
    vaei_end_text(&text);
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

/* Puts the path before an error about the file's content. Other errors name it already. */
VAEI_SETUP vae_status vaei_in_file(const char *path, vae_status status, vae_error *error) {
#ifdef VAE_NO_MESSAGES
    (void)path, (void)error;
#else
    if (status != VAE_OK && status != VAE_ERROR_FILE && error) {
        char         sentence[sizeof error->message];
        const size_t all = sizeof error->message - 1, length = strlen(error->message) + 2;
        vaei_text    text;
        memcpy(sentence, error->message, sizeof sentence);
        text = vaei_text_in(error->message, sizeof error->message);
        vaei_put_path(&text, path, vaei_min_size(VAEI_SHOWN_PATH, vaei_max_size(24, all - vaei_min_size(all, length))));
        vaei_format(&text, ": %s", sentence);
    }
#endif
    return status;
}

/* Empties the buffer into the file. An interrupted write is tried again; after a failure nothing more is written. */
VAEI_SETUP void vaei_flush_file(vaei_writer *writer) {
    const vaei_handle file = *(const vaei_handle *)writer->file;
    size_t            done = 0;
    while (done < writer->used && !writer->failed) {
        long written;
        errno = 0;
        written = VAEI_IO_WRITE(file, writer->buffer + done, writer->used - done);
        if (written > 0) done += (size_t)written;
        /* A write of nothing that reports no error would be tried for ever. */
        else if (written == 0 || !VAEI_IO_INTERRUPTED()) writer->failed = errno ? errno : -1;
    }
    writer->used = 0;
}

/* Fails where the name is taken, so that no two saves write into one file. */
VAEI_SETUP vaei_handle vaei_create_file(const char *path, unsigned mode) {
    vaei_handle file;
    do {
        errno = 0;
        file = VAEI_IO_CREATE(path, mode);
    } while (file == VAEI_IO_NONE && VAEI_IO_INTERRUPTED());
    (void)mode;
    return file;
}

/* Of a path's folder, with the slash behind it; 0: the working directory. */
VAEI_SETUP size_t vaei_folder_length(const char *path) {
    size_t length = strlen(path);
#ifdef _WIN32
    while (length && !strchr("/\\:", path[length - 1])) length--;
#else
    while (length && path[length - 1] != '/') length--;
#endif
    return length;
}

/* The error where no file can be created beside `target`, which is what `path` leads to: most often for want of the
   folder, to whose name `target` is then cut. */
VAEI_SETUP vae_status vaei_fail_beside(char *target, const char *path, int reason, vae_error *error) {
    const size_t length = vaei_folder_length(target);
    char         sentence[VAEI_SHOWN_PATH + 40];
    vaei_text    text = vaei_text_in(sentence, sizeof sentence);
    if (reason != ENOENT || length < 2) return vaei_fail_file("create a file beside", path, reason, error);
    target[length - 1] = 0;
    vaei_put_string(&text, "there is no folder ");
    vaei_put_path(&text, target, VAEI_SHOWN_PATH);
    vaei_end_text(&text);
    return vaei_fail_path("save to", path, sentence, error);
}

/* Creates a new file beside `target`, and locks it. Its name is short, whatever the target's, since names have a
   largest length. All saves into a directory share the same names, so the next one clears away what a killed one
   left. */
VAEI_SETUP vaei_handle vaei_create_beside(const char *target, char temporary[VAEI_MAX_PATH + 32], int *lock) {
    const unsigned mode = vaei_first_mode(target);
    const size_t   folder = vaei_folder_length(target);
    int            attempt, is_ours, reason;
    for (attempt = 0; attempt < 10000; attempt++) {
        vaei_handle file;
        vaei_text   text = vaei_text_in(temporary, VAEI_MAX_PATH + 32);
        memcpy(temporary, target, folder);
        text.length = folder;
        vaei_format(&text, "vae-unfinished-%d.tmp", attempt);
        if ((file = vaei_create_file(temporary, mode)) == VAEI_IO_NONE && VAEI_IO_EXISTS()) {
            vaei_remove_stale(temporary);
            file = vaei_create_file(temporary, mode);
        }
        if (file == VAEI_IO_NONE) {
            if (VAEI_IO_EXISTS()) continue;
            return VAEI_IO_NONE;
        }
        /* Before it is locked, another save may have taken it for one left behind and removed it. */
        if ((*lock = vaei_lock(temporary)) == VAEI_LOCK_FAILED) is_ours = -1;
        else is_ours = *lock == VAEI_LOCK_TAKEN ? 0 : vaei_has_name(file, temporary);
        if (is_ours > 0) return file;
        reason = errno;
        if (is_ours < 0 && vaei_has_name(file, temporary) > 0) VAEI_IO_REMOVE(temporary);
        vaei_unlock(*lock);
        VAEI_IO_CLOSE(file);
        errno = reason;
        if (is_ours < 0) return VAEI_IO_NONE;
    }
    return VAEI_IO_NONE;
}

/* What a save needs room for; it comes from the allocator, since it is large for a stack. */
typedef struct vaei_saving {
    vaei_writer   writer;
    unsigned char buffer[4096];
    char          target[VAEI_MAX_PATH], temporary[VAEI_MAX_PATH + 32];
} vaei_saving;

/* Writes, flushes and closes. Returns 0, or a reason for vaei_fail_file. */
VAEI_SETUP int vaei_write_file(vaei_saving *saving, vaei_handle file, const vae_model *model, int checkpoint) {
    vaei_writer *writer = &saving->writer;
    size_t       size;
    int          result;
    memset(writer, 0, sizeof *writer);
    writer->buffer = saving->buffer;
    writer->room = sizeof saving->buffer;
    writer->flush = vaei_flush_file;
    writer->file = &file;
    vaei_write_model(writer, model, checkpoint, (size_t)-1, &size, NULL);
    vaei_flush_file(writer);
    vaei_keep_mode(file, saving->target);
    if (!writer->failed) {
        errno = 0;
        do result = VAEI_IO_SYNC(file);
        while (result && VAEI_IO_INTERRUPTED());
        if (result) writer->failed = errno ? errno : -1;
    }
    errno = 0;
    /* Not tried again: the file may be closed in spite of the interruption, and its number another's by then. */
    if (VAEI_IO_CLOSE(file) && !writer->failed && !VAEI_IO_INTERRUPTED()) writer->failed = errno ? errno : -1;
    return writer->failed;
}

/* At every instant the old file or the new one is whole: write beside it, flush, rename, flush the directory. */
VAEI_SETUP vae_status vaei_save_as(vaei_saving *saving, const vae_model *model, int checkpoint, const char *path,
                                   vae_error *error) {
    vaei_handle file, directory = VAEI_IO_NONE;
    int         failed, lock, is_written = 0;
    vae_status  status;
    /* The temporary file's name is not needed yet, so that its place is room to work in. */
    if ((failed = vaei_follow_links(path, saving->target, saving->temporary)) != 0)
        return vaei_fail_file("follow the links of", path, failed, error);
    if ((file = vaei_create_beside(saving->target, saving->temporary, &lock)) == VAEI_IO_NONE)
        return vaei_fail_beside(saving->target, path, errno, error);
    if ((failed = vaei_write_file(saving, file, model, checkpoint)) != 0)
        status = vaei_fail_file("write", path, failed, error);
    else if ((failed = vaei_open_directory(saving->temporary, &directory)) != 0)
        status = vaei_fail_file("open the directory of", path, failed, error);
    else {
        errno = 0;
        is_written = !VAEI_IO_RENAME(saving->temporary, saving->target);
        status = is_written ? VAE_OK : vaei_fail_file("replace", path, errno, error);
    }
    if (!is_written) VAEI_IO_REMOVE(saving->temporary);
    /* Locked up to here: without its final name the file could be taken for one that was left behind. */
    vaei_unlock(lock);
    if (!is_written) {
        if (directory != VAEI_IO_NONE) VAEI_IO_CLOSE(directory);
    } else if ((failed = vaei_sync_directory(directory)) != 0)
        status = vaei_fail_file("flush the directory of", path, failed, error);
    return status;
}

/* Checks what can be checked before a file is touched. */
VAEI_SETUP vae_status vaei_save_file(const vae_model *model, int checkpoint, const char *path, const char *call,
                                     vae_error *error) {
    vaei_saving *saving;
    vae_status   status;
    int          special;
    if (!path || !*path) return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: path is NULL or empty", call);
    if (strlen(path) >= VAEI_MAX_PATH)
        return vaei_fail(error, VAE_ERROR_ARGUMENT, "%s: path has more than %d bytes", call, VAEI_MAX_PATH - 1);
    if ((status = vaei_check_saving(model, checkpoint, call, error)) != VAE_OK) return status;
    if ((special = VAEI_IO_IS_SPECIAL(path)) < 0) return vaei_fail_file("look at", path, errno, error);
    if (special) return vaei_fail_special("save to", path, error);
    saving = (vaei_saving *)vaei_allocate(&model->settings.allocator, sizeof *saving);
    if (!saving)
        return vaei_fail(error, VAE_ERROR_MEMORY, "%s: " VAEI_NOT_ALLOCATED " to write the file", call,
                         sizeof *saving);
    status = vaei_save_as(saving, model, checkpoint, path, error);
    vaei_release(&model->settings.allocator, saving, sizeof *saving);
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

/* Reads exactly `size` bytes. Returns 0, or a reason for vaei_fail_file. */
VAEI_SETUP int vaei_read_bytes(vaei_handle file, unsigned char *bytes, size_t size) {
    size_t done = 0;
    while (done < size) {
        const size_t left = size - done;
        long         got;
        errno = 0;
        /* In pieces, since what systems and a long can count at once is limited. */
        got = VAEI_IO_READ(file, bytes + done, left < VAEI_IO_PIECE ? left : VAEI_IO_PIECE);
        if (got > 0) done += (size_t)got;
        /* Nothing more: the file has become shorter. */
        else if (got == 0 || !VAEI_IO_INTERRUPTED()) return errno ? errno : -1;
    }
    return 0;
}

/* What a file is read for: a new model, with this config or NULL, or the weights of an existing model. */
typedef struct vaei_reading {
    const char          *path;
    const vae_config    *config;
    vae_model           *model;         /* the existing one, or NULL until the new one is made */
    int                  is_new, is_transfer;
    const vae_allocator *allocator;
    vaei_file            file;
    vaei_matching        matching;
    unsigned char       *bytes;         /* the whole file, once it has been read */
    size_t               size;
} vaei_reading;

/* Whether the header suits what the file is read for. Checked before the data are read, since they may be large. */
VAEI_SETUP vae_status vaei_check_header(vaei_reading *reading, const unsigned char *header, vae_error *error) {
    vaei_file *file = &reading->file;
    vae_status status = vaei_open_file(file, header, reading->size, error);
    /* Only the header is there: nothing may look at the data yet. */
    file->data = NULL;
    if (status != VAE_OK) return status;
    if (reading->is_new)
        return vaei_make_model(file, reading->config, &reading->matching, &reading->model, error);
    if (reading->is_transfer) vaei_read_tied(file);
    else if (file->config_at && (status = vaei_agree_with_model(file, reading->model, error)) != VAE_OK) return status;
    memset(&reading->matching, 0, sizeof reading->matching);
    reading->matching.model = reading->model;
    reading->matching.file = file;
    reading->matching.is_transfer = reading->is_transfer;
    if ((status = vaei_match_header(&reading->matching, error)) != VAE_OK || reading->matching.taken) return status;
    return reading->is_transfer ? vaei_fail_transfer(&reading->matching, error) : VAE_OK;
}

/* Reads an open file: its first bytes, then its header, then the rest. A file that is no model for us is not read to
   its end. */
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
    /* A file of another kind is recognised by these, before what it seems to say about its header's length takes
       memory. */
    known = vaei_min_size(sizeof first, reading->size);
    memset(first, 0, sizeof first);
    if ((failed = vaei_read_bytes(file, first, known)) != 0)
        return vaei_fail_file("read", reading->path, failed, error);
    if ((status = vaei_check_beginning(first, known, reading->size, &length, error)) != VAE_OK) return status;
    begun = vaei_max_size(8 + length, known);
    if (!(header = (unsigned char *)vaei_allocate(reading->allocator, begun)))
        return vaei_fail(error, VAE_ERROR_MEMORY, VAEI_NOT_ALLOCATED " to read the file's header", begun);
    memcpy(header, first, known);
    if ((failed = vaei_read_bytes(file, header + known, begun - known)) != 0)
        status = vaei_fail_file("read", reading->path, failed, error);
    if (status == VAE_OK) status = vaei_check_header(reading, header, error);
    if (status == VAE_OK && !(reading->bytes = (unsigned char *)vaei_allocate(reading->allocator, reading->size)))
        status = vaei_fail(error, VAE_ERROR_MEMORY, VAEI_NOT_ALLOCATED " to read the file", reading->size);
    /* Copied, not read again: the file may change meanwhile, and what was checked must be what is used. */
    if (status == VAE_OK) memcpy(reading->bytes, header, begun);
    vaei_release(reading->allocator, header, begun);
    if (status != VAE_OK) return status;
    if ((failed = vaei_read_bytes(file, reading->bytes + begun, reading->size - begun)) == 0) return VAE_OK;
    vaei_release(reading->allocator, reading->bytes, reading->size);
    return vaei_fail_file("read", reading->path, failed, error);
}

/* Opens, reads and closes the file; on success reading->bytes is to be released. */
VAEI_SETUP vae_status vaei_read_file(vaei_reading *reading, vae_error *error) {
    vaei_handle file;
    vae_status  status;
    if (VAEI_IO_IS_SPECIAL(reading->path) > 0) return vaei_fail_special("load", reading->path, error);
    do {
        errno = 0;
        file = VAEI_IO_OPEN(reading->path);
    } while (file == VAEI_IO_NONE && VAEI_IO_INTERRUPTED());
    if (file == VAEI_IO_NONE) return vaei_fail_file("open", reading->path, errno, error);
    status = vaei_read_open_file(reading, file, error);
    VAEI_IO_CLOSE(file);
    return status;
}

/* The model is made from the header, before the rest of the file is read: a file of another network, or one that would
   take too much memory, costs nothing. */
VAE_API vae_status vae_load(const char *path, const vae_config *config, vae_model **model, vae_error *error) {
    vae_allocator allocator;
    vaei_reading  reading;
    vae_status    status;
    if (!path || !model) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_load: path or model is NULL");
    if (!*path) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_load: path is empty");
    memset(&allocator, 0, sizeof allocator);
    memset(&reading, 0, sizeof reading);
    if (config) allocator = config->allocator;
    if ((status = vaei_check_allocator(&allocator, error)) != VAE_OK) return status;
    reading.path = path;
    reading.config = config;
    reading.is_new = 1;
    reading.allocator = &allocator;
    if ((status = vaei_read_file(&reading, error)) == VAE_OK) {
        /* The model was made from the header alone; now all of the file is there. */
        reading.file.bytes = reading.bytes;
        reading.file.data = reading.bytes + reading.file.header_end;
        status = vaei_match_numbers(&reading.matching, reading.model, error);
        vaei_release(&allocator, reading.bytes, reading.size);
    }
    if (status == VAE_OK) *model = reading.model;
    else vae_destroy(reading.model);
    return vaei_in_file(path, status, error);
}

/* Reads a file's weights into an existing model. */
VAEI_SETUP vae_status vaei_load_into(vae_model *model, const char *path, int is_transfer, unsigned char *taken,
                                     vae_error *error) {
    vaei_reading reading;
    vae_status   status;
    memset(&reading, 0, sizeof reading);
    reading.path = path;
    reading.model = model;
    reading.is_transfer = is_transfer;
    reading.allocator = &model->settings.allocator;
    if ((status = vaei_read_file(&reading, error)) == VAE_OK) {
        status = is_transfer ? vae_load_matching_memory(model, reading.bytes, reading.size, taken, error)
                             : vae_load_weights_memory(model, reading.bytes, reading.size, error);
        vaei_release(reading.allocator, reading.bytes, reading.size);
    }
    return vaei_in_file(path, status, error);
}

VAE_API vae_status vae_load_weights(vae_model *model, const char *path, vae_error *error) {
    const vae_status status = vaei_check_loading(model, path, "vae_load_weights", error);
    if (status == VAE_OK && !*path) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_load_weights: path is empty");
    return status == VAE_OK ? vaei_load_into(model, path, 0, NULL, error) : status;
}

VAE_API vae_status vae_load_matching(vae_model *model, const char *path, unsigned char *taken, vae_error *error) {
    const vae_status status = vaei_check_loading(model, path, "vae_load_matching", error);
    if (status == VAE_OK && !*path) return vaei_fail(error, VAE_ERROR_ARGUMENT, "vae_load_matching: path is empty");
    return status == VAE_OK ? vaei_load_into(model, path, 1, taken, error) : status;
}

#if defined(_MSC_VER)
#pragma warning(pop)
#endif
#endif /* VAE_NO_STDIO */

#if defined(VAEI_RESTORE_FLOATS)        /* see section platform */
#if VAEI_RESTORE_FLOATS == 1
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wignored-pragmas"
#ifdef __FAST_MATH__
#pragma clang fp reassociate(on)
#endif
#pragma STDC FP_CONTRACT DEFAULT
#pragma float_control(pop)
#pragma clang diagnostic pop
#elif VAEI_RESTORE_FLOATS == 2
#pragma float_control(pop)
#else
#pragma GCC pop_options
#endif
#endif
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#endif /* VAE_IMPLEMENTATION */
#undef VAEI_PASS        /* a pass through the kernels ends with the file */

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

   0.2.0   the interface as it is meant to stay: see CHANGELOG.md for what a program of 0.1.0 must change
   0.1.0   the first release
*/
