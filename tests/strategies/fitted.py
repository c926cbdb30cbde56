"""Small fitted strategies, and what they give edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedsim import plugins
from fedsim.data.base import Streams
from fedsim.edges.side import make_setting
from fedsim.population import Cell, Population
from fedsim.setting import Provision, Setting, Uploads
from fedsim.strategy import EdgeCloudStrategy, EdgeHalf
from fedsim.training.exclusion import ranks
from tests.studies import tiny

SMALL = {"name": "sasrec", "dim": 16, "heads": 2, "window": 4}


@dataclass(frozen=True)
class Fitted:
    """A strategy after `fit`, its edge half and one cell."""

    strategy: Any
    setting: Setting
    half: EdgeHalf
    cell: Cell
    history: tuple[Streams, ...]

    def uploads(self, channel: int = 0, lag: int = 0) -> Uploads:
        """Return what the cell's edges upload in round 1."""
        windows = self.cell.channels[channel].windows(1, self.half.upload_length, lag)
        return Uploads(self.cell.edges, windows)

    def hit(self, rows: Any, k: int = 10) -> float:
        """Return Hit@K on the first item of round 1 with these answers."""
        streams = self.cell.channels[0]
        window = streams.windows(1, self.setting.backbone.window)[:, None]
        with torch.no_grad():
            scores = self.half.scores(0, rows, window)[:, 0, 1:]
        wanted = streams.items[streams.offsets[:-1] + streams.cuts[:, 0]].astype(np.int64)
        return float((ranks(scores, torch.from_numpy(wanted - 1)) < k).float().mean())


def fitted(
    strategy: str | dict[str, Any],
    *,
    cache: Path | None = None,
    model: Mapping[str, Any] = SMALL,
    changes: Mapping[str, Any] | None = None,
) -> Fitted:
    """Fit a strategy on a tiny scenario with a small backbone."""
    scenario = tiny(strategy, **{"model": dict(model), **(changes or {})})
    population = Population(scenario)
    setting = make_setting(scenario, population, cache)
    made: EdgeCloudStrategy = plugins.load("strategies", scenario.strategy.name)(
        scenario.strategy, setting
    )
    history = population.history()
    made.fit(history)
    provision = Provision.decode(made.provision().encode())
    half = made.edge(setting, scenario.strategy, provision)
    return Fitted(made, setting, half, population.cell(0), history)


def bits(packed: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Unpack masks."""
    return np.unpackbits(packed, axis=1, count=size, bitorder="little")
