import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.corpus.read import read_corpus
from counterpoint.model.towers import Vectors
from counterpoint.ranking import ranking
from counterpoint.ranking import settings as candidates
from counterpoint.ranking.ranking import by_head, euclidean, rank
from counterpoint.ranking.settings import BEIR, SETTINGS

EPC, EPA = ({name: SETTINGS[name]} for name in ("epc", "epa"))


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


def ranked(places, setting, head=None, depth=1):
    vectors = on_a_line(places)
    (found,) = rank(POOL, euclidean(POOL, vectors, vectors), setting, by_head(POOL, vectors, vectors, head), depth).values()
    return found


def test_every_query_is_ranked_once():
    """The research code scored one point in sixteen."""
    result = ranked(PLACES, EPA)
    assert result.candidates.tolist() == [7, 7, 7, 7]
    assert result.retrieved.rank.shape == (4,)


def test_ranks_on_a_line():
    result = ranked(PLACES, EPC)
    assert result.retrieved.rank.tolist() == [2, 1, 3, 4]
    assert result.retrieved.best.tolist() == [6, 5, 5, 5]
    assert np.array_equal(result.reranked.rank, result.retrieved.rank)


def test_the_head_reorders_the_first_ones_alone_and_is_asked_for_the_query():
    head = ByTable({(0.0, 2.0): 0.9, (0.0, 1.0): 0.1, (20.0, 1.0): 1.0, (10.0, 10.5): 0.2, (10.0, 2.0): 0.7})
    result = ranked(PLACES, EPC, head, depth=2)
    assert result.reranked.rank.tolist() == [1, 2, 3, 4]  # beyond the depth a counter keeps its rank
    assert result.reranked.best.tolist() == [4, 4, 5, 5]
    assert {point for point, _ in head.asked} == {0.0, 10.0, 20.0, 30.0}  # the research code gave the gold counter here
    assert len(head.asked) == 4 * 2


def test_the_head_sees_no_more_than_there_are():
    head = ByTable({})
    ranked(PLACES, EPC, head, depth=100)
    assert len(head.asked) == 4 * 4


def test_ties_are_broken_by_the_order_of_the_pool_and_counted_as_hits_apart():
    same = [0.0] * 8
    assert ranked(same, EPA).retrieved.rank.tolist() == [4, 5, 6, 7]
    assert ranked(same, EPC).retrieved.rank.tolist() == [1, 2, 3, 4]
    assert ranked(same, EPC).retrieved.ties_hit.tolist() == [1, 1, 1, 1]
    reranked = ranked(same, EPC, ByTable({}), 3).reranked
    assert reranked.rank.tolist() == [1, 2, 3, 4]
    assert reranked.ties_hit.tolist() == [1, 1, 1, 1]


def test_equal_texts_tie_whatever_the_arithmetic():
    """1,000 candidates of one text, the true one in their midst: the rank counts the ones before it, no digit decides."""
    pairs = [Pair("q", None, None, None, "query", "gold")]
    pairs += [Pair(str(i), None, None, None, "gold" if i % 2 else "other", f"c{i}") for i in range(1000)]
    pool = Pool.of(pairs)
    vectors = [torch.tensor(np.random.default_rng(i).normal(size=(len(pool.texts), 99)), dtype=torch.float32) for i in (0, 1)]
    ranks = rank(pool, euclidean(pool, *(Vectors(side, side) for side in vectors)), EPA)["epa"].retrieved
    nearer = (
        (vectors[1] - vectors[0][0]).norm(dim=1) < (vectors[1][pool.text[pool.counter_of[0]]] - vectors[0][0]).norm()
    ).numpy()
    nearer = nearer[pool.text] & (np.arange(len(pool)) != 0)
    assert ranks.rank[0] == 1 + nearer.sum() + 500  # the points that equal it stand before it in the pool
    assert ranks.ties_hit[0] == 1 + nearer.sum()


# --- a ranker that shares no code: candidates in words, sorting, one query at a time ---------------------------------


