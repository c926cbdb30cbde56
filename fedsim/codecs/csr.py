"""Compressed sparse rows: where each row ends, the columns kept and, of floats, their values.

Row ends and columns take the smallest unsigned type that holds them (SASRec: 2 bytes and
1). The papers count 64 bits an element instead, 32 for its place and 32 for its value;
the ledger books the bytes sent here, and the papers' figure apart.
"""

from __future__ import annotations

import numpy as np

from fedsim.codecs.base import Codec, Column, RowError, Rows
from fedsim.kernels import sparse
from fedsim.plugins import Options
from fedsim.ragged import Ragged


class Csr(Codec):
    """Of a mask the places of ones; of floats those that are not +0, with 32-bit values."""

    kinds = frozenset({"mask", "dense"})

    def __init__(self, config: Options, column: Column) -> None:
        super().__init__(config, column)
        lengths = column.layout.row_lengths
        self._starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        self._widths = (_width(column.layout.size), _width(int(lengths.max()) - 1))
        self._dense = column.kind == "dense"

    def encode(self, rows: Rows, held: Rows | None = None) -> Ragged:
        rows = self._rows(rows)
        words: Rows
        if self._dense:
            words = rows.view(np.uint32)
        else:
            words = np.unpackbits(rows, axis=1, count=self.column.layout.size, bitorder="little")
        pointer, index = self._widths
        counts = np.count_nonzero(words, axis=1)
        sizes = (len(self._starts) - 1) * pointer + counts * (index + 4 * self._dense)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        buffer = np.empty(int(offsets[-1]), np.uint8)
        sparse.write(words, self._dense, self._starts, self._widths, offsets, buffer)
        return Ragged(buffer, offsets)

    def decode(self, data: Ragged, held: Rows | None = None) -> Rows:
        size = self.column.layout.size
        words = np.zeros((len(data), size), np.uint32 if self._dense else np.uint8)
        args = (data.buffer, data.offsets, self._dense, self._starts, self._widths, words)
        bad = sparse.read(*args)
        if bad >= 0:
            raise RowError(bad, f"is no CSR of {size} parameters ({data.sizes[bad]} bytes)")
        return (
            words.view(np.float32) if self._dense else np.packbits(words, axis=1, bitorder="little")
        )


def _width(largest: int) -> int:
    """Bytes of the smallest unsigned type that holds the number."""
    return np.min_scalar_type(largest).itemsize
