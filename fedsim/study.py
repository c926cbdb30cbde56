"""Studies of several runs: strategies compared on the same streams, a paper's table.

A study is a folder with one run directory for each variant and seed. A run found there is
not run again: a finished one is taken as it is, an unfinished one goes on. Runs are
independent and computed on one thread each, so several go on side by side in processes of
their own, or on a Ray cluster, and the ledgers depend neither on where nor on how many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fedsim import plugins
from fedsim.cores import usable_cores
from fedsim.edges.side import make_setting
from fedsim.engine.directory import changed_since
from fedsim.engine.run import Run
from fedsim.errors import ConfigError, nearest
from fedsim.folders import write_study
from fedsim.job import Job, Tell
from fedsim.population import Population
from fedsim.processes import side_by_side
from fedsim.scenario import ScenarioConfig, build, digest, load_scenario

Compute = Callable[[Sequence[Job], int, Tell], Iterator[tuple[Path, Run]]]


@dataclass(frozen=True, slots=True)
class Variant:
    """One line of a study: its label and what it changes in the scenario, by dotted name."""

    label: str
    changes: Mapping[str, object] = field(default_factory=dict)


def compare(
    scenario: ScenarioConfig | str | Path,
    strategies: Sequence[str],
    *,
    options: Mapping[str, object] | None = None,
    seeds: int = 1,
    out: str | Path = "runs",
    jobs: int | None = None,
    ray_address: str | None = None,
    tell: Tell | None = None,
) -> list[Run]:
    """Run strategies on the same streams and return their runs, strategy by strategy.

    Parameters
    ----------
    scenario
        What they share, or its path or name; a strategy named there keeps its options.
    strategies
        Names, each once.
    options
        Options of strategies, as in ``{"keep": 0.2}``; each is set for all that have it.
    seeds
        Repeat with ``scenario.seed``, ``scenario.seed + 1``, …; each seed has its own
        streams, the same for all strategies.
    out
        Folder for the study ``OUT/NAME/compare``.
    jobs
        Runs side by side; the number of cores when unset.
    ray_address
        A Ray cluster to compute the runs on, as `run_variants` tells; unset: this machine.
    tell
        Told a line when a run begins, of runs one by one, or ends, of runs side by side.

    Raises
    ------
    FedsimError
        A strategy is unknown, none has an option, or a run failed; the finished ones are kept.
    """
    if len(set(strategies)) != len(strategies) or not strategies:
        raise ConfigError(f"strategies to compare must be named once each, got {list(strategies)}")
    if not isinstance(scenario, ScenarioConfig):
        scenario = load_scenario(scenario)
    variants = _variants(strategies, options or {}, tell)
    folder = Path(out) / scenario.name / "compare"
    return run_variants(
        scenario,
        variants,
        seeds=seeds,
        folder=folder,
        jobs=jobs,
        ray_address=ray_address,
        tell=tell,
    )


def _variants(
    strategies: Sequence[str], options: Mapping[str, object], tell: Tell | None
) -> list[Variant]:
    """Return a variant for each strategy, with the options that it has."""
    has = {name: plugins.load("strategies", name).Config.model_fields for name in strategies}
    for option in options:
        without = [name for name in strategies if option.partition(".")[0] not in has[name]]
        if len(without) == len(strategies):
            known = {known for fields in has.values() for known in fields} - {"name"}
            raise ConfigError(
                f"no strategy here has an option '{option}'; {nearest(option, known)}"
            )
        if without and tell:
            tell(f"strategy.{option} is left out where there is none: {', '.join(without)}")
    return [
        Variant(
            name,
            {"strategy.name": name}
            | {f"strategy.{o}": v for o, v in options.items() if o.partition(".")[0] in has[name]},
        )
        for name in strategies
    ]


def run_variants(
    scenario: ScenarioConfig,
    variants: Sequence[Variant],
    *,
    seeds: int,
    folder: Path,
    jobs: int | None = None,
    ray_address: str | None = None,
    tell: Tell | None = None,
) -> list[Run]:
    """Run every variant with every seed in a study's folder; return the runs in order.

    Seeds count up from the scenario's own, or from that which a variant sets.
    The folder says which runs are this study's, for reports of it.

    With `ray_address` (``host:port``, ``ray://…``, ``auto``, or ``local`` for a Ray of this
    machine) each run is a Ray task of one core, and what a scenario's `engine` says is not
    heeded. At most `jobs` are begun at a time; unset, as many as the cluster has cores. All its
    machines share the folder, under the same path.

    Raises
    ------
    FedsimError
        No cluster answers at `ray_address`, a machine of it does not see the folder, or a run
        failed; finished runs are kept.
    """
    if seeds < 1:
        raise ConfigError(f"seeds = {seeds}: give at least 1")
    todo = [
        _job(scenario, variant, number, folder.resolve())
        for variant in variants
        for number in range(seeds)
    ]
    _refuse_early(todo[::seeds])
    with _means(ray_address, jobs, len(todo)) as (run, count):
        write_study(folder, (job.path for job in todo))
        tell = tell or (lambda _: None)
        for job in todo:
            if changed := changed_since(job.path, job.scenario):
                tell(
                    f"{job.title}: what is in {job.path} was begun with other "
                    f"{changed}; it is taken as it is, delete it to run it anew"
                )
        done = dict(run(todo, count, tell))
    return [done[job.path] for job in todo]


@contextmanager
def _means(ray_address: str | None, jobs: int | None, runs: int) -> Iterator[tuple[Compute, int]]:
    """Yield what computes the runs of a study, and how many at a time."""
    if ray_address is None:
        count = min(jobs or usable_cores(), runs)
        yield _one_by_one if count == 1 else side_by_side, count
        return
    from fedsim.engine.ray_tasks import on_ray, ray_at  # Ray takes a second to import

    with ray_at(ray_address, jobs, runs):
        yield on_ray, jobs or runs


def _refuse_early(jobs: Iterable[Job]) -> None:
    """Make the strategies of what is not begun: what cannot be is told before anything is run."""
    known, population = "", None
    for job in jobs:
        if job.path.exists():
            continue
        scenario = job.scenario
        apart = {"strategy", "model", "train", "evaluation", "controls", "engine"}
        data = digest(scenario.model_dump(mode="json", exclude=apart))
        if population is None or data != known:
            known, population = data, Population(scenario)
        made = plugins.load("strategies", scenario.strategy.name)
        made(scenario.strategy, make_setting(scenario, population, None))


def _job(scenario: ScenarioConfig, variant: Variant, number: int, folder: Path) -> Job:
    table = scenario.model_dump(mode="json", exclude_none=True)
    config = build(table, variant.changes, variant.label)
    seed = config.seed + number
    config = config.model_copy(update={"seed": seed})
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", variant.label).strip("-")
    path = folder / f"{name}-s{seed}-{config.identity()[:8]}"
    return Job(variant.label, seed, config, path)


def _one_by_one(jobs: Iterable[Job], _: int, tell: Tell) -> Iterator[tuple[Path, Run]]:
    for job in jobs:
        tell(job.title)
        yield job.path, job.finish()
