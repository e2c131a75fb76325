"""Samplers: the order in which a DataLoader reads its samples.  Under one seed it is torch's order.

A sampler whose order is known in whole gives it as arrays, by `chunks`; iterating over it one number at a time and
cutting it into batches both read these, so the numbers and the draws from the generator are the same either way.
"""
from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from fastnn.core.random import Generator, rand64, randint, randperm_array, u64

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Sized
    from typing import Any

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Array

__all__ = ["BatchSampler", "DistributedSampler", "RandomSampler", "Sampler", "SequentialSampler", "SubsetRandomSampler",
           "WeightedRandomSampler"]

T = TypeVar("T", covariant=True)


class Sampler(Generic[T]):
    """Base of samplers: a subclass defines ``__iter__`` (numbers of samples, or lists of them) and usually ``__len__``."""

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError


def draw_seed(generator=None):
    """A seed for another generator: torch's ``random_()`` on an int64."""
    return u64(generator) & (2**63 - 1)


class ChunkSampler(Sampler[int]):
    """A sampler that gives its order as arrays or ranges.

    A chunk is drawn when its first number is asked for, not before: a generator may be shared with the training loop.
    """

    def chunks(self):
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        for chunk in self.chunks():
            yield from chunk if isinstance(chunk, range) else chunk.tolist()


class SequentialSampler(ChunkSampler):
    """Samples 0, 1, 2, ... in this order.

    Parameters
    ----------
    data_source : Dataset
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def chunks(self):
        yield range(len(self.data_source))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(ChunkSampler):
    """Samples in random order.

    Parameters
    ----------
    data_source : Dataset
    replacement : bool, default False
        Draw every number independently, instead of a permutation.
    num_samples : int, default len(data_source)
        How many to draw.  Without replacement: permutations one after the other, the last one cut off.
    generator : Generator, optional
        Where to draw from.  Default: a new generator, seeded by a draw from the global one.

    Raises
    ------
    TypeError, ValueError
        For a `replacement` that is no bool, a `num_samples` that is not positive.
    """

    def __init__(self, data_source: Sized, replacement: bool = False, num_samples: int | None = None,
                 generator: Generator | None = None) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={self.num_samples}")

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def chunks(self):
        n, generator = len(self.data_source), self.generator
        if generator is None:
            generator = Generator().manual_seed(draw_seed())
        if self.replacement:
            # torch draws 32 at a time; drawing more would take numbers from a shared generator too early.
            for start in range(0, self.num_samples, 32):
                yield randint(0, n, (min(32, self.num_samples - start),), generator=generator).numpy()
            return
        for _ in range(self.num_samples // n):
            yield randperm_array(n, generator)
        # Drawn even when nothing of it is used, as in torch: the next epoch's order depends on it.
        yield randperm_array(n, generator)[:self.num_samples % n]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(ChunkSampler):
    """The given numbers in random order.

    Parameters
    ----------
    indices : sequence of int
    generator : Generator, default the global one
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def chunks(self):
        yield np.asarray(self.indices, np.int64)[randperm_array(len(self.indices), self.generator)]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(ChunkSampler):
    """Numbers 0 .. len(weights) - 1, each drawn with a probability proportional to its weight.

    Parameters
    ----------
    weights : sequence of float
        They need not sum to 1.
    num_samples : int
    replacement : bool, default True
        False: a number that was drawn is not drawn again.
    generator : Generator, default the global one

    Notes
    -----
    With replacement and more than one sample the numbers are torch's under the same seed; the other cases have the same
    distribution (each weight races with an exponential variable) but other numbers, since torch's depend on the machine.
    """

    def __init__(self, weights: Sequence[float] | Tensor | Array, num_samples: int, replacement: bool = True,
                 generator: Generator | None = None) -> None:
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={num_samples}")
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        self.weights = np.asarray(weights, np.float64)
        if self.weights.ndim != 1:
            raise ValueError(f"weights should be a 1d sequence but given weights have shape {self.weights.shape}")
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def chunks(self):
        weights, count = self.weights, self.num_samples
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
        if weights.sum() <= 0:
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
        if self.replacement:
            cumulative = np.cumsum(weights)
            yield np.searchsorted(cumulative / cumulative[-1], rand64(count, self.generator))
            return
        if count > np.count_nonzero(weights):
            raise RuntimeError("invalid multinomial distribution (with replacement=False, not enough non-negative category "
                               "to sample)")
        with np.errstate(divide="ignore"):      # a weight of 0 arrives last, at infinity
            arrival = -np.log1p(-rand64(len(weights), self.generator)) / weights
        yield np.argsort(arrival, kind="stable")[:count]

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of `batch_size` numbers of another sampler.

    Parameters
    ----------
    sampler : Sampler or iterable of int
    batch_size : int
    drop_last : bool
        Leave out a last batch that is not full.

    Examples
    --------
    >>> list(BatchSampler(SequentialSampler(range(5)), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        numbers = iter(self.sampler)
        while batch := list(itertools.islice(numbers, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def chunks(self):
        """The same batches as arrays or ranges, without a Python object for each number; None where it cannot."""
        if not isinstance(self.sampler, ChunkSampler) or type(self.sampler).__iter__ is not ChunkSampler.__iter__ \
                or type(self).__iter__ is not BatchSampler.__iter__:
            return None
        return self._cut(self.sampler.chunks())

    def _cut(self, chunks):
        size, rest = self.batch_size, range(0)
        for chunk in chunks:
            if len(rest):
                chunk = np.concatenate([rest, chunk])
            full = len(chunk) // size * size
            for start in range(0, full, size):
                yield chunk[start:start + size]
            rest = chunk[full:]
        if len(rest) and not self.drop_last:
            yield rest

    def __len__(self) -> int:
        return len(self.sampler) // self.batch_size if self.drop_last else -(-len(self.sampler) // self.batch_size)


class DistributedSampler(ChunkSampler):
    """The share of one of several processes that train together.

    Every process permutes all samples by ``seed + epoch`` and reads each `num_replicas`-th from its rank on, so that the
    shares are disjoint and of one size (padded from the beginning, or cut off).

    Parameters
    ----------
    dataset : Dataset
    num_replicas : int, default 1
        Number of processes.
    rank : int, default 0
        Which of them this is.
    shuffle : bool, default True
    seed : int, default 0
        The same in all processes.
    drop_last : bool, default False
        Cut the tail off instead of padding.

    Notes
    -----
    Call ``set_epoch(epoch)`` before each epoch; without it every epoch has the same order.
    """

    def __init__(self, dataset: Sized, num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True,
                 seed: int = 0, drop_last: bool = False) -> None:
        self.num_replicas = 1 if num_replicas is None else num_replicas
        self.rank = 0 if rank is None else rank
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(f"Invalid rank {self.rank}, rank should be in the interval [0, {self.num_replicas - 1}]")
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0
        share = len(dataset) / self.num_replicas
        self.num_samples = math.floor(share) if drop_last else math.ceil(share)
        self.total_size = self.num_samples * self.num_replicas

    def chunks(self):
        n = len(self.dataset)
        if self.shuffle:
            order = randperm_array(n, Generator().manual_seed(self.seed + self.epoch))
        else:
            order = np.arange(n)
        yield np.resize(order, self.total_size)[self.rank::self.num_replicas]

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from which the permutation is drawn."""
        self.epoch = epoch
