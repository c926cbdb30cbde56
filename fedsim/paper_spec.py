"""A paper's table as a TOML file: its lines, the data sets and backbones they stand under.

A line is a row under one data set and one backbone, and at one value of what is swept. It
changes the scenario by what the table sets, then the data set, the backbone, the row, what
tuning chose for it, and the row's own ``on.DATA.BACKBONE``; later ones win.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field

from fedsim.scenario import Count, Section

Trial = dict[str, Any]
"""What a trial changes in the scenario, by dotted name; nothing leaves a row as it is."""
TUNED = ".tuned.toml"
"""How the file beside a table ends that holds what tuning chose."""


Counted = Literal["all", "known", "unseen"]
"""Whose accuracy counts: all edges', or those the cloud trained on, or never saw."""


class Cell(Section):
    """What one cell of a table adds to its row.

    Figures go by metric: ``ndcg_10``, ``hit_10``; ``param_mbit``, millions of bits of an answer,
    and ``flops_m``, millions of MACs of an inference; of a data set, what `Statistics` names.
    """

    set: dict[str, Any] = Field(default_factory=dict)
    """What it changes in the scenario, by dotted name."""
    paper: dict[str, float] = Field(default_factory=dict)
    """What the paper reports."""
    goal: dict[str, float] = Field(default_factory=dict)
    """What this project wants to reach."""


class PaperRow(Cell):
    """One row of a table."""

    label: str
    group: str = ""
    """Rows of one group are ranked under the same rule."""
    backbones: tuple[str, ...] = ()
    """The only backbones it has, if it has not all."""
    swept: bool = True
    """Whether it is run at every value of the sweep, or once."""
    tune: bool = True
    """Whether it has anything to tune."""
    trials: tuple[Trial, ...] = ()
    """Instead of the table's, and as many."""
    on: dict[str, dict[str, Cell]] = Field(default_factory=dict)
    """By data set and backbone: what is different there."""


class Place(Section):
    """A data set or a backbone of a table."""

    title: str = ""
    set: dict[str, Any] = Field(default_factory=dict)
    paper: dict[str, float] = Field(default_factory=dict)
    """What the paper says of a data set, where data sets are counted."""
    get: str = ""
    """How to get the data, where fedsim cannot fetch it."""
    edges: Counted | None = None
    """Whose accuracy counts here, if not as in the rest of the table."""


class Sweep(Section):
    """A number that rows are run at several values of."""

    key: str
    """Dotted name in the scenario."""
    values: Annotated[tuple[float, ...], Field(min_length=1)]
    title: str
    """What the number is, with its unit."""


class Tuning(Section):
    """How hyperparameters are chosen: every row tries as much, on validation only."""

    note: str = ""
    """What is said of hyperparameters below the table, tuned or not."""
    table: str = ""
    """Another table that has these rows too, and whose trials and choices are taken."""
    trials: tuple[Trial, ...] = ()
    """The same for all rows."""
    seeds: Count = 1
    """Runs of each trial."""
    hold_out: Count = 1
    """Newest items of each stream that no trial sees, the test among them."""


class PaperSpec(Section):
    """A table or figure of a paper."""

    title: str
    kind: Literal["accuracy", "statistics"] = "accuracy"
    """Rows that are run and ranked, or just data sets that are counted."""
    scenario: str
    seeds: Annotated[int, Field(ge=1)] = 3
    edges: Counted = "all"
    """Whose accuracy counts, where a data set says nothing else."""
    figures: tuple[str, ...] = ()
    """Figures of the package `analysis` that are drawn of every table's runs, beside its own."""
    dots: bool = True
    """Draw every metric of the rows, beside `figures`."""
    views: tuple[Literal["curves", "rows", "case"], ...] = ()
    """What else is looked at: validation by epoch; rows of masks that keep an element; a user
    served with an answer of its own and with another's (of the first pair of rows)."""
    tuning: Tuning = Tuning()
    set: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Place] = Field(default_factory=dict)
    backbones: dict[str, Place] = Field(default_factory=dict)
    sweep: Sweep | None = None
    rows: tuple[PaperRow, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    """Labels of rows whose difference, first minus second, is tested edge by edge."""

    def trials(self, row: PaperRow) -> tuple[Trial, ...]:
        """Return what is tried for a row."""
        return (row.trials or self.tuning.trials) if row.tune else ()

    def edges_of(self, data: str) -> Counted:
        """Return whose accuracy counts on a data set."""
        place = self.data.get(data)
        return (place.edges if place else None) or self.edges

    def changes(self, data: str = "", backbone: str = "") -> dict[str, object]:
        """Return what all rows change under a data set and a backbone."""
        places = [self.data.get(data), self.backbones.get(backbone)]
        made = dict(self.set) | ({"model.name": backbone} if backbone else {})
        for place in [place for place in places if place]:
            made |= place.set
        return made


@dataclass(frozen=True, slots=True)
class Line:
    """A row in one place: what is run, and what the paper says of it."""

    row: PaperRow
    data: str
    backbone: str
    x: float | None
    label: str
    """Tells it from all other lines of the table."""
    plain: Mapping[str, object]
    """What the table, the places and the row change."""
    special: Mapping[str, object]
    """What is changed after that, and after tuning: here alone, or by the sweep."""
    paper: Mapping[str, float]
    goal: Mapping[str, float]
    tuned: Mapping[str, object] | None = None
    """What tuning chose, if it did."""

    @property
    def changes(self) -> dict[str, object]:
        """What it changes in the scenario, by dotted name."""
        return {**self.plain, **(self.tuned or {}), **self.special}

    @property
    def spot(self) -> tuple[str, str, str, float | None]:
        """Row, data set, backbone and swept number: tells it from all other lines too."""
        return self.row.label, self.data, self.backbone, self.x

    @property
    def method(self) -> str:
        """The row's label, with the swept number if there is one."""
        return _joined(self.row.label, self.x)


def lines_of(
    spec: PaperSpec,
    data: Mapping[str, Mapping[str, object]],
    backbones: Sequence[str],
    labels: Iterable[str],
) -> list[Line]:
    """Return the lines of some rows, data set by data set and backbone by backbone.

    Parameters
    ----------
    spec
        The table.
    data
        Data sets, and what each changes in the scenario beyond what the table says.
    backbones
        Names; one the table does not have is run as it is, and beside no figure.
    labels
        Of the rows.
    """
    rows = [row for row in spec.rows if row.label in set(labels)]
    made = []
    for name, backbone, row in product(data, backbones, rows):
        if not row.backbones or backbone in ("", *row.backbones):
            made += list(_lines(spec, row, name, backbone, data[name]))
    return made


def _lines(
    spec: PaperSpec, row: PaperRow, data: str, backbone: str, extra: Mapping[str, object]
) -> Iterator[Line]:
    cell = row.on.get(data, {}).get(backbone, Cell())
    here = cell.set | dict(extra)
    shown = [name for name, known in ((data, spec.data), (backbone, spec.backbones)) if known]
    sweep = spec.sweep if row.swept else None
    for x in sweep.values if sweep else (None,):
        yield Line(
            row=row,
            data=data,
            backbone=backbone,
            x=x,
            label=_joined(row.label, x, *shown),
            plain=spec.changes(data, backbone) | row.set,
            special=here | ({sweep.key: x} if sweep else {}),
            paper=row.paper | cell.paper,
            goal=row.goal | cell.goal,
        )


def _joined(label: str, x: float | None, *places: str) -> str:
    number = () if x is None else (f"{x:g}",)
    return ", ".join([" ".join([label, *number]), *places])
