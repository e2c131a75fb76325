"""Restricted Boltzmann machines as transformers."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.boltzmann.rbm import RBM
from fastnn.sklearn.base import DropInRBM, MachineTransformer, new_machine, warn_outside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Self

    from fastnn.core.types import Array

__all__ = ["BernoulliRBM", "GaussianRBM"]


class BernoulliRBM(MachineTransformer):
    """scikit-learn's `BernoulliRBM`, compiled: same signature, attributes and methods.

    Parameters
    ----------
    n_components : int, default 256
    learning_rate : float, default 0.1
    batch_size : int, default 10
    n_iter : int, default 10
    verbose : int, default 0
        1 writes the mean pseudo-log-likelihood of the first 100 rows after every epoch.
    random_state : int, RandomState or None, default None
    method : {"pcd", "cd", "fpcd", "pt"}, default "pcd"
        As in `nn.RBM.contrastive_loss`; "pcd" is scikit-learn's.
    k : int, default 1
        Gibbs steps per update.
    momentum, weight_decay : float, default 0
    sparsity_target : float, optional
    shuffle : bool, default False
        Draw a new order of the rows in every epoch.
    callbacks : functions (epoch, rbm, mean loss)

    Attributes
    ----------
    components_ : ndarray (n_components, n_features)
    intercept_hidden_, intercept_visible_ : ndarray (n_components,), (n_features,)
    h_samples_ : ndarray (batch_size, n_components)
        The persistent chains.
    rbm_ : nn.RBM
        The machine, with AIS, clamped sampling, `state_dict` and the rest.
    n_features_in_, feature_names_in_

    Notes
    -----
    Differences from scikit-learn, all on purpose: each phase of the gradient is divided by its own number of rows;
    `partial_fit` returns self and cuts its rows into batches; `score_samples` is the exact pseudo-log-likelihood over all bits,
    where scikit-learn flips one random bit per row (the same expectation); values outside [0, 1] give a warning.
    The random numbers are the library's own, so single weights differ; scores agree within sampling error.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn import BernoulliRBM
    >>> X = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    >>> BernoulliRBM(n_components=2, random_state=0).fit(X).transform(X).shape
    (4, 2)
    """

    _monitored = "pseudo-likelihood"

    def __init__(self, n_components: int = 256, *, learning_rate: float = 0.1, batch_size: int = 10, n_iter: int = 10,
                 verbose: int = 0, random_state: Any = None, method: str = "pcd", k: int = 1, momentum: float = 0.0,
                 weight_decay: float = 0.0, sparsity_target: float | None = None, shuffle: bool = False,
                 callbacks: Sequence[Callable[..., Any]] = ()) -> None:
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.method = method
        self.k = k
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.sparsity_target = sparsity_target
        self.shuffle = shuffle
        self.callbacks = callbacks

    def _machine(self, n_visible, n_hidden, dtype):
        return new_machine(DropInRBM, n_visible, n_hidden, dtype=dtype, generator=self.generator_)

    def _check_values(self, X):
        warn_outside(X, "BernoulliRBM")

    def _score(self, X):
        return self.rbm_.pseudo_log_likelihood(X).array

    def gibbs(self, v: Any, k: int = 1) -> Array:
        """The visible units after k Gibbs steps from v, an array of bool."""
        return super().gibbs(v, k).astype(bool)

    @classmethod
    def from_sklearn(cls, other: Any, **parameters: Any) -> Self:
        """An estimator with the parameters and weights of a fitted scikit-learn `BernoulliRBM`.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.neural_network import BernoulliRBM as Original
        >>> X = np.eye(4)
        >>> fitted = Original(3, random_state=0).fit(X)
        >>> ours = BernoulliRBM.from_sklearn(fitted)
        >>> bool(np.allclose(ours.transform(X), fitted.transform(X)))
        True
        """
        known = cls._get_param_names()
        rbm = cls(**{**{n: v for n, v in other.get_params(deep=False).items() if n in known}, **parameters})
        rbm.components_ = other.components_
        rbm.intercept_hidden_, rbm.intercept_visible_ = other.intercept_hidden_, other.intercept_visible_
        if hasattr(other, "feature_names_in_"):
            rbm.feature_names_in_ = other.feature_names_in_
        return rbm


class GaussianRBM(MachineTransformer):
    """A machine with real-valued visible units: standardise the columns first.

    Parameters
    ----------
    n_components : int, default 256
    learning_rate : float, default 0.001
        Real-valued units diverge at the rate that binary ones like.
    batch_size, n_iter, verbose, random_state : as in `BernoulliRBM`
    hidden : {"bernoulli", "relu"}, default "bernoulli"
    learn_sigma : bool, default False
        Learn the variance of every column instead of taking it as 1.
    method, k, momentum, weight_decay, sparsity_target, shuffle, callbacks : as in `BernoulliRBM`
        Defaults "cd", 1, 0.5, 2e-4, None, True.

    Attributes
    ----------
    components_, intercept_hidden_, intercept_visible_, rbm_, n_features_in_, feature_names_in_ : as in `BernoulliRBM`

    Notes
    -----
    `score_samples` is -F(v): the log-density without its constant, comparable between rows of one machine.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn import GaussianRBM
    >>> X = np.random.default_rng(0).standard_normal((20, 5))
    >>> GaussianRBM(3, random_state=0).fit_transform(X).shape
    (20, 3)
    """

    _monitored = "-free energy"

    def __init__(self, n_components: int = 256, *, learning_rate: float = 0.001, batch_size: int = 10, n_iter: int = 10,
                 verbose: int = 0, random_state: Any = None, hidden: str = "bernoulli", learn_sigma: bool = False,
                 method: str = "cd", k: int = 1, momentum: float = 0.5, weight_decay: float = 2e-4,
                 sparsity_target: float | None = None, shuffle: bool = True,
                 callbacks: Sequence[Callable[..., Any]] = ()) -> None:
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.hidden = hidden
        self.learn_sigma = learn_sigma
        self.method = method
        self.k = k
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.sparsity_target = sparsity_target
        self.shuffle = shuffle
        self.callbacks = callbacks

    def _machine(self, n_visible, n_hidden, dtype):
        return new_machine(RBM, n_visible, n_hidden, "gaussian", self.hidden, learn_sigma=self.learn_sigma, dtype=dtype,
                           generator=self.generator_)

    def _check_values(self, X):
        pass

    def _score(self, X):
        return -self.rbm_.free_energy(X).detach().array.astype(np.float64)
