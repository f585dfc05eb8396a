"""What stands in reranker/: everything about ranking that is learnt after the retriever."""

import errno
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from counterpoint.core.files import read_json, write_text
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.reader import JointReader
from counterpoint.model.reader_files import load_reader
from counterpoint.model.states import states_of
from counterpoint.model.towers import Vectors
from counterpoint.ranking.correction import Hubs
from counterpoint.ranking.distance import Distance, euclidean
from counterpoint.ranking.queries import Queries
from counterpoint.ranking.second_step import ByReader, Logit, by_head

READER, BANK, ABOUT = "reader", "bank.safetensors", "reranker.json"


@dataclass(frozen=True)
class Reranker:
    """weight is the second step's beside distance, depth the length of the lists that it was chosen for.

    kind says what the second step is; None = there is none. hubs is None without a correction.
    """

    kind: str | None
    weight: float
    depth: int
    hubs: Hubs | None = None
    reader: JointReader | None = None

    def save(self, directory: Path) -> None:
        """Write reranker.json, and the bank where there is a correction; a reader is written apart."""
        about: dict = {"kind": self.kind, "weight": self.weight, "depth": self.depth, "correction": None}
        if self.hubs is not None:
            about["correction"] = {"kind": self.hubs.kind, "constant": self.hubs.constant}
            try:
                save_file({"bank": self.hubs.bank.cpu().contiguous()}, directory / BANK)
            except SafetensorError as error:  # no space left, say
                raise OSError(errno.EIO, str(error), str(directory / BANK)) from None
        write_text(directory / ABOUT, json.dumps(about, indent=2) + "\n")  # write_json would round a small weight to 0

    @classmethod
    def load(cls, directory: Path, model: BiEncoder) -> "Reranker":
        """Read what the stage rerank wrote, for the model it was made with."""
        about, compute = read_json(directory / ABOUT), model.compute
        hubs = None
        if about["correction"]:
            bank = load_file(directory / BANK, device=str(compute.device))["bank"]
            hubs = Hubs(about["correction"]["kind"], about["correction"]["constant"], bank)
        reader = load_reader(directory / READER, compute) if about["kind"] == "joint" else None
        return cls(about["kind"], about["weight"], about["depth"], hubs, reader)

    def distance(self, queries: Queries, points: Vectors, counters: Vectors, *, normalized: bool) -> Distance:
        """How far the answers are from the queries, corrected where there is a correction."""
        if self.hubs is None:
            return euclidean(queries, points, counters)
        return self.hubs.distance(queries, points, counters, normalized=normalized)

    def logits(
        self,
        model: BiEncoder,
        texts: Sequence[Sequence[str]],
        vectors: Sequence[tuple[Vectors, Vectors]],
        everything: Sequence[str],
        limit: float,
    ) -> list[Logit | None]:
        """What the second step says of pairs among each of some lists of texts, whose vectors are given; None where it says
        nothing, or nothing that counts. everything and limit are those of `states_of`."""
        if self.kind is None or not self.weight:
            return [None] * len(texts)
        if self.reader is None:
            return [by_head(model, *own) for own in vectors]
        encoder = self.reader.encoder
        read = states_of(encoder, self.reader.compute, [encoder.tokenize(own) for own in texts], everything, limit)
        return [ByReader(self.reader, own) for own in read]
