"""What a codec is: the rows of one answer column as bytes, and back, exactly.

A codec is a file in this folder. It is exact (only `dense` with fp16 rounds): an edge
applies what was decoded. The conformance suite in ``tests/fedsim/codecs`` finds every codec
by itself and checks it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import ConfigError, WireError
from fedsim.layout import Layout
from fedsim.plugins import Options, Plugin, available, load
from fedsim.ragged import Ragged

Rows = NDArray[Any]


class CodecConfig(Options):
    """Options every codec has."""


@dataclass(frozen=True)
class Column:
    """One named part of an answer.

    Rows of a ``mask`` are packed bits, uint8 (B, layout.packed_bytes), bits past the last
    parameter zero; rows of a ``dense`` column are float32 (B, layout.size). One row may
    stand for all edges. `salt` tells networks of one layout apart.
    """

    name: str
    kind: Literal["mask", "dense"]
    layout: Layout
    salt: int = 0

    @property
    def width(self) -> int:
        """Elements of one row: bytes of a packed mask, or floats."""
        return self.layout.packed_bytes if self.kind == "mask" else self.layout.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the rows."""
        return np.dtype(np.uint8 if self.kind == "mask" else np.float32)


class RowError(WireError):
    """One row of a batch cannot be encoded or decoded; the wire adds whose row it is."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: {reason}")
        self.row = row
        self.reason = reason

    def __reduce__(self) -> tuple[type[RowError], tuple[int, str]]:
        """Pickle by what it was made of, so that it comes whole out of a worker process."""
        return type(self), (self.row, self.reason)


class Codec(Plugin):
    """Turns the rows of one column into bytes and back; made as ``Codec(config, column)``.

    Raises
    ------
    ConfigError
        The codec does not take columns of this kind.
    """

    Config: ClassVar[type[Options]] = CodecConfig
    kinds: ClassVar[frozenset[str]] = frozenset()
    """Kinds of columns it takes."""
    needs_held: ClassVar[bool] = False
    """Whether it wants the rows the edges hold, in `encode` and in `decode`."""

    def __init__(self, config: Options, column: Column) -> None:
        if column.kind not in self.kinds:
            name, kinds = config.name or type(self).__name__, ", ".join(sorted(self.kinds))
            fitting = [each for each in available("codecs") if column.kind in _kinds(each)]
            raise ConfigError(
                f"codec '{name}' takes columns of kind {kinds}, but column '{column.name}' is "
                f"of kind '{column.kind}'; choose one of {', '.join(fitting)}"
            )
        self.config = config
        self.column = column

    @property
    def at_rest(self) -> Codec:
        """The codec an edge keeps the row with; another one where the wire needs `held`."""
        return self

    def fit(self, rows: Rows) -> None:
        """Learn a prior from sample rows (n, …), in the cloud."""

    def side_information(self) -> bytes:
        """Return what an edge needs to decode, shipped once in the provision."""
        return b""

    def load(self, data: bytes) -> None:
        """Take `side_information` of the cloud's codec, on an edge."""
        if data:
            raise WireError(
                f"codec '{self.config.name}' takes no side information, got {len(data)} bytes; "
                "provision the edge with the codec of its scenario"
            )

    @abstractmethod
    def encode(self, rows: Rows, held: Rows | None = None) -> Ragged:
        """Return the bytes of every row.

        Raises
        ------
        RowError
            A row holds what the codec cannot keep exactly.
        """

    @abstractmethod
    def decode(self, data: Ragged, held: Rows | None = None) -> Rows:
        """Return the rows as they were encoded.

        Raises
        ------
        RowError
            The bytes of a row are not what `encode` makes.
        """

    def _rows(self, rows: Rows) -> Rows:
        """Check shape and type of rows to encode; return them contiguous."""
        column = self.column
        if rows.ndim != 2 or rows.shape[-1] != column.width or rows.dtype != column.dtype:
            raise WireError(
                f"column '{column.name}' wants {column.dtype} rows of {column.width}, got an "
                f"array of {rows.dtype} {rows.shape}; give one such row per edge"
            )
        if column.kind == "mask":
            check_spare(rows, column.layout.size)
        return np.ascontiguousarray(rows)


def _kinds(name: str) -> frozenset[str]:
    kinds: frozenset[str] = load("codecs", name).kinds
    return kinds


def reject_rows(bad: NDArray[np.bool_], reason: str) -> None:
    """Raise a RowError for the first bad row, if there is one."""
    if bad.any():
        raise RowError(int(np.flatnonzero(bad)[0]), reason)


def fixed_rows(data: Ragged, length: int) -> NDArray[np.uint8]:
    """Return rows that must all have `length` bytes, uint8 (rows, length).

    Raises
    ------
    RowError
        A row has another length.
    """
    wrong = data.sizes != length
    if wrong.any():
        size = data.sizes[wrong][0]
        reject_rows(wrong, f"has {size} bytes where {length} were expected")
    return data.buffer[: len(data) * length].reshape(len(data), length)


def check_spare(packed: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return packed rows whose bits past the last of `size` parameters must be zero."""
    if size % 8:
        reject_rows(
            packed[:, -1] >> (size % 8) != 0, f"sets bits past the last of {size} parameters"
        )
    return packed
