"""Convolution layers: forward, input gradient (dX) and weight gradient (dW).

Activations lie in memory as the layer before would leave them: fastnn's channels last, torch's in its default order; an image
(one or three channels) comes as the user has it.  Weights lie as the side's own `nn.Conv2d` keeps them.
"""
import numpy as np

from bench.case import Case, draw, library

# name: channels in, size, channels out, kernel, stride, padding, groups
LAYERS = {
    **{f"3x3 {c}ch {h}x{h}": (c, h, c, 3, 1, 1, 1) for c, h in ((64, 56), (128, 28), (256, 14), (512, 7))},
    **{f"1x1 {i}->{o} {h}x{h}": (i, h, o, 1, 1, 0, 1) for i, o, h in ((64, 256, 56), (512, 128, 28), (2048, 512, 7))},
    "first 1x28x28->32 5x5": (1, 28, 32, 5, 1, 0, 1),
    "first 3x224x224->64 7x7/2": (3, 224, 64, 7, 2, 3, 1),
    **{f"depthwise 3x3/{s} {c}ch {h}x{h}": (c, h, c, 3, s, 1, c) for c, h in ((32, 112), (256, 14)) for s in (1, 2)},
}
BATCHES = 8, 1


def channels_last(a):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


def layer(what, batch, channels, size, out, kernel, stride, padding, groups):
    def build(side, threads):
        lib = library(side, threads, recording=what != "forward")
        conv = lib.nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False)
        values = draw(batch, channels, size, size)
        x = lib.from_numpy(channels_last(values) if side == "fastnn" and channels > 3 else values)
        conv.weight.requires_grad, x.requires_grad = what == "dW", what == "dX"
        if what == "forward":
            return lambda: conv(x), lambda: conv(x)
        y = conv(x)
        g = draw(*y.shape, seed=1)
        g = lib.from_numpy(channels_last(g) if side == "fastnn" else g)
        to, grad = (x if what == "dX" else conv.weight), lib.autograd.grad

        def call():
            return grad(y, to, g, retain_graph=True)[0]
        return call, call
    return build


def cases():
    for name, (channels, size, out, kernel, stride, padding, groups) in LAYERS.items():
        side = (size + 2 * padding - kernel) // stride + 1
        for batch in BATCHES:
            inputs, outputs, weights = batch * channels * size ** 2, batch * out * side ** 2, out * channels // groups * kernel ** 2
            for what in ("forward", "dX", "dW"):
                yield Case("conv", f"{name} batch {batch} {what}", ("fastnn", "torch"),
                           layer(what, batch, channels, size, out, kernel, stride, padding, groups),
                           flops=2.0 * outputs * channels // groups * kernel ** 2, traffic=4.0 * (inputs + outputs + weights),
                           quick=batch == 1 and name in ("3x3 128ch 28x28", "1x1 512->128 28x28", "depthwise 3x3/1 256ch 14x14"))
