"""Stage rank: the model embeds validation and test, and ranks them in two steps, by text and by row."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin(launched=True)  # before the slow imports: what a killed dvc leaves behind must write nothing

from collections.abc import Iterator
from pathlib import Path

from counterpoint.arguments.pairs import pairs_sha256
from counterpoint.arguments.triples import read_triples
from counterpoint.core.files import read_json, write_json
from counterpoint.core.params_file import load_params
from counterpoint.evaluation.table import EVALUATED, MODEL_STAGES, write_table
from counterpoint.evaluation.tasks import Ranked, embed_tasks, ranks_tables, read_tasks
from counterpoint.model.compute import choose
from counterpoint.model.files import load
from counterpoint.model.states import with_states
from counterpoint.ranking.queries import Queries
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.reranker import Reranker
from counterpoint.ranking.second_step import SecondStep, of_queries

TRIPLES, MODELS, RERANKER, RANKS = Path("data/triples"), Path("models"), Path("reranker"), Path("data/ranks")


def main() -> None:
    params = load_params()
    compute = choose(params.train.device, params.train.precision)
    model, group = load(MODELS, compute), compute.group
    triples = read_triples(TRIPLES)
    tasks = read_tasks(triples, beir=params.evaluate.beir)
    vectors = embed_tasks(tasks, model, lambda parts: with_states(model, parts, triples.texts, params.states.limit))

    reranker = Reranker.load(RERANKER, model)
    depth = params.evaluate.rerank_depth or reranker.depth
    logits = reranker.logits(model, [task.pool.texts for task in tasks], vectors, triples.texts, params.states.limit)

    def ranked(number: int, queries: Queries) -> Iterator[Ranked]:
        distance, logit = reranker.distance(queries, *vectors[number], normalized=model.point.normalize), logits[number]
        second = None if logit is None else SecondStep(of_queries(queries, logit), reranker.weight, depth)
        found = rank(queries, distance, tasks[number].settings, second, group).items()
        for step in MODEL_STAGES:
            yield Ranked(step, distance, {name: (ranking.candidates, getattr(ranking, step)) for name, ranking in found})

    tables = ranks_tables(tasks, ranked)
    if not group.leads:
        return
    for split, table in tables.items():
        write_table(RANKS / f"{split}.csv", table)
    write_json(RANKS / "splits.json", {split: pairs_sha256(triples.pairs[split]) for split in EVALUATED})
    write_json(RANKS / "encoder.json", {"encoder_sha256": read_json(MODELS / "model.json")["encoder_sha256"]})


if __name__ == "__main__":
    process.run(main)
