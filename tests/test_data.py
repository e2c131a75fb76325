"""Data sets, samplers, collation and the DataLoader; orders under a seed are compared with torch's."""
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

from fastnn.core.random import Generator, manual_seed, randperm
from fastnn.core.tensor import Tensor, from_array
from fastnn.data.fetch import batch_reader
from fastnn.utils import data

try:
    import torch
    import torch.utils.data
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="compares with torch, which is not installed")


def values(batch):
    """A batch as plain lists."""
    if isinstance(batch, dict):
        return {key: values(entry) for key, entry in batch.items()}
    if isinstance(batch, (list, tuple)):
        return [values(entry) for entry in batch]
    return batch.tolist() if hasattr(batch, "tolist") else batch


class Squares(data.Dataset):
    """A data set of the user's: read sample by sample."""

    def __init__(self, n):
        self.n = n

    def __getitem__(self, i):
        return np.float32(i), i * i

    def __len__(self):
        return self.n


class Stream(data.IterableDataset):
    def __init__(self, n, length=None):
        self.n, self.length = n, length

    def __iter__(self):
        return iter(range(self.n))

    def __len__(self):
        return self.length


# ---- data sets ---------------------------------------------------------------------------------------------------------

def test_tensor_dataset():
    x, y = np.arange(6.0).reshape(3, 2), np.array([5, 6, 7])
    both = data.TensorDataset(x, from_array(y))
    assert len(both) == 3 and values(both[1]) == [[2.0, 3.0], 6] and all(isinstance(t, Tensor) for t in both.tensors)
    assert np.shares_memory(both.tensors[0].numpy(), x)
    with pytest.raises(AssertionError, match="Size mismatch between tensors"):
        data.TensorDataset(x, y[:2])


def test_concat_and_chain():
    both = Squares(2) + Squares(3)
    assert [both[i][1] for i in range(5)] == [0, 1, 0, 1, 4] and both[-1] == (2, 4) and both.cumulative_sizes == [2, 5]
    with pytest.raises(ValueError, match="absolute value of index"):
        both[-6]
    with pytest.raises(IndexError):
        data.ConcatDataset([[1, 2]])[2]
    with pytest.raises(AssertionError, match="should not be an empty iterable"):
        data.ConcatDataset([])
    with pytest.raises(AssertionError, match="does not support IterableDataset"):
        data.ConcatDataset([Stream(2)])
    chain = Stream(2, 2) + Stream(3, 3)
    assert list(chain) == [0, 1, 0, 1, 2] and len(chain) == 5
    with pytest.raises(AssertionError, match="only supports IterableDataset"):
        list(data.ChainDataset([[1]]))


def test_stack():
    pair = data.StackDataset(Squares(3), [7, 8, 9])
    named = data.StackDataset(a=[1, 2], b=[3, 4])
    assert pair[2] == ((2, 4), 9) and named[1] == {"a": 2, "b": 4} and len(pair) == 3 and len(named) == 2
    assert pair.__getitems__([0, 2]) == [((0, 0), 7), ((2, 4), 9)]
    assert named.__getitems__([1, 0]) == [{"a": 2, "b": 4}, {"a": 1, "b": 3}]
    for wrong in (lambda: data.StackDataset(), lambda: data.StackDataset([1], a=[1]), lambda: data.StackDataset([1], [1, 2])):
        with pytest.raises(ValueError, match="dataset|Supported"):
            wrong()


def test_subset():
    part = data.Subset(Squares(9), [4, 2])
    assert len(part) == 2 and part[1] == (2, 4) and part.__getitems__([1, 0]) == [(2, 4), (4, 16)]

    class Half(data.Subset):
        def __getitem__(self, i):
            return super().__getitem__(i)[0]
    with pytest.raises(NotImplementedError, match="__getitems__"):
        Half(Squares(9), [1])


def test_random_split():
    assert [len(p) for p in data.random_split(range(23), [0.5, 0.5])] == [12, 11]
    assert [len(p) for p in data.random_split(range(10), [0.35, 0.35, 0.3])] == [4, 3, 3]
    parts = data.random_split(range(10), [3, 7], generator=Generator().manual_seed(1))
    assert sorted(i for p in parts for i in p.indices) == list(range(10))
    with pytest.raises(ValueError, match="Sum of input lengths does not equal"):
        data.random_split(range(10), [3, 6])
    with pytest.raises(ValueError, match="Fraction at index 0 is not between 0 and 1"):
        data.random_split(range(10), [1.5, -0.5])
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0"):
        data.random_split(range(2), [0.5, 0.0, 0.5])


