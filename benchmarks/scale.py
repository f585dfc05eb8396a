"""The cost of an epoch at sizes that cannot be run here, from pieces that --measure timed: python benchmarks/scale.py."""

import argparse
import itertools
import multiprocessing
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()  # before torch is imported, as in a stage

import torch
from growth import grow
from growth import table as table_of_growth
from search import coded
from timing import interleaved, machine, max_tokens
from torch import distributed
from transformers import BertConfig, BertModel

from counterpoint.core.files import read_json, write_json
from counterpoint.core.rows import Rows
from counterpoint.experiments import markdown
from counterpoint.model.compute import Compute, choose
from counterpoint.model.cpu import place
from counterpoint.negatives.search import exact

CONSTANTS, GROWTH = (Path(__file__).with_name(name) for name in ("scale.json", "growth.json"))
LENGTH, LAYERS = 256, 2  # tokens of a text; timed layers, fewer than an encoder has
PAIRS, DEVICES, BATCH, NEGATIVES = (10**8,), (1, 64), 1024, 1
CODED_WIDTH = 384  # of MiniLM
SENT = 2**24  # numbers in the timed gather
GB, HOUR = 10**9, 3600


@dataclass(frozen=True)
class Shape:
    """An encoder: width and heads of a layer, and the number of layers."""

    width: int
    heads: int
    layers: int

    @property
    def weights(self) -> int:
        """Return the weights of the layers: 12 times the squared width in each. Word vectors cost no product."""
        return 12 * self.layers * self.width**2

    def flops(self, tokens: float) -> float:
        """Return the FLOPs of a forward pass of so many tokens: two for each weight, and attention to LENGTH tokens."""
        return tokens * (2 * self.weights + 4 * self.layers * LENGTH * self.width)


SHAPES = {"base": Shape(768, 12, 12)}

# --- pieces, timed ---------------------------------------------------------------------------------------------------


def measure() -> dict:
    """Return FLOPs a second of training, embedding and search by encoder, bytes a second between two processes, and memory."""
    compute = choose("auto", "auto")
    facts: dict = {"device": str(compute), "machine": machine(), "bytes": between_two(compute), "memory": memory(compute)}
    for name, shape in SHAPES.items():
        facts[name] = pieces(shape, compute)
        print(name, {piece: f"{value:.3g}" for piece, value in facts[name].items()}, flush=True)
    return facts


def pieces(shape: Shape, compute: Compute) -> dict[str, float]:
    """Return the FLOPs a second of a full micro-batch in LAYERS layers, and of a search among 100,000 vectors."""
    config = BertConfig(hidden_size=shape.width, num_attention_heads=shape.heads, num_hidden_layers=LAYERS)
    config.intermediate_size = 4 * shape.width
    model = BertModel(config, add_pooling_layer=False)
    place(model, compute.device)
    texts = max_tokens(compute) // LENGTH
    ids = torch.randint(1000, (texts, LENGTH), device=compute.device)

    def forward() -> torch.Tensor:
        with compute.autocast():
            return model(input_ids=ids).last_hidden_state.float().mean()

    @torch.no_grad()
    def embed() -> None:
        model.eval()
        forward()

    def train() -> None:
        model.train()
        forward().backward()
        model.zero_grad()

    pool = torch.randn(100_000, shape.width, device=compute.device)
    queries = pool[:2_000]
    seconds = interleaved({"train": train, "embed": embed, "search": lambda: exact(Rows(queries), Rows(pool), 10)})
    flops = Shape(shape.width, shape.heads, LAYERS).flops(texts * LENGTH)
    return {
        "train": 3 * flops / seconds["train"],
        "embed": flops / seconds["embed"],
        "search": 2.0 * len(queries) * pool.numel() / seconds["search"],
    }


def memory(compute: Compute) -> int:
    """Return the bytes of memory of the device."""
    if compute.device.type == "cuda":
        return int(torch.cuda.get_device_properties(compute.device).total_memory)
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    return 1024 * int(lines[0].split()[1])


def between_two(compute: Compute) -> float | None:
    """Return the bytes a second that each of two processes receives in a gather; None where there are no two devices."""
    if compute.device.type == "cuda" and torch.cuda.device_count() < 2:
        return None
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    members = [context.Process(target=gather, args=(rank, compute.device.type, results)) for rank in range(2)]
    for member in members:
        member.start()
    seconds = min(results.get() for _ in members)
    for member in members:
        member.join()
    return 4 * SENT / seconds


