"""Grades and labels: who is right, what is given, and how often it is drawn; trec_eval is the oracle of nDCG."""

import json
import logging
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import pytrec_eval
import torch

from conftest import ROOT
from counterpoint.arguments.pairs import Document, Given, Pair, split_sha256
from counterpoint.arguments.pool import Pool
from counterpoint.arguments.triples import Triples, read_triples, write_triples
from counterpoint.core.errors import InputError
from counterpoint.core.ragged import Ragged
from counterpoint.core.sections import NO_NEGATIVES, SplitShares
from counterpoint.corpus.grades import judged
from counterpoint.corpus.splits import read_splits
from counterpoint.evaluation.table import ranks_of, right_cells, summary
from counterpoint.negatives.eligible import initial_negatives
from counterpoint.negatives.provided import Provided
from counterpoint.ranking.metrics import gains, gains_by_chance
from counterpoint.ranking.queries import by_row, by_text
from test_sampler import sampler

SHARES = SplitShares(training=0.6, validation=0.2, test=0.2)


def pair(name, point, counter, grade=None):
    return Pair(name, None, None, None, point, counter, grade=grade)


def verdicts(*grades, min_grade=1.0):
    """What several grades of one pair make of it."""
    rows = [("key", ("test", pair(str(i), "p", "c", grade))) for i, grade in enumerate(grades)]
    ((_, one),) = judged(rows, min_grade, "corpus")
    assert one.id == "0"
    return one.grade


def test_the_majority_decides_and_a_tie_is_right():
    assert verdicts(1, 0, 0) == 0
    assert verdicts(1, 0, 1) is None
    assert verdicts(0, 1) is None
    assert verdicts(3, 2, 0) == 2.5
    assert verdicts(1, min_grade=2) == 0
    assert verdicts(2, 1, 1, min_grade=2) == 0
    assert verdicts(2, 1, min_grade=2) == 2
    assert verdicts(-1) == verdicts(0, min_grade=0) == 0


def test_rows_without_a_grade_are_right_and_stay_apart():
    rows = [("key", ("test", pair("a", "p", "c"))), ("key", ("test", pair("b", "p", "c")))]
    assert [row[1].id for row in judged(rows, 1, "corpus")] == ["a", "b"]


BEIR = {
    "queries.jsonl": [{"_id": f"q{i}", "text": f"point {i}"} for i in range(6)],
    "corpus.jsonl": [{"_id": f"d{i}", "text": f"document {i}"} for i in range(14)],
}
QRELS = {
    "train": [("q0", "d0", 2), ("q0", "d1", 1), ("q0", "d2", 0), ("q1", "d3", 2), ("q1", "d4", -1), ("q1", "d0", 0)],
    "dev": [("q2", "d5", 2), ("q3", "d6", 3), ("q3", "d7", 0)],
    "test": [("q4", "d8", 1), ("q4", "d9", 3), ("q4", "d10", 2), ("q5", "d11", 2), ("q5", "d8", 0), ("q5", "d12", 1)],
}


