"""Signed masks: the sign of a score turns the frozen weight's, so an answer is two bits a weight.

As in `long_diet` a layer's largest scores keep their weights, by size; where a kept score is
negative, the weight's sign is turned (as edge-popup's signed constants in `supermask`). The mask
for everybody that it starts from is trained so as well. An answer is the mask, then the signs
turned, 0 where nothing is kept.

In training weights are written out, as the kernel that multiplies kept ones only turns no signs.

Notation: `B` edges, `H` upload length, `N` maskable parameters.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from docs.trials._after_mask import AfterMask, masks_of_scores
from fedsim import rng
from fedsim.codecs.base import Column
from fedsim.data.base import Streams
from fedsim.kernels.straight_through import masked_weights
from fedsim.layout import Layer, Layout
from fedsim.models.base import Weight, split_layers
from fedsim.models.cost import kept_rows
from fedsim.setting import Arrays
from fedsim.training.fit import fit
from strategies._generated import in_batches
from strategies._masked import GlobalMask, MaskedLearner, kept_scale
from strategies.long_diet import LongDietConfig, LongDietEdge, LongDietLearner


class SignedDietConfig(LongDietConfig):
    """Options of signed diets."""

    name: str = "docs.trials.signed_diet:SignedDiet"


class SignedDietEdge(LongDietEdge):
    """Runs the frozen weights its mask keeps, with the signs it is answered."""

    def queries(self, channel: int, rows: Arrays, windows: NDArray[np.int32]) -> Tensor:
        mask, turned = self._bits(rows)
        flat = torch.from_numpy(self.scaled * mask * (1 - 2 * turned.astype(np.float32)))
        ids = torch.from_numpy(windows).long()
        weights, items = split_layers(self.backbone.layout, flat), self.items[channel][ids]
        return self.backbone.forward(weights, self.small[channel], items, ids == 0)

    def macs(self, channel: int, rows: Arrays) -> NDArray[np.int64]:
        packed = np.packbits(self._bits(rows)[0], axis=1, bitorder="little")
        return self.backbone.macs(kept_rows(self.backbone.layout, packed))

    def _bits(self, rows: Arrays) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return which weights are kept and which of them turned, uint8 (B or 1, N) each."""
        size, packed = self.backbone.layout.size, rows["mask"].astype(np.uint8, copy=False)
        bits = np.unpackbits(packed, axis=1, count=2 * size, bitorder="little")
        return bits[:, :size], bits[:, size:]


class SignedDiet(AfterMask):
    """Trains a signed mask for everybody, then a generator of what edges' scores add to it."""

    Config = SignedDietConfig
    edge = SignedDietEdge
    config: SignedDietConfig

    def columns(self) -> tuple[Column, ...]:
        layers = self.setting.backbone.layout.layers
        signs = (Layer(f"{layer.name}.sign", layer.rows, layer.columns) for layer in layers)
        return (Column("mask", "mask", Layout((*layers, *signs))),)

    def learner(self, warm: GlobalMask, gen: torch.Generator) -> LongDietLearner:
        return SignedLearner(warm, gen, self.config)

    def warm(self, channel: int, streams: Streams) -> GlobalMask:
        setting, config, place = self.setting, self.config, self.setting.channels[channel]
        purpose = f"signed/{place.name}"
        gen = rng.torch_generator(setting.scenario.seed, f"{purpose}/start")
        scale = kept_scale(config.keep, config.scale)
        mask = SignedMask(setting.backbone, place.num_items, gen, self.frozen(), config.keep, scale)
        fit(mask, streams, setting, purpose=purpose, options=mask.options())
        return mask


class Signed(MaskedLearner):
    """Takes the sign of a kept weight's score for a change of its own."""

    def _weight(self, scores: Tensor, rows: Tensor | None, frozen: Tensor, keep: int) -> Weight:
        return masked_weights(scores, rows, frozen, keep, scale=self.scale, signed=True)


class SignedMask(Signed, GlobalMask):
    """One learned mask and one set of signs for everybody."""


class SignedLearner(Signed, LongDietLearner):
    """Generates what is added to the scores of a warm signed mask."""

    def masks(self, uploads: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return masks and then turned signs for uploads (B, H): uint8 (B, 2 N / 8)."""
        size = self.backbone.layout.size

        def turned(ids: Tensor) -> Tensor:
            return torch.cat([scores.signbit() for scores, _ in self.layer_scores(ids)], 1)

        mask = np.unpackbits(masks_of_scores(self, uploads), axis=1, count=size, bitorder="little")
        signs = in_batches(turned, uploads, size).astype(np.uint8)
        return np.packbits(np.hstack([mask, mask & signs]), axis=1, bitorder="little")
