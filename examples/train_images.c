/* train_images.c - learns the pictures of a folder, and makes new ones.

       build/train_images photos --size 64 --out out/photos
       build/train_images                                       draws coloured shapes to learn

   Reads PGM and PPM files; PNG and JPEG where stb_image.h was there to compile with. Of each picture the middle is cut
   out and scaled: to a square of --size, else to the shape of the first one, 64 pixels on its longer side at most.
   Writes PREFIX.safetensors, PREFIX-samples.png, new pictures from near where yours lie in the latent space, and
   PREFIX-reconstructions.png, yours above what the model makes of them. Ctrl-C saves a checkpoint, --resume goes on. */
#define VAE_IMPLEMENTATION
#include "../vae.h"
#include "support/image_folder.h"
#include "support/interrupt.h"
#include "support/mean_picture.h"
#include "support/near_codes.h"
#include "support/options.h"
#include "support/png_writer.h"
#include "support/shapes.h"

enum { COLUMNS = 8, SAMPLES = 64, SHOWN = 24, LONGER_SIDE = 64, UPDATES = 5000, SHAPES = 4000 };

typedef struct training {
    const char  *path, *prefix;         /* these lines are the command line's */
    long long    size, latent, epochs, seed, threads;
    double       beta, spread;
    int          resume;
    image_folder folder;
    char         checkpoint[1100], message[MESSAGE_SIZE];
} training;

/* Halves the picture while it is larger than 4, with up to 128 channels. */
static void choose_network(vae_config *config, const image_folder *folder) {
    int side = folder->height < folder->width ? folder->height : folder->width, layers = 0, channels = 32;
    config->input = (vae_shape){ folder->height, folder->width, folder->channels };
    for (; side > 4 && layers < 6; side = (side + 1) / 2, channels = channels < 128 ? 2 * channels : channels)
        config->encoder[layers++] = VAE_CONV(channels, 4, 2, VAE_SILU);
    config->encoder[layers] = VAE_DENSE(256, VAE_SILU);
}

/* Writes new pictures, or some from all over the folder above their reconstructions. */
static int show(training *t, vae_model *model, const vae_data *all, int reconstructions) {
    const image_folder *folder = &t->folder;
    const size_t   count = !reconstructions ? SAMPLES : folder->count < SHOWN ? folder->count : SHOWN;
    vae_real      *pixels = malloc(count * vae_example_size(model) * sizeof *pixels);
    unsigned char *chosen = reconstructions ? image_folder_choose(folder, count) : NULL;
    const vae_data data = { .bytes = chosen, .count = count };
    const png_grid grid = { .images = pixels, .originals = chosen, .count = count, .height = folder->height,
                            .width = folder->width, .channels = folder->channels,
                            .columns = count < COLUMNS ? (int)count : COLUMNS,
                            .scale = folder->width < 64 ? (127 + folder->width) / folder->width : 2 };
    char      path[1100];
    vae_error error;
    int       code = 0;
    snprintf(path, sizeof path, "%s-%s.png", t->prefix, reconstructions ? "reconstructions" : "samples");
    if (!pixels || (reconstructions && !chosen)) code = fail(t->message, "not enough memory for %s", path);
    else if ((reconstructions ? vae_reconstruct(model, &data, pixels, &error)
                              : sample_near(model, all, t->spread, t->seed, count, pixels, &error)) != VAE_OK)
        code = fail(t->message, "%s", error.message);
    if (code == 0) code = png_write_grid(path, &grid, t->message);
    if (code == 0) printf("wrote %s\n", path);
    free(pixels);
    free(chosen);
    return code;
}

static int on_progress(void *user, const vae_progress *progress) {
    training *t = user;
    const int due = progress->event == VAE_EVENT_EPOCH &&
                    (progress->epoch % (progress->epochs / 50 + 1) == 0 || progress->epoch == progress->epochs);
    vae_error error;
    if (due || progress->event == VAE_EVENT_BATCH) vae_print_progress(NULL, progress);
    if ((due || progress->event == VAE_EVENT_STOPPED) &&
        vae_save_checkpoint(progress->model, t->checkpoint, &error) != VAE_OK)
        return fail(t->message, "%s", error.message);
    return interrupted;
}

