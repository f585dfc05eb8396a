from collections import Counter
from functools import cache, partial

import numpy as np
import pytest
import torch
import yaml

from conftest import fixture_params, usable
from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.core.errors import InputError
from counterpoint.core.params import parse_params
from counterpoint.core.rows import Rows
from counterpoint.core.sections import NegativesParams
from counterpoint.negatives.draws import Draws
from counterpoint.negatives.eligible import (
    draw_random,
    excluded_groups,
    fill_random,
    initial_negatives,
    is_eligible,
    is_first,
    negatives_of,
    redraw_ineligible,
    with_negatives,
)
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.negatives.schedule import Schedule
from counterpoint.negatives.search import nearest_eligible, search


def pool_of(*pairs):
    return Pool.of([Pair(str(i), None, None, None, point, counter) for i, (point, counter) in enumerate(pairs)])


# Points A and a are duplicates with the counters B and C; b is a duplicate of a counter; positions: points 0-3, counters 4-7.
DUPLICATES = pool_of(("A", "B"), ("a", "C"), ("b", "D"), ("E", "F"))
ELIGIBLE = {0: {3, 6, 7}, 1: {3, 6, 7}, 2: {0, 1, 3, 5, 7}, 3: {0, 1, 2, 4, 5, 6}}


def test_eligible_negatives_are_neither_the_point_nor_a_positive_nor_a_duplicate_of_one():
    excluded = excluded_groups(DUPLICATES)
    everything = np.tile(np.arange(len(DUPLICATES)), (4, 1))
    for row, (point, eligible) in zip(is_eligible(DUPLICATES, excluded, everything), ELIGIBLE.items(), strict=True):
        assert {i for i in range(len(DUPLICATES)) if DUPLICATES.text_group[i] not in [*excluded][point]} == eligible
        assert set(np.flatnonzero(row)) == eligible


def test_the_first_of_equal_entries_of_a_row():
    assert is_first(np.array([[3, 1, 3, 1], [2, 2, 2, 0]])).tolist() == [[True, True, False, False], [True, False, False, True]]


def test_a_random_draw_is_uniform_over_all_eligible_arguments():
    excluded, rng = excluded_groups(DUPLICATES), np.random.default_rng(0)
    draws = [draw_random(DUPLICATES, excluded, 1, rng)[:, 0] for _ in range(3000)]
    for point, eligible in ELIGIBLE.items():
        counts = Counter(int(ids[point]) for ids in draws)
        assert set(counts) == eligible
        assert max(counts.values()) < 1.25 * min(counts.values())


def test_several_random_negatives_of_a_point_differ():
    excluded = excluded_groups(DUPLICATES)
    for seed in range(50):
        ids = draw_random(DUPLICATES, excluded, 3, np.random.default_rng(seed))
        assert all(len(set(DUPLICATES.text_group[row])) == 3 for row in ids)
        assert all(set(row) <= ELIGIBLE[point] for point, row in enumerate(ids.tolist()))


def test_filling_replaces_only_empty_places_and_makes_no_duplicates():
    excluded = excluded_groups(DUPLICATES)
    ids, empty = np.array([[3, 7, 0], [6, 3, 0], [0, 3, 7], [4, 0, 2]]), np.array([[True, False, True]] * 4)
    for seed in range(50):
        filled = fill_random(DUPLICATES, excluded, ids, empty, np.random.default_rng(seed))
        assert np.array_equal(filled[:, 1], ids[:, 1])
        assert is_eligible(DUPLICATES, excluded, filled).all()
        assert is_first(DUPLICATES.text_group[filled]).all()


def test_more_negatives_than_eligible_texts_are_refused():
    rule = r"negatives\.per_point must be at most the number of distinct eligible texts of a point; "
    with pytest.raises(InputError, match=f"{rule}training row 0 has 3, got 4"):
        draw_random(DUPLICATES, excluded_groups(DUPLICATES), 4, np.random.default_rng(0))
    with pytest.raises(InputError, match=f"{rule}training row 0 has 0, got 1"):
        initial_negatives(pool_of(("A", "B"), ("a", "b")), 1, seed=0)


