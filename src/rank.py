"""Stage rank: the model embeds validation and test, and ranks them in two steps, by text and by row."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()  # before the slow imports: what a killed dvc leaves behind must write nothing

from collections.abc import Iterator
from pathlib import Path

from counterpoint.arguments.pairs import pairs_sha256
from counterpoint.arguments.triples import read_triples
from counterpoint.core.files import read_json, write_json
from counterpoint.core.params_file import load_params
from counterpoint.evaluation.table import EVALUATED, STEPS, write_table
from counterpoint.evaluation.tasks import embed_tasks, ranks_tables, read_tasks
from counterpoint.model.compute import choose
from counterpoint.model.files import load
from counterpoint.model.states import with_states
from counterpoint.ranking.distance import by_head, euclidean
from counterpoint.ranking.queries import Queries
from counterpoint.ranking.ranking import rank

TRIPLES, MODELS, RANKS = Path("data/triples"), Path("models"), Path("data/ranks")


def main() -> None:
    params = load_params()
    model = load(MODELS, choose(params.train.device, params.train.precision))
    triples = read_triples(TRIPLES)
    tasks = read_tasks(triples, beir=params.evaluate.beir)
    vectors = embed_tasks(tasks, model, lambda parts: with_states(model, parts, triples.texts, params.states.limit))

    def ranked(number: int, queries: Queries) -> Iterator[tuple]:
        distance = euclidean(queries, *vectors[number])
        probability = by_head(queries, *vectors[number], model.head)
        found = rank(queries, distance, tasks[number].settings, probability, params.evaluate.rerank_depth)
        for setting, ranking in found.items():
            for step in STEPS:
                yield step, setting, ranking, getattr(ranking, step)

    for split, table in ranks_tables(tasks, ranked).items():
        write_table(RANKS / f"{split}.csv", table)
    write_json(RANKS / "splits.json", {split: pairs_sha256(triples.pairs[split]) for split in EVALUATED})
    write_json(RANKS / "encoder.json", {"encoder_sha256": read_json(MODELS / "model.json")["encoder_sha256"]})


if __name__ == "__main__":
    process.run(main)
