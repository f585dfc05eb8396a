"""The schedule: how the share of random negatives falls from epoch to epoch."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from counterpoint.core.params import Params
from counterpoint.core.sections import Course

NEVER = "never-random"  # a mined negative from the first epoch on

# (random_rate r, floor f, decay d, epoch e) -> the rate
COURSES: dict[Course, Callable[[float, float, float, float], float]] = {
    "linear": lambda r, f, d, e: max(f, r - e * d),
    "exponential": lambda r, f, d, e: max(f, r * (1 - d) ** e),
    "cosine": lambda r, f, d, e: f + (r - f) * (1 + math.cos(math.pi * min(1.0, e * d))) / 2,
}


@dataclass(frozen=True)
class Schedule:
    """Where the random rate starts, how much it falls each epoch (None = not at all), how low, and on what course.

    rates are shares from 0 to 1; rate(e) is max(floor, random_rate − e · decay) for the course linear, max(floor,
    random_rate · (1 − decay)^e) for exponential, and for cosine floor + (random_rate − floor) · (1 + cos(π · min(1, e ·
    decay))) / 2.
    """

    random_rate: float
    decay: float | None
    floor: float
    course: Course = "linear"

    @classmethod
    def of(cls, params: Params) -> "Schedule":
        """The schedule of params; all that never draw at random are one, and so are those without decay of any course."""
        if not params.random_rate:
            return cls(0.0, None, 0.0)
        return cls(params.random_rate, params.decay, params.floor, "linear" if params.decay is None else params.schedule)

    def rate(self, epoch: float) -> float:
        """With what probability a negative of an epoch, from 0, is a random one; a part of an epoch counts, where given."""
        if self.decay is None:
            return self.random_rate
        return round(COURSES[self.course](self.random_rate, self.floor, self.decay, epoch), 12)  # 1 - 3 * 0.1 is 0.7

    @property
    def never_random(self) -> bool:
        return not self.random_rate

    @property
    def name(self) -> str:
        """As in the name of an experiment: decay-0.05, cosine-0.1, decay-none, never-random."""
        if self.never_random:
            return NEVER
        return f"{'decay' if self.course == 'linear' else self.course}-{written(self.decay)}"

    @property
    def label(self) -> str:
        """As in tables and pictures, where all start from the same rate and end at the same floor."""
        if self.never_random:
            return "never random"
        return written(self.decay) if self.course == "linear" else f"{self.course} {written(self.decay)}"

    @property
    def title(self) -> str:
        """As over a picture of one run."""
        if self.never_random:
            return "never random: mined negatives from the first epoch on"
        if self.decay is None:
            return f"no decay: random rate {self.random_rate:g} throughout"
        decay = f"{'' if self.course == 'linear' else f'{self.course} '}decay {self.decay:g}"
        return f"{decay} from random rate {self.random_rate:g}" + (f" to {self.floor:g}" if self.floor else "")

    @property
    def order(self) -> tuple[float, str, float, float]:
        """Sorts from no decay to never random, a course after another."""
        return -self.random_rate, "" if self.course == "linear" else self.course, self.decay or 0.0, -self.floor


def written(decay: float | None) -> str:
    """0.10 is 0.1, and no digit that was asked for is lost."""
    return "none" if decay is None else format(decay, ".12g")
