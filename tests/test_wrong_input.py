"""Bad input, a row a case: the check before a run and the stage refuse it with the same one line, and write nothing.

Every line names the thing, the rule and the value.
"""

import importlib
import json
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from conftest import fixture_params, write_arguana
from counterpoint.core import process
from counterpoint.corpus import source

ROW = '{"point": "a", "counter": "b"}\n'
POINT = "02-extracted-arguments/training/animals/cats/pro/pro01a-point.txt"
COUNTER = "02-extracted-arguments/training/animals/cats/pro/pro01b-counter.txt"


def refusal(main, capfd) -> str:
    """Return the line with which a main refuses."""
    with pytest.raises(SystemExit) as ended:
        process.run(main)
    assert ended.value.code == 1
    err = capfd.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert len(err) < 500
    return err


def verb(name: str):
    sys.modules.pop(name, None)
    return importlib.import_module(name).main


@pytest.fixture
def world(tmp_path, tiny_bert, monkeypatch):
    """Return a folder to run in, with a copy of the encoder."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "--quiet"], check=True)
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    shutil.copytree(tiny_bert, tmp_path / "encoder")
    return tmp_path


def refused_by_check_and(name: str, world: Path, capfd, **changes) -> str:
    values = fixture_params(world / "encoder", **changes)
    (world / "params.yaml").write_text(yaml.safe_dump(values))
    before = sorted(path for path in world.rglob("*") if "__pycache__" not in path.parts)
    line = refusal(verb("check"), capfd)
    assert refusal(verb(name), capfd) == line
    assert sorted(path for path in world.rglob("*") if "__pycache__" not in path.parts) == before  # nothing was written
    return line


# --- corpus ----------------------------------------------------------------------------------------------------------


def file(name, content):
    def arrange(folder):
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    return arrange


def folder_of(**files):
    def arrange(folder):
        (folder / "corpus").mkdir()
        for name, content in files.items():
            (folder / "corpus" / name.replace("__", ".")).write_bytes(content.encode())
        return "corpus"

    return arrange


def beir(qrels="q1\td1\t1", corpus='{"_id": "d1", "text": "a"}'):
    """Return a maker of a directory in BEIR's form with one query."""

    def arrange(folder):
        (folder / "beir/qrels").mkdir(parents=True)
        (folder / "beir/corpus.jsonl").write_text(corpus)
        (folder / "beir/queries.jsonl").write_text('{"_id": "q1", "text": "b"}')
        (folder / "beir/qrels/test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{qrels}\n")
        return "beir"

    return arrange


def many_members(path):
    """Write members within the bound of one text; together they are 1 GB, of 1.2 MB packed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        packed = "a" * 900_000
        for i in range(1200):
            archive.writestr(f"training/t/d{i}/pro/pro01a-point.txt", packed)


def arguana(change):
    """Return a maker of ArguAna's layout, changed by change(root)."""

    def arrange(folder):
        change(write_arguana(folder / "arguana"))
        return "arguana"

    return arrange


def archive(change):
    """Return a maker of the same as a zip, changed by change(path)."""

    def arrange(folder):
        write_arguana(folder / "unzipped")
        shutil.make_archive(str(folder / "arguana"), "zip", folder / "unzipped")
        shutil.rmtree(folder / "unzipped")
        change(folder / "arguana.zip")
        return "arguana.zip"

    return arrange


def add(name, content=b"x"):
    def change(path):
        with zipfile.ZipFile(path, "a") as opened:
            opened.writestr(name, content, zipfile.ZIP_DEFLATED)

    return change


def patch_members(path, offset, value):
    """Overwrite a field of every entry of a zip's central directory, and of the local header 4 bytes before it."""
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        struct.pack_into("<I" if isinstance(value, int) and value > 0xFFFF else "<H", data, at + offset, value)
        at = data.find(b"PK\x01\x02", at + 4)
    path.write_bytes(data)


