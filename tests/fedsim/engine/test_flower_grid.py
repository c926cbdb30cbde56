"""Runs on a grid that behaves as Flower's own: SuperNodes that come, go and come back."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid

from fedsim import server_app
from fedsim.client_app import make_client_app
from fedsim.cloud.hosting import host_cells
from fedsim.display import Display
from fedsim.engine.flower_grid import AHEAD, FlowerGrid
from fedsim.engine.internals import ErrorCode, Run, identify
from fedsim.engine.run import Run as FedsimRun
from fedsim.engine.run import run
from fedsim.errors import ConfigError, RunError, StoreError
from fedsim.scenario import ScenarioConfig
from fedsim.server_app import make_server_app
from tests.fedsim.engine.apps import messages
from tests.studies import ledger_bytes, tiny

RUN_ID = 77


class SuperLink(Grid):
    """A SuperLink with SuperNodes in this process, `nodes` by id with their state folders.

    As flwr's HttpGrid it goes through pushed messages twice, knows no order, and answers
    for a node that is gone. `leave` = (node, n) takes a node away at its n-th message.
    """

    def __init__(self, nodes: dict[int, Path], leave: tuple[int, int] | None = None) -> None:
        self.nodes, self.leave = dict(nodes), leave
        self.app, self.ids = make_client_app(), itertools.count(1)
        self.under_way: dict[str, Message] = {}
        self.served = dict.fromkeys(nodes, 0)
        self.most_under_way = 0
        self.config: dict[str, bool | float | int | str] = {}
        self.set_run(Run.create_empty(run_id=RUN_ID))

    def set_run(self, run: Run) -> None:
        self._run = run
        identify(run.run_id, 1)

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        for message in messages:
            message.metadata.__dict__["_message_id"] = f"m{next(self.ids)}"
        self.under_way |= {message.metadata.message_id: message for message in messages}
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        last = max(message_ids, key=lambda name: int(name[1:]))
        return [self.answer(self.under_way.pop(last))]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        raise AssertionError("fedsim must not use flwr's own, which cannot take a generator")

    def answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        self.served[node] += 1
        if self.leave == (node, self.served[node]):
            self.nodes.pop(node)
        if node not in self.nodes:
            error = Error(ErrorCode.NODE_UNAVAILABLE, "no heartbeat")
            return Message(error, reply_to=message)
        config: dict[str, bool | float | int | str] = {"state": str(self.nodes[node])}
        context = Context(RUN_ID, node, config, RecordDict(), self.config)
        return self.app(message, context)


def hold(link: SuperLink, **config: bool | float | int | str) -> None:
    """Run the ServerApp as Flower does."""
    context = Context(RUN_ID, 1, {}, RecordDict(), config)
    link.config = context.run_config
    make_server_app(Display(quiet=True))(grid=link, context=context)


def study(file: Path, scenario: ScenarioConfig) -> dict[str, str]:
    """Return the run's config of a scenario: a file, new runs go beside it."""
    from fedsim.engine.directory import write_scenario

    write_scenario(scenario, file)
    return {"scenario": str(file), "out": str(file.parent / "runs")}


def only_run(config: dict[str, str]) -> FedsimRun:
    (path,) = Path(config["out"]).glob("*/*")
    return FedsimRun(path)


