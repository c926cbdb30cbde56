"""Splice: drift in recorded data, by going on with the stream of somebody unlike.

From one round on, an edge's items are those its donor meets in the same rounds. The donor
is, among a few users drawn at random, the one whose interest at that time is furthest from
the edge's own. Items the edge has met already are left out. This is our own protocol;
splicing recorded streams is a usual way of placing drift where one knows it to be (Webb,
Hyde, Cao, Nguyen, Petitjean: Characterizing concept drift. DMKD 30(4), 2016).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fedsim import rng
from fedsim.divergence import RECENT, histograms, jensen_shannon
from fedsim.drift.base import ActsOn, Cut, Moment, PartialDrift, PartialDriftConfig, round_of
from fedsim.scenario import Count
from fedsim.slices import ChannelStreams

_Interests = tuple[NDArray[np.float32], ...]


class SpliceConfig(PartialDriftConfig):
    """Options of `splice`."""

    at: Moment = 0.5
    """First round of the donor's items: a round, or a share of the run."""
    candidates: Count = 8
    """Users drawn, of which the most dissimilar is the donor."""


class Splice(PartialDrift):
    """The rest of the stream is replaced by a dissimilar user's."""

    Config = SpliceConfig
    acts_on: ClassVar[ActsOn] = "stream"
    config: SpliceConfig

    @property
    def first(self) -> int:
        """The first round of the donor's items."""
        return round_of(self.config.at, self.rounds)

    def course(self, edges: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return a step from 0 to 1 at the round `at`."""
        return (np.arange(self.rounds + 1)[None] >= self.first).astype(np.float32)

    def rewrite(
        self,
        edges: NDArray[np.int64],
        parts: tuple[ChannelStreams, ...],
        cut: Cut,
        interests: _Interests,
    ) -> tuple[ChannelStreams, ...]:
        """Replace the slices from round `first` on by the donors' slices of the same rounds."""
        rows = np.flatnonzero(self.drifts(edges))
        if not len(rows) or self.first > self.rounds:
            return parts
        gifts = cut(self.donors(edges, rows, parts, cut, interests))
        return tuple(
            _splice(part, gift, rows, self.first, len(known))
            for part, gift, known in zip(parts, gifts, interests, strict=True)
        )

    def donors(
        self,
        edges: NDArray[np.int64],
        rows: NDArray[np.int64],
        parts: tuple[ChannelStreams, ...],
        cut: Cut,
        interests: _Interests,
    ) -> NDArray[np.int64]:
        """Return whom the edges at these rows would go on as, int64 (rows)."""
        drawn = rng.uniform(self.seed, "drift/donor", edges[rows], self.config.candidates)
        jumps = 1 + (drawn * (self.num_edges - 1)).astype(np.int64)
        candidates = (edges[rows, None] + jumps) % self.num_edges
        others = cut(candidates.reshape(-1))
        own = np.repeat(self._interest(parts, interests)[rows], self.config.candidates, axis=0)
        distance = np.nan_to_num(jensen_shannon(own, self._interest(others, interests)))
        left = sum(other.cuts[:, -1] - other.cuts[:, self.first - 1] for other in others)
        distance = np.where(left > 0, distance, -1).reshape(candidates.shape)
        return np.take_along_axis(candidates, distance.argmax(axis=1)[:, None], axis=1)[:, 0]

    def _interest(
        self, parts: tuple[ChannelStreams, ...], interests: _Interests
    ) -> NDArray[np.float64]:
        known = [part.cuts[:, self.first - 1] for part in parts]
        return np.hstack(
            [
                histograms(part, interest, np.maximum(stop - RECENT, 0), stop)
                for part, interest, stop in zip(parts, interests, known, strict=True)
            ]
        )


def _splice(
    part: ChannelStreams, gift: ChannelStreams, rows: NDArray[np.int64], first: int, ids: int
) -> ChannelStreams:
    items = np.empty(len(part.items) + len(gift.items), np.int32)
    offsets, cuts = np.zeros_like(part.offsets), part.cuts.copy()
    donor = np.full(len(cuts), -1)
    donor[rows] = np.arange(len(rows))
    _copy(
        part.items, part.offsets, gift.items, gift.offsets, gift.cuts,
        donor, first, np.full(ids, -1), items, offsets, cuts,
    )  # fmt: skip
    return ChannelStreams(items[: offsets[-1]].copy(), offsets, cuts)


@njit(cache=True)
def _copy(  # type: ignore[no-untyped-def]
    items, offsets, given, given_offsets, given_cuts, donor, first, met, out, out_offsets, out_cuts
):
    place = 0
    for edge in range(len(donor)):
        start, stop = offsets[edge], offsets[edge + 1]
        if donor[edge] >= 0:
            stop = start + out_cuts[edge, first - 1]
        for source in range(start, stop):
            out[place] = items[source]
            met[items[source]] = edge
            place += 1
        if donor[edge] >= 0:
            begin = given_offsets[donor[edge]]
            for turn in range(first, out_cuts.shape[1]):
                low, high = given_cuts[donor[edge], turn - 1], given_cuts[donor[edge], turn]
                for source in range(begin + low, begin + high):
                    if met[given[source]] != edge:
                        met[given[source]] = edge
                        out[place] = given[source]
                        place += 1
                out_cuts[edge, turn] = place - out_offsets[edge]
        out_offsets[edge + 1] = place
