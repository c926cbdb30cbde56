"""A paper's table as a file: the lines to run, what the paper says of each, pairs to test."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from fedsim.engine.run import Run
from fedsim.errors import ConfigError, nearest
from fedsim.explain import explain
from fedsim.scenario import Section, load_scenario
from fedsim.study import Tell, Variant, choose, run_variants


class PaperRow(Section):
    """One line of a table."""

    label: str
    group: str = ""
    """Lines of one group are ranked under the same rule."""
    set: dict[str, Any] = Field(default_factory=dict)
    """What it changes in the scenario, by dotted name."""
    paper: dict[str, float] = Field(default_factory=dict)
    """What the paper reports, by metric: ``ndcg_10``, ``hit_10``."""
    goal: dict[str, float] = Field(default_factory=dict)
    """What this project wants to reach, by metric."""


class PaperSpec(Section):
    """A table: a scenario, what all lines change in it, the lines."""

    title: str
    scenario: str
    seeds: int = 3
    set: dict[str, Any] = Field(default_factory=dict)
    rows: tuple[PaperRow, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    """Labels whose difference, first minus second, is tested edge by edge."""


@dataclass(frozen=True, slots=True)
class PaperRuns:
    """A table's spec and its runs, by label."""

    spec: PaperSpec
    runs: dict[str, list[Run]]


def paper_specs() -> dict[str, Path]:
    """Return the tables that come with fedsim, by name."""
    folder = Path(str(importlib.import_module("scenarios").__file__)).parent / "papers"
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


def load_paper(name: str) -> PaperSpec:
    """Return a table by name, or from a TOML file.

    Raises
    ------
    ConfigError
        There is no such table, or its file is wrong.
    """
    specs = paper_specs()
    file = Path(name) if name.endswith(".toml") else specs.get(name)
    if file is None or not file.is_file():
        raise ConfigError(f"no paper table '{name}'; {nearest(name, specs)}")
    try:
        table = tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    try:
        spec = PaperSpec.model_validate(table)
    except ValidationError as error:
        raise ConfigError(f"{file}: {explain(error, table, PaperSpec)}") from error
    _check_labels(file, spec)
    return spec


def _check_labels(file: Path, spec: PaperSpec) -> None:
    labels = [row.label for row in spec.rows]
    if len(set(labels)) != len(labels):
        raise ConfigError(f"{file}: rows need distinct labels, got {labels}")
    for label in (label for pair in spec.pairs for label in pair):
        if label not in labels:
            raise ConfigError(f"{file}: 'pairs' names no row '{label}'; {nearest(label, labels)}")


def paper(
    name: str,
    *,
    data: str | Path | None = None,
    seeds: int | None = None,
    labels: Sequence[str] | None = None,
    out: str | Path = "runs",
    jobs: int | None = None,
    tell: Tell | None = None,
) -> PaperRuns:
    """Run a paper's table, or go on with it, in ``OUT/paper/NAME``.

    Parameters
    ----------
    name
        A table's name or file.
    data
        Where its data set is, if not where the scenario says.
    seeds
        Runs of each line; the table's own number when unset.
    labels
        Only these lines.
    jobs
        Runs side by side; the number of cores when unset.

    Raises
    ------
    FedsimError
        Data is missing, a label is unknown, or a run failed; finished runs are kept.
    """
    spec = load_paper(name)
    shared = dict(spec.set) | ({"data.path": str(data)} if data else {})
    scenario = load_scenario(spec.scenario, changes=shared)
    chosen = choose(labels, [Variant(row.label, row.set) for row in spec.rows])
    count = spec.seeds if seeds is None else seeds
    folder = Path(out) / "paper" / Path(name).stem
    runs = run_variants(scenario, chosen, seeds=count, folder=folder, jobs=jobs, tell=tell)
    by_label = {
        variant.label: runs[index * count : (index + 1) * count]
        for index, variant in enumerate(chosen)
    }
    return PaperRuns(spec, by_label)
