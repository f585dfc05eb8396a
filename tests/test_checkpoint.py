import logging
import os
import shutil
import time
import zlib
from types import SimpleNamespace

import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.group import Group
from counterpoint.training.checkpoint import Checkpoint, fingerprint

CPU = torch.device("cpu")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Return a function that opens a checkpoint as another process would: earlier ones are released."""
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path))
    checkpoints = []

    def make(name="abc", days=30):
        for before in checkpoints:
            before.release()
        monkeypatch.setenv("CHECKPOINT_DAYS", str(days))
        checkpoints.append(Checkpoint.open(name))
        return checkpoints[-1]

    yield make
    for checkpoint in checkpoints:
        checkpoint.release()


def state(tmp_path, name="abc"):
    (file,) = (tmp_path / name).glob("state-*.pt")
    return file


def test_a_state_comes_back_and_goes_when_removed(made, tmp_path):
    assert made().load(CPU) is None
    made().save(1, {"weights": {"w": torch.arange(3)}, "epochs": [{"loss": None, "epoch": 0}]})
    loaded = made().load(CPU)
    assert torch.equal(loaded["weights"]["w"], torch.arange(3))
    assert loaded["epochs"] == [{"loss": None, "epoch": 0}]
    made().save(2, {"epochs": []})
    assert state(tmp_path).name.startswith("state-00002-")
    made().remove()
    assert list(tmp_path.iterdir()) == []


def test_a_kill_between_renaming_and_removing_leaves_the_later_one(made, tmp_path):
    made().save(9, {"epoch": 9})
    before = state(tmp_path).read_bytes(), state(tmp_path).name
    made().save(10, {"epoch": 10})
    (tmp_path / "abc" / before[1]).write_bytes(before[0])
    (tmp_path / "abc" / ".state-00011-01234567.pt.unfinished").write_bytes(b"half")
    assert made().load(CPU) == {"epoch": 10, "parts": {}}


def test_parts_are_written_once_and_come_back_with_every_later_state(made, tmp_path):
    checkpoint = made()
    draws = {f"draw-{epoch:05}": {"ids": torch.full((3,), epoch)} for epoch in range(4)}
    written = {}
    for epochs in (1, 2, 3):
        checkpoint.save(epochs, {"epoch": epochs}, dict(list(draws.items())[:epochs]))
        files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "abc").glob("draw-*")}
        assert len(files) == epochs
        assert written.items() <= files.items()
        written = files
    again = made()
    loaded = again.load(CPU)
    assert loaded["epoch"] == 3
    assert [int(part["ids"][0]) for part in loaded["parts"].values()] == [0, 1, 2]
    again.save(4, {"epoch": 4}, draws)
    assert list(made().load(CPU)["parts"]) == list(draws)
    assert len(list((tmp_path / "abc").iterdir())) == 5
    del draws["draw-00001"]  # no longer wanted
    checkpoint = made()
    checkpoint.load(CPU)
    checkpoint.save(5, {"epoch": 5}, draws)
    assert list(made().load(CPU)["parts"]) == list(draws)
    assert sorted(file.name[:10] for file in (tmp_path / "abc").glob("draw-*")) == ["draw-00000", "draw-00002", "draw-00003"]


def test_another_number_of_processes_starts_anew_with_a_line(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path))
    one = Checkpoint.open("abc", computed_by="1 CPU threads, fp32")
    one.save(1, {"epoch": 1})
    one.release()
    with caplog.at_level(logging.INFO):
        two = Checkpoint.open("abc", computed_by="2 processes of 1 CPU threads, fp32 each")
    says = (
        "this run has a checkpoint, computed by 1 CPU threads, fp32; by 2 processes of 1 CPU threads, fp32 each it starts anew"
    )
    assert caplog.messages == [says]
    assert two.load(CPU) is None
    two.release()
    again = Checkpoint.open("abc", computed_by="1 CPU threads, fp32")
    assert again.load(CPU)["epoch"] == 1
    again.release()
    assert caplog.messages == [says]


def test_a_state_is_ignored_where_a_part_is_torn_or_gone(made, tmp_path, caplog):
    made().save(1, {"epoch": 1}, {"draw-00000": {"ids": torch.arange(100)}})
    (part,) = (tmp_path / "abc").glob("draw-*")
    data = part.read_bytes()
    for tear in (lambda: part.write_bytes(flip(data)), part.unlink):
        tear()
        with caplog.at_level(logging.WARNING):
            assert made().load(CPU) is None
    assert caplog.text.count("is ignored: the crc32 of draw-00000-") == 1
    assert caplog.text.count("No such file") == 1
    again = made()
    again.save(1, {"epoch": 1}, {"draw-00000": {"ids": torch.arange(100)}})
    assert made().load(CPU)["epoch"] == 1


def cut(data):
    return data[: len(data) // 2]


def flip(data):
    at = len(data) // 2  # torch would not notice
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("tear", [cut, flip, lambda data: b"", lambda data: b"torn"])
def test_a_torn_state_is_ignored_with_a_line_and_an_older_one_is_loaded(made, tmp_path, caplog, tear):
    made().save(1, {"a": torch.zeros(1000)})
    older = state(tmp_path)
    data = older.read_bytes()
    made().save(2, {"a": torch.ones(1000)})
    state(tmp_path).write_bytes(tear(state(tmp_path).read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert made().load(CPU) is None
    assert caplog.text.count("is ignored: the crc32 of state-00002-") == 1
    older.write_bytes(data)
    assert torch.equal(made().load(CPU)["a"], torch.zeros(1000))


def test_a_state_of_another_run_is_ignored_with_a_line(made, tmp_path, caplog):
    made("other").save(1, {"a": 1})
    made("abc")
    shutil.copy(state(tmp_path, "other"), tmp_path / "abc")
    with caplog.at_level(logging.WARNING):
        assert made("abc").load(CPU) is None
    assert "is ignored: it belongs to run other" in caplog.text


def test_code_in_a_checkpoint_is_not_run(made, tmp_path):
    class Bad:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    made()
    torch.save({"fingerprint": "abc", "content": Bad()}, tmp_path / "abc" / "bad.pt")
    crc = zlib.crc32((tmp_path / "abc" / "bad.pt").read_bytes())
    (tmp_path / "abc" / "bad.pt").rename(tmp_path / "abc" / f"state-00001-{crc:08x}.pt")
    assert made().load(CPU) is None
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_that_another_run_holds_is_left_alone(made, tmp_path, caplog):
    first = made(days=0)
    first.save(1, {"a": 1})
    with caplog.at_level(logging.WARNING):
        second = Checkpoint.open("abc")
    assert "is in use by another run; this one keeps none" in caplog.text
    assert second.load(CPU) is None
    second.save(2, {"a": 2})
    second.remove()
    assert first.load(CPU) == {"a": 1, "parts": {}}


def names(folder):
    return {path.name for path in folder.iterdir() if path.is_dir()}


def aged(folder, days):
    """Set the age of runs' states, in days."""
    for name, age in days.items():
        os.utime(folder / name, (time.time() - age * 86_400,) * 2)


