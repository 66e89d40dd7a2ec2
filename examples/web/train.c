/* train.c - trains the model that comes with the page, and packs its weights: `make web` calls it.

       build/web_train --out build/web/weights --epochs 3

   Its last line tells the test loss before and after packing. The data are MNIST's files, or drawn digits; which, it
   writes beside the weights. The same data give the same weights. */
#define VAE_IMPLEMENTATION
#include "../../vae.h"

#include "../support/idx_reader.h"
#include "../support/options.h"
#include "network.h"

static int write_file(const char *path, const char *suffix, const void *bytes, size_t size, char *message) {
    char  name[512];
    FILE *file;
    int   fine;
    snprintf(name, sizeof name, "%s%s", path, suffix);
    file = fopen(name, "wb");
    fine = file && fwrite(bytes, 1, size, file) == size;
    if (file && fclose(file) != 0) fine = 0;
    return fine ? 0 : fail(message, "cannot write %.200s", name);
}

/* The test loss with the weights as they are in the model, and with those that the page gets. */
static int pack(vae_model *model, const vae_data *test, const char *path, const char *source, char *message) {
    const size_t   size = packed_size(model);
    unsigned char *bytes = malloc(size ? size : 1);
    vae_terms      before, after;
    vae_error      error = { VAE_OK, "out of memory" };
    int            code = -1;
    if (bytes && pack_weights(model, bytes) && vae_elbo(model, test, &before, NULL, &error) == VAE_OK &&
        unpack_weights(model, bytes, size) && vae_elbo(model, test, &after, NULL, &error) == VAE_OK) {
        code = write_file(path, "", bytes, size, message);
        if (code == 0) code = write_file(path, ".source", source, strlen(source), message);
        if (code == 0) printf("%s: test loss %.2f, packed %.2f, %lu weights in %lu bytes\n", source, before.loss,
                              after.loss, (unsigned long)vae_parameter_count(model), (unsigned long)size);
    } else fail(message, "%s", error.message);
    free(bytes);
    return code;
}

int main(int argc, char **argv) {
    const char  *out = "build/web/weights", *data = NULL;
    long long    epochs = 3;
    const option table[] = {
        { "out", "FILE", "the packed weights", OPTION_OUTPUT, &out, 0, 0 },
        { "data", "DIR", "MNIST's files (else MNIST_DIR, data/, ...)", OPTION_TEXT, &data, 0, 0 },
        { "epochs", "N", "passes over the images", OPTION_INTEGER, &epochs, 1, 1000 },
        OPTIONS_END
    };
    vae_config     config = built_in_network();
    vae_fit_config fit = { .output_bias_from_data = 1, .on_progress = vae_print_progress };
    idx_directory  found;
    idx_images     images = { 0 }, held_out = { 0 };
    vae_data       train = { 0 }, test = { 0 };
    vae_model     *model = NULL;
    vae_error      error;
    char           message[MESSAGE_SIZE];
    int            code = options_parse(argc, argv, "Trains the model that comes with the page.", table, 0);
    if (code >= 0) return code;
    code = idx_read_mnist(data, &found, &images, &held_out, message);
    train.bytes = images.pixels;
    train.count = images.count;
    test.bytes = held_out.pixels;
    test.count = held_out.count;
    fit.epochs = (size_t)epochs;
    config.optimizer.learning_rate = 4e-3f;
    config.optimizer.schedule = (vae_schedule){ .kind = VAE_COSINE, .warmup = 100, .to = 0.01f };
    config.optimizer.schedule.steps = (uint64_t)epochs * ((images.count + WEB_BATCH - 1) / WEB_BATCH);
    if (code == 0 && (vae_create(&config, &model, &error) != VAE_OK || vae_fit(model, &train, &fit, &error) != VAE_OK))
        code = fail(message, "%s", error.message);
    if (code == 0) code = pack(model, &test, out, found.generated ? "drawn digits" : "MNIST", message);
    if (code != 0) code = complain("web_train", message);
    free(images.pixels);
    free(held_out.pixels);
    vae_destroy(model);
    return code;
}