@pytest.fixture
def nodes(tmp_path: Path) -> dict[int, Path]:
    return {7: tmp_path / "seven", 3: tmp_path / "three"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(server_app, "NODES_TIMEOUT_S", 0.05)
    level = logging.getLogger("flwr").level
    yield
    logging.getLogger("flwr").setLevel(level)


def test_the_ledger_is_that_of_a_local_grid(tmp_path: Path, nodes: dict[int, Path]) -> None:
    scenario = tiny("diet")
    link, config = SuperLink(nodes), study(tmp_path / "tiny.toml", scenario)
    hold(link, **config, overrides="", **{"min-nodes": 2})
    done = only_run(config)
    assert ledger_bytes(done) == ledger_bytes(run(scenario, out=tmp_path / "local"))
    kept = {
        node: sorted(file.name for file in (folder / done.path.name).glob("cell-*-r0003.bin"))
        for node, folder in nodes.items()
    }
    names = [f"cell-00000{cell}-r0003.bin" for cell in range(3)]
    assert kept == {3: [names[0], names[2]], 7: [names[1]]}, "three cells go round two nodes"
    assert link.served == {3: 12, 7: 6}


def test_overrides_change_the_scenario(tmp_path: Path, nodes: dict[int, Path]) -> None:
    config = study(tmp_path / "tiny.toml", tiny("diet"))
    hold(SuperLink(nodes), **config, overrides="rounds=1; strategy.name=static")
    assert only_run(config).scenario == tiny("static", rounds=1)


def test_few_messages_are_under_way(nodes: dict[int, Path]) -> None:
    link = SuperLink(nodes)
    taken = []

    def source() -> Iterator[Message]:
        for message in messages([3, 7] * 10, action="default", run="none", round=1):
            taken.append(message)
            yield message

    replies = FlowerGrid(link).send_and_receive(source())
    assert taken == []
    next(iter(replies))
    assert len(taken) == AHEAD * 2
    assert len(list(replies)) == 19
    assert link.most_under_way == AHEAD * 2


def test_a_node_that_leaves_ends_the_run_and_it_resumes_elsewhere(
    tmp_path: Path, nodes: dict[int, Path]
) -> None:
    """Node 7 goes in round 2; its SuperNode comes back as node 2, which changes the order."""
    config = study(tmp_path / "tiny.toml", tiny("diet"))
    with pytest.raises(RunError, match=r"node 7 left before it replied \(no heartbeat\)") as lost:
        hold(SuperLink(nodes, leave=(7, 3)), **config)
    stopped = only_run(config)
    assert lost.value.__notes__ == [
        f"""resume with: flwr run . --run-config 'resume="{stopped.path}"'"""
    ]
    assert stopped.rounds_done == 1
    link = SuperLink({3: nodes[3], 2: nodes[7]})
    hold(link, resume=str(stopped.path), scenario="quickstart")
    assert ledger_bytes(stopped) == ledger_bytes(run(tiny("diet"), out=tmp_path / "local"))
    assert link.served == {3: 1 + 2 * 4, 2: 1 + 4}, "each is asked once and keeps its cells"
    hold(SuperLink({}), resume=str(stopped.path), **{"min-nodes": 1})


def test_a_run_does_not_resume_without_the_node_that_keeps_a_cell(
    tmp_path: Path, nodes: dict[int, Path]
) -> None:
    config = study(tmp_path / "tiny.toml", tiny("static"))
    with pytest.raises(RunError, match="node 7 left"):
        hold(SuperLink(nodes, leave=(7, 3)), **config)
    shutil.rmtree(nodes[7])
    with pytest.raises(RunError, match=r"no node keeps round 1 of cells 1 of run \d{8}T"):
        hold(SuperLink(nodes), resume=str(only_run(config).path))


def test_nodes_that_share_a_folder_share_the_cells(tmp_path: Path, nodes: dict[int, Path]) -> None:
    folder = tmp_path / "shared"
    (folder / "study").mkdir(parents=True)
    for cell in range(4):
        (folder / "study" / f"cell-00000{cell}-r0002.bin").touch()
    grid = FlowerGrid(SuperLink({7: folder, 3: folder}))
    assert host_cells(grid, 4, "study", 2) == (3, 7, 3, 7)


def test_what_a_node_cannot_do_is_told_in_its_own_words(
    tmp_path: Path, nodes: dict[int, Path]
) -> None:
    nodes[7].touch()
    with pytest.raises(StoreError, match=r"seven.*cannot be written: .* \(reply of node 7\)"):
        hold(SuperLink(nodes), **study(tmp_path / "tiny.toml", tiny("static")))


def test_a_run_waits_for_its_nodes(tmp_path: Path, nodes: dict[int, Path]) -> None:
    config = study(tmp_path / "tiny.toml", tiny("static"))
    with pytest.raises(RunError, match="2 of 3 nodes came within 0 s; start more SuperNodes"):
        hold(SuperLink(nodes), **config, **{"min-nodes": 3})
    with pytest.raises(ConfigError, match="min-nodes = 0 is no number of nodes; give 1 or more"):
        hold(SuperLink(nodes), **config, **{"min-nodes": 0})


@pytest.mark.parametrize("key", ["out", "resume", "scenario"])
def test_relative_paths_are_refused(key: str, nodes: dict[int, Path]) -> None:
    with pytest.raises(ConfigError, match=rf"{key} = 'some/tiny.toml' is relative.*absolute path"):
        hold(SuperLink(nodes), **{key: "some/tiny.toml"})


def test_a_relative_state_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"state = 'here' is relative.*absolute path"):
        hold(SuperLink({3: Path("here")}), **study(tmp_path / "tiny.toml", tiny("static")))


@pytest.mark.parametrize("taken", [[], [None, "m2"]])
def test_messages_the_superlink_does_not_take(
    taken: list[str], nodes: dict[int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that left is None in the list; a request that is too large takes none."""
    link = SuperLink(nodes)
    monkeypatch.setattr(link, "push_messages", lambda batch: taken)
    sent = FlowerGrid(link).send_and_receive(messages([3, 7]))
    found = len(taken) // 2
    with pytest.raises(RunError, match=rf"took {found} of 2 messages to the nodes \[3, 7\]"):
        next(iter(sent))


def test_a_timeout_ends_a_round(
    nodes: dict[int, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    link = SuperLink(nodes)
    monkeypatch.setattr(link, "pull_messages", lambda ids: [])
    with caplog.at_level(logging.WARNING, "fedsim.engine"):
        grid = FlowerGrid(link, poll_s=0.01)
        assert list(grid.send_and_receive(messages([3, 7]), timeout=0.05)) == []
    assert "2 messages were not answered" in caplog.text
