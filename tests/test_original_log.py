"""Logs in the format of the original research code, written here."""

import json
import re
import sys

import pytest

from conftest import ROOT
from counterpoint.core import process
from counterpoint.core.errors import InputError

sys.path.insert(0, str(ROOT / "tools"))

import import_log
from import_log import picture, read_log

from counterpoint.experiments.report_figures import FAULTY

TOP1 = {"训练": 0.26, "验证": 0.2, "测试": 0.1}


def accuracies(epoch):
    return [f"{split}集top1 accuracy为{round(value + epoch / 100, 4)}" for split, value in TOP1.items()]


def batches(epoch, numbers=(10, 20, 30)):
    return [f"当前第{number}个mini batch，当前loss为{2.5 - epoch / 2 + number / 100}" for number in numbers]


def begin(epoch):
    return f"开始第{epoch}个epoch的训练"


def epoch(number):
    return [begin(number), *batches(number), "正在计算embedding", *accuracies(number)]


@pytest.fixture
def write(tmp_path):
    def write(*lines, end="\n"):
        path = tmp_path / "old.log"
        path.write_bytes(("\n".join(lines) + end).encode())
        return path

    return write


def test_a_whole_log(write):
    epochs, steps = read_log(write("GPU: Tesla", *epoch(0), *epoch(1), "最佳验证集top1 accuracy为0.21"))
    assert [(row["epoch"], row["training_top1"], row["validation_top1"], row["test_top1"]) for row in epochs] == [
        (0, 0.26, 0.2, 0.1),
        (1, 0.27, 0.21, 0.11),
    ]
    assert [row["loss"] for row in epochs] == pytest.approx([2.7, 2.2])  # means of 2.6 2.7 2.8 and 2.1 2.2 2.3
    assert [(row["step"], row["epoch"]) for row in steps] == [(10, 0), (20, 0), (30, 0), (40, 1), (50, 1), (60, 1)]
    assert [row["loss"] for row in steps] == pytest.approx([2.6, 2.7, 2.8, 2.1, 2.2, 2.3])


def test_rows_have_the_keys_of_a_run_of_this_project(write):
    from pathlib import Path

    import counterpoint

    root = Path(counterpoint.__file__).parents[2]
    columns = json.loads((root / "plots/series/history.json").read_text())["epochs"][0]
    (row,), _ = read_log(write(*epoch(0)))
    assert set(row) == set(columns) - {"selection_score", "kept_share", "distill_loss"}


def test_batches_that_are_numbered_through(write):
    _, steps = read_log(write(begin(0), *batches(0), begin(1), *batches(1, (40, 50))))
    assert [row["step"] for row in steps] == [10, 20, 30, 40, 50]


def test_batches_that_are_numbered_from_nought(write):
    _, steps = read_log(write(begin(0), *batches(0, (0, 10)), begin(1), *batches(1, (0, 10))))
    assert [row["step"] for row in steps] == [0, 10, 11, 21]


def test_lines_of_a_logger_and_in_any_order(write):
    """Accuracies in the middle of the batches, prefixes, an ASCII comma, words after the number."""
    one, two, three = accuracies(0)
    lines = [
        f"[INFO] {begin(0)}",
        batches(0)[0].replace("，", ","),
        f"2021-03-01 10:00:00 - {two}",
        batches(0)[1],
        f"{one}，保存模型",
    ]
    (row,), steps = read_log(write(*lines, three))
    assert (row["training_top1"], row["validation_top1"], row["test_top1"]) == (0.26, 0.2, 0.1)
    assert len(steps) == 2


def test_scored_before_the_training_of_an_epoch(write):
    lines = [*accuracies(0), begin(0), *batches(0), *accuracies(1), begin(1), *batches(1), *accuracies(2)]
    epochs, _ = read_log(write(*lines))
    assert [(row["epoch"], row["training_top1"], row["loss"]) for row in epochs] == [
        (0, 0.26, pytest.approx(2.7)),
        (1, 0.27, pytest.approx(2.2)),
        (2, 0.28, None),
    ]


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_log_that_ends_anywhere_gives_what_it_holds(write, cut):
    """Cut within a letter, a number or a line: whole lines count, half of one never does."""
    path = write(*epoch(0), *epoch(1))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    held = whole[:-cut].decode(errors="ignore").rpartition("\n")[0]
    epochs, steps = read_log(path)
    assert len(steps) == held.count("mini batch") == 6
    assert sum(
        row[f"{split}_top1"] is not None for row in epochs for split in ("training", "validation", "test")
    ) == held.count("top1")
    assert epochs[1]["test_top1"] is None


def test_a_log_whose_beginning_is_lost(write):
    epochs, steps = read_log(write(*batches(56, (400, 410)), *accuracies(56), *epoch(57)))
    assert [(row["epoch"], row["training_top1"]) for row in epochs] == [(56, 0.82), (57, 0.83)]
    assert [row["epoch"] for row in steps] == [56, 56, 57, 57, 57]


