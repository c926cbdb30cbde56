"""Typical uploads, whose answers stand for everybody's before an edge has one of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim.data.base import Streams
from fedsim.timeline import TimelineStreams
from fedsim.training.targets import windows

TYPICAL = 512
"""At most so many edges stand for all."""


def typical_uploads(streams: Streams, length: int) -> NDArray[np.int64]:
    """Return the uploads of an even sample of edges at the end of history, then one item before.

    Two uploads of an edge, one interaction apart, show a codec how answers change. Without
    any edge there is one empty upload. int64 (at most 2 * TYPICAL, length).
    """
    if isinstance(streams, TimelineStreams):
        streams = streams.timeline
    count = min(len(streams), TYPICAL)
    if not count:
        return np.zeros((1, length), np.int64)
    edges = np.arange(count) * len(streams) // count
    ends = streams.lengths[edges]
    parts = [windows(streams, edges, np.maximum(end, 0), length) for end in (ends, ends - 1)]
    return np.concatenate(parts)
