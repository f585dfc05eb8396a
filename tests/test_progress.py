import io
import json
import logging
import sys
import time

import pytest

from counterpoint.training.state import NO_STEP, Progress, State

ROW = {"epoch": 0, "random_rate": 1.0, "loss": 0.5, "validation_top1": 0.25, "selection_score": 0.125}


def step(number, epoch=0):
    return {"step": number, "epoch": epoch, "loss": 0.5}


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands where the test puts it."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def read(folder, name):
    return next(iter(json.loads((folder / f"{name}.json").read_text()).values()))


def test_both_series_are_valid_before_the_first_row(tmp_path):
    (tmp_path / "history.json").write_text("of another run")
    progress = Progress(tmp_path, 3, 4)
    assert (tmp_path / "history.json").read_text() == "of another run"
    progress.epoch(State())
    assert (read(tmp_path, "history"), read(tmp_path, "steps")) == ([], [NO_STEP])


def test_rows_are_written_as_they_come(tmp_path, clock):
    tell, state = Progress(tmp_path, 3, 4), State()
    for number in range(1, 4):
        clock[0] += 0.6
        state.steps.append(step(number))
        tell.step(state)
    assert read(tmp_path, "steps") == state.steps[:2]  # at most once a second within an epoch
    state.epochs.append(ROW)
    tell.epoch(state)
    assert read(tmp_path, "steps") == state.steps
    assert read(tmp_path, "history") == [ROW]


def test_an_epoch_is_a_line_with_the_time_left(tmp_path, clock, caplog):
    caplog.set_level(logging.INFO)
    tell, state = Progress(tmp_path, 3, 4), State()
    for epoch, seconds in enumerate((120, 60, 60)):
        state.steps.append(step(4 * (epoch + 1), epoch))
        tell.step(state)
        clock[0] += seconds
        state.epochs.append(ROW | {"epoch": epoch})
        tell.epoch(state)
    assert [record.message for record in caplog.records] == [
        "epoch 1/3, rate 1.000, loss 0.5000, validation top1 0.250, selection score 0.125, 4.0 min left",
        "epoch 2/3, rate 1.000, loss 0.5000, validation top1 0.250, selection score 0.125, 1.0 min left",
        "epoch 3/3, rate 1.000, loss 0.5000, validation top1 0.250, selection score 0.125",
    ]


def test_restored_rows_have_no_time_left(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    Progress(tmp_path, 3, 4).epoch(State(epochs=[ROW]))
    assert caplog.messages == ["epoch 1/3, rate 1.000, loss 0.5000, validation top1 0.250, selection score 0.125"]


def test_the_untrained_model_has_its_line(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    Progress(tmp_path, 0, 4).epoch(State(epochs=[ROW | {"loss": None}]))
    assert caplog.messages == ["untrained, rate 1.000, validation top1 0.250, selection score 0.125"]


def test_a_bar_is_drawn_at_a_terminal(tmp_path, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    tell = Progress(tmp_path, 1, 4)
    tell.step(State(steps=[step(3)]))
    assert "epoch 1/1" in terminal.getvalue()
    assert "3/4" in terminal.getvalue()
    assert "loss=0.500" in terminal.getvalue()
    tell.epoch(State(steps=[step(4)], epochs=[ROW]))
