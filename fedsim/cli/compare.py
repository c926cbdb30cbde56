"""``fedsim compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedsim.cli import _common as common


def compare(
    scenario: common.ScenarioArgument,
    strategies: Annotated[
        str, typer.Option(metavar="A,B,C", help="Strategies, by name, with commas between.")
    ],
    seeds: Annotated[
        int, typer.Option(min=1, help="Repeat with so many seeds, from the scenario's on.")
    ] = 1,
    overrides: common.SetOption = None,
    rounds: common.RoundsOption = None,
    edges: common.EdgesOption = None,
    jobs: common.JobsOption = None,
    ray_address: common.RayAddressOption = None,
    out: common.OutOption = Path("runs"),
    quiet: common.QuietOption = False,
    as_json: common.JsonOption = False,
) -> None:
    """Run several strategies on the same streams, and print what each gets and pays.

    Means over edges and rounds with bootstrap confidence intervals over edges. Finished runs
    are kept and taken as they are when the same command is given again.

    Example:  `fedsim compare quickstart --strategies static,diet,long_diet --seeds 3`
    """
    from fedsim.scenario import load_scenario
    from fedsim.study import compare as run_all

    chosen = load_scenario(scenario, overrides or (), common.changes(rounds=rounds, edges=edges))
    names = [name.strip() for name in strategies.split(",") if name.strip()]
    with common.display(quiet, study=True) as display:
        runs = run_all(
            chosen,
            names,
            seeds=seeds,
            out=out,
            jobs=jobs,
            ray_address=ray_address,
            tell=display.note,
        )
    common.tell(runs, as_json)
