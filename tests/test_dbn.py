"""Deep belief networks: the stack as one model, hand-over to a network, sampling."""
import numpy as np
import pytest

import fastnn
from fastnn import nn


def test_mlp_equals_the_stack():
    dbn = nn.DBN([6, 5, 4])
    x = np.random.default_rng(0).integers(0, 2, (9, 6)).astype(np.float32)
    dbn.pretrain(x, epochs=2, batch_size=4)
    np.testing.assert_array_equal(dbn.to_mlp()(fastnn.from_numpy(x)).array, dbn(x).array)
    assert dbn.to_mlp(3, dropout=0.5)(fastnn.from_numpy(x)).shape == (9, 3)
    assert dbn.to_autoencoder()(fastnn.from_numpy(x)).shape == (9, 6)
    assert dbn.sample(7, k=3).shape == (7, 6)


def test_second_machine_from_the_transposed_first_keeps_the_likelihood():
    dbn = nn.DBN([5, 4, 5], dtype=np.float64)
    first, second = dbn.rbms
    rng = np.random.default_rng(1)
    for p in first.parameters():
        p.array[...] = rng.standard_normal(p.shape)
    second.weight.array[...] = first.weight.array.T
    second.hbias.array[...], second.vbias.array[...] = first.vbias.array, first.hbias.array
    v, h = ((np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.float64) for n in (5, 4))
    q = first.mean_visible(fastnn.from_numpy(h)).array
    given_h = np.prod(np.where(v[:, None] > 0, q, 1 - q), 2)
    np.testing.assert_allclose(given_h @ np.exp(second.log_prob(h).array), np.exp(first.log_prob(v).array), atol=1e-14)


def test_messages():
    with pytest.raises(ValueError, match="sizes"):
        nn.DBN([6])
    with pytest.raises(ValueError, match="kinds"):
        nn.DBN([6, 4, 3], hidden=["relu"])
