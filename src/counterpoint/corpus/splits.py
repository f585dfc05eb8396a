"""Splits that do not leak, and what a split shares with training."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from counterpoint.arguments.clusters import clusters
from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.text import is_unspaced, text_key
from counterpoint.arguments.triples import Triples
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SPLITS, SplitShares
from counterpoint.core.seeds import generator
from counterpoint.corpus.read import read_corpus
from counterpoint.corpus.rows import Row

LEAST = 2  # pairs of a split: a query needs a wrong answer
SPLIT_SEED = 0


@dataclass(frozen=True)
class Splits:
    """A corpus in three splits: the triples, every pair with what of it was `seen`, and what metrics/prepare.json says."""

    triples: Triples
    counts: dict[str, dict[str, int]]


def read_splits(path: str | Path, shares: SplitShares | None, columns: Mapping[str, str] | None = None) -> Splits:
    """Read a corpus and split it: by the splits that it names, else by shares, which may be None where it names them.

    columns is what `read_corpus` takes. What is odd but usable gets a line of the log each.
    """
    corpus = read_corpus(path, columns)
    splits = mark_seen(split_rows(corpus.rows, shares))
    say_oddities(splits)
    triples = Triples(
        pairs={name: [pair for pair in pairs if pair.counter is not None] for name, pairs in splits.items()},
        unpaired=[replace(pair, split=name) for name, pairs in splits.items() for pair in pairs if pair.counter is None],
        documents=corpus.documents,
    )
    return Splits(triples, {name: count(pairs, corpus.empty_debates.get(name, 0)) for name, pairs in splits.items()})


def split_rows(rows: Sequence[Row], shares: SplitShares | None) -> dict[str, list[Pair]]:
    """The pairs of each split, counterless points among them: the corpus's own split, else a drawn one.

    Where the corpus has training and test, but no validation, that is drawn out of training.
    """
    named = {split for split, _ in rows}
    drawn = tuple(SPLITS) if named == {None} else ("training", "validation") if named == {"training", "test"} else ()
    if drawn:
        assert shares is not None, "a corpus that does not name its splits needs shares"
        from_these = [pair for split, pair in rows if split in (None, "training")]
        rows = [*draw(from_these, shares, drawn), *(row for row in rows if row[0] == "test")]
    splits = {name: [pair for split, pair in rows if split == name] for name in SPLITS}
    usable = {name: sum(pair.counter is not None for pair in pairs) for name, pairs in splits.items()}
    for name, n in usable.items():
        if n < LEAST:
            raise InputError(f"corpus: each split must have at least {LEAST} pairs; {name} has {n}")
    if drawn:
        what = "no splits" if len(drawn) == len(SPLITS) else "no validation split"
        sizes = ", ".join(f"{usable[name]:,} {name}" for name in drawn)
        logging.info("corpus: it names %s: drawn by prepare.split, %s pairs (at least %d each)", what, sizes, LEAST)
    return splits


def draw(pairs: list[Pair], shares: SplitShares, names: Sequence[str] = SPLITS) -> list[Row]:
    """Splits that keep together what shares a debate or a text group (connected components), so that nothing leaks.

    Each component in a random order goes to the split that is furthest below its share of the pairs; then splits that have
    too few pairs take small components of those that can spare them. InputError says what holds the pairs together where
    that leaves a split with too few.
    """
    component = clusters(pairs)
    size = np.bincount(component, [pair.counter is not None for pair in pairs]).astype(int)
    everything = np.bincount(component)
    target = np.array([getattr(shares, name) for name in names])
    filled = np.zeros(len(names))
    home = np.empty(len(size), dtype=int)
    for c in generator(SPLIT_SEED, 0, "split").permutation(len(size)):
        home[c] = np.argmin(filled / target)
        filled[home[c]] += everything[c]
    for poor in range(len(names)):
        while (has := np.bincount(home, size, len(names)).astype(int))[poor] < LEAST:
            spare = [c for c in np.argsort(size, kind="stable") if size[c] and has[home[c]] - size[c] >= LEAST]
            if not (spare := [c for c in spare if home[c] != poor]):
                raise InputError(_why_not(pairs, component, size, len(names)))
            home[spare[0]] = poor
    return [(names[home[c]], pair) for c, pair in zip(component, pairs, strict=True)]


def _why_not(pairs: list[Pair], component: np.ndarray, size: np.ndarray, splits: int) -> str:
    """What the pairs of the largest component hang on, and what would help."""
    if size.max() == 1:
        return f"corpus: it must have at least {splits * LEAST} pairs, to be split into {splits}; got {size.sum()}"
    groups = int((size > 0).sum())
    largest = [pair for c, pair in zip(component, pairs, strict=True) if c == size.argmax()]
    shared = Counter(("debate", pair.debate) for pair in largest if pair.debate is not None)
    shared.update(("text", key) for pair in largest for key in {text_key(text): None for text in pair.texts})
    (_, most), *_ = shared.most_common(1)
    why = [f"the {what} {_short(name)!r}" for (what, name), n in shared.most_common(2) if n == most]
    kinds = f"{size.sum():,} pairs form {groups:,} group{'s' * (groups != 1)} that share a debate or a text"
    return (
        f"corpus: {kinds}; splits of at least {LEAST} pairs each cannot be made of them: the largest has {size.max():,}, and "
        f"{most:,} of these have {' and '.join(why)}. Name the splits in a column split, or leave such rows out"
    )


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def say_oddities(splits: dict[str, list[Pair]]) -> None:
    """A line for each thing that is usable, but that one should know of."""
    usable = {name: [pair for pair in pairs if pair.counter is not None] for name, pairs in splits.items()}
    own = [pair.id for pairs in usable.values() for pair in pairs if text_key(pair.point) == text_key(pair.counter or "")]
    if own:
        names = ", ".join(own[:3]) + ", …" * (len(own) > 3)
        logging.info("corpus: pairs whose counter is the point itself, which answers nothing: %d (%s)", len(own), names)
    texts = [text for pairs in splits.values() for pair in pairs for text in pair.texts]
    if (n := sum(is_unspaced(text) for text in texts)) > len(texts) / 20:
        logging.info("corpus: %d of %d texts put no spaces between words: BM25 takes pairs of characters", n, len(texts))


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
    """What metrics/prepare.json says of a split; twin texts are arguments of its pairs that another one equals.

    Queries are distinct points with a counter; a query has a twin where its text stands in another place of the split, too.
    """
    usable = [(pair, text_key(pair.point), text_key(pair.counter)) for pair in pairs if pair.counter is not None]
    groups = Counter(key for _, *keys in usable for key in keys)
    answers: dict[str, set[str]] = {}
    for _, point, counter in usable:
        if counter != point:  # what answers itself asks nothing
            answers.setdefault(point, set()).add(counter)
    return {
        "debates": len({(pair.theme, pair.debate) for pair in pairs if pair.debate is not None}) + empty_debates,
        "debates_without_points": empty_debates,
        "points": len(pairs),
        "counters": len(usable),
        "pairs": len(usable),
        "counterless_points": len(pairs) - len(usable),
        "twin_texts": sum(n for n in groups.values() if n > 1),
        "distinct_texts": len(groups),
        "queries": len(answers),
        "queries_with_several_answers": sum(len(counters) > 1 for counters in answers.values()),
        "queries_with_a_twin": sum(groups[point] > 1 for point in answers),
        "pairs_also_in_training": sum(pair.seen == "pair" for pair, *_ in usable),
        "unseen_pairs": sum(pair.seen == "none" for pair, *_ in usable),
    }
