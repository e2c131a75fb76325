"""Convolution beside PyTorch: forward, input gradient and weight gradient, in interleaved rounds with equal threads.

    OMP_NUM_THREADS=2 python bench/conv.py [--only REGEX] [--rounds N] [--direct]
"""
import argparse
import os
import re
import statistics
import time

import numpy as np
import torch

import fastnn
from fastnn import backends
from fastnn.core.tensor import from_array
from fastnn.kernels import native
from fastnn.ops.convolution import conv2d

# name: batch, channels in, size, channels out, kernel, stride, padding, groups
CASES = {
    **{f"3x3 {c} channels {h}x{h}, batch {n}": (n, c, h, c, 3, 1, 1, 1)
       for n in (8, 1) for c, h in ((64, 56), (128, 28), (256, 14), (512, 7))},
    **{f"1x1 {i} to {o} {h}x{h}, batch 8": (8, i, h, o, 1, 1, 0, 1) for i, o, h in ((64, 256, 56), (512, 128, 28), (2048, 512, 7))},
    "first 1 to 32 28x28 5x5, batch 64": (64, 1, 28, 32, 5, 1, 0, 1),
    "first 3 to 64 224x224 7x7 stride 2, batch 8": (8, 3, 224, 64, 7, 2, 3, 1),
    **{f"depthwise 3x3 {c} {h}x{h} stride {s}, batch 8": (8, c, h, c, 3, s, 1, c) for c, h in ((32, 112), (256, 14)) for s in (1, 2)},
    **{f"resnet-20 3x3 {c} {h}x{h}, batch 32": (32, c, h, c, 3, 1, 1, 1) for c, h in ((16, 32), (32, 16), (64, 8))},
}


def channels_last(a):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


def passes(case):
    """Pairs of calls (ours, theirs) for the three passes, and the arithmetic of one."""
    n, i, h, o, k, stride, padding, groups = case
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((n, i, h, h), "f"), rng.standard_normal((o, i // groups, k, k), "f")
    tx, tw = torch.from_numpy(x), torch.from_numpy(w)
    with torch.no_grad():
        g = torch.randn_like(torch.nn.functional.conv2d(tx, tw, None, stride, padding, 1, groups))
    order = np.ascontiguousarray(w.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)
    fg = from_array(channels_last(g.numpy()))
    fx, fw = (from_array(channels_last(x) if i > 3 else x), from_array(order))

    def ours(of_input, of_weight):
        a, b = fx.detach(), fw.detach()
        a.requires_grad, b.requires_grad = of_input, of_weight
        return conv2d(a, b, None, stride, padding, 1, groups)

    def theirs(mask):
        return lambda: torch.ops.aten.convolution_backward(g, tx, tw, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups,
                                                           [*mask, False])

    def back(*wanted):
        y = ours(*wanted)
        return lambda: y.backward(fg, retain_graph=True)

    flop = 2 * g.numel() * (i // groups) * k * k
    return {
        "forward": (lambda: ours(False, False), lambda: torch.nn.functional.conv2d(tx, tw, None, stride, padding, 1, groups)),
        "input gradient": (back(True, False), theirs((True, False))),
        "weight gradient": (back(False, True), theirs((False, True))),
    }, flop


def seconds(call, times):
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--direct", action="store_true", help="without Winograd's algorithm")
    options = parser.parse_args()
    threads = int(os.environ.get("OMP_NUM_THREADS", native.get_num_threads()))
    torch.set_num_threads(threads)
    native.set_num_threads(threads)
    backends.winograd = not options.direct
    print(f"fastnn {fastnn.__version__} ({native.instruction_set()}), torch {torch.__version__}, {threads} threads")
    with torch.no_grad():
        for name, case in CASES.items():
            if not re.search(options.only, name):
                continue
            calls, flop = passes(case)
            for what, (ours, theirs) in calls.items():
                times = max(1, int(0.02 / max(seconds(ours, 1), 1e-6)))
                rounds = [(seconds(ours, times), seconds(theirs, times)) for _ in range(options.rounds)]
                best = min(a for a, _ in rounds)
                print(f"{name:46} {what:16} {statistics.median(b / a for a, b in rounds):5.2f}x torch, {best * 1e3:8.3f} ms, "
                      f"{flop / best / 1e9:6.1f} GFLOP/s", flush=True)


if __name__ == "__main__":
    main()
