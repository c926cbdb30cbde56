"""Randomness derived from (seed, purpose, edge, round), never from a global state.

Philox is counter-based: the draws of one edge need nothing of any other edge, so a cell,
an edge or a round can be made alone, in any order and on any worker, with the same bits.

Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


def key(seed: int, purpose: str) -> int:
    """Return the 64-bit key of one purpose under one seed."""
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def generator(seed: int, purpose: str, *, edge: int = 0, round: int = 0) -> np.random.Generator:
    """Return numpy's generator of (seed, purpose, edge, round).

    >>> a, b = generator(7, "stream", edge=3), generator(7, "stream", edge=3)
    >>> bool((a.random(4) == b.random(4)).all())
    True
    """
    counter = np.array([0, 0, edge, round], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key(seed, purpose), counter=counter))


def torch_generator(seed: int, purpose: str, *, edge: int = 0, round: int = 0) -> torch.Generator:
    """Return a CPU torch generator of (seed, purpose, edge, round)."""
    import torch

    source = generator(seed, purpose, edge=edge, round=round)
    return torch.Generator().manual_seed(int(source.integers(2**63)))


def uniform(
    seed: int, purpose: str, edges: NDArray[np.int64], size: int, *, round: int = 0
) -> NDArray[np.float64]:
    """Return uniforms in [0, 1) for many edges at once, shape (len(edges), size).

    A row depends on its own edge alone, not on the other edges asked for.
    """
    out = np.empty((len(edges), size))
    _fill(np.uint64(key(seed, purpose)), np.asarray(edges, np.int64), np.int64(round), out)
    return out


@njit(cache=True, inline="always")
def philox(key0, key1, c0, c1, c2, c3):  # type: ignore[no-untyped-def]
    """Philox4x32-10: four 32-bit words (in uint64 variables) of one counter and key."""
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0 = np.uint64(0xD2511F53) * c0
        p1 = np.uint64(0xCD9E8D57) * c2
        c0 = ((p1 >> np.uint64(32)) ^ c1 ^ key0) & low
        c2 = ((p0 >> np.uint64(32)) ^ c3 ^ key1) & low
        c1 = p1 & low
        c3 = p0 & low
        key0 = (key0 + np.uint64(0x9E3779B9)) & low
        key1 = (key1 + np.uint64(0xBB67AE85)) & low
    return c0, c1, c2, c3


@njit(cache=True, inline="always")
def draw(key, edge, round, index):  # type: ignore[no-untyped-def]
    """One uniform in [0, 1) with 53 bits: number `index` of (key, edge, round)."""
    low = np.uint64(0xFFFFFFFF)
    edge, index = np.uint64(edge), np.uint64(index)
    a, b, _, _ = philox(
        key & low,
        key >> np.uint64(32),
        index & low,
        np.uint64(round) & low,
        edge & low,
        edge >> np.uint64(32),
    )
    return ((a >> np.uint64(5)) * 67108864.0 + (b >> np.uint64(6))) / 9007199254740992.0


@njit(cache=True)
def _fill(key, edges, round, out):  # type: ignore[no-untyped-def]
    for row in range(len(edges)):
        for column in range(out.shape[1]):
            out[row, column] = draw(key, edges[row], round, column)
