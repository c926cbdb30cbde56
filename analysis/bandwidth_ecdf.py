"""Figure: how per-client bandwidth is distributed over edges."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TypeAlias

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.ticker import PercentFormatter
from matplotlib.transforms import Bbox

from analysis.aggregate import bytes_per_edge
from analysis.axes import byte_axis
from analysis.load import Source, load
from analysis.looks import look
from analysis.statistics import Floats
from analysis.style import bytes_text, ink, legend, listed, new_axes, styled, surface, wrapped

NAMED, LONG = 8, 24
"""More lines than this, or a label of more letters, stand in a legend and not at their lines."""

HEIGHTS = (0.9, 0.79, 0.68, 0.57, 0.46, 0.35, 0.24, 0.13)
"""Shares of edges at which a label may stand."""

WIDTH = 60
"""Letters of a line below the axis."""

ALIKE = 1.02
"""Bytes that range over less than this factor are shown in so wide a frame, not blown up."""


Curve: TypeAlias = tuple[Floats, Floats, str]
"""Sizes, the shares of edges that they suffice for, and the group of the line."""


@styled
def bandwidth_ecdf(source: Source, *, ax: Axes | None = None) -> Axes:
    """Draw, for every label, the share of edges that need at most so many bytes a round.

    On a logarithmic axis edges without any traffic stand at the left end; labels none of
    whose edges has traffic are named below the axis.
    """
    runs, ax = load(source), new_axes(ax)
    frame = bytes_per_edge(runs)
    byte_axis(ax.xaxis, frame["bytes"].to_numpy())
    positive = frame["bytes"][frame["bytes"] > 0]
    low, high = (float(positive.min()), float(positive.max())) if len(positive) else (0.0, 1.0)
    floor = low / 1.5 if ax.get_xscale() == "log" else 0.0
    lines: dict[str, Curve] = {}
    silent = []
    for label, index in runs.looks.items():
        rows = frame[frame["label"] == label]
        if rows["bytes"].max() == 0:
            silent.append(label)
            continue
        sizes = rows["bytes"].clip(lower=floor)
        style = look(index) | {"marker": ""}
        ax.plot([sizes.iloc[0], *sizes], [0, *rows["share"]], label=label, **style)
        lines[label] = (sizes.to_numpy(), rows["share"].to_numpy(), style["gid"])
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_ylim(0, 1.02)
    busy = frame.groupby("label")["bytes"].transform("max") > 0
    if len(positive) == busy.sum() and high < ALIKE * low:
        ax.set_xlim(low / ALIKE, high * ALIKE)
    quiet = f"({listed(silent)} send{'s' * (len(silent) == 1)} nothing)" if silent else ""
    ax.set(
        xlabel=f"bytes per edge and round, up and down\n{wrapped(quiet, WIDTH)}".rstrip(),
        ylabel="share of edges",
        title="Per-client bandwidth",
    )
    if len(lines) > NAMED or max(map(len, lines), default=0) > LONG:
        legend(ax)
    else:
        _name_lines(ax, lines)
    return ax


def _name_lines(ax: Axes, lines: Mapping[str, Curve]) -> None:
    """Write each label beside its line, where it hides least of others; the bytes too, if alike."""
    ax.figure.canvas.draw()
    frame, taken = ax.get_window_extent(), list[Bbox]()
    grid = np.linspace(0, 1, 201)
    points = {
        label: ax.transData.transform(np.stack([np.interp(grid, shares, sizes), grid], 1))
        for label, (sizes, shares, _) in lines.items()
    }
    for label, (sizes, shares, gid) in lines.items():
        alike = sizes.max() < ALIKE * sizes.min()
        text = ax.annotate(
            f"{label}, {bytes_text(float(np.median(sizes)))}" if alike else label, (0, 0), (0, 0),
            textcoords="offset points", va="center", color=ink(),
            fontsize=rcParams["legend.fontsize"], gid=gid,
            bbox={"facecolor": surface(), "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
        others = np.concatenate([np.empty((0, 2)), *(points[o] for o in points if o != label)])
        hidden: list[tuple[float, int, float, int, Bbox]] = []
        for height, side in product(HEIGHTS, (1, -1)):
            _put(text, float(np.interp(height, shares, sizes)), height, side)
            box = text.get_window_extent().padded(2)
            outside = box.x0 < frame.x0 or box.x1 > frame.x1
            hides = box.count_contains(others) + 100 * box.count_overlaps(taken)
            hidden.append((hides + 1000 * outside, len(hidden), height, side, box))
        *_, height, side, box = min(hidden)
        _put(text, float(np.interp(height, shares, sizes)), height, side)
        taken.append(box)


def _put(text: Annotation, x: float, height: float, side: int) -> None:
    """Move a label to the right (1) or the left (-1) of its line."""
    text.xy = (x, height)
    text.set_position((6 * side, 0))
    text.set_horizontalalignment("left" if side > 0 else "right")
