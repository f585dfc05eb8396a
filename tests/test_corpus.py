import csv
import gzip
import json
import logging
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from conftest import ROOT
from counterpoint.core.errors import InputError
from counterpoint.corpus import source
from counterpoint.corpus.read import read_corpus

PAIRS = [
    {"id": "a", "theme": "t", "debate": "d", "stance": "pro", "point": "One, two", "counter": 'He said "no"\nand left'},
    {"id": "b", "theme": "t", "debate": "d", "stance": "con", "point": "Drei \u00e4", "counter": "Vier"},
]


def zipped(folder: Path, file: Path) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*"), reverse=True):  # the order of names must not matter
            archive.write(path, Path("corpus") / path.relative_to(folder))
    return file


def test_arguana_is_read_the_same_from_its_directory_its_parent_and_a_zip(arguana, tmp_path):
    corpus = read_corpus(arguana)
    assert corpus == read_corpus(arguana / "02-extracted-arguments") == read_corpus(zipped(arguana, tmp_path / "x.zip"))
    by_split = {split: [pair for s, pair in corpus.rows if s == split] for split in ("training", "validation", "test")}
    assert {split: len(pairs) for split, pairs in by_split.items()} == {"training": 25, "validation": 8, "test": 8}
    assert [pair.id for pair in by_split["training"] if pair.counter is None] == ["training/food/bread/con03"]
    assert corpus.empty_debates == {"training": 1}


def test_arguana_pairs_a_counter_with_the_point_of_its_folder_and_number(arguana):
    rows = {pair.id: (split, pair) for split, pair in read_corpus(arguana).rows}
    split, pair = rows["validation/animals/dogs/con02"]
    folder = arguana / "02-extracted-arguments/validation/animals/dogs/con"
    assert (split, pair.theme, pair.debate, pair.stance) == ("validation", "animals", "dogs", "con")
    assert pair.point == (folder / "con02a-point.txt").read_text()
    assert pair.counter == (folder / "con02b-counter.txt").read_text()


@pytest.mark.parametrize("name", ["test", "training"])
def test_the_name_of_a_folder_above_is_no_split(arguana, tmp_path, name):
    shutil.copytree(arguana, tmp_path / name / "x")
    for path in (tmp_path / name, tmp_path / name / "x"):
        assert read_corpus(path) == read_corpus(arguana)


def test_other_parts_of_the_arguana_deposit_are_left_alone(arguana, tmp_path):
    elsewhere = tmp_path / "all" / "01-other" / "training" / "t" / "d" / "pro"
    elsewhere.mkdir(parents=True)
    (elsewhere / "pro01a-point.txt").write_text("from another part")
    (tmp_path / "all" / "02-extracted-arguments").mkdir()
    shutil.copytree(arguana / "02-extracted-arguments", tmp_path / "all" / "02-extracted-arguments", dirs_exist_ok=True)
    assert read_corpus(tmp_path / "all").rows == read_corpus(arguana).rows


def test_the_tables_hold_the_same_whatever_the_format(tmp_path):
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(pair) + "\r\n" for pair in PAIRS) + "\n")
    with (tmp_path / "x.csv").open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, list(PAIRS[0]))
        writer.writeheader()
        writer.writerows(PAIRS)
    (tmp_path / "x.json").write_text(json.dumps(PAIRS))
    (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress((tmp_path / "x.jsonl").read_bytes()))
    (tmp_path / "UTF16.CSV").write_text((tmp_path / "x.csv").read_text("utf-8-sig"), encoding="utf-16")
    rows = read_corpus(tmp_path / "x.jsonl").rows
    for name in ("x.csv", "x.json", "x.jsonl.gz", "UTF16.CSV"):
        assert read_corpus(tmp_path / name).rows == rows, name
    assert [(split, vars(pair)) for split, pair in rows] == [
        (None, pair | {"seen": None, "negatives": None, "split": None, "same_id": None, "grade": None}) for pair in PAIRS
    ]


