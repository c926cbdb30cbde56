"""Whole numbers of a few bits, packed: codes, and items of lists.

Notation: `B` rows, `W` numbers a row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def packed(levels: NDArray[np.unsignedinteger], bits: int) -> NDArray[np.uint8]:
    """Return levels (B, W) as `bits` rows of W bits, packed (B, bytes).

    >>> packed(np.array([[3, 1, 0]], np.uint8), 2).tolist()  # 110 and then 100, little end first
    [[11]]
    """
    planes = levels[:, None] >> np.arange(bits, dtype=levels.dtype)[:, None] & 1
    return np.packbits(planes.reshape(len(levels), -1), axis=1, bitorder="little")


def unpacked(code: NDArray[np.generic], width: int, bits: int) -> NDArray[np.unsignedinteger]:
    """Return the levels (B, W) of packed codes, in the smallest type that holds them.

    >>> unpacked(np.array([[11]], np.uint8), 3, 2).tolist()
    [[3, 1, 0]]
    """
    flat = np.unpackbits(code.astype(np.uint8, copy=False), axis=1, bitorder="little")
    dtype = np.min_scalar_type(2**bits - 1)
    planes = flat[:, : bits * width].reshape(len(code), bits, width).astype(dtype)
    levels: NDArray[np.unsignedinteger] = np.bitwise_or.reduce(
        planes << np.arange(bits, dtype=dtype)[:, None], axis=1
    )
    return levels
