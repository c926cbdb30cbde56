"""One bit a parameter: the paper's accounting of a diet."""

from __future__ import annotations

from fedsim.codecs.base import Codec, Rows, check_spare, fixed_rows
from fedsim.ragged import Ragged


class Bitmask(Codec):
    """The packed bits as they are."""

    kinds = frozenset({"mask"})

    def encode(self, rows: Rows, held: Rows | None = None) -> Ragged:
        return Ragged.fixed(self._rows(rows))

    def decode(self, data: Ragged, held: Rows | None = None) -> Rows:
        layout = self.column.layout
        return check_spare(fixed_rows(data, layout.packed_bytes), layout.size)
