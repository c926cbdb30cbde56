"""Figure: how per-client bandwidth is distributed over edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from analysis.aggregate import bytes_per_edge
from analysis.axes import byte_axis
from analysis.load import Source, load
from analysis.looks import look
from analysis.statistics import Floats
from analysis.style import bytes_text, ink, legend, listed, new_axes, styled, surface, wrapped

NAMED, LONG = 8, 24
"""More lines than this, or a label of more letters, stand in a legend and not at their lines."""

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
    quiet = f"\n({listed(silent)} send{'s' * (len(silent) == 1)} nothing)" if silent else ""
    ax.set(
        xlabel=f"bytes per edge and round, up and down{wrapped(quiet, WIDTH)}",
        ylabel="share of edges",
        title="Per-client bandwidth",
    )
    if len(lines) > NAMED or max(map(len, lines), default=0) > LONG:
        legend(ax)
    else:
        _name_lines(ax, lines)
    return ax


def _name_lines(ax: Axes, lines: Mapping[str, Curve]) -> None:
    """Write each label beside its line, one below the other; the bytes too, where all pay alike."""
    ordered = sorted(lines, key=lambda label: float(np.median(lines[label][0])))
    heights = np.linspace(0.9, 0.9 - 0.11 * (len(ordered) - 1), len(ordered))
    for label, height in zip(ordered, heights, strict=True):
        sizes, shares, gid = lines[label]
        at = float(np.interp(height, shares, sizes))
        alike = sizes.max() < ALIKE * sizes.min()
        right = ax.transAxes.inverted().transform(ax.transData.transform((at, height)))[0] > 0.55
        ax.annotate(
            f"{label}, {bytes_text(at)}" if alike else label,
            (at, height), (-6 if right else 6, 0), textcoords="offset points",
            ha="right" if right else "left", va="center", color=ink(),
            fontsize=rcParams["legend.fontsize"], gid=gid,
            bbox={"facecolor": surface(), "edgecolor": "none", "pad": 1},
        )  # fmt: skip
