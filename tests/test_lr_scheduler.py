"""Learning-rate schedulers: torch's numbers, torch's runs, resuming, errors."""
import pickle

import numpy as np
import pytest

from fastnn import optim
from fastnn.core.tensor import Parameter, from_array
from fastnn.optim import lr_scheduler
from fastnn.optim.swa_utils import SWALR

# SGD(lr=1, momentum=.9): rates before the first and after each step, read off torch 2.13
ORACLE = [
    ("StepLR", (3,), [1, 1, 1, .1, .1, .1, .01]),
    ("MultiStepLR", ([2, 5],), [1, 1, .1, .1, .1, .01, .01]),
    ("ConstantLR", (), [1 / 3] * 5 + [1, 1]),
    ("LinearLR", (), [.33333333, .46666667, .6, .73333333, .86666667, 1, 1]),
    ("ExponentialLR", (.9,), [1, .9, .81, .729, .6561]),
    ("PolynomialLR", (5, 2.0), [1, .64, .36, .16, .04, 0, 0]),
    ("CosineAnnealingLR", (5,), [1, .9045085, .6545085, .3454915, .0954915, 0, .0954915, .3454915]),
    ("CosineAnnealingWarmRestarts", (3, 2), [1, .75, .25, 1, .9330127, .75, .5, .25, .0669873]),
    ("CyclicLR", (.1, 1, 3), [.1, .4, .7, 1, .7, .4, .1]),
    ("OneCycleLR", (1, 9), [.04, .65136, .99442, .89857, .70564, .46264, .22873, .060893, 4e-06]),
]
SPECIFICATIONS = [
    ("LambdaLR", dict(lr_lambda=[lambda e: 1 / (1 + e), lambda e: .9 ** e])),
    ("MultiplicativeLR", dict(lr_lambda=lambda e: .97)),
    ("StepLR", dict(step_size=3, gamma=.5)),
    ("MultiStepLR", dict(milestones=[3, 3, 9], gamma=.5)),
    ("ConstantLR", dict(factor=.5, total_iters=7)),
    ("LinearLR", dict(start_factor=.1, end_factor=.8, total_iters=9)),
    ("ExponentialLR", dict(gamma=.93)),
    ("PolynomialLR", dict(total_iters=12, power=2.5)),
    ("CosineAnnealingLR", dict(T_max=7, eta_min=.003)),
    ("CosineAnnealingWarmRestarts", dict(T_0=5, T_mult=2, eta_min=.002)),
    ("CyclicLR", dict(base_lr=.01, max_lr=.1, step_size_up=4, step_size_down=9, mode="triangular2")),
    ("CyclicLR", dict(base_lr=[.01, .02], max_lr=.1, step_size_up=5, mode="exp_range", gamma=.97)),
    ("CyclicLR", dict(base_lr=.01, max_lr=.1, step_size_up=5, scale_fn=lambda x: .5 ** x, scale_mode="iterations")),
    ("OneCycleLR", dict(max_lr=[.3, .2], epochs=4, steps_per_epoch=6, three_phase=True)),
    ("OneCycleLR", dict(max_lr=.3, total_steps=24, anneal_strategy="linear", cycle_momentum=False)),
    ("ReduceLROnPlateau", dict(patience=1, cooldown=2)),
    ("ReduceLROnPlateau", dict(mode="max", patience=0, threshold=.1, threshold_mode="abs", min_lr=[.01, .001])),
    ("SequentialLR", None),
    ("ChainedScheduler", None),
]
ids = [f"{i}-{name}" for i, (name, _) in enumerate(SPECIFICATIONS)]
METRIC = np.concatenate([np.linspace(3, 1, 8), np.ones(6), np.linspace(1, 2, 8)])


def sgd(**options):
    p = Parameter(np.zeros(1))
    p.grad = from_array(np.ones(1))
    return optim.SGD([p], **{"lr": 1, "momentum": .9, **options})


