"""The fixture corpus through `dvc repro`: what stands in the files, against an oracle that shares no code with the stages.

The oracle reads the corpus files, the saved model (through sentence-transformers) and the untrained one (transformers)
itself, ranks by sorting, does BM25's arithmetic and the correction's by formula, and runs the cross-encoder layer by layer.
"""

import csv
import json
import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from bm25s.stopwords import STOPWORDS_EN_PLUS
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from sklearn.metrics import average_precision_score, ndcg_score
from transformers import AutoModel, AutoTokenizer

from conftest import bm25_score, command, independent_pairs, restore, succeed

pytestmark = pytest.mark.dvc

SPLITS = ("training", "validation", "test")


QUERIES = ("all", "unseen", "unseen_by_both")
SETTINGS = ("sdoc", "sdc", "sdoa", "sda", "stc", "sta", "epc", "epa")
STAGES = ("bm25", "bm25_classic", "zero_shot", "zero_shot_corrected", "retrieved_dense", "retrieved", "reranked")


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


def key(text: str) -> str:
    return " ".join(text.lower().split())


def same(a: str, b: str) -> bool:
    return key(a) == key(b)


class CrossEncoder:
    """The cross-encoder by hand: BERT's first layer over either text, its second over both, the means' weighted sum."""

    def __init__(self, folder: Path):
        self.bert, self.tokenizer = (
            AutoModel.from_pretrained(folder / "encoder"),
            AutoTokenizer.from_pretrained(folder / "encoder"),
        )
        trained = load_file(folder / "trained.safetensors")
        self.segment, self.linear = (torch.tensor(trained.pop(name)) for name in ("segment", "linear.weight"))
        own = {name.removeprefix("encoder.transformer."): torch.tensor(value) for name, value in trained.items()}
        assert all(name.startswith("encoder.layer.1.") for name in own)
        assert not self.bert.load_state_dict(own, strict=False).unexpected_keys
        self.known: dict[tuple[str, str], float] = {}

    @torch.no_grad()
    def __call__(self, point: str, answer: str) -> float:
        if (point, answer) not in self.known:
            sides = [self.lower(text) + own for text, own in zip((point, answer), self.segment, strict=True)]
            out = self.bert.encoder.layer[1](torch.cat(sides, dim=1))
            out = out[0] if isinstance(out, tuple) else out
            first = sides[0].shape[1]
            means = torch.cat([out[0, :first].mean(0), out[0, first:].mean(0)])
            self.known[point, answer] = float(self.linear[0] @ means)
        return self.known[point, answer]

    def lower(self, text: str) -> torch.Tensor:
        ids = self.tokenizer([text], truncation=True, max_length=32, return_tensors="pt")["input_ids"]
        out = self.bert.encoder.layer[0](self.bert.embeddings(input_ids=ids))
        return out[0] if isinstance(out, tuple) else out


