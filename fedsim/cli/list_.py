"""``fedsim list``."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from fedsim.cli import _common as common
from fedsim.errors import ConfigError, nearest


def list_(
    family: Annotated[
        str | None,
        typer.Argument(
            help="One of strategies, codecs, drifts, datasets, backbones, policies, "
            "scenarios; all when left out."
        ),
    ] = None,
    as_json: common.JsonOption = False,
) -> None:
    """List what a scenario can name, and the scenarios that come with fedsim.

    Example:  `fedsim list strategies`
    """
    from fedsim.plugins import FAMILIES

    known = ["scenarios", *FAMILIES]
    if family is not None and family not in known:
        raise ConfigError(f"unknown family '{family}'; {nearest(family, known)}")
    found = {name: members(name) for name in ([family] if family else known)}
    if as_json:
        common.print_json(found)
        return
    for name, rows in found.items():
        common.out().print(f"[bold]{name}[/bold]")
        common.out().print(_indented(rows))


def members(family: str) -> dict[str, str]:
    """Return the names in a family and one line about each."""
    from fedsim.plugins import available, load
    from fedsim.scenario import shipped_scenarios

    if family == "scenarios":
        return {name: _headline(file) for name, file in shipped_scenarios().items()}
    return {name: _first_line(load(family, name)) for name in available(family)}


def _headline(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    described = tomllib.loads(text).get("description")
    return str(described) if described else text.partition("\n")[0].lstrip("# ")


def _first_line(cls: type) -> str:
    """Return what a class says of itself: one without a word has not its base's."""
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]


def _indented(rows: dict[str, str]) -> object:
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for name, line in rows.items():
        table.add_row(name, escape(line))
    return Padding(table, (0, 0, 1, 2), expand=False)
