from collections import Counter

import numpy as np
import pytest
import torch

from conftest import usable
from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.core.errors import InputError
from counterpoint.core.sections import NegativesParams
from counterpoint.negatives.first import drawn_again, first_negatives, negatives_of, with_negatives
from counterpoint.negatives.mining import nearest_wrong
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.negatives.schedule import Schedule
from counterpoint.negatives.wrong import draw_random, right_groups


def pool_of(*pairs):
    return Pool.of([Pair(str(i), None, None, None, point, counter) for i, (point, counter) in enumerate(pairs)])


# Points A and a are twins with the counters B and C; b is a twin of a counter; positions: points 0-3, counters 4-7.
TWINS = pool_of(("A", "B"), ("a", "C"), ("b", "D"), ("E", "F"))
WRONG = {0: {3, 6, 7}, 1: {3, 6, 7}, 2: {0, 1, 3, 5, 7}, 3: {0, 1, 2, 4, 5, 6}}


def test_wrong_is_outside_the_own_group_and_outside_every_counter_s_of_that_group():
    right = right_groups(TWINS)
    for point, wrong in WRONG.items():
        allowed = {i for i in range(len(TWINS)) if TWINS.text_group[i] not in right[point]}
        assert allowed == wrong


def test_a_random_draw_is_uniform_over_all_wrong_arguments():
    right, rng = right_groups(TWINS), np.random.default_rng(0)
    drawn = [draw_random(TWINS, right, 1, rng)[:, 0] for _ in range(3000)]
    for point, wrong in WRONG.items():
        counts = Counter(int(ids[point]) for ids in drawn)
        assert set(counts) == wrong
        assert max(counts.values()) < 1.25 * min(counts.values())


def test_several_random_negatives_of_a_point_differ():
    right = right_groups(TWINS)
    for seed in range(50):
        ids = draw_random(TWINS, right, 3, np.random.default_rng(seed))
        assert all(len(set(TWINS.text_group[row])) == 3 for row in ids)
        assert all(set(row) <= WRONG[point] for point, row in enumerate(ids.tolist()))


def test_a_draw_that_cannot_be_is_refused():
    with pytest.raises(InputError, match="training row 0 has 3, got 4"):
        draw_random(TWINS, right_groups(TWINS), 4, np.random.default_rng(0))
    with pytest.raises(InputError, match="has 0, got 1"):
        first_negatives(pool_of(("A", "B"), ("a", "b")), 1, seed=0)


@pytest.mark.parametrize("backend", ["exact", "balltree"])
@pytest.mark.parametrize("k", [1, 3])
def test_the_nearest_wrong_arguments_are_brute_force_s(arguana, backend, k):
    pool = Pool.of(usable(arguana, "training"))
    by_text = torch.tensor(np.random.default_rng(3).normal(size=(len(pool.texts), 4)), dtype=torch.float32)
    vectors = by_text[torch.as_tensor(pool.text)]
    queries = vectors[torch.as_tensor(pool.queries)] + 0.01
    ids, far = nearest_wrong(pool, right_groups(pool), queries, vectors, np.full(len(queries), k), backend)
    distances = (queries[:, None] - vectors[torch.as_tensor(ids)]).norm(dim=2)
    for i, query in enumerate(pool.queries):
        own = pool.text_group[query]
        right = {own} | {pool.text_group[pool.counter_of[q]] for q in pool.queries if pool.text_group[q] == own}
        nearest = {}  # text group -> distance
        for j in range(len(pool)):
            if pool.text_group[j] not in right:
                nearest[pool.text_group[j]] = float((queries[i] - vectors[j]).norm())
        np.testing.assert_allclose(distances[i], sorted(nearest.values())[:k], rtol=1e-5)
        np.testing.assert_allclose(far[i], distances[i], rtol=1e-5)
        assert len({pool.text_group[j] for j in ids[i]}) == k
        assert not {pool.text_group[j] for j in ids[i]} & right


