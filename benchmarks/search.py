"""Mining one nearest wrong argument a point: the original's ball trees against the backends; and pools that grow."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from original import nearest_other
from timing import interleaved, peak_kib

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.core.sections import Search
from counterpoint.corpus.splits import read_splits
from counterpoint.model.bi_encoder import zero_shot
from counterpoint.model.compute import choose
from counterpoint.model.locate import locate
from counterpoint.negatives.mining import nearest_wrong
from counterpoint.negatives.search import BACKENDS, search
from counterpoint.negatives.wrong import right_groups

WIDTH, TENTH = 128, 10
ARGUANA, CLUSTERED = "ArguAna's 4,065 pairs × 128", "20,000 pairs × 128, clustered"
AT_LEAST = {ARGUANA: 20, CLUSTERED: 50}
FASTER = [name for name in BACKENDS if name != "balltree"]


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """A row per case: seconds of the original and of each backend, and the ratio of the best."""
    cases = {CLUSTERED: clustered(20_000)}
    found: list[dict] = []
    if corpus is None:
        found.append({"what": f"search, {ARGUANA}", "not_run": "needs --corpus"})
    else:
        cases = {ARGUANA: real(corpus, max_length=64)} | cases
    for name, (pool, points, counters) in cases.items():
        row = {"what": f"search, {name}", "about": "the original asked a tenth of the queries; its seconds are scaled"}
        found.append(row | measured(pool, points, counters) | {"at_least": AT_LEAST[name]})
    return found


def measured(pool: Pool, points: torch.Tensor, counters: torch.Tensor) -> dict:
    right = right_groups(pool)
    vectors = torch.cat([points, counters])
    one = np.ones(len(points), dtype=np.int64)
    part = np.arange(0, len(points), TENTH)
    work: dict[str, Callable[[], object]] = {"original": lambda: nearest_other(points.numpy(), counters.numpy(), part)}
    for backend in FASTER:
        work[backend] = partial(nearest_wrong, pool, right, points, vectors, one, backend)
    seconds = interleaved(work)
    seconds["original"] *= TENTH  # building its trees is little of it
    return {"seconds": seconds, "ratio": seconds["original"] / min(seconds[name] for name in FASTER)}


def clustered(n: int) -> tuple[Pool, torch.Tensor, torch.Tensor]:
    """n pairs whose vectors stand in clusters, as debates do: a hundred pairs a cluster."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(n // 100, WIDTH))[np.arange(n) % (n // 100)]
    points, counters = (torch.tensor(centres + rng.normal(size=(n, WIDTH)) * 0.5, dtype=torch.float32) for _ in range(2))
    pairs = [Pair(str(i), None, None, None, f"point {i}", f"counter {i}") for i in range(n)]
    return Pool.of(pairs), points, counters


def real(corpus: Path, max_length: int) -> tuple[Pool, torch.Tensor, torch.Tensor]:
    """The training split, embedded by the untrained encoder and projected at random to 128."""
    pool = read_splits(corpus, None).triples.pool("training")
    model = zero_shot(locate("all-MiniLM-L6-v2"), max_length, choose("auto", "auto"))
    vectors, _ = model.embed(model.point.encoder.tokenize(pool.texts))
    embedding = vectors.embedding.cpu().float()
    projected = embedding @ torch.randn(embedding.shape[1], WIDTH, generator=torch.Generator().manual_seed(0)) / WIDTH**0.5
    at = [pool.queries, pool.counter_of[pool.queries]]
    return pool, *(projected[torch.as_tensor(pool.text[rows])] for rows in at)


# --- scale -----------------------------------------------------------------------------------------------------------


def scale_rows(corpus: Path | None, full: bool) -> list[dict]:
    """Seconds and peak memory of 10,000 queries in pools of 10^4, 10^5 and, with full, 10^6 vectors of 128 numbers."""
    found: list[dict] = []
    for n in (10**4, 10**5, 10**6):
        for backend in FASTER:
            what = f"scale, 10,000 queries in {n:,} × 128, {backend}"
            if n == 10**6 and not full:
                found.append({"what": what, "not_run": "needs --full"})
                continue
            # a process of its own: peak memory never falls
            done = subprocess.run(
                [sys.executable, __file__, str(n), backend],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
            seconds, mib, recall = map(float, done.stdout.split())
            found.append({"what": what, "seconds": seconds, "peak_mib": mib, "recall_at_10": recall})
    return found


def once(n: int, backend: Search) -> None:
    """Print seconds, the peak of memory above what stood before in MiB, and recall@10 of 1,000 queries against exact."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(max(1, n // 100), WIDTH, generator=generator)
    pool = torch.randn(n, WIDTH, generator=generator).mul_(0.5).add_(centres.repeat_interleave(100, 0)[:n])
    queries = pool[torch.randperm(n, generator=generator)[:10_000]] + 0.1 * torch.randn(10_000, WIDTH, generator=generator)
    before = peak_kib()
    start = time.perf_counter()
    _, ids = search(queries, pool, 10, backend)
    seconds = time.perf_counter() - start
    peak = (peak_kib() - before) / 1024
    _, truth = search(queries[:1000], pool, 10, "exact")
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids[:1000], truth, strict=True)])
    print(seconds, peak, recall)


if __name__ == "__main__":
    once(int(sys.argv[1]), cast(Search, sys.argv[2]))
