"""Figure: per-client bandwidth as a map of edges and rounds."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import NullFormatter

from analysis.aggregate import BYTES
from analysis.axes import ByteFormatter, round_axis
from analysis.load import Runs, Source, load
from analysis.statistics import Floats
from analysis.style import new_axes, styled
from fedsim.errors import ConfigError, nearest

CELLS = 200
"""At most so many rows and columns; edges and rounds beyond are averaged."""

EVEN = 1.01
"""Bytes that range over less than this factor count as the same."""


@styled
def bandwidth_map(source: Source, *, label: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw bytes of edges (sorted by their total) in rounds, for one label.

    The label's first seed is shown. Where nothing was sent stays blank.
    """
    runs, ax = load(source), new_axes(ax)
    label = runs.labels[0] if label is None else label
    if label not in runs.labels:
        raise ConfigError(f"no run is labelled '{label}'; {nearest(label, runs.labels)}")
    matrix, edges = bandwidth_matrix(runs, label)
    image = ax.imshow(
        np.ma.masked_equal(matrix, 0),
        aspect="auto",
        interpolation="none",
        extent=(0.5, runs.last_round + 0.5, edges, 0),
        norm=_norm(matrix),
        cmap=colormaps["viridis"],
    )
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02, aspect=30)
    bar.ax.yaxis.set_major_formatter(ByteFormatter(each=isinstance(image.norm, LogNorm)))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.outline.set_visible(False)
    ax.grid(visible=False)
    round_axis(ax)
    ax.set(
        xlabel="round",
        ylabel="edges, most bytes on top",
        title=f"Bytes of each edge in each round: {label}",
    )
    return ax


def bandwidth_matrix(runs: Runs, label: str) -> tuple[Floats, int]:
    """Return mean bytes per edge and round, at most CELLS x CELLS, and how many edges."""
    run = runs.members(label)[0]
    size = runs.query(f"select count(*) as n from edges where run = {run}")
    edges, rounds = int(size["n"].iloc[0]), runs.infos[run].last_round
    high, wide = min(edges, CELLS), min(rounds, CELLS)
    frame = runs.query(f"""
        with totals as (select edge, sum{BYTES} as b from ledger
                        where run = {run} and round > 0 group by edge),
        ranked as (select edge, row_number() over (order by b desc, edge) - 1 as rank from totals)
        select (rank * {high}) // {edges} as y, ((round - 1) * {wide}) // {rounds} as x,
               sum{BYTES} / count(distinct (edge, round)) as bytes
        from ledger join ranked using (edge)
        where run = {run} and round > 0 group by y, x
    """)
    matrix = np.zeros((high, wide))
    matrix[frame["y"], frame["x"]] = frame["bytes"]
    return matrix, edges


def bandwidth_range(runs: Runs, label: str) -> tuple[float, float]:
    """Return the least and the most bytes of an edge in a round, for the label's first run."""
    frame = runs.query(f"""
        with sums as (select sum{BYTES} as b from ledger
                      where round > 0 and run = {runs.members(label)[0]} group by edge, round)
        select min(b) as low, max(b) as high from sums
    """)
    return float(frame["low"].iloc[0]), float(frame["high"].iloc[0])


def _norm(matrix: Floats) -> Normalize:
    sent = matrix[matrix > 0]
    low, high = (float(sent.min()), float(sent.max())) if sent.size else (1.0, 1.0)
    if high > 10 * low:
        return LogNorm(low, high)
    return Normalize(low, high) if high > EVEN * low else Normalize(0, high)
