"""Optimizers: torch's numbers, torch's state, resuming, layouts, kernels."""
import copy
import pickle

import numpy as np
import pytest

from fastnn import optim
from fastnn.core.plan import Plan
from fastnn.core.recording import recording
from fastnn.core.tensor import Parameter, from_array
from fastnn.kernels import native
from fastnn.kernels.update import HYPER

# x after steps 1, 2, 3 on f(x) = x * x from x = 1 in float64, read off torch 2.13
ORACLE = [
    ("SGD", {}, [.998, .996004, .994011992]),
    ("SGD", dict(momentum=.9), [.998, .994204, .988799192]),
    ("SGD", dict(momentum=.9, nesterov=True), [.9962, .99079444, .983957577]),
    ("SGD", dict(momentum=.9, dampening=.5), [.998, .995202, .991688598]),
    ("SGD", dict(momentum=.9, weight_decay=.1), [.9979, .99391441, .988240159]),
    ("Adagrad", {}, [.99, .982964554, .977237939]),
    ("Adagrad", dict(lr_decay=.1), [.99, .98360414, .978829875]),
    ("Adadelta", {}, [.996837726, .993598174, .990309046]),
    ("RMSprop", {}, [.900000005, .832917968, .779982273]),
    ("RMSprop", dict(momentum=.9), [.900000005, .742917972, .552914934]),
    ("RMSprop", dict(centered=True), [.899496224, .83175938, .778068411]),
    ("Adam", {}, [.999, .998000026, .997000096]),
    ("Adam", dict(amsgrad=True), [.999, .998000026, .997000096]),
    ("AdamW", {}, [.99899, .997980037, .996970127]),
    ("Adamax", {}, [.998, .996000105, .994000388]),
    ("NAdam", {}, [.997887096, .996321197, .994858914]),
    ("RAdam", {}, [.998, .996002105, .994006384]),
    ("ASGD", {}, [.979999, .960398055, .941189163]),
    ("Rprop", {}, [.99, .978, .9636]),
]
# One of every kernel and option, for comparison with torch.
CONFIGURATIONS = [
    ("SGD", dict(lr=.1, weight_decay=.1)),
    ("SGD", dict(lr=.1, momentum=.7, dampening=.3, maximize=True)),
    ("SGD", dict(lr=.1, momentum=.9, nesterov=True)),
    ("Adagrad", dict(lr_decay=.1, weight_decay=.1, initial_accumulator_value=.2, maximize=True)),
    ("Adadelta", dict(rho=.8, weight_decay=.1)),
    ("RMSprop", dict(weight_decay=.1)),
    ("RMSprop", dict(momentum=.9, maximize=True)),
    ("RMSprop", dict(centered=True)),
    ("RMSprop", dict(momentum=.5, centered=True, alpha=.8)),
    ("Adam", dict(weight_decay=.1, maximize=True)),
    ("Adam", dict(amsgrad=True, betas=(.7, .9))),
    ("AdamW", dict(lr=.01, weight_decay=.5)),
    ("Adamax", dict(weight_decay=.1)),
    ("NAdam", dict(weight_decay=.1, decoupled_weight_decay=True)),
    ("RAdam", dict(betas=(.7, .9), weight_decay=.1)),
    ("ASGD", dict(lr=.1, lambd=.05, alpha=.5, t0=3, weight_decay=.1)),
    ("Rprop", dict(etas=(.4, 1.3), step_sizes=(1e-3, .5), maximize=True)),
]
SHAPES = [(3, 4), (5,), (), (0, 3), (2, 1, 37)]
ids = [f"{name}-{'-'.join(map(str, options))}" for name, options in CONFIGURATIONS]


def parameters(dtype, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype(dtype) for s in SHAPES]


def gradients(step, dtype):
    rng = np.random.default_rng(100 + step)
    return [rng.standard_normal(s).astype(dtype) for s in SHAPES]


def train(name, options, arrays, first, last, state=None):
    """Steps first..last of a run from given arrays; returns parameters and optimizer."""
    params = [Parameter(a.copy()) for a in arrays]
    optimizer = getattr(optim, name)(params, **options)
    if state is not None:
        optimizer.load_state_dict(state)
    for step in range(first, last):
        for p, g in zip(params, gradients(step, params[0].dtype)):
            p.grad = from_array(g)
        optimizer.step()
    return [p.array for p in params], optimizer


