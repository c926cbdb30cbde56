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
    loaded = common.analysis("load").load(runs)
    for text in loaded.remarks:
        typer.echo(f"note: {text}", err=True)
    typer.echo(common.analysis("report").write_report(loaded, out or runs[0]))
