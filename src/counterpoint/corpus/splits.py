"""Splits without leaks, and which texts of a split training has, too."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import clusters, positive_groups
from counterpoint.arguments.seen import UNSEEN
from counterpoint.arguments.text import is_unspaced, text_key
from counterpoint.arguments.triples import Triples
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SPLITS, SplitShares
from counterpoint.core.seeds import generator
from counterpoint.corpus.grades import given_answers
from counterpoint.corpus.read import read_corpus
from counterpoint.corpus.source import Row

MIN_PAIRS = 2  # of a split: a query needs a negative
SPLIT_SEED = 0


@dataclass(frozen=True)
class Splits:
    """A corpus in three splits: its triples, with `seen` in every pair, and the counts of metrics/prepare.json by split."""

    triples: Triples
    counts: dict[str, dict[str, int]]


def read_splits(
    path: str | Path, shares: SplitShares | None, columns: Mapping[str, str | None] | None = None, min_grade: float = 1.0
) -> Splits:
    """Read a corpus and split it as it names, else by `shares`, which may be None for a corpus that names its splits.

    `columns` and min_grade are those of `read_corpus`. Log what is odd but usable.
    """
    corpus = read_corpus(path, columns, min_grade)
    splits = mark_seen(split_rows(corpus.rows, shares))
    given = given_answers(splits)
    splits = {name: [pair for pair in pairs if not pair.is_wrong] for name, pairs in splits.items()}
    log_oddities(splits)
    triples = Triples(
        pairs={name: [pair for pair in pairs if pair.counter is not None] for name, pairs in splits.items()},
        unpaired=[pair.changed(split=name) for name, pairs in splits.items() for pair in pairs if pair.counter is None],
        documents=corpus.documents,
        given=given,
    )
    for name in SPLITS[1:]:
        _refuse_no_rival(name, triples)
    return Splits(triples, {name: count(pairs, corpus.empty_debates.get(name, 0)) for name, pairs in splits.items()})


def _refuse_no_rival(split: str, triples: Triples) -> None:
    """Raise InputError for a split in which no query has a wrong candidate, since all would rank alike."""
    pool = triples.pool(split)
    texts, n = len(set(pool.text_group.tolist())), len(pool.queries)
    if all(texts == len({point, *groups}) for point, groups in positive_groups(pool).items()):
        raise InputError(f"corpus: a point of {split} must have a wrong candidate; of its {n} pairs all are right")


def split_rows(rows: Sequence[Row], shares: SplitShares | None) -> dict[str, list[Pair]]:
    """Return the pairs of each split, with the counterless points: the splits that the corpus names, else drawn ones.

    Where the corpus names training and test, but no validation, validation is drawn out of training. Wrong answers come last in
    the split of their point.
    """
    named = {split for split, _ in rows}
    wrong = [row for row in rows if row[1].is_wrong]
    rows = [row for row in rows if not row[1].is_wrong]
    drawn: Sequence[str] = SPLITS if named == {None} else SPLITS[:2] if named == {"training", "test"} else ()
    if drawn:
        assert shares is not None, "a corpus that does not name its splits needs shares"
        pairs = [pair for split, pair in rows if split in (None, "training")]
        rows = [*draw(pairs, shares, drawn), *(row for row in rows if row[0] == "test")]
    splits = {name: [pair for split, pair in rows if split == name] for name in SPLITS}
    usable = {name: sum(pair.counter is not None for pair in pairs) for name, pairs in splits.items()}
    if small := [name for name, n in usable.items() if n < MIN_PAIRS]:
        raise InputError(f"corpus: each split must have at least {MIN_PAIRS} pairs; {small[0]} has {usable[small[0]]}")
    if drawn:
        sizes = ", ".join(f"{usable[name]:,} {name}" for name in drawn)
        logging.info("corpus: splits drawn by prepare.split: %s pairs (at least %d each)", sizes, MIN_PAIRS)
        wrong = [*_follow([row for row in wrong if row[0] != "test"], splits), *(row for row in wrong if row[0] == "test")]
    return {name: pairs + [pair for split, pair in wrong if split == name] for name, pairs in splits.items()}


def _follow(wrong: Sequence[Row], splits: Mapping[str, Sequence[Pair]]) -> list[Row]:
    """Return wrong answers in the drawn split of their point.

    None is a text of a later split's pairs, so that nothing leaks; a log line counts those.
    """
    split_of = {text_key(pair.point): name for name, pairs in splits.items() for pair in pairs}
    texts = {name: {key for pair in pairs for key in pair.keys} for name, pairs in splits.items()}
    rows = [(split, pair) for _, pair in wrong if (split := split_of.get(text_key(pair.point)))]
    later = {name: set().union(*(texts[other] for other in SPLITS[i + 1 :])) for i, name in enumerate(SPLITS)}
    kept: list[Row] = [(split, pair) for split, pair in rows if text_key(pair.texts[1]) not in later[split]]
    if len(kept) < len(wrong):
        line = "corpus: wrong answers left out, whose text is one of a later split or whose point has no right answer: %d"
        logging.info(line, len(wrong) - len(kept))
    return kept


def draw(pairs: list[Pair], shares: SplitShares, names: Sequence[str]) -> list[Row]:
    """Draw splits that keep pairs with a common debate or text together (connected components), so that nothing leaks.

    Components in a random order go to the split that is furthest below its share of the pairs. Then a split with fewer than
    MIN_PAIRS takes small components from splits that can spare them. InputError says what connects the pairs where none can.
    """
    component = clusters(pairs)
    size = np.bincount(component)  # pairs of each component, counterless points among them
    usable = np.bincount(component, [pair.counter is not None for pair in pairs]).astype(int)
    target = np.array([getattr(shares, name) for name in names])
    filled = np.zeros(len(names))
    split = np.empty(len(size), dtype=int)  # of each component
    for c in generator(SPLIT_SEED, 0, "split").permutation(len(size)):
        split[c] = np.argmin(filled / target)
        filled[split[c]] += size[c]
    for small in range(len(names)):
        while (held := np.bincount(split, usable, len(names)).astype(int))[small] < MIN_PAIRS:
            spare = (usable > 0) & (split != small) & (held[split] - usable >= MIN_PAIRS)
            if not spare.any():
                raise InputError(_why_not(pairs, component, usable, len(names)))
            split[np.argmin(np.where(spare, usable, len(pairs)))] = small
    return [(names[split[c]], pair) for c, pair in zip(component, pairs, strict=True)]


def _why_not(pairs: list[Pair], component: np.ndarray, usable: np.ndarray, splits: int) -> str:
    """Return the message that no splits can be drawn: what connects the largest component, and what would help."""
    if usable.max() == 1:
        return f"corpus: it must have at least {splits * MIN_PAIRS} pairs, to be split into {splits}; got {usable.sum()}"
    groups = int((usable > 0).sum())
    largest = [pair for c, pair in zip(component, pairs, strict=True) if c == usable.argmax()]
    shared = Counter(("debate", pair.debate) for pair in largest if pair.debate is not None)
    shared.update(("text", key) for pair in largest for key in dict.fromkeys(pair.keys))
    most = max(shared.values())
    reasons = [f"the {what} {name[:60]!r}" for (what, name), n in shared.most_common(2) if n == most]
    return (
        f"corpus: {usable.sum():,} pairs form {groups:,} group{'s' * (groups != 1)} that share a debate or a text; splits of "
        f"at least {MIN_PAIRS} pairs each cannot be made of them: the largest has {usable.max():,}, and {most:,} of these "
        f"have {' and '.join(reasons)}. Name the splits in a column split, or leave such rows out"
    )


def log_oddities(splits: dict[str, list[Pair]]) -> None:
    """Log a line for each kind of pair or text that is odd but usable."""
    pairs = [pair for members in splits.values() for pair in members]
    same = [pair.id for pair in pairs if pair.counter is not None and text_key(pair.point) == text_key(pair.counter)]
    if same:
        logging.info("corpus: pairs whose counter is the point, no positive: %d, such as %s", len(same), ", ".join(same[:3]))
    texts = [text for pair in pairs for text in pair.texts]
    if (n := sum(map(is_unspaced, texts))) > len(texts) / 20:
        logging.info("corpus: %d of %d texts have no spaces between words: BM25 takes pairs of characters", n, len(texts))


def mark_seen(splits: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
    """Set `seen` of each pair: whether training has the pair, its point, its counter or none of them, by text group.

    Where training has both texts, but in different pairs, `seen` is point. It is validation for a test pair of which training
    has nothing, and validation a text.
    """
    training = splits["training"]
    pairs = {tuple(map(text_key, pair.texts)) for pair in training if pair.counter is not None and not pair.is_wrong}
    texts, chosen_by = ({key for pair in splits.get(name, ()) for key in pair.keys} for name in ("training", "validation"))

    def seen(pair: Pair, split: str) -> str:
        keys = tuple(map(text_key, pair.texts))
        if keys in pairs:
            return "pair"
        if place := next((name for name, key in zip(("point", "counter"), keys, strict=False) if key in texts), None):
            return place
        if not texts.isdisjoint(pair.keys):
            return "point"
        return "validation" if split == "test" and not chosen_by.isdisjoint(pair.keys) else "none"

    return {name: [pair.changed(seen=seen(pair, name)) for pair in members] for name, members in splits.items()}


def unseen(pairs: Sequence[Pair]) -> np.ndarray:
    """Return for each pair whether training has none of its texts: bool (pairs,)."""
    return np.array([pair.seen in UNSEEN for pair in pairs])


def count(pairs: list[Pair], empty_debates: int) -> dict[str, int]:
    """Return a split's counts for metrics/prepare.json.

    Twin texts are arguments of pairs with a duplicate in the split. Queries are distinct points with a positive; a query
    has a twin where its text stands in another place of the split, too.
    """
    usable = [(pair, text_key(pair.point), text_key(pair.counter)) for pair in pairs if pair.counter is not None]
    groups = Counter(key for _, *keys in usable for key in keys)
    positives: dict[str, set[str]] = {}
    for _, point, counter in usable:
        if counter != point:  # a point is no positive of itself
            positives.setdefault(point, set()).add(counter)
    return {
        "debates": len({(pair.theme, pair.debate) for pair in pairs if pair.debate is not None}) + empty_debates,
        "debates_without_points": empty_debates,
        "points": len(pairs),
        "counters": len(usable),
        "pairs": len(usable),
        "counterless_points": len(pairs) - len(usable),
        "twin_texts": sum(n for n in groups.values() if n > 1),
        "distinct_texts": len(groups),
        "queries": len(positives),
        "queries_with_several_answers": sum(len(counters) > 1 for counters in positives.values()),
        "queries_with_a_twin": sum(groups[point] > 1 for point in positives),
        "pairs_also_in_training": sum(pair.seen == "pair" for pair, *_ in usable),
        "unseen_pairs": sum(pair.seen in UNSEEN for pair, *_ in usable),
        "unseen_by_both_pairs": sum(pair.seen == "none" for pair, *_ in usable),
    }
