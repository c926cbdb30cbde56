"""The answers of a round: decode the uploads, ask the strategy, encode, keep to the budget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedsim.answers import held_rows, spread
from fedsim.arrays import Named
from fedsim.budget import spend
from fedsim.cloud.kit import Kit
from fedsim.errors import RunError
from fedsim.files import write_atomic
from fedsim.ragged import Ragged
from fedsim.scenario import ScenarioConfig
from fedsim.setting import Arrays, Uploads
from fedsim.store import CellStore
from fedsim.strategy import EdgeCloudStrategy
from fedsim.wire import at_rest, decode_items, seal


class Answering:
    """Makes a cell's answers; keeps in `folder` what the cloud must know to go on.

    Where a codec encodes against the answer an edge holds, the cloud keeps a copy of what
    it sent, cell by cell on disk.
    """

    def __init__(
        self, scenario: ScenarioConfig, strategy: EdgeCloudStrategy, kit: Kit, folder: Path
    ) -> None:
        self.scenario, self.strategy, self.kit, self.folder = scenario, strategy, kit, folder
        self.columns = kit.columns(strategy)
        self.at_rest = tuple(tuple(at_rest(columns)) for columns in self.columns)
        self.mirrors = any(codec.needs_held for part in self.columns for _, codec in part)

    def uploads(self, channel: int, sent: Named) -> Uploads:
        """Decode what a cell's edges uploaded."""
        edges = sent["names"][sent[f"{channel}.edges"]]
        records = _records(sent, channel)
        num_items = self.strategy.setting.channels[channel].num_items
        return Uploads(edges, decode_items(records, num_items, int(sent["length"][0]), edges))

    def answer(self, cell: int, round: int, sent: Named) -> Named:
        """Return a cell's answers as `CellRound.evaluate` takes them."""
        tokens = sent["tokens"].copy()
        mirror = self._mirror(cell, round, len(tokens)) if self.mirrors else None
        out: Named = {}
        for c in range(len(self.columns)):
            out |= {name: sent[name] for name in (f"{c}.requested", f"{c}.uplink")}
            out[f"{c}.refused"] = sent[f"{c}.refused"].copy()
            out |= self._channel(c, round, sent, tokens, mirror, out[f"{c}.refused"])
        if mirror is not None:
            mirror.save(round)
            mirror.drop_before(round - 1)
        return out

    def _channel(
        self,
        channel: int,
        round: int,
        sent: Named,
        tokens: NDArray[np.float64],
        mirror: CellStore | None,
        refused: NDArray[np.bool_],
    ) -> Named:
        edges = np.asarray(sent[f"{channel}.edges"], np.int64)
        columns = self.columns[channel]
        if not len(edges) or not columns:
            return _answered(channel, edges[:0], Ragged.empty())
        rows = self._rows(channel, round, sent)
        held = None
        if mirror is not None:
            names = sent["names"][edges]
            held = spread(
                held_rows(mirror, self.at_rest[channel], channel, edges, names), len(edges)
            )
            rows = spread(rows, len(edges))
        records = seal(columns, rows, held)
        paid = spend(tokens, edges, np.broadcast_to(records.sizes, len(edges)))
        refused[edges[~paid]] = True
        if mirror is not None:
            kept = {name: row[paid] for name, row in rows.items()}
            mirror.put(channel, edges[paid], seal(self.at_rest[channel], kept))
        if len(records) == len(edges):
            records = records.take(np.flatnonzero(paid))
        return _answered(channel, edges[paid], records)

    def _rows(self, channel: int, round: int, sent: Named) -> Arrays:
        if self.strategy.federated:
            edges = sent["names"][sent[f"{channel}.edges"]]
            nothing = Uploads(edges, np.empty((len(edges), 0), np.int32))
            return self.strategy.answer(channel, nothing, round)
        return self.strategy.answer(channel, self.uploads(channel, sent), round)

    def _mirror(self, cell: int, round: int, count: int) -> CellStore:
        if round > 1:
            return CellStore.open(self.folder, cell, round - 1)
        store = CellStore(self.folder, cell, count, len(self.columns))
        for c, columns in enumerate(self.at_rest):
            store.put(c, np.arange(count), seal(columns, self.strategy.initial(c)))
        return store

    # ---- what a resumed run needs ---------------------------------------------------------

    def save_state(self, round: int) -> None:
        """Keep what the strategy learnt on line, before the round is committed."""
        state = self.strategy.state()
        if state:
            write_atomic(self._state_file(round), save(dict(state)))

    def commit(self, round: int) -> None:
        """Drop the state of rounds before the committed one."""
        self._state_file(round - 1).unlink(missing_ok=True)

    def restore(self, round: int) -> None:
        """Give the strategy back what it knew after a committed round."""
        if not round or not self.strategy.state():
            return
        file = self._state_file(round)
        try:
            self.strategy.restore(load(file.read_bytes()))
        except (OSError, SafetensorError) as error:
            raise RunError(
                f"cannot resume after round {round}: {file} cannot be read ({error}); "
                "start the run anew"
            ) from error

    def _state_file(self, round: int) -> Path:
        return self.folder / f"learnt-r{round:04d}.safetensors"


def _answered(channel: int, edges: NDArray[np.int64], records: Ragged) -> Named:
    return {
        f"{channel}.answered": edges,
        f"{channel}.buffer": records.buffer,
        f"{channel}.offsets": records.offsets,
    }


def _records(sent: Named, channel: int) -> Ragged:
    return Ragged(sent[f"{channel}.buffer"], sent[f"{channel}.offsets"])
