"""A few queries to read: what was asked, what came out on top, and what should have."""

import hashlib
import re
from collections.abc import Mapping

import pandas as pd

from counterpoint.records import Pair

EACH = 5  # right ones and wrong ones


def examples(ranks: pd.DataFrame, pairs: Mapping[str, Pair], title: str) -> str:
    """Markdown of some right and some wrong queries; ranks are the rows of one setting, pairs are named by id.

    Queries come in an order that only their ids decide, so that every run of a corpus shows the same ones where it can.
    """
    of = {stage: rows.set_index("id") for stage, rows in ranks.groupby("stage", sort=False)}
    final = of["reranked"]
    order = sorted(final.index, key=lambda name: hashlib.sha256(name.encode()).digest())
    lines = [f"# Test points, read one by one ({final['setting'].iloc[0]})", "", title, ""]
    for heading, verdict in (("On top: the true counter", True), ("On top: another", False)):
        chosen = [name for name in order if (final.loc[name, "rank"] == 1) == verdict]
        lines += [f"## {heading} ({len(chosen):,} of {len(order):,} test points, {min(EACH, len(chosen))} shown)", ""]
        for name in chosen[:EACH]:
            lines += _example(pairs, name, {stage: rows.loc[name] for stage, rows in of.items()})
    return "\n".join(lines)


def _example(pairs: Mapping[str, Pair], name: str, of: Mapping[str, pd.Series]) -> list[str]:
    final, pair = of["reranked"], pairs[name]
    ranks = ", ".join(f"{stage.replace('_', '-')} {row['rank']}" for stage, row in of.items())
    lines = [f"### {_plain(name)}", "", f"Rank of the true counter among {final['candidates']:,}: {ranks}.", ""]
    lines += [f"**Point.** {_plain(pair.point)}", ""]
    if final["rank"] > 1:
        source, best = final["best"].split(" ", 1)
        text = pairs[best].point if source == "point" else pairs[best].counter
        lines += [f"**On top, {final['best_is']}** ({_plain(best)}). {_plain(text)}", ""]
    return [*lines, f"**True counter.** {_plain(pair.counter)}", ""]


def _plain(text: str) -> str:
    """One paragraph in which Markdown finds nothing to set."""
    return re.sub(r"([\\`*_<>\[\]#|~&$])", r"\\\1", " ".join(text.split()))
