"""The fixture corpus through `dvc repro`: what stands in the files, against an oracle that shares no code with the stages.

The oracle reads the corpus files and the saved model (through sentence-transformers) itself, ranks by sorting, and does
the pair head's arithmetic in NumPy.
"""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from sklearn.metrics import ndcg_score

from conftest import copy_repository, fixture_params, restore, succeed

pytestmark = pytest.mark.dvc

SPLITS = ("training", "validation", "test")


def corpus(repository: Path, split: str) -> list[tuple[str, str, str]]:
    """(id, point, counter) of a split's usable pairs, in the order of the files' names."""
    pairs = []
    for point in sorted((repository / "data/fixture/02-extracted-arguments" / split).rglob("[!.]*a-point.txt")):
        counter = point.with_name(point.name.replace("a-point", "b-counter"))
        theme, debate, _stance = point.parts[-4:-1]
        if counter.exists():
            name = f"{split}/{theme}/{debate}/{point.name.removesuffix('a-point.txt')}"
            pairs.append((name, point.read_text().strip(), counter.read_text().strip()))
    return pairs


def same(a: str, b: str) -> bool:
    return a.lower().split() == b.lower().split()


class Oracle:
    """Ranks of every query of a split, retrieved and re-ranked."""

    def __init__(self, repository: Path, split: str, depth: int = 3):
        self.pairs, self.depth = corpus(repository, split), depth
        self.points, self.counters = [pair[1] for pair in self.pairs], [pair[2] for pair in self.pairs]
        self.model = SentenceTransformer(str(repository / "models/point"), device="cpu")
        self.weights = load_file(repository / "models/pair_head.safetensors")
        known = [text for _, *texts in corpus(repository, "training") for text in texts]
        self.seen = {name for name, *texts in self.pairs if any(same(text, other) for text in texts for other in known)}

    def vectors(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """(embedding, pooled) of one text alone."""
        features = self.model.preprocess([text])
        pooled = self.model[1](self.model[0](features))["sentence_embedding"]
        return self.model.encode(text).astype(float), pooled.detach().numpy()[0].astype(float)

    def probability(self, point, counter) -> float:
        features = np.concatenate([np.concatenate([a, b, np.abs(a - b)]) for a, b in zip(point, counter, strict=True)])
        features = (features - features.mean()) / np.sqrt(features.var() + 1e-5)
        features = np.maximum(features * self.weights["norm.0.weight"] + self.weights["norm.0.bias"], 0)
        wrong, right = self.weights["linear.weight"] @ features + self.weights["linear.bias"]
        return 1 / (1 + np.exp(wrong - right))

    def ranks(self, setting: str) -> dict[str, list[int]]:
        as_points, as_counters = ([self.vectors(text) for text in texts] for texts in (self.points, self.counters))
        ranks = {"retrieved": [], "reranked": [], "candidates": []}
        for i, query in enumerate(as_points):
            pool = [(f"c{j}", v) for j, v in enumerate(as_counters) if j == i or not same(self.counters[j], self.counters[i])]
            if setting == "epa":
                pool = [(f"p{j}", v) for j, v in enumerate(as_points) if j != i] + pool
            pool.sort(key=lambda item: round(float(np.linalg.norm(item[1][0] - query[0])), 6))
            ranks["candidates"].append(len(pool))
            ranks["retrieved"].append(1 + [name for name, _ in pool].index(f"c{i}"))
            pool[: self.depth] = sorted(pool[: self.depth], key=lambda item: -self.probability(query, item[1]))
            ranks["reranked"].append(1 + [name for name, _ in pool].index(f"c{i}"))
        return ranks


def read(repository: Path, name: str):
    return json.loads((repository / name).read_text())


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("setting", ["epc", "epa"])
def test_the_metrics_are_the_oracle_s(repository, split, setting):
    oracle = Oracle(repository, split)
    ranks = oracle.ranks(setting)
    rows = [
        row
        for row in read(repository, "metrics/settings.json")["settings"]
        if (row["split"], row["setting"]) == (split, setting)
    ]
    assert {(row["queries"], row["stage"]) for row in rows} == {
        (q, s) for q in ("all", "unseen") for s in ("retrieved", "reranked")
    }
    for row in rows:
        keep = [row["queries"] == "all" or pair[0] not in oracle.seen for pair in oracle.pairs]
        r = np.array(ranks[row["stage"]])[keep]
        candidates = np.array(ranks["candidates"])[keep]
        expected = {"n": len(r), "pairs": candidates.sum(), "candidates_mean": candidates.mean(), "mrr": (1 / r).mean()}
        expected |= {f"top{k}": (r <= k).mean() for k in (1, 3, 5, 10)}
        width = candidates.max() + 1
        expected["ndcg10"] = ndcg_score(np.eye(width)[r - 1], np.tile(-np.arange(width), (len(r), 1)), k=10)
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-5)


def test_the_headline_repeats_the_settings(repository):
    headline = read(repository, "metrics/test.json")
    assert list(headline) == ["epa", "epc"]
    numbers = [number for stages in headline.values() for measures in stages.values() for number in measures.values()]
    assert len(numbers) <= 20
    for row in read(repository, "metrics/settings.json")["settings"]:
        if (row["split"], row["queries"]) == ("test", "all"):
            measures = headline[row["setting"]][row["stage"]]
            assert measures == {name: row[name] for name in ("top1", "top5", "top10", "mrr")}


