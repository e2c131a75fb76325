"""Affine layers."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fastnn.core.storage import new_array
from fastnn.core.tensor import Parameter, from_array
from fastnn.nn import functional as F
from fastnn.nn import init
from fastnn.nn.lazy import LazyLayer
from fastnn.nn.module import Module
from fastnn.ops.promotion import float_dtype

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Device, Dims, DType, DTypeArgument

__all__ = ["Bilinear", "Identity", "LazyLinear", "Linear"]


def empty_parameter(shape: Dims, dtype: DType) -> Parameter:
    """A Parameter whose values are still to be drawn."""
    return Parameter(from_array(new_array(shape, dtype)))


def empty_weight(rows: int, columns: int, dtype: DType) -> Parameter:
    """A Parameter (rows, columns) in (columns, rows) memory: the forward product reads it without turning it."""
    return Parameter(from_array(new_array((rows, columns), dtype, (1, 0))))


class Identity(Module):
    """Gives its input back; arguments are accepted and ignored."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Linear(Module):
    r"""y = x W^T + b.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool, default True
    device : None or "cpu"
    dtype : float32 or float64, default the default dtype

    Attributes
    ----------
    weight : Parameter (out_features, in_features)
        Drawn from U(-k, k), k = 1/sqrt(in_features).
    bias : Parameter (out_features,) or None
        Drawn likewise.

    Notes
    -----
    Input (*, in_features), output (*, out_features).
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Device = None,
                 dtype: DTypeArgument = None) -> None:
        dtype = float_dtype(device, dtype)
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = empty_weight(out_features, in_features, dtype)
        self.register_parameter("bias", empty_parameter(out_features, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    r"""y_k = x1^T A_k x2 + b_k.

    Parameters
    ----------
    in1_features, in2_features, out_features : int
    bias : bool, default True
    device : None or "cpu"
    dtype : float32 or float64, default the default dtype

    Attributes
    ----------
    weight : Parameter (out_features, in1_features, in2_features)
        Drawn from U(-k, k), k = 1/sqrt(in1_features).
    bias : Parameter (out_features,) or None
        Drawn likewise.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True,
                 device: Device = None, dtype: DTypeArgument = None) -> None:
        dtype = float_dtype(device, dtype)
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got {in1_features}")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = empty_parameter((out_features, in1_features, in2_features), dtype)
        self.register_parameter("bias", empty_parameter(out_features, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}")


class LazyLinear(LazyLayer, Linear):
    """A Linear that takes in_features from its first input; it then becomes a `Linear`.

    Parameters
    ----------
    out_features : int
    bias : bool, default True
    device : None or "cpu"
    dtype : float32 or float64, default the default dtype
    """

    _plain = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Device = None,
                 dtype: DTypeArgument = None) -> None:
        super().__init__(0, 0, bias, device, dtype)
        self.out_features = out_features
        self._wait()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, once their shapes are known."""
        if self.in_features:
            super().reset_parameters()

    def _features(self, input):
        return input.shape[-1]

    def _stored_features(self, state_dict, prefix):
        weight = state_dict.get(prefix + "weight")
        return None if weight is None else weight.shape[1]

    def _resize(self, features):
        self.in_features = features
        dtype = self.weight.dtype
        self.weight.data = empty_weight(self.out_features, features, dtype)
        if self.bias is not None:
            self.bias.data = empty_parameter(self.out_features, dtype)