def slow_ranks(pool, points, counters, probability, depth, name):
    for query in pool.queries:
        gold = pool.counter_of[query]
        scope = pool.theme if name.startswith("st") else pool.debate if name.startswith("sd") else np.zeros(len(pool))
        members = [
            j
            for j in range(len(pool))
            if j != query
            and scope[j] == scope[query]
            and (name.endswith("a") or pool.source[j] == 1)
            and ("o" not in name or pool.side[j] != pool.side[query])
            and (j == gold or pool.source[j] == 0 or pool.text_group[j] != pool.text_group[gold])
        ]
        far = {
            j: np.linalg.norm(points[pool.text[query]].astype(float) - counters[pool.text[j]].astype(float)) for j in members
        }
        order = sorted(members, key=lambda j: (round(far[j], 9), j))
        retrieved = 1 + order.index(gold)
        order[:depth] = sorted(order[:depth], key=lambda j: -round(probability(query, j), 9))
        yield len(members), retrieved, 1 + order.index(gold), order[0]


@pytest.mark.parametrize("split", ["training", "validation", "test"])
@pytest.mark.parametrize("chunk", [2**23, 100])
def test_the_ranks_of_the_fixture_are_brute_force_s(arguana, split, chunk, monkeypatch):
    monkeypatch.setattr(candidates, "CHUNK", chunk)
    monkeypatch.setattr(ranking, "PAIRS", 7)
    pool = Pool.of([pair for s, pair in read_corpus(arguana).rows if s == split and pair.counter])
    rng = np.random.default_rng(1)
    points, counters = rng.normal(size=(2, len(pool.texts), 6)).astype(np.float32)
    counters[pool.text[pool.counter_of[pool.queries]]] += 0.5 * points[pool.text[pool.queries]]
    weights = rng.normal(size=6)

    class Head(nn.Module):
        def probability(self, point, counter):
            return torch.sigmoid(counter.pooled.double() @ torch.tensor(weights))

    vectors = [Vectors(torch.tensor(side), torch.tensor(side)) for side in (points, counters)]
    found = rank(pool, euclidean(pool, *vectors), SETTINGS, by_head(pool, *vectors, Head()), depth=3)
    for name, result in found.items():
        probability = lambda _, j: 1 / (1 + np.exp(-counters[pool.text[j]].astype(float) @ weights))  # noqa: E731
        expected = slow_ranks(pool, points, counters, probability, 3, name)
        rows = zip(result.candidates, result.retrieved.rank, result.reranked.rank, result.reranked.best, strict=True)
        assert [tuple(map(int, row)) for row in rows] == [tuple(map(int, row)) for row in expected]


# --- properties, over small worlds with many ties --------------------------------------------------------------------


@st.composite
def worlds(draw):
    """Pairs of two themes, two debates each, and a whole-number distance from every query to every argument."""
    n = draw(st.integers(2, 6))
    columns = [draw(st.lists(st.sampled_from(values), min_size=n, max_size=n)) for values in ("tu", "de", ("pro", "con"))]
    texts = draw(st.lists(st.integers(0, 2 * n), min_size=2 * n, max_size=2 * n))
    pairs = [
        Pair(str(i), *where, f"p{point}", f"c{counter}")
        for i, (where, point, counter) in enumerate(zip(zip(*columns, strict=True), texts[:n], texts[n:], strict=True))
    ]
    far = draw(st.lists(st.lists(st.integers(0, 4), min_size=2 * n, max_size=2 * n), min_size=n, max_size=n))
    return pairs, np.array(far, dtype=float)  # (queries, n)


def of_table(far):
    return lambda queries: far[queries]


@given(worlds())
@settings(max_examples=100, deadline=None)
def test_a_subset_setting_s_rank_is_never_worse_than_its_superset_s(world):
    pairs, far = world
    found = rank(Pool.of(pairs), of_table(far), SETTINGS)
    within = {"sdoc": ("sdc", "sdoa"), "sdc": ("sda", "stc"), "sdoa": ("sda",), "sda": ("sta",), "stc": ("sta", "epc")}
    within |= {"sta": ("epa",), "epc": ("epa",)}
    for small, larger in within.items():
        for large in larger:
            assert (found[small].retrieved.rank <= found[large].retrieved.rank).all()
            assert (found[small].candidates <= found[large].candidates).all()


