"""The border between a stage and the machine: logging, its parent, its exit code."""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable

from counterpoint.errors import InputError

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run(main: Callable[[], None]) -> None:
    """Run a main: plain log lines; one line and exit 1 for an InputError."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    for chatty in ("bm25s", "httpx", "httpx2", "httpcore2", "huggingface_hub", "sentence_transformers", "transformers"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def die_with_parent() -> None:
    """Ask Linux to end this process when its parent ends, so that a killed dvc leaves nothing that writes outputs."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the request
        sys.exit(1)
