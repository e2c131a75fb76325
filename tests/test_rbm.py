"""Boltzmann machines against enumeration, in float64; sampling, learning, determinism, messages."""
import subprocess
import sys

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn.boltzmann.training import compiled_step
from fastnn.core.tensor import from_array

ROWS = np.array([[int(c) for c in s] for s in ("101010", "110001", "000111", "011100")], np.float64)


def machine(visible="bernoulli", hidden="bernoulli", **options):
    """The 6 x 4 machine with known answers."""
    rbm = nn.RBM(6, 4, visible, hidden, dtype=np.float64, **options)
    j, i = np.mgrid[:4, :6]
    rbm.weight.array[...] = ((7 * j + 3 * i + i * i * (j + 1)) % 9 - 4) / 4
    rbm.vbias.array[...] = (np.arange(6) - 2) / 5
    rbm.hbias.array[...] = (1 - np.arange(4)) / 5
    return rbm


def states(n):
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.float64)


def exact_gradient(rbm):
    """Gradient of the mean negative log-likelihood of ROWS: the free energies' difference under enumeration."""
    v = states(6)
    p = np.exp(rbm.log_prob(v).array)
    loss = rbm.free_energy(ROWS).mean() - (rbm.free_energy(v) * from_array(p)).sum()
    loss.backward()
    return loss


def test_partition_functions_and_free_energies():
    rbm = machine()
    assert abs(rbm.log_partition() - 6.882044524713672) < 1e-13
    assert abs(np.logaddexp.reduce(-rbm.free_energy(states(6)).array) - 6.882044524713672) < 1e-13
    np.testing.assert_allclose(rbm.free_energy(ROWS).array, [-3.21281109, -1.55350112, -3.23661009, -2.03661009], atol=1e-8)
    assert abs(rbm.log_prob(ROWS).array.mean() + 4.372161426323668) < 1e-13
    np.testing.assert_allclose(rbm(ROWS).array[0], [.09112296, .73105858, .450166, .70056714], atol=1e-8)
    np.testing.assert_allclose(rbm.pseudo_log_likelihood(ROWS).array, [-3.61149558, -5.21534108, -3.81231802, -5.08605016], atol=1e-8)


def test_other_units_by_enumeration():
    v = [[.5, -1, 0, 1, .25, -.5]]
    rbm = machine("gaussian", learn_sigma=True)
    assert abs(rbm.log_partition() - 9.71037902756753) < 1e-12
    assert abs(rbm.free_energy(v).array[0] + 2.59502462) < 1e-8
    rbm.log_var.array[...] = np.log(0.25)
    assert abs(rbm.log_partition() - 12.992967866495082) < 1e-12
    assert abs(rbm.free_energy(v).array[0] + 7.13679289) < 1e-8
    rbm = machine("softmax", categories=3)
    assert abs(rbm.log_partition() - 4.890672480589302) < 1e-13
    assert abs(rbm.log_partition(given=[1, 0]) - 3.392777832994138) < 1e-13
    rbm = machine("multinomial")
    assert abs(rbm.log_partition(given=3) - 8.006361937011416) < 1e-13
    assert abs(rbm.log_partition(given=5) - 11.81651819828218) < 1e-13
    assert abs(rbm.log_prob([[2, 0, 1, 0, 0, 0]], rbm.log_partition(given=3)).array[0] + 6.0963348) < 1e-7
    rbm = machine(hidden="relu")
    assert abs(rbm.log_partition() - 7.5465237689645) < 1e-12
    assert abs(rbm.free_energy(ROWS).array[0] + 4.13273923) < 1e-8


def test_exact_gradient():
    rbm = machine()
    exact_gradient(rbm)
    dW = rbm.weight.grad.array
    np.testing.assert_allclose(dW[0], [-.05076751, -.0662938, .00258359, -.01498682, .02182673, -.03632449], atol=1e-8)
    assert abs(dW.sum() - .24624489462907967) < 1e-13
    assert abs(np.linalg.norm(dW) - .2773881791715212) < 1e-13
    np.testing.assert_allclose(rbm.vbias.grad.array, [-.02474267, -.20219575, .03581027, .11239615, .14716086, -.04746653], atol=1e-8)
    np.testing.assert_allclose(rbm.hbias.grad.array, [-.00942783, .04488182, .01307375, .05273381], atol=1e-8)


