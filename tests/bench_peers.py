"""The PyTorch side of `make bench-peers`: the same networks, trained the same way, as fast as eager PyTorch does it.

The C benchmark runs this as a child process and alternates with it, so that both meet the same machine:
    in:   list | run NET threads=1 seconds=1.5 | quit              (also ends at the end of the input)
    out:  peer: ready torch=... elementwise=avx2 blas=... cores=2                        once, first
          peer: nets NAME NAME ...                                                       to list
          peer: NET threads=1 images_per_second=... microseconds=... cpu_microseconds=... steps=... as=...     to run
          peer: error SENTENCE                                                           to anything else
          peer: unavailable SENTENCE                                                     instead of ready; then it ends
A figure is the median over five windows of the time asked for (a window has at least one step); `microseconds` is that
of one step, or of one call where the net is decode-*; `cpu_microseconds` is the processor's time for it, over all
threads: with 1 thread a measure that other processes disturb less, and the one that the C benchmark compares. Between
lines the process sleeps. The first run of a net with a number of threads takes longer: it tries the settings of
VARIANTS for a second each and keeps the fastest, named in `as`. Ask for seconds, not for tenths: after a pause PyTorch
takes a while to be as fast as it is in a training that goes on.

    python3 tests/bench_peers.py [--avx2] --all [SECONDS]       every net with 1 and 2 threads, by itself

With --avx2 it does as on a processor without AVX-512.

PyTorch computes its dense layers with the BLAS that it finds, and Debian's default one, the reference BLAS, is 40 times
slower than OpenBLAS. Measured against it any C library would shine, so this script then declines. For a fair peer:
    apt-get install libopenblas0-openmp         (libopenblas0-pthread fights with PyTorch's own threads)
Threads that wait for each other sleep rather than spin (OMP_WAIT_POLICY=passive, if the environment does not say): on
two cores that something else uses too, spinning made PyTorch with 2 threads up to 10 times slower, and it would disturb
the C benchmark's turn. Even so 2 threads may be slower than 1: compare with the better of both.
"""
import ctypes
import os
import re
import statistics
import sys
import time


def leave(sentence):
    print("peer: unavailable " + sentence, flush=True)
    sys.exit(0)


os.environ.setdefault("OMP_WAIT_POLICY", "passive")         # read, as those below, when the libraries are loaded
if "--avx2" in sys.argv:
    os.environ.update(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", DNNL_MAX_CPU_ISA="AVX2",
                      MKL_ENABLE_INSTRUCTIONS="AVX2", OPENBLAS_CORETYPE="Haswell")
try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError:
    leave("this Python has no torch")


def blas_libraries():
    """Paths of the BLAS libraries that this process has loaded."""
    torch.rand(4, 4) @ torch.rand(4, 4)
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "/" in line}
    return sorted(p for p in paths if any(word in os.path.basename(p) for word in ("blas", "blis", "mkl_")))


def blas_name():
    if torch.backends.mkl.is_available():
        return "mkl"
    paths = " ".join(blas_libraries())
    for name in ("openblas-openmp", "openblas-pthread", "openblas", "blis", "atlas"):
        if name in paths:
            return name
    return "reference" if paths else "unknown"


def openblas_core():
    """The processor that OpenBLAS takes this one for, in lower case, or None."""
    for path in blas_libraries():
        if "blas" in os.path.basename(path):
            library = ctypes.CDLL(path)
            if hasattr(library, "openblas_get_corename"):
                library.openblas_get_corename.restype = ctypes.c_char_p
                return library.openblas_get_corename().decode().lower()
    return None


def help_openblas():
    """A processor younger than the OpenBLAS is taken for a Prescott of 2004 and gets SSE kernels, up to ten times slower
    than those it could run. Then this script begins again with the kernels of the processor's instruction set."""
    if "OPENBLAS_CORETYPE" in os.environ or openblas_core() not in ("prescott", "core2", "generic", "unknown"):
        return
    with open("/proc/cpuinfo") as about:
        flags = next((line.split() for line in about if line.startswith("flags")), [])
    core = "SkylakeX" if "avx512bw" in flags else "Haswell" if "avx2" in flags and "fma" in flags else None
    if core:
        os.environ["OPENBLAS_CORETYPE"] = core
        python = os.path.realpath("/proc/self/exe")         # sys.executable may be another one, found by its name
        os.execv(python, [python] + sys.argv)


