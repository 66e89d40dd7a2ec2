"""Writes objectives.h: every objective, several samples and the classifier, in PyTorch and in double.

Run once, by hand, and committed with its output; the tests need only the output.
    /usr/bin/python3 tests/golden/make_objectives.py
The noise is what vae.h draws in a training step, made anew here, so that the tests train through the public calls alone.
"""
import math
import os

import torch
from torch import nn

import make_golden
from make_golden import EXACT, RESULT, ROWS, array, number
from network import Network, conv, dense, philox

LABELS = [2, -1, 1, 0, -1]      # of the rows, for the classifier; -1: not known
STEPS = 3
DENSE = dict(input=(1, 12, 1), latent=3, encoder=[dense(7, "tanh")])
CONVOLUTION = dict(input=(4, 3, 2), latent=2, encoder=[conv(3, (3, 3), (2, 2), "silu"), dense(6, "tanh")], sigma=0.5)
CLASSIFIER = dict(classifier=[dense(4, "tanh"), dense(3, "linear")], classifier_weight=2.5)

# The seeds keep each dimension's KL away from its free bits, and the KL from the capacity.
MODELS = [
    dict(DENSE, name="samples", seed=41, samples=3, beta=0.5),
    dict(DENSE, name="iwae_of_one", seed=58, objective="iwae"),
    dict(DENSE, name="iwae", seed=42, objective="iwae", samples=4),
    dict(CONVOLUTION, name="iwae_beta", seed=43, objective="iwae", samples=3, beta=0.5),
    dict(DENSE, name="free_bits", seed=44, free_bits=0.25, beta=2.0),
    dict(CONVOLUTION, name="free_bits_samples", seed=45, free_bits=0.0625, samples=2),
    dict(DENSE, name="capacity", seed=46, capacity=2.0, capacity_steps=4, beta=3.0),
    dict(CONVOLUTION, name="autoencoder", seed=47, objective="autoencoder"),
    dict(DENSE, **CLASSIFIER, name="classifier", seed=48),
    dict(CONVOLUTION, **CLASSIFIER, name="classifier_iwae", seed=57, objective="iwae", samples=3),
    dict(DENSE, **CLASSIFIER, name="classifier_autoencoder", seed=50, objective="autoencoder"),
]