# ---- the order under one seed is torch's --------------------------------------------------------------------------------

SAMPLERS = {
    "sequential": lambda d, g: d.SequentialSampler(range(7)),
    "random": lambda d, g: d.RandomSampler(range(7)),
    "random, generator": lambda d, g: d.RandomSampler(range(7), generator=g),
    "more than all": lambda d, g: d.RandomSampler(range(7), num_samples=17),
    "fewer than all": lambda d, g: d.RandomSampler(range(7), num_samples=3, generator=g),
    "replacement": lambda d, g: d.RandomSampler(range(70), True, 100),
    "replacement, generator": lambda d, g: d.RandomSampler(range(70), True, 64, generator=g),
    "subset": lambda d, g: d.SubsetRandomSampler([9, 3, 5, 8]),
    "subset, generator": lambda d, g: d.SubsetRandomSampler(range(0, 20, 2), generator=g),
    "weighted": lambda d, g: d.WeightedRandomSampler([0.1, 0.0, 3.0, 0.6, 1e-9], 50),
    "weighted, generator": lambda d, g: d.WeightedRandomSampler([0.1, 0.0, 3.0, 0.6], 50, generator=g),
    "batches": lambda d, g: d.BatchSampler(d.RandomSampler(range(7), generator=g), 3, True),
    "distributed": lambda d, g: d.DistributedSampler(range(10), 3, 1, seed=4),
    "distributed, dropping": lambda d, g: d.DistributedSampler(range(10), 3, 2, drop_last=True),
    "distributed, few": lambda d, g: d.DistributedSampler(range(2), 7, 6),
    "distributed, in order": lambda d, g: d.DistributedSampler(range(10), 4, 3, shuffle=False),
}


@needs_torch
@pytest.mark.parametrize("kind", SAMPLERS)
def test_samplers_draw_as_torch(kind):
    torch.manual_seed(11)
    manual_seed(11)
    want = SAMPLERS[kind](torch.utils.data, torch.Generator().manual_seed(2**40 + 3))
    got = SAMPLERS[kind](data, Generator().manual_seed(2**40 + 3))
    assert len(got) == len(want)
    for _ in range(3):
        assert list(got) == list(want)


LOADERS = {
    "shuffled": dict(batch_size=4, shuffle=True),
    "shuffled, exact batches": dict(batch_size=5, shuffle=True),
    "shuffled, dropping": dict(batch_size=4, shuffle=True, drop_last=True),
    "in order": dict(batch_size=4),
    "one by one": dict(),
    "no batches": dict(batch_size=None, shuffle=True),
}


@needs_torch
@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("own_generator", [False, True])
@pytest.mark.parametrize("dataset", ["arrays", "samples", "split"])
def test_loader_draws_as_torch(kind, own_generator, dataset):
    """Two epochs, one cut short, and the state of the generators afterwards."""
    x, y = np.arange(20.0, dtype=np.float32).reshape(10, 2), np.arange(10)

    def run(d, arrays, seed, generator, draw):
        seed(5)
        whole = Squares(10) if dataset == "samples" else d.TensorDataset(*arrays)
        if dataset == "split":
            whole = d.random_split(whole, [5, 5])[1]
        loader = d.DataLoader(whole, generator=generator if own_generator else None, **LOADERS[kind])
        seen = [len(loader)]
        for epoch in range(3):
            for i, batch in enumerate(loader):
                seen.append(values(batch))
                if epoch == 1 and i == 1:
                    break
        return [*seen, draw(None), draw(generator)]

    want = run(torch.utils.data, (torch.from_numpy(x), torch.from_numpy(y)), torch.manual_seed, torch.Generator().manual_seed(8),
               lambda g: torch.randperm(5, generator=g).tolist())
    got = run(data, (x, y), manual_seed, Generator().manual_seed(8), lambda g: randperm(5, generator=g).tolist())
    assert got == want


