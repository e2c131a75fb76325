"""Collaborative filtering: a machine whose visible units are ratings, absent where a user gave none."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.boltzmann.units import check_counts
from fastnn.core.grad_mode import no_grad
from fastnn.core.random import randperm_array
from fastnn.core.tensor import from_array
from fastnn.nn import init
from fastnn.nn.linear import empty_parameter, empty_weight
from fastnn.nn.module import Module
from fastnn.ops.boltzmann import bernoulli_units
from fastnn.ops.promotion import float_dtype
from fastnn.ops.random import rand
from fastnn.optim import SGD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Self

    from fastnn.core.types import Array, Device, DTypeArgument, Generator

__all__ = ["Ratings", "RatingRBM"]


class Ratings:
    """Ratings by user: those of user n lie at start[n]:start[n + 1] of `items` and `values`.

    Parameters
    ----------
    source : sparse matrix (users, items), (users, items, values), or {item: value} of one user
        Of a sparse matrix the stored values count, stored zeros too.
    n_items : int, optional
        Default: the columns of the matrix, or the largest item + 1.
    """

    def __init__(self, source: Any, n_items: int | None = None) -> None:
        if hasattr(source, "tocsr"):
            source = source.tocsr()
            users = np.repeat(np.arange(source.shape[0]), np.diff(source.indptr))
            items, values, rows, columns = source.indices, source.data, source.shape[0], source.shape[1]
        else:
            if isinstance(source, dict):
                source = np.zeros(len(source), np.int64), list(source), list(source.values())
            if len(source) != 3:
                raise TypeError("Ratings: expected a sparse matrix, (users, items, values), or {item: value} of one user")
            users, items, values = (np.asarray(x) for x in source)
            if not users.shape == items.shape == values.shape or users.ndim != 1:
                raise ValueError(f"Ratings: users, items and values must be as long as each other, got {users.shape}, {items.shape} "
                                 f"and {values.shape}")
            users, items = (x.astype(np.int64, casting="same_kind" if x.size else "unsafe") for x in (users, items))
            rows, columns = int(users.max(initial=0)) + 1, int(items.max(initial=-1)) + 1
        self.n_users, self.n_items = rows, columns if n_items is None else n_items
        if users.size and (users.min() < 0 or items.min() < 0 or items.max() >= self.n_items):
            raise IndexError(f"Ratings: users count from 0 and items from 0 to {self.n_items - 1}, got items from {items.min()} to "
                             f"{items.max()}, users from {users.min()}")
        order = np.lexsort((items, users))
        self.users, self.items, self.values = users[order], items[order].astype(np.int64), values[order].astype(np.float64)
        self.start = np.searchsorted(self.users, np.arange(rows + 1))
        twice = (np.diff(self.users) == 0) & (np.diff(self.items) == 0)
        if twice.any():
            where = int(np.flatnonzero(twice)[0])
            raise ValueError(f"Ratings: user {self.users[where]} rates item {self.items[where]} twice")

    def of(self, users):
        """(row, item, position) of the ratings of some users, row counted within `users`."""
        lengths = self.start[users + 1] - self.start[users]
        rows = np.repeat(np.arange(len(users)), lengths)
        ends = np.cumsum(lengths)
        position = np.arange(len(rows)) - np.repeat(ends - lengths, lengths) + np.repeat(self.start[users], lengths)
        return rows, self.items[position], position


class RatingRBM(Module):
    r"""A conditional RBM of ratings: one softmax unit per item a user rated, nothing for the others.

    With s the values of the scale, u a user and i the items that u rated,

        p(r_ui = s_k | h)  proportional to  exp(g_k + s_k (t_ui + a_i.(h - 1/2)))
        p(h_j = 1 | r)     =  sigmoid(c_j + sum_i (r_ui - m_ui) a_ij + sum_i d_ij)

    g are the log frequencies of the values, m_ui the mean of the rating by the biases of user and item, and t_ui such that the
    unit has just this mean at h = 1/2: the machine learns what the biases do not explain.  d is the conditional term: *which*
    items were rated.  The weights of the values of an item are s_k a_i, as few ratings per item carry no more.

    Parameters
    ----------
    n_items : int
    n_hidden : int, default 50
    scale : array of numbers, default 1 to 5
        The ratings there are; any other is an error.
    conditional : bool, default True
        Have the term d.
    shrinkage : float, default 5
        Ratings that a bias of 0 is worth.
    device : None or "cpu"
    dtype : float32 or float64, default the default dtype

    Attributes
    ----------
    weight : Parameter (n_hidden, n_items)
        a
    rated_weight : Parameter (n_hidden, n_items) or None
        d
    hbias : Parameter (n_hidden,)
        c
    item_bias, log_frequency : buffers (n_items,), (len(scale),)
    mean_rating : buffer, one number

    References
    ----------
    Salakhutdinov, Mnih and Hinton, Restricted Boltzmann machines for collaborative filtering, ICML 2007.

    Examples
    --------
    >>> import fastnn
    >>> from fastnn.boltzmann.recommender import RatingRBM
    >>> users, items, values = [0, 0, 1, 1, 2], [0, 1, 0, 2, 1], [5, 4, 1, 2, 5]
    >>> rbm = RatingRBM(3, 4).fit((users, items, values), epochs=2)
    >>> rbm.predict({0: 5, 1: 4}, items=[2]).shape
    (1, 1)
    """

    def __init__(self, n_items: int, n_hidden: int = 50, scale: Sequence[float] | Array = (1, 2, 3, 4, 5),
                 conditional: bool = True, shrinkage: float = 5.0, device: Device = None,
                 dtype: DTypeArgument = None) -> None:
        dtype = float_dtype(device, dtype)
        super().__init__()
        self.scale = np.asarray(scale, np.float64)
        if self.scale.ndim != 1 or len(self.scale) < 2 or not np.all(np.diff(self.scale) > 0):
            raise ValueError(f"RatingRBM: scale needs at least two values in ascending order, got {scale}")
        check_counts("RatingRBM", 1, n_items=n_items, n_hidden=n_hidden)
        if shrinkage <= 0:
            raise ValueError(f"RatingRBM: shrinkage must be positive, got {shrinkage}")
        self.n_items, self.n_hidden, self.shrinkage = n_items, n_hidden, shrinkage
        self.weight = empty_weight(n_hidden, n_items, dtype)
        self.register_parameter("rated_weight", empty_weight(n_hidden, n_items, dtype) if conditional else None)
        self.hbias = empty_parameter(n_hidden, dtype)
        self.register_buffer("item_bias", from_array(np.zeros(n_items)))
        self.register_buffer("log_frequency", from_array(np.full(len(self.scale), -np.log(len(self.scale)))))
        self.register_buffer("mean_rating", from_array(np.full(1, self.scale.mean())))
        self.reset_parameters()

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw the weight from N(0, 0.01^2); all else becomes 0."""
        init.normal_(self.weight, 0, 0.01, generator)
        init.zeros_(self.hbias)
        if self.rated_weight is not None:
            init.zeros_(self.rated_weight)

    def extra_repr(self) -> str:
        return f"{self.n_items}, {self.n_hidden}, scale={self.scale[0]:g} to {self.scale[-1]:g} in {len(self.scale)}"

    # ---- what the biases say ---------------------------------------------------------------------------------------
    def checked(self, ratings):
        """The ratings, all of the scale."""
        ratings = ratings if isinstance(ratings, Ratings) else Ratings(ratings, self.n_items)
        if ratings.n_items != self.n_items:
            raise ValueError(f"RatingRBM: expected ratings of {self.n_items} items, got {ratings.n_items}")
        near = self.scale[self.code(ratings.values)]
        wrong = ~(np.abs(near - ratings.values) < 1e-6)
        if wrong.any():
            raise ValueError(f"RatingRBM: {wrong.sum()} ratings are not on the scale {self.scale.tolist()}, the first is "
                             f"{ratings.values[wrong][0]}; pass the scale of the data, and leave out what is not rated")
        return ratings

    def code(self, values):
        """Index of the nearest value of the scale."""
        return np.searchsorted((self.scale[1:] + self.scale[:-1]) / 2, values)

    def user_bias(self, ratings):
        """What each user adds to the mean of the items, shrunk towards 0."""
        rest = ratings.values - self.mean_rating.array[0] - self.item_bias.array[ratings.items]
        return np.bincount(ratings.users, rest, ratings.n_users) / (self.shrinkage + np.diff(ratings.start))

    def init_from_data(self, ratings):
        """Set the frequencies and the item biases, by turns with those of the users."""
        counts = np.bincount(self.code(ratings.values), minlength=len(self.scale)) + 1.0
        self.log_frequency.array[...] = np.log(counts / counts.sum())
        mean = self.mean_rating.array[0] = ratings.values.mean()
        self.item_bias.array[...] = 0
        per_item = self.shrinkage + np.bincount(ratings.items, minlength=self.n_items)
        for _ in range(20):
            rest = ratings.values - mean - self.user_bias(ratings)[ratings.users]
            self.item_bias.array[...] = np.bincount(ratings.items, rest, self.n_items) / per_item
        return self

    def tilt(self, mean):
        """t at which a unit has this mean, by a table; means at the very ends of the scale are moved inwards by 1 %."""
        points = np.linspace(-16, 16, 4001) / (self.scale[-1] - self.scale[0]) * 4
        margin = (self.scale[-1] - self.scale[0]) / 100
        inside = np.clip(mean, self.scale[0] + margin, self.scale[-1] - margin)
        return np.interp(inside, self.probabilities(points) @ self.scale, points)

    def probabilities(self, t):
        """p(r = s_k) of units of inputs t, (units, values)."""
        y = self.log_frequency.array + np.asarray(t, np.float64)[:, None] * (self.scale - self.mean_rating.array)
        y = np.exp(y - y.max(1, keepdims=True))
        return y / y.sum(1, keepdims=True)

    # ---- conditionals ----------------------------------------------------------------------------------------------
    def hidden_input(self, deviations, rated):
        """c + sum (r - m) a + sum d, from dense rows of r - m and of 0/1."""
        x = deviations @ self.weight.t() + self.hbias
        return x if self.rated_weight is None else x + rated @ self.rated_weight.t()

    def dense(self, n, rows, items, values):
        out = np.zeros((n, self.n_items), self.weight.dtype)
        out[rows, items] = values
        return from_array(out)

    def fit(self, ratings: Any, epochs: int = 15, *, batch_size: int = 64, lr: float = 0.02, k: int = 1,
            momentum: float = 0.9, weight_decay: float = 0.01, final_lr: float | None = None,
            callbacks: Sequence[Callable[..., Any]] = (), generator: Generator | None = None) -> Self:
        """Train by CD-k on the users' ratings.

        Parameters
        ----------
        ratings : sparse matrix (users, items), or (users, items, values)
        epochs : int, default 15
        batch_size : int, default 64
            Users per update.
        lr : float, default 0.02
        k : int, default 1
        momentum, weight_decay : float, default 0.9 and 0.01
            The decay is of the weights only.
        final_lr : float, default lr / 10
            The rate falls linearly to this.
        callbacks : functions (epoch, rbm, mean squared error of the reconstruction)
        generator : Generator, default the default generator

        Raises
        ------
        ValueError
            For a rating that is not on the scale.
        FloatingPointError
            If the parameters are no longer finite.
        """
        check_counts("RatingRBM.fit", 0, epochs=epochs)
        check_counts("RatingRBM.fit", 1, batch_size=batch_size, k=k)
        ratings = self.checked(ratings)
        if not len(ratings.values):
            raise ValueError("RatingRBM: there are no ratings to fit")
        self.init_from_data(ratings)
        means = self.mean_rating.array + self.user_bias(ratings)[ratings.users] + self.item_bias.array[ratings.items]
        tilts = self.tilt(means)
        weights = [p for p in (self.weight, self.rated_weight) if p is not None]
        groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": weight_decay}, {"params": [self.hbias]}]
        optimizer = SGD(groups, lr=lr, momentum=momentum)
        final_lr = lr / 10 if final_lr is None else final_lr
        for epoch in range(epochs):
            for group in optimizer.param_groups:
                group["lr"] = lr + (final_lr - lr) * epoch / max(1, epochs)
            error, order = 0.0, randperm_array(ratings.n_users, generator)
            for first in range(0, len(order), batch_size):
                rows, items, position = ratings.of(order[first:first + batch_size])
                n = min(batch_size, len(order) - first)
                error += self.contrast(n, rows, items, ratings.values[position], means[position], tilts[position], k, generator)
                optimizer.step()
            if not all(np.isfinite(p.array).all() for p in self.parameters()):
                raise FloatingPointError(f"RatingRBM: the parameters are no longer finite after epoch {epoch + 1}; start again with "
                                         f"an lr below {lr:g}")
            answers = [callback(epoch, self, error / len(ratings.values)) for callback in callbacks]
            if any(answers):
                break
        return self

    def contrast(self, n, rows, items, values, means, tilts, k, generator):
        """Put the CD-k gradient of n users into `.grad`; the sum of squared errors of the reconstruction."""
        with no_grad():
            deviations, rated = self.dense(n, rows, items, values - means), self.dense(n, rows, items, 1)
            x = self.hidden_input(deviations, rated)
            p = x.sigmoid()
            for _ in range(k):
                h = bernoulli_units(x, generator)[1]
                t = ((h - 0.5) @ self.weight).array[rows, items] + tilts
                steps = np.cumsum(self.probabilities(t), 1)
                u = rand(len(rows), generator=generator, dtype=np.float64).array
                sample = self.scale[np.minimum((u[:, None] > steps).sum(1), len(self.scale) - 1)]
                moved = self.dense(n, rows, items, sample - means)
                x = self.hidden_input(moved, rated)
            q = x.sigmoid()
            self.weight.grad = ((q - 0.5).t() @ moved - (p - 0.5).t() @ deviations) / n
            if self.rated_weight is not None:
                self.rated_weight.grad = (q - p).t() @ rated / n
            self.hbias.grad = (q - p).mean(0)
        return float(((sample - values) ** 2).sum())

    # ---- use -------------------------------------------------------------------------------------------------------
    def transform(self, user_ratings: Any) -> Array:
        """Means of the hidden units given each user's ratings, (users, n_hidden)."""
        return self.given(self.checked(user_ratings))[0].array

    def given(self, ratings):
        """Hidden means and biases of users."""
        bias = self.user_bias(ratings)
        means = self.mean_rating.array + bias[ratings.users] + self.item_bias.array[ratings.items]
        with no_grad():
            h = self.hidden_input(self.dense(ratings.n_users, ratings.users, ratings.items, ratings.values - means),
                                  self.dense(ratings.n_users, ratings.users, ratings.items, 1)).sigmoid()
        return h, bias

    def predict(self, user_ratings: Any, items: Any = None) -> Array:
        """Expected ratings of items by users whose known ratings are `user_ratings`: one pass up and down.

        Nothing of the training ratings is used but the parameters; a user need not have been among them.

        Parameters
        ----------
        user_ratings : sparse matrix (users, items), (users, items, values), or {item: value} of one user
            What is known of the users.  The ratings to be predicted must not be among these.
        items : sequence of int, default all
            Items to predict.

        Returns
        -------
        ndarray (users, len(items))
        """
        ratings = self.checked(user_ratings)
        items = np.arange(self.n_items) if items is None else np.atleast_1d(np.asarray(items))
        if items.size and (items.min() < 0 or items.max() >= self.n_items):
            raise IndexError(f"RatingRBM.predict: items count from 0 to {self.n_items - 1}, got {items.min()} to {items.max()}")
        h, bias = self.given(ratings)
        out = np.empty((ratings.n_users, len(items)))
        learned = (h.array - 0.5) @ self.weight.array[:, items]
        for row in range(len(out)):         # one user at a time: the table of all values of all items is large
            mean = self.mean_rating.array + bias[row] + self.item_bias.array[items]
            out[row] = self.probabilities(learned[row] + self.tilt(mean)) @ self.scale
        return out

    def recommend(self, user_ratings: Any, count: int = 10) -> Array:
        """The items with the highest expected ratings that each user has not rated, (users, count); -1 where there are no more."""
        ratings = self.checked(user_ratings)
        scores = self.predict(ratings)
        scores[ratings.users, ratings.items] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        return np.where(np.isfinite(np.take_along_axis(scores, best, 1)), best, -1)
