"""Worker processes (Ray actors) that hold the ClientApp, and their replacement."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
from flwr.app import Error, Message
from flwr.clientapp import ClientApp
from ray import cloudpickle

from fedsim.engine.base_grid import AppFactory, answer, load_app, node_context
from fedsim.engine.internals import SUPERLINK_NODE_ID, identify
from fedsim.engine.messages import content_bytes, release
from fedsim.engine.packing import PackedMessage, PackedRecord, pack_batch, unpack_message
from fedsim.errors import RunError
from fedsim.plugins import look_in

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MAX_START_FAILURES = 3

log = logging.getLogger("fedsim.engine")


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker is made from; `app_factory` is pickled."""

    app_factory: bytes
    num_nodes: int
    run_id: int
    run_config: Mapping[str, bool | float | str]
    folders: tuple[str, ...]
    """Where the grid's process imports from, so that a worker finds the same plugins."""


class Worker:
    """Answers batches of messages, one message after the other, on one thread.

    It keeps nothing that another worker could not make: the app comes from the factory
    and a node's Context from the node's id.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))  # before the app imports torch
        look_in(spec.folders)
        identify(spec.run_id, SUPERLINK_NODE_ID)
        self._spec = spec
        self._app: ClientApp | Error | None = None

    def start(self) -> None:
        """Make the app; what it raises is in the replies."""
        self._app = load_app(lambda: cloudpickle.loads(self._spec.app_factory)())

    def run(
        self, batch: list[PackedMessage], *shared: PackedRecord
    ) -> tuple[list[PackedMessage], float]:
        """Return the packed replies and the seconds they took."""
        start = time.perf_counter()
        replies, nbytes = [], 0
        for packed in batch:
            message = unpack_message(packed, shared)
            replies.append(self._answer(message))
            nbytes += content_bytes(message)
            del message
        result = pack_batch(replies)[0], time.perf_counter() - start
        release(nbytes)
        return result

    def _answer(self, message: Message) -> Message:
        if self._app is None:
            raise RunError("a worker was given messages before it was started")
        spec, node_id = self._spec, message.metadata.dst_node_id
        context = node_context(node_id, spec.num_nodes, spec.run_id, spec.run_config)
        return answer(self._app, message, context)


class Slot:
    """One place of the pool: an actor, and the reference that says it has started."""

    def __init__(self, actor_class: Any, spec: WorkerSpec) -> None:
        self._make: Callable[[], Any] = partial(actor_class.remote, spec)
        self._failures = 0
        self._launch()

    def _launch(self) -> None:
        self.actor = self._make()
        self.starting: ray.ObjectRef[Any] | None = self.actor.start.remote()

    def started(self, ref: ray.ObjectRef[Any]) -> None:
        """Take note that `ref`, the start of this slot's actor, has an outcome.

        Raises
        ------
        RunError
            Actors of this slot died too many times in a row while starting.
        """
        if ref != self.starting:
            return
        try:
            ray.get(ref)
        except ray.exceptions.RayError as error:
            self._failures += 1
            if self._failures >= MAX_START_FAILURES:
                raise RunError(
                    f"workers died {self._failures} times in a row while making the ClientApp "
                    f"({cause_of(error)}); make it on a LocalGrid to see why, or free memory"
                ) from error
            self.replace(self.actor, error)
        else:
            self.starting, self._failures = None, 0

    def replace(self, actor: Any, error: BaseException) -> None:
        """Start another actor in the place of a lost one, if nobody has done so yet."""
        if actor is not self.actor:
            return
        log.warning("a worker was lost (%s); starting another", cause_of(error))
        self.stop()
        self._launch()

    def stop(self) -> None:
        """End the actor's process."""
        ray.kill(self.actor, no_restart=True)


def make_slots(
    app_factory: AppFactory | ClientApp, workers: int, num_nodes: int, run_id: int, run_config: Any
) -> list[Slot]:
    """Return a slot per worker, each starting.

    Raises
    ------
    RunError
        `app_factory` cannot be pickled.
    """
    if isinstance(app_factory, ClientApp):
        raise RunError(
            "RayGrid needs a factory of the ClientApp, not a ClientApp: give a function of a "
            "module, or functools.partial of one"
        )
    try:
        pickled = cloudpickle.dumps(app_factory)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise RunError(
            f"app_factory {app_factory!r} cannot be sent to a worker ({error}); give a "
            "function of a module, or functools.partial of one"
        ) from error
    spec = WorkerSpec(pickled, num_nodes, run_id, run_config, tuple(filter(None, sys.path)))
    actor_class = ray.remote(Worker).options(num_cpus=1, max_restarts=0)
    return [Slot(actor_class, spec) for _ in range(workers)]


def cause_of(error: BaseException) -> str:
    """Return a Ray error in one line: its class and its last line, which tells the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no details'}"
