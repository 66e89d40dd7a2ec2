/* train_mnist.c - trains a variational autoencoder on MNIST; it can be interrupted and go on later.

       build/train_mnist --epochs 10                  Ctrl-C saves a checkpoint and says how to go on
       build/train_mnist --recipe torch-400-20        settings for which others have published figures

   After each epoch it draws new samples and saves a checkpoint. A last line, "final: ..", is for scripts, in nats per
   image. The same options give the same numbers, interrupted or not. */
#define VAE_IMPLEMENTATION
#include "../vae.h"

#include "support/evaluation.h"
#include "support/idx_reader.h"
#include "support/interrupt.h"
#include "support/loss_log.h"
#include "support/options.h"
#include "support/png_writer.h"
#include "recipes.h"

enum { SHOWN = 100 };

typedef struct training {
    const char  *recipe, *data, *out, *samples, *checkpoint, *log;      /* the command line's */
    long long    latent, epochs, batch, seed, threads, k, evaluate;
    double       learning_rate, beta, seconds;
    int          resume;
    recipe       chosen;
    idx_images   images, test;
    float       *pixels;                /* of SHOWN images */
    vae_progress latest;
    char         message[256];          /* what went wrong in the callback */
} training;

static int write_samples(training *t, vae_model *model) {
    const png_grid grid = { .images = t->pixels, .count = SHOWN, .height = t->test.height, .width = t->test.width,
                            .channels = 1, .columns = 10, .scale = 3 };
    vae_error      error;
    if (t->chosen.config.objective == VAE_OBJECTIVE_AUTOENCODER) return 0;      /* no prior to draw from */
    if (vae_sample(model, SHOWN, t->pixels, &error) != VAE_OK) return fail(t->message, "%s", error.message);
    return png_write_grid(t->samples, &grid, t->message);
}

/* Called by vae_fit after each batch and each epoch, and when training stops. A result other than 0 stops it. */
static int on_progress(void *user, const vae_progress *progress) {
    training *t = user;
    vae_error error;
    t->latest = *progress;
    vae_print_progress(NULL, progress);
    if (progress->event == VAE_EVENT_BATCH) return interrupted || (t->seconds > 0 && progress->seconds >= t->seconds);
    if (vae_save_checkpoint(progress->model, t->checkpoint, &error) != VAE_OK)
        return fail(t->message, "%s", error.message);
    if (t->chosen.stages) recipe_set_rate(progress->model, t->learning_rate);
    if (t->log && progress->has_validation && loss_log_write(t->log, progress, t->message) != 0) return -1;
    return write_samples(t, progress->model) != 0 || interrupted;
}

