"""Factorizations and `fastnn.linalg`: against torch where it is installed, gradients by finite differences, singular input, batches."""
import numpy as np
import pytest

import fastnn
from fastnn.autograd import gradcheck

RNG = np.random.default_rng(0)
WIDE, TALL, RIGHT = RNG.standard_normal((3, 5)), RNG.standard_normal((5, 3)), RNG.standard_normal((4, 2))
SQUARE = RNG.standard_normal((2, 4, 4))
POSITIVE = SQUARE @ SQUARE.swapaxes(1, 2) + np.eye(4)
INF = float("inf")


def signless_svd(m, a):
    u, s, vh = m.linalg.svd(a, full_matrices=False)
    return s, u * u, vh.square(), (u * s.unsqueeze(-2)) @ vh


CASES = {
    "inv": (lambda m, a: m.linalg.inv(a), SQUARE),
    "inverse": (lambda m, a: a.inverse(), POSITIVE),
    "solve": (lambda m, a, b: m.linalg.solve(a, b), SQUARE, RIGHT),
    "solve vector": (lambda m, a, b: m.linalg.solve(a, b), SQUARE[0], RIGHT[:, 0]),
    "solve batch of vectors": (lambda m, a, b: m.linalg.solve(a, b), SQUARE, RIGHT.T.copy()),
    "solve from the right": (lambda m, a, b: m.linalg.solve(a, b, left=False), SQUARE, RNG.standard_normal((3, 4))),
    "det": (lambda m, a: m.det(a), SQUARE),
    "det singular": (lambda m, a: m.linalg.det(a), np.diag([1.0, 0.0, 3.0])),
    "slogdet": (lambda m, a: m.linalg.slogdet(a), SQUARE),
    "logdet": (lambda m, a: a.logdet(), POSITIVE),
    "cholesky": (lambda m, a: m.linalg.cholesky(a), POSITIVE),
    "cholesky upper": (lambda m, a: m.linalg.cholesky(a, upper=True), POSITIVE),
    "cholesky_solve": (lambda m, a, b: m.cholesky_solve(b, m.linalg.cholesky(a)), POSITIVE, RIGHT),
    "cholesky_inverse": (lambda m, a: m.cholesky_inverse(m.linalg.cholesky(a)), POSITIVE[0]),
    "solve_triangular": (lambda m, a, b: m.linalg.solve_triangular(a, b, upper=True), SQUARE, RIGHT),
    "solve_triangular unit": (lambda m, a, b: m.linalg.solve_triangular(a, b, upper=False, unitriangular=True), SQUARE, RIGHT),
    "pinv wide": (lambda m, a: m.linalg.pinv(a), WIDE),
    "pinv tall": (lambda m, a: m.linalg.pinv(a), TALL),
    "svd wide": (signless_svd, WIDE),
    "svd tall": (signless_svd, TALL),
    "svd square": (signless_svd, SQUARE),
    "svdvals": (lambda m, a: m.linalg.svdvals(a), WIDE),
    "old svd": (lambda m, a: (m.svd(a).S, m.svd(a).V.square()), WIDE),
    "eigh": (lambda m, a: (m.linalg.eigh(a).eigenvalues, m.linalg.eigh(a).eigenvectors.square()), POSITIVE),
    "eigvalsh": (lambda m, a: m.linalg.eigvalsh(a), POSITIVE),
    "qr tall": (lambda m, a: m.linalg.qr(a), TALL),
    "qr square": (lambda m, a: m.linalg.qr(a), SQUARE),
    "matrix_exp": (lambda m, a: (m.linalg.matrix_exp(a), a.mul(9).matrix_exp() / 1e6, m.matrix_exp(a * 0)), SQUARE),
    "householder_product": (lambda m, a, t: m.linalg.householder_product(a, t), TALL, RNG.standard_normal(3)),
    "householder_product of a batch": (lambda m, a, t: m.orgqr(a, t), SQUARE, RNG.standard_normal((2, 3))),
    "matrix_power": (lambda m, a: (m.linalg.matrix_power(a, 5), a.matrix_power(-2)), SQUARE),
    "lstsq": (lambda m, a, b: m.linalg.lstsq(a, b), TALL, RNG.standard_normal((5, 2))),
    "lstsq vector": (lambda m, a, b: m.linalg.lstsq(a, b).solution, TALL, RNG.standard_normal(5)),
    "lstsq residuals": (lambda m, a, b: m.linalg.lstsq(a, b, driver="gelsd"), TALL, RNG.standard_normal((5, 2))),
    "cond": (lambda m, a: m.linalg.cond(a), SQUARE),
    "multi_dot": (lambda m, a, b: (m.linalg.multi_dot([a, b]), m.linalg.vecdot(a, a)), WIDE, TALL),
}
for _ord in (None, "fro", "nuc", 2, -2, 1, -1, INF, -INF):
    CASES[f"norm {_ord}"] = lambda m, a, o=_ord: m.linalg.norm(a, o), WIDE
    if _ord is not None:
        CASES[f"matrix_norm {_ord}"] = lambda m, a, o=_ord: m.linalg.matrix_norm(a, o, dim=(0, 2), keepdim=True), SQUARE
