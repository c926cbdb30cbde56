"""LTH: iterative magnitude pruning with rewinding.

Frankle, Carbin: The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks.
ICLR 2019. https://arxiv.org/abs/1803.03635

Train, keep the largest of each layer's weights that are still there, set everything that is
kept back to its start, again and again (their strategy 1); at last train the winning ticket.
Round r of n keeps keep^(r/n). `rewind_epochs` sets back to the weights after so many epochs
instead (Frankle, Dziugaite, Roy, Carbin: Linear Mode Connectivity and the Lottery Ticket
Hypothesis. ICML 2020). What it ships and how the table of DIET counts it: see
`strategies._pruned`.

Ours: 5 rounds, where the paper drops a fifth a round (keep 0.1 would take 10); item
embeddings, positions and norms are never pruned, and rewound with the rest.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fedsim.data.base import Streams
from strategies._pruned import Pruned, PrunedConfig, PrunedLearner, largest


class LthConfig(PrunedConfig):
    """Options of iterative magnitude pruning."""

    name: str = "lth"
    rounds: Annotated[int, Field(ge=1)] = 5
    """How often it trains, prunes and rewinds."""
    search_epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of a training that only tells what to prune; the scenario's when unset."""
    rewind_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs after which the weights are those that kept ones are set back to."""


class Lth(Pruned):
    """Lottery ticket: keeps the largest trained weights, pruned and set back in rounds."""

    Config = LthConfig
    config: LthConfig

    def pruned(self, channel: int, streams: Streams) -> PrunedLearner:
        config, learner = self.config, self.untrained(channel)
        if config.rewind_epochs:
            self.train(learner, channel, streams, "/rewind", config.rewind_epochs)
        origin = {name: value.clone() for name, value in learner.state_dict().items()}
        for number in range(1, config.rounds + 1):
            self.train(learner, channel, streams, f"/round{number}", config.search_epochs)
            share = config.keep ** (number / config.rounds)
            sizes = learner.kept_weights().detach().abs()
            kept = largest(self.setting.backbone.layout, sizes, share)
            learner.load_state_dict(origin | {"kept": kept})
        self.train(learner, channel, streams)
        return learner
