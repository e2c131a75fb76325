"""Batch normalisation layers."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import from_array
from fastnn.nn import functional as F
from fastnn.nn import init
from fastnn.nn.lazy import LazyLayer
from fastnn.nn.linear import empty_parameter
from fastnn.nn.module import Module
from fastnn.ops.normalization import batch_norm_tracked
from fastnn.ops.promotion import float_dtype

if TYPE_CHECKING:
    from fastnn.core.tensor import Parameter, Tensor
    from fastnn.core.types import Device, DTypeArgument

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d"]


class NormBase(Module):
    """What batch and instance normalisation share: a weight and bias per channel, and running statistics."""

    weight: Parameter | None
    bias: Parameter | None

    _version = 2

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, device: Device = None, dtype: DTypeArgument = None, *,
                 bias: bool = True) -> None:
        dtype = float_dtype(device, dtype)
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.register_parameter("weight", empty_parameter(num_features, dtype) if affine else None)
        self.register_parameter("bias", empty_parameter(num_features, dtype) if affine and bias else None)
        tracked = track_running_stats
        self.register_buffer("running_mean", from_array(np.zeros(num_features, dtype)) if tracked else None)
        self.register_buffer("running_var", from_array(np.ones(num_features, dtype)) if tracked else None)
        self.register_buffer("num_batches_tracked", from_array(np.zeros((), np.int64)) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the running variance to 1 and the count of batches to 0."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            self.num_batches_tracked.array[...] = 0

    def reset_parameters(self) -> None:
        """Reset the statistics; weight becomes 1, bias 0."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input):
        raise NotImplementedError

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}")


class BatchNorm(NormBase):
    """The forward of all batch normalisations; subclasses say how many axes their input has."""

    _axes: tuple[int, ...] = ()

    def _check_input_dim(self, input):
        if input.ndim not in self._axes:
            wanted = " or ".join(f"{n}D" for n in self._axes)
            raise ValueError(f"expected {wanted} input (got {input.ndim}D input)")

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        version = local_metadata.get("version")
        key = prefix + "num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            state_dict[key] = from_array(self.num_batches_tracked.array.copy())     # older files do not have it
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        if self.training and self.track_running_stats:
            return batch_norm_tracked(input, self.running_mean, self.running_var, self.num_batches_tracked, self.weight,
                                      self.bias, self.momentum, self.eps)
        batch = self.training or self.running_mean is None
        return F.batch_norm(input, None if batch else self.running_mean, None if batch else self.running_var, self.weight,
                            self.bias, batch, 0.0, self.eps)


class BatchNorm1d(BatchNorm):
    """Normalise every channel over the batch (and its positions): y = (x - mean) / sqrt(var + eps) w + b.

    Parameters
    ----------
    num_features : int
        Channels C.
    eps : float, default 1e-5
    momentum : float or None, default 0.1
        Share of the new batch in the running statistics; None averages over all batches.
    affine : bool, default True
        Have a trained weight (and bias, with `bias`).
    track_running_stats : bool, default True
        Keep running statistics for evaluation; without, the batch's own are used then too.

    Attributes
    ----------
    weight, bias : Parameter (C,) or None
    running_mean, running_var : Tensor (C,) or None
        The running variance is the unbiased one; the output is normalised with the biased one.
    num_batches_tracked : Tensor of int64, 0-d

    Notes
    -----
    Input (N, C) or (N, C, L).

    References
    ----------
    Ioffe and Szegedy, Batch normalization, arXiv:1502.03167.
    """

    _axes = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch normalisation of images (N, C, H, W); see `BatchNorm1d`."""

    _axes = (4,)


class BatchNorm3d(BatchNorm):
    """Batch normalisation of volumes (N, C, D, H, W); see `BatchNorm1d`."""

    _axes = (5,)


class LazyNormBase(LazyLayer, NormBase):
    """A batch or instance normalisation that takes num_features from its first input."""

    def __init__(self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True,
                 device: Device = None, dtype: DTypeArgument = None, *, bias: bool = True) -> None:
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self._wait()

    def _stored_features(self, state_dict, prefix):
        known = [state_dict[prefix + name] for name in ("weight", "running_mean") if prefix + name in state_dict]
        return known[0].shape[0] if known else None

    def _resize(self, features):
        self.num_features = features
        for t in (self.weight, self.bias, self.running_mean, self.running_var):
            if t is not None:
                t.data = empty_parameter(features, t.dtype)


class LazyBatchNorm(LazyNormBase, BatchNorm):
    """A batch normalisation that takes num_features from its first input."""

    def _features(self, input):
        self._check_input_dim(input)
        return input.shape[1]


class LazyBatchNorm1d(LazyBatchNorm, BatchNorm1d):
    """A BatchNorm1d that takes num_features from its first input; it then becomes a `BatchNorm1d`."""

    _plain = BatchNorm1d


class LazyBatchNorm2d(LazyBatchNorm, BatchNorm2d):
    """A BatchNorm2d that takes num_features from its first input; it then becomes a `BatchNorm2d`."""

    _plain = BatchNorm2d


class LazyBatchNorm3d(LazyBatchNorm, BatchNorm3d):
    """A BatchNorm3d that takes num_features from its first input; it then becomes a `BatchNorm3d`."""

    _plain = BatchNorm3d
