from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from fedsim.data.base import Streams
from fedsim.data.synthetic import Synthetic, SyntheticConfig
from tests.worlds import world


def make(edges: int = 300, channels: int = 1, **options: object) -> Synthetic:
    config = SyntheticConfig.model_validate({"name": "synthetic"} | options)
    names = [{"name": f"c{index}"} for index in range(channels)]
    return Synthetic(config, world(data=config, population={"edges": edges}, channels=names))


def shares(dataset: Synthetic, streams: Streams, channel: int = 0) -> NDArray[np.float64]:
    """Each stream's share of each topic."""
    rows = np.repeat(np.arange(len(streams)), streams.lengths)
    counts = np.zeros((len(streams), dataset.config.topics))
    topic = dataset.channels[channel].interests[streams.items].argmax(axis=1)
    np.add.at(counts, (rows, topic), 1)
    found: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    return found


def test_an_edge_meets_no_item_twice_unless_told() -> None:
    dataset = make(items=60, topics=5, length=30, spread=1)
    streams = dataset.streams(0, np.arange(300))
    for start, stop in zip(streams.offsets, streams.offsets[1:], strict=False):
        assert len(np.unique(streams.items[start:stop])) == stop - start
    again = make(items=60, topics=5, repeats=True).streams(0, np.arange(5))
    assert len(np.unique(again.items[: again.offsets[1]])) < again.offsets[1]


def test_lengths_have_the_mean_asked_for_and_vary() -> None:
    lengths = make(edges=4000).outline(0, np.arange(4000)).lengths
    assert lengths.mean() == pytest.approx(60, rel=0.03)
    assert lengths.std() > 15
    assert lengths.min() >= 12


def test_max_items_caps_streams() -> None:
    config = SyntheticConfig(name="synthetic")
    dataset = Synthetic(config, world(data=config, stream={"max_items": 20}))
    assert dataset.outline(0, np.arange(40)).lengths.max() == 20


def test_streams_follow_the_edges_own_mixture() -> None:
    dataset = make(edges=200, repeats=True, order=0, length=400, items=400)
    edges = np.arange(200)
    found = shares(dataset, dataset.streams(0, edges))
    assert np.abs(found - dataset.mixtures(edges)[:, 0]).mean() < 0.01


def test_moved_interactions_follow_the_new_mixture() -> None:
    dataset = make(edges=200, repeats=True, order=0, length=400, items=400)
    edges = np.arange(200)
    moved = np.ones(len(dataset.outline(0, edges).items), np.float32)
    found = shares(dataset, dataset.streams(0, edges, moved))
    assert np.abs(found - dataset.mixtures(edges)[:, 1]).mean() < 0.01


def test_what_came_before_a_drift_is_not_touched_by_it() -> None:
    dataset = make(edges=1)
    edges = np.array([0])
    plain = dataset.streams(0, edges)
    moved = (np.arange(len(plain.items)) >= 20).astype(np.float32)
    assert np.array_equal(dataset.streams(0, edges, moved).items[:20], plain.items[:20])


def test_mixtures_are_dirichlet() -> None:
    dataset = make(topics=4, concentration=0.5)
    old = dataset.mixtures(np.arange(20_000))[:, 0]
    assert old.sum(axis=1) == pytest.approx(1)
    assert old.mean(axis=0) == pytest.approx(0.25, abs=0.01)
    # Var of a Dirichlet share: m (1 - m) / (1 + sum of parameters) = 0.1875 / 3.
    assert old.var(axis=0) == pytest.approx(0.0625, abs=0.003)


def test_a_tiny_concentration_gives_one_interest_each() -> None:
    old = make(concentration=1e-4).mixtures(np.arange(100))[:, 0]
    assert np.isfinite(old).all()
    assert (old.max(axis=1) > 0.99).mean() > 0.95


def test_popularity_inside_a_topic_is_zipf() -> None:
    dataset = make(edges=2000, repeats=True, order=0, topics=1, items=50, zipf=1.0)
    items = dataset.streams(0, np.arange(2000)).items
    counts = np.sort(np.bincount(items, minlength=51)[1:])[::-1] / len(items)
    expected = 1 / np.arange(1, 51)
    assert counts == pytest.approx(expected / expected.sum(), abs=0.005)


@pytest.mark.parametrize("order", [0.0, 0.5, 1.0])
def test_order_is_the_share_of_steps_to_successors(order: float) -> None:
    dataset = make(edges=200, repeats=True, order=order, items=600, zipf=0)
    streams = dataset.streams(0, np.arange(200))
    catalogue = dataset._catalogues[0]
    slot = np.empty(601, np.int64)
    slot[catalogue.ids] = np.arange(600)
    inner = np.ones(len(streams.items) - 1, bool)
    inner[streams.offsets[1:-1] - 1] = False
    last, now = slot[streams.items[:-1]][inner], slot[streams.items[1:]][inner]
    followed = (catalogue.successors[last] == now[:, None]).any(axis=1).mean()
    assert followed == pytest.approx(order, abs=0.05)


def test_successors_are_others_of_the_same_topic() -> None:
    dataset = make(items=100, topics=7)
    catalogue = dataset._catalogues[0]
    topic = dataset.channels[0].interests[catalogue.ids].argmax(axis=1)
    assert (topic[catalogue.successors] == topic[:, None]).all()
    assert (catalogue.successors != np.arange(100)[:, None]).all()


def test_channels_share_interests_but_not_streams() -> None:
    dataset = make(edges=200, channels=2, repeats=True, order=0, length=300)
    edges = np.arange(200)
    first, second = dataset.streams(0, edges), dataset.streams(1, edges)
    a, b = shares(dataset, first, 0), shares(dataset, second, 1)
    assert np.abs(a - b).mean() < 0.02
    assert not np.array_equal(first.items[:10], second.items[:10])
    assert not np.array_equal(first.lengths, second.lengths)
    assert np.corrcoef(first.lengths, second.lengths)[0, 1] > 0.3


def test_time_bounds_split_the_span() -> None:
    day = 86_400
    bounds = make(days=10).boundaries(0.5, 5)
    assert (bounds / day).tolist() == [5, 6, 7, 8, 9, 10]


def test_too_few_items_are_refused() -> None:
    with pytest.raises(ValidationError, match="items = 10 is too small for 12 topics"):
        SyntheticConfig(items=10)
