"""Every layer of the convolutional networks in compiled inference, compiled modules and compiled steps: captured, and the eager bits."""
import numpy as np
import pytest
from compile_runs import assert_equal_runs, train

import fastnn
from fastnn import nn

SIZES = {1: (3, 6, 10), 2: (3, 6, 10, 8), 3: (2, 6, 4, 6, 4)}      # a batch for layers of each rank


class First(nn.Module):
    """The first result of a layer that has two."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        values, places = self.layer(x)
        return values + 0 * places.to(values.dtype)


def padded(rank, mode):
    return getattr(nn, f"Conv{rank}d")(6, 4, 3, padding=1, padding_mode=mode)


RANKED = {
    "conv": lambda n: getattr(nn, f"Conv{n}d")(6, 4, 3, padding="same", dilation=2, groups=2),
    "conv, strided": lambda n: getattr(nn, f"Conv{n}d")(6, 4, 2, stride=2),
    "conv, transposed": lambda n: getattr(nn, f"ConvTranspose{n}d")(6, 4, 3, stride=2, padding=1, output_padding=1),
    **{f"conv, {mode}": lambda n, mode=mode: padded(n, mode) for mode in ("reflect", "replicate", "circular")},
    **{f"{name} pad": lambda n, name=name: getattr(nn, f"{name}Pad{n}d")(1) for name in ("Zero", "Reflection", "Replication", "Circular")},
    "constant pad": lambda n: getattr(nn, f"ConstantPad{n}d")((2, -1) + (0, 1) * (n - 1), 2.5),
    **{f"{name} pool": lambda n, name=name: getattr(nn, f"{name}Pool{n}d")(2) for name in ("Max", "Avg", "AdaptiveAvg", "AdaptiveMax")},
    "lp pool": lambda n: getattr(nn, f"LPPool{n}d")(2, 2),
    "max pool with indices": lambda n: First(getattr(nn, f"MaxPool{n}d")(2, return_indices=True)),
    "batch norm": lambda n: getattr(nn, f"BatchNorm{n}d")(6),
    "instance norm": lambda n: getattr(nn, f"InstanceNorm{n}d")(6, affine=True),
    "response norm": lambda n: nn.LocalResponseNorm(3),
    **{f"upsample {mode}": lambda n, mode=mode: nn.Upsample(scale_factor=2, mode=mode) for mode in ("nearest", "nearest-exact", "area")},
    "upsample linear": lambda n: nn.Upsample(scale_factor=1.5, mode={1: "linear", 2: "bilinear", 3: "trilinear"}[n]),
    "channel shuffle": lambda n: nn.ChannelShuffle(3),
}
LAYERS = {
    **{f"{name}, {n}d": (lambda n=n, make=make: make(n), SIZES[n]) for name, make in RANKED.items() for n in SIZES},
    "upsample bicubic": (lambda: nn.Upsample(size=(7, 15), mode="bicubic"), SIZES[2]),
    "pixel shuffle": (lambda: nn.PixelShuffle(2), (3, 8, 5, 3)),
    "pixel unshuffle": (lambda: nn.PixelUnshuffle(2), SIZES[2]),
    "unfold": (lambda: nn.Unfold((2, 3), dilation=2, padding=1, stride=(2, 1)), SIZES[2]),
    "fold": (lambda: nn.Fold((5, 6), (2, 3), dilation=2, padding=1, stride=(2, 1)), (2, 18, 12)),
}


def data(shape, n=6):
    rng = np.random.default_rng(0)
    return [fastnn.from_numpy(rng.standard_normal(shape, np.float32)) for _ in range(n)]


@pytest.mark.parametrize("name", LAYERS)
def test_training_step(name):
    make, shape = LAYERS[name]

    def model():
        return nn.Sequential(nn.Linear(shape[-1], shape[-1]), make())
    batches = [(x, x) for x in data(shape)]
    runs = [train(model, batches, compiled, loss=lambda y, _: (y * y).mean()) for compiled in (False, True)]
    assert_equal_runs(*runs)
    assert "kernel calls" in runs[1][2].explain()


@pytest.mark.parametrize("name", LAYERS)
def test_inference_and_compiled_module(name):
    make, shape = LAYERS[name]
    fastnn.manual_seed(0)
    layer = make().eval()
    plan = fastnn.compile(layer, fullgraph=True)
    for x in data(shape):
        with fastnn.no_grad():
            np.testing.assert_array_equal(plan(x).numpy(), layer(x).numpy())
    trained = fastnn.compile(layer, fullgraph=True)
    for x in data(shape):
        found = []
        for f in (layer, trained):
            leaf = x.clone().requires_grad_()
            (f(leaf) ** 2).sum().backward()
            found.append(leaf.grad.numpy())
        np.testing.assert_array_equal(*found)


def test_maps_of_many_sizes_are_not_mixed_up():
    """More sizes than are kept, and axes too long to be kept, each against repetition."""
    for n in (*range(1, 90), 20000, *range(1, 90)):
        x = np.random.default_rng(n).standard_normal((1, 1, n), np.float32)
        np.testing.assert_array_equal(nn.functional.interpolate(fastnn.from_numpy(x), scale_factor=2).numpy(), x.repeat(2, 2))


def test_dropout_behind_layers_of_maps():
    """Joined with the batch norm and relu before it or not: the eager bits."""
    def model():
        return nn.Sequential(nn.Conv2d(6, 20, 3, padding=1), nn.BatchNorm2d(20), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(20, 16, 3),
                             nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25), nn.Conv2d(16, 8, 3, padding=1), nn.BatchNorm2d(8),
                             nn.Dropout(0.2))
    batches = [(x, x) for x in data(SIZES[2])]
    eager = train(model, batches, False, loss=lambda y, _: (y * y).mean())
    for threads in (1, 2):
        assert_equal_runs(eager, train(model, batches, True, loss=lambda y, _: (y * y).mean(), threads=threads))
