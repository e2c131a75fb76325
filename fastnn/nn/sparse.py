"""Embedding layers."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.autograd import no_grad
from fastnn.core.tensor import Parameter
from fastnn.nn import functional as F
from fastnn.nn import init
from fastnn.nn.linear import empty_parameter
from fastnn.nn.module import Module
from fastnn.ops.promotion import float_dtype

if TYPE_CHECKING:
    from typing import Self

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Device, DTypeArgument

__all__ = ["Embedding", "EmbeddingBag"]


class EmbeddingBase(Module):
    """The matrix of an embedding and its row of zeros."""

    weight: Parameter

    def _build(self, num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, weight,
               freeze, device, dtype):
        dtype = float_dtype(device, dtype)
        if sparse:
            raise NotImplementedError(f"{type(self).__name__}: sparse=True is not supported, gradients are dense")
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise AssertionError("Padding_idx must be within num_embeddings")
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        if weight is None:
            self.weight = empty_parameter((num_embeddings, embedding_dim), dtype)
            self.weight.requires_grad = not freeze
            self.reset_parameters()
        else:
            if tuple(weight.shape) != (num_embeddings, embedding_dim):
                raise AssertionError("Shape of weight does not match num_embeddings and embedding_dim")
            self.weight = Parameter(weight, requires_grad=not freeze)

    def reset_parameters(self) -> None:
        """Draw the matrix from N(0, 1); the padding row becomes 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0

    def _described(self):
        """The parts of extra_repr that both layers have."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        norm = "" if self.max_norm is None else f", max_norm={self.max_norm}"
        return text, padding, norm


class Embedding(EmbeddingBase):
    """Look up rows of a trained matrix by index.

    Parameters
    ----------
    num_embeddings : int
        Rows V.
    embedding_dim : int
        Columns D.
    padding_idx : int, optional
        A row that starts as zeros and gets no gradient.
    max_norm : float, optional
        Rows in use with a larger norm are scaled down to it, in place.
    norm_type : float, default 2
    scale_grad_by_freq : bool, default False
        Divide a row's gradient by how often it is used in the batch.
    sparse : bool
        Only False: gradients are dense.

    Attributes
    ----------
    weight : Parameter (V, D)
        Drawn from N(0, 1).

    Notes
    -----
    Input of integers (...), output (..., D).
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
                 max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
                 sparse: bool = False, _weight: Tensor | None = None, _freeze: bool = False, device: Device = None,
                 dtype: DTypeArgument = None) -> None:
        self._build(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight,
                    _freeze, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq,
                           self.sparse)

    def extra_repr(self) -> str:
        text, padding, norm = self._described()
        kind = "" if self.norm_type == 2 else f", norm_type={self.norm_type}"
        by = f", scale_grad_by_freq={self.scale_grad_by_freq}" if self.scale_grad_by_freq else ""
        return text + padding + norm + kind + by

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None,
                        max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
                        sparse: bool = False) -> Self:
        """Make a layer around a given (V, D) tensor, untrained with freeze=True."""
        if embeddings.ndim != 2:
            raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
        rows, width = embeddings.shape
        return cls(rows, width, padding_idx=padding_idx, max_norm=max_norm, norm_type=norm_type,
                   scale_grad_by_freq=scale_grad_by_freq, sparse=sparse, _weight=embeddings, _freeze=freeze)


class EmbeddingBag(EmbeddingBase):
    """Sum, average or maximise the embeddings of bags of indices.

    Parameters
    ----------
    mode : {'mean', 'sum', 'max'}
    include_last_offset : bool, default False
        The offsets end with the number of indices.
    num_embeddings, embedding_dim, max_norm, norm_type, scale_grad_by_freq, sparse, padding_idx
        As `Embedding`; the padding index is left out of the bags.

    Notes
    -----
    Input of integers (B, N), or (N,) with offsets (B,); output (B, D).
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0,
                 scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
                 _weight: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None,
                 device: Device = None, dtype: DTypeArgument = None) -> None:
        self._build(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight,
                    False, device, dtype)
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return F.embedding_bag(input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode,
                               self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx)

    def extra_repr(self) -> str:
        text, padding, norm = self._described()
        kind = "" if self.norm_type == 2 else f", norm_type={self.norm_type}"
        by = f", scale_grad_by_freq={self.scale_grad_by_freq}" if self.scale_grad_by_freq else ""
        return f"{text}{norm}{kind}{by}, mode={self.mode!r}{padding}"

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, max_norm: float | None = None,
                        norm_type: float = 2.0, scale_grad_by_freq: bool = False, mode: str = "mean",
                        sparse: bool = False, include_last_offset: bool = False,
                        padding_idx: int | None = None) -> Self:
        """Make a layer around a given (V, D) tensor, untrained with freeze=True."""
        if embeddings.ndim != 2:
            raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
        rows, width = embeddings.shape
        bag = cls(rows, width, max_norm=max_norm, norm_type=norm_type, scale_grad_by_freq=scale_grad_by_freq, mode=mode,
                  sparse=sparse, _weight=embeddings, include_last_offset=include_last_offset, padding_idx=padding_idx)
        bag.weight.requires_grad = not freeze
        return bag
