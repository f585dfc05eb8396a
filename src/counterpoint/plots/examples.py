"""A few queries to read: what was asked, what came out on top, and what should have."""

import hashlib
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from counterpoint.arguments.pairs import SOURCES, Document, Pair
from counterpoint.arguments.text import text_key

EACH = 5  # right ones and wrong ones


def examples(ranks: pd.DataFrame, pairs: Sequence[Pair], documents: Sequence[Document], title: str) -> str:
    """Markdown of some right and some wrong queries; ranks are the rows of one setting and reading.

    Queries come in an order that only their ids decide, so that every run of a corpus shows the same ones where it can.
    """
    by_step = {str(step): rows.set_index("id") for step, rows in ranks.groupby("stage", sort=False)}
    final = by_step["reranked"]
    order = sorted(final.index, key=lambda name: hashlib.sha256(name.encode()).digest())
    lines = [f"# Test points, read one by one ({final['setting'].iloc[0]})", "", title, ""]
    texts = named(pairs, documents)
    by_text = bool((final["answers"] == "text").any())
    first, last = by_step["retrieved"]["rank"] == 1, final["rank"] == 1
    for heading, of in (
        ("On top: a true counter", last),
        ("On top: another", ~last),
        ("Won by the second step", ~first & last),
        ("Lost by the second step", first & ~last),
    ):
        chosen = [name for name in order if of[name]]
        lines += [f"## {heading} ({len(chosen):,} of {len(order):,} test points, {min(EACH, len(chosen))} shown)", ""]
        for name in chosen[:EACH]:
            counters = counters_of(name, pairs, by_text)
            lines += _example(name, texts, counters, {step: rows.loc[name] for step, rows in by_step.items()})
    return "\n".join(lines)


def named(pairs: Sequence[Pair], documents: Sequence[Document]) -> dict[str, str]:
    """Texts by what a table of ranks calls them: point ID, counter ID, document ID."""
    names = {f"{source} {pair.id}": text for pair in pairs for source, text in zip(SOURCES, pair.texts, strict=False)}
    return names | {f"document {document.id}": document.text for document in documents}


def counters_of(name: str, pairs: Sequence[Pair], by_text: bool) -> list[str]:
    """The counters that are right for the query of that name: its pair's own, or by text those of every pair of its point."""
    (asked,) = (pair for pair in pairs if pair.id == name)
    key = text_key(asked.point)
    same = [pair for pair in pairs if text_key(pair.point) == key] if by_text else [asked]
    counters = {text_key(text): text for pair in same for text in pair.texts[1:]}
    return [text for name, text in counters.items() if not by_text or name != key]


def _example(name: str, texts: Mapping[str, str], counters: Sequence[str], by_step: Mapping[str, pd.Series]) -> list[str]:
    first, final = by_step["retrieved"], by_step["reranked"]
    ranks = ", ".join(f"{step.replace('_', '-')} {row['rank']}" for step, row in by_step.items())
    best = "Rank of the true counter" if len(counters) == 1 else f"Rank of the best of {len(counters)} true counters"
    lines = [f"### {_plain(name)}", "", f"{best} among {final['candidates']:,}: {ranks}.", ""]
    lines += [f"**Point.** {_plain(texts[f'point {name}'])}", ""]
    if final["rank"] > 1:
        whose = final["best"].split(" ", 1)[1]
        lines += [f"**On top, {final['best_is']}** ({_plain(whose)}). {_plain(texts[final['best']])}", ""]
    elif first["rank"] > 1:
        whose = first["best"].split(" ", 1)[1]
        lines += [f"**On top before, {first['best_is']}** ({_plain(whose)}). {_plain(texts[first['best']])}", ""]
    for counter in counters:
        lines += [f"**True counter.** {_plain(counter)}", ""]
    return lines


def _plain(text: str) -> str:
    """One paragraph in which Markdown finds nothing to set."""
    return re.sub(r"([\\`*_<>\[\]#|~&$])", r"\\\1", " ".join(text.split()))
