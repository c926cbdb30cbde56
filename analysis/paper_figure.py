"""Figures: what was measured beside what a paper reports, as dots or along a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from analysis.looks import look, places
from analysis.paper import CLOSED, Measured, key_of
from analysis.points import interval, name_rows, row_of
from analysis.style import below, legend, muted, styled, surface

WIDE = 10
"""Values swept over so many times are set out by their logarithm."""

Draw = Callable[[Axes], Axes]
"""How to draw on axes."""


def dots_of(rows: Sequence[Measured], title: str) -> list[Draw]:
    """Return how to draw each metric of a table, the paper's figures as diamonds."""
    return [partial(_dots, rows, name, title) for name in rows[0].accuracy]


def lines_of(rows: Sequence[Measured], title: str, x: str) -> list[Draw]:
    """Return how to draw each metric, and each formula's figure, along a sweep.

    Rows outside of the sweep lie level.
    """
    return [partial(_lines, rows, name, title, x) for name in (*rows[0].accuracy, *CLOSED)]


@styled
def _dots(rows: Sequence[Measured], name: str, title: str, ax: Axes) -> Axes:
    labels = [row.entry.method for row in rows]
    for index, (row, place) in enumerate(zip(rows, places(labels), strict=True)):
        height = row_of(index, labels)
        interval(ax, row.accuracy[name], height, place)
        said = row.entry.paper.get(key_of(name))
        if said is not None:
            ax.plot([said], [height], **_diamond())
    name_rows(ax, labels)
    ax.tick_params(axis="y", labelsize=rcParams["legend.fontsize"])
    ax.set(xlabel=name, title=title)
    if any(key_of(name) in row.entry.paper for row in rows):
        below(ax, handles=[Line2D([], [], label="the paper's", **_diamond())], handlelength=1)
    return ax


@styled
def _lines(rows: Sequence[Measured], name: str, title: str, x: str, ax: Axes) -> Axes:
    series: dict[str, list[Measured]] = {}
    for row in rows:
        series.setdefault(row.entry.series or row.entry.method, []).append(row)
    for place, (label, members) in zip(places(list(series)), series.items(), strict=True):
        style = look(place)
        values = [_value(row, name) for row in members]
        if members[0].entry.x is None:
            ax.axhline(values[0], label=label, **style | {"marker": "", "linestyle": (0, (4, 2))})
            continue
        at = [float(row.entry.x or 0) for row in members]
        ax.plot(at, values, label=label, **style)
        if name not in CLOSED:
            spans = [row.accuracy[name] for row in members]
            low, high = [each.low for each in spans], [each.high for each in spans]
            ax.fill_between(at, low, high, color=style["color"], alpha=0.14, linewidth=0)
    ax.set(xlabel=x, ylabel=CLOSED.get(name, name), title=title)
    swept = [row.entry.x for row in rows if row.entry.x is not None]
    if swept and min(swept) > 0 and max(swept) >= WIDE * min(swept):
        ax.set_xscale("log")
        ax.set_xticks(sorted(set(swept)), [f"{each:g}" for each in sorted(set(swept))])
        ax.xaxis.set_minor_locator(NullLocator())
    legend(ax)
    return ax


def _value(row: Measured, name: str) -> float:
    return row.closed[name] if name in CLOSED else row.accuracy[name].value


def _diamond() -> dict[str, Any]:
    return {
        "linestyle": "",
        "marker": "D",
        "markersize": 5.5,
        "markeredgewidth": 1.2,
        "color": surface(),
        "markeredgecolor": muted(),
    }
