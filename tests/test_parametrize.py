"""Parametrized tensors: text, keys, values, errors and removal as torch's; copies, the cache, recurrent layers."""
import copy
import pickle
import re
import threading

import numpy as np
import pytest

import fastnn
from fastnn import nn
from fastnn.nn.utils import parametrize as P


def kinds(m):
    """Parametrizations written once for both libraries."""
    class Symmetric(m.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).mT

        def right_inverse(self, x):
            return x.triu()

    class Double(m.nn.Module):
        def forward(self, x):
            return 2 * x

    class RankOne(m.nn.Module):
        def forward(self, x, y):
            return x.unsqueeze(-1) * y.unsqueeze(-2)

        def right_inverse(self, z):
            return z[:, 0], z[0] / z[0, 0]

    class Wrong(m.nn.Module):
        def __init__(self, forward=None, back=None):
            super().__init__()
            self.wrong, self.back = forward or (lambda x: x), back

        def forward(self, x):
            return self.wrong(x)

        def right_inverse(self, x):
            if self.back is None:
                raise NotImplementedError
            return self.back(x)
    return Symmetric, Double, RankOne, Wrong


def both():
    """(library, its parametrize module, a linear layer with the same weights) of torch and of fastnn."""
    torch = pytest.importorskip("torch")
    for m in (torch, fastnn):
        m.manual_seed(0)
        yield m, m.nn.utils.parametrize, m.nn.Linear(3, 3)


def values(t):
    return np.asarray(t.detach())


def story(m, p, layer):
    """What can be seen of a layer on its way."""
    Symmetric, Double, RankOne, _ = kinds(m)
    seen, weight = [], layer.weight

    def look():
        seen.append((repr(layer), list(layer.state_dict()), [n for n, _ in layer.named_parameters()], type(layer).__name__,
                     p.is_parametrized(layer), p.is_parametrized(layer, "bias"), p.type_before_parametrizations(layer) is m.nn.Linear))
        layer.zero_grad()
        layer(m.ones(2, 3)).square().sum().backward()
        seen.extend(values(x) for x in (layer.weight, *layer.parameters(), *(q.grad for q in layer.parameters())))
    look()
    assert p.register_parametrization(layer, "weight", Symmetric()) is layer
    assert layer.parametrizations.weight.original is weight and "weight" not in vars(layer)
    look()
    p.register_parametrization(layer, "weight", Double())
    p.register_parametrization(layer, "bias", Double())
    look()
    p.remove_parametrizations(layer, "bias", leave_parametrized=False)
    look()
    p.remove_parametrizations(layer, "weight")
    assert layer.weight is weight
    look()
    p.register_parametrization(layer, "weight", RankOne())
    look()
    layer.weight = m.tensor([[1.0, 2.0, 3.0]]).T @ m.tensor([[1.0, 0.5, 0.25]])
    look()
    p.remove_parametrizations(layer, "weight")
    look()
    layer.register_buffer("seen", m.arange(3.0))
    p.register_parametrization(layer, "seen", Double())
    seen.append((values(layer.seen), list(layer.state_dict())))
    p.remove_parametrizations(layer, "seen")
    return [*seen, [n for n, _ in layer.named_buffers()], values(layer.seen)]


def test_a_life_as_torchs():
    for a, b in zip(*(story(*one) for one in both()), strict=True):
        for x, y in zip(*((v if isinstance(v, (tuple, list)) else [v]) for v in (a, b)), strict=True):
            if isinstance(x, np.ndarray):
                np.testing.assert_allclose(y, x, rtol=1e-5, atol=1e-6)
            else:
                assert y == x


def mistakes(m, p, layer):
    Symmetric, Double, RankOne, Wrong = kinds(m)
    register = p.register_parametrization
    yield lambda: register(layer, "wait", Double())
    yield lambda: p.remove_parametrizations(layer, "weight")
    yield lambda: register(layer, "weight", Wrong(lambda x: 3))
    yield lambda: register(layer, "weight", Wrong(lambda x: x[0]))
    yield lambda: register(layer, "weight", Wrong(lambda x: x.double()))
    yield lambda: register(layer, "weight", Wrong(back=lambda x: 3))
    yield lambda: register(layer, "weight", Wrong(back=lambda x: x.double()))
    yield lambda: register(layer, "weight", Wrong(back=lambda x: (x, 3)))
    yield lambda: P.ParametrizationList([], layer.weight)
    register(layer, "weight", Double())
    yield lambda: register(layer, "weight", Wrong(lambda x: x[0]))
    yield lambda: register(layer, "weight", Wrong(lambda x: x.double()))
    yield lambda: register(layer, "weight", Wrong(back=lambda x: (x, x)))
    yield lambda: register(layer, "weight", Wrong(back=lambda x: x[0]))
    yield lambda: setattr(layer, "weight", m.zeros(3, 3))
    yield lambda: setattr(layer, "weight", m.nn.Parameter(m.zeros(3, 3)))
    yield lambda: pickle.dumps(layer)
    p.remove_parametrizations(layer, "weight", leave_parametrized=False)
    register(layer, "weight", RankOne())
    yield lambda: p.remove_parametrizations(layer, "weight", leave_parametrized=False)
    p.remove_parametrizations(layer, "weight")
    switch = Wrong(back=lambda x: x)
    register(layer, "weight", switch)
    for back in (lambda x: 3, lambda x: x.double()):
        switch.back = back
        yield lambda: setattr(layer, "weight", m.zeros(3, 3))
    pair = RankOne()
    p.remove_parametrizations(layer, "weight")
    register(layer, "weight", pair)
    for back in (lambda x: 3, lambda x: (x[0],), lambda x: (x[0].double(), x[0])):
        pair.right_inverse = back
        yield lambda: setattr(layer, "weight", m.ones(3, 3))


