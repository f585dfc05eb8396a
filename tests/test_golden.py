"""Numbers that stand as long as RESULTS_VERSION does: every draw and rank, and each loss and score to 1e-4.

`make golden` writes tests/golden.json anew. It takes the first seed whose draws and ranks stay the same where all of
the encoder's weights are off by a part in 1,000, and so do not depend on rounding.
"""

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from conftest import merged, stages_in
from counterpoint.core.files import read_json, read_series
from counterpoint.evaluation.table import DENSE, read_table
from counterpoint.experiments.versions import BASELINES_VERSION, RESULTS_VERSION, added

FILE = Path(__file__).with_name("golden.json")
OFF, NOISES, SEEDS = 1e-3, 3, range(1, 100)
SETTINGS = ("epa", "sdoc")
PARAMS = """
seed: 13
corpus: data/fixture
random_rate: 1.0
decay: 0.4
floor: 0.1
schedule: linear
prepare:
  seed: 13
  split: {training: 0.6, validation: 0.2, test: 0.2}
  columns: {point: point, counter: counter}
negatives: {search: exact, per_point: 1, window: [1, 1], margin: none}
model:
  {encoder: none, pooling: mean, projection: 8, normalize: true, fusion: concat, sharing: shared, freeze: none, dropout: 0.0,
   attention_dropout: 0.0, max_length: 32, prompts: {point: none, counter: none}}
loss:
  triplet: {weight: 0.0, margin: 0.5}
  contrastive: {weight: 0.0, temperature: 0.1}
  pair: {weight: 0.0}
train:
  {epochs: 3, patience: none, batch_size: 8, batching: length, gradient_cache: false, learning_rate: 0.001,
   head_learning_rate: none, warmup: 0.1, weight_decay: 0.01, precision: fp32, device: cpu}
select: {setting: epa, queries: all}
rerank:
  {kind: none, depth: 8, negatives: 2, decay: 2.0, freeze: 1, epochs: 2, batch_size: 8, learning_rate: 0.01,
   head_learning_rate: none}
evaluate: {rerank_depth: none, answers: text, beir: false}
fetch: {url: none, sha256: none}
"""
WORLDS = {
    "triplets and pair head": {
        "loss": {"triplet": {"weight": 1.0}, "pair": {"weight": 1.0}},
        "model": {"normalize": False},
        "train": {"batching": "shuffled"},
        "rerank": {"kind": "head"},
    },
    "contrastive": {
        "loss": {"contrastive": {"weight": 1.0}},
        "model": {"sharing": "projection"},
        "negatives": {"per_point": 2, "window": [1, 3], "margin": 0.02},
    },
    "all frozen": {
        "loss": {"contrastive": {"weight": 1.0}, "triplet": {"weight": 0.5}},
        "model": {"freeze": "all", "sharing": "projection", "max_length": 3},  # one word: different texts tie
        "schedule": "cosine",
        "train": {"learning_rate": 0.01},
    },
    "cross-encoder": {
        "loss": {"contrastive": {"weight": 1.0}},
        "model": {"freeze": 1},
        "schedule": "exponential",
        "rerank": {"kind": "joint"},
    },
}


def params_of(world: str, seed: int, encoder: Path) -> dict:
    values = yaml.safe_load(PARAMS)
    for name, value in added().items():
        *path, key = name.split(".")
        section = values
        for part in path:
            section = section.setdefault(part, {})
        section.setdefault(key, value)
    return merged(values, WORLDS[world]) | {"seed": seed} | {
        "model": merged(values["model"], WORLDS[world].get("model", {})) | {"encoder": str(encoder)}
    }  # fmt: skip


def exact(folder: Path) -> dict:
    """Every draw, and the rank of the best right answer by table, relevance mode, setting and stage; words do not count."""
    with np.load(folder / "models/negatives.npz") as drawn:
        draws = [[name, drawn[name].astype(int).tolist()] for name in ("source", "index", "was_random")]
    by_key = ranks(folder / "data/ranks")
    dense = {name: by_key.pop(name) for name in list(by_key) if name.endswith(DENSE)}
    assert dense == {name: by_key[name.replace(DENSE, "retrieved")] for name in dense}
    return {"draws": draws, "ranks": by_key}


def ranks(tables: Path) -> dict[str, list[int]]:
    by_key: dict[str, list[int]] = {}
    for file in sorted(tables.glob("*.csv")):
        for row in read_table(file).itertuples():
            if row.setting in SETTINGS:
                by_key.setdefault(f"{file.stem} {row.answers} {row.setting} {row.stage}", []).append(int(row.rank))
    return by_key


