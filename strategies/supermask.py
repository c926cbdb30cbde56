"""SuperMask: a random network that is never trained, of which a learned mask keeps a part.

Zhou, Lan, Liu, Yosinski: Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask.
NeurIPS 2019. https://arxiv.org/abs/1905.01067 (section 5)

``selection = "sampled"`` is theirs: a weight is kept with probability sigmoid(s), drawn anew
in each step, and the gradient passes straight through the draw. How many stay is not set but
found; as Fu et al. (DIET, KDD 2024) say of their table, the start and a penalty steer it:
here `keep` is the probability all start with, and `penalty` times the mean probability joins
the loss. ``"top"`` is edge-popup, which keeps exactly `keep` of each layer (see
`strategies._global_mask`, which also tells the table's accounting). With `signed` a frozen
weight is its sign times the layer's standard deviation (the signed constant of both papers),
and an edge stores one bit for it.

Ours: what is shipped is one sample, drawn once before training, so that validation chooses
the epoch by the very mask that edges get.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from fedsim import rng
from fedsim.data.base import Streams
from fedsim.layout import Layout
from fedsim.models.base import Backbone, Weight, split_layers
from fedsim.setting import Arrays
from fedsim.training.fit import fit
from strategies._global_mask import GlobalMaskEdge, GlobalMaskStrategy
from strategies._mask_answers import MaskConfig
from strategies._masked import MaskedLearner, frozen_weights, kept_scale


class SupermaskConfig(MaskConfig):
    """Options of SuperMask."""

    name: str = "supermask"
    keep: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Where sampled, the probability of each weight at first; else each layer's kept fraction."""
    selection: Literal["sampled", "top"] = "sampled"
    """How scores become a mask."""
    penalty: Annotated[float, Field(ge=0)] = 0.0
    """What the mean probability adds to the loss, where sampled."""
    signed: bool = False
    """Make all weights of a layer equally large, so that edges store only their signs."""


class SupermaskEdge(GlobalMaskEdge):
    """Runs the frozen weights, or constants with their signs, that the mask keeps."""

    @cached_property
    def frozen(self) -> NDArray[np.float32]:
        if not self.config.signed:
            return self.provision.shared["frozen"].astype(np.float32)
        layout, signs = self.backbone.layout, self.provision.shared["signs"]
        positive = np.unpackbits(signs.astype(np.uint8), count=layout.size, bitorder="little")
        constants: NDArray[np.float32] = signed_constants(
            layout, torch.from_numpy(positive.astype(np.bool_))
        ).numpy()
        return constants


class Supermask(GlobalMaskStrategy):
    """Learns one mask per channel over random weights that are never trained."""

    Config = SupermaskConfig
    edge = SupermaskEdge
    config: SupermaskConfig

    def frozen(self) -> Tensor:
        random = frozen_weights(self.setting)
        if not self.config.signed:
            return random
        return signed_constants(self.setting.backbone.layout, random > 0)

    def stored(self) -> Arrays:
        if not self.config.signed:
            return super().stored()
        return {"signs": np.packbits(self.frozen().numpy() > 0, bitorder="little")}

    def trained(self, channel: int, streams: Streams) -> MaskedLearner:
        if self.config.selection == "top":
            return super().trained(channel, streams)
        place, config = self.setting.channels[channel], self.config
        purpose = f"supermask/{place.name}"
        gen = rng.torch_generator(self.setting.scenario.seed, f"{purpose}/start")
        learner = SampledMask(self.setting.backbone, place.num_items, gen, self.frozen(), config)
        options = {"scale": learner.scale, "penalty": config.penalty}
        fit(learner, streams, self.setting, purpose=purpose, options=options)
        return learner


class SampledMask(MaskedLearner):
    """Keeps each weight with a learned probability."""

    draw: Tensor

    def __init__(
        self,
        backbone: Backbone,
        num_items: int,
        gen: torch.Generator,
        frozen: Tensor,
        config: SupermaskConfig,
    ) -> None:
        scale = kept_scale(config.keep, config.scale)
        super().__init__(backbone, num_items, gen, frozen, config.keep, scale)
        self.factor = config.penalty
        self.scores = nn.Parameter(
            torch.full((len(frozen),), math.log(config.keep / (1 - config.keep)))
        )
        self.register_buffer("draw", torch.rand(len(frozen), generator=gen))

    def weights(self, uploads: Tensor, gen: torch.Generator | None = None) -> list[Weight]:
        """Return the weights of a new sample in training, else of the one that is shipped."""
        chance = torch.sigmoid(self.scores)
        self.penalty = self.factor * chance.mean()
        draw = self.draw if gen is None else torch.rand(len(self.draw), generator=gen)
        kept = chance + ((draw < chance).float() - chance).detach()
        return [*split_layers(self.backbone.layout, self.frozen * kept * self.scale)]

    def masks(self, uploads: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return the one mask, uint8 (1, packed bytes)."""
        kept = self.draw < torch.sigmoid(self.scores.detach())
        return np.packbits(kept.numpy()[None], axis=1, bitorder="little")


def signed_constants(layout: Layout, positive: Tensor) -> Tensor:
    """Return weights (N) of a layer's Xavier deviation each, of these signs, bool (N).

    >>> from fedsim.layout import Layer
    >>> signed_constants(Layout((Layer("a", 1, 1),)), torch.tensor([False])).tolist()
    [-1.0]
    """
    sizes = torch.tensor([layer.size for layer in layout.layers])
    spread = torch.tensor([math.sqrt(2 / (layer.rows + layer.columns)) for layer in layout.layers])
    return torch.where(positive, 1.0, -1.0) * torch.repeat_interleave(spread, sizes)
