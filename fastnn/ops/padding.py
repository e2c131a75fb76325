"""Padding: constants, reflections, repeated edges, wrapped axes."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import from_array
from fastnn.ops.axis_map import axis_maps
from fastnn.ops.copy import filled
from fastnn.ops.host import result, tensor_of
from fastnn.ops.promotion import number_in
from fastnn.ops.taps import kept, map_of_taps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnn.core.tensor import Tensor

__all__ = ["pad"]


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Widen the last axes of a tensor.

    Parameters
    ----------
    input : Tensor
    pad : sequence of int
        Left and right width of the last axis, then of the one before, ...; negative widths crop (constant and circular mode).
    mode : 'constant', 'reflect', 'replicate' or 'circular', default 'constant'
        'reflect' mirrors without the edge, 'replicate' repeats it, 'circular' takes the other end.
    value : float, default 0
        For mode 'constant'.

    Returns
    -------
    Tensor

    Raises
    ------
    RuntimeError
        If the widths do not fit the shape.
    NotImplementedError
        For another mode.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.nn.functional.pad(fastnn.tensor([[1., 2., 3.]]), (2, 1), mode="reflect")
    tensor([[3., 2., 1., 2., 3., 2.]])
    """
    x = tensor_of(input)
    widths = [int(w) for w in pad]
    if len(widths) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(widths) > 2 * x.dim():
        raise RuntimeError("Padding length should be less than or equal to two times the input dimension but got padding length "
                           f"{len(widths)} and input of dimension {x.dim()}")
    pairs = [(x.dim() - 1 - i, widths[2 * i], widths[2 * i + 1]) for i in range(len(widths) // 2)]
    if mode == "constant":
        return constant(x, pairs, number_in(0 if value is None else value, x.dtype))
    if mode not in INDEX:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if len(pairs) > 3 or (x.dim() - len(pairs) not in (1, 2)):
        raise NotImplementedError("Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now, got "
                                  f"{len(widths)} widths for an input of size {list(x.shape)} (mode={mode!r})")
    check(x, pairs, mode)
    maps = []
    for axis, left, right in pairs:
        if left or right:
            size = x.shape[axis]
            maps.append((axis, widened(size, size + left + right, left, right, mode)))
    return axis_maps(x, maps)


def check(x, pairs, mode):
    for axis in range(x.dim() - len(pairs), x.dim()):
        if x.shape[axis] == 0:
            raise RuntimeError(f"Expected {len(pairs) + 1}D or {len(pairs) + 2}D (batch mode) tensor with possibly 0 batch size and "
                               f"other non-zero dimensions for input, but got: {list(x.shape)}")
    for i, (axis, left, right) in enumerate(pairs):
        size = x.shape[axis]
        if mode == "reflect" and max(left, right) >= size:
            raise RuntimeError(f"Argument #{2 * i + 4}: Padding size should be less than the corresponding input dimension, but got: "
                               f"padding ({left}, {right}) at dimension {axis} of input {list(x.shape)}")
        if mode == "circular" and max(left, right) > size:
            raise RuntimeError("Padding value causes wrapping around more than once. (pad: "
                               f"{left}, {right} of dimension {axis} of {list(x.shape)})")
        if size + min(left, right, left + right) <= 0:
            raise RuntimeError(f"pad: input {list(x.shape)} with padding ({left}, {right}) at dimension {axis} gives no positive size")


# The source index of every target, from the widths and the size.
def reflected(left, right, size):
    i = np.arange(-left, size + right)
    return np.where(i < 0, -i, np.where(i >= size, 2 * (size - 1) - i, i))


def replicated(left, right, size):
    return np.clip(np.arange(-left, size + right), 0, size - 1)


def wrapped(left, right, size):
    """What negative widths crop is gone before the rest wraps around."""
    kept = np.arange(max(0, -left), size - max(0, -right))
    return kept[np.arange(-max(0, left), len(kept) + max(0, right)) % len(kept)]


INDEX = {"reflect": reflected, "replicate": replicated, "circular": wrapped}


@kept
def widened(source, target, left, right, mode):
    return map_of_taps(source, INDEX[mode](left, right, source)[:, None], 1.0)


def constant(x, pairs, value):
    shape, inner, outer = list(x.shape), [slice(None)] * x.dim(), [slice(None)] * x.dim()
    for axis, left, right in pairs:
        size = shape[axis]
        shape[axis] = size + left + right
        if shape[axis] < 0 or size + min(0, left) + min(0, right) < 0:
            raise RuntimeError(f"narrow(): length must be non-negative. (pad: {left}, {right} of dimension {axis} of {list(x.shape)})")
        inner[axis] = slice(max(0, -left), size - max(0, -right))
        outer[axis] = slice(max(0, left), shape[axis] - max(0, right))
    before, inner, outer = tuple(x.shape), tuple(inner), tuple(outer)

    def rule(g):
        return copied(before, from_array(g), 0, inner, outer).array

    y = copied(shape, from_array(x.array), value, outer, inner)
    return result("constant_pad_nd", y.array, rule, x, adjoint=lambda t: constant(t, pairs, 0), kernels=True)


def copied(shape, x, value, there, here):
    """A tensor of the shape in the memory order of x, with x[here] at [there] and the value elsewhere."""
    order = sorted(range(x.dim()), key=lambda a: (-abs(x.array.strides[a]), a))
    y = filled([shape[a] for a in order], x, value).permute(*np.argsort(order).tolist())
    y[there].copy_(x[here])
    return y
