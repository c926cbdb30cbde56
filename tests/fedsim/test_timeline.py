"""Timelines: their order, and that nothing is known before its time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedsim.data.base import Channel, Streams
from fedsim.population import Population
from fedsim.scenario import StreamConfig
from fedsim.slices import ChannelStreams, cut_by_count
from fedsim.timeline import SPAN, TimelineStreams, numbering, of_cell, of_history, own_items
from tests.studies import tiny


def places(*sizes: int) -> tuple[Channel, ...]:
    return tuple(
        Channel(c, f"c{c}", size, np.zeros((size + 1, 1), np.float32))
        for c, size in enumerate(sizes)
    )


def part(
    items: list[int], times: list[int], lengths: list[int], cuts: list[list[int]]
) -> ChannelStreams:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return ChannelStreams(
        np.array(items, np.int32), offsets, np.array(cuts), np.array(times, np.int64)
    )


def times_of(streams: Streams | ChannelStreams, edge: int) -> NDArray[np.int64]:
    assert streams.times is not None
    return streams.times[streams.offsets[edge] : streams.offsets[edge + 1]]


# Edge 0: 1 at 10, 2 at 20 | 3 at 30 and, elsewhere, 1 at 5, 2 at 20 | 1 at 25. Edge 1: only 4 at 1.
CELL = (
    part([1, 2, 3, 4], [10, 20, 30, 1], [3, 1], [[2, 3], [1, 1]]),
    part([1, 2, 1], [5, 20, 25], [3, 0], [[2, 3], [0, 0]]),
)
CHANNELS = places(4, 2)


def test_items_are_numbered_through_and_stand_in_order_of_time() -> None:
    whole = of_cell(CELL, CHANNELS)
    assert numbering(CHANNELS).tolist() == [0, 4, 6]
    assert whole.items.tolist() == [5, 1, 2, 6, 5, 3, 4]
    assert whole.offsets.tolist() == [0, 6, 7]


def test_what_is_known_ends_before_the_first_item_yet_to_come() -> None:
    assert of_cell(CELL, CHANNELS).cuts.tolist() == [[4, 6], [1, 1]]
    later = (CELL[0], part([1, 2, 1], [5, 40, 50], [3, 0], [[2, 3], [0, 0]]))
    whole = of_cell(later, CHANNELS)  # its second item is known, but later than a target
    assert whole.windows(1, 4).tolist() == [[0, 5, 1, 2], [0, 0, 0, 4]]
    assert whole.windows(1, 4, lag=2).tolist() == [[0, 0, 0, 5], [0, 0, 0, 4]]


def test_of_one_moment_nothing_precedes_anything() -> None:
    first, second = of_history([each.history() for each in CELL], CHANNELS)
    assert (first.earlier.tolist(), second.earlier.tolist()) == ([1, 2, 0], [0, 2])
    assert first.timeline is second.timeline
    assert (first.before, second.before, first.numbered) == (0, 4, 6)
    twin = part([1], [20], [1, 0], [[0, 1], [0, 0]])  # the film of the other channel's history
    assert of_cell((CELL[0], twin), CHANNELS).cuts[0].tolist() == [1, 4]


@st.composite
def cells(draw: st.DrawFn) -> tuple[ChannelStreams, ...]:
    """Return up to three channels of three edges, times with many ties, cut anywhere."""
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        times: list[int] = []
        lengths, cuts = [], []
        for _ in range(3):
            own = sorted(draw(st.lists(st.integers(0, 9), max_size=6)))
            times += own
            lengths.append(len(own))
            cuts.append(sorted(draw(st.lists(st.integers(0, len(own)), min_size=3, max_size=3))))
        parts.append(part([1 + n % 5 for n in range(len(times))], times, lengths, cuts))
    return tuple(parts)


@given(cells())
def test_no_timeline_knows_what_is_not_strictly_before_all_that_comes(
    parts: tuple[ChannelStreams, ...],
) -> None:
    channels = places(*[5] * len(parts))
    whole = of_cell(parts, channels)
    for edge in range(3):
        own = [(times_of(p, edge), p.cuts[edge]) for p in parts]
        everything = np.sort(np.concatenate([times for times, _ in own]))
        for column in range(3):
            ahead = np.concatenate([times[cuts[column] :] for times, cuts in own])
            bound = ahead.min() if len(ahead) else 10
            assert whole.cuts[edge, column] == (everything < bound).sum()
    assert (np.diff(whole.cuts, axis=1) >= 0).all()


@given(cells())
def test_what_is_earlier_is_counted_for_every_interaction(
    parts: tuple[ChannelStreams, ...],
) -> None:
    whole = [Streams(each.items, each.offsets, each.times) for each in parts]
    for streams in of_history(whole, places(*[5] * len(parts))):
        for edge in range(3):
            known = np.concatenate([times_of(each, edge) for each in whole])
            earlier = streams.earlier[streams.offsets[edge] : streams.offsets[edge + 1]]
            wanted = [(known < time).sum() for time in times_of(streams, edge)]
            assert earlier.tolist() == wanted


def test_without_times_a_round_is_known_whole_and_items_are_spread_over_it() -> None:
    lengths = np.array([9, 4])
    cuts = cut_by_count(lengths, StreamConfig(history=0.5), 2)
    items = np.arange(1, 14, dtype=np.int32)
    one = ChannelStreams(items, np.array([0, 9, 13]), cuts)
    other = ChannelStreams(items[:3], np.array([0, 1, 3]), np.array([[1, 1, 1], [1, 1, 2]]))
    whole = of_cell((one, other), places(13, 3))
    assert whole.cuts.tolist() == (one.cuts + other.cuts).tolist()
    assert whole.items[:5].tolist() == [1, 2, 14, 3, 4]
    history = of_history([one.history(), other.history()], places(13, 3))
    assert times_of(history[0].timeline, 0)[:5].tolist() == [SPAN * n // 8 for n in (1, 3, 4, 5, 7)]
    assert history[0].earlier.tolist() == [0, 1, 3, 4, 0, 2]


def test_a_channels_own_items_keep_their_order() -> None:
    windows = np.array([[0, 3, 6, 1, 5], [0, 0, 0, 2, 3], [0, 0, 0, 0, 0]], np.int32)
    assert own_items(windows, 3, 3).tolist() == [[0, 0, 0, 3, 2], [0] * 5, [0] * 5]
    assert own_items(windows, 0, 3).tolist() == [[0, 0, 0, 3, 1], [0, 0, 0, 2, 3], [0] * 5]


@pytest.mark.parametrize("slices", ["count", "time"])
def test_all_that_is_before_the_cuts_is_known_of_generated_edges(slices: str) -> None:
    names = [{"name": "home"}, {"name": "video"}, {"name": "music"}]
    population = Population(tiny(channels=names, **{"stream.slices": slices}))
    cell = population.cell(0)
    whole = of_cell(cell.channels, population.channels)
    assert whole.cuts.tolist() == np.sum([each.cuts for each in cell.channels], axis=0).tolist()
    history = of_history(population.history(), population.channels)
    assert all(isinstance(each, TimelineStreams) for each in history)
    assert len(history[0].timeline.items) == sum(len(each.items) for each in history)
