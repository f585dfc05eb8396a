"""Slices of the real corpus: whole clusters of debates, with the corpus's share of duplicates."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from counterpoint.arguments.clusters import clusters
from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.text import text_key
from counterpoint.corpus.splits import read_splits

SHARES = {"training": 1.0, "validation": 1 / 3, "test": 1 / 3}  # about as in the corpus


def slices(corpus: Path, pairs: int) -> dict[str, list[Pair]]:
    """Return at least `pairs` training pairs, and a third as many of validation and test."""
    splits = read_splits(corpus, None).triples.pairs
    return {name: _slice(members, int(pairs * SHARES[name])) for name, members in splits.items()}


def distinct_share(pairs: Sequence[Pair]) -> float:
    """Return the share of distinct texts among the texts of pairs."""
    texts = [text_key(text) for pair in pairs for text in pair.texts]
    return len(set(texts)) / len(texts)


def _slice(pairs: Sequence[Pair], least: int) -> list[Pair]:
    """Of a hundred random slices of whole clusters, the one whose share of distinct texts is nearest to that of all pairs."""
    number, share = clusters(pairs), distinct_share(pairs)
    size = np.bincount(number)
    candidates = []
    for seed in range(100):
        order = np.random.default_rng(seed).permutation(len(size))
        order = order[size[order] <= least // 3 + 1]  # no single debate makes up most of it
        chosen = order[: 1 + np.searchsorted(np.cumsum(size[order]), least)]
        candidates.append([pair for pair, inside in zip(pairs, np.isin(number, chosen), strict=True) if inside])
    return min(candidates, key=lambda members: (abs(distinct_share(members) - share), len(members)))
