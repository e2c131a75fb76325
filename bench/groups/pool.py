"""Pooling on large maps: the bound is reading the input and writing the output once.

Large is more than the caches hold (103 MB in); "in cache" is a quarter of it (26 MB), which a third-level cache of 32 MB keeps for the
most part, and where a copy is two to three times as fast as memory.  Beside the large forward cases runs a bare loop that reads and
writes as much: what memory gives depends on how much of it is written.
"""
from math import prod

from bench.bare import LOOP, bare_loop
from bench.case import Case, draw, library
from bench.groups.conv import channels_last

LARGE, IN_CACHE = (8, 64, 224, 224), (8, 64, 112, 112)


def pool(name, gradient, maps=LARGE):
    def build(side, threads):
        if side == LOOP:
            return bare_loop(4 * prod(maps), not name.startswith("adaptive"), threads), None
        lib = library(side, threads, recording=gradient)
        f, values = lib.nn.functional, draw(*maps)
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
    for name in ("max 2x2", "max 3x3/2", "average 2x2", "adaptive average 7x7", "adaptive max 7x7"):
        for maps, what in ((LARGE, "forward"), (IN_CACHE, "forward, in cache")):
            pixels = 49 if name.startswith("adaptive") else maps[2] * maps[3] // 4
            sides = ("fastnn", "torch", LOOP) if maps == LARGE else ("fastnn", "torch")
            yield Case("pool", f"{name} {what}", sides, pool(name, False, maps),
                       nbytes=4.0 * (prod(maps) + maps[0] * maps[1] * pixels), quick=name == "max 2x2" and maps == IN_CACHE)
        if "adaptive max" not in name:
            yield Case("pool", f"{name} gradient", ("fastnn", "torch"), pool(name, True))
