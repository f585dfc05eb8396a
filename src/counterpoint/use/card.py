"""The model card: card.md, filled with a run's training and results."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from counterpoint.arguments.seen import distinct_queries
from counterpoint.core.epochs import kept_weights
from counterpoint.core.params import Params
from counterpoint.negatives.schedule import Schedule

TEMPLATE = str(Path(__file__).with_suffix(".md"))
BUNDLED, BUNDLED_ID = "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"
TAGS = ["sentence-transformers", "sentence-similarity", "feature-extraction", "counter-argument-retrieval"]
TASK = "information-retrieval"
SETTINGS, STAGES = ("epa", "epc", "sdoa"), ("bm25", "zero_shot", "retrieved_dense", "retrieved", "reranked")
MODEL = STAGES[2]  # the stage of what is published: vectors alone
METRICS = {"top1": "accuracy_at_1", "mrr": "mrr", "ndcg10": "ndcg_at_10"}  # measure -> the hub's metric
QUERIES = {
    "all": "queries",
    "unseen": "queries without a text in training",
    "unseen_by_both": "queries without a text in training or validation",
}
PLACES = {"corpus", "fetch"}  # params that no number depends on


@dataclass(frozen=True)
class Facts:
    """The content of a card: the run's params, rows of prepare.json and settings.json, and the other files of metrics/.

    code names the commit of the run's code.
    """

    params: Params
    corpus: Sequence[Mapping]
    measured: Sequence[Mapping]
    model: Mapping[str, Any]
    train: Mapping[str, Any]
    lexical: Mapping[str, Any]
    reranker: Mapping[str, Any]
    code: str

    @property
    def name(self) -> str:
        """Return the corpus's name, without its place."""
        return Path(self.params.corpus).name

    def row(self, setting: str, queries: str, stage: str) -> Mapping | None:
        """Return the row of settings.json for the test split; None without queries."""
        wanted = {"split": "test", "setting": setting, "queries": queries, "stage": stage}
        return next((row for row in self.measured if wanted.items() <= row.items() and row["n"]), None)

    def n(self, queries: str) -> int:
        """Return the number of test queries of a kind."""
        return (self.row("epa", queries, MODEL) or {"n": 0})["n"]

    @property
    def queries(self) -> Sequence[str]:
        """Return the kinds of test queries that differ, all first."""
        return distinct_queries(self.measured)


def card(facts: Facts, side: str) -> str:
    """Return the README.md of one side's directory (point or counter), in the hub's format."""
    filled = ModelCard.from_template(
        _front(facts),
        TEMPLATE,
        facts=facts,
        side=side,
        training=next(row for row in facts.corpus if row["split"] == "training"),
        losses=", ".join(name for name, section in facts.params.loss if section.weight),
        schedule=Schedule.of(facts.params).title,
        kept=kept_weights(facts.train),
        table=list(_table(facts)),
        params=_params(facts.params),
    )
    return f"{filled}\n"


def _front(facts: Facts) -> ModelCardData:
    results = []
    for queries in facts.queries:
        for setting in SETTINGS:
            if row := facts.row(setting, queries, MODEL):
                kind = f"{facts.name}-{setting}-{queries}"
                name = f"{facts.name}, test split, {setting}, {row['n']} {QUERIES[queries]}"
                results += [
                    EvalResult(TASK, kind, name, metric, row[measure], "Information Retrieval", metric_name=measure)
                    for measure, metric in METRICS.items()
                ]
    encoder = facts.model["encoder"]
    return ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        base_model=BUNDLED_ID if encoder == BUNDLED else encoder.partition("@")[0] if "/" in encoder else None,
        tags=TAGS,
        model_name="counterpoint",
        eval_results=results,
    )


def _table(facts: Facts) -> Iterator[list[str]]:
    for queries in reversed(facts.queries):
        for setting in SETTINGS:
            if last := facts.row(setting, queries, STAGES[-1]):
                rows = [facts.row(setting, queries, stage) for stage in STAGES]
                yield [f"{last['n']:,} {queries.replace('_', ' ')}, `{setting}`", *map(_cell, rows)]


def _cell(row: Mapping | None) -> str:
    if row is None:
        return "-"
    return f"{row['top1']:.3f}" + ("" if row["top1_low"] is None else f" ({row['top1_low']:.3f} to {row['top1_high']:.3f})")


def _params(params: Params) -> str:
    values, encoder = params.model_dump(mode="json", exclude=PLACES), Path(params.model.encoder)
    if encoder.is_absolute():
        values["model"]["encoder"] = encoder.name
    return yaml.safe_dump(values, sort_keys=False)
