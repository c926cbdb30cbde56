"""What the verbs share: options, printing, and the way to the analysis package."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from fedsim.display import Display
    from fedsim.engine.run import Run

WIDTH = 200
"""Columns a table may take where standard output is no terminal."""

GAP = 2
"""Columns between those of a table."""

BESIDE = ("paper", "wanted")
"""How columns are called that are read with the one before them."""

ScenarioArgument = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="A TOML file, or a shipped scenario's name.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key by dotted name; repeatable."),
]
RoundsOption = Annotated[int | None, typer.Option(help="Short for --set rounds=N.")]
EdgesOption = Annotated[int | None, typer.Option(help="Short for --set population.edges=N.")]
WorkersOption = Annotated[
    int | None,
    typer.Option(min=0, help="Ray workers to compute on; 0 computes in this process."),
]
JobsOption = Annotated[
    int | None, typer.Option(min=1, help="Runs side by side; as many as cores if left out.")
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Compute the runs as tasks of this Ray cluster; 'local' starts Ray on this machine.",
    ),
]
OutOption = Annotated[Path, typer.Option(help="Folder that run directories are made in.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def changes(
    strategy: str | None = None,
    rounds: int | None = None,
    edges: int | None = None,
    seed: int | None = None,
    workers: int | None = None,
) -> dict[str, object]:
    """Return what the short options change, by dotted name."""
    given = {
        "strategy.name": strategy,
        "rounds": rounds,
        "population.edges": edges,
        "seed": seed,
        "engine.grid": None if workers is None else "ray" if workers else "local",
        "engine.workers": workers or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def names(text: str | None) -> list[str] | None:
    """Return names with commas between them one by one."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


@contextmanager
def display(quiet: bool, *, study: bool = False) -> Iterator[Display]:
    """Yield a display; Ctrl-C ends it and says how to go on with the run, or the study.

    Raises
    ------
    typer.Exit
        With 130, when the run was interrupted.
    """
    from fedsim.display import Display, console

    console().quiet = quiet
    shown = Display(quiet=quiet)
    try:
        yield shown
    except KeyboardInterrupt as error:
        shown.stop()
        path = None if study else getattr(error, "path", shown.path)
        way_on = "finished runs are kept, the same command goes on with the others"
        if path:
            kept = "committed rounds are kept" if _committed(path) else "no round was committed"
            way_on = f"{kept}, resume with: fedsim run --resume {path}"
        elif not study:
            way_on = "nothing had begun, give the same command again"
        typer.echo(f"interrupted; {way_on}", err=True)
        raise typer.Exit(130) from error
    finally:
        shown.stop()


def _committed(path: Path) -> int:
    """Return how many rounds of a run are committed, 0 where its ledger cannot be read."""
    from fedsim.engine.run import Run
    from fedsim.errors import FedsimError

    try:
        return Run(path).rounds_done
    except FedsimError:
        return 0


def out() -> Console:
    """Return a console on standard output; wide where no terminal limits it."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None
) -> None:
    """Print a table: the first column to the left, the others to the right.

    One that is wider than the terminal goes on below itself, the first column repeated, so
    that no number is broken.
    """
    console = out()
    if title is not None:
        console.print(title, style="italic", markup=False)
    widths = [max(cell_len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    for number, chosen in enumerate(_blocks(columns, widths, console.width)):
        if number:
            console.print()
        table = Table(box=None, pad_edge=False, header_style="bold")
        for index in chosen:
            justify: JustifyMethod = "right" if index else "left"
            table.add_column(escape(columns[index]), justify=justify, overflow="fold")
        for row in rows:
            table.add_row(*(escape(row[index]) for index in chosen))
        console.print(table)


def _blocks(columns: Sequence[str], widths: Sequence[int], width: int) -> list[list[int]]:
    """Return the columns to print beside each other, block by block, the first in each.

    A column stays beside the one before it if it says something about that (`BESIDE`).

    >>> _blocks(["strategy", "NDCG", "paper", "up", "down"], [8, 5, 5, 4, 4], 22)
    [[0, 1, 2], [0, 3, 4]]
    """
    groups: list[list[int]] = []
    for index in range(1, len(columns)):
        if columns[index].startswith(BESIDE) and groups:
            groups[-1].append(index)
        else:
            groups.append([index])
    blocks = [[0]]
    for group in groups:
        wanted = [*blocks[-1], *group]
        if len(blocks[-1]) > 1 and sum(widths[i] + GAP for i in wanted) - GAP > width:
            wanted = [0, *group]
            blocks.append(wanted)
        blocks[-1] = wanted
    return blocks


def print_json(value: object) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, default=str))


def analysis(module: str) -> Any:
    """Return a module of the analysis package, which fedsim knows by name only."""
    return importlib.import_module(f"analysis.{module}")


def show(table: Any) -> None:
    """Print a table of the analysis package."""
    rows = table.text.astype(str).to_numpy().tolist()
    print_table([str(column) for column in table.text.columns], rows, table.title)
    if table.note:
        out().print(table.note, style="dim", markup=False)


def records(table: Any) -> list[dict[str, Any]]:
    """Return a table's numbers as JSON-like records, None where there is no value."""
    rows: list[dict[str, Any]] = json.loads(
        table.numbers.to_json(orient="records", double_precision=15)
    )
    return rows


def tell(runs: Sequence[Run], as_json: bool) -> None:
    """Print what runs reached and cost, a line a strategy, and where they are."""
    loaded = analysis("load").load([run.path for run in runs])
    made = analysis("compare").compare(loaded)
    if as_json:
        paths: dict[str, list[str]] = {}
        for info in loaded.infos:
            paths.setdefault(info.label, []).append(str(info.path))
        print_json([row | {"paths": paths[row["label"]]} for row in records(made)])
        return
    show(made)
    folder = runs[0].path if len(runs) == 1 else runs[0].path.parent
    typer.echo(f"\nkept in {folder}; its figures: fedsim report {folder}")
