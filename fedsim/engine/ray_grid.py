"""A grid on worker processes: Ray actors on this machine or on a cluster."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator

import ray
from flwr.app import Message, UserConfig

from fedsim.engine.base_grid import AppFactory, BaseGrid, warn_timeout
from fedsim.engine.cluster import OBJECT_STORE_BYTES, start_ray, stop_ray
from fedsim.engine.dispatch import Dispatch, unanswered
from fedsim.engine.workers import make_slots
from fedsim.errors import RunError

TAKE_SECONDS = 0.005
"""Messages are taken for so long before workers are looked after."""


class RayGrid(BaseGrid):
    """Spreads the nodes over worker processes; flat in memory whatever their number.

    Messages are taken lazily, a few batches ahead of the replies; replies come in the order
    in which they are ready. A lost worker is replaced and what it owed is sent again, so a
    message may run twice: an app must be idempotent per message. Payloads that arrive in a
    worker are read-only views of shared memory.

    Parameters
    ----------
    app_factory
        Makes the ClientApp in a worker; must be picklable.
    num_nodes
        Number of nodes, which is the number of cells.
    run_config
        What the app finds in ``Context.run_config``.
    workers
        Number of worker processes, each on one core.
    address
        An existing Ray cluster (``host:port``, ``ray://…`` or ``auto``); by default a Ray
        is started on this machine, or the one this process runs already is used.
    object_store_bytes
        Shared memory of a Ray started here.

    Raises
    ------
    RunError
        Ray cannot be started or joined, or the factory cannot be pickled.
    """

    def __init__(
        self,
        app_factory: AppFactory,
        num_nodes: int,
        run_config: UserConfig | None = None,
        *,
        workers: int = 2,
        address: str | None = None,
        object_store_bytes: int = OBJECT_STORE_BYTES,
    ) -> None:
        super().__init__(app_factory, num_nodes, run_config)
        if workers < 1:
            raise RunError(f"a grid of {workers} workers cannot run: give at least 1 worker")
        self._owns_ray = start_ray(workers, address, object_store_bytes)
        try:
            self._slots = make_slots(
                app_factory, workers, num_nodes, self.run.run_id, self.run_config
            )
        except BaseException:
            if self._owns_ray:
                stop_ray()
            raise
        self._pushed: deque[Message] = deque()
        self._waiting: set[str] = set()
        self._pulled: dict[str, Message] = {}
        self._background = Dispatch(self._slots)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        self._check_open()
        source, dispatch = iter(messages), Dispatch(self._slots)
        end = None if timeout is None else time.monotonic() + timeout
        more, answered = True, 0
        try:
            while more or dispatch.held:
                more = more and self._take(source, dispatch)
                dispatch.send(more=more)
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    warn_timeout(answered, source)
                    yield from map(self._arrived, unanswered(dispatch.abandon()))
                    return
                if dispatch.held:
                    replies = dispatch.collect(0 if more and dispatch.room else left)
                    dispatch.send(more=more)
                    answered += len(replies)
                    yield from map(self._arrived, replies)
        finally:
            dispatch.abandon()

    def _take(self, source: Iterator[Message], dispatch: Dispatch) -> bool:
        """Take messages while there is room, for a moment; return whether there are more."""
        until = time.monotonic() + TAKE_SECONDS
        while dispatch.room and time.monotonic() < until:
            message = next(source, None)
            if message is None:
                return False
            dispatch.add(self._stamp(message))
        return True

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Let the workers begin with the messages; return their ids."""
        self._check_open()
        ids = []
        for message in messages:
            self._pushed.append(self._stamp(message))
            ids.append(message.metadata.message_id)
        self._waiting.update(ids)
        self._progress()
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies there are to the messages of these ids, without waiting."""
        self._check_open()
        self._progress()
        replies = []
        for message_id in message_ids:
            if message_id in self._pulled:
                replies.append(self._pulled.pop(message_id))
            elif message_id not in self._waiting:
                replies.append(self._unknown(message_id))
        return replies

    def _progress(self) -> None:
        """Move pushed messages on as far as it goes without waiting."""
        moved = True
        while moved:
            while self._pushed and self._background.room:
                self._background.add(self._pushed.popleft())
            self._background.send(more=bool(self._pushed))
            replies = self._background.collect(0)
            for reply in replies:
                message_id = reply.metadata.reply_to_message_id
                self._pulled[message_id] = self._arrived(reply)
                self._waiting.discard(message_id)
            moved = bool(replies)

    def _check_open(self) -> None:
        if not self._slots:
            raise RunError("this grid is closed; make a new one")

    def close(self) -> None:
        """End the workers, and Ray if this grid started it; may be called again."""
        if ray.is_initialized():
            for slot in self._slots:
                slot.stop()
            if self._owns_ray:
                stop_ray()
        self._slots = []
