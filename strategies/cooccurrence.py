"""Co-occurrence: items that followed the window's items closely in somebody's history.

An item-based neighbourhood model (Sarwar, Karypis, Konstan, Riedl: Item-Based Collaborative
Filtering Recommendation Algorithms. WWW 2001) on order: the score of item j is the sum over
the window's items i of n_ij / sqrt(n_i n_j), where n_ij counts how often j came within
`reach` interactions after i, and n_i and n_j are the sums of its row and its column. What an
edge is provisioned with is the sparse table; nothing is answered.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import coo_array
from torch import Tensor

from fedsim.data.base import Streams
from fedsim.setting import Arrays, Provision
from fedsim.strategy import EdgeCloudStrategy, EdgeHalf, StrategyConfig


class CooccurrenceConfig(StrategyConfig):
    """Options of co-occurrence."""

    name: str = "cooccurrence"
    reach: Annotated[int, Field(ge=1)] = 10
    """An item counts as following another up to so many interactions later."""


class CooccurrenceEdge(EdgeHalf):
    """Adds up the table's rows of the window's items."""

    def scores(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> Tensor:
        table = self.provision.channels[channel]
        starts, items, values = table["starts"], table["follows"], table["values"]
        flat = windows.reshape(-1, windows.shape[-1])
        out = np.zeros((len(flat), len(starts) - 1), np.float32)
        _add_rows(flat, starts, items, values, out)
        return torch.from_numpy(out.reshape(*windows.shape[:2], -1))

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        return np.zeros(1, np.int64)


class Cooccurrence(EdgeCloudStrategy):
    """Ranks by what followed the window's items in history."""

    Config = CooccurrenceConfig
    edge = CooccurrenceEdge
    config: CooccurrenceConfig

    def fit(self, history: tuple[Streams, ...]) -> None:
        self._tables = [
            follow_table(streams, place.num_items, self.config.reach)
            for streams, place in zip(history, self.setting.channels, strict=True)
        ]

    def provision(self) -> Provision:
        return Provision(channels=tuple(self._tables), candidates=tuple({} for _ in self._tables))


def follow_table(streams: Streams, num_items: int, reach: int) -> Arrays:
    """Return normalised counts of what followed what, as a sparse table.

    ``starts`` int64 (V + 2), ``follows`` int32 and ``values`` float32: item i was followed
    by ``follows[starts[i]:starts[i + 1]]``.
    """
    owner = np.repeat(np.arange(len(streams)), streams.lengths)
    before, after = [], []
    for step in range(1, reach + 1):
        same = np.flatnonzero(owner[step:] == owner[:-step])
        before.append(streams.items[same])
        after.append(streams.items[same + step])
    pairs = np.concatenate(before), np.concatenate(after)
    shape = (num_items + 1, num_items + 1)
    counts = coo_array((np.ones(len(pairs[0])), pairs), shape=shape).tocsr()
    left, right = np.sqrt(counts.sum(axis=1)), np.sqrt(counts.sum(axis=0))
    row = np.repeat(np.arange(num_items + 1), np.diff(counts.indptr))
    return {
        "starts": counts.indptr.astype(np.int64),
        "follows": counts.indices.astype(np.int32),
        "values": (counts.data / (left[row] * right[counts.indices])).astype(np.float32),
    }


@njit(cache=True)
def _add_rows(windows, starts, items, values, out):  # type: ignore[no-untyped-def]
    for row in range(len(windows)):
        for item in windows[row]:
            if item > 0:
                for at in range(starts[item], starts[item + 1]):
                    out[row, items[at]] += values[at]
