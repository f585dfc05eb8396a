import errno
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import ROOT
from counterpoint.arguments.pairs import Pair, read_pairs, write_pairs
from counterpoint.arguments.text import text_key
from counterpoint.core.files import replacing, replacing_directory, write_json, write_series, write_text
from counterpoint.core.locks import hold


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


def test_duplicates_differ_only_in_white_space_and_case():
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


def test_a_file_is_kept_where_the_work_fails(tmp_path):
    write_text(tmp_path / "x", "old")

    def fail():
        with replacing(tmp_path / "x") as unfinished:
            unfinished.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x", "old")]


def contents(folder):
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_a_directory_is_replaced_whole(tmp_path):
    for files in ({"a": "1", "deep/b": "2"}, {"c": "3"}):
        with replacing_directory(tmp_path / "models") as unfinished:
            assert list(unfinished.iterdir()) == []
            for name, text in files.items():
                write_text(unfinished / name, text)
            assert not (tmp_path / "models" / "c").exists()
        assert contents(tmp_path) == {f"models/{name}": text for name, text in files.items()}


@pytest.mark.parametrize("before", [{}, {"models/a": "old"}])
def test_an_error_leaves_a_directory_as_it_was(tmp_path, before):
    for name, text in before.items():
        write_text(tmp_path / name, text)

    def fail():
        with replacing_directory(tmp_path / "models") as unfinished:
            write_text(unfinished / "a", "half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "models").exists() == bool(before)
    assert contents(tmp_path / "models") == {name.removeprefix("models/"): text for name, text in before.items()}
    with replacing_directory(tmp_path / "models") as unfinished:
        assert list(unfinished.iterdir()) == []  # nothing of the failed work is left
        write_text(unfinished / "b", "new")
    assert contents(tmp_path) == {"models/b": "new"}


def test_an_error_names_the_path_that_was_to_be_replaced(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    for replaced, name in ((replacing, "x.json"), (replacing_directory, "models")):
        with pytest.raises(OSError, match="No space left") as refused, replaced(tmp_path / name):
            raise full
        assert refused.value.filename == str(tmp_path / name)


def test_an_error_of_safetensors_becomes_an_os_error_that_names_the_path(tmp_path):
    def read_torn(folder):
        save_file({"w": torch.ones(2)}, folder / "w.safetensors")
        (folder / "w.safetensors").write_bytes((folder / "w.safetensors").read_bytes()[:9])
        load_file(folder / "w.safetensors")

    with pytest.raises(OSError, match="header") as refused, replacing_directory(tmp_path / "models") as unfinished:
        read_torn(unfinished)
    assert (refused.value.errno, refused.value.filename) == (errno.EIO, str(tmp_path / "models"))
    assert not (tmp_path / "models").exists()


def test_writers_have_names_of_their_own_and_what_dead_ones_left_goes(tmp_path):
    """Another process that lives may write the same file; of one that was killed nothing stays."""
    host = re.sub(r"\W", "-", platform.node())
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    ).stdout.strip()
    left = {name: tmp_path / f".x.{host}.{name}.unfinished" for name in (dead, "1")}
    elsewhere = tmp_path / ".x.another-host.7.unfinished"
    for file in (*left.values(), elsewhere):
        file.write_text("half")
    with replacing(tmp_path / "x") as unfinished:
        assert str(os.getpid()) in unfinished.name
        unfinished.write_text("whole")
    assert (tmp_path / "x").read_text() == "whole"
    assert {file.name for file in tmp_path.iterdir()} == {"x", left["1"].name, elsewhere.name}


def test_two_writers_of_one_file_leave_one_of_them_whole(tmp_path):
    texts = [str(number) * 200_000 for number in range(4)]
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from counterpoint.core.files import write_text"
    )
    code += "; [write_text(Path(sys.argv[2]), sys.argv[3] * 200_000) for _ in range(30)]"
    words = [sys.executable, "-c", code, str(ROOT / "src"), str(tmp_path / "x")]
    writers = [subprocess.Popen([*words, str(number)], stderr=subprocess.PIPE) for number in range(4)]
    while any(writer.poll() is None for writer in writers):
        if (tmp_path / "x").exists():
            assert (tmp_path / "x").read_text() in texts
    for writer in writers:
        assert writer.communicate()[1] == b""
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


def test_a_lock_is_on_a_file_open_for_writing_and_goes_with_its_holder(tmp_path):
    """NFS gives no other lock."""
    lock = hold(tmp_path / "lock")
    places = {fd: os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()}
    (number,) = (fd.name for fd, place in places.items() if place == str(tmp_path / "lock"))
    flags = int(re.search(r"flags:\s+(\d+)", Path(f"/proc/self/fdinfo/{number}").read_text())[1], 8)
    assert flags & os.O_ACCMODE == os.O_RDWR
    assert hold(tmp_path / "lock") is None
    lock.release()
    again = hold(tmp_path / "lock")
    assert again is not None
    again.release()
