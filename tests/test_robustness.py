"""Attempts to get a silently wrong result or a crash: the compiled step against changes under it, autograd traps, bad input."""
import warnings

import numpy as np
import pytest

import fastnn
from fastnn import nn


def normal(*shape, seed=0):
    return fastnn.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def dense(p=0.3):
    fastnn.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 8), nn.LeakyReLU(0.1), nn.Dropout(p), nn.BatchNorm1d(8), nn.Linear(8, 3))


def single():
    fastnn.manual_seed(1)
    return nn.Linear(5, 5)


def batch(i):
    return normal(6, 5, seed=i), normal(6, 3, seed=100 + i)


def train(compiled, make, change, data, optimizer, loss=None, steps=9):
    """Losses and final parameters of a training run; `change(model, optimizer, loss)` comes before step 5."""
    model = make()
    loss = loss() if loss else nn.MSELoss()
    kind = {"sgd": fastnn.optim.SGD, "adam": fastnn.optim.Adam}[optimizer]
    optimizer = kind(model.parameters(), lr=0.05, **({"momentum": 0.9} if kind is fastnn.optim.SGD else {}))
    step = fastnn.compile(model, loss, optimizer)
    fastnn.manual_seed(7)
    values = []
    for i in range(steps):
        if i == 5 and change:
            change(model, optimizer, loss)
        values.append((step(*data(i)) if compiled else step._run(list(data(i)))[0]).item())
    return values, [p.detach().numpy().copy() for p in model.parameters()]


