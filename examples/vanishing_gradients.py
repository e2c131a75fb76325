"""Why an LSTM: how much of the last step's gradient reaches the steps before, RNN against LSTM.

    python examples/vanishing_gradients.py [--steps N] [--plot FILE]

Both read the same random sequence of 100 steps, untrained, weights drawn as usual; the LSTM's forget gates are biased open, as
is common (Gers, Schmidhuber and Cummins, 2000).  Printed: the norm of d(sum of the last state)/d(input at step t), relative to
the last step.  Expected at the first step: RNN about 6e-22, LSTM about 3.5 (it neither vanishes nor explodes).
"""
import argparse

import numpy as np

import fastnn
from fastnn import nn

INPUTS, HIDDEN, BATCH = 8, 64, 16


def open_forget_gates(lstm, bias=3.0):
    """The second quarter of the bias belongs to the forget gates."""
    with fastnn.no_grad():
        lstm.bias_hh_l0[HIDDEN:2 * HIDDEN] = bias


def gradient_norms(layer, steps):
    """Norm of the gradient with respect to each step's input, 1 at the last step."""
    fastnn.manual_seed(1)
    x = fastnn.randn(steps, BATCH, INPUTS).requires_grad_()
    layer(x)[0][-1].sum().backward()
    norms = np.sqrt((x.grad.numpy().astype(np.float64) ** 2).sum((1, 2)))
    return norms / norms[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--plot", help="file for a plot (needs matplotlib)")
    options = parser.parse_args()
    fastnn.manual_seed(0)
    layers = {"RNN": nn.RNN(INPUTS, HIDDEN), "LSTM": nn.LSTM(INPUTS, HIDDEN)}
    open_forget_gates(layers["LSTM"])
    norms = {name: gradient_norms(layer, options.steps) for name, layer in layers.items()}
    print("steps back  " + "".join(f"{name:>10}" for name in norms))
    for back in range(0, options.steps, max(1, options.steps // 10)):
        print(f"{back:10}  " + "".join(f"{n[-1 - back]:10.1e}" for n in norms.values()))
    print("first step  " + "".join(f"{n[0]:10.1e}" for n in norms.values()))
    if options.plot:
        import matplotlib.pyplot as plt
        for name, n in norms.items():
            plt.semilogy(n, label=name)
        plt.xlabel("time step of the input")
        plt.ylabel("gradient norm, relative to the last step")
        plt.legend()
        plt.savefig(options.plot)


if __name__ == "__main__":
    main()
