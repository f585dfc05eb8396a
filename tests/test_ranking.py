import numpy as np
import pytest
import torch
from torch import nn

from counterpoint import ranking as module
from counterpoint.candidates import SETTINGS
from counterpoint.corpus import read_corpus
from counterpoint.model import Vectors
from counterpoint.pool import Pool
from counterpoint.ranking import rank
from counterpoint.records import Pair


def on_a_line(places):
    places = torch.tensor(places, dtype=torch.float32)[:, None]
    return Vectors(places, places)


class ByTable(nn.Module):
    """A pair head with a visible answer: the probability of (point, counter) stands in a table of places."""

    def __init__(self, table):
        super().__init__()
        self.table, self.asked = table, []

    def probability(self, point, counter):
        pairs = list(zip(point.embedding[:, 0].tolist(), counter.embedding[:, 0].tolist(), strict=True))
        self.asked += pairs
        return torch.tensor([self.table.get(pair, 0.0) for pair in pairs])


PAIRS = [Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(4)]
POOL = Pool.of(PAIRS)
PLACES = [0.0, 10.0, 20.0, 30.0, 2.0, 10.5, 1.0, 90.0]  # points 0-3, counters 4-7 of the pool


def test_every_query_is_ranked_once():
    """The research code scored one point in sixteen."""
    result = rank(POOL, on_a_line(PLACES), on_a_line(PLACES), SETTINGS["epa"])
    assert result.queries.tolist() == [0, 1, 2, 3]
    assert result.candidates.tolist() == [7, 7, 7, 7]


def test_ranks_on_a_line():
    result = rank(POOL, on_a_line(PLACES), on_a_line(PLACES), SETTINGS["epc"])
    assert result.retrieved.tolist() == [2, 1, 3, 4]
    assert result.best.tolist() == [6, 5, 5, 5]
    assert np.array_equal(result.reranked, result.retrieved)


def test_the_head_reorders_the_first_ones_alone_and_is_asked_for_the_query():
    head = ByTable({(0.0, 2.0): 0.9, (0.0, 1.0): 0.1, (20.0, 1.0): 1.0, (10.0, 10.5): 0.2, (10.0, 2.0): 0.7})
    result = rank(POOL, on_a_line(PLACES), on_a_line(PLACES), SETTINGS["epc"], head, depth=2)
    assert result.reranked.tolist() == [1, 2, 3, 4]  # beyond the depth a counter keeps its rank
    assert result.best.tolist() == [4, 4, 5, 5]
    assert {point for point, _ in head.asked} == {0.0, 10.0, 20.0, 30.0}  # the research code gave the gold counter here
    assert len(head.asked) == 4 * 2


def test_the_head_sees_no_more_than_there_are():
    head = ByTable({})
    rank(POOL, on_a_line(PLACES), on_a_line(PLACES), SETTINGS["epc"], head, depth=100)
    assert len(head.asked) == 4 * 4


def test_ties_are_broken_by_the_order_of_the_pool():
    same = on_a_line([0.0] * 8)
    assert rank(POOL, same, same, SETTINGS["epa"]).retrieved.tolist() == [4, 5, 6, 7]
    assert rank(POOL, same, same, SETTINGS["epc"]).retrieved.tolist() == [1, 2, 3, 4]
    assert rank(POOL, same, same, SETTINGS["epc"], ByTable({}), 3).reranked.tolist() == [1, 2, 3, 4]


def test_equal_texts_tie_whatever_the_arithmetic():
    """1,000 candidates of one text, the true one in their midst: the rank counts the ones before it, no digit decides."""
    pairs = [Pair("q", None, None, None, "query", "gold")]
    pairs += [Pair(str(i), None, None, None, "gold" if i % 2 else "other", f"c{i}") for i in range(1000)]
    pool = Pool.of(pairs)
    vectors = [torch.tensor(np.random.default_rng(i).normal(size=(len(pool.texts), 99)), dtype=torch.float32) for i in (0, 1)]
    ranking = rank(pool, *(Vectors(side, side) for side in vectors), SETTINGS["epa"])
    nearer = (
        (vectors[1] - vectors[0][0]).norm(dim=1) < (vectors[1][pool.text[pool.counter_of[0]]] - vectors[0][0]).norm()
    ).numpy()
    nearer = nearer[pool.text] & (np.arange(len(pool)) != 0)
    assert ranking.retrieved[0] == 1 + nearer.sum() + 500  # the points that equal it stand before it in the pool


@pytest.mark.parametrize("split", ["training", "validation", "test"])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("chunk", [2**23, 100])
def test_the_ranks_of_the_fixture_are_brute_force_s(arguana, split, setting, chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr(module, "PAIRS", 7)
    pool = Pool.of([pair for s, pair in read_corpus(arguana).rows if s == split and pair.counter])
    rng = np.random.default_rng(1)
    points, counters = rng.normal(size=(2, len(pool.texts), 6)).astype(np.float32)
    counters[pool.text[pool.counter_of[pool.queries]]] += 0.5 * points[pool.text[pool.queries]]
    weights = rng.normal(size=(2, 6))

    class Head(nn.Module):
        def probability(self, point, counter):
            return torch.sigmoid(
                point.pooled.double() @ torch.tensor(weights[0]) + counter.pooled.double() @ torch.tensor(weights[1])
            )

    as_vectors = [Vectors(torch.tensor(side), torch.tensor(side)) for side in (points, counters)]
    result = rank(pool, *as_vectors, SETTINGS[setting], Head(), depth=3)
    for i, query in enumerate(pool.queries):
        gold = pool.counter_of[query]
        candidates = [
            j
            for j in range(len(pool))
            if j != query
            and (setting == "epa" or pool.source[j] == 1)
            and (j == gold or pool.source[j] == 0 or pool.text_group[j] != pool.text_group[gold])
        ]
        distance = {
            j: np.linalg.norm(points[pool.text[query]].astype(float) - counters[pool.text[j]].astype(float)) for j in candidates
        }
        order = sorted(candidates, key=lambda j: (round(distance[j], 9), j))
        assert result.retrieved[i] == 1 + order.index(gold)
        score = {j: counters[pool.text[j]].astype(float) @ weights[1] for j in order[:3]}
        order[:3] = sorted(order[:3], key=lambda j: -round(score[j], 9))
        assert result.reranked[i] == 1 + order.index(gold)
        assert result.best[i] == order[0]
        assert result.candidates[i] == len(candidates)
