"""Random: a random part of each layer's weights, trained from scratch.

The baseline "Random" of Fu et al., DIET: Customized Slimming for Incompatible Networks in
Sequential Recommendation. KDD 2024. https://arxiv.org/abs/2406.08804 (section 4.1.3), and
the control of every pruning method: what a mask is worth that knows nothing. What it ships
and how the table counts it: see `strategies._pruned`.
"""

from __future__ import annotations

import torch

from fedsim import rng
from fedsim.data.base import Streams
from strategies._pruned import Pruned, PrunedConfig, PrunedLearner, largest


class RandomPruneConfig(PrunedConfig):
    """Options of random pruning."""

    name: str = "random_prune"


class RandomPrune(Pruned):
    """Keeps a random part of each layer's weights and trains it from scratch."""

    Config = RandomPruneConfig
    config: RandomPruneConfig

    def pruned(self, channel: int, streams: Streams) -> PrunedLearner:
        learner, layout = self.untrained(channel), self.setting.backbone.layout
        gen = rng.torch_generator(self.setting.scenario.seed, self.purpose(channel, "/mask"))
        learner.kept = largest(layout, torch.rand(layout.size, generator=gen), self.config.keep)
        self.train(learner, channel, streams)
        return learner
