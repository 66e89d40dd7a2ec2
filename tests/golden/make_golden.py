"""Writes golden.h and from_python.safetensors: what PyTorch makes of some small networks, in double.

Run once, by hand, and committed with its output; the tests need only the output.
    python3 tests/golden/make_golden.py
"""
import json
import math
import os
import struct

import torch
from torch import nn

from network import Dropout, Network, conv, conv_transposed, dense

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = 5
LABELS = [2, 0, 1, 2, 2]        # of the rows, in conditional networks

# Each network twice: for PyTorch, and as the vae_config that the C tests must write (a comment in golden.h). The seeds
# are chosen so that float32 and double part little: no ReLU near its kink, no gradient so small that Adam meets its
# noise.
MODELS = [
    dict(name="dense", seed=90, input=(1, 12, 1), latent=3, beta=1.0, sigma=None,
         encoder=[dense(7, "relu")], decoder=None,
         config="""
.input = { 1, 12, 1 }, .latent = 3,
.encoder = { VAE_DENSE(7, VAE_RELU) }
"""),
    dict(name="conv_same", seed=30, input=(7, 6, 2), latent=4, beta=1.0, sigma=None,
         encoder=[conv(5, (3, 3), (2, 2), "silu"), conv(6, (3, 3), (2, 2), "leaky_relu"), dense(9, "tanh")],
         decoder=None,
         config="""
.input = { 7, 6, 2 }, .latent = 4,
.encoder = { VAE_CONV(5, 3, 2, VAE_SILU), VAE_CONV(6, 3, 2, VAE_LEAKY_RELU), VAE_DENSE(9, VAE_TANH) }
"""),
    dict(name="conv_symmetric", seed=102, input=(8, 8, 3), latent=2, beta=0.5, sigma=0.5,
         encoder=[conv(4, (3, 3), (2, 2), "gelu", (1, 1, 1, 1)), conv(5, (3, 3), (2, 2), "softplus", (1, 1, 1, 1))],
         decoder=None,
         config="""
.input = { 8, 8, 3 }, .latent = 2, .likelihood = VAE_GAUSSIAN, .sigma = 0.5, .beta = 0.5,
.encoder = { VAE_CONV_SYMMETRIC(4, 3, 2, 1, VAE_GELU), VAE_CONV_SYMMETRIC(5, 3, 2, 1, VAE_SOFTPLUS) }
"""),
    dict(name="series", seed=12, input=(1, 16, 2), latent=3, beta=2.0, sigma=0.7,
         encoder=[conv(4, (1, 5), (1, 2), "sigmoid"), conv(6, (1, 5), (1, 2), "tanh"), dense(7, "relu")],
         decoder=[dense(10, "gelu"), dense((1, 4, 6), "softplus"), conv_transposed(4, (1, 5), (1, 2), "sigmoid"),
                  conv_transposed(3, (1, 4), (1, 2), "silu"), conv(2, (1, 3), (1, 1), "linear")],
         config="""
.input = { 1, 16, 2 }, .latent = 3, .likelihood = VAE_GAUSSIAN, .sigma = 0.7, .beta = 2,
.encoder = { VAE_CONV_1D(4, 5, 2, VAE_SIGMOID), VAE_CONV_1D(6, 5, 2, VAE_TANH), VAE_DENSE(7, VAE_RELU) },
.decoder = { VAE_DENSE(10, VAE_GELU), VAE_DENSE_SHAPED(1, 4, 6, VAE_SOFTPLUS),
             VAE_CONV_TRANSPOSED_1D(4, 5, 2, VAE_SIGMOID), VAE_CONV_TRANSPOSED_1D(3, 4, 2, VAE_SILU),
             VAE_CONV_1D(2, 3, 1, VAE_LINEAR) }
"""),
    dict(name="dense_image", seed=9, input=(4, 5, 2), latent=2, beta=1.0, sigma=None,
         encoder=[dense(6, "silu")], decoder=None,
         config="""
.input = { 4, 5, 2 }, .latent = 2,
.encoder = { VAE_DENSE(6, VAE_SILU) }
"""),
    dict(name="laplace", seed=5, input=(6, 5, 2), latent=3, beta=1.0, sigma=0.3, likelihood="laplace",
         encoder=[conv(4, (3, 3), (2, 2), "silu"), dense(8, "tanh")],
         decoder=[dense(9, "tanh"), dense(60, "sigmoid")],
         config="""
.input = { 6, 5, 2 }, .latent = 3, .likelihood = VAE_LAPLACE, .sigma = 0.3,
.encoder = { VAE_CONV(4, 3, 2, VAE_SILU), VAE_DENSE(8, VAE_TANH) },
.decoder = { VAE_DENSE(9, VAE_TANH), VAE_DENSE(60, VAE_SIGMOID) }
"""),
    dict(name="continuous_bernoulli", seed=6, input=(6, 5, 2), latent=3, beta=1.0, sigma=None,
         likelihood="continuous_bernoulli",
         encoder=[conv(4, (3, 3), (2, 2), "silu"), dense(8, "tanh")], decoder=None,
         config="""
.input = { 6, 5, 2 }, .latent = 3, .likelihood = VAE_CONTINUOUS_BERNOULLI,
.encoder = { VAE_CONV(4, 3, 2, VAE_SILU), VAE_DENSE(8, VAE_TANH) }
"""),
    dict(name="tied", seed=7, input=(2, 3, 2), latent=2, beta=1.0, sigma=None, tied=True,
         encoder=[dense(6, "tanh"), dense(5, "silu")], decoder=None,
         config="""
.input = { 2, 3, 2 }, .latent = 2, .tied = 1,
.encoder = { VAE_DENSE(6, VAE_TANH), VAE_DENSE(5, VAE_SILU) }
"""),
    dict(name="tied_conv", seed=8, input=(7, 6, 2), latent=3, beta=1.0, sigma=None, tied=True, shared_heads=True,
         encoder=[conv(3, (3, 3), (2, 2), "silu", (1, 1, 1, 1)), conv(4, (2, 2), (1, 1), "tanh", (0, 0, 0, 0))],
         decoder=None,
         config="""
.input = { 7, 6, 2 }, .latent = 3, .tied = 1, .shared_heads = 1,
.encoder = { VAE_CONV_SYMMETRIC(3, 3, 2, 1, VAE_SILU), VAE_CONV_SYMMETRIC(4, 2, 1, 0, VAE_TANH) }
"""),
    dict(name="conditional", seed=7, input=(1, 9, 1), latent=2, beta=1.0, sigma=None, classes=3,
         encoder=[dense(7, "silu"), dense(6, "tanh")], decoder=[dense(8, "gelu"), dense(9, "linear")],
         config="""
.input = { 1, 9, 1 }, .latent = 2, .classes = 3,
.encoder = { VAE_DENSE(7, VAE_SILU), VAE_DENSE(6, VAE_TANH) },
.decoder = { VAE_DENSE(8, VAE_GELU), VAE_DENSE(9, VAE_LINEAR) }
"""),
    dict(name="conditional_images", seed=8, input=(6, 5, 2), latent=3, beta=1.0, sigma=0.5, classes=4,
         encoder=[conv(4, (3, 3), (2, 2), "silu")], decoder=None,
         config="""
.input = { 6, 5, 2 }, .latent = 3, .likelihood = VAE_GAUSSIAN, .sigma = 0.5, .classes = 4,
.encoder = { VAE_CONV(4, 3, 2, VAE_SILU) }
"""),
    dict(name="dropout", seed=1, input=(4, 5, 2), latent=2, beta=1.0, sigma=None,
         encoder=[conv(3, (3, 3), (2, 2), "tanh", dropout=0.25), dense(6, "silu", dropout=0.5)], decoder=None,
         config="""
.input = { 4, 5, 2 }, .latent = 2,
.encoder = { VAE_CONV(3, 3, 2, VAE_TANH) with .dropout = 0.25, VAE_DENSE(6, VAE_SILU) with .dropout = 0.5 }
"""),
    dict(name="batch_norm", seed=6, input=(4, 5, 2), latent=2, beta=1.0, sigma=None,
         encoder=[conv(3, (3, 3), (2, 2), "silu", batch_norm=True), conv(4, (2, 2), (1, 1), "tanh", batch_norm=True),
                  dense(6, "relu", batch_norm=True)], decoder=None,
         config="""
.input = { 4, 5, 2 }, .latent = 2,
.encoder = { VAE_CONV(3, 3, 2, VAE_SILU), VAE_CONV(4, 2, 1, VAE_TANH), VAE_DENSE(6, VAE_RELU) }, each with .batch_norm = 1
"""),
]

