"""The best items of every window, as an edge would show them."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim.kernels.threads import over_rows


def top_items(scores: NDArray[np.float32], count: int) -> NDArray[np.int32]:
    """Return the ids of the best items of every row, best first, int32 (T, count).

    Parameters
    ----------
    scores
        float32 (T, V + 1); an excluded item is minus infinity. Item 0 is padding and never
        shown. Equal scores show the lower id first; NaN is never shown.
    count
        Items shown; where fewer can be, the rest is 0.
    """
    out = np.zeros((len(scores), count), np.int32)
    over_rows(lambda a, z: _top(scores, out, a, z), len(scores))
    return out


@njit(cache=True, nogil=True)
def _top(scores, out, start, stop):  # type: ignore[no-untyped-def]
    count = out.shape[1]
    best = np.empty(count, np.float32)
    for row in range(start, stop):
        best[:] = -np.inf
        line, ids = scores[row], out[row]
        least = np.float32(-np.inf)
        for item in range(1, len(line)):
            if line[item] > least:
                place = count - 1
                while place > 0 and line[item] > best[place - 1]:
                    best[place], ids[place] = best[place - 1], ids[place - 1]
                    place -= 1
                best[place], ids[place] = line[item], item
                least = best[count - 1]
