"""Every data set, found by itself, keeps the contract; a new one needs no test added here."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from fedsim import plugins
from fedsim.data._recorded import RecordedConfig, RecordedDataset
from fedsim.data.base import Dataset, GenerativeDataset, Streams
from fedsim.data.stats import statistics
from fedsim.errors import ConfigError
from fedsim.population import Population
from fedsim.scenario import build
from tests.worlds import world

NAMES = sorted(plugins.available("datasets"))


def made(name: str, folder: Path) -> list[Dataset]:
    """One data set for each example its class gives."""
    cls = plugins.load("datasets", name)
    folder.mkdir(exist_ok=True)
    configs = [config.model_copy(update={"name": name}) for config in cls.examples(folder)]
    return [cls(config, world(data=config, population={})) for config in configs]


def equal(a: Streams, b: Streams) -> bool:
    times = (a.times is None) == (b.times is None) and (
        a.times is None or np.array_equal(a.times, np.asarray(b.times))
    )
    return times and np.array_equal(a.items, b.items) and np.array_equal(a.offsets, b.offsets)


@pytest.fixture(params=NAMES)
def datasets(request: pytest.FixtureRequest, tmp_path: Path) -> list[Dataset]:
    found = made(request.param, tmp_path / "files")
    assert found, "examples() yields no option to test with"
    return found


def test_ids_are_in_the_catalogue_and_offsets_span_the_items(datasets: list[Dataset]) -> None:
    for dataset in datasets:
        for channel in dataset.channels:
            streams = dataset.streams(channel.index, np.arange(dataset.num_edges))
            assert len(streams) == dataset.num_edges
            assert streams.items.dtype == np.int32
            assert streams.offsets.dtype == np.int64
            assert streams.offsets[0] == 0
            assert streams.offsets[-1] == len(streams.items)
            assert (streams.lengths >= 0).all()
            assert streams.items.min() >= 1
            assert streams.items.max() <= channel.num_items


def test_times_never_go_back(datasets: list[Dataset]) -> None:
    for dataset in datasets:
        streams = dataset.streams(0, np.arange(dataset.num_edges))
        if streams.times is not None:
            steps = np.diff(streams.times)
            steps[streams.offsets[1:-1] - 1] = 0
            assert (steps >= 0).all()
            bounds = dataset.boundaries(0.5, 4)
            assert bounds.shape == (5,)
            assert (np.diff(bounds) >= 0).all()
            assert bounds[-1] >= streams.times.max()


def test_interests_are_shares_under_a_zero_row(datasets: list[Dataset]) -> None:
    for dataset in datasets:
        for channel in dataset.channels:
            assert channel.interests.shape[0] == channel.num_items + 1
            assert channel.interests.dtype == np.float32
            assert not channel.interests[0].any()
            assert np.allclose(channel.interests[1:].sum(axis=1), 1)
            assert len(channel.titles) in (0, channel.num_items + 1)


def test_an_edge_alone_is_the_same_as_in_a_batch(datasets: list[Dataset]) -> None:
    for dataset in datasets:
        edges = np.array([3, 0, dataset.num_edges - 1, 3])
        batch = dataset.streams(0, edges)
        for row, edge in enumerate(edges):
            alone = dataset.streams(0, np.array([edge]))
            start, stop = batch.offsets[row], batch.offsets[row + 1]
            assert np.array_equal(alone.items, batch.items[start:stop])


def test_no_edges_give_no_streams(datasets: list[Dataset]) -> None:
    for dataset in datasets:
        assert len(dataset.streams(0, np.empty(0, np.int64))) == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_same_options_make_the_same_data(name: str, tmp_path: Path) -> None:
    edges = np.arange(10)
    for a, b in zip(made(name, tmp_path / "a"), made(name, tmp_path / "b"), strict=True):
        assert equal(a.streams(0, edges), b.streams(0, edges))
        assert np.array_equal(a.channels[0].interests, b.channels[0].interests)


def test_a_pickled_data_set_goes_on(datasets: list[Dataset]) -> None:
    edges = np.arange(5)
    for dataset in datasets:
        copy = pickle.loads(pickle.dumps(dataset))
        assert equal(copy.streams(0, edges), dataset.streams(0, edges))


def test_statistics_count_what_streams_hold(datasets: list[Dataset]) -> None:
    for dataset in datasets:
        (row,) = statistics(dataset)
        streams = dataset.streams(0, np.arange(dataset.num_edges))
        assert (row.users, row.interactions) == (len(streams), len(streams.items))
        assert row.mean_length == pytest.approx(streams.lengths.mean())
        if isinstance(dataset, RecordedDataset):
            assert len(dataset.read().items) >= row.interactions


@pytest.mark.parametrize("name", NAMES)
def test_options_that_drop_the_rare_are_no_negative_numbers(name: str) -> None:
    config = plugins.load("datasets", name).Config
    if not issubclass(config, RecordedConfig):
        pytest.skip("generated: nothing is dropped")
    for key in ("min_item_count", "k_core", "min_interactions"):
        message = f"'data.{key}' = -3: Input should be greater than or equal to 0"
        with pytest.raises(ConfigError, match=re.escape(message)):
            build({"data": {"name": name, "path": "file", key: -3}})


def test_a_population_can_be_made_of_it(datasets: list[Dataset]) -> None:
    for dataset in datasets:
        config = dataset.config  # type: ignore[attr-defined]
        population = Population(world(data=config, rounds=2, population={"cell_size": 8}))
        cell = population.cell(0)
        assert cell.channels[0].windows(1, 5).shape == (8, 5)
        assert (cell.channels[0].cuts[:, -1] == dataset.streams(0, cell.edges).lengths).all()


def test_a_generated_outline_is_kept_whatever_the_drift(datasets: list[Dataset]) -> None:
    for dataset in datasets:
        if not isinstance(dataset, GenerativeDataset):
            pytest.skip("recorded: no outline")
        edges = np.arange(20)
        outline = dataset.outline(0, edges)
        moved = dataset.streams(0, edges, np.ones(len(outline.items), np.float32))
        plain = dataset.streams(0, edges)
        assert np.array_equal(moved.offsets, outline.offsets)
        assert np.array_equal(plain.offsets, outline.offsets)
        assert not np.array_equal(moved.items, plain.items)
