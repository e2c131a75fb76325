"""Topic modelling: Replicated Softmax, a machine of word counts."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastnn.boltzmann import training
from fastnn.boltzmann.rbm import MOST_ENUMERATED, RBM, binary_states
from fastnn.boltzmann.units import log_sum_exp
from fastnn.core.tensor import from_array
from fastnn.ops.random import rand
from fastnn.optim import Adam

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Self

    from fastnn.core.types import Array, Generator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from fastnn.core.types import Array, Device, DTypeArgument, Generator

__all__ = ["TopicRBM"]


class TopicRBM(RBM):
    """Replicated Softmax: an `RBM` with multinomial visible units, with the training and the measures that word counts need.

    Parameters
    ----------
    n_words, n_topics : int
        Visible and hidden units.
    device, dtype : as in `RBM`

    Notes
    -----
    A document of D words weighs D times in the gradient and D times in the bias of the hidden units, so a few long ones would
    drive all units to 0 or 1.  `fit` therefore thins long documents and trains by Adam, with a smaller rate for the hidden biases.

    References
    ----------
    Salakhutdinov and Hinton, Replicated softmax: an undirected topic model, NIPS 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.boltzmann.topics import TopicRBM
    >>> counts = np.array([[3, 1, 0, 0], [2, 2, 0, 0], [0, 0, 1, 4], [0, 0, 2, 2]])
    >>> rbm = TopicRBM(4, 2).fit(counts, epochs=2)
    >>> [len(words) for words in rbm.top_words(["cat", "dog", "bond", "share"], 3)]
    [3, 3]
    """

    def __init__(self, n_words: int, n_topics: int, device: Device = None, dtype: DTypeArgument = None) -> None:
        super().__init__(n_words, n_topics, "multinomial", device=device, dtype=dtype)

    def fit(self, X: Any, epochs: int = 15, *, batch_size: int = 100, lr: float = 0.003, hbias_rate: float = 0.03,
            longest: int | None = 100, k: int = 1, method: str = "cd", shuffle: bool = True,
            callbacks: Sequence[Callable[..., Any]] = (), generator: Generator | None = None, **options: Any) -> Self:
        """Train on word counts; vbias starts at the log frequencies of the words.

        Parameters
        ----------
        X : array or sparse matrix (documents, n_words)
            Counts; documents without words are left out.
        epochs : int, default 15
        batch_size : int, default 100
        lr : float, default 0.003
            Of Adam.
        hbias_rate : float, default 0.03
            Rate of hbias relative to lr: the inputs of the hidden units contain D times hbias.
        longest : int or None, default 100
            Longer documents are thinned to about this many words, each count at the same rate; None leaves them.
        k, method, shuffle, callbacks, generator : as in `RBM.fit`, which takes the other options
        """
        X = without_empty(X)
        if not X.shape[0]:
            raise ValueError("TopicRBM.fit: no document has any words")
        if longest is not None:
            X = thinned(X, longest, generator)
        if not np.any(self.vbias.array):
            self.init_from_frequencies(X)
        groups: list[dict[str, Any]] = [{"params": [self.weight, self.vbias]}, {"params": [self.hbias], "lr": lr * hbias_rate}]
        optimizer = Adam(groups, lr=lr)
        training.fit(self, X, epochs, batch_size=batch_size, k=k, method=method, shuffle=shuffle, optimizer=optimizer,
                     callbacks=callbacks, generator=generator, **options)
        return self

    def init_from_frequencies(self, X: Any) -> None:
        """Set vbias to the log frequencies of the words, each word seen once more."""
        counts = np.asarray(X.sum(0), np.float64).reshape(-1) + 1
        self.vbias.data = from_array(np.log(counts / counts.sum()).astype(self.vbias.dtype))

    def transform(self, X: Any, batch_size: int = 1024) -> Array:
        """Means of the topics of every document, (documents, n_topics)."""
        return training.transform(self, X, batch_size)

    def top_words(self, vocabulary: Sequence[str], count: int = 10) -> list[list[str]]:
        """The words of the largest weights of each topic, a list of lists.

        vocabulary : the words, in the order of the columns
        """
        if len(vocabulary) != self.n_visible:
            raise ValueError(f"TopicRBM.top_words: expected {self.n_visible} words, got {len(vocabulary)}")
        order = np.argsort(-self.weight.array, axis=1, kind="stable")[:, :count]
        return [[str(vocabulary[word]) for word in row] for row in order]

    def log_partitions(self, lengths: Any) -> Array:
        """log Z for each of some lengths, by one enumeration of the topics, at most 20 (float64)."""
        if self.n_hidden > MOST_ENUMERATED:
            raise ValueError(f"TopicRBM.log_partitions: enumeration is for at most {MOST_ENUMERATED} topics, this machine has "
                             f"{self.n_hidden}; use ais_log_partition")
        W, c, b = (p.array.astype(np.float64) for p in (self.weight, self.hbias, self.vbias))
        per_word = np.concatenate([h @ c + log_sum_exp(h @ W + b, -1) for h in binary_states(self.n_hidden, 1 << 11)])
        return np.array([np.logaddexp.reduce(D * per_word) for D in lengths])

    def log_likelihood(self, X: Any, betas: int | Array | None = 1000, chains: int = 50,
                       generator: Generator | None = None) -> tuple[Array, Array]:
        """log p of each document as a sequence of words (float64), and of how many words.

        The partition function depends on the length.  Up to 20 topics it is summed exactly.  For more it is estimated by AIS, once
        per length that occurs: too low where betas are few or documents long, and the likelihood then far too high.  Trust it only
        when four times as many betas give the same.

        Parameters
        ----------
        X : array or sparse matrix (documents, n_words)
        betas, chains : as in `RBM.ais_log_partition`

        Returns
        -------
        log p, words : ndarray (documents,)
        """
        rows = self.units.rows(X)
        lengths = rows.array.sum(1).astype(np.int64)
        different = np.unique(lengths)
        if self.n_hidden <= MOST_ENUMERATED:
            estimates = self.log_partitions(different).tolist()
        else:
            estimates = [self.ais_log_partition(betas, chains, given=int(D), generator=generator).value for D in different]
        log_z = dict(zip(different.tolist(), estimates, strict=True))
        free = self.free_energy(rows).detach().array.astype(np.float64)
        return -free - np.array([log_z[int(D)] for D in lengths]), lengths

    def perplexity(self, X: Any, betas: int | Array | None = 1000, chains: int = 50,
                   generator: Generator | None = None) -> float:
        """exp of minus the mean log-likelihood per word; the number of words for a machine that knows nothing."""
        log_p, lengths = self.log_likelihood(without_empty(X), betas, chains, generator)
        return float(np.exp(-log_p.sum() / lengths.sum()))


def without_empty(X):
    """The rows that have words, checked to be counts: thinning would hide what is none."""
    X = X.tocsr() if hasattr(X, "tocsr") else np.asarray(getattr(X, "array", X))
    if X.ndim != 2:
        raise ValueError(f"TopicRBM: expected counts of shape (documents, words), got shape {tuple(X.shape)}")
    counts = X.data if hasattr(X, "indptr") else X
    if counts.size and not (np.isfinite(counts).all() and counts.min() >= 0 and np.array_equal(counts, np.floor(counts))):
        raise ValueError("TopicRBM: visible units of this machine are counts, finite whole numbers from 0; got values from "
                         f"{counts.min()} to {counts.max()}")
    return X[np.asarray(X.sum(1)).reshape(-1) != 0]


def thinned(X, longest, generator=None):
    """Counts of long documents at a smaller rate, rounded up or down by chance so that the mean is right."""
    if longest < 1:
        raise ValueError(f"TopicRBM.fit: longest must be at least 1, got {longest}")
    lengths = np.asarray(X.sum(1), np.float64).reshape(-1)
    rate = np.minimum(1, longest / np.maximum(lengths, 1))
    if hasattr(X, "indptr"):
        X, each = X.copy(), np.repeat(rate, np.diff(X.indptr))
    else:
        each = np.broadcast_to(rate[:, None], X.shape)
    counts = X.data if hasattr(X, "indptr") else X
    u = rand(*counts.shape, generator=generator, dtype=np.float64).array
    fewer = np.where(each < 1, np.floor(counts * each + u), counts).astype(counts.dtype)
    if not hasattr(X, "indptr"):
        return fewer
    X.data = fewer
    return X
