"""The figures of reports hold the numbers that they are given."""

import pytest

from counterpoint.experiments.report_figures import FAULTY, accuracy_by_arm, accuracy_by_epoch, over_time
from counterpoint.experiments.seed_averages import Arm, SeedRun, spread

NONE, SLOW, NEVER = Arm("none", False), Arm("0.1", False), Arm("never random", True)
SERIES = ("unseen_test_top1", "mined_share", "hardness", "false_share")


def runs(*seeds):
    """A run for each seed, whose history has the same value in every column."""
    keys = ("validation_top1", "test_top1", *SERIES)
    histories = ([{"epoch": epoch} | dict.fromkeys(keys, value) for epoch, value in enumerate(values)] for values in seeds)
    return {seed: SeedRun("", seed, [], {}, 0, history, None) for seed, history in enumerate(histories)}


def lines(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines if not line.get_label().startswith("_")}


def test_a_dot_a_seed_and_a_bar_for_their_mean():
    rows = [
        {"decay": "none", "stage": "retrieved", "seeds": [1, 2], "test_epa": spread([0.2, 0.4])},
        {"decay": "0.1", "stage": "retrieved", "seeds": [2], "test_epa": spread([0.6])},
    ]
    figure = accuracy_by_arm(rows, {"test_epa": "test split"}, "tiny")
    (axes,) = figure.axes
    assert figure.get_suptitle().startswith("Accuracy by arm")
    assert (axes.get_title(), axes.get_xlabel()) == ("test split", "arm")
    dots = {
        round(float(line.get_ydata()[0]), 6): float(line.get_xdata()[0]) for line in axes.lines if len(line.get_ydata()) == 1
    }
    assert {value: round(place) for value, place in dots.items()} == {0.2: 0, 0.4: 0, 0.6: 1}
    assert [list(line.get_ydata()) for line in axes.lines if len(line.get_ydata()) == 2] == [
        pytest.approx([0.3, 0.3]),
        [0.6, 0.6],
    ]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["none", "0.1"]


def test_shares_that_differ_little_have_ticks_that_differ():
    panels = {"validation_top1": "validation", "test_top1": "test"}
    figure = accuracy_by_epoch({NONE: runs((0.582, 0.604)), SLOW: runs((0.0, 1.0))}, panels, {}, "tiny")
    figure.axes[1].set_ylim(0.0, 0.004)
    figure.axes[0].set_ylim(0.575, 0.605)
    for axes, some in zip(figure.axes, ({"58%", "59.5%"}, {"0%", "0.05%"}), strict=True):
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert len(set(labels)) == len(labels)
        assert some <= set(labels)


def test_a_line_an_arm_is_the_mean_over_its_seeds():
    groups = {NONE: runs((0.1, 0.3), (0.3, 0.5)), SLOW: runs((0.2, 0.9)), NEVER: runs((0.4, None))}
    logs = {"old": [{"epoch": 0, "validation_top1": 0.9, "test_top1": None}]}
    panels = {"validation_top1": "validation", "test_top1": "test"}
    for axes, old in zip(accuracy_by_epoch(groups, panels, logs, "tiny").axes, ([0.9], []), strict=True):
        drawn = lines(axes)
        assert drawn.pop(f"old ({FAULTY})") == old
        assert drawn == {"no decay": pytest.approx([0.2, 0.4]), "decay 0.1": [0.2, 0.9], "never random": [0.4]}
    assert accuracy_by_epoch(groups, panels, logs, "tiny").get_suptitle().startswith("Accuracy by epoch and arm")
    figure = over_time(groups, {"0.1": (0.1, 0.3)}, "tiny")
    assert [lines(axes)["decay 0.1"] for axes in figure.axes] == [[0.2, 0.9]] * 4
    for rows in (row for by_seed in groups.values() for run in by_seed.values() for row in run.history):
        del rows["mined_share"], rows["false_share"]  # as where a sweep has no files of its runs
    assert [axes.get_ylabel() for axes in over_time(groups, {}, "tiny").axes] == ["unseen test top1", "hardness"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["no decay", "decay 0.1", "never random"]
