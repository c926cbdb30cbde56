"""ClientApps the grids are tested with; importable, so that Ray's workers find them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from fedsim.engine.messages import array_of, values_of
from fedsim.errors import ConfigError, DataError


def messages(node_ids: Iterable[int], action: str = "cell", **config: object) -> Iterator[Message]:
    """Yield one query per node with `config` in its ConfigRecord."""
    for node_id in node_ids:
        content = RecordDict({"config": ConfigRecord(dict(config))})  # type: ignore[arg-type]
        yield Message(content, node_id, f"query.{action}")


def cells(replies: Iterable[Message]) -> list[int]:
    """Return the cells that replied, in the order of their replies."""
    return [int(reply.content["metrics"]["cell"]) for reply in replies]  # type: ignore[arg-type]


def record_of(**arrays: NDArray[Any]) -> ArrayRecord:
    return ArrayRecord({name: array_of(values) for name, values in arrays.items()})


def reply_with(message: Message, context: Context, **metrics: int) -> Message:
    cell = int(context.node_config["partition-id"])
    record = MetricRecord({"cell": cell, "pid": os.getpid(), **metrics})
    return Message(RecordDict({"metrics": record}), reply_to=message)


def make_app() -> ClientApp:
    """Return an app with one query per thing that can happen to a cell."""
    app = ClientApp()

    @app.query("cell")
    def cell(message: Message, context: Context) -> Message:
        time.sleep(float(message.content["config"].get("seconds", 0.0)))  # type: ignore[arg-type]
        return reply_with(message, context)

    @app.query("echo")
    def echo(message: Message, context: Context) -> Message:
        record = message.content.array_records["arrays"]
        doubled = {name: values_of(array) * 2 for name, array in record.items()}
        return Message(RecordDict({"arrays": record_of(**doubled)}), reply_to=message)

    @app.query("fail")
    def fail(message: Message, context: Context) -> Message:
        if context.node_config["partition-id"] == 1:
            raise DataError("item 17 of edge 3 is out of range; reload the data set")
        raise ZeroDivisionError("no edges")

    @app.query("die")
    def die(message: Message, context: Context) -> Message:
        """End this process if the cell is named, every time or (once) the first time."""
        config = message.content["config"]
        flag = Path(str(config["flag"]))
        if context.node_config["partition-id"] == config["cell"] and not flag.exists():
            if config["once"]:
                flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return reply_with(message, context)

    @app.query("state")
    def state(message: Message, context: Context) -> Message:
        context.state["seen"] = MetricRecord({"round": 1})
        return reply_with(message, context)

    @app.query("nothing")
    def nothing(message: Message, context: Context) -> Message:
        return None  # type: ignore[return-value]

    @app.query("scribble")
    def scribble(message: Message, context: Context) -> Message:
        """Change what was received; nobody else may notice."""
        config = message.content.config_records["config"]
        config["seen"] = int(str(config["seen"])) + 1
        return reply_with(message, context, seen=int(str(config["seen"])))

    @app.query("threads")
    def threads(message: Message, context: Context) -> Message:
        import torch

        omp = int(os.environ.get("OMP_NUM_THREADS", "0"))
        return reply_with(message, context, torch=torch.get_num_threads(), omp=omp)

    return app


def broken_app() -> ClientApp:
    raise ConfigError("unknown strategy 'dieet'; did you mean 'diet'?")


def dying_app() -> ClientApp:
    os._exit(3)


def average_app() -> ClientApp:
    """Return flwr's usual app: every node gives weights and a loss of its own."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        cell = int(context.node_config["partition-id"])
        start = message.content.array_records["arrays"]["w"].numpy()
        arrays = ArrayRecord({"w": Array(local_weights(start, cell))})
        metrics = MetricRecord({"num-examples": cell + 1, "loss": 0.5 * cell})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        cell = int(context.node_config["partition-id"])
        metrics = MetricRecord({"num-examples": cell + 1, "hit": 0.25 * cell})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def local_weights(start: NDArray[np.float64], cell: int) -> NDArray[np.float64]:
    """Return what cell's node makes of the weights it is sent, float64 (2, 3)."""
    return start + (cell + 1) * np.arange(6.0).reshape(2, 3)
