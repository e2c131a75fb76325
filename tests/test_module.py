"""Module: registration, walking, state, hooks, copies and text, against torch."""
import copy
import pickle
import re
from collections import OrderedDict

import numpy as np
import pytest

import fastnn as fn
from fastnn import nn

torch = pytest.importorskip("torch", reason="torch is the reference")


def net(library):
    """The same small model on both sides."""
    class Inner(library.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = library.nn.Linear(3, 2)
            self.register_buffer("count", library.zeros(1))
            self.register_buffer("scratch", library.ones(2), persistent=False)
            self.register_parameter("nothing", None)

        def forward(self, x, scale=1):
            return self.linear(x) * scale

    class Net(library.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = Inner()
            self.shared = self.first.linear
            self.gain = library.nn.Parameter(library.ones(2))
            self.note = "plain"

        def forward(self, x):
            return self.first(x, scale=2) * self.gain

        def extra_repr(self):
            return "note=plain"
    return Net()


class Picklable(nn.Module):
    """At module level, so that pickle finds it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.register_buffer("seen", fn.zeros(2))
        self.register_buffer("hidden", fn.ones(1), persistent=False)
        self.setting = [1, 2]

    def forward(self, x):
        return self.linear(x)


def test_walking():
    ours, theirs = net(fn), net(torch)
    for name in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        assert [n for n, _ in getattr(ours, name)()] == [n for n, _ in getattr(theirs, name)()], name
    assert [n for n, _ in ours.named_parameters("p", recurse=False)] == [
        n for n, _ in theirs.named_parameters("p", recurse=False)]
    assert [n for n, _ in ours.named_parameters(remove_duplicate=False)] == [
        n for n, _ in theirs.named_parameters(remove_duplicate=False)]
    assert len(list(ours.parameters())) == 3 and len(list(ours.modules())) == 3 and len(list(ours.buffers())) == 2
    seen = []
    assert ours.apply(lambda m: seen.append(type(m).__name__)) is ours and seen == ["Linear", "Inner", "Linear", "Net"]


def test_text():
    assert repr(net(fn)) == repr(net(torch))
    assert repr(nn.Module()) == "Module()"


def test_state_dict():
    ours, theirs = net(fn), net(torch)
    state = ours.state_dict()
    assert isinstance(state, OrderedDict) and list(state) == list(theirs.state_dict())
    assert dict(state._metadata) == dict(theirs.state_dict()._metadata)
    assert not state["gain"].requires_grad and ours.state_dict(keep_vars=True)["gain"] is ours.gain
    assert np.shares_memory(state["gain"].numpy(), ours.gain.detach().numpy())
    assert list(ours.state_dict(prefix="m.")) == ["m." + k for k in state]
    report = ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    assert repr(report) == "<All keys matched successfully>" and report.missing_keys == []
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    want = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(ours(fn.tensor(x)).detach().numpy(), want, rtol=1e-5, atol=1e-6)


def load_error(model, state):
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict(state)
    return str(caught.value)


def test_load_errors_in_torchs_words():
    ours, theirs = nn.Sequential(nn.Linear(2, 2)), torch.nn.Sequential(torch.nn.Linear(2, 2))
    wrong = {"0.weight": np.zeros((2, 3), np.float32), "x": np.zeros(1, np.float32), "0.deep.y": np.zeros(1, np.float32)}
    want = load_error(theirs, {k: torch.tensor(v) for k, v in wrong.items()})
    assert load_error(ours, wrong) == want
    assert load_error(ours, {k: fn.tensor(v) for k, v in wrong.items()}) == want
    del wrong["0.weight"]
    got = ours.load_state_dict(wrong, strict=False)
    want = theirs.load_state_dict({k: torch.tensor(v) for k, v in wrong.items()}, strict=False)
    assert tuple(got) == tuple(want) and repr(got).split("(")[1] == repr(want).split("(")[1]
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like, got <class 'list'>"):
        ours.load_state_dict([])
    assert "received <class 'str'>" in load_error(ours, {"0.weight": "a", "0.bias": np.zeros(2)})


def test_load_assign_and_identity():
    model = nn.Linear(2, 2)
    weight = model.weight
    state = {"weight": fn.ones(2, 2), "bias": fn.ones(2)}
    model.load_state_dict(state)
    assert model.weight is weight and weight._version > 0 and weight.requires_grad
    model.load_state_dict(state, assign=True)
    assert model.weight is not weight and isinstance(model.weight, nn.Parameter)
    assert np.shares_memory(model.weight.detach().numpy(), state["weight"].numpy())


def test_state_hooks_and_extra_state():
    class Extra(nn.Module):
        _version = 3

        def __init__(self):
            super().__init__()
            self.extra = 1

        def get_extra_state(self):
            return {"extra": self.extra}

        def set_extra_state(self, state):
            self.extra = state["extra"]

    model = Extra()
    model.register_state_dict_post_hook(lambda m, state, prefix, meta: state.update(added=fn.ones(1)))
    state = model.state_dict()
    assert list(state) == ["_extra_state", "added"] and state._metadata[""] == {"version": 3}
    state["_extra_state"] = {"extra": 7}
    model.register_load_state_dict_pre_hook(lambda m, state, *rest: state.pop("added", None))
    calls = []
    model.register_load_state_dict_post_hook(lambda m, keys: calls.append(keys))
    model.load_state_dict(state)
    assert model.extra == 7 and len(calls) == 1


def test_attributes():
    m = nn.Module()
    m.weight = nn.Parameter(fn.ones(2))
    m.child = nn.Identity()
    assert list(m._parameters) == ["weight"] and list(m._modules) == ["child"]
    with pytest.raises(TypeError, match=r"cannot assign 'int' as parameter 'weight' \(torch.nn.Parameter or None expected\)"):
        m.weight = 3
    with pytest.raises(TypeError, match=r"cannot assign 'int' as child module 'child' \(torch.nn.Module or None expected\)"):
        m.child = 3
    m.register_buffer("buffer", fn.zeros(1))
    with pytest.raises(TypeError, match="cannot assign 'int' as buffer 'buffer'"):
        m.buffer = 3
    m.buffer = fn.ones(1)
    assert m._buffers["buffer"].item() == 1
    m.weight = None
    assert m.weight is None and list(m.state_dict()) == ["buffer"]
    m.buffer = nn.Parameter(fn.ones(1))     # a name has one meaning
    assert "buffer" not in m._buffers and "buffer" in m._parameters
    m.plain = 5
    m.plain = nn.Identity()
    assert "plain" in m._modules
    del m.plain
    with pytest.raises(AttributeError, match="'Module' object has no attribute 'plain'"):
        print(m.plain)
    with pytest.raises(AttributeError):
        del m.plain
    m._parameters["late"] = nn.Parameter(fn.ones(1))
    assert m.late is m._parameters["late"]
    m._parameters.pop("late")
    assert not hasattr(m, "late") and "weight" in dir(m)


@pytest.mark.parametrize("call, error, words", [
    (lambda n, m, t: m.register_buffer("a.b", t(1)), KeyError, 'buffer name can\'t contain "."'),
    (lambda n, m, t: m.register_buffer("", t(1)), KeyError, "buffer name can't be empty string"),
    (lambda n, m, t: m.register_buffer("forward", t(1)), KeyError, "attribute 'forward' already exists"),
    (lambda n, m, t: m.register_buffer("b", 3), TypeError, "cannot assign 'int' object to buffer 'b'"),
    (lambda n, m, t: m.register_buffer(3, t(1)), TypeError, "buffer name should be a string. Got int"),
    (lambda n, m, t: m.register_parameter("p", t(1)), TypeError, "object to parameter 'p' .torch.nn.Parameter or None required."),
    (lambda n, m, t: m.register_parameter("a.b", None), KeyError, 'parameter name can\'t contain "."'),
    (lambda n, m, t: m.add_module("a.b", n.Identity()), KeyError, "module name can't contain"),
    (lambda n, m, t: m.add_module("a", 3), TypeError, "int is not a Module subclass"),
    (lambda n, m, t: m.get_submodule("a.b"), AttributeError, "Module has no attribute `a`"),
    (lambda n, m, t: m.get_parameter("training"), AttributeError, "`training` is not an nn.Parameter"),
    (lambda n, m, t: m.train(3), ValueError, "training mode is expected to be boolean"),
    (lambda n, m, t: m(3), NotImplementedError, 'is missing the required "forward" function'),
    (lambda n, m, t: n.Module(3), TypeError, "takes 1 positional argument but 2 were"),
    (lambda n, m, t: m.to(int), TypeError, "only accepts floating point or complex dtypes"),
])
def test_errors(call, error, words):
    for library in (torch, fn):
        with pytest.raises(error) as caught:
            call(library.nn, library.nn.Module(), library.ones)
        assert re.search(words, caught.value.args[0])


def test_before_init():
    class Early(nn.Module):
        def __init__(self):
            self.x = 3                      # allowed
            self.child = nn.Identity()
    with pytest.raises(AttributeError, match=r"cannot assign module before Module.__init__\(\) call"):
        Early()
    with pytest.raises(AttributeError, match=r"cannot assign parameters before Module.__init__\(\) call"):
        nn.Module.__new__(nn.Module).p = nn.Parameter(fn.ones(1))


def test_lookup_by_path():
    model = net(fn)
    assert model.get_submodule("first.linear") is model.shared and model.get_submodule("") is model
    assert model.get_parameter("first.linear.bias") is model.shared.bias
    assert model.get_buffer("first.count") is model.first.count
    model.set_submodule("first.linear", nn.Identity())
    assert isinstance(model.first.linear, nn.Identity)


def test_modes_and_dtypes():
    model = net(fn)
    assert model.eval() is model and not model.first.linear.training and model.train().first.training
    weight = model.gain
    model(fn.ones(1, 3)).sum().backward()
    assert model.double() is model and model.gain is weight and weight.dtype == np.float64 and weight.grad.dtype == np.float64
    assert model.first.count.dtype == np.float64
    assert model.to("float32").gain.dtype == np.float32 and model.to(fn.float64).gain.dtype == np.float64
    assert model.to(device="cpu", dtype=fn.float32).gain.dtype == np.float32 and model.to("cpu") is model
    with pytest.raises(RuntimeError, match="CPU only"):
        model.to("cuda")
    model.requires_grad_(False)
    assert not any(p.requires_grad for p in model.parameters())
    model.requires_grad_()
    model.zero_grad(set_to_none=False)
    assert not weight.grad.numpy().any()
    model.zero_grad()
    assert weight.grad is None


def test_forward_hooks():
    logs = []
    for library in (torch, fn):
        model, log = net(library), []
        first = model.first
        first.register_forward_pre_hook(lambda m, args, log=log: log.append(("pre", len(args))))
        first.register_forward_pre_hook(lambda m, args, kwargs, log=log: log.append(("kwargs", kwargs)), with_kwargs=True,
                                        prepend=True)
        first.register_forward_hook(lambda m, args, out: out + 1)
        first.register_forward_hook(lambda m, args, kwargs, out, log=log: log.append((kwargs, out.shape)), with_kwargs=True)
        model.register_forward_pre_hook(lambda m, args: (args[0] * 0,))
        handle = model.register_forward_hook(lambda m, args, out, log=log: log.append("outer"))
        with library.no_grad():
            model.first.linear.bias.fill_(0)
        out = model(library.ones(2, 3))
        assert out.tolist() == [[1, 1], [1, 1]]
        handle.remove()
        model(library.ones(2, 3))
        logs.append([str(entry) for entry in log])
    assert logs[0] == logs[1]


def test_hook_called_in_spite_of_an_error():
    model, calls = nn.Linear(2, 2), []
    model.register_forward_hook(lambda m, args, out: calls.append(out), always_call=True)
    with pytest.raises(RuntimeError):
        model(fn.ones(1, 3))
    assert calls == [None]


def test_backward_hooks():
    found = []
    for library in (torch, fn):
        seen = []
        layer = library.nn.Linear(2, 2)
        with library.no_grad():
            layer.weight.copy_(library.tensor([[1.0, 2.0], [3.0, 4.0]]))
        layer.register_full_backward_hook(
            lambda m, gi, go, seen=seen: seen.append(([g.tolist() for g in gi], [g.tolist() for g in go])))
        layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 10,))
        layer.register_full_backward_pre_hook(lambda m, go: (go[0] * 2,))
        x = library.ones(1, 2, requires_grad=True)
        layer(x).sum().backward()
        seen.append((x.grad.tolist(), layer.weight.grad.tolist()))
        found.append(seen)
    assert found[0] == found[1]


def test_backward_hooks_without_gradient_of_the_input():
    layer, seen = nn.Linear(2, 2), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].tolist())))
    layer(fn.ones(1, 2)).sum().backward()
    assert seen == [((None,), [[1.0, 1.0]])] and layer.weight.grad is not None


def test_copies():
    model = Picklable()
    model.linear.weight.grad = fn.ones(3, 2)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.copy(model)):
        assert list(other.state_dict()) == list(model.state_dict()) and other.setting == [1, 2] and other.training
        assert other.linear.weight is other.linear._parameters["weight"] and isinstance(other.linear.weight, nn.Parameter)
        np.testing.assert_array_equal(other(fn.ones(1, 2)).detach().numpy(), model(fn.ones(1, 2)).detach().numpy())
        assert list(other._non_persistent_buffers_set) == ["hidden"] and other.seen is other._buffers["seen"]
    other = copy.deepcopy(model)
    with fn.no_grad():
        other.linear.weight.add_(1)
    assert not np.array_equal(other.linear.weight.detach().numpy(), model.linear.weight.detach().numpy())
    assert other.linear.weight.grad.tolist() == fn.ones(3, 2).tolist()


def test_shared_parameters_stay_shared():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other[1].weight is other[0].weight and len(list(other.parameters())) == 3 and len(other.state_dict()) == 4


def test_modules_free_without_the_collector():
    import gc
    import weakref
    gc.disable()
    try:
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        alive = weakref.ref(model)
        del model
        assert alive() is None
    finally:
        gc.enable()


def test_modules_may_be_listed_as_often_as_they_are_used():
    layer = nn.ReLU()
    model = nn.Sequential(layer, layer)
    assert len(list(model.modules())) == 2 and len(list(model.modules(remove_duplicate=False))) == 3
