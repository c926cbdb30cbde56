"""Rare Gem: GEM-MINER looks for a subnetwork that is accurate at its start, then trains it.

Sreenivasan, Sohn, Yang, Grinde, Nagle, Wang, Xing, Lee, Papailiopoulos: Rare Gems: Finding
Lottery Tickets at Initialization. NeurIPS 2022. https://arxiv.org/abs/2202.12002

Algorithm 1: frozen random weights are multiplied by p in [0, 1] rounded to 0 or 1, the
gradient passes straight through the rounding, and steps are projected back to [0, 1]. After
every period the lowest p are frozen at 0, so many that the unfrozen shrink geometrically to
`keep`; these are trained from their random start. What it ships and how the table of DIET
counts it: see `strategies._pruned`.

Ours: freezing goes layer by layer, as the table's counts say; a period is one epoch with an
optimiser and a learning-rate triangle of its own; what is never masked (item embeddings,
positions, norms) is learnt along with p and not set back; the regulariser, optional there,
is `penalty` times the mean of p squared.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from fedsim import rng
from fedsim.data.base import Streams
from strategies._pruned import Pruned, PrunedConfig, PrunedLearner, largest


class RareGemConfig(PrunedConfig):
    """Options of GEM-MINER."""

    name: str = "rare_gem"
    periods: Annotated[int, Field(ge=1)] = 8
    """Epochs of the search; weights are frozen at 0 after each."""
    penalty: Annotated[float, Field(ge=0)] = 0.01
    """What the mean of p squared adds to the loss."""


class GemLearner(PrunedLearner):
    """Learns which weights to keep, `p` float32 (N), and leaves them as they are."""

    def __init__(self, start: PrunedLearner, gen: torch.Generator, penalty: float) -> None:
        super().__init__(start.backbone, len(start.items) - 1, gen)
        self.load_state_dict(start.state_dict())
        self.flat.requires_grad_(False)
        self.p = nn.Parameter(torch.rand(len(self.flat), generator=gen))
        self.factor = penalty

    def kept_weights(self) -> Tensor:
        """Return the weights whose p is at least a half, as far as they are not frozen."""
        with torch.no_grad():
            self.p.clamp_(0.0, 1.0)
        self.penalty = self.factor * self.p.square().mean()
        rounded = self.p + ((self.p >= 0.5).float() - self.p).detach()
        return torch.where(self.kept, self.flat * rounded, 0.0)

    def freeze(self, keep: float) -> None:
        """Leave a fraction `keep` of each layer unfrozen: the largest p of those left."""
        left = torch.where(self.kept, 1.0 + self.p.detach(), 0.0)  # a p of 0 is left too
        self.kept = largest(self.backbone.layout, left, keep)


class RareGem(Pruned):
    """GEM-MINER: learns at the start which random weights to keep, then trains these."""

    Config = RareGemConfig
    config: RareGemConfig

    def pruned(self, channel: int, streams: Streams) -> PrunedLearner:
        config, learner = self.config, self.untrained(channel)
        gen = rng.torch_generator(self.setting.scenario.seed, self.purpose(channel, "/p"))
        gem = GemLearner(learner, gen, config.penalty)
        options = {"penalty": config.penalty}
        for number in range(1, config.periods + 1):
            self.train(gem, channel, streams, f"/period{number}", epochs=1, options=options)
            gem.freeze(config.keep ** (number / config.periods))
        found = gem.state_dict()
        learner.load_state_dict({name: found[name] for name in learner.state_dict()})
        self.train(learner, channel, streams)
        return learner
