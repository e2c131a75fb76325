"""What the estimators share: their data, their random numbers, the parameters of a machine as scikit-learn's attributes."""
from __future__ import annotations

import sys
import time
import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, check_scalar, validate_data

from fastnn.boltzmann import training
from fastnn.boltzmann.rbm import RBM
from fastnn.boltzmann.units import Bernoulli, as_rows, check_finite
from fastnn.core.random import Generator, fork_rng
from fastnn.core.tensor import from_array
from fastnn.nn import init
from fastnn.optim import SGD

if TYPE_CHECKING:
    from typing import Any, Self

    from fastnn.core.types import Array


def whole(value, name, least=1):
    """Check a parameter that is a whole number."""
    check_scalar(value, name, Integral, min_val=least)
    return int(value)


def positive(value, name, least=0, included=False, most=None):
    """Check a parameter that is a positive number (with `included`: or zero)."""
    sides = ("both" if included else "right") if most is not None else ("left" if included else "neither")
    check_scalar(value, name, Real, min_val=least, max_val=most, include_boundaries=sides)
    return float(value)


def generator_of(random_state):
    """A generator seeded by scikit-learn's `random_state`."""
    return Generator().manual_seed(int(check_random_state(random_state).randint(2**31 - 1)))


def floats(estimator, X, reset, accept_sparse="csr", **options):
    """Checked rows, float32 or float64 as they came, CSR or dense."""
    return validate_data(estimator, X, accept_sparse=accept_sparse, reset=reset, dtype=(np.float64, np.float32), **options)


def drawn(machine, generator):
    """The machine with its weights drawn from `generator`."""
    for name, p in machine.named_parameters():
        if name.endswith("weight"):
            init.normal_(p, 0, 0.01, generator)
    return machine


def new_machine(kind, *sizes, generator, **options):
    """A machine drawn from `generator`; the default generator stays as it is."""
    with fork_rng():
        machine = kind(*sizes, **options)
    return drawn(machine, generator)


class Reporter:
    """Tells the user about every epoch, when asked to by `verbose`."""

    def __init__(self, estimator, quantity):
        self.name, self.quantity, self.start = type(estimator).__name__, quantity, time.perf_counter()

    def __call__(self, epoch, value):
        now = time.perf_counter()
        sys.stdout.write(f"[{self.name}] Iteration {epoch + 1}, {self.quantity} = {value:.2f}, time = {now - self.start:.2f}s\n")
        self.start = now


class UnboundedBernoulli(Bernoulli):
    """Bernoulli units whose data may leave [0, 1], as scikit-learn allows."""

    def rows(self, v):
        v = as_rows(v, self.rbm.n_visible, self.rbm.weight.dtype)
        check_finite(v.array, "bernoulli")
        return v


class DropInRBM(RBM):
    """The machine of `BernoulliRBM`: `fit` warned where the data leave [0, 1]."""

    @property
    def units(self):
        return UnboundedBernoulli(self)


def warn_outside(X, name):
    """Warn when values are no probabilities: the machine is trained on them as they are."""
    values = X.data if hasattr(X, "toarray") else X
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        warnings.warn(f"{name}: values from {values.min():.4g} to {values.max():.4g}, but the visible units stand for values in "
                      "[0, 1]; scale the columns (MinMaxScaler), or standardise them and use GaussianRBM", UserWarning, stacklevel=3)


def parameter(name, doc):
    """A parameter of the machine as an attribute of the estimator; setting one before `fit` is how weights are brought in."""
    def read(self):
        if "rbm_" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {doc!r}: it is not fitted yet")
        return getattr(self.rbm_, name).array

    def write(self, value):
        value = np.asarray(value)
        if "rbm_" not in vars(self):
            if name != "weight":
                raise AttributeError(f"{doc}: set components_ first")
            dtype = value.dtype if value.dtype in (np.float32, np.float64) else np.float64
            self.generator_ = generator_of(self.random_state)
            self.rbm_ = self._machine(value.shape[1], len(value), dtype)
            self.n_features_in_ = value.shape[1]
        target = getattr(self.rbm_, name)
        if value.shape != tuple(target.shape):
            raise ValueError(f"{doc}: expected shape {tuple(target.shape)}, got {value.shape}")
        target.data = from_array(np.array(value, target.dtype, order="K"))
    return property(read, write)


class MachineTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """An RBM as a transformer: the hidden means are the features."""

    components_ = parameter("weight", "components_")
    intercept_hidden_ = parameter("hbias", "intercept_hidden_")
    intercept_visible_ = parameter("vbias", "intercept_visible_")

    @property
    def h_samples_(self):
        """Hidden states of the persistent chains (batch_size, n_components)."""
        if "rbm_" not in vars(self) or self.rbm_.chains is None or self.method not in ("pcd", "fpcd"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'h_samples_': only persistent chains have it")
        return self.rbm_.chains.array

    @property
    def _n_features_out(self):
        return self.rbm_.n_hidden

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check_parameters(self):
        whole(self.n_components, "n_components")
        whole(self.batch_size, "batch_size")
        whole(self.n_iter, "n_iter", 0)
        whole(self.k, "k")
        positive(self.learning_rate, "learning_rate")
        positive(self.momentum, "momentum", included=True, most=1)
        positive(self.weight_decay, "weight_decay", included=True)

    def _start(self, X):
        """A new machine and generator for the data."""
        self.generator_ = generator_of(self.random_state)
        self.rbm_ = self._machine(X.shape[1], self.n_components, X.dtype)
        if self.method in ("pcd", "fpcd"):      # scikit-learn's chains start at zero
            self.rbm_.chains = from_array(np.zeros((self.batch_size, self.n_components), X.dtype))
        self.__dict__.pop("optimizer_", None)

    def _options(self):
        return dict(batch_size=self.batch_size, lr=self.learning_rate, k=self.k, method=self.method, shuffle=self.shuffle,
                    momentum=self.momentum, final_momentum=self.momentum, weight_decay=self.weight_decay,
                    generator=self.generator_, sparsity_target=self.sparsity_target)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train a new machine on the rows of X; what an earlier `fit` learned is forgotten.

        Parameters
        ----------
        X : array or sparse matrix (n_samples, n_features)
        y : ignored

        Raises
        ------
        FloatingPointError
            If the parameters are no longer finite.
        """
        X = floats(self, X, reset=True)
        self._check_parameters()
        self._check_values(X)
        self._start(X)
        callbacks = list(self.callbacks)
        if self.verbose:
            report, few = Reporter(self, self._monitored), X[:100]
            callbacks.insert(0, lambda epoch, rbm, loss: report(epoch, self._score(few).mean()))
        training.fit(self.rbm_, X, self.n_iter, callbacks=callbacks, **self._options())
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """One pass over the rows of X, in batches of `batch_size`; chains and momentum go on from the call before."""
        first = "rbm_" not in vars(self)
        X = floats(self, X, reset=first)
        self._check_parameters()
        self._check_values(X)
        if first:
            self._start(X)
        if "optimizer_" not in vars(self):
            self.optimizer_ = SGD(self.rbm_.param_groups(weight_decay=self.weight_decay), lr=self.learning_rate,
                                  momentum=self.momentum)
        options = self._options()
        rest = {name: options[name] for name in ("k", "method", "generator", "sparsity_target")}
        for start in range(0, X.shape[0], self.batch_size):
            self.optimizer_.zero_grad()
            self.rbm_.contrastive_loss(X[start:start + self.batch_size], **rest).backward()
            self.optimizer_.step()
        return self

    def transform(self, X: Any) -> Array:
        """The means of the hidden units, (n_samples, n_components)."""
        check_is_fitted(self)
        return training.transform(self.rbm_, floats(self, X, reset=False))

    def gibbs(self, v: Any, k: int = 1) -> Array:
        """The visible units after k Gibbs steps from v."""
        check_is_fitted(self)
        return self.rbm_.gibbs(v, k, generator=self.generator_).array

    def reconstruct(self, X: Any) -> Array:
        """The means of the visible units given the means of the hidden ones given X."""
        check_is_fitted(self)
        return self.rbm_.reconstruct(floats(self, X, reset=False)).array

    def free_energy(self, X: Any) -> Array:
        """F(v) of every row; -F(v) is log p(v) without the constant log Z."""
        check_is_fitted(self)
        return self.rbm_.free_energy(floats(self, X, reset=False)).detach().array

    def score_samples(self, X: Any) -> Array:
        """A measure of every row; see the class."""
        check_is_fitted(self)
        return self._score(floats(self, X, reset=False))
