"""Reads data files fast, and says where one is missing or malformed.

Arrow reads a whole file at once; only when it refuses is the file read line by line, to
name the first line that is wrong.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from fedsim.errors import DataError

DATA_VARIABLE = "FEDSIM_DATA"
"""Environment variable naming a folder to look for data in."""


@dataclass(frozen=True, slots=True)
class Column:
    """A field of a line: its name and whether it is an "integer", "number" or "text"."""

    name: str
    kind: str = "integer"


_ARROW = {"integer": pa.int64(), "number": pa.float64(), "text": pa.string()}
_PYTHON: dict[str, Callable[[str], object]] = {"integer": int, "number": float, "text": str}


def data_folder() -> Path:
    """Return where data is kept: the folder ``$FEDSIM_DATA`` names, else ``data``."""
    return Path(os.environ.get(DATA_VARIABLE) or "data")


def find_data(path: Path, advice: str) -> Path:
    """Return the file or folder a config names.

    It is looked for from the working directory, in `data_folder` and in ``data``.

    Raises
    ------
    DataError
        It is in none of them; the message ends with `advice`.
    """
    places = [path] if path.is_absolute() else [path, data_folder() / path, Path("data") / path]
    for place in places:
        if place.exists():
            return place
    looked = ", ".join(dict.fromkeys(str(place.absolute()) for place in places))
    raise DataError(
        f"no data at '{path}' (looked at {looked}); {advice}, "
        f"or say where it is by data.path or the variable {DATA_VARIABLE}"
    )


def read_columns(
    path: Path, columns: Sequence[Column], delimiter: str, skip_lines: int = 0
) -> dict[str, Any]:
    """Return the columns of a delimited text file (plain or ``.gz``) as arrow arrays by name.

    A delimiter of several characters is one character repeated, as in ``::``.

    Raises
    ------
    DataError
        A line is malformed: names file, line, what was expected and what was found.
    """
    gap = len(delimiter) - 1
    names = [n for c in columns for n in (c.name, *(f"{c.name} {i}" for i in range(gap)))]
    try:
        table = pa.csv.read_csv(
            path,
            pa.csv.ReadOptions(
                column_names=names[: len(names) - gap], skip_rows=skip_lines, block_size=1 << 24
            ),
            pa.csv.ParseOptions(delimiter=delimiter[0], quote_char=False),
            pa.csv.ConvertOptions(
                column_types={c.name: _ARROW[c.kind] for c in columns},
                include_columns=[c.name for c in columns],
                null_values=[],
            ),
        )
    except pa.ArrowInvalid as error:
        find_malformed(path, lambda line: check_fields(line, columns, delimiter), skip_lines)
        raise unreadable(path, error) from error
    except OSError as error:
        raise unreadable(path, error) from error
    if not table.num_rows:
        raise DataError(f"{path}: holds no interactions; {_shape(columns, delimiter)}")
    return {column.name: table.column(column.name).combine_chunks() for column in columns}


def check_fields(line: str, columns: Sequence[Column], delimiter: str) -> str | None:
    """Return what a line should have been, or None if it is all right."""
    fields = line.split(delimiter)
    try:
        if len(fields) != len(columns):
            raise ValueError
        for field, column in zip(fields, columns, strict=True):
            _PYTHON[column.kind](field)
    except ValueError:
        return _shape(columns, delimiter)
    return None


def find_malformed(path: Path, check: Callable[[str], str | None], skip_lines: int = 0) -> None:
    """Raise a DataError that names the first line `check` finds wrong, if there is one."""
    for number, line in enumerate(read_lines(path), start=1):
        expected = check(line) if number > skip_lines and line else None
        if expected:
            raise DataError(f"{path}, line {number}: {expected}, got {line[:120]!r}")


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Yield the lines of a text file, plain or ``.gz``, without their ends."""
    try:
        with _open(path, encoding) as file:
            for line in file:
                yield line.rstrip("\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error


def first_line(path: Path) -> str:
    """Return the first line of a text file, empty if it has none."""
    return next(iter(read_lines(path)), "")


def unreadable(path: Path, error: Exception) -> DataError:
    """Return the error of a file that cannot be read to its end."""
    return DataError(f"{path}: cannot be read: {error}; is the file whole?")


def codes(values: Any) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return each value's index among the distinct values, and these.

    Integers are numbered in ascending order, texts in order of appearance.
    """
    if pa.types.is_integer(values.type):
        names, index = np.unique(values.to_numpy(), return_inverse=True)
        return index.astype(np.int64), names
    encoded = values.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return (
        encoded.indices.to_numpy().astype(np.int64),
        encoded.dictionary.to_numpy(zero_copy_only=False),
    )


def _shape(columns: Sequence[Column], delimiter: str) -> str:
    shown = {"\t": "<tab>", " ": "<space>"}.get(delimiter, delimiter)
    return f"expected {shown.join(f'{c.name} ({c.kind})' for c in columns)}"


def _open(path: Path, encoding: str) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding=encoding, errors="replace")
    return path.open(encoding=encoding, errors="replace")
