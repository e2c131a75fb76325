"""The machines as scikit-learn estimators: a drop-in's signature, attributes, weights and scores; real-valued columns."""
import inspect

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import BernoulliRBM as Original
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
from fastnn.sklearn import BernoulliRBM, GaussianRBM


def bars(rows=400, side=4, seed=0, dtype=np.float64):
    """Pictures of one full row or column: what pixels know of each other is strong."""
    random = np.random.default_rng(seed)
    X = np.zeros((rows, side, side), dtype)
    for picture, where, upright in zip(X, random.integers(0, side, rows), random.random(rows) < 0.5, strict=True):
        if upright:
            picture[:, where] = 1
        else:
            picture[where] = 1
    return X.reshape(rows, -1)


@pytest.mark.filterwarnings("ignore:BernoulliRBM. values from:UserWarning")      # the checks draw any values
@parametrize_with_checks([BernoulliRBM(4, n_iter=2), GaussianRBM(4, n_iter=2)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_the_signature_starts_with_scikit_learns():
    ours, theirs = (inspect.signature(kind.__init__).parameters for kind in (BernoulliRBM, Original))
    assert list(ours)[:len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert (ours[name].default, ours[name].kind) == (parameter.default, parameter.kind)


def test_attributes_after_fit():
    X = bars()
    rbm = BernoulliRBM(6, n_iter=2, random_state=0).fit(X)
    original = Original(6, n_iter=2, random_state=0).fit(X)
    for name in ("components_", "intercept_hidden_", "intercept_visible_", "h_samples_"):
        assert getattr(rbm, name).shape == getattr(original, name).shape
    assert rbm.n_features_in_ == 16
    assert list(rbm.get_feature_names_out()[:2]) == ["bernoullirbm0", "bernoullirbm1"]
    assert set(np.unique(rbm.h_samples_)) <= {0, 1}


def test_weights_of_scikit_learn_give_its_features_and_energies():
    X = bars()
    original = Original(6, n_iter=3, random_state=0).fit(X)
    rbm = BernoulliRBM.from_sklearn(original)
    assert np.allclose(rbm.transform(X), original.transform(X), rtol=1e-12)
    assert np.allclose(rbm.free_energy(X), original._free_energy(X), rtol=1e-12)
    assert rbm.get_params()["n_components"] == 6


def test_scores_agree_with_scikit_learns_in_the_mean():
    X = bars(200)
    original = Original(6, n_iter=10, random_state=0).fit(X)
    rbm = BernoulliRBM.from_sklearn(original)
    theirs = np.mean([original.set_params(random_state=n).score_samples(X) for n in range(400)], 0)
    assert np.abs(rbm.score_samples(X).mean() - theirs.mean()) < 0.02 * abs(theirs.mean())


def test_both_learn_the_same_thing():
    X = bars(500)
    options = dict(n_components=12, n_iter=60, learning_rate=0.05, random_state=0)
    scores = [BernoulliRBM.from_sklearn(Original(**options).fit(X)).score_samples(X).mean(),
              BernoulliRBM(**options).fit(X).score_samples(X).mean()]
    untrained = BernoulliRBM(12, n_iter=0).fit(X).score_samples(X).mean()
    assert untrained < -10
    assert scores[1] > scores[0] - 0.5
    assert scores[1] > -5


@pytest.mark.parametrize("kind", [BernoulliRBM, GaussianRBM])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays(kind, dtype):
    X = bars(50, dtype=dtype)
    rbm = kind(5, n_iter=1, random_state=0).fit(X)
    assert rbm.components_.dtype == rbm.transform(X).dtype == dtype


def test_sparse_rows_train_as_dense_ones():
    X = bars(60)
    dense, thin = (BernoulliRBM(5, n_iter=3, random_state=1).fit(x) for x in (X, sparse.csr_matrix(X)))
    assert np.allclose(dense.components_, thin.components_, atol=1e-12)
    assert np.array_equal(dense.transform(X), dense.transform(sparse.csr_array(X)))
    assert np.allclose(dense.score_samples(X), dense.score_samples(sparse.csr_matrix(X)))


def test_the_same_seed_gives_the_same_machine_for_any_number_of_threads():
    X = bars(64, side=8)
    found = []
    before = fastnn.get_num_threads()
    try:
        for threads in (1, 2):
            fastnn.set_num_threads(threads)
            found.append(BernoulliRBM(40, n_iter=3, random_state=7).fit(X).components_.copy())
    finally:
        fastnn.set_num_threads(before)
    assert np.array_equal(*found)
    assert not np.array_equal(found[0], BernoulliRBM(40, n_iter=3, random_state=8).fit(X).components_)


def test_fit_leaves_the_default_generator_alone():
    state = fastnn.get_rng_state().numpy().copy()
    BernoulliRBM(3, n_iter=1).fit(bars(20))
    assert np.array_equal(state, fastnn.get_rng_state().numpy())


def test_partial_fit_goes_on_and_returns_self():
    X = bars(300)
    rbm = BernoulliRBM(10, random_state=0)
    for _ in range(60):
        assert rbm.partial_fit(X) is rbm
    assert rbm.score_samples(X).mean() > -6
    with pytest.raises(ValueError, match="features"):
        rbm.partial_fit(X[:, :5])


def test_partial_fit_of_many_rows_does_not_push_the_biases_up():
    X = (np.random.default_rng(0).random((1000, 8)) < 0.3).astype(float)
    rbm = BernoulliRBM(4, random_state=0, batch_size=10)
    for _ in range(5):
        rbm.partial_fit(X)
    assert -1.6 < rbm.intercept_visible_.mean() < -0.2


def test_gibbs_gives_booleans_and_keeps_the_shape():
    X = bars(30)
    rbm = BernoulliRBM(6, n_iter=20, random_state=0).fit(X)
    moved = rbm.gibbs(X)
    assert moved.dtype == bool
    assert moved.shape == X.shape
    assert rbm.gibbs(X, k=3).any()


def test_in_a_pipeline_and_cloned():
    X = bars(200)
    y = (X.reshape(-1, 4, 4).all(1)).any(1).astype(int)
    model = make_pipeline(BernoulliRBM(12, n_iter=30, random_state=0), LogisticRegression(C=100))
    assert model.fit(X, y).score(X, y) > 0.9
    rbm = clone(BernoulliRBM(3, k=2, method="cd", weight_decay=0.5))
    assert (rbm.k, rbm.method, rbm.weight_decay) == (2, "cd", 0.5)


def test_values_outside_the_interval_are_told():
    with pytest.warns(UserWarning, match=r"MinMaxScaler"):
        BernoulliRBM(3, n_iter=1, learning_rate=1e-3).fit(bars(20) * 3)


def test_divergence_names_the_rate():
    X = np.random.default_rng(0).standard_normal((50, 6)) * 1e3
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="lr|lower"):
        GaussianRBM(20, n_iter=200, learning_rate=10.0).fit(X)


@pytest.mark.parametrize(("name", "value"), [("n_components", 0), ("learning_rate", 0), ("batch_size", 1.5), ("n_iter", -1), ("k", 0),
                                             ("momentum", 2), ("weight_decay", -1)])
def test_parameters_are_checked(name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        BernoulliRBM(**{name: value}).fit(bars(20))


def test_before_fit():
    with pytest.raises(NotFittedError):
        BernoulliRBM().transform(bars(3))
    with pytest.raises(AttributeError, match="components_"):
        _ = BernoulliRBM().components_


def test_verbose_tells_every_epoch(capsys):
    BernoulliRBM(3, n_iter=2, verbose=1).fit(bars(20))
    lines = capsys.readouterr().out.splitlines()
    assert [line[:29] for line in lines] == ["[BernoulliRBM] Iteration 1, p", "[BernoulliRBM] Iteration 2, p"]


def test_gaussian_machines_find_a_common_cause():
    random = np.random.default_rng(0)
    cause = random.choice([-1, 1], 600)
    X = cause[:, None] * np.ones(6) + 0.4 * random.standard_normal((600, 6))
    X /= X.std(0)
    features = GaussianRBM(4, n_iter=40, learning_rate=0.01, random_state=0).fit_transform(X)
    assert np.abs([np.corrcoef(f, cause)[0, 1] for f in features.T]).max() > 0.9
