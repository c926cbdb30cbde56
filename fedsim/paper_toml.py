"""Finds and reads the files of papers' tables, and refuses those that do not make sense."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from fedsim.errors import ConfigError, nearest
from fedsim.explain import explain
from fedsim.paper_spec import TUNED, PaperSpec
from fedsim.scenario import Section, read_table

TUNABLE = ("model.", "strategy.", "train.")
"""Sections with hyperparameters: the others are the protocol, the same for all rows."""

T = TypeVar("T", bound=Section)


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
    spec = _as_written(name)
    return _tuned_elsewhere(paper_file(name), spec) if spec.tuning.table else spec


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


def _as_written(name: str) -> PaperSpec:
    file = paper_file(name)
    spec = read_toml(file, PaperSpec)
    _check_names(file, spec)
    _check_trials(file, spec)
    if spec.tuning.table.endswith(".toml"):
        tuning = spec.tuning.model_copy(update={"table": str(file.parent / spec.tuning.table)})
        return spec.model_copy(update={"tuning": tuning})
    return spec


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


def _tuned_elsewhere(file: Path, spec: PaperSpec) -> PaperSpec:
    """Return a table with the budget of the one that tunes it."""
    other = _as_written(spec.tuning.table)
    if spec.tuning.trials or other.tuning.table:
        raise ConfigError(
            f"{file}: tuning.table = '{spec.tuning.table}' takes that table's trials, but "
            f"{'this one' if spec.tuning.trials else 'it'} has "
            f"{'trials of its own' if spec.tuning.trials else 'none of its own'}; leave out one"
        )
    rows = []
    for row in spec.rows:
        same = [each for each in other.rows if (each.label, each.set) == (row.label, row.set)]
        if not same:
            raise ConfigError(
                f"{file}: row '{row.label}' is to be tuned by table '{spec.tuning.table}', which "
                "has no row of that label with the same 'set'; give it one"
            )
        rows.append(row.model_copy(update={"tune": same[0].tune, "trials": same[0].trials}))
    names = ("trials", "seeds", "hold_out")
    budget = {name: getattr(other.tuning, name) for name in names}
    tuning = spec.tuning.model_copy(update=budget)
    return spec.model_copy(update={"tuning": tuning, "rows": tuple(rows)})
