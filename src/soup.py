"""Average the weights of several runs, as far as validation gains: python src/soup.py A B C; their mean is in soup/."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from counterpoint.arguments.pool import clusters
from counterpoint.arguments.triples import read_triples
from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json, replacing_directory
from counterpoint.core.params import Params, load_params
from counterpoint.evaluation.statistics import interval
from counterpoint.experiments.dvc_runs import WORKSPACE, fetch_folder, read_output
from counterpoint.lexical.fusion import Lexical
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.compute import choose
from counterpoint.model.files import load, save
from counterpoint.ranking.metrics import top_k
from counterpoint.reranking.reranker import Reranker
from counterpoint.training.average import Score, Weights, greedy, mean
from counterpoint.training.selection import Selection, Split, score_of

MODELS, TRIPLES = "models", Path("data/triples")
DIFFER = ("epoch", "average", "epochs")  # keys of model.json in which the runs may differ


def main() -> None:
    """Print each run's scores and those of the greedy soup; write the soup as a model to ask."""
    parser = argparse.ArgumentParser(
        prog="soup.py",
        description="Average the weights of runs that started from the same encoder, as far as validation gains.",
        epilog=f"A run is a Git revision, the name of a DVC experiment or '{WORKSPACE}'.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run")
    parser.add_argument("--out", type=Path, default=Path("soup"), metavar="DIR", help="where the mean goes (default: soup)")
    args = parser.parse_args()
    if len(set(args.runs)) < max(2, len(args.runs)):
        raise InputError(f"a soup must be of two or more different runs; got {', '.join(args.runs)}")
    params = load_params()
    model, about, weights = read(args.runs, params)
    measure = Measure(model, params)
    alone = [measure.ranks(one) for one in weights]
    scores = [score_of(ranks["validation"]) for ranks in alone]

    def score_of_mean(numbers: Sequence[int]) -> Score:
        return score_of(measure.ranks(mean([weights[i] for i in numbers]))["validation"])

    chosen = sorted(greedy(scores, score_of_mean))
    soup, best = mean([weights[i] for i in chosen]), max(range(len(scores)), key=lambda i: scores[i])
    for name, ranks in zip(args.runs, alone, strict=True):
        print(f"{name:<30} {measure.told(ranks)}")
    named = ", ".join(args.runs[i] for i in chosen)
    if len(chosen) == 1:
        print(f"no mean is as good as {named} alone: nothing is written")
        return
    print(f"{f'mean of {len(chosen)}':<30} {measure.told(measure.ranks(soup))}: {named}")
    print(f"the mean over {args.runs[best]}, test: {measure.gain(measure.ranks(soup), alone[best])}")
    model.load_state_dict(soup)
    with replacing_directory(args.out) as unfinished:
        save(unfinished / MODELS, model.cpu(), about | {"epoch": None, "average": [args.runs[i] for i in chosen]})
        Lexical().save(unfinished / "lexical")  # its weight is not chosen again, nor is a reranker trained
        Reranker(None, 0.0, params.rerank.depth).save(unfinished / "reranker")
    print(f'{args.out}/{MODELS}/point is a sentence-transformers directory; Retriever.load("{args.out}") asks it')


def read(runs: Sequence[str], params: Params) -> tuple[BiEncoder, dict, list[Weights]]:
    """Return a model of the runs' shape, the content of its model.json, and the weights of each run."""
    weights: list[Weights] = []
    compute = choose(params.train.device, params.train.precision)
    about: dict = {}
    for run in runs:
        with tempfile.TemporaryDirectory() as folder:
            read_output(run, MODELS, "model.json")  # its error says why the run is not there
            fetch_folder(run, MODELS, Path(folder, MODELS))
            settings = read_json(Path(folder, MODELS, "model.json"))
            model = load(Path(folder, MODELS), compute)
        about = about or settings
        if other := [key for key in about if key not in DIFFER and settings.get(key) != about[key]]:
            values = f"{runs[0]} has {about[other[0]]}, {run} {settings.get(other[0])}"
            raise InputError(f"the runs of a soup must have the same {other[0]}; {values}")
        weights.append({name: value.clone() for name, value in model.state_dict().items()})
    return model, about, weights


class Measure:
    """The ranks of weights on validation and test: (queries,) each, by the params `select`."""

    def __init__(self, model: BiEncoder, params: Params) -> None:
        triples, encoder = read_triples(TRIPLES), model.point.encoder
        names = ("validation", "test")
        self.model = model
        self.splits = {name: Split.of(triples.pairs[name], encoder, triples.documents_of(name)) for name in names}
        self.selection = Selection.of(self.splits, params.select)
        queries = self.selection.queries["test"]
        unseen = self.selection.unseen["test"]
        self.test = unseen if unseen.any() else np.ones_like(unseen)
        pairs = [triples.pairs["test"][i] for i in queries.pool.row[queries.point]]
        self.cluster = clusters(pairs)[self.test]

    def ranks(self, weights: Weights) -> dict[str, np.ndarray]:
        """Return the ranks of the best positives of the queries that choose, and of the unseen test queries."""
        self.model.load_state_dict(weights)
        queries = {"validation": self.selection.choosing, "test": self.selection.queries["test"]}
        vectors = {name: self.model.embed(split.texts) for name, split in self.splits.items()}
        ranks = {name: self.selection.ranks(self.model, queries[name], vectors[name]) for name in queries}
        return ranks | {"test": ranks["test"][self.test]}

    def told(self, ranks: dict[str, np.ndarray]) -> str:
        """Return both splits' top1 in words."""
        return ", ".join(f"{name} top1 {top_k(values, 1):.3f} of {len(values):,}" for name, values in ranks.items())

    def gain(self, ranks: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> str:
        """Return the difference in test top1, and its 95 % interval over clusters of queries."""
        differences = (ranks["test"] == 1).astype(float) - (other["test"] == 1)
        low, high = interval(differences, self.cluster)
        ends = "" if low is None else f", 95 % interval {low:+.3f} to {high:+.3f}"
        return f"{differences.mean():+.3f}{ends}"


if __name__ == "__main__":
    process.run(main)