for _ord in (0.5, 1, 2, 3, INF, -INF):
    CASES[f"vector_norm {_ord}"] = lambda m, a, o=_ord: m.linalg.vector_norm(a, o, dim=-1), WIDE


def outputs(found, real):
    return [y for y in (found if isinstance(found, tuple) else (found,)) if y.dtype == real and y.numel()]


def run(m, function, arrays):
    inputs = [m.tensor(a, requires_grad=True) for a in arrays]
    found = function(m, *inputs)
    loss = sum((y * y.sin()).sum() for y in outputs(found, m.float64))
    loss.backward()
    return ([np.asarray(y.detach()) for y in (found if isinstance(found, tuple) else (found,))], [np.asarray(x.grad) for x in inputs])


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_torchs(name):
    torch = pytest.importorskip("torch")
    function, *arrays = CASES[name]
    for wanted, found in zip(run(torch, function, arrays), run(fastnn, function, arrays)):
        for w, f in zip(wanted, found, strict=True):
            assert w.shape == f.shape
            np.testing.assert_allclose(f, w, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in CASES if "slogdet" not in n])
def test_gradients_are_finite_differences(name):
    function, *arrays = CASES[name]
    if name in ("eigh", "eigvalsh") or "cholesky" in name:       # they read one triangle; the loss is taken as symmetric

        def symmetric(m, a, *rest):
            return function(m, (a + a.mT) / 2, *rest)
    else:
        symmetric = function
    assert gradcheck(lambda *x: tuple(outputs(symmetric(fastnn, *x), fastnn.float64)),
                     [fastnn.tensor(a, requires_grad=True) for a in arrays], eps=1e-6, atol=1e-4)


def test_float32_stays_float32():
    a = fastnn.tensor(POSITIVE.astype(np.float32), requires_grad=True)
    for y in (fastnn.linalg.inv(a), fastnn.det(a), *fastnn.linalg.svd(a), *fastnn.linalg.eigh(a), fastnn.linalg.cholesky(a),
              fastnn.linalg.pinv(a), *fastnn.linalg.qr(a), fastnn.linalg.norm(a), *fastnn.slogdet(a)):
        assert y.dtype == fastnn.float32
    (fastnn.det(a).sum() + fastnn.linalg.pinv(a).sum() + fastnn.linalg.svdvals(a).sum()).backward()
    assert a.grad.dtype == fastnn.float32


