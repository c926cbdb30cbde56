"""Changes of masks against masks held: of each block first its zeros, then its ones.

The positions of a row are sorted as in `prior_model`. A zero becomes a one, or a one a zero,
with a chance that goes by how often the cloud saw a one there, by how many ones the held
row has against those expected, and by how many such changes the row has had so far.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim.kernels.ans import LOW, ROW, TABLE, TOTAL, advance, begin, emit, find, push, refill
from fedsim.kernels.bits import ones_of
from fedsim.kernels.blocks import (
    Blocks,
    deposit,
    extract,
    gather,
    insert,
    remove,
    scatter,
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
def parts(old, changed, first, sizes, level, model, word):  # type: ignore[no-untyped-def]
    """Fill every coded part of a mask's blocks and where its shares lie; return how many."""
    step = np.uint64(0)
    for row in range(len(first) - 1):
        ones = row_ones(old, first[row], first[row + 1])
        risen, fallen = np.int64(0), np.int64(0)
        for index in range(first[row], first[row + 1]):
            block = np.uint64(index)
            held, change = np.int64(old[block]), np.int64(changed[block])
            busy, held_ones = np.int64(level[block, ones]), ones_of(np.uint64(held))
            zeros = sizes[block] - held_ones
            if zeros:
                model[step] = (busy + min(risen, LAST_SEEN)) * TABLE + zeros * ROW
                word[step] = remove(change & ~held, held)
                risen += ones_of(np.uint64(word[step]))
                step += np.uint64(1)
            if held_ones:
                context = CONTEXTS + busy + min(fallen, LAST_SEEN)
                model[step] = context * TABLE + held_ones * ROW
                word[step] = extract(change & held, held)
                fallen += ones_of(np.uint64(word[step]))
                step += np.uint64(1)
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
    _tally(words_of(rows), words_of(held), *cut[:3], level, counts)
    return counts.reshape(2 * CONTEXTS, TABLE)


@njit(cache=True, error_model="numpy")
def _tally(rows, held, first, sizes, place, level, counts):  # type: ignore[no-untyped-def]
    old, changed = np.empty(len(sizes), np.uint16), np.empty(len(sizes), np.uint16)
    model, word = np.empty(2 * len(sizes), np.int64), np.empty(2 * len(sizes), np.uint16)
    for edge in range(len(rows)):
        gather(held[edge], place, old)
        gather(rows[edge] ^ held[edge], place, changed)
        for step in range(parts(old, changed, first, sizes, level, model, word)):
            counts[model[step] + ones_of(np.uint64(word[step]))] += 1


@njit(cache=True, error_model="numpy")
def encode(rows, held, checks, cut, level, shares, patterns, out, offsets):  # type: ignore[no-untyped-def]
    """Encode masks (words) against those held into `out`, filling the offsets of their ends."""
    first, bits, place, rank = cut.first, cut.size, cut.place, patterns.rank
    start, each = shares
    room = 2 * len(bits)
    old, changed = np.empty(len(bits), np.uint16), np.empty(len(bits), np.uint16)
    model, word = np.empty(room, np.int64), np.empty(room, np.uint16)
    starts, sizes = np.empty(room, np.uint32), np.empty(room, np.uint32)
    words = np.empty(room, np.uint32)
    for edge in range(len(rows)):
        gather(held[edge], place, old)
        gather(rows[edge] ^ held[edge], place, changed)
        count = parts(old, changed, first, bits, level, model, word)
        for index in range(count):
            step = np.uint64(index)
            ones = ones_of(np.uint64(word[step]))
            push(starts, sizes, step, word[step], ones, model[step], start, each, rank)
        offsets[edge + 1] = emit(starts, sizes, count, checks[edge], words, out, offsets[edge])


@njit(cache=True, error_model="numpy")
def decode(data, offsets, held, checks, cut, level, shares, patterns, rows):  # type: ignore[no-untyped-def]
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
                    flips = (insert(up, now) | deposit(down, now)) & 0xFFFF
                    scatter(flips, index, source, mask)
        if state != np.uint64(LOW) + np.uint64(checks[edge]) or at != stop:
            return edge
    return -1
