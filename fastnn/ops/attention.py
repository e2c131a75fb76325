"""Attention: softmax(q k^T / sqrt(d)) v, made of products and softmax."""
from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import from_array
from fastnn.ops.dropout import dropout
from fastnn.ops.elementwise import where
from fastnn.ops.joining import cat, repeat_interleave
from fastnn.ops.linear import matmul
from fastnn.ops.promotion import require_tensors, type_name
from fastnn.ops.softmax import softmax

if TYPE_CHECKING:
    from fastnn.core.tensor import Tensor
    from fastnn.core.types import DType

__all__ = ["scaled_dot_product_attention"]


ROWS = 64       # queries that a causal attention does at once: all where it has fewer than three times as many, 2 ROWS from 8 ROWS on


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None, scale: float | None = None) -> Tensor:
    """softmax(q k^T * scale + mask) over the keys."""
    scores = matmul(query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale), key.mT)
    return softmax(scores if mask is None else scores + mask, -1)


def causal_attention(query: Tensor, key: Tensor, value: Tensor, dropout_p: float, scale: float | None) -> Tensor:
    """Attention to one's own position and those before it, by blocks of queries: of the scores above the diagonal few are computed."""
    length = query.shape[-2]
    rows = max(1, length) if length < 3 * ROWS else ROWS if length < 8 * ROWS else 2 * ROWS
    masks = causal_mask(rows, -(-length // rows) * rows, query.dtype)
    blocks = []
    for start in range(0, max(1, length), rows):
        stop = min(start + rows, length)
        k, v = rows_of(key, 0, stop), rows_of(value, 0, stop)
        mask = rows_of(masks, 0, stop - start)[:, -rows - start:]
        weights = attention_weights(rows_of(query, start, stop), k, mask[:, :k.shape[-2]], scale)
        blocks.append(matmul(dropout(weights, dropout_p) if dropout_p else weights, v))
    return blocks[0] if len(blocks) == 1 else cat(blocks, -2)


def rows_of(x: Tensor, start: int, stop: int) -> Tensor:
    """Rows of matrices; the tensor itself where that are all it has."""
    return x if start == 0 and stop >= x.shape[-2] else x.narrow(-2, start, stop - start)


# Constants lie where they were, so that a compiled step knows them again.
@lru_cache(maxsize=16)
def causal_mask(rows: int, columns: int, dtype: DType) -> Tensor:
    """0 on and below the diagonal that ends in the lower right corner, -inf above: its last n columns are the mask of the rows up to n."""
    return from_array(np.triu(np.full((rows, columns), -np.inf, dtype), columns - rows + 1))


@cache
def zero(dtype: DType) -> Tensor:
    """The number 0."""
    return from_array(np.zeros((), dtype))


def added_to_scores(mask: Tensor, dtype: DType, hides: bool = False) -> Tensor:
    """A bool mask as numbers to add, 0 and -inf; it is True where a query may look, or what `hides` keys from it."""
    return where(mask, float("-inf"), zero(dtype)) if hides else where(mask, zero(dtype), float("-inf"))


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False) -> Tensor:
    """softmax(q k^T * scale + mask) v: for each query the values, weighted by how well their keys fit.

    Parameters
    ----------
    query : Tensor (*, L, E)
    key : Tensor (*, S, E)
    value : Tensor (*, S, V)
    attn_mask : Tensor, broadcasts to (*, L, S), optional
        bool: True where a query may look; float: added to the scores.  A query that may look nowhere gets zeros.
    dropout_p : float, default 0.0
        Of the weights; applied whenever it is not zero.
    is_causal : bool, default False
        A query looks at its own position and those before it; excludes `attn_mask`.
    scale : float, default 1 / sqrt(E)
    enable_gqa : bool, default False
        Let groups of query heads (axis -3) share a head of keys and values.

    References
    ----------
    A. Vaswani et al.: Attention Is All You Need, NeurIPS 2017.

    Examples
    --------
    >>> import fastnn
    >>> x = fastnn.ones(2, 3, 4)
    >>> fastnn.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True).shape
    torch.Size([2, 3, 4])
    """
    require_tensors("scaled_dot_product_attention", query=query, key=key, value=value)
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError("Expected query, key, and value to have the same dtype, but got query.dtype: "
                           f"{type_name(query.dtype)} key.dtype: {type_name(key.dtype)} and value.dtype: {type_name(value.dtype)} instead.")
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError("Expected query, key, and value to all be at least 2 dimensional, but got "
                           f"query.dim: {query.ndim}, key.dim: {key.ndim} and value.dim: {value.ndim} instead.")
    if attn_mask is not None and attn_mask.dtype not in (np.bool_, query.dtype):
        raise RuntimeError("Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
                           f"{type_name(attn_mask.dtype)} and  query.dtype: {type_name(query.dtype)} instead.")
    if is_causal:
        if attn_mask is not None:
            raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if enable_gqa:
        key = repeat_interleave(key, query.shape[-3] // key.shape[-3], -3)
        value = repeat_interleave(value, query.shape[-3] // value.shape[-3], -3)
    if is_causal:
        return causal_attention(query, key, value, dropout_p, scale)
    blind = None
    if attn_mask is not None:
        if attn_mask.dtype == np.bool_:
            attn_mask = added_to_scores(attn_mask, query.dtype)
        if key.shape[-2]:       # all scores of a query may be -inf: it gets zeros, and no NaN for a gradient
            blind = attn_mask.detach().amax(-1, keepdim=True) == float("-inf")
            attn_mask = attn_mask.masked_fill(blind, 0.0)
    weights = attention_weights(query, key, attn_mask, scale)
    if blind is not None:
        weights = weights.masked_fill(blind, 0.0)
    return matmul(dropout(weights, dropout_p) if dropout_p else weights, value)
