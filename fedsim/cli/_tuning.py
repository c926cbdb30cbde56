"""What ``fedsim paper --tune`` shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from fedsim.cli import _common as common

if TYPE_CHECKING:
    from fedsim.tuning import Tried, Tunings


def show_tuning(name: str, chosen: Mapping[str, Any], *, quiet: bool, as_json: bool) -> None:
    """Tune a table and print every trial; `chosen` are more arguments of `tune`."""
    from fedsim.tuned import budget
    from fedsim.tuning import tune

    with common.display(quiet, study=True) as display:
        done = tune(name, tell=display.note, **chosen)
    if as_json:
        common.print_json([asdict(each) for each in done.tried])
        return
    common.out().print(f"{done.spec.title}: {budget(done.spec)}", style="bold", markup=False)
    typer.echo()
    rows = [_cells(each) for each in done.tried]
    columns = ("strategy", "data", "backbone", "trial", "set", "NDCG@10", "chosen")
    common.print_table(columns, rows)
    typer.echo()
    _tell(done)


def _cells(tried: Tried) -> list[str]:
    label = tried.row if tried.x is None else f"{tried.row} {tried.x:g}"
    named = (f"{name} = {value}" for name, value in tried.set.items())
    settings = ", ".join(named) or "as in the table"
    score = f"{tried.ndcg_10:.4f}"
    mark = "chosen" if tried.chosen else ""
    return [label, tried.data, tried.backbone, str(tried.trial), settings, score, mark]


def _tell(done: Tunings) -> None:
    if done.missing:
        typer.echo(f"Not there: {', '.join(done.missing)}.")
    typer.echo(f"every trial: {done.folder / 'tuning.json'}")
    typer.echo(f"what was chosen, to be put beside the table: {done.file}")
