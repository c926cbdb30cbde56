"""The statistics by which a data set is recognised in papers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsim.data.base import Dataset


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts over one channel; `sparsity` is the share of user-item pairs never seen, 0 to 1."""

    channel: str
    users: int
    items: int
    interactions: int

    @property
    def mean_length(self) -> float:
        """Interactions per user."""
        return self.interactions / self.users

    @property
    def sparsity(self) -> float:
        """Share of user-item pairs without an interaction."""
        return 1 - self.interactions / (self.users * self.items)

    def record(self) -> dict[str, float]:
        """Return the figures by name."""
        names = ("users", "items", "interactions", "mean_length", "sparsity")
        return {name: getattr(self, name) for name in names}


def statistics(dataset: Dataset) -> tuple[Statistics, ...]:
    """Return the statistics of each channel, after the data set's protocol."""
    edges = np.arange(dataset.num_edges)
    return tuple(
        Statistics(
            channel.name,
            dataset.num_edges,
            channel.num_items,
            len(dataset.streams(channel.index, edges).items),
        )
        for channel in dataset.channels
    )
