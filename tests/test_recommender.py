"""Ratings: their checks, a machine that learns tastes, and predictions that know nothing but what they are given."""
import numpy as np
import pytest

import fastnn
from fastnn.boltzmann.recommender import RatingRBM, Ratings

SCALE = np.arange(1, 6)


def tastes(users=200, items=30, seed=0):
    """Users of two kinds, who love one half of the items and not the other; half of all ratings are there."""
    random = np.random.default_rng(seed)
    love = (np.arange(users)[:, None] % 2) == (np.arange(items) % 2)
    table = np.clip(np.where(love, 4, 2) + random.integers(-1, 2, (users, items)), 1, 5)
    known = random.random((users, items)) < 0.5
    return table, known


def triplets(table, where):
    users, items = np.nonzero(where)
    return users, items, table[users, items]


def trained(table, known, **options):
    fastnn.manual_seed(0)
    return RatingRBM(table.shape[1], 8, SCALE).fit(triplets(table, known), epochs=30, lr=0.05, **options)


def rmse(found, table, where):
    return np.sqrt(np.mean((found - table)[where] ** 2))


def test_tastes_are_learned_where_biases_are_blind():
    table, known = tastes()
    rbm = trained(table, known)
    found = rbm.predict(triplets(table, known))
    blind = RatingRBM(30, 8, SCALE).fit(triplets(table, known), epochs=0).predict(triplets(table, known))
    assert rmse(blind, table, ~known) > 1.2
    assert rmse(found, table, ~known) < 1.0


def test_new_users_are_predicted_from_what_they_say():
    table, known = tastes()
    rbm = trained(table, known)
    even = rbm.predict({n: 5 if n % 2 == 0 else 1 for n in range(10)}, items=[20, 21])
    odd = rbm.predict({n: 5 if n % 2 else 1 for n in range(10)}, items=[20, 21])
    assert even[0, 0] > even[0, 1] + 0.7
    assert odd[0, 1] > odd[0, 0] + 0.7


def test_a_user_without_ratings_gets_the_means_of_the_items():
    table, known = tastes()
    rbm = RatingRBM(30, 8, SCALE).fit(triplets(table, known), epochs=0)
    rbm.weight.array[...] = 0
    found = rbm.predict(({}), items=[3, 4])
    assert np.allclose(found[0], rbm.mean_rating.array + rbm.item_bias.array[[3, 4]], atol=1e-4)


def test_predictions_depend_on_the_given_ratings_alone():
    """No rating of the training set leaks: users are only what is passed, in any order and company."""
    table, known = tastes()
    rbm = trained(table, known)
    u, i, v = triplets(table, known)
    every = rbm.predict((u, i, v))
    one = u == 7
    assert np.allclose(rbm.predict((np.zeros(one.sum(), int), i[one], v[one]))[0], every[7], rtol=1e-5)
    assert not np.allclose(rbm.predict((np.zeros(one.sum(), int), i[one], 6 - v[one]))[0], every[7], atol=0.1)


def test_recommended_items_are_new_ones():
    table, known = tastes()
    rbm = trained(table, known)
    said = {n: 5 if n % 2 else 1 for n in range(28)}
    best = rbm.recommend(said, 4)
    assert best.tolist()[0][2:] == [-1, -1]
    assert set(best[0, :2]) == {28, 29}
    assert best[0, 0] == 29


def test_sparse_matrices_and_triplets_are_the_same():
    sparse = pytest.importorskip("scipy.sparse", reason="sparse matrices need SciPy")
    table, known = tastes(50)
    rbm = trained(table, known)
    matrix = sparse.csr_array(np.where(known, table, 0))
    assert np.array_equal(rbm.predict(matrix), rbm.predict(triplets(table, known)))
    fastnn.manual_seed(0)
    assert np.array_equal(RatingRBM(30, 8, SCALE).fit(matrix, epochs=30, lr=0.05).weight.array, rbm.weight.array)


def test_a_unit_has_the_mean_of_the_biases():
    table, known = tastes()
    rbm = trained(table, known)
    means = np.linspace(1.2, 4.8, 9)
    assert np.allclose(rbm.probabilities(rbm.tilt(means)) @ rbm.scale, means, atol=1e-3)


