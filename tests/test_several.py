"""Several processes give the results of one: draws, losses, gradients, neighbours and ranks, also with uneven shards."""

import errno
import importlib
import multiprocessing
import os
import re
import shutil
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed

from counterpoint.core import agreement
from counterpoint.core.errors import InputError
from counterpoint.core.files import imported_code
from counterpoint.core.group import ALONE, Group
from counterpoint.core.rows import Rows
from counterpoint.corpus.splits import read_splits
from counterpoint.lexical.bm25 import CLASSIC, Collection, WordCounts
from counterpoint.lexical.fusion import Lexical, fused
from counterpoint.model.compute import Compute
from counterpoint.model.cpu import DenseGradients
from counterpoint.model.encoder import load_encoder
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.model.shared import share
from counterpoint.negatives import search as search_module
from counterpoint.negatives.search import search
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.queries import MODES, SETTINGS
from counterpoint.ranking.ranking import rank
from counterpoint.reranking.cross_encoder import CrossEncoder
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.loop import Learner, fit
from counterpoint.training.losses import losses
from counterpoint.training.state import Progress
from test_search import needs_faiss
from worlds import ready

pytestmark = pytest.mark.slow
SIZES = (2, 3)
NO_DROPOUT = {"model__dropout": 0.0, "model__attention_dropout": 0.0}
IN_BATCH = NO_DROPOUT | {"loss__contrastive__weight": 1.0, "negatives__per_point": 2}


