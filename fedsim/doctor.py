"""What is installed, what the machine has, what data is found, and what to do about the rest."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from fedsim.cores import usable_cores

State = Literal["ok", "note", "bad"]
DISTRIBUTION = "fedsim-edge"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `advice` says what to do about it and is empty when it is fine.

    `state` is "bad" for what fedsim cannot run without and "note" for what it can.
    """

    what: str
    state: State
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at Python, packages, cores, memory, disk, Ray, the browser and the data."""
    python = Finding("python", "ok", sys.version.split()[0])
    return [python, *_packages(), _cores(), _memory(), _disk(), _ray(), _browser(), *_data()]


def browser() -> str | None:
    """Return where Chromium or Chrome is, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _packages() -> Iterator[Finding]:
    pinned = constraints()
    wanted = [Requirement(text) for text in requires(DISTRIBUTION) or []]
    needed = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    odd = list(filter(None, (_package(r, pinned.get(r.name.lower())) for r in needed)))
    yield from odd
    if not any(finding.state == "bad" for finding in odd):
        yield Finding("packages", "ok", f"all {len(needed)} that fedsim needs")


def _package(requirement: Requirement, pinned: str | None) -> Finding | None:
    install = f"pip install -c constraints.txt '{requirement}'"
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return Finding(requirement.name, "bad", "not installed", install)
    if not requirement.specifier.contains(found, prereleases=True):
        return Finding(requirement.name, "bad", f"{found}, not {requirement.specifier}", install)
    if pinned is not None and found.partition("+")[0] != pinned:
        advice = f"tested with {pinned}; expect the same figures only with that"
        return Finding(requirement.name, "note", found, advice)
    return None


def constraints() -> dict[str, str]:
    """Return the tested versions by package, from a checkout's constraints.txt; else nothing."""
    file = Path(__file__).parents[1] / "constraints.txt"
    if not file.is_file():
        return {}
    lines = [line.partition("#")[0].strip() for line in file.read_text().splitlines()]
    pairs = [line.split("==") for line in lines if "==" in line]
    return {name.lower(): pinned for name, pinned in pairs}


def _cores() -> Finding:
    return Finding("cores", "ok", f"{usable_cores()}")


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    if memory.available < 2 * 2**30:
        return Finding("memory", "note", found, "close something, or use a small population.edges")
    return Finding("memory", "ok", found)


def _disk() -> Finding:
    free = shutil.disk_usage(".").free / 2**30
    if free < 1:
        return Finding("disk", "note", f"{free:.1f} GiB free here", "give --out on another disk")
    return Finding("disk", "ok", f"{free:.1f} GiB free here")


def _ray() -> Finding:
    shared = Path("/dev/shm")
    room = shutil.disk_usage(shared).free / 2**30 if shared.is_dir() else None
    try:
        found = version("ray")
    except PackageNotFoundError:
        return Finding("ray", "bad", "not installed", "pip install -c constraints.txt ray")
    if room is not None and room < 1:
        advice = "little shared memory (/dev/shm): Ray spills to disk; use engine.grid=local"
        return Finding("ray", "note", f"{found}, {room:.1f} GiB of shared memory", advice)
    return Finding("ray", "ok", found)


def _browser() -> Finding:
    path = browser()
    if path is None:
        advice = "only the report's browser test needs it: apt install chromium"
        return Finding("browser", "note", "no chromium", advice)
    return Finding("browser", "ok", path)


def _data() -> Iterator[Finding]:
    from fedsim.data.fetch import SOURCES
    from fedsim.data.reading import DATA_VARIABLE, data_folder

    folder = data_folder()
    for name in SOURCES:
        if (folder / name).is_dir():
            yield Finding(f"data {name}", "ok", str(folder / name))
            continue
        advice = f"fedsim data fetch {name}, or set {DATA_VARIABLE} to the folder that has {name}/"
        yield Finding(f"data {name}", "note", f"not in {folder}", advice)
    games = folder / "amazon-games" / "Video.txt"
    if games.is_file():
        yield Finding("data amazon-games", "ok", str(games))
    else:
        advice = "only the scenario amazon_games needs it; the head of its file says what it is"
        yield Finding("data amazon-games", "note", f"not in {folder}", advice)