def check(make=dense, change=None, data=batch, optimizer="sgd", loss=None):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fastnn.compile: runs eagerly")
        values, parameters = train(True, make, change, data, optimizer, loss)
    expected, wanted = train(False, make, change, data, optimizer, loss)
    assert values == expected
    for a, b in zip(parameters, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def options(**values):
    def change(model, optimizer, loss):
        for group in optimizer.param_groups:
            group.update(values)
    return change


def reloaded(model, optimizer, loss):
    saved = optimizer.state_dict()
    zeros = {k: {n: t * 0 for n, t in s.items()} for k, s in saved["state"].items()}
    optimizer.load_state_dict({"state": zeros, "param_groups": saved["param_groups"]})


CHANGES = {
    "dropout": lambda m, o, c: setattr(m[2], "p", 0.6),
    "slope": lambda m, o, c: setattr(m[1], "negative_slope", 0.9),
    "eps": lambda m, o, c: setattr(m[3], "eps", 0.5),
    "momentum of batch norm": lambda m, o, c: setattr(m[3], "momentum", 0.5),
    "buffer": lambda m, o, c: setattr(m[3], "running_mean", normal(8)),
    "parameter": lambda m, o, c: setattr(m[0], "weight", nn.Parameter(normal(8, 5, seed=55))),
    "no bias": lambda m, o, c: setattr(m[0], "bias", None),
    "data": lambda m, o, c: setattr(m[0].weight, "data", normal(8, 5, seed=9)),
    "requires_grad": lambda m, o, c: m[0].weight.requires_grad_(False),
    "child": lambda m, o, c: m.__setitem__(1, nn.Tanh()),
    "one more child": lambda m, o, c: m.append(nn.Tanh()),
    "forward": lambda m, o, c: setattr(m[1], "forward", lambda x: x * 2),
    "eval": lambda m, o, c: m[3].eval(),
    "forward hook": lambda m, o, c: m[0].register_forward_hook(lambda module, args, y: y * 2),
    "pre-hook": lambda m, o, c: m[0].register_forward_pre_hook(lambda module, args: (args[0] * 2,)),
    "backward hook": lambda m, o, c: m[4].register_full_backward_hook(lambda module, gx, gy: (gx[0] * 0,)),
    "hook of a parameter": lambda m, o, c: m[0].weight.register_hook(lambda g: g * 2),
    "later hook of a parameter": lambda m, o, c: m[0].weight.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(2)),
    "momentum": options(momentum=0.5),
    "no momentum": options(momentum=0.0),
    "nesterov": options(nesterov=True),
    "weight decay": options(weight_decay=0.1),
    "loaded state": reloaded,
    "cleared state": lambda m, o, c: o.state.clear(),
    "gradient": lambda m, o, c: setattr(m[0].weight, "grad", normal(8, 5)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_under_a_compiled_step_is_seen(name):
    check(change=CHANGES[name])


@pytest.mark.parametrize("change", [options(amsgrad=True), options(betas=(0.5, 0.9)), options(weight_decay=0.2), reloaded])
def test_a_change_of_adam_under_a_compiled_step_is_seen(change):
    check(change=change, optimizer="adam")


def test_a_change_of_the_loss_under_a_compiled_step_is_seen():
    def classes(i):
        return normal(6, 5, seed=i), fastnn.from_numpy(np.random.default_rng(i).integers(0, 3, 6))
    check(change=lambda m, o, c: setattr(c, "label_smoothing", 0.5), data=classes, loss=nn.CrossEntropyLoss)
    check(change=lambda m, o, c: setattr(c, "weight", normal(3).abs()), data=classes,
          loss=lambda: nn.CrossEntropyLoss(weight=fastnn.ones(3)))


LONG = [normal(20, 5, seed=i) for i in range(12)]
BATCHES = {
    "the target is the input, then it is not": lambda i: (LONG[i], LONG[i]) if i < 5 else (LONG[i], LONG[i + 1]),
    "the target is not the input, then it is": lambda i: (LONG[i], LONG[i]) if i > 4 else (LONG[i], LONG[i + 1]),
    "slices that overlap, then not": lambda i: (LONG[i][0:6], LONG[i + (i > 4)][3:9]),
    "slices that overlap elsewhere": lambda i: (LONG[i][0:6], LONG[i][3:9] if i < 5 else LONG[i][4:10]),
    "reversed columns": lambda i: (fastnn.from_numpy(LONG[i].numpy()[:6, ::-1]), normal(6, 5, seed=i)),
    "transposed": lambda i: (normal(5, 6, seed=i).t() if i % 2 else normal(6, 5, seed=i), normal(6, 5, seed=i)),
    "expanded": lambda i: (normal(1, 5, seed=i).expand(6, 5), normal(6, 5, seed=i)),
    "sizes": lambda i: (normal(6 - i % 3, 5, seed=i), normal(6 - i % 3, 5, seed=i + 9)),
    "another byte order": lambda i: (normal(6, 5, seed=i).numpy().astype(">f4"), normal(6, 5, seed=i).numpy()),
}


@pytest.mark.parametrize("name", BATCHES)
def test_a_compiled_step_follows_the_batch(name):
    def data(i):
        return tuple(fastnn.from_numpy(x.astype("f4")) if isinstance(x, np.ndarray) else x for x in BATCHES[name](i))
    check(single, data=data)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = single()
        self.count = 0


LOOKS = {
    "item": lambda x: x.abs().max().item(),
    "float": lambda x: float(x.sum()),
    "bool": lambda x: 2.0 if x.sum() > 0 else 3.0,
    "numpy": lambda x: fastnn.from_numpy(np.tanh(x.numpy())),
    "asarray": lambda x: float(np.asarray(x).max()),
    "tolist": lambda x: x.tolist()[0][0],
    "format": lambda x: float(f"{x.sum():.2f}"),
    "repr": lambda x: float(len(repr(x * 100))),
    "in": lambda x: 2.0 if 1.0 in x else 3.0,
}


@pytest.mark.parametrize("name", LOOKS)
def test_values_computed_in_python_are_not_frozen(name):
    """The first five batches have one input: two recordings agree, and only seeing Python look tells."""
    class Looks(Model):
        def forward(self, x):
            return self.layer(x * LOOKS[name](x))

    inputs = [fastnn.ones(6, 5), -3 * normal(6, 5, seed=2).abs()]
    check(Looks, data=lambda i: (inputs[i > 4], normal(6, 5, seed=i)))


def test_a_step_that_counts_is_not_frozen():
    class Counts(Model):
        def forward(self, x):
            self.count += 1
            return self.layer(x)

    model = Counts()
    step = fastnn.compile(model, nn.MSELoss(), fastnn.optim.SGD(model.parameters(), lr=0.1))
    with pytest.warns(UserWarning, match="changes attributes of a module or the optimizer: count"):
        for i in range(6):
            step(normal(6, 5), normal(6, 5, seed=i))
    assert model.count == 6


def test_a_gradient_of_the_step_before_may_be_its_input():
    def run(compiled):
        model = single()
        optimizer = fastnn.optim.SGD(model.parameters(), lr=0.1)
        step = fastnn.compile(model, nn.MSELoss(), optimizer)
        for i in range(6):
            x = normal(5, 5, seed=i) if i < 5 else model.weight.grad
            y = normal(5, 5, seed=i + 50)
            loss = step(x, y) if compiled else step._run([x, y])[0]
        return loss.item(), model.weight.detach().numpy().tolist()
    assert run(True) == run(False)


# ---- autograd ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("op", [lambda x: x.logsumexp(1), lambda x: x.amax(1), lambda x: x.std(1), lambda x: x.norm(dim=1),
                                lambda x: x.sigmoid(), lambda x: x.exp(), lambda x: x.softmax(1), lambda x: x.relu()])
