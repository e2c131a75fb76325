"""The networks that are timed, and their training steps with fastnn (eager and compiled) and torch.

Every network is written once, for any library with torch's names: function(nn, optim) -> (model, loss, optimizer factory,
shape of a sample, classes or None, batch).
"""
import sys

import numpy as np

from bench.case import draw, library

CASES = {}


def case(function):
    """Register a network under its name."""
    CASES[function.__name__] = function
    return function


@case
def mlp_tiny(nn, optim):
    """16-32-32-4, batch 32, Adam."""
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    return model, nn.CrossEntropyLoss(), lambda p: optim.Adam(p, lr=1e-3), (16,), 4, 32


@case
def mlp_small(nn, optim):
    """64-128-10, batch 32, SGD with Nesterov momentum."""
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    return model, nn.CrossEntropyLoss(), lambda p: optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True), (64,), 10, 32


@case
def mlp_middle(nn, optim):
    """784-256-128-10 with BatchNorm and Dropout, batch 128, Adam."""
    model = nn.Sequential(nn.Linear(784, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.2),
                          nn.Linear(256, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
    return model, nn.CrossEntropyLoss(), lambda p: optim.Adam(p, lr=1e-3), (784,), 10, 128


@case
def mlp_512(nn, optim):
    """784-512-256-10 with BatchNorm and Dropout, batch 128, Adam."""
    model = nn.Sequential(nn.Linear(784, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Dropout(0.2),
                          nn.Linear(512, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 10))
    return model, nn.CrossEntropyLoss(), lambda p: optim.Adam(p, lr=1e-3), (784,), 10, 128


@case
def autoencoder(nn, optim):
    """784-500-64-500-784, sigmoid, batch 100, Adagrad, mean squared error."""
    model = nn.Sequential(nn.Linear(784, 500), nn.Sigmoid(), nn.Linear(500, 64), nn.Sigmoid(), nn.Linear(64, 500), nn.Sigmoid(),
                          nn.Linear(500, 784))
    return model, nn.MSELoss(), lambda p: optim.Adagrad(p, lr=0.01), (784,), None, 100


@case
def mlp_large(nn, optim):
    """1024-2048-2048-1000, batch 256, Adam."""
    model = nn.Sequential(nn.Linear(1024, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 1000))
    return model, nn.CrossEntropyLoss(), lambda p: optim.Adam(p, lr=1e-3), (1024,), 1000, 256


@case
def mlp_256(nn, optim):
    """784-256-10, batch 128, SGD."""
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    return model, nn.CrossEntropyLoss(), lambda p: optim.SGD(p, lr=0.01), (784,), 10, 128


@case
def oscillator(nn, optim):
    """What u'' + 9 u = x leaves of a network u, 1-32-32-1 with tanh: gradients of gradients, 64 points, Adam."""
    grad = sys.modules[nn.__name__.rpartition(".")[0]].autograd.grad

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.u = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

        def forward(self, x):
            x = x.detach().requires_grad_()
            u = self.u(x)
            du, = grad(u.sum(), x, create_graph=True)
            ddu, = grad(du.sum(), x, create_graph=True)
            return ddu + 9 * u
    return Residual(), nn.MSELoss(), lambda p: optim.Adam(p, lr=1e-3), (1,), None, 64


@case
def lenet5(nn, optim):
    """LeNet-5 with ReLU and max pooling, 1x28x28, batch 64, Adam."""
    model = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))
    return model, nn.CrossEntropyLoss(), lambda p: optim.Adam(p, lr=1e-3), (1, 28, 28), 10, 64


@case
def vgg_small(nn, optim):
    """Two pairs of 3x3 convolutions (32, 64 channels) with batch norm, 3x32x32, batch 64, SGD with momentum."""
    layers, channels = [], 3
    for width in (32, 64):
        for _ in range(2):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 8 * 8, 128), nn.ReLU(), nn.Linear(128, 10))
    return model, nn.CrossEntropyLoss(), lambda p: optim.SGD(p, lr=0.01, momentum=0.9), (3, 32, 32), 10, 64


@case
def resnet20(nn, optim):
    """ResNet-20 (He et al., 2015), 3x32x32, batch 32, SGD with momentum."""
    class Residual(nn.Module):
        def __init__(self, before, after, stride):
            super().__init__()
            self.main = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
                                      nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
            self.short = nn.Identity() if before == after else nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False),
                                                                             nn.BatchNorm2d(after))
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(self.main(x) + self.short(x))

    widths = [16, *[w for w in (16, 32, 64) for _ in range(3)]]
    blocks = [Residual(a, b, 1 if a == b else 2) for a, b in zip(widths, widths[1:])]
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *blocks,
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return model, nn.CrossEntropyLoss(), lambda p: optim.SGD(p, lr=0.01, momentum=0.9), (3, 32, 32), 10, 32


def batch_of(shape, classes, batch):
    """Inputs and targets of a network as arrays."""
    x = draw(batch, *shape)
    return x, (x if classes is None else np.random.default_rng(0).integers(0, classes, batch))


def prepare(side, name, threads):
    """A function that makes one training step and returns the loss; `side` is fastnn, compiled, torch or torch.compile."""
    lib = library(side, threads, recording=True)
    model, loss_fn, make, shape, classes, batch = CASES[name](lib.nn, lib.optim)
    model.train()
    optimizer = make(model.parameters())
    x, y = map(lib.from_numpy, batch_of(shape, classes, batch))
    if side == "compiled":
        step = lib.compile(model, loss_fn, optimizer)
        return lambda: step(x, y)
    forward = lib.compile(model) if side == "torch.compile" else model

    def train():
        optimizer.zero_grad()
        loss = loss_fn(forward(x), y)
        loss.backward()
        optimizer.step()
        return loss
    return train
