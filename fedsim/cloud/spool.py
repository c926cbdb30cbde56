"""What the cells sent in a round, kept on disk until it is answered.

The cloud reads it cell by cell, in the order of the cells, so its memory does not grow with
the population and its results do not depend on who replied first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from fedsim.files import disk


class Spool:
    """Named arrays by cell, in a temporary file that goes with the spool."""

    def __init__(self, folder: Path) -> None:
        with disk(folder / "uploads"):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._folder = folder
        self._places: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def put(self, cell: int, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Keep what a cell sent; a repeated cell replaces what it sent before."""
        data = save({name: np.ascontiguousarray(value) for name, value in arrays.items()})
        with disk(self._folder / "uploads"):
            place = self._file.seek(0, 2)
            self._file.write(data)
        self._places[cell] = (place, len(data))

    def get(self, cell: int) -> dict[str, NDArray[np.generic]]:
        """Return what a cell sent."""
        place, size = self._places[cell]
        with disk(self._folder / "uploads", "read"):
            self._file.seek(place)
            data = self._file.read(size)
        return load(data)

    def close(self) -> None:
        """Drop everything."""
        self._file.close()
