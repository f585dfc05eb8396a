import os
import signal
import subprocess
import sys
import time

import pytest

from conftest import ROOT
from counterpoint import stage
from counterpoint.errors import InputError


def raising(error):
    def main():
        raise error

    return main


ENDINGS = [
    (InputError("corpus: x must be y; got z"), 1, "error: corpus: x must be y; got z\n"),
    (KeyboardInterrupt(), 130, "interrupted\n"),
]


@pytest.mark.parametrize(("error", "code", "line"), ENDINGS)
def test_what_a_user_can_put_right_is_one_line(error, code, line, capsys):
    with pytest.raises(SystemExit) as ended:
        stage.run(raising(error))
    assert ended.value.code == code
    assert capsys.readouterr().err == line


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        stage.run(raising(ZeroDivisionError()))


@pytest.mark.parametrize("verb", ["prepare", "baselines", "train", "evaluate", "plot"])
def test_a_stage_asks_for_that_before_its_slow_imports(verb):
    lines = [line for line in (ROOT / f"src/{verb}.py").read_text().splitlines() if line.strip()]
    assert lines[1:3] == ["from counterpoint import stage", 'if __name__ == "__main__":']
    assert lines[3].startswith("    stage.die_with_parent()")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_a_stage_ends_with_its_parent(tmp_path):
    child = f"import sys, time; sys.path.insert(0, {str(ROOT / 'src')!r}); from counterpoint.stage import die_with_parent; "
    child += "die_with_parent(); print('ready', flush=True); time.sleep(60)"
    parent = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}]); print(p.pid, flush=True); p.wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    lines = {process.stdout.readline().strip() for _ in range(2)}
    pid = int((lines - {"ready"}).pop())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
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
