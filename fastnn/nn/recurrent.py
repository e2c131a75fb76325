"""Recurrent layers: RNN, LSTM, GRU over whole sequences, and their cells."""
from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.storage import new_array
from fastnn.core.tensor import Parameter, from_array
from fastnn.nn import init
from fastnn.nn.module import Module
from fastnn.nn.utils.rnn import PackedSequence
from fastnn.ops.dropout import dropout
from fastnn.ops.joining import cat
from fastnn.ops.promotion import float_dtype
from fastnn.ops.recurrent import is_regular, recurrent_layer, weights_of

if TYPE_CHECKING:
    from typing import Any

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Device, DType, DTypeArgument

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3, "LSTM": 4}


def empty_parameter(shape: tuple[int, ...], dtype: DType) -> Parameter:
    """A Parameter of the shape; a matrix (out, in) lies in (in, out) memory: the forward products read it without turning it."""
    return Parameter(from_array(new_array(shape, dtype, range(len(shape))[::-1])))


def _no_projection(proj_size):
    if proj_size:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


class RNNBase(Module):
    """What RNN, LSTM and GRU share: parameters by layer and direction, checks, and the walk over layers."""

    def __init__(self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
                 device: Device = None, dtype: DTypeArgument = None) -> None:
        super().__init__()
        dtype = float_dtype(device, dtype)
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        if isinstance(dropout, bool) or not 0 <= float(dropout) <= 1:
            raise ValueError("dropout should be a number in range [0, 1] representing the probability of an element being zeroed")
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, float(dropout), bidirectional
        self.proj_size = proj_size
        self._check_sizes()
        self._names = [[[f"{name}_l{layer}{suffix}" for name in NAMES] for suffix in self._suffixes()] for layer in range(num_layers)]
        self._states = num_layers * len(self._suffixes())
        for layer in range(num_layers):
            for suffix in self._suffixes():
                for name, shape in self._shapes(layer):
                    self.register_parameter(f"{name}_l{layer}{suffix}", empty_parameter(shape, dtype))
        self.reset_parameters()

    def _check_sizes(self):
        for name in ("input_size", "hidden_size", "num_layers"):
            value = getattr(self, name)
            if not isinstance(value, int):
                raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
            if value <= 0:
                raise ValueError(f"{name} must be greater than zero")
        if self.dropout > 0 and self.num_layers == 1:
            warnings.warn("dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                          f"num_layers greater than 1, but got dropout={self.dropout} and num_layers={self.num_layers}",
                          stacklevel=4)
        if self.proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")

    def _suffixes(self):
        return ("", "_reverse") if self.bidirectional else ("",)

    def _shapes(self, layer):
        """(name, shape) of the parameters of one direction, in torch's order."""
        rows, width = GATES[self.mode] * self.hidden_size, self.proj_size or self.hidden_size
        inputs = width * len(self._suffixes()) if layer else self.input_size
        shapes = [("weight_ih", (rows, inputs)), ("weight_hh", (rows, width))]
        if self.bias:
            shapes += [("bias_ih", (rows,)), ("bias_hh", (rows,))]
        if self.proj_size:
            shapes.append(("weight_hr", (self.proj_size, self.hidden_size)))
        return shapes

    def reset_parameters(self) -> None:
        """Draw every parameter from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size))."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: there is no flat copy of the weights to refresh."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters, a list per layer and direction."""
        return [[getattr(self, f"{name}_l{layer}{suffix}") for name, _ in self._shapes(layer)]
                for layer in range(self.num_layers) for suffix in self._suffixes()]

    def _weights(self):
        """Name -> weight: parameters, what a hook has set in their place, and what parametrizations compute, each once."""
        found = vars(self)
        return {**found, **{name: getattr(self, name) for name in found["parametrizations"]}} if "parametrizations" in found else found

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Run the sequence; see the class for shapes."""
        weights = self._weights()
        if not self.batch_first and is_regular(input, hx, weights["weight_ih_l0"], self.mode == "LSTM", self._states,
                                               self.proj_size or self.hidden_size, self.hidden_size):
            return self._layers(input, hx, None, weights)
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx, weights)
        if input.dim() not in (2, 3):
            raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D instead")
        single = input.dim() == 2
        if hx is not None:
            self._check_dimensions(hx, input.dim())
        if single:
            input = input.unsqueeze(1)
            hx = self._map(hx, lambda s: s.unsqueeze(1))
        elif self.batch_first:
            input = input.transpose(0, 1)
        self._check_input(input, weights)
        hx = self._check_states(hx, input.array.shape[1], weights)
        if input.array.shape[0] == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        output, states = self._layers(input, hx, None, weights)
        if single:
            return output.squeeze(1), self._map(states, lambda s: s.squeeze(1))
        return (output.transpose(0, 1) if self.batch_first else output), states

    def _check_dimensions(self, hx, wanted):
        batched = "batched" if wanted == 3 else "unbatched"
        if self.mode == "LSTM":
            if not isinstance(hx, (tuple, list)) or len(hx) != 2:
                raise RuntimeError("LSTM: expected the initial states as a pair (h_0, c_0)")
            h, c = hx[0].dim(), hx[1].dim()
            if h != wanted or c != wanted:
                raise RuntimeError(f"For {batched} {wanted}-D input, hx and cx should also be {wanted}-D but got ({h}-D, {c}-D) "
                                   "tensors")
        elif hx.dim() != wanted:
            raise RuntimeError(f"For {batched} {wanted}-D input, hx should also be {wanted}-D but got {hx.dim()}-D tensor")

    def _forward_packed(self, input, hx, weights):
        data, batch_sizes, sorted_indices, unsorted_indices = input
        self._check_input(data, weights)
        sizes = np.ascontiguousarray(batch_sizes.array, np.int64)
        rows = data.array.shape[0]
        if data.dim() != 2 or not len(sizes) or sizes[-1] <= 0 or (np.diff(sizes) > 0).any() or sizes.sum() != rows:
            raise RuntimeError(f"{type(self).__name__}: batch_sizes {sizes.tolist()} of the PackedSequence do not fit data of size "
                               f"{list(data.shape)}: they must be positive, not increase, and add up to its rows")
        if hx is not None:
            self._check_dimensions(hx, 3)
        hx = self._check_states(hx, int(sizes[0]), weights)
        if sorted_indices is not None:
            hx = self._map(hx, lambda s: s.index_select(1, sorted_indices))
        output, states = self._layers(data, hx, sizes, weights)
        if unsorted_indices is not None:
            states = self._map(states, lambda s: s.index_select(1, unsorted_indices))
        return PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices), states

    def _layers(self, x, hx, sizes, weights):
        """The layers one after the other; hx and the result are in torch's form (a pair for LSTM)."""
        lstm, finals = self.mode == "LSTM", []
        if self.num_layers == 1:
            h0, c0 = (None, None) if hx is None else hx if lstm else (hx, None)
            x, *states = recurrent_layer(self.mode, x, h0, c0, weights_of(weights, self._names[0]), sizes)
            return x, tuple(states) if lstm else states[0]
        directions = len(self._names[0])
        for layer in range(self.num_layers):
            rows = slice(layer * directions, (layer + 1) * directions)
            h0 = c0 = None
            if hx is not None:
                h0, c0 = (s[rows] for s in hx) if lstm else (hx[rows], None)
            x, *states = recurrent_layer(self.mode, x, h0, c0, weights_of(weights, self._names[layer]), sizes)
            finals.append(states)
            if self.dropout and layer < self.num_layers - 1:
                x = dropout(x, self.dropout, self.training)
        joined = [cat(parts, 0) for parts in zip(*finals)]
        return x, tuple(joined) if lstm else joined[0]

    def _map(self, hx, function):
        if hx is None:
            return None
        return tuple(function(s) for s in hx) if self.mode == "LSTM" else function(hx)

    def _check_input(self, input, weights):
        weight, array = weights["weight_ih_l0"], input.array
        if array.dtype is not weight.array.dtype and input.dtype != weight.dtype:
            raise ValueError(f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). Convert input: "
                             f"input.to({weight.dtype}), or convert model: model.to({input.dtype})")
        if array.shape[-1] != self.input_size:
            raise RuntimeError("input.size(-1) must be equal to input_size. Expected "
                               f"{self.input_size}, got {array.shape[-1]}")

    def _check_states(self, hx, batch, weights):
        if hx is None:
            return None
        width = self.proj_size or self.hidden_size
        if self.mode == "LSTM":
            self._check_state("hidden[0]", hx[0], (self._states, batch, width), weights)
            self._check_state("hidden[1]", hx[1], (self._states, batch, self.hidden_size), weights)
        else:
            self._check_state("hidden", hx, (self._states, batch, width), weights)
        return hx

    def _check_state(self, name, state, shape, weights):
        array, weight = state.array, weights["weight_ih_l0"]
        if array.shape != shape:
            raise RuntimeError(f"Expected {name} size {shape}, got {list(array.shape)}")
        if array.dtype is not weight.array.dtype and state.dtype != weight.dtype:
            raise RuntimeError(f"Expected {name} dtype {weight.dtype}, got {state.dtype}")

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        if self.proj_size:
            parts.append(f"proj_size={self.proj_size}")
        if self.num_layers != 1:
            parts.append(f"num_layers={self.num_layers}")
        if self.bias is not True:
            parts.append(f"bias={self.bias}")
        if self.batch_first is not False:
            parts.append(f"batch_first={self.batch_first}")
        if self.dropout:
            parts.append(f"dropout={self.dropout}")
        if self.bidirectional is not False:
            parts.append(f"bidirectional={self.bidirectional}")
        return ", ".join(parts)


