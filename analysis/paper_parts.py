"""What a paper's table consists of: tables, remarks below them, figures, and all numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from analysis.aggregate import EDGES
from analysis.load import Runs, Source, load
from analysis.paired import label_accuracy
from analysis.paper import (
    Entry,
    Measured,
    differences_from_paper,
    key_of,
    measure,
    records,
    table,
)
from analysis.paper_figure import Draw, dots_of, lines_of
from analysis.paper_files import Part
from analysis.statistics import NONE
from analysis.table import Table
from fedsim.errors import ConfigError, nearest

Records = list[dict[str, Any]]

COUNTED = {
    "users": "{:,.0f}",
    "items": "{:,.0f}",
    "interactions": "{:,.0f}",
    "mean_length": "{:.2f}",
    "sparsity": "{:.2%}",
}
"""What is counted of a data set, and how it is printed."""


def ranked(
    source: Source,
    title: str,
    entries: Sequence[Entry],
    *,
    edges: str = "all",
    pairs: Sequence[tuple[str, str]] = (),
    swept: str = "",
    dots: bool = True,
    figures: Sequence[str] = (),
) -> tuple[Part, Records, Records]:
    """Return the part about some entries, their numbers, and those of the pairs.

    Parameters
    ----------
    source
        Their runs, and perhaps others.
    title
        What they have in common.
    entries
        The lines.
    edges
        Whose accuracy counts, as for `accuracy`.
    pairs
        Labels of entries whose difference in NDCG is tested, first minus second.
    swept
        What is swept, if anything: then values are drawn along it.
    dots
        Whether every metric is drawn, as dots or along the sweep.
    figures
        Names of figures to draw of the entries' runs as well, where all edges count.

    Raises
    ------
    ConfigError
        There is no figure of a name.
    """
    runs = load(source)
    rows = measure(runs, entries, edges)
    compared = _compared(runs, rows, pairs, edges)
    told = differences_from_paper(rows) + [text for text, _ in compared]
    draws: list[Draw] = []
    if dots:
        draws += lines_of(rows, title, swept) if swept else dots_of(rows, title)
    draws += _figures(runs, title, entries, figures if edges == "all" else ())
    part = Part(replace(table(rows, title), note=""), told, draws)
    return part, records(rows), [numbers for _, numbers in compared]


def _figures(runs: Runs, title: str, entries: Sequence[Entry], names: Sequence[str]) -> list[Draw]:
    """Return how to draw figures of the entries' runs, under the entries' own names."""
    package = import_module("analysis")
    for name in names:
        if name not in package.__all__:
            raise ConfigError(f"no figure '{name}'; {nearest(name, package.__all__)}")
    if not names:
        return []
    called = {entry.label: entry.method for entry in entries}
    own = [info for info in runs.infos if info.label in called]
    loaded = load([info.path for info in own], [called[info.label] for info in own])
    return [partial(_named, getattr(package, name), loaded, title) for name in names]


def _named(figure: Callable[..., Axes], runs: Runs, title: str, ax: Axes) -> Axes:
    drawn = figure(runs, ax=ax)
    drawn.set_title(f"{title}\n{drawn.get_title(loc='left')}", loc="left")
    return drawn


def _compared(
    runs: Runs, rows: Sequence[Measured], pairs: Sequence[tuple[str, str]], edges: str
) -> list[tuple[str, dict[str, Any]]]:
    name = next(iter(rows[0].accuracy))
    accuracy = label_accuracy(runs, key_of(name), EDGES[edges])
    called = {row.entry.label: row.entry.method for row in rows}
    found = []
    for first, second in pairs:
        each = accuracy.difference(first, second)
        a, b = called[first], called[second]
        numbers = {"value": each.value, "low": each.low, "high": each.high}
        text = f"{a} \u2212 {b}, {name}: {each.text(sign=True)}"
        found.append((text, {"first": a, "second": b, "metric": name, **numbers}))
    return found


def counted(
    title: str,
    places: Mapping[str, tuple[str, Mapping[str, float]]],
    measured: Mapping[str, Mapping[str, float]],
) -> tuple[Part, Records]:
    """Return the part about data sets, and its numbers.

    `places` gives the name in print and the paper's figures of every data set, `measured` ours
    of those that are there.
    """
    text: Records = []
    rows: Records = []
    for name, (shown, said) in places.items():
        own = measured.get(name, {})
        cells = {"data set": shown}
        for key, form in COUNTED.items():
            cells[key.replace("_", " ")] = form.format(own[key]) if own else NONE
            cells[f"paper's {key.replace('_', ' ')}"] = form.format(said[key]) if said else ""
        text.append(cells)
        rows.append({"data": name, **dict.fromkeys(COUNTED), **own, "paper": dict(said)})
    told = [line for row in rows for line in _miscounted(places[row["data"]][0], row)]
    made = Table("paper", title, pd.DataFrame(rows), pd.DataFrame(text))
    return Part(made, told), rows


def _miscounted(name: str, row: Mapping[str, Any]) -> list[str]:
    said = row["paper"]
    wrong = [
        f"{key.replace('_', ' ')} {form.format(row[key])} against {form.format(said[key])}"
        for key, form in COUNTED.items()
        if row[key] is not None and said and form.format(row[key]) != form.format(said[key])
    ]
    return [f"{name}: {'; '.join(wrong)}"] if wrong else []
