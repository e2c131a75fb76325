"""Restricted Boltzmann machines: an update of CD-1, an epoch with scikit-learn's defaults, Bernoulli samples.

The rows are random bits, one in eight set, as dense as binarised MNIST.  Samples differ between the libraries; what is
compared is the hidden units' means before the first update.
"""
import numpy as np

from bench.case import Case, draw, library

RATE, MOMENTUM = 0.05, 0.5
ROWS = 1000         # of an epoch; its time is proportional to them


def bits(rows, columns):
    return (np.random.default_rng(0).random((rows, columns)) < 0.125).astype(np.float32)


def hidden_means(v, weight):
    return 1 / (1 + np.exp(-(v @ weight.T)))


def fastnn_step(lib, weight):
    from fastnn.boltzmann.training import compiled_step
    rbm = lib.nn.RBM(*weight.shape[::-1])
    with lib.no_grad():
        rbm.weight.copy_(lib.from_numpy(weight))
    return rbm, compiled_step(rbm, lib.optim.SGD(rbm.parameters(), lr=RATE, momentum=MOMENTUM))


def torch_step(torch, weight):
    """By hand, in place where torch can: the form that a careful user writes."""
    w = torch.from_numpy(weight.copy())
    b, c = torch.zeros(w.shape[1]), torch.zeros(w.shape[0])
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


def sklearn_machine(hidden, batch, weight=None):
    from sklearn.neural_network import BernoulliRBM
    machine = BernoulliRBM(hidden, learning_rate=RATE, batch_size=batch, n_iter=1, random_state=0)
    if weight is not None:
        machine.partial_fit(bits(batch, weight.shape[1]))       # makes the attributes
        machine.components_[...] = weight
        machine.intercept_hidden_[...] = machine.intercept_visible_[...] = 0
    return machine


def update(side, threads):
    v, weight = bits(100, 784), 0.01 * draw(500, 784)
    if side == "sklearn":
        machine = sklearn_machine(500, 100, weight)
        means = machine.transform(v)
        return lambda: machine.partial_fit(v), lambda: means
    lib = library(side, threads, recording=side == "compiled")
    x = lib.from_numpy(v)
    if side == "torch":
        w, step = torch_step(lib, weight)
        means = hidden_means(v, w.numpy())
    else:
        rbm, step = fastnn_step(lib, weight)
        means = rbm(x).detach().numpy()
    return lambda: step(x), lambda: means


def epoch(side, threads):
    v = bits(ROWS, 784)
    if side == "sklearn":
        machine = sklearn_machine(256, 10)
        return lambda: machine.fit(v), None
    lib = library(side, threads, recording=side == "compiled")
    weight = 0.01 * draw(256, 784)
    if side == "torch":
        _, step = torch_step(lib, weight)
        x = lib.from_numpy(v)

        def call():
            for batch in x[lib.randperm(ROWS)].split(10):
                step(batch)
        return call, None
    step = fastnn_step(lib, weight)[1]
    return lambda: step.run_epoch(v, batch_size=10, shuffle=True), None


def samples(side, threads):
    """The rate of ones is compared: the samples come from different generators."""
    lib = library(side, threads)
    p = lib.rand(1_000_000)
    return lambda: lib.bernoulli(p), lambda: lib.bernoulli(p).mean()


def cases():
    yield Case("rbm", "CD-1 784x500 b100", ("compiled", "torch", "sklearn"), update, flops=5 * 2.0 * 100 * 784 * 500, quick=True)
    yield Case("rbm", f"epoch of {ROWS} rows, 784x256 b10", ("compiled", "torch", "sklearn"), epoch, flops=5 * 2.0 * ROWS * 784 * 256)
    yield Case("rbm", "Bernoulli 1e6", ("fastnn", "torch"), samples, nbytes=8e6, tolerance=1e-2, threads=(1, 2), quick=True)
