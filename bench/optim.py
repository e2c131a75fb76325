"""Optimizer steps: time per element against torch, fraction of copy bandwidth, overhead on small tensors.

    python bench/optim.py [--threads 1] [--elements 1000000] [--seconds 0.5]

Each row interleaves the contestants in one run and reports the best of many repeats.  "bandwidth" is bytes moved (each
array read once, each written once) over what a large copy moves on the same number of threads.
"""
import argparse
import time

import numpy as np

CASES = [("SGD", {"momentum": 0.9}, 5), ("Adam", {}, 7), ("RMSprop", {}, 5), ("Adagrad", {}, 5)]    # float32 words moved


def best(contestants, seconds, calls=1):
    """Shortest time of `calls` calls of each function, the functions in turn until `seconds` are over, per call."""
    shortest = dict.fromkeys(contestants, float("inf"))
    for function in contestants.values():
        function()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, function in contestants.items():
            start = time.perf_counter()
            for _ in range(calls):
                function()
            shortest[name] = min(shortest[name], (time.perf_counter() - start) / calls)
    return shortest


def mine(name, options, shapes):
    """A step on tensors in memory of the library's own, as torch's are in torch's."""
    from fastnn import optim
    from fastnn.core.tensor import Parameter, from_array
    from fastnn.ops.update import state_like
    rng = np.random.default_rng(0)

    def random(shape):
        values = rng.standard_normal(shape).astype(np.float32)
        return state_like(from_array(values), values)
    params = [Parameter(random(s)) for s in shapes]
    for p in params:
        p.grad = random(p.shape)
    return getattr(optim, name)(params, **options).step


def torchs(torch, name, options, shapes, **flags):
    params = [torch.nn.Parameter(torch.randn(s)) for s in shapes]
    for p in params:
        p.grad = torch.randn(p.shape)
    try:
        return getattr(torch.optim, name)(params, **options, **flags).step
    except TypeError:       # no fused form
        return None


def contestants(torch, name, options, shapes):
    found = {"fastnn": mine(name, options, shapes)}
    if torch:
        found |= {"loop": torchs(torch, name, options, shapes), "foreach": torchs(torch, name, options, shapes, foreach=True),
                  "fused": torchs(torch, name, options, shapes, fused=True)}
    return {k: f for k, f in found.items() if f}


def ratios(times):
    return "  ".join(f"{k} {t / times['fastnn']:5.2f}x" for k, t in times.items() if k != "fastnn")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--elements", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=0.5)
    args = parser.parse_args()
    from fastnn.kernels import native
    native.set_num_threads(args.threads)
    try:
        import torch
        torch.set_num_threads(args.threads)
        torch.manual_seed(0)
    except ImportError:
        torch = None
    # The copy must be larger than the caches, as the optimizer's arrays together are.
    words = 7 * args.elements
    source, target = np.ones(words, np.float32), np.zeros(words, np.float32)
    if torch:
        a, b = torch.from_numpy(source), torch.from_numpy(target)
        copy = {"copy": lambda: b.copy_(a)}
    else:
        copy = {"copy": lambda: np.copyto(target, source)}
    bandwidth = 8 * words / best(copy, args.seconds)["copy"]
    print(f"{native.instruction_set()}, {args.threads} threads, {args.elements} float32 elements; "
          f"copy {bandwidth / 1e9:.1f} GB/s")
    for name, options, moved in CASES:
        times = best(contestants(torch, name, options, [args.elements]), args.seconds)
        t = times["fastnn"]
        print(f"{name:8s} {1e9 * t / args.elements:6.3f} ns/element  {4 * moved * args.elements / t / bandwidth:4.0%} of copy"
              f"   torch: {ratios(times)}")
    shapes = [(32, 16), (32,), (32, 32), (32,), (4, 32), (4,)]
    print("overhead, 6 small tensors")
    for name, options, _ in CASES:
        times = best(contestants(torch, name, options, shapes), args.seconds, calls=20)
        print(f"{name:8s} {1e6 * times['fastnn']:6.2f} us a step   torch: {ratios(times)}")


if __name__ == "__main__":
    main()
