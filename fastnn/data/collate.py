"""Collation: a list of samples becomes one batch."""
from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastnn.core.tensor import Tensor, from_array

if TYPE_CHECKING:
    from typing import Any

__all__ = ["default_collate", "default_convert"]


def default_collate(batch: Any) -> Any:
    """Join samples into a batch, with a new first dimension.

    Parameters
    ----------
    batch : list
        Samples: tensors, arrays, numbers, strings, or mappings, named tuples and sequences of these.

    Returns
    -------
    Tensor, or the container of the samples with a Tensor for each entry
        Arrays and numbers become a Tensor (a Python float float64, an int int64, as in torch), strings stay a list,
        a tuple becomes a list.

    Raises
    ------
    TypeError
        For samples of any other type.
    RuntimeError
        For tensors of different shapes or sequences of different lengths.

    Examples
    --------
    >>> default_collate([(0, 1.5), (2, 3.5)])
    [tensor([0, 2]), tensor([1.5000, 3.5000], dtype=float64)]
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return from_array(_stack([sample.detach().numpy() for sample in batch]))
    if isinstance(first, np.ndarray):
        if first.dtype.kind not in "fiub":
            raise TypeError(_refusal(first.dtype))
        return from_array(_stack(batch))
    if isinstance(first, float):
        return from_array(np.array(batch, np.float64))
    if isinstance(first, (int, np.number, np.bool_)):
        return from_array(np.array(batch))
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _like(first, {key: default_collate([sample[key] for sample in batch]) for key in first})
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        return _like(first, [default_collate(entries) for entries in zip(*batch, strict=True)])
    raise TypeError(_refusal(type(first)))


def default_convert(data: Any) -> Any:
    """Turn the arrays of one sample into tensors and leave everything else as it is.

    Parameters
    ----------
    data : object
        An array or NumPy number, or mappings and sequences of these.

    Examples
    --------
    >>> default_convert([np.array([0, 1]), "name"])
    [tensor([0, 1]), 'name']
    """
    if isinstance(data, (np.ndarray, np.number, np.bool_)):
        return from_array(data) if data.dtype.kind in "fiub" else data
    if isinstance(data, Mapping):
        return _like(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like(data, [default_convert(value) for value in data])
    return data


def _stack(arrays):
    for i, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got {list(arrays[0].shape)} at entry 0 and "
                               f"{list(array.shape)} at entry {i}")
    return np.stack(arrays)


def _like(container, entries):
    """`entries` (dict or list) in a container of the same type, with its further attributes where it can be copied."""
    if isinstance(container, tuple):
        return type(container)(*entries) if hasattr(container, "_fields") else entries
    try:
        if isinstance(container, MutableMapping):
            clone = copy.copy(container)
            clone.update(entries)
        elif isinstance(container, MutableSequence):
            clone = copy.copy(container)
            clone[:] = entries
        else:
            clone = type(container)(entries)
        return clone
    except TypeError:       # e.g. a range
        return entries


def _refusal(found):
    return f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {found}"
