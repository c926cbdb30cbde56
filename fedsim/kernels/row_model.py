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
    BITS,
    BLOCK,
    LOW,
    ROW,
    TABLE,
    TOTAL,
    Shares,
    advance,
    begin,
    emit,
    find,
    push,
    refill,
    stack_shares,
)
from fedsim.kernels.bits import leading_zeros, ones_of
from fedsim.kernels.blocks import Blocks, gather, scatter

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
    ends = np.cumsum(blocks.size)
    row_end = np.repeat(ends[blocks.first[1:] - 1], np.diff(blocks.first))
    left = row_end - ends + blocks.size
    kinds, which = np.unique(np.stack([left, blocks.size]), axis=1, return_inverse=True)
    each, start = [], [0]
    for bits, size in kinds.T.tolist():
        each += [_given(bits, size, ones) for ones in range(bits + 1)]
        start.append(len(each))
    row = TABLE * np.array(start)[which.reshape(-1)] + ROW * blocks.size
    return RowModel(stack_shares(np.array(each)), row, int(_class_of(left.max())[0]) + 1)


def _given(bits: int, size: int, ones: int) -> NDArray[np.int64]:
    """Share of one pattern of the next `size` of `bits` bits that hold `ones` in all."""
    out = np.zeros((BLOCK + 1, BLOCK + 2), np.int64)
    scale, whole = TOTAL - (1 << BLOCK), comb(bits, ones)
    for part in range(size + 1):
        if 0 <= ones - part <= bits - size:
            out[size, part] = max(1, scale * comb(bits - size, ones - part) // whole)
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


@njit(cache=True, error_model="numpy")
def encode(rows, checks, cut, model, patterns, out, offsets):  # type: ignore[no-untyped-def]
    """Encode masks (words) into `out`, filling the offsets of their ends."""
    room = len(cut.size) + 2 * len(cut.first)
    blocks = np.empty(len(cut.size), np.uint16)
    starts, sizes = np.empty(room, np.uint32), np.empty(room, np.uint32)
    words = np.empty(room, np.uint32)
    seen = np.empty(model.classes, np.int64)
    place, first, model_row, rank = cut.place, cut.first, model.row, patterns.rank
    start, each = model.shares
    for edge in range(len(rows)):
        gather(rows[edge], place, blocks)
        seen[:] = 1
        total, step = np.int64(len(seen)), np.uint64(0)
        for row in range(len(cut.first) - 1):
            left = np.int64(0)
            for block in range(first[row], first[row + 1]):
                left += ones_of(np.uint64(blocks[np.uint64(block)]))
            kind, bits = _class_of(left)
            starts[step], sizes[step] = _share(seen, total, kind)
            seen[kind] += GAIN
            total += GAIN
            step += np.uint64(1)
            if bits:
                starts[step] = (left & ((1 << bits) - 1)) << (BITS - bits)
                sizes[step] = 1 << (BITS - bits)
                step += np.uint64(1)
            for block in range(first[row], first[row + 1]):
                if left == 0:
                    break
                word = blocks[np.uint64(block)]
                ones = ones_of(np.uint64(word))
                which = model_row[np.uint64(block)] + left * TABLE + ones
                push(starts, sizes, step, which, rank[np.uint64(word)], start, each)
                step += np.uint64(1)
                left -= ones
        end = emit(starts, sizes, np.int64(step), checks[edge], words, out, offsets[edge])
        offsets[edge + 1] = end


@njit(cache=True, error_model="numpy")
def decode(data, offsets, checks, cut, model, patterns, rows):  # type: ignore[no-untyped-def]
    """Fill zeroed masks (words); return the first damaged row, or -1."""
    seen = np.empty(model.classes, np.int64)
    first, bits_of, source, model_row = cut.first, cut.size, cut.source, model.row
    by_ones, ones_at = patterns.block, patterns.first
    start, each = model.shares
    for edge in range(len(rows)):
        stop = offsets[edge + 1]
        state, at = begin(data, offsets[edge], stop)
        seen[:] = 1
        total = np.int64(len(seen))
        for row in range(len(cut.first) - 1):
            target = ((np.int64(state & np.uint64(TOTAL - 1)) + 1) * total - 1) >> BITS
            kind, before = 0, np.int64(0)
            while before + seen[kind] <= target:
                before += seen[kind]
                kind += 1
            least, size = _share(seen, total, kind)
            state = advance(state, least, size)
            if state < np.uint64(LOW) and at + 4 <= stop:
                state = refill(state, data, at)
                at += 4
            seen[kind] += GAIN
            total += GAIN
            left, bits = _class_start(kind)
            if bits:
                size = np.int64(1) << (BITS - bits)
                extra = np.int64(state & np.uint64(TOTAL - 1)) // size
                state = advance(state, extra * size, size)
                if state < np.uint64(LOW) and at + 4 <= stop:
                    state = refill(state, data, at)
                    at += 4
                left += extra
            for block in range(first[row], first[row + 1]):
                if left == 0:
                    break
                which = model_row[block] + left * TABLE
                if which + ROW > len(each):
                    return edge
                slot = np.uint32(state & np.uint64(TOTAL - 1))
                word, ones, begins, share = find(
                    slot, bits_of[block], which, start, each, ones_at, by_ones
                )
                if ones > left:
                    return edge
                state = advance(state, begins, share)
                if state < np.uint64(LOW) and at + 4 <= stop:
                    state = refill(state, data, at)
                    at += 4
                scatter(word, block, source, rows[edge])
                left -= ones
            if left:
                return edge
        if state != np.uint64(LOW) + np.uint64(checks[edge]) or at != stop:
            return edge
    return -1
