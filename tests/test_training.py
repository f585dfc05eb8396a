import gc
from dataclasses import replace
from functools import partial
from itertools import combinations, product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

import worlds
from conftest import EVERY_PART, WORDS, fixture_params
from counterpoint.core.errors import InputError
from counterpoint.core.params import load_params
from counterpoint.core.sections import SelectParams
from counterpoint.core.seeds import seed_torch
from counterpoint.corpus.splits import read_splits
from counterpoint.model import texts as text_module
from counterpoint.model.bi_encoder import build
from counterpoint.model.compute import Compute, choose, micro_batches, same_draws
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.negatives.eligible import draw_random, excluded_groups
from counterpoint.negatives.provided import Provided
from counterpoint.ranking.select import selection_queries
from counterpoint.training import loop
from counterpoint.training.average import greedy
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.loop import Learner, fit
from counterpoint.training.losses import LOSSES
from counterpoint.training.state import Progress
from counterpoint.training.trainer import Optimizer
from worlds import ready

CPU = choose("cpu", "fp32")
TOP1 = ("training_top1", "validation_top1", "test_top1", "selection_score")


class Killed(Exception):
    pass


class KilledAfter(Progress):
    """A progress that ends the run after so many epochs."""

    def __init__(self, folder, epochs):
        super().__init__(folder, 0, 1)
        self.last = epochs

    def epoch(self, state):
        super().epoch(state)
        if len(state.epochs) == self.last:
            raise Killed


class Watched(Progress):
    """A progress that notes the number of epochs whenever it shows one."""

    def __init__(self, folder):
        super().__init__(folder, 0, 1)
        self.seen = []

    def epoch(self, state):
        super().epoch(state)
        self.seen += [len(state.epochs)] if state.epochs else []


@pytest.fixture
def world(arguana, tiny_bert, tmp_path, monkeypatch):
    """Return a function that trains on the fixture corpus: changes of params in; the state, the model, draws and splits out."""
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("STATES_DIR", str(tmp_path / "states"))
    pairs = read_splits(arguana, None).triples.pairs

    def train(progress=None, name="run", pairs=pairs, provided=None, **changes):
        here = ready(tmp_path / "params.yaml", tiny_bert, pairs, provided=provided, **changes)
        checkpoint = Checkpoint.open(name)
        try:
            learner = Learner(here.model, here.splits["training"], here.params, checkpoint)
            progress = progress or Progress(tmp_path / "series", 0, 1)
            state = fit(learner, here.sampler, here.splits, here.params, progress)
        finally:
            checkpoint.release()
        return SimpleNamespace(**vars(state), model=here.model, draws=here.sampler.draws, splits=here.splits)

    return train


def test_a_run_has_a_row_and_a_draw_an_epoch(world):
    run = world()
    assert [row["epoch"] for row in run.epochs] == [0, 1, 2]
    assert [row["random_rate"] for row in run.epochs] == [1.0, 0.6, 0.2]
    assert list(run.epochs[0]) == [
        "epoch", "random_rate", "random_share", "filtered_share", "same_debate_share", "point_share",
        "hardness", "loss",
        *(f"{name}_loss" for name in LOSSES), "training_top1", "validation_top1", "test_top1", "unseen_test_top1",
        "selection_score", "training_n", "validation_n", "test_n",
    ]  # fmt: skip
    assert [step["step"] for step in run.steps] == [1, 2, 3, 4, 5, 6, 7, 8, 9]  # 3 batches an epoch
    for row, draw in zip(run.epochs, run.draws, strict=True):
        assert row["random_share"] == draw.was_random.mean()
        assert row["loss"] == pytest.approx(row["triplet_loss"] + row["pair_loss"], rel=1e-5)


def test_negatives_are_never_the_point_a_positive_or_a_duplicate_of_one(world):
    for rate in (1.0, 0.0):
        run = world(random_rate=rate, decay=0.0, negatives__per_point=2)
        pool = run.splits["training"].pool
        for draw in run.draws:
            for query, ids in zip(pool.queries, draw.ids, strict=True):
                duplicates = [q for q in pool.queries if pool.text_group[q] == pool.text_group[query]]
                excluded = {pool.text_group[query]} | {pool.text_group[pool.counter_of[q]] for q in duplicates}
                assert not excluded & set(pool.text_group[ids])


