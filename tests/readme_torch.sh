#!/bin/sh
# Runs the README's lines for PyTorch on a model that the library wrote, and loads what they save. To be run in the
# repository's root, with a folder to work in.
folder=${1:?folder} python=${PYTHON:-/usr/bin/python3}
rm -rf "$folder" && mkdir -p "$folder/safetensors" || exit 1
cat >"$folder/model.c" <<'C'
#define VAE_IMPLEMENTATION
#include "vae.h"
#include <stdio.h>
#include <string.h>

/* Writes model.safetensors, or loads weights.safetensors into a model of another seed and compares. */
int main(int argc, char **argv) {
    vae_config config = { 0 };
    vae_model *model, *other;
    vae_error  error;
    int        same;
    (void)argv;
    config.input.height = config.input.width = 28;
    config.input.channels = 1;
    config.latent = 20;
    config.encoder[0] = VAE_DENSE(400, VAE_RELU);
    if (vae_create(&config, &model, &error) != VAE_OK) return 1;
    if (argc < 2) return vae_save(model, "model.safetensors", &error) != VAE_OK;
    config.seed = 1;
    if (vae_create(&config, &other, &error) != VAE_OK ||
        vae_load_weights(other, "weights.safetensors", &error) != VAE_OK) return puts(error.message), 1;
    same = !memcmp(vae_weights(model), vae_weights(other), vae_weight_count(model) * sizeof(vae_real));
    puts(same ? "the weights came back" : "other weights came back");
    return !same;
}
C
cat >"$folder/safetensors/torch.py" <<'PYTHON'
"""What the lines take of the package safetensors, which need not be installed."""
import json
import struct

import torch
from safetensors_reader import read


def load_file(path):
    return {name: torch.tensor(values).reshape(shape) for name, (_, shape, values) in read(path)[1].items()}


def save_file(tensors, path):
    header, data = {}, b""
    for name, tensor in tensors.items():
        numbers = tensor.flatten().tolist()
        more = struct.pack("<%df" % len(numbers), *numbers)
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(more)]}
        data += more
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
PYTHON
: >"$folder/safetensors/__init__.py"
awk '/^```python$/ { on = 1; next } /^```$/ { on = 0 } on' README.md >"$folder/lines.py"
[ -s "$folder/lines.py" ] || { echo "README.md has no lines for PyTorch"; exit 1; }
${CC:-cc} -O1 -I. "$folder/model.c" -o "$folder/model" -lm || exit 1
tests=$PWD/tests
cd "$folder" && ./model && PYTHONPATH=".:$tests" "$python" -B lines.py && ./model back
