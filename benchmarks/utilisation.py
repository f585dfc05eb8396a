"""The utilisation of training and embedding: their FLOPs a second as a share of the best square matrix product's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from epoch import new_model, new_sampler, with_values
from texts import slices
from timing import interleaved, max_tokens, not_run

from counterpoint.core.params import Params, load_params
from counterpoint.core.sections import Precision
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.compute import Compute, choose
from counterpoint.model.encoder import Encoder
from counterpoint.negatives.draws import Negatives
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.loop import Learner
from counterpoint.training.selection import Split

AT_LEAST = {("train", "fp32"): 0.65, ("train", "bf16"): 0.55, ("embed", "fp32"): 0.80, ("embed", "bf16"): 0.60}
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
SQUARES = {"cpu": (1024, 2048, 4096), "cuda": (4096, 8192, 16384)}


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """Return a row of training and one of embedding in each precision."""
    params = load_params(Path("params.yaml"))
    what = f"utilisation, {params.model.max_length} tokens, batches of {params.train.batch_size}"
    if corpus is None:
        return not_run(*(f"{part} {what}, {precision}" for precision in PRECISIONS for part in ("train", "embed")))
    texts = slices(corpus, 256 if full else 64)
    return [row for precision in PRECISIONS for row in _rows(texts, params, precision, what)]


def _rows(texts: dict, params: Params, precision: Precision, what: str) -> list[dict]:
    compute = choose("auto", precision)
    bench = Bench(texts, params, compute)
    width, tokens, sides = bench.model.point.encoder.width, max_tokens(compute), SQUARES[compute.device.type]
    feed_forward = {"product of a feed-forward layer": product(compute, tokens, width, 4 * width)}
    squares = {f"matmul {side}": product(compute, side, side, side) for side in sides}
    seconds = interleaved({"train": bench.train} | squares)
    seconds |= interleaved({"embed": bench.embed} | squares | feed_forward, repeats=5)  # short, so more often
    peak = max(2 * side**3 / seconds[f"matmul {side}"] for side in sides)
    bound = 2 * tokens * width * 4 * width / seconds["product of a feed-forward layer"]
    return [
        {
            "what": f"{part} {what}, {compute}",
            "seconds": seconds,
            "gflops_peak": peak / 1e9,
            "gflops_feed_forward": bound / 1e9,  # it bounds the encoder's products
            "gflops": flops / seconds[part] / 1e9,
            "padding": padding,
            "ratio": flops / seconds[part] / peak,
            "at_least": AT_LEAST[part, precision],
        }
        for part, (flops, padding) in bench.work().items()
    ]


class Bench:
    """An epoch of training on a slice with mined negatives, and embedding it."""

    def __init__(self, texts: dict, params: Params, compute: Compute) -> None:
        self.model = new_model(params, compute)
        self.training = Split.of(texts["training"], self.model.point.encoder)
        self.negatives = mined(self.model, self.training, params)
        self.learner = Learner(self.model, self.training, params, Checkpoint("benchmark"))
        self.embedded = self.model.embed(self.training.tokens)

    def train(self) -> None:
        """Train on every point once."""
        self.learner.train(0, self.negatives, self.embedded, lambda row: None)

    def embed(self) -> None:
        """Embed all texts."""
        self.model.embed(self.training.tokens)

    def work(self) -> dict[str, tuple[float, float]]:
        """Return the FLOPs for real tokens and the share of padding, by part; a backward pass costs two forward ones."""
        parts = {}
        for part, passes, once in (("train", 3, self.train), ("embed", 1, self.embed)):
            with counted(self.model.point.encoder) as count:
                once()
            parts[part] = passes * count["flops"], 1 - count["real"] / count["tokens"]
        return parts


def mined(model: BiEncoder, training: Split, params: Params) -> Negatives:
    """Return the mined negatives of each point."""
    sampler = new_sampler(training, with_values(params, random_rate=0.0, floor=0.0))
    return sampler.draw(0, *model.embed(training.tokens).embeddings)


@contextmanager
def counted(encoder: Encoder) -> Iterator[dict]:
    """Count the tokens that pass the encoder, the real ones among them, and the FLOPs of these in one forward pass.

    A token costs 2 FLOPs a weight outside the embeddings, and 4 * layers * width * length in attention.
    """
    config = encoder.transformer.config
    weights = sum(p.numel() for n, p in encoder.transformer.named_parameters() if "embeddings." not in n and "pooler." not in n)
    count = dict.fromkeys(("tokens", "real", "flops"), 0)

    def add(module: object, args: tuple) -> None:
        lengths = args[1].sum(1).cpu().numpy().astype(np.float64)
        count["tokens"] += args[0].numel()
        count["real"] += lengths.sum()
        per_token = 2 * weights + 4 * config.num_hidden_layers * config.hidden_size * lengths
        count["flops"] += (lengths * per_token).sum()

    handle = encoder.register_forward_pre_hook(add)
    yield count
    handle.remove()


def product(compute: Compute, m: int, k: int, n: int) -> Callable[[], object]:
    """Return a matrix product (m, k) by (k, n) in the precision of compute, to be timed."""
    dtype = torch.bfloat16 if compute.bf16 else torch.float32
    a, b = (torch.randn(shape, dtype=dtype, device=compute.device) for shape in ((m, k), (k, n)))
    return lambda: a @ b
