"""Masks near their entropy, exactly, in tens of microseconds.

Without a prior there is a model per row: each row's number of ones, then its places, which
takes about ``row counts + sum of log2 C(64, n_row)`` bits (`fedsim.kernels.row_model`). With
a prior, fitted by the cloud on sample masks and shipped once, positions are sorted by how
often they are ones, and how busy a row is sets what is expected of the rest of it
(`fedsim.kernels.prior_model`). Both go through one coder (`fedsim.kernels.ans`).

Why not the library constriction: a Bernoulli model per position takes it about 2 ms an
edge; bytes of like positions with 32 tables about 45 µs to encode and 125 to decode, to
which comes the sorting, where this codec takes about 20 and 21 with it and fewer bits. The
library stays the peer in ``make bench``, and a test holds our sizes against it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedsim.codecs import _prior
from fedsim.codecs._coder import Coder, PriorCoder, RowCoder
from fedsim.codecs._prior import Prior
from fedsim.codecs.base import Codec, CodecConfig, Column, Rows
from fedsim.kernels.prior_model import CONTEXTS
from fedsim.ragged import Ragged


class EntropyConfig(CodecConfig):
    """Options of `entropy`."""

    model: Literal["prior", "row"] = "prior"
    """A prior fitted by the cloud (a model per row until there is one), or never a prior."""


class Entropy(Codec):
    """Codes masks by what is usual of positions and rows."""

    Config = EntropyConfig
    kinds = frozenset({"mask"})
    config: EntropyConfig

    def __init__(self, config: EntropyConfig, column: Column) -> None:
        super().__init__(config, column)
        self.prior: Prior | None = None
        self._side = b""
        self._coder: Coder = RowCoder(column.layout)

    def fit(self, rows: Rows) -> None:
        if self.config.model == "row" or not len(rows):
            return
        some = _prior.sample(self._rows(rows))
        layout = self.column.layout
        urns = _prior.reading_urns(layout, some)
        self.load(urns.astype("<u2").tobytes() + Prior.fit(layout, some).to_bytes())

    def side_information(self) -> bytes:
        return self._side

    def load(self, data: bytes) -> None:
        if not data:
            return
        urns = _prior.models_from_bytes(data[: 2 * CONTEXTS], CONTEXTS)
        self.prior = Prior.from_bytes(self.column.layout, data[2 * CONTEXTS :])
        self._coder = PriorCoder(self.prior, urns)
        self._side = data

    def encode(self, rows: Rows, held: Rows | None = None) -> Ragged:
        return self._coder.encode(self._rows(rows), _zeros(len(rows)))

    def decode(self, data: Ragged, held: Rows | None = None) -> Rows:
        return self._coder.decode(data, _zeros(len(data)))


def _zeros(count: int) -> NDArray[np.uint32]:
    return np.zeros(count, np.uint32)