def test_class_rbm():
    net = nn.ClassRBM(6, 4, 3, dtype=np.float64)
    rbm = machine()
    j, k = np.mgrid[:4, :3]
    net.weight.array[...], net.hbias.array[...] = rbm.weight.array, rbm.hbias.array
    net.label_weight.array[...], net.label_bias.array[...] = ((2 * j + 3 * k) % 5 - 2) / 2, [.1, -.2, .3]
    np.testing.assert_allclose(nn.functional.softmax(net(ROWS), 1).array[0], [.35788518, .27493852, .36717629], atol=1e-8)


def label_machine():
    """A 4 x 3 machine with 3 classes, its 48 states (x, y one-hot) and the 8 of h."""
    net, rng = nn.ClassRBM(4, 3, 3, dtype=np.float64), np.random.default_rng(0)
    for p in net.parameters():
        p.array[...] = 0.7 * rng.standard_normal(p.shape)
    x, y = np.repeat(states(4), 3, 0), np.tile(np.eye(3), (16, 1))
    return net, x, y, states(3)


def test_class_rbm_energies_by_enumeration():
    net, x, y, h = label_machine()
    W, U, c, d, b = (p.array for p in (net.weight, net.label_weight, net.hbias, net.label_bias, net.vbias))
    joint = x @ b[:, None] + y @ d[:, None] + h @ c + (x @ W.T + y @ U.T) @ h.T
    exact = -np.logaddexp.reduce(joint, 1)
    np.testing.assert_allclose(net.free_energy(x, y.argmax(1)).array, exact, atol=1e-14)
    np.testing.assert_allclose(net.free_energy(states(4)).array, -np.logaddexp.reduce(-exact.reshape(16, 3), 1), atol=1e-14)
    p = np.exp(-exact.reshape(16, 3))
    np.testing.assert_allclose(nn.functional.softmax(net(states(4)), 1).array, p / p.sum(1, keepdims=True), atol=1e-14)


@pytest.mark.parametrize(("labelled", "k"), [(True, 1), (True, 3), (False, 1)])
def test_class_rbm_contrastive_gradient_is_right_on_average(labelled, k):
    """Against CD-k with the chains over (x, y) summed out, every parameter."""
    net, x, y, h = label_machine()
    W, U, c, d, b = (p.array for p in (net.weight, net.label_weight, net.hbias, net.label_bias, net.vbias))
    up = 1 / (1 + np.exp(-(x @ W.T + y @ U.T + c)))
    to_h = np.prod(np.where(h > 0, up[:, None], 1 - up[:, None]), 2)
    q = 1 / (1 + np.exp(-(h @ W + b)))
    labels = np.exp(h @ U + d)
    labels /= labels.sum(1, keepdims=True)
    to_xy = np.prod(np.where(x > 0, q[:, None], 1 - q[:, None]), 2) * labels[:, y.argmax(1)]
    rows = np.array([[1, 0, 1, 0], [0, 1, 1, 1], [1, 1, 0, 0.]])
    classes = np.array([0, 2, 1])
    at_rows = (x == rows[:, None]).all(2).astype(float)
    of_class = nn.functional.softmax(net(x), 1).array[np.arange(48), y.argmax(1)]
    start = (at_rows * (y.T[classes] if labelled else of_class)).mean(0)
    end = start @ np.linalg.matrix_power(to_h @ to_xy, k)
    if not labelled:                # F(x): classes are summed out in both phases
        end = np.repeat(end.reshape(16, 3).sum(1), 3) * of_class
    change = end - start
    expected = {"weight": (up.T * change) @ x, "label_weight": (up.T * change) @ y, "hbias": change @ up, "label_bias": change @ y,
                "vbias": change @ x}
    fastnn.manual_seed(4)
    n = 30000
    net.contrastive_loss(np.tile(rows, (n, 1)), np.tile(classes, n) if labelled else None, k).backward()
    for name, p in net.named_parameters():
        np.testing.assert_allclose(p.grad.array, expected[name], atol=4 * 0.5 / np.sqrt(3 * n), err_msg=name)


