"""Updates that are part of the product that makes their gradient, or of one launch: the bits of the eager step."""
import numpy as np
import pytest
from compile_runs import OPTIMIZERS, assert_equal_runs, batches, train

import fastnn
from fastnn import nn


def large(inputs=40, width=1733):
    return nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 5))


@pytest.mark.parametrize("rows", [45, 300])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_large_update_is_joined_to_the_product_that_makes_its_gradient(name, rows):
    data = batches(4, rows=rows, features=40)
    eager = train(large, data, False, name)
    for threads in (1, 2):
        compiled = train(large, data, True, name, threads=threads)
        assert_equal_runs(eager, compiled)
        assert compiled[2].explain().count("matmul_update") == 1
    for p, q in zip(eager[2]._parameters(), compiled[2]._parameters()):
        np.testing.assert_array_equal(p.grad.numpy(), q.grad.numpy())
        for key, value in eager[2].optimizer.state[p].items():
            np.testing.assert_array_equal(value.numpy(), compiled[2].optimizer.state[q][key].numpy(), err_msg=key)


def test_large_updates_of_other_layouts_are_joined():
    """Weights in rows and in columns, in float64; fewer rows than a block of k, a first layer without dX."""
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(fastnn.randn(1501, 1500, dtype=fastnn.float64) / 40)
            self.other = nn.Parameter(fastnn.randn(1501, 1500, dtype=fastnn.float64) / 40)

        def forward(self, x):
            return x @ self.weight @ self.other.T

    rng = np.random.default_rng(7)
    for rows in (3, 20, 130):
        data = [tuple(fastnn.from_numpy(rng.standard_normal((rows, 1501))) for _ in range(2)) for _ in range(4)]
        eager = train(Turned, data, False, loss=nn.MSELoss())
        for threads in (1, 2):
            compiled = train(Turned, data, True, loss=nn.MSELoss(), threads=threads)
            assert_equal_runs(eager, compiled)
            assert "matmul_update" in compiled[2].explain()


def test_a_large_update_is_not_joined_where_others_see_the_gradient():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.shared, self.last = nn.Linear(40, 1733), nn.Linear(1733, 1733), nn.Linear(1733, 5)

        def forward(self, x):
            return self.last(self.shared(self.shared(self.first(x)).relu()))

    data = batches(4, rows=45, features=40)
    for make, options in ((Tied, {}), (large, dict(max_norm=0.1)), (large, dict(clip_value=1e-3))):
        compiled = train(make, data, True, **options)
        assert_equal_runs(train(make, data, False, **options), compiled)
        assert "matmul_update" not in compiled[2].explain()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_updates_of_a_step_are_one_launch(name):
    """Parameters of one block and of several, an odd number of them; more than one launch can hold."""
    def make():
        narrow = [layer for _ in range(16) for layer in (nn.Linear(3, 3), nn.Tanh())]
        return nn.Sequential(nn.Linear(40, 900), nn.ReLU(), nn.Linear(900, 37), nn.ReLU(), nn.Linear(37, 3), *narrow,
                             nn.Linear(3, 5, bias=False))

    data = batches(4, rows=20, features=40)
    eager = train(make, data, False, name)
    for threads in (1, 2, 3):
        compiled = train(make, data, True, name, threads=threads)
        assert_equal_runs(eager, compiled)
        assert compiled[2].explain().count("update_beside") == 37
        assert "32 updates, 7 updates" in compiled[2].explain()


def test_updates_of_one_memory_are_not_one_launch():
    class Overlapping(nn.Module):
        def __init__(self):
            super().__init__()
            both = fastnn.randn(8, 5)
            self.upper, self.lower = nn.Parameter(both[:6]), nn.Parameter(both[2:])

        def forward(self, x):
            return x[:, :6] @ self.upper + x[:, 2:] @ self.lower

    data = batches(5, rows=9, features=8)
    compiled = train(Overlapping, data, True, "SGD")
    assert_equal_runs(train(Overlapping, data, False, "SGD"), compiled)
    assert "update_beside" not in compiled[2].explain()