def encrypt(path):
    patch_members(path, 8, 1)  # general purpose flag, bit 0


def declare_large(path):
    patch_members(path, 24, 2**31)  # uncompressed size


def inflate(path):
    """Add a member that declares 10 bytes and holds 10 million."""
    add("02-extracted-arguments/test/food/soup/pro/pro09a-point.txt", b"a" * 10_000_000)(path)
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        struct.pack_into("<I", data, data.rfind(signature, 0, data.rfind(b"pro09a-point.txt")) + offset, 10)
    path.write_bytes(data)


def damage(path):
    data = bytearray(path.read_bytes())
    at = data.find(b"-point.txt") + 14
    data[at : at + 8] = b"\xff" * 8
    path.write_bytes(data)


def loop(folder):
    (folder / "corpus.csv").symlink_to("corpus.csv")
    return "corpus.csv"


def file_loop(root):
    (root / POINT).unlink()
    (root / POINT).symlink_to(Path(POINT).name)


def directory_for_file(root):
    (root / POINT).unlink()
    (root / POINT).mkdir()


def file_for_directory(root):
    shutil.rmtree((root / POINT).parent)
    (root / POINT).parent.write_text("a file")


def splits(**rows):
    return "".join(
        json.dumps({"point": f"p{split}{i}", "counter": "c", "split": split}) + "\n"
        for split, n in rows.items()
        for i in range(n)
    )


