"""Pooling on large maps (26 MB in): the bound is reading the input and writing the output once."""
from bench.case import Case, draw, library
from bench.groups.conv import channels_last

MAPS = 8, 64, 112, 112
ELEMENTS = 8 * 64 * 112 * 112


def pool(name, gradient):
    def build(side, threads):
        lib = library(side, threads, recording=gradient)
        f, values = lib.nn.functional, draw(*MAPS)
        x = lib.from_numpy(channels_last(values) if side == "fastnn" else values)
        forward = {"max 2x2": lambda: f.max_pool2d(x, 2), "max 3x3/2": lambda: f.max_pool2d(x, 3, 2, 1),
                   "average 2x2": lambda: f.avg_pool2d(x, 2), "adaptive average 7x7": lambda: f.adaptive_avg_pool2d(x, 7),
                   "adaptive max 7x7": lambda: f.adaptive_max_pool2d(x, 7)}[name]
        if not gradient:
            return forward, forward
        x.requires_grad = True
        y = forward()
        g = draw(*y.shape, seed=1)
        g, grad = lib.from_numpy(channels_last(g) if side == "fastnn" else g), lib.autograd.grad

        def call():
            return grad(y, x, g, retain_graph=True)[0]
        return call, call
    return build


def cases():
    for name, shrink in (("max 2x2", 4), ("max 3x3/2", 4), ("average 2x2", 4), ("adaptive average 7x7", 256), ("adaptive max 7x7", 256)):
        yield Case("pool", f"{name} forward", ("fastnn", "torch"), pool(name, False), nbytes=4.0 * ELEMENTS * (1 + 1 / shrink),
                   quick=name == "max 2x2")
        if "adaptive max" not in name:
            yield Case("pool", f"{name} gradient", ("fastnn", "torch"), pool(name, True))
