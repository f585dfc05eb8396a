"""A study's finished runs, a file each, from which its report is made, and by which it goes on in another clone."""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dvc.api
import numpy as np
import pandas as pd

from counterpoint.arguments.pool import Pool
from counterpoint.arguments.triples import read_triples
from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json, sha256, write_text
from counterpoint.core.stages import code_of
from counterpoint.evaluation.table import MODEL_STAGES, read_table
from counterpoint.experiments.dvc_runs import WORKSPACE, head, read, read_output
from counterpoint.experiments.near_twins import NEAR, drawn_to_read, false_shares, near_right
from counterpoint.experiments.seed_averages import SeedRun
from counterpoint.experiments.studies import StudyRun
from counterpoint.experiments.versions import BASELINES_VERSION, RESULTS_VERSION, current, flat
from counterpoint.negatives.schedule import Schedule

RESULTS = Path("docs/results")
READ = Path("reports")  # texts of the corpus, which no one commits
STAGES = ("prepare", "train", "baselines", "rerank", "rank", "evaluate")  # whose code makes the numbers
SETTINGS = ("epa", "epc")
HISTORY = (  # the columns that are kept
    "epoch", "random_share", "filtered_share", "same_debate_share", "point_share", "hardness", "loss", "training_top1",
    "validation_top1", "test_top1", "unseen_test_top1", "selection_score", "false_share",
)  # fmt: skip


def data_sha256(corpus: Path) -> str:
    """Return the sha256 of a corpus; raise InputError where it is not at hand."""
    if not corpus.exists():
        raise InputError(f"a study must have its corpus at hand, {corpus}; name the place: -S 'corpus=\"/path/to/it\"'")
    files = sorted(file for file in corpus.rglob("*") if file.is_file()) if corpus.is_dir() else [corpus]
    return sha256(*files)


def code_sha256() -> str:
    """Return the sha256 of the code that makes the numbers: where a row comes from, and no part of the rule."""
    deps = map(Path, code_of(lambda stage: stage in STAGES))
    return sha256(*sorted(file for dep in deps for file in ([dep] if dep.is_file() else dep.rglob("*.py"))))


def row_file(study: str, name: str) -> Path:
    return RESULTS / study / "runs" / f"{name}.json"


def take_row(study: str, run: StudyRun, folder: Path, data: str) -> bool:
    """Copy a run's file from another clone, where it has one that `is_done` there; return whether it has."""
    if not is_done(study, run, data, folder):
        return False
    file = row_file(study, run.name)
    queries = RESULTS / study / read_json(folder / file)["queries"]
    for name in (queries, file):
        write_text(name, (folder / name).read_text(encoding="utf-8"))
    return True


def is_done(study: str, run: StudyRun, data: str, folder: Path = Path()) -> bool:
    """Return whether the run's file is there and `agrees`."""
    file = folder / row_file(study, run.name)
    return file.exists() and agrees(read_json(file), run, data)


def agrees(row: Mapping[str, Any], run: StudyRun, data: str) -> bool:
    """Return whether a stored run is the planned one: the same params as of today, data, and results version."""
    same = current(row["params"]) == flat(run.decides)
    return same and row["data"] == data and row["versions"]["results"] == RESULTS_VERSION


def seconds_by_arm(study: str, runs: Iterable[StudyRun]) -> dict[str, float]:
    """How long a run of each arm took, of those that were run alone; arms without one are left out."""
    found: dict[str, list[float]] = {}
    for run in runs:
        if (file := row_file(study, run.name)).exists() and (whole := read_json(file)["seconds"]["whole"]):
            found.setdefault(run.arm, []).append(whole)
    return {arm: sum(seconds) / len(seconds) for arm, seconds in found.items()}


