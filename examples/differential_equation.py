"""A differential equation solved by a network: gradients of gradients, in one compiled step.

    python examples/differential_equation.py [--steps N] [--plot FILE]

The damped oscillator u'' + 2 d u' + w^2 u = 0 with u(0) = 1, u'(0) = 0, of which no solution is shown to the network: its loss is
what is left of the equation at points of [0, 1], plus the initial conditions (Raissi, Perdikaris and Karniadakis, 2019).  u' and
u'' are gradients with create_graph=True; the step differentiates them once more, by the weights.

Expected: 4000 steps in about half a second, the largest error against the exact solution below 0.01.
"""
import argparse
import math
import time

import numpy as np

import fastnn
from fastnn import nn

DAMPING, FREQUENCY = 2.0, 10.0
POINTS = 64


class Oscillator(nn.Module):
    """What the equation and the initial conditions leave of a network u(t)."""

    def __init__(self, width=32):
        super().__init__()
        self.u = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(),
                               nn.Linear(width, 1))

    def forward(self, t):
        t = t.detach().requires_grad_()
        u = self.u(t)
        du, = fastnn.autograd.grad(u.sum(), t, create_graph=True)
        ddu, = fastnn.autograd.grad(du.sum(), t, create_graph=True)
        equation = (ddu + 2 * DAMPING * du) / FREQUENCY ** 2 + u
        return equation, u[0] - 1, du[0] / FREQUENCY


def loss(found, _):
    equation, start, slope = found
    return (equation ** 2).mean() + (start ** 2).sum() + (slope ** 2).sum()


def exact(t):
    omega = math.sqrt(FREQUENCY ** 2 - DAMPING ** 2)
    return np.exp(-DAMPING * t) * (np.cos(omega * t) + DAMPING / omega * np.sin(omega * t))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--plot", help="file for a plot (needs matplotlib)")
    options = parser.parse_args()
    fastnn.manual_seed(0)
    model = Oscillator()
    optimizer = fastnn.optim.Adam(model.parameters(), lr=3e-3)
    schedule = fastnn.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
    step = fastnn.compile(model, loss, optimizer)
    t = fastnn.linspace(0, 1, POINTS).reshape(-1, 1)
    began = time.perf_counter()
    for number in range(1, options.steps + 1):
        left = step(t, t)
        schedule.step()
        if number % (options.steps // 8) == 0:
            print(f"step {number:5}  loss {left.item():.2e}  largest error {error(model)[1]:.4f}")
    seconds = time.perf_counter() - began
    print(f"{options.steps} steps in {seconds:.1f} s, {1e6 * seconds / options.steps:.0f} us each")
    if options.plot:
        import matplotlib.pyplot as plt
        times, found = np.linspace(0, 1, 201), error(model)[0]
        plt.plot(times, exact(times), label="exact")
        plt.plot(times, found, "--", label="network")
        plt.legend()
        plt.savefig(options.plot)


def error(model):
    """The network's solution at 201 points, and its largest error."""
    times = np.linspace(0, 1, 201)
    with fastnn.no_grad():
        found = model.u(fastnn.tensor(times.reshape(-1, 1), dtype=fastnn.float32)).numpy().ravel()
    return found, np.abs(found - exact(times)).max()


if __name__ == "__main__":
    main()
