"""Transformers: layers of attention and position-wise networks."""
from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import from_array, get_default_dtype
from fastnn.nn import functional as F
from fastnn.nn import init
from fastnn.nn.attention import MultiheadAttention, float_mask
from fastnn.nn.container import ModuleList
from fastnn.nn.dropout import Dropout
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module
from fastnn.nn.normalization import LayerNorm

if TYPE_CHECKING:
    from typing import Any

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Activation, Device, DTypeArgument

__all__ = ["Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer"]


def _activation(activation):
    if isinstance(activation, str):
        if activation not in ("relu", "gelu"):
            raise RuntimeError(f"activation should be relu/gelu, not {activation}")
        return getattr(F, activation)
    return activation


def _clones(module, count):
    return ModuleList([copy.deepcopy(module) for _ in range(count)])


class _Layer(Module):
    """What the two kinds of layers share: dropout, norm and sum around blocks, and the position-wise network."""

    def _set_network(self, d_model, dim_feedforward, dropout, bias, device, dtype):
        self.linear1 = Linear(d_model, dim_feedforward, bias, device, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device, dtype)

    def _set_norms(self, count, d_model, eps, dropout, bias, device, dtype):
        for i in range(1, count + 1):
            setattr(self, f"norm{i}", LayerNorm(d_model, eps, True, bias, device, dtype))
        for i in range(1, count + 1):
            setattr(self, f"dropout{i}", Dropout(dropout))

    def _around(self, x, number, block):
        """x + dropout(block(x)), normalized before or after."""
        norm, dropout = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
        return x + dropout(block(norm(x))) if self.norm_first else norm(x + dropout(block(x)))

    def _network(self, x):
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Self-attention, then a network at every position; a sum and a layer norm around each.

    Parameters
    ----------
    d_model, nhead : int
        Width, and how many attention heads.
    dim_feedforward : int, default 2048
        Width inside the network.
    dropout : float, default 0.1
    activation : "relu", "gelu" or a function, default relu
    layer_norm_eps : float, default 1e-5
    batch_first : bool, default False
        Sequences are (N, L, E) instead of (L, N, E).
    norm_first : bool, default False
        Normalize what goes into the blocks instead of the sums.
    bias : bool, default True
    device : None or "cpu"
    dtype : float32 or float64, default the default dtype

    Examples
    --------
    >>> import fastnn
    >>> layer = fastnn.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> layer(fastnn.ones(4, 5, 8)).shape
    torch.Size([4, 5, 8])
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: Activation = F.relu,
                 layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True,
                 device: Device = None, dtype: DTypeArgument = None) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype)
        self._set_network(d_model, dim_feedforward, dropout, bias, device, dtype)
        self.norm_first = norm_first
        self._set_norms(2, d_model, layer_norm_eps, dropout, bias, device, dtype)
        self.activation = _activation(activation)

    def forward(self, src: Tensor, src_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
                is_causal: bool = False) -> Tensor:
        """Encode; masks as `MultiheadAttention` takes them."""
        x = self._around(src, 1, lambda x: self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0])
        return self._around(x, 2, self._network)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention over an encoder's result, then a network at every position; a sum and a layer norm around each.

    Parameters
    ----------
    d_model, nhead : int
        Width, and how many attention heads.
    dim_feedforward : int, default 2048
        Width inside the network.
    dropout : float, default 0.1
    activation : "relu", "gelu" or a function, default relu
    layer_norm_eps : float, default 1e-5
    batch_first : bool, default False
        Sequences are (N, L, E) instead of (L, N, E).
    norm_first : bool, default False
        Normalize what goes into the blocks instead of the sums.
    bias : bool, default True
    device : None or "cpu"
    dtype : float32 or float64, default the default dtype
    """

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: Activation = F.relu,
                 layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True,
                 device: Device = None, dtype: DTypeArgument = None) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype)
        self._set_network(d_model, dim_feedforward, dropout, bias, device, dtype)
        self.norm_first = norm_first
        self._set_norms(3, d_model, layer_norm_eps, dropout, bias, device, dtype)
        self.activation = _activation(activation)

    def forward(self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
                tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None, tgt_is_causal: bool = False,
                memory_is_causal: bool = False) -> Tensor:
        """Decode; masks as `MultiheadAttention` takes them."""
        x = self._around(tgt, 1, lambda x: self.self_attn(x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal)[0])
        x = self._around(x, 2, lambda x: self.multihead_attn(x, memory, memory, memory_key_padding_mask, False, memory_mask,
                                                             is_causal=memory_is_causal)[0])
        return self._around(x, 3, self._network)


class TransformerEncoder(Module):
    """A stack of copies of one layer.

    Parameters
    ----------
    encoder_layer : TransformerEncoderLayer
    num_layers : int
    norm : Module, optional
        Applied to the result.
    enable_nested_tensor, mask_check : bool
        Accepted; they mean nothing.
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None, enable_nested_tensor: bool = True,
                 mask_check: bool = True) -> None:
        super().__init__()
        self.layers = _clones(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(self, src: Tensor, mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
                is_causal: bool | None = None) -> Tensor:
        """Encode; masks as `MultiheadAttention` takes them."""
        mask, padding = float_mask(mask, "mask", src.dtype), float_mask(src_key_padding_mask, "src_key_padding_mask", src.dtype)
        for layer in self.layers:
            src = layer(src, src_mask=mask, src_key_padding_mask=padding, is_causal=bool(is_causal))
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """A stack of copies of one layer.

    Parameters
    ----------
    decoder_layer : TransformerDecoderLayer
    num_layers : int
    norm : Module, optional
        Applied to the result.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _clones(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
                tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
                tgt_is_causal: bool | None = None, memory_is_causal: bool = False) -> Tensor:
        """Decode; masks as `MultiheadAttention` takes them."""
        for layer in self.layers:
            tgt = layer(tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
                        memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=bool(tgt_is_causal),
                        memory_is_causal=memory_is_causal)
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder and a decoder that looks at its result.

    Parameters
    ----------
    d_model, nhead, num_encoder_layers, num_decoder_layers : int, default 512, 8, 6, 6
    dim_feedforward : int, default 2048
    dropout : float, default 0.1
    activation : "relu", "gelu" or a function, default relu
    custom_encoder, custom_decoder : Module, optional
        Instead of the usual ones.
    layer_norm_eps : float, default 1e-5
    batch_first, norm_first : bool, default False
    bias : bool, default True
    device : None or "cpu"
    dtype : float32 or float64, default the default dtype

    References
    ----------
    A. Vaswani et al.: Attention Is All You Need, NeurIPS 2017.
    """

    def __init__(self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6,
                 dim_feedforward: int = 2048, dropout: float = 0.1, activation: Activation = F.relu, custom_encoder: Any = None,
                 custom_decoder: Any = None, layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False,
                 bias: bool = True, device: Device = None, dtype: DTypeArgument = None) -> None:
        super().__init__()

        def stack(kind, layer, count):
            made = layer(d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device, dtype)
            return kind(made, count, LayerNorm(d_model, layer_norm_eps, True, bias, device, dtype))
        self.encoder = custom_encoder if custom_encoder is not None else stack(
            TransformerEncoder, TransformerEncoderLayer, num_encoder_layers)
        self.decoder = custom_decoder if custom_decoder is not None else stack(
            TransformerDecoder, TransformerDecoderLayer, num_decoder_layers)
        for p in self.parameters():
            if p.dim() > 1:
                init.xavier_uniform_(p)
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first

    def forward(self, src: Tensor, tgt: Tensor, src_mask: Tensor | None = None, tgt_mask: Tensor | None = None,
                memory_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
                tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
                src_is_causal: bool | None = None, tgt_is_causal: bool | None = None, memory_is_causal: bool = False) -> Tensor:
        """Encode src and decode tgt; masks as `MultiheadAttention` takes them."""
        batch = 0 if self.batch_first else 1
        if src.dim() == tgt.dim() == 3 and src.size(batch) != tgt.size(batch):
            raise RuntimeError("the batch number of src and tgt must be equal")
        if src.size(-1) != self.d_model or tgt.size(-1) != self.d_model:
            raise RuntimeError("the feature number of src and tgt must be equal to d_model")
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        y: Tensor = self.decoder(tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
                                 memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal,
                                 memory_is_causal=memory_is_causal)
        return y

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Device = None, dtype: DTypeArgument = None) -> Tensor:
        """-inf above the diagonal, zeros elsewhere: no position looks at later ones."""
        return from_array(np.triu(np.full((sz, sz), -np.inf, dtype or get_default_dtype()), 1))
