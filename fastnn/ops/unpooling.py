"""Undoing a max-pool, power means over windows, and normalisation across neighbouring channels."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.ops import pooling
from fastnn.ops.host import compute, result, tensor_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Dims

__all__ = ["lp_pool1d", "lp_pool2d", "lp_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d"]


def numbers(value, n):
    return [int(value)] * n if isinstance(value, (int, np.integer)) else [int(v) for v in value]


def output_shape(input, kernel, stride, padding, output_size, n):
    """The size that a max-pool came from, chosen among those that round to the same result."""
    default = [(size - 1) * s + k - 2 * p for size, k, s, p in zip(input.shape[-n:], kernel, stride, padding)]
    if output_size is None:
        return default
    wanted = list(output_size)
    if len(wanted) == n + 2:
        wanted = wanted[2:]
    if len(wanted) != n:
        raise ValueError(f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a length of "
                         f"'{len(wanted)}'")
    for i in range(n):
        low, high = default[i] - stride[i], default[i] + stride[i]
        if not low < wanted[i] < high:
            raise ValueError(f'invalid output_size "{tuple(wanted)}" (dim {i} must be between {low} and {high})')
    return wanted


def max_unpool(input, indices, kernel_size, stride, padding, output_size, n):
    x, places = tensor_of(input), tensor_of(indices).array
    kernel = numbers(kernel_size, n)
    stride = kernel if stride is None else numbers(stride, n)
    size = output_shape(x, kernel, stride, numbers(padding, n), output_size, n)
    if places.dtype != np.int64:
        raise RuntimeError(f"elements in indices should be type int64 but got: {places.dtype}")
    if places.shape != x.array.shape:
        raise RuntimeError(f"Expected shape of indices to be same as that of the input tensor ({list(x.shape)}) but got indices "
                           f"tensor with shape: {list(places.shape)}")
    if x.dim() not in (n + 1, n + 2):
        raise RuntimeError(f"max_unpool{n}d: input must have {n + 1} or {n + 2} axes, got {x.dim()}")
    lead, pixels = x.shape[:-n], int(np.prod(size))
    outside = (places < 0) | (places >= pixels)
    if outside.any():
        raise RuntimeError(f"Found an invalid max index: {places[outside][0]} (output volumes are of size "
                           f"{'x'.join(str(s) for s in size)})")
    taken = int(np.prod(places.shape[-n:]))
    flat = places.reshape(*lead, taken)

    def scatter(a):
        y = np.zeros((*lead, pixels), a.dtype)
        np.put_along_axis(y, flat, a.reshape(flat.shape), -1)
        return y.reshape(*lead, *size)

    def rule(g):
        return np.take_along_axis(g.reshape(*lead, pixels), flat, -1).reshape(places.shape)

    return result("max_unpool", compute("max_unpool", scatter, x.array), rule, x)


def max_unpool1d(input: Tensor, indices: Tensor, kernel_size: Dims, stride: Dims | None = None, padding: Dims = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:
    """Put values back where `max_pool1d` found them, zeros elsewhere: see `max_unpool2d`."""
    return max_unpool(input, indices, kernel_size, stride, padding, output_size, 1)


def max_unpool2d(input: Tensor, indices: Tensor, kernel_size: Dims, stride: Dims | None = None, padding: Dims = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:
    """Put values back where `max_pool2d` found them, zeros elsewhere.

    Parameters
    ----------
    input : Tensor
    indices : Tensor of int64
        What ``max_pool2d(..., return_indices=True)`` returned.
    kernel_size, stride, padding : int or pair
        Those of the max-pool.
    output_size : sequence of int, optional
        The size before it, where the pooling left that open.
    """
    return max_unpool(input, indices, kernel_size, stride, padding, output_size, 2)


def max_unpool3d(input: Tensor, indices: Tensor, kernel_size: Dims, stride: Dims | None = None, padding: Dims = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:
    """Put values back where `max_pool3d` found them, zeros elsewhere: see `max_unpool2d`."""
    return max_unpool(input, indices, kernel_size, stride, padding, output_size, 3)


def lp_pool(input, norm_type, kernel_size, stride, ceil_mode, n):
    x = tensor_of(input)
    average = getattr(pooling, f"avg_pool{n}d")
    mean = average(x.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    positive = (mean * mean.sign()).clamp(min=0) * mean.sign()       # sign(m) relu(|m|), as torch
    return (positive * float(np.prod(numbers(kernel_size, n)))).pow(1.0 / norm_type)


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Dims, stride: Dims | None = None,
              ceil_mode: bool = False) -> Tensor:
    """Power mean over windows of one axis: see `lp_pool2d`."""
    return lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 1)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Dims, stride: Dims | None = None,
              ceil_mode: bool = False) -> Tensor:
    """Power sum over windows of two axes: (sum of x^p)^(1/p).

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    norm_type : float
        The power p.
    kernel_size, stride, ceil_mode
        As for `max_pool2d`.
    """
    return lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 2)


def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Dims, stride: Dims | None = None,
              ceil_mode: bool = False) -> Tensor:
    """Power sum over windows of three axes: see `lp_pool2d`."""
    return lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 3)
