"""Instance normalisation layers."""
from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from fastnn.nn import functional as F
from fastnn.nn.batchnorm import LazyNormBase, NormBase

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Device, DTypeArgument

__all__ = ["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d", "LazyInstanceNorm3d"]


class InstanceNorm(NormBase):
    """The forward of all instance normalisations; `_axes` counts the axes of a batch."""

    _axes = 0

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
                 track_running_stats: bool = False, device: Device = None, dtype: DTypeArgument = None, *,
                 bias: bool = True) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _check_input_dim(self, input):
        if input.ndim not in (self._axes - 1, self._axes):
            raise ValueError(f"expected {self._axes - 1}D or {self._axes}D input (got {input.ndim}D input)")

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        axis = input.ndim - (self._axes - 1)
        if input.shape[axis] != self.num_features:
            if self.affine:
                raise ValueError(f"expected input's size at dim={axis} to match num_features ({self.num_features}), but got: "
                                 f"{input.shape[axis]}.")
            warnings.warn(f"input's size at dim={axis} does not match num_features. You can silence this warning by not "
                          "passing in num_features, which is not used because affine=False", stacklevel=2)
        x = input.unsqueeze(0) if axis == 0 else input
        y = F.instance_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                            self.training or not self.track_running_stats,
                            0.0 if self.momentum is None else self.momentum, self.eps)
        return y.squeeze(0) if axis == 0 else y


class InstanceNorm1d(InstanceNorm):
    """Normalise every channel of every sample over its positions: y = (x - mean) / sqrt(var + eps) w + b.

    Parameters
    ----------
    num_features : int
        Channels C.
    eps : float, default 1e-5
    momentum : float or None, default 0.1
    affine : bool, default False
        Have a trained weight (and bias, with `bias`).
    track_running_stats : bool, default False
        Keep running statistics and use them in evaluation.

    Notes
    -----
    Input (N, C, L) or (C, L).

    References
    ----------
    Ulyanov et al., Instance normalization, arXiv:1607.08022.
    """

    _axes = 3


class InstanceNorm2d(InstanceNorm):
    """Instance normalisation of images (N, C, H, W) or (C, H, W); see `InstanceNorm1d`."""

    _axes = 4


class InstanceNorm3d(InstanceNorm):
    """Instance normalisation of volumes (N, C, D, H, W) or (C, D, H, W); see `InstanceNorm1d`."""

    _axes = 5


class LazyInstanceNorm(LazyNormBase, InstanceNorm):
    """An instance normalisation that takes num_features from its first input; unlike the plain one, affine and with running statistics."""

    def _features(self, input):
        self._check_input_dim(input)
        return input.shape[input.ndim - self._axes + 1]


class LazyInstanceNorm1d(LazyInstanceNorm, InstanceNorm1d):
    """An InstanceNorm1d that takes num_features from its first input; it then becomes an `InstanceNorm1d`."""

    _plain = InstanceNorm1d


class LazyInstanceNorm2d(LazyInstanceNorm, InstanceNorm2d):
    """An InstanceNorm2d that takes num_features from its first input; it then becomes an `InstanceNorm2d`."""

    _plain = InstanceNorm2d


class LazyInstanceNorm3d(LazyInstanceNorm, InstanceNorm3d):
    """An InstanceNorm3d that takes num_features from its first input; it then becomes an `InstanceNorm3d`."""

    _plain = InstanceNorm3d
