"""Dropout layers: identity in evaluation."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.nn.module import Module
from fastnn.ops import dropout as ops

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


class _DropoutNd(Module):
    """Base: holds p and inplace."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """Zeroes elements with probability p in training and scales the others by 1/(1 - p) (Srivastava et al. 2014).

    Parameters
    ----------
    p : float, default 0.5
    inplace : bool, default False

    Notes
    -----
    Masks are the library's own draws, not torch's; `fastnn.manual_seed` repeats them.
    """

    def forward(self, input: Tensor) -> Tensor:
        return ops.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_DropoutNd):
    """Zeroes whole channels of (N, C, L) or (C, L) with probability p in training; parameters as of `Dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return ops.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_DropoutNd):
    """Zeroes whole channels of (N, C, H, W) with probability p in training; parameters as of `Dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return ops.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_DropoutNd):
    """Zeroes whole channels of (N, C, D, H, W) or (C, D, H, W) with probability p in training; parameters as of `Dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return ops.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_DropoutNd):
    """Dropout that keeps mean and variance of SELU activations (Klambauer et al. 2017); parameters as of `Dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return ops.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_DropoutNd):
    """`AlphaDropout` of whole channels of (N, C, *); parameters as of `Dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return ops.feature_alpha_dropout(input, self.p, self.training)
