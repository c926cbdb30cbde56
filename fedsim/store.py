"""What a cell's edges keep on disk: for each edge and channel one sealed record.

One file per cell and round, ``cell-000012-r0003.bin``: the CRC-32 of the rest (4 bytes,
little-endian), then a safetensors archive of every channel's distinct records, which of
them each edge holds, and small named arrays of the edges' state. A file appears by rename,
so it is whole or not there. Edges that hold the same record share one copy of it on disk;
`CellStore.stored_bytes` still counts what each of them holds.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from fedsim.errors import StoreError
from fedsim.files import disk, write_atomic
from fedsim.ragged import Ragged


class CellStore:
    """The store of one cell: records of B edges in C channels, and their named state.

    Made empty; `open` reads what was kept at the end of a round. `state` holds arrays
    (B, …) by name, such as token buckets; they are saved with the records and are no part
    of `stored_bytes`.
    """

    def __init__(self, folder: Path, cell: int, edges: int, channels: int) -> None:
        self.folder = Path(folder)
        self.cell = cell
        self.state: dict[str, NDArray[Any]] = {}
        self._pools = [Ragged.empty(1)] * channels
        self._index = np.zeros((edges, channels), np.int64)

    @classmethod
    def open(cls, folder: Path, cell: int, round: int) -> CellStore:
        """Return the store as it was kept at the end of a round.

        Raises
        ------
        StoreError
            The file of that round is missing, cannot be read or is damaged.
        """
        path = version_path(folder, cell, round)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise StoreError(
                f"{path}: round {round} of cell {cell} was not kept; start the run anew"
            ) from None
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
        arrays = _unpack(path, data)
        store = cls(folder, cell, *arrays["index"].shape)
        store._index = arrays.pop("index")
        for channel in range(len(store._pools)):
            buffer, offsets = (arrays.pop(f"{part}/{channel}") for part in ("records", "offsets"))
            store._pools[channel] = Ragged(buffer, offsets)
        store.state = {name.removeprefix("state/"): value for name, value in arrays.items()}
        return store

    def put(self, channel: int, edges: NDArray[np.integer], data: Ragged) -> None:
        """Keep new records for the edges at places `edges` of the cell; the old ones go.

        One record per edge, or one for all of them.
        """
        if len(data) not in (1, len(edges)):
            raise StoreError(
                f"{len(data)} records for {len(edges)} edges of cell {self.cell}; "
                "give one each, or one for all"
            )
        pool = self._pools[channel]
        self._pools[channel] = Ragged.concat([pool, data])
        self._index[edges, channel] = len(pool) + np.arange(len(data))
        self._compact(channel)

    def records(self, channel: int) -> Ragged:
        """Return the record every edge holds; no bytes where it holds none."""
        return self._pools[channel].take(self._index[:, channel])

    def distinct(self, channel: int) -> tuple[Ragged, NDArray[np.int64]]:
        """Return the distinct records, and for each edge which one it holds, int64 (B).

        Record 0 is the empty one, of edges that hold nothing.
        """
        return self._pools[channel], self._index[:, channel]

    def stored_bytes(self) -> NDArray[np.int64]:
        """Bytes each edge holds in each channel, int64 (B, C)."""
        columns = [pool.sizes[self._index[:, c]] for c, pool in enumerate(self._pools)]
        return np.stack(columns, axis=1)

    def save(self, round: int) -> Path:
        """Keep the store as of the end of a round, at once or not at all; return the file.

        Raises
        ------
        StoreError
            The disk is full or read-only; no half-written file stays behind.
        """
        path = version_path(self.folder, self.cell, round)
        arrays = {f"state/{name}": np.ascontiguousarray(v) for name, v in self.state.items()}
        arrays["index"] = self._index
        for channel, pool in enumerate(self._pools):
            arrays |= {f"records/{channel}": pool.buffer, f"offsets/{channel}": pool.offsets}
        data = safetensors.save(arrays)
        write_atomic(path, zlib.crc32(data).to_bytes(4, "little"), data)
        return path

    def drop_before(self, round: int) -> None:
        """Delete what was kept of rounds before this one."""
        for old in range(round - 1, -1, -1):
            path = version_path(self.folder, self.cell, old)
            if not path.exists():
                return
            with disk(path):
                path.unlink()

    def _compact(self, channel: int) -> None:
        """Forget records nobody holds any more."""
        pool, index = self._pools[channel], self._index[:, channel]
        used = np.zeros(len(pool), np.bool_)
        used[index] = True
        used[0] = True
        self._pools[channel] = pool.take(np.flatnonzero(used))
        self._index[:, channel] = (np.cumsum(used) - 1)[index]


def version_path(folder: Path, cell: int, round: int) -> Path:
    """Return the file of a cell at the end of a round (0: as provisioned).

    >>> version_path(Path("store"), 12, 3).name
    'cell-000012-r0003.bin'
    """
    return Path(folder) / f"cell-{cell:06d}-r{round:04d}.bin"


def kept_cells(folder: Path, round: int) -> list[int]:
    """Return the cells a folder keeps as of the end of a round."""
    files = Path(folder).glob(f"cell-*-r{round:04d}.bin")
    return sorted(int(file.name.split("-")[1]) for file in files)


def _unpack(path: Path, data: bytes) -> dict[str, NDArray[Any]]:
    body = memoryview(data)[4:]
    if len(data) < 4 or zlib.crc32(body) != int.from_bytes(data[:4], "little"):
        raise StoreError(
            f"{path}: is damaged: its checksum does not match; delete the ledger's file of that "
            "round if it is the last, then resume, or start the run anew"
        )
    try:
        return safetensors.load(bytes(body))
    except SafetensorError as error:
        raise StoreError(f"{path}: is no store of this fedsim: {error}; start anew") from error
