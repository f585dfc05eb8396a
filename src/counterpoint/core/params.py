"""The params: the sections, the keys at the top, and the rules over several of them."""

from pydantic import model_validator

from counterpoint.core.sections import (
    EvaluateParams,
    FetchParams,
    FromZero,
    LossParams,
    Maybe,
    ModelParams,
    NegativesParams,
    PrepareParams,
    RerankParams,
    Section,
    Seed,
    SelectParams,
    Shape,
    Share,
    Text,
    TrainParams,
    key,
)


class Params(Section):
    """All of params.yaml."""

    seed: Seed = key("of training; the data have their own")
    corpus: Text = key(
        "ArguAna directory or zip; a table of pairs; a directory of one table a split, or in BEIR's form: data/README.md"
    )
    random_rate: Share = key("share of random negatives in epoch 0")
    decay: Maybe[FromZero] = key("fall of the random rate each epoch; none = no fall")
    floor: Share = key("lowest random rate")
    schedule: Shape = key(
        "shape of the fall: `linear` by decay each epoch, `exponential` by that share of itself, `cosine` along half a wave of "
        "1 / decay epochs"
    )
    prepare: PrepareParams
    negatives: NegativesParams
    model: ModelParams
    loss: LossParams
    train: TrainParams
    select: SelectParams
    rerank: RerankParams
    evaluate: EvaluateParams
    fetch: FetchParams

    @property
    def trains_head(self) -> bool:
        """Return whether training has a pair head."""
        return self.train.epochs > 0 and self.loss.pair.weight > 0

    @property
    def projects(self) -> bool:
        """Return whether a projection stands between the pooled vector and the embedding."""
        return self.model.projection is not None or self.model.sharing == "projection"

    @model_validator(mode="after")
    def _agree(self) -> "Params":
        for broken, rule in self._rules():
            if broken:
                raise ValueError(rule)
        return self

    def _rules(self) -> list[tuple[bool, str]]:
        """The rules over several sections, as (is it broken, the message)."""
        model, loss, trains = self.model, self.loss, self.train.epochs > 0
        return [
            (
                self.floor > self.random_rate,
                f"floor must be at most random_rate; got {self.floor:g} and {self.random_rate:g}",
            ),
            (
                self.schedule == "exponential" and (self.decay or 0) > 1,
                f"decay must be at most 1 where schedule is exponential; got {self.decay}",
            ),
            (
                trains and not any(section.weight for _, section in loss),
                f"{' or '.join(f'loss.{name}.weight' for name, _ in loss)} must be above 0 to train; got 0 for each",
            ),
            (
                self.trains_head and not self.projects and model.fusion != "cls",
                f"model.fusion must be cls when model.projection is none (no projection to fuse); got {model.fusion!r}",
            ),
            (
                trains and model.freeze == "all" and not self.projects and loss.pair.weight == 0,
                "model.freeze must not be all when model.projection is none and loss.pair.weight is 0: nothing would learn",
            ),
            (
                self.rerank.kind == "head" and loss.pair.weight == 0,
                "rerank.kind must be joint or none when loss.pair.weight is 0 (no head to re-rank with); got 'head'",
            ),
            (
                self.rerank.negatives > self.rerank.depth,
                f"rerank.negatives must be at most rerank.depth; got {self.rerank.negatives} and {self.rerank.depth}",
            ),
        ]
