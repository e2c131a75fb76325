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


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_autoencoder_unrolls_the_stack(visible):
    """Means up, a linear code, means down by the transposed weights; copies, not views."""
    dbn, rng = nn.DBN([6, 5, 4, 3], visible, dtype=np.float64), np.random.default_rng(0)
    for p in dbn.parameters():
        p.array[...] = rng.standard_normal(p.shape)
    first, second, top = dbn.rbms
    x = rng.random((9, 6))
    code = second(first(x)).array @ top.weight.array.T + top.hbias.array
    down = second.mean_visible(top.mean_visible(fastnn.from_numpy(code)))
    network = dbn.to_autoencoder()
    np.testing.assert_allclose(network(fastnn.from_numpy(x)).detach().array, first.mean_visible(down).array, atol=1e-14)
    for p in network.parameters():
        p.array[...] = 0
    assert all(p.array.any() for p in dbn.parameters())


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


# ---- up-down fine-tuning -----------------------------------------------------------------------------------------------
ROWS = np.array([[int(c) for c in s] for s in ("10101", "11000", "00011", "01110")], np.float64)


def states(n):
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.float64)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def chances(mean, outcomes):
    """p(outcome) per row of means and row of outcomes."""
    return np.prod(np.where(outcomes > 0, mean[:, None], 1 - mean[:, None]), 2)


def untied_network():
    dbn, rng = nn.DBN([5, 4, 3], dtype=np.float64).untie(), np.random.default_rng(2)
    for p in dbn.parameters():
        p.array[...] = 0.8 * rng.standard_normal(p.shape)
    return dbn


def parts(dbn):
    """By enumeration: q(h|v) of all 32 v, p(v|h) of all 16 h, log p(h) of the top machine."""
    first, top = dbn.rbms
    q = chances(sigmoid(states(5) @ first.weight.array.T + first.hbias.array), states(4))
    p = chances(sigmoid(states(4) @ dbn.down_weight(0).array + first.vbias.array), states(5))
    return q, p, top.log_prob(states(4)).array


def exact_log_prob(dbn):
    """Mean over ROWS of log p(v), and of its bound by q."""
    q, p, log_top = parts(dbn)
    at = (states(5) == ROWS[:, None]).all(2).argmax(1)
    joint = np.log(p[:, at].T) + log_top
    return np.logaddexp.reduce(joint, 1).mean(), (q[at] * (joint - np.log(q[at]))).sum(1).mean()


@pytest.mark.parametrize("k", [1, 3])
def test_up_down_gradient_is_right_on_average(k):
    """Every parameter, with all draws of wake and sleep summed out."""
    dbn = untied_network()
    first, top = dbn.rbms
    v, h, (q, p, _) = states(5), states(4), parts(dbn)
    data = (v == ROWS[:, None]).all(2).mean(0)
    wake = data[:, None] * q                                                                # (v, h)
    up = sigmoid(h @ top.weight.array.T + top.hbias.array)
    step = chances(up, states(3)) @ chances(sigmoid(states(3) @ top.weight.array + top.vbias.array), h)
    dream = wake.sum(0) @ np.linalg.matrix_power(step, k)
    sleep = (dream[:, None] * p).T                                                          # (v, h)
    generated, recognised = sigmoid(h @ dbn.generative[0].array + first.vbias.array), sigmoid(v @ first.weight.array.T + first.hbias.array)
    missed = generated[None] - v[:, None]                                                   # (v, h, visible)
    unseen = recognised[:, None] - h[None]                                                  # (v, h, hidden)
    change = dream - wake.sum(0)
    expected = {"generative.0": np.einsum("vh,hj,vhi->ji", wake, h, missed), "rbms.0.vbias": np.einsum("vh,vhi->i", wake, missed),
                "rbms.0.weight": np.einsum("vh,vhj,vi->ji", sleep, unseen, v), "rbms.0.hbias": np.einsum("vh,vhj->j", sleep, unseen),
                "rbms.1.weight": (up.T * change) @ h, "rbms.1.hbias": change @ up, "rbms.1.vbias": change @ h}
    fastnn.manual_seed(1)
    n = 25000
    dbn.up_down_loss(np.tile(ROWS, (n, 1)), k).backward()
    assert {name for name, _ in dbn.named_parameters()} == set(expected)
    for name, parameter in dbn.named_parameters():
        np.testing.assert_allclose(parameter.grad.array, expected[name], atol=4 * 0.5 / np.sqrt(4 * n), err_msg=name)


