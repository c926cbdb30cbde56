from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim.drift.splice import Splice, SpliceConfig
from fedsim.slices import ChannelStreams
from tests.worlds import world

# Items 1..20 are of interest 0, items 21..40 of interest 1.
INTERESTS = np.zeros((41, 2), np.float32)
INTERESTS[1:21, 0] = INTERESTS[21:, 1] = 1
EDGES = 20


def cut(edges: NDArray[np.int64]) -> tuple[ChannelStreams, ...]:
    """Even edges meet items 1..12, odd edges 21..32: six in history, then 3 a round."""
    items = (edges % 2 * 20)[:, None] + 1 + np.arange(12)
    cuts = np.tile([6, 9, 12], (len(edges), 1))
    return (
        ChannelStreams(items.reshape(-1).astype(np.int32), np.arange(len(edges) + 1) * 12, cuts),
    )


def splice(at: int, edges: int = EDGES, candidates: int = 8) -> Splice:
    config = SpliceConfig(name="splice", at=at, fraction=1, candidates=candidates)
    return Splice(config, world(rounds=2), edges)


def test_the_donor_is_dissimilar() -> None:
    edges = np.arange(EDGES)
    donors = splice(2).donors(edges, edges, cut(edges), cut, (INTERESTS,))
    assert ((donors - edges) % 2 == 1).all()
    alone = splice(2, candidates=1).donors(edges, edges, cut(edges), cut, (INTERESTS,))
    assert (alone != edges).all()
    assert len(set(alone)) > 5


def test_slices_from_the_round_on_are_the_donors_of_the_same_rounds() -> None:
    edges = np.array([4, 7])
    (part,) = splice(2).rewrite(edges, cut(edges), cut, (INTERESTS,))
    assert part.items.tolist() == [*range(1, 10), 30, 31, 32, *range(21, 30), 10, 11, 12]
    assert part.cuts.tolist() == [[6, 9, 12], [6, 9, 12]]
    assert part.offsets.tolist() == [0, 12, 24]


def test_from_the_first_round_on_only_history_is_its_own() -> None:
    edges = np.array([4])
    (part,) = splice(1).rewrite(edges, cut(edges), cut, (INTERESTS,))
    assert part.items.tolist() == [*range(1, 7), *range(27, 33)]


def test_items_met_before_are_left_out() -> None:
    def overlapping(edges: NDArray[np.int64]) -> tuple[ChannelStreams, ...]:
        # Edge 0: 1 2 | 3; edge 1: 21 22 | 1 23 23.
        rows = [[1, 2, 3], [21, 22, 1, 23, 23]]
        items = np.array([i for e in edges for i in rows[e]], np.int32)
        lengths = np.array([len(rows[e]) for e in edges])
        cuts = np.stack([np.full(len(edges), 2), lengths], axis=1)
        return (ChannelStreams(items, np.concatenate([[0], np.cumsum(lengths)]), cuts),)

    config = SpliceConfig(name="splice", at=1, fraction=1)
    drift = Splice(config, world(rounds=1), 2)
    edges = np.array([0, 1])
    (part,) = drift.rewrite(edges, overlapping(edges), overlapping, (INTERESTS,))
    assert part.items.tolist() == [1, 2, 23, 21, 22, 3]
    assert part.cuts.tolist() == [[2, 3], [2, 3]]


def test_channels_take_the_same_donor() -> None:
    def two(edges: NDArray[np.int64]) -> tuple[ChannelStreams, ...]:
        return cut(edges) * 2

    edges = np.arange(EDGES)
    first, second = splice(2).rewrite(edges, two(edges), two, (INTERESTS, INTERESTS))
    assert np.array_equal(first.items, second.items)


def test_a_donor_has_something_left_to_give() -> None:
    def few(edges: NDArray[np.int64]) -> tuple[ChannelStreams, ...]:
        # Odd edges end before the drift, except edge 13.
        (part,) = cut(edges)
        ended = (edges % 2 == 1) & (edges != 13)
        part.cuts[ended] = 6
        return (part,)

    edges = np.arange(EDGES)
    donors = splice(2, candidates=19).donors(edges, edges, few(edges), few, (INTERESTS,))
    assert ((donors % 2 == 0) | (donors == 13)).all()
