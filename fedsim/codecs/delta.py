"""Masks as changes of the mask the edge holds.

Where the cloud fitted a prior, a change's chance goes by how often its position is a one,
by how full the held row is and by the changes of the row so far
(`fedsim.kernels.delta_model`). Without a prior the changed bits are coded by a model per
row. The first byte tells how a row was coded: with nothing held, or where so much changed
that it is shorter, the `base` codec codes the mask itself. A row that is opened against
another mask than it was made with is refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedsim.codecs import _prior
from fedsim.codecs._coder import ChangeCoder, RowCoder
from fedsim.codecs._prior import Prior
from fedsim.codecs.base import Codec, CodecConfig, Column, RowError, Rows, reject_rows
from fedsim.codecs.entropy import Entropy
from fedsim.errors import WireError
from fedsim.kernels.blocks import words_of
from fedsim.kernels.hashing import hash_rows, keys, ones_of_rows
from fedsim.kernels.parts import CHANGES
from fedsim.kernels.records import payload
from fedsim.plugins import CodecOptions, Options, load
from fedsim.ragged import Ragged

_BASE, _CHANGES = 0, 1
_WORTH = 0.7
"""With more changed bits than this share of its ones a mask may be shorter by itself."""
_PAIRS = 256
"""At most so many sample masks are compared with each other."""


class DeltaConfig(CodecConfig):
    """Options of `delta`."""

    base: CodecOptions = Field(default="entropy", validate_default=True)
    """Codes masks where none is held, and those in the store."""


class Delta(Codec):
    """Codes what changed; needs the masks held on both sides."""

    Config = DeltaConfig
    kinds = frozenset({"mask"})
    needs_held = True
    config: DeltaConfig

    def __init__(self, config: DeltaConfig, column: Column) -> None:
        super().__init__(config, column)
        base: Options = config.base
        self._base: Codec = load("codecs", base.name)(base, column)
        self._rows_alone = RowCoder(column.layout)
        self._coder: ChangeCoder | None = None
        self._side = b""
        self._keys = keys(-(-column.layout.size // 64))

    @property
    def at_rest(self) -> Codec:
        return self._base

    def fit(self, rows: Rows) -> None:
        if not len(rows):
            return
        self._base.fit(rows)
        layout = self.column.layout
        some = _prior.sample(self._rows(rows))
        own = b"" if self._shared_prior() else Prior.fit(layout, some).to_bytes()
        urns = _prior.change_urns(layout, _prior.sample(some, _PAIRS))
        base = self._base.side_information()
        self.load(len(base).to_bytes(4, "little") + base + urns.astype("<u2").tobytes() + own)

    def side_information(self) -> bytes:
        return self._side

    def load(self, data: bytes) -> None:
        if not data:
            return
        middle = 4 + int.from_bytes(data[:4], "little")
        end = middle + 2 * CHANGES
        self._base.load(data[4:middle])
        urns = _prior.models_from_bytes(data[middle:end], CHANGES)
        prior = self._shared_prior()
        if prior is None or data[end:]:
            prior = Prior.from_bytes(self.column.layout, data[end:])
        self._coder = ChangeCoder(prior, urns)
        self._side = data

    def encode(self, rows: Rows, held: Rows | None = None) -> Ragged:
        rows = self._rows(rows)
        if held is None:
            return _marked(self._base.encode(rows), np.full(len(rows), _BASE, np.uint8))
        rows = self._spread(rows, len(held))
        held = self._spread(self._rows(held), len(rows))
        changed: Rows = rows ^ held
        if self._coder:
            coded = self._coder.encode(rows, held, self._checks(held))
        else:
            coded = self._rows_alone.encode(changed, self._checks(held))
        ones, bits = (ones_of_rows(words_of(masks)) for masks in (rows, changed))
        much = np.flatnonzero(bits > _WORTH * ones)
        alone = self._base.encode(rows[much])
        shorter = np.flatnonzero(alone.sizes < coded.sizes[much])
        choice, marks = np.arange(len(rows)), np.full(len(rows), _CHANGES, np.uint8)
        choice[much[shorter]] = len(rows) + shorter
        marks[much[shorter]] = _BASE
        both = Ragged.concat([coded, alone]).take(choice) if len(shorter) else coded
        return _marked(both, marks)

    def decode(self, data: Ragged, held: Rows | None = None) -> Rows:
        reject_rows(data.sizes == 0, "has no bytes")
        marks = data.buffer[data.offsets[:-1]]
        reject_rows(marks > _CHANGES, "does not tell how it was coded")
        reject_rows((marks == _CHANGES) & (held is None), "changes a mask held, and none is held")
        held = None if held is None else self._spread(self._rows(held), len(data))
        rows = np.empty((len(data), self.column.width), np.uint8)
        for mark in (_BASE, _CHANGES):
            which = np.flatnonzero(marks == mark)
            if len(which):
                old = held[which] if mark == _CHANGES and held is not None else None
                try:
                    rows[which] = self._part(_unmarked(data, which), old)
                except RowError as error:
                    raise RowError(int(which[error.row]), error.reason) from error
        return rows

    def _part(self, data: Ragged, held: Rows | None) -> Rows:
        """Decode rows that were all coded as changes, or all alone."""
        if held is None:
            return self._base.decode(data)
        if self._coder:
            return self._coder.decode(data, held, self._checks(held))
        return self._rows_alone.decode(data, self._checks(held)) ^ held

    def _checks(self, held: Rows) -> NDArray[np.uint32]:
        """Return what tells a mask held from another one, uint32 (rows)."""
        checks: NDArray[np.uint32] = hash_rows(words_of(held), self._keys)
        return checks

    def _shared_prior(self) -> Prior | None:
        """Return the base codec's prior, if it has one."""
        return self._base.prior if isinstance(self._base, Entropy) else None

    def _spread(self, rows: Rows, count: int) -> Rows:
        """Return `count` rows; one may stand for all."""
        if len(rows) not in (1, count) and count != 1:
            raise WireError(
                f"column '{self.column.name}': {len(rows)} masks against {count} held; "
                "give one each, or one for all"
            )
        count = count if len(rows) == 1 else len(rows)
        return np.ascontiguousarray(np.broadcast_to(rows, (count, rows.shape[1])))


def _marked(data: Ragged, marks: NDArray[np.uint8]) -> Ragged:
    """Return the rows with a byte before each."""
    offsets = data.offsets + np.arange(len(data.offsets))
    out = np.empty(int(offsets[-1]), np.uint8)
    out[offsets[:-1]] = marks
    rest = np.ones(len(out), np.bool_)
    rest[offsets[:-1]] = False
    out[rest] = data.buffer
    return Ragged(out, offsets)


def _unmarked(data: Ragged, which: NDArray[np.int64]) -> Ragged:
    """Return some rows without their first byte."""
    return Ragged(*payload(data.buffer, data.offsets[which] + 1, data.offsets[which + 1]))
