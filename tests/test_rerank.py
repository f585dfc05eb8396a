"""The stage rerank in this process: what it chooses, refuses, and leaves; and the teacher that a finished run can be."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from counterpoint.arguments.triples import read_triples
from counterpoint.core.errors import InputError
from counterpoint.evaluation.table import read_table
from counterpoint.model.compute import choose
from counterpoint.model.files import load
from counterpoint.negatives.sampler import Negatives
from counterpoint.ranking.reranker import Reranker
from counterpoint.training.teacher import Teacher

CPU = choose("cpu", "fp32")


def top1(step, split="validation"):
    ranks = read_table(Path(f"data/ranks/{split}.csv"))
    own = ranks[(ranks["answers"] == "text") & (ranks["setting"] == "epa") & (ranks["stage"] == step)]
    return (own["rank"] == 1).mean()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["head", "joint"])
@pytest.mark.parametrize("correction", ["none", "csls", "inverted_softmax"])
def test_re_ranking_never_loses_where_the_weight_was_chosen(run, kind, correction):
    run("prepare")
    for seed in (13, 1, 2) if correction == "none" else (13,):
        changes = {"seed": seed, "rerank__kind": kind, "retrieve__correction": correction, "rerank__epochs": 2}
        about = run("train", "rerank", "rank", **changes)
        assert about["kind"] == kind
        assert top1("reranked") >= top1("retrieved")
        assert [top1("retrieved"), top1("reranked")] == pytest.approx([about["retrieved_top1"], about["reranked_top1"]])


def test_without_a_second_step_reranked_repeats_retrieved(run):
    assert run("prepare", "train", "rerank", "rank", rerank__kind="none")["kind"] == "none"
    assert not Path("reranker/reader").exists()
    ranks = read_table(Path("data/ranks/test.csv"))
    sides = [ranks[ranks["stage"] == step].drop(columns="stage").reset_index(drop=True) for step in ("retrieved", "reranked")]
    assert sides[0].equals(sides[1])


def test_a_head_that_was_not_trained_is_no_second_step(run):
    assert run("prepare", "train", "rerank", "rank", rerank__kind="head", train__epochs=0)["weight"] == 0
    assert top1("reranked") == top1("retrieved")


def test_a_depth_of_its_own_for_evaluation(run):
    run("prepare", "train", "rerank", "rank")
    usual = read_table(Path("data/ranks/test.csv"))
    run("rank", evaluate__rerank_depth=1)
    ranks = read_table(Path("data/ranks/test.csv"))
    by_step = {step: ranks[ranks["stage"] == step]["rank"].tolist() for step in ("retrieved", "reranked")}
    assert by_step["retrieved"] == by_step["reranked"]
    assert by_step["reranked"] != usual[usual["stage"] == "reranked"]["rank"].tolist()


def test_what_it_writes_is_the_same_again_and_holds_no_time(run):
    run("prepare", "train", "rerank")
    before = {file: file.read_bytes() for file in Path("reranker").rglob("*") if file.is_file()}
    run("rerank")
    assert {file: file.read_bytes() for file in Path("reranker").rglob("*") if file.is_file()} == before


def test_an_encoder_with_other_weights_is_refused(run, tmp_path):
    run("prepare", "train")
    about = json.loads(Path("models/model.json").read_text())
    Path("models/model.json").write_text(json.dumps(about | {"encoder_sha256": "0" * 64}))
    with pytest.raises(InputError, match=r"model.encoder: its weights must be the ones that models/ was trained from"):
        run("rerank")
    assert not Path("reranker").exists()


# --- a teacher -------------------------------------------------------------------------------------------------------


def test_a_teacher_says_logit_less_distance_by_its_weight(run, tmp_path):
    run("prepare", "train", "rerank")
    triples, model = read_triples(Path("data/triples")), load(Path("models"), CPU)
    pool = triples.pool("training")
    for name in ("models", "reranker"):
        shutil.copytree(name, tmp_path / "teacher" / name)
    teacher = Teacher.of(tmp_path / "teacher", pool, triples.texts, 1.0, CPU)
    rows, rng = len(pool.queries), np.random.default_rng(0)
    ids = rng.integers(len(pool), size=(rows, 2))
    none = np.zeros(ids.shape, dtype=bool)
    got = teacher.logits(Negatives(ids, none, none, none, ids.astype(np.float32), np.zeros(rows)))
    reranker = Reranker.load(Path("reranker"), model)
    assert reranker.reader is not None
    for row in range(rows):
        for column, answer in enumerate([pool.counter_of[pool.queries[row]], *ids[row]]):
            texts = [pool.texts[pool.text[position]] for position in (pool.queries[row], answer)]
            (read,) = reader_texts(reranker.reader, texts)
            logit = float(reranker.reader.read(read, np.array([0]), np.array([1])))
            a, b = (model.embed(model.point.encoder.tokenize([text]))[0].embedding[0] for text in texts)
            expected = logit - float((a - b).square().sum()) / reranker.weight
            assert float(got[row, column]) == pytest.approx(expected, abs=2e-3)


def reader_texts(reader, texts):
    from counterpoint.model.states import states_of

    return states_of(reader.encoder, CPU, [reader.encoder.tokenize(texts)], texts, 1.0)


def test_a_taught_retriever_comes_nearer_to_its_teacher(run, tmp_path):
    run("prepare", "train", "rerank")
    for name in ("models", "reranker"):
        shutil.copytree(name, tmp_path / "teacher" / name)
    taught = {"loss__distill": {"weight": 1.0, "temperature": 0.05, "teacher": str(tmp_path / "teacher")}, "seed": 2}
    run("train", **taught, loss__triplet__weight=0, loss__pair__weight=0, train__epochs=8)
    rows = json.loads(Path("plots/series/history.json").read_text())["epochs"]
    assert rows[-1]["distill_loss"] < 0.8 * rows[0]["distill_loss"]
    assert rows[-1]["loss"] == pytest.approx(rows[-1]["distill_loss"])


@pytest.mark.parametrize("teacher", ["nowhere", "."])
def test_a_teacher_must_be_another_finished_run(run, teacher):
    run("prepare", "train", "rerank")
    with pytest.raises(InputError, match=r"loss.distill.teacher must"):
        run("train", loss__distill={"weight": 1.0, "temperature": 0.05, "teacher": teacher})


def test_a_teacher_without_a_second_step_is_refused(run, tmp_path):
    run("prepare", "train", "rerank", rerank__kind="none")
    for name in ("models", "reranker"):
        shutil.copytree(name, tmp_path / "teacher" / name)
    with pytest.raises(InputError, match="must have a second step that counts; it has none"):
        run("train", loss__distill={"weight": 1.0, "temperature": 0.05, "teacher": str(tmp_path / "teacher")})
