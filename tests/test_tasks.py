import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.arguments.triples import Triples, read_triples, write_triples
from counterpoint.core.ragged import Ragged
from counterpoint.evaluation.tasks import Ranked, distances, embed_tasks, query_columns, ranks_table, read_tasks
from counterpoint.lexical.bm25 import bm25
from counterpoint.model.bi_encoder import zero_shot
from counterpoint.model.compute import choose
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.queries import SETTINGS, in_scope
from counterpoint.ranking.ranking import Ranks, rank


@pytest.fixture
def triples():
    splits = {
        "training": [Pair("r0", "t", "d", "pro", "cat purr", "dog bark"), Pair("r1", "t", "d", "con", "milk", "bone leash")],
        "validation": [Pair("v0", "t", "e", "pro", "bird wing", "nest egg"), Pair("v1", "t", "e", "con", "song", "bird")],
        "test": [
            Pair("t0", "u", "f", "pro", "apple", "pear peel", seen="none"),
            Pair("t1", "u", "f", "con", "Cat  purr", "juice seed", seen="point"),  # a duplicate of training's
            Pair("t2", "w", "f", "con", "apple", "salt", seen="none"),  # a point twice, with another counter
        ],
    }
    return Triples(splits, [Pair("x0", "t", "d", "pro", "soup broth", None)], None)


def texts(task, positions):
    return [task.pool.texts[i] for i in task.pool.text[positions]]


def test_the_splits_have_all_settings_and_beir_its_own(triples):
    validation, test, beir = read_tasks(triples, beir=True)
    assert [task.split for task in (validation, test, beir)] == ["validation", "test", "test"]
    assert list(test.settings) == list(SETTINGS)
    for task in (test, beir):
        assert texts(task, task.queries["row"].point) == ["apple", "Cat  purr", "apple"]
        assert texts(task, task.queries["text"].point) == ["apple", "Cat  purr"]
    offered = texts(beir, beir.queries["row"].first)
    assert len(offered) == 15 - 2  # one duplicate of a point, one point said twice
    assert offered.count("soup broth") == 1
    by_text = beir.queries["text"]
    answers = [{texts(beir, by_text.first)[item] for item in row} for row in by_text.right]
    assert answers == [{"pear peel", "salt"}, {"juice seed", "dog bark"}]  # training's counter is right, too
    assert read_tasks(triples, beir=False)[1].pool.texts == test.pool.texts


def test_settings_that_a_corpus_cannot_have_are_logged(triples, caplog):
    plain = [Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(2)]
    with caplog.at_level(logging.INFO):
        _, test = read_tasks(replace(triples, pairs=triples.pairs | {"test": plain}), beir=False)
    assert list(test.settings) == ["epc", "epa"]
    assert "test: not every pair says its debate, theme and stance: no sdoc, sdc, sdoa, sda, stc, sta" in caplog.text


def test_embedding_for_beir_changes_no_other_vector(triples, tiny_bert):
    model = zero_shot(tiny_bert, 16, choose("cpu", "fp32"))
    plain, more = (read_tasks(triples, beir=beir) for beir in (False, True))
    without, with_beir = embed_tasks(plain, model), embed_tasks(more, model)
    for a, b in zip(without, with_beir[:2], strict=True):
        assert torch.equal(a.points.embedding, b.points.embedding)
    for task, embedded in zip(more, with_beir, strict=True):
        alone = model.embed(model.point.encoder.tokenize(task.pool.texts)).points.embedding
        assert torch.allclose(embedded.points.embedding, alone, atol=1e-5)


def table(task, answers, candidates, ranks):
    queries = task.queries[answers]
    columns = {"answers": "row", "setting": "epa", "stage": "retrieved"} | query_columns(task, queries)
    return ranks_table(task, queries, columns, np.array(candidates), ranks)


