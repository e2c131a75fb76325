"""What plans join beyond relu behind products and convolutions (test_compile.py): the same bits, and only where it is allowed."""
import itertools

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim

IMAGES = (6, 2, 12, 14)


def images(dtype=np.float32, shape=IMAGES, classes=5, n=4, seed=0):
    rng = np.random.default_rng(seed)
    return [(fastnn.from_numpy(rng.standard_normal(shape).astype(dtype)), fastnn.from_numpy(rng.integers(0, classes, shape[0])))
            for _ in range(n)]


def train(make, data, compiled, threads=2):
    """Losses, final state and step of a run, by the eager loop or the compiled step."""
    before = fastnn.get_num_threads()
    fastnn.set_num_threads(threads)
    try:
        fastnn.manual_seed(3)
        model = make()
        step = fastnn.compile(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=1e-2), fullgraph=True)
        losses = [(step(x, y) if compiled else step._run([x, y])[0]).item() for x, y in data]
        return losses, {k: v.numpy().copy() for k, v in model.state_dict().items()}, step
    finally:
        fastnn.set_num_threads(before)


def assert_equal_runs(a, b):
    np.testing.assert_array_equal(a[0], b[0])
    for name in a[1]:
        np.testing.assert_array_equal(a[1][name], b[1][name], err_msg=name)


def network(*layers):
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(5))


# name: layers, what is joined
NETWORKS = {
    "batch norm": (lambda: [nn.Conv2d(2, 20, 3, padding=1), nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 3, 1)],
                   ["batch norm + relu", "relu gradient + batch norm gradient"]),
    "in place": (lambda: [nn.Conv2d(2, 20, 3, padding=1), nn.BatchNorm2d(20), nn.ReLU(inplace=True), nn.Conv2d(20, 6, 3),
                          nn.ReLU(inplace=True), nn.AvgPool2d(2)],
                 ["batch norm + relu", "relu gradient + batch norm gradient", "convolution + relu"]),
    "tiling windows": (lambda: [nn.Conv2d(2, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)], ["max pool gradient + relu gradient"]),
    "windows that leave a rest": (lambda: [nn.Conv2d(2, 19, 3), nn.ReLU(True), nn.MaxPool2d(3)], ["max pool gradient + relu gradient"]),
    "windows that overlap": (lambda: [nn.Conv2d(2, 19, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], ["max pool gradient + relu gradient"]),
    "batch norm, relu, pooling": (lambda: [nn.Conv2d(2, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)],
                                  ["batch norm + relu", "max pool gradient + relu gradient"]),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_joined_calls_compute_the_same_bits(name, threads, dtype):
    layers, joined = NETWORKS[name]

    def make():
        model = network(*layers())
        model(fastnn.zeros(*IMAGES))
        return model.to(fastnn.float64 if dtype is np.float64 else fastnn.float32)
    data = images(dtype)
    eager, compiled = (train(make, data, c, threads=threads) for c in (False, True))
    assert_equal_runs(eager, compiled)
    text = compiled[2].explain()
    assert all(words in text for words in joined), text.splitlines()[0]


def test_rows_are_joined():
    def make():
        return nn.Sequential(nn.Linear(20, 33), nn.BatchNorm1d(33), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Linear(33, 5))
    eager, compiled = (train(make, images(shape=(24, 20)), c) for c in (False, True))
    assert_equal_runs(eager, compiled)
    assert "batch norm + relu" in compiled[2].explain() and "copy" not in compiled[2].explain()


# rows, channels: pieces of columns with and without a rest, blocks of rows, one channel, draws that end within a group
DROPOUTS = [(24, 33), (128, 256), (7, 128), (50, 100), (5, 1), (700, 130), (3000, 31), (2, 64)]


def dropout_network(rows, channels, relu, p, inplace=False):
    layers = [nn.Linear(20, channels), nn.BatchNorm1d(channels), *[nn.ReLU(inplace=inplace)] * relu, nn.Dropout(p), nn.Linear(channels, 5)]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("rows, channels", DROPOUTS)
def test_dropout_behind_batch_norm_is_joined(rows, channels, relu, dtype):
    data = images(dtype, shape=(rows, 20))
    for p, threads in itertools.product((0.2, 0.9, 1.0), (1, 2)):
        def make(p=p):
            return dropout_network(rows, channels, relu, p, inplace=threads == 2).to(
                fastnn.float64 if dtype is np.float64 else fastnn.float32)
        eager, compiled = (train(make, data, c, threads=threads) for c in (False, True))
        assert_equal_runs(eager, compiled)
        text = compiled[2].explain()
        assert "batch norm + dropout" in text and "dropout_gradient" not in text, text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -0.0])
@pytest.mark.parametrize("relu", [True, False])
def test_special_values_pass_joined_dropout(value, relu):
    """What is dropped is 0 times what came, NaN of NaN and infinity; so is its gradient."""
    data = images(shape=(24, 20))
    for x, _ in data:
        x.numpy()[3, 3] = value
    eager, compiled = (train(lambda: dropout_network(24, 70, relu, 0.4), data, c) for c in (False, True))
    assert_equal_runs(eager, compiled)
    assert "batch norm + dropout" in compiled[2].explain()