class Oracle:
    """Ranks of every query of a split by every stage."""

    def __init__(self, repository: Path, split: str, encoder: Path, depth: int = 8):
        self.pairs, self.depth = corpus(repository, split), depth
        self.points, self.counters = [pair[1] for pair in self.pairs], [pair[2] for pair in self.pairs]
        self.model = SentenceTransformer(str(repository / "models/point"), device="cpu")
        self.untrained = AutoModel.from_pretrained(encoder), AutoTokenizer.from_pretrained(encoder)
        self.cross_encoder = CrossEncoder(repository / "reranker/cross_encoder")
        self.weight = read(repository, "reranker/reranker.json")["weight"]
        self.bm25 = read(repository, "metrics/baselines.json")["bm25"]
        self.words = read(repository, "lexical/lexical.json")
        self.training = list(dict.fromkeys(text for _, *texts in corpus(repository, "training") for text in texts))
        self.constant = read(repository, "data/baselines/zero_shot.json")["constant"]
        self.bank = [self.vectors(point)[2] for point in {point for _, point, _ in corpus(repository, "training")}]
        known = [text for _, *texts in corpus(repository, "training") for text in texts]
        self.seen = {name for name, *texts in self.pairs if any(same(text, other) for text in texts for other in known)}
        self.texts = {key(text): text for text in reversed(self.points + self.counters)}  # as it stands first
        self.texts = dict(sorted(self.texts.items(), key=lambda item: (self.points + self.counters).index(item[1])))
        self.vector_of = {text: self.vectors(text) for text in self.points + self.counters}

    def vectors(self, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(embedding, pooled, zero-shot) of one text alone."""
        features = self.model.preprocess([text])
        pooled = self.model[1](self.model[0](features))["sentence_embedding"]
        model, tokenizer = self.untrained
        states = model(**tokenizer([text], truncation=True, max_length=32, return_tensors="pt")).last_hidden_state
        mean = states[0].mean(0).detach().numpy().astype(float)
        return self.model.encode(text).astype(float), pooled.detach().numpy()[0].astype(float), mean / np.linalg.norm(mean)

    def lowered(self, query: str) -> dict[str, float]:
        """By how much words lower the distance of each text from a query."""
        constants = self.words["constants"]
        left_out = STOPWORDS_EN_PLUS if constants["stop_words"] else ()
        known, asked = (
            [[w for w in t.lower().split() if w not in left_out] for t in texts] for texts in (self.training, [query])
        )
        scores = {}
        for text in self.points + self.counters:
            kept = [word for word in text.lower().split() if word not in left_out]
            scores[text] = bm25_score(asked[0], kept, known, constants["k1"], constants["b"], constants["counts"])
        highest = max(score for text, score in scores.items() if not same(text, query))
        return {text: 2 * self.words["weight"] * score / (highest or 1) for text, score in scores.items()}

    def hub(self, text: str) -> float:
        """How near a text is to all training points, as inverted softmax has it."""
        return np.log(sum(np.exp(self.constant * self.vector_of[text][2] @ point) for point in self.bank)) / self.constant

    def folder(self, j: int) -> tuple[str, str, str]:
        theme, debate, number = self.pairs[j][0].split("/")[1:]
        return theme, debate, number[:3]

    def within(self, j: int, i: int, setting: str, own_side: bool) -> bool:
        """Whether the j-th pair is in the scope of the i-th, and on its side or not."""
        (theme, debate, side), (query_theme, query_debate, query_side) = self.folder(j), self.folder(i)
        scope = {"d": (theme, debate) == (query_theme, query_debate), "t": theme == query_theme, "p": True}[setting[1]]
        return scope and (setting[2] != "o" or (side == query_side) == own_side)

    def places(self, i: int, setting: str) -> list[tuple[str, str]]:
        """(name, text) of the arguments in the i-th query's scope, points first."""
        everyone = range(len(self.pairs))
        points = [j for j in everyone if setting[-1] == "a" and self.within(j, i, setting, own_side=False)]
        counters = [j for j in everyone if self.within(j, i, setting, own_side=True)]
        return [(f"p{j}", self.points[j]) for j in points] + [(f"c{j}", self.counters[j]) for j in counters]

    def by_row(self, setting: str) -> Iterator[tuple[list[int], list[tuple[str, str]], set[str]]]:
        """Of each query: its pairs, its candidates by name, and the right ones' names."""
        for i in range(len(self.pairs)):
            gone = {f"p{i}"} | {f"c{j}" for j, text in enumerate(self.counters) if j != i and same(text, self.counters[i])}
            yield [i], [(name, text) for name, text in self.places(i, setting) if name not in gone], {f"c{i}"}

    def by_text(self, setting: str) -> Iterator[tuple[list[int], list[tuple[str, str]], set[str]]]:
        """The same; a text's name is the text, and what stands for it is where it stands first."""
        for query in dict.fromkeys(key(point) for point in self.points):
            asked = [i for i, point in enumerate(self.points) if key(point) == query]
            there = {key(text) for i in asked for _, text in self.places(i, setting)} - {query}
            yield (
                asked,
                [(name, text) for name, text in self.texts.items() if name in there],
                {key(self.counters[i]) for i in asked},
            )

    def ranks(self, setting: str, answers: str) -> dict[str, list]:
        everything = [*self.points, *self.counters] if answers == "row" else self.texts.values()
        documents = [text.lower().split() for text in everything]
        left_out = STOPWORDS_EN_PLUS if self.bm25["stop_words"] else ()
        constants = (self.bm25["k1"], self.bm25["b"], self.bm25["counts"])
        telling = [[word for word in document if word not in left_out] for document in documents]

        def tuned(query: str, text: str) -> float:
            kept = [[word for word in words.lower().split() if word not in left_out] for words in (query, text)]
            return -bm25_score(*kept, telling, *constants)

        ranks: dict[str, list] = {name: [] for name in (*STAGES, "candidates", "ids", "seen")}
        for asked, pool, right in {"row": self.by_row, "text": self.by_text}[answers](setting):
            query = self.points[asked[0]]
            own, lowered = self.vector_of[query], self.lowered(query)
            far = {
                "bm25": lambda text, query=query: tuned(query, text),
                "bm25_classic": lambda text, query=query: -bm25_score(query.lower().split(), text.lower().split(), documents),
                "zero_shot": lambda text, own=own: np.linalg.norm(self.vector_of[text][2] - own[2]),
                "zero_shot_corrected": lambda text, own=own: self.hub(text) - self.vector_of[text][2] @ own[2],
                "retrieved_dense": lambda text, own=own: np.linalg.norm(self.vector_of[text][0] - own[0]),
                "retrieved": lambda text, own=own, less=lowered: (
                    np.linalg.norm(self.vector_of[text][0] - own[0]) ** 2 - less[text]
                ),
            }
            ranks["ids"].append(self.pairs[asked[0]][0])
            ranks["seen"].append(any(self.pairs[i][0] in self.seen for i in asked))
            ranks["candidates"].append(len(pool))
            for stage, distance in far.items():
                order = sorted(pool, key=lambda item: round(float(distance(item[1])), 6))
                ranks[stage].append([i for i, (name, _) in enumerate(order, start=1) if name in right])
            score = {
                text: far["retrieved"](text) - self.weight * self.cross_encoder(query, text) for _, text in order[: self.depth]
            }
            order[: self.depth] = sorted(order[: self.depth], key=lambda item: round(float(score[item[1]]), 5))
            ranks["reranked"].append([i for i, (name, _) in enumerate(order, start=1) if name in right])
        return ranks


@pytest.fixture(scope="module")
def oracles(repository, tiny_bert):
    return {split: Oracle(repository, split, tiny_bert) for split in ("validation", "test")}


def read(repository: Path, name: str):
    return json.loads((repository / name).read_text())


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_metrics_are_the_oracle_s(repository, oracles, split, setting):
    ranks = oracles[split].ranks(setting, "text")
    rows = [
        row
        for row in read(repository, "metrics/settings.json")["settings"]
        if (row["split"], row["setting"]) == (split, setting)
    ]
    assert [(row["queries"], row["stage"]) for row in rows] == [(q, s) for q in QUERIES for s in ("chance", *STAGES)]
    for row in rows:
        keep = [i for i, seen in enumerate(ranks["seen"]) if row["queries"] == "all" or not seen]
        candidates = np.array(ranks["candidates"])[keep]
        expected = {"n": len(keep), "pairs": candidates.sum(), "candidates_mean": candidates.mean()}
        if row["stage"] != "chance":
            expected |= measures([ranks[row["stage"]][i] for i in keep], candidates.max())
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-5)
        assert row["top1_low"] <= row["top1"] <= row["top1_high"]
        assert row["top1"] <= row["top1_ties_hit"]


