"""``fedsim compare``."""

from __future__ import annotations

from collections.abc import Iterable
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

    Means over edges and rounds with bootstrap confidence intervals over edges. What --set
    changes in `strategy` is set for every strategy that has that option. Finished runs are kept
    and taken as they are when the same command is given again.

    Example:  `fedsim compare quickstart --strategies static,diet,long_diet --seeds 3`
    """
    from fedsim.scenario import load_scenario
    from fedsim.study import compare as run_all

    options, others = _split(overrides or ())
    chosen = load_scenario(scenario, others, common.changes(rounds=rounds, edges=edges))
    names = [name.strip() for name in strategies.split(",") if name.strip()]
    with common.display(quiet, study=True) as display:
        runs = run_all(
            chosen,
            names,
            options=options,
            seeds=seeds,
            out=out,
            jobs=jobs,
            ray_address=ray_address,
            tell=display.note,
        )
    common.tell(runs, as_json)


def _split(overrides: Iterable[str]) -> tuple[dict[str, object], list[str]]:
    """Return the options of strategies, which each that has them gets, and all other overrides."""
    from fedsim.overrides import split_override

    options, others = {}, []
    for text in overrides:
        name, value = split_override(text)
        section, _, option = name.partition(".")
        if section == "strategy" and option not in ("", "name"):
            options[option] = value
        else:
            others.append(text)
    return options, others
