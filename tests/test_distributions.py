"""Distributions: log-probabilities, entropies, divergences and their gradients against torch, samples against their moments."""
import numpy as np
import pytest

import fastnn
from fastnn import distributions as D
from fastnn.autograd import gradcheck

RNG = np.random.default_rng(0)
REAL, POSITIVE, OTHER = RNG.standard_normal((2, 3)), RNG.random((2, 3)) + 0.3, RNG.random((2, 3)) + 0.5
PROBS = RNG.dirichlet(np.ones(4), (2, 3))
FACTOR = np.tril(RNG.standard_normal((2, 3, 3)), -1) + np.eye(3) * [[[1.0], [0.5], [2.0]]]

# class, names of its parameters and two sets of them, a value
CASES = {
    "Normal": (("loc", "scale"), (REAL, POSITIVE), (REAL[::-1], OTHER), RNG.standard_normal((5, 2, 3))),
    "LogNormal": (("loc", "scale"), (REAL, POSITIVE), (REAL[::-1], OTHER), RNG.random((5, 2, 3)) + 0.1),
    "Laplace": (("loc", "scale"), (REAL, POSITIVE), (REAL[::-1], OTHER), RNG.standard_normal((5, 2, 3))),
    "Exponential": (("rate",), (POSITIVE,), (OTHER,), RNG.random((5, 2, 3))),
    "Uniform": (("low", "high"), (REAL, REAL + POSITIVE), (REAL - 0.1, REAL + 2), REAL + 0.2),
    "Gamma": (("concentration", "rate"), (POSITIVE, OTHER), (OTHER, POSITIVE), RNG.random((5, 2, 3)) + 0.1),
    "Beta": (("concentration1", "concentration0"), (POSITIVE, OTHER), (OTHER, POSITIVE), RNG.random((5, 2, 3))),
    "Dirichlet": (("concentration",), (POSITIVE,), (OTHER,), RNG.dirichlet(np.ones(3), (5, 2))),
    "Bernoulli": (("probs",), (POSITIVE / 2,), (OTHER / 2,), (RNG.random((5, 2, 3)) < 0.5) * 1.0),
    "Bernoulli logits": (("logits",), (REAL,), (OTHER,), (RNG.random((5, 2, 3)) < 0.5) * 1.0),
    "Categorical": (("probs",), (PROBS * 3,), (PROBS[:, ::-1],), RNG.integers(0, 4, (5, 2, 3))),
    "Categorical logits": (("logits",), (PROBS * 3,), (PROBS[:, ::-1],), RNG.integers(0, 4, (5, 2, 3))),
    "OneHotCategorical": (("logits",), (PROBS * 3,), (PROBS[:, ::-1],), np.eye(4)[RNG.integers(0, 4, (5, 2, 3))]),
    "Poisson": (("rate",), (POSITIVE,), (OTHER,), RNG.integers(0, 4, (5, 2, 3)) * 1.0),
    "MultivariateNormal scale": (("loc", "scale_tril"), (REAL, FACTOR), (REAL[::-1], FACTOR[::-1]), RNG.standard_normal((5, 2, 3))),
    "MultivariateNormal": (("loc", "covariance_matrix"), (REAL, FACTOR @ FACTOR.swapaxes(1, 2)), (REAL[::-1], np.eye(3)),
                           RNG.standard_normal((5, 2, 3))),
    "MultivariateNormal precision": (("loc", "precision_matrix"), (REAL, FACTOR @ FACTOR.swapaxes(1, 2)), (REAL[::-1], np.eye(3)),
                                     RNG.standard_normal((5, 2, 3))),
}


def made(m, distributions, case, which=1):
    """The distribution, and its parameters as leaves."""
    names, *rest = CASES[case]
    leaves = [m.tensor(np.ascontiguousarray(p), requires_grad=True) for p in rest[which - 1]]
    return getattr(distributions, case.split()[0])(**dict(zip(names, leaves))), leaves