def test_mining_asks_for_more_while_twins_fill_the_first_places():
    """20 twins of the point stand between it and the only wrong answers."""
    pool = pool_of(*[("A", f"counter {i}") for i in range(20)], ("far", "farther"))
    position = torch.tensor([[0.0]] * 20 + [[5.0]] + [[1.0]] * 20 + [[6.0]])
    ids, _ = nearest_wrong(pool, right_groups(pool), position[:21], position, np.full(21, 2), "exact")
    assert ids[0].tolist() == [20, 41]


def test_the_triples_name_negatives_by_source_and_row_and_give_them_back():
    pairs = [Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(6)]
    pool = Pool.of(pairs)
    ids = first_negatives(pool, 2, seed=13)
    stored = with_negatives(pairs, pool, ids)
    for pair, drawn in zip(stored, ids, strict=True):
        texts = [(pairs[row].point, pairs[row].counter)[source] for source, row in pair.negatives]
        assert texts == [pool.texts[pool.text[i]] for i in drawn]
    assert np.array_equal(negatives_of(stored, pool), ids)
    assert not np.array_equal(first_negatives(pool, 2, seed=14), ids)


def sampler(pool, rate, first, seed=0, normalized=False, **changes):
    """One whose rate stays, over a pool in which no text stands twice."""
    first = np.asarray(first)
    values = {"search": "exact", "per_point": first.shape[1], "every": 1, "window": [1, 1], "margin": None, "keep": 0.0}
    params = NegativesParams(**(values | changes))
    return NegativeSampler(pool, Schedule(rate, None, 0.0), params, seed, first, normalized=normalized)


def line(*places):
    return torch.tensor(places, dtype=torch.float32)[:, None]


def test_a_draw_mixes_random_and_nearest_by_the_rate():
    pool = pool_of(*[(f"p{i}", f"c{i}") for i in range(500)])
    place = torch.cat([torch.arange(500.0), torch.arange(500.0) + 0.25])[:, None]
    first = draw_random(pool, right_groups(pool), 1, np.random.default_rng(1))
    shares = {}
    for rate in (0.0, 0.3, 1.0):
        drawn = sampler(pool, rate, first, seed=5).draw(0, place, place)
        assert np.array_equal(drawn.ids[drawn.was_random], first[drawn.was_random])
        mined = drawn.ids[~drawn.was_random]
        points = np.flatnonzero(~drawn.was_random[:, 0])
        # the nearest wrong one is the counter of the point before, at 0.75; the first point's is the next point, at 1
        assert mined.tolist() == [1 if i == 0 else 500 + i - 1 for i in points]
        shares[rate] = drawn.was_random.mean()
    assert shares[0.0] == 0
    assert shares[1.0] == 1
    assert 0.24 < shares[0.3] < 0.36


def test_every_epoch_is_a_function_of_seed_and_epoch():
    pool = pool_of(*[(f"p{i}", f"c{i}") for i in range(50)])
    place = torch.arange(100.0)[:, None]
    first = first_negatives(pool, 1, seed=3)
    one, other, another_seed = (sampler(pool, 0.5, first, seed) for seed in (7, 7, 8))
    for epoch in range(3):
        one.draw(epoch, place, place)
    for epoch in (0, 2):
        assert np.array_equal(other.draw(epoch, place, place).ids, one.draws[epoch].ids)
    assert not np.array_equal(one.draws[1].ids, one.draws[2].ids)
    random = one.draws[0].was_random
    assert np.array_equal(one.draws[0].ids[random], first[random])  # epoch 0 takes those of the triples, whatever the seed
    drawn = another_seed.draw(0, place, place)
    assert np.array_equal(drawn.ids[drawn.was_random], first[drawn.was_random])
    assert not np.array_equal(drawn.was_random, random)


