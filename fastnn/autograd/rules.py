"""Backward rules as operations on tensors, for gradients of gradients (create_graph=True).

A rule takes the gradient of the output, which inputs want one, what the node kept of its inputs (None for nothing) and the node's
parameters; it gives the gradient of the input, or one per input.
"""
from __future__ import annotations

import math

from fastnn.core.tape import no_derivative
from fastnn.ops.activation import softplus
from fastnn.ops.elementwise import where as choose
from fastnn.ops.linear import linear as product


def total(grad, shape):
    """A broadcast gradient summed to the shape of what was broadcast."""
    if tuple(grad.shape) == tuple(shape):
        return grad
    lead = grad.dim() - len(shape)
    axes = (*range(lead), *[lead + i for i, n in enumerate(shape) if n == 1 != grad.shape[lead + i]])
    return grad.sum(axes).reshape(shape) if axes else grad.reshape(shape)


# ---- arithmetic ------------------------------------------------------------------------------------------------------
def add(grad, wanted, shape_x, shape_y):
    return total(grad, shape_x) if wanted[0] else None, total(grad, shape_y) if wanted[1] else None


def sub(grad, wanted, shape_x, shape_y):
    return total(grad, shape_x) if wanted[0] else None, total(-grad, shape_y) if wanted[1] else None


def mul(grad, wanted, x, y, shape_x, shape_y):
    return total(grad * y, shape_x) if wanted[0] else None, total(grad * x, shape_y) if wanted[1] else None


def div(grad, wanted, x, y, shape_x, shape_y):
    over_y = grad / y
    return total(over_y, shape_x) if wanted[0] else None, total(-(over_y * x) / y, shape_y) if wanted[1] else None


def scale(grad, wanted, factor):
    return grad if factor == 1 else grad * factor


def divide_by(grad, wanted, divisor):
    return grad / divisor


def divide_into(grad, wanted, x, dividend):
    return grad * (-dividend / x) / x


def extremum(grad, wanted, x, y, largest, dtypes):
    """Half to each on a tie."""
    above = x > y if largest else x < y
    share = (above.to(x.dtype) + 0.5 * (x == y).to(x.dtype)).detach()
    return (total(grad * share, x.shape).to(dtypes[0]) if wanted[0] else None,
            total(grad * (1 - share), y.shape).to(dtypes[1]) if wanted[1] else None)


def where(grad, wanted, condition, shape_x, dtype_x, shape_y, dtype_y):
    return (total(grad.where(condition, 0.0), shape_x).to(dtype_x) if wanted[0] else None,
            total(choose(condition, 0.0, grad), shape_y).to(dtype_y) if wanted[1] else None)


# ---- sums ------------------------------------------------------------------------------------------------------------
def expand(grad, wanted, shape):
    return total(grad, shape)


def sum(grad, wanted, shape, axes, factor, dtype):
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return scale(grad, wanted, factor).reshape(kept).expand(shape).to(dtype)


# ---- products --------------------------------------------------------------------------------------------------------
def linear(grad, wanted, x, weight):
    """By linear layers again: the weight's gradient then has the weight's memory order."""
    dw, rows, inputs = None, grad.reshape(-1, weight.shape[0]), x.reshape(-1, weight.shape[1])
    if wanted[1]:
        dw = product(inputs.t(), rows.t()).t() if weight.stride(0) == 1 else product(rows.t(), inputs.t())
    return product(grad, weight.t()) if wanted[0] else None, dw, rows.sum(0) if wanted[2] else None


def matmul(grad, wanted, a, b):
    """Of two matrices, or of batches that broadcast."""
    return (total(grad @ b.transpose(-1, -2), a.shape) if wanted[0] else None,
            total(a.transpose(-1, -2) @ grad, b.shape) if wanted[1] else None)


# ---- softmax ---------------------------------------------------------------------------------------------------------
def softmax(grad, wanted, y, axis, log):
    if log:
        return grad - y.exp() * grad.sum(axis, keepdim=True)
    return y * (grad - (y * grad).sum(axis, keepdim=True))


def logsumexp(grad, wanted, x):
    """Over the last axis."""
    return x.softmax(-1) * grad.unsqueeze(-1)


# ---- functions of one variable: dx of (dy, x or y as the node keeps it, the function's three parameters) ------------------
def passes(*kept):
    """Of a piecewise linear function: dy where all of `kept(x, a, b)` hold, else 0."""
    def slope(g, x, a, b, c):
        for holds in kept:
            g = g.where(holds(x.detach(), a, b), 0.0)
        return g
    return slope


def step(g, x, a, b, c):
    return g * 0.0


def elu_slope(g, x, a, b, c):
    return choose(x.detach() <= 0, a * b * c * (c * x.clamp_max(0.0)).exp(), b) * g


def power_slope(g, x, a, b, c):
    return g * 0.0 if a == 0 else g * (a * x ** (a - 1))


def gelu_slope(g, x, a, b, c):
    return g * (0.5 * (1 + (x * math.sqrt(0.5)).erf()) + x * (x * x * -0.5).exp() * (1 / math.sqrt(2 * math.pi)))