class RNN(RNNBase):
    r"""Elman network: h_t = tanh(x_t W_ih' + b_ih + h_{t-1} W_hh' + b_hh), or relu.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int, default 1
    nonlinearity : {'tanh', 'relu'}, default 'tanh'
    bias : bool, default True
    batch_first : bool, default False
        Input and output are (N, T, features) instead of (T, N, features); states are not affected.
    dropout : float, default 0.0
        Between layers, in training.
    bidirectional : bool, default False

    Shape
    -----
    Input (T, N, input_size), (T, input_size) or PackedSequence; h_0 (layers * directions, N, hidden_size), zeros if
    left out.  Returns the output (T, N, directions * hidden_size) and h_n.

    Examples
    --------
    >>> import fastnn
    >>> rnn = fastnn.nn.RNN(3, 4, num_layers=2)
    >>> output, h = rnn(fastnn.zeros(5, 1, 3))
    >>> output.shape, h.shape
    (torch.Size([5, 1, 4]), torch.Size([2, 1, 4]))
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
                 bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
                 device: Device = None, dtype: DTypeArgument = None, *, proj_size: int = 0) -> None:
        _no_projection(proj_size)
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        self.nonlinearity = nonlinearity
        super().__init__(f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, 0, device, dtype)


class LSTM(RNNBase):
    r"""Long short-term memory.

    i, f, o = sigmoid, g = tanh of x_t W_ih' + b_ih + h_{t-1} W_hh' + b_hh (rows in the order i, f, g, o);
    c_t = f c_{t-1} + i g; h_t = o tanh(c_t), times W_hr' with `proj_size`.

    Parameters and shapes as `RNN`; the states are a pair (h, c), and with `proj_size` h and the output have that width.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
                 device: Device = None, dtype: DTypeArgument = None) -> None:
        super().__init__("LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size,
                         device, dtype)


