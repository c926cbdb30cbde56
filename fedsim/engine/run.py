"""A run from Python: start it, resume it, read what it measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from flwr.app import Context, RecordDict

from fedsim import ledger
from fedsim.client_app import make_client_app
from fedsim.cores import usable_cores
from fedsim.display import Display, hushed
from fedsim.engine.base_grid import BaseGrid
from fedsim.engine.directory import check_same, create_run_dir, only_here, read_scenario
from fedsim.engine.local_grid import LocalGrid
from fedsim.errors import FedsimError
from fedsim.population import Population
from fedsim.scenario import ScenarioConfig, build, load_scenario
from fedsim.server_app import make_server_app


@dataclass(frozen=True, slots=True)
class Run:
    """A run directory and what is in it."""

    path: Path

    @property
    def scenario(self) -> ScenarioConfig:
        """The resolved scenario."""
        return read_scenario(self.path)

    @property
    def ledger(self) -> pd.DataFrame:
        """One row per round, edge and channel; round 0 is the provision."""
        return ledger.read_ledger(self.path)

    @property
    def controls(self) -> pd.DataFrame:
        """The controls measured on a sample of edges."""
        return ledger.read_controls(self.path)

    @property
    def edges(self) -> pd.DataFrame:
        """One row per edge."""
        return ledger.read_edges(self.path)

    @property
    def rounds_done(self) -> int:
        """Rounds committed so far."""
        return max(ledger.committed_rounds(self.path), 0)


class Interrupted(KeyboardInterrupt):
    """The run was stopped by hand; what is committed stays. `path` can be resumed."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"stopped; resume with: fedsim run --resume {path}")
        self.path = path

    def __reduce__(self) -> tuple[type[Interrupted], tuple[Path]]:
        """Pickle by the path alone, as a run's own process hands it to a study's."""
        return type(self), (self.path,)


def run(
    scenario: ScenarioConfig | str | Path | Mapping[str, object],
    *,
    out: str | Path = "runs",
    display: Display | None = None,
    label: str | None = None,
    **changes: object,
) -> Run:
    """Run a scenario and return its run.

    Parameters
    ----------
    scenario
        A scenario, the path or name of one, or its tables.
    out
        Folder the run directory is made in.
    display
        Told of every round; says nothing when unset.
    label
        Name of the run in tables and figures; the strategy's when unset.
    changes
        Overrides by dotted name, as in ``run("quickstart", **{"strategy.keep": 0.2})``.

    Raises
    ------
    FedsimError
        Anything the user can mend; what was measured before stays in the run directory.
    Interrupted
        Ctrl-C.
    """
    config = _scenario(scenario, changes)
    return _hold(create_run_dir(config, Path(out), label), config, display)


def resume(
    path: str | Path,
    *,
    scenario: ScenarioConfig | None = None,
    display: Display | None = None,
) -> Run:
    """Go on with a run after its last committed round; a finished one is returned as it is.

    `scenario`, where given, must be the run's own but for `engine`, which it replaces.
    """
    run_dir = Path(path).resolve()
    config = read_scenario(run_dir)
    if scenario is not None:
        check_same(run_dir, scenario)
        config = scenario
    if ledger.committed_rounds(run_dir) >= config.rounds:
        return Run(run_dir)
    return _hold(run_dir, config, display)


def _scenario(
    scenario: ScenarioConfig | str | Path | Mapping[str, object], changes: Mapping[str, object]
) -> ScenarioConfig:
    if isinstance(scenario, ScenarioConfig):
        return build(scenario.model_dump(mode="json"), changes) if changes else scenario
    if isinstance(scenario, Mapping):
        return build(scenario, changes)
    return load_scenario(scenario, changes=changes)


def _is_provisioned(run_dir: Path) -> bool:
    """Tell whether a round is committed, so that there is something to go on from."""
    try:
        return ledger.committed_rounds(run_dir) >= 0
    except FedsimError:
        return False


def _hold(run_dir: Path, scenario: ScenarioConfig, display: Display | None) -> Run:
    with only_here(run_dir):
        _converse(run_dir, scenario, display)
    return Run(run_dir)


def _converse(run_dir: Path, scenario: ScenarioConfig, display: Display | None) -> None:
    shown = display or Display(quiet=True)
    config: dict[str, bool | float | int | str] = {
        "run-dir": str(run_dir),
    }
    try:
        with hushed(shown.quiet), make_grid(scenario, config) as grid:
            context = Context(
                run_id=grid.run.run_id,
                node_id=0,
                node_config={},
                state=RecordDict(),
                run_config=config,
            )
            make_server_app(shown)(grid=grid, context=context)
    except KeyboardInterrupt:
        raise Interrupted(run_dir) from None
    except FedsimError as error:
        if _is_provisioned(run_dir) and "start the run anew" not in str(error):
            error.add_note(f"resume with: fedsim run --resume {run_dir}")
        raise


def make_grid(scenario: ScenarioConfig, config: dict[str, bool | float | int | str]) -> BaseGrid:
    """Return the grid a scenario asks for, with a node for every cell."""
    cells = Population(scenario).num_cells
    if scenario.engine.grid == "local":
        return LocalGrid(make_client_app, cells, config)
    from fedsim.engine.ray_grid import RayGrid

    workers = scenario.engine.workers or usable_cores()
    return RayGrid(
        make_client_app,
        cells,
        config,
        workers=min(workers, cells),
        address=scenario.engine.ray_address,
    )
