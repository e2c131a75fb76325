"""Activation functions as modules; the formulas are those of the functions in `fastnn.nn.functional`."""
from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import Parameter, from_array
from fastnn.nn.module import Module
from fastnn.ops import activation
from fastnn.ops.promotion import float_dtype

if TYPE_CHECKING:

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Device, DTypeArgument

__all__ = ["CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "Mish",
           "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh",
           "Tanhshrink", "Threshold"]


class _Inplace(Module):
    """What modules with only the option `inplace` share."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""

    def _with_inplace(self, text):
        return text + (", inplace=True" if self.inplace else "")


# ---- piecewise linear ------------------------------------------------------------------------------------------------
class ReLU(_Inplace):
    """max(0, x).

    Parameters
    ----------
    inplace : bool, default False
        Overwrite the input.

    Notes
    -----
    The gradient at 0 is 0; NaN stays NaN.

    Examples
    --------
    >>> from fastnn import nn
    >>> nn.ReLU(inplace=True)
    ReLU(inplace=True)
    """

    def forward(self, input: Tensor) -> Tensor:
        return activation.relu(input, self.inplace)


class LeakyReLU(_Inplace):
    """x where positive, else negative_slope * x.

    Parameters
    ----------
    negative_slope : float, default 0.01
    inplace : bool, default False
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        return activation.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return self._with_inplace(f"negative_slope={self.negative_slope}")


class RReLU(_Inplace):
    """x where positive, else a x with a drawn from U(lower, upper) in training, else a = (lower + upper) / 2.

    Parameters
    ----------
    lower : float, default 1/8
    upper : float, default 1/3
    inplace : bool, default False
    """

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.lower = lower
        self.upper = upper

    def forward(self, input: Tensor) -> Tensor:
        return activation.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return self._with_inplace(f"lower={self.lower}, upper={self.upper}")


class PReLU(Module):
    """x where positive, else weight * x, with a slope to learn (He et al., 2015).

    Parameters
    ----------
    num_parameters : int, default 1
        1, or the size of dimension 1 of the input.
    init : float, default 0.25
    device : None or "cpu"
    dtype : float32 or float64, default the default dtype

    Attributes
    ----------
    weight : Parameter (num_parameters,)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Device = None,
                 dtype: DTypeArgument = None) -> None:
        dtype = float_dtype(device, dtype)
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(from_array(np.full(num_parameters, init, dtype)))

    def reset_parameters(self) -> None:
        """Set all slopes to `init`."""
        self.weight.data.fill_(self.init)

    def forward(self, input: Tensor) -> Tensor:
        return activation.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Threshold(_Inplace):
    """x where x > threshold, else value.

    Parameters
    ----------
    threshold, value : float
    inplace : bool, default False
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.threshold = threshold
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return activation.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return self._with_inplace(f"threshold={self.threshold}, value={self.value}")


class Hardtanh(_Inplace):
    """x limited to min_val <= x <= max_val.

    Parameters
    ----------
    min_val : float, default -1
    max_val : float, default 1
        Larger than min_val.
    inplace : bool, default False
    min_value, max_value : float, optional
        Older names of `min_val` and `max_val`; a FutureWarning says so.
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False, min_value: float | None = None,
                 max_value: float | None = None) -> None:
        super().__init__(inplace)
        for name, value in (("min", min_value), ("max", max_value)):
            if value is not None:
                warnings.warn(f"keyword argument `{name}_value` is deprecated and renamed to `{name}_val`", FutureWarning, stacklevel=2)
        min_val, max_val = min_val if min_value is None else min_value, max_val if max_value is None else max_value
        self.min_val = min_val
        self.max_val = max_val
        if not max_val > min_val:
            raise AssertionError(f"Hardtanh: max_val must be larger than min_val, got {max_val} and {min_val}")

    def forward(self, input: Tensor) -> Tensor:
        return activation.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return self._with_inplace(f"min_val={self.min_val}, max_val={self.max_val}")


class ReLU6(Hardtanh):
    """min(6, max(0, x)).

    Parameters
    ----------
    inplace : bool, default False
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Hardsigmoid(_Inplace):
    """min(6, max(0, x + 3)) / 6.

    Parameters
    ----------
    inplace : bool, default False
    """

    def forward(self, input: Tensor) -> Tensor:
        return activation.hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        return ""


