"""``fedsim doctor``."""

from __future__ import annotations

from dataclasses import asdict

import typer

from fedsim.cli import _common as common

_MARKS = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "bad": "[red]bad[/red]"}


def doctor(as_json: common.JsonOption = False) -> None:
    """Tell what is installed and found, and what to do about what is missing.

    Exits with 1 when something fedsim cannot run without is missing.

    Example:  `fedsim doctor`
    """
    from rich.markup import escape
    from rich.table import Table

    from fedsim.doctor import examine

    findings = examine()
    if as_json:
        common.print_json([asdict(finding) for finding in findings])
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        for finding in findings:
            what, found, advice = map(escape, (finding.what, finding.found, finding.advice))
            table.add_row(_MARKS[finding.state], what, found, f"[dim]{advice}[/dim]")
        common.out().print(table)
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)
