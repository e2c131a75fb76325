"""Initial values of parameters (torch.nn.init): fill a tensor in place and return it.

Under one seed the values equal torch's bit for bit, except float32 normals of 16 or more elements, which agree to 1e-6.
"""
from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from fastnn.autograd import no_grad
from fastnn.core.random import randperm_array
from fastnn.core.tensor import from_array
from fastnn.ops import random

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Generator

__all__ = ["calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
           "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_"]

F = TypeVar("F", bound="Callable[..., Any]")
LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which an activation function shrinks what passes it, as recommended for initial weights.

    1 for linear layers and 'sigmoid', 5/3 for 'tanh', sqrt(2) for 'relu', sqrt(2 / (1 + param^2)) for 'leaky_relu' (param:
    its negative slope, default 0.01), 3/4 for 'selu'.
    """
    if nonlinearity in LINEAR:
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, int | float):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def _write(tensor, values):
    """Overwrite the tensor's memory, counted as an in-place change but outside the graph."""
    with no_grad():
        tensor._touch()
        tensor.array[...] = values
    return tensor


# ---- plain distributions --------------------------------------------------------------------------------------
def _draw(tensor, fill):
    """Fill in the order of the axes: layers keep some weights in another memory order than torch's of the same values."""
    with no_grad():
        if tensor.is_contiguous():
            return fill(tensor)
        return _write(tensor, fill(from_array(np.empty(tensor.shape, tensor.dtype))).array)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill from U(a, b)."""
    return _draw(tensor, lambda t: random.uniform_(t, a, b, generator=generator))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill from N(mean, std^2)."""
    return _draw(tensor, lambda t: random.normal_(t, mean, std, generator=generator))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    return _write(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return _write(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return _write(tensor, 0)


def trunc_normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
                  generator: Generator | None = None) -> Tensor:
    """Fill from N(mean, std^2) restricted to [a, b] (a and b are absolute, not multiples of std)."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn("mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
                      "incorrect.", stacklevel=2)
    p = _normal_cdf((b - mean) / std) - _normal_cdf((a - mean) / std)
    draw = _normal_redrawn if p > 0.3 else _uniform_rejected
    return _write(tensor, draw(tensor, mean, std, a, b, generator))


def _normal_cdf(x):
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def _fresh(tensor, fill, *args):
    """New values of the tensor's shape and dtype as an array."""
    return fill(from_array(np.empty_like(tensor.array)), *args).array


def _normal_redrawn(tensor, mean, std, a, b, generator):
    """Normal numbers; those outside are drawn anew (with all others, as in torch)."""
    low, high = tensor.dtype.type(a), tensor.dtype.type(b)
    values = _fresh(tensor, normal_, mean, std, generator)
    while (outside := (values < low) | (values > high)).any():
        values = np.where(outside, _fresh(tensor, normal_, mean, std, generator), values)
    return values


def _uniform_rejected(tensor, mean, std, a, b, generator):
    """Uniform numbers in [a, b], each kept with its density over the largest density in [a, b]: for far tails."""
    kind = tensor.dtype.type
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std)**2

    def density(x):
        return ((x - kind(mean)) / kind(std))**2 * kind(-0.5) - kind(peak)

    def pending(x):
        with np.errstate(divide="ignore"):
            return np.log(_fresh(tensor, uniform_, 0.0, 1.0, generator)) > density(x)
    values = _fresh(tensor, uniform_, a, b, generator)
    left = pending(values)
    while left.any():
        candidates = _fresh(tensor, uniform_, a, b, generator)
        values = np.where(left, candidates, values)
        left &= pending(candidates)
    return values


# ---- by the number of inputs and outputs ------------------------------------------------------------------------
def _calculate_fan_in_and_fan_out(tensor):
    """Numbers of values that one output sums, and of outputs that one input reaches."""
    if tensor.ndim < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _fan(tensor, mode):
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill from U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    std = gain * math.sqrt(2.0 / float(sum(_calculate_fan_in_and_fan_out(tensor))))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill from N(0, std^2), std = gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(sum(_calculate_fan_in_and_fan_out(tensor)))), generator)


def kaiming_uniform_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
                     generator: Generator | None = None) -> Tensor:
    """Fill from U(-bound, bound), bound = gain sqrt(3 / fan) (He et al. 2015).

    Parameters
    ----------
    tensor : Tensor of at least 2 dimensions, (outputs, inputs, *)
    a : float, default 0
        Negative slope of the 'leaky_relu' that follows.
    mode : 'fan_in' (default; keeps the scale of activations) or 'fan_out' (of gradients)
    nonlinearity : name, see `calculate_gain`
    generator : Generator, default the default generator
    """
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
                    generator: Generator | None = None) -> Tensor:
    """Fill from N(0, std^2), std = gain / sqrt(fan) (He et al. 2015); parameters as of `kaiming_uniform_`."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    return normal_(tensor, 0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)), generator)


# ---- matrices of a kind -------------------------------------------------------------------------------------------
def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on the diagonal."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return _write(tensor, np.eye(*tensor.shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a convolution's weight so that it passes as many channels as possible unchanged, group by group."""
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    outputs = tensor.shape[0] // groups
    values = np.zeros(tensor.shape, tensor.dtype)
    middle = tuple(n // 2 for n in tensor.shape[2:])
    for g in range(groups):
        for d in range(min(outputs, tensor.shape[1])):
            values[(g * outputs + d, d, *middle)] = 1
    return _write(tensor, values)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Fill so that rows, or columns if they are fewer, are orthogonal and of length `gain` (Saxe et al. 2013).

    Axes beyond the second are flattened.
    """
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if 0 in tensor.shape:
        return tensor
    rows = tensor.shape[0]
    matrix = normal_(from_array(np.empty((rows, math.prod(tensor.shape[1:])), tensor.dtype)), 0, 1, generator).array
    wide = matrix.shape[0] < matrix.shape[1]
    q, r = np.linalg.qr(matrix.T if wide else matrix)
    q *= np.sign(np.diagonal(r))            # else q is not uniform: Mezzadri, arXiv math-ph/0609050
    return _write(tensor, tensor.dtype.type(gain) * (q.T if wide else q).reshape(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Fill a matrix from N(0, std^2), then zero the fraction `sparsity` of each column (Martens 2010)."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    normal_(tensor, 0, std, generator)
    for column in range(columns):
        tensor.array[randperm_array(rows)[:zeros], column] = 0
    return tensor


def _old_name(function: F) -> F:
    """The function under its old name, with a warning."""
    name = function.__name__[:-1]

    def deprecated_init(*args, **kwargs):
        warnings.warn(f"`nn.init.{name}` is now deprecated in favor of `nn.init.{function.__name__}`.", FutureWarning,
                      stacklevel=2)
        return function(*args, **kwargs)
    deprecated_init.__name__ = name
    deprecated_init.__doc__ = f"Deprecated: use `{function.__name__}`."
    return cast("F", deprecated_init)


uniform = _old_name(uniform_)
normal = _old_name(normal_)
constant = _old_name(constant_)
eye = _old_name(eye_)
dirac = _old_name(dirac_)
xavier_uniform = _old_name(xavier_uniform_)
xavier_normal = _old_name(xavier_normal_)
kaiming_uniform = _old_name(kaiming_uniform_)
kaiming_normal = _old_name(kaiming_normal_)
orthogonal = _old_name(orthogonal_)
sparse = _old_name(sparse_)
