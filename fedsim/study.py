"""Studies of several runs: strategies compared on the same streams, a paper's table.

A study is a folder with one run directory for each variant and seed. A run found there is
not run again: a finished one is taken as it is, an unfinished one goes on. Runs are
independent and computed on one thread each, so several go on side by side in processes of
their own, and the ledgers do not depend on how many.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from fedsim.cores import usable_cores
from fedsim.display import Display, console
from fedsim.engine.directory import changed_since, open_run_dir
from fedsim.engine.run import Run, resume
from fedsim.errors import ConfigError, RunError
from fedsim.folders import write_study
from fedsim.scenario import ScenarioConfig, build, load_scenario

Tell = Callable[[str], None]

GRACE_S = 5.0
"""How long a run's process may take to leave when it is asked to."""

LEFT = 130
"""Exit code of a process that was asked to leave."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One line of a study: its label and what it changes in the scenario, by dotted name."""

    label: str
    changes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a study."""

    label: str
    seed: int
    scenario: ScenarioConfig
    path: Path


def compare(
    scenario: ScenarioConfig | str | Path,
    strategies: Sequence[str],
    *,
    seeds: int = 1,
    out: str | Path = "runs",
    jobs: int | None = None,
    tell: Tell | None = None,
) -> list[Run]:
    """Run strategies on the same streams and return their runs, strategy by strategy.

    Parameters
    ----------
    scenario
        What they share, or its path or name; a strategy named there keeps its options.
    strategies
        Names, each once.
    seeds
        Repeat with ``scenario.seed``, ``scenario.seed + 1``, …; each seed has its own
        streams, the same for all strategies.
    out
        Folder for the study ``OUT/NAME/compare``.
    jobs
        Runs side by side; the number of cores when unset.
    tell
        Told a line when a run begins and ends.

    Raises
    ------
    FedsimError
        A strategy is unknown, or a run failed; the finished ones are kept.
    """
    if len(set(strategies)) != len(strategies) or not strategies:
        raise ConfigError(f"strategies to compare must be named once each, got {list(strategies)}")
    if not isinstance(scenario, ScenarioConfig):
        scenario = load_scenario(scenario)
    variants = [Variant(name, {"strategy.name": name}) for name in strategies]
    folder = Path(out) / scenario.name / "compare"
    return run_variants(scenario, variants, seeds=seeds, folder=folder, jobs=jobs, tell=tell)


def run_variants(
    scenario: ScenarioConfig,
    variants: Sequence[Variant],
    *,
    seeds: int,
    folder: Path,
    jobs: int | None = None,
    tell: Tell | None = None,
) -> list[Run]:
    """Run every variant with every seed in a study's folder; return the runs in order.

    Seeds count up from the scenario's own, or from that which a variant sets.
    The folder says which runs are this study's, for reports of it.
    """
    if seeds < 1:
        raise ConfigError(f"seeds = {seeds}: give at least 1")
    todo = [
        _job(scenario, variant, number, folder.resolve())
        for variant in variants
        for number in range(seeds)
    ]
    write_study(folder, (job.path for job in todo))
    tell = tell or (lambda _: None)
    for job in todo:
        if changed := changed_since(job.path, job.scenario):
            tell(
                f"{job.label}, seed {job.seed}: what is in {job.path} was begun with other "
                f"{changed}; it is taken as it is, delete it to run it anew"
            )
    count = min(jobs or usable_cores(), len(todo))
    run = _one_by_one if count == 1 else _side_by_side
    done = dict(run(todo, count, tell))
    return [done[job.path] for job in todo]


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
        yield job.path, _finish(job, tell)


def _side_by_side(jobs: Sequence[Job], count: int, tell: Tell) -> Iterator[tuple[Path, Run]]:
    """Spawn `count` processes; on a failure, as on Ctrl-C, end them: their runs can go on later."""
    context, before = multiprocessing.get_context("spawn"), multiprocessing.active_children()
    with ProcessPoolExecutor(count, mp_context=context, initializer=_begin) as pool:
        try:
            with _deaf():
                pending = {pool.submit(_in_process, job): job for job in jobs}
            while pending:
                finished, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    job = pending.pop(future)
                    run = future.result()
                    left = f", {len(pending)} to go" if pending else ""
                    tell(f"{job.label}, seed {job.seed}: done{left}")
                    yield job.path, run
        except BrokenProcessPool as error:
            raise RunError(
                "a run's process was killed (out of memory?); start the study again with fewer "
                "jobs: finished runs are kept, the others go on"
            ) from error
        except BaseException:
            _end({*multiprocessing.active_children()} - {*before})
            raise


@contextmanager
def _deaf() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C: whoever spawns them ends them (`_end`)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(processes: Iterable[BaseProcess]) -> None:
    """Let processes leave their runs in good order; on another Ctrl-C, or too late, kill them."""
    ended = list(processes)
    try:
        for process in ended:
            process.terminate()
        until = time.monotonic() + GRACE_S
        for process in ended:
            process.join(max(until - time.monotonic(), 0))
    finally:
        for process in ended:
            process.kill()


def _begin() -> None:
    """Draw nothing from a process of its own: the terminal is the study's. Leave when asked.

    And leave with the study, whatever ended it: a process that hears no Ctrl-C would go on.
    """
    console().quiet = True
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _leave(*_: object) -> None:
    raise SystemExit(LEFT)


def _in_process(job: Job) -> Run:
    """Finish a job; the process takes no other once it is asked to leave."""
    try:
        return _finish(job)
    except SystemExit:
        os._exit(LEFT)


def _finish(job: Job, tell: Tell | None = None) -> Run:
    """Run a job, or go on with it, or find it finished."""
    if tell:
        tell(f"{job.label}, seed {job.seed}")
    open_run_dir(job.scenario, job.path, job.label)
    return resume(job.path, scenario=job.scenario, display=Display(quiet=True))
