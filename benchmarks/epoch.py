"""A whole epoch on real texts: the original's loop in float32 against ours in float32 and in what `auto` takes."""

import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

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
from counterpoint.model.locate import locate
from counterpoint.negatives.first import first_negatives
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.negatives.schedule import Schedule
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.loop import fit
from counterpoint.training.progress import Progress
from counterpoint.training.split import Split

PRECISIONS: tuple[Precision, ...] = ("fp32", "auto")
PHASES = ("train", "embed", "search", "score")


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """A row per precision: seconds and ratio of each phase and of all."""
    params = settings()
    what = f"epoch, {params.model.max_length} tokens, batches of {params.train.batch_size}"
    if corpus is None:
        return [{"what": f"{what}, {precision}", "not_run": "needs --corpus"} for precision in ("fp32", "auto")]
    texts = slices(corpus, 256 if full else 64)
    work = {"original": _original(texts, params)}
    for precision in PRECISIONS:
        work[precision] = _ours(texts, params, precision)
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
                "at_least": {"fp32": 1.9, "auto": 3.3}[precision],
            }
        )
    return found


def settings() -> Params:
    """params.yaml's, at the original's length and batch size; every negative is mined."""
    params = load_params(Path("params.yaml"))
    train = params.train.model_copy(update={"epochs": 1, "batch_size": 8})
    model = params.model.model_copy(update={"max_length": 512})
    return params.model_copy(update={"random_rate": 0.0, "model": model, "train": train})


def _original(texts: dict, params: Params) -> Callable[[], dict]:
    def run() -> dict:
        seed_torch(params.seed, 0, "weights")
        towers, head = new_parts(params.model, locate(params.model.encoder), with_head=True)
        loop = OriginalLoop(towers["point"], head, texts, params)
        points, counters = loop.embed(texts["training"])
        negatives = nearest_other(points.embedding.numpy(), counters.embedding.numpy(), np.arange(len(texts["training"])))
        return loop.epoch(negatives)

    return run


def _ours(texts: dict, params: Params, precision: Precision) -> Callable[[], dict]:
    compute = choose("auto", precision)

    def run() -> dict:
        seed_torch(params.seed, 0, "weights")
        model = build(params.model, locate(params.model.encoder), compute, with_head=True)
        splits = {name: Split.of(pairs, model.point.encoder) for name, pairs in texts.items()}
        pool = splits["training"].pool
        first = first_negatives(pool, params.negatives.per_point, params.prepare.seed)
        sampler = NegativeSampler(pool, Schedule.of(params), params.negatives, params.seed, first)
        with tempfile.TemporaryDirectory() as folder:
            os.environ["CHECKPOINT_DIR"] = folder
            checkpoint = Checkpoint("benchmark", 1)
            seconds = fit(model, sampler, splits, params, checkpoint, Progress(Path(folder), 1, 1)).seconds
            checkpoint.release()
        # a run of n epochs embeds n + 1 times; a checkpoint takes as long for a slice as for a corpus, and is left out
        return {
            "train": seconds["train"],
            "embed": seconds["embed"] / 2,
            "search": seconds["draw"],
            "score": seconds["score"],
        }

    return run


if __name__ == "__main__":
    import sys

    torch.set_num_threads(os.cpu_count() or 1)
    for row in rows(Path(sys.argv[1]), full=False):
        print(row)
