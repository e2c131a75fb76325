"""Interpolation: maps of another size, one axis after the other."""
from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from fastnn.ops import pooling
from fastnn.ops.axis_map import axis_maps
from fastnn.ops.host import tensor_of
from fastnn.ops.promotion import FLOAT32, unsupported
from fastnn.ops.taps import kept, map_of_taps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Dims

__all__ = ["interpolate", "upsample", "upsample_bilinear", "upsample_nearest"]

MODES = "nearest | linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact"
RANK = {"linear": 3, "bilinear": 4, "bicubic": 4, "trilinear": 5}
CUBIC = -0.75       # torch's free parameter of the cubic kernel


def interpolate(input: Tensor, size: Dims | None = None, scale_factor: float | Sequence[float] | None = None,
                mode: str = "nearest", align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
                antialias: bool = False) -> Tensor:
    """Resize the spatial axes of a batch.

    Parameters
    ----------
    input : Tensor, shape (N, C, L), (N, C, H, W) or (N, C, D, H, W)
    size : int or sequence of int, optional
    scale_factor : float or sequence of float, optional
        Give one of the two.
    mode : 'nearest', 'nearest-exact', 'linear', 'bilinear', 'trilinear', 'bicubic' or 'area', default 'nearest'
    align_corners : bool, default False
        Interpolating modes: map the centres of the corner pixels onto each other instead of the outer edges.
    recompute_scale_factor : bool, default False
        Use the ratio of the rounded sizes instead of the given factor.
    antialias : bool, default False
        'bilinear' and 'bicubic': widen the kernel when shrinking.

    Raises
    ------
    ValueError, NotImplementedError
        If the arguments contradict each other or the mode does not fit the rank.
    """
    x = tensor_of(input)
    interpolating = mode in RANK
    if align_corners is not None and not interpolating:
        raise ValueError("align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear")
    spatial = x.dim() - 2
    if spatial not in (1, 2, 3) or mode not in ("nearest", "nearest-exact", "area", *RANK):
        raise NotImplementedError(f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {x.dim()}D) for the modes: {MODES} "
                                  f"(got {mode})")
    if interpolating and x.dtype.kind != "f":
        raise unsupported(f"interpolate {mode}", x.dtype, "float32 or float64")
    if interpolating and RANK[mode] != x.dim():
        raise NotImplementedError(f"Got {x.dim()}D input, but {mode} mode needs {RANK[mode]}D input")
    sizes, factors = sizes_of(x, size, scale_factor, recompute_scale_factor)
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError("Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input")
    if min(sizes) <= 0 or min(x.shape[2:]) <= 0:
        raise RuntimeError(f"Input and output sizes should be greater than 0, but got input {list(x.shape[2:])} output {sizes}")
    if mode == "area":
        return getattr(pooling, f"adaptive_avg_pool{spatial}d")(x, sizes)
    maps = [(2 + i, resized(x.shape[2 + i], sizes[i], mode, factors[i], bool(align_corners), antialias,
                            x.dtype if x.dtype.kind == "f" else FLOAT32))
            for i in reversed(range(spatial)) if sizes[i] != x.shape[2 + i] or moves_alone(mode, factors[i], antialias)]
    return axis_maps(x, maps)


def moves_alone(mode, factor, antialias):
    """Does an axis that keeps its size change?  As in torch: by a factor of 1.1, where the mode does not leave it as it is."""
    return mode in ("nearest", "nearest-exact", "bicubic") and not antialias and factor is not None


