"""Tensors that share memory: who notices an in-place change, and where its gradient goes, as in torch."""
from importlib import import_module

import numpy as np
import pytest

import fastnn as fn


def test_changes_through_data_are_not_counted():
    x = fn.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    before = x._version
    x.data.add_(1)
    x.data[0].mul_(2)
    assert x._version == before and x.tolist() == [4, 3]
    y.backward()            # the rule sees the changed values, which is what `.data` asks for
    assert x.grad.tolist() == [8, 6]
    z = (x * x).sum()
    with fn.no_grad():
        x.detach().add_(1)
    assert x._version == before + 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()


def test_data_as_it_was_keeps_its_counter():
    x = fn.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    x.data = x.data
    with fn.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


# ---- in-place changes of views, with gradient ---------------------------------------------------------------------------
def columns(y, w):
    for j in range(3):
        y[:, j] += w[:, j] * w[0, j]
    return y


def other_views(y, w):
    before, inner = y[0], y[1:].reshape(-1)
    inner[1:4].mul_(w[0])
    y.T[2].add_(before[0] * 2)
    inner.exp_()
    return before * inner[3:6] + y.sum(0)


def base_after_views(y, w):
    v, wide = y[:, 1], y[0].expand(4, 3)
    y.mul_(w)
    return v.sum() + (wide[:3] * w).sum() + (wide * 2).prod(0).sum()


def into_constants(y, w):
    filled = w.detach() * 0
    first, other = filled[0], filled[1]
    first.copy_(w[2] * y[0])
    filled[2:] = y[2:]
    filled[:, 0].fill_(3.0)
    filled[2].sigmoid_()
    return first * 2 + other * w[0] + filled.sum(0)


def steps_and_turns(y, w):
    y.T[::2].sub_(w.T[:2])
    y.unsqueeze(0).permute(2, 0, 1)[1, 0, 1:].div_(w[0, 1:])
    y.narrow(0, 1, 2).select(1, 2).clamp_(-0.2, 0.2)
    return y


def activations(y, w):
    library = import_module("fastnn" if isinstance(y, fn.Tensor) else "torch")
    library.nn.functional.elu(y[:, 1:], inplace=True)
    return y * w


def transposed_base(y, w):
    t = y.T.exp() * 1.5
    t[1].mul_(w[1])
    v = t[:, 2]
    t[0, 2] = w[0, 0] + v[1]
    return v * t.sum(1)


def many_indices(y, w):
    y[1][[0, 2]] = w[0, :2] + y[0, 0]
    y[2][y.detach()[2] > 0] *= 3
    y[0:2].masked_fill_(w.detach()[0:2] > 0, 0.5)
    return y


@pytest.mark.parametrize("change", [columns, other_views, base_after_views, into_constants, steps_and_turns, activations,
                                    transposed_base, many_indices])
def test_gradients_follow_changes_of_views(change):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    a, b = np.random.default_rng(3).normal(size=(2, 3, 3))
    got, want = [], []
    for library, found in ((fn, got), (torch, want)):
        x, w = library.tensor(a, requires_grad=True), library.tensor(b, requires_grad=True)
        y = x * 1.5
        out = change(y, w)
        (out * out).sum().backward()
        found += [out.detach().numpy(), y.detach().numpy(), x.grad.numpy(), w.grad.numpy()]
    for g, e in zip(got, want):
        np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("change", [columns, other_views, base_after_views, into_constants, steps_and_turns])
def test_changes_of_views_against_finite_differences(change):
    a, b = np.random.default_rng(4).normal(size=(2, 3, 3))
    assert fn.autograd.gradcheck(lambda x, w: change(x * 1.5, w),
                                 (fn.tensor(a, requires_grad=True), fn.tensor(b, requires_grad=True)))


def test_a_changed_view_and_its_base_on_the_tape():
    w = fn.ones(3, requires_grad=True)
    base = fn.zeros(2, 3)
    view, other = base[0], base[1]
    assert not (base.requires_grad or other.requires_grad)
    view.add_(w)
    assert base.grad_fn.name == "CopySlices" and base.requires_grad and not base.is_leaf
    assert view.grad_fn.name == other.grad_fn.name == "AsStridedBackward" and other.requires_grad and not other.is_leaf
    other.sum().backward(retain_graph=True)
    assert w.grad.tolist() == [0, 0, 0]
    base.sum().backward()
    assert w.grad.tolist() == [1, 1, 1]


def test_a_retained_gradient_moves_on_with_an_in_place_change():
    x = fn.ones(3, requires_grad=True)
    y = x * 2
    y.retain_grad()
    y[0].mul_(5)
    y.add_(1)
    (y * y).sum().backward()
    assert y.grad.tolist() == [22, 6, 6] and x.grad.tolist() == [220, 12, 12]


def test_what_torch_refuses_of_views():
    leaf = fn.ones(2, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad is being used in an in-place operation"):
        leaf[0].add_(1)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable"):
        leaf[0][1:] = 3
    with fn.no_grad():
        leaf[0].add_(1)
        blind = fn.zeros(2, 2)[0]
    with pytest.raises(RuntimeError, match="A view was created in no_grad mode"):
        blind.add_(leaf[0])
    with pytest.raises(RuntimeError, match="Can't detach views in-place"):
        (leaf * 2)[0].detach_()
    assert leaf.tolist() == [[2, 2], [1, 1]] and blind.tolist() == [0, 0]
    apart = (leaf * 2).detach()[0]
    apart.add_(leaf[1])
    assert apart.requires_grad


def test_a_view_whose_base_was_given_other_memory():
    w = fn.ones(2, requires_grad=True)
    base = fn.zeros(2, 2)
    view = base[0]
    base.data = fn.ones(2, 2)
    with pytest.raises(RuntimeError, match="base has been given other memory"):
        view.add_(w)


def test_a_step_with_changed_views_compiles():
    class Model(fn.nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            y[:, 0].relu_().add_(y[:, 1].exp())
            return y * y

    found = []
    for compiled in (False, True):
        fn.manual_seed(0)
        model = Model(3, 2)
        run = fn.compile(model) if compiled else model
        for _ in range(4):
            model.zero_grad()
            run(fn.ones(4, 3)).sum().backward()
        found.append(model.weight.grad.tolist())
    assert found[0] == found[1]
