"""Kill runs at random moments, finish them, and compare every byte with a run that was left alone.

    python tools/kill_trial.py --n 50

Each trial is a run of the tests' tiny world in a repository of its own. At a random moment a random victim, the stage at
work or the dvc that runs it, gets SIGKILL, SIGTERM or SIGINT; up to three times, then the run is left to end.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from conftest import (
    EVERY_PART,
    copy_repository,
    environment,
    fixture_params,
    outputs,
    processes_in,
    wait_until_nothing_runs_in,
    write_bert,
)

EPOCHS = 150  # so that many moments lie in the middle of training
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50, help="trials (default: 50)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every-part", action="store_true", help="with all that decides what is drawn, learnt or kept on")
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        encoder = write_bert(folder / "encoder")
        start = time.monotonic()
        params = fixture_params(encoder, train__epochs=EPOCHS, **(EVERY_PART if asked.every_part else {}))
        original = copy_repository(folder / "original", params)
        run(original, folder / "log")
        expected, seconds = outputs(original), time.monotonic() - start
        print(f"a run left alone: {len(expected)} files, {seconds:.0f} s", flush=True)
        tally: Counter[str] = Counter()
        for trial in range(asked.n):
            same = one(trial, copy_repository(folder / "trial", params), expected, seconds, rng, tally)
            tally["byte-identical" if same else "DIFFERENT"] += 1
            shutil.rmtree(folder / "trial")
    print("\n".join(f"{n:5}  {what}" for what, n in sorted(tally.items())))
    sys.exit(tally["byte-identical"] != asked.n)


def one(trial: int, folder: Path, expected: dict, seconds: float, rng: random.Random, tally: Counter) -> bool:
    """One run with its kills; whether its outputs are the expected ones."""
    log, told = folder.parent / "log", []
    for _ in range(rng.randint(1, 3)):
        dvc = begin(folder, log)
        time.sleep(rng.uniform(0, seconds))
        victims = [process for process in processes_in(folder) if process != dvc.pid] if rng.random() < 0.7 else []
        victim, number = (victims[0] if victims else dvc.pid), getattr(signal, name := rng.choice(SIGNALS))
        if dvc.poll() is None:
            at = log.read_text().rsplit("Running stage '", 1)[-1].split("'")[0] if "Running stage" in log.read_text() else "dvc"
            try:
                os.kill(victim, number)
            except ProcessLookupError:
                continue  # it had just ended
            told.append(f"{name} to {'a stage' if victims else 'dvc'} in {at}")
            tally[f"killed: {told[-1]}"] += 1
        dvc.wait()
        tally["went on after an epoch"] += "going on after" in log.read_text()
        orphans = wait_until_nothing_runs_in(folder)
        tally["ORPHANS"] += bool(orphans)
    code = run(folder, log)
    text = log.read_text()
    tally["went on after an epoch"] += "going on after" in text
    found = outputs(folder)
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    print(f"trial {trial}: {'; '.join(told) or 'not killed'}: {different or 'same'}", flush=True)
    if code or different:
        print(text, flush=True)
    return code == 0 and not different


def begin(folder: Path, log: Path) -> subprocess.Popen:
    with log.open("w") as stream:
        return subprocess.Popen(["dvc", "repro"], cwd=folder, env=environment(folder), stdout=stream, stderr=stream)


def run(folder: Path, log: Path) -> int:
    return begin(folder, log).wait()


if __name__ == "__main__":
    main()