def set_threads(count):
    torch.set_num_threads(count)
    for path in blas_libraries():           # OpenBLAS with threads of its own does not hear of torch.set_num_threads
        if "openblas" in os.path.basename(path):
            library = ctypes.CDLL(path)
            if hasattr(library, "openblas_set_num_threads"):
                library.openblas_set_num_threads(count)


# ---- the networks ----


class VAE(nn.Module):
    """Both heads are one Linear, as a C program would have it: one product instead of two."""

    def __init__(self, encoder, hidden, latent, decoder):
        super().__init__()
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder)
        self.heads = nn.Linear(hidden, 2 * latent)

    def loss(self, x):
        mean, logvar = self.heads(self.encoder(x)).chunk(2, 1)
        z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        reconstruction = functional.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = -0.5 * torch.sum(1 + logvar - mean * mean - logvar.exp())
        return (reconstruction + kl) / x.shape[0]


def mlp(sizes):
    """Linear layers with a ReLU after each but none after the last."""
    modules = []
    for a, b in zip(sizes, sizes[1:]):
        modules += [nn.Linear(a, b), nn.ReLU()]
    return modules[:-1]


def dense_vae(*sizes):
    """784, ..., latent, and the mirror image."""
    back = list(reversed(sizes))
    return VAE(mlp(sizes[:-1]) + [nn.ReLU()], sizes[-2], sizes[-1], mlp(back))


# Convolutions with PyTorch's own padding: the shapes and the work are those of VAE_SAME, without a module that crops.


def keras_conv_vae():
    return VAE([nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(),
                nn.Linear(7 * 7 * 64, 16), nn.ReLU()], 16, 2,
               [nn.Linear(2, 7 * 7 * 64), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
                nn.ConvTranspose2d(64, 64, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), nn.ReLU(),
                nn.ConvTranspose2d(32, 1, 3, 1, 1)])


def rgb_64_vae():
    return VAE([nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(),
                nn.Conv2d(64, 128, 3, 2, 1), nn.ReLU(), nn.Flatten()], 8 * 8 * 128, 32,
               [nn.Linear(32, 8 * 8 * 128), nn.ReLU(), nn.Unflatten(1, (128, 8, 8)),
                nn.ConvTranspose2d(128, 64, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), nn.ReLU(),
                nn.ConvTranspose2d(32, 3, 3, 2, 1, 1)])


def series_1d_vae():
    kernel, stride, padding, extra = (1, 5), (1, 2), (0, 2), (0, 1)
    return VAE([nn.Conv2d(1, 16, kernel, stride, padding), nn.ReLU(), nn.Conv2d(16, 32, kernel, stride, padding),
                nn.ReLU(), nn.Flatten()], 64 * 32, 8,
               [nn.Linear(8, 64 * 32), nn.ReLU(), nn.Unflatten(1, (32, 1, 64)),
                nn.ConvTranspose2d(32, 16, kernel, stride, padding, extra), nn.ReLU(),
                nn.ConvTranspose2d(16, 1, kernel, stride, padding, extra)])


def decoder_only():
    return nn.Sequential(*mlp([32, 512, 784]), nn.Sigmoid())


# name: (how to make it, batch, shape of one example)
NETS = {
    "dense-400-20": (lambda: dense_vae(784, 400, 20), 128, (784,)),
    "dense-512-32": (lambda: dense_vae(784, 512, 32), 128, (784,)),
    "dense-512-32-batch-1": (lambda: dense_vae(784, 512, 32), 1, (784,)),
    "dense-200-200-50": (lambda: dense_vae(784, 200, 200, 50), 20, (784,)),
    "keras-conv": (keras_conv_vae, 128, (1, 28, 28)),
    "rgb-64": (rgb_64_vae, 64, (3, 64, 64)),
    "series-1d": (series_1d_vae, 128, (1, 1, 256)),
    "decode-1": (decoder_only, 1, (32,)),
    "decode-64": (decoder_only, 64, (32,)),
    "decode-1024": (decoder_only, 1024, (32,)),
}

# ---- one step, in each of the ways worth trying ----

# Where the gradients' memory is kept from step to step, clearing it costs a pass over it; where it is given back, the
# next step asks for it again. Which is faster depends on the network.
VARIANTS = [(layout, adam, gradients) for layout in ("contiguous", "channels_last") for adam in ("adam", "adam-foreach")
            for gradients in ("given-back", "kept")]


