/* train_mnist.c - trains a variational autoencoder on MNIST, writes the model, pictures and a log.

       cc -std=c99 -O2 -DVAE_THREADS examples/train_mnist.c -o build/train_mnist -lm
       build/train_mnist --model conv --epochs 10

   The last line it prints is for scripts:
       final: epochs=10 train_loss=.. test_loss=.. reconstruction=.. kl=.. images_per_second=.. seconds=..
   in nats per image; reconstruction and kl are the test set's. The same options give the same numbers each time. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "idx_reader.h"
#include "options.h"
#include "png_writer.h"

enum { SHOWN = 100, SHOWN_COLUMNS = 10, SHOWN_SCALE = 3 };
enum { DENSE = 0, CONV };   /* the order in which --model lists them */

typedef struct settings {
    const char *data, *out, *samples, *reconstructions, *log;
    int         model;
    long long   hidden, latent, epochs, batch, seed, threads;
    double      learning_rate, beta, seconds;
} settings;

/* What training has come to, for the log and the last line. */
typedef struct report {
    FILE        *log;                /* NULL: none wanted */
    double       stop_after;         /* seconds; 0: never */
    vae_progress latest;
} report;

static void log_epoch(const report *r, const vae_terms *test) {
    const vae_terms *train = &r->latest.train;
    if (!r->log) return;
    fprintf(r->log, "%lu,%.4f,%.4f,%.4f,%.4f,%.4f,%.4f,%.0f,%.2f\n", (unsigned long)r->latest.epoch, train->loss,
            train->reconstruction, train->kl, test->loss, test->reconstruction, test->kl,
            r->latest.examples_per_second, r->latest.seconds);
    fflush(r->log);
}

/* Called by vae_fit after each batch and each epoch. */
static int on_progress(void *user, const vae_progress *progress) {
    report *r = user;
    vae_print_progress(NULL, progress);
    r->latest = *progress;
    if (progress->event == VAE_EVENT_EPOCH) log_epoch(r, &progress->validation);
    return r->stop_after > 0 && progress->seconds >= r->stop_after;
}

static vae_config make_config(const settings *s, const idx_images *images) {
    const vae_config dense = { .encoder = { VAE_DENSE((int)s->hidden, VAE_RELU) } };
    const vae_config conv = {
        .encoder = { VAE_CONV(16, 4, 2, VAE_RELU), VAE_CONV(32, 4, 2, VAE_RELU), VAE_DENSE(256, VAE_RELU) },
        .initialization = VAE_INIT_GLOROT,
    };
    vae_config config = s->model == DENSE ? dense : conv;   /* no decoder: the mirror image of the encoder */
    config.input.height = images->height;
    config.input.width = images->width;
    config.input.channels = 1;
    config.latent = (int)s->latent;
    config.beta = s->beta > 0 ? (vae_real)s->beta : VAE_ZERO;   /* a plain 0 would mean the default */
    config.optimizer.learning_rate = (vae_real)s->learning_rate;
    config.batch = (size_t)s->batch;
    config.seed = (uint64_t)s->seed;
    config.threads = (int)s->threads;
    return config;
}

static int write_pictures(vae_model *model, const settings *s, const idx_images *test) {
    const size_t size = vae_example_size(model), shown = test->count < SHOWN ? test->count : SHOWN;
    float       *pixels = malloc(SHOWN * size * sizeof *pixels);
    png_grid     grid = { .images = pixels, .count = SHOWN, .height = test->height, .width = test->width,
                          .channels = 1, .columns = SHOWN_COLUMNS, .scale = SHOWN_SCALE };
    char         message[256] = "not enough memory for the pictures";
    vae_error    error;
    int          result = pixels ? 0 : -1;

    if (result == 0 && vae_sample(model, SHOWN, pixels, &error) != VAE_OK)
        result = png_fail(message, "%s", error.message);
    if (result == 0) result = png_write_grid(s->samples, &grid, message);
    if (result == 0) printf("wrote %s\n", s->samples);
    if (result == 0 && s->reconstructions) {
        if (vae_reconstruct(model, &(vae_data){ .bytes = test->pixels, .count = shown }, pixels, &error) != VAE_OK)
            result = png_fail(message, "%s", error.message);
        grid.originals = test->pixels;
        grid.count = shown;
        if (result == 0) result = png_write_grid(s->reconstructions, &grid, message);
        if (result == 0) printf("wrote %s\n", s->reconstructions);
    }
    free(pixels);
    if (result != 0) fprintf(stderr, "train_mnist: %s\n", message);
    return result;
}

