"""Runs by the eager loop and by the compiled step, for the tests of both; their losses and final states must be the same bits."""
import numpy as np

import fastnn
from fastnn import nn, optim

OPTIMIZERS = {
    "SGD": dict(lr=0.05), "SGD nesterov": dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3), "Adagrad": dict(lr=0.05),
    "Adadelta": dict(), "RMSprop": dict(lr=1e-3, momentum=0.5, centered=True), "Adam": dict(lr=1e-2),
    "AdamW": dict(lr=1e-2, amsgrad=True), "Adamax": dict(), "NAdam": dict(), "RAdam": dict(lr=1e-2), "ASGD": dict(lr=0.05),
    "Rprop": dict(),
}


def classifier(activation=nn.ReLU):
    return nn.Sequential(nn.Linear(20, 33), nn.BatchNorm1d(33), activation(), nn.Dropout(0.3), nn.Linear(33, 17), activation(),
                         nn.LayerNorm(17), nn.Linear(17, 5))


class Residual(nn.Module):
    """A branch, a shared weight and Python control flow that does not depend on values."""

    def __init__(self):
        super().__init__()
        self.first, self.shared, self.last = nn.Linear(20, 16), nn.Linear(16, 16), nn.Linear(16, 5)
        self.scale = nn.Parameter(fastnn.ones(16))

    def forward(self, x):
        h = self.first(x).tanh()
        for _ in range(3):
            h = h + self.shared(h).sigmoid() * self.scale - 0.5 * h / 3.0
        return self.last(h)


def optimizer_for(model, name="Adam"):
    return getattr(optim, name.split()[0])(model.parameters(), **OPTIMIZERS[name])


def batches(n, rows=24, features=20, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    return [(fastnn.from_numpy(rng.standard_normal((rows, features), np.float32)), fastnn.from_numpy(rng.integers(0, classes, rows)))
            for _ in range(n)]


def train(make, data, compiled, optimizer="Adam", loss=None, threads=2, **options):
    """Losses of a run and the final state, by the eager loop or the compiled step."""
    before = fastnn.get_num_threads()
    fastnn.set_num_threads(threads)
    try:
        fastnn.manual_seed(3)
        model = make()
        opt, loss_fn = optimizer_for(model, optimizer), loss or nn.CrossEntropyLoss()
        step = fastnn.compile(model, loss_fn, opt, fullgraph=True, **options)
        losses = []
        for x, y in data:
            losses.append(step(x, y).item() if compiled else step._run([x, y])[0].item())
        return losses, {k: v.numpy().copy() for k, v in model.state_dict().items()}, step
    finally:
        fastnn.set_num_threads(before)


def assert_equal_runs(a, b):
    assert a[0] == b[0]
    for name in a[1]:
        np.testing.assert_array_equal(a[1][name], b[1][name], err_msg=name)
