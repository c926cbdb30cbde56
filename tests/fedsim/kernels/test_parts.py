"""The list of parts: what may change, every bit once, in the order the module tells."""

from __future__ import annotations

import numpy as np
import pytest

from fedsim.codecs._prior import Prior
from fedsim.kernels.blocks import gather, words_of
from fedsim.kernels.parts import (
    CHANGES,
    FRESH,
    WAKING,
    Model,
    Work,
    hold,
    list_blocks,
    new_work,
    row_at,
    spread,
    wake,
    woken,
)
from fedsim.kernels.prior_model import CONTEXTS, SEEN, levels, logarithms
from fedsim.layout import Layer, Layout

LAYOUTS = {
    "even": Layout((Layer("a", 20, 64),)),
    "odd": Layout((Layer("a", 7, 20), Layer("b", 3, 150), Layer("c", 9, 1))),
}
LANE = 2


def masks_of(layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Return bits of a mask held with empty and with full rows, and of the next one."""
    rng = np.random.default_rng(1)
    row = np.repeat(np.arange(len(layout.row_lengths)), layout.row_lengths)
    held = (rng.random(layout.size) < 0.3) & (row % 3 > 0) | (row % 7 == 4)
    return held, held ^ ((rng.random(layout.size) < 0.2) & (row % 2 > 0))


def packed(bits: np.ndarray) -> np.ndarray:
    words: np.ndarray = words_of(np.packbits(bits, bitorder="little")[None])[0]
    return words


def changing(layout: Layout, held: np.ndarray, now: np.ndarray) -> tuple[Model, Work]:
    """Return the model of both masks, and the work at the change up to which rows wake."""
    prior = Prior.fit(layout, np.packbits(np.stack([held, now]), axis=1, bitorder="little"))
    model = prior.holding()
    work = new_work(model)
    hold(packed(held), LANE, model, work)
    changed = work.changed[LANE, : work.held.shape[1]]
    gather(packed(held ^ now), model.blocks.words, changed)
    wake(LANE, model, work)
    return model, work


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_parts_list_what_may_change(layout: Layout) -> None:
    held, now = masks_of(layout)
    model, work = changing(layout, held, now)
    list_blocks(LANE, model, work)

    rows = np.split(held, np.cumsum(layout.row_lengths)[:-1])
    next_rows = np.split(now, np.cumsum(layout.row_lengths)[:-1])
    empty = np.array([not row.any() for row in rows])
    first_ones = np.array([row.any() for row in next_rows]) & empty
    listed = [_part(work, section) for section in range(3)]
    sleeping = np.unpackbits(listed[0][1].view(np.uint8), bitorder="little")[: len(rows)]
    np.testing.assert_array_equal(sleeping, empty[model.order])
    np.testing.assert_array_equal(work.awake[LANE], first_ones)
    np.testing.assert_array_equal(listed[0][0] & ~FRESH, _waking_rows(listed[0][1], model.waking))
    assert (listed[0][0] >= FRESH).all()
    active = ~empty | first_ones
    zeros = sum(int((~row).sum()) for row, on in zip(rows, active, strict=True) if on)
    for (row, mask), bits in zip(listed[1:], (zeros, held.sum()), strict=True):
        sizes = np.bitwise_count(mask)
        assert sizes.min() > 0
        assert sizes.sum() == bits
        np.testing.assert_array_equal((row & ~FRESH) // CHANGES, sizes)
        assert (row >= FRESH).sum() <= active.sum()
    kinds = [(row & ~FRESH) % CHANGES // CONTEXTS for row, _ in listed]
    assert [set(kind.tolist()) for kind in kinds] == [{WAKING // CONTEXTS}, {0, 2}, {1}]


def _part(work: Work, section: int) -> tuple[np.ndarray, np.ndarray]:
    part = slice(work.starts[section], work.ends[LANE, section])
    return work.row[LANE, part], work.mask[LANE, part]


def _waking_rows(mask: np.ndarray, context: np.ndarray) -> np.ndarray:
    rows: np.ndarray = np.bitwise_count(mask).astype(np.int64) * CHANGES + context
    return rows


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_rows_told_to_wake_are_those_that_do(layout: Layout) -> None:
    held, now = masks_of(layout)
    model, work = changing(layout, held, now)
    words = work.held.shape[1]
    awake, bits = work.awake[LANE].copy(), work.changed[LANE, words:].copy()
    assert awake.any()
    pattern = np.zeros(work.mask.shape[1], np.uint16)
    waking = np.unpackbits(bits.view(np.uint8), bitorder="little")
    for part in range(len(model.waking)):
        places = np.flatnonzero(work.mask[LANE, part] >> np.arange(16) & 1)
        found = waking[16 * part + places].astype(np.int64)
        pattern[part] = (found << np.arange(len(found))).sum()
    work.changed[LANE], work.awake[LANE] = 0, 9
    spread(LANE, 0, pattern, work)
    np.testing.assert_array_equal(work.changed[LANE, words:], bits)
    woken(LANE, model, work)
    np.testing.assert_array_equal(work.awake[LANE], awake)


def test_changes_seen_count_up_to_a_few_and_not_for_a_fresh_part() -> None:
    for seen in range(9):
        assert row_at(np.uint32(40), np.uint64(seen)) == (40 + min(seen, SEEN - 1), seen)
        assert row_at(FRESH | np.uint32(40), np.uint64(seen)) == (40, 0)


def test_levels_are_half_octaves_of_exact_logarithms() -> None:
    assert logarithms(np.array([0, 1, 2, 3, 4, 2**40])).tolist() == [0, 0, 16, 25, 32, 640]
    assert levels(np.array([-1, 7, 8, 15, 16, 9_999])).tolist() == [0, 0, 1, 1, 2, 31]
