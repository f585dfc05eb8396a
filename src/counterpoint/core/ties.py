"""The one tie rule: of equals, the one that stands earlier comes first.

Earlier means: earlier in the pool, by `Queries.place`, or in the order that candidates already have.
"""

import numpy as np


def order(keys: np.ndarray) -> np.ndarray:
    """Return the positions that sort the last axis of keys (..., n), lowest first; equals stay as they stand."""
    return np.argsort(keys, axis=-1, kind="stable")


def order_by(keys: np.ndarray, places: np.ndarray, *first: np.ndarray) -> np.ndarray:
    """Return the positions that sort the last axis of keys (..., n), lowest first; of equals the lowest place comes first.

    first, if given, are numbers (..., n) to sort by before the keys.
    """
    return np.lexsort((places, keys, *first))


def loses_tie(places: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Return which of equals at places (m,) come after those at places to (m,): bool (m,)."""
    return to < places
