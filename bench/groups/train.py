"""Training steps of whole networks: torch's loop, word for word, and the compiled step."""
import numpy as np

from bench import models
from bench.case import Case

JAX = ("mlp_tiny", "mlp_small", "autoencoder", "mlp_large")
TORCH_COMPILE = ("mlp_tiny", "lenet5", "vgg_small", "resnet20")
RANDOM = ("mlp_middle", "mlp_512")      # with dropout, whose masks differ between the libraries: losses agree only roughly
QUICK = ("mlp_tiny", "mlp_small", "mlp_middle", "lenet5")
LARGE_PARAMETERS = 1024 * 2048 + 2048 * 2048 + 2048 * 1000 + 2048 + 2048 + 1000


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
        large = name == "mlp_large"     # the one whose bound is known in closed form: three products a layer, and Adam's seven words
        flops = 2.0 * 256 * (2 * 1024 * 2048 + 3 * 2048 * 2048 + 3 * 2048 * 1000) if large else 0.0
        yield Case("train", name, tuple(sides), training(name), tolerance=0.3 if name in RANDOM else 1e-2, flops=flops,
                   nbytes=28.0 * LARGE_PARAMETERS if large else 0.0, quick=name in QUICK, patience=240)
