"""Routing without Ray: actors that only note what they are given."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("ray")
from fedsim.engine.base_grid import FIRST_NODE_ID
from fedsim.engine.dispatch import BATCH_BYTES, DEPTH, MAX_BATCH, START_TIMEOUT, Dispatch, Pace
from fedsim.engine.internals import SUPERLINK_NODE_ID, identify
from fedsim.engine.workers import Slot
from fedsim.errors import RunError
from tests.fedsim.engine.apps import messages


class NotingSlot:
    """A started worker that never answers."""

    starting = None

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.actor = self.run = self

    def remote(self, packed: list[Any], *shared: Any) -> object:
        self.batches.append([metadata.dst_node_id - FIRST_NODE_ID for metadata, *_ in packed])
        return object()


def cells_to(dispatch: Dispatch, cells: list[int]) -> None:
    identify(1, SUPERLINK_NODE_ID)
    for message in messages(FIRST_NODE_ID + cell for cell in cells):
        dispatch.add(message)


def two() -> tuple[Dispatch, NotingSlot, NotingSlot]:
    slots = NotingSlot(), NotingSlot()
    return Dispatch(cast(list[Slot], list(slots))), *slots


def test_a_cell_goes_to_its_home_worker() -> None:
    dispatch, even, odd = two()
    cells_to(dispatch, [0, 1, 2, 3])
    dispatch.send(more=False)
    assert (even.batches, odd.batches) == ([[0], [2]], [[1], [3]])


def test_an_idle_worker_takes_from_the_longest_backlog_and_a_busy_one_does_not() -> None:
    dispatch, even, odd = two()
    cells_to(dispatch, [0, 2, 4, 6])
    dispatch.send(more=False)
    assert (even.batches, odd.batches) == ([[0], [2]], [[6]])
    assert dispatch.held == 4


def test_no_more_is_taken_than_the_workers_may_owe_and_a_batch_each() -> None:
    dispatch, *_ = two()
    taken = 0
    while dispatch.room:
        cells_to(dispatch, [taken])
        taken += 1
        dispatch.send(more=True)
    assert taken == (DEPTH + 1) * 2


def test_a_busy_worker_waits_for_a_full_batch_while_more_may_come() -> None:
    dispatch, even, odd = two()
    dispatch._pace.size = 2
    cells_to(dispatch, [0, 2, 4, 1])
    dispatch.send(more=True)
    assert (even.batches, odd.batches) == ([[0, 2]], [[1]])
    dispatch.send(more=False)
    assert even.batches == [[0, 2], [4]]


@pytest.mark.parametrize("timeout", [None, 3600.0])
def test_a_full_cluster_is_told_and_not_waited_for_until_the_rounds_timeout(
    timeout: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = NotingSlot()
    slot.starting = "pending"  # type: ignore[assignment]
    waited: list[float | None] = []

    def wait(refs: list[object], timeout: float | None, **_: object) -> tuple[list[Any], list[Any]]:
        waited.append(timeout)
        return [], refs

    monkeypatch.setattr("fedsim.engine.dispatch.ray.wait", wait)
    with pytest.raises(RunError, match=r"no worker has started within 300 s; ask for fewer"):
        Dispatch(cast(list[Slot], [slot])).collect(timeout)
    assert waited == [START_TIMEOUT]
    assert Dispatch(cast(list[Slot], [slot])).collect(5.0) == []


def test_abandoned_messages_are_all_returned() -> None:
    dispatch, *_ = two()
    cells_to(dispatch, [0, 1, 2, 3, 4])
    assert len({id(message) for message in dispatch.abandon()}) == 5
    assert dispatch.held == 0


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 2**30))))
def test_batches_stay_between_one_and_the_most(outcomes: list[tuple[float, int]]) -> None:
    pace = Pace()
    for seconds, nbytes in outcomes:
        before = pace.size
        pace.update(seconds, nbytes)
        assert 1 <= pace.size <= MAX_BATCH
        if seconds > 0.05 or nbytes > BATCH_BYTES:
            assert pace.size <= max(1, before // 2)


def test_batches_of_cheap_messages_grow() -> None:
    pace = Pace()
    for _ in range(10):
        pace.update(0.001, 100)
    assert pace.size == MAX_BATCH
