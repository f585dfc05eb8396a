"""What an epoch costs far above what is at hand, reckoned from pieces that --measure timed: python benchmarks/scale.py."""

import argparse
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
from timing import interleaved, machine
from torch import distributed
from transformers import BertConfig, BertModel

from counterpoint.core.files import read_json, write_json
from counterpoint.experiments import markdown
from counterpoint.model.compute import Compute, choose
from counterpoint.model.cpu.speed_up import speed_up
from counterpoint.negatives.search import exact

CONSTANTS = Path(__file__).with_name("scale.json")
LENGTH, LAYERS = 256, 2  # tokens of a text; layers that are timed, of which an encoder has more
PAIRS, DEVICES, BATCH, NEGATIVES = (10**6, 10**8), (1, 8, 64), 1024, 1
SENT = 2**24  # numbers, of a gather that is timed
GB, HOUR = 10**9, 3600


@dataclass(frozen=True)
class Shape:
    """An encoder: width and heads of a layer, and how many layers there are."""

    width: int
    heads: int
    layers: int

    @property
    def weights(self) -> int:
        """Of the layers: 12 squares of the width each. Word vectors cost no product."""
        return 12 * self.layers * self.width**2

    def flops(self, tokens: float) -> float:
        """Of one pass of so many tokens, forward: two for each weight, and attention to LENGTH others."""
        return tokens * (2 * self.weights + 4 * self.layers * LENGTH * self.width)


SHAPES = {"base": Shape(768, 12, 12), "large": Shape(1024, 16, 24)}

# --- pieces, timed ---------------------------------------------------------------------------------------------------


def measure() -> dict:
    """FLOPs a second of training, embedding and searching, by encoder; bytes a second between two processes; memory."""
    compute = choose("auto", "auto")
    found: dict = {"device": str(compute), "machine": machine(), "bytes": between_two(compute), "memory": memory(compute)}
    for name, shape in SHAPES.items():
        found[name] = pieces(shape, compute)
        print(name, {what: f"{value:.3g}" for what, value in found[name].items()}, flush=True)
    return found


def pieces(shape: Shape, compute: Compute) -> dict[str, float]:
    config = BertConfig(hidden_size=shape.width, num_attention_heads=shape.heads, num_hidden_layers=LAYERS)
    config.intermediate_size = 4 * shape.width
    model = BertModel(config, add_pooling_layer=False)
    model.to(compute.device)  # type: ignore[arg-type]
    if compute.device.type == "cpu":
        speed_up(model)
    texts = max(1, compute.most // LENGTH)
    ids = torch.randint(1000, (texts, LENGTH), device=compute.device)

    def passed() -> torch.Tensor:
        with compute.autocast():
            return model(input_ids=ids).last_hidden_state.float().mean()

    @torch.no_grad()
    def embed() -> None:
        model.eval()
        passed()

    def train() -> None:
        model.train()
        passed().backward()
        model.zero_grad()

    pool = torch.randn(100_000, shape.width, device=compute.device)
    queries = pool[:2_000]
    seconds = interleaved({"train": train, "embed": embed, "search": lambda: exact(queries, pool, 10)})
    flops = Shape(shape.width, shape.heads, LAYERS).flops(texts * LENGTH)
    return {
        "train": 3 * flops / seconds["train"],
        "embed": flops / seconds["embed"],
        "search": 2.0 * len(queries) * pool.numel() / seconds["search"],
    }


def memory(compute: Compute) -> int:
    if compute.device.type == "cuda":
        return int(torch.cuda.get_device_properties(compute.device).total_memory)
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    return 1024 * int(lines[0].split()[1])


def between_two(compute: Compute) -> float | None:
    """Bytes a second that a process takes in while two gather what each has; None where there are no two devices."""
    if compute.device.type == "cuda" and torch.cuda.device_count() < 2:
        return None
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    members = [context.Process(target=gathering, args=(rank, compute.device.type, results)) for rank in range(2)]
    for member in members:
        member.start()
    seconds = min(results.get() for _ in members)
    for member in members:
        member.join()
    return 4 * SENT / seconds


def gathering(rank: int, kind: str, results: multiprocessing.Queue) -> None:
    engine, device = ("nccl", torch.device("cuda", rank)) if kind == "cuda" else ("gloo", torch.device("cpu"))
    distributed.init_process_group(engine, init_method="tcp://127.0.0.1:29511", rank=rank, world_size=2)
    own, parts = torch.zeros(SENT, device=device), [torch.zeros(SENT, device=device) for _ in range(2)]
    times = []
    for _ in range(4):
        distributed.barrier()
        start = time.perf_counter()
        distributed.all_gather(parts, own)
        float(parts[1 - rank][-1])  # a GPU is done when it is asked
        times.append(time.perf_counter() - start)
    results.put(min(times[1:]))
    distributed.destroy_process_group()


# --- an epoch, reckoned ----------------------------------------------------------------------------------------------


def epoch(pairs: int, name: str, devices: int, known: dict) -> dict[str, float]:
    """Seconds of an epoch by what they go into, on so many devices, nothing frozen; and the bytes that a process holds.

    Every process takes its share of the texts and queries, and in all vectors and gradients; those a step sends go round twice.
    """
    shape, each = SHAPES[name], known[name]
    texts, trained = 2 * pairs, (2 + NEGATIVES) * pairs
    others, rate = (devices - 1) / devices, known["bytes"] or float("nan")
    return {
        "train": 3 * shape.flops(trained * LENGTH) / each["train"] / devices,
        "embed": shape.flops(texts * LENGTH) / each["embed"] / devices,
        "search": 2.0 * pairs * texts * shape.width / each["search"] / devices,
        "gradients": pairs / BATCH * 2 * 4 * shape.weights * others / rate,
        "vectors": 4 * shape.width * (texts + trained) * others / rate,
        "held": 4.0 * shape.width * texts,
    }


def breaks(cost: dict[str, float], known: dict) -> str:
    """What of an epoch breaks first: what does not fit, else what takes longer than learning."""
    if cost["held"] > known["memory"]:
        return f"vectors: {cost['held'] / GB:,.0f} GB in each process, which has {known['memory'] / GB:,.0f}"
    slower = {name: cost[name] for name in ("search", "gradients", "vectors") if cost[name] > cost["train"]}
    return max(slower, key=lambda name: slower[name]) if slower else "nothing: learning takes longest"


def spoken(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def table(known: dict) -> str:
    names = ("train", "embed", "search", "gradients", "vectors")
    heads = [f"{name}, h" for name in names]
    cells = [["pairs", "encoder", "devices", *heads, "vectors, GB", "breaks first"]]
    for pairs in PAIRS:
        for name in SHAPES:
            for devices in DEVICES:
                cost = epoch(pairs, name, devices, known)
                hours = [spoken(cost[what] / HOUR) for what in names]
                cells.append([f"{pairs:,}", name, str(devices), *hours, spoken(cost["held"] / GB), breaks(cost, known)])
    return markdown.table(cells)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scale.py", description=__doc__)
    parser.add_argument("--measure", action="store_true", help=f"time the pieces here, into {CONSTANTS.name}")
    asked = parser.parse_args()
    kept = read_json(CONSTANTS) if CONSTANTS.exists() else {}
    if asked.measure:
        found = measure()
        kept[found["machine"]["gpu"] or found["machine"]["processor"]] = found
        write_json(CONSTANTS, kept)
    for name, known in kept.items():
        print(f"\n{name}, {known['device']}; bytes a second between two processes: {known['bytes'] or 'not measured'}\n")
        print(table(known))


if __name__ == "__main__":
    main()
