"""Stage prepare: a corpus of dialogue pairs becomes triples, one JSONL file a split."""

from counterpoint import stage

if __name__ == "__main__":
    stage.die_with_parent()  # before the slow imports: what a killed dvc leaves behind must write nothing

import logging
from dataclasses import replace
from pathlib import Path

from counterpoint.candidates import count_pairs
from counterpoint.corpus import read_corpus
from counterpoint.negatives import draw_random, forbidden_groups
from counterpoint.params import load_params
from counterpoint.pool import Pool
from counterpoint.records import write_pairs, write_series
from counterpoint.seeds import generator
from counterpoint.splits import count, mark_seen, split_rows

TRIPLES, METRICS = Path("data/triples"), Path("metrics/prepare.json")


def main() -> None:
    params = load_params()
    corpus = read_corpus(params.corpus)
    splits = mark_seen(split_rows(corpus.rows, params.prepare.split))
    counts = {name: count(pairs, corpus.empty_debates.get(name, 0)) for name, pairs in splits.items()}
    usable = {name: [pair for pair in pairs if pair.counter is not None] for name, pairs in splits.items()}
    pool = Pool.of(usable["training"])
    ids = draw_random(pool, forbidden_groups(pool), params.negatives.per_point, generator(params.seed, 0, "negatives"))
    usable["training"] = [
        replace(pair, negatives=tuple((int(pool.source[i]), int(pool.row[i])) for i in drawn))
        for pair, drawn in zip(usable["training"], ids, strict=True)
    ]
    for name, pairs in usable.items():
        write_pairs(TRIPLES / f"{name}.jsonl", pairs)
        logging.info("%s: %s", name, ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in counts[name].items()))
        counts[name]["setting_pairs"] = count_pairs(Pool.of(pairs))
        if without := [setting for setting, n in counts[name]["setting_pairs"].items() if n is None]:
            logging.info("%s: not every pair says its debate, theme and stance: no %s", name, ", ".join(without))
    unpaired = [replace(pair, split=name) for name, pairs in splits.items() for pair in pairs if pair.counter is None]
    write_pairs(TRIPLES / "unpaired.jsonl", unpaired)
    write_series(METRICS, "splits", [{"split": name} | values for name, values in counts.items()])


if __name__ == "__main__":
    stage.run(main)
