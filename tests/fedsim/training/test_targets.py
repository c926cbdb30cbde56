"""Targets: which items train and validate, their windows, and groups that share a mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.data.base import Streams
from fedsim.training.targets import (
    Targets,
    from_padded,
    grouped,
    items_at,
    joined,
    next_items,
    split,
    windows,
)

LENGTHS = st.lists(st.integers(0, 12), max_size=8)


def streams_of(lengths: list[int]) -> Streams:
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
    return Streams(np.arange(1, offsets[-1] + 1, dtype=np.int32), offsets)


@given(LENGTHS)
def test_the_last_item_validates_and_those_before_train(lengths: list[int]) -> None:
    streams = streams_of(lengths)
    training, validation = split(streams)
    expected = [(e, p) for e, n in enumerate(lengths) for p in range(1, n - 1)]
    assert list(zip(training.edge.tolist(), training.position.tolist(), strict=True)) == expected
    expected = [(e, n - 1) for e, n in enumerate(lengths) if n >= 2]
    got = zip(validation.edge.tolist(), validation.position.tolist(), strict=True)
    assert list(got) == expected


@given(LENGTHS, st.integers(1, 6))
def test_windows_hold_what_came_before(lengths: list[int], length: int) -> None:
    streams = streams_of(lengths)
    targets = next_items(streams)
    found = windows(streams, targets.edge, targets.position, length)
    for edge, position, window in zip(targets.edge, targets.position, found, strict=True):
        own = streams.items[streams.offsets[edge] : streams.offsets[edge + 1]].tolist()
        before = own[max(0, position - length) : position]
        assert window.tolist() == [0] * (length - len(before)) + before


@given(LENGTHS, st.integers(1, 5), st.integers(0, 2**32))
def test_groups_hold_every_target_once_edge_by_edge(
    lengths: list[int], size: int, seed: int
) -> None:
    targets = next_items(streams_of(lengths))
    groups = grouped(targets, size, np.random.default_rng(seed))
    assert groups[groups >= 0].tolist() == list(range(len(targets)))
    for group in groups:
        mine = group[group >= 0]
        assert len(mine)
        assert len(set(targets.edge[mine])) == 1
        assert (np.diff(mine) == 1).all()


def test_the_phase_of_groups_is_random() -> None:
    targets = Targets(np.zeros(9, np.int64), np.arange(1, 10))
    phases = {
        int((grouped(targets, 3, np.random.default_rng(seed))[0] < 0).sum()) for seed in range(30)
    }
    assert phases == {0, 1, 2}


def test_padded_rows_become_streams_and_join() -> None:
    padded = from_padded(np.array([[0, 0, 4], [0, 0, 0], [5, 6, 7]]))
    both = joined(streams_of([2]), padded)
    assert both.offsets.tolist() == [0, 2, 3, 3, 6]
    assert both.items.tolist() == [1, 2, 4, 5, 6, 7]
    assert items_at(both, np.array([3]), np.array([1])).tolist() == [6]


@pytest.mark.parametrize("lengths", [[], [0, 0], [1]])
def test_streams_too_short_give_no_targets(lengths: list[int]) -> None:
    training, validation = split(streams_of(lengths))
    assert len(training) == len(validation) == 0
    assert grouped(training, 4, np.random.default_rng(0)).shape == (0, 4)


def test_windows_of_streams_without_anything_are_padding() -> None:
    """Even the last stream's, whose start lies behind all items."""
    streams = streams_of([1, 0, 0])
    for edge in (1, 2):
        assert windows(streams, np.array([edge]), np.array([0]), 3).tolist() == [[0, 0, 0]]
