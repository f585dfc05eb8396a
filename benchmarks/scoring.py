"""Ranks of embedded queries: ArguAna's three splits, 200 frozen epochs of it, and 10,000 queries in a million arguments."""

import os
import time
from pathlib import Path

import torch
from epoch import settings, trained, with_values
from timing import in_child, interleaved, not_run, peak_kib

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.arguments.pool import Pool
from counterpoint.corpus.splits import read_splits
from counterpoint.model.bi_encoder import zero_shot
from counterpoint.model.compute import choose
from counterpoint.model.files import BUNDLED, locate
from counterpoint.model.towers import Embedded, Vectors
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.queries import SETTINGS, by_text
from counterpoint.ranking.ranking import rank

EPA = {"epa": SETTINGS["epa"]}
QUERIES, ARGUMENTS, WIDTH = 10**4, 10**6, 128
EPOCHS = 200


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """Return rows of seconds with their bounds; the million runs in a process of its own, for its memory."""
    what = "scoring, ArguAna's three splits by text, embedded, epa"
    frozen = f"{EPOCHS} epochs of ArguAna, all frozen, batches of 64, hidden states cached"
    results = not_run(what, frozen)
    if corpus is not None:
        results = [{"what": what, "seconds": _splits(corpus), "at_most": 0.5}]
        results.append({"what": frozen, "seconds": _epochs(corpus), "at_most": 360.0})
    seconds, mib = in_child(__file__)
    name = f"scoring, {QUERIES:,} queries, {ARGUMENTS:,} arguments, width {WIDTH}"
    return [*results, {"what": name, "seconds": seconds, "peak_mib": mib, "at_most": 180.0, "at_most_mib": 2048.0}]


def _splits(corpus: Path) -> float:
    """Seconds with the untrained encoder's vectors."""
    splits = read_splits(corpus, None).triples
    model = zero_shot(locate(BUNDLED), 64, choose("auto", "auto"))
    queries = [by_text(splits.pool(name)) for name in splits.pairs]
    embedded = [model.embed(model.point.encoder.tokenize(split.pool.texts)) for split in queries]

    def score() -> None:
        for split, vectors in zip(queries, embedded, strict=True):
            rank(split, euclidean(split, vectors), EPA)

    return interleaved({"score": score})["score"]


def _epochs(corpus: Path) -> float:
    """Seconds of all that training does, checkpoints and series included; the lengths of the texts do not matter then."""
    frozen = {"freeze": "all", "sharing": "projection", "projection": WIDTH}
    params = with_values(settings(64, 64), model=frozen, train={"epochs": EPOCHS})
    return trained(dict(read_splits(corpus, None).triples.pairs), params, "auto").seconds["whole"]


def _million() -> tuple[float, float]:
    """Seconds, and the peak of memory in MiB."""
    pairs = [Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(QUERIES)]
    documents = [Document(str(i), f"d{i}") for i in range(ARGUMENTS - 2 * QUERIES)]
    queries = by_text(Pool.of(pairs, documents))
    vectors = torch.empty(ARGUMENTS, WIDTH)
    for part in vectors.split(10**5):
        part.copy_(torch.nn.functional.normalize(torch.randn(len(part), WIDTH), dim=1))
    vectors[QUERIES : 2 * QUERIES] += vectors[:QUERIES]
    side = Vectors(vectors, vectors[:, :1])
    start = time.perf_counter()
    rank(queries, euclidean(queries, Embedded(side, side)), EPA)
    return time.perf_counter() - start, peak_kib() / 1024


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    print(*_million())