def sizes_of(x, size, scale_factor, recompute):
    """Output sizes, and the scale factors that coordinates use (None: the ratio of the sizes)."""
    spatial = x.dim() - 2
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if isinstance(size, (tuple, list)):
            if len(size) != spatial:
                raise ValueError("Input and output must have the same number of spatial dimensions, but got input with spatial "
                                 f"dimensions of {list(x.shape[2:])} and output size of {size}. Please provide input tensor in "
                                 "(N, C, d1, d2, ...,dK) format and output size in (o1, o2, ...,oK) format.")
            sizes = [int(s) for s in size]
        else:
            sizes = [int(size)] * spatial
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        return sizes, [None] * spatial
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if isinstance(scale_factor, (tuple, list)):
        if len(scale_factor) != spatial:
            raise ValueError("Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
                             f"dimensions of {list(x.shape[2:])} and scale_factor of shape {scale_factor}. Please provide input "
                             "tensor in (N, C, d1, d2, ...,dK) format and scale_factor in (s1, s2, ...,sK) format.")
        factors = [float(s) for s in scale_factor]
    else:
        factors = [float(scale_factor)] * spatial
    sizes = [math.floor(n * f) for n, f in zip(x.shape[2:], factors)]
    return sizes, [None] * spatial if recompute else factors


@kept
def resized(source, target, mode, factor, align_corners, antialias, dtype):
    """The sparse map of one axis; coordinates are computed in the tensor's dtype, as torch does (of integers in float32)."""
    one = dtype.type(1)
    j = np.arange(target, dtype=dtype)
    if align_corners:
        ratio = dtype.type((source - 1) / (target - 1)) if target > 1 else dtype.type(0)
    else:
        ratio = dtype.type(1.0 / factor) if factor else dtype.type(source) / dtype.type(target)
    if mode == "nearest":
        return map_of_taps(source, np.minimum(np.floor(j * ratio).astype(np.int64), source - 1)[:, None], 1.0)
    if mode == "nearest-exact":
        return map_of_taps(source, np.minimum(np.floor((j + one / 2) * ratio).astype(np.int64), source - 1)[:, None], 1.0)
    if antialias:
        return antialiased(mode, source, target, float(ratio), align_corners)
    centre = j * ratio if align_corners else ratio * (j + one / 2) - one / 2
    if mode == "bicubic":
        base = np.floor(centre)
        t = (centre - base)[:, None]
        place = np.clip(base.astype(np.int64)[:, None] + np.arange(-1, 3), 0, source - 1)
        return map_of_taps(source, place, cubic(np.abs(t - np.arange(-1, 3, dtype=dtype))))
    centre = np.maximum(centre, 0)
    low = np.minimum(np.floor(centre).astype(np.int64), source - 1)
    t = np.clip(centre - low, 0, 1)
    return map_of_taps(source, np.stack([low, np.minimum(low + 1, source - 1)], 1), np.stack([one - t, t], 1))


def cubic(d, a=CUBIC):
    """Keys' cubic convolution kernel at distance d."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def antialiased(mode, source, target, ratio, align_corners):
    """The kernel stretched by the ratio of the sizes where that shrinks; weights sum to one."""
    stretch = max(ratio, 1.0)
    support = (2.0 if mode == "bicubic" else 1.0) * stretch
    rows, weights = [], []
    for j in range(target):
        centre = ratio * (j + 0.5)
        low, high = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), source)
        d = np.abs((np.arange(low, high) - centre + 0.5) / stretch)
        w = cubic(d, -0.5) if mode == "bicubic" else np.maximum(1 - d, 0)
        rows.append(np.arange(low, high))
        weights.append(w / w.sum())
    widest = max(len(r) for r in rows)
    place, weight = np.full((target, widest), -1), np.zeros((target, widest))
    for j, (r, w) in enumerate(zip(rows, weights)):
        place[j, :len(r)], weight[j, :len(w)] = r, w
    return map_of_taps(source, place, weight)


def upsample(input: Tensor, size: Dims | None = None, scale_factor: float | Sequence[float] | None = None,
             mode: str = "nearest", align_corners: bool | None = None) -> Tensor:
    """`interpolate` under its old name (deprecated by torch)."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Dims | None = None,
                     scale_factor: float | Sequence[float] | None = None) -> Tensor:
    """`interpolate` in mode 'nearest' under its old name (deprecated by torch)."""
    warnings.warn("`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Dims | None = None,
                      scale_factor: float | Sequence[float] | None = None) -> Tensor:
    """`interpolate` in mode 'bilinear' with aligned corners under its old name (deprecated by torch)."""
    warnings.warn("`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
