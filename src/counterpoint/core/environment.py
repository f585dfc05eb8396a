"""Settings of a machine that no result depends on, in environment variables."""

import math
import os
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