def test_class_rbm_hybrid_loss_is_the_sum_of_its_parts():
    net, x, y, _ = label_machine()
    classes, free = y.argmax(1), np.random.default_rng(1).random((5, 4))

    def gradients(loss):
        fastnn.manual_seed(6)
        net.zero_grad()
        loss().backward()
        return [0.0 if p.grad is None else p.grad.array.copy() for p in net.parameters()]

    def by_hand():
        return (nn.functional.cross_entropy(net(x), fastnn.from_numpy(classes)) + 0.3 * net.contrastive_loss(x, classes, 2)
                + 0.2 * net.contrastive_loss(free, k=2))

    for a, b in zip(gradients(lambda: net.hybrid_loss(x, classes, 0.3, free, 0.2, k=2)), gradients(by_hand), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-15)
    discriminative = gradients(lambda: net.hybrid_loss(x * 3, classes, alpha=0))
    assert np.all(discriminative[-1] == 0) and discriminative[0].any()


def test_class_rbm_learns_the_joint_distribution():
    fastnn.manual_seed(0)
    net = nn.ClassRBM(6, 8, 2, dtype=np.float64)
    classes, x = np.array([0, 1, 1, 0]), states(6)
    opt = optim.SGD(net.parameters(), lr=0.2, momentum=0.5)
    for _ in range(1500):
        opt.zero_grad()
        net.hybrid_loss(np.repeat(ROWS, 10, 0), np.repeat(classes, 10), alpha=1.0).backward()
        opt.step()
    log_z = np.logaddexp.reduce(-net.free_energy(x).array)
    assert (-net.free_energy(ROWS, classes).array - log_z).mean() > -2.6      # -4.85 at the start, -1.39 at best
    assert (net(ROWS).argmax(1).array == classes).all()


def test_class_rbm_messages():
    net = nn.ClassRBM(4, 3, 3)
    for x, y, kind, words in (([[2.0] * 4], [0], ValueError, r"\[0, 1\]"), ([[0.0] * 4], [3], ValueError, "from 0 to 2"),
                              ([[0.0] * 4], [-1], ValueError, "from 0 to 2"), ([[0.0] * 4], [0, 1], RuntimeError, "one per row"),
                              ([[0.0] * 4], [0.5], TypeError, "integers"), (np.zeros((0, 4)), np.zeros(0, int), ValueError, "no rows")):
        with pytest.raises(kind, match=words):
            net.contrastive_loss(np.array(x), y)
    with pytest.raises(ValueError, match="alpha"):
        net.hybrid_loss(np.zeros((1, 4)), [0], alpha=-1)
    with pytest.raises(ValueError, match="k must"):
        net.contrastive_loss(np.zeros((1, 4)), [0], k=0)
    net.weight.array[0, 0] = np.nan
    with pytest.raises(FloatingPointError, match="lower lr"):
        net.contrastive_loss(np.ones((1, 4)), [0])


def expected_cd(rbm, k):
    """Gradient of CD-k with the chains summed out."""
    v, h = states(6), states(4)
    p = 1 / (1 + np.exp(-(v @ rbm.weight.array.T + rbm.hbias.array)))
    q = 1 / (1 + np.exp(-(h @ rbm.weight.array + rbm.vbias.array)))
    up = np.prod(np.where(h[None] > 0, p[:, None], 1 - p[:, None]), 2)
    down = np.prod(np.where(v[None] > 0, q[:, None], 1 - q[:, None]), 2)
    start = np.array([(v == row).all(1) for row in ROWS]).mean(0)
    end = start @ np.linalg.matrix_power(up @ down, k)
    return (p.T * end) @ v - (p.T * start) @ v