@pytest.mark.parametrize("name, options, expected", ORACLE)
def test_oracle_numbers(name, options, expected):
    x = Parameter(np.ones(1))
    optimizer = getattr(optim, name)([x], **options)
    seen = []
    for _ in expected:
        x.grad = from_array(2 * x.array)
        optimizer.step()
        seen.append(x.array[0])
    np.testing.assert_allclose(seen, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name, options", CONFIGURATIONS, ids=ids)
def test_against_torch(name, options, dtype):
    torch = pytest.importorskip("torch", reason="compares with torch")
    start = parameters(dtype)
    reference = [torch.nn.Parameter(torch.from_numpy(np.array(a))) for a in start]
    optimizer = getattr(torch.optim, name)(reference, **options)
    for step in range(12):
        for p, g in zip(reference, gradients(step, dtype)):
            p.grad = torch.from_numpy(np.array(g))
        optimizer.step()
    mine, _ = train(name, options, start, 0, 12)
    tolerance = 1e-10 if dtype == np.float64 else 2e-5
    for a, b in zip(mine, reference):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name, options", CONFIGURATIONS, ids=ids)
def test_resume_is_bit_exact(name, options):
    whole, _ = train(name, options, parameters(np.float32), 0, 8)
    half, optimizer = train(name, options, parameters(np.float32), 0, 4)
    saved = pickle.loads(pickle.dumps(optimizer.state_dict()))
    resumed, _ = train(name, options, half, 4, 8, saved)
    for a, b in zip(whole, resumed):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name, options", CONFIGURATIONS, ids=ids)
def test_state_is_torchs(name, options):
    """A run continues in torch, and a torch run continues here."""
    torch = pytest.importorskip("torch", reason="exchanges state with torch")
    whole, _ = train(name, options, parameters(np.float64), 0, 8)
    half, optimizer = train(name, options, parameters(np.float64), 0, 4)
    state = optimizer.state_dict()
    reference = [torch.nn.Parameter(torch.from_numpy(np.array(a))) for a in half]
    other = getattr(torch.optim, name)(reference, **options)
    as_torch = {"state": {i: {k: torch.from_numpy(np.array(v.numpy())) for k, v in s.items()}
                          for i, s in state["state"].items()}, "param_groups": state["param_groups"]}
    assert set(other.state_dict()["param_groups"][0]) == set(state["param_groups"][0])
    other.load_state_dict(as_torch)
    for step in range(4, 6):
        for p, g in zip(reference, gradients(step, np.float64)):
            p.grad = torch.from_numpy(np.array(g))
        other.step()
    back = other.state_dict()
    assert {i: list(s) for i, s in back["state"].items()} == {i: list(s) for i, s in state["state"].items()}
    mine, _ = train(name, options, [p.detach().numpy() for p in reference], 6, 8, back)
    for a, b in zip(whole, mine):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


def test_state_takes_the_parameters_dtype_and_the_counter_float32():
    p = Parameter(np.ones(3))
    optimizer = optim.NAdam([p])
    loaded = {"state": {0: {"step": 3, "mu_product": np.float64(.5), "exp_avg": np.ones(3, np.float32),
                            "exp_avg_sq": np.ones(3)}}, "param_groups": optimizer.state_dict()["param_groups"]}
    optimizer.load_state_dict(loaded)
    assert [v.dtype.name for v in optimizer.state[p].values()] == ["float32", "float32", "float64", "float64"]
    assert optimizer.state[p]["step"].shape == () and optimizer.state[p]["step"].item() == 3
    loaded["state"][0]["exp_avg"] = np.ones((3, 2))
    optimizer.load_state_dict(loaded)
    p.grad = from_array(np.ones(3))
    with pytest.raises(ValueError, match="does not fit"):
        optimizer.step()


@pytest.mark.parametrize("name, options", CONFIGURATIONS, ids=ids)
@pytest.mark.parametrize("layout", ["transposed", "gaps", "gradient"])
def test_layouts(name, options, layout):
    """Transposed memory, memory with gaps, and a gradient in another order give what contiguous arrays give."""
    rng = np.random.default_rng(3)
    start = rng.standard_normal((6, 7)).astype(np.float32)
    plain = Parameter(start.copy())
    other = Parameter({"transposed": start.T.copy().T, "gradient": start.copy(),
                       "gaps": np.repeat(start, 2, 1)[:, ::2]}[layout])
    optimizers = [getattr(optim, name)([p], **options) for p in (plain, other)]
    for _ in range(4):
        g = rng.standard_normal((6, 7)).astype(np.float32)
        plain.grad = from_array(g)
        other.grad = from_array(g.T.copy().T if layout != "gaps" else np.repeat(g, 3, 1)[:, ::3])
        for optimizer in optimizers:
            optimizer.step()
    assert np.array_equal(plain.array, other.array)


@pytest.mark.parametrize("name, options", CONFIGURATIONS, ids=ids)
def test_threads_change_nothing(name, options):
    start = np.random.default_rng(0).standard_normal(150_001).astype(np.float32)
    results = []
    before = native.get_num_threads()
    try:
        for threads in (1, 2):
            native.set_num_threads(threads)
            p = Parameter(start.copy())
            optimizer = getattr(optim, name)([p], **options)
            for _ in range(2):
                p.grad = from_array(np.sin(p.array * 3))
                optimizer.step()
            results.append(p.array)
    finally:
        native.set_num_threads(before)
    assert np.array_equal(*results)


def test_tails_and_nan():
    """Every length up to two vectors and more; a NaN stays in its element."""
    for n in [*range(40), 63, 64, 65]:
        p, g = np.arange(n + 2, dtype=np.float32), np.ones(n + 2, np.float32)
        m, v, step = np.zeros_like(p), np.zeros_like(p), np.zeros(1, np.float32)
        native.call("adam", [p, g, np.array([.5, 0, 0, .9, .999, 0, 0]), step, m, v], [n])
        np.testing.assert_allclose(p[:n], np.arange(n) - .5, rtol=1e-5, atol=1e-6)
        assert list(p[n:]) == [n, n + 1] and list(g) == [1] * (n + 2) and step[0] == 1
    for name, options in CONFIGURATIONS:
        p = Parameter(np.ones(21, np.float32))
        p.grad = from_array(np.where(np.arange(21) == 4, np.nan, 1).astype(np.float32))
        getattr(optim, name)([p], **options).step()
        spread = np.isnan(p.array).nonzero()[0]
        assert list(spread) == ([] if name == "Rprop" else [4]), name


def test_counter_advances_in_the_kernel():
    """What a replayed step needs: the same call again counts on, and reads the rate from the array anew."""
    p, g, step = np.zeros(3), np.ones(3), np.zeros(1, np.float32)
    m, v, hyper = np.zeros(3), np.zeros(3), np.array([.1, 0, 0, .9, .999, 1e-8, 0])
    native.call("adam", [p, g, hyper, step, m, v], [3])
    hyper[0] = 1
    native.call("adam", [p, g, hyper, step, m, v], [3])
    np.testing.assert_allclose(p, -1.1, rtol=1e-6)
    assert step[0] == 2


def test_every_kernel_has_a_hyper_layout():
    updates = [name for name, slots in native.KERNELS.items() if slots[2:3] == [("hyper", "in")]]
    assert len(updates) == 16 and {name.split("_")[0] for name in updates} == set(HYPER)


def test_copies():
    arrays, optimizer = train("Adam", {}, parameters(np.float32), 0, 2)
    params = optimizer.param_groups[0]["params"]
    twin_params, twin = copy.deepcopy((params, optimizer))
    for ps, o in ((params, optimizer), (twin_params, twin)):
        for p, g in zip(ps, gradients(2, np.float32)):
            p.grad = from_array(g)
        o.step()
    for a, b in zip(params, twin_params):
        assert a is not b and np.array_equal(a.array, b.array)


# ---- replay ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name, options", CONFIGURATIONS, ids=ids)
def test_a_replayed_step_counts_on(name, options):
    """A recorded step, replayed, is bit for bit the eager step, also after the rate was changed by hand."""
    twins = []
    for _ in range(2):
        p = Parameter(np.linspace(-1, 1, 37).astype(np.float32))
        p.grad = from_array(np.sin(p.array))
        twins.append((p, getattr(optim, name)([p], **options)))
    (p, optimizer), (q, eager) = twins
    for o in (optimizer, eager):
        o.step()
    eager.step()
    with recording([]) as record:
        optimizer.step()
    plan = Plan(record, [], [])
    for step in range(6):
        if step == 3:
            for o in (optimizer, eager):
                o.param_groups[0]["lr"] *= .5
        optimizer._refresh()
        plan.run()
        eager.step()
        assert np.array_equal(p.array, q.array), step
    for key, value in eager.state[q].items():
        assert np.array_equal(value.array, optimizer.state[p][key].array)
