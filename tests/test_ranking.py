"""Ranks against brute force: candidates in words, sorting, one query at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.arguments.pool import Pool
from counterpoint.corpus.read import read_corpus
from counterpoint.model.towers import Embedded, Vectors
from counterpoint.ranking import distance as distance_module
from counterpoint.ranking import queries as queries_module
from counterpoint.ranking.counted import FEW
from counterpoint.ranking.distance import Distance, euclidean
from counterpoint.ranking.queries import (
    MODES,
    SETTINGS,
    beir_setting,
    by_row,
    by_row_among_texts,
    by_text,
    in_scope,
    is_candidate,
)
from counterpoint.ranking.ranking import Reordering, rank
from counterpoint.reranking.reranker import Reranker, combined
from counterpoint.reranking.scorer import of_queries

EPC, EPA = ({name: SETTINGS[name]} for name in ("epc", "epa"))


def embedded_as(points, counters):
    points, counters = (torch.as_tensor(side) for side in (points, counters))
    return Embedded(Vectors(points, points), Vectors(counters, counters))


class ByTable:
    """A reranker with a visible answer: the logit of (point, counter) stands in a table of places."""

    def __init__(self, table):
        self.table, self.scored = table, []

    def reordering(self, embedded, weight, depth):
        def logits(left, right):
            places = (side[at, 0].tolist() for side, at in zip(embedded.embeddings, (left, right), strict=True))
            pairs = list(zip(*places, strict=True))
            self.scored += pairs
            return torch.tensor([self.table.get(pair, 0.0) for pair in pairs])

        return Reranker(None, weight, depth).reordering(QUERIES, logits, depth)


def reordering_by(logit, weight, depth):
    """The reordering by logits (m,) of numbers of queries and answers."""
    return Reordering(depth, lambda chosen, answers, distances: combined(distances, logit(chosen, answers), weight))


PAIRS = [Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(4)]
POOL = Pool.of(PAIRS)
QUERIES = by_row(POOL)
PLACES = [0.0, 10.0, 20.0, 30.0, 2.0, 10.5, 1.0, 90.0]  # points 0-3, counters 4-7 of the pool


def ranked(places, setting, table=None, depth=1, weight=1e4):
    side = torch.tensor(places, dtype=torch.float32)[:, None]
    embedded = embedded_as(side, side)
    reordering = table and table.reordering(embedded, weight, depth)
    (ranking,) = rank(QUERIES, euclidean(QUERIES, embedded), setting, reordering).values()
    return ranking


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


def test_reranking_reorders_the_first_candidates_alone_and_scores_the_query():
    table = ByTable({(0.0, 2.0): 0.9, (0.0, 1.0): 0.1, (20.0, 1.0): 1.0, (10.0, 10.5): 0.2, (10.0, 2.0): 0.7})
    result = ranked(PLACES, EPC, table, depth=2)
    assert result.reranked.rank.tolist() == [1, 2, 3, 4]  # beyond the depth a counter keeps its rank
    assert result.reranked.best.tolist() == [4, 4, 5, 5]
    assert {point for point, _ in table.scored} == {0.0, 10.0, 20.0, 30.0}  # the research code gave the gold counter here
    assert len(table.scored) == 4 * 2


def test_the_logit_counts_beside_the_distance():
    """From the point at 0 the counters are 1, 2 and 10.5 away; the second has 3 / weight to make up, the third 109.25."""
    table = ByTable({(0.0, 2.0): 1.0, (0.0, 10.5): 1.0})
    best = {weight: ranked(PLACES, EPC, table, 3, weight).reranked.best[0] for weight in (0.0, 2.9, 3.1, 1e9)}
    assert best == {0.0: 6, 2.9: 6, 3.1: 4, 1e9: 4}


def test_no_more_pairs_are_scored_than_there_are():
    table = ByTable({})
    ranked(PLACES, EPC, table, depth=100)
    assert len(table.scored) == 4 * 4


def test_ties_are_broken_by_the_order_of_the_pool_and_counted_as_hits_apart():
    same = [0.0] * 8
    assert ranked(same, EPA).retrieved.rank.tolist() == [4, 5, 6, 7]
    assert ranked(same, EPC).retrieved.rank.tolist() == [1, 2, 3, 4]
    assert ranked(same, EPC).retrieved.ties_hit.tolist() == [1, 1, 1, 1]
    reranked = ranked(same, EPC, ByTable({}), 3).reranked
    assert reranked.rank.tolist() == [1, 2, 3, 4]
    assert reranked.ties_hit.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("setting", [EPC, EPA])
def test_among_documents_no_tie_tells_what_is_right(setting):
    """40 queries as near to all 400 documents as to all counters: BM25 where no word is shared."""
    pairs = [Pair(f"{i}", None, None, None, f"p{i}", f"c{i}") for i in range(40)]
    queries = by_text(Pool.of(pairs, [Document(f"{i}", f"d{i}") for i in range(400)]))
    side = torch.zeros(len(queries.pool.texts), 1)
    (ranking,) = rank(queries, euclidean(queries, embedded_as(side, side)), setting, None).values()
    ranks, n = ranking.retrieved.rank, ranking.candidates[0]
    assert ranks.mean() == pytest.approx((n + 1) / 2, rel=0.2)  # the pool's order: 20 in epc
    assert (ranking.retrieved.ties_hit == 1).all()
    assert np.array_equal(ranks == 1, ranking.retrieved.best_right)
    again = rank(queries, euclidean(queries, embedded_as(side, side)), setting, None)
    assert np.array_equal(ranks, next(iter(again.values())).retrieved.rank)


def test_equal_texts_tie_whatever_the_arithmetic():
    """1,000 points of one text: no digit decides between them, and by row none is a candidate beside its counter."""
    pairs = [Pair("q", None, None, None, "query", "gold")]
    pairs += [Pair(str(i), None, None, None, "gold" if i % 2 else "other", f"c{i}") for i in range(1000)]
    pool = Pool.of(pairs)
    points, counters = (
        torch.tensor(np.random.default_rng(i).normal(size=(len(pool.texts), 99)), dtype=torch.float32) for i in (0, 1)
    )
    queries = by_row(pool)
    ranks = rank(queries, euclidean(queries, embedded_as(points, counters)), EPA)["epa"].retrieved
    distances = (counters - points[0]).norm(dim=1)
    nearer = (distances < distances[pool.text[pool.counter_of[0]]]).numpy()
    nearer = nearer[pool.text] & (np.arange(len(pool)) != 0)
    assert ranks.rank[0] == ranks.ties_hit[0] == 1 + nearer.sum()
    other = replace(
        pool, text_group=np.where(np.arange(len(pool)) == pool.counter_of[0], pool.text_group.max() + 1, pool.text_group)
    )
    tied = rank(by_row(other), euclidean(by_row(other), embedded_as(points, counters)), EPA)["epa"].retrieved
    assert tied.rank[0] == 1 + nearer.sum() + 500  # of another group the points that equal it stand before it in the pool
    assert tied.ties_hit[0] == 1 + nearer.sum()


# --- a ranker that shares no code: candidates in words, sorting, one query at a time ---------------------------------


def slow_ranks(pool, points, counters, logit, weight, depth, name):
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
            and (j == gold or pool.text_group[j] != pool.text_group[gold])
        ]
        distances = {
            j: np.linalg.norm(points[pool.text[query]].astype(float) - counters[pool.text[j]].astype(float)) for j in members
        }
        order = sorted(members, key=lambda j: (round(distances[j], 9), j))
        retrieved = 1 + order.index(gold)
        order[:depth] = sorted(order[:depth], key=lambda j: round(distances[j] ** 2 - weight * logit(query, j), 9))
        yield len(members), retrieved, 1 + order.index(gold), order[0]


@pytest.mark.slow
@pytest.mark.parametrize("split", ["training", "validation", "test"])
@pytest.mark.parametrize("chunk", [2**23, 100])
@pytest.mark.parametrize("weight", [0.0, 2.0, 1e6])
def test_the_ranks_of_the_fixture_are_brute_force_s(arguana, split, chunk, weight, monkeypatch):
    monkeypatch.setattr(queries_module, "CHUNK", chunk)
    monkeypatch.setattr(distance_module, "PAIRS", 7)
    pool = Pool.of([pair for s, pair in read_corpus(arguana).rows if s == split and pair.counter])
    rng = np.random.default_rng(1)
    points, counters = rng.normal(size=(2, len(pool.texts), 6)).astype(np.float32)
    counters[pool.text[pool.counter_of[pool.queries]]] += 0.5 * points[pool.text[pool.queries]]
    weights = rng.normal(size=6)

    def by_counter(left, right):
        return torch.tensor(counters.astype(float) @ weights)[right]

    queries = by_row(pool)
    reordering = reordering_by(of_queries(queries, by_counter), weight, 3)
    rankings = rank(queries, euclidean(queries, embedded_as(points, counters)), SETTINGS, reordering)
    for name, result in rankings.items():
        logit = lambda _, j: counters[pool.text[j]].astype(float) @ weights  # noqa: E731
        expected = slow_ranks(pool, points, counters, logit, weight, 3, name)
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
    distances = draw(st.lists(st.lists(st.integers(0, 4), min_size=2 * n, max_size=2 * n), min_size=n, max_size=n))
    return pairs, np.array(distances, dtype=float)  # (queries, n)


def of_table(distances):
    return Distance.of(lambda queries: distances[queries], len(distances))


@pytest.mark.slow
@given(worlds())
@settings(max_examples=100, deadline=None)
def test_a_subset_setting_s_rank_is_never_worse_than_its_superset_s(world):
    pairs, distances = world
    rankings = rank(by_row(Pool.of(pairs)), of_table(distances), SETTINGS)
    within = {"sdoc": ("sdc", "sdoa"), "sdc": ("sda", "stc"), "sdoa": ("sda",), "sda": ("sta",), "stc": ("sta", "epc")}
    within |= {"sta": ("epa",), "epc": ("epa",)}
    for small, larger in within.items():
        for large in larger:
            assert (rankings[small].retrieved.rank <= rankings[large].retrieved.rank).all()
            assert (rankings[small].candidates <= rankings[large].candidates).all()


@pytest.mark.slow
@given(worlds(), st.tuples(st.sampled_from("tu"), st.sampled_from("de"), st.sampled_from(("pro", "con"))), st.data())
@settings(max_examples=100, deadline=None)
def test_one_candidate_more_never_improves_a_rank(world, place_of_new, data):
    pairs, distances = world
    queries, n = by_row(Pool.of(pairs)), len(pairs)
    more = by_row(Pool.of([*pairs, Pair("new", *place_of_new, "new", "newer")]))
    place = np.array([*range(n), *range(n + 1, 2 * n + 1)])  # of the old arguments in the larger pool
    wider = np.array(
        data.draw(st.lists(st.lists(st.integers(0, 4), min_size=2, max_size=2), min_size=n, max_size=n)), dtype=float
    )
    larger = np.zeros((n + 1, 2 * n + 2))
    larger[:n, place], larger[:n, [n, 2 * n + 1]] = distances, wider
    before, after = rank(queries, of_table(distances), SETTINGS), rank(more, of_table(larger), SETTINGS)
    for name in SETTINGS:
        assert (after[name].retrieved.rank[:n] >= before[name].retrieved.rank).all()


@pytest.mark.slow
@given(worlds(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_another_order_of_the_pool_changes_nothing_but_ties(world, random):
    pairs, distances = world
    n = len(pairs)
    order = list(range(n))
    random.shuffle(order)
    both = np.array(order + [n + i for i in order])
    rankings = rank(by_row(Pool.of(pairs)), of_table(distances), SETTINGS)
    reordered = rank(by_row(Pool.of([pairs[i] for i in order])), of_table(distances[order][:, both]), SETTINGS)
    for name in SETTINGS:
        before, after = rankings[name], reordered[name]
        assert np.array_equal(before.candidates[order], after.candidates)
        assert np.array_equal(before.retrieved.ties_hit[order], after.retrieved.ties_hit)
        to_counter = distances[np.arange(n), n + np.arange(n)]
        tied = (distances == to_counter[:, None]).sum(1) > 1  # some argument, a candidate or not, is as far
        assert np.array_equal(before.retrieved.rank[order][~tied[order]], after.retrieved.rank[~tied[order]])


@pytest.mark.slow
@given(worlds(), st.integers(1, 12), st.data())
@settings(max_examples=100, deadline=None)
def test_reranking_only_permutes_the_first_min_depth_n(world, depth, data):
    pairs, distances = world
    pool, n = Pool.of(pairs), len(pairs)
    by_rows = by_row(pool)
    table = np.array(data.draw(st.lists(st.lists(st.integers(0, 3), min_size=2 * n, max_size=2 * n), min_size=n, max_size=n)))
    scored = {}

    def logit(queries, candidates):
        for query, candidate in zip(queries, candidates, strict=True):
            scored.setdefault(int(query), []).append(int(candidate))
        return table[queries, candidates] / 3

    reordering = reordering_by(logit, 1e6, depth)

    for name in SETTINGS:
        scored.clear()
        (ranking,) = rank(by_rows, of_table(distances), {name: SETTINGS[name]}, reordering).values()
        before, after = ranking.retrieved, ranking.reranked
        assert [len(scored[i]) for i in range(n)] == np.minimum(depth, ranking.candidates).tolist()
        beyond = before.rank > depth
        assert np.array_equal(after.rank[beyond], before.rank[beyond])
        assert (after.rank[~beyond] <= np.minimum(depth, ranking.candidates)[~beyond]).all()
        for i in range(n):  # the rank of the positive, by sorting the scored candidates
            order = sorted(scored[i], key=lambda j: -table[i, j])
            assert scored[i][0] == before.best[i]
            assert order[0] == after.best[i]
            if not beyond[i]:
                assert after.rank[i] == 1 + order.index(pool.counter_of[i])


@given(worlds())
@settings(max_examples=50, deadline=None)
def test_over_distinct_texts_the_counter_is_where_its_text_is(world):
    pairs, _ = world
    pool = Pool.of(pairs)
    distinct = by_row_among_texts(pool, pool.queries)
    by_place = np.random.default_rng(0).permutation(len(pool.texts)).astype(float)  # one distance a text, no ties

    distances = np.tile(by_place[pool.text[distinct.first]], (len(distinct), 1))
    (ranking,) = rank(distinct, of_table(distances), beir_setting(collection=False)).values()
    for i, pair in enumerate(pairs):
        texts = {text for text in pool.texts if words_of(text) != words_of(pair.point)} | {pair.counter}
        order = sorted(texts, key=lambda text: by_place[pool.texts.index(text)])
        assert ranking.retrieved.rank[i] == 1 + order.index(pair.counter)


# --- by text: several positives, duplicates, texts that stand as point and counter ------------------------------------


def words_of(text):
    return " ".join(text.lower().split())


def by_text_in_words(pairs, name, distances, logits, weight, depth):
    """Yield for each query the id of its first pair, the number of candidates, the positives' ranks in both stages, and more.

    The ranks are over texts alone; with them come the best rank before ties, and whether a positive is first after reranking.
    """
    arguments = [(0, i, pair.point) for i, pair in enumerate(pairs)] + [(1, i, pair.counter) for i, pair in enumerate(pairs)]
    texts = list(dict.fromkeys(words_of(text) for _, _, text in arguments))
    for query in dict.fromkeys(words_of(pair.point) for pair in pairs):
        members = [pair for pair in pairs if words_of(pair.point) == query]
        right = {words_of(pair.counter) for pair in members} - {query}
        if not right:
            continue

        def in_scope(source, candidate, members=members):
            for pair in members:
                place = {"d": candidate.debate == pair.debate, "t": True, "p": True}[name[1]]
                place = place and (name[1] == "p" or candidate.theme == pair.theme)
                place = place and (source == 1 or name.endswith("a"))
                same_folder = candidate.stance == pair.stance
                if place and ("o" not in name or same_folder == (source == 1)):
                    return True
            return False

        there = {words_of(text) for source, i, text in arguments if in_scope(source, pairs[i])}
        candidates = sorted((there | right) - {query}, key=texts.index)
        order = sorted(candidates, key=lambda text, query=query: distances[query, text])
        before = sorted(1 + order.index(text) for text in right)
        ties_hit = 1 + sum(distances[query, text] < min(distances[query, answer] for answer in right) for text in candidates)
        scores = {text: weight * logits[query, text] - distances[query, text] for text in candidates}
        order[:depth] = sorted(order[:depth], key=lambda text, scores=scores: -scores[text])
        after = sorted(1 + order.index(text) for text in right)
        yield members[0].id, len(candidates), before, ties_hit, after, order[0] in right


@st.composite
def dialogues(draw):
    """Pairs whose points have one to four counters, and whose texts are few, so that most stand in several places."""
    n = draw(st.integers(2, 9))
    texts = st.sampled_from(["a", "A ", "b", "c", "d", "e", "f", "g", "h", "i"])
    place = st.tuples(st.sampled_from("tu"), st.sampled_from("de"), st.sampled_from(("pro", "con")))
    pairs = [Pair(str(i), *draw(place), draw(texts), draw(texts)) for i in range(n)]
    keys = [words_of(text) for text in ("a", *"bcdefghi")]
    values = st.lists(st.integers(0, 4), min_size=len(keys) ** 2, max_size=len(keys) ** 2)
    tables = [dict(zip(((a, b) for a in keys for b in keys), draw(values), strict=True)) for _ in range(2)]
    return pairs, *tables


@given(dialogues(), st.integers(1, 6), st.sampled_from([2**23, 20]), st.sampled_from([0.0, 0.5, 1.0, 100.0]))
@settings(max_examples=150, deadline=None)
@pytest.mark.slow
def test_by_text_the_ranks_are_those_of_the_rules_in_words(world, depth, chunk, weight):
    pairs, distances, logits = world
    queries = by_text(Pool.of(pairs))
    pool = queries.pool
    points = [words_of(pool.texts[i]) for i in pool.text[queries.point]]
    items = [words_of(pool.texts[i]) for i in pool.text[queries.first]]

    def distance(chosen):
        return np.array([[distances[points[q], item] for item in items] for q in chosen], dtype=float)

    def logit(chosen, answers):
        return np.array([logits[points[q], items[i]] for q, i in zip(chosen, answers, strict=True)], dtype=float)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queries_module, "CHUNK", chunk)
        reordering = reordering_by(logit, weight, depth)
        rankings = rank(queries, Distance.of(distance, len(queries)), SETTINGS, reordering) if len(queries) else {}
    for name, result in rankings.items():
        expected = list(by_text_in_words(pairs, name, distances, logits, weight, depth))
        assert [pairs[pool.row[i]].id for i in queries.point] == [row[0] for row in expected]
        ranks = [step.right.tolist() for step in (result.retrieved, result.reranked)]
        rows = zip(result.candidates, ranks[0], result.retrieved.ties_hit, ranks[1], result.reranked.best_right, strict=True)
        assert [(int(n), before, int(ties), after, bool(hit)) for n, before, ties, after, hit in rows] == [
            row[1:] for row in expected
        ]
        assert (result.reranked.best_right == (result.reranked.rank == 1)).all()


def test_the_first_candidate_is_named_by_an_argument_in_scope():
    pairs = [Pair("0", "t", "d", "pro", "a", "b"), Pair("1", "t", "e", "pro", "c", "d"), Pair("2", "t", "d", "pro", "e", "c")]
    queries = by_text(Pool.of(pairs))
    (ranking,) = rank(queries, of_table(np.tile([0, 2, 1, 2, 2.0], (3, 1))), {"sdc": SETTINGS["sdc"]}).values()
    assert ranking.retrieved.best[0] == 5  # c, as the counter that stands in the query's debate, not as the point elsewhere


# --- counting against sorting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "few"), [("row", 50), ("text", 50), ("text", 4)])
@pytest.mark.parametrize("spacing", [1.0, 2.0**-12, 2.0**-20])
def test_counting_gives_the_ranks_of_sorting_all_exact_distances(mode, few, spacing):
    """On a grid, far from 0, distances tie exactly, or differ by less than float32's product of matrices can tell.

    Of 4 points each has 15 positives, for which a query's distances are sorted.
    """
    rng = np.random.default_rng(5)
    n, d = 60, 4
    pairs = [Pair(str(i), f"t{i % 2}", f"d{i % 5}", ("pro", "con")[i % 2], f"p{i % few}", f"c{i % 45}") for i in range(n)]
    pool = Pool.of(pairs)
    grid = [(7 + spacing * rng.integers(0, 3, size=(len(pool.texts), d))).astype(np.float32) for _ in range(2)]
    queries = MODES[mode](pool)
    logit = np.random.default_rng(0).integers(0, 3, size=(len(queries), len(queries.first)))
    reordering = reordering_by(lambda q, i: logit[q, i].astype(float), 1e6, 7)
    rankings = rank(queries, euclidean(queries, embedded_as(*grid)), SETTINGS, reordering)
    points, counters = (side.astype(float) for side in grid)
    distances = ((points[pool.text[queries.point], None] - counters[pool.text[queries.first]]) ** 2).sum(2)
    assert len(np.unique(distances)) < distances.size / 10
    chosen, right_of = np.arange(len(queries)), queries.right.tolist()
    assert (max(map(len, right_of)) > FEW) == (few == 4)
    for name, setting in SETTINGS.items():
        allowed = is_candidate(queries, chosen, in_scope(queries, chosen, setting))
        retrieved, reranked = rankings[name].retrieved, rankings[name].reranked
        for q in chosen:
            order = sorted(np.flatnonzero(allowed[q]), key=lambda item, q=q: (distances[q, item], item))
            right = right_of[q]
            assert retrieved.right.tolist()[q] == sorted(1 + order.index(item) for item in right)
            nearest = min(distances[q, item] for item in right)
            assert retrieved.ties_hit[q] == 1 + sum(distances[q, item] < nearest for item in order)
            assert queries.item[retrieved.best[q]] == order[0]
            order[:7] = sorted(order[:7], key=lambda item, q=q: -logit[q, item])
            assert reranked.right.tolist()[q] == sorted(1 + order.index(item) for item in right)


def test_the_error_of_the_product_is_within_its_bound():
    pool = Pool.of([Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(50)])
    queries = by_text(pool)
    chosen, items = np.repeat(np.arange(50), 100), np.tile(np.arange(100), 50)
    for scale, away in ((1.0, 0.0), (100.0, 0.0), (0.01, 50.0)):
        distance = euclidean(queries, embedded_as(*(scale * torch.randn(2, 100, 384) + away)))
        approximate = distance.approximate(np.arange(50)).astype(float) + distance.shift[:, None]
        error = np.abs(approximate - distance.exact(chosen, items).reshape(50, 100))
        assert (error <= distance.error[:, None]).all()
        assert error.max() > 0
