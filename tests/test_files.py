import json

import pytest

from counterpoint.arguments.pairs import Pair, read_pairs, write_pairs
from counterpoint.arguments.text import text_key
from counterpoint.core.files import write_json, write_series, write_text


def test_pairs_come_back_as_they_were_written(tmp_path):
    pairs = [
        Pair("1", "t", "d", "pro", "A point\u2028with odd\nlines", "Ein Gegenargument: äöü", "none", ((0, 3), (1, 2))),
        Pair("2", None, None, None, "point", None),
    ]
    write_pairs(tmp_path / "x.jsonl", pairs)
    assert read_pairs(tmp_path / "x.jsonl") == pairs
    assert len((tmp_path / "x.jsonl").read_bytes().splitlines()) == 2
    first, second = (tmp_path / "x.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
    assert json.loads(first)["negatives"] == [[0, 3], [1, 2]]
    assert "negatives" not in json.loads(second)


def test_twins_are_equal_but_for_white_space_and_case():
    assert text_key(" A  point\n\nIt is ") == text_key("a point it is")
    assert text_key("a point.") != text_key("a point")


def test_nan_is_refused_and_the_old_file_stays(tmp_path):
    write_json(tmp_path / "x.json", {"a": 1 / 3, "b": [None, True, 2]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 0.333333, "b": [None, True, 2]}


def test_a_series_is_one_list_under_one_key(tmp_path):
    write_series(tmp_path / "x.json", "epochs", [])
    assert json.loads((tmp_path / "x.json").read_text()) == {"epochs": []}
    write_series(tmp_path / "x.json", "epochs", [{"epoch": 0, "loss": None}, {"epoch": 1, "loss": 0.5}])
    assert json.loads((tmp_path / "x.json").read_text())["epochs"][1] == {"epoch": 1, "loss": 0.5}


def test_a_file_is_replaced_whole(tmp_path):
    write_text(tmp_path / "deep" / "x", "old")
    write_text(tmp_path / "deep" / "x", "new")
    assert [(file.name, file.read_text()) for file in (tmp_path / "deep").iterdir()] == [("x", "new")]