@needs_torch
def test_random_split_draws_as_torch():
    torch.manual_seed(3)
    manual_seed(3)
    for lengths in ([3, 7], [0.5, 0.25, 0.25]):
        want = torch.utils.data.random_split(range(10), lengths)
        got = data.random_split(range(10), lengths)
        assert [list(p.indices) for p in got] == [list(p.indices) for p in want]


def test_samplers_check_arguments():
    for error, wrong in [
        (TypeError, lambda: data.RandomSampler([1], replacement=1)),
        (ValueError, lambda: data.RandomSampler([])),
        (ValueError, lambda: data.RandomSampler([1], num_samples=0)),
        (ValueError, lambda: data.WeightedRandomSampler([1.0], 0)),
        (ValueError, lambda: data.WeightedRandomSampler([1.0], 1, replacement=1)),
        (ValueError, lambda: data.WeightedRandomSampler([[1.0]], 1)),
        (RuntimeError, lambda: list(data.WeightedRandomSampler([1.0, -1.0], 2))),
        (RuntimeError, lambda: list(data.WeightedRandomSampler([0.0, 0.0], 2))),
        (RuntimeError, lambda: list(data.WeightedRandomSampler([1.0, 0.0], 2, replacement=False))),
        (ValueError, lambda: data.BatchSampler([1], True, False)),
        (ValueError, lambda: data.BatchSampler([1], 2, 0)),
        (ValueError, lambda: data.DistributedSampler([1], 2, 2)),
    ]:
        with pytest.raises(error):
            wrong()


def test_weighted_without_replacement():
    manual_seed(0)
    weights = np.array([1.0, 0.0, 2.0, 7.0])
    drawn = np.array([list(data.WeightedRandomSampler(weights, 2, replacement=False)) for _ in range(4000)])
    assert (drawn != 1).all() and (drawn[:, 0] != drawn[:, 1]).all()
    np.testing.assert_allclose(np.bincount(drawn[:, 0], minlength=4) / 4000, weights / 10, atol=0.03)
    after_3 = drawn[drawn[:, 0] == 3, 1]
    np.testing.assert_allclose((after_3 == 2).mean(), 2 / 3, atol=0.03)


def test_distributed_epochs():
    shares = [data.DistributedSampler(range(10), 2, rank) for rank in range(2)]
    first = [list(s) for s in shares]
    assert sorted(first[0] + first[1]) == list(range(10)) and first == [list(s) for s in shares]
    for s in shares:
        s.set_epoch(1)
    assert first != [list(s) for s in shares]


# ---- whole-array batches equal those read sample by sample --------------------------------------------------------------

class SlowTensorDataset(data.TensorDataset):
    def __getitem__(self, i):
        return super().__getitem__(i)


X = np.random.default_rng(0).standard_normal((23, 3, 2)).astype(np.float32)
Y = np.arange(23)
FAST = {
    "tensors": (lambda D: D(X, Y)),
    "strided": (lambda D: D(X[:, ::2], np.arange(46)[::2])),
    "fortran": (lambda D: D(np.asfortranarray(X), Y)),
    "subset": (lambda D: data.Subset(D(X, Y), [3, 1, 20, -1, 5, 6, 7])),
    "range subset": (lambda D: data.Subset(D(X, Y), range(2, 23, 3))),
    "array subset": (lambda D: data.Subset(data.Subset(D(X, Y), np.arange(20, 3, -1)), range(11))),
    "empty subset": (lambda D: data.Subset(D(X, Y), [])),
    "stack": (lambda D: data.StackDataset(D(X), D(Y))),
    "named stack": (lambda D: data.StackDataset(x=D(X), y=D(Y))),
}


@pytest.mark.parametrize("kind", FAST)
@pytest.mark.parametrize("options", [dict(batch_size=4), dict(batch_size=4, sampler=list(range(6, 0, -1))),
                                     dict(batch_sampler=[[0, 1], [2], [5, 3, 3, -1]]),
                                     dict(batch_size=3, sampler=data.SubsetRandomSampler(range(7)))])
def test_fast_batches_equal_slow_ones(kind, options):
    if kind == "empty subset":
        options = dict(batch_size=4)
    fast, slow = [], []
    for batches, D in (fast, data.TensorDataset), (slow, SlowTensorDataset):
        manual_seed(1)
        batches.extend(data.DataLoader(FAST[kind](D), **options))
    assert values(fast) == values(slow) and [type(b) for b in fast] == [type(b) for b in slow]


