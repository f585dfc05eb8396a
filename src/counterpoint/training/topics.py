"""Topics of training rows: debates, else clusters of embeddings."""

import numpy as np

from counterpoint.core.rows import Rows

PAIRS = 8  # of a topic, on average: a debate of ArguAna has six
CLUSTERS = 2_000  # at most, as TAS-B has
FEW = 20_000  # rows, above which k-means looks at a part of them at a time


def topics(debate: np.ndarray, points: Rows, rng: np.random.Generator) -> np.ndarray:
    """Return a topic's number for each row (rows,): its debate, where every row has one.

    Else rows are clustered by k-means of points (rows, d), their points' embeddings. debate (rows,) is -1 where unknown.
    """
    if (debate >= 0).all():
        return np.unique(debate, return_inverse=True)[1]
    from sklearn.cluster import KMeans, MiniBatchKMeans  # here, since it is slow to import

    vectors = points.whole().float().cpu().numpy()
    clusters = min(CLUSTERS, -(-len(vectors) // PAIRS))
    kind = KMeans if len(vectors) <= FEW else MiniBatchKMeans
    return kind(clusters, init="k-means++", n_init=1, random_state=int(rng.integers(2**32))).fit_predict(vectors)
