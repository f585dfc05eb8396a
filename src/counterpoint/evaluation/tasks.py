"""The evaluation tasks: the queries of a split with their candidate sets, and the tables of their ranks."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from counterpoint.arguments.pairs import SOURCES, Document, Pair
from counterpoint.arguments.pool import Pool, clusters
from counterpoint.arguments.seen import SEEN
from counterpoint.arguments.triples import Triples
from counterpoint.core.sections import Relevance
from counterpoint.evaluation.table import EVALUATED, relation, right_cells
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.texts import Texts, Tokens
from counterpoint.model.towers import Embedded
from counterpoint.ranking.distance import Distance
from counterpoint.ranking.queries import (
    MODES,
    SETTINGS,
    Queries,
    Setting,
    beir_setting,
    by_row_among_texts,
    by_text,
    settings_of,
)
from counterpoint.ranking.ranking import Ranks

DECIMALS = 6  # of a distance in the table


@dataclass(frozen=True)
class Task:
    """A split's queries in both relevance modes; pool.row numbers the arguments in pairs, or in documents."""

    split: str
    pairs: Sequence[Pair]
    documents: Sequence[Document]
    pool: Pool
    settings: dict[str, Setting]
    queries: dict[Relevance, Queries]


def read_tasks(triples: Triples, *, beir: bool, sample: int | None = None) -> list[Task]:
    """Return a task for validation and one for test, of `sample` queries at most; with beir, also that of BEIR."""
    tasks: list[Task] = []
    for split in EVALUATED:
        pool, pairs = triples.pool(split), triples.pairs[split]
        queries = {answers: queries_of(pool, most=sample) for answers, queries_of in MODES.items()}
        tasks.append(Task(split, pairs, triples.documents_of(split), pool, settings_of(pool), queries))
        if left_out := [name for name in SETTINGS if name not in tasks[-1].settings]:
            logging.info("%s: not every pair says its debate, theme and stance: no %s", split, ", ".join(left_out))
    return [*tasks, _beir(triples, sample)] if beir else tasks


def _beir(triples: Triples, most: int | None) -> Task:
    """The test points search a collection's documents, else all arguments, counterless points too."""
    before = [*triples.pairs["training"], *triples.pairs["validation"]]
    pairs = [*before, *triples.pairs["test"], *triples.unpaired]
    documents = list(triples.documents or ())
    pool = Pool.of(pairs, documents)  # points stand first, so the i-th pair's point has position i
    points = len(before) + np.arange(len(triples.pairs["test"]))
    modes: dict[Relevance, Callable[..., Queries]] = {"text": by_text, "row": by_row_among_texts}
    queries = {answers: queries_of(pool, points, most) for answers, queries_of in modes.items()}
    return Task("test", pairs, documents, pool, beir_setting(collection=triples.documents is not None), queries)


def embed_tasks(
    tasks: Sequence[Task], model: BiEncoder, read: Callable[[list[Tokens]], Sequence[Texts]] = list
) -> list[Embedded]:
    """Return the vectors of each task's pool.texts as points and as counters; read turns tokens into the model's input.

    A split is embedded whole, as in training, so that the same weights give the same scores. BEIR's task reuses the splits'
    vectors, so that it changes no other number.
    """
    place: dict[str, int] = {}  # text -> its row among all embedded texts
    parts: list[Tokens] = []
    rows = []
    for task in tasks:
        texts = [text for text in task.pool.texts if "beir" not in task.settings or text not in place]
        start = sum(map(len, parts))
        place |= {text: start + i for i, text in enumerate(texts)}
        rows.append(np.array([place[text] for text in task.pool.texts]))
        if texts:
            parts.append(model.point.encoder.tokenize(texts))
    embedded = [model.embed(part) for part in read(parts)]
    if not any("beir" in task.settings for task in tasks):
        return embedded
    whole = Embedded.concatenated(embedded)
    return [whole[row] for row in rows]


@dataclass(frozen=True)
class Ranked:
    """A stage's result for a task's queries: by setting the candidate counts and the ranks, and the distance behind them."""

    stage: str
    distance: Distance
    settings: dict[str, tuple[np.ndarray, Ranks]]


def ranks_tables(tasks: Iterable[Task], rank_task: Callable[[int, Queries], Iterable[Ranked]]) -> dict[str, pd.DataFrame]:
    """Return the table of each split; rank_task returns every stage's result for a task (by number) and its queries."""
    tables: dict[str, list[pd.DataFrame]] = {split: [] for split in EVALUATED}
    for number, task in enumerate(tasks):
        for answers, queries in task.queries.items():
            shared = query_columns(task, queries)
            for ranked in rank_task(number, queries):
                best, right = distances(queries, ranked)
                for place, (setting, (candidates, ranks)) in enumerate(ranked.settings.items()):
                    columns = {"answers": answers, "setting": setting, "stage": ranked.stage} | shared
                    table = ranks_table(task, queries, columns, candidates, ranks)
                    tables[task.split].append(table.assign(best_distance=best[place], right_distance=right))
    return {split: pd.concat(parts) for split, parts in tables.items()}


def distances(queries: Queries, ranked: Ranked) -> tuple[np.ndarray, np.ndarray]:
    """Return each query's distance to its top-ranked answer (settings, queries) and to its nearest right one (queries,).

    They are the squared distances of the ranking stage, any hubness correction included, and BM25's negated scores.
    """
    rows, answers = queries.right.row, queries.right.values
    best = [queries.item[ranks.best] for _, ranks in ranked.settings.values()]
    chosen = np.concatenate([rows, *[np.arange(len(queries))] * len(best)])
    far = ranked.distance.between(chosen, np.concatenate([answers, *best])).round(DECIMALS)
    right = np.full(len(queries), np.inf)
    np.minimum.at(right, rows, far[: len(rows)])
    return far[len(rows) :].reshape(len(best), len(queries)), right


def query_columns(task: Task, queries: Queries) -> dict[str, Any]:
    """Return the columns id, seen and cluster, (queries,) each.

    id is the query's first pair; seen is the highest value of all its pairs; the bootstrap draws a cluster's queries together.
    """
    pairs, start = [task.pairs[i] for i in task.pool.row[queries.points.values]], queries.points.start[:-1]
    seen = np.maximum.reduceat([SEEN.index(pair.seen or "none") for pair in pairs], start)
    return {"id": [pairs[i].id for i in start], "seen": np.array(SEEN)[seen], "cluster": clusters(pairs)[start]}


def ranks_table(task: Task, queries: Queries, columns: dict[str, Any], candidates: np.ndarray, ranks: Ranks) -> pd.DataFrame:
    """Return a row per query: the given columns, the candidate count, the right answers' ranks and the top-ranked argument.

    The column best names an argument by its source and the id of its pair or document.
    """
    pool = task.pool
    top = [(SOURCES[pool.source[i]], pool.row[i]) for i in ranks.best]
    return pd.DataFrame(
        columns
        | {
            "candidates": candidates,
            "rank": ranks.rank,
            "ties_hit": ranks.ties_hit,
            "right": right_cells(ranks.right, ranks.grade),
            "best": [f"{source} {(task.documents if source == 'document' else task.pairs)[row].id}" for source, row in top],
            "best_is": relation(pool, queries.point, ranks.best, ranks.best_right),
        }
    )
