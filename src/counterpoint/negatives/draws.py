"""The negatives of an epoch, and those of all past epochs, on disk."""

import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

Place = tuple[int, np.dtype, tuple[int, ...]]  # of a column: offset, kind, shape


@dataclass(frozen=True)
class Negatives:
    """One epoch's negatives; every array but to_counter is (points, K), row i belonging to the i-th query of the pool.

    ids are pool positions. was_random tells random ones from mined ones; was_filtered marks the random ones that stand in for
    mined ones above negatives.margin. distance is to the point, in the embedding of the draw, and to_counter (points,) the
    distance from each point to its counter there.
    """

    ids: np.ndarray
    was_random: np.ndarray
    was_filtered: np.ndarray
    distance: np.ndarray
    to_counter: np.ndarray

    @property
    def hardness(self) -> float:
        """Return the mean of d(point, counter) - d(point, negative): above 0, the average negative is nearer."""
        return float((self.to_counter[:, None].astype(np.float64) - self.distance).mean())


class Draws:
    """The draws of a run, an entry an epoch: columns in a file without a name, mapped where they are read.

    So memory does not grow with the epochs, and a killed run leaves nothing.
    """

    def __init__(self, draws: Iterable[Negatives] = ()) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115, open as long as this object
        weakref.finalize(self, self.file.close)
        self.places: list[dict[str, Place]] = []
        for draw in draws:
            self.append(draw)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, epoch: int) -> Negatives:
        return Negatives(**{name: self._mapped(*place) for name, place in self.places[epoch].items()})

    def __iter__(self) -> Iterator[Negatives]:
        return (self[epoch] for epoch in range(len(self)))

    def append(self, draw: Negatives) -> None:
        """Write an epoch's draw."""
        place = {}
        for name, column in vars(draw).items():
            place[name] = (self.file.seek(0, os.SEEK_END), column.dtype, column.shape)
            self.file.write(np.ascontiguousarray(column).data)
        self.file.flush()
        self.places.append(place)

    def _mapped(self, offset: int, kind: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        if not np.prod(shape):
            return np.zeros(shape, kind)  # nothing cannot be mapped
        return np.asarray(np.memmap(self.file, kind, "r+", offset, shape))
