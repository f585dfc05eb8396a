"""The cross-encoder: cached states give the logits of both texts whole; it trains, resumes, and is read from its files."""

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
from counterpoint.core.params import load_params
from counterpoint.core.seeds import seed_torch
from counterpoint.model.compute import choose
from counterpoint.model.encoder import load_encoder
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.model.towers import Embedded, Vectors
from counterpoint.negatives.eligible import count_eligible, excluded_groups
from counterpoint.reranking import learn as learn_module
from counterpoint.reranking.cross_encoder import CrossEncoderScorer, assemble
from counterpoint.reranking.learn import PARTS, ListSampler, learn
from counterpoint.training.checkpoint import Checkpoint

CPU = choose("cpu", "fp32")
TEXTS = [sentence(np.random.default_rng(i), WORDS, 3 + 5 * (i % 4)) for i in range(12)]
PAIRS = np.array(list(itertools.product(range(12), range(12)))).T


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("STATES_DIR", str(tmp_path / "states"))
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))


def model_of(directory, prompts=(None, None), dropout=0.1):
    encoder = load_encoder(directory, "mean", 30, (dropout, 0.0), prompts)
    encoder.freeze(1, "rerank.freeze")
    torch.manual_seed(3)
    model = assemble(encoder, CPU)
    with torch.no_grad():
        for parameter in (model.segment, model.linear.weight):
            parameter.normal_()
    return model


def cached(model, texts=TEXTS):
    (states,) = HiddenStateCache(texts).read(model.encoder, CPU, [model.encoder.tokenize(texts)])
    return states


@torch.no_grad()
def logits(model, texts, points, answers):
    """The logits without dropout, and unlike those of `score` not rounded."""
    return model.eval().logits(texts, points, answers)


@torch.no_grad()
def by_hand(model, directory, point, answer, prompts=(None, None)):
    """Both texts whole: by a mask of blocks the first layer sees each alone, the second layer sees both."""
    bert = AutoModel.from_pretrained(directory).eval()
    trained = {name.removeprefix("encoder.transformer."): value for name, value in model.trainable_state().items()}
    bert.load_state_dict({name: value for name, value in trained.items() if name.startswith("encoder.layer.1")}, strict=False)
    sides = [
        model.encoder.tokenizer([(prompt or "") + text], truncation=True, max_length=30, return_tensors="pt")["input_ids"]
        for prompt, text in zip(prompts, (point, answer), strict=True)
    ]
    lengths = [side.shape[1] for side in sides]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    states = bert.embeddings(input_ids=torch.cat(sides, dim=1), position_ids=positions)
    which = torch.repeat_interleave(torch.arange(2), torch.tensor(lengths))
    blocks = torch.where(which[:, None] == which, 0.0, torch.finfo(torch.float32).min)[None, None]
    for number, layer in enumerate(bert.encoder.layer):
        states = states + model.segment[which] if number else states
        out = layer(states, attention_mask=None if number else blocks)
        states = out[0] if isinstance(out, tuple) else out
    means = [states[0, which == side].mean(0) for side in range(2)]
    return float(model.linear.weight[0] @ torch.cat(means))


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [(None, None), ("cat ", "dog ")])
def test_cached_states_give_the_logits_of_the_same_layers_over_both_texts_whole(tiny_bert, prompts):
    model = model_of(tiny_bert, prompts)
    expected = torch.tensor([by_hand(model, tiny_bert, TEXTS[i], TEXTS[j], prompts) for i, j in PAIRS.T])
    torch.testing.assert_close(logits(model, cached(model), *PAIRS), expected, atol=2e-5, rtol=2e-5)
    scores = torch.from_numpy(model.score(cached(model), *PAIRS))
    torch.testing.assert_close(scores, expected, atol=6e-4, rtol=0)  # three decimals


def test_the_logit_of_a_pair_does_not_depend_on_other_pairs(tiny_bert):
    model = model_of(tiny_bert)
    texts = cached(model)
    together = logits(model, texts, *PAIRS)
    alone = torch.cat([logits(model, texts, PAIRS[0][i : i + 1], PAIRS[1][i : i + 1]) for i in range(0, 144, 7)])
    torch.testing.assert_close(alone, together[::7], atol=1e-5, rtol=1e-5)


def test_it_is_read_from_its_files_and_the_encoder_s_file_is_that_of_every_run(tiny_bert, tmp_path):
    model = model_of(tiny_bert, ("cat ", "dog "))
    CrossEncoderScorer(model, load_encoder(tiny_bert, "mean", 30)).save(tmp_path / "first")
    loaded = CrossEncoderScorer.load(tmp_path / "first", CPU).model
    torch.testing.assert_close(logits(loaded, cached(loaded), *PAIRS), logits(model, cached(model), *PAIRS), atol=0, rtol=0)
    CrossEncoderScorer(model_of(tiny_bert), load_encoder(tiny_bert, "mean", 30)).save(tmp_path / "second")
    files = [tmp_path / name / "cross_encoder/encoder/model.safetensors" for name in ("first", "second")]
    assert files[0].read_bytes() == files[1].read_bytes()  # DVC keeps it once


