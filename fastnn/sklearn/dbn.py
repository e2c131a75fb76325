"""Deep belief networks as classifier and regressor: pre-trained without labels, fine-tuned with them."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from fastnn.boltzmann.dbn import DBN
from fastnn.core.grad_mode import no_grad
from fastnn.core.random import fork_rng, manual_seed, randperm_array
from fastnn.core.tensor import from_array
from fastnn.nn import functional as F
from fastnn.optim import Adam
from fastnn.sklearn.base import generator_of, positive, whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    from fastnn.core.types import Array

__all__ = ["DBNClassifier", "DBNRegressor"]


def train_epoch(model, X, target, loss, optimizer, batch_size, generator):
    """One pass over the rows in a new order; the mean loss."""
    total, order = 0.0, randperm_array(len(X), generator)
    for first in range(0, len(order), batch_size):
        rows = order[first:first + batch_size]
        optimizer.zero_grad()
        value = loss(model(from_array(X[rows])), from_array(target[rows]))
        value.backward()
        optimizer.step()
        total += value.item() * len(rows)
    if not np.isfinite(total):
        rate = optimizer.param_groups[0]["lr"]
        raise FloatingPointError(f"the loss is no longer finite; start again with a learning_rate below {rate:g}")
    return total / len(X)


class FineTuned(BaseEstimator):
    """A stack of machines that becomes a network with one output layer more."""

    def __init__(self, hidden_layer_sizes: Sequence[int] = (256,), *, visible: str = "bernoulli",
                 hidden: str = "bernoulli", pretrain_iter: int = 10, pretrain_learning_rate: float | None = None,
                 n_iter: int = 20, learning_rate: float = 0.001, batch_size: int = 100, weight_decay: float = 0.0,
                 dropout: float = 0.0, random_state: Any = None) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.visible = visible
        self.hidden = hidden
        self.pretrain_iter = pretrain_iter
        self.pretrain_learning_rate = pretrain_learning_rate
        self.n_iter = n_iter
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.random_state = random_state

    def _fit(self, X, target, n_out, unlabelled, loss):
        for name, least in (("pretrain_iter", 0), ("n_iter", 0), ("batch_size", 1)):
            whole(getattr(self, name), name, least)
        positive(self.learning_rate, "learning_rate")
        more = X if unlabelled is None else validate_data(self, unlabelled, reset=False, dtype=X.dtype)
        generator = generator_of(self.random_state)
        with fork_rng():
            manual_seed(generator.initial_seed())
            self.dbn_ = DBN([X.shape[1], *self.hidden_layer_sizes], self.visible, self.hidden, dtype=X.dtype)
            if self.pretrain_iter:
                self.dbn_.pretrain(more, self.pretrain_iter, self.pretrain_learning_rate, self.batch_size, generator=generator)
            self.network_ = self.dbn_.to_mlp(n_out, dropout=self.dropout)
            optimizer = Adam(self.network_.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
            self.loss_curve_ = [train_epoch(self.network_, X, target, loss, optimizer, self.batch_size, generator)
                                for _ in range(self.n_iter)]
        self.network_.eval()
        return self

    def _outputs(self, X):
        check_is_fitted(self, "network_")
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        X = X.astype(self.dbn_.rbms[0].weight.dtype, copy=False)
        with no_grad():
            return self.network_(from_array(X)).array

    def features(self, X: Any) -> Array:
        """The activations of the last hidden layer of the network, as fine-tuned."""
        check_is_fitted(self, "network_")
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        x = from_array(X.astype(self.dbn_.rbms[0].weight.dtype, copy=False))
        with no_grad():
            for layer in list(self.network_)[:-1]:
                x = layer(x)
        return x.array


PARAMETERS = """

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default (256,)
    visible, hidden : kinds of units as in `nn.DBN`, default "bernoulli"
        visible="gaussian" for standardised columns.
    pretrain_iter : int, default 10
        Epochs per layer; 0 starts from the machines' random weights.
    pretrain_learning_rate : float, default by the kind of units
    n_iter : int, default 20
        Epochs of fine-tuning by Adam.
    learning_rate : float, default 0.001
    batch_size : int, default 100
    weight_decay, dropout : float, default 0
    random_state : int, RandomState or None, default None

    Attributes
    ----------
    dbn_ : nn.DBN
        As pre-trained.
    network_ : nn.Sequential
    loss_curve_ : list of float
    n_features_in_, feature_names_in_
"""


class DBNClassifier(ClassifierMixin, FineTuned):
    __doc__ = """Classify by a network whose weights start from a deep belief network.""" + PARAMETERS + """    classes_ : ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn import DBNClassifier
    >>> X, y = np.repeat(np.eye(2), 20, 0), np.repeat(["a", "b"], 20)
    >>> str(DBNClassifier((4,), n_iter=100, learning_rate=0.05, random_state=0).fit(X, y).predict(X[:1])[0])
    'a'
    """

    def fit(self, X: Any, y: Any, unlabelled: Any = None) -> Self:
        """Pre-train on X, or on the rows `unlabelled` where they are given; then fine-tune on X and y."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        return self._fit(X, codes.astype(np.int64), len(self.classes_), unlabelled, F.cross_entropy)

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of the classes, (n_samples, n_classes)."""
        y = self._outputs(X).astype(np.float64)
        p = np.exp(y - y.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True)

    def predict(self, X: Any) -> Array:
        """The most probable class of every row."""
        best = self._outputs(X).argmax(1)
        return self.classes_[best]


class DBNRegressor(RegressorMixin, FineTuned):
    __doc__ = """Regress by a network whose weights start from a deep belief network; the target is standardised inside.""" \
        + PARAMETERS + """
    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn import DBNRegressor
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> DBNRegressor((8,), visible="gaussian", n_iter=200, learning_rate=0.01, random_state=0).fit(X, X[:, 0]).score(X, X[:, 0]) > 0.9
    True
    """

    def fit(self, X: Any, y: Any, unlabelled: Any = None) -> Self:
        """Pre-train on X, or on the rows `unlabelled` where they are given; then fine-tune on X and y (one or more columns)."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32), multi_output=True, y_numeric=True)
        self._columns = y.ndim == 2
        y = y.reshape(len(y), -1).astype(np.float64)
        self.target_mean_, deviation = y.mean(0), y.std(0)
        self.target_scale_ = np.where(deviation > 0, deviation, 1)
        target = ((y - self.target_mean_) / self.target_scale_).astype(X.dtype)
        return self._fit(X, target, y.shape[1], unlabelled, F.mse_loss)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any) -> Array:
        """The expected target of every row."""
        y = self._outputs(X) * self.target_scale_ + self.target_mean_
        return y if self._columns else y[:, 0]