@pytest.mark.parametrize("backend", ["exact", "balltree"])
@pytest.mark.parametrize("k", [1, 3])
def test_the_nearest_eligible_arguments_against_brute_force(arguana, backend, k):
    pool = Pool.of(usable(arguana, "training"))
    by_text = torch.tensor(np.random.default_rng(3).normal(size=(len(pool.texts), 4)), dtype=torch.float32)
    vectors = by_text[torch.as_tensor(pool.text)]
    queries = vectors[torch.as_tensor(pool.queries)] + 0.01
    count, find = np.full(len(queries), k), partial(search, backend=backend)
    ids, distances = nearest_eligible(pool, excluded_groups(pool), Rows(queries), Rows(vectors), count, find)
    expected = (queries[:, None] - vectors[torch.as_tensor(ids)]).norm(dim=2)
    for i, query in enumerate(pool.queries):
        group = pool.text_group[query]
        excluded = {group} | {pool.text_group[pool.counter_of[q]] for q in pool.queries if pool.text_group[q] == group}
        nearest = {}  # text group -> distance
        for j in range(len(pool)):
            if pool.text_group[j] not in excluded:
                nearest[pool.text_group[j]] = float((queries[i] - vectors[j]).norm())
        np.testing.assert_allclose(expected[i], sorted(nearest.values())[:k], rtol=1e-5)
        np.testing.assert_allclose(distances[i], expected[i], rtol=1e-5)
        assert len({pool.text_group[j] for j in ids[i]}) == k
        assert not {pool.text_group[j] for j in ids[i]} & excluded


def test_mining_searches_further_while_duplicates_fill_the_first_places():
    """20 duplicates of the point stand between it and the only eligible arguments."""
    pool = pool_of(*[("A", f"counter {i}") for i in range(20)], ("far", "farther"))
    position = torch.tensor([[0.0]] * 20 + [[5.0]] + [[1.0]] * 20 + [[6.0]])
    ids, _ = nearest_eligible(pool, excluded_groups(pool), Rows(position[:21]), Rows(position), np.full(21, 2), search)
    assert ids[0].tolist() == [20, 41]


def test_the_triples_name_negatives_by_source_and_row_and_give_them_back():
    pairs = [Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(6)]
    pool = Pool.of(pairs)
    ids = initial_negatives(pool, 2, seed=13)
    stored = with_negatives(pairs, pool, ids)
    for pair, drawn in zip(stored, ids, strict=True):
        texts = [(pairs[row].point, pairs[row].counter)[source] for source, row in pair.negatives]
        assert texts == [pool.texts[pool.text[i]] for i in drawn]
    assert np.array_equal(negatives_of(stored, pool), ids)
    assert not np.array_equal(initial_negatives(pool, 2, seed=14), ids)


@cache
def fixture():
    return parse_params(yaml.safe_dump(fixture_params()), "params.yaml")


def sampler(pool, rate, initial, seed=0, normalized=False, **changes):
    """Return a sampler whose rate stays, over a pool without duplicates."""
    initial = np.asarray(initial)
    values = {"search": "exact", "per_point": initial.shape[1], "window": [1, 1], "margin": None, "share": 1.0}
    values |= {"given": 0.5, "file": "none"}
    model = fixture().model.model_copy(update={"normalize": normalized})
    params = fixture().model_copy(update={"seed": seed, "model": model, "negatives": NegativesParams(**(values | changes))})
    return NegativeSampler(pool, Schedule(rate, None, 0.0), params, initial)


def line(*places):
    return torch.tensor(places, dtype=torch.float32)[:, None]


def test_a_draw_mixes_random_and_nearest_by_the_rate():
    pool = pool_of(*[(f"p{i}", f"c{i}") for i in range(500)])
    place = torch.cat([torch.arange(500.0), torch.arange(500.0) + 0.25])[:, None]
    initial = draw_random(pool, excluded_groups(pool), 1, np.random.default_rng(1))
    shares = {}
    for rate in (0.0, 0.3, 1.0):
        drawn = sampler(pool, rate, initial, seed=5).draw(0, place, place)
        assert np.array_equal(drawn.ids[drawn.was_random], initial[drawn.was_random])
        mined = drawn.ids[~drawn.was_random]
        points = np.flatnonzero(~drawn.was_random[:, 0])
        # the nearest eligible one is the counter of the point before, at 0.75; the first point's is the next point, at 1
        assert mined.tolist() == [1 if i == 0 else 500 + i - 1 for i in points]
        shares[rate] = drawn.was_random.mean()
    assert shares[0.0] == 0
    assert shares[1.0] == 1
    assert 0.24 < shares[0.3] < 0.36


