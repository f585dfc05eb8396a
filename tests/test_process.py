import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types
from pathlib import Path

import pytest

from conftest import ROOT
from counterpoint.core import process, recorded
from counterpoint.core.errors import InputError
from counterpoint.experiments.dvc_runs import wait_for_zombies


def raising(error):
    def main():
        raise error

    return main


def test_an_error_that_a_user_can_mend_is_one_line(capsys):
    for error, line in (
        (InputError("corpus: x must be y; got z"), "error: corpus: x must be y; got z\n"),
        (OSError(28, "No space left on device", "models"), "error: models: No space left on device; put that right and give"),
    ):
        with pytest.raises(SystemExit) as ended:
            process.run(raising(error))
        assert ended.value.code == 1
        err = capsys.readouterr().err
        assert err.startswith(line)
        assert err.count("\n") == 1


BUSY = {
    "product": "import torch\na = torch.randn(6000, 6000)\nprint('ready', flush=True)\n"
    "for _ in range(100):\n    a @ a",  # seconds each, outside of Python
    "loop": "print('ready', flush=True)\nwhile True:\n    pass",
    "sleep": "import time\nprint('ready', flush=True)\ntime.sleep(60)",
}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("work", BUSY)
def test_a_signal_ends_a_stage_within_two_seconds_with_one_line(work, number):
    body = textwrap.indent(BUSY[work], "    ")
    path = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})"
    code = f"{path}\nfrom counterpoint.core import process\ndef main():\n{body}\nprocess.run(main)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.2)
    child.send_signal(number)
    start = time.monotonic()
    _, err = child.communicate(timeout=30)
    assert time.monotonic() - start < 2
    assert child.returncode == 128 + number
    assert err == f"{process.SIGNALS[number]}; the same command goes on from here\n"


def test_after_a_stage_the_signal_handlers_are_the_old_ones():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    process.run(lambda: None)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize(
    ("main", "code"),
    [
        ("for i in range(9): logging.info('line %d', i)\n    open('done', 'w')", 0),  # a stage's work goes on
        ("for i in range(99999): print('line', i)", 128 + signal.SIGPIPE),
    ],
)
def test_a_closed_stdout_is_no_traceback(tmp_path, main, code):
    path = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})"
    source = f"{path}\nimport logging, time\nfrom counterpoint.core import process\ndef main():\n    {main}\nprocess.run(main)"
    command = f'{sys.executable} -u -c "$CODE" | head -1; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=os.environ | {"CODE": source}, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert re.fullmatch(rf"line 0\n{code}\n", done.stdout)
    assert (tmp_path / "done").exists() == (code == 0)


# --- where DVC will record it ----------------------------------------------------------------------------------------


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A folder as working directory, in which DVC runs a stage."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "train")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    (tmp_path / ".dvc").mkdir()
    return tmp_path


def test_a_stage_that_works_in_a_folder_leaves_no_repository_there(workspace, monkeypatch):
    (workspace / "data").mkdir()
    monkeypatch.chdir(workspace / "data")
    process.run(lambda: None)
    assert list((workspace / "data").iterdir()) == []  # DVC takes a folder with .dvc in it for another repository
    assert (workspace / ".dvc/tmp/stage.lock").exists()


def ended(main, capsys):
    with pytest.raises(SystemExit) as end:
        process.run(main)
    assert end.value.code == 1
    return capsys.readouterr().err


def test_the_function_that_main_returns_is_called_when_nothing_has_changed(workspace, capsys):
    called = []
    process.run(lambda: lambda: called.append(1))
    assert called == [1]

    def edit():
        (workspace / "params.yaml").write_text("seed: 2\n")
        return lambda: called.append(2)

    err = ended(edit, capsys)
    assert err == "error: params.yaml must not change while a stage runs; it did, so nothing is recorded: run it again\n"
    assert called == [1]


def test_code_must_not_change_while_a_stage_runs(workspace, capsys, monkeypatch):
    package = workspace / "src" / "counterpoint"
    package.mkdir(parents=True)
    (package / "noun.py").write_text("x = 1\n")
    module = types.ModuleType("noun")
    module.__file__ = str(package / "noun.py")
    monkeypatch.setitem(sys.modules, "noun", module)
    monkeypatch.setattr(recorded, "__file__", str(package / "core" / "recorded.py"))
    err = ended(lambda: (package / "noun.py").write_text("x = 2\n") and None, capsys)
    assert err.startswith("error: src/counterpoint/noun.py must not change while a stage runs")


def test_a_second_stage_in_the_workspace_is_refused(workspace, capsys):
    def second():
        assert (workspace / ".dvc/tmp/stage.pid").read_text() == str(os.getpid())
        assert ended(lambda: None, capsys) == (
            f"error: a workspace must have one run at a time; process {os.getpid()} runs a stage in this one\n"
        )

    process.run(second)
    process.run(lambda: None)  # the lock goes with its holder


def test_a_temp_run_out_of_a_shallow_clone_is_refused(workspace, capsys, monkeypatch):
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for number in (1, 2):
        subprocess.run([*git, "init", "--quiet", "full"], cwd=workspace, check=True)
        subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", str(number)], cwd=workspace / "full", check=True)
    subprocess.run(
        [*git, "clone", "--quiet", "--depth", "1", (workspace / "full").as_uri(), "shallow"], cwd=workspace, check=True
    )
    monkeypatch.setenv("DVC_ROOT", str(workspace / "full"))
    process.run(lambda: None)
    monkeypatch.setenv("DVC_ROOT", str(workspace / "shallow"))
    says = f"a queue or temp run needs the full history; {workspace / 'shallow'} is a shallow clone: git fetch --unshallow"
    assert ended(lambda: None, capsys) == f"error: {says}\n"


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        process.run(raising(ZeroDivisionError()))


