"""Masks with a prior: blocks of like positions, whose urn goes by what was seen of the row.

The positions of a row are sorted by how often the cloud saw a one there, and cut into
blocks. How busy a row is shows as it is read: the ones so far against those expected so far
scale what is expected of the next block, and that level names the block's urn.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim.kernels.ans import (
    LOW,
    ROW,
    TABLE,
    TOTAL,
    advance,
    begin,
    emit,
    find,
    push,
    refill,
)
from fedsim.kernels.bits import ones_of
from fedsim.kernels.blocks import Blocks, gather, scatter, words_of

UNIT = 1 << 20
"""What stands for 1 in expected numbers of ones."""
LEVELS = 32
SEEN = 4
"""How many numbers of ones (or changes) in the row so far are told apart."""
CONTEXTS = LEVELS * SEEN
MOST = 64
"""Numbers of ones in a row are told apart below this."""
LAST_SEEN, LAST_COUNT = np.int64(SEEN - 1), np.int64(MOST - 1)

_STEPS = np.array([isqrt(1 << (40 + step)) for step in range(-26, 5)])
"""Bounds between levels, half an octave apart, in UNIT."""


def levels(
    expected: NDArray[np.int64], reference: NDArray[np.int64], size: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return SEEN · the level of every block for each number of ones, (blocks, MOST).

    `expected` ones of a block are scaled by the ones counted against those expected in
    `reference`, all in UNIT; half a one is added to both.
    """
    counted = np.arange(MOST) * UNIT + UNIT // 2
    whole = (reference + UNIT // 2) * size
    rate = counted[None] * expected[:, None] // whole[:, None]
    return (SEEN * np.searchsorted(_STEPS, rate, side="right")).astype(np.uint8)


def level_rates() -> NDArray[np.float64]:
    """Return the middle of every level, float64 (LEVELS), at most 0.5."""
    middle = 2.0 ** ((np.arange(LEVELS) - 26.5) / 2)
    return np.minimum(middle, 0.5)


@njit(cache=True, error_model="numpy")
def contexts(blocks, first, level, out):  # type: ignore[no-untyped-def]
    """Fill the context of every block of one mask."""
    for row in range(len(first) - 1):
        seen = np.int64(0)
        for block in range(first[row], first[row + 1]):
            busy = np.int64(level[np.uint64(block), np.uint64(min(seen, LAST_COUNT))])
            new = 0 if block == first[row] else min(seen + 1, LAST_SEEN)
            out[np.uint64(block)] = busy + new
            seen += ones_of(np.uint64(blocks[np.uint64(block)]))


def tally(rows: NDArray[np.uint8], cut: Blocks, level: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Count blocks of sample masks, float32 (CONTEXTS, TABLE)."""
    counts = np.zeros((CONTEXTS, TABLE), np.float32)
    _tally(words_of(rows), *cut[:3], level, counts)
    return counts


@njit(cache=True, error_model="numpy")
def _tally(rows, first, sizes, place, level, counts):  # type: ignore[no-untyped-def]
    blocks, context = np.empty(len(sizes), np.uint16), np.empty(len(sizes), np.int64)
    for edge in range(len(rows)):
        gather(rows[edge], place, blocks)
        contexts(blocks, first, level, context)
        for block in range(len(sizes)):
            counts[context[block], sizes[block] * ROW + ones_of(np.uint64(blocks[block]))] += 1


@njit(cache=True, error_model="numpy")
def encode(rows, checks, cut, level, shares, patterns, out, offsets):  # type: ignore[no-untyped-def]
    """Encode masks (words) into `out`, filling the offsets of their ends."""
    count = len(cut.size)
    blocks, context = np.empty(count, np.uint16), np.empty(count, np.int64)
    starts, sizes = np.empty(count, np.uint32), np.empty(count, np.uint32)
    words = np.empty(count, np.uint32)
    first, size, place, rank = cut.first, cut.size, cut.place, patterns.rank
    start, each = shares
    for edge in range(len(rows)):
        gather(rows[edge], place, blocks)
        contexts(blocks, first, level, context)
        for index in range(count):
            block = np.uint64(index)
            word = blocks[block]
            row = context[block] * TABLE + size[block] * ROW
            which = row + ones_of(np.uint64(word))
            push(starts, sizes, block, which, rank[np.uint64(word)], start, each)
        offsets[edge + 1] = emit(starts, sizes, count, checks[edge], words, out, offsets[edge])


@njit(cache=True, error_model="numpy")
def decode(data, offsets, checks, cut, level, shares, patterns, rows):  # type: ignore[no-untyped-def]
    """Fill zeroed masks (words); return the first damaged row, or -1."""
    first, size, source = cut.first, cut.size, cut.source
    by_ones, ones_at = patterns.block, patterns.first
    start, each = shares
    for edge in range(len(rows)):
        stop = offsets[edge + 1]
        state, at = begin(data, offsets[edge], stop)
        mask = rows[edge]
        for row in range(len(first) - 1):
            seen, new = np.int64(0), np.int64(0)
            for block in range(first[row], first[row + 1]):
                busy = np.int64(level[np.uint64(block), np.uint64(min(seen, LAST_COUNT))])
                bits = size[np.uint64(block)]
                model = (busy + new) * TABLE + bits * ROW
                slot = np.uint32(state & np.uint64(TOTAL - 1))
                word, ones, begins, share = find(slot, bits, model, start, each, ones_at, by_ones)
                state = advance(state, begins, share)
                if state < np.uint64(LOW) and at + 4 <= stop:
                    state = refill(state, data, at)
                    at += 4
                scatter(word, block, source, mask)
                seen += ones
                new = min(seen + 1, LAST_SEEN)
        if state != np.uint64(LOW) + np.uint64(checks[edge]) or at != stop:
            return edge
    return -1
