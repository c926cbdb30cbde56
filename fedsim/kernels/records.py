"""Loops of `fedsim.wire`: records and uploads of a batch, written and checked row by row."""

from __future__ import annotations

import numpy as np
from numba import njit

from fedsim.kernels.crc import crc32

HEADER = 12
UPLOAD_HEADER = 6
TRUNCATED, FLIPPED, VERSION, CODEC, BACKBONE, LENGTHS, ITEM = range(1, 8)


@njit(cache=True)
def put(buffer, at, value, width):  # type: ignore[no-untyped-def]
    """Write an unsigned number of `width` bytes, little end first."""
    for byte in range(width):
        buffer[at + byte] = np.uint8((value >> (8 * byte)) & 0xFF)


@njit(cache=True)
def get(buffer, at, width):  # type: ignore[no-untyped-def]
    """Read an unsigned number of `width` bytes, little end first."""
    value = np.int64(0)
    for byte in range(width):
        value |= np.int64(buffer[at + byte]) << (8 * byte)
    return value


@njit(cache=True)
def copy(source, start, stop, out, at):  # type: ignore[no-untyped-def]
    """Copy ``source[start:stop]`` to `out` from `at` on."""
    out[at : at + stop - start] = source[start:stop]


@njit(cache=True)
def place(buffer, offsets, done, length_at, source, starts):  # type: ignore[no-untyped-def]
    """Append one column's payloads to the records, whose first `done` bytes are taken.

    `length_at` is the place of its length among the lengths, -1 for none.
    """
    for row in range(len(done)):
        size = starts[row + 1] - starts[row]
        if length_at >= 0:
            put(buffer, offsets[row] + HEADER + 4 * length_at, size, 4)
        copy(source, starts[row], starts[row + 1], buffer, offsets[row] + done[row])
        done[row] += size


@njit(cache=True)
def checksum(buffer, start, stop):  # type: ignore[no-untyped-def]
    """CRC-32 of a record but for the four bytes that hold it."""
    return crc32(buffer, start + HEADER, stop, crc32(buffer, start, start + 8, np.uint32(0)))


@njit(cache=True)
def finish(buffer, offsets, version, codec, fingerprint):  # type: ignore[no-untyped-def]
    """Write the headers of records whose payload is in place."""
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        buffer[start] = version
        buffer[start + 1] = codec
        put(buffer, start + 2, (stop - start) & 0xFFFF, 2)
        put(buffer, start + 4, fingerprint, 4)
        put(buffer, start + 8, np.int64(checksum(buffer, start, stop)), 4)


@njit(cache=True)
def fault_of(buffer, start, stop, version, codec, fingerprint):  # type: ignore[no-untyped-def]
    """Return what is wrong with one record's header or checksum, 0 if nothing."""
    if stop - start < HEADER:
        return TRUNCATED
    if np.int64(checksum(buffer, start, stop)) != get(buffer, start + 8, 4):
        whole = get(buffer, start + 2, 2) == (stop - start) & 0xFFFF
        return FLIPPED if whole else TRUNCATED
    if buffer[start] != version:
        return VERSION
    if buffer[start + 1] != codec:
        return CODEC
    if get(buffer, start + 4, 4) != fingerprint:
        return BACKBONE
    return 0


@njit(cache=True)
def inspect(buffer, offsets, version, codec, fingerprint, starts):  # type: ignore[no-untyped-def]
    """Check records; fill where each payload starts (columns + 1, rows).

    Returns the first bad row and its fault, or (-1, 0).
    """
    columns = starts.shape[0] - 1
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        fault = fault_of(buffer, start, stop, version, codec, fingerprint)
        if fault:
            return row, fault
        at = start + HEADER + 4 * (columns - 1)
        for column in range(columns - 1):
            starts[column, row] = at
            length_at = start + HEADER + 4 * column
            at += get(buffer, length_at, 4) if length_at + 4 <= stop else stop
        starts[columns - 1, row] = at
        starts[columns, row] = stop
        if at > stop:
            return row, LENGTHS
    return -1, 0


@njit(cache=True)
def payload(buffer, starts, stops):  # type: ignore[no-untyped-def]
    """Return one column's payloads as buffer and offsets."""
    offsets = np.zeros(len(starts) + 1, np.int64)
    for row in range(len(starts)):
        offsets[row + 1] = offsets[row] + stops[row] - starts[row]
    out = np.empty(offsets[-1], np.uint8)
    for row in range(len(starts)):
        copy(buffer, starts[row], stops[row], out, offsets[row])
    return out, offsets


@njit(cache=True)
def write_items(windows, counts, width, buffer, offsets):  # type: ignore[no-untyped-def]
    """Write each window's last `counts` ids as an upload."""
    for row in range(len(counts)):
        start, stop = offsets[row], offsets[row + 1]
        first = windows.shape[1] - counts[row]
        put(buffer, start, counts[row], 2)
        for index in range(counts[row]):
            at = start + UPLOAD_HEADER + width * index
            put(buffer, at, windows[row, first + index], width)
        put(buffer, start + 2, _upload_checksum(buffer, start, stop), 4)


@njit(cache=True)
def read_items(buffer, offsets, num_items, width, windows):  # type: ignore[no-untyped-def]
    """Fill windows from uploads.

    Returns the first bad row, its fault and the value at fault, or (-1, 0, 0).
    """
    length = windows.shape[1]
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        size = stop - start
        if size < UPLOAD_HEADER or size != UPLOAD_HEADER + width * get(buffer, start, 2):
            return row, TRUNCATED, size
        if _upload_checksum(buffer, start, stop) != get(buffer, start + 2, 4):
            return row, FLIPPED, 0
        count = get(buffer, start, 2)
        if count > length:
            return row, LENGTHS, count
        for index in range(count):
            item = get(buffer, start + UPLOAD_HEADER + width * index, width)
            if not 1 <= item <= num_items:
                return row, ITEM, item
            windows[row, length - count + index] = item
    return -1, 0, 0


@njit(cache=True)
def _upload_checksum(buffer, start, stop):  # type: ignore[no-untyped-def]
    count = crc32(buffer, start, start + 2, np.uint32(0))
    return np.int64(crc32(buffer, start + UPLOAD_HEADER, stop, count))
