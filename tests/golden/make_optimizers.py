"""Writes optimizers.h: parameters after 25 updates by PyTorch's own optimisers, in double, for test_optimizers.c.

    /usr/bin/python3 tests/golden/make_optimizers.py > tests/golden/optimizers.h

The network is 6-4-2-4-6, dense: its block is weights and biases of each layer in turn. Biases are never decayed."""
import math
import torch

SIZES = [(24, 4), (16, 4), (8, 4), (24, 6)]
COUNT = sum(w + b for w, b in SIZES)
STEPS = 25
BIAS = []
for w, b in SIZES:
    BIAS += [False] * w + [True] * b


def first(i):
    return ((i * 37) % 23 - 11) / 16.0


def gradient(i, t):
    return (((i * 7 + t * 13) % 29) - 14) / 32.0 * (1 + i % 3)


def constant(t):
    return 1.0


def warmup(t):
    return 0.25 + 0.75 * t / 10 if t < 10 else 1.0


def cosine(t):
    if t < 4:
        return t / 4
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (t - 4) / (20 - 4))) if t < 20 else 0.1


def stepwise(t):
    return t / 3 if t < 3 else 0.5 ** ((t - 3) // 5)


def exponential(t):
    return 0.25 ** (t / 10)


def cyclical(t):
    return min(1.0, 0.2 + 0.8 * (t % 8) / 4)


CASES = [
    ("adam", lambda groups: torch.optim.Adam(groups, lr=0.01, betas=(0.9, 0.999), eps=1e-8), 0.0, 0.01, constant),
    ("adam_decay", lambda groups: torch.optim.Adam(groups, lr=0.01, betas=(0.8, 0.95), eps=1e-3), 0.1, 0.01, cosine),
    ("adamw", lambda groups: torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.999), eps=1e-8), 0.05, 0.01, warmup),
    ("sgd", lambda groups: torch.optim.SGD(groups, lr=0.02, momentum=0.9), 0.0, 0.02, constant),
    ("sgd_decay", lambda groups: torch.optim.SGD(groups, lr=0.02, momentum=0.5), 0.1, 0.02, cosine),
    ("sgd_plain", lambda groups: torch.optim.SGD(groups, lr=0.02), 0.1, 0.02, warmup),
    ("rmsprop", lambda groups: torch.optim.RMSprop(groups, lr=0.001), 0.0, 0.001, constant),
    ("rmsprop_decay", lambda groups: torch.optim.RMSprop(groups, lr=0.01, alpha=0.9, eps=1e-3), 0.1, 0.01, stepwise),
    ("adadelta", lambda groups: torch.optim.Adadelta(groups), 0.0, 1.0, constant),
    ("adadelta_decay", lambda groups: torch.optim.Adadelta(groups, lr=2.0, rho=0.8, eps=1e-4), 0.1, 2.0, exponential),
    ("sgd_cyclical", lambda groups: torch.optim.SGD(groups, lr=0.02, momentum=0.9), 0.0, 0.02, cyclical),
    ("adam_clipped", lambda groups: torch.optim.Adam(groups, lr=0.01), 0.1, 0.01, constant, 4.5),
    ("sgd_clipped", lambda groups: torch.optim.SGD(groups, lr=0.02, momentum=0.9), 0.1, 0.02, constant, 4.5),
]

print("/* Made by make_optimizers.py with PyTorch's optimisers in double: see there. */")
print(f"#define OPTIMIZER_STEPS {STEPS}\n#define OPTIMIZER_COUNT {COUNT}")
for name, make, decay, rate, schedule, *clip in CASES:
    weights = torch.nn.Parameter(torch.tensor([first(i) for i in range(COUNT) if not BIAS[i]], dtype=torch.float64))
    biases = torch.nn.Parameter(torch.tensor([first(i) for i in range(COUNT) if BIAS[i]], dtype=torch.float64))
    optimizer = make([{"params": [weights], "weight_decay": decay}, {"params": [biases], "weight_decay": 0.0}])
    for t in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate * schedule(t)
        weights.grad = torch.tensor([gradient(i, t) for i in range(COUNT) if not BIAS[i]], dtype=torch.float64)
        biases.grad = torch.tensor([gradient(i, t) for i in range(COUNT) if BIAS[i]], dtype=torch.float64)
        for norm in clip:
            torch.nn.utils.clip_grad_norm_([weights, biases], norm)
        optimizer.step()
    w, b = iter(weights.tolist()), iter(biases.tolist())
    values = [next(b) if BIAS[i] else next(w) for i in range(COUNT)]
    print(f"static const double golden_{name}[OPTIMIZER_COUNT] = {{")
    for k in range(0, COUNT, 6):
        print("    " + " ".join(f"{v:.12g}," for v in values[k:k + 6]))
    print("};")