def test_the_draws_as_columns():
    pool = pool_of(("a", "b"), ("c", "d"))
    drawing = sampler(pool, 0.0, [[1], [0]])
    assert drawing.columns()["source"].shape == (0, 2, 1)
    drawing.draw(0, line(0, 10, 4, 11), line(0, 10, 4, 11))
    drawing.draw(1, line(0, 10, 30, 40), line(0, 10, 30, 40))
    columns = drawing.columns()
    assert {name: (values.dtype.name, values.tolist()) for name, values in columns.items()} == {
        "source": ("int8", [[[0], [1]], [[0], [0]]]),
        "index": ("int32", [[[1], [0]], [[1], [0]]]),
        **{name: ("bool", [[[False]] * 2] * 2) for name in ("was_random", "was_kept", "was_filtered")},
        "distance": ("float32", [[[10.0], [6.0]], [[10.0], [10.0]]]),
    }


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.8])
def test_of_several_negatives_the_mined_ones_are_the_nearest_that_were_not_drawn(arguana, rate):
    pool = Pool.of(usable(arguana, "training"))
    by_text = torch.tensor(np.random.default_rng(4).normal(size=(len(pool.texts), 5)), dtype=torch.float32)
    vectors = by_text[torch.as_tensor(pool.text)]
    right, queries = right_groups(pool), vectors[torch.as_tensor(pool.queries)]
    first = draw_random(pool, right, 4, np.random.default_rng(5))
    drawn = sampler(pool, rate, first, seed=1).draw(0, by_text, by_text)
    for i in range(len(queries)):
        stayed = drawn.was_random[i]
        assert drawn.ids[i, stayed].tolist() == first[i, stayed].tolist()
        taken = {*right[i], *pool.text_group[first[i, stayed]]}
        left = {
            pool.text_group[j]: float((queries[i] - vectors[j]).norm())
            for j in range(len(pool))
            if pool.text_group[j] not in taken
        }
        np.testing.assert_allclose(drawn.distance[i, ~stayed], sorted(left.values())[: (~stayed).sum()], rtol=1e-5)
        assert len(set(pool.text_group[drawn.ids[i]])) == 4


def test_all_wrong_texts_can_be_asked_for():
    pool = pool_of(*[(f"p{i}", f"c{i}") for i in range(3)])
    place = line(0, 1, 2, 3, 4, 5)
    first = draw_random(pool, right_groups(pool), 4, np.random.default_rng(0))
    for seed in range(20):
        drawn = sampler(pool, 0.5, first, seed).draw(0, place, place)
        assert [set(row) for row in drawn.ids.tolist()] == [{1, 2, 4, 5}, {0, 2, 3, 5}, {0, 1, 3, 4}]


def test_hardness_is_the_mean_of_how_much_nearer_the_negative_is():
    place = line(0, 10, 4, 11)  # points 0 and 10, their counters at 4 and 11
    drawn = sampler(pool_of(("a", "b"), ("c", "d")), 0.0, [[1], [0]]).draw(0, place, place)
    assert drawn.ids.tolist() == [[1], [2]]
    assert drawn.distance.tolist() == [[10], [6]]
    assert drawn.to_counter.tolist() == [4, 1]
    assert drawn.hardness == ((4 - 10) + (1 - 6)) / 2


def test_a_point_can_be_a_negative_as_well_as_a_counter():
    pool, place = pool_of(("a", "b"), ("c", "d")), line(0, 1, 5, 9)
    drawn = sampler(pool, 0.0, [[3], [2]]).draw(0, place, place)
    assert drawn.ids.tolist() == [[1], [0]]  # each other's point
    assert pool.source[drawn.ids].tolist() == [[0], [0]]