def test_negatives_are_drawn_in_the_embedding_of_their_epoch(world):
    """At rate 0 they are the nearest eligible arguments in the embedding before the epoch: here, untrained."""
    run = world(random_rate=0.0, train__epochs=1)
    model = world(random_rate=0.0, train__epochs=0, name="untrained").model
    pool = run.splits["training"].pool
    vectors = model.embed(run.splits["training"].tokens).points.embedding[torch.as_tensor(pool.text)].double()
    excluded = excluded_groups(pool)
    for i, query in enumerate(pool.queries):
        eligible = [j for j in range(len(pool)) if pool.text_group[j] not in [*excluded][i]]
        nearest = min(float((vectors[query] - vectors[j]).norm()) for j in eligible)
        assert run.draws[0].distance[i, 0] == pytest.approx(nearest, rel=1e-4)


def test_without_decay_every_epoch_is_random(world):
    run = world(decay=None)
    assert [row["random_rate"] for row in run.epochs] == [1.0] * 3
    assert all(draw.was_random.all() for draw in run.draws)
    assert not np.array_equal(run.draws[0].ids, run.draws[1].ids)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(world):
    first, second, third = (world(seed=seed, name=str(i)) for i, seed in enumerate((1, 1, 2)))
    assert first.epochs == second.epochs
    assert first.steps == second.steps
    assert first.epochs != third.epochs


def test_the_best_epoch_by_validation_is_kept(world):
    run = world(train__epochs=5)
    scores = [row["selection_score"] for row in run.epochs]
    assert scores[run.best.epoch] == max(scores)
    assert all(torch.equal(value, run.best.weights[name]) for name, value in run.model.state_dict().items())


@pytest.mark.slow
def test_training_learns_its_own_triples(world):
    """All training points find a counter."""
    changes = {"model__projection": None, "model__fusion": "cls", "model__dropout": 0.0}
    run = world(train__epochs=40, random_rate=0.5, decay=0.0, **changes)
    assert run.epochs[-1]["triplet_loss"] < 0.1 < 0.5 < run.epochs[0]["triplet_loss"]
    assert run.epochs[0]["training_top1"] <= 3 / 16
    assert run.epochs[-1]["training_top1"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["shared", "separate"])
def test_micro_batches_change_no_result(world, monkeypatch, sharing):
    """A micro-batch a length, one for the whole batch, and the chosen ones: the same draws, ranks and losses."""
    changes = {"model__dropout": 0.0, "model__sharing": sharing, "negatives__per_point": 2, "train__epochs": 4}
    chosen = world(**changes)
    for overhead in (0, 10**9):
        monkeypatch.setattr(Compute, "micro_batches", lambda _, lengths, cost=overhead: micro_batches(lengths, cost, 2**13))
        run = world(name=f"overhead {overhead}", **changes)
        for mine, theirs in zip(chosen.draws, run.draws, strict=True):
            assert np.array_equal(mine.ids, theirs.ids)
        for mine, theirs in zip(chosen.epochs, run.epochs, strict=True):
            assert {name: mine[name] for name in TOP1} == {name: theirs[name] for name in TOP1}
            assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-5)


@pytest.mark.slow
def test_batches_by_length_are_seeded_and_a_killed_run_resumes_with_them(world, tmp_path):
    by_length = world(train__batching="length", name="length")
    shuffled = world(name="shuffled")
    assert by_length.steps != shuffled.steps
    assert [step["step"] for step in by_length.steps] == [step["step"] for step in shuffled.steps]

    with pytest.raises(Killed):
        world(KilledAfter(tmp_path / "killed", 2), name="again", train__batching="length")
    assert world(name="again", train__batching="length").steps == by_length.steps


def weights_of(world, epochs, tmp_path, **changes):
    """The trainable weights after each of the first epochs, from runs that are killed there."""
    weights = []
    for last in range(1, epochs + 1):
        with pytest.raises(Killed):
            world(KilledAfter(tmp_path / "stop", last), name=f"stop {last}", **changes)
        (file,) = (tmp_path / "checkpoints" / f"stop {last}").glob("state-*.pt")
        weights.append(torch.load(file)["content"]["weights"])
    return weights


