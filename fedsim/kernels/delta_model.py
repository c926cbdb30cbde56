"""Changes of masks against masks held, part after part (`fedsim.kernels.parts`).

The positions of a row are sorted as in `prior_model`. A zero becomes a one, or a one a zero,
with a chance that goes by how often the cloud saw a one there, by how many ones the held
row has against those expected, and by how many such changes the row has had so far. Whether
a row gets its first ones goes by how many are expected there.
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
from fedsim.kernels.blocks import flip, gather, words_of
from fedsim.kernels.parts import (
    CHANGES,
    SECTIONS,
    Model,
    align,
    hold,
    list_blocks,
    new_work,
    row_at,
    spread,
    steps,
    wake,
    woken,
)
from fedsim.kernels.urns import BLOCK, PATTERNS, ROW


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


def tally(rows: NDArray[np.uint8], held: NDArray[np.uint8], model: Model) -> NDArray[np.float32]:
    """Count changes of sample masks, float32 (BLOCK + 1, CHANGES, ROW)."""
    counts = np.zeros((BLOCK + 1) * CHANGES * ROW, np.float32)
    _tally(words_of(rows), words_of(held), model, PATTERNS.rank, counts)
    return counts.reshape(BLOCK + 1, CHANGES, ROW)


@njit(cache=True, error_model="numpy")
def _tally(rows, held, model, ranks, counts):  # type: ignore[no-untyped-def]
    work = new_work(model)
    place, rank = np.empty(work.mask.shape[1], np.uint32), np.empty(work.mask.shape[1], np.uint32)
    for edge in range(len(rows)):
        _steps(rows[edge], held[edge], 0, model, work, ranks, place, rank)
        for section in range(SECTIONS):
            for step in range(work.starts[section], work.ends[0, section]):
                counts[place[step]] += 1


@njit(cache=True, error_model="numpy")
def _steps(row, held, lane, model, work, ranks, place, rank):  # type: ignore[no-untyped-def]
    """Fill the steps of one mask."""
    hold(held, lane, model, work)
    gather(row ^ held, model.blocks.words, work.changed[lane, : work.held.shape[1]])
    wake(lane, model, work)
    list_blocks(lane, model, work)
    for section in range(SECTIONS):
        steps(lane, section, work, ranks, place, rank)


@njit(cache=True, error_model="numpy")
def encode(rows, held, checks, model, shares, patterns, out, offsets):  # type: ignore[no-untyped-def]
    """Encode masks (words) against those held into `out`, filling the offsets of their ends."""
    work = new_work(model)
    lanes = new_lanes(work.mask.shape[1])
    place, rank = np.zeros(work.mask.shape, np.uint32), np.zeros(work.mask.shape, np.uint32)
    for edge in range(0, len(rows), LANES):
        many = min(LANES, len(rows) - edge)
        lanes.now[:] = 0
        for lane in range(many):
            row, old = rows[edge + lane], held[edge + lane]
            _steps(row, old, lane, model, work, patterns.rank, place[lane], rank[lane])
            lanes.now[lane, STATE] = np.uint64(LOW) + np.uint64(checks[edge + lane])
        for behind in range(SECTIONS):
            section = SECTIONS - 1 - behind
            align(section, many, rank, work)
            end = align(section, many, place, work)
            emit(place, rank, work.starts[section], end, many, shares, lanes)
        for lane in range(many):
            offsets[edge + lane + 1] = finish(lane, lanes, out, offsets[edge + lane])


@njit(cache=True, error_model="numpy")
def decode(data, offsets, held, checks, model, shares, patterns, rows):  # type: ignore[no-untyped-def]
    """Fill masks (words); return the first damaged row, or -1."""
    work = new_work(model)
    lanes, length = new_lanes(work.mask.shape[1]), np.zeros(LANES, np.uint64)
    pattern = np.zeros(work.mask.shape, np.uint16)
    for edge in range(0, len(rows), LANES):
        many = min(LANES, len(rows) - edge)
        lanes.now[:] = 0
        for lane in range(many):
            ends = offsets[edge + lane], offsets[edge + lane + 1]
            lanes.now[lane, STATE], length[lane] = begin(data, *ends, lanes.words[lane])
            hold(held[edge + lane], lane, model, work)
        _read(many, model, shares, patterns, work, lanes, pattern)
        for lane in range(many):
            rows[edge + lane] = held[edge + lane]
            found = work.changed[lane, : work.held.shape[1]]
            flip(found, model.blocks.words, rows[edge + lane])
            end = np.uint64(LOW) + np.uint64(checks[edge + lane])
            if lanes.now[lane, STATE] != end or lanes.now[lane, USED] != length[lane]:
                return edge + lane
    return -1


@njit(cache=True, error_model="numpy")
def _read(many, model, shares, patterns, work, lanes, pattern):  # type: ignore[no-untyped-def]
    """Decode what changes of `many` masks: first which rows get their first ones."""
    work.changed[:] = 0
    for section in range(SECTIONS):
        end = align(section, many, work.row, work)
        _read_section(section, end, many, shares, patterns, work, lanes, pattern)
        for lane in range(many):
            spread(lane, section, pattern[lane], work)
            if section == 0:
                woken(lane, model, work)
                list_blocks(lane, model, work)


@njit(cache=True, error_model="numpy")
def _read_section(section, end, many, shares, patterns, work, lanes, pattern):  # type: ignore[no-untyped-def]
    for index in range(work.starts[section], end):
        part = np.uint64(index)
        for which in range(many):
            lane = np.uint64(which)
            row, seen = row_at(work.row[lane, part], lanes.now[lane, SO_FAR])
            pattern[lane, part], ones = take(row, lane, shares, patterns, lanes)
            lanes.now[lane, SO_FAR] = seen + ones
