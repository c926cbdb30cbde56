"""The training loop: Adam, a triangular learning rate, full softmax, early stopping.

Training is repeatable bit for bit: every random choice comes from a generator derived from
the scenario's seed, and torch computes with one thread.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fedsim import rng
from fedsim.cores import one_thread
from fedsim.data.base import Streams
from fedsim.display import progress
from fedsim.errors import RunError
from fedsim.scenario import TrainConfig
from fedsim.training.allocator import kept_memory
from fedsim.training.exclusion import Exclude, leave_out, ranks
from fedsim.training.learner import Learner
from fedsim.training.targets import Targets, grouped, items_at, split, windows

log = logging.getLogger(__name__)

VALIDATION_BATCH = 256
VALIDATION_K = 10


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch: mean training loss and validation NDCG@10 and Hit@10 (nan if none)."""

    loss: float
    ndcg: float
    hit: float

    @property
    def told(self) -> str:
        """In a line.

        >>> Epoch(3.14159, 0.0617, 0.12).told
        'loss 3.142, NDCG@10 0.0617, Hit@10 0.1200'
        """
        return f"loss {self.loss:.4g}, NDCG@10 {self.ndcg:.4f}, Hit@10 {self.hit:.4f}"


class Trainer:
    """Takes optimiser steps on a learner's next-item loss over some streams.

    Parameters
    ----------
    learner
        What is trained, in place.
    streams
        History of the edges that train.
    config
        Learning rate, weight decay, dropout.
    exclude
        What is left out of the softmax, the target itself excepted.
    gen
        Source of dropout.
    """

    def __init__(
        self,
        learner: Learner,
        streams: Streams,
        config: TrainConfig,
        exclude: Exclude,
        gen: torch.Generator,
    ) -> None:
        self.learner, self.streams, self.config, self.gen = learner, streams, config, gen
        self.exclude: Exclude = exclude
        trained = [p for p in learner.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(
            trained, lr=config.lr, weight_decay=config.weight_decay, fused=True
        )

    def step(self, targets: Targets, group: NDArray[np.int64], lr: float) -> float:
        """Take one step on groups of targets, int64 (B, K) as `grouped` gives; returns the loss."""
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.zero_grad()
        loss = self.loss(targets, group)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.item()

    def loss(self, targets: Targets, group: NDArray[np.int64]) -> Tensor:
        """Return the targets' mean cross entropy over items 1..V, and the learner's penalty."""
        full = group >= 0
        index = np.where(full, group, group.max(axis=1, keepdims=True))
        edge, position = targets.edge[index], targets.position[index]
        queries = self._queries(edge, position, self.gen)[torch.from_numpy(full)]
        edge, position = edge[full], position[full]
        answers = items_at(self.streams, edge, position)
        logits = self._logits(queries, edge, position, answers)
        return F.cross_entropy(logits, torch.from_numpy(answers - 1)) + self.learner.penalty

    @torch.no_grad()
    def validate(self, targets: Targets) -> tuple[float, float]:
        """Return NDCG@10 and Hit@10, every target with a mask of its own.

        Both are nan without targets, and where a target's logits are not numbers.
        """
        found = []
        for start in range(0, len(targets), VALIDATION_BATCH):
            edge = targets.edge[start : start + VALIDATION_BATCH]
            position = targets.position[start : start + VALIDATION_BATCH]
            queries = self._queries(edge[:, None], position[:, None], None)[:, 0]
            logits = self._logits(queries, edge, position, None)
            if logits.isnan().any():
                return math.nan, math.nan
            answers = items_at(self.streams, edge, position)
            found.append(ranks(logits, torch.from_numpy(answers - 1)))
        if not found:
            return math.nan, math.nan
        rank = torch.cat(found).double()
        inside = (rank < VALIDATION_K).double()
        return float((inside / torch.log2(rank + 2)).mean()), float(inside.mean())

    def _queries(
        self, edge: NDArray[np.int64], position: NDArray[np.int64], gen: torch.Generator | None
    ) -> Tensor:
        """Return queries (B, K, D); a group's upload is what precedes its first target."""
        learner = self.learner
        context = windows(self.streams, edge, position, learner.backbone.window)
        uploads = windows(self.streams, edge[:, 0], position.min(axis=1), learner.upload_length)
        queries: Tensor = learner(
            torch.from_numpy(context),
            torch.from_numpy(uploads),
            dropout=self.config.dropout,
            gen=gen,
        )
        return queries

    def _logits(
        self,
        queries: Tensor,
        edge: NDArray[np.int64],
        position: NDArray[np.int64],
        spared: NDArray[np.int64] | None,
    ) -> Tensor:
        logits = queries @ self.learner.items[1:].T
        if self.exclude != "none":
            last = self.learner.backbone.window if self.exclude == "window" else None
            leave_out(logits, self.streams, edge, position, last, spared)
        return logits


def train(
    learner: Learner,
    streams: Streams,
    config: TrainConfig,
    exclude: Exclude,
    *,
    seed: int,
    purpose: str,
    targets_per_mask: int = 1,
    trainer_type: type[Trainer] = Trainer,
) -> tuple[Epoch, ...]:
    """Train a learner in place and leave it as it was after its best validation epoch.

    A batch is `config.batch` groups of up to `targets_per_mask` consecutive targets of one
    edge, which share what is generated for the first of them. Without any training target
    nothing is changed; without any validation target the last epoch is taken.

    Returns
    -------
    tuple
        What each epoch gave.

    Raises
    ------
    RunError
        Training diverged: an epoch's loss or validation is not a finite number.
    """
    targets, validation = split(streams)
    order = rng.generator(seed, f"{purpose}/order")
    dropout = rng.torch_generator(seed, f"{purpose}/dropout")
    trainer = trainer_type(learner, streams, config, exclude, dropout)
    most = max(1, config.max_targets // targets_per_mask)
    steps = -(-min(len(grouped(targets, targets_per_mask, order)), most) // config.batch)
    history: list[Epoch] = []
    best, best_state, waited = -1.0, _copy(learner), 0
    with one_thread(), kept_memory(), progress(purpose, config.epochs * steps) as bar:
        for epoch in range(config.epochs if steps else 0):
            groups = order.permutation(grouped(targets, targets_per_mask, order))[:most]
            losses = []
            for number, start in enumerate(range(0, len(groups), config.batch)):
                done = (epoch * steps + number) / (config.epochs * steps)
                rate = config.lr * triangle(min(done, 1.0), config.peak)
                losses.append(trainer.step(targets, groups[start : start + config.batch], rate))
                bar()
            history.append(Epoch(float(np.mean(losses)), *trainer.validate(validation)))
            log.info("%s epoch %d: %s", purpose, epoch + 1, history[-1].told)
            _check_finite(history, config, purpose, validated=len(validation) > 0)
            if not history[-1].ndcg <= best:
                best, best_state, waited = history[-1].ndcg, _copy(learner), 0
            elif (waited := waited + 1) >= config.patience:
                break
    learner.load_state_dict(best_state)
    return tuple(history)


def triangle(done: float, peak: float) -> float:
    """Return the share of the top learning rate after a share `done` of all steps.

    >>> triangle(0.1, 0.2), triangle(0.2, 0.2), triangle(1.0, 0.2)
    (0.5, 1.0, 0.0)
    """
    return done / peak if done < peak else (1.0 - done) / (1.0 - peak)


def _check_finite(
    history: list[Epoch], config: TrainConfig, purpose: str, *, validated: bool
) -> None:
    last = history[-1]
    wrong = None if math.isfinite(last.loss) else f"a loss of {last.loss}"
    if wrong is None and validated and not math.isfinite(last.ndcg):
        wrong = f"a validation NDCG@{VALIDATION_K} of {last.ndcg}"
    if wrong:
        raise RunError(
            f"training '{purpose}' diverged: epoch {len(history)} gave {wrong}; lower "
            f"train.lr, which is {config.lr:g}"
        )


def _copy(learner: Learner) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in learner.state_dict().items()}
