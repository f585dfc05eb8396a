"""Another miner's negatives, as people have them, in tiny worlds with visible places."""

import json
import logging

import numpy as np
import pytest
import torch

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.core.errors import InputError
from counterpoint.negatives.eligible import initial_negatives
from counterpoint.negatives.provided import Provided
from test_sampler import sampler

PAIRS = [Pair(f"{i}", None, None, None, f"p{i}", f"c{i}", None) for i in range(60)]
POOL = Pool.of(PAIRS)
PLACE = torch.cat([torch.arange(60.0), torch.arange(60.0) + 0.25])[:, None]  # counter i - 1 is nearest to point i, at .75


@pytest.fixture
def of(tmp_path):
    def provided(*rows):
        file = tmp_path / "negatives.jsonl"
        file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return Provided.of(POOL, PAIRS, (), file)

    return provided


def drawn(provided, rate, epoch, k=1, **changes):
    one = sampler(POOL, rate, initial_negatives(POOL, k, 0), **changes)
    one.provided = provided
    return one.draw(epoch, PLACE, PLACE), one.initial


def test_rows_as_other_tools_write_them(of):
    same = [60 + 30, 40]
    for row in (
        {"query": "p1", "answer": "c1", "negative_1": "c30", "negative_2": "p40"},
        {"point": "P1 ", "negatives": ["c30", "p40", "c30"]},
        {"anchor": "p1", "positive": "c1", "negative": "c30", "negatives": ["p40"], "score": 0.3},
        {
            "query": "p1",
            "negative_1": "c30",
            "negative_2": ["p40"],
            "negative_3": None,
            "negative_1_score": 0.3,
            "negative_id": "d",
        },
        "\ufeff" + json.dumps({"query": "p1", "negatives": ["c30", "p40"]}),
        json.dumps({"query": "p2", "negatives": []}) + "\r\n" + json.dumps({"query": "p1", "negatives": ["c30", "p40"]}),
    ):
        assert sorted(of(row).mined[1].tolist()) == sorted(same)
        assert (np.delete(of(row).mined, 1, 0) == -1).all()
    assert of().mined.shape == (60, 0)


def test_unknown_and_right_texts_are_counted_and_left_out(of, caplog):
    caplog.set_level(logging.INFO)
    rows = [{"query": "p1", "negatives": ["c30", "c1", "p1", "never seen", "C30 "]}, {"query": "nobody", "negative": "c2"}]
    assert of(*rows).mined[1].tolist() == [90]
    assert "negatives.file: 6 negatives, 1 usable, 1 repeated, 2 unknown to training, 2 right answers" in caplog.text
    assert of().mined.size == 0
    assert "negatives.file: 0 negatives" in caplog.text


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", ":1 must be a JSON object; "),
        ("[]", ":1 must have query or point, and negative or negatives, as strings; got []"),
        ("{}", ":1 must have query or point, and negative or negatives, as strings; got {}"),
        ('{"query": "p1", "negatives": ' + "[" * 100_000, ":1 must be a JSON object; maximum recursion"),
        ({"query": "p1", "negative_1_score": 0.3}, "as strings; got query, negative_1_score"),
        ({"query": "p1"}, "as strings; got query"),
        ({"query": "p1", "negative": 3}, "as strings; got query, negative"),
        ({"query": "p1", "point": "p1", "negative": "c2"}, "as strings; got query, point, negative"),
        ({"query": "p1", "negative": "c1"}, "must hold a negative, of a point of training, that is a text of the corpus"),
    ],
)
def test_what_cannot_be_used_is_one_line(of, row, says):
    with pytest.raises(InputError) as refused:
        of(row)
    assert str(refused.value).startswith("negatives.file: ")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"none\.jsonl must be a JSONL file; got: No such file or directory"):
        Provided.of(POOL, PAIRS, (), tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="must be a JSONL file; got: Is a directory"):
        Provided.of(POOL, PAIRS, (), tmp_path)


def test_in_epoch_0_they_stand_for_the_random_ones(of):
    provided = of({"query": "p5", "negatives": ["c30", "c31", "c32"]}, {"query": "p6", "negatives": ["c40"]})
    draw, initial = drawn(provided, 1.0, 0, k=2)
    assert draw.ids[5].tolist() == [90, 91]  # in the file's order
    assert draw.ids[6, 0] == 100
    assert draw.ids[6, 1] in initial[6]
    assert np.array_equal(np.delete(draw.ids, (5, 6), 0), np.delete(initial, (5, 6), 0))
    assert draw.was_random[[5, 6]].tolist() == [[False, False], [False, draw.ids[6, 1] == initial[6, 1]]]
    later, _ = drawn(provided, 1.0, 1, k=2)
    assert later.was_random.all()


def test_later_they_join_the_window(of):
    rows = [{"query": f"p{i}", "negative": f"c{(i + 30) % 60}"} for i in range(60)]
    counts = []
    for epoch in range(1, 31):
        draw, _ = drawn(of(*rows), 0.0, epoch)
        theirs = draw.ids[:, 0] == 60 + (np.arange(60) + 30) % 60
        nearest = draw.ids[1:, 0] == 60 + np.arange(59)
        assert (theirs[1:] ^ nearest).all()
        counts.append(theirs.mean())
    assert np.mean(counts) == pytest.approx(0.5, abs=0.05)  # one of two: the nearest, and theirs


def test_one_that_stands_in_the_window_counts_once(of):
    provided = of(*({"query": f"p{i}", "negatives": [f"c{i - 1}", f"c{(i + 30) % 60}"]} for i in range(1, 60)))
    shares = [(drawn(provided, 0.0, epoch)[0].ids[1:, 0] == 60 + np.arange(59)).mean() for epoch in range(1, 31)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.05)


def test_several_of_a_point_differ_from_each_other_and_from_random_ones(of):
    provided = of(*({"query": f"p{i}", "negatives": [f"c{j}" for j in range(60) if j != i]} for i in range(60)))
    for epoch in range(4):
        draw, _ = drawn(provided, 0.5, epoch, k=4)
        assert all(len(set(POOL.text_group[row])) == 4 for row in draw.ids)
        assert not (draw.ids == 60 + np.arange(60)[:, None]).any()


def test_the_margin_holds_for_them_too(of):
    place = torch.nn.functional.normalize(torch.randn(120, 4, generator=torch.Generator().manual_seed(0)))
    place[60 + 7] = place[9]  # counter 7 is right on point 9
    one = sampler(POOL, 0.0, initial_negatives(POOL, 1, 0), normalized=True, margin=0.05, window=[1, 3])
    one.provided = of({"query": "p9", "negative": "c7"})
    for epoch in range(1, 20):
        assert one.draw(epoch, place, place).ids[9, 0] != 67 or one.draws[-1].was_filtered[9, 0]
