"""A scenario's edges, cell by cell: their streams, drift, devices and availability.

A cell is made from the scenario and its index alone, in any process and any order, and
nothing about it grows with the number of edges in the population.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fedsim import plugins, rng, split
from fedsim.data.base import SHORTEST, Channel, Dataset, GenerativeDataset, Streams
from fedsim.devices import DEVICES
from fedsim.divergence import interest_drift
from fedsim.drift.base import Drift
from fedsim.errors import ConfigError
from fedsim.scenario import ScenarioConfig
from fedsim.slices import ChannelStreams, cut_by_count, cut_by_time, drop_last, take_tails

__all__ = ["Cell", "ChannelStreams", "Population"]


@dataclass(frozen=True, slots=True)
class Cell:
    """The edges one node hosts. B edges, R rounds; rounds count from 1.

    `edges` int64 (B) names them; `ood` bool (B) says whose history the cloud never sees;
    `device` int8 (B) is an index into ``tuple(DEVICES)``; `drift_weight` float32 (B, R + 1)
    is the share of the new interest by round, column 0 being history. `interests` is each
    channel's item interests (V + 1, G).
    """

    index: int
    edges: NDArray[np.int64]
    channels: tuple[ChannelStreams, ...]
    ood: NDArray[np.bool_]
    device: NDArray[np.int8]
    drift_weight: NDArray[np.float32]
    interests: tuple[NDArray[np.float32], ...]
    seed: int
    availability: float

    def __len__(self) -> int:
        return len(self.edges)

    def available(self, round: int) -> NDArray[np.bool_]:
        """Tell which edges take part in the round, bool (B)."""
        chance = rng.uniform(self.seed, "available", self.edges, 1, round=round)[:, 0]
        return chance < self.availability

    def drift_true(self, round: int) -> NDArray[np.bool_]:
        """Tell whose interest really moved when the round began, bool (B)."""
        return np.not_equal(self.drift_weight[:, round], self.drift_weight[:, round - 1])

    def drift_score(self, channel: int, round: int) -> NDArray[np.float32]:
        """Return how far the round's items are from the 50 before, float32 (B), 0 to 1.

        The Jensen-Shannon divergence (base 2) of their interest histograms; NaN where there
        is nothing before the round or nothing in it.
        """
        return interest_drift(self.channels[channel], self.interests[channel], round)


class Population:
    """All edges of a scenario.

    Raises
    ------
    ConfigError
        Parts of the scenario do not go together.
    DataError
        The data is missing, malformed or too short.
    """

    channels: tuple[Channel, ...]
    num_edges: int
    num_cells: int

    def __init__(self, scenario: ScenarioConfig) -> None:
        self.scenario = scenario
        data: Any = plugins.load("datasets", scenario.data.name)
        self.dataset: Dataset = data(scenario.data, scenario)
        self.dataset.check(SHORTEST + scenario.stream.hold_out)
        self.channels = self.dataset.channels
        self.num_edges = self.dataset.num_edges
        if scenario.population.edges is not None:
            self.num_edges = min(self.num_edges, scenario.population.edges)
        self.num_cells = -(-self.num_edges // scenario.population.cell_size)
        drift: Any = plugins.load("drifts", scenario.drift.name)
        self.drift: Drift = drift(scenario.drift, scenario, self.num_edges)
        self._check_drift()
        self._bounds = self._boundaries()

    def cell(self, index: int) -> Cell:
        """Make one cell."""
        size = self.scenario.population.cell_size
        if not 0 <= index < self.num_cells:
            raise ConfigError(f"cell {index} does not exist; there are {self.num_cells} from 0")
        edges = np.arange(index * size, min((index + 1) * size, self.num_edges))
        return self.gather(edges, index)

    def gather(self, edges: NDArray[np.int64], index: int = -1) -> Cell:
        """Make any edges as if they were a cell; edge by edge the same as in their own."""
        edges = np.asarray(edges, np.int64)
        plain = self._cut_streams(edges)
        interests = tuple(channel.interests for channel in self.channels)
        return Cell(
            index,
            edges,
            self.drift.rewrite(edges, plain, self._cut_streams, interests),
            self.is_ood(edges),
            self.devices(edges),
            self.drift.weights(edges),
            interests,
            self.scenario.seed,
            self.scenario.population.availability,
        )

    def is_ood(self, edges: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell whose history the cloud never sees, bool (B): exactly the share asked for."""
        fraction = self.scenario.population.ood_fraction
        return split.chosen(self.scenario.seed, "ood", edges, self.num_edges, fraction)

    def devices(self, edges: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return each edge's device class, int8 (B), an index into ``tuple(DEVICES)``."""
        table = self.scenario.population.devices
        names = sorted(table, key=list(DEVICES).index)
        weights = np.array([table[name] for name in names])
        place = split.shares(self.scenario.seed, "device", edges, self.num_edges, weights)
        return np.array([list(DEVICES).index(name) for name in names], np.int8)[place]

    def fit_edges(self) -> NDArray[np.int64]:
        """Return the edges whose history trains the cloud, ascending.

        All in-distribution edges, or `population.fit_edges` of them evenly spaced.
        """
        edges = np.arange(self.num_edges)
        edges = edges[~self.is_ood(edges)]
        count = min(len(edges), self.scenario.population.fit_edges)
        return edges[np.arange(count) * len(edges) // max(count, 1)]

    def history(self) -> tuple[Streams, ...]:
        """Return, per channel, what `fit_edges` did before round 1; row i is the same edge."""
        edges = self.fit_edges()
        return tuple(part.history() for part in self._cut_streams(edges))

    def edges_table(self) -> Iterator[pa.RecordBatch]:
        """Yield one record batch per cell: edge, cell, device, ood."""
        names = pa.array(list(DEVICES))
        size = self.scenario.population.cell_size
        for index in range(self.num_cells):
            edges = np.arange(index * size, min((index + 1) * size, self.num_edges))
            columns = {
                "edge": pa.array(edges),
                "cell": pa.array(np.full(len(edges), index, np.int32)),
                "device": pa.DictionaryArray.from_arrays(self.devices(edges), names),
                "ood": pa.array(self.is_ood(edges)),
            }
            yield pa.RecordBatch.from_pydict(columns)

    def _cut_streams(self, edges: NDArray[np.int64]) -> tuple[ChannelStreams, ...]:
        return tuple(self._cut(channel, edges) for channel in range(len(self.channels)))

    def _cut(self, channel: int, edges: NDArray[np.int64]) -> ChannelStreams:
        if isinstance(self.dataset, GenerativeDataset):
            return self._cut_generated(self.dataset, channel, edges)
        streams = drop_last(self.dataset.streams(channel, edges), self.scenario.stream.hold_out)
        if self.scenario.stream.max_items is not None:
            streams = take_tails(streams, self.scenario.stream.max_items)
        return ChannelStreams(streams.items, streams.offsets, self._cuts(streams), streams.times)

    def _cut_generated(
        self, dataset: GenerativeDataset, channel: int, edges: NDArray[np.int64]
    ) -> ChannelStreams:
        outline = dataset.outline(channel, edges)
        known = drop_last(outline, self.scenario.stream.hold_out)
        cuts = self._cuts(known)
        ends = np.concatenate([cuts, outline.lengths[:, None]], axis=1)
        counts = np.diff(ends, axis=1, prepend=0)
        weights = self.drift.weights(edges)
        weights = np.concatenate([weights, weights[:, -1:]], axis=1)
        moved = np.repeat(weights.reshape(-1), counts.reshape(-1))
        streams = drop_last(dataset.streams(channel, edges, moved), self.scenario.stream.hold_out)
        return ChannelStreams(streams.items, streams.offsets, cuts, streams.times)

    def _cuts(self, streams: Streams) -> NDArray[np.int64]:
        if self._bounds is None or streams.times is None:
            return cut_by_count(streams.lengths, self.scenario.stream, self.scenario.rounds)
        return cut_by_time(streams.offsets, streams.times, self._bounds)

    def _boundaries(self) -> NDArray[np.int64] | None:
        stream = self.scenario.stream
        if stream.slices == "count":
            return None
        if stream.history == "leave_one_out":
            raise ConfigError(
                "stream.slices = 'time' needs a share of time as stream.history, "
                "not 'leave_one_out'; give a number or set stream.slices = 'count'"
            )
        return self.dataset.boundaries(stream.history, self.scenario.rounds)

    def _check_drift(self) -> None:
        acts_on, data = self.drift.acts_on, self.scenario.data.name
        if acts_on == "mixture" and not self.dataset.generative:
            raise ConfigError(
                f"drift '{self.scenario.drift.name}' moves interest mixtures, which the recorded "
                f"data set '{data}' has not; set drift.name = 'splice'"
            )
        if acts_on == "stream" and self.dataset.generative:
            raise ConfigError(
                f"drift '{self.scenario.drift.name}' rewrites recorded streams, but '{data}' "
                f"generates its own; set drift.name = 'sudden'"
            )
