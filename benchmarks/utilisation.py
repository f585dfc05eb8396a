"""How much of the machine training and embedding use: of the FLOPs a second that square matrix products reach here."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from texts import slices
from timing import interleaved

from counterpoint.core.params import Params
from counterpoint.core.params_file import load_params
from counterpoint.core.sections import Precision
from counterpoint.core.seeds import seed_torch
from counterpoint.model.bi_encoder import BiEncoder, build
from counterpoint.model.compute import Compute, choose
from counterpoint.model.encoder import Encoder
from counterpoint.model.locate import locate
from counterpoint.negatives.first import first_negatives
from counterpoint.negatives.sampler import Negatives, NegativeSampler
from counterpoint.negatives.schedule import Schedule
from counterpoint.training.epoch import Learner
from counterpoint.training.split import Split

AT_LEAST = {("train", "fp32"): 0.65, ("train", "bf16"): 0.55, ("embed", "fp32"): 0.80, ("embed", "bf16"): 0.60}
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
SQUARES = {"cpu": (1024, 2048, 4096), "cuda": (4096, 8192, 16384)}


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """A row for training and one for embedding, in each precision."""
    params = load_params(Path("params.yaml"))
    what = f"{params.model.max_length} tokens, batches of {params.train.batch_size}"
    found: list[dict] = []
    for precision in PRECISIONS:
        compute = choose("auto", precision)
        if corpus is None:
            found += [
                {"what": f"{part} utilisation, {what}, {precision}", "not_run": "needs --corpus"} for part in ("train", "embed")
            ]
            continue
        bench = Bench(slices(corpus, 256 if full else 64), params, compute)
        width = bench.model.point.encoder.width
        of_shape = {"product of a feed-forward layer": product(compute, compute.most, width, 4 * width)}
        squares = {f"matmul {side}": product(compute, side, side, side) for side in SQUARES[compute.device.type]}
        seconds = interleaved({"train": bench.train} | squares)
        seconds |= interleaved({"embed": bench.embed} | squares | of_shape, repeats=5)  # short, so more often
        peak = max(2 * side**3 / seconds[f"matmul {side}"] for side in SQUARES[compute.device.type])
        own = 2 * compute.most * width * 4 * width / seconds["product of a feed-forward layer"]
        for part in ("train", "embed"):
            flops, padding = bench.work[part]
            found.append(
                {
                    "what": f"{part} utilisation, {what}, {compute}",
                    "seconds": seconds,
                    "gflops_peak": peak / 1e9,
                    "gflops_own_shape": own / 1e9,  # what bounds the encoder's products
                    "gflops": flops / seconds[part] / 1e9,
                    "padding": padding,
                    "ratio": flops / seconds[part] / peak,
                    "at_least": AT_LEAST[part, precision],
                }
            )
    return found


class Bench:
    """An epoch of training on a slice, and embedding it, with the real tokens that go through the encoder counted."""

    def __init__(self, texts: dict, params: Params, compute: Compute) -> None:
        seed_torch(params.seed, 0, "weights")
        self.model = build(params.model, locate(params.model.encoder), compute, with_head=params.trains_head)
        self.training = Split.of(texts["training"], self.model.point.encoder)
        self.negatives = mined(self.model, self.training, params)
        self.learner = Learner(self.model, self.training, params)
        self.work = {}  # part -> FLOPs for real tokens, padding's share of all tokens
        for part, times, once in (("train", 3, self.train), ("embed", 1, self.embed)):
            with counted(self.model.point.encoder) as count:
                once()
            self.work[part] = times * count["flops"], 1 - count["real"] / count["tokens"]

    def train(self) -> None:
        self.learner.learn(0, self.negatives, lambda row: None)

    def embed(self) -> None:
        self.model.embed(self.training.tokens)


def mined(model: BiEncoder, training: Split, params: Params) -> Negatives:
    """Each point's nearest wrong argument."""
    first = first_negatives(training.pool, params.negatives.per_point, params.prepare.seed)
    sampler = NegativeSampler(training.pool, Schedule(0.0, None, 0.0), params.negatives, params.seed, first)
    points, counters = model.embed(training.tokens)
    return sampler.draw(0, points.embedding, counters.embedding)


@contextmanager
def counted(encoder: Encoder) -> Iterator[dict]:
    """Counts what goes through the encoder: tokens, the real ones, and the latter's FLOPs in one forward pass.

    A token costs 2 FLOPs a weight outside the embeddings, and 4 * layers * width * length in attention.
    """
    config = encoder.transformer.config
    weights = sum(p.numel() for n, p in encoder.transformer.named_parameters() if "embeddings." not in n and "pooler." not in n)
    count = dict.fromkeys(("tokens", "real", "flops"), 0)

    def look(module: object, args: tuple) -> None:
        lengths = args[1].sum(1).cpu().numpy().astype(np.float64)
        count["tokens"] += args[0].numel()
        count["real"] += lengths.sum()
        per_token = 2 * weights + 4 * config.num_hidden_layers * config.hidden_size * lengths
        count["flops"] += (lengths * per_token).sum()

    handle = encoder.register_forward_pre_hook(look)
    yield count
    handle.remove()


def product(compute: Compute, m: int, k: int, n: int) -> Callable[[], object]:
    """A matrix product (m, k) by (k, n) in the precision at hand."""
    dtype = torch.bfloat16 if compute.bf16 else torch.float32
    a, b = (torch.randn(shape, dtype=dtype, device=compute.device) for shape in ((m, k), (k, n)))
    return lambda: a @ b


if __name__ == "__main__":
    import sys

    for row in rows(Path(sys.argv[1]), full=False):
        print(row, time.strftime("%X"))
