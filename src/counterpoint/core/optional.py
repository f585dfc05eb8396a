"""Packages that only some runs need."""

import importlib
from types import ModuleType

from counterpoint.core.errors import InputError

# package -> its requirements file
EXTRAS = {"faiss": "requirements-faiss.txt", "pyarrow": "requirements-parquet.txt"}


def require(module: str, what: str) -> ModuleType:
    """Return an optional module; raise InputError that says what needs it, and how to install it."""
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"{what} needs {package}, which is not installed: pip install -r {EXTRAS[package]}") from None
