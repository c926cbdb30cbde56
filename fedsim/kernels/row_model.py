"""Masks without a prior: each row's number of ones, then its places, all as likely.

The number of ones goes by its size class (0, 1, 2, 3, 4-5, 6-7, 8-11, …), whose frequencies
are counted as rows go by, and then its place in the class. Given that number, the ones of
the row's next block are hypergeometric, so that the places take log2 C(n, k) bits.
"""

from __future__ import annotations

from math import comb
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim.kernels.ans import (
    LOW,
    STATE,
    USED,
    advance,
    begin,
    find,
    finish,
    inverse_of,
    new_lanes,
    put,
    share_of,
)
from fedsim.kernels.bits import leading_zeros, ones_of
from fedsim.kernels.blocks import Blocks, bits_at, flip, gather
from fedsim.kernels.urns import BITS, BLOCK, ROW, TOTAL, Shares, stack_shares

GAIN = 32
"""What a class seen gains over the 1 each starts with."""


class RowModel(NamedTuple):
    """Shares of a block given what is left of its row."""

    shares: Shares
    """Of all (bits left, ones left)."""
    row: NDArray[np.int64]
    """Where the shares of every block start, with no ones left (blocks)."""
    classes: int
    """Size classes of a row's number of ones."""


def row_model(blocks: Blocks) -> RowModel:
    """Return the hypergeometric shares of every block of natural rows."""
    size = blocks.size.astype(np.int64)
    ends = np.cumsum(size)
    row_end = np.repeat(ends[blocks.first[1:] - 1], np.diff(blocks.first))
    left = row_end - ends + size
    kinds, which = np.unique(np.stack([left, size]), axis=1, return_inverse=True)
    each = [_given(bits, size, ones) for bits, size in kinds.T.tolist() for ones in range(bits + 1)]
    shares = stack_shares(np.array(each), np.repeat(kinds[1], kinds[0] + 1))
    first = np.cumsum(kinds[0] + 1) - kinds[0] - 1
    return RowModel(shares, first[which.reshape(-1)], int(_class_of(left.max())[0]) + 1)


