"""Base: one model for everybody, trained in the cloud and shipped once.

What every edge is provisioned with before round 1 is all it ever gets. The baseline "Base"
of Fu et al., DIET: Customized Slimming for Incompatible Networks in Sequential
Recommendation. KDD 2024. https://arxiv.org/abs/2406.08804

Ours: early stopping on validation (overtrained, as the paper's figure suggests, Base is a
weak rival), and `extra_epochs` with a fresh optimiser and schedule, so that a method which
trains in two phases is compared with a Base that trained as long.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedsim.data.base import Streams
from fedsim.models.cost import FLOAT_BITS
from fedsim.setting import Arrays, Provision
from fedsim.strategy import EdgeCloudStrategy
from strategies._dense import ShippedConfig, ShippedEdge, shipped_provision, trained_bases


class StaticConfig(ShippedConfig):
    """Options of the static model."""

    name: str = "static"
    extra_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs after the first training's best one, with a fresh optimiser and schedule."""


class StaticEdge(ShippedEdge):
    """Ranks with the weights it was provisioned with, and asks for nothing."""

    asks = False

    def paper_bits(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        bits = self.config.weight_bits or FLOAT_BITS
        return np.array([bits * self.backbone.layout.size])


class Static(EdgeCloudStrategy):
    """Trains one dense model per channel, ships it once and answers nobody."""

    Config = StaticConfig
    edge = StaticEdge
    config: StaticConfig

    def fit(self, history: tuple[Streams, ...]) -> None:
        config = self.config
        self._learners = trained_bases(
            self.setting, history, config.extra_epochs, config.weight_bits
        )

    def provision(self) -> Provision:
        return shipped_provision(self._learners, self.config.weight_bits)
