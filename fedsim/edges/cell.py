"""One cell in one round: its edges upload, apply their answers, then test and train.

A cell's state is what its edges keep: the store of their answers and a few numbers each,
one file a round. Both phases of round r start from the file of round r - 1 and are pure
functions of it, so a repeated message changes nothing and a lost worker loses nothing.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fedsim import timeline
from fedsim.answers import held_rows, spread
from fedsim.arrays import Named
from fedsim.budget import spend
from fedsim.edges.ranking import Targets, rank_targets, sample_candidates
from fedsim.edges.sending import booked, send_channel, send_together
from fedsim.edges.side import EdgeSide
from fedsim.errors import RunError
from fedsim.ledger import controls_schema, rows, schema
from fedsim.memory import make_room
from fedsim.metrics import ranking_sums
from fedsim.policies.base import Situation
from fedsim.ragged import Ragged
from fedsim.setting import Arrays
from fedsim.slices import ChannelStreams
from fedsim.store import CellStore
from fedsim.wire import open_records, seal

TRAINED_AT_ONCE = 256
"""Edges whose local training is held in memory at a time."""


class CellRound:
    """One cell in one round; `index` names the cell."""

    def __init__(self, side: EdgeSide, index: int, round: int) -> None:
        self.side, self.index, self.round = side, index, round
        self.cell = side.population.cell(index)
        self.count, self.channels = len(self.cell.edges), len(side.population.channels)
        self.store = self._load()
        self.state = self.store.state
        self.tokens = side.budget.earn(self.state["tokens"])
        self.memory = side.memory.free(self.cell.edges, round)
        for c, columns in enumerate(side.store_columns):
            make_room(side.half, self.store, columns, c, self.cell.edges, self.memory)

    def _load(self) -> CellStore:
        folder = self.side.folder
        if self.round > 1:
            return CellStore.open(folder, self.index, self.round - 1)
        store = CellStore(folder, self.index, self.count, self.channels)
        store.state["tokens"] = self.side.budget.start(self.count)
        for c, channel in enumerate(self.side.population.channels):
            store.put(c, np.arange(self.count), self.side.initial(c))
            groups = channel.interests.shape[1]
            store.state[f"{c}.asked"] = np.zeros((self.count, groups), np.float32)
            store.state[f"{c}.asked_round"] = np.zeros(self.count, np.int32)
            store.state[f"{c}.answered_round"] = np.zeros(self.count, np.int32)
        return store

    # ---- first half of the round: upload ----------------------------------------------

    def upload(self, lags: tuple[int, ...] = ()) -> Named:
        """Return what the cell's edges send, as named arrays.

        For each channel C: ``C.requested`` bool (B); ``C.edges`` the positions that upload,
        with their records ``C.buffer`` and ``C.offsets``; ``C.uplink`` int64 (B) bytes
        booked; ``C.refused`` bool (B) who could not pay. Uploads that serve all channels are
        ``all.edges``, ``all.buffer`` and ``all.offsets`` instead. With `lags`, also every edge's
        older windows ``C.lagN`` for the controls, which are measured, not sent. ``tokens``
        is what is left of the budgets.
        """
        windows = [self._windows(c) for c in range(self.channels)]
        requested = np.stack([self._requests(c, own) for c, own in enumerate(windows)])
        out: Named = {f"{c}.requested": asks for c, asks in enumerate(requested)}
        out |= self._send(requested, windows)
        for lag in lags:
            out |= {f"{c}.lag{lag}": self._uploaded(c, lag) for c in range(self.channels)}
        out |= {"tokens": self.tokens, "names": self.cell.edges}
        out["length"] = np.asarray([self.side.half.upload_length])
        return out

    def _windows(self, channel: int, lag: int = 0) -> NDArray[np.int32]:
        return self.cell.channels[channel].windows(self.round, self.side.half.upload_length, lag)

    def _uploaded(self, channel: int, lag: int = 0) -> NDArray[np.int32]:
        """Return what uploads hold of every edge, int32 (B, H)."""
        if not self.side.half.reads_all_channels:
            return self._windows(channel, lag)
        return self._timeline.windows(self.round, self.side.half.upload_length, lag)

    @cached_property
    def _timeline(self) -> ChannelStreams:
        return timeline.of_cell(self.cell.channels, self.side.population.channels)

    def _requests(self, channel: int, windows: NDArray[np.int32]) -> NDArray[np.bool_]:
        asked_round = self.state[f"{channel}.asked_round"]
        situation = Situation(
            round=self.round,
            recent=self._interests(channel, windows),
            asked=self.state[f"{channel}.asked"],
            waited=np.where(asked_round > 0, self.round - asked_round, -1).astype(np.int32),
        )
        wanted = self.side.policy.requests(situation) & self.cell.available(self.round)
        return wanted & (self.side.half.asks and bool(self.side.columns[channel]))

    def _interests(self, channel: int, windows: NDArray[np.int32]) -> NDArray[np.float32]:
        interests = self.side.population.channels[channel].interests
        recent: NDArray[np.float32] = interests[windows].sum(axis=1)
        return recent

    def _send(self, requested: NDArray[np.bool_], windows: list[NDArray[np.int32]]) -> Named:
        """Return the uploads of those that request, bool (C, B); `windows` are the channels'."""
        channels, names, half = self.side.population.channels, self.cell.edges, self.side.half
        if half.reads_all_channels:
            numbered = int(timeline.numbering(channels)[-1])
            return send_together(requested, self._uploaded(0), numbered, self.tokens, names)
        out: Named = {}
        for c, asks in enumerate(requested):
            if self.side.federated:
                out |= self._update(c, np.flatnonzero(asks))
            else:
                num_items = channels[c].num_items
                out |= send_channel(c, asks, windows[c], num_items, self.tokens, names)
        return out

    def _update(self, channel: int, edges: NDArray[np.int64]) -> Named:
        """Train locally; the cell sends the mean of what its edges' updates decode to."""
        streams, columns = self.cell.channels[channel], self.side.columns[channel]
        history = streams.cuts[edges, self.round - 1]
        edges = edges[history > 1]
        sizes, paid = np.zeros(len(edges), np.int64), np.zeros(len(edges), np.bool_)
        sums: dict[str, NDArray[np.float64]] = {}
        total = 0.0
        for start in range(0, max(len(edges), 1), TRAINED_AT_ONCE):
            part = slice(start, start + TRAINED_AT_ONCE)
            held = self._held(channel, edges[part])
            new = self.side.half.update(channel, held, streams, edges[part], self.round)
            records = seal(columns, new)
            sizes[part], paid[part] = records.sizes, spend(self.tokens, edges[part], records.sizes)
            sent = edges[part][paid[part]]
            records = records.take(np.flatnonzero(paid[part]))
            decoded = open_records(columns, records, edges=self.cell.edges[sent])
            examples = self.side.half.examples(streams.cuts[sent, self.round - 1])
            total += float(examples.sum())
            for name, values in decoded.items():
                sums[name] = sums.get(name, 0.0) + examples @ values
        out = booked(channel, self.count, edges, sizes, paid)
        out[f"{channel}.examples"] = np.array([total])
        for name, values in sums.items():
            out[f"{channel}.mean.{name}"] = (values / (total or 1.0)).astype(np.float32)
        return out

    def _held(self, channel: int, edges: NDArray[np.int64]) -> Arrays:
        columns = self.side.store_columns[channel]
        return held_rows(self.store, columns, channel, edges, self.cell.edges[edges])

    # ---- second half: apply the answers, test then train -------------------------------

    def evaluate(self, message: Named) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Apply the answers, rank the round's items, keep the state; return both tables.

        `message` names for each channel C the edges answered ``C.answered``, the record of
        each (or one for all) in ``C.buffer`` / ``C.offsets``, those whose answer has no room
        in ``C.too_large``, and echoes ``C.requested``, ``C.uplink`` and ``C.refused``;
        control rows are ``C.control.KIND.COLUMN`` for edges ``C.sample``.
        """
        ledger, controls = [], []
        for c in range(self.channels):
            downlink = self._apply(c, message)
            served = ~(message[f"{c}.refused"] | message[f"{c}.too_large"])
            self._note_request(c, message[f"{c}.requested"] & served)
            trained = self._adapt(c)
            ledger.append(self._test(c, message, downlink, trained))
            controls += self._controls(c, message)
        self.state["tokens"] = self.tokens
        self.store.save(self.round)
        self.store.drop_before(self.round - 1)
        ks = self.side.scenario.evaluation.ks
        return (
            pa.concat_batches(ledger),
            pa.concat_batches(controls) if controls else rows(controls_schema(ks), edge=[]),
        )

    def _apply(self, channel: int, message: Named) -> NDArray[np.int64]:
        """Put the answers that came into the store; return bytes received, int64 (B)."""
        answered = np.asarray(message[f"{channel}.answered"], np.int64)
        downlink = np.zeros(self.count, np.int64)
        if len(answered):
            records = Ragged(
                np.asarray(message[f"{channel}.buffer"], np.uint8),
                np.asarray(message[f"{channel}.offsets"], np.int64),
            )
            downlink[answered] = records.sizes
            self._keep(channel, answered, records)
            self.state[f"{channel}.answered_round"][answered] = self.round
        self.tokens -= message[f"{channel}.uplink"] + downlink
        return downlink

    def _keep(self, channel: int, edges: NDArray[np.int64], records: Ragged) -> None:
        """Store records as they came, or, where they need the held answer, standing alone."""
        columns = self.side.columns[channel]
        if any(codec.needs_held for _, codec in columns):
            held, names = self._held(channel, edges), self.cell.edges[edges]
            values = open_records(columns, records, held=spread(held, len(edges)), edges=names)
            records = seal(self.side.store_columns[channel], values)
        self.store.put(channel, edges, records)

    def _adapt(self, channel: int) -> NDArray[np.int64]:
        """Let edges train what they hold; return what it takes, int64 (B) MACs."""
        spent = np.zeros(self.count, np.int64)
        half, streams = self.side.half, self.cell.channels[channel]
        if not half.adapts:
            return spent
        edges = np.flatnonzero(streams.cuts[:, self.round - 1] > 1)
        for start in range(0, len(edges), TRAINED_AT_ONCE):
            part = edges[start : start + TRAINED_AT_ONCE]
            rows = half.adapt(channel, self._held(channel, part), streams, part, self.round)
            self.store.put(channel, part, seal(self.side.store_columns[channel], rows))
            spent[part] = half.adapt_macs(channel, streams.cuts[part, self.round - 1])
        return spent

    def _note_request(self, channel: int, requested: NDArray[np.bool_]) -> None:
        recent = self._interests(channel, self._windows(channel)[requested])
        self.state[f"{channel}.asked"][requested] = recent
        self.state[f"{channel}.asked_round"][requested] = self.round

    def _test(
        self,
        channel: int,
        message: Named,
        downlink: NDArray[np.int64],
        trained: NDArray[np.int64],
    ) -> pa.RecordBatch:
        """Rank the round's items with the answers held; return the ledger's rows."""
        everybody = np.arange(self.count)
        answers = self._held(channel, everybody)
        targets = self._targets(channel)
        sums = self._sums(channel, answers, targets, everybody)
        requested = np.asarray(message[f"{channel}.requested"], np.bool_)
        answered = np.isin(everybody, message[f"{channel}.answered"])
        uplink = np.asarray(message[f"{channel}.uplink"], np.int64)
        return rows(
            schema(self.side.scenario.evaluation.ks),
            round=self.round,
            edge=self.cell.edges,
            channel=channel,
            drift_true=self.cell.drift_true(self.round),
            drift_score=self.cell.drift_score(channel, self.round),
            requested=requested,
            answered=answered,
            refused=message[f"{channel}.refused"],
            too_large=message[f"{channel}.too_large"],
            stale_rounds=self.round - self.state[f"{channel}.answered_round"],
            uplink_bytes=uplink,
            downlink_bytes=downlink,
            candidate_bytes=self._candidate_bytes(channel) * (sums["targets"] > 0),
            stored_bytes=self.side.fixed_bytes[channel] + self.store.stored_bytes()[:, channel],
            memory_bytes=self.memory,
            paper_bits=answered * self.side.paper_bits(channel, answers),
            parts=self._parts(channel, answers),
            macs=np.broadcast_to(self.side.half.macs(channel, answers), self.count),
            train_macs=trained,
            latency_ms=self._latency_ms(uplink, downlink),
            **sums,
        )

    def _parts(self, channel: int, answers: Arrays) -> NDArray[np.bool_] | None:
        """Return which parts of an answer every edge holds, bool (B, parts)."""
        parts = self.side.half.parts(channel, answers)
        return None if parts is None else np.broadcast_to(parts, (self.count, parts.shape[1]))

    def _targets(self, channel: int) -> Targets:
        return Targets(*self.cell.channels[channel].targets(self.round))

    def _sums(
        self, channel: int, answers: Arrays, targets: Targets, edges: NDArray[np.int64]
    ) -> Named:
        """Rank the targets of the edges at these positions; return sums per edge."""
        config, scenario = self.side.scenario.evaluation, self.side.scenario
        candidates = None
        if config.candidates:
            num_items = self.side.population.channels[channel].num_items
            names = self.cell.edges[edges]
            candidates = sample_candidates(
                scenario.seed, self.round, names, num_items, config.candidates
            )
        ranks = rank_targets(
            self.side.half,
            channel,
            answers,
            self.cell.channels[channel],
            targets,
            edges,
            config,
            candidates,
        )
        if (ranks < 0).any():
            edge = int(self.cell.edges[edges[targets.owner[np.argmax(ranks < 0)]]])
            raise RunError(
                f"edge {edge}, channel {channel}, round {self.round}: its scores are not numbers: "
                "the weights diverged (lower strategy.lr or train.lr), or scores() is wrong"
            )
        counts = np.bincount(targets.owner, minlength=len(edges))
        return {"targets": counts, **ranking_sums(ranks, targets.owner, len(edges), config.ks)}

    def _candidate_bytes(self, channel: int) -> int:
        """Bytes of the candidates' ids and embeddings, when only some are ranked.

        Ids alone where no embeddings are provisioned: the strategy needs none, or answers them.
        """
        embedded = "items" in self.side.half.provision.candidates[channel]
        width = 4 + 4 * self.side.setting.backbone.dim * embedded
        return self.side.scenario.evaluation.candidates * width

    def _latency_ms(
        self, uplink: NDArray[np.int64], downlink: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Time on the device's link, nan without traffic."""
        down, up, rtt = (self.side.links[name][self.cell.device] for name in ("down", "up", "rtt"))
        kilobits = uplink * 8e-3 / up + downlink * 8e-3 / down
        return np.where(uplink + downlink > 0, kilobits + rtt, np.nan)

    def _controls(self, channel: int, message: Named) -> list[pa.RecordBatch]:
        prefix = f"{channel}.control."
        found: dict[str, Named] = {}
        for name, values in message.items():
            if name.startswith(prefix):
                kind, _, column = name.removeprefix(prefix).partition(".")
                found.setdefault(kind, {})[column] = values.copy()  # torch wants to write
        if not found:
            return []
        sample = np.asarray(message[f"{channel}.sample"], np.int64)
        targets = self._targets(channel).of(sample)
        return [
            rows(
                controls_schema(self.side.scenario.evaluation.ks),
                round=self.round,
                edge=self.cell.edges[sample],
                channel=channel,
                kind=np.full(len(sample), kind),
                **self._sums(channel, answers, targets, sample),
            )
            for kind, answers in found.items()
        ]
