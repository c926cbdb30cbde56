"""Caser: convolutions over the window as an image of embeddings.

Tang, Wang: Personalized Top-N Sequential Recommendation via Convolutional Sequence
Embedding. WSDM 2018. https://arxiv.org/abs/1809.07426

Sized as in the tables of Fu et al., DIET (KDD 2024): 16 horizontal filters of every height
1..L and 4 vertical filters of length L, whose filters alone are maskable; the appendix names
the two numbers the other way round, but only these give the tables' figures. The output
layer, which the paper neither masks nor counts as transferred, is among the small
parameters. There is no user embedding (an edge's own weights are its user), and the output
layer is linear, because the query meets the same item embeddings that were read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from fedsim.layout import Layer, Layout
from fedsim.models.base import (
    Backbone,
    BackboneConfig,
    Weight,
    apply_linear,
    dropped,
    xavier_normal,
)


class CaserConfig(BackboneConfig):
    """Options of Caser."""

    name: str = "caser"
    horizontal: Annotated[int, Field(ge=1)] = 16
    """Filters of each height."""
    vertical: Annotated[int, Field(ge=1)] = 4


class Caser(Backbone):
    """The papers' second backbone: 15,380 maskable parameters, 58,624 MACs."""

    Config = CaserConfig

    def __init__(self, config: CaserConfig) -> None:
        super().__init__(config)
        self.heights = range(1, self.window + 1)
        self.features = config.vertical * self.dim + config.horizontal * self.window
        horizontal = [
            Layer(f"horizontal{height}", config.horizontal, height * self.dim)
            for height in self.heights
        ]
        self.layout = Layout((*horizontal, Layer("vertical", config.vertical, self.window)))
        self.uses = (*(self.window - height + 1 for height in self.heights), self.dim)
        self.fixed_macs = self.features * self.dim

    def init_small(self, gen: torch.Generator) -> dict[str, Tensor]:
        """Return the output layer: `output` (D, features) and `output_bias` (D)."""
        return {
            "output": xavier_normal(self.dim, self.features, gen),
            "output_bias": torch.zeros(self.dim),
        }

    def forward(
        self,
        weights: Sequence[Weight],
        small: Mapping[str, Tensor],
        embedded: Tensor,
        padding: Tensor,
        *,
        dropout: float = 0.0,
        gen: torch.Generator | None = None,
    ) -> Tensor:
        image = embedded * math.sqrt(self.dim)
        image = image.masked_fill(padding[..., None], 0.0)
        found = [apply_linear(image.transpose(2, 3), weights[-1]).transpose(2, 3).flatten(2)]
        for height, filters in zip(self.heights, weights, strict=False):
            patches = image.unfold(2, height, 1).transpose(3, 4).flatten(3)
            found.append(F.relu(apply_linear(patches, filters)).amax(2))
        features = dropped(torch.cat(found, -1), dropout, gen)
        query: Tensor = F.linear(features, small["output"], small["output_bias"])
        return query
