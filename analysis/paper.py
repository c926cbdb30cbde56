"""Table: what was measured beside what a paper reports, one row per method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.aggregate import EDGES, metric_column
from analysis.compare import count_text
from analysis.costs import costs
from analysis.load import Runs, Source, load
from analysis.paired import label_accuracy
from analysis.statistics import NONE, Estimate
from analysis.style import bytes_text
from analysis.table import Table

CLOSED = {"param_mbit": "Param, Mbit", "flops_m": "FLOPs, M"}
"""What the papers count by formula: its key, and its name in print."""

SAME = 0.005
"""Largest relative difference of a formula's figure from the paper's that is rounding."""

NOTE = (
    "Means over seeds; brackets: 95 % bootstrap intervals over users. Param: millions of bits of "
    "an answer by the paper's formula; FLOPs: millions of multiply-accumulates of an inference. "
    "Bytes are measured: an upload, an answer, what is given once (without item embeddings), "
    "what an edge keeps."
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a table: its label among the runs, its name, and figures by metric."""

    label: str
    method: str
    series: str = ""
    """What it is a point of, in a sweep."""
    x: float | None = None
    """Where it stands in the sweep."""
    paper: Mapping[str, float] = field(default_factory=dict)
    """What the paper reports."""
    goal: Mapping[str, float] = field(default_factory=dict)
    """What is wanted."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one entry."""

    entry: Entry
    seeds: int
    accuracy: Mapping[str, Estimate]
    """By name in print, as ``NDCG@10``."""
    closed: Mapping[str, float]
    """By keys of `CLOSED`."""
    cost: Mapping[str, float]

    def record(self) -> dict[str, object]:
        """Return the numbers, units in the names."""
        row: dict[str, object] = {"label": self.entry.method, "seeds": self.seeds}
        for name, each in self.accuracy.items():
            row |= {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
        if self.entry.x is not None:
            row |= {"series": self.entry.series, "x": self.entry.x}
        names = ("up_bytes", "answer_bytes", "provision_bytes", "stored_bytes", "train_macs")
        return row | dict(self.closed) | {name: self.cost[name] for name in names}


def measure(source: Source, entries: Sequence[Entry], edges: str = "all") -> list[Measured]:
    """Return what the runs say of each entry, and of its cost; `edges` as for `accuracy`."""
    runs = load(source)
    names = [metric_column(runs, metric) for metric in ("ndcg", "hit")]
    found = {name: label_accuracy(runs, column, EDGES[edges]) for column, name in names}
    cost = costs(runs, edges)
    made = []
    for entry in entries:
        own = cost[entry.label]
        made.append(
            Measured(
                entry,
                seeds=len({i.seed for i in runs.infos if i.label == entry.label}),
                accuracy={name: each.of(entry.label) for name, each in found.items()},
                closed={
                    "param_mbit": own["answer_paper_bits"] / 1e6,
                    "flops_m": own["macs"] / 1e6,
                },
                cost=own,
            )
        )
    return made


def paper(
    source: Source, entries: Sequence[Entry] = (), *, edges: str = "all", title: str = ""
) -> Table:
    """Return accuracy, costs and the paper's figures beside them, a row an entry.

    Without entries every label is one, and no paper says anything.
    """
    runs = load(source)
    return table(measure(runs, entries or plain(runs), edges), title or "Methods, measured")


def plain(runs: Runs) -> list[Entry]:
    """Return an entry for every label."""
    return [Entry(label, label) for label in runs.labels]


def table(rows: Sequence[Measured], title: str) -> Table:
    """Return the table of what was measured."""
    cells = [dict(_cells(row, rows)) for row in rows]
    names = list(dict.fromkeys(name for row in cells for name in row))
    text = pd.DataFrame([[row.get(name, "") for name in names] for row in cells])
    text.columns = pd.Index([name.partition("|")[0] for name in names])
    return Table("paper", title, pd.DataFrame([row.record() for row in rows]), text, NOTE)


def _cells(row: Measured, rows: Sequence[Measured]) -> Iterator[tuple[str, str]]:
    """Yield column and cell; what stands behind a bar tells columns of one name apart."""
    yield "strategy", row.entry.method
    yield "seeds", str(row.seeds)
    for name, each in row.accuracy.items():
        yield name, each.text()
        yield from _said(row, rows, key_of(name), 4)
    for key, name in CLOSED.items():
        yield name, _number(row.closed[key])
        yield from _said(row, rows, key, 4)
    for name, key in (("up", "up_bytes"), ("answer", "answer_bytes")):
        yield name, _bytes(row.cost[key])
    yield "once", _bytes(row.cost["provision_bytes"])
    yield "stored", _bytes(row.cost["stored_bytes"])
    if any(each.cost["train_macs"] > 0 for each in rows):
        yield "trained, MACs", count_text(row.cost["train_macs"])


def _said(
    row: Measured, rows: Sequence[Measured], key: str, digits: int
) -> Iterator[tuple[str, str]]:
    """Yield what the paper says and what is wanted, where anything is said of any row."""
    for name in ("paper", "goal"):
        if any(key in getattr(each.entry, name) for each in rows):
            value = getattr(row.entry, name).get(key)
            shown = {"paper": "paper", "goal": "wanted"}[name]
            yield f"{shown}|{key}", "" if value is None else f"{value:.{digits}f}"


def key_of(name: str) -> str:
    """Return the key of a metric by its name in print.

    >>> key_of("NDCG@10")
    'ndcg_10'
    """
    return name.lower().replace("@", "_")


def differences_from_paper(rows: Sequence[Measured]) -> list[str]:
    """Say of every row with figures of a paper where ours differ, and of which none does."""
    told, same = [], []
    for row in rows:
        parts = list(_differences(row))
        known = [*map(key_of, row.accuracy), *CLOSED]
        if parts:
            told.append(f"{row.entry.method}: {'; '.join(parts)}")
        elif any(key in row.entry.paper for key in known):
            same.append(row.entry.method)
    return told + ([f"as in the paper: {', '.join(same)}"] if same else [])


def _differences(row: Measured) -> Iterator[str]:
    for name, each in row.accuracy.items():
        said = row.entry.paper.get(key_of(name))
        if said is not None and not each.low <= said <= each.high:
            word = "above" if each.value > said else "below"
            yield f"{name} {each.text()} is {word} the paper's {said:.4f}"
    for key, name in CLOSED.items():
        said, own = row.entry.paper.get(key), row.closed[key]
        if said is not None and not abs(own / said - 1) <= SAME:
            yield f"{name.partition(',')[0]} {own:.4f} against {said:.4f} ({own / said - 1:+.1%})"


def records(rows: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return the numbers, and the paper's and the wanted ones, as JSON-like records."""
    made = []
    for row in rows:
        numbers = {name: None if value != value else value for name, value in row.record().items()}
        made.append(numbers | {"paper": dict(row.entry.paper), "goal": dict(row.entry.goal)})
    return made


def _number(value: float) -> str:
    return f"{value:.4f}" if value > 0 else NONE


def _bytes(value: float) -> str:
    return NONE if value != value else bytes_text(value)
