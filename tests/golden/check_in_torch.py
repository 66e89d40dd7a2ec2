"""Opens a model file that vae.h wrote in PyTorch: the proof that names, shapes, orders and padding mean the same there.

    python3 tests/golden/check_in_torch.py MODEL.safetensors [Z ...]

Builds the network from the metadata "vae.config" alone, loads the tensors with load_state_dict(strict=True) and decodes
z (zeros, or the numbers given) in double, of a conditional network with the last class as label. Prints a line "ok N
tensors, M pixels", then, without z, the modules, to be copied into a program; with z the pixels, one to a line, in the
order height, width, channels, as vae_decode gives them.
"""
import json
import os
import sys

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from network import Network                     # noqa: E402
from safetensors_reader import read             # noqa: E402

HALVES = ("encoder.", "mean.", "logvar.", "decoder.", "classifier.")


def layer_from(entry):
    """A layer of the JSON as network.py has it: padding always in numbers there, (top, bottom, left, right) here."""
    layer = {"kind": entry["kind"], "activation": entry["activation"], "dropout": entry.get("dropout"),
             "batch_norm": entry.get("batch_norm")}
    if layer["kind"] == "dense":
        layer["shape"] = tuple(entry["shape"])
        return layer
    layer["channels"] = entry["channels"]
    layer["kernel"], layer["stride"] = tuple(entry["kernel"]), tuple(entry["stride"])
    layer["padding"] = entry["padding"] if entry["padding"] == "same" else tuple(entry["padding"])
    layer["output_padding"] = tuple(entry.get("output_padding", (0, 0)))
    return layer


def pixels_of(outputs, config, tensors):
    """The mean pixels of a row, from what the decoder gives for it."""
    height, width, channels = config["input"]
    outputs = outputs.reshape(height * width, -1)
    logits, second = outputs[:, :channels], outputs[:, channels:]
    likelihood = config.get("likelihood", "bernoulli")
    if likelihood == "bernoulli":
        means = torch.sigmoid(logits)
    elif likelihood == "continuous_bernoulli":
        near = logits.abs() < 1e-3
        safe = torch.where(near, torch.ones_like(logits), logits)
        means = torch.where(near, 0.5 + logits / 12, 1 / (1 - torch.exp(-safe)) - 1 / safe)
    elif likelihood == "discretized_logistic":      # sum over levels of the chance to reach each
        edges = (torch.arange(1, 256, dtype=torch.float64) - 0.5) / 255
        scale = torch.exp(second.clamp(-8, 4))
        means = torch.sigmoid((logits[..., None] - edges) / scale[..., None]).mean(-1)
    else:
        means = logits
    if config.get("standardize"):                   # the file has channels first
        center, scale = (torch.tensor(tensors["standardize." + name][2], dtype=torch.float64).reshape(channels, -1).t()
                         for name in ("mean", "scale"))
        means = means * scale + center
    return means.flatten()


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: python3 tests/golden/check_in_torch.py MODEL.safetensors [Z ...]")
    torch.set_num_threads(1)
    metadata, tensors = read(sys.argv[1])
    config = json.loads(metadata["vae.config"])
    network = Network(tuple(config["input"]), config["latent"], [layer_from(e) for e in config["encoder"]],
                      [layer_from(e) for e in config["decoder"]], config.get("shared_heads"), config.get("tied"),
                      config.get("classes", 0), [layer_from(e) for e in config.get("classifier", [])])
    state = {name: torch.tensor(values, dtype=torch.float64).reshape(shape)
             for name, (_, shape, values) in tensors.items() if name.startswith(HALVES)}
    if config.get("shared_heads"):              # one module under two names
        state.update({name.replace("mean", "logvar"): state[name] for name in ("mean.weight", "mean.bias")})
    network.double().load_state_dict(state, strict=True)
    z = [float(word) for word in sys.argv[2:]] or [0.0] * config["latent"]
    network.eval()
    with torch.no_grad():
        one_hot = None
        if config.get("classes"):                   # the last one, since the first may be what no label gives
            one_hot = torch.eye(config["classes"], dtype=torch.float64)[-1:]
        pixels = pixels_of(network.decode(torch.tensor([z], dtype=torch.float64), one_hot)[0], config, tensors)
    print("ok %d tensors, %d pixels" % (len(state), len(pixels)))
    if not sys.argv[2:]:
        print(network)
        return
    for value in pixels.tolist():
        print("%.9g" % value)


main()
