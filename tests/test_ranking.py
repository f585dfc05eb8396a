import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.corpus.read import read_corpus
from counterpoint.model.towers import Vectors
from counterpoint.ranking import distance as distances
from counterpoint.ranking import queries as reading
from counterpoint.ranking.distance import Distance, euclidean
from counterpoint.ranking.queries import by_row, by_row_among_texts, by_text
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.second_step import SecondStep, of_queries
from counterpoint.ranking.settings import BEIR, SETTINGS, in_scope, is_candidate

EPC, EPA = ({name: SETTINGS[name]} for name in ("epc", "epa"))


def on_a_line(places):
    places = torch.tensor(places, dtype=torch.float32)[:, None]
    return Vectors(places, places)


class ByTable:
    """A second step with a visible answer: the logit of (point, counter) stands in a table of places."""

    def __init__(self, table):
        self.table, self.asked = table, []

    def of(self, points, counters, weight, depth):
        def logit(left, right):
            pairs = list(zip(points.embedding[left, 0].tolist(), counters.embedding[right, 0].tolist(), strict=True))
            self.asked += pairs
            return torch.tensor([self.table.get(pair, 0.0) for pair in pairs])

        return SecondStep(of_queries(QUERIES, logit), weight, depth)


PAIRS = [Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(4)]
POOL = Pool.of(PAIRS)
QUERIES = by_row(POOL)
PLACES = [0.0, 10.0, 20.0, 30.0, 2.0, 10.5, 1.0, 90.0]  # points 0-3, counters 4-7 of the pool


def ranked(places, setting, table=None, depth=1, weight=1e4):
    vectors = on_a_line(places)
    second = table and table.of(vectors, vectors, weight, depth)
    (found,) = rank(QUERIES, euclidean(QUERIES, vectors, vectors), setting, second).values()
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


def test_the_second_step_reorders_the_first_ones_alone_and_is_asked_for_the_query():
    head = ByTable({(0.0, 2.0): 0.9, (0.0, 1.0): 0.1, (20.0, 1.0): 1.0, (10.0, 10.5): 0.2, (10.0, 2.0): 0.7})
    result = ranked(PLACES, EPC, head, depth=2)
    assert result.reranked.rank.tolist() == [1, 2, 3, 4]  # beyond the depth a counter keeps its rank
    assert result.reranked.best.tolist() == [4, 4, 5, 5]
    assert {point for point, _ in head.asked} == {0.0, 10.0, 20.0, 30.0}  # the research code gave the gold counter here
    assert len(head.asked) == 4 * 2


def test_the_logit_counts_beside_the_distance():
    """From the point at 0 the counters are 1, 2 and 10.5 away; the second has 3 / weight to make up, the third 109.25."""
    table = ByTable({(0.0, 2.0): 1.0, (0.0, 10.5): 1.0})
    best = {weight: ranked(PLACES, EPC, table, 3, weight).reranked.best[0] for weight in (0.0, 2.9, 3.1, 1e9)}
    assert best == {0.0: 6, 2.9: 6, 3.1: 4, 1e9: 4}


def test_the_second_step_sees_no_more_than_there_are():
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
    queries = by_row(pool)
    ranks = rank(queries, euclidean(queries, *(Vectors(side, side) for side in vectors)), EPA)["epa"].retrieved
    nearer = (
        (vectors[1] - vectors[0][0]).norm(dim=1) < (vectors[1][pool.text[pool.counter_of[0]]] - vectors[0][0]).norm()
    ).numpy()
    nearer = nearer[pool.text] & (np.arange(len(pool)) != 0)
    assert ranks.rank[0] == 1 + nearer.sum() + 500  # the points that equal it stand before it in the pool
    assert ranks.ties_hit[0] == 1 + nearer.sum()


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
            and (j == gold or pool.source[j] == 0 or pool.text_group[j] != pool.text_group[gold])
        ]
        far = {
            j: np.linalg.norm(points[pool.text[query]].astype(float) - counters[pool.text[j]].astype(float)) for j in members
        }
        order = sorted(members, key=lambda j: (round(far[j], 9), j))
        retrieved = 1 + order.index(gold)
        order[:depth] = sorted(order[:depth], key=lambda j: round(far[j] ** 2 - weight * logit(query, j), 9))
        yield len(members), retrieved, 1 + order.index(gold), order[0]


