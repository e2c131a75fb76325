"""Recurrent layers over whole sequences and one step at a time, beside torch eager.

    python bench/recurrent.py [--threads 2] [--rounds 7] [--only lstm_128,...] [--cpu]

A round times each side once; the ratio quoted is the median of the rounds' ratios.  "of the FMA bound" is the share of what
the machine's multiply-adds alone allow (--peak GFLOP/s per thread).  --cpu counts processor time instead of wall time: the
figures of one thread on a machine that others use too.
"""
import argparse
import statistics
import time

import numpy as np
import torch

import fastnn

# kind, steps, batch, inputs, hidden, layers
CASES = {
    "rnn": ("RNN", 64, 32, 32, 64, 1),
    "gru": ("GRU", 64, 64, 64, 256, 2),
    "lstm_128": ("LSTM", 128, 32, 64, 128, 1),
    "lstm_512": ("LSTM", 50, 64, 128, 512, 1),
    "lstm_one": ("LSTM", 128, 1, 64, 128, 1),
    "lstm_step": ("LSTM", 1, 1, 64, 128, 1),
}
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def runs(library, kind, steps, batch, inputs, hidden, layers):
    """Functions of no argument: forward with a state carried on, and forward with backward."""
    library.manual_seed(0)
    layer = getattr(library.nn, kind)(inputs, hidden, layers)
    x = library.from_numpy(np.random.default_rng(0).standard_normal((steps, batch, inputs)).astype(np.float32))
    ones = library.ones(steps, batch, hidden)
    with library.no_grad():
        state = layer(x)[1]

    def forward():
        with library.no_grad():
            layer(x, state)

    def train():
        for p in layer.parameters():
            p.grad = None
        layer(x)[0].backward(ones)

    return {"forward": forward, "training": train}


def seconds(run, clock, budget=0.1):
    """Seconds per call, over about `budget` seconds of calls."""
    start = clock()
    run()
    count = max(3, int(budget / max(clock() - start, 1e-6)))
    start = clock()
    for _ in range(count):
        run()
    return (clock() - start) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--peak", type=float, default=115.0)
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    if options.cpu and options.threads != 1:
        parser.error("--cpu goes with --threads 1")
    clock = time.process_time if options.cpu else time.perf_counter
    torch.set_num_threads(options.threads)
    fastnn.set_num_threads(options.threads)
    for name in options.only.split(","):
        kind, steps, batch, inputs, hidden, layers = CASES[name]
        sides = [runs(library, *CASES[name]) for library in (fastnn, torch)]
        flops = sum(2 * steps * batch * GATES[kind] * hidden * ((hidden if layer else inputs) + hidden) for layer in range(layers))
        for what, factor in (("forward", 1), ("training", 3)):
            times = []
            for _ in range(options.rounds):
                times.append([])
                for side in sides:
                    times[-1].append(seconds(side[what], clock))
                    time.sleep(0.02)            # until the other side's workers stop spinning
            ours = statistics.median(t[0] for t in times)
            bound = factor * flops / (options.peak * 1e9 * options.threads)
            print(f"{name:10} {what:9} {ours * 1e3:9.4f} ms  {statistics.median(b / a for a, b in times):6.2f} x torch  "
                  f"{100 * bound / ours:4.0f} % of the FMA bound", flush=True)


if __name__ == "__main__":
    main()
