"""Rows of answers: what edges hold, and one row for many."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.codecs.base import Codec, Column
from fedsim.setting import Arrays
from fedsim.store import CellStore
from fedsim.wire import open_records

Columns = tuple[tuple[Column, Codec], ...]


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


def held_rows(
    store: CellStore,
    columns: Columns,
    channel: int,
    edges: NDArray[np.int64],
    names: NDArray[np.int64],
) -> Arrays:
    """Decode what edges hold in a channel: (B, n) a column, (1, n) where all hold the same.

    `edges` are positions in the cell, `names` their numbers, for errors; `columns` come
    with the codecs of the store.
    """
    if not columns:
        return {}
    pool, index = store.distinct(channel)
    used, first, row = np.unique(index[edges], return_index=True, return_inverse=True)
    rows = open_records(columns, pool.take(used), edges=names[first])
    return rows if len(used) == 1 else {name: values[row] for name, values in rows.items()}


def spread(rows: Arrays, count: int) -> Arrays:
    """Return rows for `count` edges, where one row may stand for all."""
    return {
        name: np.broadcast_to(values, (count, *values.shape[1:])) for name, values in rows.items()
    }