@pytest.mark.parametrize("split", ["training", "validation", "test"])
@pytest.mark.parametrize("chunk", [2**23, 100])
@pytest.mark.parametrize("weight", [0.0, 2.0, 1e6])
def test_the_ranks_of_the_fixture_are_brute_force_s(arguana, split, chunk, weight, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK", chunk)
    monkeypatch.setattr(distances, "PAIRS", 7)
    pool = Pool.of([pair for s, pair in read_corpus(arguana).rows if s == split and pair.counter])
    rng = np.random.default_rng(1)
    points, counters = rng.normal(size=(2, len(pool.texts), 6)).astype(np.float32)
    counters[pool.text[pool.counter_of[pool.queries]]] += 0.5 * points[pool.text[pool.queries]]
    weights = rng.normal(size=6)

    def by_counter(left, right):
        return torch.tensor(counters.astype(float) @ weights)[right]

    vectors = [Vectors(torch.tensor(side), torch.tensor(side)) for side in (points, counters)]
    queries = by_row(pool)
    second = SecondStep(of_queries(queries, by_counter), weight, 3)
    found = rank(queries, euclidean(queries, *vectors), SETTINGS, second)
    for name, result in found.items():
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
    far = draw(st.lists(st.lists(st.integers(0, 4), min_size=2 * n, max_size=2 * n), min_size=n, max_size=n))
    return pairs, np.array(far, dtype=float)  # (queries, n)


def of_table(far):
    return Distance.of(lambda queries: far[queries], len(far))


@given(worlds())
@settings(max_examples=100, deadline=None)
def test_a_subset_setting_s_rank_is_never_worse_than_its_superset_s(world):
    pairs, far = world
    found = rank(by_row(Pool.of(pairs)), of_table(far), SETTINGS)
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
    queries, n = by_row(Pool.of(pairs)), len(pairs)
    more = by_row(Pool.of([*pairs, Pair("new", *place_of_new, "new", "newer")]))
    place = np.array([*range(n), *range(n + 1, 2 * n + 1)])  # of the old arguments in the larger pool
    wider = np.array(
        data.draw(st.lists(st.lists(st.integers(0, 4), min_size=2, max_size=2), min_size=n, max_size=n)), dtype=float
    )
    larger = np.zeros((n + 1, 2 * n + 2))
    larger[:n, place], larger[:n, [n, 2 * n + 1]] = far, wider
    before, after = rank(queries, of_table(far), SETTINGS), rank(more, of_table(larger), SETTINGS)
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
    found = rank(by_row(Pool.of(pairs)), of_table(far), SETTINGS)
    again = rank(by_row(Pool.of([pairs[i] for i in order])), of_table(far[order][:, both]), SETTINGS)
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
    by_rows = by_row(pool)
    table = np.array(data.draw(st.lists(st.lists(st.integers(0, 3), min_size=2 * n, max_size=2 * n), min_size=n, max_size=n)))
    asked = {}

    def logit(queries, candidates):
        for query, candidate in zip(queries, candidates, strict=True):
            asked.setdefault(int(query), []).append(int(candidate))
        return table[queries, candidates] / 3

    second = SecondStep(logit, 1e6, depth)

    for name in SETTINGS:
        asked.clear()
        (found,) = rank(by_rows, of_table(far), {name: SETTINGS[name]}, second).values()
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
    distinct = by_row_among_texts(pool, pool.queries)
    by_place = np.random.default_rng(0).permutation(len(pool.texts)).astype(float)  # one distance a text, no ties

    far = np.tile(by_place[pool.text[distinct.first]], (len(distinct), 1))
    (found,) = rank(distinct, of_table(far), BEIR).values()
    for i, pair in enumerate(pairs):
        own = pair.point.lower().split()
        others = {text for text in pool.texts if text.lower().split() != own} | {pair.counter}
        order = sorted(others, key=lambda text: by_place[pool.texts.index(text)])
        assert found.retrieved.rank[i] == 1 + order.index(pair.counter)


# --- by text: several right answers, twins, texts that stand as point and counter --------------------------------------


def words_of(text):
    return " ".join(text.lower().split())


def by_text_in_words(pairs, name, far, logit, weight, depth):
    """By id of the first pair: candidates, ranks of all right answers before and after, what was on top; of texts alone."""
    arguments = [(0, i, pair.point) for i, pair in enumerate(pairs)] + [(1, i, pair.counter) for i, pair in enumerate(pairs)]
    texts = list(dict.fromkeys(words_of(text) for _, _, text in arguments))
    for query in dict.fromkeys(words_of(pair.point) for pair in pairs):
        asked = [pair for pair in pairs if words_of(pair.point) == query]
        right = {words_of(pair.counter) for pair in asked} - {query}
        if not right:
            continue

        def in_scope(source, other, asked=asked):
            for pair in asked:
                place = {"d": other.debate == pair.debate, "t": True, "p": True}[name[1]]
                place = place and (name[1] == "p" or other.theme == pair.theme)
                place = place and (source == 1 or name.endswith("a"))
                same_folder = other.stance == pair.stance
                if place and ("o" not in name or same_folder == (source == 1)):
                    return True
            return False

        there = {words_of(text) for source, i, text in arguments if in_scope(source, pairs[i])}
        members = sorted((there | right) - {query}, key=texts.index)
        order = sorted(members, key=lambda text, query=query: far[query, text])
        before = sorted(1 + order.index(text) for text in right)
        ties_hit = 1 + sum(far[query, text] < min(far[query, answer] for answer in right) for text in members)
        order[:depth] = sorted(order[:depth], key=lambda text, query=query: far[query, text] - weight * logit[query, text])
        yield asked[0].id, len(members), before, ties_hit, sorted(1 + order.index(text) for text in right), order[0] in right


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
@settings(max_examples=300, deadline=None)
def test_by_text_the_ranks_are_those_of_the_rules_in_words(world, depth, chunk, weight):
    pairs, far, likely = world
    queries = by_text(Pool.of(pairs))
    pool = queries.pool
    asked = [words_of(pool.texts[i]) for i in pool.text[queries.point]]
    items = [words_of(pool.texts[i]) for i in pool.text[queries.first]]

    def distance(chosen):
        return np.array([[far[asked[q], item] for item in items] for q in chosen], dtype=float)

    def logit(chosen, answers):
        return np.array([likely[asked[q], items[i]] for q, i in zip(chosen, answers, strict=True)], dtype=float)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK", chunk)
        found = (
            rank(queries, Distance.of(distance, len(queries)), SETTINGS, SecondStep(logit, weight, depth))
            if len(queries)
            else {}
        )
    for name, result in found.items():
        expected = list(by_text_in_words(pairs, name, far, likely, weight, depth))
        assert [pairs[pool.row[i]].id for i in queries.point] == [row[0] for row in expected]
        ranks = [[row[row > 0].tolist() for row in step.right] for step in (result.retrieved, result.reranked)]
        rows = zip(result.candidates, ranks[0], result.retrieved.ties_hit, ranks[1], result.reranked.best_right, strict=True)
        assert [(int(n), before, int(ties), after, bool(hit)) for n, before, ties, after, hit in rows] == [
            row[1:] for row in expected
        ]
        assert (result.reranked.best_right == (result.reranked.rank == 1)).all()


def test_what_came_out_on_top_is_named_by_an_argument_in_scope():
    pairs = [Pair("0", "t", "d", "pro", "a", "b"), Pair("1", "t", "e", "pro", "c", "d"), Pair("2", "t", "d", "pro", "e", "c")]
    queries = by_text(Pool.of(pairs))
    (found,) = rank(queries, of_table(np.tile([0, 2, 1, 2, 2.0], (3, 1))), {"sdc": SETTINGS["sdc"]}).values()
    assert found.retrieved.best[0] == 5  # c, as the counter that stands in the query's debate, not as the point elsewhere


# --- counting against sorting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("answers", ["row", "text"])
@pytest.mark.parametrize("spacing", [1.0, 2.0**-12, 2.0**-20])
def test_counting_gives_what_sorting_all_exact_distances_gives(answers, spacing):
    """On a grid, far from 0, distances tie exactly, or differ by less than float32's product of matrices can tell."""
    rng = np.random.default_rng(5)
    n, d = 60, 4
    pairs = [Pair(str(i), f"t{i % 2}", f"d{i % 5}", ("pro", "con")[i % 2], f"p{i % 50}", f"c{i % 45}") for i in range(n)]
    pool = Pool.of(pairs)
    grid = [(7 + spacing * rng.integers(0, 3, size=(len(pool.texts), d))).astype(np.float32) for _ in range(2)]
    vectors = [Vectors(torch.tensor(side), torch.tensor(side)) for side in grid]
    queries = reading.READINGS[answers](pool)
    logit = np.random.default_rng(0).integers(0, 3, size=(len(queries), len(queries.first)))
    second = SecondStep(lambda q, i: logit[q, i].astype(float), 1e6, 7)
    found = rank(queries, euclidean(queries, *vectors), SETTINGS, second)
    far = ((grid[0].astype(float)[pool.text[queries.point], None] - grid[1].astype(float)[pool.text[queries.first]]) ** 2).sum(
        2
    )
    assert len(np.unique(far)) < far.size / 20
    everyone = np.arange(len(queries))
    for name, setting in SETTINGS.items():
        allowed = is_candidate(queries, everyone, in_scope(queries, everyone, setting))
        for q in everyone:
            order = sorted(np.flatnonzero(allowed[q]), key=lambda item, q=q: (far[q, item], item))
            right = queries.right[q][queries.right[q] >= 0]
            assert found[name].retrieved.right[q][: len(right)].tolist() == sorted(1 + order.index(item) for item in right)
            nearest = min(far[q, item] for item in right)
            assert found[name].retrieved.ties_hit[q] == 1 + sum(far[q, item] < nearest for item in order)
            assert queries.item[found[name].retrieved.best[q]] == order[0]
            order[:7] = sorted(order[:7], key=lambda item, q=q: -logit[q, item])
            assert found[name].reranked.right[q][: len(right)].tolist() == sorted(1 + order.index(item) for item in right)


def test_the_error_of_the_product_is_within_its_bound():
    pool = Pool.of([Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(50)])
    queries = by_text(pool)
    everyone, items = np.repeat(np.arange(50), 100), np.tile(np.arange(100), 50)
    for scale, away in ((1.0, 0.0), (100.0, 0.0), (0.01, 50.0)):
        vectors = [Vectors(side, side) for side in scale * torch.randn(2, 100, 384) + away]
        distance = euclidean(queries, *vectors)
        near = distance.near(np.arange(50)).astype(float) + distance.shift[:, None]
        off = np.abs(near - distance.exact(everyone, items).reshape(50, 100))
        assert (off <= distance.error[:, None]).all()
        assert off.max() > 0
