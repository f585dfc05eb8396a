import numpy as np
import pytest
from sklearn.metrics import ndcg_score, top_k_accuracy_score

from counterpoint.metrics import mrr, ndcg, summary, top_k


def worlds():
    """Random scores of 30 queries over 40 candidates, the true one at a random place; and the ranks they give."""
    rng = np.random.default_rng(0)
    scores, gold = rng.normal(size=(30, 40)), rng.integers(40, size=30)
    scores[np.arange(30), gold] += 1
    ranks = 1 + (scores > scores[np.arange(30), gold][:, None]).sum(1)
    return scores, gold, ranks


@pytest.mark.parametrize("k", [1, 3, 5, 10, 40])
def test_they_agree_with_scikit_learn(k):
    scores, gold, ranks = worlds()
    relevance = np.eye(40)[gold]
    assert ndcg(ranks, k) == pytest.approx(ndcg_score(relevance, scores, k=k))
    assert top_k(ranks, k) == pytest.approx(top_k_accuracy_score(gold, scores, k=k, labels=range(40)) if k < 40 else 1)


def test_by_hand():
    ranks = np.array([1, 2, 4, 11])
    assert mrr(ranks) == (1 + 1 / 2 + 1 / 4 + 1 / 11) / 4
    assert ndcg(ranks) == pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(5)) / 4)
    assert summary(ranks) | {"mrr": None, "ndcg10": None} == {
        "top1": 0.25, "top3": 0.5, "top5": 0.75, "top10": 0.75, "mrr": None, "ndcg10": None,
    }  # fmt: skip


def test_no_query_no_number():
    assert set(summary(np.array([], dtype=int)).values()) == {None}
