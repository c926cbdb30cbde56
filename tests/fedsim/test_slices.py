from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.data.base import Streams
from fedsim.errors import ConfigError
from fedsim.scenario import StreamConfig
from fedsim.slices import ChannelStreams, cut_by_count, cut_by_time, take_heads, take_tails

# Edge 0: 1 2 | 3 4 | 5; edge 1: 6 | | 7; edge 2: nothing.
STREAMS = ChannelStreams(
    np.array([1, 2, 3, 4, 5, 6, 7], np.int32),
    np.array([0, 5, 7, 7]),
    np.array([[2, 4, 5], [1, 1, 2], [0, 0, 0]]),
)


def test_windows_end_before_the_round_and_are_padded_on_the_left() -> None:
    assert STREAMS.windows(1, 3).tolist() == [[0, 1, 2], [0, 0, 6], [0, 0, 0]]
    assert STREAMS.windows(2, 3).tolist() == [[2, 3, 4], [0, 0, 6], [0, 0, 0]]


def test_older_windows_never_reach_before_the_first_item() -> None:
    assert STREAMS.windows(2, 3, lag=1).tolist() == [[1, 2, 3], [0, 0, 6], [0, 0, 0]]
    assert STREAMS.windows(2, 3, lag=9).tolist() == [[0, 0, 1], [0, 0, 6], [0, 0, 0]]


def test_targets_are_the_slice_edge_by_edge_in_order() -> None:
    edge_index, position = STREAMS.targets(1)
    assert (edge_index.tolist(), position.tolist()) == ([0, 0], [2, 3])
    edge_index, position = STREAMS.targets(2)
    assert (edge_index.tolist(), position.tolist()) == ([0, 1], [4, 1])
    assert STREAMS.at(edge_index, position).tolist() == [5, 7]
    before = STREAMS.windows_before(edge_index, position, 2)
    assert before.tolist() == [[3, 4], [0, 6]]


def test_history_is_what_comes_before_round_one() -> None:
    history = STREAMS.history()
    assert history.items.tolist() == [1, 2, 6]
    assert history.lengths.tolist() == [2, 1, 0]


def test_the_rest_is_spread_evenly_over_the_rounds() -> None:
    cuts = cut_by_count(np.array([20, 3, 1, 0]), StreamConfig(history=0.5), 4)
    assert cuts.tolist() == [[10, 12, 15, 17, 20], [1, 1, 2, 2, 3], [0, 0, 0, 0, 1], [0] * 5]


def test_items_per_round_lasts_while_it_lasts() -> None:
    stream = StreamConfig(history=0.5, items_per_round=4)
    assert cut_by_count(np.array([20, 8]), stream, 3).tolist() == [[10, 14, 18, 20], [4, 8, 8, 8]]


def test_leave_one_out_tests_the_last_item() -> None:
    cuts = cut_by_count(np.array([5, 3, 0]), StreamConfig(history="leave_one_out"), 1)
    assert cuts.tolist() == [[4, 5], [2, 3], [0, 0]]


def test_leave_one_out_has_one_round() -> None:
    with pytest.raises(ConfigError, match=r"rounds = 2; set rounds = 1"):
        cut_by_count(np.array([5]), StreamConfig(history="leave_one_out"), 2)


def test_time_cuts_count_what_has_been() -> None:
    times = np.array([1, 5, 5, 9, 2, 3])
    cuts = cut_by_time(np.array([0, 4, 6]), times, np.array([1, 5, 9]))
    assert cuts.tolist() == [[1, 3, 4], [0, 2, 2]]


@given(
    st.lists(st.integers(0, 200), min_size=1, max_size=20),
    st.floats(0.01, 0.99),
    st.one_of(st.none(), st.integers(1, 30)),
    st.integers(1, 12),
)
def test_cuts_by_count_ascend_inside_the_stream(
    lengths: list[int], history: float, per_round: int | None, rounds: int
) -> None:
    length = np.array(lengths)
    stream = StreamConfig(history=history, items_per_round=per_round)
    cuts = cut_by_count(length, stream, rounds)
    assert cuts.shape == (len(lengths), rounds + 1)
    assert (np.diff(cuts, axis=1) >= 0).all()
    assert (cuts[:, -1] <= length).all()
    assert (cuts[length >= 2, 0] >= 1).all()
    assert (cuts[length >= 2, 0] < length[length >= 2]).all()
    if per_round is None:
        assert (cuts[:, -1] == length).all()
        slices = np.diff(cuts, axis=1)
        assert (slices.max(axis=1) - slices.min(axis=1) <= 1).all()


@given(
    st.lists(st.lists(st.integers(1, 99), max_size=9), min_size=1, max_size=6),
    st.integers(0, 12),
)
def test_heads_and_tails_are_slices(rows: list[list[int]], count: int) -> None:
    offsets = np.cumsum([0, *map(len, rows)])
    items = np.array([item for row in rows for item in row], np.int32)
    streams = Streams(items, offsets, items.astype(np.int64))
    heads = take_heads(streams, np.minimum(streams.lengths, count))
    tails = take_tails(streams, count)
    for row, values in enumerate(rows):
        assert heads.items[heads.offsets[row] : heads.offsets[row + 1]].tolist() == values[:count]
        expected = values[max(len(values) - count, 0) :]
        assert tails.items[tails.offsets[row] : tails.offsets[row + 1]].tolist() == expected
    assert tails.times is not None
    assert np.array_equal(tails.times, tails.items)
