"""The answers of a round: decode the uploads, ask the strategy, encode, keep to the budget."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedsim.answers import held_rows, spread
from fedsim.arrays import Named
from fedsim.budget import spend
from fedsim.cloud import hooks
from fedsim.cloud.kit import Kit
from fedsim.edges.sending import TOGETHER
from fedsim.errors import RunError
from fedsim.files import disk, write_atomic
from fedsim.memory import Memory, make_room
from fedsim.population import Population
from fedsim.ragged import Ragged
from fedsim.setting import Arrays, Provision, Uploads
from fedsim.store import CellStore
from fedsim.strategy import EdgeCloudStrategy, EdgeHalf
from fedsim.timeline import numbering
from fedsim.wire import at_rest, decode_items, seal


class Answering:
    """Makes a cell's answers; keeps in `folder` what the cloud must know to go on.

    Where a codec encodes against the answer an edge holds, the cloud keeps a copy of what
    it sent, cell by cell on disk.
    """

    def __init__(
        self, population: Population, strategy: EdgeCloudStrategy, kit: Kit, folder: Path
    ) -> None:
        self.strategy, self.kit, self.folder = strategy, kit, folder
        self.columns = kit.columns(strategy)
        self.at_rest = tuple(tuple(at_rest(columns)) for columns in self.columns)
        self.mirrors = any(codec.needs_held for part in self.columns for _, codec in part)
        self.memory = Memory(population.scenario, population)

    def uploads(self, channel: int, round: int, sent: Named) -> Uploads:
        """Decode what a cell's edges uploaded."""
        places, channels = sent[f"{channel}.edges"], self.strategy.setting.channels
        edges = sent["names"][places]
        if f"{TOGETHER}.edges" in sent:
            rows = np.searchsorted(sent[f"{TOGETHER}.edges"], places)
            records, num_items = _records(sent, TOGETHER).take(rows), int(numbering(channels)[-1])
        else:
            records, num_items = _records(sent, channel), channels[channel].num_items
        items = decode_items(records, num_items, int(sent["length"][0]), edges)
        return Uploads(edges, items, self.memory.free(edges, round))

    def answer(self, cell: int, round: int, sent: Named) -> Named:
        """Return a cell's answers as `CellRound.evaluate` takes them."""
        tokens = sent["tokens"].copy()
        mirror = self._mirror(cell, round, sent["names"]) if self.mirrors else None
        out: Named = {}
        for c in range(len(self.columns)):
            out |= {name: sent[name] for name in (f"{c}.requested", f"{c}.uplink")}
            out[f"{c}.refused"] = sent[f"{c}.refused"].copy()
            out[f"{c}.too_large"] = np.zeros(len(tokens), np.bool_)
            out |= self._channel(c, round, sent, tokens, mirror, out)
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
        out: Named,
    ) -> Named:
        """Return the answers that are sent; mark those that are not in `out`."""
        edges = np.asarray(sent[f"{channel}.edges"], np.int64)
        columns = self.columns[channel]
        if not len(edges) or not columns:
            return _answered(channel, edges[:0], Ragged.empty())
        rows = self._rows(channel, round, sent)
        fits = self._fits(channel, round, rows, sent["names"][edges])
        out[f"{channel}.too_large"][edges[~fits]] = True
        if not fits.all():
            edges = edges[fits]
            rows = {n: row if len(row) == 1 else row[fits] for n, row in rows.items()}
            if not len(edges):
                return _answered(channel, edges, Ragged.empty())
        held = None
        if mirror is not None:
            names = sent["names"][edges]
            held = spread(
                held_rows(mirror, self.at_rest[channel], channel, edges, names), len(edges)
            )
            rows = spread(rows, len(edges))
        records = seal(columns, rows, held)
        paid = spend(tokens, edges, np.broadcast_to(records.sizes, len(edges)))
        out[f"{channel}.refused"][edges[~paid]] = True
        if mirror is not None:
            kept = {name: row[paid] for name, row in rows.items()}
            mirror.put(channel, edges[paid], seal(self.at_rest[channel], kept))
        if len(records) == len(edges):
            records = records.take(np.flatnonzero(paid))
        return _answered(channel, edges[paid], records)

    def _fits(
        self, channel: int, round: int, rows: Arrays, names: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Tell whose record, as it is stored, has room, bool (B)."""
        free = self.memory.free(names, round)
        if free is None:
            return np.ones(len(names), np.bool_)
        return np.broadcast_to(seal(self.at_rest[channel], rows).sizes, len(names)) <= free

    def _rows(self, channel: int, round: int, sent: Named) -> Arrays:
        if self.strategy.federated:
            edges = sent["names"][sent[f"{channel}.edges"]]
            nothing = Uploads(edges, np.empty((len(edges), 0), np.int32))
            return hooks.answer(self.strategy, channel, nothing, round)
        return hooks.answer(self.strategy, channel, self.uploads(channel, round, sent), round)

    def _mirror(self, cell: int, round: int, names: NDArray[np.int64]) -> CellStore:
        """Return what the cloud knows the edges to hold when a round begins."""
        if round > 1:
            store = CellStore.open(self.folder, cell, round - 1)
        else:
            store = CellStore(self.folder, cell, len(names), len(self.columns))
            for c, columns in enumerate(self.at_rest):
                store.put(c, np.arange(len(names)), seal(columns, hooks.initial(self.strategy, c)))
        free = self.memory.free(names, round)
        for c, columns in enumerate(self.at_rest):
            make_room(self.half, store, columns, c, names, free)
        return store

    @cached_property
    def half(self) -> EdgeHalf:
        """An edge half as the edges have it, which says what they drop."""
        setting, config = self.strategy.setting, self.strategy.config
        return self.strategy.edge(setting, config, Provision.decode(self.kit.parts))

    # ---- what a resumed run needs ---------------------------------------------------------

    def save_state(self, round: int) -> None:
        """Keep what the strategy learnt on line, before the round is committed."""
        state = self.strategy.state()
        if state:
            write_atomic(self._state_file(round), save(dict(state)))

    def commit(self, round: int) -> None:
        """Drop the state of rounds before the committed one."""
        file = self._state_file(round - 1)
        with disk(file, "deleted"):
            file.unlink(missing_ok=True)

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


def _records(sent: Named, channel: int | str) -> Ragged:
    return Ragged(sent[f"{channel}.buffer"], sent[f"{channel}.offsets"])
