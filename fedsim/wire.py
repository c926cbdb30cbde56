"""Answers and uploads as bytes: checksummed records whose length is what the ledger books.

A record is a header of 12 bytes, little-endian, and the payload of each column:

======  =====  =============================================================
offset  bytes  field
======  =====  =============================================================
0       1      version of this format
1       1      hash of the columns' codecs and their options
2       2      bytes of the whole record, modulo 65,536
4       4      fingerprint of the backbone's layout and of the side information
8       4      CRC-32 of everything else
======  =====  =============================================================

With several columns the payload starts with the length (4 bytes) of each but the last.
An upload is its number of ids (2 bytes), the CRC-32 of the rest (4) and the ids: 2 bytes
each where the catalogue has fewer than 65,536 items, else 4. Padding is not sent.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.codecs.base import Codec, Column, RowError, Rows
from fedsim.errors import DataError, WireError
from fedsim.kernels import records
from fedsim.ragged import Ragged

VERSION = 2
HEADER_BYTES = records.HEADER
UPLOAD_HEADER_BYTES = records.UPLOAD_HEADER

Columns = Sequence[tuple[Column, Codec]]

_RESEND = "keep the last answer and ask again"
_FAULTS = {
    records.TRUNCATED: f"is truncated: {{size}} bytes arrived of {{said}}; {_RESEND}",
    records.FLIPPED: f"is bit-flipped: its checksum does not match; {_RESEND}",
    records.VERSION: "is of another version ({version}, here {ours}); "
    "use the same fedsim on both sides",
    records.CODEC: "was encoded by another codec or with other options; "
    "give both sides the codecs of the same scenario",
    records.BACKBONE: "is of another backbone or provision (fingerprint {found:08x}, here "
    "{expected:08x}); provision the edge with the backbone of its scenario",
    records.LENGTHS: f"does not hold the lengths of its columns; {_RESEND}",
}
_UPLOAD_FAULTS = {
    records.TRUNCATED: "is truncated: {value} bytes arrived",
    records.FLIPPED: "is bit-flipped: its checksum does not match",
    records.LENGTHS: "holds {value} items where at most {length} are read",
}


def at_rest(columns: Columns) -> list[tuple[Column, Codec]]:
    """Return the columns with the codecs an edge's store keeps them with."""
    return [(column, codec.at_rest) for column, codec in columns]


def seal(
    columns: Columns, rows: Mapping[str, Rows], held: Mapping[str, Rows] | None = None
) -> Ragged:
    """Return one record per row of an answer.

    Parameters
    ----------
    columns
        What the answer is made of, and how each column is coded.
    rows
        The answer: the rows (B, …) of every column, by its name.
    held
        The rows the edges hold, for codecs that need them.

    Raises
    ------
    WireError
        A column is missing, or a row cannot be encoded.
    """
    parts = []
    for column, codec in columns:
        if column.name not in rows:
            raise WireError(f"answer lacks column '{column.name}'; it has {sorted(rows)}")
        parts.append(codec.encode(rows[column.name], _held(column, codec, held)))
    extra = HEADER_BYTES + 4 * (len(parts) - 1)
    offsets = _offsets(extra + np.sum([part.sizes for part in parts], axis=0))
    buffer = np.empty(int(offsets[-1]), np.uint8)
    done = np.full(len(offsets) - 1, extra)
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        records.place(buffer, offsets, done, -1 if last else index, part.buffer, part.offsets)
    records.finish(buffer, offsets, VERSION, *_identity(columns))
    return Ragged(buffer, offsets)


def open_records(
    columns: Columns,
    data: Ragged,
    held: Mapping[str, Rows] | None = None,
    edges: NDArray[np.int64] | None = None,
) -> dict[str, Rows]:
    """Check records and return the rows of the answer by column name.

    `edges` names the rows in errors (else their place in the batch does).

    Raises
    ------
    WireError
        A record is truncated, bit-flipped, of another version, codec or backbone.
    """
    identity = _identity(columns)
    starts = np.empty((len(columns) + 1, len(data)), np.int64)
    row, fault = records.inspect(data.buffer, data.offsets, VERSION, *identity, starts)
    if fault:
        raise WireError(f"answer of edge {_edge(edges, row)} {_fault(data, row, fault, identity)}")
    answer = {}
    for index, (column, codec) in enumerate(columns):
        payload = Ragged(*records.payload(data.buffer, starts[index], starts[index + 1]))
        try:
            answer[column.name] = codec.decode(payload, _held(column, codec, held))
        except RowError as error:
            where = f"answer of edge {_edge(edges, error.row)}: column '{column.name}'"
            raise WireError(f"{where} {error.reason}; {_RESEND}") from error
    return answer


