"""A user vector on a frozen network of which one learned mask keeps a part.

`user_vector` ships a dense backbone for every channel, `long_diet` shares one frozen network
among them. Here channels share the frozen network, each is given one mask for everybody once,
and an answer is a vector as `user_vector`'s, which is added to what the edge looks up. Mask and
vectors are trained together after a training of the mask alone.

Notation: `N` maskable parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from docs.trials._after_mask import packed_masks, trained_after, with_arrays
from fedsim.data.base import Streams
from fedsim.kernels.select import kept_count
from fedsim.kernels.straight_through import masked_weights
from fedsim.models.base import split_layers
from fedsim.models.cost import kept_rows
from fedsim.setting import Arrays, Provision
from fedsim.training.learner import DenseLearner
from strategies._dense import dense_provision
from strategies._masked import GlobalMask, frozen_weights, trained_mask
from strategies.user_vector import UserVector, UserVectorConfig, UserVectorEdge, UserVectorLearner


class HybridConfig(UserVectorConfig):
    """Options of the hybrid; the mask trains first by the scenario's `train` section."""

    name: str = "docs.trials.hybrid:Hybrid"
    keep: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Fraction of each layer's weights that the mask keeps."""
    weight_bits: None = None
    """What is shipped is a mask, a bit a weight."""


class HybridEdge(UserVectorEdge):
    """Adds the vector it is answered, and runs what the mask it was provisioned with keeps."""

    @cached_property
    def shipped(self) -> list[Sequence[Tensor]]:
        """For each channel the weights (1, rows, columns) of every layer."""
        frozen, layout = self.provision.shared["frozen"].astype(np.float32), self.backbone.layout
        bits = [np.unpackbits(mask, count=layout.size, bitorder="little") for mask in self.masks]
        return [split_layers(layout, torch.from_numpy(frozen * each)) for each in bits]

    @cached_property
    def masks(self) -> list[NDArray[np.uint8]]:
        """For each channel its packed mask, uint8 (N / 8)."""
        return [arrays["mask"].astype(np.uint8) for arrays in self.provision.channels]

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        return self.backbone.macs(kept_rows(self.backbone.layout, self.masks[channel][None]))


class Hybrid(UserVector):
    """Trains a mask per channel, then what reads uploads; answers with vectors."""

    Config = HybridConfig
    edge = HybridEdge
    config: HybridConfig

    def trained(self, channel: int, streams: Streams) -> UserVectorLearner:
        setting, config = self.setting, self.config
        warm = trained_mask(setting, channel, streams, frozen_weights(setting), config.keep, 1.0)
        targets = config.targets_per_answer
        return trained_after(
            lambda gen: HybridLearner(warm, gen, config), setting, channel, streams, config, targets
        )

    def provision(self) -> Provision:
        layout = self.setting.backbone.layout
        kept = [kept_count(layer.size, self.config.keep) for layer in layout.layers]
        flats = (split_layers(layout, learner.flat) for learner in self._learners)
        masks = (packed_masks((each.flatten(1) for each in flat), kept)[0] for flat in flats)
        whole = with_arrays(dense_provision(self._learners), "mask", masks)
        return replace(whole, shared={"frozen": frozen_weights(self.setting).numpy()})


class HybridLearner(UserVectorLearner):
    """Holds a mask's scores (N) where a dense learner holds its weights."""

    frozen: Tensor

    def __init__(self, warm: GlobalMask, gen: torch.Generator, config: HybridConfig) -> None:
        scores = DenseLearner(warm.backbone, len(warm.items) - 1, gen)
        known = {name: value for name, value in warm.state_dict().items() if name != "frozen"}
        known["flat"] = torch.cat([known.pop(f"scores.{n}")[0] for n in range(len(warm.scores))])
        scores.load_state_dict(known)
        super().__init__(scores, gen, config)
        self.register_buffer("frozen", warm.frozen)
        self.kept = warm.kept

    def weights(self, uploads: Tensor, gen: torch.Generator | None = None) -> Sequence[Tensor]:
        """Return the kept weights; the gradient passes straight through to the scores."""
        layers = (split_layers(self.backbone.layout, flat) for flat in (self.flat, self.frozen))
        return [
            masked_weights(scores.flatten(1), None, frozen[0], keep)
            for scores, frozen, keep in zip(*layers, self.kept, strict=True)
        ]
