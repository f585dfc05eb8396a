"""The environment: numbers in variables that no result depends on, and optional packages."""

import importlib
import math
import os
from types import ModuleType
from typing import TypeVar

from counterpoint.core.errors import InputError

Number = TypeVar("Number", int, float)


def number(name: str, default: Number) -> Number:
    """Return the number in an environment variable, of the default's type; raise InputError where it is none, or below 0."""
    text, kind = os.environ.get(name) or str(default), type(default)
    try:
        value = kind(text)
    except ValueError:
        value = kind(-1)
    if not 0 <= value < math.inf:
        what = "an integer" if kind is int else "a number"
        raise InputError(f"{name} must be {what} of at least 0; got {text!r}")
    return value


# package -> its requirements file
EXTRAS = {"faiss": "requirements-faiss.txt", "pyarrow": "requirements-parquet.txt"}


def require(module: str, what: str) -> ModuleType:
    """Return an optional module; raise InputError that says what needs it, and how to install it."""
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"{what} needs {package}, which is not installed: pip install -r {EXTRAS[package]}") from None
