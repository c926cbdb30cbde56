"""Masks of whole rows: what `long_diet` answers with a bit a weight, with a bit a row.

The edge is given one learned mask for everybody once. An answer says which rows of each layer
stay open, of those weights that this mask keeps: 640 bits for SASRec at D = 64, or fewer with
rows in groups of `block`. The scores of groups are generated from a long upload as `long_diet`
generates those of weights, and start as what the mask's scores add up to in a group.

Notation: `B` edges, `H` upload length, `G` groups of rows of all layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from docs.trials._after_mask import AfterMask, DecodedEdge, with_arrays
from fedsim.codecs.base import Column
from fedsim.errors import ConfigError
from fedsim.kernels.select import kept_count, top_mask
from fedsim.layout import Layer, Layout
from fedsim.models.base import split_layers
from fedsim.setting import Provision
from strategies._generated import in_batches
from strategies._masked import GlobalMask
from strategies.long_diet import LongDietConfig, LongDietLearner


class RowDietConfig(LongDietConfig):
    """Options of diets of whole rows; `keep` is what the mask for everybody keeps."""

    name: str = "docs.trials.coarse_diet:RowDiet"
    rows: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Fraction of each layer's groups of rows that stays open."""
    block: Annotated[int, Field(ge=1)] = 1
    """Consecutive rows of a group, which are open or shut together."""


class RowDietEdge(DecodedEdge):
    """Runs what its open rows leave of the mask it was provisioned with."""

    def decoded(self, channel: int, packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        lengths, block = self.backbone.layout.row_lengths, self.config.block
        bits = np.unpackbits(packed, axis=1, count=len(lengths) // block, bitorder="little")
        each = bits.repeat(block, axis=1).repeat(lengths, axis=1)
        mask: NDArray[np.uint8] = self.provision.channels[channel]["mask"].astype(np.uint8)
        return np.packbits(each, axis=1, bitorder="little") & mask


class RowDiet(AfterMask):
    """Trains a mask for everybody, then what opens rows for an upload."""

    Config = RowDietConfig
    edge = RowDietEdge
    config: RowDietConfig

    def columns(self) -> tuple[Column, ...]:
        layout = groups_of(self.setting.backbone.layout, self.config.block)
        return (Column("mask", "mask", layout),)

    def learner(self, warm: GlobalMask, gen: torch.Generator) -> LongDietLearner:
        return RowLearner(warm, gen, self.config)

    def provision(self) -> Provision:
        masks = (learner.get_buffer("mask").numpy() for learner in self._learners)
        return with_arrays(super().provision(), "mask", masks)


class RowLearner(LongDietLearner):
    """Generates scores of groups of rows; its frozen weights are those the mask keeps."""

    def __init__(self, warm: GlobalMask, gen: torch.Generator, config: RowDietConfig) -> None:
        super().__init__(warm, gen, config)
        layout = warm.backbone.layout
        mask = warm.masks(np.empty((1, 0), np.int64))[0]
        bits = np.unpackbits(mask, count=layout.size, bitorder="little")
        self.register_buffer("mask", torch.from_numpy(mask))
        self.frozen = self.frozen * torch.from_numpy(bits)
        counts = [layer.size for layer in groups_of(layout, config.block).layers]
        self.sizes = [layer.size // few for layer, few in zip(layout.layers, counts, strict=True)]
        self.open = [kept_count(few, config.rows) for few in counts]
        self.kept = [few * size for few, size in zip(self.open, self.sizes, strict=True)]
        layers = zip(warm.scores, split_layers(layout, self.frozen), counts, strict=True)
        self.scores = nn.ParameterList(_totals(*layer) for layer in layers)
        maps = zip(self.maps, counts, strict=True)
        self.maps = nn.ParameterList(each.detach()[:, :few].clone() for each, few in maps)

    def layer_scores(
        self, uploads: Tensor, gen: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, None]]:
        """Yield scores (B, elements): each weight has its group's."""
        for (scores, _), size in zip(super().layer_scores(uploads, gen), self.sizes, strict=True):
            yield scores.repeat_interleave(size, dim=1), None

    def masks(self, uploads: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return the open groups for uploads (B, H), packed: uint8 (B, G / 8)."""

        def opened(ids: Tensor) -> Tensor:
            layers = zip(LongDietLearner.layer_scores(self, ids), self.open, strict=True)
            return torch.cat([top_mask(scores, None, few) for (scores, _), few in layers], 1)

        bits = in_batches(opened, uploads, sum(len(scores[0]) for scores in self.scores))
        return np.packbits(bits.astype(np.bool_), axis=1, bitorder="little")


def _totals(scores: Tensor, frozen: Tensor, groups: int) -> Tensor:
    """Return the sizes of kept scores (1, n), added up in each group and scaled: (1, groups)."""
    kept = scores.detach().abs().view(groups, -1) * (frozen.reshape(groups, -1) != 0)
    total: Tensor = kept.sum(1)[None] / kept.shape[1] ** 0.5
    return total


def groups_of(layout: Layout, block: int) -> Layout:
    """Return groups of `block` rows as rows of one element, layer by layer."""
    for layer in layout.layers:
        if layer.rows % block:
            raise ConfigError(
                f"strategy.block = {block} does not divide the {layer.rows} rows of "
                f"'{layer.name}'; give a number that does"
            )
    return Layout(tuple(Layer(layer.name, layer.rows // block, 1) for layer in layout.layers))
