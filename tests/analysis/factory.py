"""Writes small run directories with plausible numbers, through the ledger itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fedsim import ledger


@dataclass(frozen=True)
class Method:
    """What a strategy costs and reaches; sizes in bytes, shares of 1."""

    name: str
    accuracy: float
    answer: float = 0
    spread: float = 0
    shared: int = 0
    provision: int = 0
    stored: int = 0
    personal: float = 0
    recovers: float = 0
    macs: int = 208_640

    @property
    def upload(self) -> int:
        return 24 if self.answer else 0


METHODS = {
    each.name: each
    for each in (
        Method("static", 0.137, provision=163_840, stored=163_840),
        Method("full_download", 0.141, 163_900, 0, provision=163_840, stored=163_840, recovers=0.5),
        Method("fedavg", 0.138, 327_700, 0, provision=163_840, stored=163_840, recovers=0.3),
        Method("diet", 0.118, 2_600, 0.10, 163_840, 5_120, 2_700, 0.10, 0.6, 92_700),
        Method("dieting", 0.112, 2_500, 0.10, 16_384, 5_120, 2_600, 0.10, 0.6, 93_100),
        Method("long_diet", 0.150, 1_300, 0.25, 163_840, 5_120, 1_400, 0.20, 0.9, 120_000),
        Method("popularity", 0.045, provision=3_708, stored=3_708, macs=0),
        Method("cooccurrence", 0.096, provision=1_200_000, stored=1_200_000, macs=4_600),
    )
}


@dataclass(frozen=True)
class World:
    """What the runs share: the population and what happens to it."""

    name: str = "quickstart"
    edges: int = 200
    rounds: int = 20
    channels: Sequence[str] = ("home",)
    drift_round: int | None = None
    drift_share: float = 0.5
    ood: float = 0.0
    controls: int = 5
    targets: int = 3
    cell: int = 64
    every: int = 1
    room: float | None = None
    """Bytes for an answer on the slower devices; the faster have 16 times as much."""
    scenario: Mapping[str, Any] = field(default_factory=dict)


def make_run(root: Path, world: World, method: str, seed: int = 0, label: str = "") -> Path:
    """Write a run directory and return it."""
    folder = root / world.name / f"{method}-{label or 'run'}-{seed}"
    folder.mkdir(parents=True)
    (folder / "scenario.toml").write_text(_scenario(world, method, seed))
    env = {"python": "3.11.7", "packages": {"flwr": "1.41.0", "torch": "2.13.0"}, "seed": seed}
    (folder / "env.json").write_text(json.dumps(env | ({"label": label} if label else {})))
    writer = Writer(world, METHODS[method], seed)
    ledger.write_edges(folder, [writer.edges_table()])
    for number in range(world.rounds + 1):
        if world.controls and METHODS[method].personal and number % world.controls == 1:
            ledger.commit_controls(folder, number, [writer.controls(number)])
        ledger.commit_round(folder, number, writer.round(number))
    return folder


class Writer:
    """Makes the rows of one run."""

    def __init__(self, world: World, method: Method, seed: int) -> None:
        self.world, self.method = world, method
        self.rng = np.random.default_rng([seed, len(method.name), len(world.channels)])
        people = np.random.default_rng(seed)
        self.edges = np.arange(world.edges)
        self.talent = people.normal(1, 0.35, world.edges).clip(0.2, 2)
        self.drifts = people.random(world.edges) < world.drift_share
        self.ood = people.random(world.edges) < world.ood
        self.schema = ledger.schema([5, 10])

    def edges_table(self) -> pa.RecordBatch:
        return ledger.rows(
            ledger.edges_schema(),
            edge=self.edges,
            cell=self.edges // self.world.cell,
            device=np.where(self.edges % 3 == 0, "4g", "3g").tolist(),
            ood=self.ood,
            shared_downlink_bytes=self.method.shared,
            shared_stored_bytes=self.method.shared,
        )

    def round(self, number: int) -> Iterator[pa.RecordBatch]:
        for channel in range(len(self.world.channels)):
            yield self._provision(channel) if number == 0 else self._rows(number, channel)

    def controls(self, number: int) -> pa.RecordBatch:
        sample = self.edges[:: max(1, len(self.edges) // 64)]
        losses = {"own": 0, "lag1": 0.02, "lag5": 0.25, "other": 1.0, "majority": 0.8}
        rows = []
        for channel in range(len(self.world.channels)):
            for kind, loss in losses.items():
                values = self._accuracy(number)[sample] * (1 - loss * self.method.personal)
                sums = self._sums(values)
                kinds = [kind] * len(sample)
                table = ledger.controls_schema([5, 10])
                rows.append(
                    ledger.rows(
                        table, round=number, edge=sample, channel=channel, kind=kinds, **sums
                    )
                )
        return pa.concat_batches(rows)

    def _provision(self, channel: int) -> pa.RecordBatch:
        return ledger.rows(
            self.schema,
            round=0,
            edge=self.edges,
            channel=channel,
            downlink_bytes=self.method.provision,
            candidate_bytes=928 * 64 * 4,
            stored_bytes=self.method.stored,
        )

    def _rows(self, number: int, channel: int) -> pa.RecordBatch:
        asked = np.full(len(self.edges), number % self.world.every == 0) & (self.method.answer > 0)
        sizes = self.method.answer * (1 + self.method.spread * self.rng.normal(size=len(asked)))
        sizes = np.maximum(sizes, 40) * asked
        down = (sizes * self.talent ** (0.5 * (self.method.spread > 0))).astype(np.int64)
        moved = self.drifts & (number == self.world.drift_round)
        return ledger.rows(
            self.schema,
            round=number,
            edge=self.edges,
            channel=channel,
            drift_true=moved,
            drift_score=np.where(moved, 0.4, 0.1),
            requested=asked,
            answered=asked,
            uplink_bytes=asked * self.method.upload,
            downlink_bytes=down,
            stored_bytes=self.method.stored,
            memory_bytes=self._room(),
            paper_bits=asked * 40_960,
            macs=self.method.macs,
            latency_ms=np.where(asked, 20 + down * 8e-3 / 4, np.nan),
            **self._sums(self._accuracy(number)),
        )

    def _room(self) -> NDArray[np.int64] | None:
        """Return the room each edge has, drawn anew every round from half of it on."""
        if self.world.room is None:
            return None
        most = self.world.room * np.where(self.edges % 3 == 0, 16, 1)
        return np.asarray(most * self.rng.uniform(0.5, 1, len(self.edges)), np.int64)

    def _accuracy(self, number: int) -> NDArray[np.float64]:
        """Return expected NDCG per edge: lower after a drift until the method recovers."""
        value = self.method.accuracy * self.talent * np.where(self.ood, 0.9, 1.0)
        if self.world.drift_round is not None and number >= self.world.drift_round:
            since = number - self.world.drift_round
            left = 0.55 * (1 - self.method.recovers * (1 - np.exp(-since / 2.5)))
            value = value * np.where(self.drifts, 1 - left, 1.0)
        return np.asarray(value)

    def _sums(self, ndcg: NDArray[np.float64]) -> dict[str, Any]:
        targets = self.world.targets
        hits = self.rng.binomial(targets, np.clip(ndcg * 1.9, 0, 1)).astype(float)
        gain = np.where(hits > 0, self.rng.beta(4, 4, len(ndcg)) * 1.05, 0)
        return {
            "targets": targets,
            "hit_5": np.minimum(hits, hits * 0.7 // 1),
            "hit_10": hits,
            "ndcg_5": hits * gain * 0.7,
            "ndcg_10": hits * gain,
            "mrr": hits * gain * 0.8,
        }


def _scenario(world: World, method: str, seed: int) -> str:
    channels = "\n".join(f'[[channels]]\nname = "{name}"' for name in world.channels)
    drift = "none" if world.drift_round is None else "sudden"
    head = {"description": "Synthetic streams for tests.", **world.scenario}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in head.items())
    return f"""\
name = "{world.name}"
seed = {seed}
rounds = {world.rounds}
{lines}

[population]
edges = {world.edges}
ood_fraction = {world.ood}

[data]
name = "synthetic"

{channels}

[drift]
name = "{drift}"

[model]
name = "sasrec"

[strategy]
name = "{method}"
"""
