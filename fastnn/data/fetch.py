"""Reading a batch: with one index call per array where the data set is arrays, else sample by sample."""
import numpy as np

from fastnn.core.tensor import Tensor, from_array
from fastnn.data.dataset import StackDataset, Subset, TensorDataset


def batch_reader(dataset):
    """Find how whole batches of a data set can be read at once.

    Returns
    -------
    function or None
        Takes the numbers of a batch (int64 array or range) and returns what `default_collate` would make of its samples;
        None where samples have to be read one by one: a data set of the user's, or one whose indexing was overridden.
    """
    kind = type(dataset)
    if isinstance(dataset, (Tensor, np.ndarray)):
        return _array_reader(dataset)
    if hasattr(dataset, "__getitems__") and kind.__getitems__ not in (Subset.__getitems__, StackDataset.__getitems__):
        return None
    if isinstance(dataset, TensorDataset) and kind.__getitem__ is TensorDataset.__getitem__:
        return _together(list, [_array_reader(tensor) for tensor in dataset.tensors])
    if isinstance(dataset, StackDataset) and kind.__getitem__ is StackDataset.__getitem__:
        if isinstance(dataset.datasets, dict):
            return _together(lambda parts: dict(zip(dataset.datasets, parts, strict=True)),
                             [batch_reader(d) for d in dataset.datasets.values()])
        return _together(list, [batch_reader(d) for d in dataset.datasets])
    if isinstance(dataset, Subset) and kind.__getitem__ is Subset.__getitem__:
        return _subset_reader(dataset)
    return None


def take(array, numbers):
    """Rows of an array: a read-only view for a range, else a copy."""
    if isinstance(numbers, range):
        rows = array[numbers.start:numbers.stop:numbers.step]
        rows.flags.writeable = False        # a change of the batch would silently change the data set
        return rows
    # ndarray.take is the faster one but copies an array whole first when it is not contiguous.
    return array.take(numbers, axis=0) if array.flags.c_contiguous else array[numbers]


def _array_reader(source):
    if isinstance(source, Tensor):
        if source.requires_grad:
            return None
        source = source.numpy()
    if source.dtype.kind not in "fiub" or source.ndim == 0:
        return None
    array = np.asarray(source)              # of a memory map: a plain array over the same pages
    return lambda numbers: from_array(take(array, numbers))


def _together(container, readers):
    if None in readers:
        return None
    return lambda numbers: container([read(numbers) for read in readers])


def _subset_reader(subset):
    read = batch_reader(subset.dataset)
    if read is None:
        return None
    ordered = subset.indices if isinstance(subset.indices, range) else None
    chosen = np.asarray(subset.indices) if ordered is None else np.arange(ordered.start, ordered.stop, ordered.step)
    if chosen.size == 0:
        chosen = chosen.astype(np.int64)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        return None

    def read_chosen(numbers):
        if not isinstance(numbers, range):
            return read(chosen[numbers])
        return read((chosen if ordered is None else ordered)[numbers.start:numbers.stop:numbers.step])
    return read_chosen
