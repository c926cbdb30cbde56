"""Masks whose generated scores are of low rank: `long_diet` with a fraction of its parameters.

What is added to the scores of a layer of the global mask is, instead of ``h H`` with a column
of H for every weight, the sum of `rank` outer products ``a_r(h) b_r(h)``, a number for every row
times one for every column, each an affine map of ``h``. The answer is a mask as `long_diet`'s.

Notation: `B` edges, `H` upload length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from docs.trials._after_mask import AfterMask, masks_of_scores
from fedsim.models.base import xavier_normal
from strategies._masked import GlobalMask
from strategies.long_diet import LongDietConfig, LongDietLearner


class LowRankDietConfig(LongDietConfig):
    """Options of diets of low rank."""

    name: str = "docs.trials.low_rank_diet:LowRankDiet"
    rank: Annotated[int, Field(ge=1)] = 2
    """Outer products that are added up in a layer."""


class LowRankDiet(AfterMask):
    """Trains a mask for everybody, then two thin maps a layer; its edges are the long diet's."""

    Config = LowRankDietConfig
    config: LowRankDietConfig

    def learner(self, warm: GlobalMask, gen: torch.Generator) -> LongDietLearner:
        return LowRankLearner(warm, gen, self.config)


class LowRankLearner(LongDietLearner):
    """Generates outer products, which are added to the scores of a warm global mask."""

    def __init__(self, warm: GlobalMask, gen: torch.Generator, config: LowRankDietConfig) -> None:
        super().__init__(warm, gen, config)
        layers, dim = warm.backbone.layout.layers, warm.backbone.dim
        self.shapes = [(layer.rows, layer.columns) for layer in layers]
        sizes = [config.rank * sum(shape) for shape in self.shapes]
        self.maps = nn.ParameterList(config.gain * xavier_normal(dim, n, gen) for n in sizes)
        self.biases = nn.ParameterList(torch.zeros(n) for n in sizes)

    def layer_scores(
        self, uploads: Tensor, gen: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, None]]:
        """Yield scores (B, elements), without row weights."""
        made = zip(self._states(uploads, gen), self.maps, self.biases, strict=True)
        layers = zip(made, self.scores, self.shapes, strict=True)
        for (state, layer_map, bias), score, shape in layers:
            numbers = torch.addmm(bias, state, layer_map).view(len(uploads), -1, sum(shape))
            by_row, by_column = numbers[..., : shape[0]], numbers[..., shape[0] :]
            added = torch.bmm(by_row.transpose(1, 2), by_column)
            yield score + added.flatten(1), None

    def masks(self, uploads: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return packed masks for uploads (B, H): uint8 (B, N / 8)."""
        return masks_of_scores(self, uploads)
