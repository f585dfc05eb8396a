"""Tables in Markdown."""

from collections.abc import Sequence


def table(cells: Sequence[Sequence[str]]) -> str:
    """The first row is the heading; numbers stand to the right, the first column to the left."""
    first, *rest = cells
    rule = ["---", *["---:"] * (len(first) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (first, rule, *rest))
