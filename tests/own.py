"""A strategy of one's own, as somebody outside the project would write it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from fedsim.codecs.base import Column
from fedsim.layout import Layer, Layout
from fedsim.plugins import CodecOptions
from fedsim.setting import Arrays, Provision, Uploads
from fedsim.strategy import EdgeCloudStrategy, EdgeHalf, StrategyConfig

NAME = "tests.own:Own"


class OwnConfig(StrategyConfig):
    """Options of Own."""

    codec: CodecOptions = Field(default="dense")


class OwnEdge(EdgeHalf):
    """Ranks by what it was answered."""

    def scores(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> torch.Tensor:
        scores = torch.from_numpy(rows["scores"])
        return scores[:, None].expand(*windows.shape[:2], -1)

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        return np.zeros(1, np.int64)


class Own(EdgeCloudStrategy):
    """Answers an upload with how often it holds each item."""

    Config = OwnConfig
    edge = OwnEdge

    @property
    def personalises(self) -> bool:
        return True

    def columns(self) -> tuple[Column, ...]:
        return (Column("scores", "dense", Layout((Layer("items", 1, self.width),))),)

    @property
    def width(self) -> int:
        """Items and padding."""
        return self.setting.channels[0].num_items + 1

    def provision(self) -> Provision:
        count = len(self.setting.channels)
        return Provision(channels=({},) * count, candidates=({},) * count)

    def initial(self, channel: int) -> Arrays:
        return {"scores": np.zeros((1, self.width), np.float32)}

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        counts = [np.bincount(items, minlength=self.width) for items in uploads.items]
        return {"scores": np.array(counts, np.float32).reshape(-1, self.width)}
