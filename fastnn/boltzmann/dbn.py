"""Deep belief networks: machines stacked, pre-trained layer by layer."""
from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.boltzmann import up_down
from fastnn.boltzmann.rbm import RBM
from fastnn.boltzmann.training import fit, transform
from fastnn.core.grad_mode import no_grad
from fastnn.core.tensor import from_array
from fastnn.nn import functional as F
from fastnn.nn.activation import ReLU, Sigmoid
from fastnn.nn.container import ModuleList, Sequential
from fastnn.nn.dropout import Dropout
from fastnn.nn.linear import Linear
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter
from fastnn.nn.parameter_container import ParameterList

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Self

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Array, Device, DTypeArgument, Generator

__all__ = ["DBN"]


class DBN(Module):
    """A stack of `RBM`, each on the hidden means of the one below.

    Parameters
    ----------
    sizes : list of int
        Visible units, then the hidden units of every layer.
    visible : str, default "bernoulli"
        Kind of the data's units.
    hidden : str or list of str, default "bernoulli"
        Kind of every layer's hidden units; above relu units the visible ones are gaussian.
    device, dtype : as in `RBM`
    **options : of the first RBM

    Attributes
    ----------
    rbms : ModuleList of RBM
    generative : ParameterList or None
        Weights of the down-pass below the top machine, once `untie` has parted them from those of the up-pass.

    References
    ----------
    Hinton, Osindero and Teh, A fast learning algorithm for deep belief nets, 2006.
    """

    def __init__(self, sizes: Sequence[int], visible: str = "bernoulli", hidden: str = "bernoulli",
                 device: Device = None, dtype: DTypeArgument = None, **options: Any) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"DBN: sizes needs the visible units and at least one hidden layer, got {list(sizes)}")
        kinds = [hidden] * (len(sizes) - 1) if isinstance(hidden, str) else list(hidden)
        if len(kinds) != len(sizes) - 1:
            raise ValueError(f"DBN: {len(sizes) - 1} hidden layers need as many kinds, got {len(kinds)}")
        below, layers = visible, []
        for n, (inputs, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            layers.append(RBM(inputs, outputs, below, kinds[n], device, dtype, **(options if n == 0 else {})))
            below = "gaussian" if kinds[n] == "relu" else "bernoulli"
        self.rbms = ModuleList(layers)
        self.generative: ParameterList | None = None

    def forward(self, v: Tensor | Array) -> Tensor:
        h: Any = v
        for rbm in self.rbms:
            h = rbm(h)
        return h

    def pretrain(self, X: Any, epochs: int | Sequence[int] = 10, lr: float | Sequence[float] | None = None,
                 batch_size: int = 100, callbacks: Sequence[Callable[..., Any]] = (), **options: Any) -> Self:
        """Train the machines from the bottom up, each on the hidden means of the one below; other options as `RBM.fit`.

        epochs, lr : a number, or one per layer
        callbacks : functions (layer, epoch, rbm, mean loss)
        """
        given: Any = (epochs, lr)
        rbms: Any = self.rbms
        for n, rbm in enumerate(rbms):
            layer_epochs, rate = (x[n] if isinstance(x, list | tuple) else x for x in given)
            watch = [lambda epoch, machine, loss, f=f, n=n: f(n, epoch, machine, loss) for f in callbacks]
            fit(rbm, X, layer_epochs, lr=rate, batch_size=batch_size, callbacks=watch, **options)
            if n + 1 < len(self.rbms):
                X = from_array(transform(rbm, X))
        return self

    # ---- the generative model ----------------------------------------------------------------------------------------
    @property
    def untied(self) -> bool:
        """Has the down-pass weights of its own?"""
        return self.generative is not None

    def untie(self) -> Self:
        """Part the weights of the down-pass from those of the up-pass, of equal values at first, below the top machine.

        Needed before an optimizer for `up_down_loss` is made and before a state of an untied network is loaded.
        """
        if not self.untied:
            self.generative = ParameterList([Parameter(from_array(rbm.weight.array.copy())) for rbm in list(self.rbms)[:-1]])
        return self

    def down_weight(self, n: int) -> Tensor:
        """The weight (n_hidden, n_visible) by which machine n generates the layer below it."""
        return self.rbms[n].weight if self.generative is None or n == len(self.rbms) - 1 else self.generative[n]

    def up_down_loss(self, v: Tensor | Array, k: int = 1, generator: Generator | None = None) -> Tensor:
        """A loss whose gradient is the step of the up-down algorithm: see `fastnn.boltzmann.up_down.up_down_loss`."""
        return up_down.up_down_loss(self, v, k, generator)

    def up_down(self, X: Any, epochs: int = 10, **options: Any) -> Self:
        """Fine-tune all layers as one generative model: see `fastnn.boltzmann.up_down.fit`."""
        up_down.fit(self, X, epochs, **options)
        return self

    def log_prob_bound(self, v: Tensor | Array, log_z: float | None = None, draws: int = 100,
                       generator: Generator | None = None) -> Tensor:
        """A lower bound of log p(v) of every row, estimated by draws of the hidden units.

        Parameters
        ----------
        v : rows of data
        log_z : float, default by enumeration
            log Z of the top machine, from its `ais_log_partition` where it is large.
        draws : int, default 100
        """
        return up_down.log_prob_bound(self, v, log_z, draws, generator)

    def sample(self, n: int, k: int = 1000, generator: Generator | None = None) -> Tensor:
        """n rows: k Gibbs steps of the top machine, then one pass down."""
        top = self.rbms[-1]
        with no_grad():
            zeros = from_array(top.vbias.array[None].repeat(n, 0) * 0)
            v = top.gibbs(top.units.sample(zeros, None, generator), k, generator=generator)
            for layer in reversed(range(len(self.rbms) - 1)):
                rbm = self.rbms[layer]
                v = rbm.units.sample(F.linear(v, self.down_weight(layer).t(), rbm.vbias), None, generator)
        return v

    # ---- hand-over ---------------------------------------------------------------------------------------------------
    def to_mlp(self, n_out: int | None = None, activation: Callable[[], Module] | None = None,
               dropout: float = 0.0) -> Sequential:
        """A `Sequential` that starts from copies of the stack's weights.

        Parameters
        ----------
        n_out : int, optional
            Outputs of a fresh last Linear, for classes or regression.
        activation : class, default Sigmoid, ReLU after relu units
        dropout : float, default 0
        """
        layers = []
        for rbm in self.rbms:
            linear = Linear(rbm.n_visible, rbm.n_hidden, dtype=rbm.weight.dtype)
            copy_into(linear, rbm.weight.array, rbm.hbias.array)
            layers += [linear, (activation or (ReLU if rbm.hidden == "relu" else Sigmoid))()]
            layers += [Dropout(dropout)] if dropout else []
        if n_out is not None:
            layers.append(Linear(self.rbms[-1].n_hidden, n_out, dtype=self.rbms[-1].weight.dtype))
        return Sequential(*layers)

    def to_autoencoder(self) -> Sequential:
        """Encoder with a linear code and decoder of the transposed weights, a `Sequential` (Hinton-Salakhutdinov, 2006)."""
        up: list[Module] = []
        down: list[Module] = []
        rbms = list(self.rbms)
        for n, rbm in enumerate(rbms):
            encode = Linear(rbm.n_visible, rbm.n_hidden, dtype=rbm.weight.dtype)
            copy_into(encode, rbm.weight.array, rbm.hbias.array)
            decode = Linear(rbm.n_hidden, rbm.n_visible, dtype=rbm.weight.dtype)
            copy_into(decode, self.down_weight(n).array.T, rbm.vbias.array)
            up += [encode] if n == len(rbms) - 1 else [encode, Sigmoid()]
            down[:0] = [decode] if rbm.visible == "gaussian" else [decode, Sigmoid()]
        return Sequential(*up, *down)


def copy_into(linear, weight, bias):
    linear.weight.array[...] = weight
    linear.bias.array[...] = bias
