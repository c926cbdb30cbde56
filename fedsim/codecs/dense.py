"""Every float of a row, at full or at half precision."""

from __future__ import annotations

from typing import Literal

import numpy as np

from fedsim.codecs.base import Codec, CodecConfig, Column, RowError, Rows, fixed_rows
from fedsim.ragged import Ragged


class DenseConfig(CodecConfig):
    """Options of `dense`."""

    dtype: Literal["fp32", "fp16"] = "fp32"
    """Precision on the wire; fp16 rounds, so an edge applies the rounded values."""


class Dense(Codec):
    """32 or 16 bits a parameter, little-endian."""

    Config = DenseConfig
    kinds = frozenset({"dense"})
    config: DenseConfig

    def __init__(self, config: DenseConfig, column: Column) -> None:
        super().__init__(config, column)
        self._type = np.dtype("<f4" if config.dtype == "fp32" else "<f2")

    def encode(self, rows: Rows, held: Rows | None = None) -> Ragged:
        rows = self._rows(rows)
        with np.errstate(over="ignore"):
            values = rows.astype(self._type)
        if self.config.dtype == "fp16":
            self._check_range(rows, values)
        width = self._type.itemsize * self.column.layout.size
        return Ragged.fixed(values.view(np.uint8).reshape(len(rows), width))

    def decode(self, data: Ragged, held: Rows | None = None) -> Rows:
        rows = fixed_rows(data, self._type.itemsize * self.column.layout.size)
        return np.ascontiguousarray(rows).view(self._type).astype(np.float32)

    @staticmethod
    def _check_range(rows: Rows, values: Rows) -> None:
        lost = np.isinf(values) & np.isfinite(rows)
        if lost.any():
            row, place = (int(index[0]) for index in np.nonzero(lost))
            raise RowError(
                row,
                f"value {rows[row, place]} at {place} is beyond fp16 (65504); "
                "set the codec's dtype to 'fp32'",
            )
