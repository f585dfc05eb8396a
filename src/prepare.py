"""Stage prepare: a corpus of dialogue pairs becomes triples, one JSONL file a split."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()  # before the slow imports: what a killed dvc leaves behind must write nothing

import logging
from dataclasses import replace
from pathlib import Path

from counterpoint.arguments.triples import write_triples
from counterpoint.core.files import write_series
from counterpoint.core.params_file import load_params
from counterpoint.corpus.splits import read_splits
from counterpoint.negatives.first import first_negatives, with_negatives
from counterpoint.ranking.settings import count_pairs

TRIPLES, METRICS = Path("data/triples"), Path("metrics/prepare.json")


def main() -> None:
    params = load_params()
    splits = read_splits(params.corpus, params.prepare.split, params.prepare.columns.model_dump())
    triples = splits.triples
    pools = {name: triples.pool(name) for name in triples.pairs}
    negatives = first_negatives(pools["training"], params.negatives.per_point, params.prepare.seed)
    training = with_negatives(triples.pairs["training"], pools["training"], negatives)
    write_triples(TRIPLES, replace(triples, pairs={**triples.pairs, "training": training}))
    rows = []
    for name, counts in splits.counts.items():
        logging.info("%s: %s", name, ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in counts.items() if n))
        rows.append({"split": name} | counts | {"setting_pairs": (pairs := count_pairs(pools[name]))})
        if without := [setting for setting, n in pairs.items() if n is None]:
            logging.info("%s: not every pair says its debate, theme and stance: no %s", name, ", ".join(without))
    if triples.documents is not None:
        logging.info("documents: every split searches all of them, %s in no pair", f"{len(triples.documents):,}")
    write_series(METRICS, "splits", rows)


if __name__ == "__main__":
    process.run(main)
