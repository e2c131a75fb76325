"""Data sets: something with a length and samples by number, or a stream of samples."""
from __future__ import annotations

import bisect
import itertools
import math
import warnings
from typing import TYPE_CHECKING, Generic, TypeVar

from fastnn.core.random import default_generator, randperm_array
from fastnn.core.tensor import from_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from fastnn.core.tensor import Tensor
    from fastnn.core.types import Array, Generator

__all__ = ["ChainDataset", "ConcatDataset", "Dataset", "IterableDataset", "StackDataset", "Subset", "TensorDataset",
           "random_split"]

T = TypeVar("T", covariant=True)


class Dataset(Generic[T]):
    """Base of data sets that map a number to a sample.

    A subclass defines ``__getitem__(index)`` and usually ``__len__()``.  It may define ``__getitems__(indices)``, which
    returns the list of samples of one batch at once.  ``a + b`` is their concatenation.
    """

    def __getitem__(self, index) -> T:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[Any]) -> Dataset[Any]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T]):
    """Base of data sets that are streams: a subclass defines ``__iter__``.  ``a + b`` is one after the other."""

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")

    def __add__(self, other: Dataset[Any]) -> ChainDataset:
        return ChainDataset([self, other])


class TensorDataset(Dataset):
    """Rows of tensors that belong together: sample i is ``(tensors[0][i], tensors[1][i], ...)``.

    Parameters
    ----------
    *tensors : Tensor or array, all with the same first dimension
        Arrays are shared, not copied.  A memory-mapped array stays on disk: a DataLoader reads the rows of its batch.

    Raises
    ------
    AssertionError
        For different first dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> data = TensorDataset(np.arange(6.0, dtype="float32").reshape(3, 2), np.array([0, 1, 0]))
    >>> len(data), data[1]
    (3, (tensor([2., 3.]), tensor(1)))
    """

    def __init__(self, *tensors: Tensor | Array) -> None:
        self.tensors = tuple(from_array(t) for t in tensors)
        if any(t.size(0) != self.tensors[0].size(0) for t in self.tensors):
            raise AssertionError(f"Size mismatch between tensors: {[tuple(t.shape) for t in self.tensors]}")

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return self.tensors[0].size(0)


class StackDataset(Dataset):
    """Samples of several data sets side by side.

    Parameters
    ----------
    *args : Dataset
        Sample i is the tuple of their samples i.
    **kwargs : Dataset
        Sample i is the dict of their samples i.

    Raises
    ------
    ValueError
        For data sets of different lengths, none at all, or both kinds of arguments.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ValueError("Supported either ``tuple``- (via ``args``) or ``dict``- (via ``kwargs``) like input/output, "
                             "but both types are given.")
        if not args and not kwargs:
            raise ValueError("At least one dataset should be passed")
        self.datasets = args or kwargs
        lengths = [len(d) for d in (args or kwargs.values())]
        if any(n != lengths[0] for n in lengths):
            raise ValueError(f"Size mismatch between datasets: {lengths}")

    def __getitem__(self, index: int) -> Any:
        return self._side_by_side(lambda dataset: dataset[index])

    def __getitems__(self, indices: list[int]) -> list[Any]:
        def read(dataset):
            items = samples(dataset, indices)
            if len(items) != len(indices):
                raise ValueError(f"Nested dataset's output size mismatch. Expected {len(indices)}, got {len(items)}")
            return items
        parts = self._side_by_side(read)
        if isinstance(parts, dict):
            return [dict(zip(parts, row, strict=True)) for row in zip(*parts.values(), strict=True)]
        return list(zip(*parts, strict=True))

    def _side_by_side(self, read):
        if isinstance(self.datasets, dict):
            return {name: read(dataset) for name, dataset in self.datasets.items()}
        return tuple(read(dataset) for dataset in self.datasets)

    def __len__(self) -> int:
        return len(next(iter(self.datasets.values())) if isinstance(self.datasets, dict) else self.datasets[0])


class ConcatDataset(Dataset[T]):
    """Data sets one after the other.

    Parameters
    ----------
    datasets : iterable of Dataset
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = list(itertools.accumulate(len(d) for d in self.datasets))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> T:
        if index < 0:
            if -index > len(self):
                raise ValueError("absolute value of index should not exceed dataset length")
            index += len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]


class ChainDataset(IterableDataset):
    """Streams one after the other.

    Parameters
    ----------
    datasets : iterable of IterableDataset
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        for dataset in self._streams():
            yield from dataset

    def __len__(self) -> int:
        return sum(len(dataset) for dataset in self._streams())

    def _streams(self):
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise AssertionError("ChainDataset only supports IterableDataset")
            yield dataset


class Subset(Dataset[T]):
    """Some samples of a data set: sample i is ``dataset[indices[i]]``.

    Parameters
    ----------
    dataset : Dataset
    indices : sequence of int
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices
        kind = type(self)
        if kind.__getitem__ is not Subset.__getitem__ and kind.__getitems__ is Subset.__getitems__:
            raise NotImplementedError(
                f"{kind.__name__} overrides __getitem__ but not __getitems__. When subclassing Subset and overriding "
                "__getitem__, you must also override __getitems__ to ensure DataLoader works correctly with your custom logic.")

    def __getitem__(self, index: Any) -> T:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[T]:
        return samples(self.dataset, [self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


def samples(dataset, indices):
    """The list of samples at `indices`, by one call where the data set has ``__getitems__``."""
    together = getattr(dataset, "__getitems__", None)
    return together(indices) if callable(together) else [dataset[i] for i in indices]


def random_split(dataset: Any, lengths: Sequence[float], generator: Generator = default_generator) -> list[Subset[Any]]:
    """Split a data set at random into parts that share no sample.

    Parameters
    ----------
    dataset : Dataset
    lengths : sequence of int, or of float that sum to 1
        Sizes of the parts.  For fractions: ``floor(fraction * len(dataset))``, and what remains one by one from the front.
    generator : Generator, default the global one
        Gives the permutation (one `randperm`, as in torch: the same seed gives the same split).

    Returns
    -------
    list of Subset

    Raises
    ------
    ValueError
        If a fraction is outside [0, 1] or the lengths do not sum to ``len(dataset)``.

    Examples
    --------
    >>> [len(part) for part in random_split(range(23), [0.5, 0.5])]
    [12, 11]
    """
    total = len(dataset)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        lengths = _fractions(lengths, total)
    if sum(lengths) != total:
        raise ValueError(f"Sum of input lengths does not equal the length of the input dataset! ({sum(lengths)} != {total})")
    order = randperm_array(total, generator).tolist()
    ends = list(itertools.accumulate(lengths))
    return [Subset(dataset, order[end - length:end]) for end, length in zip(ends, lengths, strict=True)]


def _fractions(fractions, total):
    for i, fraction in enumerate(fractions):
        if fraction < 0 or fraction > 1:
            raise ValueError(f"Fraction at index {i} is not between 0 and 1")
    lengths = [math.floor(total * fraction) for fraction in fractions]
    for i in range(total - sum(lengths)):
        lengths[i % len(lengths)] += 1
    for i, length in enumerate(lengths):
        if length == 0:
            warnings.warn(f"Length of split at index {i} is 0. This might result in an empty dataset.", stacklevel=3)
    return lengths
