"""Tables and numbers in Markdown."""

from collections.abc import Callable, Mapping, Sequence


def table(cells: Sequence[Sequence[str]]) -> str:
    """Return a table; the first row of cells is the heading, and all columns but the first are right-aligned."""
    heading, *rows = cells
    rule = ["---", *["---:"] * (len(heading) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, rule, *rows))


def table_of(rows: Sequence[dict], columns: Mapping[str, Callable[[dict], str]]) -> str:
    """Return a table with a line for each row; columns maps a heading to the function that writes a row's cell."""
    return table([list(columns), *([write(row) for write in columns.values()] for row in rows)])


def number(value: float | None, form: str = ".3f") -> str:
    """Return a number in a format, or a dash for None."""
    return "-" if value is None else format(value, form)


def interval(low: float | None, high: float | None) -> str:
    """Return the two ends of an interval with their signs, or a dash for None."""
    return "-" if low is None else f"{low:+.3f} to {high:+.3f}"