@pytest.mark.parametrize("options", [{}, {"dropout": 1e-12}, {"k": 2}])
def test_cd_is_right_on_average(options):
    fastnn.manual_seed(1)
    rbm, n = machine(), 25000
    loss = rbm.contrastive_loss(np.tile(ROWS, (n, 1)), **options)
    loss.backward()
    expected = expected_cd(rbm, options.get("k", 1))
    np.testing.assert_allclose(rbm.weight.grad.array, expected, atol=4 * 0.5 / np.sqrt(4 * n))
    if not options:
        np.testing.assert_allclose(expected[0], [-.050606, -.062459, .002623, -.014373, .021213, -.030297], atol=1e-6)


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_fused_loss_is_the_difference_of_free_energies(visible):
    rbm, v = machine(visible), ROWS if visible == "bernoulli" else np.random.default_rng(0).standard_normal((5, 6))
    state = fastnn.get_rng_state()
    fused = rbm.contrastive_loss(v, k=1)
    fused.backward()
    gradients = [p.grad.array.copy() for p in rbm.parameters()]
    rbm.zero_grad()
    fastnn.set_rng_state(state)
    sample = rbm.gibbs(v, 1)
    loss = rbm.free_energy(v).mean() - rbm.free_energy(sample).mean()
    loss.backward()
    assert abs(loss.item() - fused.item()) < 1e-12
    for p, g in zip(rbm.parameters(), gradients, strict=True):
        np.testing.assert_allclose(p.grad.array, g, atol=1e-13)


@pytest.mark.parametrize("method", ["pcd", "pt", "fpcd"])
def test_persistent_chains_reach_the_model(method):
    fastnn.manual_seed(2)
    rbm = machine()
    for p in rbm.parameters():
        p.array[...] *= 0.7
    options = dict(chains=4000, fast_lr=0.0) if method == "fpcd" else dict(chains=4000)
    for _ in range(30):
        loss = rbm.contrastive_loss(ROWS, 1, method, **options)
    loss.backward()
    found = rbm.weight.grad.array.copy()
    rbm.zero_grad()
    exact_gradient(rbm)
    np.testing.assert_allclose(found, rbm.weight.grad.array, atol=4 * 0.5 / np.sqrt(4000))


@pytest.mark.parametrize("kind", ["bernoulli", "gaussian", "softmax", "multinomial"])
def test_ais_within_its_error_bars(kind):
    fastnn.manual_seed(3)
    rbm = machine(kind, **({"categories": 3} if kind == "softmax" else {}))
    given = 3 if kind == "multinomial" else None
    exact, hits = rbm.log_partition(given), 0
    for _ in range(5):
        found = rbm.ais_log_partition(np.linspace(0, 1, 300), 100, np.zeros(6), given)
        hits += found.low <= exact <= found.high
        assert found.high - found.low < 0.5
    assert hits >= 4


def test_ais_covers_the_exact_value_as_often_as_its_bars_claim():
    """100 seeds: within 3 standard errors nearly always, within 1 for about 68 of them (fewer: too narrow; more: too wide)."""
    rbm = machine()
    exact, wide, narrow = rbm.log_partition(), 0, 0
    for seed in range(100):
        fastnn.manual_seed(seed)
        found = rbm.ais_log_partition(np.linspace(0, 1, 100), 100, np.zeros(6))
        wide += found.low <= exact <= found.high
        error = (np.exp(found.high - found.value) - 1) / 3
        narrow += abs(np.exp(exact - found.value) - 1) <= error
    assert wide >= 98 and 55 <= narrow <= 80, (wide, narrow)


def test_centering_is_blind_to_flipped_data():
    rng = np.random.default_rng(0)
    v, s = (rng.integers(0, 2, (7, 6)).astype(np.float64) for _ in range(2))
    from fastnn.boltzmann.contrastive import centered_loss
    a, b = machine(), machine()
    b.weight.array[...] *= -1
    b.hbias.array[...] += a.weight.array.sum(1)
    b.vbias.array[...] *= -1
    centered_loss(a, from_array(v), from_array(s)).backward()
    centered_loss(b, from_array(1 - v), from_array(1 - s)).backward()
    np.testing.assert_allclose(b.weight.grad.array, -a.weight.grad.array, atol=1e-13)


