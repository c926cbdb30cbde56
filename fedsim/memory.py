"""How many bytes of answers an edge has room for, and what it does when there is less room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim import rng
from fedsim.answers import Columns, held_rows, spread
from fedsim.devices import DEVICES
from fedsim.population import Population
from fedsim.scenario import ScenarioConfig
from fedsim.store import CellStore
from fedsim.strategy import EdgeHalf
from fedsim.wire import seal


class Memory:
    """The scenario's ``memory`` section for the edges of a population.

    The cloud knows what an edge has room for, as from a registry of devices: telling it is
    not booked.
    """

    def __init__(self, scenario: ScenarioConfig, population: Population) -> None:
        self.config, self.seed, self.population = scenario.memory, scenario.seed, population

    def free(self, edges: NDArray[np.int64], round: int) -> NDArray[np.int64] | None:
        """Return bytes for the answer of each channel in a round, int64 (B); None: no limit."""
        room = self.config.bytes
        if room is None:
            return None
        if isinstance(room, dict):
            by_class = np.array([room.get(name, np.inf) for name in DEVICES])
            most = by_class[self.population.devices(edges)]
        else:
            most = np.full(len(edges), float(room))
        draw = rng.uniform(
            self.seed, "memory", edges, 1, round=1 + (round - 1) // self.config.every
        )[:, 0]
        share = self.config.least + (1.0 - self.config.least) * draw
        return np.minimum(most * share, 2.0**62).astype(np.int64)


def make_room(
    half: EdgeHalf,
    store: CellStore,
    columns: Columns,
    channel: int,
    names: NDArray[np.int64],
    free: NDArray[np.int64] | None,
) -> None:
    """Let edges whose record does not fit any more drop parts of it; it costs no bytes.

    Parameters
    ----------
    half
        Whose `shrink` says what is dropped.
    store
        Of the cell of the edges `names`, int64 (B); changed in place.
    columns
        With codecs whose records stand alone.
    free
        Bytes there are for the record, int64 (B).
    """
    if free is None or type(half).shrink is EdgeHalf.shrink:
        return
    over = np.flatnonzero(store.stored_bytes()[:, channel] > free)
    if len(over):
        held = spread(held_rows(store, columns, channel, over, names[over]), len(over))
        store.put(channel, over, seal(columns, half.shrink(channel, held, free[over])))