def test_every_epoch_is_a_function_of_seed_and_epoch():
    pool = pool_of(*[(f"p{i}", f"c{i}") for i in range(50)])
    place = torch.arange(100.0)[:, None]
    initial = initial_negatives(pool, 1, seed=3)
    one, same, another_seed = (sampler(pool, 0.5, initial, seed) for seed in (7, 7, 8))
    for epoch in range(3):
        one.draw(epoch, place, place)
    for epoch in (0, 2):
        assert np.array_equal(same.draw(epoch, place, place).ids, one.draws[epoch].ids)
    assert not np.array_equal(one.draws[1].ids, one.draws[2].ids)
    random = one.draws[0].was_random
    assert np.array_equal(one.draws[0].ids[random], initial[random])  # those on disk, whatever the seed
    drawn = another_seed.draw(0, place, place)
    assert np.array_equal(drawn.ids[drawn.was_random], initial[drawn.was_random])
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
        **{name: ("bool", [[[False]] * 2] * 2) for name in ("was_random", "was_filtered")},
        "distance": ("float32", [[[10.0], [6.0]], [[10.0], [10.0]]]),
    }


@pytest.mark.parametrize("rate", [0.0, 0.5, 0.8])
def test_of_several_negatives_the_mined_ones_are_the_nearest_that_are_not_among_the_random_ones(arguana, rate):
    pool = Pool.of(usable(arguana, "training"))
    by_text = torch.tensor(np.random.default_rng(4).normal(size=(len(pool.texts), 5)), dtype=torch.float32)
    vectors = by_text[torch.as_tensor(pool.text)]
    excluded, queries = excluded_groups(pool), vectors[torch.as_tensor(pool.queries)]
    initial = draw_random(pool, excluded, 4, np.random.default_rng(5))
    drawn = sampler(pool, rate, initial, seed=1).draw(0, by_text, by_text)
    for i in range(len(queries)):
        random = drawn.was_random[i]
        assert drawn.ids[i, random].tolist() == initial[i, random].tolist()
        taken = {*[*excluded][i], *pool.text_group[initial[i, random]]}
        left = {
            pool.text_group[j]: float((queries[i] - vectors[j]).norm())
            for j in range(len(pool))
            if pool.text_group[j] not in taken
        }
        np.testing.assert_allclose(drawn.distance[i, ~random], sorted(left.values())[: (~random).sum()], rtol=1e-5)
        assert len(set(pool.text_group[drawn.ids[i]])) == 4


def test_a_point_can_have_all_eligible_texts_as_negatives():
    pool = pool_of(*[(f"p{i}", f"c{i}") for i in range(3)])
    place = line(0, 1, 2, 3, 4, 5)
    initial = draw_random(pool, excluded_groups(pool), 4, np.random.default_rng(0))
    for seed in range(20):
        drawn = sampler(pool, 0.5, initial, seed).draw(0, place, place)
        assert [set(row) for row in drawn.ids.tolist()] == [{1, 2, 4, 5}, {0, 2, 3, 5}, {0, 1, 3, 4}]


def test_hardness_is_the_mean_distance_to_the_counter_less_that_to_the_negative():
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


def test_an_initial_negative_with_the_tokens_of_its_point_is_drawn_again():
    pool = pool_of(("A", "B"), ("C", "D"), ("E", "F"))
    tokens = np.array([0, 1, 2, 3, 4, 0])  # texts A C E B D F: F has A's token ids
    merged = pool.merged(tokens)
    ids = np.array([[5], [0], [1]])  # F for A, A for C, C for E
    again, n = redraw_ineligible(merged, ids, seed=3)
    assert n == 1
    assert again[1:].tolist() == [[0], [1]]
    assert again[0, 0] in (1, 2, 4)  # neither A nor its counter B nor F
    assert redraw_ineligible(pool, ids, seed=3)[1] == 0