@pytest.mark.slow
@pytest.mark.parametrize(("average", "epochs"), [(2, [2, 3]), (9, [0, 1, 2, 3])])
def test_the_mean_of_the_last_epochs_by_hand_and_resumed(world, average, epochs, tmp_path):
    changes = {"train__epochs": 4, "model__dropout": 0.0}
    single = weights_of(world, 4, tmp_path, **changes)
    run = world(name="whole", select__average=average, **changes)
    for name, value in run.model.trainable_state().items():
        expected = np.mean([single[epoch][name].double().numpy() for epoch in epochs], axis=0)
        assert value.numpy() == pytest.approx(expected, abs=1e-7)
    assert run.average["epochs"] == epochs
    assert [row["epoch"] for row in run.epochs] == [0, 1, 2, 3]

    with pytest.raises(Killed):
        world(KilledAfter(tmp_path / "killed", 3), name="torn", select__average=average, **changes)
    kept = [file.name[:13] for file in sorted((tmp_path / "checkpoints/torn").glob("weights-*"))]
    assert kept == [f"weights-{epoch:05}" for epoch in range(3)[-average:]]
    resumed = world(name="torn", select__average=average, **changes)
    assert resumed.average == run.average
    state = resumed.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in run.model.state_dict().items())


@pytest.mark.slow
def test_a_greedy_soup_is_no_worse_than_the_best_epoch_and_saw_validation_alone(world, arguana):
    changes = {"train__epochs": 6, "train__learning_rate": 3e-3, "select__average": "greedy"}
    run = world(name="greedy", **changes)
    best = max(row["selection_score"] for row in run.epochs)
    assert run.average is None or run.average["selection_score"] >= best
    pairs = read_splits(arguana, None).triples.pairs
    counters = [pair.counter for pair in pairs["test"]]
    shifted = [replace(pair, counter=counter) for pair, counter in zip(pairs["test"], counters[3:] + counters[:3], strict=True)]
    other = world(name="another test split", pairs=pairs | {"test": shifted}, **changes)
    assert [row["test_top1"] for row in other.epochs] != [row["test_top1"] for row in run.epochs]
    assert (other.average or {}).get("epochs") == (run.average or {}).get("epochs")
    weights = other.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in run.model.state_dict().items())


def test_the_greedy_soup_by_hand():
    """Of 5 weights the third is best; the first makes it better, the fourth no worse, the others worse."""
    measured = {(2, 0): (0.6, 0.7), (2, 0, 3): (0.6, 0.7), (2, 0, 3, 1): (0.5, 0.9), (2, 0, 3, 4): (0.6, 0.6)}
    scores = [(0.4, 0.8), (0.3, 0.5), (0.5, 0.6), (0.4, 0.5), (0.1, 0.1)]
    assert greedy(scores, lambda numbers: measured[tuple(numbers)]) == [2, 0, 3]
    assert greedy([(0.4, 0.8)], None) == [0]


@pytest.mark.parametrize("batching", ["topic"])
def test_batches_by_topic_hold_whole_debates(world, batching):
    """Training has six debates of 4 pairs; two of them are twins of two others."""
    seen = []
    honest = loop.by_topic

    def watch(topic, group, size, rng):
        seen.append((topic, honest(topic, group, size, rng)))
        return seen[-1][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "by_topic", watch)
        run = world(train__batching=batching, train__batch_size=8)
    pool = run.splits["training"].pool
    assert len(seen) == 3
    for topic, cut in seen:
        assert (np.unique(topic, return_inverse=True)[1] == np.unique(pool.debate[pool.queries], return_inverse=True)[1]).all()
        assert sorted(np.concatenate(cut)) == list(range(24))
        assert all(len(set(topic[rows])) <= 2 for rows in cut)


def test_zero_epochs_leave_the_untrained_model_and_one_row_without_losses(world):
    run = world(train__epochs=0)
    assert run.model.head is None
    assert list(run.draws) == run.steps == []
    (row,) = run.epochs
    assert {row[name] for name in ("loss", "hardness", "random_share", *(f"{loss}_loss" for loss in LOSSES))} == {None}
    assert row["validation_top1"] == row["selection_score"]


def test_retrieval_alone_has_no_head(world):
    run = world(loss__pair__weight=0)
    assert run.model.head is None
    assert run.epochs[0]["pair_loss"] is None
    assert run.epochs[0]["loss"] == pytest.approx(run.epochs[0]["triplet_loss"])