def write_row(study: str, run: StudyRun, rev: str, data: str, seconds: float | None) -> None:
    """The file of a run that has just finished, as rev (a revision, or the workspace) has it."""

    def series(path: str) -> Any:
        return json.loads(read(rev, path))

    ranks = read_table(io.StringIO(read_output(rev, "data/ranks", "test.csv")))
    ranks = ranks[(ranks["answers"] == run.params.evaluate.answers) & ranks["setting"].isin(SETTINGS)]
    history = series("plots/series/history.json")["epochs"]
    pool, negatives = drawn(rev)
    answers = near_right(pool)
    shares = false_shares(pool, negatives, answers) or [None]  # an untrained model has a row and no draw
    history = [epoch | {"false_share": share} for epoch, share in zip(history, shares, strict=True)]
    write_text(READ / study / f"{run.name}.md", drawn_to_read(pool, negatives, answers, run.seed))
    times = [series(f"metrics/{name}.json") for name in ("timing", "reranker/timing")]
    measured = [row for row in series("metrics/settings.json")["settings"] if row["setting"] in SETTINGS]
    row = {
        "arm": run.arm,
        "seed": run.seed,
        "params": run.decides,
        "data": data,
        "versions": {"results": RESULTS_VERSION, "baselines": BASELINES_VERSION},
        "code": code_sha256(),
        "commit": head(),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "seconds": {"train": _sum(times[0]), "rerank": _sum(times[1]), "whole": seconds and round(seconds, 1)},
        "near": NEAR,
        "train": series("metrics/train.json"),
        "reranker": series("metrics/reranker.json"),
        "settings": [{name: each[name] for name in KEPT} for each in measured],
        "history": {name: [epoch[name] for epoch in history] for name in HISTORY},
        "queries": write_queries(study, ranks),
        "ranks": {
            setting: {step: _of(ranks, setting, step)["rank"].tolist() for step in MODEL_STAGES}
            for setting in dict.fromkeys(ranks["setting"])
        },
    }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in row.items())
    write_text(row_file(study, run.name), f"{{\n{lines}\n}}\n")


KEPT = ("split", "setting", "queries", "stage", "n", "top1", "top1_low", "top1_high", "mrr")
ASKED = ("id", "seen", "cluster")


def drawn(rev: str) -> tuple[Pool, dict[str, np.ndarray]]:
    """The arguments that a run trained on, and all its negatives."""
    files = dvc.api.DVCFileSystem(rev=None if rev == WORKSPACE else rev)
    with tempfile.TemporaryDirectory() as folder:
        files.get("data/triples", f"{folder}/triples", recursive=True)
        files.get("models/negatives.npz", f"{folder}/negatives.npz")
        with np.load(f"{folder}/negatives.npz") as arrays:
            return read_triples(Path(folder, "triples")).pool("training"), dict(arrays)


def write_queries(study: str, ranks: pd.DataFrame) -> str:
    """The test queries, in the order of a table of ranks, with their candidates by setting: one file for all runs; its name."""
    settings = list(dict.fromkeys(ranks["setting"]))
    about: dict[str, Any] = {name: _of(ranks, settings[0], MODEL_STAGES[0])[name].tolist() for name in ASKED}
    about["candidates"] = {setting: _of(ranks, setting, MODEL_STAGES[0])["candidates"].tolist() for setting in settings}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in about.items())
    text = f"{{\n{lines}\n}}\n"
    name = f"queries-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
    if not (file := RESULTS / study / name).exists():
        write_text(file, text)
    return name


def _sum(times: dict[str, float]) -> float:
    return round(sum(times.values()), 1)


def _of(ranks: pd.DataFrame, setting: str, step: str) -> pd.DataFrame:
    return ranks[(ranks["setting"] == setting) & (ranks["stage"] == step)]


def machine() -> dict:
    """What the run was made on."""
    cpus = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    threads = os.environ.get("OMP_NUM_THREADS")
    return {
        "processor": cpus[0] if cpus else "unknown",
        "cores": os.cpu_count(),
        "threads": int(threads) if threads else None,
        "torch": version("torch"),
    }


def _cpuinfo() -> Sequence[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else ()


def read_run(file: Path, run: StudyRun) -> SeedRun:
    """Read a finished run as reports take it."""
    row = read_json(file)
    epochs = [dict(zip(row["history"], values, strict=True)) for values in zip(*row["history"].values(), strict=True)]
    about = read_json(file.parent.parent / row["queries"])
    asked = {name: about[name] for name in ASKED}
    ranks = [
        pd.DataFrame(asked | {"setting": setting, "stage": step, "candidates": about["candidates"][setting], "rank": of})
        for setting, steps in row["ranks"].items()
        for step, of in steps.items()
    ]
    return SeedRun(
        file.stem,
        Schedule.of(run.params),
        row["seed"],
        row["settings"],
        row["train"],
        row["seconds"]["whole"] or row["seconds"]["train"] + row["seconds"]["rerank"],
        epochs,
        pd.concat(ranks),
    )
