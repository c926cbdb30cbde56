"""STTD: each layer is a product of three small cores, worked out anew at each inference.

Semi-tensor product based tensor-train decomposition: Xia, Yin, Yu, Wang, Xu, Nguyen:
On-Device Next-Item Recommendation with Self-Supervised Knowledge Distillation. SIGIR 2022.
https://arxiv.org/abs/2204.11091, here of the layers instead of the item embeddings, as Fu et
al. use it: DIET: Customized Slimming for Incompatible Networks in Sequential Recommendation.
KDD 2024. https://arxiv.org/abs/2406.08804 (section 4.1.3).

Rows and columns are split into three modes each, d_k of both together. The cores are
(d_1, r), (r/t, d_2 r/t) and (r/t, d_3/t); with the semi-tensor product
A x B = A (B kron I_t) a core needs 1/t of its rows and columns. Modes of 4 where they divide,
rank r = 4 and t = 2 give a 64 x 64 layer 64 + 64 + 16 = 144 floats and 2,048 + 8,192 MACs to
put it together, and the table's figures: SASRec 46,080 bits and 311,040 MACs (0.0461 and
0.3110 there); Caser, whose 20 vertical weights stay as they are, 23,040 bits and 99,584 MACs
(0.0231 and 0.0996 there: the bits are 0.3 % off).

Ours: t is 1 where it does not divide a mode; a layer whose cores would be no smaller stays
as it is; cores start so that a layer's weights have Xavier's variance; no distillation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from fedsim import rng
from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.layout import Layout
from fedsim.models.base import Backbone, Weight
from fedsim.plugins import CodecOptions
from fedsim.setting import Arrays, Provision, Uploads
from fedsim.strategy import EdgeCloudStrategy, EdgeHalf, StrategyConfig
from fedsim.training.fit import fit
from fedsim.training.learner import Learner
from strategies._dense import dense_provision
from strategies._tensor_train import Train, put_together, trains_of


class SttdConfig(StrategyConfig):
    """Options of STTD."""

    name: str = "sttd"
    rank: Annotated[int, Field(ge=1)] = 4
    """Rank between cores."""
    block: Annotated[int, Field(ge=1)] = 2
    """How much smaller the semi-tensor product makes the cores' sides."""
    codec: CodecOptions = Field(default="dense")
    """How cores travel."""

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.rank % self.block:
            raise ValueError(f"rank {self.rank} is no multiple of block {self.block}")
        return self


class SttdEdge(EdgeHalf):
    """Puts the layers together from the cores it was provisioned with; asks for nothing."""

    asks = False

    @cached_property
    def trains(self) -> tuple[Train, ...]:
        """How each layer is put together."""
        return trains_of(self.backbone.layout, self.config.rank, self.config.block)

    def weights(self, channel: int, rows: Arrays) -> Sequence[Tensor]:
        cores = torch.from_numpy(rows["cores"].astype(np.float32, copy=False))
        return put_together(self.trains, cores[0])

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        return self.backbone.macs(None) + sum(train.macs for train in self.trains)


class Sttd(EdgeCloudStrategy):
    """Trains a model per channel whose layers are products of small cores, shipped once."""

    Config = SttdConfig
    edge = SttdEdge
    config: SttdConfig

    def columns(self) -> tuple[Column, ...]:
        trains = trains_of(self.setting.backbone.layout, self.config.rank, self.config.block)
        cores = (core for train in trains for core in train.cores)
        return (Column("cores", "dense", Layout(tuple(cores))),)

    def fit(self, history: tuple[Streams, ...]) -> None:
        self._learners = [self._trained(c, streams) for c, streams in enumerate(history)]

    def _trained(self, channel: int, streams: Streams) -> CoresLearner:
        setting, place = self.setting, self.setting.channels[channel]
        purpose = f"sttd/{place.name}"
        gen = rng.torch_generator(setting.scenario.seed, f"{purpose}/start")
        learner = CoresLearner(setting.backbone, place.num_items, gen, self.config)
        options = {"rank": self.config.rank, "block": self.config.block}
        fit(learner, streams, setting, purpose=purpose, options=options)
        return learner

    def provision(self) -> Provision:
        return dense_provision(self._learners)

    def initial(self, channel: int) -> Arrays:
        return {"cores": self._learners[channel].cores.detach().numpy()[None].copy()}

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        return self.initial(channel)


class CoresLearner(Learner):
    """Trains `cores`, all layers' one after the other."""

    def __init__(
        self, backbone: Backbone, num_items: int, gen: torch.Generator, config: SttdConfig
    ) -> None:
        super().__init__(backbone, num_items, gen)
        self.trains = trains_of(backbone.layout, config.rank, config.block)
        self.cores = nn.Parameter(
            torch.cat(
                [
                    train.spread
                    * torch.randn(sum(core.size for core in train.cores), generator=gen)
                    for train in self.trains
                ]
            )
        )

    def weights(self, uploads: Tensor, gen: torch.Generator | None = None) -> Sequence[Weight]:
        """Return the layers as their cores make them."""
        return put_together(self.trains, self.cores)
