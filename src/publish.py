"""Stage publish: the model with a model card, published/point (and published/counter), for hubs and registries."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()

import shutil
import subprocess
from pathlib import Path

from counterpoint.core.files import read_json, read_series, replacing_directory, write_text
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
        read_json(METRICS / "lexical.json"),
        read_json(METRICS / "reranker.json"),
        code(),
    )
    with replacing_directory(PUBLISHED) as unfinished:  # files in place may be links into DVC's cache
        for side in ("point",) if model["sharing"] == "shared" else ("point", "counter"):
            shutil.copytree(MODELS / side, unfinished / side, copy_function=shutil.copyfile)
            write_text(unfinished / side / "README.md", card(facts, side))


def code() -> str:
    """Return the last commit that changed the code of the stages; commits of results or docs do not count."""
    paths = code_of(lambda stage: stage != "plot")
    commit = output("git", "log", "-1", "--format=%H", "--", *paths)
    if not commit:
        return "no commit"
    shallow = Path(output("git", "rev-parse", "--git-path", "shallow"))
    if shallow.is_file() and commit in shallow.read_text(encoding="utf-8"):  # perhaps an earlier one changed them
        return "a commit that a shallow clone does not know"
    changed = output("git", "status", "--porcelain", "--", *paths)
    return f"commit {commit[:12]}" + (", and changes that are not committed" if changed else "")


def output(*words: str) -> str:
    """Return what a command printed; nothing where it failed."""
    done = subprocess.run(words, capture_output=True, text=True)
    return "" if done.returncode else done.stdout.strip()


if __name__ == "__main__":
    process.run(main)
