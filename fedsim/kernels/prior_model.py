"""Masks with a prior: blocks of like positions, whose urn goes by what was seen of the row.

The positions of a row are sorted by how often the cloud saw a one there, and cut into
blocks. How busy a row is shows as it is read: the ones so far against those expected so far
scale what is expected of the next block, and that level names the block's urn.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim.kernels.ans import (
    LANES,
    LOW,
    SO_FAR,
    STATE,
    USED,
    begin,
    emit,
    finish,
    new_lanes,
    take,
)
from fedsim.kernels.bits import ones_of
from fedsim.kernels.blocks import Blocks, bits_at, flip, gather, words_of
from fedsim.kernels.urns import BLOCK, PATTERNS, ROW

UNIT = 1 << 20
"""What stands for 1 in expected numbers of ones."""
LEVELS = 32
SEEN = 4
"""How many numbers of ones (or changes) in the row so far are told apart."""
CONTEXTS = LEVELS * SEEN
MOST = 64
"""Numbers of ones in a row are told apart below this."""
OCTAVE = 16
"""What stands for 1 in logarithms."""
HALF_OCTAVE = OCTAVE // 2
LOWEST = 27 * HALF_OCTAVE
"""Level 1 starts 13 octaves below certainty, and each takes half an octave."""


def level_rates() -> NDArray[np.float64]:
    """Return the middle of every level, float64 (LEVELS), at most 0.5."""
    middle = 2.0 ** ((np.arange(LEVELS) - 26.5) / 2)
    return np.minimum(middle, 0.5)


def logarithms(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return OCTAVE · log2 of whole numbers, rounded down the same everywhere; 0 for 0."""
    return np.array([(max(number, 1) ** OCTAVE).bit_length() - 1 for number in numbers.tolist()])


def log_counts(most: int) -> NDArray[np.int64]:
    """Return what 0, 1, … `most` ones counted add to `log_rates`."""
    return logarithms(2 * np.arange(most + 1) + 1)


