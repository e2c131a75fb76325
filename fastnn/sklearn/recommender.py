"""Recommending by a machine of ratings."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from fastnn.boltzmann.recommender import RatingRBM, Ratings
from fastnn.core.random import fork_rng
from fastnn.sklearn.base import generator_of, positive, whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    from fastnn.core.types import Array

__all__ = ["RBMRecommender"]


class RBMRecommender(BaseEstimator):
    """Ratings predicted by a conditional RBM: see `fastnn.boltzmann.recommender.RatingRBM`.

    Parameters
    ----------
    n_components : int, default 50
    scale : array of numbers, optional
        The ratings there are; default those that occur in `fit`.
    conditional : bool, default True
        Learn from which items were rated, too.
    learning_rate : float, default 0.02
    batch_size : int, default 64
    n_iter : int, default 15
    k : int, default 1
    momentum, weight_decay : float, default 0.9 and 0.01
    shrinkage : float, default 5
    random_state : int, RandomState or None, default None

    Attributes
    ----------
    rbm_ : RatingRBM
    n_features_in_ : int
        Items.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from fastnn.sklearn import RBMRecommender
    >>> ratings = csr_array([[5, 4, 0], [1, 0, 2], [5, 0, 4]])
    >>> RBMRecommender(2, n_iter=2, random_state=0).fit(ratings).predict({0: 5}, items=[1, 2]).shape
    (1, 2)
    """

    def __init__(self, n_components: int = 50, *, scale: Sequence[float] | None = None, conditional: bool = True,
                 learning_rate: float = 0.02, batch_size: int = 64, n_iter: int = 15, k: int = 1, momentum: float = 0.9,
                 weight_decay: float = 0.01, shrinkage: float = 5.0, random_state: Any = None) -> None:
        self.n_components = n_components
        self.scale = scale
        self.conditional = conditional
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.k = k
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.shrinkage = shrinkage
        self.random_state = random_state

    def fit(self, ratings: Any, y: Any = None) -> Self:
        """Learn from a sparse matrix (users, items) or from (users, items, values)."""
        for name, least in (("n_components", 1), ("batch_size", 1), ("n_iter", 0), ("k", 1)):
            whole(getattr(self, name), name, least)
        for name in ("learning_rate", "shrinkage"):
            positive(getattr(self, name), name)
        ratings = Ratings(ratings)
        scale = np.unique(ratings.values) if self.scale is None else self.scale
        generator = generator_of(self.random_state)
        with fork_rng():
            self.rbm_ = RatingRBM(ratings.n_items, self.n_components, scale, self.conditional, self.shrinkage)
        self.rbm_.reset_parameters(generator)
        self.n_features_in_ = ratings.n_items
        self.rbm_.fit(ratings, self.n_iter, batch_size=self.batch_size, lr=self.learning_rate, k=self.k, momentum=self.momentum,
                      weight_decay=self.weight_decay, generator=generator)
        return self

    def predict(self, user_ratings: Any, items: Any = None) -> Array:
        """Expected ratings of `items` (default all) by users of whom `user_ratings` is known, (users, items)."""
        check_is_fitted(self)
        return self.rbm_.predict(user_ratings, items)

    def recommend(self, user_ratings: Any, count: int = 10) -> Array:
        """The best items that each user has not rated, (users, count); -1 where there are no more."""
        check_is_fitted(self)
        return self.rbm_.recommend(user_ratings, count)

    def transform(self, user_ratings: Any) -> Array:
        """The hidden means of each user, (users, n_components)."""
        check_is_fitted(self)
        return self.rbm_.transform(user_ratings)
