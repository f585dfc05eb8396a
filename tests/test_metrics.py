import numpy as np
import pytest
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, top_k_accuracy_score

from counterpoint.ranking.metrics import gains, gains_by_chance, mrr, top_k


def worlds():
    """Random scores of 30 queries over 40 candidates, the true one at a random place; and the ranks they give."""
    rng = np.random.default_rng(0)
    scores, gold = rng.normal(size=(30, 40)), rng.integers(40, size=30)
    scores[np.arange(30), gold] += 1
    ranks = 1 + (scores > scores[np.arange(30), gold][:, None]).sum(1)
    return scores, gold, ranks


@pytest.mark.parametrize("k", [1, 3, 5, 10])
def test_they_agree_with_scikit_learn(k):
    scores, gold, ranks = worlds()
    found = top_k_accuracy_score(gold, scores, k=k, labels=range(40))
    assert top_k(ranks, k) == pytest.approx(found)
    assert gains(ranks)[f"top{k}"].mean() == pytest.approx(found)
    assert gains(ranks)["ndcg10"].mean() == pytest.approx(ndcg_score(np.eye(40)[gold], scores, k=10))
    assert gains(ranks)["mrr"].mean() == pytest.approx(label_ranking_average_precision_score(np.eye(40)[gold], scores))


def test_by_hand():
    ranks = np.array([1, 2, 4, 11])
    assert mrr(ranks) == (1 + 1 / 2 + 1 / 4 + 1 / 11) / 4
    means = {name: float(values.mean()) for name, values in gains(ranks).items()}
    assert means["ndcg10"] == pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(5)) / 4)
    assert [means[f"top{k}"] for k in (1, 3, 5, 10)] == [0.25, 0.5, 0.75, 0.75]


def test_chance_is_the_mean_over_all_orders():
    candidates = np.array([1, 3, 12])
    for i, n in enumerate(candidates):
        every = gains(np.arange(1, n + 1))  # the true counter stands at each place once
        assert {name: values[i] for name, values in gains_by_chance(candidates).items()} == pytest.approx(
            {name: values.mean() for name, values in every.items()}
        )


def test_no_query_no_number():
    nobody = np.array([], dtype=int)
    assert {values.shape for of in (gains(nobody), gains_by_chance(nobody)) for values in of.values()} == {(0,)}