class Hardswish(Hardsigmoid):
    """x min(6, max(0, x + 3)) / 6.

    Parameters
    ----------
    inplace : bool, default False
    """

    def forward(self, input: Tensor) -> Tensor:
        return activation.hardswish(input, self.inplace)


class _Shrink(Module):
    """What Hardshrink and Softshrink share."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(_Shrink):
    """x where abs(x) > lambd, else 0.

    Parameters
    ----------
    lambd : float, default 0.5
    """

    def forward(self, input: Tensor) -> Tensor:
        return activation.hardshrink(input, self.lambd)


class Softshrink(_Shrink):
    """x moved by lambd towards 0, and 0 where abs(x) <= lambd.

    Parameters
    ----------
    lambd : float, default 0.5
        Not negative.
    """

    def forward(self, input: Tensor) -> Tensor:
        return activation.softshrink(input, self.lambd)


# ---- smooth ----------------------------------------------------------------------------------------------------------
class ELU(_Inplace):
    """x where positive, else alpha (e^x - 1).

    Parameters
    ----------
    alpha : float, default 1
    inplace : bool, default False
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        return activation.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return self._with_inplace(f"alpha={self.alpha}")


class CELU(ELU):
    """x where positive, else alpha (e^(x/alpha) - 1).

    Parameters
    ----------
    alpha : float, default 1
        Not 0.
    inplace : bool, default False
    """

    def forward(self, input: Tensor) -> Tensor:
        return activation.celu(input, self.alpha, self.inplace)


class SELU(_Inplace):
    """1.0507 elu(x, 1.67326): with lecun-normal weights activations keep mean 0 and variance 1.

    Parameters
    ----------
    inplace : bool, default False
    """

    def forward(self, input: Tensor) -> Tensor:
        return activation.selu(input, self.inplace)


class GELU(Module):
    """x Phi(x), Phi the normal distribution function.

    Parameters
    ----------
    approximate : "none" or "tanh", default "none"
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return activation.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(_Inplace):
    """x sigmoid(x).

    Parameters
    ----------
    inplace : bool, default False
    """

    def forward(self, input: Tensor) -> Tensor:
        return activation.silu(input, self.inplace)


class Mish(_Inplace):
    """x tanh(log(1 + e^x)).

    Parameters
    ----------
    inplace : bool, default False
    """

    def forward(self, input: Tensor) -> Tensor:
        return activation.mish(input, self.inplace)


class Sigmoid(Module):
    """1 / (1 + e^-x)."""

    def forward(self, input: Tensor) -> Tensor:
        return activation.sigmoid(input)


class Tanh(Module):
    """Hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        return activation.tanh(input)


class Softplus(Module):
    """log(1 + e^(beta x)) / beta; x itself where beta x > threshold.

    Parameters
    ----------
    beta : float, default 1
    threshold : float, default 20
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        return activation.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softsign(Module):
    """x / (1 + abs(x))."""

    def forward(self, input: Tensor) -> Tensor:
        return activation.softsign(input)


class Tanhshrink(Module):
    """x - tanh(x)."""

    def forward(self, input: Tensor) -> Tensor:
        return activation.tanhshrink(input)


class LogSigmoid(Module):
    """log(1 / (1 + e^-x))."""

    def forward(self, input: Tensor) -> Tensor:
        return activation.logsigmoid(input)


class GLU(Module):
    """p sigmoid(q), with p and q the halves of the input along a dimension (Dauphin et al., 2016).

    Parameters
    ----------
    dim : int, default -1
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return activation.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
