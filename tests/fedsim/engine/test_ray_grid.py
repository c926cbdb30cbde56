from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray")
import psutil
import ray
from flwr.app import Message, RecordDict
from ray._private import worker as ray_worker

from fedsim.engine.dispatch import DEPTH, MAX_ATTEMPTS, MAX_BATCH
from fedsim.engine.internals import ErrorCode
from fedsim.engine.messages import error_of, values_of
from fedsim.engine.ray_grid import RayGrid
from fedsim.errors import ConfigError, DataError, RunError
from tests.fedsim.engine.apps import broken_app, cells, dying_app, make_app, messages, record_of

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]

NODES = 40
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def grid(local_ray: None) -> Iterator[RayGrid]:
    with RayGrid(make_app, NODES, workers=2) as grid:
        yield grid


def pids(replies: list[Message]) -> list[int]:
    return [int(str(reply.content["metrics"]["pid"])) for reply in replies]


def test_every_cell_replies_once_from_both_workers(grid: RayGrid) -> None:
    sent = list(messages(list(grid.get_node_ids()) * 10, seconds=0.001))
    replies = list(grid.send_and_receive(sent))
    assert Counter(cells(replies)) == dict.fromkeys(range(NODES), 10)
    assert {r.metadata.reply_to_message_id for r in replies} == {
        m.metadata.message_id for m in sent
    }
    assert len(set(pids(replies))) == 2
    assert os.getpid() not in pids(replies)


@pytest.mark.parametrize(
    ("seconds", "count", "ahead"),
    [
        # Dear messages go one by one, cheap ones in batches; a last batch is being yielded.
        (0.06, 40, 2 * (DEPTH + 1) + 1),
        (0.0, 2000, 2 * (DEPTH + 1) * MAX_BATCH + MAX_BATCH),
    ],
)
def test_messages_are_taken_a_bounded_number_ahead(
    grid: RayGrid, seconds: float, count: int, ahead: int
) -> None:
    taken = 0

    def counted() -> Iterator[Message]:
        nonlocal taken
        for message in messages((1000 + i % NODES for i in range(count)), seconds=seconds):
            taken += 1
            yield message

    replies = grid.send_and_receive(counted())
    assert taken == 0
    most = 0
    for received, _ in enumerate(replies):
        most = max(most, taken - received)
    assert taken == count
    assert most <= ahead


