import io

import numpy as np
import pytest
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg

from conftest import fixture_params
from counterpoint.core.params import parse_params
from counterpoint.plots import figures, page
from plot import zero_shot

HISTORY = [
    {
        "epoch": epoch, "random_rate": 1 - epoch / 10, "random_share": 1 - epoch / 10, "same_debate_share": epoch / 20,
        "filtered_share": 0.0, "point_share": 0.5, "hardness": -0.3 + epoch / 50, "loss": 2 - epoch / 10,
        "triplet_loss": 1 - epoch / 20,
        "pair_loss": 1 - epoch / 20, "training_top1": epoch / 10, "validation_top1": 0.5, "test_top1": 0.4,
        "selection_score": 0.5,
    }
    for epoch in range(5)
]  # fmt: skip
STEPS = [{"step": step, "epoch": (step - 1) // 3, "loss": 2 - step / 20} for step in range(1, 16)]
CURVE = [
    {
        "k": k, "retrieved": k / 20, "retrieved_low": k / 22, "retrieved_high": k / 20, "reranked": k / 25,
        "reranked_low": k / 28, "reranked_high": k / 24,
    }
    for k in range(1, 21)
]  # fmt: skip
MEASURED = [
    {
        "split": split, "setting": setting, "queries": queries, "stage": stage, "n": n, "candidates_mean": 10.0 * (i + 1),
        "top1": 0.1 * j + 0.05 * i, "top1_low": 0.1 * j, "top1_high": 0.1 * j + 0.1,
    }
    for split in ("validation", "test")
    for i, setting in enumerate(("sdoc", "sdc", "sdoa", "sda", "stc", "sta", "epc", "epa", "beir"))
    for queries, n in (("all", 48), ("unseen", 33), ("unseen_by_both", 30))
    for j, stage in enumerate(("chance", "bm25", "bm25_classic", "zero_shot", "zero_shot_corrected", "retrieved", "reranked"))
]  # fmt: skip
WINNERS = [
    {"best": name} | dict.fromkeys(("bm25", "bm25_classic", "zero_shot", "zero_shot_corrected", "retrieved", "reranked"), share)
    for name, share in (("true counter", 0.5), ("other side's point", 0.3), ("another debate's counter", 0.2))
]
NAMES = ["accuracy", "losses", "topk", "settings", "settings_alone", "winners", "reranking", "negatives"]
CHANGES = [
    {"setting": "epa", "verdict": "won", "best": "own side's point", "queries": 6, "n": 48},
    {"setting": "epa", "verdict": "won", "best": "another debate's counter", "queries": 2, "n": 48},
    {"setting": "epa", "verdict": "lost", "best": "own side's point", "queries": 3, "n": 48},
]
UNTRAINED = [
    {name: value if "top1" in name or name in ("epoch", "random_rate") else None for name, value in HISTORY[0].items()}
]


def best(history, epoch=2):
    """What metrics/train.json says of an epoch."""
    return {"best_epoch": epoch, "average": None, "validation_top1": history[epoch]["validation_top1"]}


def drawn(name, history=HISTORY, steps=STEPS, train=None, title="decay 0.1 from random rate 1"):
    return {
        "accuracy": lambda: figures.accuracy(history, train or best(history), {"validation": 0.3, "test": 0.2}, "epa", title),
        "losses": lambda: figures.losses(history, steps, title),
        "topk": lambda: figures.top_k(CURVE, "epa", 48, title),
        "settings": lambda: figures.settings(MEASURED, title),
        "settings_alone": lambda: figures.settings([row | {"n": 48} for row in MEASURED], title),
        "winners": lambda: page.winners(WINNERS, "epa", 48, title),
        "reranking": lambda: page.reranking(CHANGES, ["epc", "epa"], title),
        "negatives": lambda: figures.negatives(history, title),
    }[name]()


def data(axes):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def test_the_lines_are_the_rows():
    figure = drawn("accuracy")
    top, below = figure.axes
    assert data(top)["validation"] == ([0, 1, 2, 3, 4], [0.5] * 5)
    assert data(top)["training"][1] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert data(top)["chosen epoch"] == ([2], [0.5])
    assert data(top)["zero-shot, validation"][1] == [0.3, 0.3]
    assert data(top)["zero-shot, test"][1] == [0.2, 0.2]
    assert below.lines[0].get_ydata().tolist() == [row["random_rate"] for row in HISTORY]
    top, below = drawn("losses").axes
    assert data(top)["running"][1] == [row["loss"] for row in STEPS]
    assert data(top)["epoch mean"] == ([3, 6, 9, 12, 15], [row["loss"] for row in HISTORY])
    assert set(data(below)) == {"triplet", "pair"}
    (axes,) = drawn("topk").axes
    assert data(axes)["reranked"] == (list(range(1, 21)), [row["reranked"] for row in CURVE])
    top, below = drawn("negatives").axes
    assert data(top)["from the point's own debate"][1] == [row["same_debate_share"] for row in HISTORY]
    assert not any("margin" in label for label in data(top))  # no negative was filtered
    assert data(below)["hardness"][1] == [row["hardness"] for row in HISTORY]


def test_zero_shot_s_lines_are_those_of_the_queries_that_training_scored():
    def params(**changes):
        return parse_params(yaml.safe_dump(fixture_params(**changes)), "params.yaml")

    assert zero_shot(MEASURED, params(select__setting="sdoc")) == pytest.approx({"validation": 0.3, "test": 0.3})
    assert zero_shot(MEASURED, params(evaluate__answers="row")) == {}


def test_filtered_negatives_have_a_line_where_there_are_any():
    rows = [row | {"filtered_share": row["epoch"] / 20} for row in HISTORY]
    shares = data(drawn("negatives", rows).axes[0])
    assert shares["random, as no mined one is below the margin"][1] == [row["filtered_share"] for row in rows]


def test_the_settings_picture_has_a_place_a_setting_a_mark_a_stage_and_the_intervals():
    everything, unseen = drawn("settings").axes
    assert [axes.get_title() for axes in (everything, unseen)] == ["test queries (48)", "test queries unseen by both (30)"]
    rows = [row for row in MEASURED if (row["split"], row["queries"], row["stage"]) == ("test", "unseen_by_both", "bm25")]
    x, y = data(unseen)["BM25"]
    assert x == [row["top1"] for row in rows]
    assert np.diff(y) == pytest.approx(1)
    ends = [list(line.get_xdata()) for line in unseen.lines if line.get_label().startswith("_") and len(line.get_xdata()) == 2]
    assert all([row["top1_low"], row["top1_high"]] in ends for row in rows)


def test_a_setting_without_an_interval_has_none_drawn():
    rows = [row | {"top1_low": None, "top1_high": None} if row["setting"] == "sdoc" else row for row in MEASURED]
    figure = figures.settings(rows, "")
    FigureCanvasAgg(figure).draw()
    ends = [
        line.get_xdata() for line in figure.axes[0].lines if line.get_label().startswith("_") and len(line.get_xdata()) == 2
    ]
    drawn_ends = [low for low, _ in ends if low is not None]
    assert len(drawn_ends) == len(ends) - 7


@pytest.mark.parametrize("n", [0, 48])
def test_unseen_queries_have_a_panel_where_they_say_something_else(n):
    rows = [row | ({"n": n} if row["queries"] != "all" else {}) for row in MEASURED]
    assert len(figures.settings(rows, "").axes) == 1


def test_the_reranking_bars_start_at_0_and_their_sum_stands_beside():
    (axes,) = drawn("reranking").axes
    ends = sorted((bar.get_x(), round(bar.get_x() + bar.get_width(), 4)) for bar in axes.patches)
    assert ends == [(0.0, -0.0625), (0.0, 0.125), (0.125, 0.1667)]
    assert [text.get_text() for text in axes.texts] == ["+0.0%", "+10.4%"]


def test_a_reranking_that_changes_nothing_says_so():
    (axes,) = page.reranking([], ["epc", "epa"], "").axes
    assert [text.get_text() for text in axes.texts] == ["+0.0%", "+0.0%", "no query was won or lost"]


def test_the_bars_of_the_winners_add_up():
    (axes,) = drawn("winners").axes
    assert len(axes.patches) == 3 * 6
    assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(6)
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "BM25", "BM25, k1 0.9, b 0.4", "zero-shot", "hubness-corrected zero-shot", "retrieved", "reranked",
    ]  # fmt: skip


def test_a_band_is_drawn_where_there_is_an_interval():
    (axes,) = drawn("topk").axes
    assert len(axes.collections) == 2
    without = [row | dict.fromkeys(("retrieved_low", "retrieved_high", "reranked_low", "reranked_high")) for row in CURVE]
    assert not figures.top_k(without, "epa", 2, "").axes[0].collections


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_decay_is_in_the_title_and_the_same_rows_give_the_same_bytes(name):
    def png(figure):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()

    assert "decay 0.1" in drawn(name).get_suptitle()
    assert png(drawn(name)) == png(drawn(name))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_out_of_the_picture(name):
    figure = drawn(name)
    FigureCanvasAgg(figure).draw()
    width, height = figure.get_size_inches() * figure.dpi
    for part in (*figure.axes, *figure.legends):
        box = part.get_tightbbox()
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1
    for axes in figure.axes:
        label = axes.yaxis.label.get_window_extent()
        assert label.height <= 1.3 * axes.get_window_extent().height


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_untrained_model_has_its_pictures_too(name):
    canvas = FigureCanvasAgg(drawn(name, UNTRAINED, [], {"best_epoch": None, "average": None}))
    canvas.draw()
    assert np.asarray(canvas.buffer_rgba()).std() > 0
