"""Layers between images and columns of patches."""
from fastnn.nn import functional as F
from fastnn.nn.module import Module

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

    def __init__(self, output_size, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input):
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self):
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

    def __init__(self, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input):
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
