"""Figure: what an edge keeps, by channel."""

from __future__ import annotations

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.aggregate import stored_bytes
from analysis.axes import ByteFormatter
from analysis.load import Source, load
from analysis.points import name_rows, row_of
from analysis.style import bytes_text, ink, legend, new_axes, part_colors, styled, surface

PARTS = 6
"""At most so many channels by name; the rest is drawn together."""


@styled
def storage(source: Source, *, ax: Axes | None = None) -> Axes:
    """Draw bytes kept on an edge after the last round: the shared part once, each channel."""
    runs, ax = load(source), new_axes(ax)
    frame = stored_bytes(runs)
    named = ["shared", *runs.channels[:PARTS]]
    frame.loc[~frame["part"].isin(named), "part"] = "other channels"
    table = frame.groupby(["part", "label"])["bytes"].sum().unstack(fill_value=0)
    parts = [part for part in [*named, "other channels"] if part in table.index]
    rows = [row_of(index, runs.labels) for index in range(len(runs.labels))]
    left = table.iloc[0][list(runs.labels)] * 0
    for part, color in zip(parts, part_colors(len(parts)), strict=True):
        width = table.loc[part, list(runs.labels)]
        text = "shared by all channels" if part == "shared" else part
        ax.barh(
            rows,
            width,
            left=left,
            height=0.62,
            color=color,
            label=text,
            edgecolor=surface(),
            linewidth=0.8,
        )
        left = left + width
    for row, total in zip(rows, left, strict=True):
        ax.annotate(
            bytes_text(total),
            (total, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            color=ink(),
            fontsize=rcParams["legend.fontsize"],
        )
    name_rows(ax, runs.labels)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(ByteFormatter())
    ax.margins(x=0.18)
    ax.set_xlim(left=0)
    ax.set(xlabel="bytes kept per edge", title="Storage of an edge, by channel")
    legend(ax)
    return ax
