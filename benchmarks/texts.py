"""Slices of the real corpus: whole clusters of debates, with the corpus's share of twins."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from counterpoint.clusters import clusters
from counterpoint.corpus import read_corpus
from counterpoint.encoder import Encoder
from counterpoint.params import SPLITS
from counterpoint.pool import Pool
from counterpoint.records import Pair, text_key
from counterpoint.run import Split
from counterpoint.splits import mark_seen, split_rows

SHARES = {"training": 1.0, "validation": 1 / 3, "test": 1 / 3}  # about as in the corpus


def slices(corpus: Path, pairs: int) -> dict[str, list[Pair]]:
    """At least that many training pairs, and a third as many of validation and test."""
    splits = mark_seen(split_rows(read_corpus(corpus).rows, None))
    usable = {name: [pair for pair in splits[name] if pair.counter is not None] for name in SPLITS}
    return {name: _slice(members, int(pairs * SHARES[name])) for name, members in usable.items()}


def distinct_share(pairs: Sequence[Pair]) -> float:
    texts = [text_key(text) for pair in pairs for text in (pair.point, pair.counter)]
    return len(set(texts)) / len(texts)


def _slice(pairs: Sequence[Pair], least: int) -> list[Pair]:
    """Of a hundred random slices of whole clusters, the one whose share of distinct texts is nearest to that of all."""
    of, wanted = clusters(pairs), distinct_share(pairs)
    size = np.bincount(of)
    found = []
    for seed in range(100):
        order = np.random.default_rng(seed).permutation(len(size))
        order = order[size[order] <= least // 3 + 1]  # no single debate makes up most of it
        taken = order[: 1 + np.searchsorted(np.cumsum(size[order]), least)]
        found.append([pair for pair, cluster in zip(pairs, np.isin(of, taken), strict=True) if cluster])
    return min(found, key=lambda members: (abs(distinct_share(members) - wanted), len(members)))


def tokenized(pairs: dict[str, list[Pair]], encoder: Encoder) -> dict[str, Split]:
    pools = {name: Pool.of(members) for name, members in pairs.items()}
    return {
        name: Split(pool, encoder.tokenize(pool.texts), np.array([pair.seen == "none" for pair in pairs[name]]))
        for name, pool in pools.items()
    }
