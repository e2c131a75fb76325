"""Replicated Softmax: topics that are found again, likelihoods against enumeration, what `fit` does to long documents."""
import numpy as np
import pytest

import fastnn
from fastnn.boltzmann import topics
from fastnn.boltzmann.topics import TopicRBM, thinned


def two_topics(documents=300, words=20, length=30, seed=0):
    """Documents of one of two topics, each with words of its own half."""
    random = np.random.default_rng(seed)
    topic = np.arange(documents) % 2
    p = np.where((np.arange(words) < words // 2) == (topic[:, None] == 0), 0.95, 0.05) / (words // 2)
    return np.array([random.multinomial(length, row) for row in p]).astype(np.float64), topic


def trained(X, n=4, epochs=30, **options):
    fastnn.manual_seed(0)
    return TopicRBM(X.shape[1], n, dtype=np.float64).fit(X, epochs, lr=0.02, **options)


def test_topics_are_found():
    X, topic = two_topics()
    rbm = trained(X)
    h = rbm.transform(X)
    assert max(abs(np.corrcoef(column, topic)[0, 1]) for column in h.T) > 0.95
    best = np.argmax([abs(np.corrcoef(column, topic)[0, 1]) for column in h.T])
    halves = {int(word) < 10 for word in rbm.top_words(range(20), 6)[best]}
    assert len(halves) == 1


def test_held_out_perplexity_is_below_the_unigram_models():
    X, _ = two_topics()
    test, _ = two_topics(40, seed=1)
    rbm = trained(X)
    p = (X.sum(0) + 1) / (X.sum(0) + 1).sum()
    unigram = np.exp(-(test @ np.log(p)).sum() / test.sum())
    assert unigram > 19
    assert 10 < rbm.perplexity(test, 500, 50) < 0.75 * unigram


@pytest.mark.parametrize("most", [20, 0])
def test_likelihoods_agree_with_enumeration(monkeypatch, most):
    """Summed exactly, and by AIS."""
    monkeypatch.setattr(topics, "MOST_ENUMERATED", most)
    X, _ = two_topics(12, 6, 5)
    X[0] = [1, 1, 1, 0, 0, 0]
    rbm = trained(X, 3)
    log_p, lengths = rbm.log_likelihood(X, 2000, 200)
    assert lengths.tolist() == X.sum(1).tolist()
    wanted = [rbm.log_prob(row[None], rbm.log_partition(given=int(row.sum()))).item() for row in X]
    assert np.allclose(log_p, wanted, atol=1e-9 if most else 0.1)
    exact = np.exp(-np.sum(wanted) / X.sum())
    assert abs(rbm.perplexity(X, 2000, 200) / exact - 1) < 0.03


def test_a_machine_without_weights_is_the_unigram_model():
    X, _ = two_topics(30)
    rbm = TopicRBM(20, 3, dtype=np.float64)
    rbm.weight.array[...] = 0
    rbm.init_from_frequencies(X)
    p = (X.sum(0) + 1) / (X.sum(0) + 1).sum()
    assert np.isclose(rbm.perplexity(X, 10, 5), np.exp(-(X @ np.log(p)).sum() / X.sum()))


def test_sparse_documents_are_as_dense_ones():
    sparse = pytest.importorskip("scipy.sparse", reason="sparse matrices need SciPy")
    X, _ = two_topics(50)
    X[3] = 0
    dense, thin = (trained(x, epochs=3, longest=None) for x in (X, sparse.csr_array(X)))
    assert np.allclose(dense.weight.array, thin.weight.array)
    assert np.allclose(dense.transform(X), thin.transform(sparse.csr_array(X)))


def test_long_documents_are_thinned_and_short_ones_kept():
    X = np.zeros((2, 1000))
    X[0] = 3
    X[1, :50] = 1
    fewer = thinned(X, 600)
    assert np.array_equal(fewer[1], X[1])
    assert set(np.unique(fewer[0])) == {0, 1}
    assert abs(fewer[0].sum() - 600) < 80
    sparse = pytest.importorskip("scipy.sparse", reason="sparse matrices need SciPy")
    matrix = sparse.csr_array(X)
    assert abs(thinned(matrix, 600)[[0]].sum() - 600) < 80
    assert matrix.sum() == X.sum()


def test_the_same_seed_gives_the_same_topics_for_any_number_of_threads():
    X, _ = two_topics(100)
    before, found = fastnn.get_num_threads(), []
    try:
        for threads in (1, 2):
            fastnn.set_num_threads(threads)
            found.append(trained(X, epochs=3, longest=20).weight.array)
    finally:
        fastnn.set_num_threads(before)
    assert np.array_equal(*found)


@pytest.mark.parametrize(("X", "words"), [([[1, -1]], "counts"), ([[0.5, 300]], "counts"), ([[np.nan, 1]], "finite"), ([[0, 0]], "words")])
def test_bad_counts(X, words):
    with pytest.raises(ValueError, match=words):
        TopicRBM(2, 2).fit(np.array(X, float))


def test_bad_options():
    with pytest.raises(ValueError, match="20 topics"):
        TopicRBM(2, 21).log_partitions([3])
    with pytest.raises(ValueError, match="longest"):
        TopicRBM(2, 2).fit(np.ones((2, 2)), longest=0)
    with pytest.raises(ValueError, match="2 words"):
        TopicRBM(2, 2).top_words(["one"])


def test_the_estimator():
    pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
    from scipy.sparse import csr_array
    from sklearn.base import clone

    from fastnn.sklearn import ReplicatedSoftmax
    X, topic = two_topics()
    model = clone(ReplicatedSoftmax(4, n_iter=30, learning_rate=0.02, random_state=0)).fit(csr_array(X.astype(np.float32)))
    h = model.transform(X.astype(np.float32))
    assert h.dtype == np.float32
    assert max(abs(np.corrcoef(column, topic)[0, 1]) for column in h.T) > 0.95
    assert model.perplexity(X[:5], 50, 5) == model.perplexity(X[:5], 50, 5)
    assert model.top_words(count=2)[0][0] in {str(n) for n in range(20)}
    assert model.components_.shape == (4, 20)
    with pytest.raises(ValueError, match="n_components"):
        ReplicatedSoftmax(0).fit(X)
