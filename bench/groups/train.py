"""Training steps of whole networks: torch's loop, word for word, and the compiled step."""
import numpy as np

from bench import models
from bench.case import Case

JAX = ("mlp_tiny", "mlp_small", "autoencoder", "mlp_large")
TORCH_COMPILE = ("mlp_tiny", "lenet5", "vgg_small", "resnet20")
RANDOM = ("mlp_middle", "mlp_512")      # with dropout, whose masks differ between the libraries: losses agree only roughly
QUICK = ("mlp_tiny", "mlp_small", "mlp_middle", "lenet5")
# layers, rows, and float32 words that the update moves per parameter: networks whose bound is known in closed form
DENSE = {"mlp_middle": ((784, 256, 128, 10), 128, 7), "mlp_512": ((784, 512, 256, 10), 128, 7),
         "autoencoder": ((784, 500, 64, 500, 784), 100, 5), "mlp_large": ((1024, 2048, 2048, 1000), 256, 7)}


def bound(name):
    """(FLOP, bytes) of a step: three products per layer but no gradient of the input, and the update."""
    if name not in DENSE:
        return 0.0, 0.0
    widths, batch, words = DENSE[name]
    weights = [a * b for a, b in zip(widths, widths[1:])]
    return 2.0 * batch * (3 * sum(weights) - weights[0]), 4.0 * words * (sum(weights) + sum(widths[1:]))


def training(name):
    def build(side, threads):
        if side == "jax":
            from bench.jax_peer import training_step
            step = training_step(name)
        else:
            step = models.prepare(side, name, threads)
        return step, lambda: np.array([float(step().item()) for _ in range(8)])
    return build


def cases():
    for name in models.CASES:
        sides = ["compiled", "fastnn", "torch"]
        sides += ["jax"] * (name in JAX) + ["torch.compile"] * (name in TORCH_COMPILE)
        flops, nbytes = bound(name)
        yield Case("train", name, tuple(sides), training(name), tolerance=0.3 if name in RANDOM else 1e-2, flops=flops, nbytes=nbytes,
                   quick=name in QUICK, patience=240)