CORPORA = {
    "missing": (lambda folder: "nowhere", r"corpus: nowhere does not exist"),
    "unknown-suffix": (file("x.xlsx", ""), r"corpus: x.xlsx must be a directory or end in .zip, .jsonl, .csv, .tsv"),
    "empty-jsonl": (file("x.jsonl", ""), r"corpus: x.jsonl must hold at least one pair of a point and a counter; got none"),
    "empty-csv": (file("x.csv", ""), r"corpus: x.csv must hold at least one pair"),
    "empty-tsv": (file("x.tsv", ""), r"corpus: x.tsv must hold at least one pair"),
    "header-only": (file("x.csv", "point,counter\n"), r"corpus: x.csv must hold at least one pair"),
    "empty-directory": (folder_of(), r"corpus: corpus must hold 02-extracted-arguments .* found none"),
    "empty-zip": (lambda folder: (zipfile.ZipFile(folder / "x.zip", "w").close(), "x.zip")[1], r"corpus: x.zip must hold 02-ext"),
    "only-wrong": (
        file("x.csv", "point,counter,label\na,b,0\nc,d,0.5\n"),
        r"corpus: x.csv must hold at least one pair .* grade is above 0 and at least prepare.min_grade 1; none of its 2 is",
    ),
    "only-points": (file("x.csv", "point,counter\na,\nb,\n"), r"corpus: x.csv must hold at least one pair"),
    "columns-jsonl": (file("x.jsonl", '{"point": "a", "answer": "b"}'), r"corpus: x.jsonl:1 must have counter; got point, answer"),
    "columns-csv": (file("x.csv", "text,counter\na,b\n"), r"corpus: x.csv:1 must have point; got text, counter"),
    "columns-tsv": (file("x.tsv", "point,counter\na,b\n"), r"corpus: x.tsv:1 must have point; got point,counter"),
    "quote-left-open": (file("x.csv", 'point,counter\nc,d\n"a,b\n'), r"x.csv: the row that begins in line 3 must close the quotes"),
    "invisible": (file("x.csv", "point,counter\n\u200b,b\n"), r"corpus: x.csv:2: point must not be empty"),
    "no-gzip": (file("x.csv.gz", "no gzip"), r"corpus: x.csv.gz must be a readable gzip; got: Not a gzipped file"),
    "no-parquet": (file("x.parquet", ""), r"corpus: x.parquet (needs pyarrow|must be a readable Parquet file)"),
    "utf16-cut": (file("x.csv", b"\xff\xfea"), r"corpus: x.csv must be UTF-16, as its first bytes say; got byte 0x61 at 2 .truncated data."),
    "json-no-array": (file("x.json", "{}"), r"corpus: x.json must be a JSON array of objects; got '{}'"),
    "bomb-by-sum": (archive(many_members), r"corpus: arguana.zip must hold at most 500,000,000 bytes in all, .*; it has 1,080,"),
    "hub": (file("x.csv", "point,counter\n" + "".join(f"p{i},one answer\n" for i in range(9))), r"9 pairs form 1 group .* all of them|the text 'one answer'"),
    "beir-no-query": (beir(qrels="q9\td1\t1"), r"qrels/test.tsv must name ids of queries.jsonl and corpus.jsonl; none of its 1 rows does"),
    "beir-no-document": (beir(qrels="q1\td9\t1"), r"qrels/test.tsv must name ids of queries.jsonl and corpus.jsonl; none of its 1 rows does"),
    "beir-score": (beir(qrels="q1\td1\tyes"), r"qrels/test.tsv:2: score must be a number; got 'yes'"),
    "beir-twice": (beir(corpus='{"_id": "d1", "text": "a"}\n' * 2), r"corpus.jsonl:2: _id must be unique; got 'd1' twice"),
    "column-twice": (file("x.csv", "point,counter,point\na,b,c\n"), r"corpus: x.csv:1 must name each column once; got 'point'"),
    "long-row": (file("x.csv", "point,counter\na,b,c\n"), r"corpus: x.csv:2 must have as many cells as the header, 2"),
    "short-row": (file("x.tsv", "point\tcounter\na\n"), r"corpus: x.tsv:2 must have as many cells as the header, 2"),
    "open-quote": (file("x.csv", 'point,counter\n"a,b\n'), r"x.csv: the row that begins in line 2 must close the quotes"),
    "no-json": (file("x.jsonl", ROW + "{point: a}"), r"corpus: x.jsonl:2 must be a JSON object; Expecting property name"),
    "json-list": (file("x.jsonl", "[1, 2]"), r"corpus: x.jsonl:1 must be a JSON object; got '\[1, 2\]'"),
    "json-deep": (file("x.jsonl", "[" * 100_000), r"corpus: x.jsonl:1 must be a JSON object; maximum recursion"),
    "number-for-text": (file("x.jsonl", '{"point": 5, "counter": "b"}'), r"corpus: x.jsonl:1: point must be a string; got 5"),
    "empty-point": (file("x.csv", "point,counter\n ,b\n"), r"corpus: x.csv:2: point must not be empty"),
    "utf8-jsonl": (file("x.jsonl", b'{"point": "\xe9"}'), r"corpus: x.jsonl must be UTF-8; got byte 0xe9 at 11"),
    "utf8-csv": (file("x.csv", b"point,counter\n\xff,b"), r"corpus: x.csv must be UTF-8; got byte 0xff at 14"),
    "utf8-tsv": (file("x.tsv", b"point\tcounter\na\t\xc3"), r"corpus: x.tsv must be UTF-8; got byte 0xc3 at 16"),
    "utf8-arguana": (arguana(lambda root: (root / POINT).write_bytes(b"\xe9t")), r"pro01a-point.txt must be UTF-8; got byte 0xe9 at 0"),
    "utf8-zip": (archive(add(POINT.replace("01a", "09a"), b"\xe9t")), r"pro09a-point.txt must be UTF-8; got byte 0xe9 at 0"),
    "surrogate": (file("x.jsonl", '{"point": "a", "counter": "\\ud800"}'), r"x.jsonl:1: counter must be text .* lone surrogate"),
    "nul-jsonl": (file("x.jsonl", '{"point": "a\0"}'), r"corpus: x.jsonl must be text; got a NUL character at 12"),
    "nul-json-escape": (file("x.jsonl", '{"point": "a\\u0000", "counter": "b"}'), r"x.jsonl:1: point must be text; got a NUL"),
    "nul-csv": (file("x.csv", "point,counter\na\0,b\n"), r"corpus: x.csv must be text; got a NUL character at 15"),
    "nul-arguana": (arguana(lambda root: (root / POINT).write_text("a\0b")), r"pro01a-point.txt must be text; got a NUL character at 1"),
    "50-mb-garbage": (file("x.jsonl", "x" * 50_000_000), r"corpus: x.jsonl:1 must be a JSON object; Expecting value"),
    "50-mb-text": (
        file("x.jsonl", json.dumps({"point": "ab " * 16_700_000, "counter": "b"})),
        r"corpus: x.jsonl:1: point must have at most 1,000,000 characters; got 50,100,000",
    ),
    "50-mb-cell": (
        file("x.csv", "point,counter\na," + "b" * 50_000_000 + "\n"),
        r"corpus: x.csv:2: counter must have at most 1,000,000 characters; got 50,000,000",
    ),
    "50-mb-file": (
        arguana(lambda root: (root / POINT).write_text("a" * 50_000_000)),
        r"pro01a-point.txt must have at most 1,000,000 characters; got 50,000,000",
    ),
    "id-twice": (
        file("x.jsonl", '{"id": "i", "point": "a", "counter": "b"}\n{"id": "i", "point": "c", "counter": "d"}'),
        r"corpus: x.jsonl: id must be unique; got 'i' twice",
    ),
    "counter-without-point": (
        arguana(lambda root: (root / POINT).unlink()),
        r"corpus: arguana: a counter needs its point; training/animals/cats/pro01 has none",
    ),
    "counter-without-point-csv": (file("x.csv", "point,counter\n,b\n"), r"corpus: x.csv:2: point must not be empty"),
    "empty-file": (arguana(lambda root: (root / COUNTER).write_text(" \n")), r"must have text; .*pro01b-counter.txt is empty"),
    "wrong-name": (
        arguana(lambda root: (root / POINT).rename((root / POINT).with_name("con01a-point.txt"))),
        r"an argument must be <split>/<theme>/<debate>/.*; got arguana/02-ext.*pro/con01a-point.txt",
    ),
    "table-is-a-directory": (
        lambda folder: ((folder / "x.csv").mkdir(), "x.csv")[1],
        r"corpus: x.csv must be a file; it is a directory",
    ),
    "split-is-a-directory": (
        lambda folder: ((folder / "corpus" / "training.csv").mkdir(parents=True), "corpus")[1],
        r"corpus: corpus/training.csv must be a file; it is a directory",
    ),
    "zip-is-a-directory": (
        lambda folder: ((folder / "x.zip").mkdir(), "x.zip")[1],
        r"corpus: x.zip must be a file; it is a directory",
    ),
    "point-is-a-directory": (arguana(directory_for_file), r"pro01a-point.txt must be a file; it is a directory"),
    "stance-is-a-file": (arguana(file_for_directory), r"cats/pro must be a directory; it is a file"),
    "name-not-utf8": (
        arguana(lambda root: (root / POINT).parent.parent.rename((root / POINT).parent.parent.with_name("ca\udcffts"))),
        r"arguana: a name must be text that UTF-8 can hold; got a lone surrogate, 'arguana/.*ca\\udcffts",
    ),
    "symlink-loop": (loop, r"corpus: corpus.csv cannot be read: Too many levels of symbolic links"),
    "symlink-loop-inside": (arguana(file_loop), r"pro01a-point.txt cannot be read: Too many levels of symbolic links"),
    "symlink-loop-of-folders": (
        arguana(lambda root: (root / POINT).parent.joinpath("again").symlink_to("..", target_is_directory=True)),
        r"cats/pro/again must not be a link to a folder that holds it",
    ),
    "one-table": (folder_of(training__csv="point,counter\na,b\nc,d\n"), r"corpus: each split must have at least 2 pairs; validation"),
    "two-tables": (folder_of(training__csv="", training__jsonl=""), r"corpus: corpus must hold one table a split; got training"),
    "split-name": (file("x.jsonl", splits(trial=2)), r"corpus: x.jsonl:1: split must be training, validation, test; got 'trial'"),
    "split-some": (file("x.jsonl", splits(test=2) + ROW), r"x.jsonl: split must be given for all rows or for none; row-3 has none"),
    "split-small": (file("x.jsonl", splits(training=9, validation=2, test=1)), r"at least 2 pairs; test has 1"),
    "stance": (file("x.csv", "point,counter,stance\na,b,maybe\n"), r"x.csv:2: stance must be pro or con; got 'maybe'"),
    "all-duplicates": (
        file("x.jsonl", "".join(json.dumps({"point": "a", "counter": "b", "split": s}) + "\n" for s in ("training", "validation", "test") * 2)),
        r"corpus: a point of validation must have a wrong candidate; of its 2 pairs all are right",
    ),
    "zip-no-zip": (file("x.zip", "no zip"), r"corpus: x.zip must be a readable zip; got: File is not a zip file"),
    "zip-cut": (archive(lambda path: path.write_bytes(path.read_bytes()[:5000])), r"must be a readable zip; got: File is not a zip"),
    "zip-damaged": (archive(damage), r"corpus: arguana.zip must be a readable zip; got: "),
    "zip-encrypted": (archive(encrypt), r"corpus: arguana.zip must be an unencrypted zip; got: .*is encrypted"),
    "zip-parent": (archive(add("../x.txt")), r"arguana.zip: names in a zip must stay inside it; got '../x.txt'"),
    "zip-absolute": (archive(add("/x.txt")), r"arguana.zip: names in a zip must stay inside it; got '/x.txt'"),
    "zip-drive": (archive(add("C:\\x.txt")), r"arguana.zip: names in a zip must stay inside it; got "),
    "zip-twice": (archive(add(POINT)), r"arguana.zip: a zip must hold a name once; got '.*pro01a-point.txt' twice"),
    "zip-bomb-declared": (archive(declare_large), r"corpus: arguana.zip must hold at most 500,000,000 bytes in all, .*; it has [0-9,]{13,} or more"),
    "zip-bomb-hidden": (archive(inflate), r"corpus: arguana.zip must be a readable zip; got: "),
    "zip-tables": (archive(lambda path: (path.unlink(), add("training.csv", "point,counter")(path))), r"must hold 02-extracted"),
}  # fmt: skip