# ---- the mathematics ----

# PyTorch takes a series of few terms where the mean is within these: too few for eleven digits, so hardly ever.
CLOSE = (0.49999, 0.50001)


def reconstruction_nats(model, logits, pixels):
    """-log p(x | z), one number per row."""
    likelihood = model.get("likelihood")
    if likelihood == "laplace":
        nats = -torch.distributions.Laplace(logits, model["sigma"]).log_prob(pixels)
    elif likelihood == "continuous_bernoulli":
        nats = -torch.distributions.ContinuousBernoulli(logits=logits, lims=CLOSE).log_prob(pixels)
    elif model["sigma"] is None:
        nats = nn.functional.binary_cross_entropy_with_logits(logits, pixels, reduction="none")
    else:
        sigma = model["sigma"]
        nats = (pixels - logits) ** 2 / (2 * sigma ** 2) + math.log(sigma) + 0.5 * math.log(2 * math.pi)
    return nats.sum(1)


def mean_pixels(model, logits):
    if model.get("likelihood") == "continuous_bernoulli":
        return torch.distributions.ContinuousBernoulli(logits=logits, lims=CLOSE).mean
    return torch.sigmoid(logits) if model["sigma"] is None else logits


def run(model, network, pixels, epsilon):
    one_hot = None
    if model.get("classes"):
        one_hot = nn.functional.one_hot(torch.tensor(LABELS), model["classes"]).to(pixels.dtype)
    mean, logvar = network.encode(pixels, one_hot)
    assert logvar.min() > -20 and logvar.max() < 10
    z = mean + torch.exp(logvar / 2) * epsilon
    logits = network.decode(z, one_hot)
    reconstruction = reconstruction_nats(model, logits, pixels)
    kl = 0.5 * (logvar.exp() + mean ** 2 - 1 - logvar).sum(1)
    loss = reconstruction.mean() + model["beta"] * kl.mean()
    return dict(mean=mean, logvar=logvar, z=z, logits=logits, reconstruction=reconstruction, kl=kl, loss=loss,
                logits_of_mean=None if network.training else network.decode(mean, one_hot))


