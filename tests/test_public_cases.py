"""Files as people have them, on which Counterpoint once fell short, with what is right for each; all texts are invented."""

import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from counterpoint.arguments.text import text_key
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SplitShares
from counterpoint.corpus.read import read_corpus
from counterpoint.corpus.splits import read_splits
from counterpoint.evaluation.tasks import embed_tasks, read_tasks
from counterpoint.lexical.bm25 import bm25
from counterpoint.model.bi_encoder import zero_shot
from counterpoint.model.compute import choose
from counterpoint.model.files import BUNDLED, locate
from counterpoint.negatives.eligible import excluded_groups
from counterpoint.ranking.distance import Distance, euclidean
from counterpoint.ranking.metrics import gains
from counterpoint.ranking.queries import MODES, SETTINGS, by_row, by_text, in_scope, is_candidate
from counterpoint.ranking.ranking import rank
from counterpoint.use.arguments import read_arguments

CASES = Path(__file__).parent / "cases"
SHARES = SplitShares(training=0.6, validation=0.2, test=0.2)


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO)
    return lambda: caplog.text


def refusal(name, columns=None):
    with pytest.raises(InputError) as refused:
        read_corpus(CASES / name, columns)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def candidates(queries, number, setting="epa"):
    """The texts that are candidates of a query."""
    chosen = np.array([number])
    allowed = is_candidate(queries, chosen, in_scope(queries, chosen, SETTINGS[setting]))[0]
    return {queries.pool.texts[queries.pool.text[queries.first[item]]] for item in np.flatnonzero(allowed)}


def documents_of(case):
    rows = (json.loads(line) for line in (CASES / case / "corpus.jsonl").read_text().splitlines())
    return {row["_id"]: f"{row['title']} {row['text']}".strip() for row in rows}


# --- BEIR --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("setting", ["epa", "epc"])
def test_a_document_with_the_query_s_id_is_never_its_candidate(mode, setting):
    documents = documents_of("beir_same_ids")
    triples = read_splits(CASES / "beir_same_ids", SHARES).triples
    queries = MODES[mode](triples.pool("test"))
    assert len(queries) == 24
    for number, position in enumerate(queries.point):
        name = triples.pairs["test"][queries.pool.row[position]].id.partition(" > ")[0]
        there = candidates(queries, number, setting)
        assert documents[name] not in there
        assert len(there & set(documents.values())) == len(set(documents.values())) - 1


@pytest.mark.slow
def test_zero_shot_has_beir_s_figure_where_ids_agree():
    """nDCG@10 of trec_eval's run without documents of the query's id."""
    task = read_tasks(read_splits(CASES / "beir_same_ids", SHARES).triples, beir=False)[1]
    model = zero_shot(locate(BUNDLED), 256, choose("cpu", "fp32"))
    (embedded,) = embed_tasks([task], model)
    queries = task.queries["text"]
    ranking = rank(queries, euclidean(queries, embedded), {"epc": SETTINGS["epc"]})["epc"]
    assert gains(ranking.retrieved.right)["ndcg10"].mean() == pytest.approx(0.4240, abs=5e-5)


def test_a_document_with_the_point_s_id_is_never_its_negative():
    documents = documents_of("beir_same_ids")
    triples = read_splits(CASES / "beir_same_ids", SHARES).triples
    pool = triples.pool("training")
    for position, excluded in zip(pool.queries, excluded_groups(pool), strict=True):
        name = triples.pairs["training"][pool.row[position]].id.partition(" > ")[0]
        group = next(pool.text_group[i] for i, text in enumerate(pool.text) if pool.texts[text] == documents[name])
        assert group in excluded


