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
    """Run the trials; exit 1 where one of them differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50, help="trials (default: 50)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every-part", action="store_true", help="switch on all that decides what is drawn, learnt or kept")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        encoder = write_bert(folder / "encoder")
        start = time.monotonic()
        params = fixture_params(encoder, train__epochs=EPOCHS, **(EVERY_PART if args.every_part else {}))
        original = copy_repository(folder / "original", params)
        run(original, folder / "log")
        expected, seconds = outputs(original), time.monotonic() - start
        print(f"a run left alone: {len(expected)} files, {seconds:.0f} s", flush=True)
        tally: Counter[str] = Counter()
        for trial in range(args.n):
            same = survives(trial, copy_repository(folder / "trial", params), expected, seconds, rng, tally)
            tally["byte-identical" if same else "DIFFERENT"] += 1
            shutil.rmtree(folder / "trial")
    print("\n".join(f"{n:5}  {event}" for event, n in sorted(tally.items())))
    sys.exit(tally["byte-identical"] != args.n)


def survives(trial: int, folder: Path, expected: dict, seconds: float, rng: random.Random, tally: Counter) -> bool:
    """Run once with its kills; return whether the outputs are the expected ones."""
    log, kills = folder.parent / "log", []
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
            kills.append(f"{name} to {'a stage' if victims else 'dvc'} in {at}")
            tally[f"killed: {kills[-1]}"] += 1
        dvc.wait()
        tally["resumed after an epoch or a part"] += "resuming after" in log.read_text()
        orphans = wait_until_nothing_runs_in(folder)
        tally["ORPHANS"] += bool(orphans)
    code = run(folder, log)
    text = log.read_text()
    tally["resumed after an epoch or a part"] += "resuming after" in text
    written = outputs(folder)
    different = sorted(name for name in expected.keys() | written.keys() if expected.get(name) != written.get(name))
    print(f"trial {trial}: {'; '.join(kills) or 'not killed'}: {different or 'same'}", flush=True)
    if code or different:
        print(text, flush=True)
    return code == 0 and not different


def begin(folder: Path, log: Path) -> subprocess.Popen:
    """Start `dvc repro` in a folder."""
    with log.open("w") as stream:
        return subprocess.Popen(["dvc", "repro"], cwd=folder, env=environment(folder), stdout=stream, stderr=stream)


def run(folder: Path, log: Path) -> int:
    """Run `dvc repro` to its end; return its exit code."""
    return begin(folder, log).wait()


if __name__ == "__main__":
    main()
