"""The schedule: the fall of the random rate from epoch to epoch."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from counterpoint.core.params import Params
from counterpoint.core.sections import Shape

NEVER = "never-random"  # mined negatives from the first epoch on

# (random_rate r, floor f, decay d, epoch e) -> the rate
SHAPES: dict[Shape, Callable[[float, float, float, float], float]] = {
    "linear": lambda r, f, d, e: min(1.0, max(f, r - e * d)),
    "exponential": lambda r, f, d, e: max(f, r * (1 - d) ** e),
    "cosine": lambda r, f, d, e: f + (r - f) * (1 + math.cos(math.pi * min(1.0, e * d))) / 2,
}


@dataclass(frozen=True)
class Schedule:
    """The random rate's start, its fall each epoch (None = no fall), its floor, and the shape of the fall.

    Rates are shares from 0 to 1. rate(e) is min(1, max(floor, random_rate − e · decay)) for the shape linear, which rises with
    a decay below 0; max(floor, random_rate · (1 − decay)^e) for exponential; floor + (random_rate − floor) · (1 + cos(π ·
    min(1, e · decay))) / 2 for cosine.
    """

    random_rate: float
    decay: float | None
    floor: float
    shape: Shape = "linear"

    @classmethod
    def of(cls, params: Params) -> "Schedule":
        """Return the schedule of params; all that never draw at random are equal, and so are those without decay."""
        if not params.random_rate and (params.decay or 0) >= 0:
            return cls(0.0, None, 0.0)
        return cls(params.random_rate, params.decay, params.floor, "linear" if params.decay is None else params.schedule)

    def rate(self, epoch: float) -> float:
        """Return the probability that a negative drawn in `epoch` (0-based, may be fractional) is random."""
        if self.decay is None:
            return self.random_rate
        return round(SHAPES[self.shape](self.random_rate, self.floor, self.decay, epoch), 12)  # 1 - 3 * 0.1 is 0.7

    @property
    def never_random(self) -> bool:
        """Return whether all negatives are mined."""
        return not self.random_rate and self.decay is None

    @property
    def name(self) -> str:
        """Return the name for experiments: decay-0.05, cosine-0.1, decay-none, never-random."""
        if self.never_random:
            return NEVER
        return f"{'decay' if self.shape == 'linear' else self.shape}-{written(self.decay)}"

    @property
    def label(self) -> str:
        """Return the name for tables and pictures, whose schedules share start and floor."""
        if self.never_random:
            return "never random"
        return written(self.decay) if self.shape == "linear" else f"{self.shape} {written(self.decay)}"

    @property
    def title(self) -> str:
        """Return the title for a picture of one run."""
        if self.never_random:
            return "never random: mined negatives from the first epoch on"
        if self.decay is None:
            return f"no decay: random rate {self.random_rate:g} throughout"
        decay = f"{'' if self.shape == 'linear' else f'{self.shape} '}decay {self.decay:g}"
        end = " upwards" if self.decay < 0 else f" to {self.floor:g}" if self.floor else ""
        return f"{decay} from random rate {self.random_rate:g}{end}"

    @property
    def order(self) -> tuple[float, str, float, float]:
        """Return a key that sorts from no decay to never random, one shape after another."""
        return -self.random_rate, "" if self.shape == "linear" else self.shape, self.decay or 0.0, -self.floor


def written(decay: float | None) -> str:
    """Return a decay as text without trailing zeros, and with all its digits."""
    return "none" if decay is None else format(decay, ".12g")
