"""Layers between images and columns of patches."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.nn import functional as F
from fastnn.nn.module import Module

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Dims

__all__ = ["Fold", "Unfold"]


class Fold(Module):
    """Add columns of patches up to an image: (N, C kH kW, patches) to (N, C, H, W).

    Parameters
    ----------
    output_size : int or pair
    kernel_size : int or pair
    dilation : int or pair, default 1
    padding : int or pair, default 0
    stride : int or pair, default 1
    """

    def __init__(self, output_size: Dims, kernel_size: Dims, dilation: Dims = 1, padding: Dims = 0,
                 stride: Dims = 1) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
                f"padding={self.padding}, stride={self.stride}")


class Unfold(Module):
    """Copy every patch under a sliding window into a column: (N, C, H, W) to (N, C kH kW, patches).

    Parameters
    ----------
    kernel_size : int or pair
    dilation : int or pair, default 1
    padding : int or pair, default 0
    stride : int or pair, default 1
    """

    def __init__(self, kernel_size: Dims, dilation: Dims = 1, padding: Dims = 0, stride: Dims = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
