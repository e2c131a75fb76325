"""Matrix products: every layout, tail and instruction set against NumPy in float64; equal bits where they are promised."""
import os
import subprocess
import sys

import numpy as np
import pytest

from fastnn.kernels import gemm, native

SHAPES = [(1, 1, 1), (1, 10, 7), (2, 64, 5), (3, 130, 33), (4, 17, 64), (5, 63, 65), (6, 64, 300), (7, 65, 16), (13, 100, 50),
          (32, 10, 128), (32, 10, 600), (33, 129, 257), (50, 300, 70), (100, 7, 20),
          (200, 257, 530), (530, 150, 1030), (520, 70, 2100), (65, 600, 40), (70, 520, 700), (1, 300, 70), (2, 513, 90), (3, 600, 40)]
LAYOUTS = ["nn", "nt", "tn", "tt"]
DTYPES = ["float32", "float64"]


def operand(rng, rows, columns, layout, dtype, step=1):
    """A rows x columns view: 'n' row-major, 't' column-major, `step` > 1 with gaps everywhere."""
    shape = (rows * step, columns * step) if layout == "n" else (columns * step, rows * step)
    a = rng.standard_normal(shape).astype(dtype)[::step, ::step]
    return a if layout == "n" else a.T


def strides(a):
    return [s // a.itemsize for s in a.strides]


def matmul(a, b, bias=None, c=None, relu=0, threads=1, add=False):
    m, k = a.shape
    n = b.shape[1]
    if c is None:
        c = np.full((m, n), np.nan, a.dtype)
    name = "matmul_add" if add else "matmul"
    native.call(name, [a, b, bias, c], [m, n, k, *strides(a), *strides(b), *strides(c), relu], threads=threads)
    return c


def may_be_by_parts(dtype, *sizes):
    """May the product be other sums than a chain over k?  (test_gemm_parts.py)"""
    return native.instruction_set() == "amx" and dtype == "float32" and min(sizes) >= 32


def close(got, a, b, want=None, bias=None):
    """Within the forward error bound of a sum of k products."""
    a, b = a.astype("f8"), b.astype("f8")
    want = a @ b if want is None else want
    bound = (a.shape[1] + 2) * np.finfo(got.dtype).eps * (np.abs(a) @ np.abs(b) + np.abs(want) + np.finfo(got.dtype).tiny)
    assert np.all(np.abs(got - want) <= bound), np.max(np.abs(got - want) / bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_product(shape, layout, dtype):
    m, n, k = shape
    rng = np.random.default_rng(0)
    a, b = operand(rng, m, k, layout[0], dtype), operand(rng, k, n, layout[1], dtype)
    got = matmul(a, b)
    close(got, a, b)
    np.testing.assert_array_equal(matmul(a, b, threads=2), got)
    if m > 16 and n > 1 and not may_be_by_parts(dtype, m, n, k):    # else the layout may decide how sums are made, as of few rows
        np.testing.assert_array_equal(matmul(np.ascontiguousarray(a), np.ascontiguousarray(b)), got)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gaps_between_elements(layout, dtype):
    rng = np.random.default_rng(1)
    a, b = operand(rng, 70, 140, layout[0], dtype, 3), operand(rng, 140, 90, layout[1], dtype, 2)
    close(matmul(a, b), a, b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_bias_relu_accumulate(shape, dtype):
    m, n, k = shape
    rng = np.random.default_rng(2)
    a, b = operand(rng, m, k, "n", dtype), operand(rng, k, n, "n", dtype)
    bias, c = rng.standard_normal(n).astype(dtype), rng.standard_normal((m, n)).astype(dtype)
    plain = matmul(a, b)
    np.testing.assert_array_equal(matmul(a, b, bias), plain + bias)
    np.testing.assert_array_equal(matmul(a, b, bias, relu=1), np.maximum(plain + bias, 0))
    # continuing from C is the same chain as one product over a longer k
    got = matmul(a, b, c=c.copy(), add=True)
    close(got, np.hstack([np.eye(m, dtype=dtype), a]), np.vstack([c, b]))
    halves = matmul(a[:, k // 2:], b[k // 2:], c=matmul(a[:, :k // 2], b[:k // 2]), add=True)
    close(halves, a, b)
    if not may_be_by_parts(dtype, m, n, m + k):
        np.testing.assert_array_equal(got, matmul(np.hstack([np.eye(m, dtype=dtype), a]), np.vstack([c, b])))
        np.testing.assert_array_equal(halves, plain)


@pytest.mark.parametrize("dtype", DTYPES)
def test_writes_only_its_own_elements(dtype):
    rng = np.random.default_rng(3)
    a, b = operand(rng, 9, 20, "n", dtype), operand(rng, 20, 37, "n", dtype)
    whole = np.full((11, 50), 7, dtype)
    matmul(a, b, c=whole[1:10, 5:42])
    close(whole[1:10, 5:42], a, b)
    whole[1:10, 5:42] = 7
    assert np.all(whole == 7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_column_major_output(dtype):
    rng = np.random.default_rng(4)
    for layout in LAYOUTS:
        a, b = operand(rng, 40, 90, layout[0], dtype), operand(rng, 90, 130, layout[1], dtype)
        c = np.full((130, 40), np.nan, dtype).T
        np.testing.assert_array_equal(matmul(a, b, c=c), matmul(a, b))


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty(dtype):
    bias = np.arange(5, dtype=dtype) - 2
    a, b = np.empty((3, 0), dtype), np.empty((0, 5), dtype)
    np.testing.assert_array_equal(matmul(a, b), np.zeros((3, 5)))
    np.testing.assert_array_equal(matmul(a, b, bias, relu=1), np.tile([0, 0, 0, 1, 2], (3, 1)))
    c = np.ones((3, 5), dtype)
    np.testing.assert_array_equal(matmul(a, b, c=c, add=True), np.ones((3, 5)))
    assert matmul(np.empty((0, 4), dtype), np.empty((4, 5), dtype), threads=2).shape == (0, 5)
    assert matmul(np.empty((3, 4), dtype), np.empty((4, 0), dtype), threads=2).shape == (3, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_propagates(dtype):
    rng = np.random.default_rng(5)
    a, b = operand(rng, 20, 30, "n", dtype), operand(rng, 30, 70, "n", dtype)
    a[3, 4] = np.nan
    b[7, 69] = np.inf
    b[8, 69] = -np.inf
    got = matmul(a, b, relu=1)
    assert np.isnan(got[3]).all() and np.isnan(got[:, 69]).sum() + np.isinf(got[:, 69]).sum() >= 1
    assert not np.isnan(np.delete(got, 3, 0)[:, :69]).any()
    assert np.isnan(got).any(axis=0)[69]


def test_minus_zero_stays():
    a, b = np.array([[-0.0]], "f4"), np.array([[1.0]], "f4")
    bias = np.array([-0.0], "f4")
    assert not np.signbit(matmul(a, b))[0, 0] and not np.signbit(matmul(a, b, bias))[0, 0]      # 0 + -0 is 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 7, 8, 15, 16, 17])
def test_few_rows_by_contiguous_columns(m, dtype):
    rng = np.random.default_rng(11)
    for n, k in [(1, 40), (5, 31), (37, 100), (300, 1300), (20, 4200)]:
        a, b = operand(rng, m, k, "n", dtype), operand(rng, k, n, "t", dtype)
        bias, c = rng.standard_normal(n).astype(dtype), rng.standard_normal((m, n)).astype(dtype)
        plain = matmul(a, b)
        close(plain, a, b)
        np.testing.assert_array_equal(matmul(a, b, bias, relu=1), np.maximum(plain + bias, 0))
        close(matmul(a, b, c=c.copy(), add=True), np.hstack([np.eye(m, dtype=dtype), a]), np.vstack([c, b]))
        gaps = operand(rng, m, k, "t", dtype, 2)       # A's rows are not contiguous: packed first
        close(matmul(gaps, b), gaps, b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_row_does_not_depend_on_its_batch(layout, dtype):
    rng = np.random.default_rng(6)
    for n, k in [(10, 256), (128, 64), (300, 300), (600, 300)]:     # the last B is copied for 64 rows and more
        a, b = operand(rng, 300, k, layout[0], dtype), operand(rng, k, n, layout[1], dtype)
        whole = matmul(a, b, threads=2)
        for first, rows in [(0, 1), (77, 1), (127, 2), (5, 3), (20, 8), (128, 32), (100, 128)]:
            one = matmul(a[first:first + rows], b)
            if (rows <= 16 and layout[1] == "t") or may_be_by_parts(dtype, len(a), n):      # whatever way the sums are split
                close(one, a[first:first + rows], b)
                np.testing.assert_array_equal(matmul(a[first:first + rows], b, threads=2), one)
            else:
                np.testing.assert_array_equal(one, whole[first:first + rows])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", "nt")
def test_packed_b(layout, dtype):
    rng = np.random.default_rng(9)
    n = 730                         # wide enough for one row to be split over threads
    bias = rng.standard_normal(n).astype(dtype)
    b = operand(rng, 300, n, layout, dtype)
    packed = np.full(gemm.packed_size(300, n, dtype), np.nan, dtype)
    native.call("pack_b", [b, packed], [300, n, *strides(b)])
    for m in (1, 2, 7, 100):
        a, c = operand(rng, m, 300, "n", dtype), np.full((m, n), np.nan, dtype)
        for threads in (1, 2):
            native.call("matmul", [a, packed, bias, c], [m, n, 300, *strides(a), 0, 0, n, 1, 1, 1], threads=threads)
            close(c, a, b, np.maximum(a.astype("f8") @ b + bias, 0), bias)
            if not may_be_by_parts(dtype, m, n):
                np.testing.assert_array_equal(c, matmul(a, np.ascontiguousarray(b), bias, relu=1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 700, 900), (1, 500, 784), (1, 1024, 701), (2, 500, 600), (600, 300, 8), (300, 700, 16),
                                   (24, 40, 4000), (130, 1024, 1024), (784, 256, 1), (32, 128, 64)])
def test_split_over_threads(shape, dtype):
    m, n, k = shape
    rng = np.random.default_rng(10)
    for layout in LAYOUTS:
        a, b = operand(rng, m, k, layout[0], dtype), operand(rng, k, n, layout[1], dtype)
        got = matmul(a, b, threads=2)
        close(got, a, b)
        np.testing.assert_array_equal(got, matmul(a, b))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 512, 1101), (1, 1024, 523), (1, 128, 4096), (1, 1024, 512), (7, 1024, 520), (20, 512, 1000)])
def test_columns_change_threads(shape, dtype):
    """Rows of B a power of two long: a thread takes other columns for the second half of k, and goes on with the other's sums."""
    m, n, k = shape
    rng = np.random.default_rng(11)
    a, b, c = operand(rng, m, k, "n", dtype), operand(rng, k, n, "n", dtype), rng.standard_normal((m, n)).astype(dtype)
    bias = rng.standard_normal(n).astype(dtype)
    for arguments in ({}, {"bias": bias, "relu": 1}, {"c": c, "add": True}):
        one, two = (matmul(a, b, threads=threads, **{**arguments, **({"c": c.copy()} if "c" in arguments else {})}) for threads in (1, 2))
        np.testing.assert_array_equal(one, two)
    close(matmul(a, b, threads=2), a, b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch", [1, 3, 9])
def test_batched(batch, dtype):
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((batch, 20, 30)).astype(dtype), rng.standard_normal((batch, 40, 30)).astype(dtype)
    for b_used, step in [(b, 1200), (b[:1], 0)]:
        for threads in (1, 2):
            c = np.full((batch, 20, 40), np.nan, dtype)
            sizes = [20, 40, 30, 30, 1, 1, 30, 40, 1, 0, batch, 600, step, 800]
            native.call("matmul_batched", [a, b_used, None, c], sizes, threads=threads)
            for i in range(batch):
                np.testing.assert_array_equal(c[i], matmul(a[i], b_used[i if step else 0].T))
            native.call("matmul_batched_add", [a, b_used, None, c], sizes, threads=threads)
            close(c[0], np.hstack([a[0], a[0]]), np.vstack([b_used[0].T, b_used[0].T]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (7, 10), (33, 65), (100, 600), (1000, 300)])
def test_column_sums(shape, dtype):
    x = np.random.default_rng(8).standard_normal(shape).astype(dtype)
    out = np.full(shape[1], np.nan, dtype)
    native.call("column_sums", [x, out], [*shape, shape[1]])
    want = np.zeros(shape[1], dtype)
    for row in x:
        want += row
    np.testing.assert_array_equal(out, want)
    native.call("column_sums_add", [x, out], [*shape, shape[1]], threads=2)
    for row in x:
        want += row
    np.testing.assert_array_equal(out, want)


def test_products_in_turn():
    """A call's plan is kept for the next one of the same sizes: whatever differs in anything else takes a plan of its own."""
    rng = np.random.default_rng(12)
    for _round in range(2):
        for size in (32, 40):
            for dtype in DTYPES:
                bias = rng.standard_normal(size).astype(dtype)
                for la in "nt":
                    for lb in "nt":
                        a, b = operand(rng, size, size, la, dtype), operand(rng, size, size, lb, dtype)
                        wide = operand(rng, size, size, lb, dtype, 2)
                        plain = matmul(a, b)
                        close(plain, a, b)
                        close(matmul(a, wide), a, wide)
                        np.testing.assert_array_equal(matmul(a, b, bias), plain + bias)
                        np.testing.assert_array_equal(matmul(a, b, bias, relu=1), np.maximum(plain + bias, 0))
                        np.testing.assert_array_equal(matmul(a, b), plain)
                        close(matmul(a, b, c=np.ones_like(plain), add=True), a, b, a.astype("f8") @ b.astype("f8") + 1)
                        np.testing.assert_array_equal(matmul(a, b, threads=2), plain)
                        np.testing.assert_array_equal(matmul(a, b, c=np.full((size, size), np.nan, dtype).T), plain)
                        panels = np.empty(gemm.packed_size(size, size, dtype), dtype)
                        native.call("pack_b", [b, panels], [size, size, *strides(b)])
                        c = np.full_like(plain, np.nan)
                        native.call("matmul", [a, panels, None, c], [size, size, size, *strides(a), *strides(b), size, 1, 0, 1])
                        np.testing.assert_array_equal(c, plain)


@pytest.mark.parametrize("isa", native.instruction_sets())
def test_every_instruction_set(isa):
    """This file again under each lower set, in a process of its own."""
    if isa == native.instruction_set() or os.environ.get("FASTNN_ISA"):
        pytest.skip("tested by this process")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__],
                          env={**os.environ, "FASTNN_ISA": isa}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