def measures(lists: list[list[int]], width: int) -> dict[str, float]:
    """Means over queries, of their right answers' ranks, by scikit-learn where it knows them."""
    relevant = np.array([[rank in right for rank in range(1, width + 1)] for right in lists], dtype=float)
    scores = np.tile(-np.arange(width), (len(lists), 1))
    best = np.array([right[0] for right in lists])
    found = {f"top{k}": (best <= k).mean() for k in (1, 3, 5, 10)} | {"mrr": (1 / best).mean()}
    found["ndcg10"] = ndcg_score(relevant, scores, k=10)
    found["map"] = np.mean([average_precision_score(row, score) for row, score in zip(relevant, scores, strict=True)])
    found["recall10"] = np.mean([np.mean(np.array(right) <= 10) for right in lists])
    return found


def test_the_pair_counts_of_the_settings_are_brute_force_s(repository, oracles):
    counts = {row["split"]: row["setting_pairs"] for row in read(repository, "metrics/prepare.json")["splits"]}
    assert list(counts) == list(SPLITS)
    for split, oracle in oracles.items():
        brute = {name: sum(len(pool) for _, pool, _ in oracle.by_row(name)) for name in SETTINGS}
        assert counts[split] == brute


def test_the_headline_repeats_the_settings(repository):
    headline = read(repository, "metrics/test.json")
    assert list(headline) == ["epa", "epc", "unseen_by_both"]
    both = headline.pop("unseen_by_both")
    numbers = [number for stages in headline.values() for measures in stages.values() for number in measures.values()]
    assert len(numbers) + len(both) <= 20
    for row in read(repository, "metrics/settings.json")["settings"]:
        if (row["split"], row["queries"]) == ("test", "all") and row["setting"] in headline and row["stage"] in STAGES[-2:]:
            measures = headline[row["setting"]][row["stage"]]
            assert measures == {name: row[name] for name in ("top1", "top5", "top10", "mrr")}
        if (row["split"], row["setting"], row["queries"]) == ("test", "epa", "unseen_by_both") and row["stage"] in STAGES[-2:]:
            assert (both["n"], both[f"{row['stage']}_top1"]) == (row["n"], row["top1"])


