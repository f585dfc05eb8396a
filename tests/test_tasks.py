import logging

import numpy as np
import pytest
import torch

from counterpoint.arguments.pairs import Pair, write_pairs
from counterpoint.evaluation.tasks import embed_tasks, ranks_table, read_tasks
from counterpoint.model.bi_encoder import zero_shot
from counterpoint.model.compute import choose
from counterpoint.ranking.ranking import Ranks
from counterpoint.ranking.settings import SETTINGS


@pytest.fixture
def triples(tmp_path):
    splits = {
        "training": [Pair("r0", "t", "d", "pro", "cat purr", "dog bark"), Pair("r1", "t", "d", "con", "milk", "bone leash")],
        "validation": [Pair("v0", "t", "e", "pro", "bird wing", "nest egg"), Pair("v1", "t", "e", "con", "song", "bird")],
        "test": [
            Pair("t0", "u", "f", "pro", "apple", "pear peel", seen="none"),
            Pair("t1", "u", "f", "con", "Cat  purr", "juice seed", seen="point"),  # a twin of training's
            Pair("t2", "w", "f", "con", "apple", "salt", seen="none"),  # a query asked twice, with another counter
        ],
        "unpaired": [Pair("x0", "t", "d", "pro", "soup broth", None)],
    }
    for name, pairs in splits.items():
        write_pairs(tmp_path / f"{name}.jsonl", pairs)
    return tmp_path


def test_the_splits_have_all_settings_and_beir_its_own(triples):
    validation, test, beir = read_tasks(triples, beir=True)
    assert [task.split for task in (validation, test, beir)] == ["validation", "test", "test"]
    assert list(test.settings) == list(SETTINGS)
    assert [pair.id for pair in beir.asked] == [pair.id for pair in test.asked] == ["t0", "t1", "t2"]
    offered = [beir.pool.texts[i] for i in beir.pool.text[beir.pool.offered]]
    assert len(offered) == 15 - 2  # one twin of a point, one point said twice
    assert offered.count("soup broth") == 1
    assert read_tasks(triples, beir=False)[1].pool.texts == test.pool.texts


def test_what_a_corpus_does_not_say_is_said(triples, caplog):
    write_pairs(triples / "test.jsonl", [Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(2)])
    with caplog.at_level(logging.INFO):
        _, test = read_tasks(triples, beir=False)
    assert list(test.settings) == ["epc", "epa"]
    assert "test: not every pair says its debate, theme and stance: no sdoc, sdc, sdoa, sda, stc, sta" in caplog.text


def test_embedding_for_beir_changes_no_other_vector(triples, tiny_bert):
    model = zero_shot(tiny_bert, 16, choose("cpu", "fp32"))
    plain, more = (read_tasks(triples, beir=beir) for beir in (False, True))
    without, with_beir = embed_tasks(plain, model), embed_tasks(more, model)
    for a, b in zip(without, with_beir[:2], strict=True):
        assert torch.equal(a[0].embedding, b[0].embedding)
    for task, (points, _) in zip(more, with_beir, strict=True):
        alone = model.embed(model.point.encoder.tokenize(task.pool.texts))[0].embedding
        assert torch.allclose(points.embedding, alone, atol=1e-5)


def test_the_table_names_what_came_out_on_top(triples):
    _, test, beir = read_tasks(triples, beir=True)
    ranks = Ranks(np.array([1, 2, 3]), np.array([1, 1, 3]), np.array([3, 0, 4]))
    rows = ranks_table(test, "epa", "retrieved", np.array([5, 5, 5]), ranks)
    assert rows.to_dict("list") == {
        "setting": ["epa"] * 3,
        "stage": ["retrieved"] * 3,
        "id": ["t0", "t1", "t2"],
        "seen": ["none", "point", "none"],
        "cluster": [0, 0, 0],  # t2 says what t0 says, under another theme
        "candidates": [5, 5, 5],
        "rank": [1, 2, 3],
        "ties_hit": [1, 1, 3],
        "best": ["counter t0", "point t0", "counter t1"],
        "best_is": ["true counter", "other side's point", "another debate's counter"],
    }
    first = Ranks(*(np.full(3, value) for value in (2, 2, len(beir.asked))))  # the first text that is offered
    assert ranks_table(beir, "beir", "bm25", np.full(3, 12), first)["best"].tolist() == ["point r0"] * 3