# Point i stands at 100 i, its counter at 100 i + 50; the eligible negatives of point 0 come in the order p1 c1 p2 c2 …
ROW = 12
LADDER = pool_of(*[(f"p{i}", f"c{i}") for i in range(ROW)])
STEPS = torch.cat([100 * torch.arange(ROW), 100 * torch.arange(ROW) + 50]).float()[:, None]
OF_POINT_0 = [i for pair in zip(range(1, ROW), range(ROW + 1, 2 * ROW), strict=True) for i in pair]  # by rank


def windowed(window, k=1, seeds=range(200), place=STEPS, **changes):
    """Return the negatives of point 0 and all draws, seed by seed."""
    initial = draw_random(LADDER, excluded_groups(LADDER), k, np.random.default_rng(0))
    draws = [sampler(LADDER, 0.0, initial, seed, window=window, **changes).draw(0, place, place) for seed in seeds]
    return [draw.ids[0].tolist() for draw in draws], draws


@pytest.mark.parametrize(("window", "ranks"), [([1, 1], [1]), ([1, 4], [1, 2, 3, 4]), ([3, 5], [3, 4, 5]), ([22, 22], [22])])
def test_a_mined_negative_is_drawn_uniformly_from_the_window_of_ranks(window, ranks):
    drawn, _ = windowed(window)
    counts = Counter(OF_POINT_0.index(ids[0]) + 1 for ids in drawn)
    assert sorted(counts) == ranks
    assert min(counts.values()) > 0.6 * 200 / len(ranks)


def test_a_window_is_extended_where_it_holds_too_few():
    drawn, _ = windowed([2, 2], k=3, seeds=range(5))
    assert drawn == [OF_POINT_0[1:4]] * 5  # to later ranks
    drawn, _ = windowed([22, 22], k=3, seeds=range(5))
    assert drawn == [OF_POINT_0[19:22]] * 5  # no later ranks are left: it starts earlier
    drawn, _ = windowed([100, 200], seeds=range(5))
    assert drawn == [OF_POINT_0[21:22]] * 5


def test_several_negatives_of_a_window_differ():
    drawn, _ = windowed([1, 4], k=3, seeds=range(60))
    assert all(len(set(ids)) == 3 and set(ids) <= set(OF_POINT_0[:4]) for ids in drawn)
    assert {frozenset(ids) for ids in drawn} == {frozenset(OF_POINT_0[:4]) - {i} for i in OF_POINT_0[:4]}


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.43, 0.45, 1.0])
def test_without_unit_length_the_margin_is_on_the_squared_distance(margin):
    """Counter 0 is at 50, point 1 at 60: the similarities are -2500 and -3600; at most -2500 - m * 2500 is allowed."""
    near = STEPS.clone()
    near[1] = 60.0
    _, draws = windowed([1, 1], seeds=range(20), place=near, margin=margin)
    assert {bool(draw.was_filtered[0, 0]) for draw in draws} == {margin > 0.44}
    assert all(draw.was_filtered[0, 0] == draw.was_random[0, 0] for draw in draws)
    if margin <= 0.44:
        assert {draw.ids[0, 0] for draw in draws} == {1}


@pytest.mark.parametrize(("right", "allowed"), [(0.8, 0.76), (0.2, 0.19), (-0.2, -0.21)])
def test_the_margin_is_a_share_of_the_size_of_the_cosine(right, allowed):
    """Point 0 lies along x, its counter at the cosine right; point 1 and counter 1 are just below and above the limit."""
    cosines = torch.tensor([1.0, allowed - 0.005, right, allowed + 0.005])  # p0 p1 c0 c1
    vectors = torch.stack([cosines, (1 - cosines**2).sqrt()], dim=1)
    pool, initial = pool_of(("a", "b"), ("c", "d")), [[3], [0]]
    without = sampler(pool, 0.0, initial, normalized=True).draw(0, vectors, vectors)
    assert without.ids[0].tolist() == [3]
    drawn = sampler(pool, 0.0, initial, normalized=True, margin=0.05, window=[1, 2]).draw(0, vectors, vectors)
    assert drawn.ids[0].tolist() == [1]
    assert not drawn.was_filtered[0, 0]
    empty = sampler(pool, 0.0, initial, normalized=True, margin=0.05).draw(0, vectors, vectors)
    assert (empty.was_filtered[0, 0], empty.was_random[0, 0]) == (True, True)
    assert empty.ids[0, 0] in (1, 3)