def test_ids_that_agree_by_chance_connect_nothing(tmp_path):
    (tmp_path / "qrels").mkdir()
    queries = [{"_id": str(i), "text": f"question {i}"} for i in range(12)]
    corpus = [{"_id": str(i), "text": f"another matter {i}"} for i in range(12)]
    for name, rows in (("queries", queries), ("corpus", corpus)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, numbers in (("train", range(4)), ("dev", range(4, 8)), ("test", range(8, 12))):
        rows = "".join(f"{i}\t{(i + 5) % 12}\t1\n" for i in numbers)
        (tmp_path / f"qrels/{name}.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
    splits = read_splits(tmp_path, SHARES)
    assert {pair.seen for pair in splits.triples.pairs["test"]} == {"none"}


def test_rows_of_absent_ids_are_left_out_and_counted(said):
    corpus = read_corpus(CASES / "beir_dangling_doc")
    assert "left out rows that name absent ids: 1, such as " in said()
    assert sum(split == "test" for split, _ in corpus.rows) == 12


def test_val_is_validation():
    corpus = read_corpus(CASES / "beir_val_name")
    assert Counter(split for split, _ in corpus.rows) == {"training": 20, "validation": 8, "test": 12}


def test_qrels_may_be_lines_of_json():
    corpus = read_corpus(CASES / "beir_jsonl_qrels")
    assert Counter(split for split, _ in corpus.rows) == {"training": 20, "validation": 8, "test": 12}


def test_beir_s_protocol_searches_the_documents_of_a_collection_and_nothing_else():
    tasks = read_tasks(read_splits(CASES / "beir_collection", SHARES).triples, beir=True)
    queries = tasks[-1].queries["text"]
    (ranking,) = rank(queries, bm25(queries), tasks[-1].settings).values()
    assert (ranking.candidates == len(set(map(text_key, documents_of("beir_collection").values())))).all()
    epc = tasks[1].queries["text"]
    (alike,) = rank(epc, bm25(epc), {"epc": SETTINGS["epc"]}).values()
    assert ranking.candidates.tolist() == alike.candidates.tolist()


# --- tables --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "given"), [("labels/split.csv", 12), ("labels/split_right.csv", 0)])
def test_of_a_table_with_labels_those_of_one_are_right_and_the_others_are_candidates(name, given):
    triples = read_splits(CASES / name, SHARES).triples
    queries = by_text(triples.pool("test"))
    assert len(triples.pairs["test"]) == len(queries) == 4
    wrong = [answer.text for answer in triples.given if answer.split == "test"]
    assert len(wrong) == given
    ranking = rank(queries, bm25(queries), {"epa": SETTINGS["epa"]})["epa"]
    texts = {text for pair in triples.pairs["test"] for text in pair.texts} | set(wrong)
    assert (ranking.candidates == len(texts) - 1).all()  # all but the query
    if not given:
        assert gains(ranking.retrieved.right)["map"].mean() == pytest.approx(0.404, abs=5e-4)


def test_several_annotators_are_one_pair_by_majority(said):
    triples = read_splits(CASES / "annotators/pairs.csv", SHARES).triples
    assert "72 rows are 24 pairs by the majority of their grades, a tie counts as right" in said()
    pairs = [pair for members in triples.pairs.values() for pair in members]
    assert sorted(pair.id[-2:] for pair in pairs) == ["a1"] * 12
    assert len(triples.given) == 12


def test_a_line_says_how_many_pairs_lists_are(said):
    pairs = read_corpus(CASES / "sentence_lists/pairs.jsonl").rows
    assert f"lists of counters in 24 rows are {len(pairs)} pairs: each entry is a counter" in said()
    assert len(read_corpus(CASES / "sentence_lists/joined.jsonl").rows) == 24


def test_placeholders_of_spreadsheets_and_forums_are_listed(said):
    read_corpus(CASES / "placeholders/pairs.csv")
    for text in ("#NAME?", "#N/A", "\\N", "<NA>", "[ Removed by Reddit ]", "[deleted by user]", "#VALUE!", "undefined", "N.A."):
        assert f"{text} (1)" in said(), text


def test_a_json_key_that_stands_twice_is_refused():
    assert "the key 'counter' stands twice" in refusal("json_forms/double_key.jsonl")


def test_lines_of_json_in_a_json_file_are_told_their_name():
    assert "lines of JSON belong in a file named .jsonl" in refusal("json_forms/lines.json")


@pytest.mark.parametrize("name", ["semicolons", "sep_line", "sep_comma", "tabs", "empty_rows"])
def test_tables_as_excel_writes_them(name):
    rows = read_corpus(CASES / f"excel/{name}.csv").rows
    first = rows[0][1]
    assert (first.id, first.debate) == ("00a", "city trams")
    assert first.point == "We should keep city trams, since city trams are cheap to keep up."


HEADERS = {
    "on_off": ("on", "off"),
    "numbers_header": ("2", "3"),
    "brackets": ("Argument (A)", "Argument (B)"),
    "header_space": ("Point", "Counter"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_any_header_can_be_named(name):
    columns = dict(zip(("point", "counter"), HEADERS[name], strict=True))
    pairs = [pair for _, pair in read_corpus(CASES / f"excel/{name}.csv", columns).rows]
    assert pairs[0].point == "We should keep city trams, since city trams are cheap to keep up."
    assert pairs[0].counter.startswith("That is no ground to keep city trams: repairs eat")


def test_a_quote_may_stand_behind_a_comma_and_a_space():
    rows = read_corpus(CASES / "excel/space_quote.csv").rows
    texts = [text for _, pair in rows for text in (pair.point, pair.counter)]
    assert len(rows) == 24
    assert not any('"' in text for text in texts)


def test_rows_without_a_character_are_no_pairs():
    assert len(read_corpus(CASES / "excel/empty_rows.csv").rows) == len(read_corpus(CASES / "excel/semicolons.csv").rows) == 24


REFUSED = {
    "excel/book.xlsx": "must be a directory or end in .zip, .jsonl, .csv, .tsv, .json, .parquet (or these with .gz)",
    "excel/renamed.csv": "must be UTF-8; got a zip, as an Excel book is: save it as CSV UTF-8",
    "excel/cp1252.csv": "must be UTF-8; got byte 0x92 at 116 (invalid start byte)",
    "json_forms/array.jsonl": ":1 must be a JSON object; Expecting value: line 1 column 2 (char 1)",
    "json_forms/columns.json": 'must be a JSON array of objects; got \'{"id": {"0":',
    "json_forms/lines_comma.jsonl": ":1 must be a JSON object; Extra data: line 1 column 214 (char 213)",
    "json_forms/trailing_comma.json": "must be a JSON array of objects; Expecting value: line 26",
    "json_forms/wrapped.json": 'must be a JSON array of objects; got \'{"version": 1,',
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_in_another_form_are_refused_in_a_line_that_names_the_rule(name):
    line = refusal(name)
    assert line.startswith(f"corpus: {CASES / name}")
    assert REFUSED[name] in line


def test_kialo_s_export_is_read_with_its_semicolons_and_stances():
    rows = read_corpus(CASES / "kialo/kialo.csv").rows
    assert {pair.stance for _, pair in rows} == {"pro", "con"}
    assert {pair.stance for _, pair in read_corpus(CASES / "kialo/stance_comma.csv").rows} == {"pro", "con"}


def test_ids_of_a_list_and_ids_with_points_are_kept_apart():
    names = [pair.id for _, pair in read_corpus(CASES / "kialo/ids.jsonl").rows]
    assert len(set(names)) == len(names)
    assert "1.1" in names


def test_debates_that_differ_in_case_are_one():
    splits = read_splits(CASES / "debate_case/pairs.csv", SHARES)
    debates = [{pair.debate for pair in pairs} for pairs in splits.triples.pairs.values()]
    assert sum(map(len, debates)) == len(set.union(*debates)) == 10


def test_a_split_in_which_every_candidate_is_right_is_refused():
    with pytest.raises(InputError) as refused:
        read_splits(CASES / "one_query_test/pairs.csv", SHARES)
    assert str(refused.value) == "corpus: a point of test must have a wrong candidate; of its 2 pairs all are right"


# --- asking --------------------------------------------------------------------------------------------------------------


def test_a_text_file_is_cut_at_line_feeds_alone():
    assert len(read_arguments(CASES / "ask_txt/arguments.txt", "text", "--arguments")) == 6


def test_the_documents_of_a_beir_directory_are_searched_by_their_ids_and_titles():
    documents = documents_of("beir_collection")
    for place in ("beir_collection", "beir_collection/corpus.jsonl"):
        arguments = read_arguments(CASES / place, "text", "--arguments")
        assert {argument.id: argument.text for argument in arguments} == documents
    points = read_arguments(CASES / "beir_collection/queries.jsonl", "point", "--points")
    assert (len(points), points[0].id) == (40, "q00a")


# --- ranking -------------------------------------------------------------------------------------------------------------


def test_by_row_a_perfect_retriever_is_right_on_a_chain():
    """A counter that stands as a point, too, is no wrong candidate."""
    pool = read_splits(CASES / "chain.csv", SHARES).triples
    for split in ("training", "test"):
        queries = by_row(pool.pool(split))
        group, right = queries.pool.text_group, queries.right.first

        def far(chosen, group=group, right=right):
            return (group[None, :] != group[right[chosen], None]).astype(float)

        ranking = rank(queries, Distance.of(far, len(queries)), {"epa": SETTINGS["epa"]})["epa"].retrieved
        assert (ranking.rank == 1).all()
