"""The schedule: how the share of random negatives falls from epoch to epoch."""

from dataclasses import dataclass

from counterpoint.core.params import Params

NEVER = "never-random"  # the nearest wrong argument from the first epoch on


@dataclass(frozen=True)
class Schedule:
    """Where the random rate starts, how much it falls each epoch (None = not at all), and how low; all shares from 0 to 1.

    rate(e) = max(floor, random_rate − e · decay)
    """

    random_rate: float
    decay: float | None
    floor: float

    @classmethod
    def of(cls, params: Params) -> "Schedule":
        """The schedule of params; all that never draw at random are one."""
        return cls(params.random_rate, params.decay, params.floor) if params.random_rate else cls(0.0, None, 0.0)

    def rate(self, epoch: int) -> float:
        """With what probability a negative of an epoch, from 0, is a random one."""
        rate = self.random_rate if self.decay is None else max(self.floor, self.random_rate - epoch * self.decay)
        return round(rate, 12)  # 1 - 3 * 0.1 is 0.7

    @property
    def never_random(self) -> bool:
        return not self.random_rate

    @property
    def name(self) -> str:
        """As in the name of an experiment: decay-0.05, decay-none, never-random."""
        return NEVER if self.never_random else f"decay-{written(self.decay)}"

    @property
    def label(self) -> str:
        """As in tables and pictures, where all start from the same rate and end at the same floor."""
        return "never random" if self.never_random else written(self.decay)

    @property
    def title(self) -> str:
        """As over a picture of one run."""
        if self.never_random:
            return "never random: the nearest wrong argument from the first epoch on"
        if self.decay is None:
            return f"no decay: random rate {self.random_rate:g} throughout"
        return f"decay {self.decay:g} from random rate {self.random_rate:g}" + (f" to {self.floor:g}" if self.floor else "")

    @property
    def order(self) -> tuple[float, float, float]:
        """Sorts from no decay to never random."""
        return -self.random_rate, self.decay or 0.0, -self.floor


def written(decay: float | None) -> str:
    """0.10 is 0.1, and no digit that was asked for is lost."""
    return "none" if decay is None else format(decay, ".12g")
