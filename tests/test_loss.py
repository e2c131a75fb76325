"""Losses against torch: values, gradients, reductions, errors, oracle numbers, threads."""
import numpy as np
import pytest

import fastnn
import fastnn.nn.functional as F
from fastnn.kernels import native

torch = pytest.importorskip("torch", reason="torch is the reference")
TF = torch.nn.functional

rng = np.random.RandomState(0)


def normal(*shape):
    return rng.standard_normal(shape)


def unit(*shape):
    return rng.uniform(0.01, 0.99, shape)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides", "ignore:Using a target size")
def compare(name, arrays, reductions=("mean", "sum", "none"), fixed=(), **options):
    """Value and gradients in both dtypes; arrays numbered in `fixed` take no gradient."""
    for dtype in (np.float64, np.float32):
        tol = 1e-9 if dtype == np.float64 else 2e-5

        def cast(a, dtype=dtype):
            return a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
        for reduction in reductions:
            x, t = [], []
            for i, a in enumerate(map(cast, arrays)):
                grad = a.dtype.kind == "f" and i not in fixed
                x.append(fastnn.tensor(a, requires_grad=grad))
                t.append(torch.tensor(a, requires_grad=grad))
            mine = {k: fastnn.tensor(cast(v)) if isinstance(v, np.ndarray) else v for k, v in options.items()}
            theirs = {k: torch.tensor(cast(v)) if isinstance(v, np.ndarray) else v for k, v in options.items()}
            y = getattr(F, name)(*x, reduction=reduction, **mine)
            want = getattr(TF, name)(*t, reduction=reduction, **theirs)
            np.testing.assert_allclose(y.detach().numpy(), want.detach().numpy(), rtol=tol, atol=tol)
            assert y.dtype == dtype and tuple(y.shape) == tuple(want.shape)
            g = np.asarray(rng.standard_normal(tuple(want.shape))).astype(dtype)
            y.backward(fastnn.tensor(g))
            want.backward(torch.tensor(g))
            for a, b in zip(x, t):
                if b.requires_grad:
                    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=10 * tol, atol=tol)


SHAPES = [(1003,), (5, 7), (2, 3, 4), (20000,)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_pointwise(shape):
    for name in ("mse_loss", "l1_loss", "huber_loss"):
        compare(name, [normal(*shape), normal(*shape)])
        compare(name, [normal(*shape), normal(*shape)], weight=unit(*shape))
    compare("smooth_l1_loss", [normal(*shape), normal(*shape)], beta=0.3)
    compare("smooth_l1_loss", [normal(*shape), normal(*shape)], beta=0.0)
    compare("huber_loss", [normal(*shape), normal(*shape)], delta=0.3)
    compare("binary_cross_entropy", [unit(*shape), unit(*shape)], weight=unit(*shape))
    compare("binary_cross_entropy_with_logits", [5 * normal(*shape), unit(*shape)], weight=unit(shape[-1]))
    compare("binary_cross_entropy_with_logits", [5 * normal(*shape), unit(*shape)], pos_weight=3 * unit(shape[-1]))
    compare("kl_div", [normal(*shape), unit(*shape)], ("mean", "batchmean", "sum", "none"))
    compare("kl_div", [normal(*shape), normal(*shape)], log_target=True)
    for log_input in (True, False):
        for full in (True, False):
            compare("poisson_nll_loss", [unit(*shape), 4 * unit(*shape)], log_input=log_input, full=full)
    compare("gaussian_nll_loss", [normal(*shape), normal(*shape), unit(*shape)], full=True, eps=0.3)
    sign = np.sign(normal(*shape))
    compare("hinge_embedding_loss", [normal(*shape), sign], fixed=(1,), margin=0.7)
    compare("soft_margin_loss", [normal(*shape), sign], fixed=(1,))
    compare("margin_ranking_loss", [normal(*shape), normal(*shape), sign], margin=0.3)


def test_unequal_shapes_warn_and_broadcast():
    x, t = fastnn.tensor(normal(3, 1), requires_grad=True), fastnn.tensor(normal(3))
    with pytest.warns(UserWarning, match="Using a target size"):
        y = F.mse_loss(x, t, reduction="none")
    assert y.shape == (3, 3)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * (x.detach().numpy() - t.numpy()).sum(1, keepdims=True))