def close(folder: Path) -> Iterator[tuple[str, float]]:
    """Losses, top1 and scores by name."""
    for row in read_series(folder / "plots/series/history.json"):
        for name, value in row.items():
            if name.endswith(("loss", "top1", "score", "rate")) and value is not None:
                yield f"epoch {row['epoch']} {name}", value
    for file in ("steps", "reranker"):
        for row in read_series(folder / f"plots/series/{file}.json"):
            if row["loss"] is not None:
                yield f"{file} {row['step']}", row["loss"]
    for name in ("retrieved_top1", "reranked_top1"):
        if (value := read_json(folder / "metrics/reranker.json")[name]) is not None:
            yield name, value
    for row in read_series(folder / "metrics/settings.json"):
        if row["stage"] in ("retrieved", "reranked") and row["queries"] == "all":
            yield f"{row['split']} {row['setting']} {row['stage']} mrr", row["mrr"]


def run(world: str, seed: int, encoder: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    stages = stages_in(folder, encoder, monkeypatch, params_of(world, seed, encoder))
    stages("prepare", "train", "lexical", "rerank", "baselines", "rank", "evaluate")
    numbers = {name: round(value, 6) for name, value in close(folder)}
    return {"seed": seed, "exact": exact(folder), "close": numbers, "baselines": ranks(folder / "data/baselines")}


@pytest.fixture
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.skipif("WRITE_GOLDEN" in os.environ, reason="golden.json is being written")
@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)], indirect=True)
@pytest.mark.parametrize(
    "world", [pytest.param(name, marks=pytest.mark.slow) if name == "cross-encoder" else name for name in WORLDS]
)
def test_numbers_stand_while_the_version_does(world, threads, tiny_bert, tmp_path, monkeypatch):
    golden = json.loads(FILE.read_text())
    now = run(world, golden["worlds"][world]["seed"], tiny_bert, tmp_path, monkeypatch)
    says = "{} moved while {} is {}: raise it in experiments/versions.py and run `make golden`, or mend the code"
    assert golden["results_version"] == RESULTS_VERSION, "run `make golden`: RESULTS_VERSION was raised"
    assert golden["baselines_version"] == BASELINES_VERSION, "run `make golden`: BASELINES_VERSION was raised"
    before = golden["worlds"][world]
    for kind in ("draws", "ranks"):
        assert now["exact"][kind] == before["exact"][kind], says.format(kind, "RESULTS_VERSION", RESULTS_VERSION)
    assert now["close"].keys() == before["close"].keys()
    moved = {
        name: (value, now["close"][name]) for name, value in before["close"].items() if abs(now["close"][name] - value) > 1e-4
    }
    assert not moved, says.format(f"{len(moved)} numbers", "RESULTS_VERSION", RESULTS_VERSION)
    assert now["baselines"] == before["baselines"], says.format("baselines", "BASELINES_VERSION", BASELINES_VERSION)


@pytest.mark.skipif("WRITE_GOLDEN" not in os.environ, reason="make golden")
def test_golden_is_written_of_worlds_without_close_calls(tiny_bert, tmp_path, monkeypatch):
    encoders = [off(tiny_bert, tmp_path / f"encoder {noise}", noise) for noise in range(NOISES)]
    worlds = {}
    for world in WORLDS:
        for seed in SEEDS:
            folders = (fresh(tmp_path / f"{world} {seed} {i}") for i in itertools.count())
            worlds[world] = run(world, seed, tiny_bert, next(folders), monkeypatch)
            runs = (run(world, seed, encoder, next(folders), monkeypatch)["exact"] for encoder in encoders)
            if all(numbers == worlds[world]["exact"] for numbers in runs):
                break
        else:
            pytest.fail(f"{world}: draws or ranks depend on rounding with every seed")
    golden = {"results_version": RESULTS_VERSION, "baselines_version": BASELINES_VERSION, "worlds": worlds}
    FILE.write_text(json.dumps(golden, indent=0).replace(",\n", ", ").replace("[\n", "[").replace("\n]", "]") + "\n")


def fresh(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def off(encoder: Path, target: Path, seed: int) -> Path:
    """A copy of an encoder whose weights are off by a part in 1,000."""
    fresh(target)
    for file in encoder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    weights = load_file(target / "model.safetensors")
    noise = torch.Generator().manual_seed(seed)
    for name, value in weights.items():
        weights[name] = value * (1 + OFF * torch.randn(value.shape, generator=noise))
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target
