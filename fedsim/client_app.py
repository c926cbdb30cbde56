"""The ClientApp: a node hosts cells; what a cell keeps is in files, never in the process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from fedsim.arrays import Named, config_of, from_batch, pack, unpack
from fedsim.cache import cache_dir
from fedsim.cloud.kit import Kit
from fedsim.edges.cell import CellRound
from fedsim.edges.side import EdgeSide
from fedsim.engine.internals import ErrorCode
from fedsim.engine.messages import failure
from fedsim.errors import ConfigError, FedsimError
from fedsim.population import Population
from fedsim.store import kept_cells


def make_client_app() -> ClientApp:
    """Return the app a node runs: uploads on ``train``, answers on ``evaluate``.

    A ``query`` is asked before a run resumes: which cells does the node keep?
    """
    app = ClientApp(mods=[tell_errors])

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

    @app.query()
    def kept(message: Message, context: Context) -> Message:
        round = int(config_of(message.content)["round"])  # type: ignore[arg-type]
        cells = kept_cells(state_folder(message, context), round)
        content = RecordDict({"config": ConfigRecord({"cells": cells})})
        return Message(content, reply_to=message)

    return app


def tell_errors(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Reply with what a user can mend in the words it was raised with (a Flower mod)."""
    try:
        return call_next(message, context)
    except FedsimError as error:
        return Message(failure(error, ErrorCode.CLIENT_APP_RAISED_EXCEPTION), reply_to=message)


app = make_client_app()


def _cell_round(message: Message, context: Context) -> CellRound:
    torch.set_num_threads(1)
    config = config_of(message.content)
    folder = state_folder(message, context)
    if "provision" in message.content:
        Kit.of(message.content).write(folder)
    side = _edge_side(str(config["provision"]), folder)
    return CellRound(side, int(config["cell"]), int(config["round"]))  # type: ignore[arg-type]


@lru_cache(maxsize=2)
def _edge_side(provision: str, folder: Path) -> EdgeSide:
    kit = Kit.read(folder, provision)
    return EdgeSide.make(kit.scenario, Population(kit.scenario), kit.parts, folder)


def state_folder(message: Message, context: Context) -> Path:
    """Return where this node keeps its cells of the run a message belongs to.

    That is ``state`` of the run directory where the grid is fedsim's own. Elsewhere it is
    a folder of the run's name in ``state`` of the node's config, of the run's config, or
    else in the user's cache folder.

    Raises
    ------
    ConfigError
        ``state`` is a relative path.
    """
    if "run-dir" in context.run_config:
        return Path(str(context.run_config["run-dir"])) / "state"
    named = str(context.node_config.get("state") or context.run_config.get("state") or "")
    if named and not Path(named).is_absolute():
        raise ConfigError(
            f"state = '{named}' is relative, but a node's working folder may change; "
            "give an absolute path"
        )
    folder = Path(named) if named else cache_dir() / "nodes"
    return folder / str(config_of(message.content)["run"])


def _reply(message: Message, arrays: Named) -> Message:
    cell = config_of(message.content)["cell"]
    content = RecordDict({"arrays": pack(arrays), "config": ConfigRecord({"cell": cell})})
    return Message(content, reply_to=message)
