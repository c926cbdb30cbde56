"""Figure: bytes an edge has sent and received, round after round."""

from __future__ import annotations

from matplotlib.axes import Axes

from analysis.accuracy import mark_drift
from analysis.aggregate import cumulative_bytes, drift_share
from analysis.axes import byte_axis, round_axis
from analysis.load import Source, load
from analysis.looks import look
from analysis.style import legend, new_axes, styled


@styled
def traffic(source: Source, *, ax: Axes | None = None) -> Axes:
    """Draw cumulative bytes per edge (up and down) by round; round 0 is the provision.

    Item embeddings, which every strategy needs alike, are left out.
    """
    runs, ax = load(source), new_axes(ax)
    frame = cumulative_bytes(runs)
    for label, index in runs.looks.items():
        rows = frame[frame["label"] == label]
        style = look(index)
        if len(rows) > 30:
            style["marker"] = ""
        ax.plot(rows["round"], rows["bytes"], label=label, **style)
    byte_axis(ax.yaxis, frame["bytes"].to_numpy())
    round_axis(ax)
    ax.set(
        xlabel="round (0: provision)",
        ylabel="bytes per edge, up and down",
        title="Cumulative bytes of an edge",
    )
    mark_drift(ax, drift_share(runs))
    legend(ax)
    return ax
