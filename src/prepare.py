"""Stage prepare: a corpus of dialogue pairs becomes triples, one JSONL file a split."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()  # before the slow imports: what a killed dvc leaves behind must write nothing

import logging
from pathlib import Path

from counterpoint.arguments.pairs import write_pairs
from counterpoint.core.files import write_series
from counterpoint.core.params_file import load_params
from counterpoint.corpus.splits import read_splits
from counterpoint.negatives.triples import first_negatives, with_negatives
from counterpoint.ranking.settings import count_pairs

TRIPLES, METRICS = Path("data/triples"), Path("metrics/prepare.json")


def main() -> None:
    params = load_params()
    splits = read_splits(params.corpus, params.prepare.split)
    pools = splits.pools
    negatives = first_negatives(pools["training"], params.negatives.per_point, params.prepare.seed)
    splits.pairs["training"] = with_negatives(splits.pairs["training"], pools["training"], negatives)
    rows = []
    for name, counts in splits.counts.items():
        write_pairs(TRIPLES / f"{name}.jsonl", splits.pairs[name])
        logging.info("%s: %s", name, ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in counts.items()))
        rows.append({"split": name} | counts | {"setting_pairs": (pairs := count_pairs(pools[name]))})
        if without := [setting for setting, n in pairs.items() if n is None]:
            logging.info("%s: not every pair says its debate, theme and stance: no %s", name, ", ".join(without))
    write_pairs(TRIPLES / "unpaired.jsonl", splits.unpaired)
    write_series(METRICS, "splits", rows)


if __name__ == "__main__":
    process.run(main)
