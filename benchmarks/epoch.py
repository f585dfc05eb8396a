"""A whole epoch on real texts: the original's loop in fp32 against Counterpoint's in fp32 and in the precision of `auto`.

Two more rows show the gain of batches by neighbours, and of frozen layers.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from original import OriginalLoop
from texts import distinct_share, slices
from timing import not_run

from counterpoint.core.params import Params, load_params
from counterpoint.core.sections import Precision
from counterpoint.core.seeds import seed_torch
from counterpoint.model.bi_encoder import BiEncoder, build, new_parts
from counterpoint.model.compute import Compute, choose
from counterpoint.model.encoder import Frozen
from counterpoint.model.files import locate
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.negatives.eligible import initial_negatives
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.negatives.schedule import Schedule
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.loop import Learner, fit
from counterpoint.training.selection import Split
from counterpoint.training.state import Progress, State

PHASES = ("train", "embed", "search", "score")
AT_LEAST: dict[Precision, float] = {"fp32": 2.8, "auto": 4.0}
FROZEN: dict[str, Frozen] = {"nothing frozen": None, "4 of 6 layers frozen": 4, "all frozen": "all"}
FROZEN_AT_LEAST = {"4 of 6 layers frozen": {"at_least": 2.7}}

# --- rows ------------------------------------------------------------------------------------------------------------


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """Return a row a precision, with seconds and ratio of each phase and of all, and one of batches by neighbours."""
    params = settings(512, 8)
    epoch = f"{params.model.max_length} tokens, batches of {params.train.batch_size}"
    if corpus is None:
        return not_run(*(f"epoch, {epoch}, {precision}" for precision in AT_LEAST))
    texts = slices(corpus, 256 if full else 64)
    work = {"original": partial(original_epoch, texts, params)}
    work |= {precision: partial(our_epoch, texts, params, precision) for precision in AT_LEAST}
    work["shuffled"] = partial(our_epoch, texts, with_values(params, train={"batching": "shuffled"}), "auto")
    seconds = medians(work)
    sizes = " + ".join(str(len(members)) for members in texts.values())
    about = f"{sizes} pairs, {distinct_share(texts['training']):.0%} of the training texts distinct"
    results: list[dict] = []
    for precision, least in AT_LEAST.items():
        ratios = {phase: seconds["original"][phase] / seconds[precision][phase] for phase in (*PHASES, "all")}
        results.append(
            {
                "what": f"epoch, {epoch}, {precision}: {choose('auto', precision)}",
                "about": about,
                "seconds": {"original": seconds["original"], precision: seconds[precision]},
                "ratio": ratios.pop("all"),
                "ratios": ratios,
                "at_least": least,
            }
        )
    batching = {"shuffled": seconds["shuffled"]["train"], "neighbours": seconds["auto"]["train"]}
    gain = batching["shuffled"] / batching["neighbours"]
    what = f"train, {epoch}, auto: neighbours against shuffled"
    return [*results, {"what": what, "about": about, "seconds": batching, "ratio": gain}]


def frozen_rows(corpus: Path | None, full: bool) -> list[dict]:
    """Return a row for each part that may be frozen: an epoch with it frozen against an epoch with nothing frozen."""
    params = settings(256, 64)
    what = f"epoch, {params.model.max_length} tokens, batches of {params.train.batch_size}, auto"
    whole, *names = FROZEN
    if corpus is None:
        return not_run(*(f"{what}: {name}" for name in names))
    texts = slices(corpus, 512 if full else 128)
    variants = {name: with_values(params, model={"freeze": freeze}) for name, freeze in FROZEN.items()}
    by_phase = medians({name: partial(our_epoch, texts, variant, "auto") for name, variant in variants.items()})
    seconds = {name: phases["all"] for name, phases in by_phase.items()}
    about = "without computing the hidden states of frozen layers"
    return [
        {"what": f"{what}: {name}", "about": about, "seconds": seconds, "ratio": seconds[whole] / seconds[name]}
        | FROZEN_AT_LEAST.get(name, {})
        for name in names
    ]


def medians(work: Mapping[str, Callable[[], dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the median seconds of each phase, and of all, over three rounds in which all work takes turns."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in work}
    for _ in range(3):
        for name, piece in work.items():
            seconds = piece()
            rounds[name].append(seconds | {"all": sum(seconds.values())})
    return {
        name: {phase: statistics.median(seconds[phase] for seconds in runs) for phase in (*PHASES, "all")}
        for name, runs in rounds.items()
    }


# --- params ----------------------------------------------------------------------------------------------------------


def settings(max_length: int, batch_size: int) -> Params:
    """Return the params of an epoch of triplet loss and pair head, by neighbours: nothing frozen, every negative mined."""
    return with_values(
        load_params(Path("params.yaml")),
        random_rate=0.0,
        floor=0.0,
        negatives={"window": (1, 1), "margin": None, "per_point": 1},
        model={"max_length": max_length, "freeze": None, "sharing": "shared", "projection": None, "fusion": "cls"},
        loss={"triplet": {"weight": 1.0}, "contrastive": {"weight": 0.0}, "pair": {"weight": 0.2}},
        train={"epochs": 1, "batch_size": batch_size, "batching": "neighbours", "gradient_cache": False},
    )


def with_values(params: Params, **values: Any) -> Params:
    """Return params with other values, by name; a section is a dict of those that change."""
    return Params.model_validate(_merged(params.model_dump(), values))


def _merged(content: dict, values: dict) -> dict:
    changes = {name: _merged(content[name], value) if isinstance(value, dict) else value for name, value in values.items()}
    return content | changes


# --- both sides ------------------------------------------------------------------------------------------------------


def original_epoch(texts: dict, params: Params) -> dict[str, float]:
    """Run an epoch of the original's loop, and return its seconds by phase."""
    seed_torch(params.seed, 0, "weights")
    towers, head = new_parts(params.model, locate(params.model.encoder), with_head=True)
    loop = OriginalLoop(towers["point"], head, texts, params)
    return loop.epoch(loop.search(*loop.embed(texts["training"])))