def test_a_loss_that_is_no_number_is_a_gap(write):
    (row,), steps = read_log(write(begin(0), "当前第10个mini batch，当前loss为nan", "当前第20个mini batch，当前loss为1e-3"))
    assert [step["loss"] for step in steps] == [None, 0.001]
    assert row["loss"] is None


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            ["hello", "world"],
            "must be a log of the original research code, with lines like 训练集top1",
        ),
        ([""], "must be a log of the original research code"),
        ([begin(0), begin(1)], "must be a log of the original research code"),
        ([*epoch(0), *epoch(0)], "line 9: a log must be of one run, in order; got the beginning of epoch 0 after epoch 0"),
        ([*epoch(0), *epoch(2)], "got the beginning of epoch 2 after epoch 0"),
        (
            [begin(0), *batches(0), *batches(0)],
            "line 5: a log must be of one run, in order; got batch 10 after batch 30",
        ),
        (
            [begin(0), *accuracies(0), *accuracies(0)],
            "line 5: a log must be of one run, in order; got a second training",
        ),
        ([*batches(3), *epoch(0)], "line 1: a log must be of one run, in order; got a batch before the beginning of epoch 0"),
        ([begin(0), "训练集top1 accuracy为nan"], "line 2: an accuracy must be from 0 to 1; got nan"),
        ([begin(0), "训练集top1 accuracy为26"], "line 2: an accuracy must be from 0 to 1; got 26"),
        ([begin(0), "训练集top1 accuracy为"], "line 2: 训练集top1 accuracy为 must be followed by a number; got ''"),
        ([begin(0), "训练集top1 accuracy为0.2当前第10"], "must be followed by a number; got '0.2当前第10'"),
    ],
)
def test_what_is_no_such_log_is_a_clear_error(write, lines, says):
    path = write(*lines)
    with pytest.raises(InputError, match=re.escape(says)) as refused:
        read_log(path)
    assert str(refused.value).startswith(str(path))


def test_two_runs_at_once_in_one_file(write):
    pairs = zip(epoch(0), epoch(0), strict=True)
    with pytest.raises(InputError, match="a log must be of one run"):
        read_log(write(*(line for pair in pairs for line in pair)))


def test_bytes_that_are_no_utf8(tmp_path):
    path = tmp_path / "old.log"
    path.write_bytes(begin(0).encode("gbk") + b"\n")
    with pytest.raises(InputError, match=r"old.log must be UTF-8; got the byte 0x\w\w at 0"):
        read_log(path)
    with pytest.raises(InputError, match="must be a log; it cannot be read: No such file"):
        read_log(tmp_path / "none.log")


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["import_log.py", *map(str, words)])
    process.run(import_log.main)


def test_the_command_writes_series_and_a_picture(write, tmp_path, monkeypatch):
    lines = [line for number in range(200) for line in (*epoch(number), *(["其他"] * 30))]
    log = write(*(line.replace("为2.2", "为0.5") for line in lines))
    log = log.rename(tmp_path / "run.txt")
    log.write_text(re.sub(r"accuracy为\S+", "accuracy为0.5", log.read_text()))
    run(monkeypatch, log, "--out", tmp_path / "out")
    folder = tmp_path / "out" / "run"
    assert len(json.loads((folder / "history.json").read_text())["epochs"]) == 200
    assert len(json.loads((folder / "steps.json").read_text())["steps"]) == 600
    assert (folder / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_one_wrong_log_and_nothing_is_written(write, tmp_path, monkeypatch, capsys):
    good = write(*epoch(0)).rename(tmp_path / "good.log")
    bad = write("hello")
    for words, says in (
        ((good, bad), f"error: {bad} must be a log of the original research code"),
        ((good, tmp_path / "sub" / "good.txt"), "error: logs must have different names"),
    ):
        with pytest.raises(SystemExit):
            run(monkeypatch, *words, "--out", tmp_path / "out")
        assert capsys.readouterr().err.startswith(says)
    assert not (tmp_path / "out").exists()


def test_an_imported_log_is_marked():
    epochs = [{"epoch": 0, "training_top1": 0.5, "validation_top1": 0.25, "test_top1": None}]
    figure = picture(epochs, [{"step": 10, "loss": 2.0}, {"step": 20, "loss": 1.0}], "old")
    top, below = figure.axes
    assert {line.get_label(): list(line.get_ydata()) for line in top.lines} == {
        "training": [0.5],
        "validation": [0.25],
        "test": [],
    }
    assert list(below.lines[0].get_ydata()) == [2.0, 1.0]
    assert FAULTY in figure.get_suptitle()


@pytest.mark.parametrize("name", ["run", "a very long name of a log " * 9, "x" * 200])
def test_a_title_stays_in_its_picture(name):
    figure = picture([{"epoch": 0, "training_top1": 0.1, "validation_top1": 0.2, "test_top1": 0.3}], [], name)
    figure.draw_without_rendering()
    box = figure.get_suptitle() and figure._suptitle.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
