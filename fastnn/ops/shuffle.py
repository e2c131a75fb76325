"""Rearrangements of channels and pixels."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.ops.axis_map import axis_maps
from fastnn.ops.host import tensor_of
from fastnn.ops.taps import kept, map_of_taps

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor

__all__ = ["channel_shuffle", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Turn r*r channels into r x r pixels: (*, C r^2, H, W) to (*, C, H r, W r).

    Raises
    ------
    RuntimeError
        If the channels are not a multiple of r^2.
    """
    x, r = tensor_of(input), int(upscale_factor)
    if x.dim() < 3:
        raise RuntimeError(f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {x.dim()} dimension(s)")
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, C, H, W = x.shape
    if C % (r * r):
        raise RuntimeError("pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
                           f"but input.size(-3)={C} is not divisible by {r * r}")
    n = len(lead)
    parts = x.reshape(*lead, C // (r * r), r, r, H, W).permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return parts.reshape(*lead, C // (r * r), H * r, W * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Turn r x r pixels into r*r channels: the inverse of `pixel_shuffle`."""
    x, r = tensor_of(input), int(downscale_factor)
    if x.dim() < 3:
        raise RuntimeError(f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {x.dim()} dimension(s)")
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, C, H, W = x.shape
    for name, i, size in (("height", -2, H), ("width", -1, W)):
        if size % r:
            raise RuntimeError(f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but input.size({i})={size} is not "
                               f"divisible by {r}")
    n = len(lead)
    parts = x.reshape(*lead, C, H // r, r, W // r, r).permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return parts.reshape(*lead, C * r * r, H // r, W // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Deal the channels of `groups` groups out in turn: (N, C, *) with channel g*n + i moved to i*groups + g."""
    x = tensor_of(input)
    if x.dim() <= 2:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(x.shape)}")
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    C = x.shape[1]
    if C % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {C} channels and {groups} groups.")
    return axis_maps(x, [(1, dealt(C, C, groups))])


@kept
def dealt(source, target, groups):
    return map_of_taps(source, np.arange(source).reshape(groups, -1).T.reshape(-1, 1), 1.0)


native_channel_shuffle = channel_shuffle