@given(worlds(), st.tuples(st.sampled_from("tu"), st.sampled_from("de"), st.sampled_from(("pro", "con"))), st.data())
@settings(max_examples=100, deadline=None)
def test_one_candidate_more_never_improves_a_rank(world, place_of_new, data):
    pairs, far = world
    pool, n = Pool.of(pairs), len(pairs)
    more = Pool.of([*pairs, Pair("new", *place_of_new, "new", "newer")])
    place = np.array([*range(n), *range(n + 1, 2 * n + 1)])  # of the old arguments in the larger pool
    wider = np.array(
        data.draw(st.lists(st.lists(st.integers(0, 4), min_size=2, max_size=2), min_size=n, max_size=n)), dtype=float
    )
    larger = np.zeros((n + 1, 2 * n + 2))
    larger[:n, place], larger[:n, [n, 2 * n + 1]] = far, wider
    before, after = rank(pool, of_table(far), SETTINGS), rank(more, of_table(larger), SETTINGS)
    for name in SETTINGS:
        assert (after[name].retrieved.rank[:n] >= before[name].retrieved.rank).all()


@given(worlds(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_another_order_of_the_pool_changes_nothing_but_ties(world, random):
    pairs, far = world
    n = len(pairs)
    order = list(range(n))
    random.shuffle(order)
    both = np.array(order + [n + i for i in order])
    found = rank(Pool.of(pairs), of_table(far), SETTINGS)
    again = rank(Pool.of([pairs[i] for i in order]), of_table(far[order][:, both]), SETTINGS)
    for name in SETTINGS:
        before, after = found[name], again[name]
        assert np.array_equal(before.candidates[order], after.candidates)
        assert np.array_equal(before.retrieved.ties_hit[order], after.retrieved.ties_hit)
        to_gold = far[np.arange(n), n + np.arange(n)]
        tied = (far == to_gold[:, None]).sum(1) > 1  # some argument, a candidate or not, is as far
        assert np.array_equal(before.retrieved.rank[order][~tied[order]], after.retrieved.rank[~tied[order]])


@given(worlds(), st.integers(1, 12), st.data())
@settings(max_examples=100, deadline=None)
def test_re_ranking_only_permutes_the_first_min_depth_n(world, depth, data):
    pairs, far = world
    pool, n = Pool.of(pairs), len(pairs)
    table = np.array(data.draw(st.lists(st.lists(st.integers(0, 3), min_size=2 * n, max_size=2 * n), min_size=n, max_size=n)))
    asked = {}

    def probability(queries, candidates):
        for query, candidate in zip(queries, candidates, strict=True):
            asked.setdefault(int(query), []).append(int(candidate))
        return table[queries, candidates] / 3

    for name in SETTINGS:
        asked.clear()
        (found,) = rank(pool, of_table(far), {name: SETTINGS[name]}, probability, depth).values()
        before, after = found.retrieved, found.reranked
        assert [len(asked[i]) for i in range(n)] == np.minimum(depth, found.candidates).tolist()
        beyond = before.rank > depth
        assert np.array_equal(after.rank[beyond], before.rank[beyond])
        assert (after.rank[~beyond] <= np.minimum(depth, found.candidates)[~beyond]).all()
        for i in range(n):  # the true rank, by sorting what the head was asked for
            order = sorted(asked[i], key=lambda j: -table[i, j])
            assert asked[i][0] == before.best[i]
            assert order[0] == after.best[i]
            if not beyond[i]:
                assert after.rank[i] == 1 + order.index(pool.counter_of[i])


@given(worlds())
@settings(max_examples=50, deadline=None)
def test_over_distinct_texts_the_true_counter_is_where_its_text_is(world):
    pairs, _ = world
    pool = Pool.of(pairs)
    distinct = pool.distinct(pool.queries)
    by_text = np.random.default_rng(0).permutation(len(pool.texts)).astype(float)  # one distance a text, no ties

    (found,) = rank(distinct, lambda queries: np.tile(by_text[distinct.text], (len(queries), 1)), BEIR).values()
    for i, pair in enumerate(pairs):
        own = pair.point.lower().split()
        others = {text for text in pool.texts if text.lower().split() != own} | {pair.counter}
        order = sorted(others, key=lambda text: by_text[pool.texts.index(text)])
        assert found.retrieved.rank[i] == 1 + order.index(pair.counter)
