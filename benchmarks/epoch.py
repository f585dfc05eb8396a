"""A whole epoch on real texts: the original's loop in float32 against ours in float32 and in what `auto` takes."""

import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from original import OriginalLoop, nearest_other
from texts import distinct_share, slices, tokenized

from counterpoint.checkpoint import Checkpoint
from counterpoint.compute import choose
from counterpoint.encoder import locate
from counterpoint.model import build
from counterpoint.negatives import draw_random, forbidden_groups
from counterpoint.params import Params, load_params
from counterpoint.seeds import generator, seed_torch
from counterpoint.training import fit

PHASES = ("train", "embed", "search", "score")


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """A row per precision: seconds and ratio of each phase and of all."""
    params = settings()
    what = f"epoch, {params.model.max_length} tokens, batches of {params.train.batch_size}"
    if corpus is None:
        return [{"what": f"{what}, {precision}", "not_run": "needs --corpus"} for precision in ("fp32", "auto")]
    texts = slices(corpus, 256 if full else 64)
    work = {"original": _original(texts, params)}
    for precision in ("fp32", "auto"):
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
    found = []
    for precision in ("fp32", "auto"):
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
    train = replace(params.train, epochs=1, batch_size=8)
    return replace(params, random_rate=0.0, model=replace(params.model, max_length=512), train=train)


def _original(texts: dict, params: Params) -> Callable[[], dict]:
    def run() -> dict:
        seed_torch(params.seed, 0, "weights")
        loop = OriginalLoop(*build(params.model, locate(params.model.encoder), with_head=True), texts, params)
        points, counters = loop.embed(texts["training"])
        negatives = nearest_other(points.embedding.numpy(), counters.embedding.numpy(), np.arange(len(texts["training"])))
        return loop.epoch(negatives)

    return run


def _ours(texts: dict, params: Params, precision: str) -> Callable[[], dict]:
    compute = choose("auto", precision)

    def run() -> dict:
        seed_torch(params.seed, 0, "weights")
        model, head = build(params.model, locate(params.model.encoder), with_head=True)
        compute.place(model, head)
        splits = tokenized(texts, model.point.encoder)
        pool = splits["training"].pool
        random = draw_random(pool, forbidden_groups(pool), params.negatives.per_point, generator(params.seed, 0, "negatives"))
        with tempfile.TemporaryDirectory() as folder:
            os.environ["CHECKPOINT_DIR"] = folder
            checkpoint = Checkpoint("benchmark", 1)
            done = fit(model, head, splits, random, params, compute, checkpoint, lambda run, ended: None)
            checkpoint.release()
        seconds = done.seconds
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

    torch.set_num_threads(os.cpu_count())
    for row in rows(Path(sys.argv[1]), full=False):
        print(row)
