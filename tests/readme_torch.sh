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

/* Writes model.safetensors, or loads weights.safetensors, with its config and without, and compares. */
int main(int argc, char **argv) {
    vae_config config = { 0 };
    vae_model *model, *other, *loaded;
    vae_error  error;
    int        same;
    config.input.height = config.input.width = 28;
    config.input.channels = 1;
    config.latent = 20;
    config.encoder[0] = VAE_DENSE(400, VAE_RELU);
    if (!strcmp(argv[1], "gaussian")) config.likelihood = VAE_GAUSSIAN;         /* which has a learned sigma */
    if (vae_create(&config, &model, &error) != VAE_OK) return 1;
    if (argc < 3) return vae_save(model, "model.safetensors", &error) != VAE_OK;
    config.seed = 1;
    if (vae_create(&config, &other, &error) != VAE_OK ||
        vae_load_weights(other, "weights.safetensors", &error) != VAE_OK ||
        vae_load("weights.safetensors", NULL, &loaded, &error) != VAE_OK) return puts(error.message), 1;
    same = !memcmp(vae_weights(model), vae_weights(other), vae_weight_count(model) * sizeof(vae_real)) &&
           !memcmp(vae_weights(model), vae_weights(loaded), vae_weight_count(model) * sizeof(vae_real));
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


def save_file(tensors, path, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        numbers = tensor.flatten().tolist()
        more = struct.pack("<%df" % len(numbers), *numbers)
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(more)]}
        data += more
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)
PYTHON
cat >"$folder/safetensors/__init__.py" <<'PYTHON'
from safetensors_reader import read


class safe_open:
    def __init__(self, path, framework):
        self.path = path

    def metadata(self):
        return read(self.path)[0]
PYTHON
awk '/^```python$/ { on = 1; next } /^```$/ { on = 0 } on' README.md >"$folder/lines.py"
[ -s "$folder/lines.py" ] || { echo "README.md has no lines for PyTorch"; exit 1; }
${CC:-cc} -O1 -I. "$folder/model.c" -o "$folder/model" -lm || exit 1
tests=$PWD/tests
cd "$folder" || exit 1
./model bernoulli && PYTHONPATH=".:$tests" "$python" -B lines.py && ./model bernoulli back || exit 1
sed 's/load_state_dict(tensors)/load_state_dict(tensors, strict=False)/' lines.py >with_sigma.py
./model gaussian && PYTHONPATH=".:$tests" "$python" -B with_sigma.py && ./model gaussian back
