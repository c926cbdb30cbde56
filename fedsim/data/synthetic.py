"""Streams generated from latent topics: popularity, personal interest, order, and drift.

A catalogue's items are divided among topics; inside a topic, popularity follows Zipf's
law. An edge has a Dirichlet mixture over topics, shared by all its channels, and a second
one it moves to when it drifts. Its next item is, with probability `order`, one of a few
fixed successors of its last item, else an item of a topic drawn from its mixture. Every
draw is Philox of (seed, purpose, edge, position), so one edge's stream can be made alone.

The topics follow latent Dirichlet allocation (Blei, Ng, Jordan: Latent Dirichlet
allocation. JMLR 3, 2003); successors and drift are our own choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fedsim import rng
from fedsim.data import _topics
from fedsim.data.base import (
    SHORTEST,
    Channel,
    DatasetConfig,
    GenerativeDataset,
    Streams,
    held_out,
)
from fedsim.errors import DataError
from fedsim.scenario import Count, Fraction, ScenarioConfig

_DAY = 86_400


class SyntheticConfig(DatasetConfig):
    """Options of `synthetic`; `population.edges` says how many edges (1,000 when unset)."""

    items: Annotated[int, Field(ge=1, le=10_000_000)] = 600
    """Items of each channel's catalogue."""
    topics: Count = 12
    """Latent interests."""
    concentration: Annotated[float, Field(gt=0)] = 0.2
    """Dirichlet parameter of an edge's mixture: small means few interests each."""
    zipf: Annotated[float, Field(ge=0)] = 1.0
    """Exponent of popularity inside a topic; 0 is uniform."""
    order: Fraction = 0.5
    """Chance that the next item is a successor of the last one."""
    successors: Count = 3
    """Fixed successors of an item, all of its own topic."""
    repeats: bool = False
    """Whether an edge may meet an item again."""
    length: Annotated[float, Field(ge=SHORTEST)] = 60.0
    """Mean interactions of an edge in a channel, about: activity is log-normal."""
    spread: Annotated[float, Field(ge=0)] = 0.5
    """Standard deviation of the logarithm of activity."""
    shortest: Annotated[int, Field(ge=SHORTEST)] = 12
    """No stream is shorter."""
    days: Annotated[float, Field(gt=0)] = 30.0
    """Time the streams span."""

    @model_validator(mode="after")
    def _enough_items(self) -> SyntheticConfig:
        if self.items < self.topics or (self.items < self.shortest and not self.repeats):
            raise ValueError(
                f"items = {self.items} is too small for {self.topics} topics and streams of "
                f"{self.shortest} items or more; raise items"
            )
        return self

    @property
    def longest(self) -> int:
        """No stream is longer: half the catalogue, or 8 times the mean with repeats."""
        most = int(8 * self.length) if self.repeats else self.items // 2
        return max(self.shortest, most)


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """Items in slots, topic by topic, most popular first; `ids` names them from 1."""

    topic_starts: NDArray[np.int64]  # (G + 1)
    popularity: NDArray[np.float64]  # (V) cumulative within the topic
    successors: NDArray[np.int64]  # (V, S) slots
    ids: NDArray[np.int32]  # (V)


