"""sentence-transformers on the same triples and texts: its trainer with TripletLoss, and its encode."""

import os
import tempfile
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import torch
from texts import slices, tokenized
from timing import interleaved
from utilisation import mined

from counterpoint.compute import Compute, choose
from counterpoint.encoder import ATTENTION_DROPOUTS, HIDDEN_DROPOUTS, locate
from counterpoint.learning import learn, learners
from counterpoint.model import build
from counterpoint.params import Params, load_params
from counterpoint.run import Run, Split
from counterpoint.seeds import seed_torch

ENCODE_BATCH = 32  # its default


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """Two rows a precision: triples and texts a second, ours over theirs."""
    params = load_params(Path("params.yaml"))
    params = replace(params, loss=replace(params.loss, pair=replace(params.loss.pair, weight=0.0)))  # its loss has no head
    what = f"{params.model.max_length} tokens, batches of {params.train.batch_size}"
    if corpus is None:
        names = ("triples/s", "texts/s")
        return [
            {"what": f"sentence-transformers, {name}, {what}, {p}", "not_run": "needs --corpus"}
            for p in ("fp32", "bf16")
            for name in names
        ]
    found = []
    for precision in ("fp32", "bf16"):
        compute = choose("auto", precision)
        seed_torch(params.seed, 0, "weights")
        model, _ = build(params.model, locate(params.model.encoder), with_head=False)
        compute.place(model)
        split = tokenized(slices(corpus, 256 if full else 64), model.point.encoder)["training"]
        negatives = mined(model, split, params, compute)
        both = torch.nn.ModuleList([model])
        optimizer, schedule = learners(both, split.pool, params)
        run = Run(draws=[negatives])
        texts = list(split.pool.texts)
        with tempfile.TemporaryDirectory() as folder:
            theirs = Peer(params, compute, split, negatives.ids[:, 0], Path(folder))
            seconds = interleaved(
                {
                    "train": lambda: learn(0, both, optimizer, schedule, split, run, params, compute, lambda *_: None),
                    "their train": theirs.train,
                    "embed": lambda: model.embed(model.point.encoder.tokenize(texts), compute),
                    "their embed": lambda: theirs.encode(texts),
                }
            )
        for part, name, unit, least in (("train", "triples/s", len(negatives.ids), 1.3), ("embed", "texts/s", len(texts), 1.1)):
            found.append(
                {
                    "what": f"sentence-transformers, {name}, {what}, {compute}",
                    "seconds": {"sentence-transformers": seconds[f"their {part}"], "ours": seconds[part]},
                    "per_second": {"sentence-transformers": unit / seconds[f"their {part}"], "ours": unit / seconds[part]},
                    "ratio": seconds[f"their {part}"] / seconds[part],
                    "at_least": least,
                }
            )
    return found


class Peer:
    """The same encoder, dropout, loss, optimizer and precision in sentence-transformers' hands."""

    def __init__(self, params: Params, compute: Compute, split: Split, negative_ids, folder: Path) -> None:
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
