"""A whole epoch on real texts: the original's loop in float32 against ours in float32 and in what `auto` takes.

And what batches by neighbours, and layers that are frozen, save of ours.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from original import OriginalLoop, nearest_other
from texts import distinct_share, slices

from counterpoint.core.params import Params
from counterpoint.core.params_file import load_params
from counterpoint.core.sections import Precision
from counterpoint.core.seeds import seed_torch
from counterpoint.model.bi_encoder import build, new_parts
from counterpoint.model.compute import choose
from counterpoint.model.encoder import Frozen
from counterpoint.model.locate import locate
from counterpoint.model.states import with_states
from counterpoint.negatives.first import first_negatives
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.negatives.schedule import Schedule
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.epoch import Learner
from counterpoint.training.loop import fit
from counterpoint.training.progress import Progress
from counterpoint.training.split import Split
from counterpoint.training.state import State

PRECISIONS: tuple[Precision, ...] = ("fp32", "auto")
PHASES = ("train", "embed", "search", "score")
AT_LEAST = {"fp32": 2.8, "auto": 4.0}
FROZEN: dict[str, Frozen] = {"nothing frozen": None, "4 of 6 layers frozen": 4, "all frozen": "all"}


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """A row per precision: seconds and ratio of each phase and of all."""
    params = settings(512, 8)
    what = f"epoch, {params.model.max_length} tokens, batches of {params.train.batch_size}"
    if corpus is None:
        return [{"what": f"{what}, {precision}", "not_run": "needs --corpus"} for precision in ("fp32", "auto")]
    texts = slices(corpus, 256 if full else 64)
    work = {"original": _original(texts, params)}
    for precision in PRECISIONS:
        work[precision] = ours(texts, params, precision)
    work["shuffled"] = ours(texts, with_values(params, batching="shuffled"), "auto")
    rounds: dict[str, list[dict]] = {name: [] for name in work}
    for _ in range(3):
        for name, piece in work.items():
            rounds[name].append(piece())
    seconds = {
        name: {phase: statistics.median(one[phase] for one in found) for phase in PHASES}
        | {"all": statistics.median(sum(one.values()) for one in found)}
        for name, found in rounds.items()
    }
    sizes = " + ".join(str(len(members)) for members in texts.values())
    about = f"{sizes} pairs, {distinct_share(texts['training']):.0%} of the training texts distinct"
    found: list[dict] = []
    for precision in PRECISIONS:
        by_phase = {phase: seconds["original"][phase] / seconds[precision][phase] for phase in PHASES}
        found.append(
            {
                "what": f"{what}, {precision}: {choose('auto', precision)}",
                "about": about,
                "seconds": {"original": seconds["original"], precision: seconds[precision]},
                "ratios": by_phase,
                "ratio": seconds["original"]["all"] / seconds[precision]["all"],
                "at_least": AT_LEAST[precision],
            }
        )
    batching = {name: seconds[of]["train"] for name, of in (("shuffled", "shuffled"), ("neighbours", "auto"))}
    found.append(
        {
            "what": f"{what.replace('epoch', 'train')}, auto: neighbours against shuffled",
            "about": about,
            "seconds": batching,
            "ratio": batching["shuffled"] / batching["neighbours"],
        }
    )
    return found


def frozen_rows(corpus: Path | None, full: bool) -> list[dict]:
    """A row for each part that may be frozen: an epoch without it against an epoch with nothing frozen."""
    params = settings(256, 64)
    what = f"epoch, {params.model.max_length} tokens, batches of {params.train.batch_size}, auto"
    names = [name for name, freeze in FROZEN.items() if freeze is not None]
    if corpus is None:
        return [{"what": f"{what}: {name}", "not_run": "needs --corpus"} for name in names]
    texts = slices(corpus, 512 if full else 128)
    work = {name: ours(texts, with_values(params, freeze=freeze), "auto") for name, freeze in FROZEN.items()}
    rounds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(3):
        for name, piece in work.items():
            rounds[name].append(sum(piece().values()))
    seconds = {name: statistics.median(values) for name, values in rounds.items()}
    about = "the pass that computes the states apart"
    least = {"4 of 6 layers frozen": {"at_least": 2.7}}
    return [
        {"what": f"{what}: {name}", "about": about, "seconds": seconds, "ratio": seconds["nothing frozen"] / seconds[name]}
        | least.get(name, {})
        for name in names
    ]


def settings(max_length: int, batch_size: int) -> Params:
    """An epoch of triplets and pair head on the whole encoder, by neighbours; every negative is mined."""
    params = with_values(load_params(Path("params.yaml")), max_length=max_length, batch_size=batch_size, batching="neighbours")
    params = with_values(params, freeze=None, sharing="shared", projection=None, fusion="cls", epochs=1, gradient_cache=False)
    loss = params.loss.model_copy(
        update={
            "triplet": params.loss.triplet.model_copy(update={"weight": 1.0}),
            "contrastive": params.loss.contrastive.model_copy(update={"weight": 0.0}),
            "pair": params.loss.pair.model_copy(update={"weight": 0.2}),
        }
    )
    negatives = params.negatives.model_copy(update={"window": (1, 1), "margin": None, "keep": 0.0, "per_point": 1})
    return params.model_copy(update={"random_rate": 0.0, "floor": 0.0, "loss": loss, "negatives": negatives})


def with_values(params: Params, **values: Any) -> Params:
    """The params with other values of sections model and train."""
    parts = {}
    for name in ("model", "train"):
        section = getattr(params, name)
        parts[name] = section.model_copy(
            update={key: value for key, value in values.items() if key in type(section).model_fields}
        )
    return params.model_copy(update=parts)


def _original(texts: dict, params: Params) -> Callable[[], dict]:
    def run() -> dict:
        seed_torch(params.seed, 0, "weights")
        towers, head = new_parts(params.model, locate(params.model.encoder), with_head=True)
        loop = OriginalLoop(towers["point"], head, texts, params)
        points, counters = loop.embed(texts["training"])
        negatives = nearest_other(points.embedding.numpy(), counters.embedding.numpy(), np.arange(len(texts["training"])))
        return loop.epoch(negatives)

    return run


def ours(texts: dict, params: Params, precision: Precision) -> Callable[[], dict]:
    """A function that runs an epoch and gives its seconds by phase, the pass that computes frozen states apart."""

    def run() -> dict:
        seconds = trained(texts, params, precision).seconds
        # a run of n epochs embeds n + 1 times; a checkpoint takes as long for a slice as for a corpus, and is left out
        return {
            "train": seconds["train"],
            "embed": seconds["embed"] / 2,
            "search": seconds["draw"],
            "score": seconds["score"],
        }

    return run


def trained(texts: dict, params: Params, precision: Precision) -> State:
    """A run as the stage makes it; its seconds have all of it under whole, the pass that computes frozen states apart."""
    compute = choose("auto", precision)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CHECKPOINT_DIR": folder, "STATES_DIR": f"{folder}/states"}
        seed_torch(params.seed, 0, "weights")
        model = build(params.model, locate(params.model.encoder), compute, with_head=True)
        splits = {name: Split.of(pairs, model.point.encoder) for name, pairs in texts.items()}
        everything = [text for split in splits.values() for text in split.pool.texts]
        read_texts = with_states(model, [split.tokens for split in splits.values()], everything, 10.0)
        splits = {name: replace(split, texts=own) for (name, split), own in zip(splits.items(), read_texts, strict=True)}
        pool = splits["training"].pool
        first = first_negatives(pool, params.negatives.per_point, params.prepare.seed)
        sampler = NegativeSampler(pool, Schedule.of(params), params.negatives, params.seed, first)
        checkpoint, start = Checkpoint("benchmark", 1), time.perf_counter()
        state = fit(
            Learner(model, splits["training"], params),
            sampler,
            splits,
            params,
            checkpoint,
            Progress(Path(folder), params.train.epochs, 1),
        )
        state.seconds["whole"] = time.perf_counter() - start
        checkpoint.release()
        return state


if __name__ == "__main__":
    import sys

    torch.set_num_threads(os.cpu_count() or 1)
    for row in rows(Path(sys.argv[1]), full=False):
        print(row)
