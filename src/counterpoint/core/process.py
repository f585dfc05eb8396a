"""The frame of a command: its parent, its threads, its log, and how it ends."""

import contextlib
import ctypes
import gc
import logging
import os
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn

from counterpoint.core.errors import InputError
from counterpoint.core.recorded import recorded

PR_SET_PDEATHSIG = 1  # linux/prctl.h
SPINS = "10000"  # some microseconds, where libgomp waits for milliseconds; benchmarks/NOTES.md
MOMENT = 2  # seconds
SIGNALS: dict[int, str] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
CHATTY = ("bm25s", "httpx", "httpx2", "httpcore2", "huggingface_hub", "sentence_transformers", "transformers")
Main = Callable[[], Callable[[], None] | None]


def begin(*, launched: bool = False) -> None:
    """Prepare a process before its slow imports: it ends with its parent, and its threads wait without spinning.

    The garbage collector stays off until `run`; it takes a quarter of the time of importing transformers. A launched process
    goes on as LAUNCHER's program where there is one, such as torchrun, which ends with this parent, too.

    Runs whose threads spin starve each other: on two cores each takes eight times as long. libgomp reads the spin count when
    torch is imported; a wait policy that the user has set stays.
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
    """Run a main with plain log lines: one line and exit 1 for an InputError, one line and an end at once for a signal.

    Under DVC, `recorded` holds the workspace, and log lines go to logs/, too. The function that main returns, if any, is
    called when DVC will surely record the run.
    """
    gc.freeze()  # imported objects stay, so the collector need not visit them
    gc.enable()
    log = None
    try:
        log = _open_log()
        with _ends_at_once(log), recorded() if _is_main() else nullcontext():
            after = main()
        if after:
            after()
        sys.stdout.flush()
    except InputError as error:
        _end_with(f"error: {error}", log)
    except BrokenPipeError:  # the reader of its output has ended
        _forget_stdout()
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:  # no space, no permission, not a directory
        where = f"{error.filename}: " if error.filename else ""
        _end_with(f"error: {where}{error.strerror or error}; put that right and give the same command again", log)
    except Exception:
        if log:
            log.add(traceback.format_exc())
        raise


# --- log -------------------------------------------------------------------------------------------------------------


class _Console(logging.StreamHandler):
    """Lines on stdout; when its reader is gone, the work goes on silently."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Silence stdout where its reader is gone."""
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            _forget_stdout()
        else:
            super().handleError(record)


def _forget_stdout() -> None:
    """Drop the buffer of stdout and all that is printed from now on."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Log(logging.Handler):
    """A log file that takes whole lines from any thread; no run fails for it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        path.parent.mkdir(exist_ok=True)
        self.file = path.open("ab", buffering=0)
        self.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Add a record's line."""
        self.add(self.format(record))

    def add(self, line: str) -> None:
        """Add a line; ignore a full disk."""
        with contextlib.suppress(OSError):
            self.file.write(f"{line}\n".encode())


def _is_main() -> bool:
    """Return whether this is the main process, which alone logs, and holds the workspace."""
    return os.environ.get("RANK", "0") == "0"


def _open_log() -> _Log | None:
    """Log to stdout, and under DVC to logs/NAME.log as well, NAME being the experiment's, or workspace.

    It stands in the repository itself, also for a queue run, whose own folder goes with it.
    """
    if not _is_main():
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
    if not _is_main():
        time.sleep(MOMENT)  # the main process says what is wrong for all of them, and this one is ended meanwhile
        line = f"process {os.environ['RANK']}: {line}"
    print(line, file=sys.stderr)
    if log:
        log.add(line)
    sys.exit(1)


# --- end -------------------------------------------------------------------------------------------------------------


@contextmanager
def _ends_at_once(log: _Log | None) -> Iterator[None]:
    """A signal ends the process within moments; files are replaced whole, so any moment will do.

    Python's own handlers wait for the running operation to return, a backward pass for example. The signal's number, though,
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
            with contextlib.suppress(OSError):  # its reader may be gone, which must not keep this process alive
                if _is_main():
                    os.write(sys.stderr.fileno(), f"{line}\n".encode())
            if log:
                log.add(line)
            os._exit(128 + number[0])
    os.close(read)
