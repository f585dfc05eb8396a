"""Stage publish: the model with a model card, published/point (and published/counter), for hubs and registries."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()

import shutil
import subprocess
from pathlib import Path

from counterpoint.core.files import read_json, read_series, write_text
from counterpoint.core.params import code_of, load_params
from counterpoint.use.card import Facts, card

MODELS, METRICS, PUBLISHED = Path("models"), Path("metrics"), Path("published")


def main() -> None:
    """Write published/."""
    params, model = load_params(), read_json(MODELS / "model.json")
    facts = Facts(
        params,
        read_series(METRICS / "prepare.json"),
        read_series(METRICS / "settings.json"),
        model,
        read_json(METRICS / "train.json"),
        read_json(METRICS / "reranker.json"),
        code(),
    )
    for side in ("point",) if model["sharing"] == "shared" else ("point", "counter"):
        shutil.copytree(MODELS / side, PUBLISHED / side, copy_function=shutil.copyfile, dirs_exist_ok=True)
        write_text(PUBLISHED / side / "README.md", card(facts, side))


def code() -> str:
    """Return the last commit that changed the code of the stages; commits of results or docs do not count."""
    paths = code_of(lambda stage: stage != "plot")
    log = subprocess.run(["git", "log", "-1", "--format=%h", "--abbrev=12", "--", *paths], capture_output=True, text=True)
    if log.returncode or not log.stdout.strip():
        return "no commit"
    changed = subprocess.run(["git", "status", "--porcelain", "--", *paths], capture_output=True, text=True).stdout.strip()
    return f"commit {log.stdout.strip()}" + (", and changes that are not committed" if changed else "")


if __name__ == "__main__":
    process.run(main)
