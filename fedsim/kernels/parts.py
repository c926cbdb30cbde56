"""What may change of a mask held, as a list of parts of at most 16 bits.

First come the rows without ones, sixteen a part: few of them get any, and the blocks of the
others need not be looked at. Then come the zeros of all blocks of the rows left, which may
become ones, and then the ones of these blocks, which may become zeros.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim.kernels.ans import LANES
from fedsim.kernels.bits import ones_of
from fedsim.kernels.blocks import SPREAD, TOGETHER, Blocks, bits_at, gather, spread_over, together
from fedsim.kernels.prior_model import (
    CONTEXTS,
    HALF_OCTAVE,
    LEVELS,
    LOWEST,
    SEEN,
    UNIT,
    levels,
    log_counts,
    log_rates,
    logarithms,
)
from fedsim.kernels.urns import BLOCK, ROW

SECTIONS = 3
WAKING = 3 * CONTEXTS
CHANGES = WAKING + LEVELS
"""Contexts: of zeros, of ones, of zeros in rows that held no ones, and of such rows."""
FRESH = np.uint32(31 << 27)
"""Marks a part that no changes before it count for: how far their number is shifted."""


class Model(NamedTuple):
    """What the chance of a change goes by."""

    blocks: Blocks
    rate: NDArray[np.int16]
    """Logarithm of the rate of every block (blocks)."""
    counted: NDArray[np.int16]
    """What 0, 1, … ones held in its row add to it."""
    order: NDArray[np.int64]
    """Rows, those where most ones are expected first (rows)."""
    waking: NDArray[np.int64]
    """Context of every 16 rows of that order."""


class Work(NamedTuple):
    """Room to work at LANES masks."""

    held: NDArray[np.uint64]
    """Words of the rows held (LANES, words)."""
    changed: NDArray[np.uint64]
    """What of them changes, and then which rows in order get their first ones."""
    ones: NDArray[np.int64]
    """How many ones every row holds (LANES, rows)."""
    awake: NDArray[np.uint8]
    """Whether a row without ones gets some (LANES, rows)."""
    active: NDArray[np.uint64]
    """Rows whose blocks are listed."""
    row: NDArray[np.uint32]
    """Row of every part's shares with no changes before it, or FRESH (LANES, parts)."""
    mask: NDArray[np.uint16]
    """Bits of every part (LANES, parts)."""
    at: NDArray[np.uint32]
    """64 · word + bit where the part's block starts in `changed` (LANES, parts)."""
    starts: tuple[int, int, int]
    """Where rows without ones, zeros and ones are listed, each section with room for all."""
    ends: NDArray[np.int64]
    """Where the sections end (LANES, SECTIONS)."""