def of_runs(made, days):
    for name in days:
        made(name).save(1, {"a": 1})
    made().release()


def test_the_states_of_killed_runs_stay_however_many_until_they_are_old(made, tmp_path):
    days = {f"killed {i}": i for i in range(18)} | {"old": 29.9, "older": 30.1, "held": 40}
    of_runs(made, days)
    held = Checkpoint.open("held")
    aged(tmp_path, days)
    made()
    assert names(tmp_path) == {"abc", *days} - {"older"}  # a run holds the oldest
    held.release()
    made(days=0)
    assert names(tmp_path) == {"abc"}


def test_where_the_disk_is_nearly_full_the_oldest_go_with_a_line_but_none_that_is_held(made, tmp_path, monkeypatch, caplog):
    days = {"new": 1, "old": 2, "oldest": 3, "held": 4}
    of_runs(made, days)
    held = Checkpoint.open("held")
    aged(tmp_path, days)
    free = iter([4e9, 4e9, 6e9])  # as directories go
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=next(free, 6e9)))
    with caplog.at_level(logging.INFO):
        made()
    assert names(tmp_path) == {"abc", "new", "old", "held"}
    assert caplog.messages == [f"{tmp_path}: less than 5 GB are free, so the states of an interrupted run go: oldest"]
    held.release()


def test_the_fingerprint_changes_with_facts_and_code(tmp_path, monkeypatch):
    (tmp_path / "noun_for_this_test.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import noun_for_this_test  # noqa: F401

    first = fingerprint(tmp_path, {"decay": 0.1, "seed": 1})
    assert first == fingerprint(tmp_path, {"seed": 1, "decay": 0.1})
    assert first != fingerprint(tmp_path, {"decay": 0.2, "seed": 1})
    (tmp_path / "noun_for_this_test.py").write_text("x = 2\n")
    assert first != fingerprint(tmp_path, {"decay": 0.1, "seed": 1})


def test_the_main_process_alone_keeps_states(tmp_path, monkeypatch):
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    checkpoint = Checkpoint.open("abc", Group(rank=1, size=2))
    checkpoint.save(1, {"epoch": 1})
    checkpoint.remove()
    assert not (tmp_path / "checkpoints").exists()


def test_checkpoint_days_must_be_a_number(tmp_path, monkeypatch):
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("CHECKPOINT_DAYS", "a month")
    with pytest.raises(InputError, match=r"^CHECKPOINT_DAYS must be a number of at least 0; got 'a month'$"):
        Checkpoint.open("abc")
    assert not (tmp_path / "checkpoints").exists()
