"""What five importance-weighted samples gain over one by pass 4, in PyTorch: a twin of train_mnist's recipe iwae.

    python3 tests/golden/iwae_twin.py [folder of MNIST] [seeds]

784-200-200-50 and its mirror image, tanh, Glorot's first weights; rows in order, batches of 20, pixels drawn anew at
every use; Adam with epsilon 1e-4, pass 1 at a rate of 1e-3, passes 2 to 4 at 1e-3 * 10^(-1/7). It shares no line with
vae.h. Both train on -log 1/k sum_k w_k, so that with one sample the KL is that sample's own, as in Burda et al.'s
program: in closed form it would be less noisy, and the gain smaller. For each seed and k it prints -ELBO and -log p of
the test images from 50 samples, then the mean gain.
"""
import gzip
import math
import os
import sys

import torch

torch.set_num_threads(1)


def images(folder, name):
    path = os.path.join(folder, name)
    with (open(path, "rb") if os.path.exists(path) else gzip.open(path + ".gz")) as file:
        return torch.frombuffer(bytearray(file.read()[16:]), dtype=torch.uint8).reshape(-1, 784).float() / 255


def dense(inputs, outputs):
    layer = torch.nn.Linear(inputs, outputs)
    torch.nn.init.xavier_uniform_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    return layer


class Model(torch.nn.Module):
    def __init__(self, pixel_means):
        super().__init__()
        tanh = torch.nn.Tanh()
        self.encoder = torch.nn.Sequential(dense(784, 200), tanh, dense(200, 200), tanh)
        self.mean, self.logvar = dense(200, 50), dense(200, 50)
        self.decoder = torch.nn.Sequential(dense(50, 200), tanh, dense(200, 200), tanh, dense(200, 784))
        with torch.no_grad():
            self.decoder[-1].bias.copy_(torch.logit(pixel_means.clamp(0.001, 0.999)))

    def log_weights(self, x, k):
        """log p(x, z) - log q(z | x) for k draws of z: [k, rows]. And KL(q | p): [rows]."""
        hidden = self.encoder(x)
        mean, logvar = self.mean(hidden), self.logvar(hidden)
        noise = torch.randn(k, *mean.shape)
        z = mean + noise * torch.exp(logvar / 2)
        logits = self.decoder(z)
        log_p = (x * logits - torch.nn.functional.softplus(logits)).sum(-1)
        kl = 0.5 * (mean ** 2 + logvar.exp() - 1 - logvar).sum(-1)
        return log_p - 0.5 * (z ** 2 - noise ** 2 - logvar).sum(-1), log_p, kl


def bound(log_weights):
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


def train(pixels, k, seed):
    torch.manual_seed(seed)
    model = Model(pixels.mean(0))
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-4)
    for number in range(4):
        adam.param_groups[0]["lr"] = 1e-3 if number == 0 else 1e-3 * 10 ** (-1 / 7)
        for batch in pixels.split(20):
            log_weights, _, _ = model.log_weights(torch.bernoulli(batch), k)
            loss = -bound(log_weights).mean()
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
    return model


def evaluate(model, pixels):
    elbo = log_likelihood = 0.0
    with torch.no_grad():
        for batch in torch.bernoulli(pixels).split(100):
            log_weights, log_p, kl = model.log_weights(batch, 50)
            elbo += (log_p.mean(0) - kl).sum().item()
            log_likelihood += bound(log_weights).sum().item()
    return -elbo / len(pixels), -log_likelihood / len(pixels)


def mean_and_error(values):
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / max(len(values) - 1, 1) / len(values))


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else "data"
    rows, test = images(folder, "train-images-idx3-ubyte"), images(folder, "t10k-images-idx3-ubyte")
    results = {1: [], 5: []}
    for seed in range(1, 1 + int(sys.argv[2] if len(sys.argv) > 2 else 8)):
        for k in results:
            elbo, log_p = evaluate(train(rows, k, seed), test)
            results[k].append(log_p)
            print("seed %d, k %d: -ELBO %.2f, -log p %.2f" % (seed, k, elbo, log_p), flush=True)
    for k in results:
        print("k %d: -log p %.2f +- %.2f" % (k, *mean_and_error(results[k])))
    print("gain: %.2f +- %.2f" % mean_and_error([one - five for one, five in zip(results[1], results[5])]))


if __name__ == "__main__":
    main()
