"""Patches as columns, and their sum back onto the image."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import from_array
from fastnn.ops.copy import filled
from fastnn.ops.host import result, tensor_of
from fastnn.ops.padding import pad

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Dims

__all__ = ["fold", "unfold"]


def pair(value):
    return (int(value),) * 2 if isinstance(value, (int, np.integer)) else tuple(int(v) for v in value)


def counts(size, kernel, dilation, padding, stride):
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(size, kernel, dilation, padding, stride))


def check(op, kernel, dilation, padding, stride):
    for name, values in (("kernel size", kernel), ("dilation", dilation), ("stride", stride)):
        if min(values) <= 0:
            raise RuntimeError(f"{op}: {name} should be greater than zero, but got {values}")
    if min(padding) < 0:
        raise RuntimeError(f"{op}: padding should be non-negative, but got {padding}")


def taps(kernel, dilation, stride, blocks):
    """The slices of the padded image that each place of the kernel sees."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            yield i, j, (slice(i * dilation[0], i * dilation[0] + stride[0] * blocks[0], stride[0]),
                         slice(j * dilation[1], j * dilation[1] + stride[1] * blocks[1], stride[1]))


def columns_of(x, kernel, dilation, padding, stride, blocks):
    """(N, C, H, W) to (N, C kH kW, blocks)."""
    N, C = x.shape[:2]
    wide = pad(x, (padding[1], padding[1], padding[0], padding[0])) if any(padding) else x
    y = filled((N, C, *kernel, *blocks), x, None)
    for i, j, (rows, columns) in taps(kernel, dilation, stride, blocks):
        y[:, :, i, j].copy_(wide[:, :, rows, columns])
    return y.reshape(N, C * kernel[0] * kernel[1], blocks[0] * blocks[1])


def image_of(y, size, kernel, dilation, padding, stride, blocks):
    """The transposed map: overlapping patches add up."""
    N, C = y.shape[0], y.shape[1] // (kernel[0] * kernel[1])
    parts = y.reshape(N, C, *kernel, *blocks)
    wide = filled((N, C, size[0] + 2 * padding[0], size[1] + 2 * padding[1]), y, 0)
    for i, j, (rows, columns) in taps(kernel, dilation, stride, blocks):
        wide[:, :, rows, columns].add_(parts[:, :, i, j])
    return wide[:, :, padding[0]:padding[0] + size[0], padding[1]:padding[1] + size[1]].contiguous()


def unfold(input: Tensor, kernel_size: Dims, dilation: Dims = 1, padding: Dims = 0, stride: Dims = 1) -> Tensor:
    """Copy every patch under a sliding window into a column: (N, C, H, W) to (N, C kH kW, patches).

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    kernel_size, dilation, padding, stride : int or pair

    Raises
    ------
    RuntimeError
        If no window fits.
    """
    x = tensor_of(input)
    kernel, dilation, padding, stride = pair(kernel_size), pair(dilation), pair(padding), pair(stride)
    check("unfold", kernel, dilation, padding, stride)
    if x.dim() not in (3, 4) or 0 in x.shape[-3:]:
        raise RuntimeError("Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, "
                           f"but got: {list(x.shape)}")
    size = tuple(x.shape[-2:])
    blocks = counts(size, kernel, dilation, padding, stride)
    if min(blocks) < 1:
        raise RuntimeError(f"Given input with spatial size {size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, "
                           f"calculated shape of the array of sliding blocks as {blocks}, but its components must be at least one.")
    batched = x.dim() == 4

    def forward(a):
        y = columns_of(from_array(a if batched else a[None]), kernel, dilation, padding, stride, blocks).array
        return y if batched else y[0]

    def rule(g):
        dx = image_of(from_array(g if batched else g[None]), size, kernel, dilation, padding, stride, blocks).array
        return dx if batched else dx[0]

    return result("im2col", forward(x.array), rule, x, kernels=True,
                  adjoint=lambda t: unfold(t, kernel, dilation, padding, stride))


def fold(input: Tensor, output_size: Dims, kernel_size: Dims, dilation: Dims = 1, padding: Dims = 0,
         stride: Dims = 1) -> Tensor:
    """Add columns of patches up to an image: (N, C kH kW, patches) to (N, C, H, W), the transposed map of `unfold`.

    Parameters
    ----------
    input : Tensor, shape (N, C kH kW, patches) or (C kH kW, patches)
    output_size : int or pair
    kernel_size, dilation, padding, stride : int or pair

    Raises
    ------
    RuntimeError
        If the sizes do not belong together.
    """
    x = tensor_of(input)
    size, kernel = pair(output_size), pair(kernel_size)
    dilation, padding, stride = pair(dilation), pair(padding), pair(stride)
    check("fold", kernel, dilation, padding, stride)
    if x.dim() not in (2, 3) or 0 in x.shape[-2:]:
        raise RuntimeError("Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for "
                           f"input, but got: {list(x.shape)}")
    channels, patches = x.shape[-2:]
    if channels % (kernel[0] * kernel[1]):
        raise RuntimeError("Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
                           f"input.size(1)={channels} and kernel_size={kernel}.")
    blocks = counts(size, kernel, dilation, padding, stride)
    if min(blocks) < 1:
        raise RuntimeError(f"fold: output_size={size} and kernel_size={kernel} leave no sliding block")
    if patches != blocks[0] * blocks[1]:
        raise RuntimeError(f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, stride={stride}, "
                           f"expected size of input's dimension 2 to match the calculated number of sliding blocks {blocks[0]} * "
                           f"{blocks[1]} = {blocks[0] * blocks[1]}, but got input.size(2)={patches}.")
    batched = x.dim() == 3

    def forward(a):
        y = image_of(from_array(a if batched else a[None]), size, kernel, dilation, padding, stride, blocks).array
        return y if batched else y[0]

    def rule(g):
        dx = columns_of(from_array(g if batched else g[None]), kernel, dilation, padding, stride, blocks).array
        return dx if batched else dx[0]

    return result("col2im", forward(x.array), rule, x, kernels=True,
                  adjoint=lambda t: fold(t, size, kernel, dilation, padding, stride))
