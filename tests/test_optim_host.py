"""Optimizers without a kernel: LBFGS, Adafactor, Muon."""
import pickle

import numpy as np
import pytest

from fastnn import optim
from fastnn.core.tensor import Parameter, from_array


def rosenbrock(params):
    """Value and gradient of 100 (y - x^2)^2 + (1 - x)^2 with x and y in two parameters."""
    (x,), (y,) = (p.array for p in params)
    params[0].grad = from_array(np.array([-400 * x * (y - x * x) - 2 * (1 - x)]))
    params[1].grad = from_array(np.array([200 * (y - x * x)]))
    return 100 * (y - x * x) ** 2 + (1 - x) ** 2


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_against_torch(search):
    torch = pytest.importorskip("torch", reason="compares with torch")
    options = dict(lr=1 if search else 1e-3, max_iter=7, history_size=3, line_search_fn=search)
    mine = [Parameter(np.array([-1.2])), Parameter(np.array([1.]))]
    theirs = [torch.nn.Parameter(torch.tensor([v], dtype=torch.float64)) for v in (-1.2, 1.)]
    optimizer, other = optim.LBFGS(mine, **options), torch.optim.LBFGS(theirs, **options)

    def closure():
        other.zero_grad()
        x, y = theirs
        loss = (100 * (y - x * x) ** 2 + (1 - x) ** 2).sum()
        loss.backward()
        return loss
    for _ in range(6):
        loss, expected = optimizer.step(lambda: rosenbrock(mine)), other.step(closure)
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-5, atol=1e-12)
    state, wanted = optimizer.state[mine[0]], other.state[theirs[0]]
    assert set(state) == set(wanted)
    assert state["func_evals"] == wanted["func_evals"] and state["n_iter"] == wanted["n_iter"]
    if search:
        for _ in range(10):
            loss = optimizer.step(lambda: rosenbrock(mine))
        assert loss < 1e-8


def test_lbfgs_resumes_bit_for_bit():
    def run(params, steps, state=None):
        optimizer = optim.LBFGS(params, max_iter=4, line_search_fn="strong_wolfe")
        if state:
            optimizer.load_state_dict(pickle.loads(pickle.dumps(state)))
        for _ in range(steps):
            optimizer.step(lambda: rosenbrock(params))
        return [p.array.copy() for p in params], optimizer.state_dict()

    start = [np.array([-1.2]), np.array([1.])]
    whole, _ = run([Parameter(a.copy()) for a in start], 4)
    half, state = run([Parameter(a.copy()) for a in start], 2)
    rest, _ = run([Parameter(a) for a in half], 2, state)
    assert np.array_equal(whole, rest)


def test_lbfgs_errors():
    p, q = Parameter(np.ones(1)), Parameter(np.ones(1))
    with pytest.raises(ValueError, match="doesn't support per-parameter options"):
        optim.LBFGS([{"params": [p]}, {"params": [q]}])
    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        optim.LBFGS([p], line_search_fn="armijo").step(lambda: 0.)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{}, dict(eps=(1e-4, 1e-2), d=1.5, weight_decay=.1, maximize=True)])
def test_adafactor_against_torch(options, dtype):
    torch = pytest.importorskip("torch", reason="compares with torch")
    shapes = [(3, 4), (5,), (2, 3, 4)]
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(s).astype(dtype) for s in shapes]
    params, others = [Parameter(a.copy()) for a in start], [torch.nn.Parameter(torch.from_numpy(a.copy())) for a in start]
    optimizer, other = optim.Adafactor(params, **options), torch.optim.Adafactor(others, **options)
    for _ in range(10):
        for p, q in zip(params, others):
            g = rng.standard_normal(p.shape).astype(dtype)
            p.grad, q.grad = from_array(g), torch.from_numpy(g)
        optimizer.step()
        other.step()
    tolerance = 1e-10 if dtype == np.float64 else 1e-5
    for p, q in zip(params, others):
        np.testing.assert_allclose(p.array, q.detach().numpy(), rtol=tolerance, atol=tolerance)
        assert list(optimizer.state[p]) == list(other.state[q])


@pytest.mark.parametrize("options", [{}, dict(nesterov=False, adjust_lr_fn="match_rms_adamw", weight_decay=0)])
def test_muon_against_torch(options):
    """To the resolution of bfloat16, in which both orthogonalise."""
    torch = pytest.importorskip("torch", reason="compares with torch")
    rng = np.random.default_rng(0)
    for shape in [(6, 4), (4, 6)]:
        start = rng.standard_normal(shape)
        p, q = Parameter(start.copy()), torch.nn.Parameter(torch.from_numpy(start.copy()))
        optimizer, other = optim.Muon([p], lr=.1, **options), torch.optim.Muon([q], lr=.1, **options)
        for _ in range(5):
            g = rng.standard_normal(shape)
            p.grad, q.grad = from_array(g), torch.from_numpy(g)
            optimizer.step()
            other.step()
        np.testing.assert_allclose(p.array, q.detach().numpy(), atol=2e-3)
    with pytest.raises(ValueError, match="only supports 2D parameters"):
        optim.Muon([Parameter(np.ones(2))])
