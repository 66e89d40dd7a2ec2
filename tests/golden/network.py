"""The networks of vae.h as one would write them in PyTorch: the naming rules of its files, in a second implementation.

A network is encoder, mean, logvar, decoder: two nn.Sequential and two nn.Linear. An index in a Sequential counts every
module. The modules, in order, for each layer:

    dense             [Flatten]  Linear  [BatchNorm1d]  [activation]  [Dropout]  [Unflatten]
      Flatten         exactly when what comes before is an image: the output of a convolution, or the network's input
                      unless it has height 1 and channels 1. After z, after a dense layer: none.
      Unflatten       exactly when the next layer is a convolution.
    conv              [ZeroPad2d]  Conv2d  [BatchNorm2d]  [activation]  [Dropout]
    conv transposed   ConvTranspose2d  [ZeroPad2d of negative amounts, which crops]  [BatchNorm2d]  [activation]
                      [Dropout]
      ZeroPad2d       exactly when the padding is uneven. It is even when padding=(top, left) gives the layer's output
                      size by PyTorch's formula; for a transposed convolution with some output_padding in 0..stride-1.
    VAE_LINEAR has no activation module. An encoder whose last layer is a convolution ends with Flatten.

Shared heads: `logvar` is the module `mean`. Tied: each weighted module of the decoder has only a bias of its own and uses
the weight, transposed, of the encoder's module that it undoes; the first one that of `mean`.

Flat tensors that were or will be images are channel-first, as nn.Flatten and nn.Unflatten have them; so are the numbers
of a last Linear that gives the image.

A conditional network (`classes`) takes a label, one-hot behind the input of the encoder's first Linear (of mean and logvar
where the encoder has none) and behind z.
"""
import math

import torch
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "silu": nn.SiLU, "gelu": nn.GELU, "tanh": nn.Tanh,
               "sigmoid": nn.Sigmoid, "softplus": nn.Softplus}

# ---- layers: plain dicts, sizes as (height, width), padding as (top, bottom, left, right) or "same" ----


def dense(units, activation, **extras):
    """`units`: a number, or (height, width, channels). `extras`: dropout, batch_norm."""
    shape = units if isinstance(units, tuple) else (1, 1, units)
    return {"kind": "dense", "shape": shape, "activation": activation, **extras}


def conv(channels, kernel, stride, activation, padding="same", **extras):
    return {"kind": "conv", "channels": channels, "kernel": kernel, "stride": stride, "padding": padding,
            "activation": activation, **extras}


def conv_transposed(channels, kernel, stride, activation, padding="same", output_padding=(0, 0), **extras):
    return {"kind": "conv_transposed", "channels": channels, "kernel": kernel, "stride": stride, "padding": padding,
            "output_padding": output_padding, "activation": activation, **extras}


# ---- shapes ----


def padding_before_and_after(layer, size, axis):
    kernel, stride = layer["kernel"][axis], layer["stride"][axis]
    if layer["padding"] != "same":
        return layer["padding"][2 * axis], layer["padding"][2 * axis + 1]
    if layer["kind"] == "conv":                                                 # TensorFlow: ceil(size / stride) out
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    else:                                                                       # size * stride out
        total = max(kernel - stride, 0)
    return total // 2, total - total // 2


def output_size(layer, size, axis):
    kernel, stride = layer["kernel"][axis], layer["stride"][axis]
    before, after = padding_before_and_after(layer, size, axis)
    if layer["kind"] == "conv":
        return (size + before + after - kernel) // stride + 1
    if layer["padding"] == "same":
        return size * stride
    return (size - 1) * stride - before - after + kernel + layer["output_padding"][axis]


def output_shape(layer, shape):
    if layer["kind"] == "dense":
        return layer["shape"]
    return output_size(layer, shape[0], 0), output_size(layer, shape[1], 1), layer["channels"]


