from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from fedsim.kernels.ans import (
    LANES,
    LOW,
    STATE,
    USED,
    advance,
    begin,
    emit,
    finish,
    inverse_of,
    new_lanes,
    put,
    take,
)
from fedsim.kernels.urns import BITS, BLOCK, MODELS, PATTERNS, ROW, TOTAL, Shares, shares

SHARE = st.one_of(st.integers(1, 40), st.integers(1, TOTAL), st.just(TOTAL))


@settings(deadline=None, max_examples=500)
@given(st.integers(LOW, 2**64 - 1), SHARE, st.data())
def test_a_step_is_exact_and_comes_back(state: int, size: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, TOTAL - size))
    after, shed = _put(np.uint64(state), np.uint32(start), np.uint32(size))
    assert shed == (state >= size << (64 - BITS))
    rest = state >> 32 if shed else state
    assert after == (rest // size << BITS) + rest % size + start
    back, taken = _advance(
        np.uint64(after), np.uint32(start), np.uint32(size), np.uint32(state & 0xFFFFFFFF)
    )
    assert (back, taken) == (state, shed)


@njit
def _put(state, start, size):  # type: ignore[no-untyped-def]
    return put(state, start, size, inverse_of(size))


@njit
def _advance(state, start, size, word):  # type: ignore[no-untyped-def]
    return advance(state, start, size, word)


def code(rows: np.ndarray, words: np.ndarray, checks: np.ndarray, table: Shares) -> list[bytes]:
    """Code a batch (messages, steps) of words, LANES of them at a time."""
    out, messages = np.zeros(4 * rows.shape[1] + 8, np.uint8), []
    ones = PATTERNS.ones[words]
    place, rank = (rows * ROW + ones).astype(np.uint32), PATTERNS.rank[words].astype(np.uint32)
    for first in range(0, len(rows), LANES):
        lanes, batch = new_lanes(rows.shape[1]), slice(first, first + LANES)
        many = len(place[batch])
        lanes.now[:many, STATE] = LOW + checks[batch].astype(np.uint64)
        emit(place[batch], rank[batch], 0, rows.shape[1], many, table, lanes)
        for lane in range(many):
            messages.append(out[: finish(lane, lanes, out, 0)].tobytes())
    return messages


@pytest.mark.parametrize("count", [0, 1, 7, 500])
def test_steps_come_back_in_order(count: int) -> None:
    rng = np.random.default_rng(count)
    table = shares(np.arange(MODELS))
    sizes = rng.integers(0, BLOCK, (LANES + 1, count), endpoint=True)
    words = rng.integers(0, 1 << sizes).astype(np.uint16)
    rows = (sizes * MODELS + rng.integers(0, MODELS, sizes.shape)).astype(np.int64)
    checks = np.array([0, 1, 2**32 - 1, 7, 2**31][: LANES + 1], np.uint32)
    messages = code(rows, words, checks, table)
    for message, row, word, check in zip(messages, rows, words, checks, strict=True):
        each = table.steps.reshape(-1, ROW, 2)[row, PATTERNS.ones[word], 0] >> 32
        assert len(message) <= np.log2(TOTAL / each.astype(np.float64)).sum() / 8 + 8
        lanes = new_lanes(count)
        data = np.frombuffer(message, np.uint8)
        lanes.now[1, STATE], length = begin(data, 0, len(data), lanes.words[1])
        found = [take(np.uint64(at), np.uint64(1), table, PATTERNS, lanes)[0] for at in row]
        np.testing.assert_array_equal(found, word)
        assert lanes.now[1, STATE] == LOW + int(check)
        assert lanes.now[1, USED] == length


def test_a_message_is_the_same_alone_and_beside_others() -> None:
    rng = np.random.default_rng(0)
    rows, words = rng.integers(0, MODELS, (LANES, 90)), rng.integers(0, 1 << BLOCK, (LANES, 90))
    rows += BLOCK * MODELS
    checks, table = rng.integers(0, 2**32, LANES), shares(np.arange(MODELS))
    together = code(rows, words, checks, table)
    for lane in range(LANES):
        one = slice(lane, lane + 1)
        assert code(rows[one], words[one], checks[one], table) == [together[lane]]


def test_a_message_too_short_or_too_long_has_no_state() -> None:
    data, words = np.ones(80, np.uint8), np.zeros(4, np.uint32)
    assert begin(data, 0, 4, words) == (0, 0)
    assert begin(data, 0, 5 + 4 * 5, words) == (0, 0)
    assert begin(data, 0, 5 + 4 * 4, words)[1] == 4
