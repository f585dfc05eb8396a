"""sentence-transformers on the same triples and texts: its trainer with TripletLoss, and its encode."""

import os
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from texts import slices
from timing import interleaved
from utilisation import PRECISIONS, mined

from counterpoint.core.params import Params
from counterpoint.core.params_file import load_params
from counterpoint.core.seeds import seed_torch
from counterpoint.model.bi_encoder import build
from counterpoint.model.compute import Compute, choose
from counterpoint.model.encoder import ATTENTION_DROPOUTS, HIDDEN_DROPOUTS
from counterpoint.model.locate import locate
from counterpoint.training.epoch import Learner
from counterpoint.training.split import Split

ENCODE_BATCH = 32  # its default
AT_LEAST = {"triples/s": 1.3, "texts/s": 1.1}


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """Two rows a precision: triples and texts a second, ours over theirs."""
    params = load_params(Path("params.yaml"))
    without_head = params.loss.model_copy(update={"pair": params.loss.pair.model_copy(update={"weight": 0.0})})
    params = params.model_copy(update={"loss": without_head})  # its loss has none
    what = f"{params.model.max_length} tokens, batches of {params.train.batch_size}"
    found: list[dict] = []
    for precision in PRECISIONS:
        if corpus is None:
            names = [f"{name}, sentence-transformers, {what}, {precision}" for name in AT_LEAST]
            found += [{"what": name, "not_run": "needs --corpus"} for name in names]
            continue
        compute = choose("auto", precision)
        units, seconds = measured(slices(corpus, 256 if full else 48), params, compute)
        for name, least in AT_LEAST.items():
            theirs, ours = seconds[f"their {name}"], seconds[name]
            found.append(
                {
                    "what": f"{name}, sentence-transformers, {what}, {compute}",
                    "seconds": {"sentence-transformers": theirs, "ours": ours},
                    "per_second": {"sentence-transformers": units[name] / theirs, "ours": units[name] / ours},
                    "ratio": theirs / ours,
                    "at_least": least,
                }
            )
    return found


def measured(texts: dict, params: Params, compute: Compute) -> tuple[dict[str, int], dict[str, float]]:
    """How many triples and texts, and the seconds of both sides."""
    seed_torch(params.seed, 0, "weights")
    model = build(params.model, locate(params.model.encoder), compute, with_head=False)
    split = Split.of(texts["training"], model.point.encoder)
    negatives, learner = mined(model, split, params), Learner(model, split, params)
    distinct = list(split.pool.texts)
    with tempfile.TemporaryDirectory() as folder:
        theirs = Peer(params, compute, split, negatives.ids[:, 0], Path(folder))
        training = {
            "triples/s": lambda: learner.learn(0, negatives, lambda row: None),
            "their triples/s": theirs.train,
        }
        embedding = {
            "texts/s": lambda: model.embed(model.point.encoder.tokenize(distinct)),
            "their texts/s": lambda: theirs.encode(distinct),
        }
        seconds = interleaved(training) | interleaved(embedding, repeats=5)  # the second is short
        return {"triples/s": len(negatives.ids), "texts/s": len(distinct)}, seconds


class Peer:
    """The same encoder, dropout, loss, optimizer and precision in sentence-transformers' hands."""

    def __init__(self, params: Params, compute: Compute, split: Split, negative_ids: np.ndarray, folder: Path) -> None:
        from datasets import Dataset, disable_progress_bars
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.losses import TripletDistanceMetric, TripletLoss

        disable_progress_bars()
        rates = {HIDDEN_DROPOUTS[0]: params.model.dropout, ATTENTION_DROPOUTS[0]: params.model.attention_dropout}
        directory = str(locate(params.model.encoder))
        self.model = SentenceTransformer(directory, device=str(compute.device), config_kwargs=rates)
        self.model.max_seq_length = params.model.max_length
        self.loss = TripletLoss(self.model, TripletDistanceMetric.EUCLIDEAN, params.loss.triplet.margin)
        pool = split.pool
        ids = {"anchor": pool.queries, "positive": pool.counter_of[pool.queries], "negative": negative_ids}
        self.triples = Dataset.from_dict({name: [pool.texts[pool.text[i]] for i in of] for name, of in ids.items()})
        self.params, self.compute, self.folder = params, compute, folder

    def train(self) -> None:
        """One epoch, nothing saved or logged."""
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

        arguments = SentenceTransformerTrainingArguments(
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
        trainer = SentenceTransformerTrainer(model=self.model, args=arguments, train_dataset=self.triples, loss=self.loss)
        with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
            trainer.train()

    def encode(self, texts: list[str]) -> None:
        with self.compute.autocast():
            self.model.encode(texts, batch_size=ENCODE_BATCH, show_progress_bar=False)


if __name__ == "__main__":
    import sys

    for row in rows(Path(sys.argv[1]), full=False):
        print(row)
