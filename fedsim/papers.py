"""Runs a paper's table: its lines, where there is data for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedsim import plugins
from fedsim.data.base import Dataset
from fedsim.data.stats import Statistics, statistics
from fedsim.engine.run import Run
from fedsim.errors import ConfigError, DataError, nearest
from fedsim.job import Tell
from fedsim.paper_spec import Line, PaperSpec, lines_of
from fedsim.paper_toml import load_paper, paper_file
from fedsim.scenario import ScenarioConfig, build, load_scenario
from fedsim.study import Variant, run_variants
from fedsim.tuned import load_tuned, said


@dataclass(frozen=True, slots=True)
class Plan:
    """A table, and its lines whose data is there."""

    name: str
    spec: PaperSpec
    base: ScenarioConfig
    lines: list[Line]
    found: dict[str, Dataset]
    missing: dict[str, str]
    """Data sets that are not there, and how to get them."""


@dataclass(frozen=True, slots=True)
class PaperRuns:
    """A table, its lines whose data is there, and what was found."""

    name: str
    spec: PaperSpec
    folder: Path
    lines: list[Line]
    runs: dict[str, list[Run]]
    """By the lines' labels."""
    counted: dict[str, Statistics]
    """Of a table of data sets: what each of them is."""
    missing: dict[str, str]
    """Data sets that are not there, and how to get them."""
    tuned: str
    """What is said of tuning: its budget, and which lines had none."""


def paper(
    name: str,
    *,
    data: str | Path | Sequence[str] | None = None,
    backbones: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    seeds: int | None = None,
    out: str | Path = "runs",
    jobs: int | None = None,
    ray_address: str | None = None,
    tell: Tell | None = None,
) -> PaperRuns:
    """Run a paper's table, or go on with it, in ``OUT/paper/NAME``.

    What was chosen in a file ``NAME.tuned.toml`` beside the table's (see `fedsim.tuning.tune`)
    is set in its lines.

    Parameters
    ----------
    name
        A table's name or file.
    data
        Only these data sets of the table, each ``NAME`` or ``NAME=PATH``; or, of a table that
        names none, where its data set is. Unset: all that are there.
    backbones
        Instead of those of the table.
    methods
        Only the rows of these labels, in any case of letters.
    seeds
        Runs of each line; the table's own number when unset.
    jobs
        Runs side by side; the number of cores when unset.
    ray_address
        A Ray cluster to compute the runs on, as `fedsim.study.run_variants` tells; unset: this
        machine.
    tell
        Told a line when a run begins or ends, as `fedsim.study.compare` tells, and of data that
        is missing.

    Raises
    ------
    FedsimError
        No data set is there, a name is unknown, or a run failed; finished runs are kept.
    """
    made = plan(name, data=data, backbones=backbones, methods=methods, tell=tell)
    spec, tuned = made.spec, load_tuned(paper_file(name), made.spec)
    lines = [tuned.applied(spec, line) if tuned else line for line in made.lines]
    count = spec.seeds if seeds is None else seeds
    folder = Path(out) / "paper" / made.name
    variants = [Variant(line.label, line.changes) for line in lines]
    runs: list[Run] = []
    if variants:
        if tell:
            tell(f"runs are kept in {folder.resolve()}")
        runs = run_variants(
            made.base,
            variants,
            seeds=count,
            folder=folder,
            jobs=jobs,
            ray_address=ray_address,
            tell=tell,
        )
    return PaperRuns(
        name=made.name,
        spec=spec,
        folder=folder,
        lines=lines,
        runs={
            line.label: runs[index * count : (index + 1) * count]
            for index, line in enumerate(lines)
        },
        counted={name: statistics(dataset)[0] for name, dataset in made.found.items()},
        missing=made.missing,
        tuned=said(made.name, spec, lines, tuned),
    )


def plan(
    name: str,
    *,
    data: str | Path | Sequence[str] | None = None,
    backbones: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    tell: Tell | None = None,
) -> Plan:
    """Return a table's lines whose data is there; the parameters are those of `paper`.

    Raises
    ------
    FedsimError
        No data set is there, or a name is unknown.
    """
    spec = load_paper(name)
    base, chosen = load_scenario(spec.scenario), _data(spec, data)
    lines = lines_of(
        spec, chosen, list(backbones or spec.backbones or [""]), _labels(spec, methods)
    )
    wanted = {line.data: line.changes for line in reversed(lines)}
    if spec.kind == "statistics":
        wanted = {name: spec.changes(name) | extra for name, extra in chosen.items()}
    elif not lines:
        raise ConfigError(_no_lines(name, spec, _labels(spec, methods)))
    found, missing = _found(spec, base, wanted)
    if tell:
        for text in missing.values():
            tell(text)
    lines = [line for line in lines if line.data in found]
    return Plan(Path(name).stem, spec, base, lines, found, missing)


def _data(
    spec: PaperSpec, given: str | Path | Sequence[str] | None
) -> dict[str, dict[str, object]]:
    """Return the data sets to take, and what each changes beyond the table."""
    texts = [str(given)] if isinstance(given, str | Path) else list(given or ())
    if not spec.data:
        if len(texts) > 1:
            raise ConfigError(f"this table has one data set, got paths of several: {texts}")
        return {"": {"data.path": texts[0]} if texts else {}}
    chosen: dict[str, dict[str, object]] = {}
    for text in texts or spec.data:
        name, equals, path = text.partition("=")
        if name not in spec.data:
            raise ConfigError(
                f"this table has no data set '{name}'; {nearest(name, spec.data)}; say where "
                "one is as NAME=PATH"
            )
        chosen[name] = {"data.path": path} if equals else {}
    return chosen


def _labels(spec: PaperSpec, given: Sequence[str] | None) -> list[str]:
    """Return the labels of the rows asked for, whatever their case."""
    known = {row.label.casefold(): row.label for row in spec.rows}
    for label in given or ():
        if label.casefold() not in known:
            raise ConfigError(f"no method '{label}'; {nearest(label, known.values())}")
    return [known[label.casefold()] for label in given] if given else list(known.values())


def _no_lines(name: str, spec: PaperSpec, labels: Sequence[str]) -> str:
    """Return what is said where no row has any backbone that is asked for."""
    has = (
        f"row '{row.label}' has {', '.join(row.backbones)} alone"
        for row in spec.rows
        if row.label in labels and row.backbones
    )
    return f"{name}: no line is left: {'; '.join(has)}; give --backbone one of these"


def _found(
    spec: PaperSpec, base: ScenarioConfig, wanted: Mapping[str, Mapping[str, object]]
) -> tuple[dict[str, Dataset], dict[str, str]]:
    """Return the data sets that are there, and of the others how to get them.

    `wanted` says what each changes in the scenario.

    Raises
    ------
    DataError
        None is there.
    """
    found: dict[str, Dataset] = {}
    missing: dict[str, str] = {}
    for name, changes in wanted.items():
        table = base.model_dump(mode="json", exclude_none=True)
        scenario = build(table, changes, source=name or spec.title)
        try:
            made = plugins.load("datasets", scenario.data.name)(scenario.data, scenario)
        except DataError as error:
            place = spec.data.get(name)
            parts = [f"{name}: {error}" if name else str(error), place.get if place else ""]
            parts += [f"or say where it is by --data {name}=PATH"] if name else []
            missing[name] = "; ".join(part for part in parts if part)
        else:
            found[name] = made
    if not found:
        raise DataError("; ".join(missing.values()))
    return found, missing
