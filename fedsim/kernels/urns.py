"""Chances of blocks of at most 16 bits, as shares of 2^28.

All patterns of a block with the same number of ones get the same share, so that a block is
coded in one step, by its number of ones, its rank among those patterns (two small tables)
and one row of a model.

A model is an urn: the first bit is one with chance `mean`, and every bit drawn makes its
like more probable by `spread` (Pólya; the number of ones is beta-binomial). Models are
numbers of a fixed grid, and their shares come from exact integers and single IEEE
operations alone, so that every machine has the same ones.
"""

from __future__ import annotations

from math import comb, isqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 16
BITS = 28
TOTAL = 1 << BITS
ROW = BLOCK + 2
"""Shares of one model and one size of block."""

_ODDS = [isqrt(isqrt(1 << (96 + step))) for step in range(-56, 33)]
"""Odds of one against zero, times 2^24, a quarter of an octave apart."""
_SPREADS = [0, 1, 2, 3, 5, 7, 10, 13, 19, 26, 32, 42, 51, 58, 61]
"""Shares of 64."""
MODELS = len(_ODDS) * len(_SPREADS)


class Patterns(NamedTuple):
    """All blocks, ordered by number of ones and then by value."""

    ones: NDArray[np.uint8]
    """Number of ones of a block (65,536)."""
    rank: NDArray[np.uint16]
    """Place of a block among those with as many ones (65,536)."""
    first: NDArray[np.int64]
    """Where the blocks with so many ones start in `block` (18)."""
    block: NDArray[np.uint16]
    """All blocks in order (65,536)."""
    choose: NDArray[np.int64]
    """Binomial coefficients (17, 17)."""


class Shares(NamedTuple):
    """Shares of 2^28. A model and a size of block have a row; what a step needs is close by."""

    above: NDArray[np.uint32]
    """At 16 · row + ones, where the patterns with more ones start; 2^28 if there are none."""
    steps: NDArray[np.uint64]
    """At 2 · (ROW · row + ones), where the patterns with so many ones start and, 32 bits up,
    the share of each; after it (2^64 - 1) // that share, to divide by it."""


def _patterns() -> Patterns:
    ones = np.bitwise_count(np.arange(1 << BLOCK, dtype=np.uint32))
    block = np.argsort(ones, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(ones))])
    rank = np.empty(1 << BLOCK, np.uint16)
    rank[block] = np.arange(1 << BLOCK) - first[ones[block]]
    choose = [[comb(size, part) for part in range(BLOCK + 1)] for size in range(BLOCK + 1)]
    return Patterns(ones, rank, first, block.astype(np.uint16), np.array(choose))


PATTERNS = _patterns()


def shares(models: NDArray[np.integer]) -> Shares:
    """Return the shares of urns given by number, 0..MODELS - 1.

    The row of an urn and a size of block is ``size * len(models) + index of the urn``.
    """
    used, which = np.unique(models, return_inverse=True)
    odds = np.array(_ODDS, np.float64)[used // len(_SPREADS)]
    spread = np.array(_SPREADS, np.float64)[used % len(_SPREADS)] / 64
    mean = odds / (odds + float(1 << 24))
    chance = np.zeros((BLOCK + 1, len(used), ROW))
    chance[0, :, 0] = 1
    for size in range(1, BLOCK + 1):
        whole = (1 - spread) + spread * (size - 1)
        for ones in range(size):
            zero = (1 - mean) * (1 - spread) + spread * (size - 1 - ones)
            chance[size, :, ones] = chance[size - 1, :, ones] * zero / whole
        one = mean * (1 - spread) + spread * (size - 1)
        chance[size, :, size] = chance[size - 1, :, size - 1] * one / whole
    each = np.floor(chance * (TOTAL - (1 << BLOCK))).astype(np.int64) + 1
    sizes = np.repeat(np.arange(BLOCK + 1), len(which))
    return stack_shares(each[:, which].reshape(-1, ROW), sizes)


def stack_shares(each: NDArray[np.int64], size: NDArray[np.int64]) -> Shares:
    """Return shares from the share of one pattern, int64 (rows, ROW), and the rows' sizes.

    The only pattern of a block of no bits has all, so that coding it changes nothing.
    """
    ones, size = np.arange(ROW), size[:, None]
    each = np.where(size == 0, TOTAL, each) * (ones <= size)
    alike = each * np.pad(PATTERNS.choose, ((0, 0), (0, 1)))[size[:, 0]]
    ends = np.cumsum(alike, axis=1)
    above = _lines(len(each) * BLOCK)
    above[:] = np.where(ones >= size, TOTAL, ends)[:, :BLOCK].flat
    steps = np.empty((*each.shape, 2), np.uint64)
    steps[..., 0] = (ends - alike) | (each << 32)
    steps[..., 1] = np.uint64(2**64 - 1) // np.maximum(each, 1).astype(np.uint64)
    return Shares(above, steps.reshape(-1))


def _lines(count: int) -> NDArray[np.uint32]:
    """Return room for so many numbers, from the start of a line of a cache on."""
    room = np.empty(count + 15, np.uint32)
    return room[-room.ctypes.data % 64 // 4 :][:count]


def best_models(counts: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Return the urns under which counted blocks take the fewest bits, uint16 (contexts).

    `counts` is (BLOCK + 1, contexts, ROW): blocks seen by size, context and number of ones.
    """
    steps = shares(np.arange(MODELS)).steps.reshape(BLOCK + 1, MODELS, ROW, 2)
    each = (steps[..., 0] >> np.uint64(32)).astype(np.float64)
    bits = np.log2(np.maximum(each, 1))
    saved = np.tensordot(counts, bits, ((0, 2), (0, 2)))
    best: NDArray[np.uint16] = np.argmax(saved, axis=1).astype(np.uint16)
    return best
