"""Shortlist: the cloud's own ranking as the answer, and no network on the edge. Ours.

The rival that everything on a device has to beat: the list of `strategies.menu` without the
snack beside it. Nothing is provisioned, nothing is multiplied, and what an edge stores is the
list. It shows the first items of the list it holds until the next one comes; of what is not
listed it knows nothing. Where every choice is told to the cloud, and so every list is fresh, a
network on the device has to be worth more than the cloud's ranking written out; what it is
worth shows where several choices are made between two answers.

The options are those of the menu: the snack is trained as there, and stays in the cloud.

Notation: `B` edges, `K` windows of an edge, `V` items.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor

from fedsim.codecs.base import Column
from fedsim.setting import Arrays, Provision, Uploads
from strategies.menu import Menu, MenuConfig, MenuEdge, listed_items


class ShortlistConfig(MenuConfig):
    """Options of the shortlist."""

    name: str = "shortlist"

    @model_validator(mode="after")
    def _reads_a_channel(self) -> ShortlistConfig:
        if self.reads == "all":
            raise ValueError(
                "reads = 'all' is for a snack, and a list is made of the channel's own items; "
                "leave out reads, or take strategy 'menu'"
            )
        return self


class ShortlistEdge(MenuEdge):
    """Uploads its last 100 items; ranks by the list it was answered alone."""

    def scores(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> Tensor:
        ids = listed_items(self.setting, channel, rows["list"], self.config.listed)[:, 1:]
        scores = torch.zeros(len(ids), self.setting.channels[channel].num_items + 1)
        order = torch.arange(ids.shape[1], 0, -1, dtype=torch.float32).expand(len(ids), -1)
        scores.scatter_(1, torch.from_numpy(ids), order)
        return scores[:, None].expand(len(windows), windows.shape[1], -1).clone()

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        return np.zeros(1, np.int64)


class Shortlist(Menu):
    """Trains what the cloud ranks by; answers with lists alone."""

    Config = ShortlistConfig
    edge = ShortlistEdge
    config: ShortlistConfig

    def columns_of(self, channel: int) -> tuple[Column, ...]:
        return tuple(each for each in super().columns_of(channel) if each.name == "list")

    def provision(self) -> Provision:
        nothing: tuple[Arrays, ...] = tuple({} for _ in self.setting.channels)
        return Provision(channels=nothing, candidates=nothing)

    def sample(self, channel: int) -> Arrays:
        return {"list": self._lists[channel]}

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        return {"list": self._list(channel, uploads.items)}

    def majority(self, channel: int, rows: Arrays) -> Arrays:
        """Return an empty list: a list is for one edge alone."""
        return {"list": np.zeros_like(rows["list"][:1])}