@pytest.fixture
def beir(tmp_path):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    for name, rows in BEIR.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, rows in QRELS.items():
        lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in rows)]
        (folder / "qrels" / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_grades_of_qrels(beir, tmp_path):
    triples = read_splits(beir, None).triples
    assert [(p.id, p.grade) for p in triples.pairs["training"]] == [("q0 > d0", 2), ("q0 > d1", None), ("q1 > d3", 2)]
    assert list(triples.given) == [
        Given("q0 > d0", "document 2", "training"),
        Given("q1 > d3", "document 4", "training"),
        Given("q1 > d3", "document 0", "training"),
        Given("q3 > d6", "document 7", "validation"),
        Given("q5 > d11", "document 8", "test"),
    ]
    write_triples(tmp_path / "triples", triples)
    assert read_triples(tmp_path / "triples") == triples
    for split in triples.pairs:  # all are documents of the collection already
        assert not [document for document in triples.documents_of(split) if document.id.startswith("given")]
    higher = read_splits(beir, None, min_grade=2).triples
    assert [p.id for p in higher.pairs["test"]] == ["q4 > d9", "q4 > d10", "q5 > d11"]
    assert Given("q4 > d9", "document 8", "test") in higher.given
    with pytest.raises(InputError, match="each split must have at least 2 pairs; training has 0"):
        read_splits(beir, None, min_grade=3)


def test_ndcg_of_grades_is_that_of_trec_eval(beir):
    pool = read_splits(beir, None).triples.pool("test")
    queries = by_text(pool)
    assert replace(queries.right, values=queries.grade).tolist() == [[1, 3, 2], [2, 1]]
    assert by_row(pool).grade.tolist() == [1, 3, 2, 2, 1]
    rng = np.random.default_rng(0)
    chance = []
    for _ in range(200):
        places = [rng.permutation(12)[:n] + 1 for n in (3, 2)]  # ranks of each query's positives among 12
        grades = np.split(queries.grade, [3])
        ranks = Ragged.of(map(sorted, places))
        grade = np.concatenate([values[np.argsort(of)] for values, of in zip(grades, places, strict=True)])
        ours = gains(ranks, grade)["ndcg10"]
        qrels = {str(i): {str(rank): int(value) for rank, value in zip(places[i], grades[i], strict=True)} for i in range(2)}
        run = {str(i): {str(r): float(-r) for r in range(1, 13)} for i in range(2)}
        theirs = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut"}).evaluate(run)
        assert ours == pytest.approx([theirs[str(i)]["ndcg_cut_10"] for i in range(2)], abs=1e-6)
        chance.append(ours)
    mean = gains_by_chance(np.array([12, 12]), ranks, grade)["ndcg10"]
    assert np.mean(chance, axis=0) == pytest.approx(mean, abs=0.05)
    cells = right_cells(ranks, grade)
    assert all("x" in cell for cell in cells)
    again = ranks_of(pd.Series(cells))
    assert again[0].tolist() == ranks.tolist()
    assert np.array_equal(again[1], grade)
    row = {"right": cells, "candidates": 12, "ties_hit": 1, "cluster": [0, 1], "seen": "none"}
    assert summary(pd.DataFrame(row), "retrieved")["ndcg10"] == pytest.approx(ours.mean())


TABLE = "point,counter,label,split\n" + "".join(
    f"p{i},right {i},1,{split}\np{i},wrong {i},0,{split}\n" for split, n in (("train", 4), ("dev", 2), ("test", 2))
    for i in range(n * 10, n * 10 + n)
)  # fmt: skip


def test_wrong_answers_of_a_table_are_candidates_of_their_own_split(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    file = tmp_path / "pairs.csv"
    file.write_text(TABLE.replace("p20,right 20,1,dev", "p20,right 20,1,dev\np40,right 20,0,train\nnobody,lone,0,test", 1))
    triples = read_splits(file, None).triples
    assert "wrong answers given by people: 10; 1 of points without a right answer are candidates only" in caplog.text
    assert {split: [d.text for d in triples.documents_of(split)] for split in triples.pairs} == {
        "training": [*(f"wrong {i}" for i in range(40, 44)), "right 20"],
        "validation": ["wrong 20", "wrong 21"],
        "test": ["lone", "wrong 20", "wrong 21"],
    }
    assert triples.pairs["validation"][0].seen == "counter"  # training has right 20 as a wrong answer
    assert Given(None, "lone", "test") in triples.given
    assert {"wrong 40", "lone"} <= set(triples.texts)


def test_a_text_that_is_right_anywhere_is_no_wrong_answer(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    file = tmp_path / "pairs.csv"
    file.write_text(TABLE + "p40,right 40,0,test\np40,RIGHT  40,0,dev\np41,p41,0,train\n")
    assert "by people: 8; 3 left out, the point's own text or right for it elsewhere" in log_of(file, caplog)
    assert not [answer for answer in read_splits(file, None).triples.given if "40" in answer.text and "right" in answer.text]


def test_a_split_of_wrong_answers_alone_is_refused_not_drawn(tmp_path):
    (tmp_path / "pairs.csv").write_text("".join(line for line in TABLE.splitlines(True) if not line.endswith(",1,dev\n")))
    with pytest.raises(InputError, match="each split must have at least 2 pairs; validation has 0"):
        read_splits(tmp_path / "pairs.csv", SHARES)


def log_of(file, caplog):
    caplog.clear()
    read_splits(file, None)
    return caplog.text


def test_rows_without_a_label_are_counted(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    file = tmp_path / "pairs.jsonl"
    rows = [{"point": f"p{i}", "counter": f"c{i}", "label": 1, "split": ("train", "dev", "test")[i % 3]} for i in range(9)]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert "without a label" not in log_of(file, caplog)
    del rows[4]["label"], rows[5]["label"]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert "pairs.jsonl: rows without a label, which count as right: 2 of 9" in log_of(file, caplog)


@pytest.mark.parametrize("score", ["0", "0.00", "-0.0", "no", "False"])
def test_a_score_that_is_a_label_is_refused(score, tmp_path):
    (tmp_path / "pairs.csv").write_text(f"point,counter,score\np,c,{score}\n")
    with pytest.raises(InputError, match=f"score must not be {score}, since every row is a right answer"):
        read_splits(tmp_path / "pairs.csv", SHARES)


@pytest.mark.parametrize(
    ("header", "row", "columns", "says"),
    [
        ("point,counter,label", "p,c,yes", {}, "2: label must be a number; got 'yes'"),
        ("point,counter,label", "p,c,", {}, "2: label must be a number; got ''"),
        ("point,counter,label", "p,c,nan", {}, "2: label must be a number; got 'nan'"),
        (
            "point,counter,label,Relevance",
            "p,c,1,1",
            {},
            "must have one column of labels; prepare.columns.label says which; got",
        ),
        ("point,counter", "p,c", {"label": "gold"}, "must have gold; got point, counter (see prepare.columns)"),
        (
            "point,counter,score",
            "p,c,0",
            {},
            "score must not be 0, since every row is a right answer; labels are a column",
        ),
    ],
)
def test_a_label_that_cannot_be_read_is_one_line(header, row, columns, says, tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text(f"{header}\n{row}\n")
    with pytest.raises(InputError) as refused:
        read_splits(file, SHARES, columns)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_another_column_of_labels_leaves_label_an_ordinary_one(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    file = tmp_path / "pairs.csv"
    file.write_text(TABLE.replace("label", "gold").replace("split\n", "split\n", 1))
    assert len(read_splits(file, None, {"label": "gold"}).triples.given) == 8
    assert len(read_splits(file, None).triples.given) == 0  # every row is right
    assert "ignored columns: gold" in caplog.text


def given_ids(pool, pairs, answers):
    return Provided.of(pool, pairs, answers, ROOT / NO_NEGATIVES).given


PAIRS = [pair(f"{i}", f"p{i}", f"c{i}") for i in range(400)]
ANSWERS = [Given(f"{i}", f"c{(i + 7) % 400}", "training") for i in range(200)]


def test_given_negatives_are_the_share_of_mined_draws_that_is_asked_for():
    pool = Pool.of(PAIRS)
    given = given_ids(pool, PAIRS, ANSWERS)
    assert given[:200, 0].tolist() == [400 + (i + 7) % 400 for i in range(200)]
    assert (given[200:] == -1).all()
    place = torch.arange(800.0)[:, None]
    for share, rate in ((0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (1.0, 0.4)):
        one = sampler(pool, rate, initial_negatives(pool, 1, 0), given=share)
        one.provided = replace(one.provided, given=given)
        drawn = one.draw(1, place, place)
        taken = drawn.ids[:200, 0] == given[:200, 0]
        assert not (taken & drawn.was_random[:200, 0]).sum() > 3  # by chance alone
        mined = ~drawn.was_random[:200, 0]
        assert taken[mined].mean() == pytest.approx(share, abs=0.09)
        again = sampler(pool, rate, one.initial, given=share)
        again.provided = one.provided
        assert np.array_equal(again.draw(1, place, place).ids, drawn.ids)


@pytest.mark.parametrize("points", [0.25, 0.5])
def test_given_negatives_take_turns_as_mined_ones_do(points):
    """Of all points a share is mined or given for in epoch 0; of these and of the kept ones the same share is given."""
    pool = Pool.of(PAIRS)
    given = given_ids(pool, PAIRS, [Given(f"{i}", f"c{(i + 7) % 400}", "training") for i in range(400)])
    one = sampler(pool, 0.0, initial_negatives(pool, 1, 0), given=0.5, share=points)
    one.provided = replace(one.provided, given=given)
    draws = [one.draw(epoch, *[torch.arange(800.0)[:, None]] * 2) for epoch in range(6)]
    assert (~draws[0].was_random).mean() == pytest.approx(points, abs=0.01)
    for draw in draws:
        taken = draw.ids == given
        assert taken[~draw.was_random].mean() == pytest.approx(0.5, abs=0.1)
    changed = [(after.ids != before.ids).mean() for before, after in pairwise(draws[3:])]
    assert max(changed) <= points  # the others keep theirs


def test_without_given_ones_the_draw_is_what_it_was():
    pool = Pool.of(PAIRS)
    place = torch.arange(800.0)[:, None]
    ids = [sampler(pool, 0.3, initial_negatives(pool, 2, 0), given=share).draw(1, place, place).ids for share in (0.0, 1.0)]
    assert np.array_equal(*ids)


def test_several_negatives_of_a_point_differ():
    """Of two places with one given answer, one is given and the other mined."""
    pool = Pool.of(PAIRS)
    given = given_ids(pool, PAIRS, [*ANSWERS, Given("3", "c10", "training"), Given("3", "p9", "training")])
    place = torch.arange(800.0)[:, None]
    one = sampler(pool, 0.0, initial_negatives(pool, 3, 0), given=1.0)
    one.provided = replace(one.provided, given=given)
    drawn = one.draw(1, place, place)
    assert all(len({pool.text_group[i] for i in row}) == 3 for row in drawn.ids)
    assert Counter((drawn.ids[:200] == given[:200, :1]).sum(1).tolist()) == {1: 200}
    assert {400 + 10, 9} <= set(drawn.ids[3].tolist())  # p9 is a point, and a wrong answer
    assert not drawn.was_random.any()


def test_a_right_answer_of_the_pool_is_never_given():
    """As where two texts have the same tokens, which prepare cannot know."""
    pool = Pool.of(PAIRS[:3])
    merged = pool.merged(np.array([0, 1, 2, 3, 4, 3]))  # c2 reads as c0
    assert given_ids(merged, PAIRS[:3], [Given("0", "c2", "training")]).shape == (3, 0)
    assert given_ids(pool, PAIRS[:3], [Given("0", "c2", "training")]).tolist() == [[5], [-1], [-1]]


def test_splits_of_other_candidates_have_another_hash(tmp_path):
    hashes = set()
    for text in (TABLE, TABLE.replace("wrong 40", "false 40"), TABLE.replace("wrong 41", "false 41")):
        (tmp_path / "pairs.csv").write_text(text.replace("train", "TEST").replace("test", "train").replace("TEST", "test"))
        triples = read_splits(tmp_path / "pairs.csv", None).triples
        assert [document.id for document in triples.documents_of("test")] == ["given 4", "given 5", "given 6", "given 7"]
        hashes.add(split_sha256(triples.pairs["test"], triples.documents_of("test")))
    assert len(hashes) == 3
    assert split_sha256(PAIRS[:2], []) != split_sha256(PAIRS[:2], [Document("1", "d")])


def test_triples_without_given_ones_have_no_file(tmp_path):
    triples = Triples({"training": PAIRS[:2], "validation": PAIRS[2:4], "test": PAIRS[4:6]}, [], None, ANSWERS[:1])
    write_triples(tmp_path, triples)
    assert (tmp_path / "given.jsonl").exists()
    write_triples(tmp_path, Triples(triples.pairs, [], None))
    assert not (tmp_path / "given.jsonl").exists()
