"""The DataLoader: batches of a data set in the order of a sampler."""
from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING

import numpy as np

from fastnn.data.collate import default_collate, default_convert
from fastnn.data.dataset import IterableDataset, samples
from fastnn.data.fetch import batch_reader
from fastnn.data.sampler import BatchSampler, RandomSampler, SequentialSampler, draw_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from fastnn.core.types import Generator

__all__ = ["DataLoader", "get_worker_info"]

FIXED = frozenset(["batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"])


def get_worker_info() -> None:
    """None: there are no worker processes (see DataLoader)."""
    return None


class DataLoader:
    """Iterate over the batches of a data set.

    Batches of arrays (a TensorDataset, a Tensor or array, and Subset and StackDataset of these) are read with one index
    call per array; in order and without `shuffle` they are read-only views that copy nothing.  Any other data set is read
    sample by sample and collated.

    Parameters
    ----------
    dataset : Dataset, Tensor, array, or anything with ``__getitem__`` and ``__len__``
    batch_size : int or None, default 1
        None: single samples, not batches.
    shuffle : bool, default False
        A new random order each epoch; under one seed it is torch's order.
    sampler : Sampler or iterable of int, optional
        The order, instead of `shuffle`.
    batch_sampler : Sampler or iterable of list of int, optional
        The batches, instead of `batch_size`, `shuffle`, `sampler` and `drop_last`.
    num_workers : int, default 0
        Accepted; samples are always read by the calling thread, so that random draws of the data set have one order.
    collate_fn : callable, default `default_collate`
        Makes a batch of a list of samples.
    drop_last : bool, default False
        Leave out a last batch that is not full.
    generator : Generator, optional
        Draws the order, instead of the global generator.
    pin_memory, timeout, worker_init_fn, multiprocessing_context, prefetch_factor, persistent_workers, \
pin_memory_device, in_order
        Accepted and checked as in torch; without worker processes and devices they mean nothing.

    Raises
    ------
    ValueError
        For arguments that exclude each other, with torch's words.

    Examples
    --------
    >>> data = np.arange(10, dtype="float32").reshape(5, 2)
    >>> [tuple(batch.shape) for batch in DataLoader(data, batch_size=2)]
    [(2, 2), (2, 2), (1, 2)]
    """

    _initialized = False

    def __init__(self, dataset: Any, batch_size: int | None = 1, shuffle: bool | None = None,
                 sampler: Iterable[int] | None = None, batch_sampler: Iterable[list[int]] | None = None,
                 num_workers: int = 0, collate_fn: Callable[[list[Any]], Any] | None = None, pin_memory: bool = False,
                 drop_last: bool = False, timeout: float = 0, worker_init_fn: Callable[[int], None] | None = None,
                 multiprocessing_context: object = None, generator: Generator | None = None, *,
                 prefetch_factor: int | None = None, persistent_workers: bool = False, pin_memory_device: str = "",
                 in_order: bool = True) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context)
        self._streaming = isinstance(dataset, IterableDataset)
        _check_order(self._streaming, batch_size, shuffle, sampler, batch_sampler, drop_last)
        if batch_sampler is not None:
            batch_size = None
        if sampler is None and not self._streaming:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None:
            # A stream has no order to cut into batches; the sampler only carries the checks and the size.
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.collate_fn = collate_fn
        self.generator = generator
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        self._promised: int | None = None       # what len() said of a stream
        self._started = False
        self._initialized = True

    def __setattr__(self, name, value):
        if self._initialized and name in FIXED:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    def __iter__(self) -> Iterator[Any]:
        return _Epoch(self)

    def __len__(self) -> int:
        if not self._streaming:
            order: Any = self.sampler if self.batch_sampler is None else self.batch_sampler
            return len(order)
        length = self._promised = len(self.dataset)
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)


class _Epoch:
    """One pass over a loader: an iterator of batches with a length."""

    def __init__(self, loader):
        self._loader = loader
        self._batches = self._choose(loader)
        self._read = 0
        # torch draws a seed for its workers here, needed or not; the order of the samples is drawn after it.  Persistent
        # workers have theirs from the first epoch.
        if not (loader.persistent_workers and loader._started):
            draw_seed(loader.generator)
        loader._started = True

    def _choose(self, loader):
        if loader._streaming:
            return _stream(loader)
        if loader.batch_sampler is None:
            return (loader.collate_fn(loader.dataset[i]) for i in loader.sampler)
        if loader.collate_fn is default_collate:
            read = batch_reader(loader.dataset)
            if read is not None:
                return map(read, _numbers(loader.batch_sampler))
        return (loader.collate_fn(samples(loader.dataset, batch)) for batch in loader.batch_sampler)

    def __iter__(self):
        return self

    def __next__(self):
        batch = next(self._batches)
        self._read += 1
        loader = self._loader
        if loader._promised is not None and self._read > loader._promised:
            warnings.warn(f"Length of IterableDataset {loader.dataset} was reported to be {loader._promised} (when accessing "
                          f"len(dataloader)), but {self._read} samples have been fetched.", stacklevel=2)
        return batch

    def __len__(self):
        return len(self._loader)


def _numbers(batch_sampler):
    """The batches of a sampler as arrays or ranges."""
    chunks = batch_sampler.chunks() if isinstance(batch_sampler, BatchSampler) else None
    return (np.asarray(batch, np.int64) for batch in batch_sampler) if chunks is None else chunks


def _stream(loader):
    stream = iter(loader.dataset)
    if loader.batch_size is None:
        yield from map(loader.collate_fn, stream)
        return
    while batch := list(itertools.islice(stream, loader.batch_size)):
        if loader.drop_last and len(batch) < loader.batch_size:
            return
        yield loader.collate_fn(batch)


def _check_workers(num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context):
    if num_workers < 0:
        raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError("prefetch_factor option could only be specified in multiprocessing."
                         "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None.")
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")
    if multiprocessing_context is not None and num_workers == 0:
        raise ValueError("multiprocessing_context can only be used with multi-process loading (num_workers > 0), but got "
                         f"num_workers={num_workers}")


def _check_order(streaming, batch_size, shuffle, sampler, batch_sampler, drop_last):
    if streaming:
        given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
        for name, value in given.items():
            if value is not None:
                raise ValueError(f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}")
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None:
        if batch_size != 1 or shuffle or sampler is not None or drop_last:
            raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
    elif batch_size is None and drop_last:
        raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
