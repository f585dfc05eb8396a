"""What is evaluated: the queries of a split, what may answer them, and the settings that make sense there."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from counterpoint.arguments.clusters import clusters
from counterpoint.arguments.pairs import SOURCES, Document, Pair
from counterpoint.arguments.pool import Pool
from counterpoint.arguments.triples import Triples
from counterpoint.core.sections import Relevance
from counterpoint.evaluation.table import EVALUATED
from counterpoint.evaluation.winners import relation
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.texts import Texts, Tokens
from counterpoint.model.towers import Embedded
from counterpoint.ranking.candidates import BEIR, SETTINGS, Setting, settings_of
from counterpoint.ranking.distance import Distance
from counterpoint.ranking.queries import MODES, Queries, by_row_among_texts, by_text
from counterpoint.ranking.ranking import Ranks

SEEN = ("none", "counter", "point", "pair")  # rising
DECIMALS = 6  # of a distance, in the table


@dataclass(frozen=True)
class Task:
    """A split's queries in one or both readings; pool.row is the place of an argument in pairs, or in documents."""

    split: str
    pairs: Sequence[Pair]
    documents: Sequence[Document]
    pool: Pool
    settings: dict[str, Setting]
    queries: dict[Relevance, Queries]


def read_tasks(triples: Triples, *, beir: bool) -> list[Task]:
    """A task for validation and for test; with beir one more, where test points search the distinct texts of all splits."""
    tasks: list[Task] = []
    for split in EVALUATED:
        pool, pairs = triples.pool(split), triples.pairs[split]
        queries = {answers: read(pool) for answers, read in MODES.items()}
        tasks.append(Task(split, pairs, triples.documents_of(split), pool, settings_of(pool), queries))
        if left_out := [name for name in SETTINGS if name not in tasks[-1].settings]:
            logging.info("%s: not every pair says its debate, theme and stance: no %s", split, ", ".join(left_out))
    if beir:
        tasks.append(_beir(triples))
    return tasks


def _beir(triples: Triples) -> Task:
    """Counterless points are arguments, too."""
    before = [*triples.pairs["training"], *triples.pairs["validation"]]
    everything = [*before, *triples.pairs["test"], *triples.unpaired]
    documents = list(triples.documents or ())
    pool = Pool.of(everything, documents)  # points first, so that a pair's point is at its place
    points = len(before) + np.arange(len(triples.pairs["test"]))
    queries: dict[Relevance, Queries] = {"text": by_text(pool, points), "row": by_row_among_texts(pool, points)}
    return Task("test", everything, documents, pool, BEIR, queries)


def embed_tasks(
    tasks: Sequence[Task], model: BiEncoder, read: Callable[[list[Tokens]], Sequence[Texts]] = list
) -> list[Embedded]:
    """Vectors of each task's pool.texts as points and as counters; read makes what the model reads of lists of tokens.

    A split is embedded whole, as training does, so that the same weights give the same scores; BEIR's task takes over what
    the splits have, so that asking for it changes no other number.
    """
    place: dict[str, int] = {}  # text -> its row in what is embedded so far
    parts: list[Tokens] = []
    rows = []
    for task in tasks:
        texts = [text for text in task.pool.texts if task.settings is not BEIR or text not in place]
        start = sum(map(len, parts))
        place |= {text: start + i for i, text in enumerate(texts)}
        rows.append(np.array([place[text] for text in task.pool.texts]))
        if texts:
            parts.append(model.point.encoder.tokenize(texts))
    embedded = Embedded.concatenated([model.embed(part) for part in read(parts)])
    return [embedded[row] for row in rows]


@dataclass(frozen=True)
class Ranked:
    """What one step made of a task's queries: by setting how many candidates each has, and its ranks; by this distance."""

    step: str
    distance: Distance
    settings: dict[str, tuple[np.ndarray, Ranks]]


def ranks_tables(tasks: Iterable[Task], ranked: Callable[[int, Queries], Iterable[Ranked]]) -> dict[str, pd.DataFrame]:
    """The table of each split. ranked gives what every step makes of a task (by number) and its queries."""
    tables: dict[str, list[pd.DataFrame]] = {split: [] for split in EVALUATED}
    for number, task in enumerate(tasks):
        for answers, queries in task.queries.items():
            who = asked(task, queries)
            for each in ranked(number, queries):
                best, right = distances(queries, each)
                for place, (setting, (candidates, ranks)) in enumerate(each.settings.items()):
                    about = {"answers": answers, "setting": setting, "stage": each.step}
                    far = {"best_distance": best[place], "right_distance": right}
                    tables[task.split].append(ranks_table(task, queries, about | who, candidates, ranks).assign(**far))
    return {split: pd.concat(members) for split, members in tables.items()}


def distances(queries: Queries, ranked: Ranked) -> tuple[np.ndarray, np.ndarray]:
    """How far each query is from what came out on top, (settings, queries), and from its nearest right answer (queries,).

    Squared, and with what a correction adds, as the step ranks by them; of BM25 they are scores, negated.
    """
    everyone, rows = np.arange(len(queries)), np.nonzero(queries.right >= 0)
    best = [queries.item[ranks.best] for _, ranks in ranked.settings.values()]
    asked = np.concatenate([rows[0], *[everyone for _ in best]])
    far = ranked.distance.between(asked, np.concatenate([queries.right[rows], *best])).round(DECIMALS)
    right = np.full(len(queries), np.inf)
    np.minimum.at(right, rows[0], far[: len(rows[0])])
    return far[len(rows[0]) :].reshape(len(best), len(queries)), right


def asked(task: Task, queries: Queries) -> dict[str, Any]:
    """The columns id, seen and cluster of the queries, (queries,) each.

    A query is named after its first pair; seen says the most that any of its pairs has in training; cluster numbers what the
    bootstrap draws as one.
    """
    pairs = [task.pairs[i] for i in task.pool.row[queries.points]]
    most = np.maximum.reduceat([SEEN.index(pair.seen or "none") for pair in pairs], queries.start)
    names = [pairs[i].id for i in queries.start]
    return {"id": names, "seen": np.array(SEEN)[most], "cluster": clusters(pairs)[queries.start]}


def ranks_table(task: Task, queries: Queries, about: dict[str, Any], candidates: np.ndarray, ranks: Ranks) -> pd.DataFrame:
    """A row a query: what it is about, among how many, the right answers' ranks, and what came out on top.

    about has the columns before these, `asked` among them; best names an argument by its source and the id of its pair or
    document.
    """
    pool = task.pool
    named = [(SOURCES[pool.source[i]], pool.row[i]) for i in ranks.best]
    return pd.DataFrame(
        about
        | {
            "candidates": candidates,
            "rank": ranks.rank,
            "ties_hit": ranks.ties_hit,
            "right": [" ".join(map(str, row[row > 0])) for row in ranks.right],
            "best": [f"{source} {(task.documents if source == 'document' else task.pairs)[i].id}" for source, i in named],
            "best_is": relation(pool, queries.point, ranks.best, ranks.best_right),
        }
    )
