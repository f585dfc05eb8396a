"""The sections of params.yaml: type, range and meaning of every key, once; messages, schema and docs come from here."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from counterpoint.core.values import (
    AboveZero,
    AtLeastOne,
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
    Window,
)

SPLITS = ("training", "validation", "test")

# The names of each choice. The tables that give them meaning are keyed by them, and a test holds the two together: tables
# stand in rooms that stages open one by one, and params, which every stage opens, must not pull them all in.
Search = Literal["exact", "balltree", "faiss"]
Pooling = Literal["cls", "mean", "pooler"]
Fusion = Literal["embedding", "cls", "concat"]
Course = Literal["linear", "exponential", "cosine"]
Sharing = Literal["shared", "projection", "separate"]
Batching = Literal["length", "shuffled", "neighbours"]
Precision = Literal["auto", "fp32", "bf16"]
SettingName = Literal["sdoc", "sdc", "sdoa", "sda", "stc", "sta", "epc", "epa"]
Step = Literal["retrieved", "reranked"]
Answers = Literal["text", "row"]
PairForm = Literal["pairwise", "listwise"]
Correction = Literal["csls", "inverted_softmax"]


def key(meaning: str) -> Any:
    """A key that params.yaml must hold, with the sentence that explains it."""
    return Field(description=meaning)


class Section(BaseModel):
    """Keys that belong together; none may be missing, none may be added, none changes once it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitShares(Section):
    training: PositiveShare = key("share of the pairs that are trained on, for a corpus that names no splits")
    validation: PositiveShare = key("share that chooses the epoch, the same")
    test: PositiveShare = key("share that is measured on, the same")

    @model_validator(mode="after")
    def _add_up(self) -> "SplitShares":
        total = self.training + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"training, validation and test must add up to 1; got {total:g}")
        return self


class ColumnsParams(Section):
    point: Text = key("what a table calls the point, where it calls it otherwise")
    counter: Text = key("what it calls the counter")

    @model_validator(mode="after")
    def _differ(self) -> "ColumnsParams":
        if self.point == self.counter:
            raise ValueError(f"point and counter must be two columns; got {self.point!r} for both")
        return self


class PrepareParams(Section):
    seed: Seed = key("of the triples on disk: the random negatives that epoch 0 trains on")
    split: SplitShares
    columns: ColumnsParams


class NegativesParams(Section):
    search: Search = key(
        "nearest neighbours by chunked matrix product, scikit-learn's ball tree or Faiss (`requirements-faiss.txt`): the same "
        "ones; Faiss above 200,000 arguments at least .99 of them"
    )
    per_point: AtLeastOne = key("negatives drawn for each point")
    every: Count = key("draw anew each n epochs; 0 = keep the first draw")
    window: Window = key(
        "a mined negative is drawn uniformly from these ranks of a point's wrong answers, nearest first; `[1, 1]` = the "
        "nearest; it is extended to later ranks where more are asked for than it holds"
    )
    margin: Maybe[Share] = key(
        "a mined negative's similarity to the point must be at most s − margin · |s|, s being that of the right answer; what "
        "no wrong answer of the window fills is drawn at random; none = off, 0.05 = NV-Retriever's 95 %; what `keep` lets stay "
        "is not looked at again"
    )
    keep: Share = key("share of the last draw's negatives that stay; the rest is drawn anew, at the random rate")


class PromptsParams(Section):
    point: Maybe[Prompt] = key("what stands before a text that is a point, `query: `, say; none = nothing")
    counter: Maybe[Prompt] = key("the same before a counter, or whatever else may answer")

    @property
    def both(self) -> tuple[str | None, str | None]:
        return self.point, self.counter


class ModelParams(Section):
    encoder: Text = key("`all-MiniLM-L6-v2`, offline from a wheel; a local directory; a hub id with an optional @revision")
    pooling: Pooling = key("what of the encoder's output stands for a text: first token, mean of all, or BERT's own pooler")
    projection: Maybe[AtLeastOne] = key("width of the embedding; none = the pooled vector itself")
    normalize: StrictBool = key("embeddings of unit length")
    fusion: Fusion = key("what the pair head sees: embeddings, pooled vectors (`cls`), or both")
    head_norm: StrictBool = key("LayerNorm and ReLU on what the pair head sees")
    sharing: Sharing = key(
        "one encoder for points and counters; one with a projection for each, which starts as the identity where widths allow; "
        "or two"
    )
    freeze: Maybe[Frozen] = key(
        "what of the encoder does not learn: its embeddings and so many lower layers, or all of it; what that makes of each "
        "text is computed once and kept in `.cache/states/`"
    )
    dropout: Maybe[DropoutRate] = key("of hidden states in the encoder while it trains; none = as its config says")
    attention_dropout: Maybe[DropoutRate] = key("of attention weights, the same; above 0 it costs time on a CPU")
    max_length: Tokens = key("tokens of a text that are read")
    prompts: PromptsParams


