"""A paper's table as a TOML file: its lines, the data sets and backbones they stand under.

A line is a row under one data set and one backbone, and at one value of what is swept. It
changes the scenario by what the table sets, then the data set, the backbone, the row, what
tuning chose for it, and the row's own ``on.DATA.BACKBONE``; later ones win.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from fedsim.errors import ConfigError, nearest
from fedsim.explain import explain
from fedsim.scenario import Count, Section, read_table

Trial = dict[str, Any]
"""What a trial changes in the scenario, by dotted name; nothing leaves a row as it is."""
TUNED = ".tuned.toml"
"""How the file beside a table ends that holds what tuning chose."""
TUNABLE = ("model.", "strategy.", "train.")
"""Sections with hyperparameters: the others are the protocol, the same for all rows."""


T = TypeVar("T", bound=Section)


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
    edges: Literal["all", "known", "unseen"] = "all"
    """Whose accuracy counts: all edges', or those the cloud trained on, or never saw."""
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


def paper_specs() -> dict[str, Path]:
    """Return the tables that come with fedsim, by name."""
    folder = Path(str(importlib.import_module("scenarios").__file__)).parent / "papers"
    files = sorted(folder.glob("*.toml"))
    return {file.stem: file for file in files if not file.name.endswith(TUNED)}


def paper_file(name: str) -> Path:
    """Return the file of a table, by its name or its own.

    Raises
    ------
    ConfigError
        There is no such table.
    """
    specs = paper_specs()
    file = Path(name) if name.endswith(".toml") else specs.get(name)
    if file is None or not file.is_file():
        raise ConfigError(f"no paper table '{name}'; {nearest(name, specs)}")
    return file


def load_paper(name: str) -> PaperSpec:
    """Return a table by name, or from a TOML file.

    Raises
    ------
    ConfigError
        There is no such table, or its file is wrong.
    """
    file = paper_file(name)
    spec = read_toml(file, PaperSpec)
    _check_names(file, spec)
    _check_trials(file, spec)
    return spec


def read_toml(file: Path, model: type[T]) -> T:
    """Return what a TOML file says, as a model.

    Raises
    ------
    ConfigError
        It cannot be read, is no TOML, or a key, type or range is wrong.
    """
    table = read_table(file)
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise ConfigError(f"{file}: {explain(error, table, model)}") from error


def _check_names(file: Path, spec: PaperSpec) -> None:
    labels = [row.label for row in spec.rows]
    if len(set(labels)) != len(labels):
        raise ConfigError(f"{file}: rows need distinct labels, got {labels}")
    for label in (label for pair in spec.pairs for label in pair):
        if label not in labels:
            raise ConfigError(f"{file}: 'pairs' names no row '{label}'; {nearest(label, labels)}")
    for row in spec.rows:
        named = [*row.backbones, *(name for inner in row.on.values() for name in inner)]
        for known, names in ((spec.data, row.on), (spec.backbones, named)):
            for name in names:
                if name not in known:
                    raise ConfigError(
                        f"{file}: row '{row.label}' names '{name}', which the table does not "
                        f"have; {nearest(name, known)}"
                    )


def _check_trials(file: Path, spec: PaperSpec) -> None:
    count = len(spec.tuning.trials)
    for row in spec.rows:
        if row.trials and len(row.trials) != count:
            raise ConfigError(
                f"{file}: row '{row.label}' has {len(row.trials)} trials and the table {count}; "
                f"all rows are tuned with the same budget: give it {count}, or leave them out"
            )
        if row.trials and not row.tune:
            raise ConfigError(
                f"{file}: row '{row.label}' has trials, but tune = false; leave out one of them"
            )
    trials = [*spec.tuning.trials, *(trial for row in spec.rows for trial in row.trials)]
    names = dict.fromkeys(name for trial in trials for name in trial)
    wrong = [n for n in names if not n.startswith(TUNABLE) or n in ("model.name", "strategy.name")]
    if wrong:
        raise ConfigError(
            f"{file}: trials set {', '.join(wrong)}; they may set options in train, model and "
            "strategy only, as what is ranked and how is the same for all rows: set it for the row"
        )
