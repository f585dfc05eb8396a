"""Stage rank: the model embeds validation and test, and ranks them by vectors, with words, and reranked; by text and by row."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin(launched=True)  # before the slow imports: an orphan of a killed dvc must write nothing

from collections.abc import Iterator, Mapping
from pathlib import Path

from counterpoint.arguments.pairs import split_sha256
from counterpoint.arguments.triples import read_triples
from counterpoint.core.agreement import refuse_differences
from counterpoint.core.files import read_json, write_json
from counterpoint.core.params import load_params
from counterpoint.evaluation.table import DENSE, EVALUATED, MODEL_STAGES, write_table
from counterpoint.evaluation.tasks import Ranked, embed_tasks, ranks_tables, read_tasks
from counterpoint.lexical.fusion import Lexical, fused
from counterpoint.model.compute import choose
from counterpoint.model.files import load
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.ranking.distance import Distance, euclidean
from counterpoint.ranking.queries import Queries
from counterpoint.ranking.ranking import Ranking, rank
from counterpoint.reranking.reranker import Reranker

TRIPLES, MODELS, LEXICAL, RERANKER = Path("data/triples"), Path("models"), Path("lexical"), Path("reranker")
RANKS = Path("data/ranks")


def main() -> None:
    """Write data/ranks/."""
    params = load_params()
    compute = choose(params.train.device, params.train.precision, launched=True)
    group = compute.group
    refuse_differences(group, params, compute.local, data=TRIPLES, models=MODELS, lexical=LEXICAL, reranker=RERANKER)
    model = load(MODELS, compute)
    triples = read_triples(TRIPLES)
    cache = HiddenStateCache(triples.texts)
    tasks = read_tasks(triples, beir=params.evaluate.beir, sample=params.evaluate.sample)
    embedded = embed_tasks(tasks, model, lambda parts: cache.read(model.point.encoder, compute, parts))
    lexical, reranker = Lexical.load(LEXICAL), Reranker.load(RERANKER, model)
    depth = params.evaluate.rerank_depth or reranker.depth
    logits = [reranker.logits(task.pool.texts, embedded[i], cache) for i, task in enumerate(tasks)]

    def ranked(number: int, queries: Queries) -> Iterator[Ranked]:
        dense, settings = euclidean(queries, embedded[number]), tasks[number].settings
        distance = fused(queries, dense, lexical)
        rankings = rank(queries, distance, settings, reranker.reordering(queries, logits[number], depth), group)
        yield stage_of(DENSE, dense, rank(queries, dense, settings, None, group) if lexical.weight else rankings, "retrieved")
        for stage in MODEL_STAGES:
            yield stage_of(stage, distance, rankings, stage)

    tables = ranks_tables(tasks, ranked)
    if not group.is_main:
        return
    for split, table in tables.items():
        write_table(RANKS / f"{split}.csv", table)
    hashes = {split: split_sha256(triples.pairs[split], triples.documents_of(split)) for split in EVALUATED}
    write_json(RANKS / "splits.json", hashes)
    write_json(RANKS / "encoder.json", {"encoder_sha256": read_json(MODELS / "model.json")["encoder_sha256"]})


def stage_of(stage: str, distance: Distance, rankings: Mapping[str, Ranking], ranks: str) -> Ranked:
    """Return a stage's result; ranks names its field of `Ranking`."""
    return Ranked(stage, distance, {name: (ranking.candidates, getattr(ranking, ranks)) for name, ranking in rankings.items()})


if __name__ == "__main__":
    process.run(main)
