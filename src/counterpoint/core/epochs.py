"""The weights that a run kept, in words."""

from collections.abc import Mapping
from typing import Any


def kept_weights(train: Mapping[str, Any]) -> str:
    """Return which epoch's weights models/ holds, or the mean of which, as metrics/train.json says; epochs count from 0."""
    if train.get("average"):
        return f"mean of epochs {', '.join(map(str, train['average']['epochs']))}"
    return "untrained" if train["best_epoch"] is None else f"epoch {train['best_epoch']}"
