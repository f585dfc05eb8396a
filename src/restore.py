"""Bring the committed results back: from Git, from DVC's cache, and by running what no cache has."""

import logging
import subprocess
import sys
from pathlib import Path

from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.locks import alone
from counterpoint.experiments.baseline import check_out, lines_of_difference, put_aside, refuse_to_lose
from counterpoint.experiments.workspace import show_tracked, take_head_back


def main() -> None:
    """Restore the results, and say where they differ from the commit's."""
    if not Path(".dvc/config").exists():
        raise InputError(f"results are restored at the root of a DVC repository; {Path.cwd()} is none")
    with alone(Path(".dvc/tmp/stage.lock"), "runs a stage"):
        refuse_to_lose()
        take_head_back()
        show_tracked()
        missing = check_out()
    if missing:
        logging.info("no cache has %s of the commit: making them anew, by dvc repro", ", ".join(missing))
        with put_aside([Path(path) for path in missing]):
            if subprocess.run([sys.executable, "-m", "dvc", "repro"], preexec_fn=process.die_with_parent).returncode:
                raise InputError("dvc repro must succeed to make them; it did not, and what stood there before is back")
    for line in lines_of_difference() or ["params.yaml and the results are those of the commit"]:
        logging.info(line)


if __name__ == "__main__":
    process.run(main)
