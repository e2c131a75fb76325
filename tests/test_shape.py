"""Views, joining and splitting against torch: values, shapes, gradients, shared memory, errors."""
import itertools

import numpy as np
import pytest

import fastnn as fn

torch = pytest.importorskip("torch", reason="torch is the reference")

SHAPES = [(), (1,), (6,), (3, 4), (2, 1, 5), (2, 3, 4, 1), (0, 3)]
random = np.random.default_rng(0)


def pair(shape, order="C"):
    a = np.asarray(random.standard_normal(shape), order=order)
    return fn.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)


def close(got, want):
    assert tuple(got.shape) == tuple(want.shape) and str(got.dtype) == str(want.dtype).split(".")[1]
    np.testing.assert_array_equal(got.detach().numpy(), want.detach().numpy())


def both(call, *pairs):
    """The same call on both sides: values, and gradients of a random combination of all results."""
    got, want = call(*(x for x, _ in pairs)), call(*(t for _, t in pairs))
    got, want = (got, want) if isinstance(want, tuple | list) else ((got,), (want,))
    assert len(got) == len(want)
    total, reference = None, None
    for g, w in zip(got, want):
        close(g, w)
        weights = random.standard_normal(tuple(w.shape))
        total = (g * fn.tensor(weights)).sum() if total is None else total + (g * fn.tensor(weights)).sum()
        reference = (w * torch.tensor(weights)).sum() + (0 if reference is None else reference)
    if total is not None:
        total.backward()
        reference.backward()
        for x, t in pairs:
            np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), atol=1e-14)


