"""Rules for one value: what it must be, in words, and its reading."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """What a rule says, and a function that returns the accepted value or raises ValueError."""

    says: str
    accept: Callable[[Any], Any]


def _number(value: Any) -> float:
    # DVC writes 1e-5 as 1e-05, which YAML 1.1 reads as a string.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _integer(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError
    return int(number)


def _within(convert: Callable, low: float | None, high: float | None, open_low: bool = False) -> Callable:
    def accept(value: Any) -> float:
        number = convert(value)
        if low is not None and (number < low or (open_low and number == low)):
            raise ValueError
        if high is not None and number > high:
            raise ValueError
        return number

    return accept


def _range_text(noun: str, low: float | None, high: float | None, open_low: bool = False) -> str:
    if low is not None and high is not None:
        return f"{noun} above {low:g}, at most {high:g}" if open_low else f"{noun} from {low:g} to {high:g}"
    return noun if low is None else f"{noun} {'above' if open_low else 'of at least'} {low:g}"


def number(low: float | None = None, high: float | None = None, above: bool = False) -> Rule:
    return Rule(_range_text("a number", low, high, above), _within(_number, low, high, above))


def integer(low: int | None = None, high: int | None = None) -> Rule:
    return Rule(_range_text("an integer", low, high), _within(_integer, low, high))


def choice(*names: str) -> Rule:
    def accept(value: Any) -> str:
        if value not in names:
            raise ValueError
        return value

    return Rule(f"one of {', '.join(names)}", accept)


def flag() -> Rule:
    def accept(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    return Rule("true or false", accept)


def text() -> Rule:
    def accept(value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise ValueError
        return value

    return Rule("a non-empty string", accept)


def optional(rule: Rule) -> Rule:
    """The rule, or none: YAML's null and the word none, which is what `dvc exp run -S key=none` writes."""
    return Rule(f"{rule.says}, or none", lambda value: None if value in (None, "none") else rule.accept(value))
