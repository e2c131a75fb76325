"""Float32 products by three parts of bfloat16: accuracy, what parts cannot hold, equal bits where they are promised."""
import numpy as np
import pytest
from test_gemm import LAYOUTS, close, matmul, operand

from fastnn.kernels import native

pytestmark = pytest.mark.skipif(native.instruction_set() != "amx", reason="needs matrix units (AMX)")

SHAPES = [(64, 64, 64), (100, 130, 257), (257, 100, 130), (64, 333, 1100), (333, 64, 1100), (48, 48, 4200), (600, 700, 90), (1030, 96, 520)]


def chain(a, b):
    """Multiply-adds in float32, one after the other."""
    c = np.zeros((len(a), b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        c = (a[:, k:k + 1].astype("f8") * b[k:k + 1] + c).astype(np.float32)
    return c


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_element_and_nothing_else(shape, layout):
    m, n, k = shape
    rng = np.random.default_rng(0)
    a, b = operand(rng, m, k, layout[0], "float32"), operand(rng, k, n, layout[1], "float32")
    bias, old = rng.standard_normal(n).astype("f4"), rng.standard_normal((m + 2, n + 20)).astype("f4")
    for flip in (False, True):                      # rows of C contiguous, or its columns
        whole = np.ascontiguousarray(old.T).T if flip else old.copy()
        c = whole[1:-1, 5:-15]
        matmul(a, b, bias, c=c, relu=1)
        close(c, a, b, np.maximum(a.astype("f8") @ b + bias, 0))
        first = c.copy()
        matmul(a, b, bias, c=c, relu=1, threads=2)
        np.testing.assert_array_equal(c, first)
        matmul(a, b, c=c, add=True)
        close(c, a, b, first + a.astype("f8") @ b)
        c[...] = old[1:-1, 5:-15]
        np.testing.assert_array_equal(whole, old)


def test_integers_are_exact():
    rng = np.random.default_rng(1)
    a, b = rng.integers(-900, 900, (70, 90)), rng.integers(-90, 90, (90, 80))
    np.testing.assert_array_equal(matmul(a.astype("f4"), b.astype("f4")), a @ b)


def test_as_accurate_as_a_chain():
    """Beside the sum of |a b|, root mean square and largest: no worse than multiply-adds in order."""
    rng = np.random.default_rng(2)
    for k in (32, 100, 784):
        for make in (lambda *s: rng.standard_normal(s), lambda *s: rng.random(s), lambda *s: np.exp(4 * rng.standard_normal(s))):
            a, b = make(96, k).astype("f4"), make(k, 160).astype("f4")
            exact, size = a.astype("f8") @ b, np.abs(a).astype("f8") @ np.abs(b)
            ours, theirs = ((x - exact) / size for x in (matmul(a, b), chain(a, b)))
            assert np.sqrt(np.mean(ours ** 2)) <= 1.05 * np.sqrt(np.mean(theirs ** 2))
            assert np.abs(ours).max() <= 1.5 * np.abs(theirs).max()


def test_a_row_does_not_depend_on_the_others():
    rng = np.random.default_rng(3)
    a, b = operand(rng, 600, 400, "n", "float32"), operand(rng, 400, 390, "n", "float32")
    whole = matmul(a, b)
    assert not np.array_equal(whole[:1], matmul(a[:1], b))      # a chain
    for first, rows in ((0, 256), (3, 257), (100, 300), (450, 150)):
        np.testing.assert_array_equal(matmul(a[first:first + rows], b), whole[first:first + rows])
    np.testing.assert_array_equal(matmul(a, np.ascontiguousarray(b[:, 30:320])), whole[:, 30:320])


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan, 3.4e38, -3.4e38])
def test_values_that_have_no_parts(odd):
    rng = np.random.default_rng(4)
    a, b = operand(rng, 80, 100, "n", "float32"), operand(rng, 100, 90, "n", "float32")
    a[40, 7] = odd
    b[7, 11] = 0
    bias, c = rng.standard_normal(90).astype("f4"), rng.standard_normal((80, 90)).astype("f4")
    with np.errstate(all="ignore"):
        want = (a.astype("f8") @ b).astype("f4")
        got = matmul(a, b, threads=2)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(matmul(a, b, bias), want + bias, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(matmul(a, b, c=c.copy(), add=True), c + want, rtol=1e-4, atol=1e-4)
        turned = np.empty((90, 80), "f4").T
        np.testing.assert_allclose(matmul(a, b, bias, c=turned), (a.astype("f8") @ b).astype("f4") + bias, rtol=1e-4, atol=1e-4)


def test_small_values_keep_their_bits():
    """Down to 2^-100, alone and beside larger ones; parts below 2^-126 count as 0."""
    rng = np.random.default_rng(5)
    a, b = operand(rng, 64, 70, "n", "float32"), operand(rng, 70, 96, "n", "float32")
    for scale in (2.0 ** -40, 2.0 ** -75, 2.0 ** -100):
        close(matmul(a * np.float32(scale), b), a * np.float32(scale), b)
        mixed = a.copy()
        mixed[32:] *= np.float32(scale)
        close(matmul(mixed, b), mixed, b)
    product = matmul(a * np.float32(2.0 ** -60), b * np.float32(2.0 ** -50))
    close(product, a * np.float32(2.0 ** -60), b * np.float32(2.0 ** -50))