def plain(text):
    """A message without what differs between the libraries: names of dtypes and modules."""
    text = re.sub(r"torch\.(float\d+)", r"\1", text)
    return re.sub(r"Size\(\[(.*?)\]\)", r"\1", text)


def test_errors_are_torchs():
    found = []
    for one in both():
        of_library = []
        for number, mistake in enumerate(mistakes(*one)):
            with pytest.raises(Exception) as caught:
                mistake()
            of_library.append((number, caught.type.__name__, plain(str(caught.value))))
        found.append(of_library)
    for theirs, ours in zip(*found, strict=True):
        assert ours == theirs


def test_copies_are_independent():
    _, Double, _, _ = kinds(fastnn)
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    P.register_parametrization(model[0], "weight", Double())
    other = copy.deepcopy(model)
    assert repr(other) == repr(model) and list(other.state_dict()) == list(model.state_dict())
    before = values(model[0].weight).copy()
    with fastnn.no_grad():
        other[0].parametrizations.weight.original.zero_()
    assert not values(other[0].weight).any()
    P.remove_parametrizations(other[0], "weight")
    assert type(other[0]) is nn.Linear and P.is_parametrized(model[0], "weight")
    np.testing.assert_array_equal(values(model[0].weight), before)
    assert pickle.loads(pickle.dumps(other))[0].weight.shape == (2, 2)


def test_a_class_with_its_own_deepcopy_keeps_it():
    class Own(nn.Linear):
        def __deepcopy__(self, memo):
            return "mine"
    assert copy.deepcopy(P.register_parametrization(Own(2, 2), "weight", kinds(fastnn)[1]())) == "mine"


def test_transfer():
    Symmetric, _, RankOne, _ = kinds(fastnn)
    for kind in (Symmetric, RankOne):
        source, target = P.register_parametrization(nn.Linear(3, 3), "weight", kind()), nn.Linear(3, 3)
        assert P.transfer_parametrizations_and_params(nn.Linear(3, 3), target) is target and not P.is_parametrized(target)
        assert P.transfer_parametrizations_and_params(source, target, "weight") is target
        np.testing.assert_array_equal(values(target.weight), values(source.weight))
        for a, b in zip(source.parametrizations.parameters(), target.parametrizations.parameters(), strict=True):
            assert a is b


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x):
        self.calls.append(1)
        return x * 2


def test_cached_computes_once():
    layer, counting = nn.Linear(2, 2), Counting()
    P.register_parametrization(layer, "weight", counting)
    counting.calls.clear()
    with P.cached():
        with P.cached():
            first = layer.weight
        assert layer.weight is first and len(counting.calls) == 1
        thread = threading.Thread(target=lambda: layer.weight)
        thread.start()
        thread.join()
        assert len(counting.calls) == 2      # another thread has no cache
        with P.uncached():
            assert layer.weight is not first
        assert layer.weight is first
    assert layer.weight is not first


def test_a_compiled_module_does_not_see_the_cache_around_it():
    """A plan made inside `cached` would hold the weight of that time."""
    layer = P.register_parametrization(nn.Linear(2, 2, bias=False), "weight", kinds(fastnn)[1]())
    infer, x = fastnn.compile(layer, fullgraph=True), fastnn.ones(1, 2)
    with fastnn.no_grad():
        with P.cached():
            for _ in range(4):
                infer(x)
        layer.parametrizations.weight.original.fill_(3.0)
        assert infer(x).tolist() == [[12.0, 12.0]]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers(kind):
    """weight_norm on the weights of a recurrent layer, in both forms, and a cell."""
    torch = pytest.importorskip("torch")
    results = []
    for m in (torch, fastnn):
        m.manual_seed(0)
        layer, cell = getattr(m.nn, kind)(3, 4, num_layers=2, bidirectional=True), getattr(m.nn, kind + "Cell")(3, 4)
        old = getattr(m.nn, kind)(3, 4)
        m.nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
        m.nn.utils.parametrizations.weight_norm(layer, "weight_ih_l0")
        m.nn.utils.parametrizations.weight_norm(cell, "weight_hh")
        with pytest.warns(FutureWarning, match="deprecated"):
            m.nn.utils.weight_norm(old, "weight_hh_l0")
        modules = [layer, cell, old]
        with m.no_grad():
            for p in (*layer.parametrizations.parameters(), *cell.parametrizations.parameters(), old.weight_hh_l0_g):
                p.mul_(1.5)
        x = m.arange(30.0).reshape(5, 2, 3) / 10
        y = [layer(x)[0], cell(x[0]), old(x)[0]]
        y[1] = y[1][0] if isinstance(y[1], tuple) else y[1]
        sum(t.square().sum() for t in y).backward()
        results.append([*map(values, y), *(values(p.grad) for module in modules for p in module.parameters())])
    for w, f in zip(*results, strict=True):
        np.testing.assert_allclose(f, w, rtol=2e-5, atol=1e-5)