def test_a_directory_of_tables_names_the_splits_by_its_files(tmp_path):
    for split, pair in zip(("training", "test"), PAIRS, strict=True):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(pair))
    (tmp_path / "validation.csv").write_text("point,counter\np,c\nq,\n")
    rows = read_corpus(tmp_path).rows
    assert [(split, pair.id) for split, pair in rows] == [
        ("training", "a"),
        ("validation", "validation-2"),
        ("validation", "validation-3"),
        ("test", "b"),
    ]
    assert rows[2][1].counter is None  # a counterless point


def test_the_sample_is_read():
    assert len(read_corpus(ROOT / "data/sample").rows) == 240


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.jsonl", b"", "at least one pair"),
        ("x.csv", b"", "at least one pair"),
        ("x.csv", b"point,counter\n", "at least one pair"),
        ("x.csv", b"point,answer\na,b\n", "x.csv:1 must have counter; got point, answer"),
        ("x.csv", b"point,counter\na,b,c\n", "x.csv:2 must have as many cells as the header, 2"),
        ("x.csv", b"point,counter\na,b\nc\n", "x.csv:3 must have as many cells"),
        ("x.csv", b'point,counter\nc,d\n"a,b\n', "x.csv: the row that begins in line 3 must close the quotes"),
        ("x.csv", b"point,counter\na,b\n ,c\n", "x.csv:3: point must not be empty"),
        ("x.jsonl", b'\n\n{"point": "a"}', "x.jsonl:3 must have counter"),
        ("x.tsv", b"point,counter\na,b\n", "x.tsv:1 must have point"),
        ("x.csv", b"point,counter\na,\xe9\n", "x.csv must be UTF-8; got byte 0xe9"),
        ("x.jsonl", b'{"point": "\xff"}', "x.jsonl must be UTF-8; got byte 0xff"),
        ("x.jsonl", b'{"point": "a", "counter": "b\0"}', "must be text; got a NUL character"),
        ("x.jsonl", b'{"point": "a", "counter": "b"}\n{"point"', "x.jsonl:2 must be a JSON object"),
        ("x.jsonl", b"[1]", "x.jsonl:1 must be a JSON object; got '[1]'"),
        ("x.jsonl", b'{"point": "a"}', "x.jsonl:1 must have counter; got point"),
        ("x.jsonl", b'{"point": 1, "counter": "b"}', "x.jsonl:1: point must be a string; got 1"),
        ("x.csv", b'point,counter\n"a" b,c\n', "x.csv: the row that begins in line 2 must close the quotes"),
        ("x.jsonl", b'{"point": "a", "counter": "b", "split": "trial"}', "x.jsonl:1: split must be training, validation, test"),
        ("x.jsonl", '{"point": "\u200b", "counter": "b"}'.encode(), "x.jsonl:1: point must not be empty"),
        ("x.jsonl", b'{"point": "a", "counter": ["c", ["b"]]}', "x.jsonl:1: counter must be a string; got ['b']"),
        ("a\0b.csv", None, "cannot be a path: "),
        ("x.json", b'{"point": "a"}', 'x.json must be a JSON array of objects; got \'{"point": "a"}\''),
        ("x.json", b"[1]", "x.json: entry 1 must be an object; got '1'"),
        ("x.csv", b"\xff\xfea", "x.csv must be UTF-16, as its first bytes say; got byte 0x61 at 2 (truncated data)"),
        ("x.csv.gz", b"no gzip", "x.csv.gz must be a readable gzip"),
        ("x.jsonl", b'{"point":"a","counter":"b","id":"i"}\n{"point":"c","counter":"d","id":"i"}', "unique; got 'i' twice"),
        ("x.jsonl", b'{"point":"a","counter":"b","split":"test"}\n{"point":"c","counter":"d"}', "for all rows or for none"),
        ("x.jsonl", b'{"point": "a", "counter": "\\ud800"}', "x.jsonl:1: counter must be text that UTF-8 can hold"),
        ("x.jsonl", b'{"point": ' + b"1" * 5000 + b"}", "x.jsonl:1 must be a JSON object; Exceeds the limit"),
        ("x.jsonl", b"[" * 100_000, "x.jsonl:1 must be a JSON object; "),
        ("x.jsonl", b'{"point": "a", "counter": "b", "stance": "for"}', "x.jsonl:1: stance must be pro or con; got 'for'"),
        ("x.csv", b"point,counter,point\na,b,c\n", "x.csv:1 must name each column once; got 'point' twice"),
        ("x.zip", b"not a zip", "must be a readable zip"),
        ("x.xlsx", b"", "must be a directory or end in .zip, .jsonl, .csv, .tsv, .json, .parquet (or these with .gz)"),
    ],
)
def test_unusable_input_is_refused_with_file_and_line(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_corpus(tmp_path / name)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def rows_of(tmp_path, name, content, **columns):
    (tmp_path / name).write_text(content)
    return [(split, pair.id, pair.point, pair.counter) for split, pair in read_corpus(tmp_path / name, columns).rows]


def test_in_tsv_a_quote_is_a_character_unless_the_cell_begins_and_ends_with_one(tmp_path):
    lines = ["point\tcounter", '"open\tb', 'c\t20"', '"say ""no"""\t"d"', '"\te']
    assert rows_of(tmp_path, "x.tsv", "\r\n".join(lines)) == [
        (None, "row-2", '"open', "b"),
        (None, "row-3", "c", '20"'),
        (None, "row-4", 'say "no"', "d"),
        (None, "row-5", '"', "e"),
    ]


def test_other_names_of_columns_and_ignored_columns(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        rows = rows_of(tmp_path, "x.csv", "query,answer,year,point\na,b,1990,c\n", point="query", counter="answer")
    assert rows == [(None, "row-2", "a", "b")]
    assert re.search(r"x.csv: ignored columns: point, year$", caplog.text, re.M)


def test_a_list_of_counters_is_a_pair_each_and_numbers_may_name(tmp_path):
    rows = [
        {"id": 7, "point": "a", "counter": ["b", "c"], "debate": 3},
        {"point": "d", "counter": ["e"]},
        {"point": "f", "counter": []},
    ]
    text = "\n".join(map(json.dumps, rows))
    assert rows_of(tmp_path, "x.jsonl", text) == [
        (None, "7#1", "a", "b"), (None, "7#2", "a", "c"), (None, "row-2", "d", "e"), (None, "row-3", "f", None),
    ]  # fmt: skip
    assert read_corpus(tmp_path / "x.jsonl").rows[0][1].debate == "3"


def test_numbers_that_are_none_and_counters_that_are_empty(tmp_path):
    nan = float("nan")
    first = {"id": 1.0, "point": "a", "counter": ["x", " ", "y"], "debate": nan}
    text = "\n".join(map(json.dumps, (first, {"id": nan, "point": "b", "counter": ["z", "\u200b"]})))
    rows = rows_of(tmp_path, "x.jsonl", text)
    assert rows == [(None, "1#1", "a", "x"), (None, "1#2", "a", "y"), (None, "row-2", "b", "z")]
    assert read_corpus(tmp_path / "x.jsonl").rows[0][1].debate is None


def test_splits_by_their_usual_names_and_rows_without_ids(tmp_path, caplog):
    for name in ("train.CSV", "dev.csv", "Test.csv", "extra.csv"):
        (tmp_path / name).write_text("point,counter\na,b\n")
    with caplog.at_level(logging.INFO):
        rows = read_corpus(tmp_path).rows
    assert [(split, pair.id) for split, pair in rows] == [
        ("training", "training-2"), ("validation", "validation-2"), ("test", "test-2"),
    ]  # fmt: skip
    assert "ignored tables, whose names are no split: extra.csv" in caplog.text
    assert [row[0] for row in rows_of(tmp_path, "x.csv", "point,counter,split\na,b,train\nc,d,valid\ne,f,TEST\n")] == [
        "training", "validation", "test",
    ]  # fmt: skip


def test_placeholders_are_listed(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        rows_of(tmp_path, "x.csv", "point,counter\na,nan\nb,[deleted]\nc,NaN\nd,\u2026\n")
    assert "texts that look like placeholders: nan (1), [deleted] (1), NaN (1), \u2026 (1)" in caplog.text


def test_the_bytes_of_a_corpus_are_bounded_as_declared_and_as_read(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MAX_BYTES", 1000)
    says = r"must hold at most 1,000 bytes in all, a sixteenth of this machine's memory; it has [12],\d{3} or more"
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            archive.writestr(f"training/t/d/pro/pro0{i}a-point.txt", "p" * 400)
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        archive.extractall(tmp_path / "folder")
    (tmp_path / "x.csv").write_text("point,counter\n" + "a,b\n" * 300)
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress((tmp_path / "x.csv").read_bytes()))
    (tmp_path / "tables").mkdir()
    for split in ("training", "test"):
        (tmp_path / f"tables/{split}.csv").write_text("point,counter\n" + "a,b\n" * 150)
    for name in ("x.zip", "folder", "x.csv", "x.csv.gz", "tables"):
        with pytest.raises(InputError, match=says):
            read_corpus(tmp_path / name)


def test_a_zip_of_tables_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("training.csv", "point,counter")
    with pytest.raises(InputError, match=r"must hold 02-extracted-arguments \(points and counters of ArguAna\); found none"):
        read_corpus(tmp_path / "x.zip")


def test_two_tables_of_one_split_are_refused(tmp_path):
    for name in ("training.csv", "training.jsonl"):
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match=r"must hold one table a split; got training.csv, training.jsonl"):
        read_corpus(tmp_path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        read_corpus(tmp_path / ("x" * 300))


def test_a_missing_corpus_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        read_corpus(tmp_path / "nowhere")


def test_a_directory_of_nothing_known_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"must hold 02-extracted-arguments \(points and counters of ArguAna\), or training"):
        read_corpus(tmp_path)


@pytest.mark.parametrize("name", ["../x.txt", "/x.txt", "a/../../x.txt", "C:\\x.txt", "..\\x.txt"])
def test_a_zip_whose_names_lead_out_of_it_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("training/t/d/pro/pro01a-point.txt", "p")
        archive.writestr(name, "x")
    with pytest.raises(InputError, match="names in a zip must stay inside it"):
        read_corpus(tmp_path / "x.zip")


def test_a_damaged_zip_is_refused(arguana, tmp_path):
    data = bytearray(zipped(arguana, tmp_path / "x.zip").read_bytes())
    at = data.find(b"-point.txt") + 20
    data[at : at + 8] = b"\xff" * 8
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(InputError, match="must be a readable zip"):
        read_corpus(tmp_path / "x.zip")
    (tmp_path / "x.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="must be a readable zip"):
        read_corpus(tmp_path / "x.zip")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("training/t/d/pro/pro09b-counter.txt", b"x", "a counter needs its point; training/t/d/pro09"),
        ("training/t/d/pro/pro01a-point.txt", b" \n", "training/t/d/pro/pro01a-point.txt is empty"),
        ("training/t/d/pro/pro01a-point.txt", b"\xe9t\xe9", "pro01a-point.txt must be UTF-8; got byte 0xe9 at 0"),
        ("training/t/pro/pro01a-point.txt", b"x", "an argument must be <split>/<theme>/<debate>"),
        ("training/t/d/pro/con01a-point.txt", b"x", "an argument must be <split>/<theme>/<debate>"),
    ],
)
def test_an_arguana_file_that_cannot_be_used_is_refused(tmp_path, name, content, says):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_corpus(tmp_path)
    assert says in str(refused.value)


def test_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install -r requirements-parquet.txt")
    import pyarrow

    rows = [
        {"id": 1, "point": "a", "counter": ["b", "c"], "year": 1990},
        {"id": 2, "point": "d", "counter": None, "year": None},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")
    rows_read = [(pair.id, pair.point, pair.counter) for _, pair in read_corpus(tmp_path / "x.parquet").rows]
    assert rows_read == [("1#1", "a", "b"), ("1#2", "a", "c"), ("2", "d", None)]
    (tmp_path / "y.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(InputError, match=r"y.parquet must be a readable Parquet file; got: "):
        read_corpus(tmp_path / "y.parquet")
