"""The table of docs/speed.md from benchmarks/results.json: python benchmarks/table.py."""

import math
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

from counterpoint.core.files import read_json
from counterpoint.experiments import markdown


def table(results: dict) -> str:
    """Return a line for every row with a bound: the ratio or the seconds, the bound, and whether it was missed."""
    cells = [["measured", "result", "bound", ""]]
    for row in results["rows"]:
        if "at_least" in row and "ratio" in row:
            result, bound, missed = f"{row['ratio']:.2f}", f"≥ {row['at_least']:g}", row["ratio"] < row["at_least"]
        elif "at_most" in row:
            result, bound = f"{row['seconds']:.3g} s", f"≤ {row['at_most']:g} s"
            missed = row["seconds"] > row["at_most"] or row.get("peak_mib", 0) > row.get("at_most_mib", math.inf)
            if "at_most_mib" in row:
                result, bound = f"{result}, {row['peak_mib']:,.0f} MiB", f"{bound}, {row['at_most_mib']:,.0f} MiB"
        else:
            continue
        cells.append([row["what"], result, bound, "missed" if missed else ""])
    return markdown.table(cells)


def measured_on(results: dict) -> str:
    """Return a sentence about the machine and the commit of each suite."""
    machine = results["machine"]
    bf16 = "with" if machine["native_bf16"] else "without"
    commits: dict[str, dict[str, None]] = {}
    for row in results["rows"]:
        commits.setdefault(row["commit"], {})[row["suite"]] = None
    suites = "; ".join(f"{', '.join(names)} at {commit}" for commit, names in commits.items())
    torch = machine["packages"]["torch"]
    return f"{machine['processor']}, {machine['cores']} cores, {bf16} native bf16, torch {torch}; {suites}."


if __name__ == "__main__":
    results = read_json(ROOT / "benchmarks/results.json")
    print(measured_on(results), table(results), sep="\n\n")
