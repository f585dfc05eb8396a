"""The rule by which a stored result still counts: two versions, and a table of params that changed since."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from counterpoint.core.params import Params, flat

# Raise this in the commit after which the same params, data and seed give other draws, losses or ranks of the model.
RESULTS_VERSION = 1
# Raise this in the commit after which BM25 or the untrained encoder rank otherwise.
# In rows of version 1, bm25 is what bm25_classic is now. In those of 2, its ties beside documents went to right answers: of
# Perspectrum's 171 unseen test claims it had .322, and has .327.
BASELINES_VERSION = 3

RENAMED: dict[str, str] = {}  # old key -> new key
# removed key -> the value with which it changed nothing
REMOVED: dict[str, Any] = {
    "prepare.split.seed": 0,
    "negatives.keep": 0.0,
    "negatives.every": 1,
    "model.head_norm": True,
    "loss.pair.form": "pairwise",
    "loss.distill.weight": 0.0,
    "loss.distill.temperature": 0.05,
    "loss.distill.teacher": "data/no_teacher",
    "train.log_every": 1,
    "select.stage": "retrieved",
    "select.rerank_depth": 10,
    "select.answers": "text",
    "retrieve.correction": None,
}


def added(section: type[BaseModel] = Params, prefix: str = "") -> dict[str, Any]:
    """Return the keys that came after stored studies, dotted, with the values that keep the old behaviour (`sections.key`)."""
    pairs: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            pairs |= added(field.annotation, f"{prefix}{name}.")
        elif isinstance(field.json_schema_extra, dict):
            pairs[f"{prefix}{name}"] = field.json_schema_extra["added"]
    return pairs


def current(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of a stored run under the keys of today, dotted.

    A removed key stays, and so agrees with no plan, where its value was another than in `REMOVED`.
    """
    pairs = {RENAMED.get(name, name): value for name, value in flat(params).items()}
    return added() | {name: value for name, value in pairs.items() if name not in REMOVED or REMOVED[name] != value}
