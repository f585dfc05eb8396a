from itertools import combinations

import numpy as np
import pytest
import torch

from counterpoint.core.rows import Rows
from counterpoint.model.compute import WIDEST, micro_batches
from counterpoint.training.batches import by_length, by_topic, neighbours, shuffled
from counterpoint.training.topics import PAIRS, topics


def cost(parts, lengths, overhead):
    return sum(lengths[part].max() * len(part) + overhead for part in parts)


def cheapest(lengths, overhead, most):
    """Return the lowest cost of all ways to cut the texts in order of length."""
    order = np.argsort(-lengths, kind="stable")
    ways = (cuts for n in range(len(order)) for cuts in combinations(range(1, len(order)), n))
    parted = (np.split(order, cuts) for cuts in ways)
    return min(
        cost(parts, lengths, overhead)
        for parts in parted
        if all(len(part) == 1 or lengths[part].max() * len(part) <= most for part in parts)
    )


@pytest.mark.parametrize(("overhead", "most"), [(0, 100), (3, 100), (10, 30), (1000, 40), (1000, 1), (1000, 10**9)])
def test_micro_batches_are_the_cheapest_there_are(overhead, most):
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 9):
        lengths = rng.integers(3, 20, size=n)
        parts = micro_batches(lengths, overhead, most)
        assert sorted(np.concatenate(parts)) == list(range(n))
        assert list(lengths[np.concatenate(parts)]) == sorted(lengths, reverse=True)
        assert cost(parts, lengths, overhead) == cheapest(lengths, overhead, most)


def test_micro_batches_by_hand():
    assert [list(part) for part in micro_batches(np.array([3, 9, 3, 8]), 4, 100)] == [[1, 3], [0, 2]]  # 18 + 6 + 2 * 4
    assert [list(part) for part in micro_batches(np.array([3, 9, 3, 8]), 100, 100)] == [[1, 3, 0, 2]]
    assert [list(part) for part in micro_batches(np.array([7, 7, 7]), 100, 14)] == [[0], [1, 2]]


def test_a_micro_batch_is_never_wider_than_its_limit():
    parts = micro_batches(np.full(1000, 5), 10**6, 10**9)
    assert max(map(len, parts)) == WIDEST
    assert sum(map(len, parts)) == 1000


def test_batches_hold_every_row_once_and_are_of_one_size():
    lengths = np.random.default_rng(0).integers(3, 300, size=1003)
    texts = np.random.default_rng(1).integers(3000, size=(1003, 3))
    ways = {
        "shuffled": lambda rng: shuffled(1003, 8, rng),
        "length": lambda rng: by_length(lengths, np.arange(1003), 8, rng),
        "neighbours": lambda rng: neighbours(texts, np.full(3000, 10), 8, rng),
        "topic": lambda rng: by_topic(texts[:, 0] % 90, np.arange(1003), 8, rng),
    }
    for way in ways.values():
        runs = [way(np.random.default_rng(seed)) for seed in (1, 1, 2)]
        for cut in runs:
            assert sorted(np.concatenate(cut)) == list(range(1003))
            assert sorted(map(len, cut)) == [3] + [8] * 125
        same, another = ([np.array_equal(a, b) for a, b in zip(runs[0], run, strict=True)] for run in runs[1:])
        assert all(same)
        assert sum(another) <= 1


def test_batches_by_length_are_of_like_length_in_random_order_and_differ_by_seed():
    lengths, alone = np.random.default_rng(0).integers(100, 900, size=800), np.arange(800)
    runs = {"shuffled": shuffled(800, 8, np.random.default_rng(1))}
    runs |= {name: by_length(lengths, alone, 8, np.random.default_rng(seed)) for name, seed in (("length", 1), ("again", 2))}
    spread = {name: np.mean([lengths[rows].std() for rows in cut]) for name, cut in runs.items()}
    assert spread["length"] < spread["shuffled"] / 2
    means = [lengths[rows].mean() for rows in runs["length"]]
    assert abs(np.corrcoef(means, np.arange(100))[0, 1]) < 0.3
    together = [{frozenset(pair) for rows in runs[name] for pair in combinations(rows, 2)} for name in ("length", "again")]
    assert len(together[0] & together[1]) < len(together[0]) / 5


def test_duplicates_share_a_batch_and_the_smaller_batch_is_not_always_the_longest():
    lengths, group = np.repeat(np.random.default_rng(0).integers(100, 900, size=402), 2), np.repeat(np.arange(402), 2)
    apart, small = 0, []
    for seed in range(20):
        cut = by_length(lengths, group, 8, np.random.default_rng(seed))
        apart += sum(len(set(group[rows])) * 2 != len(rows) for rows in cut)
        small += [lengths[rows].mean() for rows in cut if len(rows) == 4]
    assert apart == 0  # batches and groups are even, so none is cut
    assert min(small) < 300 < 700 < max(small)


