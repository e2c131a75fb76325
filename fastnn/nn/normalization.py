"""Layer, RMS, group and local response normalisation."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.nn import functional as F
from fastnn.nn import init
from fastnn.nn.linear import empty_parameter
from fastnn.nn.module import Module
from fastnn.ops.promotion import float_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnn.core.tensor import Parameter, Tensor
    from fastnn.core.types import Device, DTypeArgument

__all__ = ["GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


def shape_tuple(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)


class LayerNorm(Module):
    """Normalise every sample over its last axes: y = (x - mean) / sqrt(var + eps) w + b.

    Parameters
    ----------
    normalized_shape : int or sequence of ints
        The last axes of the input.
    eps : float, default 1e-5
    elementwise_affine : bool, default True
        Have a trained weight (and bias, with `bias`) of that shape.

    References
    ----------
    Ba et al., Layer normalization, arXiv:1607.06450.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
                 bias: bool = True, device: Device = None, dtype: DTypeArgument = None) -> None:
        dtype = float_dtype(device, dtype)
        super().__init__()
        self.normalized_shape = shape_tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.register_parameter("weight", empty_parameter(self.normalized_shape, dtype) if elementwise_affine else None)
        self.register_parameter("bias", empty_parameter(self.normalized_shape, dtype) if elementwise_affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight becomes 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
                f"bias={self.bias is not None}")


class RMSNorm(Module):
    """Divide every sample by the root mean square of its last axes: y = x / sqrt(mean(x^2) + eps) w.

    Parameters
    ----------
    normalized_shape : int or sequence of ints
    eps : float, optional
        None: the machine epsilon of the input's dtype.
    elementwise_affine : bool, default True
        Have a trained weight.

    References
    ----------
    Zhang and Sennrich, Root mean square layer normalization, arXiv:1910.07467.
    """

    weight: Parameter | None

    def __init__(self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True,
                 device: Device = None, dtype: DTypeArgument = None) -> None:
        dtype = float_dtype(device, dtype)
        super().__init__()
        self.normalized_shape = shape_tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.register_parameter("weight", empty_parameter(self.normalized_shape, dtype) if elementwise_affine else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight becomes 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Normalise groups of channels of every sample: y = (x - mean) / sqrt(var + eps) w + b.

    Parameters
    ----------
    num_groups : int
    num_channels : int
        A multiple of num_groups.
    eps : float, default 1e-5
    affine : bool, default True
        Have a trained weight (and bias, with `bias`) per channel.

    Notes
    -----
    Input (N, num_channels, ...).

    References
    ----------
    Wu and He, Group normalization, arXiv:1803.08494.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
                 device: Device = None, dtype: DTypeArgument = None, *, bias: bool = True) -> None:
        dtype = float_dtype(device, dtype)
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self.register_parameter("weight", empty_parameter(num_channels, dtype) if affine else None)
        self.register_parameter("bias", empty_parameter(num_channels, dtype) if affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight becomes 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class LocalResponseNorm(Module):
    """Divide by a power of the neighbouring channels' mean square: y = x / (k + alpha / size sum x^2)^beta.

    Parameters
    ----------
    size : int
        Channels in the window.
    alpha : float, default 1e-4
    beta : float, default 0.75
    k : float, default 1
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
