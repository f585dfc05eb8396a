"""Packages that only some runs need."""

import importlib
from types import ModuleType

from counterpoint.core.errors import InputError

# package -> the requirements that bring it
EXTRAS = {"faiss": "requirements-faiss.txt", "pyarrow": "requirements-parquet.txt"}


def require(module: str, what: str) -> ModuleType:
    """An optional module; InputError says what needs it, and how to have it."""
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"{what} needs {package}, which is not installed: pip install -r {EXTRAS[package]}") from None