def test_threads_and_compiled_step_give_the_same_bits():
    x = (np.random.default_rng(0).random((250, 130)) < 0.3).astype(np.float32)
    results = []
    before = fastnn.get_num_threads()
    for threads in (1, 2):
        for compiled in (True, False):
            for method in ("cd", "pcd"):
                fastnn.set_num_threads(threads)
                fastnn.manual_seed(5)
                rbm = nn.RBM(130, 70)
                opt = optim.SGD(rbm.param_groups(weight_decay=1e-3), lr=0.1, momentum=0.5)
                if compiled:
                    rbm.fit(x, 3, batch_size=50, optimizer=opt, shuffle=False, method=method)
                else:
                    for _ in range(3):
                        for i in range(0, 250, 50):
                            opt.zero_grad()
                            rbm.contrastive_loss(x[i:i + 50], method=method).backward()
                            opt.step()
                results.append((method, rbm.weight.array.copy()))
    fastnn.set_num_threads(before)
    for method in ("cd", "pcd"):
        same = [w for m, w in results if m == method]
        for w in same[1:]:
            np.testing.assert_array_equal(same[0], w)


def test_a_step_without_gradients_joins_statistics_and_update():
    x = (np.random.default_rng(0).random((60, 130)) < 0.3).astype(np.float32)
    found = []
    for gradients in (True, False):
        fastnn.manual_seed(5)
        rbm = nn.RBM(130, 70)
        step = compiled_step(rbm, optim.SGD(rbm.parameters(), lr=0.1), gradients=gradients)
        for first in range(0, 60, 10):
            step(from_array(x[first:first + 10]))
            assert all((p.grad is None) is not gradients for p in rbm.parameters())
        assert ("statistics + update" in step.explain()) is not gradients
        found.append(rbm.weight.array)
    np.testing.assert_array_equal(*found)


class Csr:
    """Rows in compressed form, with what a SciPy matrix shows of itself."""

    def __init__(self, dense):
        self.shape, self.dtype = dense.shape, dense.dtype
        self.row, self.column = np.nonzero(dense)
        self.value = dense[self.row, self.column]

    def toarray(self):
        dense = np.zeros(self.shape, self.dtype)
        dense[self.row, self.column] = self.value
        return dense

    def __getitem__(self, rows):
        return Csr(self.toarray()[rows])


def sparse_matrix(dense, kind):
    return Csr(dense) if kind == "duck" else getattr(pytest.importorskip("scipy.sparse"), kind)(dense)


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "duck"])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("visible", "method"), [("bernoulli", "cd"), ("bernoulli", "pcd"), ("multinomial", "cd")])
def test_sparse_rows_train_as_dense_ones(visible, method, shuffle, kind):
    rng = np.random.default_rng(0)
    dense = (rng.random((70, 33)) < 0.2) * (rng.integers(1, 4, (70, 33)) if visible == "multinomial" else 1)
    dense = dense.astype(np.float32)
    dense[:, 0] = 1             # no empty documents
    weights = []
    for X in (dense, sparse_matrix(dense, kind)):
        fastnn.manual_seed(3)
        rbm = nn.RBM(33, 17, visible, dtype=np.float32).fit(X, 3, batch_size=20, shuffle=shuffle, method=method)
        weights.append([p.array.copy() for p in rbm.parameters()])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian", "softmax", "multinomial"])
def test_fit_gives_the_same_bits_for_any_number_of_threads(visible):
    rng = np.random.default_rng(0)
    X = {"bernoulli": rng.random((130, 60)), "gaussian": rng.standard_normal((130, 60)), "softmax": rng.integers(-1, 3, (130, 20)),
         "multinomial": rng.integers(0, 3, (130, 60))}[visible]
    before, results = fastnn.get_num_threads(), []
    for threads in (1, 2):
        fastnn.set_num_threads(threads)
        fastnn.manual_seed(5)
        rbm = nn.RBM(60, 50, visible, categories=3 if visible == "softmax" else None).fit(X, 2, batch_size=50, k=2)
        results.append(np.concatenate([p.array.ravel() for p in rbm.parameters()]))
    fastnn.set_num_threads(before)
    np.testing.assert_array_equal(*results)