def test_bound_by_enumeration():
    dbn = untied_network()
    likelihood, bound = exact_log_prob(dbn)
    fastnn.manual_seed(1)
    draws = np.array([dbn.log_prob_bound(ROWS, draws=200).array.mean() for _ in range(20)])
    assert bound < likelihood
    assert abs(draws.mean() - bound) < 4 * draws.std() / np.sqrt(20) < 0.1


def test_up_down_raises_likelihood_and_bound():
    fastnn.manual_seed(0)
    data = np.repeat(ROWS, 25, 0)
    dbn = nn.DBN([5, 4, 3], dtype=np.float64).pretrain(data, 60, lr=0.2, batch_size=20)
    likelihood, bound = exact_log_prob(dbn)
    losses = []
    dbn.up_down(data, 150, lr=0.1, batch_size=20, callbacks=[lambda epoch, network, loss: losses.append(loss)])
    better, better_bound = exact_log_prob(dbn)
    assert len(losses) == 150 and better > likelihood + 0.1 and better_bound > bound + 0.1, (likelihood, better, bound, better_bound)


def test_up_down_threads_and_compiled_step_give_the_same_bits():
    x = (np.random.default_rng(0).random((230, 60)) < 0.4).astype(np.float32)
    before, results = fastnn.get_num_threads(), []
    for threads, compiled in ((1, True), (2, True), (2, False)):
        fastnn.set_num_threads(threads)
        fastnn.manual_seed(0)
        dbn = nn.DBN([60, 40, 30, 20]).pretrain(x, 1)
        if compiled:
            dbn.up_down(x, 2, lr=0.1, shuffle=False)
        else:
            optimizer = fastnn.optim.SGD(dbn.untie().parameters(), lr=0.1, momentum=0.5)
            for i in (0, 100, 200) * 2:
                optimizer.zero_grad()
                dbn.up_down_loss(x[i:i + 100]).backward()
                optimizer.step()
        results.append(np.concatenate([p.array.ravel() for p in dbn.parameters()]))
    fastnn.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_untied_weights_go_down_and_not_up():
    dbn = nn.DBN([6, 5, 4], visible="gaussian").untie()
    x = fastnn.from_numpy(np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32))
    features = dbn(x).array
    dbn.generative[0].array[...] = 100.0
    dbn.rbms[0].vbias.array[...] = 1000.0
    np.testing.assert_array_equal(dbn(x).array, features)
    sample = dbn.sample(200, 2).array
    assert sample.max() > 1050 and sample.min() > 990
    assert (dbn.to_autoencoder()[-1].weight.array == 100).all() and (dbn.to_autoencoder()[0].weight.array != 100).all()
    copy = nn.DBN([6, 5, 4], visible="gaussian").untie()
    copy.load_state_dict(dbn.state_dict())
    assert (copy.down_weight(0).array == 100).all() and copy.down_weight(1) is copy.rbms[1].weight


def test_up_down_messages():
    with pytest.raises(RuntimeError, match="untie"):
        nn.DBN([6, 4, 3]).up_down_loss(np.zeros((2, 6)))
    with pytest.raises(ValueError, match="k must"):
        nn.DBN([6, 4, 3]).untie().up_down_loss(np.zeros((2, 6)), k=0)
    with pytest.raises(ValueError, match="no rows"):
        nn.DBN([6, 4, 3]).untie().up_down_loss(np.zeros((0, 6)))
    with pytest.raises(NotImplementedError, match="layer 0"):
        nn.DBN([6, 4, 3], hidden="relu").up_down(np.zeros((2, 6)))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        nn.DBN([6, 4, 3]).up_down(np.full((2, 6), 2.0))
    with pytest.raises(FloatingPointError, match="lr"):
        nn.DBN([6, 4, 3], visible="gaussian").up_down(np.full((20, 6), 1e3), 50, lr=1e3)


def test_messages():
    with pytest.raises(ValueError, match="sizes"):
        nn.DBN([6])
    with pytest.raises(ValueError, match="kinds"):
        nn.DBN([6, 4, 3], hidden=["relu"])
