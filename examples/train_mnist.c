/* train_mnist.c - trains a variational autoencoder on MNIST; it can be interrupted and go on later.

       build/train_mnist --epochs 10                  Ctrl-C saves a checkpoint and says how to go on
       build/train_mnist --recipe torch-400-20        settings for which others have published figures

   After each epoch it draws new samples and saves a checkpoint. A last line, "final: ..", is for scripts, in nats per
   image. The same options give the same numbers, interrupted or not. */
#define VAE_IMPLEMENTATION
#include "support/interrupt.h"
#include "../vae.h"

#include "support/beside.h"
#include "support/checkpoint.h"
#include "support/evaluation.h"
#include "support/idx_reader.h"
#include "support/loss_log.h"
#include "support/options.h"
#include "support/png_writer.h"
#include "recipes.h"

enum { SHOWN = 100 };
typedef struct training {
    const char  *recipe, *data, *out, *samples, *checkpoint, *log;      /* the command line's */
    long long    seed, threads, evaluate;
    double       seconds;
    int          resume;
    recipe       chosen;
    recipe_changes changes;
    checkpoint   saved;
    idx_images   images, test;
    int         *labels, *test_labels;  /* where the recipe has classes */
    float       *pixels;                /* of SHOWN images */
    vae_progress latest;
    char         message[256], beside[BESIDE_SIZE];  /* what went wrong in the callback; --checkpoint's default */
} training;

/* From the prior; of a plain autoencoder, which has none, the first test images as it gives them back. */
static int write_samples(training *t, vae_model *model) {
    const int      plain = t->chosen.config.objective == VAE_OBJECTIVE_AUTOENCODER;
    const vae_data shown = { .bytes = t->test.pixels, .count = t->test.count < SHOWN ? t->test.count : SHOWN };
    const png_grid grid = { .images = t->pixels, .count = plain ? shown.count : SHOWN, .height = t->test.height,
                            .width = t->test.width, .channels = 1, .columns = 10, .scale = 3 };
    vae_error      error;
    if ((plain ? vae_reconstruct(model, &shown, t->pixels, &error)
               : vae_sample(model, SHOWN, t->pixels, &error)) != VAE_OK) return fail(t->message, "%s", error.message);
    return png_write_grid(t->samples, &grid, t->message);
}

/* Called by vae_fit; a result other than 0 stops it. A checkpoint counts the samples of epochs, not those of a stop. */
static int on_progress(void *user, const vae_progress *progress) {
    training *t = user;
    t->latest = *progress;
    vae_print_progress(NULL, progress);
    if (progress->event == VAE_EVENT_BATCH) return interrupted || (t->seconds > 0 && progress->seconds >= t->seconds);
    if (progress->event == VAE_EVENT_EPOCH && write_samples(t, progress->model) != 0) return -1;
    if (checkpoint_save(&t->saved, progress->model, t->message) != 0) return -1;
    recipe_set_rate(&t->chosen, progress->model);
    if (t->log && progress->has_validation && loss_log_write(t->log, progress, t->message) != 0) return -1;
    return interrupted || (progress->event == VAE_EVENT_STOPPED && write_samples(t, progress->model) != 0);
}

/* Trains and saves; the result is the exit code. */
static int train(training *t, vae_model *model, int argc, char **argv) {
    const vae_data data = { .bytes = t->images.pixels, .count = t->images.count, .labels = t->labels };
    const vae_data test = { .bytes = t->test.pixels, .count = t->test.count, .labels = t->test_labels };
    vae_fit_config fit = { .until_epoch = (size_t)t->chosen.epochs, .validation = &test, .on_progress = on_progress,
                           .user = t, .keep_order = t->chosen.stages, .output_bias_from_data = t->chosen.output_bias };
    vae_state      state;
    vae_terms      score;
    vae_error      error;
    vae_status     status = vae_fit(model, &data, &fit, &error);
    if (t->message[0]) return complain("train_mnist", t->message);
    vae_get_state(model, &state);
    if (status == VAE_STOPPED && interrupted)
        return interrupt_explain((unsigned long)state.epoch + 1, t->checkpoint, argc, argv, t->resume);
    if (status == VAE_STOPPED)
        printf("stopped in epoch %d of %d: %g seconds are over (--seconds); the model is as the last update left it, "
               "--resume goes on\n", (int)state.epoch + 1, (int)fit.until_epoch, t->seconds);
    if (status == VAE_OK || status == VAE_STOPPED) status = vae_elbo(model, &test, &score, NULL, &error);
    if (status == VAE_OK) status = vae_save(model, t->out, &error);
    if (status != VAE_OK) return complain("train_mnist", error.message);
    printf("wrote %s and %s\nfinal: epochs=%.4g train_loss=%.2f test_loss=%.2f reconstruction=%.2f kl=%.2f "
           "seconds=%.1f\n", t->out, t->samples, (double)state.epoch + (double)state.row / (double)data.count,
           t->latest.train.loss, score.loss, score.reconstruction, score.kl, t->latest.seconds);
    if (t->evaluate && print_evaluation(model, &test, (size_t)t->evaluate, t->message) != 0)
        return complain("train_mnist", t->message);
    return 0;
}

