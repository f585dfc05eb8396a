import itertools

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, top_k_accuracy_score

from counterpoint.core.ragged import Ragged
from counterpoint.ranking.metrics import gains, gains_by_chance, mrr, top_k


def worlds():
    """Random scores of 30 queries over 40 candidates, the positive at a random place; and the ranks they give."""
    rng = np.random.default_rng(0)
    scores, gold = rng.normal(size=(30, 40)), rng.integers(40, size=30)
    scores[np.arange(30), gold] += 1
    ranks = 1 + (scores > scores[np.arange(30), gold][:, None]).sum(1)
    return scores, gold, ranks


@pytest.mark.parametrize("k", [1, 3, 5, 10])
def test_measures_agree_with_scikit_learn(k):
    scores, gold, ranks = worlds()
    theirs = top_k_accuracy_score(gold, scores, k=k, labels=range(40))
    assert top_k(ranks, k) == pytest.approx(theirs)
    measured = gains(Ragged.of(ranks[:, None]))
    assert measured[f"top{k}"].mean() == pytest.approx(theirs)
    assert measured["ndcg10"].mean() == pytest.approx(ndcg_score(np.eye(40)[gold], scores, k=10))
    assert measured["mrr"].mean() == pytest.approx(label_ranking_average_precision_score(np.eye(40)[gold], scores))


def test_by_hand():
    ranks = np.array([1, 2, 4, 11])
    assert mrr(ranks) == (1 + 1 / 2 + 1 / 4 + 1 / 11) / 4
    means = {name: float(values.mean()) for name, values in gains(Ragged.of(ranks[:, None])).items()}
    assert means["ndcg10"] == pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(5)) / 4)
    assert [means[f"top{k}"] for k in (1, 3, 5, 10)] == [0.25, 0.5, 0.75, 0.75]


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 1), (12, 1), (5, 2), (6, 4), (7, 7), (12, 3)])
def test_chance_is_the_mean_over_all_orders(n, m):
    choices = gains(Ragged.of(itertools.combinations(range(1, n + 1), m)))  # each choice of places is as likely
    chance = gains_by_chance(np.array([n, 1, n]), Ragged.of([[1] * m, [1], [1] * m]))
    assert {name: values[0] for name, values in chance.items()} == pytest.approx(
        {name: values.mean() for name, values in choices.items()}
    )
    assert {(values[0] == values[2], values[1]) for values in chance.values()} == {(True, 1.0)}


def test_without_queries_there_are_no_gains():
    nothing = Ragged.of([])
    chance = gains_by_chance(np.zeros(0, dtype=int), nothing)
    assert {values.shape for of in (gains(nothing), chance) for values in of.values()} == {(0,)}


@given(st.lists(st.sets(st.integers(1, 150), min_size=1, max_size=4), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_with_several_positives_measures_are_those_of_trec_eval(lists):
    by_measure = gains(Ragged.of(map(sorted, lists)))
    qrels = {str(i): {str(rank): 1 for rank in ranks} for i, ranks in enumerate(lists)}
    run = {str(i): {str(rank): float(-rank) for rank in range(1, 151)} for i in range(len(lists))}
    names = {"ndcg10": "ndcg_cut_10", "map": "map", "mrr": "recip_rank", "recall10": "recall_10", "recall100": "recall_100"}
    names |= {"top1": "success_1", "top5": "success_5", "top10": "success_10"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut", "map", "recip_rank", "recall", "success"}).evaluate(run)
    for ours, name in names.items():
        assert by_measure[ours] == pytest.approx([theirs[str(i)][name] for i in range(len(lists))], abs=1e-6)
