"""x[key], x[key] = value and the gather family against torch: values, gradients, errors."""
import numpy as np
import pytest

import fastnn as fn

torch = pytest.importorskip("torch", reason="torch is the reference")
random = np.random.default_rng(0)

# Arrays stand for tensors on both sides.
KEYS = [
    0, -1, slice(None), slice(1, 3), slice(None, None, 2), slice(-2, None), None, Ellipsis, (), True, False,
    (0, 1), (0, slice(None)), (slice(None), 1), (Ellipsis, 1), (None, 0), (0, None, Ellipsis), (slice(1, 2), Ellipsis, None),
    (slice(None), slice(None, None, 3), -1), [0, 2], ([0, 2], [1, 0]), (slice(None), [3, 0, 0]),
    np.array([2, 0, 2]), np.array(1), (np.array([0, 1]), np.array([[1], [2]])), (slice(None), np.array([1, -1])),
    (np.array([0, 1, 1]), slice(None), np.array([0, 4, 2])), (0, slice(None), np.array([1, 2])), (np.array([1, 0]), 2),
    (0, np.array([1, 2]), np.array([0, 0])), (None, np.array([0, 1]), None), (Ellipsis, np.array([[0, 1], [2, 3]])),
    np.zeros(0, np.int64), (slice(0, 0),), (np.array([[0, 1]]), slice(1, 3), None),
]
MASKS = [np.array([True, False, True]), random.random((3, 4)) > 0.5, random.random((3, 4, 5)) > 0.5, np.zeros(3, bool),
         (slice(None), np.array([True, False, False, True])), (0, np.array([True, False, False, True])),
         (np.array([True, False, True]), slice(1, 3)), (np.array([True, False, True]), np.array([0, 1]))]


def convert(key, library):
    """The key with arrays turned into the library's tensors."""
    if isinstance(key, tuple):
        return tuple(convert(k, library) for k in key)
    return library.tensor(key) if isinstance(key, np.ndarray) else key


def close(got, want):
    want = want.detach().numpy()
    got = got.detach().numpy()
    assert got.shape == want.shape and got.dtype == want.dtype
    np.testing.assert_allclose(got, want, atol=1e-14)


def gradients(got, want, *pairs):
    close(got, want)
    weights = random.standard_normal(tuple(want.shape))
    (got * fn.tensor(weights)).sum().backward()
    (want * torch.tensor(weights)).sum().backward()
    for x, t in pairs:
        if t.grad is None:      # nothing was taken of it
            assert x.grad is None or not x.grad.numpy().any()
        else:
            close(x.grad, t.grad)


def pair(*shape):
    a = random.standard_normal(shape)
    return fn.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)


@pytest.mark.parametrize("key", KEYS + MASKS, ids=str)
def test_getitem(key):
    x, t = pair(3, 4, 5)
    gradients(x[convert(key, fn)], t[convert(key, torch)], (x, t))


@pytest.mark.parametrize("key", KEYS + MASKS, ids=str)
def test_setitem(key):
    base = random.standard_normal((3, 4, 5))
    for scalar in (True, False):
        x, t = fn.tensor(base, requires_grad=True), torch.tensor(base, requires_grad=True)
        y, s = x * 1, t * 1
        shape = () if scalar else tuple(t[convert(key, torch)].shape)
        if isinstance(key, tuple) and any(isinstance(k, np.ndarray) and k.size > len(set(k.ravel().tolist())) for k in key) \
                or isinstance(key, np.ndarray) and key.dtype != bool and key.size > len(set(key.ravel().tolist())):
            shape = ()      # which of several values stays is not defined
        values = random.standard_normal(shape)
        v, w = fn.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
        y[convert(key, fn)] = v
        s[convert(key, torch)] = w
        gradients(y, s, (x, t), (v, w))


