"""Helpers for rows of answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.codecs.base import Column


def majority_row(column: Column, rows: NDArray[Any]) -> NDArray[Any]:
    """Return one row (1, n) for many: a mask's most kept elements, or the mean of floats.

    A mask keeps in each layer as many elements as the rows do on average; ties go to the
    lower index.
    """
    if column.kind == "dense":
        mean: NDArray[Any] = rows.mean(axis=0, keepdims=True, dtype=np.float64)
        return mean.astype(np.float32)
    layout = column.layout
    bits = np.unpackbits(rows, axis=1, count=layout.size, bitorder="little")
    votes = bits.sum(axis=0, dtype=np.int64)
    kept = np.zeros(layout.size, np.uint8)
    for start, stop in zip(layout.offsets[:-1], layout.offsets[1:], strict=True):
        count = round(votes[start:stop].sum() / len(rows))
        order = np.argsort(-votes[start:stop], kind="stable")[:count]
        kept[start + order] = 1
    return np.packbits(kept, bitorder="little")[None]
