"""Padding layers: one class per mode, one name per rank."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.nn import functional as F
from fastnn.nn.conv import ntuple
from fastnn.nn.module import Module

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Dims

__all__ = ["CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d", "ReflectionPad1d",
           "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d", "ReplicationPad3d", "ZeroPad1d",
           "ZeroPad2d", "ZeroPad3d"]


class PadNd(Module):
    """Padding of the last axes; `padding` is one width or (left, right) of the last axis, then of the one before, ..."""

    _axes = 0
    _mode = "constant"

    def __init__(self, padding: Dims) -> None:
        super().__init__()
        self.padding = ntuple(padding, 2 * self._axes)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPadNd(PadNd):
    """Padding by a value."""

    def __init__(self, padding: Dims, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ZeroPadNd(ConstantPadNd):
    """Padding by zeros."""

    def __init__(self, padding: Dims) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ConstantPad1d(ConstantPadNd):
    """Pad the last axis with `value`."""

    _axes = 1


class ConstantPad2d(ConstantPadNd):
    """Pad the last two axes with `value`.

    Parameters
    ----------
    padding : int or (left, right, top, bottom)
        Negative widths crop.
    value : float
    """

    _axes = 2


class ConstantPad3d(ConstantPadNd):
    """Pad the last three axes with `value`."""

    _axes = 3


class ZeroPad1d(ZeroPadNd):
    """Pad the last axis with zeros."""

    _axes = 1


class ZeroPad2d(ZeroPadNd):
    """Pad the last two axes with zeros: padding is an int or (left, right, top, bottom)."""

    _axes = 2


class ZeroPad3d(ZeroPadNd):
    """Pad the last three axes with zeros."""

    _axes = 3


class ReflectionPad1d(PadNd):
    """Mirror the last axis at its ends, without repeating the edge."""

    _axes, _mode = 1, "reflect"


class ReflectionPad2d(PadNd):
    """Mirror the last two axes at their ends: padding is an int or (left, right, top, bottom), each below the size."""

    _axes, _mode = 2, "reflect"


class ReflectionPad3d(PadNd):
    """Mirror the last three axes at their ends."""

    _axes, _mode = 3, "reflect"


class ReplicationPad1d(PadNd):
    """Repeat the ends of the last axis."""

    _axes, _mode = 1, "replicate"


class ReplicationPad2d(PadNd):
    """Repeat the edges of the last two axes: padding is an int or (left, right, top, bottom)."""

    _axes, _mode = 2, "replicate"


class ReplicationPad3d(PadNd):
    """Repeat the edges of the last three axes."""

    _axes, _mode = 3, "replicate"


class CircularPad1d(PadNd):
    """Wrap the last axis around."""

    _axes, _mode = 1, "circular"


class CircularPad2d(PadNd):
    """Wrap the last two axes around: padding is an int or (left, right, top, bottom), each at most the size."""

    _axes, _mode = 2, "circular"


class CircularPad3d(PadNd):
    """Wrap the last three axes around."""

    _axes, _mode = 3, "circular"
