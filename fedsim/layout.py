"""The maskable parameters of a backbone, as flat vectors.

An answer is about these parameters: a diet holds one bit for each, a dense answer one
float. Masks are packed little end first: bit ``i`` of the flat vector is
``packed[i // 8] >> (i % 8) & 1``; the bits past the last parameter are zero.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layer:
    """One maskable matrix; a row is an output unit or a convolution filter."""

    name: str
    rows: int
    columns: int

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.rows * self.columns


@dataclass(frozen=True)
class Layout:
    """The maskable layers of a backbone, one after the other, row-major."""

    layers: tuple[Layer, ...]

    @cached_property
    def size(self) -> int:
        """Number of maskable parameters N."""
        return sum(layer.size for layer in self.layers)

    @property
    def packed_bytes(self) -> int:
        """Bytes of one packed mask, N / 8 rounded up."""
        return -(-self.size // 8)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each layer starts in the flat vector, and the end; int64 (layers + 1)."""
        return np.cumsum([0, *(layer.size for layer in self.layers)], dtype=np.int64)

    @cached_property
    def row_lengths(self) -> NDArray[np.int64]:
        """Columns of every row of every layer, int64 (rows of all layers)."""
        return np.concatenate(
            [np.full(layer.rows, layer.columns, dtype=np.int64) for layer in self.layers]
        )

    @cached_property
    def block_sizes(self) -> NDArray[np.int64]:
        """Parameters of each block, int64 (blocks).

        A block is a run of layers whose names agree up to a dot; a layer without one is a
        block of its own.

        >>> Layout((Layer("block0.a", 2, 3), Layer("block0.b", 1, 2), Layer("c", 4, 1))).block_sizes
        array([8, 4])
        """
        blocks = groupby(self.layers, key=lambda layer: layer.name.partition(".")[0])
        return np.array([sum(layer.size for layer in layers) for _, layers in blocks], np.int64)

    @cached_property
    def fingerprint(self) -> int:
        """A 32-bit check of names and shapes: tells one backbone's answers from another's."""
        text = ";".join(f"{layer.name}:{layer.rows}x{layer.columns}" for layer in self.layers)
        return zlib.crc32(text.encode())
