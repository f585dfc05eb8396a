"""The files of a study's finished runs, and the shares of false negatives among mined ones, as far as words tell."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, vstack

from counterpoint.arguments.pool import Pool
from counterpoint.arguments.triples import read_triples
from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json, sha256, write_text
from counterpoint.core.params import flat
from counterpoint.evaluation.table import DENSE, MODEL_STAGES, RANKED
from counterpoint.experiments.dvc_runs import fetch_folder, head, load
from counterpoint.experiments.run_code import code_sha256, edited
from counterpoint.experiments.seed_averages import SETTINGS, SeedRun, of_stage, seed_run
from counterpoint.experiments.studies import RESULTS, StudyRun
from counterpoint.experiments.versions import BASELINES_VERSION, RESULTS_VERSION, current
from counterpoint.negatives.eligible import excluded_groups

NEAR = 0.5  # lowest cosine of the tf-idf vectors of two near-duplicates
ROWS = 512  # points at a time


def near_right(pool: Pool, near: float = NEAR) -> csr_array:
    """Return which text groups answer a near-duplicate of each point, but not the point: bool (points, groups)."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # here, since it is slow to import

    groups = pool.text_group[pool.queries]
    shape = (len(groups), int(pool.text_group.max()) + 1)

    def pairs(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> csr_array:
        return csr_array((np.ones(len(rows), np.int32), (rows, columns)), shape)

    texts = [pool.texts[text] for text in pool.text[pool.queries]]
    vectors = csr_array(TfidfVectorizer(sublinear_tf=True).fit_transform(texts), dtype=np.float32)
    counters = pairs(np.arange(len(groups)), pool.text_group[pool.counter_of[pool.queries]], shape)
    answers = []
    for begin in range(0, len(groups), ROWS):
        cosine = (vectors[begin : begin + ROWS] @ vectors.T).tocoo()
        close = (cosine.data >= near) & (groups[begin + cosine.row] != groups[cosine.col])
        answers.append(pairs(cosine.row[close], cosine.col[close], cosine.shape) @ counters)
    right = excluded_groups(pool)
    return csr_array((csr_array(vstack(answers)) > 0) > (pairs(right.row, right.values, shape) > 0))


def positions(pool: Pool, source: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return the pool positions of the arguments that models/negatives.npz names by source and index, of one shape."""
    position = np.full((int(pool.source.max()) + 1, int(pool.row.max()) + 1), -1)
    position[pool.source, pool.row] = np.arange(len(pool))
    return position[source, index]


def false_shares(pool: Pool, negatives: Mapping[str, np.ndarray], answers: csr_array) -> list[float | None]:
    """Return each epoch's share of false negatives among the mined ones; None where none was mined.

    negatives are the arrays of models/negatives.npz, (epochs, points, K), of the pool's queries; answers is `near_right`.
    """
    ids, mined = positions(pool, negatives["source"], negatives["index"]), ~negatives["was_random"]
    rows = np.broadcast_to(np.arange(len(pool.queries))[:, None], mined.shape[1:])
    return [
        round(float(np.mean(answers[rows[mask], pool.text_group[drawn[mask]]])), 6) if mask.any() else None
        for drawn, mask in zip(ids, mined, strict=True)
    ]


# The columns that a file keeps of metrics/settings.json, of history.json and of the test queries.
MEASURED = ("split", "setting", "queries", "stage", "n", "top1", "top1_low", "top1_high", "mrr")
HISTORY = (
    "epoch", "random_share", "filtered_share", "same_debate_share", "point_share", "hardness", "loss", "training_top1",
    "validation_top1", "test_top1", "unseen_test_top1", "selection_score", "false_share",
)  # fmt: skip
QUERY = ("id", "seen", "cluster")


def data_sha256(corpus: Path) -> str:
    """Return the sha256 of a corpus; raise InputError where it is not at hand."""
    if not corpus.exists():
        raise InputError(f"a study must have its corpus at hand, {corpus}; name the place: -S 'corpus=\"/path/to/it\"'")
    files = sorted(file for file in corpus.rglob("*") if file.is_file()) if corpus.is_dir() else [corpus]
    return sha256(*files)


def agrees(row: Mapping[str, Any], run: StudyRun, data: str) -> bool:
    """Return whether a stored run is the planned one: the same params under today's keys, data, and results version."""
    same = current(row["params"]) == flat(run.decides)
    return same and row["data"] == data and row["versions"]["results"] == RESULTS_VERSION


def is_done(run: StudyRun, data: str, folder: Path = Path()) -> bool:
    """Return whether the clone in folder has the run's file, and the file `agrees`."""
    file = folder / run.file
    return file.exists() and agrees(read_json(file), run, data)


def take_row(run: StudyRun, folder: Path, data: str) -> bool:
    """Copy the run's file from another clone where it `is_done` there; return whether it is."""
    if done := is_done(run, data, folder):
        queries = queries_file(run, read_json(folder / run.file))
        for file in (queries, run.file):
            write_text(file, (folder / file).read_text(encoding="utf-8"))
    return done


def queries_file(run: StudyRun, row: Mapping[str, Any]) -> Path:
    """Return the file of a row's test queries; raise InputError for a name that `write_queries` does not give."""
    if not re.fullmatch(r"queries-[0-9a-f]{8}\.json", str(row["queries"])):
        raise InputError(f"{run.file}: queries must be a file named queries-HASH.json beside runs/; got {row['queries']!r}")
    return RESULTS / run.study / row["queries"]


def write_row(run: StudyRun, rev: str, data: str, seconds: float | None) -> None:
    """Write the file of a finished run; rev is a revision or the workspace, seconds are those of the whole run.

    Raise InputError where its code is not the commit's.
    """
    if path := edited(rev):
        raise InputError(f"{run.name} must be a run of the committed code; it was made with another {path}")
    stored = seed_run(run.name, rev, run.params)
    ranks = stored.ranks[stored.ranks["setting"].isin(SETTINGS)]
    history = _with_false_share(run, rev, stored.history)
    rerank = sum(load(rev, "metrics/reranker/timing.json").values())
    row = {
        "arm": run.arm,
        "seed": run.seed,
        "params": run.decides,
        "data": data,
        "versions": {"results": RESULTS_VERSION, "baselines": BASELINES_VERSION},
        "code": code_sha256(rev),
        "commit": head(),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "seconds": {"train": round(stored.seconds, 1), "rerank": round(rerank, 1), "whole": seconds and round(seconds, 1)},
        "near": NEAR,
        "train": stored.train,
        "reranker": load(rev, "metrics/reranker.json"),
        "settings": [{key: row[key] for key in MEASURED} for row in stored.settings if row["setting"] in SETTINGS],
        "history": {name: [epoch[name] for epoch in history] for name in HISTORY},
        "queries": write_queries(RESULTS / run.study, _queries_of(ranks)),
        "ranks": {
            setting: {stage: of_stage(ranks, setting, stage)["rank"].tolist() for stage in RANKED}
            for setting in dict.fromkeys(ranks["setting"])
        },
    }
    write_text(run.file, by_line(row))


def _with_false_share(run: StudyRun, rev: str, history: list[dict]) -> list[dict]:
    """Return the rows of history.json with the share of false negatives among the mined ones."""
    with tempfile.TemporaryDirectory() as folder:
        fetch_folder(rev, "data/triples", Path(folder, "triples"))
        fetch_folder(rev, "models/negatives.npz", Path(folder, "negatives.npz"))
        pool = read_triples(Path(folder, "triples")).pool("training")
        with np.load(f"{folder}/negatives.npz") as arrays:
            negatives = dict(arrays)
    shares = false_shares(pool, negatives, near_right(pool)) or [None]  # an untrained model has a row and no draw
    return [epoch | {"false_share": share} for epoch, share in zip(history, shares, strict=True)]


def _queries_of(ranks: pd.DataFrame) -> dict[str, Any]:
    """The test queries, in the order of ranks, with their candidates by setting."""
    candidates = {
        name: of_stage(ranks, name, MODEL_STAGES[0])["candidates"].tolist() for name in dict.fromkeys(ranks["setting"])
    }
    queries = of_stage(ranks, next(iter(candidates)), MODEL_STAGES[0])
    return {name: queries[name].tolist() for name in QUERY} | {"candidates": candidates}


def write_queries(folder: Path, queries: Mapping[str, Any]) -> str:
    """Write a file of test queries, which all runs of a study share; return its name."""
    text = by_line(queries)
    name = f"queries-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
    if not (file := folder / name).exists():
        write_text(file, text)
    return name


def by_line(values: Mapping[str, Any]) -> str:
    """Return a JSON object with a line for each key."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
    return f"{{\n{lines}\n}}\n"


def _machine() -> dict:
    cpuinfo, threads = Path("/proc/cpuinfo"), os.environ.get("OMP_NUM_THREADS")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    return {
        "processor": next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"),
        "cores": os.cpu_count(),
        "threads": int(threads) if threads else None,
        "torch": version("torch"),
    }


def seconds_of(row: Mapping[str, Any]) -> float:
    """Return the seconds of a stored run: of all its stages where it ran alone, else of training and reranking."""
    return row["seconds"]["whole"] or row["seconds"]["train"] + row["seconds"]["rerank"]


def read_run(run: StudyRun, row: Mapping[str, Any]) -> SeedRun:
    """Return a run as reports take it, from the contents of its file."""
    epochs = [dict(zip(row["history"], values, strict=True)) for values in zip(*row["history"].values(), strict=True)]
    for epoch in epochs:
        epoch["mined_share"] = None if epoch["random_share"] is None else 1 - epoch["random_share"]
    queries = read_json(queries_file(run, row))
    columns = {name: queries[name] for name in QUERY}
    ranks = [
        pd.DataFrame(columns | {"setting": setting, "stage": stage, "candidates": queries["candidates"][setting], "rank": rank})
        for setting, stages in row["ranks"].items()
        for stage, rank in ({DENSE: stages[MODEL_STAGES[0]]} | stages).items()  # rows from before words have no row of vectors
    ]
    return SeedRun(run.name, run.seed, row["settings"], row["train"], seconds_of(row), epochs, pd.concat(ranks))