def test_learning_raises_the_likelihood():
    fastnn.manual_seed(0)
    data = np.repeat(ROWS, 25, 0)
    rbm = nn.RBM(6, 8, dtype=np.float64)
    before = rbm.log_prob(ROWS).array.mean()
    rbm.fit(data, 200, batch_size=20, weight_decay=0, lr=0.2)
    assert rbm.log_prob(ROWS).array.mean() > before + 1.5
    for options in (dict(sparsity_target=0.1), dict(centering=True), dict(method="pt"), dict(method="fpcd")):
        nn.RBM(6, 8, dtype=np.float64).fit(data, 2, **options)
    nn.RBM(6, 3, "softmax", categories=3).fit(np.array([[0, 2], [1, -1]]), 2)
    nn.RBM(6, 3, "multinomial").fit(np.array([[3, 0, 1, 0, 0, 2], [0, 1, 0, 0, 0, 0]]), 2)
    nn.RBM(6, 3, "gaussian", "relu").fit(np.random.default_rng(0).standard_normal((9, 6)), 2)


def test_clamped_units_stay_and_missing_ratings_are_absent():
    rbm = machine()
    clamp = np.array([1, 0, 1, 0, 0, 0], bool)
    np.testing.assert_array_equal(rbm.gibbs(ROWS, 5, clamp).array[:, clamp], ROWS[:, clamp])
    rbm = machine("softmax", categories=3)
    sample = rbm.gibbs(np.array([[0, -1]]), 3).array
    assert sample[0, :3].sum() == 1 and not sample[0, 3:].any()
    assert machine("multinomial").gibbs([[2, 0, 1, 0, 0, 4]], 2).array.sum() == 7


def test_messages():
    for bad, visible, words in (([[2.0] * 6], "bernoulli", r"\[0, 1\]"), ([[np.nan] * 6], "bernoulli", r"\[0, 1\]"),
                                ([[-1.0] * 6], "multinomial", "counts"), ([[np.inf] * 6], "gaussian", "not finite")):
        with pytest.raises(ValueError, match=words):
            nn.RBM(6, 4, visible).contrastive_loss(np.array(bad))
    with pytest.raises(ValueError, match="codes"):
        nn.RBM(6, 4, "softmax", categories=3)(np.array([[0, 3]]))
    with pytest.raises(RuntimeError, match="expected rows of 6"):
        nn.RBM(6, 4)(np.zeros((2, 5)))
    for options, words in [({"k": 0}, "k must"), ({"method": "pcd", "chains": 0}, "chains must"),
                           ({"method": "pcd", "chains": -3}, "chains must"), ({"dropout": 1}, "dropout must"),
                           ({"dropout": -0.1}, "dropout must")]:
        with pytest.raises(ValueError, match=words):
            nn.RBM(6, 3).contrastive_loss(np.zeros((2, 6), np.float32), **options)
    for options, words in [({"chains": 0}, "chains must"), ({"betas": []}, "must rise"), ({"betas": [0, np.nan, 1]}, "must rise")]:
        with pytest.raises(ValueError, match=words):
            nn.RBM(6, 3).ais_log_partition(**options)
    with pytest.raises(ValueError, match="method"):
        nn.RBM(6, 4).contrastive_loss(ROWS, method="x")


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("bad", "visible", "words"), [
    (1.5, "bernoulli", r"\[0, 1\].*scale the data"), (-0.1, "bernoulli", r"\[0, 1\].*scale the data"),
    (np.nan, "bernoulli", r"\[0, 1\].*got values from nan"), (np.inf, "bernoulli", r"\[0, 1\]"),
    (-1, "multinomial", "counts, whole numbers from 0; got values from -1"), (0.5, "multinomial", "whole numbers"),
    (np.nan, "multinomial", "not finite; remove or fill in"), (np.nan, "gaussian", "not finite; remove or fill in"),
    (-np.inf, "gaussian", "not finite; remove or fill in"), (np.nan, "softmax", "not finite"), (2.0, "softmax", "one-hot groups of 3")])
