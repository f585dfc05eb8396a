"""Stage prepare: write the triples of a corpus, one JSONL file a split, and the counts of each split."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()  # before the slow imports, so that this process ends with a killed dvc

import gc
import logging
from dataclasses import replace
from pathlib import Path

from counterpoint.arguments.triples import write_triples
from counterpoint.core.files import write_series
from counterpoint.core.params import load_params
from counterpoint.corpus.splits import read_splits
from counterpoint.negatives.eligible import initial_negatives, with_negatives
from counterpoint.ranking.counts import count_pairs

TRIPLES, METRICS = Path("data/triples"), Path("metrics/prepare.json")


def main() -> None:
    """Read and split the corpus, draw the initial negatives, and write data/triples/ and metrics/prepare.json."""
    gc.disable()  # every pair lives to the end; each pass over millions of them takes seconds, and finds nothing
    params = load_params()
    splits = read_splits(params.corpus, params.prepare.split, params.prepare.columns.model_dump(), params.prepare.min_grade)
    triples = splits.triples
    pools = {split: triples.pool(split) for split in triples.pairs}
    negatives = initial_negatives(pools["training"], params.negatives.per_point, params.prepare.seed)
    training = with_negatives(triples.pairs["training"], pools["training"], negatives)
    write_triples(TRIPLES, replace(triples, pairs={**triples.pairs, "training": training}))
    rows = []
    for split, counts in splits.counts.items():
        logging.info("%s: %s", split, ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in counts.items() if n))
        setting_pairs = count_pairs(pools[split])
        rows.append({"split": split} | counts | {"setting_pairs": setting_pairs})
        if missing := [setting for setting, n in setting_pairs.items() if n is None]:
            logging.info("%s: not every pair says its debate, theme and stance: no %s", split, ", ".join(missing))
    if triples.documents is not None:
        logging.info("documents: every split searches all of them; %s are in no pair", f"{len(triples.documents):,}")
    write_series(METRICS, "splits", rows)


if __name__ == "__main__":
    process.run(main)
