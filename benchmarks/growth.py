"""The whole pipeline on made-up corpora of growing size: seconds and peak memory of each stage, and how they grow."""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from transformers import BertConfig, BertModel, BertTokenizer

from counterpoint.core.files import read_json
from counterpoint.experiments import markdown

ROOT = Path(__file__).parent.parent
STAGES = ("prepare", "train", "lexical", "rerank", "baselines", "rank", "evaluate", "plot", "publish")
WORDS, TOPIC_WORDS, TEXT, FROM_TOPIC = 4_000, 12, 20, 8  # words: all, of a topic, of a text, of those its topic's
TOPIC = 20  # pairs
PROJECTED, SHOWN = 10**8, 60  # pairs; seconds of the largest corpus, from which a stage stands in the table
WIDTH, LAYERS, SAMPLE = 32, 2, 5_000
# 1 epoch of half mined negatives, so that all pairs are trained on and mined for once
CHANGES = {
    "corpus": "pairs.csv",
    "random_rate": 0.5,
    "decay": None,
    "model": {"encoder": "encoder", "max_length": 32},
    "train": {"epochs": 1, "batch_size": 256},
    "select": {"average": None, "sample": SAMPLE},
    "evaluate": {"sample": SAMPLE},
    "rerank": {"kind": None},
}


def grow(sizes: list[int]) -> dict:
    """Return for each number of pairs the seconds and peak MiB of every stage and phase, and the exponents of the growth."""
    rows = {}
    for pairs in sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows[str(pairs)] = run(pairs, Path(folder))
        print(f"{pairs:,} pairs:", json.dumps(rows[str(pairs)]), flush=True)
    return {"runs": rows, "exponents": exponents(rows)}


def run(pairs: int, folder: Path) -> dict[str, dict]:
    """Run all stages on a corpus of so many pairs in a folder."""
    write_corpus(folder / "pairs.csv", pairs)
    write_encoder(folder / "encoder")
    (folder / "data").mkdir()
    (folder / "data/no_negatives.jsonl").write_text("\n")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for key, value in CHANGES.items():
        params[key] = params[key] | value if isinstance(value, dict) else value
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    measured = {}
    for stage in STAGES:
        start = time.perf_counter()
        child = subprocess.Popen([sys.executable, ROOT / "src" / f"{stage}.py"], cwd=folder, stderr=subprocess.PIPE, text=True)
        assert child.stderr is not None
        said = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            sys.exit(f"{stage} of {pairs:,} pairs: {said}")
        measured[stage] = {"seconds": round(time.perf_counter() - start, 1), "peak_mib": usage.ru_maxrss // 1024}
    phases = read_json(folder / "metrics/timing.json")
    for name, seconds in phases.items():
        measured[f"epoch: {name.removesuffix('_seconds')}"] = {"seconds": round(seconds, 1)}
    measured["all"] = {
        "seconds": round(sum(measured[stage]["seconds"] for stage in STAGES), 1),
        "peak_mib": max(measured[stage]["peak_mib"] for stage in STAGES),
        "mined_of_topic": mined_of_topic(folder),
    }
    return measured


def exponents(rows: dict[str, dict]) -> dict[str, float]:
    """Return the exponent of each stage's and phase's seconds between the two largest sizes."""
    if len(rows) < 2:
        return {}
    small, large = sorted(rows, key=int)[-2:]
    ratio = math.log(int(large) / int(small))
    seconds = {name: (rows[small][name]["seconds"], row["seconds"]) for name, row in rows[large].items() if name in rows[small]}
    return {name: round(math.log(after / before) / ratio, 2) for name, (before, after) in seconds.items() if before and after}


def table(grown: dict) -> str:
    """Return the table of docs/scale.md: seconds by stage and size, peak memory, exponents, and hours of PROJECTED pairs."""
    sizes = sorted(grown["runs"], key=int)
    last = grown["runs"][sizes[-1]]
    cells = [["", *(f"{int(pairs):,}, s" for pairs in sizes), "peak, MiB", "exponent", f"{PROJECTED:,}, h"]]
    for name, row in last.items():
        if row["seconds"] < SHOWN:
            continue
        seconds = [f"{grown['runs'][pairs][name]['seconds']:,.0f}" for pairs in sizes]
        exponent = grown["exponents"].get(name)
        cells.append([name, *seconds, f"{row['peak_mib']:,}" if "peak_mib" in row else "", markdown.number(exponent, ".2f")])
        hours = None if exponent is None else row["seconds"] * (PROJECTED / int(sizes[-1])) ** exponent / 3600
        cells[-1].append(markdown.number(hours, ",.1f"))
    return markdown.table(cells)


def write_corpus(file: Path, pairs: int) -> None:
    """Write a table of pairs, TOPIC of which share a topic: FROM_TOPIC of a text's words are the topic's."""
    rng = np.random.default_rng(0)
    topics = rng.integers(WORDS, size=(-(-pairs // TOPIC), TOPIC_WORDS))
    topic = np.arange(pairs) // TOPIC
    with file.open("w", encoding="utf-8") as table:
        table.write("point,counter\n")
        for part in np.array_split(np.arange(pairs), -(-pairs // 10_000)):
            places = rng.integers(TOPIC_WORDS, size=(len(part), 2, FROM_TOPIC))
            own = topics[topic[part]][np.arange(len(part))[:, None, None], places]
            words = np.concatenate([own, rng.integers(WORDS, size=(len(part), 2, TEXT - FROM_TOPIC))], axis=2)
            table.writelines(",".join(" ".join(f"w{word}" for word in text) for text in pair) + "\n" for pair in words.tolist())


def write_encoder(folder: Path) -> None:
    """Write a BERT of random weights that knows the corpus' words."""
    folder.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(WORDS))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)


def mined_of_topic(folder: Path) -> float:
    """Return the share of mined negatives whose pair is of their point's topic."""
    rows = [json.loads(line) for line in (folder / "data/triples/training.jsonl").open(encoding="utf-8")]
    topic = np.array([(int(row["id"].removeprefix("row-")) - 2) // TOPIC for row in rows])
    with np.load(folder / "models/negatives.npz") as drawn:
        mined, index = ~drawn["was_random"][-1, :, 0], drawn["index"][-1, :, 0]
    return round(float((topic[index] == topic)[mined].mean()), 3)