/* Trains, saves and draws; the result is the exit code. */
static int train(vae_model *model, const settings *s, const idx_images *images, const idx_images *test, FILE *log) {
    const vae_data data = { .bytes = images->pixels, .count = images->count };
    const vae_data held_out = { .bytes = test->pixels, .count = test->count };
    report         r = { .log = log, .stop_after = s->seconds };
    vae_fit_config fit = { 0 };
    vae_terms      score;
    vae_error      error;
    vae_status     status;

    vae_print_summary(model);
    fit.epochs = (size_t)s->epochs;
    fit.validation = &held_out;
    fit.output_bias_from_data = 1;                  /* saves it an epoch of finding out that most pixels are black */
    fit.on_progress = on_progress;
    fit.user = &r;
    status = vae_fit(model, &data, &fit, &error);
    if (status == VAE_STOPPED) printf("stopped: the --seconds are over\n");
    if (status == VAE_OK || status == VAE_STOPPED) status = vae_elbo(model, &held_out, &score, NULL, &error);
    if (status == VAE_OK && r.latest.event == VAE_EVENT_STOPPED && r.latest.batch < r.latest.batches)
        log_epoch(&r, &score);   /* the one cut short */
    if (status == VAE_OK) status = vae_save(model, s->out, &error);
    if (status != VAE_OK) {
        fprintf(stderr, "train_mnist: %s\n", error.message);
        return 1;
    }
    printf("wrote %s\n", s->out);
    if (write_pictures(model, s, test) != 0) return 1;
    printf("final: epochs=%.4g train_loss=%.2f test_loss=%.2f reconstruction=%.2f kl=%.2f images_per_second=%.0f "
           "seconds=%.1f\n", (double)(r.latest.epoch - 1) + (double)r.latest.batch / (double)r.latest.batches,
           r.latest.train.loss, score.loss, score.reconstruction, score.kl, r.latest.examples_per_second,
           r.latest.seconds);
    return 0;
}

int main(int argc, char **argv) {
    settings s = { .out = "out/model.safetensors", .samples = "out/samples.png", .model = DENSE, .hidden = 400,
                   .latent = 20, .epochs = 10, .batch = 128, .seed = 1, .beta = 1,
                   .learning_rate = 0.002 };            /* at 0.001 the dense model takes an epoch more */
    const option table[] = {
        { "data", "DIR", "MNIST's four files (default: MNIST_DIR, data, ...)", OPTION_TEXT, &s.data, 0, 0 },
        { "model", "dense|conv", "kind of network", OPTION_CHOICE, &s.model, 0, 0 },
        { "hidden", "N", "units of the dense model's hidden layers", OPTION_INTEGER, &s.hidden, 1, 16384 },
        { "latent", "N", "dimensions of the latent space", OPTION_INTEGER, &s.latent, 1, 1024 },
        { "epochs", "N", "passes over the training images", OPTION_INTEGER, &s.epochs, 1, 100000 },
        { "batch", "N", "images in an update", OPTION_INTEGER, &s.batch, 1, 65536 },
        { "lr", "F", "Adam's learning rate", OPTION_NUMBER, &s.learning_rate, 1e-8, 1 },
        { "beta", "F", "weight of the KL term", OPTION_NUMBER, &s.beta, 0, 1e6 },
        { "seconds", "F", "stop after so much time, 0 for never", OPTION_NUMBER, &s.seconds, 0, 1e9 },
        { "seed", "N", "of everything random", OPTION_INTEGER, &s.seed, 0, 2147483647 },
        { "threads", "N", "0 for all cores", OPTION_INTEGER, &s.threads, 0, 64 },
        { "out", "FILE", "the trained model", OPTION_TEXT, &s.out, 0, 0 },
        { "samples", "FILE", "picture of digits from the prior", OPTION_TEXT, &s.samples, 0, 0 },
        { "reconstructions", "FILE", "picture of test digits above what the model makes of them", OPTION_TEXT,
          &s.reconstructions, 0, 0 },
        { "log", "FILE", "losses of every epoch as CSV", OPTION_TEXT, &s.log, 0, 0 },
        OPTIONS_END
    };
    idx_directory directory;
    idx_images    images = { NULL, 0, 0, 0 }, test = { NULL, 0, 0, 0 };
    FILE         *log = NULL;
    vae_model    *model = NULL;
    vae_config    config;
    vae_error     error;
    char          message[256];
    int           code = options_parse(argc, argv, "Trains a variational autoencoder on MNIST.", table, 0);
    if (code >= 0) return code;

    code = 1;
    if (idx_find_directory(s.data, &directory, message) != 0 ||
        idx_read_images(directory.path, "train-images-idx3-ubyte", &images, message) != 0 ||
        idx_read_images(directory.path, "t10k-images-idx3-ubyte", &test, message) != 0 ||
        make_parent_directory(s.out, message) != 0 ||
        make_parent_directory(s.samples, message) != 0 || (s.log && make_parent_directory(s.log, message) != 0)) {
        fprintf(stderr, "train_mnist: %s\n", message);
    } else if (test.height != images.height || test.width != images.width) {
        fprintf(stderr, "train_mnist: the training and the test images in %s differ in size\n", directory.path);
    } else if (s.log && (log = fopen(s.log, "w")) == NULL) {
        fprintf(stderr, "train_mnist: cannot write %s: %s\n", s.log, strerror(errno));
    } else {
        printf("data: %s in %s, %lu training and %lu test images\n", idx_describe(&directory), directory.path,
               (unsigned long)images.count, (unsigned long)test.count);
        if (log) fprintf(log, "epoch,train_loss,train_reconstruction,train_kl,test_loss,test_reconstruction,test_kl,"
                              "images_per_second,seconds\n");
        config = make_config(&s, &images);
        if (vae_create(&config, &model, &error) != VAE_OK) fprintf(stderr, "train_mnist: %s\n", error.message);
        else code = train(model, &s, &images, &test, log);
    }
    if (log && fclose(log) != 0 && code == 0) {
        fprintf(stderr, "train_mnist: cannot write %s: %s\n", s.log, strerror(errno));
        code = 1;
    }
    vae_destroy(model);
    free(images.pixels);
    free(test.pixels);
    return code;
}
