"""src/restore.py brings the committed results back from wherever they are, and never leaves less than it found."""

import json
import os
import shutil

import pytest
import yaml

from conftest import command, outputs, restore, succeed

pytestmark = pytest.mark.dvc


@pytest.fixture(scope="module")
def workspace(repository, tmp_path_factory):
    """A copy of the run, with a commit whose dvc.lock names a model that no cache has: another machine's."""
    folder = shutil.copytree(repository, tmp_path_factory.mktemp("restore") / "r", symlinks=True)
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    for stage in lock["stages"].values():
        for entry in (*stage["deps"], *stage.get("outs", [])):
            if entry["path"] in ("models", "models/negatives.npz"):  # plot depends on a part of the output
                entry["md5"] = "0" * 32 + ".dir" * (entry["path"] == "models")
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
    succeed(folder, "git", "commit", "--quiet", "--all", "--message", "Another machine's run")
    return folder


def test_what_no_cache_has_is_kept_when_it_cannot_be_made(workspace):
    before = outputs(workspace)
    broken = command(workspace, "python", "src/restore.py", env={"LAUNCHER": "false"})
    assert broken.returncode == 1
    assert "no cache has models of the commit: making them anew, by dvc repro" in broken.stdout
    assert broken.stderr.splitlines()[-1] == (
        "error: dvc repro must succeed to make them; it did not, and what stood there before is back"
    )
    kept = outputs(workspace)
    assert {name: kept[name] for name in kept if name.startswith("models/")} == {
        name: before[name] for name in before if name.startswith("models/")
    }
    assert not (workspace / ".dvc/tmp/before-restore").exists()


def test_what_no_cache_has_is_made_anew_and_named_as_differing(workspace, repository):
    shutil.rmtree(workspace / "models")
    said = restore(workspace)
    assert outputs(workspace) == outputs(repository)
    lock = yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]
    (model,) = (out["md5"] for out in lock["train"]["outs"] if out["path"] == "models")
    differing = [line.split() for line in said.splitlines() if line.startswith("  ") and ".dir" in line]
    assert differing == [["models", model]]
    assert said.splitlines()[-1] == '  git commit -m "Run on this machine" dvc.lock metrics plots'
    shown = succeed(workspace, "python", "src/show.py")
    assert shown.splitlines()[-1] == said.splitlines()[-1]
    assert any(line.split() == ["models", model] for line in shown.splitlines())
    succeed(workspace, "git", "commit", "-m", "Run on this machine", "dvc.lock", "metrics", "plots")  # as it says
    assert "differs" not in succeed(workspace, "python", "src/show.py")
    assert restore(workspace) == "params.yaml and the results are those of the commit\n"


def test_from_the_cache_everything_comes_back_whatever_was_run_or_removed(workspace, repository):
    for spoil in (
        lambda: succeed(workspace, "dvc", "exp", "apply", "slow"),
        lambda: [shutil.rmtree(workspace / name) for name in ("models", "metrics", "plots", "data/ranks")],
        lambda: [(workspace / name).unlink() for name in ("params.yaml", "dvc.lock")],
    ):
        spoil()
        assert restore(workspace) == "params.yaml and the results are those of the commit\n"
        assert outputs(workspace) == outputs(repository)
        assert succeed(workspace, "git", "status", "--porcelain") == ""


def test_an_edit_that_git_takes_for_no_edit_is_found(workspace):
    """DVC wrote params.yaml in the second that Git's index has for it, with the same length."""
    params = workspace / "params.yaml"
    text = params.read_text()
    succeed(workspace, "git", "config", "core.trustctime", "false")

    def edit():
        os.utime(params, (10**9, 10**9))
        succeed(workspace, "git", "status")  # the index notes it
        params.write_text(text.replace("seed: 13", "seed: 77", 1))
        os.utime(params, (10**9, 10**9))

    edit()
    assert succeed(workspace, "git", "status", "--porcelain") == ""
    succeed(workspace, "git", "checkout", "HEAD", "--", "params.yaml")
    assert "seed: 77" in params.read_text()  # Git alone does not bring it back
    refused = command(workspace, "python", "src/sweep.py", "--dry-run")
    assert refused.stderr.startswith("error: a sweep must run the committed params.yaml; it was edited")
    restore(workspace)
    assert params.read_text() == text
    edit()
    restore(workspace)
    assert params.read_text() == text


def test_what_a_stage_run_by_hand_made_is_not_lost(workspace):
    file = workspace / "data/ranks/splits.json"
    kept = json.dumps({"mine": 1})
    file.unlink()
    file.write_text(kept)
    before = outputs(workspace)
    (workspace / "params.yaml").write_text((workspace / "params.yaml").read_text().replace("decay: 0.4", "decay: 0.3"))
    refused = command(workspace, "python", "src/restore.py")
    assert refused.returncode == 1
    assert refused.stderr == (
        "error: data/ranks must be in DVC's cache before another takes its place; it is not (a stage run by hand?): "
        "move it away, or dvc commit it\n"
    )
    assert outputs(workspace) == before
    assert "decay: 0.3" in (workspace / "params.yaml").read_text()
    shutil.rmtree(workspace / "data/ranks")
    restore(workspace)


def test_head_that_a_killed_experiment_left_detached_goes_back(workspace):
    head = succeed(workspace, "git", "rev-parse", "HEAD").strip()
    succeed(workspace, "git", "checkout", "--quiet", "--detach")
    restore(workspace)
    assert command(workspace, "git", "symbolic-ref", "--quiet", "HEAD").returncode == 1  # by hand: not for us to undo
    succeed(workspace, "git", "update-ref", "refs/exps/exec/EXEC_BASELINE", head)
    assert "HEAD goes back to main, from where a killed dvc left it" in restore(workspace)
    assert succeed(workspace, "git", "symbolic-ref", "HEAD") == "refs/heads/main\n"
    assert command(workspace, "git", "rev-parse", "--verify", "--quiet", "refs/exps/exec/EXEC_BASELINE").returncode == 1


def test_outside_of_a_repository_it_is_one_line(tmp_path, workspace):
    refused = command(tmp_path, "python", str(workspace / "src/restore.py"))
    assert (refused.returncode, refused.stderr) == (
        1,
        f"error: results are restored at the root of a DVC repository; {tmp_path} is none\n",
    )
