"""The command line: one verb a file, all of them thin over the Python API.

Results go to standard output, progress and mistakes to standard error. Exit codes: 0 done,
1 a mistake in a scenario, data or files (told in one line), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import signal
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

from fedsim.errors import FedsimError


class _Verbs(TyperGroup):
    """Tells a FedsimError in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FedsimError as error:
            notes = getattr(error, "__notes__", ())
            typer.echo(f"fedsim: {'; '.join([str(error), *notes])}", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            typer.echo("fedsim: interrupted", err=True)
            raise typer.Exit(130) from error


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("fedsim-edge"))
        raise typer.Exit


@app.callback()
def _fedsim(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Simulate recommenders on many devices, and see what each pays in bytes and gets.

    Start with:  `fedsim run quickstart`
    """


def _add_verbs() -> None:
    from fedsim.cli import compare, cost, data, doctor, list_, paper, report, run

    for verb in (run, compare, report, paper, cost):
        app.command()(getattr(verb, verb.__name__.rpartition(".")[2]))
    app.add_typer(data.app, name="data")
    app.command("list")(list_.list_)
    app.command()(doctor.doctor)


_add_verbs()


def main() -> None:
    """Run the command line; a Ctrl-C too many, when all is said, changes nothing any more."""
    try:
        app(prog_name="fedsim")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