class GRU(RNNBase):
    r"""Gated recurrent unit.

    r, z = sigmoid of x W_i' + b_i + h W_h' + b_h; n = tanh(x W_in' + b_in + r (h W_hn' + b_hn));
    h_t = (1 - z) n + z h_{t-1} (rows in the order r, z, n).  Parameters and shapes as `RNN`.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device: Device = None,
                 dtype: DTypeArgument = None, *, proj_size: int = 0) -> None:
        _no_projection(proj_size)
        super().__init__("GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)


class RNNCellBase(Module):
    """One time step of a cell: the same kernels as a sequence of length one."""

    def __init__(self, mode: str, input_size: int, hidden_size: int, bias: bool = True, device: Device = None,
                 dtype: DTypeArgument = None) -> None:
        super().__init__()
        dtype = float_dtype(device, dtype)
        self.input_size, self.hidden_size, self.bias, self._mode = input_size, hidden_size, bias, mode
        rows = GATES[mode] * hidden_size
        self.weight_ih = empty_parameter((rows, input_size), dtype)
        self.weight_hh = empty_parameter((rows, hidden_size), dtype)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, empty_parameter((rows,), dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size))."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _step(self, input, states):
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {input.shape[-1]} expected {self.input_size}")
        single = input.dim() == 1
        batch = 1 if single else input.shape[0]
        for number, state in enumerate(states):
            if state is not None:
                self._check_state(name, number, state, single, batch)
        if single:
            input = input.unsqueeze(0)
            states = [None if s is None else s.unsqueeze(0) for s in states]
        states = [None if s is None else s.unsqueeze(0) for s in states] + [None] * (2 - len(states))
        weights = [[self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh, None]]
        found = recurrent_layer(self._mode, input.unsqueeze(0), *states, weights)[1:]
        return [s.reshape(self.hidden_size) if single else s.squeeze(0) for s in found]

    def _check_state(self, name, number, state, single, batch):
        if state.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected hx[{number}] to be 1D or 2D, got {state.dim()}D instead")
        if (state.dim() == 1) != single:
            raise RuntimeError(f"{name}: input and hidden state must both be batched or both unbatched, got a {state.dim()}D state")
        if not single and state.shape[0] != batch:
            raise RuntimeError(f"Input batch size {batch} doesn't match hidden{number} batch size {state.shape[0]}")
        if state.shape[-1] != self.hidden_size:
            raise RuntimeError(f"hidden{number} has inconsistent hidden_size: got {state.shape[-1]}, expected {self.hidden_size}")

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text


class RNNCell(RNNCellBase):
    """One step of an Elman network: h' = tanh(x W_ih' + b_ih + h W_hh' + b_hh), or relu.

    Input (N, input_size) or (input_size,), h (N, hidden_size) or (hidden_size,), zeros if left out; returns h'.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
                 device: Device = None, dtype: DTypeArgument = None) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {nonlinearity}")
        super().__init__(f"RNN_{nonlinearity.upper()}", input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state."""
        return self._step(input, [hx])[0]


class LSTMCell(RNNCellBase):
    """One step of an LSTM; the states are a pair (h, c), and so is the result."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Device = None,
                 dtype: DTypeArgument = None) -> None:
        super().__init__("LSTM", input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next states (h', c')."""
        return tuple(self._step(input, list(hx) if hx is not None else [None, None]))


class GRUCell(RNNCellBase):
    """One step of a GRU; returns h'."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Device = None,
                 dtype: DTypeArgument = None) -> None:
        super().__init__("GRU", input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state."""
        return self._step(input, [hx])[0]
