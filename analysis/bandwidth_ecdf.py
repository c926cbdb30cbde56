"""Figure: how per-client bandwidth is distributed over edges."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from analysis.aggregate import bytes_per_edge
from analysis.axes import byte_axis
from analysis.load import Source, load
from analysis.looks import look
from analysis.style import legend, new_axes, styled

ALIKE = 1.02
"""Bytes that range over less than this factor are shown in so wide a frame, not blown up."""


@styled
def bandwidth_ecdf(source: Source, *, ax: Axes | None = None) -> Axes:
    """Draw, for every label, the share of edges that need at most so many bytes a round.

    On a logarithmic axis edges without any traffic stand at the left end; a label none of
    whose edges has traffic is named in the legend alone.
    """
    runs, ax = load(source), new_axes(ax)
    frame = bytes_per_edge(runs)
    byte_axis(ax.xaxis, frame["bytes"].to_numpy())
    positive = frame["bytes"][frame["bytes"] > 0]
    low, high = (float(positive.min()), float(positive.max())) if len(positive) else (0.0, 1.0)
    floor = low / 1.5 if ax.get_xscale() == "log" else 0.0
    for label, index in runs.looks.items():
        rows = frame[frame["label"] == label]
        style = look(index) | {"marker": ""}
        if rows["bytes"].max() == 0:
            ax.plot([], [], label=f"{label} (0 B)", **style)
            continue
        sizes = rows["bytes"].clip(lower=floor)
        ax.plot([sizes.iloc[0], *sizes], [0, *rows["share"]], label=label, **style)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_ylim(0, 1.02)
    busy = frame.groupby("label")["bytes"].transform("max") > 0
    if len(positive) == busy.sum() and high < ALIKE * low:
        ax.set_xlim(low / ALIKE, high * ALIKE)
    ax.set(
        xlabel="bytes per edge and round, up and down",
        ylabel="share of edges",
        title="Per-client bandwidth",
    )
    legend(ax)
    return ax
