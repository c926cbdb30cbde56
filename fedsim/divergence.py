"""How far interests moved: Jensen-Shannon divergence between histograms.

Lin: Divergence measures based on the Shannon entropy. IEEE Trans. Inf. Theory 37(1), 1991.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim.slices import ChannelStreams

RECENT = 50
"""Items before a round that say what an edge's interest was."""


def interest_drift(
    streams: ChannelStreams, interests: NDArray[np.float32], round: int
) -> NDArray[np.float32]:
    """Return the divergence of each edge's slice from its RECENT items before, float32 (B)."""
    start, stop = streams.cuts[:, round - 1], streams.cuts[:, round]
    before = histograms(streams, interests, np.maximum(start - RECENT, 0), start)
    return jensen_shannon(before, histograms(streams, interests, start, stop))


def histograms(
    streams: ChannelStreams,
    interests: NDArray[np.float32],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return summed interests of positions start..stop-1 of each edge, float64 (B, G)."""
    out = np.zeros((len(start), interests.shape[1]))
    first = streams.offsets[:-1]
    _accumulate(streams.items, first + start, first + stop, interests, out)
    return out


def jensen_shannon(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the divergence (base 2, 0 to 1) of histograms row by row; NaN where one is empty.

    >>> jensen_shannon(np.array([[1.0, 0], [2, 2]]), np.array([[0, 3.0], [1, 1]])).tolist()
    [1.0, 0.0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        p = p / p.sum(axis=1, keepdims=True)
        q = q / q.sum(axis=1, keepdims=True)
        bits = (_entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2).astype(np.float32)
    return np.clip(bits, np.float32(0), np.float32(1))


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    logs = np.log2(np.where(p > 0, p, 1))
    bits: NDArray[np.float64] = -(p * logs).sum(axis=1)
    return bits


@njit(cache=True)
def _accumulate(items, start, stop, interests, out):  # type: ignore[no-untyped-def]
    for edge in range(len(start)):
        for place in range(start[edge], stop[edge]):
            for group in range(interests.shape[1]):
                out[edge, group] += interests[items[place], group]