@pytest.mark.parametrize("answers", ["text", "row"])
def test_the_ranks_have_a_row_per_relevance_setting_stage_and_query(repository, oracles, answers):
    for split, oracle in oracles.items():
        rows = []
        for file in ("data/baselines", "data/ranks"):
            with (repository / file / f"{split}.csv").open() as stream:
                rows += [row for row in csv.DictReader(stream) if row["answers"] == answers]
        n = {"text": len({key(point) for point in oracle.points}), "row": len(oracle.pairs)}[answers]
        assert len(rows) == len(SETTINGS) * len(STAGES) * n
        for setting in SETTINGS:
            ranks = oracle.ranks(setting, answers)
            for stage in STAGES:
                own = [row for row in rows if (row["setting"], row["stage"]) == (setting, stage)]
                assert [row["id"] for row in own] == ranks["ids"]
                assert [[int(rank) for rank in row["right"].split()] for row in own] == ranks[stage]
                assert all(row["rank"] == row["right"].split()[0] for row in own)
                assert [int(row["candidates"]) for row in own] == ranks["candidates"]
                assert [row["seen"] != "none" for row in own] == ranks["seen"]
                assert all((row["rank"] == "1") == (row["best_is"] == "true counter") for row in own)


def test_another_relevance_embeds_and_trains_nothing(repository):
    printed = succeed(repository, "dvc", "exp", "run", "-S", "evaluate.answers=row")
    assert [line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage")] == [
        "evaluate",
        "plot",
        "publish",
    ]
    pairs = len((repository / "data/triples/test.jsonl").read_text().splitlines())
    assert {row["n"] for row in read(repository, "metrics/settings.json")["settings"] if row["queries"] == "all"} == {pairs}
    restore(repository)


