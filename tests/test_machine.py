"""The machine hinders a run: no room, no permission, no repository, half a history, another run."""

import hashlib
import json
import re
import resource
import shutil
import signal
import subprocess

import pytest
import yaml

from conftest import command, copy_repository, fixture_params, outputs, restore, succeed, wait_until_nothing_runs_in
from test_killed import start, wait_for

pytestmark = pytest.mark.dvc


def one_line(done: subprocess.CompletedProcess, says: str) -> None:
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.lower().startswith("error: ")]
    assert done.returncode != 0
    assert re.search(says, lines[0]), lines
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture(scope="module")
def workspace(repository, tmp_path_factory):
    """Return a copy of the run, to be damaged."""
    return shutil.copytree(repository, tmp_path_factory.mktemp("machine") / "r", symlinks=True)


def limited(size: int):
    """Return options that let no file grow beyond a size (bytes), as on a disk that is nearly full."""
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))}


@pytest.mark.parametrize(
    ("verb", "size", "says"),
    [
        ("prepare", 1_000, r"error: data/triples/\w+.jsonl: File too large; put that right and give the same command again"),
        ("train", 10_000, r"error: .checkpoints/[\w-]+/state-00001-[0-9a-f]{8}.pt: File too large"),
        ("baselines", 10_000, r"error: data/baselines/validation.csv: File too large"),
        ("rank", 10_000, r"error: data/ranks/validation.csv: File too large"),
        ("evaluate", 10_000, r"error: metrics/settings.json: File too large"),
        ("plot", 10_000, r"error: plots/pictures/accuracy.png: File too large"),
    ],
)
def test_a_full_disk_is_one_line_and_loses_nothing(workspace, repository, verb, size, says):
    one_line(command(workspace, "python", f"src/{verb}.py", **limited(size)), says)
    assert not [path for path in workspace.rglob(".*.unfinished") if path.is_file()]
    if verb == "train":  # its series are written anew
        succeed(workspace, "python", "src/train.py")
    assert outputs(workspace) == outputs(repository)


def test_a_disk_that_is_full_when_the_model_is_written(workspace, repository):
    params = (workspace / "params.yaml").read_text()
    (workspace / "params.yaml").write_text(params.replace("epochs: 3", "epochs: 0"))
    one_line(command(workspace, "python", "src/train.py", **limited(20_000)), r"error: models: .*File too large")
    (workspace / "params.yaml").write_text(params)
    assert (workspace / "models/point/model.safetensors").exists()  # the old model still stands
    restore(workspace)
    assert outputs(workspace) == outputs(repository)


@pytest.mark.parametrize("folder", ["metrics", "plots/series", "data/triples"])
def test_a_folder_that_cannot_be_written_to(workspace, repository, folder):
    target = workspace / folder
    target.rename(target.with_name("aside"))
    target.symlink_to("/proc")  # where nobody can make a file, not even root
    done = command(workspace, "python", f"src/{'train' if folder == 'plots/series' else 'prepare'}.py")
    target.unlink()
    target.with_name("aside").rename(target)
    one_line(done, rf"error: {folder}/[\w.]+: .*; put that right and give the same command again")
    restore(workspace)
    assert outputs(workspace) == outputs(repository)


def test_without_a_git_repository(repository, tmp_path):
    folder = shutil.copytree(repository, tmp_path / "r", symlinks=True)
    shutil.rmtree(folder / ".git")
    one_line(command(folder, "python", "src/check.py"), r"error: DVC needs a Git repository; .* is in none: git init, git add")
    before = outputs(folder)
    one_line(command(folder, "dvc", "repro"), r"ERROR: .* is not a git repository")
    assert outputs(folder) == before


def test_a_temp_run_out_of_a_shallow_clone(repository, tmp_path):
    succeed(tmp_path, "git", "clone", "--quiet", "--depth", "1", repository.as_uri(), "shallow")
    done = command(tmp_path / "shallow", "dvc", "exp", "run", "--temp", "-S", "decay=0.1")
    one_line(done, r"error: a queue or temp run needs the full history; .* is a shallow clone: git fetch --unshallow")


def test_a_second_run_in_the_workspace_is_refused_and_the_first_goes_on(tiny_bert, tmp_path):
    folder = copy_repository(tmp_path / "r", fixture_params(tiny_bert, train__epochs=2000))
    first = start(folder, tmp_path / "log", "dvc", "repro", "train")
    wait_for("training on", tmp_path / "log")
    one_line(command(folder, "dvc", "repro"), r"ERROR: failed to reproduce 'prepare': .* is busy, it is being blocked by")
    one_line(
        command(folder, "python", "src/train.py", env={"DVC_STAGE": "train"}),
        r"error: a workspace must have one run at a time; process \d+ runs a stage in this one",
    )
    assert first.poll() is None
    first.send_signal(signal.SIGTERM)
    first.wait()
    assert wait_until_nothing_runs_in(folder) == []