def test_a_result_that_its_rule_needs_must_not_change(op):
    y = op(normal(4, 5).requires_grad_() * 1.0)
    y.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_backward_into_inner_tensors():
    x = normal(4, 5).requires_grad_()
    h = x * 2
    (h * h).sum().backward(inputs=[h], retain_graph=True)
    assert x.grad is None
    np.testing.assert_array_equal(h.grad.numpy(), 2 * h.detach().numpy())


def test_a_retained_gradient_has_gone_through_all_hooks():
    h = normal(4, 5).requires_grad_() * 2
    h.retain_grad()
    h.register_hook(lambda g: g * 10)
    h.sum().backward()
    assert h.grad.tolist() == [[10.0] * 5] * 4


# ---- bad input -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("call", [
    lambda x: fastnn.Tensor.add_(None, x), lambda x: fastnn.exp_(None), lambda x: fastnn.addr_(None, x),
    lambda x: fastnn.Tensor.to(None), lambda x: fastnn.Tensor.expand_as(x, None), lambda x: fastnn.Tensor.copy_(None, x),
    lambda x: nn.functional.group_norm(x, 0.5)])
def test_none_for_a_tensor_is_an_error_and_no_crash(call):
    with pytest.raises((TypeError, RuntimeError)):
        call(fastnn.ones(2, 3))


def unbound_calls():
    """Every public function of the classes that users hold, as it lies in the class."""
    for kind in (fastnn.Tensor, nn.Parameter, fastnn.Generator):
        for name in dir(kind):
            if callable(getattr(kind, name)) and not name.startswith("_"):
                yield pytest.param(kind, name, id=f"{kind.__name__}.{name}")


@pytest.mark.filterwarnings("ignore:Implicit dimension")
@pytest.mark.parametrize("kind, name", list(unbound_calls()))
def test_an_unbound_method_with_a_wrong_self_is_an_error_and_no_crash(kind, name):
    for wrong in (None, 3, np.ones(3, np.float32)):
        for more in ((), (None,), (3,)):
            try:
                getattr(kind, name)(wrong, *more)
            except (TypeError, RuntimeError, ValueError, IndexError, AttributeError, NotImplementedError):
                continue
            assert name not in OWN, f"{kind.__name__}.{name} took {wrong!r} for itself"


# Methods written in the class itself look into the object: these must refuse what is none.
OWN = {name for kind in (fastnn.Tensor, fastnn.Generator) for name in vars(kind)
       if type(vars(kind)[name]).__name__ == "method_descriptor"}


def test_methods_of_the_class_name_the_type_they_need():
    assert {"size", "dim", "register_hook", "detach", "item", "manual_seed"} <= OWN
    with pytest.raises(TypeError, match=r"descriptor 'size' for 'fastnn\.core\.tensor\.Tensor' objects doesn't apply to a 'int' object"):
        fastnn.Tensor.size(3)


@pytest.mark.parametrize("call, kind, words", [
    (lambda x: fastnn.mm(3, x), TypeError, "argument 'input' .position 1. must be Tensor, not int"),
    (lambda x: fastnn.mv(x, 3), TypeError, "argument 'vec' .position 2. must be Tensor, not int"),
    (lambda x: fastnn.isclose(x, 3), TypeError, "argument 'other' .position 2. must be Tensor, not int"),
    (lambda x: fastnn.allclose(x, x, rtol=-1), RuntimeError, "rtol must be greater than or equal to zero, but got -1"),
    (lambda x: fastnn.allclose(x, x.double()), RuntimeError, "did not match"),
    (lambda x: fastnn.allclose(x, fastnn.ones(5)), RuntimeError, r"shapes \(2, 3\) and \(5,\) cannot be broadcast")])
def test_the_kind_of_an_error_is_torchs(call, kind, words):
    with pytest.raises(kind, match=words):
        call(fastnn.ones(2, 3))


def test_a_compiled_module_backward_twice_is_right_or_an_error():
    model = dense(p=0)
    fast, x = fastnn.compile(model), normal(6, 5)
    for i in range(3):
        model.zero_grad()
        loss = (fast(x) ** 2).mean()
        loss.backward(retain_graph=True)
        once = [p.grad.numpy().copy() for p in model.parameters()]
        if i == 2:              # replayed
            with pytest.raises(RuntimeError, match="compiled module cannot be run backward twice"):
                loss.backward()
            continue
        loss.backward()         # recorded twice
        for a, p in zip(once, model.parameters(), strict=True):
            np.testing.assert_array_equal(2 * a, p.grad.numpy())
