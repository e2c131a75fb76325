"""Softmax layers."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.nn import functional as F
from fastnn.nn.module import Module

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor

__all__ = ["LogSoftmax", "Softmax", "Softmax2d", "Softmin"]


class AxisLayer(Module):
    """A layer with one parameter, the axis it works along."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(AxisLayer):
    """exp(x_i) / sum_j exp(x_j) along an axis.

    Parameters
    ----------
    dim : int
        Left out, torch's old choice (0 for 0-, 1- and 3-D input, else 1) with a warning.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)


class LogSoftmax(AxisLayer):
    """x_i - log sum_j exp(x_j) along an axis; see `Softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)


class Softmin(AxisLayer):
    """Softmax of -x along an axis; see `Softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim)


class Softmax2d(Module):
    """Softmax over the channels of images (N, C, H, W) or (C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, -3)