def some_provided(pool):
    """Two negatives by people and one of a file for each point."""
    ids = draw_random(pool, excluded_groups(pool), 3, np.random.default_rng(7))
    return Provided(ids[:, :2], ids[:, 2:])


PROVIDED = {"provided": some_provided, "random_rate": 0.4, "decay": None, "negatives__given": 0.5, "negatives__window": [1, 3]}


@pytest.mark.slow
def test_negatives_of_people_and_of_a_file_are_trained_on(world):
    run = world(**PROVIDED)
    pool = run.splits["training"].pool
    provided = some_provided(pool)
    assert (run.draws[0].ids == provided.mined).mean() > 0.3  # in place of the random ones
    for draw in list(run.draws)[1:]:
        given = (draw.ids == provided.given).any(1)
        assert 0.1 < given.mean() < 0.6
        assert not (given & draw.was_random[:, 0]).all()


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, EVERY_PART, PROVIDED], ids=["plain", "everything", "provided"])
@pytest.mark.parametrize("stop_after", [1, 2, 4])
def test_a_resumed_run_equals_an_uninterrupted_one(world, stop_after, changes, tmp_path):
    changes = changes | {"train__epochs": 4}
    whole = world(name="whole", **changes)
    with pytest.raises(Killed):
        world(KilledAfter(tmp_path / "killed", stop_after), name="torn", **changes)
    watched = Watched(tmp_path / "watched")
    resumed = world(watched, name="torn", **changes)
    assert min(watched.seen) == stop_after
    assert resumed.epochs == whole.epochs
    assert resumed.steps == whole.steps
    for before, after in zip(whole.draws, resumed.draws, strict=True):
        assert all(np.array_equal(value, getattr(after, name)) for name, value in vars(before).items())
    weights = resumed.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in whole.model.state_dict().items())


def test_a_loss_that_is_not_finite_ends_the_run_and_the_last_good_epoch_stays(world, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"the loss must stay finite; got (nan|inf) in epoch 0, batch 2: lower train.learning"):
        world(train__learning_rate=1e30)
    honest, calls = loop.losses, []

    def spoiled(batch, params):
        calls.append(1)
        terms = honest(batch, params)
        return terms | {"loss": terms["loss"] * float("nan")} if len(calls) == 5 else terms  # 3 batches an epoch

    monkeypatch.setattr(loop, "losses", spoiled)
    with pytest.raises(InputError, match=r"got nan in epoch 1, batch 2: .* raise train.warmup or set train.precision to fp32"):
        world(name="spoiled")
    monkeypatch.setattr(loop, "losses", honest)
    left = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "checkpoints/spoiled").iterdir())
    assert left == ["draw-00000", "state-00001"]
    watched = Watched(tmp_path / "watched")
    run = world(watched, name="spoiled")
    assert min(watched.seen) == 1
    assert run.epochs == world(name="whole").epochs


def test_weights_that_are_not_finite_are_not_scored(world, monkeypatch):
    step = torch.optim.AdamW.step

    def spoil(self, *args, **kwargs):
        step(self, *args, **kwargs)
        spoil.n += 1
        if spoil.n == 3:  # the last batch of the first epoch
            self.param_groups[0]["params"][0].data.fill_(float("nan"))

    spoil.n = 0
    monkeypatch.setattr(torch.optim.AdamW, "step", spoil)
    with pytest.raises(InputError, match=r"every embedding must stay finite; got nan in epoch 0, after its last batch"):
        world()


def test_the_last_partial_batch_is_trained_on(world):
    run = world(train__batch_size=23, train__epochs=1)  # 24 pairs
    assert [step["step"] for step in run.steps] == [1, 2]
    mean = (23 * run.steps[0]["loss"] + run.steps[1]["loss"]) / 24
    assert run.epochs[0]["loss"] == pytest.approx(mean, rel=1e-5)


def test_the_learning_rate_warms_up_over_its_share_of_all_steps_then_stays(world, monkeypatch):
    rates = []
    step = torch.optim.AdamW.step

    def watch(self, *args, **kwargs):
        rates.append([group["lr"] for group in self.param_groups])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watch)
    world(train__warmup=0.5, train__epochs=2, train__learning_rate=6e-4, train__head_learning_rate=6e-3)  # 6 steps
    encoder, new = zip(*rates, strict=True)
    assert encoder == pytest.approx([2e-4, 4e-4, 6e-4, 6e-4, 6e-4, 6e-4])
    assert new == pytest.approx([10 * rate for rate in encoder])
    rates.clear()
    world(train__learning_rate=6e-4, train__head_learning_rate=None, name="one rate")
    assert all(encoder == new for encoder, new in rates)


