"""The parts that sentence-transformers saved with an encoder: its pooling, and layers that are not used here."""

import logging
from pathlib import Path
from typing import cast, get_args

from counterpoint.core.files import read_json
from counterpoint.core.sections import Pooling

MODULES = "modules.json"


def saved_pooling(directory: Path) -> Pooling | None:
    """Return the pooling that an encoder was saved with; None where modules.json names none that is known here."""
    for module in _modules(directory):
        if module["type"].endswith("Pooling"):
            config = read_json(directory / module["path"] / "config.json")
            modes = [name for name in get_args(Pooling) if config.get(_old_name(name)) or config.get("pooling_mode") == name]
            return cast(Pooling, modes[0]) if len(modes) == 1 else None
    return None


def tell_differences(directory: Path, pooling: Pooling) -> None:
    """Log a line for each part of a saved encoder that is used otherwise, or not at all."""
    if (saved := saved_pooling(directory)) not in (None, pooling):
        logging.info("model.encoder: %s was saved with pooling %s; model.pooling is %s", directory.name, saved, pooling)
    if dense := [module["path"] for module in _modules(directory) if module["type"].endswith("Dense")]:
        logging.info("model.encoder: %s: layers behind its pooling are left out: %s", directory.name, ", ".join(dense))


def _old_name(pooling: str) -> str:
    return {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}.get(pooling, "")


def _modules(directory: Path) -> list[dict]:
    return read_json(directory / MODULES) if (directory / MODULES).is_file() else []
