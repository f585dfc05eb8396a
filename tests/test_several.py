"""Several processes do what one does: the same draws, losses, gradients, neighbours and ranks, however work comes out even."""

import multiprocessing
import os
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed

from counterpoint.core.errors import InputError
from counterpoint.core.group import ALONE, Group
from counterpoint.corpus.splits import read_splits
from counterpoint.model.compute import Compute
from counterpoint.model.cpu.gradients import DenseGradients
from counterpoint.model.encoder import load_encoder
from counterpoint.model.reader import JointReader
from counterpoint.model.states import states_of
from counterpoint.negatives import search as search_module
from counterpoint.negatives.search import search
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.queries import READINGS
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.settings import SETTINGS
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.epoch import Learner
from counterpoint.training.loop import fit
from counterpoint.training.losses import losses
from counterpoint.training.progress import Progress
from worlds import ready

pytestmark = pytest.mark.slow
SIZES = (2, 3)
NO_DROPOUT = {"model__dropout": 0.0, "model__attention_dropout": 0.0}
IN_BATCH = NO_DROPOUT | {"loss__contrastive__weight": 1.0, "negatives__per_point": 2}


@cache
def context():
    """Processes come from one that has imported all this, so that each costs milliseconds."""
    chosen = multiprocessing.get_context("forkserver")
    chosen.set_forkserver_preload(["test_several"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # of which that one is not told
        forkserver.ensure_running()
    return chosen


def together(size, place, work, *asked):
    """What work(group, *asked) returns in each of some processes."""
    file = place / f"meeting-{size}-{len(list(place.iterdir()))}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with ProcessPoolExecutor(size, mp_context=context()) as pool:
            members = [pool.submit(member, number, size, file, work, *asked) for number in range(size)]
            return [each.result(timeout=120) for each in members]


def member(number, size, file, work, *asked):
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=number, world_size=size)
    try:
        return work(Group(number, size), *asked)
    finally:
        distributed.destroy_process_group()


# --- the group -------------------------------------------------------------------------------------------------------


def rows(group, lengths):
    shares = group.dealt(lengths)
    own = torch.arange(len(lengths), dtype=torch.float32)[group.own(shares), None].requires_grad_()
    whole = group.gathered(own, shares)
    (whole[:, 0] * torch.arange(1.0, 1 + len(lengths))).sum().backward()
    return whole[:, 0].tolist(), np.concatenate(shares).tolist(), own.grad[:, 0].tolist(), len(shares[group.rank])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("lengths", [[5, 9, 1, 7, 3, 8], [4, 4, 4], [2, 6], [3]])
def test_rows_come_together_and_each_process_has_its_own_gradient(size, lengths, tmp_path):
    found = together(size, tmp_path, rows, np.array(lengths))
    for whole, order, _, _ in found:
        assert whole == order == found[0][1]
        assert sorted(order) == list(range(len(lengths)))
    gradients = [value / size for _, _, gradient, taken in found for value in gradient[:taken]]
    assert gradients == [1.0 + place for place in range(len(lengths))]
    assert all(gradient[taken:] in ([], [0.0]) for _, _, gradient, taken in found)  # of one that is computed for nothing


def test_alone_nothing_is_asked_of_anybody():
    own = torch.arange(3)
    assert ALONE.gathered(own, ALONE.dealt(np.array([1, 2, 3]))) is own
    assert ALONE.joined("x") == ["x"]
    assert ALONE.from_lead("x") == "x"
    ALONE.average([torch.nn.Parameter(torch.zeros(1))])
    ALONE.refuse_others({"a": 1}, "params")


def disagreeing(group):
    with pytest.raises(InputError) as refused:
        group.refuse_others({"seed": 13 if group.leads else 14}, "params")
    return str(refused.value)


def test_processes_of_other_params_are_refused_by_all(tmp_path):
    says = "all processes must have the same params; that of process 1 differs from that of 0"
    assert together(2, tmp_path, disagreeing) == [says] * 2


def left_alone(group):
    if not group.leads:
        return None
    with pytest.raises(InputError) as refused:
        group.joined("is there anybody")
    return str(refused.value)


def test_who_is_left_alone_says_so_in_a_line(tmp_path):
    said, _ = together(2, tmp_path, left_alone)
    assert said.startswith("all processes of a run must live as long as it; one has ended")
    assert "\n" not in said


# --- learning --------------------------------------------------------------------------------------------------------


def world(group, folder, encoder, corpus, changes):
    """The fixture corpus, ready to be trained on by a process of a group."""
    os.environ["CHECKPOINT_DIR"], os.environ["STATES_DIR"] = str(folder / "checkpoints"), str(folder / "states")
    file, pairs = folder / f"params-{group.size}-{group.rank}.yaml", read_splits(corpus, None).triples.pairs
    here = ready(file, encoder, pairs, group, **changes)
    here.learner = Learner(here.model, here.splits["training"], here.params)
    return here


def gradients(group, *about):
    """Of the first batch, whole: the losses, and every gradient by name."""
    here = world(group, *about)
    vectors = here.model.embed(here.splits["training"].texts)
    negatives = here.sampler.draw(0, *(side.embedding for side in vectors))
    here.model.train()
    batch = here.learner._batch(negatives, here.learner._batches(0, negatives)[0])
    terms = losses(batch, here.params.loss)
    terms["loss"].backward()
    DenseGradients()(here.learner.optimizer.adamw, (), {})
    group.average(here.model.parameters())
    found = {name: each.grad.numpy() for name, each in here.model.named_parameters() if each.grad is not None}
    return {name: float(term.detach()) for name, term in terms.items()}, found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "changes",
    [
        IN_BATCH | {"train__batch_size": 24},
        IN_BATCH | {"train__batch_size": 24, "train__gradient_cache": True, "model__sharing": "projection"},
        IN_BATCH | {"train__batch_size": 24, "model__sharing": "separate", "model__freeze": 1},
        IN_BATCH | {"train__batch_size": 1, "negatives__per_point": 1, "loss__pair__weight": 0},
    ],
    ids=["shared", "cached", "separate", "a single row"],
)
def test_losses_and_gradients_are_those_of_one_process(size, changes, tmp_path, tiny_bert, arguana):
    about = (tmp_path, tiny_bert, arguana, changes)
    expected_terms, expected = gradients(ALONE, *about)
    for terms, found in together(size, tmp_path, gradients, *about):
        assert terms == pytest.approx(expected_terms, abs=1e-6)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            np.testing.assert_allclose(found[name], gradient, atol=1e-6, err_msg=name)


