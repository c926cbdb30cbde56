"""DIET: the cloud answers an edge's recent items with a mask of its own for frozen weights.

Fu, Zhang, Lv, Chen, Li: DIET: Customized Slimming for Incompatible Networks in Sequential
Recommendation. WWW 2024. https://arxiv.org/abs/2406.08804

The conversation, top to bottom: an edge uploads its window; the cloud's generator, trained
on history, makes scores for every weight of the backbone (equations 7 and 8), corrected by a
weight for every row (9 and 10), and keeps the largest fraction of each layer (3); the edge
runs the backbone, which is random, frozen and the same for everybody, on what is kept (2).

Where we deviate: the straight-through gradient (4) carries the sign of the score, because
selection is by its size; early stopping on validation; as options, one mask serves several
consecutive training targets, and kept weights are scaled up.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from fedsim import rng
from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.plugins import CodecOptions
from fedsim.setting import Arrays, Provision, Setting, Uploads
from fedsim.strategy import EdgeCloudStrategy, StrategyConfig
from fedsim.training.fit import fit
from strategies._generator import DietLearner
from strategies._masked import (
    GlobalMask,
    MaskedEdge,
    MaskedLearner,
    kept_scale,
    majority,
    typical_masks,
)


class DietConfig(StrategyConfig):
    """Options of DIET."""

    name: str = "diet"
    variant: Literal["diet", "mg", "mask"] = "diet"
    """The paper's ablations: all of it, masks without row correction (+MG), or one learned
    mask for everybody (+mask)."""
    keep: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Kept fraction of each layer's weights."""
    scale: bool = False
    """Multiply kept weights by 1 / sqrt(keep), so that a layer's variance stays."""
    targets_per_mask: Annotated[int, Field(ge=1)] = 4
    """Consecutive targets of an edge that one generated mask serves in training."""
    codec: CodecOptions = Field(default="bitmask")
    """How masks travel."""


class DietEdge(MaskedEdge):
    """Uploads its window, keeps the mask it is answered."""


class Diet(EdgeCloudStrategy):
    """Trains a generator a channel and answers every upload with a mask."""

    Config = DietConfig
    edge = DietEdge
    config: DietConfig

    @property
    def personalises(self) -> bool:
        return self.config.variant != "mask"

    def columns(self) -> tuple[Column, ...]:
        return (Column("mask", "mask", self.setting.backbone.layout),)

    def fit(self, history: tuple[Streams, ...]) -> None:
        self._learners = [self.trained(c, streams) for c, streams in enumerate(history)]
        self._typical = [
            typical_masks(learner, streams)
            for learner, streams in zip(self._learners, history, strict=True)
        ]

    def trained(self, channel: int, streams: Streams) -> MaskedLearner:
        """Return the channel's learner, trained on its streams."""
        setting, config = self.setting, self.config
        place = setting.channels[channel]
        purpose = f"{config.name}/{place.name}"
        gen = rng.torch_generator(setting.scenario.seed, f"{purpose}/start")
        common = (setting.backbone, place.num_items, gen, self.frozen())
        scale = kept_scale(config.keep, config.scale)
        learner: MaskedLearner
        if config.variant == "mask":
            learner = GlobalMask(*common, config.keep, scale)
        else:
            learner = DietLearner(*common, config.keep, scale, rows=config.variant == "diet")
        fit(
            learner,
            streams,
            setting,
            purpose=purpose,
            options={"kept": learner.kept, "scale": learner.scale},
            targets_per_mask=config.targets_per_mask if self.personalises else 1,
        )
        return learner

    def frozen(self) -> Tensor:
        """Return the backbone's random weights (N), the same for all channels."""
        return frozen_weights(self.setting)

    def provision(self) -> Provision:
        return Provision(
            shared={"frozen": self._learners[0].frozen.numpy()},
            channels=tuple(learner.small_arrays() for learner in self._learners),
            candidates=tuple(learner.candidates() for learner in self._learners),
        )

    def initial(self, channel: int) -> Arrays:
        layout, kept = self.setting.backbone.layout, self._learners[channel].kept
        return {"mask": majority(layout, kept, self._typical[channel])}

    def sample(self, channel: int) -> Arrays:
        return {"mask": self._typical[channel]}

    def answer(self, channel: int, uploads: Uploads, round: int) -> Arrays:
        return {"mask": self._learners[channel].masks(uploads.items)}


def frozen_weights(setting: Setting) -> Tensor:
    """Return Xavier-normal weights (N) that every channel and strategy of a seed shares."""
    gen = rng.torch_generator(setting.scenario.seed, "frozen")
    return setting.backbone.init_weights(gen)