def quantities(m, distributions, case, p, q):
    value = m.tensor(CASES[case][3])
    yield "log_prob", p.log_prob(value)
    yield "kl", distributions.kl_divergence(p, q)
    yield "mean", p.mean
    yield "variance", p.variance
    if case != "Poisson":
        yield "entropy", p.entropy()
        yield "perplexity", p.perplexity()
    if case.split()[0] in ("Normal", "Laplace", "Exponential", "Uniform"):
        yield "cdf", p.cdf(value)
        yield "icdf", p.icdf(p.cdf(value))
    if case.split()[0] not in ("Uniform", "Dirichlet", "Beta", "Gamma"):
        yield "mode", p.mode


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_torchs(case):
    torch = pytest.importorskip("torch")
    found = []
    for m, distributions in ((torch, torch.distributions), (fastnn, D)):
        p, leaves = made(m, distributions, case)
        q, others = made(m, distributions, case, 2)
        mine = dict(quantities(m, distributions, case, p, q))
        total = sum((y * y.sin()).sum() for n, y in mine.items() if y.dtype == m.float64 and not bool(y.isnan().any()) and n != "mode")
        total.backward()
        found.append(({n: np.asarray(y.detach()) for n, y in mine.items()}, [np.asarray(x.grad) for x in leaves + others],
                      tuple(p.batch_shape), tuple(p.event_shape), repr(p)))
    (wanted, wanted_grads, *wanted_rest), (mine, grads, *rest) = found
    assert rest[:2] == wanted_rest[:2] and (rest[2] == wanted_rest[2] or "()" in wanted_rest[2])      # torch's own slip
    for name in wanted:
        np.testing.assert_allclose(mine[name], wanted[name], rtol=1e-6, atol=1e-9, err_msg=name)
    for g, w in zip(grads, wanted_grads):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_samples_have_their_moments(case):
    fastnn.manual_seed(3)
    p, _ = made(fastnn, D, case)
    x = p.sample((20000,))
    assert not x.requires_grad and x.shape == (20000, *p.batch_shape, *p.event_shape)
    if "Categorical" == case.split()[0]:
        x, mean = (x.unsqueeze(-1) == fastnn.arange(4)).double(), p.probs
        spread = (mean * (1 - mean)).sqrt()
    else:
        mean, spread = p.mean, p.stddev
    error = ((x.mean(0) - mean) / (spread / 20000 ** 0.5)).abs().max()
    assert float(error) < 5, error
    if p.has_rsample:
        fastnn.manual_seed(3)
        y = p.rsample((4,))
        assert y.requires_grad
        fastnn.manual_seed(3)
        np.testing.assert_allclose(p.sample((4,)).numpy(), y.detach().numpy(), rtol=1e-12)
    else:
        with pytest.raises(NotImplementedError, match="without gradient"):
            p.rsample()


@pytest.mark.parametrize("case", ["Normal", "Laplace", "Uniform", "Exponential", "LogNormal", "MultivariateNormal scale"])
def test_samples_carry_gradients(case):
    names, parameters, *_ = CASES[case]

    def draw(*leaves):
        fastnn.manual_seed(1)
        return getattr(D, case.split()[0])(**dict(zip(names, leaves)), validate_args=False).rsample((2,))
    assert gradcheck(draw, [fastnn.tensor(p, requires_grad=True) for p in parameters])


@pytest.mark.parametrize("case", ["Normal", "Uniform", "Exponential", "Laplace", "Categorical", "Categorical logits"])
def test_samples_are_torchs_under_one_seed(case):
    torch = pytest.importorskip("torch")
    torch.manual_seed(7)
    fastnn.manual_seed(7)
    wanted = made(torch, torch.distributions, case)[0].sample((3,))
    np.testing.assert_allclose(made(fastnn, D, case)[0].sample((3,)).numpy(), wanted.numpy(), rtol=1e-6)


def test_gamma_of_small_shape_is_no_zero():
    x = D.Beta(fastnn.full((1000,), 0.01), 0.01).sample()
    assert bool(((x >= 0) & (x <= 1)).all()) and 0.3 < float(x.mean()) < 0.7


