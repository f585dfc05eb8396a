"""Splits that do not leak, and what a split shares with training."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from counterpoint.arguments.clusters import clusters
from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.text import text_key
from counterpoint.arguments.triples import Triples
from counterpoint.core.errors import InputError
from counterpoint.core.params import SPLITS, SplitShares
from counterpoint.core.seeds import generator
from counterpoint.corpus.read import read_corpus
from counterpoint.corpus.rows import Row


@dataclass(frozen=True)
class Splits:
    """A corpus in three splits: the triples, every pair with what of it was `seen`, and what metrics/prepare.json says."""

    triples: Triples
    counts: dict[str, dict[str, int]]


def read_splits(path: str | Path, shares: SplitShares | None) -> Splits:
    """Read a corpus and split it: by the splits that it names, else by shares, which may be None where it names them."""
    corpus = read_corpus(path)
    splits = mark_seen(split_rows(corpus.rows, shares))
    triples = Triples(
        pairs={name: [pair for pair in pairs if pair.counter is not None] for name, pairs in splits.items()},
        unpaired=[replace(pair, split=name) for name, pairs in splits.items() for pair in pairs if pair.counter is None],
        documents=corpus.documents,
    )
    return Splits(triples, {name: count(pairs, corpus.empty_debates.get(name, 0)) for name, pairs in splits.items()})


def split_rows(rows: Sequence[Row], shares: SplitShares | None) -> dict[str, list[Pair]]:
    """The pairs of each split, counterless points among them: the corpus's own split, else a drawn one.

    Drawn splits keep together what shares a debate or a text group (connected components), so that nothing leaks; each
    component in a random order goes to the split that is furthest below its share of the pairs.
    """
    if rows[0][0] is None:
        assert shares is not None, "a corpus that names no splits needs shares"
        rows = _draw([pair for _, pair in rows], shares)
    splits = {name: [pair for split, pair in rows if split == name] for name in SPLITS}
    for name, pairs in splits.items():
        if (n := sum(pair.counter is not None for pair in pairs)) < 2:
            raise InputError(f"corpus: each split must have at least 2 pairs; {name} has {n}")
    return splits


def _draw(pairs: list[Pair], shares: SplitShares) -> list[Row]:
    component = clusters(pairs)
    size = np.bincount(component)
    target = np.array([getattr(shares, name) for name in SPLITS])
    filled = np.zeros(len(SPLITS))
    home = np.empty(len(size), dtype=int)
    for c in generator(shares.seed, 0, "split").permutation(len(size)):
        home[c] = np.argmin(filled / target)
        filled[home[c]] += size[c]
    return [(SPLITS[home[c]], pair) for c, pair in zip(component, pairs, strict=True)]


def mark_seen(splits: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
    """Set each pair's seen: does the pair, its point, its counter or nothing of it stand in training, by text group.

    Where both texts stand in training, but in different pairs, seen is point.
    """
    training = splits["training"]
    pairs = {(text_key(pair.point), text_key(pair.counter)) for pair in training if pair.counter is not None}
    texts = {text_key(text) for pair in training for text in pair.texts}

    def seen(pair: Pair) -> str:
        keys = [text_key(text) for text in pair.texts]
        if tuple(keys) in pairs:
            return "pair"
        return next((name for name, key in zip(("point", "counter"), keys, strict=False) if key in texts), "none")

    return {name: [replace(pair, seen=seen(pair)) for pair in members] for name, members in splits.items()}


def unseen(pairs: Sequence[Pair]) -> np.ndarray:
    """Of which pairs nothing stands in training: bool (pairs,)."""
    return np.array([pair.seen == "none" for pair in pairs])


def count(pairs: list[Pair], empty_debates: int) -> dict[str, int]:
    """What metrics/prepare.json says of a split; twin texts are arguments of its pairs that another one equals."""
    usable = [pair for pair in pairs if pair.counter is not None]
    groups = Counter(text_key(text) for pair in usable for text in pair.texts)
    return {
        "debates": len({(pair.theme, pair.debate) for pair in pairs if pair.debate is not None}) + empty_debates,
        "debates_without_points": empty_debates,
        "points": len(pairs),
        "counters": len(usable),
        "pairs": len(usable),
        "counterless_points": len(pairs) - len(usable),
        "twin_texts": sum(n for n in groups.values() if n > 1),
        "distinct_texts": len(groups),
        "pairs_also_in_training": sum(pair.seen == "pair" for pair in usable),
        "unseen_pairs": sum(pair.seen == "none" for pair in usable),
    }