def encode_items(
    windows: NDArray[Any], num_items: int, edges: NDArray[np.int64] | None = None
) -> Ragged:
    """Return uploads: the item ids of left-padded windows (B, H), without the padding.

    Raises
    ------
    DataError
        An id is no whole number from 1 to `num_items`, or padding follows an item.
    """
    if windows.ndim != 2 or windows.shape[1] > 0xFFFF:
        raise DataError(f"windows of shape {windows.shape}; give (edges, at most 65,535 ids)")
    good = (windows >= 0) & (windows <= num_items)
    if np.issubdtype(windows.dtype, np.floating):
        good &= windows == np.floor(windows)
    good[:, 1:] &= (windows[:, 1:] != 0) | (windows[:, :-1] == 0)
    if not good.all():
        row, place = (int(index[0]) for index in np.nonzero(~good))
        raise DataError(
            f"upload of edge {_edge(edges, row)} {_bad_item(windows[row, place], num_items)}"
        )
    counts = np.count_nonzero(windows, axis=1)
    width = _width(num_items)
    offsets = _offsets(UPLOAD_HEADER_BYTES + width * counts)
    buffer = np.empty(int(offsets[-1]), np.uint8)
    records.write_items(windows.astype(np.int64), counts, width, buffer, offsets)
    return Ragged(buffer, offsets)


def decode_items(
    data: Ragged, num_items: int, length: int, edges: NDArray[np.int64] | None = None
) -> NDArray[np.int32]:
    """Return the ids of uploads as windows int32 (B, length), left-padded with 0.

    Raises
    ------
    WireError
        An upload is truncated, bit-flipped, holds more than `length` ids, or one that is not
        from 1 to `num_items`.
    """
    windows = np.zeros((len(data), length), np.int32)
    row, fault, value = records.read_items(
        data.buffer, data.offsets, num_items, _width(num_items), windows
    )
    if fault:
        bad = fault == records.ITEM
        text = _bad_item(value, num_items) if bad else _UPLOAD_FAULTS[fault]
        reason = text.format(value=value, length=length)
        raise WireError(f"upload of edge {_edge(edges, row)} {reason}; send it again")
    return windows


def _identity(columns: Columns) -> tuple[int, int]:
    """Return the hash of codecs and options (8 bits) and the fingerprint (32 bits)."""
    names = [f"{c.name}:{type(k).__name__}:{k.config.model_dump_json()}" for c, k in columns]
    fingerprint = 0
    for column, codec in columns:
        start = column.layout.fingerprint ^ column.salt ^ fingerprint
        fingerprint = zlib.crc32(codec.side_information(), start)
    return zlib.crc32(";".join(names).encode()) & 0xFF, fingerprint


def _held(column: Column, codec: Codec, held: Mapping[str, Rows] | None) -> Rows | None:
    return held.get(column.name) if held is not None and codec.needs_held else None


def _offsets(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def _edge(edges: NDArray[np.int64] | None, row: int) -> int:
    return int(row if edges is None else edges[row])


def _fault(data: Ragged, row: int, fault: int, identity: tuple[int, int]) -> str:
    head = data.row(row)[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0")
    return _FAULTS[fault].format(
        size=int(data.sizes[row]),
        said=int.from_bytes(head[2:4], "little") or "a record",
        version=head[0],
        ours=VERSION,
        found=int.from_bytes(head[4:8], "little"),
        expected=identity[1],
    )


def _width(num_items: int) -> int:
    return 2 if num_items < 65_536 else 4


def _bad_item(value: object, num_items: int) -> str:
    return (
        f"holds item id {value}; ids are whole numbers from 1 to {num_items}, 0 only pads on "
        "the left"
    )
