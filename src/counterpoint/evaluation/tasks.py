"""What is evaluated: the queries of a split, the arguments offered to them, and the settings that make sense there."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from counterpoint.arguments.clusters import clusters
from counterpoint.arguments.pairs import POINT, Pair, read_pairs
from counterpoint.arguments.pool import Pool
from counterpoint.evaluation.table import EVALUATED
from counterpoint.evaluation.winners import relation
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.towers import Vectors
from counterpoint.ranking.ranking import Ranks
from counterpoint.ranking.settings import BEIR, SETTINGS, Setting, sensible


@dataclass(frozen=True)
class Task:
    """pool.row is the place of an argument's pair in pairs; the queries' pairs are `asked`."""

    split: str
    pairs: Sequence[Pair]
    pool: Pool
    settings: dict[str, Setting]

    @property
    def asked(self) -> list[Pair]:
        return [self.pairs[i] for i in self.pool.row[self.pool.queries]]


def read_tasks(triples: Path, *, beir: bool) -> list[Task]:
    """A task for validation and for test; with beir one more, where test points search the distinct texts of all splits."""
    tasks: list[Task] = []
    for split in EVALUATED:
        pairs = read_pairs(triples / f"{split}.jsonl")
        pool = Pool.of(pairs)
        tasks.append(Task(split, pairs, pool, sensible(pool)))
        if left_out := [name for name in SETTINGS if name not in tasks[-1].settings]:
            logging.info("%s: not every pair says its debate, theme and stance: no %s", split, ", ".join(left_out))
    if beir:
        names = ("training", *EVALUATED, "unpaired")  # counterless points are arguments, too
        parts = {name: read_pairs(triples / f"{name}.jsonl") for name in names}
        everything = [pair for members in parts.values() for pair in members]
        start = len(parts["training"]) + len(parts["validation"])
        pool = Pool.of(everything)  # points first, so that a pair's point is at its place
        tasks.append(Task("test", everything, pool.distinct(np.arange(start, start + len(parts["test"]))), BEIR))
    return tasks


def embed_tasks(tasks: Sequence[Task], model: BiEncoder) -> list[tuple[Vectors, Vectors]]:
    """Vectors of each task's pool.texts as points and as counters.

    A split is embedded whole, as training does, so that the same weights give the same scores; BEIR's task takes over what
    the splits have, so that asking for it changes no other number.
    """
    place: dict[str, int] = {}  # text -> its row in what is embedded so far
    parts: list[tuple[Vectors, Vectors]] = []
    rows = []
    for task in tasks:
        texts = [text for text in task.pool.texts if task.settings is not BEIR or text not in place]
        start = sum(len(points.embedding) for points, _ in parts)
        place |= {text: start + i for i, text in enumerate(texts)}
        rows.append(np.array([place[text] for text in task.pool.texts]))
        if texts:
            parts.append(model.embed(model.point.encoder.tokenize(texts)))
    points, counters = (Vectors.joined(side) for side in zip(*parts, strict=True))
    return [(points[row], counters[row]) for row in rows]


def ranks_table(task: Task, setting: str, step: str, candidates: np.ndarray, ranks: Ranks) -> pd.DataFrame:
    """A row a query of the task: who asked, among how many, the true counter's rank, and what came out on top.

    cluster numbers what the bootstrap draws as one; best names an argument by its source and its pair's id.
    """
    pool, asked = task.pool, task.asked
    source = np.where(pool.source[ranks.best] == POINT, "point", "counter")
    return pd.DataFrame(
        {
            "setting": setting,
            "stage": step,
            "id": [pair.id for pair in asked],
            "seen": [pair.seen for pair in asked],
            "cluster": clusters(asked),
            "candidates": candidates,
            "rank": ranks.rank,
            "ties_hit": ranks.ties_hit,
            "best": [f"{side} {task.pairs[i].id}" for side, i in zip(source, pool.row[ranks.best], strict=True)],
            "best_is": relation(pool, pool.queries, ranks.best),
        }
    )
