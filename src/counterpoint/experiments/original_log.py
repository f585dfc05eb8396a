"""Logs of the original research code, read into the series that a run of this project writes."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from counterpoint.core.errors import InputError

# What the original printed: a line a fact, in Chinese; other lines, such as those of a best accuracy, are not for us.
SPLITS = {"训练": "training", "验证": "validation", "测试": "test"}
ACCURACY = re.compile(rf"(?<![\u4e00-\u9fff])({'|'.join(SPLITS)})集top1 accuracy为")
BATCH = re.compile(r"(?<![\u4e00-\u9fff])当前第\s*(\d+)\s*个mini batch[，,]\s*当前loss为")
EPOCH = re.compile(r"(?<![\u4e00-\u9fff])开始第\s*(\d+)\s*个epoch的训练")
NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|nan|[-+]?inf)(?![\w.])", re.I)

# The keys of a row of history.json that such a log does not tell.
SHARES = ("random_share", "kept_share", "filtered_share", "same_debate_share", "point_share")
UNTOLD = ("random_rate", *SHARES, "hardness", "triplet_loss", "contrastive_loss", "pair_loss", "distill_loss")


def read_logs(paths: Sequence[Path]) -> dict[str, tuple[list[dict], list[dict]]]:
    """What `read_log` makes of each, by the file's name without its ending; InputError where two have one name."""
    names = [path.stem for path in paths]
    if twice := [path for path, name in zip(paths, names, strict=True) if names.count(name) > 1]:
        raise InputError(f"logs must have names of their own; got {twice[0]} and {twice[1]}")
    return {path.stem: read_log(path) for path in paths}


def read_log(path: Path) -> tuple[list[dict], list[dict]]:
    """The rows of history.json and of steps.json that a log holds; an epoch's loss is the mean of those it logged.

    A log may end anywhere: a last line without an end is left out. Accuracies are those of the epoch that began last, or,
    where the first ones stand before epoch 0 begins, of the one that begins next. Steps count batches as the log numbers
    them, epoch after epoch. Raises InputError for a file that is no such log, or not the log of one run.
    """
    try:
        whole = path.read_bytes().rpartition(b"\n")[0].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} must be UTF-8; got the byte {error.object[error.start]:#04x} at {error.start}") from None
    except OSError as error:
        raise InputError(f"{path} must be a log; it cannot be read: {error.strerror}") from None
    return _rows(path, _facts(path, whole.splitlines()))


@dataclass(frozen=True)
class Fact:
    """What a line tells: that an epoch begins, a batch's loss, or the accuracy of a split."""

    line: int
    kind: str  # epoch, batch or a split
    number: int = -1  # of the epoch or the batch
    value: float = math.nan  # the loss or the accuracy


def _facts(path: Path, lines: list[str]) -> list[Fact]:
    facts = []
    for number, line in enumerate(lines, start=1):
        if found := ACCURACY.search(line):
            value = _value(path, number, line, found.end())
            if not 0 <= value <= 1:
                raise InputError(f"{path}, line {number}: an accuracy must be from 0 to 1; got {value:g}")
            facts.append(Fact(number, SPLITS[found[1]], value=value))
        elif found := BATCH.search(line):
            facts.append(Fact(number, "batch", int(found[1]), _value(path, number, line, found.end())))
        elif found := EPOCH.search(line):
            facts.append(Fact(number, "epoch", int(found[1])))
    if all(fact.kind == "epoch" for fact in facts):
        raise InputError(
            f"{path} must be a log of the original research code, with lines like 训练集top1 accuracy为0.26; "
            f"none of its {len(lines)} whole lines is one"
        )
    return facts


def _value(path: Path, number: int, line: str, at: int) -> float:
    if not (found := NUMBER.match(line, at)):
        raise InputError(
            f"{path}, line {number}: {line[:at].strip()} must be followed by a number; got {line[at:].strip()[:40]!r}"
        )
    return float(found[1])


def _rows(path: Path, facts: list[Fact]) -> tuple[list[dict], list[dict]]:
    kinds = [fact.kind for fact in facts]
    begun = kinds.index("epoch") if "epoch" in kinds else len(kinds)  # facts before an epoch is named
    first = facts[begun].number if begun < len(facts) else 1
    scored_first = first == 0 and any(kind in SPLITS.values() for kind in kinds[:begun])
    top1: dict[int, dict[str, float]] = {}
    losses: dict[int, list[float]] = {}
    steps: list[dict] = []
    epoch, base, last, fresh = first - 1, 0, -1, False

    def refuse(fact: Fact, what: str) -> InputError:
        return InputError(f"{path}, line {fact.line}: a log must be of one run, in order; got {what}")

    for fact in facts:
        if fact.kind == "epoch":
            if fact.number != epoch + 1:
                raise refuse(fact, f"the beginning of epoch {fact.number} after epoch {epoch}")
            epoch, fresh = fact.number, True
        elif fact.kind == "batch":
            if epoch < 0:
                raise refuse(fact, "a batch before the beginning of epoch 0")
            if fact.number <= last:
                if not fresh:
                    raise refuse(fact, f"batch {fact.number} after batch {last} of epoch {epoch}")
                base += last + (fact.number == 0)  # its numbers start again with each epoch, at 0 or above
            last, fresh = fact.number, False
            steps.append({"step": base + fact.number, "epoch": epoch, "loss": _finite(fact.value)})
            losses.setdefault(epoch, []).append(fact.value)
        else:
            scored = top1.setdefault(epoch + scored_first, {})
            if fact.kind in scored:
                raise refuse(fact, f"a second {fact.kind} accuracy of epoch {epoch + scored_first}")
            scored[fact.kind] = fact.value
    return [_row(epoch, top1.get(epoch, {}), losses.get(epoch, [])) for epoch in sorted({*top1, *losses})], steps


def _row(epoch: int, top1: dict[str, float], losses: list[float]) -> dict:
    loss = _finite(sum(losses) / len(losses)) if losses else None
    accuracies = {f"{split}_top1": top1.get(split) for split in (*SPLITS.values(), "unseen_test")}
    return {"epoch": epoch, "loss": loss} | accuracies | dict.fromkeys(UNTOLD)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