def test_the_ranks_have_a_row_per_setting_and_query(repository):
    with (repository / "data/ranks/test.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    oracle = Oracle(repository, "test")
    for setting in ("epc", "epa"):
        ranks = oracle.ranks(setting)
        own = [row for row in rows if row["setting"] == setting]
        assert [row["id"] for row in own] == [pair[0] for pair in oracle.pairs]
        for column in ("retrieved", "reranked", "candidates"):
            assert [int(row[column]) for row in own] == ranks[column]
        assert {row["id"] for row in own if row["seen"] != "none"} == oracle.seen


def test_the_history_has_its_keys_and_its_chosen_epoch_is_what_evaluate_sees(repository):
    history, train = read(repository, "plots/series/history.json")["epochs"], read(repository, "metrics/train.json")
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert [row["random_rate"] for row in history] == [1.0, 0.6, 0.2]
    best = history[train["best_epoch"]]
    assert best["selection_score"] == max(row["selection_score"] for row in history) == train["selection_score"]
    for row in read(repository, "metrics/settings.json")["settings"]:
        if (row["setting"], row["queries"], row["stage"]) == ("epa", "all", "retrieved"):
            assert row["top1"] == best[f"{row['split']}_top1"]
    steps = read(repository, "plots/series/steps.json")["steps"]
    assert [row["step"] for row in steps] == [2, 3, 5, 6, 8, 9]


def test_epoch_0_at_rate_1_trains_on_the_triples_of_prepare(repository):
    lines = (repository / "data/triples/training.jsonl").read_text().splitlines()
    draws = np.load(repository / "models/negatives.npz")
    assert {name: (draws[name].dtype.name, draws[name].shape) for name in draws} == {
        "source": ("int8", (3, 24, 1)), "index": ("int32", (3, 24, 1)), "was_random": ("bool", (3, 24, 1)),
        "distance": ("float32", (3, 24, 1)),
    }  # fmt: skip
    assert [json.loads(line)["negatives"] for line in lines] == np.stack(
        [draws["source"][0], draws["index"][0]], axis=-1
    ).tolist()
    assert draws["was_random"][0].all()
    assert 0 < draws["was_random"][1:].mean() < 1


def test_no_negative_is_right(repository):
    pairs = corpus(repository, "training")
    draws = np.load(repository / "models/negatives.npz")
    for sources, indices in zip(draws["source"], draws["index"], strict=True):
        for i, (_, point, counter) in enumerate(pairs):
            negative = pairs[indices[i, 0]][1 + sources[i, 0]]
            right = [point, counter] + [other[2] for other in pairs if same(other[1], point)]
            assert not any(same(negative, text) for text in right)


def test_the_triples_say_what_stands_in_training(repository):
    rows = {
        split: [json.loads(line) for line in (repository / f"data/triples/{split}.jsonl").read_text().splitlines()]
        for split in SPLITS
    }
    assert {split: len(members) for split, members in rows.items()} == {"training": 24, "validation": 8, "test": 8}
    assert [row["id"] for row in rows["test"] if row["seen"] == "pair"] == ["test/animals/birds/pro01"]
    assert {row["seen"] for row in rows["validation"]} == {"none"}
    unpaired = [json.loads(line) for line in (repository / "data/triples/unpaired.jsonl").read_text().splitlines()]
    assert [(row["id"], row["split"]) for row in unpaired] == [("training/food/bread/con03", "training")]
    counts = read(repository, "metrics/prepare.json")
    assert (counts["test"]["pairs_also_in_training"], counts["training"]["counterless_points"]) == (1, 1)


def test_time_stands_in_timing_alone(repository):
    timing = read(repository, "metrics/timing.json")
    assert set(timing) == {f"{phase}_seconds" for phase in ("embed", "draw", "train", "score", "checkpoint")}
    for file in ("metrics/train.json", "metrics/test.json", "metrics/settings.json", "models/model.json"):
        assert "second" not in (repository / file).read_text()
    assert not (repository / ".checkpoints").exists() or not list((repository / ".checkpoints").iterdir())


def test_a_second_clone_gives_the_same_bytes(repository, tiny_bert, tmp_path):
    copy_repository(tmp_path / "again", fixture_params(tiny_bert))
    succeed(tmp_path / "again", "dvc", "repro")
    folders = ("metrics", "plots", "models", "data/triples", "data/ranks")
    files = {path.relative_to(repository) for name in folders for path in (repository / name).rglob("*") if path.is_file()}
    assert len(files) > 20
    for file in files - {Path("metrics/timing.json")}:
        assert (repository / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_a_zip_and_zero_epochs_and_retrieval_alone_run_too(repository, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "arguana"), "zip", repository / "data/fixture")
    zero_shot = ["train.epochs=0", "model.projection=none", "model.pooling=mean", "model.normalize=true"]
    changes = [word for change in (f"corpus={archive}", *zero_shot) for word in ("-S", change)]
    succeed(repository, "dvc", "exp", "run", "--name", "zero-shot", *changes)
    (row,) = read(repository, "plots/series/history.json")["epochs"]
    assert row["loss"] is None
    assert read(repository, "models/model.json")["head"] == "none: reranked repeats retrieved"
    settings = read(repository, "metrics/settings.json")["settings"]
    for retrieved, reranked in zip(settings[::2], settings[1::2], strict=True):
        assert retrieved | {"stage": "reranked"} == reranked
    assert read(repository, "metrics/prepare.json")["training"]["pairs"] == 24
    restore(repository)
