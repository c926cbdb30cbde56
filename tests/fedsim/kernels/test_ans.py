from __future__ import annotations

from math import comb

import numpy as np
import pytest

from fedsim.kernels.ans import (
    BLOCK,
    LOW,
    MODELS,
    PATTERNS,
    ROW,
    TABLE,
    TOTAL,
    advance,
    begin,
    best_models,
    emit,
    refill,
    shares,
)


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
    each = table.each.reshape(MODELS, BLOCK + 1, ROW).astype(np.int64)
    start = table.start.reshape(each.shape)
    for size in range(1, BLOCK + 1):
        part = each[:, size, : size + 1]
        choose = np.array([comb(size, ones) for ones in range(size + 1)])
        assert part.min() >= 1
        whole = (part * choose).sum(axis=1)
        assert whole.max() <= TOTAL
        assert whole.min() > 0.999 * TOTAL
        np.testing.assert_array_equal(start[:, size, size + 1], whole)


def test_the_best_urn_of_counts_has_their_mean() -> None:
    counts = np.zeros((1, TABLE))
    size, mean = 8, 0.2
    counts[0, size * ROW : size * ROW + size + 1] = [
        1e4 * comb(size, ones) * mean**ones * (1 - mean) ** (size - ones)
        for ones in range(size + 1)
    ]
    each = shares(best_models(counts)).each.reshape(BLOCK + 1, ROW)[size].astype(np.float64)
    chance = [each[ones] * comb(size, ones) / TOTAL for ones in range(size + 1)]
    assert np.dot(chance, np.arange(size + 1)) / size == pytest.approx(mean, rel=0.1)


@pytest.mark.parametrize("check", [0, 1, 2**32 - 1])
@pytest.mark.parametrize("count", [0, 1, 7, 500])
def test_steps_come_back_in_order(count: int, check: int) -> None:
    rng = np.random.default_rng(count)
    sizes = rng.integers(1, 1 << rng.integers(1, 29, count), endpoint=True).astype(np.uint32)
    starts = np.array([rng.integers(0, TOTAL - size + 1) for size in sizes], np.uint32)
    out, words = np.zeros(4 * count + 8, np.uint8), np.empty(count, np.uint32)
    end = emit(starts, sizes, count, np.uint32(check), words, out, 0)
    ideal = np.log2(TOTAL / sizes.astype(np.float64)).sum() / 8
    assert end <= ideal + 8
    state, at = begin(out, 0, end)
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        assert start <= int(state) % TOTAL < start + size
        state = advance(np.uint64(state), start, size)
        if state < LOW:
            state = refill(np.uint64(state), out, at)
            at += 4
    assert (int(state), at) == (LOW + check, end)
