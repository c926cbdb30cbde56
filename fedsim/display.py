"""Shows the rounds of a run as they come: a live table on a terminal, else a line a round.

Everything goes to standard error, so that what a verb prints can be piped on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fedsim.scenario import ScenarioConfig

SHOWN_ROUNDS = 12
"""Rounds the live table keeps in sight."""
EVERY_S = 10.0
"""Seconds between two lines about a training off a terminal."""


@cache
def console() -> Console:
    """Return the one console of standard error: live displays nest on it without flicker."""
    return Console(stderr=True, highlight=False)


@contextmanager
def hushed(quiet: bool) -> Iterator[None]:
    """Let nothing be drawn inside if `quiet`: neither rounds nor trainings."""
    shared = console()
    before, shared.quiet = shared.quiet, shared.quiet or quiet
    try:
        yield
    finally:
        shared.quiet = before


@contextmanager
def progress(label: str, steps: int) -> Iterator[Callable[[], None]]:
    """Yield what advances a progress bar by a step; off a terminal it is a line now and then."""
    if not console().is_terminal:
        yield _Lines(label, steps).advance
        return
    with Progress(console=console(), transient=True) as bar:
        task = bar.add_task(label, total=steps)
        yield lambda: bar.advance(task)


class _Lines:
    """Progress as lines: one when it begins, then one every `EVERY_S` seconds."""

    def __init__(self, label: str, steps: int) -> None:
        self.label, self.steps, self.done = label, steps, 0
        self._say()

    def advance(self) -> None:
        self.done += 1
        if time.monotonic() >= self.next:
            self._say()

    def _say(self) -> None:
        self.next = time.monotonic() + EVERY_S
        text = f"training {self.label}: {self.done:,} of {self.steps:,} steps"
        console().print(text, markup=False, soft_wrap=True)


class Display:
    """What the engine tells while it runs; `quiet` shows nothing.

    `metrics` of a round are shown in the order given. The name tells the unit: ``*_bytes``
    and ``*_bytes_per_edge`` are bytes, counts are integers, all else is a number.
    """

    def __init__(self, *, quiet: bool = False, to: Console | None = None) -> None:
        self.console = to or console()
        self.quiet = quiet
        self.live: Live | None = None
        self.path: Path | None = None
        self._rounds: list[tuple[int, dict[str, str]]] = []
        self._edges = self._total = self._done = 0
        self._last = 0.0

    def start(
        self,
        scenario: ScenarioConfig,
        rounds: int,
        edges: int,
        *,
        path: Path | None = None,
        done: int = 0,
    ) -> None:
        """Begin a run of `rounds` rounds, of which `done` are committed already.

        `path` is the run's directory, kept to say how an interrupted run is resumed.
        """
        self.path, self._edges, self._total, self._done = path, edges, rounds, done
        self._rounds, self._last = [], time.perf_counter()
        if self.quiet:
            return
        title = f"{scenario.name} · {scenario.strategy.name}"
        if not self.console.is_terminal:
            self._print(f"{title}: {edges:,} edges, {rounds} rounds, {path or 'not kept'}")
            return
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
        )
        self._task = self._bar.add_task(f"{title} · {edges:,} edges", total=rounds, completed=done)
        self.live = Live(self._view(), console=self.console, refresh_per_second=4)
        self.live.start()

    def ready(self) -> None:
        """Say that training is over and the rounds begin: speed is measured from here."""
        self._last = time.perf_counter()
        if self.live is not None:
            self._bar.reset(self._task, total=self._total, completed=self._done)

    def round(self, round: int, metrics: Mapping[str, float]) -> None:
        """Show a committed round."""
        now = time.perf_counter()
        speed = metrics.get("edges", self._edges) / max(now - self._last, 1e-9)
        self._last = now
        if self.quiet:
            return
        cells = {name: shown(name, value) for name, value in metrics.items()}
        cells["edges_per_s"] = f"{speed:,.0f}"
        if self.live is None:
            text = "  ".join(f"{name} {value}" for name, value in cells.items())
            self._print(f"round {round}/{self._total}  {text}")
            return
        self._rounds = [*self._rounds, (round, cells)][-SHOWN_ROUNDS:]
        self._bar.update(self._task, completed=round)
        self.live.update(self._view())

    def note(self, text: str) -> None:
        """Say something worth a line."""
        if not self.quiet:
            self._print(text)

    def stop(self) -> None:
        """End the run; what was shown stays."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def _view(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("round", justify="right")
        names = list(dict.fromkeys(name for _, cells in self._rounds for name in cells))
        for name in names:
            table.add_column(name.replace("_", " "), justify="right")
        for number, cells in self._rounds:
            table.add_row(str(number), *(cells.get(name, "") for name in names))
        return Group(table, self._bar) if self._rounds else Group(self._bar)


def shown(name: str, value: float) -> str:
    """Return a value in the unit its name tells; a dash for NaN, which is no value.

    >>> shown("downlink_bytes", 5120.0), shown("ndcg_10", 0.0617), shown("targets", 12.0)
    ('5.1 kB', '0.0617', '12')
    """
    if value != value:
        return "\u2013"
    if "bytes" in name:
        return in_bytes(value)
    return f"{value:,.0f}" if value == int(value) and abs(value) > 1 else f"{value:.4f}"


def in_bytes(value: float) -> str:
    """Return a number of bytes with a decimal unit.

    >>> in_bytes(0), in_bytes(999), in_bytes(163_840), in_bytes(2.5e9)
    ('0 B', '999 B', '163.8 kB', '2.5 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= size:
            return f"{value / size:,.1f} {unit}"
    return f"{value:,.0f} B"
