"""Base: one model for everybody, trained in the cloud and shipped once.

What every edge is provisioned with before round 1 is all it ever gets. The baseline "Base"
of Fu et al., DIET: Customized Slimming for Incompatible Networks in Sequential
Recommendation. WWW 2024. https://arxiv.org/abs/2406.08804

Ours: early stopping on validation (overtrained, as the paper's figure suggests, Base is a
weak rival), and `extra_epochs` with a fresh optimiser and schedule, so that a method which
trains in two phases is compared with a Base that trained as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from fedsim import rng
from fedsim.data.base import Streams
from fedsim.models.base import split_layers
from fedsim.setting import Arrays, Provision, Setting
from fedsim.strategy import EdgeCloudStrategy, EdgeHalf, StrategyConfig
from fedsim.training.fit import fit
from fedsim.training.learner import DenseLearner


class StaticConfig(StrategyConfig):
    """Options of the static model."""

    name: str = "static"
    extra_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs after the first training's best one, with a fresh optimiser and schedule."""


class StaticEdge(EdgeHalf):
    """Ranks with the weights it was provisioned with."""

    def weights(self, channel: int, rows: Arrays) -> Sequence[Tensor]:
        flat = torch.from_numpy(self.provision.channels[channel]["weights"])
        return split_layers(self.backbone.layout, flat)


class Static(EdgeCloudStrategy):
    """Trains one dense model a channel and answers nobody."""

    Config = StaticConfig
    edge = StaticEdge

    def fit(self, history: tuple[Streams, ...]) -> None:
        extra = self.config.extra_epochs
        self._learners = trained_bases(self.setting, history, extra)

    def provision(self) -> Provision:
        return Provision(
            channels=tuple(
                {"weights": learner.flat.detach().numpy(), **learner.small_arrays()}
                for learner in self._learners
            ),
            candidates=tuple(learner.candidates() for learner in self._learners),
        )


def trained_bases(
    setting: Setting, history: tuple[Streams, ...], extra_epochs: int = 0
) -> list[DenseLearner]:
    """Return a dense model a channel, trained on history."""
    learners = []
    for channel, streams in enumerate(history):
        purpose = f"base/{setting.channels[channel].name}"
        gen = rng.torch_generator(setting.scenario.seed, f"{purpose}/start")
        learner = DenseLearner(setting.backbone, setting.channels[channel].num_items, gen)
        fit(learner, streams, setting, purpose=purpose)
        if extra_epochs:
            fit(learner, streams, setting, purpose=f"{purpose}/extra", epochs=extra_epochs)
        learners.append(learner)
    return learners
