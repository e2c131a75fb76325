"""Embedding, bags and one-hot vectors against torch."""
import numpy as np
import pytest

import fastnn
import fastnn.nn.functional as F
from fastnn import nn

torch = pytest.importorskip("torch", reason="torch is the reference")
TF = torch.nn.functional

rng = np.random.RandomState(0)


def both(a):
    return fastnn.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("V, D", [(7, 3), (5000, 67)])
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (700,), (0,)])
@pytest.mark.parametrize("options", [{}, {"padding_idx": -1}, {"scale_grad_by_freq": True}, {"max_norm": 0.8, "norm_type": 1.5},
                                     {"padding_idx": 2, "max_norm": 1.0}])
def test_embedding(V, D, shape, options, dtype):
    index = np.asarray(rng.randint(0, V, shape))
    w, t = both(rng.standard_normal((V, D)).astype(dtype))
    y, want = F.embedding(fastnn.tensor(index), w, **options), TF.embedding(torch.tensor(index), t, **options)
    np.testing.assert_allclose(y.detach().numpy(), want.detach().numpy(), rtol=1e-6)
    g = rng.standard_normal(tuple(want.shape)).astype(dtype)
    y.backward(fastnn.tensor(g))
    want.backward(torch.tensor(g))
    np.testing.assert_allclose(w.grad.numpy(), t.grad.numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(w.detach().numpy(), t.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("padding", [None, 1])
@pytest.mark.parametrize("weighted", [False, True])
def test_embedding_bag(mode, last, padding, weighted):
    if weighted and mode != "sum":
        pytest.skip("weights per sample exist for sums only")
    index, offsets = rng.randint(0, 7, 12), np.array([0, 3, 3, 9] + [12] * last)
    w, t = both(rng.standard_normal((7, 35)))
    s, ts = both(rng.standard_normal(12)) if weighted else (None, None)
    options = {"mode": mode, "include_last_offset": last, "padding_idx": padding}
    y = F.embedding_bag(fastnn.tensor(index), w, fastnn.tensor(offsets), per_sample_weights=s, **options)
    want = TF.embedding_bag(torch.tensor(index), t, torch.tensor(offsets), per_sample_weights=ts, **options)
    np.testing.assert_allclose(y.detach().numpy(), want.detach().numpy(), rtol=1e-9)
    g = rng.standard_normal(tuple(want.shape))
    y.backward(fastnn.tensor(g))
    want.backward(torch.tensor(g))
    np.testing.assert_allclose(w.grad.numpy(), t.grad.numpy(), rtol=1e-9, atol=1e-12)
    if weighted:
        np.testing.assert_allclose(s.grad.numpy(), ts.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_bag_gradient_by_frequency():
    """Each row's gradient is divided by how often the row is used."""
    w = fastnn.tensor(np.ones((4, 2)), requires_grad=True)
    F.embedding_bag(fastnn.tensor([[1, 1, 2]]), w, mode="sum", scale_grad_by_freq=True).sum().backward()
    assert w.grad.numpy()[:, 0].tolist() == [0, 1, 1, 0]


def test_errors():
    w = fastnn.tensor(np.ones((3, 2)))
    for bad in (3, -1):
        with pytest.raises(IndexError, match="index out of range in self"):
            F.embedding(fastnn.tensor([0, bad]), w)
    with pytest.raises(RuntimeError, match=r"offsets\[0\] has to be 0"):
        F.embedding_bag(fastnn.tensor([0, 1]), w, fastnn.tensor([1]))
    with pytest.raises(NotImplementedError, match="sparse"):
        nn.Embedding(3, 2, sparse=True)


def test_one_hot():
    assert F.one_hot(fastnn.tensor([0, 2])).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert F.one_hot(fastnn.tensor([[1]]), 3).shape == (1, 1, 3)
    with pytest.raises(RuntimeError, match="smaller than num_classes"):
        F.one_hot(fastnn.tensor([3]), 3)


def test_padding_row_starts_as_zeros():
    m = nn.Embedding(5, 3, padding_idx=-2)
    assert not m.weight[3].detach().numpy().any() and m.weight[2].detach().numpy().any()
    assert nn.Embedding.from_pretrained(fastnn.tensor(np.ones((2, 3)))).weight.requires_grad is False
