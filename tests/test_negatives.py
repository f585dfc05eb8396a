from collections import Counter

import numpy as np
import pytest
import torch

from counterpoint.corpus import read_corpus
from counterpoint.errors import InputError
from counterpoint.negatives import draw, draw_random, forbidden_groups, nearest_wrong, random_rate
from counterpoint.pool import Pool
from counterpoint.records import Pair
from counterpoint.seeds import generator


def pool_of(*pairs):
    return Pool.of([Pair(str(i), None, None, None, point, counter) for i, (point, counter) in enumerate(pairs)])


# Points A and a are twins with the counters B and C; b is a twin of a counter; positions: points 0-3, counters 4-7.
TWINS = pool_of(("A", "B"), ("a", "C"), ("b", "D"), ("E", "F"))
WRONG = {0: {3, 6, 7}, 1: {3, 6, 7}, 2: {0, 1, 3, 5, 7}, 3: {0, 1, 2, 4, 5, 6}}


@pytest.mark.parametrize(
    ("start", "decay", "floor", "rates"),
    [
        (1.0, 0.1, 0.0, [1.0, 0.9, 0.8, 0.7]),  # the original went 0.8, 1.0, 0.99
        (1.0, 0.005, 0.0, [1.0, 0.995, 0.99, 0.985]),
        (1.0, None, 0.0, [1.0, 1.0, 1.0, 1.0]),  # the original decayed here, too
        (0.4, None, 0.1, [0.4, 0.4, 0.4, 0.4]),
        (1.0, 0.4, 0.1, [1.0, 0.6, 0.2, 0.1]),
        (1.0, 0.0, 0.0, [1.0, 1.0, 1.0, 1.0]),
        (0.0, 0.5, 0.0, [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_the_rate_starts_at_random_rate_and_falls_by_decay(start, decay, floor, rates):
    assert [random_rate(epoch, start, decay, floor) for epoch in range(4)] == rates


def test_wrong_is_outside_the_own_group_and_outside_every_counter_s_of_that_group():
    forbidden = forbidden_groups(TWINS)
    for point, wrong in WRONG.items():
        allowed = {i for i in range(len(TWINS)) if TWINS.text_group[i] not in forbidden[point]}
        assert allowed == wrong


def test_a_random_draw_is_uniform_over_all_wrong_arguments():
    forbidden, rng = forbidden_groups(TWINS), np.random.default_rng(0)
    drawn = [draw_random(TWINS, forbidden, 1, rng)[:, 0] for _ in range(3000)]
    for point, wrong in WRONG.items():
        counts = Counter(int(ids[point]) for ids in drawn)
        assert set(counts) == wrong
        assert max(counts.values()) < 1.25 * min(counts.values())


def test_several_random_negatives_of_a_point_differ():
    forbidden = forbidden_groups(TWINS)
    for seed in range(50):
        ids = draw_random(TWINS, forbidden, 3, np.random.default_rng(seed))
        assert all(len(set(TWINS.text_group[row])) == 3 for row in ids)
        assert all(set(row) <= WRONG[point] for point, row in enumerate(ids.tolist()))


def test_a_draw_that_cannot_be_is_refused():
    with pytest.raises(InputError, match="training row 0 has 3, got 4"):
        draw_random(TWINS, forbidden_groups(TWINS), 4, np.random.default_rng(0))
    with pytest.raises(InputError, match="has 0, got 1"):
        draw_random(
            pool_of(("A", "B"), ("a", "b")), forbidden_groups(pool_of(("A", "B"), ("a", "b"))), 1, np.random.default_rng(0)
        )


@pytest.mark.parametrize("backend", ["exact", "balltree"])
@pytest.mark.parametrize("k", [1, 3])
def test_the_nearest_wrong_arguments_are_brute_force_s(arguana, backend, k):
    pool = Pool.of([pair for split, pair in read_corpus(arguana).rows if split == "training" and pair.counter])
    by_text = torch.tensor(np.random.default_rng(3).normal(size=(len(pool.texts), 4)), dtype=torch.float32)
    vectors = by_text[torch.as_tensor(pool.text)]
    queries = vectors[torch.as_tensor(pool.queries)] + 0.01
    forbidden = forbidden_groups(pool)
    ids = nearest_wrong(pool, forbidden, queries, vectors, np.full(len(queries), k), backend)
    distances = (queries[:, None] - vectors[torch.as_tensor(ids)]).norm(dim=2)
    for i, query in enumerate(pool.queries):
        own = pool.text_group[query]
        right = {own} | {pool.text_group[pool.counter_of[q]] for q in pool.queries if pool.text_group[q] == own}
        nearest = {}  # text group -> distance
        for j in range(len(pool)):
            if pool.text_group[j] not in right:
                nearest[pool.text_group[j]] = float((queries[i] - vectors[j]).norm())
        np.testing.assert_allclose(distances[i], sorted(nearest.values())[:k], rtol=1e-5)
        assert len({pool.text_group[j] for j in ids[i]}) == k
        assert not {pool.text_group[j] for j in ids[i]} & right


def test_mining_asks_for_more_while_twins_fill_the_first_places():
    """20 twins of the point stand between it and the only wrong answers."""
    pool = pool_of(*[("A", f"counter {i}") for i in range(20)], ("far", "farther"))
    position = torch.tensor([[0.0]] * 20 + [[5.0]] + [[1.0]] * 20 + [[6.0]])
    ids = nearest_wrong(pool, forbidden_groups(pool), position[:21], position, np.full(21, 2), "exact")
    assert ids[0].tolist() == [20, 41]


def line(*places):
    return torch.tensor(places, dtype=torch.float32)[:, None]


def test_a_draw_mixes_random_and_nearest_by_the_rate():
    pool = pool_of(*[(f"p{i}", f"c{i}") for i in range(500)])
    place = torch.cat([torch.arange(500.0), torch.arange(500.0) + 0.25])[:, None]
    random_ids = draw_random(pool, forbidden_groups(pool), 1, np.random.default_rng(1))
    shares = {}
    for rate in (0.0, 0.3, 1.0):
        drawn = draw(pool, forbidden_groups(pool), place[:500], place, random_ids, rate, generator(5, 2, "rate"), "exact")
        assert np.array_equal(drawn.ids[drawn.was_random], random_ids[drawn.was_random])
        mined = drawn.ids[~drawn.was_random]
        points = np.flatnonzero(~drawn.was_random[:, 0])
        # the nearest wrong one is the counter of the point before, at 0.75; the first point's is the next point, at 1
        assert mined.tolist() == [1 if i == 0 else 500 + i - 1 for i in points]
        shares[rate] = drawn.was_random.mean()
    assert shares[0.0] == 0
    assert shares[1.0] == 1
    assert 0.24 < shares[0.3] < 0.36


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.8])
def test_of_several_negatives_the_mined_ones_are_the_nearest_that_were_not_drawn(arguana, rate):
    pool = Pool.of([pair for split, pair in read_corpus(arguana).rows if split == "training" and pair.counter])
    by_text = torch.tensor(np.random.default_rng(4).normal(size=(len(pool.texts), 5)), dtype=torch.float32)
    vectors = by_text[torch.as_tensor(pool.text)]
    forbidden, queries = forbidden_groups(pool), vectors[torch.as_tensor(pool.queries)]
    random_ids = draw_random(pool, forbidden, 4, np.random.default_rng(5))
    drawn = draw(pool, forbidden, queries, vectors, random_ids, rate, generator(1, 1, "rate"), "exact")
    for i in range(len(queries)):
        stayed = drawn.was_random[i]
        assert drawn.ids[i, stayed].tolist() == random_ids[i, stayed].tolist()
        taken = {*forbidden[i], *pool.text_group[random_ids[i, stayed]]}
        left = {
            pool.text_group[j]: float((queries[i] - vectors[j]).norm())
            for j in range(len(pool))
            if pool.text_group[j] not in taken
        }
        np.testing.assert_allclose(drawn.distance[i, ~stayed], sorted(left.values())[: (~stayed).sum()], rtol=1e-5)
        assert len(set(pool.text_group[drawn.ids[i]])) == 4


def test_all_wrong_texts_can_be_asked_for():
    pool = pool_of(*[(f"p{i}", f"c{i}") for i in range(3)])
    forbidden, place = forbidden_groups(pool), line(0, 1, 2, 3, 4, 5)
    random_ids = draw_random(pool, forbidden, 4, np.random.default_rng(0))
    for seed in range(20):
        drawn = draw(pool, forbidden, place[:3], place, random_ids, 0.5, generator(seed, 0, "rate"), "exact")
        assert [set(row) for row in drawn.ids.tolist()] == [{1, 2, 4, 5}, {0, 2, 3, 5}, {0, 1, 3, 4}]


def test_hardness_is_the_mean_of_how_much_nearer_the_negative_is():
    pool = pool_of(("a", "b"), ("c", "d"))
    place = line(0, 10, 4, 11)  # points 0 and 10, their counters at 4 and 11
    drawn = draw(pool, forbidden_groups(pool), place[:2], place, np.array([[1], [0]]), 0.0, generator(0, 0, "rate"), "exact")
    assert drawn.ids.tolist() == [[1], [2]]
    assert drawn.distance.tolist() == [[10], [6]]
    assert drawn.to_counter.tolist() == [4, 1]
    assert drawn.hardness == ((4 - 10) + (1 - 6)) / 2


def test_a_point_can_be_a_negative_as_well_as_a_counter():
    pool = pool_of(("a", "b"), ("c", "d"))
    drawn = draw(
        pool, forbidden_groups(pool), line(0, 1), line(0, 1, 5, 9), np.array([[3], [2]]), 0.0, generator(0, 0, "rate"), "exact"
    )
    assert drawn.ids.tolist() == [[1], [0]]  # each other's point
    assert pool.source[drawn.ids].tolist() == [[0], [0]]