def mirror(input_shape, encoder):
    """The decoder that vae.h makes where none is given: each layer's adjoint, in reverse."""
    shapes = [input_shape]
    for layer in encoder:
        shapes.append(output_shape(layer, shapes[-1]))
    def extras(i):
        return {name: encoder[i][name] for name in ("dropout", "batch_norm") if i >= 0 and name in encoder[i]}

    decoder = [dense(shapes[-1], encoder[-1]["activation"], **extras(len(encoder) - 1))]
    for i in reversed(range(len(encoder))):
        layer, big, small = encoder[i], shapes[i], shapes[i + 1]
        activation = encoder[i - 1]["activation"] if i > 0 else "linear"
        if layer["kind"] == "dense":
            decoder.append(dense(big, activation, **extras(i - 1)))
            continue
        padding, output_padding = [], []
        for axis in (0, 1):
            before, after = padding_before_and_after(layer, big[axis], axis)
            padding += [before, after]
            output_padding.append(big[axis] + before + after - layer["kernel"][axis]
                                  - (small[axis] - 1) * layer["stride"][axis])
        decoder.append(conv_transposed(big[2], layer["kernel"], layer["stride"], activation, tuple(padding),
                                       tuple(output_padding), **extras(i - 1)))
    return decoder


# ---- modules ----


def conv_modules(layer, shape):
    out = output_shape(layer, shape)
    top, bottom = padding_before_and_after(layer, shape[0], 0)
    left, right = padding_before_and_after(layer, shape[1], 1)
    sizes = dict(kernel_size=layer["kernel"], stride=layer["stride"])
    even = all((shape[axis] + 2 * before - layer["kernel"][axis]) // layer["stride"][axis] + 1 == out[axis]
               for axis, before in ((0, top), (1, left)))
    if even:
        return [nn.Conv2d(shape[2], out[2], padding=(top, left), **sizes)]
    return [nn.ZeroPad2d((left, right, top, bottom)), nn.Conv2d(shape[2], out[2], **sizes)]


def conv_transposed_modules(layer, shape):
    out, before = output_shape(layer, shape), (padding_before_and_after(layer, shape[0], 0)[0],
                                               padding_before_and_after(layer, shape[1], 1)[0])
    sizes = dict(kernel_size=layer["kernel"], stride=layer["stride"])
    whole = [(shape[axis] - 1) * layer["stride"][axis] + layer["kernel"][axis] for axis in (0, 1)]
    extra = [out[axis] - (whole[axis] - 2 * before[axis]) for axis in (0, 1)]
    if all(0 <= extra[axis] < layer["stride"][axis] for axis in (0, 1)):
        return [nn.ConvTranspose2d(shape[2], out[2], padding=before, output_padding=tuple(extra), **sizes)]
    after = [whole[axis] - before[axis] - out[axis] for axis in (0, 1)]         # to crop; negative: to add
    added = tuple(max(-amount, 0) for amount in after)
    crop = [-max(amount, 0) for amount in after]
    return [nn.ConvTranspose2d(shape[2], out[2], output_padding=added, **sizes),
            nn.ZeroPad2d((-before[1], crop[1], -before[0], crop[0]))]


def philox(key, words):
    """A block of Philox4x32-10 (Salmon et al. 2011)."""
    key, words, low = list(key), list(words), 0xFFFFFFFF
    for _ in range(10):
        a, b = 0xD2511F53 * words[0], 0xCD9E8D57 * words[2]
        words = [b >> 32 ^ words[1] ^ key[0], b & low, a >> 32 ^ words[3] ^ key[1], a & low]
        key = [key[0] + 0x9E3779B9 & low, key[1] + 0xBB67AE85 & low]
    return words


class Dropout(nn.Module):
    """nn.Dropout with the masks that vae.h draws with seed 0: a number of layer `layer` (the heads are one) is dropped
    where word e % 4 of the block with counter (e / 4, row, step, 128 + layer), its upper 24 bits seen as a fraction, is
    below p. Number e of an image counts channels last."""
    step = 0

    def __init__(self, p, layer, shape, is_image):
        super().__init__()
        self.p, self.layer, self.shape, self.is_image = p, layer, shape, is_image

    def extra_repr(self):
        return "p=%g" % self.p

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        height, width, channels = self.shape
        count = height * width * channels
        mask = torch.tensor([[philox((0, 0), (e // 4, row, Dropout.step, 128 + self.layer))[e % 4] >> 8
                              for e in range(count)] for row in range(x.shape[0])], dtype=torch.float64) / 2 ** 24
        mask = (mask >= self.p).to(x.dtype)
        if self.is_image:
            mask = mask.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        return x * mask.reshape(x.shape) / (1 - self.p)


class Tied(nn.Module):
    """A layer of this kind with the weight of another module, of which it keeps no parameter."""

    def __init__(self, module, source):
        super().__init__()
        self.bias = module.bias
        self.shared = [module, source]          # in a list, so that neither counts as a part of this module

    def forward(self, x):
        module, source = self.shared
        if isinstance(module, nn.Linear):
            return nn.functional.linear(x, source.weight.t(), self.bias)
        if isinstance(module, nn.Conv2d):
            return nn.functional.conv2d(x, source.weight, self.bias, module.stride, module.padding)
        return nn.functional.conv_transpose2d(x, source.weight, self.bias, module.stride, module.padding,
                                              module.output_padding)


def weighted(modules):
    return [m for m in modules if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))]


