"""Jacobians and products with them, anomaly detection, Variable: against torch."""
import numpy as np
import pytest

import fastnn
from fastnn.autograd import functional

A, B = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, -1.5])
FUNCTIONS = {
    "one to one": (lambda m, a: a * a.exp(), (A,)),
    "one to scalar": (lambda m, a: (a ** 3).sum(), (A,)),
    "two to one": (lambda m, a, b: a @ b, (A, B)),
    "two to two": (lambda m, a, b: ((a * b).sin(), b.cumsum(0) * 2), (A, B)),
    "independent": (lambda m, a, b: a * 2, (A, B)),
}


def flat(x):
    return [z for y in x for z in flat(y)] if isinstance(x, tuple) else [np.asarray(x)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobians_and_products_are_torchs(name):
    torch = pytest.importorskip("torch")
    function, arrays = FUNCTIONS[name]

    def run(m, f):
        inputs = tuple(map(m.tensor, arrays))
        one = inputs if len(inputs) > 1 else inputs[0]

        def called(*x):
            return function(m, *x)
        outputs = called(*inputs)
        v = tuple(m.tensor(np.cos(np.arange(o.numel(), dtype=float)).reshape(o.shape)) for o in
                  (outputs if isinstance(outputs, tuple) else (outputs,)))
        yield f.jacobian(called, one)
        yield f.vjp(called, one, v if isinstance(outputs, tuple) else v[0])
        yield f.jvp(called, one, tuple(m.tensor(np.sin(a)) for a in arrays) if len(inputs) > 1 else m.tensor(np.sin(arrays[0])))
    for wanted, found in zip(run(torch, torch.autograd.functional), run(fastnn, functional), strict=True):
        assert isinstance(wanted, tuple) == isinstance(found, tuple)
        for w, f in zip(flat(wanted), flat(found), strict=True):
            assert w.shape == f.shape
            np.testing.assert_allclose(f, w, rtol=1e-6)


def test_hessians_are_torchs():
    torch = pytest.importorskip("torch")
    for function, arrays in ((lambda a: (a ** 3).sum() * a[0, 0], (A,)), (lambda a, b: ((a @ b) ** 2).exp().sum() * 1e-3, (A, B)),
                             (lambda a, b: (a ** 2).sum(), (A, B))):
        wanted, found = (m.autograd.functional.hessian(function, tuple(map(m.tensor, arrays)) if len(arrays) > 1 else m.tensor(arrays[0]))
                         for m in (torch, fastnn))
        for w, f in zip(flat(wanted), flat(found), strict=True):
            np.testing.assert_allclose(f, w, rtol=1e-6)


def test_derivatives_that_can_be_differentiated_again():
    torch = pytest.importorskip("torch")
    found = []
    for m in (fastnn, torch):
        x, w = (m.tensor(values, dtype=m.float64, requires_grad=True) for values in ([0.5, 1.5], [2.0, 3.0]))
        f = m.autograd.functional
        y, product = f.vjp(lambda x, w: x ** 3 * w, (x, w), m.ones(2, dtype=m.float64), create_graph=True)
        parts = [f.jacobian(lambda x: x ** 3 * w, x, create_graph=True), f.hessian(lambda x: (x ** 4 * w).sum(), x, create_graph=True),
                 y, *product]
        if m is fastnn:         # torch takes the vector of its jvp for a leaf of another graph
            parts.append(f.jvp(lambda x: x ** 3 * w, x, m.ones(2, dtype=m.float64), create_graph=True)[1])
        else:
            parts.append(3 * x ** 2 * w)
        found.append([g.detach().numpy() for g in m.autograd.grad(sum((p ** 2).sum() for p in parts), (x, w))])
    for mine, theirs in zip(*found):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def test_what_is_refused():
    x = fastnn.ones(2)
    with pytest.raises(RuntimeError, match="single element"):
        functional.hessian(lambda x: x, x)
    with pytest.raises(RuntimeError, match="v can only be None"):
        functional.vjp(lambda x: x, x)
    with pytest.raises(RuntimeError, match="Entry 0 in v has invalid size"):
        functional.vjp(lambda x: x, x, fastnn.ones(3))
    with pytest.raises(RuntimeError, match="strict mode"):
        functional.jacobian(lambda a, b: a, (x, x), strict=True)
    with pytest.raises(TypeError, match="index 0"):
        functional.jacobian(lambda x: x, 3)


def test_the_inputs_stay_as_they_are():
    x = fastnn.ones(2, requires_grad=True)
    functional.jacobian(lambda x: x * 2, x)
    assert x.grad is None and x.requires_grad
    with fastnn.no_grad():
        assert functional.jacobian(lambda x: x * 2, x).tolist() == [[2.0, 0.0], [0.0, 2.0]]


def test_anomaly_detection_names_the_operation():
    def run():
        x = fastnn.zeros(2, requires_grad=True)
        (x.sqrt() * 0).sum().backward()
        return x.grad
    assert run().isnan().all()
    with fastnn.autograd.detect_anomaly():
        with pytest.raises(RuntimeError, match="'SqrtBackward' returned nan values in its 0th output"):
            run()
    run()
    with fastnn.autograd.detect_anomaly(check_nan=False):
        run()
    fastnn.autograd.set_detect_anomaly(True)
    try:
        with pytest.raises(RuntimeError, match="returned nan"):
            run()
        with fastnn.autograd.set_detect_anomaly(False):
            run()
        assert fastnn.autograd.anomaly.is_anomaly_enabled()
    finally:
        fastnn.autograd.set_detect_anomaly(False)
    run()


def test_anomaly_detection_looks_into_recorded_gradients():
    x = fastnn.zeros(1, requires_grad=True)
    with fastnn.autograd.detect_anomaly(), pytest.raises(RuntimeError, match="'SqrtBackward' returned nan"):
        fastnn.autograd.grad((x.sqrt() * 0).sum(), x, create_graph=True)


def test_variable():
    x = fastnn.ones(2)
    v = fastnn.autograd.Variable(x, requires_grad=True)
    assert isinstance(v, fastnn.autograd.Variable) and isinstance(x, fastnn.autograd.Variable) and v.requires_grad
    assert not x.requires_grad and not isinstance(3, fastnn.autograd.Variable)
