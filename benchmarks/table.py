"""The table of docs/speed.md from benchmarks/results.json: python benchmarks/table.py."""

import json
import math
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

from counterpoint.experiments import markdown

RESULTS = ROOT / "benchmarks/results.json"


def table(results: dict) -> str:
    """Every row that has a bound: the ratio or the seconds, the bound, and whether it was missed."""
    cells = [["measured", "found", "bound", ""]]
    for row in results["rows"]:
        if "ratio" in row and "at_least" in row:
            missed = "missed" if row["ratio"] < row["at_least"] else ""
            cells.append([row["what"], f"{row['ratio']:.2f}", f"≥ {row['at_least']:g}", missed])
        elif "at_most" in row:
            what, bound = f"{row['seconds']:.3g} s", f"≤ {row['at_most']:g} s"
            missed = row["seconds"] > row["at_most"] or row.get("peak_mib", 0) > row.get("at_most_mib", math.inf)
            if "at_most_mib" in row:
                what, bound = f"{what}, {row['peak_mib']:,.0f} MiB", f"{bound}, {row['at_most_mib']:,.0f} MiB"
            cells.append([row["what"], what, bound, "missed" if missed else ""])
    return markdown.table(cells)


def measured_on(results: dict) -> str:
    """The machine in a sentence."""
    machine, packages = results["machine"], results["machine"]["packages"]
    bf16 = "with" if machine["native_bf16"] else "without"
    commits: dict[str, list[str]] = {}
    for row in results["rows"]:
        suites = commits.setdefault(row["commit"], [])
        suites += [row["suite"]] if row["suite"] not in suites else []
    at = "; ".join(f"{', '.join(suites)} at {commit}" for commit, suites in commits.items())
    return f"{machine['processor']}, {machine['cores']} cores, {bf16} bf16 of its own, torch {packages['torch']}; {at}."


if __name__ == "__main__":
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    print(measured_on(found), table(found), sep="\n\n")
