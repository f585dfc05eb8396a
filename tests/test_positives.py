from itertools import product

import numpy as np
import pytest

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.arguments.pool import Pool
from counterpoint.arguments.positives import padded, positive_groups


def pool_of(pairs, documents=()):
    return Pool.of([Pair(str(i), None, None, None, point, counter) for i, (point, counter) in enumerate(pairs)], documents)


def test_positives_by_hand():
    """A and its duplicate a have the counters B, C and, written otherwise, B again; a counter may equal its point."""
    pool = pool_of([("A", "B"), ("D", "d"), ("a", "C"), (" A", "b"), ("E", None)], [Document("x", "B")])
    group = {text: int(pool.text_group[pool.text == pool.texts.index(text)][0]) for text in ("A", "B", "C", "D")}
    assert positive_groups(pool) == {group["A"]: [group["B"], group["C"]], group["D"]: [group["D"]]}


@pytest.mark.parametrize("seed", range(20))
def test_positives_against_brute_force(seed):
    rng = np.random.default_rng(seed)
    texts = [f"{a}{b}" for a, b in product("abc", ("", " x"))]
    pairs = [(texts[i].upper() if flip else texts[i], texts[j]) for i, j, flip in rng.integers([6, 6, 2], size=(12, 3))]
    pool = pool_of(pairs)
    expected = {}
    for point, counter in pairs:
        key = point.lower()
        expected.setdefault(key, {}).update({right.lower(): None for query, right in pairs if query.lower() == key})
        assert counter.lower() in expected[key]
    name = {int(pool.text_group[i]): pool.texts[pool.text[i]].lower() for i in range(len(pool))}
    got = {name[point]: [name[counter] for counter in counters] for point, counters in positive_groups(pool).items()}
    assert list(got) == list(expected)
    assert got == {point: list(counters) for point, counters in expected.items()}


def test_lists_become_rows_of_one_array():
    assert padded([[3, 1], [], [2]]).tolist() == [[3, 1], [-1, -1], [2, -1]]
    assert padded([]).shape == (0, 1)
