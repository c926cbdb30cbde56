"""Rows of bytes of different lengths, as one buffer and offsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ragged:
    """A batch of byte rows; row i is ``buffer[offsets[i]:offsets[i + 1]]``.

    `buffer` is uint8 (N), `offsets` int64 (rows + 1) starting at 0. The size of a row is
    an exact difference of offsets, which is what the ledger books.
    """

    buffer: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of every row, int64 (rows)."""
        return np.diff(self.offsets)

    def row(self, index: int) -> bytes:
        """Return one row as bytes."""
        return self.buffer[self.offsets[index] : self.offsets[index + 1]].tobytes()

    def take(self, rows: NDArray[np.integer]) -> Ragged:
        """Return the rows named, in that order; a row may be named more than once."""
        rows = np.asarray(rows, np.int64)
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(self.sizes[rows], out=offsets[1:])
        buffer = np.empty(int(offsets[-1]), np.uint8)
        _gather(self.buffer, self.offsets, rows, offsets, buffer)
        return Ragged(buffer, offsets)

    @staticmethod
    def empty(rows: int = 0) -> Ragged:
        """Return `rows` rows of no bytes."""
        return Ragged(np.empty(0, np.uint8), np.zeros(rows + 1, np.int64))

    @staticmethod
    def fixed(rows: NDArray[np.uint8]) -> Ragged:
        """Return rows of one length from a uint8 array (rows, length)."""
        count, length = rows.shape
        return Ragged(np.ascontiguousarray(rows).reshape(-1), np.arange(count + 1) * length)

    @staticmethod
    def of(rows: Sequence[bytes]) -> Ragged:
        """Return the given byte strings as rows.

        >>> Ragged.of([b"ab", b"", b"c"]).sizes.tolist()
        [2, 0, 1]
        """
        offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        return Ragged(np.frombuffer(b"".join(rows), np.uint8), offsets)

    @staticmethod
    def concat(parts: Sequence[Ragged]) -> Ragged:
        """Return the rows of all parts, one part after the other."""
        if not parts:
            return Ragged.empty()
        starts = np.cumsum([0, *(int(p.offsets[-1]) for p in parts)])
        offsets = [p.offsets[1:] + start for p, start in zip(parts, starts, strict=False)]
        return Ragged(
            np.concatenate([p.buffer for p in parts]),
            np.concatenate([np.zeros(1, np.int64), *offsets]),
        )


@njit(cache=True)
def _gather(source, starts, rows, offsets, out):  # type: ignore[no-untyped-def]
    for i in range(len(rows)):
        start = starts[rows[i]]
        for j in range(offsets[i + 1] - offsets[i]):
            out[offsets[i] + j] = source[start + j]