@pytest.mark.parametrize("with_cache", [True, False])
def test_each_pair_is_scored_once(tiny_bert, with_cache):
    model, pairs = model_of(tiny_bert), []
    score, texts = model.score, cached(model)

    def watched(texts, points, answers):
        pairs.extend(zip(points.tolist(), answers.tolist(), strict=True))
        return score(texts, points, answers)

    model.score = watched
    scored = CrossEncoderScorer(model).over(TEXTS, None, HiddenStateCache(TEXTS) if with_cache else None)
    for part in (PAIRS[:, :20], PAIRS[:, 10:30], PAIRS[:, [3, 3, 29, 5]]):
        got = scored(*(torch.as_tensor(side) for side in part))
        torch.testing.assert_close(got, logits(model, texts, *part), atol=6e-4, rtol=0)  # three decimals
    assert sorted(pairs) == sorted(set(pairs))
    assert len(pairs) == 30


@pytest.mark.parametrize(("freeze", "says"), [(2, "rerank.freeze must be at least 1 and below the encoder's 2 layers; got 2")])
def test_a_freeze_that_leaves_nothing_to_train_is_refused(tiny_bert, freeze, says):
    with pytest.raises(InputError, match=says):
        load_encoder(tiny_bert, "mean", 30).freeze(freeze, "rerank.freeze")


# --- lists -----------------------------------------------------------------------------------------------------------


def params_of(tiny_bert, tmp_path, **changes):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(fixture_params(tiny_bert, **changes)))
    return load_params(tmp_path / "params.yaml")


def embedded_as(side):
    return Embedded(Vectors(side, side), Vectors(side, side))


def line_world():
    """Points at 0, 10, 20, …, each with its counter a third on; points 0 and 1 are duplicates, and so have two positives."""
    texts = ["p0", "P0", *(f"p{i}" for i in range(2, 8))]
    pool = Pool.of([Pair(str(i), None, None, None, text, f"c{i}") for i, text in enumerate(texts)])
    places = {f"p{i}": 10.0 * i for i in range(8)} | {"P0": 0.0} | {f"c{i}": 10.0 * i + 3 for i in range(8)}
    side = torch.tensor([[places[text]] for text in pool.texts])
    return pool, embedded_as(side), places


def test_a_list_has_the_positive_first_and_negatives_of_the_first_candidates(tiny_bert, tmp_path):
    params = params_of(tiny_bert, tmp_path, random_rate=0.0, rerank__depth=4, rerank__negatives=3)
    pool, embedded, places = line_world()
    sampler = ListSampler(pool, embedded, params)
    turns = np.arange(8) / 8
    drawn = set()
    for epoch in range(20):
        lists = sampler.draw(epoch, turns)
        assert not lists.was_random.any()
        for row, query in enumerate(pool.queries):
            duplicates = [q for q in pool.queries if pool.text_group[q] == pool.text_group[query]]
            excluded = {pool.text_group[query]} | {pool.text_group[pool.counter_of[q]] for q in duplicates}
            assert pool.texts[lists.points[row]] == pool.texts[pool.text[query]]
            assert lists.answers[row, 0] == pool.text[pool.counter_of[query]]
            place = places[pool.texts[lists.points[row]]]
            eligible = [i for i in range(len(pool)) if pool.text_group[i] not in excluded]
            nearest = sorted({(abs(places[pool.texts[pool.text[i]]] - place), pool.text_group[i]) for i in eligible})[:4]
            groups = [pool.text_group[np.flatnonzero(pool.text == text)[0]] for text in lists.answers[row, 1:]]
            assert len(set(groups)) == 3
            assert set(groups) <= {group for _, group in nearest}
            drawn |= {(row, group) for group in groups}
    assert len(drawn) == 4 * len(pool.queries)  # anew each epoch, until all of the first four have come


def many_pairs(n=400):
    """Points on a line, each with its counter at hand, far more than a list holds."""
    pool = Pool.of([Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(n)])
    side = torch.tensor([[10.0 * int(text[1:]) + 3 * (text[0] == "c")] for text in pool.texts])
    return pool, embedded_as(side)


