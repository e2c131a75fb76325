"""Convolution layers."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.storage import new_array
from fastnn.core.tensor import Parameter, Size, from_array
from fastnn.nn import functional as F
from fastnn.nn import init
from fastnn.nn.lazy import LazyLayer
from fastnn.nn.linear import empty_parameter
from fastnn.nn.module import Module
from fastnn.ops.promotion import float_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Device, Dims, DTypeArgument

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "LazyConv1d", "LazyConv2d",
           "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d"]

PADDING_MODES = {"zeros", "reflect", "replicate", "circular"}


def ntuple(value, n):
    """`value` for each of n axes."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * n


def empty_weight(shape, dtype):
    """A Parameter of a torch-shaped weight (out, in, kernel...) whose memory order is (kernel..., in, out)."""
    return Parameter(from_array(new_array(shape, dtype, (*range(2, len(shape)), 1, 0))))


class ConvBase(Module):
    """What convolutions and transposed convolutions share; `_axes` is the number of spatial axes."""

    weight: Parameter
    bias: Parameter | None

    _axes = 0
    _transposed = False

    def _build(self, in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
               padding_mode, device, dtype):
        n = self._axes
        dtype = float_dtype(device, dtype)
        super().__init__()
        kernel_size, stride, dilation = ntuple(kernel_size, n), ntuple(stride, n), ntuple(dilation, n)
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if not all(isinstance(k, (int, np.integer)) for k in kernel_size):
            raise TypeError(f"{type(self).__name__}: kernel_size must be an int or {n} ints, but got {kernel_size}")
        if min(in_channels, out_channels, *kernel_size) < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension: {type(self).__name__} of in_channels={in_channels}, "
                               f"out_channels={out_channels}, kernel_size={kernel_size}")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}")
            if padding == "same" and any(s != 1 for s in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        else:
            padding = ntuple(padding, n)
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"padding_mode must be one of {PADDING_MODES}, but got padding_mode={padding_mode!r}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = self._transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        self.weight = empty_weight(self._weight_shape(), dtype)
        self.register_parameter("bias", empty_parameter(out_channels, dtype) if bias else None)
        self.reset_parameters()

    def _weight_shape(self):
        rows, columns = (self.in_channels, self.out_channels) if self._transposed else (self.out_channels, self.in_channels)
        return (rows, columns // self.groups, *self.kernel_size)

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        n = self._axes
        if self.padding != (0,) * n:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * n:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * n:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class ConvNd(ConvBase):
    """A convolution of any rank."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Dims, stride: Dims = 1,
                 padding: Dims | str = 0, dilation: Dims = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", device: Device = None, dtype: DTypeArgument = None) -> None:
        self._build(in_channels, out_channels, kernel_size, stride, padding, dilation, (0,) * self._axes, groups, bias,
                    padding_mode, device, dtype)

    def _outer_padding(self):
        """The padding as F.pad takes it: last axis first, left and right."""
        widths = []
        for i in reversed(range(self._axes)):
            if self.padding == "valid":
                left = right = 0
            elif self.padding == "same":
                total = self.dilation[i] * (self.kernel_size[i] - 1)
                left, right = total // 2, total - total // 2
            else:
                left = right = self.padding[i]
            widths += [left, right]
        return widths

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input, weight, bias):
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._outer_padding(), mode=self.padding_mode)
            padding = 0
        return self._function(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(ConvNd):
    """One-dimensional convolution: input (N, C, L) or (C, L).  Parameters as for `Conv2d`."""

    _axes = 1
    _function = staticmethod(F.conv1d)


class Conv2d(ConvNd):
    r"""Two-dimensional convolution (cross-correlation).

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or pair
    stride : int or pair, default 1
    padding : int, pair, 'valid' or 'same', default 0
    dilation : int or pair, default 1
    groups : int, default 1
        Channels are cut into `groups` convolutions side by side.
    bias : bool, default True
    padding_mode : 'zeros', 'reflect', 'replicate' or 'circular', default 'zeros'
    device : None or "cpu"
    dtype : float32 or float64, default the default dtype

    Attributes
    ----------
    weight : Parameter (out_channels, in_channels / groups, kH, kW)
        Drawn from U(-k, k), k = 1/sqrt(in_channels / groups * kH * kW); kept in the memory order (kH, kW, in, out).
    bias : Parameter (out_channels,) or None
        Drawn likewise.

    Notes
    -----
    Input (N, C, H, W) or (C, H, W); output (N, O, H', W') with H' = floor((H + 2 p - d (k - 1) - 1) / s) + 1.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.nn.Conv2d(3, 8, 3, padding=1)(fastnn.ones(2, 3, 5, 7)).shape
    torch.Size([2, 8, 5, 7])
    """

    _axes = 2
    _function = staticmethod(F.conv2d)


class Conv3d(ConvNd):
    """Three-dimensional convolution: input (N, C, D, H, W) or (C, D, H, W).  Parameters as for `Conv2d`."""

    _axes = 3
    _function = staticmethod(F.conv3d)


class ConvTransposeNd(ConvBase):
    """A transposed convolution of any rank."""

    _transposed = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Dims, stride: Dims = 1, padding: Dims = 0,
                 output_padding: Dims = 0, groups: int = 1, bias: bool = True, dilation: Dims = 1,
                 padding_mode: str = "zeros", device: Device = None, dtype: DTypeArgument = None) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        self._build(in_channels, out_channels, kernel_size, stride, padding, dilation, ntuple(output_padding, self._axes),
                    groups, bias, padding_mode, device, dtype)

    def _output_padding(self, input, output_size):
        """The output padding that gives `output_size`."""
        n = self._axes
        if output_size is None:
            return self.output_padding
        batched = input.dim() == n + 2
        wanted = list(output_size)
        if len(wanted) == n + (2 if batched else 1):
            wanted = wanted[-n:]
        if len(wanted) != n:
            raise ValueError(f"ConvTranspose{n}D: for {input.dim()}D input, output_size must have {n} or "
                             f"{n + (2 if batched else 1)} elements (got {len(wanted)})")
        shape = input.shape[-n:]
        low = [(shape[i] - 1) * self.stride[i] - 2 * self.padding[i] + self.dilation[i] * (self.kernel_size[i] - 1) + 1
               for i in range(n)]
        high = [low[i] + self.stride[i] - 1 for i in range(n)]
        if any(not low[i] <= wanted[i] <= high[i] for i in range(n)):
            raise ValueError(f"requested an output size of {output_size}, but valid sizes range from {low} to {high} (for an "
                             f"input of {Size(shape)})")
        return tuple(wanted[i] - low[i] for i in range(n))

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return self._function(input, self.weight, self.bias, self.stride, self.padding,
                              self._output_padding(input, output_size), self.groups, self.dilation)


class ConvTranspose1d(ConvTransposeNd):
    """One-dimensional transposed convolution.  Parameters as for `ConvTranspose2d`."""

    _axes = 1
    _function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(ConvTransposeNd):
    """Two-dimensional transposed convolution: the input gradient of `Conv2d` as a layer, to enlarge maps.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or pair
    stride : int or pair, default 1
    padding : int or pair, default 0
    output_padding : int or pair, default 0
        Rows and columns added on the far side; or give `output_size` to the call.
    groups, bias, dilation, device, dtype
        As for `Conv2d`.

    Attributes
    ----------
    weight : Parameter (in_channels, out_channels / groups, kH, kW)
    bias : Parameter (out_channels,) or None

    Notes
    -----
    Output height (H - 1) s - 2 p + d (k - 1) + output_padding + 1.
    """

    _axes = 2
    _function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(ConvTransposeNd):
    """Three-dimensional transposed convolution.  Parameters as for `ConvTranspose2d`."""

    _axes = 3
    _function = staticmethod(F.conv_transpose3d)


class LazyConvBase(LazyLayer, ConvBase):
    """A convolution that takes in_channels from its first input."""

    def _build(self, in_channels, out_channels, *rest):
        super()._build(in_channels, out_channels, *rest)
        self._wait()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew, once their shapes are known."""
        if self.in_channels:
            super().reset_parameters()

    def _features(self, input):
        if input.ndim not in (self._axes + 1, self._axes + 2):
            raise RuntimeError(f"Expected {self._axes + 1}D (unbatched) or {self._axes + 2}D (batched) input to {type(self).__name__}, but "
                               f"got input of size: {list(input.shape)}")
        return input.shape[-self._axes - 1]

    def _stored_features(self, state_dict, prefix):
        weight = state_dict.get(prefix + "weight")
        if weight is None:
            return None
        return weight.shape[0] if self._transposed else weight.shape[1] * self.groups

    def _resize(self, features):
        if features % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        self.in_channels = features
        self.weight.data = empty_weight(self._weight_shape(), self.weight.dtype)


class LazyConvNd(LazyConvBase, ConvNd):
    """A lazy convolution of any rank."""

    def __init__(self, out_channels: int, kernel_size: Dims, stride: Dims = 1, padding: Dims | str = 0, dilation: Dims = 1,
                 groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Device = None,
                 dtype: DTypeArgument = None) -> None:
        super().__init__(0, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)


class LazyConv1d(LazyConvNd, Conv1d):
    """A Conv1d that takes in_channels from its first input; it then becomes a `Conv1d`."""

    _plain = Conv1d


class LazyConv2d(LazyConvNd, Conv2d):
    """A Conv2d that takes in_channels from its first input; it then becomes a `Conv2d`.

    Parameters
    ----------
    out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        As for `Conv2d`.

    Examples
    --------
    >>> import fastnn
    >>> layer = fastnn.nn.LazyConv2d(8, 3, padding=1)
    >>> layer(fastnn.ones(2, 3, 5, 7)).shape, layer
    (torch.Size([2, 8, 5, 7]), Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1)))
    """

    _plain = Conv2d


class LazyConv3d(LazyConvNd, Conv3d):
    """A Conv3d that takes in_channels from its first input; it then becomes a `Conv3d`."""

    _plain = Conv3d


class LazyConvTransposeNd(LazyConvBase, ConvTransposeNd):
    """A lazy transposed convolution of any rank."""

    def __init__(self, out_channels: int, kernel_size: Dims, stride: Dims = 1, padding: Dims = 0, output_padding: Dims = 0,
                 groups: int = 1, bias: bool = True, dilation: Dims = 1, padding_mode: str = "zeros", device: Device = None,
                 dtype: DTypeArgument = None) -> None:
        super().__init__(0, out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device,
                         dtype)


class LazyConvTranspose1d(LazyConvTransposeNd, ConvTranspose1d):
    """A ConvTranspose1d that takes in_channels from its first input; it then becomes a `ConvTranspose1d`."""

    _plain = ConvTranspose1d


class LazyConvTranspose2d(LazyConvTransposeNd, ConvTranspose2d):
    """A ConvTranspose2d that takes in_channels from its first input; it then becomes a `ConvTranspose2d`."""

    _plain = ConvTranspose2d


class LazyConvTranspose3d(LazyConvTransposeNd, ConvTranspose3d):
    """A ConvTranspose3d that takes in_channels from its first input; it then becomes a `ConvTranspose3d`."""

    _plain = ConvTranspose3d
