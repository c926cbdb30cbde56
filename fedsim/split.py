"""Deterministic subsets of a population, exact in size, found for each edge on its own.

Every purpose shuffles the edges by a keyed permutation of 0..total-1: a balanced Feistel
network with Philox as its round function, walking the cycle until it lands inside the
range. The rank of one edge needs no other edge, and "the edges of rank below k" are
exactly k edges.

Black, Rogaway: Ciphers with arbitrary finite domains. CT-RSA 2002.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim import rng

_ROUNDS = 6


def ranks(seed: int, purpose: str, edges: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Return each edge's place in the shuffled order of `total` edges, int64 (B).

    >>> order = ranks(7, "ood", np.arange(5), 5)
    >>> sorted(order.tolist())
    [0, 1, 2, 3, 4]
    """
    half = max(1, (int(total - 1).bit_length() + 1) // 2)
    out = np.empty(len(edges), np.int64)
    _permute(np.uint64(rng.key(seed, purpose)), np.asarray(edges, np.int64), total, half, out)
    return out


def chosen(
    seed: int, purpose: str, edges: NDArray[np.int64], total: int, fraction: float
) -> NDArray[np.bool_]:
    """Tell which edges are in a subset of ``round(fraction * total)`` edges, bool (B)."""
    return ranks(seed, purpose, edges, total) < round(fraction * total)


def shares(
    seed: int, purpose: str, edges: NDArray[np.int64], total: int, weights: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the class of each edge, int64 (B), where classes hold shares of the population."""
    bounds = np.cumsum(weights) / np.sum(weights)
    place = (ranks(seed, purpose, edges, total) + 0.5) / total
    return np.minimum(np.searchsorted(bounds, place, side="right"), len(bounds) - 1)


@njit(cache=True)
def _permute(key, edges, total, half, out):  # type: ignore[no-untyped-def]
    low = np.uint64(0xFFFFFFFF)
    key0, key1 = key & low, key >> np.uint64(32)
    shift = np.uint64(half)
    mask = (np.uint64(1) << shift) - np.uint64(1)
    for row in range(len(edges)):
        value = np.uint64(edges[row])
        while True:
            left, right = value >> shift, value & mask
            for turn in range(_ROUNDS):
                word, _, _, _ = rng.philox(
                    key0, key1, right, np.uint64(turn), np.uint64(half), np.uint64(0)
                )
                left, right = right, left ^ (word & mask)
            value = (left << shift) | right
            if value < np.uint64(total):
                break
        out[row] = np.int64(value)
