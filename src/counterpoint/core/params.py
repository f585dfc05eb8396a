"""What params.yaml holds: every key's type, range and meaning, once; messages, the schema and docs/params.md come from here."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

SPLITS = ("training", "validation", "test")

# The names of each choice. The tables that give them meaning are keyed by them, and a test holds the two together: tables
# stand in rooms that stages open one by one, and params, which every stage opens, must not pull them all in.
Search = Literal["exact", "balltree", "faiss"]
Pooling = Literal["cls", "mean", "pooler"]
Fusion = Literal["embedding", "cls", "concat"]
Sharing = Literal["shared", "separate"]
Batching = Literal["length", "shuffled"]
Precision = Literal["auto", "fp32", "bf16"]
SettingName = Literal["sdoc", "sdc", "sdoa", "sda", "stc", "sta", "epc", "epa"]
Step = Literal["retrieved", "reranked"]
Answers = Literal["text", "row"]


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):  # to Python it is a number
        raise ValueError
    return value


NUMBER = BeforeValidator(_no_flag)
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), NUMBER]
PositiveShare = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False), NUMBER]
DropoutRate = Annotated[float, Field(ge=0, le=0.9, allow_inf_nan=False), NUMBER]
FromZero = Annotated[float, Field(ge=0, allow_inf_nan=False), NUMBER]
AboveZero = Annotated[float, Field(gt=0, allow_inf_nan=False), NUMBER]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1), NUMBER]
Count = Annotated[int, Field(ge=0), NUMBER]
AtLeastOne = Annotated[int, Field(ge=1), NUMBER]
Tokens = Annotated[int, Field(ge=3), NUMBER]
Text = Annotated[str, Field(pattern=r"\S")]
Prompt = Annotated[str, Field(min_length=1)]

T = TypeVar("T")
Maybe = Annotated[T | None, BeforeValidator(lambda value: None if value == "none" else value)]  # `dvc exp run -S key=none`


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
    seed: Seed = key("of the split")

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
    sharing: Sharing = key("one encoder for points and counters, or separate ones")
    freeze: StrictBool = key("train projection and pair head only")
    dropout: Maybe[DropoutRate] = key("of hidden states in the encoder while it trains; none = as its config says")
    attention_dropout: Maybe[DropoutRate] = key("of attention weights, the same; above 0 it costs time on a CPU")
    max_length: Tokens = key("tokens of a text that are read")
    prompts: PromptsParams


class TripletParams(Section):
    weight: FromZero = key("of the triplet loss; 0 = off")
    margin: FromZero = key("by how much a counter must be nearer than a negative, in Euclidean distance")


class PairParams(Section):
    weight: FromZero = key("of the pair head's cross-entropy; 0 = retrieval only, no head")


class LossParams(Section):
    triplet: TripletParams
    pair: PairParams


class TrainParams(Section):
    epochs: Count = key("0 = the untrained model")
    patience: Maybe[AtLeastOne] = key("epochs without a better score on validation after which training ends; none = never")
    batch_size: AtLeastOne = key("pairs a step")
    batching: Batching = key("pairs of like length together, twins in one batch, so that their texts are computed once; or any")
    learning_rate: AboveZero = key("of the encoder")
    head_learning_rate: Maybe[AboveZero] = key("of projection and pair head, which start from random weights; none = the same")
    warmup: Share = key("share of all steps over which learning rates rise; then they stay")
    weight_decay: FromZero = key("AdamW's")
    precision: Precision = key("`auto` = bf16 on a GPU or a CPU that computes in it")
    device: Text = key("`auto`, `cpu`, `cuda`, `cuda:1`, …")
    log_every: AtLeastOne = key("batches between two points of the loss curve")


class CheckpointParams(Section):
    keep: Count = key("checkpoints of runs that did not end which stay when the next begins; no result depends on it")


class SelectParams(Section):
    setting: SettingName = key("the candidates among which validation queries choose the epoch that models/ holds")
    stage: Step = key("by distance, or after the pair head's re-ranking")
    queries: Literal["auto", "all", "unseen"] = key("which of them; `auto` = the unseen ones where there are at least 50")
    rerank_depth: AtLeastOne = key("how many candidates the pair head re-ranks, where `select.stage` is reranked")
    answers: Answers = key("what is a query and what is right, as `evaluate.answers`")


class EvaluateParams(Section):
    rerank_depth: AtLeastOne = key("how many candidates the pair head re-ranks")
    answers: Answers = key(
        "`text` = a query for each distinct point, right is the text of any of its counters; `row` = a query a pair, right is "
        "its one counter, as publications on ArguAna count"
    )
    beir: StrictBool = key("also BEIR's protocol: test points search the distinct arguments of all splits")


class FetchParams(Section):
    url: Maybe[Text] = key("where the real corpus comes from, https: or file:")
    sha256: Maybe[Text] = key("of the corpus zip; none = not checked")


class Params(Section):
    seed: Seed = key("of training; the data have their own")
    corpus: Text = key(
        "ArguAna directory or zip; a table of pairs; a directory of a table a split, or in BEIR's form: data/README.md"
    )
    random_rate: Share = key("share of random negatives in epoch 0")
    decay: Maybe[FromZero] = key("how much that share falls each epoch; none = it stays")
    floor: Share = key("it falls no lower")
    prepare: PrepareParams
    negatives: NegativesParams
    model: ModelParams
    loss: LossParams
    train: TrainParams
    checkpoint: CheckpointParams
    select: SelectParams
    evaluate: EvaluateParams
    fetch: FetchParams

    @property
    def trains_head(self) -> bool:
        return self.train.epochs > 0 and self.loss.pair.weight > 0

    @model_validator(mode="after")
    def _agree(self) -> "Params":
        for broken, rule in self._rules():
            if broken:
                raise ValueError(rule)
        return self

    def _rules(self) -> list[tuple[bool, str]]:
        """Rules over several sections, as (is it broken, the line that says so)."""
        model, loss, trains = self.model, self.loss, self.train.epochs > 0
        return [
            (
                self.floor > self.random_rate,
                f"floor must be at most random_rate; got {self.floor:g} and {self.random_rate:g}",
            ),
            (
                trains and not any(section.weight for _, section in loss),
                f"{' or '.join(f'loss.{name}.weight' for name, _ in loss)} must be above 0 to train; got 0 for each",
            ),
            (
                self.trains_head and model.projection is None and model.fusion != "cls",
                f"model.fusion must be cls when model.projection is none (no projection to fuse); got {model.fusion!r}",
            ),
            (
                trains and model.freeze and model.projection is None and loss.pair.weight == 0,
                "model.freeze must be false when model.projection is none and loss.pair.weight is 0: nothing could be trained",
            ),
            (
                self.select.stage == "reranked" and loss.pair.weight == 0,
                "select.stage must be retrieved when loss.pair.weight is 0 (no head to re-rank with); got 'reranked'",
            ),
        ]
