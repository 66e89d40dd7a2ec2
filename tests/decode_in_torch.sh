#!/bin/sh
# Models of each likelihood, standardised and not, decode in PyTorch, by tests/golden/check_in_torch.py, to vae_decode's
# pixels. To be run in the repository's root, with a folder to work in.
folder=${1:?folder} python=${PYTHON:-/usr/bin/python3}
rm -rf "$folder" && mkdir -p "$folder" || exit 1
cat >"$folder/model.c" <<'C'
#define VAE_IMPLEMENTATION
#include "vae.h"
#include <stdio.h>

enum { ROWS = 64, PIXELS = 4 * 3 * 2 };
static float pixels[ROWS * PIXELS], z[3] = { 0.5f, -1, 0.25f };

static int write_model(vae_likelihood likelihood, int standardize) {
    vae_config     config = { 0 };
    vae_fit_config fit = { 0 };
    vae_data       data = { 0 };
    vae_latents    latents = { 0 };
    vae_model     *model;
    vae_error      error;
    float          decoded[PIXELS];
    char           path[32];
    FILE          *file;
    int            i;
    config.input.height = 4;
    config.input.width = 3;
    config.input.channels = 2;
    config.latent = 3;
    config.encoder[0] = VAE_CONV(4, 3, 2, VAE_RELU);
    config.encoder[1] = VAE_DENSE(8, VAE_TANH);
    config.likelihood = likelihood;
    config.standardize = standardize;
    data.pixels = pixels;
    data.count = ROWS;
    fit.epochs = 2;
    latents.z = z;
    latents.count = 1;
    sprintf(path, "%d-%d.safetensors", (int)likelihood, standardize);
    if (vae_create(&config, &model, &error) != VAE_OK || vae_fit(model, &data, &fit, &error) != VAE_OK ||
        vae_decode(model, &latents, decoded, &error) != VAE_OK || vae_save(model, path, &error) != VAE_OK)
        return puts(error.message), 1;
    vae_destroy(model);
    sprintf(path, "%d-%d.txt", (int)likelihood, standardize);
    file = fopen(path, "w");
    if (!file) return 1;
    for (i = 0; i < PIXELS; i++) fprintf(file, "%.9g\n", (double)decoded[i]);
    return fclose(file);
}

int main(void) {
    int i, failed = 0;
    for (i = 0; i < ROWS * PIXELS; i++) pixels[i] = (float)(i * 7919 % 101) / 101;
    for (i = VAE_BERNOULLI; i <= VAE_DISCRETIZED_LOGISTIC; i++) failed |= write_model((vae_likelihood)i, 0);
    return failed | write_model(VAE_GAUSSIAN, 1) | write_model(VAE_GAUSSIAN_PREDICTED, 1);
}
C
${CC:-cc} -O1 -I. "$folder/model.c" -o "$folder/model" -lm && (cd "$folder" && ./model) || exit 1
for file in "$folder"/*.safetensors; do
    "$python" -B tests/golden/check_in_torch.py "$file" .5 -1 .25 >"$folder/said" &&
        tail -n +2 "$folder/said" | paste - "${file%.safetensors}.txt" | awk '
            { off = $1 - $2 }
            off > 1e-6 || off < -1e-6 || NF != 2 { bad = 1 }
            END { exit bad || NR != 24 }' || { echo "$file decodes to other pixels in PyTorch"; exit 1; }
done
echo "$(ls "$folder"/*.safetensors | wc -l | tr -d ' ') models decode to the same pixels in PyTorch"
