"""The sections of params.yaml: kind and meaning of every key, once."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from counterpoint.core.values import (
    AboveZero,
    AtLeastOne,
    Average,
    Column,
    Count,
    DropoutRate,
    FromZero,
    Frozen,
    Maybe,
    PositiveShare,
    Prompt,
    Seed,
    Share,
    Text,
    Tokens,
    Weight,
    Window,
)

SPLITS = ("training", "validation", "test")

# The names of each choice. The tables that give them meaning stand in rooms that stages open one by one; params, which every
# stage opens, must not import them all. A test holds names and tables together.
Search = Literal["auto", "exact", "balltree", "faiss"]
Pooling = Literal["cls", "mean", "pooler"]
Fusion = Literal["embedding", "cls", "concat"]
Shape = Literal["linear", "exponential", "cosine"]
Sharing = Literal["shared", "projection", "separate"]
Batching = Literal["length", "shuffled", "neighbours", "topic"]
Directions = Literal["point", "both"]
Precision = Literal["auto", "fp32", "bf16"]
SettingName = Literal["sdoc", "sdc", "sdoa", "sda", "stc", "sta", "epc", "epa"]
Relevance = Literal["text", "row"]
RerankKind = Literal["head", "joint"]


def key(meaning: str, **added: Any) -> Any:
    """Return a key that params.yaml must hold, with the sentence that explains it.

    A key that comes after stored studies names as `added` the value under which their results stay the same.
    """
    return Field(description=meaning, json_schema_extra=added or None)


class Section(BaseModel):
    """Keys that belong together; none may be missing, none may be added, none changes once it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitShares(Section):
    training: PositiveShare = key("share of the pairs to train on, for a corpus without splits")
    validation: PositiveShare = key("share that chooses the epoch")
    test: PositiveShare = key("share to measure on")

    @model_validator(mode="after")
    def _add_up(self) -> "SplitShares":
        total = self.training + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"training, validation and test must add up to 1; got {total:g}")
        return self


class ColumnsParams(Section):
    point: Column = key("a table's column of points")
    counter: Column = key("a table's column of counters")
    label: Maybe[Column] = key("a table's column of grades, numbers; none = label or relevance, where there is one", added=None)

    @model_validator(mode="after")
    def _differ(self) -> "ColumnsParams":
        if len({self.point, self.counter, self.label}) < 3:
            raise ValueError(f"point, counter and label must differ; got {self.point!r}, {self.counter!r}, {self.label!r}")
        return self


class PrepareParams(Section):
    seed: Seed = key("of the initial negatives, the random ones of epoch 0")
    split: SplitShares
    columns: ColumnsParams
    min_grade: FromZero = key("grade, above 0, from which an answer is right; those below are wrong answers", added=1.0)


NO_NEGATIVES = "data/no_negatives.jsonl"  # committed, empty


class NegativesParams(Section):
    search: Search = key(
        "nearest neighbours by matrix product, ball tree or FAISS, which above 200,000 arguments has .99 of them; `auto` = "
        "exact up to so many, FAISS above"
    )
    per_point: AtLeastOne = key("negatives of each point")
    window: Window = key(
        "ranks of a point's eligible negatives, nearest first, from which a mined one is drawn; `[1, 1]` = the nearest; "
        "extended to later ranks where it holds too few"
    )
    margin: Maybe[Share] = key(
        "a mined negative's similarity to the point is at most s − margin · |s|, s being the positive's; a random negative "
        "stands in where the window has none; none = off, 0.05 = NV-Retriever's 95 %"
    )
    file: Text = key("another miner's negatives; first for random ones, then in the window", added=NO_NEGATIVES)
    share: PositiveShare = key(
        "share of the points that are mined for anew in an epoch, by turns; the others keep what was mined for them, and are "
        "random before",
        added=1.0,
    )
    given: Share = key("share of mined draws taken from wrong answers that people gave to the point, if any", added=0.5)


class PromptsParams(Section):
    point: Maybe[Prompt] = key("text before each point, such as `query: `")
    counter: Maybe[Prompt] = key("text before each candidate")

    @property
    def both(self) -> tuple[str | None, str | None]:
        """Return the prompts of points and of counters."""
        return self.point, self.counter


class ModelParams(Section):
    encoder: Text = key("`all-MiniLM-L6-v2`, offline from a wheel; a local directory; a hub id with an optional @revision")
    pooling: Pooling = key("vector of a text: first token, mean of all tokens, or BERT's pooler")
    projection: Maybe[AtLeastOne] = key("width of the embedding; none = the pooled vector itself")
    normalize: StrictBool = key("embeddings of unit length")
    fusion: Fusion = key("input of the pair head: embeddings, pooled vectors (`cls`), or both")
    sharing: Sharing = key(
        "one encoder; one with a projection for points and one for counters, which start as the identity where widths allow; "
        "or two encoders"
    )
    freeze: Maybe[Frozen] = key(
        "layers that do not learn: the embeddings and so many lower layers, or all; their hidden states are computed once a "
        "text and cached in `.cache/states/`"
    )
    dropout: Maybe[DropoutRate] = key("of hidden states in training; none = as the encoder's config says")
    attention_dropout: Maybe[DropoutRate] = key("of attention weights in training; above 0 it costs time on a CPU")
    max_length: Tokens = key("tokens that are read of a text")
    prompts: PromptsParams


