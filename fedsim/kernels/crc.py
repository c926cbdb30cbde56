"""CRC-32 (zlib's polynomial) of many byte rows without a Python loop: slicing by eight.

Kounavis, Berry: Novel table lookup-based algorithms for high-performance CRC generation.
IEEE Transactions on Computers 57(11), 2008. https://doi.org/10.1109/TC.2008.85
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def _tables() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (np.uint32(0xEDB88320) * (table & np.uint32(1)))
    tables = [table]
    for _ in range(7):
        tables.append((tables[-1] >> np.uint32(8)) ^ table[tables[-1] & 0xFF])
    return np.stack(tables)


_TABLES = _tables()


def crc32_rows(buffer: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return the CRC-32 of every row of a ragged batch, uint32 (rows).

    >>> import zlib
    >>> data = np.frombuffer(b"abcdef", np.uint8)
    >>> crc32_rows(data, np.array([0, 2, 6])).tolist() == [zlib.crc32(b"ab"), zlib.crc32(b"cdef")]
    True
    """
    out = np.empty(len(offsets) - 1, np.uint32)
    _rows(buffer, offsets, out)
    return out


@njit(cache=True)
def crc32(buffer, start, stop, before):  # type: ignore[no-untyped-def]
    """CRC-32 of ``buffer[start:stop]``, going on from the CRC `before` (0 at first)."""
    low = np.uint32(0xFF)
    crc = np.uint32(before) ^ np.uint32(0xFFFFFFFF)
    at = start
    while at + 8 <= stop:
        crc ^= np.uint32(
            np.uint32(buffer[at])
            | (np.uint32(buffer[at + 1]) << np.uint32(8))
            | (np.uint32(buffer[at + 2]) << np.uint32(16))
            | (np.uint32(buffer[at + 3]) << np.uint32(24))
        )
        crc = (
            _TABLES[7, crc & low]
            ^ _TABLES[6, (crc >> np.uint32(8)) & low]
            ^ _TABLES[5, (crc >> np.uint32(16)) & low]
            ^ _TABLES[4, crc >> np.uint32(24)]
            ^ _TABLES[3, buffer[at + 4]]
            ^ _TABLES[2, buffer[at + 5]]
            ^ _TABLES[1, buffer[at + 6]]
            ^ _TABLES[0, buffer[at + 7]]
        )
        at += 8
    while at < stop:
        crc = (crc >> np.uint32(8)) ^ _TABLES[0, (crc ^ buffer[at]) & low]
        at += 1
    return crc ^ np.uint32(0xFFFFFFFF)


@njit(cache=True)
def _rows(buffer, offsets, out):  # type: ignore[no-untyped-def]
    for row in range(len(out)):
        out[row] = crc32(buffer, offsets[row], offsets[row + 1], np.uint32(0))
