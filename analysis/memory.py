"""Figures: what room for answers buys, and how much of it is used."""

from __future__ import annotations

import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes

from analysis.accuracy import BANDS
from analysis.aggregate import metric_column
from analysis.axes import byte_axis
from analysis.load import Runs, Source, load
from analysis.looks import look
from analysis.style import legend, muted, new_axes, note, styled

BINS = 8
"""At most so many groups of edges and rounds with about the same room."""
LIMITED = "round > 0 and memory_bytes < 1e15"
"""Rows whose edge has a limit: a device class that is not named has 2^62 bytes."""


@styled
def memory(
    source: Source, *, metric: str = "ndcg", k: int | None = None, ax: Axes | None = None
) -> Axes:
    """Draw each label's accuracy by the room an edge has for an answer, with 95 % bands.

    A point is those edges and rounds that have about the same room; marks above name where
    the device classes are on average.
    """
    runs, ax = load(source), new_axes(ax)
    column, name = metric_column(runs, metric, k)
    ax.set(ylabel=name, title=f"Accuracy by the room for an answer ({name})")
    frame = by_room(runs, column)
    if _axis(ax, runs, frame):
        for label, index in runs.looks.items():
            rows = frame[frame["label"] == label]
            style = look(index)
            ax.plot(rows["room"], rows["value"], label=label, **style)
            if len(runs.labels) <= BANDS:
                low, high = (
                    (rows["value"] + sign * 1.96 * rows["error"]).clip(0, 1) for sign in (-1, 1)
                )
                color, gid = style["color"], f"series-{index}-band"
                ax.fill_between(
                    rows["room"], low, high, color=color, alpha=0.14, linewidth=0, gid=gid
                )
        legend(ax)
    return ax


@styled
def memory_use(source: Source, *, ax: Axes | None = None) -> Axes:
    """Draw the bytes an edge keeps for a channel by the room it has for an answer.

    The dashed line is the room itself: what is kept of the provision comes on top of it.
    """
    runs, ax = load(source), new_axes(ax)
    ax.set(ylabel="bytes kept for a channel", title="Storage by the room for an answer")
    frame = by_room(runs, metric_column(runs)[0])
    if _axis(ax, runs, frame):
        for label, index in runs.looks.items():
            rows = frame[frame["label"] == label]
            ax.plot(rows["room"], rows["stored"], label=label, **look(index))
        rooms = frame["room"].sort_values()
        ax.plot(rooms, rooms, color=muted(), linewidth=0.9, linestyle=(0, (4, 2)))
        byte_axis(ax.yaxis, pd.concat([frame["stored"], rooms]).to_numpy())
        legend(ax)
    return ax


def by_room(runs: Runs, column: str) -> pd.DataFrame:
    """Return label, bin, room, value, error, stored: accuracy and bytes by `memory_bytes`.

    Bins hold as many rows each, or one value each where there are few; none without a limit.
    """
    rooms = runs.query(f"select memory_bytes as room from ledger where {LIMITED}")["room"]
    values = rooms.drop_duplicates().sort_values()
    shares = [number / BINS for number in range(1, BINS)]
    cuts = rooms.quantile(shares).unique() if len(values) > BINS else values.iloc[1:] - 0.5
    number = " + ".join(["0", *(f"(memory_bytes > {cut})::int" for cut in cuts)])
    return runs.query(f"""
        with edge_sums as (
            select run, {number} as bin, edge, sum(memory_bytes) as room, sum({column}) as y,
                   sum(targets) as x, sum(stored_bytes) as stored, count(*) as n
            from ledger where {LIMITED} group by run, bin, edge),
        run_sums as (
            select run, bin, sum(room) / sum(n) as room, sum(stored) / sum(n) as stored,
                   sum(y) / nullif(sum(x), 0) as r, sum(x) as x, sum(y * y) as yy,
                   sum(x * y) as xy, sum(x * x) as xx
            from edge_sums group by run, bin),
        run_values as (
            select *, (yy - 2 * r * xy + r * r * xx) / nullif(x * x, 0) as variance from run_sums)
        select label, bin, avg(room) as room, avg(r) as value,
               sqrt(sum(greatest(variance, 0))) / count(*) as error, avg(stored) as stored
        from run_values join runs using (run) group by label, bin order by label, bin
    """)


def _axis(ax: Axes, runs: Runs, frame: pd.DataFrame) -> bool:
    """Prepare the axis of rooms and name device classes on it; tell if there is a limit."""
    ax.set_xlabel("room for an answer")
    if frame.empty:
        note(ax, "no edge's memory is limited")
        return False
    byte_axis(ax.xaxis, frame["room"].to_numpy())
    classes = _classes(runs)
    for device, room in zip(classes["device"], classes["room"], strict=True):
        ax.annotate(
            device,
            (room, 1),
            (0, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=muted(),
            fontsize=rcParams["legend.fontsize"],
        )
    ax.set_title(ax.get_title(loc="left"), pad=17)
    return True


def _classes(runs: Runs) -> pd.DataFrame:
    """Return device, room: the mean room of each device class."""
    if "device" not in runs.query("select * from edges limit 0"):
        return pd.DataFrame({"device": [], "room": []})
    return runs.query(f"""
        select device, avg(memory_bytes) as room
        from ledger join edges using (run, edge) where {LIMITED} group by device order by room
    """)
