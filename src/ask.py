"""Ask a trained model for counters: python src/ask.py "the point", or points by line, or --points FILE."""

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import dvc.api
from tqdm import tqdm

from counterpoint.arguments.triples import read_triples
from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.params import Params
from counterpoint.core.params_file import load_params, parse_params
from counterpoint.core.sections import SPLITS
from counterpoint.experiments.dvc_runs import WORKSPACE, read, read_output
from counterpoint.use.arguments import EVERY, Argument, of_corpus, read_arguments
from counterpoint.use.retriever import MODELS, RERANKER, Hit, Progress, Retriever
from counterpoint.use.trec import TrecRun

TRIPLES, INDEX, PARAMS = "data/triples", Path(".index"), "params.yaml"


def main() -> None:
    asked = parse()
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)  # answers alone on standard output
    with run_at(asked.run) as (folder, params):
        retriever = Retriever.load(
            folder, device=params.train.device, precision=params.train.precision, depth=params.evaluate.rerank_depth
        )
        arguments = searched(asked, folder)
        with progress() as told:
            retriever.index(arguments, keep=INDEX, tell=told)
    only = None
    if asked.counters_only:
        only = [each.source == "counter" for each in arguments]
        if not any(only):
            raise InputError("--counters-only needs arguments that are told to be counters; these are not")
    out = TrecRun(asked.trec, asked.run) if asked.trec else None
    answers = []
    for point, hits in answered(retriever, points(asked), asked.top, only):
        answers.append({"id": point.id, "point": point.text, "counters": [asdict(hit) for hit in hits]})
        if out:
            out.add(point.id, [hit.id for hit in hits])
        elif not asked.json:
            print("\n".join(shown(point, hits)), flush=True)
    if out:
        out.write()
    if asked.json:
        print(json.dumps(answers, indent=1, ensure_ascii=False))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ask.py", description="The best counters to a point, by a trained model.")
    parser.add_argument("point", nargs="?", help="the point; without it, and without --points, a line of standard input each")
    parser.add_argument("--points", type=Path, metavar="FILE", help="ask those of a table's column point (and id), or a .txt")
    parser.add_argument(
        "--arguments", type=Path, metavar="FILE", help="search a table's column text (and id), a .txt or a corpus instead"
    )
    parser.add_argument("--column", default="text", help="what --arguments calls its texts (default: text)")
    splits = (EVERY, *SPLITS)
    parser.add_argument("--split", choices=splits, default=EVERY, help="of the run's corpus that is searched (default: all)")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="counters of each point (default: 5)")
    parser.add_argument("--counters-only", action="store_true", help="leave out points, which may answer, too")
    parser.add_argument("--run", default=WORKSPACE, metavar="NAME", help="an experiment's or a revision's model, by DVC")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a list of points with their counters")
    form.add_argument("--trec", type=Path, metavar="FILE", help="write a run file for trec_eval, ranx or pytrec_eval")
    asked = parser.parse_args()
    if asked.point is not None and asked.points:
        raise InputError("a point and --points must not be given together")
    if asked.top < 1:
        raise InputError(f"--top must be at least 1; got {asked.top}")
    if asked.arguments and asked.split != EVERY:
        raise InputError("--split must be of the run's corpus; --arguments FILE searches that file")
    return asked


@contextmanager
def run_at(name: str) -> Iterator[tuple[Path, Params]]:
    """A folder with what a run has made, and its params."""
    if name == WORKSPACE:
        yield Path(), load_params()
        return
    read_output(name, MODELS, "model.json")  # says why it cannot be had
    params = parse_params(read(name, PARAMS), f"{PARAMS} of {name}")
    files = dvc.api.DVCFileSystem(rev=name)
    with tempfile.TemporaryDirectory() as folder:
        for out in (MODELS, RERANKER, TRIPLES):
            files.get(out, f"{folder}/{out}", recursive=True)
        yield Path(folder), params


def searched(asked: argparse.Namespace, folder: Path) -> list[Argument]:
    if asked.arguments:
        return read_arguments(asked.arguments, asked.column, "--arguments")
    if not (folder / TRIPLES).is_dir():
        raise InputError(f"{TRIPLES} is missing: dvc repro makes it; or search a file by --arguments")
    return of_corpus(read_triples(folder / TRIPLES), asked.split)


def points(asked: argparse.Namespace) -> Iterable[list[Argument]]:
    """What is asked, in lots that are answered together."""
    if asked.point is not None:
        yield [Argument("1", asked.point)]
    elif asked.points:
        yield read_arguments(asked.points, "point", "--points")
    else:
        for number, line in enumerate(sys.stdin, start=1):
            if line.strip():
                yield [Argument(str(number), line.strip())]


def answered(
    retriever: Retriever, lots: Iterable[list[Argument]], top: int, only: Sequence[bool] | None
) -> Iterator[tuple[Argument, list[Hit]]]:
    for lot in lots:
        texts = [point.text for point in lot]
        hits = retriever.answers(texts, top, only=only)
        yield from zip(lot, hits, strict=True)
        longer = retriever.longer(texts)
        most = retriever.model.point.encoder.max_length
        for number in longer[:3]:
            logging.info("point %s is longer than the model reads, %d tokens: its end was not read", lot[number].id, most)
        if len(longer) > 3:
            logging.info("and %d more points", len(longer) - 3)


@contextmanager
def progress() -> Iterator:
    """A bar at a terminal, a line every ten seconds elsewhere."""
    if not sys.stderr.isatty():
        yield Progress()
        return
    bar = tqdm(unit="text", leave=False, desc="embedding")

    def told(done: int, texts: int) -> None:
        bar.total, bar.n = texts, done
        bar.refresh()

    with bar:
        yield told


def shown(point: Argument, hits: Sequence[Hit]) -> Iterator[str]:
    yield f"{' '.join(point.text.split())}"
    for place, hit in enumerate(hits, start=1):
        duplicates = f" = {', '.join(hit.duplicates)}" if hit.duplicates else ""
        logit = "" if hit.logit is None else f", logit {hit.logit:+.2f}"
        yield f"{place:>4}. {hit.distance:.4f}{logit}  [{hit.id}{duplicates}]"
        yield f"      {' '.join(hit.text.split())}"
    if not hits:
        yield "      no argument is left that may answer"
    yield ""


if __name__ == "__main__":
    process.run(main)
