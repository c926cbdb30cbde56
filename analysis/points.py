"""Values with intervals, one row per label: what dot plots are made of."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from analysis.looks import look
from analysis.statistics import Estimate
from analysis.style import LINE, grow, surface, wrapped

ROW, SPACE = 0.25, 2.2
"""Inches: height of a row at least, and of all rows in a figure of the usual size."""


def interval(ax: Axes, estimate: Estimate, row: float, index: int, *, hollow: bool = False) -> None:
    """Draw a value as the marker of series `index` at a height, its interval as a bar."""
    style = look(index)
    color, gid = style["color"], style["gid"]
    ax.plot([estimate.low, estimate.high], [row, row], color=color, linewidth=1.2, gid=gid)
    ax.plot(
        [estimate.value],
        [row],
        linestyle="",
        marker=style["marker"],
        markersize=6.5,
        color=surface() if hollow else color,
        markeredgecolor=color if hollow else surface(),
        markeredgewidth=1.3 if hollow else 0.6,
        gid=gid,
    )


def name_rows(ax: Axes, labels: Sequence[str]) -> None:
    """Name rows from the top down; vertical grid lines help to compare them."""
    names = [wrapped(label) for label in labels]
    ax.set_yticks(range(len(labels))[::-1], names)
    lines = max((name.count("\n") + 1 for name in names), default=1)
    grow(ax, len(names) * max(ROW, 0.9 * LINE * lines) - SPACE)
    space = 0.6 + max(0, 3 - len(labels)) / 2
    ax.set_ylim(-space, len(labels) - 1 + space)
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")


def row_of(index: int, labels: Sequence[str]) -> int:
    """Return the height of a label's row."""
    return len(labels) - 1 - index