def our_epoch(texts: dict, params: Params, precision: Precision) -> dict[str, float]:
    """Run an epoch, and return its seconds by phase, without computing the hidden states of frozen layers.

    A run of n epochs embeds n + 1 times. The checkpoint is left out: it takes as long for a slice as for a corpus.
    """
    seconds = trained(texts, params, precision).seconds
    phases = {"train": seconds["train"], "embed": seconds["embed"] / 2}
    return phases | {"search": seconds["draw"], "score": seconds["score"]}


def trained(texts: dict, params: Params, precision: Precision) -> State:
    """Train as the stage does; seconds["whole"] is all of it but for computing the hidden states of frozen layers."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"CHECKPOINT_DIR": f"{folder}/checkpoints", "STATES_DIR": f"{folder}/states"}
        with patch.dict(os.environ, places):
            model = new_model(params, choose("auto", precision))
            splits = {name: Split.of(pairs, model.point.encoder) for name, pairs in texts.items()}
            cache = HiddenStateCache([text for split in splits.values() for text in split.pool.texts])
            inputs = cache.read(model.point.encoder, model.compute, [split.tokens for split in splits.values()])
            splits = {name: replace(split, texts=rows) for (name, split), rows in zip(splits.items(), inputs, strict=True)}
            training = splits["training"]
            sampler = new_sampler(training, params)
            checkpoint, start = Checkpoint.open("benchmark"), time.perf_counter()
            progress = Progress(Path(folder), params.train.epochs, 1)
            state = fit(Learner(model, training, params, checkpoint), sampler, splits, params, progress)
            state.seconds["whole"] = time.perf_counter() - start
            checkpoint.release()
            return state


def new_model(params: Params, compute: Compute) -> BiEncoder:
    """Return a model as the stage train makes it."""
    seed_torch(params.seed, 0, "weights")
    model = build(params.model, locate(params.model.encoder), compute, with_head=params.trains_head)
    model.recompute = params.train.gradient_cache
    return model


def new_sampler(training: Split, params: Params) -> NegativeSampler:
    """Return a sampler of the training split's negatives."""
    initial = initial_negatives(training.pool, params.negatives.per_point, params.prepare.seed)
    return NegativeSampler(training.pool, Schedule.of(params), params, initial)