def gather(rank: int, kind: str, results: multiprocessing.Queue) -> None:
    """Put the fastest of three gathers, in seconds, into results; a first one warms up."""
    engine, device = ("nccl", torch.device("cuda", rank)) if kind == "cuda" else ("gloo", torch.device("cpu"))
    distributed.init_process_group(engine, init_method="tcp://127.0.0.1:29511", rank=rank, world_size=2)
    local, parts = torch.zeros(SENT, device=device), [torch.zeros(SENT, device=device) for _ in range(2)]
    times = []
    for _ in range(4):
        distributed.barrier()
        start = time.perf_counter()
        distributed.all_gather(parts, local)
        float(parts[1 - rank][-1])  # waits for a GPU
        times.append(time.perf_counter() - start)
    results.put(min(times[1:]))
    distributed.destroy_process_group()


# --- the cost of an epoch --------------------------------------------------------------------------------------------


def epoch(pairs: int, name: str, devices: int, constants: dict) -> dict[str, float]:
    """Return the seconds of an epoch by part, nothing frozen, and the bytes of vectors on disk and in each process.

    Every device computes its shard of the texts and queries. The vectors and gradients of each batch reach every process; the
    gradients of a step travel twice. The vectors of all texts lie in a file that all processes map.
    """
    shape, per_second = SHAPES[name], constants[name]
    texts, trained = 2 * pairs, (2 + NEGATIVES) * pairs
    received, bandwidth = (devices - 1) / devices, constants["bytes"] or float("nan")
    return {
        "train": 3 * shape.flops(trained * LENGTH) / per_second["train"] / devices,
        "embed": shape.flops(texts * LENGTH) / per_second["embed"] / devices,
        "search": 2.0 * pairs * texts * shape.width / per_second["search"] / devices,
        "gradients": pairs / BATCH * 2 * 4 * shape.weights * received / bandwidth,
        "vectors": 4 * shape.width * trained * received / bandwidth,
        "file": 4.0 * shape.width * texts,
        "held": 4.0 * shape.width * texts / devices,
    }


def breaks(cost: dict[str, float], constants: dict) -> str:
    """Return the part of an epoch that breaks first: one that does not fit, else one that takes longer than training."""
    if cost["held"] > constants["memory"]:
        return f"vectors: {cost['held'] / GB:,.0f} GB in each process, which has {constants['memory'] / GB:,.0f}"
    slower = {name: cost[name] for name in ("search", "gradients", "vectors") if cost[name] > cost["train"]}
    return max(slower, key=lambda name: slower[name]) if slower else "nothing: training takes longest"


def table(constants: dict) -> str:
    """Return the table of docs/scale.md for a machine's constants."""
    parts = ("train", "embed", "search", "gradients", "vectors")
    cells = [["pairs", "encoder", "devices", *(f"{part}, h" for part in parts), "vectors, GB", "breaks first"]]
    for pairs, name, devices in itertools.product(PAIRS, SHAPES, DEVICES):
        cost = epoch(pairs, name, devices, constants)
        numbers = [_rounded(cost[part] / HOUR) for part in parts]
        cells.append([f"{pairs:,}", name, str(devices), *numbers, _rounded(cost["file"] / GB), breaks(cost, constants)])
    return markdown.table(cells)


def _rounded(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def main() -> None:
    """Print the table of every measured machine; with --measure, time the pieces here first."""
    parser = argparse.ArgumentParser(prog="scale.py", description=__doc__)
    parser.add_argument(
        "--run", type=int, nargs="+", metavar="PAIRS", help=f"run the pipeline on so many pairs, into {GROWTH.name}"
    )
    parser.add_argument("--codes", type=int, metavar="VECTORS", help=f"recall of coded vectors, into {GROWTH.name}")
    parser.add_argument("--measure", action="store_true", help=f"time the pieces here, into {CONSTANTS.name}")
    machines = read_json(CONSTANTS) if CONSTANTS.exists() else {}
    args = parser.parse_args()
    grown = read_json(GROWTH) if GROWTH.exists() else {}
    if args.run:
        write_json(GROWTH, grown | {"machine": machine()} | grow(sorted(args.run)))
        return
    if args.codes:
        write_json(GROWTH, grown | {"codes": coded(args.codes, CODED_WIDTH)})
        return
    if args.measure:
        facts = measure()
        machines[facts["machine"]["gpu"] or facts["machine"]["processor"]] = facts
        write_json(CONSTANTS, machines)
    if grown:
        print(table_of_growth(grown))
    for name, constants in machines.items():
        bandwidth = constants["bytes"] or "not measured"
        print(f"\n{name}, {constants['device']}; bytes a second between two processes: {bandwidth}\n")
        print(table(constants))


if __name__ == "__main__":
    main()
