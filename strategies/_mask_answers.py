"""Both halves of a conversation whose answers are masks; what `diet` and its kin share.

Notation: `B` edges, `H` upload length, `N` maskable parameters.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.models.cost import kept_rows
from fedsim.plugins import CodecOptions
from fedsim.setting import Arrays, Provision, Uploads
from fedsim.strategy import EdgeCloudStrategy, EdgeHalf, StrategyConfig
from strategies._masked import MaskedLearner, frozen_weights, kept_scale
from strategies._typical import typical_uploads


class MaskConfig(StrategyConfig):
    """Options of every strategy that answers with masks."""

    keep: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Kept fraction of each layer's weights."""
    scale: bool = False
    """Multiply kept weights by 1 / sqrt(keep), so that a layer's variance stays."""
    codec: CodecOptions = Field(default="bitmask")
    """How masks travel."""


class GeneratedMaskConfig(MaskConfig):
    """Options of every strategy that generates a mask from an upload."""

    targets_per_mask: Annotated[int, Field(ge=1)] = 4
    """Consecutive targets of an edge that one generated mask serves in training."""


class MaskEdge(EdgeHalf):
    """Runs the backbone on the frozen weights that its mask keeps."""

    @cached_property
    def frozen(self) -> NDArray[np.float32]:
        """Frozen weights, float32 (N)."""
        return self.provision.shared["frozen"].astype(np.float32)

    @cached_property
    def scaled(self) -> NDArray[np.float32]:
        """Frozen weights as they are used where kept, float32 (N)."""
        return self.frozen * np.float32(kept_scale(self.config.keep, self.config.scale))

    def queries(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> Tensor:
        packed = rows["mask"].astype(np.uint8, copy=False)
        small, items = self.small[channel], self.items[channel]
        return self.backbone.masked_forward(packed, self.scaled, small, items, windows)

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        packed = rows["mask"].astype(np.uint8, copy=False)
        return self.backbone.macs(kept_rows(self.backbone.layout, packed))


class MaskStrategy(EdgeCloudStrategy):
    """Trains a learner a channel and answers every upload with a mask; see `trained`."""

    Config = MaskConfig
    edge = MaskEdge
    config: MaskConfig

    def trained(self, channel: int, streams: Streams) -> MaskedLearner:
        """Return a channel's learner, trained on its streams."""
        raise NotImplementedError(f"{type(self).__name__} trains nothing")

    def frozen(self) -> Tensor:
        """Return the backbone's random weights (N), the same for all channels."""
        return frozen_weights(self.setting)

    def stored(self) -> Arrays:
        """Return what an edge stores of the frozen weights, for all channels together."""
        return {"frozen": self.frozen().numpy()}

    @property
    def personalises(self) -> bool:
        return True

    def columns(self) -> tuple[Column, ...]:
        return (Column("mask", "mask", self.setting.backbone.layout),)

    def fit(self, history: tuple[Streams, ...]) -> None:
        self._learners = [self.trained(c, streams) for c, streams in enumerate(history)]
        self._typical = [
            learner.masks(typical_uploads(streams, learner.upload_length))
            for learner, streams in zip(self._learners, history, strict=True)
        ]

    def provision(self) -> Provision:
        return Provision(
            shared=self.stored(),
            channels=tuple(learner.small_arrays() for learner in self._learners),
            candidates=tuple(learner.candidates() for learner in self._learners),
        )

    def initial(self, channel: int) -> Arrays:
        return self.majority(channel, self.sample(channel))

    def sample(self, channel: int) -> Arrays:
        return {"mask": self._typical[channel]}

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        return {"mask": self._learners[channel].masks(uploads.items)}
