"""Tiny scenarios that run in a second, and what tests ask of a run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedsim.display import Display
from fedsim.engine.run import Run
from fedsim.scenario import ScenarioConfig, build


def tiny(strategy: str | dict[str, Any] = "static", **changes: object) -> ScenarioConfig:
    """Return 24 synthetic edges in cells of 10, three rounds; `changes` by dotted name."""
    table: dict[str, Any] = {
        "name": "tiny",
        "rounds": 3,
        "population": {"edges": 24, "cell_size": 10},
        "data": {"name": "synthetic", "items": 60, "topics": 4, "length": 24},
        "stream": {"history": 0.5},
        "train": {"epochs": 2, "batch": 64},
        "controls": {"every": 2, "edges": 8},
        "strategy": strategy,
    }
    return build(table, changes)


def ledger_bytes(run: Run) -> dict[str, bytes]:
    """Return every committed file of a run, by name."""
    files = [run.path / "edges.parquet", *sorted(run.path.glob("*/round-*.parquet"))]
    return {str(file.relative_to(run.path)): file.read_bytes() for file in files}


class StopAfter(Display):
    """Stops a run by Ctrl-C when a round has been committed."""

    def __init__(self, last: int) -> None:
        super().__init__(quiet=True)
        self.last = last

    def round(self, round: int, metrics: Mapping[str, float]) -> None:
        if round == self.last:
            raise KeyboardInterrupt


LONG = {"rounds": 400, "population.edges": 20000}


def study_of_two(file: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    """Start a long comparison of two strategies side by side, in a process group of its own."""
    options = ("--strategies", "static,popularity", "--jobs", "2", "--out", str(out))
    changes = [text for key, value in LONG.items() for text in ("--set", f"{key}={value}")]
    code = "from fedsim.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "compare", str(file), *options, *changes, *more],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(done: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, f"waited for {seconds} s"
        time.sleep(0.05)


def alive(group: int) -> bool:
    """Return whether a process group has any process left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
