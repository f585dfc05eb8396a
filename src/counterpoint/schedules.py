"""The schedules that a sweep compares: how the random rate falls."""

from dataclasses import dataclass, replace

from counterpoint.errors import InputError
from counterpoint.params import Params

NEVER = "never-random"  # the nearest wrong argument from the first epoch on
STEPS = {
    "default": ("none", "0.05", "0.1", "0.2", "0.5", NEVER),  # for the sample's few epochs
    "original": ("none", "0.005", "0.01", "0.015", "0.02", "0.03", "0.04", "0.05"),  # for 200 epochs
}


@dataclass(frozen=True)
class Schedule:
    """Where the random rate starts, how much it falls each epoch (None = not at all), and how low."""

    random_rate: float
    decay: float | None
    floor: float

    @classmethod
    def of(cls, params: Params) -> "Schedule":
        """The schedule of params; all that never draw at random are one."""
        return cls(params.random_rate, params.decay, params.floor) if params.random_rate else cls(0.0, None, 0.0)

    @property
    def name(self) -> str:
        """As in the name of an experiment: decay-0.05, decay-none, never-random."""
        return NEVER if not self.random_rate else f"decay-{written(self.decay)}"

    @property
    def label(self) -> str:
        """As in tables and pictures, where all start from the same rate and end at the same floor."""
        return "never random" if not self.random_rate else written(self.decay)

    @property
    def order(self) -> tuple[float, float, float]:
        """Sorts from no decay to never random."""
        return -self.random_rate, self.decay or 0.0, -self.floor


def written(decay: float | None) -> str:
    """0.10 is 0.1, and no digit that was asked for is lost."""
    return "none" if decay is None else format(decay, ".12g")


def overrides(word: str) -> list[str]:
    """What `dvc exp run -S` is given for a word of --decays: a number, none or never-random. InputError for another."""
    if word == NEVER:
        return ["random_rate=0", "floor=0", "decay=none"]
    try:
        if word != "none":
            word = written(float(word))
    except ValueError:
        raise InputError(f"--decays must be numbers, none or {NEVER}; got {word!r}") from None
    return [f"decay={word}"]


def all_else(params: Params) -> Params:
    """What runs of one sweep have in common: their params but for seed and schedule, and for what no result depends on."""
    return replace(params, seed=0, random_rate=0, decay=None, floor=0, checkpoint=None, fetch=None)
