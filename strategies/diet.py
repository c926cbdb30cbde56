"""DIET: the cloud answers an edge's recent items with a mask of its own for frozen weights.

Fu, Zhang, Lv, Chen, Li: DIET: Customized Slimming for Incompatible Networks in Sequential
Recommendation. KDD 2024. https://doi.org/10.1145/3637528.3671669
https://arxiv.org/abs/2406.08804

The conversation, top to bottom: an edge uploads its window; the cloud's generator, trained
on history, makes scores for every weight of the backbone (equations 7 and 8), corrected by a
weight for every row (9 and 10), and keeps the largest fraction of each layer (3); the edge
runs the backbone, which is random, frozen and the same for everybody, on what is kept (2).

Where we deviate: the straight-through gradient (4) carries the sign of the score, because
selection is by its size; early stopping on validation; as options, one mask serves several
consecutive training targets, and kept weights are scaled up.
"""

from __future__ import annotations

from typing import Literal

from fedsim import rng
from fedsim.data.base import Streams
from fedsim.training.fit import fit
from strategies._generator import DietLearner
from strategies._mask_answers import GeneratedMaskConfig, MaskEdge, MaskStrategy
from strategies._masked import MaskedLearner, kept_scale, trained_mask


class DietConfig(GeneratedMaskConfig):
    """Options of DIET."""

    name: str = "diet"
    variant: Literal["diet", "mg", "mask"] = "diet"
    """The paper's ablations: all of it, masks without row correction (+MG), or one learned
    mask for everybody (+mask)."""


class DietEdge(MaskEdge):
    """Uploads its window; keeps the mask it is answered and runs what that leaves."""


class Diet(MaskStrategy):
    """Trains a generator per channel and answers every upload with a mask."""

    Config = DietConfig
    edge = DietEdge
    config: DietConfig

    @property
    def personalises(self) -> bool:
        return self.config.variant != "mask"

    def trained(self, channel: int, streams: Streams) -> MaskedLearner:
        setting, config, frozen = self.setting, self.config, self.frozen()
        scale = kept_scale(config.keep, config.scale)
        if config.variant == "mask":
            return trained_mask(setting, channel, streams, frozen, config.keep, scale)
        place = setting.channels[channel]
        purpose = f"{config.variant}/{place.name}"
        learner = DietLearner(
            setting.backbone,
            place.num_items,
            rng.torch_generator(setting.scenario.seed, f"{purpose}/start"),
            frozen,
            config.keep,
            scale,
            rows=config.variant == "diet",
        )
        fit(
            learner,
            streams,
            setting,
            purpose=purpose,
            options=learner.options(),
            targets_per_mask=config.targets_per_mask,
        )
        return learner
