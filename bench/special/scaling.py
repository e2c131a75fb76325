"""The same call on 1, 2, ... threads, up to the cores there are."""
import os
import statistics

from bench.special import record

CASES = ("gemm 1024^3", "pointwise gelu", "conv 3x3 128ch 28x28 batch 8 forward", "recurrent LSTM T50 b64 128->512 training",
         "rbm CD-1 784x500 b100, digits", "train mlp_middle", "train mlp_large", "train vgg_small")
QUICK = CASES[:2]


def counts():
    """1, 2, 4 ... and all cores that this process may use."""
    most = len(os.sched_getaffinity(0))
    return sorted({most, *(2 ** k for k in range(most.bit_length()) if 2 ** k <= most)})


def measure(context):
    for case in QUICK if context.quick else CASES:
        side = "compiled" if case.startswith(("train", "rbm")) else "fastnn"
        times = {n: context.processes(n).ask(side, "build", case) for n in counts()}
        faults = {f"{n} threads": t for n, t in times.items() if isinstance(t, str)}
        rounds = [[context.processes(n).time(side, context.budget) for n in times] for _ in range(context.rounds)] if not faults else []
        medians = {f"{n} threads": 1e6 * statistics.median(column) for n, column in zip(times, zip(*rounds))}
        yield record("scaling", case, "-", "us", faults or medians)