class Killed(Exception):
    pass


class KilledAfter(Progress):
    """Ends the run when so many epochs are done."""

    def __init__(self, last):
        self.last = 0
        super().__init__(None, 0, 1)
        self.last = last

    def epoch(self, state):
        if self.last and len(state.epochs) == self.last:
            raise Killed


def trained(group, folder, name, last, *about):
    """A run: every loss that was logged, what was drawn, scores, and the bytes of the weights."""
    here = world(group, folder, *about)
    checkpoint = Checkpoint(name, 3, group)
    try:
        state = fit(here.learner, here.sampler, here.splits, here.params, checkpoint, KilledAfter(last))
    except Killed:
        return None
    finally:
        checkpoint.release()
    weights = b"".join(value.numpy().tobytes() for value in here.model.learnt().values())
    return state.steps, [draw.ids.tolist() for draw in here.sampler.draws], state.epochs, weights


@pytest.mark.parametrize("size", SIZES)
def test_a_run_is_that_of_one_process_with_batches_that_do_not_come_out_even(size, tmp_path, tiny_bert, arguana):
    about = (tiny_bert, arguana, IN_BATCH | {"train__batch_size": 5, "random_rate": 0.5, "decay": 0.2})
    steps, draws, epochs, _ = trained(ALONE, tmp_path, "one", 0, *about)
    everyone = together(size, tmp_path, trained, tmp_path, f"run-{size}", 0, *about)
    assert len({weights for *_, weights in everyone}) == 1  # all processes hold one model, to the bit
    for own_steps, own_draws, own_epochs, _ in everyone:
        assert own_draws == draws
        for own, alone in ((own_steps, steps), (own_epochs, epochs)):
            assert [row.keys() for row in own] == [row.keys() for row in alone]
            for mine, theirs in zip(own, alone, strict=True):
                assert mine == pytest.approx(theirs, abs=1e-5)


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(tmp_path, tiny_bert, arguana):
    about = (tiny_bert, arguana, {"train__batch_size": 5, "random_rate": 0.5, "model__freeze": 1})  # with dropout
    whole = together(2, tmp_path, trained, tmp_path, "whole", 0, *about)
    assert together(2, tmp_path, trained, tmp_path, "pieced", 1, *about) == [None, None]
    assert together(2, tmp_path, trained, tmp_path, "pieced", 0, *about) == whole


