"""src/sweep.py --queue on the fixture: runs beside each other are the runs one by one."""

import time

import pytest

from conftest import copy_repository, fixture_params, succeed
from sweeps import names, read, states, sweep

pytestmark = pytest.mark.dvc


def test_the_queue_runs_two_at_a_time_with_the_same_results(repository, tiny_bert, tmp_path):
    other = copy_repository(tmp_path / "queue", fixture_params(tiny_bert))
    installed = tmp_path / "site-packages" / "counterpoint"  # no run may take an installed copy for the workspace's code
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("raise ImportError('an installed copy')\n")
    env = {"PYTHONPATH": str(installed.parent)}
    done = sweep(other, "--queue", "-j", "2", "--seeds", "13", "--decays", "none", "0.005", env=env)
    assert done.returncode == 0, done.stderr
    expected = {"decay-none-seed-13": "constant", "decay-0.005-seed-13": "slow"}
    assert names(other) == sorted(expected)
    for name, alike in expected.items():
        assert f"{name}: epoch " in done.stdout
        assert "epoch 3/3" in (other / "logs" / f"{name}.log").read_text()
        for file in ("metrics/test.json", "metrics/settings.json", "metrics/train.json", "plots/series/history.json"):
            assert read(other, name, file) == read(repository, alike, file)
    # a run of the queue that fails says why, and can be run again
    launcher = tmp_path / "launcher.sh"
    launcher.write_text("echo 'error: no luck' >&2; exit 1\n")
    words = ("--queue", "--seeds", "1", "--decays", "0.7", "-S", "train.epochs=1")
    failed = sweep(other, *words, env={"LAUNCHER": f"bash {launcher}"})
    assert failed.returncode == 1
    assert failed.stderr.endswith("  decay-0.7-seed-1: no luck\n")
    assert states(sweep(other, *words, "--dry-run")) == {"decay-0.7-seed-1": "failed, to run again"}
    succeed(other, "dvc", "queue", "stop")
    deadline = time.monotonic() + 30
    while "0 active, 0 idle" not in succeed(other, "dvc", "queue", "status"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
