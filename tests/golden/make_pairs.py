"""Writes pairs.h: golden.h's figures for the likelihoods of two numbers a pixel, of which "logits" then holds both.

Run once, by hand, and committed with its output; the tests need only the output.
    python3 tests/golden/make_pairs.py
"""
import os

import torch
from torch import nn

import make_golden
from network import Network, conv, conv_transposed, dense, mirror, sequential

MODELS = [
    dict(name="gaussian_predicted", seed=21, input=(6, 5, 2), latent=3, beta=1.0, sigma=None,
         likelihood="gaussian_predicted",
         encoder=[conv(4, (3, 3), (2, 2), "silu"), dense(8, "tanh")],
         decoder=[dense((3, 3, 4), "silu"), conv_transposed(5, (3, 3), (2, 2), "silu", (1, 0, 1, 1), (0, 0)),
                  conv(4, (3, 3), (1, 1), "linear")],
         config="""
.input = { 6, 5, 2 }, .latent = 3, .likelihood = VAE_GAUSSIAN_PREDICTED,
.encoder = { VAE_CONV(4, 3, 2, VAE_SILU), VAE_DENSE(8, VAE_TANH) },
.decoder = { VAE_DENSE_SHAPED(3, 3, 4, VAE_SILU),
             { VAE_LAYER_CONV_TRANSPOSED, { 0, 0, 5 }, 3, 3, 2, 2, VAE_EXPLICIT, 1, 0, 1, 1, 0, 0, VAE_SILU },
             VAE_CONV(4, 3, 1, VAE_LINEAR) }
"""),
    dict(name="discretized_logistic", seed=22, input=(6, 5, 2), latent=3, beta=1.0, sigma=None,
         likelihood="discretized_logistic",
         encoder=[conv(4, (3, 3), (2, 2), "silu"), dense(8, "tanh")], decoder=None,
         config="""
.input = { 6, 5, 2 }, .latent = 3, .likelihood = VAE_DISCRETIZED_LOGISTIC,
.encoder = { VAE_CONV(4, 3, 2, VAE_SILU), VAE_DENSE(8, VAE_TANH) }
"""),
    dict(name="logistic_vector", seed=23, input=(1, 9, 1), latent=2, beta=0.5, sigma=None, classes=3,
         likelihood="discretized_logistic",
         encoder=[dense(7, "tanh")], decoder=None,
         config="""
.input = { 1, 9, 1 }, .latent = 2, .likelihood = VAE_DISCRETIZED_LOGISTIC, .beta = 0.5, .classes = 3,
.encoder = { VAE_DENSE(7, VAE_TANH) }
"""),
]


def with_channels(layer, input_shape, times):
    """The last layer, giving `times` the input's channels."""
    height, width, channels = input_shape
    if layer["kind"] == "dense":
        return dict(layer, shape=(height, width, times * channels))
    return dict(layer, channels=times * channels)


class PairNetwork(Network):
    """Its decoder gives images of twice the channels. In rows all first numbers stand before all second ones."""

    def __init__(self, input_shape, latent, encoder, decoder=None, shared_heads=False, tied=False, classes=0, *_):
        layers = decoder or mirror(input_shape, encoder)
        single, double = (layers[:-1] + [with_channels(layers[-1], input_shape, times)] for times in (1, 2))
        super().__init__(input_shape, latent, encoder, single, shared_heads, tied, classes)
        modules, _, _ = sequential(double, (1, 1, latent), False, classes)
        self.decoder = nn.Sequential(*modules)

    def decode(self, z, one_hot=None):
        output = self.decoder(z if one_hot is None else torch.cat([z, one_hot], 1))
        return torch.cat([self.rows(half) for half in self.halves(output)], 1)

    def halves(self, output):
        height, width, channels = self.input_shape
        return output.reshape(-1, 2 * channels, height, width).chunk(2, dim=1)


def levels_of(first, second):
    """The probabilities of the 256 levels, one after the other along a new last dimension."""
    centre = torch.arange(256, dtype=first.dtype)
    distribution = torch.distributions.TransformedDistribution(
        torch.distributions.Uniform(torch.zeros((), dtype=first.dtype), torch.ones((), dtype=first.dtype)),
        [torch.distributions.SigmoidTransform().inv,
         torch.distributions.AffineTransform(first.unsqueeze(-1), second.exp().unsqueeze(-1))])
    upper, lower = distribution.cdf((centre + 0.5) / 255), distribution.cdf((centre - 0.5) / 255)
    upper = torch.where(centre == 255, torch.ones_like(upper), upper)
    lower = torch.where(centre == 0, torch.zeros_like(lower), lower)
    return upper - lower


def reconstruction_nats(model, output, pixels):
    first, second = output.chunk(2, dim=1)
    if model["likelihood"] == "gaussian_predicted":
        assert second.min() > -12 and second.max() < 40
        return -torch.distributions.Normal(first, (second / 2).exp()).log_prob(pixels).sum(1)
    assert second.min() > -8 and second.max() < 4
    level = (255 * pixels).round().long().unsqueeze(-1)
    return -levels_of(first, second).gather(-1, level).squeeze(-1).log().sum(1)


def mean_pixels(model, output):
    first, second = output.chunk(2, dim=1)
    if model["likelihood"] == "gaussian_predicted":
        return first
    return (levels_of(first, second) * torch.arange(256, dtype=first.dtype) / 255).sum(-1)


def main():
    torch.set_num_threads(1)
    make_golden.Network = PairNetwork
    make_golden.reconstruction_nats = reconstruction_nats
    make_golden.mean_pixels = mean_pixels
    text, entries = ["/* Written by tests/golden/make_pairs.py (PyTorch %s, float64): do not edit. \"logits\" has two "
                     "numbers a pixel:\n   in a row the first ones of all pixels, then the second ones. */\n"
                     % torch.__version__], []
    for model in MODELS:
        result, tensors = make_golden.measure(model, torch.float64)
        text.append(make_golden.model_text(model, result, tensors))
        entries.append(make_golden.model_entry(model, result, tensors))
        print("%s: loss %.6f; float32 is off by %.1e in gradients, %.1e in weights after the steps" % (
            model["name"], result["loss"], make_golden.float_error(model, tensors, "gradient"),
            make_golden.float_error(model, tensors, "after_three_adam_steps")))
    text.append("\n#define PAIR_MODELS %d\n" % len(entries))
    text.append("static const golden_model pair_models[PAIR_MODELS] = {\n%s\n};\n" % ",\n".join(entries))
    with open(os.path.join(make_golden.HERE, "pairs.h"), "w") as file:
        file.write("".join(text))


if __name__ == "__main__":
    main()