class Synthetic(GenerativeDataset):
    """Topic mixtures, Zipf popularity and Markov order, generated edge by edge."""

    Config = SyntheticConfig

    def __init__(self, config: SyntheticConfig, scenario: ScenarioConfig) -> None:
        self.config = config
        self.seed = scenario.seed
        self._num_edges = scenario.population.edges or 1000
        self._timed = scenario.stream.slices == "time"
        longest = scenario.stream.max_items or config.longest
        self._longest = min(longest, config.longest)
        count = range(len(scenario.channels))
        self._catalogues = tuple(_catalogue(config, self.seed, channel) for channel in count)
        self._channels = tuple(
            Channel(index, channel.name, config.items, _interests(self._catalogues[index]))
            for index, channel in enumerate(scenario.channels)
        )

    @property
    def num_edges(self) -> int:
        """As many as the scenario asks for."""
        return self._num_edges

    @property
    def channels(self) -> tuple[Channel, ...]:
        """A catalogue for each channel, all of the same topics."""
        return self._channels

    def boundaries(self, history: float, rounds: int) -> NDArray[np.int64]:
        """Cut the span at the history's share of it, the rest into equal parts."""
        shares = history + (1 - history) * np.arange(rounds + 1) / rounds
        return (shares * self.config.days * _DAY).astype(np.int64)

    def check(self, least: int = SHORTEST) -> None:
        """Refuse settings that make streams too short."""
        shortest = min(self.config.shortest, self._longest)
        if shortest < least:
            raise DataError(
                f"streams have {shortest} interactions or more; an edge needs at least "
                f"{least}{held_out(least)}; raise data.shortest and stream.max_items to {least}"
            )

    def outline(self, channel: int, edges: NDArray[np.int64]) -> Streams:
        """Return lengths, and times where rounds are slices of time.

        Activity is half the edge's own and half the channel's.
        """
        edges = np.asarray(edges, np.int64)
        shared = _normal(self.seed, "synthetic/activity", edges)
        own = _normal(self.seed, f"synthetic/{channel}/activity", edges)
        spread = self.config.spread
        scale = self.config.length * np.exp(-(spread**2) / 2)
        lengths = np.rint(scale * np.exp(spread * np.sqrt(0.5) * (shared + own)))
        lengths = np.clip(lengths, self.config.shortest, self._longest).astype(np.int64)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        items = np.zeros(int(offsets[-1]), np.int32)
        if not self._timed:
            return Streams(items, offsets)
        times = np.empty(len(items), np.int64)
        key = np.uint64(rng.key(self.seed, f"synthetic/{channel}/times"))
        _topics.times(key, edges, offsets, self.config.days * _DAY, times)
        return Streams(items, offsets, times)

    def streams(
        self,
        channel: int,
        edges: NDArray[np.int64],
        moved: NDArray[np.float32] | None = None,
    ) -> Streams:
        """Generate the streams of the edges named."""
        edges = np.asarray(edges, np.int64)
        outline = self.outline(channel, edges)
        if moved is None:
            moved = np.zeros(len(outline.items), np.float32)
        mixtures = self.mixtures(edges)
        catalogue = self._catalogues[channel]
        _topics.generate(
            np.uint64(rng.key(self.seed, f"synthetic/{channel}/items")),
            edges,
            outline.offsets,
            moved,
            np.cumsum(mixtures, axis=2),
            catalogue.topic_starts,
            catalogue.popularity,
            catalogue.successors,
            catalogue.ids,
            self.config.order,
            self.config.repeats,
            outline.items,
        )
        return outline

    def mixtures(self, edges: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return each edge's old and new mixture over topics, float64 (B, 2, G)."""
        out = np.empty((len(edges), 2, self.config.topics))
        key = np.uint64(rng.key(self.seed, "synthetic/interest"))
        _topics.dirichlet(key, np.asarray(edges, np.int64), self.config.concentration, out)
        return out


def _catalogue(config: SyntheticConfig, seed: int, channel: int) -> _Catalogue:
    gen = rng.generator(seed, f"synthetic/{channel}/catalogue")
    starts = np.arange(config.topics + 1) * config.items // config.topics
    topic = np.repeat(np.arange(config.topics), np.diff(starts))
    place = np.arange(config.items) - starts[topic]
    weight = (place + 1.0) ** -config.zipf
    before = np.concatenate([[0.0], np.cumsum(weight)])
    within = np.diff(before[starts])[topic]
    popularity = (before[1:] - before[starts[topic]]) / within
    size = np.diff(starts)[topic][:, None]
    jump = 1 + gen.integers(0, np.maximum(size - 1, 1), (config.items, config.successors))
    successors = starts[topic][:, None] + (place[:, None] + jump) % size
    ids = (gen.permutation(config.items) + 1).astype(np.int32)
    return _Catalogue(starts, popularity, successors, ids)


def _interests(catalogue: _Catalogue) -> NDArray[np.float32]:
    sizes = np.diff(catalogue.topic_starts)
    interests = np.zeros((len(catalogue.ids) + 1, len(sizes)), np.float32)
    interests[catalogue.ids, np.repeat(np.arange(len(sizes)), sizes)] = 1
    return interests


def _normal(seed: int, purpose: str, edges: NDArray[np.int64]) -> NDArray[np.float64]:
    u = rng.uniform(seed, purpose, edges, 2)
    normal: NDArray[np.float64] = np.sqrt(-2 * np.log1p(-u[:, 0])) * np.cos(2 * np.pi * u[:, 1])
    return normal
