"""Normalisation: batch norm on large maps (26 MB) and on rows, layer and group norm; forward, and forward with backward."""
from bench.case import Case, draw, library
from bench.groups.conv import channels_last

MAPS = 8, 64, 112, 112
ELEMENTS = 8 * 64 * 112 * 112


def norm(make, shape, what):
    def build(side, threads):
        lib = library(side, threads, recording=what == "step")
        layer = make(lib.nn)
        layer.train(what != "eval")

        def ready(values):
            return lib.from_numpy(channels_last(values) if side == "fastnn" and values.ndim == 4 else values)
        x = ready(draw(*shape))
        if what != "step":
            return lambda: layer(x), lambda: layer(x)
        x.requires_grad = True
        g, grad, wanted = ready(draw(*shape, seed=1)), lib.autograd.grad, [x, *layer.parameters()]

        def call():
            return grad(layer(x), wanted, g)[0]
        return call, call
    return build


def cases():
    def case(name, make, shape, what, nbytes=0.0, quick=False):
        return Case("norm", f"{name} {what}", ("fastnn", "torch"), norm(make, shape, what), nbytes=nbytes, quick=quick)

    def maps(nn):
        return nn.BatchNorm2d(64)
    # eval reads and writes once; training reads twice, because the statistics come before the first result
    yield case("batch norm maps", maps, MAPS, "eval", 8.0 * ELEMENTS, quick=True)
    yield case("batch norm maps", maps, MAPS, "train", 12.0 * ELEMENTS)
    yield case("batch norm maps", maps, MAPS, "step")
    yield case("batch norm 128x512", lambda nn: nn.BatchNorm1d(512), (128, 512), "step")
    yield case("layer norm 4096x256", lambda nn: nn.LayerNorm(256), (4096, 256), "step")
    yield case("group norm 8x64x56x56", lambda nn: nn.GroupNorm(8, 64), (8, 64, 56, 56), "step")
