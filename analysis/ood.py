"""Figure: in-distribution edges against OOD edges, whose history the cloud never saw."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.aggregate import EDGES, metric_column
from analysis.load import Source, load
from analysis.looks import look
from analysis.paired import label_accuracy
from analysis.points import interval, name_rows, row_of
from analysis.style import below, muted, new_axes, note, styled, surface


@styled
def ood(
    source: Source, *, metric: str = "ndcg", k: int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw accuracy on in-distribution (filled) and OOD edges (hollow), 95 % intervals."""
    runs, ax = load(source), new_axes(ax)
    column, name = metric_column(runs, metric, k)
    ax.set(xlabel=name, title="In-distribution against OOD edges")
    if not runs.query("select count(*) as n from edges where ood")["n"].iloc[0]:
        note(ax, "the cloud trained on every edge")
        return ax
    known = label_accuracy(runs, column, where=EDGES["known"])
    unseen = label_accuracy(runs, column, where=EDGES["unseen"])
    for place, (label, index) in enumerate(runs.looks.items()):
        row, style = row_of(place, runs.labels), look(index)
        pair = known.of(label), unseen.of(label)
        heights = [row + 0.13, row - 0.13]
        ax.plot(
            [each.value for each in pair], heights, color=style["color"], linewidth=0.8, alpha=0.6
        )
        interval(ax, pair[0], heights[0], index)
        interval(ax, pair[1], heights[1], index, hollow=True)
    name_rows(ax, runs.labels)
    _explain(ax)
    return ax


def _explain(ax: Axes) -> None:
    kinds = {"in-distribution edges": muted(), "OOD edges": surface()}
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            color=fill,
            markeredgecolor=muted(),
            label=text,
            markersize=6,
        )
        for text, fill in kinds.items()
    ]
    below(ax, handles=handles, ncols=2, handlelength=1)