# --- embedding, searching, ranking, reading --------------------------------------------------------------------------


def vectors(n, seed):
    return torch.tensor(np.random.default_rng(seed).normal(size=(n, 8)), dtype=torch.float32)


def found_by(group, queries, pool, k, whole):
    search_module.WHOLE = whole
    return search(vectors(queries, 0), vectors(pool, 1), k, "exact", group)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("whole", [2**21, 0], ids=["queries in parts", "the pool in parts"])
@pytest.mark.parametrize(("queries", "pool", "k"), [(50, 301, 7), (2, 40, 40), (1, 5, 3)])
def test_a_search_in_parts_is_the_exact_one(size, whole, queries, pool, k, tmp_path):
    distances, ids = search(vectors(queries, 0), vectors(pool, 1), k)
    for own_distances, own_ids in together(size, tmp_path, found_by, queries, pool, k, whole):
        np.testing.assert_array_equal(own_ids, ids)
        np.testing.assert_allclose(own_distances, distances, rtol=1e-6)


def ranked(group, *about):
    here = world(group, *about)
    test = here.splits["test"]
    points, counters = here.model.embed(test.texts)
    found = []
    for read in READINGS.values():
        queries = read(test.pool)
        for name, ranking in rank(queries, euclidean(queries, points, counters), SETTINGS, None, group).items():
            found.append((name, ranking.candidates.tolist(), ranking.retrieved.right.tolist(), ranking.retrieved.best.tolist()))
    return points.embedding.numpy(), found


@pytest.mark.parametrize("size", [2, 11])  # more processes than queries
def test_embeddings_and_ranks_are_those_of_one_process(size, tmp_path, tiny_bert, arguana):
    about = (tmp_path, tiny_bert, arguana, {})
    points, expected = ranked(ALONE, *about)
    for own, found in together(size, tmp_path, ranked, *about):
        np.testing.assert_allclose(own, points, atol=1e-6)
        assert found == expected


def read(group, folder, directory, corpus):
    os.environ["STATES_DIR"] = str(folder / "states")
    texts = [pair.point for pair in read_splits(Path(corpus), None).triples.pairs["training"]][:6]
    encoder = load_encoder(directory, "mean", 30, 0.0, 0.0)
    encoder.freeze(1, "rerank.freeze")
    reader = JointReader(encoder, Compute(torch.device("cpu"), False, group))
    torch.nn.init.constant_(reader.linear.weight, 0.1)
    (kept,) = states_of(encoder, reader.compute, [encoder.tokenize(texts)], texts, 1.0)
    logits = reader.logits(kept, np.array([0, 0, 1, 2, 5]), np.array([3, 4, 5, 1, 0]))
    logits.square().sum().backward()
    group.average(reader.parameters())
    own = (*reader.learning()[0], *reader.learning()[1])
    return logits.detach().numpy(), [parameter.grad.numpy() for parameter in own if parameter.grad is not None]


@pytest.mark.parametrize("size", SIZES)
def test_a_reader_learns_what_it_learns_in_one_process(size, tmp_path, tiny_bert, arguana):
    work = partial(read, folder=tmp_path, directory=tiny_bert, corpus=arguana)
    expected, gradient = work(ALONE)
    for logits, own in together(size, tmp_path, work):
        np.testing.assert_allclose(logits, expected, atol=1e-6)
        for mine, theirs in zip(own, gradient, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-6)
