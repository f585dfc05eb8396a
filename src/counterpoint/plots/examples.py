"""Examples: some test queries as Markdown."""

import hashlib
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from counterpoint.arguments.pairs import SOURCES, Document, Pair
from counterpoint.arguments.text import text_key
from counterpoint.plots.figures import RANKERS
from counterpoint.plots.winners import LABELS

SHOWN = 5  # queries under a heading


def examples(ranks: pd.DataFrame, pairs: Sequence[Pair], documents: Sequence[Document], title: str) -> str:
    """Return Markdown with some right and some wrong queries; ranks has the rows of one setting and relevance mode.

    The order of the queries depends on their ids alone, so that all runs on a corpus show the same ones where possible.
    """
    by_stage = {str(stage): rows.set_index("id") for stage, rows in ranks.groupby("stage", sort=False)}
    texts, counters = texts_by_name(pairs, documents), right_counters(pairs, by_text="text" in set(ranks["answers"]))
    before, after = by_stage["retrieved"]["rank"] == 1, by_stage["reranked"]["rank"] == 1
    order = sorted(after.index, key=lambda name: hashlib.sha256(name.encode()).digest())
    lines = [f"# Test queries, one by one ({ranks['setting'].iloc[0]})", title]
    for heading, mask in (
        ("Top-ranked: a true counter", after),
        ("Top-ranked: another argument", ~after),
        ("Won by reranking", ~before & after),
        ("Lost by reranking", before & ~after),
    ):
        names = [name for name in order if mask[name]]
        lines.append(f"## {heading} ({len(names):,} of {len(order):,} test points, {min(SHOWN, len(names))} shown)")
        for name in names[:SHOWN]:
            lines += _example(name, texts, counters[name], {stage: rows.loc[name] for stage, rows in by_stage.items()})
    return "\n\n".join(lines) + "\n"


def texts_by_name(pairs: Sequence[Pair], documents: Sequence[Document]) -> dict[str, str]:
    """Return all texts by their names in a table of ranks: point ID, counter ID, document ID."""
    names = {f"{source} {pair.id}": text for pair in pairs for source, text in zip(SOURCES, pair.texts, strict=False)}
    return names | {f"document {document.id}": document.text for document in documents}


def right_counters(pairs: Sequence[Pair], by_text: bool) -> dict[str, list[str]]:
    """Return the names of the right counters of each pair's point, by pair id.

    By row that is the pair's counter. By text those are the distinct counters of all pairs with the point, without the point.
    """
    queries = [text_key(pair.point) if by_text else pair.id for pair in pairs]
    counters: dict[str, dict[str, str]] = {query: {} for query in queries}  # query -> key of a counter -> its name
    for query, pair in zip(queries, pairs, strict=True):
        for key in map(text_key, pair.texts[1:]):
            if not by_text or key != query:
                counters[query].setdefault(key, f"counter {pair.id}")
    return {pair.id: list(counters[query].values()) for query, pair in zip(queries, pairs, strict=True)}


def _example(name: str, texts: Mapping[str, str], counters: Sequence[str], by_stage: Mapping[str, pd.Series]) -> list[str]:
    ranks = ", ".join(f"{RANKERS[stage][0]} {row['rank']}" for stage, row in by_stage.items())
    best = "Rank of the true counter" if len(counters) == 1 else f"Rank of the best of {len(counters)} true counters"
    lines = [f"### {_plain(name)}", f"{best} among {by_stage['reranked']['candidates']:,}: {ranks}."]
    lines.append(f"**Point.** {_plain(texts[f'point {name}'])}")
    for stage, heading in (("reranked", "Top-ranked"), ("retrieved", "Top-ranked before reranking")):
        if (row := by_stage[stage])["rank"] > 1:
            argument = f"{LABELS[row['best_is']]}** ({_plain(row['best'].split(' ', 1)[1])})"
            lines.append(f"**{heading}, {argument}. {_plain(texts[row['best']])}")
            break
    return lines + [f"**True counter.** {_plain(texts[counter])}" for counter in counters]


def _plain(text: str) -> str:
    """Return the text as one paragraph without Markdown."""
    return re.sub(r"([\\`*_<>\[\]#|~&$])", r"\\\1", " ".join(text.split()))
