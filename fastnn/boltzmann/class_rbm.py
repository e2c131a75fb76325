"""Classification by a Boltzmann machine with label units."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.boltzmann.units import Bernoulli, BernoulliHidden, as_rows, check_counts
from fastnn.core.grad_mode import no_grad
from fastnn.core.tensor import Tensor, from_array
from fastnn.nn import functional as F
from fastnn.nn import init
from fastnn.nn.linear import empty_parameter, empty_weight
from fastnn.nn.module import Module
from fastnn.ops.boltzmann import categorical_units
from fastnn.ops.promotion import float_dtype

if TYPE_CHECKING:
    from typing import Any

    from fastnn.core.types import Array, Device, DTypeArgument, Generator

__all__ = ["ClassRBM"]


class ClassRBM(Module):
    r"""p(y|x) proportional to exp(d_y + sum_j softplus(c_j + U_jy + W_j.x)), exact and without sampling.

    ``forward`` gives the logits, so `CrossEntropyLoss` trains the discriminative machine; `contrastive_loss` trains the
    generative one, p(x, y), and `hybrid_loss` both.  The generative ones need x in [0, 1].

    Parameters
    ----------
    n_visible, n_hidden, n_classes : int
    device : None or "cpu"
    dtype : float32 or float64, default the default dtype

    Attributes
    ----------
    weight, label_weight : Parameter (n_hidden, n_visible), (n_hidden, n_classes)
    hbias, label_bias, vbias : Parameter (n_hidden,), (n_classes,), (n_visible,)
        p(y|x) does not depend on vbias: the discriminative loss leaves it alone.

    References
    ----------
    Larochelle and Bengio, Classification using discriminative restricted Boltzmann machines, ICML 2008.

    Examples
    --------
    >>> import fastnn
    >>> net = fastnn.nn.ClassRBM(6, 4, 3)
    >>> loss = net.hybrid_loss(fastnn.ones(2, 6), [0, 2], alpha=0.01)
    >>> loss.backward()
    >>> net.label_weight.grad.shape
    torch.Size([4, 3])
    """

    def __init__(self, n_visible: int, n_hidden: int, n_classes: int, device: Device = None,
                 dtype: DTypeArgument = None) -> None:
        dtype = float_dtype(device, dtype)
        super().__init__()
        check_counts("ClassRBM", 1, n_visible=n_visible, n_hidden=n_hidden, n_classes=n_classes)
        self.n_visible, self.n_hidden, self.n_classes = n_visible, n_hidden, n_classes
        self.weight = empty_weight(n_hidden, n_visible, dtype)
        self.label_weight = empty_parameter((n_hidden, n_classes), dtype)
        self.hbias = empty_parameter(n_hidden, dtype)
        self.label_bias = empty_parameter(n_classes, dtype)
        self.vbias = empty_parameter(n_visible, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from N(0, 0.01^2); biases become 0."""
        init.normal_(self.weight, 0, 0.01)
        init.normal_(self.label_weight, 0, 0.01)
        init.zeros_(self.hbias)
        init.zeros_(self.label_bias)
        init.zeros_(self.vbias)

    def extra_repr(self) -> str:
        return f"{self.n_visible}, {self.n_hidden}, {self.n_classes}"

    def forward(self, x: Tensor | Array) -> Tensor:
        x = as_rows(x, self.n_visible, self.weight.dtype, "ClassRBM")
        inputs = F.linear(x, self.weight, self.hbias).unsqueeze(2) + self.label_weight
        return F.softplus(inputs, 1.0, 40.0).sum(1) + self.label_bias

    # ---- the joint machine -----------------------------------------------------------------------------------------
    def free_energy(self, x: Tensor | Array, y: Any = None) -> Tensor:
        """F(x, y) = -b.x - d_y - sum_j softplus(c_j + U_jy + W_j.x) of every row; without y its sum over the classes.

        Parameters
        ----------
        x : rows (rows, n_visible) of values in [0, 1]
        y : classes (rows,), optional
            Without them F(x) = -log of the sum over y of exp(-F(x, y)).
        """
        x = Bernoulli(self).rows(x)
        return self._free_energy(x, None if y is None else self.one_hot(y, len(x.array)))

    def _free_energy(self, x, labels):
        visible = Bernoulli(self).energy(x)
        if labels is None:
            return visible - self(x).logsumexp(1)
        return visible - (labels * self.label_bias).sum(1) + BernoulliHidden().energy(self.hidden_input(x, labels))

    def hidden_input(self, x, labels):
        """Inputs of the hidden units; labels one-hot."""
        return F.linear(x, self.weight, self.hbias) + F.linear(labels, self.label_weight)

    def one_hot(self, y, rows):
        """The classes y, checked, as rows of one 1."""
        y = y.array if isinstance(y, Tensor) else np.asarray(y)
        if y.shape != (rows,):
            raise RuntimeError(f"ClassRBM: expected {rows} classes, one per row, got shape {tuple(y.shape)}")
        if y.dtype.kind not in "iu":
            raise TypeError(f"ClassRBM: expected classes as integers, got {y.dtype}")
        if y.size and (y.min() < 0 or y.max() >= self.n_classes):
            raise ValueError(f"ClassRBM: expected classes from 0 to {self.n_classes - 1}, got values from {y.min()} to {y.max()}")
        return from_array((y[:, None] == np.arange(self.n_classes)).astype(self.weight.dtype))

    def chain(self, x, labels, k, generator):
        """Draws of x and of one-hot labels after k Gibbs steps; labels None start as draws of p(y|x)."""
        with no_grad():
            if labels is None:
                labels = categorical_units(self(x), self.n_classes, None, generator)[1]
            for _ in range(k):
                h = BernoulliHidden().sample(self.hidden_input(x, labels), generator)
                x = Bernoulli(self).sample(F.linear(h, self.weight.t(), self.vbias), None, generator)
                labels = categorical_units(F.linear(h, self.label_weight.t(), self.label_bias), self.n_classes, None, generator)[1]
        return x, labels

    def contrastive_loss(self, x: Tensor | Array, y: Any = None, k: int = 1,
                         generator: Generator | None = None) -> Tensor:
        """mean F(data) - mean F(sample), the sample taken as constant: its gradient is that of CD-k for -log p(x, y).

        The value is no likelihood.

        Parameters
        ----------
        x : rows (rows, n_visible) of values in [0, 1]
        y : classes (rows,), optional
            Without them the rows are unlabelled: the gradient is for -log p(x), the chains start at classes drawn from p(y|x).
        k : int, default 1
            Gibbs steps.
        generator : Generator, default the default generator

        Raises
        ------
        ValueError
            For data outside [0, 1], classes outside the machine's, k below 1, no rows.
        FloatingPointError
            If the parameters are no longer finite.
        """
        check_counts("contrastive_loss", 1, k=k)
        x = Bernoulli(self).rows(x)
        if len(x.array) == 0:
            raise ValueError("contrastive_loss: the batch has no rows")
        labels = None if y is None else self.one_hot(y, len(x.array))
        sample, sample_labels = self.chain(x, labels, k, generator)
        negative = self._free_energy(sample, None if y is None else sample_labels)
        loss = self._free_energy(x, labels).mean() - negative.mean()
        if not np.isfinite(loss.array):
            raise FloatingPointError("contrastive_loss: the parameters are no longer finite; start again with a lower lr")
        return loss

    def hybrid_loss(self, x: Tensor | Array, y: Any, alpha: float = 0.01, unlabelled: Tensor | Array | None = None,
                    beta: float = 0.1, k: int = 1, generator: Generator | None = None) -> Tensor:
        r"""-mean log p(y|x) + alpha contrastive_loss(x, y) + beta contrastive_loss(unlabelled).

        The discriminative part is exact; the generative ones regularise it, and let rows without classes help.

        Parameters
        ----------
        x, y : rows (rows, n_visible) of values in [0, 1] and their classes (rows,)
        alpha : float, default 0.01
            Weight of the generative loss; 0 is the discriminative machine, which takes any x.
        unlabelled : rows (any number, n_visible), optional
        beta : float, default 0.1
            Weight of the loss of the unlabelled rows.
        k, generator : of the chains, as in `contrastive_loss`
        """
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not value >= 0:
                raise ValueError(f"hybrid_loss: {name} must be at least 0, got {value}")
        x = as_rows(x, self.n_visible, self.weight.dtype, "ClassRBM")
        loss = -(self.one_hot(y, len(x.array)) * F.log_softmax(self(x), 1)).sum(1).mean()
        if alpha:
            loss = loss + alpha * self.contrastive_loss(x, y, k, generator)
        if unlabelled is not None and beta:
            loss = loss + beta * self.contrastive_loss(unlabelled, None, k, generator)
        return loss
