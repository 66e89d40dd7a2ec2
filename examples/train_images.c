/* train_images.c - learns the pictures of a folder, and makes new ones.

       build/train_images photos --size 64 --out out/photos
       build/train_images                                       draws coloured shapes to learn

   Reads PGM and PPM files; PNG and JPEG where stb_image.h was there to compile with. Of each picture the middle is cut
   out and scaled: to a square of --size, else to the shape of the first one, 64 pixels on its longer side at most.
   Writes PREFIX.safetensors, PREFIX-samples.png, new pictures from near where yours lie in the latent space, and
   PREFIX-reconstructions.png, yours above what the model makes of them. Ctrl-C saves a checkpoint, --resume goes on. */
#define VAE_IMPLEMENTATION
#include "support/interrupt.h"
#include "../vae.h"

#include "support/checkpoint.h"
#include "support/mean_picture.h"
#include "support/options.h"
#include "support/picture_files.h"
#include "support/progress.h"
#include "support/shapes.h"

enum { LONGER_SIDE = 64, UPDATES = 5000, SHAPES = 4000 };

#define PURPOSE \
    "Learns the pictures of a folder, and makes new ones: PREFIX-samples.png. PREFIX-reconstructions.png has some\n" \
    "that it learned, above what the model makes of them. Both are drawn within 20 seconds, and anew until the end:\n" \
    "in minutes at 32 x 32, later for larger ones. From there --resume --spread 0.1 draws others in a second. Of\n" \
    "pictures of another shape than --size or the first one's, two edges are cut off."

typedef struct training {
    const char  *path, *prefix;         /* these lines are the command line's */
    long long    size, latent, epochs, seed, threads;
    double       beta, spread;
    int          resume;
    image_folder folder;
    picture_files pictures;
    double       next_pictures;         /* seconds of training */
    checkpoint   checkpoint;
    char         message[MESSAGE_SIZE]; /* what went wrong in the callback */
} training;

/* Halves the picture while it is larger than 4, with up to 128 channels. */
static void choose_network(vae_config *config, const image_folder *folder) {
    int side = folder->height < folder->width ? folder->height : folder->width, layers = 0, channels = 32;
    config->input = (vae_shape){ folder->height, folder->width, folder->channels };
    for (; side > 4 && layers < 6; side = (side + 1) / 2, channels = channels < 128 ? 2 * channels : channels)
        config->encoder[layers++] = VAE_CONV(channels, 4, 2, VAE_SILU);
    config->encoder[layers] = VAE_DENSE(256, VAE_SILU);
}

/* Called by vae_fit; a result other than 0 stops it. Pictures are drawn anew with every checkpoint, and every 20 s. */
static int on_progress(void *user, const vae_progress *progress) {
    training *t = user;
    const int due = progress->event == VAE_EVENT_STOPPED || progress_is_due(progress, 50);
    print_some_progress(NULL, progress);
    if (due && checkpoint_save(&t->checkpoint, progress->model, t->message) != 0) return -1;
    if (!progress_is_last(progress) && (due || progress->seconds >= t->next_pictures)) {   /* train() draws the last */
        t->next_pictures = progress->seconds + 20;
        if (picture_files_write(&t->pictures, progress->model, t->message) != 0) return -1;
    }
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
    vae_state  state;
    vae_status status;
    char       path[1100], saved[1100];
    config.optimizer.schedule = (vae_schedule){ .kind = VAE_COSINE, .steps = fit.until_epoch * batches, .to = 0.02f };
    choose_network(&config, &t->folder);
    snprintf(path, sizeof path, "%s.safetensors", t->prefix);
    snprintf(saved, sizeof saved, "%s-checkpoint.safetensors", t->prefix);
    checkpoint_begin(&t->checkpoint, saved, "--out", "pictures", t->path ? t->path : "shapes", data.bytes, data.count,
                     (size_t)config.input.height * (size_t)config.input.width * (size_t)config.input.channels);
    t->checkpoint.sized = t->path != NULL;
    t->pictures = (picture_files){ t->prefix, &t->folder, t->spread, t->seed };
    t->next_pictures = 20;
    if (checkpoint_open(&t->checkpoint, t->resume, &config, &model, t->message) != 0) {
        vae_destroy(model);
        return complain("train_images", t->message);
    }
    if (checkpoint_has_epochs_left(model, fit.until_epoch))
        printf("watch %s-samples.png and %s-reconstructions.png: both are drawn anew all along\n", t->prefix,
               t->prefix);
    fflush(stdout);
    status = vae_fit(model, &data, &fit, &error);
    if (status == VAE_STOPPED && interrupted && !t->message[0]) {
        vae_get_state(model, &state);
        vae_destroy(model);
        return interrupt_explain((unsigned long)state.epoch + 1, saved, argc, argv, t->resume);
    }
    if (status == VAE_OK) status = vae_save(model, path, &error);
    if (status != VAE_OK && !t->message[0]) fail(t->message, "%s", error.message);
    if (status == VAE_OK && picture_files_write(&t->pictures, model, t->message) == 0) {
        printf("wrote %s\nwrote %s-samples.png\nwrote %s-reconstructions.png\n", path, t->prefix, t->prefix);
        tell_learned(model, &data, t->message);
    }
    vae_destroy(model);
    return t->message[0] ? complain("train_images", t->message) : 0;
}