def normals(rows, latent, step):
    """Numbers e of a row are made, four at a time, of the block with counter (e / 4, row, step, 2): a pair of words gives
    r cos and r sin (Box and Muller 1958), of an angle in half a circle and a sign of the cosine."""
    def pair(first, second):
        radius = math.sqrt(-2 * math.log(((first >> 1) + 0.5) / 2 ** 31))
        low = second & 0x7FFFFFFF
        angle = (low - (low >> 30 << 31)) / 2 ** 31 * math.pi
        return [radius * math.cos(angle) * (1 - 2 * (second >> 31)), radius * math.sin(angle)]

    def row_of(row):
        numbers = []
        for block in range(-(-latent // 4)):
            words = philox((0, 0), (block, row, step, 2))
            numbers += pair(*words[:2]) + pair(*words[2:])
        return numbers[:latent]
    return torch.tensor([row_of(row) for row in range(rows)], dtype=torch.float64)


def terms(model, network, pixels, step):
    """What vae_terms has of a training step."""
    samples, beta = model.get("samples", 1), model.get("beta", 1.0)
    objective = model.get("objective", "elbo")
    mean, logvar = network.encode(pixels)
    kl_each = 0.5 * (logvar.exp() + mean ** 2 - 1 - logvar)
    q = torch.distributions.Normal(mean.repeat_interleave(samples, 0), (logvar / 2).exp().repeat_interleave(samples, 0))
    z = q.loc + q.scale * normals(ROWS * samples, model["latent"], step).to(pixels.dtype)
    if objective == "autoencoder":
        z, kl_each = mean, torch.zeros_like(kl_each)
    nats = make_golden.reconstruction_nats(model, network.decode(z), pixels.repeat_interleave(samples, 0))
    reconstruction, kl = nats.mean(), kl_each.sum(1).mean()
    if objective == "iwae":
        prior = torch.distributions.Normal(torch.zeros_like(z), torch.ones_like(z))
        weight = -nats + beta * (prior.log_prob(z) - q.log_prob(z)).sum(1)
        loss = (math.log(samples) - weight.reshape(ROWS, samples).logsumexp(1)).mean()
    elif model.get("free_bits"):
        each = kl_each.mean(0)
        assert (each - model["free_bits"]).abs().min() > 1e-3
        loss = reconstruction + beta * each.clamp(min=model["free_bits"]).sum()
    elif model.get("capacity"):
        capacity = model["capacity"] * min(1, 0.25 + 0.75 * step / model["capacity_steps"])
        assert (kl - capacity).abs() > 1e-3
        loss = reconstruction + beta * (kl - capacity).abs()
    else:
        loss = reconstruction + beta * kl
    classification = torch.zeros_like(loss)
    if model.get("classifier"):                 # averaged over all rows, labelled or not
        classification = nn.functional.cross_entropy(network.classifier(mean), torch.tensor(LABELS), ignore_index=-1,
                                                     reduction="sum") / ROWS
        loss = loss + model["classifier_weight"] * classification
    return dict(loss=loss, reconstruction=reconstruction, kl=kl, classification=classification)


def measure(model, dtype):
    """Inputs and weights are float32 numbers, so a C build in float starts equal."""
    torch.manual_seed(model["seed"])
    model.setdefault("sigma", None)
    network = Network(model["input"], model["latent"], model["encoder"], classifier=model.get("classifier", ()))
    for p in network.parameters():
        p.data *= 2
    pixels = (torch.rand(ROWS, math.prod(model["input"])) * 0.98 + 0.01).to(dtype)
    network = network.to(dtype)
    tensors = [dict(name=name, values=p.detach().clone()) for name, p in network.named_parameters()
               if not (model.get("objective") == "autoencoder" and name.startswith("logvar"))]
    adam, steps = torch.optim.Adam(network.parameters(), lr=1e-2), []
    for step in range(STEPS):
        adam.zero_grad()
        found = terms(model, network, pixels, step)
        found["loss"].backward()
        if step == 0:
            for t in tensors:
                t["gradient"] = network.get_parameter(t["name"]).grad.clone()
        adam.step()
        steps.append({name: value.item() for name, value in found.items()})
    for t in tensors:
        t["after"] = network.get_parameter(t["name"]).detach().clone()
    return pixels, tensors, steps


HEAD = """\
/* Written by tests/golden/make_objectives.py (PyTorch %s, float64): do not edit.
   Of each model the first weights, their gradient, and the weights after %d Adam steps (learning rate 0.01) on the same
   rows with the noise of each step; terms: loss, reconstruction, kl and classification of each step. */
typedef struct objective_tensor {
    const char   *name;
    int           count;
    const double *values, *gradient, *after;
} objective_tensor;

typedef struct objective_model {
    const char             *name;
    const double           *pixels;
    double                  terms[%d][4];
    const objective_tensor *tensors;
    int                     tensor_count;
} objective_model;

static const int objective_labels[%d] = { %s };
"""


def main():
    torch.set_num_threads(1)
    text = [HEAD % (torch.__version__, STEPS, STEPS, ROWS, ", ".join(map(str, LABELS)))]
    entries = []
    for model in MODELS:
        pixels, tensors, steps = measure(model, torch.float64)
        _, in_float, _ = measure(model, torch.float32)
        prefix, rows = "objective_" + model["name"], []
        text.append("\n/* ==== %s */\n" % model["name"] + array(prefix + "_pixels", pixels, EXACT))
        for i, t in enumerate(tensors):
            text.append("/* %s */\n" % t["name"])
            for key in ("values", "gradient", "after"):
                text.append(array("%s_%s_%d" % (prefix, key, i), t[key], EXACT if key == "values" else RESULT))
            rows.append('    { "%s", %d, %s }' % (t["name"], t["values"].numel(), ", ".join(
                "%s_%s_%d" % (prefix, key, i) for key in ("values", "gradient", "after"))))
        text.append("static const objective_tensor %s_tensors[%d] = {\n%s\n};\n" % (prefix, len(rows), ",\n".join(rows)))
        entries.append('    { "%s", %s_pixels,\n      { %s },\n      %s_tensors, %d }' % (
            model["name"], prefix, ",\n        ".join("{ %s }" % ", ".join(
                number(step[key], RESULT) for key in ("loss", "reconstruction", "kl", "classification"))
                for step in steps), prefix, len(rows)))
        print("%s: loss %.6f; float32 is off by %s" % (model["name"], steps[0]["loss"], ", ".join(
            "%.1e" % max((t[key] - f[key].double()).abs().max().item() for t, f in zip(tensors, in_float))
            for key in ("gradient", "after"))))
    text.append("\n#define OBJECTIVE_MODELS %d\nstatic const objective_model objective_models[OBJECTIVE_MODELS] = "
                "{\n%s\n};\n" % (len(entries), ",\n".join(entries)))
    with open(os.path.join(make_golden.HERE, "objectives.h"), "w") as file:
        file.write("".join(text))


if __name__ == "__main__":
    main()