def test_the_epoch_is_chosen_by_unseen_queries_where_there_are_enough():
    def select(queries):
        return SelectParams(setting="epa", queries=queries, sample=None, average=None)

    for unseen, name, n in ((49, "all", 60), (50, "unseen", 50)):
        queries, mask = selection_queries(np.arange(60) < unseen, select("auto"))
        assert (queries, mask.sum()) == (name, n)
    none = np.zeros(60, dtype=bool)
    assert selection_queries(none, select("all"))[0] == "all"
    assert selection_queries(~none, select("all"))[0] == "all"
    assert selection_queries(np.arange(60) < 3, select("unseen"))[1].sum() == 3
    with pytest.raises(InputError, match=r"select.queries must be all or auto"):
        selection_queries(none, select("unseen"))


@pytest.mark.slow
def test_patience_ends_training_and_a_resumed_run_ends_at_the_same_epoch(world, tmp_path):
    """At such a rate no epoch is better than the first; training ends after two more."""
    changes = {"train__epochs": 6, "train__learning_rate": 1e-12, "train__head_learning_rate": None}
    whole = world(name="whole", **changes)
    patient = world(name="patient", train__patience=2, **changes)
    assert (len(patient.epochs), patient.best.epoch) == (3, 0)
    assert (patient.epochs, patient.steps) == (whole.epochs[:3], whole.steps[:9])
    with pytest.raises(Killed):
        world(KilledAfter(tmp_path / "killed", 3), name="torn", train__patience=2, **changes)
    again = world(name="torn", train__patience=2, **changes)
    assert (again.epochs, again.best.epoch) == (patient.epochs, 0)


VARIANTS = [  # any two values stand together at least once; without a projection, the fusion is cls or the sharing projection
    {"pooling": pooling, "fusion": fusion, "sharing": sharing, "projection": projection}
    for pooling, fusion, sharing, projection in (
        ("cls", "embedding", "shared", 8),
        ("cls", "cls", "separate", None),
        ("cls", "concat", "projection", None),
        ("mean", "embedding", "projection", None),
        ("mean", "cls", "shared", None),
        ("mean", "concat", "separate", 8),
        ("pooler", "embedding", "separate", 8),
        ("pooler", "cls", "projection", 8),
        ("pooler", "concat", "shared", 8),
        ("pooler", "embedding", "projection", None),
    )
]


def test_any_two_values_stand_together():
    for one, other in combinations(VARIANTS[0], 2):
        pairs = product({variant[one] for variant in VARIANTS}, {variant[other] for variant in VARIANTS})
        assert {(variant[one], variant[other]) for variant in VARIANTS} == set(pairs), (one, other)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "-".join(str(value) for value in variant.values()))
def test_every_variant_trains_an_epoch(world, variant):
    rows = {}
    for search in ("exact", "balltree"):
        changes = {f"model__{name}": value for name, value in variant.items()}
        run = world(train__epochs=1, random_rate=0.5, negatives__search=search, name=search, **changes)
        rows[search] = run.epochs
        assert np.isfinite(run.epochs[0]["loss"])
        assert run.model.sharing == variant["sharing"]
        width = run.model.point.width
        assert width == (variant["projection"] or 32)
        assert run.model.head.linear.in_features == 3 * {"embedding": width, "cls": 32, "concat": 32 + width}[variant["fusion"]]
    assert rows["exact"] == rows["balltree"]


def test_frozen_weights_are_in_no_checkpoint(world, tmp_path):
    sizes = {}
    for freeze in (None, 1, "all"):
        with pytest.raises(Killed):
            world(KilledAfter(tmp_path / "killed", 2), name=str(freeze), model__freeze=freeze)
        (file,) = (tmp_path / "checkpoints" / str(freeze)).glob("state-*")
        sizes[freeze] = len(torch.load(file)["content"]["weights"])
        assert len(list((tmp_path / "checkpoints" / str(freeze)).glob("draw-*"))) == 2
    new = 2 + 4  # projection; LayerNorm and linear layer of the head
    assert sizes["all"] == new
    assert sizes[1] == new + 16 + 2  # one layer of BERT, and its pooler
    assert sizes[None] > sizes[1] + 16


