"""The model card: what a model was trained on and how, what it is worth, and where that ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from counterpoint.core.params import Params
from counterpoint.negatives.schedule import Schedule

BUNDLED, ITS_NAME = "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"
TOLD = ("epa", "epc", "sdoa")
STEPS = {"bm25": "BM25", "zero_shot": "untrained encoder", "retrieved": "this model", "reranked": "and re-ranked"}
LEFT_OUT = {"corpus", "fetch", "checkpoint", "states"}  # where things stand, which no number depends on


@dataclass(frozen=True)
class Facts:
    """What a card tells: the run's params, rows of prepare.json and settings.json, model.json, train.json, reranker.json.

    code says by which commit the run's code is known.
    """

    params: Params
    corpus: Sequence[Mapping]
    measured: Sequence[Mapping]
    model: Mapping[str, Any]
    train: Mapping[str, Any]
    reranker: Mapping[str, Any]
    code: str

    @property
    def name(self) -> str:
        """Of the corpus, without the place it stands in."""
        return Path(self.params.corpus).name

    def row(self, setting: str, queries: str, stage: str) -> Mapping | None:
        """What was measured on the test split."""
        wanted = {"split": "test", "setting": setting, "queries": queries, "stage": stage}
        return next((row for row in self.measured if wanted.items() <= row.items() and row["n"]), None)


def card(facts: Facts, side: str) -> str:
    """The README.md of one side's directory (point or counter), in the hub's format."""
    parts = [
        f"# Counter-argument retrieval, trained on {facts.name}",
        _what(facts, side),
        "## Load\n\n" + _load(facts),
        "## What it was trained on\n\n" + _trained(facts),
        "## What it is worth\n\n" + _worth(facts),
        "## Limits\n\n" + _limits(facts),
        "## How it was made\n\n" + _made(facts),
    ]
    return f"---\n{_front(facts)}---\n\n" + "\n\n".join(parts) + "\n"


def _front(facts: Facts) -> str:
    results = []
    for queries, of in (("all", "queries"), ("unseen", "queries of which nothing stands in training")):
        for setting in TOLD:
            row = facts.row(setting, queries, "retrieved")
            if row and (queries == "all" or _leaks(facts)):
                dataset = f"{facts.name}, test split, {setting}, {row['n']} {of}"
                for metric, kind in (("top1", "accuracy_at_1"), ("mrr", "mrr"), ("ndcg10", "ndcg_at_10")):
                    results.append(
                        EvalResult(
                            task_type="information-retrieval",
                            task_name="Information Retrieval",
                            dataset_type=f"{facts.name}-{setting}-{queries}",
                            dataset_name=dataset,
                            metric_type=kind,
                            metric_name=metric,
                            metric_value=row[metric],
                        )
                    )
    encoder = facts.model["encoder"]
    base = ITS_NAME if encoder == BUNDLED else None if "/" not in encoder or Path(encoder).is_absolute() else encoder
    data = ModelCardData(
        library_name="sentence-transformers",
        pipeline_tag="sentence-similarity",
        base_model=base and base.partition("@")[0],
        tags=["sentence-transformers", "sentence-similarity", "feature-extraction", "counter-argument-retrieval"],
        model_name="counterpoint",
        eval_results=results,
    )
    return data.to_yaml() + "\n"


def _what(facts: Facts, side: str) -> str:
    if facts.model["sharing"] == "shared":
        return "A model that puts the best counter-argument to a point near it. Points and counters go through it alike."
    other = "counter" if side == "point" else "point"
    return (
        "A bi-encoder that puts the best counter-argument to a point near it. This directory is the side that reads "
        f"*{side}s*; `../{other}` reads the {other}s, and whatever is searched goes through `counter`, points too."
    )


def _load(facts: Facts) -> str:
    counter = "point" if facts.model["sharing"] == "shared" else "counter"
    given = facts.model["prompts"]
    prompts = [f', prompt_name="{name}"' if given[side] else "" for side, name in (("point", "query"), ("counter", "document"))]
    near = "are of unit length" if facts.model["normalize"] else "are compared by Euclidean distance, not by cosine"
    return (
        "```python\nfrom sentence_transformers import SentenceTransformer\n\n"
        f'points, counters = SentenceTransformer("point"), SentenceTransformer("{counter}")\n'
        f'asked = points.encode(["Zoos protect animals."]{prompts[0]})\n'
        f'found = counters.encode(["A cage protects nothing.", "Cats purr."]{prompts[1]})\n'
        "print(((asked - found) ** 2).sum(1))  # the nearer, the better\n```\n\n"
        f"Embeddings {near}. A text's first {facts.model['max_length']} tokens are read."
    )


def _trained(facts: Facts) -> str:
    training = next(row for row in facts.corpus if row["split"] == "training")
    epoch = (
        "Untrained"
        if facts.train["best_epoch"] is None
        else f"Epoch {facts.train['best_epoch'] + 1} of {facts.train['epochs']}"
    )
    model, params = facts.model, facts.params
    losses = ", ".join(name for name, section in params.loss if section.weight)
    return (
        f"{training['pairs']:,} pairs of a point and its counter from {facts.name}, {training['distinct_texts']:,} distinct "
        f"texts, on {_placeless(model['encoder'])}; loss: {losses}; of its layers frozen: {model['freeze'] or 'none'}.\n\n"
        f"Each point's wrong answers are drawn again before every epoch, at random or mined: {Schedule.of(params).title}. "
        f"{epoch}, chosen by top1 of {facts.train['selection_n']:,} "
        f"{'unseen ' * (facts.train['selection_queries'] == 'unseen')}validation queries."
    )


def _worth(facts: Facts) -> str:
    lines = [f"| queries, setting | {' | '.join(STEPS.values())} |", f"|---|{'---|' * len(STEPS)}"]
    for queries in ("unseen", "all"):
        for setting in TOLD:
            cells = [facts.row(setting, queries, stage) for stage in STEPS]
            if cells[-1] is not None and not (queries == "unseen" and not _leaks(facts)):
                lines.append(f"| {cells[-1]['n']:,} {queries}, `{setting}` | {' | '.join(map(_cell, cells))} |")
    return (
        "top1 on the test split, with its 95 % interval by bootstrap over debates: a right counter is the first of all "
        "arguments of the split (`epa`), of its counters (`epc`), or of the other side's arguments in the debate (`sdoa`).\n\n"
        + "\n".join(lines)
        + f"\n\n{_leak(facts)} {_second_step(facts)}"
    )


def _cell(row: Mapping | None) -> str:
    if row is None:
        return "-"
    return f"{row['top1']:.3f}" + ("" if row["top1_low"] is None else f" ({row['top1_low']:.3f} to {row['top1_high']:.3f})")


def _leaks(facts: Facts) -> bool:
    everything, unseen = (facts.row("epa", queries, "retrieved") for queries in ("all", "unseen"))
    return everything is not None and (unseen is None or unseen["n"] < everything["n"])


def _leak(facts: Facts) -> str:
    if not _leaks(facts):
        return "No text of the test queries stands in training."
    everything, unseen = (facts.row("epa", queries, "retrieved") for queries in ("all", "unseen"))
    counts = [row["n"] if row else 0 for row in (everything, unseen)]
    return (
        f"The corpus leaks: of {counts[0]:,} test queries only {counts[1]:,} have no text in training. *unseen* are these, and "
        "theirs are the figures to quote."
    )


def _second_step(facts: Facts) -> str:
    if facts.reranker["kind"] == "none" or not facts.reranker["weight"]:
        return "No second step moves anything here."
    return (
        f"*Re-ranked*: the first {facts.reranker['depth']} by a second step that is not in this directory; Counterpoint's own "
        "`ask.py` and `Retriever` use it."
    )


def _limits(facts: Facts) -> str:
    return (
        "- It finds what is *argued against* a point, not what is true; a counter that it ranks first may be false, unfair or "
        "harmful.\n"
        f"- It was trained on {facts.name} alone: other languages, other kinds of text and other lengths were not tried.\n"
        "- One seed: another gives other figures; the intervals say only how far the test queries may mislead.\n"
        "- Licences of encoder and corpus hold for it; this card does not know them."
    )


def _made(facts: Facts) -> str:
    values = facts.params.model_dump(mode="json", exclude=LEFT_OUT)
    values["model"]["encoder"] = _placeless(values["model"]["encoder"])
    values["loss"]["distill"]["teacher"] = _placeless(values["loss"]["distill"]["teacher"])
    return f"Counterpoint, code of {facts.code}, by `dvc repro` with\n\n```yaml\n{yaml.safe_dump(values, sort_keys=False)}```"


def _placeless(name: str) -> str:
    """An encoder's or a corpus's name without the place that it has on one machine."""
    return Path(name).name if Path(name).is_absolute() else name