def test_singular_matrices_and_wrong_shapes():
    ones, error = fastnn.ones(2, 2), fastnn.linalg.LinAlgError
    assert issubclass(error, RuntimeError)
    for call in (fastnn.linalg.inv, lambda a: fastnn.linalg.solve(a, ones), lambda a: fastnn.linalg.cholesky(-a)):
        with pytest.raises(error, match="singular|not positive-definite"):
            call(ones)
    assert fastnn.slogdet(ones).logabsdet == -INF and fastnn.linalg.cond(ones, 1) == INF
    assert np.isnan(fastnn.logdet(fastnn.tensor([[0.0, 1.0], [1.0, 0.0]])).item())
    assert fastnn.linalg.matrix_rank(ones) == 1
    for call, words in ((lambda: fastnn.linalg.inv(fastnn.ones(2, 3)), "square matrices, but they are 2 by 3"),
                        (lambda: fastnn.linalg.inv(fastnn.ones(2)), "at least 2 dimensions"),
                        (lambda: fastnn.linalg.inv(ones.long()), "Expected a floating point or complex tensor as input. Got Long"),
                        (lambda: fastnn.linalg.solve(fastnn.eye(2), fastnn.ones(3)), "Incompatible shapes of A and B"),
                        (lambda: fastnn.linalg.norm(fastnn.ones(2, 2, 2), 2), "must be 1D or 2D. Got 3D"),
                        (lambda: fastnn.linalg.matrix_norm(ones, 3), "Order 3 not supported"),
                        (lambda: fastnn.matrix_exp(fastnn.ones(2, 3)), "square matrices, but they are 2 by 3"),
                        (lambda: fastnn.orgqr(fastnn.ones(2, 3), ones[0]), r"input.shape\[-2\] must be greater than or equal"),
                        (lambda: fastnn.orgqr(ones, fastnn.ones(3)), "greater than or equal to tau.shape"),
                        (lambda: fastnn.orgqr(ones, ones[0].double()), "tau dtype")):
        with pytest.raises(RuntimeError, match=words):
            call()
    with pytest.raises(NotImplementedError, match="Half"):
        fastnn.linalg.inv(ones.half())


def test_empty_and_powers_of_none():
    assert fastnn.linalg.inv(fastnn.ones(0, 0)).shape == (0, 0)
    assert fastnn.det(fastnn.ones(0, 3, 3)).shape == (0,)
    assert (fastnn.ones(2, 3, 3).matrix_power(0) == fastnn.eye(3)).all()


def test_what_has_no_gradient_says_so():
    a = fastnn.tensor(WIDE, requires_grad=True)
    with pytest.raises(RuntimeError, match="full_matrices"):
        fastnn.linalg.svd(a).Vh.sum().backward()
    fastnn.linalg.svd(a).S.sum().backward()         # the values have one
    with pytest.raises(RuntimeError, match="linalg_qr: the derivative"):
        fastnn.linalg.qr(a).R.sum().backward()
    with pytest.raises(RuntimeError, match="geqrf"):
        a.geqrf().tau.sum().backward()


def test_householder_vectors_of_lapack_make_its_q():
    for shape in ((5, 3), (3, 5), (2, 4, 4)):
        a = fastnn.tensor(RNG.standard_normal(shape))
        h, tau = fastnn.geqrf(a)
        Q, R = fastnn.linalg.householder_product(h[..., :min(shape[-2:])], tau), h.triu()[..., :min(shape[-2:]), :]
        np.testing.assert_allclose((Q @ R).numpy(), a.numpy(), atol=1e-12)
        torch = pytest.importorskip("torch")
        for w, f in zip(torch.geqrf(torch.tensor(a.numpy())), (h, tau)):
            np.testing.assert_allclose(f.numpy(), w.numpy(), atol=1e-12)


def test_exponentials_of_large_and_strange_matrices():
    """Each matrix of a batch has its own scale; what is not finite gives NaN and takes no other with it."""
    a = np.stack([np.array([[0.0, t], [-t, 0.0]]) for t in (0.0, 1e-9, 1.0, 300.0, np.nan, np.inf)])
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 3e-5)):
        with np.errstate(invalid="ignore"):
            wanted = np.stack([[[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]] for t in a[:, 0, 1]])
        found = fastnn.matrix_exp(fastnn.tensor(a.astype(dtype)))
        assert found.dtype == dtype
        np.testing.assert_allclose(found[:4].numpy(), wanted[:4], atol=tolerance)
        assert found[4:].isnan().all()
    assert fastnn.matrix_exp(fastnn.ones(0, 0)).shape == (0, 0) and fastnn.matrix_exp(fastnn.ones(0, 2, 2)).shape == (0, 2, 2)


def test_a_matrix_changed_before_backward_is_an_error():
    a = fastnn.tensor(POSITIVE, requires_grad=True)
    b = a * 1
    y = fastnn.det(b)
    b.mul_(2)
    with pytest.raises(RuntimeError, match="inplace"):
        y.sum().backward()