@pytest.mark.parametrize("shape", SHAPES)
def test_axes(shape):
    n = len(shape)
    for i, j in itertools.product(range(-n, n), repeat=2):
        both(lambda x: x.transpose(i, j), pair(shape))
        both(lambda x: x.movedim(i, j), pair(shape))
    for axes in itertools.permutations(range(n)):
        both(lambda x: x.permute(axes), pair(shape))
        both(lambda x: x.permute(*axes) if axes else x.permute(()), pair(shape))
    for i in range(-n - 1, n + 1):
        both(lambda x: x.unsqueeze(i), pair(shape))
    for i in range(-n, n):
        both(lambda x: x.squeeze(i), pair(shape))
    both(lambda x: x.squeeze(), pair(shape))
    both(lambda x: x.squeeze(tuple(range(n))), pair(shape))
    if n >= 2:
        both(lambda x: x.mT, pair(shape))
    if n == 2:
        both(lambda x: x.T, pair(shape))
    if n <= 2:
        both(lambda x: x.t(), pair(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_flatten(shape):
    n = max(1, len(shape))
    for i, j in itertools.combinations_with_replacement(range(n), 2):
        both(lambda x: x.flatten(i, j), pair(shape))
        both(lambda x: x.flatten(i - n, j - n), pair(shape))
    both(lambda x: x.flatten(), pair(shape))
    both(lambda x: x.reshape(-1) if x.numel() else x.reshape(0), pair(shape))


def test_reshape():
    for order in "CF":
        both(lambda x: x.reshape(2, 6), pair((3, 4), order))
        both(lambda x: x.reshape((4, -1)), pair((3, 4), order))
        both(lambda x: x.T.reshape(12), pair((3, 4), order))
    both(lambda x: x.view(2, 6), pair((3, 4)))
    both(lambda x: x.view(-1, 2, 2), pair((3, 4)))
    both(lambda x: x.view_as(torch.zeros(4, 3)) if isinstance(x, torch.Tensor) else x.view_as(fn.zeros(4, 3)), pair((3, 4)))
    both(lambda x: x.unflatten(1, (2, -1)), pair((3, 4, 5)))
    both(lambda x: x.unflatten(-1, (5, 1)), pair((3, 4, 5)))
    both(lambda x: x[:, ::2].reshape(6), pair((3, 4)))
    assert fn.zeros(2, 3).view(np.int32).dtype == np.int32


def test_views_share_memory_and_version():
    x = fn.zeros(2, 3)
    views = [x.view(3, 2), x.T, x[0], x[:, 1:], x.unsqueeze(0), x.expand(4, 2, 3), x.flatten(), x.reshape(6), x.detach(),
             x.squeeze()]
    x.add_(1)
    for v in views:
        assert v._version == x._version and v.numpy().min() == 1 and np.shares_memory(v.numpy(), x.numpy())
    views[0][0, 0] = 5
    assert x[0, 0].item() == 5 and x._version == views[1]._version


def test_expand_and_repeat():
    both(lambda x: x.expand(4, 3, 5), pair((3, 1)))
    both(lambda x: x.expand(-1, 5), pair((3, 1)))
    both(lambda x: x.expand(2, 3), pair(()))
    both(lambda x: x.repeat(2, 3), pair((3, 4)))
    both(lambda x: x.repeat(2, 1, 3), pair((3, 4)))
    both(lambda x: x.tile(2), pair((3, 4)))
    both(lambda x: x.tile(2, 1, 3), pair((3, 4)))
    both(lambda x: x.repeat_interleave(3), pair((3, 4)))
    both(lambda x: x.repeat_interleave(2, 1), pair((3, 4)))
    both(lambda x: x.repeat_interleave(module(x).tensor([1, 0, 2]), 0), pair((3, 4)))


def module(x):
    return torch if isinstance(x, torch.Tensor) else fn


def test_joining():
    for dim in (0, 1, -1):
        both(lambda x, y: module(x).cat([x, y, x], dim), pair((3, 4)), pair((3, 4)))
        both(lambda x, y: module(x).stack([x, y, x], dim), pair((3, 4)), pair((3, 4)))
    both(lambda x, y: module(x).cat((x, y), 1), pair((3, 2)), pair((3, 5)))
    both(lambda x, y: module(x).cat([x, y]), pair((0,)), pair((3,)))
    for name in ("vstack", "hstack", "dstack", "column_stack"):
        for shape in ((3,), (3, 4), (2, 3, 4)):
            both(lambda x, y: getattr(module(x), name)([x, y]), pair(shape), pair(shape))
    both(lambda x, y: module(x).block_diag(x, y), pair((2, 3)), pair((3, 1)))
    both(lambda x, y: module(x).broadcast_tensors(x, y), pair((3, 1)), pair((4,)))
    both(lambda x, y: module(x).meshgrid(x, y, indexing="ij"), pair((3,)), pair((4,)))
    both(lambda x, y: module(x).meshgrid(x, y, indexing="xy"), pair((3,)), pair((4,)))
    both(lambda x, y: module(x).cartesian_prod(x, y), pair((3,)), pair((2,)))


def test_joining_promotes():
    got = fn.cat([fn.tensor([1, 2]), fn.tensor([0.5])])
    assert got.dtype == np.float32 and got.tolist() == [1, 2, 0.5]


@pytest.mark.parametrize("shape", [(7,), (4, 6), (3, 0, 2)])
def test_splitting(shape):
    for dim in range(-len(shape), len(shape)):
        for n in (1, 2, 3, 5):
            both(lambda x: x.split(n, dim), pair(shape))
            both(lambda x: x.chunk(n, dim), pair(shape))
            both(lambda x: x.tensor_split(n, dim), pair(shape))
        if shape[dim] >= 3:
            both(lambda x: x.split([1, shape[dim] - 3, 2], dim), pair(shape))
            both(lambda x: x.tensor_split((1, 3), dim), pair(shape))
        if shape[dim]:
            both(lambda x: x.unbind(dim), pair(shape))
            both(lambda x: x.narrow(dim, 0, 1), pair(shape))
            both(lambda x: x.select(dim, -1), pair(shape))


def test_reordering():
    for dims in ((0,), (1,), (0, 1), (-1,)):
        both(lambda x: x.flip(dims), pair((3, 4)))
        both(lambda x: x.roll((1,) * len(dims), dims), pair((3, 4)))
    both(lambda x: x.flip(0, 1), pair((3, 4)))
    both(lambda x: x.roll(2), pair((3, 4)))
    both(lambda x: x.rot90(1, (0, 1)), pair((3, 4)))
    both(lambda x: x.fliplr(), pair((3, 4)))


def test_triangles_and_diagonals():
    for k in (-1, 0, 2):
        both(lambda x: x.tril(k), pair((3, 4)))
        both(lambda x: x.triu(k), pair((2, 3, 4)))
        both(lambda x: x.diagonal(k), pair((4, 5)))
        both(lambda x: x.diag(k), pair((4, 5)))
        both(lambda x: x.diag(k), pair((4,)))
        both(lambda x: module(x).diag_embed(x, k), pair((2, 4)))
    both(lambda x: x.diagonal(0, 1, 2), pair((2, 3, 4)))


@pytest.mark.parametrize("call, error, words", [
    (lambda x: x.view(5, 3), RuntimeError, r"shape '\[5, 3\]' is invalid for input of size 12"),
    (lambda x: x.view(-1, -1), RuntimeError, "only one dimension can be inferred"),
    (lambda x: x.T.view(12), RuntimeError, "view size is not compatible with input tensor's size and stride"),
    (lambda x: x.flatten(1, 0), RuntimeError, "start_dim cannot come after end_dim"),
    (lambda x: x.unsqueeze(4), IndexError, r"Dimension out of range \(expected to be in range of \[-3, 2\], but got 4\)"),
    (lambda x: x.permute(0, 0), RuntimeError, "duplicate dims are not allowed"),
    (lambda x: x.expand(5, 4), RuntimeError, r"The expanded size of the tensor \(5\) must match the existing size \(3\) at "
     r"non-singleton dimension 0.  Target sizes: \[5, 4\].  Tensor sizes: \[3, 4\]"),
    (lambda x: module(x).cat([x, x[:, :2]]), RuntimeError, "Sizes of tensors must match except in dimension 0"),
    (lambda x: module(x).stack([x, x[:, :2]]), RuntimeError, "stack expects each tensor to be equal size"),
    (lambda x: x.split([1, 1]), RuntimeError, "split_with_sizes expects split_sizes to sum exactly to 3"),
    (lambda x: x.narrow(0, 2, 2), RuntimeError, r"start \(2\) \+ length \(2\) exceeds dimension size \(3\)"),
    (lambda x: x.select(0, 3), IndexError, "index 3 out of range for tensor of size"),
    (lambda x: x.unflatten(1, (3, 2)), RuntimeError, "don't multiply up to the size of dim 1"),
])
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call(torch.zeros(3, 4))
    with pytest.raises(error, match=words):
        call(fn.zeros(3, 4))


def test_view_of_what_the_library_arranged_is_a_copy_that_cannot_be_changed():
    """Maps of convolutions and weights lie in C order in torch, so its programs view them."""
    def run(module):
        module.manual_seed(0)
        conv, linear = module.nn.Conv2d(3, 4, 3), module.nn.Linear(5, 7)
        x = module.rand(2, 3, 6, 6).requires_grad_()
        y = conv(x).relu()
        flat = y.view(y.size(0), -1)
        weights = module.cat([p.view(-1) for p in linear.parameters()])
        ((flat ** 2).sum() + (weights ** 3).sum()).backward()
        return flat, weights, x.grad, linear.weight.grad.view(-1), conv.weight.data.view(4, -1)
    for ours, theirs in zip(run(fn), run(torch), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-5, atol=1e-6)
    y = fn.nn.Conv2d(3, 4, 3)(fn.rand(2, 3, 6, 6)).detach()
    with pytest.raises(RuntimeError, match="read-only array: copy it first"):
        y.view(2, -1).mul_(2)
    y.reshape(2, -1).mul_(2)
    for other in (y.transpose(1, 2), y[:, 1:]):
        with pytest.raises(RuntimeError, match="view size is not compatible"):
            other.view(2, -1)


def test_storage_offset():
    for m in (torch, fn):
        x = m.zeros(3, 4)
        assert [y.storage_offset() for y in (x, x[1:], x.T[2, 1:], x[1:][1:, 3])] == [0, 4, 6, 11]
