from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fedsim.engine.internals import ErrorCode
from fedsim.engine.local_grid import LocalGrid
from fedsim.engine.messages import array_of, error_of, values_of
from fedsim.errors import ConfigError, DataError, RunError
from tests.fedsim.engine.apps import broken_app, cells, make_app, messages, record_of


@pytest.fixture
def grid() -> LocalGrid:
    return LocalGrid(make_app, num_nodes=5)


def test_replies_come_in_order_and_point_to_their_messages(grid: LocalGrid) -> None:
    sent = list(messages(grid.get_node_ids()))
    replies = list(grid.send_and_receive(sent))
    assert cells(replies) == [0, 1, 2, 3, 4]
    assert [r.metadata.reply_to_message_id for r in replies] == [
        m.metadata.message_id for m in sent
    ]
    assert [r.metadata.src_node_id for r in replies] == list(grid.get_node_ids())


def test_a_message_is_taken_only_when_its_reply_is_asked_for(grid: LocalGrid) -> None:
    taken = 0

    def counted() -> Iterator[Message]:
        nonlocal taken
        for message in messages(list(grid.get_node_ids()) * 40):
            taken += 1
            yield message

    replies = grid.send_and_receive(counted())
    assert taken == 0
    for received, _ in enumerate(replies, start=1):
        assert taken == received
    assert taken == 200


def test_an_app_instead_of_a_factory_is_taken() -> None:
    grid = LocalGrid(make_app(), num_nodes=2)
    assert cells(grid.send_and_receive(messages(grid.get_node_ids()))) == [0, 1]


def test_pushed_messages_are_answered_when_pulled(grid: LocalGrid) -> None:
    first, second = grid.push_messages(messages([1001, 1003]))
    assert cells(grid.pull_messages([second])) == [3]
    assert cells(grid.pull_messages([first])) == [1]


def test_pulling_what_was_never_pushed_or_twice_is_an_error_reply(grid: LocalGrid) -> None:
    (pushed,) = grid.push_messages(messages([1001]))
    grid.pull_messages([pushed])
    for unknown in (pushed, "nonsense"):
        (reply,) = grid.pull_messages([unknown])
        assert reply.error.code == ErrorCode.MESSAGE_UNAVAILABLE
        assert reply.metadata.reply_to_message_id == unknown
        assert f"no message with id '{unknown}' waits" in str(reply.error.reason)


def test_an_exception_of_the_app_is_an_error_reply(grid: LocalGrid) -> None:
    own, foreign = grid.send_and_receive(messages([1001, 1002], "fail"))
    assert own.error.code == foreign.error.code == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    assert own.error.reason == "DataError: item 17 of edge 3 is out of range; reload the data set"
    assert str(foreign.error.reason).startswith("ZeroDivisionError: no edges\n")
    assert "in fail" in str(foreign.error.reason)
    with pytest.raises(DataError, match=r"^item 17 of edge 3 .* \(reply of node 1001\)$"):
        raise error_of(own)
    with pytest.raises(RunError, match=r"ZeroDivisionError: no edges \(reply of node 1002\)"):
        raise error_of(foreign)


def test_an_app_that_cannot_be_made_is_an_error_reply() -> None:
    grid = LocalGrid(broken_app, num_nodes=1)
    (reply,) = grid.send_and_receive(messages([1000]))
    assert reply.error.code == ErrorCode.LOAD_CLIENT_APP_EXCEPTION
    with pytest.raises(ConfigError, match="unknown strategy 'dieet'"):
        raise error_of(reply)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("state", r"left \['seen'\] in Context.state.*keep it in a file"),
        ("nothing", "returned NoneType, not a Message; end the function with"),
        ("unheard_of", "No query function registered with name 'unheard_of'"),
    ],
)
def test_an_app_that_breaks_the_rules_is_told(grid: LocalGrid, action: str, reason: str) -> None:
    (reply,) = grid.send_and_receive(messages([1000], action))
    with pytest.raises(RunError, match=reason):
        raise error_of(reply)


def test_an_expired_message_does_not_run(grid: LocalGrid) -> None:
    (message,) = messages([1000])
    message.metadata.ttl = 0.001
    time.sleep(0.01)
    (reply,) = grid.send_and_receive([message])
    assert reply.error.code == ErrorCode.MESSAGE_UNAVAILABLE
    assert "ttl of 0.001 s ended" in str(reply.error.reason)


def test_timeout_stops_taking_messages_and_says_how_many_were_not_sent(
    grid: LocalGrid, caplog: pytest.LogCaptureFixture
) -> None:
    sent = list(messages(grid.get_node_ids(), seconds=0.05))
    with caplog.at_level(logging.WARNING, "fedsim.engine"):
        replies = list(grid.send_and_receive(sent, timeout=0.07))
    assert cells(replies) == [0, 1]
    assert "2 messages answered, 3 messages were never sent" in caplog.text


def test_a_message_to_nobody_is_refused(grid: LocalGrid) -> None:
    with pytest.raises(RunError, match="node 7: this grid has the nodes 1000 to 1004"):
        list(grid.send_and_receive(messages([7])))
    with pytest.raises(RunError, match="grid of 0 nodes"):
        LocalGrid(make_app, num_nodes=0)


def test_a_receiver_that_scribbles_on_its_message_disturbs_nobody(grid: LocalGrid) -> None:
    content = RecordDict({"config": ConfigRecord({"seen": 0})})
    sent = [Message(content, node, "query.scribble") for node in grid.get_node_ids()]
    seen = [r.content["metrics"]["seen"] for r in grid.send_and_receive(sent)]
    assert seen == [1] * 5
    assert content["config"]["seen"] == 0


def test_the_app_runs_on_one_torch_thread(grid: LocalGrid) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        (reply,) = grid.send_and_receive(messages([1000], "threads"))
        assert reply.content["metrics"]["torch"] == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_arrays_go_there_and_back(grid: LocalGrid) -> None:
    values = np.arange(12, dtype=np.int32).reshape(3, 4)
    content = RecordDict({"arrays": record_of(x=values)})
    (reply,) = grid.send_and_receive([Message(content, 1000, "query.echo")])
    assert np.array_equal(values_of(reply.content.array_records["arrays"]["x"]), 2 * values)


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.bool_, np.int64, np.float32]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_raw_arrays_keep_values_shape_and_dtype(values: NDArray[Any]) -> None:
    back = values_of(array_of(values))
    assert back.dtype == values.dtype
    assert back.shape == values.shape
    assert back.tobytes() == values.tobytes()
    assert not back.flags.writeable


def test_big_messages_are_freed_as_they_are_answered(grid: LocalGrid) -> None:
    """The app reads its message through flwr's view, which is part of a reference cycle."""

    def source() -> Iterator[Message]:
        for node_id in list(grid.get_node_ids()) * 4:
            content = RecordDict({"arrays": record_of(x=np.zeros(2**20, np.uint8))})
            yield Message(content, node_id, "query.echo")

    def records() -> int:
        return sum(isinstance(thing, ArrayRecord) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = records()
        # What is alive is the message, its detached copy, and the reply.
        assert max(records() - before for _ in grid.send_and_receive(source())) <= 4
    finally:
        gc.enable()