def test_legacy_reduction_warns():
    x = fastnn.tensor(normal(4))
    with pytest.warns(UserWarning, match="size_average and reduce args will be deprecated"):
        assert F.mse_loss(x, x, size_average=False).item() == 0


@pytest.mark.parametrize("shape", [(6, 5), (65, 131), (3, 7, 4, 5), (2, 3, 70), (5,), (0, 4)])
def test_cross_entropy_and_nll(shape):
    C = shape[0] if len(shape) == 1 else shape[1]
    target = np.asarray(rng.randint(0, C, () if len(shape) == 1 else (shape[0], *shape[2:])))
    for options in ({}, {"weight": unit(C)}, {"label_smoothing": 0.2},
                    {"weight": unit(C), "label_smoothing": 0.2, "ignore_index": 1}):
        compare("cross_entropy", [3 * normal(*shape), target], **options)
        compare("nll_loss", [normal(*shape), target], **{k: v for k, v in options.items() if k != "label_smoothing"})
        options.pop("ignore_index", None)
        if target.size:
            compare("cross_entropy", [3 * normal(*shape), unit(*shape)], **options)


def test_oracle_numbers():
    x, y, w = fastnn.tensor([[1.0, 2, 3], [1, 0, -1]]), fastnn.tensor([2, 0]), fastnn.tensor([1.0, 2, 3])
    assert F.cross_entropy(x, y, w).item() == pytest.approx(0.4076059)
    assert F.cross_entropy(x, F.one_hot(y, 3).to(np.float32), w).item() == pytest.approx(0.8152119)
    assert F.cross_entropy(x, y, label_smoothing=0.1).item() == pytest.approx(0.5076059)
    assert np.isnan(F.cross_entropy(x, fastnn.tensor([-100, -100])).item())
    assert F.binary_cross_entropy(fastnn.tensor([0.0]), fastnn.tensor([1.0])).item() == 100
    p = fastnn.tensor([0.5, -1.0, 2.0])
    assert F.binary_cross_entropy_with_logits(p, fastnn.tensor([0.0, 1, 1]), pos_weight=fastnn.tensor(2.0)).item() == (
        pytest.approx(1.284819))


def test_errors():
    x = fastnn.tensor(np.ones((2, 3), np.float32))
    with pytest.raises(IndexError, match="Target 3 is out of bounds"):
        F.cross_entropy(x, fastnn.tensor([0, 3]))
    with pytest.raises(IndexError, match="Target -1 is out of bounds"):
        F.nll_loss(x, fastnn.tensor([0, -1]))
    with pytest.raises(RuntimeError, match="expected target dtype to be Long or Byte, but got Float"):
        F.cross_entropy(x, fastnn.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"Expected input batch_size \(2\) to match target batch_size \(3\)"):
        F.cross_entropy(x, fastnn.tensor([0, 1, 2]))
    with pytest.raises(RuntimeError, match="all elements of input should be between 0 and 1"):
        F.binary_cross_entropy(fastnn.tensor([2.0]), fastnn.tensor([1.0]))
    with pytest.raises(RuntimeError, match="Found dtype Double but expected Float"):
        F.mse_loss(x, fastnn.tensor(np.ones((2, 3))))
    with pytest.raises(ValueError, match="is not a valid value for reduction"):
        F.mse_loss(x, x, reduction="all")


