"""Weights that are shipped once, rounded to a few bits: levels, and a step a row.

Uniform quantisation around 0, trained by letting the gradient pass straight through it (Jacob et
al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference.
CVPR 2018, https://arxiv.org/abs/1712.05877, section 3). Ours: the step of least squared error
instead of the row's range, and no rounding of what a layer is given.

Notation: `N` weights, `R` rows of weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedsim.layout import Layout
from fedsim.models.base import split_layers
from fedsim.setting import Arrays
from fedsim.training.learner import DenseLearner
from strategies._levels import packed, unpacked

CLIPS = torch.linspace(0.3, 1.0, 15)
"""Shares of a row's largest weight that the highest level may stand for."""


class ShippedLearner(DenseLearner):
    """A dense model that is trained as it will be shipped."""

    weight_bits: int | None = None

    def weights(self, uploads: Tensor, gen: torch.Generator | None = None) -> Sequence[Tensor]:
        """Return the trained weights, rounded where they are shipped so."""
        layout = self.backbone.layout
        return split_layers(layout, trained_rounded(self.flat, layout, self.weight_bits))


def stored(
    name: str, weights: Tensor, layout: Layout, bits: int | None
) -> dict[str, NDArray[np.generic]]:
    """Return N weights as an edge stores them: as they are, float32, or rounded to `bits`.

    Levels are evenly spaced around 0, from -(2^(b-1) - 1) steps to as many; a row's step is the
    one of `CLIPS` that leaves the least squared error. ``name.levels`` is uint8 (N bits / 8),
    ``name.steps`` float16 (R).
    """
    if bits is None:
        return {name: weights.detach().numpy()}
    parts = list(_layers(weights.detach(), layout, bits))
    levels = torch.cat([level.flatten() for level, _ in parts]) + 2 ** (bits - 1) - 1
    return {
        f"{name}.levels": packed(levels.to(torch.uint8).numpy()[None], bits)[0],
        f"{name}.steps": torch.cat([steps for _, steps in parts]).numpy(),
    }


def loaded(name: str, arrays: Arrays, layout: Layout, bits: int | None) -> Tensor:
    """Return the weights (N) that `stored` arrays stand for, float32."""
    if bits is None:
        return torch.from_numpy(arrays[name].astype(np.float32).reshape(-1))
    levels = unpacked(arrays[f"{name}.levels"][None], layout.size, bits)[0].astype(np.float32)
    steps = arrays[f"{name}.steps"].astype(np.float32).repeat(layout.row_lengths)
    return torch.from_numpy((levels - np.float32(2 ** (bits - 1) - 1)) * steps)


def trained_rounded(weights: Tensor, layout: Layout, bits: int | None) -> Tensor:
    """Return weights as `loaded` will give them, in their own shape, while they are trained."""
    if bits is None:
        return weights
    parts = _layers(weights.detach(), layout, bits)
    near = torch.cat([(level * steps.float()[:, None]).flatten() for level, steps in parts])
    return weights + (near.view_as(weights) - weights).detach()


def _layers(weights: Tensor, layout: Layout, bits: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each layer's levels, whole numbers (R, columns), and steps, float16 (R)."""
    top = 2 ** (bits - 1) - 1
    for (layer,) in split_layers(layout, weights.flatten()):
        largest = layer.abs().amax(1).clamp(min=1e-4)
        tried = (CLIPS[:, None] * largest / top).half()
        wide = tried.float()[..., None]
        levels = (layer / wide).round().clamp(-top, top)
        best = (layer - wide * levels).square().sum(-1).argmin(0)
        row = torch.arange(len(best))
        yield levels[best, row], tried[best, row]