LARGE = ("bomb-by-sum", "50-mb-cell", "50-mb-text", "50-mb-file")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in CORPORA])
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")  # zipfile's, where the test makes such a zip
def test_a_bad_corpus(name, world, capfd, monkeypatch):
    monkeypatch.setattr(source, "MAX_BYTES", 500_000_000)  # on any machine
    arrange, says = CORPORA[name]
    line = refused_by_check_and("prepare", world, capfd, corpus=arrange(world))
    assert re.search(says, line), line


# --- params ----------------------------------------------------------------------------------------------------------

PARAMS = {
    "columns-same": ({"prepare__columns": {"point": "text", "counter": "text", "label": None}}, "prepare.columns: point, counter and label must differ; got 'text', 'text', None"),
    "columns-label": ({"prepare__columns": {"point": "p", "counter": "c", "label": "c"}}, "prepare.columns: point, counter and label must differ; got 'p', 'c', 'c'"),
    "min-grade": ({"prepare__min_grade": -1}, "prepare.min_grade must be a number of at least 0; got -1"),
    "given": ({"negatives__given": 1.5}, "negatives.given must be a number from 0 to 1; got 1.5"),
    "prompt-empty": ({"model__prompts": {"point": "", "counter": None}}, "model.prompts.point must be"),
    "patience-zero": ({"train__patience": 0}, "train.patience must be an integer of at least 1, or none; got 0"),
    "answers": ({"evaluate__answers": "pair"}, "evaluate.answers must be one of text, row; got 'pair'"),
    "flag": ({"model__normalize": "yes"}, "model.normalize must be true or false; got 'yes'"),
    "integer": ({"train__epochs": "many"}, "train.epochs must be an integer of at least 0; got 'many'"),
    "integer-fraction": ({"train__batch_size": 1.5}, "train.batch_size must be an integer of at least 1; got 1.5"),
    "integer-flag": ({"train__epochs": True}, "train.epochs must be an integer of at least 0; got True"),
    "number": ({"decay": "fast"}, "decay must be a number, or none; got 'fast'"),
    "number-off": ({"decay": False}, "decay must be a number, or none; got False"),
    "text": ({"corpus": 3}, "corpus must be a non-empty string; got 3"),
    "text-empty": ({"corpus": " "}, "corpus must be a non-empty string; got ' '"),
    "list": ({"random_rate": [1]}, "random_rate must be a number from 0 to 1; got [1]"),
    "mapping": ({"seed": {"a": 1}}, "seed must be an integer from 0 to 4294967295; got {'a': 1}"),
    "section": ({"model": 3}, "model must be a mapping of keys; got 3"),
    "nothing": ({"floor": None}, "floor must be a number from 0 to 1; got None"),
    "low": ({"train__weight_decay": -0.1}, "train.weight_decay must be a number of at least 0; got -0.1"),
    "high": ({"random_rate": 1.01}, "random_rate must be a number from 0 to 1; got 1.01"),
    "zero": ({"train__learning_rate": 0}, "train.learning_rate must be a number above 0; got 0"),
    "nan": ({"decay": float("nan")}, "decay must be a number, or none; got nan"),
    "nan-word": ({"loss__triplet__margin": "nan"}, "loss.triplet.margin must be a number of at least 0; got 'nan'"),
    "inf": ({"train__learning_rate": float("inf")}, "train.learning_rate must be a number above 0; got inf"),
    "inf-integer": ({"train__epochs": float("inf")}, "train.epochs must be an integer of at least 0; got inf"),
    "huge": ({"train__weight_decay": 10**400}, "train.weight_decay must be a number of at least 0; got 1000"),
    "name": ({"negatives__search": "fais"}, "negatives.search must be one of auto, exact, balltree, faiss; got 'fais'"),
    "name-setting": ({"select__setting": "sdx"}, "select.setting must be one of sdoc, sdc, sdoa, sda, stc, sta, epc, epa; got 'sdx'"),
    "device": ({"train__device": "tpu9"}, "train.device must be auto or a device that torch finds here; got 'tpu9'"),
    "rates": ({"random_rate": 0.2, "floor": 0.3}, "floor must be at most random_rate; got 0.3 and 0.2"),
    "shares": ({"prepare__split__test": 0.3}, "prepare.split: training, validation and test must add up to 1; got 1.1"),
    "fusion": ({"model__projection": "none", "model__fusion": "embedding"}, "model.fusion must be cls when model.projection is none"),
    "no-loss": ({"loss__triplet__weight": 0, "loss__pair__weight": 0}, "loss.triplet.weight or loss.contrastive.weight or loss.pair.weight must be above 0 to train; got 0 for each"),
    "no-head": ({"loss__pair__weight": 0, "rerank__kind": "head"}, "rerank.kind must be joint or none when loss.pair.weight is 0"),
    "frozen": ({"loss__pair__weight": 0, "model__freeze": "all", "model__projection": "none"}, "model.freeze must not be all when"),
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMS)
def test_bad_params(name, world, arguana, capfd):
    changes, says = PARAMS[name]
    responsible = "train" if name == "device" else "prepare"
    assert f"params.yaml: {says}" in refused_by_check_and(responsible, world, capfd, **{"corpus": str(arguana)} | changes)


