"""Measures: ranking metrics of predicted ranks, divergence of interests. All vectorised."""

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
    sums = {"mrr": np.bincount(owner, 1.0 / (ranks + 1.0), owners)}
    for k in ks:
        inside = ranks < k
        sums[f"hit_{k}"] = np.bincount(owner, inside, owners)
        sums[f"ndcg_{k}"] = np.bincount(owner, np.where(inside, gain, 0.0), owners)
    return sums


def jensen_shannon(
    left: NDArray[np.floating], right: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the Jensen-Shannon divergence in bits (0 to 1) of histograms, row by row.

    Rows of `left` and `right`, shape (B, G), need not be normalised; where either row is
    empty the result is nan. Lin: Divergence measures based on the Shannon entropy. IEEE
    Transactions on Information Theory 37(1), 1991.

    >>> jensen_shannon(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]])).tolist()
    [1.0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        p = left / left.sum(axis=1, keepdims=True, dtype=np.float64)
        q = right / right.sum(axis=1, keepdims=True, dtype=np.float64)
        middle = (p + q) / 2
        total = np.where(p > 0, p * np.log2(p / middle), 0.0).sum(axis=1)
        total += np.where(q > 0, q * np.log2(q / middle), 0.0).sum(axis=1)
    empty = (left.sum(axis=1) == 0) | (right.sum(axis=1) == 0)
    return np.where(empty, np.nan, np.clip(total / 2, 0.0, 1.0))
