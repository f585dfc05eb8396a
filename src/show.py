"""After a run: print the main numbers and where the results are."""

from pathlib import Path

from counterpoint.arguments.seen import QUERY_TITLES, distinct_queries
from counterpoint.core import process
from counterpoint.core.epochs import kept_weights
from counterpoint.core.files import read_json, read_series
from counterpoint.experiments.workspace import lines_of_difference

MEASURES = ("top1", "top5", "top10", "mrr")


def main() -> None:
    """Print the headline, the model, the reranker and the paths of metrics and pictures."""
    measured = read_series(Path("metrics/settings.json"))
    train = read_json(Path("metrics/train.json"))
    test = [row for row in measured if row["split"] == "test" and row["setting"] in ("epa", "epc")]
    for queries in distinct_queries(measured):
        print_tables(QUERY_TITLES[queries], [row for row in test if row["queries"] == queries])
    kept = kept_weights(train) + (f" of 0-{train['epochs'] - 1}" if train["epochs"] else "")
    print(f"\nmodel     models/point, {kept} (a sentence-transformers directory)")
    print(f"words     {told_of_words(read_json(Path('metrics/lexical.json')))}")
    print(f"reranker  {describe(read_json(Path('metrics/reranker.json')))}")
    print("metrics   metrics/settings.json has all settings; dvc metrics diff --all, dvc exp show")
    print(f"pictures  {'  '.join(sorted(str(path) for path in Path('plots/pictures').glob('*.png')))}")
    print("look      plots/report.html in a browser: every test query, every training point's negatives")
    print("next      dvc exp run -n slow -S decay=0.005; make compare A=HEAD B=slow; dvc plots diff HEAD slow")
    for line in lines_of_difference():
        print(line)


def told_of_words(lexical: dict) -> str:
    """Return the words' weight beside vectors, and top1 without and with it on the queries that chose it."""
    if not lexical["weight"]:
        return "none: retrieved repeats retrieved_dense"
    top1 = f"top1 {lexical['retrieved_dense_top1']:.3f} to {lexical['retrieved_top1']:.3f}"
    return f"lexical/, BM25 of weight {lexical['weight']:.3g}: {top1} on {lexical['selection_n']} validation queries"


def describe(reranker: dict) -> str:
    """Return the reranker's kind, depth and weight, and top1 before and after it on the queries that chose the weight."""
    if reranker["kind"] == "none":
        return "none: reranked repeats retrieved"
    top1 = f"top1 {reranker['retrieved_top1']:.3f} to {reranker['reranked_top1']:.3f}"
    about = f"{reranker['kind']}, of the first {reranker['depth']} candidates, weight {reranker['weight']:.3g}"
    return f"reranker/, {about}: {top1} on {reranker['n']} validation queries"


def print_tables(title: str, rows: list[dict]) -> None:
    """Print a table per setting with a line per stage."""
    for setting in dict.fromkeys(row["setting"] for row in rows):
        members = [row for row in rows if row["setting"] == setting]
        heading = f"{setting}, {members[0]['n']:,} {title}"
        print(f"\n{heading:<30}" + "".join(f"{measure:>8}" for measure in MEASURES) + "   95 % interval of top1")
        for row in members:
            ends = "" if row["top1_low"] is None else f"   {row['top1_low']:.3f} to {row['top1_high']:.3f}"
            print(f"  {row['stage']:<28}" + "".join(f"{row[measure]:>8.3f}" for measure in MEASURES) + ends)


if __name__ == "__main__":
    process.run(main)
