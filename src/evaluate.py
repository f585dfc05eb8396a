"""Stage evaluate: two-stage ranking of validation and test into Top-K metrics."""

from counterpoint import stage

if __name__ == "__main__":
    stage.die_with_parent()  # before the slow imports: what a killed dvc leaves behind must write nothing

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from counterpoint.candidates import SETTINGS
from counterpoint.compute import choose
from counterpoint.metrics import summary, top_k
from counterpoint.model import load
from counterpoint.params import load_params
from counterpoint.pool import Pool
from counterpoint.ranking import Ranking, rank
from counterpoint.records import read_pairs, write_json, write_series, write_text

TRIPLES, MODELS, METRICS = Path("data/triples"), Path("models"), Path("metrics")
RANKS, TOPK = Path("data/ranks"), Path("plots/series/topk.json")
STAGES = ("retrieved", "reranked")
HEADLINE = ("top1", "top5", "top10", "mrr")
CURVE = 20  # the Top-K curve is drawn for k = 1..CURVE


def main() -> None:
    params = load_params()
    compute = choose(params.train.device, params.train.precision)
    model, head = load(MODELS)
    model.to(compute.device), head and head.to(compute.device)
    rows, rankings = [], {}
    for split in ("validation", "test"):
        pairs = read_pairs(TRIPLES / f"{split}.jsonl")
        pool = Pool.of(pairs)
        unseen = np.array([pair.seen == "none" for pair in pairs])
        vectors = model.embed(model.point.encoder.tokenize(pool.texts), compute)
        for name, setting in SETTINGS.items():
            rankings[split, name] = ranking = rank(pool, *vectors, setting, head, params.evaluate.rerank_depth)
            rows += [row(split, name, ranking, queries, mask) for queries, mask in (("all", unseen | True), ("unseen", unseen))]
    rows = [result for both in rows for result in both]
    for result in rows:
        if result["split"] == "test" and result["queries"] == "all":
            logging.info("test %(setting)s %(stage)s: top1 %(top1).3f, top10 %(top10).3f, mrr %(mrr).3f, n %(n)d", result)

    headline = {name: {stage: {} for stage in STAGES} for name in SETTINGS}
    for result in rows:
        if result["split"] == "test" and result["queries"] == "all":
            headline[result["setting"]][result["stage"]] = {measure: result[measure] for measure in HEADLINE}
    table = pd.concat([ranks_table(name, rankings["test", name], pairs, pool) for name in SETTINGS])
    write_text(RANKS / "test.csv", table.to_csv(index=False, lineterminator="\n"))
    epa = rankings["test", "epa"]
    write_series(
        TOPK, "topk", [{"k": k} | {stage: top_k(getattr(epa, stage), k) for stage in STAGES} for k in range(1, CURVE + 1)]
    )
    write_json(METRICS / "settings.json", {"settings": rows})
    write_json(METRICS / "test.json", {name: headline[name] for name in ("epa", "epc")})


def row(split: str, name: str, ranking: Ranking, queries: str, mask: np.ndarray) -> list[dict]:
    """The retrieved and the reranked row of metrics/settings.json for the queries under the mask."""
    of = {"split": split, "setting": name, "queries": queries}
    candidates = ranking.candidates[mask]
    size = {
        "n": int(mask.sum()),
        "pairs": int(candidates.sum()),
        "candidates_mean": float(candidates.mean()) if mask.any() else None,
    }
    return [of | {"stage": stage} | size | summary(getattr(ranking, stage)[mask]) for stage in STAGES]


def ranks_table(name: str, ranking: Ranking, pairs: list, pool: Pool) -> pd.DataFrame:
    """A row a query: who asked, among how many, the ranks of the true counter, and what came out on top instead or not."""
    asked = [pairs[i] for i in pool.row[ranking.queries]]
    return pd.DataFrame(
        {
            "setting": name,
            "id": [pair.id for pair in asked],
            "theme": [pair.theme for pair in asked],
            "debate": [pair.debate for pair in asked],
            "seen": [pair.seen for pair in asked],
            "candidates": ranking.candidates,
            "retrieved": ranking.retrieved,
            "reranked": ranking.reranked,
            "best_source": np.array(["point", "counter"])[pool.source[ranking.best]],
            "best_id": [pairs[i].id for i in pool.row[ranking.best]],
        }
    )


if __name__ == "__main__":
    stage.run(main)
