import io
import json
import logging
import sys

import pytest

from counterpoint import progress
from counterpoint.progress import Progress
from counterpoint.run import Run

ROW = {"epoch": 0, "random_rate": 1.0, "loss": 0.5, "validation_top1": 0.25}


def step(number, epoch=0):
    return {"step": number, "epoch": epoch, "loss": 0.5}


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands where the test puts it."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def read(folder, name):
    return next(iter(json.loads((folder / f"{name}.json").read_text()).values()))


def test_both_series_are_valid_before_the_first_row(tmp_path):
    Progress(tmp_path, 3, 4)
    assert read(tmp_path, "history") == read(tmp_path, "steps") == []


def test_rows_are_written_as_they_come(tmp_path, clock):
    tell, run = Progress(tmp_path, 3, 4), Run()
    for number in range(1, 4):
        clock[0] += 0.6
        run.steps.append(step(number))
        tell(run, False)
    assert read(tmp_path, "steps") == run.steps[:2]  # at most once a second within an epoch
    run.epochs.append(ROW)
    tell(run, True)
    assert read(tmp_path, "steps") == run.steps
    assert read(tmp_path, "history") == [ROW]


def test_an_epoch_is_a_line_with_the_time_left(tmp_path, clock, caplog):
    caplog.set_level(logging.INFO)
    tell, run = Progress(tmp_path, 3, 4), Run()
    for epoch, seconds in enumerate((120, 60, 60)):
        run.steps.append(step(4 * (epoch + 1), epoch))
        tell(run, False)
        clock[0] += seconds
        run.epochs.append(ROW | {"epoch": epoch})
        tell(run, True)
    assert [record.message for record in caplog.records] == [
        "epoch 1/3, rate 1.000, loss 0.5000, validation top1 0.250, 4.0 min left",
        "epoch 2/3, rate 1.000, loss 0.5000, validation top1 0.250, 1.0 min left",
        "epoch 3/3, rate 1.000, loss 0.5000, validation top1 0.250",
    ]


def test_restored_rows_say_nothing_of_time(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    Progress(tmp_path, 3, 4)(Run(epochs=[ROW]), True)
    assert caplog.messages == ["epoch 1/3, rate 1.000, loss 0.5000, validation top1 0.250"]


def test_the_untrained_model_has_its_line(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    Progress(tmp_path, 0, 4)(Run(epochs=[ROW | {"loss": None}]), True)
    assert caplog.messages == ["untrained, rate 1.000, validation top1 0.250"]


def test_a_bar_is_drawn_for_who_watches(tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    tell = Progress(tmp_path, 1, 4)
    tell(Run(steps=[step(3)]), False)
    assert "epoch 1/1" in terminal.getvalue()
    assert "3/4" in terminal.getvalue()
    assert "loss=0.500" in terminal.getvalue()
    tell(Run(steps=[step(4)], epochs=[ROW]), True)