@pytest.mark.slow
@pytest.mark.parametrize(("most", "rows"), [(2000, 12), (8, 8), (4, 4), (3, 2)])
def test_steps_json_has_a_bounded_number_of_rows(world, monkeypatch, most, rows):
    whole = {row["step"]: row["loss"] for row in world(train__epochs=4, name="whole").steps}
    monkeypatch.setattr(loop, "MAX_STEPS", most)
    run = world(train__epochs=4)  # 3 batches an epoch
    assert len(run.steps) == rows <= most
    assert len(whole) == 12
    if most == 4:
        assert [row["step"] for row in run.steps] == [3, 6, 9, 12]  # the mean of each epoch
        assert run.steps[0]["loss"] == pytest.approx(run.epochs[0]["loss"])
    assert whole.keys() >= {row["step"] for row in run.steps}


@pytest.mark.slow
@pytest.mark.parametrize("freeze", [1, "all"])
@pytest.mark.parametrize("sharing", ["shared", "projection", "separate"])
def test_frozen_weights_stay_and_all_others_learn(world, freeze, sharing):
    untrained = world(train__epochs=0, model__sharing=sharing).model
    model = world(model__freeze=freeze, model__sharing=sharing, train__epochs=2, loss__contrastive__weight=1.0).model
    before, moved = untrained.state_dict(), set()
    for name, value in model.state_dict().items():
        if name.startswith("towers.") and not torch.equal(value, before[name]):
            moved.add(name.removeprefix("towers.").replace("encoder.transformer.", "").rpartition(".")[0])
    for tower in model.towers:
        assert f"{tower}.projection" in moved
        layers = {part.split(".")[3] for part in moved if part.startswith(f"{tower}.encoder.layer")}
        assert layers == ({"1"} if freeze == 1 else set())
        assert not any(part.startswith(f"{tower}.embeddings") for part in moved)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"freeze": 1}, {"freeze": "all"}, {"freeze": 1, "sharing": "separate", "pooling": "cls"}])
def test_a_run_on_cached_hidden_states_equals_one_without_them(world, monkeypatch, changes):
    """Frozen layers have no dropout, so their hidden states can be cached; only rounding differs."""
    changes = {f"model__{name}": value for name, value in changes.items()} | {"loss__contrastive__weight": 1.0}
    cached = world(name="cached", **changes)
    monkeypatch.setattr(worlds.HiddenStateCache, "read", lambda self, encoder, compute, parts: parts)
    direct = world(name="direct", **changes)
    for mine, theirs in zip(cached.epochs, direct.epochs, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        assert {name: mine[name] for name in TOP1} == {name: theirs[name] for name in TOP1}
    for mine, theirs in zip(cached.draws, direct.draws, strict=True):
        assert np.array_equal(mine.ids, theirs.ids)
    assert type(cached.splits["training"].texts) is not type(direct.splits["training"].texts)


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["shared", "separate"])
def test_a_run_with_gradient_caching_equals_one_without_it(world, sharing):
    changes = {
        "model__sharing": sharing,
        "model__dropout": 0.3,
        "model__attention_dropout": 0.2,
        "loss__contrastive__weight": 1.0,
    }
    plain, cached = (world(name=str(cache), train__gradient_cache=cache, **changes) for cache in (False, True))
    assert [step["loss"] for step in cached.steps] == pytest.approx([step["loss"] for step in plain.steps], abs=1e-5)


def noted(kept, tensor):
    kept.append(tensor.numel())
    return tensor


def alive():
    """Return the count of numbers in all tensors like hidden states."""
    return sum(value.numel() for value in gc.get_objects() if type(value) is torch.Tensor and value.dim() == 3)