def batch_of(cut, rows):
    return [number for number, batch in enumerate(cut) if set(rows) & set(batch.tolist())]


def test_whole_topics_share_a_batch_where_they_fit():
    """Topics of 3, 3, 5, 5 and 20 rows in batches of 8: 3 and 5 fill one; of 20 two batches, and 4 in the last."""
    topic = np.repeat(np.arange(5), [3, 3, 5, 5, 20])
    seen = set()
    for seed in range(40):
        cut = by_topic(topic, np.arange(36), 8, np.random.default_rng(seed))
        assert sorted(map(len, cut)) == [4, 8, 8, 8, 8]
        split = [len(batch_of(cut, np.flatnonzero(topic == number))) for number in range(5)]
        seen.add(tuple(split))
        assert sum(split) - 5 <= 4  # the end of a batch splits one topic at most
    assert (1, 1, 1, 1, 3) in seen
    orders = {tuple(topic[np.concatenate(by_topic(topic, np.arange(36), 8, np.random.default_rng(seed)))]) for seed in range(9)}
    assert len(orders) > 5  # in random order


def test_topics_that_share_a_duplicate_are_one():
    topic, group = np.repeat(np.arange(8), 4), np.arange(32)
    group[[0, 4]] = 0  # a row of topic 0 and one of topic 1 have the same texts
    for seed in range(20):
        cut = by_topic(topic, group, 8, np.random.default_rng(seed))
        assert len(batch_of(cut, range(8))) == 1


def test_topics_are_debates_where_all_are_known_and_clusters_elsewhere():
    rng, debate = np.random.default_rng(0), np.array([5, 5, 9, 2, 2, 9])
    assert topics(debate, Rows(torch.zeros(6, 2)), rng).tolist() == [1, 1, 2, 0, 0, 2]
    centres = 10 * torch.eye(4).repeat_interleave(PAIRS, 0)  # four clusters of PAIRS points
    points = centres + 0.1 * torch.as_tensor(rng.normal(size=(4 * PAIRS, 4)))
    for seed in range(5):
        found = topics(np.full(4 * PAIRS, -1), Rows(points), np.random.default_rng(seed))
        assert [len(set(part)) for part in np.split(found, 4)] == [1] * 4
        assert len(set(found)) == 4
    again = [topics(np.full(4 * PAIRS, -1), Rows(points), np.random.default_rng(3)).tolist() for _ in range(2)]
    assert again[0] == again[1]


def encoded(cut, texts, lengths):
    """Return the tokens that the encoder computes, each text once a batch."""
    return sum(int(lengths[np.unique(texts[rows])].sum()) for rows in cut)


def test_neighbours_put_rows_that_share_texts_into_one_batch():
    """Four pairs whose negatives are each other's counters, and four more."""
    texts = np.array([[i, 8 + i, 8 + (i + 1) % 4 + 4 * (i // 4)] for i in range(8)])
    for seed in range(10):
        cut = neighbours(texts, np.full(16, 10), 4, np.random.default_rng(seed))
        assert {frozenset(rows.tolist()) for rows in cut} == {frozenset(range(4)), frozenset(range(4, 8))}
        assert encoded(cut, texts, np.full(16, 10)) == 160  # no negative is computed for itself


def test_neighbours_take_the_row_that_shares_most_tokens():
    texts = np.array([[0, 1, 2], [3, 4, 1], [5, 6, 2]])  # the second shares text 1 with the first, the third text 2
    for long, mate in ((1, 1), (2, 2)):
        lengths = np.full(7, 10)
        lengths[long] = 11
        order = np.random.default_rng(0)
        cuts = [neighbours(texts, lengths, 2, order) for _ in range(30)]
        with_first = [set(rows.tolist()) for cut in cuts for rows in cut if 0 in rows and len(rows) == 2]
        began = [rows for cut in cuts for rows in cut if rows[0] == 0 and len(rows) == 2]
        assert began
        assert all(rows[1] == mate for rows in began)
        assert {0, mate} in with_first


@pytest.mark.parametrize("hub", [False, True])
def test_neighbours_compute_far_fewer_tokens_than_random_batches(hub):
    rng = np.random.default_rng(0)
    n = 600
    lengths = rng.integers(20, 300, size=2 * n)
    negative = rng.integers(10, size=n) if hub else rng.integers(2 * n, size=n)  # ten that are the nearest to all, or any
    texts = np.stack([np.arange(n), n + np.arange(n), negative], axis=1)
    near, random = neighbours(texts, lengths, 16, rng), shuffled(n, 16, rng)
    least = int(lengths.sum())
    assert encoded(near, texts, lengths) - least < 0.35 * (encoded(random, texts, lengths) - least)