def change_model(blocks: Blocks, expected: NDArray[np.int64]) -> Model:
    """Return what changes go by, from the ones expected in every block, in UNIT."""
    whole = np.add.reduceat(expected, blocks.first[:-1])
    length = np.add.reduceat(blocks.size.astype(np.int64), blocks.first[:-1])
    rate = log_rates(expected, np.repeat(whole, np.diff(blocks.first)), blocks.size)
    order = np.argsort(-(whole // length), kind="stable")
    groups = np.arange(0, len(order), BLOCK)
    ones, bits = (np.add.reduceat(each[order], groups) for each in (whole, length))
    waking = WAKING + levels(LOWEST + logarithms(ones) - logarithms(bits * UNIT))
    counted = log_counts(int(length.max()))
    return Model(blocks, rate.astype(np.int16), counted.astype(np.int16), order, waking)


@njit(cache=True, error_model="numpy")
def new_work(model):  # type: ignore[no-untyped-def]
    """Return room for all parts there can be."""
    words, rows = len(model.blocks.words.start), len(model.order)
    waking, blocks = len(model.waking), len(model.blocks.size)
    # One part more in a section: `list_blocks` tells why.
    parts = LANES, waking + 2 * (blocks + 1)
    return Work(
        np.zeros((LANES, words), np.uint64),
        np.zeros((LANES, words + (rows + 63) // 64), np.uint64),
        np.zeros((LANES, rows), np.int64),
        np.zeros((LANES, rows), np.uint8),
        np.zeros(rows + 1, np.uint64),
        np.zeros(parts, np.uint32),
        np.zeros(parts, np.uint16),
        np.zeros(parts, np.uint32),
        (0, waking, waking + blocks + 1),
        np.full((LANES, SECTIONS), waking),
    )


@njit(cache=True, error_model="numpy")
def hold(mask, lane, model, work):  # type: ignore[no-untyped-def]
    """Begin with a mask held: read its rows and list those without ones."""
    first, held, ones = model.blocks.words.first, work.held[lane], work.ones[lane]
    gather(mask, model.blocks.words, held)
    for row in range(len(ones)):
        count = np.int64(0)
        for word in range(first[row], first[row + 1]):
            count += ones_of(held[word])
        ones[row] = count
    for part in range(len(model.waking)):
        start, rows = BLOCK * part, np.uint64(0)
        for bit in range(min(BLOCK, len(ones) - start)):
            rows |= np.uint64(ones[model.order[start + bit]] == 0) << np.uint64(bit)
        work.row[lane, part] = FRESH | np.uint32(ones_of(rows) * CHANGES + model.waking[part])
        work.mask[lane, part] = rows
        work.at[lane, part] = 64 * len(held) + start


@njit(cache=True, error_model="numpy")
def wake(lane, model, work):  # type: ignore[no-untyped-def]
    """Set which rows get their first ones, from what changes."""
    first, changed, awake = model.blocks.words.first, work.changed[lane], work.awake[lane]
    after = np.uint64(work.held.shape[1])
    changed[after:] = 0
    for row in range(len(awake)):
        bits = np.uint64(0)
        for word in range(first[row], first[row + 1]):
            bits |= changed[np.uint64(word)]
        awake[row] = np.uint64(bits != 0) & np.uint64(work.ones[lane, row] == 0)
    for index in range(len(awake)):
        place = np.uint64(index)
        new = np.uint64(awake[np.uint64(model.order[place])])
        changed[after + (place >> np.uint64(6))] |= new << (place & np.uint64(63))


@njit(cache=True, error_model="numpy")
def woken(lane, model, work):  # type: ignore[no-untyped-def]
    """Tell which rows get their first ones, where `changed` says so."""
    changed, awake, after = work.changed[lane], work.awake[lane], np.uint64(work.held.shape[1])
    for index in range(len(awake)):
        place = np.uint64(index)
        bits = changed[after + (place >> np.uint64(6))] >> (place & np.uint64(63))
        awake[np.uint64(model.order[place])] = bits & np.uint64(1)


@njit(cache=True, error_model="numpy")
def list_blocks(lane, model, work):  # type: ignore[no-untyped-def]
    """List the zeros and the ones of rows that have ones or get some.

    Parts without bits are written too, and the next one over them: which blocks hold ones is
    hard to foresee, so that a branch would cost more.
    """
    ones, awake, active, count = work.ones[lane], work.awake[lane], work.active, np.uint64(0)
    for index in range(len(ones)):
        row = np.uint64(index)
        active[count] = row
        count += np.uint64(awake[row]) | np.uint64(ones[row] > 0)
    zero, one = np.uint64(work.starts[1]), np.uint64(work.starts[2])
    for index in range(count):
        zero, one = _list_row(lane, active[np.uint64(index)], model, work, zero, one)
    work.ends[lane, 1], work.ends[lane, 2] = zero, one


@njit(cache=True, error_model="numpy", forceinline=True)
def _list_row(lane, row, model, work, zero, one):  # type: ignore[no-untyped-def]
    """List the blocks of one row; return the next parts of zeros and of ones."""
    blocks, ones, fresh, fresh_one = model.blocks, work.ones[lane, row], FRESH, FRESH
    kind, counted = np.uint64(0 if ones else 2 * CONTEXTS), model.counted[ones]
    for index in range(blocks.first[row], blocks.first[row + np.uint64(1)]):
        block = np.uint64(index)
        at, size = blocks.at[block], np.uint64(blocks.size[block])
        held = bits_at(work.held[lane], at, size)
        many = np.uint64(ones_of(held))
        level = min(max((model.rate[block] + counted) // HALF_OCTAVE, 0), LEVELS - 1)
        context = kind + np.uint64(SEEN * level)
        work.row[lane, zero] = fresh | np.uint32((size - many) * np.uint64(CHANGES) + context)
        work.mask[lane, zero] = held ^ ((np.uint64(1) << size) - np.uint64(1))
        work.at[lane, zero] = at
        zero += np.uint64(many < size)
        fresh = np.uint32(0) if many < size else fresh
        context += np.uint64(CONTEXTS)
        work.row[lane, one] = fresh_one | np.uint32(many * np.uint64(CHANGES) + context)
        work.mask[lane, one] = held
        work.at[lane, one] = at
        one += np.uint64(many > 0)
        fresh_one = np.uint32(0) if many else fresh_one
    return zero, one


@njit(cache=True, error_model="numpy", forceinline=True)
def row_at(row, seen):  # type: ignore[no-untyped-def]
    """Return the row of a part's shares by the changes seen, and how many of them count."""
    seen >>= np.uint64(row >> np.uint32(27))  # a branch would cost more
    return np.uint64(row & ~FRESH) + min(seen, np.uint64(SEEN - 1)), seen


@njit(cache=True, error_model="numpy")
def steps(lane, section, work, ranks, place, rank):  # type: ignore[no-untyped-def]
    """Fill the place of the share and the rank of every part's changes."""
    row, mask, at, changed = work.row[lane], work.mask[lane], work.at[lane], work.changed[lane]
    seen = np.uint64(0)
    for index in range(work.starts[section], work.ends[lane, section]):
        part = np.uint64(index)
        bits, where = np.uint64(mask[part]), np.uint64(at[part])
        change = (changed[where >> np.uint64(6)] >> (where & np.uint64(63))) & bits
        model, seen = row_at(row[part], seen)
        new = np.uint64(ones_of(change))
        place[part] = model * np.uint64(ROW) + new
        rank[part] = ranks[together(change, bits, TOGETHER)]
        seen += new


@njit(cache=True, error_model="numpy")
def spread(lane, section, pattern, work):  # type: ignore[no-untyped-def]
    """Set in `changed` what the parts were found to be."""
    mask, at, changed = work.mask[lane], work.at[lane], work.changed[lane]
    for index in range(work.starts[section], work.ends[lane, section]):
        part = np.uint64(index)
        where = np.uint64(at[part])
        change = spread_over(np.uint64(pattern[part]), np.uint64(mask[part]), SPREAD)
        changed[where >> np.uint64(6)] |= change << (where & np.uint64(63))


@njit(cache=True, error_model="numpy")
def align(section, many, lists, work):  # type: ignore[no-untyped-def]
    """Fill a section of lists up with 0, a part of no bits, to one length; return its end."""
    end = work.ends[:many, section].max()
    for lane in range(many):
        lists[lane, work.ends[lane, section] : end] = 0
    return end