def backward(network, loss):
    """A bias before batch normalisation has a gradient of 0, but for rounding, which Adam would take as seriously as any
    other gradient: it is made 0."""
    loss.backward()
    before = None
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            before.bias.grad.zero_()
        elif hasattr(module, "bias"):
            before = module


def measure(model, dtype):
    """Everything the tests compare. Inputs and weights are float32 numbers, so a C build in float starts equal."""
    torch.manual_seed(model["seed"])
    network = Network(model["input"], model["latent"], model["encoder"], model["decoder"],
                      model.get("shared_heads", False), model.get("tied", False), model.get("classes", 0))
    for p in network.parameters():
        p.data *= 2                             # PyTorch's default leaves these small networks nearly linear
    for name, b in network.named_buffers():
        if "running" in name:
            b.copy_(torch.rand(b.shape) + (0.5 if "var" in name else -0.5))
    pixels = torch.rand(ROWS, math.prod(model["input"])) * 0.98 + 0.01
    epsilon = torch.randn(ROWS, model["latent"])
    network, pixels, epsilon = network.to(dtype), pixels.to(dtype), epsilon.to(dtype)

    state = {name: t.clone() for name, t in network.state_dict().items()}
    Dropout.step = 0
    backward(network, run(model, network, pixels, epsilon)["loss"])
    network.load_state_dict(state)
    network.eval()
    result = run(model, network, pixels, epsilon)
    result["reconstructed"] = mean_pixels(model, result["logits_of_mean"])
    result.update(pixels=pixels, epsilon=epsilon)
    gradients = {name: p.grad.clone() for name, p in network.named_parameters()}
    names = [name for name in state if not name.endswith("num_batches_tracked") and
             (name in gradients or "running" in name)]              # a shared one has its first name
    tensors = [dict(name=name, values=state[name], gradient=gradients.get(name)) for name in names]

    network.train()
    adam = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for Dropout.step in range(3):
        adam.zero_grad()
        loss = run(model, network, pixels, epsilon)["loss"]
        backward(network, loss)
        adam.step()
        losses.append(loss.item())
    result["step_losses"] = torch.tensor(losses, dtype=torch.float64)
    for tensor in tensors:
        tensor["after_three_adam_steps"] = network.state_dict()[tensor["name"]].clone()
    return result, tensors


