"""A few queries to read: what was asked, what came out on top, and what should have."""

import hashlib
import re
from collections.abc import Mapping

import pandas as pd

from counterpoint.arguments.pairs import COUNTER, POINT, Pair

EACH = 5  # right ones and wrong ones


def examples(ranks: pd.DataFrame, pairs: Mapping[str, Pair], title: str) -> str:
    """Markdown of some right and some wrong queries; ranks are the rows of one setting, pairs are named by id.

    Queries come in an order that only their ids decide, so that every run of a corpus shows the same ones where it can.
    """
    by_step = {str(step): rows.set_index("id") for step, rows in ranks.groupby("stage", sort=False)}
    final = by_step["reranked"]
    order = sorted(final.index, key=lambda name: hashlib.sha256(name.encode()).digest())
    lines = [f"# Test points, read one by one ({final['setting'].iloc[0]})", "", title, ""]
    for heading, verdict in (("On top: the true counter", True), ("On top: another", False)):
        chosen = [name for name in order if (final.loc[name, "rank"] == 1) == verdict]
        lines += [f"## {heading} ({len(chosen):,} of {len(order):,} test points, {min(EACH, len(chosen))} shown)", ""]
        for name in chosen[:EACH]:
            lines += _example(pairs, name, {step: rows.loc[name] for step, rows in by_step.items()})
    return "\n".join(lines)


def _example(pairs: Mapping[str, Pair], name: str, by_step: Mapping[str, pd.Series]) -> list[str]:
    final, pair = by_step["reranked"], pairs[name]
    ranks = ", ".join(f"{step.replace('_', '-')} {row['rank']}" for step, row in by_step.items())
    lines = [f"### {_plain(name)}", "", f"Rank of the true counter among {final['candidates']:,}: {ranks}.", ""]
    lines += [f"**Point.** {_plain(pair.point)}", ""]
    if final["rank"] > 1:
        source, best = final["best"].split(" ", 1)
        text = pairs[best].text(POINT if source == "point" else COUNTER)
        lines += [f"**On top, {final['best_is']}** ({_plain(best)}). {_plain(text)}", ""]
    return [*lines, f"**True counter.** {_plain(pair.text(COUNTER))}", ""]


def _plain(text: str) -> str:
    """One paragraph in which Markdown finds nothing to set."""
    return re.sub(r"([\\`*_<>\[\]#|~&$])", r"\\\1", " ".join(text.split()))