def test_the_gradient_is_that_of_the_energy():
    """The mean of many CD-1 gradients against enumeration of both hidden and visible states."""
    random = np.random.default_rng(0)
    rbm = RatingRBM(2, 2, [1, 2, 3], dtype=np.float64)
    for p in rbm.parameters():
        p.array[...] = random.normal(size=p.shape)
    values, means, tilts = np.array([3.0, 1.0]), np.array([2.2, 1.7]), np.array([0.3, -0.4])
    A, D, c = rbm.weight.array, rbm.rated_weight.array, rbm.hbias.array

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def hidden(v):
        return sigmoid(A @ (v - means) + D.sum(1) + c)
    p, wanted = hidden(values), 0
    for h in np.ndindex(2, 2):
        weight_of_h = np.prod(np.where(h, p, 1 - p))
        each = rbm.probabilities((np.array(h) - 0.5) @ A + tilts)
        for a, b in np.ndindex(3, 3):
            v = rbm.scale[[a, b]]
            wanted = wanted + weight_of_h * each[0, a] * each[1, b] * np.outer(hidden(v) - 0.5, v - means)
    wanted = wanted - np.outer(p - 0.5, values - means)
    n = 40000
    fastnn.manual_seed(0)
    rows, items = np.repeat(np.arange(n), 2), np.tile([0, 1], n)
    rbm.contrast(n, rows, items, np.tile(values, n), np.tile(means, n), np.tile(tilts, n), 1, None)
    assert np.allclose(rbm.weight.grad.array, wanted, atol=0.01)


def test_the_same_seed_gives_the_same_machine_for_any_number_of_threads():
    table, known = tastes()
    before, found = fastnn.get_num_threads(), []
    try:
        for threads in (1, 2):
            fastnn.set_num_threads(threads)
            found.append(trained(table, known).weight.array)
    finally:
        fastnn.set_num_threads(before)
    assert np.array_equal(*found)


def test_state_dict_carries_the_whole_machine():
    table, known = tastes()
    rbm, other = trained(table, known), RatingRBM(30, 8, SCALE)
    other.load_state_dict(rbm.state_dict())
    assert np.array_equal(rbm.predict({1: 5}), other.predict({1: 5}))


@pytest.mark.parametrize(("source", "error", "words"), [
    (([0], [1], [6]), ValueError, "scale"), (([0], [1], [0]), ValueError, "scale"), (([0], [1], [2.5]), ValueError, "scale"),
    (([0], [1], [np.nan]), ValueError, "scale"), (([0], [9], [3]), IndexError, "items from 0 to 2"),
    (([0, 0], [1, 1], [3, 4]), ValueError, "twice"), (([0, 0], [1], [3]), ValueError, "long"), (([], [], []), ValueError, "no ratings"),
    (([0], [1.5], [3]), TypeError, "cast"), (([0], [1]), TypeError, "sparse")])
def test_bad_ratings(source, error, words):
    with pytest.raises(error, match=words):
        RatingRBM(3, 2, SCALE).fit(source)


def test_ratings_outside_the_scale_raise_in_predict_too():
    with pytest.raises(ValueError, match="scale"):
        RatingRBM(3, 2, SCALE).predict({0: 0})
    with pytest.raises(IndexError, match="items"):
        RatingRBM(3, 2, SCALE).predict({0: 1}, items=[3])


@pytest.mark.parametrize("options", [dict(scale=[3]), dict(scale=[2, 1]), dict(n_hidden=0), dict(shrinkage=0)])
def test_bad_options(options):
    with pytest.raises(ValueError, match="RatingRBM"):
        RatingRBM(3, **options)


def test_divergence_names_the_rate():
    table, known = tastes(40)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="lr"):
        RatingRBM(30, 8, SCALE).fit(triplets(table, known), epochs=60, lr=1e30)


def test_ratings_of_some_users():
    ratings = Ratings(([2, 0, 2], [1, 0, 0], [5, 4, 3]))
    rows, items, position = ratings.of(np.array([2, 1, 0]))
    assert rows.tolist() == [0, 0, 2]
    assert items.tolist() == [0, 1, 0]
    assert ratings.values[position].tolist() == [3, 5, 4]


def test_the_estimator():
    pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
    from sklearn.base import clone

    from fastnn.sklearn import RBMRecommender
    table, known = tastes()
    model = clone(RBMRecommender(8, n_iter=30, learning_rate=0.05, random_state=0)).fit(triplets(table, known))
    assert rmse(model.predict(triplets(table, known)), table, ~known) < 1.0
    assert model.rbm_.scale.tolist() == [1, 2, 3, 4, 5]
    assert model.recommend({0: 5}, 3).shape == (1, 3)
    assert model.transform({0: 5}).shape == (1, 8)
    with pytest.raises(ValueError, match="k"):
        RBMRecommender(k=0).fit(triplets(table, known))