def test_a_first_negative_that_the_encoder_takes_for_a_right_answer_is_drawn_again():
    pool = pool_of(("A", "B"), ("C", "D"), ("E", "F"))
    tokens = np.array([0, 1, 2, 3, 4, 0])  # texts A C E B D F: F has A's token ids
    merged = pool.merged(tokens)
    ids = np.array([[5], [0], [1]])  # F for A, A for C, C for E
    again, n = drawn_again(merged, ids, seed=3)
    assert n == 1
    assert again[1:].tolist() == [[0], [1]]
    assert again[0, 0] in (1, 2, 4)  # neither A nor its counter B, and not what looks like A
    assert drawn_again(pool, ids, seed=3)[1] == 0


# Point i stands at 100 i, its counter at 100 i + 50; the wrong answers of point 0 come in the order p1 c1 p2 c2 …
ROW = 12
LADDER = pool_of(*[(f"p{i}", f"c{i}") for i in range(ROW)])
STEPS = torch.cat([100 * torch.arange(ROW), 100 * torch.arange(ROW) + 50]).float()[:, None]
OF_POINT_0 = [i for pair in zip(range(1, ROW), range(ROW + 1, 2 * ROW), strict=True) for i in pair]  # by rank


def windowed(window, k=1, seeds=range(200), place=STEPS, **changes):
    """What point 0 draws, seed by seed."""
    first = draw_random(LADDER, right_groups(LADDER), k, np.random.default_rng(0))
    draws = [sampler(LADDER, 0.0, first, seed, window=window, **changes).draw(0, place, place) for seed in seeds]
    return [draw.ids[0].tolist() for draw in draws], draws


@pytest.mark.parametrize(("window", "ranks"), [([1, 1], [1]), ([1, 4], [1, 2, 3, 4]), ([3, 5], [3, 4, 5]), ([22, 22], [22])])
def test_a_mined_negative_is_drawn_uniformly_from_the_window_of_ranks(window, ranks):
    drawn, _ = windowed(window)
    counts = Counter(OF_POINT_0.index(ids[0]) + 1 for ids in drawn)
    assert sorted(counts) == ranks
    assert min(counts.values()) > 0.6 * 200 / len(ranks)


def test_a_window_moves_where_it_holds_too_few():
    drawn, _ = windowed([2, 2], k=3, seeds=range(5))
    assert drawn == [OF_POINT_0[1:4]] * 5  # its end moves back
    drawn, _ = windowed([22, 22], k=3, seeds=range(5))
    assert drawn == [OF_POINT_0[19:22]] * 5  # and there are no more: it begins earlier
    drawn, _ = windowed([100, 200], seeds=range(5))
    assert drawn == [OF_POINT_0[21:22]] * 5


def test_several_of_a_window_differ():
    drawn, _ = windowed([1, 4], k=3, seeds=range(60))
    assert all(len(set(ids)) == 3 and set(ids) <= set(OF_POINT_0[:4]) for ids in drawn)
    assert {frozenset(ids) for ids in drawn} == {frozenset(OF_POINT_0[:4]) - {i} for i in OF_POINT_0[:4]}


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.43, 0.45, 1.0])
def test_without_unit_length_the_margin_is_on_the_squared_distance(margin):
    """Counter 0 is at 50, point 1 at 60: the similarities are -2500 and -3600, and -2500 - m * 2500 is the most that may be."""
    near = STEPS.clone()
    near[1] = 60.0
    _, draws = windowed([1, 1], seeds=range(20), place=near, margin=margin)
    assert {bool(draw.was_filtered[0, 0]) for draw in draws} == {margin > 0.44}
    assert all(draw.was_filtered[0, 0] == draw.was_random[0, 0] for draw in draws)
    if margin <= 0.44:
        assert {draw.ids[0, 0] for draw in draws} == {1}


