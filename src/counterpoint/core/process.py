"""The border between a main and the machine: its log, its end, its parent, its threads, and what must hold still under it."""

import contextlib
import ctypes
import gc
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from counterpoint.core.errors import InputError
from counterpoint.core.files import imported_code
from counterpoint.core.locks import alone

PR_SET_PDEATHSIG = 1  # linux/prctl.h
SPINS = "10000"  # some microseconds, where libgomp waits for milliseconds; benchmarks/NOTES.md
MOMENT = 2  # seconds
SIGNALS: dict[int, str] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
CHATTY = ("bm25s", "httpx", "httpx2", "httpcore2", "huggingface_hub", "sentence_transformers", "transformers")
Main = Callable[[], Callable[[], None] | None]


def begin(*, launched: bool = False) -> None:
    """What must be done before the slow imports: end with the parent, let threads wait for each other without spinning, and
    leave out the garbage collector, a quarter of the time that importing transformers takes, until `run`.

    What is launched goes on as LAUNCHER's program where there is one, torchrun say, which ends with this parent, too, and
    whose processes end with it.

    Two runs whose threads spin starve each other: on two cores, each takes eight times as long beside the other as alone.
    libgomp reads this when torch is imported; a wait policy that the user has set stays.
    """
    die_with_parent()
    if launched and (words := shlex.split(os.environ.pop("LAUNCHER", ""))):
        try:
            os.execvp(words[0], [*words, *sys.argv])
        except OSError as error:
            sys.exit(f"error: LAUNCHER must be a program that can be run; got {words[0]!r}: {error.strerror}")
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS
    gc.disable()


def die_with_parent() -> None:
    """Ask Linux to end this process when its parent ends, so that a killed dvc leaves nothing that writes outputs."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the request
        sys.exit(1)


def run(main: Main) -> None:
    """Run a main: plain log lines; one line and exit 1 for an InputError, one line and an end at once for a signal.

    Where DVC will record the result, no second stage may run in the workspace, code and params must hold still, and what
    is said goes to logs/, too. What main returns, if anything, is called when it is sure that the run will be recorded.
    """
    gc.freeze()  # what was imported stays, and is not looked through again and again, nor at the end
    gc.enable()
    log = None
    try:
        log = _open_log()
        with _ends_at_once(log), _recorded():
            after = main()
        if after:
            after()
        sys.stdout.flush()
    except InputError as error:
        _end_with(f"error: {error}", log)
    except BrokenPipeError:  # whoever read what it prints has enough
        _forget_stdout()
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:  # no space, no permission, not a directory
        where = f"{error.filename}: " if error.filename else ""
        _end_with(f"error: {where}{error.strerror or error}; put that right and give the same command again", log)
    except Exception:
        if log:
            log.add(traceback.format_exc())
        raise


# --- what is said ----------------------------------------------------------------------------------------------------


class _Console(logging.StreamHandler):
    """Lines on stdout; when its reader is gone the work goes on, and is told to nobody."""

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            _forget_stdout()
        else:
            super().handleError(record)


def _forget_stdout() -> None:
    """What is still in its buffer, or is printed from now on, goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Log(logging.Handler):
    """A file that stages add whole lines to, from any thread; no run fails for it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        path.parent.mkdir(exist_ok=True)
        self.file = path.open("ab", buffering=0)
        self.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        self.add(self.format(record))

    def add(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self.file.write(f"{line}\n".encode())


def _leads() -> bool:
    """Of the processes that torchrun starts, one speaks for all, and sees to what DVC records."""
    return os.environ.get("RANK", "0") == "0"


def _open_log() -> _Log | None:
    """Log to stdout, and under DVC to logs/NAME.log as well, NAME being the experiment's, or workspace.

    It stands in the repository itself, also for a queue run, whose own folder goes with it.
    """
    if not _leads():
        logging.disable()
        return None
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_Console(sys.stdout)])
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(logging.ERROR)
    if "DVC_STAGE" not in os.environ:
        return None
    log = _Log(Path(os.environ.get("DVC_ROOT", "."), "logs", f"{os.environ.get('DVC_EXP_NAME') or 'workspace'}.log"))
    logging.getLogger().addHandler(log)
    log.add(f"--- {os.environ['DVC_STAGE']}")
    return log


def _end_with(line: str, log: _Log | None) -> NoReturn:
    if not _leads():
        time.sleep(MOMENT)  # what is wrong for all of them the first one says, and this one is ended meanwhile
        line = f"process {os.environ['RANK']}: {line}"
    print(line, file=sys.stderr)
    if log:
        log.add(line)
    sys.exit(1)


# --- ends ------------------------------------------------------------------------------------------------------------


@contextmanager
def _ends_at_once(log: _Log | None) -> Iterator[None]:
    """A signal ends the process within moments, whatever it computes; files are replaced whole, so that any moment will do.

    Python's own handlers wait for the running operation, a backward pass say, to return. The number of a signal, though,
    is written to the wake-up pipe at once, and a thread waits for it there.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_end, args=(read, log), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(write)  # the thread reads an end of file


def _end(read: int, log: _Log | None) -> None:
    while number := os.read(read, 1):
        if word := SIGNALS.get(number[0]):
            line = f"{word}; the same command goes on from here"
            with contextlib.suppress(OSError):  # whoever read it may be gone, which must not keep this process alive
                if _leads():
                    os.write(sys.stderr.fileno(), f"{line}\n".encode())
            if log:
                log.add(line)
            os._exit(128 + number[0])
    os.close(read)


# --- what DVC records ------------------------------------------------------------------------------------------------


@contextmanager
def _recorded() -> Iterator[None]:
    """DVC looks at code and params when a stage has ended, and records them as what it ran with: so they must be."""
    if "DVC_STAGE" not in os.environ or not _leads():
        yield
        return
    _refuse_shallow(os.environ.get("DVC_ROOT", "."))
    # The workspace, which is not DVC_ROOT for a temp run; some stages work in a folder of it.
    root = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / ".dvc").is_dir())
    with alone(root / ".dvc/tmp/stage.lock", "runs a stage"):
        before = _code_and_params(root)
        yield
        now = _code_and_params(root)
        for name, content in before.items():
            if now.get(name) != content:
                raise InputError(f"{name} must not change while a stage runs; it did, so nothing is recorded: run it again")


def _code_and_params(root: Path) -> dict[str, bytes | None]:
    """What stands in params.yaml and in the source files imported by now, by name."""
    files = [root / "params.yaml", *imported_code(Path(__file__).parents[2])]
    return {os.path.relpath(file): file.read_bytes() if file.exists() else None for file in files}


def _refuse_shallow(root: str) -> None:
    """A temp or queue run works in a copy below DVC_ROOT; out of a shallow clone DVC saves nothing, and does not say so."""
    if Path(root).resolve() == Path.cwd().resolve():
        return
    words = ["git", "-C", root, "rev-parse", "--is-shallow-repository"]
    if subprocess.run(words, capture_output=True, text=True).stdout.strip() == "true":
        raise InputError(f"a queue or temp run needs the full history; {root} is a shallow clone: git fetch --unshallow")
