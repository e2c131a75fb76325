"""Deep belief networks as classifier and regressor; the machine with label units as classifier."""
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the estimators need scikit-learn")

from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
from fastnn.sklearn import ClassRBMClassifier, DBNClassifier, DBNRegressor


@parametrize_with_checks([ClassRBMClassifier(16, n_iter=60, learning_rate=0.05, batch_size=20, random_state=0),
                          DBNClassifier((16,), visible="gaussian", n_iter=60, learning_rate=0.02, batch_size=20, random_state=0),
                          DBNRegressor((16,), visible="gaussian", n_iter=60, learning_rate=0.02, batch_size=20, random_state=0)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def stripes(rows, seed=0, flips=0.1):
    """Noisy copies of four patterns, and which."""
    random = np.random.default_rng(seed)
    patterns = np.random.default_rng(9).random((4, 30)) < 0.5
    y = random.integers(0, 4, rows)
    return (patterns[y] ^ (random.random((rows, 30)) < flips)).astype(np.float32), np.array(list("abcd"))[y]


def test_pretraining_on_unlabelled_rows_is_what_the_network_starts_from():
    X, y = stripes(40)
    more, _ = stripes(400, 1)
    model = DBNClassifier((12, 8), n_iter=0, random_state=0).fit(X, y, unlabelled=more)
    other = DBNClassifier((12, 8), n_iter=0, random_state=0).fit(X, y)
    assert np.array_equal(model.network_[0].weight.detach().numpy(), model.dbn_.rbms[0].weight.detach().numpy())
    assert not np.array_equal(model.network_[0].weight.detach().numpy(), other.network_[0].weight.detach().numpy())
    assert model.features(X).shape == (40, 8)
    assert np.allclose(model.features(X), model.dbn_(fastnn.from_numpy(X)).detach().numpy())


def test_classes_are_found():
    X, y = stripes(200)
    test, wanted = stripes(200, 2)
    model = DBNClassifier((20,), n_iter=40, learning_rate=0.01, dropout=0.2, random_state=0).fit(X, y)
    assert model.score(test, wanted) > 0.9
    assert np.allclose(model.predict_proba(test).sum(1), 1)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_regression_of_two_columns_in_their_own_units():
    X = np.random.default_rng(0).standard_normal((300, 4))
    y = np.stack([1000 + 50 * X[:, 0], X[:, 1] * X[:, 0]], 1)
    model = DBNRegressor((30,), visible="gaussian", n_iter=150, learning_rate=0.01, random_state=0).fit(X, y)
    assert model.predict(X).shape == (300, 2)
    assert model.score(X, y) > 0.8


def test_the_default_generator_stays_as_it_is():
    state = fastnn.get_rng_state().numpy().copy()
    DBNClassifier((3,), n_iter=1).fit(*stripes(20))
    assert np.array_equal(state, fastnn.get_rng_state().numpy())


def test_bad_parameters():
    with pytest.raises(ValueError, match="n_iter"):
        DBNClassifier(n_iter=-1).fit(*stripes(20))
    with pytest.raises(ValueError, match="learning_rate"):
        DBNClassifier(learning_rate=0).fit(*stripes(20))


def test_label_units_classify():
    X, y = stripes(200)
    test, wanted = stripes(200, 2)
    model = ClassRBMClassifier(20, n_iter=30, random_state=0).fit(X, y)
    assert model.score(test, wanted) > 0.9
    assert np.allclose(model.predict_proba(test).sum(1), 1)
    assert model.rbm_.weight.dtype == np.float32


def test_divergence_names_the_rate():
    X, y = stripes(60)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="learning_rate"):
        DBNRegressor((3,), hidden="relu", learning_rate=1e30, pretrain_iter=0, n_iter=9).fit(X, X[:, 0])
