"""Random numbers: torch's stream bit for bit, the library's own stream, the kernels that draw from it."""
import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import fastnn.core.random as R
import fastnn.kernels.random  # noqa: F401 (declares the kernels)
from fastnn.kernels import native

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="torch is the reference")

SEEDS = [0, 5, 2**32 + 5, -1, 2**63 + 7]
FLOATS = ["float32", "float64"]


@pytest.fixture
def twins():
    """A generator of ours and torch's, to be seeded alike."""
    return R.Generator(), torch.Generator()


def both(twins, seed):
    for g in twins:
        g.manual_seed(seed)


# ---- torch's stream ----------------------------------------------------------------------------------------
@needs_torch
@pytest.mark.parametrize("seed", SEEDS)
def test_torch_stream(twins, seed):
    ours, theirs = twins
    both(twins, seed)
    assert ours.initial_seed() == theirs.initial_seed()
    for n in (0, 1, 3, 7, 15, 16, 17, 31, 100, 1000, 5000):
        for dtype in FLOATS:
            kind = getattr(torch, dtype)
            assert np.array_equal(R.rand(n, generator=ours, dtype=dtype).numpy(), torch.rand(n, generator=theirs, dtype=kind))
            a = R.randn(n, generator=ours, dtype=dtype).numpy()
            b = torch.randn(n, generator=theirs, dtype=kind).numpy()
            if n < 16 or dtype == "float64":
                assert np.array_equal(a, b)
            else:
                np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)
        assert np.array_equal(R.randperm(n, generator=ours).numpy(), torch.randperm(n, generator=theirs))


@needs_torch
@pytest.mark.parametrize("low, high", [(0, 10), (-5, 1000), (0, 2**28 - 1), (0, 2**28), (0, 2**28 + 1), (0, 2**32),
                                       (-2**40, 2**50), (-2**63, 2**63 - 1)])
def test_torch_integers(twins, low, high):
    both(twins, 3)
    for _ in range(3):
        a = R.randint(low, high, (7, 11), generator=twins[0]).numpy()
        assert np.array_equal(a, torch.randint(low, high, (7, 11), generator=twins[1]))
    assert R.u64(twins[0]) & (2**63 - 1) == torch.empty(1, dtype=torch.int64).random_(generator=twins[1]).item()


@needs_torch
def test_spare_normal_survives_other_draws(twins):
    both(twins, 11)
    for n in (3, 20, 1, 5, 0, 2):
        a = R.randn(n, generator=twins[0], dtype="float64").numpy()
        assert np.array_equal(a, torch.randn(n, generator=twins[1], dtype=torch.float64))
        assert np.array_equal(R.rand(5, generator=twins[0]).numpy(), torch.rand(5, generator=twins[1]))


@needs_torch
def test_state_travels_both_ways(twins):
    ours, theirs = twins
    both(twins, 123)
    for n in (0, 10, 623, 1000):
        torch.rand(n, generator=theirs)
        torch.randn(3, generator=theirs)
        ours.set_state(theirs.get_state())
        assert np.array_equal(R.randn(5, generator=ours).numpy(), torch.randn(5, generator=theirs))
        assert np.array_equal(R.rand(700, generator=ours).numpy(), torch.rand(700, generator=theirs))
        theirs.set_state(torch.from_numpy(ours.get_state().numpy()[:5056].copy()))
        assert np.array_equal(R.rand(700, generator=ours).numpy(), torch.rand(700, generator=theirs))


# ---- generators --------------------------------------------------------------------------------------------
def test_generator():
    g = R.Generator()
    assert g.initial_seed() == 67280421310721 and str(g.device) == "cpu"
    assert g.manual_seed(-1) is g and g.initial_seed() == 2**64 - 1
    for bad in (2**64, -2**63 - 1):
        with pytest.raises(ValueError, match="Overflow"):
            g.manual_seed(bad)
    assert g.seed() == g.initial_seed()
    with pytest.raises(RuntimeError, match="wrong size"):
        g.set_state(np.zeros(3, np.uint8))
    with pytest.raises(RuntimeError, match="Invalid"):
        g.set_state(np.zeros(5056, np.uint8))
    with pytest.raises(TypeError, match="ByteTensor"):
        g.set_state(np.zeros(5056, np.float32))
    with pytest.raises(TypeError, match="ByteTensor"):
        g.set_state(3)
    with pytest.raises(RuntimeError, match="not available"):
        R.Generator("cuda")
    with pytest.raises(TypeError, match="generator"):
        R.rand(3, generator=np.random.default_rng(0))


