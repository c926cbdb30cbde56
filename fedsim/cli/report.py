"""``fedsim report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedsim.cli import _common as common


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run directories, or folders with runs in them."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The page, or its folder; beside the runs if left out.")
    ] = None,
) -> None:
    """Write one report.html about runs, and every figure and table as files beside it.

    The page opens offline, reads on a phone, in light and dark.

    Example:  `fedsim report runs/quickstart/compare`
    """
    found = [run for path in runs for run in _runs_in(path)]
    page = common.analysis("report").write_report(found, out or runs[0])
    typer.echo(page)


def _runs_in(path: Path) -> list[Path]:
    """Return a run directory itself, or the runs in a folder; anything else is for the loader."""
    if (path / "scenario.toml").is_file():
        return [path]
    return sorted(file.parent for file in path.glob("*/scenario.toml")) or [path]