def test_places_that_the_margin_empties_are_filled_with_random_eligible_texts():
    close = STEPS.clone()
    close[:ROW] = torch.arange(ROW).float()[:, None] / 100  # all points nearer than any counter
    _, draws = windowed([1, 4], k=4, seeds=range(30), place=close, margin=0.05)
    for draw in draws:
        assert draw.was_filtered.all()
        assert all(len(set(LADDER.text_group[ids])) == 4 for ids in draw.ids)
        assert not any({i, ROW + i} & set(ids) for i, ids in enumerate(draw.ids.tolist()))


def test_with_window_and_margin_a_point_can_have_all_eligible_texts():
    """No place is left for duplicates: random, mined and filtered negatives share out all eligible texts."""
    pool = pool_of(*[(f"p{i}", f"c{i}") for i in range(3)])
    place = line(0, 1, 2, 3, 4, 5)
    initial = draw_random(pool, excluded_groups(pool), 4, np.random.default_rng(0))
    for seed in range(20):
        drawing = sampler(pool, 0.5, initial, seed, window=[2, 3], margin=0.5)
        for epoch in range(3):
            drawn = drawing.draw(epoch, place, place)
            assert [set(row) for row in drawn.ids.tolist()] == [{1, 2, 4, 5}, {0, 2, 3, 5}, {0, 1, 3, 4}]


def test_the_lowest_number_of_eligible_texts():
    ladder = draw_random(LADDER, excluded_groups(LADDER), 1, np.random.default_rng(0))
    assert sampler(DUPLICATES, 1.0, [[3], [3], [5], [0]]).fewest_eligible == 3  # of the groups A B C D E F, A's points: D E F
    assert sampler(LADDER, 1.0, ladder).fewest_eligible == 22


@pytest.mark.parametrize("k", [1, 2])
def test_a_share_of_the_points_is_mined_for_by_turns_and_the_others_keep_theirs(k):
    pool = pool_of(*[(f"p{i}", f"c{i}") for i in range(60)])
    initial = draw_random(pool, excluded_groups(pool), k, np.random.default_rng(1))
    one = sampler(pool, 0.0, initial, share=0.25)
    whole = sampler(pool, 0.0, initial)
    latest = np.full(initial.shape, -1)
    seen = []
    for epoch in range(8):
        place = torch.tensor(np.random.default_rng(epoch).normal(size=(len(pool.texts), 3)), dtype=torch.float32)
        drawn, nearest = one.draw(epoch, place, place), whole.draw(epoch, place, place)
        turn = one._turn(epoch)
        seen.append(turn)
        assert turn.sum() == 15
        assert not drawn.was_random[turn].any()
        assert np.array_equal(drawn.ids[turn], nearest.ids[turn])
        others = ~turn & ~drawn.was_random.any(1)
        assert np.array_equal(drawn.ids[others], latest[others])
        assert (drawn.was_random[~turn] == (latest[~turn] < 0)).all() or k > 1  # of two, one may be the other's duplicate
        np.testing.assert_allclose(
            drawn.distance, (place[pool.text[pool.queries], None] - place[pool.text[drawn.ids]]).norm(dim=2), rtol=1e-5
        )
        latest = np.where(drawn.was_random, latest, drawn.ids)
    assert (np.sum(seen[:4], axis=0) == 1).all()
    assert (latest >= 0).all()
    again = sampler(pool, 0.0, initial, share=0.25)
    again.draws = Draws(one.draws[epoch] for epoch in range(5))
    for epoch in range(5, 8):
        place = torch.tensor(np.random.default_rng(epoch).normal(size=(len(pool.texts), 3)), dtype=torch.float32)
        assert np.array_equal(again.draw(epoch, place, place).ids, one.draws[epoch].ids)
