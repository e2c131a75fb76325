"""What all optimizers share: groups, options, hooks, errors."""
import numpy as np
import pytest

from fastnn import optim
from fastnn.core.tensor import Parameter, from_array


def test_rate_by_hand_and_as_a_tensor():
    p = Parameter(np.zeros(1))
    optimizer = optim.SGD([p], lr=from_array(np.array(.5)))
    p.grad = from_array(np.ones(1))
    optimizer.step()
    optimizer.param_groups[0]["lr"].array[...] = .25
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 1
    optimizer.step()
    assert p.array[0] == -1.75


def test_groups():
    a, b, c = (Parameter(np.zeros(1)) for _ in range(3))
    optimizer = optim.SGD([{"params": [a], "lr": 1}, {"params": b}], lr=2)
    optimizer.add_param_group({"params": [c], "lr": 3, "maximize": True})
    for p in (a, b, c):
        p.grad = from_array(np.ones(1))
    b.grad = None
    optimizer.step()
    assert [p.array[0] for p in (a, b, c)] == [-1, 0, 3]
    assert [g["params"] for g in optimizer.state_dict()["param_groups"]] == [[0], [1], [2]]
    optimizer.zero_grad()
    assert a.grad is None
    a.grad = from_array(np.ones(1))
    optimizer.zero_grad(set_to_none=False)
    assert a.grad.array[0] == 0


def test_named_parameters():
    p, q = Parameter(np.zeros(1)), Parameter(np.zeros(1))
    optimizer = optim.Adam([("w", p), ("b", q)])
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["w", "b"]
    with pytest.raises(ValueError, match="with/without names"):
        optimizer.add_param_group({"params": [Parameter(np.zeros(1))]})
    with pytest.raises(ValueError, match="Some param names are missing"):
        optim.SGD([("w", p), q])


def test_hooks_and_closure():
    p = Parameter(np.ones(1))
    optimizer = optim.SGD([p], lr=.5)
    calls = []
    before = optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append(("before", o is args[0])))
    optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append(("after", p.array[0])))

    def closure():
        p.grad = from_array(2 * p.array)
        return 7
    assert optimizer.step(closure) == 7
    assert calls == [("before", True), ("after", 0)]
    before.remove()
    optimizer.step()
    assert calls[2:] == [("after", -1)]
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "note": 1})
    assert optimizer.state_dict()["note"] == 1
    optimizer.register_load_state_dict_pre_hook(lambda o, state: {k: v for k, v in state.items() if k != "note"})
    optimizer.load_state_dict(optimizer.state_dict())


def test_user_written_optimizer():
    class Sign(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.array[...] -= group["lr"] * np.sign(p.grad.array)

    p = Parameter(np.ones(2))
    optimizer = Sign([p], .5)
    seen = []
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    p.grad = from_array(np.array([3., -3.]))
    optimizer.step()
    assert list(p.array) == [.5, 1.5] and seen == [1]


def test_options_may_change_between_steps():
    """A state array that an option asks for later is made then."""
    p = Parameter(np.ones(2))
    optimizer = optim.RMSprop([p])
    p.grad = from_array(np.ones(2))
    optimizer.step()
    optimizer.param_groups[0]["momentum"] = .9
    optimizer.step()
    assert list(optimizer.state[p]) == ["step", "square_avg", "momentum_buffer"] and optimizer.state[p]["step"].item() == 2


def test_representation():
    text = repr(optim.SGD([Parameter(np.ones(1))], lr=.1))
    assert text == ("SGD (\nParameter Group 0\n    dampening: 0\n    differentiable: False\n    foreach: None\n    fused: None\n"
                    "    lr: 0.1\n    maximize: False\n    momentum: 0\n    nesterov: False\n    weight_decay: 0\n)")


@pytest.mark.parametrize("make, kind, words", [
    (lambda p: optim.SGD([]), ValueError, "optimizer got an empty parameter list"),
    (lambda p: optim.SGD(p), TypeError, "should be an iterable of Tensors or dicts"),
    (lambda p: optim.SGD([{"params": {p}}]), TypeError, "ordered collections"),
    (lambda p: optim.SGD([1]), TypeError, "can only optimize Tensors"),
    (lambda p: optim.SGD([p], lr=-1), ValueError, "Invalid learning rate: -1"),
    (lambda p: optim.SGD([p], lr=float("nan")), ValueError, "Invalid learning rate: nan"),
    (lambda p: optim.SGD([p], momentum=-1), ValueError, "Invalid momentum value: -1"),
    (lambda p: optim.SGD([p], nesterov=True), ValueError, "Nesterov momentum requires a momentum and zero dampening"),
    (lambda p: optim.Adam([p], betas=(1., .9)), ValueError, "Invalid beta parameter at index 0: 1.0"),
    (lambda p: optim.Adam([p], eps=-1), ValueError, "Invalid epsilon value: -1"),
    (lambda p: optim.Adam([p], weight_decay=-1), ValueError, "Invalid weight_decay value: -1"),
    (lambda p: optim.Adadelta([p], rho=1.1), ValueError, "Invalid rho value: 1.1"),
    (lambda p: optim.Rprop([p], etas=(1., .5)), ValueError, "Invalid eta values: 1.0, 0.5"),
    (lambda p: optim.Adam([p], differentiable=True), NotImplementedError, "differentiable"),
    (lambda p: optim.SGD([{"params": [p]}, {"params": [p]}]), ValueError, "more than one parameter group"),
    (lambda p: optim.SGD([p]).add_param_group([p]), TypeError, "param_group must be a dict"),
    (lambda p: optim.SGD([p]).load_state_dict({"state": {}, "param_groups": []}), ValueError,
     "loaded state dict has a different number of parameter groups"),
    (lambda p: optim.SGD([p]).load_state_dict({"state": {}, "param_groups": [{"params": []}]}), ValueError,
     "doesn't match the size"),
])
def test_errors(make, kind, words):
    with pytest.raises(kind, match=words):
        make(Parameter(np.ones(1)))


def test_duplicates_warn():
    p = Parameter(np.ones(1))
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optim.SGD([p, p])


def test_read_only_parameter():
    a = np.ones(2)
    p = Parameter(a)
    a.flags.writeable = False
    p.data = from_array(a)
    p.grad = from_array(np.ones(2))
    with pytest.raises(RuntimeError, match="read-only"):
        optim.SGD([p]).step()


def test_parameters_changed_behind_the_optimizer():
    """`.data` can give a parameter another dtype or shape after its gradient was set: an error, not a wild read."""
    for data, words in [(np.ones(3, np.float32), "is float32, its gradient float64"), (np.ones(2), "has the shape"),
                        (np.ones((3, 1)), "has the shape"), (np.ones(3, np.uint8), "got uint8")]:
        p = Parameter(np.ones(3))
        p.grad = from_array(np.ones(3))
        p.data = from_array(data)
        with pytest.raises((RuntimeError, TypeError), match=words):
            optim.Adam([p]).step()