def sequential(layers, shape, is_image, classes=0, number=0):
    """The modules of one half and the shape that leaves it. The first Linear also takes `classes` numbers. `number`: of the
    half's first layer in the network."""
    modules = []
    for i, layer in enumerate(layers):
        out = output_shape(layer, shape)
        activation = [] if layer["activation"] == "linear" else [ACTIVATIONS[layer["activation"]]()]
        becomes_image = layer["kind"] != "dense" or (i + 1 < len(layers) and layers[i + 1]["kind"] != "dense")
        if layer.get("batch_norm"):
            activation.insert(0, nn.BatchNorm1d(math.prod(out)) if layer["kind"] == "dense" else nn.BatchNorm2d(out[2]))
        if layer.get("dropout"):
            activation.append(Dropout(layer["dropout"], number + i, out, becomes_image))
        if layer["kind"] == "dense":
            modules += [nn.Flatten()] if is_image else []
            modules += [nn.Linear(math.prod(shape) + classes, math.prod(out))] + activation
            classes = 0
            if becomes_image:
                modules.append(nn.Unflatten(1, (out[2], out[0], out[1])))
            is_image = False
        else:
            make = conv_modules if layer["kind"] == "conv" else conv_transposed_modules
            parts = make(layer, shape)
            modules += parts + activation
            is_image = True
        shape = out
    return modules, shape, is_image


class Network(nn.Module):
    """Images go in and logits come out channel-first, {batch, channels, height, width}; a vector {1, n, 1} goes in as
    {batch, n} where a dense layer meets it first."""

    def __init__(self, input_shape, latent, encoder, decoder=None, shared_heads=False, tied=False, classes=0,
                 classifier=()):
        super().__init__()
        height, width, channels = input_shape
        self.input_shape = input_shape
        self.is_vector = height == 1 and channels == 1 and encoder[0]["kind"] == "dense"
        modules, shape, is_image = sequential(encoder, input_shape, height > 1 or channels > 1, classes)
        if encoder[-1]["kind"] != "dense":
            modules.append(nn.Flatten())
        self.encoder = nn.Sequential(*modules)
        late = 0 if any(layer["kind"] == "dense" for layer in encoder) else classes
        self.mean = nn.Linear(math.prod(shape) + late, latent)
        self.logvar = self.mean if shared_heads else nn.Linear(math.prod(shape) + late, latent)
        sources = [self.mean] + weighted(modules)[::-1]
        modules, shape, _ = sequential(decoder or mirror(input_shape, encoder), (1, 1, latent), False, classes,
                                       len(encoder) + 1)
        assert math.prod(shape) in (math.prod(input_shape), 2 * math.prod(input_shape))      # one number a pixel or two
        if tied:
            ties = dict(zip(weighted(modules), sources))
            modules = [Tied(m, ties[m]) if m in ties else m for m in modules]
        self.decoder = nn.Sequential(*modules)
        if classifier:                          # on the mean
            self.classifier = nn.Sequential(*sequential(classifier, (1, 1, latent), False)[0])

    def images(self, rows):
        """From rows of height x width x channels."""
        height, width, channels = self.input_shape
        if self.is_vector:
            return rows
        return rows.reshape(-1, height, width, channels).permute(0, 3, 1, 2)

    def rows(self, images):
        """Back to rows of height x width x channels, or twice the channels."""
        height, width, _ = self.input_shape
        return images.reshape(images.shape[0], -1, height, width).permute(0, 2, 3, 1).reshape(images.shape[0], -1)

    def encode(self, rows, one_hot=None):
        hidden = self.images(rows)
        for module in self.encoder:
            if isinstance(module, nn.Linear) and one_hot is not None:
                hidden, one_hot = torch.cat([hidden, one_hot], 1), None
            hidden = module(hidden)
        if one_hot is not None:
            hidden = torch.cat([hidden, one_hot], 1)
        return self.mean(hidden), self.logvar(hidden)

    def decode(self, z, one_hot=None):
        """Logits, as rows."""
        return self.rows(self.decoder(z if one_hot is None else torch.cat([z, one_hot], 1)))
