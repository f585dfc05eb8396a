"""Bring the committed results back: what Git tracks, what DVC's cache holds, and by running what no cache has."""

import logging
import subprocess
import sys
from pathlib import Path

from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.locks import alone
from counterpoint.experiments.baseline import check_out, committed_outs, differences, lines_of_difference, put_aside
from counterpoint.experiments.workspace import attach_head, show_tracked


def main() -> None:
    if not Path(".dvc/config").exists():
        raise InputError(f"results are restored at the root of a DVC repository; {Path.cwd()} is none")
    with alone(Path(".dvc/tmp/stage.lock"), "runs a stage"):
        refuse_to_lose()
        attach_head()
        show_tracked()
        missing = check_out()
    if missing:
        run_anew(missing)
    for line in lines_of_difference():
        logging.info(line)
    if not differences():
        logging.info("params.yaml and the results are those of the commit")


def refuse_to_lose() -> None:
    """Whatever stands in the place of an output must be in the cache, so that it can be had again."""
    if lost := [out.path for out in committed_outs() if out.holds_uncached]:
        raise InputError(
            f"{lost[0]} must be in DVC's cache before another takes its place; it is not (a stage run by hand?): "
            "move it away, or dvc commit it"
        )


def run_anew(paths: list[str]) -> None:
    """What no cache has comes by running; if the run fails, what stood there before stands there again."""
    logging.info("no cache has %s of the commit: making them anew, by dvc repro", ", ".join(paths))
    with put_aside([Path(path) for path in paths]):
        if subprocess.run([sys.executable, "-m", "dvc", "repro"], preexec_fn=process.die_with_parent).returncode:
            raise InputError("dvc repro must succeed to make them; it did not, and what stood there before is back")


if __name__ == "__main__":
    process.run(main)
