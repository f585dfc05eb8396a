"""The stage rerank in this process: its choices, its refusals and its files; and a new kind of reranker."""

import json
from pathlib import Path

import pytest
import torch

from counterpoint.arguments.triples import read_triples
from counterpoint.core import params as params_module
from counterpoint.core.errors import InputError
from counterpoint.evaluation.table import read_table
from counterpoint.model.compute import choose
from counterpoint.model.files import load
from counterpoint.reranking.kinds import KINDS
from counterpoint.reranking.reranker import Reranker
from counterpoint.reranking.scorer import Kind, Scorer, Trained

CPU = choose("cpu", "fp32")
STAGES = ("retrieved", "reranked")


def ranks_in_epa(stage, split="validation"):
    table = read_table(Path(f"data/ranks/{split}.csv"))
    return table[(table["answers"] == "text") & (table["setting"] == "epa") & (table["stage"] == stage)]


def top1(stage):
    return (ranks_in_epa(stage)["rank"] == 1).mean()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["head", "joint"])
def test_reranking_never_loses_where_the_weight_was_chosen(run, kind):
    run("prepare")
    for seed in (13, 1, 2):
        about = run("train", "lexical", "rerank", "rank", seed=seed, rerank__kind=kind, rerank__epochs=2)
        assert about["kind"] == kind
        assert top1("reranked") >= top1("retrieved")
        assert [top1(stage) for stage in STAGES] == pytest.approx([about["retrieved_top1"], about["reranked_top1"]])


@pytest.mark.slow
def test_without_a_reranker_reranked_repeats_retrieved(run):
    assert run("prepare", "train", "lexical", "rerank", "rank", rerank__kind="none")["kind"] == "none"
    assert [file.name for file in Path("reranker").iterdir()] == ["reranker.json"]
    table = read_table(Path("data/ranks/test.csv"))
    sides = [table[table["stage"] == stage].drop(columns="stage").reset_index(drop=True) for stage in STAGES]
    assert sides[0].equals(sides[1])


def test_a_head_that_was_not_trained_reranks_nothing(run):
    assert run("prepare", "train", "lexical", "rerank", "rank", rerank__kind="head", train__epochs=0)["weight"] == 0
    assert top1("reranked") == top1("retrieved")


@pytest.mark.slow
def test_a_depth_of_its_own_for_evaluation(run):
    run("prepare", "train", "lexical", "rerank", "rank")
    usual = read_table(Path("data/ranks/test.csv"))
    run("rank", evaluate__rerank_depth=1)
    table = read_table(Path("data/ranks/test.csv"))
    by_stage = {stage: table[table["stage"] == stage]["rank"].tolist() for stage in STAGES}
    assert by_stage["retrieved"] == by_stage["reranked"]
    assert by_stage["reranked"] != usual[usual["stage"] == "reranked"]["rank"].tolist()


@pytest.mark.slow
def test_its_files_are_the_same_in_a_second_run(run):
    run("prepare", "train", "lexical", "rerank")
    before = {file: file.read_bytes() for file in Path("reranker").rglob("*") if file.is_file()}
    run("rerank")
    assert {file: file.read_bytes() for file in Path("reranker").rglob("*") if file.is_file()} == before


def test_an_encoder_with_other_weights_is_refused(run):
    run("prepare", "train", "lexical")
    about = json.loads(Path("models/model.json").read_text())
    Path("models/model.json").write_text(json.dumps(about | {"encoder_sha256": "0" * 64}))
    with pytest.raises(InputError, match=r"model.encoder: its weights must be the ones that models/ was trained from"):
        run("rerank")
    assert not Path("reranker").exists()


# --- a new kind: a class, and a row in KINDS -------------------------------------------------------------------------


class SharedWords(Scorer):
    """A scorer of pairs by the number of words that both texts have."""

    def over(self, texts, embedded, cache):
        words = [set(text.lower().split()) for text in texts]

        def logits(left, right):
            pairs = zip(left.tolist(), right.tolist(), strict=True)
            return torch.tensor([float(len(words[a] & words[b])) for a, b in pairs])

        return logits


class SharedWordsKind(Kind):
    def train(self, setup):
        assert setup.triples.pairs["training"]
        return Trained(SharedWords(), [{"step": 1, "epoch": 0, "loss": 0.5}], 2.0)

    def load(self, directory, model):
        return SharedWords()


@pytest.fixture
def words(monkeypatch):
    """A row in KINDS, and its name in params.yaml as if RerankKind had it."""
    monkeypatch.setitem(KINDS, "words", SharedWordsKind())

    def load_params(path="params.yaml"):
        params = params_module.parse_params(Path(path).read_text().replace("kind: words", "kind: none"), path)
        return params.model_copy(update={"rerank": params.rerank.model_copy(update={"kind": "words"})})

    monkeypatch.setattr(params_module, "load_params", load_params)


def by_hand(model, pairs, weight, depth):
    """Yield the id and the two ranks of each query: by distance, then the first by weight x shared words - distance."""
    texts = list(dict.fromkeys([*(pair.point for pair in pairs), *(pair.counter for pair in pairs)]))
    keys = {text: " ".join(text.lower().split()) for text in texts}
    distinct = {keys[text]: text for text in reversed(texts)}  # the first of duplicates
    embedded = model.embed(model.point.encoder.tokenize(texts))
    points, counters = (dict(zip(texts, side.double().numpy(), strict=True)) for side in embedded.embeddings)
    for pair in {keys[pair.point]: pair for pair in reversed(pairs)}.values():
        right = {keys[member.counter] for member in pairs if keys[member.point] == keys[pair.point]}
        distance = {key: float(((points[pair.point] - counters[text]) ** 2).sum()) for key, text in distinct.items()}
        shared = {key: len(set(keys[pair.point].split()) & set(key.split())) for key in distinct}
        order = sorted(distinct.keys() - {keys[pair.point]}, key=distance.get)
        retrieved = 1 + [key in right for key in order].index(True)
        order[:depth] = sorted(order[:depth], key=lambda key: distance[key] - weight * shared[key])
        yield pair.id, (retrieved, 1 + [key in right for key in order].index(True))


@pytest.mark.slow
def test_a_class_and_a_row_in_kinds_are_a_new_reranker(run, words):
    about = run("prepare", "train", "lexical", "rerank", "rank", rerank__kind="words", retrieve__lexical="none")
    assert (about["kind"], about["depth"], about["n"]) == ("words", 8, 8)
    assert about["reranked_top1"] >= about["retrieved_top1"]
    assert json.loads(Path("plots/series/reranker.json").read_text())["steps"] == [{"step": 1, "epoch": 0, "loss": 0.5}]
    assert json.loads(Path("metrics/reranker/timing.json").read_text())["learn_seconds"] == 2.0
    file = Path("reranker/reranker.json")
    for weight in (about["weight"], 0.05, 1e6):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"weight": weight}))
        run("rank", rerank__kind="words", retrieve__lexical="none")
        model = load(Path("models"), CPU)
        assert isinstance(Reranker.load(Path("reranker"), model).scorer, SharedWords)
        expected = dict(by_hand(model, read_triples(Path("data/triples")).pairs["test"], weight, 8))
        columns = [ranks_in_epa(stage, "test").set_index("id")["rank"] for stage in STAGES]
        assert {name: tuple(column[name] for column in columns) for name in columns[0].index} == expected
        assert any(before != after for before, after in expected.values()) or weight < 1
