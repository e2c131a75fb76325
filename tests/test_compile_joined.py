"""Calls of a plan that are joined: fewer of them, and the same bits."""
import itertools

import numpy as np
import pytest
from compile_runs import assert_equal_runs, batches, classifier, optimizer_for, train

import fastnn
from fastnn import nn


def test_relu_behind_a_product_is_joined():
    step = fastnn.compile(model := classifier(), nn.CrossEntropyLoss(), optimizer_for(model))
    for x, y in batches(4):
        step(x, y)
    assert "matmul + relu" in step.explain()        # the second one; the first has a batch norm before it


# Every way a convolution is computed stores through another tile: thin input, gathered, Winograd of both sizes, depthwise, 1x1.
CONVOLUTIONS = {
    "thin": ((3, 2, 9, 11), lambda: nn.Conv2d(2, 13, 3, stride=2)),
    "gathered": ((3, 20, 9, 11), lambda: nn.Conv2d(20, 13, 3, stride=2, padding=1)),
    "winograd": ((4, 64, 14, 14), lambda: nn.Conv2d(64, 48, 3, padding=1)),
    "phased": ((3, 3, 41, 38), lambda: nn.Conv2d(3, 35, 7, stride=2, padding=3)),
    "depthwise": ((3, 24, 9, 11), lambda: nn.Conv2d(24, 24, 3, padding=1, groups=24)),
    "pointwise": ((3, 40, 9, 11), lambda: nn.Conv2d(40, 35, 1)),
    "groups without bias": ((2, 36, 7), lambda: nn.Conv1d(36, 14, 3, groups=2, bias=False)),
    "three axes": ((2, 5, 4, 6, 5), lambda: nn.Conv3d(5, 18, 2)),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_relu_behind_a_convolution_is_joined(kind, threads):
    shape, layer = CONVOLUTIONS[kind]
    rng = np.random.default_rng(5)

    def make():
        return nn.Sequential(layer(), nn.ReLU())

    for dtype in (np.float32, np.float64):
        target = make()(fastnn.zeros(*shape)).shape
        data = [tuple(fastnn.from_numpy(rng.standard_normal(s).astype(dtype)) for s in (shape, target)) for _ in range(4)]
        runs = [train(lambda: make().to(data[0][0].dtype), data, compiled, loss=nn.MSELoss(), threads=threads)
                for compiled in (False, True)]
        assert_equal_runs(*runs)
        assert "convolution + relu" in runs[1][2].explain()


def test_relu_behind_a_convolution_keeps_nan_and_minus_zero():
    layer = nn.Conv2d(1, 2, 1, bias=False)
    with fastnn.no_grad():
        layer.weight.copy_(fastnn.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
    x = fastnn.tensor([[-0.0, 0.0, float("nan")], [float("inf"), -float("inf"), 2.0]]).reshape(1, 1, 2, 3)
    model = nn.Sequential(layer, nn.ReLU()).eval()
    compiled = fastnn.compile(model)
    with fastnn.no_grad():
        expected = model(x).numpy()
        for _ in range(4):
            y = compiled(x).numpy()
            np.testing.assert_array_equal(y, expected)
            np.testing.assert_array_equal(np.signbit(y), np.signbit(expected))
    assert "convolution + relu" in compiled.explain()


class Tail(nn.Module):
    """A convolution and what residual networks put behind it."""

    def __init__(self, layer, channels, affine, turned):
        super().__init__()
        norm = {3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[layer.weight.ndim]
        self.layer, self.norm, self.turned = layer, norm(channels, affine=affine), turned

    def forward(self, x, r):
        r = 2 * r
        y = self.norm(self.layer(x))
        return (r + y if self.turned else y + r).relu()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_norm_sum_and_relu_behind_a_convolution_are_joined(kind, threads, dtype):
    shape, layer = CONVOLUTIONS[kind]
    rng = np.random.default_rng(5)
    before = fastnn.get_num_threads()
    try:
        fastnn.set_num_threads(threads)
        for affine, turned in itertools.product((True, False), repeat=2):
            fastnn.manual_seed(2)
            convolution = layer()
            model = Tail(convolution, convolution.out_channels, affine, turned).to(fastnn.from_numpy(np.zeros(1, dtype)).dtype)
            x = fastnn.from_numpy(rng.standard_normal(shape).astype(dtype))
            r = convolution(x + 1).detach()     # in the layout of the sum's other operand
            model(x, r)                     # running statistics
            model.eval()
            compiled = fastnn.compile(model)
            with fastnn.no_grad():
                for _ in range(5):
                    np.testing.assert_array_equal(compiled(x, r).numpy(), model(x, r).numpy())
                    model.norm.running_var += 0.5       # its values are read anew
            joined = compiled.explain().splitlines()[0]
            assert ("convolution + batch norm, convolution + sum, convolution + relu" in joined) == (convolution.groups == 1)
    finally:
        fastnn.set_num_threads(before)


def test_norm_behind_a_convolution_that_is_read_again_is_not_joined():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)

        def forward(self, x):
            c = self.layer(x)
            n = self.norm(c)
            return (n + c) + (n + n)

    model = Twice().eval()
    compiled, x = fastnn.compile(model), fastnn.randn(2, 2, 5, 5)
    with fastnn.no_grad():
        for _ in range(5):
            np.testing.assert_array_equal(compiled(x).numpy(), model(x).numpy())
    assert "joined: nothing" in compiled.explain()


def test_a_convolution_read_again_is_not_joined():
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.last = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)

        def forward(self, x):
            c = self.layer(x)
            return self.last((c.relu() + 0.5 * c).mean((2, 3)))

    rng = np.random.default_rng(6)
    data = [(fastnn.from_numpy(rng.standard_normal((5, 1, 6, 6), np.float32)), fastnn.from_numpy(rng.integers(0, 3, 5)))
            for _ in range(4)]
    compiled = train(Doubled, data, True)
    assert_equal_runs(train(Doubled, data, False), compiled)
    assert "convolution + relu" not in compiled[2].explain()
