"""Classification by a Boltzmann machine with label units."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from fastnn.boltzmann.class_rbm import ClassRBM
from fastnn.core.grad_mode import no_grad
from fastnn.core.random import fork_rng, manual_seed
from fastnn.core.tensor import from_array
from fastnn.nn import functional as F
from fastnn.optim import Adam
from fastnn.sklearn.base import generator_of, positive, whole
from fastnn.sklearn.dbn import train_epoch

if TYPE_CHECKING:
    from typing import Any, Self

    from fastnn.core.types import Array

__all__ = ["ClassRBMClassifier"]


class ClassRBMClassifier(ClassifierMixin, BaseEstimator):
    """Classify by the exact p(y|x) of a machine with label units: see `nn.ClassRBM`.

    Parameters
    ----------
    n_components : int, default 100
    learning_rate : float, default 0.01
        Of Adam.
    batch_size : int, default 100
    n_iter : int, default 20
    weight_decay : float, default 0
    random_state : int, RandomState or None, default None

    Attributes
    ----------
    rbm_ : nn.ClassRBM
    classes_ : ndarray
    loss_curve_ : list of float
    n_features_in_, feature_names_in_

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn import ClassRBMClassifier
    >>> X, y = np.repeat(np.eye(2), 20, 0), np.repeat(["a", "b"], 20)
    >>> str(ClassRBMClassifier(4, n_iter=100, learning_rate=0.05, random_state=0).fit(X, y).predict(X[:1])[0])
    'a'
    """

    def __init__(self, n_components: int = 100, *, learning_rate: float = 0.01, batch_size: int = 100, n_iter: int = 20,
                 weight_decay: float = 0.0, random_state: Any = None) -> None:
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.weight_decay = weight_decay
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Maximise log p(y|x) of the rows."""
        for name, least in (("n_components", 1), ("n_iter", 0), ("batch_size", 1)):
            whole(getattr(self, name), name, least)
        positive(self.learning_rate, "learning_rate")
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        generator = generator_of(self.random_state)
        with fork_rng():
            manual_seed(generator.initial_seed())
            self.rbm_ = ClassRBM(X.shape[1], self.n_components, len(self.classes_), dtype=X.dtype)
        optimizer = Adam(self.rbm_.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        self.loss_curve_ = [train_epoch(self.rbm_, X, codes.astype(np.int64), F.cross_entropy, optimizer, self.batch_size, generator)
                            for _ in range(self.n_iter)]
        return self

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of the classes, (n_samples, n_classes)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        with no_grad():
            y = self.rbm_(from_array(X)).array.astype(np.float64)
        p = np.exp(y - y.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True)

    def predict(self, X: Any) -> Array:
        """The most probable class of every row."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]