def test_setitem_with_numbers_and_broadcast():
    x, t = fn.zeros(3, 4), torch.zeros(3, 4)
    for y, library in ((x, fn), (t, torch)):
        y[0] = 2
        y[:, 1] = library.tensor([5.0, 6.0, 7.0])
        y[1:, 2:] = library.tensor([[1.5], [2.5]])
        y[library.tensor([2, 0])] += 1
        y[y > 6] = -1
        y[2] = library.tensor([[1, 2, 3, 4]])
    close(x, t)


def test_setitem_is_an_in_place_change():
    x = fn.zeros(3)
    before = x._version
    x[1] = 4
    assert x._version == before + 1 and x.tolist() == [0, 4, 0]
    y = fn.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        y[0] = 1
    z = y.exp()
    w = z * z
    z[0] = 0.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        w.sum().backward()


def test_views():
    x = fn.arange(12).reshape(3, 4)
    assert np.shares_memory(x[1:, ::2].numpy(), x.numpy()) and not np.shares_memory(x[[0, 1]].numpy(), x.numpy())
    x[1][2] = 50
    assert x[1, 2].item() == 50
    assert [row.tolist() for row in x[:2, :2]] == [[0, 1], [4, 5]]


def test_uint8_masks_and_lists_of_tensors():
    x = fn.arange(4)
    assert x[fn.tensor([fn.tensor(0), fn.tensor(3)])].tolist() == [0, 3]
    assert x[[fn.tensor(0), fn.tensor(3)]].tolist() == [0, 3]


