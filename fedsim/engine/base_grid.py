"""What both grids share: flwr's `Grid` members that need no transport, and one answer.

A node hosts one cell. Its Context is made anew for every message from the node's index
alone, so nothing a worker holds is needed to carry on without it; what a cell keeps, it
keeps in files.
"""

from __future__ import annotations

import itertools
import logging
import operator
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

from flwr.app import Context, Error, Message, RecordDict, UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fedsim.cores import one_thread
from fedsim.engine.internals import SUPERLINK_NODE_ID, ErrorCode, Run, identify, make_message
from fedsim.engine.messages import failure
from fedsim.errors import RunError

AppFactory = Callable[[], ClientApp]
"""Makes the ClientApp; picklable where a worker process has to make it."""

FIRST_NODE_ID = 1000
"""Node id of cell 0; cell i is node ``FIRST_NODE_ID + i``."""

log = logging.getLogger("fedsim.engine")


def node_context(
    node_id: int, num_nodes: int, run_id: int, run_config: Mapping[str, bool | float | str]
) -> Context:
    """Return the Context of a node: a pure function of its id and the run."""
    return Context(
        run_id=run_id,
        node_id=node_id,
        node_config={"partition-id": node_id - FIRST_NODE_ID, "num-partitions": num_nodes},
        state=RecordDict(),
        run_config=dict(run_config),
    )


def load_app(factory: AppFactory | ClientApp) -> ClientApp | Error:
    """Return the ClientApp, or the Error every reply carries as long as it cannot be made."""
    if isinstance(factory, ClientApp):
        return factory
    try:
        return factory()
    except Exception as error:
        return failure(error, ErrorCode.LOAD_CLIENT_APP_EXCEPTION)


def answer(app: ClientApp | Error, message: Message, context: Context) -> Message:
    """Return the reply to one message; whatever the app raises becomes an Error reply."""
    if isinstance(app, Error):
        return Message(app, reply_to=message)
    if time.time() > message.metadata.created_at + message.metadata.ttl:
        reason = f"message expired: its ttl of {message.metadata.ttl} s ended before it ran"
        return Message(Error(ErrorCode.MESSAGE_UNAVAILABLE, reason), reply_to=message)
    try:
        with one_thread():
            reply = app(message, context)
        _check(reply, context)
    except Exception as error:
        code = ErrorCode.CLIENT_APP_RAISED_EXCEPTION
        return Message(failure(error, code), reply_to=message)
    return reply


def _check(reply: object, context: Context) -> None:
    if not isinstance(reply, Message):
        raise RunError(
            f"the ClientApp returned {type(reply).__name__}, not a Message; "
            "end the function with: return Message(content, reply_to=message)"
        )
    if context.state:
        raise RunError(
            f"the ClientApp left {sorted(context.state)} in Context.state, which no grid "
            "of fedsim keeps between messages; keep it in a file of the run directory"
        )


class BaseGrid(Grid):
    """The members of flwr's Grid but for the transport, which a subclass gives.

    Parameters
    ----------
    app_factory
        Makes the ClientApp; a ClientApp itself is taken as well.
    num_nodes
        Number of nodes, which is the number of cells.
    run_config
        What the app finds in ``Context.run_config``.

    Raises
    ------
    RunError
        `num_nodes` is not positive.
    """

    def __init__(
        self,
        app_factory: AppFactory | ClientApp,
        num_nodes: int,
        run_config: UserConfig | None = None,
    ) -> None:
        if num_nodes < 1:
            raise RunError(f"a grid of {num_nodes} nodes cannot run: give at least 1 node")
        self.app_factory = app_factory
        self.num_nodes = num_nodes
        self.run_config = dict(run_config or {})
        self._message_ids = itertools.count(1)
        self.set_run(Run.create_empty(run_id=1))

    def set_run(self, run: Run) -> None:
        """Set the run and who sends the messages created in this process from now on."""
        self._run = run
        identify(run.run_id, SUPERLINK_NODE_ID)

    @property
    def run(self) -> Run:
        """The run this grid works for."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message from this grid's server."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> range:
        """Return the node ids; the i-th is the node of cell i."""
        return range(FIRST_NODE_ID, FIRST_NODE_ID + self.num_nodes)

    @abstractmethod
    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Take the messages one by one and yield each reply once, as it comes.

        Nothing is sent before the first reply is asked for, and the messages are taken
        only a bounded number ahead of the replies. The replies can be gone through once.
        After `timeout` seconds no further message is taken.
        """

    def close(self) -> None:
        """Free what the grid holds; it cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _stamp(self, message: Message) -> Message:
        """Check the receiver and give the message its id."""
        node_id = message.metadata.dst_node_id
        if node_id not in self.get_node_ids():
            raise RunError(
                f"message to node {node_id}: this grid has the nodes {FIRST_NODE_ID} to "
                f"{FIRST_NODE_ID + self.num_nodes - 1}; take ids from get_node_ids()"
            )
        message.metadata.__dict__["_message_id"] = str(next(self._message_ids))
        return message

    def _arrived(self, reply: Message) -> Message:
        reply.metadata.__dict__["_message_id"] = str(next(self._message_ids))
        return reply

    def _unknown(self, message_id: str) -> Message:
        """Return the reply to a pull of what nobody waits for."""
        reason = (
            f"no message with id '{message_id}' waits for a reply: it was never pushed "
            "to this grid, or its reply was pulled already"
        )
        message = Message(RecordDict(), FIRST_NODE_ID, "query")
        message.metadata.__dict__["_message_id"] = message_id
        reply = Message(Error(ErrorCode.MESSAGE_UNAVAILABLE, reason), reply_to=message)
        return self._arrived(make_message(reply.metadata, error=reply.error))


def warn_timeout(answered: int, messages: Iterator[Message]) -> None:
    """Log that a timeout ended a round, with what is known of the messages never sent."""
    left = operator.length_hint(messages, -1)
    unsent = f"{left} messages were" if left >= 0 else "what is left of the messages was"
    log.warning("a timeout ended the round: %d messages answered, %s never sent", answered, unsent)
