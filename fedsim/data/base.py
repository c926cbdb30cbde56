"""What a data set is: interaction streams of users, per channel."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fedsim.plugins import Options, Plugin

SHORTEST = 3
"""Interactions an edge needs: one to learn from, one to validate on, one to predict."""


class DatasetConfig(Options):
    """Options every data set has."""


@dataclass(frozen=True, slots=True)
class Streams:
    """Chronological streams of some edges in one channel.

    Stream i is ``items[offsets[i]:offsets[i + 1]]``; item ids run from 1 to the catalogue's
    size (0 is padding). `times` is seconds or None where the data has only an order.
    """

    items: NDArray[np.int32]
    offsets: NDArray[np.int64]
    times: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Interactions of each stream, int64 (edges)."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel's catalogue: `num_items` items, ids 1..num_items.

    `interests` is float32 (num_items + 1, G), rows summing to 1 (row 0 is zero): how much
    an item belongs to each interest (topic, genre or cluster); drift is measured on it.
    `titles` names the items where the data does (index 0 is padding), else is empty.
    """

    index: int
    name: str
    num_items: int
    interests: NDArray[np.float32]
    titles: tuple[str, ...] = ()


class Dataset(Plugin):
    """A source of streams; the same edge always has the same stream.

    Made as ``Dataset(config, scenario)``; the scenario gives seed, channels, rounds, stream
    and drift sections.
    """

    generative: ClassVar[bool] = False
    """Whether streams are made from interest mixtures, which a drift may move."""

    @property
    @abstractmethod
    def num_edges(self) -> int:
        """Users the data set has (at most `population.edges` of them take part)."""

    @property
    @abstractmethod
    def channels(self) -> tuple[Channel, ...]:
        """The channels' catalogues."""

    @abstractmethod
    def streams(self, channel: int, edges: NDArray[np.int64]) -> Streams:
        """Return the streams of the edges named, in that order."""

    @abstractmethod
    def boundaries(self, history: float, rounds: int) -> NDArray[np.int64]:
        """Return the moments that end history and each round, int64 (R + 1), in seconds.

        Raises
        ------
        DataError
            The data has no times.
        """

    def check(self, least: int = SHORTEST) -> None:
        """Refuse data with an edge that has fewer than `least` interactions in all.

        That is SHORTEST, and what the scenario holds out (`stream.hold_out`).

        Raises
        ------
        DataError
            Names the user or the length, the count and what to set.
        """

    def fingerprint(self) -> str:
        """Return what names the content of the files it was read from; "" if there are none."""
        return ""

    @classmethod
    def examples(cls, folder: Path) -> Iterable[Options]:
        """Yield options to test this data set with; files it needs are written to `folder`."""
        yield cls.Config()


def held_out(least: int) -> str:
    """Return what an error adds where more than SHORTEST interactions are needed.

    >>> held_out(SHORTEST), held_out(SHORTEST + 1)
    ('', ' with stream.hold_out = 1')
    """
    more = least - SHORTEST
    return f" with stream.hold_out = {more}" if more else ""


class GenerativeDataset(Dataset):
    """A data set whose streams are made from interest mixtures, one edge at a time."""

    generative = True

    @abstractmethod
    def outline(self, channel: int, edges: NDArray[np.int64]) -> Streams:
        """Return the edges' streams with their lengths and times but no items yet (all 0)."""

    @abstractmethod
    def streams(
        self,
        channel: int,
        edges: NDArray[np.int64],
        moved: NDArray[np.float32] | None = None,
    ) -> Streams:
        """Return the edges' streams.

        `moved` is, for every interaction in the order of `outline`, the share of the new
        interest in the edge's mixture, float32 (n); 0 when left out.
        """
