"""What an item is about, where the data does not say: clusters of items.

Items are points in the space of a truncated singular value decomposition of the user by
item matrix, put on the unit sphere and grouped by k-means: items liked by the same users
share an interest. Seeded and on one thread, so that every process finds the same clusters.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from fedsim import rng

_DIMENSIONS = 32


def normalised(flags: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return rows of interests that sum to 1 under a zero row for padding, float32 (V + 1, G).

    Items of no interest at all share one more column.
    """
    homeless = ~flags.any(axis=1, keepdims=True)
    if homeless.any():
        flags = np.hstack([flags, homeless])
    shares = (flags / flags.sum(axis=1, keepdims=True)).astype(np.float32)
    return np.vstack([np.zeros_like(shares[:1]), shares])


def clustered(
    users: NDArray[np.int64], items: NDArray[np.int64], clusters: int, seed: int
) -> NDArray[np.float32]:
    """Return interests of items 0..V-1 as one of `clusters`, float32 (V + 1, clusters)."""
    from scipy.sparse import csr_matrix
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    matrix = csr_matrix((np.ones(len(items), np.float64), (items, users)))
    matrix.data[:] = 1
    clusters = min(clusters, matrix.shape[0])
    dimensions = min(_DIMENSIONS, min(matrix.shape) - 1)
    state = int(rng.generator(seed, "clusters").integers(2**31))
    quiet = np.errstate(divide="ignore", invalid="ignore")
    with threadpool_limits(1), warnings.catch_warnings(), quiet:
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters
        if dimensions > 1:
            points = TruncatedSVD(dimensions, random_state=state).fit_transform(matrix)
        else:
            points = matrix.toarray()
        points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
        label = KMeans(clusters, n_init=1, random_state=state).fit_predict(points)
    return normalised(np.eye(clusters, dtype=np.bool_)[label])
