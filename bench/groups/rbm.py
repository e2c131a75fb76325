"""Restricted Boltzmann machines: an update of CD-1, an epoch with scikit-learn's defaults, Bernoulli samples.

Data are MNIST's digits, a pixel 1 above half grey (13 % are), where they lie beside the checkout, else rows drawn from such
shares of ones; and, for a case where no state is sparse, bits of which half are set.  All sides take the same rows in turn, start at the
same small weights and at visible biases of the log-odds of the data, and go on learning while they are timed (scikit-learn's `fit`
starts anew every time; its time does not depend on the states).  Samples differ between the libraries; what is compared is the
hidden units' means before the first update.

scikit-learn's machine has neither momentum nor a gradient to look at, and persistent chains; beside it ("plain") fastnn has neither
either, and in an epoch its chains persist.  The machine by hand in torch has momentum, and fastnn beside it too.
"""
from pathlib import Path

import numpy as np

from bench.case import Case, draw, library

RATE, MOMENTUM = 0.05, 0.5
ROWS = 1000         # of an epoch, and of the batches that updates take in turn; an epoch's time is proportional to them
DIGITS = Path(__file__).parents[2] / ".." / "shared" / "data" / "mnist" / "train-images-idx3-ubyte.gz"


def digits():
    """ROWS rows of 784 pixels, 0 or 1."""
    from fastnn.datasets import read_idx
    if DIGITS.exists():
        return (np.asarray(read_idx(DIGITS)[:ROWS]).reshape(ROWS, 784) > 127).astype(np.float32)
    y, x = (np.mgrid[:28, :28] - 13.5) / 6
    share = 0.45 * np.exp(-0.5 * (x * x + y * y) ** 2).ravel()
    return (np.random.default_rng(0).random((ROWS, 784)) < share).astype(np.float32)


def half_ones():
    return (np.random.default_rng(0).random((ROWS, 784)) < 0.5).astype(np.float32)


def log_odds(v):
    """Visible biases at which a machine without weights draws as many ones."""
    share = (v.sum(0) + 1) / (len(v) + 2)
    return np.log(share / (1 - share)).astype(np.float32)


def hidden_means(v, weight):
    return 1 / (1 + np.exp(-(v @ weight.T)))


def fastnn_step(lib, weight, vbias, plain=False, method="cd"):
    from fastnn.boltzmann.training import compiled_step
    rbm = lib.nn.RBM(*weight.shape[::-1])
    with lib.no_grad():
        rbm.weight.copy_(lib.from_numpy(weight))
        rbm.vbias.copy_(lib.from_numpy(vbias))
    optimizer = lib.optim.SGD(rbm.parameters(), lr=RATE, momentum=0 if plain else MOMENTUM)
    return rbm, compiled_step(rbm, optimizer, method=method, gradients=not plain)


def torch_step(torch, weight, vbias):
    """By hand, in place where torch can: the form that a careful user writes."""
    w = torch.from_numpy(weight.copy())
    b, c = torch.from_numpy(vbias.copy()), torch.zeros(w.shape[0])
    speeds = [torch.zeros_like(p) for p in (w, b, c)]

    def step(v):
        h = torch.addmm(c, v, w.t()).sigmoid_()
        sample = torch.bernoulli(h)
        back = torch.addmm(b, sample, w).sigmoid_().bernoulli_()
        again = torch.addmm(c, back, w.t()).sigmoid_()
        rate = RATE / len(v)
        for p, s, g in ((w, speeds[0], torch.mm(h.t(), v).addmm_(again.t(), back, alpha=-1)),
                        (b, speeds[1], (v - back).sum(0)), (c, speeds[2], (h - again).sum(0))):
            p.add_(s.mul_(MOMENTUM).add_(g, alpha=rate))
    return w, step


def sklearn_machine(hidden, batch, weight=None, v=None):
    from sklearn.neural_network import BernoulliRBM
    machine = BernoulliRBM(hidden, learning_rate=RATE, batch_size=batch, n_iter=1, random_state=0)
    if weight is not None:
        machine.partial_fit(v[:batch])          # makes the attributes
        machine.components_[...] = weight
        machine.intercept_hidden_[...] = 0
        machine.intercept_visible_[...] = log_odds(v)
    return machine


def in_turn(step, batches):
    """A call that takes the next batch every time."""
    def call():
        batches.append(batches.pop(0))
        step(batches[0])
    return call


def update_on(data, plain=False):
    def update(side, threads):
        v, weight = data(), 0.01 * draw(500, 784)
        batches = [v[first:first + 100] for first in range(0, ROWS, 100)]
        if side == "sklearn":
            machine = sklearn_machine(500, 100, weight, v)
            means = machine.transform(batches[0])
            return in_turn(machine.partial_fit, batches), lambda: means
        lib = library(side, threads, recording=side == "compiled")
        batches = [lib.from_numpy(batch) for batch in batches]
        if side == "torch":
            w, step = torch_step(lib, weight, log_odds(v))
            means = hidden_means(v[:100], w.numpy())
        else:
            rbm, step = fastnn_step(lib, weight, log_odds(v), plain)
            means = rbm(batches[0]).detach().numpy()
        return in_turn(step, batches), lambda: means
    return update


def epoch(side, threads, plain=False):
    v = digits()
    if side == "sklearn":
        machine = sklearn_machine(256, 10)
        return lambda: machine.fit(v), None
    lib = library(side, threads, recording=side == "compiled")
    weight = 0.01 * draw(256, 784)
    if side == "torch":
        _, step = torch_step(lib, weight, log_odds(v))
        x = lib.from_numpy(v)

        def call():
            for batch in x[lib.randperm(ROWS)].split(10):
                step(batch)
        return call, None
    step = fastnn_step(lib, weight, log_odds(v), plain, "pcd" if plain else "cd")[1]
    return lambda: step.run_epoch(v, batch_size=10, shuffle=not plain), None


def plain_epoch(side, threads):
    """In the order of the rows, as scikit-learn takes them."""
    return epoch(side, threads, plain=True)


def samples(side, threads):
    """The rate of ones is compared: the samples come from different generators."""
    lib = library(side, threads)
    p = lib.rand(1_000_000)
    return lambda: lib.bernoulli(p), lambda: lib.bernoulli(p).mean()


def cases():
    by_hand, machine = ("compiled", "torch"), ("compiled", "sklearn")
    work, of_epoch = 5 * 2.0 * 100 * 784 * 500, 5 * 2.0 * ROWS * 784 * 256          # of dense products
    yield Case("rbm", "CD-1 784x500 b100, digits", by_hand, update_on(digits), flops=work, quick=True)
    yield Case("rbm", "CD-1 784x500 b100, half ones", by_hand, update_on(half_ones), flops=work)
    yield Case("rbm", f"epoch of {ROWS} digits, 784x256 b10", by_hand, epoch, flops=of_epoch)
    yield Case("rbm", "CD-1 784x500 b100, plain, digits", machine, update_on(digits, plain=True), flops=work, quick=True)
    yield Case("rbm", "CD-1 784x500 b100, plain, half ones", machine, update_on(half_ones, plain=True), flops=work)
    yield Case("rbm", f"plain epoch of {ROWS} digits, 784x256 b10", machine, plain_epoch, flops=of_epoch)
    yield Case("rbm", "Bernoulli 1e6", ("fastnn", "torch"), samples, nbytes=8e6, tolerance=1e-2, threads=(1, 2), quick=True)
