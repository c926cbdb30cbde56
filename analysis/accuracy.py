"""Figure: accuracy of every round, drift marked."""

from __future__ import annotations

import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes

from analysis.aggregate import EDGES, drift_share, metric_column, per_round
from analysis.axes import round_axis
from analysis.load import Runs, Source, load
from analysis.looks import look
from analysis.paired import label_accuracy
from analysis.points import interval, name_rows, row_of
from analysis.style import legend, muted, new_axes, styled

BANDS = 4
"""With more series than this, intervals are left out."""


@styled
def accuracy(
    source: Source,
    *,
    metric: str = "ndcg",
    k: int | None = None,
    edges: str = "all",
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy by round for every label, with 95 % bands over edges.

    `edges` is ``all``, ``known`` (in-distribution: the cloud trained on their history) or
    ``unseen`` (OOD). A run of one round is drawn as points with intervals. Rounds in which
    interests drift are shaded, the darker the more edges drift.
    """
    runs, ax = load(source), new_axes(ax)
    column, name = metric_column(runs, metric, k)
    who = {"all": "", "known": ", in-distribution edges", "unseen": ", OOD edges"}[edges]
    if runs.last_round == 1:
        _points(ax, runs, column, EDGES[edges])
        ax.set(xlabel=name, title=f"Accuracy ({name}){who}")
        return ax
    frame = per_round(runs, column, EDGES[edges], points=200)
    for label, index in runs.looks.items():
        _line(ax, frame[frame["label"] == label], label, index, len(runs.labels) <= BANDS)
    ax.set(xlabel="round", ylabel=name, title=f"Accuracy of every round ({name}){who}")
    mark_drift(ax, drift_share(runs))
    round_axis(ax)
    legend(ax)
    return ax


def mark_drift(ax: Axes, shares: pd.DataFrame) -> None:
    """Shade the rounds in which interests drift and say how many edges drift."""
    half = max(0.5, ax.dataLim.width / 160)
    for number, share in zip(shares["round"].to_numpy(), shares["share"].to_numpy(), strict=True):
        ax.axvspan(
            number - half, number + half, color=muted(), alpha=0.1 + 0.2 * share,
            linewidth=0, zorder=0,
        )  # fmt: skip
    if len(shares):
        ax.set_title(ax.get_title(loc="left"), pad=17)
        first, most = shares["round"].iloc[0], shares["share"].max()
        text = f"drift: {most:.0%} of edges" if len(shares) == 1 else "drift"
        ax.annotate(
            text,
            (first, 1),
            (0, 1),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=muted(),
            fontsize=rcParams["legend.fontsize"],
        )


def _line(ax: Axes, rows: pd.DataFrame, label: str, index: int, band: bool) -> None:
    style = look(index)
    if len(rows) > 30:
        style["marker"] = ""
    ax.plot(rows["round"], rows["value"], label=label, **style)
    if band:
        spread = 1.96 * rows["error"]
        ax.fill_between(
            rows["round"],
            (rows["value"] - spread).clip(lower=0),
            (rows["value"] + spread).clip(upper=1),
            color=style["color"],
            alpha=0.14,
            linewidth=0,
            gid=f"series-{index}-band",
        )


def _points(ax: Axes, runs: Runs, column: str, where: str) -> None:
    measured = label_accuracy(runs, column, where=where)
    for row, (label, index) in enumerate(runs.looks.items()):
        interval(ax, measured.of(label), row_of(row, runs.labels), index)
    name_rows(ax, runs.labels)
