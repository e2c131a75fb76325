"""Float32 products by three parts of bfloat16: accuracy, what parts cannot hold, equal bits where they are promised."""
import numpy as np
import pytest
from test_gemm import LAYOUTS, close, matmul, operand

from fastnn.kernels import native

# the units themselves, not a library: without them there is nothing to test
pytestmark = pytest.mark.skipif(native.instruction_set() != "amx", reason="needs matrix units (AMX)")

SHAPES = [(128, 128, 128), (130, 257, 200), (257, 130, 160), (140, 333, 1100), (333, 140, 1100), (160, 160, 2100), (600, 700, 190),
          (1030, 196, 520), (96, 600, 1100)]


def chain(a, b):
    """Multiply-adds in float32, one after the other."""
    c = np.zeros((len(a), b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        c = (a[:, k:k + 1].astype("f8") * b[k:k + 1] + c).astype(np.float32)
    return c


def operands(m, n, k, layout="nn", seed=0):
    """Of a product that is done by parts: of so many rows; of 31 it is not."""
    rng = np.random.default_rng(seed)
    a, b = operand(rng, m, k, layout[0], "float32"), operand(rng, k, n, layout[1], "float32")
    assert not np.array_equal(matmul(a, b)[:31], matmul(a[:31], b))
    return a, b


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_element_and_nothing_else(shape, layout):
    m, n, k = shape
    a, b = operands(m, n, k, layout)
    rng = np.random.default_rng(1)
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
    operands(150, 160, 170)
    rng = np.random.default_rng(1)
    a, b = rng.integers(-900, 900, (150, 170)), rng.integers(-90, 90, (170, 160))
    np.testing.assert_array_equal(matmul(a.astype("f4"), b.astype("f4")), a @ b)


def test_as_accurate_as_a_chain():
    """Beside the sum of |a b|, root mean square and largest: no worse than multiply-adds in order."""
    rng = np.random.default_rng(2)
    for k in (128, 300, 784):
        operands(200, 200, k)
        for make in (lambda *s: rng.standard_normal(s), lambda *s: rng.random(s), lambda *s: np.exp(4 * rng.standard_normal(s))):
            a, b = make(200, k).astype("f4"), make(k, 200).astype("f4")
            exact, size = a.astype("f8") @ b, np.abs(a).astype("f8") @ np.abs(b)
            ours, theirs = ((x - exact) / size for x in (matmul(a, b), chain(a, b)))
            assert np.sqrt(np.mean(ours ** 2)) <= 1.05 * np.sqrt(np.mean(theirs ** 2))
            assert np.abs(ours).max() <= 1.5 * np.abs(theirs).max()


def test_a_row_does_not_depend_on_the_others():
    a, b = operands(600, 390, 400)
    whole = matmul(a, b)
    for first, rows in ((0, 256), (3, 257), (100, 300), (450, 150)):
        np.testing.assert_array_equal(matmul(a[first:first + rows], b), whole[first:first + rows])
    np.testing.assert_array_equal(matmul(a, np.ascontiguousarray(b[:, 30:320])), whole[:, 30:320])


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan, 3.4e38, -3.4e38])
def test_values_that_have_no_parts(odd):
    a, b = operands(180, 190, 200)
    rng = np.random.default_rng(4)
    a[40, 7] = odd
    b[7, 11] = 0
    bias, c = rng.standard_normal(190).astype("f4"), rng.standard_normal((180, 190)).astype("f4")
    with np.errstate(all="ignore"):
        want = (a.astype("f8") @ b).astype("f4")
        for got, wanted in ((matmul(a, b, threads=2), want), (matmul(a, b, bias), want + bias),
                            (matmul(a, b, bias, relu=1), np.maximum(want + bias, 0)), (matmul(a, b, c=c.copy(), add=True), c + want),
                            (matmul(a, b, bias, c=np.empty((190, 180), "f4").T), want + bias)):
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def largest_error(a, b):
    """Of a product, beside the sum of |a b|; a chain's is 1.5e-7 here."""
    exact, size = a.astype("f8") @ b, np.abs(a).astype("f8") @ np.abs(b)
    return np.max(np.abs(matmul(a, b) - exact) / size)


@pytest.fixture
def denormals_kept():
    """So that only the units, which always take them for 0, could lose bits."""
    native.set_flush_denormal(False)
    yield
    native.set_flush_denormal(True)


def test_small_values_keep_their_bits(denormals_kept):
    """Alone and beside larger ones: sums of parts that are below 2^-126, and count as 0, are made without parts."""
    a, b = operands(164, 196, 170)
    a, b = (np.copysign(1 + np.abs(x) % 1, x) for x in (a, b))          # from 1 to 2, lest some be denormal
    for power in (-40, -75, -100, -110, -118):
        small = a * np.float32(2.0 ** power)
        assert largest_error(small, b) < 3e-7
        small[:64] = a[:64]
        assert largest_error(small, b) < 3e-7
    assert largest_error(a * np.float32(2.0 ** -60), b * np.float32(2.0 ** -50)) < 3e-7
