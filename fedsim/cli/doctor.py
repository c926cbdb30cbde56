"""``fedsim doctor``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from fedsim.cli import _common as common

if TYPE_CHECKING:
    from fedsim.doctor import Finding

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
        for _ in range(4):
            table.add_column(overflow="fold")
        for finding in findings:
            what, found, advice = map(escape, (finding.what, finding.found, finding.advice))
            table.add_row(_MARKS[finding.state], what, found, f"[dim]{advice}[/dim]")
        common.out().print(table)
        typer.echo(f"\n{_verdict(findings)}")
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)


def _verdict(findings: Sequence[Finding]) -> str:
    """Return what all of it means for somebody who wants to begin."""
    states = [finding.state for finding in findings]
    if "bad" in states:
        return f"fedsim cannot run yet: first mend what is marked bad ({states.count('bad')})"
    notes = states.count("note")
    optional = f"; what is marked note ({notes}) only some scenarios or tests need" if notes else ""
    return f"fedsim can run{optional}; begin with: fedsim run quickstart"