def float_error(model, tensors, key):
    """How far PyTorch's own float32 is from the double figures: what a test in float can ask for at best."""
    _, in_float = measure(model, torch.float32)
    return max((t[key] - f[key].double()).abs().max().item() for t, f in zip(tensors, in_float)
               if t[key] is not None)


# ---- golden.h ----

HEAD = """\
/* Written by tests/golden/make_golden.py (PyTorch %s, float64): do not edit.

   Rows are height x width x channels, channels last; tensors are in PyTorch's shapes and orders. Pixels, epsilon and
   first values are float32 numbers: a test in double that wants the last digits converts them through float.
   z = mean + exp(logvar/2) epsilon. Up to the loss all figures are those of inference. The gradient is that of loss = mean
   over rows of reconstruction + beta * kl in training, at the first values; Adam then takes three steps (learning rate
   0.01, betas 0.9 and 0.999, epsilon 1e-8) on the same rows with the same epsilon. In a conditional
   model the rows have the labels golden_labels. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <stddef.h>

typedef struct golden_tensor {
    const char   *name;
    int           rank, shape[4], count;            /* unused sides are 1 */
    const double *values, *gradient, *after_three_adam_steps;       /* no gradient: a running average */
} golden_tensor;

typedef struct golden_model {
    const char          *name;
    int                  height, width, channels, latent, rows;
    int                  gaussian;                  /* else Bernoulli */
    double               sigma, beta;
    const double        *pixels, *epsilon;          /* rows x pixels of one example, rows x latent */
    const double        *mean, *logvar, *z;         /* rows x latent */
    const double        *logits;                    /* decoder(z), rows x pixels of one example */
    const double        *reconstruction, *kl;       /* nats of each row */
    const double        *reconstructed;             /* the pixels of decoder(mean): sigmoid(logits), or the logits */
    double               mean_reconstruction, mean_kl, loss;
    double               step_losses[3];            /* before each Adam step */
    const golden_tensor *tensors;                   /* in the order of state_dict() */
    int                  tensor_count;
    int                  classes;                   /* 0: not conditional */
} golden_model;

static const int golden_labels[%d] = { %s };
"""


def number(value, digits):
    text = "%.*g" % (digits, value)
    return text if "." in text or "e" in text else text + ".0"


def array(name, values, digits):
    """A C array, at most 120 columns."""
    lines, line = [], "   "
    for text in (number(v, digits) + "," for v in values.flatten().tolist()):
        if len(line) + 1 + len(text) > 118:
            lines.append(line)
            line = "   "
        line += " " + text
    lines.append(line)
    lines[-1] = lines[-1].rstrip(",")
    return "static const double %s[%d] = {\n%s\n};\n" % (name, values.numel(), "\n".join(lines))


EXACT, RESULT = 9, 11       # digits: 9 are enough for a float32 number


