"""Attention as a layer."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.nn import functional as F
from fastnn.nn import init
from fastnn.nn.linear import Linear, empty_parameter, empty_weight
from fastnn.nn.module import Module
from fastnn.ops.attention import added_to_scores, attention_weights
from fastnn.ops.creation import zeros
from fastnn.ops.joining import cat
from fastnn.ops.linear import matmul
from fastnn.ops.promotion import float_dtype

if TYPE_CHECKING:
    from fastnn.core.tensor import Parameter, Tensor
    from fastnn.core.types import Device, DType, DTypeArgument

__all__ = ["MultiheadAttention"]


def float_mask(mask: Tensor | None, name: str, dtype: DType) -> Tensor | None:
    """A mask as numbers to add: True, which hides a key, becomes -inf."""
    if mask is None or mask.dtype.kind == "f":
        return mask
    if mask.dtype != np.bool_:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    return added_to_scores(mask, dtype, hides=True)


class MultiheadAttention(Module):
    r"""Several attentions side by side, each over its own projections of queries, keys and values.

    Parameters
    ----------
    embed_dim : int
        Width of queries and results.
    num_heads : int
        Divides embed_dim.
    dropout : float, default 0.0
        Of the attention weights, in training.
    bias : bool, default True
    add_bias_kv : bool, default False
        Add a learnt key and value.
    add_zero_attn : bool, default False
        Add a key and value of zeros.
    kdim, vdim : int, default embed_dim
        Widths of keys and values.
    batch_first : bool, default False
        Sequences are (N, L, E) instead of (L, N, E).
    device : None or "cpu"
    dtype : float32 or float64, default the default dtype

    Attributes
    ----------
    in_proj_weight : Parameter (3 embed_dim, embed_dim)
        Of queries, keys, values; with other widths q_proj_weight, k_proj_weight, v_proj_weight instead.
    in_proj_bias : Parameter (3 embed_dim,) or None
    out_proj : Linear

    References
    ----------
    A. Vaswani et al.: Attention Is All You Need, NeurIPS 2017.

    Examples
    --------
    >>> import fastnn
    >>> attention = fastnn.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = fastnn.ones(4, 5, 8)
    >>> y, weights = attention(x, x, x)
    >>> y.shape, weights.shape
    (torch.Size([4, 5, 8]), torch.Size([4, 5, 5]))
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
                 add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False,
                 device: Device = None, dtype: DTypeArgument = None) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} instead")
        if embed_dim % num_heads:
            raise AssertionError("embed_dim must be divisible by num_heads")
        dtype = float_dtype(device, dtype)
        super().__init__()
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.head_dim = embed_dim // num_heads
        self.add_zero_attn = add_zero_attn
        one = self.kdim == self.vdim == embed_dim
        self.register_parameter("in_proj_weight", empty_weight(3 * embed_dim, embed_dim, dtype) if one else None)
        for name, width in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
            self.register_parameter(f"{name}_proj_weight", None if one else empty_weight(embed_dim, width, dtype))
        self.register_parameter("in_proj_bias", empty_parameter(3 * embed_dim, dtype) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, empty_parameter((1, 1, embed_dim), dtype) if add_bias_kv else None)
        self._reset_parameters()

    def _reset_parameters(self):
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None, need_weights: bool = True,
                attn_mask: Tensor | None = None, average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
        """Look values up by queries and keys.

        Parameters
        ----------
        query : Tensor (L, N, E), (N, L, E) where batch_first, or (L, E)
        key, value : Tensor
            As query, of length S and widths kdim and vdim.
        key_padding_mask : Tensor (N, S) or (S,), optional
            True (or -inf) hides a key.
        need_weights : bool, default True
            Return the weights as well.
        attn_mask : Tensor (L, S) or (N num_heads, L, S), optional
            True hides a key from a query; floats are added.
        average_attn_weights : bool, default True
            Weights (N, L, S), means over the heads, instead of (N, num_heads, L, S).
        is_causal : bool, default False
            A hint that attn_mask hides what comes later; it changes nothing.

        Returns
        -------
        (Tensor as query, Tensor or None)
        """
        if is_causal and attn_mask is None:
            raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
        batched = self._check(query, key, value, key_padding_mask, attn_mask)
        sequence = 1 if batched and self.batch_first else 0
        shared, same = key is value, query is key
        if not batched:
            query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        q, k, v = self._project(query, key, value, same and shared, shared)
        batch, dtype = q.shape[1 - sequence], q.dtype
        mask = float_mask(attn_mask, "attn_mask", dtype)
        hidden = float_mask(key_padding_mask, "key_padding_mask", dtype)
        added = 0
        if self.bias_k is not None and self.bias_v is not None:
            shape = (batch, 1, self.embed_dim) if sequence else (1, batch, self.embed_dim)
            k, v = cat([k, self.bias_k.expand(*shape)], sequence), cat([v, self.bias_v.expand(*shape)], sequence)
            added += 1
        if self.add_zero_attn:
            none = list(k.shape)
            none[sequence] = 1
            k, v = cat([k, zeros(none, dtype=dtype)], sequence), cat([v, zeros(none, dtype=dtype)], sequence)
            added += 1
        mask, hidden = (F.pad(m, (0, added)) if added and m is not None else m for m in (mask, hidden))
        if mask is not None and mask.ndim == 3:
            mask = mask.reshape(batch, self.num_heads, *mask.shape[1:])
        if hidden is not None:
            hidden = hidden.reshape(batch, 1, 1, hidden.shape[-1])
            mask = hidden if mask is None else mask + hidden
        q, k, v = (self._heads(x, sequence) for x in (q, k, v))
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            weights = attention_weights(q, k, mask)
            weights = F.dropout(weights, dropout) if dropout else weights
            y = matmul(weights, v)
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights if batched else weights.squeeze(0)
        else:
            y = F.scaled_dot_product_attention(q, k, v, mask, dropout)
        y = y.permute(0, 2, 1, 3) if sequence else y.permute(2, 0, 1, 3)
        y = self.out_proj(y.reshape(*y.shape[:2], self.embed_dim))
        return (y if batched else y.squeeze(1)), weights

    def _project(self, query, key, value, same, shared):
        """Queries, keys and values in the width of the heads; one product for those that are the same tensor."""
        E, bias = self.embed_dim, self.in_proj_bias
        if self.in_proj_weight is None:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        elif same:
            return F.linear(query, self.in_proj_weight, bias).split(E, -1)
        elif shared:
            w, b = self.in_proj_weight, (None, None) if bias is None else (bias[:E], bias[E:])
            return F.linear(query, w[:E], b[0]), *F.linear(key, w[E:], b[1]).split(E, -1)
        else:
            weights = self.in_proj_weight.split(E)
        biases = [None] * 3 if bias is None else bias.split(E)
        return [F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases)]

    def _heads(self, x, sequence):
        """(L, N, E) or (N, L, E) as (N, heads, L, E / heads)."""
        return x.reshape(*x.shape[:2], self.num_heads, self.head_dim).permute(*((0, 2, 1, 3) if sequence else (1, 2, 0, 3)))

    def _check(self, query, key, value, key_padding_mask, attn_mask):
        """Is the input batched?"""
        if query.ndim not in (2, 3):
            raise AssertionError(f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D query tensor")
        batched = query.ndim == 3
        what = f"For {'batched (3-D)' if batched else 'unbatched (2-D)'} `query`, expected "
        if key.ndim != query.ndim or value.ndim != query.ndim:
            raise AssertionError(f"{what}`key` and `value` to be {query.ndim}-D but found {key.ndim}-D and {value.ndim}-D tensors "
                                 "respectively")
        if key_padding_mask is not None and key_padding_mask.ndim != query.ndim - 1:
            raise AssertionError(f"{what}`key_padding_mask` to be `None` or {query.ndim - 1}-D but found {key_padding_mask.ndim}-D tensor "
                                 "instead")
        if attn_mask is not None and attn_mask.ndim not in (2, 3):
            raise AssertionError(f"{what}`attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.ndim}-D tensor instead")
        if query.shape[-1] != self.embed_dim:
            raise AssertionError(f"was expecting embedding dimension of {self.embed_dim}, but got {query.shape[-1]}")
        axis = 1 if batched and self.batch_first else 0
        length, keys = query.shape[axis], key.shape[axis]
        rows = query.shape[1 - axis] if batched else 1
        if attn_mask is not None:
            expected = (length, keys) if attn_mask.ndim == 2 else (rows * self.num_heads, length, keys)
            if tuple(attn_mask.shape) != expected:
                raise RuntimeError(f"The shape of the {attn_mask.ndim}D attn_mask is {attn_mask.shape}, but should be {expected}.")
        if key_padding_mask is not None and tuple(key_padding_mask.shape) != ((rows, keys) if batched else (keys,)):
            raise AssertionError(f"Expected key_padding_mask of shape {(rows, keys) if batched else (keys,)}, but got "
                                 f"{tuple(key_padding_mask.shape)}")
        return batched
