"""The draws behind `synthetic`, compiled: mixtures, moments and items of many edges.

Every draw is Philox of (key, edge, position), so that an edge needs none of the others.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fedsim import rng


@njit(cache=True)
def times(key, edges, offsets, span, out):  # type: ignore[no-untyped-def]
    """Fill `out` (n) with each edge's moments in [0, span), ascending."""
    for row in range(len(edges)):
        start, stop = offsets[row], offsets[row + 1]
        for position in range(stop - start):
            out[start + position] = np.int64(span * rng.draw(key, edges[row], position, 0))
        out[start:stop].sort()


@njit(cache=True)
def dirichlet(key, edges, concentration, out):  # type: ignore[no-untyped-def]
    """Fill `out` (B, 2, G) with symmetric Dirichlet shares.

    Normalised Gamma(a) draws, as logarithms of Gamma(a + 1) * U^(1/a) so that small a cannot
    underflow; Gamma(a + 1) by Marsaglia and Tsang (ACM TOMS 26(3), 2000).
    """
    d = concentration + 2.0 / 3.0
    c = 1.0 / np.sqrt(9.0 * d)
    for row in range(len(edges)):
        for which in range(out.shape[1]):
            for topic in range(out.shape[2]):
                place, index = which * out.shape[2] + topic, 1
                while True:
                    radius = np.sqrt(-2.0 * np.log1p(-rng.draw(key, edges[row], place, index)))
                    angle = 2.0 * np.pi * rng.draw(key, edges[row], place, index + 1)
                    x = radius * np.cos(angle)
                    v = (1.0 + c * x) ** 3
                    u = 1.0 - rng.draw(key, edges[row], place, index + 2)
                    if v > 0 and np.log(u) < 0.5 * x * x + d - d * v + d * np.log(v):
                        break
                    index += 3
                u = 1.0 - rng.draw(key, edges[row], place, 0)
                out[row, which, topic] = np.log(d * v) + np.log(u) / concentration
            weights = np.exp(out[row, which] - out[row, which].max())
            out[row, which] = weights / weights.sum()


@njit(cache=True)
def _next(  # type: ignore[no-untyped-def]
    key, edge, position, attempt, last, moved, mixture, starts, popularity, successors, order
):
    index = attempt * 8
    if last >= 0 and rng.draw(key, edge, position, index) < order:
        which = rng.draw(key, edge, position, index + 1) * successors.shape[1]
        return successors[last, int(which)]
    which = 1 if rng.draw(key, edge, position, index + 2) < moved else 0
    pick = rng.draw(key, edge, position, index + 3) * mixture[which, -1]
    topic = min(np.searchsorted(mixture[which], pick, side="right"), len(starts) - 2)
    start, stop = starts[topic], starts[topic + 1]
    pick = rng.draw(key, edge, position, index + 4)
    return min(start + np.searchsorted(popularity[start:stop], pick, side="right"), stop - 1)


@njit(cache=True)
def generate(  # type: ignore[no-untyped-def]
    key, edges, offsets, moved, mixtures, starts, popularity, successors, ids, order, repeats, out
):
    """Fill `out` (n) with item ids; `mixtures` (B, 2, G) are cumulative, `moved` is (n).

    An item met before is drawn again, 16 times; then the next slot not met is taken.
    """
    seen = np.full(len(ids), -1)
    for row in range(len(edges)):
        last = -1
        for place in range(offsets[row], offsets[row + 1]):
            position = place - offsets[row]
            for attempt in range(16):
                slot = _next(
                    key, edges[row], position, attempt, last, moved[place], mixtures[row],
                    starts, popularity, successors, order,
                )  # fmt: skip
                if repeats or seen[slot] != row:
                    break
            while not repeats and seen[slot] == row:
                slot = (slot + 1) % len(ids)
            seen[slot] = row
            last = slot
            out[place] = ids[slot]
