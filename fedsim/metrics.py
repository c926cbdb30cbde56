"""Ranking metrics of predicted ranks, summed over each edge's targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def ranking_sums(
    ranks: NDArray[np.integer], owner: NDArray[np.integer], owners: int, ks: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Return sums over each owner's targets of Hit@K, NDCG@K and the reciprocal rank.

    Parameters
    ----------
    ranks
        0-based rank of every target, int (T).
    owner
        Which edge each target belongs to, int (T), below `owners`.
    owners
        Number of edges B.
    ks
        Cut-offs K.

    Returns
    -------
    dict
        ``hit_K``, ``ndcg_K`` for every K and ``mrr``, float64 (B) each. With one relevant
        item NDCG@K is 1 / log2(rank + 2) inside the first K and 0 outside.
    """
    gain = 1.0 / np.log2(ranks + 2.0)

    def total(values: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.bincount(owner, values, owners).astype(np.float64)

    sums = {"mrr": total(1.0 / (ranks + 1.0))}
    for k in ks:
        inside = ranks < k
        sums[f"hit_{k}"] = total(inside.astype(np.float64))
        sums[f"ndcg_{k}"] = total(np.where(inside, gain, 0.0))
    return sums