@cache
def context():
    """Return a context whose processes are forks of one that has imported all modules, so that a process costs milliseconds."""
    chosen = multiprocessing.get_context("forkserver")
    chosen.set_forkserver_preload(["test_several"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # which the server does not get
        forkserver.ensure_running()
    return chosen


def together(size, place, work, *args):
    """Return the results of work(group, *args) in all processes of a group."""
    file = place / f"meeting-{size}-{len(list(place.iterdir()))}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with ProcessPoolExecutor(size, mp_context=context()) as pool:
            members = [pool.submit(member, number, size, file, work, *args) for number in range(size)]
            return [future.result(timeout=120) for future in members]


def member(number, size, file, work, *args):
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=number, world_size=size)
    try:
        return work(Group(number, size), *args)
    finally:
        distributed.destroy_process_group()


# --- the group -------------------------------------------------------------------------------------------------------


def rows(group, lengths):
    shards = group.shards(lengths)
    local = torch.arange(len(lengths), dtype=torch.float32)[group.local(shards), None].requires_grad_()
    whole = group.gather(local, shards)
    (whole[:, 0] * torch.arange(1.0, 1 + len(lengths))).sum().backward()
    return whole[:, 0].tolist(), np.concatenate(shards).tolist(), local.grad[:, 0].tolist(), len(shards[group.rank])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("lengths", [[5, 9, 1, 7, 3, 8], [4, 4, 4], [2, 6], [3]])
def test_rows_are_gathered_and_each_process_gets_the_gradient_of_its_shard(size, lengths, tmp_path):
    results = together(size, tmp_path, rows, np.array(lengths))
    for whole, order, _, _ in results:
        assert whole == order == results[0][1]
        assert sorted(order) == list(range(len(lengths)))
    gradients = [value / size for _, _, gradient, count in results for value in gradient[:count]]
    assert gradients == [1.0 + place for place in range(len(lengths))]
    assert all(gradient[count:] in ([], [0.0]) for _, _, gradient, count in results)  # of a row that no shard has


def slices(group):
    shard = group.local_slice(np.arange(7))
    everyone = group.all_gather(shard.tolist())
    return everyone, group.broadcast(shard.tolist())


@pytest.mark.parametrize("size", SIZES)
def test_values_are_gathered_and_broadcast_in_the_order_of_the_processes(size, tmp_path):
    expected = [part.tolist() for part in np.array_split(np.arange(7), size)]
    assert together(size, tmp_path, slices) == [(expected, expected[0])] * size


def test_a_group_of_one_does_nothing():
    values = torch.arange(3)
    assert ALONE.is_main
    assert ALONE.gather(values, ALONE.shards(np.array([1, 2, 3]))) is values
    assert ALONE.all_gather("x") == ["x"]
    assert ALONE.broadcast("x") == "x"
    ALONE.average_gradients([torch.nn.Parameter(torch.zeros(1))])
    ALONE.refuse_difference({"a": "1"})


def disagreeing(group):
    with pytest.raises(InputError) as refused:
        group.refuse_difference({"corpus": "abc", "param seed": "13" if group.is_main else "14"})
    return str(refused.value)


@pytest.mark.parametrize("size", SIZES)
def test_a_difference_is_refused_in_every_process_by_its_name(size, tmp_path):
    says = "all processes must have the same param seed; process 0 has 13, process 1 has 14"
    assert together(size, tmp_path, disagreeing) == [says] * size


def apart(group, folders, stage, edits_code):
    """Run a stage of two processes in a folder each, and return how it was refused, and after how many seconds."""
    os.environ.update(RANK=str(group.rank), WORLD_SIZE=str(group.size))
    os.chdir(folders[group.rank])
    main = importlib.import_module(stage).main
    if edits_code and group.rank == 1:
        source = Path(agreement.__file__).parents[2]
        copy = shutil.copytree(source, folders[1] / "src")
        with (copy / "counterpoint/core/ties.py").open("a") as stream:
            stream.write("# edited\n")
        files = [copy / file.relative_to(source.resolve()) for file in imported_code(source)]
        agreement.imported_code = lambda below: files
        agreement.__file__ = str(copy / "counterpoint/core/agreement.py")
    begin = time.monotonic()
    with pytest.raises(InputError) as refused:
        main()
    return str(refused.value), time.monotonic() - begin


DIFFERENCES = {
    "data": ("data/triples/test.jsonl", "data; process 0 has "),
    "models": ("models/model.json", "models; process 0 has "),
    "lexical": ("lexical/lexical.json", "lexical; process 0 has "),
    "reranker": ("reranker/reranker.json", "reranker; process 0 has "),
    "code": (None, "code of counterpoint/core/ties.py; process 0 has "),
    "param": ("params.yaml", "param seed; process 0 has 13, process 1 has 14"),
}
READ = {
    "train": (),
    "baselines": (),
    "lexical": ("models",),
    "rerank": ("models", "lexical"),
    "rank": ("models", "lexical", "reranker"),
}


@pytest.mark.parametrize(
    ("stage", "what"), [(stage, what) for stage, inputs in READ.items() for what in ("data", "code", "param", *inputs)]
)
def test_every_launched_stage_refuses_what_differs_between_its_processes(finished, tmp_path, stage, what):
    folders = [shutil.copytree(finished, tmp_path / name) for name in ("zero", "one")]
    (tmp_path / "meeting").mkdir()
    file, says = DIFFERENCES[what]
    if what == "param":
        (folders[1] / file).write_text(re.sub(r"^seed: 13$", "seed: 14", (folders[1] / file).read_text(), flags=re.M))
    elif file:
        (folders[1] / file).write_text((folders[1] / file).read_text() + "\n")
    for line, seconds in together(2, tmp_path / "meeting", apart, folders, stage, what == "code"):
        assert line.startswith(f"all processes must have the same {says}")
        assert "\n" not in line
        assert seconds < 5


def test_a_process_without_models_is_told_to_copy_them(finished, tmp_path):
    folders = [shutil.copytree(finished, tmp_path / name) for name in ("zero", "one")]
    (tmp_path / "meeting").mkdir()
    shutil.rmtree(folders[1] / "models")
    for stage in ("lexical", "rerank", "rank"):
        for line, _ in together(2, tmp_path / "meeting", apart, folders, stage, False):
            assert line.endswith("process 1 has nothing: copy it there from process 0")


def left_alone(group):
    if not group.is_main:
        return None
    with pytest.raises(InputError) as refused:
        group.all_gather("is there anybody")
    return str(refused.value)


def test_a_process_that_is_left_alone_ends_with_one_line(tmp_path):
    said, _ = together(2, tmp_path, left_alone)
    assert said.startswith("all processes of a run must live as long as it; one has ended")
    assert "\n" not in said


# --- learning --------------------------------------------------------------------------------------------------------


def world(group, folder, encoder, corpus, changes, name=None):
    """Return the fixture corpus, ready to be trained on by a process of a group, and its learner."""
    os.environ["CHECKPOINT_DIR"], os.environ["STATES_DIR"] = str(folder / "checkpoints"), str(folder / "states")
    file, pairs = folder / f"params-{group.size}-{group.rank}.yaml", read_splits(corpus, None).triples.pairs
    here = ready(file, encoder, pairs, group, **changes)
    checkpoint = Checkpoint.open(name, group) if name else Checkpoint("none", group)  # which keeps nothing
    here.learner = Learner(here.model, here.splits["training"], here.params, checkpoint)
    return here


def gradients(group, *about):
    """Return the losses of the first batch, and every gradient by name."""
    here = world(group, *about)
    embedded = here.model.embed(here.splits["training"].texts)
    negatives = here.sampler.draw(0, *embedded.embeddings)
    here.model.train()
    batch = here.learner._batch(negatives, here.learner._batches(0, negatives, embedded)[0])
    terms = losses(batch, here.params.loss)
    terms["loss"].backward()
    DenseGradients()(here.learner.trainer.optimizer.adamw, (), {})
    group.average_gradients(here.model.parameters())
    parameters = {name: parameter for name, parameter in here.model.named_parameters() if parameter.grad is not None}
    values = {name: parameter.grad.numpy() for name, parameter in parameters.items()}
    return {name: float(term.detach()) for name, term in terms.items()}, values


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
    for terms, values in together(size, tmp_path, gradients, *about):
        assert terms == pytest.approx(expected_terms, abs=1e-6)
        assert values.keys() == expected.keys()
        for name, gradient in expected.items():
            np.testing.assert_allclose(values[name], gradient, atol=1e-6, err_msg=name)


class Killed(Exception):
    pass


class KilledAfter(Progress):
    """A progress that ends the run after so many epochs."""

    def __init__(self, last):
        super().__init__(None, 0, 1)
        self.last = last

    def epoch(self, state):
        if self.last and len(state.epochs) == self.last:
            raise Killed


def trained(group, folder, name, last, *about):
    """Return the rows of steps, the draws, the rows of epochs, and the bytes of the weights; None for a killed run."""
    here = world(group, folder, *about, name=name)
    try:
        state = fit(here.learner, here.sampler, here.splits, here.params, KilledAfter(last))
    except Killed:
        return None
    finally:
        here.learner.trainer.checkpoint.release()
    weights = b"".join(value.numpy().tobytes() for value in here.model.trainable_state().values())
    rows = [*state.epochs, {name: value for name, value in (state.average or {}).items() if name != "epochs"}]
    return state.steps, [draw.ids.tolist() for draw in here.sampler.draws], rows, weights


TOPICS = {"train__batching": "topic", "loss__contrastive__directions": "both", "select__average": 2}


@pytest.mark.parametrize("changes", [{}, TOPICS], ids=["plain", "topics, averaged"])
@pytest.mark.parametrize("size", SIZES)
def test_a_run_is_that_of_one_process_with_uneven_batches(size, changes, tmp_path, tiny_bert, arguana):
    about = (tiny_bert, arguana, IN_BATCH | {"train__batch_size": 5, "random_rate": 0.5, "decay": 0.2} | changes)
    steps, draws, epochs, _ = trained(ALONE, tmp_path, "one", 0, *about)
    everyone = together(size, tmp_path, trained, tmp_path, f"run-{size}", 0, *about)
    assert len({weights for *_, weights in everyone}) == 1  # all processes hold one model, to the bit
    for their_steps, their_draws, their_epochs, _ in everyone:
        assert their_draws == draws
        for several, alone in ((their_steps, steps), (their_epochs, epochs)):
            assert [row.keys() for row in several] == [row.keys() for row in alone]
            for mine, theirs in zip(several, alone, strict=True):
                assert mine == pytest.approx(theirs, abs=1e-5)


def trained_by_shards(group, *about):
    """The same, where each process searches its shard of the pool."""
    search_module.APPROXIMATE = 0
    return trained(group, *about)


@pytest.mark.parametrize("run", [trained, trained_by_shards])
def test_a_killed_run_resumes_to_the_same_bytes(run, tmp_path, tiny_bert, arguana):
    changes = {"train__batch_size": 5, "random_rate": 0.5, "model__freeze": 1, "select__average": 2}  # with dropout
    about = (tiny_bert, arguana, changes | {"negatives__search": "exact"})
    whole = together(2, tmp_path, run, tmp_path, "whole", 0, *about)
    assert together(2, tmp_path, run, tmp_path, "pieced", 1, *about) == [None, None]
    assert together(2, tmp_path, run, tmp_path, "pieced", 0, *about) == whole


# --- embedding, searching, ranking, reranking ------------------------------------------------------------------------


def vectors(n, seed):
    return torch.tensor(np.random.default_rng(seed).normal(size=(n, 8)), dtype=torch.float32)


def neighbours_of(group, queries, pool, k, whole, backend="exact"):
    search_module.APPROXIMATE = whole
    return search(Rows(vectors(queries, 0)), Rows(vectors(pool, 1)), k, backend, group)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("whole", [200_000, 0], ids=["shards of the queries", "shards of the pool"])
@pytest.mark.parametrize(("queries", "pool", "k"), [(50, 301, 7), (2, 40, 40), (1, 5, 3)])
def test_a_search_by_shards_is_the_exact_one(size, whole, queries, pool, k, tmp_path):
    distances, ids = search(Rows(vectors(queries, 0)), Rows(vectors(pool, 1)), k)
    for their_distances, their_ids in together(size, tmp_path, neighbours_of, queries, pool, k, whole):
        np.testing.assert_array_equal(their_ids, ids)
        np.testing.assert_array_equal(their_distances, distances)


@needs_faiss
@pytest.mark.parametrize("size", SIZES)
def test_faiss_finds_almost_all_neighbours_by_shards(size, tmp_path):
    _, ids = search(Rows(vectors(50, 0)), Rows(vectors(3_000, 1)), 10)
    for _, their_ids in together(size, tmp_path, neighbours_of, 50, 3_000, 10, 0, "faiss"):
        assert np.mean([len({*mine} & {*theirs}) / 10 for mine, theirs in zip(ids, their_ids, strict=True)]) >= 0.95


def shared_vectors(group, folder, n, own_disk=False, spoil=None):
    """Return the whole, the MiB that this process has of it (proportional set size), and the files that are left."""
    os.environ["VECTORS_DIR"] = str(folder / "vectors")
    exists = Path.exists
    if own_disk and group.rank == 1:
        Path.exists = lambda self: False
    if spoil and group.rank == 1:
        Path.exists = lambda self: (os.truncate(self, spoil), exists(self))[1]
    shard = group.shards(np.random.default_rng(0).integers(1, 9, n))[group.rank]
    try:
        whole = share(vectors(n, 3)[shard], shard, n, group)
    except InputError as error:
        return str(error), sorted(folder.rglob("*.vectors"))
    float(whole.sum())  # every page is read
    group.all_gather(None)
    maps = Path("/proc/self/smaps").read_text().split(".vectors (deleted)")[1:]
    mib = sum(int(re.search(r"^Pss: +(\d+) kB", part, re.M).group(1)) for part in maps) / 1024
    group.all_gather(None)
    return whole.numpy(), mib, sorted(folder.rglob("*.vectors"))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_vectors_are_shared_and_each_process_has_its_part_of_the_memory(size, tmp_path):
    n = 40_000
    for whole, mib, left in together(size, tmp_path, shared_vectors, tmp_path, n):
        np.testing.assert_array_equal(whole, vectors(n, 3).numpy())
        assert left == []
        assert mib == pytest.approx(n * 8 * 4 / 2**20 / size, rel=0.1)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_vectors_than_processes(n, tmp_path):
    for whole, *_ in together(2, tmp_path, shared_vectors, tmp_path, n):
        np.testing.assert_array_equal(whole, vectors(n, 3).numpy())


def test_processes_that_share_no_disk_have_a_copy_each(tmp_path):
    for whole, mib, left in together(2, tmp_path, shared_vectors, tmp_path, 50, True):
        np.testing.assert_array_equal(whole, vectors(50, 3).numpy())
        assert (mib, left) == (0, [])


def test_vectors_of_the_wrong_length_are_refused_and_removed(tmp_path):
    for said, _ in together(2, tmp_path, shared_vectors, tmp_path, 50, False, 100):
        assert re.fullmatch(r"\S+\.vectors: the vectors of all processes must have 1600 bytes; got 100", said)
    assert sorted(tmp_path.rglob("*.vectors")) == []


def on_a_full_disk(group, folder):
    def fails(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    os.posix_fallocate = fails
    return shared_vectors(group, folder, 50)


def test_a_full_disk_is_one_line_in_every_process(tmp_path):
    for said, left in together(2, tmp_path, on_a_full_disk, tmp_path):
        assert said == (
            f"{tmp_path / 'vectors'}: vectors need 0.00 GB: No space left on device: set VECTORS_DIR to another directory"
        )
        assert left == []


def test_vectors_that_a_killed_run_left_a_day_ago_go(tmp_path):
    (tmp_path / "vectors").mkdir()
    for name, days in (("old", 2), ("young", 0)):
        file = tmp_path / f"vectors/{name}.vectors"
        file.touch()
        os.utime(file, (time.time() - days * 86_400,) * 2)
    for *_, left in together(2, tmp_path, shared_vectors, tmp_path, 50):
        assert [file.name for file in left] == ["young.vectors"]


def ranked(group, *about):
    here = world(group, *about)
    test = here.splits["test"]
    embedded = here.model.embed(test.texts)
    lexical = Lexical(0.3, CLASSIC, Collection.of(WordCounts.of(here.splits["training"].pool.texts)))
    rankings = []
    for read in MODES.values():
        queries = read(test.pool)
        distance = fused(queries, euclidean(queries, embedded), lexical)
        for name, ranking in rank(queries, distance, SETTINGS, None, group).items():
            ranks = ranking.retrieved
            rankings.append((name, ranking.candidates.tolist(), ranks.right.tolist(), ranks.best.tolist()))
    return embedded.points.embedding.numpy(), rankings


@pytest.mark.parametrize("size", [2, 11])  # more processes than queries
def test_embeddings_and_ranks_are_those_of_one_process(size, tmp_path, tiny_bert, arguana):
    about = (tmp_path, tiny_bert, arguana, {})
    points, expected = ranked(ALONE, *about)
    for their_points, rankings in together(size, tmp_path, ranked, *about):
        np.testing.assert_allclose(their_points, points, atol=1e-6)
        assert rankings == expected


def scored(group, folder, directory, corpus):
    os.environ["STATES_DIR"] = str(folder / "states")
    texts = [pair.point for pair in read_splits(Path(corpus), None).triples.pairs["training"]][:6]
    encoder = load_encoder(directory, "mean", 30, (0.0, 0.0))
    encoder.freeze(1, "rerank.freeze")
    model = CrossEncoder(encoder, Compute(torch.device("cpu"), False, group))
    torch.nn.init.constant_(model.linear.weight, 0.1)
    (states,) = HiddenStateCache(texts).read(encoder, model.compute, [encoder.tokenize(texts)])
    logits = model.logits(states, np.array([0, 0, 1, 2, 5]), np.array([3, 4, 5, 1, 0]))
    logits.square().sum().backward()
    group.average_gradients(model.parameters())
    pretrained, new = model.trainable_parameters()
    return logits.detach().numpy(), [parameter.grad.numpy() for parameter in (*pretrained, *new) if parameter.grad is not None]


@pytest.mark.parametrize("size", SIZES)
def test_a_cross_encoder_has_the_logits_and_gradients_of_one_process(size, tmp_path, tiny_bert, arguana):
    work = partial(scored, folder=tmp_path, directory=tiny_bert, corpus=arguana)
    expected, expected_gradients = work(ALONE)
    for logits, their_gradients in together(size, tmp_path, work):
        np.testing.assert_allclose(logits, expected, atol=1e-6)
        for mine, theirs in zip(expected_gradients, their_gradients, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-6)