def test_large_gradients_pass_joined_dropout():
    """Infinite gradients: NaN where they were dropped, nothing where the relu let nothing through."""
    class Steep(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = dropout_network(24, 70, True, 0.4)[:-1], nn.Linear(70, 5)

        def forward(self, x):
            y = self.body(x)
            return self.head(y) + (y[:, :5] * 1e30) * 1e30
    runs = [train(Steep, images(shape=(24, 20)), c) for c in (False, True)]
    assert_equal_runs(*runs)
    assert np.isnan(runs[0][1]["body.0.weight"]).any()


@pytest.mark.parametrize("rows", [40, 3000])
def test_batch_norm_gradient_takes_the_place_of_what_arrives(rows):
    def make():
        return nn.Sequential(nn.Linear(20, 33), nn.BatchNorm1d(33), nn.Linear(33, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Linear(30, 5))
    runs = [train(make, images(shape=(rows, 20)), c) for c in (False, True)]
    assert_equal_runs(*runs)
    calls = [line for line in runs[1][2].explain().splitlines() if "batch_norm_bwd" in line]
    places = [dict(word.split("=") for word in line.split() if word.startswith(("g=", "dx="))) for line in calls]
    assert len(places) == 2 and all(p["g"] == p["dx"] for p in places), calls


class DroppedTwice(nn.Module):
    """The relu's output or the dropout's input has another reader."""

    def __init__(self, relu):
        super().__init__()
        self.norm, self.relu, self.last = nn.BatchNorm1d(20), relu, nn.Linear(20, 5)

    def forward(self, x):
        y = self.norm(x)
        if self.relu:
            y = y.relu()
        return self.last(nn.functional.dropout(y, 0.3) + y)


@pytest.mark.parametrize("relu", [True, False])
def test_other_readers_keep_dropout_apart(relu):
    eager, compiled = (train(lambda: DroppedTwice(relu), images(shape=(24, 20)), c) for c in (False, True))
    assert_equal_runs(eager, compiled)
    assert "batch norm + dropout" not in compiled[2].explain()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_compiled_module_joins_dropout(threads):
    """Forward and backward are two parts of one plan; the mask lives from one to the other."""
    rng = np.random.default_rng(1)
    x = fastnn.from_numpy(rng.standard_normal((40, 20), np.float32))
    found = []
    before = fastnn.get_num_threads()
    fastnn.set_num_threads(threads)
    try:
        for compiled in (False, True):
            fastnn.manual_seed(7)
            model = dropout_network(40, 70, True, 0.3)
            run = fastnn.compile(model) if compiled else model
            for _ in range(5):
                model.zero_grad()
                y = run(x)
                (y * y).sum().backward()
                found.append([y.detach().numpy().copy(), *[p.grad.numpy().copy() for p in model.parameters()]])
    finally:
        fastnn.set_num_threads(before)
    for a, b in zip(found[:5], found[5:]):
        for u, v in zip(a, b):
            np.testing.assert_array_equal(u, v)
    assert "batch norm + dropout" in run.explain()


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.0])
@pytest.mark.parametrize("name", ["batch norm", "tiling windows", "windows that overlap"])
def test_special_values(name, value):
    """NaN goes through a relu both ways, and the gate on the maximum is the gate on the element."""
    layers = NETWORKS[name][0]
    data = images()
    for x, _ in data:
        x.numpy()[0, 0, 3, 3] = value

    def make():
        model = network(*layers())
        model(fastnn.zeros(*IMAGES))
        return model
    eager, compiled = (train(make, data, c) for c in (False, True))
    assert_equal_runs(eager, compiled)


def test_evaluation_joins_batch_norm_and_relu():
    model = nn.Sequential(nn.Conv2d(2, 20, 3), nn.AvgPool2d(2), nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 3, 1)).eval()
    x = images()[0][0]
    x.numpy()[0, 0, 3, 3] = np.nan
    step = fastnn.compile(model)
    with fastnn.no_grad():
        expected = model(x).numpy()
        for _ in range(4):
            np.testing.assert_array_equal(step(x).numpy(), expected)
    assert "batch norm + relu" in step.explain()


class ReadTwice(nn.Module):
    """relu's input, output or the pooled map has another reader, or the pooled map changes in place."""

    def __init__(self, how):
        super().__init__()
        self.how, self.conv, self.norm, self.last = how, nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 5)

    def forward(self, x):
        c = self.norm(self.conv(x))
        y = c.relu()
        p = nn.functional.max_pool2d(y, 2)
        if self.how == "relu's input":
            return self.last(p.mean((2, 3)) + c.mean((2, 3)))
        if self.how == "relu's output":
            return self.last(p.mean((2, 3)) + y.mean((2, 3)))
        p += 1.0
        return self.last(p.mean((2, 3)))


@pytest.mark.parametrize("how, not_joined", [("relu's input", "batch norm + relu"), ("relu's output", "max pool gradient"),
                                             ("pooled in place", "max pool gradient")])
def test_other_readers_prevent_it(how, not_joined):
    eager, compiled = (train(lambda: ReadTwice(how), images(), c) for c in (False, True))
    assert_equal_runs(eager, compiled)
    assert not_joined not in compiled[2].explain().splitlines()[0]


def test_relu_in_place_equals_relu():
    x = fastnn.from_numpy(np.random.default_rng(0).standard_normal((3, 4, 5, 6)).astype("f"))
    results = []
    for inplace in (False, True):
        a = x.clone().requires_grad_()
        y = nn.functional.relu(a * 2, inplace=inplace)
        (y * y).sum().backward()
        results.append((y.detach().numpy(), a.grad.numpy()))
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)
    h = x.clone().requires_grad_() * 1
    y = h.relu_()
    y += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):     # relu's gradient needs its output
        y.sum().backward()