class TripletParams(Section):
    weight: FromZero = key("of the triplet loss; 0 = off")
    margin: FromZero = key("by how much a counter must be nearer than a negative, in Euclidean distance")


class PairParams(Section):
    weight: FromZero = key("of the pair head's loss; 0 = no head")
    form: PairForm = key(
        "cross-entropy of right and wrong pairs one by one, or of the right answer among it and the point's negatives, which "
        "`negatives.window` takes from the retriever's current top"
    )


class ContrastiveParams(Section):
    weight: FromZero = key("of the in-batch contrastive loss; 0 = off")
    temperature: AboveZero = key("what similarities are divided by: the lower, the more the nearest wrong answers count")


class DistillParams(Section):
    weight: FromZero = key("of the distance between the retriever's distribution and a teacher's; 0 = no teacher")
    temperature: AboveZero = key("what the retriever's similarities are divided by")
    teacher: Text = key(
        "a directory with `models/` and `reranker/` of a finished run, whose second step scores each point's right answer and "
        "negatives"
    )


class LossParams(Section):
    triplet: TripletParams
    contrastive: ContrastiveParams
    pair: PairParams
    distill: DistillParams


class TrainParams(Section):
    epochs: Count = key("0 = the untrained model")
    patience: Maybe[AtLeastOne] = key("epochs without a better score on validation after which training ends; none = never")
    batch_size: AtLeastOne = key("pairs a step")
    batching: Batching = key(
        "which pairs are trained on together: those of like length, and twins, so that their texts are computed once; any; or "
        "with each pair those that its negatives are from, so that most negatives cost no pass of their own"
    )
    gradient_cache: StrictBool = key(
        "keep nothing of a batch's passes but their vectors, and compute each again for its gradients: any batch fits in memory"
    )
    learning_rate: AboveZero = key("of the encoder")
    head_learning_rate: Maybe[AboveZero] = key("of what is new, projection and pair head; none = the same")
    warmup: Share = key("share of all steps over which learning rates rise; then they stay")
    weight_decay: FromZero = key("AdamW's")
    precision: Precision = key("`auto` = bf16 on a GPU or a CPU that computes in it")
    device: Text = key("`auto`, `cpu`, `cuda`, `cuda:1`, …")
    log_every: AtLeastOne = key("batches between two points of the loss curve")


class CheckpointParams(Section):
    keep: Count = key("checkpoints of runs that did not end which stay when the next begins; no result depends on it")


class StatesParams(Section):
    limit: FromZero = key("GB that `.cache/states/` holds at most; the files that were used last stay; no result depends on it")


class RerankParams(Section):
    kind: Maybe[Literal["head", "joint"]] = key(
        "what puts the first candidates in a new order, beside their distance: the pair head that was trained with the "
        "retriever; a joint reader of both texts, trained after it; or nothing"
    )
    depth: AtLeastOne = key("how many candidates: of the lists that the reader learns from, and those that the weight is for")
    negatives: AtLeastOne = key(
        "wrong answers on each list, drawn anew each epoch: of the point's first `rerank.depth`, or, at the random rate, of all"
    )
    decay: Maybe[FromZero] = key(
        "how much the lists' random rate falls each epoch of the reader's, in a line from `random_rate`, list by list; "
        "none = it stays"
    )
    freeze: AtLeastOne = key(
        "lower layers of the untrained encoder that read each text alone, once; as `model.freeze`, it costs nothing more"
    )
    epochs: AtLeastOne = key("over all training points")
    batch_size: AtLeastOne = key("lists a step")
    learning_rate: AboveZero = key("of the reader's layers")
    head_learning_rate: Maybe[AboveZero] = key("of what is new in it; none = the same")


class RetrieveParams(Section):
    correction: Maybe[Correction] = key(
        "what takes hubs, texts near to every point, out of the way: by the training points that are near to an answer (CSLS), "
        "or all of them (inverted softmax); its constant is chosen on validation"
    )


class SelectParams(Section):
    setting: SettingName = key("the candidates among which validation queries choose the epoch that models/ holds")
    stage: Step = key("by distance, or after the pair head's re-ranking")
    queries: Literal["auto", "all", "unseen"] = key("which of them; `auto` = the unseen ones where there are at least 50")
    rerank_depth: AtLeastOne = key("how many candidates the pair head re-ranks, where `select.stage` is reranked")
    answers: Answers = key("what is a query and what is right, as `evaluate.answers`")


class EvaluateParams(Section):
    rerank_depth: Maybe[AtLeastOne] = key("how many candidates are put in a new order; none = `rerank.depth`")
    answers: Answers = key(
        "`text` = a query for each distinct point, right is the text of any of its counters; `row` = a query a pair, right is "
        "its one counter, as publications on ArguAna count"
    )
    beir: StrictBool = key("also BEIR's protocol: test points search the distinct arguments of all splits")


class FetchParams(Section):
    url: Maybe[Text] = key("where the real corpus comes from, https: or file:")
    sha256: Maybe[Text] = key("of the corpus zip; none = not checked")