def _given(bits: int, size: int, ones: int) -> NDArray[np.int64]:
    """Share of one pattern of the next `size` of `bits` bits that hold `ones` in all."""
    out = np.zeros(ROW, np.int64)
    scale, whole = TOTAL - (1 << BLOCK), comb(bits, ones)
    for part in range(size + 1):
        if 0 <= ones - part <= bits - size:
            out[part] = max(1, scale * comb(bits - size, ones - part) // whole)
    return out


@njit(cache=True, error_model="numpy")
def _class_of(count):  # type: ignore[no-untyped-def]
    """Return a number's class, and how many bits its place in it takes."""
    if count < 4:
        return count, 0
    length = 64 - leading_zeros(np.uint64(count))
    return 2 * length - 2 + ((count >> (length - 2)) & 1), length - 2


@njit(cache=True, error_model="numpy")
def _class_start(kind):  # type: ignore[no-untyped-def]
    """Return a class's least number, and how many bits the place in it takes."""
    if kind < 4:
        return kind, 0
    length = (kind + 2) // 2
    return (2 + (kind & 1)) << (length - 2), length - 2


@njit(cache=True, error_model="numpy")
def _share(seen, total, kind):  # type: ignore[no-untyped-def]
    """Start and size of a class's share of 2^28, from what was seen."""
    before = 0
    for index in range(kind):
        before += seen[index]
    start = (before << BITS) // total
    return start, ((before + seen[kind]) << BITS) // total - start


class Steps(NamedTuple):
    """Steps of one mask, in order."""

    start: NDArray[np.uint32]
    size: NDArray[np.uint32]
    """Start and size of the share."""
    inverse: NDArray[np.uint64]
    """What divides by it."""


@njit(cache=True, error_model="numpy")
def encode(rows, checks, cut, model, patterns, out, offsets):  # type: ignore[no-untyped-def]
    """Encode masks (words) into `out`, filling the offsets of their ends."""
    room = len(cut.size) + 2 * len(cut.first)
    lanes, words = new_lanes(room), np.empty(len(cut.words.start), np.uint64)
    empty = np.empty(room, np.uint32)
    steps = Steps(empty, np.empty(room, np.uint32), np.empty(room, np.uint64))
    seen = np.empty(model.classes, np.int64)
    for edge in range(len(rows)):
        gather(rows[edge], cut.words, words)
        seen[:] = 1
        step = np.uint64(0)
        for row in range(len(cut.first) - 1):
            step = _row_steps(words, row, cut, model, patterns.rank, seen, steps, step)
        _emit(steps, step, np.uint64(LOW) + np.uint64(checks[edge]), lanes)
        offsets[edge + 1] = finish(0, lanes, out, offsets[edge])


@njit(cache=True, error_model="numpy", forceinline=True)
def _row_steps(words, row, cut, model, ranks, seen, steps, step):  # type: ignore[no-untyped-def]
    """Append the steps of one row; return how many there are."""
    left = np.int64(0)
    for block in range(cut.first[row], cut.first[row + 1]):
        left += ones_of(bits_at(words, cut.at[block], cut.size[block]))
    kind, bits = _class_of(left)
    steps.start[step], steps.size[step] = _share(seen, len(seen) + GAIN * row, kind)
    steps.inverse[step] = inverse_of(steps.size[step])
    seen[kind] += GAIN
    step += np.uint64(1)
    # Written even where a class is one number: `put` tells why.
    steps.start[step] = (left & ((1 << bits) - 1)) << (BITS - bits)
    steps.size[step] = 1 << (BITS - bits)
    steps.inverse[step] = inverse_of(steps.size[step])
    step += np.uint64(bits > 0)
    block = cut.first[row]
    while left:
        word = bits_at(words, cut.at[block], cut.size[block])
        place = np.uint64((model.row[block] + left) * ROW + ones_of(word))
        start, steps.size[step], steps.inverse[step] = share_of(place, model.shares)
        steps.start[step] = start + ranks[word] * steps.size[step]
        step += np.uint64(1)
        left -= ones_of(word)
        block += 1
    return step


@njit(cache=True, error_model="numpy")
def _emit(steps, count, state, lanes):  # type: ignore[no-untyped-def]
    """Encode the steps, the last first, in the first lane."""
    used = np.uint64(0)
    for behind in range(count):
        step = count - np.uint64(1 + behind)
        lanes.words[0, used] = np.uint32(state & np.uint64(0xFFFFFFFF))
        state, shed = put(state, steps.start[step], steps.size[step], steps.inverse[step])
        used += shed
    lanes.now[0, STATE], lanes.now[0, USED] = state, used


@njit(cache=True, error_model="numpy")
def decode(data, offsets, checks, cut, model, patterns, rows):  # type: ignore[no-untyped-def]
    """Fill zeroed masks (words); return the first damaged row, or -1."""
    words = np.zeros(len(cut.size) + 2 * len(cut.first) + 1, np.uint32)
    found, seen = np.empty(len(cut.words.start), np.uint64), np.empty(model.classes, np.int64)
    for edge in range(len(rows)):
        state, length = begin(data, offsets[edge], offsets[edge + 1], words)
        used, left, row = np.uint64(0), np.int64(0), 0
        found[:] = 0
        seen[:] = 1
        while left == 0 and row < len(cut.first) - 1:
            left, state, used = _read_ones(seen, len(seen) + GAIN * row, state, words, used)
            left, state, used = _read_row(
                left, row, cut, model, patterns, state, words, used, found
            )
            row += 1
        flip(found, cut.words, rows[edge])
        if left or state != np.uint64(LOW) + np.uint64(checks[edge]) or used != length:
            return edge
    return -1


@njit(cache=True, error_model="numpy", forceinline=True)
def _read_ones(seen, total, state, words, used):  # type: ignore[no-untyped-def]
    """Decode a row's number of ones; return it, the state and the words used."""
    target = ((np.int64(state & np.uint64(TOTAL - 1)) + 1) * total - 1) >> BITS
    kind, before = 0, np.int64(0)
    while before + seen[kind] <= target:
        before += seen[kind]
        kind += 1
    start, size = _share(seen, total, kind)
    state, taken = advance(state, start, size, words[used])
    used += taken
    seen[kind] += GAIN
    ones, bits = _class_start(kind)
    size = np.int64(1) << (BITS - bits)
    extra = np.int64(state & np.uint64(TOTAL - 1)) // size
    state, taken = advance(state, extra * size, size, words[used])
    return ones + extra, state, used + taken


@njit(cache=True, error_model="numpy", forceinline=True)
def _read_row(left, row, cut, model, patterns, state, words, used, found):  # type: ignore[no-untyped-def]
    """Decode a row of so many ones; return how many are left, the state and the words used.

    Only damaged bytes leave any, or say more ones than the row has bits.
    """
    block, most = cut.first[row], len(model.shares.above) // BLOCK - 1
    while left > 0 and block < cut.first[row + 1]:
        at = np.uint64(min(model.row[block] + left, most))
        slot = np.uint32(state & np.uint64(TOTAL - 1))
        word, ones, begins, share = find(slot, at, model.shares, patterns)
        state, taken = advance(state, begins, share, words[used])
        used += taken
        found[np.uint64(cut.at[block] >> 6)] |= word << np.uint64(cut.at[block] & 63)
        left -= np.int64(ones)
        block += 1
    return left, state, used
