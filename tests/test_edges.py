"""Edges of operations against torch: integers and bools, empty sizes, infinities, numbers that do not fit."""
import numpy as np
import pytest

import fastnn as fn

torch = pytest.importorskip("torch")


def test_integers_in_functions_of_floats():
    """What torch gives for integers and bools: values in place too, sizes 0 and () included."""
    x = np.array([-3, 0, 5], np.int32)
    a, b = fn.tensor(x), torch.tensor(x)
    assert fn.nn.functional.relu_(a[::2]).tolist() == [0, 5] and a.tolist() == torch.nn.functional.relu_(b).tolist() == [0, 0, 5]
    assert (-fn.tensor(5)).item() == -5 and (-fn.tensor(5)).dtype == np.int64
    assert fn.tensor([True, False]).square().tolist() == [1, 0] and fn.tensor([True]).square().dtype == np.int64
    assert (fn.zeros(0, 3, dtype=fn.uint8) // 0).shape == (0, 3)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        fn.tensor([1]) // 0
    with pytest.raises(NotImplementedError, match="fmod"):
        fn.fmod(fn.tensor([True]), fn.tensor([True]))
    target = fn.tensor([True, False])
    assert not target.copy_(fn.tensor([0.0, 2.0], requires_grad=True)).requires_grad and target.tolist() == [False, True]


def test_quotient_rounded_down_of_floats():
    x = np.array([0.3, -0.3, 7, -7, 0, 1, -1, np.inf, np.nan, 0.6, 1e30], "float64")
    y = np.array([4, 5, 0.1, 0, -0.0, -3.0, np.inf, 0.2], "float64")
    for dtype in ("float32", "float64"):
        p, q = x.astype(dtype)[:, None], y.astype(dtype)
        got = fn.floor_divide(fn.from_numpy(p), fn.from_numpy(q)).numpy()
        want = torch.floor_divide(torch.tensor(p), torch.tensor(q)).numpy()
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got)[~np.isnan(want)], np.signbit(want)[~np.isnan(want)])


def test_log_gamma_and_its_derivatives():
    for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-12)):
        x = np.array([1e-3, 0.4, 1, 1.46, 2, 3.3, 11.9, 12, 50, 1e4, -0.5, -2.3, -7.01], dtype)
        a, b = fn.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        for module, leaf in ((fn, a), (torch, b)):
            module.lgamma(leaf).sum().backward()
        np.testing.assert_allclose(a.digamma().detach().numpy(), b.digamma().detach().numpy(), tolerance, tolerance)
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), 10 * tolerance, tolerance)
    one = fn.tensor(1.0, dtype=fn.float64, requires_grad=True)
    one.digamma().backward()
    assert abs(one.grad.item() - np.pi ** 2 / 6) < 1e-14        # torch's own trigamma has nine digits
    x = fn.tensor([0.3, 5.0, 20.0, -1.7], dtype=fn.float64, requires_grad=True)
    assert fn.autograd.gradcheck(fn.digamma, (x,))
    edges = [0.0, -0.0, -1.0, np.inf, np.nan]
    np.testing.assert_array_equal(fn.digamma(fn.tensor(edges)).numpy(), torch.digamma(torch.tensor(edges)).numpy())


def test_selecting_functions_of_two_variables():
    x = np.array([1.0, np.nan, 2, np.nan, 0, -0.0, -3, 2], "float32")
    y = np.array([np.nan, 1.0, 1, np.nan, -1, -0.0, 2, 2], "float32")
    for name in ("fmax", "fmin", "copysign", "heaviside"):
        a, b = (fn.tensor(v, requires_grad=name != "heaviside") for v in (x, y))
        p, q = (torch.tensor(v, requires_grad=name != "heaviside") for v in (x, y))
        got, want = getattr(fn, name)(a, b), getattr(torch, name)(p, q)
        np.testing.assert_array_equal(got.detach().numpy(), want.detach().numpy(), name)
        np.testing.assert_array_equal(np.signbit(got.detach().numpy()), np.signbit(want.detach().numpy()), name)
        if name != "heaviside":
            got.sum().backward()
            want.sum().backward()
            number = ~np.isnan(x)
            np.testing.assert_array_equal(a.grad.numpy()[number], p.grad.numpy()[number], name)
    assert fn.copysign(fn.tensor([1, 2]), -1.0).tolist() == [-1.0, -2.0]
    assert torch.equal(torch.logit(torch.tensor([0.2, 0.9])), torch.tensor(fn.logit(fn.tensor([0.2, 0.9])).numpy()))
    assert fn.logit(fn.tensor([0.0]), 0.5).item() == 0


