"""Optimizer steps: a million elements in one tensor, and the six small tensors of a small network, where the call counts."""
from bench.case import Case, draw, library

MILLION = 1_000_000
SMALL = ((32, 16), (32,), (32, 32), (32,), (4, 32), (4,))
OPTIMIZERS = (("SGD", {"lr": 0.01, "momentum": 0.9}, 5), ("Adam", {}, 7), ("AdamW", {}, 7), ("RMSprop", {}, 5), ("Adagrad", {}, 5))


def update(name, options, shapes):
    """torch as a user makes it, without asking for its fused form."""
    def build(side, threads):
        lib = library(side, threads)
        parameters = []
        for shape in shapes:
            p = lib.nn.Parameter(lib.empty(*shape).copy_(lib.from_numpy(draw(*shape))))     # in the library's own memory
            p.grad = lib.empty(*shape).copy_(lib.from_numpy(draw(*shape, seed=1)))
            parameters.append(p)
        return getattr(lib.optim, name)(parameters, **options).step, lambda: parameters[0]
    return build


def cases():
    for name, options, words in OPTIMIZERS:
        yield Case("optim", f"{name} 1e6 elements", ("fastnn", "torch"), update(name, options, ((MILLION,),)), nbytes=4.0 * words * MILLION,
                   quick=name == "Adam")
    for name, options, _ in OPTIMIZERS:
        yield Case("optim", f"{name} 6 small tensors", ("fastnn", "torch"), update(name, options, SMALL), quick=name == "SGD")
