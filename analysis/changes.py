"""How accuracy changes within a label: on OOD edges, and through a drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.aggregate import EDGES
from analysis.load import Runs
from analysis.paired import Paired, parted_accuracy
from analysis.statistics import Estimate

REACH = 3
"""Rounds before a drift, and at the end of the runs, that are taken together."""


@dataclass(frozen=True, slots=True)
class Course:
    """A label's accuracy in parts of its rows, and each later part minus the first."""

    label: str
    values: tuple[float, ...]
    gaps: tuple[Estimate, ...]


def out_of_distribution(runs: Runs, column: str) -> list[Course]:
    """Return of every label that has both the accuracy on in-distribution and on OOD edges."""
    parts = {who: EDGES[who] for who in ("known", "unseen")}
    return _courses(runs, parted_accuracy(runs, column, parts), tuple(parts))


def through_drift(runs: Runs, column: str) -> list[Course]:
    """Return of every label the accuracy of drifting edges before, at, after their first drift.

    Before: up to three rounds; after: the last three rounds of the run.
    """
    rows = f"""(
        with firsts as (select run, edge, min(round) as first from ledger
                        where drift_true and round > 0 group by run, edge),
        ends as (select run, max(round) as last from ledger group by run)
        select ledger.*, round - first as since, last - round < {REACH} as late
        from ledger join firsts using (run, edge) join ends using (run))"""
    parts = {
        "before": f"since between {-REACH} and -1",
        "at": "since = 0",
        "after": "since > 0 and late",
    }
    return _courses(runs, parted_accuracy(runs, column, parts, rows), tuple(parts))


def _courses(runs: Runs, measured: Paired, parts: Sequence[str]) -> list[Course]:
    first, *later = parts
    found = []
    for label in runs.labels:
        values = tuple(measured.of((label, part)).value for part in parts)
        gaps = tuple(measured.difference((label, part), (label, first)) for part in later)
        if all(value == value for value in values):
            found.append(Course(label, values, gaps))
    return found