class TripletParams(Section):
    weight: FromZero = key("of the triplet loss; 0 = off")
    margin: FromZero = key("by which a positive must be nearer than a negative, in Euclidean distance")


class PairParams(Section):
    weight: FromZero = key("of the pair head's loss, cross-entropy of right and wrong pairs; 0 = no pair head")


class ContrastiveParams(Section):
    weight: FromZero = key("of the in-batch contrastive loss; 0 = off")
    temperature: AboveZero = key("divides similarities: the lower, the more the nearest negatives count")
    directions: Directions = key(
        "`point` = points choose among answers; `both` = counters choose among the batch's points, too", added="point"
    )


class LossParams(Section):
    triplet: TripletParams
    contrastive: ContrastiveParams
    pair: PairParams


class TrainParams(Section):
    epochs: Count = key("0 = the untrained model")
    patience: Maybe[AtLeastOne] = key("epochs without a better selection score after which training ends; none = never")
    batch_size: AtLeastOne = key("pairs a step")
    batching: Batching = key(
        "pairs that share a batch: of like length, duplicates together; any; each with the pairs that its negatives are from, "
        "so that fewer texts pass the encoder; or those of a debate (where not all pairs name one: of a k-means cluster of the "
        "points' embeddings, anew each epoch), so that the others' counters are hard negatives"
    )
    gradient_cache: StrictBool = key(
        "gradient caching: recompute each micro-batch for its gradients, so any batch fits in memory"
    )
    learning_rate: AboveZero = key("of the encoder")
    head_learning_rate: Maybe[AboveZero] = key("of the new layers, projection and pair head; none = the same")
    warmup: Share = key("share of all steps over which learning rates rise")
    cooldown: Share = key("share of all steps, the last ones, over which learning rates fall to 0 in a line", added=0.0)
    weight_decay: FromZero = key("of AdamW")
    precision: Precision = key("`auto` = bf16 on a GPU or a CPU that computes in it")
    device: Text = key("`auto`, `cpu`, `cuda`, `cuda:1`, …")


class RerankParams(Section):
    kind: Maybe[RerankKind] = key(
        "reranker: the pair head that was trained with the retriever; a cross-encoder, trained after it (`joint`); or none"
    )
    depth: AtLeastOne = key("first candidates that are reranked, in training lists and where the weight is chosen")
    negatives: AtLeastOne = key(
        "negatives of each training list, drawn anew each epoch: from the point's first `rerank.depth`, or at random"
    )
    decay: Maybe[FromZero] = key(
        "fall of the lists' random rate an epoch, linear from `random_rate`, list by list; none = no fall"
    )
    freeze: AtLeastOne = key("lower layers of the untrained encoder that read each text alone, once")
    epochs: AtLeastOne = key("over all training points")
    batch_size: AtLeastOne = key("lists a step")
    learning_rate: AboveZero = key(
        "of the encoder's upper layers; rises with `train.warmup`, falls to 0 over the last 0.3 of the steps"
    )
    head_learning_rate: Maybe[AboveZero] = key("of the new layers; none = the same")


class SelectParams(Section):
    setting: SettingName = key("setting in which validation queries choose the epoch")
    queries: Literal["auto", "all", "unseen"] = key("which validation queries; `auto` = unseen where there are at least 50")
    sample: Maybe[AtLeastOne] = key(
        "queries of each split that are ranked each epoch, and that choose: of more, the same sample in all runs; none = all",
        added=None,
    )
    average: Maybe[Average] = key(
        "weights that models/ holds: none = those of the best epoch; a number = the mean of so many last epochs, of all where "
        "there are fewer; `greedy` = the mean of those of the ten best epochs that make it no worse, one after the other",
        added=None,
    )


class RetrieveParams(Section):
    lexical: Maybe[Weight] = key(
        "weight of BM25's score, divided by the query's highest, beside similarity; `auto` = chosen on the queries of "
        "`select`; none = vectors alone",
        added=None,
    )


class EvaluateParams(Section):
    rerank_depth: Maybe[AtLeastOne] = key("candidates that are reranked; none = `rerank.depth`")
    answers: Relevance = key(
        "relevance mode: `text` = a query a distinct point, the texts of all its counters are positives; `row` = a query a "
        "pair, its counter is the positive, as published"
    )
    sample: Maybe[AtLeastOne] = key(
        "queries of each split that are ranked in the end: of more, the same sample in all runs; none = all", added=None
    )
    beir: StrictBool = key("also BEIR's protocol: test points search the distinct arguments of all splits")


class FetchParams(Section):
    url: Maybe[Text] = key("address of the corpus zip, https: or file:")
    sha256: Maybe[Text] = key("of the corpus zip; none = not checked")
