"""A grid in this process and thread: for debugging, for tests and for small studies."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from flwr.app import Message, UserConfig
from flwr.clientapp import ClientApp

from fedsim.engine.base_grid import (
    AppFactory,
    BaseGrid,
    answer,
    load_app,
    node_context,
    warn_timeout,
)
from fedsim.engine.messages import content_bytes, detach, release


class LocalGrid(BaseGrid):
    """Answers a message at the moment its reply is asked for; holds one at a time.

    A ClientApp runs on one torch thread, as in a worker of RayGrid, and gets and gives
    messages in containers of its own, so that both grids end in the same bits.
    """

    def __init__(
        self,
        app_factory: AppFactory | ClientApp,
        num_nodes: int,
        run_config: UserConfig | None = None,
    ) -> None:
        super().__init__(app_factory, num_nodes, run_config)
        self._app = load_app(app_factory)
        self._pushed: dict[str, Message] = {}

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        start, source = time.monotonic(), iter(messages)
        for answered, message in enumerate(source, start=1):
            yield self._answer(self._stamp(message))
            if timeout is not None and time.monotonic() - start > timeout:
                warn_timeout(answered, source)
                return

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Keep the messages until their replies are pulled; return their ids."""
        ids = []
        for message in messages:
            self._stamp(message)
            self._pushed[message.metadata.message_id] = message
            ids.append(message.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Answer the messages of these ids now and return their replies."""
        replies = []
        for message_id in message_ids:
            message = self._pushed.pop(message_id, None)
            replies.append(self._answer(message) if message else self._unknown(message_id))
        return replies

    def _answer(self, message: Message) -> Message:
        node_id = message.metadata.dst_node_id
        context = node_context(node_id, self.num_nodes, self.run.run_id, self.run_config)
        reply = self._arrived(detach(answer(self._app, detach(message), context)))
        release(content_bytes(message) + content_bytes(reply))
        return reply
