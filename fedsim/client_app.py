"""The ClientApp: a node hosts cells; what a cell keeps is in files, never in the process."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedsim.arrays import Named, config_of, from_batch, pack, unpack
from fedsim.cloud.kit import Kit
from fedsim.edges.cell import CellRound
from fedsim.edges.side import EdgeSide
from fedsim.population import Population
from fedsim.scenario import from_run_config


def make_client_app() -> ClientApp:
    """Return the app a node runs: uploads on ``train``, answers on ``evaluate``."""
    app = ClientApp()

    @app.train()
    def upload(message: Message, context: Context) -> Message:
        cell_round = _cell_round(message, context)
        lags = config_of(message.content).get("lags", [])
        arrays = cell_round.upload(tuple(int(lag) for lag in lags))  # type: ignore[union-attr]
        return _reply(message, arrays)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        arrays = unpack(message.content)
        ledger, controls = _cell_round(message, context).evaluate(arrays)
        return _reply(message, {"ledger": from_batch(ledger), "controls": from_batch(controls)})

    return app


app = make_client_app()


def _cell_round(message: Message, context: Context) -> CellRound:
    torch.set_num_threads(1)
    config = config_of(message.content)
    folder = state_folder(context)
    if "provision" in message.content:
        Kit.of(message.content).write(folder)
    pairs = tuple(sorted((name, str(value)) for name, value in context.run_config.items()))
    side = _edge_side(pairs, str(config["provision"]), folder)
    return CellRound(side, int(config["cell"]), int(config["round"]))  # type: ignore[arg-type]


@lru_cache(maxsize=2)
def _edge_side(pairs: tuple[tuple[str, str], ...], provision: str, folder: Path) -> EdgeSide:
    scenario = from_run_config(pairs)
    return EdgeSide.make(scenario, Population(scenario), Kit.read(folder, provision).parts, folder)


def state_folder(context: Context) -> Path:
    """Return where this node keeps its cells.

    It is ``state`` of the run's config, or a temporary folder named after the Flower run.
    """
    named = str(context.run_config.get("state", ""))
    return Path(named) if named else Path(tempfile.gettempdir()) / f"fedsim-{context.run_id}"


def _reply(message: Message, arrays: Named) -> Message:
    cell = config_of(message.content)["cell"]
    content = RecordDict({"arrays": pack(arrays), "config": ConfigRecord({"cell": cell})})
    return Message(content, reply_to=message)
