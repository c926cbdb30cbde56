"""Every drift, found by itself, keeps the contract; a new one needs no test added here."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.typing import NDArray

from fedsim import plugins
from fedsim.drift.base import Drift
from fedsim.plugins import options
from fedsim.slices import ChannelStreams
from tests.worlds import world

NAMES = sorted(plugins.available("drifts"))
EDGES, ROUNDS, ITEMS = 60, 8, 12
INTERESTS = (np.vstack([np.zeros(3), np.tile(np.eye(3), (4, 1))]).astype(np.float32),)


@pytest.fixture(params=NAMES)
def drift(request: pytest.FixtureRequest) -> Drift:
    return make(request.param)


def make(name: str, seed: int = 0) -> Drift:
    scenario = world(drift=name, rounds=ROUNDS, seed=seed)
    made: Drift = plugins.load("drifts", name)(options("drifts", name), scenario, EDGES)
    return made


def cut(edges: NDArray[np.int64]) -> tuple[ChannelStreams, ...]:
    """Twenty items of each edge, 4 of history and 2 a round."""
    items = (edges[:, None] * 5 + np.arange(20) ** 2) % ITEMS + 1
    cuts = np.tile(4 + 2 * np.arange(ROUNDS + 1), (len(edges), 1))
    return (
        ChannelStreams(items.reshape(-1).astype(np.int32), np.arange(len(edges) + 1) * 20, cuts),
    )


def test_weights_are_shares_that_start_with_the_old_interest(drift: Drift) -> None:
    weights = drift.weights(np.arange(EDGES))
    assert weights.shape == (EDGES, ROUNDS + 1)
    assert weights.dtype == np.float32
    assert ((weights >= 0) & (weights <= 1)).all()
    assert not weights[:, 0].any()
    assert weights.any() == (drift.acts_on != "nothing")


def test_an_edge_alone_has_the_same_weights(drift: Drift) -> None:
    together = drift.weights(np.arange(EDGES))
    for edge in (0, 17, EDGES - 1):
        assert np.array_equal(drift.weights(np.array([edge]))[0], together[edge])


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_who_drifts(name: str) -> None:
    edges = np.arange(EDGES)
    first = make(name)
    assert np.array_equal(first.weights(edges), make(name).weights(edges))
    if first.acts_on != "nothing":
        assert not np.array_equal(first.weights(edges), make(name, seed=1).weights(edges))


def test_a_pickled_drift_goes_on(drift: Drift) -> None:
    edges = np.arange(EDGES)
    assert np.array_equal(pickle.loads(pickle.dumps(drift)).weights(edges), drift.weights(edges))


def test_only_a_drift_on_the_stream_rewrites_it(drift: Drift) -> None:
    edges = np.arange(EDGES)
    plain = cut(edges)
    (rewritten,) = drift.rewrite(edges, plain, cut, INTERESTS)
    if drift.acts_on != "stream":
        assert rewritten is plain[0]
        return
    assert not np.array_equal(rewritten.items, plain[0].items)


def test_a_rewritten_edge_alone_is_the_same_as_in_a_batch(drift: Drift) -> None:
    edges = np.arange(EDGES)
    (together,) = drift.rewrite(edges, cut(edges), cut, INTERESTS)
    for row in range(0, EDGES, 7):
        one = edges[row : row + 1]
        (alone,) = drift.rewrite(one, cut(one), cut, INTERESTS)
        start, stop = together.offsets[row], together.offsets[row + 1]
        assert np.array_equal(alone.items, together.items[start:stop])
        assert np.array_equal(alone.cuts[0], together.cuts[row])


def test_rewriting_keeps_the_past_and_the_bounds(drift: Drift) -> None:
    edges = np.arange(EDGES)
    (plain,) = cut(edges)
    (rewritten,) = drift.rewrite(edges, (plain,), cut, INTERESTS)
    weights = drift.weights(edges)
    for row in range(EDGES):
        moved = np.flatnonzero(weights[row] > 0)
        last = moved[0] - 1 if len(moved) else ROUNDS
        known = plain.cuts[row, last]
        start = rewritten.offsets[row]
        assert np.array_equal(rewritten.cuts[row, : last + 1], plain.cuts[row, : last + 1])
        before = plain.items[plain.offsets[row] :][:known]
        assert np.array_equal(rewritten.items[start : start + known], before)
    assert (np.diff(rewritten.cuts, axis=1) >= 0).all()
    assert (rewritten.cuts[:, -1] <= np.diff(rewritten.offsets)).all()
    assert rewritten.items.min() >= 1
    assert rewritten.items.max() <= ITEMS
