"""Tunes a paper's table: the same trials for every row, judged on validation alone.

A trial is a run of the line with the newest items held out (`stream.hold_out`), so that what
it predicts lies before the test, and the test is not there at all. The trial with the best
mean NDCG@10 is chosen; of equals the first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

from fedsim.engine.run import Run
from fedsim.errors import ConfigError, RunError
from fedsim.files import write_atomic
from fedsim.job import Tell
from fedsim.paper_spec import TUNED, Line, PaperSpec, Trial, lines_of
from fedsim.papers import plan
from fedsim.scenario import ScenarioConfig, build
from fedsim.study import Variant, run_variants
from fedsim.tuned import Chosen, Tuned, settings_of

METRIC = "ndcg_10"


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial of a line, and what it reached."""

    row: str
    data: str
    backbone: str
    x: float | None
    settings: str
    """Names what the line is set to otherwise."""
    trial: int
    """From 1."""
    set: Trial
    ndcg_10: float
    """Mean over seeds."""
    chosen: bool

    @property
    def spot(self) -> tuple[str, str, str, float | None]:
        """The line's `Line.spot`."""
        return self.row, self.data, self.backbone, self.x


@dataclass(frozen=True, slots=True)
class Tunings:
    """A table's trials, line by line."""

    spec: PaperSpec
    folder: Path
    tried: list[Tried]
    missing: dict[str, str]
    """Data sets that are not there, and how to get them."""
    file: Path
    """What was chosen, to be put beside the table."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One trial of a line, before it is run."""

    line: Line
    trial: int
    set: Trial
    changes: dict[str, object]

    @property
    def label(self) -> str:
        return f"{self.line.label}, trial {self.trial}"


def tune(
    name: str,
    *,
    data: str | Path | Sequence[str] | None = None,
    backbones: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    out: str | Path = "runs",
    jobs: int | None = None,
    ray_address: str | None = None,
    tell: Tell | None = None,
) -> Tunings:
    """Try every trial of every line of a table, or go on with it, in ``OUT/paper/NAME/tuning``.

    Writes ``tuning.json``, all trials, and ``NAME.tuned.toml``, what was chosen, for the folder
    of the table. Lines that an earlier command tuned by the same trials stay in both. The
    parameters are those of `fedsim.papers.paper`.

    Raises
    ------
    FedsimError
        There is nothing to tune, a trial is wrong, or a run failed; finished runs are kept.
    """
    made = plan(name, data=data, backbones=backbones, methods=methods, tell=tell)
    spec, folder = made.spec, Path(out) / "paper" / made.name / "tuning"
    if spec.tuning.table:
        raise ConfigError(
            f"{name}: its rows are tuned by another table; tune that: "
            f"fedsim paper {spec.tuning.table} --tune"
        )
    attempts = _attempts(name, spec, made.base, made.lines)
    earlier = _earlier(folder, spec, {line.spot for line in made.lines})
    variants = [Variant(each.label, each.changes) for each in attempts]
    count = spec.tuning.seeds
    runs = run_variants(
        made.base,
        variants,
        seeds=count,
        folder=folder,
        jobs=jobs,
        ray_address=ray_address,
        tell=tell,
    )
    scores = [
        fmean(_score(run, spec.edges_of(each.line.data)) for run in runs[index * count :][:count])
        for index, each in enumerate(attempts)
    ]
    tried = earlier + _judged(spec, attempts, scores)
    file = folder / f"{made.name}{TUNED}"
    _write(folder, file, spec, tried)
    return Tunings(spec, folder, tried, made.missing, file)


def _attempts(
    name: str, spec: PaperSpec, base: ScenarioConfig, lines: Sequence[Line]
) -> list[_Attempt]:
    """Return the trials of all lines, checked before anything is run."""
    table, attempts = base.model_dump(mode="json", exclude_none=True), []
    wrong: dict[str, dict[str, None]] = {}
    for line in lines:
        for number, trial in enumerate(spec.trials(line.row), 1):
            changes = replace(line, tuned=trial).changes
            try:
                hold_out = _hold_out(build(table, changes, f"trial {number}"), spec)
            except ConfigError as error:
                wrong.setdefault(str(error), {})[line.row.label] = None
                continue
            attempts.append(_Attempt(line, number, trial, changes | hold_out))
    if wrong:
        texts = (f"{text} (row {', '.join(rows)})" for text, rows in wrong.items())
        raise ConfigError(f"{name}: {'. '.join(texts)}")
    if not attempts:
        raise ConfigError(
            f"{name}: nothing to tune; give the table trials, as in [tuning] trials = "
            "[{}, {'train.lr' = 0.003}], and name rows without tune = false"
        )
    return attempts


