"""src/ask.py in this process: its answers, its files, its refusals."""

import io
import json
import logging
import os
import sys
from pathlib import Path

import pytest
import pytrec_eval

import ask
from counterpoint.arguments.text import text_key
from counterpoint.arguments.triples import read_triples
from counterpoint.core.errors import InputError
from counterpoint.use.arguments import read_arguments


@pytest.fixture
def ask_run(finished_run, monkeypatch, capsys):
    """A function that runs ask.py with words and standard input, in a run of the tiny world; it returns standard output."""

    def answer(*words, stdin=""):
        monkeypatch.setattr(sys, "argv", ["ask.py", *words])
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", None if data is None else io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        capsys.readouterr()
        ask.main()
        return capsys.readouterr().out

    return answer


def test_a_point_as_an_argument_a_line_or_a_row_has_the_same_answers(ask_run):
    one = ask_run("cat purr mouse", "--top", "2")
    assert one.splitlines()[0] == "cat purr mouse"
    assert [line.split(".")[0].strip() for line in one.splitlines() if line.startswith("   ")][::2] == ["1", "2"]
    assert (
        ask_run("--top", "2", stdin="\ncat purr mouse\n")
        == one
        == ask_run("--top", "2", "--points", "-", stdin="cat purr mouse")
    )
    pipe, end = os.pipe()
    os.write(end, b"cat purr mouse\n")
    os.close(end)
    assert ask_run("--top", "2", "--points", f"/dev/fd/{pipe}") == one
    os.close(pipe)
    Path("points.csv").write_text("id,point\na,cat purr mouse\nb,dog bark\n")
    answers = json.loads(ask_run("--points", "points.csv", "--json", "--top", "2"))
    assert [answer["id"] for answer in answers] == ["a", "b"]
    Path("claims.csv").write_text("id,claim\na,cat purr mouse\nb,dog bark\n")
    assert json.loads(ask_run("--points", "claims.csv", "--column", "claim", "--json", "--top", "2")) == answers
    assert answers[0]["counters"][0]["text"] in one
    assert set(answers[0]["counters"][0]) == {"id", "duplicates", "text", "distance", "logit"}


def test_a_table_a_split_and_a_corpus_can_be_searched(ask_run):
    Path("mine.tsv").write_text("id\tclaim\n7\tdog bark leash\n8\tcat milk\n")
    hits = json.loads(ask_run("cat purr", "--arguments", "mine.tsv", "--column", "claim", "--json"))[0]["counters"]
    assert {hit["id"] for hit in hits} == {"7", "8"}
    hits = json.loads(ask_run("cat purr", "--json", "--counters-only", "--top", "99", "--split", "test"))[0]["counters"]
    counters = {text_key(pair.counter) for pair in read_triples(Path("data/triples")).pairs["test"]}
    assert {text_key(hit["text"]) for hit in hits} == counters
    hits = json.loads(ask_run("cat purr", "--json", "--arguments", "data/fixture"))[0]["counters"]  # a corpus
    assert len(hits) == 5


@pytest.mark.parametrize("stage", ["reranked", "retrieved"])
def test_a_run_file_gives_the_figures_of_the_run_by_trec_eval(ask_run, stage):
    if stage == "retrieved":
        about = json.loads(Path("reranker/reranker.json").read_text())
        Path("reranker/reranker.json").write_text(json.dumps(about | {"weight": 0.0}))
    ask_run("--points", "data/triples/test.jsonl", "--split", "test", "--top", "1000", "--trec", "run.txt")
    pairs = read_triples(Path("data/triples")).pairs["test"]
    first = {text_key(pair.point): pair.id for pair in reversed(pairs)}
    names = {text_key(text): f"{source}_{pair.id}" for source in ("counter", "point") for pair in reversed(pairs)
             for text in [getattr(pair, source)]}  # fmt: skip
    qrels = {}
    for pair in pairs:
        qrels.setdefault(first[text_key(pair.point)], {})[names[text_key(pair.counter)]] = 1
    run = pytrec_eval.parse_run(Path("run.txt").read_text().splitlines())
    measured = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank", "success.1,5"}).evaluate(run)
    mean = {name: sum(row[name] for row in measured.values()) / len(qrels) for name in ("recip_rank", "success_1", "success_5")}
    row = json.loads(Path("metrics/test.json").read_text())["epa"][stage]
    assert mean == pytest.approx({"recip_rank": row["mrr"], "success_1": row["top1"], "success_5": row["top5"]}, abs=1e-6)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("id,text\n1,cat\n1,dog\n", "--arguments: table.csv: id must be unique; got '1' twice"),
        ("id,words\n1,cat\n", "--arguments: table.csv:2 must have a column text; got id, words "),
        ("id,text\n", "--arguments: table.csv must have at least one text; it has none"),
        ("id,text\n1,\n", "--arguments: table.csv:2: text must be a text; got ''"),
        ("id,text\n1,cat,dog\n", "--arguments: table.csv:2 must have as many cells as the header, 2; it has 3"),
    ],
)
def test_an_unusable_table_is_refused(tmp_path, monkeypatch, content, says):
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text(content)
    with pytest.raises(InputError) as refused:
        read_arguments(Path("table.csv"), "text", "--arguments")
    assert str(refused.value).startswith(says)
    with pytest.raises(InputError, match=r"--arguments: .*none.csv does not exist"):
        read_arguments(Path("none.csv"), "text", "--arguments")


@pytest.mark.parametrize(
    ("stdin", "says"),
    [
        (b"cat purr\n\xff bad\n", "line 2 of standard input must be UTF-8; got byte 0xff at 0 (invalid start byte)"),
        (None, "standard input must be open where no point and no --points FILE is given; it is closed"),
    ],
)
def test_standard_input_that_cannot_be_read_is_one_line(ask_run, stdin, says):
    with pytest.raises(InputError) as refused:
        ask_run(stdin=stdin)
    assert str(refused.value) == says


def test_a_point_that_is_cut_is_logged(ask_run, caplog):
    caplog.set_level(logging.INFO)
    ask_run("cat " * 80)
    assert "point 1 is cut: the model reads its first 32 tokens" in caplog.text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("cat", "--points", "x.csv"), "a point and --points must not be given together"),
        (("cat", "--top", "0"), "--top must be at least 1; got 0"),
        (("",), "a point must have a visible character; number 1 of 1 has none"),
        (
            ("cat", "--arguments", "mine.txt", "--counters-only"),
            "--counters-only needs arguments that are known to be counters",
        ),
        (("cat", "--arguments", "mine.txt", "--split", "test"), "--split must be of the run's corpus"),
    ],
)
def test_contradicting_options_are_refused(ask_run, words, says):
    Path("mine.txt").write_text("cat milk\n\ndog bark\n")
    with pytest.raises(InputError) as refused:
        ask_run(*words)
    assert str(refused.value).startswith(says)
