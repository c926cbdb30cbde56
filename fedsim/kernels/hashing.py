"""Tells masks apart: 32 bits of a mask, equal for two of them with chance 2^-32.

Thorup: High speed hashing for integers and strings. 2015 (pair-multiply-shift).
https://arxiv.org/abs/1504.06804
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim.kernels.bits import ones_of


def keys(words: int) -> NDArray[np.uint64]:
    """Return two fixed random numbers for every word, the output of SplitMix64."""
    state = np.arange(1, 2 * words + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return state ^ (state >> np.uint64(31))


@njit(cache=True, error_model="numpy")
def hash_rows(rows, keys):  # type: ignore[no-untyped-def]
    """Return the hash of every row of words, uint32 (rows)."""
    out = np.empty(len(rows), np.uint32)
    half, count = np.uint64(32), rows.shape[1]
    even, odd = keys[:count], keys[count : 2 * count]
    for row in range(len(rows)):
        total, words = np.uint64(0), rows[row]
        for index in range(count):
            word = words[index]
            low, high = word & np.uint64(0xFFFFFFFF), word >> half
            total += (even[index] + high) * (odd[index] + low)
        out[row] = total >> half
    return out


@njit(cache=True, error_model="numpy")
def ones_of_rows(rows):  # type: ignore[no-untyped-def]
    """Return the number of ones of every row of words, int64 (rows)."""
    out = np.zeros(len(rows), np.int64)
    for row in range(len(rows)):
        for word in rows[row]:
            out[row] += ones_of(word)
    return out
