"""Accuracies with intervals over edges: of labels, of controls, and their differences."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.load import Runs
from analysis.statistics import Bootstrap, Estimate


class Paired:
    """Accuracies of several series over the same edges.

    `frame` has the columns series, edge, y (sum of the metric) and x (targets); run r has the
    series from r * `each` on. `members` names the series that a key stands for, its seeds.
    Edges are resampled population by population, so that an interval does not depend on
    which other populations are looked at beside it.
    """

    def __init__(
        self,
        runs: Runs,
        frame: pd.DataFrame,
        members: Mapping[Hashable, Sequence[int]],
        each: int = 1,
    ) -> None:
        run, parts = frame["series"].to_numpy() // max(each, 1), []
        for population in runs.populations():
            rows = frame[np.isin(run, population)]
            if len(rows):
                parts.append(_resampled(rows))
        self._bootstrap = Bootstrap.beside(parts, len(runs.infos) * each)
        self._members = members

    def of(self, key: Hashable) -> Estimate:
        """Return the accuracy of a key, the mean over its seeds."""
        return self._bootstrap.mean(self._members[key])

    def difference(self, key: Hashable, other: Hashable) -> Estimate:
        """Return one key's accuracy minus another's."""
        return self._bootstrap.difference(self._members[key], self._members[other])


def _resampled(frame: pd.DataFrame) -> tuple[list[int], Bootstrap]:
    """Return the series of one population, and their bootstrap over its edges."""
    _, rows = np.unique(frame["edge"].to_numpy(), return_inverse=True)
    series, columns = np.unique(frame["series"].to_numpy(), return_inverse=True)
    tables = np.zeros((2, int(rows.max()) + 1, len(series)))
    for table, column in zip(tables, ("y", "x"), strict=True):
        table[rows, columns] = frame[column].to_numpy()
    return series.tolist(), Bootstrap(tables[0], tables[1])


def label_accuracy(runs: Runs, column: str, where: str = "true") -> Paired:
    """Return the accuracy of every label, the rounds from 1 on taken together."""

    def measure() -> Paired:
        frame = runs.query(f"""
            select run as series, edge, sum({column}) as y, sum(targets) as x
            from ledger where round > 0 and {where} group by run, edge order by run, edge
        """)
        return Paired(runs, frame, {label: runs.members(label) for label in runs.labels})

    return runs.remember((column, where), measure)


def parted_accuracy(
    runs: Runs, column: str, parts: Mapping[str, str], rows: str = "ledger"
) -> Paired:
    """Return the accuracy of every label in parts of its rows: keys are (label, part).

    `parts` says by SQL which rows are in a part; `rows` is what to take them from.
    """

    def measure() -> Paired:
        count = len(parts)
        selects = [
            f"select run * {count} + {place} as series, edge, sum({column}) as y, "
            f"sum(targets) as x from {rows} where round > 0 and ({where}) group by series, edge"
            for place, where in enumerate(parts.values())
        ]
        frame = runs.query(f"{' union all '.join(selects)} order by series, edge")
        members: dict[Hashable, list[int]] = {
            (label, part): [run * count + place for run in runs.members(label)]
            for label in runs.labels
            for place, part in enumerate(parts)
        }
        return Paired(runs, frame, members, count)

    return runs.remember(("parts", column, rows, *parts.items()), measure)


def control_accuracy(runs: Runs, column: str) -> Controls:
    """Return the accuracy of every label under every kind of control."""
    return runs.remember(("controls", column), lambda: Controls(runs, column))


class Controls(Paired):
    """Accuracy by label and kind of control: keys are (label, kind)."""

    def __init__(self, runs: Runs, column: str) -> None:
        frame = runs.query(f"""
            select run, kind, edge, sum({column}) as y, sum(targets) as x
            from controls where round > 0 group by run, kind, edge order by run, kind, edge
        """)
        self.kinds = ordered_kinds(set(frame["kind"]))
        places = {kind: place for place, kind in enumerate(self.kinds)}
        frame["series"] = frame["run"] * len(places) + frame["kind"].map(places).astype(int)
        found = set(frame["series"])
        members = {
            (label, kind): [
                run * len(places) + place
                for run in runs.members(label)
                if run * len(places) + place in found
            ]
            for label in runs.labels
            for kind, place in places.items()
        }
        self.measured = [key for key, series in members.items() if series]
        super().__init__(runs, frame, {key: members[key] for key in self.measured}, len(places))
        self.labels = [
            label for label in runs.labels if any(label == key[0] for key in self.measured)
        ]

    def of_label(self, label: str) -> list[tuple[str, str]]:
        """Return the keys measured for a label."""
        return [key for key in self.measured if key[0] == label]

    def loss(self, label: str, kind: str) -> Estimate | None:
        """Return own minus another kind, or None where either was not measured."""
        if {(label, "own"), (label, kind)} <= set(self.measured):
            return self.difference((label, "own"), (label, kind))
        return None


def ordered_kinds(kinds: Iterable[str]) -> list[str]:
    """Return kinds from the most personal on: own, older ones, another edge's, majority.

    >>> ordered_kinds({"majority", "lag20", "own", "lag5", "other"})
    ['own', 'lag5', 'lag20', 'other', 'majority']
    """
    ends = {"own": 0, "other": 10**9, "majority": 10**9 + 1}
    return sorted(kinds, key=lambda kind: ends[kind] if kind in ends else int(kind[3:]))
