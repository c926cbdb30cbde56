"""How series look: a colour, dash and marker per label, the same in every report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.4, 1.2, 1.4)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
COLORS = 8
"""Colours of series, in the style sheet and on the page."""

FAMILIAR = (
    "static", "diet", "long_diet", "fedavg", "dieting", "full_download", "duet", "popularity",
)  # fmt: skip
"""Labels met most, one a colour; they look alike in every report."""

PIECE = 4.0
"""Length of a turn of lines that lie on each other, in line widths."""


def places(labels: Sequence[str]) -> list[int]:
    """Return an index for every label, as `look` takes it; all differ.

    A label gets the same one in every report: that of `FAMILIAR`, or one by its name. Where
    another label has it already, the next free one; eight labels have eight colours.

    >>> places(["static", "diet", "fedavg"]), places(["fedavg", "static"])
    ([0, 1, 3], [3, 0])
    """
    found: dict[str, int] = {}
    for label in sorted(set(labels), key=lambda each: (each not in FAMILIAR, each)):
        first = FAMILIAR.index(label) if label in FAMILIAR else crc32(label.encode())
        turn = COLORS * (len(found) // COLORS)
        tried = (turn + (first + step) % COLORS for step in range(COLORS))
        found[label] = next(place for place in tried if place not in found.values())
    return [found[label] for label in labels]


def look(index: int) -> dict[str, Any]:
    """Return colour, dash and marker of the series of that index; 32 differ."""
    colors = rcParams["axes.prop_cycle"].by_key()["color"]
    return {
        "color": colors[index % len(colors)],
        "linestyle": dash_of(index),
        "marker": marker_of(index),
        "markeredgecolor": rcParams["axes.facecolor"],
        "markeredgewidth": 0.6,
        "gid": f"series-{index}",
    }


def dash_of(index: int) -> Any:
    """Return the dashes of the series of that index."""
    return DASHES[(index // COLORS) % len(DASHES)]


def marker_of(index: int) -> str:
    """Return the marker of the series of that index; another one where the colour returns."""
    return MARKERS[(index + index // COLORS) % len(MARKERS)]


def take_turns(ax: Axes) -> None:
    """Let series that lie on each other all be seen: they draw a piece of the line by turns."""
    ax.get_xlim(), ax.get_ylim()
    near = 1.2 * ax.figure.dpi / 72
    bundles: list[tuple[np.ndarray, list[Line2D]]] = []
    for line in ax.get_lines():
        path = line.get_transform().transform(np.asarray(line.get_xydata()))
        if not str(line.get_gid()).startswith("series-") or len(path) < 2:
            continue
        for other, bundle in bundles:
            if path.shape == other.shape and np.abs(path - other).max() < near:
                bundle.append(line)
                break
        else:
            bundles.append((path, [line]))
    for _, bundle in bundles:
        count = len(bundle)
        for turn, line in enumerate(bundle if count > 1 else ()):
            line.set_linestyle((PIECE * (count - turn), (PIECE, PIECE * (count - 1))))
            line.set_markevery((turn, count))