def _hold_out(scenario: ScenarioConfig, spec: PaperSpec) -> dict[str, object]:
    """Return what hides the test of a scenario."""
    stream = scenario.stream
    if stream.history != "leave_one_out":
        raise ConfigError(
            f"stream.history = {stream.history}: only the test of 'leave_one_out' is all in the "
            f"newest items, and hidden from tuning by holding them out; set it, or tune nothing"
        )
    if 10 not in scenario.evaluation.ks:
        raise ConfigError(
            f"evaluation.ks = {list(scenario.evaluation.ks)}: tuning goes by NDCG@10; add 10"
        )
    return {"stream.hold_out": stream.hold_out + spec.tuning.hold_out}


def _score(run: Run, edges: str) -> float:
    """Return the NDCG@10 of a run's targets, those of the edges that count."""
    ledger = run.ledger
    if edges != "all":
        ood = run.edges.set_index("edge")["ood"].loc[ledger["edge"]].to_numpy()
        ledger = ledger[ood == (edges == "unseen")]
    targets = int(ledger["targets"].sum())
    if not targets:
        raise RunError(f"{run.path}: no target of the table's edges = '{edges}' to tune on")
    return float(ledger[METRIC].sum()) / targets


def _judged(spec: PaperSpec, attempts: Sequence[_Attempt], scores: Sequence[float]) -> list[Tried]:
    """Return what was tried; of each line the first trial of the best score is chosen."""
    best: dict[str, tuple[float, int]] = {}
    for each, score in zip(attempts, scores, strict=True):
        label, known = each.line.label, best.get(each.line.label)
        if known is None or score > known[0]:
            best[label] = (score, each.trial)
    return [
        Tried(
            *each.line.spot,
            settings=settings_of(spec, each.line),
            trial=each.trial,
            set=each.set,
            ndcg_10=score,
            chosen=best[each.line.label][1] == each.trial,
        )
        for each, score in zip(attempts, scores, strict=True)
    ]


def _budget(spec: PaperSpec) -> dict[str, object]:
    """Return the budget, JSON-like; what is tried is the same where it is."""
    own = {row.label: list(row.trials) for row in spec.rows if row.trials}
    return {
        "trials": list(spec.tuning.trials),
        "trials_of_rows": own,
        "seeds": spec.tuning.seeds,
        "hold_out": spec.tuning.hold_out,
        "edges": spec.edges,
    }


def _earlier(
    folder: Path, spec: PaperSpec, spots: set[tuple[str, str, str, float | None]]
) -> list[Tried]:
    """Return what was tried before with the same budget, but for lines that are tried now."""
    file = folder / "tuning.json"
    if not file.is_file():
        return []
    try:
        table = json.loads(file.read_text())
        same = table["budget"] == _budget(spec)
        tried = [Tried(**row) for row in table["tried"]] if same else []
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"{file}: not what tuning wrote: {error!r}; delete it, finished runs are kept"
        ) from error
    return [each for each in tried if each.spot not in spots and _holds(spec, each)]


def _holds(spec: PaperSpec, tried: Tried) -> bool:
    """Return whether the table still has a line, as it was tried, and that trial of it."""
    row = {row.label: row for row in spec.rows}.get(tried.row)
    if row is None or tried.set not in spec.trials(row)[tried.trial - 1 : tried.trial]:
        return False
    lines = lines_of(spec, {tried.data: {}}, [tried.backbone], [tried.row])
    return any(
        (line.spot, settings_of(spec, line)) == (tried.spot, tried.settings) for line in lines
    )


def _write(folder: Path, file: Path, spec: PaperSpec, tried: Sequence[Tried]) -> None:
    record = {"title": spec.title, "budget": _budget(spec), "tried": list(map(asdict, tried))}
    write_atomic(folder / "tuning.json", json.dumps(record, indent=2, allow_nan=False) + "\n")
    Tuned(
        trials=len(spec.tuning.trials),
        seeds=spec.tuning.seeds,
        hold_out=spec.tuning.hold_out,
        lines=tuple(
            Chosen(
                row=e.row,
                data=e.data,
                backbone=e.backbone,
                x=e.x,
                settings=e.settings,
                trial=e.trial,
                set=e.set,
            )
            for e in tried
            if e.chosen
        ),
    ).write(file)
