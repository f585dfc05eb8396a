"""Tell anew which stored test queries training or validation has seen: python tools/renew_queries.py CORPUS.

It rewrites the queries files of docs/results/*/ by today's rule, and adds to each row the figures of kinds of queries that it
lacks; ranks stay as they are. It needs the corpus of the studies, and no run.
"""

import argparse
import logging
import sys
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from counterpoint.arguments.seen import QUERIES
from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json, write_text
from counterpoint.core.sections import SplitShares
from counterpoint.corpus.splits import read_splits
from counterpoint.evaluation.statistics import interval
from counterpoint.evaluation.table import MODEL_STAGES
from counterpoint.evaluation.tasks import query_columns, read_tasks
from counterpoint.experiments.studies import RESULTS
from counterpoint.experiments.study_rows import by_line, data_sha256, write_queries
from counterpoint.ranking.metrics import mrr, top_k


def main() -> None:
    """Rewrite the files."""
    parser = argparse.ArgumentParser(prog="renew_queries.py", description="Tell anew which stored test queries were seen.")
    parser.add_argument("corpus", type=Path, help="the corpus of the studies")
    corpus = parser.parse_args().corpus
    data = data_sha256(corpus)
    shares = SplitShares(**yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["prepare"]["split"])
    task = read_tasks(read_splits(corpus, shares).triples, beir=False)[-1]
    columns = query_columns(task, task.queries["text"])
    seen = dict(zip(columns["id"], columns["seen"].tolist(), strict=True))
    for file in sorted(RESULTS.glob("*/runs/*.json")):
        row = read_json(file)
        if row["data"] != data:
            raise InputError(f"the corpus of {file} must have sha256 {row['data']}; {corpus} has {data}")
        old = file.parents[1] / row["queries"]
        queries = read_json(old)
        queries["seen"] = [seen[name] for name in queries["id"]]
        row["queries"] = write_queries(file.parents[1], queries)
        row["settings"] = [*row["settings"], *missing(row, queries)]
        write_text(file, by_line(row))
    for old in RESULTS.glob("*/queries-*.json"):
        if old.name not in {read_json(file)["queries"] for file in (old.parent / "runs").glob("*.json")}:
            old.unlink()
    logging.info("written: %s", RESULTS)


def missing(row: dict, queries: dict) -> list[dict]:
    """Return the figures of kinds of test queries that a row lacks, and for validation those of unseen ones again."""
    known = {measured["queries"] for measured in row["settings"]}
    rows = []
    for kind in (kind for kind in QUERIES if kind not in known):
        rows += [
            measured | {"queries": kind}
            for measured in row["settings"]
            if (measured["split"], measured["queries"]) == ("validation", "unseen") and measured["stage"] in MODEL_STAGES
        ]
        mask = np.array([name == "none" for name in queries["seen"]])
        clusters = np.array(queries["cluster"])[mask]
        for setting, stages in row["ranks"].items():
            for stage, ranks in stages.items():
                part = np.array(ranks)[mask]
                low, high = interval((part == 1).astype(float), clusters)
                place = {"split": "test", "setting": setting, "queries": kind, "stage": stage, "n": len(part)}
                figures = {"top1": top_k(part, 1), "top1_low": low, "top1_high": high, "mrr": mrr(part)}
                rows.append(place | {name: value and round(value, 6) for name, value in figures.items()})
    return rows


if __name__ == "__main__":
    process.run(main)
