"""What the grids need of flwr, and what flwr's own strategy finds in them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from fedsim.engine import internals
from fedsim.engine.base_grid import BaseGrid
from fedsim.engine.local_grid import LocalGrid
from fedsim.errors import RunError
from tests.fedsim.engine.apps import average_app, local_weights

NODES = 4
MEMBERS = {
    "set_run",
    "run",
    "create_message",
    "get_node_ids",
    "push_messages",
    "pull_messages",
    "send_and_receive",
}


@pytest.fixture(
    params=["local", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.xdist_group("ray")])]
)
def grid(request: pytest.FixtureRequest) -> Iterator[BaseGrid]:
    if request.param == "local":
        yield LocalGrid(average_app, NODES)
        return
    request.getfixturevalue("local_ray")
    from fedsim.engine.ray_grid import RayGrid

    with RayGrid(average_app, NODES, workers=2) as grid:
        yield grid


def expected_average(rounds: int) -> NDArray[np.float64]:
    """Return FedAvg's weights by hand: cell c counts c + 1 examples."""
    weights = np.zeros((2, 3))
    for _ in range(rounds):
        local = np.stack([local_weights(weights, cell) for cell in range(NODES)])
        weights = np.tensordot([0.1, 0.2, 0.3, 0.4], local, 1)
    return weights


def test_flwrs_own_fedavg_runs_unmodified(grid: BaseGrid) -> None:
    initial = ArrayRecord({"w": Array(np.zeros((2, 3)))})
    result = FedAvg().start(grid, initial, num_rounds=2)
    np.testing.assert_allclose(result.arrays["w"].numpy(), expected_average(rounds=2))
    # A round adds (1*1 + 2*2 + 3*3 + 4*4) / 10 = 3 times 0, 1, … 5.
    np.testing.assert_allclose(result.arrays["w"].numpy(), 6.0 * np.arange(6.0).reshape(2, 3))
    for number in (1, 2):
        # 0.5 * (1*0 + 2*1 + 3*2 + 4*3) / 10 and half of it
        assert result.train_metrics_clientapp[number]["loss"] == pytest.approx(1.0)
        assert result.evaluate_metrics_clientapp[number]["hit"] == pytest.approx(0.5)


def test_a_grid_has_the_members_flwr_asks_for(grid: BaseGrid) -> None:
    assert Grid.__abstractmethods__ == MEMBERS
    assert not type(grid).__abstractmethods__
    run = internals.Run.create_empty(run_id=17)
    grid.set_run(run)
    assert grid.run is run
    message = grid.create_message(RecordDict(), "train", 1002, "group", ttl=60)
    assert isinstance(message, Message)
    assert message.metadata.run_id == 17
    assert message.metadata.src_node_id == internals.SUPERLINK_NODE_ID
    assert (message.metadata.dst_node_id, message.metadata.ttl) == (1002, 60)
    assert list(grid.get_node_ids()) == [1000, 1001, 1002, 1003]
    assert [node.node_id for node in grid.get_nodes()] == [1000, 1001, 1002, 1003]


def test_the_installed_flwr_is_the_pinned_one() -> None:
    internals.check_version(version("flwr"))


@pytest.mark.parametrize("other", ["1.40.2", "1.42.0", "2.41.0", "1.4"])
def test_another_flwr_is_refused(other: str) -> None:
    with pytest.raises(
        RunError, match=rf"flwr {other} is installed, .*flwr 1\.41\.\*.*pip install 'flwr==1\.41"
    ):
        internals.check_version(other)


def test_a_message_needs_an_identity_and_gets_it_from_the_grid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(internals.TaskIdentity, name, None)
    with pytest.raises(RuntimeError, match="run_id is not set"):
        Message(RecordDict(), 1000, "train")
    LocalGrid(average_app, NODES)
    assert Message(RecordDict(), 1000, "train").metadata.src_task_id == 1


def test_the_error_codes_are_there() -> None:
    codes = internals.ErrorCode
    assert (codes.LOAD_CLIENT_APP_EXCEPTION, codes.CLIENT_APP_RAISED_EXCEPTION) == (1, 2)
    assert (codes.MESSAGE_UNAVAILABLE, codes.REPLY_MESSAGE_UNAVAILABLE) == (3, 4)
    assert codes.CLIENT_APP_CRASHED == 8