def test_numbers_that_do_not_fit_an_integer():
    hold = fn.tensor([True, False])
    assert fn.zeros(2, dtype=fn.int64).masked_fill(hold, -2.7).tolist() == [-2, 0]
    assert (~hold).masked_fill(hold, 2.5).tolist() == [True, True]
    assert fn.full((2,), -1, dtype=fn.uint8).tolist() == [255, 255] == fn.zeros(2, dtype=fn.uint8).fill_(-1).tolist()
    for call in (lambda: fn.zeros(2, dtype=fn.uint8).masked_fill(hold, 300), lambda: fn.full((2,), 300, dtype=fn.uint8),
                 lambda: fn.zeros(2, dtype=fn.int64).fill_(float("inf")), lambda: fn.zeros(2).masked_fill(hold, 1e300),
                 lambda: fn.nn.functional.pad(fn.zeros(2, dtype=fn.uint8), (1, 1), value=300)):
        with pytest.raises(RuntimeError, match="without overflow"):
            call()


@pytest.mark.parametrize("a, b", [((3, 1, 0, 2), (3, 1, 2, 5)), ((2, 4, 0), (0, 6)), ((7, 3, 5, 2), (2, 0)), ((0, 5), (1, 0, 5, 0)),
                                  ((1, 6), (2, 1, 6, 0)), ((2, 0, 3, 4), (4, 2)), ((0,), (2, 2, 0, 6))])
def test_products_of_nothing(a, b):
    ours = [fn.ones(*s, requires_grad=True) for s in (a, b)]
    theirs = [torch.ones(*s, requires_grad=True) for s in (a, b)]
    got, want = ours[0] @ ours[1], theirs[0] @ theirs[1]
    assert got.shape == tuple(want.shape) and not got.detach().numpy().any()
    got.sum().backward()
    for x in ours:
        assert x.grad.shape == x.shape and not x.grad.numpy().any()


def test_logsumexp_of_nothing_and_of_integers():
    assert fn.logsumexp(fn.zeros(0, 3), 0).tolist() == [-np.inf] * 3 and fn.logsumexp(fn.zeros(2, 0, 0), (1, 2)).tolist() == [-np.inf] * 2
    np.testing.assert_allclose(fn.logsumexp(fn.arange(3), 0).item(), torch.logsumexp(torch.arange(3), 0).item(), 1e-6)
    with pytest.raises(RuntimeError, match="multiple times"):
        fn.logsumexp(fn.zeros(2, 3), (1, -1))
    assert fn.zeros(2, 0).diff().shape == (2, 0) == fn.zeros(2, 1).diff(3).shape
    with pytest.raises(NotImplementedError, match="logcumsumexp"):
        fn.logcumsumexp(fn.tensor([1, 2]), 0)
    with pytest.raises(IndexError, match="non-zero size"):
        fn.zeros(2, 0).mode(1)
    with pytest.raises(NotImplementedError, match="bincount"):
        fn.bincount(fn.tensor([1.0]))
    with pytest.raises(RuntimeError, match="target out of range"):
        fn.nn.functional.multi_margin_loss(fn.zeros(1, 3), fn.tensor([3]))


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, float("inf")])
def test_distances_between_all_rows(p):
    rng = np.random.default_rng(0)
    for a, b in (((5, 3), (4, 3)), ((2, 1, 5, 3), (3, 4, 3)), ((0, 3), (4, 3)), ((2, 0), (3, 0))):
        x, y = rng.standard_normal(a), rng.standard_normal(b)
        mine, other = (fn.tensor(x, requires_grad=True), fn.tensor(y)), (torch.tensor(x, requires_grad=True), torch.tensor(y))
        got, want = fn.cdist(*mine, p), torch.cdist(*other, p)
        np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), 1e-12, 1e-12)
        got.sum().backward()
        want.sum().backward()
        np.testing.assert_allclose(mine[0].grad.numpy(), other[0].grad.numpy(), 1e-10, 1e-12)
    with pytest.raises(RuntimeError, match="columns"):
        fn.cdist(fn.zeros(2, 3), fn.zeros(2, 4))
    with pytest.raises(RuntimeError, match="2D"):
        fn.cdist(fn.zeros(3), fn.zeros(2, 3))


def test_gumbel_softmax():
    F = fn.nn.functional
    logits = fn.tensor(np.log([[0.7, 0.2, 0.1]] * 4000), requires_grad=True)
    fn.manual_seed(0)
    hard = F.gumbel_softmax(logits, hard=True)
    fn.manual_seed(0)
    soft = F.gumbel_softmax(logits, tau=0.5)
    assert set(hard.detach().numpy().ravel().round(6).tolist()) == {0.0, 1.0} and (hard.argmax(1) == soft.argmax(1)).all()
    np.testing.assert_allclose(hard.detach().numpy().mean(0), [0.7, 0.2, 0.1], atol=0.03)
    np.testing.assert_allclose(soft.sum(1).detach().numpy(), 1, 1e-12)
    (hard * fn.arange(3.0, dtype=fn.float64)).sum().backward()
    assert np.isfinite(logits.grad.numpy()).all() and logits.grad.abs().max() > 0


@pytest.mark.parametrize("dtype", ["float16", "longdouble"])
@pytest.mark.parametrize("operation", [
    lambda x: x + 1, lambda x: 1 - x, lambda x: x * 2, lambda x: x / 2, lambda x: 2 / x, lambda x: x + x, lambda x: x * x, lambda x: x**2,
    lambda x: 2**x, lambda x: x.clip(1, 9), lambda x: abs(x), lambda x: x.cumsum(0), lambda x: x.sum(), lambda x: x.mean()],
    ids="add rsub mul div rdiv add_tensor mul_tensor pow rpow clip abs cumsum sum mean".split())
