"""Dense weights of which whole blocks are left out: one bit a block, floats of the others.

A block is a run of layers whose names agree up to a dot (see `fedsim.layout`). A row starts
with one bit a block, little end first, filled up to whole bytes; the floats of the blocks
whose bit is set follow, in the order of the layout. A block whose floats are all +0 once they
are rounded is not sent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim.codecs.base import Column, Rows, reject_rows
from fedsim.codecs.dense import Dense, DenseConfig
from fedsim.ragged import Ragged


class BlocksConfig(DenseConfig):
    """Options of `blocks`: those of `dense`."""


class Blocks(Dense):
    """32 or 16 bits a parameter of the blocks that are there, and one bit a block."""

    Config = BlocksConfig
    config: BlocksConfig

    def __init__(self, config: BlocksConfig, column: Column) -> None:
        super().__init__(config, column)
        self._sizes = column.layout.block_sizes
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._head = -(-len(self._sizes) // 8)

    def encode(self, rows: Rows, held: Rows | None = None) -> Ragged:
        values = super().encode(rows).buffer.view(self._type).reshape(rows.shape)
        there = self._there(values)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(self._lengths(there))])
        buffer = np.empty(int(offsets[-1]), np.uint8)
        head = self._head_places(offsets)
        buffer[head] = np.packbits(there, axis=1, bitorder="little")
        sent = values[np.repeat(there, self._sizes, axis=1)]
        buffer[_others(head, len(buffer))] = sent.view(np.uint8)
        return Ragged(buffer, offsets)

    def decode(self, data: Ragged, held: Rows | None = None) -> Rows:
        reject_rows(data.sizes < self._head, f"is shorter than its {self._head} bytes of bits")
        head = self._head_places(data.offsets)
        bits = np.unpackbits(data.buffer[head], axis=1, bitorder="little")
        count = len(self._sizes)
        reject_rows(
            (bits[:, count:] != 0).any(axis=1), f"sets bits past the last of {count} blocks"
        )
        there = bits[:, :count].astype(np.bool_)
        wrong = data.sizes != self._lengths(there)
        if wrong.any():
            row = int(np.argmax(wrong))
            size, named = data.sizes[row], self._lengths(there)[row]
            reject_rows(wrong, f"has {size} bytes where its bits name blocks of {named}")
        values = np.zeros((len(data), self.column.layout.size), self._type)
        sent = data.buffer[_others(head, int(data.offsets[-1]))]
        values[np.repeat(there, self._sizes, axis=1)] = sent.view(self._type)
        empty = np.logical_or.reduce(there & ~self._there(values), axis=1)
        reject_rows(empty, "sends a block that is all zero, which its bit alone would say")
        return values.astype(np.float32)

    def _there(self, values: Rows) -> NDArray[np.bool_]:
        """Tell which blocks of the rows are not all +0, bool (B, blocks)."""
        words = values.view(f"u{self._type.itemsize}") != 0
        return np.logical_or.reduceat(words, self._starts, axis=1)

    def _lengths(self, there: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the bytes of rows with these blocks, int64 (B)."""
        return np.asarray(self._head + self._type.itemsize * (there @ self._sizes), np.int64)

    def _head_places(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        return offsets[:-1, None] + np.arange(self._head)


def _others(head: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Tell which of `size` bytes are not of the heads, bool (size)."""
    body = np.ones(size, np.bool_)
    body[head] = False
    return body