def test_a_missing_package_is_refused_before_a_run(world, arguana, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    line = refused_by_check_and("train", world, capfd, corpus=str(arguana), negatives__search="faiss")
    assert line == "error: negatives.search: faiss needs faiss, which is not installed: pip install -r requirements-faiss.txt\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "error: negatives.file: mined.jsonl must be a JSONL file; got: No such file or directory"),
        (
            '{"query": "nobody", "negative": "x"}',
            "error: negatives.file: mined.jsonl must hold a negative, of a point of training",
        ),
    ],
)
def test_unusable_negatives_are_refused_before_a_run(content, says, world, arguana, capfd):
    if content:
        (world / "mined.jsonl").write_text(content)
    values = fixture_params(world / "encoder", corpus=str(arguana), negatives__file="mined.jsonl")
    (world / "params.yaml").write_text(yaml.safe_dump(values))
    assert refusal(verb("check"), capfd).startswith(says)


ENVIRONMENT = {
    "days": ("train", "CHECKPOINT_DAYS", "some", "CHECKPOINT_DAYS must be a number of at least 0; got 'some'"),
    "days-rerank": ("rerank", "CHECKPOINT_DAYS", "-1", "CHECKPOINT_DAYS must be a number of at least 0; got '-1'"),
    "limit": ("train", "STATES_LIMIT_GB", "much", "STATES_LIMIT_GB must be a number of at least 0; got 'much'"),
    "limit-nan": ("rerank", "STATES_LIMIT_GB", "nan", "STATES_LIMIT_GB must be a number of at least 0; got 'nan'"),
    "limit-small": ("train", "STATES_LIMIT_GB", "1e-9", "STATES_LIMIT_GB must be at least 0.01, the GB of hidden states of frozen layers; got 1e-09"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_a_bad_environment_variable(name, run, capfd, monkeypatch):
    stage, variable, value, says = ENVIRONMENT[name]
    changes = {"model__freeze": 1, "train__epochs": 1}
    subprocess.run(["git", "init", "--quiet"], check=True)
    run(*(("prepare",) if stage == "train" else ("prepare", "train")), **changes)
    monkeypatch.setenv(variable, value)
    capfd.readouterr()
    for main in ("check", stage):
        assert refusal(verb(main), capfd) == f"error: {says}\n"
    assert not Path("models" if stage == "train" else "reranker").exists()


def test_a_prompt_that_leaves_no_room_is_refused(world, arguana, capfd):
    prompts = {"point": " ".join(["cat"] * 50), "counter": None}
    line = refused_by_check_and("baselines", world, capfd, corpus=str(arguana), model__prompts=prompts)
    assert line.startswith("error: model.prompts must leave room in model.max_length")


FILES = {
    "unknown": (lambda text: text + "decays: 1\n", "params.yaml: unknown key decays; known are seed, corpus"),
    "unknown-inside": (lambda text: text.replace("warmup:", "warm_up:"), "params.yaml: unknown key train.warm_up; known are"),
    "missing": (lambda text: text.replace("seed: 13\n", "", 1), "params.yaml: seed is missing"),
    "twice": (lambda text: text + "seed: 14\n", "params.yaml must be readable YAML; got the key seed twice"),
    "no-yaml": (lambda text: text + "a: [", "params.yaml must be readable YAML; got while parsing"),
    "no-mapping": (lambda text: "- 1\n", "params.yaml: the file must be a mapping of keys; got [1]"),
    "empty": (lambda text: "", "params.yaml: the file must be a mapping of keys; got None"),
    "utf8": (lambda text: b"seed: \xff\n", "params.yaml must be readable YAML; got 'utf-8' codec"),
    "gone": (lambda text: None, "params.yaml does not exist; run from the root of the repository"),
    "directory": (lambda text: Path, "params.yaml must be readable YAML; got [Errno 21] Is a directory"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_bad_params_file(name, world, capfd):
    change, says = FILES[name]
    content = change(yaml.safe_dump(fixture_params(world / "encoder"), sort_keys=False))
    params = world / "params.yaml"
    if content is Path:
        params.mkdir()
    elif content is not None:
        params.write_bytes(content if isinstance(content, bytes) else content.encode())
    for main in ("check", "prepare", "train", "baselines", "evaluate", "plot", "publish"):
        assert says in refusal(verb(main), capfd)


# --- encoder ---------------------------------------------------------------------------------------------------------


def pickle_weights(encoder):
    torch.save(load_file(encoder / "model.safetensors"), encoder / "pytorch_model.bin")
    (encoder / "model.safetensors").unlink()


def cut_weights(encoder):
    data = (encoder / "model.safetensors").read_bytes()
    (encoder / "model.safetensors").write_bytes(data[: len(data) // 2])


def no_tokenizer(encoder):
    for name in ("vocab.txt", "tokenizer.json"):
        (encoder / name).unlink(missing_ok=True)


def config(**values):
    def change(encoder):
        before = json.loads((encoder / "config.json").read_text())
        (encoder / "config.json").write_text(json.dumps(before | values))

    return change


ENCODERS = {
    "no-config": (lambda encoder: (encoder / "config.json").unlink(), {}, "must hold config.json in Hugging Face format"),
    "no-weights": (lambda encoder: (encoder / "model.safetensors").unlink(), {}, "must hold weights as *.safetensors"),
    "pickle": (pickle_weights, {}, "must hold weights as *.safetensors; it does not"),
    "cut": (cut_weights, {}, "cannot be loaded: "),
    "empty-weights": (lambda encoder: (encoder / "model.safetensors").write_bytes(b""), {}, "cannot be loaded: "),
    "no-tokenizer": (no_tokenizer, {}, "must hold a tokenizer, tokenizer.json or vocab.txt; it does not"),
    "torn-tokenizer": (lambda encoder: (encoder / "tokenizer.json").write_text("{"), {}, "cannot be loaded: "),
    "config-no-json": (lambda encoder: (encoder / "config.json").write_text("{"), {}, "cannot be loaded: "),
    "config-shape": (config(hidden_size=64), {}, "cannot be loaded: "),
    "config-kind": (config(model_type="none such"), {}, "cannot be loaded: "),
    "layer-missing": (config(num_hidden_layers=3), {}, "must hold all weights of BertModel; encoder.layer.2."),
    "length": (lambda encoder: None, {"model__max_length": 65}, "model.max_length must be at most the encoder's 64; got 65"),
    "gone": (shutil.rmtree, {}, "model.encoder must be all-MiniLM-L6-v2, an existing directory or a hub id; got"),
    "file": (lambda encoder: None, {"model__encoder": "params.yaml"}, "model.encoder"),
    "name": (lambda encoder: None, {"model__encoder": "not a name!"}, "model.encoder must be all-MiniLM-L6-v2, an existing directory"),
    "hub": (lambda encoder: None, {"model__encoder": "some/encoder"}, "'some/encoder' is no local directory"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENCODERS)
def test_a_bad_encoder(name, world, arguana, capfd):
    change, changes, says = ENCODERS[name]
    change(world / "encoder")
    assert says in refused_by_check_and("baselines", world, capfd, corpus=str(arguana), **changes)


def test_the_bundled_encoder_with_other_weights(world, arguana, capfd, monkeypatch):
    from counterpoint.model import files

    monkeypatch.setattr(files, "BUNDLED_SHA256", "0" * 64)
    line = refused_by_check_and("baselines", world, capfd, corpus=str(arguana), model__encoder="all-MiniLM-L6-v2")
    assert re.search(r"model.safetensors must have sha256 0{64}; got [0-9a-f]{64}", line)