def test_which_data_sets_are_read_whole():
    both = data.TensorDataset(X, Y)

    class Together(data.TensorDataset):
        def __getitems__(self, indices):
            return []
    for source in (both, data.random_split(both, [20, 3])[0], data.StackDataset(both, both), X, from_array(Y)):
        assert batch_reader(source) is not None
    for source in (SlowTensorDataset(X), Together(X), Squares(2), data.StackDataset(both, Squares(23)), both + both, [1, 2],
                   data.Subset(Squares(2), [1]), np.array(["a"])):
        assert batch_reader(source) is None


def test_batches_in_order_are_read_only_views():
    x, y = next(iter(data.DataLoader(data.TensorDataset(X, Y), batch_size=8)))
    assert np.shares_memory(x.numpy(), X) and np.shares_memory(y.numpy(), Y)
    with pytest.raises((ValueError, RuntimeError)):
        x.numpy()[0] = 0
    assert X.flags.writeable
    shuffled, _ = next(iter(data.DataLoader(data.TensorDataset(X, Y), batch_size=8, shuffle=True)))
    assert not np.shares_memory(shuffled.numpy(), X) and shuffled.numpy().flags.writeable


def test_memory_mapped(tmp_path):
    """Only the rows of a batch are read: the rest of the file is a hole of 64 GB."""
    path = tmp_path / "rows"
    rows = 2**24
    with open(path, "wb") as file:
        file.truncate(rows * 4096)
    stored = np.memmap(path, np.float32, "r+", shape=(rows, 1024))
    stored[rows - 5] = 7
    dataset = data.TensorDataset(np.memmap(path, np.float32, "r", shape=(rows, 1024)))
    batch, = next(iter(data.DataLoader(dataset, batch_sampler=[[rows - 5, 0, rows - 1]])))
    assert batch.shape == (3, 1024) and (batch.numpy()[0] == 7).all() and not batch.numpy()[1:].any()
    part, = next(iter(data.DataLoader(data.Subset(dataset, range(rows - 6, rows)), batch_size=4)))
    assert part.numpy()[:, 0].tolist() == [0, 7, 0, 0]


def test_arrays_as_data_set():
    assert values(list(data.DataLoader(Y[:5], batch_size=2))) == [[0, 1], [2, 3], [4]]
    assert values(list(data.DataLoader(from_array(Y[:3]), batch_size=2))) == [[0, 1], [2]]
    assert values(list(data.DataLoader([1.5, 2.5], batch_size=2))) == [[1.5, 2.5]]
    with pytest.raises(TypeError, match="default_collate: batch must contain tensors"):
        list(data.DataLoader(np.array(["a", "b"], object).reshape(2, 1)))


# ---- collation -----------------------------------------------------------------------------------------------------------

Point = namedtuple("Point", "x y")
BATCHES = {
    "floats": [1.5, 2.5],
    "ints": [1, 2, 3],
    "bools": [True, False],
    "numpy scalars": [np.float32(1), np.float32(2)],
    "numpy bools": [np.True_, np.False_],
    "arrays": [np.zeros(3, np.float32), np.ones(3, np.float32)],
    "0-d arrays": [np.array(1), np.array(2)],
    "strings": ["a", "b"],
    "bytes": [b"a", b"b"],
    "tuples": [(1, 2.0), (3, 4.0)],
    "lists": [[1, 2], [3, 4]],
    "dicts": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
    "ordered": [OrderedDict(b=1, a=2), OrderedDict(b=3, a=4)],
    "named tuples": [Point(1, 2.0), Point(3, 4.0)],
    "nested": [{"a": (np.arange(2), [1.0])}, {"a": (np.arange(2), [2.0])}],
    "ranges": [range(2), range(2)],
}


def described(batch, tensor):
    """Types, dtypes, shapes and values all the way down."""
    if isinstance(batch, tensor):
        return "tensor", str(batch.dtype).removeprefix("torch."), tuple(batch.shape), batch.tolist()
    if isinstance(batch, dict):
        return type(batch), [(key, described(entry, tensor)) for key, entry in batch.items()]
    if isinstance(batch, (list, tuple)):
        return type(batch), [described(entry, tensor) for entry in batch]
    return batch


