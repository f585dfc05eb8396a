"""Mining the nearest eligible argument of each point: the original's ball trees against the backends; and growing pools."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from original import nearest_of_other_pairs
from timing import in_child, interleaved, not_run, peak_kib

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.core.rows import Rows
from counterpoint.core.sections import Search
from counterpoint.corpus.splits import read_splits
from counterpoint.model.bi_encoder import zero_shot
from counterpoint.model.compute import choose
from counterpoint.model.files import BUNDLED, locate
from counterpoint.negatives import search as backends
from counterpoint.negatives.eligible import excluded_groups
from counterpoint.negatives.search import BACKENDS, codes, nearest_eligible, search

WIDTH, TENTH = 128, 10
ARGUANA, CLUSTERED = "ArguAna's 4,065 pairs × 128", "20,000 pairs × 128, clustered"
FASTER = [name for name in BACKENDS if name != "balltree"]


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """Return a row a case: seconds of the original and of each backend, and the ratio of the best backend."""
    results = not_run(f"search, {ARGUANA}") if corpus is None else [_row(ARGUANA, 20, *real(corpus, max_length=64))]
    return [*results, _row(CLUSTERED, 50, *clustered(20_000))]


def _row(case: str, least: float, pool: Pool, points: torch.Tensor, counters: torch.Tensor) -> dict:
    excluded, vectors, one = excluded_groups(pool), torch.cat([points, counters]), np.ones(len(points), dtype=np.int64)
    part = np.arange(0, len(points), TENTH)
    work: dict[str, Callable[[], object]] = {
        "original": lambda: nearest_of_other_pairs(points.numpy(), counters.numpy(), part),
    }
    for name in FASTER:
        work[name] = partial(nearest_eligible, pool, excluded, Rows(points), Rows(vectors), one, partial(search, backend=name))
    seconds = interleaved(work)
    seconds["original"] *= TENTH  # building its trees is little of it
    return {
        "what": f"search, {case}",
        "about": "the original searched for a tenth of the queries; its seconds are scaled",
        "seconds": seconds,
        "ratio": seconds["original"] / min(seconds[name] for name in FASTER),
        "at_least": least,
    }


def clustered(n: int) -> tuple[Pool, torch.Tensor, torch.Tensor]:
    """Return n pairs whose vectors stand in clusters, as debates do, with a hundred pairs a cluster."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(n // 100, WIDTH))[np.arange(n) % (n // 100)]
    points, counters = (torch.tensor(centres + rng.normal(size=(n, WIDTH)) * 0.5, dtype=torch.float32) for _ in range(2))
    pairs = [Pair(str(i), None, None, None, f"point {i}", f"counter {i}") for i in range(n)]
    return Pool.of(pairs), points, counters


def real(corpus: Path, max_length: int) -> tuple[Pool, torch.Tensor, torch.Tensor]:
    """Return the training split, embedded by the untrained encoder and projected at random to WIDTH."""
    pool = read_splits(corpus, None).triples.pool("training")
    model = zero_shot(locate(BUNDLED), max_length, choose("auto", "auto"))
    embedding = model.embed(model.point.encoder.tokenize(pool.texts)).points.embedding.cpu().float()
    projected = embedding @ torch.randn(embedding.shape[1], WIDTH, generator=torch.Generator().manual_seed(0)) / WIDTH**0.5
    sides = [pool.queries, pool.counter_of[pool.queries]]
    return pool, *(projected[torch.as_tensor(pool.text[ids])] for ids in sides)


# --- scale -----------------------------------------------------------------------------------------------------------


def scale_rows(corpus: Path | None, full: bool) -> list[dict]:
    """Return seconds and peak memory of 10,000 queries in pools of 10^4, 10^5 and, with full, 10^6 vectors of WIDTH."""
    results: list[dict] = []
    for n in (10**4, 10**5, 10**6):
        for backend in FASTER:
            what = f"scale, 10,000 queries in {n:,} × {WIDTH}, {backend}"
            if n == 10**6 and not full:
                results += not_run(what, needs="--full")
                continue
            seconds, mib, recall = in_child(__file__, str(n), backend)
            results.append({"what": what, "seconds": seconds, "peak_mib": mib, "recall_at_10": recall})
    return results


def once(n: int, backend: Search, width: int = WIDTH) -> tuple[float, float, float]:
    """Return seconds, the rise of peak memory in MiB, and recall@10 of 1,000 queries against `exact`."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(max(1, n // 100), width, generator=generator)
    pool = torch.randn(n, width, generator=generator).mul_(0.5).add_(centres.repeat_interleave(100, 0)[:n])
    queries = pool[torch.randperm(n, generator=generator)[:10_000]] + 0.1 * torch.randn(10_000, width, generator=generator)
    before = peak_kib()
    start = time.perf_counter()
    _, ids = search(Rows(queries), Rows(pool), 10, backend)
    seconds = time.perf_counter() - start
    peak = (peak_kib() - before) / 1024
    _, truth = search(Rows(queries[:1000]), Rows(pool), 10, "exact")
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids[:1000], truth, strict=True)])
    return seconds, peak, float(recall)


def coded(n: int, width: int) -> dict[str, float]:
    """Return what `once` finds with codes of product quantization, as FAISS has them above ten million vectors."""
    seconds, mib, recall = in_child(__file__, str(n), "faiss", str(width), "1")
    facts = {"vectors": n, "width": width, "bytes_a_vector": codes(width), "recall_at_10": recall}
    return facts | {"seconds": round(seconds, 1), "peak_mib": round(mib)}


if __name__ == "__main__":
    if sys.argv[4:]:
        backends.COMPRESSED = 0
    print(*once(int(sys.argv[1]), cast(Search, sys.argv[2]), *map(int, sys.argv[3:4])))
