"""Ranks of embedded queries: ArguAna's three splits, 200 frozen epochs of it, and 10,000 queries in a million arguments."""

import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from epoch import settings, trained, with_values
from timing import peak_kib

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.arguments.pool import Pool
from counterpoint.corpus.splits import read_splits
from counterpoint.model.bi_encoder import zero_shot
from counterpoint.model.compute import choose
from counterpoint.model.locate import locate
from counterpoint.model.towers import Vectors
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.queries import by_text
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.settings import SETTINGS

EPA = {"epa": SETTINGS["epa"]}
QUERIES, ARGUMENTS, WIDTH = 10**4, 10**6, 128
EPOCHS = 200
GIB = 1024.0  # MiB


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """Seconds, each with the most it may be; the million in a process of its own, for its memory."""
    what = "scoring, ArguAna's three splits by text, embedded, epa"
    frozen = f"{EPOCHS} epochs of ArguAna, all frozen, batches of 64, the states' pass apart"
    found: list[dict] = [{"what": each, "not_run": "needs --corpus"} for each in (what, frozen)]
    if corpus is not None:
        found = [{"what": what, "seconds": _splits(corpus), "at_most": 0.5}]
        found.append({"what": frozen, "seconds": _epochs(corpus), "at_most": 360.0})
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    seconds, mib = map(float, subprocess.check_output([sys.executable, __file__], text=True, env=environment).split())
    name = f"scoring, {QUERIES:,} queries, {ARGUMENTS:,} arguments, width {WIDTH}"
    found.append({"what": name, "seconds": seconds, "peak_mib": mib, "at_most": 180.0, "at_most_mib": 2 * GIB})
    return found


def _splits(corpus: Path) -> float:
    """With the untrained encoder's vectors."""
    splits = read_splits(corpus, None).triples
    model = zero_shot(locate("all-MiniLM-L6-v2"), 64, choose("auto", "auto"))
    asked = [by_text(splits.pool(name)) for name in splits.pairs]
    vectors = [model.embed(model.point.encoder.tokenize(queries.pool.texts)) for queries in asked]
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        for queries, sides in zip(asked, vectors, strict=True):
            rank(queries, euclidean(queries, *sides), EPA)
        seconds.append(time.perf_counter() - start)
    return sorted(seconds[1:])[1]


def _epochs(corpus: Path) -> float:
    """All that training does, checkpoints and series included; how many tokens the texts have does not matter then."""
    params = with_values(settings(64, 64), freeze="all", sharing="projection", projection=WIDTH, epochs=EPOCHS)
    return trained(dict(read_splits(corpus, None).triples.pairs), params, "auto").seconds["whole"]


def _million() -> tuple[float, float]:
    pairs = [Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(QUERIES)]
    documents = [Document(str(i), f"d{i}") for i in range(ARGUMENTS - 2 * QUERIES)]
    queries = by_text(Pool.of(pairs, documents))
    vectors = torch.empty(ARGUMENTS, WIDTH)
    for part in vectors.split(10**5):
        part.copy_(torch.nn.functional.normalize(torch.randn(len(part), WIDTH), dim=1))
    vectors[QUERIES : 2 * QUERIES] += vectors[:QUERIES]
    sides = Vectors(vectors, vectors[:, :1])
    start = time.perf_counter()
    rank(queries, euclidean(queries, sides, sides), EPA)
    return time.perf_counter() - start, peak_kib() / 1024


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    print(*_million())
