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

from counterpoint.arguments.triples import read_triples
from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.params import Params, load_params, parse_params
from counterpoint.core.sections import SPLITS
from counterpoint.corpus.source import decoded
from counterpoint.experiments.dvc_runs import WORKSPACE, fetch_folder, read, read_output
from counterpoint.use.arguments import ALL, Argument, of_corpus, read_arguments, write_run
from counterpoint.use.retriever import LEXICAL, MODELS, RERANKER, Hit, Retriever

TRIPLES, INDEX, PARAMS = "data/triples", Path(".index"), "params.yaml"


def main() -> None:
    """Print the best counters of each point, or write them to a file."""
    args = parse()
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)  # answers alone on standard output
    with run_at(args.run) as (folder, params):
        device, depth = params.train.device, params.evaluate.rerank_depth
        retriever = Retriever.load(folder, device=device, precision=params.train.precision, depth=depth)
        arguments = searched(args, folder)
        retriever.index(arguments, keep=INDEX)
    only = [argument.source == "counter" for argument in arguments] if args.counters_only else None
    if only is not None and not any(only):
        raise InputError("--counters-only needs arguments that are known to be counters; got none")
    answers = answered(retriever, points(args), args.top, only)
    if args.trec:
        write_run(args.trec, args.run, ((point.id, [hit.id for hit in hits]) for point, hits in answers))
    elif args.json:
        rows = [{"id": point.id, "point": point.text, "counters": list(map(asdict, hits))} for point, hits in answers]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        for point, hits in answers:
            print("\n".join(shown(point, hits)), flush=True)


def parse() -> argparse.Namespace:
    """Return the options; raise InputError where they contradict each other."""
    parser = argparse.ArgumentParser(prog="ask.py", description="Find the best counters to a point, by a trained model.")
    parser.add_argument("point", nargs="?", help="the point; without it and --points, each line of standard input is a point")
    what = "a table with a column point (and id), BEIR's queries.jsonl, or a .txt; - is standard input, a point a line"
    parser.add_argument("--points", type=Path, metavar="FILE", help=what)
    what = "search a table with a column text (and id), a .txt, BEIR's documents or a corpus instead"
    parser.add_argument("--arguments", type=Path, metavar="FILE", help=what)
    what = "the column of texts in --arguments (default: text) and in --points (default: point)"
    parser.add_argument("--column", help=what)
    what = "the split of the run's corpus to search (default: all)"
    parser.add_argument("--split", choices=(ALL, *SPLITS), default=ALL, help=what)
    parser.add_argument("--top", type=int, default=5, metavar="N", help="counters for each point (default: 5)")
    parser.add_argument("--counters-only", action="store_true", help="leave out points as candidates")
    parser.add_argument("--run", default=WORKSPACE, metavar="NAME", help="the model of an experiment or a revision, by DVC")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a list of points with their counters")
    form.add_argument("--trec", type=Path, metavar="FILE", help="write a run file for trec_eval, ranx or pytrec_eval")
    args = parser.parse_args()
    if args.point is not None and args.points:
        raise InputError("a point and --points must not be given together")
    if args.top < 1:
        raise InputError(f"--top must be at least 1; got {args.top}")
    if args.arguments and args.split != ALL:
        raise InputError("--split must be of the run's corpus; --arguments FILE searches that file")
    return args


@contextmanager
def run_at(name: str) -> Iterator[tuple[Path, Params]]:
    """Yield a folder with the outputs of a run, and its params."""
    if name == WORKSPACE:
        yield Path(), load_params()
        return
    read_output(name, MODELS, "model.json")  # its error says why the run is not there
    params = parse_params(read(name, PARAMS), f"{PARAMS} of {name}")
    with tempfile.TemporaryDirectory() as folder:
        for out in (MODELS, LEXICAL, RERANKER, TRIPLES):
            fetch_folder(name, out, Path(folder, out))
        yield Path(folder), params


def searched(args: argparse.Namespace, folder: Path) -> list[Argument]:
    """Return the arguments to search: those of a file, or of the run in a folder."""
    if args.arguments:
        return read_arguments(args.arguments, args.column or "text", "--arguments")
    if not (folder / TRIPLES).is_dir():
        raise InputError(f"{TRIPLES} is missing: dvc repro makes it; or search a file by --arguments")
    return of_corpus(read_triples(folder / TRIPLES), args.split)


def points(args: argparse.Namespace) -> Iterable[list[Argument]]:
    """Yield the points to ask, in lots to answer together."""
    if args.point is not None:
        yield [Argument("1", args.point)]
    elif args.points and str(args.points) != "-":
        yield read_arguments(args.points, args.column or "point", "--points")
    elif sys.stdin is None:
        raise InputError("standard input must be open where no point and no --points FILE is given; it is closed")
    else:
        yield from lines_of_stdin()


def lines_of_stdin() -> Iterator[list[Argument]]:
    """Yield the lines of standard input, by number, as they come."""
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            text = decoded(line, f"line {number} of standard input").strip()
        except InputError as error:
            raise InputError(str(error).removeprefix("corpus: ")) from None
        if text:
            yield [Argument(str(number), text)]


def answered(
    retriever: Retriever, lots: Iterable[list[Argument]], top: int, only: Sequence[bool] | None
) -> Iterator[tuple[Argument, list[Hit]]]:
    """Yield each point with its hits; log the points that are cut."""
    for lot in lots:
        texts = [point.text for point in lot]
        yield from zip(lot, retriever.answers(texts, top, only=only), strict=True)
        longer, max_length = retriever.longer(texts), retriever.model.point.encoder.max_length
        for number in longer[:3]:
            logging.info("point %s is cut: the model reads its first %d tokens", lot[number].id, max_length)
        if len(longer) > 3:
            logging.info("and %d more points", len(longer) - 3)


def shown(point: Argument, hits: Sequence[Hit]) -> Iterator[str]:
    """Yield the lines of a point and its hits."""
    yield " ".join(point.text.split())
    for place, hit in enumerate(hits, start=1):
        duplicates = f" = {', '.join(hit.duplicates)}" if hit.duplicates else ""
        logit = "" if hit.logit is None else f", logit {hit.logit:+.2f}"
        yield f"{place:>4}. {hit.distance:.4f}{logit}  [{hit.id}{duplicates}]"
        yield f"      {' '.join(hit.text.split())}"
    yield from ([] if hits else ["      no candidate is left"])
    yield ""


if __name__ == "__main__":
    process.run(main)