@pytest.mark.parametrize(
    "verb", ["prepare", "baselines", "train", "lexical", "rerank", "rank", "evaluate", "plot", "publish", "check"]
)
def test_a_stage_begins_before_its_slow_imports(verb):
    lines = [line for line in (ROOT / f"src/{verb}.py").read_text().splitlines() if line.strip()]
    assert lines[1:3] == ["from counterpoint.core import process", 'if __name__ == "__main__":']
    assert lines[3].startswith(("    process.begin()", "    process.begin(launched=True)"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_a_stage_ends_with_its_parent(tmp_path):
    code = f"import sys, time; sys.path.insert(0, {str(ROOT / 'src')!r}); from counterpoint.core.process import begin; "
    code += "begin(); print('ready', flush=True); time.sleep(60)"
    parent = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {code!r}]); print(p.pid, flush=True); p.wait()"
    )
    child = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    lines = {child.stdout.readline().strip() for _ in range(2)}
    pid = int((lines - {"ready"}).pop())
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    for _ in range(100):
        if not alive(pid):
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the child outlived its parent")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("given", "expected"), [({}, "10000 None"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE")])
def test_threads_wait_without_spinning_unless_the_user_sets_a_policy(given, expected):
    code = (
        f"import os, sys; sys.path.insert(0, {str(ROOT / 'src')!r}); from counterpoint.core import process; process.begin(); "
    )
    code += "assert 'torch' not in sys.modules; print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"
    env = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} | given
    assert subprocess.check_output([sys.executable, "-c", code], env=env, text=True) == f"{expected}\n"


def test_a_signal_ends_a_stage_whose_stdout_is_closed():
    """A sweep that was killed leaves such a stage."""
    path = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})"
    body = textwrap.indent(BUSY["sleep"], "    ")
    code = f"{path}\nfrom counterpoint.core import process\ndef main():\n{body}\nprocess.run(main)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert child.stdout.readline() == "ready\n"
    child.stdout.close()
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=10) == 128 + signal.SIGTERM


def stage_under_dvc(folder, main, **env):
    """Run a stage as DVC does, in a new workspace; main is the body of its main()."""
    (folder / ".dvc").mkdir(exist_ok=True)
    (folder / "params.yaml").write_text("seed: 1\n")
    path = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r})"
    code = f"{path}\nimport logging\nfrom counterpoint.core import process\ndef main():\n    {main}\nprocess.run(main)"
    given = os.environ | {"DVC_STAGE": "train", "DVC_ROOT": str(folder)} | env
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=given, capture_output=True, text=True)


def test_a_stage_adds_its_lines_to_the_log_of_its_experiment(tmp_path):
    for number in (1, 2):
        done = stage_under_dvc(tmp_path, f"logging.info('said %d', {number})", DVC_EXP_NAME="slow")
        assert (done.returncode, done.stdout) == (0, f"said {number}\n")
    first, said, again, more = (tmp_path / "logs" / "slow.log").read_text().splitlines()
    assert (first, again) == ("--- train", "--- train")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  said 1", said)
    assert more.endswith("  said 2")
    stage_under_dvc(tmp_path, "pass", DVC_EXP_NAME="")
    assert (tmp_path / "logs" / "workspace.log").read_text() == "--- train\n"


def test_the_last_line_of_the_log_is_the_end_of_the_stage(tmp_path):
    for main, last in (
        (
            "from counterpoint.core.errors import InputError; raise InputError('x must be y; got z')",
            "error: x must be y; got z",
        ),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        (
            "import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)",
            "terminated; the same command goes on from here",
        ),
    ):
        assert stage_under_dvc(tmp_path, main).returncode
        assert (tmp_path / "logs" / "workspace.log").read_text().rstrip().splitlines()[-1] == last


def test_a_log_that_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "logs").write_text("a file")
    done = stage_under_dvc(tmp_path, "pass")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_outside_of_dvc_there_is_no_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    process.run(lambda: None)
    assert list(tmp_path.iterdir()) == []


def test_the_garbage_collector_is_off_while_a_stage_imports_and_on_while_it_runs():
    code = (
        f"import gc, sys; sys.path.insert(0, {str(ROOT / 'src')!r}); from counterpoint.core import process; process.begin(); "
        "print(gc.isenabled()); process.run(lambda: print(gc.isenabled(), gc.get_freeze_count() > 1000))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\nTrue True\n", "")


def test_a_killed_process_is_waited_for_until_its_parent_has_read_its_end(tmp_path):
    """Else DVC, told by its lock file of the process, says that it is busy."""
    lock, child = tmp_path / "rwlock", subprocess.Popen(["sleep", "60"])
    wait_for_zombies(lock)  # no file, nothing to wait for
    lock.write_text(json.dumps({"write": {"models": {"pid": child.pid, "cmd": "dvc"}}, "read": {}}))
    began = time.monotonic()
    wait_for_zombies(lock)  # it lives: that is for DVC to say
    assert time.monotonic() - began < 5
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and still there
    reaper = threading.Timer(0.5, child.wait)
    reaper.start()
    wait_for_zombies(lock)
    assert not Path(f"/proc/{child.pid}").exists()
    reaper.join()