int main(int argc, char **argv) {
    static training t = { .prefix = "out/images", .latent = 64, .seed = 1, .beta = 4, .spread = 0.25 };
    const option table[] = {
        { "folder", "DIR", "your pictures, else shapes are drawn", OPTION_TEXT, &t.path, 0, 0 },
        { "size", "N", "makes each N x N; 0: the first one's shape, at most 64", OPTION_INTEGER, &t.size, 0, 512 },
        { "latent", "N", "numbers that a picture is told by", OPTION_INTEGER, &t.latent, 1, 4096 },
        { "beta", "F", "more: better new ones; less: closer to yours", OPTION_NUMBER, &t.beta, 0, 1e6 },
        { "spread", "F", "of new ones: 0 as yours, 1 most unlike and blurred", OPTION_NUMBER, &t.spread, 0, 1 },
        { "epochs", "N", "passes over them; 0: 5000 updates, few leave noise", OPTION_INTEGER, &t.epochs, 0, 1e6 },
        { "seed", "N", "of everything random", OPTION_INTEGER, &t.seed, 0, 2147483647 },
        { "threads", "N", "0 for all cores", OPTION_INTEGER, &t.threads, 0, 64 },
        { "out", "PREFIX", "how the names of files to write begin", OPTION_OUTPUT, &t.prefix, 0, 0 },
        { "resume", "", "go on from PREFIX-checkpoint.safetensors", OPTION_FLAG, &t.resume, 0, 0 },
        OPTIONS_END
    };
    image_folder *const folder = &t.folder;
    int code = options_parse(argc, argv, PURPOSE, table, 1);
    if (code < 0 && options_check_outputs("train_images", table) != 0) code = 2;
    if (code >= 0) return code;
    if (t.size && t.size < 8) return options_wrong("train_images", "--size must be 0 or at least 8");
    if (t.path) code = image_folder_load(t.path, (int)t.size, (int)t.size, LONGER_SIDE, folder, t.message);
    else {
        const int side = t.size ? (int)t.size : 32;
        *folder = (image_folder){ draw_shapes(SHAPES, side), SHAPES, 0, 0, side, side, 3, 0 };
        code = folder->pixels ? 0 : fail(t.message, "not enough memory for %d shapes", SHAPES);
    }
    if (code != 0) return complain("train_images", t.message);
    t.message[0] = '\0';                /* it may hold why a picture was passed over */
    printf("%s: %lu pictures, as %d x %d, %s\n", t.path ? t.path : "shapes", (unsigned long)folder->count,
           folder->width, folder->height, folder->channels == 3 ? "in colour" : "grey");
    if (folder->others)
        printf("%lu other files were passed over%s\n", (unsigned long)folder->others,
               folder->unread ? ", PNG or JPEG among them: this program was built without stb_image.h" : "");
    if (folder->cut)
        printf("%lu of another shape have two of their edges cut off (%s)\n", (unsigned long)folder->cut,
               t.size ? "--size makes squares of all" : "without --size the first one's shape is all others'");
    interrupt_begin();
    code = train(&t, argc, argv);
    free(folder->pixels);
    return code;
}
