"""What the README and the docs promise: their links lead somewhere, their figures are the files', their size is kept."""

import json
import re
import sys

import pytest

from conftest import ROOT

NAMES = ("README.md", "CONTRIBUTING.md", "data/README.md", "benchmarks/NOTES.md")
PAGES = [*(ROOT / name for name in NAMES), *sorted((ROOT / "docs").rglob("*.md"))]


def anchors(page):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path) if path else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_targets_that_are_named_are_there(page):
    text = page.read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake ([a-z]+)\b(?=[`\s]*(?:ARGS|A=|#|`|$))", text, re.M)) <= targets
    for script in re.findall(r"python ((?:src|tools|benchmarks)/\w+\.py)", text):
        assert (ROOT / script).exists(), script


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().split()) <= 1500


def test_the_table_of_speed_is_that_of_the_results(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import table

    results = json.loads((ROOT / "benchmarks/results.json").read_text())
    page = (ROOT / "docs/speed.md").read_text()
    assert table.table(results) in page
    assert table.measured_on(results) in page


def test_the_table_of_growth_is_that_of_the_runs(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import growth

    grown = json.loads((ROOT / "benchmarks/growth.json").read_text())
    assert growth.table(grown) in (ROOT / "docs/scale.md").read_text()
    assert growth.exponents(grown["runs"]) == grown["exponents"]


def test_the_costs_on_paper_are_those_of_the_formula(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import scale

    page = (ROOT / "docs/scale.md").read_text()
    for known in json.loads((ROOT / "benchmarks/scale.json").read_text()).values():
        assert scale.table(known) in page
    one, many = (scale.epoch(10**6, "base", devices, known) for devices in (1, 8))
    assert (one["gradients"], one["vectors"]) == (0, 0)
    assert many["train"] == pytest.approx(one["train"] / 8)
    tokens = 3 * 10**6 * 256  # a point, its answer, a negative
    assert one["train"] * known["base"]["train"] == pytest.approx(6 * 85e6 * tokens, rel=0.1)  # 6 N D; attention is the rest
    assert one["held"] == 2 * 10**6 * 768 * 4
