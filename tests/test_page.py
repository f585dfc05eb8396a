"""plots/report.html as a browser shows it: what the filters leave, what opens, and that nothing is fetched."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.triples import read_triples
from counterpoint.evaluation.table import read_table
from counterpoint.plots import page as page_module
from counterpoint.plots.page import EPOCHS, negatives, page, right_counters

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--virtual-time-budget=8000",
)  # fmt: skip
needs_browser = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium: apt install chromium")


@pytest.fixture
def report(finished_run):
    return Path("plots/report.html").resolve()


@pytest.fixture
def browse(report, tmp_path):
    """A function that opens the report with what a link to it says, and returns its list of queries and of points as text."""

    def opened(**link):
        words = [
            BROWSER,
            *OPTIONS,
            f"--user-data-dir={tmp_path / 'browser'}",
            "--dump-dom",
            f"{report.as_uri()}#{urlencode(link)}",
        ]
        dom = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
        return html.unescape(re.sub(r"<(script|style)\b.*?</\1>", "", dom, flags=re.S))

    return opened


def count(dom):
    return int(re.search(r'id="count"[^>]*>([\d,]+) of', dom)[1].replace(",", ""))


@pytest.mark.slow
@needs_browser
def test_the_filters_leave_what_the_ranks_say(browse):
    ranks = read_table(Path("data/ranks/test.csv"))
    ranks = ranks[(ranks["answers"] == "text") & (ranks["setting"] == "epa")]
    first, last = (ranks[ranks["stage"] == step].set_index("id") for step in ("retrieved", "reranked"))
    hit, was = last["rank"] == 1, first["rank"] == 1
    kind = last["best_is"].iloc[0]
    for link, wanted in (
        ({}, len(last)),
        ({"outcome": "lost"}, (~hit).sum()),
        ({"outcome": "gained"}, (hit & ~was).sum()),
        ({"outcome": "dropped"}, (~hit & was).sum()),
        ({"unseen": 1, "top": kind}, ((last["seen"] == "none") & (last["best_is"] == kind)).sum()),
    ):
        assert count(browse(**link)) == wanted, link


@pytest.mark.slow
@needs_browser
def test_a_query_opens_with_all_that_was_said_of_it(browse):
    pair = read_triples(Path("data/triples")).pairs["test"][0]
    dom = browse(open=pair.id, negatives="x")
    assert pair.point in dom
    assert f"<dt>True counter</dt><dd>{pair.counter}</dd>" in dom
    ranks = read_table(Path("data/ranks/test.csv"))
    row = ranks[(ranks["answers"] == "text") & (ranks["setting"] == "epa") & (ranks["stage"] == "reranked")].iloc[0]
    who, (best, right) = f"{row['best_is']} ({row['best']})", row[["best_distance", "right_distance"]]
    rank = f"rank {row['rank']} of {row['candidates']}"
    assert f"reranked: {rank}, distance {right:.4f}; top-ranked: {who}, distance {best:.4f}" in dom
    assert re.search(r"BM25: rank \d+ of \d+, score \d+\.\d\d; top-ranked: .*, score \d+\.\d\d<", dom)


@pytest.mark.slow
@needs_browser
def test_a_training_point_opens_with_its_negatives(browse):
    pairs = read_triples(Path("data/triples")).pairs["training"]
    dom = browse(negatives=pairs[3].id)
    with np.load("models/negatives.npz") as drawn:
        for epoch in range(2):
            source, index = int(drawn["source"][epoch, 3, 0]), int(drawn["index"][epoch, 3, 0])
            assert f"Epoch {epoch + 1}: random" in dom or f"Epoch {epoch + 1}: mined, distance" in dom
            assert f"<dd>{pairs[index].texts[source]}</dd>" in dom


def test_nothing_is_fetched_and_markup_in_texts_stays_text(report):
    text = report.read_text()
    assert not re.search(r"(src|href)=\"(?!data:image/png;base64,|#)", text)
    assert "<b>" not in page("a <b>title</b>", [], {}, {"texts": ["</script><b>"]})


def test_of_many_epochs_some_are_shown_the_first_and_the_last_among_them(report):
    pairs = read_triples(Path("data/triples")).pairs["training"]
    with np.load("models/negatives.npz") as file:
        many = {name: np.repeat(values[:1], 200, axis=0) for name, values in file.items()}
    shown = negatives(many, pairs, [])
    epochs, drawn = shown["epochs"], shown["negatives"]
    assert (epochs[0], epochs[-1], len(epochs)) == (0, 199, EPOCHS)
    assert len(drawn) == len(pairs) == len(shown["ids"])
    assert all(len(members) == EPOCHS for members in drawn)
    source, index, random, distance = drawn[3][-1]
    assert (source, index, random) == tuple(int(many[name][-1, 3, 0]) for name in ("source", "index", "was_random"))
    assert shown["texts"][source][index] == pairs[index].texts[source]
    assert distance is None or distance == pytest.approx(many["distance"][-1, 3, 0], abs=5e-4)
    assert set(shown["texts"][0]) >= set(shown["rows"]) == set(range(len(pairs)))
    assert "NaN" not in json.dumps(shown, allow_nan=False)


def test_of_many_training_points_a_sample_is_shown_with_the_texts_it_needs(monkeypatch, report):
    monkeypatch.setattr(page_module, "MOST", 5)
    pairs = read_triples(Path("data/triples")).pairs["training"]
    with np.load("models/negatives.npz") as drawn:
        shown = negatives(drawn, pairs, [])
        assert (len(shown["rows"]), shown["pairs"]) == (5, len(pairs))
        for row, name, members in zip(shown["rows"], shown["ids"], shown["negatives"], strict=True):
            assert name == pairs[row].id
            assert [shown["texts"][0][row], shown["texts"][1][row]] == [*pairs[row].texts]
            for place, epoch in enumerate(shown["epochs"]):
                assert members[place][1] == drawn["index"][epoch, row, 0]
                assert members[place][1] in shown["texts"][members[place][0]]
    assert sum(map(len, shown["texts"])) <= 5 * (2 + len(shown["epochs"]))


def test_the_right_counters_by_text_are_those_of_every_pair_with_the_point():
    pairs = [Pair(f"q{i}", "t", "d", "pro", f"point {i}", f"counter {i}") for i in range(4)]
    pairs += [
        Pair("again", "t", "d", "pro", "POINT 3", "another counter"),
        Pair("itself", "t", "d", "pro", "point 3", "point 3"),
    ]
    assert right_counters(pairs, by_text=True)["q3"] == ["counter q3", "counter again"]
    assert right_counters(pairs, by_text=False)["q3"] == ["counter q3"]
    assert right_counters(pairs, by_text=False)["itself"] == ["counter itself"]