def test_state_holds_both_streams():
    g = R.Generator().manual_seed(4)
    R.rand(10, generator=g)
    R.randn(3, generator=g)
    native.call("uniform", [g.rng, np.empty(100, np.float32)], [100], dtype="float32")
    copies = [pickle.loads(pickle.dumps(g)), g.clone_state(), R.Generator().set_state(g.get_state())]
    want = R.randn(5, generator=g).numpy(), R.rand(9, generator=g).numpy(), g.rng.copy()
    for h in copies:
        assert np.array_equal(R.randn(5, generator=h).numpy(), want[0])
        assert np.array_equal(R.rand(9, generator=h).numpy(), want[1])
        assert np.array_equal(h.rng, want[2])


def test_default_generator():
    R.manual_seed(1)
    with R.fork_rng():
        first = R.rand(3).numpy()
        R.manual_seed(99)
        assert R.initial_seed() == 99
    assert R.initial_seed() == 1
    state = R.get_rng_state()
    assert np.array_equal(R.rand(3).numpy(), first)
    R.set_rng_state(state)
    assert np.array_equal(R.rand(3).numpy(), first)


def test_shapes_and_errors():
    assert R.rand(2, 3).shape == (2, 3) and R.randn((2, 3)).shape == (2, 3) and R.rand(()).shape == ()
    assert R.randint(5, (2, 2)).dtype == np.int64 and R.randint(1, 5, (3,), dtype="float32").dtype == np.float32
    assert R.rand(3, requires_grad=True).requires_grad
    out = R.rand(3)
    assert R.randn(3, out=out) is out
    with pytest.raises(RuntimeError, match="negative dimension"):
        R.rand(-1)
    with pytest.raises(RuntimeError, match="'from' to be less than 'to'"):
        R.randint(3, 3, (2,))
    with pytest.raises(NotImplementedError, match="needs float32 or float64"):
        R.rand(3, dtype="int64")
    with pytest.raises(RuntimeError, match="non-negative"):
        R.randperm(-1)


# ---- kernels of the own stream -----------------------------------------------------------------------------
def key(seed=7, counter=0):
    return np.array([seed, counter], np.uint64)


def draw(name, dtype, n, rng, *scalars, threads=1):
    y = np.full(n + 8, np.nan, dtype)
    native.call(name, [rng, y], [n], scalars, dtype=dtype, threads=threads)
    assert np.isnan(y[n:]).all()
    return y[:n]


def test_philox_known_answers():
    # Random123's test vectors for philox4x32-10: counter 0, key 0
    u = draw("uniform", "float32", 64, key(0)) * 2**24
    words = [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]
    assert u[[1, 0, 33, 32]].tolist() == [w >> 8 for w in words]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1000, 16384, 16385, 50001])
