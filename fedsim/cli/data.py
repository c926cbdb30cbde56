"""``fedsim data fetch`` and ``fedsim data stats``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsim.cli import _common as common
from fedsim.errors import DataError, nearest

if TYPE_CHECKING:
    from fedsim.data.stats import Statistics

app = typer.Typer(
    no_args_is_help=True,
    help="Fetch data sets, and print their statistics.\n\nExample:  `fedsim data stats ml-100k`",
)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="ml-100k or ml-1m.")],
    into: Annotated[
        Path | None, typer.Option(help="Folder to put it in; $FEDSIM_DATA, else data.")
    ] = None,
) -> None:
    """Download a data set from its official place, check it, and say its licence.

    Example:  `fedsim data fetch ml-100k`
    """
    from fedsim.data import fetch as fetching
    from fedsim.data.reading import data_folder

    got = fetching.fetch(name, into or data_folder())
    typer.echo(f"{got.folder}{' was there already' if got.was_there else ''}")
    typer.echo(got.licence)


@app.command()
def stats(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Data sets as fetch names them, or scenarios; all found if none."),
    ] = None,
    as_json: common.JsonOption = False,
) -> None:
    """Print users, items, interactions, mean length and sparsity, after the protocol.

    Example:  `fedsim data stats ml-100k`
    """
    chosen = names or _found()
    measured = {name: _statistics(name) for name in chosen}
    if as_json:
        common.print_json({name: [_row(s) for s in rows] for name, rows in measured.items()})
        return
    columns = ["data set", "channel", "users", "items", "interactions", "mean length", "sparsity"]
    lines = [
        [
            name,
            row.channel,
            f"{row.users:,}",
            f"{row.items:,}",
            f"{row.interactions:,}",
            f"{row.mean_length:.2f}",
            f"{row.sparsity:.2%}",
        ]
        for name, rows in measured.items()
        for row in rows
    ]
    common.print_table(columns, lines)


def _found() -> list[str]:
    from fedsim.data.fetch import SOURCES
    from fedsim.data.reading import data_folder

    found = [name for name in SOURCES if (data_folder() / name).is_dir()]
    if not found:
        raise DataError(f"no data set in {data_folder()}; run `fedsim data fetch ml-100k`")
    return found


def _statistics(name: str) -> tuple[Statistics, ...]:
    from fedsim.data.fetch import SOURCES
    from fedsim.data.stats import statistics
    from fedsim.plugins import load
    from fedsim.scenario import build, load_scenario, shipped_scenarios

    if name in SOURCES:
        scenario = build({"name": name, "data": {"name": "movielens", "path": name}})
    elif name in (shipped := shipped_scenarios()) or Path(name).is_file():
        scenario = load_scenario(name)
    else:
        raise DataError(
            f"no data set and no scenario '{name}'; {nearest(name, [*SOURCES, *shipped])}; "
            f"get {' or '.join(SOURCES)} with `fedsim data fetch {next(iter(SOURCES))}`"
        )
    return statistics(load("datasets", scenario.data.name)(scenario.data, scenario))


def _row(row: Statistics) -> dict[str, object]:
    return {"channel": row.channel, **row.record()}
