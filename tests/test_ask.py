"""src/ask.py in this process: what it prints, writes and refuses."""

import io
import json
import logging
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
def asks(finished_run, monkeypatch, capsys):
    """A function that gives ask.py words and standard input, in a run of the tiny world; it returns what is printed."""

    def answer(*words, stdin=""):
        monkeypatch.setattr(sys, "argv", ["ask.py", *words])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        ask.main()
        return capsys.readouterr().out

    return answer


def test_a_point_lines_and_a_file_are_answered_alike(asks):
    one = asks("cat purr mouse", "--top", "2")
    assert one.splitlines()[0] == "cat purr mouse"
    assert [line.split(".")[0].strip() for line in one.splitlines() if line.startswith("   ")][::2] == ["1", "2"]
    assert asks("--top", "2", stdin="\ncat purr mouse\n") == one
    Path("points.csv").write_text("id,point\na,cat purr mouse\nb,dog bark\n")
    answers = json.loads(asks("--points", "points.csv", "--json", "--top", "2"))
    assert [answer["id"] for answer in answers] == ["a", "b"]
    assert answers[0]["counters"][0]["text"] in one
    assert set(answers[0]["counters"][0]) == {"id", "twins", "text", "distance", "logit"}


def test_what_is_searched(asks):
    Path("mine.tsv").write_text("id\tclaim\n7\tdog bark leash\n8\tcat milk\n")
    hits = json.loads(asks("cat purr", "--arguments", "mine.tsv", "--column", "claim", "--json"))[0]["counters"]
    assert {hit["id"] for hit in hits} == {"7", "8"}
    hits = json.loads(asks("cat purr", "--json", "--counters-only", "--top", "99", "--split", "test"))[0]["counters"]
    counters = {text_key(pair.counter) for pair in read_triples(Path("data/triples")).pairs["test"]}
    assert {text_key(hit["text"]) for hit in hits} == counters
    hits = json.loads(asks("cat purr", "--json", "--arguments", "data/fixture"))[0]["counters"]  # a corpus
    assert len(hits) == 5


@pytest.mark.parametrize("step", ["reranked", "retrieved"])
def test_a_run_file_gives_the_run_s_own_figures_by_trec_eval(asks, step, monkeypatch):
    if step == "retrieved":
        about = json.loads(Path("reranker/reranker.json").read_text())
        Path("reranker/reranker.json").write_text(json.dumps(about | {"weight": 0.0}))
    asks("--points", "data/triples/test.jsonl", "--split", "test", "--top", "1000", "--trec", "run.txt")
    pairs = read_triples(Path("data/triples")).pairs["test"]
    first = {text_key(pair.point): pair.id for pair in reversed(pairs)}
    names = {text_key(text): f"{source}_{pair.id}" for source in ("counter", "point") for pair in reversed(pairs)
             for text in [getattr(pair, source)]}  # fmt: skip
    qrels = {}
    for pair in pairs:
        qrels.setdefault(first[text_key(pair.point)], {})[names[text_key(pair.counter)]] = 1
    found = pytrec_eval.parse_run(Path("run.txt").read_text().splitlines())
    measured = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank", "success.1,5"}).evaluate(found)
    mean = {name: sum(row[name] for row in measured.values()) / len(qrels) for name in ("recip_rank", "success_1", "success_5")}
    own = json.loads(Path("metrics/test.json").read_text())["epa"][step]
    assert mean == pytest.approx({"recip_rank": own["mrr"], "success_1": own["top1"], "success_5": own["top5"]}, abs=1e-6)


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
def test_a_table_that_cannot_be_used_is_refused(tmp_path, monkeypatch, content, says):
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text(content)
    with pytest.raises(InputError) as refused:
        read_arguments(Path("table.csv"), "text", "--arguments")
    assert str(refused.value).startswith(says)
    with pytest.raises(InputError, match=r"--arguments: .*none.csv does not exist"):
        read_arguments(Path("none.csv"), "text", "--arguments")


def test_what_is_odd_but_usable_gets_a_line(asks, caplog):
    caplog.set_level(logging.INFO)
    asks("cat " * 80)
    assert "point 1 is longer than the model reads, 32 tokens: its end was not read" in caplog.text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("cat", "--points", "x.csv"), "a point and --points must not be given together"),
        (("cat", "--top", "0"), "--top must be at least 1; got 0"),
        (("",), "a point must show something; number 1 of 1 does not"),
        (("cat", "--arguments", "mine.txt", "--counters-only"), "--counters-only needs arguments that are told to be counters"),
        (("cat", "--arguments", "mine.txt", "--split", "test"), "--split must be of the run's corpus"),
    ],
)
def test_words_that_contradict_are_refused(asks, words, says):
    Path("mine.txt").write_text("cat milk\n\ndog bark\n")
    with pytest.raises(InputError) as refused:
        asks(*words)
    assert str(refused.value).startswith(says)
