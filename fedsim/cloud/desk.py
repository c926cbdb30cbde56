"""The cloud's side of a round: asks for uploads, answers them, books what came of it.

A strategy decides what is learnt and answered; the desk carries it: messages to and from
the cells, budgets, encoding, controls, the ledger and what a run needs to go on later.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict

from fedsim import ledger
from fedsim.arrays import Named, config_of, pack, to_batch, unpack
from fedsim.cloud import controls
from fedsim.cloud.answering import Answering
from fedsim.cloud.federated import mean_updates
from fedsim.cloud.kit import Kit
from fedsim.cloud.spool import Spool
from fedsim.cloud.tally import Tally
from fedsim.engine.messages import error_of
from fedsim.errors import RunError
from fedsim.files import settle
from fedsim.population import Population
from fedsim.scenario import ScenarioConfig
from fedsim.setting import Uploads
from fedsim.strategy import EdgeCloudStrategy

log = logging.getLogger(__name__)

ConfigValue = (
    int
    | float
    | str
    | bytes
    | bool
    | list[int]
    | list[float]
    | list[str]
    | list[bytes]
    | list[bool]
)


class Desk:
    """Carries one run's messages; `done` rounds are committed, `hosts` are the cells' nodes."""

    def __init__(
        self,
        scenario: ScenarioConfig,
        population: Population,
        strategy: EdgeCloudStrategy,
        kit: Kit,
        run_dir: Path,
        done: int,
        hosts: Sequence[int],
        report: Callable[[int, Mapping[str, float]], None],
    ) -> None:
        self.scenario, self.population, self.strategy = scenario, population, strategy
        self.kit, self.run_dir, self.done = kit, run_dir, done
        self.hosts, self.report = hosts, report
        self.answering = Answering(population, strategy, kit, run_dir / "state" / "cloud")
        self.sampled = controls.sampled_cells(scenario, population)
        self.spool = Spool(run_dir)

    def round(self, server_round: int) -> int:
        """Return the run's round: Flower counts from 1 again after a resume."""
        return self.done + server_round

    @cached_property
    def _provision(self) -> ArrayRecord:
        return self.kit.record()

    # ---- uploads ------------------------------------------------------------------------

    def ask(self, server_round: int) -> Iterator[Message]:
        """Yield a request for uploads to every cell; the first also brings the provision."""
        first = {"provision": self._provision} if server_round == 1 else {}
        round = self.round(server_round)
        due = controls.due(self.scenario, self.strategy, round)
        for cell, node in enumerate(self.hosts):
            lags = [0, *self.scenario.controls.lags] if due and cell in self.sampled else []
            config = self._config(cell, round) | {"lags": lags}
            content = RecordDict({"config": ConfigRecord(config), **first})
            yield Message(content, node, MessageType.TRAIN, group_id=str(round))

    def take(self, server_round: int, replies: Iterable[Message]) -> None:
        """Keep the uploads of all cells, then let the strategy learn from them."""
        for cell, content in _received(replies):
            self.spool.put(cell, unpack(content))
        self._complete(len(self.spool), "uploaded")
        if self.strategy.federated:
            for c in range(len(self.population.channels)):
                mean = mean_updates(c, map(self.spool.get, range(self.population.num_cells)))
                if mean:
                    self.strategy.take_update(c, mean)
        else:
            channels = range(len(self.population.channels))
            round = self.round(server_round)
            self.strategy.learn(round, [self._uploads(c, round) for c in channels])

    def _uploads(self, channel: int, round: int) -> Iterator[Uploads]:
        for cell in range(self.population.num_cells):
            yield self.answering.uploads(channel, round, self.spool.get(cell))

    # ---- answers ------------------------------------------------------------------------

    def answers(self, server_round: int) -> Iterator[Message]:
        """Yield every cell's answers, made when the grid asks for the next message."""
        round = self.round(server_round)
        measured: Mapping[int, Named] = {}
        if controls.due(self.scenario, self.strategy, round):
            sent = {cell: self.spool.get(cell) for cell in sorted(self.sampled)}
            room = self.answering.memory
            measured = controls.answers(self.scenario, self.strategy, round, sent, room)
        for cell, node in enumerate(self.hosts):
            arrays = self.answering.answer(cell, round, self.spool.get(cell))
            arrays |= measured.get(cell, {})
            content = RecordDict(
                {"config": ConfigRecord(self._config(cell, round)), "arrays": pack(arrays)}
            )
            yield Message(content, node, MessageType.EVALUATE, group_id=str(round))

    def book(self, server_round: int, replies: Iterable[Message]) -> MetricRecord:
        """Write the cells' rows in the order of the cells and commit the round.

        What the round left on this machine's disks (cells, state, controls) outlives a power cut
        before the ledger names the round; cells kept on other machines are theirs to look after.
        """
        round = self.round(server_round)
        tally = Tally(self.scenario.evaluation.ks, len(self.kit.parts["shared"]))
        ledger.commit_round(self.run_dir, round, self._rows(round, replies, tally))
        self.answering.commit(round)
        self.spool.close()
        self.spool = Spool(self.run_dir)
        means = tally.means()
        log.info(
            "round %d: %s", round, ", ".join(f"{name} {value:.6g}" for name, value in means.items())
        )
        self.report(round, means)
        return MetricRecord(dict(means))

    def _rows(
        self, round: int, replies: Iterable[Message], tally: Tally
    ) -> Iterator[pa.RecordBatch]:
        """Yield the ledger's rows cell by cell; what goes with them is written at the end."""
        measured = []
        cells = 0
        for content in _in_order(_received(replies)):
            arrays = unpack(content)
            batch = to_batch(arrays["ledger"])
            tally.add(batch)
            measured.append(to_batch(arrays["controls"]))
            cells += 1
            yield batch
        self._complete(cells, "evaluated")
        measured = [batch for batch in measured if batch.num_rows]
        if measured:
            ledger.commit_controls(self.run_dir, round, measured)
        self.answering.save_state(round)
        settle()

    def _config(self, cell: int, round: int) -> dict[str, ConfigValue]:
        run = self.run_dir.name
        return {"run": run, "cell": cell, "round": round, "provision": self.kit.name}

    def _complete(self, cells: int, did: str) -> None:
        if cells != self.population.num_cells:
            raise RunError(
                f"{cells} of {self.population.num_cells} cells {did}, the others did not reply "
                "in time; the round is not booked, resume the run"
            )


def _received(replies: Iterable[Message]) -> Iterator[tuple[int, RecordDict]]:
    for reply in replies:
        if reply.has_error():
            raise error_of(reply)
        yield int(str(config_of(reply.content)["cell"])), reply.content


def _in_order(received: Iterable[tuple[int, RecordDict]]) -> Iterator[RecordDict]:
    """Yield cell 0, 1, 2 …, holding back only what came too early."""
    early: list[tuple[int, RecordDict]] = []
    expected = 0
    for cell, content in received:
        heapq.heappush(early, (cell, content))
        while early and early[0][0] == expected:
            yield heapq.heappop(early)[1]
            expected += 1