/* Trains and saves; the result is the exit code. */
static int train(training *t, int argc, char **argv) {
    vae_config     config = { .latent = (int)t->latent, .likelihood = VAE_GAUSSIAN, .initialization = VAE_INIT_HE,
                              .beta = t->beta > 0 ? (vae_real)t->beta : VAE_ZERO, .seed = (uint64_t)t->seed,
                              .batch = 32, .threads = (int)t->threads, .optimizer = { .learning_rate = 2e-3f } };
    const size_t   batches = (t->folder.count + config.batch - 1) / config.batch;
    const vae_data data = { .bytes = t->folder.pixels, .count = t->folder.count };
    vae_fit_config fit = { .until_epoch = t->epochs ? (size_t)t->epochs : (UPDATES - 1) / batches + 1,
                           .output_bias_from_data = 1, .on_progress = on_progress, .user = t };
    vae_model *model = NULL;
    vae_error  error;
    vae_status status;
    char       path[1100];
    int        code = 0;
    config.optimizer.schedule = (vae_schedule){ .kind = VAE_COSINE, .steps = fit.until_epoch * batches, .to = 0.02f };
    choose_network(&config, &t->folder);
    snprintf(t->checkpoint, sizeof t->checkpoint, "%s-checkpoint.safetensors", t->prefix);
    snprintf(path, sizeof path, "%s.safetensors", t->prefix);
    status = t->resume ? vae_load(t->checkpoint, &config, &model, &error) : vae_create(&config, &model, &error);
    if (status == VAE_OK) status = vae_fit(model, &data, &fit, &error);
    if (status == VAE_STOPPED && interrupted && !t->message[0]) {
        printf("interrupted; everything is in %s, go on with\n   ", t->checkpoint);
        for (int i = 0; i < argc; i++) printf(strchr(argv[i], ' ') ? " '%s'" : " %s", argv[i]);
        printf(t->resume ? "\n" : " --resume\n");
        code = 128 + interrupted;       /* the exit code that shells use for a signal */
    } else {
        if (status == VAE_OK) status = vae_save(model, path, &error);
        if (status != VAE_OK && !t->message[0]) fail(t->message, "%s", error.message);
        if (status == VAE_OK) printf("wrote %s\n", path);
        if (status != VAE_OK || show(t, model, &data, 0) != 0 || show(t, model, &data, 1) != 0 ||
            tell_learned(model, &data, t->message) != 0) code = complain("train_images", t->message);
    }
    vae_destroy(model);
    return code;
}

int main(int argc, char **argv) {
    static training t = { .prefix = "out/images", .latent = 64, .seed = 1, .beta = 4, .spread = 0.5 };
    const option table[] = {
        { "folder", "DIR", "your pictures, else shapes are drawn", OPTION_TEXT, &t.path, 0, 0 },
        { "size", "N", "makes each N x N; 0: as the first one", OPTION_INTEGER, &t.size, 0, 512 },
        { "latent", "N", "numbers that a picture is told by", OPTION_INTEGER, &t.latent, 1, 4096 },
        { "beta", "F", "more: better new ones; less: closer to yours", OPTION_NUMBER, &t.beta, 0, 1e6 },
        { "spread", "F", "of new ones: 0 as yours, 1 most unlike", OPTION_NUMBER, &t.spread, 0, 1 },
        { "epochs", "N", "passes over them; 0: 5000 updates, few leave noise", OPTION_INTEGER, &t.epochs, 0, 1e6 },
        { "seed", "N", "of everything random", OPTION_INTEGER, &t.seed, 0, 2147483647 },
        { "threads", "N", "0 for all cores", OPTION_INTEGER, &t.threads, 0, 64 },
        { "out", "PREFIX", "how the names of files to write begin", OPTION_OUTPUT, &t.prefix, 0, 0 },
        { "resume", "", "go on from PREFIX-checkpoint.safetensors", OPTION_FLAG, &t.resume, 0, 0 },
        OPTIONS_END
    };
    image_folder *const folder = &t.folder;
    int code = options_parse(argc, argv, "Learns the pictures of a folder, and makes new ones.", table, 1);
    if (code < 0 && options_check_outputs("train_images", table) != 0) code = 2;
    if (code >= 0) return code;
    if (t.size && t.size < 8) return options_wrong("train_images", "--size must be 0 or at least 8");
    if (t.path) code = image_folder_load(t.path, (int)t.size, (int)t.size, LONGER_SIDE, folder, t.message);
    else {
        const int side = t.size ? (int)t.size : 32;
        *folder = (image_folder){ draw_shapes(SHAPES, side), SHAPES, 0, 0, side, side, 3 };
        code = folder->pixels ? 0 : fail(t.message, "not enough memory for %d shapes", SHAPES);
    }
    if (code != 0) return complain("train_images", t.message);
    printf("%s: %lu pictures, as %d x %d, %s\n", t.path ? t.path : "shapes", (unsigned long)folder->count,
           folder->width, folder->height, folder->channels == 3 ? "in colour" : "grey");
    if (folder->others)
        printf("%lu other files were passed over%s\n", (unsigned long)folder->others,
               folder->unread ? ", PNG or JPEG among them: this program was built without stb_image.h" : "");
    interrupt_begin();
    code = train(&t, argc, argv);
    free(folder->pixels);
    return code;
}