def gelu_tanh_slope(g, x, a, b, c):
    scale = math.sqrt(2 / math.pi)
    t = (scale * (x + 0.044715 * x ** 3)).tanh()
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (scale * (1 + 3 * 0.044715 * x * x)))


def silu_slope(g, x, a, b, c):
    s = x.sigmoid()
    return g * (s * (1 + x * (1 - s)))


def mish_slope(g, x, a, b, c):
    t = softplus(x).tanh()
    return g * (t + x * (1 - t * t) * x.sigmoid())


def softplus_slope(g, x, a, b, c):
    return g * (a * x).sigmoid().where((a * x.detach()) <= b, 1.0)


def hardswish_slope(g, x, a, b, c):
    fixed = x.detach()
    return (g * (x / 3 + 0.5)).where(fixed > -3, 0.0).where(fixed < 3, g)


SLOPES = {
    "relu": lambda g, y, a, b, c: choose(y.detach() <= 0, 0.0, g),      # NaN passes
    "leaky_relu": lambda g, x, a, b, c: g.where(x.detach() > 0, a * g),
    "elu": elu_slope,
    "sigmoid": lambda g, y, a, b, c: g * (y * (1 - y)),
    "tanh": lambda g, y, a, b, c: g * (1 - y * y),
    "gelu": gelu_slope, "gelu_tanh": gelu_tanh_slope, "silu": silu_slope, "mish": mish_slope,
    "hardtanh": passes(lambda y, a, b: y > a, lambda y, a, b: y < b),
    "hardsigmoid": lambda g, x, a, b, c: passes(lambda x, a, b: x > -3, lambda x, a, b: x < 3)(g / 6, x, a, b, c),
    "hardswish": hardswish_slope, "softplus": softplus_slope,
    "softsign": lambda g, x, a, b, c: g / ((1 + x.abs()) * (1 + x.abs())),
    "softshrink": passes(lambda x, a, b: x.abs() > a),
    "hardshrink": passes(lambda x, a, b: x.abs() > a),
    "tanhshrink": lambda g, x, a, b, c: g * (x.tanh() * x.tanh()),
    "logsigmoid": lambda g, x, a, b, c: g * (-x).sigmoid(),
    "threshold": passes(lambda x, a, b: x > a),
    "clamp": passes(lambda x, a, b: x >= a, lambda x, a, b: x <= b),
    "affine": lambda g, x, a, b, c: g * a,
    "divide_into": lambda g, x, a, b, c: g * (-a / x) / x,
    "divide_by": lambda g, x, a, b, c: g / a,
    "power": power_slope,
    "power_of": lambda g, y, a, b, c: g * y * b,
    "neg": lambda g, x, a, b, c: -g,
    "square": lambda g, x, a, b, c: g * (x + x),
    "reciprocal": lambda g, y, a, b, c: -g * (y * y),
    "sqrt": lambda g, y, a, b, c: g / (y + y),
    "rsqrt": lambda g, y, a, b, c: g * (y * y * y * -0.5),
    "abs": lambda g, x, a, b, c: g * x.detach().sign(),
    "exp": lambda g, y, a, b, c: g * y,
    "exp2": lambda g, y, a, b, c: g * (y * math.log(2)),
    "expm1": lambda g, y, a, b, c: g * (y + 1),
    "log": lambda g, x, a, b, c: g / x,
    "log2": lambda g, x, a, b, c: g / (x * math.log(2)),
    "log10": lambda g, x, a, b, c: g / (x * math.log(10)),
    "log1p": lambda g, x, a, b, c: g / (x + 1),
    "erf": lambda g, x, a, b, c: g * ((-x * x).exp() * (2 / math.sqrt(math.pi))),
    "erfc": lambda g, x, a, b, c: g * ((-x * x).exp() * (-2 / math.sqrt(math.pi))),
    "sin": lambda g, x, a, b, c: g * x.cos(),
    "cos": lambda g, x, a, b, c: -g * x.sin(),
    "tan": lambda g, y, a, b, c: g * (1 + y * y),
    "asin": lambda g, x, a, b, c: g * (1 - x * x).rsqrt(),
    "acos": lambda g, x, a, b, c: -g * (1 - x * x).rsqrt(),
    "atan": lambda g, x, a, b, c: g / (x * x + 1),
    "sinh": lambda g, x, a, b, c: g * x.cosh(),
    "cosh": lambda g, x, a, b, c: g * x.sinh(),
    "asinh": lambda g, x, a, b, c: g * (x * x + 1).rsqrt(),
    "acosh": lambda g, x, a, b, c: g * ((x - 1).rsqrt() * (x + 1).rsqrt()),
    "atanh": lambda g, x, a, b, c: g / (1 - x * x),
    "lgamma": lambda g, x, a, b, c: g * x.digamma(),
    **dict.fromkeys(("sign", "floor", "ceil", "round", "trunc"), step),
}


def unary(grad, wanted, kept, name, parameters):
    if name not in SLOPES:
        raise no_derivative(name)
    return SLOPES[name](grad, kept, *parameters)