def model_text(model, result, tensors):
    prefix = "golden_" + model["name"]
    text = ["\n/* ==== %s:\n       %s */\n" % (model["name"], model["config"].strip().replace("\n", "\n       "))]
    for key in ("pixels", "epsilon"):
        text.append(array("%s_%s" % (prefix, key), result[key], EXACT))
    for key in ("mean", "logvar", "z", "logits", "reconstruction", "kl", "reconstructed"):
        text.append(array("%s_%s" % (prefix, key), result[key].detach(), RESULT))
    rows = []
    for i, t in enumerate(tensors):
        text.append("/* %s */\n" % t["name"])
        text.append(array("%s_values_%d" % (prefix, i), t["values"], EXACT))
        if t["gradient"] is not None:
            text.append(array("%s_gradient_%d" % (prefix, i), t["gradient"], RESULT))
        text.append(array("%s_after_%d" % (prefix, i), t["after_three_adam_steps"], RESULT))
        shape = list(t["values"].shape)
        padded = ", ".join(str(n) for n in shape + [1] * (4 - len(shape)))
        gradient = "NULL" if t["gradient"] is None else "%s_gradient_%d" % (prefix, i)
        rows.append('    { "%s", %d, { %s }, %d,\n      %s_values_%d, %s, %s_after_%d }' %
                    (t["name"], len(shape), padded, t["values"].numel(), prefix, i, gradient, prefix, i))
    text.append("static const golden_tensor %s_tensors[%d] = {\n%s\n};\n" % (prefix, len(rows), ",\n".join(rows)))
    return "".join(text)


def model_entry(model, result, tensors):
    prefix = "golden_" + model["name"]
    names = ["pixels", "epsilon", "mean", "logvar", "z", "logits", "reconstruction", "kl", "reconstructed"]
    height, width, channels = model["input"]
    means = [result["reconstruction"].mean().item(), result["kl"].mean().item(), result["loss"].item()]
    arrays = [prefix + "_" + name for name in names]
    return """\
    { "%s", %d, %d, %d, %d, %d, %d, %s, %s,
      %s,
      %s,
      %s,
      %s,
      { %s },
      %s_tensors, %d, %d }""" % (
        model["name"], height, width, channels, model["latent"], ROWS, model["sigma"] is not None,
        number(model["sigma"] or 1, EXACT), number(model["beta"], EXACT),
        ", ".join(arrays[:3]), ", ".join(arrays[3:6]), ", ".join(arrays[6:]),
        ", ".join(number(m, RESULT) for m in means),
        ", ".join(number(v, RESULT) for v in result["step_losses"].tolist()), prefix, len(tensors),
        model.get("classes", 0))


# ---- from_python.safetensors ----


def write_safetensors(path, tensors):
    """Float32, in the order and with the padding of the safetensors package, without the package."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for t in sorted(tensors, key=lambda t: t["name"]):
        values = t["values"].flatten().tolist()
        begin, data = len(data), data + struct.pack("<%df" % len(values), *values)
        header[t["name"]] = {"dtype": "F32", "shape": list(t["values"].shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main():
    torch.set_num_threads(1)
    text, entries = [HEAD % (torch.__version__, ROWS, ", ".join(map(str, LABELS)))], []
    for model in MODELS:
        result, tensors = measure(model, torch.float64)
        text.append(model_text(model, result, tensors))
        entries.append(model_entry(model, result, tensors))
        if model["name"] == "conv_same":
            write_safetensors(os.path.join(HERE, "from_python.safetensors"), tensors)
        gradients = torch.cat([t["gradient"].abs().flatten() for t in tensors if t["gradient"] is not None])
        print("%s: %d numbers in %d tensors, loss %.6f, gradients up to %.3g, %d of them 0; float32 is off by %.1e in "
              "gradients, %.1e in weights after the steps" % (
                  model["name"], len(gradients), len(tensors), result["loss"], gradients.max(), (gradients == 0).sum(),
                  float_error(model, tensors, "gradient"), float_error(model, tensors, "after_three_adam_steps")))
        print("    " + " ".join(t["name"] for t in tensors))
    text.append("\n#define GOLDEN_MODELS %d\n" % len(entries))
    text.append("static const golden_model golden_models[GOLDEN_MODELS] = {\n%s\n};\n" % ",\n".join(entries))
    text.append("\n#endif\n")
    with open(os.path.join(HERE, "golden.h"), "w") as file:
        file.write("".join(text))


if __name__ == "__main__":
    main()
