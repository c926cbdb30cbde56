"""A strategy of one's own, both halves in one file, named in a scenario as file:Class.

The cloud counts what was uploaded lately and answers everybody with the counts; an edge ranks
by what it was answered. Nothing is registered; a file in ``strategies/`` is found by its name.

Command: ``python docs/examples/own_strategy.py [OUT]``, or, in the folder of this file,
``fedsim run quickstart --strategy own_strategy:Trending``.
"""

import sys
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

import fedsim
from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.layout import Layer, Layout
from fedsim.plugins import CodecOptions
from fedsim.setting import Arrays, Provision, Uploads
from fedsim.strategy import EdgeCloudStrategy, EdgeHalf, StrategyConfig


class TrendingConfig(StrategyConfig):
    """Options of Trending, checked like any other part of a scenario."""

    name: str = "own_strategy:Trending"
    decay: float = 0.5
    """What a count is worth a round later."""
    codec: CodecOptions = Field(default="dense")


class TrendingEdge(EdgeHalf):
    """Ranks by the counts it was answered."""

    def scores(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> torch.Tensor:
        counts = torch.from_numpy(np.asarray(rows["counts"], np.float32))
        return counts[:, None].expand(*windows.shape[:2], counts.shape[1])

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        return np.zeros(1, np.int64)


class Trending(EdgeCloudStrategy):
    """Answers everybody with how often each item was uploaded, older rounds counting less."""

    Config = TrendingConfig
    edge = TrendingEdge
    config: TrendingConfig

    def columns(self) -> tuple[Column, ...]:
        size = self.setting.channels[0].num_items + 1
        return (Column("counts", "dense", Layout((Layer("items", 1, size),))),)

    def fit(self, history: tuple[Streams, ...]) -> None:
        self._counts = [
            np.bincount(streams.items, minlength=place.num_items + 1).astype(np.float32)
            for streams, place in zip(history, self.setting.channels, strict=True)
        ]

    def provision(self) -> Provision:
        return Provision(channels=({},) * len(self._counts), candidates=({},) * len(self._counts))

    def initial(self, channel: int) -> Arrays:
        return {"counts": self._counts[channel][None]}

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        return {"counts": self._counts[channel][None]}  # one row: the same for everybody

    def learn(self, round: int, uploads: Sequence[Iterable[Uploads]]) -> None:
        for counts, cells in zip(self._counts, uploads, strict=True):
            counts *= self.config.decay
            for cell in cells:
                counts += np.bincount(cell.items.ravel(), minlength=len(counts))
            counts[0] = 0  # padding

    def state(self) -> Arrays:
        return {f"counts.{c}": counts for c, counts in enumerate(self._counts)}

    def restore(self, state: Arrays) -> None:
        self._counts = [np.array(state[f"counts.{c}"]) for c in range(len(self._counts))]


if __name__ == "__main__":
    out = sys.argv[1] if len(sys.argv) > 1 else "runs"
    changes = {"rounds": 3, "population.edges": 60, "population.cell_size": 30}
    run = fedsim.run("quickstart", out=out, **{"strategy.name": "own_strategy:Trending"}, **changes)
    ledger = run.ledger.query("round > 0")
    print("NDCG@10:", round(ledger.ndcg_10.sum() / ledger.targets.sum(), 4))
    print("bytes down per edge and round:", round(ledger.downlink_bytes.mean()))
