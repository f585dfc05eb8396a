"""The figures of README and of docs/results/ are those of the committed JSON."""

import json
import re
import statistics

import numpy as np
import pytest
import yaml

from conftest import ROOT
from counterpoint.evaluation.statistics import interval
from counterpoint.experiments import reports
from counterpoint.experiments.study_rows import seconds_of

RESULTS = ROOT / "docs/results"
STUDIES = sorted(path.parent.name for path in RESULTS.glob("*/report.json"))
KEPT = ("recipes.md", "second-step.md")  # of runs whose ranks were not kept


def rows(name: str) -> list[dict]:
    return [json.loads(file.read_text()) for file in sorted((RESULTS / name / "runs").glob("*.json"))]


def figure(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def table_of(page: str, heading: str) -> list[list[str]]:
    """The cells of the table whose first line begins with a heading."""
    lines = page.split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith(heading))
    cells = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells.append([cell.strip(" *") for cell in line.strip("|").split("|")])
    return cells


def means(name: str, queries: str) -> list[list[float]]:
    """The mean over a study's seeds of the default, its arm linear, by stage: n, top1 and the ends of its interval."""
    runs = [row for row in rows(name) if row["arm"] == "linear"]
    known = json.loads((RESULTS / name / runs[0]["queries"]).read_text())
    seen, cluster = (np.array(known[key]) for key in ("seen", "cluster"))
    mask = seen == "none" if queries == "unseen_by_both" else np.isin(seen, ("none", "validation"))
    found = []
    for stage in ("zero_shot", "bm25"):  # their ranks are in no row; they know no seed
        (of,) = [row for row in runs[0]["settings"] if row_is(row, stage) and row["queries"] == queries]
        found.append([of[key] for key in ("n", "top1", "top1_low", "top1_high")])
    for stage in ("retrieved_dense", "retrieved"):
        hits = np.mean([np.array(row["ranks"]["epa"][stage]) == 1 for row in runs], axis=0)[mask]
        found.append([len(hits), hits.mean(), *interval(hits, cluster[mask])])
    return found


def test_the_tables_of_readme_are_the_default_s_means_over_seeds():
    runs = {name: [row for row in rows(name) if row["arm"] == "linear"] for name in ("default", "carry-over")}
    page = (ROOT / "README.md").read_text()
    words = " ".join(page.split())
    by_both, unseen, other = means("default", "unseen_by_both"), means("default", "unseen"), means("carry-over", "unseen")
    expected = []
    for (_, top1, low, high), (_, of_all, *_), ends in zip(by_both, unseen, other, strict=True):
        perspectrum = f"{figure(ends[1])}, {figure(ends[2])} to {figure(ends[3])}"
        expected.append([figure(top1), f"{figure(low)} to {figure(high)}", figure(of_all), perspectrum])
    assert [[cell.strip(" *") for cell in cells[1:]] for cells in table_of(page, "| | top1")] == expected
    assert f"{by_both[0][0]} test points" in words
    assert f"| {unseen[0][0]} unseen in training |" in words
    assert f"{other[0][0]} unseen claims" in words
    told = re.search(r"seeds ([\d, and]+), some 40 minutes of two busy cores each, commits ([\w, ]+) \(", words)
    assert {row["commit"][:7] for row in runs["default"]} == set(told[2].split(", "))
    assert {row["seed"] for row in runs["default"]} == set(map(int, re.findall(r"\d+", told[1])))
    told = re.search(r"N19-1053\), seeds? ([\d, and]+) \(", words)
    assert {row["seed"] for row in runs["carry-over"]} == set(map(int, re.findall(r"\d+", told[1])))


def row_is(row: dict, stage: str) -> bool:
    return (row["split"], row["setting"], row["stage"]) == ("test", "epa", stage)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_the_page_of_a_study_is_that_of_its_runs(name, tmp_path, monkeypatch):
    """Its report is written anew, pictures apart, and is the same."""
    (tmp_path / "docs/results").mkdir(parents=True)
    (tmp_path / "docs/results" / name).symlink_to(tmp_path / "written")
    (tmp_path / "written").mkdir()
    for file in (RESULTS / name).iterdir():
        if file.name == "runs" or file.name.startswith("queries-"):
            (tmp_path / "written" / file.name).symlink_to(file)
    (tmp_path / "studies").symlink_to(ROOT / "studies")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reports, "save", lambda figure, file: None)
    monkeypatch.setattr("counterpoint.experiments.studies.params_text", params_text)
    reports.report_study(name, {})
    for file in ("README.md", "report.json"):
        assert (tmp_path / "written" / file).read_text() == (RESULTS / name / file).read_text()


def params_text(words: list[str]) -> str:
    """What `dvc exp run -S` makes of params.yaml, without DVC's second for each."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    for word in words:
        name, _, text = word.partition("=")
        *path, key = name.split(".")
        section = values
        for part in path:
            section = section[part]
        section[key] = yaml.safe_load(text)
    return yaml.safe_dump(values)


def test_the_table_of_studies_is_that_of_their_rows():
    for link, runs, minutes, commits in table_of((RESULTS / "README.md").read_text(), "| study |"):
        name = re.match(r"\[([\w-]+)\]", link)[1]
        of = rows(name)
        took = [seconds_of(row) / 60 for row in of]
        digits = 1 if statistics.median(took) < 10 else 0
        told = f"{statistics.median(took):.{digits}f} ({min(took):.{digits}f}–{max(took):.{digits}f})"
        assert runs.startswith(f"{len(of)}: {len({row['arm'] for row in of})} ")
        assert minutes.startswith(told), name
        assert set(commits.split(", ")) == {row["commit"][:7] for row in of}


@pytest.mark.parametrize(("study", "queries"), [("carry-over", "unseen"), ("default", "unseen_by_both")])
def test_the_page_of_results_quotes_every_planned_difference_on_unseen_queries(study, queries):
    page = " ".join((RESULTS / "README.md").read_text().split())
    planned = json.loads((RESULTS / study / "report.json").read_text())["planned"]
    for row in (row for row in planned if row["queries"] == queries):
        told = [figure(row[key]).replace("-", "−") for key in ("difference", "low", "high")]
        assert f"{told[0]} [{told[1]}, {told[2]}]" in page, (row["arm"], row["against"])


@pytest.mark.parametrize("name", KEPT)
def test_a_page_whose_ranks_were_not_kept_says_so(name):
    assert "The ranks of these runs were not kept" in (RESULTS / name).read_text()


def test_the_shares_of_false_negatives_are_those_of_the_rows():
    page = " ".join((RESULTS / "README.md").read_text().split())
    told = {name: (low, high) for low, high, name in re.findall(r"(\.\d+)–(\.\d+) % in \[([\w-]+)\]\(\3/runs\)", page)}
    assert told.keys() == {"original", "first-default", "contrastive"}
    for name, ends in told.items():
        shares = [100 * of for row in rows(name) if (of := share_of(row)) is not None]
        assert ends == (f"{min(shares):.2f}".lstrip("0"), f"{max(shares):.2f}".lstrip("0")), name


def share_of(row: dict) -> float | None:
    """The mean share over the epochs that mined, weighted by what they mined."""
    history = row["history"]
    pairs = [
        (share, 1 - random)
        for share, random in zip(history["false_share"], history["random_share"], strict=True)
        if share is not None
    ]
    total = sum(mined for _, mined in pairs)
    return sum(share * mined for share, mined in pairs) / total if total else None
