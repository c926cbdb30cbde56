"""Flower's own grid, of ``flwr run`` and of deployments, fed the way fedsim's rounds need it.

flwr's `HttpGrid.send_and_receive` goes through the messages twice, so it cannot take a
generator; it puts a whole round into the SuperLink at once and looks for replies every
3 seconds. `FlowerGrid` takes messages one by one, keeps two for every node under way (one
computed, one waiting) and yields replies as they come.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from itertools import islice

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedsim.engine.internals import ErrorCode, Run
from fedsim.engine.messages import content_bytes, release
from fedsim.errors import RunError

AHEAD = 2
"""Messages under way for each node; a SuperNode computes them one after the other."""

LOST = (
    ErrorCode.MESSAGE_UNAVAILABLE,
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE,
    ErrorCode.NODE_UNAVAILABLE,
)
"""Errors the SuperLink itself replies with, for a node that does not."""

log = logging.getLogger("fedsim.engine")


class FlowerGrid(Grid):
    """A grid around the one Flower gives the ServerApp; only sending is its own.

    Parameters
    ----------
    grid
        Flower's grid.
    wanted
        Nodes a run waits for before it begins.
    timeout_s
        How long it waits for them.
    poll_s
        Seconds between two looks for nodes or replies.
    """

    def __init__(
        self, grid: Grid, wanted: int = 1, timeout_s: float = 600.0, poll_s: float = 0.2
    ) -> None:
        self.grid, self.wanted, self.timeout_s, self.poll_s = grid, wanted, timeout_s, poll_s

    def set_run(self, run: Run) -> None:
        self.grid.set_run(run)

    @property
    def run(self) -> Run:
        return self.grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """Return the nodes that are there now, in a fixed order."""
        return sorted(self.grid.get_node_ids())

    def wait_for_nodes(self) -> None:
        """Return as soon as the wanted number of nodes is there.

        Raises
        ------
        RunError
            They did not come in time.
        """
        deadline, seen = time.monotonic() + self.timeout_s, -1
        while (found := len(self.get_node_ids())) < self.wanted:
            if time.monotonic() > deadline:
                raise RunError(
                    f"{found} of {self.wanted} nodes came within {self.timeout_s:.0f} s; "
                    "start more SuperNodes, or set 'min-nodes' lower"
                )
            if found != seen:
                log.warning("waiting for nodes: %d of %d are there", found, self.wanted)
            seen = found
            time.sleep(self.poll_s)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages and return their ids.

        Raises
        ------
        RunError
            The SuperLink does not take one of them.
        """
        batch = list(messages)
        ids = list(self.grid.push_messages(batch))
        if len(ids) != len(batch) or not all(ids):
            nodes = sorted({message.metadata.dst_node_id for message in batch})
            raise RunError(
                f"the SuperLink took {sum(map(bool, ids))} of {len(batch)} messages to the nodes "
                f"{nodes}: one of them left, or a cell's message is too large; start its "
                "SuperNode again and resume the run, or lower population.cell_size"
            )
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return list(self.grid.pull_messages(list(message_ids)))

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Yield each reply once, as it comes; see the module's text.

        Raises
        ------
        RunError
            A node left before it replied.
        """
        source = iter(messages)
        end = time.monotonic() + timeout if timeout is not None else float("inf")
        waiting: dict[str, int] = {}
        room = AHEAD * max(len(self.get_node_ids()), 1)
        while time.monotonic() < end:
            batch = list(islice(source, room - len(waiting)))
            if batch:
                nodes = [message.metadata.dst_node_id for message in batch]
                waiting |= dict(zip(self.push_messages(batch), nodes, strict=True))
                release(sum(map(content_bytes, batch)))
            if not waiting:
                return
            del batch
            replies = self.pull_messages(waiting)
            for reply in replies:
                node = waiting.pop(reply.metadata.reply_to_message_id)
                yield _present(reply, node)
            if not replies:
                time.sleep(self.poll_s)
        log.warning("a timeout ended the round: %d messages were not answered", len(waiting))


def _present(reply: Message, node: int) -> Message:
    if reply.has_error() and reply.error.code in LOST:
        raise RunError(
            f"node {node} left before it replied ({reply.error.reason}); the round is not "
            "booked: start its SuperNode again, with the same state folder, and resume the run"
        )
    return reply
