"""Sequential, ModuleList, ModuleDict, ParameterList and ParameterDict against torch."""
import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import fastnn as fn
from fastnn import nn

torch = pytest.importorskip("torch", reason="torch is the reference")


def both(build):
    """The same container on both sides must read the same."""
    ours, theirs = build(nn, fn), build(torch.nn, torch)
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    return ours, theirs


def chain(n):
    return n.Sequential(n.Linear(2, 3), n.ReLU(), n.Linear(3, 1))


@pytest.mark.parametrize("build", [
    lambda n, f: chain(n), lambda n, f: n.Sequential(), lambda n, f: n.Sequential(OrderedDict(a=n.Linear(2, 2), b=n.Tanh())),
    lambda n, f: chain(n)[:2], lambda n, f: chain(n) + chain(n), lambda n, f: chain(n)[1:] * 2, lambda n, f: 2 * chain(n),
    lambda n, f: chain(n).append(n.Tanh()), lambda n, f: chain(n).insert(1, n.Tanh()), lambda n, f: chain(n).extend(chain(n)),
    lambda n, f: n.ModuleList([n.Linear(2, 2) for _ in range(3)] + [n.ReLU()]), lambda n, f: n.ModuleList(),
    lambda n, f: n.ModuleList([n.ReLU()]) + n.ModuleList([n.Tanh()]), lambda n, f: n.ModuleList([n.ReLU(), n.Tanh()])[::-1],
    lambda n, f: n.ModuleList([chain(n), chain(n)]), lambda n, f: n.ModuleDict({"a": n.ReLU(), "b": chain(n)}),
    lambda n, f: n.ModuleDict([["a", n.ReLU()], ["b", n.Tanh()]]), lambda n, f: n.ModuleDict(),
])
def test_building(build):
    both(build)


def changes(container, n):
    """Every way to change a list-like container."""
    container[0] = n.Tanh()
    container[-1] = n.Sigmoid()
    del container[1]
    container.append(n.ReLU())
    container.extend([n.Tanh(), n.ReLU()])
    container.insert(0, n.Identity())
    del container[1:3]
    kept = container.pop(0)
    return container, type(kept).__name__, len(container), [type(m).__name__ for m in container], list(container._modules)


@pytest.mark.parametrize("kind", ["Sequential", "ModuleList"])
def test_changing(kind):
    results = [changes(chain(n) if kind == "Sequential" else n.ModuleList(list(chain(n))), n) for n in (torch.nn, nn)]
    assert results[0][1:] == results[1][1:] and repr(results[0][0]) == repr(results[1][0])
    ours = results[1][0]
    assert ours[0] is next(iter(ours)) and ours[-1] is list(ours)[-1]
    for library in (torch.nn, nn):
        with pytest.raises(IndexError, match="index 5 is out of range"):
            library.ModuleList([library.ReLU()])[5]
        with pytest.raises(TypeError):
            library.ModuleList([library.ReLU(), 3])


def test_sequential_runs_and_shares():
    model = chain(nn)
    x = fn.ones(4, 2)
    y = x
    for layer in model:
        y = layer(y)
    assert model(x).tolist() == y.tolist()
    doubled = model * 2
    assert doubled[3] is model[0] and len(list(doubled.parameters())) == 4
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other(x).tolist() == y.tolist()


def test_module_dict():
    for n in (torch.nn, nn):
        d = n.ModuleDict({"a": n.ReLU()})
        d["b"] = n.Tanh()
        d.update({"c": n.Sigmoid()})
        d.update(n.ModuleDict({"d": n.Identity()}))
        assert list(d) == list(d.keys()) == ["a", "b", "c", "d"] and "b" in d and len(d) == 4
        assert type(d.pop("a")).__name__ == "ReLU" and [k for k, _ in d.items()] == ["b", "c", "d"]
        del d["b"]
        assert [type(m).__name__ for m in d.values()] == ["Sigmoid", "Identity"]
        d.clear()
        assert len(d) == 0
        with pytest.raises(TypeError, match="ModuleDict.update should be called with an iterable of key/value pairs"):
            d.update(3)
        with pytest.raises(ValueError, match="has length 1; 2 is required"):
            d.update([["a"]])


def test_parameter_list():
    for n, f in ((torch.nn, torch), (nn, fn)):
        p = n.ParameterList([n.Parameter(f.ones(2)), f.zeros(3), "text"])
        p.append(f.ones(1))
        p += [n.Parameter(f.zeros(2, 2))]
        p[1] = n.Parameter(f.ones(4))
        assert len(p) == 5 and list(p.state_dict()) == ["0", "1", "3", "4"] and isinstance(p[3], n.Parameter)
        assert p[2] == "text" and tuple(p[-1].shape) == (2, 2) and [i for i, _ in p.named_parameters()] == ["0", "1", "3", "4"]
        assert isinstance(p[1:3], n.ParameterList) and len(p[1:3]) == 2
        with pytest.raises(RuntimeError, match="ParameterList should not be called"):
            p(1)
        with pytest.raises(IndexError):
            p[9]


def test_parameter_dict():
    for n, f in ((torch.nn, torch), (nn, fn)):
        d = n.ParameterDict({"b": n.Parameter(f.ones(2)), "a": f.zeros(3)})
        d["c"] = f.ones(1)
        assert list(d) == list(d.keys()) and len(d) == 3 and isinstance(d["a"], n.Parameter) and "c" in d and "z" not in d
        assert d.get("z") is None and d.get("z", 3) == 3 and len(list(d.parameters())) == 3
        assert tuple(d.setdefault("e", f.ones(4)).shape) == (4,) and tuple(d.pop("e").shape) == (4,)
        assert set((d | {"x": f.ones(1)}).keys()) == {"a", "b", "c", "x"} and set(d.copy().keys()) == {"a", "b", "c"}
        d |= {"y": f.ones(2)}
        assert d.popitem()[0] == "y" and set(d.fromkeys(["p", "q"]).keys()) == {"p", "q"}
        del d["a"]
        with pytest.raises((KeyError, AttributeError)):     # torch's is an AttributeError
            d["a"]
        d.clear()
        assert len(d) == 0 and list(d.state_dict()) == []


def test_text_of_parameters():
    got = repr(nn.ParameterList([nn.Parameter(fn.ones(2, 3)), "a"]))
    want = repr(torch.nn.ParameterList([torch.nn.Parameter(torch.ones(2, 3)), "a"]))
    assert got.replace("float32", "FloatTensor") == want.replace("torch.float32", "torch.FloatTensor")
    got = repr(nn.ParameterDict({"a": nn.Parameter(fn.ones(2, 3))}))
    want = repr(torch.nn.ParameterDict({"a": torch.nn.Parameter(torch.ones(2, 3))}))
    assert got.replace("float32", "FloatTensor") == want.replace("torch.float32", "torch.FloatTensor")
    assert repr(nn.ParameterList()) == repr(torch.nn.ParameterList())


def test_state_round_trip():
    model = nn.ModuleDict({"x": nn.ModuleList([nn.Linear(2, 2)]), "p": nn.ParameterDict({"k": nn.Parameter(fn.ones(2))})})
    other = copy.deepcopy(model)
    with fn.no_grad():
        for p in other.parameters():
            p.zero_()
    assert repr(other.load_state_dict(model.state_dict())) == "<All keys matched successfully>"
    for p, q in zip(model.parameters(), other.parameters()):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())
