"""Changes of masks against masks held: of each block first its zeros, then its ones.

The positions of a row are sorted as in `prior_model`. A zero becomes a one, or a one a zero,
with a chance that goes by how often the cloud saw a one there, by how many ones the held
row has against those expected, and by how many such changes the row has had so far.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim.kernels.ans import (
    LOW,
    PATTERNS,
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
from fedsim.kernels.blocks import (
    Blocks,
    gather,
    rank_among,
    scatter,
    spread_over,
    words_of,
)
from fedsim.kernels.prior_model import CONTEXTS, LAST_COUNT, LAST_SEEN


@njit(cache=True, error_model="numpy", forceinline=True)
def row_ones(blocks, begin, end):  # type: ignore[no-untyped-def]
    """Return the number of ones in some blocks, at most LAST_COUNT."""
    ones = np.int64(0)
    for block in range(begin, end):
        ones += ones_of(np.uint64(blocks[np.uint64(block)]))
    return np.uint64(min(ones, LAST_COUNT))


@njit(cache=True, error_model="numpy")
def parts(old, changed, first, sizes, level, choose, place, rank):  # type: ignore[no-untyped-def]
    """Fill where the shares of every coded part lie and its rank; return how many there are."""
    step = np.uint64(0)
    for row in range(len(first) - 1):
        ones = row_ones(old, first[row], first[row + 1])
        risen, fallen = np.int64(0), np.int64(0)
        for index in range(first[row], first[row + 1]):
            block = np.uint64(index)
            held, change = np.int64(old[block]), np.int64(changed[block])
            busy, held_ones = np.int64(level[block, ones]), ones_of(np.uint64(held))
            zeros = sizes[block] - held_ones
            # Both parts are always written and an empty one is passed over: whether a block
            # holds ones is hard to foresee, so that branches would cost more.
            new = ones_of(np.uint64(change & ~held))
            place[step] = (busy + min(risen, LAST_SEEN)) * TABLE + zeros * ROW + new
            rank[step] = rank_among(change & ~held, ~held, choose)
            risen += new
            step += np.uint64(zeros > 0)
            new = ones_of(np.uint64(change & held))
            place[step] = (CONTEXTS + busy + min(fallen, LAST_SEEN)) * TABLE + held_ones * ROW + new
            rank[step] = rank_among(change & held, held, choose)
            fallen += new
            step += np.uint64(held_ones > 0)
    return np.int64(step)


@njit(cache=True, error_model="numpy")
def nearest(masks):  # type: ignore[no-untyped-def]
    """Return for each mask (words) the other one that shares most ones with it."""
    near = np.zeros(len(masks), np.int64)
    for one in range(len(masks)):
        most = np.int64(-1)
        for other in range(len(masks)):
            shared = np.int64(0)
            for index in range(masks.shape[1]):
                shared += ones_of(masks[one, index] & masks[other, index])
            if shared > most and other != one:
                near[one], most = other, shared
    return near


def tally(
    rows: NDArray[np.uint8], held: NDArray[np.uint8], cut: Blocks, level: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Count changes of sample masks, float32 (2 · CONTEXTS, TABLE)."""
    counts = np.zeros(2 * CONTEXTS * TABLE, np.float32)
    _tally(words_of(rows), words_of(held), *cut[:3], level, PATTERNS.choose, counts)
    return counts.reshape(2 * CONTEXTS, TABLE)


@njit(cache=True, error_model="numpy")
def _tally(rows, held, first, sizes, slots, level, choose, counts):  # type: ignore[no-untyped-def]
    old, changed = np.empty(len(sizes), np.uint16), np.empty(len(sizes), np.uint16)
    room = 2 * len(sizes) + 1
    place, rank = np.empty(room, np.uint32), np.empty(room, np.uint32)
    for edge in range(len(rows)):
        gather(held[edge], slots, old)
        gather(rows[edge] ^ held[edge], slots, changed)
        for step in range(parts(old, changed, first, sizes, level, choose, place, rank)):
            counts[place[step]] += 1


@njit(cache=True, error_model="numpy")
def encode(rows, held, checks, cut, level, shares, patterns, out, offsets):  # type: ignore[no-untyped-def]
    """Encode masks (words) against those held into `out`, filling the offsets of their ends."""
    first, bits, slots, choose = cut.first, cut.size, cut.place, patterns.choose
    start, each = shares
    room = 2 * len(bits) + 1
    old, changed = np.empty(len(bits), np.uint16), np.empty(len(bits), np.uint16)
    place, rank = np.empty(room, np.uint32), np.empty(room, np.uint32)
    starts, sizes = np.empty(room, np.uint32), np.empty(room, np.uint32)
    words = np.empty(room, np.uint32)
    for edge in range(len(rows)):
        gather(held[edge], slots, old)
        gather(rows[edge] ^ held[edge], slots, changed)
        count = parts(old, changed, first, bits, level, choose, place, rank)
        for index in range(count):
            step = np.uint64(index)
            push(starts, sizes, step, place[step], rank[step], start, each)
        offsets[edge + 1] = emit(starts, sizes, count, checks[edge], words, out, offsets[edge])


@njit(cache=True, error_model="numpy")
def decode(data, offsets, held, checks, cut, level, shares, patterns, select, rows):  # type: ignore[no-untyped-def]
    """Fill masks (words); return the first damaged row, or -1."""
    first, sizes, source, place = cut.first, cut.size, cut.source, cut.place
    by_ones, ones_at = patterns.block, patterns.first
    start, each = shares
    old = np.empty(len(sizes), np.uint16)
    for edge in range(len(rows)):
        stop, mask = offsets[edge + 1], rows[edge]
        mask[:] = held[edge]
        state, at = begin(data, offsets[edge], stop)
        gather(held[edge], place, old)
        for row in range(len(first) - 1):
            ones = row_ones(old, first[row], first[row + 1])
            risen, fallen = np.int64(0), np.int64(0)
            for index in range(first[row], first[row + 1]):
                block = np.uint64(index)
                now = np.int64(old[block])
                busy, held_ones = np.int64(level[block, ones]), ones_of(np.uint64(now))
                up, down = np.int64(0), np.int64(0)
                if held_ones < sizes[block]:
                    size = sizes[block] - held_ones
                    model = (busy + min(risen, LAST_SEEN)) * TABLE + size * ROW
                    slot = np.uint32(state & np.uint64(TOTAL - 1))
                    up, new, begins, share = find(slot, size, model, start, each, ones_at, by_ones)
                    state = advance(state, begins, share)
                    if state < np.uint64(LOW) and at + 4 <= stop:
                        state = refill(state, data, at)
                        at += 4
                    risen += new
                if held_ones:
                    model = (CONTEXTS + busy + min(fallen, LAST_SEEN)) * TABLE + held_ones * ROW
                    slot = np.uint32(state & np.uint64(TOTAL - 1))
                    down, new, begins, share = find(
                        slot, held_ones, model, start, each, ones_at, by_ones
                    )
                    state = advance(state, begins, share)
                    if state < np.uint64(LOW) and at + 4 <= stop:
                        state = refill(state, data, at)
                        at += 4
                    fallen += new
                if up or down:
                    flips = spread_over(up, ~now & 0xFFFF, select)
                    flips |= spread_over(down, now, select)
                    scatter(flips & 0xFFFF, index, source, mask)
        if state != np.uint64(LOW) + np.uint64(checks[edge]) or at != stop:
            return edge
    return -1