def test_a_broadcast_is_put_into_the_store_once(
    grid: RayGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    puts = Counter[str]()
    put = ray.put

    def counted_put(value: object) -> object:
        puts["all"] += 1
        return put(value)

    monkeypatch.setattr(ray, "put", counted_put)
    values = np.arange(50_000, dtype=np.int32)
    broadcast = record_of(x=values)
    sent = [
        Message(RecordDict({"arrays": broadcast}), node, "query.echo")
        for node in grid.get_node_ids()
    ]
    for reply in grid.send_and_receive(sent):
        got = values_of(reply.content.array_records["arrays"]["x"])
        assert np.array_equal(got, values * 2)
    assert puts["all"] == 1
    own = [
        Message(RecordDict({"arrays": record_of(x=values + node)}), node, "query.echo")
        for node in (1000, 1001, 1002)
    ]
    for reply in grid.send_and_receive(own):
        got = values_of(reply.content.array_records["arrays"]["x"])
        assert np.array_equal(got, (values + reply.metadata.src_node_id) * 2)
    assert puts["all"] == 4


def test_replies_outlive_the_workers(local_ray: None) -> None:
    values = np.arange(300_000, dtype=np.float64)
    with RayGrid(make_app, 1, workers=1) as grid:
        content = RecordDict({"arrays": record_of(x=values)})
        (reply,) = grid.send_and_receive([Message(content, 1000, "query.echo")])
    assert isinstance(reply.content.array_records["arrays"]["x"].data, bytes)
    assert np.array_equal(values_of(reply.content.array_records["arrays"]["x"]), values * 2)


def test_a_killed_worker_loses_and_doubles_nothing(
    grid: RayGrid, caplog: pytest.LogCaptureFixture
) -> None:
    replies = []
    killed = 0
    for reply in grid.send_and_receive(messages(grid.get_node_ids(), seconds=0.02)):
        replies.append(reply)
        if len(replies) == NODES // 4:
            killed = pids(replies)[0]
            os.kill(killed, signal.SIGKILL)
    assert sorted(cells(replies)) == list(range(NODES))
    assert "a worker was lost (ActorDiedError: " in caplog.text
    after = list(grid.send_and_receive(messages(grid.get_node_ids(), seconds=0.02)))
    assert sorted(cells(after)) == list(range(NODES))
    assert killed not in pids(after)


@pytest.mark.parametrize("once", [True, False])
def test_a_message_that_kills_its_worker(grid: RayGrid, tmp_path: Path, once: bool) -> None:
    """Lost once, it runs again; lost every time, it is given up and named."""
    sent = messages(grid.get_node_ids(), "die", cell=7, once=once, flag=str(tmp_path / "flag"))
    replies = list(grid.send_and_receive(sent))
    errors = [reply for reply in replies if reply.has_error()]
    answered = [reply for reply in replies if reply.has_content()]
    assert len(replies) == NODES
    if once:
        assert sorted(cells(answered)) == list(range(NODES))
        return
    assert sorted(cells(answered)) == [cell for cell in range(NODES) if cell != 7]
    assert [reply.error.code for reply in errors] == [ErrorCode.CLIENT_APP_CRASHED]
    with pytest.raises(
        RunError,
        match=rf"node 1007 was given up after {MAX_ATTEMPTS} workers failed on it, "
        "the last with ActorDiedError: .*worker process has died",
    ):
        raise error_of(errors[0])


def test_errors_of_the_app_are_replies_as_on_a_local_grid(grid: RayGrid) -> None:
    replies = {
        r.metadata.src_node_id: r for r in grid.send_and_receive(messages([1001, 1002], "fail"))
    }
    assert {r.error.code for r in replies.values()} == {ErrorCode.CLIENT_APP_RAISED_EXCEPTION}
    with pytest.raises(DataError, match=r"^item 17 of edge 3 .* \(reply of node 1001\)$"):
        raise error_of(replies[1001])
    with pytest.raises(RunError, match=r"ZeroDivisionError: no edges \(reply of node 1002\)"):
        raise error_of(replies[1002])


def test_the_app_runs_on_one_thread(grid: RayGrid) -> None:
    (reply,) = grid.send_and_receive(messages([1000], "threads"))
    assert reply.content["metrics"]["torch"] == reply.content["metrics"]["omp"] == 1


def test_pushed_messages_run_while_nobody_waits(grid: RayGrid) -> None:
    ids = grid.push_messages(messages(grid.get_node_ids(), seconds=0.001))
    replies: list[Message] = []
    until = time.monotonic() + 30
    while len(replies) < NODES and time.monotonic() < until:
        replies += grid.pull_messages(set(ids) - {r.metadata.reply_to_message_id for r in replies})
        time.sleep(0.01)
    assert sorted(cells(replies)) == list(range(NODES))
    (again,) = grid.pull_messages(ids[:1])
    assert again.error.code == ErrorCode.MESSAGE_UNAVAILABLE


def test_after_a_timeout_taken_messages_have_error_replies_and_the_grid_goes_on(
    grid: RayGrid,
) -> None:
    start = time.monotonic()
    sent = list(messages(grid.get_node_ids(), seconds=0.3))
    replies = list(grid.send_and_receive(sent, timeout=0.5))
    assert time.monotonic() - start < 3
    late = [reply for reply in replies if reply.has_error()]
    assert {reply.error.code for reply in late} == {ErrorCode.REPLY_MESSAGE_UNAVAILABLE}
    assert len({reply.metadata.reply_to_message_id for reply in replies}) == len(replies) < NODES
    assert sorted(cells(grid.send_and_receive(messages(grid.get_node_ids())))) == list(range(NODES))


def test_interrupted_by_ctrl_c_the_grid_goes_on(grid: RayGrid) -> None:
    """Ctrl-C comes while the grid waits for a reply."""
    interrupt = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(grid.send_and_receive(messages([1000, 1001], seconds=2)))
    assert time.monotonic() - start < 1.5
    assert sorted(cells(grid.send_and_receive(messages(grid.get_node_ids())))) == list(range(NODES))


def test_a_failing_source_of_messages_ends_the_round(grid: RayGrid) -> None:
    def source() -> Iterator[Message]:
        yield from messages([1000, 1001])
        raise ConfigError("no answer for cell 2")

    with pytest.raises(ConfigError, match="no answer for cell 2"):
        list(grid.send_and_receive(source()))


def test_ray_listens_to_this_machine_only(grid: RayGrid) -> None:
    addresses = {
        connection.laddr.ip
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses
    assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_what_ray_says_of_lost_processes_leaves_standard_output_alone(
    local_ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is for results; from Ray's own thread it comes at any time."""
    said = {"lines": ["A worker died"], "pid": "raylet", "is_err": False}
    ray_worker.print_to_stdstream(said, ignore_prefix=False)
    told = capsys.readouterr()
    assert "A worker died" in told.err
    assert not told.out


def test_an_app_that_cannot_be_made_is_an_error_reply(local_ray: None) -> None:
    with RayGrid(broken_app, 1, workers=1) as grid:
        (reply,) = grid.send_and_receive(messages([1000]))
    assert reply.error.code == ErrorCode.LOAD_CLIENT_APP_EXCEPTION
    with pytest.raises(ConfigError, match="unknown strategy 'dieet'"):
        raise error_of(reply)


def test_workers_that_die_while_starting_end_the_round(local_ray: None) -> None:
    with (
        RayGrid(dying_app, 1, workers=1) as grid,
        pytest.raises(RunError, match="workers died 3 times in a row while making the ClientApp"),
    ):
        list(grid.send_and_receive(messages([1000])))


def test_wrong_arguments_are_refused(local_ray: None) -> None:
    with pytest.raises(RunError, match="a grid of 0 workers cannot run"):
        RayGrid(make_app, 1, workers=0)
    with pytest.raises(RunError, match="Ray has 4 cores, but 64 workers want one each"):
        RayGrid(make_app, 1, workers=64)
    with pytest.raises(RunError, match="needs a factory of the ClientApp, not a ClientApp"):
        RayGrid(make_app(), 1, workers=1)  # type: ignore[arg-type]
    with pytest.raises(RunError, match=r"cannot be sent to a worker.*functools.partial of one"):
        RayGrid(partial(make_app, threading.Lock()), 1, workers=1)  # type: ignore[call-arg]


def test_a_grid_that_cannot_be_made_leaves_no_ray_behind() -> None:
    code = """
import ray
from fedsim.engine.ray_grid import RayGrid
from fedsim.errors import RunError
from tests.fedsim.engine.apps import make_app
try:
    RayGrid(make_app(), 1, workers=1)
except RunError as error:
    print(ray.is_initialized(), error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("False RayGrid needs a factory"), done.stderr


def test_a_closed_grid_says_so(local_ray: None) -> None:
    with RayGrid(make_app, 1, workers=1) as grid:
        (reply,) = grid.send_and_receive(messages([1000]))
    grid.close()
    with pytest.raises(RunError, match="this grid is closed"):
        list(grid.send_and_receive(messages([1000])))
    until = time.monotonic() + 10
    while psutil.pid_exists(pids([reply])[0]) and time.monotonic() < until:
        time.sleep(0.05)
    assert not psutil.pid_exists(pids([reply])[0])
    assert ray.is_initialized()  # it was running before the grid
