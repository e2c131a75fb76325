"""Layers wide enough to be shared out: the bits of the eager step for any number of threads, also when it changes between two replays."""
import numpy as np
import pytest
from compile_runs import OPTIMIZERS, assert_equal_runs, batches, train

import fastnn
from fastnn import nn, optim


def wide():
    """Weights of several blocks of a product and of an update, odd sizes; pieces that only a team that is awake shares out."""
    return nn.Sequential(nn.Linear(331, 333), nn.BatchNorm1d(333), nn.ReLU(), nn.Dropout(0.3), nn.Linear(333, 149), nn.Tanh(),
                         nn.Linear(149, 5))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_bit_for_bit(name, dtype):
    data = [(x.astype(dtype), y) for x, y in batches(6, rows=137, features=331)]

    def make():
        return wide().to(getattr(fastnn, dtype))
    eager = train(make, data, False, name, threads=1)
    for threads in (1, 2, 3):
        compiled = train(make, data, True, name, threads=threads)
        assert_equal_runs(eager, compiled)
    for p, q in zip(eager[2]._parameters(), compiled[2]._parameters()):
        for key, value in eager[2].optimizer.state[p].items():
            np.testing.assert_array_equal(value.numpy(), compiled[2].optimizer.state[q][key].numpy(), err_msg=key)


@pytest.mark.parametrize("rows", [1, 2, 17, 90, 300])
def test_batch_sizes(rows):
    data = batches(6, rows=rows, features=700, classes=300)

    def make():
        return nn.Sequential(nn.Linear(700, 300))
    assert_equal_runs(train(make, data, False, threads=1), train(make, data, True, threads=2))


def test_the_number_of_threads_changes_between_replays():
    data, before = batches(12, rows=137, features=331), fastnn.get_num_threads()
    losses, state, _ = train(wide, data, False, threads=1)
    step = train(wide, [], True)[2]
    try:
        for i, (x, y) in enumerate(data):
            fastnn.set_num_threads((1, 3, 2, 1, 2, 3)[i // 2])
            assert step(x, y).item() == losses[i]
    finally:
        fastnn.set_num_threads(before)
    for name, value in step.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), state[name], err_msg=name)


def test_groups_that_count_apart():
    """Powers that a thread remembers belong to a base and a step: two optimizers with other betas, one of them ahead."""
    results = []
    for alone in (True, False):
        fastnn.manual_seed(3)
        p, q = nn.Parameter(fastnn.ones(7)), nn.Parameter(fastnn.ones(7))
        first, second = optim.Adam([p], lr=0.1, betas=(0.9, 0.99)), optim.RAdam([q], lr=0.1, betas=(0.8, 0.9))
        if alone:
            order = [first] * 5 + [second] * 9
        else:
            order = [second, second, first, second, first, second, second, first, second, first, second, second, first, second]
        for optimizer in order:
            optimizer.zero_grad()
            (p.square() + q.square() * 3).sum().backward()
            optimizer.step()
        results.append((p.detach().numpy().copy(), q.detach().numpy().copy()))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