def log_rates(
    expected: NDArray[np.int64], reference: NDArray[np.int64], size: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Return logarithms of the rates of blocks, which half octaves make levels.

    `expected` ones of a block are scaled by the ones counted against those expected in
    `reference`, both in UNIT; half a one is added to both.
    """
    return LOWEST + logarithms(expected) - logarithms((2 * reference + UNIT) * size)


def levels(logarithm: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the levels of logarithms of rates, 0..LEVELS - 1."""
    level: NDArray[np.int64] = np.clip(logarithm // HALF_OCTAVE, 0, LEVELS - 1)
    return level


def contexts(blocks: Blocks, expected: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the context of every block for each number of ones before it, (blocks, MOST).

    `expected` ones of blocks are in UNIT; a row's first block has contexts of its own.
    """
    before = np.cumsum(expected) - expected
    start = np.repeat(before[blocks.first[:-1]], np.diff(blocks.first))
    rate = log_rates(expected, before - start, blocks.size)
    level = levels(rate[:, None] + log_counts(MOST - 1))
    seen = np.broadcast_to(np.minimum(np.arange(MOST) + 1, SEEN - 1), level.shape).copy()
    seen[blocks.first[:-1]] = 0
    context: NDArray[np.uint8] = (SEEN * level + seen).astype(np.uint8)
    return context


@njit(cache=True, error_model="numpy")
def steps(words, cut, context, ranks, place, rank):  # type: ignore[no-untyped-def]
    """Fill the place of the share and the rank of every block of one mask."""
    for row in range(len(cut.first) - 1):
        seen = np.uint64(0)
        for index in range(cut.first[row], cut.first[row + 1]):
            block = np.uint64(index)
            size = np.uint64(cut.size[block])
            word = bits_at(words, cut.at[block], size)
            model = size * np.uint64(CONTEXTS) + np.uint64(context[block, seen])
            ones = np.uint64(ones_of(word))
            place[block] = model * np.uint64(ROW) + ones
            rank[block] = ranks[word]
            seen = min(seen + ones, np.uint64(MOST - 1))


def tally(rows: NDArray[np.uint8], cut: Blocks, context: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Count blocks of sample masks, float32 (BLOCK + 1, CONTEXTS, ROW)."""
    counts = np.zeros((BLOCK + 1) * CONTEXTS * ROW, np.float32)
    _tally(words_of(rows), cut, context, PATTERNS.rank, counts)
    return counts.reshape(BLOCK + 1, CONTEXTS, ROW)


@njit(cache=True, error_model="numpy")
def _tally(rows, cut, context, ranks, counts):  # type: ignore[no-untyped-def]
    words = np.empty(len(cut.words.start), np.uint64)
    place, rank = np.empty(len(cut.size), np.uint32), np.empty(len(cut.size), np.uint32)
    for edge in range(len(rows)):
        gather(rows[edge], cut.words, words)
        steps(words, cut, context, ranks, place, rank)
        for step in range(len(place)):
            counts[place[step]] += 1


@njit(cache=True, error_model="numpy")
def encode(rows, checks, cut, context, shares, patterns, out, offsets):  # type: ignore[no-untyped-def]
    """Encode masks (words) into `out`, filling the offsets of their ends."""
    count = len(cut.size)
    lanes, words = new_lanes(count), np.empty(len(cut.words.start), np.uint64)
    place, rank = np.empty((LANES, count), np.uint32), np.empty((LANES, count), np.uint32)
    for edge in range(0, len(rows), LANES):
        many = min(LANES, len(rows) - edge)
        lanes.now[:] = 0
        for lane in range(many):
            gather(rows[edge + lane], cut.words, words)
            steps(words, cut, context, patterns.rank, place[lane], rank[lane])
            lanes.now[lane, STATE] = np.uint64(LOW) + np.uint64(checks[edge + lane])
        emit(place, rank, 0, count, many, shares, lanes)
        for lane in range(many):
            offsets[edge + lane + 1] = finish(lane, lanes, out, offsets[edge + lane])


@njit(cache=True, error_model="numpy")
def decode(data, offsets, checks, cut, context, shares, patterns, rows):  # type: ignore[no-untyped-def]
    """Fill zeroed masks (words); return the first damaged row, or -1."""
    lanes, length = new_lanes(len(cut.size)), np.empty(LANES, np.uint64)
    found = np.empty((LANES, len(cut.words.start)), np.uint64)
    for edge in range(0, len(rows), LANES):
        many = min(LANES, len(rows) - edge)
        lanes.now[:] = 0
        for lane in range(many):
            ends = offsets[edge + lane], offsets[edge + lane + 1]
            lanes.now[lane, STATE], length[lane] = begin(data, *ends, lanes.words[lane])
        _read(cut, context, shares, patterns, many, lanes, found)
        for lane in range(many):
            flip(found[lane], cut.words, rows[edge + lane])
            end = np.uint64(LOW) + np.uint64(checks[edge + lane])
            if lanes.now[lane, STATE] != end or lanes.now[lane, USED] != length[lane]:
                return edge + lane
    return -1


@njit(cache=True, error_model="numpy")
def _read(cut, context, shares, patterns, many, lanes, found):  # type: ignore[no-untyped-def]
    """Decode the words of rows of `many` masks."""
    found[:] = 0
    for row in range(len(cut.first) - 1):
        lanes.now[:, SO_FAR] = 0
        for index in range(cut.first[row], cut.first[row + 1]):
            block = np.uint64(index)
            models = np.uint64(cut.size[block]) * np.uint64(CONTEXTS)
            word, bit = np.uint64(cut.at[block] >> 6), np.uint64(cut.at[block] & 63)
            for which in range(many):
                lane = np.uint64(which)
                seen = lanes.now[lane, SO_FAR]
                model = models + np.uint64(context[block, seen])
                bits, ones = take(model, lane, shares, patterns, lanes)
                found[lane, word] |= bits << bit
                lanes.now[lane, SO_FAR] = min(seen + ones, np.uint64(MOST - 1))