def run(library, optimizer, name, options, first=0, last=22, state=None):
    """Rates and momenta after each step."""
    make = lambda n: getattr(library.lr_scheduler, n)  # noqa: E731
    if name == "SequentialLR":
        scheduler = make(name)(optimizer, [make("LinearLR")(optimizer, .2, total_iters=8), make("StepLR")(optimizer, 4)], [9])
    elif name == "ChainedScheduler":
        scheduler = make(name)([make("ConstantLR")(optimizer, .1, total_iters=5), make("ExponentialLR")(optimizer, .9)])
    else:
        scheduler = make(name)(optimizer, **options)
    if state is not None:
        scheduler.load_state_dict(state[0])
        optimizer.load_state_dict(state[1])
    seen = []
    for step in range(first, last):
        optimizer.step()
        scheduler.step(*[METRIC[step]] if name == "ReduceLROnPlateau" else [])
        seen.append([[float(g["lr"]), float(g["momentum"])] for g in optimizer.param_groups])
        assert scheduler.get_last_lr() == [g["lr"] for g in optimizer.param_groups]
    return seen, scheduler


def two_groups(library, make):
    return library.SGD([{"params": [make(1)], "lr": .05}, {"params": [make(2)]}], lr=.1, momentum=.9)


def mine(n):
    return Parameter(np.ones(n))


