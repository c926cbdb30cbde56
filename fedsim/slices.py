"""How streams are cut: history before round 1, then one slice for each round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim.data.base import Streams
from fedsim.errors import ConfigError
from fedsim.scenario import StreamConfig


@dataclass(frozen=True, slots=True)
class ChannelStreams:
    """One channel of a cell: the streams of its B edges, cut into history and R rounds.

    Stream i is ``items[offsets[i]:offsets[i + 1]]``; a position counts from its start.
    `cuts` is int64 (B, R + 1): history of edge i is its positions below ``cuts[i, 0]``, its
    slice of round r the positions ``cuts[i, r - 1]`` to ``cuts[i, r] - 1``. `times` are as in
    `Streams`, and None where a drift has mixed the streams of several users.
    """

    items: NDArray[np.int32]
    offsets: NDArray[np.int64]
    cuts: NDArray[np.int64]
    times: NDArray[np.int64] | None = None

    def windows(self, round: int, length: int, lag: int = 0) -> NDArray[np.int32]:
        """Return each edge's last `length` items before the round, int32 (B, length).

        With `lag`, the window it had so many interactions earlier, but never one before
        its first item. Short windows are padded with 0 on the left.
        """
        known = self.cuts[:, round - 1]
        ends = np.maximum(known - lag, np.minimum(known, 1))
        return self.windows_before(np.arange(len(ends)), ends, length)

    def targets(self, round: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return edge index and position, int64 (T) each, of every item of the round's slice.

        Edge by edge, each in order; an edge index is a row of the cell.
        """
        start, stop = self.cuts[:, round - 1], self.cuts[:, round]
        counts = stop - start
        edge_index = np.repeat(np.arange(len(counts)), counts)
        before = np.cumsum(counts) - counts
        return edge_index, np.arange(len(edge_index)) + np.repeat(start - before, counts)

    def windows_before(
        self, edge_index: NDArray[np.int64], position: NDArray[np.int64], length: int
    ) -> NDArray[np.int32]:
        """Return the `length` items before each position, left-padded with 0, int32 (T, length)."""
        return windows_before(self.items, self.offsets[edge_index], position, length)

    def at(self, edge_index: NDArray[np.int64], position: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the items at the positions given, int32 (T)."""
        items: NDArray[np.int32] = self.items[self.offsets[edge_index] + position]
        return items

    def history(self) -> Streams:
        """Return what was known before round 1."""
        return take_heads(Streams(self.items, self.offsets, self.times), self.cuts[:, 0])


def windows_before(
    items: NDArray[np.int32],
    starts: NDArray[np.int64],
    position: NDArray[np.int64],
    length: int,
) -> NDArray[np.int32]:
    """Return the `length` items before each position of the streams that begin at `starts`.

    Short windows are padded with 0 on the left; int32 (T, length).

    >>> windows_before(np.array([7, 8, 9], np.int32), np.array([1]), np.array([2]), 3).tolist()
    [[0, 8, 9]]
    """
    out = np.zeros((len(position), length), np.int32)
    _windows(items, starts, np.asarray(position, np.int64), out)
    return out


def cut_by_count(
    lengths: NDArray[np.int64], stream: StreamConfig, rounds: int
) -> NDArray[np.int64]:
    """Cut streams by number of items, int64 (B, R + 1).

    History is ``floor(history * length)`` items, at least 1 and at most all but one; what
    follows is spread evenly over the rounds, or `items_per_round` at a time while it lasts.
    """
    length = lengths[:, None]
    if stream.history == "leave_one_out":
        if rounds != 1:
            raise ConfigError(
                f"stream.history = 'leave_one_out' leaves one item for one round, "
                f"but rounds = {rounds}; set rounds = 1"
            )
        return np.hstack([np.maximum(length - 1, 0), length])
    history = np.floor(length * stream.history).astype(np.int64)
    history = np.minimum(np.maximum(history, 1), np.maximum(length - 1, 0))
    steps = np.arange(rounds + 1)
    if stream.items_per_round is None:
        cuts: NDArray[np.int64] = history + (length - history) * steps // rounds
    else:
        cuts = np.minimum(history + stream.items_per_round * steps, length)
    return cuts


def cut_by_time(
    offsets: NDArray[np.int64], times: NDArray[np.int64], bounds: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Cut streams at R + 1 moments, the same for all edges, int64 (B, R + 1).

    Column r counts an edge's interactions at or before ``bounds[r]``.
    """
    cuts = np.empty((len(offsets) - 1, len(bounds)), np.int64)
    _cut(offsets, times, bounds, cuts)
    return cuts


def take_heads(streams: Streams, lengths: NDArray[np.int64]) -> Streams:
    """Return the first `lengths[i]` interactions of each stream."""
    return take(streams, streams.offsets[:-1], lengths)


def take_tails(streams: Streams, longest: int) -> Streams:
    """Return the last `longest` interactions of each stream."""
    lengths = np.minimum(streams.lengths, longest)
    return take(streams, streams.offsets[1:] - lengths, lengths)


def drop_last(streams: Streams, count: int) -> Streams:
    """Return the streams without the last `count` interactions of each; shorter ones are empty."""
    return take_heads(streams, np.maximum(streams.lengths - count, 0)) if count else streams


def take(streams: Streams, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Streams:
    """Return `lengths` interactions from each of the places `starts` on, as streams."""
    index = spans(starts, lengths)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    times = None if streams.times is None else streams.times[index]
    return Streams(streams.items[index], offsets, times)


def spans(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of all spans ``start .. start + length - 1``, one after the other.

    >>> spans(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before = np.cumsum(lengths) - lengths
    index: NDArray[np.int64] = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
    return index


@njit(cache=True)
def _windows(items, starts, positions, out):  # type: ignore[no-untyped-def]
    length = out.shape[1]
    for row in range(len(positions)):
        for column in range(max(0, length - positions[row]), length):
            out[row, column] = items[starts[row] + positions[row] - length + column]


@njit(cache=True)
def _cut(offsets, times, bounds, cuts):  # type: ignore[no-untyped-def]
    for edge in range(len(offsets) - 1):
        start, stop = offsets[edge], offsets[edge + 1]
        for column in range(len(bounds)):
            cuts[edge, column] = np.searchsorted(times[start:stop], bounds[column], side="right")