def test_bad_values_stop_the_fit_and_say_what_to_change(bad, visible, words, sparse):
    """One bad value in the last of many rows; nothing is clipped."""
    X = np.tile([[1, 0, 0, 0, 1, 0.0]], (30, 1))
    X[-1, 2] = bad
    rbm = nn.RBM(6, 4, visible, categories=3 if visible == "softmax" else None)
    with pytest.raises(ValueError, match=words):
        rbm.fit(Csr(X) if sparse else X, 1, batch_size=10, shuffle=False)
    for use in (rbm, rbm.free_energy, rbm.reconstruct, rbm.gibbs):
        with pytest.raises(ValueError, match=words):
            use(X)


@pytest.mark.parametrize("options", [{}, {"method": "pcd"}, {"centering": True}])
def test_divergence_is_an_error_that_names_the_rate(options):
    X = np.random.default_rng(0).standard_normal((60, 6)) * 30
    with pytest.raises(FloatingPointError, match=r"no longer finite.*lr"), np.errstate(all="ignore"):
        nn.RBM(6, 4, "gaussian").fit(X, 60, batch_size=20, lr=50.0, **options)


def test_nn_loads_the_machines_when_asked():
    code = "import sys, fastnn; assert 'fastnn.boltzmann' not in sys.modules; fastnn.nn.RBM; assert 'fastnn.boltzmann' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_state_and_resume():
    rbm = nn.RBM(6, 4)
    assert list(rbm.state_dict()) == ["weight", "hbias", "vbias"]
    rbm.contrastive_loss(ROWS, method="pcd")
    state = rbm.sampler_state()
    first = rbm.contrastive_loss(ROWS, method="pcd").item()
    rbm.load_sampler_state(state)
    assert rbm.contrastive_loss(ROWS, method="pcd").item() == first


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("rows", [10, 100])
def test_gradient_from_states_that_are_sparse_or_not(share, rows):
    """Biases of +-40 make the sample certain, so the gradient is known; the ways of the products differ with the share of ones."""
    rng = np.random.default_rng(3)
    data, on = (rng.random((rows, 300)) < share).astype(np.float32), rng.random(300) < share
    rbm = nn.RBM(300, 70)
    rbm.vbias.array[...] = np.where(on, 40, -40)
    rbm.contrastive_loss(data).backward()
    W, c, sample = rbm.weight.array.astype(float), rbm.hbias.array.astype(float), on.astype(float)[None]
    p, q = 1 / (1 + np.exp(-(data @ W.T + c))), 1 / (1 + np.exp(-(sample @ W.T + c)))
    np.testing.assert_allclose(rbm.weight.grad.array, q.T @ sample - p.T @ data / rows, atol=2e-6)
    np.testing.assert_allclose(rbm.hbias.grad.array, q[0] - p.mean(0), atol=2e-6)
    np.testing.assert_allclose(rbm.vbias.grad.array, sample[0] - data.mean(0), atol=2e-6)


def test_counts_are_whole_numbers_in_range():
    rbm, x = nn.RBM(4, 3), np.zeros((2, 4))
    for call, kind, words in (
            (lambda: nn.RBM(4.0, 3), TypeError, r"RBM: n_visible must be an int, got 4\.0 \(float\)"),
            (lambda: nn.RBM(4, 0), ValueError, "RBM: n_hidden must be at least 1, got 0"),
            (lambda: nn.ClassRBM(4, 3, 0), ValueError, "ClassRBM: n_classes must be at least 1"),
            (lambda: rbm.fit(x, -1), ValueError, "epochs must be at least 0, got -1"),
            (lambda: rbm.fit(x, batch_size=0), ValueError, "batch_size must be at least 1"),
            (lambda: rbm.fit(x, k=1.5), TypeError, "k must be an int"),
            (lambda: rbm.gibbs(x, -2), ValueError, "k must be at least 0"),
            (lambda: rbm.contrastive_loss(x, True), TypeError, "k must be an int"),
            (lambda: rbm.load_sampler_state({"chains": x}), KeyError, "'generator'; got the keys")):
        with pytest.raises(kind, match=words):
            call()
    assert rbm.chains is None       # nothing was taken from the state that was refused
