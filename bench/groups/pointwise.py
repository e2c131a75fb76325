"""Elementwise functions, softmax, layer norm, dropout and an Adam update on a million elements; and their arithmetic, out of a cache."""
from bench.case import Case, draw, library

NAMES = ("exp", "tanh", "sigmoid", "gelu", "relu", "add", "softmax", "layer_norm", "dropout", "adam")
SHAPE, SHAPE_IN_CACHE = (1000, 1000), (64, 1000)        # operand and result of the latter fit a second-level cache
WORDS = {"adam": 7, "add": 3}       # float32 read or written per element, where not 2


def pointwise(name, shape):
    def build(side, threads):
        lib = library(side, threads)
        f, x = lib.nn.functional, lib.from_numpy(draw(*shape))
        if name == "adam":
            p = lib.nn.Parameter(x)
            p.grad = lib.ones_like(x)
            return lib.optim.Adam([p], lr=1e-3).step, lambda: p
        call = {"exp": lambda: lib.exp(x), "tanh": lambda: lib.tanh(x), "sigmoid": lambda: lib.sigmoid(x), "gelu": lambda: f.gelu(x),
                "relu": lambda: lib.relu(x), "add": lambda: x + x, "softmax": lambda: f.softmax(x, -1),
                "layer_norm": lambda: f.layer_norm(x, (1000,)), "dropout": lambda: f.dropout(x, 0.5)}[name]
        return call, None if name == "dropout" else call        # masks come from different generators
    return build


def cases():
    for name in NAMES:
        words = WORDS.get(name, 2)
        yield Case("pointwise", name, ("fastnn", "torch"), pointwise(name, SHAPE), nbytes=4e6 * words,
                   quick=name in ("exp", "gelu", "softmax", "adam"))
        if words == 2:
            yield Case("pointwise", f"{name} in cache", ("fastnn",), pointwise(name, SHAPE_IN_CACHE), traffic=4.0 * words * 64_000,
                       threads=(1,))