@needs_torch
@pytest.mark.parametrize("kind", BATCHES)
def test_collate_as_torch(kind):
    batch = BATCHES[kind]
    assert described(data.default_collate(batch), Tensor) == described(torch.utils.data.default_collate(batch), torch.Tensor)
    sample = batch[0]
    assert described(data.default_convert(sample), Tensor) == described(torch.utils.data.default_convert(sample), torch.Tensor)


def test_collate_tensors():
    stacked = data.default_collate([from_array(np.arange(2.0)), from_array(np.arange(2.0))])
    assert isinstance(stacked, Tensor) and values(stacked) == [[0, 1], [0, 1]]
    with pytest.raises(RuntimeError, match=r"stack expects each tensor to be equal size, but got \[2\] at entry 0 and \[3\] at"):
        data.default_collate([from_array(np.arange(2)), from_array(np.arange(3))])
    with pytest.raises(RuntimeError, match="each element in list of batch should be of equal size"):
        data.default_collate([[1, 2], [1]])
    for wrong in ([None], [object()], [np.array(["a"])]):
        with pytest.raises(TypeError, match="default_collate: batch must contain tensors, numpy arrays, numbers, dicts"):
            data.default_collate(wrong)


# ---- the loader ------------------------------------------------------------------------------------------------------------

def test_streams():
    assert values(list(data.DataLoader(Stream(5), batch_size=2))) == [[0, 1], [2, 3], [4]]
    assert values(list(data.DataLoader(Stream(5), batch_size=2, drop_last=True))) == [[0, 1], [2, 3]]
    assert list(data.DataLoader(Stream(3), batch_size=None)) == [0, 1, 2]
    assert len(data.DataLoader(Stream(5, 5), batch_size=2)) == 3
    loader = data.DataLoader(Stream(5, 1))
    assert len(loader) == 1
    with pytest.warns(UserWarning, match="was reported to be 1"):
        list(loader)
    for option in (dict(shuffle=True), dict(sampler=[1]), dict(batch_sampler=[[1]])):
        with pytest.raises(ValueError, match=f"expected unspecified {next(iter(option))} option"):
            data.DataLoader(Stream(5), **option)


def test_getitems_and_collate_fn():
    class Together(Squares):
        def __getitems__(self, indices):
            return [("together", i) for i in indices]
    assert list(data.DataLoader(Together(3), batch_size=2, collate_fn=list)) == [[("together", 0), ("together", 1)],
                                                                                  [("together", 2)]]
    assert list(data.DataLoader(data.TensorDataset(Y), batch_size=20, collate_fn=len)) == [20, 3]


@pytest.mark.parametrize("options", [
    dict(num_workers=-1), dict(timeout=-1), dict(prefetch_factor=2), dict(num_workers=1, prefetch_factor=-1),
    dict(persistent_workers=True), dict(multiprocessing_context="fork"), dict(sampler=[0], shuffle=True),
    dict(batch_sampler=[[0]], batch_size=2), dict(batch_sampler=[[0]], shuffle=True), dict(batch_sampler=[[0]], sampler=[0]),
    dict(batch_sampler=[[0]], drop_last=True), dict(batch_size=None, drop_last=True), dict(batch_size=0),
])
def test_loader_refuses_as_torch(options):
    with pytest.raises(ValueError) as got:
        data.DataLoader([1, 2], **options)
    if torch is not None:
        with pytest.raises(ValueError) as want:
            torch.utils.data.DataLoader([1, 2], **options)
        assert str(got.value) == str(want.value)


def test_workers_read_in_the_calling_thread():
    loader = data.DataLoader(Squares(5), batch_size=2, num_workers=2, persistent_workers=True, worker_init_fn=print)
    for _ in range(2):
        assert values([y for _, y in loader]) == [[0, 1], [4, 9], [16]]
    assert loader.prefetch_factor == 2 and data.get_worker_info() is None


def test_loader_attributes():
    loader = data.DataLoader(Squares(5), batch_size=2)
    assert loader.batch_size == 2 and isinstance(loader.sampler, data.SequentialSampler) and len(iter(loader)) == 3
    assert data.DataLoader(Squares(5), batch_sampler=[[1]]).batch_size is None
    for name in ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"):
        with pytest.raises(ValueError, match=f"{name} attribute should not be set after DataLoader is initialized"):
            setattr(loader, name, None)
