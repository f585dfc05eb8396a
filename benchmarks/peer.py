"""sentence-transformers on the same triples and texts: its trainer with TripletLoss, and its encode."""

import os
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from epoch import with_values
from texts import slices
from timing import interleaved, not_run
from utilisation import PRECISIONS, Bench

from counterpoint.core.params import Params, load_params
from counterpoint.model.compute import Compute, choose
from counterpoint.model.encoder import DROPOUTS
from counterpoint.model.files import locate
from counterpoint.training.selection import Split

ENCODE_BATCH = 32  # its default
AT_LEAST = {"triples/s": 1.3, "texts/s": 1.1}


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """Return two rows a precision, triples and texts a second: Counterpoint's rate over that of sentence-transformers."""
    # its loss has no head
    params = with_values(load_params(Path("params.yaml")), loss={"pair": {"weight": 0.0}}, rerank={"kind": None})
    what = f"sentence-transformers, {params.model.max_length} tokens, batches of {params.train.batch_size}"
    if corpus is None:
        return not_run(*(f"{name}, {what}, {precision}" for precision in PRECISIONS for name in AT_LEAST))
    texts = slices(corpus, 256 if full else 48)
    results: list[dict] = []
    for precision in PRECISIONS:
        compute = choose("auto", precision)
        units, seconds = measured(texts, params, compute)
        for name, least in AT_LEAST.items():
            theirs, ours = seconds[f"their {name}"], seconds[name]
            results.append(
                {
                    "what": f"{name}, {what}, {compute}",
                    "seconds": {"sentence-transformers": theirs, "ours": ours},
                    "per_second": {"sentence-transformers": units[name] / theirs, "ours": units[name] / ours},
                    "ratio": theirs / ours,
                    "at_least": least,
                }
            )
    return results


def measured(texts: dict, params: Params, compute: Compute) -> tuple[dict[str, int], dict[str, float]]:
    """Return the numbers of triples and of texts, and the seconds of both sides."""
    bench = Bench(texts, params, compute)
    distinct = list(bench.training.pool.texts)
    with tempfile.TemporaryDirectory() as folder:
        theirs = Peer(params, compute, bench.training, bench.negatives.ids[:, 0], Path(folder))
        training = {"triples/s": bench.train, "their triples/s": theirs.train}
        embedding = {
            "texts/s": lambda: bench.model.embed(bench.model.point.encoder.tokenize(distinct)),
            "their texts/s": lambda: theirs.encode(distinct),
        }
        seconds = interleaved(training) | interleaved(embedding, repeats=5)  # the second is short
        return {"triples/s": len(bench.negatives.ids), "texts/s": len(distinct)}, seconds


class Peer:
    """The same encoder, dropout, loss, optimizer and precision in sentence-transformers."""

    def __init__(self, params: Params, compute: Compute, split: Split, negative_ids: np.ndarray, folder: Path) -> None:
        from datasets import Dataset, disable_progress_bars
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.losses import TripletDistanceMetric, TripletLoss

        disable_progress_bars()
        rates = {names[0]: getattr(params.model, param) for param, names in DROPOUTS.items()}
        directory = str(locate(params.model.encoder))
        self.model = SentenceTransformer(directory, device=str(compute.device), config_kwargs=rates)
        self.model.max_seq_length = params.model.max_length
        self.loss = TripletLoss(self.model, TripletDistanceMetric.EUCLIDEAN, params.loss.triplet.margin)
        pool = split.pool
        columns = {"anchor": pool.queries, "positive": pool.counter_of[pool.queries], "negative": negative_ids}
        triples = {name: [pool.texts[pool.text[i]] for i in ids] for name, ids in columns.items()}
        self.triples = Dataset.from_dict(triples)
        self.params, self.compute, self.folder = params, compute, folder

    def train(self) -> None:
        """Train for one epoch; nothing is saved or logged."""
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

        args = SentenceTransformerTrainingArguments(
            output_dir=str(self.folder),
            num_train_epochs=1,
            per_device_train_batch_size=self.params.train.batch_size,
            learning_rate=self.params.train.learning_rate,
            weight_decay=self.params.train.weight_decay,
            lr_scheduler_type="constant",
            max_grad_norm=0,
            bf16=self.compute.bf16,
            use_cpu=self.compute.device.type == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=self.compute.device.type == "cuda",
        )
        trainer = SentenceTransformerTrainer(model=self.model, args=args, train_dataset=self.triples, loss=self.loss)
        with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
            trainer.train()

    def encode(self, texts: list[str]) -> None:
        """Encode texts."""
        with self.compute.autocast():
            self.model.encode(texts, batch_size=ENCODE_BATCH, show_progress_bar=False)