def test_other_floats_are_no_kernels_floats(operation, dtype):
    """The kernels hold float32 and float64: what comes in another float is computed in one of these, not read as if it were one."""
    x = (np.arange(600) % 13 + 1).astype(dtype)
    y = operation(fn.from_numpy(x))
    assert y.dtype == x.dtype
    np.testing.assert_allclose(y.numpy().astype("f8"), operation(x.astype("f8")), rtol=2e-3)


NARROW = {
    "relu": lambda x, y: x.relu(), "sigmoid": lambda x, y: x.sigmoid(), "tanh": lambda x, y: x.tanh(), "neg": lambda x, y: -x,
    "maximum": fn.maximum, "minimum": fn.minimum, "pow": lambda x, y: (x.abs() + 1) ** y, "fmod": fn.fmod, "remainder": fn.remainder,
    "hypot": fn.hypot, "atan2": fn.atan2, "matmul": lambda x, y: x @ y.T, "batched matmul": lambda x, y: x.reshape(2, 2, 6) @ y.T,
    "mv": lambda x, y: x @ y[0], "logsumexp": lambda x, y: x.logsumexp(1), "logit": lambda x, y: fn.logit(x.sigmoid()),
    "norm": lambda x, y: x.norm(), "3-norm": lambda x, y: x.norm(3, 1), "std": lambda x, y: x.std(), "var": lambda x, y: x.var(0),
    "prod": lambda x, y: x.prod(1), "dist": fn.dist, "nanmean": lambda x, y: x.nanmean(),
    "reflect": lambda x, y: fn.nn.functional.pad(x, (1, 2), "reflect")}


@pytest.mark.parametrize("name", NARROW)
def test_float16_is_computed_in_float32_with_its_gradient(name):
    rng = np.random.default_rng(0)
    data = [rng.standard_normal((4, 6)).astype(np.float16) for _ in range(2)]
    narrow = [fn.tensor(a, requires_grad=True) for a in data]
    wide = [fn.tensor(a.astype(np.float32), requires_grad=True) for a in data]
    got, want = NARROW[name](*narrow), NARROW[name](*wide)
    assert got.dtype == np.float16 and got.shape == want.shape
    np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=3e-3, atol=3e-3)
    got.float().sum().backward()
    want.sum().backward()
    for a, b in zip(narrow, wide):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            assert a.grad.dtype == np.float16
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=5e-3, atol=1e-2)


def test_long_reductions_of_float16_do_not_overflow_on_the_way():
    x = fn.from_numpy(np.full(70000, 3, np.float16))
    assert x.norm().item() == pytest.approx(794, abs=1) and x.var() == 0 and x.std() == 0
    assert fn.dist(x, -x).item() == pytest.approx(1587, abs=1)
    assert (x[:4] * 100).norm().item() == 600 and x.nanmean() == 3


def test_relu_in_place_of_float16():
    x = fn.tensor(np.float16([-1, 2]), requires_grad=True)
    y = x * 1
    fn.nn.functional.relu(y, inplace=True).sum().backward()
    assert y.tolist() == [0, 2] and x.grad.tolist() == [0, 1]


def test_gradient_of_float16():
    x = fn.from_numpy(np.linspace(1, 2, 600, dtype=np.float16)).requires_grad_()
    (x[100:300] * x[100:300]).expand(3, 200).sum(0)[:200].sum().backward()
    wanted = np.zeros(600)
    wanted[100:300] = 6 * x.detach().numpy()[100:300]
    assert x.grad.dtype == np.float16
    np.testing.assert_allclose(x.grad.numpy(), wanted, rtol=2e-3)
    assert x.exp().floor().dtype == np.float16


class Returns(fn.autograd.Function):
    """The identity, with the gradient that `given` makes."""

    @staticmethod
    def forward(ctx, x, given):
        ctx.given = given
        return x * 1

    @staticmethod
    def backward(ctx, g):
        return ctx.given(g), None


def test_gradients_of_a_function_fit_their_inputs():
    """A rule's gradient takes its input's shape and dtype as in torch; what cannot is an error."""
    x = fn.ones(3, requires_grad=True)
    Returns.apply(x, lambda g: g.expand(2, 3).double()).sum().backward()
    assert x.grad.dtype == fn.float32
    assert x.grad.tolist() == [2, 2, 2]
    one = fn.ones(2, 1, requires_grad=True)
    Returns.apply(one, lambda g: g.expand(2, 4)).sum().backward()
    assert one.grad.tolist() == [[4], [4]]
    with pytest.raises(RuntimeError, match=r"ReturnsBackward returned an invalid gradient at index 0 - got \[2\] but expected shape"):
        Returns.apply(x, lambda g: g[:2]).sum().backward()
    for wrong in (1.0, np.ones(3, np.float32)):
        with pytest.raises(TypeError, match="expected Variable or None"):
            Returns.apply(x, lambda g, wrong=wrong: wrong).sum().backward()
