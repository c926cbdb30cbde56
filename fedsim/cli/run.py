"""``fedsim run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsim.cli import _common as common

if TYPE_CHECKING:
    from fedsim.scenario import ScenarioConfig


def run(
    scenario: Annotated[
        str | None,
        typer.Argument(metavar="[SCENARIO]", help="A TOML file, or a shipped scenario's name."),
    ] = None,
    overrides: common.SetOption = None,
    strategy: Annotated[
        str | None, typer.Option(help="Short for --set strategy.name=NAME.")
    ] = None,
    rounds: common.RoundsOption = None,
    edges: common.EdgesOption = None,
    seed: Annotated[int | None, typer.Option(help="Short for --set seed=N.")] = None,
    workers: common.WorkersOption = None,
    out: common.OutOption = Path("runs"),
    label: Annotated[
        str | None, typer.Option(help="Its name in tables and figures; the strategy's if left out.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Go on with the run in this directory.")
    ] = None,
    quiet: common.QuietOption = False,
    as_json: common.JsonOption = False,
) -> None:
    """Run a scenario, round by round, and keep its ledger in a directory of its own.

    A run that was stopped in whatever way goes on from its last committed round with
    --resume, and ends with the same ledger, bit for bit.

    Example:  `fedsim run quickstart`

    Example:  `fedsim run interest_drift --strategy diet --set request.name=on_drift`

    Example:  `fedsim run --resume runs/quickstart/20260102T030405678-1a2b3c4d`
    """
    changes = common.changes(strategy, rounds, edges, seed, workers)
    if scenario is None and resume is None:
        raise typer.BadParameter("name one, or give --resume DIR", param_hint="SCENARIO")
    if label and resume is not None:
        raise typer.BadParameter("a resumed run keeps the one it began with", param_hint="--label")
    from fedsim.engine import run as engine
    from fedsim.scenario import load_scenario

    with common.display(quiet) as display:
        if resume is not None:
            chosen = _resumed(resume, scenario, overrides, changes)
            done = engine.resume(resume, scenario=chosen, display=display)
        else:
            chosen = load_scenario(str(scenario), overrides or (), changes)
            done = engine.run(chosen, out=out, display=display, label=label)
    common.tell([done], as_json)


def _resumed(
    path: Path, scenario: str | None, overrides: list[str] | None, changes: dict[str, object]
) -> ScenarioConfig | None:
    """Return the scenario asked for with --resume, or None where it is just the run's own."""
    from fedsim.engine.directory import read_scenario
    from fedsim.scenario import load_scenario

    if scenario is None and not overrides and not changes:
        return None
    read_scenario(path)  # which also finds the run's plugins, wherever the command is given
    return load_scenario(scenario or path / "scenario.toml", overrides or (), changes)