int main(int argc, char **argv) {
    static training t = { .recipe = "conv", .out = "out/model.safetensors", .samples = "out/samples.png", .seed = 1,
                          .changes = { .beta = -1 } };
    const option table[] = {
        { "recipe", "NAME", "network and settings; 'list' shows them", OPTION_TEXT, &t.recipe, 0, 0 },
        { "latent", "N", "another number of latent dimensions", OPTION_INTEGER, &t.changes.latent, 1, 1024 },
        { "batch", "N", "another number of images in an update", OPTION_INTEGER, &t.changes.batch, 1, 65536 },
        { "lr", "F", "another learning rate", OPTION_NUMBER, &t.changes.learning_rate, 1e-8, 1 },
        { "beta", "F", "another weight of the KL term", OPTION_NUMBER, &t.changes.beta, 0, 1e6 },
        { "epochs", "N", "passes over the images, else the recipe's", OPTION_INTEGER, &t.changes.epochs, 1, 100000 },
        { "k", "N", "samples of z for each image, as in recipe iwae", OPTION_INTEGER, &t.changes.samples, 1, 5000 },
        { "objective", "NAME", "of these samples: vae, iwae", OPTION_TEXT, &t.changes.objective, 0, 0 },
        { "evaluate", "N", "then tell log p(x) of so many samples an image", OPTION_INTEGER, &t.evaluate, 0, 100000 },
        { "seconds", "F", "stop after so much time, 0 for never", OPTION_NUMBER, &t.seconds, 0, 1e9 },
        { "seed", "N", "of everything random", OPTION_INTEGER, &t.seed, 0, 2147483647 },
        { "threads", "N", "0 for all cores", OPTION_INTEGER, &t.threads, 0, 64 },
        { "data", "DIR", "MNIST's files (else MNIST_DIR, data/, ...)", OPTION_TEXT, &t.data, 0, 0 },
        { "out", "FILE", "trained model", OPTION_MODEL, &t.out, 0, 0 },
        { "samples", "FILE", "picture of digits from the prior", OPTION_OUTPUT, &t.samples, 0, 0 },
        { "log", "FILE", "losses of every epoch as CSV", OPTION_OUTPUT, &t.log, 0, 0 },
        { "checkpoint", "FILE", "for --resume, else OUT-RECIPE-checkpoint", OPTION_MODEL, &t.checkpoint, 0, 0 },
        { "resume", "", "go on from the checkpoint", OPTION_FLAG, &t.resume, 0, 0 },
        OPTIONS_END
    };
    vae_config *config = &t.chosen.config;
    vae_model *model = NULL;
    idx_directory found;
    int        code = options_parse(argc, argv, "Trains a variational autoencoder on MNIST.", table, 0);
    if (code >= 0) return code;
    if (strcmp(t.recipe, "list") == 0) return recipe_find(NULL, NULL);
    if (recipe_find(t.recipe, &t.chosen) != 0) return options_wrong("train_mnist", "--recipe list has no %s", t.recipe);
    if (!t.checkpoint) t.checkpoint = beside(t.beside, t.out, ".safetensors", "-%s-checkpoint.safetensors", t.recipe);
    if (options_check_outputs("train_mnist", table) != 0) return 2;
    if (idx_read_mnist(t.data, &found, &t.images, &t.test, t.message) != 0) return complain("train_mnist", t.message);
    config->input = (vae_shape){ t.images.height, t.images.width, 1 };
    if (recipe_change(&t.chosen, &t.changes, t.images.count) != 0)
        return options_wrong("train_mnist", "--objective is vae or iwae, not %s", t.changes.objective);
    if (config->classes && (!(t.labels = idx_read_mnist_labels(t.data, "train", t.images.count, t.message)) ||
                            !(t.test_labels = idx_read_mnist_labels(t.data, "t10k", t.test.count, t.message))))
        return complain("train_mnist", t.message);
    config->seed = (uint64_t)t.seed;
    config->threads = (int)t.threads;
    t.pixels = malloc(SHOWN * (size_t)t.test.height * (size_t)t.test.width * sizeof *t.pixels);
    if (!t.pixels) return complain("train_mnist", "not enough memory for the pictures");
    checkpoint_begin(&t.saved, t.checkpoint, "--checkpoint", "images", found.path, t.images.pixels, t.images.count,
                     (size_t)t.images.height * (size_t)t.images.width);
    if (checkpoint_open(&t.saved, t.resume, config, &model, t.message) != 0) return complain("train_mnist", t.message);
    interrupt_begin();
    vae_print_summary(model);
    if (checkpoint_has_epochs_left(model, (size_t)t.chosen.epochs))
        printf("watch %s: new digits after each epoch\n", t.samples);
    recipe_set_rate(&t.chosen, model);
    code = train(&t, model, argc, argv);
    vae_destroy(model);
    free(t.pixels);
    free(t.images.pixels);
    free(t.test.pixels);
    free(t.labels);
    free(t.test_labels);
    return code;
}
