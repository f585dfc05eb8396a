"""Turn logs of the original research code into series and a picture: python tools/import_log.py LOG…"""

import argparse
import logging
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.files import write_series
from counterpoint.experiments.report_figures import FAULTY
from counterpoint.plots import figures
from counterpoint.plots.figures import BLUE, GREY, ORANGE, finish, percent_tick, save

# The original printed one fact a line, in Chinese. All other lines, such as those of a best accuracy, are skipped.
SPLITS = {"训练": "training", "验证": "validation", "测试": "test"}
FACT = re.compile(
    rf"(?<![\u4e00-\u9fff])((?P<split>{'|'.join(SPLITS)})集top1 accuracy为"
    r"|当前第\s*(?P<batch>\d+)\s*个mini batch[，,]\s*当前loss为|开始第\s*(?P<epoch>\d+)\s*个epoch的训练)"
)
NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|nan|[-+]?inf)(?![\w.])", re.I)

# The keys of a row of history.json that such a log lacks.
SHARES = ("random_share", "filtered_share", "same_debate_share", "point_share")
COUNTS = ("training_n", "validation_n", "test_n")
UNTOLD = ("random_rate", *SHARES, *COUNTS, "hardness", "triplet_loss", "contrastive_loss", "pair_loss")
Series = tuple[list[dict], list[dict]]  # the rows of history.json and of steps.json


def read_logs(paths: Sequence[Path]) -> dict[str, Series]:
    """Return `read_log` of each file by its name without the ending; raise InputError where two names are equal."""
    names = [path.stem for path in paths]
    if same := [path for path in paths if names.count(path.stem) > 1]:
        raise InputError(f"logs must have different names; got {same[0]} and {same[1]}")
    return {path.stem: read_log(path) for path in paths}


def read_log(path: Path) -> Series:
    """Return the rows of history.json and of steps.json that a log holds; an epoch's loss is the mean of its logged losses.

    A log may end anywhere: a last line without an end is left out. Accuracies belong to the epoch that began last; where
    the first ones stand before epoch 0 begins, they belong to the epoch that begins next. Steps count batches as the log
    numbers them, epoch after epoch. Raises InputError for a file that is no such log, or not the log of one run.
    """
    try:
        whole = path.read_bytes().rpartition(b"\n")[0].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} must be UTF-8; got the byte {error.object[error.start]:#04x} at {error.start}") from None
    except OSError as error:
        raise InputError(f"{path} must be a log; it cannot be read: {error.strerror}") from None
    return _series(path, _facts(path, whole.splitlines()))


class Fact(NamedTuple):
    """A fact that a line states: the beginning of an epoch, the loss of a batch, or the accuracy of a split."""

    line: int
    kind: str  # epoch, batch or a split
    number: int  # of the epoch or the batch, else -1
    value: float  # the loss or the accuracy, else NaN


def _facts(path: Path, lines: list[str]) -> list[Fact]:
    facts = []
    for i, line in enumerate(lines, start=1):
        if match := FACT.search(line):
            split, batch, epoch = match["split"], match["batch"], match["epoch"]
            value = math.nan if epoch else _value(path, i, line, match.end())
            if split and not 0 <= value <= 1:
                raise InputError(f"{path}, line {i}: an accuracy must be from 0 to 1; got {value:g}")
            kind = SPLITS[split] if split else "batch" if batch else "epoch"
            facts.append(Fact(i, kind, int(batch or epoch or -1), value))
    if all(fact.kind == "epoch" for fact in facts):
        raise InputError(
            f"{path} must be a log of the original research code, with lines like 训练集top1 accuracy为0.26; "
            f"none of its {len(lines)} whole lines is one"
        )
    return facts


def _value(path: Path, number: int, line: str, at: int) -> float:
    if not (match := NUMBER.match(line, at)):
        raise InputError(
            f"{path}, line {number}: {line[:at].strip()} must be followed by a number; got {line[at:].strip()[:40]!r}"
        )
    return float(match[1])


def _series(path: Path, facts: list[Fact]) -> Series:
    kinds = [fact.kind for fact in facts]
    begun = kinds.index("epoch") if "epoch" in kinds else len(kinds)  # facts before an epoch is named
    first = facts[begun].number if begun < len(facts) else 1
    scored_first = first == 0 and any(kind in SPLITS.values() for kind in kinds[:begun])
    top1: dict[int, dict[str, float]] = {}
    losses: dict[int, list[float]] = {}
    steps: list[dict] = []
    epoch, base, last, fresh = first - 1, 0, -1, False
    for line, kind, number, value in facts:
        wrong = ""
        if kind == "epoch":
            wrong = f"the beginning of epoch {number} after epoch {epoch}" if number != epoch + 1 else ""
            epoch, fresh = number, True
        elif kind == "batch":
            if epoch < 0:
                wrong = "a batch before the beginning of epoch 0"
            elif number <= last:  # the numbers start again with each epoch, at 0 or above
                wrong = "" if fresh else f"batch {number} after batch {last} of epoch {epoch}"
                base += last + (number == 0)
            last, fresh = number, False
            steps.append({"step": base + number, "epoch": epoch, "loss": _finite(value)})
            losses.setdefault(epoch, []).append(value)
        else:
            scored = top1.setdefault(epoch + scored_first, {})
            wrong = f"a second {kind} accuracy of epoch {epoch + scored_first}" if kind in scored else ""
            scored[kind] = value
        if wrong:
            raise InputError(f"{path}, line {line}: a log must be of one run, in order; got {wrong}")
    return [_row(epoch, top1.get(epoch, {}), losses.get(epoch, [])) for epoch in sorted({*top1, *losses})], steps


def _row(epoch: int, top1: dict[str, float], losses: list[float]) -> dict:
    loss = _finite(sum(losses) / len(losses)) if losses else None
    accuracies = {f"{split}_top1": top1.get(split) for split in (*SPLITS.values(), "unseen_test")}
    return {"epoch": epoch, "loss": loss} | accuracies | dict.fromkeys(UNTOLD)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def picture(epochs: Sequence[dict], steps: Sequence[dict], name: str) -> Figure:
    """Draw a log of the original research code: top1 of the three splits by epoch, and the logged losses."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    top, below = figure.subplots(2, 1)
    for split, colour, style in (("training", GREY, "-."), ("validation", BLUE, "-"), ("test", ORANGE, "--")):
        figures.line(top, epochs, f"{split}_top1", split, colour, style)
    top.set(xlabel="epoch", ylabel="top1")
    top.xaxis.set_major_locator(MaxNLocator(integer=True))
    top.yaxis.set_major_formatter(percent_tick)
    top.legend()
    below.plot([row["step"] for row in steps], [row["loss"] for row in steps], color=GREY, lw=1)
    below.set_ylabel("loss")
    title = "one query in sixteen is scored, with itself among its candidates"
    return finish(figure, below, f"{name}: {FAULTY}", title, x="step (batches)")


def main() -> None:
    """Parse the command line; read all logs, then write a folder for each."""
    parser = argparse.ArgumentParser(prog="import_log.py", description="Read logs of the original research code.")
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG")
    parser.add_argument("--out", type=Path, default=Path("reports/imported"), help="default: reports/imported")
    args = parser.parse_args()
    for name, (epochs, steps) in read_logs(args.logs).items():
        folder = args.out / name
        write_series(folder / "history.json", "epochs", epochs)
        write_series(folder / "steps.json", "steps", steps)
        save(picture(epochs, steps, name), folder / "accuracy.png")
        logging.info("%s: %d epochs, %d losses", folder, len(epochs), len(steps))


if __name__ == "__main__":
    process.run(main)