@pytest.mark.slow
@pytest.mark.parametrize("freeze", [None, 1])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("head", [False, True])
def test_cached_gradients_are_the_direct_ones_in_the_memory_of_one_micro_batch(
    tiny_bert, tmp_path, monkeypatch, head, precision, freeze
):
    """Dropout is replayed; of a batch's micro-batches only row numbers and pooled vectors are kept."""
    monkeypatch.setenv("STATES_DIR", str(tmp_path / "states"))
    changes = {"model__dropout": 0.3, "model__attention_dropout": 0.2, "model__freeze": freeze}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(fixture_params(tiny_bert, **changes)))
    params = load_params(tmp_path / "params.yaml")
    written = [" ".join(WORDS[i : i + 3 + i % 9]) for i in range(24)]
    results = []
    for cache in (False, True):
        seed_torch(1, 0, "weights")
        model = build(params.model, tiny_bert, choose("cpu", precision), with_head=head)
        model.recompute = cache
        encoder = model.point.encoder
        (texts,) = HiddenStateCache(written).read(encoder, model.compute, [encoder.tokenize(written)])
        model.train()
        seed_torch(1, 0, "dropout")
        numbers, kept, before = np.arange(24), [], alive()
        with torch.autograd.graph.saved_tensors_hooks(partial(noted, kept), lambda tensor: tensor):
            points, counters = model(texts, numbers[:12], numbers[12:])
        held = sum(kept) + alive() - before
        loss = (points.embedding * counters.embedding).sum() + points.pooled.square().mean()
        if head:
            loss = loss + model.logits(points, counters).square().sum()
        loss.backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
        results.append(({name: grad.to_dense() for name, grad in gradients.items()}, held))
    (direct, much), (cached, little) = results
    assert direct.keys() == cached.keys()
    for name, gradient in direct.items():
        torch.testing.assert_close(cached[name], gradient, atol=1e-6, rtol=0)
    assert little < much / 10


class Device:
    """A device with a generator of its own, as a GPU has one, that dropout draws from."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(7)

    def get_rng_state(self, device):
        return self.generator.get_state()

    def set_rng_state(self, state, device):
        self.generator.set_state(state)

    def dropout(self, values, rate=0.5, training=True, inplace=False):
        if not training:
            return values
        return values * (torch.rand(values.shape, generator=self.generator) >= rate) / (1 - rate)


def test_cached_gradients_replay_the_draws_of_a_device(tiny_bert, tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(fixture_params(tiny_bert, model__dropout=0.3)))
    params = load_params(tmp_path / "params.yaml")
    written = [" ".join(WORDS[i : i + 3 + i % 9]) for i in range(24)]
    monkeypatch.setattr(text_module, "same_draws", lambda device: same_draws(torch.device("cuda")))
    gradients = []
    for cache in (False, True):
        device = Device()
        monkeypatch.setattr(torch, "get_device_module", lambda name, device=device: device)
        seed_torch(1, 0, "weights")
        model = build(params.model, tiny_bert, CPU, with_head=False)
        for module in model.modules():
            if "Dropout" in type(module).__name__:
                module.forward = lambda values, rate=module.p, device=device: device.dropout(values, rate)
        model.recompute = cache
        model.train()
        numbers = np.arange(24)
        points, counters = model(model.point.encoder.tokenize(written), numbers[:12], numbers[12:])
        later = device.generator.get_state()
        (points.embedding * counters.embedding).sum().backward()
        assert torch.equal(device.generator.get_state(), later)  # what comes next draws on
        gradients.append({name: grad.to_dense() for name, p in model.named_parameters() if (grad := p.grad) is not None})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=0)


def test_the_gradient_of_a_word_is_that_of_all_micro_batches(tiny_bert, tmp_path):
    """It is sparse before the step and dense in it; words without a text, or of the last step alone, get the same one."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(fixture_params(tiny_bert)))
    params = load_params(tmp_path / "params.yaml")
    gradients = []
    for sparse in (False, True):
        seed_torch(1, 0, "weights")
        model = build(params.model, tiny_bert, CPU, with_head=False).eval()
        words = model.point.encoder.transformer.get_input_embeddings()
        words.sparse = sparse
        tokens = model.point.encoder.tokenize(["cat purr", "dog bark cat", "cat purr dog bark"])
        optimizer, steps = Optimizer(model.trainable_parameters(), (0.001, None), params.train, 10, cooldown=0.0), []
        for points, counters in (([0, 1], [2, 0]), ([0, 0], [1, 0])):
            optimizer.zero()
            embeddings = [side.embedding for side in model(tokens, np.array(points), np.array(counters))]
            (embeddings[0] - embeddings[1]).square().sum().backward()
            assert words.weight.grad.is_sparse == sparse
            optimizer.step()
            steps += [words.weight.grad.clone(), words.weight.detach().clone()]
        gradients.append(torch.stack(steps))
    torch.testing.assert_close(*gradients)
