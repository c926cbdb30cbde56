"""Full download: the cloud trains on every round and ships the whole model to each edge.

What an edge-cloud recommender without diets does to stay up to date, and the ceiling of its
downlink: 32 bits for every weight, every edge and every round. Our own choice of how: in
each round a few warm-started Adam steps on batches of which half are targets of the uploads
seen so far and half of history; item embeddings, positions and norms stay as provisioned,
as in the accounting of Fu et al., DIET (KDD 2024), https://arxiv.org/abs/2406.08804.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from fedsim import rng
from fedsim.codecs.base import Column
from fedsim.cores import one_thread
from fedsim.data.base import Streams
from fedsim.plugins import CodecOptions
from fedsim.setting import Arrays, Provision, Uploads
from fedsim.strategy import EdgeCloudStrategy, StrategyConfig
from fedsim.training.loop import Trainer
from fedsim.training.targets import from_padded, joined, next_items
from strategies._dense import (
    DenseEdge,
    dense_columns,
    dense_provision,
    only_weights,
    trained_bases,
    weights_row,
)


class FullDownloadConfig(StrategyConfig):
    """Options of the full download."""

    name: str = "full_download"
    steps: Annotated[int, Field(ge=1)] = 50
    """Optimiser steps a round."""
    lr: Annotated[float, Field(gt=0)] = 3e-4
    """Learning rate of these steps."""
    upload: Annotated[int, Field(ge=2)] = 10
    """Items an edge uploads; all but the first are targets."""
    memory: Annotated[int, Field(ge=1)] = 4096
    """Uploads a channel the cloud remembers; the oldest go."""
    codec: CodecOptions = Field(default="dense")
    """How weights travel."""


class FullDownloadEdge(DenseEdge):
    """Uploads its last items, keeps the weights it is answered."""

    @property
    def upload_length(self) -> int:
        return max(int(self.config.upload), self.backbone.window)


class FullDownload(EdgeCloudStrategy):
    """Trains one dense model per channel, on and on, and answers everybody with it."""

    Config = FullDownloadConfig
    edge = FullDownloadEdge
    config: FullDownloadConfig

    def columns(self) -> tuple[Column, ...]:
        return dense_columns(self.setting.backbone)

    def fit(self, history: tuple[Streams, ...]) -> None:
        self._history = history
        self._learners = trained_bases(self.setting, history)
        self._initial = [weights_row(learner.flat) for learner in self._learners]
        self._seen = [np.zeros((0, 0), np.int32) for _ in history]

    def provision(self) -> Provision:
        return dense_provision(self._learners)

    def initial(self, channel: int) -> Arrays:
        return self._initial[channel]

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        return weights_row(self._learners[channel].flat)

    def learn(self, round: int, uploads: Sequence[Iterable[Uploads]]) -> None:
        for channel, cells in enumerate(uploads):
            fresh = [part.items for part in cells if len(part.items)]
            if fresh:
                self._remember(channel, np.concatenate(fresh))
            self._train(channel, round)

    def _remember(self, channel: int, fresh: NDArray[np.int32]) -> None:
        memory, seen = self.config.memory, self._seen[channel]
        if len(fresh) > memory:
            fresh = fresh[np.arange(memory) * len(fresh) // memory]
        both = np.concatenate([seen, fresh]) if len(seen) else fresh
        self._seen[channel] = both[-memory:]

    def _train(self, channel: int, round: int) -> None:
        scenario, learner = self.setting.scenario, self._learners[channel]
        purpose = f"full_download/{self.setting.channels[channel].name}"
        draw = rng.generator(scenario.seed, f"{purpose}/order", round=round)
        dropout = rng.torch_generator(scenario.seed, f"{purpose}/dropout", round=round)
        history, seen = self._history[channel], from_padded(self._seen[channel])
        streams = joined(history, seen)
        targets = next_items(streams)
        old = np.flatnonzero(targets.edge < len(history))
        new = np.flatnonzero(targets.edge >= len(history))
        pools = [pool for pool in (old, new) if len(pool)]
        if not pools:
            return
        share = -(-scenario.train.batch // len(pools))
        with one_thread(), only_weights(learner):
            trainer = Trainer(
                learner, streams, scenario.train, scenario.evaluation.exclude, dropout
            )
            for _ in range(self.config.steps):
                batch = np.concatenate([draw.choice(pool, share) for pool in pools])
                trainer.step(targets, batch[:, None], self.config.lr)

    def state(self) -> Arrays:
        flat = {f"{c}.flat": la.flat.detach().numpy() for c, la in enumerate(self._learners)}
        return flat | {f"{c}.seen": seen for c, seen in enumerate(self._seen)}

    def restore(self, state: Arrays) -> None:
        for c, learner in enumerate(self._learners):
            flat = state[f"{c}.flat"].astype(np.float32)
            learner.flat.data.copy_(torch.from_numpy(flat))
            self._seen[c] = state[f"{c}.seen"].astype(np.int32)
