"""Dense weights in blocks, of which only those are sent that an edge does not hold yet.

A row starts with one bit a block, little end first, filled up to whole bytes: which blocks
there are. Then comes the CRC-32 of the row held (4 bytes, little-endian) if a block stays as
it is held, so that the row is refused where another one is held, and zero if none does. The
rest is the row as `fedsim.codecs.blocks` codes it, which also keeps rows in the store, without
the blocks that stay. So a block that is dropped costs nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedsim.codecs.base import Codec, Column, Rows, reject_rows
from fedsim.codecs.blocks import Blocks, BlocksConfig
from fedsim.codecs.dense import DenseConfig
from fedsim.errors import WireError
from fedsim.kernels.crc import crc32_rows
from fedsim.ragged import Ragged

_CHECK = 4
"""Bytes of the checksum of the row held."""


class BlockDeltaConfig(DenseConfig):
    """Options of `blockdelta`: those of `dense`."""


class BlockDelta(Codec):
    """32 or 16 bits a parameter of new blocks, and two bits a block; needs the rows held."""

    Config = BlockDeltaConfig
    kinds = frozenset({"dense"})
    needs_held = True
    config: BlockDeltaConfig

    def __init__(self, config: BlockDeltaConfig, column: Column) -> None:
        super().__init__(config, column)
        self._base = Blocks(BlocksConfig(name="blocks", dtype=config.dtype), column)
        self._sizes = column.layout.block_sizes
        self._bits = -(-len(self._sizes) // 8)

    @property
    def at_rest(self) -> Codec:
        return self._base

    def encode(self, rows: Rows, held: Rows | None = None) -> Ragged:
        values, old = self._rounded(self._rows(rows)), None
        if held is not None:
            values = self._spread(values, len(held)) if len(values) == 1 else values
            old = self._held(held, len(values))
        there = self._any(_words(values) != 0)
        stay = np.zeros_like(there)
        if old is not None:
            stay = there & ~self._any(_words(values) != _words(old))
        head = np.zeros((len(values), self._bits + _CHECK), np.uint8)
        head[:, : self._bits] = np.packbits(there, axis=1, bitorder="little")
        head[:, self._bits :] = _checks(old, stay)
        rest = np.where(np.repeat(stay, self._sizes, axis=1), np.float32(0), values)
        return _joined(head, self._base.encode(rest))

    def decode(self, data: Ragged, held: Rows | None = None) -> Rows:
        head, rest = self._split(data)
        count = len(self._sizes)
        bits = np.unpackbits(head[:, : self._bits], axis=1, bitorder="little")
        reject_rows(np.any(bits[:, count:], axis=1), f"sets bits past the last of {count} blocks")
        there = bits[:, :count].astype(np.bool_)
        values = self._base.decode(rest)
        sent = self._any(_words(values) != 0)
        extra, stay = sent & ~there, there & ~sent
        reject_rows(np.any(extra, axis=1), "sends a block that it says is not there")
        if held is None:
            reject_rows(np.any(stay, axis=1), "keeps blocks held, and none are held")
        old = None if held is None else self._held(held, len(values))
        wrong = np.any(head[:, self._bits :] != _checks(old, stay), axis=1)
        reject_rows(wrong, "keeps blocks of another row than the one held")
        if old is not None:
            values = np.where(np.repeat(stay, self._sizes, axis=1), old, values)
        return values

    def _rounded(self, rows: Rows) -> Rows:
        """Return rows as they come out of the base codec."""
        if self.config.dtype == "fp32":
            return rows
        with np.errstate(over="ignore"):
            return rows.astype(np.float16).astype(np.float32)

    def _any(self, flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell in which blocks a flag of the rows is set, bool (B, blocks)."""
        starts = np.cumsum(self._sizes) - self._sizes
        return np.asarray(np.logical_or.reduceat(flags, starts, axis=1), np.bool_)

    def _held(self, held: Rows, count: int) -> Rows:
        """Return `count` rows held, as they came out of the base codec."""
        return self._spread(self._rounded(self._rows(held)), count)

    def _spread(self, rows: Rows, count: int) -> Rows:
        if len(rows) not in (1, count):
            raise WireError(
                f"column '{self.column.name}': {len(rows)} rows held for {count}; "
                "give one each, or one for all"
            )
        return np.broadcast_to(rows, (count, rows.shape[1]))

    def _split(self, data: Ragged) -> tuple[NDArray[np.uint8], Ragged]:
        """Return the fixed heads of the rows, and what follows them."""
        size = self._bits + _CHECK
        reject_rows(data.sizes < size, f"is shorter than its head of {size} bytes")
        places = data.offsets[:-1, None] + np.arange(size)
        body = np.ones(int(data.offsets[-1]), np.bool_)
        body[places] = False
        offsets = data.offsets - size * np.arange(len(data.offsets))
        return data.buffer[places], Ragged(data.buffer[: len(body)][body], offsets)


def _words(rows: Rows) -> NDArray[np.uint32]:
    return np.ascontiguousarray(rows).view(np.uint32)


def _checks(held: Rows | None, stay: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the checksums of the rows held, uint8 (B, 4), zero where no block stays."""
    out = np.zeros(len(stay), "<u4")
    used = np.flatnonzero(stay.any(axis=1))
    if held is not None and len(used):
        buffer = np.ascontiguousarray(held[used], "<f4").view(np.uint8)
        out[used] = crc32_rows(buffer.reshape(-1), np.arange(len(used) + 1) * buffer.shape[1])
    return out.view(np.uint8).reshape(len(stay), _CHECK)


def _joined(head: NDArray[np.uint8], rest: Ragged) -> Ragged:
    """Return rows with a head of fixed size before each."""
    count, size = head.shape
    offsets = rest.offsets + size * np.arange(count + 1)
    places = offsets[:-1, None] + np.arange(size)
    buffer = np.empty(int(offsets[-1]), np.uint8)
    body = np.ones(len(buffer), np.bool_)
    body[places] = False
    buffer[places], buffer[body] = head, rest.buffer
    return Ragged(buffer, offsets)