def test_margins():
    for p in (1, 2):
        compare("multi_margin_loss", [normal(6, 5), rng.randint(0, 5, 6)], p=p, margin=0.8, weight=unit(5))
        compare("multi_margin_loss", [normal(5), np.asarray(rng.randint(0, 5, ()))], p=p)
    compare("multilabel_margin_loss", [normal(3, 4), np.array([[1, 2, -1, 0], [-1, 0, 0, 0], [3, 2, 1, 0]])])
    compare("multilabel_soft_margin_loss", [normal(3, 4), unit(3, 4)], fixed=(1,), weight=unit(4))
    compare("cosine_embedding_loss", [normal(6, 5), normal(6, 5), np.sign(normal(6))], fixed=(2,), margin=0.2)
    for p in (1.0, 2.0, 3.0):
        for swap in (False, True):
            compare("triplet_margin_loss", [normal(6, 5), normal(6, 5), normal(6, 5)], p=p, swap=swap)


@pytest.mark.parametrize("zero_infinity", [True, False])
def test_ctc(zero_infinity):
    p = normal(9, 3, 6)
    p -= np.log(np.exp(p).sum(-1, keepdims=True))
    lengths = {"input_lengths": np.array([9, 7, 8]), "target_lengths": np.array([4, 3, 0])}
    compare("ctc_loss", [p, rng.randint(1, 6, (3, 4))], zero_infinity=zero_infinity, **lengths)
    compare("ctc_loss", [p, np.array([1, 1, 1, 1, 3, 4, 2])], zero_infinity=True,       # concatenated; the last does not fit
            input_lengths=np.array([9, 7, 2]), target_lengths=np.array([4, 0, 3]))


@pytest.mark.parametrize("p", [0.0, 1.0, 1.5, 2.0, 3.0, float("inf")])
def test_distances(p):
    a, b = normal(6, 35), normal(6, 35)
    for name, arrays, options in (("pairwise_distance", [a, b], {"p": p}), ("normalize", [a], {"p": p, "dim": 0}),
                                  ("normalize", [a], {"p": p, "dim": 1, "eps": 9.0}), ("pdist", [a], {"p": p}),
                                  ("cosine_similarity", [a, b], {"dim": 0}), ("cosine_similarity", [a, b], {"eps": 7.0})):
        if name == "normalize" and p == 0:
            continue    # torch has no such gradient
        x = [fastnn.tensor(v, requires_grad=True) for v in arrays]
        t = [torch.tensor(v, requires_grad=True) for v in arrays]
        y, want = getattr(F, name)(*x, **options), getattr(TF, name)(*t, **options)
        np.testing.assert_allclose(y.detach().numpy(), want.detach().numpy(), rtol=1e-10)
        g = rng.standard_normal(tuple(want.shape))
        y.backward(fastnn.tensor(g))
        want.backward(torch.tensor(g))
        for u, v in zip(x, t):
            expected = np.zeros_like(u.grad.numpy()) if v.grad is None else v.grad.numpy()     # torch gives none for p = 0
            np.testing.assert_allclose(u.grad.numpy(), expected, rtol=1e-8, atol=1e-10)


def test_threads_give_the_same_bits():
    x, t = (normal(300, 133).astype(np.float32) for _ in range(2))
    target = rng.randint(0, 133, 300)
    results = []
    for threads in (1, 2):
        loss, total, g = np.full((), np.nan, np.float32), np.full((), np.nan, np.float32), np.ones((), np.float32)
        lse, dx = np.full(300, np.nan, np.float32), np.full_like(x, np.nan)
        sizes = (1, 300, 133, 1, -100)
        native.call("cross_entropy_fwd", [x, target, None, loss, lse, total], sizes, threads=threads)
        native.call("cross_entropy_bwd", [x, target, None, lse, total, g, dx], sizes, threads=threads)
        mse = np.full((), np.nan, np.float32)
        native.call("mse_fwd", [x, t, None, None, mse, None], (1, x.size, 0, 0), (0, 0, 1 / x.size), threads=threads)
        results.append((loss, total, lse, dx, mse))
    for a, b in zip(*results):
        assert np.array_equal(a, b) and not np.isnan(a).any()
