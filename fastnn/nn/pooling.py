"""Pooling layers."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.nn import functional as F
from fastnn.nn.conv import ntuple
from fastnn.nn.module import Module

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Dims

__all__ = ["AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
           "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "LPPool1d", "LPPool2d", "LPPool3d", "MaxPool1d",
           "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"]


class MaxPoolNd(Module):
    """Maximum over sliding windows of any rank."""

    def __init__(self, kernel_size: Dims, stride: Dims | None = None, padding: Dims = 0, dilation: Dims = 1,
                 return_indices: bool = False, ceil_mode: bool = False) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return self._function(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
                              self.return_indices)

    def extra_repr(self) -> str:
        return (f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
                f"ceil_mode={self.ceil_mode}")


class MaxPool1d(MaxPoolNd):
    """Maximum over sliding windows: input (N, C, L) or (C, L).  Parameters as for `MaxPool2d`."""

    _function = staticmethod(F.max_pool1d)


class MaxPool2d(MaxPoolNd):
    """Maximum over sliding windows.

    Parameters
    ----------
    kernel_size : int or pair
    stride : int or pair, default kernel_size
    padding : int or pair, default 0
        Implicit -inf on both sides, at most half the kernel.
    dilation : int or pair, default 1
    return_indices : bool, default False
        Also return the positions of the maxima, for `MaxUnpool2d`.
    ceil_mode : bool, default False
        Round the output size up.

    Notes
    -----
    Input (N, C, H, W) or (C, H, W); output height floor((H + 2 p - d (k - 1) - 1) / s) + 1.
    """

    _function = staticmethod(F.max_pool2d)


class MaxPool3d(MaxPoolNd):
    """Maximum over sliding windows: input (N, C, D, H, W) or (C, D, H, W).  Parameters as for `MaxPool2d`."""

    _function = staticmethod(F.max_pool3d)


class MaxUnpoolNd(Module):
    """Values put back where a max-pool found them, of any rank."""

    _axes = 0

    def __init__(self, kernel_size: Dims, stride: Dims | None = None, padding: Dims = 0) -> None:
        super().__init__()
        self.kernel_size = ntuple(kernel_size, self._axes)
        self.stride = ntuple(kernel_size if stride is None else stride, self._axes)
        self.padding = ntuple(padding, self._axes)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return self._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(MaxUnpoolNd):
    """Undo `MaxPool1d`.  Parameters as for `MaxUnpool2d`."""

    _axes = 1
    _function = staticmethod(F.max_unpool1d)


class MaxUnpool2d(MaxUnpoolNd):
    """Put values back where `MaxPool2d` found them; zeros elsewhere.

    Parameters
    ----------
    kernel_size : int or pair
    stride : int or pair, default kernel_size
    padding : int or pair, default 0

    Notes
    -----
    Called with the pooled tensor and the indices of ``MaxPool2d(..., return_indices=True)``; `output_size` chooses among the
    sizes that pool to the same one.
    """

    _axes = 2
    _function = staticmethod(F.max_unpool2d)


class MaxUnpool3d(MaxUnpoolNd):
    """Undo `MaxPool3d`.  Parameters as for `MaxUnpool2d`."""

    _axes = 3
    _function = staticmethod(F.max_unpool3d)


class AvgPool1d(Module):
    """Average over sliding windows: input (N, C, L) or (C, L).  Parameters as for `AvgPool2d`."""

    def __init__(self, kernel_size: Dims, stride: Dims | None = None, padding: Dims = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True) -> None:
        super().__init__()
        self.kernel_size = ntuple(kernel_size, 1)
        self.stride = ntuple(kernel_size if stride is None else stride, 1)
        self.padding = ntuple(padding, 1)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPoolNd(Module):
    """Average over sliding windows of two or three axes."""

    def __init__(self, kernel_size: Dims, stride: Dims | None = None, padding: Dims = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True, divisor_override: int | None = None) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
                              self.divisor_override)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(AvgPoolNd):
    """Average over sliding windows.

    Parameters
    ----------
    kernel_size : int or pair
    stride : int or pair, default kernel_size
    padding : int or pair, default 0
    ceil_mode : bool, default False
    count_include_pad : bool, default True
        Does the padding count in the divisor?
    divisor_override : int, optional
        Divide by this instead of the size of the window.
    """

    _function = staticmethod(F.avg_pool2d)


class AvgPool3d(AvgPoolNd):
    """Average over sliding windows: input (N, C, D, H, W) or (C, D, H, W).  Parameters as for `AvgPool2d`."""

    _function = staticmethod(F.avg_pool3d)


class LPPoolNd(Module):
    """Power sum over sliding windows of any rank."""

    def __init__(self, norm_type: float, kernel_size: Dims, stride: Dims | None = None,
                 ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
                f"ceil_mode={self.ceil_mode}")


class LPPool1d(LPPoolNd):
    """Power sum over sliding windows of one axis.  Parameters as for `LPPool2d`."""

    _function = staticmethod(F.lp_pool1d)


class LPPool2d(LPPoolNd):
    """(sum of x^p)^(1/p) over sliding windows.

    Parameters
    ----------
    norm_type : float
        The power p: 1 is the sum, infinity would be the maximum.
    kernel_size : int or pair
    stride : int or pair, default kernel_size
    ceil_mode : bool, default False
    """

    _function = staticmethod(F.lp_pool2d)


class LPPool3d(LPPoolNd):
    """Power sum over sliding windows of three axes.  Parameters as for `LPPool2d`."""

    _function = staticmethod(F.lp_pool3d)


class AdaptiveAvgPoolNd(Module):
    """Average over a given number of windows, of any rank."""

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(AdaptiveAvgPoolNd):
    """Average over `output_size` windows of the last axis."""

    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(AdaptiveAvgPoolNd):
    """Average over a given number of windows, whatever the size of the input.

    Parameters
    ----------
    output_size : int, None or pair of them
        None keeps the size of an axis.
    """

    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(AdaptiveAvgPoolNd):
    """Average over `output_size` windows of the last three axes."""

    _function = staticmethod(F.adaptive_avg_pool3d)


class AdaptiveMaxPoolNd(Module):
    """Maximum over a given number of windows, of any rank."""

    def __init__(self, output_size: int | Sequence[int | None] | None, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return self._function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(AdaptiveMaxPoolNd):
    """Maximum over `output_size` windows of the last axis."""

    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(AdaptiveMaxPoolNd):
    """Maximum over a given number of windows, whatever the size of the input.

    Parameters
    ----------
    output_size : int, None or pair of them
        None keeps the size of an axis.
    return_indices : bool, default False
        Also return the positions of the maxima.
    """

    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(AdaptiveMaxPoolNd):
    """Maximum over `output_size` windows of the last three axes."""

    _function = staticmethod(F.adaptive_max_pool3d)