/* Trains and saves; the result is the exit code. */
static int train(training *t, vae_model *model, int argc, char **argv) {
    const vae_data data = { .bytes = t->images.pixels, .count = t->images.count };
    const vae_data test = { .bytes = t->test.pixels, .count = t->test.count };
    vae_fit_config fit = { .until_epoch = (size_t)t->epochs, .validation = &test, .keep_order = t->chosen.stages,
                           .output_bias_from_data = t->chosen.output_bias_from_data, .on_progress = on_progress,
                           .user = t };
    vae_state      state;
    vae_terms      score;
    vae_error      error;
    vae_status     status = vae_fit(model, &data, &fit, &error);
    if (t->message[0]) return complain("train_mnist", t->message);
    vae_get_state(model, &state);
    if (status == VAE_STOPPED && interrupted) {
        printf("interrupted in epoch %d; everything is in %s, go on with\n   ", (int)state.epoch + 1, t->checkpoint);
        for (int i = 0; i < argc; i++) printf(strchr(argv[i], ' ') ? " '%s'" : " %s", argv[i]);
        printf(t->resume ? "\n" : " --resume\n");
        return 128 + interrupted;       /* the exit code that shells use for a signal */
    }
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
    static training t = { .recipe = "conv", .out = "out/model.safetensors", .samples = "out/samples.png",
                          .checkpoint = "out/checkpoint.safetensors", .seed = 1, .beta = -1 };
    const option table[] = {
        { "recipe", "NAME", "network and settings; 'list' shows them", OPTION_TEXT, &t.recipe, 0, 0 },
        { "latent", "N", "another number of latent dimensions", OPTION_INTEGER, &t.latent, 1, 1024 },
        { "batch", "N", "another number of images in an update", OPTION_INTEGER, &t.batch, 1, 65536 },
        { "lr", "F", "another learning rate", OPTION_NUMBER, &t.learning_rate, 1e-8, 1 },
        { "beta", "F", "another weight of the KL term", OPTION_NUMBER, &t.beta, 0, 1e6 },
        { "epochs", "N", "passes over the images, else the recipe's", OPTION_INTEGER, &t.epochs, 1, 100000 },
        { "k", "N", "another number of samples a row, recipe iwae", OPTION_INTEGER, &t.k, 1, 5000 },
        { "evaluate", "N", "then tell log p(x) by so many samples", OPTION_INTEGER, &t.evaluate, 0, 100000 },
        { "seconds", "F", "stop after so much time, 0 for never", OPTION_NUMBER, &t.seconds, 0, 1e9 },
        { "seed", "N", "of everything random", OPTION_INTEGER, &t.seed, 0, 2147483647 },
        { "threads", "N", "0 for all cores", OPTION_INTEGER, &t.threads, 0, 64 },
        { "data", "DIR", "MNIST's files (else MNIST_DIR, data/, ...)", OPTION_TEXT, &t.data, 0, 0 },
        { "out", "FILE", "trained model", OPTION_OUTPUT, &t.out, 0, 0 },
        { "samples", "FILE", "picture of digits from the prior", OPTION_OUTPUT, &t.samples, 0, 0 },
        { "log", "FILE", "losses of every epoch as CSV", OPTION_OUTPUT, &t.log, 0, 0 },
        { "checkpoint", "FILE", "all that --resume needs", OPTION_OUTPUT, &t.checkpoint, 0, 0 },
        { "resume", "", "go on from the checkpoint", OPTION_FLAG, &t.resume, 0, 0 },
        OPTIONS_END
    };
    vae_config *config = &t.chosen.config;
    vae_model *model = NULL;
    vae_error  error;
    int        code = options_parse(argc, argv, "Trains a variational autoencoder on MNIST.", table, 0);
    if (code >= 0) return code;
    if (strcmp(t.recipe, "list") == 0) return recipe_find(NULL, NULL);
    if (recipe_find(t.recipe, &t.chosen) != 0) return options_wrong("train_mnist", "--recipe list has no %s", t.recipe);
    if (options_check_outputs("train_mnist", table) != 0) return 2;
    if (idx_read_mnist(t.data, &t.images, &t.test, t.message) != 0) return complain("train_mnist", t.message);
    config->input = (vae_shape){ t.images.height, t.images.width, 1 };
    if (t.latent) config->latent = (int)t.latent;
    if (t.batch) config->batch = (size_t)t.batch;
    if (t.k) config->samples = (size_t)t.k;
    if (!t.epochs) t.epochs = t.chosen.epochs ? t.chosen.epochs : 10;
    if (t.learning_rate > 0) config->optimizer.learning_rate = (vae_real)t.learning_rate;
    else if (t.chosen.stages) t.learning_rate = 1e-3;
    if (config->optimizer.schedule.kind)
        config->optimizer.schedule.steps =
            (uint64_t)t.epochs * ((t.images.count - 1) / (config->batch ? config->batch : 128) + 1);
    if (t.beta >= 0) config->beta = t.beta > 0 ? (vae_real)t.beta : VAE_ZERO;
    config->seed = (uint64_t)t.seed;
    config->threads = (int)t.threads;
    t.pixels = malloc(SHOWN * (size_t)t.test.height * (size_t)t.test.width * sizeof *t.pixels);
    if (!t.pixels) return complain("train_mnist", "not enough memory for the pictures");
    if ((t.resume ? vae_load(t.checkpoint, config, &model, &error)
                  : vae_create(config, &model, &error)) != VAE_OK) return complain("train_mnist", error.message);
    interrupt_begin();
    vae_print_summary(model);
    if (!t.resume && file_can_be_read(t.checkpoint))
        printf("%s is there already: --resume would go on from it\n", t.checkpoint);
    printf("watch %s: new samples after each epoch\n", t.samples);
    if (t.chosen.stages) recipe_set_rate(model, t.learning_rate);
    code = train(&t, model, argc, argv);
    vae_destroy(model);
    free(t.pixels);
    free(t.images.pixels);
    free(t.test.pixels);
    return code;
}