def test_any_length_and_thread_count(dtype, n):
    x = np.random.default_rng(0).standard_normal(n).astype(dtype)
    p = np.random.default_rng(1).random(n).astype(dtype)
    results = []
    for threads in (1, 2, 3):
        rng = key()
        found = [draw("uniform", dtype, n, rng, threads=threads), draw("normal", dtype, n, rng, 1.0, 2.0, threads=threads)]
        y, once, dx = np.empty(n, dtype), np.empty(2, np.uint64), np.empty(n, dtype)
        native.call("bernoulli", [p, rng, y], [n], dtype=dtype, threads=threads)
        found += [y]
        y = np.empty(n, dtype)
        native.call("dropout", [rng, x, y, once], [n, 1], [0.3, 1 / 0.7], dtype=dtype, threads=threads)
        native.call("dropout_gradient", [once, x, dx], [n, 1], [0.3, 1 / 0.7], dtype=dtype, threads=threads)
        assert np.array_equal(y, dx)
        results.append([*found, y, rng])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert np.array_equal(a, b)
    # a prefix of a longer draw
    assert np.array_equal(draw("uniform", dtype, n // 2, key()), results[0][0][: n // 2])


@pytest.mark.parametrize("dtype", FLOATS)
def test_distributions(dtype):
    n = 400_000
    rng = key(1)
    u = draw("uniform", dtype, n, rng).astype(np.float64)
    assert 0 <= u.min() and u.max() < 1
    counts = np.histogram(u, 64, (0, 1))[0]
    assert ((counts - n / 64)**2 / (n / 64)).sum() < 120       # chi-square, 63 degrees: p < 1e-5
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.008 and abs(np.corrcoef(u[:-64], u[64:])[0, 1]) < 0.008
    z = draw("normal", dtype, n, rng, 0.0, 1.0).astype(np.float64)
    assert abs(z.mean()) < 0.008 and abs(z.var() - 1) < 0.012 and abs((z**4).mean() - 3) < 0.1
    assert abs(np.corrcoef(z[:-32], z[32:])[0, 1]) < 0.008
    p = np.linspace(0, 1, n).astype(dtype)
    y = np.empty(n, dtype)
    native.call("bernoulli", [p, rng, y], [n], dtype=dtype)
    assert set(np.unique(y)) == {0, 1} and abs((y - p).mean()) < 0.004
    for value in (0.0, 1.0):
        native.call("bernoulli", [np.full(n, value, dtype), rng, y], [n], dtype=dtype)
        assert (y == value).all()
    draws = np.empty(2, np.uint64)
    for p0 in (0.0, 0.1, 0.5, 0.9, 1.0):
        native.call("dropout", [rng, np.ones(n, dtype), y, draws], [n, 1], [p0, 2.0], dtype=dtype)
        assert set(np.unique(y)) <= {0, 2} and abs((y == 0).mean() - p0) < 0.004


@pytest.mark.parametrize("dtype", FLOATS)
def test_bernoulli_rejects_what_is_no_probability(dtype):
    for n in (3, 64, 1000):
        for bad in (1.5, -0.1, np.nan):
            p = np.full(n, 0.5, dtype)
            p[n // 2] = bad
            status, _ = native.call("bernoulli", [p, key(), np.empty(n, dtype)], [n], dtype=dtype)
            assert status != 0
        assert native.call("bernoulli", [np.full(n, 0.5, dtype), key(), np.empty(n, dtype)], [n], dtype=dtype)[0] == 0


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("channels, inner", [(1, 7), (5, 3), (300, 50), (130, 1000), (64, 40000)])
def test_whole_channels(dtype, channels, inner):
    x = np.random.default_rng(0).standard_normal((channels, inner)).astype(dtype) + 3
    results = []
    for threads in (1, 2):
        y, dx, draws = np.empty_like(x), np.empty_like(x), np.empty(2, np.uint64)
        native.call("dropout", [key(), x, y, draws], [channels, inner], [0.4, 2.0], dtype=dtype, threads=threads)
        native.call("dropout_gradient", [draws, x, dx], [channels, inner], [0.4, 2.0], dtype=dtype, threads=threads)
        assert np.array_equal(y, dx)
        results.append(y)
    assert np.array_equal(*results)
    kept = y[:, 0] != 0
    assert np.array_equal(y, np.where(kept[:, None], 2 * x, 0))
    # the mask is that of single elements
    ones, draws = np.empty(channels, dtype), np.empty(2, np.uint64)
    native.call("dropout", [key(), np.ones(channels, "float32"), np.empty(channels, "float32"), draws], [channels, 1],
                [0.4, 2.0], dtype="float32")
    if dtype == "float32":
        native.call("dropout", [key(), np.ones(channels, dtype), ones, draws], [channels, 1], [0.4, 2.0], dtype=dtype)
        assert np.array_equal(ones != 0, kept)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("inner", [1, 6])
def test_shifted_dropout_and_nan(dtype, inner):
    n = 500
    x = np.random.default_rng(0).standard_normal(n * inner).astype(dtype)
    x[3] = np.nan
    y, plain, draws = np.empty_like(x), np.empty_like(x), np.empty(2, np.uint64)
    native.call("dropout_shift", [key(), x, y, draws], [n, inner], [0.3, 2.0, 0.5, -1.0], dtype=dtype)
    native.call("dropout", [key(), x, plain, draws], [n, inner], [0.3, 2.0], dtype=dtype)
    assert np.isnan(y[3]) and np.isnan(plain[3])
    want = np.where(plain != 0, 2 * x + dtype_of(dtype)(0.5), dtype_of(dtype)(-1))
    want[3] = np.nan
    np.testing.assert_allclose(y, want, rtol=1e-6)


def dtype_of(name):
    return np.dtype(name).type


DIGEST = """
import hashlib, numpy as np, fastnn.kernels.random
from fastnn.kernels import native
h = hashlib.sha256()
for dtype in ("float32", "float64"):
    rng, draws = np.array([7, 2**30], np.uint64), np.empty(2, np.uint64)
    x, y = np.linspace(0, 1, 1001).astype(dtype), np.empty(1001, dtype)
    for call in (["uniform", [rng, y], [1001]], ["bernoulli", [x, rng, y], [1001]],
                 ["dropout", [rng, x, y, draws], [1001, 1], [0.3, 2.0]],
                 ["dropout", [rng, x, y, draws], [91, 11], [0.3, 2.0]]):
        native.call(*call, dtype=dtype)
        h.update(y.tobytes())
print(h.hexdigest())
"""


def test_same_numbers_on_every_instruction_set():
    digests = set()
    for isa in native.instruction_sets():
        done = subprocess.run([sys.executable, "-c", DIGEST], env={**os.environ, "FASTNN_ISA": isa}, capture_output=True,
                              text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1 and len(digests.pop().strip()) == hashlib.sha256().digest_size * 2
