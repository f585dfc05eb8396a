"""The published model measured by mteb's own code: python benchmarks/mteb_check.py, after a run with evaluate.beir: true.

Test points search the distinct texts of all splits, without their own text, as in the setting `beir`. The script prints nDCG@10
of both. It needs mteb 2 (pip install mteb==2.26.24), which is no requirement of Counterpoint, and no network.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

import mteb
import numpy as np
import torch
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models.model_meta import ModelMeta
from mteb.types import PromptType
from sentence_transformers import SentenceTransformer

from counterpoint.arguments.pool import Pool
from counterpoint.arguments.triples import read_triples
from counterpoint.core.files import read_series
from counterpoint.ranking.queries import by_text

PUBLISHED = Path("published")


class Beir(AbsTaskRetrieval):
    """The setting `beir` as a task of mteb."""

    ignore_identical_ids = True  # a query has its own text's id
    metadata = TaskMetadata(
        name="CounterpointBeir",
        description="Test points among the distinct texts of all splits.",
        dataset={"path": "local/counterpoint", "revision": "1"},
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
        reference=None,
        date=("2000-01-01", "2026-01-01"),
        domains=[],
        task_subtypes=[],
        license=None,
        annotations_creators=None,
        dialect=[],
        sample_creation=None,
        bibtex_citation="",
    )

    def load_data(self, *_: Any, **__: Any) -> None:
        """Set the texts, the queries and their positives, each named by its answer's number."""
        triples = read_triples(Path("data/triples"))
        others = [*triples.pairs["training"], *triples.pairs["validation"]]
        pool = Pool.of([*others, *triples.pairs["test"], *triples.unpaired], triples.documents or ())
        queries = by_text(pool, len(others) + np.arange(len(triples.pairs["test"])))
        names = [str(number) for number in queries.item[queries.point]]
        texts = [{"id": str(number), "text": pool.texts[i], "title": ""} for number, i in enumerate(pool.text[queries.first])]
        points = [{"id": name, "text": pool.texts[i]} for name, i in zip(names, pool.text[queries.point], strict=True)]
        positives = [{str(number): 1 for number in row} for row in queries.right.tolist()]
        self.dataset = {
            "default": {
                "test": {
                    "corpus": Dataset.from_list(texts),
                    "queries": Dataset.from_list(points),
                    "relevant_docs": dict(zip(names, positives, strict=True)),
                    "top_ranked": None,
                }
            }
        }
        self.data_loaded = True


class Towers:
    """Both sides of the published model, behind the interface of an mteb encoder."""

    def __init__(self) -> None:
        sides = [name if (PUBLISHED / name).exists() else "point" for name in ("point", "counter")]
        self.sides = [SentenceTransformer(str(PUBLISHED / name), device="cpu") for name in sides]
        self.mteb_model_meta = ModelMeta.create_empty({"name": "local/counterpoint", "revision": "1"})

    def encode(self, inputs: Any, *, prompt_type: PromptType | None = None, **_: Any) -> Any:
        """Return the vectors of batches of texts, as queries or as documents."""
        number = int(prompt_type == PromptType.document)
        texts = [text for batch in inputs for text in batch["text"]]
        return self.sides[number].encode(texts, prompt_name=("query", "document")[number], show_progress_bar=False)

    def similarity(self, a: Any, b: Any) -> Any:
        """Return minus the Euclidean distance of every a from every b."""
        return -torch.cdist(torch.as_tensor(a), torch.as_tensor(b))

    similarity_pairwise = similarity


def main() -> None:
    """Print nDCG@10 by Counterpoint and by mteb."""
    wanted = {"split": "test", "setting": "beir", "queries": "all", "stage": "retrieved"}
    rows = [row for row in read_series(Path("metrics/settings.json")) if wanted.items() <= row.items()]
    if not rows:
        sys.exit("error: metrics/settings.json must have the setting beir; got none: dvc exp run -S evaluate.beir=true")
    result = mteb.evaluate(Towers(), Beir(), cache=None, show_progress_bar=False)
    (scores,) = result.task_results[0].scores["test"]
    print(f"nDCG@10: Counterpoint {rows[0]['ndcg10']:.6f}, mteb {scores['ndcg_at_10']:.6f}; {rows[0]['n']} queries")


if __name__ == "__main__":
    main()
