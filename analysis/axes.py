"""Axes in whole rounds and in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import Formatter, LogLocator, MaxNLocator, NullFormatter

from analysis.style import UNITS, bytes_text


def round_axis(ax: Axes) -> None:
    """Tick the horizontal axis at whole rounds."""
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))


def byte_axis(axis: Axis, values: Sequence[float] | np.ndarray) -> None:
    """Count an axis in bytes (B, kB, MB), by logarithm when values range over 10 times."""
    known = np.asarray(values, float)
    known = known[known > 0]
    if len(known) and known.max() > 10 * known.min():
        _set_scale(axis, "log")
        subs = (
            (1.0, 2.0, 5.0)
            if known.max() < (300 if _vertical(axis) else 30) * known.min()
            else (1.0,)
        )
        axis.set_major_locator(LogLocator(subs=subs, numticks=9))
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(8 if _vertical(axis) else 5))
    axis.set_major_formatter(ByteFormatter(each=axis.get_scale() == "log"))


class ByteFormatter(Formatter):
    """Ticks in bytes: of one unit and with as many decimals, or with `each` its own unit.

    >>> ByteFormatter().format_ticks([0, 5160, 5200]), ByteFormatter(each=True)(2e5)
    (['0', '5.16 kB', '5.20 kB'], '200 kB')
    """

    def __init__(self, each: bool = False) -> None:
        self.each = each

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self.format_ticks([x])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        if self.each:
            return [bytes_text(value) for value in values]
        most = max((abs(value) for value in values), default=0.0)
        size, unit = next((pair for pair in UNITS if most >= pair[0]), UNITS[-1])
        parts = [value / size for value in values]
        digits = next((d for d in range(6) if all(_is_whole(p * 10**d) for p in parts)), 6)
        return [f"{part:.{digits}f} {unit}" if part else "0" for part in parts]


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-6 * max(1.0, abs(number))


def _vertical(axis: Any) -> bool:
    return bool(axis.axis_name == "y")


def _set_scale(axis: Any, scale: str) -> None:
    (axis.axes.set_yscale if _vertical(axis) else axis.axes.set_xscale)(scale)