@pytest.mark.parametrize("call, error, words", [
    (lambda x: x[3], IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
    (lambda x: x[0, 0, 0], IndexError, "too many indices for tensor of dimension 2"),
    (lambda x: x[::-1], ValueError, "step must be greater than zero"),
    (lambda x: x["a"], (TypeError, IndexError), "."),
    (lambda x: x[0, 0][0], IndexError, "invalid index of a 0-dim tensor"),
    (lambda x: x.__setitem__(0, type(x)([1.0, 2.0]) if isinstance(x, torch.Tensor) else fn.tensor([1.0, 2.0])), RuntimeError,
     r"The expanded size of the tensor \(4\) must match the existing size \(2\) at non-singleton dimension 0"),
])
def test_errors(call, error, words):
    for x in (torch.zeros(3, 4), fn.zeros(3, 4)):
        with pytest.raises(error, match=words):
            call(x)


def test_index_errors():
    x = fn.zeros(3, 4)
    with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 0 with size 3"):
        x[fn.tensor([0, 5])]
    with pytest.raises(IndexError, match="The shape of the mask"):
        x[fn.tensor([True, False])]
    with pytest.raises(IndexError, match="tensors used as indices must be long, int, byte or bool tensors"):
        x[fn.tensor([0.5])]
    with pytest.raises(RuntimeError, match="shape mismatch: value tensor of shape"):
        x[fn.tensor([0, 1])] = fn.zeros(3)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gather_and_scatter(dim):
    index = random.integers(0, 3, (2, 3))
    i, j = fn.tensor(index), torch.tensor(index)
    x, t = pair(3, 4)
    gradients(x.gather(dim, i), t.gather(dim, j), (x, t))
    distinct = np.argsort(random.random((3, 4)), axis=dim)
    i, j = fn.tensor(distinct), torch.tensor(distinct)
    x, t = pair(3, 4)
    s, u = pair(3, 4)
    gradients(x.scatter(dim, i, s), t.scatter(dim, j, u), (x, t), (s, u))
    index = random.integers(0, 3, (2, 3))
    i, j = fn.tensor(index), torch.tensor(index)
    x, t = pair(3, 4)
    s, u = pair(2, 3)       # torch has a gradient only for a source of the index's shape
    gradients(x.scatter_add(dim, i, s), t.scatter_add(dim, j, u), (x, t), (s, u))
    close(fn.zeros(3, 4).scatter(dim, i, 2.0), torch.zeros(3, 4).scatter(dim, j, 2.0))
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        for include in (True, False):
            a, b = random.standard_normal((3, 4)), random.standard_normal((3, 4))
            close(fn.tensor(a).scatter_reduce(dim, i, fn.tensor(b), reduce, include_self=include),
                  torch.tensor(a).scatter_reduce(dim, j, torch.tensor(b), reduce, include_self=include))
    with pytest.raises(RuntimeError, match="index 3 is out of bounds|index 7 is out of bounds"):
        torch.zeros(3, 4).gather(dim, torch.tensor([[7]]))
    with pytest.raises(IndexError, match="index 7 is out of bounds for dimension"):
        fn.zeros(3, 4).gather(dim, fn.tensor([[7]]))


def test_one_hot_by_scatter():
    labels = np.array([2, 0, 1])
    close(fn.zeros(3, 3).scatter_(1, fn.tensor(labels).unsqueeze(1), 1.0),
          torch.zeros(3, 3).scatter_(1, torch.tensor(labels).unsqueeze(1), 1.0))


@pytest.mark.parametrize("dim", [0, 1, -2])
def test_index_operations(dim):
    index = np.array([2, 0, 2])
    i, j = fn.tensor(index), torch.tensor(index)
    x, t = pair(3, 3)
    gradients(x.index_select(dim, i), t.index_select(dim, j), (x, t))
    x, t = pair(3, 3)
    s, u = pair(3, 3)
    gradients(x.index_add(dim, i, s, alpha=2), t.index_add(dim, j, u, alpha=2), (x, t), (s, u))
    index = np.array([2, 0])
    i, j = fn.tensor(index), torch.tensor(index)
    x, t = pair(3, 3)
    s, u = pair(*((2, 3) if dim % 2 == 0 else (3, 2)))
    gradients(x.index_copy(dim, i, s), t.index_copy(dim, j, u), (x, t), (s, u))
    x, t = pair(3, 3)
    gradients(x.index_fill(dim, i, 3.0), t.index_fill(dim, j, 3.0), (x, t))
    with pytest.raises(IndexError):
        fn.zeros(3, 3).index_select(dim, fn.tensor([3]))


def test_masks():
    mask = random.random((3, 4)) > 0.5
    m, n = fn.tensor(mask), torch.tensor(mask)
    x, t = pair(3, 4)
    gradients(x.masked_fill(m, -1.0), t.masked_fill(n, -1.0), (x, t))
    x, t = pair(3, 4)
    gradients(x.masked_select(m), t.masked_select(n), (x, t))
    x, t = pair(3, 4)
    y, u = pair(4)
    gradients(x.where(m, y), t.where(n, u), (x, t), (y, u))
    x, t = pair(3, 4)
    gradients(fn.where(m, x, 0.5), torch.where(n, t, 0.5), (x, t))
    x, t = pair(3, 4)
    s, u = pair(12)
    gradients(x.masked_scatter(m, s), t.masked_scatter(n, u), (x, t), (s, u))
    close(m.nonzero(), n.nonzero())
    for a, b in zip(m.nonzero(as_tuple=True), n.nonzero(as_tuple=True)):
        close(a, b)
    for a, b in zip(fn.where(m), torch.where(n)):
        close(a, b)
    with pytest.raises(RuntimeError, match="only supports boolean masks"):
        fn.zeros(2).masked_fill(fn.tensor([1, 0]), 0.0)


def test_take_and_put():
    x, t = pair(3, 4)
    index = np.array([0, 11, 5, 5])
    gradients(x.take(fn.tensor(index)), t.take(torch.tensor(index)), (x, t))
    index = np.array([[0, 1, 2, 0]])
    x, t = pair(3, 4)
    gradients(fn.take_along_dim(x, fn.tensor(index), 0), torch.take_along_dim(t, torch.tensor(index), 0), (x, t))
    for accumulate in (False, True):
        x, t = pair(3, 4)
        v, w = pair(2)
        key = (np.array([0, 2]), np.array([1, 1]))
        gradients(fn.index_put(x, convert(key, fn), v, accumulate), torch.index_put(t, convert(key, torch), w, accumulate),
                  (x, t), (v, w))
