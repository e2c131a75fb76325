"""Layers that take a size from their first input: the plain layer with the same values under one seed, torch's too."""
import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import nn

# class, its arguments, the plain layer's arguments, the shape of an input
CASES = [
    ("Linear", (3,), (4, 3), (2, 4)),
    ("Conv1d", (4, 3), (6, 4, 3), (2, 6, 9)),
    ("Conv2d", (4, 3, 1, 1), (6, 4, 3, 1, 1), (2, 6, 5, 7)),
    ("Conv2d", (4, 3, 1, 0, 1, 2, False), (6, 4, 3, 1, 0, 1, 2, False), (2, 6, 5, 7)),
    ("Conv3d", (4, 2), (3, 4, 2), (3, 4, 4, 4)),
    ("ConvTranspose1d", (4, 3), (6, 4, 3), (2, 6, 9)),
    ("ConvTranspose2d", (4, 3, 2, 1, 1, 2), (6, 4, 3, 2, 1, 1, 2), (2, 6, 5, 7)),
    ("ConvTranspose3d", (4, 2), (3, 4, 2), (2, 3, 4, 4, 4)),
    ("BatchNorm1d", (), (5,), (4, 5)),
    ("BatchNorm2d", (1e-3, 0.3), (5, 1e-3, 0.3), (4, 5, 3, 3)),
    ("InstanceNorm1d", (), (5, 1e-5, 0.1, True, True), (4, 5, 6)),
    ("InstanceNorm2d", (1e-3, 0.3, True, False), (5, 1e-3, 0.3, True, False), (4, 5, 3, 3)),
    ("InstanceNorm3d", (), (5, 1e-5, 0.1, True, True), (4, 5, 3, 3, 2)),
    ("BatchNorm3d", (1e-5, 0.1, False), (5, 1e-5, 0.1, False), (4, 5, 3, 3, 2)),
]


@pytest.mark.parametrize("name, arguments, plain_arguments, shape", CASES)
def test_becomes_the_plain_layer(name, arguments, plain_arguments, shape):
    x = np.random.default_rng(0).standard_normal(shape, np.float32)

    def run(module, lazy):
        module.manual_seed(5)
        layer = getattr(module.nn, "Lazy" * lazy + name)(*(arguments if lazy else plain_arguments))
        return layer, layer(module.tensor(x))
    (layer, y), (plain, z) = run(fastnn, True), run(fastnn, False)
    assert type(layer) is type(plain) and repr(layer) == repr(plain) and np.array_equal(y.detach().numpy(), z.detach().numpy())
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(other) is type(plain) and fastnn.equal(layer(fastnn.tensor(x)), other(fastnn.tensor(x)))
    loaded = getattr(nn, "Lazy" + name)(*arguments)
    loaded.load_state_dict(layer.state_dict())
    assert type(loaded) is type(plain) and repr(loaded) == repr(plain)
    assert all(fastnn.equal(a, b) for a, b in zip(loaded.state_dict().values(), layer.state_dict().values(), strict=True))
    torch = pytest.importorskip("torch")
    np.testing.assert_allclose(y.detach().numpy(), run(torch, True)[1].detach().numpy(), rtol=1e-4, atol=1e-5)


def test_an_optimizer_made_before_the_first_input_knows_the_parameters():
    model = nn.Sequential(nn.LazyConv2d(3, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    optimizer = fastnn.optim.SGD(model.parameters(), lr=0.1)
    step = fastnn.compile(model, nn.CrossEntropyLoss(), optimizer, fullgraph=True)
    x, y = fastnn.rand(4, 2, 6, 6), fastnn.tensor([0, 1, 0, 1])
    losses = [step(x, y).item() for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("make, shape, error, words", [
    (lambda: nn.LazyConv2d(4, 3), (5, 5), RuntimeError, r"Expected 3D \(unbatched\) or 4D \(batched\) input to LazyConv2d"),
    (lambda: nn.LazyConv2d(4, 3, groups=2), (1, 5, 5, 5), ValueError, "in_channels must be divisible by groups"),
    (lambda: nn.LazyBatchNorm2d(), (5, 5), ValueError, r"expected 4D input \(got 2D input\)"),
])
def test_errors_leave_the_layer_waiting(make, shape, error, words):
    layer = make()
    with pytest.raises(error, match=words):
        layer(fastnn.ones(shape))
    assert type(layer).__name__.startswith("Lazy") and type(layer(fastnn.ones(2, 4, 5, 5))).__name__ == "Tensor"
