"""A run's directory: its name, its scenario, where it was made."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tomli_w
from filelock import Timeout

from fedsim.engine.parts import check_parts, code_digest
from fedsim.errors import ConfigError, RunError
from fedsim.files import locked, write_atomic
from fedsim.nested import flat
from fedsim.plugins import folders_of, look_in
from fedsim.population import Population
from fedsim.scenario import ScenarioConfig, load_scenario

PACKAGES = (
    "fedsim-edge",
    "torch",
    "flwr",
    "ray",
    "numpy",
    "numba",
    "pandas",
    "pyarrow",
    "scipy",
    "safetensors",
)

LOCK = "run.lock"
"""File of a run directory that the process at the run holds."""

FOLDERS = "plugin_folders"
"""What ``env.json`` calls the folders of plugins that are named in full."""
FIRST = (
    "name",
    "strategy.name",
    "data.name",
    "rounds",
    "seed",
    "model.name",
    "drift.name",
    "request.name",
)
"""Keys that tell one scenario from another at a glance."""
SHOWN = 3
"""Keys an error names."""


@contextmanager
def only_here(run_dir: Path) -> Iterator[None]:
    """Keep other processes of this machine from going on with the same run meanwhile.

    A killed process lets go of it. Where the folder takes no locks, nothing is kept from it.

    Raises
    ------
    RunError
        Another process is at the run.
    """
    try:
        with locked(run_dir / LOCK, wait=False):
            yield
    except Timeout as error:
        raise RunError(
            f"{run_dir}: another process is at this run; wait until it ends, or end it, and give "
            "the command again"
        ) from error


def create_run_dir(scenario: ScenarioConfig, out: Path, label: str | None = None) -> Path:
    """Make ``OUT/NAME/TIMESTAMP-HASH`` with the resolved scenario and the environment.

    Raises
    ------
    FedsimError
        The scenario's parts do not go together, or the folder cannot be written.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")[:-3]
    run_dir = out.resolve() / scenario.name / f"{stamp}-{scenario.identity()[:8]}"
    open_run_dir(scenario, run_dir, label)
    return run_dir


def open_run_dir(scenario: ScenarioConfig, run_dir: Path, label: str | None = None) -> None:
    """Make a run directory with the resolved scenario and the environment, if it is new.

    Raises
    ------
    FedsimError
        The scenario's parts do not go together, or the folder cannot be written.
    """
    if (run_dir / "scenario.toml").exists():
        return
    population = check_parts(scenario)
    environment = describe_environment(scenario, population) | ({"label": label} if label else {})
    write_atomic(run_dir / "env.json", json.dumps(environment, indent=2) + "\n")
    write_scenario(scenario, run_dir / "scenario.toml")


def write_scenario(scenario: ScenarioConfig, file: Path) -> None:
    """Write a resolved scenario, every default spelt out."""
    table = scenario.model_dump(mode="json", exclude_none=True)
    write_atomic(file, tomli_w.dumps(table))


def read_scenario(run_dir: Path) -> ScenarioConfig:
    """Return the scenario of a run directory.

    Raises
    ------
    RunError
        The directory holds no readable scenario.
    """
    file = run_dir / "scenario.toml"
    if not file.is_file():
        raise RunError(f"{run_dir} is no run directory: it has no scenario.toml; name one of runs/")
    look_in(_plugin_folders(run_dir / "env.json"))
    try:
        return load_scenario(file)
    except ConfigError as error:
        raise RunError(f"the run cannot be read by this fedsim: {error}") from error


def _plugin_folders(file: Path) -> list[str]:
    """Return the folders a run's plugins were in; nothing where that cannot be read."""
    try:
        return list(map(str, json.loads(file.read_text())[FOLDERS]))
    except (OSError, ValueError, LookupError, TypeError):
        return []


def check_same(run_dir: Path, scenario: ScenarioConfig) -> None:
    """Refuse to resume a run with another scenario than its own.

    Raises
    ------
    RunError
        They differ in anything a result depends on; the message names the keys.
    """
    ours, theirs = (
        flat(part.model_dump(mode="json", exclude={"engine", "description"}))
        for part in (scenario, read_scenario(run_dir))
    )
    order = dict.fromkeys((*FIRST, *sorted(ours | theirs)))
    names = [name for name in order if ours.get(name) != theirs.get(name)]
    if names:
        shown = ", ".join(
            f"{name} = {ours.get(name)!r} (the run has {theirs.get(name)!r})"
            for name in names[:SHOWN]
        )
        if len(names) > SHOWN:
            shown += f" and {len(names) - SHOWN} more"
        raise RunError(
            f"{run_dir} is a run of another scenario: {shown}; resume it without naming a "
            "scenario, or start a new run"
        )


def changed_since(run_dir: Path, scenario: ScenarioConfig) -> str:
    """Return which of code, data and packages are others than when a run began; "" if none.

    A folder that is no run directory yet has nothing that could have changed.

    Raises
    ------
    RunError
        What the run began with cannot be read.
    """
    file = run_dir / "env.json"
    if not file.is_file():
        return ""
    try:
        then = json.loads(file.read_text())
        if not isinstance(then, dict):
            raise ValueError(f"a table was expected, not {then!r}")
    except (OSError, ValueError) as error:
        raise RunError(
            f"{file}: cannot be read: {error}; restore that file, or delete the folder and run anew"
        ) from error
    now = describe_environment(scenario, Population(scenario))
    names = [name for name in ("code", "data") if then.get(name) != now[name]]
    packages = then.get("packages", {})
    names += [name for name in PACKAGES if packages.get(name) != now["packages"][name]]
    return ", ".join(names)


def describe_environment(scenario: ScenarioConfig, population: Population) -> dict[str, Any]:
    """Return what else a result may depend on: versions, platform, code, data, seed."""
    return {
        "code": code_digest(),
        "data": population.dataset.fingerprint(),
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
        "seed": scenario.seed,
        "identity": scenario.identity(),
        FOLDERS: folders_of(scenario),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