def test_params_that_change_under_a_run_are_not_recorded_and_the_run_resumes_when_they_are_back(tiny_bert, tmp_path):
    folder = copy_repository(tmp_path / "r", fixture_params(tiny_bert, train__epochs=40))
    whole = (folder / "params.yaml").read_text()
    first = start(folder, tmp_path / "log", "dvc", "repro", "train")
    wait_for("training on", tmp_path / "log")
    (folder / "params.yaml").write_text(whole.replace("margin: 0.5", "margin: 0.9"))
    assert first.wait() != 0
    assert (
        "error: params.yaml must not change while a stage runs; it did, so nothing is recorded"
        in (tmp_path / "log").read_text()
    )
    assert "train" not in yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    (folder / "params.yaml").write_text(whole)
    assert "resuming after epoch 40" in succeed(folder, "dvc", "repro", "train")


def test_after_a_failed_run_one_command_restores_all_outputs(workspace, repository):
    """The command is the README's; dvc removes a stage's outputs before it runs."""
    for words in (("-S", "decay=nan"), ("-S", "corpus=data/gone"), ("-S", "model.encoder=gone"), ("-S", "model.max_length=99")):
        one_line(
            command(workspace, "dvc", "exp", "run", *words), r"error: (params.yaml|model)|ERROR: .*No such file .*data/gone"
        )
        restore(workspace)
        assert outputs(workspace) == outputs(repository), words


def test_in_a_folder_of_another_repository(repository, tmp_path):
    """Git's paths begin at its root, DVC's at this folder."""
    outer = tmp_path / "outer"
    inner = shutil.copytree(repository, outer / "nested/inner", symlinks=True)
    shutil.rmtree(inner / ".git")
    (outer / "README.md").write_text("another project")
    for words in (("init", "--quiet", "--initial-branch", "main"), ("add", "--all"), ("commit", "--quiet", "-m", "Start")):
        succeed(outer, "git", *words)
    succeed(inner, "dvc", "exp", "run", "--name", "slow", "-S", "decay=0.005")
    assert "params.yaml and the results are those of the commit" in succeed(inner, "python", "src/restore.py")
    compared = json.loads(succeed(inner, "python", "src/compare.py", "HEAD", "slow", "--setting", "epa", "--json"))
    before = json.loads(succeed(repository, "python", "src/compare.py", "HEAD", "slow", "--setting", "epa", "--json"))
    assert compared["settings"] == before["settings"]
    assert "[counter " in succeed(inner, "python", "src/ask.py", "cat purr", "--run", "slow", "--top", "1")
    dry = succeed(inner, "python", "src/sweep.py", "--seeds", "13", "--decays", "0.005", "--dry-run")
    assert re.search(r"1 of 1 to run, about \d s of training by the seconds of slow", dry)
    assert "| 0.005 | 1 |" in succeed(inner, "python", "src/report.py")
    assert succeed(outer, "git", "status", "--porcelain") == ""


def test_a_stage_by_hand_writes_nothing_through_links_into_the_cache(repository, tmp_path):
    folder = shutil.copytree(repository, tmp_path / "linked", symlinks=True)
    succeed(folder, "dvc", "config", "--local", "cache.type", "hardlink")
    succeed(folder, "dvc", "checkout", "--relink")
    linked = [file for file in (folder / "models").rglob("*") if file.is_file() and file.stat().st_nlink > 1]
    assert linked
    for stage in ("prepare", "train", "lexical", "rerank", "baselines", "rank", "evaluate", "plot", "publish"):
        succeed(folder, "python", f"src/{stage}.py")
    cache = [file for file in (folder / ".dvc/cache/files/md5").rglob("*") if file.is_file()]
    assert len(cache) > 20
    for file in cache:
        name = (file.parent.name + file.name).removesuffix(".dir")
        assert hashlib.md5(file.read_bytes()).hexdigest() == name


@pytest.mark.usefixtures("cold")
def test_pictures_need_no_display_and_no_notebook(repository, tmp_path):
    folder = shutil.copytree(repository, tmp_path / "run", symlinks=True)
    before = (folder / "plots/pictures/accuracy.png").read_bytes()
    succeed(folder, "python", "src/plot.py", env={"MPLBACKEND": "module://matplotlib_inline.no_such_backend", "DISPLAY": ""})
    assert (folder / "plots/pictures/accuracy.png").read_bytes() == before


def test_a_shallow_clone_says_what_it_does_not_know(repository, tmp_path):
    whole = shutil.copytree(repository, tmp_path / "whole", symlinks=True)
    succeed(whole, "git", "commit", "--quiet", "--allow-empty", "-m", "Later")
    succeed(tmp_path, "git", "clone", "--quiet", "--depth", "1", f"file://{whole}", "shallow")
    folder = tmp_path / "shallow"
    code = "import sys; sys.path.insert(0, 'src'); import publish; print(publish.code())"
    assert succeed(folder, "python", "-c", code) == "a commit that a shallow clone does not know\n"
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    lock["stages"]["publish"]["outs"][0]["md5"] = "0" * 32 + ".dir"
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    code = "from counterpoint.experiments.workspace import *; print(lines_of_difference())"
    says = succeed(folder, "python", "-c", code, env={"PYTHONPATH": "src"})
    assert "This clone is shallow: its model card cannot name the commit" in says


def test_a_folder_of_another_user_is_git_s_own_line(repository):
    done = command(repository, "python", "src/compare.py", "HEAD", "slow", env={"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"})
    assert done.returncode == 1
    assert "git config --global --add safe.directory" in done.stderr
    assert done.stderr.count("\n") == 1