def test_reranking_never_loses_where_its_weight_was_chosen(repository):
    about = read(repository, "metrics/reranker.json")
    assert about["reranked_top1"] >= about["retrieved_top1"]
    rows = read(repository, "metrics/settings.json")["settings"]
    own = {
        row["stage"]: row["top1"]
        for row in rows
        if (row["split"], row["setting"], row["queries"]) == ("validation", "epa", "all")
    }
    assert {name: about[f"{name}_top1"] for name in ("retrieved", "reranked")} == pytest.approx(
        {name: own[name] for name in ("retrieved", "reranked")}
    )


def test_another_reranker_trains_no_retriever(repository):
    printed = succeed(repository, "dvc", "exp", "run", "-S", "rerank.epochs=1")
    ran = [line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage")]
    assert ran == ["rerank", "rank", "evaluate", "plot", "publish"]
    restore(repository)


def test_what_reranking_changes_is_counted(repository):
    with (repository / "data/ranks/test.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["answers"] == "text"]
    by = {(row["setting"], row["stage"], row["id"]): row for row in rows}
    expected: Counter = Counter()
    for (setting, stage, name), row in by.items():
        if stage == "retrieved":
            other = by[setting, "reranked", name]
            if (row["rank"] == "1") != (other["rank"] == "1"):
                verdict, who = ("lost", other) if row["rank"] == "1" else ("won", row)
                expected[setting, verdict, who["best_is"]] += 1
    changes = read(repository, "plots/series/reranking.json")["reranking"]
    assert {(row["setting"], row["verdict"], row["best"]): row["queries"] for row in changes} == expected
    assert expected  # or nothing was tested


def test_what_wins_is_counted(repository):
    with (repository / "data/ranks/test.csv").open() as stream:
        rows = [
            row
            for row in csv.DictReader(stream)
            if (row["answers"], row["setting"], row["stage"]) == ("text", "epa", "reranked")
        ]
    shares = {row["best"]: row["reranked"] for row in read(repository, "plots/series/winners.json")["winners"]}
    assert {name: share for name, share in shares.items() if share} == pytest.approx(
        {name: n / len(rows) for name, n in Counter(row["best_is"] for row in rows).items()}
    )


def test_the_history_has_its_keys_and_its_chosen_epoch_is_what_evaluate_sees(repository):
    history, train = read(repository, "plots/series/history.json")["epochs"], read(repository, "metrics/train.json")
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert [row["random_rate"] for row in history] == [1.0, 0.6, 0.2]
    best = history[train["best_epoch"]]
    assert best["selection_score"] == max(row["selection_score"] for row in history) == train["selection_score"]
    for row in read(repository, "metrics/settings.json")["settings"]:
        if (row["setting"], row["queries"], row["stage"]) == ("epa", "all", "retrieved_dense"):
            assert row["top1"] == best[f"{row['split']}_top1"]
    steps = read(repository, "plots/series/steps.json")["steps"]
    assert [row["step"] for row in steps] == list(range(1, 10))


def test_epoch_0_at_rate_1_trains_on_the_triples_of_prepare(repository):
    lines = (repository / "data/triples/training.jsonl").read_text().splitlines()
    draws = np.load(repository / "models/negatives.npz")
    assert {name: (draws[name].dtype.name, draws[name].shape) for name in draws} == {
        "source": ("int8", (3, 24, 1)), "index": ("int32", (3, 24, 1)),
        **dict.fromkeys(("was_random", "was_filtered"), ("bool", (3, 24, 1))),
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
    counts = {row["split"]: row for row in read(repository, "metrics/prepare.json")["splits"]}
    assert (counts["test"]["pairs_also_in_training"], counts["training"]["counterless_points"]) == (1, 1)


def test_time_stands_in_timing_alone(repository):
    timing = read(repository, "metrics/timing.json")
    assert set(timing) == {f"{phase}_seconds" for phase in ("embed", "draw", "train", "score", "checkpoint")}
    assert read(repository, "metrics/reranker/timing.json")["learn_seconds"] > 0
    for file in (
        "metrics/train.json",
        "metrics/test.json",
        "metrics/settings.json",
        "metrics/reranker.json",
        "models/model.json",
    ):
        assert "second" not in (repository / file).read_text()
    assert not (repository / ".checkpoints").exists() or not list((repository / ".checkpoints").iterdir())


VERBS = ("prepare", "train", "lexical", "rerank", "baselines", "rank", "evaluate", "plot", "publish")


def test_a_zip_and_zero_epochs_and_beir_run_too(repository, run, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "arguana"), "zip", repository / "data/fixture")
    before = read(repository, "metrics/settings.json")["settings"]
    zero_shot = {"train__epochs": 0, "model__projection": "none", "model__pooling": "mean", "rerank__kind": "none"}
    zero_shot["retrieve__lexical"] = "none"
    run(*VERBS, corpus=archive, evaluate__beir=True, **zero_shot)
    (row,) = read(tmp_path, "plots/series/history.json")["epochs"]
    assert row["loss"] is None
    assert read(tmp_path, "models/model.json")["head"] == "none"
    settings = read(tmp_path, "metrics/settings.json")["settings"]
    for zero_shot, *ranked in zip(settings[3::8], settings[5::8], settings[6::8], settings[7::8], strict=True):
        assert [row | {"stage": "zero_shot"} for row in ranked] == [zero_shot] * 3  # nothing was trained
    beir = [row for row in settings if row["setting"] == "beir"]
    assert [(row["queries"], row["stage"]) for row in beir] == [(q, s) for q in QUERIES for s in ("chance", *STAGES)]
    distinct = {" ".join(text.lower().split()) for split in SPLITS for _, *texts in corpus(repository, split) for text in texts}
    assert beir[0]["candidates_mean"] == len(distinct) + 1 - 1  # the counterless point is there, the query's own text is not
    baselines = [row for row in settings if row["setting"] != "beir" and row["stage"] in STAGES[:4]]
    assert baselines == [row for row in before if row["stage"] in STAGES[:4]]  # BEIR changes no other number
    counts = {row["split"]: row for row in read(tmp_path, "metrics/prepare.json")["splits"]}
    assert counts["training"]["pairs"] == 24


def test_columns_that_a_corpus_lacks_take_their_settings_with_them(run, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    lines = [",".join(pair) for pair in independent_pairs()]
    (tmp_path / "data/pairs.csv").write_text("\n".join(["point,counter", *lines]) + "\n")
    run(*VERBS, corpus="data/pairs.csv", train__epochs=1, rerank__epochs=1)
    assert caplog.text.count("test: not every pair says its debate, theme and stance: no sdoc, sdc, sdoa, sda, stc, sta") == 3
    settings = read(tmp_path, "metrics/settings.json")["settings"]
    assert list(dict.fromkeys(row["setting"] for row in settings)) == ["epc", "epa"]
    assert {row["clusters"] for row in settings} == {6}  # without debates a query is a cluster of its own
    assert read(tmp_path, "metrics/prepare.json")["splits"][2]["setting_pairs"]["sdoc"] is None


def test_a_baseline_of_other_weights_is_refused(repository):
    file = repository / "data/baselines/zero_shot.json"
    about = file.read_bytes()
    file.write_text(json.dumps({"encoder_sha256": "0" * 64}))
    refused = command(repository, "python", "src/evaluate.py")
    file.write_bytes(about)
    assert refused.returncode == 1
    trained = json.loads(about)["encoder_sha256"][:12]
    assert refused.stderr == (
        f"error: model.encoder: its weights must be the ones that models/ was trained from, sha256 {trained}…; "
        "the zero-shot baseline has 000000000000…: dvc repro -f train baselines\n"
    )
    assert succeed(repository, "git", "status", "--short") == ""
