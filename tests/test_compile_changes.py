"""What may change between compiled steps, and how a plan finds out."""
import numpy as np
from compile_runs import assert_equal_runs, batches, classifier

import fastnn
from fastnn import backends, nn, optim
from fastnn.core.guard import Guard


def test_changes_between_steps_are_seen():
    """Learning rate, scheduler, mode, freezing, load_state_dict, another batch shape: as the eager loop."""
    def run(compiled):
        fastnn.manual_seed(0)
        model, data = classifier(), batches(60)
        opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        scheduler = optim.lr_scheduler.StepLR(opt, 5, 0.5)
        step = fastnn.compile(model, nn.CrossEntropyLoss(), opt, fullgraph=True)
        start, losses = {k: v.numpy().copy() for k, v in model.state_dict().items()}, []
        for i, (x, y) in enumerate(data):
            if i == 20:
                opt.param_groups[0]["lr"] = 0.03
            if i == 25:
                model.eval()
            if i == 32:
                model.train()
                model[0].requires_grad_(False)
            if i == 40:
                model[0].requires_grad_(True)
                model.load_state_dict({k: fastnn.from_numpy(v.copy()) for k, v in start.items()})
            if i % 7 == 6:
                x, y = x[:5], y[:5]
            losses.append(step(x, y).item() if compiled else step._run([x, y])[0].item())
            scheduler.step()
        return losses, {k: v.numpy().copy() for k, v in model.state_dict().items()}
    assert_equal_runs(run(False), run(True))


class Options:
    """Something with attributes of its own."""

    def __init__(self):
        self.p, self.name, self.table = 0.5, "mean", {"kind": 1}


def set_p(thing, value):
    thing.p = value             # an instruction that Python specialises after a few runs


def test_guard_sees_what_python_code_sets_however_often_it_has_looked():
    """The tag of a dict stands in for its entries: every way of setting an attribute must renew it."""
    thing = Options()
    guard = Guard([vars(thing)])
    for i in range(200):
        assert guard.difference() is None
        set_p(thing, 0.5 + i)
        assert guard.difference() == (None if i == 0 else "p")
        set_p(thing, 0.5)
        assert guard.difference() is None
    vars(thing)["name"] = "sum"
    assert guard.difference() == "name"
    vars(thing).update(name="mean")
    assert guard.difference() is None
    thing.table["kind"] = 2
    assert guard.difference() == "kind"
    thing.table["kind"] = 1
    thing.other = None
    assert guard.difference() == "other"
    del thing.other
    assert guard.difference() is None
    del thing.table
    assert guard.difference() == "table"


def test_guard_lets_options_change_that_kernels_read_as_long_as_they_stay_zero_or_not():
    group = {"lr": 0.1, "weight_decay": 0.0, "eps": 1e-8}
    guard = Guard([], [(group, {"lr", "weight_decay"})])
    for lr in (0.2, 0.3):
        group["lr"] = lr
        assert guard.difference() is None
    group["weight_decay"] = 0.1
    assert guard.difference() == "weight_decay"
    group["weight_decay"] = 0
    assert guard.difference() is None
    group["eps"] = 1e-7
    assert guard.difference() == "eps"


def test_learning_rate_is_followed_also_where_it_changes_in_place():
    """A group whose options are plain numbers is read again only when it was changed; an array can change by itself."""
    def run(compiled, in_place):
        fastnn.manual_seed(0)
        model = nn.Linear(20, 5)
        opt = optim.SGD(model.parameters(), lr=0.1)
        opt.param_groups[0]["lr"] = np.array(0.1) if in_place else 0.1
        step = fastnn.compile(model, nn.CrossEntropyLoss(), opt, fullgraph=True)
        losses = []
        for i, (x, y) in enumerate(batches(8)):
            if i > 3:
                if in_place:
                    opt.param_groups[0]["lr"][...] = 0.01 * i
                else:
                    opt.param_groups[0]["lr"] = 0.01 * i
            losses.append(step(x, y).item() if compiled else step._run([x, y])[0].item())
        return losses, {k: v.numpy().copy() for k, v in model.state_dict().items()}
    expected = run(False, False)
    for compiled, in_place in ((False, True), (True, False), (True, True)):
        assert_equal_runs(expected, run(compiled, in_place))


def test_a_switch_of_algorithms_leads_to_another_plan():
    model, x = nn.Conv2d(64, 64, 3, padding=1), fastnn.randn(2, 64, 28, 28)
    infer, step = fastnn.compile(model), fastnn.compile(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.0))
    found = {}
    with fastnn.no_grad():
        try:
            for backends.winograd in (True, False, True):
                found[backends.winograd] = model(x).numpy()
                for _ in range(4):
                    np.testing.assert_array_equal(infer(x).numpy(), found[backends.winograd])
        finally:
            backends.winograd = True
    assert (found[True] != found[False]).any()
    gradients = []
    try:
        for backends.winograd in (True, False):
            for _ in range(4):
                step(x, x)
            gradients.append(model.bias.grad.numpy().copy())
    finally:
        backends.winograd = True
    assert (gradients[0] != gradients[1]).any()