def test_independent_sums_over_its_axes():
    base = D.Normal(fastnn.zeros(4, 3), fastnn.ones(3))
    p, q = D.Independent(base, 1), D.Independent(D.Normal(fastnn.ones(4, 3), 1.0), 1)
    assert (p.batch_shape, p.event_shape, p.has_rsample) == ((4,), (3,), True)
    assert p.log_prob(p.sample((5,))).shape == (5, 4)
    np.testing.assert_allclose(D.kl_divergence(p, q).numpy(), 1.5)
    assert repr(p) == "Independent(Normal(loc: torch.Size([4, 3]), scale: torch.Size([4, 3])), 1)"
    assert p.expand((2, 4)).sample().shape == (2, 4, 3)


def test_expand_and_enumerate():
    p = D.Categorical(probs=fastnn.tensor([0.2, 0.8])).expand((3,))
    assert p.sample().shape == (3,) and p.enumerate_support().shape == (2, 3)
    np.testing.assert_allclose(p.log_prob(p.enumerate_support()).exp().sum(0).numpy(), 1, rtol=1e-6)
    assert D.Bernoulli(0.3).enumerate_support().tolist() == [0.0, 1.0]


@pytest.mark.parametrize("call, words", [
    (lambda: D.Normal(0.0, -1.0), "Expected parameter scale .* to satisfy the constraint GreaterThan"),
    (lambda: D.Uniform(1.0, 0.0), "Expected parameter low .* LessThan"),
    (lambda: D.Categorical(fastnn.tensor([-1.0, 2.0])), "Expected parameter probs .* Simplex"),
    (lambda: D.Categorical(), "Either `probs` or `logits`"),
    (lambda: D.Categorical(fastnn.tensor(1.0)), "at least one-dimensional"),
    (lambda: D.Bernoulli(0.5).log_prob(fastnn.tensor(0.5)), r"within the support \(Boolean"),
    (lambda: D.Categorical(fastnn.ones(3)).log_prob(fastnn.tensor(7)), r"IntegerInterval\(lower_bound=0, upper_bound=2"),
    (lambda: D.Normal(fastnn.zeros(3), 1.0).log_prob(fastnn.zeros(4)), "not broadcastable with batch_shape"),
    (lambda: D.Normal(0.0, 1.0).log_prob(3), "must be a Tensor"),
    (lambda: D.Normal("0", 1.0), "must all be instances of Number"),
])
def test_wrong_parameters_and_values(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_unknown_divergences_and_registration():
    with pytest.raises(NotImplementedError, match="p type Normal and q type Bernoulli"):
        D.kl_divergence(D.Normal(0.0, 1.0), D.Bernoulli(0.5))
    assert D.kl_divergence(D.Bernoulli(0.5), D.Bernoulli(0.0)) == float("inf")
    assert D.kl_divergence(D.Categorical(fastnn.tensor([0.5, 0.5])), D.Categorical(fastnn.tensor([1.0, 0.0]))) == float("inf")

    class Own(D.Normal):
        pass

    @D.register_kl(Own, D.Normal)
    def rule(p, q):
        return 7
    assert D.kl_divergence(Own(0.0, 1.0), D.Normal(0.0, 1.0)) == 7


def test_checks_can_be_left_out():
    assert float(D.Normal(0.0, -1.0, validate_args=False).scale) == -1
    D.Distribution.set_default_validate_args(False)
    try:
        D.Normal(0.0, -1.0)
    finally:
        D.Distribution.set_default_validate_args(True)


@pytest.mark.parametrize("name, points", [("erfinv", np.linspace(-0.999, 0.999, 101)), ("sinc", np.linspace(-3, 3, 13))])
def test_special_functions(name, points):
    assert gradcheck(getattr(fastnn, name), fastnn.tensor(points, requires_grad=True), atol=1e-4)
    torch = pytest.importorskip("torch")
    for edges in (points, [0.0, 1.0, -1.0, 1.5, float("nan")]):
        for dtype in ("float32", "float64"):
            wanted = getattr(torch, name)(torch.tensor(edges, dtype=getattr(torch, dtype)))
            found = getattr(fastnn, name)(fastnn.tensor(edges, dtype=dtype))
            assert found.dtype == dtype
            np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-6, atol=1e-6)