def test_the_table_names_the_top_ranked_argument(triples):
    _, test = read_tasks(triples, beir=False)
    ranks = Ranks(Ragged.of([[1], [2], [3]]), np.array([1, 1, 3]), np.array([3, 0, 4]), np.array([True, False, False]))
    rows = table(test, "row", [5, 5, 5], ranks)
    assert rows.to_dict("list") == {
        "answers": ["row"] * 3,
        "setting": ["epa"] * 3,
        "stage": ["retrieved"] * 3,
        "id": ["t0", "t1", "t2"],
        "seen": ["none", "point", "none"],
        "cluster": [0, 0, 0],  # t2 says what t0 says, under another theme
        "candidates": [5, 5, 5],
        "rank": [1, 2, 3],
        "ties_hit": [1, 1, 3],
        "right": ["1", "2", "3"],
        "best": ["counter t0", "point t0", "counter t1"],
        "best_is": ["true counter", "other side's point", "another debate's counter"],
    }


def test_by_text_a_query_is_named_after_its_first_pair_and_seen_as_any_of_its_pairs(triples):
    pairs = [*triples.pairs["test"][:2], replace(triples.pairs["test"][2], seen="counter")]
    _, test, _ = read_tasks(replace(triples, pairs=triples.pairs | {"test": pairs}), beir=True)
    ranks = Ranks(Ragged.of([[2, 5], [1]]), np.array([2, 1]), np.array([4, 4]), np.array([False, True]))
    rows = table(test, "text", [4, 4], ranks)
    assert rows[["id", "seen", "rank", "right", "best_is"]].to_dict("list") == {
        "id": ["t0", "t1"],
        "seen": ["counter", "point"],
        "rank": [2, 1],
        "right": ["2 5", "1"],
        "best_is": ["own side's counter", "true counter"],
    }


def test_distances_are_those_of_the_vectors_and_of_the_nearest_right_answer(triples, tiny_bert):
    (_, test), model = read_tasks(triples, beir=False), zero_shot(tiny_bert, 16, choose("cpu", "fp32"))
    _, embedded = embed_tasks(read_tasks(triples, beir=False), model)
    queries = test.queries["text"]
    far = torch.cdist(*(vectors.double() for vectors in embedded.embeddings)).square().numpy()  # of texts
    for distance in (euclidean(queries, embedded), bm25(queries)):
        rankings = rank(queries, distance, test.settings)
        settings = {name: (ranking.candidates, ranking.retrieved) for name, ranking in rankings.items()}
        ranked = Ranked("retrieved", distance, settings)
        best, right = distances(queries, ranked)
        if distance.exact is None:  # BM25
            far = np.full((len(test.pool.texts), len(test.pool.texts)), np.nan)
            far[np.ix_(test.pool.text[queries.point], test.pool.text[queries.first])] = distance.approximate(
                np.arange(len(queries))
            )
        for place, setting in enumerate(test.settings):
            top = test.pool.text[rankings[setting].retrieved.best]
            assert best[place] == pytest.approx(far[test.pool.text[queries.point], top], abs=2e-6)
        answers = [test.pool.text[queries.first][row] for row in queries.right]
        nearest = [far[point, texts].min() for point, texts in zip(test.pool.text[queries.point], answers, strict=True)]
        assert right == pytest.approx(nearest, abs=2e-6)


def test_in_a_collection_every_split_searches_every_document(triples, tmp_path):
    write_triples(tmp_path, replace(triples, documents=[Document("d0", "salt"), Document("d1", "spoon")]))
    read = read_triples(tmp_path)
    test = read_tasks(read, beir=False)[1]
    queries, chosen = test.queries["text"], np.arange(2)
    for name, setting in test.settings.items():  # a document has no debate, theme or side
        scope = np.broadcast_to(in_scope(queries, chosen, setting), (2, len(test.pool)))
        assert (scope & (test.pool.source == 2)).any() == (name in ("epc", "epa")), name
    assert texts(test, test.pool.source == 2) == ["salt", "spoon", "dog bark", "bone leash", "nest egg", "bird"]
    ranks = Ranks(Ragged.of([[1], [1]]), np.ones(2), np.array([7, 9]), np.array([False, False]))
    rows = table(test, "text", [4, 4], ranks)
    assert rows["best"].tolist() == ["document d1", "document r1"]
    assert rows["best_is"].tolist() == ["a document"] * 2
    assert set(read.pool("training").texts) & {"salt", "spoon", "song"} == {"salt", "spoon"}
    write_triples(tmp_path, triples)
    assert read_triples(tmp_path).documents is None
