"""Topics of word counts as a transformer."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fastnn.boltzmann.topics import TopicRBM
from fastnn.sklearn.base import floats, generator_of, new_machine, positive, whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    from fastnn.core.types import Array

__all__ = ["ReplicatedSoftmax"]


class ReplicatedSoftmax(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Topic model of word counts: see `fastnn.boltzmann.topics.TopicRBM`.  A peer of `LatentDirichletAllocation`.

    Parameters
    ----------
    n_components : int, default 50
        Topics.
    learning_rate : float, default 0.003
    batch_size : int, default 100
    n_iter : int, default 15
    longest : int or None, default 100
        Longer documents are thinned to about this many words while training.
    k : int, default 1
    random_state : int, RandomState or None, default None

    Attributes
    ----------
    components_ : ndarray (n_components, n_features)
        The weights: what a word says for a topic.
    rbm_ : TopicRBM
    n_features_in_, feature_names_in_

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn import ReplicatedSoftmax
    >>> counts = np.array([[3, 1, 0, 0], [2, 2, 0, 0], [0, 0, 1, 4], [0, 0, 2, 2]])
    >>> ReplicatedSoftmax(2, n_iter=3, random_state=0).fit_transform(counts).shape
    (4, 2)
    """

    def __init__(self, n_components: int = 50, *, learning_rate: float = 0.003, batch_size: int = 100, n_iter: int = 15,
                 longest: int | None = 100, k: int = 1, random_state: Any = None) -> None:
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.longest = longest
        self.k = k
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from counts, dense or CSR, (documents, words)."""
        for name, least in (("n_components", 1), ("batch_size", 1), ("n_iter", 0), ("k", 1)):
            whole(getattr(self, name), name, least)
        positive(self.learning_rate, "learning_rate")
        X = floats(self, X, reset=True)
        generator = generator_of(self.random_state)
        self.rbm_ = new_machine(TopicRBM, X.shape[1], self.n_components, dtype=X.dtype, generator=generator)
        self.rbm_.fit(X, self.n_iter, batch_size=self.batch_size, lr=self.learning_rate, longest=self.longest, k=self.k,
                      generator=generator)
        return self

    @property
    def components_(self) -> Array:
        """The weights (n_components, n_features)."""
        check_is_fitted(self, "rbm_")
        return self.rbm_.weight.array

    @property
    def _n_features_out(self):
        return self.rbm_.n_hidden

    def transform(self, X: Any) -> Array:
        """The means of the topics, (documents, n_components)."""
        check_is_fitted(self, "rbm_")
        return self.rbm_.transform(floats(self, X, reset=False))

    def perplexity(self, X: Any, betas: int | Array = 1000, chains: int = 50) -> float:
        """Perplexity per word, exact up to 20 topics: see `TopicRBM.perplexity`."""
        check_is_fitted(self, "rbm_")
        return self.rbm_.perplexity(floats(self, X, reset=False), betas, chains, generator_of(self.random_state))

    def top_words(self, vocabulary: Sequence[str] | None = None, count: int = 10) -> list[list[Any]]:
        """The words of the largest weights of each topic; the vocabulary is by default the names of the columns in `fit`."""
        check_is_fitted(self, "rbm_")
        names: Any = vocabulary
        if names is None:
            names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))
        return self.rbm_.top_words(names, count)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
