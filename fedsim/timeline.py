"""An edge's timeline: what it did in all its channels together, in order of time.

Items are numbered through the channels' catalogues, one after the other. Interactions of the
same moment stand in the order of the channels, and none of them counts as earlier than another:
the same film may be in two catalogues, and whoever knows one of the two knows the other. What
is known of a timeline when a round begins ends before the first interaction, in whatever channel,
that the edge has yet to meet. Where rounds are spans of time (`stream.slices = "time"`) that is
everything before the round; where they are counted in items, a channel's newest items may be
later than another's next one, and are then left out.

Data without times has only an order in each channel. There rounds count as spans of one length,
history as the first, and a channel's items as spread evenly over each.

Notation: `B` edges, `C` channels, `R` rounds, `n` interactions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim.data.base import Channel, Streams
from fedsim.slices import ChannelStreams, spans

SPAN = 2**32
"""Length of a round where the data has no times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineStreams(Streams):
    """One channel's streams that know where they are in the edges' timelines.

    `timeline` is the same for all channels; `earlier` says for each interaction how many of its
    edge's timeline are strictly before it, int64 (n). `before` are the items numbered before the
    channel's own, of `numbered` in all.
    """

    timeline: Streams
    earlier: NDArray[np.int64]
    before: int
    numbered: int


def numbering(channels: Sequence[Channel]) -> NDArray[np.int64]:
    """Return how many items are numbered before each channel's, and in all: int64 (C + 1)."""
    return np.cumsum([0, *(channel.num_items for channel in channels)])


def of_history(
    history: Sequence[Streams], channels: Sequence[Channel]
) -> tuple[TimelineStreams, ...]:
    """Return each channel's history with the timeline of all; row i is the same edge in each."""
    cuts = [streams.lengths[:, None] for streams in history]
    timeline, earlier = _merged(_timed(history, cuts), numbering(channels))
    *befores, numbered = map(int, numbering(channels))
    return tuple(
        TimelineStreams(
            streams.items,
            streams.offsets,
            streams.times,
            timeline=timeline,
            earlier=places,
            before=before,
            numbered=numbered,
        )
        for streams, places, before in zip(history, earlier, befores, strict=True)
    )


def of_cell(parts: Sequence[ChannelStreams], channels: Sequence[Channel]) -> ChannelStreams:
    """Return a cell's timelines, cut where what is known ends when each round begins."""
    streams = [Streams(part.items, part.offsets, part.times) for part in parts]
    timed = _timed(streams, [part.cuts for part in parts])
    timeline, earlier = _merged(timed, numbering(channels))
    ends = [
        _before_next(part, places, timeline.lengths)
        for part, places in zip(parts, earlier, strict=True)
    ]
    return ChannelStreams(timeline.items, timeline.offsets, np.min(ends, axis=0))


def own_items(windows: NDArray[np.integer], before: int, num_items: int) -> NDArray[np.int64]:
    """Return a channel's items of windows of a timeline (B, H), numbered as its own, int64 (B, H).

    >>> own_items(np.array([[3, 7, 4, 9]]), 3, 5).tolist()
    [[0, 0, 4, 1]]
    """
    own = (windows > before) & (windows <= before + num_items)
    kept = np.where(own, windows.astype(np.int64) - before, 0)
    return np.take_along_axis(kept, np.argsort(own, axis=1, kind="stable"), axis=1)


def _timed(parts: Sequence[Streams], cuts: Sequence[NDArray[np.int64]]) -> list[Streams]:
    """Return the streams with times, made up for all where one has none."""
    if all(part.times is not None for part in parts):
        return list(parts)
    return [
        Streams(part.items, part.offsets, _spread(part.lengths, cut))
        for part, cut in zip(parts, cuts, strict=True)
    ]


def _spread(lengths: NDArray[np.int64], cuts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return times that lie evenly in the slices streams (B) are cut into (B, any), int64 (n)."""
    counts = np.diff(np.hstack([cuts, lengths[:, None]]), axis=1, prepend=0)
    owners, flat = np.tile(np.arange(counts.shape[1]), len(counts)), counts.reshape(-1)
    place = spans(np.zeros_like(flat), flat)
    times: NDArray[np.int64] = np.repeat(owners, flat) * SPAN
    times += (2 * place + 1) * SPAN // (2 * np.repeat(flat, flat))
    return times


def _merged(
    parts: Sequence[Streams], befores: NDArray[np.int64]
) -> tuple[Streams, list[NDArray[np.int64]]]:
    """Return the timelines of timed streams, and for each channel what is `earlier` (n)."""
    owners = np.concatenate([np.repeat(np.arange(len(part)), part.lengths) for part in parts])
    times = np.concatenate([part.times for part in parts if part.times is not None])
    items = [part.items + np.int32(n) for part, n in zip(parts, befores, strict=False)]
    order = np.lexsort((times, owners))  # stable: channel after channel where times are the same
    owners, times = owners[order], times[order]
    lengths = np.sum([part.lengths for part in parts], axis=0)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = (owners[1:] != owners[:-1]) | (times[1:] != times[:-1])
    since = np.maximum.accumulate(np.where(fresh, np.arange(len(order)), 0))
    earlier = np.empty(len(order), np.int64)
    earlier[order] = since - offsets[owners]
    ends = np.cumsum([len(part.items) for part in parts])
    timeline = Streams(np.concatenate(items)[order], offsets, times)
    return timeline, np.split(earlier, ends[:-1])


def _before_next(
    part: ChannelStreams, earlier: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return how much of timelines of these lengths is before the channel's next item, (B, R + 1).

    All of it where none comes.
    """
    some = part.cuts < np.diff(part.offsets)[:, None]
    places = np.append(earlier, 0)[part.offsets[:-1, None] + part.cuts]
    return np.where(some, places, lengths[:, None])
