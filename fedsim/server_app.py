"""The ServerApp: fit the strategy, provision the edges, hold the rounds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import torch
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp

from fedsim import ledger, plugins
from fedsim.cache import cache_dir
from fedsim.cloud.desk import Desk
from fedsim.cloud.kit import Kit
from fedsim.display import Display
from fedsim.edges.side import make_setting
from fedsim.engine.directory import create_run_dir, read_scenario
from fedsim.population import Population
from fedsim.scenario import ScenarioConfig, from_run_config
from fedsim.strategy import EdgeCloudStrategy

TIMEOUT_S = 30 * 24 * 3600.0
"""How long a round may take; a lost worker is noticed by the grid, not by a clock."""


def make_server_app(display: Display | None = None) -> ServerApp:
    """Return the app that holds a run; `display` is told of every round."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        hold(grid, _run_dir(context), display or Display())

    return app


app = make_server_app()


def _run_dir(context: Context) -> Path:
    config = {name: str(value) for name, value in context.run_config.items()}
    if "run-dir" in config:
        return Path(config["run-dir"])
    scenario = from_run_config(tuple(sorted(config.items())))
    return create_run_dir(scenario, Path(config.get("out") or "runs"))


def hold(grid: Grid, run_dir: Path, display: Display) -> None:
    """Hold the rounds of a run directory that are not committed yet."""
    scenario = read_scenario(run_dir)
    done = ledger.committed_rounds(run_dir)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    logging.getLogger("flwr").setLevel(logging.WARNING)
    try:
        population = Population(scenario)
        setting = make_setting(scenario, population, cache_dir())
        strategy: EdgeCloudStrategy = plugins.load("strategies", scenario.strategy.name)(
            scenario.strategy, setting
        )
        display.start(
            scenario, scenario.rounds, population.num_edges, path=run_dir, done=max(done, 0)
        )
        strategy.fit(population.history())
        kit = Kit.pack(strategy)
        if done < 0:
            provision(scenario, population, kit, run_dir)
            done = 0
        desk = Desk(scenario, population, strategy, kit, run_dir, done, display.round)
        desk.answering.restore(done)
        strategy.attach(desk)
        display.ready()
        strategy.start(grid, ArrayRecord(), scenario.rounds - done, timeout=TIMEOUT_S)
    finally:
        display.stop()
        torch.set_num_threads(threads)


def provision(scenario: ScenarioConfig, population: Population, kit: Kit, run_dir: Path) -> None:
    """Book round 0: what every edge is given once."""
    shared = len(kit.parts["shared"])

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
                    answered=True,
                    downlink_bytes=size,
                    stored_bytes=size,
                    candidate_bytes=len(kit.parts[f"candidates.{c}"]),
                )

    ledger.write_edges(run_dir, edges())
    ledger.commit_round(run_dir, 0, rows())
