from __future__ import annotations

from math import comb

import numpy as np
import pytest

from fedsim.kernels.urns import BLOCK, MODELS, PATTERNS, ROW, TOTAL, best_models, shares


def test_patterns_are_ranked_by_value_among_those_with_as_many_ones() -> None:
    assert PATTERNS.ones[0b1011] == 3
    assert [PATTERNS.rank[word] for word in (0b11, 0b101, 0b110, 0b1001)] == [0, 1, 2, 3]
    for size in range(BLOCK + 1):
        below = np.arange(1 << size)
        assert (PATTERNS.rank[below] < PATTERNS.choose[size, PATTERNS.ones[below]]).all()
    where = PATTERNS.first[PATTERNS.ones] + PATTERNS.rank
    np.testing.assert_array_equal(PATTERNS.block[where], np.arange(1 << BLOCK))


def test_shares_of_every_urn_fit_and_leave_nobody_out() -> None:
    table = shares(np.arange(MODELS))
    assert table.above.ctypes.data % 64 == 0
    above = table.above.reshape(BLOCK + 1, MODELS, BLOCK).astype(np.int64)
    steps = table.steps.reshape(BLOCK + 1, MODELS, ROW, 2)
    start, each = (steps[..., 0] & 0xFFFFFFFF).astype(np.int64), steps[..., 0] >> 32
    np.testing.assert_array_equal(steps[..., 1], (2**64 - 1) // np.maximum(each, 1))
    each = each.astype(np.int64)
    for size in range(1, BLOCK + 1):
        part = each[size, :, : size + 1]
        choose = np.array([comb(size, ones) for ones in range(size + 1)])
        ends = np.cumsum(part * choose, axis=1)
        assert part.min() >= 1
        assert ends[:, -1].max() <= TOTAL
        assert ends[:, -1].min() > 0.999 * TOTAL
        np.testing.assert_array_equal(start[size, :, 1 : size + 1], ends[:, :-1])
        np.testing.assert_array_equal(above[size, :, :size], ends[:, :-1])
        assert (above[size, :, size:] == TOTAL).all()


def test_a_block_of_no_bits_has_one_pattern_with_all() -> None:
    table = shares(np.arange(3))
    assert (table.steps.reshape(-1, ROW, 2)[:3, 0, 0] == TOTAL << 32).all()
    assert (table.above[: 3 * BLOCK] == TOTAL).all()


def test_the_best_urn_of_counts_has_their_mean() -> None:
    counts = np.zeros((BLOCK + 1, 1, ROW))
    size, mean = 8, 0.2
    counts[size, 0, : size + 1] = [
        1e4 * comb(size, ones) * mean**ones * (1 - mean) ** (size - ones)
        for ones in range(size + 1)
    ]
    steps = shares(best_models(counts)).steps.reshape(BLOCK + 1, ROW, 2)
    each = (steps[size, :, 0] >> 32).astype(np.float64)
    chance = [each[ones] * comb(size, ones) / TOTAL for ones in range(size + 1)]
    assert np.dot(chance, np.arange(size + 1)) / size == pytest.approx(mean, rel=0.1)
