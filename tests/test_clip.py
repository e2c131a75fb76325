"""Gradient clipping and parameters as a vector."""
import numpy as np
import pytest

from fastnn.core.tensor import Parameter, from_array
from fastnn.kernels import native
from fastnn.nn.utils import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
    parameters_to_vector,
    vector_to_parameters,
)

SHAPES = [(3, 5), (), (0,), (7,), (40000,)]


def parameters(dtype=np.float32, scale=1.0):
    rng = np.random.default_rng(0)
    found = []
    for s in SHAPES:
        p = Parameter(np.zeros(s, dtype))
        p.grad = from_array(np.asarray(rng.standard_normal(s) * scale, dtype))
        found.append(p)
    return [*found, Parameter(np.zeros(2, dtype))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3, float("inf")])
@pytest.mark.parametrize("max_norm", [1.0, 1e6])
def test_norm_against_torch(dtype, norm_type, max_norm):
    torch = pytest.importorskip("torch", reason="compares with torch")
    params = parameters(dtype)
    others = [torch.nn.Parameter(torch.from_numpy(p.detach().numpy().copy())) for p in params]
    for p, q in zip(params, others):
        q.grad = None if p.grad is None else torch.from_numpy(p.grad.numpy().copy())
    if norm_type == float("inf"):   # torch has no infinity norm of an empty tensor
        del params[2], others[2]
    norm, expected = clip_grad_norm_(params, max_norm, norm_type), torch.nn.utils.clip_grad_norm_(others, max_norm, norm_type)
    tolerance = 1e-10 if dtype == np.float64 else 1e-5
    assert norm.shape == () and norm.dtype == dtype
    np.testing.assert_allclose(norm.item(), expected.item(), rtol=tolerance)
    for p, q in zip(params, others):
        if p.grad is not None:
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=tolerance, atol=1e-30)


def test_value():
    p = Parameter(np.zeros(37, np.float32))
    g = np.linspace(-3, 3, 37, dtype=np.float32)
    g[5] = np.nan
    p.grad = from_array(g.copy())
    clip_grad_value_(p, 1)
    np.testing.assert_array_equal(p.grad.numpy(), np.clip(g, -1, 1))


def test_layouts():
    """A transposed gradient and one with gaps are scaled where they lie."""
    g = np.arange(12.0).reshape(3, 4)
    for laid_out in (g.T.copy().T, np.repeat(g, 2, 1)[:, ::2]):
        p = Parameter(np.zeros((3, 4)))
        p.grad = from_array(laid_out)
        assert clip_grad_norm_([p], 1.0).item() == pytest.approx(np.linalg.norm(g))
        np.testing.assert_allclose(p.grad.numpy(), g / (np.linalg.norm(g) + 1e-6))
        clip_grad_value_([p], 0.25)
        assert p.grad.numpy().max() == 0.25


def test_norm_in_two_calls():
    params = parameters()
    norm = get_total_norm([p.grad for p in params if p.grad is not None])
    clip_grads_with_norm_(params, 0.5, norm)
    after = get_total_norm(p.grad for p in params if p.grad is not None)
    assert after.item() == pytest.approx(0.5, rel=1e-4)
    assert get_total_norm([]).item() == 0 == clip_grad_norm_([], 1.0).item()


def test_threads_change_nothing():
    results = []
    before = native.get_num_threads()
    try:
        for threads in (1, 2):
            native.set_num_threads(threads)
            p = Parameter(np.zeros(300_001, np.float32))
            p.grad = from_array(np.sin(np.arange(300_001, dtype=np.float32)))
            results.append((clip_grad_norm_(p, 1.0).item(), p.grad.numpy()))
    finally:
        native.set_num_threads(before)
    assert results[0][0] == results[1][0] and np.array_equal(results[0][1], results[1][1])


def test_not_finite():
    p = Parameter(np.zeros(2))
    p.grad = from_array(np.array([1.0, np.nan]))
    with pytest.raises(RuntimeError, match="is non-finite, so it cannot be clipped"):
        clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert p.grad.numpy()[0] == 1
    assert np.isnan(clip_grad_norm_(p, 1.0).item()) and np.isnan(p.grad.numpy()).all()


def test_integers_are_refused():
    with pytest.raises(TypeError, match="got int64"):
        get_total_norm([from_array(np.ones(3, np.int64))])


def test_vector():
    params = [Parameter(np.arange(6.0).reshape(2, 3).T.copy().T), Parameter(np.array(9.0))]
    vector = parameters_to_vector(params)
    values = vector.detach().numpy()
    assert values.tolist() == [0, 1, 2, 3, 4, 5, 9]
    (vector * vector).sum().backward()
    assert params[0].grad.numpy().tolist() == [[0, 2, 4], [6, 8, 10]] and params[1].grad.item() == 18
    vector_to_parameters(from_array(values + 1), params)
    assert params[0].detach().numpy().tolist() == [[1, 2, 3], [4, 5, 6]] and params[1].item() == 10
    with pytest.raises(TypeError, match=r"expected fastnn\.Tensor, but got: list"):
        vector_to_parameters([1, 2], params)
    with pytest.raises(RuntimeError, match="has 3 elements"):
        vector_to_parameters(from_array(np.zeros(3)), params)