@pytest.mark.parametrize(("right", "allowed"), [(0.8, 0.76), (0.2, 0.19), (-0.2, -0.21)])
def test_the_margin_is_a_share_of_the_cosine_and_safe_for_its_sign(right, allowed):
    """Point 0 lies along x, its counter at the cosine right; point 1 and counter 1 are right below and above the limit."""
    cosines = torch.tensor([1.0, allowed - 0.005, right, allowed + 0.005])  # p0 p1 c0 c1
    vectors = torch.stack([cosines, (1 - cosines**2).sqrt()], dim=1)
    pool, first = pool_of(("a", "b"), ("c", "d")), [[3], [0]]
    without = sampler(pool, 0.0, first, normalized=True).draw(0, vectors, vectors)
    assert without.ids[0].tolist() == [3]
    drawn = sampler(pool, 0.0, first, normalized=True, margin=0.05, window=[1, 2]).draw(0, vectors, vectors)
    assert drawn.ids[0].tolist() == [1]
    assert not drawn.was_filtered[0, 0]
    empty = sampler(pool, 0.0, first, normalized=True, margin=0.05).draw(0, vectors, vectors)
    assert (empty.was_filtered[0, 0], empty.was_random[0, 0]) == (True, True)
    assert empty.ids[0, 0] in (1, 3)


def test_what_the_margin_empties_is_filled_with_other_wrong_texts():
    close = STEPS.clone()
    close[:ROW] = torch.arange(ROW).float()[:, None] / 100  # all points nearer than any counter
    _, draws = windowed([1, 4], k=4, seeds=range(30), place=close, margin=0.05)
    for draw in draws:
        assert draw.was_filtered.all()
        assert all(len(set(LADDER.text_group[ids])) == 4 for ids in draw.ids)
        assert not any({i, ROW + i} & set(ids) for i, ids in enumerate(draw.ids.tolist()))


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_a_share_of_the_last_draw_stays_with_how_it_was_drawn(rate):
    pool = pool_of(*[(f"p{i}", f"c{i}") for i in range(500)])
    place = torch.cat([torch.arange(500.0), torch.arange(500.0) + 0.25])[:, None]
    other = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))  # another embedding: what is mined anew is another
    first = draw_random(pool, right_groups(pool), 2, np.random.default_rng(1))
    drawing = sampler(pool, rate, first, seed=5, keep=0.3)
    one, two = drawing.draw(0, place, place), drawing.draw(1, other, other)
    assert not one.was_kept.any()
    assert 0.26 < two.was_kept.mean() < 0.34
    assert np.array_equal(two.ids[two.was_kept], one.ids[two.was_kept])
    assert np.array_equal(two.was_random[two.was_kept], one.was_random[two.was_kept])
    assert (two.ids[~two.was_kept] == one.ids[~two.was_kept]).mean() < 0.02
    assert abs(two.was_random.mean() - rate) < 0.06
    assert all(len(set(pool.text_group[ids])) == 2 for ids in two.ids)
    again = sampler(pool, rate, first, seed=5, keep=0.3)
    again.draws.append(one)  # as a resumed run does
    assert np.array_equal(again.draw(1, other, other).ids, two.ids)


def test_all_that_is_wrong_can_be_asked_for_and_kept():
    """No place is left for twins: what stays and what comes anew share out all wrong texts."""
    pool = pool_of(*[(f"p{i}", f"c{i}") for i in range(3)])
    place = line(0, 1, 2, 3, 4, 5)
    first = draw_random(pool, right_groups(pool), 4, np.random.default_rng(0))
    for seed in range(20):
        drawing = sampler(pool, 0.5, first, seed, keep=0.5, window=[2, 3], margin=0.5)
        for epoch in range(3):
            drawn = drawing.draw(epoch, place, place)
            assert [set(row) for row in drawn.ids.tolist()] == [{1, 2, 4, 5}, {0, 2, 3, 5}, {0, 1, 3, 4}]


def test_how_few_wrong_texts_a_point_has():
    assert sampler(TWINS, 1.0, np.array([[3], [3], [5], [0]])).fewest == 3  # of the groups A B C D E F, A's points: D E F
    assert sampler(LADDER, 1.0, draw_random(LADDER, right_groups(LADDER), 1, np.random.default_rng(0))).fewest == 22
