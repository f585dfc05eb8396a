import pandas as pd

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.plots.examples import SHOWN, examples

N = 30
PAIRS = [Pair(f"q{i}", "t", "d", "pro", f"point {i}", f"counter {i}") for i in range(N)]


def ranks(wrong):
    rows = []
    for stage, shift in (("bm25", 3), ("zero_shot", 2), ("retrieved", 1), ("reranked", 0)):
        for i in range(N):
            missed = i in wrong
            best = f"point q{(i + 1) % N}" if missed else f"counter q{i}"
            of = {"candidates": 59, "rank": 7 + shift if missed else 1, "best": best}
            of |= {"best_is": "own side's point" if missed else "true counter"}
            rows.append({"answers": "text", "setting": "epa", "stage": stage, "id": f"q{i}"} | of)
    return pd.DataFrame(rows)  # fmt: skip


def headings(text):
    return [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]


def test_a_wrong_query_shows_the_top_ranked_argument_and_the_ranks_before_and_after():
    text = examples(ranks(wrong={3}), PAIRS, [], "decay 0.1")
    assert "## Top-ranked: another argument (1 of 30 test points, 1 shown)" in text
    assert f"## Top-ranked: a true counter (29 of 30 test points, {SHOWN} shown)" in text
    wrong = text.split("## Top-ranked: another argument")[1]
    assert headings(wrong) == ["q3"]
    assert "Rank of the true counter among 59: BM25 10, zero-shot 9, retrieved 8, reranked 7." in wrong
    assert "**Point.** point 3\n" in wrong
    assert "**Top-ranked, own side's point** (q4). point 4\n" in wrong
    assert "**True counter.** counter 3\n" in wrong
    assert "**Top-ranked," not in text.split("## Top-ranked: another argument")[0]


def test_queries_won_and_lost_by_reranking_are_shown_with_the_argument_ranked_first_before():
    rows = ranks(wrong={3, 4})
    for name, step, rank, best in (("q3", "reranked", 1, "counter q3"), ("q5", "reranked", 2, "point q6")):
        at = (rows["id"] == name) & (rows["stage"] == step)
        rows.loc[at, ["rank", "best"]] = rank, best
    text = examples(rows, PAIRS, [], "")
    won, lost = text.split("## Won by reranking")[1].split("## Lost by reranking")
    assert headings(won) == ["q3"]
    assert "**Top-ranked before reranking, own side's point** (q4). point 4" in won
    assert headings(lost) == ["q5"]


def test_every_run_shows_the_same_points_where_it_can():
    everything, some = examples(ranks(wrong=set()), PAIRS, [], ""), examples(ranks(wrong={1, 2, 3}), PAIRS, [], "")
    fixed = headings(everything)
    assert len(fixed) == SHOWN
    assert headings(some)[:SHOWN][: len(set(fixed) - {"q1", "q2", "q3"})] == [
        name for name in fixed if name not in ("q1", "q2", "q3")
    ]
    shuffled = ranks(wrong={1, 2, 3}).sample(frac=1, random_state=0).sort_values("stage", kind="stable")
    assert headings(examples(shuffled, PAIRS, [], "")) == headings(some)


def test_a_text_cannot_set_itself():
    odd = [*PAIRS[:3], Pair("q3", None, None, None, "# <b>*a*\n\n| b_c $x$ &lt;", "`x` [y](z)"), *PAIRS[4:]]
    text = examples(ranks(wrong=set(range(N))), odd, [], "")
    text += examples(ranks(wrong={3}), odd, [], "")
    assert r"**Point.** \# \<b\>\*a\* \| b\_c \$x\$ \&lt;" in text
    assert r"**True counter.** \`x\` \[y\](z)" in text


def test_by_text_all_counters_of_the_point_are_shown_and_a_document_may_be_top_ranked():
    pairs = [*PAIRS, Pair("again", "t", "d", "pro", "POINT 3", "another counter")]
    pairs += [Pair("itself", "t", "d", "pro", "point 3", "point 3")]  # no answer
    table = ranks(wrong={3}).replace({"best": {"point q4": "document x"}, "best_is": {"own side's point": "a document"}})
    text = examples(table, pairs, [Document("x", "a document's text")], "").split("## Top-ranked: another argument")[1]
    assert "Rank of the best of 2 true counters among 59" in text
    assert "**Top-ranked, a document** (x). a document's text\n" in text
    assert "**True counter.** counter 3\n\n**True counter.** another counter\n" in text
    by_row = examples(table.assign(answers="row"), pairs, [Document("x", "a document's text")], "")
    assert "another counter" not in by_row
