"""What there is to learn from streams: next items, each with the interactions before it.

Notation: `T` targets, `G` groups, `K` targets of a group, `L` interactions of a window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedsim.data.base import Streams
from fedsim.slices import windows_before


@dataclass(frozen=True, slots=True)
class Targets:
    """Items to predict: number `position[t]` of stream `edge[t]`; both int64 (T).

    Targets of one edge stand together, in the order of their positions.
    """

    edge: NDArray[np.int64]
    position: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.edge)


def split(streams: Streams) -> tuple[Targets, Targets]:
    """Return training and validation targets of the streams.

    The last item of each stream validates, those before it train; a stream's first item
    has nothing before it and is no target, so a stream needs two items to validate and
    three to train.

    >>> streams = Streams(np.arange(1, 6, dtype=np.int32), np.array([0, 4, 5]))
    >>> training, validation = split(streams)
    >>> training.position.tolist(), validation.position.tolist()
    ([1, 2], [3])
    """
    lengths = streams.lengths
    counts = np.maximum(lengths - 2, 0)
    last = np.flatnonzero(lengths >= 2)
    return Targets(np.repeat(np.arange(len(streams)), counts), 1 + _within(counts)), Targets(
        last, lengths[last] - 1
    )


def next_items(streams: Streams) -> Targets:
    """Return every item that has one before it, for training without validation."""
    counts = np.maximum(streams.lengths - 1, 0)
    return Targets(np.repeat(np.arange(len(streams)), counts), 1 + _within(counts))


def from_padded(rows: NDArray[np.integer]) -> Streams:
    """Return left-padded rows of items (B, H) as streams without their padding."""
    lengths = np.count_nonzero(rows, axis=1)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Streams(rows[rows != 0].astype(np.int32), offsets)


def joined(first: Streams, second: Streams) -> Streams:
    """Return the streams of both, one after the other, without times."""
    offsets = np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]])
    return Streams(np.concatenate([first.items, second.items]), offsets)


def items_at(
    streams: Streams, edge: NDArray[np.int64], position: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the items at these positions, in the arguments' shape."""
    items: NDArray[np.int64] = streams.items[streams.offsets[edge] + position].astype(np.int64)
    return items


def windows(
    streams: Streams, edge: NDArray[np.int64], position: NDArray[np.int64], length: int
) -> NDArray[np.int64]:
    """Return the last `length` items before each position, left-padded with 0.

    The result has the arguments' shape and one axis more, int64 (..., L).

    >>> streams = Streams(np.array([7, 8, 9], np.int32), np.array([0, 3]))
    >>> windows(streams, np.array([0]), np.array([2]), 3).tolist()
    [[0, 7, 8]]
    """
    starts = streams.offsets[edge].ravel()
    found = windows_before(streams.items, starts, position.ravel(), length)
    return found.reshape(*position.shape, length).astype(np.int64)


def grouped(targets: Targets, size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Cut each edge's targets into groups of `size` consecutive ones, at a random phase.

    Returns indexes into `targets`, int64 (G, size), -1 where a group is not full: one
    generated mask serves a whole group.
    """
    if size == 1:
        return np.arange(len(targets))[:, None]
    counts = np.unique(targets.edge, return_counts=True)[1]
    phase = generator.integers(size, size=len(counts))
    slots = np.repeat(phase, counts) + _within(counts)
    groups_of = -(-(phase + counts) // size)
    start = np.cumsum(groups_of) - groups_of
    out = np.full((int(groups_of.sum()), size), -1, np.int64)
    out[np.repeat(start, counts) + slots // size, slots % size] = np.arange(len(targets))
    return out


def _within(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0, 1, … of each run of the given lengths, one run after the other."""
    starts = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) - np.repeat(starts, counts)
