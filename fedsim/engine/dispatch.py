"""Which message goes to which worker when, and what happens when a worker is lost.

A message has a home worker, by its node, so that a cell's files are likely in the cache of the
machine that wrote them; a worker with nothing to do takes from the longest backlog. Batches of
cheap messages grow and batches of dear ones shrink to single messages. A worker answers in
order, so when one is lost, only the first batch it owes can be to blame: its messages are sent
again one by one, the others as they were. A message present at `MAX_ATTEMPTS` losses is
answered with an Error.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ray
from flwr.app import Error, Message

from fedsim.engine.internals import ErrorCode
from fedsim.engine.messages import content_bytes, release
from fedsim.engine.packing import SharedRecords, pack_batch, unpack_message
from fedsim.engine.workers import Slot, cause_of
from fedsim.errors import RunError

DEPTH = 2
"""Batches a worker owes at most: one it works on and one that waits."""
MAX_BATCH = 64
"""Messages of a batch, at most."""
BATCH_BYTES = 4 * 2**20
HELD_BYTES = 64 * 2**20
"""Bytes from which no more messages are taken, but for one per worker."""
SHORT_SECONDS, LONG_SECONDS = 0.01, 0.05
MAX_ATTEMPTS = 3
START_TIMEOUT = 300.0
"""Seconds without any worker started after which a cluster is taken to be full."""

log = logging.getLogger("fedsim.engine")


class Pace:
    """Messages in a batch: as many as keep the cost of sending small, and no more."""

    def __init__(self) -> None:
        self.size = 1

    def update(self, seconds: float, nbytes: int) -> None:
        """Take note of what the last batch took."""
        if seconds > LONG_SECONDS or nbytes > BATCH_BYTES:
            self.size = max(1, self.size // 2)
        elif seconds < SHORT_SECONDS and nbytes < BATCH_BYTES // 2:
            self.size = min(MAX_BATCH, self.size * 2)


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages on their way: the actor that has them and the reference to its replies."""

    actor: Any
    ref: ray.ObjectRef[Any]
    messages: list[Message]
    nbytes: int


