"""SNIP: pruned once, before training, by how much the loss depends on each connection.

Lee, Ajanthan, Torr: SNIP: Single-shot Network Pruning based on Connection Sensitivity.
ICLR 2019. https://arxiv.org/abs/1810.02340

A connection's sensitivity is |dL/dc| of a factor c = 1 on its weight w, which is
|w dL/dw| (equations 4 and 5), of one batch at the start; the largest of all layers together
stay (algorithm 1), then the network trains. What it ships and how the table of DIET counts
it: see `strategies._pruned`.

Ours: the batch is `train.batch` of the scenario; without anything to learn from, the largest
weights stay.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fedsim import rng
from fedsim.cores import one_thread
from fedsim.data.base import Streams
from fedsim.training.loop import Trainer
from fedsim.training.targets import split
from strategies._pruned import Pruned, PrunedConfig, PrunedLearner, largest_of_all


class SnipConfig(PrunedConfig):
    """Options of SNIP."""

    name: str = "snip"


class Snip(Pruned):
    """Keeps the weights that the loss depends on most before any training."""

    Config = SnipConfig
    config: SnipConfig

    def pruned(self, channel: int, streams: Streams) -> PrunedLearner:
        learner = self.untrained(channel)
        learner.kept = largest_of_all(self.sensitivity(learner, channel, streams), self.config.keep)
        self.train(learner, channel, streams)
        return learner

    def sensitivity(self, learner: PrunedLearner, channel: int, streams: Streams) -> Tensor:
        """Return |w dL/dw| of every weight, float32 (N)."""
        scenario = self.setting.scenario
        targets, _ = split(streams)
        if not len(targets):
            return learner.flat.detach().abs()
        draw = rng.generator(scenario.seed, self.purpose(channel, "/batch"))
        count = min(scenario.train.batch, len(targets))
        batch = draw.choice(len(targets), count, replace=False)[:, None]
        config = scenario.train.model_copy(update={"dropout": 0.0})
        trainer = Trainer(learner, streams, config, scenario.evaluation.exclude, torch.Generator())
        with one_thread():
            (gradient,) = torch.autograd.grad(trainer.loss(targets, batch), learner.flat)
        return (gradient * learner.flat.detach()).abs()