def make_step(name, variant):
    """A function that trains on one batch, or decodes one."""
    make, batch, shape = NETS[name]
    layout, adam, gradients = variant
    torch.manual_seed(1)
    net, rows = make(), []
    for _ in range(8):                                                          # already gathered
        x = torch.rand(batch, *shape)
        rows.append(x * (torch.rand_like(x) < 0.2))                             # mostly black, as digits are
    if name.startswith("decode"):
        latent = [torch.randn(batch, *shape) for _ in range(8)]
        net.eval()

        def decode(i):
            with torch.inference_mode():
                net(latent[i % 8])
        return decode
    if layout == "channels_last":
        net = net.to(memory_format=torch.channels_last)
        rows = [x.contiguous(memory_format=torch.channels_last) for x in rows]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, foreach=adam == "adam-foreach")

    def train(i):
        optimizer.zero_grad(set_to_none=gradients == "given-back")
        net.loss(rows[i % 8]).backward()
        optimizer.step()
    return train


def steps_for(step, seconds):
    """Runs at least one step and as many as begin in time: (steps, seconds of one step, processor's seconds)."""
    begin = now = time.perf_counter()
    cpu_begin, count = time.process_time(), 0
    while count == 0 or now - begin < seconds:
        step(count)
        count += 1
        now = time.perf_counter()
    return count, (now - begin) / count, (time.process_time() - cpu_begin) / count


def variants_of(name):
    if name.startswith("decode"):
        return VARIANTS[:1]
    return VARIANTS if len(NETS[name][2]) == 3 else VARIANTS[:4]


chosen = {}         # (name, threads): (step function, variant)


def choose(name, threads):
    if (name, threads) not in chosen:
        tried = []
        for variant in variants_of(name):
            step = make_step(name, variant)
            steps_for(step, 0.3)
            tried.append((min(steps_for(step, 0.2)[2 if threads == 1 else 1] for _ in range(4)), len(tried), step, variant))
        _, _, step, variant = min(tried)
        chosen[name, threads] = step, "decode" if name.startswith("decode") else "+".join(variant)
    return chosen[name, threads]


def run(name, threads, seconds):
    """The answer to one `run` line."""
    set_threads(threads)
    step, variant = choose(name, threads)
    steps_for(step, 0.1 * min(1, seconds))                                      # wakes the caches and the threads
    windows = [steps_for(step, seconds / 5) for _ in range(5)]
    counts, wall, cpu = zip(*windows)
    typical = statistics.median(wall)
    return "peer: %s threads=%d images_per_second=%.1f microseconds=%.2f cpu_microseconds=%.2f steps=%d as=%s" % (
        name, threads, NETS[name][1] / typical, typical * 1e6, statistics.median(cpu) * 1e6, sum(counts), variant)


def answer(line):
    words = line.split()
    if words == ["list"]:
        return "peer: nets " + " ".join(NETS)
    if len(words) < 2 or words[0] != "run" or words[1] not in NETS:
        return "peer: error not understood: " + line.strip()
    try:
        settings = dict(word.split("=") for word in words[2:])
        return run(words[1], int(settings.get("threads", 1)), float(settings.get("seconds", 1.5)))
    except (ValueError, RuntimeError) as error:
        return "peer: error " + " ".join(str(error).split())


def main():
    help_openblas()
    torch.set_flush_denormal(True)          # Adam's moments of units that died would slow every step
    blas = blas_name()
    if blas == "reference" and "--any-blas" not in sys.argv:
        leave("torch found only the reference BLAS, which is no fair peer: apt-get install libopenblas0-openmp")
    if openblas_core():
        blas += "-" + openblas_core()
    capability = re.search(r"CPU capability usage: (\w+)", torch.__config__.show())
    print("peer: ready torch=%s elementwise=%s blas=%s cores=%d" % (
        torch.__version__, capability.group(1).lower() if capability else "unknown", blas, os.cpu_count()), flush=True)
    if "--all" in sys.argv:
        after = sys.argv[sys.argv.index("--all") + 1:]
        for name in NETS:
            for threads in (1, 2):
                print(run(name, threads, float(after[0]) if after else 1.5), flush=True)
        return
    while True:
        line = sys.stdin.readline()
        if not line or line.strip() == "quit":
            return
        if line.strip():
            print(answer(line), flush=True)


if __name__ == "__main__":
    main()