class Dispatch:
    """The messages between being taken and being answered, of one stream of messages."""

    def __init__(self, slots: list[Slot]) -> None:
        self._slots = slots
        self._backlogs: list[deque[Message]] = [deque() for _ in slots]
        self._owed: list[deque[Batch]] = [deque() for _ in slots]
        self._suspects: deque[Message] = deque()
        self._attempts: dict[str, int] = {}
        self._shared = SharedRecords()
        self._pace = Pace()
        self._held_bytes = 0

    @property
    def held(self) -> int:
        """Messages taken and not answered."""
        owed = sum(len(batch.messages) for queue in self._owed for batch in queue)
        return owed + len(self._suspects) + sum(map(len, self._backlogs))

    @property
    def room(self) -> bool:
        """Whether another message may be taken."""
        few = self._held_bytes < HELD_BYTES or self.held < len(self._slots)
        return few and self.held < (DEPTH + 1) * self._pace.size * len(self._slots)

    def add(self, message: Message) -> None:
        """Take a message to its home worker's backlog."""
        self._held_bytes += content_bytes(message)
        self._backlogs[message.metadata.dst_node_id % len(self._slots)].append(message)

    def send(self, *, more: bool) -> None:
        """Give work to every worker that owes less than it may; `more` messages may come."""
        for index, slot in enumerate(self._slots):
            while slot.starting is None and len(self._owed[index]) < DEPTH:
                messages = self._next(index, more)
                if not messages:
                    break
                self._owed[index].append(self._submit(slot, messages))

    def _next(self, index: int, more: bool) -> list[Message]:
        if self._suspects:
            return [self._suspects.popleft()]
        own, busy = self._backlogs[index], bool(self._owed[index])
        if own and (not busy or not more or len(own) >= self._pace.size):
            return [own.popleft() for _ in range(min(len(own), self._pace.size))]
        longest = max(self._backlogs, key=len)
        if busy or own or not longest:
            return []
        return [longest.pop() for _ in range(min((len(longest) + 1) // 2, self._pace.size))]

    def _submit(self, slot: Slot, messages: list[Message]) -> Batch:
        packed, shared = pack_batch(messages, self._shared)
        ref = slot.actor.run.remote(packed, *shared)
        return Batch(slot.actor, ref, messages, sum(map(content_bytes, messages)))

    def collect(self, timeout: float | None) -> list[Message]:
        """Wait until a worker has news and return the replies, if these are the news.

        Raises
        ------
        RunError
            No worker could be started.
        """
        starting = {s.starting: s for s in self._slots if s.starting is not None}
        owed = {batch.ref: i for i, queue in enumerate(self._owed) for batch in queue}
        if not starting and not owed:
            return []
        none_yet = len(starting) == len(self._slots)
        impatient = none_yet and (timeout is None or timeout > START_TIMEOUT)
        limit = START_TIMEOUT if impatient else timeout
        ready, _ = ray.wait([*starting, *owed], num_returns=1, timeout=limit)
        if impatient and not ready:
            raise RunError(
                f"no worker has started within {START_TIMEOUT:.0f} s; ask for fewer workers "
                "or enlarge the cluster ('ray status' shows what it has)"
            )
        replies: list[Message] = []
        for ref in ready:
            if ref in starting:
                starting[ref].started(ref)
            else:
                replies += self._settle(owed[ref])
        return replies

    def _settle(self, index: int) -> list[Message]:
        """Take in the first batch a worker owes."""
        batch = self._owed[index][0]
        try:
            packed, seconds = ray.get(batch.ref)
        except ray.exceptions.RayError as error:
            self._owed[index].popleft()
            return self._lost(index, batch, error)
        replies = [unpack_message(reply, own=True) for reply in packed]
        self._owed[index].popleft()
        self._held_bytes -= batch.nbytes
        nbytes = batch.nbytes + sum(map(content_bytes, replies))
        self._pace.update(seconds, nbytes)
        release(nbytes)
        for message in batch.messages:
            self._attempts.pop(message.metadata.message_id, None)
        return replies

    def _lost(self, index: int, batch: Batch, error: ray.exceptions.RayError) -> list[Message]:
        """Send a lost batch again, message by message; give up on those lost too often."""
        if not isinstance(error, ray.exceptions.RayTaskError):
            self._slots[index].replace(batch.actor, error)
            waiting = [m for later in self._owed[index] for m in later.messages]
            self._owed[index].clear()
            self._backlogs[index].extendleft(reversed(waiting))
        given_up = []
        for message in batch.messages:
            attempts = self._attempts.get(message.metadata.message_id, 0) + 1
            self._attempts[message.metadata.message_id] = attempts
            if attempts < MAX_ATTEMPTS:
                self._suspects.append(message)
            else:
                self._held_bytes -= content_bytes(message)
                given_up.append(_crash(message, attempts, error))
        return given_up

    def abandon(self) -> list[Message]:
        """Give up on everything and return the messages that got no reply."""
        messages = [*self._suspects]
        for queue in self._owed:
            for batch in queue:
                ray.cancel(batch.ref)
                messages += batch.messages
            queue.clear()
        for backlog in self._backlogs:
            messages += backlog
            backlog.clear()
        self._suspects.clear()
        self._held_bytes = 0
        return messages


def _crash(message: Message, attempts: int, error: BaseException) -> Message:
    node_id = message.metadata.dst_node_id
    reason = (
        f"RunError: the message to node {node_id} was given up after {attempts} workers "
        f"failed on it, the last with {cause_of(error)}"
    )
    return Message(Error(ErrorCode.CLIENT_APP_CRASHED, reason), reply_to=message)


def unanswered(messages: Iterable[Message]) -> list[Message]:
    """Return an Error reply to each message whose reply was not waited for."""
    reason = "RunError: the timeout of the round came before the reply"
    error = Error(ErrorCode.REPLY_MESSAGE_UNAVAILABLE, reason)
    return [Message(error, reply_to=message) for message in messages]
