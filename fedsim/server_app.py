"""The ServerApp: fit the strategy, provision the edges, hold the rounds.

Under ``flwr run`` and on a deployment the run's config says what to do: ``scenario`` and
``overrides``, or ``resume``; ``out``; ``min-nodes`` (see ``docs/flower.md``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import torch
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp

from fedsim import ledger, plugins
from fedsim.cache import cache_dir
from fedsim.cloud.desk import Desk
from fedsim.cloud.hosting import host_cells
from fedsim.cloud.kit import Kit
from fedsim.display import Display
from fedsim.edges.side import EdgeSide, make_setting
from fedsim.engine.base_grid import BaseGrid
from fedsim.engine.directory import create_run_dir, read_scenario
from fedsim.engine.flower_grid import FlowerGrid
from fedsim.engine.log import logged
from fedsim.errors import ConfigError, FedsimError, RunError
from fedsim.files import settle, write_atomic
from fedsim.population import Population
from fedsim.scenario import ScenarioConfig, from_run_config
from fedsim.strategy import EdgeCloudStrategy
from fedsim.training.curves import as_json, noted

PROVISION = "provision"
"""File of a run directory that names what its edges were provisioned with."""

TRAINING = "training.json"
"""File of a run directory that tells what every epoch of its trainings gave."""

TIMEOUT_S = 30 * 24 * 3600.0
"""How long a round may take; a lost worker is noticed by the grid, not by a clock."""

NODES_TIMEOUT_S = 600.0
"""How long a run waits for its nodes."""


def make_server_app(display: Display | None = None) -> ServerApp:
    """Return the app that holds a run; `display` is told of every round."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        config = {name: str(value) for name, value in context.run_config.items()}
        shown = display or Display()
        if isinstance(grid, BaseGrid):
            hold(grid, Path(config["run-dir"]), shown)
        else:
            hold_on_flower(grid, config, shown)

    return app


app = make_server_app()


def hold_on_flower(grid: Grid, config: Mapping[str, str], display: Display) -> None:
    """Start or resume the run a Flower run's config names, as soon as its nodes are there."""
    wrapped = FlowerGrid(grid, _min_nodes(config), NODES_TIMEOUT_S)
    run_dir = _run_dir(config)
    try:
        hold(wrapped, run_dir, display)
    except FedsimError as error:
        error.add_note(f"""resume with: flwr run . --run-config 'resume="{run_dir}"'""")
        raise


def _run_dir(config: Mapping[str, str]) -> Path:
    """Return the directory to resume, or a new one; relative paths mean nothing here."""
    for name in ("resume", "out", "scenario"):
        value = config.get(name, "")
        is_path = value.endswith(".toml") if name == "scenario" else bool(value)
        if is_path and not Path(value).is_absolute():
            raise ConfigError(
                f"{name} = '{value}' is relative, but the ServerApp works in the SuperLink's "
                "folder, not in yours; give an absolute path"
            )
    if config.get("resume"):
        return Path(config["resume"])
    return create_run_dir(from_run_config(config), Path(config.get("out") or "runs"))


def _min_nodes(config: Mapping[str, str]) -> int:
    value = config.get("min-nodes", "1")
    if not value.isdecimal() or int(value) < 1:
        raise ConfigError(f"min-nodes = {value} is no number of nodes; give 1 or more")
    return int(value)


def hold(grid: Grid, run_dir: Path, display: Display) -> None:
    """Hold the rounds of a run directory that are not committed yet."""
    scenario = read_scenario(run_dir)
    done = ledger.committed_rounds(run_dir)
    if done >= scenario.rounds:
        display.note(f"{run_dir} is finished: {done} of {scenario.rounds} rounds are committed")
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.getLogger("flwr").setLevel(logging.WARNING)
    try:
        with logged(run_dir):
            _hold_rounds(grid, run_dir, scenario, done, display)
    finally:
        display.stop()
        torch.set_num_threads(threads)


def _hold_rounds(
    grid: Grid, run_dir: Path, scenario: ScenarioConfig, done: int, display: Display
) -> None:
    population = Population(scenario)
    hosts = host_cells(grid, population.num_cells, run_dir.name, done)
    setting = make_setting(scenario, population, cache_dir())
    strategy: EdgeCloudStrategy = plugins.load("strategies", scenario.strategy.name)(
        scenario.strategy, setting
    )
    display.start(scenario, scenario.rounds, population.num_edges, path=run_dir, done=max(done, 0))
    with noted() as curves:
        strategy.fit(population.history())
    write_atomic(run_dir / TRAINING, as_json(curves))
    kit = Kit.pack(strategy)
    if done < 0:
        provision(scenario, population, kit, run_dir)
        done = 0
    check_provision(run_dir, kit)
    desk = Desk(scenario, population, strategy, kit, run_dir, done, hosts, display.round)
    desk.answering.restore(done)
    strategy.attach(desk)
    display.ready()
    strategy.start(grid, ArrayRecord(), scenario.rounds - done, timeout=TIMEOUT_S)


def provision(scenario: ScenarioConfig, population: Population, kit: Kit, run_dir: Path) -> None:
    """Book round 0: what every edge is given once.

    Item embeddings are among it unless every round brings candidates of its own.
    """
    side = EdgeSide.make(scenario, population, kit.parts, run_dir)
    bits = [int(side.paper_bits(c, side.first_rows(c))[0]) for c in range(len(side.columns))]
    shared = len(kit.parts["shared"])
    some = scenario.evaluation.candidates > 0

    def edges() -> Iterator[pa.RecordBatch]:
        for batch in population.edges_table():
            facts = {name: batch[name] for name in ("edge", "cell", "device", "ood")}
            yield ledger.rows(
                ledger.edges_schema(),
                **facts,
                shared_downlink_bytes=shared,
                shared_stored_bytes=shared,
                budget_bytes_per_round=scenario.budget.bytes_per_round,
            )

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in population.edges_table():
            for c in range(len(population.channels)):
                size = len(kit.parts[f"channel.{c}"])
                yield ledger.rows(
                    ledger.schema(scenario.evaluation.ks),
                    round=0,
                    edge=batch["edge"],
                    channel=c,
                    downlink_bytes=size,
                    stored_bytes=size,
                    candidate_bytes=0 if some else len(kit.parts[f"candidates.{c}"]),
                    paper_bits=bits[c],
                )

    write_atomic(run_dir / PROVISION, kit.name + "\n")
    ledger.write_edges(run_dir, edges())
    settle()
    ledger.commit_round(run_dir, 0, rows())


def check_provision(run_dir: Path, kit: Kit) -> None:
    """Refuse to go on with another network than the edges were provisioned with.

    Raises
    ------
    RunError
        What was trained now is not what was trained when the run began.
    """
    file = run_dir / PROVISION
    began = file.read_text().strip() if file.exists() else "none"
    if began != kit.name:
        raise RunError(
            f"{run_dir} began with {began}, but training gives {kit.name} now: the code, torch "
            "or the machine has changed and the training cache is gone; restore the cache or "
            "start the run anew"
        )