@pytest.mark.parametrize("name, arguments, expected", ORACLE)
def test_oracle_numbers(name, arguments, expected):
    optimizer = sgd()
    scheduler = getattr(lr_scheduler, name)(optimizer, *arguments)
    seen = []
    for _ in expected:
        seen.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(seen, expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name, options", SPECIFICATIONS, ids=ids)
def test_against_torch(name, options):
    torch = pytest.importorskip("torch", reason="compares with torch")
    theirs, other = run(torch.optim, two_groups(torch.optim, lambda n: torch.nn.Parameter(torch.ones(n))), name, options)
    seen, scheduler = run(optim, two_groups(optim, mine), name, options)
    np.testing.assert_allclose(seen, theirs, rtol=1e-12)
    assert set(scheduler.state_dict()) >= {k for k in other.state_dict() if not k.startswith("_scale_fn_ref")}
    scheduler.load_state_dict(other.state_dict())


@pytest.mark.parametrize("strategy, epochs", [("cos", 5), ("linear", 7), ("cos", 0)])
def test_swalr_against_torch(strategy, epochs):
    torch = pytest.importorskip("torch", reason="compares with torch")
    from torch.optim.swa_utils import SWALR as Theirs

    def rates(make, optimizer):
        scheduler = make(optimizer, swa_lr=[.02, .01], anneal_epochs=epochs, anneal_strategy=strategy)
        seen = []
        for _ in range(10):
            optimizer.step()
            scheduler.step()
            seen.append(scheduler.get_last_lr())
        return seen
    expected = rates(Theirs, two_groups(torch.optim, lambda n: torch.nn.Parameter(torch.ones(n))))
    np.testing.assert_allclose(rates(SWALR, two_groups(optim, mine)), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="anneal_strategy must be one of"):
        SWALR(sgd(), .1, anneal_strategy="step")


@pytest.mark.parametrize("name, options", SPECIFICATIONS, ids=ids)
def test_resume(name, options):
    whole, _ = run(optim, two_groups(optim, mine), name, options)
    optimizer = two_groups(optim, mine)
    _, scheduler = run(optim, optimizer, name, options, 0, 11)
    saved = pickle.loads(pickle.dumps((scheduler.state_dict(), optimizer.state_dict())))
    resumed, _ = run(optim, two_groups(optim, mine), name, options, 11, 22, saved)
    assert resumed == whole[11:]


def test_momentum_runs_against_the_rate():
    optimizer = sgd()
    scheduler = lr_scheduler.CyclicLR(optimizer, .1, 1, 3)
    momenta = []
    for _ in range(5):
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(momenta, [.9, .86666667, .83333333, .8, .83333333])
    adam = optim.Adam([Parameter(np.ones(1))])
    lr_scheduler.OneCycleLR(adam, 1, 9)
    assert adam.param_groups[0]["betas"] == (.95, .999)


def test_the_step_sees_the_new_rate():
    optimizer = sgd(momentum=0)
    p = optimizer.param_groups[0]["params"][0]
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    for expected in (-1, -1.1, -1.11):
        optimizer.step()
        scheduler.step()
        np.testing.assert_allclose(p.array, expected)


def test_rate_as_a_tensor_stays_that_tensor():
    rate = from_array(np.array(1.0))
    optimizer = sgd(lr=rate)
    scheduler = lr_scheduler.ExponentialLR(optimizer, .5)
    last = scheduler.get_last_lr()[0]
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == .5 and last.item() == 1


def test_plateau_numbers():
    optimizer = sgd()
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    seen = []
    for metric in (1, 1, 1, 1, .5, .6, .6, .6):
        seen.append(optimizer.param_groups[0]["lr"])
        scheduler.step(metric)
    np.testing.assert_allclose([*seen, optimizer.param_groups[0]["lr"]], [1, 1, 1, .1, .1, .1, .1, .01, .01])


def test_a_callable_object_is_saved():
    class Factor:
        def __init__(self, base):
            self.base = base

        def __call__(self, epoch):
            return self.base ** epoch

    scheduler = lr_scheduler.LambdaLR(sgd(), Factor(.5))
    other = lr_scheduler.LambdaLR(sgd(), Factor(.1))
    other.load_state_dict(scheduler.state_dict())
    assert other.lr_lambdas[0].base == .5


def test_last_epoch():
    optimizer = sgd()
    with pytest.raises(KeyError, match="initial_lr"):
        lr_scheduler.StepLR(optimizer, 3, last_epoch=4)
    optimizer.param_groups[0]["initial_lr"] = 1
    scheduler = lr_scheduler.StepLR(optimizer, 3, last_epoch=4)
    assert scheduler.last_epoch == 5 and scheduler.base_lrs == [1]


def test_warnings():
    optimizer = sgd()
    scheduler = lr_scheduler.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()
    with pytest.warns(UserWarning, match="epoch parameter"):
        scheduler.step(7)
    assert scheduler.get_last_lr() == [1 * .1 ** 2]


@pytest.mark.parametrize("make, kind, words", [
    (lambda o: lr_scheduler.StepLR(None, 3), TypeError, "NoneType is not an Optimizer"),
    (lambda o: lr_scheduler.LambdaLR(o, [abs, abs]), ValueError, "Expected 1 lr_lambdas, but got 2"),
    (lambda o: lr_scheduler.ConstantLR(o, 2), ValueError, "between 0 and 1"),
    (lambda o: lr_scheduler.LinearLR(o, 0), ValueError, "greater than 0"),
    (lambda o: lr_scheduler.LinearLR(o, .5, 2), ValueError, "Ending multiplicative factor"),
    (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 0), ValueError, "Expected positive integer T_0, but got 0"),
    (lambda o: lr_scheduler.CyclicLR(o, .1, [1, 2]), ValueError, "max_lr must have the same length"),
    (lambda o: lr_scheduler.CyclicLR(o, .1, 1, mode="x"), ValueError, "mode is invalid"),
    (lambda o: lr_scheduler.OneCycleLR(o, 1), ValueError, "You must define either total_steps OR"),
    (lambda o: lr_scheduler.OneCycleLR(o, 1, 9, pct_start=2.), ValueError, "pct_start, but got 2.0"),
    (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1), ValueError, "Factor should be < 1.0."),
    (lambda o: lr_scheduler.ReduceLROnPlateau(o, mode="up"), ValueError, "mode up is unknown!"),
    (lambda o: lr_scheduler.SequentialLR(o, [], []), ValueError, "expects at least one scheduler"),
    (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [1]), ValueError, "one more than the number"),
    (lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(o, 1), lr_scheduler.StepLR(sgd(), 1)]), ValueError,
     "same optimizer"),
    (lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ReduceLROnPlateau(o)]), ValueError, "does not support"),
])
def test_errors(make, kind, words):
    with pytest.raises(kind, match=words):
        make(sgd())


def test_one_cycle_ends():
    optimizer = sgd()
    scheduler = lr_scheduler.OneCycleLR(optimizer, 1, 2)
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    with pytest.raises(ValueError, match="Tried to step 3 times"):
        scheduler.step()
