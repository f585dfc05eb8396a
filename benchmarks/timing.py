"""Timing side by side: all sides take turns, so that a busy moment of the machine hits each of them."""

import importlib.metadata
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from counterpoint.model.compute import Compute, has_native_bf16

PACKAGES = ("torch", "transformers", "sentence-transformers", "scikit-learn", "numpy")
LONG = 2**10  # tokens; few such texts fill a micro-batch


def interleaved(work: dict[str, Callable[[], Any]], repeats: int = 3) -> dict[str, float]:
    """Return the median seconds of each piece of work over some rounds; a first round, not counted, warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(repeats + 1):
        for name, piece in work.items():
            start = time.perf_counter()
            piece()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if round_:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def in_child(script: str, *args: str) -> list[float]:
    """Return the numbers that a script prints in a process of its own, since peak memory never falls."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    printed = subprocess.check_output([sys.executable, script, *args], text=True, env=environment)
    return [float(number) for number in printed.split()]


def peak_kib() -> int:
    """Return this program's peak memory; on Linux getrusage's includes that of the process it was forked from."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


def max_tokens(compute: Compute) -> int:
    """Return the tokens that a micro-batch holds at most, padding included."""
    return LONG * max(map(len, compute.micro_batches(np.full(512, LONG))))


def not_run(*names: str, needs: str = "--corpus") -> list[dict]:
    """Return the rows of measurements that need another option."""
    return [{"what": name, "not_run": f"needs {needs}"} for name in names]


def machine() -> dict:
    """Return the facts of the machine and the code that the figures depend on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "native_bf16": has_native_bf16(torch.device("cpu")),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": commit,
    }
