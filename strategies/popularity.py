"""Popularity: the same ranking for everybody, by how often an item was interacted with.

The floor of every table. No weights, no answers: an edge is provisioned with one number an
item and multiplies nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedsim.data.base import Streams
from fedsim.setting import Arrays, Provision
from fedsim.strategy import EdgeCloudStrategy, EdgeHalf, StrategyConfig


class PopularityConfig(StrategyConfig):
    """Popularity has no options."""

    name: str = "popularity"


class PopularityEdge(EdgeHalf):
    """Ranks by the counts it was provisioned with."""

    def scores(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> Tensor:
        counts = torch.from_numpy(self.provision.channels[channel]["counts"])
        return counts.expand(*windows.shape[:2], len(counts))

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        return np.zeros(1, np.int64)


class Popularity(EdgeCloudStrategy):
    """Ranks by how often items occur in history."""

    Config = PopularityConfig
    edge = PopularityEdge
    config: PopularityConfig

    def fit(self, history: tuple[Streams, ...]) -> None:
        self._counts = [
            np.bincount(streams.items, minlength=place.num_items + 1).astype(np.float32)
            for streams, place in zip(history, self.setting.channels, strict=True)
        ]

    def provision(self) -> Provision:
        return Provision(
            channels=tuple({"counts": counts} for counts in self._counts),
            candidates=tuple({} for _ in self._counts),
        )
