"""The joint reader: over kept states it is the same as over both texts whole; it learns, resumes, comes back from files."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModel

from conftest import WORDS, fixture_params, independent_pairs, sentence
from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.core.errors import InputError
from counterpoint.core.params_file import load_params
from counterpoint.core.seeds import seed_torch
from counterpoint.model.compute import choose
from counterpoint.model.encoder import load_encoder
from counterpoint.model.reader import JointReader
from counterpoint.model.reader_files import load_reader, save_reader
from counterpoint.model.states import states_of
from counterpoint.model.towers import Vectors
from counterpoint.negatives.wrong import right_groups
from counterpoint.ranking.second_step import ByReader
from counterpoint.reranking import learn as learn_module
from counterpoint.reranking.learn import PARTS, learn
from counterpoint.reranking.lists import ListSampler
from counterpoint.training.checkpoint import Checkpoint

CPU = choose("cpu", "fp32")
TEXTS = [sentence(np.random.default_rng(i), WORDS, 3 + 5 * (i % 4)) for i in range(12)]
PAIRS = np.array(list(itertools.product(range(12), range(12)))).T


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("STATES_DIR", str(tmp_path / "states"))
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))


def reader_of(directory, prompts=(None, None), compute=CPU, dropout=0.1):
    encoder = load_encoder(directory, "mean", 30, dropout, 0.0, prompts)
    encoder.freeze(1, "rerank.freeze")
    torch.manual_seed(3)
    reader = JointReader(encoder, compute)
    with torch.no_grad():
        for parameter in (reader.segment, reader.linear.weight):
            parameter.normal_()
    return reader


def read_texts(reader, texts=TEXTS):
    (read,) = states_of(reader.encoder, reader.compute, [reader.encoder.tokenize(texts)], texts, 1.0)
    return read


@torch.no_grad()
def by_hand(reader, directory, point, answer, prompts=(None, None)):
    """Both texts whole: the first layer sees each alone, as a mask of blocks has it, the second sees both."""
    bert = AutoModel.from_pretrained(directory).eval()
    own = {name.removeprefix("encoder.transformer."): value for name, value in reader.learnt().items()}
    bert.load_state_dict({name: value for name, value in own.items() if name.startswith("encoder.layer.1")}, strict=False)
    sides = [
        reader.encoder.tokenizer([(prompt or "") + text], truncation=True, max_length=30, return_tensors="pt")["input_ids"]
        for prompt, text in zip(prompts, (point, answer), strict=True)
    ]
    lengths = [side.shape[1] for side in sides]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    states = bert.embeddings(input_ids=torch.cat(sides, dim=1), position_ids=positions)
    which = torch.repeat_interleave(torch.arange(2), torch.tensor(lengths))
    blocks = torch.where(which[:, None] == which, 0.0, torch.finfo(torch.float32).min)[None, None]
    for number, layer in enumerate(bert.encoder.layer):
        states = states + reader.segment[which] if number else states
        out = layer(states, attention_mask=None if number else blocks)
        states = out[0] if isinstance(out, tuple) else out
    means = [states[0, which == side].mean(0) for side in range(2)]
    return float(reader.linear.weight[0] @ torch.cat(means))


@pytest.mark.parametrize("prompts", [(None, None), ("cat ", "dog ")])
def test_kept_states_give_what_the_same_layers_make_of_both_texts_whole(tiny_bert, prompts):
    reader = reader_of(tiny_bert, prompts)
    got = reader.read(read_texts(reader), *PAIRS)
    expected = [by_hand(reader, tiny_bert, TEXTS[i], TEXTS[j], prompts) for i, j in PAIRS.T]
    torch.testing.assert_close(got, torch.tensor(expected), atol=2e-5, rtol=2e-5)


def test_a_pair_is_worth_the_same_in_any_company(tiny_bert):
    reader = reader_of(tiny_bert)
    texts = read_texts(reader)
    together = reader.read(texts, *PAIRS)
    alone = torch.cat([reader.read(texts, PAIRS[0][i : i + 1], PAIRS[1][i : i + 1]) for i in range(0, 144, 7)])
    torch.testing.assert_close(alone, together[::7], atol=1e-5, rtol=1e-5)


def test_it_comes_back_from_its_files_and_these_know_no_training(tiny_bert, tmp_path):
    reader = reader_of(tiny_bert, ("cat ", "dog "))
    save_reader(tmp_path / "reader", reader, load_encoder(tiny_bert, "mean", 30))
    back = load_reader(tmp_path / "reader", CPU)
    torch.testing.assert_close(back.read(read_texts(back), *PAIRS), reader.read(read_texts(reader), *PAIRS), atol=0, rtol=0)
    one = (tmp_path / "reader/encoder/model.safetensors").read_bytes()
    save_reader(tmp_path / "again", reader_of(tiny_bert), load_encoder(tiny_bert, "mean", 30))
    assert (tmp_path / "again/encoder/model.safetensors").read_bytes() == one  # which DVC keeps once


def test_each_pair_is_read_once(tiny_bert):
    reader = reader_of(tiny_bert)
    by_reader, asked = ByReader(reader, read_texts(reader)), []
    read = reader.read

    def watched(texts, points, answers):
        asked.extend(zip(points.tolist(), answers.tolist(), strict=True))
        return read(texts, points, answers)

    reader.read = watched
    for pairs in (PAIRS[:, :20], PAIRS[:, 10:30], PAIRS[:, [3, 3, 29, 5]]):
        got = by_reader(*(torch.as_tensor(side) for side in pairs))
        torch.testing.assert_close(got, read(by_reader.texts, *pairs), atol=6e-4, rtol=0)  # three decimals
    assert sorted(asked) == sorted(set(asked))
    assert len(asked) == 30


@pytest.mark.parametrize(("freeze", "says"), [(2, "rerank.freeze must be at least 1 and below the encoder's 2 layers; got 2")])
def test_a_freeze_that_leaves_nothing_to_learn_is_refused(tiny_bert, freeze, says):
    with pytest.raises(InputError, match=says):
        load_encoder(tiny_bert, "mean", 30).freeze(freeze, "rerank.freeze")


# --- lists -----------------------------------------------------------------------------------------------------------


def params_of(tiny_bert, tmp_path, **changes):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(fixture_params(tiny_bert, **changes)))
    return load_params(tmp_path / "params.yaml")


def line_world():
    """Points at 0, 10, 20, …, each with its counter a third on; points 0 and 1 say the same, and so have two right answers."""
    texts = ["p0", "P0", *(f"p{i}" for i in range(2, 8))]
    pool = Pool.of([Pair(str(i), None, None, None, text, f"c{i}") for i, text in enumerate(texts)])
    places = {f"p{i}": 10.0 * i for i in range(8)} | {"P0": 0.0} | {f"c{i}": 10.0 * i + 3 for i in range(8)}
    side = torch.tensor([[places[text]] for text in pool.texts])
    return pool, (Vectors(side, side), Vectors(side, side)), places


def test_a_list_has_the_right_answer_first_and_wrong_ones_of_the_first_few(tiny_bert, tmp_path):
    params = params_of(tiny_bert, tmp_path, random_rate=0.0, rerank__depth=4, rerank__negatives=3)
    pool, vectors, places = line_world()
    sampler = ListSampler(pool, vectors, params)
    turns = np.arange(8) / 8
    drawn = set()
    for epoch in range(20):
        lists = sampler.draw(epoch, turns)
        assert not lists.was_random.any()
        for row, query in enumerate(pool.queries):
            twins = [q for q in pool.queries if pool.text_group[q] == pool.text_group[query]]
            right = {pool.text_group[query]} | {pool.text_group[pool.counter_of[q]] for q in twins}
            assert pool.texts[lists.points[row]] == pool.texts[pool.text[query]]
            assert lists.answers[row, 0] == pool.text[pool.counter_of[query]]
            own = places[pool.texts[lists.points[row]]]
            wrong = [i for i in range(len(pool)) if pool.text_group[i] not in right]
            near = sorted({(abs(places[pool.texts[pool.text[i]]] - own), pool.text_group[i]) for i in wrong})[:4]
            groups = [pool.text_group[np.flatnonzero(pool.text == text)[0]] for text in lists.answers[row, 1:]]
            assert len(set(groups)) == 3
            assert set(groups) <= {group for _, group in near}
            drawn |= {(row, group) for group in groups}
    assert len(drawn) == 4 * len(pool.queries)  # anew each epoch, until all of the first four have come


def many_pairs(n=400):
    """Points on a line, each with its counter at hand, far more than a list holds."""
    pool = Pool.of([Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(n)])
    side = torch.tensor([[10.0 * int(text[1:]) + 3 * (text[0] == "c")] for text in pool.texts])
    return pool, (Vectors(side, side), Vectors(side, side))


def test_random_lists_come_first_and_then_mined_ones(tiny_bert, tmp_path):
    params = params_of(tiny_bert, tmp_path, random_rate=1.0, decay=0.0, rerank__decay=2.0, rerank__depth=4, rerank__negatives=2)
    pool, vectors = many_pairs()
    turns = np.random.default_rng(0).permutation(400) / 400
    sampler = ListSampler(pool, vectors, params)
    lists, later = sampler.draw(0, turns), sampler.draw(1, turns)
    quarters = [lists.was_random[(turns >= begin) & (turns < begin + 0.25)].mean() for begin in (0, 0.25, 0.5, 0.75)]
    assert quarters == [pytest.approx(0.75, abs=0.1), pytest.approx(0.25, abs=0.1), 0, 0]
    assert not later.was_random.any()
    places = vectors[0].embedding[:, 0].numpy()
    far = np.abs(places[lists.answers[:, 1:]] - places[lists.points][:, None])
    assert far[~lists.was_random].max() <= 30  # of four wrong answers, the farthest is three points off, at the line's end
    assert (far[lists.was_random] > 30).mean() > 0.9
    groups = pool.text_group[np.searchsorted(pool.text, lists.answers)]
    assert (np.sort(groups, 1)[:, 1:] != np.sort(groups, 1)[:, :-1]).all()  # neither the right answer nor twins among them


@pytest.mark.parametrize(("changes", "shares"), [({"rerank__decay": None}, [0.5, 0.5]), ({"floor": 0.25}, [0.25, 0.25])])
def test_the_rate_stays_without_decay_and_at_its_floor(tiny_bert, tmp_path, changes, shares):
    params = params_of(tiny_bert, tmp_path, random_rate=0.5, decay=0.0, **({"rerank__decay": 9.0} | changes))
    sampler = ListSampler(*many_pairs(), params)
    drawn = [sampler.draw(epoch, np.full(400, 0.9)).was_random.mean() for epoch in (0, 3)]
    assert drawn == pytest.approx(shares, abs=0.1)


def test_more_negatives_than_there_are_wrong_answers_become_as_many(tiny_bert, tmp_path):
    params = params_of(tiny_bert, tmp_path, rerank__depth=50, rerank__negatives=50)
    pool, vectors, _ = line_world()
    fewest = min(pool.text_group.max() + 1 - (row >= 0).sum() for row in right_groups(pool))
    assert ListSampler(pool, vectors, params).draw(0, np.zeros(8)).answers.shape == (8, 1 + fewest)


# --- learning --------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(tiny_bert, tmp_path):
    """A function that trains a reader: a name of the checkpoint and changes of params in; reader, progress out."""

    def run(name="run", **changes):
        params = params_of(tiny_bert, tmp_path, **changes)
        pool = Pool.of([Pair(str(i), None, None, None, *pair) for i, pair in enumerate(independent_pairs(20))])
        reader = reader_of(tiny_bert)
        texts = read_texts(reader, pool.texts)
        seed_torch(1, 0, "reader")
        vectors = Vectors(*(torch.randn(len(pool.texts), 4, generator=torch.Generator().manual_seed(1)) for _ in range(2)))
        checkpoint = Checkpoint(name, 3)
        try:
            progress = learn(reader, texts, ListSampler(pool, (vectors, vectors), params), params, checkpoint)
        finally:
            checkpoint.release()
        return SimpleNamespace(reader=reader, progress=progress)

    return run


def test_the_loss_falls(world):
    progress = world(rerank__epochs=8).progress
    assert progress.parts == 8 * PARTS
    assert [row["epoch"] for row in progress.steps][:: len(progress.steps) // 8] == list(range(8))
    assert progress.steps[-1]["loss"] < 0.5 * progress.steps[0]["loss"]


@pytest.mark.parametrize("stop_after", [1, PARTS, PARTS + 3, 2 * PARTS])
def test_a_reader_goes_on_from_its_checkpoint_as_if_nothing_had_been(world, stop_after, monkeypatch):
    changes = {"rerank__epochs": 2, "rerank__batch_size": 3}
    whole = world("whole", **changes)

    class Killed(Exception):
        pass

    def tell(progress, epochs):
        if progress.parts == stop_after:
            raise Killed

    monkeypatch.setattr(learn_module, "tell", tell)
    with pytest.raises(Killed):
        world("torn", **changes)
    seen = []
    monkeypatch.setattr(learn_module, "tell", lambda progress, epochs: seen.append(progress.parts))
    torn = world("torn", **changes)
    assert seen == list(range(stop_after + 1, 2 * PARTS + 1))
    assert torn.progress.steps == whole.progress.steps
    weights = torn.reader.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in whole.reader.state_dict().items())


@pytest.mark.slow
def test_gradients_are_the_same_however_threads_take_turns(tiny_bert):
    reader = reader_of(tiny_bert, dropout=0.0)
    texts, threads, found = read_texts(reader), torch.get_num_threads(), []
    pairs = np.tile(PAIRS, 4)
    torch.set_num_threads(2)
    try:
        for _ in range(20):
            reader.zero_grad()
            reader.logits(texts, *pairs).square().sum().backward()
            found.append([parameter.grad.clone() for part in reader.learning() for parameter in part])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for each in found for one, other in zip(each, found[0], strict=True))


def test_nothing_below_the_cut_learns(world, tiny_bert):
    before, after = reader_of(tiny_bert).encoder.transformer.state_dict(), world().reader.encoder.transformer.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("encoder.layer.1.") for name in changed)