def test_random_lists_come_first_and_then_mined_ones(tiny_bert, tmp_path):
    changes = {"rerank__decay": 2.0, "rerank__depth": 4, "rerank__negatives": 2, "negatives__share": 0.1}  # not of lists
    params = params_of(tiny_bert, tmp_path, random_rate=1.0, decay=0.0, **changes)
    pool, embedded = many_pairs()
    turns = np.random.default_rng(0).permutation(400) / 400
    sampler = ListSampler(pool, embedded, params)
    lists, later = sampler.draw(0, turns), sampler.draw(1, turns)
    quarters = [lists.was_random[(turns >= begin) & (turns < begin + 0.25)].mean() for begin in (0, 0.25, 0.5, 0.75)]
    assert quarters == [pytest.approx(0.75, abs=0.1), pytest.approx(0.25, abs=0.1), 0, 0]
    assert not later.was_random.any()
    places = embedded.points.embedding[:, 0].numpy()
    distance = np.abs(places[lists.answers[:, 1:]] - places[lists.points][:, None])
    assert distance[~lists.was_random].max() <= 30  # of four candidates, the farthest is three points off, at the line's end
    assert (distance[lists.was_random] > 30).mean() > 0.9
    groups = pool.text_group[np.searchsorted(pool.text, lists.answers)]
    assert (np.sort(groups, 1)[:, 1:] != np.sort(groups, 1)[:, :-1]).all()  # neither the positive nor duplicates among them


@pytest.mark.parametrize(("changes", "shares"), [({"rerank__decay": None}, [0.5, 0.5]), ({"floor": 0.25}, [0.25, 0.25])])
def test_the_rate_stays_without_decay_and_at_its_floor(tiny_bert, tmp_path, changes, shares):
    params = params_of(tiny_bert, tmp_path, random_rate=0.5, decay=0.0, **({"rerank__decay": 9.0} | changes))
    sampler = ListSampler(*many_pairs(), params)
    drawn = [sampler.draw(epoch, np.full(400, 0.9)).was_random.mean() for epoch in (0, 3)]
    assert drawn == pytest.approx(shares, abs=0.1)


def test_more_negatives_than_there_are_eligible_become_as_many(tiny_bert, tmp_path):
    params = params_of(tiny_bert, tmp_path, rerank__depth=50, rerank__negatives=50)
    pool, embedded, _ = line_world()
    fewest = min(count_eligible(pool, excluded_groups(pool)))
    assert fewest == 12  # of 15 texts, without the two of a pair, or the three of points 0 and 1
    assert ListSampler(pool, embedded, params).draw(0, np.zeros(8)).answers.shape == (8, 1 + fewest)


# --- training --------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(tiny_bert, tmp_path):
    """A function that trains a cross-encoder: a name of the checkpoint and changes of params in; model, progress out."""

    def run(name="run", **changes):
        params = params_of(tiny_bert, tmp_path, **changes)
        pool = Pool.of([Pair(str(i), None, None, None, *pair) for i, pair in enumerate(independent_pairs(20))])
        model = model_of(tiny_bert)
        texts = cached(model, pool.texts)
        seed_torch(1, 0, "reranker")
        embedded = embedded_as(torch.randn(len(pool.texts), 4, generator=torch.Generator().manual_seed(1)))
        checkpoint = Checkpoint.open(name)
        try:
            progress = learn(model, texts, ListSampler(pool, embedded, params), params, checkpoint)
        finally:
            checkpoint.release()
        return SimpleNamespace(model=model, progress=progress)

    return run


def test_the_loss_falls(world):
    progress = world(rerank__epochs=8).progress
    assert progress.parts == 8 * PARTS
    assert [row["epoch"] for row in progress.steps][:: len(progress.steps) // 8] == list(range(8))
    assert progress.steps[-1]["loss"] < 0.5 * progress.steps[0]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [1, PARTS, PARTS + 3, 2 * PARTS])
def test_training_resumes_from_its_checkpoint_as_if_it_had_not_stopped(world, stop_after, monkeypatch):
    changes = {"rerank__epochs": 2, "rerank__batch_size": 3}
    whole = world("whole", **changes)

    class Killed(Exception):
        pass

    def kill(progress, epochs):
        if progress.parts == stop_after:
            raise Killed

    monkeypatch.setattr(learn_module, "log", kill)
    with pytest.raises(Killed):
        world("killed", **changes)
    parts = []
    monkeypatch.setattr(learn_module, "log", lambda progress, epochs: parts.append(progress.parts))
    resumed = world("killed", **changes)
    assert parts == list(range(stop_after + 1, 2 * PARTS + 1))
    assert resumed.progress.steps == whole.progress.steps
    weights = resumed.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in whole.model.state_dict().items())


@pytest.mark.slow
def test_gradients_are_the_same_however_threads_take_turns(tiny_bert):
    model = model_of(tiny_bert, dropout=0.0)
    texts, threads, gradients = cached(model), torch.get_num_threads(), []
    pairs = np.tile(PAIRS, 4)
    torch.set_num_threads(2)
    try:
        for _ in range(20):
            model.zero_grad()
            model.logits(texts, *pairs).square().sum().backward()
            gradients.append([parameter.grad.clone() for part in model.trainable_parameters() for parameter in part])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for repeated in gradients for a, b in zip(repeated, gradients[0], strict=True))


def test_nothing_below_the_cut_is_trained(world, tiny_bert):
    before, after = (model.encoder.transformer.state_dict() for model in (model_of(tiny_bert), world().model))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("encoder.layer.1.") for name in changed)
